// SPDX-License-Identifier: MIT OR Apache-2.0

//! The compute data master: control streams that launch grids (Mesa, `src/asahi/genxml/cmdbuf.xml`, "CDM").
//!
//! A stream is read as it is executed, because programs that it launches may write what follows.

use crate::cache::Cache;
use crate::exec::{Context, Cpu, Launch, SamplerHeap, Simd};
use crate::image::Imageblock;
use crate::memory::GpuMemory;
use crate::{JobError, Machine, Observer, Stats, Unit};
use crate::{group, launch};
use std::sync::Arc;

/// Threads that a workgroup may have.
const MOST_THREADS: u64 = 1024;

/// Streams that may be waiting for one that they called.
const MOST_CALLS: usize = 16;

/// A compute job, as the command and the firmware's own structures describe it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComputeJob {
    /// Address of the control stream.
    pub cdm_ctrl_stream_base: u64,
    /// The end of its first segment, as the command says it. The stream itself says where it ends.
    pub cdm_ctrl_stream_end: u64,
    /// What 32-bit addresses of programs and state words are relative to.
    pub usc_exec_base: u64,
    /// Sampler states that programs name by number.
    pub sampler_heap: u64,
    /// How many.
    pub sampler_count: u32,
    /// The program that manages stacks. The model has no need of it: a stack is memory of the host's.
    pub helper_program: u32,
    /// Its configuration.
    pub helper_cfg: u32,
    /// Its argument.
    pub helper_data: u64,
    /// The address space's slot, as programs may read it.
    pub vm_slot: u32,
}

/// A grid that is launched.
#[derive(Clone, Debug)]
pub struct LaunchInfo {
    /// Address of the command in the stream.
    pub command: u64,
    /// Address of the state words.
    pub usc: u64,
    /// Address of the program.
    pub shader: u64,
    /// Address of its preamble.
    pub preshader: Option<u64>,
    /// Threads of the grid.
    pub grid: [u32; 3],
    /// Threads of a workgroup.
    pub local: [u32; 3],
}

struct Cdm<'a> {
    machine: &'a Machine,
    cache: &'a Cache,
    job: &'a ComputeJob,
    observer: &'a dyn Observer,
    /// Of what this thread executes itself: preambles.
    context: Context<'a>,
    simd: Simd,
    cpu: Cpu,
    stats: Stats,
}

pub(crate) fn run(
    machine: &Machine,
    cache: &Cache,
    space: &dyn GpuMemory,
    job: &ComputeJob,
    observer: &dyn Observer,
) -> Result<Stats, JobError> {
    let cpu = Cpu::detect(machine.config.baseline_cpu);
    let mut cdm = Cdm {
        machine,
        cache,
        job,
        observer,
        context: Context::new(Arc::default(), space, 0),
        simd: Simd::new(),
        cpu,
        stats: Stats::default(),
    };
    cdm.stream()?;
    Ok(cdm.stats)
}

