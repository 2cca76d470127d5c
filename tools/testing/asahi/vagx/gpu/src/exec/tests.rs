// SPDX-License-Identifier: MIT OR Apache-2.0

//! The executor against applegpu's emulator, which was validated on hardware.
//!
//! Each line of `tests/exec-vectors.txt` is an encoding, the seed of a register state, and the hash of the registers and
//! active lanes that the emulator left. The states hold small and large integers, ordinary and special floats of both
//! sizes, and lanes that are switched off. More vectors of this form are checked when VAGX_EXEC_VECTORS names a file;
//! tests/applegpu.py makes them, and compares.

use super::*;
use crate::isa::decode;
use crate::memory::{Access, GpuMemory, Unmapped};
use std::ptr::NonNull;

struct Nothing;

// SAFETY: It gives out no pages.
unsafe impl GpuMemory for Nothing {
    fn page(&self, _: u64, _: Access) -> Result<NonNull<u8>, Unmapped> {
        Err(Unmapped)
    }
}

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

const SPECIAL: [u32; 16] = [
    0,
    0x8000_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0xffc1_2345,
    1,
    0x8000_0001,
    0x007f_ffff,
    0x0080_0000,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x4f00_0000,
    0x3f00_0000,
];

fn value(seed: u64, register: u64, lane: u64) -> u32 {
    let x = mix(seed << 32 | register << 8 | lane);
    let v = x as u32;
    match x >> 32 & 7 {
        0 | 1 => v,
        2 => v & 0xff,
        3 => SPECIAL[(v >> 8 & 15) as usize],
        // Floats near one, then pairs of halves near one: their results round in all ways.
        4 => (v & 0x807f_ffff) | (120 + (v >> 23 & 15)) << 23,
        5 => (v & 0x83ff_83ff) | (14 + (v >> 10 & 3)) << 10 | (14 + (v >> 26 & 3)) << 26,
        6 => v & 0x003f_003f,
        _ => v & 0x83ff_83ff,
    }
}

fn prepare(simd: &mut Simd, launch: &mut Launch, seed: u64) {
    for (i, uniform) in launch.uniforms.iter_mut().enumerate() {
        *uniform = value(seed, 1000 + i as u64, 0);
    }
    for (r, register) in simd.regs.iter_mut().enumerate() {
        *register = Lanes(std::array::from_fn(|lane| {
            value(seed, r as u64, lane as u64)
        }));
    }
    let mut exec = 0;
    for lane in 0..32 {
        let counter = [0, 0, 0, 0, 0, 1, 2, 3][(mix(seed << 32 | 2000 << 8 | lane) & 7) as usize];
        let low = &mut simd.regs[0].0[lane as usize];
        *low = (*low & 0xffff_0000) | counter;
        exec |= u32::from(counter == 0) << lane;
    }
    simd.alive = u32::MAX;
    simd.set_exec(exec);
}

fn hash(simd: &Simd) -> u64 {
    let step = |hash: u64, value: u32| (hash ^ u64::from(value)).wrapping_mul(0x100_0000_01b3);
    let start = 0xcbf2_9ce4_8422_2325;
    let hash = simd.regs.iter().flat_map(|r| r.0).fold(start, step);
    (0..32).map(|lane| simd.exec >> lane & 1).fold(hash, step)
}

fn launch() -> Launch {
    Launch {
        uniforms: Box::new([0; 256]),
        textures: Vec::new(),
        samplers: Vec::new(),
        heap: SamplerHeap::default(),
        grid: [32, 1, 1],
        local: [32, 1, 1],
        vm_slot: 0,
        soft_faults: true,
    }
}

/// Runs one instruction; the hash, or why not.
fn execute(code: &[u8], seed: u64, cpu: Cpu) -> Result<u64, String> {
    let instr = decode(code).map_err(|error| error.to_string())?;
    let program = Program::of_instructions(&[&instr]);
    let mut launch = launch();
    let mut simd = Simd::new();
    prepare(&mut simd, &mut launch, seed);
    let mut context = Context::new(launch.into(), &Nothing, 0);
    match simd.run(cpu, &program, &mut context) {
        Outcome::Done => Ok(hash(&simd)),
        outcome => Err(format!("{outcome:?}")),
    }
}

