// SPDX-License-Identifier: MIT OR Apache-2.0

//! Buffer objects: anonymous files, mapped once for the GPU.
//!
//! The same file is what is exported as a dma-buf. So another process maps the same memory when it is given the
//! descriptor, and its own shim finds in it an object to import.

use libc::c_int;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Once;

/// What the files are called, which is how one of another process is known.
const NAME: &std::ffi::CStr = c"agx-bo";
const LINK: &[u8] = b"/memfd:agx-bo";
/// What the kernel calls a dma-buf of a real device.
const DMA_BUF: &[u8] = b"/dmabuf:";

/// A buffer object.
pub struct Bo {
    file: OwnedFd,
    at: NonNull<u8>,
    size: u64,
    private_to: Option<u64>,
}

// SAFETY: The mapping belongs to the object and is reached through raw pointers only.
unsafe impl Send for Bo {}
// SAFETY: As above.
unsafe impl Sync for Bo {}

impl Bo {
    /// An object of zeroes, which may belong to one address space.
    pub fn new(size: u64, private_to: Option<u64>) -> Result<Bo, c_int> {
        // SAFETY: The name is a C string.
        let fd = unsafe { libc::memfd_create(NAME.as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(libc::ENOMEM);
        }
        // SAFETY: A new descriptor that nobody else owns.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        let file = aside(file);
        let fd = file.as_raw_fd();
        // SAFETY: A descriptor of ours.
        if unsafe { libc::ftruncate(fd, size as libc::off_t) } != 0 {
            return Err(libc::ENOMEM);
        }
        Bo::map(file, size, private_to)
    }

    /// An object of somebody else's memory. What a descriptor may do is for whoever maps it; the GPU may always write.
    pub fn import(fd: c_int) -> Result<Bo, c_int> {
        let copy = match link(fd).as_slice() {
            name if name.starts_with(LINK) => reopen(fd, libc::O_CLOEXEC | libc::O_RDWR)?,
            name if name.starts_with(DMA_BUF) => {
                // SAFETY: Duplicating a descriptor that is open; the result is checked.
                match unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) } {
                    copy @ 0.. => copy,
                    _ => return Err(libc::EMFILE),
                }
            }
            _ => return Err(libc::EINVAL),
        };
        // SAFETY: A new descriptor that nobody else owns.
        let file = aside(unsafe { OwnedFd::from_raw_fd(copy) });
        // SAFETY: A descriptor of ours.
        let size = unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_END) };
        if size <= 0 {
            return Err(libc::EINVAL);
        }
        Bo::map(file, size as u64, None)
    }

    fn map(file: OwnedFd, size: u64, private_to: Option<u64>) -> Result<Bo, c_int> {
        // SAFETY: A new mapping of a file of ours.
        let at = unsafe {
            crate::next::mmap(
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
        Ok(Bo {
            file,
            at,
            size,
            private_to,
        })
    }

    pub fn fd(&self) -> c_int {
        self.file.as_raw_fd()
    }

    /// What tells the object's memory from others.
    pub fn inode(&self) -> Option<(u64, u64)> {
        crate::node::inode(self.fd())
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// The address space that it may not leave.
    pub fn private_to(&self) -> Option<u64> {
        self.private_to
    }

    /// Where `offset` is in this process.
    pub fn host(&self, offset: u64) -> Option<NonNull<u8>> {
        if offset >= self.size {
            return None;
        }
        // SAFETY: Inside the mapping.
        Some(unsafe { self.at.add(offset as usize) })
    }

    /// A descriptor of its own for whoever is to share the memory.
    pub fn export(&self, flags: u32) -> Result<c_int, c_int> {
        let known = (libc::O_CLOEXEC | libc::O_RDWR) as u32;
        if flags & !known != 0 || self.private_to.is_some() {
            return Err(libc::EINVAL);
        }
        reopen(self.fd(), flags as c_int)
    }
}

/// Opens the file of a descriptor once more.
fn reopen(fd: c_int, flags: c_int) -> Result<c_int, c_int> {
    let path = format!("/proc/self/fd/{fd}\0");
    // SAFETY: The path ends with a zero. The call is made without the library's function, which others replace.
    let fd = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags) };
    c_int::try_from(fd)
        .ok()
        .filter(|fd| *fd >= 0)
        .ok_or(libc::EMFILE)
}

/// Moves a descriptor out of the way of the client's own, which it may use with select(2). There is one for each
/// object, so that the process's limit is raised, too.
fn aside(file: OwnedFd) -> OwnedFd {
    const LOWEST: c_int = 1024;
    const MANY: libc::rlim_t = 1 << 17;
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: The structure is valid for both calls.
        unsafe {
            let mut limit: libc::rlimit = std::mem::zeroed();
            libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
            if limit.rlim_cur < MANY {
                limit.rlim_cur = MANY.min(limit.rlim_max);
                libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
            }
        }
    });
    // SAFETY: A descriptor of ours; the result is checked.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, LOWEST) } {
        // SAFETY: A new descriptor that nobody else owns.
        fd @ 0.. => unsafe { OwnedFd::from_raw_fd(fd) },
        _ => file,
    }
}

/// Whether a descriptor is that of an object, of this process or another, or of a real device's memory.
pub fn is_buffer(fd: c_int) -> bool {
    let link = link(fd);
    link.starts_with(LINK) || link.starts_with(DMA_BUF)
}

/// What the kernel calls the file of a descriptor, as far as is needed to tell the kind.
fn link(fd: c_int) -> Vec<u8> {
    let path = format!("/proc/self/fd/{fd}\0");
    let mut link = [0u8; 64];
    // SAFETY: The path ends with a zero, and there is room for so many bytes.
    let len = unsafe {
        libc::syscall(
            libc::SYS_readlinkat,
            libc::AT_FDCWD,
            path.as_ptr(),
            link.as_mut_ptr(),
            link.len(),
        )
    };
    link.get(..len.max(0) as usize).unwrap_or_default().to_vec()
}

impl Drop for Bo {
    fn drop(&mut self) {
        // SAFETY: The mapping is this object's, and nothing points into it any more.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.size as usize) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As when the exporter has closed its own while the importer was at work.
    #[test]
    fn a_read_only_descriptor_is_an_object_to_write() {
        let bo = Bo::new(0x4000, None).unwrap();
        let fd = bo.export(libc::O_CLOEXEC as u32).unwrap();
        drop(bo);
        let imported = Bo::import(fd).unwrap();
        assert_eq!(imported.size(), 0x4000);
        // SAFETY: Nobody else has this mapping, and the descriptor is ours.
        unsafe {
            imported.host(0).unwrap().write(1);
            libc::close(fd);
        }
        assert_eq!(Bo::import(0).err(), Some(libc::EINVAL));
    }
}
