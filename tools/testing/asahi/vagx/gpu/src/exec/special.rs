// SPDX-License-Identifier: MIT OR Apache-2.0

//! Special registers.

use super::{Context, Lanes, Simd};
use crate::uop::Dst;

impl Simd {
    /// Reads a special register, by its number in Mesa, `src/asahi/isa/AGX2.xml`. False if this model has no value for
    /// it.
    pub(super) fn special(&mut self, context: &Context<'_>, d: Dst, sr: u8) -> bool {
        let launch = &*context.launch;
        let axis = usize::from(sr & 3);
        let below = |lane: usize| (1u32 << lane) - 1;
        let fragment = context.fragment.as_deref();
        if let Some(value) = fragment.and_then(|group| self.fragment_special(group, sr)) {
            self.put(d, value);
            return true;
        }
        let value = match sr {
            0..=2 => Lanes::splat(self.group[axis]),
            4..=6 => Lanes::splat(self.threads[axis]),
            8..=10 => Lanes::splat(launch.local[axis]),
            14 => Lanes::ZERO,
            20 => Lanes::splat(context.core),
            21 => Lanes::splat(launch.vm_slot),
            48..=50 => self.thread[axis],
            51 => Lanes(std::array::from_fn(|lane| self.index * 32 + lane as u32)),
            52 => Lanes(std::array::from_fn(|lane| lane as u32)),
            53 => Lanes::splat(self.index),
            56 => Lanes(std::array::from_fn(|lane| {
                let quad = self.exec >> (lane & !3) & 0xf;
                (quad & below(lane & 3)).count_ones()
            })),
            57 => Lanes(std::array::from_fn(|lane| {
                (self.exec >> (lane & !3) & 0xf).count_ones()
            })),
            58 => Lanes(std::array::from_fn(|lane| {
                (self.exec & below(lane)).count_ones()
            })),
            59 => Lanes::splat(self.exec.count_ones()),
            80..=82 => {
                let start = self.group[axis].wrapping_mul(launch.local[axis]);
                self.thread[axis].map(|t| start.wrapping_add(t))
            }
            _ => return false,
        };
        self.put(d, value);
        true
    }
}
