// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make test`: everything that is checked, the fast things first.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use serde::Serialize;

use crate::compare;
use crate::context::Context;
use crate::faults;
use crate::host::Host;
use crate::kernel::{self, Kernel};
use crate::ktap;
use crate::kunit;
use crate::lint;
use crate::picture;
use crate::piglit;
use crate::prepare::Prepared;
use crate::proc;
use crate::progress::Progress;
use crate::report;
use crate::results::{self, Versions};
use crate::session;
use crate::uapi;
use crate::verbs;
use crate::vm::{self, End, Outcome, Spec};

/// What one test came to.
#[derive(Debug, Serialize)]
struct Verdict {
    name: String,
    passed: bool,
    why: String,
}

#[derive(Debug, Serialize)]
struct Results<'a> {
    passed: usize,
    failed: usize,
    seconds: f64,
    versions: Option<Versions>,
    verdicts: &'a [Verdict],
}

/// Counts as tests are done and prints each.
struct Tally {
    verdicts: Vec<Verdict>,
    started: Instant,
}

impl Tally {
    fn add(&mut self, name: impl Into<String>, result: Result<()>) {
        let name = name.into();
        let at = self.started.elapsed().as_secs();
        let why = match result {
            Ok(()) => {
                println!("[{:2}:{:02}] ok      {name}", at / 60, at % 60);
                String::new()
            }
            Err(error) => {
                let why = format!("{error:#}");
                println!("[{:2}:{:02}] FAILED  {name}: {why}", at / 60, at % 60);
                why
            }
        };
        self.verdicts.push(Verdict {
            name,
            passed: why.is_empty(),
            why,
        });
    }

    fn counts(&self) -> (usize, usize) {
        let passed = self.verdicts.iter().filter(|v| v.passed).count();
        (passed, self.verdicts.len() - passed)
    }
}

/// Steps of a session, with names that no step of another session has.
const SESSION: [(&str, &str); 19] = [
    ("identity", "identity"),
    ("uevent", "cat /sys/class/drm/renderD128/device/uevent"),
    ("references-before", "references"),
    ("vulkan", "vulkaninfo --summary"),
    ("egl", "eglinfo -B -p surfaceless"),
    ("opencl", "clinfo"),
    ("vecadd", "vecadd"),
    picture::STEPS[0],
    picture::STEPS[1],
    ("interface", "asahi-tests"),
    ("rebind-1", "rebind"),
    ("vecadd-1", "vecadd"),
    ("rebind-2", "rebind"),
    ("vecadd-2", "vecadd"),
    ("rebind-3", "rebind"),
    ("vecadd-3", "vecadd"),
    ("references-after", "references"),
    ("reload", "reload"),
    ("vecadd-reload", "vecadd"),
];

/// The groups of tests in the order in which they run.
const GROUPS: [&str; 8] = [
    "cargo", "shim", "piglit", "kunit", "guest", "faults", "debug", "lint",
];

/// How many tests of piglit's profiles run.
const PIGLIT: [(&str, usize); 3] = [("quick_cl", 40), ("quick_shader", 150), ("quick_gl", 100)];

pub fn run(ctx: &Context) -> Result<u8> {
    let only = &ctx.params.only;
    if let Some(unknown) = only.iter().find(|o| !GROUPS.contains(&o.as_str())) {
        bail!("ONLY={unknown}: there are {}", GROUPS.join(", "));
    }
    let wanted = |group: &str| only.is_empty() || only.iter().any(|o| o == group);
    let mut progress = verbs::progress(ctx);
    let mut tally = Tally {
        verdicts: Vec::new(),
        started: Instant::now(),
    };
    if wanted("cargo") {
        progress.step("cargo tests", || cargo_tests(ctx, &mut tally))?;
    }
    if wanted("shim") {
        shim_tests(ctx, &mut progress, &mut tally);
    }
    if wanted("piglit") {
        piglit_tests(ctx, &mut progress, &mut tally);
    }
    let mut versions = None;
    if GROUPS[3..7].iter().any(|group| wanted(group)) {
        let prepared = Prepared::make(ctx, &mut progress)?;
        let kernel = kernel::build(ctx, &mut progress, false)?;
        let these = prepared.versions(ctx, &kernel);
        these.print();
        versions = Some(these);
        if wanted("kunit") {
            kunit_tests(ctx, &prepared, &kernel, &mut tally);
        }
        if wanted("guest") {
            guest_session(ctx, &prepared, &kernel, &mut tally);
        }
        if wanted("faults") {
            for name in faults::names() {
                let result = faults::run(ctx, &prepared, &kernel, name);
                tally.add(format!("fault {name}"), result);
            }
            match faults::on_demand(ctx, &prepared, &kernel) {
                Ok(cases) => {
                    for case in &cases {
                        tally.add(format!("fault {}", case.name), uapi::verdict(case));
                    }
                }
                Err(error) => tally.add("faults on demand", Err(error)),
            }
        }
        if wanted("debug") {
            match kernel::build(ctx, &mut progress, true) {
                Ok(debug) => guest_session(ctx, &prepared, &debug, &mut tally),
                Err(error) => tally.add("debug kernel: build", Err(error)),
            }
        }
    }
    if wanted("lint") {
        let found = lint::lint(ctx, &mut progress).and_then(|status| match status {
            0 => Ok(()),
            _ => Err(anyhow!("see above")),
        });
        tally.add("lint", found);
    }

    let (passed, failed) = tally.counts();
    results::write(
        ctx,
        "test",
        &Results {
            passed,
            failed,
            seconds: progress.elapsed().as_secs_f64(),
            versions,
            verdicts: &tally.verdicts,
        },
    )?;
    // Once more: whoever keeps only the end of a long log finds them there.
    for verdict in tally.verdicts.iter().filter(|v| !v.passed) {
        println!("FAILED  {}: {}", verdict.name, verdict.why);
    }
    println!("{passed} passed, {failed} failed");
    Ok(u8::from(failed > 0))
}

