// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The vertex command, which transforms and tiles.
//!
//! Layouts: m1n1, proxyclient/m1n1/fw/agx/{cmdqueue,microsequence}.py (WorkCommandTA) for G13 with
//! firmware 13.5. What the fields mean that m1n1 has no name for: the out-of-tree driver of
//! AsahiLinux/linux, drivers/gpu/drm/asahi/fw/vertex.rs.

use crate::fw_struct;

use super::{
    job::{
        EncoderParams,
        JobMeta,
        TimestampPointers, //
    },
    types::{
        Pad,
        U64, //
    }, //
};

fw_struct! {
    /// Values for the registers of the vertex and tiling units.
    pub(crate) struct JobParameters1: 0x384 {
        pub(crate) unk_0: U64,
        pub(crate) unk_8: u32,
        pub(crate) unk_c: u32,
        pub(crate) tvb_tilemap: U64,
        pub(crate) tvb_cluster_tilemaps: U64,
        pub(crate) tpc: U64,
        pub(crate) tvb_heapmeta: U64,
        pub(crate) iogpu_unk_54: U64,
        pub(crate) iogpu_unk_56: U64,
        pub(crate) tvb_cluster_meta1: U64,
        pub(crate) utile_config: u32,
        pub(crate) unk_4c: u32,
        pub(crate) ppp_multisamplectl: U64,
        pub(crate) tvb_layermeta: U64,
        pub(crate) tvb_cluster_layermeta: U64,
        pub(crate) core_mask: [u32; 2],
        pub(crate) preempt_buf1: U64,
        pub(crate) preempt_buf2: U64,
        pub(crate) unk_80: U64,
        pub(crate) preempt_buf3: U64,
        pub(crate) vdm_ctrl_stream_base: U64,
        pub(crate) tvb_cluster_meta2: U64,
        pub(crate) tvb_cluster_meta3: U64,
        pub(crate) tiling_control: u32,
        pub(crate) unk_ac: u32,
        pub(crate) unk_b0: [U64; 6],
        pub(crate) usc_exec_base_ta: U64,
        pub(crate) tvb_cluster_meta4: U64,
        pub(crate) unk_f0: U64,
        pub(crate) unk_f8: U64,
        pub(crate) helper_program: u32,
        pub(crate) unk_104: u32,
        pub(crate) helper_arg: U64,
        pub(crate) unk_110: U64,
        pub(crate) unk_118: u32,
        pub(crate) __pad: Pad<0x268>,
    }

    /// How the framebuffer is divided into tiles.
    pub(crate) struct TilingParameters: 0xa0 {
        /// The distance between two macrotiles' parts of the tilemap, in words.
        pub(crate) rgn_size: u32,
        pub(crate) unk_4: u32,
        pub(crate) ppp_ctrl: u32,
        pub(crate) x_max: u16,
        pub(crate) y_max: u16,
        pub(crate) te_screen: u32,
        pub(crate) te_mtile1: u32,
        pub(crate) te_mtile2: u32,
        pub(crate) tiles_per_mtile: u32,
        /// The distance between two macrotiles' parts of the tail pointer cache, in words.
        pub(crate) tpc_stride: u32,
        pub(crate) unk_24: u32,
        pub(crate) unk_28: u32,
        pub(crate) helper_cfg: u32,
        pub(crate) __pad: Pad<0x70>,
    }

    /// More about the command.
    pub(crate) struct JobParameters2: 0xa0 {
        pub(crate) unk_480: [u32; 4],
        pub(crate) unk_498: U64,
        pub(crate) unk_4a0: u32,
        pub(crate) preempt_buf1: U64,
        pub(crate) unk_4ac: u32,
        pub(crate) unk_4b0: U64,
        pub(crate) unk_4b8: u32,
        pub(crate) unk_4bc: U64,
        pub(crate) unk_4c4_padding: Pad<0x48>,
        pub(crate) unk_50c: u32,
        pub(crate) unk_510: U64,
        pub(crate) unk_518: U64,
        pub(crate) unk_520: U64,
    }

    /// A vertex command.
    pub(crate) struct RunVertex: 0x61c {
        pub(crate) tag: u32,
        /// Counts the commands of the client's queue.
        pub(crate) counter: U64,
        /// The context of the UAT that the command runs in.
        pub(crate) vm_slot: u32,
        pub(crate) unk_8: u32,
        pub(crate) notifier: U64,
        /// The slot that the tiler's heap has.
        pub(crate) buffer_slot: u32,
        pub(crate) unk_1c: u32,
        /// The [`Info`](super::buffer::Info) of the tiler's heap.
        pub(crate) buffer: U64,
        /// Its [`Scene`](super::buffer::Scene).
        pub(crate) scene: U64,
        pub(crate) unk_buffer_buf: U64,
        pub(crate) unk_34: u32,
        pub(crate) job_params1: JobParameters1,
        pub(crate) tiling_params: TilingParameters,
        pub(crate) tpc: U64,
        pub(crate) tpc_size: U64,
        /// What the firmware does to run the command, see [`super::microseq`].
        pub(crate) microsequence: U64,
        pub(crate) microsequence_size: u32,
        /// Event slot and stamp value of the fragment command that goes with it.
        pub(crate) fragment_stamp_slot: u32,
        pub(crate) fragment_stamp_value: u32,
        pub(crate) unk_pointee: u32,
        pub(crate) unk_pad: u32,
        pub(crate) job_params2: JobParameters2,
        pub(crate) encoder_params: EncoderParams,
        pub(crate) unk_55c: u32,
        pub(crate) unk_560: u32,
        pub(crate) sync_grow: u32,
        pub(crate) unk_568: u32,
        pub(crate) uses_scratch: u32,
        pub(crate) meta: JobMeta,
        pub(crate) unk_after_meta: u32,
        pub(crate) unk_buf_0: U64,
        pub(crate) unk_buf_8: U64,
        pub(crate) unk_buf_10: U64,
        pub(crate) command_time: U64,
        pub(crate) timestamp_pointers: TimestampPointers,
        pub(crate) user_timestamp_pointers: TimestampPointers,
        pub(crate) client_sequence: u8,
        pub(crate) pad_5d5: [u8; 3],
        pub(crate) unk_5d8: u32,
        pub(crate) unk_5dc: u8,
        pub(crate) unk_ts: U64,
        pub(crate) __pad: Pad<0x2f>,
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(asahi_fw_vertex)]
mod tests {
    use super::*;
    use core::mem::{
        offset_of,
        size_of, //
    };

    #[test]
    fn sizes() {
        assert_eq!(size_of::<RunVertex>(), 0x61c);
        // m1n1 has the padding of the two as fields of the command: 0x268 and 0x60 with 0x10 more.
        assert_eq!(size_of::<JobParameters1>(), 0x11c + 0x268);
        assert_eq!(size_of::<TilingParameters>(), 0x30 + 0x70);
    }

    #[test]
    fn offsets() {
        assert_eq!(offset_of!(RunVertex, vm_slot), 0xc);
        assert_eq!(offset_of!(RunVertex, notifier), 0x14);
        assert_eq!(offset_of!(RunVertex, buffer_slot), 0x1c);
        assert_eq!(offset_of!(RunVertex, buffer), 0x24);
        assert_eq!(offset_of!(RunVertex, scene), 0x2c);
        assert_eq!(offset_of!(RunVertex, job_params1), 0x40);
        assert_eq!(offset_of!(RunVertex, tiling_params), 0x3c4);
        assert_eq!(offset_of!(RunVertex, tpc), 0x464);
        assert_eq!(offset_of!(RunVertex, microsequence), 0x474);
        assert_eq!(offset_of!(RunVertex, fragment_stamp_slot), 0x480);
        assert_eq!(offset_of!(RunVertex, unk_pointee), 0x488);
        let params2 = offset_of!(RunVertex, job_params2);
        assert_eq!(params2, 0x490);
        assert_eq!(params2 + offset_of!(JobParameters2, preempt_buf1), 0x4ac);
        assert_eq!(offset_of!(RunVertex, encoder_params), 0x530);
        assert_eq!(offset_of!(RunVertex, meta), 0x56c);
        assert_eq!(offset_of!(RunVertex, unk_buf_0), 0x59c);
        assert_eq!(offset_of!(RunVertex, command_time), 0x5b4);
        assert_eq!(offset_of!(RunVertex, timestamp_pointers), 0x5bc);
        assert_eq!(offset_of!(RunVertex, user_timestamp_pointers), 0x5cc);
        assert_eq!(offset_of!(RunVertex, client_sequence), 0x5dc);
        assert_eq!(offset_of!(RunVertex, unk_ts), 0x5e5);
    }

    #[test]
    fn offsets_of_parameters() {
        assert_eq!(offset_of!(JobParameters1, tpc), 0x20);
        assert_eq!(offset_of!(JobParameters1, tvb_cluster_meta1), 0x40);
        assert_eq!(offset_of!(JobParameters1, tvb_layermeta), 0x58);
        assert_eq!(offset_of!(JobParameters1, core_mask), 0x68);
        assert_eq!(offset_of!(JobParameters1, preempt_buf3), 0x88);
        assert_eq!(offset_of!(JobParameters1, vdm_ctrl_stream_base), 0x90);
        assert_eq!(offset_of!(JobParameters1, tiling_control), 0xa8);
        assert_eq!(offset_of!(JobParameters1, usc_exec_base_ta), 0xe0);
        assert_eq!(offset_of!(JobParameters1, unk_f0), 0xf0);
        assert_eq!(offset_of!(JobParameters1, helper_program), 0x100);
        assert_eq!(offset_of!(JobParameters1, unk_118), 0x118);
        assert_eq!(offset_of!(TilingParameters, te_screen), 0x10);
        assert_eq!(offset_of!(TilingParameters, tpc_stride), 0x20);
        assert_eq!(offset_of!(TilingParameters, helper_cfg), 0x2c);
    }
}
