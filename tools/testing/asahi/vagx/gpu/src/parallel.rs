// SPDX-License-Identifier: MIT OR Apache-2.0

//! Work that is the same for many items, on several threads.
//!
//! Items are numbered. Workers take them in runs of neighbours, the lowest first, so that what lies together in memory
//! stays together; which worker gets which is up to chance, so that results must not depend on it.

use crate::crew::Crew;
use crate::{JobError, Machine, Observer};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// How work is shared out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Items there are.
    pub(crate) items: u64,
    /// Threads that work on them, the caller's being one of them.
    pub(crate) workers: u64,
    /// Items that a worker takes at a time.
    pub(crate) chunk: u64,
}

impl Plan {
    /// A plan for `items` items, with a worker for every `worth` of them at most: a thread should have more to do than
    /// it takes to wake it, which is some microseconds.
    pub(crate) fn new(machine: &Machine, items: u64, worth: u64) -> Self {
        let workers = machine.threads.min(items / worth.max(1)).max(1);
        // Few enough that all workers end at about the same time, many enough that they do not fight for the counter.
        let chunk = (items / workers / 16).clamp(1, 64);
        Plan {
            items,
            workers,
            chunk,
        }
    }
}

/// Tells a worker in the middle of an item whether to go on.
#[derive(Clone, Copy)]
pub(crate) struct Stop<'a> {
    failed: &'a AtomicBool,
    observer: &'a dyn Observer,
}

impl Stop<'_> {
    /// To be asked every few thousand steps of anything. It fails if the job was cancelled, or if another worker failed,
    /// whose error it is then that counts.
    pub(crate) fn ask(&self) -> Result<(), JobError> {
        if self.failed.load(Relaxed) || self.observer.cancelled() {
            return Err(JobError::Cancelled);
        }
        Ok(())
    }
}

/// Does `work` for each item. Each worker has a state of its own, made by `start` of its number; what `finish` makes of
/// the states is returned, one for each worker that came in time. After the first error no more items are begun, and it is the result.
pub(crate) fn run<S, R: Send>(
    crew: &Crew,
    plan: Plan,
    observer: &dyn Observer,
    start: impl Fn(u64) -> S + Sync,
    work: impl Fn(&mut S, u64, Stop<'_>) -> Result<(), JobError> + Sync,
    finish: impl Fn(S) -> R + Sync,
) -> Result<Vec<R>, JobError> {
    let chunk = plan.chunk.max(1);
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let result = Mutex::new((Vec::new(), None));
    let lock = || result.lock().unwrap_or_else(PoisonError::into_inner);
    let worker = |number: u64| {
        let mut state = start(number);
        let stop = Stop {
            failed: &failed,
            observer,
        };
        let mut run = || -> Result<(), JobError> {
            loop {
                let first = next.fetch_add(chunk, Relaxed);
                if first >= plan.items {
                    return Ok(());
                }
                stop.ask()?;
                for item in first..first.saturating_add(chunk).min(plan.items) {
                    if failed.load(Relaxed) {
                        return Ok(());
                    }
                    work(&mut state, item, stop)?;
                }
            }
        };
        if let Err(error) = run() {
            // Noted before others are told to stop: what they say then comes second.
            lock().1.get_or_insert(error);
            failed.store(true, Relaxed);
        }
        let finished = finish(state);
        lock().0.push(finished);
    };
    crew.run(plan.workers.saturating_sub(1), &worker);
    let (finished, error) = result.into_inner().unwrap_or_else(PoisonError::into_inner);
    error.map_or(Ok(finished), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        items: 1000,
        workers: 3,
        chunk: 7,
    };

    #[test]
    fn every_item_is_done_once() {
        let sums = run(
            &Crew::default(),
            PLAN,
            &(),
            |_| (0u64, 0u64),
            |state, item, _| {
                *state = (state.0 + 1, state.1 + item);
                Ok(())
            },
            |state| state,
        );
        let total = sums
            .unwrap()
            .iter()
            .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        assert_eq!(total, (1000, 499_500));
    }

    #[test]
    fn the_first_error_ends_it() {
        let done = AtomicU64::new(0);
        let fault = JobError::Unsupported(crate::Unsupported {
            va: 1,
            bytes: Vec::new(),
            why: "a test".into(),
        });
        let result = run(
            &Crew::default(),
            PLAN,
            &(),
            |_| (),
            |(), item, stop| {
                done.fetch_add(1, Relaxed);
                if item == 5 {
                    return Err(fault.clone());
                }
                // Others wait until they are told.
                if item > 5 {
                    loop {
                        stop.ask()?;
                    }
                }
                Ok(())
            },
            |()| (),
        );
        assert_eq!(result, Err(fault));
        assert!(done.into_inner() < 1000);
    }

    #[test]
    fn it_can_be_cancelled() {
        struct Cancel;
        impl Observer for Cancel {
            fn cancelled(&self) -> bool {
                true
            }
        }
        let result = run(
            &Crew::default(),
            PLAN,
            &Cancel,
            |_| (),
            |(), _, _| panic!("no item begins"),
            |()| (),
        );
        assert_eq!(result, Err(JobError::Cancelled));
    }
}
