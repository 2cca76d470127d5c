// SPDX-License-Identifier: MIT OR Apache-2.0

//! Garbage for the GPU model.
//!
//! Whatever is in memory, a job ends: it is done, or with a fault, or with what the model does not know, or because it
//! was told to end. It does not panic, hang or eat the host's memory. Each function here takes bytes that a fuzzer made
//! up and runs a job of them:
//!
//! * [`compute`] and [`render`]: a captured job (`seeds/`), whose memory and arguments the bytes change here and there;
//! * [`program`]: a shader of those very bytes.

mod image;
mod patch;
mod program;
mod seed;

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

pub use image::Image;
pub use program::program;
pub use seed::{Kind, Seed, seeds};

use vagx_capture::GpuJob;
use vagx_gpu::{Gpu, GpuConfig, JobError, Observer};

/// How often a job may ask whether to go on. Each time is a few thousand instructions.
const ASKS: u32 = 16;

/// Ends a job that takes long.
#[derive(Default)]
struct Patience(AtomicU32);

impl Observer for Patience {
    fn cancelled(&self) -> bool {
        self.0.fetch_add(1, Relaxed) >= ASKS
    }
}

fn gpu(baseline_cpu: bool, soft_faults: bool) -> Gpu {
    Gpu::new(GpuConfig {
        soft_faults,
        threads: 1,
        baseline_cpu,
        ..GpuConfig::default()
    })
}

/// Runs a job on this memory.
pub fn run(memory: &Image, job: &GpuJob, observer: &dyn Observer) -> Result<(), JobError> {
    match job {
        GpuJob::Compute(work) => {
            let gpu = gpu(false, work.soft_faults);
            gpu.run_compute(memory, &work.job, observer).map(|_| ())
        }
        GpuJob::Vertex(job) => gpu(false, true)
            .run_vertex(memory, job, observer)
            .map(|_| ()),
        GpuJob::Fragment(job) => {
            let gpu = gpu(false, true);
            let geometry = gpu.run_vertex(memory, &job.vertex, observer)?;
            gpu.run_fragment(memory, job, &geometry, observer)
                .map(|_| ())
        }
    }
}

/// A captured job of this kind, changed as `input` says.
fn changed(kind: Kind, input: &[u8]) {
    let Some((which, changes)) = input.split_first() else {
        return;
    };
    let all = seeds(kind);
    if all.is_empty() {
        return;
    }
    let seed = &all[usize::from(*which) % all.len()];
    let mut memory = seed.image();
    let mut job = seed.job.clone();
    patch::apply(&mut memory, &mut job, changes);
    let _ = run(&memory, &job, &Patience::default());
}

/// A captured compute job, changed: streams, state words, descriptors, programs, data.
pub fn compute(input: &[u8]) {
    changed(Kind::Compute, input);
}

/// A captured render, likewise.
pub fn render(input: &[u8]) {
    changed(Kind::Render, input);
}
