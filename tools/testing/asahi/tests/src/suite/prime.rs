// SPDX-License-Identifier: MIT OR Apache-2.0

//! Objects that are shared as dma-bufs, and dma-bufs that come from elsewhere.

use std::{
    ffi::CStr,
    fs::OpenOptions,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use libc::{EBADF, EINVAL, ENOENT};

use super::lab::{A_WHILE, Lab};
use crate::{
    device::{Commands, Device, HEAP, PAGE, sync_file_status},
    runner::skip,
    uapi::*,
};

super::tests!(
    same_object,
    two_files,
    outlives_everything,
    bad,
    private_objects,
    mapped_from_the_file,
    from_a_heap,
    from_udmabuf,
    fences,
);

/// Where objects are mapped.
const PLACE: u64 = HEAP + 0x4000 * PAGE;

fn inode(fd: &OwnedFd) -> Result<u64> {
    // SAFETY: A structure of zeroes is valid, and the kernel writes it.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: As above.
    if unsafe { libc::fstat(fd.as_raw_fd(), &mut stat) } < 0 {
        return Err(io::Error::last_os_error()).context("fstat");
    }
    Ok(stat.st_ino)
}

/// An ioctl of something else than the device.
fn ioctl<T>(fd: i32, request: u32, arg: &mut T) -> Result<()> {
    // SAFETY: Callers give the argument that belongs to the request.
    let ret = unsafe { libc::ioctl(fd, request as _, std::ptr::from_mut(arg)) };
    if ret < 0 {
        return Err(io::Error::last_os_error()).with_context(|| format!("ioctl {request:#x}"));
    }
    Ok(())
}

/// A mapping of a dma-buf.
struct FileMap(*mut u64, usize);

impl FileMap {
    fn new(fd: &OwnedFd, size: u64) -> Result<Self> {
        // SAFETY: A new mapping at an address of the kernel's choice.
        let map = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("mmap of a dma-buf");
        }
        Ok(Self(map.cast(), size as usize))
    }

    fn word(&self, index: usize) -> *mut u64 {
        assert!(index * 8 < self.1);
        // SAFETY: It lies in the mapping.
        unsafe { self.0.add(index) }
    }

    fn read(&self, index: usize) -> u64 {
        // SAFETY: `word` gives a valid, aligned address.
        unsafe { self.word(index).read_volatile() }
    }

    fn write(&self, index: usize, value: u64) {
        // SAFETY: `word` gives a valid, aligned address.
        unsafe { self.word(index).write_volatile(value) }
    }
}

impl Drop for FileMap {
    fn drop(&mut self) {
        // SAFETY: The mapping is ours.
        unsafe { libc::munmap(self.0.cast(), self.1) };
    }
}

/// What a client has exported comes back as what it was.
fn same_object(device: &Device) -> Result<()> {
    let bo = device.bo(2 * PAGE, 0, 0)?;
    let (first, second) = (bo.export()?, bo.export()?);
    ensure!(
        inode(&first)? == inode(&second)?,
        "two dma-bufs of one object"
    );
    for fd in [&first, &second] {
        let back = device.import(fd.as_raw_fd(), 2 * PAGE)?.into_handle();
        ensure!(back == bo.handle, "it came back as {back}");
    }
    // SAFETY: A plain system call.
    let size = unsafe { libc::lseek(first.as_raw_fd(), 0, libc::SEEK_END) };
    ensure!(size as u64 == 2 * PAGE, "a dma-buf of {size} bytes");
    Ok(())
}

