// SPDX-License-Identifier: MIT OR Apache-2.0

//! Comparisons.

use super::Refused;
use super::operand::*;
use crate::isa::Instr;
use crate::uop::*;

/// The comparison of the first two sources by an integer condition.
pub(super) fn int_compare(instr: &Instr, condition: i64) -> Result<Compare, Refused> {
    let signed = condition & 4 != 0;
    let test = match condition & 3 {
        0 => Test::Equal,
        1 => Test::Less,
        2 => Test::Greater,
        _ => return Err("integer condition"),
    };
    Ok(Compare::Int {
        a: int(&source(instr, 0)?, signed)?,
        b: int(&source(instr, 1)?, signed)?,
        test,
        signed,
        invert: condition & 8 != 0,
    })
}

pub(super) fn float_compare(instr: &Instr, condition: i64) -> Result<Compare, Refused> {
    let test = match condition & 7 {
        0 => Test::Equal,
        1 => Test::Less,
        2 => Test::Greater,
        3 => Test::LessOrNan,
        5 => Test::GreaterEqual,
        6 => Test::LessEqual,
        7 => Test::GreaterOrNan,
        _ => return Err("float condition"),
    };
    Ok(Compare::Float {
        a: flt(&source(instr, 0)?)?,
        b: flt(&source(instr, 1)?)?,
        test,
        invert: condition & 8 != 0,
    })
}

/// A comparison that always holds.
pub(super) const ALWAYS: Compare = Compare::Int {
    a: constant(0),
    b: constant(0),
    test: Test::Equal,
    signed: false,
    invert: false,
};
