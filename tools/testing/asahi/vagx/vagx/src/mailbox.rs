// SPDX-License-Identifier: MIT OR Apache-2.0

//! The mailbox of the coprocessor, ASC version 4: a FIFO of 16 messages in each direction.
//!
//! Registers: AsahiLinux/docs `hw/soc/asc.md`, m1n1 `proxyclient/m1n1/hw/asc.py` (`R_MBOX_CTRL`,
//! `R_OUTBOX1`). Directions are named from the AP: A2I goes to the coprocessor, I2A comes from it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use vagx_trace::{Complaint, Trace};

use crate::lines::Lines;
use crate::rtkit;

/// Messages that a FIFO holds.
const DEPTH: usize = 16;
/// Messages that the crash log shows.
const HISTORY: usize = 16;

/// Register offsets inside the mailbox.
mod reg {
    pub const A2I_CONTROL: u64 = 0x110;
    pub const I2A_CONTROL: u64 = 0x114;
    pub const A2I_SEND0: u64 = 0x800;
    pub const A2I_SEND1: u64 = 0x808;
    pub const I2A_RECV0: u64 = 0x830;
    pub const I2A_RECV1: u64 = 0x838;
}

/// The lines, from the mailbox binding's point of view.
mod line {
    pub const SEND_EMPTY: u32 = 1 << 0;
    pub const SEND_NOT_EMPTY: u32 = 1 << 1;
    pub const RECV_EMPTY: u32 = 1 << 2;
    pub const RECV_NOT_EMPTY: u32 = 1 << 3;
}

/// A message: an endpoint and 64 bits.
pub type Message = (u8, u64);

/// A message that went by, with the time in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Past {
    pub endpoint: u8,
    pub message: u64,
    pub time: u32,
}

#[derive(Default)]
struct Fifo {
    messages: VecDeque<Message>,
    read: usize,
    written: usize,
    overflow: bool,
}

impl Fifo {
    fn full(&self) -> bool {
        self.messages.len() >= DEPTH
    }

    fn push(&mut self, m: Message) {
        self.messages.push_back(m);
        self.written += 1;
    }

    fn pop(&mut self) -> Option<Message> {
        let m = self.messages.pop_front()?;
        self.read += 1;
        Some(m)
    }

    /// ENABLE 0, WPTR 11:8, RPTR 15:12, FULL 16, EMPTY 17, OVERFLOW 18, FIFOCNT 23:20.
    fn control(&self) -> u32 {
        let n = self.messages.len();
        1 | ((self.written % DEPTH) << 8) as u32
            | ((self.read % DEPTH) << 12) as u32
            | u32::from(self.full()) << 16
            | u32::from(n == 0) << 17
            | u32::from(self.overflow) << 18
            | (n.min(DEPTH - 1) << 20) as u32
    }
}

struct State {
    a2i: Fifo,
    i2a: Fifo,
    /// What the coprocessor waits to send, since the AP has not read for long.
    backlog: VecDeque<Message>,
    send0: u64,
    history: VecDeque<Past>,
    total: u64,
}

/// The mailbox. The AP's side is registers, the coprocessor's side is methods.
pub struct Mailbox {
    state: Mutex<State>,
    lines: Arc<Lines>,
    trace: Trace,
    base: u64,
    start: Instant,
}

impl Mailbox {
    /// A mailbox whose registers the AP sees at `base`.
    pub fn new(lines: Arc<Lines>, trace: Trace, base: u64) -> Self {
        let m = Self {
            state: Mutex::new(State {
                a2i: Fifo::default(),
                i2a: Fifo::default(),
                backlog: VecDeque::new(),
                send0: 0,
                history: VecDeque::new(),
                total: 0,
            }),
            lines,
            trace,
            base,
            start: Instant::now(),
        };
        m.clear();
        m
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, s: &mut State, way: &str, (endpoint, message): Message) {
        s.total += 1;
        if s.history.len() == HISTORY {
            s.history.pop_front();
        }
        s.history.push_back(Past {
            endpoint,
            message,
            time: self.start.elapsed().as_micros() as u32,
        });
        if self.trace.wants_events() {
            let what = format!("{way}: {}", rtkit::name(endpoint, message));
            let args = [("ep", u64::from(endpoint).into()), ("msg", message.into())];
            self.trace.event("mailbox", &what, &args);
        }
    }

