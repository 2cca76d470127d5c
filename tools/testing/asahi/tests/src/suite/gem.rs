// SPDX-License-Identifier: MIT OR Apache-2.0

//! GEM_CREATE and GEM_MMAP_OFFSET.

use anyhow::{Context, Result, ensure};
use libc::{EINVAL, ENOENT};

use super::lab::Lab;
use crate::{
    device::{Commands, Device, HEAP, PAGE},
    uapi::*,
};

super::tests!(
    create,
    arguments,
    sizes,
    mmap,
    offsets,
    map_flags,
    caching,
    closed_while_mapped,
    foreign_offset,
    other_clients_vm,
    is_zeroed,
    export
);

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

/// Objects are as large as they say, up to a page.
fn sizes(device: &Device) -> Result<()> {
    for size in [1, PAGE - 1, PAGE, PAGE + 1, 100 * PAGE - 7] {
        let bo = device.bo(size, GEM_WRITEBACK, 0)?;
        let map = bo.mmap()?;
        map.write(size.next_multiple_of(PAGE) as usize - 8, 1);
        let vm = device.vm()?;
        vm.map(&bo, HEAP)?;
        let op = BindOp {
            flags: BIND_READ,
            handle: bo.handle,
            offset: 0,
            range: bo.size + PAGE,
            addr: HEAP,
        };
        device.refused(vm.bind_arg(&op), EINVAL, "more than the object")?;
    }
    // Memory comes when it is used.
    let large = device.bo(1 << 34, 0, 0)?;
    ensure!(large.handle != 0);
    Ok(())
}

fn offset_of(device: &Device, handle: u32) -> Result<u64> {
    let mut arg = GemMmapOffset {
        handle,
        ..Default::default()
    };
    device.ioctl(&mut arg)?;
    Ok(arg.offset)
}

/// Maps some of the device's file, and says whether that was allowed.
fn try_mmap(device: &Device, offset: u64, size: u64, prot: i32, flags: i32) -> Option<*mut u64> {
    // SAFETY: A new mapping at an address of the kernel's choice.
    let map = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size as usize,
            prot,
            flags,
            device.fd(),
            offset as libc::off_t,
        )
    };
    (map != libc::MAP_FAILED).then_some(map.cast())
}

const PROT: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// An object has one offset, and no two have the same.
fn offsets(device: &Device) -> Result<()> {
    let objects: Vec<_> = (0..20)
        .map(|i| device.bo((i + 1) * PAGE, 0, 0))
        .collect::<Result<_>>()?;
    let mut ranges = Vec::new();
    for bo in &objects {
        let offset = offset_of(device, bo.handle)?;
        ensure!(offset == offset_of(device, bo.handle)?);
        ensure!(offset.is_multiple_of(PAGE) && offset != 0);
        ranges.push((offset, offset + bo.size));
        // All of it, not more, and nothing where no object begins.
        ensure!(try_mmap(device, offset, bo.size + PAGE, PROT, libc::MAP_SHARED).is_none());
    }
    ranges.sort_unstable();
    ensure!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    for offset in [0, PAGE, 1 << 45] {
        ensure!(
            try_mmap(device, offset, PAGE, PROT, libc::MAP_SHARED).is_none(),
            "there is something at {offset:#x}"
        );
    }
    Ok(())
}

/// Reading alone, executing, and copies of its own.
fn map_flags(device: &Device) -> Result<()> {
    let bo = device.bo(PAGE, GEM_WRITEBACK, 0)?;
    let map = bo.mmap()?;
    map.write(0, 5);
    let offset = offset_of(device, bo.handle)?;
    let read = try_mmap(device, offset, PAGE, libc::PROT_READ, libc::MAP_SHARED);
    let read = read.context("mapping for reading")?;
    // SAFETY: It has just been mapped.
    ensure!(unsafe { read.read_volatile() } == 5);
    // SAFETY: As above, and nobody uses it any more.
    unsafe { libc::munmap(read.cast(), PAGE as usize) };
    // A private copy of a device's memory makes no sense; if there is one, it is nobody else's.
    if let Some(copy) = try_mmap(device, offset, PAGE, PROT, libc::MAP_PRIVATE) {
        // SAFETY: As above.
        unsafe {
            copy.write_volatile(6);
            libc::munmap(copy.cast(), PAGE as usize);
        }
        ensure!(map.read(0) == 5, "a private mapping writes to the object");
    }
    Ok(())
}

/// Both kinds of mappings show what the GPU does and sees.
fn caching(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    for flags in [0, GEM_WRITEBACK] {
        let bo = device.bo(PAGE, flags, 0)?;
        let map = bo.mmap()?;
        vm.map(&bo, HEAP)?;
        let copy = lab.moves(&[(HEAP, HEAP + 64)])?;
        for round in 1..10 {
            map.write(0, round);
            lab.queue.run(&Commands::default().compute(&copy))?;
            ensure!(map.read(64) == round, "flags {flags}, round {round}");
        }
    }
    Ok(())
}

/// A mapping keeps the memory.
fn closed_while_mapped(device: &Device) -> Result<()> {
    let (map, offset);
    {
        let bo = device.bo(2 * PAGE, 0, 0)?;
        map = bo.mmap()?;
        map.write(PAGE as usize, 77);
        offset = offset_of(device, bo.handle)?;
    }
    ensure!(map.read(PAGE as usize) == 77);
    ensure!(
        try_mmap(device, offset, PAGE, PROT, libc::MAP_SHARED).is_none(),
        "an object without a handle was mapped"
    );
    Ok(())
}

/// An offset is of use to those only who have the object.
fn foreign_offset(device: &Device) -> Result<()> {
    let bo = device.bo(PAGE, 0, 0)?;
    let offset = offset_of(device, bo.handle)?;
    let other = Device::open()?;
    ensure!(
        try_mmap(&other, offset, PAGE, PROT, libc::MAP_SHARED).is_none(),
        "another client has mapped it"
    );
    Ok(())
}

fn other_clients_vm(device: &Device) -> Result<()> {
    let other = Device::open()?;
    let vms = [other.vm()?, other.vm()?];
    let arg = GemCreate {
        size: PAGE,
        flags: GEM_VM_PRIVATE,
        vm_id: vms[1].id,
        ..Default::default()
    };
    device.refused(arg, ENOENT, "another client's VM")
}

/// What somebody else has had in memory does not show.
fn is_zeroed(device: &Device) -> Result<()> {
    for flags in [0, GEM_WRITEBACK] {
        for _ in 0..crate::runner::rounds(12) {
            let bo = device.bo(16 * PAGE, flags, 0)?;
            let map = bo.mmap()?;
            for at in (0..16 * PAGE as usize).step_by(512) {
                ensure!(map.read(at) == 0, "something at {at:#x}");
                map.write(at, !0);
            }
        }
    }
    Ok(())
}
