// SPDX-License-Identifier: MIT OR Apache-2.0

//! GEM_CREATE and GEM_MMAP_OFFSET.

use anyhow::{Result, ensure};
use libc::{EINVAL, ENOENT};

use crate::{
    device::{Device, PAGE},
    uapi::*,
};

super::tests!(create, arguments, mmap, export);

fn create(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    for (flags, vm_id) in [
        (0, 0),
        (GEM_WRITEBACK, 0),
        (GEM_VM_PRIVATE, vm.id),
        (GEM_WRITEBACK | GEM_VM_PRIVATE, vm.id),
    ] {
        let bo = device.bo(PAGE + 1, flags, vm_id)?;
        ensure!(bo.handle != 0);
        let map = bo.mmap()?;
        let last = 2 * PAGE as usize - 8;
        ensure!(map.read(last) == 0, "an object is not empty");
        map.write(last, 0x1234_5678_9abc_def0);
        ensure!(map.read(last) == 0x1234_5678_9abc_def0);
    }
    Ok(())
}

fn arguments(device: &Device) -> Result<()> {
    let good = GemCreate {
        size: PAGE,
        ..Default::default()
    };
    let mut arg = good;
    arg.size = 0;
    device.refused(arg, EINVAL, "no size")?;
    arg.size = u64::MAX;
    device.refused(arg, EINVAL, "the largest size")?;
    arg = good;
    arg.flags = 4;
    device.refused(arg, EINVAL, "an unknown flag")?;
    arg = good;
    arg.pad = 1;
    device.refused(arg, EINVAL, "padding")?;
    arg = good;
    arg.vm_id = 1;
    device.refused(arg, EINVAL, "a VM of an object that is not private")?;
    arg.flags = GEM_VM_PRIVATE;
    device.refused(arg, ENOENT, "a VM that does not exist")
}

fn mmap(device: &Device) -> Result<()> {
    let bo = device.bo(PAGE, 0, 0)?;
    let good = GemMmapOffset {
        handle: bo.handle,
        ..Default::default()
    };
    let mut arg = good;
    arg.flags = 1;
    device.refused(arg, EINVAL, "flags")?;
    arg = good;
    arg.handle = 0x1234;
    device.refused(arg, ENOENT, "no such object")?;

    let other = Device::open()?;
    other.refused(good, ENOENT, "another client's object")
}

/// A shared object comes back as itself; a private one stays.
fn export(device: &Device) -> Result<()> {
    let shared = device.bo(PAGE, 0, 0)?;
    let mut out = PrimeHandleToFd {
        handle: shared.handle,
        flags: libc::O_CLOEXEC as u32,
        fd: -1,
    };
    device.ioctl(&mut out)?;
    let mut back = PrimeFdToHandle {
        fd: out.fd,
        ..Default::default()
    };
    let result = device.ioctl(&mut back);
    // SAFETY: The descriptor is ours.
    unsafe { libc::close(out.fd) };
    result?;
    ensure!(back.handle == shared.handle, "it came back as another one");

    let vm = device.vm()?;
    let private = device.bo(PAGE, GEM_VM_PRIVATE, vm.id)?;
    out.handle = private.handle;
    device.refused(out, EINVAL, "exporting a private object")
}
