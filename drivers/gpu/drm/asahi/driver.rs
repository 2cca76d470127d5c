// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Binding to the platform device, and the DRM device.

use kernel::{
    device::{
        self,
        Bound,
        Core,
        DeviceContext, //
    },
    dma::{
        Device as _,
        DmaMask, //
    },
    drm::{
        self,
        ioctl, //
    },
    of,
    platform,
    prelude::*,
    sizes::SZ_16K,
    sync::Arc, //
};

use crate::{
    file::File,
    firmware::Firmware,
    fw::abi::{
        self,
        Abi, //
    },
    gem,
    gpu::Gpu,
    hw::{
        t600x,
        t8103,
        GpuId,
        HwConfig, //
    },
    regs::{
        AscMem,
        SgxMem, //
    }, //
};

// The GPU's page tables and the memory shared with the firmware are made of 16 KiB pages.
const _: () = assert!(kernel::page::PAGE_SIZE == SZ_16K);

/// The DRM driver.
pub(crate) struct AsahiDriver;

/// The DRM device.
pub(crate) type AsahiDevice<Ctx = drm::Normal> = drm::Device<AsahiDriver, Ctx>;

/// The platform driver.
pub(crate) struct AsahiPlatformDriver;

/// What lives as long as the device is bound.
///
/// The fields are dropped in this order: first user space loses the device, then the firmware is
/// stopped.
pub(crate) struct AsahiDriverData<'bound> {
    _reg: drm::Registration<'bound, AsahiDriver>,
    firmware: Firmware<'bound>,
}

/// What lives as long as the DRM device, and may outlive its registration.
pub(crate) struct AsahiData {
    pub(crate) gpu: Arc<Gpu>,
}

/// What lives as long as the DRM device is registered, and may borrow from the bound device.
pub(crate) struct AsahiRegData<'drm> {
    /// The GPU's platform device.
    pub(crate) pdev: &'drm platform::Device<Bound>,
}

/// A GPU of the device tree's binding.
pub(crate) enum Chip {
    /// One that the driver knows.
    Known(&'static HwConfig),
    /// One that it does not know yet.
    Unknown(&'static str),
}

kernel::of_device_table!(
    OF_TABLE,
    <AsahiPlatformDriver as platform::Driver>::IdInfo,
    [
        (
            of::DeviceId::new(c"apple,agx-g13g"),
            Chip::Known(&t8103::T8103)
        ),
        (
            of::DeviceId::new(c"apple,agx-g13s"),
            Chip::Known(&t600x::T6000)
        ),
        (
            of::DeviceId::new(c"apple,agx-g13c"),
            Chip::Known(&t600x::T6001)
        ),
        (
            of::DeviceId::new(c"apple,agx-g13d"),
            Chip::Known(&t600x::T6002)
        ),
        (
            of::DeviceId::new(c"apple,agx-g14g"),
            Chip::Unknown("G14G (M2)")
        ),
        (
            of::DeviceId::new(c"apple,agx-g14s"),
            Chip::Unknown("G14S (M2 Pro, Max or Ultra)")
        ),
    ]
);

impl platform::Driver for AsahiPlatformDriver {
    type IdInfo = Chip;
    type Data<'bound> = AsahiDriverData<'bound>;
    const OF_ID_TABLE: Option<of::IdTable<Self::IdInfo>> = Some(&OF_TABLE);

    fn probe<'bound>(
        pdev: &'bound platform::Device<Core<'_>>,
        info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        let dev = pdev.as_ref();
        let hw = match info.ok_or(ENODEV)? {
            Chip::Known(hw) => *hw,
            Chip::Unknown(name) => {
                dev_err!(dev, "the GPU {} is not supported\n", name);
                return Err(ENODEV);
            }
        };

        let abi = find_abi(dev, hw)?;

        let sgx: SgxMem<'_> = pdev
            .io_request_by_name(c"sgx")
            .ok_or(ENODEV)?
            .iomap_sized()?;
        let asc: AscMem<'_> = pdev
            .io_request_by_name(c"asc")
            .ok_or(ENODEV)?
            .iomap_sized()?;
        let id = GpuId::read(dev, &sgx, hw)?;
        let (letter, number) = id.revision_name();

        let mask = DmaMask::try_new(hw.uat_oas)?;
        // SAFETY: Nothing has been allocated for DMA yet, and nobody else does that.
        unsafe { pdev.dma_set_mask_and_coherent(mask)? };

        let gpu = Gpu::new(dev, hw, abi, &id)?;
        let firmware = Firmware::boot(pdev, asc, sgx.into_devres()?, gpu.clone())?;

        dev_info!(
            dev,
            "GPU Apple G{}{} {}{} ({}), firmware ABI {}.{}, {} cores\n",
            hw.generation as u32,
            char::from(hw.variant),
            letter,
            number,
            hw.name,
            abi.version[0],
            abi.version[1],
            id.active_cores()
        );

        let ddev = drm::UnregisteredDevice::<AsahiDriver>::new(pdev, Ok(AsahiData { gpu }))?;
        // SAFETY: The registration is kept in the driver's data, which is dropped on unbind.
        let reg = unsafe { drm::Registration::new(dev, ddev, AsahiRegData { pdev }, 0)? };

        Ok(AsahiDriverData {
            _reg: reg,
            firmware,
        })
    }

    fn unbind<'bound>(_pdev: &'bound platform::Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        // Whoever waits for the GPU must go on, since dropping the registration waits for them.
        this.firmware.gpu().kill();
    }
}

