// SPDX-License-Identifier: MIT OR Apache-2.0

//! Lossless compression, as far as it is known (Mesa, `src/asahi/layout/layout.h` and `src/asahi/libagx/compression.cl`).
//!
//! For every 16×16 samples there are eight bytes of metadata, one for each part of 8×4 samples, which says how the part is
//! stored. Two ways are known: as it is, and as one colour, which is then found at the start of the unit, the colours of
//! all parts side by side. The model reads both and always writes the first.
//!
//! Memory that is new is full of zeroes, and an image that nobody has written to has no defined contents: zeroes stand for
//! zeroes. Any other byte may be left from another use of the memory, or compressed in a way that is not known. Such texels
//! are read as zeroes too, and counted, because the two cannot be told apart.

use super::layout::{Compressed, LEVELS};
use super::{Image, read};
use crate::exec::Lanes;
use crate::memory::Memory;

/// How a part is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Plain,
    Solid,
    Nothing,
    Unknown,
}

/// The byte for parts that are stored as they are, for texels of so many bytes.
fn plain(bytes: u32) -> u8 {
    match bytes {
        1 => 0x1f,
        2 => 0x3f,
        4 => 0x7f,
        _ => 0xff,
    }
}

/// Offset of the byte for a sample in a unit, from the start of the metadata.
#[inline(always)]
pub(crate) fn part(unit: u32, number: u32) -> u64 {
    u64::from(unit) * 8 + u64::from(number >> 5 & 7)
}

fn mode(byte: u8, bytes: u32) -> Mode {
    let solid = match bytes {
        1 => 0x60,
        2 => 0x01,
        4 => 0x03,
        _ => 0x07,
    };
    match byte {
        0 => Mode::Nothing,
        byte if byte == plain(bytes) => Mode::Plain,
        byte if byte == solid => Mode::Solid,
        _ => Mode::Unknown,
    }
}

/// Texels of one level that is compressed, one for each lane.
pub(crate) struct Texels<'a> {
    pub(crate) level: usize,
    pub(crate) layers: &'a Lanes,
    /// Numbers of the samples in the level.
    pub(crate) numbers: Lanes,
    /// Addresses of the bytes of metadata.
    pub(crate) parts: [u64; 32],
}

impl Image {
    /// `fetch` in a level that may be compressed.
    #[inline(always)]
    pub(super) fn fetch_compressed(
        &self,
        memory: &mut Memory<'_>,
        unknown: &mut u64,
        active: u32,
        number: usize,
        [x, y, layers, sample]: [&Lanes; 4],
        raw: &mut [Lanes; 4],
    ) -> Result<(), u64> {
        let layout = &self.layout;
        let level = &layout.levels[number % LEVELS];
        let mut texels = Texels {
            level: number,
            layers,
            numbers: Lanes::ZERO,
            parts: [0; 32],
        };
        let mut va = [0; 32];
        for lane in 0..32 {
            let (x, y, layer) = (x.0[lane], y.0[lane], layers.0[lane]);
            let element = layout.column(level, x).wrapping_add(layout.row(level, y));
            let number = layout.number(element, sample.0[lane]);
            let unit = layout
                .unit_column(level, x)
                .wrapping_add(layout.unit_row(level, y));
            texels.numbers.0[lane] = number;
            texels.parts[lane] = self
                .metadata
                .wrapping_add(layout.metadata_of(level, layer).unwrap_or(0))
                .wrapping_add(part(unit, number));
            va[lane] = self
                .base
                .wrapping_add(layout.offset_of(level, layer, number));
        }
        self.read_parts(memory, unknown, active, &texels, &mut va, raw)
    }

    /// Reads texels at `va`, where they are if their parts are stored as they are.
    #[inline(always)]
    pub(crate) fn read_parts(
        &self,
        memory: &mut Memory<'_>,
        unknown: &mut u64,
        active: u32,
        texels: &Texels<'_>,
        va: &mut [u64; 32],
        raw: &mut [Lanes; 4],
    ) -> Result<(), u64> {
        let bytes = self.format.bytes();
        let mut modes = Lanes::ZERO;
        memory.load_lanes::<u8>(&texels.parts, active, &mut modes.0)?;
        let plain = u32::from(plain(bytes));
        let mut odd = 0;
        for lane in 0..32 {
            odd |= u32::from(modes.0[lane] != plain) << lane;
        }
        let odd = odd & active;
        let absent = match odd {
            0 => 0,
            _ => self.odd_parts(odd, &modes, texels, va, unknown),
        };
        read(memory, bytes, active & !absent, va, raw)
    }