    /// Brings the lines to what the FIFOs say.
    fn update(&self, s: &State) {
        let pick = |empty, yes, no| if empty { yes } else { no };
        self.lines.set(
            pick(
                s.a2i.messages.is_empty(),
                line::SEND_EMPTY,
                line::SEND_NOT_EMPTY,
            ) | pick(
                s.i2a.messages.is_empty(),
                line::RECV_EMPTY,
                line::RECV_NOT_EMPTY,
            ),
        );
    }

    /// Empties everything, as the coprocessor's reset does.
    pub fn clear(&self) {
        let mut s = self.state();
        s.a2i = Fifo::default();
        s.i2a = Fifo::default();
        s.backlog.clear();
        s.send0 = 0;
        self.update(&s);
    }

    /// The coprocessor sends. It never has to wait: what finds no room goes out later.
    pub fn post(&self, message: Message) {
        let mut s = self.state();
        self.note(&mut s, "to AP", message);
        if s.i2a.full() {
            s.backlog.push_back(message);
        } else {
            s.i2a.push(message);
        }
        self.update(&s);
    }

    /// The coprocessor takes the next message.
    pub fn take(&self) -> Option<Message> {
        let mut s = self.state();
        let m = s.a2i.pop()?;
        self.update(&s);
        Some(m)
    }

    /// Gives the AP back what it has sent.
    pub fn echo(&self) {
        while let Some(message) = self.take() {
            self.post(message);
        }
    }

    /// The last messages, oldest first.
    pub fn history(&self) -> Vec<Past> {
        self.state().history.iter().copied().collect()
    }

    /// Messages in both directions since the start.
    pub fn total(&self) -> u64 {
        self.state().total
    }

    /// The AP has read everything that was sent.
    pub fn drained(&self) -> bool {
        self.state().i2a.messages.is_empty()
    }

    fn complain(&self, field: &str, offset: u64, value: u64, why: &str) {
        self.trace.complain(Complaint {
            structure: "asc mailbox",
            field,
            offset,
            value,
            address: self.base + offset,
            why: why.into(),
        });
    }

    /// The AP reads a register: `None` where there is none.
    pub fn read(&self, offset: u64) -> Option<u64> {
        let mut s = self.state();
        Some(match offset {
            reg::A2I_CONTROL => s.a2i.control().into(),
            reg::I2A_CONTROL => s.i2a.control().into(),
            reg::A2I_SEND0 => s.send0,
            reg::I2A_RECV0 | reg::I2A_RECV1 => {
                let Some(&(endpoint, message)) = s.i2a.messages.front() else {
                    drop(s);
                    let why = "read while there is no message";
                    self.complain("I2A_RECV", offset, 0, why);
                    return Some(0);
                };
                if offset == reg::I2A_RECV0 {
                    return Some(message);
                }
                // OUTCNT 56:52, INCNT 51:48, OUTPTR 47:44, INPTR 43:40, EP 7:0.
                let (inbox, outbox) = (s.a2i.messages.len(), s.i2a.messages.len());
                let second = u64::from(endpoint)
                    | (s.i2a.written as u64 & 15) << 40
                    | (s.i2a.read as u64 & 15) << 44
                    | (inbox.min(15) as u64) << 48
                    | (outbox as u64 & 31) << 52;
                s.i2a.pop();
                if let Some(next) = s.backlog.pop_front() {
                    s.i2a.push(next);
                }
                self.update(&s);
                second
            }
            _ => return None,
        })
    }

