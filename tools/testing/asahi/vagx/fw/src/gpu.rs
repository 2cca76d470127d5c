// SPDX-License-Identifier: MIT OR Apache-2.0

//! The GPU model as the firmware's engine.

use std::ptr::NonNull;

use vagx_gpu::{
    ComputeJob, Geometry, Gpu, GpuConfig, GpuMemory, LaunchInfo, Observer, RenderJob, Rendered,
    Stats, Unit, Unmapped, VertexJob, Witness,
};
use vagx_trace::{Arg, Trace};
use vagx_uat::Access;

use crate::control::JobControl;
use crate::engine::{ContextMemory, Engine, FaultUnit, JobError, JobStats};

/// [`vagx_gpu::Gpu`], with and without soft faults, as the driver may choose for each job.
pub struct GpuEngine {
    soft: Gpu,
    hard: Gpu,
    trace: Trace,
}

impl GpuEngine {
    /// A GPU of that configuration; whether faults are soft is the driver's choice.
    pub fn new(config: GpuConfig, trace: Trace) -> Self {
        let with = |soft_faults| {
            Gpu::new(GpuConfig {
                soft_faults,
                ..config.clone()
            })
        };
        GpuEngine {
            soft: with(true),
            hard: with(false),
            trace,
        }
    }

    fn gpu(&self, soft_faults: bool) -> &Gpu {
        if soft_faults { &self.soft } else { &self.hard }
    }

    fn watch<'a>(&'a self, control: &'a JobControl) -> Watch<'a> {
        Watch {
            control,
            trace: &self.trace,
        }
    }
}

struct Memory<'a>(&'a dyn ContextMemory);

// SAFETY: `ContextMemory` promises the same.
unsafe impl GpuMemory for Memory<'_> {
    fn page(&self, va: u64, access: vagx_gpu::Access) -> Result<NonNull<u8>, Unmapped> {
        let access = match access {
            vagx_gpu::Access::Read => Access::Read,
            vagx_gpu::Access::Write => Access::Write,
        };
        self.0.page(va, access).map_err(|_| Unmapped)
    }

    fn witness(&self, va: u64) -> Witness {
        self.0.witness(va)
    }
}

struct Watch<'a> {
    control: &'a JobControl,
    trace: &'a Trace,
}

impl Observer for Watch<'_> {
    fn launch(&self, info: &LaunchInfo) {
        if self.trace.wants_events() {
            let size = |s: [u32; 3]| Arg::Text(format!("{}x{}x{}", s[0], s[1], s[2]));
            let args = [
                ("command", info.command.into()),
                ("shader", info.shader.into()),
                ("grid", size(info.grid)),
                ("local", size(info.local)),
            ];
            self.trace.event("gpu compute", "launch", &args);
        }
    }

    fn cancelled(&self) -> bool {
        self.control.cancelled()
    }
}

impl Engine for GpuEngine {
    fn run_compute(
        &self,
        mem: &dyn ContextMemory,
        job: &ComputeJob,
        soft_faults: bool,
        control: &JobControl,
    ) -> Result<JobStats, JobError> {
        self.gpu(soft_faults)
            .run_compute(&Memory(mem), job, &self.watch(control))
            .map(told)
            .map_err(translated)
    }

    fn run_vertex(
        &self,
        mem: &dyn ContextMemory,
        job: &VertexJob,
        soft_faults: bool,
        control: &JobControl,
    ) -> Result<Geometry, JobError> {
        self.gpu(soft_faults)
            .run_vertex(&Memory(mem), job, &self.watch(control))
            .map_err(translated)
    }

    fn run_fragment(
        &self,
        mem: &dyn ContextMemory,
        job: &RenderJob,
        geometry: &Geometry,
        soft_faults: bool,
        control: &JobControl,
    ) -> Result<Rendered, JobError> {
        self.gpu(soft_faults)
            .run_fragment(&Memory(mem), job, geometry, &self.watch(control))
            .map_err(translated)
    }
}

fn told(stats: Stats) -> JobStats {
    JobStats {
        launches: stats.launches,
        groups: stats.groups,
        threads: stats.threads,
        instructions: stats.instructions,
        soft_faults: stats.soft_faults,
    }
}

fn translated(error: vagx_gpu::JobError) -> JobError {
    match error {
        vagx_gpu::JobError::Fault(f) => JobError::Fault {
            va: f.va,
            access: match f.access {
                vagx_gpu::Access::Read => Access::Read,
                vagx_gpu::Access::Write => Access::Write,
            },
            unit: match f.unit {
                Unit::Cdm => FaultUnit::ControlStream,
                Unit::Vdm => FaultUnit::VertexStream,
                Unit::IndexList => FaultUnit::IndexList,
                Unit::Ppp => FaultUnit::PrimitiveState,
                Unit::Usc => FaultUnit::PipelineState,
                Unit::Fetch => FaultUnit::InstructionFetch,
                Unit::Isp => FaultUnit::Isp,
                Unit::Shader => FaultUnit::Shader,
                Unit::Texture => FaultUnit::Texture,
            },
            pc: f.pc,
        },
        vagx_gpu::JobError::Unsupported(u) => JobError::Unsupported {
            va: u.va,
            bytes: u.bytes,
            why: u.why,
        },
        vagx_gpu::JobError::Cancelled => JobError::Cancelled,
    }
}
