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

/// Up to 32 texels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cells {
    /// The first of a row, or the upper left corner of a square.
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) order: Order,
    /// Lanes that are texels.
    pub(crate) active: u32,
}

/// Which texels these are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// One sample of texels side by side.
    Row { sample: u32 },
    /// Samples of a square of 8×8 texels in Morton order, from that number on; the samples of a texel follow each other.
    Morton { first: u32 },
}

/// What is written to a rectangle. This is not a function so that it is compiled for the same CPU as who writes.
pub(crate) trait Texels {
    /// Raw texels. Of what is outside of the image, little is asked for.
    fn get(&mut self, cells: &Cells) -> [Lanes; 4];

    /// The same for all 32 texels, as they lie side by side.
    #[inline(always)]
    fn put(&mut self, cells: &Cells, bytes: u32, words: &mut [u32]) {
        together(bytes, &self.get(cells), words);
    }
}

/// Texels along each side of the squares.
const SIDE: u32 = 8;

impl Cells {
    /// Texel and sample of a lane, for an image with so many samples.
    #[inline(always)]
    pub(crate) fn place(&self, samples: u32, lane: u32) -> (u32, u32, u32) {
        match self.order {
            Order::Row { sample } => (self.x + lane, self.y, sample),
            Order::Morton { first } => {
                let number = first + lane;
                let pixel = number / samples;
                let bit = |n: u32| pixel >> n & 1;
                let x = bit(0) | bit(2) << 1 | bit(4) << 2;
                let y = bit(1) | bit(3) << 1 | bit(5) << 2;
                (self.x + x, self.y + y, number % samples)
            }
        }
    }
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
    fn rows(&self, samples: u32) -> impl Iterator<Item = Cells> + use<> {
        let rect = *self;
        (0..samples).flat_map(move |sample| {
            (0..rect.height).flat_map(move |y| {
                (0..rect.width).step_by(32).map(move |x| Cells {
                    x: rect.x + x,
                    y: rect.y + y,
                    order: Order::Row { sample },
                    active: u32::MAX >> (32 - (rect.width - x).min(32)),
                })
            })
        })
    }

    /// The upper left corners of all squares that are at least partly inside.
    fn squares(&self) -> impl Iterator<Item = (u32, u32)> + use<> {
        let rect = *self;
        (0..rect.height).step_by(SIDE as usize).flat_map(move |y| {
            let columns = (0..rect.width).step_by(SIDE as usize);
            columns.map(move |x| (rect.x + x, rect.y + y))
        })
    }
}

