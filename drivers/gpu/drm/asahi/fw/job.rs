// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Parts that commands of all kinds have in common.
//!
//! Layouts: m1n1, proxyclient/m1n1/fw/agx/{cmdqueue,microsequence}.py.

use core::mem::offset_of;

use crate::{
    fw_struct,
    queue::cmdbuf, //
};

use super::types::U64;

fw_struct! {
    /// Which stamps a command retires, and how it is told apart.
    pub(crate) struct JobMeta: 0x2c {
        pub(crate) unk_0: u16,
        pub(crate) unk_2: u8,
        pub(crate) no_preemption: u8,
        /// The stamp that the driver reads.
        pub(crate) stamp: U64,
        /// The stamp that the firmware reads.
        pub(crate) fw_stamp: U64,
        /// The value that both get when the command is done.
        pub(crate) stamp_value: u32,
        /// The event slot that the stamps belong to.
        pub(crate) stamp_slot: u32,
        pub(crate) evctl_index: u32,
        /// Set for the last command of its kind in a submission.
        pub(crate) flush_stamps: u32,
        pub(crate) uuid: u32,
        /// The number of commands that the queue had before this one.
        pub(crate) event_seq: u32,
    }
}

fw_struct! {
    /// What a command's encoder needs besides registers.
    pub(crate) struct EncoderParams: 0x28 {
        pub(crate) unk_8: u32,
        pub(crate) sync_grow: u32,
        pub(crate) unk_10: u32,
        pub(crate) encoder_id: u32,
        pub(crate) unk_18: u32,
        pub(crate) unk_mask: u32,
        pub(crate) sampler_array: U64,
        pub(crate) sampler_count: u32,
        /// One more than the count.
        pub(crate) sampler_max: u32,
    }
}

fw_struct! {
    /// Where a pair of timestamps goes; zero for nowhere.
    pub(crate) struct TimestampPointers: 0x10 {
        pub(crate) start: U64,
        pub(crate) end: U64,
    }
}

fw_struct! {
    /// A pair of the firmware's own timestamps.
    pub(crate) struct JobTimestamps: 0x10 {
        pub(crate) start: u64,
        pub(crate) end: u64,
    }
}

impl TimestampPointers {
    /// Returns pointers to the [`JobTimestamps`] at an address.
    pub(crate) fn to(va: u64) -> Self {
        Self {
            start: (va + offset_of!(JobTimestamps, start) as u64).into(),
            end: (va + offset_of!(JobTimestamps, end) as u64).into(),
        }
    }
}

fw_struct! {
    /// The same for both commands of a render.
    pub(crate) struct RenderTimestamps: 0x20 {
        pub(crate) vertex: JobTimestamps,
        pub(crate) fragment: JobTimestamps,
    }
}

fw_struct! {
    /// A range of memory that a command writes.
    pub(crate) struct Attachment: 0x10 {
        pub(crate) address: U64,
        /// In cache lines of 128 bytes.
        pub(crate) size: u32,
        pub(crate) unk_c: u16,
        pub(crate) unk_e: u16,
    }
}

fw_struct! {
    /// The attachments of a command.
    pub(crate) struct Attachments: 0x104 {
        pub(crate) list: [Attachment; cmdbuf::MAX_ATTACHMENTS],
        pub(crate) count: u32,
    }
}

impl Attachments {
    /// Returns what the firmware is told of a command's attachments; any beyond the most that it
    /// takes are left out.
    pub(crate) fn new(attachments: &[cmdbuf::Attachment]) -> Self {
        let mut out = Self::default();
        for (slot, attachment) in out.list.iter_mut().zip(attachments) {
            *slot = Attachment {
                address: attachment.address.into(),
                size: attachment.lines,
                unk_c: 0x17,
                unk_e: 1,
            };
            out.count += 1;
        }
        out
    }
}
