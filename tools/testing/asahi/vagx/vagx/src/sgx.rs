// SPDX-License-Identifier: MIT OR Apache-2.0

//! The registers of the GPU itself that the AP may see.
//!
//! Offsets: m1n1 `proxyclient/m1n1/hw/agx.py` (`SGXInfoRegs` at 0xd00000, `SGXRegs`).
//! Values of an M1 (G13G, B1): the kernel log of a MacBook Air in leifliddy/asahi-fedora-builder
//! issue 27, with the core mask of a GPU whose eight cores all work.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vagx_trace::{Complaint, Level, Trace};

/// Registers that identify the GPU.
const IDENTITY_T8103: [(u64, u32); 8] = [
    (0xd0_1500, 0xff),        // cores of the first 32 that work
    (0xd0_1514, 0),           // of the next 32
    (0xd0_4000, 0x0402_1100), // generation 4, variant 2 (G), revision B1
    (0xd0_4008, 0x0004_0a04),
    (0xd0_4010, 0x0003_0808), // cores in a cluster 7:0
    (0xd0_4014, 0x0004_0404), // GPs 23:16
    (0xd0_4018, 0x0132_0300),
    (0xd0_401c, 0x0010_1311), // clusters 19:12
];

/// The last fault of the GPU's memory accesses, 64 bits.
const FAULT_INFO: u64 = 0x1_7030;

/// The fault register's content, which the firmware side sets.
#[derive(Clone, Default)]
pub struct FaultRegister(Arc<AtomicU64>);

impl FaultRegister {
    /// What the register shows from now on.
    pub fn set(&self, info: u64) {
        self.0.store(info, Ordering::SeqCst);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// The register block.
pub struct Sgx {
    identity: &'static [(u64, u32)],
    fault: FaultRegister,
    unknown: BTreeSet<(u64, bool)>,
    trace: Trace,
    base: u64,
}

impl Sgx {
    /// The registers of a chip by its number, seen at `base`.
    pub fn new(chip: u32, base: u64, trace: Trace) -> Option<Self> {
        let identity = match chip {
            0x8103 => &IDENTITY_T8103,
            _ => return None,
        };
        Some(Self {
            identity,
            fault: FaultRegister::default(),
            unknown: BTreeSet::new(),
            trace,
            base,
        })
    }

    /// The fault register.
    pub fn fault(&self) -> FaultRegister {
        self.fault.clone()
    }

    fn word(&self, offset: u64) -> Option<u32> {
        let fault = self.fault.get();
        match offset {
            FAULT_INFO => Some(fault as u32),
            o if o == FAULT_INFO + 4 => Some((fault >> 32) as u32),
            _ => self
                .identity
                .iter()
                .find(|(o, _)| *o == offset)
                .map(|(_, v)| *v),
        }
    }

    /// Reads 32 bits.
    pub fn read32(&mut self, offset: u64) -> u32 {
        self.word(offset).unwrap_or_else(|| {
            self.note(offset, false, 0);
            0
        })
    }

    /// Reads 64 bits, the fault register in one piece.
    pub fn read64(&mut self, offset: u64) -> u64 {
        if offset == FAULT_INFO {
            return self.fault.get();
        }
        u64::from(self.read32(offset)) | u64::from(self.read32(offset + 4)) << 32
    }

    /// Writes.
    pub fn write(&mut self, offset: u64, value: u64) {
        if self.word(offset).is_some() {
            return self.trace.complain(Complaint {
                structure: "sgx registers",
                field: "read-only",
                offset,
                value,
                address: self.base + offset,
                why: "this register says what the hardware is or did".into(),
            });
        }
        self.note(offset, true, value);
    }

    /// Mentions an access to a register that is not modelled, the first time.
    fn note(&mut self, offset: u64, write: bool, value: u64) {
        if self.unknown.insert((offset, write)) {
            let what = if write { "write to" } else { "read of" };
            self.trace.log(
                Level::Info,
                &format!("{what} unknown register sgx+{offset:#x} ({value:#x})"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sgx() -> (Sgx, Trace) {
        let trace = Trace::silent();
        (
            Sgx::new(0x8103, 0x2_0400_0000, trace.clone()).unwrap(),
            trace,
        )
    }

    /// The numbers as a driver takes them apart.
    #[test]
    fn an_m1() {
        let (mut s, trace) = sgx();
        let version = s.read32(0xd0_4000);
        assert_eq!(version.to_be_bytes(), [4, 2, 0x11, 0]);
        assert_eq!(s.read32(0xd0_4010) & 0xff, 8);
        assert_eq!(s.read32(0xd0_4014) >> 16 & 0xff, 4);
        assert_eq!(s.read32(0xd0_401c) >> 12 & 0xff, 1);
        assert_eq!(s.read32(0xd0_1500).count_ones(), 8);
        assert_eq!(s.read64(0xd0_1500), 0xff);
        assert_eq!(s.read32(0xd0_4008), 0x4_0a04);
        assert!(Sgx::new(0x8112, 0, trace).is_none());
    }

    #[test]
    fn writes() {
        let (mut s, trace) = sgx();
        s.write(0xd1_4000, 0x7_0001);
        assert_eq!(trace.complaint_count(), 0);
        s.write(0xd0_4000, 0);
        s.write(0x1_7030, 0);
        assert_eq!(trace.complaint_count(), 2);
    }

    #[test]
    fn faults() {
        let (mut s, _) = sgx();
        s.fault().set(0x1122_3344_5566_7789);
        assert_eq!(s.read64(0x1_7030), 0x1122_3344_5566_7789);
        assert_eq!(s.read32(0x1_7034), 0x1122_3344);
        assert_eq!(s.read32(0x1_7038), 0);
    }
}
