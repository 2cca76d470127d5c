// SPDX-License-Identifier: MIT OR Apache-2.0

//! Primitives in a tile: which of their samples are covered and pass, and when those are shaded.
//!
//! Samples of opaque primitives are only marked (`visible`), and shaded when it is known that they stay. Quads of others
//! wait until there are enough of one program for a SIMD-group, or until one comes that covers the same pixels.

use super::area::Rect;
use super::bins::Item;
use super::frame::{Pipe, refuse};
use super::group::{Group, QUADS, Quad, Shown};
use super::isp::{Plane, Tests};
use super::outline::{BLOCK, Clipped, Mask};
use super::shape::{Drawn, Surface};
use super::tile::Worker;
use super::visible::Visible;
use crate::JobError;
use crate::exec::by_cpu;
use crate::parallel::Stop;
use std::sync::Arc;

/// Primitives of a tile are forgotten when there are so many.
const MOST_SHOWN: usize = 1 << 14;

/// Whether to go on is asked after so many SIMD-groups.
const ASK_EVERY: usize = 64;

/// What is not shaded yet in a tile.
pub(super) struct Waiting<'a> {
    /// For each primitive that is shown, what its coefficients are computed from.
    surfaces: Vec<Surface<'a>>,
    visible: Visible,
    /// Quads of one program that is not opaque.
    quads: Vec<Quad>,
    pipe: Option<usize>,
    /// Where they are: a bit for each quad of the tile.
    occupied: [u64; 4],
    /// Kept for its memory.
    taken: Vec<Quad>,
}

impl Waiting<'_> {
    pub(super) fn new(tile: &[u32; 2], samples: u32) -> Self {
        Waiting {
            surfaces: Vec::new(),
            visible: Visible::new(tile[0] as usize, tile[1] as usize, samples as usize),
            quads: Vec::with_capacity(QUADS),
            pipe: None,
            occupied: [0; 4],
            taken: Vec::new(),
        }
    }
}

/// A primitive whose blocks are found.
struct Current<'a> {
    surface: Surface<'a>,
    clipped: Clipped,
    /// Pixels of the tile to look at.
    rect: Rect,
    tests: Tests,
    depth: Plane,
    back_facing: bool,
    pipe: Option<(usize, &'a Pipe)>,
    /// Its number among those that are shown.
    shown: Option<u32>,
}

impl<'a> Worker<'a> {
    /// Shades all that waits, and forgets the primitives.
    pub(super) fn shade_all(&mut self, stop: Stop<'_>) -> Result<(), JobError> {
        self.shade_quads(stop)?;
        self.shade_visible(stop)?;
        self.waiting.surfaces.clear();
        self.waiting.pipe = None;
        let group = self.group()?;
        group.shown.clear();
        group.planes.clear();
        Ok(())
    }

    /// Shades the quads that wait for others of their program.
    fn shade_quads(&mut self, stop: Stop<'_>) -> Result<(), JobError> {
        if self.waiting.quads.is_empty() {
            return Ok(());
        }
        let mut quads = std::mem::take(&mut self.waiting.quads);
        let result = match self.waiting.pipe {
            Some(pipe) => self.shade(pipe, &quads, stop),
            None => Ok(()),
        };
        quads.clear();
        self.waiting.quads = quads;
        self.waiting.occupied = [0; 4];
        result
    }

    /// Shades what is visible of opaque primitives.
    fn shade_visible(&mut self, stop: Stop<'_>) -> Result<(), JobError> {
        if self.waiting.visible.is_empty() {
            return Ok(());
        }
        let mut quads = std::mem::take(&mut self.waiting.taken);
        quads.clear();
        self.waiting.visible.take(self.frame.cpu, &mut quads);
        let group = self.group()?;
        let pipe = |quad: &Quad| {
            let shown = quad.shown.and_then(|shown| group.shown.get(shown as usize));
            shown.map_or(0, |shown| shown.pipe)
        };
        if !quads.is_sorted_by_key(pipe) {
            quads.sort_by_key(pipe);
        }
        let runs: Vec<(usize, usize)> = (quads.chunk_by(|a, b| pipe(a) == pipe(b)))
            .map(|run| (pipe(&run[0]), run.len()))
            .collect();
        let mut rest = &quads[..];
        let mut groups = 0;
        for (pipe, length) in runs {
            let (run, others) = rest.split_at(length);
            rest = others;
            for quads in run.chunks(QUADS) {
                groups += 1;
                if groups % ASK_EVERY == 0 {
                    stop.ask()?;
                }
                self.shade(pipe, quads, stop)?;
            }
        }
        self.waiting.taken = quads;
        Ok(())
    }

