// SPDX-License-Identifier: MIT OR Apache-2.0

//! A firmware that crashes under busy clients.
//!
//! All of them get `ENODEV` from then on, whoever waits goes on, and unbinding and binding brings the
//! GPU back. It takes a virtual AGX that crashes on demand; see `faults.rs`.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};
use libc::ENODEV;

use crate::{
    device::{Commands, Device},
    gpu::Gpu,
    runner::{rng, skip},
    uapi::*,
};

use super::{
    clients::{END, START, client, refuses_everything},
    errno,
    faults::{ON_DEMAND, TERMINATE},
    process::Child,
    sums::outcome,
    unbind::{bind, close, device_name, newcomer, unbind},
};

crate::suite::tests!(rebind { limit: 200 },);

/// How many clients there are.
const CLIENTS: usize = 3;

/// Asks the firmware to crash while it has a job. Gives its fence's error.
fn crash(device: &Device) -> Result<i32> {
    let vm = device.vm()?;
    let mut gpu = Gpu::new(&vm)?;
    let command = CmdCompute {
        helper_data: ON_DEMAND | 0x08,
        ..gpu.stream(&TERMINATE)?
    };
    let queue = vm.queue()?;
    let done = device.syncobj()?;
    queue
        .submit(&Commands::default().compute(&command), 0, &[done.binary()])
        .context("SUBMIT")?;
    let fence = done.export();
    // The device may be gone by the time that the fence is asked for.
    match fence {
        Ok(fence) => outcome(&fence),
        Err(_) => Ok(ENODEV),
    }
}

/// One time.
fn once(name: &str, seed: u64) -> Result<bool> {
    let mut clients = Vec::new();
    for index in 0..CLIENTS {
        let seed = seed + 10 * index as u64;
        clients.push(Child::start(&format!("client {index}"), |link| {
            client(link, seed)
        })?);
    }
    for client in &mut clients {
        client.expect("busy", START + END)?;
    }
    let device = Device::open()?;
    let ended = crash(&device)?;
    if ended == 0 {
        for client in clients {
            client.kill(END)?;
        }
        return Ok(false);
    }
    ensure!(ended == ENODEV, "the job that crashes ended with {ended}");
    for client in &mut clients {
        client.say("gone")?;
    }
    for client in &mut clients {
        client.expect("ended", END + END)?;
    }
    refuses_everything(&device)?;
    // A client that comes now gets nothing either.
    if let Ok(late) = Device::open() {
        let errno = errno(&late.ioctl(&mut VmCreate::default()));
        ensure!(errno == ENODEV, "after the crash, VM_CREATE gives {errno}");
    }
    unbind(name)?;
    bind(name)?;
    newcomer(seed)?;
    for mut client in clients {
        client.say("leave")?;
        client.end(END)?;
    }
    drop(device);
    thread::sleep(Duration::from_millis(100));
    newcomer(seed)?;
    Ok(true)
}

fn rebind(device: &Device) -> Result<()> {
    close(device)?;
    let name = device_name()?;
    let mut rng = rng();
    for round in 0..3 {
        if !once(&name, rng.next()).with_context(|| format!("round {round}"))? {
            return skip("the firmware does not crash on demand");
        }
    }
    Ok(())
}
