// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The system counter of ARM's architected timer.
//!
//! Coprocessors of the same chip count with it too, so that it gives time stamps that can be
//! compared with theirs. For everything else there are the clocks of the [parent module](super).
//!
//! C header: [`include/clocksource/arm_arch_timer.h`](srctree/include/clocksource/arm_arch_timer.h)

use crate::bindings;

/// Returns how far the counter has counted.
pub fn read() -> u64 {
    // SAFETY: The variable is set early at boot and not changed after that.
    match unsafe { bindings::arch_timer_read_counter } {
        // SAFETY: The function can be called anywhere.
        Some(read_counter) => unsafe { read_counter() },
        None => 0,
    }
}

/// Returns how often the counter counts in a second.
pub fn rate() -> u32 {
    // SAFETY: The function only returns what was found out at boot.
    unsafe { bindings::arch_timer_get_rate() }
}
