// SPDX-License-Identifier: MIT OR Apache-2.0

//! Clients that use all of the driver at once, until the device is gone.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail, ensure};
use libc::ENODEV;

use crate::{
    device::{Bench, Bo, Commands, Device, HEAP, Mapping, PAGE, Vm},
    gpu::{self, Gpu},
    runner,
    uapi::*,
};

use super::{
    errno,
    process::Link,
    sums::{Ended, Sums, outcome},
};

/// In this time a client has work in all of its threads.
pub const START: Duration = Duration::from_secs(60);

/// In this time everything must be over when the device is gone.
pub const END: Duration = Duration::from_secs(20);

/// What the clients' mappings hold.
const PATTERN: u64 = 0x5eed_0fa9_a77e_2400;

/// What a client keeps for as long as it is there.
struct Kept<'a> {
    bo: Bo<'a>,
    map: Mapping,
    through_file: Mapping,
    _file: OwnedFd,
}

impl<'a> Kept<'a> {
    fn new(device: &'a Device) -> Result<Self> {
        let bo = device.bo(8 * PAGE, GEM_WRITEBACK, 0)?;
        let map = bo.mmap()?;
        let file = bo.export()?;
        let through_file = Mapping::of_file(file.as_raw_fd(), 0, bo.size as usize)?;
        for page in 0..8 {
            map.write(page * PAGE as usize, PATTERN + page as u64);
        }
        Ok(Self {
            bo,
            map,
            through_file,
            _file: file,
        })
    }

    /// Whether all is as it was, and whether what is written through one mapping can be read through
    /// the other.
    fn check(&self) -> Result<()> {
        for page in 0..8 {
            let at = page * PAGE as usize;
            for map in [&self.map, &self.through_file] {
                let found = map.read(at);
                ensure!(
                    found == PATTERN + page as u64,
                    "page {page} of a mapping has {found:#x}"
                );
            }
            let times = self.through_file.read(at + 8) + 1;
            self.map.write(at + 8, times);
            let found = self.through_file.read(at + 8);
            ensure!(found == times, "{times} was written, {found} is read");
        }
        Ok(())
    }
}

/// Something that a thread of a client does again and again.
type Deed<'a> = Box<dyn FnMut() -> Result<()> + Send + 'a>;

/// Whether an error is that the device is gone.
fn gone(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|cause| cause.raw_os_error() == Some(ENODEV))
}

/// What a client does besides its sums.
fn deeds<'a>(device: &'a Device, vm: &'a Vm<'a>) -> Vec<(&'static str, Deed<'a>)> {
    let binding = || {
        let bo = device.bo(16 * PAGE, 0, 0)?;
        for round in 0..4 {
            vm.map(&bo, HEAP + (1 << 30) + round * 9 * PAGE)?;
            vm.unmap(HEAP + (1 << 30), 20 * PAGE)?;
        }
        Ok(())
    };
    let objects = || {
        let private = device.bo(3 * PAGE, GEM_VM_PRIVATE, vm.id)?;
        vm.map(&private, HEAP + (2 << 30))?;
        private.mmap()?.write(0, 1);
        let shared = device.bo(PAGE, GEM_WRITEBACK, 0)?;
        let file = shared.export()?;
        let mut bind = GemBindObject {
            flags: OBJECT_TIMESTAMPS,
            handle: shared.handle,
            range: PAGE,
            ..Default::default()
        };
        device.ioctl(&mut bind)?;
        device.ioctl(&mut GemBindObject {
            op: OBJECT_UNBIND,
            object_handle: bind.object_handle,
            ..Default::default()
        })?;
        drop(shared);
        device.import(file.as_raw_fd(), PAGE)?;
        Ok(())
    };
    let queues = || {
        let own = device.vm()?;
        let bench = Bench::new(&own)?;
        let nothing = Commands::default().compute(&bench.nothing);
        let done = device.syncobj()?;
        bench.queue.submit(&nothing, 0, &[done.binary()])?;
        bench.queue.destroy();
        done.wait()
    };
    let asking = || {
        device.params()?;
        device.ioctl(&mut GetTime::default())?;
        Ok(())
    };
    vec![
        ("binding", Box::new(binding)),
        ("objects", Box::new(objects)),
        ("queues", Box::new(queues)),
        ("asking", Box::new(asking)),
    ]
}

/// Each ioctl of the driver, after the device is gone.
pub fn refuses_everything(device: &Device) -> Result<()> {
    fn check<T: Ioctl + Default>(device: &Device, what: &str) -> Result<()> {
        let errno = errno(&device.ioctl(&mut T::default()));
        ensure!(errno == ENODEV, "{what} gives {errno} without a device");
        Ok(())
    }
    check::<GetParams>(device, "GET_PARAMS")?;
    check::<GetTime>(device, "GET_TIME")?;
    check::<VmCreate>(device, "VM_CREATE")?;
    check::<VmDestroy>(device, "VM_DESTROY")?;
    check::<VmBind>(device, "VM_BIND")?;
    check::<GemCreate>(device, "GEM_CREATE")?;
    check::<GemMmapOffset>(device, "GEM_MMAP_OFFSET")?;
    check::<GemBindObject>(device, "GEM_BIND_OBJECT")?;
    check::<QueueCreate>(device, "QUEUE_CREATE")?;
    check::<QueueDestroy>(device, "QUEUE_DESTROY")?;
    check::<Submit>(device, "SUBMIT")
}

