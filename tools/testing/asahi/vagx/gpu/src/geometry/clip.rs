// SPDX-License-Identifier: MIT OR Apache-2.0

//! Clipping against planes, in homogeneous coordinates before the division.

/// Corners that a triangle may have after clipping: each plane adds one, and there are fewer than 29.
const MOST_CORNERS: usize = 32;

/// A corner of what is clipped.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Corner {
    /// In clip space.
    pub(super) position: [f32; 4],
    /// Its distance from the plane that is at hand is the sum of the submitted vertices' times these.
    pub(super) weights: [f32; 3],
    /// The submitted vertex that it still is.
    pub(super) original: Option<u8>,
}

impl Corner {
    pub(super) fn original(index: u8, position: [f32; 4]) -> Self {
        let mut weights = [0.0; 3];
        weights[usize::from(index) % 3] = 1.0;
        Corner {
            position,
            weights,
            original: Some(index),
        }
    }

    /// The point between an inner and an outer corner whose distance is zero. It is always computed from the inner one,
    /// so that two triangles with a common edge get the same point.
    fn cut(inner: &Corner, outer: &Corner, [inside, outside]: [f32; 2]) -> Corner {
        let t = inside / (inside - outside);
        let mix = |a: f32, b: f32| a + (b - a) * t;
        Corner {
            position: std::array::from_fn(|i| mix(inner.position[i], outer.position[i])),
            weights: std::array::from_fn(|i| mix(inner.weights[i], outer.weights[i])),
            original: None,
        }
    }
}

/// A plane; what is on its positive side or in it stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Plane {
    /// The scalar product with the position.
    Position([f32; 4]),
    /// The distances of the submitted vertices.
    Distances([f32; 3]),
    /// The fourth coordinate is at least this.
    LeastW(f32),
}

impl Plane {
    fn distance(&self, corner: &Corner) -> f32 {
        match self {
            Plane::Position(plane) => {
                let [x, y, z, w] = corner.position;
                plane[0] * x + plane[1] * y + plane[2] * z + plane[3] * w
            }
            Plane::Distances(distances) => {
                let [a, b, c] = corner.weights;
                distances[0] * a + distances[1] * b + distances[2] * c
            }
            Plane::LeastW(least) => corner.position[3] - least,
        }
    }
}

/// A polygon that gets smaller.
pub(super) struct Polygon {
    corners: [Corner; MOST_CORNERS],
    count: usize,
}

impl Polygon {
    pub(super) fn new(triangle: [Corner; 3]) -> Self {
        let mut corners = [Corner::default(); MOST_CORNERS];
        corners[..3].copy_from_slice(&triangle);
        Polygon { corners, count: 3 }
    }

    /// What is left, in the order of before. Fewer than three corners are nothing.
    pub(super) fn corners(&self) -> &[Corner] {
        &self.corners[..self.count]
    }

    pub(super) fn clip(&mut self, plane: &Plane) {
        let before = self.corners;
        let Some(before) = before.get(..self.count) else {
            return;
        };
        let Some(mut previous) = before.last() else {
            return;
        };
        let mut previous_distance = plane.distance(previous);
        let mut count = 0;
        let mut push = |corner: Corner| {
            if let Some(place) = self.corners.get_mut(count) {
                *place = corner;
                count += 1;
            }
        };
        for corner in before {
            let distance = plane.distance(corner);
            match (previous_distance >= 0.0, distance >= 0.0) {
                (true, true) => push(*corner),
                (true, false) => {
                    // A corner in the plane is its own cut.
                    if previous_distance > 0.0 {
                        push(Corner::cut(previous, corner, [previous_distance, distance]));
                    }
                }
                (false, true) => {
                    if distance > 0.0 {
                        push(Corner::cut(corner, previous, [distance, previous_distance]));
                    }
                    push(*corner);
                }
                (false, false) => (),
            }
            (previous, previous_distance) = (corner, distance);
        }
        self.count = count;
    }
}

