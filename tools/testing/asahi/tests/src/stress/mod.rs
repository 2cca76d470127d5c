// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests that try to break the driver: at random, with faults, with many clients, and while it goes.
//!
//! The heavy ones are those that take minutes. Each has a small sister that runs with all the others.

use std::io;

use crate::runner::Test;

mod binds;
mod clients;
mod crash;
mod exhaust;
mod faults;
mod gate;
mod lifetimes;
mod memory;
mod order;
mod process;
mod sums;
mod unbind;

/// All tests of this folder.
pub fn tests() -> Vec<Test> {
    let mut all = binds::tests();
    all.extend(unbind::tests());
    all.extend(faults::tests());
    all.extend(exhaust::tests());
    all.extend(crash::tests());
    all.extend(lifetimes::tests());
    all.extend(order::tests());
    all
}

/// The number of an error, zero for none.
fn errno(result: &io::Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(-1),
    }
}
