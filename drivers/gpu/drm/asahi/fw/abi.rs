// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What differs between versions of the firmware, as data.
//!
//! The bootloader leaves three blobs with calibration data and settings for the firmware. Most of
//! what is in them is between the two of them, so they are not described as structures here: the
//! driver knows their sizes and where the few fields are that it reads or writes.

use kernel::fmt;

use super::Generation;

/// One version of the interface, of one generation of GPUs.
pub(crate) struct Abi {
    /// The version of the system that the firmware belongs to.
    pub(crate) version: [u32; 3],
    /// The generation of GPUs.
    pub(crate) generation: Generation,
    /// What [`InitData`](super::initdata::InitData) begins with.
    pub(crate) ver_info: [u16; 4],
    /// Size of the blob `hw-cal-a`.
    pub(crate) hwdata_a_size: usize,
    /// The blob `hw-cal-b`.
    pub(crate) hwdata_b: HwDataB,
    /// The blob `globals`.
    pub(crate) globals: Globals,
    /// Numbers of the device control messages.
    pub(crate) device_control: DeviceControl,
}

/// Size of the second blob and offsets of fields in it.
pub(crate) struct HwDataB {
    pub(crate) size: usize,
    /// `u64`: where the firmware expects the timestamp buffers.
    pub(crate) timestamp_base: usize,
    /// `u64`: a user address that is mapped in every address space.
    pub(crate) dummy_page: usize,
    /// [`IoMapping`](super::initdata::IoMapping)s.
    pub(crate) io_mappings: usize,
    pub(crate) io_mapping_count: usize,
    /// `u32`: number of the chip.
    pub(crate) chip_id: usize,
    /// `u64`: physical address of the TTBAT.
    pub(crate) ttbat: usize,
    /// `u32`: index of the highest performance state.
    pub(crate) max_pstate: usize,
    /// 16 `u32`: frequencies of the performance states in MHz.
    pub(crate) frequencies: usize,
}

/// Size of the third blob and offsets of fields in it.
pub(crate) struct Globals {
    pub(crate) size: usize,
    /// `u32`: number of submissions under way. The GPU stays powered while it is not zero.
    pub(crate) pending_submissions: usize,
    /// `u32`: what happens on faults.
    pub(crate) fault_control: usize,
    /// 256 pairs of `u32`: what the firmware waits for.
    pub(crate) pending_stamps: usize,
    /// Position of the event slot in the first word of such a pair.
    pub(crate) stamp_slot_shift: u32,
}

/// Opcodes of the device control messages.
pub(crate) struct DeviceControl {
    pub(crate) grow_tvb_ack: u32,
    pub(crate) recover_channel: u32,
    pub(crate) destroy_context: u32,
    pub(crate) initialize: u32,
}

/// All versions that the driver knows.
static ABIS: [Abi; 1] = [Abi {
    version: [13, 5, 0],
    generation: Generation::G13,
    ver_info: [0x6ba0, 0x1f28, 0x601, 0xb0],
    hwdata_a_size: 0x421c,
    hwdata_b: HwDataB {
        size: 0x1884,
        timestamp_base: 0x28,
        dummy_page: 0x20,
        io_mappings: 0x640,
        io_mapping_count: 0x19,
        chip_id: 0x968,
        ttbat: 0xa78,
        max_pstate: 0xa8c,
        frequencies: 0xa90,
    },
    globals: Globals {
        size: 0x12394,
        pending_submissions: 0x8974,
        fault_control: 0x10fd8,
        pending_stamps: 0x111a8,
        stamp_slot_shift: 4,
    },
    device_control: DeviceControl {
        grow_tvb_ack: 0x0e,
        recover_channel: 0x0f,
        destroy_context: 0x18,
        initialize: 0x1a,
    },
}];

/// Finds the description of a version.
pub(crate) fn find(generation: Generation, version: &[u32]) -> Option<&'static Abi> {
    ABIS.iter()
        .find(|abi| abi.generation == generation && abi.version.as_slice() == version)
}

/// The versions that the driver knows for a generation, for a message.
pub(crate) struct Known(pub(crate) Generation);

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = ABIS.iter().filter(|abi| abi.generation == self.0);

        for (i, abi) in known.enumerate() {
            let [major, minor, _] = abi.version;

            write!(f, "{}{}.{}", if i == 0 { "" } else { ", " }, major, minor)?;
        }
        Ok(())
    }
}
