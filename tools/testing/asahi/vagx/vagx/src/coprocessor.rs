// SPDX-License-Identifier: MIT OR Apache-2.0

//! The coprocessor: the CPU's control registers, its mailbox, RTKit, and the firmware on top.
//!
//! Messages of the AP are handled on the thread that writes the registers, since each is short;
//! what takes time (the firmware's end) happens on a thread of its own. `state` is never held
//! while the firmware is called, so the firmware may call its [`Port`] from anywhere.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use vagx_trace::{Complaint, Trace};
use vagx_uat::Uat;

use crate::fault::Fault;
use crate::mailbox::Mailbox;
use crate::rtkit::{Effect, Rtkit, Surroundings};

/// Register offsets (AsahiLinux/docs `hw/soc/asc.md`).
mod reg {
    pub const CPU_CONTROL: u64 = 0x44;
    pub const CPU_STATUS: u64 = 0x48;
    pub const MAILBOX: u64 = 0x8000;
}

/// CPU_CONTROL: the processor runs.
const RUN: u32 = 1 << 4;
/// CPU_STATUS.
const IDLE: u32 = 1 << 0;
const STOPPED: u32 = 1 << 1;
const NO_IRQ: u32 = 1 << 2;
const NO_FIQ: u32 = 1 << 3;
const MAILBOX_TO_AP_EMPTY: u32 = 1 << 5;

/// How long clearing RUN holds the AP up, at most. Stopping is much faster unless a job is in
/// the way; CPU_STATUS tells when it is done.
const STOP_PATIENCE: Duration = Duration::from_millis(100);

/// The firmware, as the coprocessor sees it.
pub trait Application: Send + Sync {
    /// A message for one of its endpoints. Does not wait.
    fn message(&self, endpoint: u8, message: u64);
    /// Ends it; when this returns it touches nothing any more. May be called again, also while
    /// an earlier call is still at it.
    fn stop(&self);
}

/// Starts the firmware, once for each time the processor starts.
pub type Boot = dyn Fn(Port) -> Arc<dyn Application> + Send + Sync;

enum Cpu {
    Stopped,
    Running(Option<Arc<dyn Application>>),
    Stopping,
}

struct State {
    control: u32,
    cpu: Cpu,
    rtkit: Rtkit,
    /// Someone is bringing the processor to where CONTROL wants it.
    settling: bool,
    /// The firmware ends or starts for a power state; no message is taken until it has.
    resting: bool,
}

struct Inner {
    mailbox: Mailbox,
    state: Mutex<State>,
    stopped: Condvar,
    /// Held while messages are taken, so that they stay in order.
    pumping: Mutex<()>,
    uat: Uat,
    trace: Trace,
    boot: Box<Boot>,
    base: u64,
}

/// The coprocessor; clones are the same one.
#[derive(Clone)]
pub struct Coprocessor {
    inner: Arc<Inner>,
}

/// The way from the firmware to the outside.
#[derive(Clone)]
pub struct Port {
    inner: Weak<Inner>,
}

impl Port {
    fn inner(&self) -> Option<Coprocessor> {
        self.inner.upgrade().map(|inner| Coprocessor { inner })
    }

    /// Sends to the AP.
    pub fn send(&self, endpoint: u8, message: u64) {
        if let Some(c) = self.inner() {
            c.inner.mailbox.post((endpoint, message));
        }
    }

    /// A line for the kernel's log.
    pub fn syslog(&self, line: &str) {
        if let Some(c) = self.inner() {
            c.with_rtkit(|rtkit, s| rtkit.log(s, line));
        }
    }

    /// The firmware is broken.
    pub fn crash(&self, why: &str) {
        if let Some(c) = self.inner() {
            let history = c.inner.mailbox.history();
            c.with_rtkit(|rtkit, s| rtkit.crash(s, why, &history));
        }
    }
}

impl Coprocessor {
    /// A stopped coprocessor whose registers the AP sees at `base`.
    pub fn new(
        mailbox: Mailbox,
        uat: Uat,
        trace: Trace,
        faults: &[Fault],
        base: u64,
        boot: Box<Boot>,
    ) -> Self {
        let state = State {
            control: 0,
            cpu: Cpu::Stopped,
            rtkit: Rtkit::new(faults),
            settling: false,
            resting: false,
        };
        Self {
            inner: Arc::new(Inner {
                mailbox,
                state: Mutex::new(state),
                stopped: Condvar::new(),
                pumping: Mutex::new(()),
                uat,
                trace,
                boot,
                base,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.inner.state)
    }

    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            uat: &self.inner.uat,
            trace: &self.inner.trace,
            mailbox: self.inner.base + reg::MAILBOX,
        }
    }

