// SPDX-License-Identifier: MIT OR Apache-2.0

//! The guest's RAM, as QEMU lends it by DMA_MAP.
//!
//! Each file is mapped once and stays mapped until the process ends, however often QEMU takes its
//! ranges away and gives them again while the guest boots: a page that a worker is just using
//! stays good memory. A range that the guest cannot write, or that comes without a file, is not
//! RAM here.

use std::os::fd::OwnedFd;
use std::ptr::{self, NonNull};
use std::sync::{PoisonError, RwLock};

use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap};
use vagx_uat::{PhysMem, Run};

use crate::vfio::DmaMap;

/// A file of the client, mapped whole.
struct File {
    device: u64,
    inode: u64,
    ptr: NonNull<u8>,
    len: u64,
}

/// A range of physical addresses.
struct Window {
    address: u64,
    size: u64,
    /// First byte in this process, for RAM.
    ptr: Option<NonNull<u8>>,
}

#[derive(Default)]
struct Maps {
    files: Vec<File>,
    windows: Vec<Window>,
}

// SAFETY: The pointers are to shared file mappings that are never unmapped, reached only by the
// raw copies and atomics of `PhysMem`.
unsafe impl Send for Maps {}
// SAFETY: As above.
unsafe impl Sync for Maps {}

/// The guest's physical memory.
#[derive(Default)]
pub struct GuestRam {
    maps: RwLock<Maps>,
}

impl Maps {
    /// Where `offset` of `fd` stands in this process, with `size` bytes behind it.
    fn place(&mut self, fd: &OwnedFd, offset: u64, size: u64) -> Result<NonNull<u8>, Errno> {
        let stat = fstat(fd)?;
        let (device, inode) = (stat.st_dev, stat.st_ino);
        let len = u64::try_from(stat.st_size).map_err(|_| Errno::INVAL)?;
        if offset.checked_add(size).is_none_or(|end| end > len) {
            return Err(Errno::INVAL);
        }
        let known = self
            .files
            .iter()
            .find(|f| (f.device, f.inode) == (device, inode) && f.len >= offset + size);
        let base = match known {
            Some(f) => f.ptr,
            None => {
                let bytes = usize::try_from(len).map_err(|_| Errno::NOMEM)?;
                let flags = MapFlags::SHARED | MapFlags::NORESERVE;
                // SAFETY: A new mapping at an address of the kernel's choice.
                let ptr = unsafe {
                    mmap(
                        ptr::null_mut(),
                        bytes,
                        ProtFlags::READ | ProtFlags::WRITE,
                        flags,
                        fd,
                        0,
                    )?
                };
                let ptr = NonNull::new(ptr.cast()).ok_or(Errno::NOMEM)?;
                self.files.push(File {
                    device,
                    inode,
                    ptr,
                    len,
                });
                ptr
            }
        };
        // SAFETY: `offset` is inside the mapping, which is `len` bytes long.
        Ok(unsafe { base.add(offset as usize) })
    }
}

impl GuestRam {
    /// Adds a range.
    pub fn map(&self, map: &DmaMap) -> Result<(), Errno> {
        let mut maps = self.maps.write().unwrap_or_else(PoisonError::into_inner);
        let end = map.address + map.size;
        let overlaps = |w: &Window| w.address < end && map.address < w.address + w.size;
        if maps.windows.iter().any(overlaps) {
            return Err(Errno::EXIST);
        }
        let ptr = match &map.file {
            Some(fd) if map.writable => Some(maps.place(fd, map.offset, map.size)?),
            _ => None,
        };
        maps.windows.push(Window {
            address: map.address,
            size: map.size,
            ptr,
        });
        Ok(())
    }

    /// Takes away the ranges inside `address..address + size`; one that sticks out stays.
    pub fn unmap(&self, address: u64, size: u64) -> Result<u64, Errno> {
        let inside = |w: &Window| w.address >= address && w.address + w.size <= address + size;
        match self.remove(inside) {
            0 => Err(Errno::NOENT),
            gone => Ok(gone),
        }
    }

    /// Takes away everything.
    pub fn unmap_all(&self) -> u64 {
        self.remove(|_| true)
    }