/// How many vectors there are, how many the model refuses to execute, and what it executes wrongly.
fn check(list: &str) -> (usize, usize, Vec<String>) {
    let mut wrong = Vec::new();
    let (mut lines, mut refused) = (0, 0);
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let code = words.next().unwrap();
        let seed = u64::from_str_radix(words.next().unwrap(), 16).unwrap();
        let expected = u64::from_str_radix(words.next().unwrap(), 16).unwrap();
        let code: Vec<u8> = (0..code.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&code[i..i + 2], 16).unwrap())
            .collect();
        lines += 1;
        for cpu in Cpu::all() {
            let got = execute(&code, seed, cpu);
            refused += usize::from(got.is_err() && cpu == Cpu::Baseline);
            if got.is_ok_and(|hash| hash != expected) {
                wrong.push(format!("{line} {cpu:?}: {:?}", decode(&code)));
            }
        }
    }
    (lines, refused, wrong)
}

#[test]
fn emulator_agrees() {
    let (lines, refused, wrong) = check(include_str!("../../tests/exec-vectors.txt"));
    assert!(
        wrong.is_empty() && refused == 0 && lines > 300,
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn more_vectors() {
    if let Some(path) = std::env::var_os("VAGX_EXEC_VECTORS") {
        let (lines, refused, wrong) = check(&std::fs::read_to_string(path).unwrap());
        println!("{lines} vectors, of which {refused} are refused");
        assert!(
            wrong.is_empty(),
            "{} of {lines} wrong:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
}

#[test]
fn stop_ends_the_active_threads_only() {
    // if r2 == 0: stop; r1 = 1
    let codes: [&[u8]; 4] = [
        &[0x52, 0x08, 0x44, 0x02, 0x00, 0x00],
        &[0x88, 0x00],
        &[0x52, 0x0e, 0x00, 0x00, 0x00, 0x00],
        &[0x7e, 0x05, 0x01, 0x08, 0x80, 0x00],
    ];
    let instrs = codes.map(|code| decode(code).unwrap());
    let program = Program::of_instructions(&instrs.each_ref());
    let mut simd = Simd::new();
    let mut launch = launch();
    prepare(&mut simd, &mut launch, 1);
    simd.set_exec(u32::MAX);
    simd.regs[0] = Lanes::ZERO;
    simd.regs[1] = Lanes::ZERO;
    simd.regs[2] = Lanes(std::array::from_fn(|lane| lane as u32 % 3));
    let mut context = Context::new(launch.into(), &Nothing, 0);
    assert_eq!(
        simd.run(Cpu::Baseline, &program, &mut context),
        Outcome::Done
    );
    let expected = std::array::from_fn(|lane| u32::from(lane % 3 != 0));
    assert_eq!(simd.regs[1], Lanes(expected));
}

/// Nanoseconds that this thread has run.
fn on_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = stat.split(' ').next().unwrap_or_default();
    first.parse().unwrap_or_default()
}

/// Times single instructions: `cargo test --release -p vagx-gpu --lib speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let cases = [
        "3a9d84622dd00200",
        "ba91b64128ae0100",
        "9a89c4c21200",
        "92184e421a00c124",
        "ae118626280b0000",
        "2a8dc0421800",
        "7e0d4622a500",
        "9e1186866c860600",
    ];
    for code in cases {
        let bytes: Vec<u8> = (0..code.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&code[i..i + 2], 16).unwrap())
            .collect();
        let instr = match decode(&bytes) {
            Ok(instr) => instr,
            Err(error) => {
                println!("{code}: {error}");
                continue;
            }
        };
        let program = Program::of_instructions(&[&instr; 1000]);
        for cpu in Cpu::all() {
            let mut launch = launch();
            let mut simd = Simd::new();
            prepare(&mut simd, &mut launch, 1);
            simd.set_exec(u32::MAX);
            for (r, register) in simd.regs.iter_mut().enumerate() {
                *register = Lanes(std::array::from_fn(|lane| {
                    (r as f32 + lane as f32 / 64.0).to_bits()
                }));
            }
            launch.uniforms.fill(1.25f32.to_bits());
            let mut context = Context::new(launch.into(), &Nothing, 0);
            let start = on_cpu();
            let rounds = 3000;
            for _ in 0..rounds {
                simd.pc = 0;
                simd.run(cpu, &program, &mut context);
            }
            let each = (on_cpu() - start) / f64::from(rounds) / 1000.0;
            println!("{each:6.1} ns {cpu:?} {instr:?}");
        }
    }
}
