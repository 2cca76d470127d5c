// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The MMU itself: the TTBAT, the handoff area, and the firmware's own address spaces.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    io::{
        memremap::{
            Mem,
            MemType, //
        },
        Io,
        PhysAddr, //
    },
    io_pgtable::uat::tlb,
    new_mutex,
    of_reserved_mem::ReservedRegion,
    page::vmalloc::VmallocPages,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        barrier,
        Arc,
        Mutex,
        SetOnce, //
    },
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    }, //
};

use super::{
    handoff::{
        self,
        Handoff, //
    },
    kernel_va,
    slots::{
        Found,
        Slots,
        VmSlot, //
    },
    Kind,
    Vm,
    NUM_SLOTS,
    PAGE_SIZE, //
};

/// An entry of the TTBAT is valid.
const TTBR_VALID: u64 = 1 << 0;
/// Position of the ASID in an entry of the TTBAT. The driver uses the slot's number.
const TTBR_ASID_SHIFT: u32 = 48;

/// Size of an entry of the TTBAT: TTB0 and TTB1.
const TTBAT_STRIDE: usize = 2 * size_of::<u64>();

/// The entry of the kernel half's root that leads to the driver's part.
const ROOT_ENTRY: usize = ((kernel_va::PRIVATE.start >> 36) & 7) as usize * size_of::<u64>();

// All of the driver's part is behind one entry.
const _: () = assert!(kernel_va::PRIVATE.start & ((1 << 36) - 1) == 0);
const _: () = assert!(kernel_va::MMIO.end - kernel_va::PRIVATE.start == 1 << 36);

/// How long the firmware may take to leave an address space that has nothing to do any more.
const LEAVE_TIMEOUT: Delta = Delta::from_millis(100);

/// How the firmware is asked to flush its cache.
pub(crate) trait Flusher: Send + Sync {
    /// Flushes `pages` pages from `addr` on, which `slot` of the handoff area describes, and waits
    /// for it.
    fn flush(&self, slot: u32, addr: u64, pages: u16) -> Result;
}

/// Who wants to know when a slot has come free.
pub(crate) trait SlotListener: Send + Sync {
    /// A slot is not in use any more. This is called without any lock of the MMU.
    fn slot_idle(&self);
}

/// What is in memory shared with the firmware, and what the driver knows about it.
struct State {
    handoff: Handoff,
    ttbat: Mem,
    slots: Slots,
    /// The hardware looks at the TTBAT.
    live: bool,
    /// Nobody gets a slot any more.
    closed: bool,
    /// The firmware does not run any more, so that nobody waits for it.
    gone: bool,
}

/// The part of the MMU that address spaces hold on to.
#[pin_data]
pub(super) struct UatInner {
    dev: ARef<Device>,
    oas: u32,
    next_id: Atomic<u64>,
    #[pin]
    state: Mutex<State>,
    listener: SetOnce<Arc<dyn SlotListener>>,
    #[pin]
    flusher: Mutex<Option<Arc<dyn Flusher>>>,
    /// Memory that the firmware may still write to, because it did not flush its cache. It stays
    /// until there is neither the firmware nor an address space any more.
    #[pin]
    kept: Mutex<KVec<Arc<VmallocPages>>>,
}

/// A flush of the firmware's cache that has begun to be prepared.
pub(super) struct Flush<'a> {
    uat: &'a UatInner,
    slot: u32,
    flusher: Arc<dyn Flusher>,
    /// The address space whose slot must not go away meanwhile.
    vm: Option<&'a Vm>,
    begun: bool,
    failed: bool,
}

impl State {
    fn set_ttbat(&self, slot: u32, ttb0: u64, ttb1: u64) -> Result {
        // CAST: The number of a slot is small.
        let entry = slot as usize * TTBAT_STRIDE;

        self.ttbat.try_write64(ttb1, entry + size_of::<u64>())?;
        self.ttbat.try_write64(ttb0, entry)?;
        barrier::mb(barrier::Full);
        Ok(())
    }
}

impl UatInner {
    pub(super) fn dev(&self) -> &Device {
        &self.dev
    }

    pub(super) fn oas(&self) -> u32 {
        self.oas
    }

