// SPDX-License-Identifier: MIT OR Apache-2.0

//! The functions that this library replaces, as the libraries behind it have them.

use libc::{c_char, c_int, c_ulong, c_void, off_t, size_t};
use std::ffi::CStr;
use std::sync::OnceLock;

/// The next definition of a C function in the order of libraries.
fn find(name: &CStr) -> *mut c_void {
    // SAFETY: The name is a C string; the answer is only used as the function that the name stands for.
    let symbol = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    assert!(!symbol.is_null(), "no next {name:?}");
    symbol
}

macro_rules! next {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {$(
        /// # Safety
        ///
        /// As for libc's function of this name.
        pub unsafe fn $name($($arg: $type),*) -> $result {
            type Function = unsafe extern "C" fn($($type),*) -> $result;
            static NEXT: OnceLock<Function> = OnceLock::new();
            let name = concat!(stringify!($name), "\0");
            let next = NEXT.get_or_init(|| {
                let name = CStr::from_bytes_with_nul(name.as_bytes()).unwrap_or_default();
                // SAFETY: The symbol is the function of this name and type. Those that are variadic take their
                // arguments as others do, with one of them and on all supported hosts.
                unsafe { std::mem::transmute::<*mut c_void, Function>(find(name)) }
            });
            // SAFETY: Passed on as it came.
            unsafe { next($($arg),*) }
        }
    )*};
}

next! {
    ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int;
    mmap(at: *mut c_void, len: size_t, prot: c_int, flags: c_int, fd: c_int, offset: off_t) -> *mut c_void;
    open(path: *const c_char, flags: c_int, mode: c_int) -> c_int;
    open64(path: *const c_char, flags: c_int, mode: c_int) -> c_int;
    openat(dir: c_int, path: *const c_char, flags: c_int, mode: c_int) -> c_int;
    openat64(dir: c_int, path: *const c_char, flags: c_int, mode: c_int) -> c_int;
    close(fd: c_int) -> c_int;
}
