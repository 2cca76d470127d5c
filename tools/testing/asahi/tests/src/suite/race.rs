// SPDX-License-Identifier: MIT OR Apache-2.0

//! What one thread uses while another takes it away. Whoever comes late is told that it is gone, and
//! nothing else happens.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use anyhow::{Context, Result, ensure};
use libc::{EINVAL, ENOENT, ETIME};

use super::parallel::threads;
use crate::{
    device::{Bench, Commands, Device, HEAP, PAGE, Vm},
    runner::{rng, rounds},
    uapi::*,
};

super::tests!(
    bind_and_submit,
    close_and_submit,
    close_and_bind,
    close_and_map,
    export_and_close,
    queue_destroy_and_submit,
    queue_destroy_and_wait,
    vm_destroy_and_bind,
    vm_destroy_and_create,
    syncobj_destroy_and_submit,
    syncobj_destroy_and_wait,
    syncobj_reset_and_submit,
    object_unbind_and_submit,
    guessed_handles,
);

/// Takes an error that says that somebody else was faster.
fn late(result: io::Result<()>, allowed: &[i32]) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error().is_some_and(|e| allowed.contains(&e)) => Ok(false),
        Err(error) => Err(error).context("neither in time nor late"),
    }
}

/// Does one thing after the other until a second thread is through with its rounds.
fn against(
    count: usize,
    one: impl Fn() -> Result<()> + std::marker::Sync,
    other: impl Fn(usize) -> Result<()> + std::marker::Sync,
) -> Result<()> {
    let over = AtomicBool::new(false);
    threads(2, |number| match number {
        0 => {
            while !over.load(Ordering::Relaxed) {
                one()?;
            }
            Ok(())
        }
        _ => {
            let result = (0..rounds(count)).try_for_each(&other);
            over.store(true, Ordering::Relaxed);
            result
        }
    })
}

/// A GPU that works through commands does not mind what is mapped and unmapped beside it.
fn bind_and_submit(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    let bo = device.bo(64 * PAGE, 0, 0)?;
    against(
        150,
        || bench.queue.run(&commands),
        |_| {
            vm.map(&bo, HEAP + 16 * PAGE)?;
            vm.unmap(HEAP + 20 * PAGE, 7 * PAGE)?;
            vm.unmap(HEAP + 16 * PAGE, 64 * PAGE)
        },
    )
}

fn close_and_submit(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    against(
        100,
        || bench.queue.run(&commands),
        |round| {
            let bo = device.bo(8 * PAGE, (round as u32 % 2) * GEM_WRITEBACK, 0)?;
            bo.mmap()?.write(0, 1);
            vm.map(&bo, HEAP + 16 * PAGE)
        },
    )?;
    bench.queue.run(&commands)
}

/// Two threads, one handle: binding it and closing it.
fn close_and_bind(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let handle = AtomicU32::new(0);
    against(
        150,
        || {
            let op = BindOp {
                flags: BIND_READ,
                handle: handle.load(Ordering::Relaxed),
                offset: 0,
                range: PAGE,
                addr: HEAP,
            };
            late(vm.bind(op), &[ENOENT]).map(drop)
        },
        |_| {
            let bo = device.bo(PAGE, 0, 0)?;
            handle.store(bo.handle, Ordering::Relaxed);
            vm.map(&bo, HEAP + PAGE)
        },
    )
}

fn close_and_map(device: &Device) -> Result<()> {
    let handle = AtomicU32::new(0);
    against(
        150,
        || {
            let mut arg = GemMmapOffset {
                handle: handle.load(Ordering::Relaxed),
                ..Default::default()
            };
            if !late(device.ioctl(&mut arg), &[ENOENT])? {
                return Ok(());
            }
            // SAFETY: A new mapping at an address of the kernel's choice, used by nobody.
            unsafe {
                let map = libc::mmap(
                    std::ptr::null_mut(),
                    PAGE as usize,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED,
                    device.fd(),
                    arg.offset as libc::off_t,
                );
                // The offset may be of nothing any more, or already of another object.
                if map != libc::MAP_FAILED {
                    map.cast::<u64>().write_volatile(1);
                    libc::munmap(map, PAGE as usize);
                }
            }
            Ok(())
        },
        |_| {
            let bo = device.bo(PAGE, 0, 0)?;
            handle.store(bo.handle, Ordering::Relaxed);
            bo.mmap()?.write(8, 2);
            Ok(())
        },
    )
}

