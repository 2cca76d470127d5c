// SPDX-License-Identifier: MIT OR Apache-2.0

//! What programs that use the asahi driver over its raw ioctls are written with.

pub mod device;
pub mod gpu;

pub use asahi_uapi as uapi;
