// SPDX-License-Identifier: MIT OR Apache-2.0

//! QUEUE_CREATE and QUEUE_DESTROY.

use std::{
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use libc::{EINVAL, ENOENT};

use super::lab::{Lab, until};
use crate::{
    device::{Bench, Commands, Device, sync_file_status},
    uapi::*,
};

super::tests!(
    create,
    arguments,
    exec_bases,
    destroy,
    vm_goes_first,
    destroy_while_held,
    file_goes_while_held
);

fn create(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let first = vm.queue()?;
    let second = vm.queue()?;
    ensure!(first.id != 0 && second.id != 0 && first.id != second.id);
    Ok(())
}

fn arguments(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let good = QueueCreate {
        vm_id: vm.id,
        ..Default::default()
    };
    let mut arg = good;
    arg.flags = 1;
    device.refused(arg, EINVAL, "flags")?;
    arg = good;
    arg.vm_id = 0x1234;
    device.refused(arg, ENOENT, "a VM that does not exist")?;
    arg = good;
    arg.priority = PRIORITY_REALTIME + 1;
    device.refused(arg, EINVAL, "an unknown priority")?;
    for bit in 2..32 {
        arg.priority = 1 << bit;
        device.refused(arg, EINVAL, "an unknown priority")?;
    }
    let other = Device::open()?;
    let theirs = [other.vm()?, other.vm()?];
    arg = good;
    arg.vm_id = theirs[1].id;
    device.refused(arg, ENOENT, "another client's VM")
}

/// Programs may be anywhere: the address is only passed on.
fn exec_bases(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    for usc_exec_base in [0, 0x11_0000_0000, 0x7f_0000_0000] {
        let mut create = QueueCreate {
            vm_id: vm.id,
            priority: PRIORITY_MEDIUM,
            usc_exec_base,
            ..Default::default()
        };
        device.ioctl(&mut create)?;
        let commands = Commands::default().compute(&bench.nothing);
        let mut arg = bench.queue.submit_arg(&commands.0, 0, &[]);
        arg.queue_id = create.queue_id;
        device.ioctl(&mut arg)?;
        device.ioctl(&mut QueueDestroy {
            queue_id: create.queue_id,
            pad: 0,
        })?;
    }
    bench
        .queue
        .run(&Commands::default().compute(&bench.nothing))
}

fn destroy(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let queue = vm.queue()?;
    let padded = QueueDestroy {
        queue_id: queue.id,
        pad: 1,
    };
    device.refused(padded, EINVAL, "padding")?;
    let again = QueueDestroy {
        queue_id: queue.id,
        pad: 0,
    };
    let other = Device::open()?;
    other.refused(again, ENOENT, "another client's queue")?;
    queue.destroy();
    device.refused(again, ENOENT, "a queue that is gone")
}

/// A queue keeps its VM.
fn vm_goes_first(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let queue = vm.queue()?;
    device.ioctl(&mut VmDestroy {
        vm_id: vm.id,
        pad: 0,
    })?;
    queue.destroy();
    Ok(())
}

/// A queue that is given up while its work waits: the ioctl comes back, and the work ends.
fn destroy_while_held(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let (gate, open) = lab.gate()?;
    let second = vm.queue()?;
    let (held, done) = (device.syncobj()?, device.syncobj()?);
    lab.queue
        .submit(&Commands::default().compute(&gate), 0, &[held.binary()])?;
    let nothing = Commands::default().compute(&lab.nothing);
    second.submit(&nothing, 1, &[held.binary(), done.binary()])?;
    let start = Instant::now();
    second.destroy();
    ensure!(
        start.elapsed() < Duration::from_secs(20),
        "it took {:?}",
        start.elapsed()
    );
    lab.set(open, 1);
    // It may be done or not; it is over.
    done.wait()?;
    ensure!(held.outcome()? == 0);
    lab.queue.run(&nothing)
}

/// A file that is closed meanwhile.
fn file_goes_while_held(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let (gate, open) = lab.gate()?;
    let held = device.syncobj()?;
    lab.queue
        .submit(&Commands::default().compute(&gate), 0, &[held.binary()])?;
    let after = {
        let own = Device::open()?;
        let vm = own.vm()?;
        let bench = Bench::new(&vm)?;
        let (ready, done) = (own.syncobj()?, own.syncobj()?);
        ready.import(held.export()?.as_raw_fd())?;
        let nothing = Commands::default().compute(&bench.nothing);
        bench
            .queue
            .submit(&nothing, 1, &[ready.binary(), done.binary()])?;
        let after = done.export()?;
        let start = Instant::now();
        // The file is closed with all that is in it, and not piece by piece.
        std::mem::forget(bench);
        std::mem::forget((ready, done));
        std::mem::forget(vm);
        drop(own);
        ensure!(
            start.elapsed() < Duration::from_secs(20),
            "closing took {:?}",
            start.elapsed()
        );
        after
    };
    lab.set(open, 1);
    until("what the file has left is over", || {
        sync_file_status(after.as_raw_fd()).is_ok_and(|status| status != 0)
    })?;
    ensure!(held.outcome()? == 0);
    lab.queue.run(&Commands::default().compute(&lab.nothing))
}
