// SPDX-License-Identifier: MIT OR Apache-2.0

use std::sync::Arc;

use super::*;
use crate::{Mapping, VecMem};

const BASE: u64 = 0x8_0000_0000;
const TTBAT: u64 = BASE;
/// OS, AF, page: bits that every leaf of these tests has.
const LEAF: u64 = 1 << 55 | 1 << 10 | 3;
const FW_GPU_RW: u64 = LEAF | 3 << 53 | 2 << 2;
const FW_RW: u64 = LEAF | 1 << 54 | 1 << 6;
const GPU_RW: u64 = LEAF | 1 << 54 | 2 << 6 | 1 << 11;

/// Hands out pages of a test memory for tables.
struct Bench {
    mem: Arc<VecMem>,
    uat: Uat,
    free: u64,
}

impl Bench {
    fn new() -> Self {
        let mem = Arc::new(VecMem::new(BASE, 4 << 20));
        let uat = Uat::new(mem.clone(), TTBAT, 40);
        Self {
            mem,
            uat,
            free: BASE + PAGE_SIZE,
        }
    }

    fn page(&mut self) -> u64 {
        self.free += PAGE_SIZE;
        self.free - PAGE_SIZE
    }

    /// Makes the tables for `va` in context `ctx` and returns where its leaf entry stands.
    fn leaf(&mut self, ctx: u64, va: u64) -> u64 {
        let mut entry = TTBAT + ctx * 16 + (va >> 39 & 1) * 8;
        for (i, (shift, count)) in LEVELS.into_iter().enumerate() {
            let old = self.mem.read_u64(entry).unwrap();
            let table = if old & 1 == 0 {
                let t = self.page();
                let bits = if i == 0 { 1 | ctx << 48 } else { 3 };
                self.mem.write_u64(entry, t | bits).unwrap();
                t
            } else {
                old & 0xffff_ffff_c000
            };
            entry = table + (va >> shift & (count - 1)) * 8;
        }
        entry
    }

    fn map(&mut self, ctx: u64, va: u64, bits: u64) -> u64 {
        let pa = self.page();
        let entry = self.leaf(ctx, va);
        self.mem.write_u64(entry, pa | bits).unwrap();
        pa
    }

    fn reason(&self, ctx: u8, agent: Agent, va: u64, access: Access) -> (u8, Reason) {
        let f = self.uat.translate(ctx, agent, va, access).unwrap_err();
        assert_eq!((f.va, f.ctx, f.agent, f.access), (va, ctx, agent, access));
        (f.level, f.reason)
    }
}

use Access::{Read, Write};
use Agent::{Firmware, Gpu};

#[test]
fn translates_both_halves() {
    let mut b = Bench::new();
    let low = b.map(3, 0x15_0000_4000, GPU_RW);
    let high = b.map(0, 0xffff_ffa0_000b_0000, FW_RW);
    let t = |ctx, agent, va| b.uat.translate(ctx, agent, va, Write);
    assert_eq!(t(3, Gpu, 0x15_0000_4123), Ok(low + 0x123));
    assert_eq!(t(0, Firmware, 0xffff_ffa0_000b_3fff), Ok(high + 0x3fff));
    // The firmware sees its upper half whatever the context is.
    assert_eq!(t(3, Firmware, 0xffff_ffa0_000b_0000), Ok(high));
    // The GPU does not: this context's second base is empty.
    assert_eq!(
        b.reason(3, Gpu, 0xffff_ffa0_000b_0000, Read),
        (0, Reason::Unmapped)
    );
}

#[test]
fn faults_say_the_level() {
    let mut b = Bench::new();
    assert_eq!(b.reason(1, Gpu, 0x4000, Read), (0, Reason::Unmapped));
    b.map(1, 0x4000, GPU_RW);
    assert_eq!(
        b.reason(1, Gpu, 0x10_0000_0000, Read),
        (1, Reason::Unmapped)
    );
    assert_eq!(b.reason(1, Gpu, 0x200_0000, Read), (2, Reason::Unmapped));
    assert_eq!(b.reason(1, Gpu, 0x8000, Read), (3, Reason::Unmapped));
    assert_eq!(b.reason(64, Gpu, 0x4000, Read), (0, Reason::Unmapped));
    assert_eq!(
        b.reason(255, Firmware, 0xffff_ffa0_0000_0000, Read),
        (0, Reason::Unmapped)
    );
}

#[test]
fn addresses_out_of_both_halves() {
    let mut b = Bench::new();
    b.map(0, 0xffff_ff80_0000_4000, FW_GPU_RW);
    b.map(0, 0x4000, FW_GPU_RW);
    let ok = |agent, va| b.uat.translate(0, agent, va, Read).is_ok();
    assert!(ok(Firmware, 0xffff_ff80_0000_4000) && ok(Firmware, 0x4000));
    assert!(ok(Gpu, 0xffff_ff80_0000_4000) && ok(Gpu, 0x80_0000_4000) && ok(Gpu, 0x4000));
    assert!(!ok(Firmware, 0x80_0000_4000));
    assert!(!ok(Firmware, 0xf80_0000_4000));
    assert!(!ok(Gpu, 0x180_0000_4000));
    assert!(!ok(Gpu, 0xffff_fe80_0000_4000));
    assert!(!ok(Gpu, 0xffff_ff00_0000_4000));
    assert!(!ok(Firmware, 1 << 63 | 0x4000));
}

