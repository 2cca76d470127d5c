// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Allocation of ranges of addresses.

use core::ops::Range;

use kernel::{
    maple_tree::{
        AllocErrorKind,
        MapleTreeAlloc, //
    },
    prelude::*,
    sync::Arc, //
};

use super::{
    PAGE_MASK,
    PAGE_SIZE, //
};

/// A part of an address space from which ranges are handed out.
///
/// There is an unused page behind each range, so that running over its end is a fault.
#[pin_data]
pub(crate) struct VaSpace {
    range: Range<u64>,
    #[pin]
    tree: MapleTreeAlloc<()>,
}

// SAFETY: The tree has a lock of its own, and its entries are not tied to a thread.
unsafe impl Send for VaSpace {}
// SAFETY: As above.
unsafe impl Sync for VaSpace {}

/// A range, which is given back when this is dropped.
pub(crate) struct VaRange {
    space: Arc<VaSpace>,
    start: u64,
    size: u64,
}

impl VaSpace {
    /// Hands out what is in `range`.
    pub(crate) fn new(range: Range<u64>) -> Result<Arc<Self>> {
        if (range.start | range.end) & PAGE_MASK != 0 || range.start >= range.end {
            return Err(EINVAL);
        }
        Arc::pin_init(
            pin_init!(Self {
                range,
                tree <- MapleTreeAlloc::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Takes a range of at least `size` bytes.
    pub(crate) fn alloc(self: &Arc<Self>, size: usize) -> Result<VaRange> {
        let size = size
            .checked_next_multiple_of(PAGE_SIZE)
            .filter(|size| *size != 0)
            .ok_or(EINVAL)?;
        let pages = size / PAGE_SIZE + 1;
        let start = (self.range.start / PAGE_SIZE as u64) as usize;
        let end = (self.range.end / PAGE_SIZE as u64) as usize;

        let first = self
            .tree
            .alloc_range(pages, (), start..end, GFP_KERNEL)
            .map_err(|e| match e.cause {
                AllocErrorKind::Busy => ENOSPC,
                AllocErrorKind::AllocError(_) => ENOMEM,
                AllocErrorKind::InvalidRequest => EINVAL,
            })?;

        Ok(VaRange {
            space: self.clone(),
            start: first as u64 * PAGE_SIZE as u64,
            size: size as u64,
        })
    }
}

impl VaRange {
    /// The first address.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.size as usize
    }
}

impl Drop for VaRange {
    fn drop(&mut self) {
        self.space
            .tree
            .erase((self.start / PAGE_SIZE as u64) as usize);
    }
}
