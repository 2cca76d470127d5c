// SPDX-License-Identifier: MIT OR Apache-2.0

//! The vertex and fragment commands and their microsequences.
//!
//! m1n1 `fw/agx/cmdqueue.py` (`WorkCommandTA`, `WorkCommand3D`) and `fw/agx/microsequence.py` (`StartTACmd`,
//! `StartTACmdStruct2`, `StartTACmdStruct3`, `TilingParameters`, `FinalizeTACmd`, `Start3DCmd`, `Start3DStruct1` to
//! `Start3DStruct7`, `Finalize3DCmd`). What m1n1 has as the ends of `StartTACmdStruct3` and as `Start3DStruct6` and
//! `Start3DStruct7` holds the same `EncoderParams` and `JobMeta` that a compute command has.

use super::layout;

layout! {
    /// The vertex command; structures that others point to are embedded in it at fixed places.
    RunVertex, "RunVertex", G13_V13_5, size 0x61c {
        counter: 0x4, 8;
        vm_slot: 0xc, 4;
        notifier: 0x14, 8;
        buffer_slot: 0x1c, 8;
        buffer: 0x24, 8;
        scene: 0x2c, 8;
        unk_emptybuf: 0x34, 8;
        job_params1: 0x40, 0x11c;
        tiling_params: 0x3c4, 0x30;
        registers: 0x454, 8;
        register_count: 0x45c, 2;
        registers_length: 0x45e, 2;
        tpc: 0x464, 8;
        tpc_size: 0x46c, 8;
        microsequence: 0x474, 8;
        microsequence_size: 0x47c, 4;
        fragment_stamp_slot: 0x480, 4;
        fragment_stamp_value: 0x484, 4;
        job_params2: 0x488, 0xa8;
        encoder_params: 0x530, 0x28;
        meta: 0x56c, 0x2c;
        unk_buf: 0x59c, 0x18;
        command_time: 0x5b4, 8;
        timestamp_pointers: 0x5bc, 0x10;
        user_timestamp_pointers: 0x5cc, 0x10;
        client_sequence: 0x5dc, 1;
        unk_ts: 0x5e5, 8;
    }
}

layout! {
    /// What to run, and the tiler's buffers; embedded in the command.
    VertexParameters1, "RunVertex.job_params1", G13_V13_5, size 0x11c {
        flags: 0x0, 8;
        unk_8: 0x8, 4;
        unk_c: 0xc, 4;
        tilemap: 0x10, 8;
        cluster_tilemaps: 0x18, 8;
        tpc: 0x20, 8;
        heapmeta: 0x28, 8;
        unk_54: 0x30, 4;
        unk_55: 0x34, 4;
        unk_56: 0x38, 8;
        cluster_meta1: 0x40, 8;
        utile_config: 0x48, 8;
        ppp_multisamplectl: 0x50, 8;
        layermeta: 0x58, 8;
        core_mask: 0x68, 8;
        preempt_buf1: 0x70, 8;
        preempt_buf2: 0x78, 8;
        unk_80: 0x80, 8;
        preempt_buf3: 0x88, 8;
        encoder: 0x90, 8;
        cluster_meta2: 0x98, 8;
        cluster_meta3: 0xa0, 8;
        tiling_control: 0xa8, 8;
        pipeline_base: 0xe0, 8;
        cluster_meta4: 0xe8, 8;
        reserve: 0xf0, 8;
        unk_f8: 0xf8, 8;
        helper_program: 0x100, 4;
        helper_arg: 0x108, 8;
        unk_118: 0x118, 4;
    }
}

layout! {
    /// More of what to run; embedded in the command.
    VertexParameters2, "RunVertex.job_params2", G13_V13_5, size 0xa8 {
        preempt_buf1: 0x24, 8;
    }
}

layout! {
    /// How the screen is cut into tiles; embedded in the command.
    TilingParameters, "RunVertex.tiling_params", G13_V13_5, size 0x30 {
        rgn_size: 0x0, 4;
        unk_4: 0x4, 4;
        ppp_ctrl: 0x8, 4;
        x_max: 0xc, 2;
        y_max: 0xe, 2;
        te_screen: 0x10, 4;
        te_mtile1: 0x14, 4;
        te_mtile2: 0x18, 4;
        tiles_per_mtile: 0x1c, 4;
        tpc_stride: 0x20, 4;
        unk_24: 0x24, 4;
        render_target_max: 0x28, 4;
        helper_cfg: 0x2c, 4;
    }
}

