// SPDX-License-Identifier: MIT OR Apache-2.0

//! A primitive in a tile: its outline, and the planes of what is interpolated over it.

use super::coefficients::{Binding, Source};
use super::isp::{Bias, Plane, deepest};
use super::outline::{Outline, Point, SUBPIXELS, area, snap};
use crate::geometry::{Draw, ObjectType, Primitive, Shape};

/// What all planes of a primitive have in common: how the share of each corner changes over the screen.
///
/// Everything is computed from the rounded vertices, so that planes agree with what is covered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gradients {
    /// Where the first corner is, in pixels from the corner of the square of 32 x 32 pixels.
    place: [f64; 2],
    /// Change of the second and of the third corner's share per pixel.
    shares: [[f64; 2]; 2],
}

impl Gradients {
    /// The plane that has these values in the corners.
    #[inline(always)]
    pub(super) fn plane(&self, values: [f64; 3]) -> Plane {
        let (x, y, start) = self.exact(values);
        Plane {
            x: x as f32,
            y: y as f32,
            start: start as f32,
        }
    }

    #[inline(always)]
    fn exact(&self, [a, b, c]: [f64; 3]) -> (f64, f64, f64) {
        let [one, two] = self.shares;
        let (b, c) = (b - a, c - a);
        let (x, y) = (b * one[0] + c * two[0], b * one[1] + c * two[1]);
        (x, y, a - x * self.place[0] - y * self.place[1])
    }
}

/// A primitive as it is drawn in one tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn<'a> {
    pub(super) outline: Outline,
    pub(super) surface: Surface<'a>,
}

/// What is needed of a primitive to shade it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surface<'a> {
    gradients: Gradients,
    draw: &'a Draw,
    primitive: &'a Primitive,
    /// Pixels that a point is wide.
    size: f32,
}

impl<'a> Drawn<'a> {
    /// Prepares a primitive for the square of 32 x 32 pixels that begins at `square`. `samples` is how many a pixel has.
    pub(super) fn new(
        draw: &'a Draw,
        primitive: &'a Primitive,
        square: [i32; 2],
        samples: usize,
    ) -> Option<Self> {
        let [a, b, c] = primitive.vertices.map(|v| {
            let v = draw.vertex(v);
            snap(v.x, v.y)
        });
        let mut size = 0.0;
        let face = draw.state.face(primitive.back_facing);
        let thin = samples == 1 || draw.state.cull.primitive_msaa();
        let outline = match primitive.shape {
            Shape::Triangle => Outline::triangle([a, b, c], samples == 1)?,
            Shape::Line if thin => Outline::thin_line(a, b, face.line_width())?,
            Shape::Line => Outline::wide_line(a, b, face.line_width())?,
            Shape::Point => {
                size = draw.vertex(primitive.vertices[0]).point_size;
                Outline::point(a, size)
            }
        };
        let scale =
            |p: Point, q: Point| [0, 1].map(|axis| (q[axis] - p[axis]) as f64 / SUBPIXELS as f64);
        let (ab, ac) = (scale(a, b), scale(a, c));
        let shares = match primitive.shape {
            Shape::Triangle => {
                let area = area(&[a, b, c]) as f64 / (SUBPIXELS * SUBPIXELS) as f64;
                [[ac[1] / area, -ac[0] / area], [-ab[1] / area, ab[0] / area]]
            }
            Shape::Line => {
                let square = ab[0] * ab[0] + ab[1] * ab[1];
                [[ab[0] / square, ab[1] / square], [0.0; 2]]
            }
            Shape::Point => [[0.0; 2]; 2],
        };
        let place = [0, 1]
            .map(|axis| (a[axis] - i64::from(square[axis]) * SUBPIXELS) as f64 / SUBPIXELS as f64);
        Some(Drawn {
            outline,
            surface: Surface {
                gradients: Gradients { place, shares },
                draw,
                primitive,
                size,
            },
        })
    }
}

