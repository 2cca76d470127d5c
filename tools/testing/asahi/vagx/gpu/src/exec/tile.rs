// SPDX-License-Identifier: MIT OR Apache-2.0

//! Imageblocks and writes to images.

use super::format::unpack;
use super::half::{from_half, to_half};
use super::mem::dst_of;
use super::{Context, Lanes, Outcome, Simd, by_cpu};
use crate::image::codec::{self, Channels, Kind, srgb};
use crate::image::{Cells, Channel, Dimension, Image, Imageblock, Rect, Texels, together};
use crate::memory::Access;
use crate::uop::*;
use crate::{GpuFault, Unit, Unsupported};
use std::sync::Arc;

/// Images that were written to lately, by their descriptors.
#[derive(Default)]
pub(crate) struct Targets {
    images: Vec<([u8; 24], Arc<Image>)>,
    next: usize,
}

/// How many are kept: enough for all render targets.
const TARGETS: usize = 8;

impl Targets {
    fn get(&mut self, state: &[u8; 24]) -> Result<Arc<Image>, &'static str> {
        if let Some((_, image)) = self.images.iter().find(|entry| entry.0 == *state) {
            return Ok(Arc::clone(image));
        }
        let image = Arc::new(Image::pbe(state)?);
        let entry = (*state, Arc::clone(&image));
        if self.images.len() < TARGETS {
            self.images.push(entry);
        } else {
            self.images[self.next] = entry;
            self.next = (self.next + 1) % TARGETS;
        }
        Ok(image)
    }
}

/// The registers as operands of a load or store, which are numbered in the same way.
#[inline(always)]
fn mem_regs(regs: &TileRegs) -> MemRegs {
    MemRegs {
        start: regs.start,
        wide: regs.wide,
        mask: regs.mask,
        format: regs.format,
    }
}

