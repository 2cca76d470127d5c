// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Open files: one per client.
//!
//! A file holds the client's VMs, queues and special objects by number. The ioctls here check what
//! user space sends, once, and hand it on in types that have no invalid values; what the UAPI says
//! about padding, flags and sizes is answered before anything is done.
//!
//! When the firmware has crashed, all of them answer `ENODEV`, whatever their arguments; when the
//! device was unbound, DRM does that. What a client has goes away when it closes its file.

use core::mem::size_of;

use kernel::{
    capability::{
        capable,
        Capability, //
    },
    drm::{
        self,
        gem::BaseObject,
        Registered, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc,
    uapi, //
};

use crate::{
    driver::{
        AsahiDevice,
        AsahiDriver,
        AsahiRegData, //
    },
    gem::{
        self,
        CreateArgs,
        Object, //
    },
    queue::{
        cmdbuf::{
            self,
            CommandBuffer, //
        },
        Priority,
        Queue, //
    },
    vm::{
        self,
        Vm, //
    }, //
};

pub(crate) mod bind;
pub(crate) mod object;
mod params;
pub(crate) mod sync;
mod table;
pub(crate) mod user;

use bind::BindOp;
use object::TimestampBuffer;
use sync::Syncs;
use table::Table;

/// An open file.
pub(crate) type AsahiFile = drm::File<File>;

/// What the driver keeps with an open file.
#[pin_data]
pub(crate) struct File {
    // Queues hold VMs, so that they are dropped first.
    #[pin]
    queues: Table<Arc<Queue>>,
    #[pin]
    vms: Table<Arc<Vm>>,
    #[pin]
    objects: Table<Arc<TimestampBuffer>>,
}

impl drm::file::DriverFile for File {
    type Driver = AsahiDriver;

    fn open(_dev: &AsahiDevice) -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(
            pin_init!(Self {
                queues <- Table::new(),
                vms <- Table::new(),
                objects <- Table::new(),
            }),
            GFP_KERNEL,
        )
    }
}

impl File {
    /// Has an object go out of all VMs of the client, which has closed its handle.
    pub(crate) fn forget_object(&self, object: &Object) {
        let mut next = Some(1);
        while let Some((id, vm)) = next.and_then(|id| self.vms.next_from(id)) {
            if vm.close_object(object).is_err() {
                pr_err!("cannot take down the mappings of an object\n");
            }
            next = id.checked_add(1);
        }
    }

    /// GET_PARAMS: tells about the GPU.
    pub(crate) fn get_params(
        ddev: &AsahiDevice<Registered>,
        _reg: &AsahiRegData<'_>,
        data: &mut uapi::drm_asahi_get_params,
        _file: &AsahiFile,
    ) -> Result<u32> {
        ddev.gpu.check_alive()?;
        if data.param_group != 0 || data.pad != 0 {
            return Err(EINVAL);
        }
        if data.size > PAGE_SIZE as u64 {
            return Err(E2BIG);
        }

        let mut writer = user::slice(data.pointer, data.size as usize)?.writer();
        user::write(&mut writer, &params::global(&ddev.gpu))?;
        Ok(0)
    }

    /// GET_TIME: tells the time that timestamps are taken from.
    pub(crate) fn get_time(
        ddev: &AsahiDevice<Registered>,
        _reg: &AsahiRegData<'_>,
        data: &mut uapi::drm_asahi_get_time,
        _file: &AsahiFile,
    ) -> Result<u32> {
        ddev.gpu.check_alive()?;
        if data.flags != 0 {
            return Err(EINVAL);
        }
        data.gpu_timestamp = params::time();
        Ok(0)
    }

    /// VM_CREATE: makes an address space.
    pub(crate) fn vm_create(
        ddev: &AsahiDevice<Registered>,
        _reg: &AsahiRegData<'_>,
        data: &mut uapi::drm_asahi_vm_create,
        file: &AsahiFile,
    ) -> Result<u32> {
        ddev.gpu.check_alive()?;
        if data.pad != 0 {
            return Err(EINVAL);
        }
        let kernel_range = vm::check_kernel_range(data.kernel_start, data.kernel_end)?;

        let vm = Vm::new(ddev, &ddev.gpu, kernel_range)?;
        data.vm_id = file.inner().vms.insert(vm)?;
        Ok(0)
    }

    /// VM_DESTROY: gives up an address space, which its queues may go on using.
    pub(crate) fn vm_destroy(
        ddev: &AsahiDevice<Registered>,
        _reg: &AsahiRegData<'_>,
        data: &mut uapi::drm_asahi_vm_destroy,
        file: &AsahiFile,
    ) -> Result<u32> {
        ddev.gpu.check_alive()?;
        if data.pad != 0 {
            return Err(EINVAL);
        }
        file.inner().vms.remove(data.vm_id)?;
        Ok(0)
    }

    /// VM_BIND: changes what is mapped where.
    ///
    /// The operations are done in order. When one fails, those before it have been done, it has
    /// done nothing, and those behind it have not been begun. That is also so when a signal
    /// interrupts one; the array can be done again from its start then, with the same outcome.
    pub(crate) fn vm_bind(
        ddev: &AsahiDevice<Registered>,
        reg: &AsahiRegData<'_>,
        data: &mut uapi::drm_asahi_vm_bind,
        file: &AsahiFile,
    ) -> Result<u32> {
        ddev.gpu.check_alive()?;
        let stride = data.stride as usize;
        if data.pad != 0 || stride == 0 {
            return Err(EINVAL);
        }
        if stride > PAGE_SIZE {
            return Err(E2BIG);
        }
        let vm = file.inner().vms.get(data.vm_id)?;

        // Neither factor is larger than 32 bits.
        let len = stride * data.num_binds as usize;
        let mut reader = user::slice(data.userptr, len)?.reader();
        for _ in 0..data.num_binds {
            // The array may be very long.
            if current!().fatal_signal_pending() {
                return Err(EINTR);
            }
            let raw = user::read(&mut reader, stride)?;
            match BindOp::parse(&raw, vm.kernel_range())? {
                BindOp::Unbind { range } => vm.unbind(range)?,
                BindOp::Bind(args) => {
                    let object = gem::lookup(file, args.handle)?;
                    vm.bind(reg.pdev.as_ref(), &object, &args)?;
                }
            }
        }
        Ok(0)
    }

