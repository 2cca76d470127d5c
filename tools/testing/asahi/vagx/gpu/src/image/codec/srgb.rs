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

/// Steps of the way back.
const STEPS: usize = 4096;

/// Parts of a step: so small that every number that begins a value is a whole one.
const PARTS: f32 = (1 << 24) as f32;

struct Tables {
    linear: [u32; 256],
    /// For each step, the part with which a value begins, and below it in 8 bits the value before that. One more for the
    /// number one, rounded up so that a mask bounds it.
    steps: [u32; 2 * STEPS],
}

static TABLES: LazyLock<Box<Tables>> = LazyLock::new(|| {
    let mut tables = Box::new(Tables {
        linear: [0; 256],
        steps: [0; 2 * STEPS],
    });
    // The least number that is nearer to the next value.
    let end = |value: u32| match value {
        255.. => f32::INFINITY,
        _ => linear((f64::from(value) + 0.5) / 255.0) as f32,
    };
    for (value, linear_value) in (0..).zip(&mut tables.linear) {
        *linear_value = (linear(f64::from(value) / 255.0) as f32).to_bits();
    }
    let mut value = 0;
    for (step, entry) in tables.steps.iter_mut().enumerate().take(STEPS + 1) {
        while step as f32 / STEPS as f32 >= end(value) {
            value += 1;
        }
        // A step is no more than 0.81 of the smallest distance between values, so that at most one begins in it.
        let part = (end(value) * STEPS as f32 - step as f32) * PARTS;
        *entry = match part < PARTS {
            true => (part as u32) << 8 | value,
            // None does: as if this one did. Zero ends in the first step.
            false => value.saturating_sub(1),
        };
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
    // The sum's lowest bit stands for one, so that the addition rounds.
    const WHOLE: f32 = (1 << 23) as f32;
    let steps = &TABLES.steps;
    // All of this is exact. It does without conversions to integers, which not every CPU has as Rust wants them.
    let scaled = values.map(|x| {
        // What is not a number becomes zero.
        let x = f32::from_bits(x);
        let x = if x > 0.0 { x.min(1.0) } else { 0.0 };
        (x * STEPS as f32).to_bits()
    });
    let step = scaled.map(|scaled| {
        let (scaled, near) = (f32::from_bits(scaled), f32::from_bits(scaled) + WHOLE);
        (near.to_bits() & (2 * STEPS as u32 - 1)) - u32::from(near - WHOLE > scaled)
    });
    let entries = step.map(|step| steps[step as usize & (2 * STEPS - 1)]);
    let parts = scaled.zip(step, |scaled, step| {
        ((f32::from_bits(scaled) - step as i32 as f32) * PARTS).to_bits()
    });
    entries.zip(parts, |entry, part| {
        (entry & 0xff) + u32::from(f32::from_bits(part) >= (entry >> 8) as i32 as f32)
    })
}
