// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Microsequences: what the firmware does, step by step, to run a command.
//!
//! A sequence is a run of operations without gaps, each of which starts with a header of 32 bits.
//! The driver needs one shape of them, with or without timestamps: start the GPU, wait until it is
//! idle, finish. [`Sequence`] and [`TimedSequence`] are that for each kind of work.
//!
//! Layouts: m1n1, proxyclient/m1n1/fw/agx/microsequence.py for G13 with firmware 13.5.

use core::mem::{
    offset_of,
    size_of, //
};

use kernel::transmute::FromBytes;

use crate::fw_struct;

use super::{
    job::Attachments,
    types::{
        Pad,
        U64, //
    }, //
};

/// The headers of operations.
pub(crate) mod header {
    /// Waits until the vertex units are idle.
    pub(crate) const WAIT_FOR_IDLE_VERTEX: u32 = 0x01 | (1 << 0) << 8;
    /// Waits until the fragment units are idle.
    pub(crate) const WAIT_FOR_IDLE_FRAGMENT: u32 = 0x01 | (1 << 8) << 8;
    /// Waits until the compute unit is idle.
    pub(crate) const WAIT_FOR_IDLE_COMPUTE: u32 = 0x01 | (1 << 15) << 8;
    /// Ends the sequence and signals the command's event.
    pub(crate) const RETIRE_STAMP: u32 = 0x18 | 0x4000_0000;
    /// Takes the timestamp of the start.
    pub(crate) const TIMESTAMP_START: u32 = 0x19 | 1 << 31;
    /// Takes the timestamp of the end.
    pub(crate) const TIMESTAMP_END: u32 = 0x19;
    /// Starts a vertex command.
    pub(crate) const START_VERTEX: u32 = 0x22;
    /// Finishes a vertex command.
    pub(crate) const FINALIZE_VERTEX: u32 = 0x23;
    /// Starts a fragment command.
    pub(crate) const START_FRAGMENT: u32 = 0x24;
    /// Finishes a fragment command.
    pub(crate) const FINALIZE_FRAGMENT: u32 = 0x25;
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
    /// Starts a vertex command.
    pub(crate) struct StartVertex: 0x18c {
        pub(crate) header: u32,
        pub(crate) tiling_params: U64,
        pub(crate) job_params1: U64,
        pub(crate) buffer: U64,
        pub(crate) scene: U64,
        pub(crate) stats: U64,
        pub(crate) work_queue: U64,
        pub(crate) vm_slot: u32,
        pub(crate) unk_38: u32,
        pub(crate) event_generation: u32,
        pub(crate) buffer_slot: u32,
        pub(crate) unk_44: u32,
        pub(crate) event_seq: U64,
        pub(crate) unk_50: u32,
        pub(crate) unk_pointer: U64,
        pub(crate) unk_job_buf: U64,
        pub(crate) unk_64: u32,
        pub(crate) unk_68: u32,
        pub(crate) uuid: u32,
        pub(crate) attachments: Attachments,
        pub(crate) padding: u32,
        pub(crate) counter: U64,
        pub(crate) notifier_buf: U64,
        /// The command runs on one cluster only.
        pub(crate) unk_178: u32,
    }
}

fw_struct! {
    /// Finishes a vertex command.
    pub(crate) struct FinalizeVertex: 0x84 {
        pub(crate) header: u32,
        pub(crate) scene: U64,
        pub(crate) buffer: U64,
        pub(crate) stats: U64,
        pub(crate) work_queue: U64,
        pub(crate) vm_slot: u32,
        pub(crate) unk_28: u32,
        pub(crate) unk_pointer: U64,
        pub(crate) unk_34: u32,
        pub(crate) uuid: u32,
        pub(crate) fw_stamp: U64,
        pub(crate) stamp_value: u32,
        pub(crate) unk_48: U64,
        pub(crate) unk_50: u32,
        pub(crate) unk_54: u32,
        pub(crate) unk_58: U64,
        pub(crate) unk_60: u32,
        pub(crate) unk_64: u32,
        pub(crate) unk_68: u32,
        /// Where to go back to when the command was preempted, relative to this operation.
        pub(crate) restart_branch_offset: i32,
        pub(crate) has_attachments: u32,
        pub(crate) unk_74: Pad<0x10>,
    }
}

