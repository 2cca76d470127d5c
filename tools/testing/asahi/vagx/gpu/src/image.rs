// SPDX-License-Identifier: MIT OR Apache-2.0

//! Images: where their texels lie, and what those mean.

mod block;
pub(crate) mod codec;
pub(crate) mod compression;
pub(crate) mod depth;
mod descriptor;
pub(crate) mod layout;
mod rect;

pub(crate) use block::Imageblock;
pub(crate) use descriptor::{Channel, Dimension};
pub(crate) use rect::{Cells, Rect, Texels, together};

use crate::exec::Lanes;
use crate::memory::Memory;
use codec::Format;
use layout::Layout;

/// An image as a texture or PBE descriptor describes it.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) dim: Dimension,
    /// Texels of the first level.
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Slices of the first level of a 3D image; else layers, or cubes.
    pub(crate) depth: u32,
    /// 1, 2 or 4.
    pub(crate) samples: u32,
    /// Levels that the descriptor allows.
    pub(crate) first_level: u32,
    pub(crate) last_level: u32,
    pub(crate) format: Format,
    /// Of a texture: what each component is taken from. Of a PBE: the component that each stored channel gets.
    pub(crate) swizzle: [Channel; 4],
    pub(crate) layout: Layout,
    pub(crate) base: u64,
    /// Of lossless compression.
    pub(crate) metadata: u64,
}

impl Image {
    /// Size of a level, in texels and slices. Layers of arrays and faces of cubes are not counted.
    pub(crate) fn level_size(&self, level: u32) -> [u32; 3] {
        let minify = |size: u32| size.checked_shr(level).unwrap_or(0).max(1);
        let depth = match self.dim {
            Dimension::D3 => minify(self.depth),
            _ => 1,
        };
        [minify(self.width), minify(self.height), depth]
    }

    /// How many layers there are: slices of 3D images, faces of cubes.
    pub(crate) fn layers(&self) -> u32 {
        match self.dim {
            Dimension::Cube => 6,
            Dimension::CubeArray => 6 * self.depth,
            Dimension::D1 | Dimension::D2 | Dimension::D2Ms => 1,
            _ => self.depth,
        }
    }

    /// Whether lossless compression has to be looked at in a level.
    pub(crate) fn compressed(&self, level: usize) -> bool {
        self.layout.levels[level % layout::LEVELS]
            .metadata
            .is_some()
    }

    /// Raw texels of the lanes in `active`, whose coordinates are inside of the image: level, x, y, layer or slice, and
    /// sample. The error is the address that could not be read.
    #[inline(always)]
    pub(crate) fn fetch(
        &self,
        memory: &mut Memory<'_>,
        unknown: &mut u64,
        active: u32,
        level: &Lanes,
        at: [&Lanes; 4],
    ) -> Result<[Lanes; 4], u64> {
        let mut raw = [Lanes::ZERO; 4];
        let mut left = active;
        // Lanes are mostly in one level.
        while left != 0 {
            let first = level.0[left.trailing_zeros() as usize % 32];
            let mut same = 0;
            for lane in 0..32 {
                same |= u32::from(level.0[lane] == first) << lane;
            }
            same &= left;
            left &= !same;
            let level = first as usize;
            if self.compressed(level) {
                self.fetch_compressed(memory, unknown, same, level, at, &mut raw)?;
            } else {
                let mut va = self.layout.offsets(level, at);
                for va in &mut va {
                    *va = va.wrapping_add(self.base);
                }
                read(memory, self.format.bytes(), same, &va, &mut raw)?;
            }
        }
        Ok(raw)
    }

    /// Writes raw texels of the lanes in `active`, whose coordinates are inside of the image. The error is the address
    /// that could not be written.
    pub(crate) fn store(
        &self,
        memory: &mut Memory<'_>,
        unknown: &mut u64,
        active: u32,
        level: usize,
        at: [&Lanes; 4],
        raw: &[Lanes; 4],
    ) -> Result<(), u64> {
        if self.compressed(level) {
            for lane in (0..32).filter(|lane| active >> lane & 1 != 0) {
                let [x, y, layer, sample] = at.map(|l| l.0[lane]);
                self.uncompress(memory, unknown, level, [x, y, layer, sample])?;
            }
        }
        let mut va = self.layout.offsets(level, at);
        for va in &mut va {
            *va = va.wrapping_add(self.base);
        }
        write(memory, self.format.bytes(), active, &va, raw)
    }
}

/// Reads a texel of `bytes` bytes for each active lane.
#[inline(always)]
pub(crate) fn read(
    memory: &mut Memory<'_>,
    bytes: u32,
    active: u32,
    va: &[u64; 32],
    raw: &mut [Lanes; 4],
) -> Result<(), u64> {
    match bytes {
        1 => memory.load_lanes::<u8>(va, active, &mut raw[0].0),
        2 => memory.load_lanes::<u16>(va, active, &mut raw[0].0),
        4 => memory.load_lanes::<u32>(va, active, &mut raw[0].0),
        _ => {
            let mut va = *va;
            for word in &mut raw[..(bytes as usize / 4).min(4)] {
                memory.load_lanes::<u32>(&va, active, &mut word.0)?;
                for va in &mut va {
                    *va = va.wrapping_add(4);
                }
            }
            Ok(())
        }
    }
}

/// Writes a texel of `bytes` bytes for each active lane.
#[inline(always)]
fn write(
    memory: &mut Memory<'_>,
    bytes: u32,
    active: u32,
    va: &[u64; 32],
    raw: &[Lanes; 4],
) -> Result<(), u64> {
    match bytes {
        1 => memory.store_lanes::<u8>(va, active, &raw[0].0),
        2 => memory.store_lanes::<u16>(va, active, &raw[0].0),
        4 => memory.store_lanes::<u32>(va, active, &raw[0].0),
        _ => {
            let mut va = *va;
            for word in &raw[..(bytes as usize / 4).min(4)] {
                memory.store_lanes::<u32>(&va, active, &word.0)?;
                for va in &mut va {
                    *va = va.wrapping_add(4);
                }
            }
            Ok(())
        }
    }
}
