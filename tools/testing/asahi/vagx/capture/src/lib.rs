// SPDX-License-Identifier: MIT OR Apache-2.0

//! Captured jobs: what the GPU was given, written to files, and running it again. `CAPTURE.md` describes the format.
//!
//! Two write captures: the firmware model, which knows page tables and writes whole contexts (`vagx-fw`), and the shim,
//! which writes those pages that a job reaches ([`Recorder`]).

mod format;
mod jobs;
mod pages;
mod record;
mod replay;
mod snapshot;

pub use format::{Changed, Context, FORMAT, Hex, INDEX, Index, Job, Message, PAGES, Page};
pub use jobs::{ComputeWork, GpuJob, Told};
pub use pages::Writer;
pub use record::{Recorder, Recording};
pub use replay::{Capture, Played, Player, ReplayOptions, ReplayReport, replay};
pub use snapshot::Snapshot;
