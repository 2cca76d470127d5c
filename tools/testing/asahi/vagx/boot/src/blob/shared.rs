// SPDX-License-Identifier: MIT OR Apache-2.0

//! Three structures that appear both in hw-cal-a and in globals.

use super::Blob;
use crate::machine::Calibration;

pub(super) fn hws1(b: &mut Blob, c: &Calibration) {
    b.array("hws1_table", 16, c.shared1_table.map(|v| v as u32));
    b.zero(0x60);
    b.u32("hws1_a4", c.shared1_a4);
    b.zero(4);
}

pub(super) fn hws2(b: &mut Blob, c: &Calibration) {
    b.array("hws2_table", 10, c.shared2_table.map(|v| v as u32));
    b.words([u32::MAX; 4]);
    // Voltage and frequency curves, which G13 does not have.
    b.zero(0x38 + 2 * 0x248);
    b.zero(8);
    b.u32("hws2_508", c.shared2_508);
    b.zero(4);
}

pub(super) fn hws3(b: &mut Blob) {
    // Only for chips with a table of their own here.
    b.zero(0x50);
}
