// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Address spaces.
//!
//! The GPU's MMU, the UAT, walks tables of 16 KiB pages. An address space in use has one of 64
//! *slots*: an entry of the TTBAT, an array in memory with the two roots of its tables. Slot 0 is
//! the firmware's; [`slots`] hands out the others.
//!
//! The upper half of slot 0 is the *kernel half*, which the firmware lives in. Its root belongs to
//! the bootloader. The driver's part of the half, from 0xffffffa0_00000000 on for 64 GiB, is
//! exactly what one entry of the root leads to, so the driver has tables of its own and enters them
//! there while the device is bound. What still holds memory in that half after the device was
//! unbound is then cut off from the hardware, and does not disturb the next binding.
//!
//! A page that the firmware caches, and that is not coherent, has to be flushed by the firmware
//! before it is unmapped; [`Vm::unmap`] does that.
//!
//! # Locks
//!
//! `Vm::table` -> `UatInner::state` (slots, TTBAT and handoff area). The lock of the channel by
//! which the firmware is asked to flush is taken with `Vm::table` held.
//!
//! Sources: AsahiLinux/docs `hw/soc/agx.md`, AsahiLinux/m1n1 `proxyclient/m1n1/hw/uat.py` and the
//! out-of-tree driver of AsahiLinux/linux, `drivers/gpu/drm/asahi/mmu.rs`.

use core::ops::Range;

use kernel::{
    device::Device,
    io::PhysAddr,
    io_pgtable::{
        uat::{
            tlb,
            AppleUat,
            Half, //
        },
        IoPageTable, //
    },
    new_mutex,
    page::vmalloc::VmallocPages,
    prelude::*,
    sizes::{
        SZ_16K,
        SZ_1G, //
    },
    sync::{
        Arc,
        Mutex, //
    }, //
};

mod handoff;
mod slots;
mod va;

pub(crate) use kernel::io_pgtable::uat::Prot;
pub(crate) use slots::VmSlot;
pub(crate) use va::{
    VaRange,
    VaSpace, //
};

pub(crate) mod uat;

use uat::UatInner;

/// Size of a page of the GPU, and of the kernel.
pub(crate) const PAGE_SIZE: usize = SZ_16K;
/// The bits of an address inside a page.
pub(crate) const PAGE_MASK: u64 = PAGE_SIZE as u64 - 1;

/// Number of entries of the TTBAT.
const NUM_SLOTS: usize = 64;

/// A page that every user address space has. Firmware data of the bootloader points to it.
pub(crate) const DUMMY_PAGE: u64 = 0x7f_ffff_8000;

/// The addresses that user space may use.
pub(crate) const USER_VA: Range<u64> = PAGE_SIZE as u64..DUMMY_PAGE;

/// The kernel half.
pub(crate) mod kernel_va {
    use core::ops::Range;

    /// Firmware only, cached by it.
    pub(crate) const PRIVATE: Range<u64> = 0xffff_ffa0_0000_0000..0xffff_ffa6_0000_0000;
    /// Firmware, cached by it, and the GPU reads.
    pub(crate) const GPU_RO: Range<u64> = 0xffff_ffa6_0000_0000..0xffff_ffa8_0000_0000;
    /// Shared with the driver.
    pub(crate) const SHARED: Range<u64> = 0xffff_ffa8_0000_0000..0xffff_ffaa_0000_0000;
    /// Shared with the driver, and the firmware reads.
    pub(crate) const SHARED_RO: Range<u64> = 0xffff_ffaa_0000_0000..0xffff_ffac_0000_0000;
    /// Buffers of RTKit: its log and the like.
    pub(crate) const RTKIT: Range<u64> = 0xffff_ffae_0000_0000..0xffff_ffae_1000_0000;
    /// Timestamp buffers of user space.
    pub(crate) const TIMESTAMP: Range<u64> = 0xffff_ffae_1000_0000..0xffff_ffae_1400_0000;
    /// The buffer manager's control page.
    pub(crate) const BUFFER_MANAGER: u64 = 0xffff_ffae_ffff_0000;
    /// Registers.
    pub(crate) const MMIO: Range<u64> = 0xffff_ffaf_0000_0000..0xffff_ffb0_0000_0000;
}

/// Where the GPU finds the buffer manager's control page, in the lower half of slot 0.
pub(crate) const BUFFER_MANAGER_LOW: u64 = 0x20_0000_0000;

/// What a page may be used for, by the names of the firmware's memory types.
pub(crate) mod prot {
    use super::Prot;

