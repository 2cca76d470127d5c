// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which vertices a draw has, in which order.

use crate::memory::{Access, Memory};
use crate::{GpuFault, JobError, Unit};

/// What an index list says, with what an indirect one has in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexList {
    /// "Primitive".
    pub(crate) primitive: u32,
    /// Indices or vertices of an instance.
    pub(crate) count: u32,
    pub(crate) instances: u32,
    /// What is added to indices; without them, the first vertex.
    pub(crate) start: u32,
    pub(crate) indices: Option<Indices>,
}

/// An index buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indices {
    pub(crate) buffer: u64,
    /// Its length in bytes, if the list says it.
    pub(crate) size: Option<u64>,
    /// Logarithm of an index's bytes.
    pub(crate) log2_bytes: u32,
    /// The first index.
    pub(crate) first: u32,
    /// The index that begins a new primitive.
    pub(crate) restart: Option<u32>,
}

impl Indices {
    /// The index at `position`. Those beyond the buffer's end are taken to be zero: what hardware does with them is not
    /// known, but Mesa replaces them where zeroes are asked for (`src/asahi/libagx/draws.cl`).
    fn fetch(&self, memory: &mut Memory<'_>, position: u32) -> Result<u32, JobError> {
        let offset = (u64::from(self.first) + u64::from(position)) << self.log2_bytes;
        if self
            .size
            .is_some_and(|size| offset + (1 << self.log2_bytes) > size)
        {
            return Ok(0);
        }
        let va = self.buffer.wrapping_add(offset);
        match self.log2_bytes {
            0 => memory.load::<u8>(va),
            1 => memory.load::<u16>(va),
            _ => memory.load::<u32>(va),
        }
        .map_err(|_| GpuFault::new(va, Access::Read, Unit::IndexList).into())
    }
}

/// An entry of a batch that is no vertex: a restart.
pub(crate) const RESTART: u32 = u32::MAX;
/// Likewise: the end of an instance.
pub(crate) const INSTANCE: u32 = u32::MAX - 1;

/// Entries that make a batch.
const BATCH: usize = 16384;
/// Vertices that are remembered, a power of two.
const REMEMBERED: usize = 16384;

/// A part of a draw: the vertices to shade, each once if possible, and their order.
#[derive(Default)]
pub(crate) struct Batch {
    /// What the shader gets: vertex and instance.
    pub(crate) vertices: Vec<u32>,
    pub(crate) instances: Vec<u32>,
    /// Numbers of vertices, or `RESTART` or `INSTANCE`.
    pub(crate) entries: Vec<u32>,
}

/// Goes through the indices of a draw.
#[derive(Default)]
pub(crate) struct Walk {
    instance: u32,
    position: u32,
    /// By the last bits of an index: the whole index with a number that tells this batch and instance from others, and
    /// its vertex in the batch.
    seen: Vec<(u64, u32)>,
    epoch: u32,
}

impl Walk {
    /// Begins a draw.
    pub(crate) fn begin(&mut self) {
        (self.instance, self.position) = (0, 0);
    }

