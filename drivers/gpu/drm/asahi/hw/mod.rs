// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What differs between chips, as data.
//!
//! One [`HwConfig`] describes a chip; [`GpuId`] is what the GPU says about itself, and is checked
//! against it.
//!
//! Sources: AsahiLinux/m1n1 `proxyclient/m1n1/agx/initdata.py` and `rust/src/gpu/hw`, and the
//! out-of-tree driver of AsahiLinux/linux, `drivers/gpu/drm/asahi/hw`.

use kernel::{
    device::Device,
    io::Io,
    prelude::*, //
};

use crate::regs::{
    SgxMem,
    CORE_MASK_0,
    CORE_MASK_1,
    ID_CLUSTERS,
    ID_COUNTS_1,
    ID_COUNTS_2,
    ID_VERSION, //
};

pub(crate) mod t600x;
pub(crate) mod t8103;

/// A GPU generation. The numbers are part of the UAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Generation {
    G13 = 13,
    G14 = 14,
}

/// Most clusters of any chip described here.
pub(crate) const MAX_CLUSTERS: usize = 8;

/// Physical distance between the same registers of two dies.
const DIE_STRIDE: u64 = 0x20_0000_0000;

/// Registers that the firmware reaches through the GPU's page tables.
#[derive(Clone, Copy)]
pub(crate) struct IoMapping {
    /// Physical address of the first block.
    pub(crate) base: u64,
    /// Size of one block.
    pub(crate) size: u64,
    /// Number of blocks, per die.
    pub(crate) count: u64,
    /// Physical distance between two blocks.
    pub(crate) stride: u64,
    /// The blocks are there on every die.
    pub(crate) per_die: bool,
    /// The firmware writes to them.
    pub(crate) writable: bool,
}

impl IoMapping {
    /// One block that the firmware reads.
    const fn ro(base: u64, size: u64) -> Option<Self> {
        Some(Self {
            base,
            size,
            count: 1,
            stride: 0,
            per_die: false,
            writable: false,
        })
    }

    /// One block that the firmware reads and writes.
    const fn rw(base: u64, size: u64) -> Option<Self> {
        Some(Self {
            base,
            size,
            count: 1,
            stride: 0,
            per_die: false,
            writable: true,
        })
    }

    /// Physical addresses of all blocks on a chip with `dies` dies.
    pub(crate) fn blocks(self, dies: u32) -> impl Iterator<Item = u64> {
        let dies = if self.per_die { u64::from(dies) } else { 1 };

        (0..dies).flat_map(move |die| {
            (0..self.count).map(move |i| self.base + die * DIE_STRIDE + i * self.stride)
        })
    }
}

/// How vertex work is spread over several clusters.
pub(crate) struct Clustering {
    /// Size of a block of the first part of the metadata.
    pub(crate) meta1_block: usize,
    /// Sizes of the other parts.
    pub(crate) meta2_size: usize,
    pub(crate) meta3_size: usize,
    pub(crate) meta4_size: usize,
    /// The most pieces that the work is split into.
    pub(crate) max_splits: usize,
}

/// The static description of a chip.
pub(crate) struct HwConfig {
    /// Name of the chip.
    pub(crate) name: &'static str,
    /// Number of the chip, 0x8103 for t8103.
    pub(crate) chip_id: u32,
    /// GPU generation.
    pub(crate) generation: Generation,
    /// Letter of the GPU's variant.
    pub(crate) variant: u8,
    /// Bits of physical addresses in the page tables.
    pub(crate) uat_oas: u32,
    /// Dies of the chip.
    pub(crate) num_dies: u32,
    /// Most clusters that the GPU may have.
    pub(crate) max_clusters: u32,
    /// Most cores that a cluster may have.
    pub(crate) max_cores: u32,
    /// Most geometry pipelines that a cluster may have.
    pub(crate) max_gps: u32,
    /// Size of the compute preemption buffer.
    pub(crate) compute_preempt_size: usize,
    /// Sizes of a cluster's preemption buffers for vertex work.
    pub(crate) preempt_sizes: [usize; 3],
    /// Value of a register of the tiler.
    pub(crate) tiling_control: u32,
    /// What chips with several clusters need.
    pub(crate) clustering: Option<Clustering>,
    /// What the firmware has mapped. The index is the firmware's number of the block.
    pub(crate) io_mappings: &'static [Option<IoMapping>],
}