impl Surface<'_> {
    fn corners(&self, value: impl Fn(u32) -> f64) -> [f64; 3] {
        self.primitive.vertices.map(value)
    }

    /// Depth, with the bias.
    pub(super) fn depth(&self, bias: Option<&Bias>) -> Plane {
        let values = self.corners(|v| self.draw.vertex(v).z.into());
        let (x, y, mut start) = self.gradients.exact(values);
        if let Some(bias) = bias {
            start += bias.of(x, y, deepest(self.draw, &self.primitive.vertices));
        }
        Plane {
            x: x as f32,
            y: y as f32,
            start: start as f32,
        }
    }

    /// The coefficients that `bindings` ask for, `count` of them.
    pub(super) fn coefficients(
        &self,
        bindings: &[Binding],
        count: usize,
        depth: &Plane,
        out: &mut Vec<Plane>,
    ) {
        let first = out.len();
        out.resize(first + count, Plane::default());
        let rhw = self.corners(|v| self.draw.vertex(v).rhw.into());
        for binding in bindings {
            for component in 0..binding.components {
                // `coefficients::read` has checked that the register exists.
                let register = first + binding.register + component;
                if let Some(out) = out.get_mut(register) {
                    let plane = self.coefficient(binding, component, &rhw, depth);
                    *out = plane.marked(matches!(binding.source, Source::Depth));
                }
            }
        }
    }

    #[inline(always)]
    fn coefficient(
        &self,
        binding: &Binding,
        component: usize,
        rhw: &[f64; 3],
        depth: &Plane,
    ) -> Plane {
        let values = match binding.source {
            Source::Rhw => return self.gradients.plane(*rhw),
            Source::Depth => return *depth,
            Source::Id => return flat(self.primitive.id),
            Source::Flat { vertex, varying } => {
                let vertex = self.primitive.flat[vertex];
                let varyings = self.draw.varyings(vertex);
                return flat(varyings.get(varying + component).copied().unwrap_or(0));
            }
            Source::Varying(varying) => self.corners(|v| {
                let varyings = self.draw.varyings(v);
                let bits = varyings.get(varying + component).copied().unwrap_or(0);
                f32::from_bits(bits).into()
            }),
            Source::Barycentric => self.barycentric(component),
            Source::PointCoord => return self.point_coord(component, binding.perspective, rhw[0]),
        };
        if binding.perspective {
            self.gradients
                .plane(std::array::from_fn(|i| values[i] * rhw[i]))
        } else {
            self.gradients.plane(values)
        }
    }

    fn barycentric(&self, component: usize) -> [f64; 3] {
        let weights = match self.primitive.weights {
            0 => None,
            n => self.draw.weights.get(n as usize - 1),
        };
        match weights {
            Some(weights) => {
                std::array::from_fn(|i| weights[i].get(component).copied().unwrap_or(0.0).into())
            }
            None => std::array::from_fn(|i| f64::from(u8::from(i == component))),
        }
    }

    /// From 0 to 1 across a point; which way down, the object's type says.
    fn point_coord(&self, component: usize, perspective: bool, rhw: f64) -> Plane {
        let state = &self.draw.state;
        let size = f64::from(self.size).max(1.0 / SUBPIXELS as f64);
        let scale = if perspective { rhw } else { 1.0 };
        let step = scale / size;
        let up = state.front_face.object_type() == ObjectType::PointSpriteUv10;
        let half = scale / 2.0;
        let [x, y] = self.gradients.place;
        let (dx, dy, start) = match component {
            0 => (step, 0.0, half - step * x),
            1 if up => (0.0, -step, half + step * y),
            1 => (0.0, step, half - step * y),
            2 => (0.0, 0.0, 0.0),
            _ => (0.0, 0.0, scale),
        };
        Plane {
            x: dx as f32,
            y: dy as f32,
            start: start as f32,
        }
    }
}

/// The same bits everywhere. Shaders read the third value, or the second in triangle fans whose second vertex counts
/// (Mesa, `src/asahi/compiler/agx_nir_lower_interpolation.c`).
fn flat(bits: u32) -> Plane {
    let value = f32::from_bits(bits);
    Plane {
        x: 0.0,
        y: value,
        start: value,
    }
}
