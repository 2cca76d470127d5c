// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Jobs: what one submission makes of itself.
//!
//! A job is complete when it enters its queue: its commands are built, it has its place in the
//! order of stamps, its fence is armed. It has one owner at a time: the list of the queue that it
//! is in, and at last the worker, which frees it. Nothing of it is freed anywhere else, because
//! that takes locks under which other threads allocate memory, and so must not happen in the path
//! that signals fences.

use kernel::{
    dma_fence::DriverFence,
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
        atomic::{
            Atomic,
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

use crate::{
    fence::{
        ArmedWaits,
        Waits, //
    },
    gpu::OpGuard,
    mmu::VmSlot,
    queue::compute::BuiltCommand,
    vm::VmWork,
    worker,
    workqueue::Batch, //
};

/// What a job holds on to until the firmware is done with it.
pub(crate) struct Resources {
    /// The commands' memory.
    pub(crate) _commands: KVec<BuiltCommand>,
    /// The place of the VM among the GPU's contexts.
    pub(crate) _vm_slot: VmSlot,
    /// Keeps the VM, and what was mapped in it when the job was built.
    pub(crate) _work: VmWork,
    /// Keeps the GPU powered.
    pub(crate) _op: OpGuard,
}

/// A job.
#[pin_data]
pub(crate) struct Job {
    #[pin]
    links: ListLinks,
    #[pin]
    cleanup: Work<Self>,
    /// What goes into the compute queue.
    pub(crate) compute: Batch,
    /// The first error, zero for none.
    error: Atomic<i32>,
    fence: ListArcField<Option<DriverFence>>,
    /// The callbacks on its in-fences. They are dropped before what they refer to.
    armed: ListArcField<ArmedWaits>,
    /// What it waits for.
    waits: Arc<Waits>,
    _resources: Resources,
}

impl_list_arc_safe! {
    impl ListArcSafe<0> for Job { untracked; }
}

impl_list_item! {
    impl ListItem<0> for Job { using ListLinks { self.links }; }
}

impl_has_work! {
    impl HasWork<Self> for Job { self.cleanup }
}

impl WorkItem for Job {
    type Pointer = Arc<Self>;

    fn run(_this: Arc<Self>) {
        // The last reference goes out of scope here.
    }
}

impl Job {
    define_list_arc_field_getter! {
        pub(crate) fn fence_mut(&mut self<0>) -> &mut Option<DriverFence> { fence }
    }

    define_list_arc_field_getter! {
        pub(crate) fn armed_mut(&mut self<0>) -> &mut ArmedWaits { armed }
    }

    /// Makes a job that lacks its fence and its callbacks.
    pub(crate) fn new(
        compute: Batch,
        waits: Arc<Waits>,
        resources: Resources,
    ) -> Result<ListArc<Self>> {
        ListArc::pin_init(
            try_pin_init!(Self {
                links <- ListLinks::new(),
                cleanup <- new_work!("asahi::Job::cleanup"),
                compute,
                error: Atomic::new(0),
                fence: ListArcField::new(None),
                armed: ListArcField::new(KVec::new()),
                waits,
                _resources: resources,
            }),
            GFP_KERNEL,
        )
    }

    /// Returns whether all in-fences have signalled.
    pub(crate) fn may_run(&self) -> bool {
        self.waits.is_over()
    }

    /// Notes an error, if it is the first.
    pub(crate) fn set_error(&self, error: Error) {
        // Called under the queue's lock only, so that nothing comes between.
        if self.error.load(Relaxed) == 0 {
            self.error.store(error.to_errno(), Relaxed);
        }
    }

    /// Signals the job's fence, with the error if there was one.
    pub(crate) fn signal(self: &mut ListArc<Self>) {
        let error = self.error.load(Relaxed);
        if let Some(fence) = self.fence_mut().take() {
            fence.signal(match error {
                0 => Ok(()),
                errno => Err(Error::from_errno(errno)),
            });
        }
    }

    /// Has the worker free the job.
    pub(crate) fn free(self: ListArc<Self>) {
        // It is queued once only, because the list's reference is the only one there is.
        let _ = worker::queue().enqueue(self.into_arc());
    }
}
