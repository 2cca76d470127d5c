// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The firmware's work queues, and the structures by which it tells that work is done.
//!
//! A work queue is a ring of pointers to commands. The firmware knows it by its [`QueueInfo`].
//!
//! Layouts: m1n1, proxyclient/m1n1/fw/agx/cmdqueue.py.

use crate::fw_struct;

use super::types::{
    Pad,
    U64, //
};

/// The number of entries of a work queue's ring.
pub(crate) const RING_SIZE: u32 = 0x500;

/// The size of the buffer that a work queue lends to the firmware.
pub(crate) const GPU_BUF_SIZE: usize = 0x2c18;

/// What a command is.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum CommandType {
    /// Transforms and tiles.
    RunVertex = 0,
    /// Draws what was tiled.
    RunFragment = 1,
    /// Runs a compute control stream.
    RunCompute = 3,
    /// Waits for another command's stamp.
    Barrier = 4,
    /// Takes over a tiler's heap.
    InitBuffer = 6,
}

fw_struct! {
    /// The positions in a ring.
    pub(crate) struct RingState: 0x60 {
        /// The first entry that is not done.
        pub(crate) gpu_doneptr: u32,
        pub(crate) __pad0: Pad<0xc>,
        pub(crate) unk_10: u32,
        pub(crate) __pad1: Pad<0xc>,
        pub(crate) unk_20: u32,
        pub(crate) __pad2: Pad<0xc>,
        /// The first entry that was not read.
        pub(crate) gpu_rptr: u32,
        pub(crate) __pad3: Pad<0xc>,
        /// The first entry that was not written.
        pub(crate) cpu_wptr: u32,
        pub(crate) __pad4: Pad<0xc>,
        /// The number of entries.
        pub(crate) rb_size: u32,
        pub(crate) __pad5: Pad<0xc>,
    }
}

fw_struct! {
    /// How the firmware weighs a queue against the others.
    pub(crate) struct Priority: 0x1c {
        pub(crate) level: u32,
        pub(crate) unk_4: u32,
        /// Which other priorities this one gives way to.
        pub(crate) mask: U64,
        pub(crate) unk_10: u32,
        pub(crate) unk_14: u32,
        pub(crate) unk_18: u32,
    }
}

impl Priority {
    const fn new(level: u32, mask: u64, unk_10: u32, unk_18: u32) -> Self {
        Self {
            level,
            unk_4: level,
            mask: U64::new(mask),
            unk_10,
            unk_14: 0,
            unk_18,
        }
    }

    /// The four priorities, the most urgent one first.
    const TABLE: [Self; 4] = [
        Self::new(0, 0xffff_ffff_ffff_0000, 1, 1),
        Self::new(1, 0xffff_ffff_0000_0000, 0, 0),
        Self::new(2, 0xffff_0000_0000_0000, 0, 2),
        Self::new(3, 0, 0, 3),
    ];

    /// Returns the values for a firmware priority, where zero is the most urgent one.
    pub(crate) fn from_level(level: usize) -> Option<Self> {
        Self::TABLE.get(level).copied()
    }

    /// Keeps the firmware from preempting the queue's commands.
    ///
    /// A compute command that was preempted does not come back correctly yet; with these two
    /// values, which only the most urgent priority has otherwise, the firmware does not try.
    pub(crate) fn without_preemption(self) -> Self {
        Self {
            level: 0,
            unk_18: 1,
            ..self
        }
    }
}

fw_struct! {
    /// What the firmware keeps about a client's scheduling.
    ///
    /// The firmware caches it: it is only freed after the DestroyContext command.
    pub(crate) struct GpuContextData: 0x40 {
        pub(crate) unk_0: u8,
        pub(crate) unk_1: u8,
        pub(crate) unk_2: [u8; 2],
        pub(crate) unk_4: u8,
        pub(crate) unk_5: u8,
        pub(crate) unk_6: [u8; 0x18],
        pub(crate) unk_1e: u8,
        pub(crate) unk_1f: u8,
        pub(crate) unk_20: [u8; 3],
        pub(crate) unk_23: u8,
        pub(crate) unk_24: [u8; 0x1c],
    }
}

impl GpuContextData {
    /// Returns what a new context starts with.
    pub(crate) fn initial() -> Self {
        Self {
            unk_0: 0xff,
            unk_1: 0xff,
            unk_5: 1,
            unk_1e: 0xff,
            unk_23: 2,
            ..Default::default()
        }
    }
}

