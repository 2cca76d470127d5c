// SPDX-License-Identifier: MIT OR Apache-2.0

//! Captured jobs, run again without a machine.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use vagx_gpu::{RenderJob, VertexJob};
use vagx_uat::PAGE_SIZE;

use crate::format::{Context, FORMAT, INDEX, Index, Job};
use crate::jobs::{ComputeWork, GpuJob};
use crate::snapshot::Snapshot;

/// What to replay.
#[derive(Clone, Debug, Default)]
pub struct ReplayOptions {
    /// Only this job; without it, all.
    pub job: Option<u64>,
    /// What the jobs leave differs on purpose: do not compare it.
    pub careless: bool,
}

/// How a replay went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    pub jobs: u64,
    /// Jobs that did not end well.
    pub failed: u64,
    /// Jobs that left other bytes in memory than when they were captured.
    pub different: u64,
}

/// What came of a job: a line that says how much it did, or why it did not end well.
pub type Played = Result<String, String>;

/// Runs jobs. What the vertex half of a render makes, it keeps for the fragment half, which has the same `tilemap`;
/// where there is none, because both halves were captured as one job, it runs the vertex half too.
pub trait Player {
    fn compute(&mut self, memory: &Snapshot, work: &ComputeWork) -> Played;
    fn vertex(&mut self, memory: &Snapshot, job: &VertexJob) -> Played;
    fn fragment(&mut self, memory: &Snapshot, job: &RenderJob) -> Played;
}

fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let text =
        fs::read(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    serde_json::from_slice(&text).map_err(|e| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}: {e}", path.display()),
        )
    })
}

/// A capture that is being read.
pub struct Capture {
    dir: PathBuf,
    index: Index,
    file: File,
}

impl Capture {
    /// Opens the capture in `dir`.
    pub fn open(dir: &Path) -> io::Result<Capture> {
        let index: Index = read_json(&dir.join(INDEX))?;
        if index.format != FORMAT || index.page_size != PAGE_SIZE {
            let why = format!("{}: not a capture of format {FORMAT}", dir.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let file = File::open(dir.join(&index.pages))?;
        Ok(Capture {
            dir: dir.to_owned(),
            index,
            file,
        })
    }

    /// All jobs, in the order in which they ended.
    pub fn jobs(&self) -> io::Result<Vec<Job>> {
        let names = self.index.jobs.iter();
        names.map(|name| read_json(&self.dir.join(name))).collect()
    }

    /// The context that a job ran in.
    fn context(job: &Job, slot: u32) -> io::Result<&Context> {
        job.contexts
            .iter()
            .find(|c| u32::from(c.context) == slot)
            .ok_or_else(|| io::Error::other(format!("job {} lacks its context", job.number)))
    }

    /// What a job was told and the memory that it began with; nothing for what cannot be replayed.
    pub fn load(&mut self, job: &Job) -> io::Result<Option<(GpuJob, Snapshot)>> {
        let Some(told) = job.told.job() else {
            return Ok(None);
        };
        let context = Self::context(job, told.vm_slot())?;
        let memory = Snapshot::load(&mut self.file, context)?;
        Ok(Some((told, memory)))
    }
}

/// Runs the jobs captured in `dir` again and compares what they leave in memory with what they left then. Says how
/// each went on `out`.
pub fn replay(
    dir: &Path,
    player: &mut dyn Player,
    options: &ReplayOptions,
    out: &mut dyn Write,
) -> io::Result<ReplayReport> {
    let mut capture = Capture::open(dir)?;
    let mut report = ReplayReport::default();
    // The latest vertex half of each render that has been passed by.
    let mut halves: HashMap<u64, Job> = HashMap::new();
    for job in capture.jobs()? {
        if options.job.is_none_or(|wanted| wanted == job.number) {
            if let Some(GpuJob::Fragment(render)) = job.told.job()
                && let Some(half) = halves.remove(&render.vertex.tilemap)
                && let Some((GpuJob::Vertex(vertex), memory)) = capture.load(&half)?
                && let Err(why) = player.vertex(&memory, &vertex)
            {
                writeln!(out, "job {}, for its fragment half: {why}", half.number)?;
            }
            run(&mut capture, player, &job, options, out, &mut report)?;
        } else if let Some(GpuJob::Vertex(vertex)) = job.told.job() {
            halves.insert(vertex.tilemap, job);
        }
    }
    Ok(report)
}

fn run(
    capture: &mut Capture,
    player: &mut dyn Player,
    job: &Job,
    options: &ReplayOptions,
    out: &mut dyn Write,
    report: &mut ReplayReport,
) -> io::Result<()> {
    report.jobs += 1;
    let number = job.number;
    let Some((told, memory)) = capture.load(job)? else {
        report.failed += 1;
        return writeln!(out, "job {number}: {} jobs cannot be replayed", job.pipe);
    };
    let result = match &told {
        GpuJob::Compute(work) => player.compute(&memory, work),
        GpuJob::Vertex(job) => player.vertex(&memory, job),
        GpuJob::Fragment(job) => player.fragment(&memory, job),
    };
    match result {
        Ok(stats) => writeln!(out, "job {number}: done, {stats}")?,
        Err(why) => {
            report.failed += 1;
            writeln!(out, "job {number}: {why}")?;
        }
    }
    if options.careless {
        return Ok(());
    }
    let context = Capture::context(job, told.vm_slot())?;
    let differing = memory.compare(&mut capture.file, context, &job.changed)?;
    if let Some((va, was, is)) = differing.first() {
        report.different += 1;
        writeln!(
            out,
            "job {number}: {} bytes differ from the capture, the first at {va:#x}: {was:#04x} then, {is:#04x} now",
            differing.len()
        )?;
    }
    Ok(())
}
