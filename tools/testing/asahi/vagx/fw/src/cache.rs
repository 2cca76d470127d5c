// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the firmware's processor holds in its cache, and whether the driver has asked for it back.
//!
//! Pages that the driver maps as cached for the firmware are cached by virtual address and are not coherent with
//! anyone. Before such a page is unmapped or given to something else, the driver maps it uncached and asks the firmware,
//! by a slot of the handoff region and a FwCtl message, to write it back and drop it (m1n1 `fw/agx/handoff.py`,
//! `prepare_cacheflush`). Here stands which pages the firmware has touched through cached mappings. If one of them is
//! found unmapped or mapped elsewhere and nobody has asked for it, the firmware would go on with the old translation and
//! the old contents: that is a complaint.
//!
//! What counts as asking: a flush of the page's slot (64 for the kernel's half, else the context's number), and
//! DestroyContext, after which drivers reuse what the firmware had. A client's context must be flushed only while the
//! handoff region says that it is current, so its pages are forgotten when it is not any more.
//!
//! What cannot be checked: the TLB maintenance of the CPU, which is broadcast and which no device sees. So for uncached
//! mappings, and for all that the GPU does, the model acts as if a TLB were invalidated in the moment in which a table
//! changes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use vagx_trace::{Complaint, Trace};
use vagx_uat::{Agent, Attr, PAGE_SIZE, Pte, Uat, Watch};

/// Slot of the handoff region for the kernel's half.
const KERNEL_SLOT: u8 = 64;

/// Flush slot and address of a page.
type Key = (u8, u64);
type Pages = HashMap<Key, Pte>;

pub(crate) struct FwCache {
    uat: Uat,
    trace: Trace,
    /// Leaves through which the firmware has touched cached pages of the kernel's half.
    kernel: RwLock<Pages>,
    /// The same of the client's context that is current.
    client: RwLock<Pages>,
    /// The client's context that is current, or 0.
    current: AtomicU8,
    /// Pages and leaves that were looked up last and about which nothing was to be done, so that most accesses need no
    /// lock. Emptied under the lock under which pages are forgotten.
    recent: [AtomicU64; RECENT],
}

/// Places for pages that were looked up last.
const RECENT: usize = 256;

