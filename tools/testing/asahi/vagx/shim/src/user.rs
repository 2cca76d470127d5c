// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a client points to, read and written as the kernel does it: an address that is none is an error.

use crate::pod::Pod;
use libc::{c_int, c_void};
use std::cell::Cell;
use std::ops::Range;

/// Where the stack of the thread that runs is; empty if that is not known.
fn stack() -> Range<usize> {
    thread_local! {
        static STACK: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
    }
    let find = || {
        // SAFETY: The attributes are filled before they are asked, and destroyed afterwards.
        unsafe {
            let mut attributes = std::mem::zeroed();
            if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) != 0 {
                return (0, 0);
            }
            let (mut start, mut size) = (std::ptr::null_mut(), 0);
            let result = libc::pthread_attr_getstack(&attributes, &mut start, &mut size);
            libc::pthread_attr_destroy(&mut attributes);
            match result {
                0 => (start as usize, start as usize + size),
                _ => (0, 0),
            }
        }
    };
    let (start, end) = STACK.get().unwrap_or_else(|| {
        let found = find();
        STACK.set(Some(found));
        found
    });
    start..end
}

/// Whether bytes are on the stack of the thread that runs, in what its functions use: most structures of clients are.
fn on_stack(at: u64, len: usize) -> bool {
    let (mark, stack) = (0u8, stack());
    let here = &raw const mark as usize;
    // A thread may run on a stack that is not its own.
    let Some(left) = stack.end.checked_sub(at as usize) else {
        return false;
    };
    stack.contains(&here) && here < at as usize && len <= left
}

/// Copies without the kernel's help.
///
/// # Safety
///
/// Both are valid for `len` bytes.
unsafe fn copy(local: *mut u8, remote: u64, len: usize, write: bool) {
    let remote = remote as *mut u8;
    let (from, to) = if write {
        (local, remote)
    } else {
        (remote, local)
    };
    // SAFETY: The caller says so.
    unsafe { std::ptr::copy(from, to, len) };
}

fn transfer(local: *mut u8, remote: u64, len: usize, write: bool) -> Result<(), c_int> {
    if len == 0 {
        return Ok(());
    }
    if on_stack(remote, len) {
        // SAFETY: `local` is valid for `len` bytes by this function's callers, and not on the stack of the client's
        // functions. That stack is there from here to its end.
        unsafe { copy(local, remote, len, write) };
        return Ok(());
    }
    let here = libc::iovec {
        iov_base: local.cast(),
        iov_len: len,
    };
    let there = libc::iovec {
        iov_base: remote as *mut c_void,
        iov_len: len,
    };
    // SAFETY: `local` is valid for `len` bytes by this function's callers; the other address is checked by the kernel.
    let done = unsafe {
        let me = crate::device::device().process;
        if write {
            libc::process_vm_writev(me, &here, 1, &there, 1, 0)
        } else {
            libc::process_vm_readv(me, &here, 1, &there, 1, 0)
        }
    };
    if done == len as isize {
        return Ok(());
    }
    // Sandboxes may forbid these calls. A client in one is believed.
    let errno = std::io::Error::last_os_error().raw_os_error();
    if done < 0 && matches!(errno, Some(libc::EPERM | libc::ENOSYS)) && remote != 0 {
        // SAFETY: The client says that it is valid for `len` bytes.
        unsafe { copy(local, remote, len, write) };
        return Ok(());
    }
    Err(libc::EFAULT)
}

/// Reads bytes.
pub fn copy_in(from: u64, to: &mut [u8]) -> Result<(), c_int> {
    transfer(to.as_mut_ptr(), from, to.len(), false)
}

/// Writes bytes.
pub fn copy_out(to: u64, from: &[u8]) -> Result<(), c_int> {
    transfer(from.as_ptr().cast_mut(), to, from.len(), true)
}

/// Reads a structure.
pub fn read<T: Pod>(from: u64) -> Result<T, c_int> {
    let mut value = T::zero();
    copy_in(from, value.bytes_mut())?;
    Ok(value)
}

/// Writes a structure.
pub fn write<T: Pod>(to: u64, value: &T) -> Result<(), c_int> {
    copy_out(to, value.bytes())
}

/// Reads an array. The caller bounds `count`.
pub fn array<T: Pod>(from: u64, count: u32) -> Result<Vec<T>, c_int> {
    let mut values = vec![T::zero(); count as usize];
    let bytes = size_of::<T>() * values.len();
    transfer(values.as_mut_ptr().cast(), from, bytes, false)?;
    Ok(values)
}

/// Reads one element of an array whose elements have another size in the client's view of the interface.
pub fn element<T: Pod>(from: u64, size: usize) -> Result<T, c_int> {
    let mut bytes = [0; 256];
    if let Some(bytes) = bytes.get_mut(..size) {
        copy_in(from, bytes)?;
        return T::extended(bytes);
    }
    let mut bytes = vec![0; size];
    copy_in(from, &mut bytes)?;
    T::extended(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_addresses_are_errors() {
        let mut buffer = [0; 4];
        assert_eq!(copy_in(8, &mut buffer), Err(libc::EFAULT));
        assert_eq!(copy_out(8, &buffer), Err(libc::EFAULT));
        assert_eq!(copy_in(8, &mut []), Ok(()));
        // On the stack, and elsewhere.
        let source = 0x1234_5678u32.to_le_bytes();
        for source in [&source, &*Box::new(source)] {
            assert_eq!(copy_in(source.as_ptr() as u64, &mut buffer), Ok(()));
            assert_eq!(&buffer, source);
            buffer = [0; 4];
        }
        let end = stack().end;
        assert!(on_stack(end as u64 - 1, 1) && !on_stack(end as u64 - 1, 2));
        assert!(!on_stack(stack().start as u64, 1));
    }
}
