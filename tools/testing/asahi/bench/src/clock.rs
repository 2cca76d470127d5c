// SPDX-License-Identifier: MIT OR Apache-2.0

//! The CPU's counter, which the GPU's timestamps are compared with.

use std::arch::asm;

/// Nanoseconds by the counter.
pub fn now() -> u64 {
    let (count, frequency): (u64, u64);
    // SAFETY: Linux lets user space read both registers; nothing else is touched. The barrier keeps
    // the counter from being read early.
    unsafe {
        asm!(
            "isb",
            "mrs {count}, cntvct_el0",
            "mrs {frequency}, cntfrq_el0",
            count = out(reg) count,
            frequency = out(reg) frequency,
            options(nostack, nomem),
        );
    }
    scaled(count, frequency)
}

/// Nanoseconds of a number of ticks.
pub fn scaled(count: u64, frequency: u64) -> u64 {
    (u128::from(count) * 1_000_000_000 / u128::from(frequency.max(1))) as u64
}