    pub(super) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Relaxed)
    }

    /// The slot that an address space has, busy or idle.
    pub(super) fn slot_of(&self, vm: &Vm) -> Option<u32> {
        let state = self.state.lock();

        if state.live {
            state.slots.of(vm.id)
        } else {
            None
        }
    }

    fn slot_idle(&self) {
        if let Some(listener) = self.listener.as_ref() {
            listener.slot_idle();
        }
    }

    /// Takes a slot for an address space, if there is one.
    ///
    /// This is in the path that signals fences, and so the lock must not be held while memory is
    /// allocated.
    pub(super) fn try_bind_slot(&self, vm: &Arc<Vm>) -> Result<Option<VmSlot>> {
        if vm.kind != Kind::User {
            return Err(EINVAL);
        }

        let mut state = self.state.lock();

        if !state.live || state.closed {
            return Err(ENODEV);
        }

        // The firmware may still be in a slot that is not in use any more. Its owner may have it
        // back, but nobody else. Then all others are in use, so one of them is going to be free.
        let avoid = match state.slots.of(vm.id) {
            Some(_) => None,
            None => state
                .handoff
                .locked(&self.dev, || state.handoff.current_slot())??,
        };

        let slot = match state.slots.take(vm.id, avoid) {
            None => return Ok(None),
            Some(Found::Kept(slot)) => slot,
            Some(Found::New(slot)) => {
                if let Err(e) = self.fill_slot(&state, vm, slot) {
                    state.slots.evict(vm.id);
                    return Err(e);
                }
                slot
            }
        };
        Ok(Some(VmSlot::new(vm.clone(), slot)))
    }

    /// Enters an address space in the TTBAT, in place of what was there.
    fn fill_slot(&self, state: &State, vm: &Vm, slot: u32) -> Result {
        let ttb0 = vm.root | TTBR_VALID | u64::from(slot) << TTBR_ASID_SHIFT;

        state
            .handoff
            .locked(&self.dev, || state.set_ttbat(slot, ttb0, 0))??;

        // Nothing of the slot's former owner may be left.
        tlb::flush_asid(slot as u8);
        Ok(())
    }

    /// Clears the entry of a slot in the TTBAT when the firmware is not in it.
    fn leave_slot(&self, state: &State, slot: u32) -> Result {
        let start = Instant::<Monotonic>::now();

        loop {
            let left = state.handoff.locked(&self.dev, || {
                if state.handoff.current_slot()? == Some(slot) {
                    return Ok(false);
                }
                state.set_ttbat(slot, 0, 0).map(|()| true)
            })??;

            if left {
                return Ok(());
            }
            if start.elapsed() > LEAVE_TIMEOUT {
                return Err(ETIMEDOUT);
            }
            fsleep(Delta::from_micros(100));
        }
    }

    pub(super) fn put_slot(&self, vm: &Vm) {
        let idle = self.state.lock().slots.put(vm.id);

        if idle {
            self.slot_idle();
        }
    }

    /// Takes away the slot of an address space that goes away.
    pub(super) fn evict(&self, id: u64) {
        let mut state = self.state.lock();
        let Some(slot) = state.slots.evict(id) else {
            return;
        };

        if state.live {
            if state.gone {
                let _ = state.set_ttbat(slot, 0, 0);
            } else if self.leave_slot(&state, slot).is_err() {
                dev_err!(
                    self.dev,
                    "timed out waiting for the firmware to leave the address space slot {}\n",
                    slot
                );
                // The tables go away, so the hardware must not find them nevertheless.
                let _ = state.set_ttbat(slot, 0, 0);
            }
            tlb::flush_asid(slot as u8);
        }
        drop(state);
        self.slot_idle();
    }

    /// Keeps memory that the firmware may still write to.
    pub(super) fn keep(&self, pages: Arc<VmallocPages>) {
        let mut kept = self.kept.lock();

        if kept.reserve(1, GFP_KERNEL).is_ok() {
            // There is room for it.
            let _ = kept.push(pages, GFP_KERNEL);
        } else {
            // Rather lost than written to by two.
            core::mem::forget(pages);
        }
    }

    /// Prepares to flush the firmware's cache of pages of an address space, if it can have any.
    pub(super) fn prepare_flush<'a>(&'a self, vm: &'a Vm) -> Option<Flush<'a>> {
        let flusher = self.flusher.lock().clone()?;
        let mut state = self.state.lock();

        if !state.live || state.gone {
            return None;
        }

        let (slot, vm) = match vm.kind {
            Kind::Kernel => (handoff::FLUSH_KERNEL, None),
            Kind::KernelLower => return None,
            Kind::User => {
                let slot = state.slots.of(vm.id)?;
                // The firmware keeps nothing of an address space that it has left.
                let current = state
                    .handoff
                    .locked(&self.dev, || state.handoff.current_slot());

                if current != Ok(Ok(Some(slot))) {
                    return None;
                }
                state.slots.take(vm.id, None);
                (slot, Some(vm))
            }
        };
        drop(state);

        Some(Flush {
            uat: self,
            slot,
            flusher,
            vm,
            begun: false,
            failed: false,
        })
    }
}

