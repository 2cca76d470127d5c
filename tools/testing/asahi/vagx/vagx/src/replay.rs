// SPDX-License-Identifier: MIT OR Apache-2.0

//! `vagx replay`: captured jobs on the GPU model, without a machine, and a look into them.

mod lane;
mod look;
mod pictures;
mod shaders;

use std::collections::HashMap;
use std::io::{self, Write};
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
    looked: u64,
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
            looked: 0,
        }
    }

    /// Runs a job on a GPU of its own and looks on.
    fn look(
        &mut self,
        soft_faults: bool,
        run: impl FnOnce(&Gpu, &Look) -> Played,
    ) -> Option<Played> {
        if !self.args.looks() {
            return None;
        }
        self.looked += 1;
        let look = Arc::new(Look::new(self.args));
        // One thread, so that what is shown comes in the order of the tiles.
        let config = GpuConfig {
            threads: 1,
            ..config(soft_faults)
        };
        let gpu = Gpu::with_debugger(config, look.clone());
        let played = run(&gpu, &look);
        let name = self.args.job.unwrap_or(self.looked);
        Some(match self.report(&gpu, &look, name) {
            Ok(()) => played,
            Err(error) => Err(text(error)),
        })
    }

    /// Says what there was to see.
    fn report(&self, gpu: &Gpu, look: &Look, job: u64) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let programs = gpu.programs();
        if self.args.shaders {
            shaders::list(&programs, &mut out)?;
        }
        look.stops(&programs, &mut out)?;
        if let Some(dir) = &self.args.png {
            for path in look.write_pictures(dir, job)? {
                writeln!(out, "{}", path.display())?;
            }
        }
        Ok(())
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

fn replay(args: &Args, options: &ReplayOptions) -> io::Result<ReplayReport> {
    let mut out = io::stdout();
    let mut model = Model::new(args);
    let report = vagx_capture::replay(&args.dir, &mut model, options, &mut out)?;
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
    let options = ReplayOptions {
        job: args.job,
        careless: args.until.is_some(),
    };
    let report =
        replay(args, &options).with_context(|| format!("cannot replay {}", args.dir.display()))?;
    Ok(match report {
        ReplayReport {
            failed: 0,
            different: 0,
            jobs: 1..,
        } => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
