// SPDX-License-Identifier: MIT OR Apache-2.0

//! Depth and stencil buffers, as renders load and store them (Mesa, `src/gallium/drivers/asahi/agx_pipe.c`,
//! `agx_batch_to_cmdbuf`).

use super::codec::{Channels, Format, Kind};
use super::layout::{Layout, Shape, Tiling};
use super::rect::{Cells, Order, Rect, Texels, together};
use super::{Channel, Dimension, Image};
use crate::exec::Lanes;
use crate::memory::Memory;

/// What a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Depth, normalised.
    Unorm16,
    /// Depth, in single precision.
    Float32,
    Stencil8,
}

/// A level of a depth or stencil image, with the layers that a render has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DepthBuffer {
    pub(crate) kind: Depth,
    pub(crate) base: u64,
    /// Bytes between layers.
    pub(crate) stride: u64,
    /// Address of the metadata of lossless compression and bytes between its layers, if the image is compressed.
    pub(crate) metadata: Option<(u64, u64)>,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) layers: u32,
    pub(crate) samples: u32,
    /// Whether all of it is one tile.
    pub(crate) twiddled: bool,
}

/// The same, ready for use.
#[derive(Clone, Debug)]
pub(crate) struct DepthImage(Image);

impl DepthImage {
    pub(crate) fn new(buffer: &DepthBuffer) -> DepthImage {
        let (channels, kind) = match buffer.kind {
            Depth::Unorm16 => (Channels::R16, Kind::Unorm),
            Depth::Float32 => (Channels::R32, Kind::Float),
            Depth::Stencil8 => (Channels::R8, Kind::Uint),
        };
        let format = Format {
            channels,
            kind,
            srgb: false,
        };
        let samples = match buffer.samples {
            0 | 1 => 1,
            2 | 3 => 2,
            _ => 4,
        };
        let (width, height) = (buffer.width.clamp(1, 16384), buffer.height.clamp(1, 16384));
        // A level lies as an image of its size would.
        let mut layout = Layout::new(&Shape {
            width,
            height,
            depth: 1,
            mipmapped: false,
            samples,
            block: [1, 1],
            bytes: format.bytes(),
            tiling: if buffer.twiddled {
                Tiling::Twiddled
            } else {
                Tiling::Gpu
            },
            page_aligned: true,
            compressed: buffer.metadata.is_some(),
        });
        layout.set_layer_stride(buffer.stride);
        let (metadata, metadata_stride) = buffer.metadata.unwrap_or_default();
        layout.metadata_layer_stride = metadata_stride;
        DepthImage(Image {
            dim: match samples {
                1 => Dimension::D2Array,
                _ => Dimension::D2MsArray,
            },
            width,
            height,
            depth: buffer.layers,
            samples,
            first_level: 0,
            last_level: 0,
            format,
            swizzle: [Channel::Stored(0); 4],
            layout,
            base: buffer.base,
            metadata,
        })
    }

    fn rect(corner: [u32; 2], size: [u32; 2], layer: u32) -> Rect {
        Rect {
            level: 0,
            layer,
            x: corner[0],
            y: corner[1],
            width: size[0],
            height: size[1],
        }
    }

    /// Gives all values of a tile of that corner and size to `set`: pixel of the image, sample, and depth in single
    /// precision or stencil. The error is the address that could not be read.
    pub(crate) fn load(
        &self,
        memory: &mut Memory<'_>,
        unknown: &mut u64,
        corner: [u32; 2],
        size: [u32; 2],
        layer: u32,
        mut set: impl FnMut(u32, u32, u32, u32),
    ) -> Result<(), u64> {
        let rect = Self::rect(corner, size, layer);
        self.0.read_rect(memory, unknown, &rect, |cells, raw| {
            let values = self.0.format.decode(raw)[0];
            for lane in (0..32).filter(|lane| cells.active >> lane & 1 != 0) {
                let (x, y, sample) = cells.place(self.0.samples, lane as u32);
                set(x, y, sample, values.0[lane]);
            }
        })
    }

    /// The counterpart: stores what `block` gives of a sample of 8 x 8 pixels, row after row; it is asked by the pixel of
    /// the image in the upper left corner, which must be on a multiple of eight as the tile's own corner is.
    #[inline(always)]
    pub(crate) fn store(
        &self,
        memory: &mut Memory<'_>,
        unknown: &mut u64,
        corner: [u32; 2],
        size: [u32; 2],
        layer: u32,
        block: impl FnMut(u32, u32, u32) -> [u32; 64],
    ) -> Result<(), u64> {
        let rect = Self::rect(corner, size, layer);
        let texels = Values {
            end: [0, 1].map(|i| corner[i].saturating_add(size[i])),
            samples: self.0.samples,
            format: self.0.format,
            block,
        };
        self.0.write_rect(memory, unknown, &rect, texels)
    }
}

/// Values that are stored.
struct Values<F> {
    /// Pixels from there on are not in the tile.
    end: [u32; 2],
    samples: u32,
    format: Format,
    block: F,
}

impl<F: FnMut(u32, u32, u32) -> [u32; 64]> Values<F> {
    /// A block. Pixels of the tile that the image does not have may be asked for; what is beyond the tile has nothing.
    #[inline(always)]
    fn block(&mut self, x: u32, y: u32, sample: u32) -> [u32; 64] {
        match x < self.end[0] && y < self.end[1] {
            true => (self.block)(x & !7, y & !7, sample),
            false => [0; 64],
        }
    }

