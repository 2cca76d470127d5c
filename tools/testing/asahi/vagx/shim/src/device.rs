// SPDX-License-Identifier: MIT OR Apache-2.0

//! The device: an M1's GPU, its buffers, address spaces and queues.

use crate::bo::Bo;
use crate::sync::Syncs;
use crate::uapi::*;
use crate::vm::Mappings;
use libc::{c_int, c_void, off_t};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock};
use vagx_gpu::{Gpu, GpuConfig};

const VM_START: u64 = PAGE;
pub const VM_END: u64 = 0x7f_ffff_8000;
const KERNEL_SIZE: u64 = 32 << 30;

/// Offsets of buffers for mmap begin here, far from those of ordinary files.
const OFFSETS: u64 = 1 << 60;
const OFFSET_STEP: u64 = 1 << 36;

/// A command queue.
#[derive(Clone)]
pub struct Queue {
    pub vm: Arc<RwLock<Mappings>>,
    pub usc_exec_base: u64,
}

/// A place for timestamps: a buffer, an offset into it and a length.
pub type TimestampObject = (Arc<Bo>, u64, u64);

#[derive(Default)]
pub struct Tables {
    last: u32,
    pub bos: HashMap<u32, Arc<Bo>>,
    pub vms: HashMap<u32, Arc<RwLock<Mappings>>>,
    pub queues: HashMap<u32, Queue>,
    pub timestamps: HashMap<u32, TimestampObject>,
}

impl Tables {
    fn number(&mut self) -> u32 {
        self.last += 1;
        self.last
    }
}

pub struct Device {
    tables: Mutex<Tables>,
    pub syncs: Syncs,
    pub gpu: Gpu,
}

/// There is one, whoever opens it.
pub static DEVICE: LazyLock<Device> = LazyLock::new(|| Device {
    tables: Mutex::default(),
    syncs: Syncs::default(),
    gpu: Gpu::new(GpuConfig::default()),
});

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

fn params() -> Params {
    let mut core_masks = [0; 64];
    core_masks[0] = 0xff;
    Params {
        features: 1,
        gpu_generation: 13,
        gpu_variant: b'G'.into(),
        gpu_revision: 0x11,
        chip_id: 0x8103,
        num_dies: 1,
        num_clusters_total: 1,
        num_cores_per_cluster: 8,
        max_frequency_khz: 1_278_000,
        core_masks,
        vm_start: VM_START,
        vm_end: VM_END,
        vm_kernel_min_size: KERNEL_SIZE,
        max_commands_per_submission: 64,
        max_attachments: 16,
        command_timestamp_frequency_hz: 1_000_000_000,
    }
}

/// The arrays that some requests point to.
///
/// # Safety
///
/// `pointer` is valid for `count` values of `T`, or `count` is zero.
unsafe fn array<'a, T>(pointer: u64, count: u32) -> &'a mut [T] {
    if count == 0 {
        return &mut [];
    }
    // SAFETY: The contract of this function.
    unsafe { std::slice::from_raw_parts_mut(pointer as *mut T, count as usize) }
}

impl Device {
    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bo(&self, handle: u32) -> Result<Arc<Bo>, c_int> {
        self.tables().bos.get(&handle).cloned().ok_or(libc::ENOENT)
    }

    /// The buffer that an offset for mmap stands for, and the offset into it.
    pub fn bo_at_offset(&self, offset: off_t) -> Option<(Arc<Bo>, off_t)> {
        let offset = (offset as u64).checked_sub(OFFSETS)?;
        let bo = self.bo((offset / OFFSET_STEP) as u32).ok()?;
        Some((bo, (offset % OFFSET_STEP) as off_t))
    }

