// SPDX-License-Identifier: MIT OR Apache-2.0

//! The memory regions of the GPU in the guest's device tree.
//!
//! The regions are what arch/arm64/boot/dts/apple/t8103.dtsi declares under /reserved-memory and
//! m1n1 (src/kboot_gpu.c) fills in, and one more: the coprocessor's own memory, which on hardware
//! the kernel never sees because it is not part of RAM.

use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node, Property};

use crate::{Error, Machine, PAGE, blob};

/// Where the chip's register window begins; guest RAM must end below.
pub const RAM_LIMIT: u64 = 0x2_0000_0000;

/// QEMU puts the kernel, the initramfs and the device tree at fixed distances from the start of
/// RAM, the last of them somewhat above 128 MiB; with this much they stay clear of the regions.
const MIN_RAM: u64 = 256 << 20;

const RESERVED: &str = "/reserved-memory";

/// A range of guest-physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub base: u64,
    pub size: u64,
}

impl Region {
    pub fn end(&self) -> u64 {
        self.base + self.size
    }
}

/// Where everything that the bootloader sets aside lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// 64 pairs of table roots, one for each GPU context.
    pub ttbs: Region,
    /// The root of the kernel half of the address space.
    pub pagetables: Region,
    /// Where firmware and driver coordinate changes to address spaces.
    pub handoff: Region,
    pub hw_cal_a: Region,
    pub hw_cal_b: Region,
    pub globals: Region,
    /// The coprocessor's own memory, which the driver is not told of.
    pub firmware: Region,
    /// The banks of guest RAM.
    pub ram: Vec<Region>,
}

/// A region as it is to appear in the device tree.
struct Wanted {
    label: &'static str,
    node: &'static str,
    size: u64,
}

/// The regions for a machine, in the order of the fields of [`Layout`].
fn wanted(machine: &Machine) -> [Wanted; 7] {
    let [a, b, globals] = blob::sizes(machine);
    let region = |label, node, size: usize| Wanted {
        label,
        node,
        size: (size as u64).next_multiple_of(PAGE),
    };
    [
        region("uat_ttbs", "uat-ttbs", 64 * 16),
        // The kernel adopts one page: the root of TTB1 (m1n1 proxyclient/m1n1/hw/uat.py).
        region("uat_pagetables", "uat-pagetables", 1),
        region("uat_handoff", "uat-handoff", 1),
        region("gpu_hw_cal_a", "hw-cal-a", a),
        region("gpu_hw_cal_b", "hw-cal-b", b),
        region("gpu_globals", "globals", globals),
        region("gfx_asc_firmware", "gfx-asc-firmware", 3 * PAGE as usize),
    ]
}

fn malformed(node: &str, property: &'static str) -> Error {
    Error::Property {
        node: node.into(),
        property,
    }
}

/// Reads a `reg`-like property of 64-bit pairs.
fn pairs(node: &str, value: &[u8]) -> Result<Vec<Region>, Error> {
    let (words, rest) = value.as_chunks::<8>();
    let (pairs, odd) = words.as_chunks::<2>();
    if !rest.is_empty() || !odd.is_empty() {
        return Err(malformed(node, "reg"));
    }
    pairs
        .iter()
        .map(|&[base, size]| {
            let region = Region {
                base: u64::from_be_bytes(base),
                size: u64::from_be_bytes(size),
            };
            match region.base.checked_add(region.size) {
                Some(_) => Ok(region),
                None => Err(malformed(node, "reg")),
            }
        })
        .collect()
}

fn cell(node: &DeviceTreeNode, name: &str) -> Option<u32> {
    node.property(name)?.value_as::<u32>().ok()
}

