// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is known of a render before its first tile: sizes, clipping, and the programs of its draws.

use super::area::Rect;
use super::coefficients::{self, Binding};
use super::isp::{Bias, Tests};
use super::zls::Zls;
use crate::cache::Cache;
use crate::debug::{self, Debugger, Target};
use crate::exec::{Context, Cpu, Launch, SamplerHeap, Simd};
use crate::geometry::{DrawState, Geometry};
use crate::launch::{self, Loaded, Source};
use crate::memory::GpuMemory;
use crate::render::{RenderJob, TileProgram};
use crate::{JobError, Machine, Observer, Unit, Unsupported};
use std::collections::HashMap;
use std::sync::Arc;

/// Tiles that a render may have, in all layers.
const MOST_TILES: u64 = 1 << 22;

/// The greatest width and height of a framebuffer.
const MOST_PIXELS: u32 = 16384;

/// How a framebuffer is divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) layers: u32,
    /// Pixels of a tile.
    pub(super) tile: [u32; 2],
    /// Tiles of a layer.
    across: u32,
    down: u32,
}

impl Grid {
    fn new(job: &RenderJob) -> Result<Self, JobError> {
        let fragment = &job.fragment;
        let (width, height) = (fragment.width_px, fragment.height_px);
        let tile = [fragment.utile_width_px, fragment.utile_height_px];
        let layers = job.vertex.layers.max(1);
        if width > MOST_PIXELS || height > MOST_PIXELS {
            return refuse(&format!("framebuffer of {width} x {height} pixels"));
        }
        if !matches!(tile, [32, 32] | [32, 16] | [16, 16]) {
            return refuse(&format!("tiles of {} x {} pixels", tile[0], tile[1]));
        }
        let grid = Grid {
            width,
            height,
            layers,
            tile,
            across: width.div_ceil(tile[0]),
            down: height.div_ceil(tile[1]),
        };
        let tiles = u64::from(grid.across) * u64::from(grid.down) * u64::from(layers);
        if tiles > MOST_TILES {
            return refuse(&format!("{tiles} tiles"));
        }
        Ok(grid)
    }

    pub(super) fn tiles(&self) -> u32 {
        self.across * self.down * self.layers
    }

    pub(super) fn number(&self, x: u32, y: u32, layer: u32) -> u32 {
        (layer * self.down + y) * self.across + x
    }

    /// Column, row and layer of a tile.
    pub(super) fn place(&self, tile: u32) -> [u32; 3] {
        let row = tile / self.across;
        [tile % self.across, row % self.down, row / self.down]
    }

    /// The tiles that hold these pixels, which are inside of the framebuffer.
    pub(super) fn tiles_of(&self, rect: &Rect) -> Rect {
        let [w, h] = self.tile.map(|size| size as i32);
        Rect {
            x0: rect.x0 / w,
            y0: rect.y0 / h,
            x1: (rect.x1 + w - 1) / w,
            y1: (rect.y1 + h - 1) / h,
        }
    }

    /// The pixels of the framebuffer.
    fn pixels(&self) -> Rect {
        Rect {
            x0: 0,
            y0: 0,
            x1: self.width as i32,
            y1: self.height as i32,
        }
    }
}

/// Errors that no address tells more about.
pub(super) fn refuse<T>(why: &str) -> Result<T, JobError> {
    Err(Unsupported {
        va: 0,
        bytes: Vec::new(),
        why: why.into(),
    }
    .into())
}

/// The program of a draw.
pub(super) struct Pipe {
    pub(super) loaded: Loaded,
    pub(super) bindings: Vec<Binding>,
    /// Coefficient registers.
    pub(super) registers: usize,
    /// The program itself starts the tests of depth and stencil.
    pub(super) late: bool,
    /// It replaces what is behind it, whatever that is.
    pub(super) opaque: bool,
}

/// What holds for the primitives of a draw in one viewport.
#[derive(Clone, Copy, Debug)]
struct Window {
    clip: Rect,
    /// Depths are clamped to these.
    range: [f32; 2],
}

/// A draw.
pub(super) struct DrawInfo {
    /// Its program's number; none if it only tests depth and stencil.
    pub(super) pipe: Option<usize>,
    pub(super) bias: Option<Bias>,
    windows: Vec<Window>,
    /// For front and back faces.
    tests: [Tests; 2],
}

impl DrawInfo {
    fn window(&self, viewport: u8) -> &Window {
        // There is one at least.
        &self.windows[usize::from(viewport).min(self.windows.len() - 1)]
    }

    /// The pixels of the framebuffer that may be drawn in.
    pub(super) fn clip(&self, viewport: u8) -> &Rect {
        &self.window(viewport).clip
    }

    pub(super) fn tests(&self, back_facing: bool, viewport: u8) -> Tests {
        Tests {
            range: self.window(viewport).range,
            ..self.tests[usize::from(back_facing)]
        }
    }
}

