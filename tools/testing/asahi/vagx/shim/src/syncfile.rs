// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sync files: a fence as a descriptor, which can be polled and given to another process.
//!
//! A sync file is one end of a pair of sockets. When the fence is over, as many bytes are sent as tell how, and the
//! other end is closed: that wakes whoever polls, in any process, and the status can be read without taking it away. A
//! process that dies closes its ends too; what it had promised is then over with an error.

use crate::fence::{Fence, Fences, Hub, Pending};
use libc::c_int;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;

/// The largest error number that can be told.
const MAX_ERROR: i32 = 4095;

/// Makes a sync file of fences.
pub fn export(hub: &Hub, fences: Fences) -> Result<c_int, c_int> {
    let mut ends = [0; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: There is room for two descriptors, which are ours then.
    let [file, end] = unsafe {
        if libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) != 0 {
            return Err(libc::EMFILE);
        }
        ends.map(|fd| OwnedFd::from_raw_fd(fd))
    };
    let inode = crate::node::stat(file.as_raw_fd())
        .ok_or(libc::EBADF)?
        .st_ino;
    let mut pending = hub.lock();
    match fences.status() {
        0 => {
            pending.insert(inode, Pending { end, fences });
        }
        status => finish(&end, status),
    }
    Ok(file.into_raw_fd())
}

/// Tells the other end how it ended; the caller closes this one.
pub fn finish(end: &OwnedFd, status: i32) {
    let count = match status {
        1 => 1,
        error => 1 + error.unsigned_abs().min(MAX_ERROR as u32) as usize,
    };
    let bytes = [0u8; 2 + MAX_ERROR as usize];
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: `count` bytes are there. That nobody is left who listens is no error.
    unsafe { libc::send(end.as_raw_fd(), bytes.as_ptr().cast(), count, flags) };
}

/// What a descriptor says of its fence: 0 for nothing yet, 1 for done, negative for an error.
fn status(fd: c_int) -> Result<i32, c_int> {
    let stat = crate::node::stat(fd).ok_or(libc::EINVAL)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFSOCK {
        return Err(libc::EINVAL);
    }
    // The end may have been closed between the two looks; then what was sent is there at the second.
    let over = poll(fd, 0);
    let mut count: c_int = 0;
    // SAFETY: The kernel writes an int. The system call is made without the library's function, which is this
    // library's.
    let result = unsafe { libc::syscall(libc::SYS_ioctl, fd, libc::FIONREAD, &mut count) };
    match (result, count, over) {
        (0, 0, false) => Ok(0),
        (0, 0, true) => Ok(-libc::ECANCELED),
        (0, 1, _) => Ok(1),
        (0, more, _) => Ok(1 - more),
        _ => Err(libc::EINVAL),
    }
}

/// Whether the descriptor tells something within so many milliseconds; negative is for ever.
fn poll(fd: c_int, timeout: c_int) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: One valid descriptor to poll.
    unsafe { libc::poll(&mut poll, 1, timeout) > 0 }
}

/// The fences behind a sync file, which may be another process's.
pub fn import(hub: &Arc<Hub>, fd: c_int) -> Result<Fences, c_int> {
    let now = status(fd)?;
    if now != 0 {
        return Ok(Fences::one(Fence::over(now)));
    }
    let inode = crate::node::stat(fd).ok_or(libc::EINVAL)?.st_ino;
    if let Some(known) = hub.lock().get(&inode) {
        return Ok(known.fences.clone());
    }
    // SAFETY: A new descriptor, which is ours.
    let copy = unsafe {
        match libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) {
            copy @ 0.. => OwnedFd::from_raw_fd(copy),
            _ => return Err(libc::EMFILE),
        }
    };
    let fence = Arc::<Fence>::default();
    let (promise, hub) = (fence.clone(), hub.clone());
    crate::queue::thread("agx-fence", move || {
        while !poll(copy.as_raw_fd(), -1) {}
        hub.signal(&promise, status(copy.as_raw_fd()).unwrap_or(-libc::EINVAL));
    })?;
    Ok(Fences::one(fence))
}

/// What an ioctl of a sync file is given (`include/uapi/linux/sync_file.h`).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Merge {
    name: [u8; 32],
    fd2: i32,
    fence: i32,
    flags: u32,
    pad: u32,
}

// SAFETY: Integers without padding.
unsafe impl crate::pod::Pod for Merge {}

/// Answers what a sync file is asked, if it is one.
pub fn ioctl(hub: &Arc<Hub>, fd: c_int, number: u32, argument: u64) -> Option<Result<(), c_int>> {
    let now = status(fd).ok()?;
    Some(match number {
        3 => merge(hub, fd, argument),
        4 => info(now, argument),
        // A deadline is a hint.
        5 => Ok(()),
        _ => Err(libc::ENOTTY),
    })
}

fn merge(hub: &Arc<Hub>, fd: c_int, argument: u64) -> Result<(), c_int> {
    let mut args: Merge = crate::user::read(argument)?;
    if args.flags != 0 || args.pad != 0 {
        return Err(libc::EINVAL);
    }
    let mut both = import(hub, fd)?;
    both.extend(&import(hub, args.fd2).map_err(|_| libc::ENOENT)?);
    args.fence = export(hub, both)?;
    crate::user::write(argument, &args)
}

fn info(status: i32, argument: u64) -> Result<(), c_int> {
    let mut args: asahi_uapi::SyncFileInfo = crate::user::read(argument)?;
    if args.flags != 0 || args.pad != 0 {
        return Err(libc::EINVAL);
    }
    args.name = [0; 32];
    args.name[..3].copy_from_slice(b"agx");
    args.status = status;
    // Details of the one fence, if there is room for them.
    if args.num_fences != 0 {
        let mut details = [0u8; 80];
        details[..3].copy_from_slice(b"agx");
        details[32..35].copy_from_slice(b"agx");
        details[64..68].copy_from_slice(&status.to_le_bytes());
        crate::user::copy_out(args.sync_fence_info, &details)?;
    }
    args.num_fences = 1;
    crate::user::write(argument, &args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_how_it_ended() {
        let hub = Arc::<Hub>::default();
        for (end, seen) in [(1, 1), (-libc::EIO, -libc::EIO)] {
            let fence = Arc::<Fence>::default();
            let fd = export(&hub, Fences::one(fence.clone())).unwrap();
            assert_eq!(status(fd), Ok(0));
            let back = import(&hub, fd).unwrap();
            hub.signal(&fence, end);
            assert_eq!((status(fd), back.status()), (Ok(seen), seen));
            // It can be asked again.
            assert_eq!(import(&hub, fd).unwrap().status(), seen);
            // SAFETY: The descriptor is ours.
            unsafe { libc::close(fd) };
        }
    }

    #[test]
    fn of_another_process() {
        let (here, there) = (Arc::<Hub>::default(), Arc::<Hub>::default());
        let fence = Arc::<Fence>::default();
        let fd = export(&there, Fences::one(fence.clone())).unwrap();
        let seen = import(&here, fd).unwrap();
        assert_eq!(seen.status(), 0);
        there.signal(&fence, 1);
        assert_eq!(
            here.wait(None, || Some(seen.status()).filter(|s| *s != 0)),
            Some(1)
        );
        // SAFETY: The descriptor is ours.
        unsafe { libc::close(fd) };
    }
}
