// SPDX-License-Identifier: MIT OR Apache-2.0

//! Buffers: anonymous files, mapped once for the GPU.

use libc::c_int;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// A buffer.
pub struct Bo {
    file: OwnedFd,
    at: NonNull<u8>,
    size: u64,
}

// SAFETY: The mapping belongs to the buffer and is reached through raw pointers only.
unsafe impl Send for Bo {}
// SAFETY: As above.
unsafe impl Sync for Bo {}

impl Bo {
    /// A buffer of zeroes.
    pub fn new(size: u64) -> Result<Bo, c_int> {
        // SAFETY: The name is a C string.
        let fd = unsafe { libc::memfd_create(c"agx".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(libc::ENOMEM);
        }
        // SAFETY: A new descriptor that nobody else owns.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: A descriptor of ours.
        if unsafe { libc::ftruncate(fd, size as libc::off_t) } != 0 {
            return Err(libc::ENOMEM);
        }
        Bo::map(file, size)
    }

    /// A buffer that somebody else made.
    pub fn import(fd: c_int) -> Result<Bo, c_int> {
        // SAFETY: Duplicating whatever it is; the result is checked.
        let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
        if copy < 0 {
            return Err(libc::EBADF);
        }
        // SAFETY: A new descriptor that nobody else owns.
        let file = unsafe { OwnedFd::from_raw_fd(copy) };
        // SAFETY: A descriptor of ours.
        let size = unsafe { libc::lseek(copy, 0, libc::SEEK_END) };
        if size <= 0 {
            return Err(libc::EINVAL);
        }
        Bo::map(file, size as u64)
    }

    fn map(file: OwnedFd, size: u64) -> Result<Bo, c_int> {
        // SAFETY: A new mapping of a file of ours.
        let at = unsafe {
            crate::mmap(
                std::ptr::null_mut(),
                size as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(libc::ENOMEM);
        }
        let at = NonNull::new(at.cast()).ok_or(libc::ENOMEM)?;
        Ok(Bo { file, at, size })
    }

    pub fn fd(&self) -> c_int {
        self.file.as_raw_fd()
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where `offset` is in this process.
    pub fn host(&self, offset: u64) -> Option<NonNull<u8>> {
        if offset >= self.size {
            return None;
        }
        // SAFETY: Inside the mapping.
        Some(unsafe { self.at.add(offset as usize) })
    }

    /// What tells the buffer's file from others.
    pub fn inode(fd: c_int) -> Option<(u64, u64)> {
        // SAFETY: All zeroes is a valid `stat`.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: `stat` is valid for writing.
        (unsafe { libc::fstat(fd, &mut stat) } == 0).then_some((stat.st_dev, stat.st_ino))
    }
}

impl Drop for Bo {
    fn drop(&mut self) {
        // SAFETY: The mapping is this buffer's, and nothing points into it any more.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.size as usize) };
    }
}
