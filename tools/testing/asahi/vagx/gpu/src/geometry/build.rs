// SPDX-License-Identifier: MIT OR Apache-2.0

//! From what vertex shaders wrote to primitives in pixels.

use super::clip::{Corner, Plane, Polygon, clip_line, clip_point};
use super::{Draw, DrawState, GUARD_BAND, PolygonMode, Primitive, Shape, Vertex, Viewport};
use crate::render::VertexJob;
use crate::vertex::Assembled;
use std::sync::Arc;

/// What is outside of which plane. The sides of the frame decide about whole primitives only; the rest is clipped.
mod outside {
    pub(super) const W: u32 = 1 << 0;
    pub(super) const NEAR: u32 = 1 << 1;
    pub(super) const FAR: u32 = 1 << 2;
    /// Left, right, above and below of the guard band.
    pub(super) const BAND: u32 = 1 << 3;
    /// Left, right, above and below of the frame.
    pub(super) const FRAME: u32 = 1 << 7;
    /// A coordinate is no number.
    pub(super) const NAN: u32 = 1 << 11;
    /// Clip distances.
    pub(super) const USER: u32 = 1 << 16;
}

/// Where the words of a vertex are (Mesa, `docs/drivers/asahi.rst`, "Hardware varyings"): position, varyings, point size,
/// layer and viewport, clip distances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Words {
    varyings: usize,
    point_size: Option<usize>,
    target: Option<usize>,
    clip_distances: usize,
    planes: usize,
}

impl Words {
    fn new(state: &DrawState, size: usize) -> Self {
        let select = state.output_select;
        let planes = select.clip_distances().count_ones() as usize;
        let mut end = size.saturating_sub(planes);
        let clip_distances = end;
        let mut take = |there: bool| {
            there.then(|| {
                end = end.saturating_sub(1);
                end
            })
        };
        let target = take(select.viewport_target() || select.render_target());
        let point_size = take(select.point_size());
        Words {
            varyings: end.saturating_sub(4),
            point_size,
            target,
            clip_distances,
            planes,
        }
    }
}

/// What is known of a vertex besides its place in pixels.
#[derive(Clone, Copy, Debug, Default)]
struct Raw {
    position: [f32; 4],
    outside: u32,
    layer: u16,
    viewport: u16,
}

/// Four planes in clip space: left, right, above and below. First what all of them multiply x with, then y, and so on.
#[derive(Clone, Copy, Debug, Default)]
struct Planes([[f32; 4]; 4]);

impl Planes {
    /// A bit for each plane outside of which a position is.
    #[inline(always)]
    fn beyond(&self, [x, y, z, w]: [f32; 4]) -> u32 {
        let [px, py, pz, pw] = &self.0;
        (0..4).fold(0, |outside, i| {
            let distance = px[i] * x + py[i] * y + pz[i] * z + pw[i] * w;
            outside | u32::from(below(distance, 0.0)) << i
        })
    }

    fn plane(&self, side: usize) -> [f32; 4] {
        self.0.map(|factors| factors[side])
    }
}

/// What a viewport makes of the sides.
#[derive(Clone, Copy, Debug, Default)]
struct Sides {
    viewport: Viewport,
    /// Of the guard band.
    band: Planes,
    /// Of the frame, with a margin for what reaches beyond its vertices.
    frame: Planes,
}

impl Sides {
    fn new(viewport: Viewport, frame: [f32; 2], margin: f32) -> Self {
        let [sx, sy, _] = viewport.scale;
        let [tx, ty, _] = viewport.translate;
        let planes = |low: f32, high: [f32; 2]| {
            Planes([
                [sx, -sx, 0.0, 0.0],
                [0.0, 0.0, sy, -sy],
                [0.0; 4],
                [tx - low, high[0] - tx, ty - low, high[1] - ty],
            ])
        };
        // A little less than the whole band, for what rounding adds.
        let most = GUARD_BAND - 8.0;
        Sides {
            viewport,
            band: planes(-most, [most; 2]),
            frame: planes(-margin, frame.map(|size| size + margin)),
        }
    }
}

