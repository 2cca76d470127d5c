// SPDX-License-Identifier: MIT OR Apache-2.0

//! The compute command and its microsequence.
//!
//! m1n1 `fw/agx/cmdqueue.py` (`WorkCommandCP`) and `fw/agx/microsequence.py` (`ComputeInfo`, `ComputeInfo2`,
//! `EncoderParams`, `JobMeta`, `StartComputeCmd`, `TimestampCmd`, `FinalizeComputeCmd`).

use super::layout;

layout! {
    /// The command; structures that others point to are embedded in it at fixed places.
    RunCompute, "RunCompute", G13_V13_5, size 0x320 {
        counter: 0x4, 8;
        vm_slot: 0x10, 4;
        notifier: 0x14, 8;
        unk_pointee: 0x1c, 0x54;
        job_params1: 0x70, 0x150;
        registers: 0x1c0, 8;
        register_count: 0x1c8, 2;
        microsequence: 0x1f0, 8;
        microsequence_size: 0x1f8, 4;
        job_params2: 0x1fc, 0x60;
        encoder_params: 0x25c, 0x28;
        meta: 0x284, 0x2c;
        command_time: 0x2b0, 8;
        timestamp_pointers: 0x2b8, 0x10;
        user_timestamp_pointers: 0x2c8, 0x10;
        client_sequence: 0x2d8, 1;
        unk_ts: 0x2e1, 8;
        unk_flag: 0x305, 4;
    }
}

layout! {
    /// What to run; embedded in the command.
    JobParameters1, "RunCompute.job_params1", G13_V13_5, size 0x150 {
        preempt_buf1: 0x0, 8;
        encoder: 0x8, 8;
        preempt_buf2: 0x10, 8;
        preempt_buf3: 0x18, 8;
        preempt_buf4: 0x20, 8;
        preempt_buf5: 0x28, 8;
        pipeline_base: 0x30, 8;
        unk_38: 0x38, 8;
        helper_program: 0x40, 4;
        helper_arg: 0x48, 8;
        helper_cfg: 0x50, 4;
        iogpu_unk_40: 0x60, 4;
    }
}

layout! {
    /// More of what to run; embedded in the command.
    JobParameters2, "RunCompute.job_params2", G13_V13_5, size 0x60 {
        preempt_buf1: 0x28, 8;
        encoder_end: 0x30, 8;
    }
}

layout! {
    /// Identity and samplers of the encoder; embedded in every kind of command.
    EncoderParams, "EncoderParams", G13_V13_5, size 0x28 {
        encoder_id: 0xc, 4;
        unk_mask: 0x14, 4;
        sampler_array: 0x18, 8;
        sampler_count: 0x20, 4;
        sampler_max: 0x24, 4;
    }
}

layout! {
    /// Stamps of the command; embedded in every kind of command.
    JobMeta, "JobMeta", G13_V13_5, size 0x2c {
        stamp: 0x4, 8;
        fw_stamp: 0xc, 8;
        stamp_value: 0x14, 4;
        stamp_slot: 0x18, 4;
        evctl_index: 0x1c, 4;
        uuid: 0x24, 4;
        event_seq: 0x28, 4;
    }
}

layout! {
    /// Where to put the time of a start and of an end.
    TimestampPointers, "TimestampPointers", V13_5, size 0x10 {
        start: 0x0, 8;
        end: 0x8, 8;
    }
}

layout! {
    /// Microsequence: hand the job to the hardware.
    StartCompute, "StartCompute", G13_V13_5, size 0x16c {
        unk_pointer: 0x4, 8;
        job_params1: 0xc, 8;
        stats: 0x14, 8;
        work_queue: 0x1c, 8;
        vm_slot: 0x24, 4;
        event_generation: 0x2c, 4;
        cmd_seq: 0x30, 8;
        job_params2: 0x3c, 8;
        uuid: 0x48, 4;
        attachments: 0x4c, 0x100;
        num_attachments: 0x14c, 4;
        unk_flag: 0x154, 8;
        counter: 0x15c, 8;
        notifier_buf: 0x164, 8;
    }
}

layout! {
    /// One buffer that the job touches; embedded in the starts of compute and fragment work.
    Attachment, "Attachment", V13_5, size 0x10 {
        address: 0x0, 8;
        cache_lines: 0x8, 4;
        unk_c: 0xc, 2;
        unk_e: 0xe, 2;
    }
}

layout! {
    /// Microsequence: note the time.
    Timestamp, "Timestamp", V13_5, size 0x3c {
        header: 0x0, 4;
        command_time: 0x4, 8;
        pointers: 0xc, 8;
        update: 0x14, 8;
        work_queue: 0x1c, 8;
        user_pointers: 0x24, 8;
        unk_ts: 0x2c, 8;
        uuid: 0x34, 4;
    }
}

layout! {
    /// Microsequence: the job is over.
    FinalizeCompute, "FinalizeCompute", G13_V13_5, size 0x7c {
        stats: 0x4, 8;
        work_queue: 0xc, 8;
        vm_slot: 0x14, 4;
        job_params2: 0x18, 8;
        uuid: 0x24, 4;
        fw_stamp: 0x28, 8;
        stamp_value: 0x30, 4;
        restart_branch_offset: 0x58, 4;
        unkptr_6d: 0x6d, 8;
    }
}

/// Opcodes of the microsequence: the low six bits of an operation's first word.
pub(crate) mod op {
    pub(crate) const WAIT_FOR_IDLE: u32 = 0x01;
    pub(crate) const RETIRE_STAMP: u32 = 0x18;
    pub(crate) const TIMESTAMP: u32 = 0x19;
    pub(crate) const START_VERTEX: u32 = 0x22;
    pub(crate) const FINALIZE_VERTEX: u32 = 0x23;
    pub(crate) const START_FRAGMENT: u32 = 0x24;
    pub(crate) const FINALIZE_FRAGMENT: u32 = 0x25;
    pub(crate) const START_COMPUTE: u32 = 0x29;
    pub(crate) const FINALIZE_COMPUTE: u32 = 0x2a;

    /// Argument of "wait for idle": the pipe.
    pub(crate) const WAIT_VERTEX: u32 = 0x1;
    pub(crate) const WAIT_FRAGMENT: u32 = 0x100;
    pub(crate) const WAIT_COMPUTE: u32 = 0x8000;
    /// Flag of "retire stamp" that is always set.
    pub(crate) const RETIRE_FLAG: u32 = 0x4000_0000;
    /// Flag of a timestamp: this is the start.
    pub(crate) const TIMESTAMP_START: u32 = 0x8000_0000;
}

/// Attachments that fit into a start.
pub(crate) const MAX_ATTACHMENTS: u32 = 16;
