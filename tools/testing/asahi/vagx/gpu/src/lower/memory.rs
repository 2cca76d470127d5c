// SPDX-License-Identifier: MIT OR Apache-2.0

//! Device, local and stack memory, atomics, and the stores of the preamble.

use super::Refused;
use super::operand::*;
use crate::isa::{Instr, Op, Operand, Place};
use crate::uop::*;

fn format(instr: &Instr) -> Result<Format, Refused> {
    Ok(match instr.field("format") {
        0 => Format::I8,
        1 => Format::I16,
        2 => Format::I32,
        3 => Format::F16,
        4 => Format::U8Norm,
        5 => Format::S8Norm,
        6 => Format::U16Norm,
        7 => Format::S16Norm,
        8 => Format::Rgb10A2,
        10 => Format::Srgba8,
        12 => Format::Rg11B10F,
        13 => Format::Rgb9E5,
        _ => return Err("memory format"),
    })
}

fn mem_regs(instr: &Instr, op: &Operand, store: bool) -> Result<MemRegs, Refused> {
    let format = format(instr)?;
    let wide = op.size == 32;
    // A packed load fills a register for each of the format's components, whatever the mask says.
    let mask = match format {
        Format::Rgb10A2 => 0xf,
        Format::Rg11B10F | Format::Rgb9E5 => 0x7,
        _ => instr.field("mask") as u8,
    };
    if op.place != Place::Reg {
        return Err("memory register in an unexpected place");
    }
    if format == Format::I32 && !wide {
        return Err("32-bit memory access with 16-bit registers");
    }
    let raw = match format {
        Format::I8 | Format::I16 | Format::I32 => true,
        Format::F16 => !wide,
        _ => false,
    };
    if store && !raw {
        return Err("store that converts");
    }
    let count = mask.count_ones() as i32;
    let last = op.value + if wide { 2 * count } else { count } - 1;
    whole(last.max(op.value), REGISTERS)?;
    Ok(MemRegs {
        start: op.value as u8,
        wide,
        mask,
        format,
    })
}

fn index(op: &Operand) -> Result<Index, Refused> {
    match op.place {
        Place::Imm => Ok(Index::Imm(op.value.into())),
        Place::Reg => Ok(Index::Reg {
            reg: whole(op.value, REGISTERS)?,
            signed: op.sx,
        }),
        _ => Err("index in an unexpected place"),
    }
}

/// The address of an access to units of `size` bytes.
fn address(instr: &Instr, first: usize, size: u32, packed: bool) -> Result<Address, Refused> {
    let base = source(instr, first)?;
    let uniform = base.place == Place::Uniform;
    let limit = if uniform { UNIFORMS } else { REGISTERS };
    whole(base.value + 2, limit)?;
    // applegpu.py, DeviceLoad: 3 acts as 2, and packed formats take no further shift.
    let shift = if packed {
        0
    } else {
        instr.field("shift").min(2) as u8
    };
    Ok(Address {
        base: whole(base.value, limit)?,
        uniform,
        index: index(&source(instr, first + 1)?)?,
        shift: shift + size.trailing_zeros() as u8,
    })
}

fn local_address(instr: &Instr, first: usize) -> Result<LocalAddress, Refused> {
    let base = source(instr, first)?;
    let base = if base.place == Place::None {
        Val::Const(0)
    } else {
        val(&base)?
    };
    Ok(LocalAddress {
        base,
        index: int(&source(instr, first + 1)?, false)?,
    })
}

fn stack_index(instr: &Instr, first: usize) -> Result<Index, Refused> {
    if instr.field("shift") != 0 {
        return Err("shifted stack offset");
    }
    index(&source(instr, first)?)
}

fn atomic_op(instr: &Instr) -> Result<AtomicOp, Refused> {
    Ok(match instr.field("op") {
        0 => AtomicOp::Add,
        1 => AtomicOp::Sub,
        2 => AtomicOp::Exchange,
        3 => AtomicOp::CompareExchange,
        4 => AtomicOp::UMin,
        5 => AtomicOp::IMin,
        6 => AtomicOp::UMax,
        7 => AtomicOp::IMax,
        8 => AtomicOp::And,
        9 => AtomicOp::Or,
        10 => AtomicOp::Xor,
        _ => return Err("atomic operation"),
    })
}

