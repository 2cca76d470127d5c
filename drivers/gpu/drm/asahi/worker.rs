// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The driver's own kernel work queue.
//!
//! Three kinds of work run here: handing jobs to the firmware when a fence they waited for has
//! signalled, watching over jobs that run too long, and freeing what finished jobs, queues and
//! address spaces leave behind. None of it may wait for memory reclaim, so the queue has a rescuer.
//!
//! Some of that outlives the binding of the device: a client may keep its file open. So the queue
//! belongs to the module. The module drops its [`Worker`] after it has unregistered the driver, and
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

/// A pointer to the queue of the module's [`Worker`].
struct Current(NonNull<Queue>);

// SAFETY: A `Queue` may be used from any thread.
unsafe impl Send for Current {}
// SAFETY: A `Queue` may be used from any thread.
unsafe impl Sync for Current {}

static CURRENT: SetOnce<Current> = SetOnce::new();

/// Owns the queue.
pub(crate) struct Worker {
    _queue: KBox<OwnedQueue>,
}

impl Worker {
    /// Makes the queue, once, when the module is initialised.
    pub(crate) fn new() -> Result<Self> {
        let flags = WqFlags::MEM_RECLAIM | WqFlags::UNBOUND | WqFlags::HIGHPRI;
        let queue = KBox::new(OwnedQueue::new(c"asahi", flags, 0)?, GFP_KERNEL)?;
        CURRENT.populate(Current(NonNull::from(&**queue)));
        Ok(Self { _queue: queue })
    }
}

/// Returns the driver's queue.
pub(crate) fn queue() -> &'static Queue {
    match CURRENT.as_ref() {
        // SAFETY: The module keeps its `Worker` until nothing of the driver is left that could call
        // this, except for work that the worker is waiting for.
        Some(current) => unsafe { current.0.as_ref() },
        // The module makes it before anything else.
        None => kernel::workqueue::system(),
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
