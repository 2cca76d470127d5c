// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sampling: which texels of which levels, and what becomes of them.

use super::cube::{self, OnFace};
use super::lod::{self, Footprint};
use super::real::Reals;
use super::sampler::{Compare, Filter, Mip, Sampler};
use super::wrap::{self, Axis};
use super::{Lod, Port, Request, Texture, Trouble, border};
use crate::exec::Lanes;
use crate::image::Channel;
use crate::image::codec::Kind;
use crate::uop::TextureDim;

/// Everything that does not change from texel to texel.
struct Sampling<'a> {
    texture: &'a Texture,
    sampler: &'a Sampler,
    request: &'a Request,
    /// The layer, or the face of a cube.
    layer: Lanes,
    offsets: Option<[Lanes; 3]>,
    border: [u32; 4],
    compare: Option<(Compare, Reals)>,
    /// Cubes whose filters reach into neighbouring faces.
    seamless: bool,
}

/// Texels of some lanes at one level each.
struct Pass {
    lanes: u32,
    level: Lanes,
    filter: Filter,
    /// How much of it there is in the result, the rest being what was there before.
    weight: Option<Reals>,
}

impl Port<'_, '_> {
    #[inline(always)]
    fn texels(
        &mut self,
        texture: &Texture,
        lanes: u32,
        level: &Lanes,
        at: [&Lanes; 4],
    ) -> Result<[Lanes; 4], Trouble> {
        texture
            .image
            .fetch(self.memory, self.unknown, lanes, level, at)
            .map_err(Trouble::Unmapped)
    }
}

impl Texture {
    pub(crate) fn is_integer(&self) -> bool {
        self.image.format.is_integer()
    }

    /// Sizes of a level of each lane, counted from the first level.
    #[inline(always)]
    fn sizes(&self, level: &Lanes) -> [Lanes; 3] {
        let first = self.image.first_level;
        let [width, height, depth] = self.size;
        [width, height, depth]
            .map(|size| level.map(|level| (size >> (first + level).min(31)).max(1)))
    }
}

/// The level of detail before it is limited, and the footprint if there is to be more than one probe.
#[inline(always)]
fn detail(
    texture: &Texture,
    sampler: &Sampler,
    request: &Request,
    coords: &[Reals; 3],
    on_face: Option<&OnFace>,
) -> (Reals, Option<Footprint>) {
    let (derivatives, bias) = match &request.lod {
        Lod::Zero => return (Reals::ZERO, None),
        Lod::Level(level) => return (Reals::from_bits(level), None),
        Lod::Implicit { bias, .. } => ([0, 1, 2].map(|n| lod::differences(&coords[n])), bias),
        Lod::Gradient { d, .. } => {
            let d = [0, 1, 2].map(|n| [0, 1].map(|m| Reals::from_bits(&d[n][m])));
            (d, &None)
        }
    };
    let first = texture.image.first_level;
    let size = texture
        .size
        .map(|size| (size >> first.min(31)).max(1) as f32);
    let size = if sampler.pixels { [1.0; 3] } else { size };
    let axes = request.dim.axes();
    let mut footprint = None;
    let plain = if let Some(on_face) = on_face {
        let along = |m: usize| on_face.derivatives(&[0, 1, 2].map(|n| derivatives[n][m]));
        let (x, y) = (along(0), along(1));
        lod::isotropic(&[[x[0], y[0]], [x[1], y[1]]], &[size[0], size[1]])
    } else if axes == 3 {
        lod::isotropic(&derivatives, &size)
    } else if axes == 1 {
        lod::isotropic(&[derivatives[0]], &[size[0]])
    } else {
        let d = [derivatives[0], derivatives[1]];
        let size = [size[0], size[1]];
        if sampler.anisotropy > 1 {
            let found = lod::anisotropic(&d, &size, sampler.anisotropy);
            let lod = found.lod;
            footprint = Some(found);
            lod
        } else {
            lod::isotropic(&d, &size)
        }
    };
    let lod = match bias {
        Some(bias) => plain.zip(Reals::from_bits(bias), |lod, bias| lod + bias),
        None => plain,
    };
    (lod, footprint)
}

