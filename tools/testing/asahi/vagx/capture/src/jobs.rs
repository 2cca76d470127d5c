// SPDX-License-Identifier: MIT OR Apache-2.0

//! Jobs as they stand in a capture's files.

use serde::{Deserialize, Serialize};
use vagx_gpu::{ComputeJob, FragmentJob, RenderJob, TileProgram, VertexJob, ZlsBuffer};

use crate::format::Hex;

/// A compute job, and whether accesses of its shaders to unmapped addresses read as zero and are dropped.
#[derive(Clone)]
pub struct ComputeWork {
    pub job: ComputeJob,
    /// Else they fault.
    pub soft_faults: bool,
}

/// How a field is written: as it is, or as hexadecimal text.
trait Spelling<T> {
    fn spell(value: T) -> Self;
    fn read(&self) -> T;
}

impl Spelling<u64> for Hex {
    fn spell(value: u64) -> Hex {
        Hex(value)
    }
    fn read(&self) -> u64 {
        self.0
    }
}

impl Spelling<u32> for Hex {
    fn spell(value: u32) -> Hex {
        Hex(value.into())
    }
    fn read(&self) -> u32 {
        self.0 as u32
    }
}

impl Spelling<u32> for u32 {
    fn spell(value: u32) -> u32 {
        value
    }
    fn read(&self) -> u32 {
        *self
    }
}

/// Declares the file's form of a job, and the way from and to the job.
macro_rules! form {
    ($(#[$meta:meta])* $name:ident of $job:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Serialize, Deserialize)]
        struct $name {
            $($field: $type,)*
        }

        impl Spelling<$job> for $name {
            fn spell(job: $job) -> $name {
                $name { $($field: Spelling::spell(job.$field),)* }
            }
            fn read(&self) -> $job {
                $job { $($field: self.$field.read(),)* }
            }
        }
    };
}

form! {
    Compute of ComputeJob {
        cdm_ctrl_stream_base: Hex,
        cdm_ctrl_stream_end: Hex,
        usc_exec_base: Hex,
        sampler_heap: Hex,
        sampler_count: u32,
        helper_program: Hex,
        helper_cfg: Hex,
        helper_data: Hex,
        vm_slot: u32,
    }
}

form! {
    Vertex of VertexJob {
        vdm_ctrl_stream_base: Hex,
        usc_exec_base: Hex,
        sampler_heap: Hex,
        sampler_count: u32,
        helper_program: Hex,
        helper_cfg: Hex,
        helper_data: Hex,
        ppp_ctrl: Hex,
        ppp_multisamplectl: Hex,
        width_px: u32,
        height_px: u32,
        layers: u32,
        tilemap: Hex,
        vm_slot: u32,
    }
}

form! {
    Program of TileProgram {
        usc: Hex,
        rsrc_spec: Hex,
    }
}

form! {
    Zls of ZlsBuffer {
        base: Hex,
        comp_base: Hex,
        stride: Hex,
        comp_stride: Hex,
    }
}

form! {
    Fragment of FragmentJob {
        usc_exec_base: Hex,
        sampler_heap: Hex,
        sampler_count: u32,
        helper_program: Hex,
        helper_cfg: Hex,
        helper_data: Hex,
        width_px: u32,
        height_px: u32,
        samples: u32,
        utile_width_px: u32,
        utile_height_px: u32,
        tib_blocks: u32,
        ppp_multisamplectl: Hex,
        isp_zls_pixels: Hex,
        isp_scissor_base: Hex,
        isp_dbias_base: Hex,
        isp_oclqry_base: Hex,
        depth: Zls,
        stencil: Zls,
        zls_ctrl: Hex,
        isp_bgobjdepth: Hex,
        isp_bgobjvals: Hex,
        isp_merge_upper_x: Hex,
        isp_merge_upper_y: Hex,
        isp_ctl: Hex,
        isp_dbias_ctl: Hex,
        bg: Program,
        eot: Program,
        partial_bg: Program,
        partial_eot: Program,
        tilemap: Hex,
        vm_slot: u32,
    }
}

form! {
    Render of RenderJob {
        vertex: Vertex,
        fragment: Fragment,
    }
}

/// What the GPU was told to do.
#[derive(Clone)]
pub enum GpuJob {
    Compute(ComputeWork),
    Vertex(VertexJob),
    Fragment(Box<RenderJob>),
}

impl GpuJob {
    /// Name of the pipe that runs it.
    pub fn pipe(&self) -> &'static str {
        match self {
            GpuJob::Compute(_) => "compute",
            GpuJob::Vertex(_) => "vertex",
            GpuJob::Fragment(_) => "fragment",
        }
    }

    /// Number of the context that the job runs in.
    pub fn vm_slot(&self) -> u32 {
        match self {
            GpuJob::Compute(work) => work.job.vm_slot,
            GpuJob::Vertex(job) => job.vm_slot,
            GpuJob::Fragment(job) => job.fragment.vm_slot,
        }
    }
}

/// The same in a file; one of them is there.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Told {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compute: Option<ComputeTold>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vertex: Option<Vertex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    render: Option<Render>,
}

#[derive(Clone, Serialize, Deserialize)]
struct ComputeTold {
    #[serde(flatten)]
    job: Compute,
    soft_faults: bool,
}

impl From<&GpuJob> for Told {
    fn from(job: &GpuJob) -> Told {
        let mut told = Told::default();
        match job {
            GpuJob::Compute(work) => {
                told.compute = Some(ComputeTold {
                    job: Compute::spell(work.job.clone()),
                    soft_faults: work.soft_faults,
                });
            }
            GpuJob::Vertex(job) => told.vertex = Some(Vertex::spell(job.clone())),
            GpuJob::Fragment(job) => told.render = Some(Render::spell((**job).clone())),
        }
        told
    }
}

impl Told {
    /// The job, unless it is of a kind that is not known here.
    pub fn job(&self) -> Option<GpuJob> {
        if let Some(compute) = &self.compute {
            return Some(GpuJob::Compute(ComputeWork {
                job: compute.job.read(),
                soft_faults: compute.soft_faults,
            }));
        }
        if let Some(vertex) = &self.vertex {
            return Some(GpuJob::Vertex(vertex.read()));
        }
        let render = self.render.as_ref()?;
        Some(GpuJob::Fragment(Box::new(render.read())))
    }
}
