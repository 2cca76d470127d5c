// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where the fields of the shared structures are, as data.
//!
//! A structure is a Rust type whose members are [`Field`]s: name, offset and size. One constant of that type
//! describes one firmware ABI; code that reads a structure takes the description as an argument and so is written
//! once for all ABIs. [`Abi`] gathers the descriptions that belong together.
//!
//! Sources: m1n1 `proxyclient/m1n1/fw/agx/*.py` (the constructs, evaluated for each version, give the offsets), and
//! the field names of the public out-of-tree driver where they say more than "unk".

pub(crate) mod abi;
pub(crate) mod buffer;
pub(crate) mod channels;
pub(crate) mod compute;
pub(crate) mod initdata;
pub(crate) mod queue;
pub(crate) mod render;

pub(crate) use abi::Abi;

/// One field of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub name: &'static str,
    pub offset: u32,
    pub size: u32,
}

/// A description of a structure, for showing all of it.
pub(crate) trait Layout {
    fn fields(&self) -> Vec<Field>;
}

/// The name and the size of a structure in one ABI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub name: &'static str,
    pub size: u32,
}

/// A field of a structure of `whole` bytes. Used in constants, so a field beyond the end does not compile.
pub(crate) const fn field(name: &'static str, offset: u32, size: u32, whole: u32) -> Field {
    assert!(size > 0 && offset + size <= whole);
    Field { name, offset, size }
}

/// Declares the type that describes a structure, and its description for one ABI.
///
/// `field: offset, size`. Only fields that the firmware reads or writes here are listed.
macro_rules! layout {
    ($(#[$meta:meta])* $name:ident, $title:literal, $abi:ident, size $size:literal {
        $($(#[$fmeta:meta])* $field:ident: $offset:literal, $len:literal;)*
    }) => {
        $(#[$meta])*
        pub(crate) struct $name {
            pub shape: crate::layout::Shape,
            $($(#[$fmeta])* pub $field: crate::layout::Field,)*
        }

        impl $name {
            pub(crate) const $abi: $name = $name {
                shape: crate::layout::Shape { name: $title, size: $size },
                $($field: crate::layout::field(stringify!($field), $offset, $len, $size),)*
            };
        }

        impl crate::layout::Layout for $name {
            fn fields(&self) -> Vec<crate::layout::Field> {
                vec![$(self.$field),*]
            }
        }
    };
}
pub(crate) use layout;
