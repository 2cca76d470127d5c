// SPDX-License-Identifier: MIT OR Apache-2.0

//! VM_CREATE and VM_DESTROY.

use anyhow::{Context, Result, ensure};
use libc::{EINVAL, ENOENT};

use crate::{
    device::{Bench, Commands, Device, HEAP, PAGE},
    uapi::*,
};

super::tests!(
    create,
    arguments,
    kernel_ranges,
    kernel_range_is_the_kernels,
    destroy,
    destroy_with_everything_in_it,
    ids
);

fn create(device: &Device) -> Result<()> {
    let first = device.vm()?;
    let second = device.vm()?;
    ensure!(first.id != 0 && second.id != 0 && first.id != second.id);
    Ok(())
}

fn arguments(device: &Device) -> Result<()> {
    let params = device.params()?;
    let (end, min) = (params.vm_end, params.vm_kernel_min_size);
    let create = |kernel_start, kernel_end| VmCreate {
        kernel_start,
        kernel_end,
        ..Default::default()
    };
    for (start, end, what) in [
        (0, min, "a range that begins too early"),
        (end - min, end + PAGE, "a range that ends too late"),
        (end - min + PAGE, end, "a small range"),
        (end - min - 1, end, "an odd start"),
        (end - min - PAGE, end - 1, "an odd end"),
        (end, end - min, "a range the wrong way round"),
        (0, u64::MAX, "everything"),
    ] {
        device.refused(create(start, end), EINVAL, what)?;
    }
    let mut padded = create(end - min, end);
    padded.pad = 1;
    device.refused(padded, EINVAL, "padding")
}

fn destroy(device: &Device) -> Result<()> {
    let id = device.vm()?.id;
    // It has been dropped.
    let destroy = |vm_id, pad| VmDestroy { vm_id, pad };
    device.refused(destroy(id, 0), ENOENT, "a VM that is gone")?;
    device.refused(destroy(0, 0), ENOENT, "no VM")?;
    device.refused(destroy(u32::MAX, 0), ENOENT, "a VM that never was")?;
    let vm = device.vm()?;
    device.refused(destroy(vm.id, 1), EINVAL, "padding")?;

    let other = Device::open()?;
    other.refused(destroy(vm.id, 0), ENOENT, "another client's VM")
}

/// The kernel's part may lie anywhere, and be larger than it must.
fn kernel_ranges(device: &Device) -> Result<()> {
    let params = device.params()?;
    let (start, end, min) = (params.vm_start, params.vm_end, params.vm_kernel_min_size);
    let middle = (end / 2) & !(PAGE - 1);
    for (kernel_start, kernel_end) in [
        (start, start + min),
        (middle, middle + min),
        (middle, middle + min + PAGE),
        (middle, middle + 2 * min),
        (end - min, end),
    ] {
        let mut create = VmCreate {
            kernel_start,
            kernel_end,
            ..Default::default()
        };
        device
            .ioctl(&mut create)
            .with_context(|| format!("{kernel_start:#x} to {kernel_end:#x}"))?;
        let bo = device.bo(PAGE, 0, 0)?;
        let bind = |addr, errno: Option<i32>| -> Result<()> {
            let op = BindOp {
                flags: BIND_READ,
                handle: bo.handle,
                offset: 0,
                range: PAGE,
                addr,
            };
            let mut arg = VmBind {
                vm_id: create.vm_id,
                num_binds: 1,
                stride: size_of::<BindOp>() as u32,
                pad: 0,
                userptr: &raw const op as u64,
            };
            match errno {
                Some(errno) => device.refused(arg, errno, &format!("{addr:#x}")),
                None => device.ioctl(&mut arg).with_context(|| format!("{addr:#x}")),
            }
        };
        for inside in [
            kernel_start,
            middle.clamp(kernel_start, kernel_end - PAGE),
            kernel_end - PAGE,
        ] {
            bind(inside, Some(EINVAL))?;
        }
        if kernel_start > start {
            bind(kernel_start - PAGE, None)?;
        }
        if kernel_end + PAGE <= end {
            bind(kernel_end, None)?;
        }
        // Work is done in it, too.
        device.ioctl(&mut VmDestroy {
            vm_id: create.vm_id,
            pad: 0,
        })?;
    }
    Ok(())
}

/// Nothing can be bound over any part of it, or unbound from it.
fn kernel_range_is_the_kernels(device: &Device) -> Result<()> {
    let params = device.params()?;
    let vm = device.vm()?;
    let bo = device.bo(4 * PAGE, 0, 0)?;
    let kernel = params.vm_end - params.vm_kernel_min_size;
    for (addr, range) in [
        (kernel, PAGE),
        (kernel - PAGE, 2 * PAGE),
        (kernel - PAGE, 4 * PAGE),
        (params.vm_end - PAGE, PAGE),
        (params.vm_end - PAGE, 2 * PAGE),
    ] {
        for (flags, handle) in [
            (BIND_READ, bo.handle),
            (BIND_READ | BIND_SINGLE_PAGE, bo.handle),
            (BIND_UNBIND, 0),
        ] {
            let op = BindOp {
                flags,
                handle,
                offset: 0,
                range,
                addr,
            };
            let what = format!("{flags:#x} of {range:#x} at {addr:#x}");
            device.refused(vm.bind_arg(&op), EINVAL, &what)?;
        }
    }
    Ok(())
}

/// A VM goes with its mappings, private objects and queues, whatever its queues do.
fn destroy_with_everything_in_it(device: &Device) -> Result<()> {
    for _ in 0..crate::runner::rounds(8) {
        let vm = device.vm()?;
        let shared = device.bo(4 * PAGE, 0, 0)?;
        let private = device.bo(4 * PAGE, GEM_VM_PRIVATE, vm.id)?;
        vm.map(&shared, HEAP + 64 * PAGE)?;
        vm.map(&private, HEAP + 128 * PAGE)?;
        let bench = Bench::new(&vm)?;
        let done = device.syncobj()?;
        let commands = Commands::default().compute(&bench.nothing);
        for point in 1..4 {
            bench.queue.submit(&commands, 0, &[done.point(point)])?;
        }
        device.ioctl(&mut VmDestroy {
            vm_id: vm.id,
            pad: 0,
        })?;
        done.wait_point(3)?;
        // Its queue still runs in it.
        bench.queue.run(&commands)?;
        ensure!(private.mmap()?.read(0) == 0);
    }
    Ok(())
}

/// Numbers are this client's own.
fn ids(device: &Device) -> Result<()> {
    let first: Vec<_> = (0..80).map(|_| device.vm()).collect::<Result<_>>()?;
    let mut ids: Vec<u32> = first.iter().map(|vm| vm.id).collect();
    ids.sort_unstable();
    ids.dedup();
    ensure!(ids.len() == 80 && ids[0] != 0, "{ids:?}");
    let other = Device::open()?;
    let theirs = other.vm()?;
    drop(first);
    let bo = other.bo(PAGE, 0, 0)?;
    theirs.map(&bo, HEAP)
}
