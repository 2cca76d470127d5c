// SPDX-License-Identifier: MIT OR Apache-2.0

//! How a command on the GPU is told to make room or to end.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// A more urgent command has the engine.
const ASIDE: u8 = 1;
const TIMED_OUT: u8 = 2;
const KILLED: u8 = 4;
const STOPPED: u8 = 8;

/// Why a command has to end before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The coprocessor is switched off, or has crashed.
    Stopped,
    /// Another command's fault stopped the GPU.
    Killed,
    /// It takes too long.
    TimedOut,
}

/// What the firmware wants of a command that runs.
#[derive(Debug, Default)]
pub struct JobControl {
    flags: AtomicU8,
    gate: Mutex<()>,
    opened: Condvar,
}

impl JobControl {
    /// Whether the command shall end now. To be asked often, with no lock held: it waits while the command is set
    /// aside, which is how a job makes room between two workgroups or within a long one.
    pub fn cancelled(&self) -> bool {
        if self.flags.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let aside = |_: &mut ()| self.flags.load(Ordering::SeqCst) == ASIDE;
        // A poisoned gate only means that another worker of this job panicked; there is nothing behind it.
        drop(self.opened.wait_while(gate, aside));
        self.cut().is_some()
    }

    /// Why the command shall end, if it shall. Does not wait.
    pub fn cut(&self) -> Option<Cut> {
        let flags = self.flags.load(Ordering::SeqCst);
        match flags {
            _ if flags & STOPPED != 0 => Some(Cut::Stopped),
            _ if flags & KILLED != 0 => Some(Cut::Killed),
            _ if flags & TIMED_OUT != 0 => Some(Cut::TimedOut),
            _ => None,
        }
    }

    fn change(&self, set: u8, clear: u8) {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let flags = self.flags.load(Ordering::SeqCst);
        self.flags.store(flags & !clear | set, Ordering::SeqCst);
        self.opened.notify_all();
    }

    /// Ends the command.
    pub fn end(&self, why: Cut) {
        let flag = match why {
            Cut::Stopped => STOPPED,
            Cut::Killed => KILLED,
            Cut::TimedOut => TIMED_OUT,
        };
        self.change(flag, 0);
    }

    /// Makes the command wait.
    pub(crate) fn set_aside(&self) {
        self.change(ASIDE, 0);
    }

    /// Lets it go on.
    pub(crate) fn take_up(&self) {
        self.change(0, ASIDE);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_job_waits_while_it_is_set_aside() {
        let control = Arc::new(JobControl::default());
        assert!(!control.cancelled());
        control.set_aside();
        let job = thread::spawn({
            let control = control.clone();
            move || control.cancelled()
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!job.is_finished());
        control.take_up();
        assert!(!job.join().unwrap());
    }

    #[test]
    fn a_job_that_is_set_aside_can_be_ended() {
        for why in [Cut::Stopped, Cut::Killed, Cut::TimedOut] {
            let control = Arc::new(JobControl::default());
            control.set_aside();
            let job = thread::spawn({
                let control = control.clone();
                move || control.cancelled()
            });
            control.end(why);
            assert!(job.join().unwrap());
            assert_eq!(control.cut(), Some(why));
        }
    }
}
