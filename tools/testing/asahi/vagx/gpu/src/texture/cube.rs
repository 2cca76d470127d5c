// SPDX-License-Identifier: MIT OR Apache-2.0

//! Cube maps: from directions to faces, and from texels beyond a face's edge to those of its neighbours.
//!
//! Faces and their axes are those of the OpenGL and Vulkan specifications ("Cube Map Texture Selection").

use super::real::Reals;
use crate::exec::Lanes;

/// Where directions meet the cube.
pub(super) struct OnFace {
    pub(super) face: Lanes,
    /// Coordinates on the face, from 0 to 1.
    pub(super) s: Reals,
    pub(super) t: Reals,
    /// Masks of the lanes whose major axis is y, and z.
    y: Lanes,
    z: Lanes,
    /// Mask of the lanes whose major axis points to the negative side.
    negative: Lanes,
    /// The numerators of `s` and `t`, and the length of the major axis.
    numerators: [Reals; 2],
    major: Reals,
}

/// Changes the sign where the mask is set.
#[inline(always)]
fn flip(v: &Reals, mask: &Lanes) -> Reals {
    Reals::from_bits(&v.bits().zip(mask, |v, m| v ^ (m & 0x8000_0000)))
}

/// Picks what becomes s, t and the major axis out of a vector.
#[inline(always)]
fn axes(v: &[Reals; 3], y: &Lanes, z: &Lanes, negative: &Lanes) -> [Reals; 3] {
    // x: (-z, -y) and (z, -y); y: (x, z) and (x, -z); z: (x, -y) and (-x, -y).
    let on_x = flip(&v[2], &negative.map(|n| !n));
    let on_z = flip(&v[0], negative);
    let s = on_z.select(v[0].select(on_x, y), z);
    let t = flip(&v[2], negative).select(v[1].map(|v| -v), y);
    let major = v[2].select(v[1].select(v[0], y), z);
    [s, t, flip(&major, negative)]
}

/// Finds the faces of directions. Of equal components the later one wins.
#[inline(always)]
pub(super) fn project(v: &[Reals; 3]) -> OnFace {
    let x_size = v[0].map(f32::abs);
    let y_size = v[1].map(f32::abs);
    let z_size = v[2].map(f32::abs);
    let z_over_x = z_size.test(x_size, |a, b| a >= b);
    let z = z_over_x.zip(z_size.test(y_size, |a, b| a >= b), |a, b| a & b);
    let y = z.zip(y_size.test(x_size, |a, b| a >= b), |z, y| !z & y);
    let major = v[2].select(v[1].select(v[0], &y), &z);
    let negative = major.test(Reals::ZERO, |a, b| a < b);
    let [sc, tc, major] = axes(v, &y, &z, &negative);
    let face = z
        .map(|z| z & 4)
        .zip(y, |f, y| f | (y & 2))
        .zip(negative, |f, n| f | (n & 1));
    OnFace {
        face,
        s: sc.zip(major, |c, m| 0.5 * (c / m) + 0.5),
        t: tc.zip(major, |c, m| 0.5 * (c / m) + 0.5),
        y,
        z,
        negative,
        numerators: [sc, tc],
        major,
    }
}

impl OnFace {
    /// Derivatives on the face of the direction's derivative.
    #[inline(always)]
    pub(super) fn derivatives(&self, d: &[Reals; 3]) -> [Reals; 2] {
        let [ds, dt, dm] = axes(d, &self.y, &self.z, &self.negative);
        let mut out = [ds, dt];
        for (d, c) in out.iter_mut().zip(&self.numerators) {
            for lane in 0..32 {
                let m = self.major.0[lane];
                let numerator = d.0[lane] * m - c.0[lane] * dm.0[lane];
                d.0[lane] = 0.5 * numerator / (m * m);
            }
        }
        out
    }
}

