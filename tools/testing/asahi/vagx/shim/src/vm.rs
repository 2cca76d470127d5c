// SPDX-License-Identifier: MIT OR Apache-2.0

//! Address spaces: what a client has mapped, and page tables of it for the GPU model.

use crate::bo::Bo;
use crate::uapi::*;
use libc::c_int;
use std::collections::BTreeMap;
use std::ops::Range;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{
    AtomicPtr, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vagx_gpu::{Access, GpuMemory, Unmapped, Witness};

/// What clients may use, as GET_PARAMS tells.
pub const USER: Range<u64> = PAGE..0x7f_ffff_8000;

/// Pages of a table, and tables of a space: 39 bits of addresses in all.
const LEAF_PAGES: u64 = 1 << 13;
const TABLES: usize = 1 << 12;

/// Rights, in the lowest bits of an entry, whose others are the page's address in this process.
const READ: u64 = 1;
const WRITE: u64 = 2;
const RIGHTS: u64 = READ | WRITE;

type Leaf = [AtomicU64; LEAF_PAGES as usize];

#[derive(Clone)]
struct Mapping {
    end: u64,
    bo: Arc<Bo>,
    offset: u64,
    flags: u32,
}

impl Mapping {
    /// Offset into the object of what is `into` bytes into the mapping.
    fn at(&self, into: u64) -> u64 {
        if self.flags & BIND_SINGLE_PAGE != 0 {
            self.offset
        } else {
            self.offset + into
        }
    }
}

#[derive(Default)]
struct Ranges {
    mapped: BTreeMap<u64, Mapping>,
    /// Jobs that may hold addresses of pages.
    running: usize,
    /// Objects that were unmapped while jobs ran.
    unmapped: Vec<Arc<Bo>>,
}

/// An address space.
pub struct Vm {
    /// Tells it from others, also from those that are gone.
    pub id: u64,
    kernel: Range<u64>,
    tables: Box<[AtomicPtr<Leaf>]>,
    ranges: Mutex<Ranges>,
}

impl Vm {
    /// An empty one, of which the kernel would use a part. There is no kernel here, but clients must keep out of it all
    /// the same.
    pub fn new(kernel: Range<u64>) -> Result<Vm, c_int> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let aligned = kernel.start.is_multiple_of(PAGE) && kernel.end.is_multiple_of(PAGE);
        let large = kernel
            .end
            .checked_sub(kernel.start)
            .is_some_and(|size| size >= crate::device::KERNEL_SIZE);
        if kernel.start < USER.start || kernel.end > USER.end || !large || !aligned {
            return Err(libc::EINVAL);
        }
        Ok(Vm {
            id: LAST.fetch_add(1, Relaxed) + 1,
            kernel,
            tables: (0..TABLES).map(|_| AtomicPtr::new(null_mut())).collect(),
            ranges: Mutex::default(),
        })
    }

    fn ranges(&self) -> MutexGuard<'_, Ranges> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leaf(&self, va: u64) -> Option<&Leaf> {
        let table = self.tables.get((va / PAGE / LEAF_PAGES) as usize)?;
        // SAFETY: It is null, or points to a leaf that lives as long as the space.
        unsafe { table.load(Acquire).as_ref() }
    }

    fn entry(&self, va: u64) -> Option<&AtomicU64> {
        self.leaf(va)?.get((va / PAGE % LEAF_PAGES) as usize)
    }

    /// The table for an address, made if there is none. The caller has locked the ranges.
    fn make_leaf(&self, va: u64) -> Option<&Leaf> {
        let table = self.tables.get((va / PAGE / LEAF_PAGES) as usize)?;
        if table.load(Acquire).is_null() {
            let leaf: Box<[AtomicU64]> = (0..LEAF_PAGES).map(|_| AtomicU64::new(0)).collect();
            let leaf: Box<Leaf> = leaf.try_into().ok()?;
            table.store(Box::into_raw(leaf), Release);
        }
        self.leaf(va)
    }

    /// Does one operation of VM_BIND, of which the object has been looked up.
    pub fn bind(&self, op: &BindOp, bo: Option<Arc<Bo>>) -> Result<(), c_int> {
        let range = self.check(op)?;
        let Some(bo) = bo else {
            self.clear(&mut self.ranges(), &range);
            return Ok(());
        };
        let length = match op.flags & BIND_SINGLE_PAGE {
            0 => op.range,
            _ => PAGE,
        };
        if op
            .offset
            .checked_add(length)
            .is_none_or(|end| end > bo.size())
            || bo.private_to().is_some_and(|vm| vm != self.id)
        {
            return Err(libc::EINVAL);
        }
        let mut ranges = self.ranges();
        self.clear(&mut ranges, &range);
        let mapping = Mapping {
            end: range.end,
            bo,
            offset: op.offset,
            flags: op.flags,
        };
        let mut rights = 0;
        for (flag, right) in [(BIND_READ, READ), (BIND_WRITE, WRITE)] {
            rights |= if op.flags & flag != 0 { right } else { 0 };
        }
        for va in range.clone().step_by(PAGE as usize) {
            let page = mapping.bo.host(mapping.at(va - range.start));
            let (Some(page), true) = (page, self.make_leaf(va).is_some()) else {
                return Err(libc::EINVAL);
            };
            if let Some(entry) = self.entry(va) {
                entry.store(page.as_ptr() as u64 | rights, Release);
            }
        }
        ranges.mapped.insert(range.start, mapping);
        Ok(())
    }

    /// Whether the client may ask for an operation, and the addresses that it is about.
    pub fn check(&self, op: &BindOp) -> Result<Range<u64>, c_int> {
        let end = op.addr.checked_add(op.range).ok_or(libc::EINVAL)?;
        let known = match op.flags & BIND_UNBIND {
            0 => {
                op.flags & !(BIND_READ | BIND_WRITE | BIND_SINGLE_PAGE) == 0
                    && op.flags & (BIND_READ | BIND_WRITE) != 0
            }
            _ => op.flags == BIND_UNBIND && op.handle == 0 && op.offset == 0,
        };
        let aligned = [op.addr, op.range, op.offset]
            .iter()
            .all(|value| value.is_multiple_of(PAGE));
        let inside = op.addr >= USER.start && end <= USER.end;
        let kernels = op.addr < self.kernel.end && self.kernel.start < end;
        if !known || !aligned || op.range == 0 || !inside || kernels {
            return Err(libc::EINVAL);
        }
        Ok(op.addr..end)
    }

    /// Removes what lies in the range, cutting mappings that reach out of it.
    fn clear(&self, ranges: &mut Ranges, range: &Range<u64>) {
        let inside: Vec<u64> = ranges
            .mapped
            .range(..range.end)
            .rev()
            .take_while(|(_, mapping)| mapping.end > range.start)
            .map(|(&at, _)| at)
            .collect();
        for at in inside {
            let Some(mapping) = ranges.mapped.remove(&at) else {
                continue;
            };
            for va in (at.max(range.start)..mapping.end.min(range.end)).step_by(PAGE as usize) {
                if let Some(entry) = self.entry(va) {
                    entry.store(0, Release);
                }
            }
            if ranges.running != 0 {
                ranges.unmapped.push(mapping.bo.clone());
            }
            if mapping.end > range.end {
                let behind = Mapping {
                    offset: mapping.at(range.end - at),
                    ..mapping.clone()
                };
                ranges.mapped.insert(range.end, behind);
            }
            if at < range.start {
                let before = Mapping {
                    end: range.start,
                    ..mapping
                };
                ranges.mapped.insert(at, before);
            }
        }
    }

    /// Unmaps an object wherever it is.
    pub fn forget(&self, bo: &Arc<Bo>) {
        let mut ranges = self.ranges();
        let its: Vec<Range<u64>> = ranges
            .mapped
            .iter()
            .filter(|(_, mapping)| Arc::ptr_eq(&mapping.bo, bo))
            .map(|(&at, mapping)| at..mapping.end)
            .collect();
        for range in its {
            self.clear(&mut ranges, &range);
        }
    }

    /// Has what jobs may still see stay until the result is dropped.
    pub fn run(&self) -> Running<'_> {
        self.ranges().running += 1;
        Running(self)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        for table in &self.tables {
            let leaf = table.swap(null_mut(), AcqRel);
            if !leaf.is_null() {
                // SAFETY: It came from a box, and nobody has the space any more.
                drop(unsafe { Box::from_raw(leaf) });
            }
        }
    }
}

