// SPDX-License-Identifier: MIT OR Apache-2.0

//! A tile: its background, its primitives in order, and its end.

use super::area::Rect;
use super::bins::Bins;
use super::draw::Waiting;
use super::frame::Frame;
use super::group::{Group, QUADS, Quad, Queries};
use super::zls::Area;
use super::zs::DepthStencil;
use crate::cache::Program;
use crate::debug::{Debugger, TileView};
use crate::exec::{Context, Outcome, Simd, by_cpu};
use crate::image::Imageblock;
use crate::launch::Loaded;
use crate::parallel::Stop;
use crate::{JobError, Stats, group};
use std::sync::Arc;

/// Whether to go on is asked after so many primitives.
const ASK_EVERY: usize = 1024;

/// What a worker leaves.
pub(super) struct Left {
    pub(super) queries: Queries,
    pub(super) pixels: u64,
    pub(super) stats: Stats,
}

/// A worker, which does tile after tile.
pub(super) struct Worker<'a> {
    pub(super) frame: &'a Frame<'a>,
    bins: &'a Bins,
    pub(super) context: Context<'a>,
    pub(super) simd: Simd,
    pub(super) tile: Tile,
    pub(super) waiting: Waiting<'a>,
    /// What the background program makes of every tile, if that is the same.
    cleared: Option<Imageblock>,
    /// The tile's memory, depth and stencil are as every tile begins.
    pub(super) fresh: bool,
    pixels: u64,
}

/// The tile that is being drawn.
#[derive(Clone, Copy, Default)]
pub(super) struct Tile {
    /// Its corner in the framebuffer, and the part of it that is inside.
    pub(super) origin: [u32; 2],
    pub(super) rect: Rect,
    layer: u32,
}

impl<'a> Worker<'a> {
    pub(super) fn new(frame: &'a Frame<'a>, bins: &'a Bins, number: u64) -> Self {
        let grid = &frame.grid;
        let core = (number % u64::from(frame.machine.config.cores.max(1))) as u32;
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
            waiting: Waiting::new(&frame.grid.tile, frame.samples),
            cleared: None,
            fresh: false,
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

    pub(super) fn group(&mut self) -> Result<&mut Group, JobError> {
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
        self.shade_all(stop)?;
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
        self.shade_all(stop)?;
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
            if self.cleared.is_none() && !self.fresh {
                block.clear();
            }
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
            if self.fresh {
                return Ok(());
            }
            group.zs.clear(depth, stencil);
            (frame.zls).load(memory, &mut stats.unknown_texels, &area, &mut group.zs)?;
        }
        // A program for the end may write to the tile as well.
        let ends = |end: &Loaded| end.program.writes_tile();
        self.fresh = (frame.background.is_none() || frame.background_is_plain)
            && !frame.zls.loads()
            && !frame.end_of_tile.as_ref().is_some_and(ends);
        match (&frame.background, &self.cleared) {
            (Some(_), Some(cleared)) => {
                if let Some(block) = &mut self.context.block {
                    block.copy_samples(cleared);
                }
                Ok(())
            }
            (Some(program), None) => self.background(program, stop),
            (None, _) => Ok(()),
        }
    }

    /// Runs the background program for all pixels.
    fn background(&mut self, program: &'a Loaded, stop: Stop<'_>) -> Result<(), JobError> {
        let frame = self.frame;
        let [width, height] = frame.grid.tile;
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
                self.run(&quads, false, &program.program, stop)?;
                if frame.background_is_plain {
                    // What one pixel has, all pixels of all tiles have.
                    if let Some(block) = &mut self.context.block {
                        block.replicate();
                        self.cleared = Some(block.clone());
                    }
                    return Ok(());
                }
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
            (frame.zls).store(
                frame.cpu,
                memory,
                &mut stats.unknown_texels,
                &area,
                &group.zs,
            )?;
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

    /// Runs a program for up to eight quads. It starts the tests of depth and stencil if it is `late`.
    pub(super) fn run(
        &mut self,
        quads: &[Quad],
        late: bool,
        program: &Program,
        stop: Stop<'_>,
    ) -> Result<(), JobError> {
        by_cpu!(
            self.frame.cpu,
            Worker::start,
            (
                worker: &mut Worker<'_> = self,
                quads: &[Quad] = quads,
                late: bool = late,
                program: &Program = program,
            ) -> Result<(), JobError>
        )?;
        self.resume(program, stop)
    }

    #[inline(always)]
    fn start(&mut self, quads: &[Quad], late: bool, program: &Program) -> Result<(), JobError> {
        let Some(group) = self.context.fragment.as_deref_mut() else {
            return super::frame::refuse("no pixels");
        };
        group.fill(quads, self.tile.origin, late);
        self.simd.start_fragments(program, group);
        Ok(())
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
}
