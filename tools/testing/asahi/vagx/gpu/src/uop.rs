// SPDX-License-Identifier: MIT OR Apache-2.0

//! Instructions in the form in which they are executed: operands resolved, choices made.

use crate::isa::Instr;

/// Where a 32-bit value comes from. Halves are zero-extended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Val {
    /// A whole register.
    Full(u8),
    /// Its low half.
    Low(u8),
    /// Its high half.
    High(u8),
    /// A whole uniform register.
    UFull(u8),
    /// Its low half.
    ULow(u8),
    /// Its high half.
    UHigh(u8),
    /// The same number for every lane.
    Const(u32),
}

/// Where a result of up to 32 bits goes. The other half of a register is left alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Dst {
    Full(u8),
    Low(u8),
    High(u8),
}

impl Dst {
    pub(crate) fn bits(self) -> u32 {
        if matches!(self, Dst::Full(_)) { 32 } else { 16 }
    }
}

/// An integer source that may be a sign-extended half.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Int {
    pub(crate) val: Val,
    pub(crate) extend16: bool,
}

/// A 64-bit integer source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wide {
    pub(crate) low: Int,
    pub(crate) high: High,
}

/// The upper word of a [`Wide`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum High {
    Zero,
    Sign,
    Val(Val),
}

/// A floating-point source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flt {
    pub(crate) val: Val,
    pub(crate) half: bool,
    pub(crate) abs: bool,
    pub(crate) neg: bool,
}

/// Two-input truth tables.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BitOp {
    And,
    Or,
    Xor,
    AndN1,
    AndN2,
    OrN1,
    OrN2,
    Nand,
    Nor,
    Xnor,
    MovA,
    NotA,
}

/// Shifts and bit fields.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ShiftOp {
    Bfi,
    Bfeil,
    Extr,
    Shlhi,
    Shrhi,
}

/// Integer operations of one source.
#[derive(Clone, Copy, Debug)]
pub(crate) enum IntUnary {
    BitReverse,
    PopCount,
    /// Index of the highest set bit, or all ones.
    FindHighest,
}

/// Arithmetic of two or three sources.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FltOp {
    Fma,
    Add,
    Mul,
}

/// Floating-point operations of one source.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FltUnary {
    Floor,
    Ceil,
    Trunc,
    Rint,
    Rcp,
    Rsqrt,
    /// Reciprocal square root that becomes the square root when multiplied with its source, even for 0 and infinity.
    RsqrtSpecial,
    Log2,
    Exp2,
    /// Quadrants [0, 4) folded to [-1, 1].
    SinFold,
    /// The sine of a folded angle, divided by it.
    Sinc,
    Dfdx,
    Dfdy,
}

/// Conversions between integers and floats.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Convert {
    FromInt {
        bits: u8,
        signed: bool,
        nearest: bool,
    },
    ToInt {
        bits: u8,
        signed: bool,
        nearest: bool,
        half: bool,
    },
}

/// What two operands are tested for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Test {
    Equal,
    Less,
    Greater,
    LessEqual,
    GreaterEqual,
    /// Less, or the second is not a number: selects the minimum.
    LessOrNan,
    /// Greater, or the second is not a number: selects the maximum.
    GreaterOrNan,
}

/// A comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Compare {
    Int {
        a: Int,
        b: Int,
        test: Test,
        signed: bool,
        invert: bool,
    },
    Float {
        a: Flt,
        b: Flt,
        test: Test,
        invert: bool,
    },
}

/// What a comparison does to the nesting counter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flow {
    If,
    Else,
    While,
}

/// How a shuffle finds its source lane.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shuffle {
    Index,
    Xor,
    Up,
    Down,
    RotateUp,
}

/// What lanes are combined with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reduce {
    And,
    Or,
    Xor,
    IAdd,
    SMin,
    SMax,
    UMin,
    UMax,
    FAdd,
    FMul,
    FMin,
    FMax,
}

/// Read-modify-write operations.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AtomicOp {
    Add,
    Sub,
    Exchange,
    CompareExchange,
    UMin,
    IMin,
    UMax,
    IMax,
    And,
    Or,
    Xor,
}

/// How a value lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Format {
    I8,
    I16,
    I32,
    F16,
    U8Norm,
    S8Norm,
    U16Norm,
    S16Norm,
    Rgb10A2,
    Srgba8,
    Rg11B10F,
    Rgb9E5,
}

impl Format {
    /// Bytes of one component; of all components together for the packed formats.
    pub(crate) fn size(self) -> u32 {
        match self {
            Format::I8 | Format::U8Norm | Format::S8Norm | Format::Srgba8 => 1,
            Format::I16 | Format::F16 | Format::U16Norm | Format::S16Norm => 2,
            _ => 4,
        }
    }

    pub(crate) fn packed(self) -> bool {
        matches!(self, Format::Rgb10A2 | Format::Rg11B10F | Format::Rgb9E5)
    }
}

/// Registers that memory is loaded to or stored from: `count` of them from half `start` on, one per component.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemRegs {
    pub(crate) start: u8,
    pub(crate) wide: bool,
    pub(crate) mask: u8,
    pub(crate) format: Format,
}

impl MemRegs {
    /// For each register the number of the component that it holds.
    pub(crate) fn components(&self) -> impl Iterator<Item = (u8, u32)> + use<> {
        let mask = self.mask;
        (0..).zip((0..4).filter(move |component| mask >> component & 1 != 0))
    }
}

/// Added to a base, in units of the access.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Index {
    Imm(i64),
    Reg { reg: u8, signed: bool },
}

/// A device address: a 64-bit register pair or uniform, and an index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) base: u8,
    pub(crate) uniform: bool,
    pub(crate) index: Index,
    /// The index is shifted left by this many bits.
    pub(crate) shift: u8,
}

/// A local address: bytes, and an index in units of the access.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalAddress {
    pub(crate) base: Val,
    pub(crate) index: Int,
}

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
    /// Decoded, but not something that this model can execute (or not decoded at all, with the reason).
    Unsupported {
        instr: Option<Box<Instr>>,
        why: Box<str>,
    },
    /// The program's bytes could not be read any further.
    Unmapped,
}
