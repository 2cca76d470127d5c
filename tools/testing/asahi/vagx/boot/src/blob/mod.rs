// SPDX-License-Identifier: MIT OR Apache-2.0

//! The three blobs that m1n1 fills for the kernel to hand to the firmware.
//!
//! A blob is written front to back, field by field, so that the differences between ABIs are plain
//! conditions at the place where a field exists or not. Every named field is remembered with its
//! offset. Layouts: m1n1 rust/src/gpu/raw.rs, contents: rust/src/gpu/initdata.rs.

mod globals;
mod hw_cal_a;
mod hw_cal_b;
mod shared;

use crate::{Abi, Machine};

/// A named field of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    pub offset: usize,
}

/// A blob while it is being written, and when it is done.
#[derive(Debug, Default)]
pub struct Blob {
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

impl Blob {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The named fields in ascending order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Where a field is.
    pub fn offset(&self, name: &str) -> Option<usize> {
        self.fields
            .iter()
            .find(|f| f.name == name)
            .map(|f| f.offset)
    }

    fn mark(&mut self, name: &'static str) {
        let offset = self.bytes.len();
        self.fields.push(Field { name, offset });
    }

    /// Bytes that are zero: unknown, unused, or written by the firmware.
    fn zero(&mut self, count: usize) {
        self.bytes.resize(self.bytes.len() + count, 0);
    }

    fn words(&mut self, values: impl IntoIterator<Item = u32>) {
        for value in values {
            self.bytes.extend(value.to_le_bytes());
        }
    }

    /// An array of `count` words; those that `values` does not give are zero.
    fn array(&mut self, name: &'static str, count: usize, values: impl IntoIterator<Item = u32>) {
        self.mark(name);
        let start = self.bytes.len();
        self.words(values.into_iter().take(count));
        self.bytes.resize(start + 4 * count, 0);
    }

    fn u32(&mut self, name: &'static str, value: u32) {
        self.mark(name);
        self.words([value]);
    }

    fn i32(&mut self, name: &'static str, value: i32) {
        self.u32(name, value as u32);
    }

    fn f32(&mut self, name: &'static str, value: f32) {
        self.u32(name, value.to_bits());
    }

    fn u64(&mut self, name: &'static str, value: u64) {
        self.mark(name);
        self.bytes.extend(value.to_le_bytes());
    }

    fn u16(&mut self, name: &'static str, value: u16) {
        self.mark(name);
        self.bytes.extend(value.to_le_bytes());
    }
}

/// hw-cal-a, hw-cal-b and globals for a machine whose context roots lie at `ttbs`.
pub fn blobs(machine: &Machine, ttbs: u64) -> [Blob; 3] {
    let c = machine.chip.calibration;
    [
        hw_cal_a::build(c, machine.abi),
        hw_cal_b::build(machine.chip, machine.abi, ttbs),
        globals::build(c, machine.abi),
    ]
}

/// Sizes of hw-cal-a, hw-cal-b and globals.
pub(crate) fn sizes(machine: &Machine) -> [usize; 3] {
    blobs(machine, 0).map(|blob| blob.bytes.len())
}

/// Filter coefficient of a time constant that is given in sampling periods.
fn filter(time_constant: u32) -> f32 {
    1.0 / time_constant as f32
}

/// Whether fields are there that came with macOS 13.
fn has13(abi: Abi) -> bool {
    abi >= Abi::V13_5
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(blob: &Blob, name: &str) -> u32 {
        let at = blob.offset(name).unwrap_or_else(|| panic!("no {name}"));
        u32::from_le_bytes(blob.bytes[at..at + 4].try_into().unwrap())
    }

    fn words(blob: &Blob, name: &str, count: usize) -> Vec<u32> {
        let at = blob.offset(name).unwrap_or_else(|| panic!("no {name}"));
        blob.bytes[at..at + 4 * count]
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&w| u32::from_le_bytes(w))
            .collect()
    }

