// SPDX-License-Identifier: MIT OR Apache-2.0

//! The handoff region, which coordinates the two sides' changes to page tables and the firmware's cache.
//!
//! m1n1 `fw/agx/handoff.py`. The lock is Dekker's algorithm; `turn` is zero when it is the AP's turn. The region is
//! reached by physical address: it must work before any page table does.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::thread;
use std::time::{Duration, Instant};

use vagx_trace::Trace;
use vagx_uat::{BusError, PhysMem};

use crate::layout::{Field, layout};
use crate::mem::{FwMem, Place};

layout! {
    /// The region's first page.
    Handoff, "Handoff", V13_5, size 0x648 {
        magic_ap: 0x0, 8;
        magic_fw: 0x8, 8;
        lock_ap: 0x10, 1;
        lock_fw: 0x11, 1;
        turn: 0x14, 4;
        cur_slot: 0x18, 4;
        flush: 0x20, 0x618;
        unk2: 0x638, 1;
        unk3: 0x640, 8;
    }
}

layout! {
    /// A request to write back and drop a range of the firmware's cache; one for each context and one for the kernel.
    Flush, "Handoff.flush", V13_5, size 0x18 {
        state: 0x0, 8;
        addr: 0x8, 8;
        size: 0x10, 8;
    }
}

pub(crate) const MAGIC: u64 = 0x4b1d_0000_0000_0002;
/// Flush slots: 64 contexts, and the kernel's half as the last.
pub(crate) const FLUSH_SLOTS: u32 = 65;
/// Value of `cur_slot` while the firmware has no client's context loaded.
pub(crate) const NO_CONTEXT: u8 = 0;
/// Values of a flush slot's state.
pub(crate) const FLUSH_IDLE: u64 = 0;
pub(crate) const FLUSH_REQUESTED: u64 = 1;
pub(crate) const FLUSH_DONE: u64 = 2;
/// An AP that keeps the lock for longer has stopped, or never frees it.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// The firmware's side of the handoff.
pub(crate) struct HandoffRegion {
    phys: Arc<dyn PhysMem>,
    mem: FwMem,
    pa: u64,
    layout: Handoff,
    flush: Flush,
}

impl HandoffRegion {
    pub(crate) fn new(phys: Arc<dyn PhysMem>, mem: FwMem, pa: u64) -> Self {
        HandoffRegion {
            phys,
            mem,
            pa,
            layout: Handoff::V13_5,
            flush: Flush::V13_5,
        }
    }

    fn trace(&self) -> &Trace {
        self.mem.trace()
    }

    fn at(&self, field: Field) -> u64 {
        self.pa + u64::from(field.offset)
    }

    pub(crate) fn complain(&self, field: Field, value: u64, why: impl Into<String>) {
        let place = Place {
            structure: self.layout.shape.name,
            field: field.name,
            offset: field.offset.into(),
            address: self.at(field),
        };
        self.mem.complain(place, value, why);
    }

    /// The region is not RAM: nothing can work, and one complaint says so.
    fn no_ram<T>(&self, result: Result<T, BusError>) -> Option<T> {
        result
            .inspect_err(|e| {
                self.complain(self.layout.magic_ap, 0, format!("the handoff region: {e}"))
            })
            .ok()
    }

    /// What the firmware does at its start.
    pub(crate) fn boot(&self) {
        let Some(_lock) = self.lock() else {
            return;
        };
        self.no_ram(self.phys.write_u64(self.at(self.layout.magic_fw), MAGIC));
        self.trace().event("handoff", "magic_fw written", &[]);
    }

    /// Takes the lock and never frees it, for the fault that wants this.
    pub(crate) fn hold_lock(&self) {
        if let Some(lock) = self.lock() {
            std::mem::forget(lock);
        }
    }

