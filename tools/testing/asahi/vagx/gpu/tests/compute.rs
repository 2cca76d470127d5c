// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whole jobs on a small memory: control streams, state words, preambles, workgroups, faults.
//!
//! The programs are what Mesa 26.1's rusticl emitted for OpenCL kernels; the rest is laid out by hand.

use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Mutex;
use vagx_gpu::{
    Access, ComputeJob, GpuConfig, GpuFault, GpuMemory, JobError, LaunchInfo, Observer, PAGE_SIZE,
    Stats, Unit, Unmapped, run_compute,
};

const EXEC_BASE: u64 = 0x11_0000_0000;
const SHADER: u64 = 0x1_0000;
const PRESHADER: u64 = 0x1_4000;
const USC: u64 = 0x2_0000;
const STREAM: u64 = 0x20_0000_0000;
const DATA: u64 = 0x20_0010_0000;

#[repr(align(64))]
struct Page(UnsafeCell<[u8; PAGE_SIZE as usize]>);

// SAFETY: The tests touch pages only before and after jobs, and jobs do so by atomics.
unsafe impl Send for Page {}
// SAFETY: As above.
unsafe impl Sync for Page {}

#[derive(Default)]
struct Memory {
    pages: HashMap<u64, (Box<Page>, bool)>,
}

// SAFETY: Pages are neither moved nor freed while `self` is borrowed.
unsafe impl GpuMemory for Memory {
    fn page(&self, va: u64, access: Access) -> Result<NonNull<u8>, Unmapped> {
        let (page, writable) = self.pages.get(&(va / PAGE_SIZE)).ok_or(Unmapped)?;
        if access == Access::Write && !writable {
            return Err(Unmapped);
        }
        NonNull::new(page.0.get().cast()).ok_or(Unmapped)
    }
}

impl Memory {
    fn map(&mut self, va: u64, pages: u64, writable: bool) {
        for page in va / PAGE_SIZE..va / PAGE_SIZE + pages {
            let zeroes = Box::new(Page(UnsafeCell::new([0; PAGE_SIZE as usize])));
            self.pages.insert(page, (zeroes, writable));
        }
    }

    fn byte(&mut self, va: u64) -> &mut u8 {
        let (page, _) = self.pages.get_mut(&(va / PAGE_SIZE)).unwrap();
        &mut page.0.get_mut()[(va % PAGE_SIZE) as usize]
    }

    fn write(&mut self, va: u64, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            *self.byte(va + i as u64) = *byte;
        }
    }

    fn write_words(&mut self, va: u64, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.write(va, &bytes);
    }

    fn read_words(&mut self, va: u64, count: u64) -> Vec<u32> {
        let bytes: Vec<u8> = (0..4 * count).map(|i| *self.byte(va + i)).collect();
        bytes
            .chunks(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    }
}

