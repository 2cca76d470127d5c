// SPDX-License-Identifier: MIT OR Apache-2.0

//! Logarithm, exponential, sine and reciprocal square root.
//!
//! How hardware computes them is not known beyond their being good to about the last bit. Here they are polynomials in
//! double precision, so that the results are almost always the nearest singles, are the same on every CPU, and take
//! vector instructions.

use super::Lanes;
use super::float::finish;
use std::f64::consts::{FRAC_PI_2, LN_2, LOG2_E};

/// The least single that is taken as a mantissa: the root of one half, so that mantissas lie around one.
const ROOT_HALF: u32 = 0x3f35_04f3;

/// The integer part of the logarithm is that of the exponent, the rest `2 atanh((m - 1) / (m + 1)) / ln 2`.
#[inline(always)]
fn log2_one(bits: u32) -> f32 {
    let exponent = (bits.wrapping_sub(ROOT_HALF) as i32) >> 23;
    let mantissa = f32::from_bits(bits.wrapping_sub((exponent as u32) << 23));
    let m = f64::from(mantissa);
    let f = (m - 1.0) / (m + 1.0);
    let z = f * f;
    let series = 1.0 / 13.0;
    let series = series * z + 1.0 / 11.0;
    let series = series * z + 1.0 / 9.0;
    let series = series * z + 1.0 / 7.0;
    let series = series * z + 1.0 / 5.0;
    let series = series * z + 1.0 / 3.0;
    let series = series * z + 1.0;
    let value = (f64::from(exponent) + 2.0 * LOG2_E * f * series) as f32;
    let x = f32::from_bits(bits);
    let value = if bits == f32::INFINITY.to_bits() {
        x
    } else {
        value
    };
    let value = if x == 0.0 { f32::NEG_INFINITY } else { value };
    if x >= 0.0 { value } else { f32::NAN }
}

/// Adding it rounds a small single to an integer, which is then in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// Two to an integer, made from bits, times the series of two to the rest.
#[inline(always)]
fn exp2_one(x: f32) -> f32 {
    // Beyond these the result is infinite or zero anyway.
    let within = if x > 130.0 { 130.0 } else { x };
    let within = if within > -152.0 { within } else { -152.0 };
    let rounded = within + ROUND;
    let integer = rounded.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let rest = f64::from(within) - f64::from(rounded - ROUND);
    let t = rest * LN_2;
    let series = 1.0 / 362_880.0;
    let series = series * t + 1.0 / 40_320.0;
    let series = series * t + 1.0 / 5_040.0;
    let series = series * t + 1.0 / 720.0;
    let series = series * t + 1.0 / 120.0;
    let series = series * t + 1.0 / 24.0;
    let series = series * t + 1.0 / 6.0;
    let series = series * t + 0.5;
    let series = series * t + 1.0;
    let series = series * t + 1.0;
    let scale = f64::from_bits(((i64::from(integer) + 1023) << 52) as u64);
    let value = (series * scale) as f32;
    if x.is_nan() { x } else { value }
}

/// The sine of a folded angle of quadrants, divided by it: a series of its square.
#[inline(always)]
fn sinc_one(a: f32) -> f32 {
    let t = f64::from(a) * FRAC_PI_2;
    let z = t * t;
    let series = -1.0 / 1_307_674_368_000.0;
    let series = series * z + 1.0 / 6_227_020_800.0;
    let series = series * z - 1.0 / 39_916_800.0;
    let series = series * z + 1.0 / 362_880.0;
    let series = series * z - 1.0 / 5_040.0;
    let series = series * z + 1.0 / 120.0;
    let series = series * z - 1.0 / 6.0;
    let series = series * z + 1.0;
    (series * FRAC_PI_2) as f32
}

/// Improved once from what single precision gives.
#[inline(always)]
fn rsqrt_one(x: f32) -> f32 {
    let first = 1.0 / x.sqrt();
    let y = f64::from(first);
    let better = (y * (1.5 - 0.5 * f64::from(x) * y * y)) as f32;
    let ordinary = x > 0.0 && x < f32::INFINITY;
    if ordinary { better } else { first }
}