impl Simd {
    #[inline(always)]
    pub(super) fn tile(&mut self, context: &mut Context<'_>, op: &TileOp) -> Option<Outcome> {
        by_cpu!(
            self.cpu,
            Simd::tile_with,
            (simd: &mut Simd = self, context: &mut Context<'_> = context, op: &TileOp = op) -> Option<Outcome>
        )
    }

    #[inline(always)]
    fn tile_with(&mut self, context: &mut Context<'_>, op: &TileOp) -> Option<Outcome> {
        match *op {
            TileOp::Load { ref regs, samples } => self.tile_load(context, regs, samples),
            TileOp::Store {
                ref regs,
                pixel,
                samples,
            } => self.tile_store(context, regs, pixel, samples),
            TileOp::Image {
                start,
                wide,
                image,
                coords,
                dim,
                level,
                rtz,
            } => self.image_write(context, (start, wide), image, (coords, dim), level, rtz),
            TileOp::Block {
                offset,
                format,
                image,
                corner,
                layer,
                dim,
                level,
            } => self.block_write(
                context,
                (offset, format),
                image,
                (corner, layer, dim),
                level,
            ),
        }
    }

    /// For each lane its pixel in the imageblock and the samples that it may change.
    #[inline(always)]
    fn pixels(&self, context: &Context<'_>) -> [Lanes; 3] {
        match &context.fragment {
            Some(group) => [group.tile_x, group.tile_y, group.coverage],
            None => [self.thread[0], self.thread[1], Lanes::splat(u32::MAX)],
        }
    }

    #[inline(always)]
    fn tile_load(
        &mut self,
        context: &mut Context<'_>,
        regs: &TileRegs,
        samples: Val,
    ) -> Option<Outcome> {
        let samples = self.val(&context.launch.uniforms, samples);
        let [x, y, _] = self.pixels(context);
        let Some(block) = &context.block else {
            return Some(Outcome::Unsupported);
        };
        let (active, mut places) = block.places(self.exec, &x, &y);
        if block.samples > 1 {
            // A power of two.
            let sample = samples.map(|mask| mask.trailing_zeros() & (block.samples - 1));
            places = places.zip(sample, |place, sample| place + sample);
        }
        let (first, low) = (regs.offset as usize / 4, regs.offset % 4 * 8);
        let masks = masks(regs.format, regs.mask);
        let mut words = [Lanes::ZERO; 4];
        for (w, word) in words.iter_mut().enumerate() {
            if masks[w] == 0 {
                continue;
            }
            *word = block.get(first + w, active, &places);
            if low != 0 {
                let next = block.get(first + w + 1, active, &places);
                *word = word.zip(next, |a, b| a >> low | b << (32 - low));
            }
        }
        let regs = mem_regs(regs);
        for (n, component) in regs.components() {
            let raw = component_of(&words, regs.format, component);
            let value = unpack(regs.format, regs.wide, component, raw);
            self.put(dst_of(&regs, n), value);
        }
        None
    }

    #[inline(always)]
    fn tile_store(
        &self,
        context: &mut Context<'_>,
        regs: &TileRegs,
        pixel: Option<[Val; 2]>,
        samples: Val,
    ) -> Option<Outcome> {
        let uniforms = &context.launch.uniforms;
        let [mut x, mut y, coverage] = self.pixels(context);
        if let Some([px, py]) = pixel {
            (x, y) = (self.val(uniforms, px), self.val(uniforms, py));
        }
        let samples = self
            .val(uniforms, samples)
            .zip(coverage, |samples, coverage| samples & coverage);
        let (rtz, offset, from) = (regs.rtz, regs.offset, mem_regs(regs));
        let mut value = [Lanes::ZERO; 4];
        for (n, component) in from.components() {
            value[component as usize] = self.val(uniforms, super::mem::val_of(&from, n));
        }
        let Some(block) = &mut context.block else {
            return Some(Outcome::Unsupported);
        };
        let packed = pack(from.format, from.wide, &value, rtz);
        let masks = masks(from.format, from.mask);
        let (active, places) = block.places(self.exec, &x, &y);
        let (first, low) = (offset as usize / 4, offset % 4 * 8);
        // Samples that all lanes have.
        let all = samples
            .0
            .iter()
            .fold(u32::MAX, |all, samples| all & samples);
        for sample in 0..block.samples {
            let mut active = active;
            if all >> sample & 1 == 0 {
                active &= samples.map(|mask| mask << (31 - sample)).to_bits();
            }
            if active == 0 {
                continue;
            }
            let places = places.map(|place| place + sample);
            for w in 0..4 {
                if masks[w] == 0 {
                    continue;
                }
                if low == 0 {
                    block.put(first + w, masks[w], active, &places, &packed[w]);
                    continue;
                }
                // Samples of small components need not begin with a word.
                let value = packed[w].map(|x| x << low);
                block.put(first + w, masks[w] << low, active, &places, &value);
                let mask = masks[w] >> (32 - low);
                if mask != 0 {
                    let value = packed[w].map(|x| x >> (32 - low));
                    block.put(first + w + 1, mask, active, &places, &value);
                }
            }
        }
        None
    }

    #[inline(always)]
    fn image_write(
        &self,
        context: &mut Context<'_>,
        (start, wide): (u8, bool),
        source: ImageSource,
        (coords, dim): ([Val; 3], Dimension),
        level: Val,
        rtz: bool,
    ) -> Option<Outcome> {
        let uniforms = &context.launch.uniforms;
        let regs = MemRegs {
            start,
            wide,
            mask: 0xf,
            format: Format::I32,
        };
        let value = [0, 1, 2, 3].map(|n| self.val(uniforms, super::mem::val_of(&regs, n)));
        let coords = coords.map(|c| self.val(uniforms, c));
        let level = self.val(uniforms, level);
        let mut left = self.exec & self.writers;
        while left != 0 {
            let (image, same) = match self.target(context, source, left) {
                Ok(found) => found,
                Err(outcome) => return Some(outcome),
            };
            left &= !same;
            let [x, y, layer] = match dim {
                Dimension::D1 => [coords[0], Lanes::ZERO, Lanes::ZERO],
                Dimension::D1Array => [coords[0], Lanes::ZERO, coords[1]],
                _ => coords,
            };
            let mut lanes = same;
            while lanes != 0 {
                let first = level.0[lanes.trailing_zeros() as usize % 32];
                let mut here = 0;
                let at = (image.first_level.saturating_add(first) as usize)
                    .min(crate::image::layout::LEVELS);
                let [width, height, _] = image.level_size(at as u32);
                let layers = if at < image.layout.count {
                    image.slices(at)
                } else {
                    0
                };
                let left = lanes;
                for lane in (0..32).filter(|lane| left >> lane & 1 != 0) {
                    if level.0[lane] == first {
                        lanes &= !(1 << lane);
                        let inside =
                            x.0[lane] < width && y.0[lane] < height && layer.0[lane] < layers;
                        here |= u32::from(inside) << lane;
                    }
                }
                let raw = raw_of(&image, &value, wide, rtz);
                let at_all = [&x, &y, &layer, &Lanes::ZERO];
                let unknown = &mut context.stats.unknown_texels;
                if let Err(va) = image.store(&mut context.memory, unknown, here, at, at_all, &raw) {
                    return Some(self.image_fault(context, va, Access::Write));
                }
            }
        }
        None
    }

    #[inline(always)]
    fn block_write(
        &self,
        context: &mut Context<'_>,
        (offset, format): (Val, Format),
        source: ImageSource,
        (corner, layer, dim): (Option<[Val; 2]>, Val, Dimension),
        level: Val,
    ) -> Option<Outcome> {
        let uniforms = &context.launch.uniforms;
        let (offset, level) = (self.val(uniforms, offset), self.val(uniforms, level));
        let layer = self.val(uniforms, layer);
        let corner = corner.map(|c| c.map(|c| self.val(uniforms, c)));
        let Some(block) = context.block.take() else {
            return Some(Outcome::Unsupported);
        };
        let mut result = Ok(());
        for lane in (0..32).filter(|lane| self.exec >> lane & 1 != 0) {
            let (image, _) = match self.target(context, source, 1 << lane) {
                Ok(found) => found,
                Err(outcome) => {
                    result = Err(outcome);
                    break;
                }
            };
            let at = match corner {
                Some([x, y]) => [x.0[lane], y.0[lane]],
                None => block.origin,
            };
            let rect = Rect {
                level: image.first_level.saturating_add(level.0[lane]) as usize,
                layer: layer.0[lane],
                x: at[0],
                y: at[1],
                width: block.width,
                height: block.height,
            };
            result = self.write_block(
                context,
                &block,
                &image,
                (offset.0[lane], format),
                &rect,
                dim,
            );
            if result.is_err() {
                break;
            }
        }
        context.block = Some(block);
        result.err()
    }

    #[inline(always)]
    fn write_block(
        &self,
        context: &mut Context<'_>,
        block: &Imageblock,
        image: &Image,
        (offset, format): (u32, Format),
        rect: &Rect,
        dim: Dimension,
    ) -> Result<(), Outcome> {
        if rect.level >= image.layout.count {
            return Ok(());
        }
        if dim.is_multisampled() != image.dim.is_multisampled() || image.samples != block.samples {
            let why = "imageblock and image of different numbers of samples";
            return Err(self.image_unsupported(context, &[], why));
        }
        let Some(transfer) = Transfer::new(format, image) else {
            let why = "imageblock format that does not fit the image";
            return Err(self.image_unsupported(context, &[], why));
        };
        let unknown = &mut context.stats.unknown_texels;
        let (first, low) = (offset as usize / 4, offset % 4 * 8);
        let texels = BlockTexels {
            block,
            image,
            transfer: &transfer,
            corner: [rect.x, rect.y],
            first,
            low,
        };
        let written = image.write_rect(&mut context.memory, unknown, rect, texels);
        written.map_err(|va| self.image_fault(context, va, Access::Write))
    }

    /// The image of the first lane in `lanes`, and all lanes in it whose image is the same.
    fn target(
        &self,
        context: &mut Context<'_>,
        source: ImageSource,
        lanes: u32,
    ) -> Result<(Arc<Image>, u32), Outcome> {
        let uniforms = &context.launch.uniforms;
        let first = lanes.trailing_zeros() as usize % 32;
        let (ImageSource::State(number) | ImageSource::Bindless { offset: number, .. }) = source;
        let number = self.val(uniforms, number);
        let mut same = 0;
        for lane in 0..32 {
            same |= u32::from(number.0[lane] == number.0[first]) << lane;
        }
        let number = number.0[first];
        let mut state = [0; 24];
        match source {
            ImageSource::State(_) => match context.launch.textures.get(number as usize) {
                Some(found) => state = *found,
                None => {
                    let why = "image in a state register that was not set";
                    return Err(self.image_unsupported(context, &[], why));
                }
            },
            ImageSource::Bindless { base, .. } => {
                let (low, high) = (
                    uniforms[usize::from(base)],
                    uniforms[usize::from(base.wrapping_add(1))],
                );
                let va = (u64::from(high) << 32 | u64::from(low)).wrapping_add(number.into());
                if let Err(va) = context.memory.read(va, &mut state) {
                    return Err(self.image_fault(context, va, Access::Read));
                }
            }
        }
        match context.targets.get(&state) {
            Ok(image) => Ok((image, same & lanes)),
            Err(why) => Err(self.image_unsupported(context, &state, why)),
        }
    }

    #[cold]
    fn image_fault(&self, context: &mut Context<'_>, va: u64, access: Access) -> Outcome {
        context.fault = Some(GpuFault {
            va,
            access,
            unit: Unit::Texture,
            pc: self.address_of_pc(),
        });
        Outcome::Fault
    }

    #[cold]
    fn image_unsupported(&self, context: &mut Context<'_>, bytes: &[u8], why: &str) -> Outcome {
        context.unsupported = Some(Unsupported {
            va: self.address_of_pc(),
            bytes: bytes.to_vec(),
            why: why.into(),
        });
        Outcome::Unsupported
    }
}

/// A component of samples that lie as `words`.
#[inline(always)]
fn component_of(words: &[Lanes; 4], format: Format, component: u32) -> Lanes {
    if format.packed() {
        return words[0];
    }
    let at = component * format.size() * 8;
    let word = &words[at as usize / 32 % 4];
    match format.size() {
        1 => word.map(|w| w >> (at % 32) & 0xff),
        2 => word.map(|w| w >> (at % 32) & 0xffff),
        _ => *word,
    }
}

/// Samples as they lie in an imageblock, from values in registers of 32 or 16 bits.
#[inline(always)]
fn pack(format: Format, wide: bool, value: &[Lanes; 4], rtz: bool) -> [Lanes; 4] {
    use codec::Format as Codec;
    let single = || match wide {
        true => *value,
        false => value.map(|v| v.map(from_half)),
    };
    let codec = |channels, kind, srgb| Codec {
        channels,
        kind,
        srgb,
    };
    match format {
        Format::I8 => codec(Channels::R8G8B8A8, Kind::Uint, false).encode(value, rtz),
        Format::I16 => codec(Channels::R16G16B16A16, Kind::Uint, false).encode(value, rtz),
        Format::I32 => *value,
        Format::F16 => {
            let halves = match wide {
                true => value.map(|v| v.map(to_half)),
                false => *value,
            };
            codec(Channels::R16G16B16A16, Kind::Uint, false).encode(&halves, rtz)
        }
        Format::U8Norm => codec(Channels::R8G8B8A8, Kind::Unorm, false).encode(&single(), rtz),
        Format::S8Norm => codec(Channels::R8G8B8A8, Kind::Snorm, false).encode(&single(), rtz),
        Format::U16Norm => codec(Channels::R16G16B16A16, Kind::Unorm, false).encode(&single(), rtz),
        Format::S16Norm => codec(Channels::R16G16B16A16, Kind::Snorm, false).encode(&single(), rtz),
        Format::Srgba8 => codec(Channels::R8G8B8A8, Kind::Unorm, true).encode(&single(), rtz),
        Format::Rgb10A2 => codec(Channels::R10G10B10A2, Kind::Unorm, false).encode(&single(), rtz),
        Format::Rg11B10F => codec(Channels::R11G11B10, Kind::Float, false).encode(&single(), rtz),
        Format::Rgb9E5 => codec(Channels::R9G9B9E5, Kind::Float, false).encode(&single(), rtz),
    }
}

/// The bits of a sample's words that belong to components of a mask.
#[inline(always)]
fn masks(format: Format, mask: u8) -> [u32; 4] {
    if format.packed() {
        return [u32::MAX, 0, 0, 0];
    }
    let bits = format.size() * 8;
    let mut masks = [0; 4];
    for component in (0..4).filter(|c| mask >> c & 1 != 0) {
        let at = component * bits;
        masks[at as usize / 32 % 4] |= u32::MAX >> (32 - bits) << (at % 32);
    }
    masks
}

/// Raw texels of an image from components in registers of 32 or 16 bits.
#[inline(always)]
fn raw_of(image: &Image, value: &[Lanes; 4], wide: bool, rtz: bool) -> [Lanes; 4] {
    let value = match (wide, image.format.kind) {
        (true, _) | (false, Kind::Uint) => *value,
        (false, Kind::Sint) => value.map(|v| v.map(|x| x as u16 as i16 as u32)),
        (false, _) => value.map(|v| v.map(from_half)),
    };
    image.format.encode(&stored(image, &value), rtz)
}

/// The stored channels of an image that is written to, from components.
#[inline(always)]
fn stored(image: &Image, value: &[Lanes; 4]) -> [Lanes; 4] {
    image.swizzle.map(|channel| match channel {
        Channel::Stored(c) => value[usize::from(c) % 4],
        _ => Lanes::ZERO,
    })
}

/// What an imageblock has for the texels of an image.
struct BlockTexels<'a> {
    block: &'a Imageblock,
    image: &'a Image,
    transfer: &'a Transfer,
    /// The texel that the block's upper left corner is.
    corner: [u32; 2],
    /// The word where samples begin, and the bit in it.
    first: usize,
    low: u32,
}

