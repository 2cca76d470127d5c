// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which samples primitives cover, and how samples are tested.

use super::area::Rect;
use super::isp::{Bias, Plane, StencilTest, Tests};
use super::outline::{Outline, Point, snap};
use crate::geometry::Visibility;

const CENTRE: &[[i32; 2]] = &[[8, 8]];

/// Counts how often each sample of 32 x 32 pixels is covered.
#[derive(Clone, PartialEq)]
struct Counts(Vec<[u32; 4]>);

impl Counts {
    fn new() -> Self {
        Counts(vec![[0; 4]; 32 * 32])
    }

    fn add(&mut self, outline: Option<Outline>, at: [i32; 2], places: &[[i32; 2]]) {
        let area = Rect {
            x0: at[0],
            y0: at[1],
            x1: at[0] + 32,
            y1: at[1] + 32,
        };
        let Some(outline) = outline else { return };
        let clipped = outline.clipped(area);
        let bounds = outline.bounds.intersect(&area);
        for block in 0..16 {
            let (x, y) = (block % 4 * 8, block / 4 * 8);
            let Some(clipped) = &clipped else { continue };
            let mask = clipped.block(x, y, u64::MAX, places);
            for (sample, mask) in mask.iter().enumerate() {
                for bit in 0..64 {
                    if mask >> bit & 1 == 0 {
                        continue;
                    }
                    let (px, py) = (x + bit % 8, y + bit / 8);
                    let (gx, gy) = (at[0] + px, at[1] + py);
                    assert!(
                        bounds.x0 <= gx && gx < bounds.x1,
                        "{gx} is out of {bounds:?}"
                    );
                    assert!(
                        bounds.y0 <= gy && gy < bounds.y1,
                        "{gy} is out of {bounds:?}"
                    );
                    self.0[(py * 32 + px) as usize][sample] += 1;
                }
            }
        }
    }

    /// The covered pixels.
    fn pixels(&self) -> Vec<(usize, usize)> {
        let covered = |i: &usize| self.0[*i][0] > 0;
        (0..1024)
            .filter(covered)
            .map(|i| (i % 32, i / 32))
            .collect()
    }
}

fn triangle(p: [[f32; 2]; 3], places: &[[i32; 2]]) -> Option<Outline> {
    Outline::triangle(p.map(|[x, y]| snap(x, y)), places.len() == 1)
}

fn drawn(outline: Option<Outline>) -> Vec<(usize, usize)> {
    let mut counts = Counts::new();
    counts.add(outline, [0, 0], CENTRE);
    counts.pixels()
}

#[test]
fn left_and_upper_edges_belong_to_a_triangle() {
    // The upper left half of a square whose edges go through the centres of pixels.
    let upper = triangle([[0.5, 0.5], [4.5, 0.5], [0.5, 4.5]], CENTRE);
    let lower = triangle([[4.5, 4.5], [4.5, 0.5], [0.5, 4.5]], CENTRE);
    let mut expected = Vec::new();
    for y in 0..4 {
        for x in 0..4 - y {
            expected.push((x, y));
        }
    }
    let all: Vec<_> = (0..16).map(|i| (i % 4, i / 4)).collect();
    let rest: Vec<_> = all
        .iter()
        .copied()
        .filter(|p| !expected.contains(p))
        .collect();
    assert_eq!(drawn(upper), expected);
    assert_eq!(drawn(lower), rest);
}

#[test]
fn neighbours_share_no_sample_and_miss_none() {
    // Fans around a point, of corners that lie on a square around the tile.
    let mut state = 12345u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    let places = [[2, 6], [14, 10], [6, 14], [10, 2]];
    // The last is so large that 32 bits do not do.
    for (round, size) in [64.0, 64.0, 64.0, 100.0, 1000.0, 30000.0]
        .into_iter()
        .enumerate()
    {
        let middle = [random() * 32.0, random() * 32.0];
        let mut ring: Vec<[f32; 2]> = Vec::new();
        for corner in 0..4 {
            for step in 0..4 {
                let along = -size + 2.0 * size * (step as f32 + 0.9 * random()) / 4.0;
                ring.push(match corner {
                    0 => [along, -size],
                    1 => [size, along],
                    2 => [-along, size],
                    _ => [-size, -along],
                });
            }
        }
        let mut counts = Counts::new();
        for i in 0..ring.len() {
            let mut corners = [middle, ring[i], ring[(i + 1) % ring.len()]];
            // The way around and the first corner do not matter.
            corners.rotate_left((round + i) % 3);
            if i % 2 == 0 {
                corners.swap(0, 1);
            }
            counts.add(triangle(corners, &places), [0, 0], &places);
        }
        assert!(
            counts.0.iter().all(|&samples| samples == [1; 4]),
            "size {size}"
        );
    }
}

