// SPDX-License-Identifier: MIT OR Apache-2.0

//! The interpreter's loop.

use super::lanes::room;
use super::{Context, Lanes, Simd, alu};
use crate::cache::Program;
use crate::debug::Stopped;
use crate::uop::{TileOp, Uop};
use std::sync::Arc;

/// Why a SIMD-group stopped running for now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It reached the end of its program.
    Done,
    /// It waits for the others of its workgroup.
    Barrier,
    /// It has run for long.
    Paused,
    /// A fault, which is noted in the context.
    Fault,
    /// The operation before `pc` is not supported.
    Unsupported,
    /// The next operation's bytes are not mapped.
    Fetch,
}

/// How many instructions a SIMD-group runs, about, before somebody asks whether to go on.
const STEP: u64 = 4096;

/// Which build of the interpreter this CPU can run. All give the same results.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cpu {
    /// What every CPU of the architecture has.
    Baseline,
    /// AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// The same and AVX-512 with its byte, word and vector length extensions.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Cpu {
    pub(crate) fn detect(baseline: bool) -> Self {
        #[cfg(target_arch = "x86_64")]
        if !baseline
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt")
        {
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            return if wide { Cpu::Avx512 } else { Cpu::Avx2 };
        }
        let _ = baseline;
        Cpu::Baseline
    }
}

/// Calls a function that is always inlined in the build of it for a CPU. Vectors wider than those of AVX2 do not make it
/// faster, where this is used, and the compiler takes long for each build.
macro_rules! by_cpu {
    ($cpu:expr, $function:path, ($($name:ident: $type:ty = $value:expr),* $(,)?) -> $out:ty) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        fn avx2($($name: $type),*) -> $out {
            $function($($name),*)
        }
        #[inline(never)]
        fn plain($($name: $type),*) -> $out {
            $function($($name),*)
        }
        match $cpu {
            $crate::exec::Cpu::Baseline => plain($($value),*),
            #[cfg(target_arch = "x86_64")]
            $crate::exec::Cpu::Avx2 | $crate::exec::Cpu::Avx512 => {
                // SAFETY: `Cpu::detect` gives these only where the CPU has all of the features.
                unsafe { avx2($($value),*) }
            }
        }
    }};
}
pub(crate) use by_cpu;

#[cfg(test)]
impl Cpu {
    /// All that this CPU can run.
    pub(crate) fn all() -> Vec<Cpu> {
        #[cfg(target_arch = "x86_64")]
        match Cpu::detect(false) {
            Cpu::Avx512 => return vec![Cpu::Baseline, Cpu::Avx2, Cpu::Avx512],
            Cpu::Avx2 => return vec![Cpu::Baseline, Cpu::Avx2],
            Cpu::Baseline => (),
        }
        vec![Cpu::Baseline]
    }
}

