// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Memory for what is shared with the firmware and the GPU.
//!
//! A [`Heap`] hands out pieces of one kind of memory in a part of an address space. It takes memory
//! from the kernel in [`Chunk`]s, which are mapped when they are made and unmapped when the last
//! piece and the heap have let go of them.
//!
//! The memory is vmalloc memory and no GEM object: it must not hold on to the DRM device.
//!
//! # The firmware's cache
//!
//! The firmware caches its private memory, and writes lines back at any time. A piece that was
//! freed may be handed out again only after the firmware has flushed its cache, lest it overwrites
//! what the next owner has put there. So pieces of such heaps are *dead* when they are dropped, are
//! *dying* while a flush is under way that began after that, and are free afterwards. [`Heap`]
//! counts what is dead; [`Gpu::reclaim`](crate::gpu::Gpu::reclaim) does the flushing.
//!
//! # Locks
//!
//! `Heap::chunks` (mutex, held while memory is allocated) -> `Chunk::map` (spinlock). Dropping a
//! piece takes the spinlock only.

use core::ops::Range;

use kernel::{
    bitmap::BitmapVec,
    new_mutex,
    new_spinlock,
    page::vmalloc::VmallocPages,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        SpinLock, //
    }, //
};

use crate::mmu::{
    prot,
    Prot,
    VaRange,
    VaSpace,
    Vm,
    PAGE_MASK,
    PAGE_SIZE, //
};

/// What pieces are multiples of, and are aligned to.
pub(crate) const GRANULE: usize = 0x80;

/// What is in use in a chunk, by granules.
struct ChunkMap {
    used: BitmapVec,
    /// Dropped, but perhaps in the firmware's cache.
    dead: BitmapVec,
    /// Dropped before the flush began that is under way.
    dying: BitmapVec,
    /// Number of bits in `used`.
    count: usize,
}

/// A piece of memory that is mapped as a whole.
#[pin_data(PinnedDrop)]
struct Chunk {
    vm: Arc<Vm>,
    range: VaRange,
    pages: Arc<VmallocPages>,
    prot: Prot,
    /// Pieces are not reused before a flush.
    quarantine: bool,
    #[pin]
    map: SpinLock<ChunkMap>,
    /// Bytes that are dead in the whole heap.
    dead_bytes: Arc<Atomic<usize>>,
}

/// A source of memory of one kind.
#[pin_data]
pub(crate) struct Heap {
    vm: Arc<Vm>,
    space: Arc<VaSpace>,
    prot: Prot,
    /// Smallest size of a chunk.
    block: usize,
    quarantine: bool,
    #[pin]
    chunks: Mutex<KVec<Arc<Chunk>>>,
    dead_bytes: Arc<Atomic<usize>>,
}

/// A piece of memory. It is given back when this is dropped.
pub(crate) struct Allocation {
    chunk: Arc<Chunk>,
    offset: usize,
    size: usize,
}

impl ChunkMap {
    fn new(granules: usize, quarantine: bool) -> Result<Self> {
        let dead = if quarantine { granules } else { 0 };

        Ok(Self {
            used: BitmapVec::new(granules, GFP_KERNEL)?,
            dead: BitmapVec::new(dead, GFP_KERNEL)?,
            dying: BitmapVec::new(dead, GFP_KERNEL)?,
            count: 0,
        })
    }

    /// Finds `len` free granules at a multiple of `align` granules.
    fn find(&self, len: usize, align: usize) -> Option<usize> {
        let total = self.used.len();
        let mut start = 0;

        if total - self.count < len {
            return None;
        }
        loop {
            if start >= total {
                return None;
            }
            start = self
                .used
                .next_zero_bit(start)?
                .checked_next_multiple_of(align)?;
            let end = start.checked_add(len).filter(|end| *end <= total)?;

            match self.used.next_bit(start) {
                Some(used) if used < end => start = used + 1,
                _ => return Some(start),
            }
        }
    }

    fn take(&mut self, len: usize, align: usize) -> Option<usize> {
        let start = self.find(len, align)?;

        for bit in start..start + len {
            self.used.set_bit(bit);
        }
        self.count += len;
        Some(start)
    }

    fn free(&mut self, range: Range<usize>) {
        self.count -= range.len();
        for bit in range {
            self.used.clear_bit(bit);
        }
    }

