// SPDX-License-Identifier: MIT OR Apache-2.0

//! Stamps, the list of pending ones, and when the driver is told.
//!
//! A command ends with two writes: the firmware's own stamp, which barriers look at, and the shared one, which the
//! driver looks at. The driver is told by a Flag event, but only when the notifier's count of finished commands has
//! reached the threshold that the driver set: it collects the commands that belong together. (m1n1
//! `fw/agx/cmdqueue.py` `EventControl`; AsahiLinux/docs `hw/soc/agx.md` "Event Management".)

use std::collections::HashMap;

use crate::initdata::Booted;
use crate::layout::Abi;
use crate::layout::{Field, Shape};
use crate::mem::{FwMem, Place, Result, place};

/// What the end of a command writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StampUpdate {
    pub stamp: u64,
    pub fw_stamp: u64,
    pub value: u32,
    pub slot: u32,
    pub notifier: u64,
    pub threshold: u64,
}

impl StampUpdate {
    fn place(field: &'static str, va: u64) -> Place {
        Place {
            structure: "RunCompute.meta",
            field,
            offset: 0,
            address: va,
        }
    }

    /// What FinalizeCompute does.
    pub(crate) fn write_private(&self, mem: &FwMem) -> Result<()> {
        mem.write_u32(
            Self::place("fw_stamp", self.fw_stamp),
            self.fw_stamp,
            self.value,
        )
    }

    /// What RetireStamp does. From here on the command's memory belongs to the driver again.
    pub(crate) fn write_shared(&self, mem: &FwMem) -> Result<()> {
        mem.write_u32(Self::place("stamp", self.stamp), self.stamp, self.value)
    }
}

/// Entries in the list of pending stamps.
const PENDING: u32 = 256;
/// Bit of an entry that says that it is in use.
const PENDING_VALID: u32 = 1;

/// Writes an entry into the list of what is in progress, from which the driver learns after a fault whom it hit.
pub(crate) fn begin(mem: &FwMem, abi: &Abi, booted: &Booted, update: &StampUpdate) -> Result<u32> {
    for index in 0..PENDING {
        let (shape, base) = entry(abi, booted, index);
        let l = &abi.pending_stamp;
        if mem.load(shape, base, l.info)? == 0 {
            mem.store(shape, base, l.wait_value, update.value)?;
            let info = update.slot << abi.pending_slot_shift | PENDING_VALID;
            mem.store(shape, base, l.info, info)?;
            return Ok(index);
        }
    }
    let (shape, base) = entry(abi, booted, 0);
    let why = "every entry is in use, but the firmware runs one command on each engine";
    Err(mem.complain(place(shape, base, abi.pending_stamp.info), 0, why))
}

/// Removes an entry.
pub(crate) fn end(mem: &FwMem, abi: &Abi, booted: &Booted, index: u32) -> Result<()> {
    let (shape, base) = entry(abi, booted, index);
    mem.store(shape, base, abi.pending_stamp.info, 0)?;
    mem.store(shape, base, abi.pending_stamp.wait_value, 0)
}

fn entry(abi: &Abi, booted: &Booted, index: u32) -> (Shape, u64) {
    let shape = abi.pending_stamp.shape;
    let list: Field = abi.globals.pending_stamps;
    let offset = u64::from(list.offset) + u64::from(index) * u64::from(shape.size);
    (shape, booted.globals.wrapping_add(offset))
}

/// The notifiers with commands that the driver has not been told about.
#[derive(Default)]
pub(crate) struct Notifiers {
    pending: HashMap<u64, Untold>,
}

/// What the driver has not been told.
struct Untold {
    /// The client's context.
    context: u64,
    bits: [u32; 4],
}

impl Notifiers {
    /// Counts a finished command of that context. Returns the event slots that fire now.
    pub(crate) fn count(
        &mut self,
        mem: &FwMem,
        abi: &Abi,
        context: u64,
        update: &StampUpdate,
    ) -> Result<Option<[u32; 4]>> {
        let n = &abi.notifier;
        let count = mem
            .load(n.shape, update.notifier, n.cur_count)?
            .wrapping_add(1);
        mem.store(n.shape, update.notifier, n.cur_count, count)?;
        let untold = self.pending.entry(update.notifier).or_insert(Untold {
            context,
            bits: [0; 4],
        });
        if let Some(word) = untold.bits.get_mut(update.slot as usize / 32) {
            *word |= 1 << (update.slot % 32);
        }
        let at = place(n.shape, update.notifier, n.threshold);
        let threshold = mem.read_u32(at, update.threshold)?;
        let behind = threshold.wrapping_sub(count) as i32;
        if behind < 0 {
            let why = format!("{threshold:#x} is below the {count:#x} commands that have finished");
            mem.complain(at, update.threshold, why);
        }
        if behind > 0 {
            return Ok(None);
        }
        Ok(self.pending.remove(&update.notifier).map(|u| u.bits))
    }

    /// Whether there are commands that the driver has not been told about.
    pub(crate) fn waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Complains about notifiers that cannot reach their threshold any more, as there is no work left, and gives
    /// their events up.
    pub(crate) fn complain_stuck(&mut self, mem: &FwMem, abi: &Abi) {
        let n = &abi.notifier;
        for (notifier, Untold { bits, .. }) in self.pending.drain() {
            let at = place(n.shape, notifier, n.threshold);
            let count = mem.load(n.shape, notifier, n.cur_count).unwrap_or(0);
            let why = format!(
                "all queues are idle and {count:#x} commands have finished, but the threshold has not been reached: \
                 the driver is never told about the event slots {bits:x?}"
            );
            mem.complain(at, notifier, why);
        }
    }

    /// Forgets the notifiers of a context, whose memory the driver is about to take back.
    pub(crate) fn forget(&mut self, context: u64) {
        self.pending.retain(|_, untold| untold.context != context);
    }
}
