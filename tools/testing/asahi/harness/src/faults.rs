// SPDX-License-Identifier: MIT OR Apache-2.0

//! A coprocessor that misbehaves, one guest for each way: the driver must come to an end in bounded
//! time, say so, and leave nothing broken behind.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use crate::context::Context;
use crate::kernel::Kernel;
use crate::prepare::Prepared;
use crate::session::{self, Step};
use crate::vagx;
use crate::vm::{self, End, Spec};

/// When the coprocessor goes wrong, and so what must come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// While the driver starts it: the driver does not bind and says why.
    Start,
    /// While it runs a job: the client gets an error and ends, and the driver can be unbound.
    Job,
}

const FAULTS: [(&str, When); 13] = [
    ("no-answer", When::Start),
    ("bad-hello", When::Start),
    ("no-power", When::Start),
    ("crash-at-boot", When::Start),
    ("deaf:2", When::Start),
    ("silent", When::Start),
    ("no-handoff", When::Start),
    ("crash-at-init", When::Start),
    ("hang-job:1", When::Job),
    ("lose-job:1", When::Job),
    ("fault-job:1", When::Job),
    ("crash-after:1", When::Job),
    ("silent-after:1", When::Job),
];

/// A job that the firmware forgot is given up after this; the default would make the tests long.
const CMDLINE: &str = "asahi.job_timeout_ms=4000";

const START: [(&str, &str); 3] = [
    ("probe", "settle"),
    ("node", "test ! -e /dev/dri/renderD128"),
    ("unload", "modprobe -r asahi"),
];

const JOB: [(&str, &str); 3] = [
    ("client", "timeout 60 vecadd"),
    ("unbind", "unbind"),
    ("unload", "modprobe -r asahi"),
];

/// The names of the tests and a way to run each.
pub fn names() -> impl Iterator<Item = &'static str> {
    FAULTS.iter().map(|(name, _)| *name)
}

pub fn run(ctx: &Context, prepared: &Prepared, kernel: &Kernel, name: &str) -> Result<()> {
    let Some((_, when)) = FAULTS.iter().find(|(n, _)| *n == name) else {
        bail!("there is no fault {name}");
    };
    let steps = match when {
        When::Start => START,
        When::Job => JOB,
    };
    let script = session::script(&steps);
    let outcome = vm::run(
        &prepared.setup(ctx),
        &Spec {
            timeout: Some(Duration::from_secs(180)),
            cmdline: CMDLINE,
            wait: *when == When::Job,
            vagx: vagx::Options {
                faults: vec![name.to_owned()],
                ..vagx::Options::default()
            },
            ..Spec::kept(kernel, &script)
        },
    )?;
    let place = outcome.dir.display();
    match &outcome.end {
        End::Exited(_) => {}
        End::TimedOut => bail!("the guest hung (logs: {place})"),
        End::Failed(why) => bail!("{why} (logs: {place})"),
    }
    judge(*when, &session::steps_of(&outcome), &outcome.kernel_log())
        .map_err(|why| anyhow!("{why:#} (logs: {place})"))?;
    if let Some(line) = vm::reports(&outcome.kernel_log()).first() {
        bail!("kernel: {line} (logs: {place})");
    }
    if let Some(complaint) = outcome.complaints.first() {
        bail!("vagx complained: {complaint} (logs: {place})");
    }
    Ok(())
}

fn judge(when: When, steps: &[Step], kernel_log: &str) -> Result<()> {
    for (name, _) in if when == When::Start { START } else { JOB } {
        let step = session::find(steps, name).ok_or_else(|| anyhow!("{name} did not run"))?;
        match (name, step.status) {
            ("client", Some(0)) => bail!("the client saw no error"),
            ("client", Some(124)) => bail!("the client was never told"),
            ("client", Some(_)) => {}
            (_, Some(0)) => {}
            _ => bail!("{name}: {}", step.last_line()),
        }
    }
    let told = kernel_log
        .lines()
        .any(|line| line.contains("asahi ") && !line.contains("Linux version"));
    if !told {
        bail!("the driver said nothing");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, status: i32) -> Step {
        Step {
            name: name.to_owned(),
            status: Some(status),
            seconds: 0.0,
            text: String::new(),
        }
    }

    #[test]
    fn a_client_must_see_an_error_and_end() {
        let log = "[ 1.0] asahi 206400000.gpu: job timed out\n";
        let with = |status| [step("client", status), step("unbind", 0), step("unload", 0)];
        assert!(judge(When::Job, &with(134), log).is_ok());
        assert!(judge(When::Job, &with(0), log).is_err());
        assert!(judge(When::Job, &with(124), log).is_err());
        assert!(judge(When::Job, &with(1), "").is_err());
    }
}
