// SPDX-License-Identifier: MIT OR Apache-2.0

//! Physical memory by physical address.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst};

/// An access to a physical address where no RAM answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no RAM at physical address {pa:#x}")]
pub struct BusError {
    /// The first address that did not answer.
    pub pa: u64,
}

/// Contiguous host memory that backs RAM from some physical address onward.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Host address of the first byte.
    pub ptr: NonNull<u8>,
    /// Number of bytes from there; never zero.
    pub len: usize,
}

/// RAM, as a bus master sees it.
///
/// The memory is shared with running processors, so it is never borrowed: bytes are copied through
/// raw pointers, and aligned words are single-copy atomic and sequentially consistent. Accesses may
/// cross from one run into the next.
///
/// # Safety
///
/// What [`run`](Self::run) returns must stay readable and writable for `len` bytes as long as
/// `self` lives, and two runs must reach the same byte of a physical address. `ptr` must be as
/// aligned as `pa` is, up to 16 KiB.
pub unsafe trait PhysMem: Send + Sync {
    /// The contiguous memory that starts at `pa`, as long as it goes, or `None` without RAM there.
    fn run(&self, pa: u64) -> Option<Run>;

    /// Host address of `len` bytes at `pa`, if they are contiguous RAM.
    fn host(&self, pa: u64, len: usize) -> Option<NonNull<u8>> {
        let run = self.run(pa)?;
        (run.len >= len).then_some(run.ptr)
    }

    /// Copies from physical memory. On error a first part may have been copied.
    fn read(&self, mut pa: u64, mut buf: &mut [u8]) -> Result<(), BusError> {
        while !buf.is_empty() {
            let run = self.run(pa).ok_or(BusError { pa })?;
            let n = run.len.min(buf.len());
            let (now, rest) = buf.split_at_mut(n);
            // SAFETY: `run` covers `n` bytes (contract of the trait), `now` is `n` bytes of our
            // own memory, which a run of guest RAM does not overlap.
            unsafe { ptr::copy_nonoverlapping(run.ptr.as_ptr(), now.as_mut_ptr(), n) };
            buf = rest;
            pa = pa.wrapping_add(n as u64);
        }
        Ok(())
    }

    /// Copies to physical memory. On error a first part may have been copied.
    fn write(&self, mut pa: u64, mut data: &[u8]) -> Result<(), BusError> {
        while !data.is_empty() {
            let run = self.run(pa).ok_or(BusError { pa })?;
            let (now, rest) = data.split_at(run.len.min(data.len()));
            // SAFETY: As in `read`, in the other direction.
            unsafe { ptr::copy_nonoverlapping(now.as_ptr(), run.ptr.as_ptr(), now.len()) };
            pa = pa.wrapping_add(now.len() as u64);
            data = rest;
        }
        Ok(())
    }

    /// Reads a byte.
    fn read_u8(&self, pa: u64) -> Result<u8, BusError> {
        let ptr = self.host(pa, 1).ok_or(BusError { pa })?;
        // SAFETY: `host` gave one byte that stays valid; everyone reaches it atomically or by
        // copies of which no Rust reference is made.
        Ok(unsafe { AtomicU8::from_ptr(ptr.as_ptr()) }.load(SeqCst))
    }

    /// Writes a byte.
    fn write_u8(&self, pa: u64, value: u8) -> Result<(), BusError> {
        let ptr = self.host(pa, 1).ok_or(BusError { pa })?;
        // SAFETY: As in `read_u8`.
        unsafe { AtomicU8::from_ptr(ptr.as_ptr()) }.store(value, SeqCst);
        Ok(())
    }

    /// Reads 16 bits, atomically if aligned.
    fn read_u16(&self, pa: u64) -> Result<u16, BusError> {
        match self.host(pa, 2) {
            // SAFETY: Two bytes that stay valid, aligned because `pa` is.
            Some(ptr) if pa.is_multiple_of(2) => {
                Ok(unsafe { AtomicU16::from_ptr(ptr.as_ptr().cast()) }.load(SeqCst))
            }
            _ => {
                let mut b = [0; 2];
                self.read(pa, &mut b)?;
                Ok(u16::from_le_bytes(b))
            }
        }
    }

    /// Reads 32 bits, atomically if aligned.
    fn read_u32(&self, pa: u64) -> Result<u32, BusError> {
        match self.host(pa, 4) {
            // SAFETY: Four bytes that stay valid, aligned because `pa` is.
            Some(ptr) if pa.is_multiple_of(4) => {
                Ok(unsafe { AtomicU32::from_ptr(ptr.as_ptr().cast()) }.load(SeqCst))
            }
            _ => {
                let mut b = [0; 4];
                self.read(pa, &mut b)?;
                Ok(u32::from_le_bytes(b))
            }
        }
    }

    /// Writes 32 bits, atomically if aligned.
    fn write_u32(&self, pa: u64, value: u32) -> Result<(), BusError> {
        match self.host(pa, 4) {
            // SAFETY: Four bytes that stay valid, aligned because `pa` is.
            Some(ptr) if pa.is_multiple_of(4) => {
                unsafe { AtomicU32::from_ptr(ptr.as_ptr().cast()) }.store(value, SeqCst);
                Ok(())
            }
            _ => self.write(pa, &value.to_le_bytes()),
        }
    }

    /// Reads 64 bits, atomically if aligned.
    fn read_u64(&self, pa: u64) -> Result<u64, BusError> {
        match self.host(pa, 8) {
            // SAFETY: Eight bytes that stay valid, aligned because `pa` is.
            Some(ptr) if pa.is_multiple_of(8) => {
                Ok(unsafe { AtomicU64::from_ptr(ptr.as_ptr().cast()) }.load(SeqCst))
            }
            _ => {
                let mut b = [0; 8];
                self.read(pa, &mut b)?;
                Ok(u64::from_le_bytes(b))
            }
        }
    }

    /// Writes 64 bits, atomically if aligned.
    fn write_u64(&self, pa: u64, value: u64) -> Result<(), BusError> {
        match self.host(pa, 8) {
            // SAFETY: Eight bytes that stay valid, aligned because `pa` is.
            Some(ptr) if pa.is_multiple_of(8) => {
                unsafe { AtomicU64::from_ptr(ptr.as_ptr().cast()) }.store(value, SeqCst);
                Ok(())
            }
            _ => self.write(pa, &value.to_le_bytes()),
        }
    }

    /// Adds to 32 aligned bits as one step; returns what was there.
    fn fetch_add_u32(&self, pa: u64, add: u32) -> Result<u32, BusError> {
        let ptr = self
            .host(pa, 4)
            .filter(|_| pa.is_multiple_of(4))
            .ok_or(BusError { pa })?;
        // SAFETY: Four bytes that stay valid, aligned because `pa` is.
        Ok(unsafe { AtomicU32::from_ptr(ptr.as_ptr().cast()) }.fetch_add(add, SeqCst))
    }
}