    /// The AP writes a register. Says whether there is such a register.
    pub fn write(&self, offset: u64, value: u64) -> bool {
        let mut s = self.state();
        match offset {
            reg::A2I_SEND0 => s.send0 = value,
            reg::A2I_SEND1 => {
                let message = (value as u8, s.send0);
                self.note(&mut s, "from AP", message);
                if s.a2i.full() {
                    s.a2i.overflow = true;
                    drop(s);
                    self.complain("A2I_SEND1", offset, value, "sent into a full FIFO");
                    return true;
                }
                s.a2i.push(message);
                self.update(&s);
                drop(s);
                if value >> 32 != 0 {
                    let why = "only the low 32 bits are the sender's";
                    self.complain("A2I_SEND1", offset, value, why);
                }
            }
            reg::A2I_CONTROL | reg::I2A_CONTROL | reg::I2A_RECV0 | reg::I2A_RECV1 => {
                drop(s);
                self.complain(
                    "read-only",
                    offset,
                    value,
                    "the AP only reads this register",
                );
            }
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox() -> (Mailbox, Arc<Lines>, Trace) {
        let lines = Arc::new(Lines::new());
        let trace = Trace::silent();
        let m = Mailbox::new(lines.clone(), trace.clone(), 0x2_0640_8000);
        (m, lines, trace)
    }

    const FULL: u64 = 1 << 16;
    const EMPTY: u64 = 1 << 17;

    #[test]
    fn both_ways() {
        let (m, lines, trace) = mailbox();
        assert_eq!(lines.pending(), 0b0101);
        assert_eq!(m.read(0x110), Some(EMPTY | 1));
        assert!(m.write(0x800, 0x1234_5678_9abc_def0) && m.write(0x808, 0x20));
        assert_eq!(lines.pending(), 0b0110);
        assert_eq!(m.read(0x110), Some(1 << 20 | 1 << 8 | 1));
        assert_eq!(m.take(), Some((0x20, 0x1234_5678_9abc_def0)));
        assert_eq!(m.take(), None);
        m.post((0, 77));
        m.post((2, 78));
        assert_eq!(lines.pending(), 0b1001);
        assert_eq!(m.read(0x114), Some(2 << 20 | 2 << 8 | 1));
        assert_eq!(m.read(0x830), Some(77));
        assert_eq!(m.read(0x838), Some(2 << 52 | 2 << 40));
        assert_eq!(m.read(0x830), Some(78));
        assert_eq!(m.read(0x838).map(|v| v as u8), Some(2));
        assert_eq!(lines.pending(), 0b0101);
        assert_eq!(trace.complaint_count(), 0);
        assert_eq!(m.history().len(), 3);
    }

    #[test]
    fn full() {
        let (m, _, trace) = mailbox();
        for i in 0..16 {
            assert_eq!(m.read(0x110).unwrap() & FULL, 0);
            m.write(0x800, i);
            m.write(0x808, 0x21);
        }
        assert_eq!(m.read(0x110).unwrap() & (FULL | EMPTY), FULL);
        m.write(0x808, 0x21);
        assert_eq!(trace.complaint_count(), 1);
        assert_eq!(m.read(0x110).unwrap() >> 18 & 1, 1);
        assert_eq!(m.take(), Some((0x21, 0)));
        assert_eq!(m.read(0x110).unwrap() & FULL, 0);
    }

    #[test]
    fn the_coprocessor_never_waits() {
        let (m, lines, _) = mailbox();
        for i in 0..40 {
            m.post((0x20, i));
        }
        assert_eq!(m.read(0x114).unwrap() & FULL, FULL);
        for i in 0..40 {
            assert_eq!(lines.pending() & 8, 8);
            assert_eq!(m.read(0x830), Some(i));
            m.read(0x838);
        }
        assert_eq!(lines.pending(), 0b0101);
    }

    #[test]
    fn misuse() {
        let (m, _, trace) = mailbox();
        assert_eq!(m.read(0x830), Some(0));
        m.write(0x808, 1 << 32);
        m.write(0x110, 0);
        assert_eq!(trace.complaint_count(), 3);
        assert_eq!(m.read(0x50), None);
        assert!(!m.write(0x50, 0));
        assert_eq!(trace.complaint_count(), 3);
    }

    #[test]
    fn echo() {
        let (m, lines, trace) = mailbox();
        m.write(0x800, 5);
        m.write(0x808, 0x21);
        m.echo();
        assert_eq!(lines.pending(), 0b1001);
        assert_eq!(m.read(0x830), Some(5));
        assert_eq!(m.read(0x838).map(|v| v as u8), Some(0x21));
        assert_eq!((m.take(), m.drained()), (None, true));
        assert_eq!(trace.complaint_count(), 0);
    }

    #[test]
    fn clear_empties() {
        let (m, lines, _) = mailbox();
        m.post((0, 1));
        m.write(0x808, 0);
        m.clear();
        assert_eq!(lines.pending(), 0b0101);
        assert_eq!((m.take(), m.drained()), (None, true));
    }
}
