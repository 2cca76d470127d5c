// SPDX-License-Identifier: MIT OR Apache-2.0

//! Texture instructions.

use super::Val;

/// Which coordinates an instruction gives. What the texture is, its descriptor says again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextureDim {
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

impl TextureDim {
    /// Coordinates besides layer and sample.
    pub(crate) fn axes(self) -> usize {
        match self {
            TextureDim::D1 | TextureDim::D1Array => 1,
            TextureDim::D3 | TextureDim::Cube | TextureDim::CubeArray => 3,
            _ => 2,
        }
    }

    pub(crate) fn is_array(self) -> bool {
        matches!(
            self,
            TextureDim::D1Array
                | TextureDim::D2Array
                | TextureDim::CubeArray
                | TextureDim::D2MsArray
        )
    }

    pub(crate) fn is_multisampled(self) -> bool {
        matches!(self, TextureDim::D2Ms | TextureDim::D2MsArray)
    }

    pub(crate) fn is_cube(self) -> bool {
        matches!(self, TextureDim::Cube | TextureDim::CubeArray)
    }
}

/// Where a texture's state is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TextureSource {
    /// In a state register.
    State(u8),
    /// In the state register whose number is in a register.
    Indexed(Val),
    /// In memory: at a uniform address plus a register.
    Bindless { base: u8, offset: Val },
}

/// Where a sampler's state is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SamplerSource {
    /// In a state register.
    State(u8),
    /// In the state register, or at the place in the job's heap, whose number is in a register.
    Indexed(Val),
}

/// How the level of detail is found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LodSource {
    /// From the neighbours' coordinates.
    Auto,
    /// The same, with something added; and no less than a minimum.
    Bias { bias: Val, least: Option<Val> },
    /// As given.
    Level(Val),
    /// From derivatives, in this register and those that follow it: for each axis the one along x, then that along y.
    Gradient { first: u8, least: bool },
}

/// A texture is sampled or read.
#[derive(Clone, Debug)]
pub(crate) struct TextureOp {
    /// The half register that results start at.
    pub(crate) start: u8,
    /// Results are 32 bits wide, not 16.
    pub(crate) wide: bool,
    /// Components that are wanted.
    pub(crate) mask: u8,
    /// Coordinates are whole texels, and nothing is filtered.
    pub(crate) fetch: bool,
    pub(crate) dim: TextureDim,
    /// Coordinates, layer and sample.
    pub(crate) coords: [Val; 3],
    /// Coordinates are floats, or integers, of 16 bits.
    pub(crate) narrow: bool,
    pub(crate) layer: Val,
    pub(crate) sample: Val,
    pub(crate) texture: TextureSource,
    pub(crate) sampler: SamplerSource,
    pub(crate) lod: LodSource,
    /// The reference value of a comparison.
    pub(crate) compare: Option<Val>,
    /// Added to coordinates in texels: four bits for each axis.
    pub(crate) offset: Option<Val>,
    /// One component of each of four texels is wanted.
    pub(crate) gather: Option<u8>,
    /// The level of detail is wanted, and no texel.
    pub(crate) query_lod: bool,
    /// Whether the memory is there is wanted too.
    pub(crate) sparse: bool,
}
