// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the bits of texels mean: the formats that are not block-compressed (Mesa, `src/asahi/genxml/cmdbuf.xml`
//! "Channels" and "Texture Type", and `src/asahi/layout/formats.c`).
//!
//! A format is a layout of channels, the first in the lowest bits, and a type that all of them have. Texels are decoded
//! and encoded for 32 lanes at a time. Their raw form is up to four words, the lowest first.

use crate::exec::{Lanes, from_half, to_half};

mod float;
pub(crate) mod srgb;

use float::{from_shared, from_small, to_half_down, to_shared, to_small};

/// Bits of each channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channels {
    R8,
    R16,
    R8G8,
    R5G6B5,
    R4G4B4A4,
    R5G5B5A1,
    R32,
    R16G16,
    R11G11B10,
    R10G10B10A2,
    R9G9B9E5,
    R8G8B8A8,
    R32G32,
    R16G16B16A16,
    R32G32B32A32,
    /// Three words. Hardware does not have it: Mesa marks texture buffers with it whose texels its programs load by
    /// themselves, and has hardware read only what is outside and therefore zero
    /// (`src/asahi/compiler/agx_nir_lower_texture.c`).
    R32G32B32,
}

/// What the bits of channels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unorm,
    Snorm,
    Uint,
    Sint,
    Float,
}

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) channels: Channels,
    pub(crate) kind: Kind,
    /// Red, green and blue are stored by the transfer function of sRGB.
    pub(crate) srgb: bool,
}

impl Channels {
    /// Bits of each channel, none for those that do not exist.
    pub(crate) const fn bits(self) -> [u32; 4] {
        match self {
            Channels::R8 => [8, 0, 0, 0],
            Channels::R16 => [16, 0, 0, 0],
            Channels::R8G8 => [8, 8, 0, 0],
            Channels::R5G6B5 => [5, 6, 5, 0],
            Channels::R4G4B4A4 => [4, 4, 4, 4],
            Channels::R5G5B5A1 => [5, 5, 5, 1],
            Channels::R32 => [32, 0, 0, 0],
            Channels::R16G16 => [16, 16, 0, 0],
            Channels::R11G11B10 => [11, 11, 10, 0],
            Channels::R10G10B10A2 => [10, 10, 10, 2],
            // Nine bits of mantissa each, and five of exponent.
            Channels::R9G9B9E5 => [9, 9, 9, 0],
            Channels::R8G8B8A8 => [8, 8, 8, 8],
            Channels::R32G32 => [32, 32, 0, 0],
            Channels::R16G16B16A16 => [16, 16, 16, 16],
            Channels::R32G32B32A32 => [32, 32, 32, 32],
            Channels::R32G32B32 => [32, 32, 32, 0],
        }
    }

    /// Bytes of a texel.
    pub(crate) const fn bytes(self) -> u32 {
        match self {
            Channels::R8 => 1,
            Channels::R16
            | Channels::R8G8
            | Channels::R5G6B5
            | Channels::R4G4B4A4
            | Channels::R5G5B5A1 => 2,
            Channels::R32G32 | Channels::R16G16B16A16 => 8,
            Channels::R32G32B32A32 | Channels::R32G32B32 => 16,
            _ => 4,
        }
    }

    /// How many channels there are.
    pub(crate) fn count(self) -> usize {
        self.bits().iter().filter(|&&b| b != 0).count()
    }
}