/// Packs the masks of the cores of all clusters, as the registers have them.
pub(crate) fn pack_core_masks(masks: &[u32], cores: u32) -> u64 {
    masks
        .iter()
        .zip((0..u64::BITS).step_by(cores.max(1) as usize))
        .fold(0, |packed, (mask, shift)| {
            packed | u64::from(*mask) << shift
        })
}

/// What the GPU's registers say about it.
pub(crate) struct GpuId {
    /// Silicon revision in BCD.
    pub(crate) revision: u32,
    /// Number of clusters.
    pub(crate) clusters: u32,
    /// Cores of a cluster, including those that are fused off.
    pub(crate) cores: u32,
    /// Masks of the cores that are there, by cluster.
    pub(crate) core_masks: [u32; MAX_CLUSTERS],
}

impl GpuId {
    /// Reads the identification registers and checks them against what the chip should be.
    pub(crate) fn read(dev: &Device, sgx: &SgxMem<'_>, hw: &HwConfig) -> Result<Self> {
        let version = sgx.read(ID_VERSION);
        let clusters = u32::from(sgx.read(ID_CLUSTERS).clusters());
        let cores = u32::from(sgx.read(ID_COUNTS_1).cores());
        let gps = u32::from(sgx.read(ID_COUNTS_2).gps());

        let generation = match u32::from(version.generation()) {
            4 => Some(Generation::G13),
            5 | 6 => Some(Generation::G14),
            _ => None,
        };
        let variant = match u32::from(version.variant()) {
            1 => Some(b'P'),
            2 => Some(b'G'),
            3 => Some(b'S'),
            4 if clusters > 4 => Some(b'D'),
            4 => Some(b'C'),
            _ => None,
        };

        if generation != Some(hw.generation) || variant != Some(hw.variant) {
            dev_err!(
                dev,
                "the GPU says it is {:#010x}, not the G{}{} of a {}\n",
                version.into_raw(),
                hw.generation as u32,
                char::from(hw.variant),
                hw.name
            );
            return Err(ENODEV);
        }

        if !(1..=hw.max_clusters).contains(&clusters)
            || !(1..=hw.max_cores).contains(&cores)
            || gps > hw.max_gps
        {
            dev_err!(
                dev,
                "{} clusters of {} cores and {} pipelines are more than a {} has\n",
                clusters,
                cores,
                gps,
                hw.name
            );
            return Err(ENODEV);
        }

        // The masks of all clusters follow each other in the registers, without gaps.
        let mut packed = u64::from(sgx.read(CORE_MASK_0).into_raw())
            | u64::from(sgx.read(CORE_MASK_1).into_raw()) << 32;
        let mut core_masks = [0; MAX_CLUSTERS];
        let cluster_mask = (1u64 << cores) - 1;

        for mask in core_masks.iter_mut().take(clusters as usize) {
            // The mask has at most `hw.max_cores` bits, which is far below 32.
            *mask = (packed & cluster_mask) as u32;
            packed >>= cores;
        }
        if packed != 0 {
            dev_err!(
                dev,
                "the GPU has cores ({:#x}) outside its {} clusters of {}\n",
                packed,
                clusters,
                cores
            );
            return Err(ENODEV);
        }

        Ok(Self {
            revision: u32::from(version.revision()),
            clusters,
            cores,
            core_masks,
        })
    }

    /// Number of cores that work.
    pub(crate) fn active_cores(&self) -> u32 {
        self.core_masks.iter().map(|mask| mask.count_ones()).sum()
    }

    /// The revision as people write it.
    pub(crate) fn revision_name(&self) -> (char, u32) {
        let letter = b'A' + ((self.revision >> 4) & 0xf) as u8;

        (char::from(letter), self.revision & 0xf)
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kunit_tests(asahi_hw)]
mod tests {
    use super::*;

    #[test]
    fn core_masks() {
        assert_eq!(pack_core_masks(&[0xff, 0, 0], 8), 0xff);
        assert_eq!(pack_core_masks(&[0x7f, 0xfe], 8), 0xfe7f);
        assert_eq!(pack_core_masks(&[0xff; 9], 8), u64::MAX);
        assert_eq!(pack_core_masks(&[1], 0), 1);
    }
}
