// SPDX-License-Identifier: MIT OR Apache-2.0

//! GET_PARAMS and GET_TIME.

use anyhow::{Result, ensure};
use libc::{E2BIG, EFAULT, EINVAL};

use crate::{device::Device, uapi::*};

super::tests!(global, sizes, arguments, time);

const SIZE: usize = size_of::<Params>();

/// The parameters are those of a GPU.
fn global(device: &Device) -> Result<()> {
    let params = device.params()?;
    ensure!(params.gpu_generation >= 13, "{params:?}");
    ensure!(params.chip_id != 0 && params.max_frequency_khz != 0);
    ensure!(params.core_masks[0] != 0, "there are no cores");
    ensure!(params.vm_start < params.vm_end && params.vm_end < 1 << 39);
    ensure!(params.vm_kernel_min_size < params.vm_end - params.vm_start);
    ensure!(params.max_commands_per_submission > 0);
    ensure!(params.command_timestamp_frequency_hz > 0);
    Ok(())
}

/// A short buffer gets the beginning, and the rest of a long one zeroes.
fn sizes(device: &Device) -> Result<()> {
    let get = |size: usize| -> Result<Vec<u8>> {
        let mut out = vec![0xa5u8; 1024];
        device.ioctl(&mut GetParams {
            pointer: out.as_mut_ptr() as u64,
            size: size as u64,
            ..Default::default()
        })?;
        Ok(out)
    };

    let whole = get(SIZE)?;
    ensure!(whole[SIZE..].iter().all(|&b| b == 0xa5));
    for size in [0, 1, 8, 100, SIZE - 1] {
        let short = get(size)?;
        ensure!(short[..size] == whole[..size], "{size} bytes differ");
        ensure!(
            short[size..].iter().all(|&b| b == 0xa5),
            "more than {size} bytes were written"
        );
    }
    let long = get(SIZE + 64)?;
    ensure!(long[SIZE..SIZE + 64].iter().all(|&b| b == 0));
    ensure!(long[SIZE + 64..].iter().all(|&b| b == 0xa5));
    Ok(())
}

fn arguments(device: &Device) -> Result<()> {
    let mut out = [0u8; SIZE];
    let good = GetParams {
        pointer: out.as_mut_ptr() as u64,
        size: SIZE as u64,
        ..Default::default()
    };
    let mut arg = good;
    arg.param_group = 1;
    device.refused(arg, EINVAL, "an unknown group")?;
    arg = good;
    arg.pad = 1;
    device.refused(arg, EINVAL, "padding")?;
    arg = good;
    arg.pointer = 0;
    device.refused(arg, EFAULT, "no pointer")?;
    arg = good;
    arg.size = u64::MAX;
    device.refused(arg, E2BIG, "an endless buffer")
}

/// Time goes on.
fn time(device: &Device) -> Result<()> {
    let mut first = GetTime::default();
    device.ioctl(&mut first)?;
    std::thread::sleep(std::time::Duration::from_millis(20));
    let mut second = GetTime::default();
    device.ioctl(&mut second)?;
    let step = second.gpu_timestamp.wrapping_sub(first.gpu_timestamp);
    ensure!((15_000_000..5_000_000_000).contains(&step), "{step} ns");

    let flags = GetTime {
        flags: 1,
        ..Default::default()
    };
    device.refused(flags, EINVAL, "flags")
}
