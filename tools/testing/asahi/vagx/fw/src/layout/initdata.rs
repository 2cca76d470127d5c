// SPDX-License-Identifier: MIT OR Apache-2.0

//! The initialisation data and what it points to.
//!
//! m1n1 `fw/agx/initdata.py`: `InitData`, `UatLevelInfo`, `InitData_RegionB`, `InitData_RegionC`, `AGXHWDataA`,
//! `AGXHWDataB`, `IOMapping`, `InitData_FWStatus`, `AGXFaultInfo`, `InitData_PendingStamp`, `InitData_FaultInfo`.

use super::layout;

layout! {
    /// What the INIT message points to.
    InitData, "InitData", V13_5, size 0xbc {
        ver_info: 0x0, 8;
        unk_buf: 0x8, 8;
        runtime_pointers: 0x18, 8;
        globals: 0x20, 8;
        fw_status: 0x28, 8;
        uat_page_size: 0x30, 2;
        uat_page_bits: 0x32, 1;
        uat_num_levels: 0x33, 1;
        uat_level_info: 0x34, 0x60;
        host_mapped_fw_allocations: 0xa8, 4;
    }
}

layout! {
    /// How the UAT splits an address at one level.
    UatLevelInfo, "UatLevelInfo", V13_5, size 0x20 {
        unk_8: 0x0, 1;
        page_bits: 0x1, 1;
        page_bits_2: 0x2, 1;
        index_shift: 0x3, 1;
        num_entries: 0x4, 2;
        table_size: 0x6, 2;
        unk_1: 0x8, 8;
        phys_mask: 0x10, 8;
        index_mask: 0x18, 8;
    }
}

layout! {
    /// Channels, statistics and everything the firmware keeps at run time.
    RuntimePointers, "RuntimePointers", V13_5, size 0x6bc0 {
        channels: 0x0, 0x110;
        stats_vtx: 0x170, 8;
        stats_frag: 0x178, 8;
        stats_comp: 0x180, 8;
        hwdata_a: 0x188, 8;
        fault_info: 0x190, 8;
        timestamps: 0x198, 8;
        hwdata_b: 0x1a0, 8;
        hwdata_b_2: 0x1a8, 8;
        fwlog_buf: 0x1b0, 8;
        unkptr_1b8: 0x1b8, 8;
        unkptr_1c0: 0x1c0, 8;
        unkptr_1c8: 0x1c8, 8;
        buffer_mgr_ctl_gpu: 0x214, 8;
        buffer_mgr_ctl: 0x21c, 8;
        gpu_idle: 0x6a84, 4;
        unk_6b38: 0x6b38, 4;
    }
}

layout! {
    /// The pair of pointers that describes a channel.
    ChannelRing, "ChannelRing", V13_5, size 0x10 {
        state: 0x0, 8;
        ring: 0x8, 8;
    }
}

layout! {
    /// Power and performance state, a calibration blob.
    HwDataA, "HwDataA", V13_5, size 0x421c {
        clocks_per_period: 0x4, 4;
        max_pstate_scaled: 0x4c, 4;
    }
}

layout! {
    /// Hardware description, a calibration blob with places the driver fills.
    HwDataB, "HwDataB", V13_5, size 0x1884 {
        unk_30: 0x20, 8;
        timestamp_area_base: 0x28, 8;
        io_mappings: 0x640, 0x320;
        sgx_sram_ptr: 0x960, 8;
        chip_id: 0x968, 4;
        base_clock_khz: 0x9a8, 4;
        power_sample_period: 0x9ac, 4;
        use_secure_cache_flush: 0xa40, 4;
        uat_ttb_base: 0xa78, 8;
        gpu_core: 0xa80, 4;
        gpu_rev: 0xa84, 4;
        num_cores: 0xa88, 4;
        max_pstate: 0xa8c, 4;
        frequencies: 0xa90, 0x40;
        voltages: 0xad0, 0x200;
        voltages_sram: 0xcd0, 0x200;
    }
}

layout! {
    /// One register range that the firmware reaches through the UAT.
    IoMapping, "HwDataB.io_mappings", V13_5, size 0x20 {
        phys_addr: 0x0, 8;
        virt_addr: 0x8, 8;
        total_size: 0x10, 4;
        element_size: 0x14, 4;
        readwrite: 0x18, 8;
    }
}

layout! {
    /// Settings and state that both sides change while running.
    Globals, "Globals", V13_5, size 0x12394 {
        ktrace_enable: 0x0, 4;
        pending_submissions: 0x8974, 4;
        max_power: 0x8978, 4;
        max_pstate_scaled: 0x897c, 4;
        max_pstate_scaled_2: 0x8980, 4;
        max_pstate_scaled_3: 0x898c, 4;
        fault_control: 0x10fd8, 4;
        do_init: 0x10fdc, 4;
        idle_off_delay_ms: 0x1119c, 4;
        fw_early_wake_timeout_ms: 0x111a4, 4;
        pending_stamps: 0x111a8, 0x800;
        fault_queue_uuid: 0x11a34, 4;
    }
}

layout! {
    /// A stamp that work in progress is going to reach.
    PendingStamp, "PendingStamp", V13_5, size 0x8 {
        info: 0x0, 4;
        wait_value: 0x4, 4;
    }
}

layout! {
    /// Halting and resuming after a fault; also where the FwCtl channel is.
    FwStatus, "FwStatus", V13_5, size 0x80 {
        fwctl_state: 0x0, 8;
        fwctl_ring: 0x8, 8;
        halt_count: 0x10, 4;
        halted: 0x20, 4;
        resume: 0x30, 4;
    }
}

layout! {
    /// Counts of halts for the crash reporter.
    FaultReport, "FaultInfo", V13_5, size 0x80 {
        status: 0x0, 4;
        total_halts: 0x18, 4;
    }
}