    /// Makes all that is dead dying. Returns the number of granules.
    fn begin_flush(&mut self) -> usize {
        let mut moved = 0;
        let mut bit = 0;

        while let Some(dead) = self.dead.next_bit(bit) {
            self.dead.clear_bit(dead);
            self.dying.set_bit(dead);
            moved += 1;
            bit = dead + 1;
            if bit >= self.dead.len() {
                break;
            }
        }
        moved
    }

    /// Frees what is dying, or makes it dead again if the flush did not work.
    fn end_flush(&mut self, flushed: bool) -> usize {
        let mut moved = 0;
        let mut bit = 0;

        while let Some(dying) = self.dying.next_bit(bit) {
            self.dying.clear_bit(dying);
            if flushed {
                self.free(dying..dying + 1);
            } else {
                self.dead.set_bit(dying);
            }
            moved += 1;
            bit = dying + 1;
            if bit >= self.dying.len() {
                break;
            }
        }
        moved
    }
}

impl Chunk {
    fn new(heap: &Heap, size: usize) -> Result<Arc<Self>> {
        let pages = Arc::new(VmallocPages::new(size, GFP_KERNEL)?, GFP_KERNEL)?;
        let range = heap.space.alloc(pages.size())?;
        let map = ChunkMap::new(pages.size() / GRANULE, heap.quarantine)?;

        let chunk = Arc::pin_init(
            pin_init!(Self {
                vm: heap.vm.clone(),
                range,
                pages,
                prot: heap.prot,
                quarantine: heap.quarantine,
                map <- new_spinlock!(map),
                dead_bytes: heap.dead_bytes.clone(),
            }),
            GFP_KERNEL,
        )?;

        // SAFETY: The pages are kept until the chunk unmaps them when it is dropped, and are only
        // accessed as memory that others may change at any time.
        unsafe {
            heap.vm
                .map_pages(chunk.range.start(), &chunk.pages, heap.prot)?
        };
        Ok(chunk)
    }

