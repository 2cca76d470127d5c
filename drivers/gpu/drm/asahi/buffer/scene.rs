// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Scenes: what the hardware needs for one render, between its vertex and its fragment command.
//!
//! Source of sizes and flags: the out-of-tree driver of AsahiLinux/linux,
//! drivers/gpu/drm/asahi/buffer.rs, and m1n1, proxyclient/m1n1/agx/render.py.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::heap::TilerHeap;
use crate::{
    fw::buffer,
    gpu::Gpu,
    hw::Clustering,
    object::{
        GpuArray,
        GpuObject, //
    },
    queue::tiling::Tiling,
    vm::Vm, //
};

/// Size of a list whose entries nobody but the hardware knows. Chips with several clusters may use
/// more of it.
const USER_BUFFER_SIZE: usize = 0x80;
const USER_BUFFER_SIZE_CLUSTERED: usize = 0x10080;

/// Size of the heap's metadata, and of that of the layers behind it.
const HEAPMETA_SIZE: usize = 0x200;
const LAYERMETA_SIZE: usize = 0x100;

/// Size of a buffer of the fragment units.
const AUX_FB_SIZE: usize = 0x8000;

/// What vertex work on several clusters needs.
struct Clusters {
    tilemaps: GpuArray<u8>,
    meta: GpuArray<u8>,
    /// Where the parts of `meta` are that are not at its start.
    meta_offsets: [usize; 4],
}

impl Clusters {
    fn new(vm: &Vm, clustering: &Clustering, tiling: &Tiling, layermeta: usize) -> Result<Self> {
        let align = |size: usize| size.next_multiple_of(0x80);
        let heap = &vm.heaps().shared;

        let mut end = layermeta * clustering.max_splits;
        let meta_offsets = [
            align(tiling.meta1_blocks as usize * clustering.meta1_block),
            align(clustering.meta2_size),
            align(clustering.meta3_size),
            clustering.meta4_size,
        ]
        .map(|size| {
            let start = end;
            end += size;
            start
        });

        Ok(Self {
            tilemaps: GpuArray::zeroed(heap, clustering.max_splits * tiling.tilemap_size)?,
            meta: GpuArray::zeroed(heap, end)?,
            meta_offsets,
        })
    }
}

/// The addresses of what the clusters use, or zeroes.
#[derive(Default)]
pub(crate) struct ClusterAddresses {
    pub(crate) tilemaps: u64,
    pub(crate) layermeta: u64,
    pub(crate) meta: [u64; 4],
}

/// What the hardware needs for one render.
pub(crate) struct Scene {
    object: GpuObject<buffer::Scene>,
    /// A list of the hardware's, the heap's metadata and that of the layers, and the preemption
    /// buffers, in this order.
    memory: GpuArray<u8>,
    heapmeta_offset: usize,
    preempt_offsets: [usize; 3],
    tilemap: GpuArray<u8>,
    tpc: Arc<GpuArray<u8>>,
    clusters: Option<Clusters>,
    aux_fb: GpuArray<u8>,
}

impl Scene {
    /// Makes a scene that uses `heap`, and `tpc` as its tail pointer cache.
    pub(super) fn new(
        gpu: &Gpu,
        vm: &Vm,
        tiling: &Tiling,
        layers: u32,
        heap: &TilerHeap,
        tpc: Arc<GpuArray<u8>>,
    ) -> Result<Self> {
        let shared = &vm.heaps().shared;
        let layermeta = if layers > 1 { LAYERMETA_SIZE } else { 0 };

        let (user_buffer_size, copies) = match &gpu.hw().clustering {
            // One copy of the preemption buffers is not of any cluster.
            Some(_) => (
                USER_BUFFER_SIZE_CLUSTERED,
                gpu.params().num_clusters as usize + 1,
            ),
            None => (USER_BUFFER_SIZE, 1),
        };
        // The hardware is told of the layers' metadata even if there is only one layer.
        let mut end = user_buffer_size + HEAPMETA_SIZE + LAYERMETA_SIZE;
        let preempt_offsets = gpu.hw().preempt_sizes.map(|size| {
            let start = end;
            end += size * copies;
            start
        });
        let memory = GpuArray::zeroed(shared, end)?;

        let clusters = match &gpu.hw().clustering {
            Some(clustering) => Some(Clusters::new(vm, clustering, tiling, layermeta)?),
            None => None,
        };

        Ok(Self {
            // The firmware does not look for changes by others in its cache, so this must not be
            // cached.
            object: GpuObject::new(
                &gpu.heaps().shared,
                buffer::Scene {
                    user_buffer: memory.gpu_va().into(),
                    stats: heap.stats_va().into(),
                    ..Default::default()
                },
            )?,
            memory,
            heapmeta_offset: user_buffer_size,
            preempt_offsets,
            tilemap: GpuArray::zeroed(shared, tiling.tilemap_size)?,
            tpc,
            clusters,
            aux_fb: GpuArray::zeroed(shared, AUX_FB_SIZE)?,
        })
    }

    /// Returns the address of what the firmware knows the scene by.
    pub(crate) fn object_va(&self) -> u64 {
        self.object.gpu_va()
    }

    /// Returns the address of the heap's metadata.
    pub(crate) fn heapmeta_va(&self) -> u64 {
        self.memory.gpu_va() + self.heapmeta_offset as u64
    }

    /// Returns the address of the layers' metadata.
    pub(crate) fn layermeta_va(&self) -> u64 {
        self.heapmeta_va() + HEAPMETA_SIZE as u64
    }

    /// Returns the addresses of the preemption buffers.
    pub(crate) fn preempt_vas(&self) -> [u64; 3] {
        self.preempt_offsets
            .map(|offset| self.memory.gpu_va() + offset as u64)
    }

    /// Returns the address of the tilemap.
    pub(crate) fn tilemap_va(&self) -> u64 {
        self.tilemap.gpu_va()
    }

    /// Returns the address of the tail pointer cache.
    pub(crate) fn tpc_va(&self) -> u64 {
        self.tpc.gpu_va()
    }

    /// Returns the address of the fragment units' buffer.
    pub(crate) fn aux_fb_va(&self) -> u64 {
        self.aux_fb.gpu_va()
    }

    /// Returns the addresses of what the clusters use.
    pub(crate) fn cluster_addresses(&self) -> ClusterAddresses {
        let Some(clusters) = &self.clusters else {
            return ClusterAddresses::default();
        };
        let meta = clusters.meta.gpu_va();
        ClusterAddresses {
            tilemaps: clusters.tilemaps.gpu_va(),
            layermeta: meta,
            meta: clusters.meta_offsets.map(|offset| meta + offset as u64),
        }
    }
}
