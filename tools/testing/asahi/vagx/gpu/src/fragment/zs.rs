// SPDX-License-Identifier: MIT OR Apache-2.0

//! Depth and stencil of a tile, block after block: those of a sample of all 64 pixels lie together.

use super::outline::BLOCK;

/// Pixels of a block.
pub(super) const PIXELS: usize = (BLOCK * BLOCK) as usize;

#[derive(Clone, Debug)]
pub(super) struct DepthStencil {
    depth: Vec<[f32; PIXELS]>,
    stencil: Vec<[u8; PIXELS]>,
    /// Blocks in a row of the tile.
    across: usize,
    samples: usize,
}

impl DepthStencil {
    pub(super) fn new(width: usize, height: usize, samples: usize) -> Self {
        let (across, down) = (width.div_ceil(8), height.div_ceil(8));
        DepthStencil {
            depth: vec![[0.0; PIXELS]; across * down * samples],
            stencil: vec![[0; PIXELS]; across * down * samples],
            across,
            samples,
        }
    }

    pub(super) fn clear(&mut self, depth: f32, stencil: u8) {
        self.depth.fill([depth; PIXELS]);
        self.stencil.fill([stencil; PIXELS]);
    }

    fn index(&self, x: usize, y: usize, sample: usize) -> usize {
        (y / 8 * self.across + x / 8) * self.samples + sample
    }

    /// The block of pixels that holds (`x`, `y`).
    #[inline(always)]
    pub(super) fn block(
        &mut self,
        x: usize,
        y: usize,
        sample: usize,
    ) -> (&mut [f32; PIXELS], &mut [u8; PIXELS]) {
        let index = self.index(x, y, sample);
        (&mut self.depth[index], &mut self.stencil[index])
    }

    /// The depths of a block as bits.
    #[inline(always)]
    pub(super) fn depths(&self, x: usize, y: usize, sample: usize) -> [u32; PIXELS] {
        self.depth[self.index(x, y, sample)].map(f32::to_bits)
    }

    /// The stencil values of a block.
    #[inline(always)]
    pub(super) fn stencils(&self, x: usize, y: usize, sample: usize) -> [u32; PIXELS] {
        self.stencil[self.index(x, y, sample)].map(u32::from)
    }

    pub(super) fn sample(&mut self, x: usize, y: usize, sample: usize) -> (&mut f32, &mut u8) {
        let pixel = y % 8 * 8 + x % 8;
        let (depth, stencil) = self.block(x, y, sample);
        (&mut depth[pixel], &mut stencil[pixel])
    }
}
