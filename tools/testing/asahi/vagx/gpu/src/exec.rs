// SPDX-License-Identifier: MIT OR Apache-2.0

//! The shader core: SIMD-groups of 32 lanes.
//!
//! Registers are kept as a structure of arrays, one array of 32 lanes per register, and every operation is a loop over
//! all lanes that the compiler turns into vector instructions; inactive lanes are masked where results are written.
//!
//! Control flow is what hardware does: the low half of r0 counts, for each lane, how many levels must be left until it is
//! active again, and a lane runs while its counter is zero.

mod alu;
mod atomic;
mod control;
mod convert;
mod float;
mod format;
mod fragment;
mod half;
mod lanes;
mod local;
mod mem;
mod run;
mod simd;
mod special;
#[cfg(test)]
mod tests;
mod texture;
mod tile;
mod transcendental;
mod vertex;

pub(crate) use format::unpack;
pub(crate) use half::{from_half, to_half};
pub(crate) use lanes::{Lanes, mask};
pub(crate) use run::{Cpu, Outcome, by_cpu};
pub(crate) use tile::Targets;
pub(crate) use vertex::VertexOutputs;

use crate::cache::Program;
use crate::fragment::Group;
use crate::image::Imageblock;
use crate::memory::Memory;
use crate::texture::States;
use crate::{GpuFault, Stats, Unsupported};
use std::sync::Arc;

/// Registers of a lane.
pub(crate) const REGISTERS: usize = 128;

/// Bytes of local memory that addresses of 16 bits reach.
pub(crate) const LOCAL_SIZE: usize = 65536;

/// What a launch gives to all its threads.
#[derive(Clone)]
pub(crate) struct Launch {
    /// Uniform registers, two halves in each word.
    pub(crate) uniforms: Box<[u32; 256]>,
    /// Texture states, as they lie in memory.
    pub(crate) textures: Vec<[u8; 24]>,
    /// Sampler states, likewise.
    pub(crate) samplers: Vec<[u8; 24]>,
    /// Sampler states that programs name by number.
    pub(crate) heap: SamplerHeap,
    /// Threads of the grid.
    pub(crate) grid: [u32; 3],
    /// Threads of a workgroup.
    pub(crate) local: [u32; 3],
    pub(crate) vm_slot: u32,
    pub(crate) soft_faults: bool,
}

impl Default for Launch {
    fn default() -> Self {
        Launch {
            uniforms: Box::new([0; 256]),
            textures: Vec::new(),
            samplers: Vec::new(),
            heap: SamplerHeap::default(),
            grid: [0; 3],
            local: [1; 3],
            vm_slot: 0,
            soft_faults: false,
        }
    }
}

/// The list of sampler states of a job.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SamplerHeap {
    pub(crate) address: u64,
    pub(crate) count: u32,
}

/// What SIMD-groups have in common while they run on a worker. It lives as long as a job; `launch` is changed for each
/// launch or draw.
pub(crate) struct Context<'a> {
    pub(crate) launch: Arc<Launch>,
    pub(crate) memory: Memory<'a>,
    /// Local memory, `LOCAL_SIZE` bytes.
    pub(crate) local: Vec<u8>,
    pub(crate) core: u32,
    pub(crate) stats: Stats,
    /// Pixels of the tile, or of the workgroup.
    pub(crate) block: Option<Imageblock>,
    /// Images that are written to.
    pub(crate) targets: Targets,
    /// The first fault that was not soft.
    pub(crate) fault: Option<GpuFault>,
    /// What an operation met that it does not know, if the operation itself is known.
    pub(crate) unsupported: Option<Unsupported>,
    /// Texture and sampler states that were in use lately.
    pub(crate) states: States,
    /// Stores to uniforms and states, which only a preamble makes.
    pub(crate) preamble: Option<Preamble>,
    /// What vertex programs write.
    pub(crate) outputs: Option<VertexOutputs>,
    /// The pixels of a fragment program.
    pub(crate) fragment: Option<Box<Group>>,
}

/// What a preamble leaves for the threads of its launch.
pub(crate) struct Preamble {
    pub(crate) uniforms: Box<[u32; 256]>,
    pub(crate) textures: Vec<(u8, [u8; 24])>,
    pub(crate) samplers: Vec<(u8, [u8; 24])>,
}

