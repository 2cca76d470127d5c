// SPDX-License-Identifier: MIT OR Apache-2.0

//! Objects, address spaces, and what is bound where.

use super::{OpenFile, TimestampObject};
use crate::bo::{self, Bo};
use crate::device::device;
use crate::uapi::*;
use crate::user;
use crate::vm::Vm;
use libc::c_int;
use std::sync::Arc;

/// The largest object: what an address space could hold.
const MAX_SIZE: u64 = 1 << 39;

/// Offsets of objects for mmap: so far apart as the largest is long.
pub const MAP_STEP: u64 = 1 << 40;

/// The largest element of an array of operations.
const MAX_STRIDE: u32 = 16384;

/// VM_CREATE.
pub fn vm_create(file: &OpenFile, args: &mut VmCreate) -> Result<(), c_int> {
    if args.pad != 0 {
        return Err(libc::EINVAL);
    }
    let vm = Arc::new(Vm::new(args.kernel_start..args.kernel_end)?);
    args.vm_id = file.tables().vms.insert(vm)?;
    Ok(())
}

/// VM_DESTROY: queues may go on using it.
pub fn vm_destroy(file: &OpenFile, args: &mut VmDestroy) -> Result<(), c_int> {
    if args.pad != 0 {
        return Err(libc::EINVAL);
    }
    let vm = file.tables().vms.remove(args.vm_id);
    vm.map(drop).ok_or(libc::ENOENT)
}

/// VM_BIND: in order, up to the first that is refused.
pub fn vm_bind(file: &OpenFile, args: &mut VmBind) -> Result<(), c_int> {
    if args.pad != 0 || args.stride == 0 {
        return Err(libc::EINVAL);
    }
    if args.stride > MAX_STRIDE {
        return Err(libc::E2BIG);
    }
    let vm = file.vm(args.vm_id)?;
    for index in 0..args.num_binds {
        let at = u64::from(index) * u64::from(args.stride);
        let at = args.userptr.checked_add(at).ok_or(libc::EFAULT)?;
        let op: BindOp = user::element(at, args.stride as usize)?;
        let bo = match op.flags & BIND_UNBIND {
            0 => {
                vm.check(&op)?;
                Some(file.bo(op.handle)?)
            }
            _ => None,
        };
        vm.bind(&op, bo)?;
    }
    Ok(())
}

/// GEM_CREATE.
pub fn gem_create(file: &OpenFile, args: &mut GemCreate) -> Result<(), c_int> {
    let private = args.flags & GEM_VM_PRIVATE != 0;
    if args.pad != 0
        || args.flags & !(GEM_WRITEBACK | GEM_VM_PRIVATE) != 0
        || !(1..=MAX_SIZE).contains(&args.size)
        || !private && args.vm_id != 0
    {
        return Err(libc::EINVAL);
    }
    let private_to = match private {
        true => Some(file.vm(args.vm_id)?.id),
        false => None,
    };
    let bo = Arc::new(Bo::new(args.size.next_multiple_of(PAGE), private_to)?);
    args.handle = file.tables().bos.insert(bo)?;
    Ok(())
}

/// DRM_IOCTL_GEM_CLOSE: the object goes out of the client's address spaces, too.
pub fn gem_close(file: &OpenFile, args: &mut GemClose) -> Result<(), c_int> {
    if args.pad != 0 {
        return Err(libc::EINVAL);
    }
    let (bo, vms) = {
        let mut tables = file.tables();
        let bo = tables.bos.remove(args.handle).ok_or(libc::EINVAL)?;
        let vms: Vec<_> = tables.vms.iter().map(|(_, vm)| vm.clone()).collect();
        (bo, vms)
    };
    for vm in vms {
        vm.forget(&bo);
    }
    Ok(())
}

/// GEM_MMAP_OFFSET.
pub fn gem_mmap_offset(file: &OpenFile, args: &mut GemMmapOffset) -> Result<(), c_int> {
    if args.flags != 0 {
        return Err(libc::EINVAL);
    }
    file.bo(args.handle)?;
    args.offset = u64::from(args.handle) * MAP_STEP;
    Ok(())
}

/// The object that an offset for mmap stands for.
pub fn at_offset(file: &OpenFile, offset: u64, len: usize) -> Result<Arc<Bo>, c_int> {
    if !offset.is_multiple_of(MAP_STEP) {
        return Err(libc::EINVAL);
    }
    let handle = u32::try_from(offset / MAP_STEP).map_err(|_| libc::EINVAL)?;
    let bo = file.bo(handle).map_err(|_| libc::EINVAL)?;
    if len as u64 > bo.size() {
        return Err(libc::EINVAL);
    }
    Ok(bo)
}

/// GEM_BIND_OBJECT.
pub fn gem_bind_object(file: &OpenFile, args: &mut GemBindObject) -> Result<(), c_int> {
    if args.pad != 0 || args.vm_id != 0 {
        return Err(libc::EINVAL);
    }
    match args.op {
        OBJECT_BIND => {
            let aligned = args.offset.is_multiple_of(PAGE) && args.range.is_multiple_of(PAGE);
            if args.flags != OBJECT_TIMESTAMPS || args.range == 0 || !aligned {
                return Err(libc::EINVAL);
            }
            let bo = file.bo(args.handle)?;
            let end = args.offset.checked_add(args.range);
            if end.is_none_or(|end| end > bo.size()) {
                return Err(libc::EINVAL);
            }
            args.object_handle = file.tables().timestamps.insert(TimestampObject {
                bo,
                offset: args.offset,
                range: args.range,
            })?;
            Ok(())
        }
        OBJECT_UNBIND => {
            if args.flags != 0 || args.handle != 0 || args.offset != 0 || args.range != 0 {
                return Err(libc::EINVAL);
            }
            let object = file.tables().timestamps.remove(args.object_handle);
            object.map(drop).ok_or(libc::ENOENT)
        }
        _ => Err(libc::EINVAL),
    }
}

/// DRM_IOCTL_PRIME_HANDLE_TO_FD.
pub fn prime_export(file: &OpenFile, args: &mut PrimeHandleToFd) -> Result<(), c_int> {
    let known = (libc::O_CLOEXEC | libc::O_RDWR) as u32;
    if args.flags & !known != 0 {
        return Err(libc::EINVAL);
    }
    let bo = file.bo(args.handle)?;
    args.fd = bo.export(args.flags)?;
    device().share(&bo);
    Ok(())
}

/// DRM_IOCTL_PRIME_FD_TO_HANDLE: what the client has already comes back by the handle that it has.
pub fn prime_import(file: &OpenFile, args: &mut PrimeFdToHandle) -> Result<(), c_int> {
    let identity = crate::node::inode(args.fd).ok_or(libc::EBADF)?;
    if !bo::is_buffer(args.fd) {
        return Err(libc::EINVAL);
    }
    let bo = device().shared(identity, args.fd)?;
    let mut tables = file.tables();
    let known = tables.bos.iter().find(|(_, known)| Arc::ptr_eq(known, &bo));
    args.handle = match known {
        Some((handle, _)) => handle,
        None => tables.bos.insert(bo)?,
    };
    Ok(())
}
