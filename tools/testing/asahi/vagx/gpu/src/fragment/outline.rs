// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which samples a primitive covers.
//!
//! A primitive is the inside of three or four straight edges in fixed point. An edge is an integer function of a place that
//! is not negative inside; a place that lies exactly on an edge is inside if the edge is a left or an upper one, so that
//! of two primitives that share an edge exactly one has it. Samples lie on a grid of 1/16 of a pixel
//! (`PPP_MULTISAMPLECTL` has 4 bits for each coordinate: Mesa, `src/asahi/lib/agx_nir_lower_sample_intrinsics.c`); the
//! 8 bits of vertices below a pixel are what D3D and Metal ask for.

use super::area::Rect;

/// Parts of a pixel that coordinates of vertices are rounded to.
pub(super) const SUBPIXELS: i64 = 256;

/// Parts of a pixel that samples are placed on.
pub(super) const GRID: i64 = 16;

/// Pixels on each side of a block, which is what coverage is found for at once.
pub(super) const BLOCK: i32 = 8;

/// A vertex in fixed point.
pub(super) type Point = [i64; 2];

/// Rounds a place in pixels. What is not finite or far beyond the guard band becomes something harmless.
pub(super) fn snap(x: f32, y: f32) -> Point {
    const FAR: f32 = (1 << 24) as f32;
    [x, y].map(|v| (v * SUBPIXELS as f32).clamp(-FAR, FAR).round_ties_even() as i64)
}

/// A line: not negative on its inner side.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Edge {
    a: i64,
    b: i64,
    c: i64,
}

impl Edge {
    /// The line from `p` to `q`. Its inner side is to the right of the way, seen on a screen (where y grows downwards).
    fn through(p: Point, q: Point) -> Self {
        let (a, b) = (p[1] - q[1], q[0] - p[0]);
        Edge::ruled(a, b, -(a * p[0] + b * p[1]))
    }

    /// `a x + b y + c >= 0`, or `> 0` if the line is neither a left nor an upper edge.
    fn ruled(a: i64, b: i64, c: i64) -> Self {
        let owns = a > 0 || a == 0 && b > 0;
        let c = if owns { c } else { c - 1 };
        Edge { a, b, c }
    }

    fn at(&self, p: Point) -> i64 {
        self.a * p[0] + self.b * p[1] + self.c
    }
}

/// A convex shape.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outline {
    edges: [Edge; 4],
    count: usize,
    /// Pixels that may have a sample in it.
    pub(super) bounds: Rect,
    /// All samples of a pixel are covered if its centre is.
    pub(super) whole_pixels: bool,
}

impl Outline {
    /// A triangle, whichever way around; none if it has no area. If pixels are `centred`, their only sample is in the
    /// middle.
    pub(super) fn triangle(mut p: [Point; 3], centred: bool) -> Option<Self> {
        let area = area(&p);
        if area == 0 {
            return None;
        }
        if area < 0 {
            p.swap(1, 2);
        }
        Some(Outline {
            edges: [
                Edge::through(p[0], p[1]),
                Edge::through(p[1], p[2]),
                Edge::through(p[2], p[0]),
                Edge::default(),
            ],
            count: 3,
            bounds: bounds(&p, centred),
            whole_pixels: false,
        })
    }

    /// A square of `size` pixels around `p`.
    pub(super) fn point(p: Point, size: f32) -> Self {
        let half = ((size * SUBPIXELS as f32 / 2.0).clamp(1.0, 262_144.0)).round() as i64;
        let low = [p[0] - half, p[1] - half];
        let high = [p[0] + half, p[1] + half];
        Outline {
            edges: [
                Edge::ruled(1, 0, -low[0]),
                Edge::ruled(-1, 0, high[0]),
                Edge::ruled(0, 1, -low[1]),
                Edge::ruled(0, -1, high[1]),
            ],
            count: 4,
            bounds: bounds(&[low, high], false),
            whole_pixels: false,
        }
    }

    /// A rectangle around the line from `p` to `q`, as multisampled lines are drawn.
    pub(super) fn wide_line(p: Point, q: Point, width: f32) -> Option<Self> {
        let (dx, dy) = ((q[0] - p[0]) as f64, (q[1] - p[1]) as f64);
        let length = dx.hypot(dy);
        if length == 0.0 {
            return None;
        }
        let half = f64::from(width) * SUBPIXELS as f64 / 2.0;
        let n = [
            (-dy / length * half).round() as i64,
            (dx / length * half).round() as i64,
        ];
        let corners = [
            [p[0] - n[0], p[1] - n[1]],
            [q[0] - n[0], q[1] - n[1]],
            [q[0] + n[0], q[1] + n[1]],
            [p[0] + n[0], p[1] + n[1]],
        ];
        Some(Outline {
            edges: std::array::from_fn(|i| Edge::through(corners[i], corners[(i + 1) % 4])),
            count: 4,
            bounds: bounds(&corners, false),
            whole_pixels: false,
        })
    }