    /// Runs something on RTKit and sends what comes out of it.
    fn with_rtkit<T>(&self, f: impl FnOnce(&mut Rtkit, &Surroundings<'_>) -> T) -> T {
        let mut state = self.state();
        let result = f(&mut state.rtkit, &self.surroundings());
        // Under the lock, so that messages leave in the order in which they were made.
        for m in state.rtkit.outbox() {
            self.inner.mailbox.post(m);
        }
        result
    }

    /// Messages that went over the mailbox, both ways.
    pub fn messages(&self) -> u64 {
        self.inner.mailbox.total()
    }

    /// The AP reads a register: `None` where none is known.
    pub fn read(&self, offset: u64) -> Option<u64> {
        match offset {
            reg::CPU_CONTROL => Some(self.state().control.into()),
            reg::CPU_STATUS => {
                let cpu = match self.state().cpu {
                    Cpu::Stopped => STOPPED,
                    Cpu::Running(_) | Cpu::Stopping => IDLE,
                };
                let empty = match self.inner.mailbox.drained() {
                    true => MAILBOX_TO_AP_EMPTY,
                    false => 0,
                };
                Some((cpu | empty | NO_IRQ | NO_FIQ).into())
            }
            _ => self.inner.mailbox.read(offset.checked_sub(reg::MAILBOX)?),
        }
    }

    /// The AP writes a register. Says whether one is known.
    pub fn write(&self, offset: u64, value: u64) -> bool {
        match offset {
            reg::CPU_CONTROL => {
                self.state().control = value as u32;
                self.settle();
                if value as u32 & RUN == 0 {
                    self.wait_stopped(Some(STOP_PATIENCE));
                }
            }
            reg::CPU_STATUS => self.inner.trace.complain(Complaint {
                structure: "asc",
                field: "CPU_STATUS",
                offset,
                value,
                address: self.inner.base + offset,
                why: "the AP only reads this register".into(),
            }),
            _ => {
                let known = offset
                    .checked_sub(reg::MAILBOX)
                    .is_some_and(|o| self.inner.mailbox.write(o, value));
                if known {
                    self.pump();
                }
                return known;
            }
        }
        true
    }

    /// Gives the AP back its messages, if there is nobody else to take them.
    pub fn echo(&self) {
        // The state is held so that nobody starts meanwhile.
        let state = self.state();
        if matches!(state.cpu, Cpu::Stopped) {
            self.inner.mailbox.echo();
        }
    }

    /// Stops the processor and waits until it has stopped: power-on state.
    pub fn reset(&self) {
        self.state().control = 0;
        self.settle();
        self.wait_stopped(None);
        self.inner.mailbox.clear();
    }

    fn wait_stopped(&self, patience: Option<Duration>) {
        let wait = |s: &mut State| !matches!(s.cpu, Cpu::Stopped) && s.control & RUN == 0;
        let state = self.state();
        match patience {
            Some(time) => drop(self.inner.stopped.wait_timeout_while(state, time, wait)),
            None => drop(self.inner.stopped.wait_while(state, wait)),
        }
    }

    /// Brings the processor to where CONTROL wants it. Stopping goes on in the background.
    fn settle(&self) {
        let mut state = self.state();
        if state.settling {
            // Whoever does it looks again at the end.
            return;
        }
        let run = state.control & RUN != 0;
        match (&mut state.cpu, run) {
            (Cpu::Stopped, true) => {
                state.settling = true;
                state.resting = false;
                state.cpu = Cpu::Running(None);
                drop(state);
                self.inner.trace.event("rtkit", "processor starts", &[]);
                self.inner.mailbox.clear();
                self.start();
                self.state().settling = false;
                self.pump();
                // CONTROL may have changed meanwhile.
                self.settle();
            }
            (Cpu::Running(application), false) => {
                let application = application.take();
                state.settling = true;
                state.cpu = Cpu::Stopping;
                drop(state);
                self.inner.trace.event("rtkit", "processor stops", &[]);
                let me = self.clone();
                thread::spawn(move || {
                    if let Some(a) = application {
                        a.stop();
                    }
                    let mut state = me.state();
                    state.cpu = Cpu::Stopped;
                    state.settling = false;
                    drop(state);
                    me.inner.stopped.notify_all();
                    me.settle();
                });
            }
            _ => {}
        }
    }

    /// Starts the firmware, then lets RTKit speak.
    fn start(&self) {
        self.state().rtkit.reset();
        let port = Port {
            inner: Arc::downgrade(&self.inner),
        };
        let application = (self.inner.boot)(port);
        self.with_rtkit(|rtkit, _| rtkit.boot());
        let mut state = self.state();
        if let Cpu::Running(slot) = &mut state.cpu {
            *slot = Some(application);
            state.resting = false;
            return;
        }
        // Stopped meanwhile.
        drop(state);
        application.stop();
    }

    /// Takes messages of the AP as long as there are some and the processor listens.
    fn pump(&self) {
        let _alone = lock(&self.inner.pumping);
        loop {
            let mut state = self.state();
            let Cpu::Running(Some(application)) = &state.cpu else {
                return;
            };
            let application = application.clone();
            if state.resting || state.rtkit.deaf() {
                return;
            }
            let Some((endpoint, message)) = self.inner.mailbox.take() else {
                return;
            };
            let s = self.surroundings();
            let effect = state.rtkit.receive(&s, endpoint, message);
            for m in state.rtkit.outbox() {
                self.inner.mailbox.post(m);
            }
            match effect {
                Effect::None => {}
                Effect::Application(endpoint, message) => {
                    drop(state);
                    application.message(endpoint, message);
                }
                Effect::Stop(power) => {
                    state.resting = true;
                    drop(state);
                    let me = self.clone();
                    thread::spawn(move || {
                        application.stop();
                        me.asleep(&application, power);
                    });
                    return;
                }
                Effect::Start => {
                    state.resting = true;
                    drop(state);
                    let me = self.clone();
                    thread::spawn(move || {
                        // The one before has been stopped, or rests for good.
                        application.stop();
                        if me.still_runs(&application) {
                            me.start();
                            me.pump();
                        }
                    });
                    return;
                }
            }
        }
    }

    /// The firmware has ended for a power state.
    fn asleep(&self, ended: &Arc<dyn Application>, power: u16) {
        if self.still_runs(ended) {
            self.with_rtkit(|rtkit, _| rtkit.stopped(power));
            self.state().resting = false;
            self.pump();
        }
    }

    /// The processor has not been stopped since it had this firmware.
    fn still_runs(&self, firmware: &Arc<dyn Application>) -> bool {
        matches!(&self.state().cpu, Cpu::Running(Some(a)) if Arc::ptr_eq(a, firmware))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "coprocessor_tests.rs"]
mod tests;