    pub(crate) const FW_PRIV_RW: Prot = Prot::FW_RW.cached();
    pub(crate) const FW_SHARED_RW: Prot = Prot::FW_RW;
    pub(crate) const FW_SHARED_RO: Prot = Prot::FW_RO;
    pub(crate) const GPU_RO_FW_PRIV_RW: Prot = Prot::FW_RW_GPU_RO.cached();
    pub(crate) const GPU_SHARED_RW: Prot = Prot::GPU_RW;
    pub(crate) const GPU_FW_PRIV_RW: Prot = Prot::FW_GPU_RW.cached();
    pub(crate) const FW_MMIO_RW: Prot = Prot::FW_RW.device();
    pub(crate) const FW_MMIO_RO: Prot = Prot::FW_RO.device();
}

/// Which address space a [`Vm`] is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One of user space.
    User,
    /// The lower half of slot 0.
    KernelLower,
    /// The kernel half.
    Kernel,
}

/// An address space.
///
/// It is counted, and may outlive the binding of the device. It is then still consistent, but no
/// hardware looks at it any more.
#[pin_data(PinnedDrop)]
pub(crate) struct Vm {
    kind: Kind,
    /// Tells this address space from all others that there ever were.
    id: u64,
    /// What the TTBAT holds when this address space is in it.
    root: PhysAddr,
    #[pin]
    table: Mutex<IoPageTable<AppleUat>>,
    uat: Arc<UatInner>,
    /// What is mapped at [`DUMMY_PAGE`].
    _dummy: Option<VmallocPages>,
}

impl Vm {
    fn new(uat: Arc<UatInner>, kind: Kind) -> Result<Arc<Self>> {
        let half = match kind {
            Kind::User | Kind::KernelLower => Half::Lower,
            Kind::Kernel => Half::Upper,
        };
        let mut table = IoPageTable::new(uat.dev(), half, uat.oas())?;

        let dummy = if kind == Kind::User {
            let page = VmallocPages::new(PAGE_SIZE, GFP_KERNEL)?;
            let phys = page.phys(0).ok_or(EINVAL)?;

            // SAFETY: The page lives as long as the table, which no user mapping can replace it in
            // because the address is outside of what user space may use.
            unsafe { table.map(DUMMY_PAGE, phys, PAGE_SIZE, Prot::GPU_RW, GFP_KERNEL)? };
            Some(page)
        } else {
            None
        };

        Arc::pin_init(
            pin_init!(Self {
                kind,
                id: uat.next_id(),
                root: table.root(),
                table <- new_mutex!(table),
                uat,
                _dummy: dummy,
            }),
            GFP_KERNEL,
        )
    }

    /// The device, for messages.
    pub(crate) fn dev(&self) -> &Device {
        self.uat.dev()
    }

    /// Maps `size` bytes of physically contiguous memory.
    ///
    /// All of `iova`, `phys` and `size` must be multiples of the page size. If something is mapped
    /// there already, this fails with [`EEXIST`]; if it fails, nothing has been mapped.
    ///
    /// # Safety
    ///
    /// The memory must stay what it is until it has been unmapped by [`Vm::unmap`]: the GPU or the
    /// firmware, as `prot` says, may read or write it at any time.
    pub(crate) unsafe fn map(&self, iova: u64, phys: PhysAddr, size: usize, prot: Prot) -> Result {
        // SAFETY: By the requirements of this function.
        unsafe { self.table.lock().map(iova, phys, size, prot, GFP_KERNEL) }
    }

    /// Maps `pages`, which must be as the safety requirements of [`Vm::map`] say.
    ///
    /// # Safety
    ///
    /// As for [`Vm::map`].
    pub(crate) unsafe fn map_pages(&self, iova: u64, pages: &VmallocPages, prot: Prot) -> Result {
        let mut table = self.table.lock();

        for index in 0..pages.count() {
            let va = iova + (index * PAGE_SIZE) as u64;
            // SAFETY: By the requirements of this function.
            let ret = pages
                .phys(index)
                .ok_or(EINVAL)
                .and_then(|phys| unsafe { table.map(va, phys, PAGE_SIZE, prot, GFP_KERNEL) });

            if let Err(e) = ret {
                table.unmap(iova, index * PAGE_SIZE);
                drop(table);
                self.invalidate(iova, (index * PAGE_SIZE) as u64);
                return Err(e);
            }
        }
        Ok(())
    }

    /// Maps pieces of memory one after the other, where nothing is mapped.
    ///
    /// Where [`Vm::reserve`] has been called this does not fail. Elsewhere it may have mapped some
    /// of the pieces then.
    ///
    /// # Safety
    ///
    /// As for [`Vm::map`].
    pub(crate) unsafe fn map_pieces(
        &self,
        iova: u64,
        pieces: impl IntoIterator<Item = (PhysAddr, usize)>,
        prot: Prot,
    ) -> Result {
        let mut table = self.table.lock();
        let mut va = iova;

        for (phys, size) in pieces {
            // SAFETY: By the requirements of this function.
            unsafe { table.map(va, phys, size, prot, GFP_KERNEL)? };
            va += size as u64;
        }
        Ok(())
    }

