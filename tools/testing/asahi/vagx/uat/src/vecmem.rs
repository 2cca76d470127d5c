// SPDX-License-Identifier: MIT OR Apache-2.0

//! RAM of our own, for tests and for the replay of captured jobs.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use crate::{PAGE_SIZE, PhysMem, Run};

/// Zeroed RAM at a physical base address.
#[derive(Debug)]
pub struct VecMem {
    base: u64,
    ptr: NonNull<u8>,
    layout: Layout,
}

impl VecMem {
    /// RAM of `len` bytes, rounded up to pages, at `base`, which must be page-aligned.
    pub fn new(base: u64, len: usize) -> Self {
        assert!(base.is_multiple_of(PAGE_SIZE) && len > 0);
        let len = len.next_multiple_of(PAGE_SIZE as usize);
        let layout = Layout::from_size_align(len, PAGE_SIZE as usize).expect("size of a test RAM");
        // SAFETY: The layout's size is not zero.
        let ptr = unsafe { alloc_zeroed(layout) };
        match NonNull::new(ptr) {
            Some(ptr) => Self { base, ptr, layout },
            None => handle_alloc_error(layout),
        }
    }

    /// First physical address.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Size in bytes.
    pub fn size(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for VecMem {
    fn drop(&mut self) {
        // SAFETY: Allocated in `new` with this layout.
        unsafe { dealloc(self.ptr.as_ptr(), self.layout) };
    }
}

// SAFETY: The memory is owned and only reached by the copies and atomics of `PhysMem`.
unsafe impl Send for VecMem {}
// SAFETY: As above.
unsafe impl Sync for VecMem {}

// SAFETY: The allocation lives as long as `self`, is aligned to a page and every address has one
// place in it.
unsafe impl PhysMem for VecMem {
    fn run(&self, pa: u64) -> Option<Run> {
        let off = usize::try_from(pa.checked_sub(self.base)?).ok()?;
        let len = self.size().checked_sub(off).filter(|&l| l > 0)?;
        // SAFETY: `off` is inside the allocation.
        let ptr = unsafe { self.ptr.add(off) };
        Some(Run { ptr, len })
    }
}
