// SPDX-License-Identifier: MIT OR Apache-2.0

//! Local memory, which the threads of a workgroup share. A workgroup runs on one worker, so that it is plain memory.

use super::format::unpack;
use super::mem::{dst_of, val_of};
use super::{Context, LOCAL_SIZE, Lanes, Simd};
use crate::uop::*;

impl Simd {
    /// Byte addresses: the base, aligned, and an index in units of the access.
    pub(super) fn local_addresses(
        &self,
        uniforms: &[u32; 256],
        at: &LocalAddress,
        size: u32,
    ) -> Lanes {
        let base = self.val(uniforms, at.base).map(|base| base & !(size - 1));
        let index = self.int(uniforms, at.index);
        base.zip(index, |base, index| {
            base.wrapping_add(index.wrapping_mul(size))
        })
    }

    pub(super) fn local_load(
        &mut self,
        context: &mut Context<'_>,
        regs: &MemRegs,
        at: &LocalAddress,
    ) {
        let size = regs.format.size();
        let addresses = self.local_addresses(&context.launch.uniforms, at, size);
        for (n, component) in regs.components() {
            let offset = if regs.format.packed() {
                0
            } else {
                component * size
            };
            let mut raw = Lanes::ZERO;
            for lane in (0..32).filter(|lane| self.exec >> lane & 1 != 0) {
                let from = addresses.0[lane].wrapping_add(offset) as usize;
                match context.local.get(from..from + size as usize) {
                    Some(bytes) => {
                        raw.0[lane] = bytes
                            .iter()
                            .rev()
                            .fold(0, |word, &byte| word << 8 | u32::from(byte));
                    }
                    None => context.stats.soft_faults += 1,
                }
            }
            self.put(
                dst_of(regs, n),
                unpack(regs.format, regs.wide, component, raw),
            );
        }
    }

    pub(super) fn local_store(
        &mut self,
        context: &mut Context<'_>,
        regs: &MemRegs,
        at: &LocalAddress,
    ) {
        let size = regs.format.size();
        let addresses = self.local_addresses(&context.launch.uniforms, at, size);
        for (n, component) in regs.components() {
            let value = self.val(&context.launch.uniforms, val_of(regs, n));
            for lane in (0..32).filter(|lane| self.exec >> lane & 1 != 0) {
                let to = addresses.0[lane].wrapping_add(component * size) as usize;
                let bytes = value.0[lane].to_le_bytes();
                match context.local.get_mut(to..to + size as usize) {
                    Some(place) => place.copy_from_slice(&bytes[..size as usize]),
                    None => context.stats.soft_faults += 1,
                }
            }
        }
    }

    /// The word at a local address, if it is inside.
    pub(super) fn local_word(address: u32) -> Option<std::ops::Range<usize>> {
        let at = address as usize & !3;
        (at + 4 <= LOCAL_SIZE).then_some(at..at + 4)
    }
}
