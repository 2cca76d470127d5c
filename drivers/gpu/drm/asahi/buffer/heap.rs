// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The memory of a tiler's heap, and the lists by which the firmware knows it.
//!
//! The heap is made of blocks of four pages of 32 KiB. All pages are in a list from which the GPU
//! takes them and to which it returns them; the order of the list changes with that, so blocks can
//! be added but not taken away. A heap becomes smaller by being replaced.
//!
//! Blocks are *mapped* when they are in the lists and *published* when the firmware was told how
//! many of them there are. Some are mapped and not published: they are the reserve from which the
//! heap grows when the firmware asks for it, which must not wait for memory.

use kernel::{
    new_mutex,
    new_spinlock,
    page::vmalloc::VmallocPages,
    prelude::*,
    sync::{
        barrier,
        Arc,
        Mutex,
        SpinLock, //
    }, //
};

use super::policy::{
    BLOCK_SIZE,
    MAX_BLOCKS,
    MAX_BLOCKS_NOMEMLESS,
    PAGES_PER_BLOCK,
    PAGE_SIZE,
    RESERVE_BLOCKS, //
};
use crate::{
    alloc::UserHeaps,
    fw::buffer::{
        BlockControl,
        Counter,
        Info,
        Stats, //
    },
    fw_read,
    fw_write,
    gpu::Gpu,
    mmu::{
        self,
        prot,
        VaRange, //
    },
    object::{
        GpuArray,
        GpuObject, //
    },
    vm::Vm, //
};

/// The most blocks that are allocated at a time.
const CHUNK_BLOCKS: u32 = 32;

/// Blocks that were allocated together.
struct Chunk {
    space: Arc<mmu::Vm>,
    range: VaRange,
    /// The first address in the range that is aligned to a page of the heap.
    start: u64,
    pages: VmallocPages,
}

impl Chunk {
    fn new(space: &Arc<mmu::Vm>, heaps: &UserHeaps, blocks: u32) -> Result<Self> {
        let pages = VmallocPages::new(blocks as usize * BLOCK_SIZE, GFP_KERNEL_ACCOUNT)?;
        let range = heaps.tiler.alloc(pages.size() + PAGE_SIZE)?;
        let chunk = Self {
            space: space.clone(),
            start: range.start().next_multiple_of(PAGE_SIZE as u64),
            range,
            pages,
        };

        // SAFETY: The pages are kept until the chunk has unmapped them when it is dropped, and are
        // not accessed by the driver.
        unsafe { space.map_pages(chunk.start, &chunk.pages, prot::GPU_SHARED_RW)? };
        Ok(chunk)
    }

    /// Returns the addresses of the blocks.
    fn blocks(&self) -> impl Iterator<Item = u64> + use<'_> {
        let size = self.pages.size() as u64;
        (self.start..self.start + size).step_by(BLOCK_SIZE)
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        debug_assert!(self.start >= self.range.start());
        self.space.unmap(self.start, self.pages.size());
    }
}

/// How many blocks there are.
#[derive(Clone, Copy)]
struct Counts {
    mapped: u32,
    published: u32,
    /// What the [`Info`] says.
    in_info: u32,
}

/// A tiler's heap.
#[pin_data]
pub(super) struct TilerHeap {
    info: GpuObject<Info>,
    block_ctl: GpuObject<BlockControl>,
    counter: GpuObject<Counter>,
    stats: GpuObject<Stats>,
    /// Unknown to the driver.
    kernel_buffer: GpuArray<u8>,
    page_list: GpuArray<u32>,
    block_list: GpuArray<u32>,
    /// Held while memory is allocated; only for the ioctl.
    #[pin]
    chunks: Mutex<KVec<Chunk>>,
    #[pin]
    counts: SpinLock<Counts>,
}

impl TilerHeap {
    /// Makes a heap of at least so many blocks, and a reserve.
    pub(super) fn new(gpu: &Gpu, vm: &Vm, blocks: u32) -> Result<Arc<Self>> {
        let heaps = gpu.heaps();
        let block_ctl = GpuObject::<BlockControl>::zeroed(&heaps.shared)?;
        let counter = GpuObject::<Counter>::zeroed(&heaps.shared)?;
        let stats = GpuObject::new(
            &heaps.shared,
            Stats {
                reset: 1,
                ..Default::default()
            },
        )?;
        let kernel_buffer = GpuArray::zeroed(&heaps.shared, 0x40)?;
        let max_pages = MAX_BLOCKS * PAGES_PER_BLOCK;
        let page_list = GpuArray::zeroed(&vm.heaps().private, max_pages as usize)?;
        let block_list = GpuArray::zeroed(&vm.heaps().private, 2 * MAX_BLOCKS as usize)?;
        let info = GpuObject::new(
            &heaps.private,
            Info {
                cur_id: -1,
                page_list: page_list.gpu_va().into(),
                page_list_size: max_pages * size_of::<u32>() as u32,
                max_blocks: MAX_BLOCKS,
                block_list: block_list.gpu_va().into(),
                block_ctl: block_ctl.gpu_va().into(),
                block_size: BLOCK_SIZE as u32,
                counter: counter.gpu_va().into(),
                unk_80: 1,
                max_pages,
                max_pages_nomemless: MAX_BLOCKS_NOMEMLESS * PAGES_PER_BLOCK,
                ..Default::default()
            },
        )?;

        let heap = Arc::pin_init(
            pin_init!(Self {
                info,
                block_ctl,
                counter,
                stats,
                kernel_buffer,
                page_list,
                block_list,
                chunks <- new_mutex!(KVec::new()),
                counts <- new_spinlock!(Counts {
                    mapped: 0,
                    published: 0,
                    in_info: 0,
                }),
            }),
            GFP_KERNEL,
        )?;
        heap.grow(vm, blocks)?;
        heap.update_info();
        Ok(heap)
    }

