// SPDX-License-Identifier: MIT OR Apache-2.0

/// Why a boot setup cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not a usable device tree: {0}")]
    Parse(#[from] dtoolkit::error::FdtParseError),

    #[error("cannot write the device tree: {0}")]
    Model(#[from] dtoolkit::error::ModelError),

    #[error("device tree: {node}: property '{property}' is missing or malformed")]
    Property {
        node: String,
        property: &'static str,
    },

    #[error("device tree has no memory node with RAM in it (dump it from QEMU with -m set)")]
    NoMemory,

    #[error(
        "the first RAM bank has {have:#x} bytes; at least {need:#x} are needed (raise QEMU's -m)"
    )]
    TooLittleRam { have: u64, need: u64 },

    #[error(
        "RAM ends at {end:#x}, above {limit:#x} where the chip's registers begin (lower QEMU's -m)"
    )]
    RamTooHigh { end: u64, limit: u64 },

    #[error(
        "device tree already has the label '{0}': give the tree that QEMU dumped, not one made from it"
    )]
    AlreadyPrepared(String),

    #[error("device tree has no label '{0}': make it with 'vagx boot-dtb'")]
    NoLabel(&'static str),

    #[error(
        "region {label} is {have:#x} bytes at {base:#x}; it must be page-aligned and {need:#x} bytes or more"
    )]
    BadRegion {
        label: &'static str,
        base: u64,
        have: u64,
        need: u64,
    },

    #[error(
        "region {label} at {base:#x} is not in RAM: make the tree with the -m that QEMU is started with"
    )]
    OutsideRam { label: &'static str, base: u64 },

    #[error("unknown chip or firmware ABI '{chip}' with '{abi}'; known are: {known}")]
    UnknownMachine {
        chip: String,
        abi: String,
        known: String,
    },
}
