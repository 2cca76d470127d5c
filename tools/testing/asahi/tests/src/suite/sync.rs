// SPDX-License-Identifier: MIT OR Apache-2.0

//! What submissions wait for, and what they signal.

use std::{io, os::fd::AsRawFd, time::Duration};

use anyhow::{Context, Result, ensure};
use libc::{EINVAL, ENOENT};

use super::lab::{A_WHILE, Lab};
use crate::{
    device::{Bench, Commands, Device, sync_file_status},
    uapi::*,
};

super::tests!(
    kinds,
    bad,
    gone,
    waits,
    signalled_from_here,
    chain_of_both_kinds,
    in_and_out,
    many,
    twice,
    timeline_order,
    refused_leaves_alone,
    sync_files,
    shared_between_clients,
    queues_are_apart,
    in_order,
);

fn nothing(bench: &Bench<'_>) -> Commands {
    Commands::default().compute(&bench.nothing)
}

/// Every type that there is not, and what a binary sync object must not have.
fn kinds(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = nothing(&bench);
    let object = device.syncobj()?;
    bench.queue.submit(&commands, 0, &[object.binary()])?;
    for ins in [0, 1] {
        for sync_type in [2, 3, 0x100, 0x8000_0000, u32::MAX] {
            let sync = Sync {
                sync_type,
                ..object.binary()
            };
            let arg = bench
                .queue
                .submit_arg(&commands.0, ins, std::slice::from_ref(&sync));
            device.refused(arg, EINVAL, &format!("type {sync_type:#x}"))?;
        }
        for bit in 0..64 {
            let sync = Sync {
                timeline_value: 1 << bit,
                ..object.binary()
            };
            let arg = bench
                .queue
                .submit_arg(&commands.0, ins, std::slice::from_ref(&sync));
            device.refused(arg, EINVAL, "a point of a binary sync object")?;
        }
    }
    Ok(())
}

/// What cannot be waited for.
fn bad(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = nothing(&bench);
    let empty = device.syncobj()?;
    let refused = |sync: Sync, errno, what: &str| {
        let arg = bench
            .queue
            .submit_arg(&commands.0, 1, std::slice::from_ref(&sync));
        device.refused(arg, errno, what)
    };
    refused(empty.binary(), EINVAL, "a sync object without a fence")?;
    refused(empty.point(1), EINVAL, "a point that nobody will signal")?;
    bench.queue.submit(&commands, 0, &[empty.point(5)])?;
    refused(empty.point(6), EINVAL, "a point behind the last")?;
    refused(empty.point(u64::MAX), EINVAL, "the last point of all")?;
    empty.wait_point(5)
}

/// Sync objects of others, and those that have been destroyed.
fn gone(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = nothing(&bench);
    let other = Device::open()?;
    // The other client has a few more than this one, so that the last number is nobody's here.
    let theirs: Vec<_> = (0..3).map(|_| other.syncobj()).collect::<Result<_>>()?;
    let mut handles = vec![0, 0x1234, u32::MAX];
    handles.extend(theirs.last().map(|object| object.handle));
    handles.push({ device.syncobj()? }.handle);
    for handle in handles {
        for (ins, sync_type) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let sync = Sync {
                sync_type,
                handle,
                timeline_value: u64::from(sync_type),
            };
            let arg = bench
                .queue
                .submit_arg(&commands.0, ins, std::slice::from_ref(&sync));
            device.refused(arg, ENOENT, &format!("sync object {handle:#x}"))?;
        }
    }
    Ok(())
}

/// A submission does not begin before its in-sync has signalled, and then does.
fn waits(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let (gate, open) = lab.gate()?;
    let (from, to) = (lab.word(7)?, lab.word(0)?);
    let copy = lab.copy(from, to)?;
    let second = vm.queue()?;
    let (first, done) = (device.syncobj()?, device.syncobj()?);
    for point in [false, true] {
        lab.set(open, 0);
        lab.set(to, 0);
        let sync = if point {
            first.point(3)
        } else {
            first.binary()
        };
        lab.queue
            .submit(&Commands::default().compute(&gate), 0, &[sync])?;
        second.submit(
            &Commands::default().compute(&copy),
            1,
            &[sync, done.binary()],
        )?;
        std::thread::sleep(A_WHILE);
        ensure!(lab.get(to) == 0, "it has not waited");
        ensure!(!done.signalled()?, "it is done before it has begun");
        lab.set(open, 1);
        ensure!(done.outcome()? == 0);
        ensure!(lab.get(to) == 7, "it has not run");
        first.reset()?;
    }
    Ok(())
}