#[test]
fn rights_decide() {
    let mut b = Bench::new();
    let uxn = 1 << 54;
    let pxn = 1 << 53;
    b.map(0, 0x4000, LEAF | pxn); // both read-only
    b.map(0, 0x8000, LEAF | uxn); // both write-only
    b.map(0, 0xc000, FW_RW);
    b.map(0, 0x1_0000, GPU_RW);
    assert_eq!(b.reason(0, Gpu, 0x4000, Write), (3, Reason::ReadOnly));
    assert_eq!(b.reason(0, Firmware, 0x8000, Read), (3, Reason::WriteOnly));
    assert_eq!(b.reason(0, Gpu, 0xc000, Read), (3, Reason::NoAccess));
    assert_eq!(
        b.reason(0, Firmware, 0x1_0000, Write),
        (3, Reason::NoAccess)
    );
    assert!(b.uat.translate(0, Gpu, 0x1_0000, Write).is_ok());
    assert!(b.uat.translate(0, Firmware, 0x8000, Write).is_ok());
}

#[test]
fn access_flag_comes_first() {
    let mut b = Bench::new();
    b.map(0, 0x4000, FW_RW & !(1 << 10));
    assert_eq!(b.reason(0, Firmware, 0x4000, Read), (3, Reason::AccessFlag));
    assert_eq!(b.reason(0, Gpu, 0x4000, Read), (3, Reason::AccessFlag));
}

#[test]
fn blocks_and_half_entries_are_unmapped() {
    let mut b = Bench::new();
    let entry = b.leaf(0, 0x4000);
    b.mem.write_u64(entry, BASE | (FW_RW & !2)).unwrap();
    assert_eq!(b.reason(0, Firmware, 0x4000, Read), (3, Reason::Unmapped));
    let table = b.uat.ttbrs(0).unwrap()[0].table();
    b.mem.write_u64(table, BASE | (FW_RW & !2)).unwrap();
    assert_eq!(b.reason(0, Firmware, 0x4000, Read), (1, Reason::Unmapped));
}

#[test]
fn physical_addresses_that_do_not_answer() {
    let mut b = Bench::new();
    let entry = b.leaf(0, 0x4000);
    // Within the output size, but no RAM: the translation holds, the access does not.
    b.mem.write_u64(entry, 0x2_0400_0000 | FW_RW).unwrap();
    assert_eq!(
        b.uat.translate(0, Firmware, 0x4008, Read),
        Ok(0x2_0400_0008)
    );
    assert_eq!(
        b.uat.read_u32(0, Firmware, 0x4008).unwrap_err().reason,
        Reason::Bus
    );
    assert_eq!(
        b.uat.page(0, Firmware, 0x4008, Read).unwrap_err().reason,
        Reason::Bus
    );
    // Beyond the output size.
    b.mem.write_u64(entry, 1 << 40 | FW_RW).unwrap();
    assert_eq!(b.reason(0, Firmware, 0x4000, Read), (3, Reason::Bus));
    b.mem.write_u64(TTBAT, 1 << 41 | 1).unwrap();
    assert_eq!(b.reason(0, Firmware, 0x4000, Read), (0, Reason::Bus));
    b.mem.write_u64(TTBAT, 0x4000 | 1).unwrap();
    assert_eq!(b.reason(0, Firmware, 0x4000, Read), (0, Reason::Bus));
}

#[test]
fn copies_cross_pages_that_do_not_touch() {
    let mut b = Bench::new();
    let first = b.map(0, 0xffff_ffa0_0000_0000, FW_RW);
    b.page();
    let second = b.map(0, 0xffff_ffa0_0000_4000, FW_RW);
    let data: Vec<u8> = (0..64).collect();
    let va = 0xffff_ffa0_0000_3fe0;
    b.uat.write(0, Firmware, va, &data).unwrap();
    let mut back = [0; 64];
    b.uat.read(0, Firmware, va, &mut back).unwrap();
    assert_eq!(back[..], data[..]);
    assert_eq!(b.mem.read_u8(first + 0x3fff), Ok(31));
    assert_eq!(b.mem.read_u8(second), Ok(32));
    // A word over the edge.
    b.uat
        .write_u64(0, Firmware, va + 0x1d, 0x1122_3344_5566_7788)
        .unwrap();
    assert_eq!(b.mem.read_u32(second), Ok(0x2233_4455));
    assert_eq!(
        b.uat.read_u64(0, Firmware, va + 0x1d),
        Ok(0x1122_3344_5566_7788)
    );
    // The fault names the page that is missing.
    let f = b.uat.read(0, Firmware, va, &mut [0; 0x8000]).unwrap_err();
    assert_eq!((f.va, f.level), (0xffff_ffa0_0000_8000, 3));
}

