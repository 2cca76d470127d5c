// SPDX-License-Identifier: MIT OR Apache-2.0

//! The texture unit: states, levels of detail, filters.
//!
//! States are decoded when they are first used. Everything is done for 32 lanes at a time.

mod border;
mod cube;
mod fetch;
mod filter;
mod flat;
mod footprint;
mod lod;
mod real;
mod sampler;
mod square;
#[cfg(test)]
pub(crate) mod tests;
mod wrap;

use crate::exec::{Cpu, Lanes};
use crate::image::{Dimension, Image};
use crate::memory::Memory;
use sampler::Sampler;

/// A texture's state, decoded.
pub(crate) struct Texture {
    image: Image,
    /// Width, height and depth of the first level of all, not of the first that may be sampled.
    size: [u32; 3],
    /// Levels that may be sampled.
    levels: u32,
    /// There is a short way to its texels.
    flat: bool,
}

impl Texture {
    fn new(state: &[u8; 24]) -> Result<Self, &'static str> {
        let image = Image::texture(state)?;
        let depth = match image.dim {
            Dimension::D3 => image.depth,
            _ => 1,
        };
        let Some(levels) = image.last_level.checked_sub(image.first_level) else {
            return Err("texture without levels");
        };
        Ok(Texture {
            size: [image.width, image.height, depth],
            levels: levels + 1,
            flat: flat::is_flat(&image),
            image,
        })
    }
}

/// Why a texture could not be sampled.
#[derive(Debug, PartialEq)]
pub(crate) enum Trouble {
    /// Nothing is mapped at this address.
    Unmapped(u64),
    /// The model does not know how.
    Unknown(&'static str),
}

/// How the level of detail is found.
#[expect(clippy::large_enum_variant)] // There is one at a time, on the stack.
pub(crate) enum Lod {
    /// The first level.
    Zero,
    /// From the quads' coordinates. Floats.
    Implicit {
        bias: Option<Lanes>,
        least: Option<Lanes>,
    },
    /// As given: a float, or an integer for fetches.
    Level(Lanes),
    /// From the derivatives of each axis, along x and along y.
    Gradient {
        d: [[Lanes; 2]; 3],
        least: Option<Lanes>,
    },
}

/// What a texture instruction asks for.
pub(crate) struct Request {
    pub(crate) active: u32,
    pub(crate) dim: Dimension,
    /// Floats, or integers for fetches.
    pub(crate) coords: [Lanes; 3],
    pub(crate) layer: Lanes,
    pub(crate) sample: Lanes,
    pub(crate) lod: Lod,
    /// The reference value of a comparison.
    pub(crate) compare: Option<Lanes>,
    /// Four bits for each axis.
    pub(crate) offset: Option<Lanes>,
    /// The component of which four texels are wanted.
    pub(crate) gather: Option<u8>,
    /// A bit for each component of the result that is looked at. The others may be anything.
    pub(crate) wanted: u8,
}

/// How the texture unit reaches memory.
pub(crate) struct Port<'a, 'b> {
    pub(crate) memory: &'a mut Memory<'b>,
    /// Counts texels that are stored in a way that is not known.
    pub(crate) unknown: &'a mut u64,
    pub(crate) cpu: Cpu,
}

/// A kind of instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Reads texels.
    Fetch,
    /// Filters.
    Sample,
    /// Tells the level of detail.
    Query,
}

/// Does what a texture instruction asks for.
#[inline(always)]
pub(crate) fn perform(
    action: Action,
    texture: &Texture,
    sampler: &Sampler,
    port: &mut Port<'_, '_>,
    request: &Request,
    out: &mut [Lanes; 4],
) -> Result<(), Trouble> {
    // A texture has the axes that are asked for, or else the shader was made for another.
    let is_cube = texture.image.dim.is_cube();
    let is_3d = texture.image.dim == Dimension::D3;
    let wants = (request.dim.is_cube(), request.dim == Dimension::D3);
    if wants != (is_cube, is_3d) {
        return Err(Trouble::Unknown("texture of another dimension"));
    }
    // What is outside may be fetched all the same.
    if action == Action::Sample && !texture.image.format.exists() {
        return Err(Trouble::Unknown("texels of three words"));
    }
    match action {
        Action::Fetch if is_cube => Err(Trouble::Unknown("texels of a cube by number")),
        Action::Fetch => fetch::fetch(texture, port, request, out),
        Action::Sample => filter::sample(texture, sampler, port, request, out),
        Action::Query => {
            *out = footprint::query(texture, sampler, request);
            Ok(())
        }
    }
}

/// States that a cache keeps. A power of two.
const WAYS: usize = 64;

type Entry<T> = Option<Box<([u8; 24], T)>>;

/// States that were used lately, found by their bytes.
pub(crate) struct States {
    textures: Box<[Entry<Texture>; WAYS]>,
    samplers: Box<[Entry<Sampler>; WAYS]>,
}

impl Default for States {
    fn default() -> Self {
        States {
            textures: Box::new([const { None }; WAYS]),
            samplers: Box::new([const { None }; WAYS]),
        }
    }
}

/// Where in a cache a state would be.
fn way(state: &[u8; 24]) -> usize {
    let [a, b, c] = state.as_chunks().0 else {
        return 0;
    };
    let words = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b) ^ u64::from_le_bytes(*c);
    let hash = words.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    hash as usize % WAYS
}

fn find<'a, T>(
    entries: &'a mut [Entry<T>; WAYS],
    state: &[u8; 24],
    decode: impl FnOnce(&[u8; 24]) -> Result<T, &'static str>,
) -> Result<&'a T, &'static str> {
    let entry = &mut entries[way(state)];
    match entry {
        Some(found) if found.0 == *state => (),
        _ => *entry = Some(Box::new((*state, decode(state)?))),
    }
    match entry {
        Some(found) => Ok(&found.1),
        None => Err("state that was not kept"),
    }
}

impl States {
    /// The texture and the sampler of these states; the error says which state is not known, and why.
    pub(crate) fn find(
        &mut self,
        texture: &[u8; 24],
        sampler: &[u8; 24],
    ) -> Result<(&Texture, &Sampler), ([u8; 24], &'static str)> {
        let found =
            find(&mut self.textures, texture, Texture::new).map_err(|why| (*texture, why))?;
        let sampler =
            find(&mut self.samplers, sampler, Sampler::new).map_err(|why| (*sampler, why))?;
        Ok((found, sampler))
    }
}
