// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The few registers that the driver touches itself.
//!
//! Nearly all of the GPU is driven by its coprocessor. What is left for the driver is to identify
//! the GPU, to start and stop the coprocessor's CPU, and to read what the MMU knows about a fault.
//!
//! Sources: AsahiLinux/m1n1 `proxyclient/m1n1/hw/agx.py` (SGX) and AsahiLinux/docs
//! `hw/soc/asc.md` (ASC).

use kernel::io::register;

/// Size of the mapped part of the coprocessor's control registers. The mailbox, which follows at
/// 0x8000, belongs to its own driver.
pub(crate) const ASC_SIZE: usize = 0x4000;

/// Size of the GPU's register block.
pub(crate) const SGX_SIZE: usize = 0x1000000;

/// The coprocessor's control registers.
pub(crate) type AscMem<'a> = kernel::io::mem::IoMem<'a, ASC_SIZE>;

/// The GPU's registers.
pub(crate) type SgxMem<'a> = kernel::io::mem::IoMem<'a, SGX_SIZE>;

/// The GPU's registers, for those who do not live as long as the device is bound.
pub(crate) type SgxDevres = kernel::io::mem::DevresIoMem<SGX_SIZE>;

register! {
    /// Control of the coprocessor's CPU, in the ASC block.
    pub(crate) CPU_CONTROL(u32) @ 0x44 {
        /// The CPU runs.
        4:4     run => bool;
    }

    /// What the MMU knows about the first fault since the firmware cleared it. On G13 and G14G.
    pub(crate) FAULT_INFO(u64) @ 0x17030 {
        /// The faulting address in units of 64 bytes.
        63:30   address;
        /// Further information of the unit, of unknown meaning.
        29:23   sideband;
        /// The slot of the address space, an index into the TTBAT.
        22:17   vm_slot;
        /// The unit that asked, see [`crate::fault::FaultUnit`].
        16:9    unit;
        /// The level of the page table where the walk ended.
        8:7     level;
        /// Unknown.
        6:5     unk_5;
        /// The access was a read.
        4:4     read => bool;
        /// Why it was refused, see [`crate::fault::FaultReason`].
        3:1     reason;
        /// A fault is recorded.
        0:0     valid => bool;
    }

    /// Mask of the cores that are there, first word.
    pub(crate) CORE_MASK_0(u32) @ 0xd01500 {
        31:0    mask;
    }

    /// Mask of the cores that are there, second word.
    pub(crate) CORE_MASK_1(u32) @ 0xd01514 {
        31:0    mask;
    }

    /// What GPU this is.
    pub(crate) ID_VERSION(u32) @ 0xd04000 {
        /// Generation: 4 is G13, 5 is G14, 6 is the multi-die G14.
        31:24   generation;
        /// Variant: 1 P, 2 G, 3 S, 4 C or D.
        23:16   variant;
        /// Silicon revision, in BCD: 0x11 is B1.
        15:8    revision;
    }

    /// Numbers of units, first word.
    pub(crate) ID_COUNTS_1(u32) @ 0xd04010 {
        /// Cores of one cluster, including those that are fused off.
        7:0     cores;
    }

    /// Numbers of units, second word.
    pub(crate) ID_COUNTS_2(u32) @ 0xd04014 {
        /// Geometry pipelines of one cluster.
        23:16   gps;
    }

    /// Number of clusters. On G13 and G14G.
    pub(crate) ID_CLUSTERS(u32) @ 0xd0401c {
        19:12   clusters;
    }
}
