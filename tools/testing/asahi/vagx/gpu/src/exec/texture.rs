// SPDX-License-Identifier: MIT OR Apache-2.0

//! Texture instructions: their sources and results. What lies between is the texture unit's.

#[cfg(test)]
mod tests;

use super::half::{from_half, to_half};
use super::{Context, Lanes, Outcome, Simd, by_cpu};
use crate::memory::Access;
use crate::texture::{Action, Lod, Port, Request, Trouble, perform};
use crate::uop::*;
use crate::{GpuFault, Unit, Unsupported};

/// Which states some lanes use: the number of the texture's state register or the address of its state, and the number
/// of the sampler.
type Key = (u64, u32);

/// Those of all lanes.
#[expect(clippy::large_enum_variant)] // There is one at a time, on the stack.
enum Keys {
    One(Key),
    Each([u64; 32], Lanes),
}

impl Keys {
    /// The states of the first of these lanes, and which of them use the same.
    #[inline(always)]
    fn of_first(&self, lanes: u32) -> (Key, u32) {
        match self {
            Keys::One(key) => (*key, lanes),
            Keys::Each(textures, samplers) => {
                let first = lanes.trailing_zeros() as usize % 32;
                let key = (textures[first], samplers.0[first]);
                let mut same = 0;
                for lane in 0..32 {
                    let equal = textures[lane] == key.0 && samplers.0[lane] == key.1;
                    same |= u32::from(equal) << lane;
                }
                (key, same & lanes)
            }
        }
    }
}

/// Samplers of lower numbers are state registers; from this number on they are those of the job's heap (Mesa,
/// `src/asahi/vulkan/hk_descriptor_set.c`).
const HEAP_START: u32 = 28;

impl Simd {
    /// Does a texture instruction, as the interpreter's build does.
    #[inline(always)]
    pub(super) fn texture(&mut self, context: &mut Context<'_>, op: &TextureOp) -> Option<Outcome> {
        by_cpu!(
            self.cpu,
            Simd::texture_with,
            (simd: &mut Simd = self, context: &mut Context<'_> = context, op: &TextureOp = op) -> Option<Outcome>
        )
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
        let mut request = Request {
            active: self.exec,
            dim: op.dim,
            coords: [Lanes::ZERO; 3],
            layer: Lanes::ZERO,
            sample: Lanes::ZERO,
            lod: Lod::Zero,
            compare: None,
            offset: None,
            gather: op.gather,
            // The mask says nothing where texels are gathered.
            wanted: if op.gather.is_some() { 15 } else { op.mask },
        };
        self.collect(context, op, &mut request);
        let keys = self.keys(context, op);
        let mut out = [Lanes::ZERO; 4];
        let mut left = self.exec;
        while left != 0 {
            // All lanes with the states of the first that is left. Mostly these are all.
            let (key, lanes) = keys.of_first(left);
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
            if action != Action::Sample || found.has_levels(sampler) {
                let in_fragment = context.fragment.is_some();
                request.lod = self.level_of_detail(&context.launch.uniforms, in_fragment, op);
            }
            let keep = op.wide || (found.is_integer() && action != Action::Query);
            let mut port = Port {
                memory: &mut context.memory,
                unknown: &mut context.stats.unknown_texels,
                cpu: self.cpu,
            };
            // What other lanes got, if there are others.
            let before = (lanes != self.exec).then_some(out);
            if let Err(trouble) = perform(action, found, sampler, &mut port, &request, &mut out) {
                let failed = match trouble {
                    Trouble::Unmapped(va) => Failed::Unmapped(va),
                    Trouble::Unknown(why) => Failed::state(key, &texture, why),
                };
                return Some(self.failed(context, failed));
            }
            if !keep {
                for out in &mut out {
                    *out = out.map(to_half);
                }
            }
            if let Some(before) = &before {
                let mask = Lanes::from_bits(lanes);
                for (out, before) in out.iter_mut().zip(before) {
                    *out = out.select(before, &mask);
                }
            }
        }
        let mut next = 0;
        for (component, value) in out.iter().enumerate() {
            if request.wanted >> component & 1 != 0 {
                self.put(result(op, next), *value);
                next += 1;
            }
        }
        if op.sparse {
            // Everything is there, which is told by a zero.
            self.put(result(op, next), Lanes::ZERO);
        }
        None
    }

    /// Collects an instruction's sources, but for the level of detail, which does not always matter.
    #[inline(always)]
    fn collect(&self, context: &Context<'_>, op: &TextureOp, request: &mut Request) {
        let u = &*context.launch.uniforms;
        let coords = request.coords.iter_mut().zip(&op.coords);
        for (coord, &val) in coords.take(op.dim.axes()) {
            *coord = match op.narrow && !op.fetch {
                true => self.half_source(u, val),
                false => self.val(u, val),
            };
        }
        if op.dim.is_array() {
            request.layer = self.val(u, op.layer);
        }
        if op.dim.is_multisampled() {
            request.sample = self.val(u, op.sample);
        }
        if let Some(val) = op.compare {
            request.compare = Some(self.val(u, val));
        }
        if let Some(val) = op.offset {
            request.offset = Some(self.val(u, val));
        }
    }

    #[inline(always)]
    fn half_source(&self, u: &[u32; 256], val: Val) -> Lanes {
        self.val(u, val).map(from_half)
    }

    #[inline(always)]
    fn level_of_detail(&self, u: &[u32; 256], in_fragment: bool, op: &TextureOp) -> Lod {
        let half = |val: Val| self.half_source(u, val);
        match op.lod {
            // Elsewhere than in fragments lanes have no neighbours to look at.
            LodSource::Auto if op.fetch || !in_fragment => Lod::Zero,
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
        }
    }

    /// The states that each lane uses.
    #[inline(always)]
    fn keys(&self, context: &Context<'_>, op: &TextureOp) -> Keys {
        let u = &*context.launch.uniforms;
        if let (TextureSource::State(texture), SamplerSource::State(sampler)) =
            (op.texture, op.sampler)
        {
            return Keys::One((texture.into(), sampler.into()));
        }
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
        Keys::Each(textures, samplers)
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