/// Makes the primitives of a draw.
pub(crate) struct Builder {
    draw: Draw,
    raw: Vec<Raw>,
    /// Clip distances, all of a vertex together.
    distances: Vec<f32>,
    words: Words,
    /// Words that the shader writes for a vertex.
    size: usize,
    least_w: f32,
    opengl: bool,
    /// One for each viewport.
    sides: Vec<Sides>,
    /// The corner of a primitive that says which layer and viewport it is for.
    flat_vertex: usize,
    /// Primitives are dropped.
    discard: bool,
}

impl Builder {
    /// `flat_vertex` is the vertex that gives a primitive its flat varyings. None if there is no viewport.
    pub(crate) fn new(
        state: Arc<DrawState>,
        job: &VertexJob,
        size: usize,
        flat_vertex: u32,
    ) -> Option<Self> {
        let words = Words::new(&state, size);
        // "CR PPP Control": depth from -1 to 1, and a least value of the fourth coordinate.
        let clamp = if job.ppp_ctrl & 2 != 0 {
            state.w_clamp
        } else {
            0.0
        };
        let discard = state.cull.rasterizer_discard();
        if state.viewports.is_empty() && !discard {
            return None;
        }
        // Rounding to the raster's grid, a line's half width, half of the widest point.
        let line = state.front_face.line_width();
        let margin = match words.point_size {
            Some(_) => 258.0,
            None => 1.0 + line.max(state.back_face.line_width()),
        };
        let frame = [job.width_px as f32, job.height_px as f32];
        let viewports = state.viewports.iter();
        let sides = viewports.map(|v| Sides::new(*v, frame, margin)).collect();
        Some(Builder {
            draw: Draw {
                state,
                vertices: Vec::new(),
                varyings: Vec::new(),
                stride: words.varyings,
                primitives: Vec::new(),
                weights: Vec::new(),
            },
            raw: Vec::new(),
            distances: Vec::new(),
            words,
            size,
            least_w: clamp.clamp(1e-30, 1e30),
            opengl: job.ppp_ctrl & 1 != 0,
            sides,
            flat_vertex: flat_vertex.min(2) as usize,
            discard,
        })
    }

    /// Bytes that it has gathered, about.
    pub(crate) fn bytes(&self) -> usize {
        let d = &self.draw;
        // The state is counted too, as there may be no end of draws.
        2048 + d.vertices.len() * (size_of::<Vertex>() + size_of::<Raw>())
            + (d.varyings.len() + self.distances.len()) * 4
            + d.primitives.len() * size_of::<Primitive>()
            + d.weights.len() * 36
    }

    /// The draw, if anything of it can be seen.
    pub(crate) fn finish(self) -> Option<Draw> {
        (!self.draw.primitives.is_empty()).then_some(self.draw)
    }

    /// Takes vertices as the shader wrote them. The first one gets the returned number.
    pub(crate) fn vertices(&mut self, words: &[u32]) -> u32 {
        let first = self.draw.vertices.len() as u32;
        if self.discard || self.size < 4 {
            return first;
        }
        let count = words.len() / self.size;
        self.draw.vertices.reserve(count);
        self.raw.reserve(count);
        self.draw.varyings.reserve(count * self.draw.stride);
        for vertex in words.chunks_exact(self.size) {
            self.vertex(vertex);
        }
        first
    }