    /// Maps one page all over a range. What [`Vm::map_pieces`] says about failing holds here.
    ///
    /// # Safety
    ///
    /// As for [`Vm::map`].
    pub(crate) unsafe fn map_repeated(
        &self,
        iova: u64,
        phys: PhysAddr,
        size: u64,
        prot: Prot,
    ) -> Result {
        for (va, len) in steps(iova, size) {
            let mut table = self.table.lock();
            // SAFETY: By the requirements of this function.
            unsafe { table.map_repeated(va, phys, len, prot, GFP_KERNEL)? };
        }
        Ok(())
    }

    /// Makes the tables for a range of user space's, so that mapping there takes no memory and does
    /// not fail.
    ///
    /// The tables stay until the address space goes away. Whoever makes them is charged for them.
    pub(crate) fn reserve(&self, iova: u64, size: u64) -> Result {
        for (va, len) in steps(iova, size) {
            if current!().fatal_signal_pending() {
                return Err(EINTR);
            }
            self.table.lock().reserve(va, len, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(())
    }

    /// Unmaps what is mapped in a range, of which the TLB may still know. There may be holes.
    ///
    /// [`Vm::invalidate`] must follow before the memory gets another use, and before something else
    /// is mapped there.
    pub(crate) fn clear(&self, iova: u64, size: u64) {
        for (va, len) in steps(iova, size) {
            self.table.lock().unmap(va, len);
        }
    }

    /// Unmaps what is mapped in a range. There may be holes.
    ///
    /// Neither the GPU nor the firmware reaches the memory when this returns.
    pub(crate) fn unmap(&self, iova: u64, size: usize) {
        self.table.lock().unmap(iova, size);
        self.invalidate(iova, size as u64);
    }

    /// Unmaps a range that was mapped with a protection that the firmware caches.
    ///
    /// The firmware may have lines of the pages in its cache which it would write back after the
    /// memory got another use, so it has to flush them while it can still reach the pages. If it
    /// does not, `pages`, which is what is mapped there, is kept until it cannot do so any more.
    pub(crate) fn unmap_cached(&self, iova: u64, pages: &Arc<VmallocPages>, prot: Prot) {
        let size = pages.size();
        let mut table = self.table.lock();

        if let Some(flush) = self.uat.prepare_flush(self) {
            // SAFETY: The pages may be accessed as before, only not cached.
            if unsafe { table.protect(iova, size, prot.shared()) }.is_err() {
                dev_err!(self.dev(), "cannot make {:#x} uncached\n", iova);
            }
            self.invalidate(iova, size as u64);
            let flush = flush.run(iova, size);
            table.unmap(iova, size);
            self.invalidate(iova, size as u64);
            if flush.has_failed() {
                self.uat.keep(pages.clone());
            }
        } else {
            table.unmap(iova, size);
            self.invalidate(iova, size as u64);
        }
    }

    /// Forgets translations of a range after its entries were changed.
    pub(crate) fn invalidate(&self, iova: u64, size: u64) {
        let slot = match self.kind {
            // The firmware does not care about the ASID. These tables are in slot 0.
            Kind::Kernel | Kind::KernelLower => Some(0),
            // An address space without a slot cannot have been walked since the ASID was flushed
            // when its slot went to another one.
            Kind::User => self.uat.slot_of(self),
        };

        if let Some(slot) = slot {
            // CAST: No more than 39 bits.
            tlb::flush_range(slot as u8, iova, size as usize);
        }
    }

    /// Makes this address space usable by the GPU, in a slot, if there is one.
    ///
    /// If not, the [`SlotListener`](uat::SlotListener) is told when there may be one. This does not
    /// sleep for memory.
    pub(crate) fn try_bind_slot(self: &Arc<Self>) -> Result<Option<VmSlot>> {
        self.uat.try_bind_slot(self)
    }
}

/// Divides a range in steps, between which others get at the table.
fn steps(iova: u64, size: u64) -> impl Iterator<Item = (u64, usize)> {
    let mut done = 0;

    core::iter::from_fn(move || {
        let len = (size - done).min(SZ_1G as u64);
        let va = iova + done;
        done += len;
        // CAST: No more than the length of a step.
        (len != 0).then_some((va, len as usize))
    })
}

#[pinned_drop]
impl PinnedDrop for Vm {
    fn drop(self: Pin<&mut Self>) {
        if self.kind == Kind::User {
            self.uat.evict(self.id);
        }
    }
}
