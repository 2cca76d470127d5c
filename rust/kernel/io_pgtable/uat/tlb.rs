// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Invalidation of the UAT's TLB.
//!
//! The GPU and the core that runs its firmware are in the outer shareable domain of the CPUs, and
//! listen to the TLB invalidation that these broadcast there (m1n1,
//! `proxyclient/m1n1/hw/uat.py`). There are no registers for this purpose.
//!
//! Each function returns when the invalidation has completed. A page table entry that was written
//! before the call is seen by every walk after it.
//!
//! A CPU without the outer shareable instructions (FEAT_TLBIOS) cannot be the CPU of such a chip.
//! Where the GPU is modelled for a virtual machine that has no such CPU, nothing is done here.

use super::PAGE_SIZE;
use crate::bindings;

/// Invalidates everything, in all contexts.
pub fn flush_all() {
    // SAFETY: Invalidating a TLB is always sound.
    unsafe { bindings::apple_uat_tlb_flush_all() };
}

/// Invalidates the entries of one context.
pub fn flush_asid(asid: u8) {
    // SAFETY: Invalidating a TLB is always sound.
    unsafe { bindings::apple_uat_tlb_flush_asid(asid) };
}

/// Invalidates the entries of one context for one page.
pub fn flush_page(asid: u8, iova: u64) {
    flush_range(asid, iova, PAGE_SIZE);
}

/// Invalidates the entries of one context for a range.
///
/// An address in the upper half is the same in every context, so that `asid` is ignored.
pub fn flush_range(asid: u8, iova: u64, size: usize) {
    // SAFETY: Invalidating a TLB is always sound.
    unsafe { bindings::apple_uat_tlb_flush_range(asid, iova, size) };
}
