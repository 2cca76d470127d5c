// SPDX-License-Identifier: MIT OR Apache-2.0

//! The vertex data master: control streams of draws (Mesa, `src/asahi/genxml/cmdbuf.xml`, "VDM").
//!
//! A stream is read as it is executed, because programs may write what follows.

use crate::cache::Cache;
use crate::geometry::{DrawState, Geometry};
use crate::memory::{GpuMemory, Memory};
use crate::ppp::Ppp;
use crate::render::VertexJob;
use crate::vertex::{Draws, IndexList, Indices, VertexState};
use crate::{JobError, Machine, Observer, Unit, Unsupported};
use std::sync::Arc;

/// Streams that may be waiting for one that they called.
const MOST_CALLS: usize = 16;
/// The observer is asked after so many blocks.
const ASK_EVERY: u64 = 64;

/// What a control stream held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VertexStats {
    /// Blocks of the stream.
    pub blocks: u64,
    /// Index lists.
    pub draws: u64,
    /// Their indices times instances.
    pub vertices: u64,
    /// Updates of the state of the primitive processor.
    pub state_updates: u64,
}

struct Vdm<'a> {
    observer: &'a dyn Observer,
    memory: Memory<'a>,
    stats: VertexStats,
    ppp: Ppp,
    /// The state of draws, until it changes.
    state: Option<Arc<DrawState>>,
    vertex: VertexState,
    draws: Draws<'a>,
}

pub(crate) fn run(
    machine: &Machine,
    cache: &Cache,
    space: &dyn GpuMemory,
    job: &VertexJob,
    observer: &dyn Observer,
) -> Result<Geometry, JobError> {
    let mut vdm = Vdm {
        observer,
        memory: Memory::new(space),
        stats: VertexStats::default(),
        ppp: Ppp::default(),
        state: None,
        vertex: VertexState::default(),
        draws: Draws::new(machine, cache, observer, job, space),
    };
    vdm.stream(job.vdm_ctrl_stream_base)?;
    Ok(Geometry {
        stats: vdm.stats,
        draws: vdm.draws.finish(),
    })
}

