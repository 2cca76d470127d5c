// SPDX-License-Identifier: MIT OR Apache-2.0

//! More of everything than there is room for.

use std::{
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libc::{EMFILE, ENOMEM};

use crate::{
    device::{Bench, Bo, Commands, Device, HEAP, PAGE, Queue, Syncobj, deadline},
    gpu::{self, Gpu},
    uapi::*,
};

use super::{
    gate::Gate,
    memory::Memory,
    process::{Child, Link},
    sums::{Ended, Started, Sums},
    unbind::newcomer,
};

crate::suite::tests!(
    address_spaces,
    queues,
    both {
        limit: 300,
        heavy: true
    },
    ring,
    chain { limit: 120 },
    closing,
    killed { limit: 120 },
    objects { limit: 120 },
    descriptors,
    memory {
        limit: 300,
        heavy: true
    },
);

/// How long another process may take for its part.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has so many VMs with so many queues each at work at once, all of them behind a job that keeps the
/// GPU busy.
fn at_once(device: &Device, vms: u64, queues: u64) -> Result<()> {
    let keeper = device.vm()?;
    let vms: Vec<_> = (0..vms).map(|_| device.vm()).collect::<Result<_>>()?;
    let mut works = Vec::new();
    let mut gpus = Vec::new();
    for vm in &vms {
        let mut gpu = Gpu::new(vm)?;
        for number in 0..queues {
            let at = HEAP + number * Sums::PAGES * PAGE;
            let work = Sums::new(vm, &mut gpu, at, works.len() as u64)?;
            works.push((vm.queue()?, work));
        }
        gpus.push(gpu);
    }
    let gate = Gate::close(device, &keeper)?;
    let mut started = Vec::new();
    for (number, (queue, work)) in works.iter_mut().enumerate() {
        let start = work.start(queue).with_context(|| number.to_string())?;
        if let Started::Refused(error) = start {
            anyhow::bail!("queue {number}: SUBMIT gives {error}");
        }
        started.push(start);
    }
    gate.end()?;
    for (number, ((_, work), started)) in works.iter().zip(&started).enumerate() {
        let ended = work.finish(started).with_context(|| number.to_string())?;
        ensure!(ended == Ended::Well, "queue {number}: {ended:?}");
    }
    // And each once more, when all have had their turn.
    for (number, (queue, work)) in works.iter_mut().enumerate() {
        let ended = work.round(queue).with_context(|| number.to_string())?;
        ensure!(ended == Ended::Well, "queue {number}, again: {ended:?}");
    }
    Ok(())
}

/// More VMs at work than there are slots for address spaces, which are 63.
fn address_spaces(device: &Device) -> Result<()> {
    at_once(device, 80, 1)
}

/// More queues at work than there are event slots, which are 128.
fn queues(device: &Device) -> Result<()> {
    at_once(device, 3, 50)
}

/// More of both.
fn both(device: &Device) -> Result<()> {
    at_once(device, 150, 4)
}

/// More jobs than a queue's ring has room for, in order.
fn ring(device: &Device) -> Result<()> {
    const JOBS: u64 = 700;
    let keeper = device.vm()?;
    let gate = Gate::close(device, &keeper)?;
    let vm = device.vm()?;
    let mut gpu = Gpu::new(&vm)?;
    let bo = device.bo(2 * PAGE, GEM_WRITEBACK, 0)?;
    vm.map(&bo, HEAP)?;
    let map = bo.mmap()?;
    // Job n copies word n to word n + 1 of the first page: the last one has the first word if all of
    // them came one after the other.
    let table = |n: u64| PAGE + n * 16;
    for n in 0..JOBS {
        map.write(table(n) as usize, HEAP + n * 4);
        map.write(table(n) as usize + 8, HEAP + n * 4 + 4);
    }
    map.write(0, 0x600d);
    let queue = vm.queue()?;
    let done = device.syncobj()?;
    thread::scope(|scope| {
        // Who has submitted very much may have to wait until some of it is done.
        scope.spawn(|| {
            thread::sleep(Duration::from_secs(1));
            gate.open();
        });
        for n in 0..JOBS {
            let command = gpu.command(&[gpu::moves(HEAP + table(n), 1)])?;
            queue
                .submit(
                    &Commands::default().compute(&command),
                    0,
                    &[done.point(n + 1)],
                )
                .with_context(|| format!("job {n}"))?;
        }
        anyhow::Ok(())
    })?;
    gate.end()?;
    done.wait_point(JOBS)?;
    let last = map.read((JOBS * 4) as usize);
    ensure!(last as u32 == 0x600d, "the last job found {last:#x}");
    Ok(())
}

/// A sync object of another file, or a file of one.
fn handle_to_fd(sync: &Syncobj<'_>) -> Result<OwnedFd> {
    let mut arg = SyncobjHandleToFd {
        handle: sync.handle,
        ..Default::default()
    };
    sync.device
        .ioctl(&mut arg)
        .context("SYNCOBJ_HANDLE_TO_FD")?;
    // SAFETY: The kernel has just given us the descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(arg.fd) })
}

fn fd_to_handle<'a>(device: &'a Device, fd: &OwnedFd) -> Result<Syncobj<'a>> {
    let mut arg = SyncobjFdToHandle {
        fd: fd.as_raw_fd(),
        ..Default::default()
    };
    device.ioctl(&mut arg).context("SYNCOBJ_FD_TO_HANDLE")?;
    Ok(Syncobj {
        device,
        handle: arg.handle,
    })
}

