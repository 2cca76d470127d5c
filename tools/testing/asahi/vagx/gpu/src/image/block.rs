// SPDX-License-Identifier: MIT OR Apache-2.0

//! The imageblock: memory of a tile, or of a workgroup, that holds samples of pixels (Mesa,
//! `src/asahi/lib/agx_tilebuffer.c`; in fragment programs it is the tilebuffer).
//!
//! Where samples lie in it, no program can see. Here they lie in the order of rows, and those of a pixel together.

use crate::exec::Lanes;

/// Memory for the pixels of a tile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Imageblock {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// 1, 2 or 4.
    pub(crate) samples: u32,
    /// Bytes of a sample.
    stride: u32,
    bytes: Vec<u8>,
    /// The pixel of the framebuffer that its upper left corner is, and the layer.
    pub(crate) origin: [u32; 2],
    pub(crate) layer: u32,
}

impl Imageblock {
    /// Sizes beyond what hardware has are cut off.
    pub(crate) fn new(width: u32, height: u32, samples: u32, stride: u32) -> Imageblock {
        let (width, height) = (width.min(32), height.min(32));
        let (samples, stride) = (samples.clamp(1, 4), stride.min(128));
        Imageblock {
            width,
            height,
            samples,
            stride,
            bytes: vec![0; (width * height * samples * stride) as usize],
            ..Imageblock::default()
        }
    }

    /// As the state word "Shared" describes it; none if that describes ordinary local memory.
    pub(crate) fn shared(word: u32) -> Option<Imageblock> {
        let (width, height) = match word >> 10 & 0x3f {
            0x2f => (32, 32),
            0x3f => (32, 16),
            0x36 => (16, 16),
            _ => return None,
        };
        let samples = 1 << (word >> 16 & 3);
        let stride = match word >> 20 & 0xf {
            0 => 16,
            n => n,
        } * 8;
        Some(Imageblock::new(width, height, samples, stride))
    }

    /// Fills it with zeroes.
    pub(crate) fn clear(&mut self) {
        self.bytes.fill(0);
    }

    /// Gives all pixels what the first one has.
    pub(crate) fn replicate(&mut self) {
        let mut done = (self.samples * self.stride) as usize;
        while done > 0 && done < self.bytes.len() {
            let size = done.min(self.bytes.len() - done);
            self.bytes.copy_within(..size, done);
            done += size;
        }
    }

    /// Takes over all samples of another block of the same size.
    pub(crate) fn copy_samples(&mut self, from: &Imageblock) {
        self.bytes.clone_from(&from.bytes);
    }

    /// Where a sample begins, and the bytes from there to the end of the sample.
    #[inline(always)]
    fn place(&self, x: u32, y: u32, sample: u32, offset: u32) -> Option<(usize, usize)> {
        let inside =
            x < self.width && y < self.height && sample < self.samples && offset < self.stride;
        inside.then(|| {
            let index = (y * self.width + x) * self.samples + sample;
            let room = self.stride - offset;
            ((index * self.stride + offset) as usize, room as usize)
        })
    }

    /// Up to 16 bytes of a sample from `offset` on, as little-endian words. What is outside is zero.
    #[inline(always)]
    pub(crate) fn load(&self, x: u32, y: u32, sample: u32, offset: u32, size: usize) -> [u32; 4] {
        let mut words = [0; 4];
        let Some((at, room)) = self.place(x, y, sample, offset) else {
            return words;
        };
        let size = size.min(room);
        let Some(bytes) = self.bytes.get(at..at + size) else {
            return words;
        };
        let (whole, rest) = bytes.as_chunks();
        for (word, bytes) in words.iter_mut().zip(whole) {
            *word = u32::from_le_bytes(*bytes);
        }
        if let Some(word) = words.get_mut(whole.len()) {
            for (i, &byte) in rest.iter().enumerate() {
                *word |= u32::from(byte) << (8 * i);
            }
        }
        words
    }

    /// The counterpart. What is outside is dropped.
    #[inline(always)]
    pub(crate) fn store(
        &mut self,
        x: u32,
        y: u32,
        sample: u32,
        offset: u32,
        size: usize,
        words: [u32; 4],
    ) {
        let Some((at, room)) = self.place(x, y, sample, offset) else {
            return;
        };
        let size = size.min(room);
        let Some(bytes) = self.bytes.get_mut(at..at + size) else {
            return;
        };
        let (whole, rest) = bytes.as_chunks_mut();
        let whole_words = whole.len();
        for (bytes, word) in whole.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        if let Some(word) = words.get(whole_words) {
            for (byte, value) in rest.iter_mut().zip(word.to_le_bytes()) {
                *byte = value;
            }
        }
    }

    /// `load` for a row of 32 pixels.
    #[inline(always)]
    pub(crate) fn load_row(
        &self,
        x: u32,
        y: u32,
        sample: u32,
        offset: u32,
        size: usize,
    ) -> [Lanes; 4] {
        let mut out = [Lanes::ZERO; 4];
        for lane in 0..32 {
            let words = self.load(x.wrapping_add(lane as u32), y, sample, offset, size);
            for (out, word) in out.iter_mut().zip(words) {
                out.0[lane] = word;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_replicated() {
        let mut block = Imageblock::new(16, 16, 2, 8);
        block.store(0, 0, 1, 4, 4, [7, 0, 0, 0]);
        block.replicate();
        let mut copy = Imageblock::new(16, 16, 2, 8);
        copy.copy_samples(&block);
        for block in [&block, &copy] {
            assert_eq!(block.load(13, 15, 1, 0, 8), [0, 7, 0, 0]);
            assert_eq!(block.load(13, 15, 0, 0, 8), [0; 4]);
        }
    }

    #[test]
    fn samples_keep_to_their_place() {
        let mut block = Imageblock::new(16, 16, 4, 16);
        block.store(3, 5, 2, 6, 6, [0x4433_2211, 0x6655, 0, 0]);
        assert_eq!(block.load(3, 5, 2, 4, 8), [0x2211_0000, 0x6655_4433, 0, 0]);
        assert_eq!(block.load(3, 5, 1, 0, 16), [0; 4]);
        // Beyond the sample.
        block.store(3, 5, 2, 12, 8, [1, 2, 0, 0]);
        assert_eq!(block.load(3, 5, 2, 12, 16), [1, 0, 0, 0]);
        assert_eq!(block.load(3, 5, 3, 0, 16), [0; 4]);
        // Outside.
        block.store(16, 0, 0, 0, 4, [1; 4]);
        block.store(0, 16, 0, 0, 4, [1; 4]);
        block.store(0, 0, 4, 0, 4, [1; 4]);
        block.store(0, 0, 0, 16, 4, [1; 4]);
        block.clear();
        assert!(block.bytes.iter().all(|&b| b == 0));
    }

    #[test]
    fn state_word() {
        let block = Imageblock::shared(0x4d | 1 << 8 | 0x3f << 10 | 1 << 16 | 2 << 20).unwrap();
        assert_eq!((block.width, block.height), (32, 16));
        assert_eq!((block.samples, block.stride), (2, 16));
        assert!(Imageblock::shared(0x4d | 0x24 << 10).is_none());
    }
}