/// Programs on the GPU model in their own process, against what a CPU makes of them.
fn shim_tests(ctx: &Context, progress: &mut Progress, tally: &mut Tally) {
    let made = Host::make(ctx, progress, false)
        .and_then(|host| Ok((host, compare::Programs::build(ctx, progress)?)));
    let (host, programs) = match made {
        Ok(made) => made,
        Err(error) => return tally.add("shim: set up", Err(error)),
    };
    tally.add("shim: OpenCL kernels", compare::kernels(&host, &programs));
    let result = compare::compare(
        ctx,
        &host,
        &programs,
        &compare::SELECTION,
        |name, result| {
            let small = result.and_then(|compared| match compared.alike() {
                true => Ok(()),
                false => bail!(
                    "{} ({})",
                    compared.difference,
                    compared.differences.display()
                ),
            });
            tally.add(format!("shim: {name}"), small);
        },
    );
    if let Err(error) = result {
        tally.add("shim: frames", Err(error));
    }
}

/// A sample of each profile of piglit, in the shim.
fn piglit_tests(ctx: &Context, progress: &mut Progress, tally: &mut Tally) {
    let host = match Host::make(ctx, progress, true) {
        Ok(host) => host,
        Err(error) => return tally.add("piglit: set up", Err(error)),
    };
    for (profile, size) in PIGLIT {
        let result = piglit::sample(ctx, &host, profile, size);
        tally.add(format!("piglit: {size} of {profile}"), result);
    }
}

/// The workspace's own tests, counted one by one.
fn cargo_tests(ctx: &Context, tally: &mut Tally) -> Result<()> {
    let log = proc::fresh(&ctx.build.join("logs"), "cargo-test.log")?;
    let file = std::fs::File::create(&log)?;
    let status = proc::command("cargo")
        .current_dir(ctx.asahi())
        // The tests of the driver's interface are a program for the guest.
        .args([
            "test",
            "--locked",
            "--workspace",
            "--no-fail-fast",
            "--exclude",
            "asahi-tests",
        ])
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()?;
    let text = proc::tail_of(&log, u64::MAX);
    for (name, passed) in cargo_results(&text) {
        if passed {
            tally.verdicts.push(Verdict {
                name,
                passed,
                why: String::new(),
            });
        } else {
            tally.add(
                format!("cargo test: {name}"),
                Err(anyhow!("see {}", log.display())),
            );
        }
    }
    let failed = tally.counts().1;
    let whole = if status.success() || failed > 0 {
        Ok(())
    } else {
        Err(anyhow!(
            "{} (log: {})",
            proc::telling_lines(&text, 3).join("; "),
            log.display()
        ))
    };
    tally.add(
        format!("cargo test ({} tests)", tally.verdicts.len()),
        whole,
    );
    Ok(())
}

/// The tests in what `cargo test` printed.
fn cargo_results(text: &str) -> Vec<(String, bool)> {
    text.lines()
        .filter_map(|line| {
            let (name, result) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
            match result {
                "ok" => Some((name.to_owned(), true)),
                _ if result.starts_with("FAILED") => Some((name.to_owned(), false)),
                _ => None,
            }
        })
        .collect()
}

fn kunit_tests(ctx: &Context, prepared: &Prepared, kernel: &Kernel, tally: &mut Tally) {
    match kunit::cases_of(ctx, prepared, kernel) {
        Err(error) => tally.add("kunit", Err(error)),
        Ok(result) => {
            for case in result.cases.iter().filter(|c| !c.skipped) {
                tally.add(format!("kunit: {}", case.name), uapi::verdict(case));
            }
            let whole = if result.problems.is_empty() {
                Ok(())
            } else {
                Err(anyhow!("{}", result.problems.join("; ")))
            };
            tally.add("kunit: the guest", whole);
        }
    }
}

