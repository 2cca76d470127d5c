// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make bench`: what the driver costs, beside what the machine costs by itself.
//!
//! Two machines are booted. One is the guest as always, and gives times. The other one has a single
//! CPU whose counter counts instructions, so that its figures are the same each time; it is booted
//! twice to show that. The GPU model is measured without a guest. Nothing here fails because of a figure.
//!
//! `ONLY=gpu` and `ONLY=driver` leave the other one out.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use crate::context::Context;
use crate::kernel::{self, Kernel};
use crate::prepare::Prepared;
use crate::proc;
use crate::progress::Progress;
use crate::qemu::Accelerator;
use crate::results::{self, Versions};
use crate::session;
use crate::vagx;
use crate::verbs;
use crate::vm::{self, End, Setup, Spec};

mod gpu;
mod profile;
mod samples;
pub mod scenes;
mod table;

use samples::Samples;

/// How long a guest may take.
const TIMEOUT: Duration = Duration::from_secs(600);

/// How often what is compared is measured in turn: the machine is not as fast all the time.
const TURNS: usize = 6;

/// One turn. The mailbox is measured while no driver has it.
const TURN: [(&str, &str); 4] = [
    ("unbind", "unbind"),
    ("mailbox", "asahi-bench mailbox"),
    ("bind", "bind"),
    ("trips", "asahi-bench trips"),
];
const TIMES: (&str, &str) = ("time", "asahi-bench time");
const INSTRUCTIONS: (&str, &str) = ("instructions", "asahi-bench instructions");

/// Without it, a job's end would interrupt the ioctl that has submitted it, more often or less.
const LATE: &str = "late-event:ms=3,n=1";

/// What the figures are figures of.
#[derive(Debug, Serialize)]
struct Subject {
    date: String,
    machine: String,
    cores: usize,
    /// The load of the last minute before and after.
    load: [String; 2],
    versions: Versions,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    subject: &'a Subject,
    times: &'a Samples,
    /// Two boots.
    instructions: [&'a Samples; 2],
}

fn load() -> String {
    fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split(' ').next().map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned())
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    field("model name")
        .or_else(|| field("CPU implementer").map(|by| format!("CPU of implementer {by}")))
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Runs steps in a guest and gives what they measured.
fn measure(
    setup: &Setup,
    kernel: &Kernel,
    steps: &[(&str, &str)],
    faults: &[&str],
) -> Result<Samples> {
    let script = session::script(steps);
    let outcome = vm::run(
        setup,
        &Spec {
            timeout: Some(TIMEOUT),
            vagx: vagx::Options {
                faults: faults.iter().copied().map(str::to_owned).collect(),
                ..vagx::Options::default()
            },
            ..Spec::kept(kernel, &script)
        },
    )?;
    let ended = session::steps_of(&outcome);
    if let Some(step) = ended.iter().find(|step| !step.passed()) {
        bail!(
            "{}: {} (logs: {})",
            step.name,
            step.last_line(),
            outcome.dir.display()
        );
    }
    if ended.len() != steps.len() {
        verbs::tell(&outcome);
        bail!("{} of {} steps ran", ended.len(), steps.len());
    }
    if let Some(complaint) = outcome.complaints.first() {
        bail!("vagx complains: {complaint}");
    }
    if let Some(line) = vm::reports(&outcome.kernel_log()).first() {
        bail!("kernel: {line}");
    }
    match outcome.end {
        End::Exited(0) => Ok(Samples::parse(&String::from_utf8_lossy(&outcome.stdout))),
        _ => {
            verbs::tell(&outcome);
            bail!("the guest did not end as it should");
        }
    }
}

pub fn run(ctx: &Context) -> Result<u8> {
    const HALVES: [&str; 2] = ["driver", "gpu"];
    let only = &ctx.params.only;
    if let Some(unknown) = only.iter().find(|o| !HALVES.contains(&o.as_str())) {
        bail!("ONLY={unknown}: there are {}", HALVES.join(", "));
    }
    let wanted = |half: &str| only.is_empty() || only.iter().any(|o| o == half);
    let mut progress = verbs::progress(ctx);
    if wanted("driver") {
        driver(ctx, &mut progress)?;
    }
    if wanted("gpu") {
        let report = gpu::run(ctx, &mut progress, subject()?)?;
        keep(ctx, "bench-gpu", "gpu", &gpu::markdown(&report), &report)?;
    }
    Ok(0)
}

/// Shows a table, keeps it with the figures in the results, and in the checkout if that is wanted.
fn keep(ctx: &Context, run: &str, name: &str, text: &str, report: &impl Serialize) -> Result<()> {
    println!("{text}");
    results::write(ctx, run, report)?;
    if ctx.params.save {
        let dir = ctx.asahi().join("bench");
        fs::write(dir.join(format!("{name}.md")), text).context("cannot save the table")?;
        let json = serde_json::to_vec_pretty(report)?;
        fs::write(dir.join(format!("{name}.json")), json).context("cannot save the figures")?;
    }
    Ok(())
}

/// Now, and on what.
fn subject() -> Result<gpu::Subject> {
    Ok(gpu::Subject {
        date: date()?,
        machine: processor(),
        cores: std::thread::available_parallelism().map_or(0, |n| n.get()),
        load: load(),
    })
}

fn date() -> Result<String> {
    let mut date = std::process::Command::new("date");
    date.args(["-u", "+%Y-%m-%d %H:%M UTC"]);
    Ok(proc::output(date, "date")?.trim().to_owned())
}

fn driver(ctx: &Context, progress: &mut Progress) -> Result<()> {
    let prepared = Prepared::make(ctx, progress)?;
    let kernel = kernel::build(ctx, progress, ctx.params.debug)?;
    let setup = prepared.setup(ctx);
    let mut steps = TURN.repeat(TURNS);
    steps.push(TIMES);
    let before = load();
    let times = progress.step("times", || measure(&setup, &kernel, &steps, &[]))?;
    let counting = Setup {
        accelerator: Accelerator::Counting,
        ..setup
    };
    let first = progress.step("instructions", || {
        measure(&counting, &kernel, &[INSTRUCTIONS], &[LATE])
    })?;
    let second = progress.step("instructions again", || {
        measure(&counting, &kernel, &[INSTRUCTIONS], &[LATE])
    })?;
    let subject = Subject {
        date: date()?,
        machine: processor(),
        cores: std::thread::available_parallelism().map_or(0, |n| n.get()),
        load: [before, load()],
        versions: prepared.versions(ctx, &kernel),
    };
    let text = table::markdown(&subject, &times, &first, &second);
    let report = Report {
        subject: &subject,
        times: &times,
        instructions: [&first, &second],
    };
    keep(ctx, "bench", "results", &text, &report)
}
