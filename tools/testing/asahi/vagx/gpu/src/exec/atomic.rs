// SPDX-License-Identifier: MIT OR Apache-2.0

//! Read-modify-write operations on device and local memory. Lanes go one after the other, the lowest first.

use super::{Context, Lanes, Simd};
use crate::memory::Access;
use crate::uop::*;
use crate::{GpuFault, Unit};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What the operation makes of a word.
fn apply(op: AtomicOp, old: u32, value: u32, expected: u32) -> u32 {
    match op {
        AtomicOp::Add => old.wrapping_add(value),
        AtomicOp::Sub => old.wrapping_sub(value),
        AtomicOp::Exchange => value,
        AtomicOp::CompareExchange if old == expected => value,
        AtomicOp::CompareExchange => old,
        AtomicOp::UMin => old.min(value),
        AtomicOp::IMin => (old as i32).min(value as i32) as u32,
        AtomicOp::UMax => old.max(value),
        AtomicOp::IMax => (old as i32).max(value as i32) as u32,
        AtomicOp::And => old & value,
        AtomicOp::Or => old | value,
        AtomicOp::Xor => old ^ value,
    }
}

/// Does it to memory that other workers and the guest's CPUs reach. Returns the old value.
fn update(word: &AtomicU32, op: AtomicOp, value: u32, expected: u32) -> u32 {
    match op {
        AtomicOp::Add => word.fetch_add(value, Relaxed),
        AtomicOp::Exchange => word.swap(value, Relaxed),
        _ => {
            let mut old = word.load(Relaxed);
            loop {
                let new = apply(op, old, value, expected);
                match word.compare_exchange_weak(old, new, Relaxed, Relaxed) {
                    Ok(old) => return old,
                    Err(now) => old = now,
                }
            }
        }
    }
}

impl Simd {
    /// New values and, for compare-exchange, what is expected: it takes the register after.
    fn atomic_sources(&self, op: AtomicOp, source: u8) -> (Lanes, Lanes) {
        let next = match op {
            AtomicOp::CompareExchange => source + 1,
            _ => source,
        };
        (
            self.regs[source as usize % 128],
            self.regs[next as usize % 128],
        )
    }

    pub(super) fn atomic(
        &mut self,
        context: &mut Context<'_>,
        op: AtomicOp,
        d: Option<u8>,
        source: u8,
        at: &Address,
    ) {
        let va = self.addresses(&context.launch.uniforms, at, 4);
        let (value, expected) = self.atomic_sources(op, source);
        let mut out = Lanes::ZERO;
        for lane in (0..32).filter(|lane| self.exec >> lane & 1 != 0) {
            match context.memory.atomic(va[lane]) {
                Ok(word) => out.0[lane] = update(word, op, value.0[lane], expected.0[lane]),
                Err(_) if context.launch.soft_faults => context.stats.soft_faults += 1,
                Err(_) => {
                    context.fault.get_or_insert(GpuFault {
                        va: va[lane],
                        access: Access::Write,
                        unit: Unit::Shader,
                        pc: self.address_of_pc(),
                    });
                }
            }
        }
        if let Some(d) = d {
            self.put_full(d, out);
        }
    }

    pub(super) fn local_atomic(
        &mut self,
        context: &mut Context<'_>,
        op: AtomicOp,
        d: Option<u8>,
        source: u8,
        at: &LocalAddress,
    ) {
        let addresses = self.local_addresses(&context.launch.uniforms, at, 4);
        let (value, expected) = self.atomic_sources(op, source);
        let mut out = Lanes::ZERO;
        for lane in (0..32).filter(|lane| self.exec >> lane & 1 != 0) {
            let place = Self::local_word(addresses.0[lane]);
            let Some(place) = place.and_then(|range| context.local.get_mut(range)) else {
                context.stats.soft_faults += 1;
                continue;
            };
            let old = place
                .iter()
                .rev()
                .fold(0, |word, &byte| word << 8 | u32::from(byte));
            let new = apply(op, old, value.0[lane], expected.0[lane]);
            place.copy_from_slice(&new.to_le_bytes());
            out.0[lane] = old;
        }
        if let Some(d) = d {
            self.put_full(d, out);
        }
    }
}
