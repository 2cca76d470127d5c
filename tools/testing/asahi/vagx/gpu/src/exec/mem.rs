// SPDX-License-Identifier: MIT OR Apache-2.0

//! Loads and stores of device memory and of the stack.

use super::format::unpack;
use super::{Context, Lanes, Simd};
use crate::memory::{Access, Unit as Word};
use crate::uop::*;
use crate::{GpuFault, Unit};

/// The register that the `n`th component of a memory operation uses.
#[inline(always)]
pub(super) fn dst_of(regs: &MemRegs, n: u8) -> Dst {
    if regs.wide {
        Dst::Full((regs.start >> 1) + n)
    } else {
        let half = regs.start + n;
        if half & 1 == 0 {
            Dst::Low(half >> 1)
        } else {
            Dst::High(half >> 1)
        }
    }
}

/// The same as a source.
pub(super) fn val_of(regs: &MemRegs, n: u8) -> Val {
    match dst_of(regs, n) {
        Dst::Full(r) => Val::Full(r),
        Dst::Low(r) => Val::Low(r),
        Dst::High(r) => Val::High(r),
    }
}

impl Context<'_> {
    /// Takes note of an access to nothing. With soft faults the program goes on.
    #[cold]
    fn unmapped(&mut self, va: u64, access: Access, pc: u64) {
        if self.launch.soft_faults {
            self.stats.soft_faults += 1;
        } else if self.fault.is_none() {
            self.fault = Some(GpuFault {
                va,
                access,
                unit: Unit::Shader,
                pc,
            });
        }
    }
}

impl Simd {
    /// Address of the running instruction.
    pub(super) fn address_of_pc(&self) -> u64 {
        self.program + u64::from(self.offset)
    }

    #[inline(always)]
    pub(super) fn addresses(&self, uniforms: &[u32; 256], at: &Address, align: u64) -> [u64; 32] {
        let mut va = [0; 32];
        let next = at.base.wrapping_add(1);
        if at.uniform {
            let base =
                u64::from(uniforms[next as usize]) << 32 | u64::from(uniforms[at.base as usize]);
            va = [base & !(align - 1); 32];
        } else {
            let (low, high) = (
                &self.regs[at.base as usize % 128],
                &self.regs[next as usize % 128],
            );
            for lane in 0..32 {
                let base = u64::from(high.0[lane]) << 32 | u64::from(low.0[lane]);
                va[lane] = base & !(align - 1);
            }
        }
        match at.index {
            Index::Imm(index) => {
                let index = (index << at.shift) as u64;
                for va in &mut va {
                    *va = va.wrapping_add(index);
                }
            }
            Index::Reg { reg, signed } => {
                let index = &self.regs[reg as usize % 128];
                for lane in 0..32 {
                    let raw = index.0[lane];
                    let wide = if signed {
                        raw as i32 as i64 as u64
                    } else {
                        u64::from(raw)
                    };
                    va[lane] = va[lane].wrapping_add(wide << at.shift);
                }
            }
        }
        va
    }

    #[inline(always)]
    fn load_unit<T: Word>(&self, context: &mut Context<'_>, va: &[u64; 32]) -> Lanes {
        let mut out = Lanes::ZERO;
        if self.exec == 0 || context.memory.load_page::<T>(va, self.exec, &mut out.0) {
            return out;
        }
        for lane in 0..32 {
            if self.exec >> lane & 1 != 0 {
                match context.memory.load::<T>(va[lane]) {
                    Ok(value) => out.0[lane] = value,
                    Err(_) => context.unmapped(va[lane], Access::Read, self.address_of_pc()),
                }
            }
        }
        out
    }

    #[inline(always)]
    fn store_unit<T: Word>(&self, context: &mut Context<'_>, va: &[u64; 32], value: &Lanes) {
        let active = self.exec & self.writers;
        if active == 0 || context.memory.store_page::<T>(va, active, &value.0) {
            return;
        }
        for lane in 0..32 {
            if active >> lane & 1 != 0
                && context.memory.store::<T>(va[lane], value.0[lane]).is_err()
            {
                context.unmapped(va[lane], Access::Write, self.address_of_pc());
            }
        }
    }