impl Texels for BlockTexels<'_> {
    #[inline(always)]
    fn get(&mut self, cells: &Cells) -> [Lanes; 4] {
        let mut sample = [Lanes::ZERO; 4];
        let low = self.low;
        for (w, word) in sample.iter_mut().enumerate().take(self.transfer.words) {
            *word = self.block.cells(cells, self.corner, self.first + w);
            if low != 0 {
                let next = self.block.cells(cells, self.corner, self.first + w + 1);
                *word = word.zip(next, |a, b| a >> low | b << (32 - low));
            }
        }
        self.transfer.raw(self.image, &sample)
    }

    #[inline(always)]
    fn put(&mut self, cells: &Cells, bytes: u32, words: &mut [u32]) {
        match self.transfer.order {
            // One word is made of one word.
            Some(order) if bytes == 4 && self.low == 0 => {
                let mut word = self.block.cells(cells, self.corner, self.first);
                if order != IN_ORDER {
                    word = reorder(&word, order);
                }
                if let Some(to) = words.first_chunk_mut() {
                    *to = word.0;
                }
            }
            _ => together(bytes, &self.get(cells), words),
        }
    }
}

/// Bytes that stay where they are.
const IN_ORDER: [u32; 4] = [0, 8, 16, 24];

/// The bytes of words in another order: where each is, in bits.
#[inline(always)]
fn reorder(words: &Lanes, order: [u32; 4]) -> Lanes {
    words.map(|word| {
        let byte = |n: usize| (word >> order[n] & 0xff) << (8 * n);
        byte(0) | byte(1) | byte(2) | byte(3)
    })
}

