// SPDX-License-Identifier: MIT OR Apache-2.0

//! The pixels of a SIMD-group: eight quads of 2 x 2 pixels, each of one primitive.
//!
//! Quads of a group never overlap, so that it does not matter in which order their lanes do something to the tile.

use super::isp::{Plane, Tests};
use super::zs::DepthStencil;
use crate::exec::{Lanes, mask};
use crate::geometry::Visibility;

/// Quads of a SIMD-group.
pub(super) const QUADS: usize = 8;

/// In place of an index.
const NONE: usize = usize::MAX;

/// A mask that stands for all samples of a pixel.
pub(crate) const ALL_SAMPLES: u8 = 0xff;

/// A primitive of which pixels are shaded in this tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) tests: Tests,
    pub(super) depth: Plane,
    /// Where its coefficients begin, once they are computed.
    pub(super) coefficients: Option<usize>,
    pub(super) back_facing: bool,
    /// The number of its program.
    pub(super) pipe: usize,
}

/// A quad.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quad {
    /// The number of its primitive among those that are shown; none for background programs.
    pub(super) shown: Option<u32>,
    /// Pixel of its upper left corner in the tile.
    pub(super) x: u32,
    pub(super) y: u32,
    /// Covered samples, of each pixel.
    pub(super) coverage: [u8; 4],
}

/// Results of occlusion queries, by their number.
#[derive(Clone, Debug, Default)]
pub(super) struct Queries {
    /// What is to be added, and what a boolean query found.
    pub(super) counts: Vec<(u64, bool)>,
}

impl Queries {
    /// Notes samples that passed.
    pub(super) fn passed(&mut self, tests: &Tests, samples: u32) {
        if tests.visibility == Visibility::None || samples == 0 {
            return;
        }
        // The index has 15 bits.
        let index = usize::from(tests.query);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, (0, false));
        }
        match tests.visibility {
            Visibility::Counting => self.counts[index].0 += u64::from(samples),
            _ => self.counts[index].1 = true,
        }
    }
}

/// The pixels of the SIMD-group that runs, and all of their tile that its program can reach.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Pixels of the framebuffer.
    pub(crate) x: Lanes,
    pub(crate) y: Lanes,
    /// Pixels of the tile.
    pub(crate) tile_x: Lanes,
    pub(crate) tile_y: Lanes,
    /// Centres, in pixels from the corner of the square of 32 x 32 pixels, as floats.
    pub(crate) centre: [Lanes; 2],
    /// Samples that are covered and neither killed nor failed a test. None in helper lanes.
    pub(crate) coverage: Lanes,
    /// Samples that were covered at the start.
    pub(crate) input_mask: Lanes,
    pub(crate) back_facing: Lanes,
    pub(crate) layer: u32,
    /// Samples of a pixel: 1, 2 or 4.
    pub(crate) samples: u32,
    /// Their places in a pixel, from its centre.
    pub(super) places: [[f32; 2]; 4],
    /// Samples whose tests are over.
    tested: [u8; 32],
    /// The program starts the tests.
    late: bool,
    quads: [Quad; QUADS],
    count: usize,
    /// Where the coefficients of each quad's primitive begin.
    coefficients: [usize; QUADS],
    pub(super) shown: Vec<Shown>,
    /// Coefficients of what is shown.
    pub(super) planes: Vec<Plane>,
    pub(super) zs: DepthStencil,
    pub(super) queries: Queries,
}

impl Group {
    pub(super) fn new(samples: u32, places: &[[i32; 2]], zs: DepthStencil) -> Self {
        let mut from_centre = [[0.0; 2]; 4];
        for (to, from) in from_centre.iter_mut().zip(places) {
            *to = from.map(|v| v as f32 / 16.0 - 0.5);
        }
        Group {
            x: Lanes::ZERO,
            y: Lanes::ZERO,
            tile_x: Lanes::ZERO,
            tile_y: Lanes::ZERO,
            centre: [Lanes::ZERO; 2],
            coverage: Lanes::ZERO,
            input_mask: Lanes::ZERO,
            back_facing: Lanes::ZERO,
            layer: 0,
            samples,
            places: from_centre,
            tested: [0; 32],
            late: false,
            quads: [Quad::default(); QUADS],
            count: 0,
            coefficients: [NONE; QUADS],
            shown: Vec::new(),
            planes: Vec::new(),
            zs,
            queries: Queries::default(),
        }
    }

