// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The fences of jobs, and waiting for those of others.
//!
//! A job waits for its in-fences without a thread: a callback on each of them counts down, and the
//! last one sets the queue going. All memory for that is allocated before the job's own fence is
//! published; nothing is allocated when a fence signals.

use kernel::{
    dma_fence::{
        ArmedCb,
        Fence,
        FenceCallback,
        FenceCb,
        FenceNames, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed, //
        },
        Arc, //
    }, //
};

use crate::queue::sched::Scheduler;

/// What the fences of jobs are called.
pub(crate) struct Names;

impl FenceNames for Names {
    const DRIVER: &'static CStr = c"asahi";
    const TIMELINE: &'static CStr = c"queue";
}

/// What a job still waits for.
pub(crate) struct Waits {
    /// The number of fences that have not signalled, and one more while they are being counted.
    left: Atomic<u32>,
    scheduler: Arc<Scheduler>,
}

impl Waits {
    /// Returns whether there is nothing left to wait for.
    pub(crate) fn is_over(&self) -> bool {
        self.left.load(Acquire) == 0
    }

    fn one_less(&self) {
        if self.left.fetch_sub(1, Full) == 1 {
            self.scheduler.kick();
        }
    }
}

/// Waits for one fence.
pub(crate) struct Wait(Arc<Waits>);

impl FenceCallback for Wait {
    fn signaled(self, _fence: &Fence) {
        // The job has a reference, too, and takes its callbacks off before it drops it, so that
        // nothing is freed here.
        self.0.one_less();
    }
}

/// The callbacks that a job has on its in-fences. Dropping them takes them off.
pub(crate) type ArmedWaits = KVec<ArmedCb<Wait>>;

/// Memory for a job's callbacks.
pub(crate) struct PreparedWaits {
    waits: Arc<Waits>,
    callbacks: KVec<(FenceCb<Wait>, ARef<Fence>)>,
    armed: ArmedWaits,
}

impl PreparedWaits {
    /// Allocates what waiting for `fences` takes.
    pub(crate) fn new(scheduler: &Arc<Scheduler>, fences: KVec<ARef<Fence>>) -> Result<Self> {
        let waits = Arc::new(
            Waits {
                left: Atomic::new(1),
                scheduler: scheduler.clone(),
            },
            GFP_KERNEL,
        )?;

        let mut callbacks = KVec::with_capacity(fences.len(), GFP_KERNEL)?;
        let armed = KVec::with_capacity(fences.len(), GFP_KERNEL)?;
        for fence in fences {
            if !fence.is_signaled() {
                let callback = FenceCb::new(Wait(waits.clone()), GFP_KERNEL)?;
                callbacks.push((callback, fence), GFP_KERNEL)?;
            }
        }
        Ok(Self {
            waits,
            callbacks,
            armed,
        })
    }

    /// Returns what the job asks whether it may run.
    pub(crate) fn waits(&self) -> Arc<Waits> {
        self.waits.clone()
    }

    /// Puts the callbacks on the fences. Allocates nothing.
    pub(crate) fn arm(mut self) -> ArmedWaits {
        for (callback, fence) in self.callbacks {
            self.waits.left.fetch_add(1, Relaxed);
            match callback.arm(&fence) {
                // There is room for all of them, so that this does not fail.
                Ok(armed) => drop(self.armed.push_within_capacity(armed)),
                // It has signalled in the meantime.
                Err(wait) => wait.0.one_less(),
            }
        }
        self.waits.one_less();
        self.armed
    }
}
