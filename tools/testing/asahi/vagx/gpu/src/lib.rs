// SPDX-License-Identifier: MIT OR Apache-2.0

//! The AGX GPU core as a software model.
//!
//! A job's control stream (`cdm`) launches grids; each launch names state words (`usc`) that say which program runs with
//! which uniforms; programs are decoded once (`isa`, `lower`, `cache`) and executed by SIMD-groups of 32 lanes (`exec`),
//! workgroup by workgroup on worker threads (`group`). All memory is reached through [`GpuMemory`].
//!
//! What the model does not know it refuses: the job ends with [`Unsupported`], which names the address and the bytes.

mod cache;
mod cdm;
mod crew;
mod debug;
mod exec;
mod fragment;
pub mod geometry;
mod group;
mod image;
pub mod isa;
mod launch;
mod lower;
mod memory;
mod parallel;
mod ppp;
mod render;
mod texture;
mod uop;
mod usc;
mod vdm;
mod vertex;

pub use cdm::{ComputeJob, LaunchInfo};
pub use debug::{Debugger, Place, Stopped, Target, TileView};
pub use geometry::Geometry;
pub use memory::{Access, GpuMemory, PAGE_SIZE, Unmapped, Witness};
pub use render::{FragmentJob, RenderJob, Rendered, TileProgram, VertexJob, ZlsBuffer};
pub use vdm::VertexStats;

use std::sync::Arc;

/// How the GPU is built and what it tolerates.
#[derive(Clone, Debug)]
pub struct GpuConfig {
    /// Loads from unmapped addresses give zero and stores to them are dropped, as the feature of that name promises.
    pub soft_faults: bool,
    /// Worker threads; zero means one for each CPU.
    pub threads: usize,
    /// GPU cores, which is the range of what shaders read as their core's number.
    pub cores: u32,
    /// Use only what every CPU of the architecture has. For tests: results do not depend on it.
    pub baseline_cpu: bool,
}

impl Default for GpuConfig {
    fn default() -> Self {
        GpuConfig {
            soft_faults: true,
            threads: 0,
            cores: 8,
            baseline_cpu: false,
        }
    }
}

/// Is told what the GPU does.
pub trait Observer: Sync {
    /// A grid is about to run.
    fn launch(&self, _: &LaunchInfo) {}
    /// It ran; the numbers are those of this launch alone.
    fn launch_done(&self, _: &LaunchInfo, _: &Stats) {}
    /// Asked every few thousand instructions by every worker: true ends the job with [`JobError::Cancelled`].
    fn cancelled(&self) -> bool {
        false
    }
}

impl Observer for () {}

/// What a job took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Grids.
    pub launches: u64,
    /// Workgroups.
    pub groups: u64,
    /// Threads.
    pub threads: u64,
    /// Instructions, counted per SIMD-group.
    pub instructions: u64,
    /// Loads and stores of single threads that went to no mapped address.
    pub soft_faults: u64,
    /// Texels read as zero because the way in which they are compressed is not known.
    pub unknown_texels: u64,
}

impl Stats {
    fn add(&mut self, other: &Stats) {
        self.launches += other.launches;
        self.groups += other.groups;
        self.threads += other.threads;
        self.instructions += other.instructions;
        self.soft_faults += other.soft_faults;
        self.unknown_texels += other.unknown_texels;
    }
}

/// The part of the GPU that made an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Compute data master: control streams, indirect sizes.
    Cdm,
    /// Vertex data master: control streams.
    Vdm,
    /// Vertex data master: sizes of indirect draws.
    IndexList,
    /// Primitive processor: records of state.
    Ppp,
    /// State words, uniforms, texture and sampler states.
    Usc,
    /// Instruction fetch.
    Fetch,
    /// Depth, stencil and visibility: scissors, biases and counts.
    Isp,
    /// Loads, stores and atomics of shaders.
    Shader,
    /// Texels, and states of textures and samplers that a shader finds by itself.
    Texture,
}

