// SPDX-License-Identifier: MIT OR Apache-2.0

//! The primitive processor's records: a header that says which words are there, and these in a fixed order (Mesa,
//! `src/asahi/genxml/cmdbuf.xml`, "PPP state", and `src/asahi/lib/decode.c`, `agxdecode_record`).

use crate::geometry::{
    DrawState, FragmentControl, OutputSelect, RegionClip, VaryingCounts, Viewport,
};

/// Bits of the header that stand for words, or count them.
const KNOWN: u32 = 0x1fef_fdff;

/// The state as its words are: what the two fragment control words say is combined for draws only.
#[derive(Default)]
pub(crate) struct Ppp {
    state: DrawState,
    fragment_control: [u32; 2],
}

impl Ppp {
    /// The state that draws have now.
    pub(crate) fn state(&self) -> DrawState {
        let [first, second] = self.fragment_control;
        DrawState {
            fragment_control: FragmentControl {
                bits: first | second,
            },
            ..self.state.clone()
        }
    }

    /// Takes what a record says. The error says what is wrong with it.
    pub(crate) fn update(&mut self, record: &[u32]) -> Result<(), &'static str> {
        let mut words = Words(record);
        let [header] = words.take()?;
        if header & !KNOWN != 0 {
            return Err("unknown words in a PPP record");
        }
        let has = |bit: u32| header >> bit & 1 != 0;
        let viewports = (header >> 12 & 0xf) + 1;
        let state = &mut self.state;
        let [control, control2] = &mut self.fragment_control;
        for (bit, word) in [
            (0, control),
            (1, control2),
            (2, &mut state.front_face.word),
            (3, &mut state.front_face.word2),
            (4, &mut state.front_stencil.word),
            (5, &mut state.back_face.word),
            (6, &mut state.back_face.word2),
            (7, &mut state.back_stencil.word),
        ] {
            if has(bit) {
                [*word] = words.take()?;
            }
        }
        if has(8) {
            let [word] = words.take()?;
            state.scissor = word as u16;
            state.depth_bias = (word >> 16) as u16;
        }
        if has(10) {
            state.region_clips.clear();
            for _ in 0..viewports {
                state.region_clips.push(region_clip(words.take()?));
            }
        }
        if has(11) {
            // A word of control that has always been zero.
            let [_] = words.take()?;
            state.viewports.clear();
            for _ in 0..viewports {
                state.viewports.push(viewport(words.take()?));
            }
        }
        if has(16) {
            let [word] = words.take()?;
            state.w_clamp = f32::from_bits(word);
        }
        if has(17) {
            let [word] = words.take()?;
            state.output_select = OutputSelect { word };
        }
        for (bit, counts) in [
            (18, &mut state.varying_counts_32),
            (19, &mut state.varying_counts_16),
        ] {
            if has(bit) {
                let [word] = words.take()?;
                let [smooth, flat, linear, _] = word.to_le_bytes();
                *counts = VaryingCounts {
                    smooth,
                    flat,
                    linear,
                };
            }
        }
        for (bit, word) in [(21, &mut state.cull.word), (22, &mut state.cull.word2)] {
            if has(bit) {
                [*word] = words.take()?;
            }
        }
        if has(23) {
            state.fragment_shader.words = words.take()?;
        }
        if has(24) {
            let [word] = words.take()?;
            state.occlusion_query = (word >> 17) as u16;
        }
        // "Occlusion query 2" and "output unknown", of which nothing is known but that they are zero.
        for bit in [25, 26] {
            if has(bit) {
                let [_] = words.take()?;
            }
        }
        if has(27) {
            [state.output_size] = words.take()?;
        }
        if has(28) {
            let [_, _] = words.take()?;
        }
        Ok(())
    }
}

/// What is left of a record.
struct Words<'a>(&'a [u32]);

impl Words<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u32; N], &'static str> {
        let (words, rest) = self
            .0
            .split_first_chunk()
            .ok_or("a PPP record without all the words that its header names")?;
        self.0 = rest;
        Ok(*words)
    }
}

fn region_clip([x, y]: [u32; 2]) -> RegionClip {
    RegionClip {
        enable: x >> 31 != 0,
        min_x: x >> 16 & 0x1ff,
        min_y: y >> 16 & 0x1ff,
        max_x: (x & 0x1ff) + 1,
        max_y: (y & 0x1ff) + 1,
    }
}

fn viewport(words: [u32; 6]) -> Viewport {
    let [tx, sx, ty, sy, tz, sz] = words.map(f32::from_bits);
    Viewport {
        translate: [tx, ty, tz],
        scale: [sx, sy, sz],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{PolygonMode, Visibility};

    #[test]
    fn state_stays_until_it_is_changed() {
        let mut ppp = Ppp::default();
        // Cull, output size, front face, and a fragment control with counting of samples.
        let record = [
            1 | 1 << 2 | 1 << 21 | 1 << 27,
            2 << 14 | 1 << 16,
            0x1f << 8 | 1 << 18 | 7 << 24 | 0x55,
            1 << 16 | 1 << 10 | 2,
            9,
        ];
        ppp.update(&record).unwrap();
        // The second fragment control alone.
        ppp.update(&[2, 3 << 29 | 1 << 21]).unwrap();
        let state = ppp.state();
        let control = state.fragment_control;
        assert_eq!(control.visibility(), Visibility::Counting);
        assert!(control.scissor_enable() && control.tag_write_disable());
        assert_eq!(control.pass_type(), 3);
        let face = state.front_face;
        assert_eq!(face.stencil_reference(), 0x55);
        assert_eq!(face.line_width(), 2.0);
        assert_eq!(face.polygon_mode(), PolygonMode::Line);
        assert_eq!(face.depth_functions(), [7, 0]);
        assert!(state.cull.back() && state.cull.depth_clip() && state.cull.front_face_ccw());
        assert_eq!(state.output_size, 9);
        // A word takes the place of the one before.
        ppp.update(&[2, 0]).unwrap();
        let control = ppp.state().fragment_control;
        assert!(control.scissor_enable() && !control.tag_write_disable());
    }

    #[test]
    fn viewports_come_in_numbers() {
        let mut ppp = Ppp::default();
        let f = f32::to_bits;
        let mut record = vec![1 << 8 | 1 << 10 | 1 << 11 | 1 << 12, 7 | 3 << 16];
        for i in 0..2 {
            record.extend([1 << 31 | i << 16 | 4, 5 << 16 | 6]);
        }
        record.push(0);
        for i in 0..2 {
            let start = i as f32 * 10.0;
            record.extend((1..7).map(|n| f(start + n as f32)));
        }
        ppp.update(&record).unwrap();
        let state = ppp.state();
        assert_eq!((state.scissor, state.depth_bias), (7, 3));
        let clip = RegionClip {
            enable: true,
            min_x: 1,
            min_y: 5,
            max_x: 5,
            max_y: 7,
        };
        assert_eq!(state.region_clips[1], clip);
        let second = Viewport {
            translate: [11.0, 13.0, 15.0],
            scale: [12.0, 14.0, 16.0],
        };
        assert_eq!(state.viewports[1], second);
        assert_eq!(state.viewports.len(), 2);
    }

    #[test]
    fn records_that_make_no_sense_are_refused() {
        let mut ppp = Ppp::default();
        assert!(ppp.update(&[]).is_err());
        assert!(ppp.update(&[1 << 23, 0, 0, 0]).is_err());
        assert!(ppp.update(&[1 << 9]).is_err());
        assert!(ppp.update(&[1 << 20]).is_err());
        assert!(ppp.update(&[1 << 29]).is_err());
    }
}
