// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sync objects. Work is done when its submission returns, so that a fence that exists is signalled.

use crate::uapi::*;
use libc::{c_int, c_void};
use std::collections::HashMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

const CREATE_SIGNALED: u32 = 1;
const SYNC_FILE: u32 = 1;
const WAIT_ALL: u32 = 1;
const WAIT_FOR_SUBMIT: u32 = 2;

#[derive(Clone, Copy, Default)]
struct Syncobj {
    /// Has a fence.
    signaled: bool,
    /// The last point of a timeline.
    point: u64,
}

#[derive(Default)]
struct Objects {
    objects: HashMap<u32, Syncobj>,
    last: u32,
    /// Exported objects by the inode of their file.
    shared: HashMap<(u64, u64), u32>,
}

/// All sync objects.
#[derive(Default)]
pub struct Syncs {
    objects: Mutex<Objects>,
    changed: Condvar,
}

impl Syncs {
    fn with<T>(&self, f: impl FnOnce(&mut Objects) -> T) -> T {
        let out = f(&mut self.objects.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
        out
    }

    fn with_object(&self, handle: u32, f: impl FnOnce(&mut Syncobj)) -> Result<(), c_int> {
        self.with(|all| all.objects.get_mut(&handle).map(f).ok_or(libc::ENOENT))
    }

    pub fn create(&self, args: &mut SyncobjCreate) -> Result<(), c_int> {
        args.handle = self.with(|all| {
            all.last += 1;
            let signaled = args.flags & CREATE_SIGNALED != 0;
            all.objects.insert(all.last, Syncobj { signaled, point: 0 });
            all.last
        });
        Ok(())
    }

    pub fn destroy(&self, handle: u32) -> Result<(), c_int> {
        self.with(|all| all.objects.remove(&handle))
            .map(|_| ())
            .ok_or(libc::EINVAL)
    }

    pub fn signal(&self, handle: u32, point: Option<u64>) -> Result<(), c_int> {
        self.with_object(handle, |object| {
            object.signaled = true;
            object.point = object.point.max(point.unwrap_or(0));
        })
    }

    pub fn reset(&self, handle: u32) -> Result<(), c_int> {
        self.with_object(handle, |object| *object = Syncobj::default())
    }

    pub fn point(&self, handle: u32) -> Result<u64, c_int> {
        let mut point = 0;
        self.with_object(handle, |object| point = object.point)?;
        Ok(point)
    }

    pub fn transfer(&self, args: &SyncobjTransfer) -> Result<(), c_int> {
        self.with(|all| {
            let from = *all.objects.get(&args.src_handle).ok_or(libc::ENOENT)?;
            if !from.signaled || from.point < args.src_point {
                return Err(libc::EINVAL);
            }
            let to = all.objects.get_mut(&args.dst_handle).ok_or(libc::ENOENT)?;
            to.signaled = true;
            to.point = to.point.max(args.dst_point);
            Ok(())
        })
    }

    /// Waits until `deadline` (of the monotonic clock, in ns) for all or any of the points; returns the first that is
    /// signalled.
    pub fn wait(&self, points: &[(u32, u64)], deadline: i64, flags: u32) -> Result<u32, c_int> {
        let left = deadline.saturating_sub(crate::device::now() as i64).max(0) as u64;
        let end = Instant::now().checked_add(Duration::from_nanos(left));
        let mut all = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut first = None;
            let mut missing = 0;
            for (i, (handle, point)) in points.iter().enumerate() {
                let object = all.objects.get(handle).ok_or(libc::ENOENT)?;
                if object.signaled && object.point >= *point {
                    first = first.or(Some(i as u32));
                } else {
                    missing += 1;
                    if flags & WAIT_FOR_SUBMIT == 0 && !object.signaled {
                        return Err(libc::EINVAL);
                    }
                }
            }
            match first {
                Some(first) if missing == 0 || flags & WAIT_ALL == 0 => return Ok(first),
                _ => (),
            }
            let now = Instant::now();
            let left = end.map_or(Duration::from_secs(3600), |end| {
                end.saturating_duration_since(now)
            });
            if left.is_zero() {
                return Err(libc::ETIME);
            }
            all = self
                .changed
                .wait_timeout(all, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    pub fn export(&self, args: &mut SyncobjHandle) -> Result<(), c_int> {
        let object = self
            .with(|all| all.objects.get(&args.handle).copied())
            .ok_or(libc::ENOENT)?;
        if args.flags & SYNC_FILE != 0 {
            if !object.signaled {
                return Err(libc::EINVAL);
            }
            args.fd = signaled_file()?;
            return Ok(());
        }
        // SAFETY: The name is a C string.
        args.fd = unsafe { libc::memfd_create(c"syncobj".as_ptr(), libc::MFD_CLOEXEC) };
        let inode = crate::bo::Bo::inode(args.fd).ok_or(libc::EMFILE)?;
        self.with(|all| all.shared.insert(inode, args.handle));
        Ok(())
    }

    pub fn import(&self, args: &mut SyncobjHandle) -> Result<(), c_int> {
        if args.flags & SYNC_FILE != 0 {
            return self.signal(args.handle, None);
        }
        let inode = crate::bo::Bo::inode(args.fd).ok_or(libc::EBADF)?;
        args.handle = self
            .with(|all| all.shared.get(&inode).copied())
            .ok_or(libc::EINVAL)?;
        Ok(())
    }
}

/// A descriptor that polls as a signalled fence does.
fn signaled_file() -> Result<c_int, c_int> {
    // SAFETY: No pointers are involved.
    let fd = unsafe { libc::eventfd(1, libc::EFD_CLOEXEC) };
    if fd < 0 { Err(libc::EMFILE) } else { Ok(fd) }
}

#[repr(C)]
struct DmaBufSyncFile {
    flags: u32,
    fd: i32,
}

/// Answers for shared buffers: nothing is ever pending on them.
pub fn dma_buf(number: u32, argument: *mut c_void) -> Option<Result<(), c_int>> {
    match number {
        // Begin and end of CPU access, and import of a fence.
        0 | 3 => Some(Ok(())),
        2 => {
            // SAFETY: This request's argument is this structure.
            let args = unsafe { &mut *argument.cast::<DmaBufSyncFile>() };
            Some(signaled_file().map(|fd| args.fd = fd))
        }
        _ => None,
    }
}

#[repr(C)]
struct SyncMerge {
    name: [u8; 32],
    fd2: i32,
    fence: i32,
    flags: u32,
    pad: u32,
}

/// Answers for fence descriptors: two signalled ones make a signalled one.
pub fn file(number: u32, argument: *mut c_void) -> Option<Result<(), c_int>> {
    if number != 3 {
        return None;
    }
    // SAFETY: This request's argument is this structure.
    let args = unsafe { &mut *argument.cast::<SyncMerge>() };
    Some(signaled_file().map(|fd| args.fence = fd))
}
