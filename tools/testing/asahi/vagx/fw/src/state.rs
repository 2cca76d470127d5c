// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the threads of the firmware share.
//!
//! Locks, in the order in which they may be taken: `sched`, then `outgoing`. The others are taken alone. No lock is
//! held while a job runs on the GPU or while the firmware waits for the driver.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

use vagx_trace::{Level, Trace};

use crate::buffer::Buffers;
use crate::cache::FwCache;
use crate::channel::Sent;
use crate::config::FwConfig;
use crate::courier::Courier;
use crate::faults::{Faults, Kind};
use crate::handoff::{HandoffRegion, NO_CONTEXT};
use crate::inbox::Inbox;
use crate::initdata::Booted;
use crate::log::{Event, Outgoing, Severity};
use crate::mem::{FwMem, Refused, Result};
use crate::port::Port;
use crate::queue::Pipe;
use crate::random::Random;
use crate::sched::Scheduler;

/// Endpoint of the firmware proper, and its message that says "look at your rings".
pub(crate) const EP_FIRMWARE: u8 = 0x20;
pub(crate) const EP_DOORBELL: u8 = 0x21;
const POLL: u64 = 0x42 << 48;

/// How long an event waits for room in its ring.
const EVENT_TRIES: u32 = 1000;

/// A lock whose holder panicked: the data is as consistent as the firmware's memory, and the firmware is on its way
/// down.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Core {
    pub cfg: FwConfig,
    pub mem: FwMem,
    pub cache: Arc<FwCache>,
    pub handoff: HandoffRegion,
    pub port: Arc<dyn Port>,
    pub trace: Trace,
    /// Set once by the INIT message.
    booted: OnceLock<Booted>,
    sched: Mutex<Scheduler>,
    /// Work or news for the worker of a pipe.
    wake: [Condvar; 3],
    /// A fault stops the GPU, a command has stopped for it, or the driver has resumed the firmware.
    pub halting: Condvar,
    outgoing: Mutex<Option<Outgoing>>,
    /// The tiler's buffers, with a lock of their own that is taken alone or inside of `sched`.
    pub buffers: Arc<Buffers>,
    pub inbox: Inbox,
    pub faults: Faults,
    pub courier: Courier,
    /// Contexts with a command on the GPU, with repetitions.
    contexts: Mutex<Vec<u8>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    me: Weak<Core>,
    /// Times the firmware stopped for a fault or timeout.
    pub halts: AtomicU32,
    stop: AtomicBool,
    /// Crashed, or silent because that was asked for.
    dead: AtomicBool,
}

impl Core {
    pub(crate) fn new(
        cfg: FwConfig,
        mem: FwMem,
        cache: Arc<FwCache>,
        handoff: HandoffRegion,
        port: Arc<dyn Port>,
        trace: Trace,
        me: &Weak<Core>,
    ) -> Self {
        let boot = cfg.boot();
        let seed = cfg.seed.wrapping_add(boot.into());
        let faults = Faults::new(&cfg.faults, boot, Random::new(seed));
        let courier = Courier::new(Random::new(!seed), cfg.shuffles(), faults.delays());
        let sched = Scheduler::default();
        Core {
            buffers: Arc::clone(&sched.buffers),
            faults,
            courier,
            contexts: Mutex::default(),
            threads: Mutex::default(),
            me: me.clone(),
            cfg,
            mem,
            cache,
            handoff,
            port,
            trace,
            booted: OnceLock::new(),
            sched: Mutex::new(sched),
            wake: Default::default(),
            halting: Condvar::new(),
            outgoing: Mutex::default(),
            inbox: Inbox::default(),
            halts: AtomicU32::new(0),
            stop: AtomicBool::new(false),
            dead: AtomicBool::new(false),
        }
    }

