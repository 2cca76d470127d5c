// SPDX-License-Identifier: MIT OR Apache-2.0

//! Operand access, integer arithmetic, bit operations, comparisons.

use super::lanes::{Room, mask, room};
use super::{Lanes, Simd};
use crate::uop::*;

/// The value of a source that is the same for all lanes.
#[inline(always)]
pub(super) fn scalar(uniforms: &[u32; 256], val: Val) -> u32 {
    match val {
        Val::UFull(u) => uniforms[u as usize],
        Val::ULow(u) => uniforms[u as usize] & 0xffff,
        Val::UHigh(u) => uniforms[u as usize] >> 16,
        Val::Const(value) => value,
        Val::Full(_) | Val::Low(_) | Val::High(_) => 0,
    }
}

impl Simd {
    /// Raw bits of a source: a whole register as it is, anything else made in `room`.
    #[inline(always)]
    pub(super) fn at<'a>(
        &'a self,
        uniforms: &[u32; 256],
        val: Val,
        room: &'a mut Room,
    ) -> &'a Lanes {
        match val {
            Val::Full(r) => &self.regs[r as usize % 128],
            Val::Low(r) => room.write(self.regs[r as usize % 128].map(|x| x & 0xffff)),
            Val::High(r) => room.write(self.regs[r as usize % 128].map(|x| x >> 16)),
            _ => room.write(Lanes::splat(scalar(uniforms, val))),
        }
    }

    /// Raw bits of a source.
    #[inline(always)]
    pub(super) fn val(&self, uniforms: &[u32; 256], val: Val) -> Lanes {
        *self.at(uniforms, val, &mut Room::uninit())
    }

    #[inline(always)]
    pub(super) fn int_at<'a>(
        &'a self,
        uniforms: &[u32; 256],
        int: Int,
        room: &'a mut Room,
    ) -> &'a Lanes {
        if !int.extend16 {
            return self.at(uniforms, int.val, room);
        }
        room.write(match int.val {
            Val::Full(r) | Val::Low(r) => {
                self.regs[r as usize % 128].map(|x| x as u16 as i16 as u32)
            }
            Val::High(r) => self.regs[r as usize % 128].map(|x| ((x as i32) >> 16) as u32),
            _ => Lanes::splat(scalar(uniforms, int.val) as u16 as i16 as u32),
        })
    }

    #[inline(always)]
    pub(super) fn int(&self, uniforms: &[u32; 256], int: Int) -> Lanes {
        *self.int_at(uniforms, int, &mut Room::uninit())
    }

    /// Low and high words of a wide source.
    #[inline(always)]
    fn wide(&self, uniforms: &[u32; 256], wide: Wide) -> (Lanes, Lanes) {
        let low = self.int(uniforms, wide.low);
        let high = match wide.high {
            High::Zero => Lanes::ZERO,
            High::Sign => low.map(|x| ((x as i32) >> 31) as u32),
            High::Val(val) => self.val(uniforms, val),
        };
        (low, high)
    }

    /// Writes the active lanes of a destination.
    #[inline(always)]
    pub(super) fn put(&mut self, d: Dst, value: Lanes) {
        let full = self.exec == u32::MAX;
        let mask = &self.mask;
        match d {
            Dst::Full(r) => {
                let reg = &mut self.regs[r as usize % 128];
                if full {
                    *reg = value;
                } else {
                    *reg = value.select(&*reg, mask);
                }
            }
            Dst::Low(r) => {
                let reg = &mut self.regs[r as usize % 128];
                *reg = reg.zip3(value, mask, |old, new, m| {
                    let m = m & 0xffff;
                    (old & !m) | (new & m)
                });
            }
            Dst::High(r) => {
                let reg = &mut self.regs[r as usize % 128];
                *reg = reg.zip3(value, mask, |old, new, m| {
                    let m = m << 16;
                    (old & !m) | (new << 16 & m)
                });
            }
        }
    }

    /// Writes a whole register's active lanes.
    #[inline(always)]
    pub(super) fn put_full(&mut self, r: u8, value: Lanes) {
        self.put(Dst::Full(r), value);
    }

    #[inline(always)]
    pub(super) fn mad_wide(
        &mut self,
        uniforms: &[u32; 256],
        d: u8,
        [a, b, c]: [Wide; 3],
        shift: u8,
        neg: bool,
    ) {
        let (a, b, c) = (
            self.wide(uniforms, a),
            self.wide(uniforms, b),
            self.wide(uniforms, c),
        );
        let (mut low, mut high) = (Lanes::ZERO, Lanes::ZERO);
        for lane in 0..32 {
            let join = |w: &(Lanes, Lanes)| u64::from(w.1.0[lane]) << 32 | u64::from(w.0.0[lane]);
            let addend = if neg {
                join(&c).wrapping_neg()
            } else {
                join(&c)
            };
            let sum = join(&a)
                .wrapping_mul(join(&b))
                .wrapping_add(addend << shift);
            low.0[lane] = sum as u32;
            high.0[lane] = (sum >> 32) as u32;
        }
        self.put_full(d, low);
        self.put_full(d + 1, high);
    }

    #[inline(always)]
    pub(super) fn mad_saturating(
        &mut self,
        uniforms: &[u32; 256],
        d: Dst,
        [a, b, c]: [Wide; 3],
        neg: bool,
        signed: bool,
    ) {
        let exact = |w: &(Lanes, Lanes), wide: &Wide, lane: usize| {
            let bits = u64::from(w.1.0[lane]) << 32 | u64::from(w.0.0[lane]);
            // Only a sign-extended source is negative.
            match wide.high {
                High::Sign => i128::from(bits as i64),
                _ => i128::from(bits),
            }
        };
        let values = [
            self.wide(uniforms, a),
            self.wide(uniforms, b),
            self.wide(uniforms, c),
        ];
        let bits = d.bits();
        let (least, most) = match signed {
            true => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
            false => (0, (1i128 << bits) - 1),
        };
        let mut out = Lanes::ZERO;
        for lane in 0..32 {
            let c = exact(&values[2], &c, lane);
            let product = exact(&values[0], &a, lane) * exact(&values[1], &b, lane);
            let sum = product + if neg { -c } else { c };
            out.0[lane] = sum.clamp(least, most) as u32;
        }
        self.put(d, out);
    }

    /// All ones in the lanes for which the comparison holds.
    #[inline(always)]
    pub(super) fn compare(&self, uniforms: &[u32; 256], cmp: &Compare) -> Lanes {
        match *cmp {
            Compare::Int {
                a,
                b,
                test,
                signed,
                invert,
            } => {
                // Signed values compare as unsigned ones when both signs are flipped.
                let flip = if signed { 1 << 31 } else { 0 };
                let not = mask(invert);
                let [ra, rb] = &mut room();
                let (a, b) = (self.int_at(uniforms, a, ra), self.int_at(uniforms, b, rb));
                match test {
                    Test::Equal => a.zip(b, |a, b| mask(a == b) ^ not),
                    Test::Less => a.zip(b, |a, b| mask((a ^ flip) < (b ^ flip)) ^ not),
                    _ => a.zip(b, |a, b| mask((a ^ flip) > (b ^ flip)) ^ not),
                }
            }
            Compare::Float { a, b, test, invert } => {
                let not = mask(invert);
                let [ra, rb] = &mut room();
                let (a, b) = (self.flt_at(uniforms, a, ra), self.flt_at(uniforms, b, rb));
                match test {
                    Test::Equal => test_each(a, b, not, |a, b| a == b),
                    Test::Less => test_each(a, b, not, |a, b| a < b),
                    Test::Greater => test_each(a, b, not, |a, b| a > b),
                    Test::LessEqual => test_each(a, b, not, |a, b| a <= b),
                    Test::GreaterEqual => test_each(a, b, not, |a, b| a >= b),
                    Test::LessOrNan => test_each(a, b, not, |a, b| (a < b) | b.is_nan()),
                    Test::GreaterOrNan => test_each(a, b, not, |a, b| (a > b) | b.is_nan()),
                }
            }
        }
    }
}