/// The banks of RAM in ascending order.
fn ram(tree: &DeviceTree) -> Result<Vec<Region>, Error> {
    for name in ["#address-cells", "#size-cells"] {
        if cell(&tree.root, name) != Some(2) {
            return Err(malformed("/", name));
        }
    }
    let mut banks = Vec::new();
    for node in tree.root.children() {
        let is_memory = node
            .property("device_type")
            .is_some_and(|p| p.value() == b"memory\0");
        if is_memory {
            let reg = node
                .property("reg")
                .ok_or_else(|| malformed(node.name(), "reg"))?;
            banks.extend(pairs(node.name(), reg.value())?);
        }
    }
    banks.retain(|bank| bank.size != 0);
    banks.sort_by_key(|bank| bank.base);

    let end = banks.last().ok_or(Error::NoMemory)?.end();
    if end > RAM_LIMIT {
        return Err(Error::RamTooHigh {
            end,
            limit: RAM_LIMIT,
        });
    }
    Ok(banks)
}

fn max_phandle(node: &DeviceTreeNode) -> u32 {
    let own = cell(node, "phandle").unwrap_or(0);
    node.children().map(max_phandle).fold(own, u32::max)
}

fn set<T: dtoolkit::ToPropertyValue>(
    node: &mut DeviceTreeNode,
    name: &str,
    value: T,
) -> Result<(), Error> {
    node.remove_property(name);
    node.add_property(DeviceTreeProperty::new(name, value)?);
    Ok(())
}

/// Takes the child of the given name out of `node`, or makes an empty one.
fn take_child(node: &mut DeviceTreeNode, name: &str) -> Result<DeviceTreeNode, Error> {
    match node.remove_child(name) {
        Some(child) => Ok(child),
        None => Ok(DeviceTreeNode::new(name)?),
    }
}

/// Adds the GPU's memory regions to a device tree that QEMU dumped for its `virt` machine.
pub fn boot_dtb(base: &[u8], machine: &Machine) -> Result<Vec<u8>, Error> {
    let mut tree = DeviceTree::from_fdt(&Fdt::new(base)?);
    let banks = ram(&tree)?;
    let bank = banks.first().ok_or(Error::NoMemory)?;
    if bank.size < MIN_RAM {
        return Err(Error::TooLittleRam {
            have: bank.size,
            need: MIN_RAM,
        });
    }

    let regions = wanted(machine);
    if let Some(symbols) = tree.root.child("__symbols__") {
        for region in &regions {
            if symbols.property(region.label).is_some() {
                return Err(Error::AlreadyPrepared(region.label.into()));
            }
        }
    }

    let mut phandle = max_phandle(&tree.root);
    let mut top = bank.end() / PAGE * PAGE;
    let mut symbols = Vec::new();

    let mut reserved = take_child(&mut tree.root, "reserved-memory")?;
    set(&mut reserved, "#address-cells", 2u32)?;
    set(&mut reserved, "#size-cells", 2u32)?;
    set(&mut reserved, "ranges", [0u8; 0])?;
    for region in &regions {
        top -= region.size;
        phandle += 1;
        let name = format!("{}@{top:x}", region.node);
        let mut node = DeviceTreeNode::new(name.as_str())?;
        let mut reg = [0u8; 16];
        reg[..8].copy_from_slice(&top.to_be_bytes());
        reg[8..].copy_from_slice(&region.size.to_be_bytes());
        set(&mut node, "reg", reg)?;
        set(&mut node, "no-map", [0u8; 0])?;
        set(&mut node, "phandle", phandle)?;
        reserved.add_child(node);
        symbols.push((region.label, format!("{RESERVED}/{name}")));
    }

    tree.root.add_child(reserved);

    // Labels are how the overlay that the guest applies finds the regions.
    let mut node = take_child(&mut tree.root, "__symbols__")?;
    for (label, path) in &symbols {
        set(&mut node, label, path.as_str())?;
    }
    tree.root.add_child(node);
    Ok(tree.to_dtb())
}

