// SPDX-License-Identifier: MIT OR Apache-2.0

use std::sync::Arc;

use vagx_uat::{PhysMem, VecMem};

use super::*;

const BASE: u64 = 0x8_0000_0000;
/// Where the AP of these tests maps the buffers, and in which memory.
const BUFFERS: u64 = 0xffff_ffae_0000_0000;

struct Bench {
    mem: Arc<VecMem>,
    uat: Uat,
    trace: Trace,
    rtkit: Rtkit,
}

impl Bench {
    fn new(faults: &[Fault]) -> Self {
        let mem = Arc::new(VecMem::new(BASE, 1 << 20));
        // TTBAT at the base; one table of each level behind it; pages from 0x10000.
        let (top, mid, leaf) = (BASE + 0x4000, BASE + 0x8000, BASE + 0xc000);
        mem.write_u64(BASE + 8, top | 1).unwrap();
        let index = |shift: u32, n: u64| (BUFFERS >> shift & (n - 1)) * 8;
        mem.write_u64(top + index(36, 8), mid | 3).unwrap();
        mem.write_u64(mid + index(25, 2048), leaf | 3).unwrap();
        for i in 0..32 {
            let page = BASE + 0x1_0000 + i * 0x4000;
            let bits = 1 << 55 | 1 << 54 | 1 << 10 | 1 << 6 | 3;
            mem.write_u64(leaf + i * 8, page | bits).unwrap();
        }
        let mut rtkit = Rtkit::new(faults);
        rtkit.boot();
        Self {
            uat: Uat::new(mem.clone(), BASE, 40),
            mem,
            trace: Trace::silent(),
            rtkit,
        }
    }

    fn out(&mut self) -> Vec<Message> {
        self.rtkit.outbox().collect()
    }

    fn give(&mut self, endpoint: u8, msg: u64) -> Effect {
        let s = Surroundings {
            uat: &self.uat,
            trace: &self.trace,
            mailbox: 0x2_0640_8000,
        };
        self.rtkit.receive(&s, endpoint, msg)
    }

    /// Gives a message and returns the answers.
    fn ask(&mut self, endpoint: u8, msg: u64) -> Vec<Message> {
        assert_eq!(self.give(endpoint, msg), Effect::None);
        self.out()
    }

    fn start(&mut self, endpoint: u64) -> Vec<Message> {
        self.ask(0, 0x0050_0000_0000_0002 | endpoint << 32)
    }

    /// Up to the point where the AP has started all of the system's endpoints.
    fn until_system(&mut self) {
        self.out();
        self.ask(0, 0x0020_0000_000c_000c);
        self.ask(0, 0x0080_0000_0000_0001);
        self.ask(0, 0x0088_0001_0000_0000);
        for e in [1, 2, 3, 4, 8] {
            self.start(e);
        }
    }

    fn until_on(&mut self) {
        self.until_system();
        self.ask(1, 0x0012_0fae_0000_0000);
        self.ask(2, 0x0010_4fae_0002_0000);
        self.ask(4, 0x0010_4fae_0002_4000);
        let up = self.ask(8, OSLOG);
        assert_eq!(up.last(), Some(&(0, 0x0070_0000_0000_0020)));
        assert_eq!(
            self.ask(0, 0x00b0_0000_0000_0020),
            [(0, 0x00b0_0000_0000_0020)]
        );
    }

    fn complaints(&self) -> u64 {
        self.trace.complaint_count()
    }
}

/// The oslog answer for address 0xffffffae00028000, of which 44 bits are in use.
const OSLOG: u64 = 0x0100_0000_0000_0000 | 0x4000 << 36 | 0xfae0_0028;

