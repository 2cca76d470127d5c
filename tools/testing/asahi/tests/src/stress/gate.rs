// SPDX-License-Identifier: MIT OR Apache-2.0

//! A job that keeps the GPU busy until the CPU lets it go, so that others pile up behind it.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result, ensure};

use crate::{
    device::{Bo, Commands, Device, HEAP, Mapping, PAGE, Queue, Syncobj, Vm},
    gpu::{self, Gpu, Launch},
    uapi::*,
};

use super::sums::outcome;

/// Where it has its flag.
pub const FLAG: u64 = HEAP + (9 << 30);

/// Such a job.
pub struct Gate<'a> {
    flag: Mapping,
    fence: OwnedFd,
    /// Has the job's fence.
    pub done: Syncobj<'a>,
    _queue: Queue<'a>,
    _bo: Bo<'a>,
    _gpu: Gpu<'a>,
}

impl<'a> Gate<'a> {
    /// Closes it, in a VM of its own.
    pub fn close(device: &'a Device, vm: &'a Vm<'a>) -> Result<Self> {
        Self::close_with(device, vm, gpu::wait(FLAG))
    }

    /// Closes it with a launch that goes on until the word at [`FLAG`] is set.
    pub fn close_with(device: &'a Device, vm: &'a Vm<'a>, launch: Launch) -> Result<Self> {
        let mut gpu = Gpu::new(vm)?;
        let bo = device.bo(PAGE, GEM_WRITEBACK, 0)?;
        vm.map(&bo, FLAG)?;
        let flag = bo.mmap()?;
        let queue = vm.queue()?;
        let done = device.syncobj()?;
        let commands = Commands::default().compute(&gpu.command(&[launch])?);
        queue
            .submit(&commands, 0, &[done.binary()])
            .context("SUBMIT")?;
        Ok(Self {
            flag,
            fence: done.export()?,
            done,
            _queue: queue,
            _bo: bo,
            _gpu: gpu,
        })
    }

    /// Opens it.
    pub fn open(&self) {
        self.flag.write(0, 1);
    }

    /// Opens it, and waits until the job has ended.
    pub fn end(self) -> Result<()> {
        self.open();
        let ended = outcome(&self.fence)?;
        ensure!(
            ended == 0,
            "the job that kept the GPU busy ended with {ended}"
        );
        Ok(())
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        self.open();
    }
}
