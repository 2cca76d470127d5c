// SPDX-License-Identifier: MIT OR Apache-2.0

//! From decoded instructions to what is executed.

use crate::isa::{Instr, Op, Operand, Place, minifloat};
use crate::uop::*;

/// An instruction that decodes but has no execution here; the text says what is missing.
type Refused = &'static str;

const REGISTERS: i32 = 128;
const UNIFORMS: i32 = 256;

fn source(instr: &Instr, index: usize) -> Result<Operand, Refused> {
    instr.sources.get(index).copied().ok_or("missing source")
}

fn whole(half: i32, limit: i32) -> Result<u8, Refused> {
    if (0..limit * 2).contains(&half) {
        Ok((half >> 1) as u8)
    } else {
        Err("register out of range")
    }
}

/// An operand of up to 32 bits as raw bits.
fn val(op: &Operand) -> Result<Val, Refused> {
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

fn is_half_register(op: &Operand) -> bool {
    op.size == 16 && matches!(op.place, Place::Reg | Place::Uniform)
}

/// An integer operand; of a 64-bit one, the low word.
fn int(op: &Operand, signed: bool) -> Result<Int, Refused> {
    Ok(Int {
        val: val(op)?,
        extend16: signed && is_half_register(op),
    })
}

fn wide(op: &Operand) -> Result<Wide, Refused> {
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

const fn constant(value: u32) -> Int {
    Int {
        val: Val::Const(value),
        extend16: false,
    }
}

fn flt(op: &Operand) -> Result<Flt, Refused> {
    if op.place == Place::FImm {
        let value = minifloat(op.value as u8);
        return Ok(Flt {
            val: Val::Const(value.to_bits()),
            half: false,
            abs: op.abs,
            neg: op.neg,
        });
    }
    Ok(Flt {
        val: val(op)?,
        half: op.size == 16,
        abs: op.abs,
        neg: op.neg,
    })
}

const fn flt_const(value: f32) -> Flt {
    Flt {
        val: Val::Const(value.to_bits()),
        half: false,
        abs: false,
        neg: false,
    }
}

fn dest(instr: &Instr) -> Result<Dst, Refused> {
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

/// The comparison of the first two sources by an integer condition.
fn int_compare(instr: &Instr, condition: i64) -> Result<Compare, Refused> {
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

fn float_compare(instr: &Instr, condition: i64) -> Result<Compare, Refused> {
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
const ALWAYS: Compare = Compare::Int {
    a: constant(0),
    b: constant(0),
    test: Test::Equal,
    signed: false,
    invert: false,
};

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

/// Lowers the instruction at `offset` of its program. Jumps are left with the byte offset of their target, modulo 2^32.
pub(crate) fn lower(instr: &Instr, offset: u32) -> Uop {
    match try_lower(instr, offset) {
        Ok(uop) => uop,
        Err(why) => Uop::Unsupported {
            instr: Some(Box::new(instr.clone())),
            why: why.into(),
        },
    }
}

fn try_lower(instr: &Instr, offset: u32) -> Result<Uop, Refused> {
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
    let nest = instr.field("nest") as u16;
    let flow = |flow, cmp| Ok(Uop::Flow { flow, nest, cmp });
    let target = || offset.wrapping_add(instr.field("offset") as u32);
    let quad = instr.field("quad") == 0;
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
    match instr.op {
        Ldimm16 | Ldimm32 => Ok(Uop::Const {
            d: dest(instr)?,
            value: instr.field("imm") as u32,
        }),
        Mfsr => Ok(Uop::Special {
            d: dest(instr)?,
            sr: instr.field("sr") as u8,
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
        Stop => Ok(Uop::Stop),
        JmpAny => Ok(Uop::JumpAny { target: target() }),
        JmpNone => Ok(Uop::JumpNone { target: target() }),
        PopExec => Ok(Uop::Pop { nest }),
        UpdateExec => Ok(Uop::Pop { nest: 0 }),
        IfIcmp => flow(Flow::If, int_compare(instr, instr.field("cond"))?),
        ElseIcmp => flow(Flow::Else, int_compare(instr, instr.field("cond"))?),
        WhileIcmp => flow(Flow::While, int_compare(instr, instr.field("cond"))?),
        IfFcmp => flow(Flow::If, float_compare(instr, instr.field("cond"))?),
        ElseFcmp => flow(Flow::Else, float_compare(instr, instr.field("cond"))?),
        WhileFcmp => flow(Flow::While, float_compare(instr, instr.field("cond"))?),
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
        Op::Barrier => Ok(Uop::Barrier),
        // Memory operations are executed at once and in order, so that there is nothing to wait for or to flush.
        Wait | MemoryBarrier | ImageBarrier1 | ImageBarrier2 | ImageBarrier3 | ImageBarrier4
        | FlushMemoryToTexture | MemoryBarrier2 | MemoryBarrier3 | UnknownBarrier1
        | UnknownBarrier2 | DeviceBarrier1 | DeviceBarrier2 => Ok(Uop::Nop),
        _ => Err("not executed by this model"),
    }
}

/// Whether a conversion rounds to nearest; else it rounds towards zero.
fn rounding(instr: &Instr) -> Result<bool, Refused> {
    Ok(instr.field("round") == 1)
}
