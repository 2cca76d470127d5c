// SPDX-License-Identifier: MIT OR Apache-2.0

//! VM_CREATE and VM_DESTROY.

use anyhow::{Result, ensure};
use libc::{EINVAL, ENOENT};

use crate::{
    device::{Device, PAGE},
    uapi::*,
};

super::tests!(create, arguments, destroy);

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
