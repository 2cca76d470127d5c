// SPDX-License-Identifier: MIT OR Apache-2.0

//! Imageblocks and writes to images.

use super::{Format, Val};
use crate::image::Dimension;

/// Where the descriptor of an image is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ImageSource {
    /// In the state register of that number.
    State(Val),
    /// In memory: a uniform address, and an offset.
    Bindless { base: u8, offset: Val },
}

/// Registers of a sample in an imageblock, one for each component of the mask, and how it lies there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TileRegs {
    /// The half register that they start at.
    pub(crate) start: u8,
    pub(crate) wide: bool,
    pub(crate) mask: u8,
    pub(crate) format: Format,
    /// Round towards zero.
    pub(crate) rtz: bool,
    /// Bytes from the sample's start.
    pub(crate) offset: u32,
}

/// An operation on an imageblock or a write to an image.
#[derive(Clone, Debug)]
pub(crate) enum TileOp {
    Load {
        regs: TileRegs,
        samples: Val,
    },
    Store {
        regs: TileRegs,
        /// The pixel, if it is not that of the thread.
        pixel: Option<[Val; 2]>,
        samples: Val,
    },
    /// Writes a texel for each thread.
    Image {
        /// The half register that the four components start at.
        start: u8,
        wide: bool,
        image: ImageSource,
        coords: [Val; 3],
        dim: Dimension,
        level: Val,
        rtz: bool,
    },
    /// Writes an imageblock.
    Block {
        /// Bytes from the samples' start.
        offset: Val,
        format: Format,
        image: ImageSource,
        /// Texel of the upper left corner, if it is not that of the tile.
        corner: Option<[Val; 2]>,
        layer: Val,
        dim: Dimension,
        level: Val,
    },
}
