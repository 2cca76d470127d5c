// SPDX-License-Identifier: MIT OR Apache-2.0

//! Operands: how registers, uniforms, immediates and memory indices are encoded.

use super::DecodeError;
use super::table::{Bits, split_fields};
use std::sync::LazyLock;

/// Where an operand's value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: the operand is absent.
    #[default]
    None,
    /// General purpose register, numbered in 16-bit halves.
    Reg,
    /// Uniform register, numbered in 16-bit halves.
    Uniform,
    /// Coefficient register.
    Cf,
    /// Texture state register.
    Ts,
    /// Sampler state register.
    Ss,
    /// Integer immediate.
    Imm,
    /// Floating-point immediate, still in its 8-bit form.
    FImm,
}

/// A decoded operand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operand {
    /// The kind of place.
    pub place: Place,
    /// Register number (in halves) or immediate.
    pub value: i32,
    /// Bits per register: 16, 32 or 64.
    pub size: u8,
    /// Number of consecutive registers.
    pub count: u8,
    /// Absolute value (before `neg`).
    pub abs: bool,
    /// Negated.
    pub neg: bool,
    /// Sign-extended.
    pub sx: bool,
    /// Hint: keep in the register cache.
    pub cache: bool,
    /// Hint: this is the last use.
    pub discard: bool,
}

/// One way to read an operand's bits: taken when `bits & mask == value`.
struct Case {
    mask: u64,
    value: u64,
    parts: Vec<Part>,
}

enum Part {
    Place {
        place: Place,
        bits: Bits,
        shift: u32,
        signed: bool,
    },
    Size(u8),
    SizeBit {
        bits: Bits,
        size: u8,
    },
    Count(u8),
    CountBits(Bits),
    Mask(Bits),
    Hint(Bits),
    Cache(Bits),
    Discard(Bits),
    Abs(Bits),
    Neg(Bits),
    SignExtend(Bits),
    ZeroExtend(Bits),
}

