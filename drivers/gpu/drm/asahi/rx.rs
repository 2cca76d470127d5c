// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The channels that the firmware writes: events, its log, traces and statistics.

use kernel::{
    device::Device,
    prelude::*,
    str::{
        BStr,
        CStr, //
    },
    sync::barrier,
    transmute::FromBytes, //
};

use crate::{
    alloc::KernelHeaps,
    channel::RingState,
    fw::{
        channels::{
            ChannelState,
            Event,
            EventMsg,
            FwLogMsg,
            FwLogPayload,
            KTraceMsg,
            StatsMsg,
            FWLOG_MSG,
            FWLOG_PAYLOAD,
            FWLOG_RINGS,
            KTRACE_RING_SIZE,
            RING_SIZE, //
        },
        initdata::ChannelRing, //
    },
    object::GpuArray, //
};

/// One or more rings that the driver reads.
struct RxRing<M, const RINGS: usize> {
    name: &'static str,
    states: GpuArray<ChannelState>,
    messages: GpuArray<M>,
    /// Messages of one ring.
    size: u32,
    rptr: [u32; RINGS],
    /// The firmware's write pointer is nonsense, which has been said. Nothing is read until it is
    /// not any more.
    broken: bool,
}

impl<M: FromBytes, const RINGS: usize> RxRing<M, RINGS> {
    fn new(name: &'static str, heaps: &KernelHeaps, size: usize) -> Result<Self> {
        Ok(Self {
            name,
            states: GpuArray::zeroed(&heaps.shared, RINGS)?,
            messages: GpuArray::zeroed(&heaps.shared, size * RINGS)?,
            size: size.try_into()?,
            rptr: [0; RINGS],
            broken: false,
        })
    }

    fn to_raw(&self) -> ChannelRing {
        ChannelRing {
            state: self.states.gpu_va().into(),
            ring: self.messages.gpu_va().into(),
        }
    }

    /// Takes the next message of a ring.
    fn next(&mut self, dev: &Device, ring: usize) -> Result<Option<M>> {
        let state = self.states.ptr(ring)?;
        let rptr = self.rptr.get_mut(ring).ok_or(ERANGE)?;
        // SAFETY: The pointer is to a field of an element of the array, and aligned.
        let wptr = unsafe { ChannelState::write_ptr(state).read_volatile() };

        if wptr == *rptr {
            return Ok(None);
        }
        if wptr >= self.size {
            if !self.broken {
                dev_err!(
                    dev,
                    "the firmware's write pointer {} of channel {} is not below {}\n",
                    wptr,
                    self.name,
                    self.size
                );
            }
            self.broken = true;
            return Err(EIO);
        }
        self.broken = false;

        // The message comes before the pointer to it.
        barrier::dma_mb(barrier::Read);
        let index = ring * self.size as usize + *rptr as usize;
        let msg = self.messages.read(index)?;

        // And is read before its place is given back.
        barrier::dma_mb(barrier::Full);
        *rptr = (*rptr + 1) % self.size;
        // SAFETY: The pointer is to a field of an element of the array, and aligned.
        unsafe { ChannelState::read_ptr(state).write_volatile(*rptr) };
        Ok(Some(msg))
    }

    /// Calls `f` for what is in a ring, but for no more than the ring can hold at a time: a
    /// firmware that writes without end must not keep the driver here.
    fn drain(&mut self, dev: &Device, ring: usize, mut f: impl FnMut(M)) {
        for _ in 0..self.size {
            match self.next(dev, ring) {
                Ok(Some(msg)) => f(msg),
                Ok(None) | Err(_) => return,
            }
        }
    }
}

/// All channels that the firmware writes.
pub(crate) struct RxChannels {
    event: RxRing<EventMsg, 1>,
    fw_log: RxRing<FwLogMsg, FWLOG_RINGS>,
    fw_log_buf: GpuArray<FwLogPayload>,
    ktrace: RxRing<KTraceMsg, 1>,
    stats: RxRing<StatsMsg, 1>,
}

/// What the firmware is told about the channels that it writes.
pub(crate) struct RawRxChannels {
    pub(crate) event: ChannelRing,
    pub(crate) fw_log: ChannelRing,
    pub(crate) fw_log_buf: u64,
    pub(crate) ktrace: ChannelRing,
    pub(crate) stats: ChannelRing,
}

impl RxChannels {
    pub(crate) fn new(heaps: &KernelHeaps) -> Result<Self> {
        Ok(Self {
            event: RxRing::new("event", heaps, RING_SIZE)?,
            fw_log: RxRing::new("log", heaps, RING_SIZE)?,
            fw_log_buf: GpuArray::zeroed(&heaps.shared, RING_SIZE * FWLOG_RINGS)?,
            ktrace: RxRing::new("trace", heaps, KTRACE_RING_SIZE)?,
            stats: RxRing::new("statistics", heaps, RING_SIZE)?,
        })
    }

    pub(crate) fn to_raw(&self) -> RawRxChannels {
        RawRxChannels {
            event: self.event.to_raw(),
            fw_log: self.fw_log.to_raw(),
            fw_log_buf: self.fw_log_buf.gpu_va(),
            ktrace: self.ktrace.to_raw(),
            stats: self.stats.to_raw(),
        }
    }

    /// Empties all channels. Events are given to `f`, in their order.
    pub(crate) fn poll(&mut self, dev: &Device, mut f: impl FnMut(Event)) {
        let buf = &self.fw_log_buf;

        for level in 0..FWLOG_RINGS {
            self.fw_log
                .drain(dev, level, |msg| log_line(dev, buf, level, &msg));
        }
        self.ktrace.drain(dev, 0, |msg| {
            dev_dbg!(
                dev,
                "trace: code {:#x} of channel {} at {}\n",
                msg.code,
                msg.channel,
                msg.timestamp.get()
            );
        });
        self.stats.drain(dev, 0, |msg| {
            dev_dbg!(dev, "statistics: type {:#x}\n", msg.kind);
        });
        self.event.drain(dev, 0, |msg| f(Event::from(&msg)));
    }
}

/// Hands a line of the firmware's log to the kernel's.
fn log_line(dev: &Device, buf: &GpuArray<FwLogPayload>, level: usize, msg: &FwLogMsg) {
    let line = usize::try_from(msg.index)
        .ok()
        .filter(|index| msg.kind == FWLOG_MSG && *index < RING_SIZE)
        .and_then(|index| buf.read(level * RING_SIZE + index).ok())
        .filter(|line| line.kind == FWLOG_PAYLOAD);

    let Some(line) = line else {
        dev_warn!(
            dev,
            "the firmware's log has a message of type {:#x} with index {:#x}\n",
            msg.kind,
            msg.index
        );
        return;
    };

    let text = CStr::from_bytes_until_nul(&line.text).map_or(&line.text[..], CStr::to_bytes);
    let text = BStr::from_bytes(text.trim_ascii_end());

    match level {
        0 => dev_dbg!(dev, "firmware: {}\n", text),
        1 => dev_info!(dev, "firmware: {}\n", text),
        2 => dev_notice!(dev, "firmware: {}\n", text),
        3 => dev_warn!(dev, "firmware: {}\n", text),
        4 => dev_err!(dev, "firmware: {}\n", text),
        _ => dev_crit!(dev, "firmware: {}\n", text),
    }
}