    /// Answers a DRM request, or leaves it to who made the node appear.
    pub fn drm(&self, number: u32, argument: *mut c_void) -> Option<Result<(), c_int>> {
        macro_rules! arg {
            ($type:ty) => {
                // SAFETY: The request's number says that its argument is this structure.
                unsafe { &mut *argument.cast::<$type>() }
            };
        }
        Some(match number {
            0x09 => {
                let handle = arg!(GemClose).handle;
                self.tables()
                    .bos
                    .remove(&handle)
                    .map(|_| ())
                    .ok_or(libc::EINVAL)
            }
            0x0c => {
                let args = arg!(GetCap);
                // PRIME import and export, sync objects, timelines; nothing else.
                args.value = match args.capability {
                    0x5 => 3,
                    0x13 | 0x14 => 1,
                    _ => 0,
                };
                Ok(())
            }
            0x2d => self.prime_export(arg!(PrimeHandle)),
            0x2e => self.prime_import(arg!(PrimeHandle)),
            0x40 => self.get_params(arg!(GetParams)),
            0x41 => {
                arg!(GetTime).gpu_timestamp = now();
                Ok(())
            }
            0x42 => self.vm_create(arg!(VmCreate)),
            0x43 => {
                let id = arg!(VmDestroy).vm_id;
                self.tables()
                    .vms
                    .remove(&id)
                    .map(|_| ())
                    .ok_or(libc::ENOENT)
            }
            0x44 => self.vm_bind(arg!(VmBind)),
            0x45 => self.gem_create(arg!(GemCreate)),
            0x46 => self.gem_mmap_offset(arg!(GemMmapOffset)),
            0x47 => self.gem_bind_object(arg!(GemBindObject)),
            0x48 => self.queue_create(arg!(QueueCreate)),
            0x49 => {
                let id = arg!(QueueDestroy).queue_id;
                self.tables()
                    .queues
                    .remove(&id)
                    .map(|_| ())
                    .ok_or(libc::ENOENT)
            }
            0x4a => crate::submit::submit(self, arg!(Submit)),
            0xbf => self.syncs.create(arg!(SyncobjCreate)),
            0xc0 => self.syncs.destroy(arg!(SyncobjCreate).handle),
            0xc1 => self.syncs.export(arg!(SyncobjHandle)),
            0xc2 => self.syncs.import(arg!(SyncobjHandle)),
            0xc3 => {
                let args = arg!(SyncobjWait);
                // SAFETY: The request's structure says so.
                let handles = unsafe { array::<u32>(args.handles, args.count_handles) };
                let points: Vec<_> = handles.iter().map(|&h| (h, 0)).collect();
                self.syncs
                    .wait(&points, args.timeout_nsec, args.flags)
                    .map(|first| args.first_signaled = first)
            }
            0xca => {
                let args = arg!(SyncobjTimelineWait);
                // SAFETY: The request's structure says so.
                let (handles, points) = unsafe {
                    (
                        array::<u32>(args.handles, args.count_handles),
                        array::<u64>(args.points, args.count_handles),
                    )
                };
                let points: Vec<_> = handles
                    .iter()
                    .copied()
                    .zip(points.iter().copied())
                    .collect();
                self.syncs
                    .wait(&points, args.timeout_nsec, args.flags)
                    .map(|first| args.first_signaled = first)
            }
            0xc4 | 0xc5 => {
                let args = arg!(SyncobjArray);
                // SAFETY: The request's structure says so.
                let handles = unsafe { array::<u32>(args.handles, args.count_handles) };
                handles.iter().try_for_each(|&handle| match number {
                    0xc4 => self.syncs.reset(handle),
                    _ => self.syncs.signal(handle, None),
                })
            }
            0xcb | 0xcd => {
                let args = arg!(SyncobjTimelineArray);
                // SAFETY: The request's structure says so.
                let (handles, points) = unsafe {
                    (
                        array::<u32>(args.handles, args.count_handles),
                        array::<u64>(args.points, args.count_handles),
                    )
                };
                handles
                    .iter()
                    .zip(points)
                    .try_for_each(|(&handle, point)| match number {
                        0xcb => self.syncs.point(handle).map(|now| *point = now),
                        _ => self.syncs.signal(handle, Some(*point)),
                    })
            }
            0xcc => self.syncs.transfer(arg!(SyncobjTransfer)),
            _ => return None,
        })
    }

