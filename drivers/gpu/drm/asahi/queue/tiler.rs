// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The slots of tiler buffers.
//!
//! The firmware knows up to 127 tiler buffers by their slots. A queue has a slot while it has
//! renders in the firmware. Afterwards the slot is idle, and the queue gets it back if no other
//! has taken it in between, so that the firmware need not be told of the buffer again.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use super::{
    place::{
        TilerOwner,
        TilerPlace, //
    },
    sched::Line, //
};

/// Number of slots.
const NUM_SLOTS: usize = 127;

/// What the firmware has asked for.
#[derive(Clone, Copy)]
pub(crate) struct GrowRequest {
    pub(crate) vm_slot: u32,
    pub(crate) slot: u32,
    pub(crate) counter: u32,
}

/// A slot.
struct Slot {
    /// The queue that had it last, by its number. There is no queue 0.
    queue: u32,
    /// Its buffer, while the slot is in use.
    owner: Option<Arc<dyn TilerOwner>>,
    /// Counts the times that the slot went to another queue.
    binding: u64,
    /// When it was last let go.
    idle_since: u64,
    request: Option<GrowRequest>,
}

struct Table {
    slots: KVec<Slot>,
    clock: u64,
}

/// All slots.
#[pin_data]
pub(crate) struct TilerSlots {
    #[pin]
    table: Mutex<Table>,
    line: Arc<Line>,
}

/// A slot in use.
pub(crate) struct TilerSlot {
    slots: Arc<TilerSlots>,
    index: usize,
    binding: u64,
}

impl Table {
    fn new() -> Result<Self> {
        let mut slots = KVec::with_capacity(NUM_SLOTS, GFP_KERNEL)?;

        for _ in 0..NUM_SLOTS {
            let slot = Slot {
                queue: 0,
                owner: None,
                binding: 0,
                idle_since: 0,
                request: None,
            };
            slots.push(slot, GFP_KERNEL)?;
        }
        Ok(Self { slots, clock: 0 })
    }

    /// Takes a slot for a queue: the one that it had, or else that which has been idle for longest.
    fn take(&mut self, queue: u32) -> Option<(usize, &mut Slot)> {
        let (index, slot) = self
            .slots
            .iter_mut()
            .enumerate()
            .filter(|(_, slot)| slot.owner.is_none())
            .min_by_key(|(_, slot)| (slot.queue != queue, slot.idle_since))?;

        if slot.queue != queue {
            slot.queue = queue;
            slot.binding += 1;
        }
        Some((index, slot))
    }
}

impl TilerSlots {
    /// Makes the table of slots.
    pub(crate) fn new(line: Arc<Line>) -> Result<Arc<Self>> {
        let table = Table::new()?;

        Arc::pin_init(
            pin_init!(Self {
                table <- new_mutex!(table),
                line,
            }),
            GFP_KERNEL,
        )
    }

    /// Who waits for a slot.
    pub(crate) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// Takes a slot for the buffer of a queue, if there is one.
    pub(crate) fn try_take(
        self: &Arc<Self>,
        queue: u32,
        owner: &Arc<dyn TilerOwner>,
    ) -> Option<TilerSlot> {
        let mut table = self.table.lock();
        let (index, slot) = table.take(queue)?;

        slot.owner = Some(owner.clone());
        Some(TilerSlot {
            slots: self.clone(),
            index,
            binding: slot.binding,
        })
    }

    /// Notes that the firmware wants a buffer to grow. Returns whether there is such a buffer.
    pub(crate) fn request(&self, request: GrowRequest) -> bool {
        let mut table = self.table.lock();
        let slot = usize::try_from(request.slot)
            .ok()
            .and_then(|index| table.slots.get_mut(index))
            .filter(|slot| slot.owner.is_some());

        match slot {
            Some(slot) => {
                slot.request = Some(request);
                true
            }
            None => false,
        }
    }

    /// Takes the next request that has to be answered, and whose buffer it is about.
    pub(crate) fn next_request(&self) -> Option<(GrowRequest, Arc<dyn TilerOwner>)> {
        self.table
            .lock()
            .slots
            .iter_mut()
            .find_map(|slot| Some((slot.request.take()?, slot.owner.clone()?)))
    }
}

impl TilerSlot {
    /// What commands have to know of it.
    pub(crate) fn place(&self) -> TilerPlace {
        TilerPlace {
            // CAST: There are 127.
            slot: self.index as u32,
            binding: self.binding,
        }
    }
}

impl Drop for TilerSlot {
    fn drop(&mut self) {
        let mut table = self.slots.table.lock();
        table.clock += 1;
        let clock = table.clock;
        let owner = table.slots.get_mut(self.index).and_then(|slot| {
            slot.idle_since = clock;
            slot.request = None;
            slot.owner.take()
        });

        drop(table);
        drop(owner);
        self.slots.line.wake_one();
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kunit_tests(asahi_tiler_slots)]
mod tests {
    use super::*;

    struct Nobody;

    impl TilerOwner for Nobody {
        fn grow(&self, _gpu: &Arc<crate::gpu::Gpu>, _vm_slot: u32, _slot: u32, _counter: u32) {}

        fn suspect(&self) {}
    }

    fn slots() -> Result<Arc<TilerSlots>> {
        TilerSlots::new(Line::new()?)
    }

    #[test]
    fn a_queue_gets_its_slot_back() -> Result {
        let slots = slots()?;
        let owner: Arc<dyn TilerOwner> = Arc::new(Nobody, GFP_KERNEL)?;
        let first = slots.try_take(1, &owner).ok_or(EBUSY)?.place();
        let other = slots.try_take(2, &owner).ok_or(EBUSY)?.place();
        assert!(first.slot != other.slot);

        let again = slots.try_take(1, &owner).ok_or(EBUSY)?.place();
        assert_eq!((again.slot, again.binding), (first.slot, first.binding));
        Ok(())
    }

    #[test]
    fn slots_run_out_and_change_hands() -> Result {
        let slots = slots()?;
        let owner: Arc<dyn TilerOwner> = Arc::new(Nobody, GFP_KERNEL)?;
        let before = slots.try_take(1, &owner).ok_or(EBUSY)?.place();
        let mut taken = KVec::new();
        for queue in 2..=128 {
            taken.push(slots.try_take(queue, &owner).ok_or(EBUSY)?, GFP_KERNEL)?;
        }
        assert!(slots.try_take(1, &owner).is_none());
        taken.clear();

        let after = slots.try_take(1, &owner).ok_or(EBUSY)?.place();
        let same = (after.slot, after.binding) == (before.slot, before.binding);
        assert!(!same);
        Ok(())
    }

    #[test]
    fn requests_of_nobody_are_refused() -> Result {
        let slots = slots()?;
        let owner: Arc<dyn TilerOwner> = Arc::new(Nobody, GFP_KERNEL)?;
        let request = |slot| GrowRequest {
            vm_slot: 1,
            slot,
            counter: 0,
        };
        let taken = slots.try_take(1, &owner).ok_or(EBUSY)?;
        let slot = taken.place().slot;

        assert!(!slots.request(request(slot + 1)));
        assert!(!slots.request(request(u32::MAX)));
        assert!(slots.request(request(slot)));
        let next = slots.next_request().map(|(request, _)| request.slot);
        assert_eq!(next, Some(slot));
        assert!(slots.next_request().is_none());

        assert!(slots.request(request(slot)));
        drop(taken);
        assert!(slots.next_request().is_none());
        assert!(!slots.request(request(slot)));
        Ok(())
    }
}
