// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The fragment command, which draws what a vertex command has tiled.
//!
//! Layouts: m1n1, proxyclient/m1n1/fw/agx/{cmdqueue,microsequence}.py (WorkCommand3D) for G13 with
//! firmware 13.5. What the fields mean that m1n1 has no name for: the out-of-tree driver of
//! AsahiLinux/linux, drivers/gpu/drm/asahi/fw/fragment.rs.

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
    /// A program that is run for each tile before it is drawn.
    pub(crate) struct BackgroundProgram: 0x10 {
        pub(crate) rsrc_spec: U64,
        pub(crate) address: U64,
    }

    /// A program that is run for each tile after it was drawn.
    pub(crate) struct EotProgram: 0x20 {
        pub(crate) unk_0: U64,
        pub(crate) unk_8: u32,
        pub(crate) rsrc_spec: u32,
        pub(crate) unk_10: u32,
        pub(crate) address: u32,
        pub(crate) unk_18: u32,
        pub(crate) unk_1c_padding: u32,
    }

    /// The address of an array.
    pub(crate) struct ArrayAddr: 0x10 {
        pub(crate) ptr: U64,
        pub(crate) unk_padding: U64,
    }

    /// About the framebuffer.
    pub(crate) struct AuxFbInfo: 0x18 {
        pub(crate) isp_ctl: u32,
        pub(crate) unk2: u32,
        pub(crate) width: u32,
        pub(crate) height: u32,
        pub(crate) unk3: U64,
    }

    /// Values for the registers of the fragment units.
    pub(crate) struct JobParameters1: 0x348 {
        pub(crate) utile_config: u32,
        pub(crate) unk_4: u32,
        pub(crate) bg: BackgroundProgram,
        pub(crate) ppp_multisamplectl: U64,
        pub(crate) isp_scissor_base: U64,
        pub(crate) isp_dbias_base: U64,
        pub(crate) aux_fb_info: AuxFbInfo,
        pub(crate) isp_zls_pixels: U64,
        pub(crate) isp_oclqry_base: U64,
        pub(crate) zls_ctrl: U64,
        pub(crate) z_load: U64,
        pub(crate) z_store: U64,
        pub(crate) s_load: U64,
        pub(crate) s_store: U64,
        pub(crate) z_load_stride: U64,
        pub(crate) z_store_stride: U64,
        pub(crate) s_load_stride: U64,
        pub(crate) s_store_stride: U64,
        pub(crate) z_load_comp: U64,
        pub(crate) z_load_comp_stride: U64,
        pub(crate) z_store_comp: U64,
        pub(crate) z_store_comp_stride: U64,
        pub(crate) s_load_comp: U64,
        pub(crate) s_load_comp_stride: U64,
        pub(crate) s_store_comp: U64,
        pub(crate) s_store_comp_stride: U64,
        pub(crate) tvb_tilemap: U64,
        pub(crate) tvb_layermeta: U64,
        pub(crate) mtile_stride_dwords: U64,
        pub(crate) tvb_heapmeta: U64,
        pub(crate) tile_config: U64,
        pub(crate) aux_fb: U64,
        pub(crate) unk_108: [U64; 6],
        pub(crate) usc_exec_base_isp: U64,
        pub(crate) unk_140: U64,
        pub(crate) helper_program: u32,
        pub(crate) unk_14c: u32,
        pub(crate) helper_arg: U64,
        pub(crate) unk_158: U64,
        pub(crate) unk_160: U64,
        pub(crate) __pad: Pad<0x1d8>,
    }

    /// More values for registers.
    pub(crate) struct JobParameters2: 0xf0 {
        pub(crate) eot_rsrc_spec: u32,
        pub(crate) eot_usc: u32,
        pub(crate) unk_8: u32,
        pub(crate) unk_c: u32,
        pub(crate) isp_merge_upper_x: u32,
        pub(crate) isp_merge_upper_y: u32,
        pub(crate) unk_18: U64,
        pub(crate) utiles_per_mtile_y: u16,
        pub(crate) utiles_per_mtile_x: u16,
        pub(crate) unk_24: u32,
        pub(crate) tile_counts: u32,
        pub(crate) tib_blocks: u32,
        pub(crate) isp_bgobjdepth: u32,
        pub(crate) isp_bgobjvals: u32,
        pub(crate) unk_38: u32,
        pub(crate) unk_3c: u32,
        pub(crate) helper_cfg: u32,
        pub(crate) __pad: Pad<0xac>,
    }

    /// What is needed for partial renders.
    pub(crate) struct JobParameters3: 0x2b8 {
        pub(crate) isp_dbias_base: ArrayAddr,
        pub(crate) isp_scissor_base: ArrayAddr,
        pub(crate) isp_oclqry_base: U64,
        pub(crate) unk_118: U64,
        pub(crate) unk_120: [U64; 37],
        pub(crate) unk_partial_bg: BackgroundProgram,
        pub(crate) unk_258: U64,
        pub(crate) unk_260: U64,
        pub(crate) unk_268: U64,
        pub(crate) unk_270: U64,
        pub(crate) partial_bg: BackgroundProgram,
        pub(crate) zls_ctrl: U64,
        pub(crate) unk_290: U64,
        pub(crate) z_load: U64,
        pub(crate) z_partial_stride: U64,
        pub(crate) z_partial_comp_stride: U64,
        pub(crate) z_store: U64,
        pub(crate) z_partial: U64,
        pub(crate) z_partial_comp: U64,
        pub(crate) s_load: U64,
        pub(crate) s_partial_stride: U64,
        pub(crate) s_partial_comp_stride: U64,
        pub(crate) s_store: U64,
        pub(crate) s_partial: U64,
        pub(crate) s_partial_comp: U64,
        pub(crate) unk_2f8: [U64; 2],
        pub(crate) tib_blocks: u32,
        pub(crate) unk_30c: u32,
        pub(crate) aux_fb_info: AuxFbInfo,
        pub(crate) tile_config: U64,
        pub(crate) unk_328_padding: Pad<8>,
        pub(crate) unk_partial_eot: EotProgram,
        pub(crate) partial_eot: EotProgram,
        pub(crate) isp_bgobjdepth: u32,
        pub(crate) isp_bgobjvals: u32,
        pub(crate) sample_size: u32,
        pub(crate) unk_37c: u32,
        pub(crate) unk_380: U64,
        pub(crate) unk_388: U64,
        pub(crate) unk_390_0: U64,
        pub(crate) isp_zls_pixels: U64,
    }

    /// A fragment command.
    pub(crate) struct RunFragment: 0x974 {
        pub(crate) tag: u32,
        /// Counts the commands of the client's queue.
        pub(crate) counter: U64,
        /// The context of the UAT that the command runs in.
        pub(crate) vm_slot: u32,
        pub(crate) unk_8: u32,
        /// What the firmware does to run the command, see [`super::microseq`].
        pub(crate) microsequence: U64,
        pub(crate) microsequence_size: u32,
        pub(crate) notifier: U64,
        /// The [`Info`](super::buffer::Info) of the tiler's heap.
        pub(crate) buffer: U64,
        /// Its [`Scene`](super::buffer::Scene).
        pub(crate) scene: U64,
        pub(crate) unk_buffer_buf: U64,
        pub(crate) tvb_tilemap: U64,
        pub(crate) ppp_multisamplectl: U64,
        pub(crate) samples: u32,
        pub(crate) tiles_per_mtile_y: u16,
        pub(crate) tiles_per_mtile_x: u16,
        pub(crate) unk_50: U64,
        pub(crate) unk_58: U64,
        pub(crate) isp_merge_upper_x: u32,
        pub(crate) isp_merge_upper_y: u32,
        pub(crate) unk_68: U64,
        pub(crate) tile_count: U64,
        pub(crate) job_params1: JobParameters1,
        pub(crate) job_params2: JobParameters2,
        pub(crate) job_params3: JobParameters3,
        pub(crate) unk_758_flag: u32,
        pub(crate) unk_75c_flag: u32,
        pub(crate) unk_buf: Pad<0x110>,
        pub(crate) busy_flag: u32,
        pub(crate) tvb_overflow_count: u32,
        pub(crate) unk_878: u32,
        pub(crate) encoder_params: EncoderParams,
        pub(crate) process_empty_tiles: u32,
        pub(crate) no_clear_pipeline_textures: u32,
        pub(crate) msaa_zs: u32,
        pub(crate) unk_pointee: u32,
        pub(crate) unk_v13_3: u32,
        pub(crate) meta: JobMeta,
        pub(crate) unk_after_meta: u32,
        pub(crate) unk_buf_0: U64,
        pub(crate) unk_buf_8: U64,
        pub(crate) unk_buf_10: U64,
        pub(crate) command_time: U64,
        pub(crate) timestamp_pointers: TimestampPointers,
        pub(crate) user_timestamp_pointers: TimestampPointers,
        pub(crate) client_sequence: u8,
        pub(crate) pad_925: [u8; 3],
        pub(crate) unk_928: u32,
        pub(crate) unk_92c: u8,
        pub(crate) unk_ts: U64,
        pub(crate) __pad: Pad<0x23>,
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(asahi_fw_fragment)]
mod tests {
    use super::*;
    use core::mem::{
        offset_of,
        size_of, //
    };