    /// The pixels of a line that is not multisampled: one in each column (or row, if it is steep) whose diamond the line
    /// leaves, and as many above and below as the width says. None if it leaves no diamond.
    pub(super) fn thin_line(p: Point, q: Point, width: f32) -> Option<Self> {
        let d = [q[0] - p[0], q[1] - p[1]];
        if d == [0, 0] {
            return None;
        }
        // `major` is the coordinate that changes more.
        let major = usize::from(d[1].abs() > d[0].abs());
        let forward = d[major] > 0;
        let (first, last) = if forward { (p, q) } else { (q, p) };
        let cell = |v: i64| v.div_euclid(SUBPIXELS);
        // Where an end lies in the diamond of its column: before it (-1), inside (0) or after it (1), along the axis.
        let place = |end: Point| {
            let middle = |v: i64| cell(v) * SUBPIXELS + SUBPIXELS / 2;
            let off = [end[0] - middle(end[0]), end[1] - middle(end[1])];
            if off[0].abs() + off[1].abs() < SUBPIXELS / 2 {
                0
            } else {
                off[major].signum()
            }
        };
        // A line has the pixel of its start if that is in or before the diamond, and of its end if that is after it.
        let mut low = cell(first[major]);
        let mut high = cell(last[major]);
        let (at_low, at_high) = (place(first), place(last));
        let has_low = if forward { at_low <= 0 } else { at_low < 0 };
        let has_high = if forward { at_high > 0 } else { at_high >= 0 };
        if !has_low {
            low += 1;
        }
        if !has_high {
            high -= 1;
        }
        if low > high {
            return None;
        }
        let half = (width.round().max(1.0) * SUBPIXELS as f32 / 2.0) as i64;
        // The two long sides, moved by half the width along the minor axis.
        let mut away = [0, 0];
        away[1 - major] = half;
        let before = |p: Point| [p[0] - away[0], p[1] - away[1]];
        let after = |p: Point| [p[0] + away[0], p[1] + away[1]];
        let (one, other) = if major == 0 {
            (
                Edge::through(before(first), before(last)),
                Edge::through(after(last), after(first)),
            )
        } else {
            (
                Edge::through(before(last), before(first)),
                Edge::through(after(first), after(last)),
            )
        };
        let mut axis = [0, 0];
        axis[major] = 1;
        let start = low * SUBPIXELS;
        let end = (high + 1) * SUBPIXELS;
        let mut corners = [before(p), after(p), before(q), after(q)];
        for corner in &mut corners {
            // Pixels at the ends may reach beyond the ends themselves.
            corner[major] = if corner[major] == first[major] {
                start
            } else {
                end
            };
        }
        let mut bounds = bounds(&corners, false);
        bounds.grow_minor(major, 1);
        Some(Outline {
            edges: [
                one,
                other,
                Edge::ruled(axis[0], axis[1], -start),
                Edge::ruled(-axis[0], -axis[1], end),
            ],
            count: 4,
            bounds,
            whole_pixels: true,
        })
    }

    /// Prepares for the pixels of `area`; none if no sample in it can be inside.
    pub(super) fn clipped(&self, area: Rect) -> Option<Clipped> {
        let mut clipped = Clipped {
            edges: [Step::default(); 4],
            count: 0,
            wide: false,
            whole_pixels: self.whole_pixels,
        };
        let origin = [
            i64::from(area.x0) * SUBPIXELS,
            i64::from(area.y0) * SUBPIXELS,
        ];
        let size = [
            i64::from(area.x1 - area.x0) * GRID,
            i64::from(area.y1 - area.y0) * GRID,
        ];
        for edge in &self.edges[..self.count] {
            // In units of the grid, on which a whole multiple is added: rounding down does not change a sign.
            let base = edge.at(origin).div_euclid(SUBPIXELS / GRID);
            let (across, down) = (edge.a * size[0], edge.b * size[1]);
            if base + across.max(0) + down.max(0) < 0 {
                return None;
            }
            if base + across.min(0) + down.min(0) < 0 {
                clipped.edges[clipped.count] = Step {
                    base,
                    a: edge.a,
                    b: edge.b,
                };
                clipped.count += 1;
                clipped.wide |= across.abs() + down.abs() > i64::from(i32::MAX / 2);
            }
        }
        Some(clipped)
    }
}

/// Twice the area, which is negative if the corners go to the left.
pub(super) fn area(p: &[Point; 3]) -> i64 {
    (p[1][0] - p[0][0]) * (p[2][1] - p[0][1]) - (p[2][0] - p[0][0]) * (p[1][1] - p[0][1])
}

