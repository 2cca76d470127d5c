// SPDX-License-Identifier: MIT OR Apache-2.0

//! Descriptors: what one 64-bit entry says.
//!
//! Layout and permission tables: m1n1 `proxyclient/m1n1/hw/uat.py` (classes `TTBR`, `PTE`).

use crate::Agent;

fn bits(v: u64, high: u32, low: u32) -> u64 {
    v >> low & (u64::MAX >> (63 - (high - low)))
}

/// A translation table base, as the TTBAT holds two per context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ttbr(pub u64);

impl Ttbr {
    /// Bit 0: the base counts.
    pub fn valid(self) -> bool {
        self.0 & 1 != 0
    }

    /// Physical address of the top-level table.
    pub fn table(self) -> u64 {
        bits(self.0, 47, 1) << 1
    }

    /// Tag of the translations in the TLB.
    pub fn asid(self) -> u16 {
        bits(self.0, 63, 48) as u16
    }
}

/// Memory attribute index of a leaf; the names say who shares the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attr {
    /// 0: write-back, the firmware processor's own.
    Normal,
    /// 1: device memory.
    Device,
    /// 2: not held in the firmware processor's cache: shared with the AP or the GPU.
    Shared,
    /// 3 to 7: without known use.
    Other(u8),
}

/// What an agent may do with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// May read.
    pub read: bool,
    /// May write.
    pub write: bool,
}

const NONE: Rights = Rights {
    read: false,
    write: false,
};
const RO: Rights = Rights {
    read: true,
    write: false,
};
const WO: Rights = Rights {
    read: false,
    write: true,
};
const RW: Rights = Rights {
    read: true,
    write: true,
};

/// By AP, then UXN:PXN.
type Table = [[Rights; 4]; 4];

/// The firmware at EL1, pages of the operating system. "RX" counts as readable.
const FIRMWARE_OS: Table = [[NONE, RO, WO, RW], [RO, NONE, RW, RW], [NONE; 4], [NONE; 4]];

/// The firmware at EL1, its own pages.
const FIRMWARE_OWN: Table = [
    [NONE; 4],
    [NONE, RW, NONE, RW],
    [NONE, RO, NONE, NONE],
    [RO, RO, NONE, RO],
];

/// The GPU, pages of the operating system. It reaches no page of the firmware's own.
const GPU_OS: Table = [
    [NONE, RO, WO, RW],
    [NONE, NONE, NONE, RO],
    [RO, WO, RW, NONE],
    [NONE; 4],
];

/// A table or page descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pte(pub u64);

impl Pte {
    /// Bit 0.
    pub fn valid(self) -> bool {
        self.0 & 1 != 0
    }

    /// Bits 1:0 = 3: a next-level table, or a page at the last level.
    pub fn table_or_page(self) -> bool {
        self.0 & 3 == 3
    }

    /// Physical address of the table or page.
    pub fn address(self) -> u64 {
        bits(self.0, 47, 14) << 14
    }

    /// AttrIndx, bits 4:2.
    pub fn attr(self) -> Attr {
        match bits(self.0, 4, 2) as u8 {
            0 => Attr::Normal,
            1 => Attr::Device,
            2 => Attr::Shared,
            n => Attr::Other(n),
        }
    }

    /// AP, bits 7:6.
    pub fn ap(self) -> u8 {
        bits(self.0, 7, 6) as u8
    }

    /// Access flag, bit 10.
    pub fn accessed(self) -> bool {
        bits(self.0, 10, 10) != 0
    }

    /// Bit 11: the translation belongs to one ASID.
    pub fn not_global(self) -> bool {
        bits(self.0, 11, 11) != 0
    }

    /// Bit 53.
    pub fn pxn(self) -> bool {
        bits(self.0, 53, 53) != 0
    }

    /// Bit 54.
    pub fn uxn(self) -> bool {
        bits(self.0, 54, 54) != 0
    }

    /// Bit 55: a page of the operating system, else of the firmware.
    pub fn os(self) -> bool {
        bits(self.0, 55, 55) != 0
    }

