// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Building blocks of the structures shared with the firmware.
//!
//! Such a structure is a plain `repr(C)` type that any bytes are a valid value of, declared by
//! [`fw_struct!`](crate::fw_struct). It is reached in shared memory only through
//! [`GpuObject`](crate::object::GpuObject) and [`GpuArray`](crate::object::GpuArray), never by a
//! reference.

use kernel::{
    prelude::*,
    transmute::FromBytes, //
};

macro_rules! unaligned {
    ($(#[$attr:meta])* $name:ident, $int:ty) => {
        $(#[$attr])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Zeroable)]
        #[repr(transparent)]
        pub(crate) struct $name([u8; size_of::<$int>()]);

        // SAFETY: Any bytes are a valid value.
        unsafe impl FromBytes for $name {}

        impl $name {
            /// Wraps a value.
            pub(crate) const fn new(value: $int) -> Self {
                Self(value.to_le_bytes())
            }

        }

        impl From<$int> for $name {
            fn from(value: $int) -> Self {
                Self::new(value)
            }
        }
    };
}

unaligned! {
    /// A `u64` that the firmware does not align.
    U64, u64
}

unaligned! {
    /// A `u32` that the firmware does not align.
    U32, u32
}

impl U64 {
    /// Returns the value.
    pub(crate) const fn get(self) -> u64 {
        u64::from_le_bytes(self.0)
    }
}

/// Bytes that mean nothing to the driver, and are zero.
#[derive(Clone, Copy, Zeroable)]
#[repr(transparent)]
pub(crate) struct Pad<const N: usize>([u8; N]);

// SAFETY: Any bytes are a valid value.
unsafe impl<const N: usize> FromBytes for Pad<N> {}

impl<const N: usize> Default for Pad<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

/// Declares structures shared with the firmware.
///
/// The declared size is checked when the driver is built. All fields must be of types that any
/// bytes are a valid value of: integers, [`U64`], [`U32`], [`Pad`], arrays of those and other such
/// structures. That is checked, too.
///
/// ```ignore
/// fw_struct! {
///     /// What it is.
///     pub(crate) struct Example: 0x10 {
///         pub(crate) pointer: u64,
///         pub(crate) count: u32,
///         pub(crate) pad: Pad<4>,
///     }
/// }
/// ```
#[macro_export]
macro_rules! fw_struct {
    ($(
        $(#[$attr:meta])*
        $vis:vis struct $name:ident : $size:literal {
            $( $(#[$fattr:meta])* $fvis:vis $field:ident : $ty:ty ),* $(,)?
        }
    )*) => {$(
        $(#[$attr])*
        #[derive(Clone, Copy, ::pin_init::Zeroable)]
        #[repr(C)]
        $vis struct $name {
            $( $(#[$fattr])* $fvis $field: $ty ),*
        }

        const _: () = {
            const fn any_bytes<T: ::kernel::transmute::FromBytes>() {}
            $( any_bytes::<$ty>(); )*
            assert!(::core::mem::size_of::<$name>() == $size);
        };

        // SAFETY: Any bytes are a valid value of each of the fields, as is checked above.
        unsafe impl ::kernel::transmute::FromBytes for $name {}

        impl ::core::default::Default for $name {
            fn default() -> Self {
                ::pin_init::zeroed()
            }
        }
    )*};
}
