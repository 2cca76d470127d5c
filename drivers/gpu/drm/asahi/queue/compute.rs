// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Building compute commands.
//!
//! Values that are not explained are those that macOS uses, as m1n1's
//! proxyclient/m1n1/fw/agx/cmdqueue.py and the out-of-tree driver of AsahiLinux/linux have them.

use core::mem::offset_of;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    file::object::TimestampBuffer,
    fw::{
        compute::{
            JobParameters1,
            JobParameters2,
            RunCompute, //
        },
        job::{
            Attachments,
            EncoderParams,
            JobMeta,
            JobTimestamps,
            TimestampPointers, //
        },
        microseq::{
            header,
            ComputeSequence,
            FinalizeCompute,
            StartCompute,
            TimedComputeSequence,
            Timestamp, //
        },
        workqueue::{
            Barrier,
            CommandType,
            Notifier,
            NotifierState, //
        }, //
    },
    gpu::Gpu,
    object::{
        GpuArray,
        GpuObject, //
    },
    queue::cmdbuf,
    vm::Vm,
    workqueue::Tail, //
};

/// Marks barriers in the firmware's logs.
const BARRIER_UUID: u32 = 0xffff_bbbb;

/// A command in the memory shared with the firmware.
pub(crate) enum BuiltCommand {
    /// Waits for an earlier command.
    Barrier(GpuObject<Barrier>),
    /// Runs compute work.
    Compute(KBox<BuiltCompute>),
}

impl BuiltCommand {
    /// Returns the command's address, as the ring has it.
    pub(crate) fn gpu_va(&self) -> u64 {
        match self {
            Self::Barrier(barrier) => barrier.gpu_va(),
            Self::Compute(compute) => compute.run.gpu_va(),
        }
    }
}

/// A compute command and all that it points to.
pub(crate) struct BuiltCompute {
    run: GpuObject<RunCompute>,
    _sequence: Sequence,
    _preempt: GpuArray<u8>,
    _timestamps: GpuObject<JobTimestamps>,
    _user_timestamps: UserTimestamps,
}

/// Keeps a microsequence's memory.
enum Sequence {
    /// Without timestamps for user space.
    Plain { _memory: GpuObject<ComputeSequence> },
    /// With them.
    Timed {
        _memory: GpuObject<TimedComputeSequence>,
    },
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
    fn any(&self) -> bool {
        self.start.is_some() || self.end.is_some()
    }

    fn pointers(&self) -> TimestampPointers {
        let va = |ts: &Option<UserTimestamp>| ts.as_ref().map_or(0, |ts| ts.va).into();
        TimestampPointers {
            start: va(&self.start),
            end: va(&self.end),
        }
    }
}

/// What all commands of a submission have in common.
pub(crate) struct Context<'a> {
    pub(crate) gpu: &'a Gpu,
    pub(crate) vm: &'a Vm,
    /// The queue's number.
    pub(crate) queue_id: u32,
    /// The address of the firmware's structure for the compute queue.
    pub(crate) queue_info: u64,
    /// The address of the queue's [`Notifier`].
    pub(crate) notifier: u64,
    pub(crate) usc_exec_base: u64,
    /// The context of the UAT that the submission runs in.
    pub(crate) vm_slot: u32,
    /// Where the submission's first command stands.
    pub(crate) tail: Tail,
}

/// What one command has of its own.
pub(crate) struct Place {
    /// Its stamp value.
    pub(crate) stamp_value: u32,
    /// The number of the queue's commands before it.
    pub(crate) seq: u64,
    /// Whether it is the submission's last one.
    pub(crate) last: bool,
}

