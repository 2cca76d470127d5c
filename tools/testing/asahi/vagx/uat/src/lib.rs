// SPDX-License-Identifier: MIT OR Apache-2.0

//! The memory that the coprocessor and the GPU see.
//!
//! [`PhysMem`] is physical memory by physical address. [`Uat`] is the unified address translator
//! on top of it: the page walker through which every access of the firmware and of the GPU goes.
//! Nothing is remembered between two translations: tables are read where the driver wrote them,
//! each time. That is how hardware looks to a driver that invalidates TLBs when it should; the
//! broadcast instructions by which a CPU does that cannot be seen from a device of QEMU, so neither
//! can their absence. A [`Watch`] sees what the firmware's processor keeps in its cache.

mod map;
mod mem;
mod pte;
mod uat;
mod vecmem;

pub use map::{Mapping, Mappings};
pub use mem::{BusError, PhysMem, Run};
pub use pte::{Attr, Pte, Rights, Ttbr};
pub use uat::{Access, Agent, Fault, Reason, Uat, Watch, canonical};
pub use vecmem::VecMem;

/// Bits of an offset inside a page.
pub const PAGE_BITS: u32 = 14;
/// The only page size there is.
pub const PAGE_SIZE: u64 = 1 << PAGE_BITS;
/// Number of contexts in the TTBAT.
pub const CONTEXTS: u8 = 64;