/// Clips a line. False if nothing is left.
pub(super) fn clip_line(ends: &mut [Corner; 2], plane: &Plane) -> bool {
    let [a, b] = *ends;
    let (da, db) = (plane.distance(&a), plane.distance(&b));
    match (da >= 0.0, db >= 0.0) {
        (true, true) => true,
        (true, false) => {
            ends[1] = Corner::cut(&a, &b, [da, db]);
            da > 0.0
        }
        (false, true) => {
            ends[0] = Corner::cut(&b, &a, [db, da]);
            db > 0.0
        }
        (false, false) => false,
    }
}

/// Whether a point stays.
pub(super) fn clip_point(point: &Corner, plane: &Plane) -> bool {
    plane.distance(point) >= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triangle(xs: [f32; 3]) -> [Corner; 3] {
        std::array::from_fn(|i| Corner::original(i as u8, [xs[i], i as f32, 0.0, 1.0]))
    }

    /// x >= 0.
    const RIGHT: Plane = Plane::Position([1.0, 0.0, 0.0, 0.0]);

    #[test]
    fn a_triangle_inside_stays_as_it_is() {
        let mut polygon = Polygon::new(triangle([0.0, 1.0, 2.0]));
        polygon.clip(&RIGHT);
        assert_eq!(polygon.corners(), triangle([0.0, 1.0, 2.0]));
    }

    #[test]
    fn a_triangle_outside_is_gone() {
        let mut polygon = Polygon::new(triangle([-1.0, -1.0, -2.0]));
        polygon.clip(&RIGHT);
        polygon.clip(&RIGHT);
        assert_eq!(polygon.corners(), []);
    }

    #[test]
    fn one_corner_outside_makes_two() {
        let mut polygon = Polygon::new(triangle([-1.0, 1.0, 3.0]));
        polygon.clip(&RIGHT);
        let corners = polygon.corners();
        let weights: Vec<_> = corners.iter().map(|c| c.weights).collect();
        assert_eq!(
            weights,
            [
                [0.75, 0.0, 0.25],
                [0.5, 0.5, 0.0],
                [0.0, 1.0, 0.0],
                [0.0, 0.0, 1.0]
            ]
        );
        assert_eq!(corners[0].position, [0.0, 0.5, 0.0, 1.0]);
        let originals: Vec<_> = corners.iter().map(|c| c.original).collect();
        assert_eq!(originals, [None, None, Some(1), Some(2)]);
    }

    #[test]
    fn distances_of_vertices_clip_too() {
        let mut polygon = Polygon::new(triangle([0.0, 1.0, 2.0]));
        polygon.clip(&Plane::Distances([1.0, -1.0, -3.0]));
        let weights: Vec<_> = polygon.corners().iter().map(|c| c.weights).collect();
        assert_eq!(
            weights,
            [[0.75, 0.0, 0.25], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
        );
        assert_eq!(polygon.corners()[2].position[0], 0.5);
    }

    #[test]
    fn common_edges_are_cut_at_the_same_point() {
        let a = Corner::original(0, [-0.3, 0.1, 0.7, 1.3]);
        let b = Corner::original(1, [0.9, -0.2, 0.1, 0.7]);
        let (mut there, mut back) = ([a, b], [b, a]);
        assert!(clip_line(&mut there, &RIGHT) && clip_line(&mut back, &RIGHT));
        assert_eq!(there[0], back[1]);
    }

    #[test]
    fn lines_and_points() {
        let [a, b, c] = triangle([-1.0, 1.0, -3.0]);
        let mut line = [a, b];
        assert!(clip_line(&mut line, &RIGHT));
        assert_eq!(line[0].position, [0.0, 0.5, 0.0, 1.0]);
        assert!(!clip_line(&mut [a, c], &RIGHT));
        assert!(clip_point(&b, &RIGHT) && !clip_point(&a, &RIGHT));
        assert!(clip_point(&b, &Plane::LeastW(1.0)) && !clip_point(&b, &Plane::LeastW(1.5)));
    }

    #[test]
    fn many_planes_are_no_problem() {
        let mut polygon = Polygon::new(triangle([0.0, 4.0, -4.0]));
        for i in 0..64 {
            let (sin, cos) = (i as f32 / 10.0).sin_cos();
            polygon.clip(&Plane::Position([sin, cos, 0.0, 1.0]));
        }
        assert!(polygon.corners().len() <= MOST_CORNERS);
    }
}
