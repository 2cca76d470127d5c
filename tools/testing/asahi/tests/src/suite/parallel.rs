// SPDX-License-Identifier: MIT OR Apache-2.0

//! Processes and threads of a test's own.

use std::{io, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use crate::runner::wait;

/// How long a child may take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Runs something in a child process, which ends without undoing anything.
pub fn child(run: impl FnOnce() -> Result<()>) -> Result<i32> {
    // SAFETY: The test has one thread when it calls this.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()).context("fork"),
        0 => {
            let code = match run() {
                Ok(()) => 0,
                Err(error) => {
                    println!("# in the child: {error:#}");
                    1
                }
            };
            // SAFETY: Ends the process at once.
            unsafe { libc::_exit(code) }
        }
        pid => Ok(pid),
    }
}

/// Waits for a child that ends well.
pub fn ends_well(pid: i32) -> Result<()> {
    let status = wait(pid, LIMIT)?.context("the child did not end")?;
    ensure!(status == 0, "the child ended with status {status:#x}");
    Ok(())
}

/// Runs as many threads, and gives the first error.
pub fn threads(count: usize, run: impl Fn(usize) -> Result<()> + std::marker::Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|i| {
                let run = &run;
                scope.spawn(move || run(i))
            })
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(result) => result?,
                Err(_) => bail!("a thread panicked"),
            }
        }
        Ok(())
    })
}
