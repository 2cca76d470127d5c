// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The driver's own kernel work queues.
//!
//! One is for what fences wait for: handing jobs to the firmware when a fence they waited for has
//! signalled, watching over jobs that run too long, letting tiler buffers grow. It has a high
//! priority. The other is for freeing what finished jobs, queues and address spaces leave behind,
//! which should not come before those who wait for the jobs. None of it may wait for memory
//! reclaim, so both queues have a rescuer.
//!
//! Some of that outlives the binding of the device: a client may keep its file open. So the queues
//! belong to the module. The module drops its [`Worker`] after it has unregistered the driver, and
//! that runs and waits for all that was queued.

use core::ptr::NonNull;

use kernel::{
    bindings,
    prelude::*,
    sync::{
        Arc,
        SetOnce, //
    },
    workqueue::{
        HasDelayedWork,
        OwnedQueue,
        Queue,
        WorkItem,
        WqFlags, //
    }, //
};

/// Pointers to the queues of the module's [`Worker`].
struct Current {
    urgent: NonNull<Queue>,
    cleanup: NonNull<Queue>,
}

// SAFETY: A `Queue` may be used from any thread.
unsafe impl Send for Current {}
// SAFETY: A `Queue` may be used from any thread.
unsafe impl Sync for Current {}

static CURRENT: SetOnce<Current> = SetOnce::new();

/// Owns the queues.
pub(crate) struct Worker {
    // What is urgent may leave something to clean up, so that it is dropped first.
    _urgent: KBox<OwnedQueue>,
    _cleanup: KBox<OwnedQueue>,
}

impl Worker {
    /// Makes the queues, once, when the module is initialised.
    pub(crate) fn new() -> Result<Self> {
        let flags = WqFlags::MEM_RECLAIM | WqFlags::UNBOUND;
        let urgent = OwnedQueue::new(c"asahi", flags | WqFlags::HIGHPRI, 0)?;
        let urgent = KBox::new(urgent, GFP_KERNEL)?;
        let cleanup = KBox::new(OwnedQueue::new(c"asahi-free", flags, 0)?, GFP_KERNEL)?;

        CURRENT.populate(Current {
            urgent: NonNull::from(&**urgent),
            cleanup: NonNull::from(&**cleanup),
        });
        Ok(Self {
            _urgent: urgent,
            _cleanup: cleanup,
        })
    }
}

/// Returns the queue for what fences wait for.
pub(crate) fn queue() -> &'static Queue {
    match CURRENT.as_ref() {
        // SAFETY: The module keeps its `Worker` until nothing of the driver is left that could call
        // this, except for work that the worker is waiting for.
        Some(current) => unsafe { current.urgent.as_ref() },
        // The module makes it before anything else.
        None => kernel::workqueue::system_highpri(),
    }
}

/// Returns the queue for cleaning up.
pub(crate) fn cleanup() -> &'static Queue {
    match CURRENT.as_ref() {
        // SAFETY: As in `queue()`. What is cleaned up leaves nothing for the urgent queue.
        Some(current) => unsafe { current.cleanup.as_ref() },
        // The module makes it before anything else.
        None => kernel::workqueue::system_highpri(),
    }
}

/// Takes back delayed work whose time has not come.
///
/// Returns the reference that it held, to be dropped where the caller can bear that. `None` means
/// that it was not queued, or that it runs now or soon.
pub(crate) fn cancel_delayed<T, const ID: u64>(item: &Arc<T>) -> Option<Arc<T>>
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasDelayedWork<T, ID>,
{
    let ptr = Arc::as_ptr(item).cast_mut();
    // SAFETY: `ptr` points to a live `T`.
    let work = unsafe { T::raw_get_work(ptr) };
    // SAFETY: `work` points to the `Work` in that `T`.
    let work = unsafe { kernel::workqueue::Work::raw_get(work) };
    // SAFETY: By the contract of `HasDelayedWork` it lies in a `delayed_work`.
    let dwork = unsafe { kernel::container_of!(work, bindings::delayed_work, work) };

    // SAFETY: The `delayed_work` was initialised with `T`, which is alive.
    if unsafe { bindings::cancel_delayed_work(dwork) } {
        // SAFETY: It was pending and is not any more, so the reference that queueing it consumed
        // will not be used by anybody else.
        Some(unsafe { Arc::from_raw(ptr) })
    } else {
        None
    }
}
