// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ballots, shuffles, reductions.

use super::Refused;
use super::compare::*;
use super::operand::*;
use crate::isa::{Instr, Op};
use crate::uop::*;

fn reduce(instr: &Instr, quad: bool) -> Result<Uop, Refused> {
    let op = match instr.field("op") {
        0 => Reduce::And,
        1 => Reduce::FAdd,
        2 => Reduce::Or,
        3 => Reduce::FMul,
        4 => Reduce::Xor,
        5 => Reduce::FMin,
        7 => Reduce::FMax,
        16 => Reduce::IAdd,
        20 => Reduce::SMin,
        22 => Reduce::SMax,
        28 => Reduce::UMin,
        30 => Reduce::UMax,
        _ => return Err("subgroup operation"),
    };
    let d = dest(instr)?;
    // The destination decides: an immediate has no width of its own.
    let half = d.bits() == 16;
    let a = val(&source(instr, 0)?)?;
    Ok(Uop::Reduce {
        d,
        op,
        quad,
        prefix: instr.flag("prefix"),
        half,
        a,
    })
}

/// The operations of this kind; none for an instruction of another.
pub(super) fn lower(instr: &Instr) -> Result<Option<Uop>, Refused> {
    use Op::*;
    let src = |index| source(instr, index);
    let quad = instr.field("quad") == 0;
    let uop = match instr.op {
        Ballot => Ok(Uop::Ballot {
            d: dest(instr)?,
            quad: false,
            cmp: ALWAYS,
        }),
        IcmpBallot => {
            let cmp = int_compare(instr, instr.field("condition"))?;
            Ok(Uop::Ballot {
                d: dest(instr)?,
                quad,
                cmp,
            })
        }
        FcmpBallot => {
            // The disassembly names the condition as an integer's; the bits are those of a float's.
            let cmp = float_compare(instr, instr.field("condition"))?;
            Ok(Uop::Ballot {
                d: dest(instr)?,
                quad,
                cmp,
            })
        }
        Shuffle => {
            let op = match (instr.field("op"), instr.flag("rotate")) {
                (0, false) => crate::uop::Shuffle::Index,
                (1, false) => crate::uop::Shuffle::Xor,
                (2, false) => crate::uop::Shuffle::Up,
                (3, false) => crate::uop::Shuffle::Down,
                (2, true) => crate::uop::Shuffle::RotateUp,
                _ => return Err("shuffle operation"),
            };
            Ok(Uop::Shuffle {
                d: dest(instr)?,
                op,
                quad,
                a: val(&src(0)?)?,
                b: val(&src(1)?)?,
            })
        }
        Quad => reduce(instr, true),
        Simd => reduce(instr, false),
        _ => return Ok(None),
    };
    uop.map(Some)
}
