// SPDX-License-Identifier: MIT OR Apache-2.0

//! Instructions in the form in which they are executed: operands resolved, choices made.

mod alu;
mod fragment;
mod group;
mod memory;
mod operand;
mod texture;
mod tile;

pub(crate) use alu::*;
pub(crate) use fragment::*;
pub(crate) use group::*;
pub(crate) use memory::*;
pub(crate) use operand::*;
pub(crate) use texture::*;
pub(crate) use tile::*;

use crate::debug::Watch;
use crate::isa::Instr;

/// An operation of the shader core.
#[derive(Clone, Debug)]
pub(crate) enum Uop {
    /// Ordering that this model gives anyway.
    Nop,
    Stop,
    Barrier,
    Const {
        d: Dst,
        value: u32,
    },
    Special {
        d: Dst,
        sr: u8,
    },
    /// `a * b + (±c << shift)`, the low 32 bits.
    Mad {
        d: Dst,
        a: Int,
        b: Int,
        c: Int,
        shift: u8,
        neg: bool,
    },
    /// `a + (±b << shift)`, the low 32 bits.
    Add {
        d: Dst,
        a: Int,
        b: Int,
        shift: u8,
        neg: bool,
    },
    /// The same in 64 bits, `d` being the low register.
    MadWide {
        d: u8,
        a: Wide,
        b: Wide,
        c: Wide,
        shift: u8,
        neg: bool,
    },
    /// The same, saturated to the destination's width.
    MadSat {
        d: Dst,
        a: Wide,
        b: Wide,
        c: Wide,
        neg: bool,
        signed: bool,
    },
    Mov {
        d: Dst,
        a: Val,
    },
    Bit {
        d: Dst,
        op: BitOp,
        a: Val,
        b: Val,
    },
    ShiftLeft {
        d: Dst,
        a: Val,
        by: Val,
    },
    ShiftRight {
        d: Dst,
        a: Val,
        by: Val,
    },
    ShiftArith {
        d: Dst,
        a: Int,
        by: Val,
        high: bool,
    },
    Shift {
        d: Dst,
        op: ShiftOp,
        a: Val,
        b: Val,
        c: Val,
        mask: u32,
    },
    IntUnary {
        d: Dst,
        op: IntUnary,
        a: Val,
    },
    Interleave {
        d: Dst,
        a: Val,
        b: Val,
    },
    Convert {
        d: Dst,
        op: Convert,
        a: Val,
    },
    Float {
        d: Dst,
        op: FltOp,
        a: Flt,
        b: Flt,
        c: Flt,
        sat: bool,
    },
    /// Half precision throughout: rounded once.
    Half {
        d: Dst,
        op: FltOp,
        a: Flt,
        b: Flt,
        c: Flt,
        sat: bool,
    },
    FltUnary {
        d: Dst,
        op: FltUnary,
        a: Flt,
        sat: bool,
    },
    Select {
        d: Dst,
        cmp: Compare,
        x: Val,
        y: Val,
    },
    Flow {
        flow: Flow,
        nest: u16,
        cmp: Compare,
    },
    Pop {
        nest: u16,
    },
    /// Jumps to an index into the program.
    JumpAny {
        target: u32,
    },
    JumpNone {
        target: u32,
    },
    /// Likewise, with the address of what follows left in r1.
    Call {
        target: u32,
    },
    /// Jumps to the address in a register.
    Return {
        reg: u8,
    },
    Ballot {
        d: Dst,
        quad: bool,
        cmp: Compare,
    },
    Shuffle {
        d: Dst,
        op: Shuffle,
        quad: bool,
        a: Val,
        b: Val,
    },
    Reduce {
        d: Dst,
        op: Reduce,
        quad: bool,
        prefix: bool,
        half: bool,
        a: Val,
    },
    Load {
        regs: MemRegs,
        at: Address,
    },
    Store {
        regs: MemRegs,
        at: Address,
    },
    Atomic {
        op: AtomicOp,
        d: Option<u8>,
        source: u8,
        at: Address,
    },
    LocalLoad {
        regs: MemRegs,
        at: LocalAddress,
    },
    LocalStore {
        regs: MemRegs,
        at: LocalAddress,
    },
    LocalAtomic {
        op: AtomicOp,
        d: Option<u8>,
        source: u8,
        at: LocalAddress,
    },
    StackLoad {
        regs: MemRegs,
        at: Index,
    },
    StackStore {
        regs: MemRegs,
        at: Index,
    },
    StackAdjust {
        words: i32,
    },
    /// `count` halves from the register half `source` of the first active lane to uniform half `d`.
    /// Writes a word of the vertex.
    StoreVarying {
        value: u8,
        index: Val,
    },
    UniformStore {
        d: u16,
        source: u8,
        count: u8,
    },
    TextureState {
        d: u8,
        base: u8,
        offset: Val,
    },
    SamplerState {
        d: u8,
        base: u8,
        offset: Val,
    },
    Texture(Box<TextureOp>),
    /// Something that only fragment programs do.
    Fragment(FragmentOp),
    /// Imageblocks and writes to images.
    Tile(Box<TileOp>),
    /// A breakpoint.
    Watch(Watch),
    /// Decoded, but not something that this model can execute (or not decoded at all, with the reason).
    Unsupported {
        instr: Option<Box<Instr>>,
        why: Box<str>,
    },
    /// The program's bytes could not be read any further.
    Unmapped,
}

impl Uop {
    /// Where it may jump to, for those that say so.
    pub(crate) fn target(&mut self) -> Option<&mut u32> {
        match self {
            Uop::JumpAny { target } | Uop::JumpNone { target } | Uop::Call { target } => {
                Some(target)
            }
            _ => None,
        }
    }
}
