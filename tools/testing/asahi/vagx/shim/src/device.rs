// SPDX-License-Identifier: MIT OR Apache-2.0

//! The device of this process: what its open files have in common.

use crate::bo::Bo;
use crate::fence::Hub;
use crate::node::{Identity, Nodes, inode};
use crate::queue::Queue;
use crate::syncobj::Syncobj;
use libc::c_int;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::Instant;
use vagx_gpu::{Gpu, GpuConfig};

/// What the kernel wants of an address space for itself, as GET_PARAMS tells.
pub const KERNEL_SIZE: u64 = 32 << 30;

pub struct Device {
    pub nodes: Nodes,
    pub hub: Arc<Hub>,
    pub gpu: Gpu,
    /// The number of the process.
    pub process: libc::pid_t,
    /// Objects that were exported or imported.
    shared: Mutex<HashMap<Identity, Weak<Bo>>>,
    /// Sync objects that were exported, with a descriptor that keeps the identity theirs.
    syncobjs: Mutex<HashMap<Identity, (OwnedFd, Arc<Syncobj>)>>,
    queues: Mutex<Vec<Weak<Queue>>>,
}

static DEVICE: AtomicPtr<Device> = AtomicPtr::new(null_mut());

/// The process's device, which is there from now on.
///
/// A child that is forked gets one of its own when it first asks: the threads that ran its parent's are not there, and
/// its locks may be held. So what the child had opened before is there without content.
pub fn device() -> &'static Device {
    let now = DEVICE.load(Acquire);
    if !now.is_null() {
        // SAFETY: It is never freed.
        return unsafe { &*now };
    }
    let new = Box::into_raw(Box::new(Device {
        nodes: Nodes::default(),
        hub: Arc::default(),
        gpu: Gpu::new(GpuConfig::default()),
        process: std::process::id() as libc::pid_t,
        shared: Mutex::default(),
        syncobjs: Mutex::default(),
        queues: Mutex::default(),
    }));
    match DEVICE.compare_exchange(null_mut(), new, AcqRel, Acquire) {
        Ok(_) => {
            prepare();
            // SAFETY: It is never freed.
            unsafe { &*new }
        }
        Err(other) => {
            // SAFETY: Nobody has seen this one; the other is never freed.
            unsafe {
                drop(Box::from_raw(new));
                &*other
            }
        }
    }
}

/// Whether there is a device yet.
pub fn exists() -> bool {
    !DEVICE.load(Acquire).is_null()
}

/// Once for a process and the children that it forks.
fn prepare() {
    extern "C" fn child() {
        DEVICE.store(null_mut(), Release);
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: The function does nothing that a child of a process with threads must not do.
        unsafe { libc::pthread_atfork(None, None, Some(child)) };
        keep_memory();
        crate::report::at_exit();
        crate::profile::begin();
    });
}

/// Has the library keep memory that is freed. Jobs need the same megabytes again and again, and it takes the kernel longer
/// to give and take them each time than many a job takes.
fn keep_memory() {
    const KEPT: c_int = 64 << 20;
    // SAFETY: Both only change when memory goes back to the kernel. That they fail is no error.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT / 2);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    /// Remembers an object that others may bring back.
    pub fn share(&self, bo: &Arc<Bo>) {
        let mut shared = lock(&self.shared);
        shared.retain(|_, bo| bo.strong_count() != 0);
        if let Some(identity) = bo.inode() {
            shared.insert(identity, Arc::downgrade(bo));
        }
    }

    /// The object behind a descriptor.
    pub fn shared(&self, identity: Identity, fd: c_int) -> Result<Arc<Bo>, c_int> {
        let known = lock(&self.shared).get(&identity).and_then(Weak::upgrade);
        if let Some(bo) = known {
            return Ok(bo);
        }
        let bo = Arc::new(Bo::import(fd)?);
        self.share(&bo);
        Ok(bo)
    }

    /// A descriptor for a sync object, by which this process knows it again.
    pub fn share_syncobj(&self, object: Arc<Syncobj>) -> Result<c_int, c_int> {
        // SAFETY: The name is a C string, and the descriptor is ours.
        let (keep, give) = unsafe {
            let keep = libc::memfd_create(c"agx-syncobj".as_ptr(), libc::MFD_CLOEXEC);
            if keep < 0 {
                return Err(libc::EMFILE);
            }
            let keep = OwnedFd::from_raw_fd(keep);
            let give = libc::fcntl(keep.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3);
            (keep, give)
        };
        if give < 0 {
            return Err(libc::EMFILE);
        }
        let identity = inode(give).ok_or(libc::EMFILE)?;
        lock(&self.syncobjs).insert(identity, (keep, object));
        Ok(give)
    }

    pub fn shared_syncobj(&self, fd: c_int) -> Option<Arc<Syncobj>> {
        let objects = lock(&self.syncobjs);
        objects.get(&inode(fd)?).map(|(_, object)| object.clone())
    }

    /// Has a process that ends wait for this queue, too.
    pub fn watch(&self, queue: &Arc<Queue>) {
        let mut queues = lock(&self.queues);
        queues.retain(|queue| queue.strong_count() != 0);
        queues.push(Arc::downgrade(queue));
    }

    /// Waits until all queues have run what was submitted.
    pub fn drain(&self, end: Instant) {
        let queues = lock(&self.queues).clone();
        for queue in queues.iter().filter_map(Weak::upgrade) {
            queue.drain(end);
        }
    }
}

/// The monotonic clock, in nanoseconds.
pub fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writing.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
