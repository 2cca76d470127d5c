// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Building of what the firmware is given when it is initialised.
//!
//! Nearly all settings come from the bootloader in three blobs. They also fix some addresses that
//! the driver has to honour, which is checked here.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    io::memremap::MemType,
    of_reserved_mem::ReservedRegion,
    page::vmalloc::VmallocPages,
    prelude::*, //
};

use crate::{
    alloc::KernelHeaps,
    channel::{
        DeviceControl,
        FwCtlRing,
        Pipe,
        PIPE_TYPES,
        PRIORITIES, //
    },
    fw::{
        abi::Abi,
        initdata::*, //
    },
    fw_write,
    hw::HwConfig,
    mmu::{
        kernel_va,
        prot,
        uat::Uat,
        VaRange,
        VaSpace,
        BUFFER_MANAGER_LOW,
        DUMMY_PAGE,
        PAGE_MASK,
        PAGE_SIZE, //
    },
    object::{
        GpuArray,
        GpuBlob,
        GpuObject, //
    },
    rx::RxChannels, //
};

use kernel::sync::Arc;

/// What happens on faults: shaders read zero and go on. Also what the bootloader sets.
const FAULT_CONTROL: u32 = 0xb;

/// The blobs of the bootloader.
pub(crate) struct Blobs {
    hwdata_a: KVVec<u8>,
    hwdata_b: KVVec<u8>,
    globals: KVVec<u8>,
}