#[inline(always)]
fn least(request: &Request) -> Option<Reals> {
    match &request.lod {
        Lod::Implicit { least, .. } | Lod::Gradient { least, .. } => {
            least.as_ref().map(Reals::from_bits)
        }
        _ => None,
    }
}

/// What `textureQueryLod` asks for: the level within limits, and the level of detail without.
#[inline(always)]
pub(super) fn query(texture: &Texture, sampler: &Sampler, request: &Request) -> [Lanes; 4] {
    let coords = request.coords.map(|c| Reals::from_bits(&c));
    let on_face = request.dim.is_cube().then(|| cube::project(&coords));
    let (lod, _) = detail(texture, sampler, request, &coords, on_face.as_ref());
    let limited = lod::limited(lod, sampler, least(request));
    let (level, weight) = lod::levels(limited, sampler.mip, texture.levels - 1);
    let level = Reals::from_ints(&level).zip(weight, |level, weight| level + weight);
    [level.to_bits(), lod.to_bits(), Lanes::ZERO, Lanes::ZERO]
}

/// Reads texels at whole coordinates. Outside of the texture everything is zero.
#[inline(always)]
pub(super) fn fetch(
    texture: &Texture,
    mut port: Port<'_, '_>,
    request: &Request,
) -> Result<[Lanes; 4], Trouble> {
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
    let offsets = request.offset.as_ref().map(unpacked);
    for axis in 0..request.dim.axes() {
        at[axis] = request.coords[axis];
        if let Some(offsets) = &offsets {
            at[axis] = at[axis].zip(offsets[axis], u32::wrapping_add);
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
    let texel = image.format.decode(&raw);
    Ok(image.swizzled(&texel.map(|c| c.zip(inside, |c, m| c & m))))
}

/// Offsets of four bits for each axis.
#[inline(always)]
fn unpacked(packed: &Lanes) -> [Lanes; 3] {
    [0, 4, 8].map(|shift| packed.map(|p| ((p << (28 - shift)) as i32 >> 28) as u32))
}

/// Samples a texture.
#[inline(always)]
pub(super) fn sample(
    texture: &Texture,
    sampler: &Sampler,
    mut port: Port<'_, '_>,
    request: &Request,
) -> Result<[Lanes; 4], Trouble> {
    let image = &texture.image;
    let coords = request.coords.map(|c| Reals::from_bits(&c));
    let on_face = request.dim.is_cube().then(|| cube::project(&coords));
    let layers = image.layers().max(1);
    let layer = match &on_face {
        Some(on) => on.face.zip(request.layer, |face, layer| {
            (face + 6 * layer).min(layers - 1)
        }),
        None if request.dim.is_array() => request.layer.map(|layer| layer.min(layers - 1)),
        None => Lanes::ZERO,
    };
    let compare = match (&request.compare, sampler.compare) {
        (Some(reference), Some(compare)) => {
            let reference = Reals::from_bits(reference);
            let reference = if image.format.kind == Kind::Unorm {
                reference.map(|r| super::real::clamp(r, 0.0, 1.0))
            } else {
                reference
            };
            Some((compare, reference))
        }
        _ => None,
    };
    let sampling = Sampling {
        texture,
        sampler,
        request,
        layer,
        offsets: request.offset.as_ref().map(unpacked),
        border: border::colour(sampler.border, &image.format),
        compare,
        seamless: on_face.is_some() && !sampler.seamful,
    };
    let position = match &on_face {
        Some(on) => [on.s, on.t, Reals::ZERO],
        None => coords,
    };
    if let Some(component) = request.gather {
        return sampling.gather(&mut port, &position, component);
    }
    let matters = (sampler.mip != Mip::None && texture.levels > 1)
        || sampler.magnify != sampler.minify
        || sampler.anisotropy > 1;
    let (lod, footprint) = if matters {
        detail(texture, sampler, request, &coords, on_face.as_ref())
    } else {
        (Reals::ZERO, None)
    };
    let lod = lod::limited(lod, sampler, least(request));
    let (level, part) = lod::levels(lod, sampler.mip, texture.levels - 1);
    let large = lod.test(Reals::ZERO, |lod, zero| lod <= zero).to_bits() & request.active;
    let small = request.active & !large;
    let between = if image.format.is_integer() {
        0
    } else {
        part.test(Reals::ZERO, |part, zero| part > zero).to_bits() & small
    };
    let (first, second) = if sampler.magnify == sampler.minify {
        (request.active, 0)
    } else {
        (large, small)
    };
    let next = level.map(|level| (level + 1).min(texture.levels - 1));
    let passes = [
        Pass {
            lanes: first,
            level,
            filter: sampler.magnify,
            weight: None,
        },
        Pass {
            lanes: second,
            level,
            filter: sampler.minify,
            weight: None,
        },
        Pass {
            lanes: between,
            level: next,
            filter: sampler.minify,
            weight: Some(part),
        },
    ];
    let texel = sampling.passes(&mut port, &passes, &position, footprint)?;
    Ok(image.swizzled(&texel))
}

impl Sampling<'_> {
    /// Does all passes, each once for every probe.
    #[inline(always)]
    fn passes(
        &self,
        port: &mut Port<'_, '_>,
        passes: &[Pass; 3],
        position: &[Reals; 3],
        footprint: Option<Footprint>,
    ) -> Result<[Lanes; 4], Trouble> {
        let active = self.request.active;
        let probes = match &footprint {
            Some(footprint) => {
                let of =
                    |lane: usize| footprint.probes.0[lane] & (active >> lane & 1).wrapping_neg();
                (0..32).map(of).max().unwrap_or(1).clamp(1, 16)
            }
            None => 1,
        };
        let mut sum = [Lanes::ZERO; 4];
        for probe in 0..probes {
            let mut position = *position;
            let mut lanes = active;
            if let Some(footprint) = &footprint {
                let count = Reals::from_ints(&footprint.probes);
                let along = count.map(|n| (probe as f32 + 0.5) / n - 0.5);
                for (position, line) in position.iter_mut().zip(&footprint.line) {
                    *position = position.zip(line.zip(along, |l, a| l * a), |p, d| p + d);
                }
                let last = footprint
                    .probes
                    .map(|n| u32::from(probe < n).wrapping_neg());
                lanes &= last.to_bits();
            }
            let mut texel = [Lanes::ZERO; 4];
            for pass in passes {
                let lanes = pass.lanes & lanes;
                if lanes == 0 {
                    continue;
                }
                let got = self.filtered(port, lanes, &pass.level, pass.filter, &position)?;
                let mask = Lanes::from_bits(lanes);
                for (texel, got) in texel.iter_mut().zip(got) {
                    let got = match &pass.weight {
                        Some(weight) => mix(*texel, got, weight),
                        None => got,
                    };
                    *texel = got.select(*texel, mask);
                }
            }
            if probes == 1 {
                return Ok(texel);
            }
            let mask = Lanes::from_bits(lanes);
            for (sum, texel) in sum.iter_mut().zip(texel) {
                let added = Reals::from_bits(sum).zip(Reals::from_bits(&texel), |a, b| a + b);
                *sum = added.to_bits().select(*sum, mask);
            }
        }
        if let Some(footprint) = &footprint {
            let count = Reals::from_ints(&footprint.probes);
            sum = sum.map(|sum| Reals::from_bits(&sum).zip(count, |s, n| s / n).to_bits());
        }
        Ok(sum)
    }

    /// One component of the four texels around a point of the first level.
    #[inline(always)]
    fn gather(
        &self,
        port: &mut Port<'_, '_>,
        position: &[Reals; 3],
        component: u8,
    ) -> Result<[Lanes; 4], Trouble> {
        let level = Lanes::ZERO;
        let sizes = self.texture.sizes(&level);
        let axes = self.axes(position, &sizes, true, true);
        let texels = self.square(port, self.request.active, &level, &axes, 0, &sizes)?;
        let image = &self.texture.image;
        let channel = |texel: &[Lanes; 4]| match image.swizzle[usize::from(component & 3)] {
            Channel::Stored(channel) => texel[usize::from(channel) % 4],
            Channel::One => Lanes::splat(image.format.one()),
            Channel::Zero => Lanes::ZERO,
        };
        Ok([2, 3, 1, 0].map(|n: usize| channel(&texels[n])))
    }

    /// Where a filter reads, for all three axes.
    #[inline(always)]
    fn axes(
        &self,
        position: &[Reals; 3],
        sizes: &[Lanes; 3],
        linear: bool,
        both: bool,
    ) -> [Axis; 3] {
        let none = Axis {
            texels: [Lanes::ZERO; 2],
            border: [Lanes::ZERO; 2],
            weight: Reals::ZERO,
        };
        let mut axes = [none; 3];
        let count = match self.request.dim {
            TextureDim::Cube | TextureDim::CubeArray => 2,
            dim => dim.axes(),
        };
        for (n, axis) in axes.iter_mut().enumerate().take(count) {
            let wrap = self.sampler.wrap[n];
            let pixels = self.sampler.pixels;
            let offset = self.offsets.as_ref().map(|offsets| &offsets[n]);
            *axis = match (linear, self.seamless) {
                (true, true) => wrap::on_face(position[n], &sizes[n]),
                (true, false) => wrap::linear(wrap, position[n], &sizes[n], pixels, offset, both),
                (false, seamless) => {
                    let wrap = if seamless {
                        super::sampler::Wrap::ClampToEdge
                    } else {
                        wrap
                    };
                    let (texel, border) =
                        wrap::nearest(wrap, position[n], &sizes[n], pixels, offset);
                    Axis {
                        texels: [texel; 2],
                        border: [border; 2],
                        weight: Reals::ZERO,
                    }
                }
            };
        }
        axes
    }

    /// What a filter makes of one level.
    #[inline(always)]
    fn filtered(
        &self,
        port: &mut Port<'_, '_>,
        lanes: u32,
        level: &Lanes,
        filter: Filter,
        position: &[Reals; 3],
    ) -> Result<[Lanes; 4], Trouble> {
        let linear = filter == Filter::Linear && !self.texture.image.format.is_integer();
        let sizes = self.texture.sizes(level);
        let axes = self.axes(position, &sizes, linear, false);
        let slices = if used(&axes[2].weight, lanes) { 2 } else { 1 };
        let mut out = [Lanes::ZERO; 4];
        for slice in 0..slices {
            let texels = self.square(port, lanes, level, &axes, slice, &sizes)?;
            let [mut rows, bottom, ..] = [texels[0], texels[2]];
            let across = used(&axes[0].weight, lanes);
            let down = used(&axes[1].weight, lanes);
            for channel in 0..4 {
                let mut row = rows[channel];
                if across {
                    row = mix(row, texels[1][channel], &axes[0].weight);
                }
                if down {
                    let mut below = bottom[channel];
                    if across {
                        below = mix(below, texels[3][channel], &axes[0].weight);
                    }
                    row = mix(row, below, &axes[1].weight);
                }
                rows[channel] = row;
            }
            out = if slice == 0 {
                rows
            } else {
                let mut both = out;
                for channel in 0..4 {
                    both[channel] = mix(out[channel], rows[channel], &axes[2].weight);
                }
                both
            };
        }
        Ok(out)
    }

    /// The texels at a square of coordinates: of two columns, from two rows. Those without weight are not read.
    #[inline(always)]
    fn square(
        &self,
        port: &mut Port<'_, '_>,
        lanes: u32,
        level: &Lanes,
        axes: &[Axis; 3],
        slice: usize,
        sizes: &[Lanes; 3],
    ) -> Result<[[Lanes; 4]; 4], Trouble> {
        let image = &self.texture.image;
        let first = image.first_level;
        let level = level.map(|level| level + first);
        let all = self.request.gather.is_some();
        let across = all || used(&axes[0].weight, lanes);
        let down = all || used(&axes[1].weight, lanes);
        let mut texels = [[Lanes::ZERO; 4]; 4];
        let mut corners = [0; 4];
        for tap in 0..4 {
            let (column, row) = (tap & 1, tap >> 1);
            if (column == 1 && !across) || (row == 1 && !down) {
                continue;
            }
            let mut x = axes[0].texels[column];
            let mut y = axes[1].texels[row];
            let mut z = match self.request.dim {
                TextureDim::D3 => axes[2].texels[slice],
                _ => self.layer,
            };
            let border = axes[0].border[column]
                .zip(axes[1].border[row], |a, b| a | b)
                .zip(axes[2].border[slice], |a, b| a | b);
            let mut inside = lanes & !border.to_bits();
            if self.seamless {
                corners[tap] = around(&mut x, &mut y, &mut z, &sizes[0], inside);
                inside &= !corners[tap];
            }
            let raw = port.texels(self.texture, inside, &level, [&x, &y, &z, &Lanes::ZERO])?;
            let mut texel = image.format.decode(&raw);
            if lanes & border.to_bits() != 0 {
                for (texel, &border_colour) in texel.iter_mut().zip(&self.border) {
                    *texel = Lanes::splat(border_colour).select(*texel, border);
                }
            }
            if let Some((compare, reference)) = &self.compare {
                let texel_value = Reals::from_bits(&texel[0]);
                let passed = reference.test(texel_value, |r, t| compare.holds(r, t));
                texel = [
                    passed.map(|p| p & 1f32.to_bits()),
                    Lanes::ZERO,
                    Lanes::ZERO,
                    Lanes::splat(1f32.to_bits()),
                ];
            }
            texels[tap] = texel;
        }
        if corners != [0; 4] {
            self.fill_corners(&mut texels, corners);
        }
        Ok(texels)
    }

    /// Where three faces meet, the fourth texel is the mean of the others.
    #[cold]
    fn fill_corners(&self, texels: &mut [[Lanes; 4]; 4], corners: [u32; 4]) {
        let integer = self.texture.image.format.is_integer() && self.compare.is_none();
        for lane in 0..32 {
            for tap in (0..4).filter(|&tap: &usize| corners[tap] >> lane & 1 != 0) {
                for channel in 0..4 {
                    let others = (1..4).map(|n| texels[tap ^ n][channel].0[lane]);
                    texels[tap][channel].0[lane] = if integer {
                        texels[tap ^ 1][channel].0[lane]
                    } else {
                        (others.map(f32::from_bits).sum::<f32>() / 3.0).to_bits()
                    };
                }
            }
        }
    }
}

/// Moves texels beyond the edge of a face to the face that they are on; returns the lanes at corners.
#[inline(always)]
fn around(x: &mut Lanes, y: &mut Lanes, face: &mut Lanes, size: &Lanes, lanes: u32) -> u32 {
    let out = x
        .zip(*size, |c, n| u32::from(c >= n).wrapping_neg())
        .zip(
            y.zip(*size, |c, n| u32::from(c >= n).wrapping_neg()),
            |a, b| a | b,
        )
        .to_bits()
        & lanes;
    if out == 0 {
        return 0;
    }
    let mut corners = 0;
    for lane in (0..32).filter(|lane| out >> lane & 1 != 0) {
        let at = [x.0[lane] as i32, y.0[lane] as i32];
        let (cube, side) = (face.0[lane] / 6, face.0[lane] % 6);
        match cube::neighbour(side, at, size.0[lane] as i32) {
            Some((side, [u, v])) => {
                (x.0[lane], y.0[lane]) = (u, v);
                face.0[lane] = cube * 6 + side;
            }
            None => corners |= 1 << lane,
        }
    }
    corners
}

/// Whether any of the lanes has a weight.
#[inline(always)]
fn used(weight: &Reals, lanes: u32) -> bool {
    weight
        .test(Reals::ZERO, |weight, zero| weight != zero)
        .to_bits()
        & lanes
        != 0
}

/// From `a` to `b`.
#[inline(always)]
fn mix(a: Lanes, b: Lanes, weight: &Reals) -> Lanes {
    let mut out = Lanes::ZERO;
    for lane in 0..32 {
        let (a, b) = (f32::from_bits(a.0[lane]), f32::from_bits(b.0[lane]));
        out.0[lane] = (a + (b - a) * weight.0[lane]).to_bits();
    }
    out
}