#[test]
fn boot_in_messages() {
    let mut b = Bench::new(&[]);
    assert_eq!(b.out(), [(0, 0x0010_0000_000c_000b)]);
    assert_eq!(
        b.ask(0, 0x0020_0000_000c_000c),
        [(0, 0x0080_0000_0000_011f)]
    );
    assert_eq!(
        b.ask(0, 0x0080_0000_0000_0001),
        [(0, 0x0088_0001_0000_0003)]
    );
    assert_eq!(b.ask(0, 0x0088_0001_0000_0000), []);
    assert_eq!(b.start(1), [(1, 0x0012_0000_0000_0000)]);
    assert_eq!(
        b.start(2),
        [(2, 0x0080_0000_e000_0040), (2, 0x0010_4000_0000_0000)]
    );
    assert_eq!(b.start(3), []);
    assert_eq!(b.start(4), [(4, 0x0010_4000_0000_0000)]);
    assert_eq!(b.start(8), [(8, 0x0104_0000_0000_0000)]);
    assert_eq!(b.ask(1, 0x0012_0fae_0000_0000), []);
    assert_eq!(b.ask(2, 0x0010_4fae_0002_0000), []);
    assert_eq!(
        b.ask(4, 0x0010_4fae_0002_4000),
        [(4, 0x00c0_0000_0000_0000)]
    );
    assert_eq!(b.ask(8, OSLOG), [(0, 0x0070_0000_0000_0020)]);
    assert_eq!(b.ask(4, 0x00c0_0000_0000_0000), []);
    assert_eq!(
        b.ask(0, 0x00b0_0000_0000_0020),
        [(0, 0x00b0_0000_0000_0020)]
    );
    assert_eq!(b.start(0x20), []);
    assert_eq!(b.start(0x21), []);
    assert_eq!(
        b.give(0x20, 0x0081_0fa0_000b_0000),
        Effect::Application(0x20, 0x0081_0fa0_000b_0000)
    );
    assert_eq!(b.complaints(), 0);
}

#[test]
fn sleep_and_wake() {
    let mut b = Bench::new(&[]);
    b.until_on();
    assert_eq!(
        b.ask(0, 0x00b0_0000_0000_0010),
        [(0, 0x00b0_0000_0000_0010)]
    );
    assert_eq!(b.give(0, 0x0060_0000_0000_0001), Effect::Stop(1));
    assert_eq!(b.out(), []);
    b.rtkit.stopped(1);
    assert_eq!(b.out(), [(0, 0x0070_0000_0000_0001)]);
    // Asleep: only waking helps.
    assert_eq!(b.complaints(), 0);
    b.ask(0, 0x00b0_0000_0000_0020);
    b.ask(0, 0x0060_0000_0000_0001);
    assert_eq!(b.complaints(), 2);
    assert_eq!(b.give(0, 0x0060_0000_0000_0220), Effect::Start);
    b.rtkit.reset();
    b.rtkit.boot();
    assert_eq!(b.out(), [(0, 0x0010_0000_000c_000b)]);
}

#[test]
fn idle_keeps_everything() {
    let mut b = Bench::new(&[]);
    b.until_on();
    b.start(0x20);
    b.ask(0, 0x00b0_0000_0000_0201);
    assert_eq!(
        b.ask(0, 0x0060_0000_0000_0201),
        [(0, 0x0070_0000_0000_0201)]
    );
    assert_eq!(b.ask(0x20, 1), []);
    assert_eq!(b.complaints(), 1);
    assert_eq!(
        b.ask(0, 0x0060_0000_0000_0220),
        [(0, 0x0070_0000_0000_0020)]
    );
    b.ask(0, 0x00b0_0000_0000_0020);
    assert_eq!(b.give(0x20, 1), Effect::Application(0x20, 1));
    assert_eq!(b.complaints(), 1);
}

#[test]
fn quiesce_needs_a_new_hello() {
    let mut b = Bench::new(&[]);
    b.until_on();
    b.ask(0, 0x00b0_0000_0000_0010);
    assert_eq!(
        b.ask(0, 0x0060_0000_0000_0010),
        [(0, 0x0070_0000_0000_0010)]
    );
    assert_eq!(b.give(0, 0x0060_0000_0000_0220), Effect::Start);
    assert_eq!(b.complaints(), 0);
}

#[test]
fn off_is_final() {
    let mut b = Bench::new(&[]);
    b.until_on();
    b.ask(0, 0x00b0_0000_0000_0000);
    assert_eq!(b.give(0, 0x0060_0000_0000_0000), Effect::Stop(0));
    b.rtkit.stopped(0);
    b.out();
    assert_eq!(b.ask(0, 0x0060_0000_0000_0220), []);
    assert_eq!(b.complaints(), 1);
}

