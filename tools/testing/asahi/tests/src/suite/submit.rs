// SPDX-License-Identifier: MIT OR Apache-2.0

//! SUBMIT.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use libc::{E2BIG, EFAULT, EINVAL, ENOENT};

use crate::{
    device::{Bench, Commands, Device, HEAP, PAGE, bytes},
    uapi::*,
};

super::tests!(
    arguments,
    commands,
    barriers,
    syncs,
    nothing,
    many_commands,
    many_submissions,
    order,
    timelines,
    attachments,
    timestamps,
    destroy_in_flight,
    two_queues,
    wrong_timestamps
);

fn arguments(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    let good = bench.queue.submit_arg(&commands.0, 0, &[]);
    let bad = |change: fn(&mut Submit), errno, what: &str| {
        let mut arg = good;
        change(&mut arg);
        device.refused(arg, errno, what)
    };
    bad(|arg| arg.flags = 1, EINVAL, "flags")?;
    bad(|arg| arg.pad = 1, EINVAL, "padding")?;
    bad(|arg| arg.queue_id = 0x1234, ENOENT, "no queue")?;
    bad(|arg| arg.cmdbuf = 8, EFAULT, "no command buffer")?;
    bad(|arg| arg.cmdbuf_size = 0, EINVAL, "no commands")?;
    bad(|arg| arg.cmdbuf_size -= 1, EINVAL, "a part of a command")?;
    bad(
        |arg| arg.cmdbuf_size = u32::MAX,
        EINVAL,
        "the largest buffer",
    )?;
    bad(
        |arg| arg.in_sync_count = u32::MAX,
        EINVAL,
        "the most in-syncs",
    )?;
    bad(
        |arg| {
            arg.in_sync_count = 1 << 31;
            arg.out_sync_count = 1 << 31;
        },
        EINVAL,
        "as many syncs as wrap around",
    )?;
    bad(|arg| arg.out_sync_count = 1, EFAULT, "no out-syncs")
}

fn commands(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let refused = |commands: Commands, errno, what: &str| {
        device.refused(bench.queue.submit_arg(&commands.0, 0, &[]), errno, what)
    };
    let one = |cmd_type, payload: &[u8]| Commands::default().command(cmd_type, 0, 0, payload);

    refused(one(5, &[]), EINVAL, "an unknown command")?;
    refused(one(CMD_RENDER, &[0; 240]), EINVAL, "a render of nothing")?;
    let mut flags = bench.nothing;
    flags.flags = 1;
    refused(one(CMD_COMPUTE, bytes(&flags)), EINVAL, "flags")?;

    let mut long = bytes(&bench.nothing).to_vec();
    long.extend([0; 16]);
    bench
        .queue
        .run(&one(CMD_COMPUTE, &long))
        .context("a longer command")?;
    long[79] = 1;
    refused(one(CMD_COMPUTE, &long), E2BIG, "a new field")?;
    bench
        .queue
        .run(&one(CMD_COMPUTE, &bytes(&bench.nothing)[..24]))
        .context("a shorter command")
}

fn barriers(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let payload = bytes(&bench.nothing);
    let refused = |commands: Commands, what: &str| {
        device.refused(bench.queue.submit_arg(&commands.0, 0, &[]), EINVAL, what)
    };
    let compute = |commands: Commands, vdm, cdm| commands.command(CMD_COMPUTE, vdm, cdm, payload);

    refused(compute(Commands::default(), 0, 1), "waiting for itself")?;
    refused(compute(Commands::default(), 1, 0), "waiting for no render")?;
    let mut good = compute(Commands::default(), BARRIER_NONE, BARRIER_NONE);
    good = compute(good, 0, 0);
    good = compute(good, BARRIER_NONE, 1);
    good = compute(good, 0, 2);
    good = compute(good, 0, 3);
    bench.queue.run(&good)?;
    refused(compute(good, 0, 6), "waiting for what comes later")
}

fn syncs(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    let object = device.syncobj()?;
    let refused = |ins, sync: Sync, errno, what: &str| {
        let syncs = [sync];
        let arg = bench.queue.submit_arg(&commands.0, ins, &syncs);
        device.refused(arg, errno, what)
    };

    refused(1, object.binary(), EINVAL, "a sync object without a fence")?;
    let mut sync = object.binary();
    sync.sync_type = 2;
    refused(0, sync, EINVAL, "an unknown type")?;
    sync = object.binary();
    sync.timeline_value = 1;
    refused(0, sync, EINVAL, "a point of a binary sync object")?;
    sync = object.binary();
    sync.handle = 0x1234;
    refused(0, sync, ENOENT, "no out-sync")?;
    refused(1, sync, ENOENT, "no in-sync")
}

/// A submission that does nothing gets done.
fn nothing(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    bench
        .queue
        .run(&Commands::default().compute(&bench.nothing))
}

fn many_commands(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let max = device.params()?.max_commands_per_submission;
    let mut commands = Commands::default();
    for _ in 0..max {
        commands = commands.compute(&bench.nothing);
    }
    bench.queue.run(&commands)?;
    let commands = commands.compute(&bench.nothing);
    let arg = bench.queue.submit_arg(&commands.0, 0, &[]);
    device.refused(arg, EINVAL, "one command too many")
}

/// More submissions than the ring and the stamps have room for.
fn many_submissions(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    let done = device.syncobj()?;
    let start = Instant::now();
    for number in 1..=300 {
        bench
            .queue
            .submit(&commands, 0, &[done.point(number)])
            .with_context(|| format!("submission {number}"))?;
    }
    done.wait_point(300)?;
    println!("# 300 submissions took {:?}", start.elapsed());
    Ok(())
}

