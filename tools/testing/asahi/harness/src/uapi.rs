// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make uapi`: the tests of the driver's interface in a guest of their own, and how a run of them is
//! judged wherever it happens.

use std::time::Duration;

use anyhow::{Result, anyhow};
use serde::Serialize;

use crate::context::Context;
use crate::kernel;
use crate::ktap::{self, Case};
use crate::prepare::Prepared;
use crate::results::{self, Versions};
use crate::session;
use crate::vagx;
use crate::verbs;
use crate::vm::{self, End, Output, Spec};

/// What the program says of a test that makes vagx complain on purpose.
const EXPECTS: &str = ": expects complaint: ";

/// What the program writes into the kernel's log before each test.
const MARK: &str = "asahi-tests: ";

/// Whether a case passed, and why not.
pub fn verdict(case: &Case) -> Result<()> {
    match case.passed {
        true => Ok(()),
        false => Err(anyhow!("{}", case.why.join("; "))),
    }
}

/// What vagx complained of and no test had announced, and what was announced and did not come.
pub fn complaints(said: &str, complaints: &[String]) -> Vec<String> {
    let expected: Vec<(&str, &str)> = said
        .lines()
        .filter_map(|line| line.strip_prefix("# ")?.split_once(EXPECTS))
        .collect();
    let unannounced = complaints
        .iter()
        .filter(|complaint| expected.iter().all(|(_, text)| !complaint.contains(text)))
        .map(|complaint| format!("vagx complains: {complaint}"));
    let absent = expected
        .iter()
        .filter(|(_, text)| complaints.iter().all(|c| !c.contains(text)))
        .map(|(test, text)| format!("{test}: vagx did not complain of \"{text}\""));
    unannounced.chain(absent).collect()
}

/// What the kernel reports, each with the test that was running.
pub fn reports(log: &str) -> Vec<String> {
    let mut running = "before the tests";
    let mut all = Vec::new();
    for line in log.lines() {
        match line.split_once(MARK) {
            Some((_, name)) => running = name.trim(),
            None => all.extend(
                vm::reports(line)
                    .iter()
                    .map(|report| format!("{running}: the kernel reports: {}", report.trim())),
            ),
        }
    }
    all
}

#[derive(Debug, Serialize)]
struct Results {
    passed: usize,
    skipped: usize,
    failed: Vec<String>,
    problems: Vec<String>,
    seed: Option<String>,
    debug: bool,
    seconds: f64,
    versions: Versions,
}

/// The guest's commands: the tests, and on the debug kernel a search for what they leaked.
fn script(ctx: &Context) -> String {
    let params = &ctx.params;
    let mut arguments = String::new();
    if let Some(seed) = &params.seed {
        arguments += &format!(" --seed {seed}");
    }
    for name in &params.test {
        arguments += &format!(" '{}'", name.replace('\'', ""));
    }
    let mut script = format!("{}asahi-tests{arguments}\nstatus=$?\n", session::LIBRARY);
    if params.debug {
        script += "leaks >&2 || { echo 'not ok 1 kmemleak'; status=1; }\n";
    }
    script + "exit $status\n"
}

pub fn run(ctx: &Context) -> Result<u8> {
    let mut progress = verbs::progress(ctx);
    let params = &ctx.params;
    let prepared = Prepared::make(ctx, &mut progress)?;
    let kernel = kernel::build(ctx, &mut progress, params.debug)?;
    let limit = Duration::from_secs(if params.debug { 3600 } else { 1800 });
    let outcome = vm::run(
        &prepared.setup(ctx),
        &Spec {
            output: Output::Both,
            timeout: Some(params.timeout.unwrap_or(limit)),
            cmdline: params.cmdline.as_deref().unwrap_or_default(),
            vagx: vagx::Options {
                faults: params.faults.clone(),
                capture: params.capture.clone(),
                trace: params.trace.clone(),
            },
            ..Spec::kept(&kernel, &script(ctx))
        },
    )?;

    let said = String::from_utf8_lossy(&outcome.stdout);
    let cases = ktap::cases(&said);
    let failed: Vec<String> = cases
        .iter()
        .filter(|case| !case.passed)
        .map(|case| case.name.clone())
        .collect();
    let skipped = cases.iter().filter(|case| case.skipped).count();
    let passed = cases.len() - failed.len() - skipped;

    let mut problems = complaints(&said, &outcome.complaints);
    problems.extend(reports(&outcome.kernel_log()));
    problems.extend(outcome.vagx_error.clone());
    match &outcome.end {
        End::Exited(status) if *status != 0 && failed.is_empty() => {
            problems.push(format!("asahi-tests ended with {status}"));
        }
        End::Exited(_) => {}
        End::TimedOut => problems.push("the guest did not end".to_owned()),
        End::Failed(why) => problems.push(why.clone()),
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    let seconds = progress.elapsed().as_secs_f64();
    let seed = said.lines().find_map(|line| line.strip_prefix("# seed "));
    let well = failed.is_empty() && problems.is_empty() && !cases.is_empty();
    println!(
        "uapi: {passed} passed, {} failed, {skipped} skipped, {} other problems (seed {}, {seconds:.0} s, logs: {}){}{}",
        failed.len(),
        problems.len(),
        seed.unwrap_or("none"),
        outcome.dir.display(),
        if failed.is_empty() { "" } else { ": " },
        failed.join(", "),
    );
    results::write(
        ctx,
        "uapi",
        &Results {
            passed,
            skipped,
            failed,
            problems,
            seed: seed.map(str::to_owned),
            debug: params.debug,
            seconds,
            versions: prepared.versions(ctx, &kernel),
        },
    )?;
    Ok(u8::from(!well))
}

#[cfg(test)]
mod cases {
    use super::*;

    #[test]
    fn only_what_was_announced_may_be_complained_of() {
        let said = "# a::b: expects complaint: is unmapped\nok 1 a::b\n";
        let come = ["Stream.address: is unmapped".to_owned()];
        assert!(complaints(said, &come).is_empty());
        assert_eq!(complaints(said, &[]).len(), 1);
        assert_eq!(complaints("ok 1 a::b\n", &come).len(), 1);
    }

    #[test]
    fn reports_are_laid_at_a_tests_door() {
        let log = "[ 1.0] asahi-tests: a::b\n[ 1.1] fine\n[ 1.2] asahi-tests: c\n[ 1.3] WARNING: CPU: 0\n";
        assert_eq!(
            reports(log),
            ["c: the kernel reports: [ 1.3] WARNING: CPU: 0"]
        );
    }
}
