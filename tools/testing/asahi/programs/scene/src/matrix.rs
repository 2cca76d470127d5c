// SPDX-License-Identifier: MIT OR Apache-2.0

//! Matrices of 4 by 4, column by column as OpenGL takes them.

/// A vector in space.
pub type Vector = [f32; 3];

pub fn minus(a: Vector, b: Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub fn dot(a: Vector, b: Vector) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub fn cross(a: Vector, b: Vector) -> Vector {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}

pub fn unit(a: Vector) -> Vector {
    let length = dot(a, a).sqrt();
    a.map(|x| x / length)
}

#[derive(Clone)]
pub struct Matrix([f32; 16]);

impl Matrix {
    pub fn identity() -> Matrix {
        Matrix::scale([1.0; 3])
    }

    pub fn scale(by: Vector) -> Matrix {
        let mut m = [0.0; 16];
        for (i, by) in by.into_iter().chain([1.0]).enumerate() {
            m[5 * i] = by;
        }
        Matrix(m)
    }

    pub fn shift(by: Vector) -> Matrix {
        let mut m = Matrix::identity();
        m.0[12..15].copy_from_slice(&by);
        m
    }

    /// Around the axis that points upwards.
    pub fn turn(angle: f32) -> Matrix {
        let (sin, cos) = angle.sin_cos();
        let mut m = Matrix::identity();
        (m.0[0], m.0[2], m.0[8], m.0[10]) = (cos, -sin, sin, cos);
        m
    }

    /// What an eye sees whose field of view is so high.
    pub fn perspective(angle: f32, aspect: f32, near: f32, far: f32) -> Matrix {
        let f = 1.0 / (angle / 2.0).tan();
        let mut m = Matrix::scale([f / aspect, f, (far + near) / (near - far)]);
        (m.0[11], m.0[14], m.0[15]) = (-1.0, 2.0 * far * near / (near - far), 0.0);
        m
    }

    /// From `eye` towards `to`.
    pub fn look(eye: Vector, to: Vector) -> Matrix {
        let back = unit(minus(eye, to));
        let right = unit(cross([0.0, 1.0, 0.0], back));
        let up = cross(back, right);
        let mut m = Matrix::identity();
        for (row, axis) in [right, up, back].into_iter().enumerate() {
            for (column, value) in axis.into_iter().enumerate() {
                m.0[4 * column + row] = value;
            }
            m.0[12 + row] = -dot(axis, eye);
        }
        m
    }

    /// What first `other` does and then this.
    pub fn times(&self, other: &Matrix) -> Matrix {
        let cell = |row: usize, column: usize| -> f32 {
            (0..4)
                .map(|k| self.0[4 * k + row] * other.0[4 * column + k])
                .sum()
        };
        Matrix(std::array::from_fn(|i| cell(i % 4, i / 4)))
    }

    pub fn columns(&self) -> &[f32; 16] {
        &self.0
    }
}
