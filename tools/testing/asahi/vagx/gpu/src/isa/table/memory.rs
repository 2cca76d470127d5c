// SPDX-License-Identifier: MIT OR Apache-2.0

//! Device, local and stack memory, atomics, and the stores of the preamble.

use super::{Row, row};
use crate::isa::Op;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row(Op::Load, "load", "6/8@47", 0x4000_0400_007f, 0x4000_0400_0005,
        "d.memory[10:15 40:41 49 52:55] s.membase[16:19 36:39 27] s.memindex[20:23 32:35 56:63 24 25] shift:shift[42:43] format:format[7:9 48] mask:mask[52:55] coherency:coherent[44:45] waitgroup:group[30]"),
    row(Op::Atomic, "atomic", "8", 0x4000_8400_003f, 0x4000_8400_0015,
        "d.atomic_dest[10:15 40:41 47] s.atomic_source[48:55 6:9] s.membase[16:19 36:39 27] s.memindex[20:23 32:35 56:63 24 25] op:atomic[6:9] coherency:coherent[44:45] waitgroup:group[30]"),
    row(Op::Latomic, "latomic", "6/10@15", 0x8010_0000_003f, 0x8010_0000_0019,
        "d.local_atomic_dest[9:14 60:61 38 8] s.atomic_source[64:71 24:27] s.localmembase[16:21 58:59 22:23] s.localmemindex[28:33 48:57 34] op:atomic[24:27]"),
    row(Op::StackLoad, "stack_load", "6/8@47", 0x7070_0400_00ff, 0x4000_0400_0035,
        "d.memory[10:15 40:41 49 52:55] s.memindex[20:23 32:35 56:63 24 25] shift:shift[42:43] format:format[8:9 50:51] mask:mask[52:55] waitgroup:group[30]"),
    row(Op::StackAdjust, "stack_adjust", "6/8@47", 0x7070_0401_00ff, 0x20_0401_00b5,
        "s.memindex[20:23 32:35 56:63 24 25]"),
    row(Op::StackStore, "stack_store", "6/8@47", 0x7070_0400_00ff, 0x4000_0400_00b5,
        "s.memory[10:15 40:41 49 52:55] s.memindex[20:23 32:35 56:63 24 25] shift:shift[42:43] format:format[8:9 50:51] mask:mask[52:55] waitgroup:group[30]"),
    row(Op::UniformStore, "mov", "6/8@47", 0xd_0cf0_7f0f_03ff, 0x3d00_00c5,
        "d.uniform_dest[20:23 32:35 56:63 52:55] s.uniform_src[10:15 40:41 52:55]"),
    row(Op::UniformStoreUnk, "uniform_store_unk", "6/8@47", 0xc_00f0_3c0f_007f, 0x3c00_0045,
        "s.memory[10:15 40:41 49 52:55] s.memindex[20:23 32:35 56:63 24 25] shift:shift[42:43] format:format[7:9 48] mask:mask[52:55] waitgroup:group[30]"),
    row(Op::TexStateStore, "load", "8", 0x10_00ff, 0x10_00ed,
        "d.ts[8:14] s.ureg64_shift2[59:63] s.heap_offs[26:56 58] group:group[16]"),
    row(Op::SamplerStateStore, "load", "8", 0x10_00ff, 0x10_00ad,
        "d.ss[8:14] s.ureg64_shift2[59:63] s.heap_offs[26:56 58] group:group[16]"),
    row(Op::Store, "store", "6/8@47", 0x4000_0400_007f, 0x4000_0400_0045,
        "s.memory[10:15 40:41 49 52:55] s.membase[16:19 36:39 27] s.memindex[20:23 32:35 56:63 24 25] shift:shift[42:43] format:format[7:9 48] mask:mask[52:55] coherency:coherent[44:45] waitgroup:group[30]"),
    row(Op::Lload, "lload", "6/8@15", 0x7f, 0x69,
        "d.memory[9:14 60:61 8 36:39] s.localmembase[16:21 58:59 22:23] s.localmemindex[28:33 48:57 34] format:format[24:27] mask:mask[36:39]"),
    row(Op::Lstore, "lstore", "6/8@15", 0x7f, 0x29,
        "s.memory[9:14 60:61 8 36:39] s.localmembase[16:21 58:59 22:23] s.localmemindex[28:33 48:57 34] format:format[24:27] mask:mask[36:39]"),
];
