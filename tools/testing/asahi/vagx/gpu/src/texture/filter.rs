// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sampling: which texels of which levels, and what becomes of them.

use super::cube::OnFace;
use super::fetch::unpacked;
use super::footprint::{detail, limited};
use super::lod::{self, Footprint};
use super::real::{Reals, clamp, vector};
use super::sampler::{Compare, Filter, Mip, Sampler, Wrap};
use super::square::{Square, used};
use super::wrap::{self, Axis};
use super::{Port, Request, Texture, Trouble, border, cube};
use crate::exec::{Cpu, Lanes, by_cpu};
use crate::image::codec::Kind;
use crate::image::{Channel, Dimension};

/// Everything that does not change from texel to texel.
pub(super) struct Sampling<'a> {
    pub(super) texture: &'a Texture,
    pub(super) sampler: &'a Sampler,
    pub(super) request: &'a Request,
    /// The layer, or the face of a cube.
    pub(super) layer: Lanes,
    pub(super) border: [u32; 4],
    pub(super) compare: Option<(Compare, Reals)>,
    /// Some wrap has borders.
    pub(super) bordered: bool,
    /// Cubes whose filters reach into neighbouring faces.
    pub(super) seamless: bool,
    /// Channels that there are.
    channels: usize,
    /// What normalised numbers are divided by after they were filtered.
    pub(super) scale: Option<[f32; 4]>,
    /// The short way may be taken.
    flat: bool,
    /// A bit for each stored channel that is wanted.
    pub(super) wanted: u8,
    pub(super) cpu: Cpu,
}

/// Texels of some lanes at one level each.
struct Pass<'a> {
    lanes: u32,
    level: &'a Lanes,
    filter: Filter,
    /// How much of it there is in the result, the rest being what was there before.
    weight: Option<&'a Reals>,
}

/// Samples a texture.
#[inline(always)]
pub(super) fn sample(
    texture: &Texture,
    sampler: &Sampler,
    port: &mut Port<'_, '_>,
    request: &Request,
    out: &mut [Lanes; 4],
) -> Result<(), Trouble> {
    let image = &texture.image;
    let coords = vector(&request.coords);
    let layers = image.layers().max(1);
    let mut layer = Lanes::ZERO;
    let mut on_face = None;
    if request.dim.is_cube() {
        let on = cube::project(&coords);
        layer = on.face.zip(request.layer, |face, layer| {
            (face + 6 * (layer & 0xffff)).min(layers - 1)
        });
        on_face = Some(on);
    } else if request.dim.is_array() {
        layer = request.layer.map(|layer| layer.min(layers - 1));
    }
    let compare = match (&request.compare, sampler.compare) {
        (Some(reference), Some(compare)) => {
            let mut reference = Reals::from_bits(reference);
            if image.format.kind == Kind::Unorm {
                reference = reference.map(|r| clamp(r, 0.0, 1.0));
            }
            Some((compare, reference))
        }
        _ => None,
    };
    let bordered = sampler.wrap.iter().any(|wrap| wrap.has_border());
    let mut sampling = Sampling {
        texture,
        sampler,
        request,
        layer,
        border: match bordered {
            true => border::colour(sampler.border, &image.format),
            false => [0; 4],
        },
        bordered,
        seamless: on_face.is_some() && !sampler.seamful,
        channels: if compare.is_some() {
            1
        } else {
            image.format.channels.count()
        },
        flat: texture.flat
            && request.dim == Dimension::D2
            && request.offset.is_none()
            && !bordered
            && !sampler.pixels
            && compare.is_none(),
        wanted: texture.stored(request.wanted) | u8::from(compare.is_some()),
        cpu: port.cpu,
        compare,
        scale: None,
    };
    let moved = on_face.as_ref().map(|on| [on.s, on.t, Reals::ZERO]);
    let position = moved.as_ref().unwrap_or(&coords);
    if let Some(component) = request.gather {
        return sampling.gather(port, position, component, out);
    }
    sampling.scale_later();
    let mut texel = [Lanes::ZERO; 4];
    sampling.levels(port, &coords, position, on_face.as_ref(), &mut texel)?;
    sampling.finish(&mut texel);
    texture.swizzle(&texel, out);
    Ok(())
}