    fn alloc(self: &Arc<Self>, len: usize, align: usize) -> Option<Allocation> {
        let first = self.map.lock().take(len, align)?;

        Some(Allocation {
            chunk: self.clone(),
            offset: first * GRANULE,
            size: len * GRANULE,
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Chunk {
    fn drop(self: Pin<&mut Self>) {
        let start = self.range.start();
        let size = self.range.size();

        if self.prot.is_fw_cached() {
            self.vm.unmap_cached(start, &self.pages, self.prot);
        } else {
            self.vm.unmap(start, size);
        }
    }
}

impl Heap {
    /// Makes a heap.
    ///
    /// Memory is taken in blocks of at least `block` bytes. With `quarantine`, what is freed waits
    /// for a flush of the firmware's cache.
    pub(crate) fn new(
        vm: &Arc<Vm>,
        range: Range<u64>,
        prot: Prot,
        block: usize,
        quarantine: bool,
    ) -> Result<Arc<Self>> {
        let space = VaSpace::new(range)?;
        let dead_bytes = Arc::new(Atomic::new(0), GFP_KERNEL)?;

        Arc::pin_init(
            pin_init!(Self {
                vm: vm.clone(),
                space,
                prot,
                block,
                quarantine,
                chunks <- new_mutex!(KVec::new()),
                dead_bytes,
            }),
            GFP_KERNEL,
        )
    }

    /// Takes a piece of at least `size` bytes, which are zero.
    ///
    /// It is aligned to a [`GRANULE`], and to a page if it is as large as that.
    pub(crate) fn alloc(&self, size: usize) -> Result<Allocation> {
        let len = size.div_ceil(GRANULE);
        let align = if size >= PAGE_SIZE {
            PAGE_SIZE / GRANULE
        } else {
            1
        };

        if len == 0 {
            return Err(EINVAL);
        }

        let mut chunks = self.chunks.lock();

        for chunk in chunks.iter() {
            if let Some(alloc) = chunk.alloc(len, align) {
                drop(chunks);
                alloc.clear();
                return Ok(alloc);
            }
        }

        let size = len.checked_mul(GRANULE).ok_or(EINVAL)?;
        let chunk = Chunk::new(self, size.max(self.block))?;
        let alloc = chunk.alloc(len, align).ok_or(ENOMEM)?;

        chunks.push(chunk, GFP_KERNEL)?;
        Ok(alloc)
    }

    /// Bytes that wait for a flush.
    pub(crate) fn dead_bytes(&self) -> usize {
        self.dead_bytes.load(Relaxed)
    }

    /// Remembers what is dead now. A flush may follow, and [`Heap::end_flush`] must.
    ///
    /// Flushes must be serialised.
    pub(crate) fn begin_flush(&self) {
        for chunk in self.chunks.lock().iter() {
            let granules = chunk.map.lock().begin_flush();

            self.dead_bytes.fetch_sub(granules * GRANULE, Relaxed);
        }
    }

    /// Frees what was dead when the flush began, if it worked, and gives chunks that are not used
    /// any more back to the kernel.
    pub(crate) fn end_flush(&self, flushed: bool) {
        let mut unused = KVec::new();
        let mut chunks = self.chunks.lock();

        for chunk in chunks.iter() {
            let granules = chunk.map.lock().end_flush(flushed);

            if !flushed {
                self.dead_bytes.add(granules * GRANULE, Relaxed);
            }
        }
        self.take_unused(&mut chunks, &mut unused);
        drop(chunks);
        // Unmapping the chunks waits for the firmware, so it must not be done with the lock held.
        drop(unused);
    }

    /// Moves chunks without any piece in use to `unused`, except for one.
    fn take_unused(&self, chunks: &mut KVec<Arc<Chunk>>, unused: &mut KVec<Arc<Chunk>>) {
        let mut kept = false;
        let mut index = 0;

        while let Some(chunk) = chunks.get(index) {
            if chunk.map.lock().count != 0 || !core::mem::replace(&mut kept, true) {
                index += 1;
                continue;
            }
            if unused.reserve(1, GFP_KERNEL).is_err() {
                return;
            }
            if let Ok(chunk) = chunks.remove(index) {
                // There is room for it.
                let _ = unused.push(chunk, GFP_KERNEL);
            }
        }
    }

    /// Gives chunks that are not used any more back to the kernel.
    pub(crate) fn trim(&self) {
        let mut unused = KVec::new();
        let mut chunks = self.chunks.lock();

        self.take_unused(&mut chunks, &mut unused);
        drop(chunks);
        drop(unused);
    }
}

impl Allocation {
    /// The address for the firmware and the GPU.
    pub(crate) fn gpu_va(&self) -> u64 {
        self.chunk.range.start() + self.offset as u64
    }

    /// The address for the driver. It is valid for the size asked for as long as `self` exists.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.chunk.pages.as_ptr().as_ptr().wrapping_add(self.offset)
    }

    /// Clears memory that nobody else knows yet.
    fn clear(&self) {
        // SAFETY: The memory is valid and belongs to `self`, which is new.
        unsafe { self.as_ptr().write_bytes(0, self.size) };
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        let range = self.offset / GRANULE..(self.offset + self.size) / GRANULE;
        let mut map = self.chunk.map.lock();

        if self.chunk.quarantine {
            for bit in range {
                map.dead.set_bit(bit);
            }
            self.chunk.dead_bytes.add(self.size, Relaxed);
        } else {
            map.free(range);
        }
    }
}

/// The heaps of the kernel half.
pub(crate) struct KernelHeaps {
    /// For the firmware alone.
    pub(crate) private: Arc<Heap>,
    /// For driver and firmware.
    pub(crate) shared: Arc<Heap>,
    /// For driver and firmware, which only reads.
    pub(crate) shared_ro: Arc<Heap>,
    /// For the firmware, and the GPU reads.
    pub(crate) gpu_ro: Arc<Heap>,
}

impl KernelHeaps {
    pub(crate) fn new(vm: &Arc<Vm>) -> Result<Self> {
        use crate::mmu::kernel_va::*;

        const LARGE: usize = 1 << 20;
        const SMALL: usize = 64 << 10;

        Ok(Self {
            private: Heap::new(vm, PRIVATE, prot::FW_PRIV_RW, LARGE, true)?,
            shared: Heap::new(vm, SHARED, prot::FW_SHARED_RW, LARGE, false)?,
            shared_ro: Heap::new(vm, SHARED_RO, prot::FW_SHARED_RO, SMALL, false)?,
            gpu_ro: Heap::new(vm, GPU_RO, prot::GPU_RO_FW_PRIV_RW, LARGE, true)?,
        })
    }

    /// The heaps whose memory the firmware caches.
    fn quarantined(&self) -> [&Heap; 2] {
        [&self.private, &self.gpu_ro]
    }

    /// Bytes that wait for a flush.
    pub(crate) fn dead_bytes(&self) -> usize {
        self.quarantined()
            .iter()
            .map(|heap| heap.dead_bytes())
            .sum()
    }

    /// See [`Heap::begin_flush`].
    pub(crate) fn begin_flush(&self) {
        for heap in self.quarantined() {
            heap.begin_flush();
        }
    }

    /// See [`Heap::end_flush`].
    pub(crate) fn end_flush(&self, flushed: bool) {
        for heap in self.quarantined() {
            heap.end_flush(flushed);
        }
        self.shared.trim();
        self.shared_ro.trim();
    }
}

/// What the driver has in the part of a user address space that user space has left to the kernel.
///
/// One eighth of it is for what the firmware caches, half of it for the tilers' heaps, and the rest
/// for everything else.
pub(crate) struct UserHeaps {
    /// For the GPU alone.
    pub(crate) shared: Arc<Heap>,
    /// For the GPU and the firmware, which caches it.
    pub(crate) private: Arc<Heap>,
    /// Addresses for the blocks of tilers' heaps.
    pub(crate) tiler: Arc<VaSpace>,
}

impl UserHeaps {
    /// Makes heaps in `range`, which must be aligned to pages.
    pub(crate) fn new(vm: &Arc<Vm>, range: Range<u64>) -> Result<Self> {
        const SHARED_BLOCK: usize = 512 << 10;
        const PRIVATE_BLOCK: usize = 64 << 10;

        let size = range.end.checked_sub(range.start).ok_or(EINVAL)?;
        let part = |eighths: u64| range.start + ((size / 8 * eighths) & !PAGE_MASK);
        let (shared, tiler) = (part(1), part(4));
        let private = prot::GPU_FW_PRIV_RW;

        Ok(Self {
            private: Heap::new(vm, range.start..shared, private, PRIVATE_BLOCK, true)?,
            shared: Heap::new(vm, shared..tiler, prot::GPU_SHARED_RW, SHARED_BLOCK, false)?,
            tiler: VaSpace::new(tiler..range.end)?,
        })
    }

    /// Bytes that wait for a flush.
    pub(crate) fn dead_bytes(&self) -> usize {
        self.private.dead_bytes()
    }

    /// See [`Heap::begin_flush`].
    pub(crate) fn begin_flush(&self) {
        self.private.begin_flush();
    }

    /// See [`Heap::end_flush`].
    pub(crate) fn end_flush(&self, flushed: bool) {
        self.private.end_flush(flushed);
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kunit_tests(asahi_alloc)]
mod tests {
    use super::*;

    #[test]
    fn first_fit_and_alignment() -> Result {
        let mut map = ChunkMap::new(256, false)?;

        assert_eq!(map.take(3, 1), Some(0));
        assert_eq!(map.take(5, 8), Some(8));
        assert_eq!(map.take(5, 1), Some(3));
        assert_eq!(map.take(200, 1), Some(13));
        map.free(3..8);
        assert_eq!(map.take(6, 1), Some(213));
        assert_eq!(map.take(5, 1), Some(3));
        assert_eq!(map.take(256, 1), None);
        assert_eq!(map.take(38, 1), None);
        assert_eq!(map.take(37, 1), Some(219));
        assert_eq!(map.count, 256);
        Ok(())
    }

    #[test]
    fn dead_pieces_wait_for_a_flush() -> Result {
        let mut map = ChunkMap::new(64, true)?;

        assert_eq!(map.take(64, 1), Some(0));
        for bit in 10..20 {
            map.dead.set_bit(bit);
        }
        assert_eq!(map.begin_flush(), 10);
        // This one died after the flush began.
        map.dead.set_bit(30);
        assert_eq!(map.take(1, 1), None);
        assert_eq!(map.end_flush(true), 10);
        assert_eq!(map.take(10, 1), Some(10));
        assert_eq!(map.take(1, 1), None);

        assert_eq!(map.begin_flush(), 1);
        assert_eq!(map.end_flush(false), 1);
        assert_eq!(map.take(1, 1), None);
        assert_eq!(map.begin_flush(), 1);
        assert_eq!(map.end_flush(true), 1);
        assert_eq!(map.take(1, 1), Some(30));
        Ok(())
    }
}
