// SPDX-License-Identifier: MIT OR Apache-2.0

//! hw-cal-a: mostly the parameters of the firmware's power and performance control loops.

use super::{Blob, filter, has13, shared};
use crate::Abi;
use crate::machine::Calibration;

/// The clamp that the firmware's integrators share.
const CLAMP: f32 = 65536.0;

/// Values that several control loops use.
struct Common {
    max_ps: u32,
    base_ps: u32,
    max_power: u32,
    period_s: f32,
}

pub(super) fn build(c: &Calibration, abi: Abi) -> Blob {
    // A performance state is passed to control loops as a percentage of a step.
    let k = Common {
        max_ps: 100 * c.max_pstate(),
        base_ps: 100 * c.perf_base_pstate,
        max_power: c.max_power_mw(),
        period_s: c.power_sample_period_ms as f32 / 1000.0,
    };
    let mut b = Blob::default();
    status(&mut b, c, abi, &k);
    power_loop(&mut b, c, abi, &k);
    ppm_loop(&mut b, c, abi, &k);
    performance_loop(&mut b, c, abi, &k);
    temperature_loop(&mut b, c, abi, &k);
    average_power_loop(&mut b, c, abi, &k);
    if has13(abi) {
        b.zero(0x10);
        engagement_loop(&mut b, c, &k);
    }
    rest(&mut b, c, abi);
    b
}

fn status(b: &mut Blob, c: &Calibration, abi: Abi, k: &Common) {
    let clocks = c.base_clock_khz * c.power_sample_period_ms;
    b.zero(4);
    b.u32("clocks_per_period", clocks);
    if has13(abi) {
        b.u32("clocks_per_period_2", clocks);
    }
    b.zero(4);
    b.u32("pwr_status", 4);
    b.f32("unk_10", 1.0);
    b.zero(0x14);
    b.u32("actual_pstate", 1);
    b.u32("tgt_pstate", 1);
    b.zero(0xc);
    if has13(abi) {
        b.zero(4);
    }
    b.u32("base_pstate_scaled", k.base_ps);
    b.u32("unk_40", 1);
    b.u32("max_pstate_scaled", k.max_ps);
    b.zero(4);
    b.u32("min_pstate_scaled", 100);
    b.zero(0x24);
    if has13(abi) {
        b.zero(4);
    }
    let sram_k = c.perf_states.iter().map(|_| c.sram_k.to_bits());
    b.array("sram_k", 16, sram_k);
    // Temperature, power and time stamps, which the firmware writes.
    b.zero(0x100 + 0xc + 8 + 4 + 0x478 + 8);
    b.u32("unk_64c", 625);
    b.zero(8);
}

fn power_loop(b: &mut Blob, c: &Calibration, abi: Abi, k: &Common) {
    let a = filter(c.pwr_filter_tc);
    b.f32("pwr_filter_a_neg", 1.0 - a);
    b.zero(4);
    b.f32("pwr_filter_a", a);
    b.zero(4);
    b.f32("pwr_integral_gain", c.pwr.integral);
    b.zero(4);
    b.f32("pwr_integral_min_clamp", 0.0);
    b.f32("max_power", k.max_power as f32);
    b.f32("pwr_proportional_gain", c.pwr.proportional);
    b.zero(4);
    b.f32(
        "pwr_pstate_related_k",
        -(k.max_ps as f32) / k.max_power as f32,
    );
    b.i32(
        "pwr_pstate_max_dc_offset",
        c.pwr_min_duty_cycle as i32 - k.max_ps as i32,
    );
    b.zero(4);
    b.u32("max_pstate_scaled_2", k.max_ps);
    b.zero(8);
    b.u32("max_power_2", k.max_power);
    b.zero(0x1c);
    if has13(abi) {
        b.zero(0x10);
    }
    b.u32("max_pstate_scaled_3", k.max_ps);
    b.zero(0x18);
}

