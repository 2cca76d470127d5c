// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What the MMU says about a fault.
//!
//! Source: AsahiLinux/m1n1 `proxyclient/m1n1/hw/agx.py`.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    fmt,
    io::Io,
    prelude::*, //
};

use crate::regs::{
    SgxDevres,
    FAULT_INFO, //
};

/// Why an access was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultReason {
    /// Nothing is mapped there.
    Unmapped,
    /// The access flag is not set.
    AccessFlag,
    /// The page may only be written.
    WriteOnly,
    /// The page may only be read.
    ReadOnly,
    /// The page may not be accessed by the GPU.
    NoAccess,
    /// Unknown.
    Unknown(u8),
}

impl From<u8> for FaultReason {
    fn from(reason: u8) -> Self {
        match reason {
            0 => Self::Unmapped,
            1 => Self::AccessFlag,
            2 => Self::WriteOnly,
            3 => Self::ReadOnly,
            4 => Self::NoAccess,
            reason => Self::Unknown(reason),
        }
    }
}

/// The unit that made an access, by its code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct FaultUnit(u8);

/// Units of which there are ten groups, with codes below 0xa0.
const GROUPED: [&str; 15] = [
    "DCMP", "UL1C", "CMP", "GSL1", "IAP", "VCE", "TE", "RAS", "VDM", "PPP", "IPF", "IPF_CPF", "VF",
    "VF_CPF", "ZLS",
];

/// Units with codes from 0xa1 on.
const SINGLE: [&str; 14] = [
    "dPM", "dCDM_KS0", "dCDM_KS1", "dCDM_KS2", "dIPP", "dIPP_CS", "dVDM_CSD", "dVDM_SSD",
    "dVDM_ILF", "dVDM_ILD", "dRDE0", "dRDE1", "FC", "GSL2",
];

/// Units of which there are two, with codes from 0xe0 on.
const PAIRED: [&str; 16] = [
    "gPM",
    "gVDM_CSD",
    "gVDM_SSD",
    "gVDM_ILF",
    "gVDM_TFP",
    "gVDM_MMB",
    "gCDM_CS_KS0",
    "gCDM_CS_KS1",
    "gCDM_CS_KS2",
    "gCDM_KS0",
    "gCDM_KS1",
    "gCDM_KS2",
    "gIPP",
    "gIPP_CS",
    "gRDE0",
    "gRDE1",
];

impl FaultUnit {
    /// The unit's name and, where there are several, its number.
    fn name(self) -> (&'static str, Option<u8>) {
        let low = usize::from(self.0 & 0xf);
        let (table, index, number): (&[&'static str], _, _) = match self.0 {
            0x00..=0x9f => (&GROUPED, low, Some(self.0 >> 4)),
            0xa1..=0xae => (&SINGLE, low - 1, None),
            0xb0..=0xb7 => (&["GL2CC_META"], 0, Some(self.0 & 0xf)),
            0xb8 => (&["GL2CC_MB"], 0, None),
            0xe0..=0xff => (&PAIRED, low, Some((self.0 >> 4) & 1)),
            _ => (&[], 0, None),
        };

        (table.get(index).copied().unwrap_or("unknown"), number)
    }
}

impl fmt::Display for FaultUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, number) = self.name();

        match number {
            Some(number) => write!(f, "{}{} ({:#04x})", name, number, self.0),
            None => write!(f, "{} ({:#04x})", name, self.0),
        }
    }
}

/// A fault.
#[derive(Clone, Copy)]
pub(crate) struct FaultInfo {
    /// The address, in units of 64 bytes.
    pub(crate) address: u64,
    /// The slot of the address space.
    pub(crate) vm_slot: u32,
    /// Who made the access.
    pub(crate) unit: FaultUnit,
    /// The access was a read.
    pub(crate) read: bool,
    /// Why it was refused.
    pub(crate) reason: FaultReason,
    /// The level of the page table where the walk ended.
    pub(crate) level: u8,
}

impl FaultInfo {
    /// Decodes the register. Returns [`None`] if it holds no fault.
    fn decode(info: FAULT_INFO) -> Option<Self> {
        if !info.valid() {
            return None;
        }

        // CAST: The fields are as narrow as the types, or narrower.
        Some(Self {
            address: info.address().get() << 6,
            vm_slot: info.vm_slot().get() as u32,
            unit: FaultUnit(info.unit().get() as u8),
            read: info.read(),
            reason: (info.reason().get() as u8).into(),
            level: info.level().get() as u8,
        })
    }

    /// Reads what the MMU has recorded.
    pub(crate) fn read(dev: &Device<Bound>, sgx: &SgxDevres) -> Option<Self> {
        Self::decode(sgx.access(dev).ok()?.try_read(FAULT_INFO).ok()?)
    }
}

impl fmt::Display for FaultInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!(
            "{} of {:#x} by {} in address space slot {}: {:?} at level {}",
            if self.read { "read" } else { "write" },
            self.address,
            self.unit,
            self.vm_slot,
            self.reason,
            self.level
        ))
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kunit_tests(asahi_fault)]
mod tests {
    use super::*;

    #[test]
    fn register_is_decoded() {
        let raw = 0x15_0000_0040u64 >> 6 << 30 | 3 << 17 | 0x21 << 9 | 2 << 7 | 1 << 4 | 1;

        assert!(FaultInfo::decode(FAULT_INFO::from_raw(raw & !1)).is_none());

        let Some(info) = FaultInfo::decode(FAULT_INFO::from_raw(raw)) else {
            assert!(false);
            return;
        };
        assert_eq!(info.address, 0x15_0000_0040);
        assert_eq!(info.vm_slot, 3);
        assert!(info.unit.name() == ("UL1C", Some(2)));
        assert_eq!(info.level, 2);
        assert!(info.read);
        assert!(info.reason == FaultReason::Unmapped);
    }

    #[test]
    fn every_unit_has_a_name() {
        assert!(FaultUnit(0x0f).name().0 == "unknown");
        assert!(FaultUnit(0xa0).name().0 == "unknown");
        assert!(FaultUnit(0xae).name() == ("GSL2", None));
        assert!(FaultUnit(0xb8).name() == ("GL2CC_MB", None));
        assert!(FaultUnit(0xff).name() == ("gRDE1", Some(1)));
        for code in 0..=u8::MAX {
            let _ = FaultUnit(code).name();
        }
    }
}
