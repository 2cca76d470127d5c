// SPDX-License-Identifier: MIT OR Apache-2.0

//! Structured control flow: the counter in r0l.
//!
//! These instructions update the counter of every lane, active or not, and the active lanes follow from it (applegpu.py,
//! IfICmp and its neighbours).

use super::{Lanes, Simd};
use crate::uop::{Compare, Flow};

impl Simd {
    #[inline(always)]
    pub(super) fn flow(&mut self, uniforms: &[u32; 256], flow: Flow, nest: u16, cmp: &Compare) {
        let holds = self.compare(uniforms, cmp);
        let nest = u32::from(nest);
        let old = self.regs[0].map(|x| x & 0xffff);
        let new = match flow {
            Flow::If => old.zip(
                holds,
                |v, h| if v != 0 { v.wrapping_add(nest) } else { !h & 1 },
            ),
            Flow::Else => old.zip(holds, |v, h| match v {
                0 => nest,
                1 => !h & 1,
                _ => v,
            }),
            Flow::While => old.zip(holds, |v, h| if v < nest { nest & !h } else { v }),
        };
        self.set_counters(new);
    }

    #[inline(always)]
    pub(super) fn pop(&mut self, nest: u16) {
        let counters = self.regs[0].map(|x| (x & 0xffff).saturating_sub(u32::from(nest)));
        self.set_counters(counters);
    }

    #[inline(always)]
    fn set_counters(&mut self, counters: Lanes) {
        let zero = counters.map(|v| u32::from(v & 0xffff == 0) << 31).to_bits();
        self.regs[0] = self.regs[0].zip(counters, |r, v| (r & 0xffff_0000) | (v & 0xffff));
        self.set_exec(zero & self.alive);
    }
}
