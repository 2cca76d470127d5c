// SPDX-License-Identifier: MIT OR Apache-2.0

//! A short run of what fuzzers do for hours: all seeds as they are, some with changes that are the same each time, and
//! everything that once was a finding.

use std::fs;
use std::path::Path;

use vagx_fuzz::{Kind, compute, program, render, run, seeds};

type Target = fn(&[u8]);

/// Numbers that look random (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One byte that picks, and some changes of eight bytes.
    fn input(&mut self, changes: usize) -> Vec<u8> {
        let mut input = vec![self.next() as u8];
        for _ in 0..changes {
            input.extend(self.next().to_le_bytes());
        }
        input
    }
}

#[test]
fn seeds_run_to_their_end() {
    for kind in [Kind::Compute, Kind::Render] {
        for seed in seeds(kind) {
            let result = run(&seed.image(), &seed.job, &());
            assert_eq!(result, Ok(()), "{}", seed.name);
        }
    }
}

#[test]
fn changed_jobs_end() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for round in 0..300 {
        let input = noise.input(1 + round % 8);
        compute(&input);
        render(&input);
    }
}

#[test]
fn programs_of_noise_end() {
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    for round in 0..500 {
        program(&noise.input(1 + round % 24));
    }
}

#[test]
fn what_was_found_stays_mended() {
    let targets: [(&str, Target); 3] = [
        ("compute", compute),
        ("render", render),
        ("program", program),
    ];
    for (name, target) in targets {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("regressions")
            .join(name);
        for entry in fs::read_dir(dir).unwrap().flatten() {
            target(&fs::read(entry.path()).unwrap());
        }
    }
}
