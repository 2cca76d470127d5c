// SPDX-License-Identifier: MIT OR Apache-2.0

//! Interpolation, and tests of samples.

use super::Refused;
use super::operand::*;
use crate::isa::{Instr, Op, Operand, Place as Kind};
use crate::uop::*;

fn coefficient(op: &Operand) -> Result<Coefficient, Refused> {
    match op.place {
        Kind::Cf => Ok(Coefficient::Number(op.value as u8)),
        Kind::Reg => Ok(Coefficient::Indirect(val(op)?)),
        _ => Err("coefficient in an unexpected place"),
    }
}

/// The register `index` places after a destination's first.
fn nth(op: &Operand, index: i32) -> Result<Dst, Refused> {
    if op.size == 32 {
        return Ok(Dst::Full(whole(op.value + 2 * index, REGISTERS)?));
    }
    let half = op.value + index;
    let reg = whole(half, REGISTERS)?;
    Ok(if half & 1 == 0 {
        Dst::Low(reg)
    } else {
        Dst::High(reg)
    })
}

fn iterate(instr: &Instr) -> Result<FragmentOp, Refused> {
    let op = instr.dest.as_ref().ok_or("missing destination")?;
    let count = op.count.clamp(1, 4);
    let mut d = [nth(op, 0)?; 4];
    for index in 1..count {
        d[usize::from(index)] = nth(op, index.into())?;
    }
    let (w, sample) = match instr.op {
        Op::Iterproj => (Some(source(instr, 1)?.value as u8), source(instr, 2)?),
        _ => (None, source(instr, 1)?),
    };
    let place = match instr.field("interpolation") {
        0 => Place::Centre,
        2 => Place::Centroid,
        // The number of the sample is an immediate or in a register.
        _ => Place::Sample(val(&sample)?),
    };
    Ok(FragmentOp::Iterate {
        d,
        count,
        from: coefficient(&source(instr, 0)?)?,
        w,
        place,
    })
}

fn emit(instr: &Instr) -> Result<FragmentOp, Refused> {
    let samples = val(&source(instr, 0)?)?;
    let op = source(instr, 1)?;
    let full = |half: i32| Ok::<_, Refused>(Val::Full(whole(half, REGISTERS)?));
    // A single value tells by its size which it is; of two, the first is the depth.
    let (depth, stencil) = match (op.place, op.size, op.count) {
        (Kind::Reg, _, 3) if op.value & 1 == 0 => {
            (Some(full(op.value)?), Some(full(op.value + 2)?))
        }
        (Kind::Reg, 32, _) => (Some(val(&op)?), None),
        (Kind::Reg, 16, 1) => (None, Some(val(&op)?)),
        (Kind::None, ..) => (None, None),
        _ => return Err("depth in an unexpected place"),
    };
    Ok(FragmentOp::Emit {
        samples,
        depth,
        stencil,
    })
}

pub(super) fn lower(instr: &Instr) -> Result<Option<Uop>, Refused> {
    let op = match instr.op {
        Op::Iter | Op::Iterproj => iterate(instr)?,
        Op::Ldcf => {
            let d = instr.dest.as_ref().ok_or("missing destination")?;
            if d.size != 32 {
                return Err("coefficient in 16-bit registers");
            }
            whole(d.value + 4, REGISTERS)?;
            FragmentOp::Load {
                d: whole(d.value, REGISTERS)?,
                from: coefficient(&source(instr, 0)?)?,
            }
        }
        Op::SampleMask => FragmentOp::SampleMask {
            target: val(&source(instr, 0)?)?,
            live: val(&source(instr, 1)?)?,
        },
        Op::ZsEmit => emit(instr)?,
        // Pixels are drawn in order, so that there is nothing to wait for.
        Op::Pixwait | Op::Pixrel => return Ok(Some(Uop::Nop)),
        _ => return Ok(None),
    };
    Ok(Some(Uop::Fragment(op)))
}