/// Waits until a point has a fence.
fn available(line: &Syncobj<'_>, point: u64) -> Result<()> {
    line.device
        .ioctl(&mut SyncobjTimelineWait {
            handles: std::ptr::from_ref(&line.handle) as u64,
            points: std::ptr::from_ref(&point) as u64,
            timeout_nsec: deadline(),
            count_handles: 1,
            flags: SYNCOBJ_WAIT_ALL | SYNCOBJ_WAIT_FOR_SUBMIT | SYNCOBJ_WAIT_AVAILABLE,
            ..Default::default()
        })
        .context("waiting for a point to be submitted")
}

/// Jobs of a chain that goes to and fro between two processes.
const LINKS: u64 = 200;

/// Submits every other job of the chain, each on the next one of several queues. Job `n` waits for
/// point `n` and gives point `n + 1`, and copies word `n` to the word behind it.
fn half(device: &Device, line: &Syncobj<'_>, memory: &OwnedFd, first: u64) -> Result<()> {
    let vm = device.vm()?;
    let mut gpu = Gpu::new(&vm)?;
    let shared = device.import(memory.as_raw_fd(), PAGE)?;
    vm.map(&shared, HEAP)?;
    let tables = device.bo(PAGE, GEM_WRITEBACK, 0)?;
    vm.map(&tables, HEAP + PAGE)?;
    let map = tables.mmap()?;
    let queues: Vec<Queue<'_>> = (0..5).map(|_| vm.queue()).collect::<Result<_>>()?;
    for n in (first..LINKS).step_by(2) {
        let table = n * 16;
        map.write(table as usize, HEAP + n * 4);
        map.write(table as usize + 8, HEAP + n * 4 + 4);
        let command = gpu.command(&[gpu::moves(HEAP + PAGE + table, 1)])?;
        available(line, n + 1)?;
        queues[(n / 2 % 5) as usize]
            .submit(
                &Commands::default().compute(&command),
                1,
                &[line.point(n + 1), line.point(n + 2)],
            )
            .with_context(|| format!("link {n}"))?;
    }
    available(line, LINKS + 1)?;
    line.wait_point(LINKS + 1)
}