/// A render.
pub(super) struct Frame<'a> {
    pub(super) machine: &'a Machine,
    pub(super) cpu: Cpu,
    pub(super) space: &'a dyn GpuMemory,
    pub(super) job: &'a RenderJob,
    pub(super) geometry: &'a Geometry,
    pub(super) grid: Grid,
    /// Samples of a pixel, and where they are, in sixteenths of a pixel.
    pub(super) samples: u32,
    pub(super) places: [[i32; 2]; 4],
    pub(super) draws: Vec<DrawInfo>,
    pub(super) pipes: Vec<Pipe>,
    pub(super) background: Option<Loaded>,
    /// The background program does the same for all pixels.
    pub(super) background_is_plain: bool,
    pub(super) end_of_tile: Option<Loaded>,
    pub(super) zls: Zls,
    pub(super) debugger: Option<&'a dyn Debugger>,
    /// What is in a tile's samples, for the debugger.
    pub(super) targets: Vec<Target>,
}

/// Loads what `Frame` is made of.
struct Loader<'a> {
    job: &'a RenderJob,
    machine: &'a Machine,
    cache: &'a Cache,
    cpu: Cpu,
    observer: &'a dyn Observer,
    context: Context<'a>,
    simd: Simd,
    pipes: Vec<Pipe>,
    /// Numbers of programs by what identifies them.
    known: HashMap<PipeKey, usize>,
}

/// The fragment shader's words, the word that places varyings, and whether it is opaque.
type PipeKey = ([u32; 4], u32, bool);

impl<'a> Frame<'a> {
    pub(super) fn new(
        machine: &'a Machine,
        cache: &'a Cache,
        space: &'a dyn GpuMemory,
        job: &'a RenderJob,
        geometry: &'a Geometry,
        observer: &'a dyn Observer,
    ) -> Result<Self, JobError> {
        let grid = Grid::new(job)?;
        let samples = job.fragment.samples.max(1);
        if !matches!(samples, 1 | 2 | 4) {
            return refuse(&format!("{samples} samples"));
        }
        let cpu = Cpu::detect(machine.config.baseline_cpu);
        let mut loader = Loader {
            job,
            machine,
            cache,
            cpu,
            observer,
            context: Context::new(Arc::default(), space, 0),
            simd: Simd::new(),
            pipes: Vec::new(),
            known: HashMap::new(),
        };
        let background = loader.tile_program(&job.fragment.bg)?;
        let end_of_tile = loader.tile_program(&job.fragment.eot)?;
        let mut draws = Vec::with_capacity(geometry.draws.len());
        for draw in &geometry.draws {
            if observer.cancelled() {
                return Err(JobError::Cancelled);
            }
            draws.push(loader.draw(&draw.state, &grid)?);
        }
        let control = job.fragment.ppp_multisamplectl;
        let programs = (loader.pipes.iter().map(|pipe| &pipe.loaded)).chain(&background);
        let targets = debug::merged(programs.flat_map(|loaded| debug::targets(&loaded.program)));
        Ok(Frame {
            machine,
            cpu,
            space,
            job,
            geometry,
            grid,
            samples,
            places: std::array::from_fn(|sample| {
                // A byte for each sample: x in the low half, y in the high one. A single sample is in the centre.
                let byte = (control >> (8 * sample)) as i32;
                match samples {
                    1 => [8, 8],
                    _ => [byte & 15, byte >> 4 & 15],
                }
            }),
            draws,
            pipes: loader.pipes,
            background_is_plain: background.as_ref().is_some_and(|b| b.program.is_plain()),
            background,
            end_of_tile,
            zls: Zls::new(job),
            debugger: cache.debugger(),
            targets,
        })
    }
}

