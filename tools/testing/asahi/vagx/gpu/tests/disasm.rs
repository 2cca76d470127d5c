// SPDX-License-Identifier: MIT OR Apache-2.0

//! The disassembler against what Mesa 26.1's own printed for the same encodings.
//!
//! `instructions.txt` is a sample of what its compiler emitted. A longer list of the same form is checked as well when
//! VAGX_INSTRUCTIONS names one.

use vagx_gpu::isa::{decode, disassemble};

fn squeeze(text: &str) -> String {
    text.split_ascii_whitespace().collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect()
}

fn check(list: &str) -> usize {
    let mut lines = 0;
    let mut wrong = Vec::new();
    for line in list
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        let (hex, text) = line.split_once(' ').unwrap();
        let bytes = bytes(hex);
        lines += 1;
        match decode(&bytes) {
            Ok(instr) => {
                let got = disassemble(&instr);
                if squeeze(&got) != squeeze(text) || usize::from(instr.length) != bytes.len() {
                    wrong.push(format!("{hex}: {text} | {got} ({} bytes)", instr.length));
                }
            }
            Err(error) => wrong.push(format!("{hex}: {text} | {error}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {lines} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    lines
}

#[test]
fn sample() {
    assert!(check(include_str!("instructions.txt")) > 400);
}

/// A hash of a text without its white space.
fn hash(text: &str) -> u32 {
    squeeze(text).bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[test]
fn cases_of_mesa() {
    let list = include_str!("mesa-cases.txt");
    let mut lines = 0;
    for line in list.lines().filter(|l| !l.starts_with('#')) {
        let (hex, expected) = line.split_once(' ').unwrap();
        let instr = decode(&bytes(hex)).unwrap();
        let text = disassemble(&instr);
        assert_eq!(format!("{:08x}", hash(&text)), expected, "{hex}: {text}");
        assert_eq!(usize::from(instr.length) * 2, hex.len(), "{hex}: {text}");
        lines += 1;
    }
    assert_eq!(lines, 555);
}

#[test]
fn long_list() {
    if let Some(path) = std::env::var_os("VAGX_INSTRUCTIONS") {
        let lines = check(&std::fs::read_to_string(path).unwrap());
        println!("{lines} lines");
    }
}