/// A fence may come from anywhere.
fn signalled_from_here(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let (ready, done) = (device.syncobj()?, device.syncobj()?);
    ready.signal()?;
    bench
        .queue
        .submit(&nothing(&bench), 1, &[ready.binary(), done.binary()])?;
    ensure!(done.outcome()? == 0);
    let line = device.syncobj()?;
    line.signal_point(8)?;
    // Points before the last have signalled with it.
    bench
        .queue
        .submit(&nothing(&bench), 1, &[line.point(3), line.point(9)])?;
    line.wait_point(9)
}

/// Binary and timeline sync objects by turns, over two queues.
fn chain_of_both_kinds(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let second = vm.queue()?;
    let words: Vec<_> = (0..13)
        .map(|i| lab.word(if i == 0 { 0xabcd } else { 0 }))
        .collect::<Result<_>>()?;
    let copies: Vec<_> = words
        .windows(2)
        .map(|pair| lab.copy(pair[0], pair[1]))
        .collect::<Result<_>>()?;
    let (binary, line) = (device.syncobj()?, device.syncobj()?);
    for (number, copy) in (1u64..).zip(&copies) {
        let commands = Commands::default().compute(copy);
        let (wait, signal) = match number % 2 {
            0 => (line.point(number - 1), binary.binary()),
            _ => (binary.binary(), line.point(number)),
        };
        let queue = if number % 2 == 0 { &second } else { &lab.queue };
        match number {
            1 => queue.submit(&commands, 0, &[signal])?,
            _ => queue.submit(&commands, 1, &[wait, signal])?,
        }
    }
    ensure!(binary.outcome()? == 0);
    ensure!(lab.get(words[12]) == 0xabcd, "the chain is broken");
    Ok(())
}

/// One sync object as in-sync and as out-sync: it waits for what was there before.
fn in_and_out(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let object = device.syncobj()?;
    bench
        .queue
        .submit(&nothing(&bench), 0, &[object.binary()])?;
    for _ in 0..20 {
        bench
            .queue
            .submit(&nothing(&bench), 1, &[object.binary(), object.binary()])?;
    }
    ensure!(object.outcome()? == 0);
    let line = device.syncobj()?;
    bench.queue.submit(&nothing(&bench), 0, &[line.point(1)])?;
    for point in 1..20 {
        bench.queue.submit(
            &nothing(&bench),
            1,
            &[line.point(point), line.point(point + 1)],
        )?;
    }
    line.wait_point(20)
}

/// As many sync objects as a client may think of at once.
fn many(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let objects: Vec<_> = (0..64).map(|_| device.syncobj()).collect::<Result<_>>()?;
    let syncs: Vec<Sync> = objects.iter().map(|object| object.binary()).collect();
    bench.queue.submit(&nothing(&bench), 0, &syncs)?;
    bench.queue.submit(&nothing(&bench), syncs.len(), &syncs)?;
    let both = [&syncs[..], &syncs[..]].concat();
    bench.queue.submit(&nothing(&bench), syncs.len(), &both)?;
    for object in &objects {
        ensure!(object.outcome()? == 0);
    }
    Ok(())
}

/// The same sync object several times over.
fn twice(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let object = device.syncobj()?;
    let one = object.binary();
    bench.queue.submit(&nothing(&bench), 0, &[one, one])?;
    bench
        .queue
        .submit(&nothing(&bench), 3, &[one, one, one, one, one])?;
    ensure!(object.outcome()? == 0);
    let line = device.syncobj()?;
    bench
        .queue
        .submit(&nothing(&bench), 0, &[line.point(1), line.point(2)])?;
    line.wait_point(2)
}

/// A point is reached when it and all before it are.
fn timeline_order(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let second = vm.queue()?;
    let (gate, open) = lab.gate()?;
    let word = lab.word(1)?;
    let copy = lab.copy(word, word)?;
    let line = device.syncobj()?;
    lab.queue
        .submit(&Commands::default().compute(&gate), 0, &[line.point(1)])?;
    second.submit(&Commands::default().compute(&copy), 0, &[line.point(2)])?;
    std::thread::sleep(A_WHILE);
    let mut value = 0u64;
    let mut query = SyncobjQuery {
        handles: &raw const line.handle as u64,
        points: &raw mut value as u64,
        count_handles: 1,
        flags: 0,
    };
    device.ioctl(&mut query).context("SYNCOBJ_QUERY")?;
    // SAFETY: The kernel has written to it.
    let value = unsafe { (&raw const value).read_volatile() };
    ensure!(value == 0, "point {value} is reached before the first");
    lab.set(open, 1);
    line.wait_point(2)
}

