// SPDX-License-Identifier: MIT OR Apache-2.0

//! The vertex data master: control streams of draws (Mesa, `src/asahi/genxml/cmdbuf.xml`, "VDM").
//!
//! No shader runs here. The stream is read to its end as hardware would read it, which tells how much there is to
//! draw and finds what is not mapped.

use crate::geometry::Geometry;
use crate::memory::{Access, GpuMemory, Memory};
use crate::render::VertexJob;
use crate::{GpuFault, JobError, Observer, Unit, Unsupported};

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
}

pub(crate) fn run(
    space: &dyn GpuMemory,
    job: &VertexJob,
    observer: &dyn Observer,
) -> Result<Geometry, JobError> {
    let mut vdm = Vdm {
        observer,
        memory: Memory::new(space),
        stats: VertexStats::default(),
    };
    vdm.stream(job.vdm_ctrl_stream_base)?;
    Ok(Geometry {
        stats: vdm.stats,
        draws: Vec::new(),
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
                // Barriers order what the model does in order anyway; one of them ends a called stream.
                1 if word >> 27 & 1 == 0 => at = at.wrapping_add(4),
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

    /// A record of state elsewhere, which hardware reads whole.
    fn state(&mut self, at: u64, word: u32) -> Result<u64, JobError> {
        let low = self.word(at.wrapping_add(4))?;
        let record = u64::from(word & 0xff) << 32 | u64::from(low);
        let words = u64::from(word >> 8 & 0xff);
        self.stats.state_updates += 1;
        if words != 0 {
            for place in [record, record.wrapping_add(words * 4 - 4)] {
                self.load(place, Unit::Ppp)?;
            }
        }
        Ok(at.wrapping_add(8))
    }

    fn vertex_state(&mut self, at: u64, word: u32) -> Result<u64, JobError> {
        let mut length = 4;
        for bit in [0, 1, 2, 3, 4, 5, 7] {
            if word >> bit & 1 != 0 {
                self.word(at.wrapping_add(length))?;
                length += 4;
            }
        }
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
        take(self, 21)?;
        let mut count = take(self, 22)?;
        let mut instances = take(self, 23)?;
        take(self, 24)?;
        for _ in 0..2 {
            take(self, 25)?;
        }
        if let Some(high) = take(self, 26)?
            && let Some(low) = take(self, 26)?
        {
            let sizes = u64::from(high & 0xff) << 32 | u64::from(low & !3);
            count = Some(self.load(sizes, Unit::IndexList)?);
            instances = Some(self.load(sizes.wrapping_add(4), Unit::IndexList)?);
        }
        take(self, 27)?;
        take(self, 20)?;
        let vertices = u64::from(count.unwrap_or(0)) * u64::from(instances.unwrap_or(1));
        self.stats.draws += 1;
        self.stats.vertices = self.stats.vertices.saturating_add(vertices);
        Ok(next)
    }

    fn word(&mut self, va: u64) -> Result<u32, JobError> {
        self.load(va, Unit::Vdm)
    }

    fn load(&mut self, va: u64, unit: Unit) -> Result<u32, JobError> {
        self.memory.load::<u32>(va).map_err(|_| {
            GpuFault {
                va,
                access: Access::Read,
                unit,
                pc: 0,
            }
            .into()
        })
    }

    fn refuse<T>(&mut self, va: u64, why: &str) -> Result<T, JobError> {
        let mut bytes = vec![0; 8];
        if self.memory.read(va, &mut bytes).is_err() {
            bytes.clear();
        }
        Err(Unsupported {
            va,
            bytes,
            why: why.into(),
        }
        .into())
    }
}
