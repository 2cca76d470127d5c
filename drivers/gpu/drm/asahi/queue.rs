// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Clients' queues.
//!
//! A submission goes through three stages. Its arguments and its command buffer are parsed into
//! checked types. Then everything is allocated and built that it needs until it is done. Only then
//! does it get its fence, and from there on nothing can fail: the job goes to the scheduler and the
//! fence to the out-syncs.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        SetOnce, //
    },
    uapi, //
};

use crate::{
    buffer::{
        self,
        TilerBuffer, //
    },
    channel::PIPE_TYPES,
    file::{
        object::TimestampBuffer,
        sync::Syncs, //
    },
    gpu::Gpu,
    vm::Vm, //
};

pub(crate) mod cmdbuf;
pub(crate) mod compute;
mod memory;
pub(crate) mod place;
pub(crate) mod render;
pub(crate) mod sched;
pub(crate) mod sequence;
pub(crate) mod tiler;
pub(crate) mod tiling;
mod work;

use cmdbuf::{
    Command,
    CommandBuffer, //
};
use memory::Memory;
use place::{
    Context,
    Ordinal,
    UserTimestamp,
    UserTimestamps, //
};
use sched::{
    Hardware,
    Scheduler, //
};
use work::Work;

/// Finds the timestamp object with a number.
type FindTimestamps<'a> = &'a dyn Fn(u32) -> Result<Arc<TimestampBuffer>>;

/// How urgent a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    Low,
    Medium,
    High,
    Realtime,
}

impl Priority {
    /// Checks a priority of the UAPI.
    pub(crate) fn parse(raw: u32) -> Result<Self> {
        match raw {
            uapi::drm_asahi_priority_DRM_ASAHI_PRIORITY_LOW => Ok(Self::Low),
            uapi::drm_asahi_priority_DRM_ASAHI_PRIORITY_MEDIUM => Ok(Self::Medium),
            uapi::drm_asahi_priority_DRM_ASAHI_PRIORITY_HIGH => Ok(Self::High),
            uapi::drm_asahi_priority_DRM_ASAHI_PRIORITY_REALTIME => Ok(Self::Realtime),
            _ => Err(EINVAL),
        }
    }

    /// Returns whether it could keep other clients from getting their share.
    pub(crate) fn is_privileged(self) -> bool {
        matches!(self, Self::High | Self::Realtime)
    }

    /// Returns the firmware's number for it.
    fn level(self) -> usize {
        match self {
            Self::Realtime => 0,
            Self::High => 1,
            Self::Medium => 2,
            Self::Low => 3,
        }
    }
}

/// What is changed by one submission after the other.
#[derive(Clone, Copy, Default)]
struct Order {
    /// The number of renders so far.
    renders: u64,
    /// The number of compute commands so far.
    computes: u64,
    /// The number of firmware commands so far.
    counter: u64,
}

/// A client's queue.
#[pin_data]
pub(crate) struct Queue {
    id: u32,
    usc_exec_base: u64,
    /// The addresses of the firmware's structures for the work queues, in the order of pipes.
    infos: [u64; PIPE_TYPES],
    /// The address of the queue's notifier.
    notifier: u64,
    scheduler: Arc<Scheduler>,
    /// There is none before the first render.
    tiler: SetOnce<buffer::Owned>,
    vm: Arc<Vm>,
    gpu: Arc<Gpu>,
    /// Held while a submission is built, so that commands are built in the order in which they run.
    #[pin]
    order: Mutex<Order>,
}

impl Queue {
    /// Makes a queue.
    pub(crate) fn new(
        gpu: &Arc<Gpu>,
        vm: &Arc<Vm>,
        priority: Priority,
        usc_exec_base: u64,
    ) -> Result<Arc<Self>> {
        gpu.reclaim();
        let id = gpu.next_id();
        let memory = Memory::new(gpu, vm, id, priority.level())?;
        let infos = memory.queues.each_ref().map(|queue| queue.info_va());
        let notifier = memory.notifier.gpu_va();
        let scheduler = Scheduler::new(Hardware::new(memory), gpu.queues())?;

        Arc::pin_init(
            pin_init!(Self {
                id,
                usc_exec_base,
                infos,
                notifier,
                scheduler,
                tiler: SetOnce::new(),
                vm: vm.clone(),
                gpu: gpu.clone(),
                order <- new_mutex!(Order::default()),
            }),
            GFP_KERNEL,
        )
    }

