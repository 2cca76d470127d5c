// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! In-order queues of jobs for GPUs whose firmware schedules.
//!
//! The firmware of such a GPU has rings of its own for each client and decides what runs when.
//! There is nothing left for a scheduler on the CPU to decide. What is left to do is what this
//! module does: a job waits for the fences that it depends on, enters the hardware when there is
//! room for it, and its own fence signals when it is done.
//!
//! # States of a job
//!
//! A job is *prepared* first: whatever it needs until its end is allocated, and it may still be
//! dropped without anybody noticing. [`PreparedJob::submit`] arms its fence, and from there on
//! nothing fails and nothing is allocated.
//!
//! It is then *waiting* until all fences that it depends on have signalled, all jobs before it have
//! gone, and the driver has let it in ([`Backend::run`]). From then on it is *running*, which means
//! that the hardware has it, until [`Backend::is_done`]. Its fence signals, and a worker drops it.
//! Jobs of a queue run and finish in the order in which they were submitted. So do their fences,
//! which are of one fence context.
//!
//! When the first running job takes too long, the driver is asked whether the hardware is still
//! alive ([`Backend::timed_out`]). If the job has to go, its fence and those behind it signal with
//! an error, and the queue is *stopped*: it takes no more jobs, and those that were waiting are
//! cancelled. What was running is *lost*: the hardware may still come back to it, so that what it
//! holds stays until it is done after all or until the hardware is gone.
//!
//! A queue is *killed* when the hardware is gone. Everything ends at once.
//!
//! # Waiting without threads
//!
//! There is no thread per queue. A job waits for fences by callbacks, and the last one has a worker
//! look at the queue. A queue that [`Backend::run`] found no room for is *blocked* until something
//! calls [`JobQueue::update`] or [`JobQueue::kick`] for it. Where the room is the queue's own, that
//! is when one of its jobs is done, which happens by itself. Where queues compete for something of
//! the device, they stand in line in a [`WaitList`].
//!
//! # Too many jobs
//!
//! A client that submits more than the hardware gets done has to wait at some point, or its jobs
//! would take up all memory. It waits before anything is allocated, in [`JobQueue::make_room`],
//! until enough of its own jobs of that queue are gone; a signal ends that. As fences signal in
//! bounded time, so does the wait.
//!
//! # Locking
//!
//! One mutex per queue holds all of that. It is taken in the path that signals fences, and all
//! functions of [`Backend`] that have the backend as a mutable reference are called with it held.
//! They must not allocate memory, nor take locks under which others do, nor wait for anything that
//! needs a fence; lockdep is told so. Below the mutex are the spinlocks of [`QueueSet`] and
//! [`WaitList`], and the locks of fences.
//!
//! Jobs are dropped by a worker, and so is the backend in the end, because freeing memory of a
//! device usually takes the locks under which it is allocated.
//!
//! # References
//!
//! A queue is counted. Its owner holds it; so do the callbacks on fences, the worker while it has
//! something to do for it, the timer while jobs are running, and, as long as it has jobs that are
//! not done, the [`QueueSet`] of its device. A queue whose owner has dropped it goes on until its
//! jobs are done, and then goes away.

use crate::{
    dma_fence::{
        DriverFence,
        Fence,
        FenceContext,
        FenceNames,
        FenceSlot,
        SignallingSection, //
    },
    impl_has_delayed_work,
    list::{
        impl_list_item,
        AtomicTracker,
        List,
        ListArc,
        ListLinks, //
    },
    new_condvar,
    new_delayed_work,
    new_mutex,
    new_work,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Atomic,
        Arc,
        CondVar,
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
        Queue,
        Work,
        WorkItem, //
    }, //
};
use core::mem::ManuallyDrop;

mod job;
mod set;
#[cfg(CONFIG_KUNIT = "y")]
mod tests;

use job::{
    Job,
    PreparedWaits, //
};
pub use set::{
    QueueSet,
    WaitList, //
};

/// What became of the attempt to give a job to the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The hardware has it.
    Running,
    /// There is no room. Whoever makes room has the queue looked at again.
    Blocked,
}

/// What to do with a job that takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Give it this many more milliseconds.
    Wait(u32),
    /// Fail it, and stop the queue.
    Fail,
}

