// SPDX-License-Identifier: MIT OR Apache-2.0

//! The instruction set as data.
//!
//! Every bit position is a fact taken from Mesa, `src/asahi/isa/AGX2.xml`. A row says which bits make an encoding this
//! instruction, how long it is, and where its fields lie. Fields are written in the order in which the disassembly shows
//! them:
//!
//! - `d.kind[bits]`, `s.kind[bits]`: a destination or source, encoded as `kind` (see `operand.rs`);
//! - `#name[bits]`, `-name[bits]`: an unsigned or signed number;
//! - `name:enum[bits]`: a choice, by the names in `names.rs`;
//! - `name[bits]`: a flag, shown by its name when it is set.
//!
//! `bits` lists inclusive ranges, least significant first. An instruction of two lengths, `short/long@bit`, is long when
//! that bit is set; the bits that the short form lacks read as zero.
//!
//! The rows are tried in order: where two match, the first is the more specific one.

mod alu;
mod control;
mod float;
mod graphics;
mod memory;
mod simd;
mod sync;

use super::Op;
use super::names::{self, Names};
use super::operand::Enc;
use std::sync::LazyLock;

/// A row as written in the tables.
pub(super) struct Row {
    op: Op,
    display: &'static str,
    length: &'static str,
    mask: u128,
    value: u128,
    fields: &'static str,
}

const fn row(
    op: Op,
    display: &'static str,
    length: &'static str,
    mask: u128,
    value: u128,
    fields: &'static str,
) -> Row {
    Row {
        op,
        display,
        length,
        mask,
        value,
        fields,
    }
}

/// Bits gathered from ranges of an instruction, least significant first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bits {
    ranges: [(u8, u8); 5],
    count: u8,
}

impl Bits {
    /// Reads `"0:5 9"`. The tables are constants, so that a mistake in them is a bug of this crate and panics in every
    /// test; nothing from outside comes here.
    fn parse(text: &str) -> Bits {
        let mut bits = Bits::default();
        for part in text.split(' ') {
            let (first, last) = part.split_once(':').unwrap_or((part, part));
            let first: u8 = first.parse().expect("bit number");
            let last: u8 = last.parse().expect("bit number");
            bits.ranges[bits.count as usize] = (first, last - first + 1);
            bits.count += 1;
        }
        bits
    }

    pub(super) fn extract(&self, word: u128) -> u64 {
        let mut value = 0;
        let mut at = 0;
        for &(first, size) in &self.ranges[..self.count as usize] {
            value |= (((word >> first) as u64) & ((1 << size) - 1)) << at;
            at += size;
        }
        value
    }

    pub(super) fn size(&self) -> u32 {
        self.ranges[..self.count as usize]
            .iter()
            .map(|r| u32::from(r.1))
            .sum()
    }

    fn mask(&self) -> u128 {
        self.ranges[..self.count as usize]
            .iter()
            .fold(0, |m, &(first, size)| m | (((1u128 << size) - 1) << first))
    }
}

/// What a field of an instruction holds.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Dest(Enc),
    Source(Enc),
    Number { signed: bool },
    Choice(&'static Names),
    Flag,
}

/// A field of an instruction.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) bits: Bits,
}

/// A row made ready for decoding.
pub(super) struct Spec {
    pub(super) op: Op,
    pub(super) display: &'static str,
    pub(super) short: u8,
    pub(super) long: u8,
    pub(super) length_bit: u8,
    pub(super) mask: u128,
    pub(super) value: u128,
    /// Bits that mean something: fixed, or part of a field.
    pub(super) known: u128,
    pub(super) fields: Vec<Field>,
}