/// A submission waits for its in-syncs, in whatever order they come.
fn order(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let other = vm.queue()?;
    let commands = Commands::default().compute(&bench.nothing);
    let chain: Vec<_> = (0..20).map(|_| device.syncobj()).collect::<Result<_>>()?;
    bench.queue.submit(&commands, 0, &[chain[0].binary()])?;
    for (i, pair) in chain.windows(2).enumerate() {
        let queue = if i % 2 == 0 { &other } else { &bench.queue };
        queue.submit(&commands, 1, &[pair[0].binary(), pair[1].binary()])?;
    }
    chain[19].wait()
}

fn timelines(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    let line = device.syncobj()?;
    bench.queue.submit(&commands, 0, &[line.point(5)])?;
    bench
        .queue
        .submit(&commands, 1, &[line.point(5), line.point(9)])?;
    line.wait_point(9)?;
    // A point in between has signalled with the one behind it.
    line.wait_point(7)
}

fn attachments(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let max = device.params()?.max_attachments as usize;
    let attachment = Attachment {
        pointer: HEAP,
        size: PAGE,
        ..Default::default()
    };
    let set = |list: &[Attachment]| {
        let payload: Vec<u8> = list.iter().flat_map(bytes).copied().collect();
        Commands::default()
            .command(
                SET_COMPUTE_ATTACHMENTS,
                BARRIER_NONE,
                BARRIER_NONE,
                &payload,
            )
            .compute(&bench.nothing)
    };
    bench.queue.run(&set(&[]))?;
    bench.queue.run(&set(&vec![attachment; max]))?;

    let refused = |commands: Commands, what: &str| {
        device.refused(bench.queue.submit_arg(&commands.0, 0, &[]), EINVAL, what)
    };
    refused(set(&vec![attachment; max + 1]), "too many attachments")?;
    let padded = Attachment {
        pad: 1,
        ..attachment
    };
    refused(set(&[padded]), "padding")?;
    let flags = Attachment {
        flags: 1,
        ..attachment
    };
    refused(set(&[flags]), "flags")?;
    let waits = Commands::default()
        .command(SET_COMPUTE_ATTACHMENTS, 0, BARRIER_NONE, bytes(&attachment))
        .compute(&bench.nothing);
    refused(waits, "attachments that wait")
}

/// Binds a page for timestamps.
fn timestamp_object(device: &Device, handle: u32) -> Result<u32> {
    let mut bind = GemBindObject {
        flags: OBJECT_TIMESTAMPS,
        handle,
        range: PAGE,
        ..Default::default()
    };
    device.ioctl(&mut bind).context("GEM_BIND_OBJECT")?;
    Ok(bind.object_handle)
}

fn timestamps(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let bo = device.bo(PAGE, GEM_WRITEBACK, 0)?;
    let map = bo.mmap()?;
    let handle = timestamp_object(device, bo.handle)?;
    let at = |offset| Timestamp { handle, offset };

    let mut compute = bench.nothing;
    compute.ts_start = at(0);
    compute.ts_end = at(PAGE as u32 - 8);
    bench.queue.run(&Commands::default().compute(&compute))?;
    let (start, end) = (map.read(0), map.read(PAGE as usize - 8));
    ensure!(start != 0 && end >= start, "from {start} to {end}");

    compute.ts_start = Timestamp::default();
    compute.ts_end = at(8);
    bench.queue.run(&Commands::default().compute(&compute))?;
    ensure!(map.read(8) >= end, "time went backwards");
    ensure!(map.read(0) == start, "a timestamp was written unasked");
    Ok(())
}

fn wrong_timestamps(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let bo = device.bo(PAGE, 0, 0)?;
    let handle = timestamp_object(device, bo.handle)?;
    for (handle, offset, errno, what) in [
        (handle, 4, EINVAL, "an odd offset"),
        (handle, PAGE as u32, EINVAL, "an offset behind the end"),
        (handle, u32::MAX, EINVAL, "the largest offset"),
        (handle + 1000, 0, ENOENT, "no object"),
    ] {
        let mut compute = bench.nothing;
        compute.ts_end = Timestamp { handle, offset };
        let commands = Commands::default().compute(&compute);
        device.refused(bench.queue.submit_arg(&commands.0, 0, &[]), errno, what)?;
    }
    Ok(())
}

/// What a queue was doing gets done after it has been given up.
fn destroy_in_flight(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    for _ in 0..20 {
        let bench = Bench::new(&vm)?;
        let commands = Commands::default().compute(&bench.nothing);
        let done = device.syncobj()?;
        bench.queue.submit(&commands, 0, &[done.point(1)])?;
        bench.queue.submit(&commands, 0, &[done.point(2)])?;
        bench.queue.destroy();
        done.wait_point(2)?;
    }
    Ok(())
}

/// Two clients' queues go on side by side.
fn two_queues(device: &Device) -> Result<()> {
    let other = Device::open()?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = [device, &other]
            .map(|device| {
                scope.spawn(move || -> Result<()> {
                    let vm = device.vm()?;
                    let bench = Bench::new(&vm)?;
                    let commands = Commands::default().compute(&bench.nothing);
                    for _ in 0..50 {
                        bench.queue.run(&commands)?;
                    }
                    Ok(())
                })
            })
            .into();
        for thread in threads {
            match thread.join() {
                Ok(result) => result?,
                Err(_) => bail!("a thread panicked"),
            }
        }
        Ok(())
    })
}
