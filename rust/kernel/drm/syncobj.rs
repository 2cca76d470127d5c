// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Sync objects.
//!
//! A sync object is how user space names a fence: a *binary* one holds a fence, and a *timeline*
//! holds one for each of its points.
//!
//! C header: [`include/drm/drm_syncobj.h`](srctree/include/drm/drm_syncobj.h)

use crate::{
    bindings,
    dma_fence::{
        Fence,
        FenceChain, //
    },
    drm,
    error::to_result,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};
use core::ptr::NonNull;

/// Returns the fence that a sync object of a client holds, or has at a point of its timeline.
///
/// For a binary sync object `point` is zero. Fails with [`ENOENT`] if there is no such sync object,
/// and with [`EINVAL`] if it has no fence, or none for this point, as yet: it is for user space to
/// wait for that, see `DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT`.
pub fn find_fence<F: drm::file::DriverFile>(
    file: &drm::File<F>,
    handle: u32,
    point: u64,
) -> Result<ARef<Fence>> {
    let mut fence = core::ptr::null_mut();

    // SAFETY: The file is valid, as it is a reference.
    to_result(unsafe {
        bindings::drm_syncobj_find_fence(file.as_raw().cast(), handle, point, 0, &raw mut fence)
    })?;

    let fence = NonNull::new(fence.cast::<Fence>()).ok_or(EINVAL)?;

    // SAFETY: The function returns a reference, which we take over.
    Ok(unsafe { ARef::from_raw(fence) })
}

/// A sync object.
#[repr(transparent)]
pub struct SyncObj(Opaque<bindings::drm_syncobj>);

// SAFETY: The reference count keeps a sync object alive.
unsafe impl AlwaysRefCounted for SyncObj {
    fn inc_ref(&self) {
        // SAFETY: A reference to a sync object shows that its reference count is not zero.
        unsafe { bindings::drm_syncobj_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller has a reference, and gives it up.
        unsafe { bindings::drm_syncobj_put(obj.as_ptr().cast()) };
    }
}

// SAFETY: A sync object can be used and released anywhere.
unsafe impl Send for SyncObj {}

// SAFETY: Everything that can be done to a `&SyncObj` does its own locking.
unsafe impl Sync for SyncObj {}

impl SyncObj {
    /// Finds a sync object of a client. Fails with [`ENOENT`] if there is none.
    pub fn lookup<F: drm::file::DriverFile>(
        file: &drm::File<F>,
        handle: u32,
    ) -> Result<ARef<Self>> {
        // SAFETY: The file is valid, as it is a reference.
        let obj = unsafe { bindings::drm_syncobj_find(file.as_raw().cast(), handle) };
        let obj = NonNull::new(obj.cast::<Self>()).ok_or(ENOENT)?;

        // SAFETY: The function returns a reference, which we take over.
        Ok(unsafe { ARef::from_raw(obj) })
    }

    fn as_raw(&self) -> *mut bindings::drm_syncobj {
        self.0.get()
    }

    /// Returns the fence that is in the sync object, if there is one.
    pub fn fence(&self) -> Option<ARef<Fence>> {
        // SAFETY: The pointer is valid, as `self` is a reference.
        let fence = unsafe { bindings::drm_syncobj_fence_get(self.as_raw()) };

        // SAFETY: The function returns a reference, which we take over.
        NonNull::new(fence.cast()).map(|fence| unsafe { ARef::from_raw(fence) })
    }

    /// Puts a fence into a binary sync object, or takes it out.
    pub fn replace_fence(&self, fence: Option<&Fence>) {
        let fence = fence.map_or(core::ptr::null_mut(), Fence::as_raw);

        // SAFETY: Both pointers are valid, as they come from references. The function takes a
        // reference of its own.
        unsafe { bindings::drm_syncobj_replace_fence(self.as_raw(), fence) };
    }

    /// Adds a point to a timeline.
    ///
    /// `fence` must be that of a piece of work, and not have come from a timeline.
    pub fn add_point(&self, chain: FenceChain, fence: &Fence, point: u64) {
        // SAFETY: All pointers are valid, as they come from references or from an object that we
        // own. The function takes a reference to the fence of its own, and takes over the memory
        // of the point.
        unsafe {
            bindings::drm_syncobj_add_point(self.as_raw(), chain.into_raw(), fence.as_raw(), point)
        };
    }
}