fn export_and_close(device: &Device) -> Result<()> {
    let other = Device::open()?;
    let handle = AtomicU32::new(0);
    against(
        100,
        || {
            let mut arg = PrimeHandleToFd {
                handle: handle.load(Ordering::Relaxed),
                flags: libc::O_CLOEXEC as u32,
                fd: -1,
            };
            if late(device.ioctl(&mut arg), &[ENOENT])? {
                let result = other.import(arg.fd, PAGE).map(drop);
                // SAFETY: The descriptor is ours.
                unsafe { libc::close(arg.fd) };
                result?;
            }
            Ok(())
        },
        |_| {
            let bo = device.bo(PAGE, 0, 0)?;
            handle.store(bo.handle, Ordering::Relaxed);
            bo.export().map(drop)
        },
    )
}

/// What a queue has taken gets done, and what comes late is refused.
fn queue_destroy_and_submit(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    let line = device.syncobj()?;
    let (queue, points) = (AtomicU32::new(bench.queue.id), AtomicU32::new(0));
    against(
        60,
        || {
            let point = points.load(Ordering::Relaxed) + 1;
            let syncs = [line.point(point.into())];
            let mut arg = bench.queue.submit_arg(&commands.0, 0, &syncs);
            arg.queue_id = queue.load(Ordering::Relaxed);
            if late(device.ioctl(&mut arg), &[ENOENT])? {
                points.store(point, Ordering::Relaxed);
            }
            Ok(())
        },
        |_| {
            let own = vm.queue()?;
            queue.store(own.id, Ordering::Relaxed);
            own.run(&commands)
        },
    )?;
    let last = points.load(Ordering::Relaxed);
    match last {
        0 => Ok(()),
        _ => line.wait_point(last.into()),
    }
}

fn queue_destroy_and_wait(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    for _ in 0..rounds(30) {
        let queue = vm.queue()?;
        let done = device.syncobj()?;
        queue.submit(&commands, 0, &[done.point(1)])?;
        queue.submit(&commands, 0, &[done.point(2)])?;
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| done.wait_point(2));
            queue.destroy();
            waits.join().unwrap_or_else(|_| Ok(()))
        })?;
    }
    Ok(())
}

fn vm_destroy_and_bind(device: &Device) -> Result<()> {
    let bo = device.bo(16 * PAGE, 0, 0)?;
    let id = AtomicU32::new(0);
    let op = BindOp {
        flags: BIND_READ,
        handle: bo.handle,
        offset: 0,
        range: bo.size,
        addr: HEAP,
    };
    against(
        60,
        || {
            let mut arg = VmBind {
                vm_id: id.load(Ordering::Relaxed),
                num_binds: 1,
                stride: size_of::<BindOp>() as u32,
                pad: 0,
                userptr: &raw const op as u64,
            };
            late(device.ioctl(&mut arg), &[ENOENT]).map(drop)
        },
        |_| {
            let vm = device.vm()?;
            id.store(vm.id, Ordering::Relaxed);
            vm.map(&bo, HEAP + 8 * PAGE)
        },
    )
}

/// Queues and private objects are made in a VM that goes.
fn vm_destroy_and_create(device: &Device) -> Result<()> {
    let id = AtomicU32::new(0);
    against(
        60,
        || {
            let vm_id = id.load(Ordering::Relaxed);
            let mut queue = QueueCreate {
                vm_id,
                priority: PRIORITY_MEDIUM,
                ..Default::default()
            };
            if late(device.ioctl(&mut queue), &[ENOENT])? {
                device.ioctl(&mut QueueDestroy {
                    queue_id: queue.queue_id,
                    pad: 0,
                })?;
            }
            let mut object = GemCreate {
                size: PAGE,
                flags: GEM_VM_PRIVATE,
                vm_id,
                ..Default::default()
            };
            if late(device.ioctl(&mut object), &[ENOENT])? {
                device.ioctl(&mut GemClose {
                    handle: object.handle,
                    pad: 0,
                })?;
            }
            Ok(())
        },
        |_| {
            let vm: Vm<'_> = device.vm()?;
            id.store(vm.id, Ordering::Relaxed);
            vm.queue().map(drop)
        },
    )
}

fn syncobj_destroy_and_submit(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    let handle = AtomicU32::new(0);
    against(
        40,
        || {
            let out = Sync {
                sync_type: SYNC_BINARY,
                handle: handle.load(Ordering::Relaxed),
                timeline_value: 0,
            };
            late(bench.queue.submit(&commands, 0, &[out]), &[ENOENT])?;
            // An in-sync needs a fence.
            late(bench.queue.submit(&commands, 1, &[out]), &[ENOENT, EINVAL])?;
            // The other thread does not wait behind hundreds of them.
            bench.queue.run(&commands)
        },
        |_| {
            let object = device.syncobj()?;
            handle.store(object.handle, Ordering::Relaxed);
            bench.queue.submit(&commands, 0, &[object.binary()])?;
            object.wait()
        },
    )?;
    bench.queue.run(&commands)
}

