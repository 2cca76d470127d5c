// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The page tables of Apple's AGX GPUs.
//!
//! See `drivers/iommu/io-pgtable-apple-uat.c` for the format.

use super::{
    Format,
    IoPageTable, //
};
use crate::{
    alloc,
    bindings,
    device::raw::RawDevice,
    error::to_result,
    io::PhysAddr,
    prelude::*,
    sizes::SZ_16K, //
};

pub mod tlb;

/// The number of bits of an address that the tables translate.
pub const IAS: u32 = 39;

/// The size of a page, which is the only one there is.
pub const PAGE_SIZE: usize = SZ_16K;

/// The `APPLE_UAT` page table format.
pub enum AppleUat {}

static FLUSH_OPS: bindings::iommu_flush_ops = bindings::iommu_flush_ops {
    // Called when a table is freed, after the entries of an adopted root that lead to it were
    // cleared.
    tlb_flush_all: Some(tlb_flush_all),
    // The format never replaces a table.
    tlb_flush_walk: None,
    // After `unmap()` it is the driver that invalidates: the scope depends on where the table is in
    // use, and the firmware has to be told as well.
    tlb_add_page: None,
};

extern "C" fn tlb_flush_all(_cookie: *mut c_void) {
    tlb::flush_all();
}

// SAFETY: The format has no walks that are not coherent, and its code calls nothing but
// `dev_to_node()` on the device.
unsafe impl Format for AppleUat {
    const FORMAT: bindings::io_pgtable_fmt = bindings::io_pgtable_fmt_APPLE_UAT;
    const FLUSH_OPS: &'static bindings::iommu_flush_ops = &FLUSH_OPS;
}

/// The half of the 64-bit address space that a table translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// From 0 to 2^39, by TTB0. It is tagged with the ASID of its context.
    Lower,
    /// From 0xffffff80_00000000 on, by TTB1. It is the same in all contexts.
    Upper,
}

/// Who may do what with a page, and how it is cached.
///
/// The constants are all combinations of access that the hardware knows. They are for memory that
/// is coherent between all of CPU, GPU and firmware; [`Prot::cached`] and [`Prot::device`] change
/// that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prot(u32);

impl Prot {
    const GPU_R: u32 = bindings::IOMMU_READ;
    const GPU_W: u32 = bindings::IOMMU_WRITE;
    const FW_R: u32 = bindings::IO_PGTABLE_APPLE_UAT_FW_READ;
    const FW_W: u32 = bindings::IO_PGTABLE_APPLE_UAT_FW_WRITE;
    const MEMORY: u32 = bindings::IOMMU_CACHE | bindings::IOMMU_MMIO;

    /// The GPU reads, the firmware has no access.
    pub const GPU_RO: Self = Self(Self::GPU_R);
    /// The GPU writes, the firmware has no access.
    pub const GPU_WO: Self = Self(Self::GPU_W);
    /// The GPU reads and writes, the firmware has no access.
    pub const GPU_RW: Self = Self(Self::GPU_R | Self::GPU_W);
    /// The firmware reads, the GPU has no access.
    pub const FW_RO: Self = Self(Self::FW_R);
    /// The firmware reads and writes, the GPU has no access.
    pub const FW_RW: Self = Self(Self::FW_R | Self::FW_W);
    /// The firmware reads and writes, the GPU reads.
    pub const FW_RW_GPU_RO: Self = Self(Self::FW_R | Self::FW_W | Self::GPU_R);
    /// Both read.
    pub const FW_GPU_RO: Self = Self(Self::FW_R | Self::GPU_R);
    /// Both write.
    pub const FW_GPU_WO: Self = Self(Self::FW_W | Self::GPU_W);
    /// Both read and write.
    pub const FW_GPU_RW: Self = Self(Self::FW_R | Self::FW_W | Self::GPU_R | Self::GPU_W);

