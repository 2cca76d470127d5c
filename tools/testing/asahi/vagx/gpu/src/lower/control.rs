// SPDX-License-Identifier: MIT OR Apache-2.0

//! Control flow, special registers, and what orders memory.

use super::Refused;
use super::compare::*;
use super::operand::*;
use crate::isa::{Instr, Op};
use crate::uop::*;

/// The operations of this kind; none for an instruction of another.
pub(super) fn lower(instr: &Instr) -> Result<Option<Uop>, Refused> {
    use Op::*;
    let nest = instr.field("nest") as u16;
    let flow = |flow, cmp| Ok(Uop::Flow { flow, nest, cmp });
    let target = || instr.field("offset") as u32;
    let uop = match instr.op {
        Mfsr => Ok(Uop::Special {
            d: dest(instr)?,
            sr: instr.field("sr") as u8,
        }),
        Stop => Ok(Uop::Stop),
        JmpAny => Ok(Uop::JumpAny { target: target() }),
        JmpNone => Ok(Uop::JumpNone { target: target() }),
        Call => Ok(Uop::Call { target: target() }),
        Ret => Ok(Uop::Return {
            reg: whole(source(instr, 0)?.value, REGISTERS)?,
        }),
        // It has been seen in programs, but not in what lanes with different targets do (applegpu.py, CallReg).
        CallReg => Err("call to a register, whose rules are not known"),
        JmpIncomplete => Err("jump whose condition is not known"),
        Trap => Err("the program trapped"),
        Doorbell | JmpIfSkippingDoorbell | Map | Unmap => {
            Err("only the program that manages stacks has this, and it does not run")
        }
        PopExec => Ok(Uop::Pop { nest }),
        UpdateExec => Ok(Uop::Pop { nest: 0 }),
        IfIcmp => flow(Flow::If, int_compare(instr, instr.field("cond"))?),
        ElseIcmp => flow(Flow::Else, int_compare(instr, instr.field("cond"))?),
        WhileIcmp => flow(Flow::While, int_compare(instr, instr.field("cond"))?),
        IfFcmp => flow(Flow::If, float_compare(instr, instr.field("cond"))?),
        ElseFcmp => flow(Flow::Else, float_compare(instr, instr.field("cond"))?),
        WhileFcmp => flow(Flow::While, float_compare(instr, instr.field("cond"))?),
        Op::Barrier => Ok(Uop::Barrier),
        // Memory operations are executed at once and in order, so that there is nothing to wait for or to flush.
        Wait | MemoryBarrier | ImageBarrier1 | ImageBarrier2 | ImageBarrier3 | ImageBarrier4
        | FlushMemoryToTexture | MemoryBarrier2 | MemoryBarrier3 | UnknownBarrier1
        | UnknownBarrier2 | DeviceBarrier1 | DeviceBarrier2 => Ok(Uop::Nop),
        _ => return Ok(None),
    };
    uop.map(Some)
}
