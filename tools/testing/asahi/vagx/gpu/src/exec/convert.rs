// SPDX-License-Identifier: MIT OR Apache-2.0

//! Conversions between integers and floats. Out of range saturates, what is not a number becomes zero.

use super::float::flush;
use super::half::{from_half, to_half, to_half_truncated};
use super::{Lanes, Simd};
use crate::uop::*;

/// Rounds a double of at most 32 significant bits towards zero to a single.
#[inline(always)]
fn single_truncated(value: f64) -> u32 {
    let single = value as f32;
    if f64::from(single).abs() > value.abs() {
        single.to_bits() - 1
    } else {
        single.to_bits()
    }
}

/// A single that rounds to a half as the double itself does: inexact ones are made odd.
#[inline(always)]
fn single_odd(value: f64) -> u32 {
    let truncated = single_truncated(value);
    if f64::from(f32::from_bits(truncated)) == value {
        truncated
    } else {
        truncated | 1
    }
}

#[inline(always)]
fn from_int(value: u32, bits: u8, signed: bool) -> f64 {
    let unused = 32 - u32::from(bits);
    if signed {
        f64::from((value << unused) as i32 >> unused)
    } else {
        f64::from(value << unused >> unused)
    }
}

#[inline(always)]
fn to_int(value: f32, bits: u8, signed: bool, nearest: bool) -> u32 {
    let value = if nearest {
        value.round_ties_even()
    } else {
        value.trunc()
    };
    match (bits, signed) {
        (16, false) => u32::from(value as u16),
        (16, true) => value as i16 as u32,
        (_, false) => value as u32,
        (_, true) => value as i32 as u32,
    }
}

impl Simd {
    #[inline(always)]
    pub(super) fn convert(&mut self, d: Dst, op: Convert, a: Lanes) {
        let out = match op {
            Convert::FromInt {
                bits,
                signed,
                nearest,
            } => match (d, nearest) {
                (Dst::Full(_), true) => a.map(|a| (from_int(a, bits, signed) as f32).to_bits()),
                (Dst::Full(_), false) => a.map(|a| single_truncated(from_int(a, bits, signed))),
                (_, true) => a.map(|a| to_half(single_odd(from_int(a, bits, signed)))),
                (_, false) => {
                    a.map(|a| to_half_truncated(single_truncated(from_int(a, bits, signed))))
                }
            },
            Convert::ToInt {
                bits,
                signed,
                nearest,
                half,
            } => {
                let a = if half { a.map(from_half) } else { a.map(flush) };
                a.map(|a| to_int(f32::from_bits(a), bits, signed, nearest))
            }
        };
        self.put(d, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_round_once() {
        // 2^24 + 1 lies between two singles; 2049 between two halves, and 2049 + 2^-13 is not an integer.
        assert_eq!(single_truncated(16777219.0), 16777218f32.to_bits());
        assert_eq!(to_half(single_odd(2049.0)), to_half(2048f32.to_bits()));
        assert_eq!(to_half(single_odd(2051.0)), to_half(2052f32.to_bits()));
        // Rounding 67108865 to a single first would make it a tie.
        assert_eq!(from_int(0xff, 8, true), -1.0);
        assert_eq!(from_int(0xff, 8, false), 255.0);
    }

    #[test]
    fn floats_saturate() {
        assert_eq!(to_int(-1.0, 32, false, false), 0);
        assert_eq!(to_int(1e10, 32, true, false), i32::MAX as u32);
        assert_eq!(to_int(f32::NAN, 32, true, false), 0);
        assert_eq!(to_int(-2.5, 16, true, false), -2i32 as u32);
        assert_eq!(to_int(2.5, 16, false, true), 2);
        assert_eq!(to_int(3.5, 16, false, true), 4);
    }
}
