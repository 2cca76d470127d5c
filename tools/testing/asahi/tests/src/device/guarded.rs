// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory that ends where it says.

use anyhow::{Result, ensure};

use super::PAGE;

/// How much there is behind it that nobody can touch.
const GUARD: usize = 64 * PAGE as usize;

/// Memory of the process's, of less than a page, that the kernel faults on behind its last byte.
pub struct Guarded {
    start: *mut libc::c_void,
    len: usize,
}

impl Guarded {
    /// Makes it with this content and these permissions.
    pub fn new(content: &[u8], prot: i32) -> Result<Self> {
        let page = PAGE as usize;
        ensure!(content.len() <= page);
        // SAFETY: A new mapping. The content goes to the end of its first page, and nobody else knows
        // of it.
        unsafe {
            let start = libc::mmap(
                std::ptr::null_mut(),
                page + GUARD,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            ensure!(start != libc::MAP_FAILED, "mmap");
            libc::mprotect(start, page, libc::PROT_READ | libc::PROT_WRITE);
            let at = start.cast::<u8>().add(page - content.len());
            std::ptr::copy_nonoverlapping(content.as_ptr(), at, content.len());
            libc::mprotect(start, page, prot);
            Ok(Self {
                start,
                len: content.len(),
            })
        }
    }

    /// What is there now.
    pub fn content(&self) -> Vec<u8> {
        (0..self.len)
            // SAFETY: It lies in the mapping, which can be read if it was made so.
            .map(|at| unsafe { (self.address() as *const u8).add(at).read_volatile() })
            .collect()
    }

    /// Where the content is.
    pub fn address(&self) -> u64 {
        self.start as u64 + PAGE - self.len as u64
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: The mapping is ours, and nothing refers to it any more.
        unsafe { libc::munmap(self.start, PAGE as usize + GUARD) };
    }
}
