// SPDX-License-Identifier: MIT OR Apache-2.0

//! Captures of what runs here, for `vagx replay`.
//!
//! `VAGX_SHIM_CAPTURE=DIR` names the folder; each process captures into a folder of its own in it, named by its number.
//! `VAGX_SHIM_CAPTURE_JOBS=FIRST-LAST` leaves out the jobs before and after.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use vagx_capture::{ComputeWork, GpuJob, Recorder, Recording};
use vagx_gpu::{ComputeJob, GpuMemory, RenderJob};

/// The M1.
const CHIP: u32 = 0x8103;

struct Capture {
    recorder: Recorder,
    wanted: RangeInclusive<u64>,
}

static CAPTURE: LazyLock<Option<Capture>> = LazyLock::new(|| {
    let dir = std::env::var_os("VAGX_SHIM_CAPTURE")?;
    let dir = Path::new(&dir).join(std::process::id().to_string());
    let wanted = match std::env::var("VAGX_SHIM_CAPTURE_JOBS") {
        Ok(text) => range(&text).or_else(|| {
            eprintln!("vagx-shim: VAGX_SHIM_CAPTURE_JOBS={text}: not two numbers with a dash");
            None
        })?,
        Err(_) => 0..=u64::MAX,
    };
    match Recorder::create(&dir, CHIP) {
        Ok(recorder) => Some(Capture { recorder, wanted }),
        Err(error) => {
            eprintln!("vagx-shim: no capture in {}: {error}", dir.display());
            None
        }
    }
});

fn range(text: &str) -> Option<RangeInclusive<u64>> {
    let (first, last) = text.split_once('-')?;
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// A job's kind and what it was told.
pub enum Told<'a> {
    Compute(&'a ComputeJob),
    Render(&'a RenderJob),
}

/// A job, with its recording if there is to be one.
pub struct Session<'a> {
    memory: &'a dyn GpuMemory,
    recording: Option<Recording<'a>>,
}

impl<'a> Session<'a> {
    /// Numbers the job that is about to run on this memory.
    pub fn begin(memory: &'a dyn GpuMemory) -> Session<'a> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let recording = CAPTURE.as_ref().and_then(|capture| {
            let number = NUMBER.fetch_add(1, Relaxed);
            let wanted = capture.wanted.contains(&number);
            wanted.then(|| capture.recorder.begin(memory, number))
        });
        Session { memory, recording }
    }

    /// What the job is to run on.
    pub fn memory(&self) -> &dyn GpuMemory {
        match &self.recording {
            Some(recording) => recording,
            None => self.memory,
        }
    }

    /// The job has ended.
    pub fn end<T, E: Display>(self, told: Told<'_>, result: &Result<T, E>) {
        let Some(recording) = self.recording else {
            return;
        };
        let job = match told {
            Told::Compute(job) => GpuJob::Compute(ComputeWork {
                job: job.clone(),
                soft_faults: true,
            }),
            Told::Render(job) => GpuJob::Fragment(Box::new(job.clone())),
        };
        let outcome = match result {
            Ok(_) => "done".to_owned(),
            Err(error) => error.to_string(),
        };
        if let Err(error) = recording.end(&job, &outcome) {
            eprintln!("vagx-shim: the capture lacks a job: {error}");
        }
    }
}
