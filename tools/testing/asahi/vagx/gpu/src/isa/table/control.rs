// SPDX-License-Identifier: MIT OR Apache-2.0

//! Control flow and the execution mask.

use super::{Row, row};
use crate::isa::Op;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row(Op::Stop, "stop", "2", 0xffff, 0x88,
        ""),
    row(Op::Trap, "trap", "2", 0xffff, 0x8,
        ""),
    row(Op::JmpIncomplete, "jmp_incomplete", "4", 0xff00_ffff, 0x0,
        "#offset[16:23]"),
    row(Op::Ret, "ret", "2", 0x7f, 0x14,
        "s.exreg32[9:15]"),
    row(Op::CallReg, "call", "2", 0x7f, 0x4,
        "s.exreg32[9:15]"),
    row(Op::JmpAny, "jmp_any", "6", 0xffff, 0xc000,
        "-offset[16:47]"),
    row(Op::Call, "call", "6", 0xffff, 0xc010,
        "-offset[16:47]"),
    row(Op::JmpNone, "jmp_none", "6", 0xffff, 0xc020,
        "-offset[16:47]"),
    row(Op::PopExec, "pop_exec", "6", 0xffff_ffff_e67f, 0x652,
        "#nest[11:12] cache[7]"),
    row(Op::IfIcmp, "if", "6", 0x30c0_0c00_067f, 0x52,
        "s.alu[16:25 42:43] s.alu[28:37 40:41] #nest[11:12] cache[7] cond:icond[13:15 8]"),
    row(Op::ElseIcmp, "else", "6", 0x30c0_0c00_067f, 0x252,
        "s.alu[16:25 42:43] s.alu[28:37 40:41] #nest[11:12] cache[7] cond:icond[13:15 8]"),
    row(Op::WhileIcmp, "while", "6", 0x30c0_0c00_067f, 0x452,
        "s.alu[16:25 42:43] s.alu[28:37 40:41] #nest[11:12] cache[7] cond:icond[13:15 8]"),
    row(Op::UpdateExec, "update_exec", "6", 0x3fff_ffff_ff7f, 0x42,
        "cache[7]"),
    row(Op::IfFcmp, "if", "6", 0x3000_0000_067f, 0x42,
        "s.float[16:27 42:43] s.float[28:39 40:41] #nest[11:12] cache[7] cond:fcond[13:15 8]"),
    row(Op::ElseFcmp, "else", "6", 0x3000_0000_067f, 0x242,
        "s.float[16:27 42:43] s.float[28:39 40:41] #nest[11:12] cache[7] cond:fcond[13:15 8]"),
    row(Op::WhileFcmp, "while", "6", 0x3000_0000_067f, 0x442,
        "s.float[16:27 42:43] s.float[28:39 40:41] #nest[11:12] cache[7] cond:fcond[13:15 8]"),
];