/// A long chain of jobs of several queues of two processes, each of which waits for the one before.
fn chain(device: &Device) -> Result<()> {
    let line = device.syncobj()?;
    let file = handle_to_fd(&line)?;
    let bo = device.bo(PAGE, GEM_WRITEBACK, 0)?;
    let memory = bo.export()?;
    let map = bo.mmap()?;
    map.write(0, 0x600d);
    let other = Child::start("the other half", |_| {
        let device = Device::open()?;
        let line = fd_to_handle(&device, &file)?;
        half(&device, &line, &memory, 1)
    })?;
    // All of it is to be there before the first one may run.
    let keeper = device.vm()?;
    let gate = Gate::close(device, &keeper)?;
    let fence = gate.done.export()?;
    let first = device.syncobj()?;
    first.import(fence.as_raw_fd())?;
    let arg = [first.binary(), line.point(1)];
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let nothing = Commands::default().compute(&bench.nothing);
    bench.queue.submit(&nothing, 1, &arg).context("the start")?;

    let start = Instant::now();
    let opener = thread::scope(|scope| {
        let opens = scope.spawn(|| {
            let result = available(&line, LINKS);
            println!("# all {LINKS} jobs were there after {:?}", start.elapsed());
            gate.open();
            result
        });
        let result = half(device, &line, &memory, 0);
        let opened = opens.join().unwrap_or(Ok(()));
        result.and(opened)
    });
    opener?;
    other.end(PATIENCE)?;
    let last = map.read((LINKS * 4) as usize);
    ensure!(last as u32 == 0x600d, "the last job found {last:#x}");
    Ok(())
}

/// A client that leaves with a job that does not end, jobs that wait for it, and some that are done.
fn left_behind(link: &mut Link) -> Result<()> {
    let device = Device::open()?;
    let vms = [device.vm()?, device.vm()?];
    let gate = Gate::close(&device, &vms[0])?;
    let bench = Bench::new(&vms[1])?;
    let nothing = Commands::default().compute(&bench.nothing);
    let done = device.syncobj()?;
    for n in 0..300 {
        bench
            .queue
            .submit(&nothing, 1, &[gate.done.binary(), done.point(n + 1)])?;
    }
    link.say("ready")?;
    link.expect("leave", PATIENCE)?;
    // Without opening the gate.
    std::mem::forget(gate);
    Ok(())
}

/// How long the driver waits for a job that the firmware says nothing of.
fn job_timeout() -> Duration {
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let given = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("asahi.job_timeout_ms=")?.parse().ok());
    Duration::from_millis(given.unwrap_or(100_000))
}

/// Closing a file takes no longer for what it has in flight, and the GPU goes on.
fn leave(kill: bool) -> Result<()> {
    if job_timeout() > Duration::from_secs(10) {
        return crate::runner::skip("takes asahi.job_timeout_ms=4000");
    }
    let mut client = Child::start("client", left_behind)?;
    client.expect("ready", PATIENCE)?;
    let start = Instant::now();
    if kill {
        client.kill(PATIENCE)?;
    } else {
        client.say("leave")?;
        client.end(PATIENCE)?;
    }
    let closed = start.elapsed();
    newcomer(1)?;
    println!(
        "# closed in {closed:?}, the GPU was free in {:?}",
        start.elapsed()
    );
    ensure!(closed < Duration::from_secs(3), "closing took {closed:?}");
    ensure!(
        start.elapsed() < 2 * job_timeout() + Duration::from_secs(3),
        "the GPU was busy for {:?}",
        start.elapsed()
    );
    Ok(())
}

fn closing(_: &Device) -> Result<()> {
    leave(false)
}

fn killed(_: &Device) -> Result<()> {
    leave(true)
}

