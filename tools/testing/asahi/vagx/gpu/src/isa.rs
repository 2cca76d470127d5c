// SPDX-License-Identifier: MIT OR Apache-2.0

//! The instruction set: decoding into typed form, and disassembly.

mod disasm;
mod names;
mod op;
mod operand;
mod table;

pub use disasm::{disasm_lines, disassemble};
pub use op::Op;
pub use operand::{Operand, Place};

use table::{Kind, Spec};

/// The longest instruction, in bytes.
pub const MAX_LENGTH: usize = 12;

/// Why bytes are not an instruction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No instruction begins like this.
    #[error("unknown encoding")]
    Unknown,
    /// The instruction goes on where the bytes end.
    #[error("{op:?} needs {need} bytes, {have} are left")]
    Short {
        /// The instruction.
        op: Op,
        /// Its length.
        need: usize,
        /// Bytes that there were.
        have: usize,
    },
    /// Bits are set that have no known meaning.
    #[error("{op:?} with unknown bits {bits:#x}")]
    UnknownBits {
        /// The instruction.
        op: Op,
        /// Those bits.
        bits: u128,
    },
    /// An operand's bits are no valid operand.
    #[error("invalid {encoding} operand {value:#x}")]
    Operand {
        /// The operand's encoding.
        encoding: &'static str,
        /// Its bits.
        value: u64,
    },
    /// A choice out of range.
    #[error("{op:?} with unknown {field} {value}")]
    Choice {
        /// The instruction.
        op: Op,
        /// The field's name.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

/// A decoded instruction.
#[derive(Clone)]
pub struct Instr {
    /// Which instruction.
    pub op: Op,
    /// Length in bytes.
    pub length: u8,
    /// The bytes, zero-extended.
    pub word: u128,
    /// The destination, for those that have one.
    pub dest: Option<Operand>,
    /// The sources, in the order of the disassembly.
    pub sources: Vec<Operand>,
    fields: Vec<(&'static str, i64)>,
    spec: &'static Spec,
}

impl Instr {
    /// A number, choice or flag by its name; zero for one that this instruction does not have.
    pub fn field(&self, name: &str) -> i64 {
        self.fields.iter().find(|f| f.0 == name).map_or(0, |f| f.1)
    }

    /// Whether a flag is set.
    pub fn flag(&self, name: &str) -> bool {
        self.field(name) != 0
    }

    /// The instruction's mnemonic.
    pub fn mnemonic(&self) -> &'static str {
        self.spec.display
    }
}

/// Decodes the instruction that `code` begins with.
pub fn decode(code: &[u8]) -> Result<Instr, DecodeError> {
    let have = code.len().min(MAX_LENGTH);
    let mut bytes = [0; 16];
    bytes[..have].copy_from_slice(&code[..have]);
    let all = u128::from_le_bytes(bytes);
    let spec = table::find(all).ok_or(DecodeError::Unknown)?;
    let op = spec.op;
    let length = spec.length(all);
    if usize::from(length) > have {
        return Err(DecodeError::Short {
            op,
            need: length.into(),
            have,
        });
    }
    let word = all & spec.length_mask(all);
    let unknown = word & !spec.known;
    if unknown != 0 {
        return Err(DecodeError::UnknownBits { op, bits: unknown });
    }
    let mut instr = Instr {
        op,
        length,
        word,
        dest: None,
        sources: Vec::new(),
        fields: Vec::new(),
        spec,
    };
    for field in &spec.fields {
        let value = field.bits.extract(word);
        match field.kind {
            Kind::Dest(enc) => instr.dest = Some(enc.decode(value)?),
            Kind::Source(enc) => instr.sources.push(enc.decode(value)?),
            Kind::Number { signed } => {
                let unused = 64 - field.bits.size();
                let value = value as i64;
                let value = if signed {
                    value << unused >> unused
                } else {
                    value
                };
                instr.fields.push((field.name, value));
            }
            Kind::Choice(choices) => {
                if names::name(choices, value).is_none() {
                    return Err(DecodeError::Choice {
                        op,
                        field: field.name,
                        value,
                    });
                }
                instr.fields.push((field.name, value as i64));
            }
            Kind::Flag => instr.fields.push((field.name, value as i64)),
        }
    }
    Ok(instr)
}

impl std::fmt::Debug for Instr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&disassemble(self))
    }
}

/// The value of an 8-bit floating-point immediate: sign, three bits of exponent and four of mantissa, subnormal when
/// the exponent is zero (Mesa, `src/asahi/isa/agx_minifloat.h`).
pub fn minifloat(bits: u8) -> f32 {
    let mantissa = f32::from(bits & 0xf);
    let value = match bits >> 4 & 7 {
        0 => mantissa / 64.0,
        exponent => (mantissa + 16.0) * f32::from(1u16 << exponent) / 128.0,
    };
    if bits & 0x80 != 0 { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minifloats() {
        assert_eq!(minifloat(0x00).to_bits(), 0);
        assert_eq!(minifloat(0x80).to_bits(), 1 << 31);
        assert_eq!(minifloat(0x30), 1.0);
        assert_eq!(minifloat(0x01), 1.0 / 64.0);
        assert_eq!(minifloat(0x7f), 31.0);
        assert_eq!(minifloat(0xa8), -0.75);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert_eq!(decode(&[0xff; 12]).unwrap_err(), DecodeError::Unknown);
        assert!(decode(&[]).is_err());
        assert!(matches!(
            decode(&[0x2a, 0x8c]),
            Err(DecodeError::Short { op: Op::Fadd, .. })
        ));
    }
}
