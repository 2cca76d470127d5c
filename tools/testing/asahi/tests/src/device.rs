// SPDX-License-Identifier: MIT OR Apache-2.0

//! The device, and what one makes with it.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsRawFd, FromRawFd},
    ptr::NonNull,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::uapi::*;

/// The GPU's page size.
pub const PAGE: u64 = 0x4000;

/// Where tests map what the GPU is to see.
pub const HEAP: u64 = 0x20_0000_0000;

/// How long a test waits for the GPU.
const PATIENCE: Duration = Duration::from_secs(30);

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

    /// Does an ioctl that must fail with a certain error.
    pub fn refused<T: Ioctl>(&self, mut arg: T, errno: i32, what: &str) -> Result<()> {
        match self.ioctl(&mut arg) {
            Ok(()) => bail!("{what}: accepted"),
            Err(error) => {
                let got = error.raw_os_error();
                ensure!(got == Some(errno), "{what}: {error}, not {errno}");
                Ok(())
            }
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

/// An address space.
pub struct Vm<'a> {
    pub device: &'a Device,
    pub id: u32,
}

impl Vm<'_> {
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

    /// Makes a queue.
    pub fn queue(&self) -> Result<Queue<'_>> {
        let mut create = QueueCreate {
            vm_id: self.id,
            priority: PRIORITY_MEDIUM,
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
    /// Maps it into the process.
    pub fn mmap(&self) -> Result<Mapping> {
        let mut offset = GemMmapOffset {
            handle: self.handle,
            ..Default::default()
        };
        self.device.ioctl(&mut offset).context("GEM_MMAP_OFFSET")?;
        // SAFETY: A new mapping at an address of the kernel's choice.
        let ptr = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                self.size as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                self.device.fd(),
                offset.offset as libc::off_t,
            )
        };
        if ptr == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("mmap");
        }
        Ok(Mapping {
            ptr: NonNull::new(ptr).context("mmap gave NULL")?.cast(),
            len: self.size as usize,
        })
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

impl Mapping {
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

/// A sync object.
pub struct Syncobj<'a> {
    device: &'a Device,
    pub handle: u32,
}

impl Syncobj<'_> {
    /// Names it in a submission.
    pub fn binary(&self) -> Sync {
        Sync {
            sync_type: SYNC_BINARY,
            handle: self.handle,
            timeline_value: 0,
        }
    }

    /// Names one of its points in a submission.
    pub fn point(&self, value: u64) -> Sync {
        Sync {
            sync_type: SYNC_TIMELINE,
            handle: self.handle,
            timeline_value: value,
        }
    }

    /// Waits until it has signalled.
    pub fn wait(&self) -> Result<()> {
        self.device
            .ioctl(&mut SyncobjWait {
                handles: std::ptr::from_ref(&self.handle) as u64,
                timeout_nsec: deadline(),
                count_handles: 1,
                flags: SYNCOBJ_WAIT_ALL,
                ..Default::default()
            })
            .context("waiting for a sync object")
    }

    /// Waits until it has signalled, and tells the error that its fence has got, zero for none.
    pub fn outcome(&self) -> Result<i32> {
        self.wait()?;
        let mut export = SyncobjHandleToFd {
            handle: self.handle,
            flags: SYNCOBJ_EXPORT_SYNC_FILE,
            ..Default::default()
        };
        self.device
            .ioctl(&mut export)
            .context("exporting a fence")?;
        // SAFETY: The kernel has just given us the descriptor.
        let file = unsafe { std::os::fd::OwnedFd::from_raw_fd(export.fd) };
        let mut info = std::mem::MaybeUninit::<SyncFileInfo>::zeroed();
        // SAFETY: The kernel writes a `SyncFileInfo`; there is no room for details of fences.
        let ret = unsafe {
            libc::ioctl(
                file.as_raw_fd(),
                SYNC_IOC_FILE_INFO as _,
                info.as_mut_ptr().cast::<libc::c_void>(),
            )
        };
        if ret < 0 {
            return Err(io::Error::last_os_error()).context("SYNC_IOC_FILE_INFO");
        }
        // SAFETY: All bytes are initialised, and any are a valid value.
        let status = unsafe { info.assume_init() }.status;
        ensure!(status != 0, "a fence has signalled and not signalled");
        Ok(status.min(0))
    }

    /// Waits until one of its points has signalled.
    pub fn wait_point(&self, value: u64) -> Result<()> {
        self.device
            .ioctl(&mut SyncobjTimelineWait {
                handles: std::ptr::from_ref(&self.handle) as u64,
                points: std::ptr::from_ref(&value) as u64,
                timeout_nsec: deadline(),
                count_handles: 1,
                flags: SYNCOBJ_WAIT_ALL,
                ..Default::default()
            })
            .context("waiting for a point of a sync object")
    }
}

