// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What user space can ask about the GPU.

use kernel::{
    time::arch_counter,
    uapi, //
};

use crate::{
    gpu::Gpu,
    mmu::USER_VA,
    queue::cmdbuf,
    vm, //
};

/// The firmware writes user space's timestamps in nanoseconds.
const NSEC_PER_SEC: u64 = 1_000_000_000;

/// Returns the parameters of GET_PARAMS.
pub(super) fn global(gpu: &Gpu) -> uapi::drm_asahi_params_global {
    let params = gpu.params();
    let mut core_masks = [0; uapi::DRM_ASAHI_MAX_CLUSTERS as usize];
    for (out, mask) in core_masks.iter_mut().zip(params.core_masks) {
        *out = mask.into();
    }
    let mut features = 0;
    if params.soft_faults {
        features |= u64::from(uapi::drm_asahi_feature_DRM_ASAHI_FEATURE_SOFT_FAULTS);
    }

    uapi::drm_asahi_params_global {
        features,
        gpu_generation: params.generation,
        gpu_variant: params.variant,
        gpu_revision: params.revision,
        chip_id: params.chip_id,
        num_dies: params.num_dies,
        num_clusters_total: params.num_clusters,
        num_cores_per_cluster: params.cores_per_cluster,
        max_frequency_khz: params.max_frequency_khz,
        core_masks,
        vm_start: USER_VA.start,
        vm_end: USER_VA.end,
        vm_kernel_min_size: vm::KERNEL_MIN_SIZE,
        max_commands_per_submission: cmdbuf::MAX_COMMANDS as u32,
        max_attachments: cmdbuf::MAX_ATTACHMENTS as u32,
        command_timestamp_frequency_hz: NSEC_PER_SEC,
    }
}

/// Returns the time of the counter that the GPU's timestamps are taken from, in nanoseconds.
pub(super) fn time() -> u64 {
    nanoseconds(arch_counter::read(), arch_counter::rate())
}

/// Converts ticks at `rate` per second to nanoseconds.
fn nanoseconds(ticks: u64, rate: u32) -> u64 {
    let rate = u64::from(rate.max(1));
    // The rest is less than 2^32, so that its product fits.
    let rest = ticks % rate * NSEC_PER_SEC / rate;
    (ticks / rate).wrapping_mul(NSEC_PER_SEC).wrapping_add(rest)
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(asahi_params)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(nanoseconds(24_000_000, 24_000_000), 1_000_000_000);
        assert_eq!(nanoseconds(3, 24_000_000), 125);
        assert_eq!(nanoseconds(1 << 48, 24_000_000), 11_728_124_029_610_666);
        assert_eq!(nanoseconds(u64::from(u32::MAX), u32::MAX), 1_000_000_000);
        assert_eq!(nanoseconds(7, 0), 7_000_000_000);
    }
}