/// The state of 32 lanes.
pub(crate) struct Simd {
    regs: Box<[Lanes; REGISTERS]>,
    /// Lanes that run now.
    exec: u32,
    /// The same as all ones or zeroes for each lane.
    mask: Lanes,
    /// Lanes that exist.
    alive: u32,
    /// Lanes whose stores happen: helper lanes of fragment programs only compute.
    writers: u32,
    /// Index of the next operation.
    pub(crate) pc: usize,
    /// Address of the program, for reports.
    program: u64,
    /// Offset of the running instruction in it, for reports.
    offset: u32,
    /// Position of the workgroup in the grid of workgroups.
    group: [u32; 3],
    /// Position of each lane in the workgroup.
    thread: [Lanes; 3],
    /// Threads that the workgroup really has: fewer at the edges of the grid.
    threads: [u32; 3],
    /// Number of the SIMD-group in its workgroup.
    index: u32,
    /// Private memory: one array of lanes per word.
    stack: Vec<Lanes>,
    /// The build of the interpreter that runs it.
    cpu: Cpu,
}

impl Simd {
    pub(crate) fn new() -> Self {
        Simd {
            regs: Box::new([Lanes::ZERO; REGISTERS]),
            exec: 0,
            mask: Lanes::ZERO,
            alive: 0,
            writers: 0,
            pc: 0,
            program: 0,
            offset: 0,
            group: [0; 3],
            thread: [Lanes::ZERO; 3],
            threads: [0; 3],
            index: 0,
            stack: Vec::new(),
            cpu: Cpu::Baseline,
        }
    }

    /// Makes it the SIMD-group `index` of workgroup `group`, at the start of `program`. Returns its threads.
    pub(crate) fn start(
        &mut self,
        program: &Program,
        launch: &Launch,
        group: [u32; 3],
        index: u32,
    ) -> u32 {
        let local = launch.local;
        let origin = |axis: usize| u64::from(group[axis]) * u64::from(local[axis]);
        for axis in 0..3 {
            let left = u64::from(launch.grid[axis]).saturating_sub(origin(axis));
            self.threads[axis] = left.min(u64::from(local[axis])) as u32;
        }
        // Threads are numbered as if the workgroup were whole; at the edges of the grid some are missing.
        let first = index * 32;
        let mut thread = [
            first % local[0],
            first / local[0] % local[1],
            first / local[0] / local[1],
        ];
        let mut alive = 0;
        for lane in 0..32 {
            let inside = (0..3).all(|axis| thread[axis] < self.threads[axis]);
            alive |= u32::from(inside) << lane;
            for axis in 0..3 {
                self.thread[axis].0[lane] = thread[axis];
            }
            thread[0] += 1;
            for axis in 0..2 {
                if thread[axis] == local[axis] {
                    thread[axis] = 0;
                    thread[axis + 1] += 1;
                }
            }
        }
        self.group = group;
        self.index = index;
        self.program = program.address;
        self.reset(program, alive);
        alive.count_ones()
    }

    /// Makes it the one thread of a preamble.
    pub(crate) fn start_preamble(&mut self, program: &Program) {
        self.program = program.address;
        self.reset(program, 1);
    }

    /// Clears what a program may have left. The counter of nesting in r0l starts at zero, and so does everything else,
    /// so that what a program does never depends on what ran before it.
    #[inline(always)]
    fn reset(&mut self, program: &Program, alive: u32) {
        self.regs[..program.registers].fill(Lanes::ZERO);
        self.alive = alive;
        self.writers = u32::MAX;
        self.pc = 0;
        self.stack.clear();
        self.set_exec(alive);
    }

    /// For debuggers.
    pub(crate) fn exists(&self, lane: usize) -> bool {
        self.alive >> (lane % 32) & 1 != 0
    }

    pub(crate) fn is_active(&self, lane: usize) -> bool {
        self.exec >> (lane % 32) & 1 != 0
    }

    pub(crate) fn registers(&self, lane: usize) -> [u32; REGISTERS] {
        std::array::from_fn(|register| self.regs[register].0[lane % 32])
    }

    pub(crate) fn thread_in_grid(&self, local: &[u32; 3], lane: usize) -> [u32; 3] {
        std::array::from_fn(|axis| {
            let first = self.group[axis].wrapping_mul(local[axis]);
            first.wrapping_add(self.thread[axis].0[lane % 32])
        })
    }

    #[inline(always)]
    fn set_exec(&mut self, exec: u32) {
        self.exec = exec;
        self.mask = Lanes::from_bits(exec);
    }
}
