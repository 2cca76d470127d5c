// SPDX-License-Identifier: MIT OR Apache-2.0

//! Ballots, shuffles, reductions and prefix operations.

use super::half::{from_half, to_half};
use super::{Lanes, Simd};
use crate::uop::{Compare, Dst, Reduce, Shuffle, Val};

impl Simd {
    pub(super) fn ballot(&mut self, uniforms: &[u32; 256], d: Dst, quad: bool, cmp: &Compare) {
        let votes = self.compare(uniforms, cmp).to_bits() & self.exec;
        let out = if quad {
            Lanes(std::array::from_fn(|lane| votes >> (lane & !3) & 0xf))
        } else {
            Lanes::splat(votes)
        };
        self.put(d, out);
    }

    /// Lanes fetch from other lanes, active or not.
    ///
    /// Within a quad the hardware has one permutation: the low two bits of the four lanes' indices are combined by or,
    /// also those of inactive lanes, and applied to the quad as a source; each lane then chooses the quad that it reads
    /// (applegpu.py, SimdShuffle and its neighbours). An index outside the group gives the lane's own value.
    pub(super) fn shuffle(
        &mut self,
        uniforms: &[u32; 256],
        d: Dst,
        op: Shuffle,
        quad: bool,
        sources: (Val, Val),
    ) {
        let a = self.val(uniforms, sources.0);
        let b = self.val(uniforms, sources.1).map(|b| b & 0xffff);
        let mut permuted = Lanes::ZERO;
        for first in (0..32).step_by(4) {
            let by = (0..4).fold(0, |or, i| or | b.0[first + i]) as usize & 3;
            for i in 0..4 {
                let from = match op {
                    Shuffle::Index => by,
                    Shuffle::Xor => i ^ by,
                    Shuffle::Up | Shuffle::RotateUp => i.wrapping_sub(by) & 3,
                    Shuffle::Down => (i + by) & 3,
                };
                permuted.0[first + i] = a.0[first + from];
            }
        }
        let width: i64 = if quad { 4 } else { 32 };
        let out = Lanes(std::array::from_fn(|lane| {
            let start = if quad { lane as i64 & !3 } else { 0 };
            let (at, index) = (lane as i64 - start, i64::from(b.0[lane]));
            let target = match op {
                Shuffle::Index => index,
                Shuffle::Xor => at ^ index,
                Shuffle::Up => at - index,
                Shuffle::Down => at + index,
                Shuffle::RotateUp => (at - index).rem_euclid(width),
            };
            if (0..width).contains(&target) {
                permuted.0[(start + target) as usize & !3 | (lane & 3)]
            } else {
                a.0[lane]
            }
        }));
        self.put(d, out);
    }

    pub(super) fn reduce(
        &mut self,
        uniforms: &[u32; 256],
        d: Dst,
        op: Reduce,
        (quad, prefix, half): (bool, bool, bool),
        a: Val,
    ) {
        let a = self.val(uniforms, a);
        let identity = identity(op, half);
        let width = if quad { 4 } else { 32 };
        let mut out = Lanes::ZERO;
        for start in (0..32).step_by(width) {
            let mut total = identity;
            for lane in start..start + width {
                // A prefix leaves the lane itself out.
                out.0[lane] = total;
                if self.exec >> lane & 1 != 0 {
                    total = combine(op, half, total, a.0[lane]);
                }
            }
            if !prefix {
                out.0[start..start + width].fill(total);
            }
        }
        self.put(d, out);
    }
}

fn identity(op: Reduce, half: bool) -> u32 {
    let ones = if half { 0xffff } else { u32::MAX };
    let sign = ones ^ (ones >> 1);
    let float = |value: f32| {
        if half {
            to_half(value.to_bits())
        } else {
            value.to_bits()
        }
    };
    match op {
        Reduce::And | Reduce::UMin => ones,
        Reduce::Or | Reduce::Xor | Reduce::IAdd | Reduce::UMax => 0,
        Reduce::SMin => ones >> 1,
        Reduce::SMax => sign,
        Reduce::FAdd => float(0.0),
        Reduce::FMul => float(1.0),
        Reduce::FMin => float(f32::INFINITY),
        Reduce::FMax => float(f32::NEG_INFINITY),
    }
}

fn combine(op: Reduce, half: bool, a: u32, b: u32) -> u32 {
    let signed = |x: u32| {
        if half {
            i32::from(x as u16 as i16)
        } else {
            x as i32
        }
    };
    let float = |f: fn(f32, f32) -> f32| {
        if half {
            let (a, b) = (f32::from_bits(from_half(a)), f32::from_bits(from_half(b)));
            to_half(f(a, b).to_bits())
        } else {
            let flushed = |x| f32::from_bits(super::float::flush(x));
            super::float::finish(f(flushed(a), flushed(b)))
        }
    };
    match op {
        Reduce::And => a & b,
        Reduce::Or => a | b,
        Reduce::Xor => a ^ b,
        Reduce::IAdd => a.wrapping_add(b),
        Reduce::UMin => a.min(b),
        Reduce::UMax => a.max(b),
        Reduce::SMin => signed(a).min(signed(b)) as u32,
        Reduce::SMax => signed(a).max(signed(b)) as u32,
        Reduce::FAdd => float(|a, b| a + b),
        Reduce::FMul => float(|a, b| a * b),
        Reduce::FMin => float(f32::min),
        Reduce::FMax => float(f32::max),
    }
}
