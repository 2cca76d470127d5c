// SPDX-License-Identifier: MIT OR Apache-2.0

//! GEM_BIND_OBJECT.

use anyhow::{Result, ensure};
use libc::{EINVAL, ENOENT};

use crate::{
    device::{Device, PAGE},
    uapi::*,
};

super::tests!(bind, arguments);

fn bind(device: &Device) -> Result<()> {
    let bo = device.bo(4 * PAGE, GEM_WRITEBACK, 0)?;
    for (offset, range) in [(0, 4 * PAGE), (PAGE, PAGE), (3 * PAGE, PAGE)] {
        let mut arg = GemBindObject {
            flags: OBJECT_TIMESTAMPS,
            handle: bo.handle,
            offset,
            range,
            ..Default::default()
        };
        device.ioctl(&mut arg)?;
        ensure!(arg.object_handle != 0);
        let unbind = GemBindObject {
            op: OBJECT_UNBIND,
            object_handle: arg.object_handle,
            ..Default::default()
        };
        device.ioctl(&mut unbind.clone())?;
        device.refused(unbind, ENOENT, "unbinding it twice")?;
    }
    Ok(())
}

fn arguments(device: &Device) -> Result<()> {
    let bo = device.bo(2 * PAGE, 0, 0)?;
    let good = GemBindObject {
        op: OBJECT_BIND,
        flags: OBJECT_TIMESTAMPS,
        handle: bo.handle,
        range: PAGE,
        ..Default::default()
    };
    let bad = |change: fn(&mut GemBindObject), errno, what: &str| {
        let mut arg = good;
        change(&mut arg);
        device.refused(arg, errno, what)
    };
    bad(|arg| arg.op = 2, EINVAL, "an unknown operation")?;
    bad(|arg| arg.flags = 0, EINVAL, "no use")?;
    bad(|arg| arg.flags = 3, EINVAL, "an unknown use")?;
    bad(|arg| arg.handle = 0x1234, ENOENT, "no object")?;
    bad(|arg| arg.vm_id = 1, EINVAL, "a VM")?;
    bad(|arg| arg.offset = 1, EINVAL, "an odd offset")?;
    bad(|arg| arg.range = 1, EINVAL, "an odd size")?;
    bad(|arg| arg.range = 0, EINVAL, "no size")?;
    bad(|arg| arg.range = 3 * PAGE, EINVAL, "more than the object")?;
    bad(
        |arg| arg.offset = u64::MAX - PAGE + 1,
        EINVAL,
        "the largest offset",
    )?;
    bad(|arg| arg.pad = 1, EINVAL, "padding")?;
    bad(
        |arg| arg.op = OBJECT_UNBIND,
        EINVAL,
        "unbinding with a handle",
    )
}
