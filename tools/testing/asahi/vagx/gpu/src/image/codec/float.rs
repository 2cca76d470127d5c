// SPDX-License-Identifier: MIT OR Apache-2.0

//! Small floating-point numbers without a sign, and such with a common exponent.

use crate::exec::from_half;

/// Widens a number of five bits of exponent and `mantissa` bits of mantissa: a half without its sign and lowest bits.
#[inline(always)]
pub(super) fn from_small(bits: u32, mantissa: u32) -> u32 {
    from_half(bits << (10 - mantissa))
}

/// The counterpart. There are no negative numbers, so that these become zero; finite numbers stay finite
/// (EXT_packed_float).
#[inline(always)]
pub(super) fn to_small(bits: u32, mantissa: u32, down: bool) -> u32 {
    let infinity = 31 << mantissa;
    if bits & 0x7fff_ffff > 0x7f80_0000 {
        return infinity | 1;
    }
    if bits >> 31 != 0 {
        return 0;
    }
    let drop = 23 - mantissa;
    let finite = if bits < 113 << 23 {
        // An addition that leaves a multiple of the smallest number in the lower bits of the sum.
        let scale = 2f32.powi(9 - mantissa as i32);
        let value = f32::from_bits(bits);
        let sum = (value + scale).to_bits() - scale.to_bits();
        let above = f32::from_bits(sum + scale.to_bits()) - scale > value;
        sum - u32::from(down && above)
    } else {
        let half = if down {
            0
        } else {
            (1 << (drop - 1)) - 1 + (bits >> drop & 1)
        };
        ((bits - (112 << 23)).saturating_add(half) >> drop).min(infinity - 1)
    };
    if bits == 0x7f80_0000 {
        infinity
    } else {
        finite
    }
}

/// A half, rounded towards zero.
#[inline(always)]
pub(super) fn to_half_down(bits: u32) -> u32 {
    let sign = bits >> 16 & 0x8000;
    let rest = bits & 0x7fff_ffff;
    if rest > 0x7f80_0000 {
        0x7e00
    } else {
        sign | to_small(rest, 10, true)
    }
}

/// One of three numbers of nine bits that share five bits of exponent.
#[inline(always)]
pub(super) fn from_shared(word: u32, at: u32) -> u32 {
    let scale = f32::from_bits(((word >> 27) + 127 - 15 - 9) << 23);
    ((word >> at & 0x1ff) as i32 as f32 * scale).to_bits()
}

/// The counterpart: the exponent is that of the largest (EXT_texture_shared_exponent).
#[inline(always)]
pub(super) fn to_shared(rgb: [u32; 3]) -> u32 {
    // 65408 is the largest number: 511 / 512 * 2^16.
    let rgb = rgb.map(|x| {
        let x = f32::from_bits(x);
        if x > 0.0 { x.min(65408.0) } else { 0.0 }
    });
    let largest = rgb[0].max(rgb[1]).max(rgb[2]);
    let exponent = (largest.to_bits() >> 23).max(127 - 16) - (127 - 16);
    let quantum = |exponent: u32| f32::from_bits((127 + 24 - exponent) << 23);
    let round = |x: f32, exponent| (x * quantum(exponent) + 0.5) as u32;
    let exponent = exponent + u32::from(round(largest, exponent) == 512);
    let [r, g, b] = rgb.map(|x| round(x, exponent));
    r | g << 9 | b << 18 | exponent << 27
}
