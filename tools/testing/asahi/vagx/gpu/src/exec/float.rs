// SPDX-License-Identifier: MIT OR Apache-2.0

//! Single precision.
//!
//! Subnormals are zero, as sources and as results; a result that is below the normal numbers before rounding is zero even
//! if rounding would lift it to the least of them. Every NaN that is computed is the same one. A half-precision
//! destination is rounded a second time, from the rounded single (applegpu, fma.py and applegpu.py).

use super::alu::scalar;
use super::half::{from_half, to_half};
use super::lanes::{Room, room};
use super::{Lanes, Simd, transcendental};
use crate::uop::*;

const NAN: u32 = 0x7fc0_0000;
const LEAST_NORMAL: u32 = 0x0080_0000;

/// Flushes a subnormal to the zero of its sign.
#[inline(always)]
pub(super) fn flush(bits: u32) -> u32 {
    if bits & 0x7f80_0000 == 0 {
        bits & 0x8000_0000
    } else {
        bits
    }
}

/// The form of a computed result: flushed, with the one NaN.
#[inline(always)]
pub(super) fn finish(value: f32) -> u32 {
    if value.is_nan() {
        NAN
    } else {
        flush(value.to_bits())
    }
}

/// Clamps to [0, 1]; what is not a number becomes zero.
#[inline(always)]
pub(super) fn saturate(bits: u32) -> u32 {
    let value = f32::from_bits(bits);
    let value = if value >= 1.0 { 1.0 } else { value };
    if value > 0.0 { value.to_bits() } else { 0 }
}

/// A fused multiply-add from doubles, for CPUs that lack the instruction. The product is exact; the sum is rounded to
/// odd, so that rounding it again to single precision is correct.
#[inline(always)]
fn fused(a: f32, b: f32, c: f32) -> f32 {
    let product = f64::from(a) * f64::from(b);
    let c = f64::from(c);
    let sum = product + c;
    round_to_odd(sum, sum_error(product, c, sum)) as f32
}

/// What `sum` lacks of `a + b`, exactly.
#[inline(always)]
fn sum_error(a: f64, b: f64, sum: f64) -> f64 {
    let b_part = sum - a;
    let a_part = sum - b_part;
    (a - a_part) + (b - b_part)
}

/// Makes a rounded sum the odd one of its two neighbours, if it was not exact.
#[inline(always)]
fn round_to_odd(sum: f64, error: f64) -> f64 {
    let bits = sum.to_bits();
    let inexact = error != 0.0 && error.is_finite();
    if inexact && bits & 1 == 0 {
        // Towards the true value: away from zero if the error has the sum's sign.
        let away = (error > 0.0) == (sum > 0.0);
        f64::from_bits(if away { bits + 1 } else { bits - 1 })
    } else {
        sum
    }
}

/// `a * b + c` in doubles, rounded to odd, for halves: the caller rounds once more.
#[inline(always)]
pub(super) fn fused_odd(a: f32, b: f32, c: f32) -> f64 {
    let product = f64::from(a) * f64::from(b);
    let c = f64::from(c);
    let sum = product + c;
    round_to_odd(sum, sum_error(product, c, sum))
}

/// Whether a result of the least normal magnitude was below it before rounding.
#[cold]
fn was_subnormal(a: f32, b: f32, c: f32) -> bool {
    fused_odd(a, b, c).abs() < f64::from(f32::from_bits(LEAST_NORMAL))
}

/// Flushes results, and clears those that rounding has lifted out of the subnormals.
#[cold]
fn flush_lifted(out: &Lanes, a: &Lanes, b: &Lanes, c: &Lanes) -> Lanes {
    Lanes(std::array::from_fn(|lane| {
        let bits = out.0[lane];
        let lifted = bits << 1 == LEAST_NORMAL << 1
            && was_subnormal(
                f32::from_bits(a.0[lane]),
                f32::from_bits(b.0[lane]),
                f32::from_bits(c.0[lane]),
            );
        if lifted {
            bits & 0x8000_0000
        } else {
            flush(bits)
        }
    }))
}

