// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machines that can be imitated: a table of chips and the firmware ABIs they run.
//!
//! A further chip is a further row of [`CHIPS`]; a further ABI is a further variant of [`Abi`]
//! and the differences it makes in [`crate::blob`].

use std::fmt;

use crate::Error;

/// A firmware ABI, named after the macOS release that the firmware came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Abi {
    V12_3,
    V13_5,
}

impl Abi {
    /// The three cells of the device tree's `apple,firmware-abi`.
    pub fn triple(self) -> [u32; 3] {
        match self {
            Abi::V12_3 => [12, 3, 0],
            Abi::V13_5 => [13, 5, 0],
        }
    }
}

impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, _] = self.triple();
        write!(f, "{major}.{minor}")
    }
}

/// One performance state of the GPU.
#[derive(Clone, Copy, Debug)]
pub struct PerfState {
    pub freq_mhz: u32,
    pub volt_mv: u32,
    pub max_power_mw: u32,
}

/// One power zone: target in mW, how much lower it is while the zone is off, filter time constant.
#[derive(Clone, Copy, Debug)]
pub struct PowerZone {
    pub target: u32,
    pub target_offset: u32,
    pub filter_tc: u32,
}

/// Gains of one of the firmware's control loops.
#[derive(Clone, Copy, Debug)]
pub struct Gains {
    pub integral: f32,
    pub proportional: f32,
}

/// What m1n1 knows about a chip from tables and reads from its fuses and its Apple device tree.
///
/// Names follow the properties of Apple's device tree where a field comes from there. The values
/// that nobody has a name for are kept by the offset at which they were first seen.
#[derive(Debug)]
pub struct Calibration {
    /// The firmware's number for the kind of core (11 is G13G).
    pub gpu_core_id: u32,
    /// The firmware's number for the silicon revision (4 is B1).
    pub gpu_rev_id: u32,
    pub clusters: u32,
    pub cores_per_cluster: u32,
    pub base_clock_khz: u32,
    pub perf_states: &'static [PerfState],
    pub perf_base_pstate: u32,
    pub min_sram_mv: u32,
    pub sram_k: f32,
    pub core_leak: &'static [f32],
    pub sram_leak: &'static [f32],
    pub power_zones: &'static [PowerZone],
    pub shared1_table: [i32; 16],
    pub shared1_a4: u32,
    pub shared2_table: [i32; 10],
    pub shared2_508: u32,
    pub fast_die_sensors: u64,
    pub fast_die_sensors_alt: u64,
    pub fast_die_sensors_present: u64,
    pub fast_die: Gains,
    pub fast_die_release_temp: u32,
    pub fast_die_target_delta: u32,
    pub power_sample_period_ms: u32,
    pub avg_power: Gains,
    pub avg_power_filter_tc_ms: u32,
    pub avg_power_target_filter_tc: u32,
    pub avg_power_min_duty_cycle: u32,
    pub ppm: Gains,
    pub ppm_filter_tc_ms: u32,
    pub pwr: Gains,
    pub pwr_filter_tc: u32,
    pub pwr_min_duty_cycle: u32,
    pub perf: [Gains; 2],
    pub perf_filter_tc: [u32; 2],
    pub perf_boost_ce_step: u32,
    pub perf_boost_min_util: u32,
    pub perf_reset_iters: u32,
    pub perf_target_utilization: u32,
    pub se: [Gains; 2],
    pub se_filter_tc: [u32; 2],
    pub se_engagement_criteria: i32,
    pub se_inactive_threshold: u32,
    pub se_reset_criteria: u32,
    pub idle_off_delay_ms: u32,
    pub fender_idle_off_delay_ms: u32,
    pub fw_early_wake_timeout_ms: u32,
    pub a_87c: i32,
    pub a_8cc: u32,
    pub a_e24: u32,
    pub b_454: u32,
    pub b_ab8: u32,
    pub b_abc: u32,
    pub globals_54: u16,
}

impl Calibration {
    pub(crate) fn max_pstate(&self) -> u32 {
        self.perf_states.len().saturating_sub(1) as u32
    }

    pub(crate) fn max_power_mw(&self) -> u32 {
        self.perf_states
            .iter()
            .map(|p| p.max_power_mw)
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn max_freq_mhz(&self) -> u32 {
        self.perf_states
            .iter()
            .map(|p| p.freq_mhz)
            .max()
            .unwrap_or(0)
    }
}

/// A chip and what is calibrated into it.
#[derive(Debug)]
pub struct Chip {
    pub name: &'static str,
    pub id: u32,
    /// Sizes of physical addresses that the GPU's MMU takes.
    pub oas: u32,
    pub abis: &'static [Abi],
    pub calibration: &'static Calibration,
}

/// A chip together with the firmware ABI it runs.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    pub chip: &'static Chip,
    pub abi: Abi,
}

