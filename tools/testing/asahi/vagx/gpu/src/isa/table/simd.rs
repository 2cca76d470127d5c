// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ballots, shuffles and subgroup arithmetic.

use super::{Row, row};
use crate::isa::Op;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row(Op::Ballot, "ballot", "8", 0xffff_803f_f3ff_007f, 0x1_8000_0001_0032,
        "d.dalu[7:14 44:45]"),
    row(Op::IcmpBallot, "ballot", "8", 0x1ffe_0000_0000_007f, 0x32,
        "d.dalu[7:14 44:45] s.alu[16:25 42:43] s.alu[28:37 40:41] quad:quad[48] condition:icond[61:63 47]"),
    row(Op::FcmpBallot, "ballot", "8", 0x1ffe_0000_0000_007f, 0x22,
        "d.dalu[7:14 44:45] s.float[16:25 42:43] s.float[28:37 40:41] quad:quad[48] condition:icond[61:63 47]"),
    row(Op::Shuffle, "shuffle", "6", 0x800_807f, 0x6f,
        "d.dalu[7:14 44:45] s.alu[16:25 42:43] s.alu[28:37 40:41] quad:quad[26] rotate[47] op:shuffle_op[38:39]"),
    row(Op::Quad, "quad", "6", 0x23f_ac00_807f, 0x806f,
        "d.dalu[7:14 44:45] s.alu[16:25 42:43] prefix[30] op:subop[28 38:40 47]"),
    row(Op::Simd, "simd", "6", 0x23f_ac00_807f, 0x2000_806f,
        "d.dalu[7:14 44:45] s.alu[16:25 42:43] prefix[30] op:subop[28 38:40 47]"),
];