impl Blobs {
    fn load_one(dev: &Device<Bound>, name: &'static CStr, size: usize) -> Result<KVVec<u8>> {
        let region = ReservedRegion::by_name(dev, name).inspect_err(|_| {
            dev_err!(dev, "the memory region {:?} is missing\n", name);
        })?;

        if region.size() < size {
            dev_err!(
                dev,
                "the bootloader's {:?} has {:#x} bytes, but the firmware expects {:#x}\n",
                name,
                region.size(),
                size
            );
            return Err(EINVAL);
        }

        let mut bytes = KVVec::from_elem(0, size, GFP_KERNEL)?;

        region.map(MemType::WriteBack)?.copy_out(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies the blobs from where the bootloader has left them.
    pub(crate) fn load(dev: &Device<Bound>, abi: &Abi) -> Result<Self> {
        Ok(Self {
            hwdata_a: Self::load_one(dev, c"hw-cal-a", abi.hwdata_a_size)?,
            hwdata_b: Self::load_one(dev, c"hw-cal-b", abi.hwdata_b.size)?,
            globals: Self::load_one(dev, c"globals", abi.globals.size)?,
        })
    }
}

/// All that the firmware is given, which must stay as long as it runs.
pub(crate) struct InitDataTree {
    root: GpuObject<InitData>,
    _runtime_pointers: GpuObject<RuntimePointers>,
    pub(crate) fw_status: GpuObject<FwStatus>,
    pub(crate) globals: GpuBlob,
    hwdata_b: GpuBlob,
    stats_compute: GpuArray<u8>,
    stats_vertex: GpuArray<u8>,
    stats_fragment: GpuObject<StatsFragment>,
    _buffers: KVec<GpuArray<u8>>,
    _buffer_manager: VmallocPages,
    _mmio: KVec<VaRange>,
}

/// The channels, which the firmware is told about.
pub(crate) struct Channels<'a> {
    /// By priority and, for each, by kind.
    pub(crate) pipes: &'a [Arc<Pipe>],
    pub(crate) device_control: &'a DeviceControl,
    pub(crate) fwctl: &'a FwCtlRing,
    pub(crate) rx: &'a RxChannels,
}

impl InitDataTree {
    /// Builds it all.
    pub(crate) fn new(
        dev: &Device,
        hw: &HwConfig,
        abi: &Abi,
        uat: &Uat,
        heaps: &KernelHeaps,
        blobs: &Blobs,
        channels: &Channels<'_>,
    ) -> Result<Self> {
        let hwdata_a = GpuBlob::copy_of(&heaps.private, &blobs.hwdata_a)?;
        let hwdata_b = GpuBlob::copy_of(&heaps.private, &blobs.hwdata_b)?;
        let globals = GpuBlob::copy_of(&heaps.private, &blobs.globals)?;

        Self::check(dev, hw, abi, uat, &hwdata_b)?;
        globals.set(abi.globals.fault_control, FAULT_CONTROL)?;
        globals.set(abi.globals.pending_submissions, 0u32)?;

        let mmio = Self::map_io(hw, abi, uat, &hwdata_b)?;
        let buffer_manager = VmallocPages::new(PAGE_SIZE, GFP_KERNEL)?;

        // SAFETY: The page is kept as long as the firmware runs.
        unsafe {
            uat.kernel_lower().map_pages(
                BUFFER_MANAGER_LOW,
                &buffer_manager,
                prot::GPU_SHARED_RW,
            )?;
            uat.kernel().map_pages(
                kernel_va::BUFFER_MANAGER,
                &buffer_manager,
                prot::FW_SHARED_RW,
            )?;
        }

        let mut buffers = KVec::with_capacity(8, GFP_KERNEL)?;
        let mut buffer = |size| -> Result<_> {
            let buffer = GpuArray::<u8>::zeroed(&heaps.private, size)?;
            let va = buffer.gpu_va();

            buffers.push(buffer, GFP_KERNEL)?;
            Ok(va.into())
        };

        let stats_vertex = GpuArray::<u8>::zeroed(&heaps.private, STATS_SIZE + size_of::<u32>())?;
        let stats_compute = GpuArray::<u8>::zeroed(&heaps.private, STATS_SIZE)?;
        let stats_fragment = GpuObject::<StatsFragment>::zeroed(&heaps.private)?;

        fw_write!(stats_fragment, .cur_stamp_id, -1);
        fw_write!(stats_fragment, .unk_id, -1);

        // This is too large for the stack, so it is filled in where it is.
        let pointers = GpuObject::<RuntimePointers>::zeroed(&heaps.private)?;

        for priority in 0..PRIORITIES {
            let ring = |kind: usize| {
                channels
                    .pipes
                    .get(priority * PIPE_TYPES + kind)
                    .map(|pipe| pipe.to_raw())
                    .ok_or(EINVAL)
            };

            fw_write!(
                pointers,
                .pipes[try: priority],
                PipeChannels {
                    vertex: ring(0)?,
                    fragment: ring(1)?,
                    compute: ring(2)?,
                }
            );
        }

        let rx = channels.rx.to_raw();

        fw_write!(pointers, .device_control, channels.device_control.to_raw());
        fw_write!(pointers, .event, rx.event);
        fw_write!(pointers, .fw_log, rx.fw_log);
        fw_write!(pointers, .ktrace, rx.ktrace);
        fw_write!(pointers, .stats, rx.stats);
        fw_write!(pointers, .stats_vertex, stats_vertex.gpu_va().into());
        fw_write!(pointers, .stats_fragment, stats_fragment.gpu_va().into());
        fw_write!(pointers, .stats_compute, stats_compute.gpu_va().into());
        fw_write!(pointers, .hwdata_a, hwdata_a.gpu_va().into());
        fw_write!(pointers, .unkptr_190, buffer(UNK_190_SIZE)?);
        fw_write!(pointers, .unkptr_198, buffer(UNK_198_SIZE)?);
        fw_write!(pointers, .hwdata_b, hwdata_b.gpu_va().into());
        fw_write!(pointers, .hwdata_b_2, hwdata_b.gpu_va().into());
        fw_write!(pointers, .fwlog_buf, rx.fw_log_buf.into());
        fw_write!(pointers, .unkptr_1b8, buffer(UNK_1B8_SIZE)?);
        fw_write!(pointers, .unkptr_1c0, buffer(UNK_1C0_SIZE)?);
        fw_write!(pointers, .unkptr_1c8, buffer(UNK_1C8_SIZE)?);
        fw_write!(pointers, .buffer_mgr_ctl_gpu, BUFFER_MANAGER_LOW.into());
        fw_write!(pointers, .buffer_mgr_ctl_fw, kernel_va::BUFFER_MANAGER.into());
        fw_write!(pointers, .unk_6b38, 0xff);

        let unk_buf = GpuArray::<u8>::zeroed(&heaps.shared_ro, UNK_BUF_SIZE)?;
        let fw_status = GpuObject::new(
            &heaps.shared,
            FwStatus {
                fwctl: channels.fwctl.to_raw(),
                ..Default::default()
            },
        )?;
        let root = GpuObject::new(
            &heaps.private,
            InitData {
                ver_info: abi.ver_info,
                unk_buf: unk_buf.gpu_va().into(),
                runtime_pointers: pointers.gpu_va().into(),
                globals: globals.gpu_va().into(),
                fw_status: fw_status.gpu_va().into(),
                uat_page_size: PAGE_SIZE as u16,
                uat_page_bits: 14,
                uat_num_levels: 3,
                uat_levels: [
                    Self::uat_level(hw, 36, 8),
                    Self::uat_level(hw, 25, 2048),
                    Self::uat_level(hw, 14, 2048),
                ],
                host_mapped_fw_allocations: 1,
                ..Default::default()
            },
        )?;

        buffers.push(unk_buf, GFP_KERNEL)?;
        buffers.push(hwdata_a, GFP_KERNEL)?;

        Ok(Self {
            root,
            _runtime_pointers: pointers,
            fw_status,
            globals,
            hwdata_b,
            stats_compute,
            stats_vertex,
            stats_fragment,
            _buffers: buffers,
            _buffer_manager: buffer_manager,
            _mmio: mmio,
        })
    }

