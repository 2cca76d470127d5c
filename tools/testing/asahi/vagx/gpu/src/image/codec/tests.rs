// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;

const ALL: [Channels; 15] = [
    Channels::R8,
    Channels::R16,
    Channels::R8G8,
    Channels::R5G6B5,
    Channels::R4G4B4A4,
    Channels::R5G5B5A1,
    Channels::R32,
    Channels::R16G16,
    Channels::R11G11B10,
    Channels::R10G10B10A2,
    Channels::R9G9B9E5,
    Channels::R8G8B8A8,
    Channels::R32G32,
    Channels::R16G16B16A16,
    Channels::R32G32B32A32,
];

fn format(channels: Channels, kind: Kind) -> Format {
    Format {
        channels,
        kind,
        srgb: false,
    }
}

fn decode(format: Format, raw: [u32; 4]) -> [u32; 4] {
    format.decode(&raw.map(Lanes::splat)).map(|l| l.0[31])
}

fn encode(format: Format, value: [f32; 4]) -> [u32; 4] {
    let value = value.map(|x| Lanes::splat(x.to_bits()));
    format.encode(&value, false).map(|l| l.0[0])
}

/// Every number of 8 and 16 bits, in all formats, comes back as it was.
#[test]
fn round_trips() {
    for channels in ALL {
        for kind in [
            Kind::Unorm,
            Kind::Snorm,
            Kind::Uint,
            Kind::Sint,
            Kind::Float,
        ] {
            for srgb in [false, true] {
                let format = Format {
                    channels,
                    kind,
                    srgb,
                };
                if Format::new(number(channels), kind as u32, srgb) != Ok(format) {
                    continue;
                }
                round_trip(format);
            }
        }
    }
}

fn number(channels: Channels) -> u32 {
    let all = [
        0x00, 0x09, 0x0a, 0x0b, 0x0c, 0x0e, 0x21, 0x23, 0x25, 0x26, 0x27, 0x28, 0x31, 0x32, 0x38,
    ];
    all[ALL.iter().position(|&c| c == channels).unwrap()]
}

fn round_trip(format: Format) {
    let bytes = format.bytes();
    for low in (0..0x1_0000u32).step_by(32) {
        let mut raw = [Lanes::ZERO; 4];
        for lane in 0..32 {
            let seed = low + lane as u32;
            for word in 0..4 {
                // The first 16 bits take all values, the others some.
                let mixed = seed.wrapping_mul(0x9e37_79b1 + 2 * word as u32);
                let mask = u32::MAX >> (32 - 8 * bytes.min(4));
                let used = word as u32 * 4 < bytes;
                let value = if word == 0 { seed | mixed << 16 } else { mixed };
                raw[word].0[lane] = if used { value & mask } else { 0 };
            }
        }
        let decoded = format.decode(&raw);
        let encoded = format.encode(&decoded, false);
        for lane in 0..32 {
            let before = raw.map(|l| l.0[lane]);
            let after = encoded.map(|l| l.0[lane]);
            if before == after {
                continue;
            }
            // The only numbers with two forms: the lowest of SNORM, the shared exponent, and what is not a number.
            let again = decode(format, after);
            let twin = (0..4).all(|c| {
                let (a, b) = (decoded[c].0[lane], again[c]);
                let nan = |x| f32::from_bits(x).is_nan();
                a == b || !format.is_integer() && nan(a) && nan(b)
            });
            let two = matches!(format.kind, Kind::Snorm | Kind::Float);
            assert!(twin && two, "{format:?} {before:x?} {after:x?}");
        }
    }
}

