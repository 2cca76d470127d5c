// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! DRM driver for Apple's AGX GPUs.
//!
//! An AGX GPU is driven by a coprocessor whose firmware schedules the work. The driver speaks to
//! it through shared memory and a mailbox; Documentation/gpu/asahi.rst tells how the parts work
//! together.

mod alloc;
mod channel;
mod driver;
mod event;
mod fault;
mod file;
mod firmware;
mod fw;
mod gem;
mod gpu;
mod hw;
mod initdata;
mod mmu;
mod object;
mod regs;
mod rx;

kernel::module_platform_driver! {
    type: driver::AsahiPlatformDriver,
    name: "asahi",
    authors: ["The asahi driver authors"],
    description: "DRM driver for Apple AGX GPUs",
    license: "Dual MIT/GPL",
}
