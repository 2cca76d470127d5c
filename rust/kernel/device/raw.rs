// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A live `struct device`, whatever its bus.
//!
//! # Why there is such a trait
//!
//! Much of the C side of the driver model takes a plain `struct device *`, because what it does has
//! nothing to do with a bus: `apple_rtkit_init()` looks up a mailbox in the device's node,
//! `alloc_io_pgtable_ops()` allocates on the device's NUMA node, `of_reserved_mem_*()` reads a
//! property. A driver holds a [`platform::Device`], a [`pci::Device`] or another bus device.
//!
//! When such a trait was first posted in 2023, with the two users that still are its first ones
//! (RTKit and io-pgtable), reviewers asked why Rust should need a bus independent device at all,
//! and rightly disliked what the trait then promised: it handed out a pointer, and said nothing
//! about who keeps the device alive for how long. Both C functions *store* that pointer and neither
//! takes a reference. The driver model counts references on the memory of a `struct device` and,
//! apart from that, has a binding to a driver whose end no reference delays. An object that stored
//! the pointer had to be right about both, and nothing said which one it relied on.
//!
//! The answer has two parts, and both are in the types now:
//!
//! - The [`DeviceContext`] says what is known about the device while the reference lives.
//!   `RawDevice<Bound>` is a device that stays *bound*, `RawDevice<Normal>` one that merely exists.
//! - The function that takes a `RawDevice` says what it keeps. Where the C object must not outlive
//!   the binding, it borrows: `RtKit<'a, _>` takes `&'a impl RawDevice<Bound>`. Where it needs the
//!   memory only, it counts: `IoPageTable` takes any `&impl RawDevice` and holds an
//!   [`ARef<Device>`].
//!
//! # How it relates to `AsRef<Device<Ctx>>`
//!
//! Every type that implements this trait implements [`AsRef<Device<Ctx>>`](AsRef) as well, and the
//! implementations here are built on it. Still the two say different things:
//!
//! - `AsRef<Device>` says that a device can be *got from* the object. A class device such as
//!   [`drm::Device`] returns its *parent*, and nothing stops an implementation from returning one
//!   device today and another one tomorrow. That is enough to print a message. `RawDevice` says
//!   that the object *is* that device, one and the same for its whole life, which is what code has
//!   to know that keeps the pointer, or compares it. Hence it is `unsafe` to implement.
//! - `AsRef<Device<Ctx>>` holds for one context only. A `platform::Device<Core<'_>>`, which is what
//!   `probe()` has, is not an `AsRef<Device<Bound>>`, although a device in the [`Core`] context is
//!   bound. `RawDevice<Ctx>` holds for every context that is implied by the object's own, see
//!   [`Implies`].
//!
//! A function which only borrows the device for the duration of a call needs no more than
//! `&Device<Ctx>`; it should ask for that.
//!
//! [`ARef<Device>`]: crate::sync::aref::ARef
//! [`drm::Device`]: ../../drm/struct.Device.html
//! [`pci::Device`]: ../../pci/struct.Device.html
//! [`platform::Device`]: crate::platform::Device

use super::{
    Bound,
    BoundInternal,
    Core,
    CoreInternal,
    Device,
    DeviceContext,
    Normal, //
};
use crate::bindings;

/// A [`DeviceContext`] in which everything holds that holds in the context `Ctx`.
///
/// This is the relation that the [`Deref`](core::ops::Deref) chain of a device expresses for
/// references, in a form that a generic function can ask for.
///
/// # Safety
///
/// A device in the context `Self` must also be in the context `Ctx`.
pub unsafe trait Implies<Ctx: DeviceContext>: DeviceContext {}

// SAFETY: Every device is in the `Normal` context, which promises nothing.
unsafe impl<Ctx: DeviceContext> Implies<Normal> for Ctx {}

// SAFETY: Trivially.
unsafe impl Implies<Bound> for Bound {}
// SAFETY: `BoundInternal` is semantically the same as `Bound`.
unsafe impl Implies<Bound> for BoundInternal {}
// SAFETY: The `Core` context only exists in bus callbacks, throughout which the device is bound.
unsafe impl Implies<Bound> for Core<'_> {}
// SAFETY: `CoreInternal` is semantically the same as `Core`.
unsafe impl Implies<Bound> for CoreInternal<'_> {}

