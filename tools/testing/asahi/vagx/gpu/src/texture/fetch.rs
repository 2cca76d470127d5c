// SPDX-License-Identifier: MIT OR Apache-2.0

//! Texels by number.

use super::{Lod, Port, Request, Texture, Trouble};
use crate::exec::Lanes;

/// Reads texels at whole coordinates. Outside of the texture everything is zero.
#[inline(always)]
pub(super) fn fetch(
    texture: &Texture,
    port: &mut Port<'_, '_>,
    request: &Request,
    out: &mut [Lanes; 4],
) -> Result<(), Trouble> {
    let image = &texture.image;
    let level = match &request.lod {
        Lod::Level(level) => *level,
        _ => Lanes::ZERO,
    };
    let last = texture.levels - 1;
    let mut inside = level.map(|l| u32::from(l <= last).wrapping_neg());
    let level = level.map(|l| l.min(last));
    let sizes = texture.sizes(&level);
    let mut at = [Lanes::ZERO; 3];
    for axis in 0..request.dim.axes() {
        at[axis] = request.coords[axis];
        if let Some(offset) = &request.offset {
            at[axis] = at[axis].zip(unpacked(offset, axis), u32::wrapping_add);
        }
        let within = at[axis].zip(sizes[axis], |c, n| u32::from(c < n).wrapping_neg());
        inside = inside.zip(within, |a, b| a & b);
    }
    if request.dim.is_array() {
        at[2] = request.layer;
        let layers = image.layers();
        inside = inside.zip(request.layer, |a, l| if l < layers { a } else { 0 });
    }
    let samples = image.samples;
    inside = inside.zip(request.sample, |a, s| if s < samples { a } else { 0 });
    let lanes = request.active & inside.to_bits();
    let first = image.first_level;
    let level = level.map(|l| l + first);
    let raw = port.texels(
        texture,
        lanes,
        &level,
        [&at[0], &at[1], &at[2], &request.sample],
    )?;
    let mut texel = image.format.decode(&raw);
    for channel in &mut texel {
        *channel = channel.zip(inside, |c, m| c & m);
    }
    texture.swizzle(&texel, out);
    Ok(())
}

/// The offset of one axis, which has four bits.
#[inline(always)]
pub(super) fn unpacked(packed: &Lanes, axis: usize) -> Lanes {
    let shift = 28 - 4 * axis;
    packed.map(|p| ((p << shift) as i32 >> 28) as u32)
}
