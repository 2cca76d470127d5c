// SPDX-License-Identifier: MIT OR Apache-2.0

//! Operands.

use super::Refused;
use crate::isa::{Instr, Operand, Place, minifloat};
use crate::uop::*;

pub(super) const REGISTERS: i32 = 128;
pub(super) const UNIFORMS: i32 = 256;

pub(super) fn source(instr: &Instr, index: usize) -> Result<Operand, Refused> {
    instr.sources.get(index).copied().ok_or("missing source")
}

pub(super) fn whole(half: i32, limit: i32) -> Result<u8, Refused> {
    if (0..limit * 2).contains(&half) {
        Ok((half >> 1) as u8)
    } else {
        Err("register out of range")
    }
}

/// An operand of up to 32 bits as raw bits.
pub(super) fn val(op: &Operand) -> Result<Val, Refused> {
    Ok(match (op.place, op.size, op.value & 1) {
        (Place::Imm, ..) => Val::Const(op.value as u32),
        (Place::Reg, 16, 0) => Val::Low(whole(op.value, REGISTERS)?),
        (Place::Reg, 16, _) => Val::High(whole(op.value, REGISTERS)?),
        (Place::Reg, ..) => Val::Full(whole(op.value, REGISTERS)?),
        (Place::Uniform, 16, 0) => Val::ULow(whole(op.value, UNIFORMS)?),
        (Place::Uniform, 16, _) => Val::UHigh(whole(op.value, UNIFORMS)?),
        (Place::Uniform, ..) => Val::UFull(whole(op.value, UNIFORMS)?),
        _ => return Err("operand in an unexpected place"),
    })
}

pub(super) fn is_half_register(op: &Operand) -> bool {
    op.size == 16 && matches!(op.place, Place::Reg | Place::Uniform)
}

/// An integer operand; of a 64-bit one, the low word.
pub(super) fn int(op: &Operand, signed: bool) -> Result<Int, Refused> {
    Ok(Int {
        val: val(op)?,
        extend16: signed && is_half_register(op),
    })
}

pub(super) fn wide(op: &Operand) -> Result<Wide, Refused> {
    let low = int(op, op.sx)?;
    let high = match (op.size, op.place) {
        (64, Place::Reg) => High::Val(Val::Full(whole(op.value + 2, REGISTERS)?)),
        (64, Place::Uniform) => High::Val(Val::UFull(whole(op.value + 2, UNIFORMS)?)),
        (_, Place::Imm) => High::Zero,
        _ if op.sx => High::Sign,
        _ => High::Zero,
    };
    Ok(Wide { low, high })
}

pub(super) const fn constant(value: u32) -> Int {
    Int {
        val: Val::Const(value),
        extend16: false,
    }
}

pub(super) fn flt(op: &Operand) -> Result<Flt, Refused> {
    if op.place == Place::FImm {
        let value = minifloat(op.value as u8);
        return Ok(Flt {
            val: Val::Const(value.to_bits()),
            half: false,
            abs: op.abs,
            neg: op.neg,
            clean: false,
        });
    }
    Ok(Flt {
        val: val(op)?,
        half: op.size == 16,
        abs: op.abs,
        neg: op.neg,
        clean: false,
    })
}

pub(super) const fn flt_const(value: f32) -> Flt {
    Flt {
        val: Val::Const(value.to_bits()),
        half: false,
        abs: false,
        neg: false,
        clean: false,
    }
}

pub(super) fn dest(instr: &Instr) -> Result<Dst, Refused> {
    let op = instr.dest.as_ref().ok_or("missing destination")?;
    if op.place != Place::Reg {
        return Err("destination in an unexpected place");
    }
    let reg = whole(op.value, REGISTERS)?;
    match (op.size, op.value & 1) {
        (16, 0) => Ok(Dst::Low(reg)),
        (16, _) => Ok(Dst::High(reg)),
        (32, _) => Ok(Dst::Full(reg)),
        _ => Err("64-bit destination"),
    }
}