/// Two clients share memory; each has a handle of its own.
fn two_files(device: &Device) -> Result<()> {
    let other = Device::open()?;
    let bo = device.bo(2 * PAGE, GEM_WRITEBACK, 0)?;
    let map = bo.mmap()?;
    let fd = bo.export()?;
    let theirs = other.import(fd.as_raw_fd(), 2 * PAGE)?;
    let again = other.import(fd.as_raw_fd(), 2 * PAGE)?.into_handle();
    ensure!(again == theirs.handle, "two handles of one object");
    let their_fd = theirs.export()?;
    ensure!(inode(&fd)? == inode(&their_fd)?);

    let their_map = theirs.mmap()?;
    map.write(0, 0x1111);
    ensure!(their_map.read(0) == 0x1111);

    // Both GPUs' views, too.
    let (vm, their_vm) = (device.vm()?, other.vm()?);
    vm.map(&bo, PLACE)?;
    their_vm.map(&theirs, PLACE + 8 * PAGE)?;
    let mut lab = Lab::new(&vm)?;
    let word = lab.word(0x2222)?;
    let command = lab.moves(&[(word.address(), PLACE + PAGE)])?;
    lab.queue.run(&Commands::default().compute(&command))?;
    let mut their_lab = Lab::new(&their_vm)?;
    let word = their_lab.word(0)?;
    let command = their_lab.moves(&[(PLACE + 9 * PAGE, word.address())])?;
    their_lab
        .queue
        .run(&Commands::default().compute(&command))?;
    ensure!(their_lab.get(word) == 0x2222);

    // Closing one handle leaves the other client's mappings alone.
    drop(bo);
    their_lab.set(word, 0);
    their_lab
        .queue
        .run(&Commands::default().compute(&command))?;
    ensure!(their_lab.get(word) == 0x2222);
    Ok(())
}

/// A dma-buf holds the memory when its maker is gone.
fn outlives_everything(device: &Device) -> Result<()> {
    let fd = {
        let own = Device::open()?;
        let vm = own.vm()?;
        let bo = own.bo(PAGE, 0, 0)?;
        vm.map(&bo, PLACE)?;
        bo.mmap()?.write(8, 0x3333);
        bo.export()?
    };
    let bo = device.import(fd.as_raw_fd(), PAGE)?;
    drop(fd);
    ensure!(bo.mmap()?.read(8) == 0x3333);
    Ok(())
}

fn bad(device: &Device) -> Result<()> {
    let bo = device.bo(PAGE, 0, 0)?;
    let out = PrimeHandleToFd {
        handle: bo.handle,
        flags: 0,
        fd: -1,
    };
    for bit in (0..32).filter(|bit| 1 << bit & (libc::O_CLOEXEC | libc::O_RDWR) == 0) {
        let flags = 1u32 << bit;
        device.refused(PrimeHandleToFd { flags, ..out }, EINVAL, "unknown flags")?;
    }
    let other = Device::open()?;
    other.refused(out, ENOENT, "another client's object")?;
    device.refused(PrimeHandleToFd { handle: 0, ..out }, ENOENT, "no object")?;

    let import = |fd, errno, what: &str| {
        let arg = PrimeFdToHandle {
            fd,
            ..Default::default()
        };
        device.refused(arg, errno, what)
    };
    import(-1, EBADF, "no descriptor")?;
    import(12345, EBADF, "a descriptor that is not open")?;
    import(device.fd(), EINVAL, "the device itself")?;
    let file = OpenOptions::new().read(true).open("/proc/self/exe")?;
    import(file.as_raw_fd(), EINVAL, "a file")
}

/// What is private to a VM stays with it, also when that is gone.
fn private_objects(device: &Device) -> Result<()> {
    let other = device.vm()?;
    let (bo, map);
    {
        let vm = device.vm()?;
        bo = device.bo(2 * PAGE, GEM_VM_PRIVATE | GEM_WRITEBACK, vm.id)?;
        vm.map(&bo, PLACE)?;
        map = bo.mmap()?;
        map.write(0, 0x4444);
        let mut lab = Lab::new(&vm)?;
        let word = lab.word(0)?;
        let command = lab.moves(&[(PLACE, word.address())])?;
        lab.queue.run(&Commands::default().compute(&command))?;
        ensure!(lab.get(word) == 0x4444);
    }
    let export = PrimeHandleToFd {
        handle: bo.handle,
        flags: libc::O_CLOEXEC as u32,
        fd: -1,
    };
    device.refused(export, EINVAL, "exporting a private object")?;
    let op = BindOp {
        flags: BIND_READ,
        handle: bo.handle,
        offset: 0,
        range: PAGE,
        addr: PLACE,
    };
    device.refused(other.bind_arg(&op), EINVAL, "another VM's object")?;
    ensure!(map.read(0) == 0x4444 && bo.mmap()?.read(0) == 0x4444);
    // A VM that is made then is another one, whatever its number.
    let again = device.vm()?;
    device.refused(again.bind_arg(&op), EINVAL, "a gone VM's object")
}

