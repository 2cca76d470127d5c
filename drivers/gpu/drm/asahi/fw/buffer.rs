// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The tiler's heap, and what a render needs of it.
//!
//! Layouts: m1n1, proxyclient/m1n1/fw/agx/{cmdqueue,microsequence}.py (BufferManager*, BufferThing
//! and WorkCommandInitBM) for G13 with firmware 13.5. What the fields mean that m1n1 has no name
//! for: the out-of-tree driver of AsahiLinux/linux, drivers/gpu/drm/asahi/fw/buffer.rs.

use crate::fw_struct;

use super::types::{
    Pad,
    U64, //
};

fw_struct! {
    /// How many blocks the driver has put into the lists.
    pub(crate) struct BlockControl: 0x40 {
        pub(crate) total: u32,
        pub(crate) wptr: u32,
        pub(crate) unk: u32,
        pub(crate) pad: Pad<0x34>,
    }

    /// Counts the renders that use a heap.
    pub(crate) struct Counter: 0x40 {
        pub(crate) count: u32,
        pub(crate) pad: Pad<0x3c>,
    }

    /// What the firmware tells about the use of a heap.
    pub(crate) struct Stats: 0x40 {
        /// The most pages that were in use at a time.
        pub(crate) max_pages: u32,
        pub(crate) max_b: u32,
        pub(crate) overflow_count: u32,
        pub(crate) gpu_c: u32,
        pub(crate) pad_10: Pad<0x10>,
        /// Set by the driver to have the firmware begin anew.
        pub(crate) reset: u32,
        pub(crate) pad_24: Pad<0x1c>,
    }

    /// A heap. It belongs to the firmware while renders are under way that use it.
    pub(crate) struct Info: 0xbc {
        pub(crate) gpu_counter: u32,
        pub(crate) unk_4: u32,
        pub(crate) last_id: i32,
        pub(crate) cur_id: i32,
        pub(crate) unk_10: u32,
        pub(crate) gpu_counter2: u32,
        pub(crate) unk_18: u32,
        /// The numbers of all pages, which are of 32 KiB.
        pub(crate) page_list: U64,
        /// In bytes.
        pub(crate) page_list_size: u32,
        pub(crate) page_count: u32,
        pub(crate) max_blocks: u32,
        pub(crate) block_count: u32,
        pub(crate) unk_38: u32,
        /// For each block the number of its first page, and zero.
        pub(crate) block_list: U64,
        /// The [`BlockControl`].
        pub(crate) block_ctl: U64,
        pub(crate) last_page: u32,
        pub(crate) gpu_page_ptr1: u32,
        pub(crate) gpu_page_ptr2: u32,
        pub(crate) unk_58: u32,
        pub(crate) block_size: u32,
        pub(crate) unk_60: U64,
        /// The [`Counter`].
        pub(crate) counter: U64,
        pub(crate) unk_70: u32,
        pub(crate) unk_74: u32,
        pub(crate) unk_78: u32,
        pub(crate) unk_7c: u32,
        pub(crate) unk_80: u32,
        pub(crate) max_pages: u32,
        /// The same for when no render targets live in the heap.
        pub(crate) max_pages_nomemless: u32,
        pub(crate) unk_8c: u32,
        pub(crate) unk_90: Pad<0x30>,
    }

    /// One render's use of a heap.
    pub(crate) struct Scene: 0x48 {
        pub(crate) pass_page_count: u32,
        pub(crate) unk_4: u32,
        pub(crate) unk_8: U64,
        pub(crate) unk_10: U64,
        pub(crate) user_buffer: U64,
        pub(crate) unk_20: u32,
        pub(crate) unk_28: U64,
        /// The [`Stats`].
        pub(crate) stats: U64,
        pub(crate) total_page_count: u32,
        pub(crate) unk_30: U64,
        pub(crate) unk_38: U64,
    }

    /// A command that makes the firmware take over a heap into a slot.
    pub(crate) struct InitBuffer: 0x20 {
        pub(crate) tag: u32,
        pub(crate) vm_slot: u32,
        pub(crate) buffer_slot: u32,
        pub(crate) unk_c: u32,
        pub(crate) block_count: u32,
        /// The [`Info`].
        pub(crate) buffer: U64,
        /// The stamp value of the vertex command that follows.
        pub(crate) stamp_value: u32,
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(asahi_fw_buffer)]
mod tests {
    use super::*;
    use core::mem::{
        offset_of,
        size_of, //
    };

    #[test]
    fn sizes() {
        assert_eq!(size_of::<BlockControl>(), 0x40);
        assert_eq!(size_of::<Counter>(), 0x40);
        assert_eq!(size_of::<Stats>(), 0x40);
        assert_eq!(size_of::<Info>(), 0xbc);
        assert_eq!(size_of::<Scene>(), 0x48);
        assert_eq!(size_of::<InitBuffer>(), 0x20);
    }

    #[test]
    fn offsets() {
        assert_eq!(offset_of!(Stats, reset), 0x20);
        assert_eq!(offset_of!(Info, page_list), 0x1c);
        assert_eq!(offset_of!(Info, page_count), 0x28);
        assert_eq!(offset_of!(Info, block_count), 0x30);
        assert_eq!(offset_of!(Info, block_list), 0x38);
        assert_eq!(offset_of!(Info, block_ctl), 0x40);
        assert_eq!(offset_of!(Info, last_page), 0x48);
        assert_eq!(offset_of!(Info, block_size), 0x58);
        assert_eq!(offset_of!(Info, counter), 0x64);
        assert_eq!(offset_of!(Info, unk_80), 0x7c);
        assert_eq!(offset_of!(Info, max_pages), 0x80);
        assert_eq!(offset_of!(Scene, user_buffer), 0x18);
        assert_eq!(offset_of!(Scene, stats), 0x2c);
        assert_eq!(offset_of!(Scene, total_page_count), 0x34);
        assert_eq!(offset_of!(InitBuffer, block_count), 0x10);
        assert_eq!(offset_of!(InitBuffer, buffer), 0x14);
        assert_eq!(offset_of!(InitBuffer, stamp_value), 0x1c);
    }
}
