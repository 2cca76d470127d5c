// SPDX-License-Identifier: MIT OR Apache-2.0

//! Captured jobs, run again without a machine.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::ptr::NonNull;

use serde::de::DeserializeOwned;
use vagx_uat::{Access, Agent, Fault, PAGE_SIZE, PhysMem, Pte, Reason, VecMem};

use crate::capture::{Context, FORMAT, GpuJob, INDEX, Index, Job};
use crate::control::JobControl;
use crate::engine::{ContextMemory, Engine};

/// What to replay.
#[derive(Clone, Debug, Default)]
pub struct ReplayOptions {
    /// Only this job; without it, all.
    pub job: Option<u64>,
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

/// The memory of a context as it was before a job. Writes go to this copy only.
struct Snapshot {
    ram: VecMem,
    /// By address of the page: physical address in `ram`, and the entry that maps it.
    pages: HashMap<u64, (u64, Pte)>,
    context: u8,
}

/// Where the copy's physical memory begins.
const BASE: u64 = 0x1_0000_0000;

impl Snapshot {
    fn load(file: &mut File, context: &Context) -> io::Result<Snapshot> {
        // Pages that two addresses share stay shared: the entry's address says which are the same.
        let mut places: HashMap<u64, u64> = HashMap::new();
        for page in &context.pages {
            if page.2.is_some() {
                let next = BASE + places.len() as u64 * PAGE_SIZE;
                places.entry(Pte(page.1.0).address()).or_insert(next);
            }
        }
        let ram = VecMem::new(BASE, places.len().max(1) * PAGE_SIZE as usize);
        let mut pages = HashMap::new();
        let mut bytes = vec![0; PAGE_SIZE as usize];
        for page in &context.pages {
            let pte = Pte(page.1.0);
            let (Some(id), Some(pa)) = (page.2, places.get(&pte.address())) else {
                continue;
            };
            read_page(file, id, &mut bytes)?;
            ram.write(*pa, &bytes).map_err(io::Error::other)?;
            pages.insert(page.0.0, (*pa, pte));
        }
        Ok(Snapshot {
            ram,
            pages,
            context: context.context,
        })
    }
}

// SAFETY: The pages lie in `ram`, which lives as long as the snapshot and is aligned to pages.
unsafe impl ContextMemory for Snapshot {
    fn page(&self, va: u64, access: Access) -> Result<NonNull<u8>, Fault> {
        let fault = |reason| Fault {
            va,
            ctx: self.context,
            level: 3,
            reason,
            access,
            agent: Agent::Gpu,
        };
        let page = vagx_uat::canonical(va) & !(PAGE_SIZE - 1);
        let (pa, pte) = self
            .pages
            .get(&page)
            .ok_or_else(|| fault(Reason::Unmapped))?;
        let rights = pte.rights(Agent::Gpu);
        let allowed = match access {
            Access::Read => rights.read,
            Access::Write => rights.write,
        };
        if !allowed {
            return Err(fault(Reason::NoAccess));
        }
        self.ram
            .host(*pa, PAGE_SIZE as usize)
            .ok_or_else(|| fault(Reason::Bus))
    }
}

fn read_page(file: &mut File, id: u32, bytes: &mut [u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(u64::from(id) * PAGE_SIZE))?;
    file.read_exact(bytes)
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

/// Runs the jobs captured in `dir` again and compares what they leave in memory with what they left then. Says how
/// each went on `out`.
pub fn replay(
    dir: &Path,
    engine: &dyn Engine,
    options: &ReplayOptions,
    out: &mut dyn Write,
) -> io::Result<ReplayReport> {
    let index: Index = read_json(&dir.join(INDEX))?;
    if index.format != FORMAT || index.page_size != PAGE_SIZE {
        let why = format!("{}: not a capture of format {FORMAT}", dir.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let mut file = File::open(dir.join(&index.pages))?;
    let mut report = ReplayReport::default();
    for name in &index.jobs {
        let job: Job = read_json(&dir.join(name))?;
        if options.job.is_none_or(|wanted| wanted == job.number) {
            run(&mut file, engine, &job, out, &mut report)?;
        }
    }
    Ok(report)
}

fn run(
    file: &mut File,
    engine: &dyn Engine,
    job: &Job,
    out: &mut dyn Write,
    report: &mut ReplayReport,
) -> io::Result<()> {
    report.jobs += 1;
    let number = job.number;
    let Some(told) = job.told.job() else {
        report.failed += 1;
        return writeln!(out, "job {number}: {} jobs cannot be replayed", job.pipe);
    };
    let context = job
        .contexts
        .iter()
        .find(|c| u32::from(c.context) == told.vm_slot())
        .ok_or_else(|| io::Error::other(format!("job {number} lacks its context")))?;
    let memory = Snapshot::load(file, context)?;
    let never = JobControl::default();
    let result = match &told {
        GpuJob::Compute(work) => engine
            .run_compute(&memory, &work.job, work.soft_faults, &never)
            .map(|stats| format!("{stats:?}")),
        GpuJob::Vertex(job) => engine
            .run_vertex(&memory, job, &never)
            .map(|geometry| format!("{:?}", geometry.stats)),
        // What the vertex half made is not in memory, so it is made again.
        GpuJob::Fragment(job) => engine
            .run_vertex(&memory, &job.vertex, &never)
            .and_then(|geometry| engine.run_fragment(&memory, job, &geometry, &never))
            .map(|rendered| format!("{rendered:?}")),
    };
    match result {
        Ok(stats) => writeln!(out, "job {number}: done, {stats}")?,
        Err(e) => {
            report.failed += 1;
            writeln!(out, "job {number}: {e:?}")?;
        }
    }
    let differing = compare(file, &memory, context, job)?;
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

/// Bytes in which the replay's memory differs from what the captured job left: address, then, now.
fn compare(
    file: &mut File,
    memory: &Snapshot,
    context: &Context,
    job: &Job,
) -> io::Result<Vec<(u64, u8, u8)>> {
    let changed: HashMap<u64, u32> = job.changed.iter().map(|c| (c.0.0, c.1)).collect();
    let mut differing = Vec::new();
    let size = PAGE_SIZE as usize;
    let (mut was, mut is) = (vec![0; size], vec![0; size]);
    for page in &context.pages {
        let Some(id) = changed.get(&page.0.0).copied().or(page.2) else {
            continue;
        };
        let Some((pa, _)) = memory.pages.get(&page.0.0) else {
            continue;
        };
        read_page(file, id, &mut was)?;
        memory.ram.read(*pa, &mut is).map_err(io::Error::other)?;
        if was == is {
            continue;
        }
        for (offset, (then, now)) in (0u64..).zip(was.iter().zip(&is)) {
            if then != now {
                differing.push((page.0.0 + offset, *then, *now));
            }
        }
    }
    Ok(differing)
}
