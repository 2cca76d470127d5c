// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! DRM driver for Apple's AGX GPUs.
//!
//! An AGX GPU is driven by a coprocessor whose firmware schedules the work. The driver speaks to
//! it through shared memory and a mailbox; Documentation/gpu/asahi.rst tells how the parts work
//! together.

mod alloc;
mod buffer;
mod channel;
mod driver;
mod event;
mod fault;
mod fence;
mod file;
mod firmware;
mod fw;
mod gem;
mod gpu;
mod hw;
mod initdata;
mod mmu;
mod object;
mod queue;
mod regs;
mod rx;
mod vm;
mod worker;
mod workqueue;

use kernel::prelude::*;

#[pin_data]
struct AsahiModule {
    // Dropped first.
    #[pin]
    _driver: kernel::driver::Registration<kernel::platform::Adapter<driver::AsahiPlatformDriver>>,
    _worker: worker::Worker,
}

impl kernel::InPlaceModule for AsahiModule {
    fn init(module: &'static kernel::ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _worker: worker::Worker::new()?,
            _driver <- kernel::driver::Registration::new(
                <Self as kernel::ModuleMetadata>::NAME,
                module,
            ),
        })
    }
}

module! {
    type: AsahiModule,
    name: "asahi",
    authors: ["The asahi driver authors"],
    description: "DRM driver for Apple AGX GPUs",
    license: "Dual MIT/GPL",
    params: {
        job_timeout_ms: u32 {
            default: 100_000,
            description: "Milliseconds after which a job that the firmware says nothing of fails",
        },
    },
}
