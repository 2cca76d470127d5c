// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tiler's buffer: a heap that the driver gives and the firmware deals out.
//!
//! m1n1 `fw/agx/microsequence.py` (`BufferManagerInfo`, `BufferManagerBlockControl`, `BufferManagerCounter`,
//! `BufferManagerMisc`, `BufferThing`), `fw/agx/cmdqueue.py` (`WorkCommandInitBM`), `fw/agx/channels.py`
//! (`DC_GrowTVBAck`). What the words of `BufferManagerMisc` and the page counts of `BufferThing` mean is from the
//! names in the public out-of-tree driver's `fw/buffer.rs`.

use super::layout;

layout! {
    /// Describes the heap. The driver fills it; of what it may change later, the firmware learns by message.
    BufferInfo, "BufferInfo", G13_V13_5, size 0xbc {
        gpu_counter: 0x0, 4;
        last_id: 0x8, 4;
        cur_id: 0xc, 4;
        gpu_counter2: 0x14, 4;
        page_list: 0x1c, 8;
        page_list_size: 0x24, 4;
        page_count: 0x28, 4;
        max_blocks: 0x2c, 4;
        block_count: 0x30, 4;
        block_list: 0x38, 8;
        block_ctl: 0x40, 8;
        last_page: 0x48, 4;
        gpu_page_ptr1: 0x4c, 4;
        gpu_page_ptr2: 0x50, 4;
        block_size: 0x58, 4;
        counter: 0x64, 8;
        unk_80: 0x7c, 4;
        max_pages: 0x80, 4;
        max_pages_nomemless: 0x84, 4;
    }
}

layout! {
    /// Blocks that there are and blocks whose pages are in the lists.
    BlockControl, "BufferBlockControl", V13_5, size 0x40 {
        total: 0x0, 4;
        wptr: 0x4, 4;
    }
}

layout! {
    /// What the firmware tells about the use of the heap.
    BufferStats, "BufferStats", V13_5, size 0x40 {
        max_pages: 0x0, 4;
        overflow_count: 0x8, 4;
        reset: 0x20, 4;
    }
}

layout! {
    /// What belongs to one render in the buffer.
    Scene, "Scene", G13_V13_5, size 0x48 {
        pass_page_count: 0x0, 4;
        user_buffer: 0x18, 8;
        stats: 0x2c, 8;
        total_page_count: 0x34, 4;
    }
}

layout! {
    /// "This slot holds that buffer from now on."
    InitBuffer, "InitBuffer", V13_5, size 0x20 {
        vm_slot: 0x4, 4;
        buffer_slot: 0x8, 4;
        unk_c: 0xc, 4;
        block_count: 0x10, 4;
        buffer: 0x14, 8;
        stamp_value: 0x1c, 4;
    }
}

layout! {
    /// The heap has been made larger, or cannot be.
    GrowTvbAck, "DeviceControlMsg.GrowTVBAck", V13_5, size 0x30 {
        unk_4: 0x4, 4;
        buffer_slot: 0x8, 4;
        vm_slot: 0xc, 4;
        counter: 0x10, 4;
        subpipe: 0x14, 4;
        halt_count: 0x18, 8;
    }
}

/// Buffers that the firmware has room for.
pub(crate) const BUFFER_SLOTS: u32 = 127;
/// Shift and size of the heap's own pages.
pub(crate) const TILER_PAGE_SHIFT: u32 = 15;
pub(crate) const TILER_PAGE: u64 = 1 << TILER_PAGE_SHIFT;
pub(crate) const PAGES_PER_BLOCK: u32 = 4;
/// The heap does not work with less (AsahiLinux/docs `hw/soc/agx.md`).
pub(crate) const MIN_BLOCKS: u32 = 3;
/// Bytes of `Scene.user_buffer` and of the buffer that the commands call empty.
pub(crate) const SCENE_USER_BUFFER: u64 = 0x80;
pub(crate) const EMPTY_BUFFER: u64 = 0x40;
