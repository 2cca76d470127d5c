// SPDX-License-Identifier: MIT OR Apache-2.0

//! Channels: rings of small messages with a read and a write index.
//!
//! m1n1 `fw/agx/channels.py` (`Channel`), `agx/channels.py`. An index names the next entry to be read or written; the
//! ring is empty when both are equal, so one entry always stays free.

use vagx_trace::Arg;

use crate::layout::Field;
use crate::layout::Shape;
use crate::layout::initdata::ChannelRing;
use crate::mem::{FwMem, Place, Record, Result, Sharing, place};

/// Where the two indices of a channel are.
#[derive(Clone, Copy)]
pub(crate) struct Indices {
    pub shape: Shape,
    pub read: Field,
    pub write: Field,
}

/// A ring, as both directions have it.
pub(crate) struct Ring {
    mem: FwMem,
    /// Also the name of its row in the trace.
    pub name: String,
    indices: Indices,
    state: u64,
    base: u64,
    entries: u32,
    message: Shape,
    /// The index that is ours to move; memory has a copy of it.
    next: u32,
}

impl Ring {
    /// The place of an entry, for complaints.
    fn entry(&self, index: u32) -> (Place, u64) {
        let offset = u64::from(index) * u64::from(self.message.size);
        let address = self.base.wrapping_add(offset);
        let place = Place {
            structure: self.message.name,
            field: "entry",
            offset,
            address,
        };
        (place, address)
    }

    /// An index that the other side moves.
    fn theirs(&self, field: Field) -> Result<u32> {
        let index = self.mem.load(self.indices.shape, self.state, field)?;
        if index < self.entries {
            return Ok(index);
        }
        let why = format!("the ring \"{}\" has {:#x} entries", self.name, self.entries);
        Err(self.mem.complain(
            place(self.indices.shape, self.state, field),
            index.into(),
            why,
        ))
    }

    /// Our own index must be where we left it.
    fn check_ours(&self, field: Field) -> Result<()> {
        let index = self.mem.load(self.indices.shape, self.state, field)?;
        if index == self.next {
            return Ok(());
        }
        let why = format!(
            "the firmware left this index of \"{}\" at {:#x} and only the firmware may move it",
            self.name, self.next
        );
        Err(self.mem.complain(
            place(self.indices.shape, self.state, field),
            index.into(),
            why,
        ))
    }

    fn bump(&mut self, field: Field) -> Result<()> {
        self.next = (self.next + 1) % self.entries;
        self.mem
            .store(self.indices.shape, self.state, field, self.next)
    }
}

/// A ring that the driver writes.
pub(crate) struct TxRing(Ring);

/// A ring that the driver reads.
pub(crate) struct RxRing {
    ring: Ring,
    /// Messages that did not fit.
    pub lost: u64,
}

/// Builds the rings that one pair of pointers describes.
pub(crate) struct RingMaker<'a> {
    pub mem: &'a FwMem,
    pub layout: &'a ChannelRing,
    pub indices: Indices,
}

impl RingMaker<'_> {
    fn make(&self, pair: &Record, name: String, message: Shape, entries: u32, sub: u32) -> Ring {
        let state = pair.get(self.layout.state);
        let base = pair.get(self.layout.ring);
        let size = u64::from(message.size) * u64::from(entries);
        Ring {
            mem: self.mem.clone(),
            name,
            indices: self.indices,
            state: state.wrapping_add(u64::from(sub) * u64::from(self.indices.shape.size)),
            base: base.wrapping_add(u64::from(sub) * size),
            entries,
            message,
            next: 0,
        }
    }

    fn check_state(&self, pair: &Record, count: u32) -> Result<()> {
        let size = u64::from(self.indices.shape.size) * u64::from(count);
        pair.pointer_rw(self.layout.state, size, Sharing::Coherent)
            .map(drop)
    }

    /// A ring that the driver writes.
    pub(crate) fn tx(
        &self,
        pair: &Record,
        name: String,
        message: Shape,
        entries: u32,
    ) -> Result<TxRing> {
        self.check_state(pair, 1)?;
        let size = u64::from(message.size) * u64::from(entries);
        pair.pointer_ro(self.layout.ring, size)?;
        let ring = self.make(pair, name, message, entries, 0);
        ring.check_ours(self.indices.read)?;
        ring.theirs(self.indices.write)?;
        Ok(TxRing(ring))
    }

    /// `count` rings that the driver reads, side by side.
    pub(crate) fn rx(
        &self,
        pair: &Record,
        names: &[String],
        message: Shape,
        entries: u32,
    ) -> Result<Vec<RxRing>> {
        let count = names.len() as u32;
        self.check_state(pair, count)?;
        let size = u64::from(message.size) * u64::from(entries) * u64::from(count);
        pair.pointer_rw(self.layout.ring, size, Sharing::Coherent)?;
        let mut rings = Vec::new();
        for (sub, name) in (0..).zip(names) {
            let ring = self.make(pair, name.clone(), message, entries, sub);
            ring.check_ours(self.indices.write)?;
            ring.theirs(self.indices.read)?;
            rings.push(RxRing { ring, lost: 0 });
        }
        Ok(rings)
    }
}

