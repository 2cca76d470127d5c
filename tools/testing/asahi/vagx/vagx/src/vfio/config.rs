// SPDX-License-Identifier: MIT OR Apache-2.0

//! PCI configuration space.
//!
//! QEMU keeps its own copy of most of it (the base address registers above all) and asks here for
//! what the device says of itself, so this stays small: the header and one MSI-X capability.

/// Size of a conventional device's configuration space.
pub const SIZE: usize = 0x100;

const VENDOR: usize = 0x00;
const DEVICE: usize = 0x02;
const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const REVISION: usize = 0x08;
const BAR: usize = 0x10;
const SUBSYSTEM: usize = 0x2c;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const MSIX: usize = 0x40;

/// A base address register.
#[derive(Debug, Clone, Copy)]
pub struct Bar {
    /// Number of the (first) register.
    pub index: usize,
    /// A power of two.
    pub size: u64,
    /// Takes two registers and may lie anywhere; prefetchable then.
    pub wide: bool,
}

/// The configuration space: what it holds, and which bits the guest may change.
#[derive(Debug, Clone)]
pub struct ConfigSpace {
    bytes: [u8; SIZE],
    writable: [u8; SIZE],
}

impl ConfigSpace {
    /// A device of `vendor:device` with the 24-bit `class`.
    pub fn new(vendor: u16, device: u16, class: u32, revision: u8) -> Self {
        let mut c = Self {
            bytes: [0; SIZE],
            writable: [0; SIZE],
        };
        c.set(VENDOR, &vendor.to_le_bytes());
        c.set(DEVICE, &device.to_le_bytes());
        c.set(REVISION, &(class << 8 | u32::from(revision)).to_le_bytes());
        c.set(SUBSYSTEM, &vendor.to_le_bytes());
        c.set(SUBSYSTEM + 2, &device.to_le_bytes());
        // Memory space, bus master, parity, SERR, no INTx.
        c.allow(COMMAND, &0x0546u16.to_le_bytes());
        c.allow(INTERRUPT_LINE, &[0xff]);
        c
    }

    fn set(&mut self, at: usize, value: &[u8]) {
        self.bytes[at..at + value.len()].copy_from_slice(value);
    }

    fn allow(&mut self, at: usize, mask: &[u8]) {
        self.writable[at..at + mask.len()].copy_from_slice(mask);
    }

    /// Adds a memory region.
    pub fn add_bar(&mut self, bar: Bar) {
        let at = BAR + bar.index * 4;
        let mask = !(bar.size - 1);
        if bar.wide {
            self.set(at, &0xcu32.to_le_bytes());
            self.allow(at, &mask.to_le_bytes());
        } else {
            self.allow(at, &(mask as u32).to_le_bytes());
        }
    }

    /// Adds the MSI-X capability with its table at the start of a region, the pending bits at
    /// `pending` of the same region.
    pub fn add_msix(&mut self, vectors: u16, bar: u32, pending: u32) {
        self.set(STATUS, &0x10u16.to_le_bytes());
        self.set(CAPABILITIES, &[MSIX as u8]);
        self.set(MSIX, &[0x11, 0]);
        self.set(MSIX + 2, &(vectors - 1).to_le_bytes());
        self.set(MSIX + 4, &bar.to_le_bytes());
        self.set(MSIX + 8, &(pending | bar).to_le_bytes());
        // Enable and function mask.
        self.allow(MSIX + 2, &0xc000u16.to_le_bytes());
    }

    /// Reads; beyond the end nothing is changed.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        let from = self.bytes.iter().skip(offset as usize);
        data.iter_mut().zip(from).for_each(|(d, s)| *d = *s);
    }

    /// Writes what may be written.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        let to = self.bytes.iter_mut().zip(&self.writable);
        for ((b, mask), d) in to.skip(offset as usize).zip(data) {
            *b = *b & !mask | d & mask;
        }
    }

    /// Back to what stands after power-on.
    pub fn reset(&mut self) {
        for (b, mask) in self.bytes.iter_mut().zip(&self.writable) {
            *b &= !mask;
        }
        // The type bits of a register are not writable, so they are still there.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> ConfigSpace {
        let mut c = ConfigSpace::new(0x1209, 0xa6c5, 0x120000, 1);
        c.add_bar(Bar {
            index: 0,
            size: 64 << 20,
            wide: true,
        });
        c.add_bar(Bar {
            index: 2,
            size: 16 << 10,
            wide: false,
        });
        c.add_msix(4, 4, 0x4000);
        c
    }

    fn u32_at(c: &ConfigSpace, at: u64) -> u32 {
        let mut b = [0; 4];
        c.read(at, &mut b);
        u32::from_le_bytes(b)
    }

    #[test]
    fn identity() {
        let c = space();
        assert_eq!(u32_at(&c, 0), 0xa6c5_1209);
        assert_eq!(u32_at(&c, 8), 0x1200_0001);
        assert_eq!(u32_at(&c, 4) >> 16, 0x10);
        assert_eq!(u32_at(&c, 0x40), 0x0003_0011);
        assert_eq!((u32_at(&c, 0x44), u32_at(&c, 0x48)), (4, 0x4004));
    }

    #[test]
    fn sizing_the_registers() {
        let mut c = space();
        for at in [0x10, 0x14, 0x18, 0x20] {
            c.write(at, &[0xff; 4]);
        }
        assert_eq!(u32_at(&c, 0x10), 0xfc00_000c);
        assert_eq!(u32_at(&c, 0x14), 0xffff_ffff);
        assert_eq!(u32_at(&c, 0x18), 0xffff_c000);
        assert_eq!(u32_at(&c, 0x20), 0);
        c.reset();
        assert_eq!((u32_at(&c, 0x10), u32_at(&c, 0x18)), (0xc, 0));
    }

    #[test]
    fn only_some_bits_change() {
        let mut c = space();
        c.write(0, &[0; SIZE]);
        assert_eq!(u32_at(&c, 0), 0xa6c5_1209);
        c.write(4, &[0xff; 2]);
        assert_eq!(u32_at(&c, 4) & 0xffff, 0x546);
        c.write(0x42, &[0, 0x80]);
        assert_eq!(u32_at(&c, 0x40), 0x8003_0011);
        // Beyond the end.
        c.write(0xfe, &[1; 8]);
        c.read(0x1000, &mut [0; 8]);
    }
}