/// Splits `"a[1 2] b[3]"` into (`"a"`, bits, what follows the bracket up to the blank).
pub(super) fn split_fields(
    text: &'static str,
) -> impl Iterator<Item = (&'static str, Option<Bits>, &'static str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        if rest.is_empty() {
            return None;
        }
        let end = rest.find([' ', '[']).unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        if let Some(tail) = tail.strip_prefix('[') {
            let close = tail.find(']').expect("closing bracket");
            let bits = Bits::parse(&tail[..close]);
            let tail = &tail[close + 1..];
            let end = tail.find(' ').unwrap_or(tail.len());
            rest = &tail[end..];
            Some((name, Some(bits), &tail[..end]))
        } else {
            rest = tail;
            Some((name, None, ""))
        }
    })
}

impl Spec {
    fn new(row: &Row) -> Spec {
        let (lengths, bit) = row.length.split_once('@').unwrap_or((row.length, "0"));
        let (short, long) = lengths.split_once('/').unwrap_or((lengths, lengths));
        let length_bit: u8 = bit.parse().expect("length bit");
        let mut known = row.mask;
        if short != long {
            known |= 1 << length_bit;
        }
        let fields: Vec<Field> = split_fields(row.fields)
            .map(|(name, bits, _)| {
                let bits = bits.expect("bits");
                known |= bits.mask();
                let (name, kind) = if let Some(kind) = name.strip_prefix("d.") {
                    ("dest", Kind::Dest(Enc::named(kind)))
                } else if let Some(kind) = name.strip_prefix("s.") {
                    ("source", Kind::Source(Enc::named(kind)))
                } else if let Some(name) = name.strip_prefix('#') {
                    (name, Kind::Number { signed: false })
                } else if let Some(name) = name.strip_prefix('-') {
                    (name, Kind::Number { signed: true })
                } else if let Some((name, choice)) = name.split_once(':') {
                    (name, Kind::Choice(names::of(choice)))
                } else {
                    (name, Kind::Flag)
                };
                Field { name, kind, bits }
            })
            .collect();
        Spec {
            op: row.op,
            display: row.display,
            short: short.parse().expect("length"),
            long: long.parse().expect("length"),
            length_bit,
            mask: row.mask,
            value: row.value,
            known,
            fields,
        }
    }
}

static SPECS: LazyLock<Vec<Spec>> = LazyLock::new(|| {
    [
        alu::ROWS,
        float::ROWS,
        control::ROWS,
        simd::ROWS,
        memory::ROWS,
        sync::ROWS,
        graphics::ROWS,
    ]
    .into_iter()
    .flatten()
    .map(Spec::new)
    .collect()
});

/// For each value of the first byte, the rows that it may start.
static BY_FIRST_BYTE: LazyLock<Vec<Vec<&'static Spec>>> = LazyLock::new(|| {
    (0..256u128)
        .map(|byte| {
            SPECS
                .iter()
                .filter(|s| (byte ^ s.value) & s.mask & 0xff == 0)
                .collect()
        })
        .collect()
});

/// The row that `word`, zero-extended from what is left of the program, is an encoding of.
pub(super) fn find(word: u128) -> Option<&'static Spec> {
    BY_FIRST_BYTE[(word & 0xff) as usize]
        .iter()
        .copied()
        .find(|spec| {
            let word = word & spec.length_mask(word);
            word & spec.mask == spec.value
        })
}

impl Spec {
    pub(super) fn length(&self, word: u128) -> u8 {
        if word >> self.length_bit & 1 != 0 {
            self.long
        } else {
            self.short
        }
    }

    pub(super) fn length_mask(&self, word: u128) -> u128 {
        (1 << (self.length(word) * 8)) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_well_formed() {
        assert_eq!(SPECS.len(), 136);
        for spec in SPECS.iter() {
            assert_eq!(spec.value & !spec.mask, 0, "{:?}", spec.op);
            assert!(
                matches!(spec.long, 2 | 4 | 6 | 8 | 10 | 12),
                "{:?}",
                spec.op
            );
            assert_eq!(spec.known >> (spec.long * 8), 0, "{:?}", spec.op);
        }
    }

    #[test]
    fn bits_gather_least_significant_first() {
        assert_eq!(Bits::parse("4:7 0:1").extract(0xa2), 0x2a);
    }
}
