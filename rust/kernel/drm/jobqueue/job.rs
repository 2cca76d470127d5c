// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Jobs, and how they wait for fences.

use super::{
    Backend,
    JobQueue,
    Room, //
};
use crate::{
    dma_fence::{
        ArmedCb,
        DriverFence,
        Fence,
        FenceCallback,
        FenceCb, //
    },
    list::{
        define_list_arc_field_getter,
        impl_list_arc_safe,
        impl_list_item,
        ListArc,
        ListArcField,
        ListLinks, //
    },
    new_work,
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
    },
    workqueue::{
        impl_has_work,
        Work,
        WorkItem, //
    }, //
};

/// What a job still waits for.
pub(super) struct Waits<T: Backend> {
    /// The number of fences that have not signalled, and one more while they are being counted.
    left: Atomic<u32>,
    queue: Arc<JobQueue<T>>,
}

impl<T: Backend> Waits<T> {
    fn one_less(&self) {
        if self.left.fetch_sub(1, Full) == 1 {
            self.queue.kick();
        }
    }
}

/// Waits for one fence.
pub(super) struct Wait<T: Backend>(Arc<Waits<T>>);

impl<T: Backend> FenceCallback for Wait<T> {
    fn signaled(self, _fence: &Fence) {
        // This does not drop the last reference: the job has one, which it drops after its
        // callbacks, and dropping those waits for this function.
        self.0.one_less();
    }
}

/// The callbacks that a job has on fences. Dropping them takes them off.
pub(super) type Callbacks<T> = KVec<ArmedCb<Wait<T>>>;

/// Memory for a job's callbacks.
pub(super) struct PreparedWaits<T: Backend> {
    waits: Arc<Waits<T>>,
    callbacks: KVec<(FenceCb<Wait<T>>, ARef<Fence>)>,
    armed: Callbacks<T>,
}

impl<T: Backend> PreparedWaits<T> {
    /// Allocates what waiting for `fences` takes.
    pub(super) fn new(queue: &Arc<JobQueue<T>>, fences: KVec<ARef<Fence>>) -> Result<Self> {
        let waits = Arc::new(
            Waits {
                left: Atomic::new(1),
                queue: queue.clone(),
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
    pub(super) fn waits(&self) -> Arc<Waits<T>> {
        self.waits.clone()
    }

    /// Puts the callbacks on the fences. Allocates nothing.
    pub(super) fn arm(mut self) -> Callbacks<T> {
        for (callback, fence) in self.callbacks {
            self.waits.left.fetch_add(1, Relaxed);
            match callback.arm(&fence) {
                // There is room for all of them, so that this does not fail.
                Ok(armed) => drop(self.armed.push_within_capacity(armed)),
                // It has signalled in the meantime.
                Err(wait) => {
                    wait.0.left.fetch_sub(1, Full);
                }
            }
        }
        // Whoever arms the callbacks looks at the queue afterwards, so nothing has to be kicked.
        self.waits.left.fetch_sub(1, Full);
        self.armed
    }
}

/// A job.
///
/// It has one owner at a time: the list of the queue that it is in, and at last the worker, which
/// drops it.
#[pin_data]
pub(super) struct Job<T: Backend> {
    #[pin]
    links: ListLinks,
    #[pin]
    cleanup: Work<Self>,
    /// The first error, zero for none.
    error: Atomic<i32>,
    fence: ListArcField<Option<DriverFence>>,
    /// Dropped before what the callbacks refer to.
    callbacks: ListArcField<Callbacks<T>>,
    waits: Arc<Waits<T>>,
    data: ListArcField<T::Job>,
    /// Given back after all else.
    _room: Room<T>,
}

impl_list_arc_safe! {
    impl{T: Backend} ListArcSafe<0> for Job<T> { untracked; }
}

impl_list_item! {
    impl{T: Backend} ListItem<0> for Job<T> { using ListLinks { self.links }; }
}

impl_has_work! {
    impl{T: Backend} HasWork<Self> for Job<T> { self.cleanup }
}

impl<T: Backend> WorkItem for Job<T> {
    type Pointer = Arc<Self>;

    fn run(_this: Arc<Self>) {
        // The last reference goes out of scope here.
    }
}

impl<T: Backend> Job<T> {
    define_list_arc_field_getter! {
        fn fence_mut(&mut self<0>) -> &mut Option<DriverFence> { fence }
    }

    define_list_arc_field_getter! {
        fn callbacks_mut(&mut self<0>) -> &mut Callbacks<T> { callbacks }
    }

    define_list_arc_field_getter! {
        pub(super) fn data(&self<0>) -> &T::Job { data }
    }

    define_list_arc_field_getter! {
        pub(super) fn data_mut(&mut self<0>) -> &mut T::Job { data }
    }

    /// Makes a job that lacks its fence and its callbacks.
    pub(super) fn new(room: Room<T>, data: T::Job, waits: Arc<Waits<T>>) -> Result<ListArc<Self>> {
        ListArc::pin_init(
            try_pin_init!(Self {
                links <- ListLinks::new(),
                cleanup <- new_work!("JobQueue::Job"),
                error: Atomic::new(0),
                fence: ListArcField::new(None),
                callbacks: ListArcField::new(KVec::new()),
                waits,
                data: ListArcField::new(data),
                _room: room,
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the driver's part of the job.
    ///
    /// # Safety
    ///
    /// The caller must have shared access to the job's `ListArc`.
    pub(super) unsafe fn peek(&self) -> &T::Job {
        // SAFETY: By the requirements of this function.
        unsafe { self.data.assert_ref() }
    }

    /// Sets what signals when the job is done.
    pub(super) fn set_fence(self: &mut ListArc<Self>, fence: DriverFence) {
        *self.fence_mut() = Some(fence);
    }

    /// Keeps the callbacks until the job is dropped.
    pub(super) fn set_callbacks(self: &mut ListArc<Self>, callbacks: Callbacks<T>) {
        *self.callbacks_mut() = callbacks;
    }

    /// Returns whether all fences have signalled that the job waits for.
    pub(super) fn may_run(&self) -> bool {
        self.waits.left.load(Acquire) == 0
    }

    /// Notes an error, if it is the first.
    pub(super) fn set_error(&self, error: Error) {
        // This is called under the queue's lock only, so that nothing comes between.
        if self.error.load(Relaxed) == 0 {
            self.error.store(error.to_errno(), Relaxed);
        }
    }

    /// Signals the job's fence, with the error if there was one.
    pub(super) fn signal(self: &mut ListArc<Self>) {
        let error = self.error.load(Relaxed);
        if let Some(fence) = self.fence_mut().take() {
            fence.signal(match error {
                0 => Ok(()),
                errno => Err(Error::from_errno(errno)),
            });
        }
    }

    /// Signals the job's fence if that was not done, and has the worker drop the job.
    pub(super) fn finish(mut self: ListArc<Self>, error: Option<Error>) {
        if let Some(error) = error {
            self.set_error(error);
        }
        self.signal();
        // It is queued once only, because the list's reference is the only one there is.
        let _ = T::cleanup().enqueue(self.into_arc());
    }
}
