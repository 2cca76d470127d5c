// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is on the engines: commands that run, that were set aside, that a fault has stopped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Head, Scheduler};
use crate::control::{Cut, JobControl};
use crate::initdata::Booted;
use crate::layout::Abi;
use crate::mem::{FwMem, Result};
use crate::queue::Pipe;
use crate::stamp::{self, StampUpdate};

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is being read, or on the GPU.
    Runs,
    /// A fault has stopped the GPU under it.
    Parked,
    /// Its end is being told. The driver may see that before the firmware is done with it.
    Ends,
}

/// The command on an engine, or one that was set aside.
pub(super) struct Running {
    pub(super) number: u64,
    pub(super) info: u64,
    pub(super) priority: u32,
    pub(super) rank: u32,
    /// When it got the engine, moved on by the time for which it was set aside.
    pub(super) since: Instant,
    pub(super) aside: Option<Instant>,
    pub(super) control: Arc<JobControl>,
    /// Once it is known what its end writes, and its entry in the list of pending stamps.
    pub(super) stamp: Option<StampUpdate>,
    pub(super) pending: Option<u32>,
    pub(super) stage: Stage,
}

impl Scheduler {
    pub(super) fn engine(&mut self, pipe: Pipe) -> &mut Vec<Running> {
        Self::of(pipe, &mut self.engines)
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Running> {
        self.engines.iter().flatten()
    }

    pub(super) fn running_mut(&mut self, number: u64) -> Option<&mut Running> {
        let mut all = self.engines.iter_mut().flatten();
        all.find(|r| r.number == number)
    }

    /// Sets the command on an engine aside if a more urgent one is there for which it makes room. Returns how many are
    /// set aside then.
    pub(crate) fn set_aside(
        &mut self,
        mem: &FwMem,
        abi: &Abi,
        booted: &Booted,
        pipe: Pipe,
    ) -> Option<usize> {
        let top = self.engine(pipe).last()?;
        let fits = top.stage == Stage::Runs
            && top.aside.is_none()
            && top.pending.is_some()
            && top.rank != 0
            && top.control.cut().is_none();
        let (number, under) = (top.number, (top.priority, top.rank));
        if self.halted || !fits {
            return None;
        }
        let Head::Command(..) = self.first(mem, abi, pipe, Some(under)) else {
            return None;
        };
        let top = self.running_mut(number)?;
        // The driver must not blame it for what happens meanwhile.
        let _ = stamp::end(mem, abi, booted, top.pending.take()?);
        top.aside = Some(Instant::now());
        top.control.set_aside();
        mem.trace()
            .event("queues", "set aside", &[("job", number.into())]);
        Some(self.engine(pipe).len())
    }

    /// Gives the engine back to the command that was set aside last.
    pub(crate) fn take_up(&mut self, mem: &FwMem, abi: &Abi, booted: &Booted, pipe: Pipe) {
        let Some(top) = self.engine(pipe).last_mut() else {
            return;
        };
        let (Some(at), Some(update)) = (top.aside.take(), top.stamp) else {
            return;
        };
        top.since += at.elapsed();
        top.pending = stamp::begin(mem, abi, booted, &update).ok();
        top.control.take_up();
    }

    /// A command has been read and is about to start: from here on it is in the list of pending stamps.
    pub(crate) fn begin(
        &mut self,
        mem: &FwMem,
        abi: &Abi,
        booted: &Booted,
        number: u64,
        update: &StampUpdate,
    ) -> Result<()> {
        let pending = stamp::begin(mem, abi, booted, update)?;
        if let Some(running) = self.running_mut(number) {
            running.stamp = Some(*update);
            running.pending = Some(pending);
        }
        Ok(())
    }

    /// Its entry there, to be removed.
    pub(crate) fn take_pending(&mut self, number: u64) -> Option<u32> {
        self.running_mut(number)?.pending.take()
    }

    /// Stops the engines for a fault of that command. What else runs is killed; what was set aside is not touched.
    pub(crate) fn halt(&mut self, number: u64) {
        self.halted = true;
        for r in self.engines.iter().flatten() {
            if r.number != number && r.pending.is_some() && r.stage == Stage::Runs {
                r.control.end(Cut::Killed);
            }
        }
    }

    /// Whether nothing that a fault has stopped is still moving.
    pub(crate) fn still(&self, number: u64) -> bool {
        let moves = |r: &Running| match r.stage {
            Stage::Runs => r.pending.is_some(),
            Stage::Parked => false,
            Stage::Ends => true,
        };
        !self.running().any(|r| r.number != number && moves(r))
    }

    pub(crate) fn park(&mut self, number: u64) {
        if let Some(running) = self.running_mut(number) {
            running.stage = Stage::Parked;
        }
    }

    /// The command goes on to its end.
    pub(crate) fn ends(&mut self, number: u64) {
        if let Some(running) = self.running_mut(number) {
            running.stage = Stage::Ends;
        }
    }

    /// The command is over.
    pub(crate) fn finish(&mut self, number: u64) {
        let mut info = None;
        for engine in &mut self.engines {
            if let Some(at) = engine.iter().position(|r| r.number == number) {
                info = Some(engine.remove(at).info);
            }
        }
        if let Some(info) = info {
            self.enlist(info, None);
        }
        self.progressed();
    }

    /// Ends the commands that take longer than `limit`.
    pub(crate) fn end_late(&self, limit: Duration) {
        let late =
            |r: &&Running| r.stage == Stage::Runs && r.aside.is_none() && r.since.elapsed() > limit;
        if !self.halted {
            self.running()
                .filter(late)
                .for_each(|r| r.control.end(Cut::TimedOut));
        }
    }

    /// Ends all commands, as the processor stops.
    pub(crate) fn end_all(&self) {
        self.running().for_each(|r| r.control.end(Cut::Stopped));
    }
}
