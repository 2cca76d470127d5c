// SPDX-License-Identifier: MIT OR Apache-2.0

//! An AGX inside a process.
//!
//! Preloaded in front of Mesa's `libasahi_noop_drm_shim.so`, which makes a render node appear where there is none, this
//! library answers what the node is asked, as the kernel's driver would: objects are anonymous files, address spaces
//! are page tables of them, and what is submitted runs on the GPU model, on a thread for each queue.
//!
//! Clients that need no more than the node itself, such as the tests of the interface, do without that library.
//!
//! A job that the model cannot run is reported on stderr, and the process ends with status 3 when it exits by itself.
//!
//! # Where it differs from the driver
//!
//! - A process that is forked does not share its parent's objects. It may open the node and have its own.
//! - Fences of dma-bufs: who attaches one waits for it, so that dma-bufs cannot be polled for them.
//! - Sync objects themselves (not sync files) are known only to the process that exported them.
//! - There is no time limit for jobs.

mod bo;
mod capture;
mod cmdbuf;
mod device;
mod dmabuf;
mod fence;
mod file;
mod ioctl;
mod job;
mod next;
mod node;
mod pod;
mod profile;
mod queue;
mod report;
mod syncfile;
mod syncobj;
mod uapi;
mod user;
mod vm;

use device::device;
use libc::{c_char, c_int, c_ulong, c_void, off_t, size_t};

fn errno(value: c_int) {
    // SAFETY: errno is this thread's.
    unsafe { *libc::__errno_location() = value };
}

/// Answers a request, or leaves it to whom it is for.
fn answer(fd: c_int, request: u32, argument: u64) -> Option<Result<(), c_int>> {
    let number = request & 0xff;
    match (request >> 8) as u8 {
        b'd' => {
            let file = device().nodes.get(fd)?;
            Some(ioctl::drm(&file, request, argument))
        }
        b'b' => bo::is_buffer(fd).then(|| dmabuf::ioctl(&device().hub, number, argument)),
        b'>' => syncfile::ioctl(&device().hub, fd, number, argument),
        _ => None,
    }
}

/// Replaces libc's. It is variadic there; with one pointer the calling convention is the same on all supported hosts.
///
/// # Safety
///
/// As for `ioctl`: `argument` is what `request` wants.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    match answer(fd, request as u32, argument as u64) {
        Some(Ok(())) => 0,
        Some(Err(error)) => {
            errno(error);
            -1
        }
        // SAFETY: Passed on as it came.
        None => unsafe { next::ioctl(fd, request, argument) },
    }
}

/// Replaces libc's, for the offsets that stand for objects.
///
/// # Safety
///
/// As for `mmap`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap(
    at: *mut c_void,
    len: size_t,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    offset: off_t,
) -> *mut c_void {
    let file = match flags & libc::MAP_ANONYMOUS {
        0 if device::exists() => device().nodes.get(fd),
        _ => None,
    };
    let Some(file) = file else {
        // SAFETY: Passed on as it came.
        return unsafe { next::mmap(at, len, prot, flags, fd, offset) };
    };
    if flags & libc::MAP_TYPE == libc::MAP_PRIVATE {
        errno(libc::EINVAL);
        return libc::MAP_FAILED;
    }
    match file::objects::at_offset(&file, offset as u64, len) {
        // SAFETY: A mapping of the object's file instead, else as the caller wants it.
        Ok(bo) => unsafe { next::mmap(at, len, prot, flags, bo.fd(), 0) },
        Err(error) => {
            errno(error);
            libc::MAP_FAILED
        }
    }
}

/// The same function by the name that large-file builds use.
///
/// # Safety
///
/// As for `mmap`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap64(
    at: *mut c_void,
    len: size_t,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    offset: off_t,
) -> *mut c_void {
    // SAFETY: The same contract; off_t has 64 bits on all supported hosts.
    unsafe { mmap(at, len, prot, flags, fd, offset) }
}

macro_rules! opens {
    ($($name:ident($($dir:ident)?);)*) => {$(
        /// Replaces libc's, to take notice of the render node. It is variadic there, as `ioctl` is.
        ///
        /// # Safety
        ///
        /// As for `open`.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($dir: c_int,)? path: *const c_char, flags: c_int, mode: c_int) -> c_int {
            // SAFETY: Passed on as it came.
            let fd = unsafe { next::$name($($dir,)? path, flags, mode) };
            // SAFETY: The path is null or a C string, or the call would have crashed.
            match unsafe { node::kind(path) } {
                Some(_) if fd >= 0 => device().nodes.opened(fd, flags),
                Some(node::Kind::First) => device().nodes.open(flags).unwrap_or(fd),
                _ => fd,
            }
        }
    )*};
}

opens! {
    open();
    open64();
    openat(dir);
    openat64(dir);
}

/// Replaces libc's, to take notice of files of the node that nobody has any more.
///
/// # Safety
///
/// As for `close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    let identity = match device::exists() {
        true => node::inode(fd).filter(|identity| device().nodes.has(*identity)),
        false => None,
    };
    // SAFETY: Passed on as it came.
    let result = unsafe { next::close(fd) };
    if let Some(identity) = identity {
        device().nodes.closed(identity);
    }
    result
}