impl TxRing {
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Gives every waiting message to `handle`, at most one turn of the ring. The read index moves after each, so
    /// that a driver that waits for it knows that the message has been acted on.
    pub(crate) fn drain(&mut self, mut handle: impl FnMut(&Record)) -> Result<u32> {
        let ring = &mut self.0;
        ring.check_ours(ring.indices.read)?;
        for count in 0..ring.entries {
            let write = ring.theirs(ring.indices.write)?;
            if write == ring.next {
                return Ok(count);
            }
            let (place, address) = ring.entry(ring.next);
            let message = ring.mem.record(place, ring.message, address)?;
            ring.mem.trace().event(
                &ring.name,
                ring.message.name,
                &[
                    ("index", ring.next.into()),
                    ("bytes", hex(message.bytes()).into()),
                ],
            );
            handle(&message);
            ring.bump(ring.indices.read)?;
        }
        Ok(ring.entries)
    }
}

/// Whether a message fitted into its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Yes,
    /// The driver has not read for a whole turn of the ring.
    Full,
}

impl RxRing {
    pub(crate) fn name(&self) -> &str {
        &self.ring.name
    }

    /// The entry that the next message goes to.
    pub(crate) fn next(&self) -> u32 {
        self.ring.next
    }

    pub(crate) fn send(&mut self, what: &str, bytes: &[u8]) -> Result<Sent> {
        let ring = &mut self.ring;
        let read = ring.theirs(ring.indices.read)?;
        if (ring.next + 1) % ring.entries == read {
            self.lost += 1;
            return Ok(Sent::Full);
        }
        let (place, address) = ring.entry(ring.next);
        let mut entry = bytes.to_vec();
        entry.resize(ring.message.size as usize, 0);
        ring.mem.write(place, address, &entry)?;
        let args: [(&str, Arg); 2] = [("index", ring.next.into()), ("bytes", hex(bytes).into())];
        ring.mem.trace().event(&ring.name, what, &args);
        ring.bump(ring.indices.write)?;
        Ok(Sent::Yes)
    }

    /// Puts a write index there that no ring can have.
    pub(crate) fn corrupt(&self) -> Result<()> {
        let ring = &self.ring;
        ring.mem
            .store(ring.indices.shape, ring.state, ring.indices.write, 0x1234)
    }

    /// Undoes [`RxRing::corrupt`].
    pub(crate) fn repair(&self) -> Result<()> {
        let ring = &self.ring;
        ring.mem.store(
            ring.indices.shape,
            ring.state,
            ring.indices.write,
            ring.next,
        )
    }
}

/// Bytes in hexadecimal, in groups of four; trailing zeroes are left out.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
    let used = used.next_multiple_of(4).min(bytes.len());
    let mut text = String::with_capacity(used * 9 / 4);
    for word in bytes.get(..used).unwrap_or(bytes).chunks(4) {
        if !text.is_empty() {
            text.push(' ');
        }
        for b in word.iter().rev() {
            text.push_str(&format!("{b:02x}"));
        }
    }
    text
}
