// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where texels lie (Mesa, `docs/drivers/asahi.rst` "Image layouts" and `src/asahi/layout/layout.c`).
//!
//! An image that is not linear is made of tiles in raster order, each of which holds its elements in Morton order. A
//! "GPU-tiled" level that is large enough has tiles of one page; smaller levels, and all levels of a "twiddled" image,
//! have square tiles as wide as the level's shorter side. Samples of a pixel are neighbours. Everything that depends on
//! the level alone is worked out once, so that the offset of a texel takes shifts, masks and one multiplication.

use crate::exec::Lanes;
use crate::memory::PAGE_SIZE;

/// Levels of the largest image that descriptors can describe, which is 16384 texels wide.
pub(crate) const LEVELS: usize = 15;

/// Levels begin at multiples of this (`AIL_CACHELINE`).
const CACHE_LINE: u64 = 0x80;

/// Texels along each side of a unit of lossless compression.
const COMPRESSED: u32 = 16;

/// How texels are ordered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tiling {
    /// Rows of texels.
    Linear { stride: u32, layer_stride: u64 },
    /// One power of two to each side.
    Twiddled,
    /// Tiles of a page.
    Gpu,
}

/// What a layout depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Texels of the first level.
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Slices of the first level, if there are fewer in the others; else 1.
    pub(crate) depth: u32,
    /// Levels down to a single texel, or only one.
    pub(crate) mipmapped: bool,
    /// 1, 2 or 4.
    pub(crate) samples: u32,
    /// Texels of an element: one, but for block-compressed formats.
    pub(crate) block: [u32; 2],
    /// Bytes of an element, a power of two.
    pub(crate) bytes: u32,
    pub(crate) tiling: Tiling,
    /// Layers begin on pages.
    pub(crate) page_aligned: bool,
    /// There is metadata of lossless compression.
    pub(crate) compressed: bool,
}

/// What the offset of a texel in its level depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Level {
    /// Bytes from the layer's start.
    pub(crate) offset: u64,
    /// Logarithms of the size of a tile, in elements.
    tile: [u32; 2],
    tiles_per_row: u32,
    /// The metadata of lossless compression, if this level is compressed: bytes from the layer's start.
    pub(crate) metadata: Option<u64>,
    /// Logarithm of the shorter side of the level in units of compression, and whether the longer is the width.
    metadata_minor: u32,
    metadata_wide: bool,
}

/// Where the texels of an image lie.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) levels: [Level; LEVELS],
    /// How many of them there are.
    pub(crate) count: usize,
    /// Bytes between layers, in cache lines.
    layer_lines: u32,
    /// Bytes of one layer.
    pub(crate) layer_size: u64,
    /// Bytes of metadata between layers.
    pub(crate) metadata_layer_stride: u64,
    bytes_log2: u32,
    samples_log2: u32,
}

/// Which unit of compression a texel is in, and where in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Compressed {
    /// Offset of the eight bytes of metadata.
    pub(crate) metadata: u64,
    /// Offset of the unit's first texel.
    pub(crate) body: u64,
    /// Which of the eight parts of the unit, each of 8×4 samples.
    pub(crate) part: u32,
}

impl Level {
    /// Texels along each side of the squares that lie together in Morton order. Linear images have none.
    pub(crate) fn square(&self) -> u32 {
        1 << self.tile[0].min(self.tile[1])
    }
}

fn align(value: u64, to: u64) -> u64 {
    value.next_multiple_of(to)
}

fn minify(size: u32, level: u32) -> u32 {
    (size >> level).max(1)
}

/// A power of two that is no less.
fn power(size: u32) -> u32 {
    size.max(1).next_power_of_two()
}

/// Logarithms of the size of a tile of one page.
fn page_tile(bytes: u32) -> [u32; 2] {
    let elements = PAGE_SIZE.trailing_zeros() - bytes.trailing_zeros();
    [elements.div_ceil(2), elements / 2]
}

/// Zeroes between the lower 14 bits of a number.
#[inline(always)]
fn spread(x: u32) -> u32 {
    let x = (x | x << 8) & 0x00ff_00ff;
    let x = (x | x << 4) & 0x0f0f_0f0f;
    let x = (x | x << 2) & 0x3333_3333;
    (x | x << 1) & 0x5555_5555
}