/// An access that no mapping allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{unit:?} {access:?} fault at {va:#x} (pc {pc:#x})")]
pub struct GpuFault {
    /// The address.
    pub va: u64,
    /// What was tried.
    pub access: Access,
    /// By whom.
    pub unit: Unit,
    /// The instruction's address, or zero.
    pub pc: u64,
}

impl GpuFault {
    /// A fault of a unit that runs no program.
    pub(crate) fn new(va: u64, access: Access, unit: Unit) -> Self {
        GpuFault {
            va,
            access,
            unit,
            pc: 0,
        }
    }
}

/// Something that the model does not know how to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unsupported at {va:#x} [{}]: {why}", hex(bytes))]
pub struct Unsupported {
    /// The GPU address of the bytes.
    pub va: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What is wrong with them.
    pub why: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Why a job ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// A fault, as hardware would raise it.
    #[error(transparent)]
    Fault(#[from] GpuFault),
    /// The model's limits. Nothing that the job wrote can be trusted.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The observer wanted it.
    #[error("cancelled")]
    Cancelled,
}

/// A GPU: its configuration and the programs that it has seen. Jobs of any address space may run at the same time.
pub struct Gpu {
    machine: Machine,
    cache: cache::Cache,
}

/// What jobs run on.
struct Machine {
    config: GpuConfig,
    /// Threads for a piece of work, the caller's among them.
    threads: u64,
    crew: crew::Crew,
}

impl Machine {
    fn new(config: GpuConfig) -> Self {
        let threads = match config.threads {
            // Some systems look into many files to tell.
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        };
        Machine {
            config,
            threads: threads as u64,
            crew: crew::Crew::default(),
        }
    }
}

impl Gpu {
    /// A GPU that has seen nothing yet.
    pub fn new(config: GpuConfig) -> Self {
        Gpu {
            machine: Machine::new(config),
            cache: cache::Cache::default(),
        }
    }

    /// The same, with somebody who looks on.
    pub fn with_debugger(config: GpuConfig, debugger: Arc<dyn Debugger>) -> Self {
        Gpu {
            machine: Machine::new(config),
            cache: cache::Cache::watched(debugger),
        }
    }

    /// Address and code of all programs that it has seen, by address.
    pub fn programs(&self) -> Vec<(u64, Vec<u8>)> {
        self.cache.all()
    }

    /// Runs a compute job to its end on worker threads. Blocks the caller.
    pub fn run_compute(
        &self,
        memory: &dyn GpuMemory,
        job: &ComputeJob,
        observer: &dyn Observer,
    ) -> Result<Stats, JobError> {
        cdm::run(&self.machine, &self.cache, memory, job, observer)
    }

    /// Runs the vertex half of a render: reads its control stream to the end. What it makes is for
    /// [`Gpu::run_fragment`]; memory holds nothing of it.
    pub fn run_vertex(
        &self,
        memory: &dyn GpuMemory,
        job: &VertexJob,
        observer: &dyn Observer,
    ) -> Result<Geometry, JobError> {
        vdm::run(&self.machine, &self.cache, memory, job, observer)
    }

    /// Runs the fragment half of a render whose vertex half made `geometry`, on worker threads. Blocks the caller.
    pub fn run_fragment(
        &self,
        memory: &dyn GpuMemory,
        job: &RenderJob,
        geometry: &Geometry,
        observer: &dyn Observer,
    ) -> Result<Rendered, JobError> {
        fragment::run(&self.machine, &self.cache, memory, job, geometry, observer)
    }
}

/// [`Gpu::run_compute`] on a GPU of its own.
pub fn run_compute(
    memory: &dyn GpuMemory,
    job: &ComputeJob,
    config: &GpuConfig,
    observer: &dyn Observer,
) -> Result<Stats, JobError> {
    Gpu::new(config.clone()).run_compute(memory, job, observer)
}
