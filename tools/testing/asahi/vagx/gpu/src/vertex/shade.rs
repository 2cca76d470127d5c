// SPDX-License-Identifier: MIT OR Apache-2.0

//! Vertex programs run.

use super::Draws;
use crate::cache::Program;
use crate::exec::{Context, Cpu, Lanes, Outcome, Simd};
use crate::parallel::{self, Plan};
use crate::{JobError, group};
use std::sync::{Arc, Mutex, PoisonError};

/// Below so many SIMD-groups for a worker, starting it takes longer than it saves.
const WORTH_A_WORKER: u64 = 24;

impl Draws<'_> {
    /// Shades the vertices of the batch; each leaves `size` words in `words`.
    pub(super) fn shade(&mut self, size: usize) -> Result<(), JobError> {
        let Some((_, loaded)) = &self.loaded else {
            return Ok(());
        };
        let batch = &self.batch;
        let count = batch.vertices.len();
        self.words.clear();
        self.words.resize(count * size, 0);
        let group = Group {
            cpu: self.cpu,
            program: &loaded.program,
            size,
        };
        let groups = count.div_ceil(32);
        let plan = Plan::new(self.machine, groups as u64, WORTH_A_WORKER);
        let ids = |index: usize| {
            let range = index * 32..(index * 32 + 32).min(count);
            (&batch.vertices[range.clone()], &batch.instances[range])
        };
        if plan.workers <= 1 || size == 0 {
            for index in 0..groups {
                let range = index * 32 * size..((index + 1) * 32 * size).min(count * size);
                let observer = self.observer;
                let stop = || match observer.cancelled() {
                    true => Err(JobError::Cancelled),
                    false => Ok(()),
                };
                let words = &mut self.words[range];
                group.run(&mut self.simd, &mut self.context, ids(index), words, stop)?;
            }
            return Ok(());
        }
        let parts: Vec<Mutex<&mut [u32]>> =
            self.words.chunks_mut(32 * size).map(Mutex::new).collect();
        let (launch, space) = (&loaded.launch, self.context.memory.space());
        let cores = u64::from(self.machine.config.cores.max(1));
        parallel::run(
            &self.machine.crew,
            plan,
            self.observer,
            |number| {
                let mut context = Context::new(Arc::clone(launch), space, (number % cores) as u32);
                context.outputs = Some(Default::default());
                (Simd::new(), context)
            },
            |(simd, context), index, stop| {
                let index = index as usize;
                let Some(part) = parts.get(index) else {
                    return Ok(());
                };
                let mut words = part.lock().unwrap_or_else(PoisonError::into_inner);
                group.run(simd, context, ids(index), &mut words, || stop.ask())
            },
            |_| (),
        )?;
        Ok(())
    }
}

/// What SIMD-groups of a draw have in common.
struct Group<'a> {
    cpu: Cpu,
    program: &'a Program,
    size: usize,
}

impl Group<'_> {
    /// Shades up to 32 vertices, given by their numbers and instances.
    fn run(
        &self,
        simd: &mut Simd,
        context: &mut Context<'_>,
        (vertices, instances): (&[u32], &[u32]),
        words: &mut [u32],
        stop: impl Fn() -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        if let Some(outputs) = &mut context.outputs {
            outputs.clear(self.size);
        }
        let lanes = |ids: &[u32]| {
            let mut lanes = Lanes::ZERO;
            for (lane, id) in lanes.0.iter_mut().zip(ids) {
                *lane = *id;
            }
            lanes
        };
        let count = vertices.len() as u32;
        simd.start_vertices(self.program, &lanes(vertices), &lanes(instances), count);
        loop {
            match simd.run(self.cpu, self.program, context) {
                Outcome::Done => break,
                Outcome::Paused => stop()?,
                Outcome::Barrier => (),
                outcome => return Err(group::error(outcome, simd, self.program, context)),
            }
        }
        if let Some(outputs) = &context.outputs {
            for word in 0..self.size {
                let values = outputs.word(word);
                for (vertex, value) in words.chunks_exact_mut(self.size).zip(&values.0) {
                    vertex[word] = *value;
                }
            }
        }
        Ok(())
    }
}