/// How samples of an imageblock become texels.
struct Transfer {
    /// Words of a sample.
    words: usize,
    /// They are as they have to be, but for the order of 8-bit channels: where each is, in bits.
    order: Option<[u32; 4]>,
    format: Format,
}

impl Transfer {
    /// None if there is no way. Which formats Mesa uses for which images: `src/asahi/layout/formats.c`, and for 16-bit
    /// floats see `agx_emit_block_image_store`, which calls them integers.
    fn new(format: Format, image: &Image) -> Option<Transfer> {
        use Kind::*;
        let Image { format: to, .. } = image;
        let bits = to.channels.bits()[0];
        let count = to.channels.count();
        let identity = (0..count).all(|c| image.swizzle[c] == Channel::Stored(c as u8));
        let same = match format {
            Format::I8 => bits == 8 && to.is_integer(),
            Format::I16 => bits == 16 && matches!(to.kind, Uint | Sint | Float),
            Format::I32 => bits == 32,
            Format::F16 => bits == 16 && to.kind == Float,
            Format::U8Norm | Format::Srgba8 => bits == 8 && to.kind == Unorm,
            Format::S8Norm => bits == 8 && to.kind == Snorm,
            Format::U16Norm => bits == 16 && to.kind == Unorm,
            Format::S16Norm => bits == 16 && to.kind == Snorm,
            Format::Rgb10A2 => to.channels == Channels::R10G10B10A2 && to.kind == Unorm,
            Format::Rg11B10F => to.channels == Channels::R11G11B10,
            Format::Rgb9E5 => to.channels == Channels::R9G9B9E5,
        };
        let converts = match format {
            Format::I8 | Format::I16 if to.is_integer() => true,
            Format::I16 | Format::F16 => !to.is_integer(),
            Format::I8 | Format::I32 => same,
            _ => !to.is_integer(),
        };
        let order = image.swizzle.map(|channel| match channel {
            Channel::Stored(c) => u32::from(c) * 8,
            _ => 0,
        });
        let size = match format.packed() {
            true => 4,
            false => count * format.size() as usize,
        };
        converts.then_some(Transfer {
            words: size.div_ceil(4),
            order: match bits {
                8 => same.then_some(order),
                _ => (same && identity).then_some(IN_ORDER),
            },
            format,
        })
    }

    #[inline(always)]
    fn raw(&self, image: &Image, sample: &[Lanes; 4]) -> [Lanes; 4] {
        match self.order {
            Some(IN_ORDER) => return *sample,
            Some(order) => {
                let mut out = [Lanes::ZERO; 4];
                out[0] = reorder(&sample[0], order);
                return out;
            }
            None => (),
        }
        let mut value = [Lanes::ZERO; 4];
        for (c, value) in value.iter_mut().enumerate() {
            let raw = component_of(sample, self.format, c as u32);
            *value = match self.format {
                // Halves that the instruction calls integers.
                Format::I16 if !image.format.is_integer() => raw.map(from_half),
                format => unpack(format, true, c as u32, raw),
            };
        }
        // What is in sRGB stays so: the function was applied when it came here.
        if self.format == Format::Srgba8 {
            for value in &mut value[..3] {
                *value = srgb::encode(value).map(|x| (x as i32 as f32 / 255.0).to_bits());
            }
        }
        let linear = codec::Format {
            srgb: false,
            ..image.format
        };
        linear.encode(&stored(image, &value), false)
    }
}

#[cfg(test)]
mod tests;
