// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The firmware's work queues.
//!
//! A work queue is a ring of pointers to commands, and an event by which the firmware tells how far
//! it has got. The event has a slot, of which there are 128 for all queues, so a queue has one only
//! while it has work: it is attached when a submission begins to be built, and detached when the
//! last job is done. With the slot come two stamps, one for the driver and one for the firmware.
//! Each command has a stamp value, one step above that of the command before it, and is done when
//! the stamp has reached it.

use kernel::{
    prelude::*,
    sync::atomic::Release, //
};

use crate::{
    channel::PipeType,
    event::{
        EventSlot,
        STAMP_STEP, //
    },
    fw::workqueue::{
        Priority,
        QueueInfo,
        RingState,
        GPU_BUF_SIZE,
        RING_SIZE, //
    },
    fw_atomic,
    gpu::{
        Gpu,
        RunMsg, //
    },
    object::{
        GpuArray,
        GpuObject, //
    }, //
};

/// The most commands that may be under way: a stamp value must not look older than it is.
const MAX_EVENTS: u32 = 127;

/// Returns whether a stamp that reads `stamp` has reached `value`.
pub(crate) fn stamp_reached(stamp: u32, value: u32) -> bool {
    // The values wrap around; the difference of two that are in use at a time is small.
    stamp.wrapping_sub(value) as i32 >= 0
}

/// Where the next command of a work queue stands.
#[derive(Clone, Copy)]
pub(crate) struct Tail {
    /// The event slot.
    pub(crate) slot: u32,
    /// The GPU address of the driver's stamp.
    pub(crate) stamp_va: u64,
    /// The GPU address of the firmware's stamp.
    pub(crate) fw_stamp_va: u64,
    /// The stamp value of the last command.
    pub(crate) value: u32,
    /// Whether that command is still under way.
    pub(crate) busy: bool,
}

impl Tail {
    /// Returns the stamp value of the `n`-th command from here, counted from one.
    pub(crate) fn nth(&self, n: u32) -> u32 {
        self.value.wrapping_add(n.wrapping_mul(STAMP_STEP))
    }
}

/// What one job puts into one work queue.
pub(crate) struct Batch {
    /// The addresses of the commands.
    pub(crate) entries: KVec<u64>,
    /// The number of them that have a stamp value.
    pub(crate) events: u32,
    /// The stamp value of the first of those.
    pub(crate) first: u32,
    /// The stamp value of the last of those.
    pub(crate) last: u32,
}

/// A firmware work queue.
pub(crate) struct WorkQueue {
    info: GpuObject<QueueInfo>,
    state: GpuObject<RingState>,
    ring: GpuArray<u64>,
    _gpu_buf: GpuArray<u8>,
    pipe: PipeType,
    priority: usize,
    /// The first entry of the ring that was not written.
    wptr: u32,
    /// The number of entries that are not done.
    used: u32,
    /// The number of stamp values in the ring that were not reached.
    events: u32,
    /// Whether the firmware has never seen the queue.
    is_new: bool,
    event: Option<EventSlot>,
    /// The stamp value of the last command that was built.
    assigned: u32,
    /// The stamp as it was last seen.
    stamp: u32,
}

impl WorkQueue {
    /// Makes an empty queue; `priority` zero is the most urgent one.
    pub(crate) fn new(
        gpu: &Gpu,
        pipe: PipeType,
        priority: usize,
        uuid: u32,
        notifier_list: u64,
        gpu_context: u64,
    ) -> Result<Self> {
        let mut weight = Priority::from_level(priority).ok_or(EINVAL)?;
        if matches!(pipe, PipeType::Compute) {
            weight = weight.without_preemption();
        }

        let heaps = gpu.heaps();
        let gpu_buf = GpuArray::zeroed(&heaps.private, GPU_BUF_SIZE)?;
        let ring = GpuArray::zeroed(&heaps.shared, RING_SIZE as usize)?;
        let state = GpuObject::new(
            &heaps.shared,
            RingState {
                rb_size: RING_SIZE,
                ..Default::default()
            },
        )?;
        let info = GpuObject::new(
            &heaps.private,
            QueueInfo {
                state: state.gpu_va().into(),
                ring: ring.gpu_va().into(),
                notifier_list: notifier_list.into(),
                gpu_buf: gpu_buf.gpu_va().into(),
                event_id: -1,
                priority: weight,
                unk_4c: -1,
                uuid,
                unk_54: -1,
                gpu_context: gpu_context.into(),
                ..Default::default()
            },
        )?;

        Ok(Self {
            info,
            state,
            ring,
            _gpu_buf: gpu_buf,
            pipe,
            priority,
            wptr: 0,
            used: 0,
            events: 0,
            is_new: true,
            event: None,
            assigned: 0,
            stamp: 0,
        })
    }

