// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the regions contain when the kernel starts.

use crate::{Layout, Machine, PAGE, blob};

/// A piece of guest memory and its contents.
#[derive(Clone, Debug)]
pub struct Segment {
    pub name: &'static str,
    pub pa: u64,
    pub bytes: Vec<u8>,
}

/// The part of the kernel half of the address space that belongs to the firmware.
///
/// The page tables are the coprocessor's own as well as the GPU's (AsahiLinux/docs
/// docs/hw/soc/agx.md), so the root that the kernel adopts already maps the firmware: entries 0
/// and 1 of level 0, addresses below 0xffffffa000000000, are the firmware's (m1n1
/// proxyclient/m1n1/hw/uat.py clears the root from byte 0x10 on only). The model has both of them
/// lead to one page of firmware data.
#[derive(Clone, Debug)]
pub struct FirmwareHalf {
    /// Physical address of the root page.
    pub root: u64,
    /// Virtual address of the firmware's data page.
    pub data_va: u64,
    /// Physical address of the firmware's data page.
    pub data_pa: u64,
    entries: [(u64, u64); 4],
}

/// Valid, and a table or page.
const PTE_TABLE: u64 = 3;
/// AP=1, accessed, neither kind of execution; bit 55 is clear, so the entry is the firmware's own:
/// it may read and write, the GPU proper has no access (m1n1 proxyclient/m1n1/hw/uat.py).
const PTE_FIRMWARE_DATA: u64 = PTE_TABLE | 1 << 6 | 1 << 10 | 1 << 53 | 1 << 54;

impl FirmwareHalf {
    pub fn new(layout: &Layout) -> FirmwareHalf {
        let root = layout.pagetables.base;
        let level1 = layout.firmware.base;
        let level2 = level1 + PAGE;
        let data_pa = level2 + PAGE;
        FirmwareHalf {
            root,
            data_va: 0xffff_ff80_0000_0000,
            data_pa,
            entries: [
                (root, level1 | PTE_TABLE),
                (root + 8, level1 | PTE_TABLE),
                (level1, level2 | PTE_TABLE),
                (level2, data_pa | PTE_FIRMWARE_DATA),
            ],
        }
    }

    /// Address and value of every table entry that must stay as it is.
    pub fn entries(&self) -> &[(u64, u64)] {
        &self.entries
    }
}

/// Everything that the bootloader leaves in memory, one segment for each region.
pub fn boot_image(layout: &Layout, machine: &Machine) -> Vec<Segment> {
    let [a, b, globals] = blob::blobs(machine, layout.ttbs.base);
    let half = FirmwareHalf::new(layout);
    layout
        .regions()
        .into_iter()
        .map(|(name, region)| {
            // Handoff and context roots start as zeroes; the firmware and the driver fill them.
            let mut bytes = match name {
                "gpu_hw_cal_a" => a.bytes().to_vec(),
                "gpu_hw_cal_b" => b.bytes().to_vec(),
                "gpu_globals" => globals.bytes().to_vec(),
                _ => Vec::new(),
            };
            bytes.resize(region.size as usize, 0);
            for &(pa, value) in half.entries() {
                if (region.base..region.end()).contains(&pa) {
                    let at = (pa - region.base) as usize;
                    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
                }
            }
            Segment {
                name,
                pa: region.base,
                bytes,
            }
        })
        .collect()
}

/// Writes what the bootloader leaves with the given function for guest-physical memory.
pub fn load<E>(
    layout: &Layout,
    machine: &Machine,
    mut write: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    boot_image(layout, machine)
        .iter()
        .try_for_each(|segment| write(segment.pa, &segment.bytes))
}
