// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is done before the threads of a launch or draw: its state words are read and its preamble runs.

use crate::cache::{Cache, Program};
use crate::exec::{Context, Cpu, Launch, Outcome, Preamble, Simd};
use crate::usc::{self, State};
use crate::{JobError, Observer, group};
use std::sync::Arc;

/// What a launch is loaded with, besides what memory says.
pub(crate) struct Source<'a> {
    pub(crate) cpu: Cpu,
    pub(crate) cache: &'a Cache,
    pub(crate) observer: &'a dyn Observer,
    /// What addresses in state words are relative to.
    pub(crate) exec_base: u64,
    /// Address of the state words.
    pub(crate) usc: u64,
    /// The word that counts registers; it tells whether sampler states carry border colours.
    pub(crate) counts: u32,
}

/// A launch that is ready to run.
pub(crate) struct Loaded {
    pub(crate) launch: Arc<Launch>,
    pub(crate) program: Arc<Program>,
    pub(crate) state: State,
}

/// Reads state words into `launch` and runs the preamble on `context` and `simd`, whose launch is this one then.
pub(crate) fn load(
    source: &Source<'_>,
    mut launch: Launch,
    context: &mut Context<'_>,
    simd: &mut Simd,
) -> Result<Loaded, JobError> {
    let extended = matches!(source.counts >> 9 & 7, 6 | 7);
    let memory = &mut context.memory;
    let state = usc::read(memory, source.exec_base, source.usc, extended, &mut launch)?;
    let mut launch = Arc::new(launch);
    if let Some(address) = state.preshader {
        let program = source.cache.program(&mut context.memory, address);
        context.launch = Arc::clone(&launch);
        let result = preamble(source, &program, context, simd);
        let left = context.preamble.take();
        result?;
        if let Some(left) = left {
            leave(left, Arc::make_mut(&mut launch));
        }
    }
    context.launch = Arc::clone(&launch);
    let program = source.cache.program(&mut context.memory, state.shader);
    Ok(Loaded {
        launch,
        program,
        state,
    })
}

/// Gives what a preamble left to the threads of its launch.
fn leave(left: Preamble, launch: &mut Launch) {
    launch.uniforms = left.uniforms;
    for (states, stored) in [
        (&mut launch.textures, left.textures),
        (&mut launch.samplers, left.samplers),
    ] {
        for (index, state) in stored {
            let index = usize::from(index);
            if states.len() <= index {
                states.resize(index + 1, [0; 24]);
            }
            states[index] = state;
        }
    }
}

/// Runs a preamble; what it leaves is in the context.
fn preamble(
    source: &Source<'_>,
    program: &Program,
    context: &mut Context<'_>,
    simd: &mut Simd,
) -> Result<(), JobError> {
    context.preamble = Some(Preamble {
        uniforms: context.launch.uniforms.clone(),
        textures: Vec::new(),
        samplers: Vec::new(),
    });
    simd.start_preamble(program);
    loop {
        let outcome = simd.run(source.cpu, program, context);
        match outcome {
            Outcome::Done => return Ok(()),
            Outcome::Paused if source.observer.cancelled() => return Err(JobError::Cancelled),
            Outcome::Paused | Outcome::Barrier => (),
            _ => return Err(group::error(outcome, simd, program, context)),
        }
    }
}