/// What is refused has no effect on its sync objects.
fn refused_leaves_alone(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = nothing(&bench);
    let (out, line) = (device.syncobj()?, device.syncobj()?);
    let mut nowhere = out.binary();
    nowhere.handle = 0x1234;
    let syncs = [out.binary(), line.point(1), nowhere];
    let arg = bench.queue.submit_arg(&commands.0, 0, &syncs);
    device.refused(arg, ENOENT, "a sync object that does not exist")?;
    let mut bad = bench.nothing;
    bad.flags = 1;
    let bad = Commands::default().compute(&bad);
    let arg = bench.queue.submit_arg(&bad.0, 0, &syncs[..2]);
    device.refused(arg, EINVAL, "a bad command")?;
    for sync in &syncs[..2] {
        let arg = bench
            .queue
            .submit_arg(&commands.0, 1, std::slice::from_ref(sync));
        device.refused(arg, EINVAL, "waiting for what was never submitted")?;
    }
    Ok(())
}

/// A fence as a file: to poll, to hand on, to wait for.
fn sync_files(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let (gate, open) = lab.gate()?;
    let word = lab.word(1)?;
    let copy = lab.copy(word, word)?;
    let done = device.syncobj()?;
    lab.queue
        .submit(&Commands::default().compute(&gate), 0, &[done.binary()])?;
    let file = done.export()?;
    let poll = |timeout: Duration| -> Result<bool> {
        let mut poll = libc::pollfd {
            fd: file.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: One valid descriptor to poll.
        match unsafe { libc::poll(&mut poll, 1, timeout.as_millis() as i32) } {
            -1 => Err(io::Error::last_os_error()).context("poll"),
            ready => Ok(ready == 1 && poll.revents & libc::POLLIN != 0),
        }
    };
    ensure!(!poll(A_WHILE)?, "a fence is readable too early");
    ensure!(sync_file_status(file.as_raw_fd())? == 0);

    let other = device.syncobj()?;
    other.import(file.as_raw_fd())?;
    let second = vm.queue()?;
    let after = device.syncobj()?;
    second.submit(
        &Commands::default().compute(&copy),
        1,
        &[other.binary(), after.binary()],
    )?;
    ensure!(!after.signalled()?);
    lab.set(open, 1);
    ensure!(poll(Duration::from_secs(30))?, "a fence is never readable");
    ensure!(sync_file_status(file.as_raw_fd())? == 1);
    ensure!(after.outcome()? == 0);
    // The file has the fence, whatever becomes of the sync object.
    drop(done);
    ensure!(sync_file_status(file.as_raw_fd())? == 1);
    Ok(())
}

/// One client waits for another's work.
fn shared_between_clients(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let (gate, open) = lab.gate()?;
    let done = device.syncobj()?;
    lab.queue
        .submit(&Commands::default().compute(&gate), 0, &[done.binary()])?;

    let other = Device::open()?;
    let their_vm = other.vm()?;
    let bench = Bench::new(&their_vm)?;
    let (ready, after) = (other.syncobj()?, other.syncobj()?);
    ready.import(done.export()?.as_raw_fd())?;
    bench
        .queue
        .submit(&nothing(&bench), 1, &[ready.binary(), after.binary()])?;
    std::thread::sleep(A_WHILE);
    ensure!(!after.signalled()?, "it did not wait for another client");
    lab.set(open, 1);
    ensure!(after.outcome()? == 0);
    Ok(())
}

/// A queue that waits does not keep another one from going on.
fn queues_are_apart(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let (first, second) = (vm.queue()?, vm.queue()?);
    let mut lab = Lab::new(&vm)?;
    let (gate, open) = lab.gate()?;
    let (ready, done) = (device.syncobj()?, device.syncobj()?);
    lab.queue
        .submit(&Commands::default().compute(&gate), 0, &[ready.binary()])?;
    first.submit(&nothing(&bench), 1, &[ready.binary(), done.binary()])?;
    lab.set(open, 1);
    for _ in 0..5 {
        second.run(&nothing(&bench))?;
    }
    ensure!(done.outcome()? == 0);
    Ok(())
}

/// Submissions of one queue are done in order, also where the first waits and the second does not.
fn in_order(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let (gate, open) = lab.gate()?;
    let (from, to) = (lab.word(5)?, lab.word(0)?);
    let copy = Commands::default().compute(&lab.copy(from, to)?);
    let second = vm.queue()?;
    let (ready, done) = (device.syncobj()?, device.syncobj()?);
    lab.queue
        .submit(&Commands::default().compute(&gate), 0, &[ready.binary()])?;
    second.submit(&copy, 1, &[ready.binary()])?;
    second.submit(&copy, 0, &[done.binary()])?;
    std::thread::sleep(A_WHILE);
    ensure!(!done.signalled()?, "the second has overtaken the first");
    ensure!(lab.get(to) == 0, "the second has run before the first");
    lab.set(open, 1);
    ensure!(done.outcome()? == 0 && lab.get(to) == 5);
    Ok(())
}
