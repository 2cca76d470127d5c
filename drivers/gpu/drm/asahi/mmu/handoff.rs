// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The handoff area, by which driver and firmware coordinate changes of address spaces.
//!
//! It holds a lock between the two sides, the slot whose address space the firmware itself uses at
//! the moment, and an entry per slot that describes a flush of the firmware's cache.
//!
//! Sources: AsahiLinux/m1n1 `proxyclient/m1n1/fw/agx/handoff.py`, and the out-of-tree driver of
//! AsahiLinux/linux, `drivers/gpu/drm/asahi/mmu.rs`.

use kernel::{
    device::Device,
    io::{
        memremap::Mem,
        Io, //
    },
    prelude::*,
    sync::barrier,
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    }, //
};

use super::NUM_SLOTS;

/// What both sides write to show that they know the protocol.
const MAGIC: u64 = 0x4b1d_0000_0000_0002;

const MAGIC_AP: usize = 0x0;
const MAGIC_FW: usize = 0x8;
const LOCK_AP: usize = 0x10;
const LOCK_FW: usize = 0x11;
const TURN: usize = 0x14;
const CUR_SLOT: usize = 0x18;
const FLUSH: usize = 0x20;
const FLUSH_STRIDE: usize = 0x18;
const FLUSH_STATE: usize = 0x0;
const FLUSH_ADDR: usize = 0x8;
const FLUSH_SIZE: usize = 0x10;
const UNK_638: usize = 0x638;
const UNK_640: usize = 0x640;

/// Size of the area.
pub(super) const SIZE: usize = 0x648;

/// Entry of the kernel half in the array of flushes.
pub(super) const FLUSH_KERNEL: u32 = NUM_SLOTS as u32;

const FLUSHES: usize = NUM_SLOTS + 1;
const _: () = assert!(FLUSH + FLUSHES * FLUSH_STRIDE == UNK_638);

/// How long the firmware may take to say hello, and to give the lock back.
const HELLO_TIMEOUT: Delta = Delta::from_millis(1000);
const LOCK_TIMEOUT: Delta = Delta::from_millis(1000);

/// How long to poll before sleeping between polls.
const SPIN_TIME: Delta = Delta::from_micros(50);

/// The handoff area.
///
/// Users must be serialised by a lock of the driver; the lock in the area is only between the
/// driver and the firmware.
pub(super) struct Handoff {
    mem: Mem,
}

impl Handoff {
    /// Takes over the area. It is checked to be large enough.
    pub(super) fn new(mem: Mem) -> Result<Self> {
        if mem.size() < SIZE {
            return Err(EINVAL);
        }
        Ok(Self { mem })
    }

    /// Makes the area as the bootloader left it.
    ///
    /// Only for when the coprocessor does not run: what a crashed or stopped firmware left behind
    /// must not be mistaken for what the next one writes.
    pub(super) fn reset(&self) -> Result {
        for offset in (0..SIZE).step_by(size_of::<u64>()) {
            self.mem.try_write64(0, offset)?;
        }
        Ok(())
    }

    /// Tells the firmware that the driver is there.
    pub(super) fn announce(&self) -> Result {
        self.mem.try_write64(MAGIC, MAGIC_AP)?;
        self.mem.try_write32(0, CUR_SLOT)?;
        self.mem.try_write64(0, UNK_640)?;
        barrier::mb(barrier::Full);
        Ok(())
    }

    /// Waits for the firmware to say that it is there.
    pub(super) fn wait_for_firmware(&self, dev: &Device) -> Result {
        let start = Instant::<Monotonic>::now();

        loop {
            let magic = self.locked(dev, || self.mem.try_read64(MAGIC_FW))??;

            if magic == MAGIC {
                break;
            }
            if start.elapsed() > HELLO_TIMEOUT {
                dev_err!(
                    dev,
                    "timed out waiting for the firmware to initialise the handoff area\n"
                );
                return Err(ETIMEDOUT);
            }
            fsleep(Delta::from_millis(1));
        }

        for index in 0..FLUSHES {
            let entry = FLUSH + index * FLUSH_STRIDE;

            self.mem.try_write64(0, entry + FLUSH_STATE)?;
            self.mem.try_write64(0, entry + FLUSH_ADDR)?;
            self.mem.try_write64(0, entry + FLUSH_SIZE)?;
        }
        barrier::mb(barrier::Full);
        Ok(())
    }

