// SPDX-License-Identifier: MIT OR Apache-2.0

//! What must come of a coprocessor that misbehaves: a line in the kernel's log that says so, an error
//! for the clients that are concerned and for no others, and all of it in bounded time.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::context::Context;
use crate::kernel::Kernel;
use crate::ktap::{self, Case};
use crate::prepare::Prepared;
use crate::session;
use crate::uapi;
use crate::vagx;
use crate::vm::{self, End, Outcome, Spec};

/// One way to misbehave.
struct Fault {
    /// As `vagx serve --fault` has it; the number is that of the job.
    kind: &'static str,
    /// Part of the line that tells it.
    says: &'static str,
    /// What clients that submit a job one after the other get, as the test program says it.
    clients: &'static [&'static str],
}

/// The client.
const CLIENT: &str = "asahi-tests submit::nothing";

const FINE: &str = "\nok 1 ";
const NO_DEVICE: &str = "there is no render node";
const TIMED_OUT: &str = "have failed with -110";
const FAILED: &str = "have failed with -5";
const GONE: &str = "No such device";
const LOST: &str = "have failed with -19";

/// The driver waits for a job that the firmware does not tell of as long as this says. Short, because
/// that is the time which the test takes.
const CMDLINE: &str = "asahi.job_timeout_ms=4000";

/// In this time a guest boots, gets over the fault and powers off.
const LIMIT: Duration = Duration::from_secs(120);

const fn fault(kind: &'static str, says: &'static str, clients: &'static [&'static str]) -> Fault {
    Fault {
        kind,
        says,
        clients,
    }
}

const FAULTS: [Fault; 18] = [
    // The coprocessor does not boot.
    fault(
        "no-answer",
        "timed out waiting for the firmware to boot",
        &[NO_DEVICE],
    ),
    fault(
        "bad-hello",
        "the firmware does not boot as RTKit does",
        &[NO_DEVICE],
    ),
    fault(
        "no-power",
        "timed out waiting for the firmware to boot",
        &[NO_DEVICE],
    ),
    fault("crash-at-boot", "the firmware crashed", &[NO_DEVICE]),
    fault(
        "deaf:5",
        "timed out waiting for the firmware to boot",
        &[NO_DEVICE],
    ),
    // The firmware does not start.
    fault(
        "no-handoff",
        "timed out waiting for the firmware to initialise the handoff area",
        &[NO_DEVICE],
    ),
    fault(
        "hold-lock",
        "timed out waiting for the firmware to give up the handoff lock",
        &[NO_DEVICE],
    ),
    fault(
        "silent",
        "the firmware did not take its initialisation data",
        &[NO_DEVICE],
    ),
    fault("crash-at-init", "the firmware crashed", &[NO_DEVICE]),
    // It says strange things.
    fault(
        "bad-event",
        "the firmware sent an unknown event 0xdeadbeef",
        &[FINE, FINE],
    ),
    fault(
        "bad-ring",
        "of channel event is not below 256",
        // The event is lost, but when the job is late the driver sees that it is done.
        &[FINE, FINE],
    ),
    // A job goes wrong, the next one does not.
    fault(
        "hang-job:1",
        "event slot 0 fails up to stamp 0x100: timeout",
        &[TIMED_OUT, FINE],
    ),
    fault(
        "fault-job:1",
        "event slot 0 fails up to stamp 0x100: fault",
        &[FAILED, FINE],
    ),
    fault(
        "channel-error:1",
        "GPU channel error 1 of pipe 2",
        &[FAILED, FINE],
    ),
    // It goes wrong for good.
    fault(
        "lose-job:1",
        "a job takes too long, its queue is stopped",
        &[TIMED_OUT, FINE],
    ),
    fault(
        "silent-after:1",
        "the firmware does not answer any more, all work fails",
        &[FINE, LOST],
    ),
    fault(
        "crash-after:1",
        "the firmware crashed, all work fails",
        &[FINE, GONE],
    ),
    fault(
        "crash-job:1",
        "the firmware crashed, all work fails",
        &[LOST, GONE],
    ),
];

/// What a guest is given in which the tests themselves say when to go wrong.
const ON_DEMAND: [&str; 2] = ["on-demand", "time-limit:ms=2000"];

/// The tests that do.
const DEMANDING: &str = "asahi-tests ondemand:: fault::endless fault::leaves_an_endless_job \
    stress::faults::few stress::crash:: stress::exhaust::closing stress::exhaust::killed";

