// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Which address space has which slot.
//!
//! A slot is *free* when no address space has it, *busy* while someone holds a [`VmSlot`] of its
//! address space, and *idle* otherwise. An idle slot stays with its address space, so that the next
//! user finds it as it was; it is taken away when another address space needs a slot and there is
//! no free one, the one that has been idle for longest first.

use kernel::sync::Arc;

use super::{
    Vm,
    NUM_SLOTS, //
};

/// Slots for user space: all but the firmware's.
const USER_SLOTS: usize = NUM_SLOTS - 1;

/// A slot.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// The address space that has the slot, by its number. There is no number 0.
    owner: u64,
    /// How many hold it.
    users: u32,
    /// When it was last let go.
    idle_since: u64,
}

/// All slots for user space.
pub(super) struct Slots {
    slots: [Slot; USER_SLOTS],
    clock: u64,
}

/// How a slot was found.
pub(super) enum Found {
    /// The address space had it already.
    Kept(u32),
    /// It has it now. The TTBAT must be changed, or the slot given back by [`Slots::evict`].
    New(u32),
}

impl Slots {
    pub(super) fn new() -> Self {
        Self {
            slots: [Slot::default(); USER_SLOTS],
            clock: 0,
        }
    }

    fn position(&self, owner: u64) -> Option<usize> {
        self.slots.iter().position(|slot| slot.owner == owner)
    }

    /// Number of the slot at an index.
    fn number(index: usize) -> u32 {
        // CAST: There are only 63.
        index as u32 + 1
    }

    /// The slot of an address space.
    pub(super) fn of(&self, owner: u64) -> Option<u32> {
        self.position(owner).map(Self::number)
    }

    /// Takes a slot for an address space, but not `avoid` if it is another's. Returns [`None`] if
    /// all are busy.
    pub(super) fn take(&mut self, owner: u64, avoid: Option<u32>) -> Option<Found> {
        if let Some(index) = self.position(owner) {
            let slot = self.slots.get_mut(index)?;

            slot.users += 1;
            return Some(Found::Kept(Self::number(index)));
        }

        // Free slots have never been idle, or not since they became free, so they come first.
        let (index, slot) = self
            .slots
            .iter_mut()
            .enumerate()
            .filter(|(index, slot)| slot.users == 0 && avoid != Some(Self::number(*index)))
            .min_by_key(|(_, slot)| (slot.owner != 0, slot.idle_since))?;

        slot.owner = owner;
        slot.users = 1;
        Some(Found::New(Self::number(index)))
    }

    /// Lets go of a slot. Returns whether it has become idle.
    pub(super) fn put(&mut self, owner: u64) -> bool {
        let Some(index) = self.position(owner) else {
            return false;
        };

        self.clock += 1;
        let Some(slot) = self.slots.get_mut(index) else {
            return false;
        };

        slot.users = slot.users.saturating_sub(1);
        slot.idle_since = self.clock;
        slot.users == 0
    }

    /// Takes away the slot of an address space, whoever holds it.
    pub(super) fn evict(&mut self, owner: u64) -> Option<u32> {
        let index = self.position(owner)?;

        *self.slots.get_mut(index)? = Slot::default();
        Some(Self::number(index))
    }
}

/// A slot in use.
///
/// As long as this exists, its address space keeps the slot.
pub(crate) struct VmSlot {
    vm: Arc<Vm>,
    slot: u32,
}

impl VmSlot {
    pub(super) fn new(vm: Arc<Vm>, slot: u32) -> Self {
        Self { vm, slot }
    }

    /// The number of the slot.
    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }
}

impl Drop for VmSlot {
    fn drop(&mut self) {
        self.vm.uat.put_slot(&self.vm);
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(asahi_mmu_slots)]
mod tests {
    use super::*;

    fn number(found: Option<Found>) -> Option<u32> {
        match found? {
            Found::Kept(slot) | Found::New(slot) => Some(slot),
        }
    }

    #[test]
    fn slots_are_kept_while_idle() {
        let mut slots = Slots::new();

        assert_eq!(number(slots.take(1, None)), Some(1));
        assert_eq!(number(slots.take(2, None)), Some(2));
        assert!(slots.put(1));
        assert!(matches!(slots.take(1, None), Some(Found::Kept(1))));
    }

    #[test]
    fn the_oldest_idle_slot_goes_first() {
        let mut slots = Slots::new();

        for owner in 1..=USER_SLOTS as u64 {
            assert!(matches!(slots.take(owner, None), Some(Found::New(_))));
        }
        assert!(slots.take(1000, None).is_none());
        assert!(slots.put(7));
        assert!(slots.put(3));
        assert_eq!(number(slots.take(1000, None)), Some(7));
        assert_eq!(slots.of(7), None);
        assert_eq!(number(slots.take(1001, None)), Some(3));
        assert!(slots.take(1002, None).is_none());
    }

    #[test]
    fn a_slot_can_be_avoided() {
        let mut slots = Slots::new();

        assert_eq!(number(slots.take(1, Some(1))), Some(2));
        assert!(matches!(slots.take(1, Some(2)), Some(Found::Kept(2))));
        assert_eq!(number(slots.take(2, Some(1))), Some(3));
        assert_eq!(number(slots.take(3, None)), Some(1));
    }

    #[test]
    fn users_are_counted() {
        let mut slots = Slots::new();

        assert!(slots.take(5, None).is_some());
        assert!(slots.take(5, None).is_some());
        assert!(!slots.put(5));
        assert!(slots.put(5));
        assert_eq!(slots.evict(5), Some(1));
        assert_eq!(slots.evict(5), None);
    }
}