/// The driver's part of a queue.
///
/// Functions that have a mutable reference are called with the lock of the queue held; see the
/// [module's documentation](self) for what they must not do.
pub trait Backend: Sized + Send + Unpin + 'static {
    /// The driver's part of a job. It is dropped by a worker.
    type Job: Send + Sync + 'static;

    /// What the fences of jobs are called.
    type Names: FenceNames;

    /// What is given back when the hardware has no job of the queue any more. It is dropped without
    /// the lock of the queue, but still in the path that signals fences.
    type Slots: Send;

    /// How to find out whether the hardware is alive.
    type Probe: Send;

    /// What a submission to a queue fails with that was stopped because a job took too long.
    const STOPPED: Error = EIO;

    /// How much the jobs of a queue may cost that are not gone yet. A job that is alone may cost
    /// more.
    const MOST: u32;

    /// Returns where work is done that fences wait for. It has to be a workqueue that makes
    /// progress without memory.
    fn workqueue() -> &'static Queue;

    /// Returns where jobs and queues are dropped that are done.
    fn cleanup() -> &'static Queue {
        Self::workqueue()
    }

    /// Gives a job to the hardware, or finds that there is no room for it.
    ///
    /// If it returns [`Admission::Blocked`], it is called again for the same job later, unless
    /// [`Backend::unblock`] is called before. An error stops the queue with that error; the
    /// hardware may have the job nevertheless, so that it is lost until [`Backend::is_done`].
    fn run(&mut self, queue: &Arc<JobQueue<Self>>, job: &mut Self::Job) -> Result<Admission>;

    /// The job that was blocked is not going to run. If the queue stands in line somewhere, it has
    /// to get out.
    fn unblock(&mut self, _queue: &Arc<JobQueue<Self>>) {}

    /// Looks how far the hardware has got, in case that it has not said so. This is called whenever
    /// something is done about the queue, and before a job is taken to be late.
    fn look(&mut self) {}

    /// Returns whether the hardware is done with a job that it has.
    fn is_done(&self, job: &Self::Job) -> bool;

    /// A job that the hardware has is given up, and nobody knows what becomes of it.
    fn lost(&mut self, _job: &mut Self::Job) {}

    /// Takes back the room of a job that is done, or whose hardware is gone.
    fn retire(&mut self, job: &mut Self::Job);

    /// The hardware has no job of the queue any more.
    fn idle(&mut self) -> Option<Self::Slots>;

    /// Returns how many milliseconds a job may take once it is the first one.
    fn timeout(&self) -> u32;

    /// Returns what [`Backend::timed_out`] is going to need.
    fn probe(&self) -> Self::Probe;

    /// Decides about a job that takes too long.
    ///
    /// This is called by a worker without any lock. It may ask the hardware and wait for the
    /// answer, for a bounded time and without allocating memory.
    fn timed_out(probe: Self::Probe) -> Verdict;
}

/// Takes the backend of a queue that is gone to the worker.
#[pin_data]
struct Grave<T: Backend> {
    #[pin]
    work: Work<Self>,
    backend: Option<T>,
}

impl_has_work! {
    impl{T: Backend} HasWork<Self> for Grave<T> { self.work }
}

impl<T: Backend> WorkItem for Grave<T> {
    type Pointer = Pin<KBox<Self>>;

    fn run(_this: Pin<KBox<Self>>) {
        // The backend goes out of scope here.
    }
}

/// What is dropped when the lock has been released.
struct Released<T: Backend> {
    _slots: Option<T::Slots>,
    _timer: Option<Arc<JobQueue<T>>>,
    _member: Option<Arc<JobQueue<T>>>,
}

/// What the lock protects.
struct Inner<T: Backend> {
    /// Taken only when the queue is dropped.
    backend: ManuallyDrop<T>,
    grave: Option<Pin<KBox<Grave<T>>>>,
    waiting: List<Job<T>>,
    running: List<Job<T>>,
    lost: List<Job<T>>,
    /// Why the queue takes no more jobs.
    dead: Option<Error>,
    /// Whether the first waiting job is blocked.
    blocked: bool,
    /// Whether the hardware has had a job since the backend was told that it has none.
    active: bool,
    /// Whether the timer holds a reference, as far as is known here.
    timer_set: bool,
    /// Whether it was set for a time that is too late now.
    timer_late: bool,
    /// Whether the driver is being asked about the first running job.
    probing: bool,
    /// Numbers the first running jobs, to tell one from the next.
    turn: u64,
    /// When the first running job became the first.
    since: Instant<Monotonic>,
    /// How long it may be that, in milliseconds.
    limit: u32,
}

