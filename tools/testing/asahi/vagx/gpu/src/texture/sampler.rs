// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sampler states (Mesa, `src/asahi/genxml/cmdbuf.xml`, "Sampler" and "Border").

/// How texels between centres are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Nearest,
    Linear,
}

/// How levels are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mip {
    None,
    Nearest,
    Linear,
}

/// What is beyond a texture's edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrap {
    ClampToEdge,
    Repeat,
    MirroredRepeat,
    ClampToBorder,
    /// GL's `CLAMP`: coordinates stay in the texture, filters may reach the border.
    ClampGl,
    MirroredClampToEdge,
}

impl Wrap {
    /// Whether the border may be seen.
    pub(super) fn has_border(self) -> bool {
        matches!(self, Wrap::ClampToBorder | Wrap::ClampGl)
    }

    fn new(number: u64) -> Result<Self, &'static str> {
        Ok(match number {
            0 => Wrap::ClampToEdge,
            1 => Wrap::Repeat,
            2 => Wrap::MirroredRepeat,
            3 => Wrap::ClampToBorder,
            4 => Wrap::ClampGl,
            5 => Wrap::MirroredClampToEdge,
            _ => return Err("sampler with an unknown wrap"),
        })
    }
}

/// Colours beyond a texture's edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Border {
    TransparentBlack,
    OpaqueBlack,
    OpaqueWhite,
    /// A word for each stored channel, in the texture's own encoding.
    Custom([u32; 4]),
}

/// How a reference value is compared with a texel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    LessEqual,
    GreaterEqual,
    Less,
    Greater,
    Equal,
    NotEqual,
    Always,
    Never,
}

impl Compare {
    #[inline(always)]
    pub(super) fn holds(self, reference: f32, texel: f32) -> bool {
        match self {
            Compare::LessEqual => reference <= texel,
            Compare::GreaterEqual => reference >= texel,
            Compare::Less => reference < texel,
            Compare::Greater => reference > texel,
            Compare::Equal => reference == texel,
            Compare::NotEqual => reference != texel,
            Compare::Always => true,
            Compare::Never => false,
        }
    }
}

/// A sampler.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sampler {
    pub(super) least_lod: f32,
    pub(super) most_lod: f32,
    /// Probes along the longer derivative.
    pub(super) anisotropy: u32,
    pub(super) magnify: Filter,
    pub(super) minify: Filter,
    pub(super) mip: Mip,
    pub(super) wrap: [Wrap; 3],
    /// Coordinates count texels of the first level.
    pub(super) pixels: bool,
    pub(super) compare: Option<Compare>,
    pub(super) border: Border,
    /// Filters do not reach into other faces of a cube.
    pub(super) seamful: bool,
}

/// A level of detail in fixed point with six bits of fraction.
fn lod(bits: u64) -> f32 {
    (bits & 0x3ff) as f32 / 64.0
}

fn filter(bits: u64) -> Result<Filter, &'static str> {
    match bits & 3 {
        0 => Ok(Filter::Nearest),
        1 => Ok(Filter::Linear),
        _ => Err("sampler with a filter that is not supported"),
    }
}

impl Sampler {
    /// Decodes a state of eight bytes and the border colour after it.
    pub(super) fn new(state: &[u8; 24]) -> Result<Self, &'static str> {
        let word = |at: usize| {
            u32::from_le_bytes([state[at], state[at + 1], state[at + 2], state[at + 3]])
        };
        let bits = u64::from(word(4)) << 32 | u64::from(word(0));
        let compare = match bits >> 39 & 7 {
            0 => Compare::LessEqual,
            1 => Compare::GreaterEqual,
            2 => Compare::Less,
            3 => Compare::Greater,
            4 => Compare::Equal,
            5 => Compare::NotEqual,
            6 => Compare::Always,
            _ => Compare::Never,
        };
        Ok(Sampler {
            least_lod: lod(bits),
            most_lod: lod(bits >> 10),
            anisotropy: 1 << (bits >> 20 & 7).min(4),
            magnify: filter(bits >> 23)?,
            minify: filter(bits >> 25)?,
            mip: match bits >> 27 & 3 {
                0 => Mip::None,
                1 => Mip::Nearest,
                2 => Mip::Linear,
                _ => return Err("sampler with an unknown mip filter"),
            },
            wrap: [
                Wrap::new(bits >> 29 & 7)?,
                Wrap::new(bits >> 32 & 7)?,
                Wrap::new(bits >> 35 & 7)?,
            ],
            pixels: bits >> 38 & 1 != 0,
            compare: (bits >> 42 & 1 != 0).then_some(compare),
            border: match bits >> 55 & 3 {
                0 => Border::TransparentBlack,
                1 => Border::OpaqueBlack,
                2 => Border::OpaqueWhite,
                _ => Border::Custom([word(8), word(12), word(16), word(20)]),
            },
            seamful: bits >> 57 & 1 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(bits: u64) -> Result<Sampler, &'static str> {
        let mut state = [0; 24];
        state[..8].copy_from_slice(&bits.to_le_bytes());
        state[8..].copy_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0]);
        Sampler::new(&state)
    }

    /// The exact values of Mesa, `src/asahi/lib/tests/test-packing.cpp`.
    #[test]
    fn levels_of_detail() {
        let sampler = sampler(0x380 << 10).unwrap();
        assert_eq!((sampler.least_lod, sampler.most_lod), (0.0, 14.0));
    }

    #[test]
    fn fields() {
        let bits = 4 << 20 | 1 << 23 | 2 << 27 | 1 << 29 | 2 << 32 | 5 << 35 | 1 << 38;
        let got = sampler(bits | 3 << 39 | 1 << 42 | 3 << 55 | 1 << 57).unwrap();
        let expected = Sampler {
            least_lod: 0.0,
            most_lod: 0.0,
            anisotropy: 16,
            magnify: Filter::Linear,
            minify: Filter::Nearest,
            mip: Mip::Linear,
            wrap: [
                Wrap::Repeat,
                Wrap::MirroredRepeat,
                Wrap::MirroredClampToEdge,
            ],
            pixels: true,
            compare: Some(Compare::Greater),
            border: Border::Custom([1, 2, 3, 4]),
            seamful: true,
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn unknown_choices_are_refused() {
        for bits in [2 << 23, 3 << 25, 3 << 27, 6 << 29, 7 << 35] {
            assert!(sampler(bits).is_err(), "{bits:#x}");
        }
    }
}