    fn vertex(&mut self, words: &[u32]) {
        let at = |index: usize| words.get(index).copied().unwrap_or(0);
        let position: [f32; 4] = std::array::from_fn(|i| f32::from_bits(at(i)));
        let (layer, viewport) = match self.words.target.map(at) {
            Some(target) => (target as u16, (target >> 16) as u16),
            None => (0, 0),
        };
        let viewport = match usize::from(viewport) < self.draw.state.viewports.len() {
            true => viewport,
            false => 0,
        };
        let point_size = match self.words.point_size {
            // The limits of Mesa's drivers; what is no number gets the least.
            Some(index) => match f32::from_bits(at(index)) {
                size if size.is_nan() => 1.0,
                size => size.clamp(1.0, 511.95),
            },
            None => 1.0,
        };
        let distances = (0..self.words.planes)
            .map(|plane| f32::from_bits(at(self.words.clip_distances + plane)));
        let mut outside = 0;
        for (plane, distance) in distances.enumerate() {
            outside |= u32::from(below(distance, 0.0)) << plane;
            self.distances.push(distance);
        }
        let raw = Raw {
            position,
            outside: outside * outside::USER,
            layer,
            viewport,
        };
        let varyings = words.get(4..4 + self.draw.stride).unwrap_or_default();
        self.draw.varyings.extend_from_slice(varyings);
        let missing = self.draw.stride - varyings.len();
        self.draw.varyings.extend(std::iter::repeat_n(0, missing));
        self.raw.push(raw);
        let vertex = self.project(&position, viewport);
        self.draw.vertices.push(Vertex {
            point_size,
            ..vertex
        });
        let outside = self.outside(&position, viewport);
        if let Some(raw) = self.raw.last_mut() {
            raw.outside |= outside;
        }
    }

    /// Those of a viewport that exists.
    #[inline]
    fn sides(&self, viewport: u16) -> &Sides {
        const NONE: &Sides = &Sides {
            viewport: Viewport {
                translate: [0.0; 3],
                scale: [0.0; 3],
            },
            band: Planes([[0.0; 4]; 4]),
            frame: Planes([[0.0; 4]; 4]),
        };
        self.sides.get(usize::from(viewport)).unwrap_or(NONE)
    }

    /// The place in pixels of what is inside of all planes.
    #[inline]
    fn project(&self, position: &[f32; 4], viewport: u16) -> Vertex {
        let [x, y, z, w] = *position;
        let Viewport { translate, scale } = self.sides(viewport).viewport;
        let on = |value: f32, axis: usize| value / w * scale[axis] + translate[axis];
        Vertex {
            x: on(x, 0).clamp(-GUARD_BAND, GUARD_BAND),
            y: on(y, 1).clamp(-GUARD_BAND, GUARD_BAND),
            z: on(z, 2).clamp(-1e30, 1e30),
            rhw: 1.0 / w,
            point_size: 1.0,
        }
    }

    fn near(&self) -> [f32; 4] {
        [0.0, 0.0, 1.0, if self.opengl { 1.0 } else { 0.0 }]
    }

    /// All but the clip distances.
    #[inline]
    fn outside(&self, position: &[f32; 4], viewport: u16) -> u32 {
        let [x, y, z, w] = *position;
        let beyond = |plane: [f32; 4]| {
            let distance = plane[0] * x + plane[1] * y + plane[2] * z + plane[3] * w;
            u32::from(below(distance, 0.0))
        };
        let mut outside = u32::from(below(w, self.least_w)) * outside::W;
        if self.draw.state.cull.depth_clip() {
            outside |= beyond(self.near()) * outside::NEAR;
            outside |= beyond(FAR) * outside::FAR;
        }
        let sides = self.sides(viewport);
        outside |= sides.band.beyond(*position) * outside::BAND;
        outside |= sides.frame.beyond(*position) * outside::FRAME;
        if !position.iter().all(|value| value.is_finite()) {
            outside |= outside::NAN;
        }
        outside
    }

