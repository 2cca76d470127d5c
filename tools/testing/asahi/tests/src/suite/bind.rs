// SPDX-License-Identifier: MIT OR Apache-2.0

//! VM_BIND.

use anyhow::{Context, Result};
use libc::{E2BIG, EFAULT, EINVAL, ENOENT};

use crate::{
    device::{Device, HEAP, PAGE, bytes},
    uapi::*,
};

super::tests!(
    map_and_unmap,
    overlaps,
    single_page,
    arguments,
    ranges,
    arrays,
    strides,
    private,
    close
);

const RW: u32 = BIND_READ | BIND_WRITE;

fn op(handle: u32, offset: u64, addr: u64, range: u64) -> BindOp {
    BindOp {
        flags: RW,
        handle,
        offset,
        range,
        addr,
    }
}

fn unbind(addr: u64, range: u64) -> BindOp {
    BindOp {
        flags: BIND_UNBIND,
        range,
        addr,
        ..Default::default()
    }
}

fn map_and_unmap(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bo = device.bo(4 * PAGE, 0, 0)?;
    for flags in [BIND_READ, BIND_WRITE, RW] {
        vm.bind(BindOp {
            flags,
            ..op(bo.handle, 0, HEAP, bo.size)
        })
        .with_context(|| format!("flags {flags:#x}"))?;
    }
    vm.bind(unbind(HEAP, bo.size)).context("unbinding")?;
    vm.bind(unbind(HEAP, bo.size))
        .context("unbinding nothing")?;
    let params = device.params()?;
    let left = params.vm_end - params.vm_kernel_min_size - params.vm_start;
    vm.bind(unbind(params.vm_start, left))
        .context("unbinding everything")
}

/// New mappings replace parts of old ones, and unbinding cuts holes.
fn overlaps(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let a = device.bo(8 * PAGE, 0, 0)?;
    let b = device.bo(8 * PAGE, 0, 0)?;
    vm.map(&a, HEAP)?;
    for (handle, first, count) in [
        (b.handle, 2, 2),
        (b.handle, 0, 1),
        (a.handle, 3, 4),
        (b.handle, 1, 6),
    ] {
        vm.bind(op(handle, PAGE, HEAP + first * PAGE, count * PAGE))
            .with_context(|| format!("{count} pages from {first}"))?;
    }
    vm.bind(unbind(HEAP + 2 * PAGE, PAGE))?;
    vm.bind(unbind(HEAP + PAGE, 5 * PAGE))?;
    vm.bind(unbind(HEAP, 8 * PAGE))?;
    Ok(())
}

fn single_page(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bo = device.bo(2 * PAGE, 0, 0)?;
    let mut one = op(bo.handle, PAGE, HEAP, 100 * PAGE);
    one.flags |= BIND_SINGLE_PAGE;
    vm.bind(one)?;
    vm.bind(unbind(HEAP + 50 * PAGE, PAGE))?;
    vm.map(&bo, HEAP + 20 * PAGE)?;
    vm.bind(unbind(HEAP, 100 * PAGE))?;

    one.offset = 2 * PAGE;
    device.refused(vm.bind_arg(&one), EINVAL, "a page behind the object")
}

fn arguments(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bo = device.bo(2 * PAGE, 0, 0)?;
    let good = op(bo.handle, 0, HEAP, PAGE);
    let bad = |change: fn(&mut BindOp), errno, what: &str| {
        let mut op = good;
        change(&mut op);
        device.refused(vm.bind_arg(&op), errno, what)
    };
    bad(|op| op.flags = 0, EINVAL, "no access")?;
    bad(
        |op| op.flags = BIND_SINGLE_PAGE,
        EINVAL,
        "no access to a single page",
    )?;
    bad(|op| op.flags |= 0x10, EINVAL, "an unknown flag")?;
    bad(
        |op| op.flags |= BIND_UNBIND,
        EINVAL,
        "binding and unbinding",
    )?;
    bad(
        |op| op.flags = BIND_UNBIND,
        EINVAL,
        "unbinding with a handle",
    )?;
    bad(|op| op.handle = 0, ENOENT, "no object")?;
    bad(
        |op| op.handle = 0x1234,
        ENOENT,
        "an object that does not exist",
    )?;
    bad(|op| op.offset = 1, EINVAL, "an odd offset")?;
    bad(
        |op| op.offset = 2 * PAGE,
        EINVAL,
        "an offset behind the object",
    )?;
    bad(
        |op| op.offset = u64::MAX - PAGE + 1,
        EINVAL,
        "the largest offset",
    )?;
    bad(|op| op.range = 3 * PAGE, EINVAL, "more than the object")?;

    let mut arg = vm.bind_arg(&good);
    arg.vm_id = 0x1234;
    device.refused(arg, ENOENT, "a VM that does not exist")?;
    arg = vm.bind_arg(&good);
    arg.pad = 1;
    device.refused(arg, EINVAL, "padding")?;
    arg = vm.bind_arg(&good);
    arg.userptr = 8;
    device.refused(arg, EFAULT, "no array")
}

