// SPDX-License-Identifier: MIT OR Apache-2.0

//! Work queues and what belongs to them.
//!
//! m1n1 `fw/agx/cmdqueue.py`: `CommandQueueInfo`, `CommandQueuePointers`, `GPUContextData`, `JobList`,
//! `EventControl`, `WorkCommandBarrier`.

use super::layout;

layout! {
    /// A work queue; the driver fills it once, then it belongs to the firmware.
    QueueInfo, "QueueInfo", V13_5, size 0xb8 {
        state: 0x0, 8;
        ring: 0x8, 8;
        notifier_list: 0x10, 8;
        gpu_buf: 0x18, 8;
        gpu_rptr1: 0x20, 4;
        gpu_rptr2: 0x24, 4;
        gpu_rptr3: 0x28, 4;
        event_id: 0x2c, 4;
        priority: 0x30, 4;
        uuid: 0x50, 4;
        unk_54: 0x54, 4;
        busy: 0x60, 4;
        has_commands: 0x84, 4;
        inflight_commands: 0x98, 4;
        gpu_context: 0xa4, 8;
    }
}

layout! {
    /// The indices of a work queue's ring, each in its own cache line.
    RingState, "RingState", V13_5, size 0x60 {
        gpu_doneptr: 0x0, 4;
        gpu_rptr: 0x30, 4;
        cpu_wptr: 0x40, 4;
        rb_size: 0x50, 4;
    }
}

layout! {
    /// Head of the list of notifiers of a client.
    NotifierList, "NotifierList", V13_5, size 0x18 {
        prev: 0x0, 8;
        next: 0x8, 8;
    }
}

layout! {
    /// Counts the finished commands of a client and says when to tell the driver.
    Notifier, "Notifier", V13_5, size 0xb0 {
        threshold: 0x0, 8;
        generation: 0x8, 4;
        cur_count: 0xc, 4;
        unk_10: 0x10, 4;
        vm_slot: 0x24, 4;
        in_list: 0x94, 4;
        unk_buf: 0xa8, 8;
    }
}

layout! {
    /// What the firmware remembers of a client; the driver initialises it, destroys it by message.
    GpuContextData, "GpuContextData", V13_5, size 0x40 {
        ctx_0: 0x0, 1;
        ctx_1: 0x1, 1;
        unk_5: 0x5, 1;
        unk_1e: 0x1e, 1;
        ctx_23: 0x23, 1;
    }
}

layout! {
    /// "Wait until that stamp has this value."
    Barrier, "Barrier", V13_5, size 0x20 {
        wait_stamp: 0x4, 8;
        wait_value: 0xc, 4;
        wait_slot: 0x10, 4;
        stamp_self: 0x14, 4;
        uuid: 0x18, 4;
    }
}

/// First word of a work command.
pub(crate) mod command {
    pub(crate) const RUN_VERTEX: u32 = 0;
    pub(crate) const RUN_FRAGMENT: u32 = 1;
    pub(crate) const RUN_BLITTER: u32 = 2;
    pub(crate) const RUN_COMPUTE: u32 = 3;
    pub(crate) const BARRIER: u32 = 4;
    pub(crate) const INIT_BUFFER: u32 = 6;
}

/// Bytes of the scratch buffer that each queue gives the firmware.
pub(crate) const GPU_BUF_SIZE: u64 = 0x2c18;
