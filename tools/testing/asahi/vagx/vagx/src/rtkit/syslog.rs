// SPDX-License-Identifier: MIT OR Apache-2.0

//! The syslog endpoint: lines that the kernel prints.
//!
//! A buffer of entries, each with a header of 32 bytes (two words, then 24 bytes that name the
//! context) and a text. A message names an entry; the AP sends the message back when it has read
//! it, and until then the entry is not written again.

use std::collections::VecDeque;

use super::buffer::Buffer;
use super::{Surroundings, ep};
use crate::mailbox::Message;

const INIT: u64 = 8;
const LOG: u64 = 5;
const ENTRIES: usize = 0x40;
const HEADER: usize = 0x20;
/// Bytes of text of an entry, with the terminating zero.
const TEXT: usize = 0xe0;
/// Lines that wait for a free entry; more than that are lost.
const WAITING: usize = 512;
const CONTEXT: &[u8] = b"agx";

pub struct Syslog {
    buffer: Buffer,
    busy: [bool; ENTRIES],
    next: usize,
    waiting: VecDeque<String>,
}

impl Default for Syslog {
    fn default() -> Self {
        Self {
            buffer: Buffer::new("syslog", (ENTRIES * (HEADER + TEXT)) as u64),
            busy: [false; ENTRIES],
            next: 0,
            waiting: VecDeque::new(),
        }
    }
}

impl Syslog {
    pub fn ready(&self) -> bool {
        self.buffer.ready()
    }

    /// Tells the AP the entries' number and size, and asks for the memory.
    pub fn start(&self, out: &mut Vec<Message>) {
        let sizes = (TEXT as u64) << 24 | ENTRIES as u64;
        out.push((ep::SYSLOG, INIT << 52 | sizes));
        out.push(self.buffer.request(ep::SYSLOG));
    }

    /// Handles the AP's message: the buffer, or an entry given back.
    pub fn receive(&mut self, s: &Surroundings<'_>, msg: u64, out: &mut Vec<Message>) {
        if !self.ready() {
            self.buffer.answered(s, msg);
        } else {
            match self.busy.get_mut(msg as usize & 0xff) {
                Some(busy) if *busy && msg >> 8 == LOG << 44 => *busy = false,
                _ => s.complain("syslog", msg, "not an entry that was sent, given back"),
            }
        }
        self.flush(s, out);
    }

    /// Adds a line; one that is too long for an entry becomes several.
    pub fn log(&mut self, s: &Surroundings<'_>, line: &str, out: &mut Vec<Message>) {
        let mut rest = line;
        while !rest.is_empty() {
            let mut cut = rest.len().min(TEXT - 1);
            while !rest.is_char_boundary(cut) {
                cut -= 1;
            }
            let (now, later) = rest.split_at(cut);
            if self.waiting.len() < WAITING {
                self.waiting.push_back(now.to_owned());
            }
            rest = later;
        }
        self.flush(s, out);
    }

    fn flush(&mut self, s: &Surroundings<'_>, out: &mut Vec<Message>) {
        while self.ready() && !self.busy[self.next] {
            let Some(line) = self.waiting.pop_front() else {
                break;
            };
            let mut entry = [0; HEADER + TEXT];
            entry[8..8 + CONTEXT.len()].copy_from_slice(CONTEXT);
            entry[HEADER..HEADER + line.len()].copy_from_slice(line.as_bytes());
            let offset = (self.next * entry.len()) as u64;
            if self.buffer.write(s, offset, &entry) {
                out.push((ep::SYSLOG, LOG << 52 | self.next as u64));
                self.busy[self.next] = true;
                self.next = (self.next + 1) % ENTRIES;
            }
        }
    }
}