/// The results of products as they are written. Few programs make subnormals, so that it is first asked whether there is
/// any result, other than zero, that is not above the least normal number.
#[inline(always)]
fn finish_products(f: impl Fn(usize) -> f32, a: &Lanes, b: &Lanes, c: &Lanes) -> Lanes {
    let mut out = Lanes::ZERO;
    let mut low = 0;
    for lane in 0..32 {
        let value = f(lane);
        let bits = if value.is_nan() { NAN } else { value.to_bits() };
        out.0[lane] = bits;
        low |= u32::from((bits << 1).wrapping_sub(1) < LEAST_NORMAL << 1);
    }
    if low != 0 {
        out = flush_lifted(&out, a, b, c);
    }
    out
}

#[inline(always)]
fn arithmetic<const FMA: bool>(op: FltOp, a: &Lanes, b: &Lanes, c: &Lanes) -> Lanes {
    let f = f32::from_bits;
    match op {
        // A sum of singles is a multiple of the least subnormal, so that it cannot be lifted.
        FltOp::Add => a.zip(b, |a, b| finish(f(a) + f(b))),
        FltOp::Mul => finish_products(|lane| f(a.0[lane]) * f(b.0[lane]), a, b, &Lanes::ZERO),
        FltOp::Fma if FMA => {
            let fma = |lane: usize| f(a.0[lane]).mul_add(f(b.0[lane]), f(c.0[lane]));
            finish_products(fma, a, b, c)
        }
        FltOp::Fma => {
            let fma = |lane: usize| fused(f(a.0[lane]), f(b.0[lane]), f(c.0[lane]));
            finish_products(fma, a, b, c)
        }
    }
}

/// Signs as a source's modifiers want them.
#[inline(always)]
fn modified(bits: u32, flt: Flt) -> u32 {
    let keep = if flt.abs { 0x7fff_ffff } else { u32::MAX };
    let flip = if flt.neg { 0x8000_0000 } else { 0 };
    (bits & keep) ^ flip
}

/// A function of each lane. It has to be one that the compiler knows here, not a pointer, to become vector instructions.
#[inline(always)]
fn each(a: &Lanes, f: impl Fn(f32) -> f32) -> Lanes {
    a.map(|a| finish(f(f32::from_bits(a))))
}

