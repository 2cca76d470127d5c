// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether a submission costs more when there is more of something else.

use anyhow::Result;
use asahi_tests::{
    device::{Bench, Commands, Device, HEAP, PAGE, Queue, Vm},
    uapi::*,
};

use crate::{
    bind,
    clock::now,
    report,
    submit::{WARM_UP, settle},
};

/// Submissions that are looked at.
const ROUNDS: usize = 120;

/// Where mappings go that are there to be many.
const CROWD: u64 = HEAP + (1 << 32);

/// SUBMIT to each queue in turn, when nothing else is under way.
fn turns(device: &Device, name: &str, queues: &[(&Queue<'_>, &Commands)]) -> Result<()> {
    let done = device.syncobj()?;
    let syncs = [done.binary()];
    let warm_up = WARM_UP.next_multiple_of(queues.len());
    let mut samples = Vec::new();
    for (round, (queue, commands)) in (0..warm_up + ROUNDS).zip(queues.iter().cycle()) {
        let start = now();
        queue.submit(commands, 0, &syncs)?;
        let end = now();
        done.wait()?;
        settle();
        if round >= warm_up {
            samples.push(end - start);
        }
    }
    report(name, &samples);
    Ok(())
}

fn vms(prefix: &str) -> Result<()> {
    for count in [1, 10, 60] {
        let device = Device::open()?;
        let vms: Vec<Vm<'_>> = (0..count).map(|_| device.vm()).collect::<Result<_>>()?;
        let benches: Vec<Bench<'_>> = vms.iter().map(Bench::new).collect::<Result<_>>()?;
        let commands = Commands::default().compute(&benches[0].nothing);
        let queues: Vec<_> = benches.iter().map(|b| (&b.queue, &commands)).collect();
        turns(&device, &format!("{prefix}/vms/{count}"), &queues)?;
    }
    Ok(())
}

fn queues(prefix: &str) -> Result<()> {
    for count in [1, 10, 100] {
        let device = Device::open()?;
        let vm = device.vm()?;
        let bench = Bench::new(&vm)?;
        let commands = Commands::default().compute(&bench.nothing);
        let others: Vec<Queue<'_>> = (1..count).map(|_| vm.queue()).collect::<Result<_>>()?;
        let all = std::iter::once(&bench.queue).chain(&others);
        let queues: Vec<_> = all.map(|queue| (queue, &commands)).collect();
        turns(&device, &format!("{prefix}/queues/{count}"), &queues)?;
    }
    Ok(())
}

fn mappings(prefix: &str, private: bool) -> Result<()> {
    let kind = if private { "private" } else { "shared" };
    for count in [1, 1_000, 100_000] {
        let device = Device::open()?;
        let vm = device.vm()?;
        let bench = Bench::new(&vm)?;
        let commands = Commands::default().compute(&bench.nothing);
        let bo = match private {
            true => device.bo(PAGE, GEM_WRITEBACK | GEM_VM_PRIVATE, vm.id)?,
            false => device.bo(PAGE, GEM_WRITEBACK, 0)?,
        };
        bind::many(&device, vm.id, &bo, CROWD, count)?;
        let queues = [(&bench.queue, &commands)];
        turns(
            &device,
            &format!("{prefix}/mappings-{kind}/{count}"),
            &queues,
        )?;
    }
    Ok(())
}

/// Objects of a VM that are private to it, each mapped once.
fn objects(prefix: &str, private: bool) -> Result<()> {
    let kind = if private { "private" } else { "shared" };
    for count in [1, 100, 1_000] {
        let device = Device::open()?;
        let vm = device.vm()?;
        let bench = Bench::new(&vm)?;
        let commands = Commands::default().compute(&bench.nothing);
        let mut crowd = Vec::new();
        for index in 0..count {
            let bo = match private {
                true => device.bo(PAGE, GEM_WRITEBACK | GEM_VM_PRIVATE, vm.id)?,
                false => device.bo(PAGE, GEM_WRITEBACK, 0)?,
            };
            vm.map(&bo, CROWD + index * 2 * PAGE)?;
            crowd.push(bo);
        }
        let queues = [(&bench.queue, &commands)];
        turns(
            &device,
            &format!("{prefix}/objects-{kind}/{count}"),
            &queues,
        )?;
    }
    Ok(())
}

/// All of it; `whole` with what takes long.
pub fn all(prefix: &str, whole: bool) -> Result<()> {
    vms(prefix)?;
    queues(prefix)?;
    mappings(prefix, true)?;
    objects(prefix, true)?;
    if whole {
        objects(prefix, false)?;
    }
    Ok(())
}
