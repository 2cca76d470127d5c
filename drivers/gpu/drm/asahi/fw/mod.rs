// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The firmware's interface: the layouts of what is shared with it, and what differs between its
//! versions.
//!
//! Sources: AsahiLinux/m1n1 `proxyclient/m1n1/fw/agx` and `rust/src/gpu/raw.rs`, and the
//! out-of-tree driver of AsahiLinux/linux, `drivers/gpu/drm/asahi/fw`.

use crate::hw::Generation;

pub(crate) mod abi;
pub(crate) mod buffer;
pub(crate) mod channels;
pub(crate) mod compute;
pub(crate) mod fragment;
pub(crate) mod initdata;
pub(crate) mod job;
pub(crate) mod microseq;
pub(crate) mod types;
pub(crate) mod vertex;
pub(crate) mod workqueue;

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
mod tests;