/// One guest that does everything a client and an administrator do, judged step by step.
fn guest_session(ctx: &Context, prepared: &Prepared, kernel: &Kernel, tally: &mut Tally) {
    let what = if kernel.debug { "debug kernel: " } else { "" };
    let mut steps = SESSION.to_vec();
    if kernel.debug {
        steps.push(("leaks", "leaks"));
    }
    let script = session::script(&steps);
    let limit = Duration::from_secs(if kernel.debug { 2700 } else { 1200 });
    let outcome = vm::run(
        &prepared.setup(ctx),
        &Spec {
            timeout: Some(limit),
            ..Spec::kept(kernel, &script)
        },
    );
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            tally.add(format!("{what}guest"), Err(error));
            return;
        }
    };
    let done = session::steps_of(&outcome);
    for (name, _) in &steps {
        let Some(step) = session::find(&done, name) else {
            tally.add(format!("{what}{name}"), Err(anyhow!("did not run")));
            continue;
        };
        if *name == "interface" {
            let cases = ktap::cases(&step.text);
            for case in &cases {
                tally.add(
                    format!("{what}interface: {}", case.name),
                    uapi::verdict(case),
                );
            }
            if cases.is_empty() {
                tally.add(
                    format!("{what}interface"),
                    Err(anyhow!("{}", step.last_line())),
                );
            }
            continue;
        }
        let judged = match *name {
            "uevent" => uevent(&step.text),
            // The checks of a program do not depend on which run of it this is.
            name if name.starts_with("vecadd") => report::judge(&session::Step {
                name: "vecadd".to_owned(),
                ..step.clone()
            })
            .map(drop),
            "references-after" => session::find(&done, "references-before")
                .filter(|before| before.passed() && step.passed() && before.text == step.text)
                .map(drop)
                .ok_or_else(|| {
                    let before =
                        session::find(&done, "references-before").map_or("", |s| s.text.trim());
                    anyhow!("before: {before:?}, after: {:?}", step.text.trim())
                }),
            name if name == picture::STEPS[1].0 => report::judge(step).and_then(|_| {
                let to = ctx.build.join("results");
                picture::judge(&outcome.dir.join("out"), &to).map(drop)
            }),
            _ => report::judge(step).map(drop),
        };
        tally.add(format!("{what}{name}"), judged);
    }
    clean(&outcome, what, tally);
}

/// The parent that Mesa looks for: on the platform bus, with its node's name.
fn uevent(text: &str) -> Result<()> {
    let has = |line: &str| text.lines().any(|l| l.starts_with(line));
    if has("DRIVER=asahi") && has("OF_NAME=gpu") && has("OF_COMPATIBLE_0=apple,agx") {
        return Ok(());
    }
    Err(anyhow!("{}", text.replace('\n', " ")))
}

/// What must hold of every guest: it ended well and nobody complained.
fn clean(outcome: &Outcome, what: &str, tally: &mut Tally) {
    let place = outcome.dir.display();
    let end = match &outcome.end {
        End::Exited(_) => Ok(()),
        End::TimedOut => Err(anyhow!("timed out (logs: {place})")),
        End::Failed(why) => Err(anyhow!("{why} (logs: {place})")),
    };
    tally.add(format!("{what}the guest ends"), end);
    let none = |lines: &[String]| match lines.first() {
        None => Ok(()),
        Some(first) => Err(anyhow!(
            "{} in all, first: {first} (logs: {place})",
            lines.len()
        )),
    };
    tally.add(
        format!("{what}no kernel warning"),
        none(&uapi::reports(&outcome.kernel_log())),
    );
    let said = String::from_utf8_lossy(&outcome.stdout);
    let mut complaints = uapi::complaints(&said, &outcome.complaints);
    complaints.extend(outcome.vagx_error.clone());
    tally.add(format!("{what}no complaint of vagx"), none(&complaints));
}

#[cfg(test)]
mod cases {
    use super::*;

    #[test]
    fn cargo_output_is_counted() {
        let text = "running 2 tests\ntest a::b ... ok\ntest c ... FAILED\ntest d ... ignored\ntest result: FAILED. 1 passed\n";
        assert_eq!(
            cargo_results(text),
            [("a::b".to_owned(), true), ("c".to_owned(), false)]
        );
    }

    #[test]
    fn the_parent_is_a_platform_device() {
        let good = "DRIVER=asahi\nOF_NAME=gpu\nOF_FULLNAME=/x/gpu@206400000\nOF_COMPATIBLE_0=apple,agx-t8103\n";
        assert!(uevent(good).is_ok());
        assert!(uevent("DRIVER=vfio-pci\n").is_err());
    }
}
