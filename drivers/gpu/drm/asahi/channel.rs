// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Channels: rings of messages between the driver and the firmware.
//!
//! The writer of a ring owns the write pointer, the reader the read pointer. Both keep their own
//! pointer to themselves and only publish it, so what the firmware writes there cannot lead the
//! driver out of the ring; the other side's pointer is checked.

use kernel::{
    device::Device,
    new_mutex,
    prelude::*,
    soc::apple::rtkit::Sender,
    sync::{
        aref::ARef,
        barrier,
        Arc,
        Mutex, //
    },
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    },
    transmute::FromBytes, //
};

use crate::{
    alloc::KernelHeaps,
    fw::{
        channels::{
            ChannelState,
            DeviceControlMsg,
            FwCtlMsg,
            FwCtlState,
            PipeMsg,
            RING_SIZE, //
        },
        initdata::ChannelRing, //
    },
    gpu::{
        DOORBELL_DEVCTRL,
        DOORBELL_KICK,
        EP_DOORBELL,
        MSG_FWCTL,
        MSG_TX_DOORBELL, //
    },
    mmu::uat::Flusher,
    object::{
        GpuArray, //
    },
};

/// How long the firmware may take to read a message.
const READ_TIMEOUT: Delta = Delta::from_millis(1000);

/// How long to sleep between polls, at first and later.
const SHORT_SLEEP: Delta = Delta::from_micros(20);
const LONG_SLEEP: Delta = Delta::from_millis(1);
const SHORT_SLEEPS: Delta = Delta::from_millis(10);

/// The shared state of a ring.
pub(crate) trait RingState: FromBytes {
    fn read_ptr(this: *mut Self) -> *mut u32;
    fn write_ptr(this: *mut Self) -> *mut u32;
}

impl RingState for ChannelState {
    fn read_ptr(this: *mut Self) -> *mut u32 {
        kernel::ptr::project!(mut this, .read_ptr)
    }

    fn write_ptr(this: *mut Self) -> *mut u32 {
        kernel::ptr::project!(mut this, .write_ptr)
    }
}

impl RingState for FwCtlState {
    fn read_ptr(this: *mut Self) -> *mut u32 {
        kernel::ptr::project!(mut this, .read_ptr)
    }

    fn write_ptr(this: *mut Self) -> *mut u32 {
        kernel::ptr::project!(mut this, .write_ptr)
    }
}

/// The kinds of work. The numbers are the firmware's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum PipeType {
    Vertex = 0,
    Fragment = 1,
    Compute = 2,
}

/// Number of kinds of work.
pub(crate) const PIPE_TYPES: usize = 3;

/// Number of priorities.
pub(crate) const PRIORITIES: usize = 4;

/// Waits between two polls, for something that has been awaited since `start`.
pub(crate) fn poll_sleep(start: Instant<Monotonic>) {
    fsleep(if start.elapsed() < SHORT_SLEEPS {
        SHORT_SLEEP
    } else {
        LONG_SLEEP
    });
}

/// A ring that the driver writes.
pub(crate) struct TxRing<S, M> {
    name: &'static str,
    state: GpuArray<S>,
    ring: GpuArray<M>,
    wptr: u32,
}

impl<S: RingState, M: FromBytes> TxRing<S, M> {
    /// Makes a ring. `cached` is whether the firmware may cache the messages.
    fn new(name: &'static str, heaps: &KernelHeaps, cached: bool) -> Result<Self> {
        let heap = if cached {
            &heaps.private
        } else {
            &heaps.shared
        };

        Ok(Self {
            name,
            state: GpuArray::zeroed(&heaps.shared, 1)?,
            ring: GpuArray::zeroed(heap, RING_SIZE)?,
            wptr: 0,
        })
    }

    /// What the firmware is told about the ring.
    pub(crate) fn to_raw(&self) -> ChannelRing {
        ChannelRing {
            state: self.state.gpu_va().into(),
            ring: self.ring.gpu_va().into(),
        }
    }

    fn rptr(&self) -> Result<u32> {
        let ptr = S::read_ptr(self.state.ptr(0)?);
        // SAFETY: The pointer is to a field of an element of the array, and aligned.
        Ok(unsafe { ptr.read_volatile() })
    }

    /// Waits until the firmware has read enough for `done`.
    ///
    /// This ends early with [`ENODEV`] when the firmware is gone.
    fn wait(
        &self,
        dev: &Device,
        sender: &Sender,
        what: &str,
        done: impl Fn(u32) -> bool,
    ) -> Result {
        let start = Instant::<Monotonic>::now();

        loop {
            let rptr = self.rptr()?;

            if done(rptr) {
                barrier::dma_mb(barrier::Full);
                return Ok(());
            }
            if !sender.is_alive() {
                return Err(ENODEV);
            }
            if start.elapsed() > READ_TIMEOUT {
                dev_err!(
                    dev,
                    "timed out waiting for the firmware to {} on channel {} (read {}, written {})\n",
                    what,
                    self.name,
                    rptr,
                    self.wptr
                );
                return Err(ETIMEDOUT);
            }
            poll_sleep(start);
        }
    }

    /// Writes a message. The firmware must then be told.
    fn put(&mut self, dev: &Device, sender: &Sender, msg: M) -> Result {
        let next = (self.wptr + 1) % RING_SIZE as u32;

        if self.rptr()? == next {
            self.wait(dev, sender, "make room", |rptr| rptr != next)?;
        }

        self.ring.write(self.wptr as usize, msg)?;
        barrier::dma_mb(barrier::Write);

        let ptr = S::write_ptr(self.state.ptr(0)?);
        // SAFETY: The pointer is to a field of an element of the array, and aligned.
        unsafe { ptr.write_volatile(next) };
        barrier::dma_mb(barrier::Write);

        self.wptr = next;
        Ok(())
    }

