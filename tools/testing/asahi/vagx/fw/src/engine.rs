// SPDX-License-Identifier: MIT OR Apache-2.0

//! The GPU, as the firmware sees it: something that is given a job and a context and says how it ended.

use std::collections::BTreeSet;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use vagx_gpu::{ComputeJob, Geometry, RenderJob, Rendered, VertexJob, Witness};
use vagx_uat::{Access, Agent, Fault, PAGE_SIZE, Uat, canonical};

use crate::control::JobControl;

/// Memory of one context as the GPU reaches it, page by page.
///
/// # Safety
///
/// The returned pointer is the start of the 16 KiB page that holds `va`; it stays readable (and writable, if that
/// was asked for) for the whole page until the job that asked for it has ended. Others may change the bytes at any
/// time.
pub unsafe trait ContextMemory: Send + Sync {
    fn page(&self, va: u64, access: Access) -> Result<NonNull<u8>, Fault>;

    /// What tells that the page was unmapped or its rights were changed; to be asked for before the page.
    fn witness(&self, _va: u64) -> Witness {
        Witness::constant()
    }
}

/// How much a job did, for the trace.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobStats {
    pub launches: u64,
    pub groups: u64,
    pub threads: u64,
    pub instructions: u64,
    pub soft_faults: u64,
}

/// Which part of the GPU made an access that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultUnit {
    /// Reading the control stream of a compute job.
    ControlStream,
    /// Reading the control stream of a vertex job.
    VertexStream,
    /// Reading the sizes of an indirect draw.
    IndexList,
    /// Reading the state of the primitive processor.
    PrimitiveState,
    /// Reading the state words of a pipeline.
    PipelineState,
    /// Fetching instructions.
    InstructionFetch,
    /// Reading scissors and biases, loading and storing depth and stencil, counting what is visible.
    Isp,
    /// A load or store of a shader.
    Shader,
    /// Reading a texture.
    Texture,
}

/// Why a job did not end well.
#[derive(Clone, Debug)]
pub enum JobError {
    /// The GPU could not make an access.
    Fault {
        va: u64,
        access: Access,
        unit: FaultUnit,
        /// Address of the instruction, or zero.
        pc: u64,
    },
    /// The model lacks something that the job needs, so its results must not be trusted.
    Unsupported {
        va: u64,
        bytes: Vec<u8>,
        why: String,
    },
    /// `cancel` was set.
    Cancelled,
}

/// The GPU behind the firmware.
pub trait Engine: Send + Sync {
    /// Runs a compute job to its end, or until `control` says to end it. With `soft_faults`, accesses of shaders to
    /// unmapped addresses read as zero and are dropped instead of faulting.
    fn run_compute(
        &self,
        mem: &dyn ContextMemory,
        job: &ComputeJob,
        soft_faults: bool,
        control: &JobControl,
    ) -> Result<JobStats, JobError>;

    /// Runs the vertex half of a render, likewise.
    fn run_vertex(
        &self,
        mem: &dyn ContextMemory,
        job: &VertexJob,
        soft_faults: bool,
        control: &JobControl,
    ) -> Result<Geometry, JobError>;

    /// Runs the fragment half of a render, likewise, on what the vertex half has left.
    fn run_fragment(
        &self,
        mem: &dyn ContextMemory,
        job: &RenderJob,
        geometry: &Geometry,
        soft_faults: bool,
        control: &JobControl,
    ) -> Result<Rendered, JobError>;
}

/// A context of the UAT. Once the job is to end, it maps nothing, so that a job that does not look at the flag ends too.
pub(crate) struct UatContext<'a> {
    pub uat: &'a Arc<Uat>,
    pub ctx: u8,
    pub control: &'a JobControl,
    /// Pages that were asked for to be written, for a capture.
    pub written: Option<&'a Mutex<BTreeSet<u64>>>,
}

// SAFETY: `Uat::page` gives a host address of a whole page of the guest's RAM, which stays mapped as long as the
// `PhysMem` below the translator lives, whatever the guest does to its page tables.
unsafe impl ContextMemory for UatContext<'_> {
    fn page(&self, va: u64, access: Access) -> Result<NonNull<u8>, Fault> {
        if self.control.cut().is_some() {
            return Err(Fault {
                va,
                ctx: self.ctx,
                level: 0,
                reason: vagx_uat::Reason::Unmapped,
                access,
                agent: Agent::Gpu,
            });
        }
        let page = self.uat.page(self.ctx, Agent::Gpu, va, access)?;
        if let (Some(written), Access::Write) = (self.written, access) {
            let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
            written.insert(canonical(va) & !(PAGE_SIZE - 1));
        }
        Ok(page)
    }

    fn witness(&self, va: u64) -> Witness {
        match self.uat.entries(self.ctx, Agent::Gpu, va) {
            // SAFETY: As with pages: aligned words of the guest's RAM, which stays mapped.
            Some(words) => unsafe { Witness::new(words) },
            None => Witness::broken(),
        }
    }
}
