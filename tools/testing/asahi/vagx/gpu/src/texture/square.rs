// SPDX-License-Identifier: MIT OR Apache-2.0

//! The texels that a filter reads: squares of two by two.

use super::cube;
use super::filter::Sampling;
use super::real::Reals;
use super::wrap::Axis;
use super::{Port, Texture, Trouble};
use crate::exec::Lanes;
use crate::image::codec::Format;
use crate::image::compression::{Texels, part};
use crate::image::{Dimension, Image, read};

/// Four texels, row by row, of four channels each.
pub(super) type Square = [[Lanes; 4]; 4];

/// What of the texels' addresses depends on rows and columns alone, when all lanes are in one level.
struct Grid<'a> {
    level: usize,
    layers: &'a Lanes,
    columns: [Lanes; 2],
    rows: [Lanes; 2],
    start: [u64; 32],
    units: Option<Units>,
}

/// The same of the metadata of a level that is compressed.
struct Units {
    columns: [Lanes; 2],
    rows: [Lanes; 2],
    start: [u64; 32],
}

impl<'a> Grid<'a> {
    /// None if lanes are in several levels.
    #[inline(always)]
    fn new(
        image: &Image,
        lanes: u32,
        level: &Lanes,
        axes: &[Axis; 3],
        layers: &'a Lanes,
    ) -> Option<Self> {
        let first = level.0[lanes.trailing_zeros() as usize % 32];
        let mut others = 0;
        for lane in 0..32 {
            others |= u32::from(level.0[lane] != first) << lane;
        }
        if others & lanes != 0 {
            return None;
        }
        let number = first as usize;
        let layout = &image.layout;
        let level = &layout.levels[number % layout.levels.len()];
        let (x, y) = (&axes[0].texels, &axes[1].texels);
        let mut grid = Grid {
            level: number,
            layers,
            // No `map` of arrays: it is not always inlined, and then it is compiled without the features of this build.
            columns: [
                x[0].map(|x| layout.column(level, x)),
                x[1].map(|x| layout.column(level, x)),
            ],
            rows: [
                y[0].map(|y| layout.row(level, y)),
                y[1].map(|y| layout.row(level, y)),
            ],
            start: [0; 32],
            units: None,
        };
        for lane in 0..32 {
            let offset = layout.offset_of(level, layers.0[lane], 0);
            grid.start[lane] = image.base.wrapping_add(offset);
        }
        if level.metadata.is_some() {
            let mut units = Units {
                columns: [
                    x[0].map(|x| layout.unit_column(level, x)),
                    x[1].map(|x| layout.unit_column(level, x)),
                ],
                rows: [
                    y[0].map(|y| layout.unit_row(level, y)),
                    y[1].map(|y| layout.unit_row(level, y)),
                ],
                start: [0; 32],
            };
            for lane in 0..32 {
                let offset = layout.metadata_of(level, layers.0[lane]).unwrap_or(0);
                units.start[lane] = image.metadata.wrapping_add(offset);
            }
            grid.units = Some(units);
        }
        Some(grid)
    }

    #[inline(always)]
    fn texels(
        &self,
        image: &Image,
        port: &mut Port<'_, '_>,
        lanes: u32,
        (column, row): (usize, usize),
        raw: &mut [Lanes; 4],
    ) -> Result<(), Trouble> {
        let bytes = image.format.bytes();
        let shift = bytes.trailing_zeros();
        let numbers = self.columns[column].zip(self.rows[row], |column, row| {
            image.layout.number(column.wrapping_add(row), 0)
        });
        let mut va = [0; 32];
        for lane in 0..32 {
            let offset = u64::from(numbers.0[lane]) << shift;
            va[lane] = self.start[lane].wrapping_add(offset);
        }
        let Some(units) = &self.units else {
            return read(port.memory, bytes, lanes, &va, raw).map_err(Trouble::Unmapped);
        };
        let mut texels = Texels {
            level: self.level,
            layers: self.layers,
            numbers,
            parts: [0; 32],
        };
        for lane in 0..32 {
            let unit = units.columns[column].0[lane].wrapping_add(units.rows[row].0[lane]);
            let part = part(unit, texels.numbers.0[lane]);
            texels.parts[lane] = units.start[lane].wrapping_add(part);
        }
        image
            .read_parts(port.memory, port.unknown, lanes, &texels, &mut va, raw)
            .map_err(Trouble::Unmapped)
    }
}

