// SPDX-License-Identifier: MIT OR Apache-2.0

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use vagx_uat::VecMem;

use super::*;
use crate::lines::Lines;

/// Firmware that counts, and takes its time to stop.
struct Stub {
    stopped: AtomicBool,
    slow: Duration,
    port: Port,
}

impl Application for Stub {
    fn message(&self, endpoint: u8, message: u64) {
        self.port.send(endpoint, message + 1);
    }

    fn stop(&self) {
        thread::sleep(self.slow);
        self.stopped.store(true, Ordering::SeqCst);
    }
}

struct Bench {
    c: Coprocessor,
    boots: Arc<AtomicU32>,
    last: Arc<Mutex<Option<Arc<Stub>>>>,
    trace: Trace,
}

impl Bench {
    fn new(slow: u64, faults: &[Fault]) -> Self {
        let trace = Trace::silent();
        let boots = Arc::new(AtomicU32::new(0));
        let last = Arc::new(Mutex::new(None));
        let (count, keep) = (boots.clone(), last.clone());
        let boot = move |port: Port| -> Arc<dyn Application> {
            count.fetch_add(1, Ordering::SeqCst);
            let stub = Arc::new(Stub {
                stopped: AtomicBool::new(false),
                slow: Duration::from_millis(slow),
                port,
            });
            *keep.lock().unwrap() = Some(stub.clone());
            stub
        };
        let mem = Arc::new(VecMem::new(0x8_0000_0000, 0x4000));
        let mailbox = Mailbox::new(Arc::new(Lines::new()), trace.clone(), 0x8000);
        let uat = Uat::new(mem, 0x8_0000_0000, 40);
        Self {
            c: Coprocessor::new(mailbox, uat, trace.clone(), faults, 0, Box::new(boot)),
            boots,
            last,
            trace,
        }
    }

    fn status(&self) -> u64 {
        self.c.read(0x48).unwrap()
    }

    fn run(&self, on: bool) {
        self.c.write(0x44, u64::from(on) << 4);
    }

    fn send(&self, endpoint: u64, msg: u64) {
        self.c.write(0x8800, msg);
        self.c.write(0x8808, endpoint);
    }

    fn receive(&self) -> Option<(u8, u64)> {
        if self.c.read(0x8114)? & 1 << 17 != 0 {
            return None;
        }
        let msg = self.c.read(0x8830)?;
        Some((self.c.read(0x8838)? as u8, msg))
    }

    fn stopped(&self) -> bool {
        let last = self.last.lock().unwrap();
        last.as_ref().unwrap().stopped.load(Ordering::SeqCst)
    }

    fn until(&self, what: impl Fn() -> bool) {
        let start = Instant::now();
        while !what() {
            assert!(start.elapsed() < Duration::from_secs(10));
            thread::sleep(Duration::from_millis(1));
        }
    }
}

const HELLO: Option<(u8, u64)> = Some((0, 0x0010_0000_000c_000b));

#[test]
fn run_and_stop() {
    let b = Bench::new(0, &[]);
    assert_eq!((b.status(), b.c.read(0x44)), (0x2e, Some(0)));
    b.run(true);
    assert_eq!((b.status(), b.c.read(0x44)), (0x0d, Some(0x10)));
    b.run(true);
    assert_eq!(b.boots.load(Ordering::SeqCst), 1);
    assert_eq!(b.receive(), HELLO);
    assert_eq!(b.status(), 0x2d);
    b.run(false);
    assert_eq!(b.status() & 2, 2);
    assert!(b.stopped());
    // It starts as if for the first time.
    b.run(true);
    assert_eq!(b.receive(), HELLO);
    assert_eq!(b.boots.load(Ordering::SeqCst), 2);
    assert_eq!(b.trace.complaint_count(), 0);
    b.c.reset();
}

