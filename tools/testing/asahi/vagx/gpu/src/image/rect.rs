// SPDX-License-Identifier: MIT OR Apache-2.0

//! Rectangles of texels that are written or read as a whole, as tiles are.

use super::{Image, write};
use crate::exec::Lanes;
use crate::memory::Memory;

/// A rectangle of one level and layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rect {
    pub(crate) level: usize,
    pub(crate) layer: u32,
    /// Texel of its upper left corner.
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// Up to 32 texels in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The first of them.
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) sample: u32,
    /// Lanes that are texels.
    pub(crate) active: u32,
}

impl Rect {
    /// Without what is outside of the image.
    fn clipped(&self, image: &Image) -> Option<Rect> {
        let [width, height, _] = image.level_size(self.level as u32);
        let inside = self.x < width && self.y < height && self.layer < image.slices(self.level);
        inside.then(|| Rect {
            width: self.width.min(width - self.x),
            height: self.height.min(height - self.y),
            ..*self
        })
    }

    /// All of it, sample by sample and row by row.
    fn rows(&self, samples: u32) -> impl Iterator<Item = Row> + use<> {
        let rect = *self;
        (0..samples).flat_map(move |sample| {
            (0..rect.height).flat_map(move |y| {
                (0..rect.width).step_by(32).map(move |x| Row {
                    x: rect.x + x,
                    y: rect.y + y,
                    sample,
                    active: u32::MAX >> (32 - (rect.width - x).min(32)),
                })
            })
        })
    }
}

impl Row {
    fn coordinates(&self, layer: u32) -> [Lanes; 4] {
        let mut x = Lanes::ZERO;
        for lane in 0..32 {
            x.0[lane] = self.x.wrapping_add(lane as u32);
        }
        [
            x,
            Lanes::splat(self.y),
            Lanes::splat(layer),
            Lanes::splat(self.sample),
        ]
    }
}

impl Image {
    /// Layers of arrays, or slices of a level of a 3D image.
    pub(crate) fn slices(&self, level: usize) -> u32 {
        match self.dim {
            super::Dimension::D3 => self.level_size(level as u32)[2],
            _ => self.layers(),
        }
    }

    /// Writes what `texels` gives for each row of a rectangle; what is outside of the image is not asked for. The error
    /// is the address that could not be written.
    pub(crate) fn write_rect(
        &self,
        memory: &mut Memory<'_>,
        unknown: &mut u64,
        rect: &Rect,
        mut texels: impl FnMut(&Row) -> [Lanes; 4],
    ) -> Result<(), u64> {
        let Some(clipped) = rect.clipped(self) else {
            return Ok(());
        };
        if self.compressed(rect.level) {
            self.open_units(memory, unknown, &clipped)?;
        }
        for row in clipped.rows(self.samples) {
            let at = row.coordinates(rect.layer);
            let at = [&at[0], &at[1], &at[2], &at[3]];
            let mut va = self.layout.offsets(rect.level, at);
            for va in &mut va {
                *va = va.wrapping_add(self.base);
            }
            write(memory, self.format.bytes(), row.active, &va, &texels(&row))?;
        }
        Ok(())
    }

    /// Gives all rows of a rectangle to `texels`, but for what is outside of the image. The error is the address that
    /// could not be read.
    pub(crate) fn read_rect(
        &self,
        memory: &mut Memory<'_>,
        unknown: &mut u64,
        rect: &Rect,
        mut texels: impl FnMut(&Row, &[Lanes; 4]),
    ) -> Result<(), u64> {
        let Some(clipped) = rect.clipped(self) else {
            return Ok(());
        };
        let level = Lanes::splat(rect.level as u32);
        for row in clipped.rows(self.samples) {
            let at = row.coordinates(rect.layer);
            let at = [&at[0], &at[1], &at[2], &at[3]];
            let raw = self.fetch(memory, unknown, row.active, &level, at)?;
            texels(&row, &raw);
        }
        Ok(())
    }

    /// Makes the units of lossless compression in a clipped rectangle such that texels can be written as they are. Those
    /// that are written as a whole need not be read.
    fn open_units(
        &self,
        memory: &mut Memory<'_>,
        unknown: &mut u64,
        rect: &Rect,
    ) -> Result<(), u64> {
        let [width, height, _] = self.level_size(rect.level as u32);
        let (wide, high) = (
            16 >> u32::from(self.samples == 4),
            16 >> u32::from(self.samples >= 2),
        );
        let (right, bottom) = (rect.x + rect.width, rect.y + rect.height);
        for y in (rect.y / high * high..bottom).step_by(high as usize) {
            for x in (rect.x / wide * wide..right).step_by(wide as usize) {
                let whole = x >= rect.x
                    && y >= rect.y
                    && (x + wide).min(width) <= right
                    && (y + high).min(height) <= bottom;
                if !whole {
                    self.uncompress(memory, unknown, rect.level, [x, y, rect.layer, 0])?;
                } else if let Some(unit) = self.layout.unit(rect.level, x, y, rect.layer, 0) {
                    self.mark_plain(memory, &unit)?;
                }
            }
        }
        Ok(())
    }
}