#[test]
fn tiles_agree() {
    let corners = [[3.3, 1.7], [61.2, 40.1], [10.9, 62.6]];
    let mut count = 0;
    for tile in 0..4 {
        let mut counts = Counts::new();
        counts.add(
            triangle(corners, CENTRE),
            [tile % 2 * 32, tile / 2 * 32],
            CENTRE,
        );
        count += counts.pixels().len();
    }
    let snapped = corners.map(|[x, y]| snap(x, y));
    // By the definition, pixel after pixel.
    let edge = |p: Point, q: Point, at: Point| {
        (q[0] - p[0]) * (at[1] - p[1]) - (q[1] - p[1]) * (at[0] - p[0])
    };
    let mut expected = 0;
    for y in 0..64 {
        for x in 0..64 {
            let at = [x * 256 + 128, y * 256 + 128];
            let inside = (0..3).all(|i| edge(snapped[i], snapped[(i + 1) % 3], at) > 0);
            expected += usize::from(inside);
        }
    }
    assert_eq!(count, expected);
}

#[test]
fn no_area_covers_nothing() {
    assert!(triangle([[1.0, 1.0], [9.0, 9.0], [5.0, 5.0]], CENTRE).is_none());
    assert!(
        triangle(
            [
                [f32::NAN, 1.0],
                [f32::INFINITY, 9.0],
                [f32::NEG_INFINITY, 5.0]
            ],
            CENTRE
        )
        .is_some()
    );
    let line = Outline::thin_line(snap(1.0, 1.0), snap(1.0, 1.0), 1.0);
    assert!(line.is_none());
}

#[test]
fn points_are_squares() {
    // Wherever its middle, a point of one pixel covers one.
    for i in 0..16 {
        let p = snap(5.0 + i as f32 / 16.0, 7.0 + i as f32 / 16.0);
        assert_eq!(drawn(Some(Outline::point(p, 1.0))).len(), 1, "{i}");
    }
    assert_eq!(drawn(Some(Outline::point(snap(5.5, 7.5), 1.0))), [(5, 7)]);
    let four = drawn(Some(Outline::point(snap(10.0, 10.0), 4.0)));
    let expected: Vec<_> = (0..16).map(|i| (8 + i % 4, 8 + i / 4)).collect();
    assert_eq!(four, expected);
}

#[test]
fn thin_lines() {
    let line = |x0, y0, x1, y1, width| drawn(Outline::thin_line(snap(x0, y0), snap(x1, y1), width));
    // The last pixel is left out, whichever way the line goes.
    assert_eq!(
        line(1.5, 2.5, 5.5, 2.5, 1.0),
        [(1, 2), (2, 2), (3, 2), (4, 2)]
    );
    assert_eq!(
        line(5.5, 2.5, 1.5, 2.5, 1.0),
        [(2, 2), (3, 2), (4, 2), (5, 2)]
    );
    assert_eq!(line(3.5, 1.5, 3.5, 4.5, 1.0), [(3, 1), (3, 2), (3, 3)]);
    assert_eq!(line(3.5, 4.5, 3.5, 1.5, 1.0), [(3, 2), (3, 3), (3, 4)]);
    // A diagonal has one in each column.
    assert_eq!(line(1.5, 1.5, 4.5, 4.5, 1.0), [(1, 1), (2, 2), (3, 3)]);
    // An end outside of the last diamond, after it.
    assert_eq!(line(1.5, 2.5, 3.95, 2.9, 1.0).len(), 3);
    // Within one diamond there is nothing.
    assert!(line(1.4, 2.5, 1.6, 2.5, 1.0).is_empty());
    // A strip covers each column once.
    let mut counts = Counts::new();
    let strip = [[0.5, 10.5], [7.3, 12.1], [13.8, 9.2], [20.5, 15.5]];
    for pair in strip.windows(2) {
        let [p, q] = [0, 1].map(|i| snap(pair[i][0], pair[i][1]));
        counts.add(Outline::thin_line(p, q, 1.0), [0, 0], CENTRE);
    }
    for x in 0..20 {
        let column: u32 = (0..32).map(|y| counts.0[y * 32 + x][0]).sum();
        assert_eq!(column, 1, "{x}");
    }
    // Width is measured along the minor axis.
    assert_eq!(line(1.5, 5.5, 3.5, 5.5, 3.0).len(), 6);
    assert_eq!(line(1.5, 5.5, 1.5, 9.5, 2.0).len(), 8);
}

#[test]
fn wide_lines_are_rectangles() {
    let mut counts = Counts::new();
    let line = Outline::wide_line(snap(4.0, 8.0), snap(12.0, 8.0), 4.0);
    counts.add(line, [0, 0], &[[4, 4], [12, 12]]);
    let covered: u32 = counts.0.iter().map(|samples| samples[0] + samples[1]).sum();
    assert_eq!(covered, 2 * 8 * 4);
}

