// SPDX-License-Identifier: MIT OR Apache-2.0

//! The verbs behind the Makefile.

fn main() {}
