// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Page tables of GPUs that are counted, not bound.
//!
//! [`iommu::pgtable`](crate::iommu::pgtable) has page tables that end with the binding of a device:
//! `IoPageTable<'a, _>` borrows a `&'a Device<Bound>`, because formats whose walks are not coherent
//! DMA-map each table page for that device, which must be undone while it is still bound.
//!
//! The tables of a GPU's address spaces belong to open files, and those outlive the binding. Where
//! the format's walks are coherent, that is no problem: `alloc_io_pgtable_ops()` stores the device
//! it is given and takes no reference, but such a format uses it for nothing except to ask on which
//! NUMA node to allocate. It needs the *memory* of the `struct device` and not the binding. So the
//! [`IoPageTable`] of this module holds an [`ARef<Device>`], which lasts for as long as the C
//! object has the pointer, and has no lifetime.
//!
//! What a counted table cannot promise is that the hardware is gone when the last owner drops it.
//! Whoever puts a table's root into a register has to take it out again before, see
//! [`IoPageTable::root`].
//!
//! C header: [`include/linux/io-pgtable.h`](srctree/include/linux/io-pgtable.h)

use crate::{
    alloc,
    bindings,
    device::{
        raw::RawDevice,
        Device, //
    },
    error::to_result,
    io::PhysAddr,
    prelude::*,
    sync::aref::ARef, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

pub mod uat;

pub use uat::AppleUat;

/// A page table format whose tables can be counted.
///
/// # Safety
///
/// The walks of the format must be coherent, and its code must not do more with
/// `io_pgtable_cfg.iommu_dev` than what is possible with a device that is not bound any more.
pub unsafe trait Format: 'static {
    /// The C side's name of the format.
    const FORMAT: bindings::io_pgtable_fmt;

    /// What to call for TLB invalidation.
    const FLUSH_OPS: &'static bindings::iommu_flush_ops;
}

/// A page table, with a reference to the device that uses it.
///
/// Changes take `&mut self`: the C side leaves it to its callers to let no two of them run at the
/// same time. An owner that shares a table puts it into a lock.
///
/// # Invariants
///
/// - `ops` points to the operations of a page table of the format `F`, which this object owns.
/// - `dev` is the device that this page table was made with.
pub struct IoPageTable<F: Format> {
    ops: NonNull<bindings::io_pgtable_ops>,
    dev: ARef<Device>,
    _format: PhantomData<F>,
}

// SAFETY: A page table is not tied to a thread.
unsafe impl<F: Format> Send for IoPageTable<F> {}

// SAFETY: What can be done with a `&IoPageTable` only reads.
unsafe impl<F: Format> Sync for IoPageTable<F> {}

impl<F: Format> IoPageTable<F> {
    /// Makes a page table.
    ///
    /// # Safety
    ///
    /// `cfg` must be valid for the format `F`, apart from `tlb` and `iommu_dev`.
    unsafe fn with_config(
        dev: &(impl RawDevice + ?Sized),
        mut cfg: bindings::io_pgtable_cfg,
    ) -> Result<Self> {
        // SAFETY: By the safety requirements of `RawDevice` this is a live `struct device`.
        let dev: ARef<Device> = unsafe { Device::get_device(dev.as_raw_device()) };

        cfg.coherent_walk = true;
        cfg.tlb = F::FLUSH_OPS;
        cfg.iommu_dev = dev.as_raw();

        // SAFETY: The configuration is valid by the safety requirements of this function. The
        // device that it names stays in memory for as long as the page table, as `Self` holds a
        // reference. The flush operations do not use the cookie.
        let ops = unsafe {
            bindings::alloc_io_pgtable_ops(F::FORMAT, &raw mut cfg, core::ptr::null_mut())
        };

        // INVARIANT: We have just made the page table, with `dev`.
        Ok(Self {
            ops: NonNull::new(ops).ok_or(ENOMEM)?,
            dev,
            _format: PhantomData,
        })
    }

    /// Returns the configuration, with what the format's code has added to it.
    fn cfg(&self) -> &bindings::io_pgtable_cfg {
        // SAFETY: By the type invariants, `ops` is the field of a live `struct io_pgtable`. Its
        // configuration does not change after it was made.
        unsafe {
            let table = crate::container_of!(self.ops.as_ptr(), bindings::io_pgtable, ops);
            &(*table).cfg
        }
    }

    /// Returns the device that uses this page table.
    pub fn device(&self) -> &Device {
        &self.dev
    }

    /// Maps `count` pages of `page_size`, and returns how many bytes are mapped afterwards.
    ///
    /// # Safety
    ///
    /// As for [`IoPageTable::<AppleUat>::map`].
    unsafe fn map_pages(
        &mut self,
        iova: usize,
        paddr: PhysAddr,
        page_size: usize,
        count: usize,
        prot: i32,
        flags: alloc::Flags,
    ) -> (usize, Result) {
        let mut mapped = 0;

        // SAFETY: By the type invariants, `ops` is valid. No format leaves `map_pages` out. We
        // have `&mut self`, so that nothing else uses the table. The caller vouches for the memory.
        let ret = unsafe {
            let map_pages = (*self.ops.as_ptr()).map_pages.unwrap_unchecked();
            map_pages(
                self.ops.as_ptr(),
                iova,
                paddr,
                page_size,
                count,
                prot,
                flags.as_raw(),
                &raw mut mapped,
            )
        };

        (mapped, to_result(ret))
    }

    /// Unmaps `count` pages of `page_size`, and returns how many bytes that were.
    fn unmap_pages(&mut self, iova: usize, page_size: usize, count: usize) -> usize {
        // SAFETY: By the type invariants, `ops` is valid. No format leaves `unmap_pages` out. We
        // have `&mut self`, so that nothing else uses the table.
        unsafe {
            let unmap_pages = (*self.ops.as_ptr()).unmap_pages.unwrap_unchecked();
            unmap_pages(
                self.ops.as_ptr(),
                iova,
                page_size,
                count,
                core::ptr::null_mut(),
            )
        }
    }

    /// Returns the physical address that `iova` is translated to, if it is mapped.
    ///
    /// A mapping of the physical address zero is taken for none, as everywhere in io-pgtable.
    pub fn iova_to_phys(&self, iova: u64) -> Option<PhysAddr> {
        let iova = usize::try_from(iova).ok()?;

        // SAFETY: By the type invariants, `ops` is valid. No format leaves `iova_to_phys` out.
        // Nothing changes the table, as that takes a `&mut self`.
        let paddr = unsafe {
            let iova_to_phys = (*self.ops.as_ptr()).iova_to_phys.unwrap_unchecked();
            iova_to_phys(self.ops.as_ptr(), iova)
        };

        (paddr != 0).then_some(paddr)
    }
}

impl<F: Format> Drop for IoPageTable<F> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants we own the page table. That no hardware uses it any more
        // is what the user of the root has promised. The device is put only after this.
        unsafe { bindings::free_io_pgtable_ops(self.ops.as_ptr()) };
    }
}
