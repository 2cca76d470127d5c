// SPDX-License-Identifier: MIT OR Apache-2.0

//! A tile: its background, its primitives in order, and its end.

use super::area::Rect;
use super::bins::{Bins, Item};
use super::frame::{Frame, Pipe};
use super::group::{Group, QUADS, Quad, Queries, Shown};
use super::isp::{Plane, Tests};
use super::outline::{BLOCK, Clipped, Mask};
use super::shape::Drawn;
use super::zls::Area;
use super::zs::DepthStencil;
use crate::cache::Program;
use crate::debug::{Debugger, TileView};
use crate::exec::{Context, Cpu, Outcome, Simd};
use crate::image::Imageblock;
use crate::launch::Loaded;
use crate::parallel::Stop;
use crate::{JobError, Stats, group};
use std::sync::Arc;

/// Whether to go on is asked after so many primitives.
const ASK_EVERY: usize = 1024;

/// Coefficients are forgotten when there are so many.
const MOST_PLANES: usize = 1 << 16;

/// What a worker leaves.
pub(super) struct Left {
    pub(super) queries: Queries,
    pub(super) pixels: u64,
    pub(super) stats: Stats,
}

/// A worker, which does tile after tile.
pub(super) struct Worker<'a> {
    frame: &'a Frame<'a>,
    bins: &'a Bins,
    context: Context<'a>,
    simd: Simd,
    tile: Tile,
    pixels: u64,
}

/// The tile that is being drawn.
#[derive(Default)]
struct Tile {
    /// Its corner in the framebuffer, and the part of it that is inside.
    origin: [u32; 2],
    rect: Rect,
    layer: u32,
    /// Quads that wait until there are enough for a SIMD-group, all of one program.
    pending: Vec<Quad>,
    pipe: Option<usize>,
    /// Where they are: a bit for each quad of the tile.
    occupied: [u64; 4],
}

