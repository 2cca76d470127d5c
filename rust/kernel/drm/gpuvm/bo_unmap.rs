// SPDX-License-Identifier: GPL-2.0-only OR MIT

use super::*;

impl<T: DriverGpuVm> GpuVm<T> {
    /// Returns the [`GpuVmBo`] of `obj`, if there is one.
    ///
    /// As with every reference to a [`GpuVmBo`], [`Self::deferred_cleanup`] is due when it has been
    /// dropped. Must not be called with the object's GPUVA lock held.
    pub fn find(&self, obj: &T::Object) -> Option<ARef<GpuVmBo<T>>> {
        // SAFETY: The GEM object is valid.
        let lock = unsafe { &raw mut (*obj.as_raw()).gpuva.lock };
        // SAFETY: The GEM object is valid, so the mutex is properly initialized.
        let lock = unsafe { crate::sync::Mutex::from_raw(lock) };
        let _guard = lock.lock();

        // SAFETY: We hold the GEM object's GPUVA lock.
        let vm_bo = unsafe { bindings::drm_gpuvm_bo_find(self.as_raw(), obj.as_raw()) };
        // SAFETY: `drm_gpuvm_bo_find()` gave us a reference, to a `drm_gpuvm_bo` that it has found
        // in the GEM list. All of this GPUVM are in a `GpuVmBo<T>`.
        NonNull::new(vm_bo).map(|vm_bo| unsafe { ARef::from_raw(vm_bo.cast()) })
    }
}

impl<T: DriverGpuVm> UniqueRefGpuVm<T> {
    /// Removes all mappings of `obj`.
    ///
    /// This is for drivers whose user space may close the last handle of an object without
    /// unmapping it first. It calls [`DriverGpuVm::sm_step_unmap`] for each mapping of `obj`, and
    /// never [`DriverGpuVm::sm_step_remap`], because it removes whole mappings only.
    ///
    /// Stops at the first callback that fails. Must not be called with the object's GPUVA lock
    /// held.
    pub fn bo_unmap(&mut self, obj: &T::Object, context: &mut T::SmContext<'_>) -> Result {
        while let Some(range) = self.first_va(obj) {
            self.sm_unmap(range.start, range.end - range.start, context)?;
        }
        Ok(())
    }

    /// Returns the range of one of the mappings of `obj`.
    fn first_va(&self, obj: &T::Object) -> Option<Range<u64>> {
        let vm_bo = self.find(obj)?;
        let _guard = vm_bo.lock_gpuva();

        // SAFETY: The reference is valid.
        let list = unsafe { &raw mut (*vm_bo.as_raw()).list.gpuva };
        // SAFETY: The list is initialized, and protected by the lock that we hold.
        let first = unsafe { (*list).next };
        (first != list).then(|| {
            // SAFETY: The list is not empty, so its first entry is in a `drm_gpuva`.
            let va = unsafe { kernel::container_of!(first, bindings::drm_gpuva, gem.entry) };
            // SAFETY: The VA is linked, thus valid while we hold the lock.
            let (addr, len) = unsafe { ((*va).va.addr, (*va).va.range) };
            addr..addr + len
        })
    }
}
