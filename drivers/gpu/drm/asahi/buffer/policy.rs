// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! How large a tiler's heap should be.
//!
//! A heap that is too small costs time: the hardware stops tiling, draws what there is, and goes
//! on. So a heap grows when less than half of it was left, to three times what was used, as macOS
//! does it. It shrinks when it has been larger than four times what was used for a while.
//!
//! Sources of the numbers: the out-of-tree driver of AsahiLinux/linux,
//! drivers/gpu/drm/asahi/buffer.rs; those of shrinking and of the reserve are this driver's own.

/// Bytes of a page of the heap.
pub(super) const PAGE_SIZE: usize = 32 << 10;
/// Pages of a block.
pub(super) const PAGES_PER_BLOCK: u32 = 4;
/// Bytes of a block.
pub(super) const BLOCK_SIZE: usize = PAGES_PER_BLOCK as usize * PAGE_SIZE;

/// The most bytes of a heap: macOS's most common value.
const MAX_SIZE: usize = 862_322_688;
/// The most blocks of a heap.
pub(super) const MAX_BLOCKS: u32 = (MAX_SIZE / BLOCK_SIZE) as u32;
/// The most blocks of a heap in which no render targets live, which is all that there are.
pub(super) const MAX_BLOCKS_NOMEMLESS: u32 = (MAX_SIZE / 3 / BLOCK_SIZE) as u32;

/// Blocks of a new heap.
pub(super) const INITIAL_BLOCKS: u32 = 8;

/// Blocks by which a heap can grow before the next submission.
pub(super) const RESERVE_BLOCKS: u32 = 8;

/// For how many renders a heap must have been too large to be replaced.
const PATIENCE: u32 = 64;

/// Follows a heap's use.
#[derive(Default)]
pub(super) struct Policy {
    /// The most pages that were in use since the heap was last found large enough for them only.
    peak: u32,
    /// For how many renders the heap has been too large.
    too_large: u32,
    /// What a new heap should have.
    start: u32,
}

impl Policy {
    /// Returns how many blocks a new heap should have, for a render that needs `min` blocks.
    pub(super) fn start(&self, min: u32) -> u32 {
        self.start.max(INITIAL_BLOCKS).max(min)
    }

    /// Notes that the heap goes away because nobody renders.
    pub(super) fn rest(&mut self) {
        self.start = self.enough();
        self.restart();
    }

    /// Notes that there is a new heap.
    pub(super) fn restart(&mut self) {
        self.peak = 0;
        self.too_large = 0;
    }

    /// Returns three times the number of blocks that were in use.
    fn enough(&self) -> u32 {
        let pages = 3 * u64::from(self.peak);
        // CAST: It is no more than the limit.
        pages
            .div_ceil(PAGES_PER_BLOCK.into())
            .min(MAX_BLOCKS_NOMEMLESS.into()) as u32
    }

    /// Returns how many blocks a heap of `blocks` should have, after `pages` were in use and for a
    /// render that needs `min` blocks.
    pub(super) fn grow(&mut self, blocks: u32, pages: u32, min: u32) -> u32 {
        let scaled = |factor: u64| -> u32 {
            let pages = factor * u64::from(pages);
            // CAST: It is no more than the limit.
            pages
                .div_ceil(PAGES_PER_BLOCK.into())
                .min(MAX_BLOCKS_NOMEMLESS.into()) as u32
        };

        self.peak = self.peak.max(pages);
        let wanted = if scaled(2) > blocks {
            scaled(3)
        } else {
            blocks
        };
        wanted.max(min)
    }

    /// Returns how many blocks a heap of `blocks` should have instead, if it should be replaced,
    /// for a render that needs `min` blocks.
    pub(super) fn shrink(&mut self, blocks: u32, min: u32) -> Option<u32> {
        let used = self.enough();
        let enough = used.max(INITIAL_BLOCKS).max(min);

        if blocks <= used.saturating_add(used / 3) || blocks < 2 * enough {
            self.restart();
            return None;
        }
        self.too_large = self.too_large.saturating_add(1);
        (self.too_large >= PATIENCE).then_some(enough)
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(asahi_buffer_policy)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        assert_eq!((MAX_BLOCKS, MAX_BLOCKS_NOMEMLESS), (6579, 2193));
        // The values that m1n1 has for the firmware's limits in pages.
        assert_eq!(MAX_BLOCKS * PAGES_PER_BLOCK, 0x66cc);
        assert_eq!(MAX_BLOCKS_NOMEMLESS * PAGES_PER_BLOCK, 0x2244);
    }

    #[test]
    fn growing() {
        let mut policy = Policy::default();
        assert_eq!(policy.grow(8, 0, 8), 8);
        assert_eq!(policy.grow(8, 16, 8), 8);
        assert_eq!(policy.grow(8, 17, 8), 13);
        assert_eq!(policy.grow(8, 0, 24), 24);
        assert_eq!(policy.grow(24, 0, 8), 24);
        assert_eq!(policy.grow(8, u32::MAX, 8), MAX_BLOCKS_NOMEMLESS);
        assert_eq!(
            policy.grow(MAX_BLOCKS_NOMEMLESS, u32::MAX, 8),
            MAX_BLOCKS_NOMEMLESS
        );
    }

    #[test]
    fn shrinking() {
        let mut policy = Policy::default();
        for _ in 1..PATIENCE {
            policy.grow(100, 8, 8);
            assert_eq!(policy.shrink(100, 8), None);
        }
        assert_eq!(policy.shrink(100, 8), Some(8));
        // It is in use, perhaps, so that it cannot be replaced yet.
        assert_eq!(policy.shrink(100, 8), Some(8));
        policy.grow(100, 200, 8);
        assert_eq!(policy.shrink(100, 8), None);
    }

    #[test]
    fn a_new_heap_is_as_large_as_was_needed() {
        let mut policy = Policy::default();
        assert_eq!(policy.start(1), INITIAL_BLOCKS);
        assert_eq!(policy.start(16), 16);
        policy.grow(100, 200, 8);
        policy.rest();
        assert_eq!(policy.start(8), 150);
        // It was of no use.
        policy.grow(150, 0, 8);
        policy.rest();
        assert_eq!(policy.start(8), INITIAL_BLOCKS);
    }

    #[test]
    fn use_keeps_the_size() {
        let mut policy = Policy::default();
        for _ in 0..3 * PATIENCE {
            policy.grow(100, 0, 8);
            // Half of it is used now and then.
            if policy.too_large == PATIENCE / 2 {
                policy.grow(100, 200, 8);
            }
            assert_eq!(policy.shrink(100, 8), None);
        }
        assert_eq!(Policy::default().shrink(INITIAL_BLOCKS, 8), None);
        for _ in 0..2 * PATIENCE {
            assert_eq!(policy.shrink(64, 40), None);
        }
    }
}