/// Morton order.
#[inline(always)]
pub(super) fn interleave(x: u32, y: u32) -> u32 {
    spread(x) | spread(y) << 1
}

impl Shape {
    /// Size of a level in texels.
    fn size(&self, level: u32) -> [u32; 2] {
        [minify(self.width, level), minify(self.height, level)]
    }

    fn elements(&self, size: [u32; 2]) -> [u32; 2] {
        [
            size[0].div_ceil(self.block[0]),
            size[1].div_ceil(self.block[1]),
        ]
    }

    fn block_compressed(&self) -> bool {
        self.block != [1, 1]
    }

    /// Size of the first level in samples: those of a pixel lie side by side.
    fn size_in_samples(&self) -> [u32; 2] {
        [
            self.width << u32::from(self.samples == 4),
            self.height << u32::from(self.samples >= 2),
        ]
    }
}

impl Layout {
    /// Works out the layout. All numbers come from descriptors, whose fields bound sizes by 16384.
    pub(crate) fn new(shape: &Shape) -> Layout {
        let count = match shape.mipmapped {
            true => {
                shape
                    .width
                    .max(shape.height)
                    .max(shape.depth)
                    .max(1)
                    .ilog2() as usize
                    + 1
            }
            false => 1,
        }
        .min(LEVELS);
        let mut layout = Layout {
            levels: [Level::default(); LEVELS],
            count,
            layer_lines: 0,
            layer_size: 0,
            metadata_layer_stride: 0,
            bytes_log2: shape.bytes.trailing_zeros(),
            samples_log2: shape.samples.trailing_zeros(),
        };
        match shape.tiling {
            Tiling::Linear {
                stride,
                layer_stride,
            } => {
                // Tiles of one element; strides are multiples of the largest element.
                layout.levels[0].tiles_per_row = stride >> layout.bytes_log2;
                layout.layer_lines = (layer_stride / CACHE_LINE) as u32;
                layout.layer_size = layer_stride;
                return layout;
            }
            Tiling::Twiddled => layout.twiddled(shape),
            Tiling::Gpu => layout.tiled(shape),
        }
        let stride = match shape.page_aligned {
            true => align(layout.layer_size, PAGE_SIZE),
            false => layout.layer_size,
        };
        layout.layer_lines = (stride / CACHE_LINE) as u32;
        if shape.compressed {
            layout.compressed(shape);
        }
        layout
    }

    fn twiddled(&mut self, shape: &Shape) {
        let [width, height] = shape.elements(shape.size(0));
        let bytes = u64::from(shape.bytes * shape.samples);
        let mut offset = 0;
        for l in 0..self.count as u32 {
            // What is set aside for a level is a rounded size made smaller; what is used is a smaller size rounded.
            let whole = [minify(power(width), l), minify(power(height), l)];
            let used = match shape.block_compressed() {
                true => whole,
                false => [power(minify(width, l)), power(minify(height, l))],
            };
            let side = used[0].min(used[1]).trailing_zeros();
            self.levels[l as usize] = Level {
                offset,
                tile: [side, side],
                tiles_per_row: used[0] >> side,
                ..Level::default()
            };
            let size = u64::from(whole[0]) * u64::from(whole[1]) * bytes;
            offset = align(offset + size, CACHE_LINE);
        }
        self.layer_size = offset;
    }

