// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a client asks about the device.

use super::OpenFile;
use crate::pod::Pod;
use crate::uapi::*;
use crate::{cmdbuf, device, user, vm};
use libc::c_int;

/// DRM_IOCTL_VERSION.
pub fn version(_: &OpenFile, args: &mut Version) -> Result<(), c_int> {
    (args.major, args.minor, args.patchlevel) = (0, 0, 0);
    let text = |at: u64, len: &mut u64, text: &str| {
        let room = (*len).min(text.len() as u64) as usize;
        *len = text.len() as u64;
        if at == 0 {
            return Ok(());
        }
        user::copy_out(at, &text.as_bytes()[..room])
    };
    text(args.name, &mut args.name_len, "asahi")?;
    text(args.date, &mut args.date_len, "0")?;
    text(args.desc, &mut args.desc_len, "Apple AGX Graphics")
}

/// DRM_IOCTL_GET_CAP: a render node shares memory and fences, and has no displays.
pub fn get_cap(_: &OpenFile, args: &mut GetCap) -> Result<(), c_int> {
    const TIMESTAMP_MONOTONIC: u64 = 0x6;
    const PRIME: u64 = 0x5;
    const SYNCOBJ: u64 = 0x13;
    const SYNCOBJ_TIMELINE: u64 = 0x14;
    args.value = match args.capability {
        PRIME => 3,
        TIMESTAMP_MONOTONIC | SYNCOBJ | SYNCOBJ_TIMELINE => 1,
        _ => return Err(libc::EOPNOTSUPP),
    };
    Ok(())
}

fn params() -> Params {
    let mut core_masks = [0; 64];
    core_masks[0] = 0xff;
    Params {
        features: FEATURE_SOFT_FAULTS,
        gpu_generation: 13,
        gpu_variant: b'G'.into(),
        gpu_revision: 0x11,
        chip_id: 0x8103,
        num_dies: 1,
        num_clusters_total: 1,
        num_cores_per_cluster: 8,
        max_frequency_khz: 1_278_000,
        core_masks,
        vm_start: vm::USER.start,
        vm_end: vm::USER.end,
        vm_kernel_min_size: device::KERNEL_SIZE,
        max_commands_per_submission: cmdbuf::MAX_COMMANDS,
        max_attachments: cmdbuf::MAX_ATTACHMENTS,
        command_timestamp_frequency_hz: 1_000_000_000,
    }
}

/// GET_PARAMS: what fits is written, and what the client has more room for is zero.
pub fn get_params(_: &OpenFile, args: &mut GetParams) -> Result<(), c_int> {
    if args.param_group != 0 || args.pad != 0 {
        return Err(libc::EINVAL);
    }
    if args.size > PAGE {
        return Err(libc::E2BIG);
    }
    let mut bytes = params().bytes().to_vec();
    bytes.resize(args.size as usize, 0);
    user::copy_out(args.pointer, &bytes)
}

/// GET_TIME.
pub fn get_time(_: &OpenFile, args: &mut GetTime) -> Result<(), c_int> {
    if args.flags != 0 {
        return Err(libc::EINVAL);
    }
    args.gpu_timestamp = device::now();
    Ok(())
}
