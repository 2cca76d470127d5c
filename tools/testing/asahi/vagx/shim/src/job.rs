// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a command says, as the GPU model takes it: what the kernel and the firmware make of it, without the two.

use crate::uapi::*;
use vagx_gpu::{ComputeJob, FragmentJob, RenderJob, TileProgram, VertexJob, ZlsBuffer};

/// The tile processor's flags (m1n1, `proxyclient/m1n1/agx/render.py`: `tile_config`).
const ISP_CTL: u64 = 0x280;
const ISP_CTL_LAYERED: u64 = 1 << 0;
const ISP_CTL_PROCESS_EMPTY_TILES: u64 = 1 << 16;

/// More of its flags (likewise, `iogpu_unk_214`).
const ISP_DBIAS_CTL: u32 = 0xc000;

/// In ISP_BGOBJVALS (AsahiLinux/linux, `drivers/gpu/drm/asahi/queue/render.rs`).
const BGOBJVALS_LOAD: u32 = 0x400;

/// The unit of memory for tiles, in bytes.
const TIB_BLOCK: u32 = 2048;

/// There are no slots for address spaces.
const VM_SLOT: u32 = 1;

pub fn compute(command: &CmdCompute, usc_exec_base: u64) -> ComputeJob {
    ComputeJob {
        cdm_ctrl_stream_base: command.cdm_ctrl_stream_base,
        cdm_ctrl_stream_end: command.cdm_ctrl_stream_end,
        usc_exec_base,
        sampler_heap: command.sampler_heap,
        sampler_count: command.sampler_count,
        helper_program: command.helper_binary,
        helper_cfg: command.helper_cfg,
        helper_data: command.helper_data,
        vm_slot: VM_SLOT,
    }
}

pub fn render(command: &CmdRender, usc_exec_base: u64) -> RenderJob {
    RenderJob {
        vertex: vertex(command, usc_exec_base),
        fragment: fragment(command, usc_exec_base),
    }
}

fn vertex(command: &CmdRender, usc_exec_base: u64) -> VertexJob {
    VertexJob {
        vdm_ctrl_stream_base: command.vdm_ctrl_stream_base,
        usc_exec_base,
        sampler_heap: command.sampler_heap,
        sampler_count: command.sampler_count.into(),
        helper_program: command.vertex_helper.binary,
        helper_cfg: command.vertex_helper.cfg,
        helper_data: command.vertex_helper.data,
        ppp_ctrl: command.ppp_ctrl,
        ppp_multisamplectl: command.ppp_multisamplectl,
        width_px: command.width_px.into(),
        height_px: command.height_px.into(),
        layers: command.layers.into(),
        tilemap: 0,
        vm_slot: VM_SLOT,
    }
}

fn fragment(command: &CmdRender, usc_exec_base: u64) -> FragmentJob {
    let flag = |flag: u32| command.flags & flag != 0;
    let pixels = u32::from(command.utile_width_px) * u32::from(command.utile_height_px);
    let samples = u32::from(command.samples);
    let mut isp_ctl = ISP_CTL;
    if command.layers > 1 {
        isp_ctl |= ISP_CTL_LAYERED;
    }
    if flag(RENDER_PROCESS_EMPTY_TILES) {
        isp_ctl |= ISP_CTL_PROCESS_EMPTY_TILES;
    }
    FragmentJob {
        usc_exec_base,
        sampler_heap: command.sampler_heap,
        sampler_count: command.sampler_count.into(),
        helper_program: command.fragment_helper.binary,
        helper_cfg: command.fragment_helper.cfg,
        helper_data: command.fragment_helper.data,
        width_px: command.width_px.into(),
        height_px: command.height_px.into(),
        samples,
        utile_width_px: command.utile_width_px.into(),
        utile_height_px: command.utile_height_px.into(),
        tib_blocks: (u32::from(command.sample_size_b) * pixels * samples).div_ceil(TIB_BLOCK),
        ppp_multisamplectl: command.ppp_multisamplectl,
        isp_zls_pixels: command.isp_zls_pixels.into(),
        isp_scissor_base: command.isp_scissor_base,
        isp_dbias_base: command.isp_dbias_base,
        isp_oclqry_base: command.isp_oclqry_base,
        depth: zls(&command.depth),
        stencil: zls(&command.stencil),
        zls_ctrl: command.zls_ctrl,
        isp_bgobjdepth: command.isp_bgobjdepth,
        isp_bgobjvals: command.isp_bgobjvals | BGOBJVALS_LOAD,
        isp_merge_upper_x: command.isp_merge_upper_x,
        isp_merge_upper_y: command.isp_merge_upper_y,
        isp_ctl,
        // What is always set there (m1n1, likewise), and the flag, which has the place of the hardware's.
        isp_dbias_ctl: ISP_DBIAS_CTL | command.flags & RENDER_DBIAS_IS_INT,
        bg: program(&command.bg),
        eot: program(&command.eot),
        partial_bg: program(&command.partial_bg),
        partial_eot: program(&command.partial_eot),
        tilemap: 0,
        vm_slot: VM_SLOT,
    }
}

fn zls(buffer: &asahi_uapi::ZlsBuffer) -> ZlsBuffer {
    ZlsBuffer {
        base: buffer.base,
        comp_base: buffer.comp_base,
        stride: buffer.stride.into(),
        comp_stride: buffer.comp_stride.into(),
    }
}

fn program(program: &BgEot) -> TileProgram {
    TileProgram {
        usc: program.usc,
        rsrc_spec: program.rsrc_spec,
    }
}
