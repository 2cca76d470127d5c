// SPDX-License-Identifier: MIT OR Apache-2.0

//! The transfer function of sRGB for 8-bit channels.

use super::LazyLock;

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
    /// For each step the value of its beginning.
    start: [u8; STEPS + 1],
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut tables = Tables {
        linear: [0; 256],
        end: [f32::INFINITY; 256],
        start: [0; STEPS + 1],
    };
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
        tables.start[step] = value as u8;
    }
    tables
});

/// The linear value of 8 bits, in single precision.
#[inline(always)]
pub(crate) fn decode(value: u32) -> u32 {
    TABLES.linear[value as usize % 256]
}

/// The nearest of the 256 values.
#[inline(always)]
pub(crate) fn encode(x: u32) -> u32 {
    let x = f32::from_bits(x).max(0.0).min(1.0);
    let tables = &*TABLES;
    let value = tables.start[(x * STEPS as f32) as usize % (STEPS + 1)];
    // A step is no more than 0.81 of the smallest distance between values, so that at most one begins in it.
    u32::from(value) + u32::from(x >= tables.end[usize::from(value)])
}
