// SPDX-License-Identifier: MIT OR Apache-2.0

//! Workgroups: who runs them, and how their SIMD-groups meet at barriers.
//!
//! A workgroup runs on one worker. Its SIMD-groups take turns: each runs until it is done or waits at a barrier, and when
//! all that are left wait, they go on. Different workgroups share nothing but memory.

use crate::cache::Program;
use crate::exec::{Context, Cpu, LOCAL_SIZE, Launch, Outcome, Simd};
use crate::memory::{Access, GpuMemory, Memory};
use crate::{GpuConfig, GpuFault, JobError, Observer, Stats, Unit};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Below so many SIMD-groups per worker, starting it takes longer than it saves.
const WORTH_A_WORKER: u64 = 32;

/// A grid that is to run.
pub(crate) struct Grid<'a> {
    pub(crate) config: &'a GpuConfig,
    pub(crate) cpu: Cpu,
    pub(crate) program: &'a Program,
    pub(crate) launch: &'a Launch,
    /// Bytes of local memory that each workgroup uses.
    pub(crate) shared: usize,
    pub(crate) space: &'a dyn GpuMemory,
    pub(crate) observer: &'a dyn Observer,
}

impl<'a> Context<'a> {
    pub(crate) fn new(launch: &'a Launch, space: &'a dyn GpuMemory, core: u32) -> Self {
        Context {
            launch,
            memory: Memory::new(space),
            local: vec![0; LOCAL_SIZE],
            core,
            stats: Stats::default(),
            fault: None,
            preamble: None,
        }
    }
}

/// What workers have in common.
struct Shared {
    next: AtomicU64,
    stop: AtomicBool,
    result: Mutex<(Stats, Option<JobError>)>,
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
    let most = match grid.config.threads {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
        n => n as u64,
    };
    let worth = total.saturating_mul(simds) / WORTH_A_WORKER;
    let workers = most.min(total).min(worth).max(1);
    // Few enough that all workers end at about the same time, many enough that they do not fight for the counter.
    let chunk = (total / workers / 16).clamp(1, 64);
    let shared = Shared {
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        result: Mutex::default(),
    };
    let work = |worker: u64| {
        let core = (worker % u64::from(grid.config.cores.max(1))) as u32;
        let mut worker = Worker {
            grid,
            context: Context::new(launch, grid.space, core),
            simds: (0..simds).map(|_| Simd::new()).collect(),
        };
        let mut error = None;
        'all: loop {
            let start = shared.next.fetch_add(chunk, Relaxed);
            for index in start..start.saturating_add(chunk).min(total) {
                if shared.stop.load(Relaxed) {
                    break 'all;
                }
                let (row, x) = (index / groups[0], index % groups[0]);
                let group = [x as u32, (row % groups[1]) as u32, (row / groups[1]) as u32];
                if let Err(why) = worker.workgroup(group, &shared.stop) {
                    shared.stop.store(true, Relaxed);
                    error = Some(why);
                    break 'all;
                }
            }
            if start.saturating_add(chunk) >= total {
                break;
            }
            if grid.observer.cancelled() {
                shared.stop.store(true, Relaxed);
                error = Some(JobError::Cancelled);
                break;
            }
        }
        let mut result = shared.result.lock().unwrap_or_else(PoisonError::into_inner);
        result.0.add(&worker.context.stats);
        if result.1.is_none() {
            result.1 = error;
        }
    };
    if workers == 1 {
        work(0);
    } else {
        std::thread::scope(|scope| {
            for worker in 1..workers {
                let work = &work;
                scope.spawn(move || work(worker));
            }
            work(0);
        });
    }
    let (stats, error) = shared
        .result
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    error.map_or(Ok(stats), Err)
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
    fn workgroup(&mut self, group: [u32; 3], stop: &AtomicBool) -> Result<(), JobError> {
        let program = self.grid.program;
        self.context.stats.groups += 1;
        let shared = self.grid.shared.min(LOCAL_SIZE);
        self.context.local[..shared].fill(0);
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
                        Outcome::Paused => {
                            if self.grid.observer.cancelled() {
                                return Err(JobError::Cancelled);
                            }
                            if stop.load(Relaxed) {
                                return Ok(());
                            }
                        }
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
    match (outcome, context.fault) {
        (Outcome::Fault, Some(fault)) => fault.into(),
        (Outcome::Fetch, _) => {
            let va = program.address + u64::from(program.offset(index));
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