impl Cdm<'_> {
    fn stream(&mut self) -> Result<(), JobError> {
        let mut at = self.job.cdm_ctrl_stream_base;
        let mut calls = Vec::new();
        loop {
            if self.observer.cancelled() {
                return Err(JobError::Cancelled);
            }
            let word = self.word(at)?;
            match word >> 29 {
                0 => at = self.launch(at, word)?,
                1 => {
                    let target =
                        u64::from(word & 0xff) << 32 | u64::from(self.word(at.wrapping_add(4))?);
                    if word >> 28 & 1 != 0 {
                        if calls.len() == MOST_CALLS {
                            return self.refuse(at, 8, "calls nested too deep");
                        }
                        calls.push(at.wrapping_add(8));
                    }
                    at = target;
                }
                2 => return Ok(()),
                // Whatever is flushed or awaited here, launches run to their end one after the other.
                3 if word >> 27 & 1 == 0 => at = at.wrapping_add(4),
                4 => match calls.pop() {
                    Some(back) => at = back,
                    None => return self.refuse(at, 8, "return without a call"),
                },
                _ => return self.refuse(at, 8, "unknown CDM block"),
            }
        }
    }

    /// Does one launch; returns the address of what follows it.
    fn launch(&mut self, command: u64, word: u32) -> Result<u64, JobError> {
        let pipeline = self.word(command.wrapping_add(4))?;
        let sizes = command.wrapping_add(8);
        let (grid, local, next) = match word >> 27 & 3 {
            0 => (
                self.triple(sizes)?,
                self.triple(sizes.wrapping_add(12))?,
                sizes.wrapping_add(24),
            ),
            1 => {
                let at = self.pointer(sizes)?;
                (
                    self.triple(at)?,
                    self.triple(sizes.wrapping_add(8))?,
                    sizes.wrapping_add(20),
                )
            }
            2 => {
                let at = self.pointer(sizes)?;
                (
                    self.triple(at)?,
                    self.triple(at.wrapping_add(12))?,
                    sizes.wrapping_add(8),
                )
            }
            _ => return self.refuse(command, 8, "unknown CDM launch mode"),
        };
        if grid.contains(&0) {
            return Ok(next);
        }
        let threads = local
            .iter()
            .fold(1u64, |n, &size| n.saturating_mul(size.into()));
        if threads == 0 || threads > MOST_THREADS {
            let why = format!("workgroup of {local:?} threads");
            return self.refuse(command, next.wrapping_sub(command) as usize, &why);
        }
        let exec_base = self.job.usc_exec_base;
        let usc = exec_base.wrapping_add((pipeline & !0x3f).into());
        let launch = Launch {
            heap: SamplerHeap {
                address: self.job.sampler_heap,
                count: self.job.sampler_count,
            },
            grid,
            local,
            vm_slot: self.job.vm_slot,
            soft_faults: self.machine.config.soft_faults,
            ..Launch::default()
        };
        let source = launch::Source {
            cpu: self.cpu,
            cache: self.cache,
            observer: self.observer,
            exec_base,
            usc,
            counts: word,
        };
        let loaded = launch::load(&source, launch, &mut self.context, &mut self.simd)?;
        let info = LaunchInfo {
            command,
            usc,
            shader: loaded.state.shader,
            preshader: loaded.state.preshader,
            grid,
            local,
        };
        self.observer.launch(&info);
        let mut stats = Stats {
            launches: 1,
            ..std::mem::take(&mut self.context.stats)
        };
        group::run(&group::Grid {
            machine: self.machine,
            cpu: self.cpu,
            program: &loaded.program,
            launch: &loaded.launch,
            shared: loaded.state.shared,
            block: loaded.state.shared_word.and_then(Imageblock::shared),
            space: self.context.memory.space(),
            observer: self.observer,
        })
        .map(|done| stats.add(&done))?;
        self.stats.add(&stats);
        self.observer.launch_done(&info, &stats);
        Ok(next)
    }

    fn word(&mut self, va: u64) -> Result<u32, JobError> {
        self.context.memory.word(va, Unit::Cdm)
    }

    fn triple(&mut self, va: u64) -> Result<[u32; 3], JobError> {
        Ok([
            self.word(va)?,
            self.word(va.wrapping_add(4))?,
            self.word(va.wrapping_add(8))?,
        ])
    }

    /// A pointer to sizes: the high byte, then the low word, whose last bits say something else.
    fn pointer(&mut self, va: u64) -> Result<u64, JobError> {
        let (high, low) = (self.word(va)?, self.word(va.wrapping_add(4))?);
        Ok(u64::from(high & 0xff) << 32 | u64::from(low & !3))
    }

    fn refuse<T>(&mut self, va: u64, length: usize, why: &str) -> Result<T, JobError> {
        self.context.memory.refuse(va, length, why)
    }
}
