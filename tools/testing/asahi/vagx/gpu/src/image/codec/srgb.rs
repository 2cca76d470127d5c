// SPDX-License-Identifier: MIT OR Apache-2.0

//! The transfer function of sRGB for 8-bit channels.

use crate::exec::Lanes;
use std::sync::LazyLock;

/// The function towards linear light.
fn linear(value: f64) -> f64 {
    if value <= 0.04045 {
        value / 12.92
    } else {
        ((value + 0.055) / 1.055).powf(2.4)
    }
}

/// Steps in which the way back looks up where to begin.
const STEPS: usize = 4096;

struct Tables {
    linear: [u32; 256],
    /// For each value the least number that is above it: where the next begins.
    end: [f32; 256],
    /// For each step the value of its beginning. One more for the number one, rounded up so that a mask bounds it.
    start: [u32; 2 * STEPS],
}

static TABLES: LazyLock<Box<Tables>> = LazyLock::new(|| {
    let mut tables = Box::new(Tables {
        linear: [0; 256],
        end: [f32::INFINITY; 256],
        start: [0; 2 * STEPS],
    });
    for value in 0..256 {
        tables.linear[value] = (linear(value as f64 / 255.0) as f32).to_bits();
        if value < 255 {
            tables.end[value] = linear((value as f64 + 0.5) / 255.0) as f32;
        }
    }
    let mut value = 0;
    for step in 0..=STEPS {
        while step as f32 / STEPS as f32 >= tables.end[value] {
            value += 1;
        }
        tables.start[step] = value as u32;
    }
    tables
});

/// The linear values of 8 bits, in single precision.
#[inline(always)]
pub(crate) fn decode(values: &Lanes) -> Lanes {
    let linear = &TABLES.linear;
    values.map(|value| linear[value as usize & 255])
}

/// The nearest of the 256 values.
#[inline(always)]
pub(crate) fn encode(values: &Lanes) -> Lanes {
    let (start, end) = (&TABLES.start, &TABLES.end);
    values.map(|x| {
        // What is not a number becomes zero.
        let x = f32::from_bits(x);
        let x = if x > 0.0 { x.min(1.0) } else { 0.0 };
        let value = start[(x * STEPS as f32) as i32 as usize & (2 * STEPS - 1)];
        // A step is no more than 0.81 of the smallest distance between values, so that at most one begins in it.
        value + u32::from(x >= end[value as usize & 255])
    })
}