/// A queue of jobs.
#[pin_data(PinnedDrop)]
pub struct JobQueue<T: Backend> {
    #[pin]
    pump: Work<Self, 0>,
    #[pin]
    timer: DelayedWork<Self, 1>,
    #[pin]
    set_links: ListLinks<0>,
    #[pin]
    set_tracker: AtomicTracker<0>,
    #[pin]
    wait_links: ListLinks<1>,
    #[pin]
    wait_tracker: AtomicTracker<1>,
    /// The address of the line that the queue is in, changed under the lock of that line.
    line: Atomic<usize>,
    set: Arc<QueueSet<T>>,
    fences: FenceContext<T::Names>,
    /// What all jobs cost that are not gone.
    #[pin]
    cost: Mutex<u32>,
    #[pin]
    cheaper: CondVar,
    #[pin]
    inner: Mutex<Inner<T>>,
}

/// Room for a job. It is given back when the job is gone.
pub struct Room<T: Backend> {
    queue: Arc<JobQueue<T>>,
    cost: u32,
}

impl<T: Backend> Drop for Room<T> {
    fn drop(&mut self) {
        *self.queue.cost.lock() -= self.cost;
        self.queue.cheaper.notify_all();
    }
}

impl_has_work! {
    impl{T: Backend} HasWork<Self, 0> for JobQueue<T> { self.pump }
}

impl_has_delayed_work! {
    impl{T: Backend} HasDelayedWork<Self, 1> for JobQueue<T> { self.timer }
}

#[allow(clippy::undocumented_unsafe_blocks)] // By the macro.
mod trackers {
    use super::{
        Backend,
        JobQueue, //
    };
    use crate::list::{
        impl_list_arc_safe,
        AtomicTracker,
        TryNewListArc, //
    };

    impl_list_arc_safe! {
        impl{T: Backend} ListArcSafe<0> for JobQueue<T> {
            tracked_by set_tracker: AtomicTracker<0>;
        }
        impl{T: Backend} ListArcSafe<1> for JobQueue<T> {
            tracked_by wait_tracker: AtomicTracker<1>;
        }
    }
}

impl_list_item! {
    impl{T: Backend} ListItem<0> for JobQueue<T> { using ListLinks { self.set_links }; }
    impl{T: Backend} ListItem<1> for JobQueue<T> { using ListLinks { self.wait_links }; }
}

impl<T: Backend> WorkItem<0> for JobQueue<T> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.change(|_| ());
    }
}

impl<T: Backend> WorkItem<1> for JobQueue<T> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let overdue = this.change(|inner| {
            inner.timer_set = false;
            inner.backend.look();
            inner.retire();
            if inner.running.is_empty() || inner.time_left() > 0 {
                return None;
            }
            inner.probing = true;
            Some((inner.turn, inner.backend.probe()))
        });

        if let Some((turn, probe)) = overdue {
            let section = SignallingSection::enter();
            let verdict = T::timed_out(probe);
            drop(section);
            this.change(|inner| inner.judge(turn, verdict));
        }
    }
}

