// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where values come from and go to.

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
    /// It is known to hold no subnormal.
    pub(crate) clean: bool,
}