fw_struct! {
    /// A work queue. Most of it belongs to the firmware once the queue has been submitted.
    pub(crate) struct QueueInfo: 0xb8 {
        /// Its [`RingState`].
        pub(crate) state: U64,
        /// Its ring.
        pub(crate) ring: U64,
        /// The client's [`NotifierList`].
        pub(crate) notifier_list: U64,
        /// Memory for the firmware, of [`GPU_BUF_SIZE`].
        pub(crate) gpu_buf: U64,
        pub(crate) gpu_rptr1: u32,
        pub(crate) gpu_rptr2: u32,
        pub(crate) gpu_rptr3: u32,
        pub(crate) event_id: i32,
        pub(crate) priority: Priority,
        pub(crate) unk_4c: i32,
        pub(crate) uuid: u32,
        pub(crate) unk_54: i32,
        pub(crate) unk_58: U64,
        pub(crate) busy: u32,
        pub(crate) __pad: Pad<0x20>,
        pub(crate) unk_84_0: u32,
        pub(crate) unk_84_state: u32,
        pub(crate) error_count: u32,
        pub(crate) unk_8c: u32,
        pub(crate) unk_90: u32,
        pub(crate) unk_94: u32,
        pub(crate) pending: u32,
        pub(crate) unk_9c: u32,
        /// The client's [`GpuContextData`].
        pub(crate) gpu_context: U64,
        pub(crate) unk_a8: U64,
        pub(crate) unk_b0: u32,
    }
}

fw_struct! {
    /// A command that makes its queue wait.
    pub(crate) struct Barrier: 0x40 {
        pub(crate) tag: u32,
        /// The firmware's stamp to wait for.
        pub(crate) wait_stamp: U64,
        pub(crate) wait_value: u32,
        /// The event slot of the stamp.
        pub(crate) wait_slot: u32,
        /// The value of the command that waits.
        pub(crate) stamp_self: u32,
        pub(crate) uuid: u32,
        pub(crate) external_barrier: u32,
        /// Read by G14X only, as is what follows.
        pub(crate) internal_barrier_type: u32,
        pub(crate) padding: Pad<0x1c>,
    }
}

fw_struct! {
    /// The head of a client's list of notifiers that the firmware links.
    pub(crate) struct NotifierList: 0x18 {
        pub(crate) prev: U64,
        /// An empty list points to itself.
        pub(crate) next: U64,
        pub(crate) unk_10: U64,
    }
}

fw_struct! {
    /// The number of commands after which a client wants to be notified.
    pub(crate) struct Threshold: 0x8 {
        pub(crate) count: u64,
    }
}

fw_struct! {
    /// How the firmware counts a client's commands.
    pub(crate) struct Notifier: 0xb0 {
        /// The client's [`Threshold`].
        pub(crate) threshold: U64,
        pub(crate) generation: u32,
        pub(crate) cur_count: u32,
        pub(crate) unk_10: u32,
        pub(crate) state: NotifierState,
    }
}

fw_struct! {
    /// The firmware's own part of a [`Notifier`].
    pub(crate) struct NotifierState: 0x9c {
        pub(crate) unk_14: u32,
        pub(crate) unk_18: U64,
        pub(crate) unk_20: u32,
        pub(crate) vm_slot: u32,
        pub(crate) has_vtx: u32,
        pub(crate) pstamp_vtx: [U64; 4],
        pub(crate) has_frag: u32,
        pub(crate) pstamp_frag: [U64; 4],
        pub(crate) has_comp: u32,
        pub(crate) pstamp_comp: [U64; 4],
        pub(crate) in_list: u32,
        pub(crate) list_prev: U64,
        pub(crate) list_next: U64,
        /// Starts as all ones.
        pub(crate) unk_buf: [u8; 8],
    }
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(asahi_fw_workqueue)]
mod tests {
    use super::*;
    use core::mem::{
        offset_of,
        size_of, //
    };

    #[test]
    fn sizes() {
        assert_eq!(size_of::<RingState>(), 0x60);
        assert_eq!(size_of::<GpuContextData>(), 0x40);
        assert_eq!(size_of::<QueueInfo>(), 0xb8);
        assert_eq!(size_of::<Barrier>(), 0x40);
        assert_eq!(size_of::<NotifierList>(), 0x18);
        assert_eq!(size_of::<Notifier>(), 0xb0);
    }

    #[test]
    fn offsets() {
        assert_eq!(offset_of!(RingState, gpu_rptr), 0x30);
        assert_eq!(offset_of!(RingState, cpu_wptr), 0x40);
        assert_eq!(offset_of!(RingState, rb_size), 0x50);
        assert_eq!(offset_of!(QueueInfo, event_id), 0x2c);
        assert_eq!(offset_of!(QueueInfo, priority), 0x30);
        assert_eq!(offset_of!(QueueInfo, uuid), 0x50);
        assert_eq!(offset_of!(QueueInfo, busy), 0x60);
        assert_eq!(offset_of!(QueueInfo, gpu_context), 0xa4);
        assert_eq!(offset_of!(Barrier, wait_slot), 0x10);
        assert_eq!(offset_of!(Notifier, unk_10), 0x10);
        assert_eq!(offset_of!(Notifier, state), 0x14);
        assert_eq!(offset_of!(NotifierState, list_prev), 0x98 - 0x14);
    }

    #[test]
    fn priorities() {
        let high = Priority::from_level(0).unwrap();
        assert_eq!(high.mask.get(), 0xffff_ffff_ffff_0000);
        let low = Priority::from_level(3).unwrap();
        assert_eq!((low.level, low.unk_4, low.unk_18), (3, 3, 3));
        let steady = low.without_preemption();
        assert_eq!((steady.level, steady.unk_4, steady.unk_18), (0, 3, 1));
        assert!(Priority::from_level(4).is_none());
    }
}
