// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The memory of microsequences.
//!
//! Their operations point to fields of the command that they belong to, and to much else.

use core::mem::offset_of;

use kernel::{
    prelude::*,
    transmute::FromBytes, //
};

use crate::{
    alloc::Heap,
    fw::{
        job::TimestampPointers,
        microseq::{
            header,
            Sequence,
            TimedSequence,
            Timestamp, //
        },
        types::U64, //
    },
    fw_write,
    object::GpuObject, //
};

/// Where a command has what taking its timestamps needs.
pub(crate) struct TimeFields {
    pub(crate) command_time: usize,
    /// Of the [`TimestampPointers`].
    pub(crate) pointers: usize,
    /// Of those for user space.
    pub(crate) user_pointers: usize,
    pub(crate) unk_ts: usize,
}

impl TimeFields {
    /// Makes what takes the timestamps of the start and the end of the command at `run`.
    pub(crate) fn operations(&self, run: u64, work_queue: u64) -> [Timestamp; 2] {
        [
            (
                header::TIMESTAMP_START,
                offset_of!(TimestampPointers, start),
            ),
            (header::TIMESTAMP_END, offset_of!(TimestampPointers, end)),
        ]
        .map(|(header, pointer)| Timestamp {
            header,
            command_time: at(run, self.command_time),
            ts_pointers: at(run, self.pointers),
            update_ts: at(run, self.pointers + pointer),
            work_queue: work_queue.into(),
            user_ts_pointers: at(run, self.user_pointers),
            unk_ts: at(run, self.unk_ts),
            ..Default::default()
        })
    }
}

/// A microsequence, with timestamps for user space or without.
pub(crate) enum BuiltSequence<S, F> {
    Plain(GpuObject<Sequence<S, F>>),
    Timed(GpuObject<TimedSequence<S, F>>),
}

/// Writes a field of a part of a [`BuiltSequence`].
#[macro_export]
macro_rules! sequence_write {
    ($sequence:expr, .$part:ident.$field:ident, $value:expr) => {
        match &$sequence {
            $crate::queue::sequence::BuiltSequence::Plain(sequence) => {
                $crate::fw_write!(sequence, .$part.$field, $value)
            }
            $crate::queue::sequence::BuiltSequence::Timed(sequence) => {
                $crate::fw_write!(sequence, .$part.$field, $value)
            }
        }
    };
}

impl<S: FromBytes, F: FromBytes> BuiltSequence<S, F> {
    /// Writes a sequence.
    ///
    /// `wait` is the header of what waits for the end, `finalize` gets the restart offset, and
    /// `times` are what takes the timestamps of the start and the end.
    pub(crate) fn new(
        heap: &Heap,
        start: S,
        wait: u32,
        finalize: impl FnOnce(i32) -> F,
        times: Option<[Timestamp; 2]>,
    ) -> Result<Self> {
        // The parts are large, so that they are not put together on the stack.
        match times {
            None => {
                let memory = GpuObject::<Sequence<S, F>>::zeroed(heap)?;
                fw_write!(memory, .start, start);
                fw_write!(memory, .wait, wait);
                fw_write!(memory, .finalize, finalize(Sequence::<S, F>::RESTART));
                fw_write!(memory, .retire, header::RETIRE_STAMP);
                Ok(Self::Plain(memory))
            }
            Some([start_time, end_time]) => {
                let memory = GpuObject::<TimedSequence<S, F>>::zeroed(heap)?;
                fw_write!(memory, .start, start);
                fw_write!(memory, .start_time, start_time);
                fw_write!(memory, .wait, wait);
                fw_write!(memory, .end_time, end_time);
                fw_write!(memory, .finalize, finalize(TimedSequence::<S, F>::RESTART));
                fw_write!(memory, .retire, header::RETIRE_STAMP);
                Ok(Self::Timed(memory))
            }
        }
    }

    /// Returns the address.
    pub(crate) fn gpu_va(&self) -> u64 {
        match self {
            Self::Plain(memory) => memory.gpu_va(),
            Self::Timed(memory) => memory.gpu_va(),
        }
    }

    /// Returns the size, as a command carries it.
    pub(crate) fn size(&self) -> u32 {
        match self {
            Self::Plain(_) => Sequence::<S, F>::SIZE,
            Self::Timed(_) => TimedSequence::<S, F>::SIZE,
        }
    }
}

/// Returns the address of a field.
pub(crate) fn at(base: u64, offset: usize) -> U64 {
    (base + offset as u64).into()
}
