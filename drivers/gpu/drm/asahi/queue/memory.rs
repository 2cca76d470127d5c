// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The memory that a queue shares with the firmware.
//!
//! The firmware caches what it knows about a client's scheduling, so that memory is freed only
//! after it has been told to forget it. That waits for the firmware, and the last reference of a
//! queue may go away where nothing may wait: the worker does it.

use kernel::{
    new_work,
    prelude::*,
    sync::Arc,
    workqueue::{
        impl_has_work,
        Work,
        WorkItem, //
    }, //
};

use crate::{
    channel::PipeType,
    fw::{
        channels::ContextRef,
        workqueue::{
            GpuContextData,
            Notifier,
            NotifierList,
            NotifierState,
            Threshold, //
        }, //
    },
    fw_read,
    fw_write,
    gpu::Gpu,
    job::Job,
    object::GpuObject,
    vm::Vm,
    worker,
    workqueue::WorkQueue, //
};

/// A queue's part of the memory shared with the firmware, and what it needs to exist.
pub(crate) struct Memory {
    /// The firmware's queue for compute commands.
    pub(super) compute: WorkQueue,
    pub(super) notifier: GpuObject<Notifier>,
    threshold: GpuObject<Threshold>,
    _notifier_list: GpuObject<NotifierList>,
    context: GpuObject<GpuContextData>,
    _vm: Arc<Vm>,
    pub(super) gpu: Arc<Gpu>,
}

impl Memory {
    /// Makes the memory of a queue; `priority` zero is the most urgent one.
    pub(super) fn new(gpu: &Arc<Gpu>, vm: &Arc<Vm>, id: u32, priority: usize) -> Result<Self> {
        let heaps = gpu.heaps();

        let notifier_list = GpuObject::new_with(&heaps.shared, |va| {
            Ok(NotifierList {
                next: va.into(),
                ..Default::default()
            })
        })?;
        let threshold = GpuObject::zeroed(&heaps.shared)?;
        let notifier = GpuObject::new(
            &heaps.private,
            Notifier {
                threshold: threshold.gpu_va().into(),
                generation: id,
                unk_10: 0x50,
                state: NotifierState {
                    unk_buf: [0xff; 8],
                    ..Default::default()
                },
                ..Default::default()
            },
        )?;
        let context = GpuObject::new(&heaps.shared, GpuContextData::initial())?;
        let compute = WorkQueue::new(
            gpu,
            PipeType::Compute,
            priority,
            id,
            notifier_list.gpu_va(),
            context.gpu_va(),
        )?;

        Ok(Self {
            compute,
            notifier,
            threshold,
            _notifier_list: notifier_list,
            context,
            _vm: vm.clone(),
            gpu: gpu.clone(),
        })
    }

    /// Gives a job to the firmware.
    pub(super) fn run(&mut self, job: &Job) -> Result {
        // The firmware holds notifications back until it has counted as many commands as this. It
        // must not know of a command before it has it, or else it would hold back what the command
        // may be waiting for.
        let count = fw_read!(self.threshold, .count);
        let events = u64::from(job.compute.events);
        fw_write!(self.threshold, .count, count.wrapping_add(events));

        self.compute.push(&self.gpu, &job.compute)
    }

    /// Has the firmware forget the queue, before the memory is freed.
    fn forget(&self) {
        let context = ContextRef {
            va: self.context.gpu_va(),
            unk_0: fw_read!(self.context, .unk_0),
            unk_1: fw_read!(self.context, .unk_1),
            unk_4: fw_read!(self.context, .unk_4),
            unk_23: fw_read!(self.context, .unk_23),
        };
        if self.gpu.destroy_context(context).is_err() {
            dev_err!(self.gpu.dev(), "the firmware does not forget a queue\n");
        }
    }
}

/// What is left of a queue: its memory, on its way to the worker.
#[pin_data]
pub(crate) struct Remains {
    #[pin]
    work: Work<Self>,
    memory: Option<Memory>,
}

impl_has_work! {
    impl HasWork<Self> for Remains { self.work }
}

impl WorkItem for Remains {
    type Pointer = Pin<KBox<Self>>;

    fn run(mut this: Pin<KBox<Self>>) {
        if let Some(memory) = this.as_mut().project().memory.take() {
            memory.forget();
        }
    }
}

impl Remains {
    /// Allocates what [`Remains::free`] needs.
    pub(super) fn new() -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(
            pin_init!(Self {
                work <- new_work!("asahi::Remains::work"),
                memory: None,
            }),
            GFP_KERNEL,
        )
    }

    /// Has the worker free a queue's memory. May be called from any context.
    pub(super) fn free(mut self: Pin<KBox<Self>>, memory: Memory) {
        *self.as_mut().project().memory = Some(memory);
        worker::queue().enqueue(self);
    }
}