impl Machine {
    /// Finds a machine by the names that the command line uses, such as `t8103` and `13.5`.
    pub fn find(chip: &str, abi: &str) -> Result<Machine, Error> {
        Self::all()
            .find(|m| m.chip.name == chip && m.abi.to_string() == abi)
            .ok_or_else(|| Error::UnknownMachine {
                chip: chip.into(),
                abi: abi.into(),
                known: Self::all()
                    .map(|m| m.to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    /// All machines, the default one first.
    pub fn all() -> impl Iterator<Item = Machine> {
        CHIPS
            .iter()
            .flat_map(|chip| chip.abis.iter().map(move |&abi| Machine { chip, abi }))
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.chip.name, self.abi)
    }
}

/// Every chip there is.
pub static CHIPS: &[Chip] = &[Chip {
    name: "t8103",
    id: 0x8103,
    oas: 40,
    abis: &[Abi::V13_5, Abi::V12_3],
    calibration: &T8103,
}];

const fn state(freq_mhz: u32, volt_mv: u32, power_scale: u32) -> PerfState {
    // m1n1 src/kboot_gpu.c: on t8103 the power limit of a state, in uW, is its voltage times a
    // scale times 100; it is handed on in mW.
    PerfState {
        freq_mhz,
        volt_mv,
        max_power_mw: volt_mv * power_scale * 100 / 1000,
    }
}

/// The M1. Constants: m1n1 rust/src/gpu/hw/t8103.rs; voltages: those of a typical chip, as given
/// in AsahiLinux/linux arch/arm64/boot/dts/apple/t8103.dtsi; power scale and leakage: m1n1
/// src/kboot_gpu.c with all eight cores enabled; base state: m1n1's for the Mac mini (J274).
static T8103: Calibration = Calibration {
    gpu_core_id: 11,
    gpu_rev_id: 4,
    clusters: 1,
    cores_per_cluster: 8,
    base_clock_khz: 24_000,
    perf_states: &[
        state(0, 400, 0),
        state(396, 603, 63),
        state(528, 640, 80),
        state(720, 690, 108),
        state(924, 784, 150),
        state(1128, 862, 198),
        state(1278, 931, 210),
    ],
    perf_base_pstate: 3,
    min_sram_mv: 850,
    sram_k: 1.02,
    core_leak: &[1000.0],
    sram_leak: &[45.0],
    power_zones: &[PowerZone {
        target: 30_000,
        target_offset: 100,
        filter_tc: 6875,
    }],
    shared1_table: [
        -1, 0x7282, 0x50ea, 0x370a, 0x25be, 0x1c1f, 0x16fb, -1, -1, -1, -1, -1, -1, -1, -1, -1,
    ],
    shared1_a4: 0xffff,
    shared2_table: [0x800, 0x1555, -1, -1, -1, -1, -1, -1, 0, 0],
    shared2_508: 0xc0_0007,
    fast_die_sensors: 0x12,
    fast_die_sensors_alt: 0x12,
    fast_die_sensors_present: 1,
    fast_die: Gains {
        integral: 200.0,
        proportional: 5.0,
    },
    fast_die_release_temp: 80,
    fast_die_target_delta: 0,
    power_sample_period_ms: 8,
    avg_power: Gains {
        integral: 7.5,
        proportional: 4.0,
    },
    avg_power_filter_tc_ms: 1000,
    avg_power_target_filter_tc: 125,
    avg_power_min_duty_cycle: 40,
    ppm: Gains {
        integral: 91.5,
        proportional: 6.9,
    },
    ppm_filter_tc_ms: 100,
    pwr: Gains {
        integral: 0.0202129,
        proportional: 5.2831855,
    },
    pwr_filter_tc: 313,
    pwr_min_duty_cycle: 40,
    perf: [
        Gains {
            integral: 7.8956833,
            proportional: 14.707963,
        },
        Gains {
            integral: 0.197392,
            proportional: 6.853981,
        },
    ],
    perf_filter_tc: [5, 50],
    perf_boost_ce_step: 25,
    perf_boost_min_util: 100,
    perf_reset_iters: 6,
    perf_target_utilization: 85,
    se: [
        Gains {
            integral: -50.0,
            proportional: -5.0,
        },
        Gains {
            integral: -100.0,
            proportional: -10.0,
        },
    ],
    se_filter_tc: [9, 3],
    se_engagement_criteria: -1,
    se_inactive_threshold: 2500,
    se_reset_criteria: 50,
    idle_off_delay_ms: 2,
    fender_idle_off_delay_ms: 40,
    fw_early_wake_timeout_ms: 5,
    a_87c: -220,
    a_8cc: 9880,
    a_e24: 112,
    b_454: 1,
    b_ab8: 0x48,
    b_abc: 8,
    globals_54: 0xffff,
};
