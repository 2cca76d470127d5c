// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The running firmware: what of the GPU belongs to the binding of the device.

use core::ptr::NonNull;

use kernel::{
    device::{
        Bound,
        Device, //
    },
    io::Io,
    page::vmalloc::VmallocPages,
    platform,
    prelude::*,
    soc::apple::rtkit::{
        self,
        Mailbox,
        RtKit,
        ShMem, //
    },
    sync::Arc, //
};

use crate::{
    gpu::{
        Gpu,
        EP_DOORBELL,
        EP_FIRMWARE,
        MSG_RX_DOORBELL, //
    },
    mmu::{
        prot,
        VaRange,
        Vm, //
    },
    regs::{
        AscMem,
        SgxDevres,
        CPU_CONTROL, //
    },
};

/// A buffer that RTKit has asked for.
pub(crate) struct RtkitBuffer {
    vm: Arc<Vm>,
    range: VaRange,
    pages: VmallocPages,
}

// SAFETY: The pages are kept, and so is what is returned, as long as the buffer exists.
unsafe impl ShMem for RtkitBuffer {
    fn as_ptr(&self) -> NonNull<u8> {
        self.pages.as_ptr()
    }

    fn size(&self) -> usize {
        self.pages.size()
    }

    fn iova(&self) -> u64 {
        self.range.start()
    }
}

impl Drop for RtkitBuffer {
    fn drop(&mut self) {
        self.vm.unmap(self.range.start(), self.range.size());
    }
}

/// What the firmware calls.
pub(crate) struct Callbacks {
    gpu: Arc<Gpu>,
    sgx: SgxDevres,
}

#[vtable]
impl rtkit::Operations for Callbacks {
    type Buffer = RtkitBuffer;

    fn recv_message(&self, dev: &Device<Bound>, endpoint: u8, message: u64) {
        if endpoint == EP_FIRMWARE && message == MSG_RX_DOORBELL {
            self.gpu.poll(dev, &self.sgx);
        } else {
            dev_warn!(
                dev,
                "the firmware sent an unknown message {:#x} on endpoint {:#x}\n",
                message,
                endpoint
            );
        }
    }

    fn crashed(&self, dev: &Device<Bound>, _crashlog: Option<&[u8]>) {
        dev_err!(dev, "the firmware crashed, all work fails\n");
        self.gpu.abandon();
    }

    fn shmem_alloc(&self, _dev: &Device<Bound>, size: usize) -> Result<Self::Buffer> {
        let pages = VmallocPages::new(size, GFP_KERNEL)?;
        let buffer = RtkitBuffer {
            vm: self.gpu.kernel_vm().clone(),
            range: self.gpu.rtkit_vas().alloc(pages.size())?,
            pages,
        };

        // SAFETY: The pages are kept until the buffer unmaps them when it is dropped, and nothing
        // but RTKit accesses them.
        unsafe {
            buffer
                .vm
                .map_pages(buffer.range.start(), &buffer.pages, prot::FW_SHARED_RW)?
        };
        Ok(buffer)
    }
}

/// The running firmware.
///
/// When this is dropped, the firmware is stopped and cannot reach any memory any more.
pub(crate) struct Firmware<'a> {
    rtkit: RtKit<'a, Callbacks>,
    asc: AscMem<'a>,
    gpu: Arc<Gpu>,
}

impl<'a> Firmware<'a> {
    /// The GPU.
    pub(crate) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Boots the firmware and gives it its initialisation data.
    pub(crate) fn boot(
        pdev: &'a platform::Device<Bound>,
        asc: AscMem<'a>,
        sgx: SgxDevres,
        gpu: Arc<Gpu>,
    ) -> Result<Self> {
        let dev = pdev.as_ref();
        let stopped = !asc.read(CPU_CONTROL).run();

        // SAFETY: The result is dropped with the driver's data at the latest.
        let rtkit = unsafe {
            RtKit::new(
                pdev,
                Mailbox::Index(0),
                Callbacks {
                    gpu: gpu.clone(),
                    sgx,
                },
            )
        }
        .inspect_err(|e| {
            if *e != EPROBE_DEFER {
                dev_err!(dev, "cannot use the firmware's mailbox\n");
            }
        })?;

        // From here on, dropping this undoes everything.
        let this = Self { rtkit, asc, gpu };

        this.gpu.connect(this.rtkit.sender())?;
        this.gpu.uat().publish(stopped)?;
        this.asc.update(CPU_CONTROL, |reg| reg.with_run(true));
        this.gpu.uat().wait_for_firmware()?;

        this.rtkit.boot().inspect_err(|e| match *e {
            ETIME | ETIMEDOUT => dev_err!(dev, "timed out waiting for the firmware to boot\n"),
            _ => dev_err!(dev, "the firmware does not boot as RTKit does\n"),
        })?;
        for endpoint in [EP_FIRMWARE, EP_DOORBELL] {
            this.rtkit.start_endpoint(endpoint).inspect_err(|_| {
                dev_err!(dev, "the firmware has no endpoint {:#x}\n", endpoint);
            })?;
        }
        this.gpu.initialize().inspect_err(|_| {
            dev_err!(dev, "the firmware did not take its initialisation data\n");
        })?;
        Ok(this)
    }
}

impl Drop for Firmware<'_> {
    fn drop(&mut self) {
        self.gpu.kill();

        // A firmware that does not react is stopped nevertheless.
        if self.rtkit.is_running() && self.rtkit.shutdown().is_err() {
            dev_warn!(
                self.gpu.dev(),
                "timed out waiting for the firmware to shut down\n"
            );
        }
        self.asc.update(CPU_CONTROL, |reg| reg.with_run(false));
        self.gpu.uat().shutdown();
    }
}
