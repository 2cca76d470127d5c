// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Fragment commands.

use core::mem::offset_of;

use kernel::prelude::*;

use super::{
    stamped,
    Builder, //
};
use crate::{
    fw::{
        fragment::{
            ArrayAddr,
            AuxFbInfo,
            BackgroundProgram,
            EotProgram,
            JobParameters1,
            JobParameters2,
            JobParameters3,
            RunFragment, //
        },
        job::{
            Attachments,
            JobMeta,
            RenderTimestamps,
            TimestampPointers, //
        },
        microseq::{
            header,
            FinalizeFragment,
            StartFragment,
            Timestamp, //
        },
        workqueue::CommandType, //
    },
    fw_write,
    object::GpuObject,
    queue::{
        cmdbuf::Program,
        place::UserTimestamps,
        sequence::{
            at,
            BuiltSequence,
            TimeFields, //
        },
        tiling, //
    },
    sequence_write,
    workqueue::Place, //
};

/// In [`AuxFbInfo::isp_ctl`]: what is always set, and the formula for the depth bias.
const ISP_CTL: u32 = 0xc000;
const ISP_CTL_DBIAS_IS_INT: u32 = 1 << 18;

/// In `tile_config`.
const TILE_CONFIG: u64 = 0x280;
const TILE_CONFIG_LAYERED: u64 = 1 << 0;
const TILE_CONFIG_PROCESS_EMPTY_TILES: u64 = 1 << 16;

/// In [`JobParameters2::isp_bgobjvals`].
const BGOBJVALS_LOAD: u32 = 0x400;

/// A fragment command and its microsequence.
pub(super) struct BuiltFragment {
    run: GpuObject<RunFragment>,
    sequence: BuiltSequence<StartFragment, FinalizeFragment>,
    meta: JobMeta,
    _timestamps: UserTimestamps,
}