    /// Takes a primitive of vertices that `vertices` has taken.
    #[inline]
    pub(crate) fn primitive(&mut self, made: Assembled) {
        if self.discard {
            return;
        }
        let [a, b, c] = made.vertices;
        let all = (
            self.raw.get(a as usize),
            self.raw.get(b as usize),
            self.raw.get(c as usize),
        );
        let (Some(&a), Some(&b), Some(&c)) = all else {
            return;
        };
        let mut raw = [a, b, c];
        // The vertex that gives flat values; lines and points repeat their last.
        let Raw {
            layer, viewport, ..
        } = raw[self.flat_vertex];
        let mut vertices = made.vertices;
        if raw.iter().any(|r| r.viewport != viewport) {
            for (vertex, raw) in vertices.iter_mut().zip(&mut raw) {
                (*vertex, *raw) = self.moved(*vertex, raw, viewport);
            }
        }
        let [a, b, c] = raw.map(|r| r.outside);
        if a & b & c != 0 || (a | b | c) & outside::NAN != 0 {
            return;
        }
        let whole = Whole {
            raw,
            outside: a | b | c,
            primitive: Primitive {
                shape: Shape::Triangle,
                vertices,
                flat: vertices,
                back_facing: false,
                layer,
                viewport: viewport as u8,
                id: made.id,
                weights: 0,
            },
        };
        match made.corners {
            1 => self.point(whole, 0),
            2 => self.line(whole, [0, 1]),
            _ => self.triangle(whole),
        }
    }

    /// The vertex again, for another viewport.
    fn moved(&mut self, vertex: u32, raw: &Raw, viewport: u16) -> (u32, Raw) {
        let user = raw.outside & !(outside::USER - 1);
        let outside = self.outside(&raw.position, viewport);
        let raw = Raw {
            outside: user | outside,
            viewport,
            ..*raw
        };
        let point_size = self.draw.vertex(vertex).point_size;
        let place = Vertex {
            point_size,
            ..self.project(&raw.position, viewport)
        };
        let start = vertex as usize * self.draw.stride;
        let varyings = start..start + self.draw.stride;
        self.draw.varyings.extend_from_within(varyings);
        let start = vertex as usize * self.words.planes;
        self.distances
            .extend_from_within(start..start + self.words.planes);
        (self.push(place, raw), raw)
    }

    /// Adds a vertex whose varyings and distances are there already.
    fn push(&mut self, vertex: Vertex, raw: Raw) -> u32 {
        let number = self.draw.vertices.len() as u32;
        self.draw.vertices.push(vertex);
        self.raw.push(raw);
        number
    }

    /// Calls `clip` for each plane that cuts.
    fn each_plane(&self, whole: &Whole, mut clip: impl FnMut(&Plane)) {
        let outside = whole.outside;
        if outside & outside::W != 0 {
            clip(&Plane::LeastW(self.least_w));
        }
        if outside & outside::NEAR != 0 {
            clip(&Plane::Position(self.near()));
        }
        if outside & outside::FAR != 0 {
            clip(&Plane::Position(FAR));
        }
        for plane in 0..self.words.planes {
            if outside & outside::USER << plane != 0 {
                let distances = whole.primitive.vertices.map(|vertex| {
                    let at = vertex as usize * self.words.planes + plane;
                    self.distances.get(at).copied().unwrap_or(0.0)
                });
                clip(&Plane::Distances(distances));
            }
        }
        let sides = self.sides(whole.primitive.viewport.into());
        for side in 0..4 {
            if outside & outside::BAND << side != 0 {
                clip(&Plane::Position(sides.band.plane(side)));
            }
        }
    }

    /// Keeps one vertex of the primitive as a point.
    fn point(&mut self, whole: Whole, index: usize) {
        let point = whole.corner(index);
        // Points outside of the frame's sides stay: only where their middle is in depth matters (Mesa,
        // `src/asahi/vulkan/hk_physical_device.c`, `pointClippingBehavior`).
        let mut inside = true;
        if whole.raw[index].outside & CLIPPED != 0 {
            self.each_plane(&whole, |plane| inside &= clip_point(&point, plane));
        }
        if inside {
            let vertex = whole.primitive.vertices[index];
            self.draw.primitives.push(Primitive {
                shape: Shape::Point,
                vertices: [vertex; 3],
                ..whole.primitive
            });
        }
    }

