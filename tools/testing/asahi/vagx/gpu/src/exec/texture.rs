// SPDX-License-Identifier: MIT OR Apache-2.0

//! Texture instructions: their sources and results. What lies between is the texture unit's.

#[cfg(test)]
mod tests;

use super::half::{from_half, to_half};
use super::{Context, Cpu, Lanes, Outcome, Simd};
use crate::memory::Access;
use crate::texture::{Action, Lod, Port, Request, Trouble, perform};
use crate::uop::*;
use crate::{GpuFault, Unit, Unsupported};

/// Which states some lanes use: the number of the texture's state register or the address of its state, and the number
/// of the sampler.
type Key = (u64, u32);

/// Samplers of lower numbers are state registers; from this number on they are those of the job's heap (Mesa,
/// `src/asahi/vulkan/hk_descriptor_set.c`).
const HEAP_START: u32 = 28;

impl Simd {
    /// Does a texture instruction, as the interpreter's build does.
    #[inline(always)]
    pub(super) fn texture(&mut self, context: &mut Context<'_>, op: &TextureOp) -> Option<Outcome> {
        match self.cpu {
            Cpu::Baseline => self.texture_plain(context, op),
            // Wider vectors do not make it faster, and the compiler takes long for each build.
            #[cfg(target_arch = "x86_64")]
            // SAFETY: Only `run` sets it, and is given what `Cpu::detect` has found this CPU to be, at least.
            Cpu::Avx2 | Cpu::Avx512 => unsafe { self.texture_avx2(context, op) },
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    fn texture_avx2(&mut self, context: &mut Context<'_>, op: &TextureOp) -> Option<Outcome> {
        self.texture_with(context, op)
    }

    #[inline(never)]
    fn texture_plain(&mut self, context: &mut Context<'_>, op: &TextureOp) -> Option<Outcome> {
        self.texture_with(context, op)
    }

    #[inline(always)]
    fn texture_with(&mut self, context: &mut Context<'_>, op: &TextureOp) -> Option<Outcome> {
        if self.exec == 0 {
            return None;
        }
        let action = match (op.fetch, op.query_lod) {
            (true, _) => Action::Fetch,
            (false, true) => Action::Query,
            (false, false) => Action::Sample,
        };
        let mut request = self.request(context, op);
        let (textures, samplers) = self.keys(context, op);
        let mut out = [Lanes::ZERO; 4];
        let mut left = self.exec;
        while left != 0 {
            // All lanes with the states of the first that is left. Mostly these are all.
            let lane = left.trailing_zeros() as usize % 32;
            let key = (textures[lane], samplers.0[lane]);
            let mut lanes = 0;
            for lane in 0..32 {
                let same = textures[lane] == key.0 && samplers.0[lane] == key.1;
                lanes |= u32::from(same) << lane;
            }
            lanes &= left;
            left &= !lanes;
            request.active = lanes;
            // No closures here: they would be compiled without the features of this build.
            let (texture, sampler) = match self.states(context, op, key) {
                Ok(states) => states,
                Err(failed) => return Some(self.failed(context, failed)),
            };
            let (found, sampler) = match context.states.find(&texture, &sampler) {
                Ok(found) => found,
                Err((state, why)) => {
                    return Some(self.failed(context, Failed::state(key, &state, why)));
                }
            };
            let keep = op.wide || (found.is_integer() && action != Action::Query);
            let mut port = Port {
                memory: &mut context.memory,
                unknown: &mut context.stats.unknown_texels,
            };
            let mut got = [Lanes::ZERO; 4];
            if let Err(trouble) = perform(action, found, sampler, &mut port, &request, &mut got) {
                let failed = match trouble {
                    Trouble::Unmapped(va) => Failed::Unmapped(va),
                    Trouble::Unknown(why) => Failed::state(key, &texture, why),
                };
                return Some(self.failed(context, failed));
            }
            let mask = Lanes::from_bits(lanes);
            for (out, got) in out.iter_mut().zip(&got) {
                if keep {
                    *out = got.select(*out, mask);
                } else {
                    *out = got.map(to_half).select(*out, mask);
                }
            }
        }
        let mut next = 0;
        for (component, value) in out.into_iter().enumerate() {
            // The mask says nothing where texels are gathered.
            if op.gather.is_some() || op.mask >> component & 1 != 0 {
                self.put(result(op, next), value);
                next += 1;
            }
        }
        if op.sparse {
            // Everything is there, which is told by a zero.
            self.put(result(op, next), Lanes::ZERO);
        }
        None
    }

    /// Collects an instruction's sources.
    #[inline(always)]
    fn request(&self, context: &Context<'_>, op: &TextureOp) -> Request {
        let u = &*context.launch.uniforms;
        let half = |val: Val| self.val(u, val).map(from_half);
        let mut coords = [Lanes::ZERO; 3];
        for (coord, &val) in coords.iter_mut().zip(&op.coords).take(op.dim.axes()) {
            *coord = match op.narrow && !op.fetch {
                true => half(val),
                false => self.val(u, val),
            };
        }
        let lod = match op.lod {
            // Elsewhere than in fragments lanes have no neighbours to look at.
            LodSource::Auto if op.fetch || context.fragment.is_none() => Lod::Zero,
            LodSource::Auto => Lod::Implicit {
                bias: None,
                least: None,
            },
            LodSource::Bias { bias, least } => Lod::Implicit {
                bias: Some(half(bias)),
                least: least.map(half),
            },
            LodSource::Level(level) if op.fetch => Lod::Level(self.val(u, level)),
            LodSource::Level(level) => Lod::Level(half(level)),
            LodSource::Gradient { first, least } => {
                let word = |n: usize| self.regs[(usize::from(first) + n) % 128];
                let axes = op.dim.axes();
                let mut d = [[Lanes::ZERO; 2]; 3];
                for (axis, d) in d.iter_mut().enumerate().take(axes) {
                    *d = [word(2 * axis), word(2 * axis + 1)];
                }
                let least = least.then(|| word(2 * axes).map(|w| from_half(w & 0xffff)));
                Lod::Gradient { d, least }
            }
        };
        Request {
            active: self.exec,
            dim: op.dim,
            coords,
            layer: self.val(u, op.layer),
            sample: self.val(u, op.sample),
            lod,
            compare: op.compare.map(|val| self.val(u, val)),
            offset: op.offset.map(|val| self.val(u, val)),
            gather: op.gather,
        }
    }

    /// The states that each lane uses.
    #[inline(always)]
    fn keys(&self, context: &Context<'_>, op: &TextureOp) -> ([u64; 32], Lanes) {
        let u = &*context.launch.uniforms;
        let textures = match op.texture {
            TextureSource::State(number) => [number.into(); 32],
            TextureSource::Indexed(number) => self.val(u, number).0.map(u64::from),
            TextureSource::Bindless { base, offset } => {
                let next = base.wrapping_add(1);
                let base = u64::from(u[base as usize]) | u64::from(u[next as usize]) << 32;
                let offset = self.val(u, offset).0;
                offset.map(|offset| base.wrapping_add(offset.into()))
            }
        };
        let samplers = match op.sampler {
            SamplerSource::State(number) => Lanes::splat(number.into()),
            SamplerSource::Indexed(number) => self.val(u, number),
        };
        (textures, samplers)
    }

    /// The bytes of the states of some lanes.
    fn states(
        &self,
        context: &mut Context<'_>,
        op: &TextureOp,
        (texture, sampler): Key,
    ) -> Result<([u8; 24], [u8; 24]), Failed> {
        let mut state = [0; 24];
        match op.texture {
            TextureSource::Bindless { .. } => context
                .memory
                .read(texture, &mut state)
                .map_err(Failed::Unmapped)?,
            _ => match context.launch.textures.get(texture as usize) {
                Some(bytes) => state = *bytes,
                None => {
                    let why = format!("texture state {texture}, which was not loaded");
                    return Err(Failed::Unknown(0, Vec::new(), why));
                }
            },
        }
        let number = sampler;
        let mut sampler = [0; 24];
        let heap = context.launch.heap;
        if op.fetch {
            // Fetches do not look at it: what lies outside is zero.
        } else if let Some(index) = number.checked_sub(HEAP_START) {
            if index >= heap.count {
                let why = format!("sampler {index} of a heap of {}", heap.count);
                return Err(Failed::Unknown(heap.address, Vec::new(), why));
            }
            let va = heap.address.wrapping_add(u64::from(index) * 8);
            context
                .memory
                .read(va, &mut sampler[..8])
                .map_err(Failed::Unmapped)?;
        } else {
            match context.launch.samplers.get(number as usize) {
                Some(bytes) => sampler = *bytes,
                None => {
                    let why = format!("sampler state {number}, which was not loaded");
                    return Err(Failed::Unknown(0, Vec::new(), why));
                }
            }
        }
        Ok((state, sampler))
    }

    /// Takes note of what went wrong.
    #[cold]
    fn failed(&self, context: &mut Context<'_>, failed: Failed) -> Outcome {
        match failed {
            Failed::Unmapped(va) => {
                context.fault = Some(GpuFault {
                    va,
                    access: Access::Read,
                    unit: Unit::Texture,
                    pc: self.address_of_pc(),
                });
                Outcome::Fault
            }
            Failed::Unknown(va, bytes, why) => {
                let why = format!("{why} (pc {:#x})", self.address_of_pc());
                context.unsupported = Some(Unsupported { va, bytes, why });
                Outcome::Unsupported
            }
        }
    }
}

/// Why an instruction could not be executed.
enum Failed {
    Unmapped(u64),
    Unknown(u64, Vec<u8>, String),
}

impl Failed {
    /// A state that is not known; where it is, if it is in memory, is the key.
    #[cold]
    fn state((texture, _): Key, state: &[u8], why: &str) -> Self {
        Failed::Unknown(texture, state.to_vec(), why.into())
    }
}

/// The register of the `n`th result.
fn result(op: &TextureOp, n: u8) -> Dst {
    if op.wide {
        Dst::Full((op.start >> 1).wrapping_add(n) % 128)
    } else {
        let half = op.start.wrapping_add(n);
        match half & 1 {
            0 => Dst::Low(half >> 1),
            _ => Dst::High(half >> 1),
        }
    }
}
