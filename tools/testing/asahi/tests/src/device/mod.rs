// SPDX-License-Identifier: MIT OR Apache-2.0

//! The device, and what one makes with it.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr::NonNull,
};

use anyhow::{Context, Result, bail, ensure};

use crate::uapi::*;

mod guarded;
mod queue;
mod sync;

pub use guarded::Guarded;
pub use queue::{Bench, Commands, Queue};
pub use sync::{Syncobj, deadline, sync_file_status};

/// The GPU's page size.
pub const PAGE: u64 = 0x4000;

/// Where tests map what the GPU is to see.
pub const HEAP: u64 = 0x20_0000_0000;

/// An open device.
pub struct Device {
    file: File,
}

impl Device {
    /// Opens the GPU's render node.
    pub fn open() -> Result<Self> {
        for minor in 128..192 {
            let path = format!("/dev/dri/renderD{minor}");
            let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else {
                continue;
            };
            let device = Self { file };
            if device.driver()? == "asahi" {
                return Ok(device);
            }
        }
        bail!("there is no render node of the asahi driver")
    }

    /// Takes a file of the device that came from elsewhere.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { file: fd.into() }
    }

    fn driver(&self) -> Result<String> {
        let mut name = [0u8; 32];
        let mut version = Version {
            name_len: name.len() as u64,
            name: name.as_mut_ptr() as u64,
            ..Default::default()
        };
        self.ioctl(&mut version)?;
        let len = (version.name_len as usize).min(name.len());
        Ok(String::from_utf8_lossy(&name[..len]).into_owned())
    }

    /// The file descriptor, for calls that are none of the device's.
    pub fn fd(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// Does an ioctl.
    pub fn ioctl<T: Ioctl>(&self, arg: &mut T) -> io::Result<()> {
        // SAFETY: The request carries the size of `T`, and the kernel reads and writes no more. What
        // addresses in it refer to is the caller's business.
        let ret = unsafe {
            libc::ioctl(
                self.fd(),
                T::REQUEST as _,
                std::ptr::from_mut(arg).cast::<libc::c_void>(),
            )
        };
        if ret < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Does an ioctl whose request or argument need not be right.
    ///
    /// # Safety
    ///
    /// `arg` must be valid for what the kernel makes of the request, or be no address of anything.
    pub unsafe fn raw(&self, request: u32, arg: *mut libc::c_void) -> io::Result<()> {
        // SAFETY: By this function's contract.
        if unsafe { libc::ioctl(self.fd(), request as _, arg) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Does an ioctl that must fail with a certain error.
    pub fn refused<T: Ioctl>(&self, mut arg: T, errno: i32, what: &str) -> Result<()> {
        match self.ioctl(&mut arg) {
            Ok(()) => bail!("{what}: accepted"),
            Err(error) => expect(&error, errno, what),
        }
    }

    /// The GPU's parameters.
    pub fn params(&self) -> Result<Params> {
        let mut params = std::mem::MaybeUninit::<Params>::zeroed();
        self.ioctl(&mut GetParams {
            pointer: params.as_mut_ptr() as u64,
            size: size_of::<Params>() as u64,
            ..Default::default()
        })?;
        // SAFETY: All bytes are initialised, and any are a valid value.
        Ok(unsafe { params.assume_init() })
    }

    /// Makes a VM that leaves the upper end of its addresses to the kernel.
    pub fn vm(&self) -> Result<Vm<'_>> {
        let params = self.params()?;
        let mut create = VmCreate {
            kernel_start: params.vm_end - params.vm_kernel_min_size,
            kernel_end: params.vm_end,
            ..Default::default()
        };
        self.ioctl(&mut create).context("VM_CREATE")?;
        Ok(Vm {
            device: self,
            id: create.vm_id,
        })
    }

    /// Makes a buffer object.
    pub fn bo(&self, size: u64, flags: u32, vm_id: u32) -> Result<Bo<'_>> {
        let mut create = GemCreate {
            size,
            flags,
            vm_id,
            ..Default::default()
        };
        self.ioctl(&mut create).context("GEM_CREATE")?;
        Ok(Bo {
            device: self,
            handle: create.handle,
            size: size.next_multiple_of(PAGE),
        })
    }

    /// Imports a dma-buf.
    pub fn import(&self, fd: i32, size: u64) -> Result<Bo<'_>> {
        let mut arg = PrimeFdToHandle {
            fd,
            ..Default::default()
        };
        self.ioctl(&mut arg).context("PRIME_FD_TO_HANDLE")?;
        Ok(Bo {
            device: self,
            handle: arg.handle,
            size,
        })
    }

    /// Makes a sync object.
    pub fn syncobj(&self) -> Result<Syncobj<'_>> {
        let mut create = SyncobjCreate::default();
        self.ioctl(&mut create).context("SYNCOBJ_CREATE")?;
        Ok(Syncobj {
            device: self,
            handle: create.handle,
        })
    }
}

/// Makes sure that an error is the expected one.
pub fn expect(error: &io::Error, errno: i32, what: &str) -> Result<()> {
    let wanted = io::Error::from_raw_os_error(errno);
    let got = error.raw_os_error();
    ensure!(got == Some(errno), "{what}: {error}, not {wanted}");
    Ok(())
}

/// An address space.
pub struct Vm<'a> {
    pub device: &'a Device,
    pub id: u32,
}

