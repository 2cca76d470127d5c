// SPDX-License-Identifier: MIT OR Apache-2.0

//! An open file of the node: what a client has, by number, and the ioctls on it.

use crate::bo::Bo;
use crate::queue::Queue;
use crate::syncobj::Syncobj;
use crate::vm::Vm;
use libc::c_int;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub mod core;
pub mod objects;
pub mod submit;
pub mod syncs;

/// Things by number: the lowest that is free, from one on.
pub struct Table<T> {
    things: BTreeMap<u32, T>,
    /// Below this there may be free numbers.
    free: u32,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table {
            things: BTreeMap::new(),
            free: 1,
        }
    }
}

impl<T> Table<T> {
    pub fn insert(&mut self, thing: T) -> Result<u32, c_int> {
        let mut number = self.free;
        for (&taken, _) in self.things.range(number..) {
            if taken != number {
                break;
            }
            number = number.checked_add(1).ok_or(libc::ENOSPC)?;
        }
        self.things.insert(number, thing);
        self.free = number + 1;
        Ok(number)
    }

    pub fn remove(&mut self, number: u32) -> Option<T> {
        let thing = self.things.remove(&number)?;
        self.free = self.free.min(number);
        Some(thing)
    }

    pub fn get(&self, number: u32) -> Option<&T> {
        self.things.get(&number)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.things.iter().map(|(number, thing)| (*number, thing))
    }
}

/// A part of an object that timestamps are written to.
#[derive(Clone)]
pub struct TimestampObject {
    pub bo: Arc<Bo>,
    pub offset: u64,
    pub range: u64,
}

#[derive(Default)]
pub struct Tables {
    pub bos: Table<Arc<Bo>>,
    pub vms: Table<Arc<Vm>>,
    pub queues: Table<Arc<Queue>>,
    pub timestamps: Table<TimestampObject>,
    pub syncobjs: Table<Arc<Syncobj>>,
}

/// An open file.
#[derive(Default)]
pub struct OpenFile(Mutex<Tables>);

impl OpenFile {
    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bo(&self, handle: u32) -> Result<Arc<Bo>, c_int> {
        self.tables().bos.get(handle).cloned().ok_or(libc::ENOENT)
    }

    fn vm(&self, id: u32) -> Result<Arc<Vm>, c_int> {
        self.tables().vms.get(id).cloned().ok_or(libc::ENOENT)
    }

    fn syncobj(&self, handle: u32) -> Result<Arc<Syncobj>, c_int> {
        let tables = self.tables();
        tables.syncobjs.get(handle).cloned().ok_or(libc::ENOENT)
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn the_lowest_free_number_is_taken() {
        let mut table = Table::default();
        let numbers: Vec<_> = (0..4).map(|n| table.insert(n).unwrap()).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        assert_eq!(
            (table.remove(3), table.remove(2), table.remove(2)),
            (Some(2), Some(1), None)
        );
        let again: Vec<_> = (0..3).map(|n| table.insert(n).unwrap()).collect();
        assert_eq!(again, [2, 3, 5]);
        assert_eq!(table.get(0), None);
    }
}