    #[test]
    fn sizes() {
        assert_eq!(size_of::<RunFragment>(), 0x974);
        assert_eq!(size_of::<JobParameters1>(), 0x348);
        // m1n1 counts the last 0x10 bytes of the second to the third.
        assert_eq!(size_of::<JobParameters2>(), 0xe0 + 0x10);
        assert_eq!(size_of::<JobParameters3>(), 0x2c8 - 0x10);
    }

    #[test]
    fn offsets() {
        assert_eq!(offset_of!(RunFragment, vm_slot), 0xc);
        assert_eq!(offset_of!(RunFragment, microsequence), 0x14);
        assert_eq!(offset_of!(RunFragment, notifier), 0x20);
        assert_eq!(offset_of!(RunFragment, buffer), 0x28);
        assert_eq!(offset_of!(RunFragment, tvb_tilemap), 0x40);
        assert_eq!(offset_of!(RunFragment, samples), 0x50);
        assert_eq!(offset_of!(RunFragment, tile_count), 0x78);
        assert_eq!(offset_of!(RunFragment, job_params1), 0x80);
        assert_eq!(offset_of!(RunFragment, job_params2), 0x3c8);
        assert_eq!(offset_of!(RunFragment, job_params3), 0x4a8 + 0x10);
        assert_eq!(offset_of!(RunFragment, unk_758_flag), 0x770);
        assert_eq!(offset_of!(RunFragment, busy_flag), 0x888);
        assert_eq!(offset_of!(RunFragment, tvb_overflow_count), 0x88c);
        assert_eq!(offset_of!(RunFragment, encoder_params), 0x894);
        assert_eq!(offset_of!(RunFragment, unk_pointee), 0x8c8);
        assert_eq!(offset_of!(RunFragment, meta), 0x8d0);
        assert_eq!(offset_of!(RunFragment, unk_buf_0), 0x900);
        assert_eq!(offset_of!(RunFragment, command_time), 0x918);
        assert_eq!(offset_of!(RunFragment, timestamp_pointers), 0x920);
        assert_eq!(offset_of!(RunFragment, user_timestamp_pointers), 0x930);
        assert_eq!(offset_of!(RunFragment, client_sequence), 0x940);
        assert_eq!(offset_of!(RunFragment, unk_ts), 0x949);
    }