    /// Keeps the line between two vertices of the primitive.
    fn line(&mut self, whole: Whole, [from, to]: [usize; 2]) {
        let mut ends = [whole.corner(from), whole.corner(to)];
        if (whole.raw[from].outside | whole.raw[to].outside) & CLIPPED != 0 {
            let mut inside = true;
            self.each_plane(&whole, |plane| {
                inside = inside && clip_line(&mut ends, plane);
            });
            if !inside {
                return;
            }
        }
        let [a, b] = ends.map(|end| self.place(&whole, &end));
        let [first, second] = ends.map(|end| end.weights);
        let submitted = (from, to) == (0, 1) && ends.iter().all(|end| end.original.is_some());
        let weights = self.weights(submitted, [first, second, second]);
        self.draw.primitives.push(Primitive {
            shape: Shape::Line,
            vertices: [a, b, b],
            weights,
            ..whole.primitive
        });
    }

    fn weights(&mut self, submitted: bool, weights: [[f32; 3]; 3]) -> u32 {
        if submitted || !self.draw.state.output_select.barycentric_coordinates() {
            return 0;
        }
        self.draw.weights.push(weights);
        self.draw.weights.len() as u32
    }

    /// The vertex of a corner, a new one if it was cut.
    fn place(&mut self, whole: &Whole, corner: &Corner) -> u32 {
        let vertices = whole.primitive.vertices;
        if let Some(index) = corner.original {
            return vertices[usize::from(index) % 3];
        }
        let viewport = u16::from(whole.primitive.viewport);
        let stride = self.draw.stride;
        let starts = vertices.map(|vertex| vertex as usize * stride);
        let counts = self.draw.state.varying_counts_32;
        let first_linear = usize::from(counts.smooth) + usize::from(counts.flat);
        let linear = first_linear..first_linear + usize::from(counts.linear);
        let on_screen = whole.on_screen(corner.weights);
        for i in 0..stride {
            let weights = match linear.contains(&i) {
                true => on_screen,
                false => corner.weights,
            };
            let mut sum = 0.0;
            for (start, weight) in starts.iter().zip(weights) {
                // What has no part in it may be no number.
                if weight != 0.0 {
                    let value = self.draw.varyings.get(start + i).copied().unwrap_or(0);
                    sum += f32::from_bits(value) * weight;
                }
            }
            self.draw.varyings.push(sum.to_bits());
        }
        let planes = self.words.planes;
        self.distances.extend(std::iter::repeat_n(0.0, planes));
        let mut position = corner.position;
        position[3] = position[3].max(self.least_w);
        let vertex = Vertex {
            point_size: self.draw.vertex(vertices[0]).point_size,
            ..self.project(&position, viewport)
        };
        let raw = Raw {
            position,
            viewport,
            ..Raw::default()
        };
        self.push(vertex, raw)
    }

    fn triangle(&mut self, mut whole: Whole) {
        let state = &self.draw.state;
        let cull = state.cull;
        let area = self.area(&whole);
        // Clockwise in coordinates that grow to the right and down is a positive area.
        let back = match cull.front_face_ccw() {
            true => area > 0.0,
            false => area < 0.0,
        };
        if if back { cull.back() } else { cull.front() } {
            return;
        }
        whole.primitive.back_facing = back;
        match state.face(back).polygon_mode() {
            PolygonMode::Fill if area != 0.0 => self.filled(whole),
            PolygonMode::Fill => (),
            PolygonMode::Line => {
                for edge in [[0, 1], [1, 2], [2, 0]] {
                    self.line(whole, edge);
                }
            }
            PolygonMode::Point => {
                for corner in 0..3 {
                    self.point(whole, corner);
                }
            }
        }
    }

