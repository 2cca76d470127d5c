// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The operations of VM_BIND, checked.

use core::ops::Range;

use kernel::{
    prelude::*,
    uapi, //
};

use crate::mmu::{
    PAGE_MASK,
    PAGE_SIZE,
    USER_VA, //
};

const UNBIND: u32 = uapi::drm_asahi_bind_flags_DRM_ASAHI_BIND_UNBIND;
const READ: u32 = uapi::drm_asahi_bind_flags_DRM_ASAHI_BIND_READ;
const WRITE: u32 = uapi::drm_asahi_bind_flags_DRM_ASAHI_BIND_WRITE;
const SINGLE_PAGE: u32 = uapi::drm_asahi_bind_flags_DRM_ASAHI_BIND_SINGLE_PAGE;

/// What the GPU may do with a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only read it.
    Read,
    /// Only write it.
    Write,
    /// Both.
    ReadWrite,
}

/// A checked operation of VM_BIND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BindOp {
    /// Take out whatever is mapped in the range.
    Unbind {
        /// The GPU addresses.
        range: Range<u64>,
    },
    /// Map an object's memory.
    Bind(BindArgs),
}

/// What to map where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BindArgs {
    /// The object's handle.
    pub(crate) handle: u32,
    /// Where in the object.
    pub(crate) offset: u64,
    /// The GPU addresses.
    pub(crate) range: Range<u64>,
    /// What the GPU may do.
    pub(crate) access: Access,
    /// Map one page all over the range.
    pub(crate) single_page: bool,
}

impl BindArgs {
    /// Returns the bytes of the object that the binding reaches.
    pub(crate) fn object_len(&self) -> u64 {
        if self.single_page {
            PAGE_SIZE as u64
        } else {
            self.range.end - self.range.start
        }
    }
}

impl BindOp {
    /// Checks an operation on a VM whose own memory lies in `kernel_range`.
    ///
    /// Whether the object is large enough shows when it has been looked up.
    pub(crate) fn parse(
        raw: &uapi::drm_asahi_gem_bind_op,
        kernel_range: &Range<u64>,
    ) -> Result<Self> {
        let range = user_range(raw, kernel_range)?;

        if raw.flags & UNBIND != 0 {
            if raw.flags != UNBIND || raw.handle != 0 || raw.offset != 0 {
                return Err(EINVAL);
            }
            return Ok(Self::Unbind { range });
        }

        if raw.flags & !(READ | WRITE | SINGLE_PAGE) != 0 || !page_aligned(raw.offset) {
            return Err(EINVAL);
        }

        let access = match (raw.flags & READ != 0, raw.flags & WRITE != 0) {
            (true, true) => Access::ReadWrite,
            (true, false) => Access::Read,
            (false, true) => Access::Write,
            (false, false) => return Err(EINVAL),
        };

        Ok(Self::Bind(BindArgs {
            handle: raw.handle,
            offset: raw.offset,
            range,
            access,
            single_page: raw.flags & SINGLE_PAGE != 0,
        }))
    }
}

/// Returns whether `value` lies on a page boundary.
pub(crate) fn page_aligned(value: u64) -> bool {
    value & PAGE_MASK == 0
}

/// Checks that `len` bytes from `offset` lie in an object of `size` bytes.
pub(crate) fn check_in_object(offset: u64, len: u64, size: usize) -> Result {
    let end = offset.checked_add(len).ok_or(EINVAL)?;
    if end > size as u64 {
        return Err(EINVAL);
    }
    Ok(())
}

fn user_range(raw: &uapi::drm_asahi_gem_bind_op, kernel_range: &Range<u64>) -> Result<Range<u64>> {
    if raw.range == 0 || !page_aligned(raw.addr) || !page_aligned(raw.range) {
        return Err(EINVAL);
    }

    let range = raw.addr..raw.addr.checked_add(raw.range).ok_or(EINVAL)?;
    if range.start < USER_VA.start || range.end > USER_VA.end {
        return Err(EINVAL);
    }
    if range.start < kernel_range.end && kernel_range.start < range.end {
        return Err(EINVAL);
    }
    Ok(range)
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kunit_tests(asahi_bind)]
mod tests {
    use super::*;

    const KERNEL: Range<u64> = 0x77_ffff_8000..0x7f_ffff_8000;

    fn op(flags: u32, addr: u64, range: u64) -> uapi::drm_asahi_gem_bind_op {
        uapi::drm_asahi_gem_bind_op {
            flags,
            handle: 0,
            offset: 0,
            range,
            addr,
        }
    }

    fn bad(raw: uapi::drm_asahi_gem_bind_op) -> bool {
        BindOp::parse(&raw, &KERNEL) == Err(EINVAL)
    }

    #[test]
    fn binds() {
        let mut raw = op(READ | WRITE, 0x1_0000_0000, 0x8000);
        raw.handle = 4;
        raw.offset = 0x4000;
        assert!(
            BindOp::parse(&raw, &KERNEL)
                == Ok(BindOp::Bind(BindArgs {
                    handle: 4,
                    offset: 0x4000,
                    range: 0x1_0000_0000..0x1_0000_8000,
                    access: Access::ReadWrite,
                    single_page: false,
                }))
        );
        raw.offset = 0x4001;
        assert!(bad(raw));
    }

    #[test]
    fn unbinds() {
        let mut raw = op(UNBIND, 0x4000, 0x4000);
        assert!(BindOp::parse(&raw, &KERNEL).is_ok());
        raw.handle = 1;
        assert!(bad(raw));
        assert!(bad(op(UNBIND | READ, 0x4000, 0x4000)));
    }

    #[test]
    fn flags() {
        assert!(bad(op(0, 0x4000, 0x4000)));
        assert!(bad(op(SINGLE_PAGE, 0x4000, 0x4000)));
        assert!(bad(op(READ | 0x10, 0x4000, 0x4000)));
        assert!(bad(op(READ | 0x8000_0000, 0x4000, 0x4000)));
        assert!(!bad(op(READ | SINGLE_PAGE, 0x4000, 0x4000)));
    }

    #[test]
    fn ranges() {
        assert!(bad(op(READ, 0x4000, 0)));
        assert!(bad(op(READ, 0, 0x4000)));
        assert!(bad(op(READ, 0x5000, 0x4000)));
        assert!(bad(op(READ, 0x4000, 0x1000)));
        assert!(bad(op(READ, 0x4000, 0u64.wrapping_sub(0x4000))));
        assert!(bad(op(READ, 0u64.wrapping_sub(0x4000), 0x4000)));
        assert!(bad(op(READ, KERNEL.start, 0x4000)));
        assert!(bad(op(READ, KERNEL.start - 0x4000, 0x8000)));
        assert!(bad(op(READ, 0x4000, USER_VA.end - 0x4000)));
        assert!(bad(op(READ, USER_VA.end, 0x4000)));
        assert!(!bad(op(READ, KERNEL.start - 0x4000, 0x4000)));
    }

    #[test]
    fn objects() {
        assert!(check_in_object(0x4000, 0x4000, 0x8000).is_ok());
        assert!(check_in_object(0x4000, 0x8000, 0x8000).is_err());
        assert!(check_in_object(u64::MAX - 0x3fff, 0x4000, 0x8000).is_err());
        let mut args = BindArgs {
            handle: 1,
            offset: 0,
            range: 0x4000..0x10_4000,
            access: Access::Read,
            single_page: true,
        };
        assert_eq!(args.object_len(), 0x4000);
        args.single_page = false;
        assert_eq!(args.object_len(), 0x10_0000);
    }
}
