// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The queues of a device: all that have work, and those that stand in line for something.

use super::{
    Backend,
    JobQueue, //
};
use crate::{
    list::{
        List,
        ListArc, //
    },
    new_spinlock,
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc,
        SpinLock, //
    }, //
};

struct Members<T: Backend> {
    list: List<JobQueue<T>, 0>,
    dead: Option<Error>,
}

/// All queues of a device that have jobs which are not done.
///
/// By means of it, they can all be killed when the device is gone.
#[pin_data]
pub struct QueueSet<T: Backend> {
    #[pin]
    members: SpinLock<Members<T>>,
}

impl<T: Backend> QueueSet<T> {
    /// Makes an empty set.
    pub fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                members <- new_spinlock!(Members {
                    list: List::new(),
                    dead: None,
                }),
            }),
            GFP_KERNEL,
        )
    }

    /// Fails if the queues were killed.
    pub fn check(&self) -> Result {
        self.members.lock().dead.map_or(Ok(()), Err)
    }

    /// Kills all queues. Jobs that are submitted to any of them from here on fail, too.
    pub fn kill(&self, error: Error) {
        self.members.lock().dead.get_or_insert(error);
        loop {
            let next = self.members.lock().list.pop_front();
            let Some(queue) = next else { return };
            queue.into_arc().kill(error);
        }
    }

    /// Adds a queue, if it is not in the set. Fails when the queues were killed.
    pub(super) fn add(&self, queue: &Arc<JobQueue<T>>) -> Result {
        let mut members = self.members.lock();

        if let Some(error) = members.dead {
            return Err(error);
        }
        if let Ok(member) = ListArc::try_from_arc(queue.clone()) {
            members.list.push_back(member);
        }
        Ok(())
    }

    /// Takes a queue out, if it is in the set.
    pub(super) fn remove(&self, queue: &JobQueue<T>) -> Option<ListArc<JobQueue<T>, 0>> {
        // SAFETY: A queue enters the list with this number of its own set only.
        unsafe { self.members.lock().list.remove(queue) }
    }
}

/// A line of queues that wait for something of the device of which there is not enough for all.
///
/// A queue stands in one line at a time. Who gives something back wakes the first in line, which
/// leaves the line by that. Who was woken, or was first in line and leaves, wakes the next one when
/// it has what it needs or does not need it any more, because there may be enough for both.
#[pin_data(PinnedDrop)]
pub struct WaitList<T: Backend> {
    #[pin]
    line: SpinLock<List<JobQueue<T>, 1>>,
}

impl<T: Backend> WaitList<T> {
    /// Makes an empty line.
    pub fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                line <- new_spinlock!(List::new()),
            }),
            GFP_KERNEL,
        )
    }

    /// Tells this line from others.
    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Takes something for a queue that others may be waiting for, too, or puts it in line.
    ///
    /// `attempt` returns `None` when there is nothing. The queue must not be in another line. If it
    /// has been in this one and was `woken`, it is its turn; otherwise it is, if nobody is in line.
    pub fn claim<R, E>(
        &self,
        queue: &Arc<JobQueue<T>>,
        woken: bool,
        mut attempt: impl FnMut() -> Result<Option<R>, E>,
    ) -> Result<Option<R>, E> {
        if woken || self.is_empty() {
            let ret = attempt();
            if !matches!(ret, Ok(None)) {
                return ret;
            }
        }
        if !self.join(queue, woken) {
            return Ok(None);
        }

        // What has come free before the queue was in line has woken nobody.
        let ret = attempt();
        if !matches!(ret, Ok(None)) && !self.leave(queue) {
            // It has been woken for something else that has come free.
            self.wake_one();
        }
        ret
    }

    /// Puts a queue, which must be in no other line, at the end of this one or, if it was woken in
    /// vain, at its front. Returns whether it is the first one.
    fn join(&self, queue: &Arc<JobQueue<T>>, woken: bool) -> bool {
        // If this fails, the queue is just being woken.
        let Ok(member) = ListArc::try_from_arc(queue.clone()) else {
            return false;
        };
        let mut line = self.line.lock();
        let first = woken || line.is_empty();

        queue.line.store(self.address(), Relaxed);
        if woken {
            line.push_front(member);
        } else {
            line.push_back(member);
        }
        first
    }

    /// Returns whether nobody is in line.
    pub fn is_empty(&self) -> bool {
        self.line.lock().is_empty()
    }

    /// Returns whether a queue is in line.
    pub fn has(&self, queue: &JobQueue<T>) -> bool {
        let _line = self.line.lock();
        queue.line.load(Relaxed) == self.address()
    }

    /// Takes a queue out of the line. Returns whether it was in there; if not, it has been woken.
    pub fn leave(&self, queue: &JobQueue<T>) -> bool {
        let mut line = self.line.lock();

        if queue.line.load(Relaxed) != self.address() {
            return false;
        }
        queue.line.store(0, Relaxed);
        // SAFETY: The address is set while the queue is in this line, and only then, and that
        // changes under the lock only.
        let member = unsafe { line.remove(queue) };
        drop(line);
        member.is_some()
    }

    /// Has the worker look at the first queue in line, which leaves the line.
    pub fn wake_one(&self) {
        let mut line = self.line.lock();
        let Some(first) = line.pop_front() else {
            return;
        };

        first.line.store(0, Relaxed);
        drop(line);
        first.into_arc().kick();
    }
}

#[pinned_drop]
impl<T: Backend> PinnedDrop for WaitList<T> {
    fn drop(self: Pin<&mut Self>) {
        // Who still is in line must not take the next line at this address for this one.
        let mut line = self.line.lock();
        while let Some(queue) = line.pop_front() {
            queue.line.store(0, Relaxed);
        }
    }
}