    /// Checks that the bootloader's and the driver's ideas are the same.
    fn check(dev: &Device, hw: &HwConfig, abi: &Abi, uat: &Uat, hwdata_b: &GpuBlob) -> Result {
        let layout = &abi.hwdata_b;
        let check = |what: &str, offset: usize, value: u64, expected: u64| {
            if value == expected {
                return Ok(());
            }
            dev_err!(
                dev,
                "the bootloader's hw-cal-b has the {} {:#x} at {:#x}, but it is {:#x}\n",
                what,
                value,
                offset,
                expected
            );
            Err(EINVAL)
        };

        check(
            "chip",
            layout.chip_id,
            hwdata_b.get::<u32>(layout.chip_id)?.into(),
            hw.chip_id.into(),
        )?;
        check(
            "TTBAT",
            layout.ttbat,
            hwdata_b.get(layout.ttbat)?,
            uat.ttbat_phys(),
        )?;
        check(
            "timestamp area",
            layout.timestamp_base,
            hwdata_b.get(layout.timestamp_base)?,
            kernel_va::TIMESTAMP.start,
        )?;
        check(
            "dummy page",
            layout.dummy_page,
            hwdata_b.get(layout.dummy_page)?,
            DUMMY_PAGE,
        )
    }

    /// Maps registers for the firmware, and tells it where they are.
    fn map_io(hw: &HwConfig, abi: &Abi, uat: &Uat, hwdata_b: &GpuBlob) -> Result<KVec<VaRange>> {
        let space = VaSpace::new(kernel_va::MMIO)?;
        let mut ranges = KVec::new();

        for (index, map) in hw.io_mappings.iter().enumerate() {
            let Some(map) = map else { continue };

            if index >= abi.hwdata_b.io_mapping_count {
                return Err(EINVAL);
            }

            let offset = map.base & PAGE_MASK;
            let size = (offset + map.size).next_multiple_of(PAGE_SIZE as u64);
            let blocks = map.blocks(hw.num_dies).count();
            let prot = if map.writable {
                prot::FW_MMIO_RW
            } else {
                prot::FW_MMIO_RO
            };

            // The firmware expects several blocks to follow each other without gaps.
            if blocks > 1 && size != map.size {
                return Err(EINVAL);
            }

            let range = space.alloc(size as usize * blocks)?;

            for (block, phys) in map.blocks(hw.num_dies).enumerate() {
                let va = range.start() + block as u64 * size;

                // SAFETY: These are registers of the chip which the firmware works with; they do
                // not go away.
                unsafe { uat.kernel().map(va, phys - offset, size as usize, prot)? };
            }

            let entry = abi.hwdata_b.io_mappings + index * size_of::<IoMapping>();

            hwdata_b.set(
                entry,
                IoMapping {
                    phys: map.base,
                    virt: range.start() + offset,
                    total_size: u32::try_from(map.size * blocks as u64)?,
                    element_size: u32::try_from(map.size)?,
                    writable: map.writable.into(),
                },
            )?;
            ranges.push(range, GFP_KERNEL)?;
        }
        Ok(ranges)
    }

    /// Describes a level of the page tables.
    fn uat_level(hw: &HwConfig, shift: u8, entries: u16) -> UatLevelInfo {
        UatLevelInfo {
            unk_0: 8,
            page_bits_1: 14,
            page_bits_2: 14,
            index_shift: shift,
            num_entries: entries,
            table_size: PAGE_SIZE as u16,
            unk_8: 1.into(),
            phys_mask: (((1 << hw.uat_oas) - 1) & !PAGE_MASK).into(),
            index_mask: ((u64::from(entries) - 1) << shift).into(),
        }
    }

    /// The address of the root.
    pub(crate) fn gpu_va(&self) -> u64 {
        self.root.gpu_va()
    }

    /// The address of the statistics of vertex work.
    pub(crate) fn stats_vertex_va(&self) -> u64 {
        self.stats_vertex.gpu_va() + STATS_VERTEX_OFFSET
    }

    /// The address of the statistics of fragment work.
    pub(crate) fn stats_fragment_va(&self) -> u64 {
        self.stats_fragment.gpu_va() + STATS_FRAGMENT_OFFSET
    }

    /// The address of the statistics of compute work.
    pub(crate) fn stats_compute_va(&self) -> u64 {
        self.stats_compute.gpu_va()
    }

    /// The GPU's highest frequency, as the bootloader tells the firmware.
    pub(crate) fn max_frequency_khz(&self, abi: &Abi) -> Result<u32> {
        let pstate: u32 = self.hwdata_b.get(abi.hwdata_b.max_pstate)?;

        if pstate >= 16 {
            return Err(EINVAL);
        }

        let offset = abi.hwdata_b.frequencies + pstate as usize * size_of::<u32>();
        let mhz: u32 = self.hwdata_b.get(offset)?;

        mhz.checked_mul(1000).ok_or(EINVAL)
    }

    /// Whether shaders survive faults.
    pub(crate) const fn soft_faults() -> bool {
        FAULT_CONTROL == 0xb
    }
}
