// SPDX-License-Identifier: MIT OR Apache-2.0

//! An AGX inside a process.
//!
//! Preloaded in front of Mesa's `libasahi_noop_drm_shim.so`, which makes a render node appear where there is none, this
//! library answers what the node is asked: buffers are anonymous files, address spaces are maps of them, and submitted
//! jobs run on the GPU model before the ioctl returns. So every fence is signalled by the time it can be seen.
//!
//! A job that the model cannot run is reported on stderr, and the process ends with status 3 when it exits by itself.

mod bo;
mod capture;
mod cmdbuf;
mod device;
mod job;
mod pod;
mod submit;
mod sync;
mod uapi;
mod vm;

use device::DEVICE;
use libc::{c_int, c_ulong, c_void, off_t, size_t};
use std::sync::OnceLock;

type Ioctl = unsafe extern "C" fn(c_int, c_ulong, *mut c_void) -> c_int;
type Mmap = unsafe extern "C" fn(*mut c_void, size_t, c_int, c_int, c_int, off_t) -> *mut c_void;

/// The next definition of a C function in the order of libraries.
fn next(name: &std::ffi::CStr) -> *mut c_void {
    // SAFETY: The name is a C string; the answer is only used as the function that the name stands for.
    let symbol = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    assert!(!symbol.is_null(), "no next {name:?}");
    symbol
}

fn fail(errno: c_int) -> c_int {
    // SAFETY: errno is this thread's.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// Replaces libc's. It is variadic there; with one pointer the calling convention is the same on all supported hosts.
///
/// # Safety
///
/// As for `ioctl`: `argument` is what `request` wants.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    static NEXT: OnceLock<Ioctl> = OnceLock::new();
    let (kind, number) = (request >> 8 & 0xff, request & 0xff);
    // The library does not tell apart descriptors: a process that is given this GPU has no other.
    let answer = match kind as u8 {
        b'd' => DEVICE.drm(number as u32, argument),
        b'b' => sync::dma_buf(number as u32, argument),
        b'>' => sync::file(number as u32, argument),
        _ => None,
    };
    match answer {
        Some(Ok(())) => 0,
        Some(Err(errno)) => fail(errno),
        None => {
            // SAFETY: The symbol is the function of this name and type.
            let next = NEXT.get_or_init(|| unsafe { std::mem::transmute(next(c"ioctl")) });
            // SAFETY: Passed on as it came.
            unsafe { next(fd, request, argument) }
        }
    }
}

/// Replaces libc's, for the offsets that stand for buffers.
///
/// # Safety
///
/// As for `mmap`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap(
    address: *mut c_void,
    length: size_t,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: off_t,
) -> *mut c_void {
    static NEXT: OnceLock<Mmap> = OnceLock::new();
    // SAFETY: The symbol is the function of this name and type.
    let next = NEXT.get_or_init(|| unsafe { std::mem::transmute(next(c"mmap")) });
    let bo = match flags & libc::MAP_ANONYMOUS {
        0 => DEVICE.bo_at_offset(offset),
        _ => None,
    };
    match bo {
        // SAFETY: A mapping of the buffer's file instead, else as the caller wants it.
        Some((bo, start)) => unsafe { next(address, length, protection, flags, bo.fd(), start) },
        // SAFETY: Passed on as it came.
        None => unsafe { next(address, length, protection, flags, fd, offset) },
    }
}

/// The same function by the name that large-file builds use.
///
/// # Safety
///
/// As for `mmap`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap64(
    address: *mut c_void,
    length: size_t,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: off_t,
) -> *mut c_void {
    // SAFETY: The same contract; off_t has 64 bits on all supported hosts.
    unsafe { mmap(address, length, protection, flags, fd, offset) }
}