/// A primitive whose blocks are found.
struct Current<'a> {
    drawn: Drawn<'a>,
    clipped: Clipped,
    /// Pixels to look at.
    rect: Rect,
    tests: Tests,
    depth: Plane,
    back_facing: bool,
    pipe: Option<&'a Pipe>,
    /// Its number among those that are shown.
    shown: Option<u32>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(frame: &'a Frame<'a>, bins: &'a Bins, number: u64) -> Self {
        let grid = &frame.grid;
        let core = (number % u64::from(frame.config.cores.max(1))) as u32;
        let zs = DepthStencil::new(
            grid.tile[0] as usize,
            grid.tile[1] as usize,
            frame.samples as usize,
        );
        let places = &frame.places[..frame.samples as usize];
        let mut context = Context::new(Arc::default(), frame.space, core);
        let [width, height] = grid.tile;
        let stride = frame.sample_bytes();
        context.block = Some(Imageblock::new(width, height, frame.samples, stride));
        context.fragment = Some(Box::new(Group::new(frame.samples, places, zs)));
        Worker {
            frame,
            bins,
            context,
            simd: Simd::new(),
            tile: Tile::default(),
            pixels: 0,
        }
    }

    pub(super) fn finish(mut self) -> Left {
        let queries = self.context.fragment.take().map(|group| group.queries);
        Left {
            queries: queries.unwrap_or_default(),
            pixels: self.pixels,
            stats: self.context.stats,
        }
    }

    fn group(&mut self) -> Result<&mut Group, JobError> {
        // It is only ever away while an instruction runs.
        match self.context.fragment.as_deref_mut() {
            Some(group) => Ok(group),
            None => super::frame::refuse("no pixels"),
        }
    }

    /// Draws a tile, if there is anything to draw or it is to be done anyway.
    pub(super) fn tile(&mut self, number: u32, stop: Stop<'_>) -> Result<(), JobError> {
        let frame = self.frame;
        let grid = &frame.grid;
        let mut items = self.bins.tile(grid, number).peekable();
        if items.peek().is_none() && !frame.process_empty_tiles() {
            return Ok(());
        }
        let [column, row, layer] = grid.place(number);
        let origin = [column * grid.tile[0], row * grid.tile[1]];
        let right = (origin[0] + grid.tile[0]).min(grid.width);
        let bottom = (origin[1] + grid.tile[1]).min(grid.height);
        self.tile = Tile {
            origin,
            rect: Rect {
                x0: origin[0] as i32,
                y0: origin[1] as i32,
                x1: right as i32,
                y1: bottom as i32,
            },
            layer,
            ..Tile::default()
        };
        self.pixels += u64::from(right - origin[0]) * u64::from(bottom - origin[1]);
        self.begin(stop)?;
        let mut last = None;
        for (index, item) in items.enumerate() {
            if index % ASK_EVERY == ASK_EVERY - 1 {
                stop.ask()?;
            }
            if let Some(debugger) = frame.debugger {
                let draw = Some(item.draw as usize);
                if !debugger.wants(item.draw as usize) {
                    continue;
                }
                if last != draw {
                    self.look(debugger, last, stop)?;
                    last = draw;
                }
            }
            self.primitive(item, stop)?;
        }
        self.flush(stop)?;
        if let Some(debugger) = frame.debugger {
            self.look(debugger, last, stop)?;
        }
        self.end(stop)
    }

    /// Shows the tile to the debugger.
    fn look(
        &mut self,
        debugger: &dyn Debugger,
        draw: Option<usize>,
        stop: Stop<'_>,
    ) -> Result<(), JobError> {
        self.flush(stop)?;
        if let Some(block) = &self.context.block {
            debugger.drawn(&TileView {
                origin: self.tile.origin,
                size: self.frame.grid.tile,
                layer: self.tile.layer,
                samples: self.frame.samples,
                draw,
                targets: &self.frame.targets,
                block,
            });
        }
        Ok(())
    }

    fn begin(&mut self, stop: Stop<'_>) -> Result<(), JobError> {
        let frame = self.frame;
        let (layer, area) = (self.tile.layer, self.area());
        let (depth, stencil) = frame.background_depth();
        if let Some(block) = &mut self.context.block {
            block.clear();
            block.origin = self.tile.origin;
            block.layer = layer;
        }
        let Context {
            fragment,
            memory,
            stats,
            ..
        } = &mut self.context;
        if let Some(group) = fragment {
            group.layer = layer;
            group.shown.clear();
            group.planes.clear();
            group.zs.clear(depth, stencil);
            (frame.zls).load(memory, &mut stats.unknown_texels, &area, &mut group.zs)?;
        }
        match &frame.background {
            Some(program) => self.background(program, stop),
            None => Ok(()),
        }
    }

    /// Runs the background program for all pixels.
    fn background(&mut self, program: &'a Loaded, stop: Stop<'_>) -> Result<(), JobError> {
        let [width, height] = self.frame.grid.tile;
        let all = ((1u32 << self.frame.samples) - 1) as u8;
        self.context.launch = Arc::clone(&program.launch);
        for y in (0..height).step_by(4) {
            for x in (0..width).step_by(8) {
                let quads: [Quad; QUADS] = std::array::from_fn(|index| Quad {
                    shown: None,
                    x: x + 2 * (index as u32 % 4),
                    y: y + 2 * (index as u32 / 4),
                    coverage: [all; 4],
                });
                let origin = self.tile.origin;
                self.group()?.fill(&quads, origin, false);
                self.run(&program.program, stop)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, stop: Stop<'_>) -> Result<(), JobError> {
        let frame = self.frame;
        if let Some(program) = &frame.end_of_tile {
            self.context.launch = Arc::clone(&program.launch);
            self.simd
                .start_tile_program(&program.program, self.tile.layer);
            self.resume(&program.program, stop)?;
        }
        let area = self.area();
        let Context {
            fragment,
            memory,
            stats,
            ..
        } = &mut self.context;
        if let Some(group) = fragment {
            (frame.zls).store(memory, &mut stats.unknown_texels, &area, &mut group.zs)?;
        }
        Ok(())
    }

    /// The tile with its parts outside of the framebuffer, where images may still have pixels.
    fn area(&self) -> Area {
        Area {
            corner: self.tile.origin,
            size: self.frame.grid.tile,
            layer: self.tile.layer,
        }
    }

    /// Runs a program for the pixels of the group.
    fn run(&mut self, program: &Program, stop: Stop<'_>) -> Result<(), JobError> {
        let Some(group) = self.context.fragment.take() else {
            return super::frame::refuse("no pixels");
        };
        self.simd.start_fragments(program, &group);
        self.context.fragment = Some(group);
        self.resume(program, stop)
    }

    fn resume(&mut self, program: &Program, stop: Stop<'_>) -> Result<(), JobError> {
        loop {
            match self.simd.run(self.frame.cpu, program, &mut self.context) {
                Outcome::Done => return Ok(()),
                Outcome::Paused => stop.ask()?,
                // There are no other SIMD-groups to wait for.
                Outcome::Barrier => (),
                outcome => {
                    return Err(group::error(outcome, &self.simd, program, &self.context));
                }
            }
        }
    }

    /// Shades the quads that wait.
    fn flush(&mut self, stop: Stop<'_>) -> Result<(), JobError> {
        let frame = self.frame;
        let Some(pipe) = self.tile.pipe.and_then(|pipe| frame.pipes.get(pipe)) else {
            return Ok(());
        };
        if !self.tile.pending.is_empty() {
            let Some(mut group) = self.context.fragment.take() else {
                return super::frame::refuse("no pixels");
            };
            group.fill(&self.tile.pending, self.tile.origin, pipe.late);
            self.context.fragment = Some(group);
            self.tile.pending.clear();
            self.tile.occupied = [0; 4];
            self.run(&pipe.loaded.program, stop)?;
        }
        Ok(())
    }

    fn primitive(&mut self, item: Item, stop: Stop<'_>) -> Result<(), JobError> {
        let frame = self.frame;
        // The lists are made of what there is.
        let info = &frame.draws[item.draw as usize];
        let draw = &frame.geometry.draws[item.draw as usize];
        let primitive = &draw.primitives[item.primitive as usize];
        if info.pipe.is_some() && info.pipe != self.tile.pipe {
            self.flush(stop)?;
            self.tile.pipe = info.pipe;
            if let Some(pipe) = info.pipe {
                self.context.launch = Arc::clone(&frame.pipes[pipe].loaded.launch);
            }
        } else if info.pipe.is_none() {
            // Tests of quads that wait come first.
            self.flush(stop)?;
        }
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
        let mut current = Current {
            drawn,
            clipped,
            rect: Rect {
                x0: rect.x0 - x0,
                y0: rect.y0 - y0,
                x1: rect.x1 - x0,
                y1: rect.y1 - y0,
            },
            tests: info.tests(primitive.back_facing, primitive.viewport),
            depth: drawn.depth(info.bias.as_ref()),
            back_facing: primitive.back_facing,
            pipe: info.pipe.map(|pipe| &frame.pipes[pipe]),
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
        let late = current.pipe.is_some_and(|pipe| pipe.late);
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
        let mask = match frame.cpu {
            Cpu::Baseline => found.samples(group, places),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Cpu::detect` gives these only where the CPU has all of the features.
            Cpu::Avx2 | Cpu::Avx512 => unsafe { found.samples_avx2(group, places) },
        };
        if mask == [0; 4] || current.pipe.is_none() {
            return Ok(());
        }
        self.quads(current, x, y, &mask, stop)
    }

    /// Has the quads of a block shaded that have a sample in `mask`.
    fn quads(
        &mut self,
        current: &mut Current<'a>,
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
            if self.tile.occupied[word] & bit != 0 || self.tile.pending.len() == QUADS {
                self.flush(stop)?;
            }
            let shown = match current.shown {
                Some(shown) => shown,
                None => self.show(current, stop)?,
            };
            self.tile.occupied[word] |= bit;
            self.tile.pending.push(Quad {
                shown: Some(shown),
                x,
                y,
                coverage,
            });
        }
        Ok(())
    }

    /// Notes a primitive of which something is to be shaded.
    fn show(&mut self, current: &mut Current<'a>, stop: Stop<'_>) -> Result<u32, JobError> {
        if self.group()?.planes.len() > MOST_PLANES {
            self.flush(stop)?;
            let group = self.group()?;
            group.planes.clear();
            group.shown.clear();
        }
        let group = self.group()?;
        let coefficients = group.planes.len();
        if let Some(pipe) = current.pipe {
            current.drawn.coefficients(
                &pipe.bindings,
                pipe.registers,
                &current.depth,
                &mut group.planes,
            );
        }
        group.shown.push(Shown {
            tests: current.tests,
            depth: current.depth,
            coefficients,
            back_facing: current.back_facing,
        });
        let shown = (group.shown.len() - 1) as u32;
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
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    fn samples_avx2(&self, group: &mut Group, places: &[[i32; 2]]) -> Mask {
        self.samples(group, places)
    }

    /// The samples that are covered, and pass if they are tested now.
    #[inline(always)]
    fn samples(&self, group: &mut Group, places: &[[i32; 2]]) -> Mask {
        let current = self.current;
        let mut mask = current.clipped.block(self.x, self.y, places);
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