/// The names of the tests.
pub fn names() -> impl Iterator<Item = &'static str> {
    FAULTS.iter().map(|fault| fault.kind)
}

/// Runs the tests that have the firmware go wrong on demand, beside innocent clients.
pub fn on_demand(ctx: &Context, prepared: &Prepared, kernel: &Kernel) -> Result<Vec<Case>> {
    let steps = [("tests", DEMANDING), ("unload", "modprobe -r asahi")];
    let outcome = vm::run(
        &prepared.setup(ctx),
        &Spec {
            timeout: Some(LIMIT * 5),
            cmdline: CMDLINE,
            vagx: vagx::Options {
                faults: ON_DEMAND.map(str::to_owned).to_vec(),
                ..vagx::Options::default()
            },
            ..Spec::kept(kernel, &session::script(&steps))
        },
    )?;
    let place = outcome.dir.display();
    let done = session::steps_of(&outcome);
    let text = session::find(&done, "tests").map_or("", |step| &step.text);
    let cases = ktap::cases(text);
    ensure!(!cases.is_empty(), "no test has run (logs: {place})");
    let unloaded = session::find(&done, "unload").is_some_and(session::Step::passed);
    ensure!(unloaded, "the driver does not unload (logs: {place})");
    let mut problems = uapi::reports(&outcome.kernel_log());
    problems.extend(uapi::complaints(text, &outcome.complaints));
    problems.extend(outcome.vagx_error.clone());
    ensure!(
        problems.is_empty(),
        "{} (logs: {place})",
        problems.join("; ")
    );
    Ok(cases)
}

/// Runs one of them in a guest of its own.
pub fn run(ctx: &Context, prepared: &Prepared, kernel: &Kernel, name: &str) -> Result<()> {
    let Some(fault) = FAULTS.iter().find(|fault| fault.kind == name) else {
        bail!("there is no fault {name}");
    };
    let mut steps: Vec<(String, &str)> = (1..=fault.clients.len())
        .map(|number| (format!("client-{number}"), CLIENT))
        .collect();
    steps.push(("unload".to_owned(), "modprobe -r asahi"));
    let steps: Vec<(&str, &str)> = steps
        .iter()
        .map(|(name, command)| (&**name, *command))
        .collect();
    let outcome = vm::run(
        &prepared.setup(ctx),
        &Spec {
            timeout: Some(LIMIT),
            cmdline: CMDLINE,
            vagx: vagx::Options {
                faults: vec![fault.kind.to_owned()],
                ..vagx::Options::default()
            },
            wait: !fault.clients.contains(&NO_DEVICE),
            ..Spec::kept(kernel, &session::script(&steps))
        },
    )?;
    judge(fault, &outcome).map_err(|e| e.context(format!("logs: {}", outcome.dir.display())))
}

fn judge(fault: &Fault, outcome: &Outcome) -> Result<()> {
    match &outcome.end {
        End::Exited(_) => {}
        End::TimedOut => bail!("the guest did not end"),
        End::Failed(why) => bail!("{why}"),
    }
    let done = session::steps_of(outcome);
    for (number, wanted) in fault.clients.iter().enumerate() {
        let text = session::find(&done, &format!("client-{}", number + 1)).map_or("", |s| &s.text);
        ensure!(
            format!("\n{text}").contains(wanted),
            "client {} got no \"{}\" but: {}",
            number + 1,
            wanted.trim(),
            text.trim().replace('\n', "; ")
        );
    }
    let unloaded = session::find(&done, "unload").is_some_and(session::Step::passed);
    ensure!(unloaded, "the driver does not unload");
    let log = outcome.kernel_log();
    ensure!(
        log.contains(fault.says),
        "the kernel's log has no \"{}\"",
        fault.says
    );
    if let Some(report) = vm::reports(&log).first() {
        bail!("the kernel reports: {report}");
    }
    if let Some(complaint) = outcome.complaints.iter().chain(&outcome.vagx_error).next() {
        bail!("vagx: {complaint}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_kind_is_there_once() {
        let kinds: BTreeSet<&str> = FAULTS.iter().map(|f| f.kind).collect();
        assert_eq!(kinds.len(), FAULTS.len());
        assert!(FAULTS.iter().all(|f| !f.clients.is_empty()));
    }
}