    #[test]
    fn offsets_of_parameters() {
        assert_eq!(offset_of!(JobParameters1, aux_fb_info), 0x30);
        assert_eq!(offset_of!(JobParameters1, z_load), 0x60);
        assert_eq!(offset_of!(JobParameters1, z_load_comp), 0xa0);
        assert_eq!(offset_of!(JobParameters1, tvb_tilemap), 0xe0);
        assert_eq!(offset_of!(JobParameters1, tvb_heapmeta), 0xf8);
        assert_eq!(offset_of!(JobParameters1, aux_fb), 0x108);
        assert_eq!(offset_of!(JobParameters1, usc_exec_base_isp), 0x140);
        assert_eq!(offset_of!(JobParameters1, helper_program), 0x150);
        assert_eq!(offset_of!(JobParameters2, utiles_per_mtile_y), 0x20);
        assert_eq!(offset_of!(JobParameters2, isp_bgobjdepth), 0x30);
        assert_eq!(offset_of!(JobParameters2, helper_cfg), 0x40);
        let third = |offset: usize| offset + 0x10;
        assert_eq!(third(offset_of!(JobParameters3, partial_bg)), 0x198);
        assert_eq!(third(offset_of!(JobParameters3, z_load)), 0x1b8);
        assert_eq!(third(offset_of!(JobParameters3, s_partial_comp)), 0x210);
        assert_eq!(third(offset_of!(JobParameters3, tib_blocks)), 0x228);
        assert_eq!(third(offset_of!(JobParameters3, aux_fb_info)), 0x230);
        assert_eq!(third(offset_of!(JobParameters3, tile_config)), 0x248);
        assert_eq!(third(offset_of!(JobParameters3, partial_eot)), 0x278);
        assert_eq!(third(offset_of!(JobParameters3, isp_bgobjdepth)), 0x298);
        assert_eq!(third(offset_of!(JobParameters3, isp_zls_pixels)), 0x2c0);
    }
}
