// SPDX-License-Identifier: MIT OR Apache-2.0

//! Queues, and what is submitted to them.

use std::io;

use anyhow::{Context, Result, ensure};

use super::{Bo, Device, HEAP, PAGE, Vm, bytes};
use crate::uapi::*;

/// A queue.
pub struct Queue<'a> {
    pub device: &'a Device,
    pub id: u32,
}

impl Queue<'_> {
    /// The argument of SUBMIT.
    pub fn submit_arg(&self, commands: &[u8], ins: usize, syncs: &[Sync]) -> Submit {
        Submit {
            syncs: syncs.as_ptr() as u64,
            cmdbuf: commands.as_ptr() as u64,
            queue_id: self.id,
            in_sync_count: ins as u32,
            out_sync_count: (syncs.len() - ins) as u32,
            cmdbuf_size: commands.len() as u32,
            ..Default::default()
        }
    }

    /// Submits commands that wait for the first `ins` sync objects and signal the others.
    pub fn submit(&self, commands: &Commands, ins: usize, syncs: &[Sync]) -> io::Result<()> {
        self.device
            .ioctl(&mut self.submit_arg(&commands.0, ins, syncs))
    }

    /// Submits commands and waits until they are done, without an error.
    pub fn run(&self, commands: &Commands) -> Result<()> {
        let done = self.device.syncobj()?;
        self.submit(commands, 0, &[done.binary()])
            .context("SUBMIT")?;
        let outcome = done.outcome()?;
        ensure!(outcome == 0, "the commands have failed with {outcome}");
        Ok(())
    }

    /// Gives the queue up, whatever it is doing.
    pub fn destroy(self) {}
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        let _ = self.device.ioctl(&mut QueueDestroy {
            queue_id: self.id,
            pad: 0,
        });
    }
}

/// A command buffer being written.
#[derive(Clone, Default)]
pub struct Commands(pub Vec<u8>);

impl Commands {
    /// Adds a command.
    pub fn command(mut self, cmd_type: u16, vdm: u16, cdm: u16, payload: &[u8]) -> Self {
        self.0.extend(bytes(&CmdHeader {
            cmd_type,
            size: payload.len() as u16,
            vdm_barrier: vdm,
            cdm_barrier: cdm,
        }));
        self.0.extend(payload);
        self
    }

    /// Adds a compute command that waits for all before it.
    pub fn compute(self, compute: &CmdCompute) -> Self {
        self.command(CMD_COMPUTE, 0, 0, bytes(compute))
    }
}

/// A VM with a control stream that does nothing, and a queue to run it on.
pub struct Bench<'a> {
    pub queue: Queue<'a>,
    pub nothing: CmdCompute,
    _stream: Bo<'a>,
}

impl<'a> Bench<'a> {
    /// Sets it up.
    pub fn new(vm: &'a Vm<'a>) -> Result<Self> {
        let stream = vm.device.bo(PAGE, GEM_WRITEBACK, 0)?;
        vm.map(&stream, HEAP)?;
        // One block: Stream Terminate (Mesa, src/asahi/genxml/cmdbuf.xml).
        stream.mmap()?.write(0, 2 << 29);

        Ok(Self {
            queue: vm.queue()?,
            nothing: CmdCompute {
                cdm_ctrl_stream_base: HEAP,
                cdm_ctrl_stream_end: HEAP + 8,
                ..Default::default()
            },
            _stream: stream,
        })
    }
}
