// SPDX-License-Identifier: MIT OR Apache-2.0

//! What every verb that boots a guest needs: programs, vagx, the guest's root, a kernel.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::context::Context;
use crate::kernel::Kernel;
use crate::programs;
use crate::progress::Progress;
use crate::qemu::Accelerator;
use crate::results::Versions;
use crate::roots::{self, Guest};
use crate::vagx;
use crate::vm::Setup;

pub struct Prepared {
    guest: Guest,
    accelerator: Accelerator,
    vagx: PathBuf,
    programs: PathBuf,
}

impl Prepared {
    pub fn make(ctx: &Context, progress: &mut Progress) -> Result<Self> {
        Self::with_piglit(ctx, progress, ctx.params.piglit)
    }

    /// The same, with or without piglit in the guest whatever was asked for.
    pub fn with_piglit(ctx: &Context, progress: &mut Progress, piglit: bool) -> Result<Self> {
        Ok(Self {
            guest: roots::guest(ctx, progress, piglit)?,
            vagx: vagx::build(ctx, progress)?,
            programs: programs::build(ctx, progress)?,
            accelerator: Accelerator::probe(&ctx.scratch),
        })
    }

    pub fn setup<'a>(&'a self, ctx: &'a Context) -> Setup<'a> {
        Setup {
            ctx,
            guest: &self.guest,
            accelerator: self.accelerator,
            vagx: &self.vagx,
            programs: &self.programs,
        }
    }

    pub fn vagx(&self) -> &Path {
        &self.vagx
    }

    pub fn versions(&self, ctx: &Context, kernel: &Kernel) -> Versions {
        Versions::gather(
            ctx,
            &kernel.origin,
            &kernel.release,
            &self.guest.mesa,
            self.accelerator.name(),
        )
    }
}