impl Sampling<'_> {
    /// Lets normalised numbers stay integers until they were filtered, which is exact.
    #[inline(always)]
    fn scale_later(&mut self) {
        let format = &self.texture.image.format;
        if format.kind != Kind::Unorm || format.srgb || self.compare.is_some() {
            return;
        }
        let mut scale = [1.0; 4];
        for (channel, bits) in format.channels.bits().into_iter().enumerate() {
            if bits != 0 {
                scale[channel] = (u32::MAX >> (32 - bits)) as f32;
            }
            let border = f32::from_bits(self.border[channel]);
            self.border[channel] = (border * scale[channel]).to_bits();
        }
        self.scale = Some(scale);
    }

    /// Chooses levels, and filters them.
    #[inline(always)]
    fn levels(
        &self,
        port: &mut Port<'_, '_>,
        coords: &[Reals; 3],
        position: &[Reals; 3],
        on_face: Option<&OnFace>,
        out: &mut [Lanes; 4],
    ) -> Result<(), Trouble> {
        let (texture, sampler, request) = (self.texture, self.sampler, self.request);
        let pass = |lanes, level, filter, weight| Pass {
            lanes,
            level,
            filter,
            weight,
        };
        if !texture.has_levels(sampler) {
            let only = pass(request.active, &Lanes::ZERO, sampler.magnify, None);
            return self.filtered(port, request.active, &only, position, out);
        }
        let (lod, footprint) = detail(texture, sampler, request, coords, on_face);
        let lod = limited(&lod, sampler, request);
        let last = texture.levels - 1;
        let (level, part) = lod::levels(&lod, sampler.mip, last);
        let next = level.map(|level| (level + 1).min(last));
        let large = lod.test(Reals::ZERO, |lod, zero| lod <= zero).to_bits() & request.active;
        let small = request.active & !large;
        let (mut first, mut second, mut between) = (request.active, 0, 0);
        if !texture.is_integer() && sampler.mip == Mip::Linear {
            between = part.test(Reals::ZERO, |part, zero| part > zero).to_bits() & small;
        }
        if sampler.magnify != sampler.minify {
            (first, second) = (large, small);
        }
        let passes = [
            pass(first, &level, sampler.magnify, None),
            pass(second, &level, sampler.minify, None),
            pass(between, &next, sampler.minify, Some(&part)),
        ];
        self.passes(port, &passes, position, footprint.as_ref(), out)
    }

    /// From what was filtered to what a shader sees, but for swizzles.
    #[inline(always)]
    fn finish(&self, texel: &mut [Lanes; 4]) {
        if let Some(scale) = &self.scale {
            let channels = texel.iter_mut().zip(scale).take(self.channels);
            for (channel, (texel, &scale)) in channels.enumerate() {
                if self.wanted >> channel & 1 == 0 {
                    continue;
                }
                *texel = texel.map(|t| (f32::from_bits(t) / scale).to_bits());
            }
        }
        for (channel, texel) in texel.iter_mut().enumerate().skip(self.channels) {
            *texel = Lanes::splat(match (channel, self.compare.is_some()) {
                (3, true) => 1f32.to_bits(),
                (3, false) => self.texture.image.format.one(),
                _ => 0,
            });
        }
    }

    /// Does all passes, each once for every probe.
    #[inline(always)]
    fn passes(
        &self,
        port: &mut Port<'_, '_>,
        passes: &[Pass<'_>; 3],
        position: &[Reals; 3],
        footprint: Option<&Footprint>,
        out: &mut [Lanes; 4],
    ) -> Result<(), Trouble> {
        let active = self.request.active;
        let mut probes = 1;
        if let Some(footprint) = footprint {
            for lane in 0..32 {
                let count = footprint.probes.0[lane] & (active >> lane & 1).wrapping_neg();
                probes = probes.max(count.min(16));
            }
        }
        for probe in 0..probes {
            let mut moved = *position;
            let mut lanes = active;
            if let Some(footprint) = footprint {
                for (moved, line) in moved.iter_mut().zip(&footprint.line) {
                    for lane in 0..32 {
                        let count = footprint.probes.0[lane] as i32 as f32;
                        let along = (probe as f32 + 0.5) / count - 0.5;
                        moved.0[lane] += along * line.0[lane];
                    }
                }
                let rest = footprint
                    .probes
                    .map(|n| u32::from(probe < n).wrapping_neg());
                lanes &= rest.to_bits();
            }
            let mut texel = [Lanes::ZERO; 4];
            for pass in passes {
                let lanes = pass.lanes & lanes;
                if lanes == 0 {
                    continue;
                }
                let mut got = [Lanes::ZERO; 4];
                self.filtered(port, lanes, pass, &moved, &mut got)?;
                let mask = Lanes::from_bits(lanes);
                for (texel, got) in texel.iter_mut().zip(&got).take(self.channels) {
                    *texel = match pass.weight {
                        Some(weight) => mix(texel, got, weight).select(*texel, mask),
                        None => got.select(*texel, mask),
                    };
                }
            }
            if probes == 1 {
                *out = texel;
                return Ok(());
            }
            let mask = Lanes::from_bits(lanes);
            for (sum, texel) in out.iter_mut().zip(&texel).take(self.channels) {
                let added = Reals::from_bits(sum).zip(Reals::from_bits(texel), |a, b| a + b);
                *sum = added.bits().select(*sum, mask);
            }
        }
        if let Some(footprint) = footprint {
            let count = Reals::from_ints(&footprint.probes);
            for sum in out.iter_mut().take(self.channels) {
                *sum = Reals::from_bits(sum).zip(count, |s, n| s / n).bits();
            }
        }
        Ok(())
    }

    /// One component of the four texels around a point of the first level.
    #[inline(always)]
    fn gather(
        &self,
        port: &mut Port<'_, '_>,
        position: &[Reals; 3],
        component: u8,
        out: &mut [Lanes; 4],
    ) -> Result<(), Trouble> {
        let level = Lanes::ZERO;
        let axes = self.axes(position, &level, true, true);
        let mut texels = [[Lanes::ZERO; 4]; 4];
        self.square(port, self.request.active, &level, &axes, 0, &mut texels)?;
        let image = &self.texture.image;
        for (out, tap) in out.iter_mut().zip([2, 3, 1, 0usize]) {
            *out = match image.swizzle[usize::from(component & 3)] {
                Channel::Stored(channel) => texels[tap][usize::from(channel) % 4],
                Channel::One => Lanes::splat(image.format.one()),
                Channel::Zero => Lanes::ZERO,
            };
        }
        Ok(())
    }

    /// Where a filter reads, for all three axes.
    #[inline(always)]
    fn axes(&self, position: &[Reals; 3], level: &Lanes, linear: bool, both: bool) -> [Axis; 3] {
        let sizes = self.texture.sizes(level);
        let none = Axis {
            texels: [Lanes::ZERO; 2],
            border: [Lanes::ZERO; 2],
            weight: Reals::ZERO,
        };
        let mut axes = [none; 3];
        let count = match self.request.dim.is_cube() {
            true => 2,
            false => self.request.dim.axes(),
        };
        let pixels = self.sampler.pixels;
        for (n, axis) in axes.iter_mut().enumerate().take(count) {
            let (position, size) = (&position[n], &sizes[n]);
            if linear && self.seamless {
                *axis = wrap::on_face(position, size);
                continue;
            }
            let wrap = match self.seamless {
                true => Wrap::ClampToEdge,
                false => self.sampler.wrap[n],
            };
            let packed = self.request.offset.as_ref();
            let offset = packed.map(|packed| unpacked(packed, n));
            if linear {
                *axis = wrap::linear(wrap, position, size, pixels, offset.as_ref(), both);
            } else {
                let (texel, border) = wrap::nearest(wrap, position, size, pixels, offset.as_ref());
                axis.texels = [texel; 2];
                axis.border = [border; 2];
            }
        }
        axes
    }

    /// What a filter makes of one level.
    #[inline(always)]
    fn filtered(
        &self,
        port: &mut Port<'_, '_>,
        lanes: u32,
        pass: &Pass<'_>,
        position: &[Reals; 3],
        out: &mut [Lanes; 4],
    ) -> Result<(), Trouble> {
        let linear = pass.filter == Filter::Linear && !self.texture.is_integer();
        let linear = linear || (pass.filter == Filter::Linear && self.compare.is_some());
        if self.flat {
            let done = by_cpu!(
                self.cpu,
                Sampling::flat,
                (
                    sampling: &Sampling<'_> = self,
                    port: &mut Port<'_, '_> = port,
                    lanes: (u32, bool) = (lanes, linear),
                    level: &Lanes = pass.level,
                    position: &[Reals; 3] = position,
                    out: &mut [Lanes; 4] = out,
                ) -> bool
            );
            if done {
                return Ok(());
            }
        }
        by_cpu!(
            self.cpu,
            Sampling::squares,
            (
                sampling: &Sampling<'_> = self,
                port: &mut Port<'_, '_> = port,
                lanes: (u32, bool) = (lanes, linear),
                level: &Lanes = pass.level,
                position: &[Reals; 3] = position,
                out: &mut [Lanes; 4] = out,
            ) -> Result<(), Trouble>
        )
    }

    /// The same for everything that there is.
    #[inline(always)]
    fn squares(
        &self,
        port: &mut Port<'_, '_>,
        (lanes, linear): (u32, bool),
        level: &Lanes,
        position: &[Reals; 3],
        out: &mut [Lanes; 4],
    ) -> Result<(), Trouble> {
        let axes = self.axes(position, level, linear, false);
        let across = used(&axes[0].weight, lanes);
        let down = used(&axes[1].weight, lanes);
        let slices = if used(&axes[2].weight, lanes) { 2 } else { 1 };
        let mut texels = [[Lanes::ZERO; 4]; 4];
        for slice in 0..slices {
            self.square(port, lanes, level, &axes, slice, &mut texels)?;
            let weights = [&axes[0].weight, &axes[1].weight];
            self.mixed(&mut texels, weights, [across, down]);
            for (out, texel) in out.iter_mut().zip(&texels[0]).take(self.channels) {
                *out = match slice {
                    0 => *texel,
                    _ => mix(out, texel, &axes[2].weight),
                };
            }
        }
        Ok(())
    }

    /// Mixes a square of texels into the first of them, along the axes on which there are weights.
    #[inline(always)]
    fn mixed(&self, texels: &mut Square, weights: [&Reals; 2], used: [bool; 2]) {
        let [first, second, third, fourth] = texels;
        for channel in (0..self.channels).filter(|channel| self.wanted >> channel & 1 != 0) {
            let above = (&first[channel], &second[channel]);
            let below = (&third[channel], &fourth[channel]);
            first[channel] = mixed(above, below, weights, used);
        }
    }
}

