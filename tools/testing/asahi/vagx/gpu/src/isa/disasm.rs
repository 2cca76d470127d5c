// SPDX-License-Identifier: MIT OR Apache-2.0

//! Disassembly in the form that Mesa's disassembler gives.

use super::names;
use super::table::Kind;
use super::{DecodeError, Instr, Operand, Place, decode, minifloat};
use std::fmt::Write as _;
use std::io::{self, BufRead, Write};

/// The instruction as text: mnemonic, destination, sources, numbers, choices.
pub fn disassemble(instr: &Instr) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut sources = instr.sources.iter();
    for field in &instr.spec.fields {
        match field.kind {
            Kind::Dest(_) => parts.push(match &instr.dest {
                Some(op) if op.place != Place::None => operand(op),
                _ => "_".into(),
            }),
            Kind::Source(_) => {
                if let Some(op) = sources.next().filter(|op| op.place != Place::None) {
                    parts.push(operand(op));
                }
            }
            Kind::Number { .. } => parts.push(instr.field(field.name).to_string()),
            Kind::Choice(choices) => {
                // Two choices of one instruction may share a name; the bits decide.
                let name = names::name(choices, field.bits.extract(instr.word));
                parts.extend(name.filter(|n| !n.is_empty()).map(String::from));
            }
            Kind::Flag => {
                if instr.flag(field.name) {
                    parts.push(field.name.into());
                }
            }
        }
    }
    if parts.is_empty() {
        instr.mnemonic().into()
    } else {
        format!("{:<8} {}", instr.mnemonic(), parts.join(", "))
    }
}

fn operand(op: &Operand) -> String {
    let mut text = String::new();
    if op.discard {
        text.push('^');
    }
    if op.cache {
        text.push('$');
    }
    let prefix = match op.place {
        Place::None => "",
        Place::Reg => "r",
        Place::Uniform => "u",
        Place::Cf => "cf",
        Place::Ts => "ts",
        Place::Ss => "ss",
        Place::Imm | Place::FImm => "",
    };
    // Writing to a String does not fail.
    let _ = match op.place {
        Place::FImm => write!(text, "{:?}", minifloat(op.value as u8)),
        Place::Reg | Place::Uniform => {
            for i in 0..i32::from(op.count) {
                let half = op.value + i * i32::from(op.size / 16);
                let wide = if op.size == 64 { "d" } else { "" };
                let side = match op.size {
                    16 if half & 1 != 0 => "h",
                    16 => "l",
                    _ => "",
                };
                let join = if i > 0 { "_" } else { "" };
                let _ = write!(text, "{join}{wide}{prefix}{}{side}", half >> 1);
            }
            Ok(())
        }
        _ => write!(text, "{prefix}{}", op.value),
    };
    for (set, suffix) in [(op.abs, ".abs"), (op.neg, ".neg"), (op.sx, ".sx")] {
        if set {
            text.push_str(suffix);
        }
    }
    text
}

/// Reads one encoding in hexadecimal a line (what follows the first blank is ignored) and writes for each the bytes of
/// the instruction, its length and its text. Returns the number of lines that are not a known instruction.
pub fn disasm_lines(input: impl BufRead, mut output: impl Write) -> io::Result<usize> {
    let mut unknown = 0;
    for line in input.lines() {
        let line = line?;
        let Some(word) = line.split_ascii_whitespace().next() else {
            continue;
        };
        match from_hex(word)
            .ok_or(DecodeError::Unknown)
            .and_then(|b| decode(&b))
        {
            Ok(instr) => {
                let length = usize::from(instr.length);
                let bytes: String = instr.word.to_le_bytes()[..length]
                    .iter()
                    .map(|b| format!("{b:02x}"))
                    .collect();
                writeln!(output, "{bytes:<24} {length:>2}  {}", disassemble(&instr))?;
            }
            Err(error) => {
                unknown += 1;
                writeln!(output, "{word:<24}  ?  <{error}>")?;
            }
        }
    }
    Ok(unknown)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok())
        .collect()
}
