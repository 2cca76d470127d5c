// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The sync objects of a submission.

use core::mem::size_of;

use kernel::{
    dma_fence::{
        Fence,
        FenceChain, //
    },
    drm::syncobj::{
        self,
        SyncObj, //
    },
    prelude::*,
    sync::aref::ARef,
    uapi, //
};

use super::{
    user,
    AsahiFile, //
};

/// The most sync objects that a submission may have.
const MAX_SYNCS: u32 = 4096;

/// A sync object as it is named, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    handle: u32,
    /// The point of a timeline; binary ones have none.
    point: Option<u64>,
}

impl Name {
    fn parse(raw: &uapi::drm_asahi_sync) -> Result<Self> {
        let point = match raw.sync_type {
            uapi::drm_asahi_sync_type_DRM_ASAHI_SYNC_SYNCOBJ if raw.timeline_value == 0 => None,
            uapi::drm_asahi_sync_type_DRM_ASAHI_SYNC_TIMELINE_SYNCOBJ => Some(raw.timeline_value),
            _ => return Err(EINVAL),
        };
        Ok(Self {
            handle: raw.handle,
            point,
        })
    }
}

/// A sync object to signal.
struct OutSync {
    object: ARef<SyncObj>,
    /// For a timeline, the memory for the new point.
    point: Option<(FenceChain, u64)>,
}

/// The sync objects to signal.
pub(crate) struct OutSyncs(KVec<OutSync>);

impl OutSyncs {
    /// Has the sync objects signal with `fence`. Allocates nothing.
    pub(crate) fn publish(self, fence: &Fence) {
        for sync in self.0 {
            match sync.point {
                Some((chain, point)) => sync.object.add_point(chain, fence, point),
                None => sync.object.replace_fence(Some(fence)),
            }
        }
    }
}

/// The sync objects of a submission: the fences to wait for, and where to put the submission's own.
pub(crate) struct Syncs {
    fences: KVec<ARef<Fence>>,
    out: OutSyncs,
}

impl Syncs {
    /// Reads and looks up what a submission names.
    pub(crate) fn read(file: &AsahiFile, raw: &uapi::drm_asahi_submit) -> Result<Self> {
        let ins = raw.in_sync_count;
        let total = ins.checked_add(raw.out_sync_count).ok_or(EINVAL)?;
        if total > MAX_SYNCS {
            return Err(EINVAL);
        }

        const STRIDE: usize = size_of::<uapi::drm_asahi_sync>();
        let mut reader = user::slice(raw.syncs, total as usize * STRIDE)?.reader();
        let mut fences = KVec::with_capacity(ins as usize, GFP_KERNEL)?;
        let mut out = KVec::with_capacity((total - ins) as usize, GFP_KERNEL)?;

        for index in 0..total {
            let name = Name::parse(&user::read(&mut reader, STRIDE)?)?;
            if index < ins {
                let fence = syncobj::find_fence(file, name.handle, name.point.unwrap_or(0))?;
                fences.push(fence, GFP_KERNEL)?;
            } else {
                let object = SyncObj::lookup(file, name.handle)?;
                let point = match name.point {
                    Some(point) => Some((FenceChain::new(GFP_KERNEL)?, point)),
                    None => None,
                };
                out.push(OutSync { object, point }, GFP_KERNEL)?;
            }
        }
        Ok(Self {
            fences,
            out: OutSyncs(out),
        })
    }

    /// Takes the two halves apart.
    pub(crate) fn split(self) -> (KVec<ARef<Fence>>, OutSyncs) {
        (self.fences, self.out)
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kunit_tests(asahi_sync)]
mod tests {
    use super::*;

    fn name(sync_type: u32, timeline_value: u64) -> Result<Name> {
        Name::parse(&uapi::drm_asahi_sync {
            sync_type,
            handle: 5,
            timeline_value,
        })
    }

    #[test]
    fn names() {
        assert!(name(0, 0).unwrap().point.is_none());
        assert!(name(0, 1).is_err());
        assert!(name(1, 7).unwrap().point == Some(7));
        assert!(name(1, 0).unwrap().point == Some(0));
        assert!(name(2, 0).is_err());
    }
}