impl Builder<'_> {
    /// Builds the fragment command.
    pub(super) fn fragment(&self, timestamps: UserTimestamps) -> Result<BuiltFragment> {
        let heaps = self.context.gpu.heaps();
        let cmd = self.cmd;
        let run = GpuObject::<RunFragment>::zeroed(&heaps.gpu_ro)?;
        let va = run.gpu_va();
        let meta = self.meta();

        let sequence = BuiltSequence::new(
            &heaps.private,
            self.start_fragment(va),
            header::WAIT_FOR_IDLE_FRAGMENT,
            |restart| self.finalize_fragment(va, restart),
            timestamps.any().then(|| self.fragment_times(va)),
        )?;

        fw_write!(run, .tag, CommandType::RunFragment as u32);
        fw_write!(run, .counter, self.ordinal.counter.into());
        fw_write!(run, .microsequence, sequence.gpu_va().into());
        fw_write!(run, .microsequence_size, sequence.size());
        fw_write!(run, .notifier, self.context.notifier.into());
        fw_write!(run, .buffer, self.used.info_va().into());
        fw_write!(run, .scene, self.scene.object_va().into());
        fw_write!(run, .unk_buffer_buf, self.used.kernel_buffer_va().into());
        fw_write!(run, .tvb_tilemap, self.scene.tilemap_va().into());
        fw_write!(run, .ppp_multisamplectl, cmd.ppp_multisamplectl.into());
        fw_write!(run, .samples, 1 << cmd.samples_log2);
        // CAST: They are 128 at most.
        fw_write!(run, .tiles_per_mtile_y, self.tiling.tiles_per_mtile_y as u16);
        fw_write!(run, .tiles_per_mtile_x, self.tiling.tiles_per_mtile_x as u16);
        fw_write!(run, .isp_merge_upper_x, cmd.isp_merge_upper_x);
        fw_write!(run, .isp_merge_upper_y, cmd.isp_merge_upper_y);
        fw_write!(run, .tile_count, u64::from(self.tiling.tiles()).into());
        fw_write!(run, .job_params1, self.fragment_params1());
        fw_write!(run, .job_params2, self.fragment_params2());
        fw_write!(run, .job_params3, self.fragment_params3());
        fw_write!(run, .encoder_params, self.encoder_params());
        fw_write!(run, .process_empty_tiles, cmd.process_empty_tiles.into());
        fw_write!(run, .no_clear_pipeline_textures, 1);
        fw_write!(run, .unk_buf_10, 1.into());
        fw_write!(
            run,
            .timestamp_pointers,
            TimestampPointers::to(self.timestamps.field_va(offset_of!(RenderTimestamps, fragment)))
        );
        fw_write!(run, .user_timestamp_pointers, timestamps.pointers());
        fw_write!(run, .client_sequence, self.client_sequence());

        Ok(BuiltFragment {
            run,
            sequence,
            meta,
            _timestamps: timestamps,
        })
    }

    fn aux_fb_info(&self) -> AuxFbInfo {
        AuxFbInfo {
            isp_ctl: if self.cmd.dbias_is_int {
                ISP_CTL | ISP_CTL_DBIAS_IS_INT
            } else {
                ISP_CTL
            },
            width: self.cmd.width,
            height: self.cmd.height,
            unk3: 0x10_0000.into(),
            ..Default::default()
        }
    }

    fn tile_config(&self) -> u64 {
        let mut config = TILE_CONFIG;
        if self.cmd.layers > 1 {
            config |= TILE_CONFIG_LAYERED;
        }
        if self.cmd.process_empty_tiles {
            config |= TILE_CONFIG_PROCESS_EMPTY_TILES;
        }
        config
    }

    #[inline(never)]
    fn fragment_params1(&self) -> JobParameters1 {
        let cmd = self.cmd;
        let (depth, stencil) = (&cmd.depth, &cmd.stencil);
        let stride = |stride: u32| u64::from(stride).into();

        JobParameters1 {
            utile_config: tiling::utile_config(cmd),
            bg: background(&cmd.bg),
            ppp_multisamplectl: cmd.ppp_multisamplectl.into(),
            isp_scissor_base: cmd.isp_scissor_base.into(),
            isp_dbias_base: cmd.isp_dbias_base.into(),
            aux_fb_info: self.aux_fb_info(),
            isp_zls_pixels: u64::from(cmd.isp_zls_pixels).into(),
            isp_oclqry_base: cmd.isp_oclqry_base.into(),
            zls_ctrl: cmd.zls_ctrl.into(),
            z_load: depth.base.into(),
            z_store: depth.base.into(),
            s_load: stencil.base.into(),
            s_store: stencil.base.into(),
            z_load_stride: stride(depth.stride),
            z_store_stride: stride(depth.stride),
            s_load_stride: stride(stencil.stride),
            s_store_stride: stride(stencil.stride),
            z_load_comp: depth.comp_base.into(),
            z_load_comp_stride: stride(depth.comp_stride),
            z_store_comp: depth.comp_base.into(),
            z_store_comp_stride: stride(depth.comp_stride),
            s_load_comp: stencil.comp_base.into(),
            s_load_comp_stride: stride(stencil.comp_stride),
            s_store_comp: stencil.comp_base.into(),
            s_store_comp_stride: stride(stencil.comp_stride),
            tvb_tilemap: self.scene.tilemap_va().into(),
            tvb_layermeta: self.scene.layermeta_va().into(),
            mtile_stride_dwords: self.tiling.mtile_stride_dwords().into(),
            tvb_heapmeta: self.scene.heapmeta_va().into(),
            tile_config: self.tile_config().into(),
            aux_fb: self.scene.aux_fb_va().into(),
            usc_exec_base_isp: self.context.usc_exec_base.into(),
            unk_140: 0x8c60.into(),
            helper_program: cmd.fragment_helper.binary,
            helper_arg: cmd.fragment_helper.data.into(),
            unk_158: 0x1c.into(),
            ..Default::default()
        }
    }

    #[inline(never)]
    fn fragment_params2(&self) -> JobParameters2 {
        let cmd = self.cmd;

        JobParameters2 {
            eot_rsrc_spec: cmd.eot.rsrc_spec,
            eot_usc: cmd.eot.usc,
            isp_merge_upper_x: cmd.isp_merge_upper_x,
            isp_merge_upper_y: cmd.isp_merge_upper_y,
            // CAST: They are 256 at most.
            utiles_per_mtile_y: self.tiling.utiles_per_mtile_y as u16,
            utiles_per_mtile_x: self.tiling.utiles_per_mtile_x as u16,
            tile_counts: self.tiling.te_screen(),
            tib_blocks: tiling::tib_blocks(cmd),
            isp_bgobjdepth: cmd.isp_bgobjdepth,
            isp_bgobjvals: cmd.isp_bgobjvals | BGOBJVALS_LOAD,
            unk_3c: 1,
            helper_cfg: cmd.fragment_helper.cfg,
            ..Default::default()
        }
    }

    #[inline(never)]
    fn fragment_params3(&self) -> JobParameters3 {
        let cmd = self.cmd;
        let (depth, stencil) = (&cmd.depth, &cmd.stencil);
        let stride = |stride: u32| u64::from(stride).into();

        JobParameters3 {
            isp_dbias_base: array(cmd.isp_dbias_base),
            isp_scissor_base: array(cmd.isp_scissor_base),
            isp_oclqry_base: cmd.isp_oclqry_base.into(),
            unk_partial_bg: background(&cmd.partial_bg),
            partial_bg: background(&cmd.partial_bg),
            zls_ctrl: cmd.zls_ctrl.into(),
            z_load: depth.base.into(),
            z_partial_stride: stride(depth.stride),
            z_partial_comp_stride: stride(depth.comp_stride),
            z_store: depth.base.into(),
            z_partial: depth.base.into(),
            z_partial_comp: depth.comp_base.into(),
            s_load: stencil.base.into(),
            s_partial_stride: stride(stencil.stride),
            s_partial_comp_stride: stride(stencil.comp_stride),
            s_store: stencil.base.into(),
            s_partial: stencil.base.into(),
            s_partial_comp: stencil.comp_base.into(),
            tib_blocks: tiling::tib_blocks(cmd),
            aux_fb_info: self.aux_fb_info(),
            tile_config: self.tile_config().into(),
            unk_partial_eot: end_of_tile(&cmd.partial_eot),
            partial_eot: end_of_tile(&cmd.partial_eot),
            isp_bgobjdepth: cmd.isp_bgobjdepth,
            isp_bgobjvals: cmd.isp_bgobjvals,
            sample_size: cmd.sample_size,
            isp_zls_pixels: u64::from(cmd.isp_zls_pixels).into(),
            ..Default::default()
        }
    }

    #[inline(never)]
    fn start_fragment(&self, run: u64) -> StartFragment {
        StartFragment {
            header: header::START_FRAGMENT,
            job_params2: at(run, offset_of!(RunFragment, job_params2)),
            job_params1: at(run, offset_of!(RunFragment, job_params1)),
            scene: self.scene.object_va().into(),
            stats: self.context.gpu.stats_fragment_va().into(),
            busy_flag: at(run, offset_of!(RunFragment, busy_flag)),
            tvb_overflow_count: at(run, offset_of!(RunFragment, tvb_overflow_count)),
            unk_pointer: at(run, offset_of!(RunFragment, unk_pointee)),
            work_queue: self.context.fragment_info.into(),
            work_item: run.into(),
            unk_50: 1,
            event_generation: self.context.queue_id,
            event_seq: self.ordinal.seq.into(),
            unk_758_flag: at(run, offset_of!(RunFragment, unk_758_flag)),
            unk_job_buf: at(run, offset_of!(RunFragment, unk_buf_0)),
            attachments: Attachments::new(self.cmd.fragment_attachments.as_slice()),
            counter: self.ordinal.counter.into(),
            notifier_buf: self.notifier_buf(),
            ..Default::default()
        }
    }

    fn finalize_fragment(&self, run: u64, restart: i32) -> FinalizeFragment {
        FinalizeFragment {
            header: header::FINALIZE_FRAGMENT,
            scene: self.scene.object_va().into(),
            buffer: self.used.info_va().into(),
            unk_2c: 1.into(),
            stats: self.context.gpu.stats_fragment_va().into(),
            unk_pointer: at(run, offset_of!(RunFragment, unk_pointee)),
            busy_flag: at(run, offset_of!(RunFragment, busy_flag)),
            work_queue: self.context.fragment_info.into(),
            work_item: run.into(),
            unk_758_flag: at(run, offset_of!(RunFragment, unk_758_flag)),
            restart_branch_offset: restart,
            has_attachments: (!self.cmd.fragment_attachments.as_slice().is_empty()).into(),
            ..Default::default()
        }
    }

    /// What takes the timestamps of start and end.
    fn fragment_times(&self, run: u64) -> [Timestamp; 2] {
        TimeFields {
            command_time: offset_of!(RunFragment, command_time),
            pointers: offset_of!(RunFragment, timestamp_pointers),
            user_pointers: offset_of!(RunFragment, user_timestamp_pointers),
            unk_ts: offset_of!(RunFragment, unk_ts),
        }
        .operations(run, self.context.fragment_info)
    }
}

