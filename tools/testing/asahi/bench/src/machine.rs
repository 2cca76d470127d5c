// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the machine costs without a driver. The guest's module measures that; see there.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
};

use anyhow::{Context, Result, ensure};

use crate::report;

const PATH: &str = "/sys/kernel/debug/vagx/bench";

/// The module's measurements.
pub struct Machine {
    file: File,
}

impl Machine {
    pub fn open() -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(PATH);
        Ok(Self {
            file: file.context(PATH)?,
        })
    }

    /// Does a request, and gives each round's numbers.
    pub fn ask<const N: usize>(&mut self, request: &str) -> Result<Vec<[i64; N]>> {
        self.file
            .write_all(request.as_bytes())
            .with_context(|| request.to_owned())?;
        let mut again = String::new();
        self.file.rewind()?;
        self.file.read_to_string(&mut again)?;
        self.file.rewind()?;
        let rounds: Option<Vec<[i64; N]>> = again
            .lines()
            .map(|line| {
                let words: Option<Vec<i64>> = line.split(' ').map(|w| w.parse().ok()).collect();
                words?.try_into().ok()
            })
            .collect();
        let rounds = rounds.with_context(|| format!("{request}: not understood: {again}"))?;
        ensure!(!rounds.is_empty(), "{request}: no result");
        Ok(rounds)
    }
}

fn simple(machine: &mut Machine, name: &str, request: &str) -> Result<()> {
    let samples: Vec<u64> = machine
        .ask::<1>(request)?
        .iter()
        .map(|[time]| time.unsigned_abs())
        .collect();
    report(name, &samples);
    Ok(())
}

/// A message through the mailbox and back.
pub fn mailbox() -> Result<()> {
    simple(&mut Machine::open()?, "bare/mailbox", "mailbox 60")
}

/// A doorbell and an interrupt, and a register.
pub fn times() -> Result<()> {
    let mut machine = Machine::open()?;
    simple(&mut machine, "bare/echo", "echo 60")?;
    simple(&mut machine, "bare/register", "register 60")
}

/// How far vagx's clock is ahead of the guest's, in nanoseconds.
pub fn clock_offset() -> Result<i64> {
    let rounds = Machine::open()?.ask::<2>("clock 50")?;
    // The reading that took least says most.
    let best = rounds.iter().min_by_key(|[took, _]| *took);
    Ok(best.map_or(0, |[_, ahead]| *ahead))
}