impl Sampling<'_> {
    /// The texels at a square of coordinates: of two columns, from two rows. Those without weight are not read.
    #[inline(always)]
    pub(super) fn square(
        &self,
        port: &mut Port<'_, '_>,
        lanes: u32,
        level: &Lanes,
        axes: &[Axis; 3],
        slice: usize,
        texels: &mut Square,
    ) -> Result<(), Trouble> {
        let image = &self.texture.image;
        let first = image.first_level;
        let absolute = level.map(|level| level + first);
        let all = self.request.gather.is_some();
        let across = all || used(&axes[0].weight, lanes);
        let down = all || used(&axes[1].weight, lanes);
        let layer = match self.request.dim {
            Dimension::D3 => &axes[2].texels[slice],
            _ => &self.layer,
        };
        let size = self.texture.sizes(level)[0];
        let edge = self.seamless && beyond(axes, &size, lanes);
        let grid = match edge {
            true => None,
            false => Grid::new(image, lanes, &absolute, axes, layer),
        };
        let mut corners = [0; 4];
        for tap in 0..4 {
            let (column, row) = (tap & 1, tap >> 1);
            if (column == 1 && !across) || (row == 1 && !down) {
                continue;
            }
            let mut border = Lanes::ZERO;
            let mut outside = 0;
            if self.bordered {
                border = axes[0].border[column]
                    .zip(axes[1].border[row], |a, b| a | b)
                    .zip(axes[2].border[slice], |a, b| a | b);
                outside = border.to_bits() & lanes;
            }
            let mut raw = [Lanes::ZERO; 4];
            if let Some(grid) = &grid {
                grid.texels(image, port, lanes & !outside, (column, row), &mut raw)?;
            } else {
                let mut x = axes[0].texels[column];
                let mut y = axes[1].texels[row];
                let mut z = *layer;
                if edge {
                    corners[tap] = around(&mut x, &mut y, &mut z, &size, lanes);
                }
                let inside = lanes & !outside & !corners[tap];
                raw = port.texels(self.texture, inside, &absolute, [&x, &y, &z, &Lanes::ZERO])?;
            }
            let texel = &mut texels[tap];
            self.decode(&image.format, &raw, texel);
            if outside != 0 {
                for (texel, &colour) in texel.iter_mut().zip(&self.border) {
                    *texel = Lanes::splat(colour).select(*texel, border);
                }
            }
            if let Some((compare, reference)) = &self.compare {
                let passed =
                    reference.test(Reals::from_bits(&texel[0]), |r, t| compare.holds(r, t));
                texel[0] = passed.map(|p| p & 1f32.to_bits());
            }
        }
        if corners != [0; 4] {
            self.fill_corners(texels, corners);
        }
        Ok(())
    }

    /// Channels of texels that are wanted; normalised numbers that are to be filtered stay integers until then.
    #[inline(always)]
    pub(super) fn decode(&self, format: &Format, raw: &[Lanes; 4], texel: &mut [Lanes; 4]) {
        if self.request.gather.is_some() {
            *texel = format.decode(raw);
            return;
        }
        if self.scale.is_none() {
            format.decode_some(raw, self.wanted, texel);
            return;
        }
        let mut at = 0;
        for (channel, bits) in format.channels.bits().into_iter().enumerate() {
            if bits != 0 && self.wanted >> channel & 1 != 0 {
                let word = &raw[at as usize / 32 % 4];
                let (shift, mask) = (at % 32, u32::MAX >> (32 - bits));
                texel[channel] = word.map(|word| ((word >> shift & mask) as i32 as f32).to_bits());
            }
            at += bits;
        }
    }

    /// Where three faces meet, the fourth texel is the mean of the others.
    #[cold]
    #[inline(never)]
    fn fill_corners(&self, texels: &mut Square, corners: [u32; 4]) {
        let integer = self.texture.is_integer() && self.compare.is_none();
        for lane in 0..32 {
            for tap in (0..4).filter(|&tap: &usize| corners[tap] >> lane & 1 != 0) {
                for channel in 0..4 {
                    let others = (1..4).map(|n| texels[tap ^ n][channel].0[lane]);
                    texels[tap][channel].0[lane] = if integer {
                        texels[tap ^ 1][channel].0[lane]
                    } else {
                        (others.map(f32::from_bits).sum::<f32>() / 3.0).to_bits()
                    };
                }
            }
        }
    }
}

impl Port<'_, '_> {
    /// Raw texels of any levels and layers.
    #[inline(always)]
    pub(super) fn texels(
        &mut self,
        texture: &Texture,
        lanes: u32,
        level: &Lanes,
        at: [&Lanes; 4],
    ) -> Result<[Lanes; 4], Trouble> {
        if lanes != 0 && !texture.image.format.exists() {
            return Err(Trouble::Unknown("texels of three words"));
        }
        texture
            .image
            .fetch(self.memory, self.unknown, lanes, level, at)
            .map_err(Trouble::Unmapped)
    }
}

/// Whether some texel is beyond an edge of its face.
#[inline(always)]
fn beyond(axes: &[Axis; 3], size: &Lanes, lanes: u32) -> bool {
    let mut out = Lanes::ZERO;
    for axis in &axes[..2] {
        for texels in &axis.texels {
            let beyond = texels.zip(size, |c, n| u32::from(c >= n).wrapping_neg());
            out = out.zip(beyond, |a, b| a | b);
        }
    }
    out.to_bits() & lanes != 0
}

/// Moves texels beyond the edge of a face to the face that they are on; returns the lanes at corners.
#[inline(always)]
fn around(x: &mut Lanes, y: &mut Lanes, face: &mut Lanes, size: &Lanes, lanes: u32) -> u32 {
    let out = x
        .zip3(*y, size, |x, y, n| {
            u32::from(x >= n || y >= n).wrapping_neg()
        })
        .to_bits()
        & lanes;
    let mut corners = 0;
    let mut left = out;
    while left != 0 {
        let lane = left.trailing_zeros() as usize % 32;
        left &= left - 1;
        let at = [x.0[lane] as i32, y.0[lane] as i32];
        let (cube, side) = (face.0[lane] / 6, face.0[lane] % 6);
        match cube::neighbour(side, at, size.0[lane] as i32) {
            Some((side, [u, v])) => {
                (x.0[lane], y.0[lane]) = (u, v);
                face.0[lane] = cube * 6 + side;
            }
            None => corners |= 1 << lane,
        }
    }
    corners
}

/// Whether any of the lanes has a weight.
#[inline(always)]
pub(super) fn used(weight: &Reals, lanes: u32) -> bool {
    weight
        .test(Reals::ZERO, |weight, zero| weight != zero)
        .to_bits()
        & lanes
        != 0
}
