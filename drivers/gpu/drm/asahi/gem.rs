// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Buffer objects.

use kernel::{
    drm::gem::{
        self,
        shmem, //
    },
    prelude::*, //
};

use crate::driver::{
    AsahiDevice,
    AsahiDriver, //
};

/// What the driver keeps with a buffer object.
#[pin_data]
pub(crate) struct AsahiObject {}

/// A buffer object.
pub(crate) type Object = shmem::Object<AsahiObject>;

impl gem::DriverObject for AsahiObject {
    type Driver = AsahiDriver;
    type Args = ();

    fn new(_dev: &AsahiDevice, _size: usize, _args: ()) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {})
    }
}