    /// Runs a program for up to eight quads.
    fn shade(&mut self, pipe: usize, quads: &[Quad], stop: Stop<'_>) -> Result<(), JobError> {
        let Some(pipe) = self.frame.pipes.get(pipe) else {
            return Ok(());
        };
        let Some(mut group) = self.context.fragment.take() else {
            return refuse("no pixels");
        };
        for quad in quads {
            let Some(index) = quad.shown.map(|shown| shown as usize) else {
                continue;
            };
            let (shown, surface) = (&mut group.shown[index], &self.waiting.surfaces[index]);
            if shown.coefficients.is_none() {
                shown.coefficients = Some(group.planes.len());
                let planes = &mut group.planes;
                surface.coefficients(&pipe.bindings, pipe.registers, &shown.depth, planes);
            }
        }
        self.context.fragment = Some(group);
        if !Arc::ptr_eq(&self.context.launch, &pipe.loaded.launch) {
            self.context.launch = Arc::clone(&pipe.loaded.launch);
        }
        self.run(quads, pipe.late, &pipe.loaded.program, stop)
    }

    /// Draws a primitive.
    pub(super) fn primitive(&mut self, item: Item, stop: Stop<'_>) -> Result<(), JobError> {
        let frame = self.frame;
        // The lists are made of what there is.
        let info = &frame.draws[item.draw as usize];
        let draw = &frame.geometry.draws[item.draw as usize];
        let primitive = &draw.primitives[item.primitive as usize];
        let square = self.tile.origin.map(|v| (v & !31) as i32);
        let Some(drawn) = Drawn::new(draw, primitive, square, frame.samples as usize) else {
            return Ok(());
        };
        let rect = (drawn.outline.bounds)
            .intersect(info.clip(primitive.viewport))
            .intersect(&self.tile.rect);
        if rect.is_empty() {
            return Ok(());
        }
        let [width, height] = frame.grid.tile.map(|size| size as i32);
        let (x0, y0) = (self.tile.rect.x0, self.tile.rect.y0);
        let Some(clipped) = drawn.outline.clipped(Rect {
            x0,
            y0,
            x1: x0 + width,
            y1: y0 + height,
        }) else {
            return Ok(());
        };
        self.fresh = false;
        self.order(info.pipe, stop)?;
        let mut current = Current {
            surface: drawn.surface,
            clipped,
            rect: Rect {
                x0: rect.x0 - x0,
                y0: rect.y0 - y0,
                x1: rect.x1 - x0,
                y1: rect.y1 - y0,
            },
            tests: info.tests(primitive.back_facing, primitive.viewport),
            depth: drawn.surface.depth(info.bias.as_ref()),
            back_facing: primitive.back_facing,
            pipe: info.pipe.map(|pipe| (pipe, &frame.pipes[pipe])),
            shown: None,
        };
        let rect = current.rect;
        for y in (rect.y0 & !(BLOCK - 1)..rect.y1).step_by(BLOCK as usize) {
            for x in (rect.x0 & !(BLOCK - 1)..rect.x1).step_by(BLOCK as usize) {
                self.block(&mut current, x, y, stop)?;
            }
        }
        Ok(())
    }

    /// Shades what has to be before something of this program is tested or shaded.
    fn order(&mut self, pipe: Option<usize>, stop: Stop<'_>) -> Result<(), JobError> {
        if pipe.is_none() || pipe != self.waiting.pipe {
            // Quads that wait may have tests of their own ahead of them.
            self.shade_quads(stop)?;
        }
        if let Some(index) = pipe {
            let opaque = self.frame.pipes.get(index).is_some_and(|pipe| pipe.opaque);
            if !opaque {
                self.shade_visible(stop)?;
            }
            self.waiting.pipe = pipe;
        }
        if self.waiting.surfaces.len() >= MOST_SHOWN {
            self.shade_all(stop)?;
            self.waiting.pipe = pipe;
        }
        Ok(())
    }

