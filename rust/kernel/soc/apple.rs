// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What is particular to Apple's chips.

#[cfg(CONFIG_APPLE_RTKIT = "y")]
pub mod rtkit;
