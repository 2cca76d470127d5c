// SPDX-License-Identifier: MIT OR Apache-2.0

//! hw-cal-b: what the GPU is, its performance states, and addresses that kernel and firmware
//! agree on.

use super::{Blob, has13};
use crate::machine::Calibration;
use crate::{Abi, Chip, PAGE};

/// A page that every user address space must have mapped: the last but one below 2^39.
const UNKNOWN_PAGE: u64 = (1 << 39) - 2 * PAGE;
/// Where kernels map the buffers that user space wants time stamps in.
const TIMESTAMP_AREA: u64 = 0xffff_ffae_1000_0000;

pub(super) fn build(chip: &Chip, abi: Abi, ttbs: u64) -> Blob {
    let c = chip.calibration;
    let mut b = Blob::default();
    addresses(&mut b, abi);
    identity(&mut b, chip, abi, ttbs);
    states(&mut b, c, abi);
    rest(&mut b, c, abi);
    b
}

fn addresses(b: &mut Blob, abi: Abi) {
    if !has13(abi) {
        b.u64("unk_0", 0x13_0000_0000);
    }
    b.u64("unk_8", 0x14_0000_0000);
    if !has13(abi) {
        b.u64("unk_10", 0x1_0000_0000);
    }
    b.u64("unk_18", 0xffc0_0000);
    b.zero(0x10);
    b.u64("unk_30", UNKNOWN_PAGE);
    b.u64("timestamp_area_base", TIMESTAMP_AREA);
    b.zero(0x20);
    // Colour conversion matrices, which m1n1 leaves out.
    let matrices = if has13(abi) { 0x3f } else { 0xf };
    b.zero(matrices * 24);
    b.zero(8);
    // The kernel fills the table of register windows that it has mapped for the firmware.
    b.mark("io_mappings");
    let windows = if has13(abi) { 0x19 } else { 0x14 };
    b.zero(windows * 0x20);
    if has13(abi) {
        b.u64("sgx_sram_ptr", 0);
    }
}

fn identity(b: &mut Blob, chip: &Chip, abi: Abi, ttbs: u64) {
    let c = chip.calibration;
    let cores = c.clusters * c.cores_per_cluster;
    b.u32("chip_id", chip.id);
    b.u32("unk_454", c.b_454);
    b.u32("unk_458", 1);
    b.zero(4);
    b.u32("unk_460", 1);
    b.u32("unk_464", 1);
    b.u32("unk_468", 1);
    b.zero(0x10);
    b.u32("unk_47c", 1);
    b.zero(4);
    b.u32("unk_484", 1);
    b.zero(4);
    b.u32("unk_48c", 1);
    b.u32("base_clock_khz", c.base_clock_khz);
    b.u32("power_sample_period", c.power_sample_period_ms);
    b.zero(4);
    b.u32("unk_49c", 1);
    b.u32("unk_4a0", 1);
    b.u32("unk_4a4", 1);
    b.zero(0x18);
    b.u32("unk_4c0", 0x1f);
    b.zero(0x1c);
    b.u64("unk_4e0", 0);
    b.zero(8);
    b.u32("unk_4f0", 1);
    b.u32("unk_4f4", 1);
    b.zero(0xc);
    if has13(abi) {
        b.zero(4);
    }
    b.u32("unk_504", 0x31);
    b.zero(0x1c);
    b.u32("use_secure_cache_flush", 1);
    b.zero(0xc);
    if has13(abi) {
        b.zero(4);
    }
    b.zero(8);
    b.u32("num_frags", cores);
    b.zero(0x14);
    b.u32("unk_554", 1);
    b.u64("uat_ttb_base", ttbs);
    b.u32("gpu_core_id", c.gpu_core_id);
    b.u32("gpu_rev_id", c.gpu_rev_id);
    b.u32("num_cores", cores);
}

fn states(b: &mut Blob, c: &Calibration, abi: Abi) {
    let states = c.perf_states;
    let each = |f: &dyn Fn(usize) -> u32| (0..states.len()).map(f).collect::<Vec<_>>();
    b.u32("max_pstate", c.max_pstate());
    if !has13(abi) {
        b.u32("num_pstates", states.len() as u32);
    }
    b.array("frequencies", 16, each(&|i| states[i].freq_mhz));
    // Eight rails for each state; one cluster's voltage stands for all of them.
    let rails = |f: &dyn Fn(u32) -> u32| {
        states
            .iter()
            .flat_map(|s| [f(s.volt_mv); 8])
            .collect::<Vec<_>>()
    };
    b.array("voltages", 16 * 8, rails(&|mv| mv));
    b.array("voltages_sram", 16 * 8, rails(&|mv| mv.max(c.min_sram_mv)));
    if has13(abi) {
        b.zero(0x40);
    }
    b.array("sram_k", 16, each(&|_| c.sram_k.to_bits()));
    b.zero(0x40);

    let max_power = c.max_power_mw().max(1);
    let relative = |i: usize| states[i].max_power_mw * 100 / max_power;
    b.array("rel_max_powers", 16, each(&relative));
    // Percent of the way from the base state's frequency to the highest.
    let base = c.perf_base_pstate as usize;
    let base_mhz = states.get(base).map_or(0, |s| s.freq_mhz);
    let percent_hz = ((c.max_freq_mhz() - base_mhz) * 10_000).max(1);
    let boost = |i: usize| match i > base {
        true => (states[i].freq_mhz - base_mhz) * 1_000_000 / percent_hz,
        false => 0,
    };
    b.array("rel_boost_freqs", 16, each(&boost));
}

fn rest(b: &mut Blob, c: &Calibration, abi: Abi) {
    if has13(abi) {
        b.array("unk_arr_0", 32, 0..16);
        // States of the CS and AFR domains, which G13 does not have.
        b.zero(0x1f0);
        b.zero(0x44c);
    } else {
        b.u32("min_sram_volt", c.min_sram_mv);
        b.u32("unk_ab8", c.b_ab8);
        b.u32("unk_abc", c.b_abc);
        b.u32("unk_ac0", 0x1020);
    }
    b.zero(8 + 8 + 0x10);
    let unk_ae4 = if has13(abi) {
        [0, 3, 7, 7]
    } else {
        [0, 0xf, 0x3f, 0x3f]
    };
    b.array("unk_ae4", 4, unk_ae4);
    b.zero(4 + 4 + 8 + 0xc);
    b.u32("unk_b10", 1);
    b.u64("timer_offset", 0);
    b.zero(8);
    b.u32("unk_b24", 1);
    b.u32("unk_b28", 1);
    b.u32("unk_b2c", 1);
    b.zero(8);
    if has13(abi) {
        b.u32("unk_b38_0", 1);
        b.u32("unk_b38_4", 1);
        b.zero(4);
    }
    b.array("unk_b38", 12, [u32::MAX; 12]);
    b.zero(4);
    if has13(abi) {
        b.zero(0xd0 + 0x10 + 0x20);
        b.u32("unk_c3c", 0x1a);
    }
}
