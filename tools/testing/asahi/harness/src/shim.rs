// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make shim`: a program of this machine's architecture on the virtual GPU inside its process. No
//! guest, no kernel driver.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::context::Context;
use crate::host::Host;
use crate::proc::Guarded;
use crate::verbs;
use crate::vm;

/// The status of a command that ran out of time, as timeout(1) has it.
const TIMED_OUT: u8 = 124;

/// Shows a folder where a guest has it, so that one command line does for both.
const SHARE: &str = r#"
mount -t tmpfs share /mnt && mkdir /mnt/share && mount --bind "$1" /mnt/share || exit 125
shift
exec "$@"
"#;

pub fn run(ctx: &Context) -> Result<u8> {
    let params = &ctx.params;
    let cmd = params
        .cmd
        .as_deref()
        .context("what is to run? make shim CMD='...'")?;
    if params.trace.is_some() {
        bail!("TRACE is of the firmware, which the shim has not; CAPTURE=DIR keeps the GPU's jobs");
    }
    vm::check_share(params.share.as_deref())?;
    let host = Host::make(ctx, &mut verbs::progress(ctx), params.piglit)?;
    let mut command = match params.wayland {
        true => host.wayland("/bin/sh"),
        false => host.command("/bin/sh"),
    };
    if let Some(dir) = &params.share {
        command.args(["-c", SHARE, "share"]).arg(dir).arg("/bin/sh");
    }
    command.args(["-c", cmd]);
    if let Some(dir) = &params.capture {
        command.env("VAGX_SHIM_CAPTURE", dir);
    }
    let mut child = Guarded::spawn(command, "the command")?;
    let limit = params.timeout.unwrap_or(Duration::MAX);
    match child.wait_for(limit)? {
        Some(status) => Ok(code(status)),
        None => {
            eprintln!("timed out");
            Ok(TIMED_OUT)
        }
    }
}

/// A status as a shell gives it.
fn code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, signal) => 128 + signal.unwrap_or(0) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_told_as_a_shell_does() {
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        let killed = rustix::process::Signal::KILL.as_raw();
        assert_eq!(code(ExitStatus::from_raw(killed)), 137);
    }
}