fn code(lines: &[&str]) -> Vec<u8> {
    let hex: String = lines.concat();
    (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect()
}

fn launch(grid: [u32; 3], local: [u32; 3]) -> Vec<u32> {
    let mut words = vec![0, USC as u32];
    words.extend(grid);
    words.extend(local);
    words
}

const BARRIER: u32 = 3 << 29 | 0xfffff;
const TERMINATE: [u32; 2] = [2 << 29, 0];

/// c[i] = a[i] + b[i]; the preamble loads the three pointers.
const VECTOR_ADD: [&str; 8] = [
    "72011004",
    "0509040e00c01200",
    "0511084e00c01200",
    "3800",
    "3801",
    "2a85c2422c00",
    "45090c0e00c01200",
    "8800",
];
const VECTOR_ADD_PREAMBLE: [&str; 8] = [
    "0501000d00c0f200",
    "3800",
    "c500403d0080f000",
    "c510803d0080f000",
    "0501100d00c83200",
    "3800",
    "c500c03d0080f000",
    "8800",
];

/// Memory with this program, with u0 and u1 the address of `ARGUMENTS`, and the stream.
fn machine(program: &[&str], preamble: Option<&[&str]>, stream: &[u32]) -> Memory {
    let mut memory = Memory::default();
    memory.map(EXEC_BASE + SHADER, 1, false);
    memory.map(EXEC_BASE + PRESHADER, 1, false);
    memory.map(EXEC_BASE + USC, 1, false);
    memory.map(STREAM, 1, true);
    memory.map(DATA, 16, true);
    memory.write(EXEC_BASE + SHADER, &code(program));
    let mut usc = Vec::new();
    // Four uniforms from what lies at DATA: a pointer to the arguments.
    usc.extend((0x1d | 4 << 20 | DATA << 24).to_le_bytes());
    usc.extend([0x4d, 0x90, 0, 0]);
    usc.extend([0x0d, 0]);
    usc.extend((SHADER as u32).to_le_bytes());
    usc.extend([0x8d, 1, 0, 0]);
    match preamble {
        Some(preamble) => {
            memory.write(EXEC_BASE + PRESHADER, &code(preamble));
            usc.extend(0xc0_8038u32.to_le_bytes());
            usc.extend((PRESHADER as u32).to_le_bytes());
        }
        None => usc.extend([0x88, 0]),
    }
    memory.write(EXEC_BASE + USC, &usc);
    memory.write(DATA, &(DATA + 0x100).to_le_bytes());
    memory.write_words(STREAM, stream);
    memory
}

fn job() -> ComputeJob {
    ComputeJob {
        cdm_ctrl_stream_base: STREAM,
        usc_exec_base: EXEC_BASE,
        ..ComputeJob::default()
    }
}

fn run(memory: &Memory, config: &GpuConfig) -> Result<Stats, JobError> {
    run_compute(memory, &job(), config, &())
}

const A: u64 = DATA + PAGE_SIZE;
const B: u64 = DATA + 5 * PAGE_SIZE;
const C: u64 = DATA + 9 * PAGE_SIZE;

/// A vector addition of `count` floats, ready to run.
fn addition(count: u32, stream: &[u32]) -> Memory {
    let mut memory = machine(&VECTOR_ADD, Some(&VECTOR_ADD_PREAMBLE), stream);
    for (i, pointer) in [A, B, C].into_iter().enumerate() {
        memory.write(DATA + 0x100 + 8 * i as u64, &pointer.to_le_bytes());
    }
    for i in 0..count {
        let at = 4 * u64::from(i);
        memory.write(A + at, &(i as f32 * 0.5).to_le_bytes());
        memory.write(B + at, &(i as f32 + 1.0).to_le_bytes());
    }
    memory
}

fn sum(i: u32) -> u32 {
    (i as f32 * 0.5 + (i as f32 + 1.0)).to_bits()
}

fn stream(parts: &[&[u32]]) -> Vec<u32> {
    parts.concat()
}

#[test]
fn vector_addition_on_every_cpu_and_number_of_threads() {
    let count = 10_000;
    let words = stream(&[&launch([count, 1, 1], [256, 1, 1]), &[BARRIER], &TERMINATE]);
    for (baseline_cpu, threads) in [(true, 1), (false, 1), (true, 3), (false, 3)] {
        let mut memory = addition(count, &words);
        let config = GpuConfig {
            baseline_cpu,
            threads,
            ..GpuConfig::default()
        };
        let stats = run(&memory, &config).unwrap();
        assert_eq!(
            (stats.groups, stats.threads, stats.soft_faults),
            (40, count.into(), 0)
        );
        let out = memory.read_words(C, u64::from(count) + 1);
        assert!(
            out[..count as usize]
                .iter()
                .enumerate()
                .all(|(i, &x)| x == sum(i as u32))
        );
        // The grid is not a multiple of the workgroup: what is beyond it must not run.
        assert_eq!(out[count as usize], 0);
    }
}

#[test]
fn streams_link_call_and_return() {
    let at = |words: u64| STREAM + 4 * words;
    let link = |call: u32, to: u64| [1 << 29 | call << 28 | (to >> 32) as u32, to as u32];
    let mut words = vec![0; 64];
    words[..2].copy_from_slice(&link(1, at(16)));
    words[2..4].copy_from_slice(&link(0, at(32)));
    words[16..24].copy_from_slice(&launch([64, 1, 1], [64, 1, 1]));
    words[24] = 4 << 29;
    words[32..34].copy_from_slice(&TERMINATE);
    let mut memory = addition(64, &words);
    assert_eq!(run(&memory, &GpuConfig::default()).unwrap().launches, 1);
    assert_eq!(memory.read_words(C, 64)[63], sum(63));
}

#[test]
fn sizes_may_come_from_memory() {
    let sizes = STREAM + 0x800;
    let pointer = [(sizes >> 32) as u32, sizes as u32];
    let global = stream(&[&[1 << 27, USC as u32], &pointer, &[32, 1, 1], &TERMINATE]);
    let both = stream(&[&[2 << 27, USC as u32], &pointer, &TERMINATE]);
    for (words, groups) in [(global, 3), (both, 6)] {
        let mut memory = addition(96, &words);
        memory.write_words(sizes, &[96, 1, 1, 16, 1, 1]);
        assert_eq!(run(&memory, &GpuConfig::default()).unwrap().groups, groups);
        assert_eq!(memory.read_words(C, 96)[95], sum(95));
        // Nothing to launch is not an error.
        memory.write_words(sizes, &[0]);
        assert_eq!(run(&memory, &GpuConfig::default()).unwrap().groups, 0);
    }
}

#[test]
fn faults_are_soft_if_so_configured() {
    let words = stream(&[&launch([32, 1, 1], [32, 1, 1]), &TERMINATE]);
    let mut memory = addition(32, &words);
    // The second operand is not mapped, and the result may not be written.
    memory.pages.remove(&(B / PAGE_SIZE));
    memory.map(C, 1, false);
    let stats = run(&memory, &GpuConfig::default()).unwrap();
    assert_eq!(stats.soft_faults, 64);
    assert_eq!(memory.read_words(C, 1), [0]);
    let hard = GpuConfig {
        soft_faults: false,
        ..GpuConfig::default()
    };
    let fault = GpuFault {
        va: B,
        access: Access::Read,
        unit: Unit::Shader,
        pc: EXEC_BASE + SHADER + 12,
    };
    assert_eq!(run(&memory, &hard), Err(fault.into()));
}

#[test]
fn other_units_fault() {
    let words = stream(&[&launch([32, 1, 1], [32, 1, 1]), &TERMINATE]);
    for (page, unit) in [
        (STREAM, Unit::Cdm),
        (EXEC_BASE + USC, Unit::Usc),
        (DATA, Unit::Usc),
        (EXEC_BASE + SHADER, Unit::Fetch),
    ] {
        let mut memory = addition(32, &words);
        memory.pages.remove(&(page / PAGE_SIZE));
        match run(&memory, &GpuConfig::default()) {
            Err(JobError::Fault(fault)) => assert_eq!((fault.va, fault.unit), (page, unit)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn unknown_instructions_are_named() {
    let words = stream(&[&launch([32, 1, 1], [32, 1, 1]), &TERMINATE]);
    // What only the program for stacks may do, which decodes; then bytes that do not.
    for (bad, text) in [("280a", "doorbell"), ("ffffffffffff", "unknown encoding")] {
        let program = ["72011004", bad, "8800"];
        let memory = machine(&program, None, &words);
        match run(&memory, &GpuConfig::default()) {
            Err(JobError::Unsupported(unsupported)) => {
                assert_eq!(unsupported.va, EXEC_BASE + SHADER + 4);
                assert!(unsupported.why.contains(text), "{unsupported}");
                assert_eq!(unsupported.bytes[..2], code(&[bad])[..2]);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// atom_max(mem, 1) by every thread, combined over the SIMD-group, with the old value stored to mem[1].
const ATOMIC_MAX: [&str; 19] = [
    "62020000",
    "62000000",
    "72043a00",
    "620901000000",
    "5208c2000000",
    "d509048d00d00400",
    "3800",
    "420a00000000",
    "620500000000",
    "520e00000000",
    "f2083a00",
    "3209440000000100",
    "be09440e0000",
    "fe02440a8000",
    "ef0542160400",
    "ef890160c080",
    "12054242244240c4",
    "45090c0d10c01200",
    "8800",
];

#[test]
fn atomics_of_a_divergent_branch() {
    let words = stream(&[&launch([1, 1, 1], [1, 1, 1]), &TERMINATE]);
    // The pointer that the program wants in u2 and u3 is in u0 and u1 here.
    let program: Vec<String> = ATOMIC_MAX
        .iter()
        .map(|line| match *line {
            "d509048d00d00400" => "d509008d00d00400".into(),
            "45090c0d10c01200" => "4509100d00c01200".into(),
            line => line.to_string(),
        })
        .collect();
    let program: Vec<&str> = program.iter().map(String::as_str).collect();
    let mut memory = machine(&program, None, &words);
    memory.write_words(DATA + 0x100, &[-5i32 as u32, 0]);
    run(&memory, &GpuConfig::default()).unwrap();
    assert_eq!(memory.read_words(DATA + 0x100, 2), [1, -5i32 as u32]);
}

#[test]
fn programs_call_and_return() {
    let words = stream(&[&launch([1, 1, 1], [1, 1, 1]), &TERMINATE]);
    // call +16; store r2; stop; and there: r2 = 1; ret r1.
    let program = [
        "10c010000000",
        "4511000d00c01200",
        "8800",
        "620901000000",
        "1402",
        "8800",
    ];
    let mut memory = machine(&program, None, &words);
    memory.write_words(DATA + 0x100, &[0]);
    run(&memory, &GpuConfig::default()).unwrap();
    assert_eq!(memory.read_words(DATA + 0x100, 1), [1]);
    // To where no instruction begins.
    let program = ["620501000000", "1402", "8800"];
    let memory = machine(&program, None, &words);
    let error = run(&memory, &GpuConfig::default()).unwrap_err();
    assert!(error.to_string().contains("ret"), "{error}");
}

#[derive(Default)]
struct Cancel(Mutex<u32>);

impl Observer for Cancel {
    fn launch(&self, info: &LaunchInfo) {
        assert_eq!(info.shader, EXEC_BASE + SHADER);
    }

    fn cancelled(&self) -> bool {
        let mut asked = self.0.lock().unwrap();
        *asked += 1;
        *asked > 10
    }
}

#[test]
fn endless_programs_can_be_cancelled() {
    let words = stream(&[&launch([64, 1, 1], [64, 1, 1]), &TERMINATE]);
    let memory = machine(&["00c000000000", "8800"], None, &words);
    let result = run_compute(&memory, &job(), &GpuConfig::default(), &Cancel::default());
    assert_eq!(result, Err(JobError::Cancelled));
}

/// Counts how often a job asks whether to go on.
#[derive(Default)]
struct Asked(Mutex<u32>);

impl Observer for Asked {
    fn cancelled(&self) -> bool {
        *self.0.lock().unwrap() += 1;
        false
    }
}

#[test]
fn programs_without_jumps_ask_whether_to_go_on() {
    let words = stream(&[&launch([32, 1, 1], [32, 1, 1]), &TERMINATE]);
    // Loads through u0, which points to mapped memory.
    let asks = |loads: usize| {
        let mut memory = machine(&["8800"], None, &words);
        memory.map(EXEC_BASE + SHADER, 4, false);
        let mut program = ["0501000d00c0f200"].repeat(loads);
        program.push("8800");
        memory.write(EXEC_BASE + SHADER, &code(&program));
        let asked = Asked::default();
        run_compute(&memory, &job(), &GpuConfig::default(), &asked).unwrap();
        asked.0.into_inner().unwrap()
    };
    assert!(asks(7000) > asks(10));
}

#[test]
fn programs_that_change_are_decoded_anew() {
    let words = stream(&[&launch([32, 1, 1], [32, 1, 1]), &TERMINATE]);
    let gpu = vagx_gpu::Gpu::new(GpuConfig::default());
    let mut memory = addition(32, &words);
    gpu.run_compute(&memory, &job(), &()).unwrap();
    assert_eq!(memory.read_words(C, 32)[5], sum(5));
    // fadd becomes fmul.
    memory.write(EXEC_BASE + SHADER + 24, &code(&["1a85c2422c00"]));
    gpu.run_compute(&memory, &job(), &()).unwrap();
    assert_eq!(memory.read_words(C, 32)[5], (2.5f32 * 6.0).to_bits());
}