    /// Twice the area in pixels, or, before the division, something of the same sign.
    fn area(&self, whole: &Whole) -> f64 {
        let [a, b, c] = if whole.outside & CLIPPED == 0 {
            whole.primitive.vertices.map(|vertex| {
                let vertex = self.draw.vertex(vertex);
                [f64::from(vertex.x), f64::from(vertex.y), 1.0]
            })
        } else {
            let sides = self.sides(whole.primitive.viewport.into());
            let Viewport { translate, scale } = sides.viewport;
            let on = |value: f32, w: f32, axis: usize| {
                f64::from(value) * f64::from(scale[axis])
                    + f64::from(translate[axis]) * f64::from(w)
            };
            whole.raw.map(|raw| {
                let [x, y, _, w] = raw.position;
                [on(x, w, 0), on(y, w, 1), f64::from(w)]
            })
        };
        if whole.outside & CLIPPED == 0 {
            // More exact than the determinant.
            return (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1]);
        }
        a[2] * (b[0] * c[1] - c[0] * b[1])
            + b[2] * (c[0] * a[1] - a[0] * c[1])
            + c[2] * (a[0] * b[1] - b[0] * a[1])
    }

    fn filled(&mut self, whole: Whole) {
        if whole.outside & CLIPPED == 0 {
            self.draw.primitives.push(whole.primitive);
            return;
        }
        let mut polygon = Polygon::new([0, 1, 2].map(|index| whole.corner(index)));
        self.each_plane(&whole, |plane| polygon.clip(plane));
        let corners = polygon.corners();
        let Some((first, rest)) = corners.split_first() else {
            return;
        };
        if rest.len() < 2 {
            return;
        }
        let a = self.place(&whole, first);
        let mut b = self.place(&whole, &rest[0]);
        for pair in rest.windows(2) {
            let c = self.place(&whole, &pair[1]);
            let weights = self.weights(false, [first.weights, pair[0].weights, pair[1].weights]);
            self.draw.primitives.push(Primitive {
                vertices: [a, b, c],
                weights,
                ..whole.primitive
            });
            b = c;
        }
    }
}

/// What is no number is below all others.
#[inline(always)]
fn below(value: f32, limit: f32) -> bool {
    value.is_nan() || value < limit
}

/// Planes that cut, all but those of the frame.
const CLIPPED: u32 = !(outside::FRAME * 0xf);

/// w - z >= 0.
const FAR: [f32; 4] = [0.0, 0.0, -1.0, 1.0];

/// A primitive before clipping.
#[derive(Clone, Copy)]
struct Whole {
    raw: [Raw; 3],
    /// What any vertex is outside of.
    outside: u32,
    primitive: Primitive,
}

impl Whole {
    fn corner(&self, index: usize) -> Corner {
        Corner::original(index as u8, self.raw[index % 3].position)
    }

    /// From weights in clip space to those of the same point after the division, by which goes what is linear on the
    /// screen (OpenGL 4.6, "Clipping Shader Outputs").
    fn on_screen(&self, weights: [f32; 3]) -> [f32; 3] {
        let divided: [f32; 3] = std::array::from_fn(|i| weights[i] * self.raw[i].position[3]);
        let sum: f32 = divided.iter().sum();
        match sum > 0.0 && sum.is_finite() {
            true => divided.map(|weight| weight / sum),
            false => weights,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_an_edge_differ_on_the_screen() {
        let raw = |w| Raw {
            position: [0.0, 0.0, 0.0, w],
            ..Raw::default()
        };
        let whole = Whole {
            raw: [raw(1.0), raw(3.0), raw(1.0)],
            outside: 0,
            primitive: Primitive::default(),
        };
        assert_eq!(whole.on_screen([0.5, 0.5, 0.0]), [0.25, 0.75, 0.0]);
        assert_eq!(whole.on_screen([0.5, 0.0, 0.5]), [0.5, 0.0, 0.5]);
        let behind = [-1.0, 0.0, 0.0];
        assert_eq!(whole.on_screen(behind), behind);
    }
}