impl<T: Backend> JobQueue<T> {
    /// Makes a queue without jobs.
    pub fn new(backend: T, set: &Arc<QueueSet<T>>) -> Result<Arc<Self>> {
        let grave = KBox::pin_init(
            pin_init!(Grave {
                work <- new_work!("JobQueue::grave"),
                backend: None,
            }),
            GFP_KERNEL,
        )?;
        let limit = backend.timeout();

        Arc::pin_init(
            pin_init!(Self {
                pump <- new_work!("JobQueue::pump"),
                timer <- new_delayed_work!("JobQueue::timer"),
                set_links <- ListLinks::new(),
                set_tracker <- AtomicTracker::new(),
                wait_links <- ListLinks::new(),
                wait_tracker <- AtomicTracker::new(),
                line: Atomic::new(0),
                set: set.clone(),
                fences: FenceContext::new(),
                cost <- new_mutex!(0),
                cheaper <- new_condvar!(),
                inner <- new_mutex!(Inner {
                    backend: ManuallyDrop::new(backend),
                    grave: Some(grave),
                    waiting: List::new(),
                    running: List::new(),
                    lost: List::new(),
                    dead: None,
                    blocked: false,
                    active: false,
                    timer_set: false,
                    timer_late: false,
                    probing: false,
                    turn: 0,
                    since: Instant::now(),
                    limit,
                }),
            }),
            GFP_KERNEL,
        )
    }

    /// Fails if the queue takes no more jobs, with the reason for that.
    pub fn check(&self) -> Result {
        self.set.check()?;
        self.inner.lock().dead.map_or(Ok(()), Err)
    }

    /// Has the worker look for jobs that may run now. May be called from any context.
    pub fn kick(self: &Arc<Self>) {
        // It is fine if it is on its way already.
        let _ = T::workqueue().enqueue::<_, 0>(self.clone());
    }

    /// Waits until there is room for a job, if there are too many already.
    ///
    /// The caller must not hold anything that jobs of this queue need. Fails with [`ERESTARTSYS`]
    /// if a signal comes first, and with the queue's error if it takes no more jobs.
    pub fn make_room(self: &Arc<Self>, cost: u32) -> Result<Room<T>> {
        let mut sum = self.cost.lock();

        loop {
            self.check()?;
            let new = sum.saturating_add(cost);
            if *sum == 0 || new <= T::MOST {
                *sum = new;
                break;
            }
            if self.cheaper.wait_interruptible(&mut sum) {
                return Err(ERESTARTSYS);
            }
        }
        drop(sum);
        Ok(Room {
            queue: self.clone(),
            cost,
        })
    }

    /// Allocates all that a job needs which waits for `fences` before it runs.
    pub fn prepare(
        self: &Arc<Self>,
        room: Room<T>,
        data: T::Job,
        fences: KVec<ARef<Fence>>,
    ) -> Result<PreparedJob<T>> {
        let fence = FenceSlot::new(GFP_KERNEL)?;
        let waits = PreparedWaits::new(self, fences)?;
        let job = Job::new(room, data, waits.waits())?;

        Ok(PreparedJob {
            queue: self.clone(),
            job,
            waits,
            fence,
        })
    }

