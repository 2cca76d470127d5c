// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The M1 Pro, M1 Max and M1 Ultra.

use super::*;

/// The mappings of a chip with `mcc` memory cache controllers per die.
const fn io_mappings(mcc: u64, second_die: bool) -> [Option<IoMapping>; 20] {
    [
        IoMapping::rw(0x404d00000, 0x1c000), // Fender
        IoMapping::ro(0x20e100000, 0x4000),  // AIC timer
        IoMapping::rw(0x28e104000, 0x4000),  // AIC software interrupts
        IoMapping::rw(0x404000000, 0x20000), // RGX
        None,
        None,
        None,
        Some(IoMapping {
            // Temperature sensors
            base: 0x28e494000,
            size: 0x4000,
            count: 1,
            stride: 0,
            per_die: true,
            writable: false,
        }),
        None,
        IoMapping::rw(0x404d80000, 0x8000), // Metrology sensors
        IoMapping::rw(0x204d61000, 0x1000), // GMG IFAF
        Some(IoMapping {
            // Memory cache
            base: 0x200000000,
            size: 0xd8000,
            count: mcc,
            stride: 0x1000000,
            per_die: true,
            writable: true,
        }),
        None,
        None,
        IoMapping::rw(0x2643c4000, 0x1000), // Idle register of the first die
        if second_die {
            IoMapping::rw(0x22643c4000, 0x1000) // The same of the second die
        } else {
            None
        },
        None,
        None,
        IoMapping::rw(0x28e3d0000, 0x1000), // Unknown
        IoMapping::ro(0x28e3c0000, 0x2000), // Unknown
    ]
}

pub(crate) static T6000: HwConfig = HwConfig {
    name: "t6000",
    chip_id: 0x6000,
    variant: b'S',
    max_clusters: 2,
    io_mappings: &io_mappings(4, false),
    ..MAX
};

pub(crate) static T6001: HwConfig = MAX;

pub(crate) static T6002: HwConfig = HwConfig {
    name: "t6002",
    chip_id: 0x6002,
    variant: b'D',
    num_dies: 2,
    max_clusters: 8,
    io_mappings: &io_mappings(8, true),
    ..MAX
};

const MAX: HwConfig = HwConfig {
    name: "t6001",
    chip_id: 0x6001,
    generation: Generation::G13,
    variant: b'C',
    uat_oas: 42,
    num_dies: 1,
    max_clusters: 4,
    max_cores: 8,
    max_gps: 4,
    compute_preempt_size: 0x3bd00,
    preempt_sizes: [0x540, 0x280, 0x20],
    tiling_control: 0xa540,
    clustering: Some(Clustering {
        meta1_block: 0x44,
        meta2_size: 0xc0 * 8,
        meta3_size: 0x280 * 8,
        meta4_size: 0x30 * 16,
        max_splits: 16,
    }),
    io_mappings: &io_mappings(8, false),
};
