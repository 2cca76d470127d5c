// SPDX-License-Identifier: MIT OR Apache-2.0

//! GPU virtual memory as the core sees it.
//!
//! The guest's CPUs and other lanes may change memory at any time. So no reference to it ever exists: every access goes
//! through an atomic of its own size, relaxed, which on all supported hosts is an ordinary load or store.

use crate::exec::{Lanes, mask};
use crate::{GpuFault, JobError, Unsupported};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Bytes in a GPU page.
pub const PAGE_SIZE: u64 = 16384;

const OFFSET: u64 = PAGE_SIZE - 1;

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads.
    Read,
    /// Writes, or reads and writes.
    Write,
}

/// The address is not mapped in a way that allows the access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmapped;

/// Entries of page tables, and what they said: as long as they say the same, what was found through them holds.
#[derive(Clone, Copy, Debug)]
pub struct Witness([(NonNull<u64>, u64); 2]);

/// What a witness looks at that always holds.
static CONSTANT: AtomicU64 = AtomicU64::new(0);

impl Witness {
    /// Watches these words.
    ///
    /// # Safety
    ///
    /// They are aligned and stay valid for reads until the job ends for which this is made; others change them only in
    /// ways that do not make a relaxed atomic access a data race.
    pub unsafe fn new(words: [(NonNull<u64>, u64); 2]) -> Self {
        Witness(words)
    }

    /// Always holds.
    pub fn constant() -> Self {
        let word = NonNull::from(&CONSTANT).cast();
        Witness([(word, 0); 2])
    }

    /// Never holds, so that the space is asked each time.
    pub fn broken() -> Self {
        let word = NonNull::from(&CONSTANT).cast();
        Witness([(word, 1); 2])
    }

    #[inline(always)]
    fn holds(&self) -> bool {
        self.0.iter().all(|(word, value)| {
            // SAFETY: By the contract of `new`, or a static.
            unsafe { AtomicU64::from_ptr(word.as_ptr()) }.load(Relaxed) == *value
        })
    }
}

/// An address space.
///
/// # Safety
///
/// The pointer that `page` returns is the start of the 16 KiB page that holds `va`, aligned to 8 bytes at least. Until
/// the job that asked for it ends, its 16384 bytes stay valid for reads, and for writes if `access` was
/// [`Access::Write`]; others touch them only in ways that do not make a relaxed atomic access a data race (that is, from
/// a guest, or by atomics).
pub unsafe trait GpuMemory: Send + Sync {
    /// The host's address of the page that holds `va`.
    fn page(&self, va: u64, access: Access) -> Result<NonNull<u8>, Unmapped>;

    /// What tells, while a page is in use, that it was unmapped. To be asked for before the page itself.
    fn witness(&self, _va: u64) -> Witness {
        Witness::constant()
    }
}

/// One byte, half-word or word of memory.
pub(crate) trait Unit: Copy {
    const SIZE: usize;
    /// # Safety
    /// `at` is valid for reads of `SIZE` bytes and aligned to them, by the rules of [`GpuMemory`].
    unsafe fn load(at: *mut u8) -> u32;
    /// # Safety
    /// `at` is valid for writes of `SIZE` bytes and aligned to them, by the rules of [`GpuMemory`].
    unsafe fn store(at: *mut u8, value: u32);
}

macro_rules! unit {
    ($type:ty, $atomic:ty) => {
        impl Unit for $type {
            const SIZE: usize = size_of::<$type>();
            #[inline(always)]
            unsafe fn load(at: *mut u8) -> u32 {
                // SAFETY: Valid and aligned by this function's contract; only atomics or a guest touch it meanwhile.
                unsafe { <$atomic>::from_ptr(at.cast()) }
                    .load(Relaxed)
                    .into()
            }
            #[inline(always)]
            unsafe fn store(at: *mut u8, value: u32) {
                // SAFETY: Valid and aligned by this function's contract; only atomics or a guest touch it meanwhile.
                unsafe { <$atomic>::from_ptr(at.cast()) }.store(value as $type, Relaxed);
            }
        }
    };
}

unit!(u8, AtomicU8);
unit!(u16, AtomicU16);
unit!(u32, AtomicU32);

const WAYS: usize = 256;

#[derive(Clone, Copy)]
struct Entry {
    page: u64,
    at: *mut u8,
    witness: Witness,
}

/// A worker's memory: the address space behind a small cache of page addresses, which lives as long as the job.
///
/// The cache is a TLB that is never stale: before each use, an entry's witness says whether the page is still there. On
/// hardware the CPU invalidates TLBs when it has changed a table and before it gives the page to someone else. The model
/// does not learn of that, so it cannot keep a page for any longer than the table has it.
pub(crate) struct Memory<'a> {
    space: &'a dyn GpuMemory,
    read: Box<[Entry; WAYS]>,
    write: Box<[Entry; WAYS]>,
}