/// A space while a job runs in it.
pub struct Running<'a>(&'a Vm);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut ranges = self.0.ranges();
        ranges.running -= 1;
        if ranges.running == 0 {
            ranges.unmapped.clear();
        }
    }
}

// SAFETY: An entry is the address of a page of an object's mapping, which is aligned to the host's page size at least.
// The object is held by what is mapped, or, if that goes while jobs run, by `unmapped` until they have ended.
// Applications may write to it as a guest may.
unsafe impl GpuMemory for Running<'_> {
    fn page(&self, va: u64, access: Access) -> Result<NonNull<u8>, Unmapped> {
        let entry = self.0.entry(va).ok_or(Unmapped)?.load(Acquire);
        let need = match access {
            Access::Read => READ,
            Access::Write => WRITE,
        };
        if entry & need == 0 {
            return Err(Unmapped);
        }
        NonNull::new((entry & !RIGHTS) as *mut u8).ok_or(Unmapped)
    }

    fn witness(&self, va: u64) -> Witness {
        match self.0.entry(va) {
            Some(entry) => {
                let word = (NonNull::from(entry).cast(), entry.load(Acquire));
                // SAFETY: The table lives as long as the space, whose entries are atomics.
                unsafe { Witness::new([word, word]) }
            }
            None => Witness::broken(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> Vm {
        Vm::new(USER.end - crate::device::KERNEL_SIZE..USER.end).unwrap()
    }

    fn op(flags: u32, offset: u64, range: u64, addr: u64) -> BindOp {
        BindOp {
            flags,
            handle: 0,
            offset,
            range,
            addr,
        }
    }

    #[test]
    fn mappings_are_cut() {
        let (vm, bo) = (space(), Arc::new(Bo::new(8 * PAGE, None).unwrap()));
        let both = BIND_READ | BIND_WRITE;
        let at = 64 * PAGE;
        vm.bind(&op(both, 0, 8 * PAGE, at), Some(bo.clone()))
            .unwrap();
        vm.bind(&op(BIND_UNBIND, 0, PAGE, at + 3 * PAGE), None)
            .unwrap();
        vm.bind(
            &op(BIND_READ | BIND_SINGLE_PAGE, PAGE, 2 * PAGE, at + 5 * PAGE),
            Some(bo.clone()),
        )
        .unwrap();
        let running = vm.run();
        for (page, shown) in [
            Some(0),
            Some(1),
            Some(2),
            None,
            Some(4),
            Some(1),
            Some(1),
            Some(7),
            None,
        ]
        .into_iter()
        .enumerate()
        {
            let seen = running.page(at + page as u64 * PAGE, Access::Read).ok();
            assert_eq!(
                seen,
                shown.and_then(|page| bo.host(page * PAGE)),
                "page {page}"
            );
        }
        assert!(running.page(at + 5 * PAGE, Access::Write).is_err());
        assert!(running.page(at + 4 * PAGE, Access::Write).is_ok());
        // What was unmapped stays while something runs, and goes then.
        vm.forget(&bo);
        assert!(running.page(at, Access::Read).is_err());
        assert!(Arc::strong_count(&bo) > 1);
        drop(running);
        assert_eq!(Arc::strong_count(&bo), 1);
    }

    #[test]
    fn what_is_the_kernels_is_not_the_clients() {
        let vm = space();
        let unbind = |range, addr| vm.bind(&op(BIND_UNBIND, 0, range, addr), None);
        assert_eq!(unbind(PAGE, PAGE), Ok(()));
        for (range, addr) in [
            (0, PAGE),
            (PAGE, 0),
            (PAGE, USER.end - PAGE),
            (PAGE, PAGE + 1),
            (PAGE, u64::MAX - PAGE + 1),
        ] {
            assert_eq!(unbind(range, addr), Err(libc::EINVAL));
        }
    }
}
