// SPDX-License-Identifier: MIT OR Apache-2.0

//! What people are told: jobs that did not run to their end, and on request what runs.

use crate::cmdbuf::Command;
use crate::device::device;
use crate::profile;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use vagx_gpu::{JobError, LaunchInfo, Observer, Stats};

/// How long a process that ends waits for what it has submitted.
const PATIENCE: Duration = Duration::from_secs(10);

static FAILED: AtomicBool = AtomicBool::new(false);

/// Has the process wait for its jobs when it ends, and tell by its status if one has failed.
pub fn at_exit() {
    extern "C" fn at_exit() {
        device().drain(Instant::now() + PATIENCE);
        profile::end();
        if FAILED.load(Relaxed) {
            eprintln!("vagx-shim: there were jobs that did not run to their end");
            // SAFETY: Ends the process at once, which is the point: its own status would hide this. Null stands for
            // all streams.
            unsafe {
                libc::fflush(std::ptr::null_mut());
                libc::_exit(3);
            }
        }
    }
    // SAFETY: The function is of the type that atexit wants.
    unsafe { libc::atexit(at_exit) };
}

/// Tells of a job that did not run to its end.
pub fn failed(command: &Command, error: &JobError) {
    FAILED.store(true, Relaxed);
    // One write, so that processes that share stderr do not mix their lines.
    match command {
        Command::Compute(c) => eprintln!(
            "vagx-shim: compute job of {:#x}: {error}",
            c.cdm_ctrl_stream_base
        ),
        Command::Render(c) => eprintln!(
            "vagx-shim: render job of {:#x}, {}x{} pixels, {} layers, {} samples: {error}",
            c.vdm_ctrl_stream_base, c.width_px, c.height_px, c.layers, c.samples
        ),
    }
}

/// Tells each launch on stderr when VAGX_SHIM_TRACE is set.
pub struct Tell(bool);

impl Tell {
    pub fn new() -> Tell {
        static TRACE: OnceLock<bool> = OnceLock::new();
        Tell(*TRACE.get_or_init(|| std::env::var_os("VAGX_SHIM_TRACE").is_some()))
    }
}

impl Observer for Tell {
    fn launch(&self, info: &LaunchInfo) {
        if self.0 {
            eprintln!(
                "vagx-shim: launch {:x?} of {:x?} at {:#x}",
                info.grid, info.local, info.shader
            );
        }
    }

    fn launch_done(&self, _: &LaunchInfo, stats: &Stats) {
        if self.0 {
            eprintln!("vagx-shim: {stats:?}");
        }
    }
}