/// A job that does not end.
fn endless(gpu: &mut Gpu<'_>, vm: &Vm<'_>, flag: &Bo<'_>) -> Result<Commands> {
    let at = HEAP + (4 << 30);
    vm.map(flag, at)?;
    Ok(Commands::default().compute(&gpu.command(&[gpu::wait(at)])?))
}

/// A thread of a client.
type Thread<'scope> = (&'static str, ScopedJoinHandle<'scope, Result<()>>);

/// Talks to the other side, until all threads have ended.
fn talk<'scope>(
    link: &mut Link,
    counts: &[AtomicU32],
    over: &AtomicBool,
    threads: &mut Vec<Thread<'scope>>,
    hang: impl FnOnce(&mut Vec<Thread<'scope>>) -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    while counts.iter().any(|count| count.load(Relaxed) == 0) {
        ensure!(
            start.elapsed() < START && !threads.iter().any(|(_, thread)| thread.is_finished()),
            "it did not get to work: {counts:?}"
        );
        thread::sleep(Duration::from_millis(10));
    }
    link.say("busy")?;
    let mut told = link.hear(START)?;
    if told == "hang" {
        hang(threads)?;
        link.say("hangs")?;
        told = link.hear(START)?;
    }
    ensure!(told == "gone", "told \"{told}\"");
    over.store(true, Relaxed);
    let start = Instant::now();
    for (what, thread) in threads.iter() {
        while !thread.is_finished() {
            ensure!(start.elapsed() < END, "{what} does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

/// A client. It says "busy" when all that it does is under way, and "ended" when all of its threads
/// have noticed that the device is gone. It ends itself when the other side says so.
///
/// Told to hang, it submits a job that does not end, and another one that waits for that.
pub fn client(link: &mut Link, seed: u64) -> Result<()> {
    let device = Device::open()?;
    let vms = [device.vm()?, device.vm()?];
    let kept = Kept::new(&device)?;
    vms[0].map(&kept.bo, HEAP + (3 << 30))?;
    let mut gpus = [Gpu::new(&vms[0])?, Gpu::new(&vms[1])?];
    let mut works = Vec::new();
    for (number, (vm, gpu)) in vms.iter().zip(&mut gpus).enumerate() {
        works.push((vm.queue()?, Sums::new(vm, gpu, HEAP, seed + number as u64)?));
    }
    let flag = device.bo(PAGE, GEM_WRITEBACK, 0)?;
    let endless = endless(&mut gpus[0], &vms[0], &flag)?;
    let queues = [vms[0].queue()?, vms[0].queue()?];
    let syncs = [device.syncobj()?, device.syncobj()?];

    let mut deeds = deeds(&device, &vms[1]);
    for (queue, work) in &mut works {
        let sums = || match work.round(queue)? {
            Ended::Well => Ok(()),
            Ended::Refused(ENODEV) | Ended::Failed(ENODEV) => {
                Err(io::Error::from_raw_os_error(ENODEV).into())
            }
            other => bail!("a sum has {other:?}"),
        };
        deeds.push(("sums", Box::new(sums)));
    }
    // Mappings tell nobody that the device is gone.
    let over = AtomicBool::new(false);
    let mappings = || {
        if over.load(Relaxed) {
            return Err(io::Error::from_raw_os_error(ENODEV).into());
        }
        kept.check()
    };
    deeds.push(("mappings", Box::new(mappings)));

    // For an end without the device being gone.
    let given_up = AtomicBool::new(false);
    let counts: Vec<AtomicU32> = deeds.iter().map(|_| AtomicU32::new(0)).collect();
    thread::scope(|scope| -> Result<()> {
        let mut threads = Vec::new();
        for ((what, mut deed), count) in deeds.into_iter().zip(&counts) {
            let given_up = &given_up;
            let thread = scope.spawn(move || {
                while !given_up.load(Relaxed) {
                    match deed() {
                        Ok(()) => count.fetch_add(1, Relaxed),
                        Err(error) if gone(&error) => return Ok(()),
                        Err(error) => return Err(error.context(what)),
                    };
                }
                Ok(())
            });
            threads.push((what, thread));
        }
        let talk = talk(link, &counts, &over, &mut threads, |threads| {
            queues[0].submit(&endless, 0, &[syncs[0].binary()])?;
            let both = [syncs[0].binary(), syncs[1].binary()];
            queues[1].submit(&endless, 1, &both)?;
            for sync in &syncs {
                let file = sync.export()?;
                let waits = scope.spawn(move || {
                    // It has signalled, or the device was gone before it could be asked.
                    match sync.wait() {
                        Err(error) if !gone(&error) => return Err(error),
                        _ => {}
                    }
                    match outcome(&file)? {
                        ENODEV => Ok(()),
                        other => bail!("an endless job ended with {other}"),
                    }
                });
                threads.push(("waiting", waits));
            }
            Ok(())
        });
        if let Err(error) = &talk {
            // Now, since a thread that does not end is waited for below.
            let places = runner::places(std::process::id() as i32);
            link.say(&format!("failed: {error:#}{places}"))?;
            given_up.store(true, Relaxed);
        }
        over.store(true, Relaxed);
        let mut failed = None;
        for (what, thread) in threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed = Some(error),
                Err(_) => failed = Some(anyhow!("{what} panicked")),
            }
        }
        // What a thread says tells more.
        failed.map_or(talk, Err)
    })?;

    refuses_everything(&device)?;
    kept.check()?;
    link.say("ended")?;
    link.expect("leave", 2 * START)?;
    kept.check()
}
