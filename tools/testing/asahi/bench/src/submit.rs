// SPDX-License-Identifier: MIT OR Apache-2.0

//! Submissions: how long one takes until its fence, and how many go through.

use std::time::Duration;

use anyhow::{Context, Result};
use asahi_tests::{
    device::{Bench, Commands, Device, PAGE},
    uapi::*,
};

use crate::{
    clock::{self, now},
    machine, report,
};

/// Rounds of what takes one round trip.
const ROUNDS: usize = 60;
/// Rounds whose result is not looked at: caches fill, and QEMU translates the code.
pub const WARM_UP: usize = 20;

/// A command with timestamps, the object's handle being the VM's.
fn stamped<'a>(device: &'a Device, nothing: &CmdCompute) -> Result<Stamped<'a>> {
    let bo = device.bo(PAGE, GEM_WRITEBACK, 0)?;
    let mut bind = GemBindObject {
        flags: OBJECT_TIMESTAMPS,
        handle: bo.handle,
        range: PAGE,
        ..Default::default()
    };
    device.ioctl(&mut bind).context("GEM_BIND_OBJECT")?;
    let at = |offset| Timestamp {
        handle: bind.object_handle,
        offset,
    };
    let mut compute = *nothing;
    compute.ts_start = at(0);
    compute.ts_end = at(8);
    Ok(Stamped {
        map: bo.mmap()?,
        _bo: bo,
        commands: Commands::default().compute(&compute),
    })
}

struct Stamped<'a> {
    commands: Commands,
    map: asahi_tests::device::Mapping,
    _bo: asahi_tests::device::Bo<'a>,
}

/// From before SUBMIT until the wait for its fence is over, and what is in between.
pub fn round_trips() -> Result<()> {
    let device = Device::open()?;
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    let done = device.syncobj()?;
    let syncs = [done.binary()];

    let (mut submits, mut trips) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        let start = now();
        bench.queue.submit(&commands, 0, &syncs)?;
        let submitted = now();
        done.wait()?;
        let end = now();
        if round >= WARM_UP {
            submits.push(submitted - start);
            trips.push(end - start);
        }
    }
    report("submit/round-trip", &trips);
    report("submit/ioctl", &submits);

    let mut waits = Vec::new();
    for _ in 0..ROUNDS {
        let start = now();
        done.wait()?;
        waits.push(now() - start);
    }
    report("submit/wait-signalled", &waits);
    parts(&device, &bench, machine::clock_offset()?)
}

/// Where the round trip's time goes, by the timestamps that the command leaves.
fn parts(device: &Device, bench: &Bench<'_>, ahead: i64) -> Result<()> {
    let frequency = device.params()?.command_timestamp_frequency_hz;
    let stamped = stamped(device, &bench.nothing)?;
    let done = device.syncobj()?;
    let syncs = [done.binary()];
    let mut parts = [const { Vec::new() }; 4];

    for round in 0..WARM_UP + ROUNDS {
        let start = now();
        bench.queue.submit(&stamped.commands, 0, &syncs)?;
        done.wait()?;
        let end = now();
        // By the guest's clock.
        let own = |offset| {
            let theirs = clock::scaled(stamped.map.read(offset), frequency);
            theirs.saturating_add_signed(-ahead)
        };
        let (begun, over) = (own(0), own(8));
        if round >= WARM_UP {
            parts[0].push(begun.saturating_sub(start));
            parts[1].push(over.saturating_sub(begun));
            parts[2].push(end.saturating_sub(over));
            parts[3].push(end - start);
        }
    }
    report("parts/until-gpu", &parts[0]);
    report("parts/gpu", &parts[1]);
    report("parts/until-woken", &parts[2]);
    report("parts/round-trip", &parts[3]);
    Ok(())
}

/// Submissions of some commands each as fast as they go, until the last one's fence.
pub fn rates() -> Result<()> {
    let device = Device::open()?;
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let done = device.syncobj()?;
    let mut point = 0;

    for (count, submissions) in [(1, 200), (2, 200), (64, 20)] {
        let mut commands = Commands::default();
        for _ in 0..count {
            commands = commands.compute(&bench.nothing);
        }
        let mut per_submission = Vec::new();
        for round in 0..6 {
            let start = now();
            for _ in 0..submissions {
                point += 1;
                bench.queue.submit(&commands, 0, &[done.point(point)])?;
            }
            done.wait_point(point)?;
            if round > 0 {
                per_submission.push((now() - start) / submissions);
            }
        }
        report(&format!("rate/{count}"), &per_submission);
    }
    Ok(())
}

/// Lets the kernel's workers clear away what is done, or they would do it during the next ioctl.
pub fn settle() {
    std::thread::sleep(Duration::from_millis(1));
}

/// Instructions of the ioctl alone.
pub fn instructions() -> Result<()> {
    let device = Device::open()?;
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let done = device.syncobj()?;
    let syncs = [done.binary()];

    for count in [1, 2, 64] {
        let mut commands = Commands::default();
        for _ in 0..count {
            commands = commands.compute(&bench.nothing);
        }
        let mut samples = Vec::new();
        for round in 0..WARM_UP + 200 {
            let start = now();
            bench.queue.submit(&commands, 0, &syncs)?;
            let end = now();
            done.wait()?;
            settle();
            if round >= WARM_UP {
                samples.push(end - start);
            }
        }
        report(&format!("instructions/submit-{count}"), &samples);
    }

    let mut samples = Vec::new();
    for _ in 0..100 {
        let start = now();
        device.ioctl(&mut GetTime::default())?;
        samples.push(now() - start);
    }
    report("instructions/get-time", &samples);
    Ok(())
}
