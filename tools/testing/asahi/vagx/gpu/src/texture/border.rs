// SPDX-License-Identifier: MIT OR Apache-2.0

//! Border colours, before the texture's swizzle.
//!
//! A colour of one's own is stored for each channel as the texture stores it, but a word wide, with four more bits for
//! the colours of sRGB (which are linear), and as a half where the format's floats are smaller (Mesa,
//! `src/asahi/lib/agx_border.c`).

use super::sampler::Border;
use crate::exec::from_half;
use crate::image::codec::{Channels, Format, Kind};

/// Bits of a channel of such a colour.
fn bits(format: &Format, channel: usize) -> u32 {
    match (format.channels, format.srgb) {
        (_, true) if channel < 3 => 12,
        (Channels::R11G11B10 | Channels::R9G9B9E5, _) => 16,
        _ => format.channels.bits()[channel],
    }
}

fn decode(format: &Format, channel: usize, word: u32) -> u32 {
    let bits = bits(format, channel);
    if bits == 0 {
        return if channel == 3 { format.one() } else { 0 };
    }
    let ones = u32::MAX >> (32 - bits);
    let signed = (word << (32 - bits)) as i32 >> (32 - bits);
    match format.kind {
        Kind::Unorm => ((f64::from(word & ones) / f64::from(ones)) as f32).to_bits(),
        Kind::Snorm => {
            let most = f64::from((ones >> 1).max(1));
            ((f64::from(signed) / most).max(-1.0) as f32).to_bits()
        }
        Kind::Uint => word & ones,
        Kind::Sint => signed as u32,
        Kind::Float if bits == 32 => word,
        Kind::Float => from_half(word & 0xffff),
    }
}

/// The colour's channels: floats, or integers for textures of those.
pub(super) fn colour(border: Border, format: &Format) -> [u32; 4] {
    let one = format.one();
    match border {
        Border::TransparentBlack => [0; 4],
        Border::OpaqueBlack => [0, 0, 0, one],
        Border::OpaqueWhite => [one; 4],
        Border::Custom(words) => {
            std::array::from_fn(|channel| decode(format, channel, words[channel]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(channels: u32, kind: u32, srgb: bool) -> Format {
        Format::new(channels, kind, srgb).unwrap()
    }

    fn floats(channels: u32, kind: u32, srgb: bool, words: [u32; 4]) -> [f32; 4] {
        colour(Border::Custom(words), &format(channels, kind, srgb)).map(f32::from_bits)
    }

    #[test]
    fn colours_of_ones_own() {
        assert_eq!(
            floats(0x28, 0, false, [255, 0, 51, 255]),
            [1.0, 0.0, 0.2, 1.0]
        );
        assert_eq!(
            floats(0x28, 0, true, [4095, 0, 819, 51]),
            [1.0, 0.0, 0.2, 0.2]
        );
        assert_eq!(
            floats(0x28, 1, false, [127, 0x81, 0x80, 0]),
            [1.0, -1.0, -1.0, 0.0]
        );
        assert_eq!(floats(0x0b, 0, false, [31, 63, 0, 0]), [1.0, 1.0, 0.0, 1.0]);
        let word = 3.25f32.to_bits();
        assert_eq!(floats(0x38, 4, false, [word, 0, 0, 0])[0], 3.25);
        assert_eq!(floats(0x25, 4, false, [0x4280, 0, 0, 0])[0], 3.25);
        let words = Border::Custom([0xffff, 5, 0, 0]);
        assert_eq!(colour(words, &format(0x23, 3, false)), [u32::MAX, 5, 0, 1]);
    }

    #[test]
    fn fixed_colours() {
        let one = 1f32.to_bits();
        let of = |border, kind| colour(border, &format(0x32, kind, false));
        assert_eq!(of(Border::TransparentBlack, 0), [0; 4]);
        assert_eq!(of(Border::OpaqueBlack, 0), [0, 0, 0, one]);
        assert_eq!(of(Border::OpaqueWhite, 4), [one; 4]);
        assert_eq!(of(Border::OpaqueBlack, 2), [0, 0, 0, 1]);
        assert_eq!(of(Border::OpaqueWhite, 3), [1; 4]);
    }
}
