// SPDX-License-Identifier: MIT OR Apache-2.0

//! 32 lanes of 32 bits.
//!
//! Everything here is inlined into the interpreter's loop, which is compiled once for each set of CPU features.

use std::borrow::Borrow;
use std::mem::MaybeUninit;

/// A value for each lane.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(64))]
pub(crate) struct Lanes(pub(crate) [u32; 32]);

impl Lanes {
    pub(crate) const ZERO: Lanes = Lanes([0; 32]);

    #[inline(always)]
    pub(crate) fn splat(value: u32) -> Self {
        Lanes([value; 32])
    }

    /// All ones in the lanes whose bit is set.
    #[inline(always)]
    pub(crate) fn from_bits(bits: u32) -> Self {
        let mut out = Lanes::ZERO;
        for lane in 0..32 {
            out.0[lane] = (bits >> lane & 1).wrapping_neg();
        }
        out
    }

    /// The lanes whose highest bit is set.
    #[inline(always)]
    pub(crate) fn to_bits(self) -> u32 {
        let mut bits = 0;
        for lane in 0..32 {
            bits |= self.0[lane] >> 31 << lane;
        }
        bits
    }

    #[inline(always)]
    pub(crate) fn map(&self, f: impl Fn(u32) -> u32) -> Self {
        let mut out = Lanes::ZERO;
        for lane in 0..32 {
            out.0[lane] = f(self.0[lane]);
        }
        out
    }

    #[inline(always)]
    pub(crate) fn zip(&self, b: impl Borrow<Lanes>, f: impl Fn(u32, u32) -> u32) -> Self {
        let b = b.borrow();
        let mut out = Lanes::ZERO;
        for lane in 0..32 {
            out.0[lane] = f(self.0[lane], b.0[lane]);
        }
        out
    }

    #[inline(always)]
    pub(crate) fn zip3(
        &self,
        b: impl Borrow<Lanes>,
        c: impl Borrow<Lanes>,
        f: impl Fn(u32, u32, u32) -> u32,
    ) -> Self {
        let (b, c) = (b.borrow(), c.borrow());
        let mut out = Lanes::ZERO;
        for lane in 0..32 {
            out.0[lane] = f(self.0[lane], b.0[lane], c.0[lane]);
        }
        out
    }

    /// `self` where the mask is set, `other` where it is not.
    #[inline(always)]
    pub(crate) fn select(&self, other: impl Borrow<Lanes>, mask: impl Borrow<Lanes>) -> Self {
        self.zip3(other, mask, |a, b, m| (a & m) | (b & !m))
    }
}

/// A place for a source that has to be made.
pub(crate) type Room = MaybeUninit<Lanes>;

/// Places for the sources of an operation.
#[inline(always)]
pub(crate) fn room<const N: usize>() -> [Room; N] {
    [const { Room::uninit() }; N]
}

/// A truth value as a mask.
#[inline(always)]
pub(crate) fn mask(value: bool) -> u32 {
    u32::from(value).wrapping_neg()
}
