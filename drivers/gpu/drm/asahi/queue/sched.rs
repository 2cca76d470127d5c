// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The order of a queue's jobs: from the ioctl through the firmware's rings to their fences.
//!
//! # States
//!
//! A job is *waiting* until its in-fences have signalled, all jobs before it have gone, and the
//! rings have room for it. Then it is *running*, which means that the firmware has it, until the
//! stamps have passed its commands. Jobs run and finish in the order in which they were submitted,
//! and so do their fences, which are of one fence context. When a job takes too long, its fence and
//! those of the jobs behind it signal with an error and the queue takes no more jobs; what was
//! running is *lost*: the firmware may still come back to it, so that its memory stays until its
//! stamp has passed or the firmware is gone.
//!
//! # Locking
//!
//! One mutex per queue holds all of that. It is taken in the path that signals fences, so nothing
//! is allocated under it and no lock is taken below it under which others allocate. Below it are
//! the lock of the firmware's channel and those of fences. The event manager's lock is not: events
//! are dropped after the mutex has been released. Jobs, and what is left of the queue itself in the
//! end, are freed by the worker.
//!
//! # References
//!
//! The client's queue holds the scheduler; so does its event, while there is work; the callbacks on
//! in-fences; the worker, while it has something to do here; and the timer, which is set while jobs
//! are running and only then. That makes an idle scheduler whose queue is gone go away by itself,
//! and a busy one outlive the queue and the file until its jobs are done.

use kernel::{
    impl_has_delayed_work,
    list::{
        List,
        ListArc, //
    },
    new_delayed_work,
    new_mutex,
    new_work,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    time::{
        msecs_to_jiffies,
        Instant,
        Monotonic, //
    },
    workqueue::{
        impl_has_work,
        DelayedWork,
        Work,
        WorkItem, //
    }, //
};

use crate::{
    event::{
        EventHandler,
        EventSlot,
        Recover,
        WorkError, //
    },
    job::Job,
    queue::memory::{
        Memory,
        Remains, //
    },
    worker,
    workqueue::{
        stamp_reached,
        Tail, //
    }, //
};

/// How long a job may run, in milliseconds. The firmware has a limit of its own; this one is for
/// when the firmware does not answer.
fn job_timeout() -> i64 {
    crate::module_parameters::job_timeout_ms
        .value()
        .max(1)
        .into()
}

/// How long the firmware may take to finish a job that it has reported as failed.
const ERROR_TIMEOUT: i64 = 2_000;

/// What a submission to a queue fails with that has been stopped after an error.
const STOPPED: Error = EIO;

/// What is dropped when the lock has been released.
#[derive(Default)]
struct Released {
    _event: Option<EventSlot>,
    _timer: Option<Arc<Scheduler>>,
}

/// What the lock protects.
struct Inner {
    /// Taken only when the scheduler is dropped.
    memory: Option<Memory>,
    waiting: List<Job>,
    running: List<Job>,
    lost: List<Job>,
    /// Submissions that are being built and rely on the event.
    reserved: u32,
    /// Why the queue takes no more jobs.
    dead: Option<Error>,
    /// Whether the timer holds a reference, as far as is known here.
    timer_set: bool,
    /// Whether it was set for a time that is too late now.
    timer_late: bool,
    /// When the first running job became the first.
    since: Instant<Monotonic>,
    /// How long it may be that, in milliseconds.
    limit: i64,
}

/// Schedules the jobs of a queue.
#[pin_data(PinnedDrop)]
pub(crate) struct Scheduler {
    #[pin]
    pump: Work<Self, 0>,
    #[pin]
    timer: DelayedWork<Self, 1>,
    #[pin]
    inner: Mutex<Inner>,
    remains: Option<Pin<KBox<Remains>>>,
}

impl_has_work! {
    impl HasWork<Self, 0> for Scheduler { self.pump }
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self, 1> for Scheduler { self.timer }
}

impl WorkItem<0> for Scheduler {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.update(|inner| inner.pump());
    }
}

impl WorkItem<1> for Scheduler {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.update(|inner| {
            inner.timer_set = false;
            if !inner.running.is_empty() && inner.time_left() <= 0 {
                inner.expire();
            }
        });
    }
}

