// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Address spaces of clients.
//!
//! A [`Vm`] is three things: the tree of what user space has bound, which DRM's GPUVM keeps; the
//! page table that the GPU walks; and two heaps in the range that user space has left to the
//! kernel, from which the driver takes the memory that commands need in the client's address space.
//!
//! # Ownership
//!
//! A client's file and its queues own VMs together. Destroying a VM takes its number away; what is
//! mapped stays mapped until the last queue and the last job that use it are gone. The GPUVM counts
//! the DRM device and the objects, so that a VM may outlive the file and the binding; the page
//! table is dead then, and freeing it is all that happens.
//!
//! # Locking
//!
//! `tree` is held over the change of tree and page table, so that both always agree. Below it are
//! the objects' reservation locks, their lists of mappings, and the page table's own lock. Nothing
//! in the path from a job to its fence takes `tree`.
//!
//! # Failure
//!
//! An operation of VM_BIND that fails after it has begun, which only lack of memory for page tables
//! can cause, leaves its whole range unmapped.

use core::ops::Range;

use kernel::{
    device::{
        Bound,
        Device, //
    },
    drm::{
        gem::BaseObject,
        gpuvm::{
            GpuVm,
            OpMapRequest,
            UniqueRefGpuVm, //
        }, //
    },
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};

use crate::{
    alloc::UserHeaps,
    driver::AsahiDevice,
    file::bind::{
        check_in_object,
        object_len,
        page_aligned,
        Access, //
    },
    gem::{
        self,
        Object, //
    },
    gpu::Gpu,
    mmu::{
        self,
        Prot,
        USER_VA, //
    }, //
};

mod tree;

use tree::{
    MapArgs,
    Steps,
    Tree, //
};

/// The least size of the range that user space leaves to the kernel.
pub(crate) const KERNEL_MIN_SIZE: u64 = 0x2000_0000;

/// Numbers all VMs there ever are.
static NEXT_ID: Atomic<u64> = Atomic::new(1);

/// A client's address space.
#[pin_data(PinnedDrop)]
pub(crate) struct Vm {
    id: u64,
    heaps: UserHeaps,
    space: Arc<mmu::Vm>,
    kernel_range: Range<u64>,
    /// Has the reservation object that private objects share.
    root: ARef<Object>,
    #[pin]
    tree: Mutex<UniqueRefGpuVm<Tree>>,
    /// The same GPUVM; what it does by this reference needs no lock.
    gpuvm: ARef<GpuVm<Tree>>,
}

/// Checks the range that VM_CREATE leaves to the kernel.
pub(crate) fn check_kernel_range(start: u64, end: u64) -> Result<Range<u64>> {
    let len = end.checked_sub(start).ok_or(EINVAL)?;
    if start < USER_VA.start
        || end > USER_VA.end
        || len < KERNEL_MIN_SIZE
        || !page_aligned(start)
        || !page_aligned(end)
    {
        return Err(EINVAL);
    }
    Ok(start..end)
}