impl Context<'_> {
    /// Builds a command that waits until the queue's stamp has reached `wait_value`.
    pub(crate) fn barrier(&self, wait_value: u32, stamp_self: u32) -> Result<BuiltCommand> {
        Ok(BuiltCommand::Barrier(GpuObject::new(
            &self.gpu.heaps().private,
            Barrier {
                tag: CommandType::Barrier as u32,
                wait_stamp: self.tail.fw_stamp_va.into(),
                wait_value,
                wait_slot: self.tail.slot,
                stamp_self,
                uuid: BARRIER_UUID,
                internal_barrier_type: 1,
                ..Default::default()
            },
        )?))
    }

    /// Builds a compute command.
    pub(crate) fn compute(
        &self,
        cmd: &cmdbuf::Compute,
        place: &Place,
        user_timestamps: UserTimestamps,
    ) -> Result<BuiltCommand> {
        let heaps = self.gpu.heaps();

        // The last four of the five parts hold eight bytes each.
        let preempt1_size = self.gpu.hw().compute_preempt_size;
        let preempt = GpuArray::<u8>::zeroed(&self.vm.heaps().shared, preempt1_size + 4 * 8)?;
        let timestamps = GpuObject::<JobTimestamps>::zeroed(&heaps.shared)?;

        let mut sequence = None;
        let run = GpuObject::new_with(&heaps.gpu_ro, |va| {
            let built = self.sequence(va, cmd, place, user_timestamps.any())?;
            let mut run = self.run_compute(cmd, place, preempt.gpu_va(), preempt1_size as u64);
            run.microsequence = built.1.into();
            run.microsequence_size = built.2;
            run.timestamp_pointers = TimestampPointers {
                start: timestamps.field_va(offset_of!(JobTimestamps, start)).into(),
                end: timestamps.field_va(offset_of!(JobTimestamps, end)).into(),
            };
            run.user_timestamp_pointers = user_timestamps.pointers();
            sequence = Some(built.0);
            Ok(run)
        })?;

        let compute = BuiltCompute {
            run,
            _sequence: sequence.ok_or(EINVAL)?,
            _preempt: preempt,
            _timestamps: timestamps,
            _user_timestamps: user_timestamps,
        };
        Ok(BuiltCommand::Compute(KBox::new(compute, GFP_KERNEL)?))
    }

    fn run_compute(
        &self,
        cmd: &cmdbuf::Compute,
        place: &Place,
        preempt: u64,
        preempt1_size: u64,
    ) -> RunCompute {
        let preempt_part = |n: u64| (preempt + preempt1_size + n * 8).into();

        RunCompute {
            tag: CommandType::RunCompute as u32,
            counter: place.seq.into(),
            vm_slot: self.vm_slot,
            notifier: self.notifier.into(),
            job_params1: JobParameters1 {
                preempt_buf1: preempt.into(),
                cdm_ctrl_stream_base: cmd.stream_base.into(),
                preempt_buf2: preempt_part(0),
                preempt_buf3: preempt_part(1),
                preempt_buf4: preempt_part(2),
                preempt_buf5: preempt_part(3),
                usc_exec_base_cp: self.usc_exec_base.into(),
                unk_38: 0x8c60u64.into(),
                helper_program: cmd.helper.binary,
                helper_arg: cmd.helper.data.into(),
                helper_cfg: cmd.helper.cfg,
                unk_58: 1,
                ..Default::default()
            },
            job_params2: JobParameters2 {
                preempt_buf1: preempt.into(),
                cdm_ctrl_stream_end: cmd.stream_end.into(),
                ..Default::default()
            },
            encoder_params: EncoderParams {
                unk_mask: u32::MAX,
                sampler_array: cmd.sampler_heap.into(),
                sampler_count: cmd.sampler_count,
                sampler_max: cmd.sampler_count.saturating_add(1),
                ..Default::default()
            },
            meta: JobMeta {
                stamp: self.tail.stamp_va.into(),
                fw_stamp: self.tail.fw_stamp_va.into(),
                stamp_value: place.stamp_value,
                stamp_slot: self.tail.slot,
                flush_stamps: place.last.into(),
                event_seq: place.seq as u32,
                ..Default::default()
            },
            client_sequence: self.queue_id as u8,
            ..Default::default()
        }
    }

    /// Builds the microsequence of the command at `run`; returns its memory, address and size.
    fn sequence(
        &self,
        run: u64,
        cmd: &cmdbuf::Compute,
        place: &Place,
        timed: bool,
    ) -> Result<(Sequence, u64, u32)> {
        let heap = &self.gpu.heaps().private;
        let start = self.start(run, cmd, place);
        let wait = header::WAIT_FOR_IDLE_COMPUTE;
        let retire = header::RETIRE_STAMP;

        if timed {
            let ts = offset_of!(RunCompute, timestamp_pointers);
            let start_ts = ts + offset_of!(TimestampPointers, start);
            let end_ts = ts + offset_of!(TimestampPointers, end);
            let sequence = TimedComputeSequence {
                start,
                start_time: self.timestamp(run, header::TIMESTAMP_START, start_ts),
                wait,
                end_time: self.timestamp(run, header::TIMESTAMP_END, end_ts),
                finalize: self.finalize(run, cmd, place, TimedComputeSequence::RESTART),
                retire,
            };
            let memory = GpuObject::new(heap, sequence)?;
            let va = memory.gpu_va();
            let keep = Sequence::Timed { _memory: memory };
            Ok((keep, va, TimedComputeSequence::SIZE))
        } else {
            let sequence = ComputeSequence {
                start,
                wait,
                finalize: self.finalize(run, cmd, place, ComputeSequence::RESTART),
                retire,
            };
            let memory = GpuObject::new(heap, sequence)?;
            let va = memory.gpu_va();
            let keep = Sequence::Plain { _memory: memory };
            Ok((keep, va, ComputeSequence::SIZE))
        }
    }

    fn start(&self, run: u64, cmd: &cmdbuf::Compute, place: &Place) -> StartCompute {
        let notifier_buf = offset_of!(Notifier, state) + offset_of!(NotifierState, unk_buf);

        StartCompute {
            header: header::START_COMPUTE,
            unk_pointer: at(run, offset_of!(RunCompute, unk_pointee)),
            job_params1: at(run, offset_of!(RunCompute, job_params1)),
            stats: self.gpu.stats_comp_va().into(),
            work_queue: self.queue_info.into(),
            vm_slot: self.vm_slot,
            unk_28: 1,
            event_generation: self.queue_id,
            event_seq: place.seq.into(),
            job_params2: at(run, offset_of!(RunCompute, job_params2)),
            attachments: Attachments::new(cmd.attachments.as_slice()),
            unk_flag: at(run, offset_of!(RunCompute, unk_flag)),
            counter: place.seq.into(),
            notifier_buf: at(self.notifier, notifier_buf),
            ..Default::default()
        }
    }

    fn finalize(
        &self,
        run: u64,
        cmd: &cmdbuf::Compute,
        place: &Place,
        restart: i32,
    ) -> FinalizeCompute {
        FinalizeCompute {
            header: header::FINALIZE_COMPUTE,
            stats: self.gpu.stats_comp_va().into(),
            work_queue: self.queue_info.into(),
            vm_slot: self.vm_slot,
            job_params2: at(run, offset_of!(RunCompute, job_params2)),
            fw_stamp: self.tail.fw_stamp_va.into(),
            stamp_value: place.stamp_value,
            restart_branch_offset: restart,
            has_attachments: (!cmd.attachments.as_slice().is_empty()).into(),
            unk_flag: at(run, offset_of!(RunCompute, unk_flag)),
            ..Default::default()
        }
    }

    fn timestamp(&self, run: u64, header: u32, pointer: usize) -> Timestamp {
        Timestamp {
            header,
            command_time: at(run, offset_of!(RunCompute, command_time)),
            ts_pointers: at(run, offset_of!(RunCompute, timestamp_pointers)),
            update_ts: at(run, pointer),
            work_queue: self.queue_info.into(),
            user_ts_pointers: at(run, offset_of!(RunCompute, user_timestamp_pointers)),
            unk_ts: at(run, offset_of!(RunCompute, context_store_req)),
            ..Default::default()
        }
    }
}

/// Returns the address of a field.
fn at(base: u64, offset: usize) -> crate::fw::types::U64 {
    (base + offset as u64).into()
}