    /// Gives the driver access to its part of the queue, and to the jobs that the hardware has.
    ///
    /// Afterwards jobs that are done are finished, and such that may run do so. The driver calls
    /// this when the hardware has told it about progress or errors.
    pub fn update<R>(self: &Arc<Self>, f: impl FnOnce(&mut Jobs<'_, T>) -> R) -> R {
        self.change(|inner| f(&mut Jobs { inner }))
    }

    /// Fails everything at once, because the hardware is gone.
    pub fn kill(self: &Arc<Self>, error: Error) {
        self.change(|inner| inner.kill(self, error));
    }

    /// Changes the state, and brings everything into line with it.
    fn change<R>(self: &Arc<Self>, f: impl FnOnce(&mut Inner<T>) -> R) -> R {
        let section = SignallingSection::enter();
        let mut inner = self.inner.lock();
        let ret = f(&mut inner);
        inner.backend.look();
        inner.retire();
        if inner.dead.is_some() {
            inner.cancel(self, ECANCELED);
        } else {
            inner.pump(self);
        }
        let released = inner.settle(self);
        drop(inner);
        drop(released);
        drop(section);
        ret
    }

    /// Takes back the timer's reference if its time has not come, to be dropped without the lock.
    fn cancel_timer(self: &Arc<Self>) -> Option<Arc<Self>> {
        let this: *mut Self = Arc::as_ptr(self).cast_mut();
        // SAFETY: `this` points to a live queue, whose `timer` was initialised.
        let dwork = unsafe { DelayedWork::raw_as_work(&raw mut (*this).timer) };
        // SAFETY: `dwork` points to the `Work` in that `DelayedWork`.
        let work = unsafe { Work::raw_get(dwork) };
        // SAFETY: The `work_struct` of a `DelayedWork` is that of a `struct delayed_work`.
        let dwork = unsafe { crate::container_of!(work, crate::bindings::delayed_work, work) };

        // SAFETY: The `struct delayed_work` is initialised.
        if unsafe { crate::bindings::cancel_delayed_work(dwork) } {
            // SAFETY: It was pending and is not any more, so that the reference which queueing it
            // took is used by nobody else.
            Some(unsafe { Arc::from_raw(this) })
        } else {
            None
        }
    }
}

#[pinned_drop]
impl<T: Backend> PinnedDrop for JobQueue<T> {
    fn drop(self: Pin<&mut Self>) {
        let mut inner = self.inner.lock();
        // SAFETY: This is the only place where it is taken, and the queue is not used afterwards.
        let backend = unsafe { ManuallyDrop::take(&mut inner.backend) };
        if let Some(mut grave) = inner.grave.take() {
            *grave.as_mut().project().backend = Some(backend);
            T::cleanup().enqueue(grave);
        }
    }
}

impl<T: Backend> Inner<T> {
    /// Gives the hardware all jobs that may run now.
    fn pump(&mut self, queue: &Arc<JobQueue<T>>) {
        self.blocked = false;
        while let Some(mut job) = self.waiting.pop_front() {
            if !job.may_run() {
                self.waiting.push_front(job);
                return;
            }

            match self.backend.run(queue, job.data_mut()) {
                Ok(Admission::Running) => {
                    self.active = true;
                    if self.running.is_empty() {
                        self.next_turn();
                    }
                    self.running.push_back(job);
                }
                Ok(Admission::Blocked) => {
                    self.waiting.push_front(job);
                    self.blocked = true;
                    return;
                }
                Err(error) => {
                    self.active = true;
                    self.dead = Some(error);
                    self.lose(job, error);
                    self.cancel(queue, ECANCELED);
                    self.retire();
                    return;
                }
            }
        }
    }

    /// Finishes the jobs that the hardware is done with.
    fn retire(&mut self) {
        for lost in [true, false] {
            let list = if lost {
                &mut self.lost
            } else {
                &mut self.running
            };
            let mut news = false;

            while let Some(mut job) = list.pop_front() {
                if !self.backend.is_done(job.data()) {
                    list.push_front(job);
                    break;
                }
                self.backend.retire(job.data_mut());
                job.finish(None);
                news = !lost;
            }
            if news {
                self.next_turn();
            }
        }
    }

    /// Another job has become the first running one, or there is none.
    fn next_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        self.since = Instant::now();
        self.limit = self.backend.timeout();
    }

    /// Does with a job that has taken too long what the driver has said, if it is still there.
    fn judge(&mut self, turn: u64, verdict: Verdict) {
        self.probing = false;
        self.backend.look();
        self.retire();
        if self.running.is_empty() || self.turn != turn {
            return;
        }

        match verdict {
            Verdict::Wait(more) => {
                self.since = Instant::now();
                self.limit = more;
            }
            Verdict::Fail => {
                self.dead.get_or_insert(T::STOPPED);
                let mut error = ETIMEDOUT;
                while let Some(job) = self.running.pop_front() {
                    self.lose(job, error);
                    error = ECANCELED;
                }
            }
        }
    }

    /// Signals a job's fence, and keeps the job until the hardware is done with it.
    fn lose(&mut self, mut job: ListArc<Job<T>>, error: Error) {
        self.backend.lost(job.data_mut());
        job.set_error(error);
        job.signal();
        self.lost.push_back(job);
    }

    /// Fails the jobs that have not started.
    fn cancel(&mut self, queue: &Arc<JobQueue<T>>, error: Error) {
        if core::mem::take(&mut self.blocked) {
            self.backend.unblock(queue);
        }
        while let Some(job) = self.waiting.pop_front() {
            job.finish(Some(error));
        }
    }

    /// Fails everything, because the hardware is gone.
    fn kill(&mut self, queue: &Arc<JobQueue<T>>, error: Error) {
        self.dead = Some(error);
        for list in [&mut self.lost, &mut self.running] {
            while let Some(mut job) = list.pop_front() {
                self.backend.retire(job.data_mut());
                job.finish(Some(error));
            }
        }
        self.next_turn();
        self.cancel(queue, error);
    }

