// SPDX-License-Identifier: MIT OR Apache-2.0

//! Waits, barriers and what only the helper program uses.

use super::{Row, row};
use crate::isa::Op;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row(Op::Pixwait, "pixwait", "4", 0xff, 0x48,
        "#i[8:17] #j[22:23]"),
    row(Op::Pixrel, "pixrel", "4", 0xff, 0x58,
        "#i[8:17] #j[22:23]"),
    row(Op::Wait, "wait", "2", 0xff, 0x38,
        "group:group[8]"),
    row(Op::Barrier, "barrier", "2", 0xff, 0x68,
        ""),
    row(Op::Doorbell, "doorbell", "2", 0xff, 0x28,
        "#imm[8:15]"),
    row(Op::JmpIfSkippingDoorbell, "jmp_if_skipping_doorbell", "4", 0xff00_ffff, 0x20,
        "#offset[16:23]"),
    row(Op::Unmap, "unmap", "8", 0xff_fce0_ff0f_07ff, 0x10_c000_0500_0075,
        "s.exreg32[11:15 40:41] #target[36] #v[20:23 32:35 56:63]"),
    row(Op::Map, "map", "8", 0xff_fce0_ff0f_07ff, 0x10_c000_0501_0075,
        "s.exreg32[11:15 40:41] #target[36] #v[20:23 32:35 56:63]"),
    row(Op::MemoryBarrier, "memory_barrier", "2", 0xffff, 0x96f5,
        ""),
    row(Op::ImageBarrier1, "image_barrier_1", "2", 0xffff, 0xaaf5,
        ""),
    row(Op::ImageBarrier2, "image_barrier_2", "2", 0xffff, 0xaef5,
        ""),
    row(Op::ImageBarrier3, "image_barrier_3", "2", 0xffff, 0xa9f5,
        ""),
    row(Op::ImageBarrier4, "image_barrier_4", "2", 0xffff, 0xadf5,
        ""),
    row(Op::FlushMemoryToTexture, "flush_memory_to_texture", "2", 0xffff, 0x40f5,
        ""),
    row(Op::MemoryBarrier2, "memory_barrier_2", "2", 0xffff, 0x9af5,
        ""),
    row(Op::MemoryBarrier3, "memory_barrier_3", "2", 0xffff, 0x99f5,
        ""),
    row(Op::UnknownBarrier1, "unknown_barrier_1", "2", 0xffff, 0x33f5,
        ""),
    row(Op::UnknownBarrier2, "unknown_barrier_2", "2", 0xffff, 0x3f5,
        ""),
    row(Op::DeviceBarrier1, "device_barrier_1", "2", 0xffff, 0x9df5,
        ""),
    row(Op::DeviceBarrier2, "device_barrier_2", "2", 0xffff, 0x9ef5,
        ""),
];