impl<'a> Memory<'a> {
    pub(crate) fn new(space: &'a dyn GpuMemory) -> Self {
        let empty = Entry {
            page: u64::MAX,
            at: std::ptr::null_mut(),
            witness: Witness::constant(),
        };
        Memory {
            space,
            read: Box::new([empty; WAYS]),
            write: Box::new([empty; WAYS]),
        }
    }

    pub(crate) fn space(&self) -> &'a dyn GpuMemory {
        self.space
    }

    #[inline(always)]
    fn page(&mut self, va: u64, access: Access) -> Result<*mut u8, Unmapped> {
        let page = va / PAGE_SIZE;
        let ways = match access {
            Access::Read => &mut self.read,
            Access::Write => &mut self.write,
        };
        let entry = &mut ways[page as usize % WAYS];
        if entry.page != page || !entry.witness.holds() {
            // What is no longer mapped must not be found again if its table comes back.
            entry.page = u64::MAX;
            *entry = Self::fill(self.space, va, access)?;
        }
        Ok(entry.at)
    }

    #[cold]
    fn fill(space: &dyn GpuMemory, va: u64, access: Access) -> Result<Entry, Unmapped> {
        let witness = space.witness(va & !OFFSET);
        Ok(Entry {
            page: va / PAGE_SIZE,
            at: space.page(va & !OFFSET, access)?.as_ptr(),
            witness,
        })
    }

    /// Reads the aligned unit at `va`.
    #[inline(always)]
    pub(crate) fn load<T: Unit>(&mut self, va: u64) -> Result<u32, Unmapped> {
        let page = self.page(va, Access::Read)?;
        let offset = (va & OFFSET) as usize & !(T::SIZE - 1);
        // SAFETY: An aligned unit does not cross its page, which is valid for reads until the job ends, which is after
        // this `Memory` is gone.
        Ok(unsafe { T::load(page.add(offset)) })
    }

    /// Writes the aligned unit at `va`.
    #[inline(always)]
    pub(crate) fn store<T: Unit>(&mut self, va: u64, value: u32) -> Result<(), Unmapped> {
        let page = self.page(va, Access::Write)?;
        let offset = (va & OFFSET) as usize & !(T::SIZE - 1);
        // SAFETY: As in `load`, and the page was asked for with write access.
        unsafe { T::store(page.add(offset), value) };
        Ok(())
    }

    /// Reads one aligned unit per lane of `active`, all in the page of the first, if they are; else does nothing and
    /// returns false.
    #[inline(always)]
    pub(crate) fn load_page<T: Unit>(
        &mut self,
        va: &[u64; 32],
        active: u32,
        out: &mut [u32; 32],
    ) -> bool {
        let Some(page) = self.one_page(va, active, Access::Read) else {
            return false;
        };
        for lane in 0..32 {
            if active >> lane & 1 != 0 {
                let offset = (va[lane] & OFFSET) as usize & !(T::SIZE - 1);
                // SAFETY: `one_page` found the lane's address in this page; else as in `load`.
                out[lane] = unsafe { T::load(page.add(offset)) };
            }
        }
        true
    }

    /// The counterpart of `load_page`.
    #[inline(always)]
    pub(crate) fn store_page<T: Unit>(
        &mut self,
        va: &[u64; 32],
        active: u32,
        values: &[u32; 32],
    ) -> bool {
        let Some(page) = self.one_page(va, active, Access::Write) else {
            return false;
        };
        for lane in 0..32 {
            if active >> lane & 1 != 0 {
                let offset = (va[lane] & OFFSET) as usize & !(T::SIZE - 1);
                // SAFETY: As in `load_page`, and the page was asked for with write access.
                unsafe { T::store(page.add(offset), values[lane]) };
            }
        }
        true
    }

    /// Reads one aligned unit per lane of `active`; the error is the first address that could not be read.
    #[inline(always)]
    pub(crate) fn load_lanes<T: Unit>(
        &mut self,
        va: &[u64; 32],
        active: u32,
        out: &mut [u32; 32],
    ) -> Result<(), u64> {
        if active == 0 || self.load_page::<T>(va, active, out) {
            return Ok(());
        }
        for lane in 0..32 {
            if active >> lane & 1 != 0 {
                out[lane] = self.load::<T>(va[lane]).map_err(|_| va[lane])?;
            }
        }
        Ok(())
    }

    /// The counterpart of `load_lanes`.
    #[inline(always)]
    pub(crate) fn store_lanes<T: Unit>(
        &mut self,
        va: &[u64; 32],
        active: u32,
        values: &[u32; 32],
    ) -> Result<(), u64> {
        if active == 0 || self.store_page::<T>(va, active, values) {
            return Ok(());
        }
        for lane in 0..32 {
            if active >> lane & 1 != 0 {
                self.store::<T>(va[lane], values[lane])
                    .map_err(|_| va[lane])?;
            }
        }
        Ok(())
    }

    /// Reads one aligned unit per lane of `active`, so far from `start` each, the sum being less than 2^32; returns false
    /// if one of them could not be read. What is left in other lanes may be anything.
    #[inline(always)]
    pub(crate) fn load_near<T: Unit>(
        &mut self,
        start: u64,
        offsets: &Lanes,
        active: u32,
        out: &mut Lanes,
    ) -> bool {
        const PAGE: u32 = PAGE_SIZE as u32;
        let places = offsets.map(|offset| offset.wrapping_add((start & OFFSET) as u32));
        let mut left = active;
        while left != 0 {
            let first = places.0[left.trailing_zeros() as usize % 32];
            let others = places.map(|place| mask((place ^ first) >= PAGE)).to_bits();
            let mut here = left & !others;
            let va = (start & !OFFSET).wrapping_add(first.into());
            let Ok(page) = self.page(va, Access::Read) else {
                return false;
            };
            let load = |lane: usize| {
                let offset = (places.0[lane] & (PAGE - 1)) as usize & !(T::SIZE - 1);
                // SAFETY: The unit is aligned and in this page, wherever the lane's own may be; else as in `load`.
                unsafe { T::load(page.add(offset)) }
            };
            if here == active {
                for lane in 0..32 {
                    out.0[lane] = load(lane);
                }
                return true;
            }
            left &= !here;
            while here != 0 {
                let lane = here.trailing_zeros() as usize % 32;
                out.0[lane] = load(lane);
                here &= here - 1;
            }
        }
        true
    }

    /// Fills `words` from `va` on, which is aligned; the error is the first address that could not be read.
    pub(crate) fn read_words(&mut self, va: u64, words: &mut [u32]) -> Result<(), u64> {
        let mut va = va & !3;
        let mut rest = words;
        while !rest.is_empty() {
            let page = self.page(va, Access::Read).map_err(|_| va)?;
            let offset = (va & OFFSET) as usize;
            let here = rest.len().min((PAGE_SIZE as usize - offset) / 4);
            let (now, then) = rest.split_at_mut(here);
            for (i, word) in now.iter_mut().enumerate() {
                // SAFETY: The word is aligned and ends inside of the page; else as in `load`.
                *word = unsafe { u32::load(page.add(offset + 4 * i)) };
            }
            va = va.wrapping_add(4 * here as u64);
            rest = then;
        }
        Ok(())
    }

    /// The counterpart of `read_words`.
    pub(crate) fn write_words(&mut self, va: u64, words: &[u32]) -> Result<(), u64> {
        let mut va = va & !3;
        let mut rest = words;
        while !rest.is_empty() {
            let page = self.page(va, Access::Write).map_err(|_| va)?;
            let offset = (va & OFFSET) as usize;
            let here = rest.len().min((PAGE_SIZE as usize - offset) / 4);
            let (now, then) = rest.split_at(here);
            // Single words up to where pairs are aligned, and at the end.
            let (first, pairs) = now.split_at((offset / 4 % 2).min(here));
            let (pairs, last) = pairs.as_chunks::<2>();
            // SAFETY: As in `read_words`, and the page was asked for with write access. All that is in `now` is in it.
            unsafe {
                let mut at = page.add(offset);
                for &word in first {
                    u32::store(at, word);
                    at = at.add(4);
                }
                for pair in pairs {
                    let both = u64::from(pair[1]) << 32 | u64::from(pair[0]);
                    AtomicU64::from_ptr(at.cast()).store(both, Relaxed);
                    at = at.add(8);
                }
                for &word in last {
                    u32::store(at, word);
                    at = at.add(4);
                }
            }
            va = va.wrapping_add(4 * here as u64);
            rest = then;
        }
        Ok(())
    }

    #[inline(always)]
    fn one_page(&mut self, va: &[u64; 32], active: u32, access: Access) -> Option<*mut u8> {
        let first = va[active.trailing_zeros() as usize % 32];
        let mut differ = 0;
        for lane in 0..32 {
            let on = u64::from(active >> lane & 1).wrapping_neg();
            differ |= (va[lane] ^ first) & on;
        }
        if differ >= PAGE_SIZE {
            return None;
        }
        self.page(first, access).ok()
    }

    /// Whether these bytes are what memory holds from `va` on.
    pub(crate) fn holds(&mut self, va: u64, bytes: &[u8]) -> bool {
        let (mut at, mut rest) = (va, bytes);
        while !rest.is_empty() {
            let offset = (at & OFFSET) as usize;
            let (here, next) = rest.split_at(rest.len().min(PAGE_SIZE as usize - offset));
            let Ok(page) = self.page(at, Access::Read) else {
                return false;
            };
            let mut differ = 0;
            // Words where both are aligned, which they are for programs; single bytes else.
            let words = if offset.is_multiple_of(4) {
                here.len() / 4
            } else {
                0
            };
            let (whole, single) = here.split_at(words * 4);
            for (i, word) in whole.chunks_exact(4).enumerate() {
                let wanted = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                // SAFETY: The word is aligned and in its page by the above; else as in `load`.
                differ |= wanted ^ unsafe { u32::load(page.add(offset + i * 4)) };
            }
            for (i, &byte) in single.iter().enumerate() {
                // SAFETY: As above.
                differ |= u32::from(byte) ^ unsafe { u8::load(page.add(offset + words * 4 + i)) };
            }
            if differ != 0 {
                return false;
            }
            at = at.wrapping_add(here.len() as u64);
            rest = next;
        }
        true
    }

    /// The word at `va` for atomic operations.
    pub(crate) fn atomic(&mut self, va: u64) -> Result<&AtomicU32, Unmapped> {
        let page = self.page(va, Access::Write)?;
        let offset = (va & OFFSET) as usize & !3;
        // SAFETY: As in `store`; the reference does not outlive `self`.
        Ok(unsafe { AtomicU32::from_ptr(page.add(offset).cast()) })
    }

    /// Fills `buffer` from `va` on; the error is the first address that could not be read.
    pub(crate) fn read(&mut self, va: u64, buffer: &mut [u8]) -> Result<(), u64> {
        let mut done = 0;
        while done < buffer.len() {
            let at = va.wrapping_add(done as u64);
            let rest = &mut buffer[done..];
            if at.is_multiple_of(4) && rest.len() >= 4 {
                let word = self.load::<u32>(at).map_err(|_| at)?;
                rest[..4].copy_from_slice(&word.to_le_bytes());
                done += 4;
            } else {
                rest[0] = self.load::<u8>(at).map_err(|_| at)? as u8;
                done += 1;
            }
        }
        Ok(())
    }

    /// Reads a word for a unit that runs no program.
    pub(crate) fn word(&mut self, va: u64, unit: crate::Unit) -> Result<u32, JobError> {
        self.load::<u32>(va)
            .map_err(|_| GpuFault::new(va, Access::Read, unit).into())
    }

    /// Ends a job for `length` bytes at `va` that the model does not know, and tells them if they are there.
    pub(crate) fn refuse<T>(&mut self, va: u64, length: usize, why: &str) -> Result<T, JobError> {
        let mut bytes = vec![0; length];
        if self.read(va, &mut bytes).is_err() {
            bytes.clear();
        }
        Err(Unsupported {
            va,
            bytes,
            why: why.into(),
        }
        .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One page behind one entry of a table, which says whether it may be written.
    struct Space {
        entry: AtomicU64,
        page: Box<[AtomicU32; 4096]>,
    }

    // SAFETY: The page lives as long as `self` and is made of atomics.
    unsafe impl GpuMemory for Space {
        fn page(&self, va: u64, access: Access) -> Result<NonNull<u8>, Unmapped> {
            let rights = self.entry.load(Relaxed);
            let allowed = va == 0 && rights & (1 + u64::from(access == Access::Write)) != 0;
            let at = NonNull::from(&*self.page).cast();
            allowed.then_some(at).ok_or(Unmapped)
        }

        fn witness(&self, _: u64) -> Witness {
            let entry = NonNull::from(&self.entry).cast();
            // SAFETY: The entry lives as long as `self` and is atomic.
            unsafe { Witness::new([(entry, self.entry.load(Relaxed)); 2]) }
        }
    }

    #[test]
    fn a_page_is_gone_as_soon_as_its_entry_is() {
        let space = Space {
            entry: AtomicU64::new(3),
            page: Box::new([const { AtomicU32::new(0) }; 4096]),
        };
        let mut memory = Memory::new(&space);
        assert_eq!(memory.store::<u32>(8, 5), Ok(()));
        assert_eq!(memory.load::<u32>(8), Ok(5));
        // Read only.
        space.entry.store(1, Relaxed);
        assert_eq!(memory.store::<u32>(8, 6), Err(Unmapped));
        assert_eq!(memory.load::<u32>(8), Ok(5));
        // Nothing.
        space.entry.store(0, Relaxed);
        assert_eq!(memory.load::<u32>(8), Err(Unmapped));
        assert!(memory.atomic(8).is_err());
        assert_eq!(space.page[2].load(Relaxed), 5);
        // And again there.
        space.entry.store(3, Relaxed);
        assert_eq!(memory.store::<u32>(8, 7), Ok(()));
        assert_eq!(memory.load::<u32>(8), Ok(7));
    }

    #[test]
    fn witnesses() {
        assert!(Witness::constant().holds());
        assert!(!Witness::broken().holds());
    }
}
