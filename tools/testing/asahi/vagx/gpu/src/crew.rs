// SPDX-License-Identifier: MIT OR Apache-2.0

//! Threads that wait for work, so that none has to be started for each of the many short pieces that a job has.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Something that is done by several threads: each calls it once, with a number of its own.
type Body<'a> = dyn Fn(u64) + Sync + 'a;

/// What a caller wants to be helped with.
struct Task {
    id: u64,
    /// Lives as long as the task is in the list.
    body: &'static Body<'static>,
    /// The number of the next thread that helps, and what it stays below.
    next: u64,
    end: u64,
    /// Threads that are at it.
    active: u64,
    /// One of them has panicked.
    failed: bool,
}

#[derive(Default)]
struct State {
    tasks: Vec<Task>,
    last: u64,
    threads: u64,
    /// No more work will come.
    over: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is a task, or it is over.
    news: Condvar,
    /// A thread has done what it helped with.
    done: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each thread does.
    fn serve(&self) {
        let mut state = self.lock();
        while !state.over {
            let Some(task) = state.tasks.iter_mut().find(|task| task.next < task.end) else {
                state = (self.news.wait(state)).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (id, number, body) = (task.id, task.next, task.body);
            task.next += 1;
            task.active += 1;
            drop(state);
            let result = catch_unwind(AssertUnwindSafe(|| body(number)));
            state = self.lock();
            // It stays in the list as long as somebody is at it.
            if let Some(task) = state.tasks.iter_mut().find(|task| task.id == id) {
                task.active -= 1;
                task.failed |= result.is_err();
                if task.active == 0 {
                    self.done.notify_all();
                }
            }
        }
    }
}

/// The threads. They go when this does.
#[derive(Default)]
pub(crate) struct Crew(Arc<Shared>);

/// A task in the list.
struct Posted<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Crew {
    /// Calls `body` with zero here, and with the numbers up to `helpers` on as many threads, if these come in time: when
    /// the call here has returned, nobody else begins. All calls have returned when this does.
    pub(crate) fn run(&self, helpers: u64, body: &Body<'_>) {
        if helpers == 0 {
            return body(0);
        }
        // SAFETY: Only the lifetime changes. The reference is used by threads that are counted as active in the task,
        // which `posted` takes out of the list, waiting for them, before this function is left in whatever way.
        let lasting = unsafe { std::mem::transmute::<&Body<'_>, &'static Body<'static>>(body) };
        let posted = self.post(helpers, lasting);
        body(0);
        assert!(!posted.withdraw(), "a thread that helped has panicked");
    }

    fn post(&self, helpers: u64, body: &'static Body<'static>) -> Posted<'_> {
        let mut state = self.0.lock();
        state.last += 1;
        let id = state.last;
        state.tasks.push(Task {
            id,
            body,
            next: 1,
            end: helpers.saturating_add(1),
            active: 0,
            failed: false,
        });
        while state.threads < helpers {
            let shared = self.0.clone();
            let thread = std::thread::Builder::new().name("agx-worker".into());
            if thread.spawn(move || shared.serve()).is_err() {
                // Then there is less help.
                break;
            }
            state.threads += 1;
        }
        drop(state);
        for _ in 0..helpers {
            self.0.news.notify_one();
        }
        Posted {
            shared: &self.0,
            id,
        }
    }
}

impl Posted<'_> {
    /// Takes the task out of the list when nobody is at it any more. True if somebody has panicked.
    fn withdraw(&self) -> bool {
        let mut state = self.shared.lock();
        loop {
            let Some(index) = state.tasks.iter().position(|task| task.id == self.id) else {
                return false;
            };
            let task = &mut state.tasks[index];
            task.end = task.next;
            if task.active == 0 {
                return state.tasks.swap_remove(index).failed;
            }
            state = (self.shared.done.wait(state)).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Posted<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.news.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    #[test]
    fn everybody_has_a_number() {
        let crew = Crew::default();
        for _ in 0..100 {
            let (seen, sum) = (AtomicU64::new(0), AtomicU64::new(0));
            crew.run(3, &|number| {
                seen.fetch_or(1 << number, SeqCst);
                sum.fetch_add(1 << number, SeqCst);
            });
            let (seen, sum) = (seen.into_inner(), sum.into_inner());
            assert!(seen == sum && seen & 1 != 0 && seen < 16);
        }
        // All that are wanted can be at it at the same time, also for several callers.
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let barrier = std::sync::Barrier::new(2);
                    crew.run(4, &|number| {
                        if number < 2 {
                            barrier.wait();
                        }
                    });
                });
            }
        });
    }

    #[test]
    fn a_panic_is_the_callers() {
        let crew = Crew::default();
        let begun = std::sync::Barrier::new(2);
        let help = catch_unwind(AssertUnwindSafe(|| {
            crew.run(1, &|number| {
                begun.wait();
                assert_eq!(number, 0);
            });
        }));
        assert!(help.is_err());
        // The thread is still there.
        crew.run(1, &|_| {
            begun.wait();
        });
    }
}
