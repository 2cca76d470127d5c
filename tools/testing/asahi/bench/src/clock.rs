// SPDX-License-Identifier: MIT OR Apache-2.0

//! The CPU's counter, which the GPU's timestamps are compared with.

/// Nanoseconds by the counter.
#[cfg(target_arch = "aarch64")]
pub fn now() -> u64 {
    let (count, frequency): (u64, u64);
    // SAFETY: Linux lets user space read both registers; nothing else is touched. The barrier keeps
    // the counter from being read early.
    unsafe {
        std::arch::asm!(
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

/// For the compiler's and the linter's sake: there is no such GPU on another architecture.
#[cfg(not(target_arch = "aarch64"))]
pub fn now() -> u64 {
    unimplemented!("measurements are of an arm64 guest")
}

/// Nanoseconds of a number of ticks.
pub fn scaled(count: u64, frequency: u64) -> u64 {
    (u128::from(count) * 1_000_000_000 / u128::from(frequency.max(1))) as u64
}
