// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Render commands.
//!
//! Most of a render command is values of registers, which the kernel hands on without a look. It
//! checks what it computes with: the dimensions.

use kernel::{
    prelude::*,
    uapi, //
};

use super::{
    Attachments,
    Barrier,
    Barriers,
    Helper,
    Timestamps, //
};
use crate::file::user;

const VERTEX_SCRATCH: u32 = uapi::drm_asahi_render_flags_DRM_ASAHI_RENDER_VERTEX_SCRATCH;
const PROCESS_EMPTY_TILES: u32 = uapi::drm_asahi_render_flags_DRM_ASAHI_RENDER_PROCESS_EMPTY_TILES;
const NO_VERTEX_CLUSTERING: u32 =
    uapi::drm_asahi_render_flags_DRM_ASAHI_RENDER_NO_VERTEX_CLUSTERING;
const DBIAS_IS_INT: u32 = uapi::drm_asahi_render_flags_DRM_ASAHI_RENDER_DBIAS_IS_INT;

/// The largest width and height of a framebuffer, in pixels.
///
/// Source: the out-of-tree driver of AsahiLinux/linux, drivers/gpu/drm/asahi/queue/render.rs, as is
/// the next one.
const MAX_DIMENSION: u16 = 16384;

/// The most layers of a framebuffer.
const MAX_LAYERS: u16 = 2048;

/// The size of the part of a tile that the tilebuffer holds, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Utile {
    W32H32,
    W32H16,
    W16H16,
}

impl Utile {
    fn new(width: u8, height: u8) -> Result<Self> {
        match (width, height) {
            (32, 32) => Ok(Self::W32H32),
            (32, 16) => Ok(Self::W32H16),
            (16, 16) => Ok(Self::W16H16),
            _ => Err(EINVAL),
        }
    }

    /// Returns the width.
    pub(crate) fn width(self) -> u32 {
        match self {
            Self::W32H32 | Self::W32H16 => 32,
            Self::W16H16 => 16,
        }
    }

    /// Returns the height.
    pub(crate) fn height(self) -> u32 {
        match self {
            Self::W32H32 => 32,
            Self::W32H16 | Self::W16H16 => 16,
        }
    }
}

/// A depth or stencil buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ZlsBuffer {
    pub(crate) base: u64,
    /// The address of the metadata, if it is compressed.
    pub(crate) comp_base: u64,
    /// The distance between two layers.
    pub(crate) stride: u32,
    /// The distance between the metadata of two layers.
    pub(crate) comp_stride: u32,
}

impl ZlsBuffer {
    fn parse(raw: &uapi::drm_asahi_zls_buffer) -> Self {
        Self {
            base: raw.base,
            comp_base: raw.comp_base,
            stride: raw.stride,
            comp_stride: raw.comp_stride,
        }
    }
}

/// A background or end-of-tile program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) usc: u32,
    pub(crate) rsrc_spec: u32,
}

impl Program {
    fn parse(raw: &uapi::drm_asahi_bg_eot) -> Self {
        Self {
            usc: raw.usc,
            rsrc_spec: raw.rsrc_spec,
        }
    }
}

/// A render command.
pub(crate) struct Render {
    /// What it waits for among the renders.
    pub(crate) vdm_barrier: Barrier,
    /// What it waits for among the computes.
    pub(crate) cdm_barrier: Barrier,

    /// A vertex shader uses scratch memory.
    pub(crate) vertex_scratch: bool,
    /// Tiles are processed even if nothing is drawn there.
    pub(crate) process_empty_tiles: bool,
    /// The vertex stage is to run on one cluster.
    pub(crate) no_vertex_clustering: bool,
    /// Depth bias is in units of an integer depth buffer.
    pub(crate) dbias_is_int: bool,

    /// From 1 to [`MAX_DIMENSION`], in pixels.
    pub(crate) width: u32,
    /// From 1 to [`MAX_DIMENSION`], in pixels.
    pub(crate) height: u32,
    /// From 1 to [`MAX_LAYERS`].
    pub(crate) layers: u32,
    pub(crate) utile: Utile,
    /// The binary logarithm of the number of samples: 0, 1 or 2.
    pub(crate) samples_log2: u32,
    /// Bytes in the tilebuffer for each sample.
    pub(crate) sample_size: u32,

    /// The start of the control stream.
    pub(crate) vdm_ctrl_stream_base: u64,
    pub(crate) vertex_helper: Helper,
    pub(crate) fragment_helper: Helper,
    pub(crate) sampler_heap: u64,
    pub(crate) sampler_count: u16,