    #[inline(always)]
    pub(super) fn load(&mut self, context: &mut Context<'_>, regs: &MemRegs, at: &Address) {
        let size = regs.format.size();
        let mut va = self.addresses(&context.launch.uniforms, at, size.into());
        let packed = regs.format.packed();
        let mut n = 0;
        for component in 0..4 {
            if regs.mask >> component & 1 != 0 {
                let raw = match size {
                    1 => self.load_unit::<u8>(context, &va),
                    2 => self.load_unit::<u16>(context, &va),
                    _ => self.load_unit::<u32>(context, &va),
                };
                let value = unpack(regs.format, regs.wide, component, raw);
                self.put(dst_of(regs, n), value);
                n += 1;
            }
            if !packed {
                for va in &mut va {
                    *va = va.wrapping_add(size.into());
                }
            }
        }
    }

    #[inline(always)]
    pub(super) fn store(&mut self, context: &mut Context<'_>, regs: &MemRegs, at: &Address) {
        let size = regs.format.size();
        let mut va = self.addresses(&context.launch.uniforms, at, size.into());
        let mut n = 0;
        for component in 0..4 {
            if regs.mask >> component & 1 != 0 {
                let value = self.val(&context.launch.uniforms, val_of(regs, n));
                match size {
                    1 => self.store_unit::<u8>(context, &va, &value),
                    2 => self.store_unit::<u16>(context, &va, &value),
                    _ => self.store_unit::<u32>(context, &va, &value),
                }
                n += 1;
            }
            for va in &mut va {
                *va = va.wrapping_add(size.into());
            }
        }
    }

    /// Makes the stack larger or smaller. The model needs no helper program for it: the stack is the host's memory.
    pub(super) fn stack_adjust(&mut self, words: i32) {
        let len = self.stack.len().saturating_add_signed(words as isize);
        // The instruction's immediate bounds one step, and programs do not take steps in loops.
        self.stack.resize(len.min(1 << 17), Lanes::ZERO);
    }

    /// Byte offset of a stack access for a lane, if all of it is inside the stack.
    fn stack_offset(&self, at: Index, lane: usize, component: u32, size: u32) -> Option<usize> {
        let start = match at {
            Index::Imm(offset) => offset,
            Index::Reg { reg, signed: true } => {
                i64::from(self.regs[reg as usize % 128].0[lane] as i32)
            }
            Index::Reg { reg, .. } => i64::from(self.regs[reg as usize % 128].0[lane]),
        };
        let start = usize::try_from(start + i64::from(component * size)).ok()?;
        let start = start & !(size as usize - 1);
        (start + size as usize <= self.stack.len() * 4).then_some(start)
    }

    pub(super) fn stack_load(&mut self, context: &mut Context<'_>, regs: &MemRegs, at: Index) {
        let size = regs.format.size();
        // An index register may be among the destinations.
        let mut values = [Lanes::ZERO; 4];
        for (n, component) in regs.components() {
            let mut raw = Lanes::ZERO;
            for lane in (0..32).filter(|lane| self.exec >> lane & 1 != 0) {
                match self.stack_offset(at, lane, component, size) {
                    Some(at) => {
                        let word = self.stack[at / 4].0[lane] >> (at % 4 * 8);
                        raw.0[lane] = if size == 4 {
                            word
                        } else {
                            word & ((1 << (size * 8)) - 1)
                        };
                    }
                    None => context.stats.soft_faults += 1,
                }
            }
            values[usize::from(n)] = unpack(regs.format, regs.wide, component, raw);
        }
        for (n, _) in regs.components() {
            self.put(dst_of(regs, n), values[usize::from(n)]);
        }
    }

    pub(super) fn stack_store(&mut self, context: &mut Context<'_>, regs: &MemRegs, at: Index) {
        let size = regs.format.size();
        for (n, component) in regs.components() {
            let value = self.val(&context.launch.uniforms, val_of(regs, n));
            for lane in (0..32).filter(|lane| self.exec >> lane & 1 != 0) {
                match self.stack_offset(at, lane, component, size) {
                    Some(at) => {
                        let shift = at % 4 * 8;
                        let field = (u32::MAX >> (32 - size * 8)) << shift;
                        let word = &mut self.stack[at / 4].0[lane];
                        *word = (*word & !field) | (value.0[lane] << shift & field);
                    }
                    None => context.stats.soft_faults += 1,
                }
            }
        }
    }
}
