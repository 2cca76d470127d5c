// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Events: how the firmware says that work is done.
//!
//! There are 128 event slots. To each belong two *stamps*, one that the driver reads and one for
//! the firmware. A command that is done sets the stamps of its slot to a value, which grows by
//! [`STAMP_STEP`] from command to command, and the firmware then flags the slot on the event
//! channel.
//!
//! Whoever has work under way holds an [`EventSlot`] and is called back as [`EventHandler`].
//!
//! # Locks
//!
//! `EventManager::table` is a leaf: handlers are called without it.

use kernel::{
    fmt,
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        barrier,
        Arc,
        CondVar,
        CondVarTimeoutResult,
        Mutex, //
    },
    time::msecs_to_jiffies, //
};

use crate::{
    alloc::KernelHeaps,
    channel::PipeType,
    fault::FaultInfo,
    object::GpuArray, //
};

/// Number of event slots.
pub(crate) const NUM_EVENTS: usize = 128;

/// What a stamp grows by with each command. The firmware uses the bits below itself.
pub(crate) const STAMP_STEP: u32 = 0x100;

/// How long to wait for a slot.
const SLOT_TIMEOUT_MS: u32 = 5000;

/// Why work failed.
#[derive(Clone, Copy)]
pub(crate) enum WorkError {
    /// It took too long.
    Timeout,
    /// It accessed memory that it may not.
    Fault(FaultInfo),
    /// It was under way when other work failed.
    Killed,
    /// There is no GPU any more.
    NoDevice,
    /// The firmware gave up on it, with this type of error.
    ChannelError(u32),
    /// The firmware did not say why.
    Unknown,
}

impl From<WorkError> for Error {
    fn from(error: WorkError) -> Error {
        match error {
            WorkError::Timeout => ETIMEDOUT,
            WorkError::Fault(_) | WorkError::ChannelError(_) => EIO,
            WorkError::Killed => ECANCELED,
            WorkError::NoDevice => ENODEV,
            WorkError::Unknown => ENODATA,
        }
    }
}

impl fmt::Display for WorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timeout"),
            Self::Fault(info) => f.write_fmt(fmt!("fault: {}", info)),
            Self::Killed => f.write_str("killed"),
            Self::NoDevice => f.write_str("no device"),
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

/// Who has an event slot.
///
/// The functions are called from the worker that receives messages of the firmware, one at a time.
/// They may sleep for a lock, but must not wait for the firmware, and must not allocate memory in a
/// way that waits for other work of the GPU.
pub(crate) trait EventHandler: Send + Sync {
    /// The slot was flagged, and its stamp has this value now. There may be nothing new.
    fn signal(&self, slot: u32, stamp: u32);

    /// Work with stamps up to `value` failed. [`None`] is all that the firmware works on.
    ///
    /// If the firmware is to go on with the queue after an error of its channel, the queue is
    /// returned.
    fn error(&self, slot: u32, value: Option<u32>, error: WorkError) -> Option<Recover>;

    /// The GPU is gone. No other function is called after this one.
    fn kill(&self, error: WorkError);
}

struct Table {
    handlers: [Option<Arc<dyn EventHandler>>; NUM_EVENTS],
    /// Slots are handed out round-robin, so that a late event seldom hits a new owner.
    next: usize,
    dead: bool,
}

/// All event slots.
#[pin_data]
pub(crate) struct EventManager {
    stamps: GpuArray<u32>,
    fw_stamps: GpuArray<u32>,
    #[pin]
    table: Mutex<Table>,
    #[pin]
    freed: CondVar,
}

/// An event slot in use.
pub(crate) struct EventSlot {
    manager: Arc<EventManager>,
    slot: usize,
}

impl EventManager {
    pub(crate) fn new(heaps: &KernelHeaps) -> Result<Arc<Self>> {
        let stamps = GpuArray::zeroed(&heaps.shared, NUM_EVENTS)?;
        let fw_stamps = GpuArray::zeroed(&heaps.private, NUM_EVENTS)?;

        Arc::pin_init(
            pin_init!(Self {
                stamps,
                fw_stamps,
                table <- new_mutex!(Table {
                    handlers: [const { None }; NUM_EVENTS],
                    next: 0,
                    dead: false,
                }),
                freed <- new_condvar!(),
            }),
            GFP_KERNEL,
        )
    }

    /// Takes a slot, if there is a free one. Otherwise fails with [`EBUSY`].
    fn try_alloc(
        self: &Arc<Self>,
        table: &mut Table,
        handler: &Arc<dyn EventHandler>,
    ) -> Result<EventSlot> {
        if table.dead {
            return Err(ENODEV);
        }

        let slot = (0..NUM_EVENTS)
            .map(|i| (table.next + i) % NUM_EVENTS)
            .find(|slot| matches!(table.handlers.get(*slot), Some(None)))
            .ok_or(EBUSY)?;

        *table.handlers.get_mut(slot).ok_or(EBUSY)? = Some(handler.clone());
        table.next = slot + 1;
        Ok(EventSlot {
            manager: self.clone(),
            slot,
        })
    }

    /// Takes a slot. When all are in use, this waits for one; the wait can be interrupted by a
    /// signal and gives up with [`EBUSY`] after some seconds.
    pub(crate) fn alloc(self: &Arc<Self>, handler: Arc<dyn EventHandler>) -> Result<EventSlot> {
        let mut left = msecs_to_jiffies(SLOT_TIMEOUT_MS);
        let mut table = self.table.lock();

        loop {
            match self.try_alloc(&mut table, &handler) {
                Err(e) if e == EBUSY => {}
                ret => return ret,
            }
            match self.freed.wait_interruptible_timeout(&mut table, left) {
                CondVarTimeoutResult::Woken { jiffies } => left = jiffies,
                CondVarTimeoutResult::Signal { .. } => return Err(ERESTARTSYS),
                CondVarTimeoutResult::Timeout => {
                    pr_warn!("asahi: timed out waiting for an event slot\n");
                    return Err(EBUSY);
                }
            }
        }
    }

    /// The handler of a slot that the firmware named.
    fn handler(&self, slot: u32) -> Option<Arc<dyn EventHandler>> {
        let slot = usize::try_from(slot).ok()?;

        self.table.lock().handlers.get(slot)?.clone()
    }

    /// The firmware flagged a slot.
    pub(crate) fn signal(&self, slot: u32) {
        let Some(handler) = self.handler(slot) else {
            return;
        };

        // CAST: There is a handler, so the number is one of a slot.
        if let Ok(stamp) = self.stamps.read(slot as usize) {
            // What the work has written comes before its stamp.
            barrier::dma_mb(barrier::Read);
            handler.signal(slot, stamp);
        }
    }

    /// The firmware said that work of a slot failed.
    pub(crate) fn error(&self, slot: u32, value: Option<u32>, error: WorkError) -> Option<Recover> {
        self.handler(slot)?.error(slot, value, error)
    }

    /// There is no GPU any more. Fails everything that is under way, and hands out no more slots.
    pub(crate) fn kill(&self, error: WorkError) {
        self.table.lock().dead = true;

        for slot in 0..NUM_EVENTS as u32 {
            if let Some(handler) = self.handler(slot) {
                handler.kill(error);
            }
        }
        self.freed.notify_all();
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
        let handler = table
            .handlers
            .get_mut(self.slot)
            .and_then(|slot| slot.take());

        drop(table);
        // The handler may be dropped here, which must not happen with the lock held.
        drop(handler);
        self.manager.freed.notify_one();
    }
}
