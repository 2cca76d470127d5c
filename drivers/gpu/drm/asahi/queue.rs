// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Clients' queues.
//!
//! A submission goes through three stages. Its arguments and its command buffer are parsed into
//! checked types. Then everything is allocated and built that it needs until it is done. Only then
//! does it get its fence, and from there on nothing can fail: the job goes to the scheduler and the
//! fence to the out-syncs.

use kernel::{
    dma_fence::{
        FenceContext,
        FenceSlot, //
    },
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
    uapi, //
};

use crate::{
    fence::{
        Names,
        PreparedWaits, //
    },
    file::{
        object::TimestampBuffer,
        sync::Syncs, //
    },
    gpu::Gpu,
    job::{
        Job,
        Resources, //
    },
    vm::Vm,
    workqueue::{
        Batch,
        Tail, //
    }, //
};

pub(crate) mod cmdbuf;
pub(crate) mod compute;
mod memory;
pub(crate) mod sched;

use cmdbuf::{
    Barrier,
    Command,
    CommandBuffer, //
};
use compute::{
    BuiltCommand,
    Context,
    Place,
    UserTimestamp,
    UserTimestamps, //
};
use memory::Memory;
use sched::Scheduler;

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
struct Order {
    fences: FenceContext<Names>,
    /// The number of compute commands so far.
    seq: u64,
}

/// A client's queue.
#[pin_data]
pub(crate) struct Queue {
    id: u32,
    usc_exec_base: u64,
    /// The address of the firmware's structure for the compute queue.
    queue_info: u64,
    /// The address of the queue's notifier.
    notifier: u64,
    scheduler: Arc<Scheduler>,
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
        let queue_info = memory.compute.info_va();
        let notifier = memory.notifier.gpu_va();
        let scheduler = Scheduler::new(memory)?;

        Arc::pin_init(
            pin_init!(Self {
                id,
                usc_exec_base,
                queue_info,
                notifier,
                scheduler,
                vm: vm.clone(),
                gpu: gpu.clone(),
                order <- new_mutex!(Order {
                    fences: FenceContext::new(),
                    seq: 0,
                }),
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
        if buffer.renders() != 0 {
            return Err(EOPNOTSUPP);
        }
        self.gpu.reclaim();

        let mut order = self.order.lock();
        let reservation = self.scheduler.reserve()?;
        let tail = reservation.compute_tail().ok_or(ENODEV)?;
        let vm_slot = self.vm.space().bind_slot()?;
        let op = self.gpu.start_op()?;

        let context = Context {
            gpu: &self.gpu,
            vm: &self.vm,
            queue_id: self.id,
            queue_info: self.queue_info,
            notifier: self.notifier,
            usc_exec_base: self.usc_exec_base,
            vm_slot: vm_slot.slot(),
            tail,
        };
        let commands = build(&context, buffer, order.seq, find_timestamps)?;
        let batch = batch(&commands, &tail, u32::from(buffer.computes()))?;

        let fence_slot = FenceSlot::new(GFP_KERNEL)?;
        let (in_fences, out_syncs) = syncs.split();
        let waits = PreparedWaits::new(&self.scheduler, in_fences)?;
        let mut job = Job::new(
            batch,
            waits.waits(),
            Resources {
                _commands: commands,
                _vm_slot: vm_slot,
                _work: self.vm.begin_work(),
                _op: op,
            },
        )?;

        let resvs = self.vm.reserve_fences()?;

        // Nothing fails from here on.
        order.seq += u64::from(buffer.computes());
        let driver_fence = order.fences.arm(fence_slot);
        let fence = ARef::from(driver_fence.fence());
        resvs.add(&fence);
        *job.fence_mut() = Some(driver_fence);
        *job.armed_mut() = waits.arm();
        self.scheduler.submit(job);
        drop(reservation);
        out_syncs.publish(&fence);
        Ok(())
    }
}

/// Builds the commands of a submission.
fn build(
    context: &Context<'_>,
    buffer: &CommandBuffer,
    first_seq: u64,
    find_timestamps: FindTimestamps<'_>,
) -> Result<KVec<BuiltCommand>> {
    let mut out = KVec::with_capacity(2 * buffer.commands().len(), GFP_KERNEL)?;
    let tail = &context.tail;
    let computes = u32::from(buffer.computes());

    for (before, command) in (0u32..).zip(buffer.commands()) {
        let Command::Compute(cmd) = command else {
            return Err(EOPNOTSUPP);
        };
        let stamp_value = tail.nth(before + 1);

        // No command has run on the render subqueue, so that its barrier has nothing to wait for.
        let wait_value = match cmd.cdm_barrier {
            Barrier::None => None,
            Barrier::Previous => tail.busy.then_some(tail.value),
            Barrier::Command(n) => Some(tail.nth(n.into())),
        };
        if let Some(wait_value) = wait_value {
            out.push(context.barrier(wait_value, stamp_value)?, GFP_KERNEL)?;
        }

        let timestamps = UserTimestamps {
            start: find_timestamp(cmd.timestamps.start, find_timestamps)?,
            end: find_timestamp(cmd.timestamps.end, find_timestamps)?,
        };
        let place = Place {
            stamp_value,
            seq: first_seq + u64::from(before),
            last: before + 1 == computes,
        };
        out.push(context.compute(cmd, &place, timestamps)?, GFP_KERNEL)?;
    }
    Ok(out)
}

/// Lists the commands for the ring.
fn batch(commands: &[BuiltCommand], tail: &Tail, events: u32) -> Result<Batch> {
    let mut entries = KVec::with_capacity(commands.len(), GFP_KERNEL)?;
    for command in commands {
        entries.push(command.gpu_va(), GFP_KERNEL)?;
    }
    Ok(Batch {
        entries,
        events,
        first: tail.nth(1),
        last: tail.nth(events),
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
