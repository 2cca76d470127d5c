// SPDX-License-Identifier: MIT OR Apache-2.0

//! What stands in the scene.

use std::f32::consts::{PI, TAU};

use crate::matrix::{Vector, cross, minus, unit};

/// Vertices and which of them make triangles.
#[derive(Default)]
pub struct Mesh {
    /// Place, normal, place in the texture.
    vertices: Vec<(Vector, Vector, [f32; 2])>,
    indices: Vec<u16>,
}

impl Mesh {
    /// The vertices as the program takes them.
    pub fn vertices(&self) -> Vec<u8> {
        self.vertices
            .iter()
            .flat_map(|(place, normal, texel)| place.iter().chain(normal).chain(texel))
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    pub fn indices(&self) -> Vec<u8> {
        self.indices.iter().flat_map(|i| i.to_le_bytes()).collect()
    }

    pub fn count(&self) -> i32 {
        self.indices.len() as i32
    }

    /// A sheet of `columns` by `rows` cells, bent as `bend` says for its two coordinates between 0 and 1.
    fn sheet(columns: u16, rows: u16, bend: impl Fn(f32, f32) -> (Vector, Vector)) -> Mesh {
        let mut mesh = Mesh::default();
        for row in 0..=rows {
            for column in 0..=columns {
                let u = f32::from(column) / f32::from(columns);
                let v = f32::from(row) / f32::from(rows);
                let (place, normal) = bend(u, v);
                mesh.vertices.push((place, normal, [2.0 * u, v]));
            }
        }
        let step = columns + 1;
        for row in 0..rows {
            for column in 0..columns {
                let first = row * step + column;
                let second = first + step;
                mesh.indices.extend([first, second, first + 1]);
                mesh.indices.extend([first + 1, second, second + 1]);
            }
        }
        mesh
    }
}

/// A square of this half edge, with its texture repeated.
pub fn floor(half: f32, repeat: f32) -> Mesh {
    let mut mesh = Mesh::sheet(4, 4, |u, v| {
        let place = [half * (2.0 * u - 1.0), 0.0, half * (2.0 * v - 1.0)];
        (place, [0.0, 1.0, 0.0])
    });
    for (_, _, texel) in &mut mesh.vertices {
        *texel = [texel[0] * repeat / 2.0, texel[1] * repeat];
    }
    mesh
}

/// A ball of radius 1.
pub fn ball(columns: u16, rows: u16) -> Mesh {
    Mesh::sheet(columns, rows, |u, v| {
        let (sin, cos) = (PI * v).sin_cos();
        let place = [sin * (TAU * u).sin(), cos, sin * (TAU * u).cos()];
        (place, place)
    })
}

/// A trefoil knot.
pub fn knot(columns: u16, rows: u16) -> Mesh {
    let line = |t: f32| -> Vector {
        let wide = 0.7 + 0.3 * (3.0 * t).cos();
        [
            wide * (2.0 * t).cos(),
            wide * (2.0 * t).sin(),
            0.35 * (3.0 * t).sin(),
        ]
    };
    Mesh::sheet(columns, rows, |u, v| {
        let t = TAU * u;
        let along = unit(minus(line(t + 0.01), line(t - 0.01)));
        let side = unit(cross(along, [0.0, 0.0, 1.0]));
        let other = cross(along, side);
        let (sin, cos) = (TAU * v).sin_cos();
        let normal: Vector = std::array::from_fn(|i| cos * side[i] + sin * other[i]);
        let centre = line(t);
        let place = std::array::from_fn(|i| centre[i] + 0.17 * normal[i]);
        (place, normal)
    })
}