    fn get_params(&self, args: &GetParams) -> Result<(), c_int> {
        if args.param_group != 0 || args.pad != 0 {
            return Err(libc::EINVAL);
        }
        let params = params();
        let size = (args.size as usize).min(size_of::<Params>());
        // SAFETY: The caller's buffer has `args.size` bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(
                (&raw const params).cast::<u8>(),
                args.pointer as *mut u8,
                size,
            );
        }
        Ok(())
    }

    fn vm_create(&self, args: &mut VmCreate) -> Result<(), c_int> {
        let kernel = args.kernel_end.checked_sub(args.kernel_start);
        if args.pad != 0 || kernel.is_none_or(|size| size < KERNEL_SIZE) {
            return Err(libc::EINVAL);
        }
        let mut tables = self.tables();
        args.vm_id = tables.number();
        let id = args.vm_id;
        tables.vms.insert(id, Arc::default());
        Ok(())
    }

    fn vm_bind(&self, args: &VmBind) -> Result<(), c_int> {
        let vm = self
            .tables()
            .vms
            .get(&args.vm_id)
            .cloned()
            .ok_or(libc::ENOENT)?;
        let size = size_of::<BindOp>().min(args.stride as usize);
        let mut vm = vm.write().unwrap_or_else(PoisonError::into_inner);
        for i in 0..u64::from(args.num_binds) {
            let mut op = BindOp::default();
            let from = (args.userptr + i * u64::from(args.stride)) as *const u8;
            // SAFETY: The caller has an array of operations of this stride there.
            unsafe { std::ptr::copy_nonoverlapping(from, (&raw mut op).cast::<u8>(), size) };
            let bo = match op.flags & BIND_UNBIND {
                0 => Some(self.bo(op.handle)?),
                _ => None,
            };
            vm.bind(&op, bo)?;
        }
        Ok(())
    }

    fn gem_create(&self, args: &mut GemCreate) -> Result<(), c_int> {
        let known = args.flags & !(WRITEBACK | VM_PRIVATE) == 0;
        if args.pad != 0 || args.size == 0 || args.size > OFFSET_STEP || !known {
            return Err(libc::EINVAL);
        }
        let bo = Arc::new(Bo::new(args.size.next_multiple_of(PAGE))?);
        let mut tables = self.tables();
        args.handle = tables.number();
        let handle = args.handle;
        tables.bos.insert(handle, bo);
        Ok(())
    }

    fn gem_mmap_offset(&self, args: &mut GemMmapOffset) -> Result<(), c_int> {
        self.bo(args.handle)?;
        args.offset = OFFSETS + u64::from(args.handle) * OFFSET_STEP;
        Ok(())
    }

    fn gem_bind_object(&self, args: &mut GemBindObject) -> Result<(), c_int> {
        if args.op == 1 {
            let found = self.tables().timestamps.remove(&args.object_handle);
            return found.map(|_| ()).ok_or(libc::ENOENT);
        }
        let bo = self.bo(args.handle)?;
        if args
            .offset
            .checked_add(args.range)
            .is_none_or(|end| end > bo.size())
        {
            return Err(libc::EINVAL);
        }
        let mut tables = self.tables();
        args.object_handle = tables.number();
        let handle = args.object_handle;
        tables
            .timestamps
            .insert(handle, (bo, args.offset, args.range));
        Ok(())
    }

    fn queue_create(&self, args: &mut QueueCreate) -> Result<(), c_int> {
        if args.flags != 0 || args.priority > 3 {
            return Err(libc::EINVAL);
        }
        let mut tables = self.tables();
        let vm = tables.vms.get(&args.vm_id).cloned().ok_or(libc::ENOENT)?;
        args.queue_id = tables.number();
        let id = args.queue_id;
        tables.queues.insert(
            id,
            Queue {
                vm,
                usc_exec_base: args.usc_exec_base,
            },
        );
        Ok(())
    }

    fn prime_export(&self, args: &mut PrimeHandle) -> Result<(), c_int> {
        let bo = self.bo(args.handle)?;
        // SAFETY: Duplicating a descriptor of ours.
        let fd = unsafe { libc::fcntl(bo.fd(), libc::F_DUPFD_CLOEXEC, 3) };
        if fd < 0 {
            return Err(libc::EMFILE);
        }
        args.fd = fd;
        Ok(())
    }

    fn prime_import(&self, args: &mut PrimeHandle) -> Result<(), c_int> {
        let inode = Bo::inode(args.fd).ok_or(libc::EBADF)?;
        let mut tables = self.tables();
        let known = tables
            .bos
            .iter()
            .find(|(_, bo)| Bo::inode(bo.fd()) == Some(inode))
            .map(|(h, _)| *h);
        args.handle = match known {
            Some(handle) => handle,
            None => {
                let bo = Arc::new(Bo::import(args.fd)?);
                let handle = tables.number();
                tables.bos.insert(handle, bo);
                handle
            }
        };
        Ok(())
    }
}
