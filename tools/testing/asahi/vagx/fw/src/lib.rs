// SPDX-License-Identifier: MIT OR Apache-2.0

//! A model of the firmware that runs on the coprocessor of Apple's GPU (ASC).
//!
//! It is one side of a conversation whose other side is the driver under test: a handoff region for page tables, an
//! initialisation message, doorbells, rings of messages, queues of commands, stamps. Facts come from m1n1's
//! definitions (`proxyclient/m1n1/fw/agx`), AsahiLinux/docs and what is known of other drivers, never from the driver
//! under test. What the real firmware would choke on is a complaint (`vagx_trace`).
//!
//! All guest memory is untrusted. Every access goes through the UAT with the firmware's rights; no index, size or
//! pointer is used before it has been checked, and the work per message is bounded.
//!
//! Threads: one answers messages, one for each of the three pipes runs commands, and more of them while a command is
//! set aside for a more urgent one. [`Firmware::message`] only leaves a note for the first.

mod buffer;
mod cache;
mod capture;
mod channel;
mod command;
mod compute;
mod config;
mod control;
mod courier;
mod engine;
mod faults;
mod fragment;
mod gpu;
mod handoff;
mod hwdata;
mod inbox;
mod initdata;
mod job;
mod layout;
mod log;
mod mem;
mod messages;
mod microseq;
mod port;
mod queue;
mod random;
mod sched;
mod stamp;
mod state;
mod vertex;
mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use vagx_gpu::{
    ComputeJob, FragmentJob, Geometry, RenderJob, Rendered, VertexJob, VertexStats,
};
use vagx_trace::{Level, Trace};
use vagx_uat::{PhysMem, Uat};

pub use capture::Capture;
pub use config::{FwConfig, Left, UnknownFirmware};
pub use control::{Cut, JobControl};
pub use engine::{ContextMemory, Engine, FaultUnit, JobError, JobStats};
pub use faults::{Inject, Kind, MARK, UnknownInject};
pub use gpu::GpuEngine;
pub use port::{FaultInfo, Port};

use crate::cache::FwCache;
use crate::handoff::HandoffRegion;
use crate::mem::FwMem;
use crate::sched::PIPES;
use crate::state::{Core, EP_DOORBELL, EP_FIRMWARE};

/// A job that does not heed its cancellation is left behind after so long.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The firmware, from the moment the coprocessor is started to the moment it is stopped.
pub struct Firmware {
    core: Arc<Core>,
}

impl Firmware {
    /// Starts the firmware. `mem` is physical memory and `handoff_pa` the handoff region in it.
    pub fn new(
        cfg: FwConfig,
        uat: Arc<Uat>,
        mem: Arc<dyn PhysMem>,
        handoff_pa: u64,
        port: Arc<dyn Port>,
        trace: Trace,
    ) -> Self {
        let cache = Arc::new(FwCache::new((*uat).clone(), trace.clone()));
        let view = FwMem::new(Arc::new(uat.watched(cache.clone())), trace.clone());
        let handoff = HandoffRegion::new(mem, view.clone(), handoff_pa);
        let core = Arc::new_cyclic(|me| Core::new(cfg, view, cache, handoff, port, trace, me));
        core.spawn("vagx-fw-message", messages::run);
        for pipe in PIPES {
            let name = format!("vagx-fw-{}", pipe.name());
            core.spawn(&name, move |core| worker::run(core, pipe));
        }
        if core.faults.delays() {
            core.spawn("vagx-fw-courier", courier::run);
        }
        Firmware { core }
    }

    /// Takes a message from the AP to one of the application endpoints.
    pub fn message(&self, ep: u8, msg: u64) {
        if ep == EP_FIRMWARE || ep == EP_DOORBELL {
            self.core.inbox.put(ep, msg);
        }
    }

    /// Stops the firmware; a job in progress is cancelled.
    pub fn stop(&mut self) {
        self.core.stop();
        let deadline = Instant::now() + STOP_PATIENCE;
        for thread in self.core.threads() {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() {
                // A panic has been printed by the thread itself.
                let _ = thread.join();
            } else {
                let line = "a thread of the firmware does not end and is left behind";
                self.core.trace.log(Level::Error, line);
            }
        }
    }
}

impl Drop for Firmware {
    fn drop(&mut self) {
        self.stop();
    }
}
