// SPDX-License-Identifier: MIT OR Apache-2.0

//! The GPU model as the firmware's engine.

use std::ptr::NonNull;

use vagx_gpu::{Gpu, GpuConfig, GpuMemory, LaunchInfo, Observer, Stats, Unit, Unmapped, Witness};
use vagx_trace::{Arg, Trace};
use vagx_uat::Access;

use crate::control::JobControl;
use crate::engine::{ComputeJob, ContextMemory, Engine, FaultUnit, JobError, JobStats};

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
        control: &JobControl,
    ) -> Result<JobStats, JobError> {
        let gpu = if job.soft_faults {
            &self.soft
        } else {
            &self.hard
        };
        let watch = Watch {
            control,
            trace: &self.trace,
        };
        let job = vagx_gpu::ComputeJob {
            cdm_ctrl_stream_base: job.cdm_ctrl_stream_base,
            cdm_ctrl_stream_end: job.cdm_ctrl_stream_end,
            usc_exec_base: job.usc_exec_base,
            sampler_heap: job.sampler_heap,
            sampler_count: job.sampler_count,
            helper_program: job.helper_program,
            helper_cfg: job.helper_cfg,
            helper_data: job.helper_data,
            vm_slot: job.vm_slot,
        };
        gpu.run_compute(&Memory(mem), &job, &watch)
            .map(told)
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
                Unit::Usc => FaultUnit::PipelineState,
                Unit::Fetch => FaultUnit::InstructionFetch,
                Unit::Shader => FaultUnit::Shader,
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