/// The pixels that may have a sample between these points; if they are `centred`, whose centre may be there.
pub(super) fn bounds(points: &[Point], centred: bool) -> Rect {
    let (before, after) = match centred {
        true => (SUBPIXELS / 2 - 1, SUBPIXELS / 2),
        false => (0, SUBPIXELS - 1),
    };
    let range = |axis: usize| {
        let low = points.iter().map(|p| p[axis]).min().unwrap_or(0);
        let high = points.iter().map(|p| p[axis]).max().unwrap_or(0);
        // The snapped coordinates are bounded, so these fit.
        (
            (low + before).div_euclid(SUBPIXELS) as i32,
            (high + after).div_euclid(SUBPIXELS) as i32,
        )
    };
    let ((x0, x1), (y0, y1)) = (range(0), range(1));
    Rect { x0, y0, x1, y1 }
}

/// An edge on the grid of samples, from a corner on.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    base: i64,
    a: i64,
    b: i64,
}

/// What is left of an outline in a tile: the edges that cross it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clipped {
    edges: [Step; 4],
    count: usize,
    /// 32 bits are too few for the values in this tile.
    wide: bool,
    whole_pixels: bool,
}

/// Samples of a block, by pixel: bit `8 y + x`, for each sample of a pixel.
pub(super) type Mask = [u64; 4];

impl Clipped {
    /// The samples that are covered in the block whose corner is (`x`, `y`), in pixels from the corner of the area.
    /// `samples` are their places in a pixel. Only pixels `inside` matter.
    #[inline(always)]
    pub(super) fn block(&self, x: i32, y: i32, inside: u64, samples: &[[i32; 2]]) -> Mask {
        let mut near = [Step::default(); 4];
        let mut count = 0;
        for edge in &self.edges[..self.count] {
            let base = edge.base + GRID * (edge.a * i64::from(x) + edge.b * i64::from(y));
            let size = GRID * i64::from(BLOCK);
            let (across, down) = (edge.a * size, edge.b * size);
            if base + across.max(0) + down.max(0) < 0 {
                return [0; 4];
            }
            if base + across.min(0) + down.min(0) < 0 {
                near[count] = Step { base, ..*edge };
                count += 1;
            }
        }
        let mut mask = [0; 4];
        let near = &near[..count];
        if near.is_empty() {
            mask[..samples.len()].fill(u64::MAX);
        } else if self.whole_pixels {
            let all = self.inside(near, inside, [8, 8]);
            mask[..samples.len()].fill(all);
        } else {
            for (mask, &place) in mask.iter_mut().zip(samples) {
                *mask = self.inside(near, inside, place);
            }
        }
        mask
    }

    #[inline(always)]
    fn inside(&self, near: &[Step], wanted: u64, place: [i32; 2]) -> u64 {
        if self.wide {
            inside_wide(near, place)
        } else {
            inside_narrow(near, wanted, place)
        }
    }
}

/// The pixels of a block at whose `place` no edge is negative, in the rows that have a pixel in `wanted`.
#[inline(always)]
fn inside_narrow(near: &[Step], wanted: u64, place: [i32; 2]) -> u64 {
    let mut columns = [[0i32; 8]; 4];
    let mut down = [0; 4];
    for ((columns, down), step) in columns.iter_mut().zip(&mut down).zip(near) {
        let (a, b) = (step.a as i32, step.b as i32);
        let start = (step.base as i32)
            .wrapping_add(a.wrapping_mul(place[0]))
            .wrapping_add(b.wrapping_mul(place[1]));
        let right = a.wrapping_mul(16);
        *columns = std::array::from_fn(|x| start.wrapping_add(right.wrapping_mul(x as i32)));
        *down = b.wrapping_mul(16);
    }
    let mut mask = 0;
    for y in wanted.trailing_zeros() / 8..8 - wanted.leading_zeros() / 8 {
        let mut outside = [0i32; 8];
        for (columns, down) in columns.iter().zip(&down).take(near.len()) {
            let row = down.wrapping_mul(y as i32);
            for x in 0..8 {
                outside[x] |= columns[x].wrapping_add(row);
            }
        }
        let mut bits = 0u32;
        for x in 0..8 {
            bits |= (!outside[x] as u32 >> 31) << x;
        }
        mask |= u64::from(bits) << (8 * y);
    }
    mask
}

/// The same for values of more than 32 bits.
#[cold]
fn inside_wide(near: &[Step], place: [i32; 2]) -> u64 {
    let mut mask = u64::MAX;
    for step in near {
        let start = step.base + step.a * i64::from(place[0]) + step.b * i64::from(place[1]);
        for bit in 0..64 {
            let value = start + GRID * (step.a * (bit & 7) + step.b * (bit >> 3));
            if value < 0 {
                mask &= !(1 << bit);
            }
        }
    }
    mask
}
