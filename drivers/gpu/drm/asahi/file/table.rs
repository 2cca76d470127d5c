// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The numbers by which one client names its VMs, queues and special objects.

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::Mutex, //
};

/// What a [`Table`] keeps under its lock.
struct Entries<T> {
    tree: RBTree<u32, T>,
    /// The number to try next. Numbers are not reused soon, so that a stale one is an error and
    /// not somebody else's object.
    next: u32,
}

/// A table of counted things with numbers from 1 up; zero never names anything.
///
/// Values are cloned out, so that the table's lock is never held while one is used or dropped.
#[pin_data]
pub(crate) struct Table<T> {
    #[pin]
    entries: Mutex<Entries<T>>,
}

impl<T: Clone + Unpin> Table<T> {
    /// Returns an initialiser for an empty table.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            entries <- new_mutex!(Entries { tree: RBTree::new(), next: 1 }),
        })
    }

    /// Enters `value` and returns its number.
    pub(crate) fn insert(&self, value: T) -> Result<u32> {
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let mut entries = self.entries.lock();
        let id = entries.free_id().ok_or(ENOSPC)?;
        entries.next = id.checked_add(1).unwrap_or(1);
        entries.tree.insert(node.into_node(id, value));
        Ok(id)
    }

    /// Returns what `id` names.
    pub(crate) fn get(&self, id: u32) -> Result<T> {
        self.entries.lock().tree.get(&id).cloned().ok_or(ENOENT)
    }

    /// Takes out what `id` names.
    pub(crate) fn remove(&self, id: u32) -> Result<T> {
        let node = self.entries.lock().tree.remove_node(&id);
        node.map(|node| node.to_key_value().1).ok_or(ENOENT)
    }

    /// Returns the first entry whose number is at least `id`.
    ///
    /// With it one walks the table without keeping it locked.
    pub(crate) fn next_from(&self, id: u32) -> Option<(u32, T)> {
        let entries = self.entries.lock();
        let cursor = entries.tree.cursor_lower_bound(&id)?;
        let (id, value) = cursor.current();
        Some((*id, value.clone()))
    }
}

impl<T> Entries<T> {
    /// Finds a number that is not in use, from `next` upwards and around.
    fn free_id(&self) -> Option<u32> {
        self.gap(self.next).or_else(|| self.gap(1))
    }

    /// Finds the first number from `start` upwards that is not in use.
    fn gap(&self, start: u32) -> Option<u32> {
        let mut id = start;
        while self.tree.get(&id).is_some() {
            id = id.checked_add(1)?;
        }
        Some(id)
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kunit_tests(asahi_table)]
mod tests {
    use super::*;
    use kernel::sync::Arc;

    fn table() -> Arc<Table<u64>> {
        Arc::pin_init(Table::new(), GFP_KERNEL).unwrap()
    }

    #[test]
    fn numbers_start_at_one_and_are_not_reused_soon() {
        let table = table();
        assert_eq!(table.insert(10).unwrap(), 1);
        assert_eq!(table.insert(20).unwrap(), 2);
        assert_eq!(table.remove(2).unwrap(), 20);
        assert_eq!(table.insert(30).unwrap(), 3);
        assert!(table.get(2).err() == Some(ENOENT));
        assert!(table.remove(2).err() == Some(ENOENT));
        assert!(table.get(0).err() == Some(ENOENT));
        assert_eq!(table.get(3).unwrap(), 30);
    }

    #[test]
    fn numbers_wrap_to_the_first_gap() {
        let table = table();
        table.insert(1).unwrap();
        table.insert(2).unwrap();
        table.remove(1).unwrap();
        table.entries.lock().next = u32::MAX;
        assert_eq!(table.insert(3).unwrap(), u32::MAX);
        assert_eq!(table.insert(4).unwrap(), 1);
        assert_eq!(table.insert(5).unwrap(), 3);
    }

    #[test]
    fn walking() {
        let table = table();
        for value in 1..=3 {
            table.insert(value * 10).unwrap();
        }
        table.remove(2).unwrap();
        assert!(table.next_from(0) == Some((1, 10)));
        assert!(table.next_from(2) == Some((3, 30)));
        assert!(table.next_from(4).is_none());
    }
}