/// What four texels are together, along the axes on which there are weights.
#[inline(always)]
pub(super) fn mixed(
    above: (&Lanes, &Lanes),
    below: (&Lanes, &Lanes),
    [across, down]: [&Reals; 2],
    used: [bool; 2],
) -> Lanes {
    let row = |(left, right): (&Lanes, &Lanes)| match used[0] {
        true => mix(left, right, across),
        false => *left,
    };
    match used[1] {
        true => mix(&row(above), &row(below), down),
        false => row(above),
    }
}

impl Texture {
    pub(crate) fn is_integer(&self) -> bool {
        self.image.format.is_integer()
    }

    /// Whether the level of detail matters.
    pub(crate) fn has_levels(&self, sampler: &Sampler) -> bool {
        (sampler.mip != Mip::None && self.levels > 1)
            || sampler.magnify != sampler.minify
            || sampler.anisotropy > 1
    }

    /// Sizes of a level of each lane, counted from the first level.
    #[inline(always)]
    pub(super) fn sizes(&self, level: &Lanes) -> [Lanes; 3] {
        let first = self.image.first_level;
        let mut sizes = [Lanes::ZERO; 3];
        for (sizes, size) in sizes.iter_mut().zip(self.size) {
            *sizes = level.map(|level| (size >> (first + level).min(31)).max(1));
        }
        sizes
    }

    /// The stored channels that some components are made of, a bit for each.
    fn stored(&self, components: u8) -> u8 {
        let mut wanted = 0;
        for (component, channel) in self.image.swizzle.iter().enumerate() {
            if let Channel::Stored(channel) = channel {
                wanted |= (components >> component & 1) << (channel % 4);
            }
        }
        wanted
    }

    /// Components by the texture's swizzle.
    #[inline(always)]
    pub(super) fn swizzle(&self, texel: &[Lanes; 4], out: &mut [Lanes; 4]) {
        for (out, channel) in out.iter_mut().zip(self.image.swizzle) {
            *out = match channel {
                Channel::Stored(channel) => texel[usize::from(channel) % 4],
                Channel::One => Lanes::splat(self.image.format.one()),
                Channel::Zero => Lanes::ZERO,
            };
        }
    }
}

/// From `a` to `b`.
#[inline(always)]
fn mix(a: &Lanes, b: &Lanes, weight: &Reals) -> Lanes {
    let mut out = Lanes::ZERO;
    for lane in 0..32 {
        let (a, b) = (f32::from_bits(a.0[lane]), f32::from_bits(b.0[lane]));
        out.0[lane] = (a + (b - a) * weight.0[lane]).to_bits();
    }
    out
}
