// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the firmware does to the world around it.

use vagx_uat::Reason;

/// The coprocessor's surroundings. Called from the firmware's threads; must not call back into the firmware.
pub trait Port: Send + Sync {
    /// Sends a message to the AP.
    fn send(&self, ep: u8, msg: u64);
    /// A line for RTKit's syslog, to be kept until the AP has set that endpoint up.
    fn syslog(&self, line: &str);
    /// The firmware has crashed: it says so through RTKit's crash log and does nothing more.
    fn crash(&self, why: &str);
    /// What the GPU's fault register shows from now on.
    fn fault_regs(&self, info: FaultInfo);
    /// The timestamp counter.
    fn now_ticks(&self) -> u64;
}

/// A fault of the GPU, as its register describes it. The default is "no fault".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultInfo {
    pub valid: bool,
    /// Address, of which 40 bits count and the low 6 are lost.
    pub address: u64,
    pub vm_slot: u8,
    /// Code of the unit, m1n1 `hw/agx.py` `agx_decode_unit`.
    pub unit: u8,
    /// Level of the page table at which the walk ended.
    pub level: u8,
    pub read: bool,
    pub reason: u8,
}

impl FaultInfo {
    /// The register at 0x17030 of G13 and G14G (m1n1 `hw/agx.py` `R_FAULT_INFO`).
    pub fn t8103(&self) -> u64 {
        if !self.valid {
            return 0;
        }
        let address = self.address & ((1 << 40) - 1);
        1 | u64::from(self.reason & 7) << 1
            | u64::from(self.read) << 4
            | u64::from(self.level & 3) << 7
            | u64::from(self.unit) << 9
            | u64::from(self.vm_slot & 0x3f) << 17
            | (address >> 6) << 30
    }

    pub(crate) fn reason_code(reason: Reason) -> u8 {
        reason as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fault_register() {
        let info = FaultInfo {
            valid: true,
            address: 0x12_3456_7880,
            vm_slot: 5,
            unit: 0xa2,
            level: 3,
            read: true,
            reason: 0,
        };
        let reg = info.t8103();
        assert_eq!(reg >> 30 << 6, 0x12_3456_7880);
        assert_eq!(reg >> 17 & 0x3f, 5);
        assert_eq!(reg >> 9 & 0xff, 0xa2);
        assert_eq!(reg & 0x1ff, 0b1_1001_0001);
        assert_eq!(FaultInfo::default().t8103(), 0);
    }
}
