// SPDX-License-Identifier: MIT OR Apache-2.0

//! What memory formats mean when they are loaded (applegpu.py, DeviceLoad).

use super::Lanes;
use super::half::{from_half, to_half};
use crate::image::codec::srgb;
use crate::uop::Format;

/// The value of a component as it arrives in a register of 32 or 16 bits.
#[inline(always)]
pub(crate) fn unpack(format: Format, wide: bool, component: u32, raw: Lanes) -> Lanes {
    let float = |f: fn(u32) -> f32| {
        raw.map(|x| {
            let bits = f(x).to_bits();
            if wide { bits } else { to_half(bits) }
        })
    };
    match format {
        Format::I8 | Format::I16 | Format::I32 => raw,
        Format::F16 if wide => raw.map(from_half),
        Format::F16 => raw,
        Format::U8Norm => float(|x| x as f32 / 255.0),
        Format::S8Norm => float(|x| f32::from((x as u8 as i8).max(-127)) / 127.0),
        Format::U16Norm => float(|x| x as f32 / 65535.0),
        Format::S16Norm => float(|x| f32::from((x as u16 as i16).max(-32767)) / 32767.0),
        Format::Srgba8 if component == 3 => float(|x| x as f32 / 255.0),
        Format::Srgba8 => {
            let single = srgb::decode(&raw);
            if wide { single } else { single.map(to_half) }
        }
        Format::Rgb10A2 => match component {
            0 => float(|x| (x & 0x3ff) as f32 / 1023.0),
            1 => float(|x| (x >> 10 & 0x3ff) as f32 / 1023.0),
            2 => float(|x| (x >> 20 & 0x3ff) as f32 / 1023.0),
            _ => float(|x| (x >> 30) as f32 / 3.0),
        },
        Format::Rg11B10F => match component {
            0 => float(|x| small_float(x & 0x7ff, 6)),
            1 => float(|x| small_float(x >> 11 & 0x7ff, 6)),
            _ => float(|x| small_float(x >> 22, 5)),
        },
        Format::Rgb9E5 => match component {
            0 => float(|x| shared_exponent(x, 0)),
            1 => float(|x| shared_exponent(x, 9)),
            _ => float(|x| shared_exponent(x, 18)),
        },
    }
}

/// An unsigned float with five bits of exponent: a half without its sign and lowest bits.
fn small_float(bits: u32, mantissa: u32) -> f32 {
    f32::from_bits(from_half(bits << (10 - mantissa)))
}

fn shared_exponent(word: u32, at: u32) -> f32 {
    let scale = f32::from_bits(((word >> 27) + 127 - 15 - 9) << 23);
    (word >> at & 0x1ff) as f32 * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(format: Format, component: u32, raw: u32) -> f32 {
        f32::from_bits(unpack(format, true, component, Lanes::splat(raw)).0[0])
    }

    #[test]
    fn components() {
        assert_eq!(one(Format::U8Norm, 0, 255), 1.0);
        assert_eq!(one(Format::S8Norm, 0, 0x80), -1.0);
        assert_eq!(one(Format::F16, 0, 0x3c00), 1.0);
        assert_eq!(one(Format::Rgb10A2, 3, 0xc000_0000), 1.0);
        assert_eq!(one(Format::Rg11B10F, 0, 0x3c0), 1.0);
        assert_eq!(one(Format::Rg11B10F, 2, 0x1e0 << 22), 1.0);
        assert_eq!(one(Format::Rgb9E5, 0, 0x8000_0100), 1.0);
        assert_eq!(one(Format::Srgba8, 0, 255), 1.0);
    }
}