    /// Returns how many milliseconds the first running job has left.
    fn time_left(&self) -> i64 {
        i64::from(self.limit) - self.since.elapsed().as_millis()
    }

    /// Sets the timer if jobs are running and stops it if none are, and lets go of what an idle
    /// queue does not need.
    fn settle(&mut self, queue: &Arc<JobQueue<T>>) -> Released<T> {
        let running = !self.running.is_empty();
        let mut timer = None;
        if !running || self.timer_late {
            self.timer_late = false;
            if core::mem::take(&mut self.timer_set) {
                timer = queue.cancel_timer();
            }
        }
        if running && !self.timer_set && !self.probing {
            self.timer_set = true;
            let left = self.time_left().clamp(0, u32::MAX.into()) as u32;
            let delay = msecs_to_jiffies(left) + 1;
            // It is fine if it is about to run: it sets itself again.
            let _ = T::workqueue().enqueue_delayed::<_, 1>(queue.clone(), delay);
        }

        let idle = !running && self.lost.is_empty();
        let slots = if idle && core::mem::take(&mut self.active) {
            self.backend.idle()
        } else {
            None
        };
        let member = if idle && self.waiting.is_empty() {
            // As long as there is the `ListArc`, whoever submits cannot put the queue into the set
            // again. So it must be gone before the lock is.
            queue.set.remove(queue).map(ListArc::into_arc)
        } else {
            None
        };

        Released {
            _slots: slots,
            _timer: timer,
            _member: member,
        }
    }
}

/// The driver's view of a queue, with its lock held.
pub struct Jobs<'a, T: Backend> {
    inner: &'a mut Inner<T>,
}

impl<T: Backend> Jobs<'_, T> {
    /// Returns the driver's part of the queue.
    pub fn backend(&mut self) -> &mut T {
        &mut self.inner.backend
    }

    /// Notes that running jobs have failed, namely those for which `which` returns `true`, and
    /// returns how many there are. The first error of a job counts.
    ///
    /// They are not finished by this. The hardware has `limit` milliseconds for that.
    pub fn fail(
        &mut self,
        error: Error,
        limit: u32,
        mut which: impl FnMut(&T, &T::Job) -> bool,
    ) -> usize {
        let Inner {
            backend, running, ..
        } = &mut *self.inner;
        let mut count = 0;
        let mut first = false;

        for (index, job) in running.iter().enumerate() {
            // SAFETY: The list owns the `ListArc`s of the jobs, and is borrowed.
            if which(backend, unsafe { job.peek() }) {
                job.set_error(error);
                count += 1;
                first |= index == 0;
            }
        }
        if first {
            self.inner.since = Instant::now();
            self.inner.limit = limit;
            self.inner.timer_late = true;
        }
        count
    }

    /// Takes no more jobs, and cancels those that have not started. Submissions fail with `error`.
    pub fn stop(&mut self, error: Error) {
        self.inner.dead.get_or_insert(error);
    }
}

/// A job that is complete but for its fence.
pub struct PreparedJob<T: Backend> {
    queue: Arc<JobQueue<T>>,
    job: ListArc<Job<T>>,
    waits: PreparedWaits<T>,
    fence: FenceSlot,
}

impl<T: Backend> PreparedJob<T> {
    /// Submits the job, and returns its fence.
    ///
    /// This does not fail. If the queue was stopped in the meantime, the fence is signalled with an
    /// error.
    pub fn submit(self) -> ARef<Fence> {
        let Self {
            queue,
            mut job,
            waits,
            fence,
        } = self;

        job.set_callbacks(waits.arm());
        queue.change(|inner| {
            // Fences are numbered in the order of jobs, because the lock is held.
            let driver_fence: DriverFence = queue.fences.arm(fence);
            let fence = ARef::from(driver_fence.fence());
            job.set_fence(driver_fence);

            match queue.set.add(&queue) {
                Ok(()) => inner.waiting.push_back(job),
                Err(error) => job.finish(Some(error)),
            }
            fence
        })
    }
}