/// Thousands of objects, all of them mapped for the GPU.
fn objects(device: &Device) -> Result<()> {
    // Two thirds of them are external. A submission locks those of its VM together, and lockdep
    // counts no more than 2047 locks of a class.
    const OBJECTS: u64 = 2700;
    let before = Memory::settled()?;
    for round in 0..2 {
        let vm = device.vm()?;
        let mut objects: Vec<Bo<'_>> = Vec::new();
        for n in 0..OBJECTS {
            let flags = if n % 3 == 0 { GEM_VM_PRIVATE } else { 0 };
            let vm_id = if n % 3 == 0 { vm.id } else { 0 };
            let bo = device.bo(PAGE, flags, vm_id)?;
            vm.map(&bo, HEAP + n * 2 * PAGE)
                .with_context(|| format!("object {n}"))?;
            objects.push(bo);
        }
        let mut gpu = Gpu::new(&vm)?;
        let mut work = Sums::new(&vm, &mut gpu, HEAP + (1 << 34), 1)?;
        let ended = work.round(&vm.queue()?)?;
        ensure!(ended == Ended::Well, "among many objects: {ended:?}");
        if round == 0 {
            // Every other one by its handle, the rest with the VM.
            let mut n = 0;
            objects.retain(|_| {
                n += 1;
                n % 2 == 0
            });
        }
    }
    let worse = Memory::settled()?.worse_than(&before, 1, 4096);
    ensure!(worse.is_empty(), "{}", worse.join(", "));
    Ok(())
}

/// No more descriptors: what needs one is refused, and leaves nothing behind.
fn descriptors(device: &Device) -> Result<()> {
    let bo = device.bo(PAGE, 0, 0)?;
    let mut files = Vec::new();
    let full = loop {
        match bo.export() {
            Ok(file) => files.push(file),
            Err(error) => break error,
        }
        ensure!(files.len() < 100_000, "there is no end of descriptors");
    };
    let cause = full.downcast_ref::<io::Error>();
    ensure!(
        cause.and_then(io::Error::raw_os_error) == Some(EMFILE),
        "{full:#}"
    );
    // What needs none goes on.
    let vm = device.vm()?;
    vm.map(&bo, HEAP)?;
    drop(files);
    bo.export()?;
    newcomer(2)
}

/// Keeps this process from needing memory of its own when there is none.
fn stay_in_memory() -> Result<()> {
    // SAFETY: A plain system call.
    let result = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) };
    ensure!(result == 0, "mlockall: {}", io::Error::last_os_error());
    Ok(())
}

fn lacks_memory(result: Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(false),
        Err(error) => match error.downcast_ref::<io::Error>() {
            Some(cause) if cause.raw_os_error() == Some(ENOMEM) => Ok(true),
            _ => Err(error),
        },
    }
}

/// Takes all memory there is for objects of the GPU's: by many, then by one.
fn glutton(link: &mut Link) -> Result<()> {
    // Should the kernel have to kill somebody, it is to be this one.
    fs::write("/proc/self/oom_score_adj", "1000")?;
    stay_in_memory()?;
    let device = Device::open()?;
    let vm = device.vm()?;
    for size in [32 << 20, 8 << 30] {
        let mut objects = Vec::new();
        let mut full = false;
        for n in 0..200 {
            let bo = device.bo(size, 0, 0)?;
            full = lacks_memory(vm.map(&bo, HEAP + n * size))?;
            if full {
                break;
            }
            objects.push(bo);
        }
        drop(objects);
        ensure!(full, "there is no end of memory");
        // There is room again.
        let bo = device.bo(64 << 20, 0, 0)?;
        vm.map(&bo, HEAP).context("after all was given back")?;
    }
    link.say("full")
}

/// No more memory: whoever takes it is refused, or killed, and all is well afterwards.
fn memory(_: &Device) -> Result<()> {
    stay_in_memory()?;
    let before = Memory::settled()?;
    let mut child = Child::start("glutton", glutton)?;
    match child.hear(4 * PATIENCE) {
        Ok(line) => {
            ensure!(line == "full", "{line}");
            child.end(PATIENCE)?;
        }
        Err(error) => {
            println!("# the glutton was killed: {error:#}");
            child.kill(PATIENCE)?;
        }
    }
    newcomer(3)?;
    let worse = Memory::settled()?.worse_than(&before, 1, 8192);
    ensure!(worse.is_empty(), "{}", worse.join(", "));
    Ok(())
}
