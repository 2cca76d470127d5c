// SPDX-License-Identifier: MIT OR Apache-2.0

//! Channel state blocks and messages.
//!
//! m1n1 `fw/agx/channels.py`. Two things are not there and come from the public out-of-tree driver's
//! `fw/channels.rs`: the index entries of the log rings (m1n1 reads the payloads only), and the fields of
//! DestroyContext from 13.3 on, RecoverChannel and ChannelError.

use super::layout;

layout! {
    /// Read and write index, each in its own cache line.
    ChannelState, "ChannelState", V13_5, size 0x30 {
        read_ptr: 0x0, 4;
        write_ptr: 0x20, 4;
    }
}

layout! {
    /// The same for the FwCtl channel, whose indices are closer together.
    FwCtlState, "FwCtlState", V13_5, size 0x20 {
        read_ptr: 0x0, 4;
        write_ptr: 0x10, 4;
    }
}

layout! {
    /// "There is work on this queue."
    RunWorkQueue, "RunWorkQueueMsg", V13_5, size 0x30 {
        pipe_type: 0x0, 4;
        work_queue: 0x4, 8;
        wptr: 0xc, 4;
        event_slot: 0x10, 4;
        is_new: 0x14, 1;
    }
}

layout! {
    /// A message on the device control channel; the rest depends on the opcode.
    DeviceControl, "DeviceControlMsg", V13_5, size 0x30 {
        opcode: 0x0, 4;
    }
}

layout! {
    /// Forget a context, or with all ones, write back and drop everything cached.
    DestroyContext, "DeviceControlMsg.DestroyContext", V13_5, size 0x30 {
        unk_4: 0x4, 4;
        ctx_23: 0x8, 1;
        ctx_0: 0x11, 1;
        ctx_1: 0x12, 1;
        ctx_4: 0x13, 1;
        gpu_context: 0x14, 8;
    }
}

layout! {
    /// Go on with a channel after an error.
    RecoverChannel, "DeviceControlMsg.RecoverChannel", V13_5, size 0x30 {
        pipe_type: 0x4, 4;
        work_queue: 0x8, 8;
        event_value: 0x10, 4;
    }
}

layout! {
    /// Write back and drop a range of the firmware's cache.
    FwCtlMsg, "FwCtlMsg", V13_5, size 0x14 {
        addr: 0x0, 8;
        unk_8: 0x8, 4;
        slot: 0xc, 4;
        page_count: 0x10, 2;
        unk_12: 0x12, 2;
    }
}

/// Opcodes of the device control channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceControlOps {
    pub configure_perf_counters: u32,
    pub disable_perf_counters: u32,
    pub grow_tvb_ack: u32,
    pub recover_channel: u32,
    pub idle_power_off: u32,
    pub destroy_context: u32,
    pub write32: u32,
    pub initialize: u32,
    pub update_idle_ts: u32,
}

impl DeviceControlOps {
    pub(crate) const V13_3: DeviceControlOps = DeviceControlOps {
        configure_perf_counters: 0x0b,
        disable_perf_counters: 0x0c,
        grow_tvb_ack: 0x0e,
        recover_channel: 0x0f,
        idle_power_off: 0x10,
        destroy_context: 0x18,
        write32: 0x19,
        initialize: 0x1a,
        update_idle_ts: 0x23,
    };
}

/// Entries of each ring; the KTrace ring has twice as many.
pub(crate) const RING_ENTRIES: u32 = 0x100;
pub(crate) const KTRACE_ENTRIES: u32 = 0x200;

/// Bytes of the messages that the firmware sends.
pub(crate) const EVENT_SIZE: u32 = 0x38;
pub(crate) const FWLOG_SIZE: u32 = 0x38;
pub(crate) const FWLOG_PAYLOAD_SIZE: u32 = 0xd8;
pub(crate) const FWLOG_TEXT: usize = 0xc8;
/// Log rings, by severity.
pub(crate) const FWLOG_RINGS: u32 = 6;
pub(crate) const KTRACE_SIZE: u32 = 0x38;
