// SPDX-License-Identifier: MIT OR Apache-2.0

//! Disassembly in the form that Mesa's disassembler gives.

use super::names;
use super::table::Kind;
use super::{Instr, Operand, Place, decode, minifloat};
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

/// Reads one encoding in hexadecimal a line (what follows the first blank is ignored, and so are empty lines and lines
/// that begin with `#`) and writes for each the encoding, its length and its text. What is wrong with a line goes to
/// `errors`, with its number. Returns how many were wrong.
pub fn disasm_lines(
    input: impl BufRead,
    mut output: impl Write,
    mut errors: impl Write,
) -> io::Result<usize> {
    let mut wrong = 0;
    for (line, number) in input.split(b'\n').zip(1u64..) {
        let line = line?;
        let text = String::from_utf8_lossy(&line);
        let Some(word) = text.split_ascii_whitespace().next() else {
            continue;
        };
        if word.starts_with('#') {
            continue;
        }
        match one(word) {
            Ok(instr) => {
                let length = instr.length;
                writeln!(output, "{word:<24} {length:>2}  {}", disassemble(&instr))?;
            }
            Err(why) => {
                wrong += 1;
                writeln!(errors, "line {number}: {word}: {why}")?;
            }
        }
    }
    Ok(wrong)
}

/// The instruction that an encoding is, all of it.
fn one(word: &str) -> Result<Instr, String> {
    let bytes = from_hex(word).ok_or("not bytes in hexadecimal")?;
    let instr = decode(&bytes).map_err(|error| error.to_string())?;
    match bytes.len() - usize::from(instr.length) {
        0 => Ok(instr),
        more => Err(format!(
            "{} bytes long, {more} follow: {}",
            instr.length,
            disassemble(&instr)
        )),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let input = "8800 stop\n\n# a comment\n880\n3800\tx\nffff\n88000000\n\u{e9}\n";
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let wrong = disasm_lines(input.as_bytes(), &mut out, &mut errors).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, errors) = (text(out), text(errors));
        let words: Vec<_> = out.split_ascii_whitespace().collect();
        assert_eq!(words, ["8800", "2", "stop", "3800", "2", "wait", "a"]);
        let numbers: Vec<_> = errors
            .lines()
            .map(|l| l.split(':').next().unwrap())
            .collect();
        assert_eq!(numbers, ["line 4", "line 6", "line 7", "line 8"]);
        assert_eq!(wrong, 4);
    }
}