/// The face and texel beyond an edge of a face: `at` is outside in one axis, by one texel. None at corners, where three
/// faces meet and there is no texel.
pub(super) fn neighbour(face: u32, at: [i32; 2], size: i32) -> Option<(u32, [u32; 2])> {
    let out = at.map(|i| i < 0 || i >= size);
    if out == [true, true] {
        return None;
    }
    // Continuing the face's plane, the texel's centre is a direction that meets the neighbour in its row at the edge.
    let centre = at.map(|i| (2 * i + 1 - size) as f32 / size.max(1) as f32);
    let [s, t] = centre;
    let v = match face {
        0 => [1.0, -t, -s],
        1 => [-1.0, -t, s],
        2 => [s, 1.0, t],
        3 => [s, -1.0, -t],
        4 => [s, -t, 1.0],
        _ => [-s, -t, -1.0],
    };
    let on = project(&v.map(|v| Reals([v; 32])));
    let texel = |c: f32| ((c * size as f32).floor() as i32).clamp(0, (size - 1).max(0)) as u32;
    Some((on.face.0[0], [texel(on.s.0[0]), texel(on.t.0[0])]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(v: [f32; 3]) -> (u32, f32, f32) {
        let on = project(&v.map(|v| Reals([v; 32])));
        (on.face.0[0], on.s.0[0], on.t.0[0])
    }

    #[test]
    fn faces() {
        assert_eq!(one([2.0, 1.0, 1.0]), (0, 0.25, 0.25));
        assert_eq!(one([-2.0, 1.0, 1.0]), (1, 0.75, 0.25));
        assert_eq!(one([1.0, 2.0, 1.0]), (2, 0.75, 0.75));
        assert_eq!(one([1.0, -2.0, 1.0]), (3, 0.75, 0.25));
        assert_eq!(one([1.0, 1.0, 2.0]), (4, 0.75, 0.25));
        assert_eq!(one([1.0, 1.0, -2.0]), (5, 0.25, 0.25));
        assert_eq!(one([1.0, 1.0, 1.0]).0, 4);
        assert_eq!(one([1.0, -1.0, 0.5]).0, 3);
    }

    #[test]
    fn derivatives_are_differences() {
        for v in [[3.0, 1.0, -2.0], [1.0, -4.0, 0.5], [0.5, 1.0, -2.0]] {
            let d = [0.001, 0.002, -0.003];
            let reals = |v: [f32; 3]| v.map(|v| Reals([v; 32]));
            let on = project(&reals(v));
            let next = project(&reals([v[0] + d[0], v[1] + d[1], v[2] + d[2]]));
            let got = on.derivatives(&reals(d));
            for (got, (a, b)) in got.iter().zip([(on.s, next.s), (on.t, next.t)]) {
                assert!((got.0[0] - (b.0[0] - a.0[0])).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn neighbours() {
        // To the left of +x is +z, above it +y turned by a quarter.
        assert_eq!(neighbour(0, [-1, 2], 4), Some((4, [3, 2])));
        assert_eq!(neighbour(0, [4, 2], 4), Some((5, [0, 2])));
        assert_eq!(neighbour(0, [1, -1], 4), Some((2, [3, 2])));
        assert_eq!(neighbour(4, [1, -1], 4), Some((2, [1, 3])));
        assert_eq!(neighbour(4, [1, 4], 4), Some((3, [1, 0])));
        assert_eq!(neighbour(2, [-1, -1], 4), None);
        // Every texel at an edge has a neighbour that has it as neighbour.
        for size in [1, 2, 5, 64] {
            for face in 0..6 {
                for i in 0..size {
                    for out in [[-1, i], [size, i], [i, -1], [i, size]] {
                        let inside = out.map(|c| c.clamp(0, size - 1) as u32);
                        let (to, at) = neighbour(face, out, size).unwrap();
                        let at = at.map(|c| c as i32);
                        let back = [[-1, 0], [1, 0], [0, -1], [0, 1]].iter().any(|step| {
                            let next = [at[0] + step[0], at[1] + step[1]];
                            next.iter().any(|&c| c < 0 || c >= size)
                                && neighbour(to, next, size) == Some((face, inside))
                        });
                        assert!(back, "{face} {out:?} of {size}");
                    }
                }
            }
        }
    }
}
