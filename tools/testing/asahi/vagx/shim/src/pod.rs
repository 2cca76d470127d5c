// SPDX-License-Identifier: MIT OR Apache-2.0

//! Structures of the interface as bytes.

use crate::uapi::*;
use libc::c_int;

/// A structure that any bytes make a valid value of, and that has no padding.
///
/// # Safety
///
/// Both hold.
pub unsafe trait Pod: Copy {
    /// The value of which all bytes are zero.
    fn zero() -> Self {
        // SAFETY: Any bytes make a value.
        unsafe { std::mem::zeroed() }
    }

    /// Its bytes.
    fn bytes(&self) -> &[u8] {
        // SAFETY: There is no padding, so that all bytes are initialised.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }

    /// Its bytes, to be changed.
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: As above, and any bytes make a value.
        unsafe {
            std::slice::from_raw_parts_mut(std::ptr::from_mut(self).cast(), size_of::<Self>())
        }
    }

    /// Makes it of so many bytes as there are: what is lacking is zero, what there is more must be (`asahi_drm.h`,
    /// "Introduction to the Asahi UAPI").
    fn extended(bytes: &[u8]) -> Result<Self, c_int> {
        let (known, more) = bytes.split_at(bytes.len().min(size_of::<Self>()));
        if more.iter().any(|&byte| byte != 0) {
            return Err(libc::E2BIG);
        }
        let mut value = Self::zero();
        value.bytes_mut()[..known.len()].copy_from_slice(known);
        Ok(value)
    }
}

macro_rules! pod {
    ($($type:ty),* $(,)?) => {$(
        // SAFETY: It is `repr(C)` and made of integers whose sizes add up to its own: the crate that defines it checks
        // its size.
        unsafe impl Pod for $type {}
    )*};
}

pod!(
    u8,
    u32,
    u64,
    Attachment,
    BindOp,
    CmdCompute,
    CmdHeader,
    CmdRender,
    GemBindObject,
    GemClose,
    GemCreate,
    GemMmapOffset,
    GetParams,
    GetTime,
    Params,
    PrimeFdToHandle,
    PrimeHandleToFd,
    QueueCreate,
    QueueDestroy,
    Submit,
    Sync,
    SyncFileInfo,
    SyncobjCreate,
    SyncobjDestroy,
    SyncobjQuery,
    SyncobjReset,
    SyncobjSignal,
    SyncobjTimelineSignal,
    SyncobjTimelineWait,
    SyncobjWait,
    Version,
    VmBind,
    VmCreate,
    VmDestroy,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_is_zero_and_what_is_more_must_be() {
        let mut bytes = [0; 10];
        bytes[..4].copy_from_slice(&[1, 0, 2, 0]);
        let header = CmdHeader::extended(&bytes[..3]).unwrap();
        assert_eq!(
            (header.cmd_type, header.size, header.cdm_barrier),
            (1, 2, 0)
        );
        assert!(CmdHeader::extended(&bytes).is_ok());
        bytes[9] = 1;
        assert_eq!(CmdHeader::extended(&bytes).unwrap_err(), libc::E2BIG);
    }
}
