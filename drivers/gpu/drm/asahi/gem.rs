// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Buffer objects.
//!
//! They are shmem objects. An object is either shared, and then has a reservation object of its own
//! and can be exported, or private to one VM, and then uses that VM's reservation object and stays
//! in this device.

use kernel::{
    drm::gem::{
        self,
        shmem,
        BaseObject, //
    },
    prelude::*,
    sync::aref::ARef,
    uapi, //
};

use crate::{
    driver::{
        AsahiDevice,
        AsahiDriver, //
    },
    file::AsahiFile,
    mmu::PAGE_SIZE,
    vm::Vm, //
};

const WRITEBACK: u32 = uapi::drm_asahi_gem_flags_DRM_ASAHI_GEM_WRITEBACK;
const VM_PRIVATE: u32 = uapi::drm_asahi_gem_flags_DRM_ASAHI_GEM_VM_PRIVATE;

/// A buffer object.
pub(crate) type Object = shmem::Object<AsahiObject>;

/// What the driver keeps with a buffer object.
#[pin_data]
pub(crate) struct AsahiObject {
    /// The [`Vm::id`] of the only VM that may map the object.
    private_to: Option<u64>,
}

/// What an object is made from, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CreateArgs {
    /// In bytes, a multiple of the page size.
    pub(crate) size: usize,
    /// Whether the CPU maps it cached.
    pub(crate) writeback: bool,
    /// The VM it is private to.
    pub(crate) vm_id: Option<u32>,
}

impl CreateArgs {
    /// Checks the arguments of GEM_CREATE.
    pub(crate) fn parse(raw: &uapi::drm_asahi_gem_create) -> Result<Self> {
        if raw.pad != 0 || raw.flags & !(WRITEBACK | VM_PRIVATE) != 0 || raw.size == 0 {
            return Err(EINVAL);
        }

        let private = raw.flags & VM_PRIVATE != 0;
        if !private && raw.vm_id != 0 {
            return Err(EINVAL);
        }

        let size = usize::try_from(raw.size).map_err(|_| EINVAL)?;
        let size = size.checked_next_multiple_of(PAGE_SIZE).ok_or(EINVAL)?;
        // The C side counts pages and bytes in types with a sign.
        if isize::try_from(size).is_err() {
            return Err(EINVAL);
        }

        Ok(Self {
            size,
            writeback: raw.flags & WRITEBACK != 0,
            vm_id: private.then_some(raw.vm_id),
        })
    }
}

impl gem::DriverObject for AsahiObject {
    type Driver = AsahiDriver;
    type Args = Option<u64>;

    fn new(_dev: &AsahiDevice, _size: usize, private_to: Option<u64>) -> impl PinInit<Self, Error> {
        try_pin_init!(Self { private_to })
    }

    fn close(obj: &Object, file: &AsahiFile) {
        file.inner().forget_object(obj);
    }

    fn export(obj: &Object) -> Result {
        match obj.private_to {
            Some(_) => Err(EINVAL),
            None => Ok(()),
        }
    }
}

impl AsahiObject {
    /// Checks that `vm` may map the object.
    pub(crate) fn check_vm(&self, vm: &Vm) -> Result {
        match self.private_to {
            Some(id) if id != vm.id() => Err(EINVAL),
            _ => Ok(()),
        }
    }
}

/// Makes an object; `vm` is the VM that it is private to.
pub(crate) fn create(
    ddev: &AsahiDevice,
    size: usize,
    writeback: bool,
    vm: Option<&Vm>,
) -> Result<ARef<Object>> {
    Object::new(
        ddev,
        size,
        shmem::ObjectConfig {
            map_wc: !writeback,
            parent_resv_obj: vm.map(Vm::resv_object),
        },
        vm.map(Vm::id),
    )
}

/// Makes the object whose reservation object a VM's private objects share.
pub(crate) fn create_root(ddev: &AsahiDevice) -> Result<ARef<Object>> {
    Object::new(ddev, PAGE_SIZE, shmem::ObjectConfig::default(), None)
}

/// Finds the object that a client's handle names.
pub(crate) fn lookup(file: &AsahiFile, handle: u32) -> Result<ARef<Object>> {
    Object::lookup_handle(file, handle)
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kunit_tests(asahi_gem)]
mod tests {
    use super::*;

    fn args(size: u64, flags: u32, vm_id: u32) -> uapi::drm_asahi_gem_create {
        uapi::drm_asahi_gem_create {
            size,
            flags,
            vm_id,
            handle: 0,
            pad: 0,
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(CreateArgs::parse(&args(1, 0, 0)).unwrap().size, 0x4000);
        assert_eq!(CreateArgs::parse(&args(0x4000, 0, 0)).unwrap().size, 0x4000);
        assert!(CreateArgs::parse(&args(0, 0, 0)).is_err());
        assert!(CreateArgs::parse(&args(u64::MAX, 0, 0)).is_err());
        assert!(CreateArgs::parse(&args(1 << 63, 0, 0)).is_err());
    }

    #[test]
    fn flags() {
        assert!(CreateArgs::parse(&args(1, WRITEBACK, 0)).unwrap().writeback);
        let private = CreateArgs::parse(&args(1, VM_PRIVATE, 7)).unwrap();
        assert!(private.vm_id == Some(7) && !private.writeback);
        assert!(CreateArgs::parse(&args(1, 0, 7)).is_err());
        assert!(CreateArgs::parse(&args(1, 4, 0)).is_err());
        let mut padded = args(1, 0, 0);
        padded.pad = 1;
        assert!(CreateArgs::parse(&padded).is_err());
    }
}