    /// Sees to it that so many blocks are published, and that there is a reserve.
    ///
    /// Without memory for the reserve there is none.
    pub(super) fn grow(&self, vm: &Vm, blocks: u32) -> Result {
        if blocks > MAX_BLOCKS {
            return Err(ENOMEM);
        }

        let mut chunks = self.chunks.lock();
        let counts = *self.counts.lock();
        let published = counts.published.max(blocks);
        let wanted = (published + RESERVE_BLOCKS).min(MAX_BLOCKS);

        if counts.mapped < wanted {
            let result = self.map(vm, &mut chunks, wanted);
            if self.counts.lock().mapped < blocks {
                return result.and(Err(ENOMEM));
            }
        }
        self.publish(blocks);
        Ok(())
    }

    /// Maps blocks until there are so many.
    fn map(&self, vm: &Vm, chunks: &mut KVec<Chunk>, blocks: u32) -> Result {
        loop {
            let mapped = self.counts.lock().mapped;
            let missing = blocks.saturating_sub(mapped).min(CHUNK_BLOCKS);
            if missing == 0 {
                return Ok(());
            }

            chunks.reserve(1, GFP_KERNEL)?;
            let chunk = Chunk::new(vm.space(), vm.heaps(), missing)?;
            for (index, va) in (mapped as usize..).zip(chunk.blocks()) {
                let pages = PAGES_PER_BLOCK as usize;
                // Addresses have 39 bits.
                let first = (va / PAGE_SIZE as u64) as u32;

                self.block_list.write(2 * index, first)?;
                for (page, number) in (index * pages..).zip(first..).take(pages) {
                    self.page_list.write(page, number)?;
                }
            }
            chunks.push(chunk, GFP_KERNEL)?;
            self.counts.lock().mapped += missing;
        }
    }

    /// Publishes blocks until there are so many, as far as they are mapped. Returns whether that
    /// are more than before.
    ///
    /// This does not allocate memory and may be called by anybody at any time.
    fn publish(&self, blocks: u32) -> bool {
        let mut counts = self.counts.lock();
        let blocks = blocks.min(counts.mapped);
        if blocks <= counts.published {
            return false;
        }
        counts.published = blocks;
        // The lists come before the numbers.
        barrier::dma_mb(barrier::Write);
        fw_write!(self.block_ctl, .total, blocks);
        fw_write!(self.block_ctl, .wptr, blocks);
        barrier::dma_mb(barrier::Write);
        true
    }

    /// Grows from the reserve. Returns whether there was any.
    pub(super) fn grow_from_reserve(&self) -> bool {
        self.publish(self.blocks() + RESERVE_BLOCKS)
    }

    /// Returns the number of published blocks.
    pub(super) fn blocks(&self) -> u32 {
        self.counts.lock().published
    }

    /// Takes what is published over into the [`Info`], if the heap has grown. Only for when no
    /// command is under way that uses the heap, for it is the firmware's otherwise. The firmware
    /// must be told then.
    pub(super) fn update_info(&self) {
        let blocks = {
            let mut counts = self.counts.lock();
            if counts.in_info == counts.published {
                return;
            }
            counts.in_info = counts.published;
            counts.published
        };
        let pages = blocks * PAGES_PER_BLOCK;

        fw_write!(self.info, .page_count, pages);
        fw_write!(self.info, .block_count, blocks);
        fw_write!(self.info, .last_page, pages.saturating_sub(1));
    }

    /// Counts a render that uses the heap.
    pub(super) fn count_render(&self) {
        // Nobody else writes it, and renders are placed one after the other.
        let count = fw_read!(self.counter, .count);
        fw_write!(self.counter, .count, count.wrapping_add(1));
    }

    /// Returns the most pages that were in use since this was called last.
    pub(super) fn take_peak(&self) -> u32 {
        let pages = fw_read!(self.stats, .max_pages);
        fw_write!(self.stats, .reset, 1);
        pages
    }

    /// Returns the address of the [`Info`].
    pub(super) fn info_va(&self) -> u64 {
        self.info.gpu_va()
    }

    /// Returns the address of the [`Stats`].
    pub(super) fn stats_va(&self) -> u64 {
        self.stats.gpu_va()
    }

    /// Returns the address of the unknown buffer.
    pub(super) fn kernel_buffer_va(&self) -> u64 {
        self.kernel_buffer.gpu_va()
    }
}
