// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The M1.

use super::*;

pub(crate) static T8103: HwConfig = HwConfig {
    name: "t8103",
    chip_id: 0x8103,
    generation: Generation::G13,
    variant: b'G',
    uat_oas: 40,
    num_dies: 1,
    max_clusters: 1,
    max_cores: 8,
    max_gps: 4,
    compute_preempt_size: 0x7f80,
    preempt_sizes: [0x540, 0x280, 0x20],
    tiling_control: 0xa041,
    clustering: None,
    io_mappings: &[
        IoMapping::rw(0x204d00000, 0x1c000), // Fender
        IoMapping::ro(0x20e100000, 0x4000),  // AIC timer
        IoMapping::rw(0x23b104000, 0x4000),  // AIC software interrupts
        IoMapping::rw(0x204000000, 0x20000), // RGX
        None,
        None,
        None,
        IoMapping::ro(0x23b2e8000, 0x1000),  // Temperature sensors
        IoMapping::rw(0x23bc00000, 0x1000),  // PMP doorbell
        IoMapping::rw(0x204d80000, 0x5000),  // Metrology sensors
        IoMapping::rw(0x204d61000, 0x1000),  // GMG IFAF
        IoMapping::rw(0x200000000, 0xd6400), // Memory cache
        None,
        IoMapping::rw(0x23b738000, 0x1000), // PMGR scratch
    ],
};
