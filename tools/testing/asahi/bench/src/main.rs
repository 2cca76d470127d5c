// SPDX-License-Identifier: MIT OR Apache-2.0

//! Measures the asahi driver from user space, beside what the machine costs by itself.
//!
//! It runs in the guest and prints lines of `bench NAME VALUE...`, one value for each round. Values
//! are nanoseconds, unless the name's part before the first slash says otherwise. In a guest whose
//! counter counts instructions, a nanosecond is an instruction.

use std::{io, mem::MaybeUninit, process::ExitCode};

use anyhow::{Result, bail};

mod bind;
mod clock;
mod machine;
mod scale;
mod submit;

/// Prints the samples of one measurement.
fn report(name: &str, samples: &[u64]) {
    let words: Vec<String> = samples.iter().map(u64::to_string).collect();
    println!("bench {name} {}", words.join(" "));
}

fn run(what: &str) -> Result<()> {
    match what {
        // While no driver is bound.
        "mailbox" => machine::mailbox(),
        // Some rounds of each, to be run several times.
        "trips" => {
            machine::times()?;
            submit::round_trips()
        }
        "time" => {
            submit::rates()?;
            bind::times()?;
            scale::all("scale", false)
        }
        "instructions" => {
            submit::instructions()?;
            bind::instructions()?;
            scale::all("instructions/scale", true)
        }
        _ => bail!("there is mailbox, trips, time and instructions"),
    }
}

/// Stays on the CPU that takes the interrupts. Otherwise it would be by chance whether another one has
/// to be woken, for what is measured and for what it is compared with.
fn stay() -> io::Result<()> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: All zeroes is a valid set, an empty one, and the kernel only reads it.
    let ret = unsafe {
        libc::CPU_SET(0, set.assume_init_mut());
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set.as_ptr())
    };
    if ret < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut failed = false;
    if let Err(error) = stay() {
        eprintln!("asahi-bench: cannot stay on a CPU: {error}");
    }
    for what in std::env::args().skip(1) {
        if let Err(error) = run(&what) {
            eprintln!("asahi-bench {what}: {error:#}");
            failed = true;
        }
    }
    match failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}
