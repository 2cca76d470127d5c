// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory that an endpoint asks the AP for, in the firmware's address space.

use vagx_uat::{Agent, Fault, PAGE_SIZE, canonical};

use super::{Surroundings, ep};
use crate::mailbox::Message;

/// Type of a request and of its answer.
const REQUEST: u64 = 1;

/// A buffer: asked for, then given.
pub struct Buffer {
    name: &'static str,
    size: u64,
    address: Option<u64>,
}

impl Buffer {
    pub fn new(name: &'static str, size: u64) -> Self {
        Self {
            name,
            size,
            address: None,
        }
    }

    /// The AP has given it.
    pub fn ready(&self) -> bool {
        self.address.is_some()
    }

    /// The request: TYPE 59:52, SIZE 51:44 in units of 4 KiB, IOVA 43:0 zero.
    pub fn request(&self, endpoint: u8) -> Message {
        (endpoint, REQUEST << 52 | self.size >> 12 << 44)
    }

    /// The same form, with the address: how a crash is told.
    pub fn announce(&self, endpoint: u8) -> Message {
        let iova = self.address.unwrap_or(0) & ((1 << 44) - 1);
        (endpoint, self.request(endpoint).1 | iova)
    }

    /// The request of the oslog endpoint: TYPE 63:56, SIZE 55:36 in bytes, IOVA 35:0 in 4 KiB.
    pub fn request_oslog(&self) -> Message {
        (ep::OSLOG, REQUEST << 56 | self.size << 36)
    }

    /// The AP's answer to [`request`](Self::request).
    pub fn answered(&mut self, s: &Surroundings<'_>, msg: u64) {
        if msg >> 52 != REQUEST {
            return s.complain(self.name, msg, "not the answer to a request for a buffer");
        }
        let iova = msg & ((1 << 44) - 1);
        self.given(s, msg, (msg >> 44 & 0xff) << 12, canonical(iova));
    }

    /// The AP's answer to [`request_oslog`](Self::request_oslog). An address has 48 bits here.
    pub fn answered_oslog(&mut self, s: &Surroundings<'_>, msg: u64) {
        if msg >> 56 != REQUEST {
            return s.complain(self.name, msg, "not the answer to a request for a buffer");
        }
        let iova = (msg & ((1 << 36) - 1)) << 12;
        self.given(s, msg, msg >> 36 & 0xf_ffff, canonical(iova));
    }

    fn given(&mut self, s: &Surroundings<'_>, msg: u64, size: u64, address: u64) {
        if self.ready() {
            return s.complain(self.name, msg, "this buffer was given before");
        }
        if size < self.size {
            let why = format!("{:#x} bytes were asked for", self.size);
            s.complain(self.name, size, &why);
        }
        if address == 0 {
            return s.complain(self.name, msg, "no buffer was given");
        }
        self.address = Some(address);
        // The firmware clears it, and so finds out at once if it is not mapped.
        let page = vec![0; PAGE_SIZE.min(self.size) as usize];
        let mut at = 0;
        while at < self.size && self.write(s, at, &page) {
            at += page.len() as u64;
        }
    }

    /// Writes into the buffer. A fault is a complaint; `false` then, and without a buffer.
    pub fn write(&self, s: &Surroundings<'_>, offset: u64, data: &[u8]) -> bool {
        let Some(address) = self.address else {
            return false;
        };
        let to = address.wrapping_add(offset);
        match s.uat.write(0, Agent::Firmware, to, data) {
            Ok(()) => true,
            Err(Fault {
                va, reason, level, ..
            }) => {
                let why = format!("the buffer is not writable here: {reason:?} at level {level}");
                s.complain(self.name, va, &why);
                false
            }
        }
    }
}