/// A case as written below: mask, value, parts.
type CaseRow = (u64, u64, &'static str);

/// The encodings (Mesa, `src/asahi/isa/AGX2.xml`), each a list of cases tried in order.
///
/// `place[bits]` may be followed by `<<n`, a minus sign makes it signed; `size32[bit]` widens when the bit is set, a
/// bare `size32` always.
#[rustfmt::skip]
const ENCODINGS: &[(&str, &[CaseRow])] = &[
    ("diter", &[(0x0, 0x0, "reg[1:8] size32[0] count[9:10]")]),
    ("dldcf", &[(0x600, 0x200, "reg[1:8] size32[0] count=3")]),
    ("dalu", &[(0x0, 0x0, "reg[2:9] cache[0] size32[1]")]),
    ("dhalf", &[(0x2, 0x0, "reg[2:9] cache[0]")]),
    ("dalu64", &[
            (0x6, 0x6, "reg[3:9]<<1 cache[0] size64"),
            (0x6, 0x2, "reg[3:9]<<1 cache[0] size32"),
            (0x2, 0x0, "reg[2:9] cache[0] size16"),
    ]),
    ("ts", &[(0x0, 0x0, "ts[0:7]")]),
    ("ss", &[(0x0, 0x0, "ss[0:7]")]),
    ("uniform_dest", &[
            (0xf_0001, 0xf_0000, "uniform[0:15] size64"),
            (0xf_0001, 0x3_0000, "uniform[0:15] size32"),
            (0xf_0000, 0xf_0000, "uniform[0:15] count=4"),
            (0xf_0000, 0x7_0000, "uniform[0:15] count=3"),
            (0xf_0000, 0x3_0000, "uniform[0:15] count=2"),
            (0xf_0000, 0x1_0000, "uniform[0:15]"),
    ]),
    ("uniform_src", &[
            (0xf01, 0xf00, "reg[0:7] size64"),
            (0xf01, 0x300, "reg[0:7] size32"),
            (0xf00, 0xf00, "reg[0:7] count=4"),
            (0xf00, 0x700, "reg[0:7] count=3"),
            (0xf00, 0x300, "reg[0:7] count=2"),
            (0xf00, 0x100, "reg[0:7]"),
    ]),
    ("coord", &[
            (0x200, 0x0, "reg[0:7] lu[8] size32"),
            (0x200, 0x200, "reg[0:7] lu[8] size16"),
    ]),
    ("lod", &[
            (0xfff, 0x0, "imm[0]"),
            (0xf00, 0x400, "reg[0:7] size32 count=2"),
            (0xf00, 0xc00, "reg[0:7] size16 count=5"),
            (0xf00, 0x200, "uniform[0:7]"),
            (0xf00, 0x100, "uniform[0:7]"),
            (0xf00, 0x900, "uniform[0:7] count=2"),
            (0xf00, 0xd00, "reg[0:7] count=2"),
            (0xf00, 0x600, "reg[0:7]"),
            (0xf00, 0x500, "reg[0:7]"),
    ]),
    ("ureg64", &[(0x0, 0x0, "uniform[0:7]<<1 size64")]),
    ("ureg64_shift2", &[(0x0, 0x0, "uniform[0:6]<<2 size64")]),
    ("exreg16", &[(0x0, 0x0, "reg[0:7]")]),
    ("exreg32", &[(0x0, 0x0, "reg[0:7]<<1 size32")]),
    ("heap_offs", &[
            (0x8000_0000, 0x0, "reg[0:8] size32"),
            (0x8000_0000, 0x8000_0000, "imm[0:30] size32"),
    ]),
    ("atomic_dest", &[
            (0x100, 0x100, "reg[0:7] size32"),
            (0x1ff, 0x0, ""),
    ]),
    ("local_atomic_dest", &[
            (0x300, 0x300, "reg[0:7] size32"),
            (0x1ff, 0x0, ""),
    ]),
    ("atomic_source", &[
            (0xf00, 0x300, "reg[0:7] count=2 size32"),
            (0x0, 0x0, "reg[0:7] size32"),
    ]),
    ("memory", &[(0x0, 0x0, "reg[0:7] size32[8] mask[9:12]")]),
    ("uvs", &[
            (0x100, 0x0, "reg[0:7]"),
            (0x100, 0x100, "imm[0:7]"),
    ]),
    ("cf", &[
            (0x100, 0x0, "cf[0:7]"),
            (0x100, 0x100, "reg[0:7]"),
    ]),
    ("cfperspective", &[(0x0, 0x0, "cf[0:7]")]),
    ("itersample", &[
            (0x300, 0x300, "reg[0:7]"),
            (0x300, 0x100, "imm[0:7]"),
            (0x1ff, 0x0, ""),
    ]),
    ("pbesource", &[
            (0x100, 0x0, "reg[0:7] size16 count=4"),
            (0x100, 0x100, "reg[0:7] size32 count=4"),
    ]),
    ("membase", &[
            (0x101, 0x0, "reg[1:7]<<1 size64"),
            (0x101, 0x100, "uniform[1:7]<<1 size64"),
    ]),
    ("localmembase", &[
            (0x300, 0x0, "reg[0:7]"),
            (0x3ff, 0x200, ""),
            (0x100, 0x100, "uniform[0:7 9]"),
    ]),
    ("memindex", &[
            (0x1_ff01, 0x0, "reg[1:7]<<1 zx[17] size32"),
            (0x3_0000, 0x1_0000, "-imm[0:15]"),
            (0x3_0000, 0x3_0000, "imm[0:15]"),
    ]),
    ("localmemindex", &[
            (0x1_ff00, 0x0, "reg[0:7]"),
            (0x1_0000, 0x1_0000, "-imm[0:15]"),
    ]),
    ("cmpsel", &[
            (0x1c0, 0x100, "imm[0:5 9:10]"),
            (0x100, 0x0, "reg[0:5 9:10] hint[6:7] size32[11]"),
            (0x180, 0x180, "uniform[0:5 9:10 6] size32[11]"),
    ]),
    ("alu", &[
            (0x3c0, 0x0, "imm[0:5 10:11]"),
            (0x300, 0x100, "uniform[0:5 10:11 6] size32[7]"),
            (0x100, 0x0, "reg[0:5 10:11] hint[6:7] size32[9]"),
    ]),
    ("mul", &[
            (0x3c0, 0x0, "imm[0:5 11:12] sx[10]"),
            (0x300, 0x100, "uniform[0:5 11:12 6] sx[10] size32[7]"),
            (0x100, 0x0, "reg[0:5 11:12] sx[10] hint[6:7] size32[9]"),
    ]),
    ("add", &[
            (0x3c0, 0x0, "imm[0:5 11:12] sx[10]"),
            (0x300, 0x100, "uniform[0:5 11:12 6] sx[10] size32[7]"),
            (0x0, 0x0, "reg[0:5 11:12] sx[10] hint[6:7] size64[8] size32[9]"),
    ]),
    ("float", &[
            (0x3c0, 0x0, "fimm[0:5 12:13] abs[10] neg[11]"),
            (0x300, 0x100, "uniform[0:5 12:13 6] abs[10] neg[11] size32[7]"),
            (0x100, 0x0, "reg[0:5 12:13] abs[10] neg[11] hint[6:7] size32[9]"),
    ]),
    ("half", &[
            (0x7c0, 0x0, "fimm[0:5 11:12] abs[9] neg[10]"),
            (0x180, 0x100, "uniform[0:5 11:12 6] abs[9] neg[10]"),
            (0x100, 0x0, "reg[0:5 11:12] abs[9] neg[10] hint[6:7]"),
    ]),
    ("discard", &[
            (0x100, 0x0, "reg[0:7]"),
            (0x100, 0x100, "imm[0:7]"),
    ]),
    ("samples", &[
            (0x100, 0x100, "reg[0:7]"),
            (0x100, 0x0, "imm[0:7]"),
    ]),
    ("tilecoord", &[
            (0x100, 0x0, "imm[0:7]"),
            (0x100, 0x100, "reg[0:7] count=2"),
    ]),
    ("zs", &[
            (0x3ff, 0x0, ""),
            (0x300, 0x100, "reg[0:7] size32"),
            (0x300, 0x200, "reg[0:7]"),
            (0x300, 0x300, "reg[0:7] count=3"),
    ]),
    ("heap", &[
            (0x3f, 0x0, ""),
            (0x20, 0x20, "uniform[0:4]<<2 size64"),
    ]),
    ("texture", &[
            (0x300, 0x0, "ts[0:7]"),
            (0x300, 0x100, "reg[0:7]"),
            (0x300, 0x200, "imm[0:7]"),
            (0x300, 0x300, "reg[0:7] size32"),
    ]),
    ("sampler", &[
            (0x100, 0x0, "ss[0:7]"),
            (0x100, 0x100, "reg[0:7]"),
    ]),
];

impl Part {
    fn new(name: &str, bits: Option<Bits>, tail: &str) -> Part {
        let places = [
            ("reg", Place::Reg),
            ("uniform", Place::Uniform),
            ("cf", Place::Cf),
            ("ts", Place::Ts),
            ("ss", Place::Ss),
            ("imm", Place::Imm),
            ("fimm", Place::FImm),
        ];
        let (signed, plain) = match name.strip_prefix('-') {
            Some(plain) => (true, plain),
            None => (false, name),
        };
        let Some(bits) = bits else {
            return match name {
                "size16" => Part::Size(16),
                "size32" => Part::Size(32),
                "size64" => Part::Size(64),
                _ => Part::Count(
                    name.strip_prefix("count=")
                        .and_then(|n| n.parse().ok())
                        .expect("property"),
                ),
            };
        };
        if let Some(&(_, place)) = places.iter().find(|p| p.0 == plain) {
            let shift = tail
                .strip_prefix("<<")
                .map_or(0, |n| n.parse().expect("shift"));
            return Part::Place {
                place,
                bits,
                shift,
                signed,
            };
        }
        match name {
            "size32" => Part::SizeBit { bits, size: 32 },
            "size64" => Part::SizeBit { bits, size: 64 },
            "count" => Part::CountBits(bits),
            "mask" => Part::Mask(bits),
            "hint" => Part::Hint(bits),
            "cache" => Part::Cache(bits),
            "lu" => Part::Discard(bits),
            "abs" => Part::Abs(bits),
            "neg" => Part::Neg(bits),
            "sx" => Part::SignExtend(bits),
            "zx" => Part::ZeroExtend(bits),
            _ => panic!("operand part {name}"),
        }
    }
}

static CASES: LazyLock<Vec<Vec<Case>>> = LazyLock::new(|| {
    ENCODINGS
        .iter()
        .map(|(_, cases)| {
            cases
                .iter()
                .map(|&(mask, value, parts)| Case {
                    mask,
                    value,
                    parts: split_fields(parts)
                        .map(|(n, b, t)| Part::new(n, b, t))
                        .collect(),
                })
                .collect()
        })
        .collect()
});

/// An encoding of operands: an index into [`ENCODINGS`].
#[derive(Clone, Copy)]
pub(super) struct Enc(u8);

impl Enc {
    /// Finds an encoding by its name in the tables.
    pub(super) fn named(name: &str) -> Enc {
        let index = ENCODINGS.iter().position(|e| e.0 == name);
        Enc(index.expect("operand encoding") as u8)
    }

    /// Reads an operand from its gathered bits.
    pub(super) fn decode(self, word: u64) -> Result<Operand, DecodeError> {
        let (name, _) = ENCODINGS[self.0 as usize];
        let invalid = DecodeError::Operand {
            encoding: name,
            value: word,
        };
        let case = CASES[self.0 as usize]
            .iter()
            .find(|c| word & c.mask == c.value);
        let Some(case) = case else {
            return Err(invalid);
        };
        let get = |bits: &Bits| bits.extract(u128::from(word));
        let mut op = Operand {
            size: 16,
            count: 1,
            ..Operand::default()
        };
        for part in &case.parts {
            match part {
                Part::Place {
                    place,
                    bits,
                    shift,
                    signed,
                } => {
                    op.place = *place;
                    let raw = get(bits) << shift;
                    op.value = if *signed {
                        let unused = 64 - bits.size();
                        ((raw << unused) as i64 >> unused) as i32
                    } else {
                        raw as i32
                    };
                }
                Part::Size(size) => op.size = *size,
                Part::SizeBit { bits, size } => {
                    if get(bits) != 0 {
                        op.size = op.size.max(*size);
                    }
                }
                Part::Count(count) => op.count = *count,
                // A count of zero stands for four.
                Part::CountBits(bits) => {
                    op.count = if get(bits) == 0 { 4 } else { get(bits) as u8 }
                }
                Part::Mask(bits) => op.count = get(bits).count_ones().max(1) as u8,
                Part::Hint(bits) => match get(bits) {
                    1 => (),
                    2 => op.cache = true,
                    3 => op.discard = true,
                    _ => return Err(invalid),
                },
                Part::Cache(bits) => op.cache |= get(bits) != 0,
                Part::Discard(bits) => op.discard |= get(bits) != 0,
                Part::Abs(bits) => op.abs = get(bits) != 0,
                Part::Neg(bits) => op.neg = get(bits) != 0,
                Part::SignExtend(bits) => op.sx = get(bits) != 0,
                Part::ZeroExtend(bits) => op.sx = get(bits) == 0,
            }
        }
        // Registers wider than a half start at a whole one.
        let register = matches!(op.place, Place::Reg | Place::Uniform);
        if register && op.size > 16 && op.value & 1 != 0 {
            return Err(invalid);
        }
        Ok(op)
    }
}
