// SPDX-License-Identifier: MIT OR Apache-2.0

//! Loads and stores of a tile's depth and stencil (Mesa, `src/asahi/genxml/cmdbuf.xml`, "ZLS Control").

use super::zs::DepthStencil;
use crate::exec::{Cpu, by_cpu};
use crate::image::depth::{Depth, DepthBuffer, DepthImage};
use crate::memory::{Access, Memory};
use crate::render::{RenderJob, ZlsBuffer};
use crate::{GpuFault, JobError, Unit};

/// The depth and stencil images of a render, each where it is loaded or stored.
pub(super) struct Zls {
    load: [Option<DepthImage>; 2],
    store: [Option<DepthImage>; 2],
}

/// Pixels of the framebuffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) corner: [u32; 2],
    pub(super) size: [u32; 2],
    pub(super) layer: u32,
}

impl Zls {
    pub(super) fn new(job: &RenderJob) -> Self {
        let fragment = &job.fragment;
        let bit = |bit: u32| fragment.zls_ctrl >> bit & 1 != 0;
        let kind = match fragment.zls_ctrl >> 25 & 3 {
            2 => Depth::Unorm16,
            _ => Depth::Float32,
        };
        let pixels = fragment.isp_zls_pixels;
        let image = |buffer: &ZlsBuffer, kind, twiddled, compressed: bool| {
            // Strides are in pages and in lines of the cache, less one (Mesa, `src/gallium/drivers/asahi/agx_pipe.c`).
            let count = |stride: u64| (stride >> 14 & 0xf_ffff) + 1;
            DepthImage::new(&DepthBuffer {
                kind,
                base: buffer.base,
                stride: count(buffer.stride) << 14,
                metadata: compressed.then(|| (buffer.comp_base, count(buffer.comp_stride) * 128)),
                width: (pixels & 0x7fff) as u32 + 1,
                height: (pixels >> 15 & 0x7fff) as u32 + 1,
                layers: job.vertex.layers.max(1),
                samples: fragment.samples.max(1),
                twiddled,
            })
        };
        let (depth, stencil) = (&fragment.depth, &fragment.stencil);
        Zls {
            load: [
                bit(15).then(|| image(depth, kind, bit(1), bit(2))),
                bit(14).then(|| image(stencil, Depth::Stencil8, bit(3), bit(4))),
            ],
            store: [
                bit(19).then(|| image(depth, kind, bit(5), bit(6))),
                bit(18).then(|| image(stencil, Depth::Stencil8, bit(7), bit(8))),
            ],
        }
    }

    /// Whether anything is.
    pub(super) fn loads(&self) -> bool {
        self.load.iter().any(Option::is_some)
    }

    /// Fills what is loaded.
    pub(super) fn load(
        &self,
        memory: &mut Memory<'_>,
        unknown: &mut u64,
        area: &Area,
        zs: &mut DepthStencil,
    ) -> Result<(), JobError> {
        let Area {
            corner,
            size,
            layer,
        } = *area;
        for (kind, image) in self.load.iter().enumerate() {
            let Some(image) = image else { continue };
            let set = |x: u32, y: u32, sample: u32, value: u32| {
                let (x, y) = ((x - corner[0]) as usize, (y - corner[1]) as usize);
                let (depth, stencil) = zs.sample(x, y, sample as usize);
                match kind {
                    0 => *depth = f32::from_bits(value),
                    _ => *stencil = value as u8,
                }
            };
            (image.load(memory, unknown, corner, size, layer, set))
                .map_err(|va| GpuFault::new(va, Access::Read, Unit::Isp))?;
        }
        Ok(())
    }

    /// Writes what is stored.
    pub(super) fn store(
        &self,
        cpu: Cpu,
        memory: &mut Memory<'_>,
        unknown: &mut u64,
        area: &Area,
        zs: &DepthStencil,
    ) -> Result<(), JobError> {
        by_cpu!(
            cpu,
            Zls::store_all,
            (
                zls: &Zls = self,
                memory: &mut Memory<'_> = memory,
                unknown: &mut u64 = unknown,
                area: &Area = area,
                zs: &DepthStencil = zs,
            ) -> Result<(), JobError>
        )
    }

    #[inline(always)]
    fn store_all(
        &self,
        memory: &mut Memory<'_>,
        unknown: &mut u64,
        area: &Area,
        zs: &DepthStencil,
    ) -> Result<(), JobError> {
        let Area {
            corner,
            size,
            layer,
        } = *area;
        for (kind, image) in self.store.iter().enumerate() {
            let Some(image) = image else { continue };
            let get = |x: u32, y: u32, sample: u32| {
                let (x, y) = ((x - corner[0]) as usize, (y - corner[1]) as usize);
                match kind {
                    0 => zs.depths(x, y, sample as usize),
                    _ => zs.stencils(x, y, sample as usize),
                }
            };
            (image.store(memory, unknown, corner, size, layer, get))
                .map_err(|va| GpuFault::new(va, Access::Write, Unit::Isp))?;
        }
        Ok(())
    }
}
