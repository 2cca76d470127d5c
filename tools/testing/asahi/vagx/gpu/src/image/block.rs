// SPDX-License-Identifier: MIT OR Apache-2.0

//! The imageblock: memory of a tile, or of a workgroup, that holds samples of pixels (Mesa,
//! `src/asahi/lib/agx_tilebuffer.c`; in fragment programs it is the tilebuffer).
//!
//! Where samples lie in it, no program can see. Here they lie word by word: the first words of all samples, then the
//! second, and so on. Pixels are in Morton order, which is that of quads and of images, so that the pixels of a tile are
//! copied as they are; those samples of a pixel are neighbours.

use super::layout::interleave;
use super::rect::{Cells, Order};
use crate::exec::{Lanes, mask};

/// Memory for the pixels of a tile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Imageblock {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// 1, 2 or 4.
    pub(crate) samples: u32,
    /// Samples of all pixels: a power of two.
    count: usize,
    data: Vec<u32>,
    /// The pixel of the framebuffer that its upper left corner is, and the layer.
    pub(crate) origin: [u32; 2],
    pub(crate) layer: u32,
}

impl Imageblock {
    /// `stride` is the number of bytes of a sample. Sizes that hardware does not have become such as it has.
    pub(crate) fn new(width: u32, height: u32, samples: u32, stride: u32) -> Imageblock {
        let power = |n: u32, most| n.clamp(1, most).next_power_of_two();
        let height = power(height, 32).max(8);
        let width = power(width, 32).clamp(height, 2 * height);
        let samples = power(samples, 4);
        let words = stride.div_ceil(4).min(32) as usize;
        let count = (width * height * samples) as usize;
        Imageblock {
            width,
            height,
            samples,
            count,
            data: vec![0; count * words],
            ..Imageblock::default()
        }
    }

    /// As the state word "Shared" describes it; none if that describes ordinary local memory.
    pub(crate) fn shared(word: u32) -> Option<Imageblock> {
        let (width, height) = match word >> 10 & 0x3f {
            0x2f => (32, 32),
            0x3f => (32, 16),
            0x36 => (16, 16),
            _ => return None,
        };
        let samples = 1 << (word >> 16 & 3);
        let stride = match word >> 20 & 0xf {
            0 => 16,
            n => n,
        } * 8;
        Some(Imageblock::new(width, height, samples, stride))
    }

    /// Fills it with zeroes.
    pub(crate) fn clear(&mut self) {
        self.data.fill(0);
    }

    /// Makes all pixels the same as the first one.
    pub(crate) fn replicate(&mut self) {
        let samples = self.samples as usize;
        for plane in self.data.chunks_exact_mut(self.count) {
            if samples == 1 {
                let first = plane[0];
                plane.fill(first);
            } else {
                let (first, rest) = plane.split_at_mut(samples);
                for pixel in rest.chunks_exact_mut(samples) {
                    pixel.copy_from_slice(first);
                }
            }
        }
    }

    /// Takes over all samples of another block of the same size.
    pub(crate) fn copy_samples(&mut self, from: &Imageblock) {
        self.data.clone_from(&from.data);
    }

    /// The lanes of `active` whose pixels exist, and for each the number of its pixel's first sample.
    #[inline(always)]
    pub(crate) fn places(&self, active: u32, x: &Lanes, y: &Lanes) -> (u32, Lanes) {
        // Both are powers of two.
        let (width, height) = (self.width, self.height);
        let beyond = x.zip(y, |x, y| (x & !(width - 1)) | (y & !(height - 1)));
        let inside = match beyond.0.iter().fold(0, |any, beyond| any | beyond) {
            0 => u32::MAX,
            _ => beyond.map(|beyond| mask(beyond == 0)).to_bits(),
        };
        let shift = self.samples.trailing_zeros();
        (
            active & inside,
            x.zip(y, |x, y| interleave(x & 31, y & 31) << shift),
        )
    }

    #[inline(always)]
    fn plane(&self, word: usize) -> Option<&[u32]> {
        let start = word.checked_mul(self.count)?;
        self.data.get(start..start.checked_add(self.count)?)
    }

    /// A word of the samples that `places` gave and those numbers were added to. What is not there is zero.
    #[inline(always)]
    pub(crate) fn get(&self, word: usize, active: u32, places: &Lanes) -> Lanes {
        let mut out = Lanes::ZERO;
        let Some(plane) = self.plane(word) else {
            return out;
        };
        let last = plane.len() - 1;
        if active == u32::MAX && in_quads(places) {
            for quad in 0..8 {
                let start = places.0[4 * quad] as usize & last;
                if let Some(from) = plane.get(start..start + 4) {
                    out.0[4 * quad..4 * quad + 4].copy_from_slice(from);
                }
            }
            return out;
        }
        for lane in 0..32 {
            if active >> lane & 1 != 0 {
                out.0[lane] = plane[places.0[lane] as usize & last];
            }
        }
        out
    }

