// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an instruction says about the level of detail.

use super::cube::{self, OnFace};
use super::lod::{self, Footprint};
use super::real::{Reals, vector};
use super::sampler::Sampler;
use super::{Lod, Request, Texture};
use crate::exec::Lanes;

/// The level of detail before it is limited, and the footprint if there is to be more than one probe.
#[inline(always)]
pub(super) fn detail(
    texture: &Texture,
    sampler: &Sampler,
    request: &Request,
    coords: &[Reals; 3],
    on_face: Option<&OnFace>,
) -> (Reals, Option<Footprint>) {
    let mut d = [[Reals::ZERO; 2]; 3];
    match &request.lod {
        Lod::Zero => return (Reals::ZERO, None),
        Lod::Level(level) => return (Reals::from_bits(level), None),
        Lod::Implicit { .. } => {
            for (d, coord) in d.iter_mut().zip(coords) {
                *d = lod::differences(coord);
            }
        }
        Lod::Gradient { d: given, .. } => {
            for (d, given) in d.iter_mut().zip(given) {
                *d = [Reals::from_bits(&given[0]), Reals::from_bits(&given[1])];
            }
        }
    }
    let first = texture.image.first_level.min(31);
    let mut size = [1.0; 3];
    if !sampler.pixels {
        for (size, texels) in size.iter_mut().zip(texture.size) {
            *size = (texels >> first).max(1) as f32;
        }
    }
    let mut footprint = None;
    let mut lod = if let Some(on_face) = on_face {
        let x = on_face.derivatives(&[d[0][0], d[1][0], d[2][0]]);
        let y = on_face.derivatives(&[d[0][1], d[1][1], d[2][1]]);
        lod::isotropic(&[[x[0], y[0]], [x[1], y[1]]], &[size[0], size[1]])
    } else if request.dim.axes() == 2 && sampler.anisotropy > 1 {
        let (d, size) = ([d[0], d[1]], [size[0], size[1]]);
        let found = lod::anisotropic(&d, &size, sampler.anisotropy);
        let lod = found.lod;
        footprint = Some(found);
        lod
    } else {
        // Axes that there are not do not move.
        lod::isotropic(&d, &size)
    };
    if let Lod::Implicit {
        bias: Some(bias), ..
    } = &request.lod
    {
        lod = lod.zip(Reals::from_bits(bias), |lod, bias| lod + bias);
    }
    (lod, footprint)
}

/// The level of detail within the limits of sampler and instruction.
#[inline(always)]
pub(super) fn limited(lod: &Reals, sampler: &Sampler, request: &Request) -> Reals {
    match &request.lod {
        Lod::Implicit {
            least: Some(least), ..
        }
        | Lod::Gradient {
            least: Some(least), ..
        } => lod::limited(lod, sampler, Some(&Reals::from_bits(least))),
        _ => lod::limited(lod, sampler, None),
    }
}

/// What `textureQueryLod` asks for: the level within limits, and the level of detail without.
#[inline(always)]
pub(super) fn query(texture: &Texture, sampler: &Sampler, request: &Request) -> [Lanes; 4] {
    let coords = vector(&request.coords);
    let on_face = match request.dim.is_cube() {
        true => Some(cube::project(&coords)),
        false => None,
    };
    let (lod, _) = detail(texture, sampler, request, &coords, on_face.as_ref());
    let limited = limited(&lod, sampler, request);
    let (level, weight) = lod::levels(&limited, sampler.mip, texture.levels - 1);
    let level = Reals::from_ints(&level).zip(weight, |level, weight| level + weight);
    [level.bits(), lod.bits(), Lanes::ZERO, Lanes::ZERO]
}