    /// What must hold when the driver has sent the initialisation data.
    pub(crate) fn check_initialised(&self) {
        let l = &self.layout;
        if let Some(magic) = self.no_ram(self.phys.read_u64(self.at(l.magic_ap)))
            && magic != MAGIC
        {
            self.complain(
                l.magic_ap,
                magic,
                format!("expected {MAGIC:#x} before INIT"),
            );
        }
        if let Some(unk3) = self.no_ram(self.phys.read_u64(self.at(l.unk3)))
            && unk3 != 0
        {
            self.complain(l.unk3, unk3, "expected zero before INIT");
        }
        if let Some(slot) = self.no_ram(self.phys.read_u32(self.at(l.cur_slot)))
            && slot != 0
            && slot != u32::MAX
        {
            self.complain(
                l.cur_slot,
                slot.into(),
                "no context is current before INIT: 0 or all ones",
            );
        }
        for slot in 0..FLUSH_SLOTS {
            if let Some((state, ..)) = self.flush(slot)
                && state != FLUSH_IDLE
            {
                self.complain_flush(slot, self.flush.state, state, "expected zero before INIT");
            }
        }
    }

    /// Tells the AP which context the firmware has loaded.
    pub(crate) fn set_current(&self, slot: u32) {
        let at = self.at(self.layout.cur_slot);
        if self.phys.read_u32(at) == Ok(slot) {
            return;
        }
        if let Some(_lock) = self.lock() {
            self.no_ram(self.phys.write_u32(at, slot));
            self.trace()
                .event("handoff", "current context", &[("slot", slot.into())]);
        }
    }

    fn flush_at(&self, slot: u32) -> u64 {
        self.at(self.layout.flush) + u64::from(slot) * u64::from(self.flush.shape.size)
    }

    /// State, address and size of a flush slot.
    pub(crate) fn flush(&self, slot: u32) -> Option<(u64, u64, u64)> {
        let at = self.flush_at(slot);
        let word = |f: Field| self.no_ram(self.phys.read_u64(at + u64::from(f.offset)));
        Some((
            word(self.flush.state)?,
            word(self.flush.addr)?,
            word(self.flush.size)?,
        ))
    }

    /// Tells the AP that a flush is done.
    pub(crate) fn flush_done(&self, slot: u32) {
        let at = self.flush_at(slot) + u64::from(self.flush.state.offset);
        self.no_ram(self.phys.write_u64(at, FLUSH_DONE));
    }

    pub(crate) fn complain_flush(
        &self,
        slot: u32,
        field: Field,
        value: u64,
        why: impl Into<String>,
    ) {
        let place = Place {
            structure: self.flush.shape.name,
            field: field.name,
            offset: u64::from(slot) * u64::from(self.flush.shape.size) + u64::from(field.offset),
            address: self.flush_at(slot) + u64::from(field.offset),
        };
        self.mem.complain(place, value, why);
    }

    pub(crate) fn flush_layout(&self) -> &Flush {
        &self.flush
    }

    /// Takes the lock, with bounded patience.
    fn lock(&self) -> Option<HandoffLock<'_>> {
        let l = &self.layout;
        let deadline = Instant::now() + LOCK_PATIENCE;
        let (mine, theirs, turn) = (self.at(l.lock_fw), self.at(l.lock_ap), self.at(l.turn));
        let set = |v: u8| self.no_ram(self.phys.write_u8(mine, v));
        set(1)?;
        fence(Ordering::SeqCst);
        while self.no_ram(self.phys.read_u8(theirs))? != 0 {
            if Instant::now() > deadline {
                set(0)?;
                self.complain(
                    l.lock_ap,
                    1,
                    format!("the AP has held the lock for {LOCK_PATIENCE:?}"),
                );
                return None;
            }
            if self.no_ram(self.phys.read_u32(turn))? == 0 {
                set(0)?;
                while self.no_ram(self.phys.read_u32(turn))? == 0
                    && self.no_ram(self.phys.read_u8(theirs))? != 0
                    && Instant::now() <= deadline
                {
                    thread::sleep(Duration::from_micros(20));
                }
                set(1)?;
                fence(Ordering::SeqCst);
            }
        }
        Some(HandoffLock { region: self })
    }
}

struct HandoffLock<'a> {
    region: &'a HandoffRegion,
}

impl Drop for HandoffLock<'_> {
    fn drop(&mut self) {
        let r = self.region;
        r.no_ram(r.phys.write_u32(r.at(r.layout.turn), 0));
        r.no_ram(r.phys.write_u8(r.at(r.layout.lock_fw), 0));
    }
}