/// Finds the description of the firmware that the bootloader has started.
fn find_abi(dev: &device::Device, hw: &HwConfig) -> Result<&'static Abi> {
    let version = dev
        .fwnode()
        .ok_or(ENODEV)?
        .property_read_array_vec::<u32>(c"apple,firmware-abi", 3)?
        .required_by(dev)?;

    abi::find(hw.generation, &version).ok_or_else(|| {
        dev_err!(
            dev,
            "the firmware ABI {:?} is not supported for the {}, only {}\n",
            version,
            hw.name,
            abi::Known(hw.generation)
        );
        ENODEV
    })
}

#[vtable]
impl drm::Driver for AsahiDriver {
    type Data = AsahiData;
    type RegistrationData<'drm> = AsahiRegData<'drm>;
    type File = File;
    type Object = gem::Object;
    type ParentDevice<Ctx: DeviceContext> = platform::Device<Ctx>;

    const INFO: drm::DriverInfo = drm::DriverInfo {
        major: 0,
        minor: 0,
        patchlevel: 0,
        name: c"asahi",
        desc: c"Apple AGX Graphics",
    };
    const FEAT_RENDER: bool = true;
    const FEAT_SYNCOBJ: bool = true;
    const FEAT_SYNCOBJ_TIMELINE: bool = true;

    kernel::declare_drm_ioctls! {
        (ASAHI_GET_PARAMS, drm_asahi_get_params, ioctl::RENDER_ALLOW, File::get_params),
        (ASAHI_GET_TIME, drm_asahi_get_time, ioctl::RENDER_ALLOW, File::get_time),
        (ASAHI_VM_CREATE, drm_asahi_vm_create, ioctl::RENDER_ALLOW, File::vm_create),
        (ASAHI_VM_DESTROY, drm_asahi_vm_destroy, ioctl::RENDER_ALLOW, File::vm_destroy),
        (ASAHI_VM_BIND, drm_asahi_vm_bind, ioctl::RENDER_ALLOW, File::vm_bind),
        (ASAHI_GEM_CREATE, drm_asahi_gem_create, ioctl::RENDER_ALLOW, File::gem_create),
        (
            ASAHI_GEM_MMAP_OFFSET,
            drm_asahi_gem_mmap_offset,
            ioctl::RENDER_ALLOW,
            File::gem_mmap_offset
        ),
        (
            ASAHI_GEM_BIND_OBJECT,
            drm_asahi_gem_bind_object,
            ioctl::RENDER_ALLOW,
            File::gem_bind_object
        ),
        (ASAHI_QUEUE_CREATE, drm_asahi_queue_create, ioctl::RENDER_ALLOW, File::queue_create),
        (ASAHI_QUEUE_DESTROY, drm_asahi_queue_destroy, ioctl::RENDER_ALLOW, File::queue_destroy),
        (ASAHI_SUBMIT, drm_asahi_submit, ioctl::RENDER_ALLOW, File::submit),
    }
}
