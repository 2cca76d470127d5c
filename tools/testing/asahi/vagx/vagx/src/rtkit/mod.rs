// SPDX-License-Identifier: MIT OR Apache-2.0

//! RTKit: the protocol that the coprocessor's operating system speaks over the mailbox.
//!
//! A state machine without time and without threads: [`Rtkit::receive`] takes one message of the
//! AP, puts answers into the outbox, and says what else has to happen.
//!
//! Message layouts: m1n1 `proxyclient/m1n1/fw/asc/*.py`, Linux `drivers/soc/apple/rtkit.c`.

mod buffer;
mod crashlog;
mod name;
mod syslog;
#[cfg(test)]
mod tests;

use vagx_trace::{Complaint, Level, Trace};
use vagx_uat::Uat;

use crate::fault::Fault;
use crate::mailbox::{Message, Past};
use buffer::Buffer;
use syslog::Syslog;

pub use name::name;

/// Endpoint numbers.
pub mod ep {
    pub const MANAGEMENT: u8 = 0;
    pub const CRASHLOG: u8 = 1;
    pub const SYSLOG: u8 = 2;
    pub const KDEBUG: u8 = 3;
    pub const IOREPORT: u8 = 4;
    pub const OSLOG: u8 = 8;
    /// The first of the application's: on the GPU's coprocessor, its firmware's messages.
    pub const FIRMWARE: u8 = 0x20;
    pub const DOORBELL: u8 = 0x21;
}

/// What the endpoint map shows, without the management endpoint that is always there.
const ENDPOINTS: [u8; 7] = [
    ep::CRASHLOG,
    ep::SYSLOG,
    ep::KDEBUG,
    ep::IOREPORT,
    ep::OSLOG,
    ep::FIRMWARE,
    ep::DOORBELL,
];

/// Types of management messages, bits 59:52.
mod mgmt {
    pub const HELLO: u64 = 1;
    pub const HELLO_REPLY: u64 = 2;
    pub const PING: u64 = 3;
    pub const PONG: u64 = 4;
    pub const START_EP: u64 = 5;
    pub const SET_IOP_POWER: u64 = 6;
    pub const IOP_POWER_ACK: u64 = 7;
    pub const EPMAP: u64 = 8;
    pub const AP_POWER: u64 = 0xb;
}

/// Protocol versions of the firmware.
const VERSIONS: (u64, u64) = (11, 12);

/// Power states, of either processor.
pub mod power {
    pub const OFF: u16 = 0;
    pub const SLEEP: u16 = 1;
    pub const QUIESCED: u16 = 0x10;
    pub const ON: u16 = 0x20;
    pub const IDLE: u16 = 0x201;
    pub const INIT: u16 = 0x220;
}

const EPMAP_LAST: u64 = 1 << 51;
const EPMAP_MORE: u64 = 1;

/// How far the boot has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// HELLO is out.
    Hello,
    /// The map's word of this number is out.
    Map(usize),
    /// The AP starts the system's endpoints, which ask for their buffers.
    System,
    /// Up; the power states say the rest.
    Up,
    /// Gone to sleep; a new boot is needed.
    Asleep,
    /// Off until the processor is started again.
    Off,
    /// Crashed, or told to be deaf.
    Dead,
}

/// What a message asks for beyond answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    None,
    /// The application has a message.
    Application(u8, u64),
    /// The application has to stop; then [`Rtkit::stopped`] answers.
    Stop(u16),
    /// The application has to start anew; then [`Rtkit::boot`].
    Start,
}

/// The surroundings of the state machine.
pub struct Surroundings<'a> {
    pub uat: &'a Uat,
    pub trace: &'a Trace,
    /// Where the AP's messages came in, for complaints.
    pub mailbox: u64,
}

/// The operating system of the coprocessor.
pub struct Rtkit {
    phase: Phase,
    started: [bool; 256],
    iop: u16,
    ap: u16,
    crashlog: Buffer,
    ioreport: Buffer,
    oslog: Buffer,
    syslog: Syslog,
    outbox: Vec<Message>,
    /// Messages taken, for the fault that goes deaf after a number of them.
    taken: u64,
    faults: Vec<Fault>,
}

