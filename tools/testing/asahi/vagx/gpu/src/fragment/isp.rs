// SPDX-License-Identifier: MIT OR Apache-2.0

//! Depth and stencil: the state of a draw, and the tests.

use crate::geometry::{Draw, DrawState, Stencil, Visibility};

/// The stencil state of a face.
#[derive(Clone, Copy, Debug)]
pub(super) struct StencilTest {
    pub(super) compare: u32,
    pub(super) reference: u8,
    pub(super) read: u8,
    pub(super) write: u8,
    pub(super) stencil_fail: u32,
    pub(super) depth_fail: u32,
    pub(super) pass: u32,
}

impl StencilTest {
    fn new(words: Stencil, reference: u8) -> Self {
        StencilTest {
            compare: words.compare(),
            reference,
            read: words.read_mask(),
            write: words.write_mask(),
            stencil_fail: words.stencil_fail(),
            depth_fail: words.depth_fail(),
            pass: words.depth_pass(),
        }
    }

    /// Tests and updates a value; `depth` is asked if the comparison holds. True if both tests pass.
    #[inline(always)]
    pub(super) fn test(&self, value: &mut u8, depth: impl FnOnce() -> bool) -> bool {
        let (a, b) = (self.reference & self.read, *value & self.read);
        let (op, passes) = if !compare(self.compare, a < b, a == b, a > b) {
            (self.stencil_fail, false)
        } else if !depth() {
            (self.depth_fail, false)
        } else {
            (self.pass, true)
        };
        let new = match op {
            0 => *value,
            1 => 0,
            2 => self.reference,
            3 => value.saturating_add(1),
            4 => value.saturating_sub(1),
            5 => !*value,
            6 => value.wrapping_add(1),
            _ => value.wrapping_sub(1),
        };
        *value = (*value & !self.write) | (new & self.write);
        passes
    }
}

/// "ZS Func" has a bit each for less, equal and greater.
#[inline(always)]
fn compare(function: u32, less: bool, equal: bool, greater: bool) -> bool {
    (function & 1 != 0 && less) || (function & 2 != 0 && equal) || (function & 4 != 0 && greater)
}

/// Memory that was never written to may hold what is not a number; it must not make a test fail that always passes.
#[inline(always)]
fn is_greater(z: f32, old: f32) -> bool {
    (z > old) | (old.is_nan() & !z.is_nan())
}

/// How the samples of one face of a draw are tested.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tests {
    /// The comparisons of both words of the face, which must both hold.
    pub(super) function: u32,
    pub(super) write: bool,
    /// Depths are clamped to these.
    pub(super) range: [f32; 2],
    /// Depths are those of a buffer of 16 bits.
    pub(super) unorm16: bool,
    pub(super) stencil: Option<StencilTest>,
    pub(super) visibility: Visibility,
    pub(super) query: u16,
}

impl Tests {
    pub(super) fn new(state: &DrawState, back: bool, range: [f32; 2], unorm16: bool) -> Self {
        let face = state.face(back);
        let [one, other] = face.depth_functions();
        let control = state.fragment_control;
        // The reference is in the face's own word, even where both faces share the rest.
        let stencil = control
            .stencil_test_enable()
            .then(|| StencilTest::new(state.stencil(back), face.stencil_reference()));
        Tests {
            function: one & other,
            write: face.depth_write(),
            range,
            unorm16,
            stencil,
            visibility: control.visibility(),
            query: state.occlusion_query,
        }
    }

    /// The depth that is compared and stored.
    #[inline(always)]
    pub(super) fn depth(&self, z: f32) -> f32 {
        // Not `clamp`: what is not a number stays so.
        let z = if z < self.range[0] { self.range[0] } else { z };
        let z = if z > self.range[1] { self.range[1] } else { z };
        if self.unorm16 {
            (z * 65535.0 + 0.5).floor() * (1.0 / 65535.0)
        } else {
            z
        }
    }

    /// Tests a sample at depth `z`, already clamped.
    #[inline(always)]
    pub(super) fn sample(&self, z: f32, depth: &mut f32, stencil: &mut u8) -> bool {
        let mut test = || {
            // What is not a number never passes. Mesa relies on it to make a shader's depth fail
            // (`src/asahi/compiler/agx_nir_lower_frag_sidefx.c`).
            let old = *depth;
            let passes = compare(self.function, z < old, z == old, is_greater(z, old));
            if passes && self.write {
                *depth = z;
            }
            passes
        };
        match &self.stencil {
            Some(state) => state.test(stencil, test),
            None => test(),
        }
    }

    /// Tests the samples of `mask` in a block, row after row. `plane` gives the depth of the first.
    #[inline(always)]
    pub(super) fn block(
        &self,
        mask: u64,
        plane: &Plane,
        place: [f32; 2],
        depth: &mut [f32; 64],
        stencil: &mut [u8; 64],
    ) -> u64 {
        if self.stencil.is_none() {
            if self.function == 7 && !self.write {
                return mask;
            }
            return self.depth_block(mask, plane, place, depth);
        }
        let mut passed = 0;
        let mut left = mask;
        while left != 0 {
            let bit = left.trailing_zeros() as usize;
            left &= left - 1;
            let z = plane.at(place[0] + (bit % 8) as f32, place[1] + (bit / 8) as f32);
            let passes = self.sample(self.depth(z), &mut depth[bit], &mut stencil[bit]);
            passed |= u64::from(passes) << bit;
        }
        passed
    }

