// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What the firmware is given when it is initialised.
//!
//! [`InitData`] is the root; from there the firmware finds everything else.
//!
//! Sources: AsahiLinux/m1n1 `proxyclient/m1n1/fw/agx/initdata.py` and `rust/src/gpu/raw.rs`.

use super::types::{
    Pad,
    U64, //
};
use crate::fw_struct;

fw_struct! {
    /// The root of it all.
    pub(crate) struct InitData: 0xbc {
        pub(crate) ver_info: [u16; 4],
        pub(crate) unk_buf: U64,
        pub(crate) unk_10: u32,
        pub(crate) unk_14: u32,
        pub(crate) runtime_pointers: U64,
        pub(crate) globals: U64,
        pub(crate) fw_status: U64,
        pub(crate) uat_page_size: u16,
        pub(crate) uat_page_bits: u8,
        pub(crate) uat_num_levels: u8,
        pub(crate) uat_levels: [UatLevelInfo; 3],
        pub(crate) pad_94: Pad<0x14>,
        /// The driver maps what the firmware needs. The firmware insists on it.
        pub(crate) host_mapped_fw_allocations: u32,
        pub(crate) unk_ac: u32,
        pub(crate) unk_b0: u32,
        pub(crate) unk_b4: u32,
        pub(crate) unk_b8: u32,
    }

    /// One level of the page tables.
    pub(crate) struct UatLevelInfo: 0x20 {
        pub(crate) unk_0: u8,
        pub(crate) page_bits_1: u8,
        pub(crate) page_bits_2: u8,
        pub(crate) index_shift: u8,
        pub(crate) num_entries: u16,
        pub(crate) table_size: u16,
        pub(crate) unk_8: U64,
        pub(crate) phys_mask: U64,
        pub(crate) index_mask: U64,
    }

    /// Where a channel is.
    pub(crate) struct ChannelRing: 0x10 {
        pub(crate) state: U64,
        pub(crate) ring: U64,
    }

    /// The channels for the work of one priority.
    pub(crate) struct PipeChannels: 0x30 {
        pub(crate) vertex: ChannelRing,
        pub(crate) fragment: ChannelRing,
        pub(crate) compute: ChannelRing,
    }

    /// Pointers to what is used at run time.
    pub(crate) struct RuntimePointers: 0x6bc0 {
        pub(crate) pipes: [PipeChannels; 4],
        pub(crate) device_control: ChannelRing,
        pub(crate) event: ChannelRing,
        pub(crate) fw_log: ChannelRing,
        pub(crate) ktrace: ChannelRing,
        pub(crate) stats: ChannelRing,
        pub(crate) pad_110: Pad<0x50>,
        pub(crate) unk_160: U64,
        pub(crate) unk_168: U64,
        pub(crate) stats_vertex: U64,
        pub(crate) stats_fragment: U64,
        pub(crate) stats_compute: U64,
        pub(crate) hwdata_a: U64,
        /// Information about faults, 0x80 bytes.
        pub(crate) unkptr_190: U64,
        /// The firmware writes timestamps here, 0xc0 bytes.
        pub(crate) unkptr_198: U64,
        pub(crate) hwdata_b: U64,
        pub(crate) hwdata_b_2: U64,
        pub(crate) fwlog_buf: U64,
        pub(crate) unkptr_1b8: U64,
        pub(crate) unkptr_1c0: U64,
        pub(crate) unkptr_1c8: U64,
        pub(crate) unk_1d0: u32,
        pub(crate) unk_1d4: u32,
        pub(crate) pad_1d8: Pad<0x3c>,
        /// Where the GPU finds the buffer manager's control page.
        pub(crate) buffer_mgr_ctl_gpu: U64,
        /// Where the firmware finds it.
        pub(crate) buffer_mgr_ctl_fw: U64,
        pub(crate) pad_224: Pad<0x6914>,
        pub(crate) unk_6b38: u32,
        pub(crate) pad_6b3c: Pad<0x84>,
    }

    /// How driver and firmware agree on halting.
    pub(crate) struct FwStatus: 0x80 {
        pub(crate) fwctl: ChannelRing,
        pub(crate) halt_count: u32,
        pub(crate) pad_14: Pad<0xc>,
        pub(crate) halted: u32,
        pub(crate) pad_24: Pad<0xc>,
        pub(crate) resume: u32,
        pub(crate) pad_34: Pad<0x4c>,
    }

    /// An entry of the array of IO mappings.
    pub(crate) struct IoMapping: 0x20 {
        pub(crate) phys: u64,
        pub(crate) virt: u64,
        pub(crate) total_size: u32,
        pub(crate) element_size: u32,
        pub(crate) writable: u64,
    }

    /// Statistics of the fragment pipe. Only the fields that must not begin as zero are known to
    /// the driver.
    pub(crate) struct StatsFragment: 0x1124 {
        pub(crate) pad_0: Pad<0x108>,
        /// No stamp.
        pub(crate) cur_stamp_id: i32,
        pub(crate) pad_10c: Pad<0x14>,
        pub(crate) unk_id: i32,
        pub(crate) pad_124: Pad<0x1000>,
    }
}

/// Sizes of the buffers that the driver does not look into.
pub(crate) const UNK_BUF_SIZE: usize = 0x4000;
pub(crate) const STATS_SIZE: usize = 0x3000;
/// Where in the global statistics of vertex and of fragment work those are that commands point to:
/// behind counters of the commands.
pub(crate) const STATS_VERTEX_OFFSET: u64 = 4;
pub(crate) const STATS_FRAGMENT_OFFSET: u64 = 8;
pub(crate) const UNK_190_SIZE: usize = 0x80;
pub(crate) const UNK_198_SIZE: usize = 0xc0;
pub(crate) const UNK_1B8_SIZE: usize = 0x1000;
pub(crate) const UNK_1C0_SIZE: usize = 0x300;
pub(crate) const UNK_1C8_SIZE: usize = 0x1000;