/// Where a page is noted, and the note: its address, slot and leaf in one word that is never zero in practice.
fn note((slot, va): Key, pte: Pte) -> (usize, u64) {
    let word = (va | u64::from(slot)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((word >> 56) as usize, word ^ pte.0)
}

fn key(ctx: u8, va: u64) -> Key {
    let slot = if va >> 63 != 0 { KERNEL_SLOT } else { ctx };
    (slot, va & !(PAGE_SIZE - 1))
}

impl FwCache {
    /// A cold cache. `uat` must not be watched.
    pub(crate) fn new(uat: Uat, trace: Trace) -> Self {
        FwCache {
            uat,
            trace,
            kernel: RwLock::default(),
            client: RwLock::default(),
            current: AtomicU8::new(0),
            recent: [const { AtomicU64::new(0) }; RECENT],
        }
    }

    fn pages(&self, slot: u8) -> &RwLock<Pages> {
        match slot {
            KERNEL_SLOT => &self.kernel,
            _ => &self.client,
        }
    }

    fn read(&self, slot: u8) -> RwLockReadGuard<'_, Pages> {
        let pages = self.pages(slot).read();
        pages.unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, slot: u8) -> RwLockWriteGuard<'_, Pages> {
        let pages = self.pages(slot).write();
        pages.unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called with a lock for writing.
    fn forget_recent(&self) {
        for note in &self.recent {
            note.store(0, Ordering::SeqCst);
        }
    }

    /// Whether a flush of that slot would be asked for before a page of it goes.
    fn matters(&self, slot: u8) -> bool {
        slot == KERNEL_SLOT || slot != 0 && slot == self.current.load(Ordering::SeqCst)
    }

    /// A page has gone that was not given back. To be called with the lock under which it is forgotten.
    fn complain(&self, (slot, va): Key, old: Pte, now: Option<Pte>) {
        self.forget_recent();
        let now_is = match now {
            Some(pte) => format!("is mapped to {:#x}", pte.address()),
            None => "is not mapped".into(),
        };
        self.trace.complain(Complaint {
            structure: "UAT",
            field: "leaf",
            offset: va,
            value: now.map_or(0, |pte| pte.0),
            address: va,
            why: format!(
                "stale translation: the firmware has this page of slot {slot} in its cache as {:#x}, and it {now_is} now; \
                 a flush by that slot of the handoff region and FwCtl is missing before the change",
                old.address()
            ),
        });
    }

    /// The driver has these pages back.
    pub(crate) fn flushed(&self, slot: u32, address: u64, pages: u64) {
        let end = address.saturating_add(pages.saturating_mul(PAGE_SIZE));
        for half in [KERNEL_SLOT, 0] {
            let mut pages = self.write(half);
            pages.retain(|(s, va), _| u32::from(*s) != slot || !(address..end).contains(va));
            self.forget_recent();
        }
    }

    /// The driver has everything back.
    pub(crate) fn flushed_all(&self) {
        for half in [KERNEL_SLOT, 0] {
            let mut pages = self.write(half);
            pages.clear();
            self.forget_recent();
        }
    }

    /// Another context becomes current. To be called before the handoff region says so if it is none, after it
    /// otherwise.
    pub(crate) fn switch(&self, current: u8) {
        let mut pages = self.write(0);
        if self.current.swap(current, Ordering::SeqCst) != current && !pages.is_empty() {
            pages.clear();
            self.forget_recent();
        }
    }

    /// Looks at all pages whether they are still what they were.
    pub(crate) fn check(&self) {
        for half in [KERNEL_SLOT, 0] {
            // Under the lock, so that what is flushed and unmapped meanwhile does not look stale.
            self.write(half).retain(|&(slot, va), old| {
                let ctx = if slot == KERNEL_SLOT { 0 } else { slot };
                let now = self.uat.walk(ctx, Agent::Firmware, va).ok();
                let same = now.is_some_and(|pte| pte.address() == old.address());
                if !same {
                    self.complain((slot, va), *old, now);
                }
                same
            });
        }
    }
}

impl Watch for FwCache {
    fn used(&self, ctx: u8, va: u64, pte: Pte) {
        let key = key(ctx, va);
        let (place, note) = note(key, pte);
        let recent = self.recent.get(place);
        if recent.is_some_and(|r| r.load(Ordering::SeqCst) == note) {
            return;
        }
        {
            let pages = self.read(key.0);
            let nothing_to_do = match pages.get(&key) {
                Some(old) => old.address() == pte.address(),
                None => pte.attr() != Attr::Normal,
            };
            if nothing_to_do {
                if let Some(recent) = recent {
                    recent.store(note, Ordering::SeqCst);
                }
                return;
            }
        }
        let mut pages = self.write(key.0);
        // Once more under the lock: the page may have been given back since the caller walked the tables.
        let Ok(pte) = self.uat.walk(ctx, Agent::Firmware, va) else {
            return;
        };
        let cached = pte.attr() == Attr::Normal && self.matters(key.0);
        match pages.entry(key) {
            Entry::Occupied(entry) if entry.get().address() != pte.address() => {
                let old = entry.remove();
                self.complain(key, old, Some(pte));
            }
            Entry::Vacant(entry) if cached => {
                entry.insert(pte);
            }
            _ => {}
        }
    }

    fn missed(&self, ctx: u8, va: u64) {
        let key = key(ctx, va);
        if !self.read(key.0).contains_key(&key) {
            return;
        }
        let mut pages = self.write(key.0);
        if self.uat.walk(ctx, Agent::Firmware, va).is_err()
            && let Some(old) = pages.remove(&key)
        {
            self.complain(key, old, None);
        }
    }
}
