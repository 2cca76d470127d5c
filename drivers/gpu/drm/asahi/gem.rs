// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Buffer objects.
//!
//! They are shmem objects. An object is either shared, and then has a reservation object of its own
//! and can be exported, or private to one VM, and then uses that VM's reservation object and stays
//! in this device. A buffer of another device is imported as a shared object.

use kernel::{
    drm::gem::{
        self,
        shmem,
        BaseObject, //
    },
    io::PhysAddr,
    prelude::*,
    scatterlist::{
        SGTable,
        SGTableIter, //
    },
    sync::aref::ARef,
    uapi, //
};

use crate::{
    driver::{
        AsahiDevice,
        AsahiDriver, //
    },
    file::AsahiFile,
    mmu::{
        PAGE_MASK,
        PAGE_SIZE, //
    },
    vm::Vm, //
};

const WRITEBACK: u32 = uapi::drm_asahi_gem_flags_DRM_ASAHI_GEM_WRITEBACK;
const VM_PRIVATE: u32 = uapi::drm_asahi_gem_flags_DRM_ASAHI_GEM_VM_PRIVATE;

/// The largest size of an object: that of a VM's addresses. More could not be mapped, and the C side
/// counts pages and bytes in types with a sign.
const MAX_SIZE: u64 = 1 << 39;

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

        if raw.size > MAX_SIZE {
            return Err(EINVAL);
        }

        Ok(Self {
            size: usize::try_from(raw.size)?.next_multiple_of(PAGE_SIZE),
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

    fn import(_dev: &AsahiDevice, size: usize) -> Result<Option<u64>> {
        if size == 0 || size as u64 > MAX_SIZE {
            return Err(EINVAL);
        }
        Ok(None)
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

/// The contiguous pieces of part of an object's memory, one after the other.
///
/// All of them are made of whole pages.
#[derive(Clone)]
pub(crate) struct Pieces<'a> {
    /// What remains of the entry where the part goes on.
    piece: (PhysAddr, u64),
    entries: SGTableIter<'a>,
    left: u64,
}

impl<'a> Pieces<'a> {
    /// Finds `len` bytes from `offset` on, all of which must be there.
    ///
    /// This fails for memory of another device that is not made of whole pages.
    pub(crate) fn new(pages: &'a SGTable, offset: u64, len: u64) -> Result<Self> {
        let mut entries = pages.iter();
        let mut skip = offset;
        let piece = loop {
            let entry = entries.next().ok_or(EINVAL)?;
            let piece = entry.dma_len();
            if skip < piece {
                break (entry.dma_address() + skip, piece - skip);
            }
            skip -= piece;
        };
        let pieces = Self {
            piece,
            entries,
            left: len,
        };

        let mut found = 0;
        for (phys, size) in pieces.clone() {
            if (phys | size as u64) & PAGE_MASK != 0 {
                return Err(EINVAL);
            }
            found += size as u64;
        }
        if found != len {
            return Err(EINVAL);
        }
        Ok(pieces)
    }
}

impl Iterator for Pieces<'_> {
    type Item = (PhysAddr, usize);

    fn next(&mut self) -> Option<(PhysAddr, usize)> {
        if self.left == 0 {
            return None;
        }
        while self.piece.1 == 0 {
            let entry = self.entries.next()?;
            self.piece = (entry.dma_address(), entry.dma_len());
        }

        let (phys, len) = self.piece;
        let size = len.min(self.left);
        self.piece.1 = 0;
        self.left -= size;
        // CAST: Sizes in memory fit.
        Some((phys, size as usize))
    }
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
        assert!(CreateArgs::parse(&args((1 << 39) + 1, 0, 0)).is_err());
        let largest = CreateArgs::parse(&args((1 << 39) - 1, 0, 0)).unwrap();
        assert_eq!(largest.size, 1 << 39);
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
