// SPDX-License-Identifier: MIT OR Apache-2.0

//! 32 lanes of 32 bits.
//!
//! Everything here is inlined into the interpreter's loop, which is compiled once for each set of CPU features.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m128i, _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32};
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
    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    pub(crate) fn to_bits(self) -> u32 {
        let mut bits = 0;
        for lane in 0..32 {
            bits |= self.0[lane] >> 31 << lane;
        }
        bits
    }

    /// The lanes whose highest bit is set. The compiler does not see that there are instructions for it.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn to_bits(self) -> u32 {
        // SAFETY: Both are 128 bytes, all of which have a value, and any is valid.
        let [a, b, c, d, e, f, g, h]: [__m128i; 8] = unsafe { std::mem::transmute(self.0) };
        signs([a, b, c, d]) | signs([e, f, g, h]) << 16
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

/// The sign of each of 16 words.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn signs([a, b, c, d]: [__m128i; 4]) -> u32 {
    // SAFETY: All CPUs of this architecture have SSE2.
    unsafe {
        // Words and halves that do not fit are saturated, and keep their signs.
        let (first, second) = (_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
        _mm_movemask_epi8(_mm_packs_epi16(first, second)) as u32
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_lanes() {
        for bits in [0, 1, 0x8000_0000, 0x1234_5678, 0xfedc_ba98, u32::MAX] {
            assert_eq!(Lanes::from_bits(bits).to_bits(), bits);
            let mut signs = Lanes::from_bits(bits).map(|mask| mask & 0x8000_0000);
            assert_eq!(signs.to_bits(), bits);
            signs = signs.map(|sign| sign ^ 0x7fff_1234);
            assert_eq!(signs.to_bits(), bits);
        }
    }
}