impl Cells {
    fn coordinates(&self, samples: u32, layer: u32) -> [Lanes; 4] {
        let mut at = [Lanes::ZERO; 4];
        for lane in 0..32 {
            let (x, y, sample) = self.place(samples, lane as u32);
            (at[0].0[lane], at[1].0[lane]) = (x, y);
            (at[2].0[lane], at[3].0[lane]) = (layer, sample);
        }
        at
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

    /// Whether squares of 8×8 texels lie together in a level and in a rectangle of it, so that they are written and read
    /// at once. Where an image ends inside of a square, there is memory all the same.
    fn in_squares(&self, rect: &Rect, clipped: &Rect) -> bool {
        let aligned = rect.x.is_multiple_of(SIDE) && rect.y.is_multiple_of(SIDE);
        // What the rectangle leaves out must not be touched, and what the image does not have may be.
        let [width, height, _] = self.level_size(rect.level as u32);
        let ends = |at: u32, size: u32, end: u32| size.is_multiple_of(SIDE) || at + size == end;
        aligned
            && ends(clipped.x, clipped.width, width)
            && ends(clipped.y, clipped.height, height)
            && self.layout.levels[rect.level % super::layout::LEVELS].square() >= SIDE
    }

    /// Writes what `texels` gives for each part of a rectangle. The error is the address that could not be written.
    #[inline(always)]
    pub(crate) fn write_rect(
        &self,
        memory: &mut Memory<'_>,
        unknown: &mut u64,
        rect: &Rect,
        mut texels: impl Texels,
    ) -> Result<(), u64> {
        let Some(clipped) = rect.clipped(self) else {
            return Ok(());
        };
        if self.compressed(rect.level) {
            self.open_units(memory, unknown, &clipped)?;
        }
        let bytes = self.format.bytes();
        if self.in_squares(rect, &clipped) {
            let mut words = [0; 32 * 4];
            let words = &mut words[..(8 * bytes) as usize];
            let count = SIDE * SIDE * self.samples;
            for (x, y) in clipped.squares() {
                let offset = self.layout.offset(rect.level, x, y, rect.layer, 0);
                let va = self.base.wrapping_add(offset);
                for first in (0..count).step_by(32) {
                    let cells = Cells {
                        x,
                        y,
                        order: Order::Morton { first },
                        active: u32::MAX,
                    };
                    texels.put(&cells, bytes, words);
                    memory.write_words(va.wrapping_add((first * bytes).into()), words)?;
                }
            }
            return Ok(());
        }
        for row in clipped.rows(self.samples) {
            let at = row.coordinates(1, rect.layer);
            let at = [&at[0], &at[1], &at[2], &at[3]];
            let mut va = self.layout.offsets(rect.level, at);
            for va in &mut va {
                *va = va.wrapping_add(self.base);
            }
            let raw = texels.get(&row);
            let size = row.active.count_ones() * bytes;
            // Only where tiles are no wider than a texel do rows lie together.
            if va[31].wrapping_sub(va[0]) == u64::from(31 * bytes) && size.is_multiple_of(4) {
                let mut words = [0; 32 * 4];
                together(bytes, &raw, &mut words[..(8 * bytes) as usize]);
                memory.write_words(va[0], &words[..size as usize / 4])?;
            } else {
                write(memory, bytes, row.active, &va, &raw)?;
            }
        }
        Ok(())
    }

    /// Gives all of a rectangle to `texels`, part by part, but for what is outside of the image. The error is the address
    /// that could not be read.
    pub(crate) fn read_rect(
        &self,
        memory: &mut Memory<'_>,
        unknown: &mut u64,
        rect: &Rect,
        mut texels: impl FnMut(&Cells, &[Lanes; 4]),
    ) -> Result<(), u64> {
        let Some(clipped) = rect.clipped(self) else {
            return Ok(());
        };
        let bytes = self.format.bytes();
        let level = Lanes::splat(rect.level as u32);
        if self.in_squares(rect, &clipped) {
            let mut words = [0; SQUARE_WORDS];
            let count = SIDE * SIDE * self.samples;
            let used = (count * bytes / 4) as usize;
            let (right, bottom) = (clipped.x + clipped.width, clipped.y + clipped.height);
            for (x, y) in clipped.squares() {
                // A square is never in more than one unit of compression.
                let plain = match self.layout.unit(rect.level, x, y, rect.layer, 0) {
                    Some(unit) => self.is_plain(memory, &unit)?,
                    None => true,
                };
                if plain {
                    let offset = self.layout.offset(rect.level, x, y, rect.layer, 0);
                    memory.read_words(self.base.wrapping_add(offset), &mut words[..used])?;
                }
                for first in (0..count).step_by(32) {
                    let mut cells = Cells {
                        x,
                        y,
                        order: Order::Morton { first },
                        active: u32::MAX,
                    };
                    if x + SIDE > right || y + SIDE > bottom {
                        for lane in 0..32 {
                            let (x, y, _) = cells.place(self.samples, lane);
                            let inside = x < right && y < bottom;
                            cells.active &= !(u32::from(!inside) << lane);
                        }
                    }
                    if plain {
                        let from = (first * bytes / 4) as usize;
                        texels(
                            &cells,
                            &apart(bytes, &words[from..][..(8 * bytes) as usize]),
                        );
                    } else {
                        let at = cells.coordinates(self.samples, rect.layer);
                        let at = [&at[0], &at[1], &at[2], &at[3]];
                        let raw = self.fetch(memory, unknown, cells.active, &level, at)?;
                        texels(&cells, &raw);
                    }
                }
            }
            return Ok(());
        }
        for row in clipped.rows(self.samples) {
            let at = row.coordinates(1, rect.layer);
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

/// Words of the largest square.
const SQUARE_WORDS: usize = (SIDE * SIDE * 4 * 4) as usize;

/// 32 raw texels as they lie side by side.
#[inline(always)]
pub(crate) fn together(bytes: u32, raw: &[Lanes; 4], words: &mut [u32]) {
    let texels = &raw[0].0;
    match bytes {
        1 => {
            for (word, t) in words.iter_mut().zip(texels.as_chunks::<4>().0) {
                *word = t[0] & 0xff | (t[1] & 0xff) << 8 | (t[2] & 0xff) << 16 | t[3] << 24;
            }
        }
        2 => {
            for (word, t) in words.iter_mut().zip(texels.as_chunks::<2>().0) {
                *word = t[0] & 0xffff | t[1] << 16;
            }
        }
        4 => weave::<1>(raw, words),
        8 => weave::<2>(raw, words),
        _ => weave::<4>(raw, words),
    }
}

/// The same for texels of N words.
#[inline(always)]
fn weave<const N: usize>(raw: &[Lanes; 4], words: &mut [u32]) {
    for (i, to) in (0..32).zip(words.as_chunks_mut::<N>().0) {
        *to = std::array::from_fn(|word| raw[word].0[i]);
    }
}

/// The counterpart.
#[inline(always)]
fn apart(bytes: u32, words: &[u32]) -> [Lanes; 4] {
    let mut raw = [Lanes::ZERO; 4];
    let texels = &mut raw[0].0;
    match bytes {
        1 => {
            for (t, &word) in texels.as_chunks_mut::<4>().0.iter_mut().zip(words) {
                *t = [word & 0xff, word >> 8 & 0xff, word >> 16 & 0xff, word >> 24];
            }
        }
        2 => {
            for (t, &word) in texels.as_chunks_mut::<2>().0.iter_mut().zip(words) {
                *t = [word & 0xffff, word >> 16];
            }
        }
        4 => unweave::<1>(words, &mut raw),
        8 => unweave::<2>(words, &mut raw),
        _ => unweave::<4>(words, &mut raw),
    }
    raw
}

#[inline(always)]
fn unweave<const N: usize>(words: &[u32], raw: &mut [Lanes; 4]) {
    for (i, from) in (0..32).zip(words.as_chunks::<N>().0) {
        for (word, raw) in from.iter().zip(&mut *raw) {
            raw.0[i] = *word;
        }
    }
}
