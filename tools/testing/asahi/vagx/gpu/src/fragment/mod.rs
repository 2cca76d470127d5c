// SPDX-License-Identifier: MIT OR Apache-2.0

//! The fragment half of a render.
//!
//! The framebuffer is drawn tile by tile, on worker threads. In each tile (`tile`) a background program fills the tile's
//! memory, then primitives are drawn in the order of their submission, then a program writes the tile to memory. Of a
//! primitive the covered samples are found in blocks of 8 x 8 pixels (`outline`), tested against the tile's depth and
//! stencil (`isp`, `zs`), and shaded as quads that are gathered to SIMD-groups (`draw`, `group`). What shaders interpolate are
//! planes over the screen (`shape`, `coefficients`).

mod area;
mod bins;
mod coefficients;
mod draw;
mod frame;
mod group;
mod isp;
mod outline;
mod shape;
#[cfg(test)]
mod tests;
mod tile;
mod visible;
mod zls;
mod zs;

pub(crate) use group::{ALL_SAMPLES, Group};
pub(crate) use isp::Plane;

use crate::cache::Cache;
use crate::geometry::Geometry;
use crate::memory::{Access, GpuMemory, Memory};
use crate::parallel::{self, Plan};
use crate::render::{RenderJob, Rendered};
use crate::{GpuFault, JobError, Machine, Observer, Unit};
use bins::Bins;
use frame::Frame;
use group::Queries;
use tile::Worker;

/// Tiles that are worth another thread.
const WORTH_A_WORKER: u64 = 4;

/// Draws all tiles.
pub(crate) fn run(
    machine: &Machine,
    cache: &Cache,
    space: &dyn GpuMemory,
    job: &RenderJob,
    geometry: &Geometry,
    observer: &dyn Observer,
) -> Result<Rendered, JobError> {
    if job.fragment.width_px == 0 || job.fragment.height_px == 0 {
        // No pixels, and so nothing else is looked at.
        return Ok(Rendered::default());
    }
    let frame = Frame::new(machine, cache, space, job, geometry, observer)?;
    let bins = Bins::new(
        &frame.grid,
        geometry,
        &frame.draws,
        frame.samples == 1,
        observer,
    )?;
    let mut plan = Plan::new(machine, frame.grid.tiles().into(), WORTH_A_WORKER);
    // Tiles take long, and some much longer than others.
    plan.chunk = plan.chunk.min(4);
    let left = parallel::run(
        &machine.crew,
        plan,
        observer,
        |number| Worker::new(&frame, &bins, number),
        |worker, tile, stop| worker.tile(tile as u32, stop),
        Worker::finish,
    )?;
    let mut rendered = Rendered::default();
    let mut memory = Memory::new(space);
    for left in left {
        rendered.pixels += left.pixels;
        rendered.instructions += left.stats.instructions;
        store(&mut memory, job.fragment.isp_oclqry_base, &left.queries)?;
    }
    Ok(rendered)
}

/// Adds to the counts of occlusion queries, which are 64 bits wide.
fn store(memory: &mut Memory<'_>, base: u64, queries: &Queries) -> Result<(), JobError> {
    for (index, &(samples, any)) in queries.counts.iter().enumerate() {
        if samples == 0 && !any {
            continue;
        }
        let va = base.wrapping_add(8 * index as u64);
        let mut add = || {
            let (low, high) = (
                memory.load::<u32>(va)?,
                memory.load::<u32>(va.wrapping_add(4))?,
            );
            let old = u64::from(high) << 32 | u64::from(low);
            let new = old.wrapping_add(samples) | u64::from(any);
            memory.store::<u32>(va, new as u32)?;
            memory.store::<u32>(va.wrapping_add(4), (new >> 32) as u32)
        };
        add().map_err(|_| GpuFault::new(va, Access::Write, Unit::Isp))?;
    }
    Ok(())
}
