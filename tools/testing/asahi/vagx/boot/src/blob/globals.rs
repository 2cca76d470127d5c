// SPDX-License-Identifier: MIT OR Apache-2.0

//! globals: more parameters, and what kernel and firmware tell each other while they run.

use super::{Blob, has13, shared};
use crate::Abi;
use crate::machine::Calibration;

pub(super) fn build(c: &Calibration, abi: Abi) -> Blob {
    let mut b = Blob::default();
    head(&mut b, c, abi);
    power(&mut b, c, abi);
    runtime(&mut b, c, abi);
    b
}

fn head(b: &mut Blob, c: &Calibration, abi: Abi) {
    b.u32("ktrace_enable", 0);
    b.zero(0x20);
    if has13(abi) {
        b.u32("unk_24_0", 3000);
    }
    b.zero(4);
    if has13(abi) {
        b.u32("debug", 0);
        b.zero(4);
    }
    b.u32("unk_28", 1);
    if has13(abi) {
        b.zero(4);
    }
    b.u32("unk_2c", 1);
    b.zero(4);
    b.u32("unk_34", 120);
    b.zero(0x1c);
    // The following words are not aligned.
    b.u16("unk_54", c.globals_54);
    b.u16("unk_56", 40);
    b.u16("unk_58", 0xffff);
    b.zero(4);
    b.u32("unk_5e", 1);
    b.zero(4);
    if has13(abi) {
        b.zero(0xc);
    }
    b.u32("unk_66", 1);
    b.zero(0x16);
    b.zero(0xf80 + 0x7000 + 0x900);
    if has13(abi) {
        b.zero(0x54);
    }
}

fn power(b: &mut Blob, c: &Calibration, abi: Abi) {
    let max_ps = 100 * c.max_pstate();
    let max_power = c.max_power_mw();
    let period_s = c.power_sample_period_ms as f32 / 1000.0;
    b.u32("unk_8900", 1);
    b.u32("pending_submissions", 0);
    b.u32("max_power", max_power);
    b.u32("max_pstate_scaled", max_ps);
    b.u32("max_pstate_scaled_2", max_ps);
    b.zero(8);
    b.u32("max_pstate_scaled_3", max_ps);
    b.zero(4);
    b.u32("power_zone_count", c.power_zones.len() as u32);
    b.u32(
        "avg_power_filter_tc_periods",
        c.avg_power_filter_tc_ms / c.power_sample_period_ms,
    );
    b.f32("avg_power_ki_dt", c.avg_power.integral * period_s);
    b.f32("avg_power_kp", c.avg_power.proportional);
    b.u32("avg_power_min_duty_cycle", c.avg_power_min_duty_cycle);
    b.u32("avg_power_target_filter_tc", c.avg_power_target_filter_tc);
    b.array(
        "power_zones",
        5 * 3,
        c.power_zones
            .iter()
            .flat_map(|z| [z.target, z.target - z.target_offset, z.filter_tc]),
    );
    b.zero(0x44);
    if has13(abi) {
        b.zero(0x3c);
    }
    b.u32("unk_89bc", c.a_8cc);
    b.u32("fast_die0_release_temp", 100 * c.fast_die_release_temp);
    b.i32("unk_89c4", c.a_87c);
    b.u32("fast_die0_prop_tgt_delta", 100 * c.fast_die_target_delta);
    b.f32("fast_die0_kp", c.fast_die.proportional);
    b.f32("fast_die0_ki_dt", c.fast_die.integral * period_s);
    b.zero(0xc);
    b.u32("unk_89e0", 1);
    b.u32("max_power_2", max_power);
    b.f32("ppm_kp", c.ppm.proportional);
    b.f32("ppm_ki_dt", c.ppm.integral * period_s);
    b.zero(4);
    if has13(abi) {
        b.zero(8);
        b.u32("unk_89f4_8", 1);
        b.zero(0x50 + 0xc);
    }
    b.zero(4);
    shared::hws1(b, c);
    shared::hws2(b, c);
    if has13(abi) {
        // Standby timer and coefficients of chips that idle in another way.
        b.zero(4 + 0x20 + 4);
    }
    b.zero(4);
    shared::hws3(b);
    b.zero(8);
    b.u32("unk_900c", 1);
    if has13(abi) {
        b.u32("unk_9010_0", 1);
        b.zero(0x14);
    }
    b.zero(0x2c);
    b.u32("unk_903c", u32::from(has13(abi)));
    b.zero(0xc0 + 0x6f00 + 0xe50 + 4 + 0x2c);
    if has13(abi) {
        b.zero(4);
    }
}

fn runtime(b: &mut Blob, c: &Calibration, abi: Abi) {
    // How faults are reported and whether reads from nowhere give zeroes.
    b.u32("fault_control", 0xb);
    b.u32("do_init", 1);
    b.zero(0x188);
    b.u64("idle_ts", 0);
    b.u64("idle_unk", 0);
    b.u32("progress_check_interval_3d", 40);
    b.u32("progress_check_interval_ta", 10);
    b.u32("progress_check_interval_cl", 250);
    if has13(abi) {
        b.u32("unk_1102c_0", 1);
        b.u32("unk_1102c_4", 1);
        b.u32("unk_1102c_8", 100);
        b.u32("unk_1102c_c", 1);
        b.zero(4);
    }
    b.zero(4);
    b.u32("idle_off_delay_ms", c.idle_off_delay_ms);
    b.u32("fender_idle_off_delay_ms", c.fender_idle_off_delay_ms);
    b.u32("fw_early_wake_timeout_ms", c.fw_early_wake_timeout_ms);
    // What each event slot waits for, and the last fault: the firmware's to write.
    b.mark("pending_stamps");
    b.zero(0x100 * 8);
    b.zero(8 + 0x78 + 4);
    b.mark("fault_info");
    b.zero(0x18);
    b.zero(8);
    if has13(abi) {
        b.zero(0x9c + 8);
    }
    b.u32("cl_context_switch_timeout_ms", 40);
    if has13(abi) {
        b.u32("cl_kill_timeout_ms", 50);
    }
    b.zero(8);
    b.zero(0x400 + 0x54);
    if has13(abi) {
        b.zero(0x19c + 4 + 0x1c + 4 + 0x280);
    }
}