impl Loader<'_> {
    fn load(&mut self, usc: u64, counts: u32) -> Result<Loaded, JobError> {
        let source = Source {
            cpu: self.cpu,
            cache: self.cache,
            observer: self.observer,
            exec_base: self.job.fragment.usc_exec_base,
            usc,
            counts,
        };
        let launch = Launch {
            vm_slot: self.job.fragment.vm_slot,
            heap: SamplerHeap {
                address: self.job.fragment.sampler_heap,
                count: self.job.fragment.sampler_count,
            },
            soft_faults: self.machine.config.soft_faults,
            ..Launch::default()
        };
        launch::load(&source, launch, &mut self.context, &mut self.simd)
    }

    /// A program of tiles; none if there is no address. The lowest bits of that are flags.
    fn tile_program(&mut self, program: &TileProgram) -> Result<Option<Loaded>, JobError> {
        let address = program.usc & !0x3f;
        if address == 0 {
            return Ok(None);
        }
        let usc = self.job.fragment.usc_exec_base.wrapping_add(address.into());
        self.load(usc, program.rsrc_spec).map(Some)
    }

    fn draw(&mut self, state: &DrawState, grid: &Grid) -> Result<DrawInfo, JobError> {
        let pipe = match state.fragment_control.tag_write_disable() {
            true => None,
            false => Some(self.pipe(state)?),
        };
        let windows = (0..state.viewports.len().max(1))
            .map(|viewport| self.window(state, viewport, grid))
            .collect::<Result<_, _>>()?;
        let bias = match state.fragment_control.depth_bias_enable() {
            true => Some(self.bias(state.depth_bias)?),
            false => None,
        };
        // "ZLS Format": 0 is a float, 2 a 16-bit integer.
        let unorm16 = self.job.fragment.zls_ctrl >> 25 & 3 == 2;
        Ok(DrawInfo {
            pipe,
            bias,
            windows,
            tests: [false, true].map(|back| Tests::new(state, back, [0.0, 1.0], unorm16)),
        })
    }

    fn pipe(&mut self, state: &DrawState) -> Result<usize, JobError> {
        let shader = state.fragment_shader;
        // "Pass type": 0 is opaque.
        let opaque = state.fragment_control.pass_type() == 0;
        let key = (shader.words, state.output_select.word, opaque);
        if let Some(&known) = self.known.get(&key) {
            return Ok(known);
        }
        let exec_base = self.job.fragment.usc_exec_base;
        let usc = exec_base.wrapping_add(shader.pipeline().into());
        let loaded = self.load(usc, shader.words[0])?;
        let (bindings, registers) = coefficients::read(&mut self.context.memory, exec_base, state)?;
        // "Early-z testing".
        let late = loaded
            .state
            .fragment_properties
            .is_some_and(|word| word >> 8 & 1 == 0);
        self.pipes.push(Pipe {
            loaded,
            bindings,
            registers,
            late,
            opaque: opaque && !late,
        });
        self.known.insert(key, self.pipes.len() - 1);
        Ok(self.pipes.len() - 1)
    }

    /// The scissor and region clip of a viewport (Mesa, `src/asahi/genxml/cmdbuf.xml`, "Scissor", "Region clip").
    fn window(
        &mut self,
        state: &DrawState,
        viewport: usize,
        grid: &Grid,
    ) -> Result<Window, JobError> {
        let mut window = Window {
            clip: grid.pixels(),
            range: [0.0, 1.0],
        };
        if state.fragment_control.scissor_enable() {
            let entry = u64::from(state.scissor) + viewport as u64;
            let base = self.job.fragment.isp_scissor_base;
            let words: [u32; 4] = self.words(base.wrapping_add(16 * entry))?;
            let pixels = |word: u32| ((word >> 16) as i32, (word & 0xffff) as i32);
            let ((x0, x1), (y0, y1)) = (pixels(words[0]), pixels(words[1]));
            window.clip = window.clip.intersect(&Rect { x0, y0, x1, y1 });
            if state.cull.depth_clamp() {
                window.range = [f32::from_bits(words[2]), f32::from_bits(words[3])];
            }
        }
        if let Some(region) = state.region_clips.get(viewport)
            && region.enable
        {
            let pixels = |tiles: u32| tiles.saturating_mul(32).min(MOST_PIXELS) as i32;
            window.clip = window.clip.intersect(&Rect {
                x0: pixels(region.min_x),
                y0: pixels(region.min_y),
                x1: pixels(region.max_x),
                y1: pixels(region.max_y),
            });
        }
        Ok(window)
    }

    fn bias(&mut self, entry: u16) -> Result<Bias, JobError> {
        let fragment = &self.job.fragment;
        let integer = fragment.isp_dbias_ctl >> 18 & 1 != 0;
        let va = fragment.isp_dbias_base.wrapping_add(12 * u64::from(entry));
        let [constant, slope, clamp] = self.words(va)?.map(f32::from_bits);
        Ok(Bias {
            constant,
            slope,
            clamp,
            integer,
        })
    }

    fn words<const N: usize>(&mut self, va: u64) -> Result<[u32; N], JobError> {
        let mut words = [0; N];
        for (word, index) in words.iter_mut().zip(0..) {
            *word = (self.context.memory).word(va.wrapping_add(4 * index), Unit::Isp)?;
        }
        Ok(words)
    }
}

impl Frame<'_> {
    /// Tiles that no primitive touches are drawn too.
    pub(super) fn process_empty_tiles(&self) -> bool {
        self.job.fragment.isp_ctl >> 16 & 1 != 0
    }

    /// Bytes of a sample in the tile's memory, of which the job tells the blocks of 2 KiB that a tile has.
    pub(super) fn sample_bytes(&self) -> u32 {
        let [width, height] = self.grid.tile;
        let bytes = u64::from(self.job.fragment.tib_blocks) * 2048;
        (bytes / u64::from(width * height * self.samples)).min(u32::MAX.into()) as u32
    }

    /// What depth and stencil are before anything is drawn, unless they are loaded.
    pub(super) fn background_depth(&self) -> (f32, u8) {
        let fragment = &self.job.fragment;
        let depth = match fragment.zls_ctrl >> 25 & 3 {
            2 => (fragment.isp_bgobjdepth & 0xffff) as f32 * (1.0 / 65535.0),
            _ => f32::from_bits(fragment.isp_bgobjdepth),
        };
        (depth, fragment.isp_bgobjvals as u8)
    }
}
