// SPDX-License-Identifier: MIT OR Apache-2.0

//! A short way for what most textures are: a plane of texels of four bytes, with wraps that have no border.
//!
//! It gives what the long way gives, bit for bit, or nothing: where a texel is not mapped, or is not stored as it is, the
//! long way has to find out.

use super::filter::{Sampling, mixed};
use super::real::Reals;
use super::{Port, wrap};
use crate::exec::{Lanes, mask};
use crate::image::codec::{Channels, Format, Kind};
use crate::image::layout::{LEVELS, Level};
use crate::image::{Dimension, Image};

/// Units of compression that lanes may be in.
const UNITS: usize = 8;

/// A level of a texture that can be sampled this way.
struct Plane<'a> {
    image: &'a Image,
    level: &'a Level,
    /// Of the first texel.
    start: u64,
    /// Of the level's metadata, if there is any.
    metadata: Option<u64>,
}

/// Units of compression that are known to be stored as they are: a texel of each.
struct Units {
    first: [u32; UNITS],
    count: usize,
}

/// What of texels' numbers depends on one axis.
struct Axis {
    texels: [Lanes; 2],
    numbers: [Lanes; 2],
}

/// The format, one of two.
const fn bytes(srgb: bool) -> Format {
    Format {
        channels: Channels::R8G8B8A8,
        kind: Kind::Unorm,
        srgb,
    }
}

/// Whether a texture can be sampled this way, by some sampler.
pub(super) fn is_flat(image: &Image) -> bool {
    image.dim == Dimension::D2
        && image.samples == 1
        && image.format == bytes(image.format.srgb)
        && image.layout.span(image.height) < 1 << 31
}

impl Plane<'_> {
    #[inline(always)]
    fn new(image: &Image, number: usize) -> Plane<'_> {
        let level = &image.layout.levels[number % LEVELS];
        Plane {
            image,
            level,
            start: image.base.wrapping_add(image.layout.offset_of(level, 0, 0)),
            metadata: image
                .layout
                .metadata_of(level, 0)
                .map(|offset| image.metadata.wrapping_add(offset)),
        }
    }

    #[inline(always)]
    fn columns(&self, texels: &Lanes) -> Lanes {
        texels.map(|x| self.image.layout.column(self.level, x))
    }

    #[inline(always)]
    fn rows(&self, texels: &Lanes) -> Lanes {
        texels.map(|y| self.image.layout.row(self.level, y))
    }

    /// Reads the texels of a column and a row, if they are simply there.
    #[inline(always)]
    fn read(
        &self,
        port: &mut Port<'_, '_>,
        lanes: u32,
        axes: &[Axis; 2],
        (column, row): (usize, usize),
        units: &mut Units,
        raw: &mut Lanes,
    ) -> bool {
        let numbers = axes[0].numbers[column].zip(&axes[1].numbers[row], u32::wrapping_add);
        if let Some(metadata) = self.metadata {
            let at = [&axes[0].texels[column], &axes[1].texels[row]];
            if !self.are_plain(port, lanes, &numbers, at, metadata, units) {
                return false;
            }
        }
        let offsets = numbers.map(|number| number << 2);
        port.memory
            .load_near::<u32>(self.start, &offsets, lanes, raw)
    }

    /// Whether texels are in few units of compression, all of which are stored as they are.
    #[inline(always)]
    fn are_plain(
        &self,
        port: &mut Port<'_, '_>,
        lanes: u32,
        numbers: &Lanes,
        [x, y]: [&Lanes; 2],
        metadata: u64,
        units: &mut Units,
    ) -> bool {
        let layout = &self.image.layout;
        let mut left = lanes;
        let mut known = 0;
        loop {
            if known == units.count {
                let lane = left.trailing_zeros() as usize % 32;
                let unit = layout
                    .unit_column(self.level, x.0[lane])
                    .wrapping_add(layout.unit_row(self.level, y.0[lane]));
                let va = metadata.wrapping_add(u64::from(unit) * 8);
                if known == UNITS || !self.image.is_plain_at(port.memory, va) {
                    return false;
                }
                units.first[known] = numbers.0[lane];
                units.count += 1;
            }
            // A unit is 256 samples that follow each other.
            let first = units.first[known % UNITS];
            left &= numbers
                .map(|number| mask((number ^ first) > 0xff))
                .to_bits();
            if left == 0 {
                return true;
            }
            known += 1;
        }
    }
}

