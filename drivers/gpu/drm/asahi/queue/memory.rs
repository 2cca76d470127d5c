// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The memory that a queue shares with the firmware.
//!
//! The firmware caches what it knows about a client's scheduling, so that memory is freed only
//! after it has been told to forget it.

use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};

use crate::{
    channel::{
        self,
        PipeType,
        PIPE_TYPES, //
    },
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
    object::GpuObject,
    queue::{
        place::{
            Entries,
            Places,
            TilerOwner, //
        },
        work::Work, //
    },
    vm::Vm,
    workqueue::{
        Share,
        WorkQueue, //
    }, //
};

/// The order in which the firmware is told of the parts of a job.
const SUBMIT_ORDER: [PipeType; PIPE_TYPES] =
    [PipeType::Fragment, PipeType::Vertex, PipeType::Compute];

/// How long the firmware may take to put away a command whose stamp it has set.
const DRAIN_TIMEOUT: Delta = Delta::from_millis(100);

/// A queue's part of the memory shared with the firmware, and what it needs to exist.
///
/// When it is dropped, the firmware is told to forget the queue, which waits for the firmware.
pub(crate) struct Memory {
    /// The number of the queue.
    pub(super) id: u32,
    /// The firmware's work queues, in the order of pipes.
    pub(super) queues: [WorkQueue; PIPE_TYPES],
    pub(super) notifier: GpuObject<Notifier>,
    threshold: GpuObject<Threshold>,
    _notifier_list: GpuObject<NotifierList>,
    context: GpuObject<GpuContextData>,
    /// The buffer for renders that the firmware knows.
    tiler: Option<Arc<dyn TilerOwner>>,
    pub(super) vm: Arc<Vm>,
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
        let queue = |pipe| {
            WorkQueue::new(
                gpu,
                pipe,
                priority,
                id,
                notifier_list.gpu_va(),
                context.gpu_va(),
            )
        };
        let queues = [
            queue(PipeType::Vertex)?,
            queue(PipeType::Fragment)?,
            queue(PipeType::Compute)?,
        ];

        Ok(Self {
            id,
            queues,
            notifier,
            threshold,
            _notifier_list: notifier_list,
            context,
            tiler: None,
            vm: vm.clone(),
            gpu: gpu.clone(),
        })
    }

    /// Returns whether a job fits into all rings that it uses.
    pub(super) fn has_room(&self, shares: &[Share; PIPE_TYPES]) -> bool {
        self.queues
            .iter()
            .zip(shares)
            .all(|(queue, share)| queue.has_room(share))
    }

    /// Returns whether the firmware has work of the queue.
    pub(super) fn is_busy(&self) -> bool {
        self.queues.iter().any(|queue| queue.used() != 0)
    }

    /// Returns the work queues that a job uses and that have no event.
    pub(super) fn lacking<'a>(
        &'a self,
        shares: &'a [Share; PIPE_TYPES],
    ) -> impl Iterator<Item = &'a WorkQueue> {
        self.queues
            .iter()
            .zip(shares)
            .filter(|(queue, share)| share.events != 0 && queue.slot().is_none())
            .map(|(queue, _)| queue)
    }

    /// Gives a job to the firmware. There is room, and all slots are there.
    ///
    /// When this fails, the firmware does not answer any more.
    pub(super) fn run(&mut self, work: &mut Work, places: &Places) -> Result {
        work.op = Some(self.gpu.start_op()?);
        if self.tiler.is_none() {
            self.tiler = work.tiler.clone();
        }

        let before = self.queues.each_ref().map(WorkQueue::used);
        work.place(places, &mut Entries::new(&mut self.queues));
        work.placed = true;
        let mut events = 0;
        for ((queue, share), before) in self.queues.iter_mut().zip(&mut work.shares).zip(before) {
            queue.take_in(share, before);
            events += u64::from(share.events);
        }

        // The firmware holds notifications back until it has counted as many commands as this. It
        // must not know of a command before it has it, or else it would hold back what the command
        // may be waiting for.
        let count = fw_read!(self.threshold, .count);
        fw_write!(self.threshold, .count, count.wrapping_add(events));

        for pipe in SUBMIT_ORDER {
            let index = pipe as usize;
            let used = work
                .shares
                .get(index)
                .is_some_and(|share| share.events != 0);
            if let Some(queue) = self.queues.get_mut(index).filter(|_| used) {
                queue.submit(&self.gpu)?;
            }
        }
        Ok(())
    }

    /// Returns whether the firmware is done with a job.
    pub(super) fn is_done(&self, work: &Work) -> bool {
        !work.placed
            || self
                .queues
                .iter()
                .zip(&work.shares)
                .all(|(queue, share)| queue.is_done(share))
    }

    /// Returns whether a job is hit when work of one of the work queues fails up to a stamp value.
    pub(super) fn is_hit(&self, work: &Work, index: usize, value: u32) -> bool {
        match (self.queues.get(index), work.shares.get(index)) {
            (Some(queue), Some(share)) => work.placed && queue.is_hit(share, value),
            _ => false,
        }
    }

    /// Frees the room of a job that the firmware is done with.
    pub(super) fn retire(&mut self, work: &mut Work) {
        work.op = None;
        if !core::mem::take(&mut work.placed) {
            return;
        }
        for (queue, share) in self.queues.iter_mut().zip(&work.shares) {
            queue.retire(share);
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // The firmware knows nothing of a queue that it was never told of.
        if !self.queues.iter().any(WorkQueue::was_used) {
            return;
        }

        // All jobs are done, but the firmware may not have put the last one away.
        let start = Instant::<Monotonic>::now();
        while !self.gpu.is_dead()
            && !self.queues.iter().all(WorkQueue::is_drained)
            && start.elapsed() < DRAIN_TIMEOUT
        {
            channel::poll_sleep(start);
        }

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