impl Vm<'_> {
    /// Its number, which stays.
    pub fn into_id(self) -> u32 {
        std::mem::ManuallyDrop::new(self).id
    }

    /// Does one operation of VM_BIND.
    pub fn bind(&self, op: BindOp) -> io::Result<()> {
        self.device.ioctl(&mut self.bind_arg(&op))
    }

    /// The argument of VM_BIND for one operation.
    pub fn bind_arg(&self, op: &BindOp) -> VmBind {
        VmBind {
            vm_id: self.id,
            num_binds: 1,
            stride: size_of::<BindOp>() as u32,
            pad: 0,
            userptr: std::ptr::from_ref(op) as u64,
        }
    }

    /// Maps a whole object for reading and writing.
    pub fn map(&self, bo: &Bo<'_>, addr: u64) -> Result<()> {
        self.bind(BindOp {
            flags: BIND_READ | BIND_WRITE,
            handle: bo.handle,
            offset: 0,
            range: bo.size,
            addr,
        })
        .context("VM_BIND")
    }

    /// Takes out whatever is mapped in a range.
    pub fn unmap(&self, addr: u64, range: u64) -> Result<()> {
        self.bind(BindOp {
            flags: BIND_UNBIND,
            range,
            addr,
            ..Default::default()
        })
        .context("unbinding")
    }

    /// Makes a queue.
    pub fn queue(&self) -> Result<Queue<'_>> {
        self.queue_of(PRIORITY_MEDIUM)
    }

    /// Makes a queue of a priority.
    pub fn queue_of(&self, priority: u32) -> Result<Queue<'_>> {
        let mut create = QueueCreate {
            vm_id: self.id,
            priority,
            usc_exec_base: 0x11_0000_0000,
            ..Default::default()
        };
        self.device.ioctl(&mut create).context("QUEUE_CREATE")?;
        Ok(Queue {
            device: self.device,
            id: create.queue_id,
        })
    }
}

impl Drop for Vm<'_> {
    fn drop(&mut self) {
        let _ = self.device.ioctl(&mut VmDestroy {
            vm_id: self.id,
            pad: 0,
        });
    }
}

/// A buffer object.
pub struct Bo<'a> {
    pub device: &'a Device,
    pub handle: u32,
    pub size: u64,
}

impl Bo<'_> {
    /// Its handle, which stays.
    pub fn into_handle(self) -> u32 {
        std::mem::ManuallyDrop::new(self).handle
    }

    /// Exports it as a dma-buf.
    pub fn export(&self) -> Result<OwnedFd> {
        let mut arg = PrimeHandleToFd {
            handle: self.handle,
            flags: (libc::O_CLOEXEC | libc::O_RDWR) as u32,
            fd: -1,
        };
        self.device.ioctl(&mut arg).context("PRIME_HANDLE_TO_FD")?;
        // SAFETY: The kernel has just given us the descriptor.
        Ok(unsafe { OwnedFd::from_raw_fd(arg.fd) })
    }

    /// Maps it into the process.
    pub fn mmap(&self) -> Result<Mapping> {
        let mut offset = GemMmapOffset {
            handle: self.handle,
            ..Default::default()
        };
        self.device.ioctl(&mut offset).context("GEM_MMAP_OFFSET")?;
        Mapping::of_file(self.device.fd(), offset.offset, self.size as usize)
    }
}

impl Drop for Bo<'_> {
    fn drop(&mut self) {
        let _ = self.device.ioctl(&mut GemClose {
            handle: self.handle,
            pad: 0,
        });
    }
}

/// An object's memory in the process.
pub struct Mapping {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: All access is volatile, and of memory that others change at any time anyway.
unsafe impl Send for Mapping {}
// SAFETY: As above.
unsafe impl std::marker::Sync for Mapping {}

impl Mapping {
    /// Maps a part of a file of the device, or of a dma-buf.
    pub fn of_file(fd: i32, offset: u64, len: usize) -> Result<Self> {
        // SAFETY: A new mapping at an address of the kernel's choice.
        let ptr = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd,
                offset as libc::off_t,
            )
        };
        if ptr == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("mmap");
        }
        Ok(Self {
            ptr: NonNull::new(ptr).context("mmap gave NULL")?.cast(),
            len,
        })
    }

    fn at<T>(&self, offset: usize) -> *mut T {
        assert!(offset.is_multiple_of(align_of::<T>()) && offset + size_of::<T>() <= self.len);
        // SAFETY: It has been checked that the offset lies in the mapping.
        unsafe { self.ptr.as_ptr().add(offset).cast() }
    }

    /// How many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "there are no empty mappings")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Reads 64 bits, which the GPU may have written.
    pub fn read(&self, offset: usize) -> u64 {
        // SAFETY: `at` gives a valid, aligned address.
        unsafe { self.at::<u64>(offset).read_volatile() }
    }

    /// Writes 64 bits for the GPU to read.
    pub fn write(&self, offset: usize, value: u64) {
        // SAFETY: `at` gives a valid, aligned address.
        unsafe { self.at::<u64>(offset).write_volatile(value) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: The mapping is ours, and nothing refers to it any more.
        unsafe { libc::munmap(self.ptr.as_ptr().cast(), self.len) };
    }
}

/// The bytes of a structure of the interface.
pub fn bytes<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: The interface's structures have no padding.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}
