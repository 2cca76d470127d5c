// SPDX-License-Identifier: MIT OR Apache-2.0

//! Signals that come all the time. What is interrupted says so, has done nothing, and can be done again.

use std::{
    io,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, ensure};
use libc::{EAGAIN, EINTR};

use super::lab::Lab;
use crate::{
    device::{Bench, Commands, Device, HEAP, PAGE, deadline},
    runner::rounds,
    uapi::*,
};

super::tests!(
    everything,
    binds { limit: 120 },
    submissions,
    many_submissions,
    waits,
    destruction,
);

static COME: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: i32) {
    COME.fetch_add(1, Ordering::Relaxed);
}

/// Signals all the time; a system call that one interrupts does not go on by itself.
struct Storm;

impl Storm {
    fn new() -> Result<Self> {
        // SAFETY: The handler does nothing but count.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = count as *const () as usize;
            if libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()) < 0 {
                return Err(io::Error::last_os_error()).context("sigaction");
            }
        }
        Self::every(700)?;
        Ok(Self)
    }

    fn every(microseconds: libc::suseconds_t) -> Result<()> {
        let time = libc::timeval {
            tv_sec: 0,
            tv_usec: microseconds,
        };
        let timer = libc::itimerval {
            it_interval: time,
            it_value: time,
        };
        // SAFETY: The timer is valid.
        if unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) } < 0 {
            return Err(io::Error::last_os_error()).context("setitimer");
        }
        Ok(())
    }

    /// Ends it; there must have been something to stand.
    fn over(self) -> Result<()> {
        drop(self);
        ensure!(COME.load(Ordering::Relaxed) > 0, "no signal has come");
        Ok(())
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        let _ = Self::every(0);
    }
}

/// Does an ioctl again as long as it is interrupted, as libdrm does.
fn persist<T: Ioctl>(device: &Device, arg: &mut T) -> Result<()> {
    for _ in 0..20_000 {
        match device.ioctl(arg) {
            Ok(()) => return Ok(()),
            Err(e) if matches!(e.raw_os_error(), Some(EINTR | EAGAIN)) => {}
            Err(e) => return Err(e).context(T::NAME),
        }
    }
    anyhow::bail!("{} never gets done", T::NAME)
}

/// All that does not wait for the GPU.
fn everything(device: &Device) -> Result<()> {
    let params = device.params()?;
    let storm = Storm::new()?;
    for _ in 0..rounds(60) {
        let mut vm = VmCreate {
            kernel_start: params.vm_end - params.vm_kernel_min_size,
            kernel_end: params.vm_end,
            ..Default::default()
        };
        persist(device, &mut vm)?;
        let mut queue = QueueCreate {
            vm_id: vm.vm_id,
            priority: PRIORITY_LOW,
            ..Default::default()
        };
        persist(device, &mut queue)?;
        let mut object = GemCreate {
            size: 64 * PAGE,
            flags: GEM_VM_PRIVATE,
            vm_id: vm.vm_id,
            ..Default::default()
        };
        persist(device, &mut object)?;
        let op = BindOp {
            flags: BIND_READ | BIND_WRITE,
            handle: object.handle,
            offset: 0,
            range: 64 * PAGE,
            addr: HEAP,
        };
        persist(
            device,
            &mut VmBind {
                vm_id: vm.vm_id,
                num_binds: 1,
                stride: size_of::<BindOp>() as u32,
                pad: 0,
                userptr: &raw const op as u64,
            },
        )?;
        persist(
            device,
            &mut GemMmapOffset {
                handle: object.handle,
                ..Default::default()
            },
        )?;
        persist(device, &mut GetTime::default())?;
        persist(
            device,
            &mut GemClose {
                handle: object.handle,
                pad: 0,
            },
        )?;
        persist(
            device,
            &mut QueueDestroy {
                queue_id: queue.queue_id,
                pad: 0,
            },
        )?;
        persist(
            device,
            &mut VmDestroy {
                vm_id: vm.vm_id,
                pad: 0,
            },
        )?;
    }
    storm.over()
}