impl Scheduler {
    /// Makes a scheduler without jobs.
    pub(super) fn new(memory: Memory) -> Result<Arc<Self>> {
        let remains = Remains::new()?;
        Arc::pin_init(
            try_pin_init!(Self {
                pump <- new_work!("asahi::Scheduler::pump"),
                timer <- new_delayed_work!("asahi::Scheduler::timer"),
                inner <- new_mutex!(Inner {
                    memory: Some(memory),
                    waiting: List::new(),
                    running: List::new(),
                    lost: List::new(),
                    reserved: 0,
                    dead: None,
                    timer_set: false,
                    timer_late: false,
                    since: Instant::now(),
                    limit: job_timeout(),
                }),
                remains: Some(remains),
            }),
            GFP_KERNEL,
        )
    }

    /// Has the worker look for jobs that may run now. May be called from any context.
    pub(crate) fn kick(self: &Arc<Self>) {
        // It is fine if it is on its way already.
        let _ = worker::queue().enqueue::<_, 0>(self.clone());
    }

    /// Makes sure that the compute queue has an event, and keeps it while a submission is built.
    ///
    /// The caller sees to it that one submission of a queue is built at a time.
    pub(super) fn reserve(self: &Arc<Self>) -> Result<Reservation> {
        let gpu = {
            let mut inner = self.inner.lock();
            inner.check()?;
            inner.reserved += 1;
            inner.memory.as_ref().ok_or(ENODEV)?.gpu.clone()
        };
        // Counts down again if what follows fails.
        let reservation = Reservation(self.clone());

        if reservation.compute_tail().is_none() {
            let handler = Arc::new(Handler(self.clone()), GFP_KERNEL)?;
            let event = gpu.events().alloc(handler)?;

            let mut inner = self.inner.lock();
            inner.check()?;
            inner.memory.as_mut().ok_or(ENODEV)?.compute.attach(event);
        }
        Ok(reservation)
    }

    /// Takes over a job that is complete, and runs it at once if it need not wait.
    pub(super) fn submit(self: &Arc<Self>, job: ListArc<Job>) {
        self.update(|inner| {
            if let Some(memory) = inner.memory.as_mut() {
                memory.compute.assign(&job.compute);
            }
            match inner.dead {
                Some(error) => finish(job, Some(error)),
                None => inner.waiting.push_back(job),
            }
            inner.pump();
        });
    }

    /// Changes the state and brings timer and event into line with it.
    fn update(self: &Arc<Self>, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.inner.lock();
        change(&mut inner);
        let released = inner.settle(self);
        drop(inner);
        drop(released);
    }
}

#[pinned_drop]
impl PinnedDrop for Scheduler {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        let memory = this.inner.lock().memory.take();
        if let (Some(memory), Some(remains)) = (memory, this.remains.take()) {
            remains.free(memory);
        }
    }
}

impl Inner {
    fn check(&self) -> Result {
        self.dead.map_or(Ok(()), Err)
    }

    /// Gives the firmware all jobs that may run now.
    fn pump(&mut self) {
        let Some(memory) = self.memory.as_mut() else {
            return;
        };

        loop {
            let mut cursor = self.waiting.cursor_front();
            let Some(first) = cursor.peek_next() else {
                return;
            };
            if !first.may_run() || !memory.compute.has_room(&first.compute) {
                return;
            }

            let job = first.remove();
            if self.running.is_empty() {
                self.since = Instant::now();
                self.limit = job_timeout();
            }
            let result = memory.run(&job);
            self.running.push_back(job);
            if let Err(error) = result {
                self.stop(error);
                return;
            }
        }
    }

    /// Finishes the jobs whose stamps have passed.
    fn retire(&mut self) {
        let Some(memory) = self.memory.as_mut() else {
            return;
        };

        let mut news = false;
        for list in [&mut self.lost, &mut self.running] {
            loop {
                let mut cursor = list.cursor_front();
                let Some(first) = cursor.peek_next() else {
                    break;
                };
                if !memory.compute.is_done(first.compute.last) {
                    break;
                }
                let job = first.remove();
                memory.compute.retire(&job.compute);
                finish(job, None);
                news = true;
            }
        }
        if news {
            self.since = Instant::now();
            self.limit = job_timeout();
        }
    }

    /// Fails the first running job, which has not come to an end, and all jobs behind it.
    fn expire(&mut self) {
        if let Some(first) = self.running.cursor_front().peek_next() {
            first.set_error(ETIMEDOUT);
        }
        if let Some(memory) = self.memory.as_ref() {
            dev_err!(
                memory.gpu.dev(),
                "a job takes too long, its queue is stopped\n"
            );
        }
        self.stop(STOPPED);

        while let Some(mut job) = self.running.pop_front() {
            job.set_error(ECANCELED);
            job.signal();
            self.lost.push_back(job);
        }
    }