impl Vdm<'_> {
    fn stream(&mut self, mut at: u64) -> Result<(), JobError> {
        let mut calls = Vec::new();
        loop {
            if self.stats.blocks.is_multiple_of(ASK_EVERY) && self.observer.cancelled() {
                return Err(JobError::Cancelled);
            }
            self.stats.blocks += 1;
            let word = self.word(at)?;
            match word >> 29 {
                0 => at = self.state(at, word)?,
                // The model does everything in order anyway, but what is known of memory has to be looked at again. One
                // kind of barrier ends a called stream.
                1 if word >> 27 & 1 == 0 => {
                    self.draws.barrier();
                    at = at.wrapping_add(4);
                }
                1 => match calls.pop() {
                    Some(back) => at = back,
                    None => return self.refuse(at, "return without a call"),
                },
                2 => at = self.vertex_state(at, word)?,
                3 => at = self.index_list(at, word)?,
                4 => {
                    let low = self.word(at.wrapping_add(4))?;
                    if word >> 28 & 1 != 0 {
                        if calls.len() == MOST_CALLS {
                            return self.refuse(at, "calls nested too deep");
                        }
                        calls.push(at.wrapping_add(8));
                    }
                    at = u64::from(word & 0xff) << 32 | u64::from(low);
                }
                6 => return Ok(()),
                _ => return self.refuse(at, "unknown VDM block"),
            }
        }
    }

    /// A record of state elsewhere.
    fn state(&mut self, at: u64, word: u32) -> Result<u64, JobError> {
        let low = self.word(at.wrapping_add(4))?;
        let record = u64::from(word & 0xff) << 32 | u64::from(low);
        let count = (word >> 8 & 0xff) as usize;
        self.stats.state_updates += 1;
        let mut words = [0; 256];
        let mut va = record;
        for word in &mut words[..count] {
            *word = self.memory.word(va, Unit::Ppp)?;
            va = va.wrapping_add(4);
        }
        self.state = None;
        if let Err(why) = self.ppp.update(&words[..count]) {
            let bytes = words[..count].iter().flat_map(|w| w.to_le_bytes());
            return Err(Unsupported {
                va: record,
                bytes: bytes.collect(),
                why: why.into(),
            }
            .into());
        }
        Ok(at.wrapping_add(8))
    }

    fn vertex_state(&mut self, at: u64, word: u32) -> Result<u64, JobError> {
        let mut length = 4;
        for bit in [0, 1, 2, 3, 4, 5, 7] {
            if word >> bit & 1 == 0 {
                continue;
            }
            let value = self.word(at.wrapping_add(length))?;
            length += 4;
            let vertex = &mut self.vertex;
            match bit {
                0 => vertex.restart_index = value,
                1 => vertex.counts = value,
                2 => vertex.pipeline = Some(value),
                3 => vertex.outputs = value,
                5 => vertex.control = value,
                // Of tessellation, which Mesa leaves to compute programs.
                _ => (),
            }
        }
        self.draws.barrier();
        // Padded, but for one kind (Mesa, `src/asahi/lib/decode.c`).
        if word >> 7 & 1 == 0 {
            length = length.next_multiple_of(8);
        }
        Ok(at.wrapping_add(length))
    }

    fn index_list(&mut self, at: u64, word: u32) -> Result<u64, JobError> {
        let has = |bit: u32| word >> bit & 1 != 0;
        let mut next = at.wrapping_add(4);
        let mut take = |vdm: &mut Self, bit: u32| -> Result<Option<u32>, JobError> {
            if !has(bit) {
                return Ok(None);
            }
            let value = vdm.word(next)?;
            next = next.wrapping_add(4);
            Ok(Some(value))
        };
        let buffer = take(self, 21)?;
        let mut list = IndexList {
            primitive: word >> 8 & 0xff,
            count: take(self, 22)?.unwrap_or(0),
            instances: take(self, 23)?.unwrap_or(1),
            start: take(self, 24)?.unwrap_or(0),
            indices: None,
        };
        for _ in 0..2 {
            take(self, 25)?;
        }
        let mut first = 0;
        if let Some(high) = take(self, 26)?
            && let Some(low) = take(self, 26)?
        {
            // The structures of Vulkan's indirect draws.
            let sizes = u64::from(high & 0xff) << 32 | u64::from(low & !3);
            let mut size = |n: u64| self.memory.word(sizes.wrapping_add(4 * n), Unit::IndexList);
            (list.count, list.instances) = (size(0)?, size(1)?);
            if buffer.is_some() {
                (first, list.start) = (size(2)?, size(3)?);
            } else {
                list.start = size(2)?;
            }
        }
        take(self, 27)?;
        let size = take(self, 20)?;
        if let Some(low) = buffer {
            let log2_bytes = word >> 17 & 7;
            if log2_bytes > 2 {
                return self.refuse(at, "unknown size of indices");
            }
            list.indices = Some(Indices {
                buffer: u64::from(word & 0xff) << 32 | u64::from(low),
                size: size.map(|words| u64::from(words) << 2),
                log2_bytes,
                first,
                restart: (word >> 16 & 1 != 0).then_some(self.vertex.restart_index),
            });
        }
        let vertices = u64::from(list.count) * u64::from(list.instances);
        self.stats.draws += 1;
        self.stats.vertices = self.stats.vertices.saturating_add(vertices);
        let ppp = &self.ppp;
        let state = self.state.get_or_insert_with(|| Arc::new(ppp.state()));
        self.draws.draw(at, &list, &self.vertex, state)?;
        Ok(next)
    }

    fn word(&mut self, va: u64) -> Result<u32, JobError> {
        self.memory.word(va, Unit::Vdm)
    }

    fn refuse<T>(&mut self, va: u64, why: &str) -> Result<T, JobError> {
        self.memory.refuse(va, 8, why)
    }
}