fn background(program: &Program) -> BackgroundProgram {
    BackgroundProgram {
        rsrc_spec: u64::from(program.rsrc_spec).into(),
        address: u64::from(program.usc).into(),
    }
}

fn end_of_tile(program: &Program) -> EotProgram {
    EotProgram {
        rsrc_spec: program.rsrc_spec,
        address: program.usc,
        ..Default::default()
    }
}

fn array(address: u64) -> ArrayAddr {
    ArrayAddr {
        ptr: address.into(),
        ..Default::default()
    }
}

impl BuiltFragment {
    /// Returns the entry for the ring.
    pub(super) fn gpu_va(&self) -> u64 {
        self.run.gpu_va()
    }

    /// Writes what depends on its place, as the `n`-th of its job.
    pub(super) fn place(&self, vm_slot: u32, buffer_slot: u32, place: &Place, n: u32) {
        fw_write!(self.run, .vm_slot, vm_slot);
        fw_write!(self.run, .meta, stamped(self.meta, place, n));
        sequence_write!(self.sequence, .start.vm_slot, vm_slot);
        sequence_write!(self.sequence, .start.buffer_slot, buffer_slot);
        sequence_write!(self.sequence, .finalize.vm_slot, vm_slot);
        sequence_write!(self.sequence, .finalize.fw_stamp, place.fw_stamp_va.into());
        sequence_write!(self.sequence, .finalize.stamp_value, place.value(n));
    }
}
