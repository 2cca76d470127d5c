// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Building compute commands.
//!
//! What depends on the slots that the queue has when the command runs is left out, and written when
//! it is placed.
//!
//! Values that are not explained are those that macOS uses, as m1n1's
//! proxyclient/m1n1/fw/agx/cmdqueue.py and the out-of-tree driver of AsahiLinux/linux have them.

use core::mem::offset_of;

use kernel::prelude::*;

use crate::{
    channel::PipeType,
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
            FinalizeCompute,
            StartCompute,
            Timestamp, //
        },
        workqueue::{
            CommandType,
            Notifier,
            NotifierState, //
        }, //
    },
    fw_write,
    object::{
        GpuArray,
        GpuObject, //
    },
    queue::{
        cmdbuf,
        place::{
            Context,
            Entries,
            Ordinal,
            Places,
            UserTimestamps, //
        },
        sequence::{
            at,
            BuiltSequence,
            TimeFields, //
        }, //
    },
    sequence_write, //
};

/// A compute command and all that it points to.
pub(crate) struct BuiltCompute {
    /// Its number among the submission's compute commands.
    n: u32,
    run: GpuObject<RunCompute>,
    sequence: BuiltSequence<StartCompute, FinalizeCompute>,
    _preempt: GpuArray<u8>,
    _timestamps: GpuObject<JobTimestamps>,
    _user_timestamps: UserTimestamps,
}

impl BuiltCompute {
    /// Returns the most entries that placing the command takes in the ring for compute commands.
    pub(crate) fn max_entries(&self) -> u32 {
        1
    }

    /// Writes what depends on the command's place, and puts it into the ring.
    pub(crate) fn place(&self, places: &Places, out: &mut Entries<'_>) {
        let Some(place) = &places.compute else {
            return;
        };
        let value = place.value(self.n);

        fw_write!(self.run, .vm_slot, places.vm_slot);
        fw_write!(self.run, .meta.stamp, place.stamp_va.into());
        fw_write!(self.run, .meta.fw_stamp, place.fw_stamp_va.into());
        fw_write!(self.run, .meta.stamp_value, value);
        fw_write!(self.run, .meta.stamp_slot, place.slot);
        sequence_write!(self.sequence, .start.vm_slot, places.vm_slot);
        sequence_write!(self.sequence, .finalize.vm_slot, places.vm_slot);
        sequence_write!(self.sequence, .finalize.fw_stamp, place.fw_stamp_va.into());
        sequence_write!(self.sequence, .finalize.stamp_value, value);
        out.push(PipeType::Compute, self.run.gpu_va());
    }
}

impl Context<'_> {
    /// Builds a compute command.
    pub(crate) fn compute(
        &self,
        cmd: &cmdbuf::Compute,
        ordinal: &Ordinal,
        user_timestamps: UserTimestamps,
    ) -> Result<BuiltCompute> {
        let heaps = self.gpu.heaps();

        // The last four of the five parts hold eight bytes each.
        let preempt1_size = self.gpu.hw().compute_preempt_size;
        let preempt = GpuArray::<u8>::zeroed(&self.vm.heaps().shared, preempt1_size + 4 * 8)?;
        let timestamps = GpuObject::<JobTimestamps>::zeroed(&heaps.shared)?;

        let mut sequence = None;
        let run = GpuObject::new_with(&heaps.gpu_ro, |va| {
            let built = BuiltSequence::new(
                &heaps.private,
                self.start(va, cmd, ordinal),
                header::WAIT_FOR_IDLE_COMPUTE,
                |restart| self.finalize(va, cmd, restart),
                user_timestamps.any().then(|| self.times(va)),
            )?;
            let mut run = self.run_compute(cmd, ordinal, preempt.gpu_va(), preempt1_size as u64);
            run.microsequence = built.gpu_va().into();
            run.microsequence_size = built.size();
            run.timestamp_pointers = TimestampPointers::to(timestamps.gpu_va());
            run.user_timestamp_pointers = user_timestamps.pointers();
            sequence = Some(built);
            Ok(run)
        })?;

        Ok(BuiltCompute {
            n: ordinal.n,
            run,
            sequence: sequence.ok_or(EINVAL)?,
            _preempt: preempt,
            _timestamps: timestamps,
            _user_timestamps: user_timestamps,
        })
    }

    fn run_compute(
        &self,
        cmd: &cmdbuf::Compute,
        ordinal: &Ordinal,
        preempt: u64,
        preempt1_size: u64,
    ) -> RunCompute {
        let preempt_part = |n: u64| (preempt + preempt1_size + n * 8).into();

        RunCompute {
            tag: CommandType::RunCompute as u32,
            counter: ordinal.counter.into(),
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
                flush_stamps: ordinal.last.into(),
                event_seq: ordinal.seq as u32,
                ..Default::default()
            },
            client_sequence: self.queue_id as u8,
            ..Default::default()
        }
    }

    fn start(&self, run: u64, cmd: &cmdbuf::Compute, ordinal: &Ordinal) -> StartCompute {
        let notifier_buf = offset_of!(Notifier, state) + offset_of!(NotifierState, unk_buf);

        StartCompute {
            header: header::START_COMPUTE,
            unk_pointer: at(run, offset_of!(RunCompute, unk_pointee)),
            job_params1: at(run, offset_of!(RunCompute, job_params1)),
            stats: self.gpu.stats_comp_va().into(),
            work_queue: self.compute_info.into(),
            unk_28: 1,
            event_generation: self.queue_id,
            event_seq: ordinal.seq.into(),
            job_params2: at(run, offset_of!(RunCompute, job_params2)),
            attachments: Attachments::new(cmd.attachments.as_slice()),
            unk_flag: at(run, offset_of!(RunCompute, unk_flag)),
            counter: ordinal.counter.into(),
            notifier_buf: at(self.notifier, notifier_buf),
            ..Default::default()
        }
    }

    fn finalize(&self, run: u64, cmd: &cmdbuf::Compute, restart: i32) -> FinalizeCompute {
        FinalizeCompute {
            header: header::FINALIZE_COMPUTE,
            stats: self.gpu.stats_comp_va().into(),
            work_queue: self.compute_info.into(),
            job_params2: at(run, offset_of!(RunCompute, job_params2)),
            restart_branch_offset: restart,
            has_attachments: (!cmd.attachments.as_slice().is_empty()).into(),
            unk_flag: at(run, offset_of!(RunCompute, unk_flag)),
            ..Default::default()
        }
    }

    /// What takes the timestamps of start and end.
    fn times(&self, run: u64) -> [Timestamp; 2] {
        TimeFields {
            command_time: offset_of!(RunCompute, command_time),
            pointers: offset_of!(RunCompute, timestamp_pointers),
            user_pointers: offset_of!(RunCompute, user_timestamp_pointers),
            unk_ts: offset_of!(RunCompute, context_store_req),
        }
        .operations(run, self.compute_info)
    }
}
