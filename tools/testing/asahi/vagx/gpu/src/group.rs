// SPDX-License-Identifier: MIT OR Apache-2.0

//! Workgroups: who runs them, and how their SIMD-groups meet at barriers.
//!
//! A workgroup runs on one worker. Its SIMD-groups take turns: each runs until it is done or waits at a barrier, and when
//! all that are left wait, they go on. Different workgroups share nothing but memory.

use crate::cache::Program;
use crate::exec::{Context, Cpu, LOCAL_SIZE, Launch, Outcome, Simd, Targets};
use crate::image::Imageblock;
use crate::memory::{Access, GpuMemory, Memory};
use crate::parallel::{self, Plan, Stop};
use crate::texture::States;
use crate::{GpuFault, JobError, Machine, Observer, Stats, Unit};
use std::sync::Arc;

/// Below so many SIMD-groups per worker, waking it takes longer than it saves.
const WORTH_A_WORKER: u64 = 64;

/// A grid that is to run.
pub(crate) struct Grid<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) cpu: Cpu,
    pub(crate) program: &'a Program,
    pub(crate) launch: &'a Arc<Launch>,
    /// Bytes of local memory that each workgroup uses.
    pub(crate) shared: usize,
    /// The imageblock of each workgroup.
    pub(crate) block: Option<Imageblock>,
    pub(crate) space: &'a dyn GpuMemory,
    pub(crate) observer: &'a dyn Observer,
}

impl<'a> Context<'a> {
    pub(crate) fn new(launch: Arc<Launch>, space: &'a dyn GpuMemory, core: u32) -> Self {
        Context {
            launch,
            memory: Memory::new(space),
            local: vec![0; LOCAL_SIZE],
            core,
            stats: Stats::default(),
            block: None,
            targets: Targets::default(),
            fault: None,
            unsupported: None,
            states: States::default(),
            preamble: None,
            outputs: None,
            fragment: None,
        }
    }
}

/// Runs all workgroups of a grid.
pub(crate) fn run(grid: &Grid<'_>) -> Result<Stats, JobError> {
    let launch = grid.launch;
    let groups: [u64; 3] =
        std::array::from_fn(|axis| launch.grid[axis].div_ceil(launch.local[axis]).into());
    let total = groups[0]
        .saturating_mul(groups[1])
        .saturating_mul(groups[2]);
    let threads: u32 = launch.local.iter().product();
    let simds = u64::from(threads.div_ceil(32));
    let plan = Plan::new(grid.machine, total, WORTH_A_WORKER.div_ceil(simds.max(1)));
    let workers = parallel::run(
        &grid.machine.crew,
        plan,
        grid.observer,
        |number| {
            let core = (number % u64::from(grid.machine.config.cores.max(1))) as u32;
            let mut context = Context::new(Arc::clone(launch), grid.space, core);
            context.block = grid.block.clone();
            Worker {
                grid,
                context,
                simds: (0..simds).map(|_| Simd::new()).collect(),
            }
        },
        |worker, index, stop| {
            let (row, x) = (index / groups[0], index % groups[0]);
            let group = [x as u32, (row % groups[1]) as u32, (row / groups[1]) as u32];
            worker.workgroup(group, stop)
        },
        |worker| worker.context.stats,
    )?;
    let mut stats = Stats::default();
    for worker in &workers {
        stats.add(worker);
    }
    Ok(stats)
}

struct Worker<'a> {
    grid: &'a Grid<'a>,
    context: Context<'a>,
    simds: Vec<Simd>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Ready,
    Waiting,
    Done,
}

impl Worker<'_> {
    fn workgroup(&mut self, group: [u32; 3], stop: Stop<'_>) -> Result<(), JobError> {
        let program = self.grid.program;
        self.context.stats.groups += 1;
        let shared = self.grid.shared.min(LOCAL_SIZE);
        self.context.local[..shared].fill(0);
        if let Some(block) = &mut self.context.block {
            block.clear();
        }
        let mut left = 0;
        // No more than 32 SIMD-groups make a workgroup.
        let mut states = [State::Done; 32];
        for (index, simd) in self.simds.iter_mut().enumerate() {
            let threads = simd.start(program, self.grid.launch, group, index as u32);
            self.context.stats.threads += u64::from(threads);
            if threads > 0 {
                states[index] = State::Ready;
                left += 1;
            }
        }
        while left > 0 {
            for (simd, state) in self.simds.iter_mut().zip(&mut states) {
                while *state == State::Ready {
                    match simd.run(self.grid.cpu, program, &mut self.context) {
                        Outcome::Done => {
                            *state = State::Done;
                            left -= 1;
                        }
                        Outcome::Barrier => *state = State::Waiting,
                        Outcome::Paused => stop.ask()?,
                        outcome => return Err(error(outcome, simd, program, &self.context)),
                    }
                }
            }
            for state in &mut states {
                if *state == State::Waiting {
                    *state = State::Ready;
                }
            }
        }
        Ok(())
    }
}

/// The error that an outcome stands for.
pub(crate) fn error(
    outcome: Outcome,
    simd: &Simd,
    program: &Program,
    context: &Context<'_>,
) -> JobError {
    let index = simd.pc.saturating_sub(1);
    if outcome == Outcome::Unsupported
        && let Some(unsupported) = &context.unsupported
    {
        return unsupported.clone().into();
    }
    match (outcome, context.fault) {
        (Outcome::Fault, Some(fault)) => fault.into(),
        (Outcome::Fetch, _) => {
            let va = program.address.wrapping_add(program.offset(index).into());
            GpuFault {
                va,
                access: Access::Read,
                unit: Unit::Fetch,
                pc: va,
            }
            .into()
        }
        _ => program.unsupported(index).into(),
    }
}