/// A dma-buf can be mapped by itself.
fn mapped_from_the_file(device: &Device) -> Result<()> {
    let bo = device.bo(2 * PAGE, GEM_WRITEBACK, 0)?;
    let map = bo.mmap()?;
    let file = FileMap::new(&bo.export()?, 2 * PAGE)?;
    map.write(PAGE as usize, 0x5555);
    ensure!(file.read(PAGE as usize / 8) == 0x5555);
    file.write(0, 0x6666);
    ensure!(map.read(0) == 0x6666);
    Ok(())
}

/// Everything that one does with memory of somebody else's.
fn foreign(device: &Device, fd: OwnedFd, size: u64) -> Result<()> {
    let map = FileMap::new(&fd, size)?;
    let pages = size / PAGE;
    for page in 0..pages {
        map.write((page * PAGE / 8) as usize, 0x7000 + page);
    }
    let bo = device.import(fd.as_raw_fd(), size)?;
    let again = device.import(fd.as_raw_fd(), size)?.into_handle();
    ensure!(again == bo.handle, "two handles of one dma-buf");
    ensure!(
        inode(&bo.export()?)? == inode(&fd)?,
        "it is exported as another"
    );

    let vm = device.vm()?;
    vm.map(&bo, PLACE)?;
    let mut lab = Lab::new(&vm)?;
    let words: Vec<_> = (0..pages).map(|_| lab.word(0)).collect::<Result<_>>()?;
    let mut pairs: Vec<_> = (0..pages)
        .zip(&words)
        .map(|(page, word)| (PLACE + page * PAGE, word.address()))
        .collect();
    let mark = lab.word(0x8888)?;
    pairs.extend((0..pages).map(|page| (mark.address(), PLACE + page * PAGE + 64)));
    let command = lab.moves(&pairs)?;
    lab.queue.run(&Commands::default().compute(&command))?;
    for page in 0..pages {
        let seen = lab.get(words[page as usize]);
        ensure!(u64::from(seen) == 0x7000 + page, "page {page}: {seen:#x}");
        let left = map.read((page * PAGE / 8) as usize + 8) as u32;
        ensure!(left == 0x8888, "page {page}: the GPU has left {left:#x}");
    }

    // More than there is, and a part.
    let op = BindOp {
        flags: BIND_READ,
        handle: bo.handle,
        offset: PAGE,
        range: size,
        addr: PLACE,
    };
    device.refused(vm.bind_arg(&op), EINVAL, "more than the dma-buf has")?;
    vm.bind(BindOp {
        range: size - PAGE,
        ..op
    })?;
    let first = lab.moves(&[(PLACE, words[0].address())])?;
    lab.queue.run(&Commands::default().compute(&first))?;
    ensure!(u64::from(lab.get(words[0])) == 0x7001);

    // It goes while it is mapped.
    drop(fd);
    drop(bo);
    let first = lab.moves(&[(PLACE, words[0].address())])?;
    lab.queue.run(&Commands::default().compute(&first))?;
    ensure!(lab.get(words[0]) == 0 || device.params()?.features & FEATURE_SOFT_FAULTS == 0);
    ensure!(map.read(0) == 0x7000);
    Ok(())
}

const HEAP_IOCTL_ALLOC: u32 = 3 << 30 | 24 << 16 | (b'H' as u32) << 8;

/// Memory of a dma-buf heap (include/uapi/linux/dma-heap.h).
fn from_a_heap(device: &Device) -> Result<()> {
    #[repr(C)]
    struct Allocation {
        len: u64,
        fd: u32,
        fd_flags: u32,
        heap_flags: u64,
    }
    let Ok(heap) = OpenOptions::new().read(true).open("/dev/dma_heap/system") else {
        return skip("there is no dma-buf heap");
    };
    for pages in [2, 9, 33] {
        let mut arg = Allocation {
            len: pages * PAGE,
            fd: 0,
            fd_flags: (libc::O_CLOEXEC | libc::O_RDWR) as u32,
            heap_flags: 0,
        };
        ioctl(heap.as_raw_fd(), HEAP_IOCTL_ALLOC, &mut arg)?;
        // SAFETY: The kernel has just given us the descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(arg.fd as i32) };
        foreign(device, fd, pages * PAGE)?;
    }
    Ok(())
}

const UDMABUF_CREATE: u32 = 1 << 30 | 24 << 16 | (b'u' as u32) << 8 | 0x42;