    fn forget(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.seen.fill((0, 0));
            self.epoch = 1;
        }
    }

    /// Fills the batch with what comes next. It stays empty at the end of the draw.
    pub(crate) fn next(
        &mut self,
        memory: &mut Memory<'_>,
        list: &IndexList,
        batch: &mut Batch,
    ) -> Result<(), JobError> {
        batch.vertices.clear();
        batch.instances.clear();
        batch.entries.clear();
        self.forget();
        while batch.entries.len() < BATCH && self.instance < list.instances {
            let room = BATCH.saturating_sub(batch.entries.len()) as u32;
            let end = self.position.saturating_add(room).min(list.count);
            match &list.indices {
                None => {
                    for position in self.position..end {
                        batch.entries.push(batch.vertices.len() as u32);
                        batch.vertices.push(list.start.wrapping_add(position));
                    }
                }
                Some(indices) => self.indexed(memory, list.start, indices, end, batch)?,
            }
            batch.instances.resize(batch.vertices.len(), self.instance);
            self.position = end;
            if self.position >= list.count {
                batch.entries.push(INSTANCE);
                (self.instance, self.position) = (self.instance + 1, 0);
                self.forget();
            }
        }
        Ok(())
    }

    fn indexed(
        &mut self,
        memory: &mut Memory<'_>,
        start: u32,
        indices: &Indices,
        end: u32,
        batch: &mut Batch,
    ) -> Result<(), JobError> {
        self.seen.resize(REMEMBERED, (0, 0));
        let epoch = u64::from(self.epoch) << 32;
        for position in self.position..end {
            let index = indices.fetch(memory, position)?;
            if indices.restart == Some(index) {
                batch.entries.push(RESTART);
                continue;
            }
            let key = epoch | u64::from(index);
            let seen = &mut self.seen[index as usize % REMEMBERED];
            if seen.0 != key {
                *seen = (key, batch.vertices.len() as u32);
                batch.vertices.push(start.wrapping_add(index));
            }
            batch.entries.push(seen.1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{GpuMemory, PAGE_SIZE, Unmapped};
    use std::ptr::NonNull;
    use std::sync::atomic::AtomicU32;

    /// One page at zero.
    struct Space(Box<[AtomicU32; PAGE_SIZE as usize / 4]>);

    // SAFETY: The page lives as long as `self` and is made of atomics.
    unsafe impl GpuMemory for Space {
        fn page(&self, va: u64, _: Access) -> Result<NonNull<u8>, Unmapped> {
            let at = NonNull::from(&*self.0).cast();
            (va == 0).then_some(at).ok_or(Unmapped)
        }
    }

    fn space(words: &[u32]) -> Space {
        let at = |i: usize| AtomicU32::new(words.get(i).copied().unwrap_or(0));
        Space(Box::new(std::array::from_fn(at)))
    }

    fn walk(words: &[u32], list: &IndexList) -> Result<Batch, JobError> {
        let space = space(words);
        let mut batch = Batch::default();
        Walk::default().next(&mut Memory::new(&space), list, &mut batch)?;
        Ok(batch)
    }

    #[test]
    fn vertices_in_order() {
        let list = IndexList {
            count: 2,
            instances: 2,
            start: 10,
            ..IndexList::default()
        };
        let batch = walk(&[], &list).unwrap();
        assert_eq!(batch.vertices, [10, 11, 10, 11]);
        assert_eq!(batch.instances, [0, 0, 1, 1]);
        assert_eq!(batch.entries, [0, 1, INSTANCE, 2, 3, INSTANCE]);
    }

    #[test]
    fn indices_are_shaded_once_for_each_instance() {
        let list = IndexList {
            count: 5,
            instances: 2,
            start: 100,
            indices: Some(Indices {
                log2_bytes: 1,
                first: 1,
                restart: Some(0xffff),
                ..Indices::default()
            }),
            ..IndexList::default()
        };
        let batch = walk(&[0x0007_0001, 0xffff_0008, 0x0009_0007], &list).unwrap();
        assert_eq!(batch.vertices, [107, 108, 109, 107, 108, 109]);
        let entries = [0, 1, RESTART, 0, 2, INSTANCE, 3, 4, RESTART, 3, 5, INSTANCE];
        assert_eq!(batch.entries, entries);
    }

    #[test]
    fn sizes_and_ends_of_index_buffers() {
        let mut list = IndexList {
            count: 3,
            instances: 1,
            indices: Some(Indices {
                buffer: 4,
                size: Some(2),
                ..Indices::default()
            }),
            ..IndexList::default()
        };
        let batch = walk(&[1, 0x0403_0201], &list).unwrap();
        assert_eq!(batch.vertices, [1, 2, 0]);
        // Beyond what is mapped.
        list.indices = Some(Indices {
            buffer: PAGE_SIZE - 4,
            log2_bytes: 2,
            ..Indices::default()
        });
        let fault = GpuFault {
            va: PAGE_SIZE,
            access: Access::Read,
            unit: Unit::IndexList,
            pc: 0,
        };
        assert_eq!(walk(&[], &list).err(), Some(fault.into()));
    }

    #[test]
    fn long_draws_come_in_parts() {
        let list = IndexList {
            count: BATCH as u32 + 5,
            instances: 1,
            ..IndexList::default()
        };
        let space = space(&[]);
        let mut memory = Memory::new(&space);
        let (mut walk, mut batch) = (Walk::default(), Batch::default());
        walk.next(&mut memory, &list, &mut batch).unwrap();
        assert_eq!((batch.entries.len(), batch.entries[0]), (BATCH, 0));
        walk.next(&mut memory, &list, &mut batch).unwrap();
        assert_eq!(batch.vertices[0], BATCH as u32);
        assert_eq!(batch.entries, [0, 1, 2, 3, 4, INSTANCE]);
        walk.next(&mut memory, &list, &mut batch).unwrap();
        assert!(batch.entries.is_empty());
    }
}
