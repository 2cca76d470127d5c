// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make piglit`: piglit's own runner on the virtual GPU, judged against a list of known failures.

mod baseline;
mod cause;
mod meter;
mod results;
mod runner;
mod select;
mod summary;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cache;
use crate::context::{Context, Place};
use crate::host::Host;
use crate::proc;
use crate::verbs;
use baseline::Baseline;
use runner::Runner;

/// What runs when nothing is named.
const PROFILE: &str = "quick_gl";
/// The seed of a sample for which none was given: the same command means the same tests.
const SEED: u64 = 1;
/// What makes piglit take the rest of a line of its lists for a comment.
const COMMENT: char = '#';
/// Seconds that one test may take. A guest without KVM is some twenty times slower.
const LIMIT: [(Place, u64); 2] = [(Place::Shim, 120), (Place::Vm, 600)];

pub fn run(ctx: &Context) -> Result<u8> {
    let params = &ctx.params;
    let (place, profile) = (params.place, params.profile.as_deref().unwrap_or(PROFILE));
    let mut progress = verbs::progress(ctx);
    let host = Host::make(ctx, &mut progress, true)?;
    let mut all = list(&host, profile, params.filter.as_deref())?;
    let whole = params.filter.is_none() && params.sample.is_none() && params.shard.is_none();
    if !whole {
        let before = all.len();
        all.retain(|name| !name.contains(COMMENT));
        if all.len() < before {
            eprintln!(
                "{} names with a {COMMENT} cannot stand in piglit's lists: only the whole profile has them",
                before - all.len()
            );
        }
    }
    let seed = params.seed.unwrap_or(SEED);
    let names = select::choose(all.clone(), params.sample.map(|n| (n, seed)), params.shard);
    if names.is_empty() {
        bail!(
            "no test of {profile} is selected: its {} names do not match FILTER, or the SHARD is empty",
            all.len()
        );
    }
    eprintln!(
        "Mesa {}; {profile}: {} of {} tests{}{}",
        host.mesa,
        names.len(),
        all.len(),
        params
            .sample
            .map_or(String::new(), |_| format!(", seed {seed}")),
        params
            .shard
            .map_or(String::new(), |(i, n)| format!(", part {i} of {n}")),
    );

    let list = baseline::path(ctx, profile);
    let mut baseline = Baseline::read(&list)?;
    let dir = folder(ctx, profile, &names);
    let runner = Runner {
        profile,
        whole,
        names: &names,
        limit: params.timeout.unwrap_or(limit(place)),
        dir: &dir,
    };
    let troubles = match place {
        Place::Shim => runner.shim(&host)?,
        Place::Vm => runner.vm(ctx, &mut progress)?,
    };

    let last = ctx.build.join("piglit");
    let summary = runner.summary(&baseline)?;
    summary.print(&list);
    if place == Place::Vm {
        summary.compare(&results::verdicts(&last, profile, Place::Shim));
    }
    results::keep_verdicts(&last, profile, place, &summary)?;
    for trouble in &troubles {
        println!("{trouble}");
    }
    println!("results   {}", runner.results().display());
    if params.save {
        baseline.update(&summary);
        baseline.write(&list, profile)?;
        println!("baseline  {}", list.display());
    }
    Ok(u8::from(!summary.good() || !troubles.is_empty()))
}

/// Runs a sample of a profile anew in the shim. All that fails must be known to.
pub fn sample(ctx: &Context, host: &Host, profile: &str, size: usize) -> Result<()> {
    let mut all = list(host, profile, None)?;
    all.retain(|name| !name.contains(COMMENT));
    let names = select::choose(all, Some((size, SEED)), None);
    let dir = folder(ctx, profile, &names);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    let runner = Runner {
        profile,
        whole: false,
        names: &names,
        limit: limit(Place::Shim),
        dir: &dir,
    };
    runner.shim(host)?;
    let list = baseline::path(ctx, profile);
    let summary = runner.summary(&Baseline::read(&list)?)?;
    if !summary.good() {
        bail!(
            "{} (results: {}, known failures: {})",
            summary.news().join(", "),
            runner.results().display(),
            list.display()
        );
    }
    Ok(())
}

/// What one test may take in a place.
fn limit(place: Place) -> Duration {
    let limit = LIMIT.iter().find(|(p, _)| *p == place);
    Duration::from_secs(limit.map_or(LIMIT[0].1, |(_, seconds)| *seconds))
}

/// The names of a profile's tests in piglit's own order.
fn list(host: &Host, profile: &str, filter: Option<&str>) -> Result<Vec<String>> {
    let mut command = host.command("piglit");
    command.args(["print-cmd", "--format", "{name}"]);
    if let Some(filter) = filter {
        command.args(["-t", filter]);
    }
    command.arg(profile);
    let text = proc::output(command, "piglit print-cmd")
        .with_context(|| format!("PROFILE={profile}: piglit knows none of that name?"))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// One folder for each selection, so that a run that was cut off is found again.
fn folder(ctx: &Context, profile: &str, names: &[String]) -> PathBuf {
    let key = cache::key(names.iter().map(|name| name.as_bytes()));
    let place = ctx.params.place.name();
    ctx.build
        .join("piglit")
        .join(format!("{profile}-{place}-{key}"))
}

/// What of the GPU a run's results depend on: a run that was cut off goes on only with the same.
fn stamp(gpu: &Path) -> Result<String> {
    let bytes = fs::read(gpu).with_context(|| format!("cannot read {}", gpu.display()))?;
    Ok(cache::key([bytes.as_slice()]))
}