    /// Sizes and offsets that were computed by compiling m1n1's own definitions.
    #[test]
    fn layouts_are_those_of_m1n1() {
        type Offsets = &'static [(usize, &'static str, usize)];
        let table: [(&str, [usize; 3], Offsets); 2] = [
            (
                "12.3",
                [0x3d6c, 0xb6c, 0x11d40],
                &[
                    (1, "io_mappings", 0x1d0),
                    (1, "chip_id", 0x450),
                    (1, "frequencies", 0x574),
                    (1, "max_pstate", 0x56c),
                    (1, "timestamp_area_base", 0x38),
                    (1, "uat_ttb_base", 0x558),
                    (2, "pending_submissions", 0x8904),
                    (2, "fault_control", 0x10e80),
                    (2, "idle_off_delay_ms", 0x11030),
                    (2, "pending_stamps", 0x1103c),
                    (2, "fault_info", 0x118c0),
                ],
            ),
            (
                "13.5",
                [0x421c, 0x1884, 0x12394],
                &[
                    (1, "io_mappings", 0x640),
                    (1, "sgx_sram_ptr", 0x960),
                    (1, "chip_id", 0x968),
                    (1, "frequencies", 0xa90),
                    (1, "max_pstate", 0xa8c),
                    (1, "timestamp_area_base", 0x28),
                    (1, "uat_ttb_base", 0xa78),
                    (2, "pending_submissions", 0x8974),
                    (2, "fault_control", 0x10fd8),
                    (2, "idle_off_delay_ms", 0x1119c),
                    (2, "pending_stamps", 0x111a8),
                    (2, "fault_info", 0x11a2c),
                ],
            ),
        ];
        for (abi, expected, offsets) in table {
            let machine = Machine::find("t8103", abi).unwrap();
            let built = blobs(&machine, 0);
            assert_eq!(sizes(&machine), expected, "{machine}");
            for &(blob, name, offset) in offsets {
                assert_eq!(
                    built[blob].offset(name),
                    Some(offset),
                    "{machine}: {name} of blob {blob}"
                );
            }
        }
    }

    #[test]
    fn m1_is_described() {
        let machine = Machine::find("t8103", "13.5").unwrap();
        let [a, b, globals] = blobs(&machine, 0x1_3ffd_4000);

        assert_eq!(word(&b, "chip_id"), 0x8103);
        assert_eq!(word(&b, "gpu_core_id"), 11);
        assert_eq!(word(&b, "gpu_rev_id"), 4);
        assert_eq!(word(&b, "num_cores"), 8);
        assert_eq!(word(&b, "max_pstate"), 6);
        assert_eq!(word(&b, "uat_ttb_base"), 0x3ffd_4000);
        assert_eq!(
            words(&b, "frequencies", 8),
            [0, 396, 528, 720, 924, 1128, 1278, 0]
        );
        // Eight rails of each state have the one voltage; SRAM does not go below its minimum.
        assert_eq!(words(&b, "voltages", 9)[7..], [400, 603]);
        assert_eq!(
            words(&b, "voltages_sram", 56)[47..],
            [862, 931, 931, 931, 931, 931, 931, 931, 931]
        );
        assert_eq!(
            words(&b, "rel_max_powers", 8),
            [0, 19, 26, 38, 60, 87, 100, 0]
        );
        assert_eq!(
            words(&b, "rel_boost_freqs", 8),
            [0, 0, 0, 0, 36, 73, 100, 0]
        );

        assert_eq!(word(&a, "max_power"), 19551f32.to_bits());
        assert_eq!(word(&a, "max_pstate_scaled"), 600);
        assert_eq!(word(&a, "core_leak"), 1000f32.to_bits());
        assert_eq!(word(&a, "sram_leak"), 45f32.to_bits());
        assert_eq!(word(&a, "clocks_per_period"), 192_000);
        assert_eq!(word(&globals, "fault_control"), 0xb);
        assert_eq!(word(&globals, "max_power"), 19551);
        assert_eq!(word(&globals, "idle_off_delay_ms"), 2);
    }

    #[test]
    fn fields_ascend_and_fit() {
        for machine in Machine::all() {
            for blob in blobs(&machine, 0) {
                assert!(blob.fields().is_sorted_by_key(|f| f.offset));
                assert!(blob.fields().iter().all(|f| f.offset < blob.bytes().len()));
            }
        }
    }
}
