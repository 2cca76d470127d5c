// SPDX-License-Identifier: MIT OR Apache-2.0

//! Jobs that fault.

use anyhow::{Result, ensure};
use libc::EIO;

use crate::device::{Bench, Commands, Device, HEAP, PAGE};

super::tests!(unmapped_stream {
    complaints: &["the GPU cannot use it"]
});

/// A job that faults has an error, its queue stops, and another one goes on.
fn unmapped_stream(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let innocent = vm.queue()?;
    let good = Commands::default().compute(&bench.nothing);
    let mut nowhere = bench.nothing;
    nowhere.cdm_ctrl_stream_base = HEAP + 0x1000 * PAGE;
    nowhere.cdm_ctrl_stream_end = nowhere.cdm_ctrl_stream_base + 8;
    let bad = Commands::default().compute(&nowhere).compute(&nowhere);

    let done = device.syncobj()?;
    bench.queue.submit(&bad, 0, &[done.binary()])?;
    let outcome = done.outcome()?;
    ensure!(outcome == -EIO, "the fence has {outcome}");
    device.refused(
        bench.queue.submit_arg(&good.0, 0, &[]),
        EIO,
        "a queue that has stopped",
    )?;

    innocent.submit(&good, 0, &[done.binary()])?;
    let outcome = done.outcome()?;
    ensure!(outcome == 0, "the other queue's fence has {outcome}");
    Ok(())
}
