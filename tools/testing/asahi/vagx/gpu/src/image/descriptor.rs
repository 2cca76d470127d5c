// SPDX-License-Identifier: MIT OR Apache-2.0

//! Texture and PBE descriptors: 24 bytes that describe an image to be read, and to be written (Mesa,
//! `src/asahi/genxml/cmdbuf.xml` "Texture" and "PBE"; PBE is the pixel back end).

use super::Image;
use super::codec::Format;
use super::layout::{Layout, Shape, Tiling};

/// How an image is addressed, with the numbers that descriptors and instructions have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dimension {
    D1,
    D1Array,
    D2,
    D2Array,
    D2Ms,
    D3,
    Cube,
    CubeArray,
    D2MsArray,
}

impl Dimension {
    pub(crate) fn new(number: u64) -> Option<Dimension> {
        Some(match number {
            0 => Dimension::D1,
            1 => Dimension::D1Array,
            2 => Dimension::D2,
            3 => Dimension::D2Array,
            4 => Dimension::D2Ms,
            5 => Dimension::D3,
            6 => Dimension::Cube,
            7 => Dimension::CubeArray,
            8 => Dimension::D2MsArray,
            _ => return None,
        })
    }

    /// Coordinates besides layer and sample.
    pub(crate) fn axes(self) -> usize {
        match self {
            Dimension::D1 | Dimension::D1Array => 1,
            Dimension::D3 | Dimension::Cube | Dimension::CubeArray => 3,
            _ => 2,
        }
    }

    pub(crate) fn is_array(self) -> bool {
        matches!(
            self,
            Dimension::D1Array | Dimension::D2Array | Dimension::CubeArray | Dimension::D2MsArray
        )
    }

    pub(crate) fn is_cube(self) -> bool {
        matches!(self, Dimension::Cube | Dimension::CubeArray)
    }

    /// Whether pixels have several samples.
    pub(crate) fn is_multisampled(self) -> bool {
        matches!(self, Dimension::D2Ms | Dimension::D2MsArray)
    }
}

/// Where a component of a texel comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Stored(u8),
    One,
    Zero,
}

/// The bits of a descriptor.
struct Bits([u64; 3]);

impl Bits {
    fn new(state: &[u8; 24]) -> Bits {
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(state.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Bits(words)
    }

    /// No field crosses a 64-bit word, except those that nobody asks for.
    fn get(&self, at: usize, size: u32) -> u64 {
        self.0[at / 64] >> (at % 64) & (u64::MAX >> (64 - size))
    }

    fn num(&self, at: usize, size: u32) -> u32 {
        self.get(at, size) as u32
    }

    fn flag(&self, at: usize) -> bool {
        self.get(at, 1) != 0
    }

    /// Layers of a linear image and the bytes between them: they share their place with the address of metadata.
    fn linear_layers(&self, extended: bool) -> (u32, u64) {
        match extended {
            true => (self.num(128, 11) + 1, (self.get(139, 27) << 7) + 0x80),
            false => (1, 0),
        }
    }
}

/// What texture and PBE descriptors have in common.
struct Common {
    dim: Dimension,
    format: Format,
    width: u32,
    height: u32,
    depth: u32,
    mipmapped: bool,
    samples: u64,
    tiling: Tiling,
    page_aligned: bool,
    compressed: bool,
}

impl Common {
    fn image(self, bits: &Bits, base: u64, levels: [u32; 2], swizzle: [Channel; 4]) -> Image {
        let samples = match (self.dim.is_multisampled(), self.samples) {
            (false, _) => 1,
            (true, 0) => 2,
            (true, _) => 4,
        };
        let linear = matches!(self.tiling, Tiling::Linear { .. });
        let layout = Layout::new(&Shape {
            width: self.width,
            height: self.height,
            depth: if self.dim == Dimension::D3 {
                self.depth
            } else {
                1
            },
            mipmapped: self.mipmapped,
            samples,
            block: [1, 1],
            bytes: self.format.bytes(),
            tiling: self.tiling,
            page_aligned: self.page_aligned,
            compressed: self.compressed && !linear,
        });
        Image {
            dim: self.dim,
            width: self.width,
            height: self.height,
            depth: self.depth,
            samples,
            first_level: levels[0],
            last_level: levels[1],
            format: self.format,
            swizzle,
            layout,
            base,
            metadata: bits.0[2] << 4,
        }
    }
}

fn common(bits: &Bits, srgb: bool) -> Result<(Dimension, Format), &'static str> {
    let dim = Dimension::new(bits.get(0, 4)).ok_or("unknown dimension of an image")?;
    let format = Format::new(bits.num(6, 7), bits.num(13, 3), srgb)?;
    Ok((dim, format))
}