    /// Waits until the firmware has read all that was written.
    fn wait_empty(&self, dev: &Device, sender: &Sender) -> Result {
        let wptr = self.wptr;

        self.wait(dev, sender, "process a message", |rptr| rptr == wptr)
    }
}

/// The channels for work.
#[pin_data]
pub(crate) struct Pipe {
    #[pin]
    ring: Mutex<TxRing<ChannelState, PipeMsg>>,
    doorbell: u64,
}

impl Pipe {
    /// Makes the channel for one kind of work of one priority.
    pub(crate) fn new(heaps: &KernelHeaps, kind: PipeType, priority: usize) -> Result<Arc<Self>> {
        let name = match kind {
            PipeType::Vertex => "vertex",
            PipeType::Fragment => "fragment",
            PipeType::Compute => "compute",
        };
        let ring = TxRing::new(name, heaps, true)?;

        Arc::pin_init(
            pin_init!(Self {
                ring <- new_mutex!(ring),
                doorbell: kind as u64 | (priority as u64) << 2,
            }),
            GFP_KERNEL,
        )
    }

    /// What the firmware is told about the ring.
    pub(crate) fn to_raw(&self) -> ChannelRing {
        self.ring.lock().to_raw()
    }

    /// Sends a message.
    pub(crate) fn send(&self, dev: &Device, sender: &Sender, msg: PipeMsg) -> Result {
        let mut ring = self.ring.lock();

        ring.put(dev, sender, msg)?;
        // The lock is held so that doorbells are in the order of the messages.
        sender.send(EP_DOORBELL, MSG_TX_DOORBELL | self.doorbell)
    }
}

/// The channel for commands that concern the whole GPU.
#[pin_data]
pub(crate) struct DeviceControl {
    #[pin]
    ring: Mutex<TxRing<ChannelState, DeviceControlMsg>>,
}

impl DeviceControl {
    /// Makes the channel.
    pub(crate) fn new(heaps: &KernelHeaps) -> Result<Arc<Self>> {
        let ring = TxRing::new("device control", heaps, true)?;

        Arc::pin_init(pin_init!(Self { ring <- new_mutex!(ring) }), GFP_KERNEL)
    }

    /// What the firmware is told about the ring.
    pub(crate) fn to_raw(&self) -> ChannelRing {
        self.ring.lock().to_raw()
    }

    /// Writes a message for a firmware that does not listen yet.
    pub(crate) fn put(&self, dev: &Device, sender: &Sender, msg: DeviceControlMsg) -> Result {
        self.ring.lock().put(dev, sender, msg)
    }

    /// Tells the firmware that there are messages.
    pub(crate) fn ring(&self, sender: &Sender) -> Result {
        sender.send(EP_DOORBELL, MSG_TX_DOORBELL | DOORBELL_DEVCTRL)
    }

    /// Waits until the firmware has read everything.
    pub(crate) fn wait_empty(&self, dev: &Device, sender: &Sender) -> Result {
        self.ring.lock().wait_empty(dev, sender)
    }

    /// Sends a message and waits until the firmware has done what it says.
    pub(crate) fn send(&self, dev: &Device, sender: &Sender, msg: DeviceControlMsg) -> Result {
        let mut ring = self.ring.lock();

        ring.put(dev, sender, msg)?;
        self.ring(sender)?;
        ring.wait_empty(dev, sender)
    }

    /// Sends a message without waiting for anything but room.
    pub(crate) fn post(&self, dev: &Device, sender: &Sender, msg: DeviceControlMsg) -> Result {
        self.put(dev, sender, msg)?;
        self.ring(sender)
    }
}

/// Wakes the firmware.
pub(crate) fn kick(sender: &Sender) -> Result {
    sender.send(EP_DOORBELL, MSG_TX_DOORBELL | DOORBELL_KICK)
}

/// The channel for flushes of the firmware's cache.
#[pin_data]
pub(crate) struct FwCtl {
    dev: ARef<Device>,
    sender: Arc<Sender>,
    #[pin]
    ring: Mutex<TxRing<FwCtlState, FwCtlMsg>>,
}

/// The ring of [`FwCtl`], before there is a firmware to send to.
pub(crate) type FwCtlRing = TxRing<FwCtlState, FwCtlMsg>;

impl FwCtlRing {
    /// Makes the ring.
    pub(crate) fn new_fwctl(heaps: &KernelHeaps) -> Result<Self> {
        Self::new("firmware control", heaps, false)
    }
}

impl FwCtl {
    /// Makes the channel.
    pub(crate) fn new(
        dev: ARef<Device>,
        sender: Arc<Sender>,
        ring: FwCtlRing,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                dev,
                sender,
                ring <- new_mutex!(ring),
            }),
            GFP_KERNEL,
        )
    }
}

impl Flusher for FwCtl {
    fn flush(&self, slot: u32, addr: u64, pages: u16) -> Result {
        if !self.sender.is_alive() {
            return Err(ENODEV);
        }

        let mut ring = self.ring.lock();

        ring.put(
            &self.dev,
            &self.sender,
            FwCtlMsg {
                addr: addr.into(),
                unk_8: 0,
                slot,
                pages,
                unk_12: 2,
            },
        )?;
        self.sender.send(EP_DOORBELL, MSG_FWCTL)?;
        ring.wait_empty(&self.dev, &self.sender)
    }
}