fn kind(msg: u64) -> u64 {
    msg >> 52 & 0xff
}

fn management(kind: u64, rest: u64) -> Message {
    (ep::MANAGEMENT, kind << 52 | rest)
}

impl Rtkit {
    /// Not booted yet, with the faults it has to commit.
    pub fn new(faults: &[Fault]) -> Self {
        Self {
            phase: Phase::Off,
            started: [false; 256],
            iop: power::OFF,
            ap: power::OFF,
            // The size is what AsahiLinux/docs `hw/soc/agx.md` ("Crashlog Endpoint") recorded.
            crashlog: Buffer::new("crashlog", 0x2_0000),
            ioreport: Buffer::new("ioreport", 0x4000),
            oslog: Buffer::new("oslog", 0x4000),
            syslog: Syslog::default(),
            outbox: Vec::new(),
            taken: 0,
            faults: faults.to_vec(),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// Forgets everything, as the processor's start does. Lines may be logged from here on.
    pub fn reset(&mut self) {
        *self = Self::new(&std::mem::take(&mut self.faults));
    }

    /// The first words after the processor's start.
    pub fn boot(&mut self) {
        if self.has(Fault::NoAnswer) {
            self.phase = Phase::Dead;
            return;
        }
        let (min, max) = if self.has(Fault::BadHello) {
            // Newer than anything.
            (0x7000, 0x7001)
        } else {
            VERSIONS
        };
        self.phase = Phase::Hello;
        self.outbox.push(management(mgmt::HELLO, max << 16 | min));
    }

    /// What has to go out.
    pub fn outbox(&mut self) -> impl Iterator<Item = Message> + '_ {
        self.outbox.drain(..)
    }

    /// The processor does not take messages any more.
    pub fn deaf(&self) -> bool {
        self.phase == Phase::Dead
    }

    /// Handles a message of the AP.
    pub fn receive(&mut self, s: &Surroundings<'_>, endpoint: u8, msg: u64) -> Effect {
        self.taken += 1;
        if self
            .faults
            .iter()
            .any(|f| matches!(f, Fault::Deaf(n) if self.taken > *n))
        {
            self.phase = Phase::Dead;
            return Effect::None;
        }
        match endpoint {
            ep::MANAGEMENT => return self.management(s, msg),
            e if !self.started[usize::from(e)] => {
                self.complain(
                    s,
                    "endpoint",
                    e.into(),
                    "message to an endpoint not started",
                );
            }
            ep::CRASHLOG => {
                self.crashlog.answered(s, msg);
                self.go_up(s);
            }
            ep::IOREPORT => self.ioreport(s, msg),
            ep::OSLOG => {
                self.oslog.answered_oslog(s, msg);
                self.go_up(s);
            }
            ep::SYSLOG => {
                self.syslog.receive(s, msg, &mut self.outbox);
                self.go_up(s);
            }
            ep::KDEBUG => self.complain(s, "kdebug", msg, "nothing was asked for"),
            _ if self.iop != power::ON || self.ap != power::ON => {
                let why = "message to the application while not both processors are on";
                self.complain(s, "application", msg, why);
            }
            _ => return Effect::Application(endpoint, msg),
        }
        Effect::None
    }

    fn management(&mut self, s: &Surroundings<'_>, msg: u64) -> Effect {
        let state = msg as u16;
        match (kind(msg), self.phase) {
            (mgmt::SET_IOP_POWER, Phase::Asleep) => return self.wake(s, state),
            (_, Phase::Asleep | Phase::Off) => {
                let why = "message to a processor that is asleep or off";
                self.complain(s, "management", msg, why);
            }
            (mgmt::HELLO_REPLY, Phase::Hello) => self.hello_reply(s, msg),
            (mgmt::EPMAP, Phase::Map(word)) => self.map_reply(s, word, msg),
            (mgmt::START_EP, Phase::System | Phase::Up) => self.start_endpoint(s, msg),
            (mgmt::AP_POWER, Phase::Up) => self.ap_power(s, state),
            (mgmt::SET_IOP_POWER, Phase::Up) => return self.iop_power(s, state),
            (mgmt::PING, _) => self.outbox.push(management(mgmt::PONG, 0)),
            (_, phase) => {
                let why = format!("not a message for this point of the boot ({phase:?})");
                self.complain(s, "management", msg, &why);
            }
        }
        Effect::None
    }

    fn hello_reply(&mut self, s: &Surroundings<'_>, msg: u64) {
        let (min, max) = (msg & 0xffff, msg >> 16 & 0xffff);
        if min != max || !(VERSIONS.0..=VERSIONS.1).contains(&min) {
            self.complain(s, "HELLO", msg, "no version of those that were offered");
        }
        self.send_map(0);
    }

    /// Word `word` of the endpoint map; the map ends with the word of the last endpoint.
    fn send_map(&mut self, word: usize) {
        let bitmap = ENDPOINTS
            .into_iter()
            .chain([ep::MANAGEMENT])
            .filter(|e| usize::from(e / 32) == word)
            .fold(0, |bits, e| bits | 1u64 << (e % 32));
        let last = ENDPOINTS.iter().all(|e| usize::from(e / 32) <= word);
        let last = if last { EPMAP_LAST } else { 0 };
        let base = (word as u64) << 32;
        self.outbox
            .push(management(mgmt::EPMAP, last | base | bitmap));
        self.phase = Phase::Map(word);
    }

    fn map_reply(&mut self, s: &Surroundings<'_>, word: usize, msg: u64) {
        let last = ENDPOINTS.iter().all(|e| usize::from(e / 32) <= word);
        let flag = if last { EPMAP_LAST } else { EPMAP_MORE };
        let want = management(mgmt::EPMAP, (word as u64) << 32 | flag).1;
        if msg != want {
            self.complain(s, "EPMAP", msg, &format!("the answer should be {want:#x}"));
        }
        if last {
            self.phase = Phase::System;
        } else {
            self.send_map(word + 1);
        }
    }

    fn start_endpoint(&mut self, s: &Surroundings<'_>, msg: u64) {
        const START: u64 = 2;
        let endpoint = (msg >> 32) as u8;
        let known = ENDPOINTS.contains(&endpoint);
        if msg != management(mgmt::START_EP, u64::from(endpoint) << 32 | START).1 || !known {
            return self.complain(
                s,
                "STARTEP",
                msg,
                "not an endpoint of the map, or not a start",
            );
        }
        if std::mem::replace(&mut self.started[usize::from(endpoint)], true) {
            return self.complain(s, "STARTEP", msg, "this endpoint is started already");
        }
        match endpoint {
            ep::CRASHLOG => self.outbox.push(self.crashlog.request(ep::CRASHLOG)),
            ep::IOREPORT => self.outbox.push(self.ioreport.request(ep::IOREPORT)),
            ep::OSLOG => self.outbox.push(self.oslog.request_oslog()),
            ep::SYSLOG => self.syslog.start(&mut self.outbox),
            _ => {}
        }
        self.go_up(s);
    }

    fn ioreport(&mut self, s: &Surroundings<'_>, msg: u64) {
        const START: u64 = 0xc << 52;
        if !self.ioreport.ready() {
            self.ioreport.answered(s, msg);
            self.outbox.push((ep::IOREPORT, START));
            self.go_up(s);
        } else if msg != START {
            self.complain(s, "ioreport", msg, "not what was sent, given back");
        }
    }

    /// The system is up when its endpoints have been started and have their buffers.
    fn go_up(&mut self, s: &Surroundings<'_>) {
        let started = ENDPOINTS
            .iter()
            .filter(|e| **e < ep::FIRMWARE)
            .all(|e| self.started[usize::from(*e)]);
        let buffers = self.crashlog.ready() && self.ioreport.ready() && self.oslog.ready();
        if self.phase != Phase::System || !started || !buffers || !self.syslog.ready() {
            return;
        }
        self.phase = Phase::Up;
        if self.has(Fault::CrashAtBoot) {
            return self.crash(s, "told to crash at boot", &[]);
        }
        if self.has(Fault::NoPower) {
            return;
        }
        self.iop = power::ON;
        self.outbox
            .push(management(mgmt::IOP_POWER_ACK, power::ON.into()));
        s.trace.event("rtkit", "system up", &[]);
    }

    fn known_state(&self, s: &Surroundings<'_>, state: u16) {
        use power::*;
        if ![OFF, SLEEP, QUIESCED, ON, IDLE, INIT].contains(&state) {
            self.complain(s, "power state", state.into(), "not a power state");
        }
    }

    fn ap_power(&mut self, s: &Surroundings<'_>, state: u16) {
        self.known_state(s, state);
        if self.iop != power::ON {
            let why = "the AP's state is told while the coprocessor is not on";
            self.complain(s, "AP power", state.into(), why);
        }
        self.ap = state;
        self.outbox.push(management(mgmt::AP_POWER, state.into()));
    }

    fn iop_power(&mut self, s: &Surroundings<'_>, state: u16) -> Effect {
        self.known_state(s, state);
        match state {
            power::ON | power::INIT => {
                self.iop = power::ON;
                self.outbox
                    .push(management(mgmt::IOP_POWER_ACK, power::ON.into()));
                return Effect::None;
            }
            _ if self.ap == power::ON => {
                let why = "the coprocessor is to rest while the AP counts on it";
                self.complain(s, "IOP power", state.into(), why);
            }
            _ => {}
        }
        self.iop = state;
        match state {
            power::SLEEP | power::OFF => Effect::Stop(state),
            power::QUIESCED => {
                // No messages until it is woken, and then all is negotiated again.
                self.phase = Phase::Asleep;
                self.outbox
                    .push(management(mgmt::IOP_POWER_ACK, state.into()));
                Effect::None
            }
            _ => {
                self.outbox
                    .push(management(mgmt::IOP_POWER_ACK, state.into()));
                Effect::None
            }
        }
    }

    /// The application has stopped, as [`Effect::Stop`] asked.
    pub fn stopped(&mut self, state: u16) {
        self.phase = match state {
            power::OFF => Phase::Off,
            _ => Phase::Asleep,
        };
        self.outbox
            .push(management(mgmt::IOP_POWER_ACK, state.into()));
    }

    fn wake(&mut self, s: &Surroundings<'_>, state: u16) -> Effect {
        if !matches!(state, power::ON | power::INIT) {
            let why = "a processor that sleeps can only be woken";
            self.complain(s, "IOP power", state.into(), why);
            return Effect::None;
        }
        Effect::Start
    }

    /// A line for the kernel's log.
    pub fn log(&mut self, s: &Surroundings<'_>, line: &str) {
        if !self.deaf() {
            self.syslog.log(s, line, &mut self.outbox);
        }
    }

    /// The firmware crashes: the log goes into its buffer, the AP is told, and that is all.
    pub fn crash(&mut self, s: &Surroundings<'_>, why: &str, history: &[Past]) {
        if self.deaf() {
            return;
        }
        self.phase = Phase::Dead;
        s.trace.log(Level::Warn, &format!("firmware crash: {why}"));
        s.trace.event("rtkit", "crash", &[("why", why.into())]);
        let log = crashlog::build(why, history);
        if self.crashlog.write(s, 0, &log) {
            self.outbox.push(self.crashlog.announce(ep::CRASHLOG));
        }
    }

    fn complain(&self, s: &Surroundings<'_>, field: &str, value: u64, why: &str) {
        s.complain(field, value, why);
    }
}

impl Surroundings<'_> {
    fn complain(&self, field: &str, value: u64, why: &str) {
        self.trace.complain(Complaint {
            structure: "rtkit",
            field,
            offset: 0,
            value,
            address: self.mailbox,
            why: why.into(),
        });
    }
}