    fn tiled(&mut self, shape: &Shape) {
        let block_compressed = shape.block_compressed();
        let [width, height] = shape.elements(shape.size(0));
        let bytes = u64::from(shape.bytes * shape.samples);
        let tile = page_tile(shape.bytes * shape.samples);
        let tiles = [
            u64::from(width.div_ceil(1 << tile[0])),
            u64::from(height.div_ceil(1 << tile[1])),
        ];
        // The first level that is narrower or lower than a page's tile begins the small ones.
        let padded = [width * shape.block[0], height * shape.block[1]];
        let small = (0..32)
            .find(|&l| {
                let size = shape.elements([minify(padded[0], l), minify(padded[1], l)]);
                size[0] < 1 << tile[0] || size[1] < 1 << tile[1]
            })
            .unwrap_or(31);
        let mut offset = 0;
        for l in 0..self.count as u32 {
            let mut stride = shape.elements(shape.size(l))[0];
            if l < small {
                // Levels are as many tiles as the first one's number shifted right, and where that rounds down, an extra
                // column, row and corner.
                let lost = tiles.map(|n| n & ((1 << l) - 1) != 0);
                let mut n = (tiles[0] * tiles[1]) >> (2 * l);
                if lost[0] {
                    n += tiles[1] >> l;
                }
                if lost[1] {
                    n += tiles[0] >> l;
                }
                n += u64::from(lost[0] && lost[1]);
                if block_compressed && lost[0] {
                    stride += 1;
                }
                self.levels[l as usize] = Level {
                    offset,
                    tile,
                    tiles_per_row: stride.div_ceil(1 << tile[0]),
                    ..Level::default()
                };
                offset = align(offset + n * (bytes << (tile[0] + tile[1])), CACHE_LINE);
                continue;
            }
            let room = match block_compressed {
                true => [minify(power(width), l), minify(power(height), l)],
                false => {
                    let first = [power(minify(width, small)), power(minify(height, small))];
                    [minify(first[0], l - small), minify(first[1], l - small)]
                }
            };
            let side = match block_compressed {
                true => room[0].min(room[1]),
                false => minify(width.min(height), l),
            };
            let side = power(side).trailing_zeros();
            self.levels[l as usize] = Level {
                offset,
                tile: [side, side],
                tiles_per_row: stride.div_ceil(1 << side),
                ..Level::default()
            };
            let size = u64::from(room[0]) * u64::from(room[1]) * bytes;
            offset = align(offset + size, CACHE_LINE);
        }
        self.layer_size = offset;
    }

    /// Lossless compression: eight bytes for each unit of 16×16 samples, in Morton order.
    fn compressed(&mut self, shape: &Shape) {
        let first = shape.size_in_samples();
        let mut room = first.map(|n| n.next_multiple_of(COMPRESSED));
        let longest = room[0].max(room[1]);
        let mut offset = 0;
        for l in 0..self.count as u32 {
            if minify(longest, l) < COMPRESSED {
                break;
            }
            let level = &mut self.levels[l as usize];
            // Levels that are too small have metadata, but are not compressed.
            if minify(first[0].min(first[1]), l) >= COMPRESSED {
                let size = Shape {
                    width: minify(shape.width, l),
                    height: minify(shape.height, l),
                    ..*shape
                }
                .size_in_samples()
                .map(|n| n.div_ceil(COMPRESSED));
                level.metadata = Some(offset);
                level.metadata_minor = power(size[0].min(size[1])).trailing_zeros();
                level.metadata_wide = size[0] > size[1];
            }
            let units = room.map(|n| u64::from(power(n).div_ceil(COMPRESSED)));
            offset += align(units[0] * units[1] * 8, CACHE_LINE);
            room = room.map(|n| n.div_ceil(2));
        }
        self.metadata_layer_stride = offset;
    }

    /// Bytes between layers.
    pub(crate) fn layer_stride(&self) -> u64 {
        u64::from(self.layer_lines) * CACHE_LINE
    }

    /// A layer stride that software says.
    pub(crate) fn set_layer_stride(&mut self, stride: u64) {
        self.layer_lines = (stride / CACHE_LINE) as u32;
    }

    /// The part of an element's number in its level that depends on `x`; the sum of both parts is the number.
    #[inline(always)]
    pub(crate) fn column(&self, level: &Level, x: u32) -> u32 {
        let [across, down] = level.tile;
        ((x >> across) << (across + down)).wrapping_add(spread(x & ((1 << across) - 1)))
    }

    /// The part that depends on `y`.
    #[inline(always)]
    pub(crate) fn row(&self, level: &Level, y: u32) -> u32 {
        let [across, down] = level.tile;
        ((y >> down) << (across + down))
            .wrapping_mul(level.tiles_per_row)
            .wrapping_add(spread(y & ((1 << down) - 1)) << 1)
    }

    /// Number of a sample in its level, in the order of memory. Images of more than 2^32 samples do not exist.
    #[inline(always)]
    pub(crate) fn number(&self, element: u32, sample: u32) -> u32 {
        (element << self.samples_log2).wrapping_add(sample)
    }

