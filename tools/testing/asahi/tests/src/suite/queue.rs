// SPDX-License-Identifier: MIT OR Apache-2.0

//! QUEUE_CREATE and QUEUE_DESTROY.

use anyhow::{Result, ensure};
use libc::{EINVAL, ENOENT};

use crate::{device::Device, uapi::*};

super::tests!(create, arguments, destroy, vm_goes_first);

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
    device.refused(arg, EINVAL, "an unknown priority")
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