impl Sampling<'_> {
    /// What a filter makes of a level of each lane, as `filtered` would. False if it has to.
    #[inline(always)]
    pub(super) fn flat(
        &self,
        port: &mut Port<'_, '_>,
        (lanes, linear): (u32, bool),
        level: &Lanes,
        position: &[Reals; 3],
        out: &mut [Lanes; 4],
    ) -> bool {
        let mut left = lanes;
        while left != 0 {
            let first = level.0[left.trailing_zeros() as usize % 32];
            let mask = level.map(|level| mask(level == first));
            let same = mask.to_bits() & left;
            left &= !same;
            // What other lanes got, if there are others.
            let before = (same != lanes).then_some(*out);
            if !self.flat_level(port, (same, linear), first, position, out) {
                return false;
            }
            if let Some(before) = &before {
                for (out, before) in out.iter_mut().zip(before) {
                    *out = out.select(before, &mask);
                }
            }
        }
        true
    }

    #[inline(always)]
    fn flat_level(
        &self,
        port: &mut Port<'_, '_>,
        (lanes, linear): (u32, bool),
        level: u32,
        position: &[Reals; 3],
        out: &mut [Lanes; 4],
    ) -> bool {
        let image = &self.texture.image;
        let number = level.wrapping_add(image.first_level).min(31);
        let plane = Plane::new(image, number as usize);
        let size = |axis: usize| (self.texture.size[axis] >> number).max(1);
        let wraps = &self.sampler.wrap;
        let format = bytes(self.scale.is_none());
        let mut raw = [Lanes::ZERO; 4];
        let mut units = Units {
            first: [0; UNITS],
            count: 0,
        };
        if !linear {
            let x = wrap::nearest_in(wraps[0], &position[0], size(0));
            let y = wrap::nearest_in(wraps[1], &position[1], size(1));
            let (column, row) = (plane.columns(&x), plane.rows(&y));
            let axes = [Axis::single(x, column), Axis::single(y, row)];
            if !plane.read(port, lanes, &axes, (0, 0), &mut units, &mut raw[0]) {
                return false;
            }
            self.decode(&format, &raw, out);
            return true;
        }
        let (x, across) = wrap::linear_in(wraps[0], &position[0], size(0));
        let (y, down) = wrap::linear_in(wraps[1], &position[1], size(1));
        let axes = [
            Axis {
                numbers: [plane.columns(&x[0]), plane.columns(&x[1])],
                texels: x,
            },
            Axis {
                numbers: [plane.rows(&y[0]), plane.rows(&y[1])],
                texels: y,
            },
        ];
        for (tap, raw) in raw.iter_mut().enumerate() {
            if !plane.read(port, lanes, &axes, (tap & 1, tap >> 1), &mut units, raw) {
                return false;
            }
        }
        if self.scale.is_some() {
            blend(&raw, &across, &down, out);
            return true;
        }
        let weights = [&Reals::weights(&across), &Reals::weights(&down)];
        for (channel, out) in out.iter_mut().enumerate() {
            if self.wanted >> channel & 1 == 0 {
                continue;
            }
            let mut taps = [Lanes::ZERO; 4];
            for (raw, tap) in raw.iter().zip(&mut taps) {
                let field = raw.map(|word| word >> (8 * channel) & 0xff);
                *tap = format.decode_field(channel, 8, &field);
            }
            let (above, below) = ((&taps[0], &taps[1]), (&taps[2], &taps[3]));
            *out = mixed(above, below, weights, [true; 2]);
        }
        true
    }
}

impl Axis {
    #[inline(always)]
    fn single(texels: Lanes, numbers: Lanes) -> Self {
        Axis {
            texels: [texels; 2],
            numbers: [numbers; 2],
        }
    }
}

/// Filters texels of four bytes, row by row, by weights in units of 1/256. Floats would do it without rounding, too.
#[inline(always)]
fn blend(raw: &[Lanes; 4], across: &Lanes, down: &Lanes, out: &mut [Lanes; 4]) {
    for lane in 0..32 {
        let (right, below) = (across.0[lane], down.0[lane]);
        let (left, above) = (256 - right, 256 - below);
        for pair in 0..2 {
            // Two channels at a time, with 16 bits for each.
            let two = |tap: usize| raw[tap].0[lane] >> (8 * pair) & 0x00ff_00ff;
            let top = two(0)
                .wrapping_mul(left)
                .wrapping_add(two(1).wrapping_mul(right));
            let low = two(2)
                .wrapping_mul(left)
                .wrapping_add(two(3).wrapping_mul(right));
            for half in 0..2 {
                let of = |row: u32| row >> (16 * half) & 0xffff;
                let sum = of(top) * above + of(low) * below;
                let value = sum as i32 as f32 * (1.0 / 65536.0);
                out[pair as usize + 2 * half as usize].0[lane] = value.to_bits();
            }
        }
    }
}