layout! {
    /// Microsequence: hand the vertex half to the hardware.
    StartVertex, "StartVertex", G13_V13_5, size 0x18c {
        tiling_params: 0x4, 8;
        job_params1: 0xc, 8;
        buffer: 0x14, 8;
        scene: 0x1c, 8;
        stats: 0x24, 8;
        work_queue: 0x2c, 8;
        vm_slot: 0x34, 4;
        unk_38: 0x38, 4;
        event_generation: 0x3c, 4;
        buffer_slot: 0x40, 8;
        job_params2: 0x54, 8;
        unk_pointer: 0x5c, 8;
        uuid: 0x6c, 4;
        counter: 0x178, 8;
        notifier_buf: 0x180, 8;
        unk_178: 0x188, 4;
    }
}

layout! {
    /// Microsequence: the vertex half is over.
    FinalizeVertex, "FinalizeVertex", G13_V13_5, size 0x84 {
        scene: 0x4, 8;
        buffer: 0xc, 8;
        stats: 0x14, 8;
        work_queue: 0x1c, 8;
        vm_slot: 0x24, 4;
        job_params2: 0x2c, 8;
        uuid: 0x38, 4;
        fw_stamp: 0x3c, 8;
        stamp_value: 0x44, 4;
        restart_branch_offset: 0x6c, 4;
    }
}

layout! {
    /// The fragment command; structures that others point to are embedded in it at fixed places.
    RunFragment, "RunFragment", G13_V13_5, size 0x974 {
        counter: 0x4, 8;
        vm_slot: 0xc, 4;
        microsequence: 0x14, 8;
        microsequence_size: 0x1c, 4;
        notifier: 0x20, 8;
        buffer: 0x28, 8;
        scene: 0x30, 8;
        unk_emptybuf: 0x38, 8;
        tilemap: 0x40, 8;
        ppp_multisamplectl: 0x48, 8;
        samples: 0x50, 4;
        tiles_per_mtile_y: 0x54, 2;
        tiles_per_mtile_x: 0x56, 2;
        merge_upper_x: 0x68, 4;
        merge_upper_y: 0x6c, 4;
        tile_count: 0x78, 8;
        job_params1: 0x80, 0x348;
        job_params2: 0x3c8, 0xe0;
        job_params3: 0x4a8, 0x2c8;
        unk_flag: 0x770, 4;
        unk_buf: 0x778, 0x110;
        busy_flag: 0x888, 4;
        tvb_overflow_count: 0x88c, 8;
        encoder_params: 0x894, 0x28;
        process_empty_tiles: 0x8bc, 4;
        meta: 0x8d0, 0x2c;
        unk_buf2: 0x900, 0x18;
        command_time: 0x918, 8;
        timestamp_pointers: 0x920, 0x10;
        user_timestamp_pointers: 0x930, 0x10;
        client_sequence: 0x940, 1;
        unk_ts: 0x949, 8;
    }
}

layout! {
    /// What to run, and the buffers of the render; embedded in the command.
    FragmentParameters1, "RunFragment.job_params1", G13_V13_5, size 0x348 {
        utile_config: 0x0, 8;
        bg_rsrc_spec: 0x8, 8;
        bg_usc: 0x10, 8;
        ppp_multisamplectl: 0x18, 8;
        scissor_array: 0x20, 8;
        depth_bias_array: 0x28, 8;
        aux_fb_unk: 0x30, 4;
        width: 0x38, 4;
        height: 0x3c, 4;
        zls_pixels: 0x48, 8;
        visibility_results: 0x50, 8;
        zls_ctrl: 0x58, 8;
        depth_load: 0x60, 8;
        depth_store: 0x68, 8;
        stencil_load: 0x70, 8;
        stencil_store: 0x78, 8;
        depth_stride: 0x80, 8;
        stencil_stride: 0x90, 8;
        depth_aux_load: 0xa0, 8;
        depth_aux_stride: 0xa8, 8;
        depth_aux_store: 0xb0, 8;
        stencil_aux_load: 0xc0, 8;
        stencil_aux_stride: 0xc8, 8;
        stencil_aux_store: 0xd0, 8;
        tilemap: 0xe0, 8;
        layermeta: 0xe8, 8;
        mtile_stride: 0xf0, 8;
        heapmeta: 0xf8, 8;
        isp_ctl: 0x100, 8;
        aux_fb: 0x108, 8;
        pipeline_base: 0x140, 8;
        unk_140: 0x148, 8;
        helper_program: 0x150, 4;
        helper_arg: 0x158, 8;
        unk_158: 0x160, 8;
    }
}

