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
//! the DRM device and the mappings count their objects, so that a VM may outlive the file and the
//! binding; the page table is dead then, and freeing it is all that happens. An object that is not
//! mapped any more stays while there is work that began when it was: see [`retire`].
//!
//! # Locking
//!
//! `tree` is held over the change of tree and page table, so that both always agree. Below it are
//! the objects' lists of mappings, and the page table's own lock. Reservation locks are taken
//! without `tree`. Nothing in the path from a job to its fence takes `tree` or a reservation lock.
//!
//! # Failure
//!
//! An operation happens as a whole or not at all. Whatever may fail is done before its first step:
//! the object's memory is there, the nodes of the tree and the page tables are allocated.

use core::ops::Range;

use kernel::{
    device::{
        Bound,
        Device, //
    },
    dma_fence::Fence,
    drm::{
        gem::BaseObject,
        gpuvm::{
            GpuVm,
            LockedResvs,
            OpMapRequest,
            ResvUsage,
            UniqueRefGpuVm, //
        }, //
    },
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        SpinLock, //
    }, //
};

use crate::{
    alloc::UserHeaps,
    driver::AsahiDevice,
    file::bind::{
        check_in_object,
        page_aligned,
        Access,
        BindArgs, //
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

mod retire;
mod tree;

use retire::Epochs;
pub(crate) use retire::VmWork;
use tree::{
    BoState,
    MapArgs,
    Nodes,
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
    #[pin]
    epochs: Epochs,
    /// What the last operation had no need of.
    #[pin]
    nodes: SpinLock<Nodes>,
}

/// The reservation objects of a VM and of the objects that are mapped in it, locked and with room
/// for the fence of one job.
pub(crate) struct ReservedFences<'a>(LockedResvs<'a, Tree>);

impl ReservedFences<'_> {
    /// Adds the fence of a job, and unlocks. Neither fails nor allocates.
    ///
    /// User space says itself what waits for what, and tells other processes by the sync files of
    /// dma-bufs. So the fence only keeps the memory from being moved or freed.
    pub(crate) fn add(self, fence: &Fence) {
        self.0
            .add_fence(fence, ResvUsage::Bookkeep, ResvUsage::Bookkeep);
    }
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
        let epochs = Epochs::new()?;

        Arc::pin_init(
            pin_init!(Self {
                id: NEXT_ID.fetch_add(1, Relaxed),
                heaps,
                space,
                kernel_range,
                root,
                tree <- new_mutex!(tree),
                gpuvm,
                epochs <- epochs,
                nodes <- new_spinlock!(Nodes::default()),
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

    /// Begins work that uses the VM: see [`VmWork`].
    pub(crate) fn begin_work(self: &Arc<Self>) -> VmWork {
        VmWork::new(self)
    }

    /// Locks the reservation objects that the fence of a job has to go to, and makes room in them.
    ///
    /// These are that of the VM, which all of its private objects share, and those of the external
    /// objects that are mapped, of which the cost depends. A signal ends the wait for the locks.
    pub(crate) fn reserve_fences(&self) -> Result<ReservedFences<'_>> {
        let locked = self.gpuvm.lock_resvs().map_err(gem::restart)?;
        Ok(ReservedFences(locked))
    }

    /// Maps an object's memory, in place of whatever is mapped in the range.
    pub(crate) fn bind(&self, dev: &Device<Bound>, obj: &Object, args: &BindArgs) -> Result {
        obj.check_vm(self)?;
        check_in_object(args.offset, args.object_len(), obj.size())?;

        let (addr, range) = (args.range.start, args.range.end - args.range.start);
        let runs = gem::runs(obj, dev)?;
        let pieces = runs.find(args.offset, args.object_len())?;
        let prot = match args.access {
            Access::Read => Prot::GPU_RO,
            Access::Write => Prot::GPU_WO,
            Access::ReadWrite => Prot::GPU_RW,
        };
        let map = MapArgs {
            pieces,
            prot,
            single_page: args.single_page,
        };
        let steps = Steps::new(Some(map), self.nodes()?);
        self.space.reserve(addr, range)?;
        let vm_bo = self.gpuvm.obtain(obj, BoState::new())?;

        self.change(steps, |tree, steps| {
            if vm_bo.data().reopen() {
                // What was to go with the former handle goes now, so that it does not stay.
                tree.bo_unmap(obj, steps)?;
            }
            tree.sm_map(OpMapRequest {
                addr,
                range,
                gem_offset: args.offset,
                vm_bo: &vm_bo,
                context: steps,
            })
        })
    }

    /// Takes out whatever is mapped in the range.
    pub(crate) fn unbind(&self, range: Range<u64>) -> Result {
        self.unmap(range, Steps::new(None, self.nodes()?))
    }

    /// Takes all the nodes that an operation may need, perhaps those that another has not needed.
    fn nodes(&self) -> Result<Nodes> {
        let mut nodes = core::mem::take(&mut *self.nodes.lock());
        nodes.fill()?;
        Ok(nodes)
    }

    /// Takes out all mappings of an object whose handle the client has closed, when the work is
    /// over that may use them.
    pub(crate) fn close_object(&self, obj: &Object) -> Result {
        let Some(vm_bo) = self.gpuvm.find(obj) else {
            return Ok(());
        };
        vm_bo.data().close();
        drop(vm_bo);

        // Work that has signalled its fence is over, even if it has not been cleaned up.
        if self.gpuvm.is_idle() || self.epochs.close(ARef::from(obj)).is_err() {
            self.take_out(obj)?;
        }
        self.take_out_closed();
        Ok(())
    }

    /// Takes out the closed objects that no work uses any more.
    fn take_out_closed(&self) {
        while let Some(result) = self.epochs.with_next_due(|object| self.take_out(object)) {
            if result.is_err() {
                pr_err!("cannot take down the mappings of an object\n");
            }
        }
    }

    fn take_out(&self, obj: &Object) -> Result {
        // No mapping is split, so that nothing needs to be allocated.
        self.change(
            Steps::new(None, Nodes::default()),
            |tree, steps| match self.gpuvm.find(obj) {
                Some(vm_bo) if vm_bo.data().reopen() => tree.bo_unmap(obj, steps),
                _ => Ok(()),
            },
        )
    }

    fn unmap(&self, range: Range<u64>, steps: Steps<'_>) -> Result {
        self.change(steps, |tree, steps| {
            tree.sm_unmap(range.start, range.end - range.start, steps)
        })
    }

    /// Does an operation, and then what has to follow it.
    fn change<'a>(
        &self,
        mut steps: Steps<'a>,
        operation: impl FnOnce(&mut UniqueRefGpuVm<Tree>, &mut Steps<'a>) -> Result,
    ) -> Result {
        let mut tree = self.tree.lock();
        let result = operation(&mut tree, &mut steps);
        steps.flush(&self.space);
        drop(tree);

        let nodes = core::mem::replace(&mut *self.nodes.lock(), steps.nodes);
        drop(nodes);
        // Objects may be freed here, so no lock is held.
        self.epochs.retire(steps.removed);
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
            if !range.is_empty()
                && self
                    .unmap(range, Steps::new(None, Nodes::default()))
                    .is_err()
            {
                pr_err!("cannot take down the mappings of a VM\n");
            }
        }
        self.gpuvm.deferred_cleanup();
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