fn tiling(bits: &Bits, linear: Tiling) -> Result<Tiling, &'static str> {
    match bits.get(4, 2) {
        0 => Ok(linear),
        1 => Ok(Tiling::Twiddled),
        2 => Ok(Tiling::Gpu),
        _ => Err("interchange layout of an image"),
    }
}

impl Image {
    /// Decodes a texture's descriptor; the error is what the model does not know.
    pub(crate) fn texture(state: &[u8; 24]) -> Result<Image, &'static str> {
        let bits = Bits::new(state);
        let (dim, format) = common(&bits, bits.flag(108))?;
        if bits.get(104, 2) != 0 {
            return Err("sparse image");
        }
        if bits.get(106, 2) != 0 {
            return Err("unknown compression of a texture");
        }
        let mut swizzle = [Channel::Zero; 4];
        for (i, channel) in swizzle.iter_mut().enumerate() {
            *channel = match bits.get(16 + 3 * i, 3) {
                n @ 0..=3 => Channel::Stored(n as u8),
                4 => Channel::One,
                5 => Channel::Zero,
                _ => return Err("unknown swizzle of a texture"),
            };
        }
        let (extended, compressed) = (bits.flag(127), bits.flag(103));
        let (layers, layer_stride) = bits.linear_layers(extended && !compressed);
        // The field is described as two bits wider, but those have a meaning of their own.
        let stride = (bits.num(110, 16) << 4) + 16;
        let tiling = tiling(
            &bits,
            Tiling::Linear {
                stride,
                layer_stride,
            },
        )?;
        let linear = matches!(tiling, Tiling::Linear { .. });
        let levels = [bits.num(56, 4), bits.num(60, 4)];
        let common = Common {
            dim,
            format,
            width: bits.num(28, 14) + 1,
            height: bits.num(42, 14) + 1,
            depth: if linear {
                layers
            } else {
                bits.num(110, 14) + 1
            },
            mipmapped: !linear && (bits.flag(102) || levels[1] > 0),
            samples: bits.get(64, 1),
            tiling,
            page_aligned: !linear && bits.flag(126),
            compressed,
        };
        Ok(common.image(&bits, bits.get(66, 36) << 4, levels, swizzle))
    }

    /// Decodes a PBE descriptor; the error is what the model does not know. Its only level is `first_level`.
    pub(crate) fn pbe(state: &[u8; 24]) -> Result<Image, &'static str> {
        let bits = Bits::new(state);
        let compressed = bits.flag(59);
        let extended = bits.flag(127);
        let (layers, layer_stride) = bits.linear_layers(extended && !compressed);
        let stride = bits.num(104, 21) + 4;
        let tiling = tiling(
            &bits,
            Tiling::Linear {
                stride,
                layer_stride,
            },
        )?;
        let linear = matches!(tiling, Tiling::Linear { .. });
        let (dim, format) = common(&bits, bits.flag(125))?;
        if !format.exists() {
            return Err("write to texels of three words");
        }
        if bits.get(60, 2) != 0 {
            return Err("sparse image");
        }
        if bits.get(52, 3) != 0 {
            return Err("turned image");
        }
        let swizzle = [16, 18, 20, 22].map(|at| Channel::Stored(bits.get(at, 2) as u8));
        let level = bits.num(100, 4);
        let common = Common {
            dim,
            format,
            width: bits.num(24, 14) + 1,
            height: bits.num(38, 14) + 1,
            depth: if linear {
                layers
            } else {
                bits.num(108, 14) + 1
            },
            mipmapped: !linear && (bits.flag(58) || bits.get(104, 4) > 0),
            samples: bits.get(56, 1),
            tiling,
            page_aligned: !linear && bits.flag(124),
            compressed,
        };
        Ok(common.image(&bits, bits.get(64, 36) << 4, [level, level], swizzle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::codec::{Channels, Kind};

    fn state(fields: &[(u32, u64)]) -> [u8; 24] {
        let mut state = [0; 24];
        for &(at, value) in fields {
            for bit in (0..64).filter(|bit| value >> bit & 1 != 0) {
                state[(at + bit) as usize / 8] |= 1 << ((at + bit) % 8);
            }
        }
        state
    }

    #[test]
    fn textures() {
        let bytes = state(&[
            (0, 3),
            (4, 2),
            (6, 0x28),
            (16, 2 | 1 << 3 | 5 << 6 | 4 << 9),
            (28, 99),
            (42, 49),
            (56, 1),
            (60, 3),
            (66, 0x12_3456_7890 >> 4),
            (102, 1),
            (103, 1),
            (108, 1),
            (110, 6),
            (126, 1),
            (127, 1),
            (128, 0x20_0000_0000 >> 4),
        ]);
        let image = Image::texture(&bytes).unwrap();
        assert_eq!(image.dim, Dimension::D2Array);
        assert_eq!((image.width, image.height, image.layers()), (100, 50, 7));
        assert_eq!((image.first_level, image.last_level), (1, 3));
        assert_eq!(image.base, 0x12_3456_7890);
        assert_eq!(image.metadata, 0x20_0000_0000);
        assert!(image.compressed(1) && !image.compressed(2));
        assert_eq!(image.layout.count, 7);
        assert_eq!(image.layout.layer_stride() % 16384, 0);
        assert_eq!(image.level_size(3), [12, 6, 1]);
        let swizzle = [
            Channel::Stored(2),
            Channel::Stored(1),
            Channel::Zero,
            Channel::One,
        ];
        assert_eq!(image.swizzle, swizzle);
        assert_eq!(image.format.channels, Channels::R8G8B8A8);
        assert!(image.format.srgb);
        assert!(Image::texture(&state(&[(6, 0x74)])).is_err());
        assert!(Image::texture(&state(&[(104, 3)])).is_err());
        assert!(Image::texture(&state(&[(0, 9)])).is_err());
    }

    #[test]
    fn linear() {
        let bytes = state(&[
            (0, 3),
            (6, 0x23),
            (13, 4),
            (28, 9),
            (42, 9),
            (110, 0x110 >> 4),
            (127, 1),
            (128, 1 | (0x1000 - 0x80) >> 7 << 11),
        ]);
        let image = Image::texture(&bytes).unwrap();
        assert_eq!(image.format.kind, Kind::Float);
        assert_eq!(image.layout.offset(0, 2, 3, 1, 0), 0x1000 + 3 * 0x120 + 8);
        let bytes = state(&[
            (0, 3),
            (6, 0x21),
            (13, 2),
            (24, 9),
            (38, 9),
            (104, 0x180 - 4),
            (127, 1),
            (128, 3 | (0x2000 - 0x80) >> 7 << 11),
        ]);
        let image = Image::pbe(&bytes).unwrap();
        assert_eq!(image.layers(), 4);
        assert_eq!(image.layout.offset(0, 1, 1, 2, 0), 2 * 0x2000 + 0x180 + 4);
        assert!(!image.compressed(0));
    }

    #[test]
    fn pbe() {
        let bytes = state(&[
            (0, 8),
            (4, 1),
            (6, 0x38),
            (13, 3),
            (16, 2 | 1 << 2 | 3 << 6),
            (24, 63),
            (38, 31),
            (56, 1),
            (64, 0xabc0 >> 4),
            (100, 0),
            (108, 4),
            (124, 1),
        ]);
        let image = Image::pbe(&bytes).unwrap();
        assert_eq!((image.width, image.height, image.samples), (64, 32, 4));
        assert_eq!((image.layers(), image.base), (5, 0xabc0));
        assert_eq!(image.swizzle[2], Channel::Stored(0));
        assert_eq!(image.layout.offset(0, 0, 0, 1, 3), 64 * 32 * 16 * 4 + 48);
        assert!(Image::pbe(&state(&[(54, 1)])).is_err());
    }
}
