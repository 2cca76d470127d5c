// SPDX-License-Identifier: MIT OR Apache-2.0

//! The vfio-user side of the device: what QEMU's `vfio-user-pci` speaks over a stream socket.
//!
//! Protocol: QEMU `docs/interop/vfio-user.rst`. Only the server's half is here, and only what a
//! PCI device without migration needs. One client is served, on the calling thread: each request
//! is answered before the next is read, so a handler must not wait for anything.

pub mod config;
mod server;
mod wire;

pub use config::{Bar, ConfigSpace};
pub use server::{Device, DmaMap, serve};
pub use wire::Connection;

/// Numbers of the regions of a PCI device (linux/vfio.h).
pub mod region {
    /// The first base address register's region; the others follow.
    pub const BAR0: u32 = 0;
    pub const BAR2: u32 = 2;
    pub const BAR4: u32 = 4;
    pub const CONFIG: u32 = 7;
    /// How many there are, with expansion ROM and VGA.
    pub const COUNT: u32 = 9;
}
