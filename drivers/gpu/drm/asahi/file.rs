// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Open files: one per client.

use kernel::{
    drm,
    prelude::*, //
};

use crate::driver::AsahiDriver;

/// What the driver keeps with an open file.
#[pin_data]
pub(crate) struct File {}

impl drm::file::DriverFile for File {
    type Driver = AsahiDriver;

    fn open(_dev: &drm::Device<Self::Driver>) -> Result<Pin<KBox<Self>>> {
        KBox::try_pin_init(try_pin_init!(Self {}), GFP_KERNEL)
    }
}
