// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Reading user space's structures.
//!
//! The header `include/uapi/drm/asahi_drm.h` promises that structures which come with a size can
//! grow at their end: what an older user space does not send reads as zero, and what a newer one
//! sends beyond the kernel's structure is ignored when it is zero and refused otherwise. That rule
//! lives here once; everything above works with whole structures.

use core::mem::{
    size_of,
    MaybeUninit, //
};

use kernel::{
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice,
        UserSliceReader,
        UserSliceWriter, //
    },
    uapi, //
};

/// A structure of the UAPI that user space may fill with any bytes.
///
/// # Safety
///
/// Implementers are `repr(C)`, have no padding bytes, and every bit pattern is a valid value.
pub(crate) unsafe trait UserStruct: Copy + Zeroable {}

macro_rules! user_structs {
    ($($name:ident),* $(,)?) => {
        $(
            // SAFETY: The UAPI's structures are made of integers and of structures of integers
            // only, and its rules ask for explicit padding fields.
            unsafe impl UserStruct for uapi::$name {}
        )*
    };
}

user_structs!(
    drm_asahi_attachment,
    drm_asahi_cmd_compute,
    drm_asahi_cmd_header,
    drm_asahi_cmd_render,
    drm_asahi_gem_bind_op,
    drm_asahi_params_global,
    drm_asahi_sync,
);

/// Returns the bytes of a structure of the UAPI.
pub(crate) fn as_bytes<T: UserStruct>(value: &T) -> &[u8] {
    // SAFETY: `UserStruct` has no padding, so all `size_of::<T>()` bytes are initialised.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// Reads a `T` from bytes that are already in the kernel.
///
/// Short input is extended with zeroes; [`E2BIG`] means that the excess of long input is not zero.
pub(crate) fn from_bytes<T: UserStruct>(bytes: &[u8]) -> Result<T> {
    let (head, tail) = bytes.split_at(bytes.len().min(size_of::<T>()));
    if tail.iter().any(|&b| b != 0) {
        return Err(E2BIG);
    }

    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: `head` is at most as long as `value`, and they do not overlap.
    unsafe { core::ptr::copy_nonoverlapping(head.as_ptr(), value.as_mut_ptr().cast(), head.len()) };
    // SAFETY: All bytes of `value` are initialised, and `UserStruct` accepts any of them.
    Ok(unsafe { value.assume_init() })
}

/// Reads the next `T`, which takes `size` bytes in user space.
///
/// See [`from_bytes`] for what happens when `size` is not the size of `T`. The caller bounds
/// `size`.
pub(crate) fn read<T: UserStruct>(reader: &mut UserSliceReader, size: usize) -> Result<T> {
    let known = size.min(size_of::<T>());
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: `value` has at least `known` bytes, and `MaybeUninit<u8>` takes any of them.
    let bytes = unsafe { core::slice::from_raw_parts_mut(value.as_mut_ptr().cast(), known) };
    reader.read_raw(bytes)?;

    let mut rest = size - known;
    let mut chunk = [0u8; 64];
    while rest > 0 {
        let len = rest.min(chunk.len());
        let part = chunk.get_mut(..len).ok_or(EINVAL)?;
        reader.read_slice(part)?;
        if part.iter().any(|&b| b != 0) {
            return Err(E2BIG);
        }
        rest -= len;
    }

    // SAFETY: All bytes of `value` are initialised, and `UserStruct` accepts any of them.
    Ok(unsafe { value.assume_init() })
}

/// Makes a [`UserSlice`] from an address and a length as the UAPI carries them.
pub(crate) fn slice(address: u64, len: usize) -> Result<UserSlice> {
    let address = usize::try_from(address).map_err(|_| EFAULT)?;
    Ok(UserSlice::new(UserPtr::from_addr(address), len))
}

/// Writes `value` to user space's `size` bytes, cut short or extended with zeroes.
pub(crate) fn write<T: UserStruct>(writer: &mut UserSliceWriter, value: &T) -> Result {
    let bytes = as_bytes(value);
    let known = bytes.len().min(writer.len());
    writer.write_slice(bytes.get(..known).ok_or(EINVAL)?)?;

    let zeroes = [0u8; 64];
    while !writer.is_empty() {
        let len = writer.len().min(zeroes.len());
        writer.write_slice(zeroes.get(..len).ok_or(EINVAL)?)?;
    }
    Ok(())
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kunit_tests(asahi_user)]
mod tests {
    use super::*;

    fn sync(bytes: &[u8]) -> Result<uapi::drm_asahi_sync> {
        from_bytes(bytes)
    }

    #[test]
    fn exact_size() {
        let mut bytes = [0u8; 16];
        bytes[0] = 1;
        bytes[4] = 7;
        bytes[15] = 0x80;
        let value = sync(&bytes).unwrap();
        assert_eq!(value.sync_type, 1);
        assert_eq!(value.handle, 7);
        assert_eq!(value.timeline_value, 0x8000_0000_0000_0000);
        assert!(as_bytes(&value) == bytes);
    }

    #[test]
    fn shorter_is_extended_with_zeroes() {
        let value = sync(&[1, 0, 0, 0, 9]).unwrap();
        assert_eq!(value.handle, 9);
        assert_eq!(value.timeline_value, 0);
        assert_eq!(sync(&[]).unwrap().sync_type, 0);
    }

    #[test]
    fn longer_must_end_in_zeroes() {
        let mut bytes = [0u8; 24];
        assert!(sync(&bytes).is_ok());
        bytes[23] = 1;
        assert!(sync(&bytes).err() == Some(E2BIG));
    }
}