    /// Runs `f` with the lock between driver and firmware held.
    pub(super) fn locked<R>(&self, dev: &Device, f: impl FnOnce() -> R) -> Result<R> {
        self.lock(dev)?;
        let ret = f();
        self.unlock()?;
        Ok(ret)
    }

    /// Takes the lock by Dekker's algorithm.
    ///
    /// Each store must be seen by the firmware before the load after it is done, hence the full
    /// barriers.
    fn lock(&self, dev: &Device) -> Result {
        let start = Instant::<Monotonic>::now();

        self.mem.try_write8(1, LOCK_AP)?;
        barrier::mb(barrier::Full);

        while self.mem.try_read8(LOCK_FW)? != 0 {
            if self.mem.try_read32(TURN)? != 0 {
                self.mem.try_write8(0, LOCK_AP)?;
                while self.mem.try_read32(TURN)? != 0 {
                    self.relax(dev, start)?;
                }
                self.mem.try_write8(1, LOCK_AP)?;
                barrier::mb(barrier::Full);
            } else {
                self.relax(dev, start)?;
            }
        }
        barrier::mb(barrier::Full);
        Ok(())
    }

    fn unlock(&self) -> Result {
        barrier::mb(barrier::Full);
        self.mem.try_write32(1, TURN)?;
        barrier::mb(barrier::Full);
        self.mem.try_write8(0, LOCK_AP)
    }

    /// One step of waiting for the lock.
    fn relax(&self, dev: &Device, start: Instant<Monotonic>) -> Result {
        let elapsed = start.elapsed();

        if elapsed > LOCK_TIMEOUT {
            let _ = self.mem.try_write8(0, LOCK_AP);
            dev_err!(
                dev,
                "timed out waiting for the firmware to give up the handoff lock\n"
            );
            return Err(ETIMEDOUT);
        }
        if elapsed > SPIN_TIME {
            fsleep(Delta::from_micros(20));
        } else {
            core::hint::spin_loop();
        }
        Ok(())
    }

    /// The slot whose address space the firmware uses itself at the moment.
    pub(super) fn current_slot(&self) -> Result<Option<u32>> {
        match self.mem.try_read32(CUR_SLOT)? {
            0 | u32::MAX => Ok(None),
            slot => Ok(Some(slot)),
        }
    }

    /// Describes a flush, which the firmware must be told about by its control channel.
    pub(super) fn begin_flush(&self, slot: u32, addr: u64, size: u64) -> Result {
        let entry = Self::flush(slot)?;

        if self.mem.try_read64(entry + FLUSH_STATE)? != 0 {
            return Err(EBUSY);
        }
        self.mem.try_write64(addr, entry + FLUSH_ADDR)?;
        self.mem.try_write64(size, entry + FLUSH_SIZE)?;
        barrier::mb(barrier::Full);
        self.mem.try_write64(1, entry + FLUSH_STATE)?;
        barrier::mb(barrier::Full);
        Ok(())
    }

    /// Ends a flush. Returns whether the firmware has done it.
    pub(super) fn end_flush(&self, slot: u32) -> Result<bool> {
        let entry = Self::flush(slot)?;
        let done = self.mem.try_read64(entry + FLUSH_STATE)? == 2;

        self.mem.try_write64(0, entry + FLUSH_STATE)?;
        barrier::mb(barrier::Full);
        Ok(done)
    }

    fn flush(slot: u32) -> Result<usize> {
        if slot > FLUSH_KERNEL {
            return Err(EINVAL);
        }
        // CAST: Checked to be small.
        Ok(FLUSH + slot as usize * FLUSH_STRIDE)
    }
}
