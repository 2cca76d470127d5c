// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Memory that is neither a device's registers nor the kernel's own.
//!
//! Firmware and bootloaders leave things behind in RAM that the kernel was told to keep out of, and
//! coprocessors keep looking there. `ioremap()` is the wrong way to get at such memory, as it is
//! memory: it can be cached, and takes accesses of any size and alignment.
//!
//! C header: [`include/linux/io.h`](srctree/include/linux/io.h)

use super::{
    IoBase,
    PhysAddr,
    Region,
    SysMem,
    SysMemBackend, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::ptr::NonNull;

/// How memory is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemType {
    /// As the kernel's own memory. For memory that is coherent.
    WriteBack,
    /// Write combining, thus not cached.
    WriteCombine,
}

impl MemType {
    fn as_raw(self) -> usize {
        let flag = match self {
            Self::WriteBack => bindings::MEMREMAP_WB,
            Self::WriteCombine => bindings::MEMREMAP_WC,
        };

        flag as usize
    }
}

/// A mapping of physical memory.
///
/// # Lifetime
///
/// It owns the mapping, and nothing else. That the memory is there, and is what it is taken for, is
/// promised to [`Mem::new`] for the rest of the kernel's life. Therefore there is neither a
/// lifetime nor a reference to a device here: a mapping may outlive the binding of the device for
/// whose sake it was made.
///
/// # Access
///
/// Whoever else uses the memory does not follow Rust's rules, so that there are no references to
/// it. [`Io`](super::Io) has methods for volatile access that check bounds and alignment, and
/// [`Mem::as_ptr`] is there for atomics.
///
/// # Invariants
///
/// `ptr` is valid for reads and writes of `size` bytes and, as is `size`, a multiple of 4.
pub struct Mem {
    ptr: NonNull<u8>,
    start: PhysAddr,
    size: usize,
}

// SAFETY: A mapping can be used on every CPU.
unsafe impl Send for Mem {}

// SAFETY: All access is volatile or through raw pointers.
unsafe impl Sync for Mem {}

impl Mem {
    /// Maps memory.
    ///
    /// `start` and `size` must be a multiple of 4.
    ///
    /// # Safety
    ///
    /// Nothing in the range may belong to the kernel or to anybody who has not agreed to share it,
    /// from now on and for ever.
    pub unsafe fn new(start: PhysAddr, size: usize, ty: MemType) -> Result<Self> {
        if size == 0 || !size.is_multiple_of(4) || start % 4 != 0 {
            return Err(EINVAL);
        }

        // SAFETY: The range is not empty. It may be mapped by the safety requirements of this
        // function.
        let ptr = unsafe { bindings::memremap(start, size, ty.as_raw()) };

        // INVARIANT: `memremap()` maps whole pages and keeps the offset within them.
        Ok(Self {
            ptr: NonNull::new(ptr.cast()).ok_or(ENOMEM)?,
            start,
            size,
        })
    }

    /// Returns the physical address of the memory.
    pub fn phys(&self) -> PhysAddr {
        self.start
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the address in the kernel, valid for as long as `self` lives.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.ptr
    }

    /// Copies from `offset` on to `dst`, which must fit.
    pub fn copy_out(&self, offset: usize, dst: &mut [u8]) -> Result {
        let end = offset.checked_add(dst.len()).ok_or(EINVAL)?;
        if end > self.size {
            return Err(EINVAL);
        }

        // SAFETY: By the type invariants and the check above, the source is valid for reads of
        // `dst.len()` bytes. The destination is a reference, which nothing overlaps. `memcpy()` of
        // the C side may race with other writers.
        unsafe {
            bindings::memcpy(
                dst.as_mut_ptr().cast(),
                self.ptr.as_ptr().add(offset).cast(),
                dst.len(),
            )
        };

        Ok(())
    }
}

impl Drop for Mem {
    fn drop(&mut self) {
        // SAFETY: This is what `memremap()` has returned. Nothing that borrows from us is left.
        unsafe { bindings::memunmap(self.ptr.as_ptr().cast()) };
    }
}

impl<'a> IoBase<'a> for &'a Mem {
    type Backend = SysMemBackend;
    type Target = Region;

    #[inline]
    fn as_view(self) -> SysMem<'a, Self::Target> {
        // SAFETY: By the type invariants, the memory is valid and aligned for as long as `self` is
        // borrowed.
        unsafe { SysMem::new(Region::ptr_from_raw_parts_mut(self.ptr.as_ptr(), self.size)) }
    }
}
