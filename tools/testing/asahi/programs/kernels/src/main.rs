// SPDX-License-Identifier: MIT OR Apache-2.0

//! `kernels`: runs OpenCL kernels on whichever device comes first, and prints what each made, so that two
//! implementations can be compared line by line. `kernels NAME` prints all words that this kernel made.

mod cl;

use std::process::ExitCode;

const SOURCE: &str = include_str!("kernels.cl");
const KERNELS: [&str; 7] = [
    "integers", "longs", "small", "floats", "control", "groups", "atomics",
];
const WORDS: usize = 8192;
const GROUP: usize = 64;

/// Words that look random, with some among them that are special.
fn words() -> Vec<u32> {
    let mut state = 1u32;
    let mut next = || {
        // Marsaglia, "Xorshift RNGs".
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let special = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX];
    (0..WORDS)
        .map(|i| match i % 29 {
            at @ 0..5 => special[at],
            _ => next(),
        })
        .collect()
}

/// A number for all words (Fowler, Noll and Vo).
fn digest(words: &[u32]) -> u64 {
    words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| {
        (hash ^ u64::from(*word)).wrapping_mul(0x100_0000_01b3)
    })
}

fn run() -> anyhow::Result<()> {
    let options = format!("-DWORDS={WORDS} -DGROUP={GROUP}");
    let device = cl::Device::new(SOURCE, &options)?;
    eprintln!("on {}", device.name);
    let words = words();
    if let Some(name) = std::env::args().nth(1) {
        for (given, made) in words.iter().zip(device.run(&name, &words, GROUP)?) {
            println!("{given:08x} {made:08x}");
        }
        return Ok(());
    }
    for kernel in KERNELS {
        let out = device.run(kernel, &words, GROUP)?;
        // Parts, so that it shows where two results differ.
        let parts: Vec<String> = out
            .chunks(WORDS / 8)
            .map(|part| format!("{:016x}", digest(part)))
            .collect();
        println!("{kernel} {}", parts.join(" "));
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kernels: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kernels_have_a_line() {
        for kernel in KERNELS {
            assert!(
                SOURCE.contains(&format!("kernel void {kernel}(")),
                "{kernel}"
            );
        }
        assert_ne!(digest(&[1, 2]), digest(&[2, 1]));
    }
}