#[test]
fn words() {
    let mut b = Bench::new();
    let pa = b.map(0, 0x4000, FW_GPU_RW);
    b.uat.write_u32(0, Gpu, 0x4010, 7).unwrap();
    assert_eq!(b.uat.fetch_add_u32(0, Firmware, 0x4010, 0x100), Ok(7));
    assert_eq!(b.mem.read_u32(pa + 0x10), Ok(0x107));
    assert!(b.uat.fetch_add_u32(0, Firmware, 0x4011, 1).is_err());
    b.uat.write_u8(0, Firmware, 0x4013, 1).unwrap();
    assert_eq!(b.uat.read_u64(0, Gpu, 0x400d), Ok(0x01_0001_0700_0000));
    assert_eq!(b.mem.read_u16(pa + 0x11), Ok(1));
}

#[test]
fn host_pages() {
    let mut b = Bench::new();
    b.map(0, 0x4000, FW_GPU_RW);
    let p = b.uat.page(0, Gpu, 0x7fff, Write).unwrap();
    // SAFETY: The page is in the test's memory and nothing else runs.
    unsafe { p.as_ptr().add(0x20).write(0x5a) };
    assert_eq!(b.uat.read_u8(0, Firmware, 0x4020), Ok(0x5a));
    assert!(b.uat.page(0, Gpu, 0x8000, Read).is_err());
}

#[test]
fn mappings_in_order() {
    let mut b = Bench::new();
    let vas = [
        0x4000,
        0x8000,
        0x200_0000,
        0x7f_ffff_8000,
        0xffff_ffa0_0000_0000,
        0xffff_ffff_ffff_c000,
    ];
    let pas = vas.map(|va| b.map(0, va, FW_RW));
    let found: Vec<Mapping> = b.uat.mappings(0).collect();
    assert_eq!(found.iter().map(|m| m.va).collect::<Vec<_>>(), vas);
    assert_eq!(found.iter().map(|m| m.pa).collect::<Vec<_>>(), pas);
    assert!(found.iter().all(|m| m.pte.0 & FW_RW == FW_RW));
    // Another context shows its lower half only.
    b.map(2, 0x4000, GPU_RW);
    b.mem
        .write_u64(TTBAT + 40, b.uat.ttbrs(0).unwrap()[1].0)
        .unwrap();
    assert_eq!(b.uat.mappings(2).count(), 1);
    assert_eq!(b.uat.mappings(5).count(), 0);
    assert_eq!(b.uat.mappings(64).count(), 0);
}

#[test]
fn mappings_survive_wild_tables() {
    let mut b = Bench::new();
    let leaf = b.leaf(0, 0x4000);
    b.mem.write_u64(leaf, 1 << 41 | FW_RW).unwrap();
    // A second-level table outside RAM, and one that is the top table itself.
    let top = b.uat.ttbrs(0).unwrap()[0].table();
    b.mem.write_u64(top + 8, 0x4000 | 3).unwrap();
    b.mem.write_u64(top + 16, top | 3).unwrap();
    assert!(b.uat.mappings(0).count() < 64);
    b.mem.write_u64(TTBAT, u64::MAX).unwrap();
    assert_eq!(b.uat.mappings(0).count(), 0);
}

#[test]
fn canonical_form() {
    assert_eq!(canonical(0xfa0_000b_0000), 0xffff_ffa0_000b_0000);
    assert_eq!(canonical(0xa0_000b_0000), 0xffff_ffa0_000b_0000);
    assert_eq!(canonical(0x15_0000_0000), 0x15_0000_0000);
    assert_eq!(canonical(0xffff_ffa0_0000_0000), 0xffff_ffa0_0000_0000);
}

#[test]
fn ends_of_ram() {
    let m = VecMem::new(0x4000, 0x4000);
    assert!(m.read_u64(0x3ff8).is_err());
    assert!(m.read_u64(0x7ff8).is_ok());
    assert_eq!(m.read_u64(0x7ffc), Err(crate::BusError { pa: 0x8000 }));
    assert!(m.write(0x7fff, &[1, 2]).is_err());
    assert!(m.read(u64::MAX, &mut [0; 4]).is_err());
    assert!(m.host(0x4000, 0x4001).is_none());
}

#[test]
fn the_entries_behind_a_page() {
    let mut b = Bench::new();
    let va = 0x12_3456_8000;
    b.map(3, va, GPU_RW);
    let leaf = b.leaf(3, va);
    let [table, page] = b.uat.entries(3, Agent::Gpu, va + 8).unwrap();
    assert_eq!(page.1, b.mem.read_u64(leaf).unwrap());
    assert_eq!(table.1 & 0xffff_ffff_c000, leaf & !(PAGE_SIZE - 1));
    assert_eq!(page.0, b.mem.host(leaf, 8).unwrap().cast());
    // SAFETY: A word of the test's memory.
    assert_eq!(unsafe { table.0.read() }, table.1);
    assert!(b.uat.entries(3, Agent::Gpu, va + PAGE_SIZE).is_none());
}
