// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Building render commands.
//!
//! A render is two commands of the firmware: a vertex command, which transforms primitives and
//! sorts them into tiles, and a fragment command, which draws the tiles. They run in two queues of
//! the firmware; a barrier makes the fragment command wait. In front of the vertex command there
//! may be one that tells the firmware of the tiler's heap.
//!
//! Everything is written when a render is built, except for what depends on slots and stamps. That
//! is written when it is placed.
//!
//! Values that are not explained are those that macOS uses, as m1n1's
//! proxyclient/m1n1/agx/render.py and the out-of-tree driver of AsahiLinux/linux,
//! drivers/gpu/drm/asahi/queue/render.rs, have them.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    buffer::{
        Scene,
        TilerBuffer,
        Use, //
    },
    channel::PipeType,
    fw::{
        buffer::InitBuffer,
        job::{
            EncoderParams,
            JobMeta,
            RenderTimestamps, //
        },
        types::U64,
        workqueue::{
            CommandType,
            Notifier,
            NotifierState, //
        }, //
    },
    object::GpuObject,
    queue::{
        cmdbuf::Render,
        place::{
            BuiltBarrier,
            Context,
            Entries,
            Ordinal,
            Places,
            UserTimestamps, //
        },
        sequence::at,
        tiling::Tiling, //
    },
    workqueue::Place, //
};

mod fragment;
mod vertex;

use fragment::BuiltFragment;
use vertex::BuiltVertex;

/// What the two builders have in common.
struct Builder<'a> {
    context: &'a Context<'a>,
    cmd: &'a Render,
    ordinal: &'a Ordinal,
    tiling: &'a Tiling,
    scene: &'a Scene,
    used: &'a Use,
    timestamps: &'a GpuObject<RenderTimestamps>,
    /// Whether the vertex command runs on several clusters.
    clustering: bool,
}

/// A render and all that it points to.
pub(crate) struct BuiltRender {
    n: u32,
    vertex: BuiltVertex,
    fragment: BuiltFragment,
    barrier: BuiltBarrier,
    /// Only the first render of a submission can be the first to use a heap as it is.
    init: Option<GpuObject<InitBuffer>>,
    _timestamps: GpuObject<RenderTimestamps>,
    _scene: Scene,
    // The firmware may only be done with the heap when everything else is given up.
    used: Use,
}

impl Context<'_> {
    /// Builds a render.
    pub(crate) fn render(
        &self,
        cmd: &Render,
        ordinal: &Ordinal,
        vertex_timestamps: UserTimestamps,
        fragment_timestamps: UserTimestamps,
        tiler: &Arc<TilerBuffer>,
    ) -> Result<BuiltRender> {
        let heaps = self.gpu.heaps();
        let clusters = self.gpu.params().num_clusters;
        let clustering = clusters > 1 && !cmd.no_vertex_clustering;

        let tiling = Tiling::new(cmd, if clustering { clusters } else { 1 })?;
        let (scene, used) = tiler.scene(&tiling, cmd.layers)?;
        let timestamps = GpuObject::zeroed(&heaps.shared)?;
        let barrier = BuiltBarrier::new(self.gpu)?;
        let init = if ordinal.n == 1 {
            Some(GpuObject::new(
                &heaps.private,
                InitBuffer {
                    tag: CommandType::InitBuffer as u32,
                    ..Default::default()
                },
            )?)
        } else {
            None
        };

        let builder = Builder {
            context: self,
            cmd,
            ordinal,
            tiling: &tiling,
            scene: &scene,
            used: &used,
            timestamps: &timestamps,
            clustering,
        };
        Ok(BuiltRender {
            n: ordinal.n,
            vertex: builder.vertex(vertex_timestamps)?,
            fragment: builder.fragment(fragment_timestamps)?,
            barrier,
            init,
            _timestamps: timestamps,
            _scene: scene,
            used,
        })
    }
}

impl BuiltRender {
    /// Returns the most entries that a render puts into a ring.
    pub(crate) fn max_entries(&self, pipe: PipeType) -> u32 {
        match pipe {
            PipeType::Vertex => 1 + u32::from(self.init.is_some()),
            PipeType::Fragment => 2,
            PipeType::Compute => 0,
        }
    }

    /// Writes what depends on places, and puts the commands into the rings.
    ///
    /// This does not allocate memory, and waits for nothing.
    pub(crate) fn place(&self, places: &Places, out: &mut Entries<'_>) {
        let (Some(vertex), Some(fragment), Some(tiler)) =
            (&places.vertex, &places.fragment, &places.tiler)
        else {
            return;
        };
        let vertex_value = vertex.value(self.n);
        let fragment_value = fragment.value(self.n);
        let init = self.init.as_ref();

        if self.used.place(tiler, places.vm_slot, vertex_value, init) {
            if let Some(init) = init {
                out.push(PipeType::Vertex, init.gpu_va());
            }
        }
        self.vertex
            .place(places.vm_slot, tiler.slot, vertex, self.n, fragment);
        out.push(PipeType::Vertex, self.vertex.gpu_va());

        let barrier = self.barrier.fill(vertex, vertex_value, fragment_value);
        out.push(PipeType::Fragment, barrier);
        self.fragment
            .place(places.vm_slot, tiler.slot, fragment, self.n);
        out.push(PipeType::Fragment, self.fragment.gpu_va());
    }
}

impl Builder<'_> {
    /// What both commands are told of samplers.
    fn encoder_params(&self) -> EncoderParams {
        EncoderParams {
            unk_mask: u32::MAX,
            sampler_array: self.cmd.sampler_heap.into(),
            sampler_count: self.cmd.sampler_count.into(),
            sampler_max: u32::from(self.cmd.sampler_count) + 1,
            ..Default::default()
        }
    }

    /// Which stamps a command retires, without the stamps.
    fn meta(&self) -> JobMeta {
        JobMeta {
            flush_stamps: self.ordinal.last.into(),
            // CAST: The firmware has only the lower half.
            event_seq: self.ordinal.seq as u32,
            ..Default::default()
        }
    }

    /// The address of a part of the queue's notifier.
    fn notifier_buf(&self) -> U64 {
        let offset =
            core::mem::offset_of!(Notifier, state) + core::mem::offset_of!(NotifierState, unk_buf);
        at(self.context.notifier, offset)
    }

    /// The client's number, as far as the firmware takes it.
    fn client_sequence(&self) -> u8 {
        // CAST: It is only the lower part.
        self.context.queue_id as u8
    }
}

/// Returns the stamps of a command.
fn stamped(meta: JobMeta, place: &Place, n: u32) -> JobMeta {
    JobMeta {
        stamp: place.stamp_va.into(),
        fw_stamp: place.fw_stamp_va.into(),
        stamp_value: place.value(n),
        stamp_slot: place.slot,
        ..meta
    }
}
