// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which sources need not be flushed.
//!
//! Single-precision operations take subnormal sources as zero, and never leave subnormals themselves. So a source that
//! such an operation has made can be read as it is. What is known of a register holds for the lanes that are active, and
//! is forgotten where others may become active or where control may come from elsewhere.

use crate::uop::*;

/// Registers whose active lanes hold no subnormal single.
#[derive(Clone, Copy, Default)]
struct Clean(u128);

impl Clean {
    fn has(self, val: Val) -> bool {
        matches!(val, Val::Full(r) if self.0 >> (r & 127) & 1 != 0)
    }

    fn set(&mut self, d: Dst, clean: bool) {
        let (Dst::Full(r) | Dst::Low(r) | Dst::High(r)) = d;
        let bit = 1 << (r & 127);
        self.0 &= !bit;
        if clean && matches!(d, Dst::Full(_)) {
            self.0 |= bit;
        }
    }

    /// Forgets `count` registers.
    fn forget(&mut self, first: u8, count: u8) {
        for r in first..first.saturating_add(count) {
            self.set(Dst::Full(r), false);
        }
    }

    /// Takes note of what an operation writes.
    fn after(&mut self, uop: &Uop) {
        match *uop {
            Uop::Nop
            | Uop::Stop
            | Uop::Barrier
            | Uop::JumpAny { .. }
            | Uop::JumpNone { .. }
            | Uop::Store { .. }
            | Uop::LocalStore { .. }
            | Uop::StackStore { .. }
            | Uop::UniformStore { .. } => (),
            Uop::Float { d, .. } | Uop::FltUnary { d, .. } => self.set(d, true),
            Uop::Convert { d, op, .. } => self.set(d, matches!(op, Convert::FromInt { .. })),
            Uop::Mov { d, a } => self.set(d, self.has(a)),
            Uop::Select { d, x, y, .. } => {
                let clean = |val| match val {
                    Val::Const(bits) => bits & 0x7f80_0000 != 0 || bits << 1 == 0,
                    val => self.has(val),
                };
                self.set(d, clean(x) && clean(y));
            }
            Uop::Const { d, .. }
            | Uop::Special { d, .. }
            | Uop::Mad { d, .. }
            | Uop::Add { d, .. }
            | Uop::MadSat { d, .. }
            | Uop::Bit { d, .. }
            | Uop::ShiftLeft { d, .. }
            | Uop::ShiftRight { d, .. }
            | Uop::ShiftArith { d, .. }
            | Uop::Shift { d, .. }
            | Uop::IntUnary { d, .. }
            | Uop::Interleave { d, .. }
            | Uop::Half { d, .. }
            | Uop::Ballot { d, .. }
            | Uop::Shuffle { d, .. }
            | Uop::Reduce { d, .. } => self.set(d, false),
            Uop::MadWide { d, .. } => self.forget(d, 2),
            Uop::Load { ref regs, .. }
            | Uop::LocalLoad { ref regs, .. }
            | Uop::StackLoad { ref regs, .. } => self.forget(regs.start / 2, 5),
            // Lanes only fall asleep, but all counters are in r0.
            Uop::Flow { flow: Flow::If, .. } => self.forget(0, 1),
            // Lanes may wake up; or what it writes is not known here.
            _ => *self = Clean::default(),
        }
    }
}

/// Marks the sources that are clean.
pub(crate) fn mark(uops: &mut [Uop]) {
    let mut joins = vec![false; uops.len()];
    for uop in uops.iter_mut() {
        if let Some(&mut target) = uop.target()
            && let Some(join) = joins.get_mut(target as usize)
        {
            *join = true;
        }
    }
    let mut clean = Clean::default();
    for (uop, join) in uops.iter_mut().zip(joins) {
        if join {
            clean = Clean::default();
        }
        for flt in floats(uop) {
            flt.clean = !flt.half && clean.has(flt.val);
        }
        clean.after(uop);
    }
}

/// An operation's sources that are singles.
fn floats(uop: &mut Uop) -> Vec<&mut Flt> {
    match uop {
        Uop::Float { a, b, c, .. } | Uop::Half { a, b, c, .. } => vec![a, b, c],
        Uop::FltUnary { a, .. } => vec![a],
        Uop::Select { cmp, .. } | Uop::Flow { cmp, .. } | Uop::Ballot { cmp, .. } => match cmp {
            Compare::Float { a, b, .. } => vec![a, b],
            Compare::Int { .. } => Vec::new(),
        },
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(d: u8, a: u8, b: u8) -> Uop {
        let flt = |r| Flt {
            val: Val::Full(r),
            half: false,
            abs: false,
            neg: false,
            clean: false,
        };
        Uop::Float {
            d: Dst::Full(d),
            op: FltOp::Add,
            a: flt(a),
            b: flt(b),
            c: flt(0),
            sat: false,
        }
    }

    /// For each operation, whether its first two sources are clean.
    fn marked(mut uops: Vec<Uop>) -> Vec<[bool; 2]> {
        mark(&mut uops);
        let sources = |uop| match uop {
            Uop::Float { a, b, .. } => Some([a.clean, b.clean]),
            _ => None,
        };
        uops.into_iter().filter_map(sources).collect()
    }

    #[test]
    fn results_are_clean_until_something_else_is_written() {
        let other = Uop::Const {
            d: Dst::High(3),
            value: 1,
        };
        let got = marked(vec![add(3, 1, 2), add(4, 3, 1), other, add(5, 3, 4)]);
        assert_eq!(got, [[false, false], [true, false], [false, true]]);
    }

    #[test]
    fn nothing_is_known_where_lanes_wake_up_or_jumps_end() {
        let uops = vec![add(3, 1, 2), Uop::Pop { nest: 1 }, add(4, 3, 3)];
        assert_eq!(marked(uops), [[false; 2]; 2]);
        let uops = vec![add(3, 1, 2), add(4, 3, 3), Uop::JumpAny { target: 1 }];
        assert_eq!(marked(uops), [[false; 2]; 2]);
    }
}
