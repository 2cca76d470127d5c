// SPDX-License-Identifier: MIT OR Apache-2.0

//! Device, local and stack memory.

use super::{Int, Val};

/// Read-modify-write operations.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AtomicOp {
    Add,
    Sub,
    Exchange,
    CompareExchange,
    UMin,
    IMin,
    UMax,
    IMax,
    And,
    Or,
    Xor,
}

/// How a value lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Format {
    I8,
    I16,
    I32,
    F16,
    U8Norm,
    S8Norm,
    U16Norm,
    S16Norm,
    Rgb10A2,
    Srgba8,
    Rg11B10F,
    Rgb9E5,
}

impl Format {
    /// Bytes of one component; of all components together for the packed formats.
    pub(crate) fn size(self) -> u32 {
        match self {
            Format::I8 | Format::U8Norm | Format::S8Norm | Format::Srgba8 => 1,
            Format::I16 | Format::F16 | Format::U16Norm | Format::S16Norm => 2,
            _ => 4,
        }
    }

    pub(crate) fn packed(self) -> bool {
        matches!(self, Format::Rgb10A2 | Format::Rg11B10F | Format::Rgb9E5)
    }
}

/// Registers that memory is loaded to or stored from: `count` of them from half `start` on, one per component.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemRegs {
    pub(crate) start: u8,
    pub(crate) wide: bool,
    pub(crate) mask: u8,
    pub(crate) format: Format,
}

impl MemRegs {
    /// For each register the number of the component that it holds.
    pub(crate) fn components(&self) -> impl Iterator<Item = (u8, u32)> + use<> {
        let mask = self.mask;
        (0..).zip((0..4).filter(move |component| mask >> component & 1 != 0))
    }
}

/// Added to a base, in units of the access.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Index {
    Imm(i64),
    Reg { reg: u8, signed: bool },
}

/// A device address: a 64-bit register pair or uniform, and an index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) base: u8,
    pub(crate) uniform: bool,
    pub(crate) index: Index,
    /// The index is shifted left by this many bits.
    pub(crate) shift: u8,
}

/// A local address: bytes, and an index in units of the access.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalAddress {
    pub(crate) base: Val,
    pub(crate) index: Int,
}