impl Layout {
    /// Finds the regions in a device tree that [`boot_dtb`] made.
    pub fn from_dtb(dtb: &[u8], machine: &Machine) -> Result<Layout, Error> {
        let tree = DeviceTree::from_fdt(&Fdt::new(dtb)?);
        let ram = ram(&tree)?;
        let find = |want: &Wanted| -> Result<Region, Error> {
            let path = tree
                .root
                .child("__symbols__")
                .and_then(|symbols| symbols.property(want.label))
                .and_then(|p| p.value_as::<&str>().ok())
                .ok_or(Error::NoLabel(want.label))?;
            let node = tree.find_node(path).ok_or(Error::NoLabel(want.label))?;
            let reg = node.property("reg").ok_or_else(|| malformed(path, "reg"))?;
            let &[region] = pairs(path, reg.value())?.as_slice() else {
                return Err(malformed(path, "reg"));
            };
            if region.size < want.size || !region.base.is_multiple_of(PAGE) {
                return Err(Error::BadRegion {
                    label: want.label,
                    base: region.base,
                    have: region.size,
                    need: want.size,
                });
            }
            if !ram
                .iter()
                .any(|bank| bank.base <= region.base && region.end() <= bank.end())
            {
                return Err(Error::OutsideRam {
                    label: want.label,
                    base: region.base,
                });
            }
            Ok(region)
        };
        let [
            ttbs,
            pagetables,
            handoff,
            hw_cal_a,
            hw_cal_b,
            globals,
            firmware,
        ] = &wanted(machine);
        Ok(Layout {
            ttbs: find(ttbs)?,
            pagetables: find(pagetables)?,
            handoff: find(handoff)?,
            hw_cal_a: find(hw_cal_a)?,
            hw_cal_b: find(hw_cal_b)?,
            globals: find(globals)?,
            firmware: find(firmware)?,
            ram,
        })
    }

