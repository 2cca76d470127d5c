// SPDX-License-Identifier: MIT OR Apache-2.0

//! Texture instructions.

use super::Val;
use crate::image::Dimension;

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
    /// Which coordinates it gives. What the texture is, its descriptor says again.
    pub(crate) dim: Dimension,
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