    /// Bytes that rows up to this one of any level may take, which is much for an image with rows far from each other.
    pub(crate) fn span(&self, height: u32) -> u64 {
        let rows = |level: &Level| {
            let [across, down] = level.tile;
            let tiles = u64::from(level.tiles_per_row) * (u64::from(height >> down) + 1);
            tiles << (across + down + self.samples_log2 + self.bytes_log2)
        };
        self.levels.iter().map(rows).max().unwrap_or(0)
    }

    /// Offset of the sample of that number.
    #[inline(always)]
    pub(crate) fn offset_of(&self, level: &Level, layer: u32, number: u32) -> u64 {
        let layer = u64::from(layer)
            .wrapping_mul(u64::from(self.layer_lines))
            .wrapping_mul(CACHE_LINE);
        layer
            .wrapping_add(level.offset)
            .wrapping_add(u64::from(number) << self.bytes_log2)
    }

    /// Offset of a texel (for block-compressed formats, of an element).
    #[inline(always)]
    pub(crate) fn offset(&self, level: usize, x: u32, y: u32, layer: u32, sample: u32) -> u64 {
        let level = &self.levels[level % LEVELS];
        let element = self.column(level, x).wrapping_add(self.row(level, y));
        self.offset_of(level, layer, self.number(element, sample))
    }

    /// Offsets of a texel for each lane, all in one level.
    #[inline(always)]
    pub(crate) fn offsets(&self, level: usize, [x, y, layer, sample]: [&Lanes; 4]) -> [u64; 32] {
        let mut out = [0; 32];
        for lane in 0..32 {
            out[lane] = self.offset(level, x.0[lane], y.0[lane], layer.0[lane], sample.0[lane]);
        }
        out
    }

    /// The part of the number of a texel's unit of compression in its level that depends on `x`; the sum of both parts is
    /// the number.
    #[inline(always)]
    pub(crate) fn unit_column(&self, level: &Level, x: u32) -> u32 {
        // Samples of a pixel lie side by side: two below each other, four in a square.
        let x16 = x << u32::from(self.samples_log2 == 2) >> 4;
        // Morton order as far as both coordinates have bits; then the longer one goes on alone.
        let minor = (1 << level.metadata_minor) - 1;
        let alone = if level.metadata_wide { x16 & !minor } else { 0 };
        spread(x16 & minor).wrapping_add(alone << level.metadata_minor)
    }

    /// The part that depends on `y`.
    #[inline(always)]
    pub(crate) fn unit_row(&self, level: &Level, y: u32) -> u32 {
        let y16 = y << u32::from(self.samples_log2 >= 1) >> 4;
        let minor = (1 << level.metadata_minor) - 1;
        let alone = if level.metadata_wide { 0 } else { y16 & !minor };
        (spread(y16 & minor) << 1).wrapping_add(alone << level.metadata_minor)
    }

    /// Offset of a layer's metadata, in a level that has it.
    #[inline(always)]
    pub(crate) fn metadata_of(&self, level: &Level, layer: u32) -> Option<u64> {
        let layers = u64::from(layer).wrapping_mul(self.metadata_layer_stride);
        Some(level.metadata?.wrapping_add(layers))
    }

    /// Where the compression of a texel is described, in a level that has it.
    pub(crate) fn unit(
        &self,
        level: usize,
        x: u32,
        y: u32,
        layer: u32,
        sample: u32,
    ) -> Option<Compressed> {
        let level = &self.levels[level % LEVELS];
        let metadata = self.metadata_of(level, layer)?;
        let unit = self
            .unit_column(level, x)
            .wrapping_add(self.unit_row(level, y));
        let element = self.column(level, x).wrapping_add(self.row(level, y));
        let index = self.number(element, sample);
        let layers = u64::from(layer);
        Some(Compressed {
            metadata: metadata.wrapping_add(u64::from(unit) * 8),
            body: layers
                .wrapping_mul(self.layer_stride())
                .wrapping_add(level.offset)
                .wrapping_add(u64::from(index & !0xff) << self.bytes_log2),
            part: index >> 5 & 7,
        })
    }
}

#[cfg(test)]
mod tests;