    /// Takes these quads for the next run, in the tile whose corner is at `origin`.
    #[inline(always)]
    pub(super) fn fill(&mut self, quads: &[Quad], origin: [u32; 2], late: bool) {
        self.count = quads.len().min(QUADS);
        self.late = late;
        self.tested = [0; 32];
        self.coefficients = [NONE; QUADS];
        for index in 0..QUADS {
            // What is left over has no coverage; its lanes do not run.
            let quad = quads.get(index).copied().unwrap_or_default();
            self.quads[index] = quad;
            let shown = quad.shown.and_then(|shown| self.shown.get(shown as usize));
            let mut back = 0;
            if let Some(shown) = shown {
                back = shown.back_facing.into();
                self.coefficients[index] = shown.coefficients.unwrap_or(NONE);
            }
            for lane in 0..4 {
                let to = 4 * index + lane;
                self.tile_x.0[to] = quad.x + (lane as u32 & 1);
                self.tile_y.0[to] = quad.y + (lane as u32 >> 1);
                self.coverage.0[to] = quad.coverage[lane].into();
                self.back_facing.0[to] = back;
            }
        }
        self.input_mask = self.coverage;
        self.x = self.tile_x.map(|x| x.wrapping_add(origin[0]));
        self.y = self.tile_y.map(|y| y.wrapping_add(origin[1]));
        let centre = |v: u32| ((v & 31) as i32 as f32 + 0.5).to_bits();
        self.centre = [self.x.map(centre), self.y.map(centre)];
    }

    pub(crate) fn quads(&self) -> usize {
        self.count
    }

    /// Lanes that have a pixel, helpers among them.
    pub(crate) fn alive(&self) -> u32 {
        ((1u64 << (4 * self.count)) - 1) as u32
    }

    /// Lanes that have a sample left.
    #[inline(always)]
    pub(crate) fn covered(&self) -> u32 {
        let coverage = self.coverage.0;
        if coverage
            .iter()
            .fold(true, |all, &samples| all & (samples != 0))
        {
            return u32::MAX;
        }
        self.coverage.map(|samples| mask(samples != 0)).to_bits()
    }

    /// A coefficient of a quad's primitive. One that does not exist is zero.
    #[inline(always)]
    pub(crate) fn plane(&self, quad: usize, number: u32) -> Plane {
        let first = self.coefficients[quad % QUADS];
        let plane = self.planes.get(first.saturating_add(number as usize));
        plane.copied().unwrap_or_default()
    }

    /// Where each lane's samples of these numbers are. Of one sample only, it is the centre.
    pub(crate) fn sample_places(&self, numbers: &Lanes) -> [Lanes; 2] {
        self.moved(|lane| (numbers.0[lane] % self.samples) as usize)
    }

    /// Where values are interpolated that must be inside of the primitive.
    pub(crate) fn centroids(&self) -> [Lanes; 2] {
        let all = (1 << self.samples) - 1;
        let places = self.moved(|lane| {
            (self.input_mask.0[lane].trailing_zeros() as usize).min(self.samples as usize - 1)
        });
        let partly = self
            .input_mask
            .map(|mask| u32::from(mask != 0 && mask & all != all).wrapping_neg());
        std::array::from_fn(|axis| places[axis].select(self.centre[axis], partly))
    }

    fn moved(&self, sample: impl Fn(usize) -> usize) -> [Lanes; 2] {
        let mut out = self.centre;
        for lane in 0..32 {
            let place = self.places[sample(lane) % 4];
            for axis in 0..2 {
                let value = f32::from_bits(out[axis].0[lane]) + place[axis];
                out[axis].0[lane] = value.to_bits();
            }
        }
        out
    }

    /// Kills samples that have not been tested.
    pub(crate) fn kill(&mut self, lane: usize, samples: u8) {
        let killed = samples & !self.tested[lane];
        self.coverage.0[lane] &= !u32::from(killed);
        self.tested[lane] |= killed;
    }

    /// Runs the tests of samples for which that has not happened, with these values or the primitive's own.
    pub(crate) fn test(
        &mut self,
        lane: usize,
        samples: u8,
        depth: Option<f32>,
        stencil: Option<u8>,
    ) {
        if !self.late {
            return;
        }
        let targets = samples & !self.tested[lane] & self.coverage.0[lane] as u8;
        self.tested[lane] |= samples;
        let shown = self.quads[lane / 4 % QUADS].shown;
        let Some(shown) = shown.and_then(|shown| self.shown.get(shown as usize)) else {
            return;
        };
        let mut tests = shown.tests;
        if let (Some(state), Some(value)) = (&mut tests.stencil, stencil) {
            state.reference = value;
        }
        let (x, y) = (self.tile_x.0[lane] as usize, self.tile_y.0[lane] as usize);
        let [centre_x, centre_y] = self.centre.map(|axis| f32::from_bits(axis.0[lane]));
        let mut passed = 0u32;
        for sample in 0..self.samples as usize {
            if targets >> sample & 1 == 0 {
                continue;
            }
            let place = self.places[sample];
            let z =
                depth.unwrap_or_else(|| shown.depth.at(centre_x + place[0], centre_y + place[1]));
            let (depth, stencil) = self.zs.sample(x, y, sample);
            passed |= u32::from(tests.sample(tests.depth(z), depth, stencil)) << sample;
        }
        self.coverage.0[lane] &= !u32::from(targets) | passed;
        self.queries.passed(&tests, passed.count_ones());
    }
}
