// SPDX-License-Identifier: MIT OR Apache-2.0

//! The outputs of vertex programs.

use super::Refused;
use super::operand::*;
use crate::isa::{Instr, Op, Place};
use crate::uop::Uop;

pub(super) fn lower(instr: &Instr) -> Result<Option<Uop>, Refused> {
    Ok(Some(match instr.op {
        // Whether it is the last tells hardware when the vertex is complete; here it is at the program's end.
        Op::StVar => {
            let value = source(instr, 0)?;
            if value.place != Place::Reg || value.size != 32 {
                return Err("varying in an unexpected place");
            }
            Uop::StoreVarying {
                value: whole(value.value, REGISTERS)?,
                index: val(&source(instr, 1)?)?,
            }
        }
        Op::NoVar => Uop::Nop,
        _ => return Ok(None),
    }))
}
