// SPDX-License-Identifier: GPL-2.0-only OR MIT

use super::*;
use crate::{
    dma_fence::Fence,
    types::NotThreadSafe, //
};

/// How a fence that is added to a reservation object counts for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ResvUsage {
    /// For the kernel's own changes of the memory; everybody waits for it.
    Kernel = bindings::dma_resv_usage_DMA_RESV_USAGE_KERNEL,
    /// Implicit synchronization: readers and writers wait for it.
    Write = bindings::dma_resv_usage_DMA_RESV_USAGE_WRITE,
    /// Implicit synchronization: writers wait for it.
    Read = bindings::dma_resv_usage_DMA_RESV_USAGE_READ,
    /// No implicit synchronization; only what moves or frees the memory waits for it.
    Bookkeep = bindings::dma_resv_usage_DMA_RESV_USAGE_BOOKKEEP,
}

/// The locks of the reservation objects of a GPUVM and of all its external objects, each with
/// room for one fence.
///
/// They are unlocked when this is dropped.
///
/// # Invariants
///
/// - `exec` was locked by `drm_gpuvm_exec_lock()` for one fence, and still is.
/// - `exec.vm` is a [`GpuVm<T>`] that lives for `'a`.
pub struct LockedResvs<'a, T: DriverGpuVm> {
    exec: Pin<KBox<Opaque<bindings::drm_gpuvm_exec>>>,
    _vm: PhantomData<&'a GpuVm<T>>,
    // The locks belong to the thread that took them.
    _not_send: NotThreadSafe,
}

impl<T: DriverGpuVm> GpuVm<T> {
    /// Locks the reservation objects of this GPUVM and of all external objects that are mapped in
    /// it, and reserves room for one fence in each.
    ///
    /// All other objects share the GPUVM's reservation object. So the cost depends on the number
    /// of external objects, and not on how many objects or mappings there are.
    ///
    /// The wait for locks can be interrupted by a signal, for which this fails with [`EINTR`].
    ///
    /// Memory reclaim may wait for these locks, and for fences. So this must not be called, nor
    /// the locks be held, where a fence is signalled.
    pub fn lock_resvs(&self) -> Result<LockedResvs<'_, T>> {
        let exec = KBox::pin_init(
            Opaque::<bindings::drm_gpuvm_exec>::init_zeroed(),
            GFP_KERNEL,
        )?;
        let raw = exec.get();

        // SAFETY: `raw` is ours alone, and zeroes are a valid value of the structure.
        unsafe {
            (*raw).vm = self.as_raw();
            (*raw).flags =
                bindings::DRM_EXEC_INTERRUPTIBLE_WAIT | bindings::DRM_EXEC_IGNORE_DUPLICATES;
            (*raw).num_fences = 1;
        }

        // SAFETY: `raw` is filled in, is pinned, and lives until it is unlocked. The GPUVM is valid
        // by its type invariants.
        to_result(unsafe { bindings::drm_gpuvm_exec_lock(raw) })?;

        // INVARIANT: We have just locked it, and `self` lives for the lifetime of the result.
        Ok(LockedResvs {
            exec,
            _vm: PhantomData,
            _not_send: NotThreadSafe,
        })
    }

    /// Returns whether all fences in this GPUVM's reservation object have signalled.
    pub fn is_idle(&self) -> bool {
        // SAFETY: The GPUVM is valid, and with it its reservation object.
        unsafe {
            bindings::dma_resv_test_signaled(
                self.raw_resv(),
                bindings::dma_resv_usage_DMA_RESV_USAGE_BOOKKEEP,
            )
        }
    }
}

impl<T: DriverGpuVm> LockedResvs<'_, T> {
    /// Adds a fence to all of the reservation objects, and unlocks them.
    ///
    /// This cannot fail and allocates nothing, so that it may follow the moment at which the fence
    /// is bound to signal.
    pub fn add_fence(self, fence: &Fence, private: ResvUsage, external: ResvUsage) {
        let raw = self.exec.get();

        // SAFETY: By the type invariants, all is valid and locked and there is room for a fence in
        // each reservation object. We consume `self`, so that there is no second one. The fence is
        // valid as it is borrowed, and counted by the reservation objects.
        unsafe {
            bindings::drm_gpuvm_resv_add_fence(
                (*raw).vm,
                &raw mut (*raw).exec,
                fence.as_raw(),
                private as bindings::dma_resv_usage,
                external as bindings::dma_resv_usage,
            )
        };
    }
}

impl<T: DriverGpuVm> Drop for LockedResvs<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the locks are held, by this thread as `Self` is not
        // `Send`.
        unsafe { bindings::drm_exec_fini(&raw mut (*self.exec.get()).exec) };
    }
}
