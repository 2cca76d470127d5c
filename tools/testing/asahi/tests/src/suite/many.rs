// SPDX-License-Identifier: MIT OR Apache-2.0

//! More than the hardware has room for at once.

use anyhow::{Context, Result, ensure};

use super::lab::{A_WHILE, Lab};
use crate::{
    device::{Bench, Commands, Device, HEAP, PAGE, Vm},
    gpu::{self, Gpu},
    runner::slow,
    uapi::*,
};

super::tests!(
    address_spaces { limit: 120 },
    queues { limit: 120 },
    queues_at_once { limit: 120 },
    handles,
    timestamp_objects,
);

/// The GPU has 63 slots for clients' address spaces. All of more work, by turns, and none sees another.
fn address_spaces(device: &Device) -> Result<()> {
    let count = if slow() { 70 } else { 100 };
    let vms: Vec<Vm<'_>> = (0..count).map(|_| device.vm()).collect::<Result<_>>()?;
    let mut work = Vec::new();
    for (number, vm) in (1u32..).zip(&vms) {
        let data = device.bo(PAGE, GEM_WRITEBACK, 0)?;
        vm.map(&data, HEAP)?;
        let map = data.mmap()?;
        // A table of one move: from the third word pair to the fourth.
        map.write(0, HEAP + 16);
        map.write(8, HEAP + 24);
        map.write(16, number.into());
        let mut gpu = Gpu::new(vm)?;
        let command = gpu.command(&[gpu::moves(HEAP, 1)])?;
        let queue = vm.queue()?;
        work.push((queue, command, map, data, gpu));
    }
    let done = device.syncobj()?;
    for round in 0..2u64 {
        let mut point = 0;
        for (queue, command, ..) in &work {
            point += 1;
            let commands = Commands::default().compute(command);
            queue
                .submit(&commands, 0, &[done.point(round * 1000 + point)])
                .with_context(|| format!("address space {point}"))?;
        }
        done.wait_point(round * 1000 + point)?;
    }
    for (number, (_, _, map, ..)) in (1..).zip(&work) {
        ensure!(map.read(24) == number, "address space {number} is wrong");
    }
    Ok(())
}

/// There are 128 event slots. More queues than that, one after the other.
fn queues(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    let queues: Vec<_> = (0..if slow() { 150 } else { 200 })
        .map(|_| vm.queue())
        .collect::<Result<_>>()?;
    for (number, queue) in queues.iter().enumerate() {
        queue
            .run(&commands)
            .with_context(|| format!("queue {number}"))?;
    }
    Ok(())
}

/// The same all at once, behind one that does not end.
fn queues_at_once(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let (gate, open) = lab.gate()?;
    let from = lab.word(1)?;
    let to: Vec<_> = (0..150).map(|_| lab.word(0)).collect::<Result<_>>()?;
    let queues: Vec<_> = to.iter().map(|_| vm.queue()).collect::<Result<_>>()?;
    let (held, done) = (device.syncobj()?, device.syncobj()?);
    lab.queue
        .submit(&Commands::default().compute(&gate), 0, &[held.binary()])?;
    for (number, (queue, &to)) in (1..).zip(queues.iter().zip(&to)) {
        let commands = Commands::default().compute(&lab.copy(from, to)?);
        queue
            .submit(&commands, 0, &[done.point(number)])
            .with_context(|| format!("queue {number}"))?;
    }
    std::thread::sleep(A_WHILE);
    ensure!(!held.signalled()?);
    lab.set(open, 1);
    done.wait_point(to.len() as u64)?;
    ensure!(to.iter().all(|&word| lab.get(word) == 1), "one has not run");
    Ok(())
}

/// Thousands of objects, most of them mapped.
fn handles(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let count = if slow() { 500 } else { 2000 };
    let objects: Vec<_> = (0..count)
        .map(|_| device.bo(PAGE, 0, 0))
        .collect::<Result<_>>()?;
    let ops: Vec<BindOp> = (0u64..)
        .zip(&objects)
        .map(|(place, bo)| BindOp {
            flags: BIND_READ,
            handle: bo.handle,
            offset: 0,
            range: PAGE,
            addr: HEAP + place * PAGE,
        })
        .collect();
    let mut arg = vm.bind_arg(&ops[0]);
    arg.num_binds = ops.len() as u32;
    arg.userptr = ops.as_ptr() as u64;
    device.ioctl(&mut arg)?;
    vm.unmap(HEAP, count * PAGE)?;
    // Handles are used again.
    drop(objects);
    let again = device.bo(PAGE, 0, 0)?;
    ensure!(again.handle <= count as u32 + 8, "handle {}", again.handle);
    Ok(())
}

/// Objects for timestamps come and go.
fn timestamp_objects(device: &Device) -> Result<()> {
    let bo = device.bo(4 * PAGE, 0, 0)?;
    let bind = || -> Result<u32> {
        let mut arg = GemBindObject {
            flags: OBJECT_TIMESTAMPS,
            handle: bo.handle,
            range: 4 * PAGE,
            ..Default::default()
        };
        device.ioctl(&mut arg).context("GEM_BIND_OBJECT")?;
        Ok(arg.object_handle)
    };
    for _ in 0..2 {
        let bound: Vec<u32> = (0..500).map(|_| bind()).collect::<Result<_>>()?;
        let mut sorted = bound.clone();
        sorted.sort_unstable();
        sorted.dedup();
        ensure!(sorted.len() == bound.len(), "two objects have one handle");
        for object_handle in bound {
            device.ioctl(&mut GemBindObject {
                op: OBJECT_UNBIND,
                object_handle,
                ..Default::default()
            })?;
        }
    }
    // Those that are left go with the file.
    bind().map(drop)
}