    /// Finds texels of parts that are not stored as they are. Returns the lanes for which there are none.
    fn odd_parts(
        &self,
        odd: u32,
        modes: &Lanes,
        texels: &Texels<'_>,
        va: &mut [u64; 32],
        unknown: &mut u64,
    ) -> u32 {
        let bytes = self.format.bytes();
        let level = &self.layout.levels[texels.level % LEVELS];
        let mut absent = 0;
        for lane in (0..32).filter(|lane| odd >> lane & 1 != 0) {
            match mode(modes.0[lane] as u8, bytes) {
                Mode::Plain => (),
                Mode::Solid => {
                    let number = texels.numbers.0[lane];
                    let layer = texels.layers.0[lane];
                    let body = self.layout.offset_of(level, layer, number & !0xff);
                    va[lane] = self
                        .base
                        .wrapping_add(body)
                        .wrapping_add(u64::from((number >> 5 & 7) * bytes));
                }
                Mode::Nothing => absent |= 1 << lane,
                Mode::Unknown => {
                    absent |= 1 << lane;
                    *unknown += 1;
                }
            }
        }
        absent
    }

    fn modes(&self, memory: &mut Memory<'_>, unit: &Compressed) -> Result<[u8; 8], u64> {
        let mut modes = [0; 8];
        memory.read(self.metadata.wrapping_add(unit.metadata), &mut modes)?;
        Ok(modes)
    }

    /// Whether all parts of a unit are stored as they are.
    pub(super) fn is_plain(&self, memory: &mut Memory<'_>, unit: &Compressed) -> Result<bool, u64> {
        Ok(self.modes(memory, unit)? == [plain(self.format.bytes()); 8])
    }

    /// The same of the unit whose metadata is there; false if nothing is.
    #[inline(always)]
    pub(crate) fn is_plain_at(&self, memory: &mut Memory<'_>, va: u64) -> bool {
        let plain = u32::from(plain(self.format.bytes())) * 0x0101_0101;
        [va, va.wrapping_add(4)]
            .iter()
            .all(|&va| memory.load::<u32>(va) == Ok(plain))
    }

    /// Says that all parts of a unit are stored as they are.
    pub(super) fn mark_plain(&self, memory: &mut Memory<'_>, unit: &Compressed) -> Result<(), u64> {
        let va = self.metadata.wrapping_add(unit.metadata);
        let word = u32::from(plain(self.format.bytes())) * 0x0101_0101;
        for va in [va, va.wrapping_add(4)] {
            memory.store::<u32>(va, word).map_err(|_| va)?;
        }
        Ok(())
    }

    /// Stores the whole unit that a texel is in as it is, so that single texels of it can be written.
    pub(super) fn uncompress(
        &self,
        memory: &mut Memory<'_>,
        unknown: &mut u64,
        level: usize,
        [x, y, layer, sample]: [u32; 4],
    ) -> Result<(), u64> {
        let bytes = self.format.bytes();
        let Some(unit) = self.layout.unit(level, x, y, layer, sample) else {
            return Ok(());
        };
        let modes = self.modes(memory, &unit)?;
        if modes == [plain(bytes); 8] {
            return Ok(());
        }
        let body = self.base.wrapping_add(unit.body);
        // Colours lie where the texels of the first part are to be.
        let mut colours = [0; 8 * 16];
        let colours = &mut colours[..8 * bytes as usize];
        memory.read(body, colours)?;
        let zeroes = [0; 16];
        for (part, &byte) in modes.iter().enumerate() {
            let size = bytes as usize;
            let texel = match mode(byte, bytes) {
                Mode::Plain => continue,
                Mode::Solid => &colours[part * size..][..size],
                Mode::Nothing => &zeroes[..size],
                Mode::Unknown => {
                    *unknown += 32;
                    &zeroes[..size]
                }
            };
            let start = body.wrapping_add(part as u64 * 32 * u64::from(bytes));
            for texel_of_part in 0..32 {
                let va = start.wrapping_add(texel_of_part * u64::from(bytes));
                for (i, &byte) in (0..).zip(texel) {
                    let va = va.wrapping_add(i);
                    memory.store::<u8>(va, byte.into()).map_err(|_| va)?;
                }
            }
        }
        self.mark_plain(memory, &unit)
    }
}
