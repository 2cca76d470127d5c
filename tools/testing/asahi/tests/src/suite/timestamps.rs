// SPDX-License-Identifier: MIT OR Apache-2.0

//! Timestamps of commands, and the clock that they are of.

use anyhow::{Context, Result, ensure};
use libc::{EINVAL, ENOENT};

use super::lab::{Lab, Stamps};
use crate::{
    device::{Bench, Commands, Device, PAGE},
    uapi::*,
};

super::tests!(
    one_clock,
    each_command,
    only_one_end,
    offsets,
    handles,
    two_buffers,
    closed_meanwhile,
    part_of_an_object,
    frequency,
);

/// The GPU's time in nanoseconds.
fn now(device: &Device) -> Result<u64> {
    let mut time = GetTime::default();
    device.ioctl(&mut time).context("GET_TIME")?;
    Ok(time.gpu_timestamp)
}

/// A timestamp in nanoseconds.
fn nanoseconds(device: &Device, timestamp: u64) -> Result<u64> {
    let hz = device.params()?.command_timestamp_frequency_hz;
    let ns = u128::from(timestamp) * 1_000_000_000 / u128::from(hz);
    u64::try_from(ns).context("a timestamp of centuries")
}

/// How far the virtual AGX's clock may be from the guest's: both are the host's, but neither process
/// knows exactly when the other began to count.
const APART: u64 = 200_000_000;

/// A command lies between two times that are asked for around it.
fn one_clock(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let stamps = Stamps::new(&vm, 1)?;
    let mut compute = bench.nothing;
    (compute.ts_start, compute.ts_end) = (stamps.at(0), stamps.at(1));
    for _ in 0..5 {
        let before = now(device)?;
        bench.queue.run(&Commands::default().compute(&compute))?;
        let after = now(device)?;
        let start = nanoseconds(device, stamps.read(0))?;
        let end = nanoseconds(device, stamps.read(1))?;
        ensure!(
            before <= start + APART && start <= end && end <= after + APART,
            "from {start} to {end}, asked for at {before} and done at {after}"
        );
    }
    Ok(())
}

/// A gate that is held shows in the timestamps as long as it was held.
fn frequency(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let stamps = Stamps::new(&vm, 1)?;
    let (mut gate, open) = lab.gate()?;
    (gate.ts_start, gate.ts_end) = (stamps.at(0), stamps.at(1));
    let done = device.syncobj()?;
    lab.queue
        .submit(&Commands::default().compute(&gate), 0, &[done.binary()])?;
    super::lab::until("a command has begun", || stamps.read(0) != 0)?;
    let begun = now(device)?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    let opened = now(device)?;
    ensure!(stamps.read(1) == 0, "it has ended too early");
    lab.set(open, 1);
    ensure!(done.outcome()? == 0);
    let took = nanoseconds(device, stamps.read(1) - stamps.read(0))?;
    ensure!(
        took + 100 >= opened - begun,
        "{took} ns, of which {} were waited for",
        opened - begun
    );
    Ok(())
}

/// All commands of a submission, in their order.
fn each_command(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let stamps = Stamps::new(&vm, 1)?;
    let max = device.params()?.max_commands_per_submission;
    let mut commands = Commands::default();
    for number in 0..max {
        let mut compute = bench.nothing;
        compute.ts_start = stamps.at(2 * number);
        compute.ts_end = stamps.at(2 * number + 1);
        commands = commands.compute(&compute);
    }
    bench.queue.run(&commands)?;
    let all: Vec<u64> = (0..2 * max).map(|index| stamps.read(index)).collect();
    ensure!(all[0] != 0, "there are no timestamps");
    ensure!(all.is_sorted(), "time goes back: {all:?}");
    ensure!(
        stamps.read(2 * max) == 0,
        "there is one more than was asked for"
    );
    Ok(())
}

/// A timestamp that is not asked for is not written.
fn only_one_end(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let stamps = Stamps::new(&vm, 1)?;
    for (start, end) in [(true, false), (false, true), (false, false)] {
        stamps.map.write(0, 0);
        stamps.map.write(8, 0);
        let mut compute = bench.nothing;
        if start {
            compute.ts_start = stamps.at(0);
        }
        if end {
            compute.ts_end = stamps.at(1);
        }
        bench.queue.run(&Commands::default().compute(&compute))?;
        ensure!(
            (stamps.read(0) != 0) == start && (stamps.read(1) != 0) == end,
            "asked for start {start}, end {end}"
        );
    }
    Ok(())
}

