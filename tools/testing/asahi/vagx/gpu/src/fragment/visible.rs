// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is visible of opaque primitives: for each sample the last one that passed its tests there. Only that is shaded,
//! once something is drawn that depends on colours, or at the end of the tile. Hardware does so too; Mesa tells it by the
//! pass type whether a draw replaces what is behind it without looking at it (`src/asahi/lib/agx_linker.c`).

use super::group::Quad;
use super::outline::BLOCK;
use super::zs::PIXELS;
use crate::exec::{Cpu, by_cpu};

/// The visible primitives of a tile, by block and sample.
#[derive(Default)]
pub(super) struct Visible {
    /// Numbers of primitives.
    tags: Vec<[u32; PIXELS]>,
    /// Pixels that have one.
    marked: Vec<u64>,
    /// Blocks in a row of the tile.
    across: usize,
    samples: usize,
    any: bool,
}

impl Visible {
    pub(super) fn new(width: usize, height: usize, samples: usize) -> Self {
        let (across, down) = (width.div_ceil(8), height.div_ceil(8));
        let count = across * down * samples;
        Visible {
            tags: vec![[0; PIXELS]; count],
            marked: vec![0; count],
            across,
            samples,
            any: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.any
    }

    /// Puts a primitive in front, in pixels of the block that holds (`x`, `y`).
    #[inline(always)]
    pub(super) fn put(&mut self, x: usize, y: usize, mask: &[u64; 4], tag: u32) {
        self.any = true;
        let first = (y / 8 * self.across + x / 8) * self.samples;
        for (sample, &mask) in mask.iter().enumerate().take(self.samples) {
            let tags = &mut self.tags[first + sample];
            self.marked[first + sample] |= mask;
            if mask == u64::MAX {
                tags.fill(tag);
                continue;
            }
            let mut left = mask;
            while left != 0 {
                tags[left.trailing_zeros() as usize] = tag;
                left &= left - 1;
            }
        }
    }

    /// Takes all that is visible, as quads of one primitive each.
    pub(super) fn take(&mut self, cpu: Cpu, quads: &mut Vec<Quad>) {
        self.any = false;
        by_cpu!(
            cpu,
            Visible::take_all,
            (visible: &mut Visible = self, quads: &mut Vec<Quad> = quads) -> ()
        );
    }

    #[inline(always)]
    fn take_all(&mut self, quads: &mut Vec<Quad>) {
        for block in 0..self.marked.len() / self.samples {
            let first = block * self.samples;
            let marked = &mut self.marked[first..first + self.samples];
            let any = marked.iter().fold(0, |any, marked| any | marked);
            if any == 0 {
                continue;
            }
            let tags = &self.tags[first..first + self.samples];
            let corner = [
                (block % self.across) as u32 * BLOCK as u32,
                (block / self.across) as u32 * BLOCK as u32,
            ];
            quads.reserve(PIXELS / 4);
            let pairs = any | any >> 1;
            // A bit for the upper left pixel of each quad.
            let mut left = (pairs | pairs >> 8) & 0x0055_0055_0055_0055;
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                let place = [corner[0] + bit % 8, corner[1] + bit / 8];
                if let ([marked], [tags]) = (&*marked, tags)
                    && let Some(quad) = whole(*marked, tags, bit, place)
                {
                    quads.push(quad);
                    continue;
                }
                split(marked, tags, bit, place, quads);
            }
            marked.fill(0);
        }
    }
}

/// The quad of 2 x 2 pixels of one sample, if one primitive is visible in all of them.
#[inline(always)]
fn whole(marked: u64, tags: &[u32; PIXELS], bit: u32, [x, y]: [u32; 2]) -> Option<Quad> {
    // The bit is in an even row and column.
    let at = (bit & 0x36) as usize;
    let tag = tags[at];
    let same = (tags[at + 1] ^ tag) | (tags[at + 8] ^ tag) | (tags[at + 9] ^ tag);
    (same == 0 && marked >> bit & 0x303 == 0x303).then_some(Quad {
        shown: Some(tag),
        x,
        y,
        coverage: [1; 4],
    })
}

/// Makes quads of the primitives that are visible in 2 x 2 pixels.
#[inline(always)]
fn split(
    marked: &[u64],
    tags: &[[u32; PIXELS]],
    bit: u32,
    [x, y]: [u32; 2],
    quads: &mut Vec<Quad>,
) {
    let pixels = [0, 1, 8, 9].map(|pixel| bit + pixel);
    let mut left = [0u8; 4];
    for (left, pixel) in left.iter_mut().zip(pixels) {
        for (sample, marked) in marked.iter().enumerate() {
            *left |= ((marked >> pixel & 1) as u8) << sample;
        }
    }
    while let Some(first) = left.iter().position(|&samples| samples != 0) {
        let sample = left[first].trailing_zeros() as usize;
        let tag = tags[sample][pixels[first] as usize];
        let mut coverage = [0u8; 4];
        for pixel in first..4 {
            for (sample, tags) in tags.iter().enumerate() {
                let same = left[pixel] >> sample & 1 != 0 && tags[pixels[pixel] as usize] == tag;
                coverage[pixel] |= u8::from(same) << sample;
            }
            left[pixel] &= !coverage[pixel];
        }
        quads.push(Quad {
            shown: Some(tag),
            x,
            y,
            coverage,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_is_visible() {
        let mut visible = Visible::new(16, 16, 2);
        assert!(visible.is_empty());
        visible.put(8, 0, &[u64::MAX, u64::MAX, 0, 0], 1);
        // One pixel of the first quad, one sample of it, and a whole quad.
        visible.put(8, 0, &[1 << 9, 0, 0, 0], 2);
        visible.put(8, 0, &[0x0c0c, 0x0c0c, 0, 0], 3);
        let mut quads = Vec::new();
        visible.take(Cpu::Baseline, &mut quads);
        assert!(visible.is_empty());
        assert_eq!(quads.len(), 17);
        let tag = |quad: &Quad| quad.shown.unwrap_or(0);
        assert_eq!((tag(&quads[0]), quads[0].coverage), (1, [3, 3, 3, 2]));
        assert_eq!((tag(&quads[1]), quads[1].coverage), (2, [0, 0, 0, 1]));
        assert_eq!((quads[1].x, quads[1].y), (8, 0));
        assert_eq!((tag(&quads[2]), quads[2].coverage), (3, [3; 4]));
        assert_eq!((quads[2].x, quads[2].y), (10, 0));
        quads.clear();
        visible.take(Cpu::Baseline, &mut quads);
        assert!(quads.is_empty());
    }
}