impl Vm {
    /// Makes an empty VM.
    pub(crate) fn new(
        ddev: &AsahiDevice,
        gpu: &Arc<Gpu>,
        kernel_range: Range<u64>,
    ) -> Result<Arc<Self>> {
        let root = gem::create_root(ddev)?;
        let space = gpu.new_vm()?;
        let heaps = UserHeaps::new(&space, kernel_range.clone())?;
        let tree = GpuVm::new::<Error, _>(
            c"asahi",
            ddev,
            &*root,
            USER_VA,
            kernel_range.clone(),
            Tree::new(space.clone()),
        )?;
        let gpuvm = ARef::from(&*tree);

        Arc::pin_init(
            pin_init!(Self {
                id: NEXT_ID.fetch_add(1, Relaxed),
                heaps,
                space,
                kernel_range,
                root,
                tree <- new_mutex!(tree),
                gpuvm,
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the number that no other VM has.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Returns the range that is the kernel's.
    pub(crate) fn kernel_range(&self) -> &Range<u64> {
        &self.kernel_range
    }

    /// Returns the object with the VM's reservation object.
    pub(crate) fn resv_object(&self) -> &Object {
        &self.root
    }

    /// Returns the page table.
    pub(crate) fn space(&self) -> &Arc<mmu::Vm> {
        &self.space
    }

    /// Returns the heaps in the kernel's range.
    pub(crate) fn heaps(&self) -> &UserHeaps {
        &self.heaps
    }

    /// Maps an object's memory, in place of whatever is mapped in the range.
    pub(crate) fn bind(
        &self,
        dev: &Device<Bound>,
        obj: &Object,
        offset: u64,
        range: Range<u64>,
        access: Access,
        single_page: bool,
    ) -> Result {
        obj.check_vm(self)?;
        check_in_object(offset, object_len(&range, single_page), obj.size())?;

        let pages = obj.sg_table(dev)?;
        let prot = match access {
            Access::Read => Prot::GPU_RO,
            Access::Write => Prot::GPU_WO,
            Access::ReadWrite => Prot::GPU_RW,
        };
        let vm_bo = self.gpuvm.obtain(obj, ())?;
        let mut steps = Steps::new(Some(MapArgs {
            pages,
            prot,
            single_page,
        }))?;

        let result = self.tree.lock().sm_map(OpMapRequest {
            addr: range.start,
            range: range.end - range.start,
            gem_offset: offset,
            vm_bo: &vm_bo,
            context: &mut steps,
        });
        drop(vm_bo);
        self.gpuvm.deferred_cleanup();
        result
    }

    /// Takes out whatever is mapped in the range.
    pub(crate) fn unbind(&self, range: Range<u64>) -> Result {
        let mut steps = Steps::new(None)?;
        self.unmap(range, &mut steps)
    }

    /// Takes out all mappings of an object.
    pub(crate) fn unbind_object(&self, obj: &Object) -> Result {
        // No mapping is split, so that nothing needs to be allocated.
        let mut steps = Steps::without_splits();
        let result = self.tree.lock().bo_unmap(obj, &mut steps);
        self.gpuvm.deferred_cleanup();
        result
    }

    fn unmap(&self, range: Range<u64>, steps: &mut Steps<'_>) -> Result {
        let len = range.end - range.start;
        let result = self.tree.lock().sm_unmap(range.start, len, steps);
        self.gpuvm.deferred_cleanup();
        result
    }
}

#[pinned_drop]
impl PinnedDrop for Vm {
    fn drop(self: Pin<&mut Self>) {
        for range in [
            USER_VA.start..self.kernel_range.start,
            self.kernel_range.end..USER_VA.end,
        ] {
            // The ranges end where no mapping goes on, so that none is split.
            if !range.is_empty() && self.unmap(range, &mut Steps::without_splits()).is_err() {
                pr_err!("cannot take down the mappings of a VM\n");
            }
        }
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kunit_tests(asahi_vm)]
mod tests {
    use super::*;

    #[test]
    fn kernel_ranges() {
        assert!(check_kernel_range(0x77_ffff_8000, 0x7f_ffff_8000).is_ok());
        assert!(check_kernel_range(0x4000, 0x4000 + KERNEL_MIN_SIZE).is_ok());
        assert!(check_kernel_range(0, KERNEL_MIN_SIZE).is_err());
        assert!(check_kernel_range(0x4000, KERNEL_MIN_SIZE).is_err());
        assert!(check_kernel_range(0x4000, 0x5000 + KERNEL_MIN_SIZE).is_err());
        assert!(check_kernel_range(0x5000, 0x8000 + KERNEL_MIN_SIZE).is_err());
        assert!(check_kernel_range(KERNEL_MIN_SIZE, 0x4000).is_err());
        assert!(check_kernel_range(0x4000, USER_VA.end + 0x4000).is_err());
        assert!(check_kernel_range(0, u64::MAX).is_err());
    }
}
