// SPDX-License-Identifier: MIT OR Apache-2.0
mod vfio;
fn main() {}