/// Where a timestamp may be.
fn offsets(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let stamps = Stamps::new(&vm, 2)?;
    let size = 2 * PAGE as u32;
    let with = |offset| {
        let mut compute = bench.nothing;
        compute.ts_start = Timestamp {
            handle: stamps.handle,
            offset,
        };
        Commands::default().compute(&compute)
    };
    for offset in [0, 8, PAGE as u32 - 8, PAGE as u32, size - 8] {
        bench.queue.run(&with(offset))?;
        ensure!(
            stamps.map.read(offset as usize) != 0,
            "nothing at {offset:#x}"
        );
    }
    for offset in [
        1,
        2,
        4,
        7,
        size - 7,
        size - 4,
        size,
        size + 8,
        0xffff_fff8,
        u32::MAX,
    ] {
        let commands = with(offset);
        let arg = bench.queue.submit_arg(&commands.0, 0, &[]);
        device.refused(arg, EINVAL, &format!("offset {offset:#x}"))?;
    }
    Ok(())
}

/// Only this client's objects, and only as long as they are there.
fn handles(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let other = Device::open()?;
    let their_vm = other.vm()?;
    let theirs = Stamps::new(&their_vm, 1)?;
    let gone = Stamps::new(&vm, 1)?.handle;
    for handle in [theirs.handle, gone, 0x1234, u32::MAX] {
        for end in [false, true] {
            let mut compute = bench.nothing;
            let at = Timestamp { handle, offset: 0 };
            match end {
                false => compute.ts_start = at,
                true => compute.ts_end = at,
            }
            let commands = Commands::default().compute(&compute);
            let arg = bench.queue.submit_arg(&commands.0, 0, &[]);
            device.refused(arg, ENOENT, &format!("object {handle:#x}"))?;
        }
    }
    let unbind = GemBindObject {
        op: OBJECT_UNBIND,
        object_handle: theirs.handle,
        ..Default::default()
    };
    device.refused(unbind, ENOENT, "unbinding another client's object")
}

/// Both ends may go to different objects.
fn two_buffers(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let (first, second) = (Stamps::new(&vm, 1)?, Stamps::new(&vm, 1)?);
    let mut compute = bench.nothing;
    (compute.ts_start, compute.ts_end) = (first.at(3), second.at(5));
    bench.queue.run(&Commands::default().compute(&compute))?;
    ensure!(first.read(3) != 0 && second.read(5) >= first.read(3));
    Ok(())
}

/// An object that is bound stays, whatever becomes of its handle.
fn closed_meanwhile(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let bo = device.bo(PAGE, GEM_WRITEBACK, 0)?;
    let map = bo.mmap()?;
    let mut bind = GemBindObject {
        flags: OBJECT_TIMESTAMPS,
        handle: bo.handle,
        range: PAGE,
        ..Default::default()
    };
    device.ioctl(&mut bind)?;
    drop(bo);
    let mut compute = bench.nothing;
    compute.ts_start = Timestamp {
        handle: bind.object_handle,
        offset: 16,
    };
    bench.queue.run(&Commands::default().compute(&compute))?;
    ensure!(map.read(16) != 0, "there is no timestamp");
    Ok(())
}

/// Offsets count from where the object was bound from.
fn part_of_an_object(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let bo = device.bo(4 * PAGE, GEM_WRITEBACK, 0)?;
    let map = bo.mmap()?;
    let mut bind = GemBindObject {
        flags: OBJECT_TIMESTAMPS,
        handle: bo.handle,
        offset: 2 * PAGE,
        range: PAGE,
        ..Default::default()
    };
    device.ioctl(&mut bind)?;
    let mut compute = bench.nothing;
    compute.ts_end = Timestamp {
        handle: bind.object_handle,
        offset: 24,
    };
    bench.queue.run(&Commands::default().compute(&compute))?;
    let written: Vec<usize> = (0..4 * PAGE as usize)
        .step_by(8)
        .filter(|&at| map.read(at) != 0)
        .collect();
    ensure!(written == [2 * PAGE as usize + 24], "written: {written:x?}");
    compute.ts_end.offset = PAGE as u32;
    let commands = Commands::default().compute(&compute);
    let arg = bench.queue.submit_arg(&commands.0, 0, &[]);
    device.refused(arg, EINVAL, "behind the part that is bound")?;
    device.ioctl(&mut GemBindObject {
        op: OBJECT_UNBIND,
        object_handle: bind.object_handle,
        ..Default::default()
    })?;
    Ok(())
}
