// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Tests of the layouts, for G13 with firmware ABI 13.5.
//!
//! The numbers were computed from AsahiLinux/m1n1's `proxyclient/m1n1/fw/agx/*.py` and
//! `rust/src/gpu/raw.rs`, independently of the structures here.

use core::mem::{
    offset_of,
    size_of, //
};

use kernel::prelude::*;

use super::{
    abi::{
        self,
        Abi, //
    },
    channels::*,
    compute::RunCompute,
    initdata::*,
    job::{
        Attachment,
        EncoderParams,
        JobMeta,
        TimestampPointers, //
    },
    microseq::{
        FinalizeCompute,
        StartCompute,
        Timestamp, //
    },
    workqueue::{
        Barrier,
        GpuContextData,
        Notifier,
        NotifierList,
        QueueInfo,
        RingState, //
    }, //
};
use crate::hw::Generation;

fn abi() -> Result<&'static Abi> {
    abi::find(Generation::G13, &[13, 5, 0]).ok_or(EINVAL)
}

#[kunit_tests(asahi_fw_layout)]
mod layout {
    use super::*;

    #[test]
    fn init_data() {
        assert_eq!(size_of::<InitData>(), 0xbc);
        assert_eq!(offset_of!(InitData, unk_buf), 0x8);
        assert_eq!(offset_of!(InitData, runtime_pointers), 0x18);
        assert_eq!(offset_of!(InitData, globals), 0x20);
        assert_eq!(offset_of!(InitData, fw_status), 0x28);
        assert_eq!(offset_of!(InitData, uat_page_size), 0x30);
        assert_eq!(offset_of!(InitData, uat_levels), 0x34);
        assert_eq!(offset_of!(InitData, host_mapped_fw_allocations), 0xa8);
        assert_eq!(size_of::<UatLevelInfo>(), 0x20);
        assert_eq!(size_of::<FwStatus>(), 0x80);
        assert_eq!(offset_of!(FwStatus, halt_count), 0x10);
        assert_eq!(offset_of!(FwStatus, halted), 0x20);
        assert_eq!(offset_of!(FwStatus, resume), 0x30);
    }

    #[test]
    fn runtime_pointers() {
        assert_eq!(size_of::<RuntimePointers>(), 0x6bc0);
        assert_eq!(size_of::<ChannelRing>(), 0x10);
        assert_eq!(offset_of!(RuntimePointers, device_control), 0xc0);
        assert_eq!(offset_of!(RuntimePointers, stats), 0x100);
        assert_eq!(offset_of!(RuntimePointers, unk_160), 0x160);
        assert_eq!(offset_of!(RuntimePointers, stats_vertex), 0x170);
        assert_eq!(offset_of!(RuntimePointers, hwdata_a), 0x188);
        assert_eq!(offset_of!(RuntimePointers, unkptr_190), 0x190);
        assert_eq!(offset_of!(RuntimePointers, unkptr_198), 0x198);
        assert_eq!(offset_of!(RuntimePointers, hwdata_b), 0x1a0);
        assert_eq!(offset_of!(RuntimePointers, fwlog_buf), 0x1b0);
        assert_eq!(offset_of!(RuntimePointers, unkptr_1b8), 0x1b8);
        assert_eq!(offset_of!(RuntimePointers, unkptr_1c8), 0x1c8);
        assert_eq!(offset_of!(RuntimePointers, unk_1d0), 0x1d0);
        assert_eq!(offset_of!(RuntimePointers, buffer_mgr_ctl_gpu), 0x214);
        assert_eq!(offset_of!(RuntimePointers, buffer_mgr_ctl_fw), 0x21c);
        assert_eq!(offset_of!(RuntimePointers, unk_6b38), 0x6b38);
        assert_eq!(offset_of!(StatsFragment, cur_stamp_id), 0x108);
        assert_eq!(offset_of!(StatsFragment, unk_id), 0x120);
    }

