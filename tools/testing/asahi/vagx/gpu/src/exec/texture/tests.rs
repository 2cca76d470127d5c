// SPDX-License-Identifier: MIT OR Apache-2.0

//! Instructions of Mesa's, run on a small texture.

use super::super::{Cpu, Launch, SamplerHeap};
use super::*;
use crate::cache::Program;
use crate::texture::tests::{BASE, Scene, gradient, set};
use std::sync::Arc;

/// Where states lie that programs find by themselves: beyond the texels.
const STATES: u64 = BASE + 0x8000;

struct Run {
    scene: Scene,
    launch: Launch,
    registers: Vec<(usize, u32)>,
}

impl Run {
    fn new(scene: Scene) -> Self {
        let launch = Launch {
            textures: vec![scene.texture],
            samplers: vec![[0; 24], scene.sampler],
            grid: [32, 1, 1],
            local: [32, 1, 1],
            ..Launch::default()
        };
        Run {
            scene,
            launch,
            registers: Vec::new(),
        }
    }

    /// The outcome of an instruction on all CPUs, and a register of it.
    fn run(&self, code: &[u8], register: usize) -> Result<u32, Outcome> {
        let instr = crate::isa::decode(code).unwrap();
        let program = Program::of_instructions(&[&instr]);
        let launch = Arc::new(self.launch.clone());
        let mut results = Cpu::all().into_iter().map(|cpu| {
            let mut context = Context::new(Arc::clone(&launch), &self.scene.space, 0);
            let mut simd = Simd::new();
            simd.start(&program, &launch, [0; 3], 0);
            for &(register, value) in &self.registers {
                simd.regs[register] = Lanes::splat(value);
            }
            match simd.run(cpu, &program, &mut context) {
                Outcome::Done => Ok(simd.regs[register].0[17]),
                outcome => Err(outcome),
            }
        });
        let first = results.next().unwrap();
        assert!(results.all(|result| result == first));
        first
    }
}

/// `smpf r16_r17_r18, ts0, ss1, ^r0, u10l, 2d, xyz, auto_lod_bias`
const BOUND: [u8; 8] = [0x31, 0x41, 0x40, 0x14, 0x00, 0x62, 0x17, 0x01];

/// `smpf r4_r5_r6_r7, du0, r1, r0h, r2, u12l, 2d, xyzw, auto_lod_bias`
const BINDLESS: [u8; 8] = [0x31, 0x11, 0x04, 0x18, 0xc2, 0x62, 0x1f, 0x41];

#[test]
fn bound_states() {
    let mut run = Run::new(gradient());
    run.registers = vec![(0, 0.375f32.to_bits()), (1, 0.625f32.to_bits())];
    assert_eq!(run.run(&BOUND, 16), Ok((16.0f32 / 255.0).to_bits()));
    assert_eq!(run.run(&BOUND, 17), Ok((32.0f32 / 255.0).to_bits()));
    run.launch.textures.clear();
    assert_eq!(run.run(&BOUND, 16), Err(Outcome::Unsupported));
    run.launch.textures.push([0xff; 24]);
    assert_eq!(run.run(&BOUND, 16), Err(Outcome::Unsupported));
}

#[test]
fn states_that_programs_find() {
    let mut run = Run::new(gradient());
    run.scene.write(STATES, &run.scene.texture);
    // The heap's second sampler clamps to a white border; the bound one to the edge.
    let mut white = run.scene.sampler;
    for (at, value) in [(29, 3), (32, 3), (55, 2)] {
        set(&mut white, at, value);
    }
    run.scene.write(STATES + 64 + 8, &white[..8]);
    run.launch.heap = SamplerHeap {
        address: STATES + 64,
        count: 2,
    };
    run.launch.uniforms[0] = (STATES - 8) as u32;
    let coords = [(2, 9f32.to_bits()), (3, 0.5f32.to_bits())];
    run.registers = vec![(0, 29 << 16), (1, 8), coords[0], coords[1]];
    assert_eq!(run.run(&BINDLESS, 4), Ok(1f32.to_bits()));
    run.registers[0] = (0, 1 << 16);
    assert_eq!(run.run(&BINDLESS, 4), Ok((48.0f32 / 255.0).to_bits()));
    run.registers[0] = (0, 30 << 16);
    assert_eq!(run.run(&BINDLESS, 4), Err(Outcome::Unsupported));
    run.launch.uniforms[1] = 1;
    run.registers[0] = (0, 29 << 16);
    assert_eq!(run.run(&BINDLESS, 4), Err(Outcome::Fault));
}
