// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Memory that the device tree sets aside for a device.
//!
//! C header: [`include/linux/of_reserved_mem.h`](srctree/include/linux/of_reserved_mem.h)

use crate::{
    bindings,
    device::raw::RawDevice,
    error::to_result,
    io::{
        memremap::{
            Mem,
            MemType, //
        },
        PhysAddr, //
    },
    prelude::*, //
};

/// A region of memory that was set aside at boot.
///
/// This only says where the region is. It needs no owner, as reserved memory never goes away: the
/// kernel takes note of it before it sets up its own memory, and does not give it back.
///
/// # Invariants
///
/// The region was reserved for a device whose driver has asked for it.
#[derive(Clone, Copy, Debug)]
pub struct ReservedRegion {
    start: PhysAddr,
    size: usize,
}

impl ReservedRegion {
    /// Finds the region called `name` in `memory-region-names` of a device's node.
    ///
    /// Fails with [`ENODEV`] if the region is disabled, and with [`EINVAL`] or [`ENODATA`] if there
    /// is no such name.
    pub fn by_name(dev: &(impl RawDevice + ?Sized), name: &CStr) -> Result<Self> {
        let mut res = bindings::resource::default();

        // SAFETY: By the safety requirements of `RawDevice`, the pointer is valid, thus the node is
        // either NULL, which is allowed, or referenced by the device.
        to_result(unsafe {
            bindings::of_reserved_mem_region_to_resource_byname(
                (*dev.as_raw_device()).of_node,
                name.as_char_ptr(),
                &raw mut res,
            )
        })?;

        Self::from_resource(res)
    }

    /// Finds the region number `index` in `memory-region` of a device's node.
    pub fn by_index(dev: &(impl RawDevice + ?Sized), index: u32) -> Result<Self> {
        let mut res = bindings::resource::default();

        // SAFETY: As in `by_name()`.
        to_result(unsafe {
            bindings::of_reserved_mem_region_to_resource(
                (*dev.as_raw_device()).of_node,
                index,
                &raw mut res,
            )
        })?;

        Self::from_resource(res)
    }

    fn from_resource(mut res: bindings::resource) -> Result<Self> {
        // SAFETY: This is a valid resource.
        let size = unsafe { bindings::resource_size(&raw mut res) };

        // INVARIANT: It was found by its reference from a device's node.
        Ok(Self {
            start: res.start,
            size: usize::try_from(size)?,
        })
    }

    /// Returns the physical address of the region.
    pub fn start(&self) -> PhysAddr {
        self.start
    }

    /// Returns the size of the region in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Maps the region.
    pub fn map(&self, ty: MemType) -> Result<Mem> {
        // SAFETY: By the type invariants, the region was reserved for the device, so that nobody
        // else in the kernel uses it, and reserved memory never goes away.
        unsafe { Mem::new(self.start, self.size, ty) }
    }
}
