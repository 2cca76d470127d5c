// SPDX-License-Identifier: MIT OR Apache-2.0

//! Draws: vertices are fetched, shaded and put together.

mod assembly;
mod index;
mod shade;

pub(crate) use assembly::Assembled;
pub(crate) use index::{IndexList, Indices};

use crate::cache::Cache;
use crate::exec::{Context, Cpu, Launch, SamplerHeap, Simd};
use crate::geometry::{Builder, Draw, DrawState};
use crate::launch::{self, Loaded};
use crate::memory::GpuMemory;
use crate::render::VertexJob;
use crate::{JobError, Machine, Observer, Unsupported};
use assembly::{Assembler, Topology};
use index::{Batch, INSTANCE, RESTART, Walk};
use std::sync::Arc;

/// What a render may keep between its halves. Hardware would render a part of it and go on; clients that come near this
/// do not exist.
const MOST_BYTES: usize = 1 << 30;

/// What state updates of the stream say (Mesa, `src/asahi/genxml/cmdbuf.xml`, "VDM State").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VertexState {
    pub(crate) restart_index: u32,
    /// "Vertex shader word 0": counts of registers.
    pub(crate) counts: u32,
    /// "Vertex shader word 1": where the program's state words are.
    pub(crate) pipeline: Option<u32>,
    /// "Vertex outputs".
    pub(crate) outputs: u32,
    /// "Vertex unknown".
    pub(crate) control: u32,
}

/// Runs draws, one after the other.
pub(crate) struct Draws<'a> {
    machine: &'a Machine,
    cache: &'a Cache,
    observer: &'a dyn Observer,
    job: &'a VertexJob,
    cpu: Cpu,
    context: Context<'a>,
    simd: Simd,
    /// What the last draw was loaded with, as long as nothing can have changed it.
    loaded: Option<(VertexState, Loaded)>,
    walk: Walk,
    batch: Batch,
    words: Vec<u32>,
    draws: Vec<Draw>,
    bytes: usize,
}

impl<'a> Draws<'a> {
    pub(crate) fn new(
        machine: &'a Machine,
        cache: &'a Cache,
        observer: &'a dyn Observer,
        job: &'a VertexJob,
        space: &'a dyn GpuMemory,
    ) -> Self {
        let mut context = Context::new(Arc::default(), space, 0);
        context.outputs = Some(Default::default());
        Draws {
            machine,
            cache,
            observer,
            job,
            cpu: Cpu::detect(machine.config.baseline_cpu),
            context,
            simd: Simd::new(),
            loaded: None,
            walk: Walk::default(),
            batch: Batch::default(),
            words: Vec::new(),
            draws: Vec::new(),
            bytes: 0,
        }
    }

    pub(crate) fn finish(self) -> Vec<Draw> {
        self.draws
    }

    /// Memory may have changed.
    pub(crate) fn barrier(&mut self) {
        self.loaded = None;
    }

    /// Does what the index list at `at` in the stream says.
    pub(crate) fn draw(
        &mut self,
        at: u64,
        list: &IndexList,
        vertex: &VertexState,
        state: &Arc<DrawState>,
    ) -> Result<(), JobError> {
        let refuse = |why: &str| -> Result<(), JobError> {
            Err(Unsupported {
                va: at,
                bytes: Vec::new(),
                why: why.into(),
            }
            .into())
        };
        let Some(topology) = Topology::new(list.primitive) else {
            return refuse("unknown kind of primitive");
        };
        // Without a program nothing has a position.
        let Some(pipeline) = vertex.pipeline else {
            return Ok(());
        };
        if list.count == 0 {
            return Ok(());
        }
        if state.varying_counts_16.total() != 0 {
            return refuse("16-bit varyings");
        }
        let size = (vertex.outputs & 0xff) as usize;
        let flat_vertex = vertex.control & 3;
        let Some(mut builder) = Builder::new(Arc::clone(state), self.job, size, flat_vertex) else {
            return refuse("a draw without a viewport");
        };
        self.load(vertex, pipeline)?;
        let mut assembler = Assembler::new(topology, flat_vertex);
        self.walk.begin();
        loop {
            if self.observer.cancelled() {
                return Err(JobError::Cancelled);
            }
            let memory = &mut self.context.memory;
            self.walk.next(memory, list, &mut self.batch)?;
            if self.batch.entries.is_empty() {
                break;
            }
            self.shade(size)?;
            let first = builder.vertices(&self.words);
            for &entry in &self.batch.entries {
                let made = match entry {
                    RESTART => assembler.restart(),
                    INSTANCE => {
                        let made = assembler.restart();
                        assembler.next_instance();
                        made
                    }
                    vertex => assembler.push(first.saturating_add(vertex)),
                };
                if let Some(made) = made {
                    builder.primitive(made);
                }
            }
            if self.bytes.saturating_add(builder.bytes()) > MOST_BYTES {
                return refuse("more geometry than the model keeps");
            }
        }
        self.bytes += builder.bytes();
        self.draws.extend(builder.finish());
        Ok(())
    }

    fn load(&mut self, vertex: &VertexState, pipeline: u32) -> Result<(), JobError> {
        if self
            .loaded
            .as_ref()
            .is_some_and(|(state, _)| state == vertex)
        {
            return Ok(());
        }
        let exec_base = self.job.usc_exec_base;
        let source = launch::Source {
            cpu: self.cpu,
            cache: self.cache,
            observer: self.observer,
            exec_base,
            usc: exec_base.wrapping_add((pipeline & !0x3f).into()),
            counts: vertex.counts,
        };
        let launch = Launch {
            heap: SamplerHeap {
                address: self.job.sampler_heap,
                count: self.job.sampler_count,
            },
            vm_slot: self.job.vm_slot,
            soft_faults: self.machine.config.soft_faults,
            ..Launch::default()
        };
        let loaded = launch::load(&source, launch, &mut self.context, &mut self.simd)?;
        self.loaded = Some((*vertex, loaded));
        Ok(())
    }
}
