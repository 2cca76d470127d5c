// SPDX-License-Identifier: MIT OR Apache-2.0

//! Looking into a job while it runs, for who asks why a pixel is as it is.

use crate::cache::Program;
use crate::exec::{Context, Lanes, REGISTERS, Simd, unpack};
use crate::image::Imageblock;
use crate::uop::{Format, TileOp, Uop};
use std::sync::Arc;

/// Is shown what a job does, draw by draw and tile by tile. Runs are slower with one, and the same otherwise.
pub trait Debugger: Send + Sync {
    /// Whether the draw of this number is to be drawn.
    fn wants(&self, _draw: usize) -> bool {
        true
    }
    /// The background of a tile has been drawn, or a draw with primitives in it.
    fn drawn(&self, _tile: &TileView<'_>) {}
    /// Address of the instruction before which `stopped` is told.
    fn breakpoint(&self) -> Option<u64> {
        None
    }
    /// A SIMD-group is about to execute the instruction.
    fn stopped(&self, _stop: &Stopped<'_>) {}
}

/// A value that fragment programs keep for each sample: where it is, and what it means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Bytes from the sample's start.
    pub offset: u32,
    pub(crate) format: Format,
    /// A bit for each component.
    pub(crate) mask: u8,
}

/// The targets that a program writes.
pub(crate) fn targets(program: &Program) -> impl Iterator<Item = Target> + '_ {
    program.uops.iter().filter_map(|uop| match uop {
        Uop::Tile(op) => match &**op {
            TileOp::Store { regs, .. } => Some(Target {
                offset: regs.offset,
                format: regs.format,
                mask: regs.mask,
            }),
            _ => None,
        },
        _ => None,
    })
}

/// One for each offset, by offset; several stores may each write some components.
pub(crate) fn merged(all: impl Iterator<Item = Target>) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for target in all {
        match targets.iter_mut().find(|t| t.offset == target.offset) {
            Some(known) => known.mask |= target.mask,
            None => targets.push(target),
        }
    }
    targets.sort_by_key(|target| target.offset);
    targets
}

/// A tile's memory at some moment.
pub struct TileView<'a> {
    /// Pixel of the framebuffer in its upper left corner.
    pub origin: [u32; 2],
    /// Pixels, some of which may be outside of the framebuffer.
    pub size: [u32; 2],
    pub layer: u32,
    pub samples: u32,
    /// The last draw; none after the background.
    pub draw: Option<usize>,
    /// What is in it.
    pub targets: &'a [Target],
    pub(crate) block: &'a Imageblock,
}

impl TileView<'_> {
    /// Red, green, blue and alpha of a sample, of 0 to 1 if it is a colour. Integers come as they are.
    pub fn texel(&self, target: &Target, x: u32, y: u32, sample: u32) -> [f32; 4] {
        let unit = target.format.size();
        let packed = target.format.packed();
        let size = if packed { unit } else { 4 * unit };
        let words = self.block.load(x, y, sample, target.offset, size);
        std::array::from_fn(|component| {
            if target.mask >> component & 1 == 0 {
                return if component == 3 { 1.0 } else { 0.0 };
            }
            let raw = if packed {
                words[0]
            } else {
                let bit = component as u32 * unit * 8;
                let word = words[(bit / 32) as usize % 4] >> (bit % 32);
                word & (u32::MAX >> (32 - 8 * unit))
            };
            let value = unpack(target.format, true, component as u32, Lanes::splat(raw)).0[0];
            match target.format {
                Format::I8 | Format::I16 | Format::I32 => value as f32,
                _ => f32::from_bits(value),
            }
        })
    }
}

/// What a lane works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A pixel; without covered samples it only helps its neighbours.
    Pixel {
        x: u32,
        y: u32,
        layer: u32,
        covered: u32,
    },
    /// A thread of a grid.
    Thread([u32; 3]),
    /// A vertex, whose number is in r5 at the program's start.
    Vertex,
}

/// A SIMD-group that is about to execute an instruction.
pub struct Stopped<'a> {
    pub(crate) simd: &'a Simd,
    pub(crate) context: &'a Context<'a>,
}

impl Stopped<'_> {
    /// The lanes that exist: their numbers and what they work on.
    pub fn lanes(&self) -> Vec<(usize, Place)> {
        let lanes = (0..32).filter(|lane| self.simd.exists(*lane));
        lanes.map(|lane| (lane, self.place(lane))).collect()
    }

    fn place(&self, lane: usize) -> Place {
        if let Some(group) = &self.context.fragment {
            return Place::Pixel {
                x: group.x.0[lane],
                y: group.y.0[lane],
                layer: group.layer,
                covered: group.coverage.0[lane],
            };
        }
        if self.context.outputs.is_some() {
            return Place::Vertex;
        }
        Place::Thread(self.simd.thread_in_grid(&self.context.launch.local, lane))
    }

    /// Whether the lane executes the instruction.
    pub fn active(&self, lane: usize) -> bool {
        self.simd.is_active(lane)
    }

    /// Its registers.
    pub fn registers(&self, lane: usize) -> [u32; REGISTERS] {
        self.simd.registers(lane)
    }

    /// What all lanes share, two halves in each word.
    pub fn uniforms(&self) -> &[u32; 256] {
        &self.context.launch.uniforms
    }
}

/// Where to stop, and who is told.
#[derive(Clone)]
pub(crate) struct Watch(pub(crate) Arc<dyn Debugger>);

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}
