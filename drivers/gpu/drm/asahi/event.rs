// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Events: how the firmware says that work is done.
//!
//! There are 128 event slots. To each belong two *stamps*, one that the driver reads and one for
//! the firmware. A command that is done sets the stamps of its slot to a value, which grows by
//! [`STAMP_STEP`] from command to command, and the firmware then flags the slot on the event
//! channel.
//!
//! A queue that has work under way holds an [`EventSlot`] for each of its work queues, and is told.
//!
//! # Locks
//!
//! `EventManager::table` is a leaf: queues are told without it.

use kernel::{
    fmt,
    new_mutex,
    prelude::*,
    sync::{
        barrier,
        Arc,
        Mutex, //
    }, //
};

use crate::{
    alloc::KernelHeaps,
    channel::{
        PipeType,
        PIPE_TYPES, //
    },
    fault::FaultInfo,
    object::GpuArray,
    queue::sched::{
        self,
        Line,
        Scheduler, //
    }, //
};

/// Number of event slots.
pub(crate) const NUM_EVENTS: usize = 128;

/// What a stamp grows by with each command. The firmware uses the bits below itself.
pub(crate) const STAMP_STEP: u32 = 0x100;

/// Why work failed.
#[derive(Clone, Copy)]
pub(crate) enum WorkError {
    /// It took too long.
    Timeout,
    /// It accessed memory that it may not.
    Fault(FaultInfo),
    /// It was under way when other work failed.
    Killed,
    /// The firmware gave up on it, with this type of error.
    ChannelError(u32),
    /// The firmware did not say why.
    Unknown,
}

impl From<WorkError> for Error {
    fn from(error: WorkError) -> Error {
        match error {
            WorkError::Timeout => ETIMEDOUT,
            WorkError::Fault(_) | WorkError::ChannelError(_) | WorkError::Unknown => EIO,
            WorkError::Killed => ECANCELED,
        }
    }
}

impl fmt::Display for WorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timeout"),
            Self::Fault(info) => f.write_fmt(fmt!("fault: {}", info)),
            Self::Killed => f.write_str("killed"),
            Self::ChannelError(kind) => f.write_fmt(fmt!("channel error {}", kind)),
            Self::Unknown => f.write_str("unknown error"),
        }
    }
}

/// The firmware has to be told to go on with a queue whose channel reported an error.
pub(crate) struct Recover {
    pub(crate) pipe: PipeType,
    /// Address of the queue's `QueueInfo`.
    pub(crate) queue_info: u64,
}

struct Table {
    queues: [Option<Arc<Scheduler>>; NUM_EVENTS],
    /// One bit for each slot that is free.
    free: u128,
    /// Slots are handed out round-robin, so that a late event seldom hits a new owner.
    next: u32,
}

/// All event slots.
#[pin_data]
pub(crate) struct EventManager {
    stamps: GpuArray<u32>,
    fw_stamps: GpuArray<u32>,
    #[pin]
    table: Mutex<Table>,
    line: Arc<Line>,
}

/// An event slot in use.
pub(crate) struct EventSlot {
    manager: Arc<EventManager>,
    slot: usize,
}

/// Some event slots, at most one for each kind of work.
pub(crate) type EventSlots = [Option<EventSlot>; PIPE_TYPES];

impl Table {
    /// Takes a slot, if there is one.
    fn take(&mut self, queue: &Arc<Scheduler>) -> Option<usize> {
        if self.free == 0 {
            return None;
        }
        let slot = (self.next + self.free.rotate_right(self.next).trailing_zeros()) % u128::BITS;

        self.free &= !(1 << slot);
        self.next = (slot + 1) % u128::BITS;
        let slot = slot as usize;
        *self.queues.get_mut(slot)? = Some(queue.clone());
        Some(slot)
    }
}

impl EventManager {
    pub(crate) fn new(heaps: &KernelHeaps, line: Arc<Line>) -> Result<Arc<Self>> {
        let stamps = GpuArray::zeroed(&heaps.shared, NUM_EVENTS)?;
        let fw_stamps = GpuArray::zeroed(&heaps.private, NUM_EVENTS)?;

        Arc::pin_init(
            pin_init!(Self {
                stamps,
                fw_stamps,
                table <- new_mutex!(Table {
                    queues: [const { None }; NUM_EVENTS],
                    free: u128::MAX,
                    next: 0,
                }),
                line,
            }),
            GFP_KERNEL,
        )
    }

    /// Who waits for a slot.
    pub(crate) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// Takes `count` slots for a queue, or none if there are not as many.
    pub(crate) fn try_take(
        self: &Arc<Self>,
        queue: &Arc<Scheduler>,
        count: usize,
    ) -> Option<EventSlots> {
        let mut slots = [const { None }; PIPE_TYPES];
        let mut table = self.table.lock();

        // CAST: There are 128.
        if (table.free.count_ones() as usize) < count {
            return None;
        }
        for slot in slots.iter_mut().take(count) {
            *slot = table.take(queue).map(|slot| EventSlot {
                manager: self.clone(),
                slot,
            });
        }
        Some(slots)
    }

    /// The queue that has a slot which the firmware named.
    fn queue(&self, slot: u32) -> Option<Arc<Scheduler>> {
        let slot = usize::try_from(slot).ok()?;

        self.table.lock().queues.get(slot)?.clone()
    }

    /// The firmware flagged a slot. There may be nothing new.
    pub(crate) fn signal(&self, slot: u32) {
        if let Some(queue) = self.queue(slot) {
            // It looks at its stamps itself.
            queue.update(|_| ());
        }
    }

    /// The firmware said that work of a slot failed, up to a stamp value.
    pub(crate) fn error(&self, slot: u32, value: u32, error: WorkError) -> Option<Recover> {
        // What was done before has not failed, even if the event about that is still to come.
        self.signal(slot);
        sched::fail(&self.queue(slot)?, slot, value, error)
    }
}

impl EventSlot {
    /// The number of the slot.
    pub(crate) fn slot(&self) -> u32 {
        self.slot as u32
    }

    /// The address of the stamp for the driver.
    pub(crate) fn stamp_va(&self) -> u64 {
        self.manager.stamps.gpu_va() + (self.slot * size_of::<u32>()) as u64
    }

    /// The address of the stamp for the firmware.
    pub(crate) fn fw_stamp_va(&self) -> u64 {
        self.manager.fw_stamps.gpu_va() + (self.slot * size_of::<u32>()) as u64
    }

    /// The value of the stamp now.
    pub(crate) fn stamp(&self) -> u32 {
        let stamp = self.manager.stamps.read(self.slot).unwrap_or(0);

        barrier::dma_mb(barrier::Read);
        stamp
    }
}

impl Drop for EventSlot {
    fn drop(&mut self) {
        let mut table = self.manager.table.lock();
        let queue = table
            .queues
            .get_mut(self.slot)
            .and_then(|queue| queue.take());

        table.free |= 1 << self.slot;
        drop(table);
        // The queue may go away here, which must not happen with the lock held.
        drop(queue);
        self.manager.line.wake_one();
    }
}