fn ppm_loop(b: &mut Blob, c: &Calibration, abi: Abi, k: &Common) {
    let periods = c.ppm_filter_tc_ms / c.power_sample_period_ms;
    let a = filter(periods);
    b.u32("ppm_filter_tc_periods_x4", 4 * periods);
    b.zero(8);
    b.f32("ppm_filter_a_neg", 1.0 - a);
    b.zero(4);
    b.f32("ppm_filter_a", a);
    b.zero(4);
    b.f32("ppm_ki_dt", c.ppm.integral * k.period_s);
    b.zero(8);
    b.f32("unk_6fc", CLAMP);
    b.f32("ppm_kp", c.ppm.proportional);
    b.zero(8);
    b.u32("pwr_min_duty_cycle", c.pwr_min_duty_cycle);
    b.u32("max_pstate_scaled_4", k.max_ps);
    b.zero(0xc);
    b.u32("max_power_3", k.max_power);
    b.zero(4);
    b.u32("ppm_filter_tc_ms", c.ppm_filter_tc_ms);
    b.zero(4);
    if has13(abi) {
        let rounded_ms = periods * c.power_sample_period_ms;
        b.u32("ppm_filter_tc_clks", rounded_ms * c.base_clock_khz);
        b.zero(0xc);
    }
    b.zero(0x2c);
}

fn performance_loop(b: &mut Blob, c: &Calibration, abi: Abi, k: &Common) {
    let [a, a2] = c.perf_filter_tc.map(filter);
    b.u32("perf_tgt_utilization", c.perf_target_utilization);
    b.zero(4);
    b.u32("perf_boost_min_util", c.perf_boost_min_util);
    b.u32("perf_boost_ce_step", c.perf_boost_ce_step);
    b.u32("perf_reset_iters", c.perf_reset_iters);
    b.zero(4);
    b.u32("unk_774", 6);
    b.u32("unk_778", 1);
    b.u32("perf_filter_drop_threshold", 0);
    b.f32("perf_filter_a_neg", 1.0 - a);
    b.f32("perf_filter_a2_neg", 1.0 - a2);
    b.f32("perf_filter_a", a);
    b.f32("perf_filter_a2", a2);
    b.f32("perf_ki", c.perf[0].integral);
    b.f32("perf_ki2", c.perf[1].integral);
    b.f32("perf_integral_min_clamp", 0.0);
    b.f32("unk_79c", 95.0);
    b.f32("perf_kp", c.perf[0].proportional);
    b.f32("perf_kp2", c.perf[1].proportional);
    let boost_states = c.max_pstate().saturating_sub(c.perf_base_pstate);
    b.f32("boost_state_unk_k", boost_states as f32 / 0.95);
    b.u32("base_pstate_scaled_2", k.base_ps);
    b.u32("max_pstate_scaled_5", k.max_ps);
    b.u32("base_pstate_scaled_3", k.base_ps);
    b.zero(8);
    b.u32("perf_tgt_utilization_2", c.perf_target_utilization);
    b.zero(0x1c);
    if has13(abi) {
        b.zero(0x10);
    }
    b.u32("base_pstate_scaled_4", k.base_ps);
    b.zero(0x18);
    b.f32("unk_7fc", CLAMP);
    b.f32("pwr_min_duty_cycle_2", c.pwr_min_duty_cycle as f32);
    b.f32("max_pstate_scaled_6", k.max_ps as f32);
    b.u32("max_freq_mhz", c.max_freq_mhz());
    b.zero(0xc);
    b.u32("pwr_min_duty_cycle_3", c.pwr_min_duty_cycle);
    b.zero(8);
    b.f32("min_pstate_scaled_4", 100.0);
    b.u32("max_pstate_scaled_7", k.max_ps);
    b.zero(4);
    b.f32("unk_alpha_neg", 0.8);
    b.f32("unk_alpha", 0.2);
    b.zero(0x38);
}

