// SPDX-License-Identifier: MIT OR Apache-2.0

//! One page that jobs can read.

use std::cell::UnsafeCell;
use std::ptr::NonNull;

use vagx_gpu::{Access, GpuMemory, PAGE_SIZE, Unmapped};

/// Where the page is.
pub const BASE: u64 = 0x20_0000_0000;
pub const WORDS: usize = PAGE_SIZE as usize / 4;

#[repr(align(16))]
pub struct Memory(UnsafeCell<[u32; WORDS]>);

impl Memory {
    pub fn new(page: [u32; WORDS]) -> Self {
        Memory(UnsafeCell::new(page))
    }
}

// SAFETY: Nothing writes the page, and jobs read it by atomics.
unsafe impl Send for Memory {}
// SAFETY: As above.
unsafe impl Sync for Memory {}

// SAFETY: The page lives as long as the memory and is not touched otherwise while a job runs.
unsafe impl GpuMemory for Memory {
    fn page(&self, va: u64, access: Access) -> Result<NonNull<u8>, Unmapped> {
        if va / PAGE_SIZE != BASE / PAGE_SIZE || access == Access::Write {
            return Err(Unmapped);
        }
        NonNull::new(self.0.get().cast()).ok_or(Unmapped)
    }
}
