// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Microsequences: what the firmware does, step by step, to run a command.
//!
//! A sequence is a run of operations without gaps, each of which starts with a header of 32 bits.
//! The driver needs few sequences, so that each is a structure of its own whose layout the compiler
//! checks.
//!
//! Layouts: m1n1, proxyclient/m1n1/fw/agx/microsequence.py for G13 with firmware 13.5.

use core::mem::{
    offset_of,
    size_of, //
};

use crate::fw_struct;

use super::{
    job::Attachments,
    types::U64, //
};

/// The headers of operations.
pub(crate) mod header {
    /// Waits until the compute unit is idle.
    pub(crate) const WAIT_FOR_IDLE_COMPUTE: u32 = 0x01 | (1 << 15) << 8;
    /// Ends the sequence and signals the command's event.
    pub(crate) const RETIRE_STAMP: u32 = 0x18 | 0x4000_0000;
    /// Takes the timestamp of the start.
    pub(crate) const TIMESTAMP_START: u32 = 0x19 | 1 << 31;
    /// Takes the timestamp of the end.
    pub(crate) const TIMESTAMP_END: u32 = 0x19;
    /// Starts a compute command.
    pub(crate) const START_COMPUTE: u32 = 0x29;
    /// Finishes a compute command.
    pub(crate) const FINALIZE_COMPUTE: u32 = 0x2a;
}

fw_struct! {
    /// Takes a timestamp.
    pub(crate) struct Timestamp: 0x3c {
        pub(crate) header: u32,
        pub(crate) command_time: U64,
        pub(crate) ts_pointers: U64,
        /// Which of those pointers to follow.
        pub(crate) update_ts: U64,
        pub(crate) work_queue: U64,
        pub(crate) user_ts_pointers: U64,
        pub(crate) unk_ts: U64,
        pub(crate) uuid: u32,
        pub(crate) unk_38: u32,
    }
}

fw_struct! {
    /// Starts a compute command.
    pub(crate) struct StartCompute: 0x16c {
        pub(crate) header: u32,
        pub(crate) unk_pointer: U64,
        pub(crate) job_params1: U64,
        pub(crate) stats: U64,
        pub(crate) work_queue: U64,
        pub(crate) vm_slot: u32,
        pub(crate) unk_28: u32,
        pub(crate) event_generation: u32,
        pub(crate) event_seq: U64,
        pub(crate) unk_38: u32,
        pub(crate) job_params2: U64,
        pub(crate) unk_44: u32,
        pub(crate) uuid: u32,
        pub(crate) attachments: Attachments,
        pub(crate) padding: u32,
        pub(crate) unk_flag: U64,
        pub(crate) counter: U64,
        pub(crate) notifier_buf: U64,
    }
}

fw_struct! {
    /// Finishes a compute command.
    pub(crate) struct FinalizeCompute: 0x7c {
        pub(crate) header: u32,
        pub(crate) stats: U64,
        pub(crate) work_queue: U64,
        pub(crate) vm_slot: u32,
        pub(crate) job_params2: U64,
        pub(crate) unk_20: u32,
        pub(crate) uuid: u32,
        pub(crate) fw_stamp: U64,
        pub(crate) stamp_value: u32,
        pub(crate) unk_34: [u32; 9],
        /// Where to go back to when the command was preempted, relative to this operation.
        pub(crate) restart_branch_offset: i32,
        pub(crate) has_attachments: u32,
        pub(crate) unk_60: [u8; 0xd],
        pub(crate) unk_flag: U64,
        pub(crate) unk_75: [u8; 7],
    }
}

fw_struct! {
    /// Runs a compute command.
    pub(crate) struct ComputeSequence: 0x1f0 {
        pub(crate) start: StartCompute,
        pub(crate) wait: u32,
        pub(crate) finalize: FinalizeCompute,
        pub(crate) retire: u32,
    }
}

fw_struct! {
    /// Runs a compute command and takes its timestamps.
    pub(crate) struct TimedComputeSequence: 0x268 {
        pub(crate) start: StartCompute,
        pub(crate) start_time: Timestamp,
        pub(crate) wait: u32,
        pub(crate) end_time: Timestamp,
        pub(crate) finalize: FinalizeCompute,
        pub(crate) retire: u32,
    }
}

impl ComputeSequence {
    /// The value of [`FinalizeCompute::restart_branch_offset`].
    pub(crate) const RESTART: i32 = -(offset_of!(Self, finalize) as i32);
    /// The sequence's size as a command carries it.
    pub(crate) const SIZE: u32 = size_of::<Self>() as u32;
}

impl TimedComputeSequence {
    /// The value of [`FinalizeCompute::restart_branch_offset`].
    pub(crate) const RESTART: i32 = -(offset_of!(Self, finalize) as i32);
    /// The sequence's size as a command carries it.
    pub(crate) const SIZE: u32 = size_of::<Self>() as u32;
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(asahi_fw_microseq)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size_of::<StartCompute>(), 0x16c);
        assert_eq!(size_of::<FinalizeCompute>(), 0x7c);
        assert_eq!(size_of::<Timestamp>(), 0x3c);
        assert_eq!(ComputeSequence::SIZE, 0x1f0);
        assert_eq!(TimedComputeSequence::SIZE, 0x268);
    }

    #[test]
    fn headers() {
        assert_eq!(header::WAIT_FOR_IDLE_COMPUTE, 0x80_0001);
        assert_eq!(header::TIMESTAMP_START, 0x8000_0019);
        assert_eq!(header::RETIRE_STAMP, 0x4000_0018);
    }

    #[test]
    fn restart() {
        assert_eq!(ComputeSequence::RESTART, -0x170);
        assert_eq!(TimedComputeSequence::RESTART, -0x1e8);
        assert_eq!(offset_of!(StartCompute, attachments), 0x4c);
        assert_eq!(offset_of!(FinalizeCompute, restart_branch_offset), 0x58);
        assert_eq!(offset_of!(FinalizeCompute, unk_flag), 0x6d);
    }
}