impl Simd {
    /// A floating-point source as singles: halves widened exactly, subnormal singles flushed. In place if nothing has to
    /// be done, else in `room`.
    #[inline(always)]
    pub(super) fn flt_at<'a>(
        &'a self,
        uniforms: &[u32; 256],
        flt: Flt,
        room: &'a mut Room,
    ) -> &'a Lanes {
        match flt.val {
            Val::Full(r) | Val::Low(r) | Val::High(r) => {
                let reg = &self.regs[r as usize % 128];
                if flt.clean {
                    if !flt.abs && !flt.neg {
                        return reg;
                    }
                    room.write(reg.map(|x| modified(x, flt)))
                } else if flt.half {
                    let down = if matches!(flt.val, Val::High(_)) {
                        16
                    } else {
                        0
                    };
                    room.write(reg.map(|x| modified(from_half(x >> down & 0xffff), flt)))
                } else {
                    room.write(reg.map(|x| modified(flush(x), flt)))
                }
            }
            _ => {
                let bits = scalar(uniforms, flt.val);
                let bits = if flt.half {
                    from_half(bits)
                } else {
                    flush(bits)
                };
                room.write(Lanes::splat(modified(bits, flt)))
            }
        }
    }

    /// The same by value.
    #[inline(always)]
    pub(super) fn flt(&self, uniforms: &[u32; 256], flt: Flt) -> Lanes {
        *self.flt_at(uniforms, flt, &mut Room::uninit())
    }

    /// Writes singles to a destination of either width.
    #[inline(always)]
    pub(super) fn put_flt(&mut self, d: Dst, value: Lanes, sat: bool) {
        let value = if sat { value.map(saturate) } else { value };
        match d {
            Dst::Full(_) => self.put(d, value),
            _ => self.put(d, value.map(to_half)),
        }
    }

    #[inline(always)]
    pub(super) fn float<const FMA: bool>(
        &mut self,
        uniforms: &[u32; 256],
        op: FltOp,
        d: Dst,
        [a, b, c]: [Flt; 3],
        sat: bool,
    ) {
        let [ra, rb, rc] = &mut room();
        let a = self.flt_at(uniforms, a, ra);
        let b = self.flt_at(uniforms, b, rb);
        let c = match op {
            FltOp::Fma => self.flt_at(uniforms, c, rc),
            _ => a,
        };
        let out = arithmetic::<FMA>(op, a, b, c);
        self.put_flt(d, out, sat);
    }

    #[inline(always)]
    pub(super) fn float_unary(
        &mut self,
        uniforms: &[u32; 256],
        op: FltUnary,
        d: Dst,
        a: Flt,
        sat: bool,
    ) {
        let [room] = &mut room();
        let a = self.flt_at(uniforms, a, room);
        let out = match op {
            FltUnary::Floor => each(a, |a| a.floor()),
            FltUnary::Ceil => each(a, |a| a.ceil()),
            FltUnary::Trunc => each(a, |a| a.trunc()),
            FltUnary::Rint => each(a, |a| a.round_ties_even()),
            FltUnary::Rcp => each(a, |a| 1.0 / a),
            FltUnary::Rsqrt => transcendental::rsqrt(a),
            FltUnary::RsqrtSpecial => transcendental::rsqrt_special(a),
            FltUnary::Log2 => transcendental::log2(a),
            FltUnary::Exp2 => transcendental::exp2(a),
            FltUnary::SinFold => each(a, sin_fold),
            FltUnary::Sinc => transcendental::sinc(a),
            FltUnary::Dfdx => differences(a, [1, 1, 3, 3], [0, 0, 2, 2]),
            FltUnary::Dfdy => differences(a, [2, 3, 2, 3], [0, 1, 0, 1]),
        };
        self.put_flt(d, out, sat);
    }
}

/// Folds an angle in quadrants from [0, 4) to [-1, 1] such that its sine stays the same.
#[inline(always)]
fn sin_fold(a: f32) -> f32 {
    if a > 3.0 {
        a - 4.0
    } else if a > 1.0 {
        2.0 - a
    } else {
        a
    }
}

/// In each quad, lane `plus[i]` less lane `minus[i]`.
#[inline(always)]
fn differences(a: &Lanes, plus: [usize; 4], minus: [usize; 4]) -> Lanes {
    let mut out = Lanes::ZERO;
    for lane in 0..32 {
        let quad = lane & !3;
        let high = f32::from_bits(a.0[quad + plus[lane & 3]]);
        let low = f32::from_bits(a.0[quad + minus[lane & 3]]);
        out.0[lane] = finish(high - low);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulated_fma_is_the_real_one() {
        let mut state = 1u64;
        let mut random = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let bits = (state >> 32) as u32;
            // Exponents close to each other make the interesting roundings.
            f32::from_bits((bits & 0x807f_ffff) | ((120 + (bits >> 23 & 15)) << 23))
        };
        for _ in 0..1_000_000 {
            let (a, b, c) = (random(), random(), random());
            assert_eq!(
                fused(a, b, c).to_bits(),
                a.mul_add(b, c).to_bits(),
                "{a:e} {b:e} {c:e}"
            );
        }
        assert!(fused(f32::INFINITY, 1.0, 1.0).is_infinite());
        assert!(fused(f32::INFINITY, 1.0, f32::NEG_INFINITY).is_nan());
        assert_eq!(fused(f32::MAX, f32::MAX, 1.0), f32::INFINITY);
    }

    #[test]
    fn saturation() {
        for (from, to) in [
            (0.5, 0.5),
            (2.0, 1.0),
            (-1.0, 0.0),
            (f32::NAN, 0.0),
            (-0.0, 0.0),
        ] {
            assert_eq!(saturate(f32::to_bits(from)), f32::to_bits(to), "{from}");
        }
    }
}
