// SPDX-License-Identifier: MIT OR Apache-2.0

//! Queues: each has a thread that runs what is submitted, in order, when what it waits for is over.

use crate::bo::Bo;
use crate::capture::{Session, Told};
use crate::cmdbuf::Command;
use crate::device::{device, now};
use crate::fence::{Fence, Fences};
use crate::job;
use crate::report::{self, Tell};
use crate::uapi::Timestamp;
use crate::vm::Vm;
use libc::c_int;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use vagx_gpu::JobError;

/// How long a queue's thread waits for more before it goes: programs submit again and again, and starting it takes long.
const LINGER: Duration = Duration::from_millis(200);

/// Starts a thread that is nobody's business: signals are left to the client's own.
pub fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), c_int> {
    // SAFETY: Both sets are valid, and the thread's own is put back as it was.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        // The profile's timer is for all threads.
        libc::sigdelset(&mut all, libc::SIGPROF);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let result = std::thread::Builder::new().name(name.into()).spawn(body);
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        result.map(drop).map_err(|_| libc::EAGAIN)
    }
}

/// A place for a timestamp.
pub struct Stamp {
    /// Keeps the place.
    _bo: Arc<Bo>,
    place: *mut u64,
}

// SAFETY: The place is in memory that is shared with everybody anyway, and stays as long as the object.
unsafe impl Send for Stamp {}

impl Stamp {
    /// The place at an offset into an object, which is a multiple of 8.
    pub fn new(bo: Arc<Bo>, offset: u64) -> Result<Stamp, c_int> {
        let place = bo.host(offset).ok_or(libc::EINVAL)?.cast().as_ptr();
        Ok(Stamp { _bo: bo, place })
    }

    fn write(&self) {
        // SAFETY: Aligned and inside the object's mapping, whose size is a multiple of 8.
        unsafe { self.place.write_volatile(now()) };
    }
}

/// A submission.
pub struct Work {
    pub waits: Fences,
    pub commands: Vec<Command>,
    /// Where timestamps go, by object and offset.
    pub stamps: HashMap<(u32, u32), Stamp>,
    /// Is over when the submission is.
    pub fence: Arc<Fence>,
}

impl Work {
    fn stamp(&self, at: Timestamp) {
        if let Some(stamp) = self.stamps.get(&(at.handle, at.offset)) {
            stamp.write();
        }
    }
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    /// Its thread is there, and will look for more before it goes.
    running: bool,
    /// It is at work.
    busy: bool,
    /// Threads that wait until nothing is left.
    draining: usize,
    /// A job has faulted: nothing more runs.
    stopped: bool,
}

/// A queue.
pub struct Queue {
    vm: Arc<Vm>,
    usc_exec_base: u64,
    state: Mutex<State>,
    /// There is work.
    news: Condvar,
    /// There is none left.
    idle: Condvar,
}

impl Queue {
    pub fn new(vm: Arc<Vm>, usc_exec_base: u64) -> Arc<Queue> {
        Arc::new(Queue {
            vm,
            usc_exec_base,
            state: Mutex::default(),
            news: Condvar::new(),
            idle: Condvar::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the queue run a submission.
    pub fn submit(self: &Arc<Self>, work: Work) -> Result<(), c_int> {
        let mut state = self.state();
        if state.stopped {
            return Err(libc::EIO);
        }
        if !state.running {
            let queue = self.clone();
            thread("agx-queue", move || queue.run())?;
            state.running = true;
        }
        state.waiting.push_back(work);
        if !state.busy {
            drop(state);
            self.news.notify_one();
        }
        Ok(())
    }

    /// Waits until nothing is left to run.
    pub fn drain(&self, end: Instant) {
        let mut state = self.state();
        while !state.waiting.is_empty() || state.busy {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state.draining += 1;
            state = (self.idle.wait_timeout(state, left))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            state.draining -= 1;
        }
    }

    fn run(self: Arc<Self>) {
        while let Some((work, stopped)) = self.next() {
            let status = match stopped {
                true => -libc::ECANCELED,
                false => self.work(&work),
            };
            device().hub.signal(&work.fence, status);
        }
    }

    /// What its thread does next. None if there was nothing to do for a while.
    fn next(&self) -> Option<(Work, bool)> {
        let mut state = self.state();
        state.busy = false;
        let mut late = false;
        loop {
            if let Some(work) = state.waiting.pop_front() {
                state.busy = true;
                return Some((work, state.stopped));
            }
            if state.draining != 0 {
                self.idle.notify_all();
            }
            if late {
                state.running = false;
                return None;
            }
            let (guard, waited) =
                (self.news.wait_timeout(state, LINGER)).unwrap_or_else(PoisonError::into_inner);
            (state, late) = (guard, waited.timed_out());
        }
    }

    /// Runs a submission, and tells how its fence ends.
    fn work(&self, work: &Work) -> i32 {
        let hub = &device().hub;
        hub.wait(None, || work.waits.signalled().then_some(()));
        for command in &work.commands {
            match self.command(work, command) {
                Ok(()) => (),
                // What the model cannot do is not the client's fault.
                Err(JobError::Unsupported(_)) => return -libc::EIO,
                Err(JobError::Cancelled) => return -libc::ECANCELED,
                Err(JobError::Fault(_)) => {
                    self.state().stopped = true;
                    return -libc::EIO;
                }
            }
        }
        1
    }

    /// Runs a command.
    fn command(&self, work: &Work, command: &Command) -> Result<(), JobError> {
        let space = self.vm.run();
        let capture = Session::begin(&space);
        let (memory, gpu, tell) = (capture.memory(), &device().gpu, Tell::new());
        let result = match command {
            Command::Compute(command) => {
                let job = job::compute(command, self.usc_exec_base);
                work.stamp(command.ts_start);
                let result = gpu.run_compute(memory, &job, &tell);
                work.stamp(command.ts_end);
                capture.end(Told::Compute(&job), &result);
                result.map(drop)
            }
            Command::Render(command) => {
                let job = job::render(command, self.usc_exec_base);
                work.stamp(command.ts_vtx.start);
                let geometry = gpu.run_vertex(memory, &job.vertex, &tell);
                work.stamp(command.ts_vtx.end);
                work.stamp(command.ts_frag.start);
                let result =
                    geometry.and_then(|geometry| gpu.run_fragment(memory, &job, &geometry, &tell));
                work.stamp(command.ts_frag.end);
                capture.end(Told::Render(&job), &result);
                result.map(drop)
            }
        };
        if let Err(error) = &result {
            report::failed(command, error);
        }
        result
    }
}