    /// Takes no more jobs, and fails those that have not started.
    fn stop(&mut self, error: Error) {
        self.dead.get_or_insert(error);
        while let Some(job) = self.waiting.pop_front() {
            finish(job, Some(ECANCELED));
        }
    }

    /// Fails everything, because the firmware is gone.
    fn kill(&mut self, error: Error) {
        self.dead = Some(error);
        while let Some(job) = self.running.pop_front() {
            finish(job, Some(error));
        }
        while let Some(job) = self.waiting.pop_front() {
            finish(job, Some(error));
        }
        while let Some(job) = self.lost.pop_front() {
            finish(job, None);
        }
    }

    /// Notes that running jobs have failed: all of them, or those up to a stamp value.
    fn fail(&mut self, value: Option<u32>, error: Error) {
        for job in self.running.iter() {
            if value.is_none_or(|value| stamp_reached(value, job.compute.first)) {
                job.set_error(error);
            }
        }
        // The firmware goes on and retires them; if it does not, the timer does.
        self.since = Instant::now();
        self.limit = ERROR_TIMEOUT;
        self.timer_late = true;
    }

    /// Returns how many milliseconds the first running job has left.
    fn time_left(&self) -> i64 {
        self.limit - self.since.elapsed().as_millis()
    }

    /// Sets the timer if jobs are running and stops it if none are, and lets the event go if
    /// nothing needs it.
    fn settle(&mut self, scheduler: &Arc<Scheduler>) -> Released {
        let mut released = Released::default();

        if self.running.is_empty() {
            if self.timer_set {
                self.timer_set = false;
                released._timer = worker::cancel_delayed::<Scheduler, 1>(scheduler);
            }
        } else if !self.timer_set || self.timer_late {
            self.timer_set = true;
            self.timer_late = false;
            released._timer = worker::cancel_delayed::<Scheduler, 1>(scheduler);
            let left = self.time_left().clamp(0, u32::MAX.into()) as u32;
            let delay = msecs_to_jiffies(left) + 1;
            // It is fine if it is about to run: it sets itself again.
            let _ = worker::queue().enqueue_delayed::<_, 1>(scheduler.clone(), delay);
        }

        let idle = self.waiting.is_empty() && self.running.is_empty() && self.lost.is_empty();
        if idle && self.reserved == 0 {
            if let Some(memory) = self.memory.as_mut() {
                released._event = memory.compute.detach();
            }
        }
        released
    }
}

/// Signals a job's fence and has the job freed.
fn finish(mut job: ListArc<Job>, error: Option<Error>) {
    if let Some(error) = error {
        job.set_error(error);
    }
    job.signal();
    job.free();
}

/// Keeps a queue's event while a submission is built.
pub(super) struct Reservation(Arc<Scheduler>);

impl Reservation {
    /// Returns where the next compute command stands.
    pub(super) fn compute_tail(&self) -> Option<Tail> {
        self.0.inner.lock().memory.as_ref()?.compute.tail()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.0.update(|inner| inner.reserved -= 1);
    }
}

/// What the event manager calls.
struct Handler(Arc<Scheduler>);

impl EventHandler for Handler {
    fn signal(&self, slot: u32, stamp: u32) {
        self.0.update(|inner| {
            let Some(memory) = inner.memory.as_mut() else {
                return;
            };
            if memory.compute.set_stamp(slot, stamp) {
                inner.retire();
                inner.pump();
            }
        });
    }

    fn error(&self, _slot: u32, value: Option<u32>, err: WorkError) -> Option<Recover> {
        let mut recover = None;
        self.0.update(|inner| {
            inner.fail(value, err.into());
            match err {
                // Another client's job was at fault. What was running is lost, the queue is not.
                WorkError::Killed => {}
                WorkError::ChannelError(_) => {
                    inner.stop(STOPPED);
                    recover = inner.memory.as_ref().map(|memory| Recover {
                        pipe: memory.compute.pipe(),
                        queue_info: memory.compute.info_va(),
                    });
                }
                _ => inner.stop(STOPPED),
            }
        });
        recover
    }

    fn kill(&self, err: WorkError) {
        self.0.update(|inner| inner.kill(err.into()));
    }
}