#[inline(always)]
pub(super) fn log2(a: &Lanes) -> Lanes {
    a.map(|a| finish(log2_one(a)))
}

#[inline(always)]
pub(super) fn exp2(a: &Lanes) -> Lanes {
    a.map(|a| finish(exp2_one(f32::from_bits(a))))
}

#[inline(always)]
pub(super) fn sinc(a: &Lanes) -> Lanes {
    a.map(|a| finish(sinc_one(f32::from_bits(a))))
}

#[inline(always)]
pub(super) fn rsqrt(a: &Lanes) -> Lanes {
    a.map(|a| finish(rsqrt_one(f32::from_bits(a))))
}

/// The reciprocal square root, but one for zero and infinity: times its source it is the square root.
#[inline(always)]
pub(super) fn rsqrt_special(a: &Lanes) -> Lanes {
    a.map(|a| {
        let special = a << 1 == 0 || a == f32::INFINITY.to_bits();
        if special {
            1f32.to_bits()
        } else {
            finish(rsqrt_one(f32::from_bits(a)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a function on normal numbers from `from` to `to` against doubles, to a unit in the last place.
    fn check(one: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, from: f32, to: f32) {
        let steps = 40_000u32;
        let (first, last) = (i64::from(from.to_bits()), i64::from(to.to_bits()));
        for step in 0..=i64::from(steps) {
            let x = f32::from_bits((first + (last - first) * step / i64::from(steps)) as u32);
            let (got, wanted) = (one(x), exact(f64::from(x)));
            let near = wanted as f32;
            if near.abs() < f32::MIN_POSITIVE {
                continue;
            }
            let apart = (i64::from(got.to_bits()) - i64::from(near.to_bits())).abs();
            assert!(apart <= 1, "{x:e}: {got:e}, not {wanted:e}");
        }
    }

    #[test]
    fn to_the_last_place() {
        let log2 = |x: f32| log2_one(x.to_bits());
        check(log2, f64::log2, f32::MIN_POSITIVE, f32::MAX);
        check(log2, f64::log2, 0.98, 1.02);
        check(exp2_one, f64::exp2, 1e-10, 127.99);
        check(exp2_one, f64::exp2, -1e-10, -126.0);
        check(rsqrt_one, |x| 1.0 / x.sqrt(), f32::MIN_POSITIVE, f32::MAX);
        check(sinc_one, |x| (x * FRAC_PI_2).sin() / x, 1e-20, 1.0);
        check(sinc_one, |x| (x * FRAC_PI_2).sin() / x, -1e-20, -1.0);
    }

    #[test]
    fn special_values() {
        let log2 = |x: f32| log2_one(x.to_bits());
        assert_eq!(log2(0.0), f32::NEG_INFINITY);
        assert_eq!(log2(-0.0), f32::NEG_INFINITY);
        assert_eq!(log2(f32::INFINITY), f32::INFINITY);
        assert!(log2(-1.0).is_nan() && log2(f32::NAN).is_nan());
        assert!(log2(f32::NEG_INFINITY).is_nan());
        for power in -126..=127 {
            assert_eq!(
                log2(f32::from_bits((power + 127) as u32 * (1 << 23))),
                power as f32
            );
            assert_eq!(log2(exp2_one(power as f32)), power as f32);
        }
        assert_eq!(exp2_one(0.0), 1.0);
        assert_eq!(exp2_one(128.0), f32::INFINITY);
        assert_eq!(exp2_one(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp2_one(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp2_one(-1e30), 0.0);
        assert!(exp2_one(f32::NAN).is_nan());
        assert_eq!(rsqrt_one(0.0), f32::INFINITY);
        assert_eq!(rsqrt_one(-0.0), f32::NEG_INFINITY);
        assert_eq!(rsqrt_one(f32::INFINITY), 0.0);
        assert_eq!(rsqrt_one(4.0), 0.5);
        assert!(rsqrt_one(-1.0).is_nan());
        assert_eq!(sinc_one(0.0), std::f32::consts::FRAC_PI_2);
        assert_eq!(sinc_one(1.0), 1.0);
    }
}