impl Format {
    /// From the numbers in descriptors.
    pub(crate) fn new(channels: u32, kind: u32, srgb: bool) -> Result<Format, &'static str> {
        let channels = match channels {
            0x00 => Channels::R8,
            0x09 => Channels::R16,
            0x0a => Channels::R8G8,
            0x0b => Channels::R5G6B5,
            0x0c => Channels::R4G4B4A4,
            0x0e => Channels::R5G5B5A1,
            0x21 => Channels::R32,
            0x23 => Channels::R16G16,
            0x25 => Channels::R11G11B10,
            0x26 => Channels::R10G10B10A2,
            0x27 => Channels::R9G9B9E5,
            0x28 => Channels::R8G8B8A8,
            0x31 => Channels::R32G32,
            0x32 => Channels::R16G16B16A16,
            0x36 => Channels::R32G32B32,
            0x38 => Channels::R32G32B32A32,
            0x50..=0x7b => return Err("block-compressed format"),
            _ => return Err("unknown channels of a format"),
        };
        let kind = match kind {
            0 => Kind::Unorm,
            1 => Kind::Snorm,
            2 => Kind::Uint,
            3 => Kind::Sint,
            4 => Kind::Float,
            _ => return Err("unknown type of a format"),
        };
        let bits = channels.bits();
        let fits = match kind {
            Kind::Unorm | Kind::Snorm => bits[0] <= 16,
            Kind::Uint | Kind::Sint => true,
            Kind::Float => bits[0] >= 9 && channels != Channels::R10G10B10A2,
        };
        let packed_float = matches!(channels, Channels::R11G11B10 | Channels::R9G9B9E5);
        if !fits || packed_float && kind != Kind::Float {
            return Err("channels that cannot have this type");
        }
        if srgb && (bits[0] != 8 || kind != Kind::Unorm) {
            return Err("sRGB of other than 8-bit channels");
        }
        Ok(Format {
            channels,
            kind,
            srgb,
        })
    }

    /// Whether values are integers.
    pub(crate) fn is_integer(&self) -> bool {
        matches!(self.kind, Kind::Uint | Kind::Sint)
    }

    /// Whether there is hardware that reads and writes texels.
    pub(crate) fn exists(&self) -> bool {
        self.channels != Channels::R32G32B32
    }

    /// Bytes of a texel.
    pub(crate) fn bytes(&self) -> u32 {
        self.channels.bytes()
    }

    /// One, as values of this format are.
    pub(crate) fn one(&self) -> u32 {
        if self.is_integer() { 1 } else { 1f32.to_bits() }
    }

    /// The channels of raw texels: single precision, or integers, by the kind. Of those that do not exist the first
    /// three are zero and the last is one.
    #[inline(always)]
    pub(crate) fn decode(&self, raw: &[Lanes; 4]) -> [Lanes; 4] {
        let mut out = [Lanes::ZERO; 4];
        out[3] = Lanes::splat(self.one());
        self.decode_some(raw, 15, &mut out);
        out
    }

    /// The same of some channels: those that exist and whose bits are set in `wanted`.
    #[inline(always)]
    pub(crate) fn decode_some(&self, raw: &[Lanes; 4], wanted: u8, out: &mut [Lanes; 4]) {
        if self.channels == Channels::R9G9B9E5 {
            for c in 0..3 {
                out[c] = raw[0].map(|word| from_shared(word, 9 * c as u32));
            }
            return;
        }
        let mut at = 0;
        for (c, bits) in self.channels.bits().into_iter().enumerate() {
            let (word, shift) = (&raw[at as usize / 32 % 4], at % 32);
            at += bits;
            if bits == 0 || wanted >> c & 1 == 0 {
                continue;
            }
            let mask = u32::MAX >> (32 - bits);
            let field = word.map(|word| word >> shift & mask);
            out[c] = self.decode_field(c, bits, &field);
        }
    }

    /// The value of a channel, from as many bits.
    #[inline(always)]
    pub(crate) fn decode_field(&self, c: usize, bits: u32, field: &Lanes) -> Lanes {
        let mask = u32::MAX >> (32 - bits);
        match self.kind {
            Kind::Unorm if self.srgb && c < 3 => srgb::decode(field),
            Kind::Unorm => {
                let most = mask as f32;
                field.map(|x| (x as i32 as f32 / most).to_bits())
            }
            Kind::Snorm => {
                let (unused, most) = (32 - bits, (mask >> 1) as f32);
                field.map(|x| {
                    let value = (x << unused) as i32 >> unused;
                    (value as f32 / most).max(-1.0).to_bits()
                })
            }
            Kind::Uint => *field,
            Kind::Sint => {
                let unused = 32 - bits;
                field.map(|x| ((x << unused) as i32 >> unused) as u32)
            }
            Kind::Float => match bits {
                16 => field.map(from_half),
                10 => field.map(|x| from_small(x, 5)),
                11 => field.map(|x| from_small(x, 6)),
                _ => *field,
            },
        }
    }

    /// The raw texels of channels, the counterpart of `decode`. Normalised numbers are clamped, then rounded to the
    /// nearest; integers lose their high bits; halves are rounded to the nearest, or with `rtz` towards zero.
    #[inline(always)]
    pub(crate) fn encode(&self, value: &[Lanes; 4], rtz: bool) -> [Lanes; 4] {
        let mut raw = [Lanes::ZERO; 4];
        if self.channels == Channels::R9G9B9E5 {
            for lane in 0..32 {
                raw[0].0[lane] = to_shared([0, 1, 2].map(|c| value[c].0[lane]));
            }
            return raw;
        }
        let mut at = 0;
        for (c, bits) in self.channels.bits().into_iter().enumerate() {
            if bits == 0 {
                continue;
            }
            let mask = u32::MAX >> (32 - bits);
            let value = &value[c];
            let field = match self.kind {
                Kind::Unorm if self.srgb && c < 3 => srgb::encode(value),
                Kind::Unorm => value.map(|x| to_unorm(x, mask)),
                Kind::Snorm => value.map(|x| to_snorm(x, mask >> 1)),
                Kind::Uint | Kind::Sint => *value,
                Kind::Float => match bits {
                    16 if rtz => value.map(to_half_down),
                    16 => value.map(to_half),
                    10 => value.map(|x| to_small(x, 5, rtz)),
                    11 => value.map(|x| to_small(x, 6, rtz)),
                    _ => *value,
                },
            };
            let shift = at % 32;
            let word = &mut raw[at as usize / 32 % 4];
            *word = word.zip(field, |word, x| word | (x & mask) << shift);
            at += bits;
        }
        raw
    }
}

/// A number in [0, 1] as an integer up to `most`, rounded to the nearest, ties to even.
#[inline(always)]
pub(crate) fn to_unorm(x: u32, most: u32) -> u32 {
    // What is not a number becomes zero.
    let x = f32::from_bits(x);
    let x = if x > 0.0 { x.min(1.0) } else { 0.0 };
    // The sum's lowest bit stands for one, so that the addition rounds.
    (x * most as f32 + 8_388_608.0).to_bits() & 0x7f_ffff
}

/// A number in [-1, 1] as an integer from `-most` to `most`.
#[inline(always)]
pub(crate) fn to_snorm(x: u32, most: u32) -> u32 {
    let x = f32::from_bits(x);
    let x = if x.is_nan() { 0.0 } else { x.clamp(-1.0, 1.0) };
    (x * most as f32 + 12_582_912.0)
        .to_bits()
        .wrapping_sub(0x4b40_0000)
}

#[cfg(test)]
mod tests;
