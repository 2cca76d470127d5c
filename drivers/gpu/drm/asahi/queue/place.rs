// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Places: what a command knows about itself only when it runs.
//!
//! The GPU has slots for what it works on: for events, for address spaces, for tiler buffers. There
//! are fewer of them than clients may want, so a queue has its slots only while the firmware has
//! work of it. A command is therefore *built* without any, when it is submitted, and *placed* when
//! its job enters the firmware: what depends on slots is written into it then, and its address into
//! the rings. That is in the path that signals fences, so that placing a command neither allocates
//! nor fails.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    channel::PipeType,
    file::object::TimestampBuffer,
    fw::{
        job::TimestampPointers,
        workqueue::{
            Barrier,
            CommandType, //
        }, //
    },
    fw_write,
    gpu::Gpu,
    object::GpuObject,
    vm::Vm,
    workqueue::{
        Place,
        WorkQueue, //
    }, //
};

/// Marks barriers in the firmware's logs.
const BARRIER_UUID: u32 = 0xffff_bbbb;

/// The place of a queue's tiler buffer.
#[derive(Clone, Copy)]
pub(crate) struct TilerPlace {
    /// The slot of the buffer.
    pub(crate) slot: u32,
    /// Another number than before whenever another buffer may have been in the slot in between.
    pub(crate) binding: u64,
}

/// The places of a job.
pub(crate) struct Places {
    /// The slot of the address space.
    pub(crate) vm_slot: u32,
    /// Where the job's vertex commands stand, if it has any or earlier ones are under way.
    pub(crate) vertex: Option<Place>,
    /// Where the job's fragment commands stand.
    pub(crate) fragment: Option<Place>,
    /// Where the job's compute commands stand.
    pub(crate) compute: Option<Place>,
    /// The tiler buffer, if the job renders.
    pub(crate) tiler: Option<TilerPlace>,
}

impl Places {
    /// Returns where the commands of one kind stand.
    pub(crate) fn of(&self, pipe: PipeType) -> Option<&Place> {
        match pipe {
            PipeType::Vertex => self.vertex.as_ref(),
            PipeType::Fragment => self.fragment.as_ref(),
            PipeType::Compute => self.compute.as_ref(),
        }
    }
}

/// What fixes the place of a command within its job.
#[derive(Clone, Copy)]
pub(crate) struct Ordinal {
    /// The number of the command among those of its kind in the submission, counted from one.
    pub(crate) n: u32,
    /// The number of commands of its kind that the queue had before.
    pub(crate) seq: u64,
    /// The number of firmware commands that the queue had before; a render is two.
    pub(crate) counter: u64,
    /// Whether it is the last one of its kind in the submission.
    pub(crate) last: bool,
}

/// What all commands of a submission have in common.
pub(crate) struct Context<'a> {
    pub(crate) gpu: &'a Arc<Gpu>,
    pub(crate) vm: &'a Arc<Vm>,
    /// The queue's number.
    pub(crate) queue_id: u32,
    /// The address of the queue's `Notifier`.
    pub(crate) notifier: u64,
    pub(crate) usc_exec_base: u64,
    /// The addresses of the firmware's structures for the three work queues.
    pub(crate) vertex_info: u64,
    pub(crate) fragment_info: u64,
    pub(crate) compute_info: u64,
}

/// A place for a timestamp, looked up.
pub(crate) struct UserTimestamp {
    /// The object that it lies in.
    pub(crate) _buffer: Arc<TimestampBuffer>,
    /// Its address for the firmware.
    pub(crate) va: u64,
}

/// The places for a command's timestamps.
#[derive(Default)]
pub(crate) struct UserTimestamps {
    /// For the start.
    pub(crate) start: Option<UserTimestamp>,
    /// For the end.
    pub(crate) end: Option<UserTimestamp>,
}

impl UserTimestamps {
    /// Returns whether there is one.
    pub(crate) fn any(&self) -> bool {
        self.start.is_some() || self.end.is_some()
    }

    /// Returns where the firmware writes them.
    pub(crate) fn pointers(&self) -> TimestampPointers {
        let va = |ts: &Option<UserTimestamp>| ts.as_ref().map_or(0, |ts| ts.va).into();
        TimestampPointers {
            start: va(&self.start),
            end: va(&self.end),
        }
    }
}

/// A command that makes its work queue wait for another command.
pub(crate) struct BuiltBarrier(GpuObject<Barrier>);

impl BuiltBarrier {
    /// Makes a barrier that waits for nothing yet.
    pub(crate) fn new(gpu: &Gpu) -> Result<Self> {
        Ok(Self(GpuObject::new(
            &gpu.heaps().private,
            Barrier {
                tag: CommandType::Barrier as u32,
                uuid: BARRIER_UUID,
                internal_barrier_type: 1,
                ..Default::default()
            },
        )?))
    }

    /// Has it wait until the commands at `wait` have come to the stamp value `wait_value`, for the
    /// sake of the command with the value `stamp_self`. Returns the address for the ring.
    pub(crate) fn fill(&self, wait: &Place, wait_value: u32, stamp_self: u32) -> u64 {
        fw_write!(self.0, .wait_stamp, wait.fw_stamp_va.into());
        fw_write!(self.0, .wait_value, wait_value);
        fw_write!(self.0, .wait_slot, wait.slot);
        fw_write!(self.0, .stamp_self, stamp_self);
        self.0.gpu_va()
    }
}

/// Where placed commands go: the ends of the rings of a queue.
pub(crate) struct Entries<'a> {
    queues: &'a mut [WorkQueue],
}

impl<'a> Entries<'a> {
    /// `queues` are in the order of pipes, and have room for what the job has at most.
    pub(crate) fn new(queues: &'a mut [WorkQueue]) -> Self {
        Self { queues }
    }

    /// Puts the address of a command into a ring.
    pub(crate) fn push(&mut self, pipe: PipeType, va: u64) {
        if let Some(queue) = self.queues.get_mut(pipe as usize) {
            queue.push(va);
        }
    }
}

/// Who has a tiler buffer slot while the firmware renders.
pub(crate) trait TilerOwner: Send + Sync {
    /// The firmware wants more memory for the buffer, and has to get an answer.
    ///
    /// This is called by a worker in the path that signals fences: it must not wait for memory to
    /// be reclaimed.
    fn grow(&self, gpu: &Arc<Gpu>, vm_slot: u32, slot: u32, counter: u32);

    /// A job has failed that used the buffer, whose state is not known from here on.
    fn suspect(&self);
}