fn temperature_loop(b: &mut Blob, c: &Calibration, abi: Abi, k: &Common) {
    b.u64("fast_die0_sensor_mask", c.fast_die_sensors);
    b.u32("fast_die0_release_temp_cc", 100 * c.fast_die_release_temp);
    b.i32("unk_87c", c.a_87c);
    b.u32("unk_880", 4);
    b.zero(0x10);
    b.f32("unk_894", 1.0);
    b.zero(4);
    b.f32("fast_die0_ki_dt", c.fast_die.integral * k.period_s);
    b.zero(8);
    b.f32("unk_8a8", CLAMP);
    b.f32("fast_die0_kp", c.fast_die.proportional);
    b.zero(8);
    b.u32("pwr_min_duty_cycle_4", c.pwr_min_duty_cycle);
    b.u32("max_pstate_scaled_8", k.max_ps);
    b.u32("max_pstate_scaled_9", k.max_ps);
    b.u32("fast_die0_prop_tgt_delta", 100 * c.fast_die_target_delta);
    b.zero(4);
    b.u32("unk_8cc", c.a_8cc);
    b.zero(0x14);
    if has13(abi) {
        b.zero(0x10);
    }
    b.zero(8);
    b.u32("max_pstate_scaled_10", k.max_ps);
    b.zero(0x34);
    // Coefficients for each core of each cluster, twice; G13G has none.
    b.zero(2 * 8 * 8 * 4);
    b.zero(0x70);
    b.u32("max_pstate_scaled_11", k.max_ps);
    b.zero(0x20);
    if has13(abi) {
        b.zero(0x208);
    }
    b.zero(0x74);
}

fn average_power_loop(b: &mut Blob, c: &Calibration, abi: Abi, k: &Common) {
    let period_ms = c.power_sample_period_ms;
    let a = filter(c.avg_power_target_filter_tc);
    b.u32("unk_c2c", 1);
    b.u32("power_zone_count", c.power_zones.len() as u32);
    b.u32("max_power_4", k.max_power);
    b.u32("max_power_5", k.max_power);
    b.u32("max_power_6", k.max_power);
    b.zero(8);
    b.f32("avg_power_target_filter_a_neg", 1.0 - a);
    b.f32("avg_power_target_filter_a", a);
    let tc = c.avg_power_target_filter_tc;
    b.u32("avg_power_target_filter_tc_x4", 4 * tc);
    b.u32("avg_power_target_filter_tc_xperiod", period_ms * tc);
    if has13(abi) {
        b.u32(
            "avg_power_target_filter_tc_clks",
            period_ms * tc * c.base_clock_khz,
        );
        b.zero(4);
    }

    b.mark("power_zones");
    let zone_size = if has13(abi) { 0x28 } else { 0x20 };
    for zone in c.power_zones {
        let a = filter(zone.filter_tc);
        b.zero(4);
        b.words([
            zone.target,
            zone.target - zone.target_offset,
            4 * zone.filter_tc,
            period_ms * zone.filter_tc,
        ]);
        if has13(abi) {
            b.words([1_320_000_000, 0]);
        }
        b.words([(1.0 - a).to_bits(), a.to_bits(), 0]);
    }
    b.zero((5 - c.power_zones.len()) * zone_size);

    let periods = c.avg_power_filter_tc_ms / period_ms;
    let a = filter(periods);
    b.u32("avg_power_filter_tc_periods_x4", 4 * periods);
    b.zero(8);
    b.f32("avg_power_filter_a_neg", 1.0 - a);
    b.zero(4);
    b.f32("avg_power_filter_a", a);
    b.zero(4);
    b.f32("avg_power_ki_dt", c.avg_power.integral * k.period_s);
    b.zero(8);
    b.f32("unk_d20", CLAMP);
    b.f32("avg_power_kp", c.avg_power.proportional);
    b.zero(8);
    b.u32("avg_power_min_duty_cycle", c.avg_power_min_duty_cycle);
    b.u32("max_pstate_scaled_12", k.max_ps);
    b.u32("max_pstate_scaled_13", k.max_ps);
    b.zero(4);
    b.f32("max_power_7", k.max_power as f32);
    b.u32("max_power_8", k.max_power);
    b.zero(4);
    b.u32("avg_power_filter_tc_ms", c.avg_power_filter_tc_ms);
    b.zero(4);
    if has13(abi) {
        b.u32(
            "avg_power_filter_tc_clks",
            periods * period_ms * c.base_clock_khz,
        );
        b.zero(0xc);
    }
    b.zero(0x10);
    b.u32("max_pstate_scaled_14", k.max_ps);
    b.zero(0x24);
    if has13(abi) {
        b.zero(0x44);
    } else {
        // The small chips' own part; later firmware reads none of it.
        b.words([0x8000_0000, 4, 0, 0]);
        b.words([0.6f32, 0.0, 0.4, 0.0, 0.38552].map(f32::to_bits));
        b.zero(8);
        b.words([CLAMP, 13.56].map(f32::to_bits));
        b.zero(0xc);
        b.u32("t81xx_max_pstate_scaled", k.max_ps);
    }
    b.zero(0x40);
}

