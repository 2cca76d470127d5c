// SPDX-License-Identifier: MIT OR Apache-2.0

//! Changes to a captured job: eight bytes each, so that the fuzzer's own mutations stay meaningful.
//!
//! Byte 0 picks the page, byte 1 what is done, bytes 2 and 3 the word (of 32 bits) among those of the page that are not
//! zero, the rest is a value.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use vagx_capture::GpuJob;

use crate::image::Image;

/// Numbers that are at the edge of something.
const EDGES: [u32; 16] = [
    0,
    1,
    2,
    31,
    32,
    0x7f,
    0xff,
    0x3fff,
    0x4000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xff80_0000,
    0x7fc0_0000,
    0xffff_ffff,
];

/// A 32-bit word of a page.
struct Word<'a> {
    pair: &'a mut AtomicU64,
    high: bool,
}

impl Word<'_> {
    fn get(&mut self) -> u32 {
        let shift = if self.high { 32 } else { 0 };
        (*self.pair.get_mut() >> shift) as u32
    }

    fn set(&mut self, value: u32) {
        let shift = if self.high { 32 } else { 0 };
        let pair = self.pair.get_mut();
        *pair = *pair & !(0xffff_ffff << shift) | u64::from(value) << shift;
    }
}

/// The word of this number among those of the page that have something in them, or the one of this number at all.
fn find(page: &mut [AtomicU64], number: usize) -> Option<Word<'_>> {
    let filled = page.iter().filter(|p| p.load(Relaxed) != 0).count();
    let (pair, high) = (number / 2, !number.is_multiple_of(2));
    let pair = match filled {
        0 => page.get_mut(pair % page.len().max(1))?,
        n => page
            .iter_mut()
            .filter(|p| p.load(Relaxed) != 0)
            .nth(pair % n)?,
    };
    Some(Word { pair, high })
}

fn apply_one(memory: &mut Image, job: &mut GpuJob, change: [u8; 8]) {
    let [page, what, w0, w1, v0, v1, v2, v3] = change;
    let number = usize::from(u16::from_le_bytes([w0, w1]));
    let value = u32::from_le_bytes([v0, v1, v2, v3]);
    if what % 16 == 15 {
        return argument(job, number, value);
    }
    let Some(page) = memory.page_mut(page.into()) else {
        return;
    };
    let other = find(page, value as usize & 0xffff).map_or(0, |mut word| word.get());
    let Some(mut word) = find(page, number) else {
        return;
    };
    let old = word.get();
    let byte = 8 * (value >> 8 & 3);
    word.set(match what % 16 {
        0 | 1 => value,
        2..=4 => old ^ 1 << (value % 32),
        5 => old.wrapping_add(u32::from(v0)),
        6 => old.wrapping_sub(u32::from(v0)),
        7..=9 => old & !(0xff << byte) | u32::from(v0) << byte,
        10 => EDGES[value as usize % EDGES.len()],
        11 => old ^ value,
        12 => other,
        13 => 0,
        _ => old.rotate_left(value % 32),
    });
}

/// Does all the changes that `changes` has.
pub(crate) fn apply(memory: &mut Image, job: &mut GpuJob, changes: &[u8]) {
    for change in changes.chunks_exact(8) {
        apply_one(memory, job, std::array::from_fn(|i| change[i]));
    }
}

/// Changes one of the job's arguments.
fn argument(job: &mut GpuJob, number: usize, value: u32) {
    let wide = |field: &mut u64| {
        *field = match value >> 30 {
            0 => field.wrapping_add(u64::from(value & 0xffff)),
            1 => u64::from(value),
            2 => *field ^ 1 << (value % 64),
            _ => u64::from(value) << 24,
        };
    };
    let narrow = |field: &mut u32| {
        *field = match value >> 30 {
            0 | 1 => value,
            2 => *field ^ 1 << (value % 32),
            _ => EDGES[value as usize % EDGES.len()],
        };
    };
    match job {
        GpuJob::Compute(work) => {
            let job = &mut work.job;
            match number % 6 {
                0 => wide(&mut job.cdm_ctrl_stream_base),
                1 => wide(&mut job.usc_exec_base),
                2 => wide(&mut job.sampler_heap),
                3 => narrow(&mut job.sampler_count),
                4 => narrow(&mut job.vm_slot),
                _ => work.soft_faults = value & 1 != 0,
            }
        }
        GpuJob::Vertex(job) => wide(&mut job.vdm_ctrl_stream_base),
        GpuJob::Fragment(job) => {
            let (vertex, fragment) = (&mut job.vertex, &mut job.fragment);
            match number % 48 {
                0 => wide(&mut vertex.vdm_ctrl_stream_base),
                1 => wide(&mut vertex.usc_exec_base),
                2 => wide(&mut vertex.sampler_heap),
                3 => narrow(&mut vertex.sampler_count),
                4 => narrow(&mut vertex.ppp_ctrl),
                5 => wide(&mut vertex.ppp_multisamplectl),
                6 => narrow(&mut vertex.width_px),
                7 => narrow(&mut vertex.height_px),
                8 => narrow(&mut vertex.layers),
                9 => wide(&mut fragment.usc_exec_base),
                10 => wide(&mut fragment.sampler_heap),
                11 => narrow(&mut fragment.sampler_count),
                12 => narrow(&mut fragment.width_px),
                13 => narrow(&mut fragment.height_px),
                14 => narrow(&mut fragment.samples),
                15 => narrow(&mut fragment.utile_width_px),
                16 => narrow(&mut fragment.utile_height_px),
                17 => narrow(&mut fragment.tib_blocks),
                18 => wide(&mut fragment.ppp_multisamplectl),
                19 => wide(&mut fragment.isp_zls_pixels),
                20 => wide(&mut fragment.isp_scissor_base),
                21 => wide(&mut fragment.isp_dbias_base),
                22 => wide(&mut fragment.isp_oclqry_base),
                23 => wide(&mut fragment.depth.base),
                24 => wide(&mut fragment.depth.comp_base),
                25 => wide(&mut fragment.depth.stride),
                26 => wide(&mut fragment.depth.comp_stride),
                27 => wide(&mut fragment.stencil.base),
                28 => wide(&mut fragment.stencil.comp_base),
                29 => wide(&mut fragment.stencil.stride),
                30 => wide(&mut fragment.stencil.comp_stride),
                31..=34 => wide(&mut fragment.zls_ctrl),
                35 => narrow(&mut fragment.isp_bgobjdepth),
                36 => narrow(&mut fragment.isp_bgobjvals),
                37..=38 => wide(&mut fragment.isp_ctl),
                39 => narrow(&mut fragment.bg.usc),
                40 => narrow(&mut fragment.bg.rsrc_spec),
                41 => narrow(&mut fragment.eot.usc),
                42 => narrow(&mut fragment.eot.rsrc_spec),
                // Both halves alike, as a driver would.
                43 => {
                    narrow(&mut vertex.width_px);
                    fragment.width_px = vertex.width_px;
                }
                44 => {
                    narrow(&mut vertex.height_px);
                    fragment.height_px = vertex.height_px;
                }
                _ => fragment.samples = [1, 2, 4, 8][value as usize % 4],
            }
        }
    }
}