    /// Values of 32 texels.
    #[inline(always)]
    fn values(&mut self, cells: &Cells) -> Lanes {
        let mut values = Lanes::ZERO;
        match cells.order {
            Order::Row { sample } => {
                for (index, lanes) in values.0.chunks_exact_mut(8).enumerate() {
                    let x = cells.x.wrapping_add(8 * index as u32);
                    let from = self.block(x, cells.y, sample);
                    for (column, lane) in lanes.iter_mut().enumerate() {
                        *lane = from[8 * (cells.y as usize & 7) + column];
                    }
                }
            }
            Order::Morton { first } if self.samples == 1 => {
                let from = self.block(cells.x, cells.y, 0);
                let half = usize::from(first != 0);
                for lane in 0..32 {
                    values.0[lane] = from[32 * half + MORTON[lane]];
                }
            }
            Order::Morton { .. } => {
                let samples = self.samples;
                for sample in 0..samples {
                    let from = self.block(cells.x, cells.y, sample);
                    for lane in (sample..32).step_by(samples as usize) {
                        let (x, y, _) = cells.place(samples, lane);
                        values.0[lane as usize] = from[(8 * (y & 7) + (x & 7)) as usize];
                    }
                }
            }
        }
        values
    }
}

/// Where the first 32 pixels in Morton order are in a block: in its first four rows. The others are in the rest likewise.
const MORTON: [usize; 32] = {
    let mut places = [0; 32];
    let mut pixel = 0;
    while pixel < 32 {
        let x = pixel & 1 | pixel >> 1 & 2 | pixel >> 2 & 4;
        let y = pixel >> 1 & 1 | pixel >> 2 & 2;
        places[pixel] = 8 * y + x;
        pixel += 1;
    }
    places
};

impl<F: FnMut(u32, u32, u32) -> [u32; 64]> Texels for Values<F> {
    #[inline(always)]
    fn get(&mut self, cells: &Cells) -> [Lanes; 4] {
        let mut values = [Lanes::ZERO; 4];
        values[0] = self.values(cells);
        self.format.encode(&values, false)
    }

    #[inline(always)]
    fn put(&mut self, cells: &Cells, bytes: u32, words: &mut [u32]) {
        match words.first_chunk_mut() {
            // Single precision.
            Some(to) if bytes == 4 => *to = self.values(cells).0,
            _ => together(bytes, &self.get(cells), words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Access, GpuMemory, PAGE_SIZE, Unmapped};
    use std::ptr::NonNull;
    use std::sync::atomic::AtomicU64;

    struct Pages(Vec<[AtomicU64; PAGE_SIZE as usize / 8]>);

    // SAFETY: The pages live as long as `self` and are made of atomics.
    unsafe impl GpuMemory for Pages {
        fn page(&self, va: u64, _: Access) -> Result<NonNull<u8>, Unmapped> {
            let page = self.0.get((va / PAGE_SIZE) as usize).ok_or(Unmapped)?;
            Ok(NonNull::from(page).cast())
        }
    }

    #[test]
    fn tiles_come_back() {
        let page = || [const { AtomicU64::new(0) }; PAGE_SIZE as usize / 8];
        let pages = Pages((0..8).map(|_| page()).collect());
        let mut memory = Memory::new(&pages);
        let mut unknown = 0;
        for (kind, one) in [
            (Depth::Unorm16, 1f32.to_bits()),
            (Depth::Float32, 0.3f32.to_bits()),
            (Depth::Stencil8, 0xab),
        ] {
            for metadata in [None, Some((7 * PAGE_SIZE, 0x400))] {
                let image = DepthImage::new(&DepthBuffer {
                    kind,
                    base: PAGE_SIZE,
                    stride: 2 * PAGE_SIZE,
                    metadata,
                    width: 20,
                    height: 35,
                    layers: 2,
                    samples: 2,
                    twiddled: kind == Depth::Float32,
                });
                let at = |x, y, sample| (x, y, sample) == (18, 33, 1);
                let (corner, size) = ([0, 32], [32, 32]);
                let stored = image.store(&mut memory, &mut unknown, corner, size, 1, |x, y, s| {
                    let mut block = [0; 64];
                    if (x, y, s) == (16, 32, 1) {
                        block[10] = one;
                    }
                    block
                });
                assert_eq!(stored, Ok(()));
                let mut count = 0;
                let loaded = image.load(
                    &mut memory,
                    &mut unknown,
                    corner,
                    size,
                    1,
                    |x, y, s, value| {
                        count += 1;
                        assert_eq!(value, if at(x, y, s) { one } else { 0 });
                    },
                );
                assert_eq!((loaded, count), (Ok(()), 20 * 3 * 2));
            }
        }
        assert_eq!(unknown, 0);
        // There is no third layer, and nothing behind the pages.
        let image = DepthImage::new(&DepthBuffer {
            kind: Depth::Float32,
            base: 8 * PAGE_SIZE,
            stride: PAGE_SIZE,
            metadata: None,
            width: 4,
            height: 4,
            layers: 2,
            samples: 1,
            twiddled: false,
        });
        let mut load = |layer| {
            image.load(
                &mut memory,
                &mut unknown,
                [0, 0],
                [8, 8],
                layer,
                |_, _, _, _| (),
            )
        };
        assert_eq!(load(2), Ok(()));
        assert_eq!(load(1), Err(9 * PAGE_SIZE));
    }
}
