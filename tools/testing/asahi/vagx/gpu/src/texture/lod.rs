// SPDX-License-Identifier: MIT OR Apache-2.0

//! Levels of detail.

use super::real::{Reals, clamp, fixed, log2};
use super::sampler::{Mip, Sampler};
use crate::exec::Lanes;

/// What derivatives say: in texels of the first level, along x and y of the picture.
pub(super) struct Footprint {
    /// The level that fits.
    pub(super) lod: Reals,
    /// How many probes to take, and along which vector of normalised coordinates. At least one.
    pub(super) probes: Lanes,
    pub(super) line: [Reals; 2],
}

/// Differences within quads: of the lane to the right, and of the one below.
#[inline(always)]
pub(super) fn differences(v: &Reals) -> [Reals; 2] {
    let mut out = [Reals::ZERO; 2];
    for first in (0..32).step_by(4) {
        let dx = v.0[first + 1] - v.0[first];
        let dy = v.0[first + 2] - v.0[first];
        for lane in first..first + 4 {
            out[0].0[lane] = dx;
            out[1].0[lane] = dy;
        }
    }
    out
}

/// The level of detail of derivatives of normalised coordinates, isotropic.
#[inline(always)]
pub(super) fn isotropic<const AXES: usize>(d: &[[Reals; 2]; AXES], size: &[f32; AXES]) -> Reals {
    let mut squares = [Reals::ZERO; 2];
    for (d, &size) in d.iter().zip(size) {
        for (sum, d) in squares.iter_mut().zip(d) {
            *sum = sum.zip(*d, |sum, d| sum + (d * size) * (d * size));
        }
    }
    squares[0].zip(squares[1], |x, y| half_log2(if x > y { x } else { y }))
}

/// Half the logarithm, kept finite.
#[inline(always)]
fn half_log2(square: f32) -> f32 {
    0.5 * log2(clamp(square, 1e-30, 1e30))
}

/// The level of detail of derivatives of normalised coordinates of two axes, with at most `most` probes along the longer
/// side of the footprint.
#[inline(always)]
pub(super) fn anisotropic(d: &[[Reals; 2]; 2], size: &[f32; 2], most: u32) -> Footprint {
    let square = |s: f32, t: f32| {
        let (s, t) = (s * size[0], t * size[1]);
        s * s + t * t
    };
    let x = d[0][0].zip(d[1][0], square);
    let y = d[0][1].zip(d[1][1], square);
    let along_x = x.test(y, |x, y| x >= y);
    let long = x.select(y, &along_x).map(|v| clamp(v, 1e-30, 1e30));
    let short = y.select(x, &along_x).map(|v| clamp(v, 1e-30, 1e30));
    let probes = long.zip(short, |long, short| {
        // A hair less, so that what should be a whole number is not rounded up.
        clamp((0.999 * (long / short).sqrt()).ceil(), 1.0, most as f32)
    });
    let lod = long.zip(probes, |long, n| half_log2(long) - log2(n));
    Footprint {
        lod,
        probes: probes.ints(),
        line: [
            d[0][0].select(d[0][1], &along_x),
            d[1][0].select(d[1][1], &along_x),
        ],
    }
}

/// The level of detail within the sampler's limits.
#[inline(always)]
pub(super) fn limited(lod: &Reals, sampler: &Sampler, least: Option<&Reals>) -> Reals {
    let (low, high) = (sampler.least_lod, sampler.most_lod);
    match least {
        Some(least) => lod.zip(least, |lod, least| {
            let low = if least > low { least } else { low };
            fixed(clamp(lod, if low < high { low } else { high }, high))
        }),
        None => lod.map(|lod| fixed(clamp(lod, if low < high { low } else { high }, high))),
    }
}

/// Levels, counted from the first, and how much of the one after there is in the result.
#[inline(always)]
pub(super) fn levels(lod: &Reals, mip: Mip, last: u32) -> (Lanes, Reals) {
    let last = last as f32;
    match mip {
        Mip::None => (Lanes::ZERO, Reals::ZERO),
        Mip::Nearest => {
            let level = lod.map(|lod| clamp((lod + 0.5).ceil() - 1.0, 0.0, last));
            (level.ints(), Reals::ZERO)
        }
        Mip::Linear => {
            let lod = lod.map(|lod| clamp(lod, 0.0, last));
            let level = lod.map(f32::floor);
            (level.ints(), lod.zip(level, |lod, level| lod - level))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::array::from_fn;

    /// Lanes in 8 quads side by side.
    fn ramp(x: f32, y: f32) -> Reals {
        Reals(from_fn(|lane| {
            let column = (lane / 4 * 2 + lane % 2) as f32;
            column * x + (lane / 2 % 2) as f32 * y
        }))
    }

    #[test]
    fn scale_is_level() {
        let d = [ramp(1.0 / 16.0, 0.0), ramp(0.0, 1.0 / 64.0)].map(|v| differences(&v));
        // Four texels of the width by one of the height.
        assert_eq!(isotropic(&d, &[64.0, 64.0]).0, [2.0; 32]);
        let footprint = anisotropic(&d, &[64.0, 64.0], 16);
        assert_eq!(footprint.lod.0, [0.0; 32]);
        assert_eq!(footprint.probes.0, [4; 32]);
        assert_eq!(footprint.line[0].0[31], 1.0 / 16.0);
        assert_eq!(footprint.line[1].0[31], 0.0);
        let footprint = anisotropic(&d, &[64.0, 64.0], 2);
        assert_eq!((footprint.lod.0[0], footprint.probes.0[0]), (1.0, 2));
    }

    #[test]
    fn nothing_moves_and_everything_does() {
        let still = [differences(&Reals::ZERO); 2];
        assert!(isotropic(&still, &[64.0, 64.0]).0[0] < -30.0);
        let wild = [differences(&Reals([f32::NAN; 32])); 2];
        let footprint = anisotropic(&wild, &[64.0, 64.0], 16);
        assert!((1..=16).contains(&footprint.probes.0[5]));
        assert!(footprint.lod.0[5].is_finite());
    }

    fn level(lod: f32, mip: Mip) -> (u32, f32) {
        let (level, weight) = levels(&Reals([lod; 32]), mip, 3);
        (level.0[0], weight.0[0])
    }

    #[test]
    fn choice_of_levels() {
        assert_eq!(level(2.0, Mip::None), (0, 0.0));
        assert_eq!(level(0.5, Mip::Nearest), (0, 0.0));
        assert_eq!(level(0.51, Mip::Nearest), (1, 0.0));
        assert_eq!(level(1.0, Mip::Nearest), (1, 0.0));
        assert_eq!(level(77.0, Mip::Nearest), (3, 0.0));
        assert_eq!(level(-1.0, Mip::Linear), (0, 0.0));
        assert_eq!(level(1.25, Mip::Linear), (1, 0.25));
        assert_eq!(level(9.0, Mip::Linear), (3, 0.0));
    }
}
