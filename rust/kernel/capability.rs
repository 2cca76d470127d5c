// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Capabilities.
//!
//! C header: [`include/linux/capability.h`](srctree/include/linux/capability.h)

use crate::{
    bindings,
    prelude::*, //
};

/// A capability that a task may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capability(u32);

impl Capability {
    /// To raise the priority of something.
    pub const SYS_NICE: Self = Self(bindings::CAP_SYS_NICE);

    /// To administer the system.
    pub const SYS_ADMIN: Self = Self(bindings::CAP_SYS_ADMIN);
}

/// Returns whether the current task has a capability in the initial user namespace.
///
/// Asking is taken for the intent to make use of it, and noted.
pub fn capable(cap: Capability) -> bool {
    // CAST: There are not as many capabilities.
    // SAFETY: The capability is one that exists.
    unsafe { bindings::capable(cap.0 as c_int) }
}