    /// The same access, cached by the firmware without being coherent with anyone else.
    pub const fn cached(self) -> Self {
        Self((self.0 & !Self::MEMORY) | bindings::IOMMU_CACHE)
    }

    /// The same access, to device memory.
    pub const fn device(self) -> Self {
        Self((self.0 & !Self::MEMORY) | bindings::IOMMU_MMIO)
    }

    /// The same access, coherent for all.
    pub const fn shared(self) -> Self {
        Self(self.0 & !Self::MEMORY)
    }

    /// Whether the firmware may hold such a page in its cache, which then has to be flushed before
    /// the page can be given to another use.
    pub const fn is_fw_cached(self) -> bool {
        self.0 & bindings::IOMMU_CACHE != 0 && self.0 & (Self::FW_R | Self::FW_W) != 0
    }

    fn as_raw(self) -> i32 {
        // CAST: None of the bits is the sign.
        self.0 as i32
    }
}

impl IoPageTable<AppleUat> {
    /// Makes an empty page table.
    ///
    /// `oas` is the number of bits of a physical address: 40 or 42, depending on the chip.
    pub fn new(dev: &(impl RawDevice + ?Sized), half: Half, oas: u32) -> Result<Self> {
        // SAFETY: There is no root to adopt.
        unsafe { Self::with_root(dev, half, oas, 0) }
    }

    /// Makes a page table whose root the bootloader has made.
    ///
    /// The root needs not be in memory that the kernel maps. Entries that are in it already are
    /// neither changed nor freed, neither are those in the tables that it points to; mapping there
    /// fails with [`EEXIST`]. When the page table is dropped, the root is as it was.
    ///
    /// # Safety
    ///
    /// - `root` must be the address of a table in memory that was set aside for this purpose. The
    ///   table, and the tables it leads to, must stay there for as long as the page table lives.
    /// - Nothing but the page table may change them in that time.
    pub unsafe fn adopt(
        dev: &(impl RawDevice + ?Sized),
        half: Half,
        oas: u32,
        root: PhysAddr,
    ) -> Result<Self> {
        if root == 0 {
            return Err(EINVAL);
        }

        // SAFETY: By the safety requirements of this function.
        unsafe { Self::with_root(dev, half, oas, root) }
    }

    /// # Safety
    ///
    /// As for [`IoPageTable::adopt`], unless `root` is zero.
    unsafe fn with_root(
        dev: &(impl RawDevice + ?Sized),
        half: Half,
        oas: u32,
        root: PhysAddr,
    ) -> Result<Self> {
        let mut quirks = bindings::IO_PGTABLE_QUIRK_NO_WARN;
        if half == Half::Upper {
            quirks |= bindings::IO_PGTABLE_QUIRK_ARM_TTBR1;
        }

        let mut cfg = bindings::io_pgtable_cfg {
            quirks,
            pgsize_bitmap: PAGE_SIZE,
            ias: IAS,
            oas,
            ..pin_init::zeroed()
        };
        cfg.__bindgen_anon_1.apple_uat_cfg.adopt = root;

        // SAFETY: The configuration has what the format needs, and the root is valid by the safety
        // requirements of this function.
        unsafe { Self::with_config(dev, cfg) }
    }

    /// Returns the physical address of the root, which is what the hardware wants to know.
    ///
    /// Whoever tells it to the hardware must see to it that the hardware has forgotten it before
    /// the page table is dropped. This is not `unsafe`, as telling it is what takes access to a
    /// register or to memory that the hardware reads.
    pub fn root(&self) -> PhysAddr {
        // SAFETY: This is the format's part of the union.
        unsafe { self.cfg().__bindgen_anon_1.apple_uat_cfg.ttbr }
    }

