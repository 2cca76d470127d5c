// SPDX-License-Identifier: MIT OR Apache-2.0

//! Arithmetic, bits, conversions, comparisons.

use super::{Flt, Int};

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
