// SPDX-License-Identifier: MIT OR Apache-2.0

//! Looking on while a job runs.

use std::fmt::{self, Write};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vagx_gpu::{Debugger, Geometry, RenderJob, Stopped, TileView};

use super::Args;
use super::lane::Lane;
use super::pictures::Pictures;
use super::shaders;

/// Lanes that are shown at most: a loop may come to an instruction any number of times.
const MOST: usize = 1000;

/// What is asked for, and what has been seen.
pub struct Look {
    until: Option<usize>,
    pictures: bool,
    lane: Option<(Lane, u64)>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The draw that is being drawn.
    draw: Option<usize>,
    pictures: Pictures,
    stops: Vec<String>,
    more: u64,
}

impl Look {
    pub fn new(args: &Args) -> Look {
        Look {
            until: args.until,
            pictures: args.png.is_some(),
            lane: args.lane.zip(args.at),
            seen: Mutex::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A render begins, whose draws are known.
    pub fn begin(&self, job: &RenderJob, geometry: &Geometry) {
        let draws = geometry.draws.len();
        let draws = self.until.map_or(draws, |until| draws.min(until + 1));
        let size = [job.fragment.width_px, job.fragment.height_px];
        self.seen().pictures.begin(size, draws);
    }

    /// Says what the lane's registers were.
    pub fn stops(&self, programs: &[(u64, Vec<u8>)], out: &mut dyn Write) -> fmt::Result {
        let Some((_, address)) = self.lane else {
            return Ok(());
        };
        match shaders::at(programs, address) {
            Some(text) => writeln!(out, "before {address:#x}: {text}")?,
            None => writeln!(out, "no program of this job has {address:#x}")?,
        }
        let seen = self.seen();
        for stop in &seen.stops {
            out.write_str(stop)?;
        }
        match (seen.stops.len(), seen.more) {
            (0, _) => writeln!(out, "the lane never came there"),
            (_, 0) => Ok(()),
            (_, more) => writeln!(out, "... and {more} times more"),
        }
    }

    pub fn write_pictures(&self, dir: &Path, job: u64) -> io::Result<Vec<PathBuf>> {
        self.seen().pictures.write(dir, job)
    }
}

impl Debugger for Look {
    fn wants(&self, draw: usize) -> bool {
        let wants = self.until.is_none_or(|until| draw <= until);
        if wants {
            self.seen().draw = Some(draw);
        }
        wants
    }

    fn drawn(&self, tile: &TileView<'_>) {
        let mut seen = self.seen();
        if self.pictures {
            seen.pictures.see(tile);
        }
    }

    fn breakpoint(&self) -> Option<u64> {
        self.lane.map(|(_, address)| address)
    }

    fn stopped(&self, stop: &Stopped<'_>) {
        let Some((lane, _)) = &self.lane else {
            return;
        };
        let mut seen = self.seen();
        if let Some(text) = lane.describe(stop, seen.draw) {
            match seen.stops.len() {
                0..MOST => seen.stops.push(text),
                _ => seen.more += 1,
            }
        }
    }
}