    /// A block of pixels: finds what is covered, tests it, and has it shaded.
    fn block(
        &mut self,
        current: &mut Current<'a>,
        x: i32,
        y: i32,
        stop: Stop<'_>,
    ) -> Result<(), JobError> {
        let frame = self.frame;
        let places = &frame.places[..frame.samples as usize];
        let inside = current.rect.mask(x, y);
        let late = current.pipe.is_some_and(|(_, pipe)| pipe.late);
        let mut square = [x, y];
        for (axis, place) in square.iter_mut().enumerate() {
            *place += (self.tile.origin[axis] % 32) as i32;
        }
        let group = self.group()?;
        let found = Found {
            current,
            x,
            y,
            inside,
            late,
            square,
        };
        let mask = by_cpu!(
            frame.cpu,
            Found::samples,
            (
                found: &Found<'_, '_> = &found,
                group: &mut Group = group,
                places: &[[i32; 2]] = places,
            ) -> Mask
        );
        let Some((_, pipe)) = current.pipe else {
            return Ok(());
        };
        if mask == [0; 4] {
            return Ok(());
        }
        let shown = match current.shown {
            Some(shown) => shown,
            None => self.show(current)?,
        };
        if pipe.opaque {
            let visible = &mut self.waiting.visible;
            visible.put(x as usize, y as usize, &mask, shown);
            return Ok(());
        }
        self.quads(shown, x, y, &mask, stop)
    }

    /// Has the quads of a block wait that have a sample in `mask`.
    fn quads(
        &mut self,
        shown: u32,
        x: i32,
        y: i32,
        mask: &Mask,
        stop: Stop<'_>,
    ) -> Result<(), JobError> {
        let any = mask[0] | mask[1] | mask[2] | mask[3];
        let pairs = any | any >> 1;
        // A bit for the upper left pixel of each quad.
        let mut left = (pairs | pairs >> 8) & 0x0055_0055_0055_0055;
        while left != 0 {
            let bit = left.trailing_zeros();
            left &= left - 1;
            let (x, y) = (x as u32 + bit % 8, y as u32 + bit / 8);
            let coverage = [0, 1, 8, 9].map(|pixel| {
                let bits = |sample: usize| (mask[sample] >> (bit + pixel) & 1) as u8;
                bits(0) | bits(1) << 1 | bits(2) << 2 | bits(3) << 3
            });
            // Tiles have 16 quads in a row at most.
            let place = (y / 2 * 16 + x / 2) as usize;
            let (word, bit) = (place / 64 % 4, 1u64 << (place % 64));
            if self.waiting.occupied[word] & bit != 0 || self.waiting.quads.len() == QUADS {
                self.shade_quads(stop)?;
            }
            self.waiting.occupied[word] |= bit;
            self.waiting.quads.push(Quad {
                shown: Some(shown),
                x,
                y,
                coverage,
            });
        }
        Ok(())
    }

    /// Notes a primitive of which something may be shaded.
    fn show(&mut self, current: &mut Current<'a>) -> Result<u32, JobError> {
        let group = self.group()?;
        group.shown.push(Shown {
            tests: current.tests,
            depth: current.depth,
            coefficients: None,
            back_facing: current.back_facing,
            pipe: current.pipe.map_or(0, |(pipe, _)| pipe),
        });
        let shown = (group.shown.len() - 1) as u32;
        self.waiting.surfaces.push(current.surface);
        current.shown = Some(shown);
        Ok(shown)
    }
}

/// A block that is looked at.
struct Found<'b, 'a> {
    current: &'b Current<'a>,
    x: i32,
    y: i32,
    /// Its pixels that may be drawn.
    inside: u64,
    late: bool,
    /// Its corner in the square of 32 x 32 pixels.
    square: [i32; 2],
}

impl Found<'_, '_> {
    /// The samples that are covered, and pass if they are tested now.
    #[inline(always)]
    fn samples(&self, group: &mut Group, places: &[[i32; 2]]) -> Mask {
        let current = self.current;
        let mut mask = current.clipped.block(self.x, self.y, self.inside, places);
        for (sample, mask) in mask.iter_mut().enumerate().take(places.len()) {
            *mask &= self.inside;
            if *mask == 0 || self.late {
                continue;
            }
            let place = [0, 1]
                .map(|axis| self.square[axis] as f32 + places[sample][axis] as f32 * (1.0 / 16.0));
            let (depth, stencil) = group.zs.block(self.x as usize, self.y as usize, sample);
            *mask = (current.tests).block(*mask, &current.depth, place, depth, stencil);
            group.queries.passed(&current.tests, mask.count_ones());
        }
        mask
    }
}
