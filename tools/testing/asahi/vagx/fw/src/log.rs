// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the firmware sends to the driver: events, log lines, statistics.
//!
//! m1n1 `fw/agx/channels.py` (`EventMsg`, `FWLogMsg`, `StatsMsg`). A log line is a payload in a buffer of its own and
//! an entry in a ring that names the payload.

use vagx_trace::Level;

use crate::channel::{RxRing, Sent};
use crate::layout::channels::{
    EVENT_SIZE, FWLOG_PAYLOAD_SIZE, FWLOG_SIZE, FWLOG_TEXT, RING_ENTRIES,
};
use crate::mem::{FwMem, Place, Result};

/// Rings of the log, by severity.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Severity {
    Debug = 0,
    Info = 1,
    Warning = 3,
    Error = 4,
}

/// Messages on the event channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Fault,
    /// Stamps of these event slots have moved.
    Flag([u32; 4]),
    Timeout {
        counter: u32,
        event_slot: u32,
    },
    /// A tiler buffer is too small.
    GrowTvb {
        vm_slot: u32,
        buffer_slot: u32,
        counter: u32,
    },
    ChannelError {
        error_type: u32,
        pipe_type: u32,
        event_slot: u32,
        event_value: u32,
    },
    /// Not a message that exists; for fault injection.
    Nonsense(u32),
}

/// Value of a channel error's type: the firmware could not make an access.
pub(crate) const MEMORY_ERROR: u32 = 1;

impl Event {
    fn name(self) -> &'static str {
        match self {
            Event::Fault => "Fault",
            Event::Flag(_) => "Flag",
            Event::Timeout { .. } => "Timeout",
            Event::GrowTvb { .. } => "GrowTVB",
            Event::ChannelError { .. } => "ChannelError",
            Event::Nonsense(_) => "nonsense",
        }
    }

    fn bytes(self) -> [u8; EVENT_SIZE as usize] {
        let words: [u32; 5] = match self {
            Event::Fault => [0; 5],
            Event::Flag([a, b, c, d]) => [1, a, b, c, d],
            Event::Timeout {
                counter,
                event_slot,
            } => [4, counter, 0, event_slot, 0],
            Event::GrowTvb {
                vm_slot,
                buffer_slot,
                counter,
            } => [7, vm_slot, buffer_slot, counter, 0],
            Event::ChannelError {
                error_type,
                pipe_type,
                event_slot,
                event_value,
            } => [8, error_type, pipe_type, event_slot, event_value],
            Event::Nonsense(seed) => [seed, u32::MAX, u32::MAX, u32::MAX, u32::MAX],
        };
        let mut bytes = [0; EVENT_SIZE as usize];
        for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// The rings that the driver reads.
pub(crate) struct Outgoing {
    pub mem: FwMem,
    pub event: RxRing,
    /// By severity.
    pub fwlog: Vec<RxRing>,
    pub fwlog_buf: u64,
    pub stats: RxRing,
    pub stats_size: u32,
    pub lines: u32,
}

impl Outgoing {
    pub(crate) fn event(&mut self, event: Event) -> Result<Sent> {
        self.event.send(event.name(), &event.bytes())
    }

    /// Puts a line into the log. A log that the driver does not read loses lines, nothing more.
    pub(crate) fn line(&mut self, severity: Severity, ticks: u64, text: &str) -> Result<()> {
        let sub = severity as usize;
        let Some(ring) = self.fwlog.get_mut(sub) else {
            return Ok(());
        };
        let index = ring.next();
        let payload_index = sub as u64 * u64::from(RING_ENTRIES) + u64::from(index);
        let offset = payload_index * u64::from(FWLOG_PAYLOAD_SIZE);
        let mut payload = [0; FWLOG_PAYLOAD_SIZE as usize];
        payload[..4].copy_from_slice(&3u32.to_le_bytes());
        payload[4..8].copy_from_slice(&self.lines.to_le_bytes());
        payload[8..16].copy_from_slice(&ticks.to_le_bytes());
        // The text is ended by a zero byte.
        let text = text.as_bytes();
        let text = &text[..text.len().min(FWLOG_TEXT - 1)];
        payload[16..16 + text.len()].copy_from_slice(text);
        let place = Place {
            structure: "RuntimePointers",
            field: "fwlog_buf",
            offset,
            address: self.fwlog_buf.wrapping_add(offset),
        };
        self.mem.write(place, place.address, &payload)?;

        let mut entry = [0; FWLOG_SIZE as usize];
        entry[..4].copy_from_slice(&2u32.to_le_bytes());
        entry[8..16].copy_from_slice(&u64::from(index).to_le_bytes());
        self.lines = self.lines.wrapping_add(1);
        if ring.send("line", &entry)? == Sent::Full && ring.lost == 1 {
            let line = format!("the driver does not read the log ring \"{}\"", ring.name());
            self.mem.trace().log(Level::Info, &line);
        }
        Ok(())
    }

    /// Puts a statistics message of this kind into its ring; a full ring drops it.
    pub(crate) fn statistics(&mut self, kind: u32, words: &[u64]) -> Result<()> {
        let mut bytes = vec![0; self.stats_size as usize];
        let fields = std::iter::once(kind.to_le_bytes().to_vec())
            .chain(words.iter().map(|w| w.to_le_bytes().to_vec()))
            .flatten();
        for (to, from) in bytes.iter_mut().zip(fields) {
            *to = from;
        }
        self.stats.send("statistics", &bytes).map(drop)
    }
}

/// Kinds of statistics messages.
pub(crate) mod stats {
    /// 64 bits: ticks the GPU was off.
    pub(crate) const POWER_ON: u32 = 2;
    /// 64 bits: timestamp; 32 bits: whether the firmware has work.
    pub(crate) const FW_BUSY: u32 = 0xc;
}