/// An array that takes much longer than signals are apart gets done all the same.
fn binds(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bo = device.bo(1024 * PAGE, 0, 0)?;
    // Its memory is there.
    vm.map(&bo, HEAP)?;
    let ops: Vec<BindOp> = (0..64)
        .map(|i| BindOp {
            flags: BIND_READ,
            handle: bo.handle,
            offset: 0,
            range: bo.size,
            addr: HEAP + i * bo.size,
        })
        .collect();
    let storm = Storm::new()?;
    let mut arg = vm.bind_arg(&ops[0]);
    arg.num_binds = ops.len() as u32;
    arg.userptr = ops.as_ptr() as u64;
    for _ in 0..rounds(3) {
        persist(device, &mut arg)?;
    }
    storm.over()
}

/// Submissions with timestamps and sync objects: each is done once.
fn submissions(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let count = 100;
    let words: Vec<_> = (0..=count)
        .map(|i| lab.word(u32::from(i == 0)))
        .collect::<Result<_>>()?;
    let copies: Vec<_> = words
        .windows(2)
        .map(|pair| lab.copy(pair[0], pair[1]))
        .collect::<Result<_>>()?;
    let line = device.syncobj()?;
    let storm = Storm::new()?;
    for (number, copy) in (1..).zip(&copies) {
        let commands = Commands::default().compute(copy);
        let syncs = [line.point(number)];
        persist(device, &mut lab.queue.submit_arg(&commands.0, 0, &syncs))?;
    }
    drop(storm);
    line.wait_point(count as u64)?;
    ensure!(lab.get(words[count]) == 1, "a submission is missing");
    Ok(())
}

/// More submissions than there is room for in the ring.
fn many_submissions(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    let line = device.syncobj()?;
    let storm = Storm::new()?;
    for number in 1..=rounds(400) as u64 {
        let syncs = [line.point(number)];
        persist(device, &mut bench.queue.submit_arg(&commands.0, 0, &syncs))?;
    }
    drop(storm);
    line.wait_point(rounds(400) as u64)
}

/// Waiting for a fence.
fn waits(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let (gate, open) = lab.gate()?;
    let done = device.syncobj()?;
    lab.queue
        .submit(&Commands::default().compute(&gate), 0, &[done.binary()])?;
    let storm = Storm::new()?;
    let mut interrupted = 0;
    let result = loop {
        let result = device.ioctl(&mut SyncobjWait {
            handles: &raw const done.handle as u64,
            timeout_nsec: deadline(),
            count_handles: 1,
            flags: SYNCOBJ_WAIT_ALL,
            ..Default::default()
        });
        match result {
            Err(e) if e.raw_os_error() == Some(EINTR) => interrupted += 1,
            result => break result,
        }
        if interrupted == 20 {
            lab.set(open, 1);
        }
    };
    drop(storm);
    result.context("waiting")?;
    ensure!(interrupted >= 20, "a wait was not interrupted");
    Ok(())
}

/// Giving queues up while they work.
fn destruction(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    let line = device.syncobj()?;
    let storm = Storm::new()?;
    let mut point = 0;
    for _ in 0..rounds(40) {
        let mut queue = QueueCreate {
            vm_id: vm.id,
            priority: PRIORITY_MEDIUM,
            ..Default::default()
        };
        persist(device, &mut queue)?;
        for _ in 0..3 {
            point += 1;
            let syncs = [line.point(point)];
            let mut arg = bench.queue.submit_arg(&commands.0, 0, &syncs);
            arg.queue_id = queue.queue_id;
            persist(device, &mut arg)?;
        }
        persist(
            device,
            &mut QueueDestroy {
                queue_id: queue.queue_id,
                pad: 0,
            },
        )?;
    }
    drop(storm);
    line.wait_point(point)
}
