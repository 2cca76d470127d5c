// SPDX-License-Identifier: MIT OR Apache-2.0

//! A job's memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use vagx_gpu::{Access, GpuMemory, PAGE_SIZE, Unmapped};

/// Words of 64 bits in a page.
pub(crate) const WORDS: usize = PAGE_SIZE as usize / 8;

/// Some mapped pages.
#[derive(Default)]
pub struct Image {
    pages: BTreeMap<u64, (Box<[AtomicU64]>, bool)>,
    reached: Mutex<BTreeSet<u64>>,
}

impl Image {
    /// Maps a page of these words; shorter ones are followed by zeroes.
    pub fn map(&mut self, va: u64, words: &[u64], writable: bool) {
        let page = (0..WORDS)
            .map(|i| AtomicU64::new(words.get(i).copied().unwrap_or(0)))
            .collect();
        self.pages.insert(va / PAGE_SIZE, (page, writable));
    }

    /// Addresses of the pages that a job has reached.
    pub(crate) fn reached(&self) -> BTreeSet<u64> {
        self.reached
            .lock()
            .map(|reached| reached.clone())
            .unwrap_or_default()
    }

    /// The page of this number among the mapped ones.
    pub(crate) fn page_mut(&mut self, number: usize) -> Option<&mut [AtomicU64]> {
        let count = self.pages.len().max(1);
        let page = self.pages.values_mut().nth(number % count);
        page.map(|(page, _)| &mut **page)
    }
}

// SAFETY: Pages are neither moved nor freed while the image is borrowed, have `PAGE_SIZE` bytes and the alignment of
// their words, and are reached through atomics only.
unsafe impl GpuMemory for Image {
    fn page(&self, va: u64, access: Access) -> Result<NonNull<u8>, Unmapped> {
        let (page, writable) = self.pages.get(&(va / PAGE_SIZE)).ok_or(Unmapped)?;
        if access == Access::Write && !writable {
            return Err(Unmapped);
        }
        if let Ok(mut reached) = self.reached.lock() {
            reached.insert(va & !(PAGE_SIZE - 1));
        }
        Ok(NonNull::from(&**page).cast())
    }
}
