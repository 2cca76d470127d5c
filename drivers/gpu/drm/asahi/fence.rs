// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The fences of jobs.

use kernel::{
    dma_fence::FenceNames,
    prelude::*, //
};

/// What the fences of jobs are called.
pub(crate) struct Names;

impl FenceNames for Names {
    const DRIVER: &'static CStr = c"asahi";
    const TIMELINE: &'static CStr = c"queue";
}
