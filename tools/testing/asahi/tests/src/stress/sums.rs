// SPDX-License-Identifier: MIT OR Apache-2.0

//! Work whose result is checked: sums of numbers that are new in each round.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use libc::ENODEV;

use crate::{
    device::{Bo, Commands, Mapping, PAGE, Queue, Syncobj, Vm, sync_file_status},
    gpu::{self, Gpu},
    runner::Rng,
    uapi::*,
};

use super::{errno, process::readable};

/// Threads, each of which adds up so many numbers.
const THREADS: u64 = 256;
const NUMBERS: u64 = 16;

/// How long a job may take, with all that may be before it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The sums are right.
    Well,
    /// The fence has this error.
    Failed(i32),
    /// SUBMIT gave this error.
    Refused(i32),
}

/// A round that was submitted, or not.
pub enum Started {
    /// This is its fence.
    Well(OwnedFd),
    /// SUBMIT gave this error.
    Refused(i32),
}

/// Such work, for any queue of a VM.
pub struct Sums<'a> {
    commands: Commands,
    input: Mapping,
    output: Mapping,
    done: Syncobj<'a>,
    rng: Rng,
    sums: Vec<u32>,
    _memory: [Bo<'a>; 2],
}

impl<'a> Sums<'a> {
    /// Pages that it needs.
    pub const PAGES: u64 = 3;

    /// Makes it at `at`, where [`Self::PAGES`] are used.
    pub fn new(vm: &'a Vm<'a>, gpu: &mut Gpu<'a>, at: u64, seed: u64) -> Result<Self> {
        let device = vm.device;
        let input = device.bo(THREADS * NUMBERS * 4, GEM_WRITEBACK, 0)?;
        let output = device.bo(PAGE, 0, 0)?;
        vm.map(&input, at)?;
        vm.map(&output, at + 2 * PAGE)?;
        let launch = gpu::sum(at, at + 2 * PAGE, THREADS as u32, NUMBERS as u32);
        Ok(Self {
            commands: Commands::default().compute(&gpu.command(&[launch])?),
            input: input.mmap()?,
            output: output.mmap()?,
            done: device.syncobj()?,
            rng: Rng::new(seed),
            sums: Vec::new(),
            _memory: [input, output],
        })
    }

    /// Writes new numbers, and removes the old sums.
    fn prepare(&mut self) {
        self.sums = vec![0; THREADS as usize];
        for number in (0..THREADS * NUMBERS).step_by(2) {
            let both = self.rng.next();
            self.input.write(number as usize * 4, both);
            let thread = (number % THREADS) as usize;
            for (sum, half) in self.sums[thread..].iter_mut().zip([both, both >> 32]) {
                *sum = sum.wrapping_add(half as u32);
            }
        }
        for thread in (0..THREADS as usize).step_by(2) {
            self.output.write(thread * 4, u64::MAX);
        }
    }

    /// Compares the sums.
    fn check(&self) -> Result<()> {
        for (thread, &sum) in self.sums.iter().enumerate() {
            let both = self.output.read(thread / 2 * 8);
            let found = (both >> (thread % 2 * 32)) as u32;
            ensure!(
                found == sum,
                "the sum of thread {thread} is {found:#x}, not {sum:#x}"
            );
        }
        Ok(())
    }

    /// Submits it with new numbers, and gives its fence. That works while the device goes away.
    pub fn start(&mut self, queue: &Queue<'_>) -> Result<Started> {
        self.prepare();
        let submitted = queue.submit(&self.commands, 0, &[self.done.binary()]);
        if submitted.is_err() {
            return Ok(Started::Refused(errno(&submitted)));
        }
        match self.done.export() {
            Ok(file) => Ok(Started::Well(file)),
            Err(error) => match error.downcast_ref::<io::Error>() {
                Some(cause) if cause.raw_os_error() == Some(ENODEV) => Ok(Started::Refused(ENODEV)),
                _ => Err(error),
            },
        }
    }

    /// Waits until it is done.
    pub fn finish(&self, started: &Started) -> Result<Ended> {
        match started {
            Started::Refused(error) => Ok(Ended::Refused(*error)),
            Started::Well(file) => match outcome(file)? {
                0 => self.check().map(|()| Ended::Well),
                error => Ok(Ended::Failed(error)),
            },
        }
    }

    /// Both.
    pub fn round(&mut self, queue: &Queue<'_>) -> Result<Ended> {
        let started = self.start(queue)?;
        self.finish(&started)
    }
}

/// Waits for a sync file's fence, and tells its error, zero for none.
pub fn outcome(file: &OwnedFd) -> Result<i32> {
    ensure!(
        readable(file.as_raw_fd(), PATIENCE)?,
        "a fence has not signalled within {PATIENCE:?}"
    );
    match sync_file_status(file.as_raw_fd())? {
        0 => bail!("a fence has signalled and not signalled"),
        status => Ok(-status.min(0)),
    }
}