/// An object that is a live `struct device`, whatever its bus, in the context `Ctx`.
///
/// See the [module level documentation](self) for what this is for.
///
/// # Safety
///
/// - [`RawDevice::as_raw_device`] must return a pointer to a `struct device` that is initialized,
///   whose reference count does not drop to zero and which is in the context `Ctx` for as long as
///   `self` is borrowed.
/// - It must return the same pointer every time.
///
/// # Examples
///
/// ```
/// use kernel::{
///     device::{
///         raw::RawDevice,
///         Bound,
///         Core,
///         Device, //
///     },
///     platform, //
/// };
///
/// /// Something that must not outlive the binding of its device, whatever bus that is on.
/// struct Registered<'a>(&'a Device<Bound>);
///
/// impl<'a> Registered<'a> {
///     fn new(dev: &'a impl RawDevice<Bound>) -> Self {
///         Self(dev.to_device())
///     }
/// }
///
/// // In `probe()`, where the device is known to be bound:
/// fn probe<'bound>(pdev: &'bound platform::Device<Core<'_>>) -> Registered<'bound> {
///     Registered::new(pdev)
/// }
/// ```
pub unsafe trait RawDevice<Ctx: DeviceContext = Normal> {
    /// Returns the pointer to the `struct device` that this object is.
    fn as_raw_device(&self) -> *mut bindings::device;

    /// Returns this object as a [`Device`].
    fn to_device(&self) -> &Device<Ctx> {
        // SAFETY: By the safety requirements of this trait the pointer is valid, and the device in
        // the context `Ctx`, for as long as `self` is borrowed.
        unsafe { Device::from_raw(self.as_raw_device()) }
    }
}

// SAFETY: `Device` is a transparent wrapper of a `struct device` which a reference to it keeps
// alive, at one address. It is in the context `Own`, thus in `Ctx`.
unsafe impl<Ctx: DeviceContext, Own: Implies<Ctx>> RawDevice<Ctx> for Device<Own> {
    #[inline]
    fn as_raw_device(&self) -> *mut bindings::device {
        self.as_raw()
    }
}

