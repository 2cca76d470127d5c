// SPDX-License-Identifier: MIT OR Apache-2.0

//! What shared objects are asked as dma-bufs (`include/uapi/linux/dma-buf.h`).
//!
//! Fences cannot be kept with a file that other processes have, too. So who attaches a fence waits until it is over:
//! then there is never anything to wait for, and what another process sees is whole.

use crate::fence::{Fences, Hub};
use crate::pod::Pod;
use crate::{syncfile, user};
use libc::c_int;
use std::sync::Arc;

const READ: u32 = 1;
const WRITE: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy)]
struct SyncFile {
    flags: u32,
    fd: i32,
}

// SAFETY: Integers without padding.
unsafe impl Pod for SyncFile {}

/// Answers a request.
pub fn ioctl(hub: &Arc<Hub>, number: u32, argument: u64) -> Result<(), c_int> {
    match number {
        // Begin and end of the CPU's access: memory is coherent. A name is for people.
        0 | 1 => Ok(()),
        2 | 3 => {
            let mut args: SyncFile = user::read(argument)?;
            if args.flags & !(READ | WRITE) != 0 || args.flags == 0 {
                return Err(libc::EINVAL);
            }
            if number == 2 {
                args.fd = syncfile::export(hub, Fences::over())?;
                return user::write(argument, &args);
            }
            let fences = syncfile::import(hub, args.fd)?;
            hub.wait(None, || fences.signalled().then_some(()));
            Ok(())
        }
        _ => Err(libc::ENOTTY),
    }
}
