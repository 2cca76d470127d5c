// SPDX-License-Identifier: MIT OR Apache-2.0

//! Floating point, conversions, selections.

use super::Refused;
use super::compare::*;
use super::operand::*;
use crate::isa::{Instr, Op};
use crate::uop::*;

/// The operations of this kind; none for an instruction of another.
pub(super) fn lower(instr: &Instr) -> Result<Option<Uop>, Refused> {
    use Op::*;
    let src = |index| source(instr, index);
    let sat = instr.flag("sat");
    let from_int = |bits, signed| {
        let op = Convert::FromInt {
            bits,
            signed,
            nearest: rounding(instr)?,
        };
        Ok(Uop::Convert {
            d: dest(instr)?,
            op,
            a: val(&src(0)?)?,
        })
    };
    let to_int = |bits, signed| {
        let a = src(0)?;
        let half = a.size == 16;
        let op = Convert::ToInt {
            bits,
            signed,
            nearest: rounding(instr)?,
            half,
        };
        Ok(Uop::Convert {
            d: dest(instr)?,
            op,
            a: val(&a)?,
        })
    };
    let float = |op, half| {
        let d = dest(instr)?;
        let (a, b) = (flt(&src(0)?)?, flt(&src(1)?)?);
        let c = if instr.sources.len() > 2 {
            flt(&src(2)?)?
        } else {
            flt_const(0.0)
        };
        Ok(if half {
            Uop::Half {
                d,
                op,
                a,
                b,
                c,
                sat,
            }
        } else {
            Uop::Float {
                d,
                op,
                a,
                b,
                c,
                sat,
            }
        })
    };
    let funop = |op| {
        Ok(Uop::FltUnary {
            d: dest(instr)?,
            op,
            a: flt(&src(0)?)?,
            sat,
        })
    };
    let uop = match instr.op {
        Icsel | Fcsel => {
            let condition = instr.field("condition");
            let cmp = match instr.op {
                Icsel => int_compare(instr, condition)?,
                _ => float_compare(instr, condition)?,
            };
            Ok(Uop::Select {
                d: dest(instr)?,
                cmp,
                x: val(&src(2)?)?,
                y: val(&src(3)?)?,
            })
        }
        U8ToF => from_int(8, false),
        S8ToF => from_int(8, true),
        U16ToF => from_int(16, false),
        S16ToF => from_int(16, true),
        U32ToF => from_int(32, false),
        S32ToF => from_int(32, true),
        FToU16 => to_int(16, false),
        FToS16 => to_int(16, true),
        FToU32 => to_int(32, false),
        FToS32 => to_int(32, true),
        Ffma => float(FltOp::Fma, false),
        Fadd => float(FltOp::Add, false),
        Fmul => float(FltOp::Mul, false),
        Hfma => float(FltOp::Fma, true),
        Hadd => float(FltOp::Add, true),
        Hmul => float(FltOp::Mul, true),
        Floor => funop(FltUnary::Floor),
        Ceil => funop(FltUnary::Ceil),
        Trunc => funop(FltUnary::Trunc),
        Rint => funop(FltUnary::Rint),
        Rcp => funop(FltUnary::Rcp),
        Rsqrt => funop(FltUnary::Rsqrt),
        Rsqrts => funop(FltUnary::RsqrtSpecial),
        Log2 => funop(FltUnary::Log2),
        Exp2 => funop(FltUnary::Exp2),
        Sinr => funop(FltUnary::SinFold),
        Sinc => funop(FltUnary::Sinc),
        Dfdx => funop(FltUnary::Dfdx),
        Dfdy => funop(FltUnary::Dfdy),
        _ => return Ok(None),
    };
    uop.map(Some)
}

/// Whether a conversion rounds to nearest; else it rounds towards zero.
fn rounding(instr: &Instr) -> Result<bool, Refused> {
    Ok(instr.field("round") == 1)
}