/// Implements [`RawDevice`] for bus devices.
///
/// # Safety
///
/// `AsRef<Device<Ctx>>` of each of the types must return the `struct device` that is embedded in
/// the bus device.
macro_rules! impl_raw_device {
    (unsafe { $( $(#[$attr:meta])* $device:path ),* $(,)? }) => {
        $(
            $(#[$attr])*
            // SAFETY: By the safety requirement of the macro, this is the `struct device` that is
            // embedded in the bus device, thus it lives as long and never is another one. It is in
            // the same context as the bus device, namely `Own`, thus in `Ctx`.
            unsafe impl<Ctx: DeviceContext, Own: Implies<Ctx>> RawDevice<Ctx> for $device {
                #[inline]
                fn as_raw_device(&self) -> *mut bindings::device {
                    AsRef::<Device<Own>>::as_ref(self).as_raw()
                }
            }
        )*
    };
}

// SAFETY: All of these return the embedded `struct device`.
impl_raw_device!(unsafe {
    crate::faux::Device<Own>,
    crate::platform::Device<Own>,
    #[cfg(CONFIG_AUXILIARY_BUS)]
    crate::auxiliary::Device<Own>,
    #[cfg(CONFIG_I2C = "y")]
    crate::i2c::I2cClient<Own>,
    #[cfg(CONFIG_PCI)]
    crate::pci::Device<Own>,
    #[cfg(CONFIG_RUST_SERIAL_DEV_BUS_ABSTRACTIONS)]
    crate::serdev::Device<Own>,
    #[cfg(CONFIG_USB = "y")]
    crate::usb::Device<Own>,
    #[cfg(CONFIG_USB = "y")]
    crate::usb::Interface<Own>,
});

#[macros::kunit_tests(rust_device_raw)]
mod tests {
    use super::*;
    use crate::{
        faux,
        prelude::*,
        sync::aref::ARef, //
    };

    /// The number of references to a device.
    fn references(dev: &Device) -> i32 {
        // SAFETY: The pointer is valid, as `dev` is a reference.
        unsafe { (&raw const (*dev.as_raw()).kobj.kref.refcount.refs.counter).read_volatile() }
    }

    #[test]
    fn one_device_in_each_context() -> Result {
        let registration = faux::Registration::new(c"rust_device_raw", None)?;
        let bus_device: &faux::Device<Bound> = registration.as_ref();
        let device: &Device<Bound> = bus_device.as_ref();

        assert_eq!(
            RawDevice::<Bound>::as_raw_device(bus_device),
            device.as_raw()
        );
        assert_eq!(
            RawDevice::<Normal>::as_raw_device(bus_device),
            device.as_raw()
        );
        assert_eq!(RawDevice::<Bound>::as_raw_device(device), device.as_raw());
        assert_eq!(RawDevice::<Normal>::as_raw_device(device), device.as_raw());

        Ok(())
    }

    #[cfg(CONFIG_IOMMU_IO_PGTABLE_APPLE_UAT)]
    #[test]
    fn page_table_counts() -> Result {
        use crate::io_pgtable::{
            uat::{
                Half,
                Prot, //
            },
            AppleUat,
            IoPageTable, //
        };

        let registration = faux::Registration::new(c"rust_device_raw", None)?;
        let bus_device: &faux::Device<Bound> = registration.as_ref();
        let device: ARef<Device> = AsRef::<Device<Bound>>::as_ref(bus_device).into();
        let before = references(&device);

        // It cannot be made: nothing is left behind.
        assert!(IoPageTable::<AppleUat>::new(bus_device, Half::Lower, 39).is_err());
        assert_eq!(references(&device), before);

        let mut first = IoPageTable::<AppleUat>::new(bus_device, Half::Lower, 40)?;
        let second = IoPageTable::<AppleUat>::new(bus_device, Half::Upper, 40)?;
        assert_eq!(references(&device), before + 2);
        drop(second);
        assert_eq!(references(&device), before + 1);

        // A page table outlives the device, except for the latter's memory.
        drop(registration);
        assert_eq!(references(&device), 2);

        // SAFETY: No hardware uses this.
        unsafe { first.map(0x4000, 0x1_0000_0000, 0x8000, Prot::GPU_RW, GFP_KERNEL)? };
        assert_eq!(first.iova_to_phys(0x8001), Some(0x1_0000_4001));
        // SAFETY: No hardware uses this.
        let again = unsafe { first.map(0x8000, 0, 0x4000, Prot::GPU_RW, GFP_KERNEL) };
        assert_eq!(again, Err(EEXIST));
        assert_eq!(first.unmap(0, 0x10_0000), 0x8000);
        assert_eq!(first.iova_to_phys(0x8001), None);

        drop(first);
        assert_eq!(references(&device), 1);

        Ok(())
    }

    #[cfg(CONFIG_APPLE_RTKIT = "y")]
    #[test]
    fn rtkit_borrows() -> Result {
        use crate::{
            soc::apple::rtkit::{
                Mailbox,
                NoBuffer,
                Operations,
                RtKit, //
            },
            sync::Arc, //
        };

        struct Data(#[expect(dead_code)] Arc<()>);

        #[vtable]
        impl Operations for Data {
            type Buffer = NoBuffer;
        }

        let registration = faux::Registration::new(c"rust_device_raw", None)?;
        let bus_device: &faux::Device<Bound> = registration.as_ref();
        let device: ARef<Device> = AsRef::<Device<Bound>>::as_ref(bus_device).into();
        let before = references(&device);

        // The device has no mailbox. The data is dropped, and nothing is left behind.
        let count = Arc::new((), GFP_KERNEL)?;
        for mailbox in [Mailbox::Index(0), Mailbox::Name(c"mbox")] {
            // SAFETY: It is dropped at once, if there is one at all.
            let rtkit = unsafe { RtKit::<Data>::new(bus_device, mailbox, Data(count.clone())) };
            assert!(rtkit.is_err());
        }
        assert!(Arc::into_unique_or_drop(count).is_some());
        assert_eq!(references(&device), before);

        Ok(())
    }
}
