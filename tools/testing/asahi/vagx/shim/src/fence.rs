// SPDX-License-Identifier: MIT OR Apache-2.0

//! Fences, sets of them, and the one place where threads wait for them.
//!
//! Lock order: the hub's lock, then that of a sync object. Whoever changes a sync object touches the hub afterwards.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Something that will be over.
#[derive(Debug, Default)]
pub struct Fence {
    /// 0 until it is over; then 1, or a negative error.
    status: AtomicI32,
}

impl Fence {
    /// One that is over.
    pub fn over(status: i32) -> Arc<Fence> {
        Arc::new(Fence {
            status: status.into(),
        })
    }
}

/// Fences of which all must be over.
#[derive(Clone, Debug, Default)]
pub struct Fences(Vec<Arc<Fence>>);

impl Fences {
    pub fn one(fence: Arc<Fence>) -> Fences {
        Fences(vec![fence])
    }

    /// A set that is over.
    pub fn over() -> Fences {
        Fences(Vec::new())
    }

    /// Adds those of another set; what is over well is left out.
    pub fn extend(&mut self, other: &Fences) {
        let new = other.0.iter().filter(|f| f.status.load(SeqCst) != 1);
        for fence in new {
            if !self.0.iter().any(|known| Arc::ptr_eq(known, fence)) {
                self.0.push(fence.clone());
            }
        }
    }

    /// 0 until all are over; then 1, or the first error.
    pub fn status(&self) -> i32 {
        let mut all = 1;
        for fence in &self.0 {
            match fence.status.load(SeqCst) {
                0 => return 0,
                1 => (),
                error if all == 1 => all = error,
                _ => (),
            }
        }
        all
    }

    pub fn signalled(&self) -> bool {
        self.status() != 0
    }
}

/// A sync file that is not signalled yet: our end of it, and what it stands for.
pub struct Pending {
    pub end: OwnedFd,
    pub fences: Fences,
}

/// Where threads wait.
#[derive(Default)]
pub struct Hub {
    /// Sync files by the inode of the client's end.
    pending: Mutex<HashMap<u64, Pending>>,
    changed: Condvar,
    /// Threads that wait. It changes, and is looked at, by who has the lock.
    waiting: AtomicUsize,
}

impl Hub {
    pub fn lock(&self) -> MutexGuard<'_, HashMap<u64, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a fence be over.
    pub fn signal(&self, fence: &Fence, status: i32) {
        let mut pending = self.lock();
        fence.status.store(status, SeqCst);
        pending.retain(|_, file| match file.fences.status() {
            0 => true,
            status => {
                crate::syncfile::finish(&file.end, status);
                false
            }
        });
        self.wake(pending);
    }

    /// Has all waiters look again.
    pub fn touch(&self) {
        self.wake(self.lock());
    }

    fn wake(&self, pending: MutexGuard<'_, HashMap<u64, Pending>>) {
        let anybody = self.waiting.load(SeqCst) != 0;
        drop(pending);
        if anybody {
            self.changed.notify_all();
        }
    }

    /// Waits until `done` gives something, at most until `end`.
    pub fn wait<T>(&self, end: Option<Instant>, mut done: impl FnMut() -> Option<T>) -> Option<T> {
        let mut guard = self.lock();
        loop {
            if let Some(value) = done() {
                return Some(value);
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            self.waiting.fetch_add(1, SeqCst);
            guard = match left {
                None => (self.changed.wait(guard)).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    (self.changed.wait_timeout(guard, left))
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
            self.waiting.fetch_sub(1, SeqCst);
        }
    }
}

/// The moment of a time of the monotonic clock, in nanoseconds, as ioctls give it.
pub fn deadline(time: i64) -> Option<Instant> {
    let left = time.saturating_sub(crate::device::now() as i64).max(0);
    Instant::now().checked_add(Duration::from_nanos(left as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_over_when_all_are() {
        let hub = Hub::default();
        let (first, second) = (Arc::<Fence>::default(), Arc::<Fence>::default());
        let mut set = Fences::one(first.clone());
        set.extend(&Fences::one(second.clone()));
        assert_eq!(set.status(), 0);
        hub.signal(&second, -5);
        assert_eq!(set.status(), 0);
        hub.signal(&first, 1);
        assert_eq!(set.status(), -5);
        assert_eq!(Fences::over().status(), 1);
    }

    #[test]
    fn waiting_ends() {
        let hub = Hub::default();
        let fence = Arc::<Fence>::default();
        let set = Fences::one(fence.clone());
        let soon = Instant::now() + Duration::from_millis(5);
        let done = || set.signalled().then_some(());
        assert_eq!(hub.wait(Some(soon), done), None);
        std::thread::scope(|scope| {
            scope.spawn(|| hub.signal(&fence, 1));
            assert_eq!(hub.wait(None, done), Some(()));
        });
    }
}
