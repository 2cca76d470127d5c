// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sync objects (`include/uapi/drm/drm.h`).

use super::OpenFile;
use crate::device::device;
use crate::fence::{Fences, deadline};
use crate::syncobj::{self, Syncobj, Wait};
use crate::uapi::*;
use crate::{syncfile, user};
use libc::c_int;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

/// The most objects that one request may name.
const MAX_COUNT: u32 = 1 << 20;

const WAIT_DEADLINE: u32 = 8;
const LAST_SUBMITTED: u32 = 1;
/// Of the requests that export and import.
const SYNC_FILE: u32 = 1;
const TIMELINE: u32 = 2;

/// DRM_IOCTL_SYNCOBJ_CREATE.
pub fn create(file: &OpenFile, args: &mut SyncobjCreate) -> Result<(), c_int> {
    if args.flags & !SYNCOBJ_CREATE_SIGNALED != 0 {
        return Err(libc::EINVAL);
    }
    let object = Arc::<Syncobj>::default();
    if args.flags != 0 {
        object.replace(Some(Fences::over()));
    }
    args.handle = file.tables().syncobjs.insert(object)?;
    Ok(())
}

/// DRM_IOCTL_SYNCOBJ_DESTROY.
pub fn destroy(file: &OpenFile, args: &mut SyncobjDestroy) -> Result<(), c_int> {
    if args.pad != 0 {
        return Err(libc::EINVAL);
    }
    let object = file.tables().syncobjs.remove(args.handle);
    object.map(drop).ok_or(libc::EINVAL)
}

fn check_transfer(flags: u32, pad: u32, point: u64) -> Result<(), c_int> {
    let known = flags & !(SYNC_FILE | TIMELINE) == 0;
    if !known || pad != 0 || point != 0 && flags & TIMELINE == 0 {
        return Err(libc::EINVAL);
    }
    Ok(())
}

/// DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD.
pub fn export(file: &OpenFile, args: &mut SyncobjHandle) -> Result<(), c_int> {
    check_transfer(args.flags, args.pad, args.point)?;
    if args.flags & SYNC_FILE != 0 {
        let object = file.syncobj(args.handle)?;
        let fences = object.find(args.point).ok_or(libc::EINVAL)?;
        args.fd = syncfile::export(&device().hub, fences)?;
        return Ok(());
    }
    let object = file.syncobj(args.handle).map_err(|_| libc::EINVAL)?;
    if args.point != 0 {
        return Err(libc::EINVAL);
    }
    args.fd = device().share_syncobj(object)?;
    Ok(())
}

/// DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE.
pub fn import(file: &OpenFile, args: &mut SyncobjImport) -> Result<(), c_int> {
    let SyncobjImport(args) = args;
    check_transfer(args.flags, args.pad, args.point)?;
    if args.flags & SYNC_FILE != 0 {
        let hub = &device().hub;
        let fences = syncfile::import(hub, args.fd)?;
        let object = file.syncobj(args.handle)?;
        match args.point {
            0 => object.replace(Some(fences)),
            point => object.add(point, fences),
        }
        hub.touch();
        return Ok(());
    }
    if args.point != 0 {
        return Err(libc::EINVAL);
    }
    let object = device().shared_syncobj(args.fd).ok_or(libc::EINVAL)?;
    args.handle = file.tables().syncobjs.insert(object)?;
    Ok(())
}

/// The objects that an array names.
fn objects(file: &OpenFile, handles: u64, count: u32) -> Result<Vec<Arc<Syncobj>>, c_int> {
    if count > MAX_COUNT {
        return Err(libc::ENOMEM);
    }
    let handles: Vec<u32> = user::array(handles, count)?;
    handles.iter().map(|&handle| file.syncobj(handle)).collect()
}

fn wait_for(
    objects: &[Arc<Syncobj>],
    points: &[u64],
    timeout: i64,
    flags: u32,
) -> Result<u32, c_int> {
    let waits: Vec<_> = objects
        .iter()
        .zip(points)
        .map(|(object, &point)| Wait { object, point })
        .collect();
    let over = || syncobj::look(&waits, flags);
    device()
        .hub
        .wait(deadline(timeout), over)
        .unwrap_or(Err(libc::ETIME))
}

/// DRM_IOCTL_SYNCOBJ_WAIT.
pub fn wait(file: &OpenFile, args: &mut SyncobjWait) -> Result<(), c_int> {
    let known = syncobj::WAIT_ALL | syncobj::WAIT_FOR_SUBMIT | WAIT_DEADLINE;
    if args.flags & !known != 0 {
        return Err(libc::EINVAL);
    }
    if args.count_handles == 0 {
        return Ok(());
    }
    let objects = objects(file, args.handles, args.count_handles)?;
    let points = vec![0; objects.len()];
    args.first_signaled = wait_for(&objects, &points, args.timeout_nsec, args.flags)?;
    Ok(())
}

/// DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT.
pub fn timeline_wait(file: &OpenFile, args: &mut SyncobjTimelineWait) -> Result<(), c_int> {
    let known =
        syncobj::WAIT_ALL | syncobj::WAIT_FOR_SUBMIT | syncobj::WAIT_AVAILABLE | WAIT_DEADLINE;
    if args.flags & !known != 0 {
        return Err(libc::EINVAL);
    }
    if args.count_handles == 0 {
        return Ok(());
    }
    let objects = objects(file, args.handles, args.count_handles)?;
    let points = points(args.points, args.count_handles)?;
    args.first_signaled = wait_for(&objects, &points, args.timeout_nsec, args.flags)?;
    Ok(())
}

/// Points may be left out, which means zero for all.
fn points(at: u64, count: u32) -> Result<Vec<u64>, c_int> {
    match at {
        0 => Ok(vec![0; count as usize]),
        _ => user::array(at, count),
    }
}

/// DRM_IOCTL_SYNCOBJ_RESET.
pub fn reset(file: &OpenFile, args: &mut SyncobjReset) -> Result<(), c_int> {
    if args.pad != 0 || args.count_handles == 0 {
        return Err(libc::EINVAL);
    }
    for object in objects(file, args.handles, args.count_handles)? {
        object.replace(None);
    }
    Ok(())
}

/// DRM_IOCTL_SYNCOBJ_SIGNAL.
pub fn signal(file: &OpenFile, args: &mut SyncobjSignal) -> Result<(), c_int> {
    if args.pad != 0 || args.count_handles == 0 {
        return Err(libc::EINVAL);
    }
    for object in objects(file, args.handles, args.count_handles)? {
        object.replace(Some(Fences::over()));
    }
    device().hub.touch();
    Ok(())
}

/// DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL.
pub fn timeline_signal(file: &OpenFile, args: &mut SyncobjTimelineSignal) -> Result<(), c_int> {
    if args.flags != 0 || args.count_handles == 0 {
        return Err(libc::EINVAL);
    }
    let objects = objects(file, args.handles, args.count_handles)?;
    let points = points(args.points, args.count_handles)?;
    for (object, point) in objects.iter().zip(points) {
        object.add(point, Fences::over());
    }
    device().hub.touch();
    Ok(())
}

/// DRM_IOCTL_SYNCOBJ_QUERY.
pub fn query(file: &OpenFile, args: &mut SyncobjQuery) -> Result<(), c_int> {
    if args.flags & !LAST_SUBMITTED != 0 || args.count_handles == 0 {
        return Err(libc::EINVAL);
    }
    let objects = objects(file, args.handles, args.count_handles)?;
    let points: Vec<u8> = objects
        .iter()
        .flat_map(|object| object.query(args.flags != 0).to_ne_bytes())
        .collect();
    user::copy_out(args.points, &points)
}

/// DRM_IOCTL_SYNCOBJ_TRANSFER.
pub fn transfer(file: &OpenFile, args: &mut SyncobjTransfer) -> Result<(), c_int> {
    if args.pad != 0 || args.flags & !syncobj::WAIT_FOR_SUBMIT != 0 {
        return Err(libc::EINVAL);
    }
    let to = file.syncobj(args.dst_handle)?;
    let from = file.syncobj(args.src_handle)?;
    let hub = &device().hub;
    let fences = match from.find(args.src_point) {
        Some(fences) => fences,
        None if args.flags == 0 => return Err(libc::EINVAL),
        None => hub
            .wait(None, || from.find(args.src_point))
            .ok_or(libc::EINVAL)?,
    };
    match args.dst_point {
        0 => to.replace(Some(fences)),
        point => to.add(point, fences),
    }
    hub.touch();
    Ok(())
}

/// DRM_IOCTL_SYNCOBJ_EVENTFD: a thread waits, and counts the event up.
pub fn eventfd(file: &OpenFile, args: &mut SyncobjEventfd) -> Result<(), c_int> {
    if args.pad != 0 || args.flags & !syncobj::WAIT_AVAILABLE != 0 {
        return Err(libc::EINVAL);
    }
    let object = file.syncobj(args.handle)?;
    // SAFETY: A new descriptor, which is ours.
    let event = unsafe {
        match libc::fcntl(args.fd, libc::F_DUPFD_CLOEXEC, 3) {
            fd @ 0.. => OwnedFd::from_raw_fd(fd),
            _ => return Err(libc::EBADF),
        }
    };
    let (point, flags) = (args.point, args.flags | syncobj::WAIT_FOR_SUBMIT);
    crate::queue::thread("agx-event", move || {
        let waits = [Wait {
            object: &object,
            point,
        }];
        device().hub.wait(None, || syncobj::look(&waits, flags));
        let one = 1u64.to_ne_bytes();
        // SAFETY: Eight bytes, as an eventfd wants them.
        unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    })
}
