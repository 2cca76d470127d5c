// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Messages on the channels, and the state that both sides share of a ring.
//!
//! Sources: AsahiLinux/m1n1 `proxyclient/m1n1/fw/agx/channels.py`, and the out-of-tree driver of
//! AsahiLinux/linux, `drivers/gpu/drm/asahi/fw/channels.rs` for what changed with version 13.3.

use kernel::prelude::*;

use super::{
    abi::Abi,
    types::{
        Pad,
        U32,
        U64, //
    }, //
};
use crate::fw_struct;

/// Entries of a ring, and of each of the rings of the firmware's log.
pub(crate) const RING_SIZE: usize = 0x100;

/// Entries of the trace ring.
pub(crate) const KTRACE_RING_SIZE: usize = 0x200;

/// Rings of the firmware's log, one per level.
pub(crate) const FWLOG_RINGS: usize = 6;

fw_struct! {
    /// Where reader and writer of a ring are.
    pub(crate) struct ChannelState: 0x30 {
        pub(crate) read_ptr: u32,
        pub(crate) pad_4: Pad<0x1c>,
        pub(crate) write_ptr: u32,
        pub(crate) pad_24: Pad<0xc>,
    }

    /// The same for the firmware control channel.
    pub(crate) struct FwCtlState: 0x20 {
        pub(crate) read_ptr: u32,
        pub(crate) pad_4: Pad<0xc>,
        pub(crate) write_ptr: u32,
        pub(crate) pad_14: Pad<0xc>,
    }

    /// Asks the firmware to look at a work queue.
    pub(crate) struct PipeMsg: 0x30 {
        pub(crate) pipe_type: u32,
        /// Address of the queue's `QueueInfo`.
        pub(crate) queue_info: U64,
        /// The queue's write pointer.
        pub(crate) wptr: u32,
        /// The event slot that tells about the queue's progress.
        pub(crate) event_slot: u32,
        /// The queue has not been seen by the firmware since it got this event slot.
        pub(crate) is_new: u8,
        pub(crate) pad_15: Pad<0x1b>,
    }

    /// A device control message. What is in it depends on its opcode.
    pub(crate) struct DeviceControlMsg: 0x30 {
        pub(crate) opcode: u32,
        data: [u8; 0x2c],
    }

    /// The rest of a message that makes the firmware forget a context.
    struct DestroyContext: 0x2c {
        unk_4: u32,
        ctx_23: u8,
        unk_c: U32,
        unk_10: U32,
        ctx_0: u8,
        ctx_1: u8,
        ctx_4: u8,
        gpu_context: U64,
        pad: Pad<0x14>,
    }

    /// The rest of a message that answers [`Event::GrowTvb`].
    struct GrowTvbAck: 0x2c {
        unk_4: u32,
        buffer_slot: u32,
        vm_slot: u32,
        counter: u32,
        subpipe: u32,
        halt_count: U64,
        pad: Pad<0x10>,
    }

    /// The rest of a message that makes the firmware go on with a queue after an error.
    struct RecoverChannel: 0x2c {
        pipe_type: u32,
        queue_info: U64,
        event_value: u32,
        pad: Pad<0x1c>,
    }

    /// Asks the firmware to flush its cache of some pages.
    pub(crate) struct FwCtlMsg: 0x14 {
        pub(crate) addr: U64,
        pub(crate) unk_8: u32,
        /// Index of the entry of the handoff area that describes the flush.
        pub(crate) slot: u32,
        pub(crate) pages: u16,
        pub(crate) unk_12: u16,
    }

    /// Something happened. What is in it depends on its type.
    pub(crate) struct EventMsg: 0x38 {
        pub(crate) kind: u32,
        pub(crate) args: [u32; 13],
    }

    /// Points to a line of the firmware's log.
    pub(crate) struct FwLogMsg: 0x38 {
        pub(crate) kind: u32,
        pub(crate) pad_4: Pad<4>,
        pub(crate) index: u64,
        pub(crate) pad_10: Pad<0x28>,
    }

    /// A line of the firmware's log.
    pub(crate) struct FwLogPayload: 0xd8 {
        pub(crate) kind: u32,
        pub(crate) sequence: u32,
        pub(crate) timestamp: u64,
        pub(crate) text: [u8; 0xc8],
    }

    /// A trace point was passed.
    pub(crate) struct KTraceMsg: 0x38 {
        pub(crate) kind: u32,
        pub(crate) timestamp: U64,
        pub(crate) args: [U64; 4],
        pub(crate) code: u8,
        pub(crate) channel: u8,
        pub(crate) pad_2e: Pad<1>,
        pub(crate) thread: u8,
        pub(crate) flag: U64,
    }

    /// A figure about power, use or temperature.
    pub(crate) struct StatsMsg: 0x40 {
        pub(crate) kind: u32,
        pub(crate) data: [u32; 15],
    }
}

