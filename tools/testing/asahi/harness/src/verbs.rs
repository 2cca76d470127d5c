// SPDX-License-Identifier: MIT OR Apache-2.0

//! The small verbs. Each gives the status that make ends with.

use anyhow::{Context as _, Result, bail};

use crate::context::Context;
use crate::kernel::{self, Kernel};
use crate::prepare::Prepared;
use crate::progress::Progress;
use crate::vagx;
use crate::vm::{self, End, Outcome, Output, Spec};

/// The status of a command that ran out of time, as timeout(1) has it.
const TIMED_OUT: u8 = 124;
/// The status when the guest failed and not the command.
const GUEST_FAILED: u8 = 125;

pub fn progress(ctx: &Context) -> Progress {
    Progress::new(ctx.cache.join("history.json"))
}

/// What a person is told of a run that did not just end.
pub fn tell(outcome: &Outcome) {
    for complaint in &outcome.complaints {
        eprintln!("vagx complains: {complaint}");
    }
    if let Some(error) = &outcome.vagx_error {
        eprintln!("{error}");
    }
    for line in vm::reports(&outcome.kernel_log()).iter().take(5) {
        eprintln!("kernel: {line}");
    }
    eprint!("{}", String::from_utf8_lossy(&outcome.stderr));
    match &outcome.end {
        End::Exited(_) => {}
        End::TimedOut => eprintln!(
            "{}\ntimed out (logs: {})",
            outcome.kernel_tail(20),
            outcome.dir.display()
        ),
        End::Failed(why) => eprintln!(
            "{}\nthe guest failed: {why} (logs: {})",
            outcome.kernel_tail(20),
            outcome.dir.display()
        ),
    }
}

fn status(outcome: &Outcome) -> u8 {
    match outcome.end {
        End::Exited(code) => u8::try_from(code).unwrap_or(GUEST_FAILED),
        End::TimedOut => TIMED_OUT,
        End::Failed(_) => GUEST_FAILED,
    }
}

fn one_guest(ctx: &Context, output: Output, command: &str) -> Result<u8> {
    let mut progress = progress(ctx);
    let params = &ctx.params;
    vm::check_share(params.share.as_deref())?;
    let prepared = Prepared::make(ctx, &mut progress)?;
    let kernel = kernel::build(ctx, &mut progress, params.debug)?;
    let outcome = vm::run(
        &prepared.setup(ctx),
        &Spec {
            kernel: &kernel,
            command,
            output,
            timeout: params.timeout,
            share: params.share.as_deref(),
            cmdline: params.cmdline.as_deref().unwrap_or_default(),
            vagx: vagx::Options {
                faults: params.faults.clone(),
                capture: params.capture.clone(),
                trace: params.trace.clone(),
            },
            wait: params.wait,
        },
    )?;
    tell(&outcome);
    Ok(status(&outcome))
}

pub fn vm(ctx: &Context) -> Result<u8> {
    let command = ctx
        .params
        .cmd
        .as_deref()
        .context("what is to run? make vm CMD='...'")?;
    one_guest(ctx, Output::Through, command)
}

pub fn shell(ctx: &Context) -> Result<u8> {
    use std::io::IsTerminal;
    if !std::io::stdin().is_terminal() {
        bail!("make shell needs a terminal; make vm CMD='...' does not");
    }
    one_guest(ctx, Output::Terminal, "")
}

pub fn kernel(ctx: &Context) -> Result<u8> {
    let Kernel {
        image,
        release,
        objects,
        ..
    } = kernel::build(ctx, &mut progress(ctx), ctx.params.debug)?;
    eprintln!("Linux {release}: {}", image.display());
    eprintln!("modules: {}", objects.display());
    Ok(0)
}
