// SPDX-License-Identifier: MIT OR Apache-2.0

//! Messages from the AP, until the message thread gets to them.
//!
//! A doorbell says "look at that ring", so two of the same are as good as one: the inbox has a bit for each, and
//! cannot grow however often the guest rings.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Messages that are not doorbells and wait to be looked at; there is never a reason for so many.
const MAX_OTHERS: usize = 16;

/// What has arrived.
#[derive(Default)]
pub(crate) struct News {
    /// By channel number, for the pipes.
    pub pipes: u32,
    pub kick: bool,
    pub device_control: bool,
    pub fwctl: bool,
    /// Addresses from INIT messages.
    pub init: Vec<u64>,
    /// Messages that mean nothing to the firmware: endpoint and word.
    pub unknown: Vec<(u8, u64)>,
}

impl News {
    fn is_empty(&self) -> bool {
        self.pipes == 0
            && !self.kick
            && !self.device_control
            && !self.fwctl
            && self.init.is_empty()
            && self.unknown.is_empty()
    }
}

#[derive(Default)]
pub(crate) struct Inbox {
    news: Mutex<News>,
    arrived: Condvar,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message in. `ep` is 0x20 or 0x21.
    pub(crate) fn put(&self, ep: u8, msg: u64) {
        let mut news = self.lock();
        let (kind, channel) = (msg >> 48, msg & 0xffff);
        match (ep, kind) {
            (0x20, 0x81) if news.init.len() < MAX_OTHERS => {
                news.init.push(msg & ((1 << 44) - 1));
            }
            (0x21, 0x83) if channel < 0x10 => news.pipes |= 1 << channel,
            (0x21, 0x83) if channel == 0x10 => news.kick = true,
            (0x21, 0x83) if channel == 0x11 => news.device_control = true,
            (0x21, 0x84) => news.fwctl = true,
            _ if news.unknown.len() < MAX_OTHERS => news.unknown.push((ep, msg)),
            _ => {}
        }
        drop(news);
        self.arrived.notify_one();
    }

    pub(crate) fn wake(&self) {
        drop(self.lock());
        self.arrived.notify_all();
    }

    /// Takes what has arrived, waiting for it at most so long.
    pub(crate) fn take(&self, patience: Duration) -> News {
        let mut news = self.lock();
        if news.is_empty() {
            news = match self.arrived.wait_timeout(news, patience) {
                Ok((news, _)) => news,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        std::mem::take(&mut *news)
    }
}
