// SPDX-License-Identifier: MIT OR Apache-2.0

//! GET_PARAMS and GET_TIME.

use anyhow::{Context, Result, ensure};
use libc::{E2BIG, EFAULT, EINVAL};

use super::parallel::threads;
use crate::{
    device::{Device, Guarded, PAGE, bytes},
    runner::rounds,
    uapi::*,
};

super::tests!(
    global,
    limits,
    every_size,
    sizes,
    arguments,
    no_room,
    time,
    time_never_goes_back
);

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

/// What the rest of the interface promises with them.
fn limits(device: &Device) -> Result<()> {
    let params = device.params()?;
    ensure!(params.max_commands_per_submission >= 64);
    ensure!(params.max_attachments >= 1);
    ensure!(params.features & !FEATURE_SOFT_FAULTS == 0, "{params:?}");
    ensure!(params.vm_start.is_multiple_of(PAGE) && params.vm_start > 0);
    ensure!(params.vm_kernel_min_size.is_multiple_of(PAGE) && params.vm_kernel_min_size > 0);
    ensure!(u8::try_from(params.gpu_variant).is_ok_and(|letter| letter.is_ascii_uppercase()));
    ensure!(params.num_dies >= 1 && params.num_clusters_total >= params.num_dies);
    let clusters = params.num_clusters_total as usize;
    ensure!(clusters <= params.core_masks.len());
    for (cluster, mask) in params.core_masks.iter().enumerate() {
        let cores = mask >> params.num_cores_per_cluster.min(63);
        ensure!(
            cores == 0,
            "cluster {cluster} has more cores than there may be"
        );
        ensure!((*mask != 0) == (cluster < clusters), "cluster {cluster}");
    }
    Ok(())
}

/// Each size up to more than there is, and not a byte further.
fn every_size(device: &Device) -> Result<()> {
    let params = device.params()?;
    let whole = bytes(&params);
    for size in (0..SIZE + 100).step_by(3) {
        let out = Guarded::new(&vec![0xa5; size], libc::PROT_READ | libc::PROT_WRITE)?;
        device
            .ioctl(&mut GetParams {
                pointer: out.address(),
                size: size as u64,
                ..Default::default()
            })
            .with_context(|| format!("{size} bytes"))?;
        let got = out.content();
        ensure!(
            got[..size.min(SIZE)] == whole[..size.min(SIZE)],
            "{size} bytes differ"
        );
        ensure!(got.iter().skip(SIZE).all(|&byte| byte == 0));
    }
    Ok(())
}

/// A buffer that ends before its size does.
fn no_room(device: &Device) -> Result<()> {
    for size in [SIZE, SIZE + 8, PAGE as usize] {
        for there in [0, 1, 8, SIZE - 1] {
            let out = Guarded::new(&vec![0; there], libc::PROT_READ | libc::PROT_WRITE)?;
            let arg = GetParams {
                pointer: out.address(),
                size: size as u64,
                ..Default::default()
            };
            device.refused(arg, EFAULT, &format!("{size} bytes to {there}"))?;
        }
    }
    Ok(())
}

/// Not on any CPU.
fn time_never_goes_back(device: &Device) -> Result<()> {
    threads(4, |_| {
        let mut last = 0;
        for _ in 0..rounds(400) {
            let mut time = GetTime::default();
            device.ioctl(&mut time)?;
            ensure!(time.gpu_timestamp >= last, "time goes back");
            last = time.gpu_timestamp;
        }
        Ok(())
    })
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
