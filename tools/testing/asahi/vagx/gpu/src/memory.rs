// SPDX-License-Identifier: MIT OR Apache-2.0

//! GPU virtual memory as the core sees it.
//!
//! The guest's CPUs and other lanes may change memory at any time. So no reference to it ever exists: every access goes
//! through an atomic of its own size, relaxed, which on all supported hosts is an ordinary load or store.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering::Relaxed};

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
}

/// A worker's memory: the address space behind a small cache of page addresses, which lives as long as the job.
pub(crate) struct Memory<'a> {
    space: &'a dyn GpuMemory,
    read: Box<[Entry; WAYS]>,
    write: Box<[Entry; WAYS]>,
}

const EMPTY: Entry = Entry {
    page: u64::MAX,
    at: std::ptr::null_mut(),
};

impl<'a> Memory<'a> {
    pub(crate) fn new(space: &'a dyn GpuMemory) -> Self {
        Memory {
            space,
            read: Box::new([EMPTY; WAYS]),
            write: Box::new([EMPTY; WAYS]),
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
        if entry.page != page {
            let at = Self::fill(self.space, va, access)?;
            *entry = Entry { page, at };
        }
        Ok(entry.at)
    }

    #[cold]
    fn fill(space: &dyn GpuMemory, va: u64, access: Access) -> Result<*mut u8, Unmapped> {
        Ok(space.page(va & !OFFSET, access)?.as_ptr())
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
}