#[test]
fn violations() {
    for (endpoint, msg) in [
        (0, 0x0020_0000_000c_000b), // two versions
        (0, 0x0020_0000_000d_000d), // a version not offered
        (0, 0x00b0_0000_0000_0020), // power before the map
        (0, 0x0050_0001_0000_0002), // an endpoint before the map
        (1, 0x0012_0fae_0000_0000), // an endpoint not started
        (0x20, 0),
        (0xff, 0),
    ] {
        let mut b = Bench::new(&[]);
        b.give(endpoint, msg);
        assert_eq!(b.complaints(), 1, "{endpoint:#x} {msg:#x}");
    }
    for (endpoint, msg) in [
        (0, 0x0050_0001_0000_0002), // started already
        (0, 0x0050_0005_0000_0002), // not in the map
        (0, 0x0050_0020_0000_0001), // stop
        (0, 0x00b0_0000_0000_0020), // before the coprocessor is on
        (0, 0x0020_0000_000c_000c), // HELLO again
        (1, 0x0022_0fae_0000_0000), // not an answer
        (1, 0x0012_0000_0000_0000), // no buffer
        (1, 0x0012_0fae_1000_0000), // a buffer that is not mapped
        (1, 0x0011_0fae_0000_0000), // too small
        (3, 1),
    ] {
        let mut b = Bench::new(&[]);
        b.until_system();
        b.give(endpoint, msg);
        assert!(b.complaints() >= 1, "{endpoint:#x} {msg:#x}");
    }
    for (endpoint, msg) in [
        (0x20, 0),                  // application not started
        (0, 0x0060_0000_0000_0001), // sleep while the AP is on
        (0, 0x00b0_0000_0000_0077), // no power state
        (1, 0x0012_0fae_0000_0000), // given before
        (2, 0x0050_0000_0000_0001), // an entry that was not sent
        (4, 0x0080_0000_0000_0000),
    ] {
        let mut b = Bench::new(&[]);
        b.until_on();
        b.give(endpoint, msg);
        assert_eq!(b.complaints(), 1, "{endpoint:#x} {msg:#x}");
    }
}

fn log(b: &mut Bench, line: &str) -> Vec<Message> {
    let s = Surroundings {
        uat: &b.uat,
        trace: &b.trace,
        mailbox: 0,
    };
    b.rtkit.log(&s, line);
    b.out()
}

#[test]
fn log_lines() {
    let mut b = Bench::new(&[]);
    assert_eq!(log(&mut b, "early"), [(0, 0x0010_0000_000c_000b)]);
    b.until_system();
    b.ask(1, 0x0012_0fae_0000_0000);
    // The early line comes out with the buffer.
    assert_eq!(
        b.ask(2, 0x0010_4fae_0002_0000),
        [(2, 0x0050_0000_0000_0000)]
    );
    let entry = BASE + 0x1_0000 + 0x2_0000;
    let mut text = [0; 6];
    b.mem.read(entry + 0x20, &mut text).unwrap();
    assert_eq!(&text, b"early\0");
    assert_eq!(b.mem.read_u32(entry + 8), Ok(0x0078_6761));
    for i in 1..64 {
        assert_eq!(log(&mut b, "x"), [(2, 0x0050_0000_0000_0000 | i)]);
    }
    // All entries are out: the next one waits for the first to come back.
    assert_eq!(log(&mut b, &"y".repeat(300)), []);
    assert_eq!(b.ask(2, 0x0050_0000_0000_0001), []);
    assert_eq!(
        b.ask(2, 0x0050_0000_0000_0000),
        [(2, 0x0050_0000_0000_0000), (2, 0x0050_0000_0000_0001)]
    );
    assert_eq!(b.complaints(), 0);
    b.ask(2, 0x0050_0000_0000_0040);
    assert_eq!(b.complaints(), 1);
}

#[test]
fn crash() {
    let mut b = Bench::new(&[]);
    b.until_on();
    let s = Surroundings {
        uat: &b.uat,
        trace: &b.trace,
        mailbox: 0,
    };
    b.rtkit.crash(&s, "why not", &[]);
    b.rtkit.crash(&s, "again", &[]);
    assert_eq!(b.out(), [(1, 0x0012_0fae_0000_0000)]);
    assert_eq!(b.mem.read_u32(BASE + 0x1_0000), Ok(0x434c_4845));
    assert!(b.rtkit.deaf());
    assert_eq!(b.complaints(), 0);
}

#[test]
fn faults() {
    let mut b = Bench::new(&[Fault::NoAnswer]);
    assert!(b.out().is_empty() && b.rtkit.deaf());

    let mut b = Bench::new(&[Fault::BadHello]);
    assert_eq!(b.out(), [(0, 0x0010_0000_7001_7000)]);

    let mut b = Bench::new(&[Fault::CrashAtBoot]);
    b.until_system();
    b.ask(1, 0x0012_0fae_0000_0000);
    b.ask(2, 0x0010_4fae_0002_0000);
    b.ask(4, 0x0010_4fae_0002_4000);
    assert_eq!(b.ask(8, OSLOG), [(1, 0x0012_0fae_0000_0000)]);

    let mut b = Bench::new(&[Fault::Deaf(3)]);
    b.until_system();
    assert!(b.rtkit.deaf());
}
