// SPDX-License-Identifier: MIT OR Apache-2.0

//! The bootloader's part of a virtual AGX.
//!
//! On an Apple machine iBoot and m1n1 have done four things before a kernel's GPU driver looks:
//! they set memory aside and named it in the device tree, they left the root of the coprocessor's
//! page tables in it, they left the rest of it zeroed, and m1n1 filled three blobs with what the
//! firmware must know about this chip. This crate does the same for a guest of QEMU:
//!
//! - [`boot_dtb`] adds the memory regions to the device tree that QEMU dumps for its `virt` machine,
//!   and [`Layout::from_dtb`] finds them again in the result;
//! - [`boot_image`] and [`load`] say what those regions contain when the kernel starts;
//! - [`FirmwareHalf`] describes the page-table entries that belong to the firmware, so that
//!   whoever plays the firmware can tell when a driver has overwritten them.
//!
//! Chips and firmware ABIs are rows of the table in [`machine`]. Facts come from m1n1
//! (`src/kboot_gpu.c`, `rust/src/gpu/`), from AsahiLinux/docs and from the device-tree sources.

mod blob;
mod dtb;
mod error;
mod image;
pub mod machine;

pub use blob::{Blob, Field, blobs};
pub use dtb::{Layout, RAM_LIMIT, Region, boot_dtb};
pub use error::Error;
pub use image::{FirmwareHalf, Segment, boot_image, load};
pub use machine::{Abi, Chip, Machine};

/// The page size of the GPU's MMU, and of every kernel that can drive it.
pub const PAGE: u64 = 0x4000;
