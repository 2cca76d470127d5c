// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The compute command.
//!
//! Layouts: m1n1, proxyclient/m1n1/fw/agx/{cmdqueue,microsequence}.py (WorkCommandCP and
//! ComputeInfo) for G13 with firmware 13.5.

use crate::fw_struct;

use super::{
    job::{
        EncoderParams,
        JobMeta,
        TimestampPointers, //
    },
    types::{
        Pad,
        U32,
        U64, //
    }, //
};

fw_struct! {
    /// Values that the firmware writes to the compute unit's registers.
    pub(crate) struct JobParameters1: 0x160 {
        pub(crate) preempt_buf1: U64,
        pub(crate) cdm_ctrl_stream_base: U64,
        pub(crate) preempt_buf2: U64,
        pub(crate) preempt_buf3: U64,
        pub(crate) preempt_buf4: U64,
        pub(crate) preempt_buf5: U64,
        pub(crate) usc_exec_base_cp: U64,
        pub(crate) unk_38: U64,
        pub(crate) helper_program: u32,
        pub(crate) unk_44: u32,
        pub(crate) helper_arg: U64,
        pub(crate) helper_cfg: u32,
        pub(crate) unk_54: u32,
        pub(crate) unk_58: u32,
        pub(crate) unk_5c: u32,
        pub(crate) iogpu_unk_40: u32,
        pub(crate) __pad: Pad<0xfc>,
    }
}

fw_struct! {
    /// More about the command.
    pub(crate) struct JobParameters2: 0x60 {
        pub(crate) unk_0_0: u32,
        pub(crate) unk_0: [u8; 0x24],
        pub(crate) preempt_buf1: U64,
        pub(crate) cdm_ctrl_stream_end: U64,
        pub(crate) unk_34: [u8; 0x20],
        pub(crate) unk_g14x: u32,
        pub(crate) unk_58: u32,
    }
}

fw_struct! {
    /// A compute command.
    pub(crate) struct RunCompute: 0x320 {
        pub(crate) tag: u32,
        /// Counts the queue's commands.
        pub(crate) counter: U64,
        pub(crate) unk_4: u32,
        /// The context of the UAT that the command runs in.
        pub(crate) vm_slot: u32,
        pub(crate) notifier: U64,
        pub(crate) unk_pointee: u32,
        pub(crate) __pad0: Pad<0x50>,
        pub(crate) job_params1: JobParameters1,
        pub(crate) __pad1: Pad<0x20>,
        /// What the firmware does to run the command, see [`super::microseq`].
        pub(crate) microsequence: U64,
        pub(crate) microsequence_size: u32,
        pub(crate) job_params2: JobParameters2,
        pub(crate) encoder_params: EncoderParams,
        pub(crate) meta: JobMeta,
        pub(crate) command_time: U64,
        pub(crate) timestamp_pointers: TimestampPointers,
        pub(crate) user_timestamp_pointers: TimestampPointers,
        pub(crate) client_sequence: u8,
        pub(crate) pad_2d9: [u8; 3],
        pub(crate) unk_2dc: u32,
        pub(crate) unk_2e0: u8,
        pub(crate) context_store_req: U64,
        pub(crate) context_store_compl: U64,
        pub(crate) unk_2f1: [u8; 0x14],
        pub(crate) unk_flag: U32,
        pub(crate) unk_309: [u8; 0x10],
        pub(crate) __pad2: Pad<0x7>,
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(asahi_fw_compute)]
mod tests {
    use super::*;
    use crate::fw::job;
    use core::mem::{
        offset_of,
        size_of, //
    };

    #[test]
    fn sizes() {
        assert_eq!(size_of::<RunCompute>(), 0x320);
        assert_eq!(size_of::<JobMeta>(), 0x2c);
        assert_eq!(size_of::<EncoderParams>(), 0x28);
        assert_eq!(size_of::<TimestampPointers>(), 0x10);
        assert_eq!(size_of::<job::Attachments>(), 0x104);
    }

    #[test]
    fn offsets() {
        assert_eq!(offset_of!(RunCompute, vm_slot), 0x10);
        assert_eq!(offset_of!(RunCompute, notifier), 0x14);
        assert_eq!(offset_of!(RunCompute, job_params1), 0x70);
        assert_eq!(offset_of!(RunCompute, microsequence), 0x1f0);
        assert_eq!(offset_of!(RunCompute, job_params2), 0x1fc);
        assert_eq!(offset_of!(RunCompute, encoder_params), 0x25c);
        assert_eq!(offset_of!(RunCompute, meta), 0x284);
        assert_eq!(offset_of!(RunCompute, command_time), 0x2b0);
        assert_eq!(offset_of!(RunCompute, context_store_req), 0x2e1);
        assert_eq!(offset_of!(RunCompute, unk_flag), 0x305);
        assert_eq!(offset_of!(JobParameters1, helper_program), 0x40);
        assert_eq!(offset_of!(JobParameters2, cdm_ctrl_stream_end), 0x30);
    }
}