/// Who waits goes on waiting for the fence, and not for the handle.
fn syncobj_destroy_and_wait(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    for _ in 0..rounds(40) {
        let object = device.syncobj()?;
        let binary = object.binary();
        let waits = SyncobjWait {
            timeout_nsec: crate::device::deadline(),
            count_handles: 1,
            flags: SYNCOBJ_WAIT_ALL | SYNCOBJ_WAIT_FOR_SUBMIT,
            ..Default::default()
        };
        std::thread::scope(|scope| -> Result<()> {
            let handle = object.handle;
            let waits = scope.spawn(move || {
                let mut waits = waits;
                waits.handles = &raw const handle as u64;
                late(device.ioctl(&mut waits), &[ENOENT])
            });
            bench.queue.submit(&commands, 0, &[binary])?;
            drop(object);
            match waits.join() {
                Ok(result) => result.map(drop),
                Err(_) => Ok(()),
            }
        })?;
    }
    Ok(())
}

fn syncobj_reset_and_submit(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default().compute(&bench.nothing);
    let object = device.syncobj()?;
    against(
        200,
        || {
            bench.queue.submit(&commands, 0, &[object.binary()])?;
            late(
                bench
                    .queue
                    .submit(&commands, 1, &[object.binary(), object.binary()]),
                &[EINVAL],
            )?;
            let waits = object.signalled();
            ensure!(
                waits.is_ok() || late_wait(&waits),
                "waiting for what was reset: {waits:?}"
            );
            Ok(())
        },
        |_| object.reset(),
    )?;
    bench.queue.run(&commands)
}

/// A sync object without a fence cannot be waited for.
fn late_wait(result: &Result<bool>) -> bool {
    let errno = result
        .as_ref()
        .err()
        .and_then(|error| error.downcast_ref::<io::Error>())
        .and_then(io::Error::raw_os_error);
    matches!(errno, Some(EINVAL | ETIME))
}

/// Memory for timestamps stays as long as the firmware may write it.
fn object_unbind_and_submit(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let handle = AtomicU32::new(0);
    against(
        80,
        || {
            let mut compute = bench.nothing;
            compute.ts_start = Timestamp {
                handle: handle.load(Ordering::Relaxed),
                offset: 0,
            };
            compute.ts_end = Timestamp {
                offset: 8,
                ..compute.ts_start
            };
            let commands = Commands::default().compute(&compute);
            late(bench.queue.submit(&commands, 0, &[]), &[ENOENT]).map(drop)
        },
        |_| {
            let bo = device.bo(PAGE, 0, 0)?;
            let mut bind = GemBindObject {
                flags: OBJECT_TIMESTAMPS,
                handle: bo.handle,
                range: PAGE,
                ..Default::default()
            };
            device.ioctl(&mut bind)?;
            handle.store(bind.object_handle, Ordering::Relaxed);
            drop(bo);
            let mut unbind = GemBindObject {
                op: OBJECT_UNBIND,
                object_handle: bind.object_handle,
                ..Default::default()
            };
            device.ioctl(&mut unbind).context("unbinding")
        },
    )?;
    bench
        .queue
        .run(&Commands::default().compute(&bench.nothing))
}

/// A thread destroys whatever it can guess while others make it.
fn guessed_handles(device: &Device) -> Result<()> {
    let over = AtomicBool::new(false);
    let seed = rng().next();
    threads(3, |number| {
        if number == 0 {
            let mut rng = crate::runner::Rng::new(seed);
            while !over.load(Ordering::Relaxed) {
                let id = 1 + rng.below(6) as u32;
                late(
                    device.ioctl(&mut VmDestroy { vm_id: id, pad: 0 }),
                    &[ENOENT],
                )?;
                late(
                    device.ioctl(&mut QueueDestroy {
                        queue_id: id,
                        pad: 0,
                    }),
                    &[ENOENT],
                )?;
                late(
                    device.ioctl(&mut GemClose { handle: id, pad: 0 }),
                    &[EINVAL],
                )?;
            }
            return Ok(());
        }
        for _ in 0..rounds(80) {
            // Any of these may find that what it was given is gone.
            let _ = device.vm().and_then(|vm| {
                let bench = Bench::new(&vm)?;
                bench
                    .queue
                    .submit(&Commands::default(), 0, &[])
                    .context("an empty submission")
            });
        }
        over.store(true, Ordering::Relaxed);
        Ok(())
    })?;
    let own = Device::open()?;
    let vm = own.vm()?;
    let bench = Bench::new(&vm)?;
    bench
        .queue
        .run(&Commands::default().compute(&bench.nothing))
}
