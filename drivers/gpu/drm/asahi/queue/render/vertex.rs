// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Vertex commands.

use core::mem::offset_of;

use kernel::prelude::*;

use super::{
    stamped,
    Builder, //
};
use crate::{
    fw::{
        job::{
            Attachments,
            JobMeta,
            RenderTimestamps,
            TimestampPointers, //
        },
        microseq::{
            header,
            FinalizeVertex,
            StartVertex,
            Timestamp, //
        },
        vertex::{
            JobParameters1,
            JobParameters2,
            RunVertex, //
        },
        workqueue::CommandType, //
    },
    fw_write,
    hw,
    object::GpuObject,
    queue::{
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

/// In [`JobParameters1::tiling_control`]: work on one cluster only. It is less work altogether.
const DISABLE_CLUSTERING: u32 = 1 << 0;

/// Flags beside addresses.
const HEAPMETA_FLAG: u64 = 1 << 63;
const PREEMPT3_FLAG: u64 = 1 << 50;
const META1_STRIDE_SHIFT: u32 = 50;
const META4_FLAGS: u64 = 3 << 60;

/// 1e-20 as a floating-point number.
const TINY: u32 = 0x1e3c_e508;

/// A vertex command and its microsequence.
pub(super) struct BuiltVertex {
    run: GpuObject<RunVertex>,
    sequence: BuiltSequence<StartVertex, FinalizeVertex>,
    meta: JobMeta,
    _timestamps: UserTimestamps,
}

impl Builder<'_> {
    /// Builds the vertex command.
    pub(super) fn vertex(&self, timestamps: UserTimestamps) -> Result<BuiltVertex> {
        let heaps = self.context.gpu.heaps();
        let run = GpuObject::<RunVertex>::zeroed(&heaps.gpu_ro)?;
        let va = run.gpu_va();
        let meta = self.meta();

        let sequence = BuiltSequence::new(
            &heaps.private,
            self.start_vertex(va),
            header::WAIT_FOR_IDLE_VERTEX,
            |restart| self.finalize_vertex(va, restart),
            timestamps.any().then(|| self.vertex_times(va)),
        )?;

        fw_write!(run, .tag, CommandType::RunVertex as u32);
        // The fragment command comes first.
        fw_write!(run, .counter, (self.ordinal.counter + 1).into());
        fw_write!(run, .notifier, self.context.notifier.into());
        fw_write!(run, .buffer, self.used.info_va().into());
        fw_write!(run, .scene, self.scene.object_va().into());
        fw_write!(run, .unk_buffer_buf, self.used.kernel_buffer_va().into());
        fw_write!(run, .job_params1, self.vertex_params1());
        fw_write!(run, .tiling_params, self.tiling.parameters(self.cmd));
        fw_write!(run, .tpc, self.scene.tpc_va().into());
        fw_write!(run, .tpc_size, (self.tiling.tpc_size as u64).into());
        fw_write!(run, .microsequence, sequence.gpu_va().into());
        fw_write!(run, .microsequence_size, sequence.size());
        fw_write!(
            run,
            .job_params2,
            JobParameters2 {
                preempt_buf1: self.scene.preempt_vas()[0].into(),
                ..Default::default()
            }
        );
        fw_write!(run, .encoder_params, self.encoder_params());
        fw_write!(run, .uses_scratch, self.cmd.vertex_scratch.into());
        fw_write!(
            run,
            .timestamp_pointers,
            TimestampPointers::to(self.timestamps.field_va(offset_of!(RenderTimestamps, vertex)))
        );
        fw_write!(run, .user_timestamp_pointers, timestamps.pointers());
        fw_write!(run, .client_sequence, self.client_sequence());

        Ok(BuiltVertex {
            run,
            sequence,
            meta,
            _timestamps: timestamps,
        })
    }

    #[inline(never)]
    fn vertex_params1(&self) -> JobParameters1 {
        let gpu = self.context.gpu;
        let cmd = self.cmd;
        let scene = self.scene;
        let clusters = scene.cluster_addresses();
        let [preempt1, preempt2, preempt3] = scene.preempt_vas();
        let [meta1, meta2, meta3, meta4] = clusters.meta;
        let flags = |va: u64, flags: u64| if va == 0 { 0 } else { va | flags };
        let core_mask =
            hw::pack_core_masks(&gpu.params().core_masks, gpu.params().cores_per_cluster);

        JobParameters1 {
            unk_0: 0x200.into(),
            unk_8: TINY,
            unk_c: TINY,
            tvb_tilemap: scene.tilemap_va().into(),
            tvb_cluster_tilemaps: clusters.tilemaps.into(),
            tpc: scene.tpc_va().into(),
            tvb_heapmeta: (scene.heapmeta_va() | HEAPMETA_FLAG).into(),
            iogpu_unk_54: 0x3a_0012_006b_0003.into(),
            iogpu_unk_56: 1.into(),
            tvb_cluster_meta1: flags(
                meta1,
                u64::from(self.tiling.meta1_layer_stride) << META1_STRIDE_SHIFT,
            )
            .into(),
            utile_config: tiling::utile_config(cmd),
            ppp_multisamplectl: cmd.ppp_multisamplectl.into(),
            tvb_layermeta: scene.layermeta_va().into(),
            tvb_cluster_layermeta: clusters.layermeta.into(),
            // CAST: These are its halves.
            core_mask: [core_mask as u32, (core_mask >> 32) as u32],
            preempt_buf1: preempt1.into(),
            preempt_buf2: preempt2.into(),
            unk_80: 1.into(),
            preempt_buf3: (preempt3 | PREEMPT3_FLAG).into(),
            vdm_ctrl_stream_base: cmd.vdm_ctrl_stream_base.into(),
            tvb_cluster_meta2: meta2.into(),
            tvb_cluster_meta3: meta3.into(),
            tiling_control: if self.clustering {
                gpu.hw().tiling_control
            } else {
                gpu.hw().tiling_control | DISABLE_CLUSTERING
            },
            usc_exec_base_ta: self.context.usc_exec_base.into(),
            tvb_cluster_meta4: flags(meta4, META4_FLAGS).into(),
            unk_f0: u64::from(0x1c + self.tiling.meta1_blocks.next_multiple_of(4)).into(),
            unk_f8: 0x8c60.into(),
            helper_program: cmd.vertex_helper.binary,
            helper_arg: cmd.vertex_helper.data.into(),
            unk_118: 0x1c,
            ..Default::default()
        }
    }

    #[inline(never)]
    fn start_vertex(&self, run: u64) -> StartVertex {
        StartVertex {
            header: header::START_VERTEX,
            tiling_params: at(run, offset_of!(RunVertex, tiling_params)),
            job_params1: at(run, offset_of!(RunVertex, job_params1)),
            buffer: self.used.info_va().into(),
            scene: self.scene.object_va().into(),
            stats: self.context.gpu.stats_vertex_va().into(),
            work_queue: self.context.vertex_info.into(),
            unk_38: 1,
            event_generation: self.context.queue_id,
            event_seq: self.ordinal.seq.into(),
            unk_pointer: at(run, offset_of!(RunVertex, unk_pointee)),
            unk_job_buf: at(run, offset_of!(RunVertex, unk_buf_0)),
            attachments: Attachments::new(self.cmd.vertex_attachments.as_slice()),
            counter: (self.ordinal.counter + 1).into(),
            notifier_buf: self.notifier_buf(),
            unk_178: (!self.clustering).into(),
            ..Default::default()
        }
    }

    fn finalize_vertex(&self, run: u64, restart: i32) -> FinalizeVertex {
        FinalizeVertex {
            header: header::FINALIZE_VERTEX,
            scene: self.scene.object_va().into(),
            buffer: self.used.info_va().into(),
            stats: self.context.gpu.stats_vertex_va().into(),
            work_queue: self.context.vertex_info.into(),
            unk_pointer: at(run, offset_of!(RunVertex, unk_pointee)),
            restart_branch_offset: restart,
            has_attachments: (!self.cmd.vertex_attachments.as_slice().is_empty()).into(),
            ..Default::default()
        }
    }

    /// What takes the timestamps of start and end.
    fn vertex_times(&self, run: u64) -> [Timestamp; 2] {
        TimeFields {
            command_time: offset_of!(RunVertex, command_time),
            pointers: offset_of!(RunVertex, timestamp_pointers),
            user_pointers: offset_of!(RunVertex, user_timestamp_pointers),
            unk_ts: offset_of!(RunVertex, unk_ts),
        }
        .operations(run, self.context.vertex_info)
    }
}

impl BuiltVertex {
    /// Returns the entry for the ring.
    pub(super) fn gpu_va(&self) -> u64 {
        self.run.gpu_va()
    }

    /// Writes what depends on places: its own, as the `n`-th of its job, and that of the fragment
    /// command.
    pub(super) fn place(
        &self,
        vm_slot: u32,
        buffer_slot: u32,
        place: &Place,
        n: u32,
        fragment: &Place,
    ) {
        fw_write!(self.run, .vm_slot, vm_slot);
        fw_write!(self.run, .buffer_slot, buffer_slot);
        fw_write!(self.run, .fragment_stamp_slot, fragment.slot);
        fw_write!(self.run, .fragment_stamp_value, fragment.value(n));
        fw_write!(self.run, .meta, stamped(self.meta, place, n));
        sequence_write!(self.sequence, .start.vm_slot, vm_slot);
        sequence_write!(self.sequence, .start.buffer_slot, buffer_slot);
        sequence_write!(self.sequence, .finalize.vm_slot, vm_slot);
        sequence_write!(self.sequence, .finalize.fw_stamp, place.fw_stamp_va.into());
        sequence_write!(self.sequence, .finalize.stamp_value, place.value(n));
    }
}
