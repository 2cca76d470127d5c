// SPDX-License-Identifier: MIT OR Apache-2.0

//! A render, in its two halves: the vertex half fills the tiler's buffer, the fragment half makes pixels of it.
//!
//! The fields have the names of `struct drm_asahi_cmd_render` where they are the same thing.

/// The vertex half of a render.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VertexJob {
    /// Address of the control stream.
    pub vdm_ctrl_stream_base: u64,
    /// What 32-bit addresses of programs and state words are relative to.
    pub usc_exec_base: u64,
    /// Sampler states that programs name by number.
    pub sampler_heap: u64,
    /// How many.
    pub sampler_count: u32,
    /// The program that manages stacks, its configuration and its argument.
    pub helper_program: u32,
    pub helper_cfg: u32,
    pub helper_data: u64,
    /// Clipping rules.
    pub ppp_ctrl: u32,
    /// Places of the samples in a pixel.
    pub ppp_multisamplectl: u64,
    pub width_px: u32,
    pub height_px: u32,
    pub layers: u32,
    /// Where the tiler leaves its lists; the fragment half names the same address.
    pub tilemap: u64,
    /// The address space's slot.
    pub vm_slot: u32,
}

/// A program that runs for each tile, with its resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TileProgram {
    /// Address of its state words, relative to `usc_exec_base`, with flags in the lowest bits.
    pub usc: u32,
    /// Counts of its resources.
    pub rsrc_spec: u32,
}

/// A depth or stencil buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZlsBuffer {
    pub base: u64,
    pub comp_base: u64,
    pub stride: u64,
    pub comp_stride: u64,
}

/// The fragment half of a render.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FragmentJob {
    pub usc_exec_base: u64,
    pub sampler_heap: u64,
    pub sampler_count: u32,
    pub helper_program: u32,
    pub helper_cfg: u32,
    pub helper_data: u64,
    pub width_px: u32,
    pub height_px: u32,
    pub samples: u32,
    pub utile_width_px: u32,
    pub utile_height_px: u32,
    /// Memory of a tile, in the hardware's own unit.
    pub tib_blocks: u32,
    pub ppp_multisamplectl: u64,
    pub isp_zls_pixels: u64,
    pub isp_scissor_base: u64,
    pub isp_dbias_base: u64,
    pub isp_oclqry_base: u64,
    pub depth: ZlsBuffer,
    pub stencil: ZlsBuffer,
    pub zls_ctrl: u64,
    pub isp_bgobjdepth: u32,
    pub isp_bgobjvals: u32,
    /// Floats, as their bits.
    pub isp_merge_upper_x: u32,
    pub isp_merge_upper_y: u32,
    /// Flags of the tile processor, empty tiles among them.
    pub isp_ctl: u64,
    /// More of them, at another place: bit 18 says that depth bias is in units of an integer depth buffer
    /// (`DRM_ASAHI_RENDER_DBIAS_IS_INT`).
    pub isp_dbias_ctl: u32,
    pub bg: TileProgram,
    pub eot: TileProgram,
    pub partial_bg: TileProgram,
    pub partial_eot: TileProgram,
    pub tilemap: u64,
    pub vm_slot: u32,
}

/// A whole render, as known when its fragment half begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RenderJob {
    pub vertex: VertexJob,
    pub fragment: FragmentJob,
}

/// How the fragment half of a render ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Pixels that were written to memory.
    pub pixels: u64,
    /// Instructions, counted per SIMD-group.
    pub instructions: u64,
}