fn ranges(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bo = device.bo(2 * PAGE, 0, 0)?;
    let params = device.params()?;
    let kernel = params.vm_end - params.vm_kernel_min_size;
    for (addr, range, what) in [
        (HEAP, 0, "nothing"),
        (HEAP, 1, "a byte"),
        (HEAP + 1, PAGE, "an odd address"),
        (0, PAGE, "the page at zero"),
        (kernel, PAGE, "the kernel's range"),
        (kernel - PAGE, 2 * PAGE, "the start of the kernel's range"),
        (params.vm_end, PAGE, "behind the end"),
        (u64::MAX - PAGE + 1, PAGE, "the last page"),
        (u64::MAX - PAGE + 1, 2 * PAGE, "around the end"),
    ] {
        device.refused(vm.bind_arg(&op(bo.handle, 0, addr, range)), EINVAL, what)?;
        device.refused(vm.bind_arg(&unbind(addr, range)), EINVAL, what)?;
    }
    vm.bind(op(bo.handle, 0, params.vm_start, PAGE))?;
    vm.bind(op(bo.handle, 0, kernel - PAGE, PAGE))?;
    Ok(())
}

/// Operations are done in order, up to the first that fails.
fn arrays(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bo = device.bo(PAGE, 0, 0)?;
    let ops: Vec<BindOp> = (0..100)
        .map(|i| op(bo.handle, 0, HEAP + i * PAGE, PAGE))
        .collect();
    let mut arg = vm.bind_arg(&ops[0]);
    arg.num_binds = 100;
    device.ioctl(&mut arg)?;
    arg.num_binds = 0;
    device.ioctl(&mut arg)?;

    let mixed = [
        unbind(HEAP, PAGE),
        op(0x1234, 0, HEAP, PAGE),
        unbind(HEAP, PAGE),
    ];
    let mut arg = vm.bind_arg(&mixed[0]);
    arg.num_binds = 3;
    device.refused(arg, ENOENT, "a bad operation among good ones")
}

/// Both smaller and larger structures than the kernel's.
fn strides(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bo = device.bo(PAGE, 0, 0)?;
    let mut raw = vec![0u8; 3 * 48];
    for (i, chunk) in raw.chunks_mut(48).enumerate() {
        let op = op(bo.handle, 0, HEAP + i as u64 * PAGE, PAGE);
        chunk[..32].copy_from_slice(bytes(&op));
    }
    let arg = |raw: &[u8], stride, num_binds| VmBind {
        vm_id: vm.id,
        num_binds,
        stride,
        pad: 0,
        userptr: raw.as_ptr() as u64,
    };
    device
        .ioctl(&mut arg(&raw, 48, 3))
        .context("a larger structure")?;
    raw[47 + 48] = 1;
    device.refused(arg(&raw, 48, 3), E2BIG, "something in a new field")?;

    // Without its last field the address is zero, which nothing can be bound to.
    device.refused(arg(&raw, 24, 1), EINVAL, "a smaller structure")?;
    device.refused(arg(&raw, 0, 1), EINVAL, "no stride")?;
    device.refused(arg(&raw, 0, u32::MAX), EINVAL, "no stride, many times")?;
    device.refused(arg(&raw, u32::MAX, u32::MAX), E2BIG, "the largest array")
}

/// An object that is private to one VM.
fn private(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let other = device.vm()?;
    let bo = device.bo(PAGE, GEM_VM_PRIVATE, vm.id)?;
    vm.map(&bo, HEAP)?;
    device.refused(
        other.bind_arg(&op(bo.handle, 0, HEAP, PAGE)),
        EINVAL,
        "another VM's object",
    )
}

/// Closing an object that is mapped takes it out.
fn close(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    for round in 0..10 {
        let bo = device.bo(4 * PAGE, 0, 0)?;
        vm.map(&bo, HEAP)?;
        vm.map(&bo, HEAP + 100 * PAGE)?;
        vm.bind(unbind(HEAP + PAGE, PAGE))
            .with_context(|| format!("round {round}"))?;
    }
    Ok(())
}