layout! {
    /// More of what to run; embedded in the command.
    FragmentParameters2, "RunFragment.job_params2", G13_V13_5, size 0xe0 {
        eot_rsrc_spec: 0x0, 4;
        eot_usc: 0x4, 4;
        merge_upper_x: 0x10, 4;
        merge_upper_y: 0x14, 4;
        utiles_per_mtile_y: 0x20, 2;
        utiles_per_mtile_x: 0x22, 2;
        te_screen: 0x28, 4;
        tib_blocks: 0x2c, 4;
        bgobjdepth: 0x30, 4;
        bgobjvals: 0x34, 4;
        unk_3c: 0x3c, 4;
        helper_cfg: 0x40, 4;
    }
}

layout! {
    /// What a partial render uses; embedded in the command.
    FragmentParameters3, "RunFragment.job_params3", G13_V13_5, size 0x2c8 {
        registers: 0x0, 8;
        register_count: 0x8, 2;
        registers_length: 0xa, 2;
        depth_bias_array: 0x10, 8;
        scissor_array: 0x20, 8;
        visibility_results: 0x30, 8;
        partial_bg_rsrc_spec: 0x198, 8;
        partial_bg_usc: 0x1a0, 8;
        zls_ctrl: 0x1a8, 8;
        depth_1: 0x1b8, 8;
        depth_2: 0x1d0, 8;
        depth_3: 0x1d8, 8;
        stencil_1: 0x1e8, 8;
        stencil_2: 0x200, 8;
        stencil_3: 0x208, 8;
        tib_blocks: 0x228, 4;
        width: 0x238, 4;
        height: 0x23c, 4;
        partial_eot_rsrc_spec: 0x284, 4;
        partial_eot_usc: 0x28c, 4;
        bgobjdepth: 0x298, 4;
        bgobjvals: 0x29c, 4;
        zls_pixels: 0x2c0, 8;
    }
}

layout! {
    /// Microsequence: hand the fragment half to the hardware.
    StartFragment, "StartFragment", G13_V13_5, size 0x1ac {
        job_params2: 0x4, 8;
        job_params1: 0xc, 8;
        scene: 0x14, 8;
        stats: 0x1c, 8;
        busy_flag: 0x24, 8;
        tvb_overflow_count: 0x2c, 8;
        unk_pointer: 0x34, 8;
        work_queue: 0x3c, 8;
        work_item: 0x44, 8;
        vm_slot: 0x4c, 4;
        unk_50: 0x50, 4;
        event_generation: 0x54, 4;
        buffer_slot: 0x58, 4;
        sync_grow: 0x5c, 4;
        event_seq: 0x60, 8;
        unk_flag: 0x6c, 8;
        unk_buf2: 0x74, 8;
        uuid: 0x90, 4;
        attachments: 0x94, 0x100;
        num_attachments: 0x194, 4;
        counter: 0x19c, 8;
        notifier_buf: 0x1a4, 8;
    }
}

layout! {
    /// Microsequence: the fragment half is over.
    FinalizeFragment, "FinalizeFragment", G13_V13_5, size 0xb4 {
        uuid: 0x4, 4;
        fw_stamp: 0xc, 8;
        stamp_value: 0x14, 4;
        scene: 0x1c, 8;
        buffer: 0x24, 8;
        unk_2c: 0x2c, 8;
        stats: 0x34, 8;
        unk_pointer: 0x3c, 8;
        busy_flag: 0x44, 8;
        work_queue: 0x4c, 8;
        work_item: 0x54, 8;
        vm_slot: 0x5c, 8;
        unk_flag: 0x64, 8;
        restart_branch_offset: 0x9c, 4;
    }
}