    pub(crate) ppp_ctrl: u32,
    pub(crate) ppp_multisamplectl: u64,
    pub(crate) isp_zls_pixels: u32,
    pub(crate) isp_scissor_base: u64,
    pub(crate) isp_dbias_base: u64,
    pub(crate) isp_oclqry_base: u64,
    /// The bits of a floating-point number.
    pub(crate) isp_merge_upper_x: u32,
    /// The bits of a floating-point number.
    pub(crate) isp_merge_upper_y: u32,
    pub(crate) isp_bgobjdepth: u32,
    pub(crate) isp_bgobjvals: u32,
    pub(crate) zls_ctrl: u64,
    pub(crate) depth: ZlsBuffer,
    pub(crate) stencil: ZlsBuffer,

    pub(crate) bg: Program,
    pub(crate) eot: Program,
    pub(crate) partial_bg: Program,
    pub(crate) partial_eot: Program,

    pub(crate) vertex_timestamps: Timestamps,
    pub(crate) fragment_timestamps: Timestamps,
    pub(crate) vertex_attachments: Attachments,
    pub(crate) fragment_attachments: Attachments,
}

impl Render {
    pub(super) fn parse(
        payload: &[u8],
        barriers: Barriers,
        vertex_attachments: Attachments,
        fragment_attachments: Attachments,
    ) -> Result<Self> {
        let raw: uapi::drm_asahi_cmd_render = user::from_bytes(payload)?;
        let has = |flag| raw.flags & flag != 0;

        if has(!(VERTEX_SCRATCH | PROCESS_EMPTY_TILES | NO_VERTEX_CLUSTERING | DBIAS_IS_INT)) {
            return Err(EINVAL);
        }
        if !(1..=MAX_DIMENSION).contains(&raw.width_px)
            || !(1..=MAX_DIMENSION).contains(&raw.height_px)
            || !(1..=MAX_LAYERS).contains(&raw.layers)
            || !matches!(raw.samples, 1 | 2 | 4)
        {
            return Err(EINVAL);
        }

        Ok(Self {
            vdm_barrier: barriers.vdm,
            cdm_barrier: barriers.cdm,
            vertex_scratch: has(VERTEX_SCRATCH),
            process_empty_tiles: has(PROCESS_EMPTY_TILES),
            no_vertex_clustering: has(NO_VERTEX_CLUSTERING),
            dbias_is_int: has(DBIAS_IS_INT),
            width: raw.width_px.into(),
            height: raw.height_px.into(),
            layers: raw.layers.into(),
            utile: Utile::new(raw.utile_width_px, raw.utile_height_px)?,
            samples_log2: raw.samples.trailing_zeros(),
            sample_size: raw.sample_size_B.into(),
            vdm_ctrl_stream_base: raw.vdm_ctrl_stream_base,
            vertex_helper: Helper::parse(&raw.vertex_helper),
            fragment_helper: Helper::parse(&raw.fragment_helper),
            sampler_heap: raw.sampler_heap,
            sampler_count: raw.sampler_count,
            ppp_ctrl: raw.ppp_ctrl,
            ppp_multisamplectl: raw.ppp_multisamplectl,
            isp_zls_pixels: raw.isp_zls_pixels,
            isp_scissor_base: raw.isp_scissor_base,
            isp_dbias_base: raw.isp_dbias_base,
            isp_oclqry_base: raw.isp_oclqry_base,
            isp_merge_upper_x: raw.isp_merge_upper_x,
            isp_merge_upper_y: raw.isp_merge_upper_y,
            isp_bgobjdepth: raw.isp_bgobjdepth,
            isp_bgobjvals: raw.isp_bgobjvals,
            zls_ctrl: raw.zls_ctrl,
            depth: ZlsBuffer::parse(&raw.depth),
            stencil: ZlsBuffer::parse(&raw.stencil),
            bg: Program::parse(&raw.bg),
            eot: Program::parse(&raw.eot),
            partial_bg: Program::parse(&raw.partial_bg),
            partial_eot: Program::parse(&raw.partial_eot),
            vertex_timestamps: Timestamps::parse(&raw.ts_vtx),
            fragment_timestamps: Timestamps::parse(&raw.ts_frag),
            vertex_attachments,
            fragment_attachments,
        })
    }
    /// Returns a render of one pixel.
    #[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
    pub(crate) fn example() -> Result<Self> {
        let mut payload = [0; size_of::<uapi::drm_asahi_cmd_render>()];
        for (offset, value) in [(148, 1), (150, 1), (152, 1), (156, 32), (157, 32), (158, 1)] {
            payload[offset] = value;
        }
        let barriers = Barriers {
            vdm: Barrier::None,
            cdm: Barrier::None,
        };
        Self::parse(
            &payload,
            barriers,
            Attachments::default(),
            Attachments::default(),
        )
    }
}
