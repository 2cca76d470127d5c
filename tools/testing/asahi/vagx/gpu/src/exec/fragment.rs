// SPDX-License-Identifier: MIT OR Apache-2.0

//! Fragment programs: interpolation, tests of samples, and what their special registers say.

use super::half::to_half;
use super::{Context, Lanes, Outcome, Simd, by_cpu};
use crate::cache::Program;
use crate::fragment::{ALL_SAMPLES, Group, Plane};
use crate::uop::{Coefficient, Dst, FragmentOp, Place};

impl Simd {
    /// Makes it a SIMD-group of a fragment program, whose pixels are those of `group`.
    #[inline(always)]
    pub(crate) fn start_fragments(&mut self, program: &Program, group: &Group) {
        self.group = [0, 0, group.layer];
        self.index = 0;
        self.program = program.address;
        self.reset(program, group.alive());
        self.writers = group.covered();
    }

    /// Makes it the one thread of a program that runs at the end of a tile of this layer.
    pub(crate) fn start_tile_program(&mut self, program: &Program, layer: u32) {
        self.group = [0, 0, layer];
        self.index = 0;
        self.thread = [Lanes::ZERO; 3];
        self.threads = [1; 3];
        self.program = program.address;
        self.reset(program, 1);
    }

    /// Special registers of fragments, by their number in Mesa, `src/asahi/isa/AGX2.xml`. None if there is no such one.
    pub(super) fn fragment_special(&self, group: &Group, sr: u8) -> Option<Lanes> {
        Some(match sr {
            14 => Lanes::splat(group.samples.trailing_zeros()),
            60 => group.coverage,
            62 => group.back_facing,
            63 => group.coverage.map(|samples| u32::from(samples != 0)),
            80 => group.x,
            81 => group.y,
            124 => group.input_mask,
            _ => return None,
        })
    }

    /// Runs an operation of fragment programs, with the features that the interpreter is compiled for.
    #[inline(always)]
    pub(super) fn fragment(
        &mut self,
        context: &mut Context<'_>,
        op: &FragmentOp,
    ) -> Option<Outcome> {
        by_cpu!(
            self.cpu,
            Simd::fragment_with,
            (simd: &mut Simd = self, context: &mut Context<'_> = context, op: &FragmentOp = op) -> Option<Outcome>
        )
    }

    #[inline(always)]
    fn fragment_with(&mut self, context: &mut Context<'_>, op: &FragmentOp) -> Option<Outcome> {
        // Taken out for a while, so that other parts of the context can be used beside it.
        let Some(mut group) = context.fragment.take() else {
            return Some(Outcome::Unsupported);
        };
        let uniforms = &context.launch.uniforms;
        match *op {
            FragmentOp::Iterate {
                ref d,
                count,
                from,
                w,
                place,
            } => self.iterate(uniforms, &group, &d[..usize::from(count)], from, w, place),
            FragmentOp::Load { d, from } => self.load_coefficient(uniforms, &group, d, from),
            FragmentOp::SampleMask { target, live } => {
                let (target, live) = (self.val(uniforms, target), self.val(uniforms, live));
                self.each_active(|lane| {
                    let live = group.named(live.0[lane]);
                    let target = group.named(target.0[lane]);
                    group.kill(lane, target & !live);
                    group.test(lane, target & live, None, None);
                });
                self.writers = group.covered();
            }
            FragmentOp::Emit {
                samples,
                depth,
                stencil,
            } => {
                let samples = self.val(uniforms, samples);
                let depth = depth.map(|val| self.val(uniforms, val));
                let stencil = stencil.map(|val| self.val(uniforms, val));
                self.each_active(|lane| {
                    let samples = group.named(samples.0[lane]);
                    let depth = depth.map(|depth| f32::from_bits(depth.0[lane]));
                    let stencil = stencil.map(|stencil| stencil.0[lane] as u8);
                    group.test(lane, samples, depth, stencil);
                });
                self.writers = group.covered();
            }
        }
        context.fragment = Some(group);
        None
    }

    fn each_active(&self, mut f: impl FnMut(usize)) {
        let mut left = self.exec;
        while left != 0 {
            f(left.trailing_zeros() as usize);
            left &= left - 1;
        }
    }

    #[inline(always)]
    fn iterate(
        &mut self,
        uniforms: &[u32; 256],
        group: &Group,
        d: &[Dst],
        from: Coefficient,
        w: Option<u8>,
        place: Place,
    ) {
        let [x, y] = match place {
            Place::Centre => group.centre,
            Place::Centroid => group.centroids(),
            Place::Sample(number) => group.sample_places(&self.val(uniforms, number)),
        };
        let at = Positions::new(&x, &y);
        // As Mesa divides.
        let over = w.map(|w| {
            let w = interpolate(group, Coefficient::Number(w), &Lanes::ZERO, &at);
            w.map(|w| (1.0 / f32::from_bits(w)).to_bits())
        });
        // The register with the number may be one of those that are written.
        let first = first(self, uniforms, from);
        for (index, &d) in (0..).zip(d) {
            let (from, numbers) = nth(from, &first, index);
            let mut value = interpolate(group, from, &numbers, &at);
            if let Some(over) = &over {
                value = value.zip(over, |a, b| {
                    (f32::from_bits(a) * f32::from_bits(b)).to_bits()
                });
            }
            if d.bits() == 16 {
                value = value.map(to_half);
            }
            self.put(d, value);
        }
    }

    fn load_coefficient(&mut self, uniforms: &[u32; 256], group: &Group, d: u8, from: Coefficient) {
        let numbers = first(self, uniforms, from);
        let mut out = [Lanes::ZERO; 3];
        for lane in 0..32 {
            let plane = group.plane(lane / 4, numbers.0[lane]);
            // Mesa takes the lowest bit of the first number for a sign that the others may be of no use
            // (`src/asahi/compiler/agx_nir_lower_interpolation.c`), which here they never are.
            out[0].0[lane] = plane.x.to_bits() & !1;
            out[1].0[lane] = plane.y.to_bits();
            out[2].0[lane] = plane.start.to_bits();
        }
        for (register, value) in (d..).zip(out) {
            self.put_full(register, value);
        }
    }
}

/// The number of a coefficient in each lane.
fn first(simd: &Simd, uniforms: &[u32; 256], from: Coefficient) -> Lanes {
    match from {
        Coefficient::Number(n) => Lanes::splat(n.into()),
        Coefficient::Indirect(val) => simd.val(uniforms, val),
    }
}

/// The coefficient `index` places after another.
fn nth(from: Coefficient, first: &Lanes, index: u32) -> (Coefficient, Lanes) {
    let numbers = first.map(|n| n.wrapping_add(index));
    match from {
        Coefficient::Number(n) => (Coefficient::Number(n.wrapping_add(index as u8)), numbers),
        indirect => (indirect, numbers),
    }
}

/// Where lanes interpolate, in single and in double precision.
struct Positions<'a> {
    single: [&'a Lanes; 2],
    double: [[f64; 32]; 2],
}

impl<'a> Positions<'a> {
    #[inline(always)]
    fn new(x: &'a Lanes, y: &'a Lanes) -> Self {
        let mut double = [[0.0; 32]; 2];
        for (double, single) in double.iter_mut().zip([x, y]) {
            for lane in 0..32 {
                double[lane] = f32::from_bits(single.0[lane]).into();
            }
        }
        Positions {
            single: [x, y],
            double,
        }
    }