/// All ones in the lanes for which a test holds, or does not, as `not` says.
#[inline(always)]
fn test_each(a: &Lanes, b: &Lanes, not: u32, f: impl Fn(f32, f32) -> bool) -> Lanes {
    a.zip(b, |a, b| {
        mask(f(f32::from_bits(a), f32::from_bits(b))) ^ not
    })
}

#[inline(always)]
pub(super) fn bit(op: BitOp, a: &Lanes, b: &Lanes) -> Lanes {
    match op {
        BitOp::And => a.zip(b, |a, b| a & b),
        BitOp::Or => a.zip(b, |a, b| a | b),
        BitOp::Xor => a.zip(b, |a, b| a ^ b),
        BitOp::AndN1 => a.zip(b, |a, b| !a & b),
        BitOp::AndN2 => a.zip(b, |a, b| a & !b),
        BitOp::OrN1 => a.zip(b, |a, b| !a | b),
        BitOp::OrN2 => a.zip(b, |a, b| a | !b),
        BitOp::Nand => a.zip(b, |a, b| !(a & b)),
        BitOp::Nor => a.zip(b, |a, b| !(a | b)),
        BitOp::Xnor => a.zip(b, |a, b| !(a ^ b)),
        BitOp::MovA => *a,
        BitOp::NotA => a.map(|a| !a),
    }
}