    fn remove(&self, which: impl Fn(&Window) -> bool) -> u64 {
        let mut maps = self.maps.write().unwrap_or_else(PoisonError::into_inner);
        let mut gone = 0;
        maps.windows.retain(|w| {
            let go = which(w);
            gone += if go { w.size } else { 0 };
            !go
        });
        gone
    }
}

// SAFETY: A run points into a file mapping that is never unmapped, at the place that belongs to
// its address; windows are page-aligned in memory and in the file, and QEMU aligns RAM blocks to
// far more than 16 KiB on both sides.
unsafe impl PhysMem for GuestRam {
    fn run(&self, pa: u64) -> Option<Run> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        let w = maps
            .windows
            .iter()
            .find(|w| pa >= w.address && pa - w.address < w.size)?;
        let off = pa - w.address;
        Some(Run {
            // SAFETY: `off` is inside the window, which is inside the mapping.
            ptr: unsafe { w.ptr?.add(off as usize) },
            len: (w.size - off) as usize,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    fn file(size: u64) -> OwnedFd {
        let fd = memfd_create("ram", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, size).unwrap();
        fd
    }

    fn map(fd: Option<&OwnedFd>, address: u64, size: u64, offset: u64) -> DmaMap {
        DmaMap {
            address,
            size,
            offset,
            writable: true,
            file: fd.map(|f| f.try_clone().unwrap()),
        }
    }

    #[test]
    fn ranges_of_one_file() {
        let ram = GuestRam::default();
        let fd = file(0x4_0000);
        ram.map(&map(Some(&fd), 0x4000_0000, 0x1_0000, 0)).unwrap();
        ram.map(&map(Some(&fd), 0x4001_0000, 0x3_0000, 0x1_0000))
            .unwrap();
        // An access over the edge of two maps.
        ram.write(0x4000_fffc, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        assert_eq!(ram.read_u64(0x4000_fffc), Ok(0x0807_0605_0403_0201));
        let mut b = [0; 2];
        rustix::io::pread(&fd, &mut b, 0xffff).unwrap();
        assert_eq!(b, [4, 5]);
        assert!(ram.host(0x4000_fffc, 8).is_none());
        assert!(ram.read_u32(0x4003_fffe).is_err());
        // A page in use outlives its map; the address does not.
        let page = ram.host(0x4001_0000, 0x4000).unwrap();
        assert_eq!(ram.unmap(0x4001_0000, 0x3_0000), Ok(0x3_0000));
        assert!(ram.read_u32(0x4001_0000).is_err());
        // SAFETY: The mapping is never unmapped.
        assert_eq!(unsafe { page.read() }, 5);
        // Given again, elsewhere.
        ram.map(&map(Some(&fd), 0x8000_0000, 0x1_0000, 0x1_0000))
            .unwrap();
        assert_eq!(ram.read_u8(0x8000_0000), Ok(5));
        assert_eq!(ram.unmap_all(), 0x2_0000);
        assert!(ram.read_u8(0x8000_0000).is_err());
    }

    #[test]
    fn what_is_not_ram() {
        let ram = GuestRam::default();
        let fd = file(0x1_0000);
        ram.map(&map(None, 0, 0x1000, 0)).unwrap();
        let mut rom = map(Some(&fd), 0x1000, 0x1000, 0);
        rom.writable = false;
        ram.map(&rom).unwrap();
        assert!(ram.read_u8(0).is_err() && ram.read_u8(0x1000).is_err());
        assert_eq!(ram.unmap(0, 0x2000), Ok(0x2000));
        assert_eq!(ram.unmap(0, 0x2000), Err(Errno::NOENT));
    }

    #[test]
    fn bad_maps() {
        let ram = GuestRam::default();
        let fd = file(0x1_0000);
        assert_eq!(ram.map(&map(Some(&fd), 0, 0x1_1000, 0)), Err(Errno::INVAL));
        assert_eq!(
            ram.map(&map(Some(&fd), 0, 0x1000, !0xfff)),
            Err(Errno::INVAL)
        );
        ram.map(&map(Some(&fd), 0x1000, 0x1000, 0)).unwrap();
        assert_eq!(ram.map(&map(Some(&fd), 0, 0x2000, 0)), Err(Errno::EXIST));
        // A range that sticks out stays.
        assert_eq!(ram.unmap(0, 0x1800), Err(Errno::NOENT));
    }
}