impl Flush<'_> {
    /// Flushes. The pages must be mapped uncached already, and may be unmapped afterwards.
    pub(super) fn run(mut self, addr: u64, size: usize) -> Self {
        let ret = u16::try_from(size / PAGE_SIZE)
            .map_err(|_| EINVAL)
            .and_then(|pages| {
                self.uat
                    .state
                    .lock()
                    .handoff
                    .begin_flush(self.slot, addr, size as u64)?;
                self.begun = true;
                self.flusher.flush(self.slot, addr, pages)
            });

        // Without a firmware there is no cache to flush.
        if ret.is_err_and(|e| e != ENODEV) {
            self.failed = true;
            dev_err!(
                self.uat.dev,
                "the firmware did not flush its cache of {:#x} bytes at {:#x}\n",
                size,
                addr
            );
        }
        self
    }

    /// Returns whether the firmware may have something left in its cache.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }
}

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        if self.begun {
            let done = self.uat.state.lock().handoff.end_flush(self.slot);

            if done == Ok(false) {
                dev_dbg!(self.uat.dev, "flush {} was not acknowledged\n", self.slot);
            }
        }
        if let Some(vm) = self.vm {
            self.uat.put_slot(vm);
        }
    }
}

/// The MMU.
pub(crate) struct Uat {
    inner: Arc<UatInner>,
    /// The kernel half.
    kernel: Arc<Vm>,
    /// The lower half of slot 0.
    kernel_lower: Arc<Vm>,
    /// The root of the kernel half, made by the bootloader.
    root: Mem,
    root_phys: PhysAddr,
    ttbat_phys: PhysAddr,
}

impl Uat {
    fn region(dev: &Device<Bound>, name: &'static CStr, size: usize) -> Result<ReservedRegion> {
        let region = ReservedRegion::by_name(dev, name).inspect_err(|_| {
            dev_err!(dev, "the memory region {:?} is missing\n", name);
        })?;

        if region.size() < size {
            dev_err!(
                dev,
                "the memory region {:?} is too small: {:#x} bytes instead of {:#x}\n",
                name,
                region.size(),
                size
            );
            return Err(EINVAL);
        }
        Ok(region)
    }

    /// Sets up the MMU, without showing anything to the hardware yet.
    pub(crate) fn new(dev: &Device<Bound>, oas: u32) -> Result<Self> {
        let handoff = Self::region(dev, c"handoff", handoff::SIZE)?;
        let ttbat = Self::region(dev, c"ttbs", NUM_SLOTS * TTBAT_STRIDE)?;
        let root = Self::region(dev, c"pagetables", PAGE_SIZE)?;

        let handoff = Handoff::new(handoff.map(MemType::WriteBack)?)?;
        let ttbat_phys = ttbat.start();
        let ttbat = ttbat.map(MemType::WriteBack)?;
        let root_phys = root.start();
        let root = root.map(MemType::WriteBack)?;

        if root.try_read64(ROOT_ENTRY)? != 0 {
            dev_err!(
                dev,
                "the driver's part of the firmware's address space is in use\n"
            );
            return Err(EBUSY);
        }

        let inner = Arc::pin_init(
            pin_init!(UatInner {
                dev: dev.into(),
                oas,
                // 0 is no address space.
                next_id: Atomic::new(1),
                state <- new_mutex!(State {
                    handoff,
                    ttbat,
                    slots: Slots::new(),
                    live: false,
                    closed: false,
                    gone: false,
                }),
                listener: SetOnce::new(),
                flusher <- new_mutex!(None),
                kept <- new_mutex!(KVec::new()),
            }),
            GFP_KERNEL,
        )?;

        Ok(Self {
            kernel: Vm::new(inner.clone(), Kind::Kernel)?,
            kernel_lower: Vm::new(inner.clone(), Kind::KernelLower)?,
            inner,
            root,
            root_phys,
            ttbat_phys,
        })
    }

