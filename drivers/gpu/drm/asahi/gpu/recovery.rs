// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What is done when work fails: find out whose it was, fail it, and let the firmware go on.
//!
//! The firmware halts after a fault and after a timeout, and goes on when it is told to. Nobody but
//! the worker that receives its messages deals with that, and who asks it for a sign of life
//! because a job is late. Documentation/gpu/asahi.rst tells the whole story.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    prelude::*,
    sync::atomic::Relaxed,
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};

use crate::{
    channel,
    event::WorkError,
    fault::FaultInfo,
    fw::channels::{
        ContextRef,
        DeviceControlMsg, //
    },
    fw_read,
    fw_write,
    regs::SgxDevres, //
};

use super::Gpu;

/// Number of pairs in the firmware's list of what it waits for.
const PENDING_STAMPS: usize = 256;

/// How long the firmware may take to halt after a fault.
const HALT_TIMEOUT: Delta = Delta::from_millis(500);

/// How often work is given more time because the firmware has halted without saying so in time.
const MOST_ODD_HALTS: u32 = 16;

/// What is known about the firmware after it was asked whether it is alive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It has answered.
    Alive,
    /// It had halted, and goes on now.
    Resumed,
    /// It does not answer.
    Gone,
}

impl Gpu {
    /// Asks the firmware whether it is alive, because work takes too long. If there is no answer,
    /// the GPU is dead from then on.
    ///
    /// This waits for the firmware, but allocates nothing, and takes no lock under which others do.
    pub(crate) fn check_firmware(&self) -> Life {
        let _guard = self.check.lock();
        let Ok(sender) = self.sender() else {
            return Life::Gone;
        };

        let halted = fw_read!(self.initdata.fw_status, .halted) != 0;
        if halted {
            // It has not said so, or it came too late.
            self.fail_pending(None, WorkError::Unknown);
            self.resume();
        }

        // Any message would do. This one makes it flush its cache.
        let msg = DeviceControlMsg::destroy_context(self.abi, ContextRef::NONE);
        if self.device_control.send(&self.dev, sender, msg).is_ok() {
            // Work is given more time for that, but not for ever.
            return if halted && self.odd_halts.fetch_add(1, Relaxed) < MOST_ODD_HALTS {
                Life::Resumed
            } else {
                Life::Alive
            };
        }
        dev_err!(
            self.dev,
            "the firmware does not answer any more, all work fails\n"
        );
        self.abandon();
        Life::Gone
    }

    /// Returns whether an event is from before a halt that has been dealt with.
    pub(super) fn is_past_halt(&self, counter: u32) -> bool {
        // The counter wraps around.
        (counter.wrapping_sub(self.halts.load(Relaxed)) as i32) < 0
    }

    /// Reads and tells what the MMU knows about a fault.
    pub(super) fn fault(&self, dev: &Device<Bound>, sgx: &SgxDevres) -> Option<WorkError> {
        let error = WorkError::Fault(FaultInfo::read(dev, sgx)?);

        dev_err!(dev, "  {}\n", error);
        Some(error)
    }

    /// Fails all that the firmware works on. If the culprit is known, the others were only killed.
    pub(super) fn fail_pending(&self, culprit: Option<u32>, error: WorkError) {
        let globals = &self.initdata.globals;
        let layout = &self.abi.globals;

        for index in 0..PENDING_STAMPS {
            let offset = layout.pending_stamps + index * 2 * size_of::<u32>();
            let (Ok(info), Ok(value)) = (
                globals.get::<u32>(offset),
                globals.get::<u32>(offset + size_of::<u32>()),
            ) else {
                return;
            };

            if info & 1 == 0 {
                continue;
            }

            let slot = (info >> layout.stamp_slot_shift) & 0x7f;
            let error = if culprit.is_some_and(|culprit| culprit != slot) {
                WorkError::Killed
            } else {
                error
            };

            dev_err!(
                self.dev,
                "  event slot {} fails up to stamp {:#x}: {}\n",
                slot,
                value,
                error
            );
            let _ = self.events.error(slot, value, error);
            let _ = globals.set(offset, 0u32);
            let _ = globals.set(offset + size_of::<u32>(), 0u32);
        }
    }

    /// Lets the firmware go on after it has halted.
    pub(super) fn resume(&self) {
        let status = &self.initdata.fw_status;
        let start = Instant::<Monotonic>::now();

        while fw_read!(status, .halted) == 0 {
            if start.elapsed() > HALT_TIMEOUT {
                dev_err!(
                    self.dev,
                    "timed out waiting for the firmware to halt after a fault\n"
                );
                return;
            }
            channel::poll_sleep(start);
        }

        self.halts.store(fw_read!(status, .halt_count), Relaxed);
        fw_write!(status, .halted, 0);
        kernel::sync::barrier::dma_mb(kernel::sync::barrier::Write);
        fw_write!(status, .resume, 1);
        dev_info!(
            self.dev,
            "the firmware goes on after halt {}\n",
            fw_read!(status, .halt_count)
        );
    }

    /// The firmware gave up on a command.
    pub(super) fn channel_error(&self, error: WorkError, slot: u32, value: u32) {
        let Some(recover) = self.events.error(slot, value, error) else {
            return;
        };
        let msg = DeviceControlMsg::recover_channel(
            self.abi,
            recover.pipe as u32,
            recover.queue_info,
            value,
        );

        if self.post(msg).is_err() {
            dev_err!(
                self.dev,
                "cannot let the queue of event slot {} go on\n",
                slot
            );
        }
    }
}
