// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs as text.

use std::fmt::{self, Write};

use vagx_gpu::isa;

/// The instruction's bytes and text.
fn instruction(code: &[u8]) -> (usize, String) {
    match isa::decode(code) {
        Ok(instr) => (usize::from(instr.length).max(2), isa::disassemble(&instr)),
        Err(error) => (code.len(), error.to_string()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Lists programs, which are addresses and code.
pub fn list(programs: &[(u64, Vec<u8>)], out: &mut dyn Write) -> fmt::Result {
    for (address, code) in programs {
        writeln!(out, "program at {address:#x}, {} bytes", code.len())?;
        let mut at = 0;
        while at < code.len() {
            let (length, text) = instruction(&code[at..]);
            let bytes = hex(&code[at..(at + length).min(code.len())]);
            writeln!(out, "  {:#x}  {bytes:<24}  {text}", address + at as u64)?;
            at += length;
        }
    }
    Ok(())
}

/// The instruction at an address.
pub fn at(programs: &[(u64, Vec<u8>)], address: u64) -> Option<String> {
    programs.iter().find_map(|(start, code)| {
        let offset = usize::try_from(address.checked_sub(*start)?).ok()?;
        let rest = code.get(offset..).filter(|rest| !rest.is_empty())?;
        Some(instruction(rest).1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_listed() {
        let programs = [(0x1000, vec![0x72, 0x01, 0x10, 0x04, 0x88, 0x00])];
        let mut text = String::new();
        list(&programs, &mut text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "program at 0x1000, 6 bytes");
        assert!(lines[1].starts_with("  0x1000  72011004"), "{text}");
        assert!(lines[2].starts_with("  0x1004  8800") && lines[2].ends_with("stop"));
        assert_eq!(at(&programs, 0x1004).unwrap().trim(), "stop");
        assert_eq!(at(&programs, 0x1006), None);
    }
}