#[test]
fn a_crashed_processor_starts_anew() {
    let b = Bench::new(0, &[]);
    b.run(true);
    assert_eq!(b.receive(), HELLO);
    let firmware = b.last.lock().unwrap().clone().unwrap();
    firmware.port.crash("a test");
    while b.receive().is_some() {}
    // It says nothing more,
    b.send(0, 0x0020_0000_000c_000c);
    thread::sleep(Duration::from_millis(20));
    assert_eq!(b.receive(), None);
    // until it is started again.
    b.run(false);
    assert_eq!(b.status() & 2, 2);
    b.run(true);
    assert_eq!(b.receive(), HELLO);
    b.send(0, 0x0020_0000_000c_000c);
    assert_eq!(b.receive(), Some((0, 0x0080_0000_0000_011f)));
    assert_eq!(b.boots.load(Ordering::SeqCst), 2);
    b.c.reset();
}

#[test]
fn messages_wait_for_a_stopped_processor() {
    let b = Bench::new(0, &[]);
    b.send(0, 0x0020_0000_000c_000c);
    assert_eq!(b.c.read(0x8110).unwrap() >> 20, 1);
    b.run(true);
    assert_eq!(b.receive(), HELLO);
    assert_eq!(b.receive(), None);
    b.send(0, 0x0020_0000_000c_000c);
    assert_eq!(b.receive(), Some((0, 0x0080_0000_0000_011f)));
    b.c.reset();
    assert_eq!(b.status(), 0x2e);
}

/// A firmware that does not stop holds nobody up for long, and is still waited for.
#[test]
fn slow_stop() {
    let b = Bench::new(400, &[]);
    b.run(true);
    let start = Instant::now();
    b.run(false);
    assert!(start.elapsed() < Duration::from_millis(350));
    assert_eq!(b.status() & 2, 0);
    // Started again before it has stopped: first the one, then the other.
    b.run(true);
    assert_eq!(b.boots.load(Ordering::SeqCst), 1);
    b.until(|| b.boots.load(Ordering::SeqCst) == 2);
    b.until(|| b.receive() == HELLO);
    b.c.reset();
    assert!(b.stopped());
    assert_eq!(b.status() & 2, 2);
}

#[test]
fn deaf_processor_lets_the_mailbox_fill() {
    let b = Bench::new(0, &[Fault::NoAnswer]);
    b.run(true);
    for i in 0..16 {
        assert_eq!(b.c.read(0x8110).unwrap() & 1 << 16, 0);
        b.send(0, i);
    }
    assert_ne!(b.c.read(0x8110).unwrap() & 1 << 16, 0);
    assert_eq!(b.receive(), None);
    b.c.reset();
}

#[test]
fn registers_that_do_not_exist() {
    let b = Bench::new(0, &[]);
    assert_eq!(b.c.read(0x40), None);
    assert_eq!(b.c.read(0x9000), None);
    assert!(!b.c.write(0x40, 0));
    assert_eq!(b.trace.complaint_count(), 0);
    assert!(b.c.write(0x48, 0));
    assert_eq!(b.trace.complaint_count(), 1);
}

/// Up, asleep, awake: a fresh firmware, and a fresh boot of RTKit.
#[test]
fn quiesce_and_wake() {
    let b = Bench::new(50, &[Fault::Deaf(u64::MAX)]);
    b.run(true);
    assert_eq!(b.receive(), HELLO);
    {
        let mut state = b.c.state();
        state.rtkit.stopped(crate::rtkit::power::QUIESCED);
    }
    b.send(0, 0x0060_0000_0000_0220);
    // The answer to what the test did by hand, then the new boot.
    b.until(|| b.boots.load(Ordering::SeqCst) == 2);
    b.until(|| b.receive() == HELLO);
    b.send(0, 0x0020_0000_000c_000c);
    b.until(|| b.receive() == Some((0, 0x0080_0000_0000_011f)));
    assert_eq!(b.trace.complaint_count(), 0);
    // Stopped while it wakes up.
    b.c.state().rtkit.stopped(crate::rtkit::power::SLEEP);
    b.send(0, 0x0060_0000_0000_0220);
    b.run(false);
    b.until(|| b.status() & 2 != 0);
    thread::sleep(Duration::from_millis(120));
    assert_eq!(b.boots.load(Ordering::SeqCst), 2);
    assert_eq!(b.status() & 2, 2);
    b.c.reset();
}
