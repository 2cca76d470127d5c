// SPDX-License-Identifier: MIT OR Apache-2.0

//! `vagx replay`: captured jobs on the GPU model, without a machine.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use vagx_capture::{ComputeWork, Played, Player, ReplayOptions, ReplayReport, Snapshot};
use vagx_gpu::{Geometry, Gpu, GpuConfig, RenderJob, VertexJob};

#[derive(clap::Args)]
pub struct Args {
    /// What `serve --capture` or the shim has recorded
    dir: PathBuf,
    /// Only the job of this number
    #[arg(long)]
    job: Option<u64>,
}

/// The GPU model, with and without soft faults, as each job wants it.
struct Model {
    soft: Gpu,
    hard: Gpu,
    /// What vertex halves have made, by the address where hardware leaves it.
    halves: HashMap<u64, Geometry>,
}

impl Model {
    fn new() -> Model {
        let with = |soft_faults| {
            Gpu::new(GpuConfig {
                soft_faults,
                ..GpuConfig::default()
            })
        };
        Model {
            soft: with(true),
            hard: with(false),
            halves: HashMap::new(),
        }
    }
}

fn text(why: vagx_gpu::JobError) -> String {
    why.to_string()
}

fn told<T: std::fmt::Debug>(result: Result<T, vagx_gpu::JobError>) -> Played {
    result.map(|stats| format!("{stats:?}")).map_err(text)
}

impl Player for Model {
    fn compute(&mut self, memory: &Snapshot, work: &ComputeWork) -> Played {
        let gpu = if work.soft_faults {
            &self.soft
        } else {
            &self.hard
        };
        told(gpu.run_compute(memory, &work.job, &()))
    }

    fn vertex(&mut self, memory: &Snapshot, job: &VertexJob) -> Played {
        let geometry = self.soft.run_vertex(memory, job, &()).map_err(text)?;
        let stats = format!("{:?}", geometry.stats);
        self.halves.insert(job.tilemap, geometry);
        Ok(stats)
    }

    fn fragment(&mut self, memory: &Snapshot, job: &RenderJob) -> Played {
        let geometry = match self.halves.remove(&job.fragment.tilemap) {
            Some(geometry) => geometry,
            None => self
                .soft
                .run_vertex(memory, &job.vertex, &())
                .map_err(text)?,
        };
        told(self.soft.run_fragment(memory, job, &geometry, &()))
    }
}

fn replay(dir: &Path, options: &ReplayOptions) -> io::Result<ReplayReport> {
    let mut out = io::stdout().lock();
    let report = vagx_capture::replay(dir, &mut Model::new(), options, &mut out)?;
    writeln!(
        out,
        "{} jobs, {} failed, {} with another result",
        report.jobs, report.failed, report.different
    )?;
    Ok(report)
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let options = ReplayOptions {
        job: args.job,
        careless: false,
    };
    let report = replay(&args.dir, &options)
        .with_context(|| format!("cannot replay {}", args.dir.display()))?;
    Ok(match report {
        ReplayReport {
            failed: 0,
            different: 0,
            jobs: 1..,
        } => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
