// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Workqueues of one's own.

use super::Queue;
use crate::{
    bindings,
    prelude::*, //
};
use core::{
    ops::Deref,
    ptr::NonNull, //
};

/// How a workqueue behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WqFlags(u32);

impl WqFlags {
    /// Work runs on any CPU.
    pub const UNBOUND: Self = Self(bindings::wq_flags_WQ_UNBOUND);

    /// Work runs on the CPU that has queued it.
    pub const PERCPU: Self = Self(bindings::wq_flags_WQ_PERCPU);

    /// Work makes progress even if there is no memory for another worker.
    ///
    /// All work that a fence waits for has to be on such a workqueue.
    pub const MEM_RECLAIM: Self = Self(bindings::wq_flags_WQ_MEM_RECLAIM);

    /// Workers have a high priority.
    pub const HIGHPRI: Self = Self(bindings::wq_flags_WQ_HIGHPRI);
}

impl core::ops::BitOr for WqFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A workqueue that is destroyed when it is dropped, once all work on it is done.
///
/// It must not be dropped by work that runs on it, as that would wait for itself.
///
/// # Invariants
///
/// The pointer is that of a workqueue that we own.
///
/// # Examples
///
/// ```
/// use kernel::workqueue::{
///     OwnedQueue,
///     WqFlags, //
/// };
///
/// let queue = OwnedQueue::new(c"example", WqFlags::UNBOUND | WqFlags::MEM_RECLAIM, 1)?;
/// queue.try_spawn(GFP_KERNEL, || pr_info!("This is done before the queue is gone.\n"))?;
/// drop(queue);
/// # Ok::<(), Error>(())
/// ```
pub struct OwnedQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: A workqueue can be used and destroyed on every CPU.
unsafe impl Send for OwnedQueue {}

// SAFETY: `Queue`, which is all that a reference gives access to, is `Sync`.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// Makes a workqueue that works on up to `max_active` items at a time, for each CPU unless it
    /// is [unbound](WqFlags::UNBOUND). Zero means as many as is usual.
    pub fn new(name: &CStr, flags: WqFlags, max_active: u16) -> Result<Self> {
        // SAFETY: The format wants one string, which is copied.
        let wq = unsafe {
            bindings::alloc_workqueue_noprof(
                c"%s".as_char_ptr(),
                flags.0,
                c_int::from(max_active),
                name.as_char_ptr(),
            )
        };

        // INVARIANT: We have just made it.
        Ok(Self(NonNull::new(wq).ok_or(ENOMEM)?))
    }
}

impl Deref for OwnedQueue {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        // SAFETY: By the type invariants the workqueue exists for as long as `self`.
        unsafe { Queue::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariants it is ours. Nobody can add work, as there is no other
        // reference to it, and for the work that is there the function waits.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}
