// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the asahi driver's interface. They run in the guest, over the raw ioctls, and print
//! KTAP.
//!
//! `asahi-tests` runs all tests but those of faults, `asahi-tests NAME...` those whose names begin
//! so, and `asahi-tests --list` lists them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use anyhow::{Result, anyhow};

mod device;
mod suite;
mod uapi;

use device::Device;

/// A test.
struct Test {
    name: &'static str,
    run: fn(&Device) -> Result<()>,
}

/// Runs a test on a file of its own.
fn run(test: &Test) -> Result<()> {
    let device = Device::open()?;
    catch_unwind(AssertUnwindSafe(|| (test.run)(&device))).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(anyhow!("{}", text.unwrap_or("panicked")))
    })
}

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let tests = suite::all();
    if names.iter().any(|name| name == "--list") {
        for test in &tests {
            println!("{}", test.name);
        }
        return ExitCode::SUCCESS;
    }

    let chosen: Vec<&Test> = tests
        .iter()
        .filter(|test| match names.is_empty() {
            true => !test.name.starts_with("fault::"),
            false => names.iter().any(|name| test.name.starts_with(&**name)),
        })
        .collect();
    if chosen.is_empty() {
        eprintln!("asahi-tests: there is no test of that name; --list lists them");
        return ExitCode::from(2);
    }

    println!("KTAP version 1\n1..{}", chosen.len());
    let mut failed = false;
    for (number, test) in (1..).zip(&chosen) {
        match run(test) {
            Ok(()) => println!("ok {number} {}", test.name),
            Err(error) => {
                failed = true;
                println!("# {}: {error:#}", test.name);
                println!("not ok {number} {}", test.name);
            }
        }
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