    /// The kernel half.
    pub(crate) fn kernel(&self) -> &Arc<Vm> {
        &self.kernel
    }

    /// The lower half of slot 0.
    pub(crate) fn kernel_lower(&self) -> &Arc<Vm> {
        &self.kernel_lower
    }

    /// Physical address of the TTBAT.
    pub(crate) fn ttbat_phys(&self) -> PhysAddr {
        self.ttbat_phys
    }

    /// Makes an address space for user space.
    pub(crate) fn new_vm(&self) -> Result<Arc<Vm>> {
        Vm::new(self.inner.clone(), Kind::User)
    }

    /// Shows the firmware's address spaces to the hardware, and prepares the handoff area.
    ///
    /// Something must be mapped in the kernel half. `stopped` says that the coprocessor does not
    /// run, so that what an earlier firmware has left behind can be cleared.
    pub(crate) fn publish(&self, stopped: bool) -> Result {
        // SAFETY: This is the root of the page table, which `self.kernel` keeps where it is; it is
        // only read here.
        let own_root = unsafe { Mem::new(self.kernel.root, PAGE_SIZE, MemType::WriteBack)? };
        let entry = own_root.try_read64(ROOT_ENTRY)?;

        if entry == 0 {
            return Err(EINVAL);
        }

        let mut state = self.inner.state.lock();

        if stopped {
            state.handoff.reset()?;
        }
        self.root.try_write64(entry, ROOT_ENTRY)?;
        state.live = true;
        for slot in 1..NUM_SLOTS as u32 {
            state.set_ttbat(slot, 0, 0)?;
        }
        state.set_ttbat(
            0,
            self.kernel_lower.root | TTBR_VALID,
            self.root_phys | TTBR_VALID,
        )?;
        tlb::flush_all();
        state.handoff.announce()
    }

    /// Waits for the firmware to take part in the handoff protocol.
    pub(crate) fn wait_for_firmware(&self) -> Result {
        self.inner
            .state
            .lock()
            .handoff
            .wait_for_firmware(&self.inner.dev)
    }

    /// Says how the firmware is asked to flush its cache.
    pub(crate) fn set_flusher(&self, flusher: Arc<dyn Flusher>) {
        *self.inner.flusher.lock() = Some(flusher);
    }

    /// Says who wants to know when a slot has come free. Done once.
    pub(crate) fn set_slot_listener(&self, listener: Arc<dyn SlotListener>) {
        self.inner.listener.populate(listener);
    }

    /// Hands out no more slots.
    pub(crate) fn close(&self) {
        self.inner.state.lock().closed = true;
    }

    /// The firmware does not run any more. Nothing waits for it from here on.
    pub(crate) fn abandon(&self) {
        self.inner.state.lock().gone = true;
    }

    /// Takes everything away from the hardware.
    ///
    /// What still uses address spaces works on, but nobody looks at them any more.
    pub(crate) fn shutdown(&self) {
        let flusher = self.inner.flusher.lock().take();
        let mut state = self.inner.state.lock();

        if state.live {
            state.live = false;
            for slot in 0..NUM_SLOTS as u32 {
                // The region's size was checked, so this does not fail.
                let _ = state.set_ttbat(slot, 0, 0);
            }
            let _ = self.root.try_write64(0, ROOT_ENTRY);
            barrier::mb(barrier::Full);
            tlb::flush_all();
        }
        drop(state);
        drop(flusher);
    }
}

impl Drop for Uat {
    fn drop(&mut self) {
        self.shutdown();
    }
}
