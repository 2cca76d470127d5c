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

/// Lanes whose texels are in parts that are not stored as they are.
struct Odd<'a> {
    lanes: u32,
    modes: &'a Lanes,
    numbers: &'a Lanes,
    layers: &'a Lanes,
}

impl Image {
    /// `fetch` in a level that may be compressed.
    #[inline(always)]
    pub(super) fn fetch_compressed(
        &self,
        memory: &mut Memory<'_>,
        unknown: &mut u64,
        active: u32,
        level: usize,
        at: [&Lanes; 4],
        raw: &mut [Lanes; 4],
    ) -> Result<(), u64> {
        let bytes = self.format.bytes();
        let mut va = self.layout.offsets(level, at);
        for va in &mut va {
            *va = va.wrapping_add(self.base);
        }
        let mut present = active;
        if let Some((numbers, mut parts)) = self.layout.parts(level, at) {
            for part in &mut parts {
                *part = part.wrapping_add(self.metadata);
            }
            let mut modes = Lanes::ZERO;
            memory.load_lanes::<u8>(&parts, active, &mut modes.0)?;
            let plain = u32::from(plain(bytes));
            let mut other = 0;
            for lane in 0..32 {
                other |= u32::from(modes.0[lane] != plain) << lane;
            }
            if other & active != 0 {
                let odd = Odd {
                    lanes: other & active,
                    modes: &modes,
                    numbers: &numbers,
                    layers: at[2],
                };
                present &= !self.odd_parts(level, &odd, &mut va, unknown);
            }
        }
        read(memory, bytes, present, &va, raw)
    }

    /// Finds texels of parts that are not stored as they are. Returns the lanes for which there are none.
    fn odd_parts(&self, level: usize, odd: &Odd<'_>, va: &mut [u64; 32], unknown: &mut u64) -> u32 {
        let bytes = self.format.bytes();
        let level = &self.layout.levels[level % LEVELS];
        let mut absent = 0;
        for lane in (0..32).filter(|lane| odd.lanes >> lane & 1 != 0) {
            match mode(odd.modes.0[lane] as u8, bytes) {
                Mode::Plain => (),
                Mode::Solid => {
                    let number = odd.numbers.0[lane];
                    let body = self
                        .layout
                        .offset_of(level, odd.layers.0[lane], number & !0xff);
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
