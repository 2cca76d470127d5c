// SPDX-License-Identifier: MIT OR Apache-2.0

//! Control flow, and what lanes do together.

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
