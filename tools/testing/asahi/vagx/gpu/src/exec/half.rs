// SPDX-License-Identifier: MIT OR Apache-2.0

//! Half precision. Subnormals are kept.

use super::Simd;
use super::float::{finish, fused_odd, saturate};
use super::lanes::room;
use crate::uop::*;

/// Widens a half, exactly.
#[inline(always)]
pub(crate) fn from_half(half: u32) -> u32 {
    let sign = (half & 0x8000) << 16;
    let rest = half & 0x7fff;
    // With the exponent's bits in place, scaling by the difference of the biases is exact, also for subnormals.
    let scaled = (f32::from_bits(rest << 13) * f32::from_bits(0x7780_0000)).to_bits();
    let special = (rest << 13) | 0x7f80_0000;
    let quiet = if rest > 0x7c00 { 0x0040_0000 } else { 0 };
    sign | if rest >= 0x7c00 {
        special | quiet
    } else {
        scaled
    }
}

/// Rounds a single to the nearest half, ties to even. A NaN becomes the one NaN.
#[inline(always)]
pub(crate) fn to_half(bits: u32) -> u32 {
    let sign = bits >> 16 & 0x8000;
    let rest = bits & 0x7fff_ffff;
    // Normal results: change the exponent's bias and round at bit 13; a carry into the exponent is right.
    let odd = rest >> 13 & 1;
    let normal = rest.wrapping_sub(112 << 23).wrapping_add(0xfff + odd) >> 13;
    // Subnormal results: adding 0.5 leaves a multiple of 2^-24, rounded by the addition, in the mantissa.
    let subnormal = (f32::from_bits(rest) + 0.5)
        .to_bits()
        .wrapping_sub(0x3f00_0000);
    let finite = if rest < 113 << 23 { subnormal } else { normal };
    let value = if rest >= 0x4780_0000 { 0x7c00 } else { finite };
    if rest > 0x7f80_0000 {
        0x7e00
    } else {
        sign | value
    }
}

/// Rounds a double that was rounded to odd to the nearest half.
#[inline(always)]
fn half_from_double(value: f64) -> u32 {
    // A single rounded to odd has more than two bits to spare beyond a half, also where the half is subnormal.
    let single = value as f32;
    let back = f64::from(single);
    let bits = single.to_bits();
    let odd = if back == value || value.is_nan() || single.is_infinite() || bits & 1 != 0 {
        bits
    } else if back.abs() < value.abs() {
        bits + 1
    } else {
        bits - 1
    };
    to_half(odd)
}

impl Simd {
    #[inline(always)]
    pub(super) fn half(
        &mut self,
        uniforms: &[u32; 256],
        op: FltOp,
        d: Dst,
        [a, b, c]: [Flt; 3],
        sat: bool,
    ) {
        let f = f32::from_bits;
        let [ra, rb] = &mut room();
        let (a, b) = (self.flt_at(uniforms, a, ra), self.flt_at(uniforms, b, rb));
        // Single precision has enough bits that rounding sums and products twice is harmless.
        let out = match op {
            FltOp::Add => a.zip(b, |a, b| to_half((f(a) + f(b)).to_bits())),
            FltOp::Mul => a.zip(b, |a, b| to_half((f(a) * f(b)).to_bits())),
            FltOp::Fma => {
                let c = self.flt(uniforms, c);
                a.zip3(b, c, |a, b, c| {
                    half_from_double(fused_odd(f(a), f(b), f(c)))
                })
            }
        };
        if sat {
            self.put(d, out.map(|x| to_half(saturate(finish(f(from_half(x)))))));
        } else {
            self.put(d, out);
        }
    }
}

/// Rounds a single to a half towards zero.
#[inline(always)]
pub(crate) fn to_half_truncated(bits: u32) -> u32 {
    let nearest = to_half(bits);
    let value = f32::from_bits(bits);
    let back = f32::from_bits(from_half(nearest));
    // Nothing finite is rounded to infinity this way.
    if back.abs() > value.abs() {
        nearest - 1
    } else {
        nearest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a half, from its definition.
    fn value(half: u32) -> f64 {
        let mantissa = f64::from(half & 0x3ff);
        let sign = if half & 0x8000 != 0 { -1.0 } else { 1.0 };
        sign * match half >> 10 & 31 {
            0 => mantissa * 2f64.powi(-24),
            exponent => (1024.0 + mantissa) * 2f64.powi(exponent as i32 - 25),
        }
    }

    #[test]
    fn widening() {
        for half in 0..=0xffff {
            if half & 0x7c00 != 0x7c00 {
                let wide = f64::from(f32::from_bits(from_half(half)));
                assert_eq!(wide.to_bits(), value(half).to_bits(), "{half:#x}");
            }
        }
        assert_eq!(from_half(0x7c00), f32::INFINITY.to_bits());
        assert_eq!(from_half(0xfc00), f32::NEG_INFINITY.to_bits());
        assert!(f32::from_bits(from_half(0x7c01)).is_nan());
    }

    #[test]
    fn narrowing_is_the_inverse_and_ties_to_even() {
        for half in 0..0x7bffu32 {
            assert_eq!(to_half(from_half(half)), half);
            assert_eq!(to_half(from_half(half | 0x8000)), half | 0x8000);
            let middle = ((value(half) + value(half + 1)) / 2.0) as f32;
            assert_eq!(to_half(middle.to_bits()), (half + 1) & !1, "{half:#x}");
            assert_eq!(to_half(middle.to_bits() + 1), half + 1);
            assert_eq!(to_half(middle.to_bits() - 1), half);
            assert_eq!(to_half_truncated(middle.to_bits() + 1), half);
        }
        assert_eq!(to_half(65519f32.to_bits()), 0x7bff);
        assert_eq!(to_half(65520f32.to_bits()), 0x7c00);
        assert_eq!(to_half(f32::NAN.to_bits()), 0x7e00);
        assert_eq!(to_half(0xff80_0000), 0xfc00);
        assert_eq!(to_half(1), 0);
    }
}