/// Shift amounts have seven bits; what is shifted out is gone.
#[inline(always)]
fn left(value: u32, by: u32) -> u32 {
    let by = by & 0x7f;
    if by < 32 { value << by } else { 0 }
}

#[inline(always)]
fn right(value: u32, by: u32) -> u32 {
    let by = by & 0x7f;
    if by < 32 { value >> by } else { 0 }
}

#[inline(always)]
fn left64(value: u64, by: u32) -> u64 {
    let by = by & 0x7f;
    if by < 64 { value << by } else { 0 }
}

#[inline(always)]
fn right64(value: u64, by: u32) -> u64 {
    let by = by & 0x7f;
    if by < 64 { value >> by } else { 0 }
}

#[inline(always)]
pub(super) fn shift_left(a: &Lanes, by: &Lanes) -> Lanes {
    a.zip(by, left)
}

#[inline(always)]
pub(super) fn shift_right(a: &Lanes, by: &Lanes) -> Lanes {
    a.zip(by, right)
}

#[inline(always)]
pub(super) fn shift_arith(a: &Lanes, by: &Lanes, high: bool) -> Lanes {
    match high {
        false => a.zip(by, |a, by| ((a as i32) >> (by & 0x7f).min(31)) as u32),
        true => a.zip(by, |a, by| {
            ((i64::from(a as i32) << 32) >> (by & 0x7f).min(63)) as u32
        }),
    }
}

#[inline(always)]
pub(super) fn shift(op: ShiftOp, a: &Lanes, b: &Lanes, c: &Lanes, field: u32) -> Lanes {
    match op {
        ShiftOp::Bfi => a.zip3(b, c, |a, b, c| (a & !left(field, c)) | left(b & field, c)),
        ShiftOp::Bfeil => a.zip3(b, c, |a, b, c| (a & !field) | (right(b, c) & field)),
        ShiftOp::Extr => a.zip3(b, c, |a, b, c| {
            right64(u64::from(b) << 32 | u64::from(a), c) as u32 & field
        }),
        ShiftOp::Shlhi => a.zip3(b, c, |a, b, c| {
            let field = left(field, (c & 0x7f).saturating_sub(32));
            // Bits 32 and up of the shifted value; for shifts beyond 64 nothing of it is left below bit 64.
            let high = (left64(b.into(), c) >> 32) as u32;
            (high & field) | (a & !field)
        }),
        ShiftOp::Shrhi => a.zip3(b, c, |a, b, c| {
            let field = right64(u64::from(field) << 32, (c & 0x7f).min(32));
            let low = right64(u64::from(b) << 32, c);
            (low & field) as u32 | (a & !(field as u32))
        }),
    }
}

#[inline(always)]
pub(super) fn unary(op: IntUnary, a: &Lanes) -> Lanes {
    match op {
        IntUnary::BitReverse => a.map(u32::reverse_bits),
        IntUnary::PopCount => a.map(u32::count_ones),
        IntUnary::FindHighest => a.map(|a| 31u32.wrapping_sub(a.leading_zeros())),
    }
}

/// Bits of `a` go to even positions, those of `b` to odd ones.
#[inline(always)]
pub(super) fn interleave(a: &Lanes, b: &Lanes) -> Lanes {
    let spread = |x: u32| {
        let x = x & 0xffff;
        let x = (x | x << 8) & 0x00ff_00ff;
        let x = (x | x << 4) & 0x0f0f_0f0f;
        let x = (x | x << 2) & 0x3333_3333;
        (x | x << 1) & 0x5555_5555
    };
    a.zip(b, |a, b| spread(a) | spread(b) << 1)
}
