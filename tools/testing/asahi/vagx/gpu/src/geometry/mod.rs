// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the vertex half of a render leaves for its fragment half: primitives in the order of their submission, clipped and
//! in pixels, with all state that decides what becomes of them.
//!
//! Hardware keeps this in the tiler's buffer, in a form that only it knows; the model keeps it on the host.

mod build;
mod clip;
mod state;

pub use state::{
    Cull, DrawState, Face, FragmentControl, FragmentShader, ObjectType, OutputSelect, PolygonMode,
    RegionClip, Stencil, VaryingCounts, Viewport, Visibility,
};

pub(crate) use build::Builder;

use crate::vdm::VertexStats;
use std::sync::Arc;

/// Coordinates of vertices stay within this distance of zero, in pixels.
pub const GUARD_BAND: f32 = 32768.0;

/// All that the vertex half of a render made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Geometry {
    /// What the control stream held.
    pub stats: VertexStats,
    /// In the order of their submission. Draws without a primitive are left out.
    pub draws: Vec<Draw>,
}

/// Primitives of one state.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    pub state: Arc<DrawState>,
    /// Vertices after clipping and the viewport's transform.
    pub vertices: Vec<Vertex>,
    /// Bits of the varyings: those of vertex `v` start at `v * stride`. They are in the order in which the shader writes
    /// them, the 32-bit ones (smooth, flat, linear) and then the pairs of 16-bit ones; neither position nor point size,
    /// layer and clip distances are among them. So what coefficient bindings call slot `s` is varying `s - 1`, or
    /// `s - 2` if [`OutputSelect::frag_coord_z`].
    pub varyings: Vec<u32>,
    /// Varyings of a vertex.
    pub stride: usize,
    /// In the order of their submission.
    pub primitives: Vec<Primitive>,
    /// Weights of the corners of clipped primitives, see [`Primitive::weights`].
    pub weights: Vec<[[f32; 3]; 3]>,
}

impl Draw {
    /// The varyings of a vertex.
    pub fn varyings(&self, vertex: u32) -> &[u32] {
        let start = (vertex as usize).saturating_mul(self.stride);
        self.varyings
            .get(start..start.saturating_add(self.stride))
            .unwrap_or_default()
    }

    /// A vertex. One that does not exist is in the corner.
    pub fn vertex(&self, vertex: u32) -> Vertex {
        self.vertices
            .get(vertex as usize)
            .copied()
            .unwrap_or_default()
    }
}

/// A vertex in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vertex {
    /// Pixels from the left edge, not yet rounded to the raster's fixed point.
    pub x: f32,
    /// Pixels from the upper edge.
    pub y: f32,
    /// Depth after the viewport's transform, neither clamped nor biased.
    pub z: f32,
    /// 1 / w in clip space, greater than zero.
    pub rhw: f32,
    /// Pixels that a point is wide.
    pub point_size: f32,
}

/// What a primitive is drawn as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Its three vertices span it.
    #[default]
    Triangle,
    /// From the first vertex to the second, as wide as [`Face::line_width`].
    Line,
    /// A square around the first vertex.
    Point,
}

/// A primitive. Where it came from a larger one by clipping or by its polygon mode, it has an own entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Primitive {
    pub shape: Shape,
    /// Its vertices. Lines and points repeat their last one.
    pub vertices: [u32; 3],
    /// The unclipped vertices of the primitive that was submitted, in its order: flat varyings are taken from these by
    /// the number that the shade model says. Only their varyings mean something.
    pub flat: [u32; 3],
    /// Which of the faces' states holds. Lines and points are always front.
    pub back_facing: bool,
    /// The layer of the framebuffer.
    pub layer: u16,
    /// The viewport, less than the number of [`DrawState::viewports`], as are region clips.
    pub viewport: u8,
    /// Position in its draw, counted from zero for each instance.
    pub id: u32,
    /// Zero if `vertices` are those of the submitted primitive in the same order; else `weights[this - 1]` says
    /// of each vertex which part of the three submitted ones it is, for barycentric coordinates.
    pub weights: u32,
}
