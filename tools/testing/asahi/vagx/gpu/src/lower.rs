// SPDX-License-Identifier: MIT OR Apache-2.0

//! From decoded instructions to what is executed.

mod clean;
mod compare;
mod control;
mod float;
mod fragment;
mod group;
mod int;
mod memory;
mod operand;
mod texture;
mod tile;
mod vertex;

pub(crate) use clean::mark;

use crate::isa::Instr;
use crate::uop::Uop;

/// An instruction that decodes but has no execution here; the text says what is missing.
type Refused = &'static str;

/// Lowers the operations of one kind; none for an instruction of another.
type Part = fn(&Instr) -> Result<Option<Uop>, Refused>;

/// What this model executes, kind by kind.
const PARTS: &[Part] = &[
    int::lower,
    float::lower,
    control::lower,
    group::lower,
    memory::lower,
    vertex::lower,
    texture::lower,
    fragment::lower,
    tile::lower,
];

/// Lowers the instruction at `offset` of its program. Jumps are left with the byte offset of their target, modulo 2^32.
pub(crate) fn lower(instr: &Instr, offset: u32) -> Uop {
    match try_lower(instr) {
        Ok(mut uop) => {
            if let Some(target) = uop.target() {
                *target = target.wrapping_add(offset);
            }
            uop
        }
        Err(why) => Uop::Unsupported {
            instr: Some(Box::new(instr.clone())),
            why: why.into(),
        },
    }
}

fn try_lower(instr: &Instr) -> Result<Uop, Refused> {
    for part in PARTS {
        if let Some(uop) = part(instr)? {
            return Ok(uop);
        }
    }
    Err("not executed by this model")
}