    /// Submits a command buffer.
    pub(crate) fn submit(
        &self,
        buffer: &CommandBuffer,
        syncs: Syncs,
        find_timestamps: FindTimestamps<'_>,
    ) -> Result {
        self.gpu.check_alive()?;
        self.gpu.reclaim();

        // CAST: Their number is bounded.
        let room = self.scheduler.make_room(buffer.commands().len() as u32)?;
        let (in_fences, out_syncs) = syncs.split();
        let mut order = self.order.lock();
        let mut next = *order;
        let work = self.build(buffer, &mut next, find_timestamps)?;
        let job = self.scheduler.prepare(room, work, in_fences)?;
        let resvs = self.vm.reserve_fences()?;

        // Nothing fails from here on.
        *order = next;
        let fence = job.submit();
        resvs.add(&fence);
        out_syncs.publish(&fence);
        Ok(())
    }

    /// Builds the commands of a submission.
    fn build(
        &self,
        buffer: &CommandBuffer,
        order: &mut Order,
        find_timestamps: FindTimestamps<'_>,
    ) -> Result<Work> {
        let [vertex_info, fragment_info, compute_info] = self.infos;
        let context = Context {
            gpu: &self.gpu,
            vm: &self.vm,
            queue_id: self.id,
            notifier: self.notifier,
            usc_exec_base: self.usc_exec_base,
            vertex_info,
            fragment_info,
            compute_info,
        };
        let mut work = Work::new(buffer.commands().len(), self.vm.begin_work())?;
        let mut renders = 0;
        let mut computes = 0;

        for command in buffer.commands() {
            match command {
                Command::Render(cmd) => {
                    renders += 1;
                    let ordinal = Ordinal {
                        n: renders,
                        seq: order.renders,
                        counter: order.counter,
                        last: renders == u32::from(buffer.renders()),
                    };
                    order.renders += 1;
                    order.counter += 2;
                    let vertex = find_pair(&cmd.vertex_timestamps, find_timestamps)?;
                    let fragment = find_pair(&cmd.fragment_timestamps, find_timestamps)?;
                    let tiler = self.tiler()?;
                    let built = context.render(cmd, &ordinal, vertex, fragment, tiler)?;
                    work.add_render(&context, renders, cmd, tiler, built)?;
                }
                Command::Compute(cmd) => {
                    computes += 1;
                    let ordinal = Ordinal {
                        n: computes,
                        seq: order.computes,
                        counter: order.counter,
                        last: computes == u32::from(buffer.computes()),
                    };
                    order.computes += 1;
                    order.counter += 1;
                    let timestamps = find_pair(&cmd.timestamps, find_timestamps)?;
                    let built = context.compute(cmd, &ordinal, timestamps)?;
                    work.add_compute(&self.gpu, computes, cmd.vdm_barrier, cmd.cdm_barrier, built)?;
                }
            }
        }
        Ok(work)
    }

    /// Returns the tiler buffer, which the first render makes.
    ///
    /// The caller builds, so that nobody else makes one meanwhile.
    fn tiler(&self) -> Result<&Arc<TilerBuffer>> {
        if self.tiler.as_ref().is_none() {
            self.tiler
                .populate(buffer::Owned::new(&self.gpu, &self.vm)?);
        }
        Ok(self.tiler.as_ref().ok_or(EINVAL)?.buffer())
    }
}

fn find_pair(timestamps: &cmdbuf::Timestamps, find: FindTimestamps<'_>) -> Result<UserTimestamps> {
    Ok(UserTimestamps {
        start: find_timestamp(timestamps.start, find)?,
        end: find_timestamp(timestamps.end, find)?,
    })
}

fn find_timestamp(
    timestamp: Option<cmdbuf::Timestamp>,
    find: FindTimestamps<'_>,
) -> Result<Option<UserTimestamp>> {
    let Some(timestamp) = timestamp else {
        return Ok(None);
    };
    let buffer = find(timestamp.object)?;
    let va = buffer.va_of(timestamp.offset)?;
    Ok(Some(UserTimestamp {
        _buffer: buffer,
        va,
    }))
}