    /// Maps `size` bytes of physically contiguous memory.
    ///
    /// Either all of it is mapped or, if an error is returned, nothing:
    ///
    /// - [`EEXIST`]: something is mapped there already.
    /// - [`EINVAL`]: `iova`, `paddr` or `size` are not a multiple of [`PAGE_SIZE`], or `size` is
    ///   zero.
    /// - [`ERANGE`]: the range is not in this half of the address space, or not in physical memory.
    /// - [`ENOMEM`]: no memory for tables, to be had with `flags`.
    ///
    /// # Safety
    ///
    /// It must be sound that the GPU or its firmware, as allowed by `prot`, access the memory for
    /// as long as it is mapped, and after that until the TLB was invalidated.
    pub unsafe fn map(
        &mut self,
        iova: u64,
        paddr: PhysAddr,
        size: usize,
        prot: Prot,
        flags: alloc::Flags,
    ) -> Result {
        if !size.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }

        // SAFETY: By the safety requirements of this function. The C side checks everything else.
        let (_, result) = unsafe {
            self.map_pages(
                usize::try_from(iova)?,
                paddr,
                PAGE_SIZE,
                size / PAGE_SIZE,
                prot.as_raw(),
                flags,
            )
        };

        result
    }

    /// Maps one page all over a range of `size` bytes.
    ///
    /// For errors see [`Self::map`].
    ///
    /// # Safety
    ///
    /// As for [`Self::map`], for the page.
    pub unsafe fn map_repeated(
        &mut self,
        iova: u64,
        paddr: PhysAddr,
        size: usize,
        prot: Prot,
        flags: alloc::Flags,
    ) -> Result {
        // SAFETY: By the type invariants, `ops` is valid and of the right format. We have `&mut
        // self`, so that nothing else uses the table. The caller vouches for the memory.
        to_result(unsafe {
            bindings::io_pgtable_apple_uat_map_repeated(
                self.ops.as_ptr(),
                usize::try_from(iova)?,
                paddr,
                size,
                prot.as_raw(),
                flags.as_raw(),
            )
        })
    }

    /// Makes the tables for a range, with memory to be had with `flags`.
    ///
    /// Tables are freed with the page table and not before. So once this has succeeded,
    /// [`Self::map`] needs no memory in the range any more, whatever is mapped and unmapped
    /// meanwhile.
    pub fn reserve(&mut self, iova: u64, size: usize, flags: alloc::Flags) -> Result {
        // SAFETY: By the type invariants, `ops` is valid and of the right format. We have `&mut
        // self`, so that nothing else uses the table.
        to_result(unsafe {
            bindings::io_pgtable_apple_uat_reserve(
                self.ops.as_ptr(),
                usize::try_from(iova)?,
                size,
                flags.as_raw(),
            )
        })
    }

    /// Unmaps what is mapped in a range, and returns how many bytes that were.
    ///
    /// It does not allocate, and frees no tables. The TLB is not invalidated.
    pub fn unmap(&mut self, iova: u64, size: usize) -> usize {
        let Ok(iova) = usize::try_from(iova) else {
            return 0;
        };

        self.unmap_pages(iova, PAGE_SIZE, size / PAGE_SIZE)
    }

    /// Changes the protection of what is mapped in a range, and returns how many bytes that were.
    ///
    /// There is no moment at which a page is not mapped. The TLB is not invalidated.
    ///
    /// # Safety
    ///
    /// As for [`IoPageTable::<AppleUat>::map`].
    pub unsafe fn protect(&mut self, iova: u64, size: usize, prot: Prot) -> Result<usize> {
        // SAFETY: By the type invariants, `ops` is valid and of the right format. We have `&mut
        // self`, so that nothing else uses the table.
        let ret = unsafe {
            bindings::io_pgtable_apple_uat_protect(
                self.ops.as_ptr(),
                usize::try_from(iova)?,
                size,
                prot.as_raw(),
            )
        };

        match usize::try_from(ret) {
            Ok(changed) => Ok(changed),
            // CAST: Negative error codes fit.
            Err(_) => to_result(ret as i32).map(|()| 0),
        }
    }
}