#[test]
fn values() {
    let f = |x: [f32; 4]| x.map(f32::to_bits);
    let rgba8 = format(Channels::R8G8B8A8, Kind::Unorm);
    assert_eq!(
        decode(rgba8, [0xff00_8001, 0, 0, 0]),
        f([1.0 / 255.0, 128.0 / 255.0, 0.0, 1.0])
    );
    assert_eq!(encode(rgba8, [0.5, -1.0, 7.0, f32::NAN])[0], 0x00ff_0080);
    let rgb565 = format(Channels::R5G6B5, Kind::Unorm);
    assert_eq!(decode(rgb565, [0xf81f, 0, 0, 0]), f([1.0, 0.0, 1.0, 1.0]));
    let rgb5a1 = format(Channels::R5G5B5A1, Kind::Unorm);
    assert_eq!(encode(rgb5a1, [0.0, 1.0, 0.0, 1.0])[0], 0x83e0);
    let rgba4 = format(Channels::R4G4B4A4, Kind::Unorm);
    assert_eq!(
        encode(rgba4, [1.0 / 15.0, 2.0 / 15.0, 3.0 / 15.0, 4.0 / 15.0])[0],
        0x4321
    );
    let snorm = format(Channels::R16G16, Kind::Snorm);
    assert_eq!(encode(snorm, [-1.0, 0.5, 0.0, 0.0])[0], 0x4000_8001);
    assert_eq!(
        decode(snorm, [0x7fff_8000, 0, 0, 0]),
        f([-1.0, 1.0, 0.0, 1.0])
    );
    let rgb10a2 = format(Channels::R10G10B10A2, Kind::Uint);
    assert_eq!(decode(rgb10a2, [0xc010_0801, 0, 0, 0]), [1, 2, 1, 3]);
    let sint = format(Channels::R8, Kind::Sint);
    assert_eq!(decode(sint, [0x80, 0, 0, 0]), [0xffff_ff80, 0, 0, 1]);
    let wide = format(Channels::R32G32B32A32, Kind::Uint);
    assert_eq!(decode(wide, [1, 2, 3, 4]), [1, 2, 3, 4]);
    let halves = format(Channels::R16G16B16A16, Kind::Float);
    assert_eq!(
        encode(halves, [1.0, -2.0, 65520.0, 0.5]),
        [0xc000_3c00, 0x3800_7c00, 0, 0]
    );
}

#[test]
fn packed_floats() {
    let packed = format(Channels::R11G11B10, Kind::Float);
    let one = |x: f32| encode(packed, [x, x, x, 0.0])[0];
    assert_eq!(one(1.0), 0x3c0 | 0x3c0 << 11 | 0x1e0 << 22);
    assert_eq!(one(-1.0), 0);
    assert_eq!(one(f32::INFINITY), 0x7c0 | 0x7c0 << 11 | 0x3e0 << 22);
    assert_eq!(one(1e9), 0x7bf | 0x7bf << 11 | 0x3df << 22);
    // The smallest, and halves of it.
    let least = 2f32.powi(-20);
    assert_eq!(one(least) & 0x7ff, 1);
    assert_eq!(one(least * 0.5) & 0x7ff, 0);
    assert_eq!(one(least * 1.5) & 0x7ff, 2);
    // Ties to even, and towards zero.
    assert_eq!(to_small((1.0f32 + 3.0 / 128.0).to_bits(), 6, false), 0x3c2);
    assert_eq!(to_small((1.0f32 + 3.0 / 128.0).to_bits(), 6, true), 0x3c1);
    assert_eq!(to_small((least * 1.9).to_bits(), 6, true), 1);
    assert_eq!(to_half_down((-1.0009f32).to_bits()), 0xbc00);
    assert_eq!(to_half_down(1e9f32.to_bits()), 0x7bff);

    let shared = format(Channels::R9G9B9E5, Kind::Float);
    assert_eq!(
        encode(shared, [1.0, 0.5, 0.0, 9.0])[0],
        256 | 128 << 9 | 16 << 27
    );
    assert_eq!(
        encode(shared, [1e9, -1.0, f32::NAN, 0.0])[0],
        511 | 31 << 27
    );
    // Rounding up to the next power of two takes another exponent.
    assert_eq!(encode(shared, [1.999, 0.0, 0.0, 0.0])[0], 256 | 17 << 27);
}

fn to_srgb(x: f32) -> u32 {
    srgb::encode(&Lanes::splat(x.to_bits())).0[7]
}

#[test]
fn srgb_rounds_to_the_nearest() {
    for value in 0..256u32 {
        assert_eq!(
            to_srgb(f32::from_bits(srgb::decode(&Lanes::splat(value)).0[7])),
            value
        );
    }
    // The middle between 9 and 10, both in the linear part, and its neighbours.
    let middle = (9.5f32 / 255.0) / 12.92;
    assert_eq!(to_srgb(middle * 0.9999), 9);
    assert_eq!(to_srgb(middle * 1.0001), 10);
    assert_eq!(to_srgb(f32::NAN), 0);
    assert_eq!(to_srgb(2f32), 255);
    assert_eq!(to_srgb(0.5f32), 188);
}

#[test]
fn refuses() {
    assert!(Format::new(0x74, 0, false).is_err());
    assert!(Format::new(0x33, 0, false).is_err());
    assert!(!Format::new(0x36, 4, false).unwrap().exists());
    assert!(Format::new(0x28, 4, false).is_err());
    assert!(Format::new(0x28, 5, false).is_err());
    assert!(Format::new(0x38, 0, false).is_err());
    assert!(Format::new(0x09, 0, true).is_err());
    assert!(Format::new(0x28, 0, true).is_ok());
}