/// The loop that came with macOS 13 (Apple's names begin with gpu-se).
fn engagement_loop(b: &mut Blob, c: &Calibration, k: &Common) {
    let period_ms = c.power_sample_period_ms;
    let [a, a1] = c.se_filter_tc.map(filter);
    let [tc, tc1] = c.se_filter_tc;
    b.zero(0x38);
    b.u32("se_38", 4);
    b.u32("se_3c", 8000);
    b.u32("gpu_se_inactive_threshold", c.se_inactive_threshold);
    b.zero(4);
    b.i32("gpu_se_engagement_criteria", c.se_engagement_criteria);
    b.u32("gpu_se_reset_criteria", c.se_reset_criteria);
    b.zero(4);
    b.u32("se_54", 50);
    b.u32("se_58", 1);
    b.zero(4);
    b.f32("gpu_se_filter_a_neg", 1.0 - a);
    b.f32("gpu_se_filter_1_a_neg", 1.0 - a1);
    b.f32("gpu_se_filter_a", a);
    b.f32("gpu_se_filter_1_a", a1);
    b.f32("gpu_se_ki_dt", c.se[0].integral * k.period_s);
    b.f32("gpu_se_ki_1_dt", c.se[1].integral * k.period_s);
    b.zero(4);
    b.f32("se_7c", CLAMP);
    b.f32("gpu_se_kp", c.se[0].proportional);
    b.f32("gpu_se_kp_1", c.se[1].proportional);
    b.zero(4);
    b.u32("se_8c", 100);
    b.u32("se_max_pstate_scaled_1", k.max_ps);
    b.zero(8);
    b.f32("se_9c", 8000.0);
    b.u32("se_a0", 1400);
    b.zero(4);
    b.u32("gpu_se_filter_time_constant_ms", tc * period_ms);
    b.u32("gpu_se_filter_time_constant_1_ms", tc1 * period_ms);
    let clocks = u64::from(period_ms * c.base_clock_khz);
    b.u64("gpu_se_filter_time_constant_clks", u64::from(tc) * clocks);
    b.u64(
        "gpu_se_filter_time_constant_1_clks",
        u64::from(tc1) * clocks,
    );
    b.zero(4);
    b.f32("se_c4", CLAMP);
    b.zero(0x4c);
    b.f32("se_114", CLAMP);
    b.zero(0xc);
    b.u32("se_124", 40);
    b.u32("se_max_pstate_scaled_2", k.max_ps);
    b.zero(0x8c);
}

fn rest(b: &mut Blob, c: &Calibration, abi: Abi) {
    b.zero(0xc);
    b.u64("fast_die0_sensor_mask_2", c.fast_die_sensors);
    b.u32("unk_e24", c.a_e24);
    b.u32("unk_e28", 1);
    b.zero(0x1c);
    // More coefficients for each core; G13G has none.
    b.zero(2 * 8 * 8 * 4);
    b.zero(0x5e4);
    b.u64("fast_die0_sensor_mask_alt", c.fast_die_sensors_alt);
    if !has13(abi) {
        b.u64("fast_die0_sensor_present", c.fast_die_sensors_present);
    }
    b.u32("unk_163c", 1);
    b.zero(0x2000);
    b.zero(8);
    shared::hws1(b, c);
    if has13(abi) {
        b.zero(0x20);
    }
    shared::hws2(b, c);
    b.zero(8);
    shared::hws3(b);
    b.zero(0x3c + 4 + 9 * 8);
    if has13(abi) {
        b.zero(4);
    }
    b.zero(8);
    b.u32("unk_3ce8", 1);
    b.zero(8);
    b.array("core_leak", 8, c.core_leak.iter().map(|v| v.to_bits()));
    b.array("sram_leak", 8, c.sram_leak.iter().map(|v| v.to_bits()));
    if has13(abi) {
        b.zero(0x20 + 0x18);
    }
    b.zero(0x38);
}