    /// Writes the bits of `mask` in a word of samples. What is not there is dropped.
    #[inline(always)]
    pub(crate) fn put(
        &mut self,
        word: usize,
        mask: u32,
        active: u32,
        places: &Lanes,
        value: &Lanes,
    ) {
        let start = word.wrapping_mul(self.count);
        let Some(plane) = self.data.get_mut(start..start.wrapping_add(self.count)) else {
            return;
        };
        let last = plane.len() - 1;
        if active == u32::MAX && in_quads(places) {
            for quad in 0..8 {
                let start = places.0[4 * quad] as usize & last;
                if let Some(to) = plane.get_mut(start..start + 4) {
                    for (lane, to) in to.iter_mut().enumerate() {
                        *to = (*to & !mask) | (value.0[4 * quad + lane] & mask);
                    }
                }
            }
            return;
        }
        for lane in 0..32 {
            if active >> lane & 1 != 0 {
                let word = &mut plane[places.0[lane] as usize & last];
                *word = (*word & !mask) | (value.0[lane] & mask);
            }
        }
    }

    /// Up to 16 bytes of one sample from `offset` on, as little-endian words.
    pub(crate) fn load(&self, x: u32, y: u32, sample: u32, offset: u32, size: u32) -> [u32; 4] {
        let (active, places) = self.places(1, &Lanes::splat(x), &Lanes::splat(y));
        let places = places.map(|place| place + sample % self.samples);
        let (first, low) = (offset as usize / 4, offset % 4 * 8);
        let word = |w| u64::from(self.get(first + w, active, &places).0[0]);
        let mut words = [0, 1, 2, 3].map(|w| ((word(w) | word(w + 1) << 32) >> low) as u32);
        for (at, word) in (0..).step_by(4).zip(&mut words) {
            let bits = size.saturating_sub(at).min(4) * 8;
            *word &= u32::MAX.checked_shr(32 - bits).unwrap_or(0);
        }
        words
    }

    /// Words of a rectangle's samples, of which (`x`, `y`) is the texel that the block's upper left corner is.
    #[inline(always)]
    pub(crate) fn cells(&self, cells: &Cells, [x, y]: [u32; 2], word: usize) -> Lanes {
        let (dx, dy) = (cells.x.wrapping_sub(x), cells.y.wrapping_sub(y));
        match cells.order {
            Order::Morton { first } => {
                let start = (interleave(dx & 31, dy & 31) * self.samples + first) as usize;
                let found = self
                    .plane(word)
                    .and_then(|plane| plane.get(start..)?.first_chunk());
                found.map_or(Lanes::ZERO, |words| Lanes(*words))
            }
            Order::Row { sample } => {
                let mut column = Lanes::ZERO;
                for lane in 0..32 {
                    column.0[lane] = dx.wrapping_add(lane as u32);
                }
                let (active, places) = self.places(cells.active, &column, &Lanes::splat(dy));
                self.get(word, active, &places.map(|p| p + sample))
            }
        }
    }
}

/// Whether every four lanes have neighbours in memory, as the pixels of a quad are if they have one sample.
#[inline(always)]
fn in_quads(places: &Lanes) -> bool {
    let mut differ = 0;
    for lane in 0..32 {
        differ |= places.0[lane] ^ (places.0[lane & !3] + (lane & 3) as u32);
    }
    differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_keep_to_their_place() {
        let mut block = Imageblock::new(16, 16, 4, 16);
        let x = Lanes(std::array::from_fn(|lane| lane as u32));
        let (active, places) = block.places(u32::MAX, &x, &Lanes::splat(5));
        assert_eq!(active, 0xffff);
        let second = places.map(|p| p + 1);
        block.put(
            2,
            0xffff_0000,
            active & 0xf0,
            &second,
            &Lanes::splat(0x1234_5678),
        );
        let got = block.get(2, active, &second);
        assert_eq!((got.0[3], got.0[4], got.0[16]), (0, 0x1234_0000, 0));
        assert_eq!(block.get(2, active, &places), Lanes::ZERO);
        // There is no fifth word.
        block.put(4, u32::MAX, active, &places, &Lanes::splat(1));
        assert_eq!(block.get(4, active, &places), Lanes::ZERO);
        let sum = |block: &Imageblock| block.data.iter().filter(|&&w| w != 0).count();
        assert_eq!(sum(&block), 4);
        block.replicate();
        assert_eq!(sum(&block), 0);
        block.put(1, u32::MAX, 1, &Lanes::splat(3), &Lanes::splat(9));
        block.replicate();
        assert_eq!(block.get(1, active, &places), Lanes::ZERO);
        assert_eq!(sum(&block), 16 * 16);
        assert_eq!(block.load(15, 15, 3, 2, 6), [9 << 16, 0, 0, 0]);
        assert_eq!(block.load(15, 15, 3, 3, 2), [9 << 8, 0, 0, 0]);
        let mut copy = Imageblock::new(16, 16, 4, 16);
        copy.copy_samples(&block);
        assert_eq!(copy.data, block.data);
        block.clear();
        assert_eq!(sum(&block), 0);
    }

    #[test]
    fn state_word() {
        let block = Imageblock::shared(0x4d | 1 << 8 | 0x3f << 10 | 1 << 16 | 2 << 20).unwrap();
        assert_eq!((block.width, block.height), (32, 16));
        assert_eq!((block.samples, block.data.len() / block.count), (2, 4));
        assert!(Imageblock::shared(0x4d | 0x24 << 10).is_none());
    }
}