    /// GEM_CREATE: makes a buffer object.
    pub(crate) fn gem_create(
        ddev: &AsahiDevice<Registered>,
        _reg: &AsahiRegData<'_>,
        data: &mut uapi::drm_asahi_gem_create,
        file: &AsahiFile,
    ) -> Result<u32> {
        ddev.gpu.check_alive()?;
        let args = CreateArgs::parse(data)?;
        let vm = match args.vm_id {
            Some(id) => Some(file.inner().vms.get(id)?),
            None => None,
        };

        let object = gem::create(ddev, args.size, args.writeback, vm.as_deref())?;
        data.handle = object.create_handle(file)?;
        Ok(0)
    }

    /// GEM_MMAP_OFFSET: tells where to map an object.
    pub(crate) fn gem_mmap_offset(
        ddev: &AsahiDevice<Registered>,
        _reg: &AsahiRegData<'_>,
        data: &mut uapi::drm_asahi_gem_mmap_offset,
        file: &AsahiFile,
    ) -> Result<u32> {
        ddev.gpu.check_alive()?;
        if data.flags != 0 {
            return Err(EINVAL);
        }
        data.offset = gem::lookup(file, data.handle)?.create_mmap_offset()?;
        Ok(0)
    }

    /// GEM_BIND_OBJECT: has the firmware see an object.
    pub(crate) fn gem_bind_object(
        ddev: &AsahiDevice<Registered>,
        reg: &AsahiRegData<'_>,
        data: &mut uapi::drm_asahi_gem_bind_object,
        file: &AsahiFile,
    ) -> Result<u32> {
        ddev.gpu.check_alive()?;
        match object::Request::parse(data)? {
            object::Request::Bind {
                handle,
                offset,
                len,
            } => {
                let object = gem::lookup(file, handle)?;
                let dev = reg.pdev.as_ref();
                let buffer = TimestampBuffer::new(dev, &ddev.gpu, object, offset, len)?;
                let buffer = Arc::new(buffer, GFP_KERNEL)?;
                data.object_handle = file.inner().objects.insert(buffer)?;
            }
            object::Request::Unbind { object } => drop(file.inner().objects.remove(object)?),
        }
        Ok(0)
    }

    /// QUEUE_CREATE: makes a queue.
    pub(crate) fn queue_create(
        ddev: &AsahiDevice<Registered>,
        _reg: &AsahiRegData<'_>,
        data: &mut uapi::drm_asahi_queue_create,
        file: &AsahiFile,
    ) -> Result<u32> {
        ddev.gpu.check_alive()?;
        if data.flags != 0 {
            return Err(EINVAL);
        }
        let priority = Priority::parse(data.priority)?;
        if priority.is_privileged() && !capable(Capability::SYS_NICE) {
            return Err(EPERM);
        }

        let vm = file.inner().vms.get(data.vm_id)?;
        let queue = Queue::new(&ddev.gpu, &vm, priority, data.usc_exec_base)?;
        data.queue_id = file.inner().queues.insert(queue)?;
        Ok(0)
    }

    /// QUEUE_DESTROY: gives up a queue, whose jobs go on to their end.
    pub(crate) fn queue_destroy(
        ddev: &AsahiDevice<Registered>,
        _reg: &AsahiRegData<'_>,
        data: &mut uapi::drm_asahi_queue_destroy,
        file: &AsahiFile,
    ) -> Result<u32> {
        ddev.gpu.check_alive()?;
        if data.pad != 0 {
            return Err(EINVAL);
        }
        file.inner().queues.remove(data.queue_id)?;
        Ok(0)
    }

    /// SUBMIT: has a queue run commands.
    pub(crate) fn submit(
        ddev: &AsahiDevice<Registered>,
        _reg: &AsahiRegData<'_>,
        data: &mut uapi::drm_asahi_submit,
        file: &AsahiFile,
    ) -> Result<u32> {
        ddev.gpu.check_alive()?;
        if data.flags != 0 || data.pad != 0 {
            return Err(EINVAL);
        }
        let size = data.cmdbuf_size as usize;
        if size > cmdbuf::MAX_SIZE {
            return Err(EINVAL);
        }
        let queue = file.inner().queues.get(data.queue_id)?;

        let mut bytes = KVVec::new();
        user::slice(data.cmdbuf, size)?.read_all(&mut bytes, GFP_KERNEL)?;
        let buffer = CommandBuffer::parse(&bytes)?;
        let syncs = Syncs::read(file, data)?;

        queue.submit(&buffer, syncs, &|object| file.inner().objects.get(object))?;
        Ok(0)
    }
}

// The layouts that this driver was written against: the UAPI only ever adds to them.
const _: () = {
    assert!(size_of::<uapi::drm_asahi_gem_bind_op>() == 32);
    assert!(size_of::<uapi::drm_asahi_cmd_compute>() == 64);
    assert!(size_of::<uapi::drm_asahi_cmd_render>() == 240);
    assert!(size_of::<uapi::drm_asahi_params_global>() == 592);
};