fw_struct! {
    /// Starts a fragment command.
    pub(crate) struct StartFragment: 0x1ac {
        pub(crate) header: u32,
        pub(crate) job_params2: U64,
        pub(crate) job_params1: U64,
        pub(crate) scene: U64,
        pub(crate) stats: U64,
        pub(crate) busy_flag: U64,
        pub(crate) tvb_overflow_count: U64,
        pub(crate) unk_pointer: U64,
        pub(crate) work_queue: U64,
        pub(crate) work_item: U64,
        pub(crate) vm_slot: u32,
        pub(crate) unk_50: u32,
        pub(crate) event_generation: u32,
        pub(crate) buffer_slot: u32,
        pub(crate) sync_grow: u32,
        pub(crate) event_seq: U64,
        pub(crate) unk_68: u32,
        pub(crate) unk_758_flag: U64,
        pub(crate) unk_job_buf: U64,
        pub(crate) unk_7c_0: U64,
        pub(crate) unk_7c: u32,
        pub(crate) unk_80: u32,
        pub(crate) unk_84: u32,
        pub(crate) uuid: u32,
        pub(crate) attachments: Attachments,
        pub(crate) padding: u32,
        pub(crate) counter: U64,
        pub(crate) notifier_buf: U64,
    }
}

fw_struct! {
    /// Finishes a fragment command.
    pub(crate) struct FinalizeFragment: 0xb4 {
        pub(crate) header: u32,
        pub(crate) uuid: u32,
        pub(crate) unk_8: u32,
        pub(crate) fw_stamp: U64,
        pub(crate) stamp_value: u32,
        pub(crate) unk_18: u32,
        pub(crate) scene: U64,
        pub(crate) buffer: U64,
        pub(crate) unk_2c: U64,
        pub(crate) stats: U64,
        pub(crate) unk_pointer: U64,
        pub(crate) busy_flag: U64,
        pub(crate) work_queue: U64,
        pub(crate) work_item: U64,
        pub(crate) vm_slot: u32,
        pub(crate) unk_60: u32,
        pub(crate) unk_758_flag: U64,
        pub(crate) unk_6c: [U64; 6],
        /// Where to go back to when the command was preempted, relative to this operation.
        pub(crate) restart_branch_offset: i32,
        pub(crate) has_attachments: u32,
        pub(crate) unk_9c: Pad<0x10>,
    }
}

/// Runs a command: `S` starts it and `F` finishes it.
#[repr(C)]
pub(crate) struct Sequence<S, F> {
    pub(crate) start: S,
    /// Waits until it is done.
    pub(crate) wait: u32,
    pub(crate) finalize: F,
    pub(crate) retire: u32,
}

/// Runs a command and takes its timestamps.
#[repr(C)]
pub(crate) struct TimedSequence<S, F> {
    pub(crate) start: S,
    pub(crate) start_time: Timestamp,
    /// Waits until it is done.
    pub(crate) wait: u32,
    pub(crate) end_time: Timestamp,
    pub(crate) finalize: F,
    pub(crate) retire: u32,
}

// SAFETY: Any bytes are a valid value of each of the fields.
unsafe impl<S: FromBytes, F: FromBytes> FromBytes for Sequence<S, F> {}
// SAFETY: Any bytes are a valid value of each of the fields.
unsafe impl<S: FromBytes, F: FromBytes> FromBytes for TimedSequence<S, F> {}

impl<S, F> Sequence<S, F> {
    /// The sequence's size as a command carries it.
    pub(crate) const SIZE: u32 = {
        // The firmware expects no gaps.
        assert!(size_of::<Self>() == size_of::<S>() + size_of::<F>() + 8);
        size_of::<Self>() as u32
    };
    /// Where [`Self::start`] is, relative to [`Self::finalize`].
    pub(crate) const RESTART: i32 = -(offset_of!(Self, finalize) as i32);
}

impl<S, F> TimedSequence<S, F> {
    /// The sequence's size as a command carries it.
    pub(crate) const SIZE: u32 =
        Sequence::<S, F>::SIZE + (size_of::<Self>() - size_of::<Sequence<S, F>>()) as u32;
    /// Where [`Self::start`] is, relative to [`Self::finalize`].
    pub(crate) const RESTART: i32 = -(offset_of!(Self, finalize) as i32);
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(asahi_fw_microseq)]
mod tests {
    use super::*;

