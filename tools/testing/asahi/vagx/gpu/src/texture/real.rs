// SPDX-License-Identifier: MIT OR Apache-2.0

//! 32 lanes of floats.
//!
//! No operation here is fused, so that all builds of the interpreter give the same results.

use crate::exec::Lanes;
use std::borrow::Borrow;

/// A float for each lane.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Reals(pub(super) [f32; 32]);

impl Reals {
    pub(super) const ZERO: Reals = Reals([0.0; 32]);

    #[inline(always)]
    pub(super) fn from_bits(bits: &Lanes) -> Self {
        let mut out = Reals::ZERO;
        for lane in 0..32 {
            out.0[lane] = f32::from_bits(bits.0[lane]);
        }
        out
    }

    #[inline(always)]
    pub(super) fn bits(&self) -> Lanes {
        let mut out = Lanes::ZERO;
        for lane in 0..32 {
            out.0[lane] = self.0[lane].to_bits();
        }
        out
    }

    #[inline(always)]
    pub(super) fn map(&self, f: impl Fn(f32) -> f32) -> Self {
        let mut out = Reals::ZERO;
        for lane in 0..32 {
            out.0[lane] = f(self.0[lane]);
        }
        out
    }

    #[inline(always)]
    pub(super) fn zip(&self, b: impl Borrow<Reals>, f: impl Fn(f32, f32) -> f32) -> Self {
        let b = b.borrow();
        let mut out = Reals::ZERO;
        for lane in 0..32 {
            out.0[lane] = f(self.0[lane], b.0[lane]);
        }
        out
    }

    /// A mask of the lanes for which `f` holds.
    #[inline(always)]
    pub(super) fn test(&self, b: impl Borrow<Reals>, f: impl Fn(f32, f32) -> bool) -> Lanes {
        let b = b.borrow();
        let mut out = Lanes::ZERO;
        for lane in 0..32 {
            out.0[lane] = u32::from(f(self.0[lane], b.0[lane])).wrapping_neg();
        }
        out
    }

    /// `self` where the mask is set, `other` where it is not.
    #[inline(always)]
    pub(super) fn select(&self, other: impl Borrow<Reals>, mask: &Lanes) -> Self {
        let other = other.borrow();
        let mut out = Reals::ZERO;
        for lane in 0..32 {
            let (a, b, mask) = (self.0[lane], other.0[lane], mask.0[lane]);
            out.0[lane] = f32::from_bits((a.to_bits() & mask) | (b.to_bits() & !mask));
        }
        out
    }

    /// Weights from integers of 1/256 each.
    #[inline(always)]
    pub(super) fn weights(of: &Lanes) -> Self {
        Reals::from_ints(of).map(|weight| weight * (1.0 / 256.0))
    }

    /// Integers as floats.
    #[inline(always)]
    pub(super) fn from_ints(ints: &Lanes) -> Self {
        let mut out = Reals::ZERO;
        for lane in 0..32 {
            out.0[lane] = ints.0[lane] as i32 as f32;
        }
        out
    }

    /// Numbers, each far smaller than 2^31, without their fraction.
    #[inline(always)]
    pub(super) fn ints(&self) -> Lanes {
        let mut out = Lanes::ZERO;
        for lane in 0..32 {
            out.0[lane] = whole(self.0[lane]) as u32;
        }
        out
    }
}

/// A number far smaller than 2^31 without its fraction.
#[inline(always)]
pub(super) fn whole(value: f32) -> i32 {
    let value = clamp(value, -1e9, 1e9);
    // SAFETY: It is a number now, and an `i32` can have its whole part. (A cast with `as` takes four more instructions to
    // care for those for which that is not so.)
    unsafe { value.to_int_unchecked() }
}

/// Floats of a vector.
#[inline(always)]
pub(super) fn vector(bits: &[Lanes; 3]) -> [Reals; 3] {
    [
        Reals::from_bits(&bits[0]),
        Reals::from_bits(&bits[1]),
        Reals::from_bits(&bits[2]),
    ]
}

/// The nearest number from `low` to `high`; `low` for what is not a number.
#[inline(always)]
pub(super) fn clamp(value: f32, low: f32, high: f32) -> f32 {
    let value = if value > low { value } else { low };
    if value < high { value } else { high }
}

/// Rounds to a multiple of 1/256, the precision of filter weights and levels of detail.
#[inline(always)]
pub(super) fn fixed(value: f32) -> f32 {
    (value * 256.0 + 0.5).floor() / 256.0
}

/// The logarithm of a positive number, exact for powers of two, else within 2^-14.
#[inline(always)]
pub(super) fn log2(value: f32) -> f32 {
    let bits = value.to_bits();
    let exponent = (bits >> 23) as i32 - 127;
    // Of the mantissa's part, t / (2 + t) converges fast.
    let mantissa = f32::from_bits(bits & 0x007f_ffff | 0x3f80_0000);
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let square = z * z;
    let series = 1.0 / 7.0 + square * (1.0 / 9.0 + square * (1.0 / 11.0));
    let series = 1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square * series));
    exponent as f32 + z * (2.0 * std::f32::consts::LOG2_E) * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms() {
        for exponent in -40..40 {
            assert_eq!(log2(2f32.powi(exponent)), exponent as f32);
        }
        for i in 1..2000 {
            let value = i as f32 * 0.37;
            assert!(
                (log2(value) - value.log2()).abs() < 1.0 / 16384.0,
                "{value}"
            );
        }
    }

    #[test]
    fn clamps() {
        assert_eq!(clamp(f32::NAN, 1.0, 2.0), 1.0);
        assert_eq!(clamp(f32::INFINITY, 1.0, 2.0), 2.0);
        assert_eq!(clamp(-7.0, 1.0, 2.0), 1.0);
        assert_eq!(clamp(1.5, 1.0, 2.0), 1.5);
    }
}