    /// All regions with the labels they have in the device tree.
    pub fn regions(&self) -> [(&'static str, Region); 7] {
        [
            ("uat_ttbs", self.ttbs),
            ("uat_pagetables", self.pagetables),
            ("uat_handoff", self.handoff),
            ("gpu_hw_cal_a", self.hw_cal_a),
            ("gpu_hw_cal_b", self.hw_cal_b),
            ("gpu_globals", self.globals),
            ("gfx_asc_firmware", self.firmware),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FirmwareHalf, boot_image};

    fn machine() -> Machine {
        Machine::find("t8103", "13.5").unwrap()
    }

    /// A tree such as QEMU dumps, with the given banks of RAM.
    fn base(banks: &[(u64, u64)]) -> Vec<u8> {
        let mut tree = DeviceTree::new();
        set(&mut tree.root, "#address-cells", 2u32).unwrap();
        set(&mut tree.root, "#size-cells", 2u32).unwrap();
        let mut gic = DeviceTreeNode::new("intc@8000000").unwrap();
        set(&mut gic, "phandle", 0x8003u32).unwrap();
        tree.root.add_child(gic);
        for &(base, size) in banks {
            let mut node = DeviceTreeNode::new(format!("memory@{base:x}")).unwrap();
            set(&mut node, "device_type", "memory").unwrap();
            let reg = [base.to_be_bytes(), size.to_be_bytes()].concat();
            set(&mut node, "reg", reg).unwrap();
            tree.root.add_child(node);
        }
        tree.to_dtb()
    }

    #[test]
    fn regions_are_found_again() {
        let dtb = boot_dtb(&base(&[(0x4000_0000, 1 << 32)]), &machine()).unwrap();
        let layout = Layout::from_dtb(&dtb, &machine()).unwrap();
        assert_eq!(layout.ttbs.end(), 0x1_4000_0000);
        let sizes = layout.regions().map(|(_, r)| r.size);
        assert_eq!(
            sizes,
            [0x4000, 0x4000, 0x4000, 0x8000, 0x4000, 0x14000, 0xc000]
        );

        let mut sorted = layout.regions().map(|(_, r)| r);
        sorted.sort_by_key(|r| r.base);
        assert!(sorted.windows(2).all(|w| w[0].end() <= w[1].base));
        assert!(sorted.iter().all(|r| r.base % PAGE == 0));

        let tree = DeviceTree::from_fdt(&Fdt::new(&dtb).unwrap());
        let nodes = tree.root.child("reserved-memory").unwrap();
        assert!(nodes.children().all(|n| n.property("no-map").is_some()));
        let mut phandles: Vec<_> = nodes.children().map(|n| cell(n, "phandle")).collect();
        phandles.sort();
        phandles.dedup();
        assert_eq!(phandles.len(), 7);
        assert!(phandles[0] > Some(0x8003));
    }

    #[test]
    fn other_machines_blobs_must_fit() {
        let old = Machine::find("t8103", "12.3").unwrap();
        let dtb = boot_dtb(&base(&[(0x4000_0000, 1 << 30)]), &old).unwrap();
        let error = Layout::from_dtb(&dtb, &machine()).unwrap_err();
        assert!(error.to_string().contains("gpu_hw_cal_a"), "{error}");
    }

    #[test]
    fn regions_must_be_in_ram() {
        // As when QEMU is started with less memory than the tree was made for.
        let dtb = boot_dtb(&base(&[(0x4000_0000, 1 << 30)]), &machine()).unwrap();
        let mut tree = DeviceTree::from_fdt(&Fdt::new(&dtb).unwrap());
        let memory = tree.root.child_mut("memory@40000000").unwrap();
        let reg = [0x4000_0000u64.to_be_bytes(), (1u64 << 29).to_be_bytes()].concat();
        set(memory, "reg", reg).unwrap();
        assert!(matches!(
            Layout::from_dtb(&tree.to_dtb(), &machine()),
            Err(Error::OutsideRam { .. })
        ));
    }

    #[test]
    fn bad_trees_are_refused() {
        let refused = |banks: &[(u64, u64)]| boot_dtb(&base(banks), &machine()).unwrap_err();
        assert!(matches!(refused(&[]), Error::NoMemory));
        assert!(matches!(
            refused(&[(0x4000_0000, 0x100_0000)]),
            Error::TooLittleRam { .. }
        ));
        assert!(matches!(
            refused(&[(0x4000_0000, 8 << 30)]),
            Error::RamTooHigh { .. }
        ));
        assert!(matches!(
            refused(&[(u64::MAX - 0xfff, 0x2000)]),
            Error::Property { .. }
        ));
        assert!(matches!(
            boot_dtb(b"no tree", &machine()),
            Err(Error::Parse(_))
        ));

        let plain = base(&[(0x4000_0000, 1 << 30)]);
        assert!(matches!(
            Layout::from_dtb(&plain, &machine()),
            Err(Error::NoLabel("uat_ttbs"))
        ));
        let once = boot_dtb(&plain, &machine()).unwrap();
        assert!(matches!(
            boot_dtb(&once, &machine()),
            Err(Error::AlreadyPrepared(_))
        ));
    }

    #[test]
    fn firmware_page_is_reached_by_a_walk() {
        let dtb = boot_dtb(&base(&[(0x4000_0000, 1 << 30)]), &machine()).unwrap();
        let layout = Layout::from_dtb(&dtb, &machine()).unwrap();
        let image = boot_image(&layout, &machine());
        let entry = |pa: u64| {
            let segment = image
                .iter()
                .find(|s| (s.pa..s.pa + s.bytes.len() as u64).contains(&pa))
                .unwrap();
            let at = (pa - segment.pa) as usize;
            u64::from_le_bytes(segment.bytes[at..at + 8].try_into().unwrap())
        };
        let half = FirmwareHalf::new(&layout);
        for alias in [half.data_va, half.data_va + (1 << 36)] {
            let mut table = half.root;
            for (shift, count) in [(36, 8), (25, 2048), (14, 2048)] {
                let pte = entry(table + (alias >> shift) % count * 8);
                assert_eq!(pte & 3, 3);
                table = pte & 0xff_ffff_c000;
            }
            assert_eq!(table, half.data_pa);
        }
        // The rest of the root is the kernel's.
        assert!((2..8).all(|i| entry(half.root + 8 * i) == 0));
    }
}