    /// What this leaf lets `agent` do.
    pub fn rights(self, agent: Agent) -> Rights {
        let table = match (agent, self.os()) {
            (Agent::Firmware, true) => &FIRMWARE_OS,
            (Agent::Firmware, false) => &FIRMWARE_OWN,
            (Agent::Gpu, true) => &GPU_OS,
            (Agent::Gpu, false) => return NONE,
        };
        table[usize::from(self.ap())][bits(self.0, 54, 53) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A leaf of the given bit 55, AP, UXN, PXN.
    fn leaf(os: u64, ap: u64, uxn: u64, pxn: u64) -> Pte {
        Pte(os << 55 | uxn << 54 | pxn << 53 | ap << 6 | 1 << 10 | 3)
    }

    fn text(r: Rights) -> &'static str {
        match (r.read, r.write) {
            (false, false) => "--",
            (true, false) => "R-",
            (false, true) => "-W",
            (true, true) => "RW",
        }
    }

    fn row(agent: Agent, os: u64, ap: u64) -> String {
        [(0, 0), (0, 1), (1, 0), (1, 1)]
            .map(|(u, p)| text(leaf(os, ap, u, p).rights(agent)))
            .join(" ")
    }

    #[test]
    fn rights_of_the_firmware() {
        assert_eq!(row(Agent::Firmware, 1, 0), "-- R- -W RW");
        assert_eq!(row(Agent::Firmware, 1, 1), "R- -- RW RW");
        assert_eq!(row(Agent::Firmware, 1, 2), "-- -- -- --");
        assert_eq!(row(Agent::Firmware, 1, 3), "-- -- -- --");
        assert_eq!(row(Agent::Firmware, 0, 0), "-- -- -- --");
        assert_eq!(row(Agent::Firmware, 0, 1), "-- RW -- RW");
        assert_eq!(row(Agent::Firmware, 0, 2), "-- R- -- --");
        assert_eq!(row(Agent::Firmware, 0, 3), "R- R- -- R-");
    }

    #[test]
    fn rights_of_the_gpu() {
        assert_eq!(row(Agent::Gpu, 1, 0), "-- R- -W RW");
        assert_eq!(row(Agent::Gpu, 1, 1), "-- -- -- R-");
        assert_eq!(row(Agent::Gpu, 1, 2), "R- -W RW --");
        assert_eq!(row(Agent::Gpu, 1, 3), "-- -- -- --");
        for ap in 0..4 {
            assert_eq!(row(Agent::Gpu, 0, ap), "-- -- -- --");
        }
    }

    /// The flags that m1n1's `iomap_at` uses by default: OS, Normal, AP 1, AF, UXN.
    #[test]
    fn default_mapping_of_m1n1() {
        let p = Pte(1 << 55 | 1 << 54 | 0x8_0123_4000 | 1 << 10 | 1 << 6 | 3);
        assert!(p.valid() && p.table_or_page() && p.os() && p.uxn() && !p.pxn());
        assert!(p.accessed() && !p.not_global());
        assert_eq!((p.ap(), p.attr()), (1, Attr::Normal));
        assert_eq!(p.address(), 0x8_0123_4000);
        assert_eq!(text(p.rights(Agent::Firmware)), "RW");
        assert_eq!(text(p.rights(Agent::Gpu)), "--");
    }

    #[test]
    fn ttbr_fields() {
        let t = Ttbr(7 << 48 | 0x8_1000_4000 | 1);
        assert!(t.valid());
        assert_eq!((t.table(), t.asid()), (0x8_1000_4000, 7));
        assert!(!Ttbr(0x4000).valid());
        assert_eq!(Ttbr(u64::MAX).table(), 0xffff_ffff_fffe);
    }

    #[test]
    fn attributes() {
        assert_eq!(Pte(1 << 2).attr(), Attr::Device);
        assert_eq!(Pte(2 << 2).attr(), Attr::Shared);
        assert_eq!(Pte(7 << 2).attr(), Attr::Other(7));
        assert_eq!(Pte(u64::MAX).address(), 0xffff_ffff_c000);
    }
}