/// The operation, destination and first source register of an atomic.
fn atomic(instr: &Instr) -> Result<(AtomicOp, Option<u8>, u8), Refused> {
    let d = instr.dest.as_ref().ok_or("missing destination")?;
    let d = if d.place == Place::None {
        None
    } else {
        Some(whole(d.value, REGISTERS)?)
    };
    let s = source(instr, 0)?;
    let op = atomic_op(instr)?;
    if s.value & 1 != 0 {
        return Err("misaligned register");
    }
    if matches!(op, AtomicOp::CompareExchange) {
        whole(s.value + 2, REGISTERS)?;
    }
    Ok((op, d, whole(s.value, REGISTERS)?))
}

/// The operations of this kind; none for an instruction of another.
pub(super) fn lower(instr: &Instr) -> Result<Option<Uop>, Refused> {
    use Op::*;
    let src = |index| source(instr, index);
    let state = |sampler| {
        let d = instr.dest.as_ref().ok_or("missing destination")?.value as u8;
        let base = src(0)?;
        whole(base.value + 2, UNIFORMS)?;
        let (base, offset) = (whole(base.value, UNIFORMS)?, val(&src(1)?)?);
        Ok(match sampler {
            false => Uop::TextureState { d, base, offset },
            true => Uop::SamplerState { d, base, offset },
        })
    };
    let uop = match instr.op {
        Load => {
            let regs = mem_regs(
                instr,
                instr.dest.as_ref().ok_or("missing destination")?,
                false,
            )?;
            let at = address(instr, 0, regs.format.size(), regs.format.packed())?;
            Ok(Uop::Load { regs, at })
        }
        Store => {
            let regs = mem_regs(instr, &src(0)?, true)?;
            let at = address(instr, 1, regs.format.size(), regs.format.packed())?;
            Ok(Uop::Store { regs, at })
        }
        Atomic => {
            let (op, d, source) = atomic(instr)?;
            Ok(Uop::Atomic {
                op,
                d,
                source,
                at: address(instr, 1, 4, false)?,
            })
        }
        Lload => {
            let regs = mem_regs(
                instr,
                instr.dest.as_ref().ok_or("missing destination")?,
                false,
            )?;
            Ok(Uop::LocalLoad {
                regs,
                at: local_address(instr, 0)?,
            })
        }
        Lstore => {
            let regs = mem_regs(instr, &src(0)?, true)?;
            Ok(Uop::LocalStore {
                regs,
                at: local_address(instr, 1)?,
            })
        }
        Latomic => {
            let (op, d, source) = atomic(instr)?;
            Ok(Uop::LocalAtomic {
                op,
                d,
                source,
                at: local_address(instr, 1)?,
            })
        }
        StackLoad => {
            let regs = mem_regs(
                instr,
                instr.dest.as_ref().ok_or("missing destination")?,
                false,
            )?;
            Ok(Uop::StackLoad {
                regs,
                at: stack_index(instr, 0)?,
            })
        }
        StackStore => {
            let regs = mem_regs(instr, &src(0)?, true)?;
            Ok(Uop::StackStore {
                regs,
                at: stack_index(instr, 1)?,
            })
        }
        StackAdjust => match index(&src(0)?)? {
            Index::Imm(words) => Ok(Uop::StackAdjust {
                words: words as i32,
            }),
            Index::Reg { .. } => Err("stack adjusted by a register"),
        },
        UniformStore => {
            let d = instr.dest.as_ref().ok_or("missing destination")?;
            let s = src(0)?;
            let count = i32::from(s.count) * i32::from(s.size / 16);
            whole(s.value + count - 1, REGISTERS)?;
            whole(d.value + count - 1, UNIFORMS)?;
            Ok(Uop::UniformStore {
                d: d.value as u16,
                source: s.value as u8,
                count: count as u8,
            })
        }
        TexStateStore => state(false),
        SamplerStateStore => state(true),
        _ => return Ok(None),
    };
    uop.map(Some)
}
