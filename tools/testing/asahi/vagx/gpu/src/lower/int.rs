// SPDX-License-Identifier: MIT OR Apache-2.0

//! Integers and bits.

use super::Refused;
use super::operand::*;
use crate::isa::{Instr, Op, Operand};
use crate::uop::*;

/// `a * b + (±c << shift)` for any widths; an addition has b = 1.
fn multiply_add(
    instr: &Instr,
    product: Option<(Operand, Operand)>,
    first: Option<Operand>,
    addend: Option<Operand>,
    neg: bool,
) -> Result<Uop, Refused> {
    let shift = instr.field("shift") as u8;
    let d = instr.dest.as_ref().ok_or("missing destination")?;
    let ops = [product.map(|p| p.0), product.map(|p| p.1), first, addend];
    // Hardware saturates only without a shift and when nothing added or written is 64 bits wide (applegpu.py, IAdd and
    // IMAdd).
    let adds_wide = first.iter().chain(&addend).any(|op| op.size == 64);
    if instr.flag("sat") && shift == 0 && d.size <= 32 && !adds_wide {
        let signed = ops.iter().flatten().any(|op| op.sx);
        let (a, b) = wide_product(&product, &first)?;
        let c = addend.map_or(Ok(wide_const(0)), |op| wide(&op))?;
        return Ok(Uop::MadSat {
            d: dest(instr)?,
            a,
            b,
            c,
            neg,
            signed,
        });
    }
    if d.size == 64 {
        let (a, b) = wide_product(&product, &first)?;
        let c = addend.map_or(Ok(wide_const(0)), |op| wide(&op))?;
        let low = whole(d.value, REGISTERS)?;
        whole(d.value + 2, REGISTERS)?;
        return Ok(Uop::MadWide {
            d: low,
            a,
            b,
            c,
            shift,
            neg,
        });
    }
    let d = dest(instr)?;
    let low = |op: &Operand| int(op, op.sx);
    match (&product, &first) {
        (Some((a, b)), _) => {
            let c = addend.map_or(Ok(constant(0)), |op| low(&op))?;
            Ok(Uop::Mad {
                d,
                a: low(a)?,
                b: low(b)?,
                c,
                shift,
                neg,
            })
        }
        (None, Some(a)) => {
            let b = addend.as_ref().ok_or("missing source")?;
            Ok(Uop::Add {
                d,
                a: low(a)?,
                b: low(b)?,
                shift,
                neg,
            })
        }
        (None, None) => Err("missing source"),
    }
}

fn wide_const(value: u32) -> Wide {
    Wide {
        low: constant(value),
        high: High::Zero,
    }
}

fn wide_product(
    product: &Option<(Operand, Operand)>,
    first: &Option<Operand>,
) -> Result<(Wide, Wide), Refused> {
    match (product, first) {
        (Some((a, b)), _) => Ok((wide(a)?, wide(b)?)),
        (None, Some(a)) => Ok((wide(a)?, wide_const(1))),
        (None, None) => Err("missing source"),
    }
}

/// The operations of this kind; none for an instruction of another.
pub(super) fn lower(instr: &Instr) -> Result<Option<Uop>, Refused> {
    use Op::*;
    let src = |index| source(instr, index);
    let bit = |op| {
        let b = if instr.sources.len() > 1 {
            val(&src(1)?)?
        } else {
            Val::Const(0)
        };
        Ok(Uop::Bit {
            d: dest(instr)?,
            op,
            a: val(&src(0)?)?,
            b,
        })
    };
    let shift = |op| {
        let bits = instr.field("bitmask");
        let mask = if bits == 0 {
            u32::MAX
        } else {
            ((1u64 << bits) - 1) as u32
        };
        let (a, b, c) = (val(&src(0)?)?, val(&src(1)?)?, val(&src(2)?)?);
        Ok(Uop::Shift {
            d: dest(instr)?,
            op,
            a,
            b,
            c,
            mask,
        })
    };
    let arith = |high| {
        // The form with a mask or a third source that matters has not been seen.
        if instr.flag("bitmask") {
            return Err("arithmetic shift with a mask");
        }
        let a = src(0)?;
        Ok(Uop::ShiftArith {
            d: dest(instr)?,
            a: int(&a, true)?,
            by: val(&src(1)?)?,
            high,
        })
    };
    let unary = |op| {
        Ok(Uop::IntUnary {
            d: dest(instr)?,
            op,
            a: val(&src(0)?)?,
        })
    };
    let uop = match instr.op {
        Ldimm16 | Ldimm32 => Ok(Uop::Const {
            d: dest(instr)?,
            value: instr.field("imm") as u32,
        }),
        Iadd | Isub => multiply_add(instr, None, Some(src(0)?), Some(src(1)?), instr.op == Isub),
        Imul => multiply_add(instr, Some((src(0)?, src(1)?)), None, None, false),
        Imadd | Imsub => multiply_add(
            instr,
            Some((src(0)?, src(1)?)),
            None,
            Some(src(2)?),
            instr.op == Imsub,
        ),
        Shl => Ok(Uop::ShiftLeft {
            d: dest(instr)?,
            a: val(&src(0)?)?,
            by: val(&src(1)?)?,
        }),
        Shr => Ok(Uop::ShiftRight {
            d: dest(instr)?,
            a: val(&src(0)?)?,
            by: val(&src(1)?)?,
        }),
        Bfi => shift(ShiftOp::Bfi),
        Bfeil => shift(ShiftOp::Bfeil),
        Extr => shift(ShiftOp::Extr),
        Shlhi => shift(ShiftOp::Shlhi),
        Shrhi => shift(ShiftOp::Shrhi),
        Asr => arith(false),
        Asrh => arith(true),
        Mov => Ok(Uop::Mov {
            d: dest(instr)?,
            a: val(&src(0)?)?,
        }),
        Zero => Ok(Uop::Const {
            d: dest(instr)?,
            value: 0,
        }),
        One => Ok(Uop::Const {
            d: dest(instr)?,
            value: u32::MAX,
        }),
        // Two truth tables act on the first source alone although they name the second (applegpu.py, Bitop).
        MovA => bit(BitOp::MovA),
        NotA => bit(BitOp::MovA),
        Not => bit(BitOp::NotA),
        And => bit(BitOp::And),
        Andn1 => bit(BitOp::AndN1),
        Andn2 => bit(BitOp::AndN2),
        Xor => bit(BitOp::Xor),
        Or => bit(BitOp::Or),
        Nor => bit(BitOp::Nor),
        Xnor => bit(BitOp::Xnor),
        Orn1 => bit(BitOp::OrN1),
        Orn2 => bit(BitOp::OrN2),
        Nand => bit(BitOp::Nand),
        Bitrev => unary(IntUnary::BitReverse),
        Popcnt => unary(IntUnary::PopCount),
        Ffs => unary(IntUnary::FindHighest),
        Intl => Ok(Uop::Interleave {
            d: dest(instr)?,
            a: val(&src(0)?)?,
            b: val(&src(1)?)?,
        }),
        _ => return Ok(None),
    };
    uop.map(Some)
}