    /// Returns the kind of work that the queue takes.
    pub(crate) fn pipe(&self) -> PipeType {
        self.pipe
    }

    /// Returns the address by which the firmware knows the queue.
    pub(crate) fn info_va(&self) -> u64 {
        self.info.gpu_va()
    }

    /// Gives the queue an event. It has none.
    pub(crate) fn attach(&mut self, event: EventSlot) {
        self.stamp = event.stamp();
        self.assigned = self.stamp;
        self.event = Some(event);
    }

    /// Takes the event away, for the caller to drop where it holds no lock.
    pub(crate) fn detach(&mut self) -> Option<EventSlot> {
        self.event.take()
    }

    /// Returns where the next command stands, or nothing when the queue has no event.
    pub(crate) fn tail(&self) -> Option<Tail> {
        let event = self.event.as_ref()?;
        Some(Tail {
            slot: event.slot(),
            stamp_va: event.stamp_va(),
            fw_stamp_va: event.fw_stamp_va(),
            value: self.assigned,
            busy: !self.is_done(self.assigned),
        })
    }

    /// Counts in the commands of a batch that will be pushed, or dropped with the whole queue.
    pub(crate) fn assign(&mut self, batch: &Batch) {
        self.assigned = batch.last;
    }

    /// Returns whether a batch fits into the ring now.
    pub(crate) fn has_room(&self, batch: &Batch) -> bool {
        // One entry stays free, so that a full ring differs from an empty one.
        let free = (RING_SIZE - 1).saturating_sub(self.used);
        batch.entries.len() <= free as usize
            && self.events.saturating_add(batch.events) <= MAX_EVENTS
    }

    /// Writes a batch to the ring, where it has room, and tells the firmware.
    ///
    /// When this fails, the firmware does not answer any more, and the queue is of no use.
    pub(crate) fn push(&mut self, gpu: &Gpu, batch: &Batch) -> Result {
        let event_slot = self.event.as_ref().ok_or(EINVAL)?.slot();

        for &entry in &batch.entries {
            self.ring.write(self.wptr as usize, entry)?;
            self.wptr = (self.wptr + 1) % RING_SIZE;
            self.used += 1;
        }
        self.events += batch.events;
        // Orders the entries, and the commands that they point to, before the position.
        fw_atomic!(self.state, .cpu_wptr).store(self.wptr, Release);

        gpu.run(
            self.pipe,
            self.priority,
            &RunMsg {
                queue_info: self.info.gpu_va(),
                wptr: self.wptr,
                event_slot,
                is_new: self.is_new,
            },
        )?;
        self.is_new = false;
        Ok(())
    }

    /// Takes note of a stamp that the firmware has written.
    ///
    /// Returns whether it is news. A value that no command has is none; it comes from the firmware,
    /// so it may be anything.
    pub(crate) fn set_stamp(&mut self, slot: u32, stamp: u32) -> bool {
        let ours = self
            .event
            .as_ref()
            .is_some_and(|event| event.slot() == slot);
        let step = stamp.wrapping_sub(self.stamp);
        if !ours || step == 0 || step > self.assigned.wrapping_sub(self.stamp) {
            return false;
        }
        self.stamp = stamp;
        true
    }

    /// Returns whether the command with this stamp value is done.
    pub(crate) fn is_done(&self, value: u32) -> bool {
        stamp_reached(self.stamp, value)
    }

    /// Frees the room that a batch took, which is done.
    pub(crate) fn retire(&mut self, batch: &Batch) {
        self.used = self.used.saturating_sub(batch.entries.len() as u32);
        self.events = self.events.saturating_sub(batch.events);
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kunit_tests(asahi_workqueue)]
mod tests {
    use super::*;

    #[test]
    fn stamps_wrap() {
        assert!(stamp_reached(0x100, 0x100));
        assert!(stamp_reached(0x200, 0x100));
        assert!(!stamp_reached(0x100, 0x200));
        assert!(stamp_reached(0x100, 0xffff_ff00));
        assert!(!stamp_reached(0xffff_ff00, 0x100));
    }

    #[test]
    fn tails() {
        let tail = Tail {
            slot: 0,
            stamp_va: 0,
            fw_stamp_va: 0,
            value: 0xffff_fe00,
            busy: false,
        };
        assert_eq!(tail.nth(1), 0xffff_ff00);
        assert_eq!(tail.nth(2), 0);
        assert_eq!(tail.nth(3), 0x100);
    }
}