    /// The values of a coefficient.
    #[inline(always)]
    fn all(&self, group: &Group, number: u8) -> Lanes {
        // All quads at once; there are few whose values are found in another way.
        let mut planes = [[0.0; 32]; 3];
        let mut marked = 0u32;
        for quad in 0..group.quads() {
            let plane = group.plane(quad, number.into());
            for (to, value) in planes.iter_mut().zip([plane.x, plane.y, plane.start]) {
                to.as_chunks_mut::<4>().0[quad % 8] = [f64::from(value); 4];
            }
            marked |= u32::from(plane.is_marked()) << (quad % 8);
        }
        let mut out = Lanes::ZERO;
        let ([px, py, start], [x, y]) = (&planes, &self.double);
        for lane in 0..32 {
            let at = [x[lane], y[lane]];
            out.0[lane] = Plane::fused([px[lane], py[lane], start[lane]], at).to_bits();
        }
        while marked != 0 {
            let quad = marked.trailing_zeros() as usize;
            marked &= marked - 1;
            for lane in 4 * quad..4 * quad + 4 {
                out.0[lane] = self.lane(&group.plane(quad, number.into()), lane);
            }
        }
        out
    }

    /// The value of a plane in one lane.
    #[inline(always)]
    fn lane(&self, plane: &Plane, lane: usize) -> u32 {
        let [x, y] = self.single.map(|axis| f32::from_bits(axis.0[lane]));
        plane.iterated(x, y).to_bits()
    }
}

#[inline(always)]
fn interpolate(group: &Group, from: Coefficient, numbers: &Lanes, at: &Positions<'_>) -> Lanes {
    if let Coefficient::Number(n) = from {
        return at.all(group, n);
    }
    let mut out = Lanes::ZERO;
    for lane in 0..4 * group.quads() {
        out.0[lane] = at.lane(&group.plane(lane / 4, numbers.0[lane]), lane);
    }
    out
}

impl Group {
    /// The samples that a program names: all of them by a mask of all ones, whatever there are
    /// (Mesa, `src/asahi/compiler/agx_nir_lower_sample_mask.c`).
    fn named(&self, mask: u32) -> u8 {
        if mask & 0xff == 0xff {
            ALL_SAMPLES
        } else {
            mask as u8
        }
    }
}