/// Memory of a process's (include/uapi/linux/udmabuf.h).
fn from_udmabuf(device: &Device) -> Result<()> {
    #[repr(C)]
    struct Create {
        memfd: u32,
        flags: u32,
        offset: u64,
        size: u64,
    }
    let Ok(maker) = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/udmabuf")
    else {
        return skip("there is no udmabuf");
    };
    const NAME: &CStr = c"asahi-tests";
    let size = 12 * PAGE;
    // SAFETY: Plain system calls; the descriptor is ours.
    let memory = unsafe {
        let fd = libc::memfd_create(NAME.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        ensure!(fd >= 0, "memfd_create");
        libc::ftruncate(fd, size as libc::off_t);
        libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_SHRINK);
        OwnedFd::from_raw_fd(fd)
    };
    // From the middle of the file on.
    for (offset, size) in [(0, size), (4 * PAGE, 8 * PAGE)] {
        let mut arg = Create {
            memfd: memory.as_raw_fd() as u32,
            flags: 1,
            offset,
            size,
        };
        // SAFETY: The argument belongs to the request, and the descriptor that comes is ours.
        let fd = unsafe { libc::ioctl(maker.as_raw_fd(), UDMABUF_CREATE as _, &raw mut arg) };
        if fd < 0 {
            return Err(io::Error::last_os_error()).context("UDMABUF_CREATE");
        }
        // SAFETY: As above.
        foreign(device, unsafe { OwnedFd::from_raw_fd(fd) }, size)?;
    }
    Ok(())
}

/// What DMA_BUF_IOCTL_EXPORT_SYNC_FILE and its counterpart take (include/uapi/linux/dma-buf.h).
#[repr(C)]
struct SyncFile {
    flags: u32,
    fd: i32,
}

const EXPORT_SYNC_FILE: u32 = 3 << 30 | 8 << 16 | (b'b' as u32) << 8 | 2;
const IMPORT_SYNC_FILE: u32 = 1 << 30 | 8 << 16 | (b'b' as u32) << 8 | 3;
const SYNC_WRITE: u32 = 2;
const SYNC_RW: u32 = 3;

/// A dma-buf's fences, which whoever else uses it waits for.
fn fences(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let bo = device.bo(PAGE, 0, 0)?;
    vm.map(&bo, PLACE)?;
    let fd = bo.export()?;
    let ready = |timeout: Duration| -> Result<bool> {
        let mut poll = libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN | libc::POLLOUT,
            revents: 0,
        };
        // SAFETY: One valid descriptor to poll.
        match unsafe { libc::poll(&mut poll, 1, timeout.as_millis() as i32) } {
            -1 => Err(io::Error::last_os_error()).context("poll"),
            ready => Ok(ready == 1),
        }
    };
    ensure!(ready(Duration::ZERO)?, "a dma-buf that nobody uses");

    let (gate, open) = lab.gate()?;
    let done = device.syncobj()?;
    lab.queue
        .submit(&Commands::default().compute(&gate), 0, &[done.binary()])?;
    let fence = done.export()?;
    let mut import = SyncFile {
        flags: SYNC_WRITE,
        fd: fence.as_raw_fd(),
    };
    ioctl(fd.as_raw_fd(), IMPORT_SYNC_FILE, &mut import)?;
    ensure!(!ready(A_WHILE)?, "a dma-buf that is written to");
    let mut export = SyncFile {
        flags: SYNC_RW,
        fd: -1,
    };
    ioctl(fd.as_raw_fd(), EXPORT_SYNC_FILE, &mut export)?;
    // SAFETY: The kernel has just given us the descriptor.
    let exported = unsafe { OwnedFd::from_raw_fd(export.fd) };
    ensure!(sync_file_status(exported.as_raw_fd())? == 0);

    // What comes in this way can be waited for.
    let (wait, after) = (device.syncobj()?, device.syncobj()?);
    wait.import(exported.as_raw_fd())?;
    let word = lab.word(1)?;
    let copy = Commands::default().compute(&lab.copy(word, word)?);
    let second = vm.queue()?;
    second.submit(&copy, 1, &[wait.binary(), after.binary()])?;
    lab.set(open, 1);
    ensure!(ready(Duration::from_secs(30))?);
    ensure!(after.outcome()? == 0);
    ensure!(sync_file_status(exported.as_raw_fd())? == 1);
    Ok(())
}
