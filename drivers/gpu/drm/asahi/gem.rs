// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Buffer objects.
//!
//! They are shmem objects. An object is either shared, and then has a reservation object of its own
//! and can be exported, or private to one VM, and then uses that VM's reservation object and stays
//! in this device. A buffer of another device is imported as a shared object.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    drm::gem::{
        self,
        shmem,
        BaseObject, //
    },
    io::PhysAddr,
    prelude::*,
    sync::{
        aref::ARef,
        SetOnce, //
    },
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

/// The largest size of an object: that of a VM's addresses. More could not be mapped, and the C
/// side counts pages and bytes in types with a sign.
const MAX_SIZE: u64 = 1 << 39;

/// A buffer object.
pub(crate) type Object = shmem::Object<AsahiObject>;

/// What the driver keeps with a buffer object.
#[pin_data]
pub(crate) struct AsahiObject {
    /// The [`Vm::id`] of the only VM that may map the object.
    private_to: Option<u64>,
    /// Where its memory is, once that has been asked for.
    runs: SetOnce<Runs>,
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
        try_pin_init!(Self {
            private_to,
            runs: SetOnce::new(),
        })
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

/// Has a system call that was interrupted while it waited for a reservation lock done again.
pub(crate) fn restart(error: Error) -> Error {
    if error == EINTR {
        ERESTARTSYS
    } else {
        error
    }
}

/// Returns where an object's memory is, which stays there until the device is unbound.
pub(crate) fn runs<'a>(object: &'a Object, dev: &'a Device<Bound>) -> Result<&'a Runs> {
    // This fails if the memory is not there any more.
    let pages = object.sg_table(dev).map_err(restart)?;
    if let Some(runs) = object.runs.as_ref() {
        return Ok(runs);
    }

    let entries = pages.iter();
    let runs = Runs::new(entries.map(|entry| (entry.dma_address(), entry.dma_len())))?;
    // It does not matter who was first, they are all the same.
    object.runs.populate(runs);
    object.runs.as_ref().ok_or(EINVAL)
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

/// Contiguous memory of an object.
#[derive(Clone, Copy)]
struct Run {
    /// Where in the object it begins.
    offset: u64,
    phys: PhysAddr,
}

/// Where an object's memory is: its scatter-gather table, in a form that can be searched.
pub(crate) struct Runs {
    runs: KVVec<Run>,
    /// Where the last run ends.
    end: u64,
}

impl Runs {
    /// Puts pieces of memory together that follow each other.
    ///
    /// This fails for pieces that are not made of whole pages, which only another device's buffer
    /// can have.
    fn new(pieces: impl Iterator<Item = (PhysAddr, u64)>) -> Result<Self> {
        let mut runs = KVVec::new();
        let mut end = 0;
        let mut next = None;

        for (phys, len) in pieces {
            if (phys | len) & PAGE_MASK != 0 {
                return Err(EINVAL);
            }
            if len == 0 {
                continue;
            }
            if next != Some(phys) {
                runs.push(Run { offset: end, phys }, GFP_KERNEL)?;
            }
            end += len;
            next = Some(phys + len);
        }
        Ok(Self { runs, end })
    }

    /// Finds the `len` bytes from `offset` on, all of which must be there.
    pub(crate) fn find(&self, offset: u64, len: u64) -> Result<Pieces<'_>> {
        let last = offset.checked_add(len).ok_or(EINVAL)?;
        if len == 0 || last > self.end {
            return Err(EINVAL);
        }
        let behind = self.runs.partition_point(|run| run.offset <= offset);
        let first = behind.checked_sub(1).ok_or(EINVAL)?;

        Ok(Pieces {
            runs: self.runs.get(first..).ok_or(EINVAL)?,
            end: self.end,
            offset,
            left: len,
        })
    }
}

/// The contiguous pieces of part of an object's memory, one after the other.
#[derive(Clone)]
pub(crate) struct Pieces<'a> {
    /// The runs from the one on that `offset` is in.
    runs: &'a [Run],
    end: u64,
    offset: u64,
    left: u64,
}

impl Iterator for Pieces<'_> {
    type Item = (PhysAddr, usize);

    fn next(&mut self) -> Option<(PhysAddr, usize)> {
        let (run, rest) = self.runs.split_first()?;
        let end = rest.first().map_or(self.end, |next| next.offset);
        let len = (end - self.offset).min(self.left);
        let phys = run.phys + (self.offset - run.offset);

        self.runs = rest;
        self.offset = end;
        self.left -= len;
        // CAST: Sizes in memory fit.
        (len != 0).then_some((phys, len as usize))
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

    fn pieces(runs: &Runs, offset: u64, len: u64) -> Result<KVec<(u64, usize)>> {
        let mut out = KVec::new();
        for piece in runs.find(offset, len)? {
            out.push(piece, GFP_KERNEL)?;
        }
        Ok(out)
    }

    #[test]
    fn runs_and_pieces() -> Result {
        let memory = [
            (0x10_0000, 0x4000),
            (0x10_4000, 0x8000),
            (0x40_0000, 0x4000),
            (0x20_0000, 0x8000),
        ];
        let runs = Runs::new(memory.into_iter())?;
        assert_eq!(runs.runs.len(), 3);
        assert_eq!(
            pieces(&runs, 0, 0x1_8000)?[..],
            [
                (0x10_0000, 0xc000),
                (0x40_0000, 0x4000),
                (0x20_0000, 0x8000)
            ]
        );
        assert_eq!(
            pieces(&runs, 0x8000, 0xc000)?[..],
            [
                (0x10_8000, 0x4000),
                (0x40_0000, 0x4000),
                (0x20_0000, 0x4000)
            ]
        );
        assert_eq!(pieces(&runs, 0xc000, 0x4000)?[..], [(0x40_0000, 0x4000)]);
        assert_eq!(pieces(&runs, 0x1_4000, 0x4000)?[..], [(0x20_4000, 0x4000)]);
        assert!(pieces(&runs, 0x1_4000, 0x8000).is_err());
        assert!(pieces(&runs, 0x1_8000, 0x4000).is_err());
        assert!(pieces(&runs, 0, 0).is_err());
        assert!(pieces(&runs, 0x4000, u64::MAX - 0x3fff).is_err());
        Ok(())
    }

    #[test]
    fn buffers_of_other_devices() {
        // Those of a device with smaller pages may begin or end inside of ours.
        for bad in [
            (0x10_1000, 0x4000),
            (0x10_0000, 0x5000),
            (0x10_0000, 0x1000),
        ] {
            assert!(Runs::new([(0x8_0000, 0x4000), bad].into_iter()).is_err());
        }
        let empty = Runs::new([(0x8_0000, 0)].into_iter()).unwrap();
        assert!(empty.find(0, 0x4000).is_err());
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
