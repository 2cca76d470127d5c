// SPDX-License-Identifier: MIT OR Apache-2.0

//! Taking the device from its driver, and giving it back, with clients that are at work.
//!
//! What a client may rely on: each ioctl gives `ENODEV` from then on, whoever waits for the GPU goes
//! on, and what it has mapped stays as it was. It can keep all it has, also when the device is there
//! again: a new client finds a GPU that works.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    device::{Device, HEAP},
    gpu::Gpu,
    runner::{Rng, rng},
};

use super::{
    clients::{END, START, client},
    memory::Memory,
    process::Child,
    sums::{Ended, Sums},
};

crate::suite::tests!(
    few { limit: 200 },
    fifty {
        limit: 2400,
        heavy: true
    },
);

const DRIVER: &str = "/sys/bus/platform/drivers/asahi";

/// How many clients there are.
const CLIENTS: usize = 4;

/// How long the driver may take to let go of the device, and to take it.
const PATIENCE: Duration = Duration::from_secs(10);

/// KiB per cycle that are no leak: pages that per-CPU lists and caches keep.
const NOISE: i64 = 16;

/// The name of the driver's device.
pub fn device_name() -> Result<String> {
    for entry in fs::read_dir(DRIVER).context("the driver is not loaded")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".gpu") {
            return Ok(name);
        }
    }
    anyhow::bail!("the driver has no device")
}

/// Lets go of a device that a test was given, since the module stays for as long as it is open.
pub fn close(device: &Device) -> Result<()> {
    let null = File::open("/dev/null")?;
    // SAFETY: Both descriptors are ours, and the file that goes is not used any more.
    let result = unsafe { libc::dup2(null.as_raw_fd(), device.fd()) };
    ensure!(result >= 0, "a descriptor cannot be replaced");
    Ok(())
}

fn timed(what: &str, limit: Duration, deed: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    deed().context(what.to_owned())?;
    let took = start.elapsed();
    ensure!(took < limit, "{what} took {took:?}");
    Ok(())
}

/// Takes the device from its driver.
pub fn unbind(name: &str) -> Result<()> {
    timed("unbind", PATIENCE, || {
        Ok(fs::write(Path::new(DRIVER).join("unbind"), name)?)
    })?;
    ensure!(Device::open().is_err(), "there is still a render node");
    Ok(())
}

/// Gives it back.
pub fn bind(name: &str) -> Result<()> {
    timed("bind", PATIENCE, || {
        Ok(fs::write(Path::new(DRIVER).join("bind"), name)?)
    })?;
    appear()
}

/// Waits for the render node.
fn appear() -> Result<()> {
    let start = Instant::now();
    loop {
        match Device::open() {
            Ok(_) => return Ok(()),
            Err(error) if start.elapsed() > PATIENCE => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn run(command: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(command).args(arguments).status()?;
    ensure!(status.success(), "{command} {arguments:?}: {status}");
    Ok(())
}

/// Waits until the driver's folder is gone.
///
/// It goes with the last put of its kobject, which nothing waits for, and which takes up to four
/// seconds on the debug kernel (CONFIG_DEBUG_KOBJECT_RELEASE). While it is there no driver of that
/// name can be registered.
fn gone() -> Result<()> {
    let start = Instant::now();
    while Path::new(DRIVER).exists() {
        ensure!(start.elapsed() < PATIENCE, "the driver is still there");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Unloads the driver's module and loads it again.
fn reload() -> Result<()> {
    timed("unloading", PATIENCE, || run("modprobe", &["-r", "asahi"]))?;
    gone()?;
    timed("loading", PATIENCE, || run("modprobe", &["asahi"]))?;
    appear()
}

/// A new client that computes.
pub fn newcomer(seed: u64) -> Result<()> {
    let device = Device::open()?;
    let vm = device.vm()?;
    let mut gpu = Gpu::new(&vm)?;
    let mut work = Sums::new(&vm, &mut gpu, HEAP, seed)?;
    let queue = vm.queue()?;
    for _ in 0..3 {
        let ended = work.round(&queue)?;
        ensure!(ended == Ended::Well, "a new client's sum has {ended:?}");
    }
    Ok(())
}

/// A cycle: clients, the device goes, the device comes back, the clients end.
fn cycle(number: u64, name: &str, rng: &mut Rng) -> Result<()> {
    let mut clients = Vec::new();
    for index in 0..CLIENTS {
        let seed = rng.next();
        clients.push(Child::start(&format!("client {index}"), |link| {
            client(link, seed)
        })?);
    }
    for client in &mut clients {
        client.expect("busy", START + END)?;
    }
    if number % 2 == 1 {
        // A job that does not end, so that everything else stands behind it.
        clients[0].say("hang")?;
        clients[0].expect("hangs", END)?;
    }
    thread::sleep(Duration::from_millis(rng.below(60)));
    if number % 3 == 2 {
        // One that dies just now, with all that it has.
        if let Some(client) = clients.pop() {
            client.kill(END)?;
        }
    }
    unbind(name)?;
    for client in &mut clients {
        client.say("gone")?;
    }
    for client in &mut clients {
        client.expect("ended", END + END)?;
    }
    let leave = |clients: Vec<Child>| -> Result<()> {
        for mut client in clients {
            client.say("leave")?;
            client.end(END)?;
        }
        Ok(())
    };
    if number % 5 == 4 {
        // The module goes only when nobody has a file open.
        let goes = run("modprobe", &["-r", "asahi"]);
        ensure!(goes.is_err(), "the module goes while files are open");
        leave(clients)?;
        reload()?;
        return newcomer(rng.next());
    }
    bind(name)?;
    newcomer(rng.next())?;
    leave(clients)?;
    newcomer(rng.next())
}

fn cycles(device: &Device, count: u64) -> Result<()> {
    close(device)?;
    let name = device_name()?;
    let result = all_cycles(&name, count);
    if result.is_err() {
        // Whoever comes next is to find a device.
        let _ = fs::write(Path::new(DRIVER).join("bind"), &name);
    }
    result
}

fn all_cycles(name: &str, count: u64) -> Result<()> {
    let mut rng = rng();
    let mut before = None;
    // Slabs and lists of free pages grow for some time to what the clients need. A leak goes on.
    let warm = (count / 2).max(5);
    for number in 0..count {
        let start = Instant::now();
        cycle(number, name, &mut rng).with_context(|| format!("cycle {number}"))?;
        if number + 1 == warm {
            before = Some(Memory::settled()?);
        }
        if number % 10 == 4 || number + 1 == count {
            let memory = Memory::settled()?;
            println!(
                "# cycle {number}: {:?}, {}",
                start.elapsed(),
                memory.figures()
            );
        }
    }
    let times = count.saturating_sub(warm) as i64;
    if let Some(before) = before.filter(|_| times > 0) {
        let worse = Memory::settled()?.worse_than(&before, times, NOISE);
        ensure!(
            worse.is_empty(),
            "after {times} cycles: {}",
            worse.join(", ")
        );
    }
    // The node has its first number again for whoever comes next.
    unbind(name)?;
    bind(name)
}

fn few(device: &Device) -> Result<()> {
    cycles(device, 5)
}

/// Fifty cycles. Memory is compared with what it was after half of them.
fn fifty(device: &Device) -> Result<()> {
    cycles(device, 50)
}
