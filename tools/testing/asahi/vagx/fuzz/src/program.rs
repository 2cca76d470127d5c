// SPDX-License-Identifier: MIT OR Apache-2.0

//! Shaders of arbitrary bytes.

use vagx_capture::{ComputeWork, GpuJob};
use vagx_gpu::{ComputeJob, PAGE_SIZE, isa};

use crate::image::Image;

const EXEC_BASE: u64 = 0x11_0000_0000;
const SHADER: u64 = 0x1_0000;
const USC: u64 = 0x2_0000;
const STREAM: u64 = 0x20_0000_0000;
const DATA: u64 = 0x20_0010_0000;

/// Threads of the two workgroups, the second of which is cut by the grid's edge.
const LOCAL: u32 = 40;
const GRID: u32 = 60;

/// Bytes that end what the fuzzer has begun: `stop`.
const STOP: [u8; 2] = [0x88, 0];

fn words(bytes: &[u8]) -> Vec<u64> {
    let word = |chunk: &[u8]| {
        let bytes = std::array::from_fn(|i| chunk.get(i).copied().unwrap_or(0));
        u64::from_le_bytes(bytes)
    };
    bytes.chunks(8).map(word).collect()
}

/// The state words: uniforms from the data, texture and sampler states from there too, an imageblock, and the program.
fn state(preamble: bool) -> Vec<u8> {
    let mut usc = Vec::new();
    for (start, tag) in [(0u64, 0x1d), (64, 0x1d), (0, 0x3d)] {
        usc.extend((tag | start << 8 | DATA << 24).to_le_bytes());
    }
    usc.extend((0xdd | 8 << 20 | DATA >> 3 << 27).to_le_bytes());
    usc.extend((0x9d | 8 << 20 | (DATA + 0x400) >> 3 << 27).to_le_bytes());
    usc.extend(0x1024_0f4du32.to_le_bytes());
    usc.extend([0x0d, 0]);
    usc.extend((SHADER as u32).to_le_bytes());
    usc.extend([0x8d, 1, 0, 0]);
    if preamble {
        usc.extend(0xc0_8038u32.to_le_bytes());
        usc.extend((SHADER as u32).to_le_bytes());
    } else {
        usc.extend([0x88, 0]);
    }
    usc
}

/// Decodes and disassembles the bytes at every even offset, and runs them as a program: first byte 0 on data that is
/// mostly pointers to itself, else on bytes from the end of the input; odd ones also as the program's own preamble.
pub fn program(input: &[u8]) {
    let Some((how, code)) = input.split_first() else {
        return;
    };
    for start in (0..code.len()).step_by(2) {
        if let Ok(instr) = isa::decode(&code[start..]) {
            let _ = isa::disassemble(&instr);
        }
    }
    let mut memory = Image::default();
    let code = &code[..code.len().min(PAGE_SIZE as usize - STOP.len())];
    memory.map(EXEC_BASE + SHADER, &words(&[code, &STOP].concat()), false);
    memory.map(EXEC_BASE + USC, &words(&state(how & 1 != 0)), false);
    let mut stream = vec![0, USC as u32, GRID, 1, 1, LOCAL, 1, 1];
    stream.extend([2 << 29, 0]);
    let stream: Vec<u8> = stream.iter().flat_map(|w| w.to_le_bytes()).collect();
    memory.map(STREAM, &words(&stream), true);
    let data: Vec<u64> = match how {
        0 | 1 => (0..2048).map(|i| DATA + 8 * (i % 64)).collect(),
        _ => words(code)
            .iter()
            .rev()
            .cycle()
            .take(2048)
            .copied()
            .collect(),
    };
    memory.map(DATA, &data, true);
    let work = ComputeWork {
        job: ComputeJob {
            cdm_ctrl_stream_base: STREAM,
            usc_exec_base: EXEC_BASE,
            sampler_heap: DATA,
            sampler_count: 16,
            ..ComputeJob::default()
        },
        soft_faults: how & 2 == 0,
    };
    let _ = crate::run(&memory, &GpuJob::Compute(work), &crate::Patience::default());
}