impl Simd {
    /// Runs until something other than an instruction has to happen.
    pub(crate) fn run(
        &mut self,
        cpu: Cpu,
        program: &Program,
        context: &mut Context<'_>,
    ) -> Outcome {
        self.cpu = cpu;
        match cpu {
            // Arm's baseline has a fused multiply-add.
            Cpu::Baseline => self.run_with::<{ cfg!(target_arch = "aarch64") }>(program, context),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Cpu::detect` gives `Avx2` only where the CPU has all of these features.
            Cpu::Avx2 => unsafe { self.run_avx2(program, context) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Cpu::detect` gives `Avx512` only where the CPU has all of these features.
            Cpu::Avx512 => unsafe { self.run_avx512(program, context) },
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    fn run_avx2(&mut self, program: &Program, context: &mut Context<'_>) -> Outcome {
        self.run_with::<true>(program, context)
    }

    /// The compiler takes long for each build of the interpreter: where speed is no matter, one fewer has to do.
    #[cfg(target_arch = "x86_64")]
    #[cfg_attr(
        not(debug_assertions),
        target_feature(
            enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt"
        )
    )]
    #[cfg_attr(
        debug_assertions,
        target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")
    )]
    fn run_avx512(&mut self, program: &Program, context: &mut Context<'_>) -> Outcome {
        #[cfg(not(debug_assertions))]
        return self.run_with::<true>(program, context);
        #[cfg(debug_assertions)]
        self.run_avx2(program, context)
    }

    #[inline(always)]
    fn run_with<const FMA: bool>(
        &mut self,
        program: &Program,
        context: &mut Context<'_>,
    ) -> Outcome {
        let start = context.stats.instructions;
        let mut executed = 0;
        let launch = Arc::clone(&context.launch);
        let u = &*launch.uniforms;
        let outcome = loop {
            let Some(uop) = program.uops.get(self.pc) else {
                break Outcome::Unsupported;
            };
            self.pc += 1;
            executed += 1;
            match *uop {
                Uop::Nop => (),
                Uop::Stop => {
                    // Only the active threads end; a program may do that in a branch and go on with the others.
                    self.alive &= !self.exec;
                    if self.alive == 0 || self.pc >= program.uops.len() {
                        break Outcome::Done;
                    }
                    self.set_exec(0);
                }
                Uop::Barrier => break Outcome::Barrier,
                Uop::Const { d, value } => self.put(d, Lanes::splat(value)),
                Uop::Mov { d, a } => self.put(d, self.val(u, a)),
                Uop::Special { d, sr } => {
                    if !self.special(context, d, sr) {
                        break Outcome::Unsupported;
                    }
                }
                Uop::Add {
                    d,
                    a,
                    b,
                    shift,
                    neg,
                } => {
                    let [ra, rb] = &mut room();
                    let (a, b) = (self.int_at(u, a, ra), self.int_at(u, b, rb));
                    let sum = if neg {
                        a.zip(b, |a, b| a.wrapping_sub(b << shift))
                    } else {
                        a.zip(b, |a, b| a.wrapping_add(b << shift))
                    };
                    self.put(d, sum);
                }
                Uop::Mad {
                    d,
                    a,
                    b,
                    c,
                    shift,
                    neg,
                } => {
                    let [ra, rb, rc] = &mut room();
                    let (a, b, c) = (
                        self.int_at(u, a, ra),
                        self.int_at(u, b, rb),
                        self.int_at(u, c, rc),
                    );
                    let sign = if neg { u32::MAX } else { 1 };
                    let sum = a.zip3(b, c, |a, b, c| {
                        a.wrapping_mul(b)
                            .wrapping_add((c << shift).wrapping_mul(sign))
                    });
                    self.put(d, sum);
                }
                Uop::MadWide {
                    d,
                    a,
                    b,
                    c,
                    shift,
                    neg,
                } => {
                    self.mad_wide(u, d, [a, b, c], shift, neg);
                }
                Uop::MadSat {
                    d,
                    a,
                    b,
                    c,
                    neg,
                    signed,
                } => {
                    self.mad_saturating(u, d, [a, b, c], neg, signed);
                }
                Uop::Bit { d, op, a, b } => {
                    let [ra, rb] = &mut room();
                    let out = alu::bit(op, self.at(u, a, ra), self.at(u, b, rb));
                    self.put(d, out);
                }
                Uop::ShiftLeft { d, a, by } => {
                    let [ra, rb] = &mut room();
                    let out = alu::shift_left(self.at(u, a, ra), self.at(u, by, rb));
                    self.put(d, out);
                }
                Uop::ShiftRight { d, a, by } => {
                    let [ra, rb] = &mut room();
                    let out = alu::shift_right(self.at(u, a, ra), self.at(u, by, rb));
                    self.put(d, out);
                }
                Uop::ShiftArith { d, a, by, high } => {
                    let [ra, rb] = &mut room();
                    let out = alu::shift_arith(self.int_at(u, a, ra), self.at(u, by, rb), high);
                    self.put(d, out);
                }
                Uop::Shift {
                    d,
                    op,
                    a,
                    b,
                    c,
                    mask,
                } => {
                    let [ra, rb, rc] = &mut room();
                    let (a, b, c) = (self.at(u, a, ra), self.at(u, b, rb), self.at(u, c, rc));
                    self.put(d, alu::shift(op, a, b, c, mask));
                }
                Uop::IntUnary { d, op, a } => self.put(d, alu::unary(op, &self.val(u, a))),
                Uop::Interleave { d, a, b } => {
                    let out = alu::interleave(&self.val(u, a), &self.val(u, b));
                    self.put(d, out);
                }
                Uop::Convert { d, op, a } => self.convert(d, op, self.val(u, a)),
                Uop::Float {
                    d,
                    op,
                    a,
                    b,
                    c,
                    sat,
                } => {
                    self.float::<FMA>(u, op, d, [a, b, c], sat);
                }
                Uop::Half {
                    d,
                    op,
                    a,
                    b,
                    c,
                    sat,
                } => self.half(u, op, d, [a, b, c], sat),
                Uop::FltUnary { d, op, a, sat } => self.float_unary(u, op, d, a, sat),
                Uop::Select { d, ref cmp, x, y } => {
                    let mask = self.compare(u, cmp);
                    let [rx, ry] = &mut room();
                    let out = self.at(u, x, rx).select(self.at(u, y, ry), mask);
                    self.put(d, out);
                }
                Uop::Flow {
                    flow,
                    nest,
                    ref cmp,
                } => self.flow(u, flow, nest, cmp),
                Uop::Pop { nest } => self.pop(nest),
                Uop::JumpAny { target } => {
                    if self.exec != 0 {
                        self.pc = target as usize;
                    }
                    if executed > STEP {
                        break Outcome::Paused;
                    }
                }
                Uop::JumpNone { target } => {
                    if self.exec == 0 {
                        self.pc = target as usize;
                    }
                    if executed > STEP {
                        break Outcome::Paused;
                    }
                }
                Uop::Call { target } => {
                    let back = program.address.wrapping_add(program.offset(self.pc).into());
                    self.put_full(1, Lanes::splat(back as u32));
                    self.pc = target as usize;
                    if executed > STEP {
                        break Outcome::Paused;
                    }
                }
                Uop::Return { reg } => match self.return_to(program, reg) {
                    Some(pc) => {
                        self.pc = pc;
                        if executed > STEP {
                            break Outcome::Paused;
                        }
                    }
                    None => break Outcome::Unsupported,
                },
                Uop::Ballot { d, quad, ref cmp } => self.ballot(u, d, quad, cmp),
                Uop::Shuffle { d, op, quad, a, b } => self.shuffle(u, d, op, quad, (a, b)),
                Uop::Reduce {
                    d,
                    op,
                    quad,
                    prefix,
                    half,
                    a,
                } => {
                    self.reduce(u, d, op, (quad, prefix, half), a);
                }
                ref memory => {
                    self.offset = program.offset(self.pc - 1);
                    if let Some(outcome) = self.memory_uop(memory, context) {
                        break outcome;
                    }
                    // A program may be long without a jump, and these operations are what takes its time.
                    if executed > STEP {
                        break Outcome::Paused;
                    }
                }
            }
        };
        context.stats.instructions = start + executed;
        outcome
    }

    /// Where the active lanes return to, if that is one place in the program.
    fn return_to(&self, program: &Program, reg: u8) -> Option<usize> {
        let targets = &self.regs[reg as usize % 128];
        let first = targets.0[self.exec.trailing_zeros() as usize % 32];
        let other = (0..32).any(|lane| self.exec >> lane & 1 != 0 && targets.0[lane] != first);
        (self.exec != 0 && !other).then(|| program.at(first))?
    }

    /// The operations that may fault, and the rest.
    #[inline(always)]
    fn memory_uop(&mut self, uop: &Uop, context: &mut Context<'_>) -> Option<Outcome> {
        match *uop {
            Uop::Load { ref regs, ref at } => self.load(context, regs, at),
            Uop::Store { ref regs, ref at } => self.store(context, regs, at),
            Uop::Atomic {
                op,
                d,
                source,
                ref at,
            } => self.atomic(context, op, d, source, at),
            Uop::LocalLoad { ref regs, ref at } => self.local_load(context, regs, at),
            Uop::LocalStore { ref regs, ref at } => self.local_store(context, regs, at),
            Uop::LocalAtomic {
                op,
                d,
                source,
                ref at,
            } => {
                self.local_atomic(context, op, d, source, at);
            }
            Uop::StackLoad { ref regs, at } => self.stack_load(context, regs, at),
            Uop::StackStore { ref regs, at } => self.stack_store(context, regs, at),
            Uop::StackAdjust { words } => self.stack_adjust(words),
            Uop::UniformStore { d, source, count } => {
                return self.uniform_store(context, d, source, count);
            }
            Uop::TextureState { d, base, offset } => {
                return self.state_store(context, false, d, base, offset);
            }
            Uop::SamplerState { d, base, offset } => {
                return self.state_store(context, true, d, base, offset);
            }
            Uop::StoreVarying { value, index } => {
                if !self.store_varying(context, value, index) {
                    return Some(Outcome::Unsupported);
                }
            }
            Uop::Texture(ref op) => return self.texture(context, op),
            Uop::Fragment(ref op) => return self.fragment(context, op),
            Uop::Tile(ref op) => {
                let outcome = self.tile(context, op);
                // Each lane of this one may write as many texels as a tile has.
                let long = matches!(**op, TileOp::Block { .. }).then_some(Outcome::Paused);
                return outcome.or(long);
            }
            Uop::Watch(ref watch) => watch.0.stopped(&Stopped {
                simd: self,
                context,
            }),
            Uop::Unmapped => return Some(Outcome::Fetch),
            _ => return Some(Outcome::Unsupported),
        }
        context.fault.is_some().then_some(Outcome::Fault)
    }

    /// Writes uniforms for the threads of the launch. They are uniform, so that the first active lane's value is taken.
    fn uniform_store(
        &mut self,
        context: &mut Context<'_>,
        d: u16,
        source: u8,
        count: u8,
    ) -> Option<Outcome> {
        let Some(preamble) = &mut context.preamble else {
            return Some(Outcome::Unsupported);
        };
        if self.exec == 0 {
            return None;
        }
        let lane = self.exec.trailing_zeros() as usize % 32;
        for i in 0..u16::from(count) {
            let (from, to) = (u16::from(source) + i, d + i);
            let value = self.regs[usize::from(from / 2) % 128].0[lane] >> (from % 2 * 16) & 0xffff;
            let word = &mut preamble.uniforms[usize::from(to / 2) % 256];
            let shift = to % 2 * 16;
            *word = (*word & !(0xffff << shift)) | value << shift;
        }
        None
    }

    /// Loads a texture or sampler state from memory for the threads of the launch.
    fn state_store(
        &mut self,
        context: &mut Context<'_>,
        sampler: bool,
        d: u8,
        base: u8,
        offset: crate::uop::Val,
    ) -> Option<Outcome> {
        if context.preamble.is_none() {
            return Some(Outcome::Unsupported);
        }
        if self.exec == 0 {
            return None;
        }
        let lane = self.exec.trailing_zeros() as usize % 32;
        let uniforms = &context.launch.uniforms;
        let start = u64::from(uniforms[base as usize])
            | u64::from(uniforms[base.wrapping_add(1) as usize]) << 32;
        let va = start.wrapping_add(self.val(uniforms, offset).0[lane].into());
        let mut state = [0; 24];
        let length = if sampler { 8 } else { 24 };
        if let Err(va) = context.memory.read(va, &mut state[..length]) {
            context.fault = Some(crate::GpuFault {
                va,
                access: crate::Access::Read,
                unit: crate::Unit::Usc,
                pc: self.address_of_pc(),
            });
            return Some(Outcome::Fault);
        }
        if let Some(preamble) = &mut context.preamble {
            let states = if sampler {
                &mut preamble.samplers
            } else {
                &mut preamble.textures
            };
            states.push((d, state));
        }
        None
    }
}
