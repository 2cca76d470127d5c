// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Objects that are bound for a special use, by GEM_BIND_OBJECT.
//!
//! There is one use: the firmware writes timestamps to them, so that they are mapped in its half of
//! the address space.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    drm::gem::BaseObject,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    uapi, //
};

use crate::{
    driver::AsahiDevice,
    file::bind::{
        check_in_object,
        page_aligned, //
    },
    gem::{
        self,
        Object, //
    },
    gpu::Gpu,
    mmu::{
        self,
        prot,
        VaRange, //
    }, //
};

/// The size of a timestamp.
const TIMESTAMP_SIZE: u64 = 8;

/// A request of GEM_BIND_OBJECT, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Bind part of an object for timestamps.
    Bind {
        /// The object's handle.
        handle: u32,
        /// Where in the object.
        offset: u64,
        /// How much of it.
        len: u64,
    },
    /// Undo that.
    Unbind {
        /// The number that binding gave.
        object: u32,
    },
}

impl Request {
    /// Checks the arguments.
    pub(crate) fn parse(raw: &uapi::drm_asahi_gem_bind_object) -> Result<Self> {
        if raw.pad != 0 || raw.vm_id != 0 {
            return Err(EINVAL);
        }

        match raw.op {
            uapi::drm_asahi_bind_object_op_DRM_ASAHI_BIND_OBJECT_OP_BIND => {
                let flags =
                    uapi::drm_asahi_bind_object_flags_DRM_ASAHI_BIND_OBJECT_USAGE_TIMESTAMPS;
                if raw.flags != flags
                    || raw.range == 0
                    || !page_aligned(raw.offset)
                    || !page_aligned(raw.range)
                {
                    return Err(EINVAL);
                }
                Ok(Self::Bind {
                    handle: raw.handle,
                    offset: raw.offset,
                    len: raw.range,
                })
            }
            uapi::drm_asahi_bind_object_op_DRM_ASAHI_BIND_OBJECT_OP_UNBIND => {
                if raw.flags != 0 || raw.handle != 0 || raw.offset != 0 || raw.range != 0 {
                    return Err(EINVAL);
                }
                Ok(Self::Unbind {
                    object: raw.object_handle,
                })
            }
            _ => Err(EINVAL),
        }
    }
}

/// Part of an object, mapped for timestamps. A client and its jobs own it together.
pub(crate) struct TimestampBuffer {
    space: Arc<mmu::Vm>,
    range: VaRange,
    _object: ARef<Object>,
    /// Objects do not count their device, but must not outlive it.
    _ddev: ARef<AsahiDevice>,
}

impl TimestampBuffer {
    /// Maps `len` bytes of an object from `offset`.
    pub(crate) fn new(
        dev: &Device<Bound>,
        gpu: &Gpu,
        object: ARef<Object>,
        offset: u64,
        len: u64,
    ) -> Result<Self> {
        check_in_object(offset, len, object.size())?;
        let range = gpu.timestamp_vas().alloc(len.try_into()?)?;
        let ddev = ARef::from(object.dev());
        let buffer = Self {
            space: gpu.kernel_vm().clone(),
            range,
            _object: object,
            _ddev: ddev,
        };

        // If this fails half-way, dropping the buffer takes down what has been mapped.
        buffer.map(dev, offset, len)?;
        Ok(buffer)
    }

    fn map(&self, dev: &Device<Bound>, offset: u64, len: u64) -> Result {
        let pieces = gem::runs(&self._object, dev)?.find(offset, len)?;
        // SAFETY: The object's memory is pinned by its scatter-gather table, which lives as long as
        // the device is bound; the firmware is stopped before it is unbound. The object, and with
        // it the memory, is dropped after `self` has unmapped it.
        unsafe {
            self.space
                .map_pieces(self.range.start(), pieces, prot::FW_SHARED_RW)
        }
    }

    /// Returns the address of the timestamp at `offset`.
    pub(crate) fn va_of(&self, offset: u32) -> Result<u64> {
        let offset = u64::from(offset);
        if offset % TIMESTAMP_SIZE != 0 || offset + TIMESTAMP_SIZE > self.range.size() as u64 {
            return Err(EINVAL);
        }
        Ok(self.range.start() + offset)
    }
}

impl Drop for TimestampBuffer {
    fn drop(&mut self) {
        self.space.unmap(self.range.start(), self.range.size());
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kunit_tests(asahi_object)]
mod tests {
    use super::*;

    fn bind() -> uapi::drm_asahi_gem_bind_object {
        uapi::drm_asahi_gem_bind_object {
            flags: 1,
            handle: 3,
            offset: 0x4000,
            range: 0x8000,
            ..pin_init::zeroed()
        }
    }

    #[test]
    fn binds() {
        assert!(
            Request::parse(&bind())
                == Ok(Request::Bind {
                    handle: 3,
                    offset: 0x4000,
                    len: 0x8000
                })
        );
        let mut cases = [bind(); 7];
        cases[0].flags = 0;
        cases[1].flags = 3;
        cases[2].range = 0;
        cases[3].range = 0x1000;
        cases[4].offset = 8;
        cases[5].vm_id = 1;
        cases[6].pad = 1;
        assert!(cases.iter().all(|case| Request::parse(case).is_err()));
        let mut unknown = bind();
        unknown.op = 2;
        assert!(Request::parse(&unknown).is_err());
    }

    #[test]
    fn unbinds() {
        let unbind = uapi::drm_asahi_gem_bind_object {
            op: 1,
            object_handle: 9,
            ..pin_init::zeroed()
        };
        assert!(Request::parse(&unbind) == Ok(Request::Unbind { object: 9 }));
        let mut cases = [unbind; 4];
        cases[0].flags = 1;
        cases[1].handle = 1;
        cases[2].offset = 0x4000;
        cases[3].range = 0x4000;
        assert!(cases.iter().all(|case| Request::parse(case).is_err()));
    }
}