#[test]
fn clips_of_blocks() {
    let rect = Rect {
        x0: 3,
        y0: 9,
        x1: 10,
        y1: 11,
    };
    assert_eq!(rect.mask(0, 0), 0);
    assert_eq!(rect.mask(0, 8), 0x0000_0000_00f8_f800);
    assert_eq!(rect.mask(8, 8), 0x0000_0000_0003_0300);
    assert_eq!(rect.mask(-100, -100), 0);
}

fn tests(function: u32) -> Tests {
    Tests {
        function,
        write: true,
        range: [0.0, 1.0],
        unorm16: false,
        stencil: None,
        visibility: Visibility::None,
        query: 0,
    }
}

#[test]
fn depth_functions() {
    // Never, less, equal, lequal, greater, notequal, gequal, always: for a nearer, the same and a farther depth.
    let expected = [
        [false, false, false],
        [true, false, false],
        [false, true, false],
        [true, true, false],
        [false, false, true],
        [true, false, true],
        [false, true, true],
        [true, true, true],
    ];
    for (function, expected) in (0..).zip(expected) {
        for (z, expected) in [0.25, 0.5, 0.75].into_iter().zip(expected) {
            let (mut depth, mut stencil) = (0.5, 0);
            let tests = tests(function);
            assert_eq!(tests.sample(z, &mut depth, &mut stencil), expected);
            assert_eq!(depth, if expected { z } else { 0.5 });
            // A block says the same.
            let plane = Plane {
                x: 0.0,
                y: 0.0,
                start: z,
            };
            let (mut depths, mut stencils) = ([0.5; 64], [0; 64]);
            let passed = tests.block(0xf0f0, &plane, [0.5; 2], &mut depths, &mut stencils);
            assert_eq!(passed, if expected { 0xf0f0 } else { 0 });
            assert_eq!(depths[4], depth);
            assert_eq!(depths[0], 0.5);
        }
        let passes = tests(function).sample(f32::NAN, &mut 0.5, &mut 0);
        assert!(!passes);
        // It does not matter what was there if all pass.
        let mut unset = f32::NAN;
        let passes = tests(function).sample(0.5, &mut unset, &mut 0);
        assert_eq!(passes, function & 4 != 0);
        let flat = Plane {
            x: 0.0,
            y: 0.0,
            start: 0.5,
        };
        let (mut depths, mut stencils) = ([f32::NAN; 64], [0; 64]);
        let passed = tests(function).block(1, &flat, [0.5; 2], &mut depths, &mut stencils);
        assert_eq!(passed, (function >> 2).into());
        assert_eq!(depths[0] == 0.5, passed == 1);
    }
}

#[test]
fn blocks_follow_the_plane() {
    let plane = Plane {
        x: 1.0 / 64.0,
        y: 1.0 / 8.0,
        start: 0.0,
    };
    let (mut depths, mut stencils) = ([0.5; 64], [0; 64]);
    let passed = tests(1).block(u64::MAX, &plane, [0.5; 2], &mut depths, &mut stencils);
    // Three rows are nearer, and half of the fourth.
    assert_eq!(passed, 0x0fff_ffff);
    assert_eq!(depths[9], plane.at(1.5, 1.5));
}

#[test]
fn depths_are_clamped_and_rounded() {
    let float = tests(7);
    assert_eq!(float.depth(-1.0), 0.0);
    assert_eq!(float.depth(2.0), 1.0);
    assert!(float.depth(f32::NAN).is_nan());
    let unorm = Tests {
        unorm16: true,
        ..float
    };
    assert_eq!(unorm.depth(0.5), 32768.0 / 65535.0);
    assert_eq!(unorm.depth(1.0), 1.0);
}

#[test]
fn stencil_operations() {
    let state = StencilTest {
        compare: 3,
        reference: 0x45,
        read: 0x0f,
        write: 0xff,
        stencil_fail: 5,
        depth_fail: 3,
        pass: 2,
    };
    // The reference's low bits must not be greater than the value's.
    let mut value = 0x04;
    assert!(!state.test(&mut value, || true));
    assert_eq!(value, 0xfb);
    value = 0xff;
    assert!(!state.test(&mut value, || false));
    assert_eq!(value, 0xff);
    assert!(state.test(&mut value, || true));
    assert_eq!(value, 0x45);
    let masked = StencilTest {
        compare: 7,
        write: 0x0f,
        pass: 7,
        ..state
    };
    value = 0x20;
    assert!(masked.test(&mut value, || true));
    assert_eq!(value, 0x2f);
}

#[test]
fn biases() {
    let bias = Bias {
        constant: 4.0,
        slope: 0.0,
        clamp: 0.0,
        integer: false,
    };
    // Two steps of a depth that is between a half and one.
    assert_eq!(bias.of(0.0, 0.0, 0.75), f64::from(f32::EPSILON));
    let integer = Bias {
        constant: 0.25,
        slope: 2.0,
        clamp: 0.5,
        integer: true,
    };
    assert_eq!(integer.of(-0.1, 0.0625, 0.75), 0.45);
    assert_eq!(integer.of(0.5, 0.0, 0.75), 0.5);
}
