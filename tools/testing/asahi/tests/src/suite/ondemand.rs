// SPDX-License-Identifier: MIT OR Apache-2.0

//! What only the firmware can do wrong, one kind after the other, with an innocent client alongside.
//!
//! These want the virtual AGX to be started with `--fault on-demand` and the driver not to wait too long
//! for jobs that it hears nothing of, so they run where they are named: `make test` does.

use anyhow::Result;
use libc::{EIO, ETIMEDOUT};

use super::{
    fault::{Innocent, guilty},
    lab::Lab,
};
use crate::{
    device::{Commands, Device},
    uapi::*,
};

macro_rules! kinds {
    ($($name:ident: $number:literal => $error:expr),* $(,)?) => {
        $(fn $name(device: &Device) -> Result<()> {
            kind(device, $number, $error)
        })*
        super::tests!($($name { heavy: true, limit: 120 }),*);
    };
}

kinds! {
    unmapped: 0x01 => EIO,
    read_only: 0x02 => EIO,
    write_only: 0x03 => EIO,
    no_access: 0x04 => EIO,
    hang_job: 0x05 => ETIMEDOUT,
    lose_job: 0x06 => ETIMEDOUT,
    channel_error: 0x07 => EIO,
    late_event: 0x0a => 0,
    repeat_event: 0x0b => 0,
    bad_event: 0x0c => 0,
    false_flag: 0x0d => 0,
    stale_timeout: 0x0e => 0,
    odd_grow: 0x10 => 0,
}

/// What asks the virtual AGX for a fault, with its number in the last byte. It is the argument of a
/// helper program, which the kernel passes on.
const ON_DEMAND: u64 = 0x4147_5846_4c54_0000;

fn kind(device: &Device, number: u64, error: i32) -> Result<()> {
    let innocent = Innocent::start()?;
    let vm = device.vm()?;
    let lab = Lab::new(&vm)?;
    for _ in 0..2 {
        let queue = vm.queue()?;
        let bad = CmdCompute {
            helper_data: ON_DEMAND | number,
            ..lab.nothing
        };
        guilty(&lab, &queue, &bad, error)?;
        // Another queue of the same client goes on.
        lab.queue.run(&Commands::default().compute(&lab.nothing))?;
    }
    innocent.end(2)
}
