// SPDX-License-Identifier: MIT OR Apache-2.0

//! `vagx replay`: captured jobs on the GPU model, without a machine, and a look into them.

mod lane;
mod look;
mod pictures;
mod shaders;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use vagx_capture::{ComputeWork, Played, Player, ReplayOptions, ReplayReport, Snapshot};
use vagx_gpu::{Geometry, Gpu, GpuConfig, JobError, RenderJob, VertexJob};

use lane::Lane;
use look::Look;

#[derive(clap::Args)]
pub struct Args {
    /// What `serve --capture` or the shim has recorded
    dir: PathBuf,
    /// Only the job of this number
    #[arg(long)]
    job: Option<u64>,
    /// Leave out what a render draws after the draw of this number; the first is 0
    #[arg(long, value_name = "DRAW")]
    until: Option<usize>,
    /// Write a picture of the tilebuffer after each draw into this folder
    #[arg(long, value_name = "DIR")]
    png: Option<PathBuf>,
    /// Disassemble the programs of each job
    #[arg(long)]
    shaders: bool,
    /// Show registers of the lane that works on this pixel (X,Y or X,Y,DRAW), or on this thread of a grid (X,Y,Z)
    #[arg(long, requires = "at")]
    lane: Option<Lane>,
    /// ... before the instruction at this address
    #[arg(long, value_name = "ADDRESS", requires = "lane", value_parser = address)]
    at: Option<u64>,
}

fn address(text: &str) -> Result<u64, std::num::ParseIntError> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16)
}

impl Args {
    /// Whether jobs are looked into.
    fn looks(&self) -> bool {
        self.until.is_some() || self.png.is_some() || self.shaders || self.at.is_some()
    }
}

/// The GPU model, as each job wants it.
struct Model<'a> {
    args: &'a Args,
    soft: Gpu,
    hard: Gpu,
    /// What vertex halves have made, by the address where hardware leaves it.
    halves: HashMap<u64, Geometry>,
}

fn text(why: impl ToString) -> String {
    why.to_string()
}

fn told<T: std::fmt::Debug>(result: Result<T, JobError>) -> Played {
    result.map(|stats| format!("{stats:?}")).map_err(text)
}

fn config(soft_faults: bool) -> GpuConfig {
    GpuConfig {
        soft_faults,
        ..GpuConfig::default()
    }
}

impl Model<'_> {
    fn new(args: &Args) -> Model<'_> {
        Model {
            args,
            soft: Gpu::new(config(true)),
            hard: Gpu::new(config(false)),
            halves: HashMap::new(),
        }
    }

    /// Runs a job on a GPU of its own and looks on, if that is wanted. What there was to see follows the result.
    fn look(&self, soft_faults: bool, run: impl FnOnce(&Gpu, &Look) -> Played) -> Option<Played> {
        if !self.args.looks() {
            return None;
        }
        let look = Arc::new(Look::new(self.args));
        // One thread, so that what is shown comes in the order of the tiles.
        let config = GpuConfig {
            threads: 1,
            ..config(soft_faults)
        };
        let gpu = Gpu::with_debugger(config, look.clone());
        let played = run(&gpu, &look);
        let seen = match self.seen(&gpu, &look) {
            Ok(seen) => seen.trim_end().to_owned(),
            Err(error) => return Some(Err(text(error))),
        };
        Some(match (played, seen.is_empty()) {
            (played, true) => played,
            (Ok(stats), false) => Ok(format!("{stats}\n{seen}")),
            (Err(why), false) => Err(format!("{why}\n{seen}")),
        })
    }

    /// What there was to see.
    fn seen(&self, gpu: &Gpu, look: &Look) -> Result<String> {
        let mut out = String::new();
        let programs = gpu.programs();
        if self.args.shaders {
            shaders::list(&programs, &mut out)?;
        }
        look.stops(&programs, &mut out)?;
        if let (Some(dir), Some(job)) = (&self.args.png, self.args.job) {
            for path in look.write_pictures(dir, job)? {
                writeln!(out, "{}", path.display())?;
            }
        }
        Ok(out)
    }
}

fn render(gpu: &Gpu, memory: &Snapshot, job: &RenderJob, geometry: Option<Geometry>) -> Played {
    let geometry = match geometry {
        Some(geometry) => geometry,
        None => gpu.run_vertex(memory, &job.vertex, &()).map_err(text)?,
    };
    told(gpu.run_fragment(memory, job, &geometry, &()))
}

impl Player for Model<'_> {
    fn compute(&mut self, memory: &Snapshot, work: &ComputeWork) -> Played {
        let looked = self.look(work.soft_faults, |gpu, _| {
            told(gpu.run_compute(memory, &work.job, &()))
        });
        looked.unwrap_or_else(|| {
            let gpu = if work.soft_faults {
                &self.soft
            } else {
                &self.hard
            };
            told(gpu.run_compute(memory, &work.job, &()))
        })
    }

    fn vertex(&mut self, memory: &Snapshot, job: &VertexJob) -> Played {
        let geometry = self.soft.run_vertex(memory, job, &()).map_err(text)?;
        let stats = format!("{:?}", geometry.stats);
        self.halves.insert(job.tilemap, geometry);
        Ok(stats)
    }

    fn fragment(&mut self, memory: &Snapshot, job: &RenderJob) -> Played {
        let known = self.halves.remove(&job.fragment.tilemap);
        let looked = self.look(true, |gpu, look| {
            let geometry = match &known {
                Some(geometry) => geometry.clone(),
                None => gpu.run_vertex(memory, &job.vertex, &()).map_err(text)?,
            };
            look.begin(job, &geometry);
            render(gpu, memory, job, Some(geometry))
        });
        looked.unwrap_or_else(|| render(&self.soft, memory, job, known))
    }
}

fn replay(args: &Args, out: &mut dyn io::Write) -> io::Result<ReplayReport> {
    let options = ReplayOptions {
        job: args.job,
        careless: args.until.is_some(),
    };
    let report = vagx_capture::replay(&args.dir, &mut Model::new(args), &options, out)?;
    writeln!(
        out,
        "{} jobs, {} failed, {} with another result",
        report.jobs, report.failed, report.different
    )?;
    Ok(report)
}

pub fn run(args: &Args) -> Result<ExitCode> {
    if args.png.is_some() && args.job.is_none() {
        bail!("--png wants --job, because there are many pictures");
    }
    let report = replay(args, &mut io::stdout().lock())
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
