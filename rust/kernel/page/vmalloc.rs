// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Pages that are contiguous for the kernel and shared with somebody else.

use super::PAGE_SIZE;
use crate::{
    alloc::{
        allocator::Vmalloc,
        Allocator,
        Flags,
        NumaNode, //
    },
    io::{
        IoBase,
        PhysAddr,
        Region,
        SysMem,
        SysMemBackend, //
    },
    prelude::*, //
};
use core::{
    alloc::Layout,
    ptr::NonNull, //
};

/// Memory for use by a device that has page tables.
///
/// It is contiguous in the kernel's address space, and made of pages whose physical addresses have
/// nothing to do with each other. It starts out zeroed.
///
/// As with all memory that somebody else writes to there are no references to it:
/// [`Io`](crate::io::Io) has methods for volatile access that check bounds and alignment, and
/// [`VmallocPages::as_ptr`] is there for everything else.
///
/// # Invariants
///
/// `ptr` is a [`Vmalloc`] allocation with the layout `layout`, whose size is a multiple of
/// [`PAGE_SIZE`] and which is aligned to [`PAGE_SIZE`].
///
/// # Examples
///
/// ```
/// use kernel::{
///     io::Io,
///     page::{
///         vmalloc::VmallocPages,
///         PAGE_SIZE, //
///     }, //
/// };
///
/// let pages = VmallocPages::new(PAGE_SIZE + 1, GFP_KERNEL)?;
/// assert_eq!(pages.count(), 2);
/// assert!(pages.phys(0).is_some_and(|phys| phys % PAGE_SIZE as u64 == 0));
/// assert_ne!(pages.phys(0), pages.phys(1));
/// assert_eq!(pages.phys(2), None);
///
/// assert_eq!(pages.try_read32(PAGE_SIZE)?, 0);
/// pages.try_write32(42, PAGE_SIZE)?;
/// assert_eq!(pages.try_read32(PAGE_SIZE)?, 42);
/// assert!(pages.try_read32(2 * PAGE_SIZE).is_err());
/// # Ok::<(), Error>(())
/// ```
pub struct VmallocPages {
    ptr: NonNull<u8>,
    layout: Layout,
}

// SAFETY: An allocation can be used on every CPU.
unsafe impl Send for VmallocPages {}

// SAFETY: All access is volatile or through raw pointers.
unsafe impl Sync for VmallocPages {}

impl VmallocPages {
    /// Allocates at least `size` bytes.
    pub fn new(size: usize, flags: Flags) -> Result<Self> {
        let size = super::page_align(size).ok_or(EINVAL)?;
        if size == 0 {
            return Err(EINVAL);
        }

        let layout = Layout::from_size_align(size, PAGE_SIZE).map_err(|_| EINVAL)?;
        let ptr = Vmalloc::alloc(layout, flags | __GFP_ZERO, NumaNode::NO_NODE)?;

        // INVARIANT: We have just allocated it so.
        Ok(Self {
            ptr: ptr.cast(),
            layout,
        })
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> usize {
        self.layout.size()
    }

    /// Returns the number of pages.
    pub fn count(&self) -> usize {
        self.size() / PAGE_SIZE
    }

    /// Returns the address in the kernel, valid for as long as `self` lives.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.ptr
    }

    /// Returns the physical address of a page.
    pub fn phys(&self, index: usize) -> Option<PhysAddr> {
        if index >= self.count() {
            return None;
        }

        // SAFETY: By the type invariants and the check above, this is in the allocation, which
        // lives longer than the borrowed page.
        let page = unsafe { Vmalloc::to_page(self.ptr.add(index * PAGE_SIZE)) };

        Some(page.phys())
    }
}

impl Drop for VmallocPages {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this is our allocation, and its layout.
        unsafe { Vmalloc::free(self.ptr, self.layout) };
    }
}

impl<'a> IoBase<'a> for &'a VmallocPages {
    type Backend = SysMemBackend;
    type Target = Region;

    #[inline]
    fn as_view(self) -> SysMem<'a, Self::Target> {
        // SAFETY: By the type invariants, the memory is valid and aligned for as long as `self` is
        // borrowed.
        unsafe {
            SysMem::new(Region::ptr_from_raw_parts_mut(
                self.ptr.as_ptr(),
                self.size(),
            ))
        }
    }
}
