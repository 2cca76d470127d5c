// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The firmware's work queues.
//!
//! A work queue is a ring of pointers to commands, and an event by which the firmware tells how far
//! it has got. The event has a slot, of which there are 128 for all queues, so a queue has one only
//! while the firmware has work of it. With the slot come two stamps, one for the driver and one for
//! the firmware. Each command has a stamp value, one step above that of the command before it, and
//! is done when the stamp has reached it.

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
    fw_read,
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

/// Where a job's commands of one kind stand. This is known when the job runs.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// The event slot.
    pub(crate) slot: u32,
    /// The GPU address of the driver's stamp.
    pub(crate) stamp_va: u64,
    /// The GPU address of the firmware's stamp.
    pub(crate) fw_stamp_va: u64,
    /// The stamp value of the last command before the job.
    pub(crate) base: u32,
    /// Whether that command is still under way.
    pub(crate) busy: bool,
}

impl Place {
    /// Returns the stamp value of the job's `n`-th command, counted from one.
    pub(crate) fn value(&self, n: u32) -> u32 {
        self.base.wrapping_add(n.wrapping_mul(STAMP_STEP))
    }
}

/// What one job has in one work queue.
#[derive(Clone, Copy, Default)]
pub(crate) struct Share {
    /// The most entries of the ring that it takes.
    pub(crate) most: u32,
    /// The number of its commands that have a stamp value.
    pub(crate) events: u32,
    /// The number of entries that it has taken.
    entries: u32,
    /// The stamp value of the last command before it.
    base: u32,
}

impl Share {
    /// Returns the stamp value of its last command.
    fn last(&self) -> u32 {
        self.base.wrapping_add(self.events.wrapping_mul(STAMP_STEP))
    }
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

    /// Returns whether the firmware has ever been told of the queue.
    pub(crate) fn was_used(&self) -> bool {
        !self.is_new
    }

    /// Returns whether the firmware has done with all that is in the ring. It may do some more
    /// about a command after it has set the stamp.
    pub(crate) fn is_drained(&self) -> bool {
        fw_read!(self.state, .gpu_doneptr) == self.wptr
    }

    /// Gives the queue an event. It has none.
    pub(crate) fn attach(&mut self, event: EventSlot) {
        self.stamp = event.stamp();
        self.assigned = self.stamp;
        self.event = Some(event);
    }

    /// Takes the event away.
    pub(crate) fn detach(&mut self) -> Option<EventSlot> {
        self.event.take()
    }

    /// Returns the queue's event slot.
    pub(crate) fn slot(&self) -> Option<u32> {
        Some(self.event.as_ref()?.slot())
    }

    /// Returns where the next commands stand, or nothing when the queue has no event.
    pub(crate) fn place(&self) -> Option<Place> {
        let event = self.event.as_ref()?;
        Some(Place {
            slot: event.slot(),
            stamp_va: event.stamp_va(),
            fw_stamp_va: event.fw_stamp_va(),
            base: self.assigned,
            busy: self.stamp != self.assigned,
        })
    }

    /// Returns whether a job fits in now.
    pub(crate) fn has_room(&self, share: &Share) -> bool {
        // One entry stays free, so that a full ring differs from an empty one.
        let free = (RING_SIZE - 1).saturating_sub(self.used);
        share.most <= free && self.events.saturating_add(share.events) <= MAX_EVENTS
    }

    /// Writes an entry to the ring, where there is room.
    pub(crate) fn push(&mut self, entry: u64) {
        // The position is one of the ring's, so that this does not fail.
        let _ = self.ring.write(self.wptr as usize, entry);
        self.wptr = (self.wptr + 1) % RING_SIZE;
        self.used += 1;
    }

    /// Counts in what a job has put into the queue since there were `before` entries in it.
    pub(crate) fn take_in(&mut self, share: &mut Share, before: u32) {
        share.entries = self.used.saturating_sub(before);
        share.base = self.assigned;
        self.events += share.events;
        self.assigned = share.last();
    }

    /// Returns the number of entries in the ring that are not done.
    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    /// Tells the firmware of what has been put into the ring.
    ///
    /// When this fails, the firmware does not answer any more, and the queue is of no use.
    pub(crate) fn submit(&mut self, gpu: &Gpu) -> Result {
        let event_slot = self.slot().ok_or(EINVAL)?;

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

    /// Looks how far the firmware has got.
    ///
    /// A stamp with a value that no command under way has changes nothing; it comes from the
    /// firmware, so it may be anything.
    pub(crate) fn look(&mut self) {
        let Some(event) = self.event.as_ref() else {
            return;
        };
        let stamp = event.stamp();

        if stamp.wrapping_sub(self.stamp) <= self.assigned.wrapping_sub(self.stamp) {
            self.stamp = stamp;
        }
    }

    /// Returns whether what a job has in the queue is done.
    pub(crate) fn is_done(&self, share: &Share) -> bool {
        share.events == 0 || stamp_reached(self.stamp, share.last())
    }

    /// Returns whether a stamp value that the firmware has named as failed is that of a command
    /// under way, and of this job or a later one.
    pub(crate) fn is_hit(&self, share: &Share, value: u32) -> bool {
        let ahead = value.wrapping_sub(self.stamp);

        share.events != 0
            && ahead != 0
            && ahead <= self.assigned.wrapping_sub(self.stamp)
            && stamp_reached(value, share.base.wrapping_add(STAMP_STEP))
    }

    /// Frees the room of a job that is done.
    pub(crate) fn retire(&mut self, share: &Share) {
        self.used = self.used.saturating_sub(share.entries);
        self.events = self.events.saturating_sub(share.events);
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
    fn values() {
        let place = Place {
            slot: 0,
            stamp_va: 0,
            fw_stamp_va: 0,
            base: 0xffff_fe00,
            busy: false,
        };
        assert_eq!(place.value(1), 0xffff_ff00);
        assert_eq!(place.value(2), 0);
        assert_eq!(place.value(3), 0x100);
    }

    #[test]
    fn shares() {
        let share = Share {
            most: 4,
            events: 2,
            entries: 3,
            base: 0xffff_ff00,
        };
        assert_eq!(share.last(), 0x100);
    }
}