    #[inline(always)]
    fn depth_block(&self, mask: u64, plane: &Plane, place: [f32; 2], depth: &mut [f32; 64]) -> u64 {
        let bits = |bit: u32| (self.function >> bit & 1).wrapping_neg();
        let (less, equal, greater) = (bits(0), bits(1), bits(2));
        let write = u32::from(self.write).wrapping_neg();
        let mut passed = 0;
        for y in 0..8 {
            let wanted = (mask >> (8 * y)) as u32 & 0xff;
            if wanted == 0 {
                continue;
            }
            let row = &mut depth[8 * y..8 * y + 8];
            let mut out = 0;
            for x in 0..8 {
                let z = self.depth(plane.at(place[0] + x as f32, place[1] + y as f32));
                let old = row[x];
                let on = (wanted >> x & 1).wrapping_neg();
                let passes = (u32::from(z < old).wrapping_neg() & less
                    | u32::from(z == old).wrapping_neg() & equal
                    | u32::from(is_greater(z, old)).wrapping_neg() & greater)
                    & on;
                let keep = passes & write;
                row[x] = f32::from_bits((z.to_bits() & keep) | (old.to_bits() & !keep));
                out |= (passes & 1) << x;
            }
            passed |= u64::from(out) << (8 * y);
        }
        passed
    }
}

/// A value that changes evenly over the screen. Places are pixels from the corner of a square of 32 pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Plane {
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) start: f32,
}

impl Plane {
    #[inline(always)]
    pub(crate) fn at(&self, x: f32, y: f32) -> f32 {
        self.x * x + self.y * y + self.start
    }

    /// The same as a coefficient of fragment programs: depth is marked by the lowest bit of `x`, and no other has it
    /// set. Mesa computes values at other places itself, from `ldcf`, by fused operations in this order, and clients
    /// expect the same where the place is the same (Mesa, `src/asahi/compiler/agx_nir_lower_interpolation.c`).
    pub(super) fn marked(self, depth: bool) -> Plane {
        let bits = self.x.to_bits();
        let x = match depth {
            true if self.x.is_finite() => bits | 1,
            true => bits,
            false => bits & !1,
        };
        Plane {
            x: f32::from_bits(x),
            ..self
        }
    }

    /// The value of a coefficient; depth is what it was in the tests.
    #[inline(always)]
    pub(crate) fn iterated(&self, x: f32, y: f32) -> f32 {
        let planes = [self.x, self.y, self.start].map(f64::from);
        match self.is_marked() {
            false => Plane::fused(planes, [x, y].map(f64::from)),
            true => self.at(x, y),
        }
    }

    /// Whether it is depth.
    #[inline(always)]
    pub(crate) fn is_marked(&self) -> bool {
        self.x.to_bits() & 1 != 0
    }

    /// The value of a coefficient that is not depth, of what the plane is made of.
    #[inline(always)]
    pub(crate) fn fused([x, y, start]: [f64; 3], at: [f64; 2]) -> f32 {
        // Exact but for a rounding to 53 bits, which is not seen in 24.
        let row = (at[1] * y + start) as f32;
        (at[0] * x + f64::from(row)) as f32
    }
}

/// An entry of the array of depth biases (Mesa, `src/asahi/genxml/cmdbuf.xml`, "Depth bias").
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bias {
    pub(super) constant: f32,
    pub(super) slope: f32,
    pub(super) clamp: f32,
    /// The constant is in units of depth. Else its unit is half of the smallest difference at the primitive's greatest
    /// depth: Mesa's GL driver doubles what the application gave, and its Vulkan driver does the same only where a
    /// difference of two units is allowed (`src/gallium/drivers/asahi/agx_state.c`, `src/asahi/vulkan/hk_cmd_draw.c`).
    pub(super) integer: bool,
}

impl Bias {
    /// What is added to the depth of a primitive that changes by `dx` and `dy` per pixel and is `deepest` at most.
    pub(super) fn of(&self, dx: f64, dy: f64, deepest: f32) -> f64 {
        let unit = if self.integer {
            1.0
        } else {
            let exponent = (deepest.to_bits() >> 23 & 0xff) as i32 - 127;
            f64::from(exponent - 24).exp2()
        };
        let bias = f64::from(self.constant) * unit + f64::from(self.slope) * dx.abs().max(dy.abs());
        let clamp = f64::from(self.clamp);
        if clamp > 0.0 {
            bias.min(clamp)
        } else if clamp < 0.0 {
            bias.max(clamp)
        } else {
            bias
        }
    }
}

/// The deepest of a primitive's corners.
pub(super) fn deepest(draw: &Draw, vertices: &[u32; 3]) -> f32 {
    vertices
        .iter()
        .map(|&v| draw.vertex(v).z)
        .fold(f32::MIN, f32::max)
}