/// Types of [`FwLogMsg`] and [`FwLogPayload`].
pub(crate) const FWLOG_MSG: u32 = 2;
pub(crate) const FWLOG_PAYLOAD: u32 = 3;

/// The identification of a context, as it is in the context's own data.
#[derive(Clone, Copy)]
pub(crate) struct ContextRef {
    /// Address of the context's data.
    pub(crate) va: u64,
    pub(crate) unk_0: u8,
    pub(crate) unk_1: u8,
    pub(crate) unk_4: u8,
    pub(crate) unk_23: u8,
}

impl ContextRef {
    /// No context. The firmware flushes its cache nevertheless.
    pub(crate) const NONE: Self = Self {
        va: 0,
        unk_0: 0xff,
        unk_1: 0xff,
        unk_4: 0,
        unk_23: 0,
    };
}

impl DeviceControlMsg {
    fn new<T: kernel::transmute::FromBytes>(opcode: u32, rest: &T) -> Self {
        const { assert!(size_of::<T>() == 0x2c && align_of::<T>() <= 4) };

        let mut msg = Self::zeroed();
        msg.opcode = opcode;
        // SAFETY: Both are 44 bytes long and do not overlap. `T` is one of the structures above,
        // none of which has padding.
        unsafe {
            core::ptr::copy_nonoverlapping(
                core::ptr::from_ref(rest).cast::<u8>(),
                msg.data.as_mut_ptr(),
                msg.data.len(),
            )
        };
        msg
    }

    /// Makes the firmware take over what is in the initialisation data.
    pub(crate) fn initialize(abi: &Abi) -> Self {
        let mut msg = Self::zeroed();
        msg.opcode = abi.device_control.initialize;
        msg
    }

    /// Makes the firmware forget a context and flush its cache.
    pub(crate) fn destroy_context(abi: &Abi, context: ContextRef) -> Self {
        Self::new(
            abi.device_control.destroy_context,
            &DestroyContext {
                ctx_23: context.unk_23,
                ctx_0: context.unk_0,
                ctx_1: context.unk_1,
                ctx_4: context.unk_4,
                gpu_context: context.va.into(),
                ..Default::default()
            },
        )
    }

    /// Lets the firmware go on with a render for which the tiler's heap was too small. The heap has
    /// grown, or else the firmware makes do with what there is.
    pub(crate) fn grow_tvb_ack(
        abi: &Abi,
        buffer_slot: u32,
        vm_slot: u32,
        counter: u32,
        halt_count: u32,
    ) -> Self {
        Self::new(
            abi.device_control.grow_tvb_ack,
            &GrowTvbAck {
                unk_4: 1,
                buffer_slot,
                vm_slot,
                counter,
                halt_count: u64::from(halt_count).into(),
                ..Default::default()
            },
        )
    }

    /// Makes the firmware go on with a queue after an error of its channel.
    pub(crate) fn recover_channel(abi: &Abi, pipe: u32, queue_info: u64, value: u32) -> Self {
        Self::new(
            abi.device_control.recover_channel,
            &RecoverChannel {
                pipe_type: pipe,
                queue_info: queue_info.into(),
                event_value: value,
                ..Default::default()
            },
        )
    }
}

/// What an [`EventMsg`] says.
pub(crate) enum Event {
    /// The GPU accessed what it may not.
    Fault,
    /// Event slots have news.
    Flag { slots: [u32; 4] },
    /// A command takes too long.
    Timeout { counter: u32, slot: u32 },
    /// A tiler heap is full.
    GrowTvb {
        vm_slot: u32,
        buffer_slot: u32,
        counter: u32,
    },
    /// A command failed.
    ChannelError {
        kind: u32,
        pipe: u32,
        slot: u32,
        value: u32,
    },
    /// Something that the driver does not know.
    Unknown(u32),
}

impl From<&EventMsg> for Event {
    fn from(msg: &EventMsg) -> Self {
        let [a, b, c, d, ..] = msg.args;

        match msg.kind {
            0 => Self::Fault,
            1 => Self::Flag {
                slots: [a, b, c, d],
            },
            4 => Self::Timeout {
                counter: a,
                slot: c,
            },
            7 => Self::GrowTvb {
                vm_slot: a,
                buffer_slot: b,
                counter: c,
            },
            8 => Self::ChannelError {
                kind: a,
                pipe: b,
                slot: c,
                value: d,
            },
            kind => Self::Unknown(kind),
        }
    }
}