    pub(crate) fn sched(&self) -> MutexGuard<'_, Scheduler> {
        lock(&self.sched)
    }

    pub(crate) fn booted(&self) -> Option<&Booted> {
        self.booted.get()
    }

    pub(crate) fn set_booted(&self, booted: Booted, outgoing: Outgoing) {
        *lock(&self.outgoing) = Some(outgoing);
        // A second INIT has been refused before.
        let _ = self.booted.set(booted);
    }

    /// The threads shall end.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || self.dead.load(Ordering::SeqCst)
    }

    pub(crate) fn dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Ends all threads and what is on the GPU.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.end_all();
    }

    fn end_all(&self) {
        self.inbox.wake();
        // Under the lock, so that a worker either sees the flag or gets the notification, and no command starts after.
        let sched = self.sched();
        sched.end_all();
        self.wake.iter().for_each(Condvar::notify_all);
        self.halting.notify_all();
    }

    /// Starts a thread that `threads` will have.
    pub(crate) fn spawn(&self, name: &str, body: impl FnOnce(&Core) + Send + 'static) {
        let Some(core) = self.me.upgrade() else {
            return;
        };
        let thread = Builder::new().name(name.into());
        match thread.spawn(move || body(&core)) {
            Ok(thread) => {
                let mut threads = lock(&self.threads);
                threads.retain(|t| !t.is_finished());
                threads.push(thread);
            }
            Err(e) => self.trace.log(
                Level::Error,
                &format!("cannot start the thread {name}: {e}"),
            ),
        }
    }

    /// The threads that were started; some may have ended.
    pub(crate) fn threads(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *lock(&self.threads))
    }

    /// What a worker of that pipe waits for.
    pub(crate) fn wake(&self, pipe: Pipe) -> &Condvar {
        let [vertex, fragment, compute] = &self.wake;
        match pipe {
            Pipe::Vertex => vertex,
            Pipe::Fragment => fragment,
            Pipe::Compute => compute,
        }
    }

    /// Wakes the workers that may find something to do.
    pub(crate) fn wake_ready(&self, sched: &Scheduler) {
        for pipe in sched.ready() {
            self.wake(pipe).notify_all();
        }
    }

    /// Whether this fault was asked for, which does not depend on a job.
    pub(crate) fn injects(&self, kind: Kind) -> bool {
        self.faults.wants(kind)
    }

    /// A command of that context gets to the GPU: the firmware has its page tables loaded from now on.
    pub(crate) fn enter_context(&self, slot: u8) {
        let mut contexts = lock(&self.contexts);
        contexts.push(slot);
        self.handoff.set_current(slot.into());
        self.cache.switch(slot);
    }

    /// A command of that context is over. To be called before the driver can know: it may then use the context's slot
    /// for another.
    pub(crate) fn leave_context(&self, slot: u8) {
        let mut contexts = lock(&self.contexts);
        if let Some(at) = contexts.iter().position(|s| *s == slot) {
            contexts.swap_remove(at);
        }
        let other = contexts.last().copied().unwrap_or(NO_CONTEXT);
        self.cache.switch(other);
        self.handoff.set_current(other.into());
    }

    pub(crate) fn crash(&self, why: &str) {
        self.trace
            .log(Level::Warn, &format!("the firmware crashes: {why}"));
        self.trace
            .event("firmware", "crash", &[("why", why.into())]);
        self.port.crash(why);
        self.dead.store(true, Ordering::SeqCst);
        self.end_all();
    }

    pub(crate) fn silence(&self) {
        self.trace
            .log(Level::Warn, "the firmware goes silent, as asked for");
        self.dead.store(true, Ordering::SeqCst);
        self.end_all();
    }

    /// Tells the AP that there is something in a ring.
    pub(crate) fn notify(&self) {
        if !self.dead() {
            self.trace.event("ep20 firmware", "poll", &[]);
            self.port.send(EP_FIRMWARE, POLL);
        }
    }

    /// Uses the rings to the driver, if there are any yet. What cannot be sent has been complained about.
    pub(crate) fn with_outgoing(&self, f: impl FnOnce(&mut Outgoing) -> Result<()>) {
        if let Some(out) = lock(&self.outgoing).as_mut() {
            let _: Result<()> = f(out);
        }
    }

    /// Puts a warning into the log that the driver reads.
    pub(crate) fn warn(&self, text: &str) {
        self.line(Severity::Warning, text);
    }

    pub(crate) fn statistics(&self, kind: u32, words: &[u64]) {
        self.with_outgoing(|out| out.statistics(kind, words));
    }

    /// Puts a line into the log that the driver reads.
    pub(crate) fn line(&self, severity: Severity, text: &str) {
        self.trace
            .event("firmware", "log", &[("text", text.into())]);
        let ticks = self.port.now_ticks();
        self.with_outgoing(|out| out.line(severity, ticks, text));
    }

    /// Sends an event and tells the AP. An event must not be lost: a full ring is waited for, with bounded patience.
    pub(crate) fn event(&self, event: Event) {
        for attempt in 0..EVENT_TRIES {
            let mut sent = Err(Refused);
            self.with_outgoing(|out| {
                sent = out.event(event);
                Ok(())
            });
            if attempt == 0 || sent != Ok(Sent::Full) {
                self.notify();
            }
            if sent != Ok(Sent::Full) || self.stopped() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let place = crate::mem::Place {
            structure: "EventMsg",
            field: "entry",
            offset: 0,
            address: 0,
        };
        let why =
            format!("the event ring stays full, {event:?} is lost: the driver does not read it");
        self.mem.complain(place, 0, why);
    }
}