impl Drop for Syncobj<'_> {
    fn drop(&mut self) {
        let _ = self.device.ioctl(&mut SyncobjDestroy {
            handle: self.handle,
            pad: 0,
        });
    }
}

/// When to give up waiting, by the clock that the kernel uses for that.
fn deadline() -> i64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is valid.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    (now.tv_sec + PATIENCE.as_secs() as i64) * 1_000_000_000 + now.tv_nsec
}

/// A queue.
pub struct Queue<'a> {
    pub device: &'a Device,
    pub id: u32,
}

impl Queue<'_> {
    /// The argument of SUBMIT.
    pub fn submit_arg(&self, commands: &[u8], ins: usize, syncs: &[Sync]) -> Submit {
        Submit {
            syncs: syncs.as_ptr() as u64,
            cmdbuf: commands.as_ptr() as u64,
            queue_id: self.id,
            in_sync_count: ins as u32,
            out_sync_count: (syncs.len() - ins) as u32,
            cmdbuf_size: commands.len() as u32,
            ..Default::default()
        }
    }

    /// Submits commands that wait for the first `ins` sync objects and signal the others.
    pub fn submit(&self, commands: &Commands, ins: usize, syncs: &[Sync]) -> io::Result<()> {
        self.device
            .ioctl(&mut self.submit_arg(&commands.0, ins, syncs))
    }

    /// Submits commands and waits until they are done, without an error.
    pub fn run(&self, commands: &Commands) -> Result<()> {
        let done = self.device.syncobj()?;
        self.submit(commands, 0, &[done.binary()])
            .context("SUBMIT")?;
        let outcome = done.outcome()?;
        ensure!(outcome == 0, "the commands have failed with {outcome}");
        Ok(())
    }

    /// Gives the queue up, whatever it is doing.
    pub fn destroy(self) {}
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        let _ = self.device.ioctl(&mut QueueDestroy {
            queue_id: self.id,
            pad: 0,
        });
    }
}

/// A command buffer being written.
#[derive(Clone, Default)]
pub struct Commands(pub Vec<u8>);

impl Commands {
    /// Adds a command.
    pub fn command(mut self, cmd_type: u16, vdm: u16, cdm: u16, payload: &[u8]) -> Self {
        self.0.extend(bytes(&CmdHeader {
            cmd_type,
            size: payload.len() as u16,
            vdm_barrier: vdm,
            cdm_barrier: cdm,
        }));
        self.0.extend(payload);
        self
    }

    /// Adds a compute command that waits for all before it.
    pub fn compute(self, compute: &CmdCompute) -> Self {
        self.command(CMD_COMPUTE, 0, 0, bytes(compute))
    }
}

/// The bytes of a structure of the interface.
pub fn bytes<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: The interface's structures have no padding.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// A VM with a control stream that does nothing, and a queue to run it on.
pub struct Bench<'a> {
    pub queue: Queue<'a>,
    pub nothing: CmdCompute,
    _stream: Bo<'a>,
}

impl<'a> Bench<'a> {
    /// Sets it up.
    pub fn new(vm: &'a Vm<'a>) -> Result<Self> {
        let stream = vm.device.bo(PAGE, GEM_WRITEBACK, 0)?;
        vm.map(&stream, HEAP)?;
        // One block: Stream Terminate (Mesa, src/asahi/genxml/cmdbuf.xml).
        stream.mmap()?.write(0, 2 << 29);

        Ok(Self {
            queue: vm.queue()?,
            nothing: CmdCompute {
                cdm_ctrl_stream_base: HEAP,
                cdm_ctrl_stream_end: HEAP + 8,
                ..Default::default()
            },
            _stream: stream,
        })
    }
}