    type VertexSequence = Sequence<StartVertex, FinalizeVertex>;
    type TimedVertexSequence = TimedSequence<StartVertex, FinalizeVertex>;
    type FragmentSequence = Sequence<StartFragment, FinalizeFragment>;
    type TimedFragmentSequence = TimedSequence<StartFragment, FinalizeFragment>;
    type ComputeSequence = Sequence<StartCompute, FinalizeCompute>;
    type TimedComputeSequence = TimedSequence<StartCompute, FinalizeCompute>;

    #[test]
    fn sizes() {
        assert_eq!(size_of::<StartVertex>(), 0x18c);
        assert_eq!(size_of::<FinalizeVertex>(), 0x84);
        assert_eq!(size_of::<StartFragment>(), 0x1ac);
        assert_eq!(size_of::<FinalizeFragment>(), 0xb4);
        assert_eq!(size_of::<StartCompute>(), 0x16c);
        assert_eq!(size_of::<FinalizeCompute>(), 0x7c);
        assert_eq!(size_of::<Timestamp>(), 0x3c);
        assert_eq!(ComputeSequence::SIZE, 0x1f0);
        assert_eq!(TimedComputeSequence::SIZE, 0x268);
        assert_eq!(VertexSequence::SIZE, 0x218);
        assert_eq!(TimedVertexSequence::SIZE, 0x290);
        assert_eq!(FragmentSequence::SIZE, 0x268);
        assert_eq!(TimedFragmentSequence::SIZE, 0x2e0);
    }

    #[test]
    fn headers() {
        assert_eq!(header::WAIT_FOR_IDLE_VERTEX, 0x101);
        assert_eq!(header::WAIT_FOR_IDLE_FRAGMENT, 0x1_0001);
        assert_eq!(header::WAIT_FOR_IDLE_COMPUTE, 0x80_0001);
        assert_eq!(header::TIMESTAMP_START, 0x8000_0019);
        assert_eq!(header::RETIRE_STAMP, 0x4000_0018);
    }

    #[test]
    fn restart() {
        assert_eq!(ComputeSequence::RESTART, -0x170);
        assert_eq!(TimedComputeSequence::RESTART, -0x1e8);
        assert_eq!(VertexSequence::RESTART, -0x190);
        assert_eq!(TimedVertexSequence::RESTART, -0x208);
        assert_eq!(FragmentSequence::RESTART, -0x1b0);
        assert_eq!(TimedFragmentSequence::RESTART, -0x228);
    }

    #[test]
    fn offsets() {
        assert_eq!(offset_of!(StartVertex, work_queue), 0x2c);
        assert_eq!(offset_of!(StartVertex, buffer_slot), 0x40);
        assert_eq!(offset_of!(StartVertex, unk_pointer), 0x54);
        assert_eq!(offset_of!(StartVertex, attachments), 0x70);
        assert_eq!(offset_of!(StartVertex, counter), 0x178);
        assert_eq!(offset_of!(StartVertex, unk_178), 0x188);
        assert_eq!(offset_of!(FinalizeVertex, fw_stamp), 0x3c);
        assert_eq!(offset_of!(FinalizeVertex, restart_branch_offset), 0x6c);
        assert_eq!(offset_of!(StartFragment, busy_flag), 0x24);
        assert_eq!(offset_of!(StartFragment, work_item), 0x44);
        assert_eq!(offset_of!(StartFragment, buffer_slot), 0x58);
        assert_eq!(offset_of!(StartFragment, unk_job_buf), 0x74);
        assert_eq!(offset_of!(StartFragment, attachments), 0x94);
        assert_eq!(offset_of!(StartFragment, counter), 0x19c);
        assert_eq!(offset_of!(FinalizeFragment, scene), 0x1c);
        assert_eq!(offset_of!(FinalizeFragment, work_item), 0x54);
        assert_eq!(offset_of!(FinalizeFragment, restart_branch_offset), 0x9c);
        assert_eq!(offset_of!(StartCompute, attachments), 0x4c);
        assert_eq!(offset_of!(FinalizeCompute, restart_branch_offset), 0x58);
        assert_eq!(offset_of!(FinalizeCompute, unk_flag), 0x6d);
    }
}
