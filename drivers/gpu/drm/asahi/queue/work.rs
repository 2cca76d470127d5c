// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Work: what one submission makes of itself.
//!
//! It is complete when it enters its queue: its commands are built, and lack nothing but their
//! places.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    buffer::TilerBuffer,
    channel::{
        PipeType,
        PIPE_TYPES, //
    },
    gpu::{
        Gpu,
        OpGuard, //
    },
    queue::{
        cmdbuf::{
            Barrier,
            Render, //
        },
        compute::BuiltCompute,
        place::{
            BuiltBarrier,
            Context,
            Entries,
            Places,
            TilerOwner, //
        },
        render::BuiltRender, //
    },
    vm::VmWork,
    workqueue::Share, //
};

/// Waits for commands of a kind.
struct Wait {
    on: PipeType,
    barrier: Barrier,
    built: BuiltBarrier,
}

impl Wait {
    /// Builds what a command needs to wait, if it has to.
    fn new(gpu: &Gpu, on: PipeType, barrier: Barrier) -> Result<Option<Self>> {
        Ok(match barrier {
            Barrier::None => None,
            barrier => Some(Self {
                on,
                barrier,
                built: BuiltBarrier::new(gpu)?,
            }),
        })
    }

    /// Puts a barrier into the ring for `pipe`, unless what it would wait for is done already.
    fn place(&self, places: &Places, pipe: PipeType, n: u32, out: &mut Entries<'_>) {
        let (Some(wait), Some(own)) = (places.of(self.on), places.of(pipe)) else {
            return;
        };
        let value = match self.barrier {
            Barrier::Command(n) => wait.value(n.into()),
            Barrier::Previous if wait.busy => wait.base,
            Barrier::Previous | Barrier::None => return,
        };
        out.push(pipe, self.built.fill(wait, value, own.value(n)));
    }
}

/// What the hardware is to do.
enum Body {
    Render(KBox<BuiltRender>),
    Compute(KBox<BuiltCompute>),
}

/// A command in the memory shared with the firmware, and what it waits for.
struct BuiltCommand {
    /// Its number among those of its kind in the submission, counted from one.
    n: u32,
    waits: [Option<Wait>; 2],
    body: Body,
}

/// The work of one submission.
///
/// It holds on to all that the firmware needs until it is done with it.
pub(crate) struct Work {
    /// What goes into the work queues, in the order of pipes.
    pub(super) shares: [Share; PIPE_TYPES],
    /// The buffer for the renders, if there are any.
    pub(super) tiler: Option<Arc<dyn TilerOwner>>,
    /// Whether the firmware has been given it.
    pub(super) placed: bool,
    /// Keeps the GPU powered while the firmware has it.
    pub(super) op: Option<OpGuard>,
    commands: KVec<BuiltCommand>,
    /// Keeps the VM, and what was mapped in it when the work was built.
    _vm: VmWork,
}

impl Work {
    /// Makes work without any commands, with room for some.
    pub(super) fn new(commands: usize, vm: VmWork) -> Result<Self> {
        Ok(Self {
            shares: [Share::default(); PIPE_TYPES],
            tiler: None,
            placed: false,
            op: None,
            commands: KVec::with_capacity(commands, GFP_KERNEL)?,
            _vm: vm,
        })
    }

    /// Adds a render, the `n`-th one, with what it waits for.
    pub(super) fn add_render(
        &mut self,
        context: &Context<'_>,
        n: u32,
        cmd: &Render,
        tiler: &Arc<TilerBuffer>,
        render: BuiltRender,
    ) -> Result {
        let most = [PipeType::Vertex, PipeType::Fragment].map(|pipe| render.max_entries(pipe));
        let body = Body::Render(KBox::new(render, GFP_KERNEL)?);

        self.add(
            context.gpu,
            PipeType::Vertex,
            n,
            cmd.vdm_barrier,
            cmd.cdm_barrier,
            body,
        )?;
        self.count(PipeType::Vertex, most[0]);
        self.count(PipeType::Fragment, most[1]);
        self.tiler.get_or_insert_with(|| tiler.clone());
        Ok(())
    }

    /// Adds a compute command, the `n`-th one, with what it waits for.
    pub(super) fn add_compute(
        &mut self,
        gpu: &Gpu,
        n: u32,
        vdm_barrier: Barrier,
        cdm_barrier: Barrier,
        command: BuiltCompute,
    ) -> Result {
        let most = command.max_entries();
        let body = Body::Compute(KBox::new(command, GFP_KERNEL)?);

        self.add(gpu, PipeType::Compute, n, vdm_barrier, cdm_barrier, body)?;
        self.count(PipeType::Compute, most);
        Ok(())
    }

    /// Adds a command that waits in the ring for `pipe`.
    fn add(
        &mut self,
        gpu: &Gpu,
        pipe: PipeType,
        n: u32,
        vdm_barrier: Barrier,
        cdm_barrier: Barrier,
        body: Body,
    ) -> Result {
        // A render is done when its fragment half is.
        let waits = [
            Wait::new(gpu, PipeType::Fragment, vdm_barrier)?,
            Wait::new(gpu, PipeType::Compute, cdm_barrier)?,
        ];

        if let Some(share) = self.shares.get_mut(pipe as usize) {
            // CAST: There are two.
            share.most += waits.iter().flatten().count() as u32;
        }
        self.commands
            .push(BuiltCommand { n, waits, body }, GFP_KERNEL)?;
        Ok(())
    }

    /// Counts a command with a stamp of its own, and what it takes in a ring.
    fn count(&mut self, pipe: PipeType, most: u32) {
        if let Some(share) = self.shares.get_mut(pipe as usize) {
            share.events += 1;
            share.most += most;
        }
    }

    /// Places all commands.
    pub(super) fn place(&self, places: &Places, out: &mut Entries<'_>) {
        for command in &self.commands {
            let pipe = match &command.body {
                Body::Render(_) => PipeType::Vertex,
                Body::Compute(_) => PipeType::Compute,
            };
            for wait in command.waits.iter().flatten() {
                wait.place(places, pipe, command.n, out);
            }
            match &command.body {
                Body::Render(render) => render.place(places, out),
                Body::Compute(compute) => compute.place(places, out),
            }
        }
    }

    /// It has failed, and what it used may not be as it should.
    pub(super) fn suspect(&self) {
        if let Some(tiler) = &self.tiler {
            tiler.suspect();
        }
    }
}
