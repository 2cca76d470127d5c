// SPDX-License-Identifier: MIT OR Apache-2.0

//! In which order jobs of several queues get done, told by the firmware's timestamps.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    device::{Commands, Device, HEAP, Mapping, PAGE, Vm},
    gpu::{self, Gpu},
    uapi::*,
};

use super::gate::Gate;

crate::suite::tests!(priorities, all_get_their_turn);

/// Queues of a kind, and jobs of each.
const QUEUES: u64 = 6;
const JOBS: u64 = 8;

/// Where jobs write when they have ended.
struct Times {
    handle: u32,
    map: Mapping,
    taken: u32,
}

impl Times {
    fn new(device: &Device) -> Result<Self> {
        let bo = device.bo(PAGE, GEM_WRITEBACK, 0)?;
        let mut bind = GemBindObject {
            flags: OBJECT_TIMESTAMPS,
            handle: bo.handle,
            range: PAGE,
            ..Default::default()
        };
        device.ioctl(&mut bind).context("GEM_BIND_OBJECT")?;
        let map = bo.mmap()?;
        Ok(Self {
            handle: bind.object_handle,
            map,
            taken: 0,
        })
    }

    /// A place for the time of an end.
    fn place(&mut self) -> Timestamp {
        self.taken += 1;
        Timestamp {
            handle: self.handle,
            offset: (self.taken - 1) * 8,
        }
    }

    fn at(&self, place: Timestamp) -> u64 {
        self.map.read(place.offset as usize)
    }
}

/// Submits the jobs of some queues behind a gate, first those of the first kind and then those of the
/// second, opens the gate, and gives the times at which the jobs of both kinds have ended.
fn ends(device: &Device, first: u32, second: u32) -> Result<[Vec<Vec<u64>>; 2]> {
    let keeper = device.vm()?;
    let mut times = Times::new(device)?;
    let vm: Vm<'_> = device.vm()?;
    let mut gpu = Gpu::new(&vm)?;
    let bo = device.bo(16 * PAGE, GEM_WRITEBACK, 0)?;
    vm.map(&bo, HEAP)?;
    // Long enough for the firmware to choose between them.
    let work = gpu.command(&[gpu::sum(HEAP, HEAP + 8 * PAGE, 64, 500)])?;
    let mut queues = Vec::new();
    let mut fences = Vec::new();
    let mut places = [Vec::new(), Vec::new()];
    let mut jobs = Vec::new();
    for (kind, priority) in [first, second].into_iter().enumerate() {
        for _ in 0..QUEUES {
            queues.push(vm.queue_of(priority).context("QUEUE_CREATE")?);
            let mut own = Vec::new();
            for _ in 0..JOBS {
                let place = times.place();
                own.push(place);
                let command = CmdCompute {
                    ts_end: place,
                    ..work
                };
                jobs.push((queues.len() - 1, Commands::default().compute(&command)));
            }
            places[kind].push(own);
        }
    }
    let gate = Gate::close(device, &keeper)?;
    for (queue, commands) in &jobs {
        let done = device.syncobj()?;
        queues[*queue]
            .submit(commands, 0, &[done.binary()])
            .context("SUBMIT")?;
        fences.push(done);
    }
    // Until the firmware knows of all of them.
    thread::sleep(Duration::from_millis(100));
    gate.end()?;
    for fence in &fences {
        let ended = fence.outcome()?;
        ensure!(ended == 0, "a job ended with {ended}");
    }
    Ok(places.map(|queues| {
        queues
            .into_iter()
            .map(|jobs| jobs.into_iter().map(|place| times.at(place)).collect())
            .collect()
    }))
}

/// What comes later and is more urgent is done first.
fn priorities(device: &Device) -> Result<()> {
    for (low, high) in [
        (PRIORITY_LOW, PRIORITY_MEDIUM),
        (PRIORITY_MEDIUM, PRIORITY_HIGH),
        (PRIORITY_LOW, PRIORITY_REALTIME),
    ] {
        let [low_ends, high_ends] = ends(device, low, high)?;
        let last = high_ends.iter().flatten().max().copied().unwrap_or(0);
        let before = low_ends.iter().flatten().filter(|&&end| end < last).count();
        // Those that had the GPU already when the others came are let be.
        ensure!(
            before <= 2,
            "{before} jobs of priority {low} were done before the last one of priority {high}"
        );
        ensure!(last > 0, "no time was written");
    }
    Ok(())
}

/// Of queues with the same priority none has to wait until another one has no more work; and the jobs
/// of a queue end one after the other.
fn all_get_their_turn(device: &Device) -> Result<()> {
    let [first, second] = ends(device, PRIORITY_MEDIUM, PRIORITY_MEDIUM)?;
    let queues: Vec<Vec<u64>> = first.into_iter().chain(second).collect();
    for times in &queues {
        ensure!(
            times.is_sorted(),
            "jobs of a queue ended in another order: {times:?}"
        );
    }
    let first_done = queues.iter().filter_map(|times| times.last()).min();
    for times in &queues {
        ensure!(
            times.first() < first_done,
            "a queue had not had its turn when another one had done all of its work"
        );
    }
    Ok(())
}
