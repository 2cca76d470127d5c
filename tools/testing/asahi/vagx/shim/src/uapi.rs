// SPDX-License-Identifier: MIT OR Apache-2.0

//! The structures of the interface, and those of `include/uapi/drm/drm.h` that only clients of other kinds use.

use crate::pod::Pod;
pub use asahi_uapi::*;

/// Bytes of a page of the GPU.
pub const PAGE: u64 = 16384;

macro_rules! structs {
    ($($name:ident($number:literal): $size:literal { $($field:ident: $type:ty),* })*) => {$(
        #[derive(Clone, Copy)]
        #[repr(C)]
        pub struct $name { $(pub $field: $type),* }

        const _: () = assert!(size_of::<$name>() == $size);

        // SAFETY: Integers whose sizes add up to the structure's.
        unsafe impl Pod for $name {}

        impl Ioctl for $name {
            const NAME: &'static str = stringify!($name);
            const NUMBER: u8 = $number;
            const DIRECTION: u32 = 3;
        }
    )*};
}

structs! {
    GetCap(0x0c): 16 { capability: u64, value: u64 }
    SyncobjHandle(0xc1): 24 { handle: u32, flags: u32, fd: i32, pad: u32, point: u64 }
    SyncobjTransfer(0xcc): 32 {
        src_handle: u32, dst_handle: u32, src_point: u64, dst_point: u64, flags: u32, pad: u32
    }
    SyncobjEventfd(0xcf): 24 { handle: u32, flags: u32, point: u64, fd: i32, pad: u32 }
}

/// The same structure in the other direction.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct SyncobjImport(pub SyncobjHandle);

// SAFETY: As the structure in it.
unsafe impl Pod for SyncobjImport {}

impl Ioctl for SyncobjImport {
    const NAME: &'static str = "SyncobjImport";
    const NUMBER: u8 = 0xc2;
    const DIRECTION: u32 = 3;
}