    #[test]
    fn blobs() -> Result {
        let abi = abi()?;

        assert_eq!(abi.ver_info, [0x6ba0, 0x1f28, 0x601, 0xb0]);
        assert_eq!(abi.hwdata_a_size, 0x421c);
        assert_eq!(abi.hwdata_b.size, 0x1884);
        assert_eq!(abi.hwdata_b.io_mappings, 0x640);
        assert_eq!(abi.hwdata_b.io_mapping_count, 0x19);
        assert_eq!(size_of::<IoMapping>(), 0x20);
        // The pointer to the SRAM, which G13 does not use, is between the two.
        assert_eq!(
            abi.hwdata_b.io_mappings + 0x19 * size_of::<IoMapping>() + 8,
            abi.hwdata_b.chip_id
        );
        assert_eq!(abi.hwdata_b.chip_id, 0x968);
        assert_eq!(abi.hwdata_b.timestamp_base, 0x28);
        assert_eq!(abi.hwdata_b.ttbat, 0xa78);
        assert_eq!(abi.hwdata_b.max_pstate, 0xa8c);
        assert_eq!(abi.hwdata_b.frequencies, 0xa90);
        assert_eq!(abi.globals.size, 0x12394);
        assert_eq!(abi.globals.pending_submissions, 0x8974);
        assert_eq!(abi.globals.fault_control, 0x10fd8);
        assert_eq!(abi.globals.pending_stamps, 0x111a8);
        Ok(())
    }

    #[test]
    fn versions() {
        assert!(abi::find(Generation::G13, &[13, 5, 0]).is_some());
        assert!(abi::find(Generation::G14, &[13, 5, 0]).is_none());
        assert!(abi::find(Generation::G13, &[12, 3, 0]).is_none());
        assert!(abi::find(Generation::G13, &[13, 5, 1]).is_none());
        assert!(abi::find(Generation::G13, &[0, 0, 0]).is_none());
        assert!(abi::find(Generation::G13, &[]).is_none());
    }

    #[test]
    fn channels() {
        assert_eq!(size_of::<ChannelState>(), 0x30);
        assert_eq!(offset_of!(ChannelState, write_ptr), 0x20);
        assert_eq!(size_of::<FwCtlState>(), 0x20);
        assert_eq!(offset_of!(FwCtlState, write_ptr), 0x10);
        assert_eq!(size_of::<PipeMsg>(), 0x30);
        assert_eq!(offset_of!(PipeMsg, wptr), 0xc);
        assert_eq!(offset_of!(PipeMsg, event_slot), 0x10);
        assert_eq!(offset_of!(PipeMsg, is_new), 0x14);
        assert_eq!(size_of::<DeviceControlMsg>(), 0x30);
        assert_eq!(size_of::<FwCtlMsg>(), 0x14);
        assert_eq!(offset_of!(FwCtlMsg, slot), 0xc);
        assert_eq!(offset_of!(FwCtlMsg, pages), 0x10);
        assert_eq!(size_of::<EventMsg>(), 0x38);
        assert_eq!(size_of::<FwLogMsg>(), 0x38);
        assert_eq!(offset_of!(FwLogMsg, index), 0x8);
        assert_eq!(size_of::<FwLogPayload>(), 0xd8);
        assert_eq!(size_of::<KTraceMsg>(), 0x38);
        assert_eq!(size_of::<StatsMsg>(), 0x40);
    }

    #[test]
    fn work() {
        assert_eq!(size_of::<RingState>(), 0x60);
        assert_eq!(size_of::<QueueInfo>(), 0xb8);
        assert_eq!(size_of::<GpuContextData>(), 0x40);
        assert_eq!(size_of::<NotifierList>(), 0x18);
        assert_eq!(size_of::<Notifier>(), 0xb0);
        // The firmware reads only the first 0x20 bytes of it on G13.
        assert_eq!(size_of::<Barrier>(), 0x40);
        assert_eq!(size_of::<RunCompute>(), 0x320);
        assert_eq!(size_of::<JobMeta>(), 0x2c);
        assert_eq!(size_of::<EncoderParams>(), 0x28);
        assert_eq!(size_of::<TimestampPointers>(), 0x10);
        assert_eq!(size_of::<Attachment>(), 0x10);
        assert_eq!(size_of::<StartCompute>(), 0x16c);
        assert_eq!(size_of::<FinalizeCompute>(), 0x7c);
        assert_eq!(size_of::<Timestamp>(), 0x3c);
    }

    #[test]
    fn events_are_decoded() {
        let mut msg = EventMsg {
            kind: 8,
            ..Default::default()
        };

        msg.args[..4].copy_from_slice(&[1, 2, 3, 0x400]);
        assert!(matches!(
            Event::from(&msg),
            Event::ChannelError {
                kind: 1,
                pipe: 2,
                slot: 3,
                value: 0x400
            }
        ));

        msg.kind = 4;
        assert!(matches!(
            Event::from(&msg),
            Event::Timeout {
                counter: 1,
                slot: 3
            }
        ));

        msg.kind = 9;
        assert!(matches!(Event::from(&msg), Event::Unknown(9)));
    }
}
