// SPDX-License-Identifier: MIT OR Apache-2.0

//! Iteration over what a context maps.

use crate::uat::LEVELS;
use crate::{Pte, Uat, canonical};

/// A valid leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// First address of the page, canonical.
    pub va: u64,
    /// Physical address of the page.
    pub pa: u64,
    /// The whole entry.
    pub pte: Pte,
}

/// One table being gone through.
struct Cursor {
    va: u64,
    next: usize,
    entries: Vec<u8>,
}

/// Iterator over the mappings of a context, in order of address; see [`Uat::mappings`].
///
/// A table is copied when it is entered. Tables or pages that physical memory does not have are
/// passed over. The depth is bounded by the number of levels, so tables that point to themselves
/// give many mappings but not endlessly many.
pub struct Mappings<'a> {
    uat: &'a Uat,
    /// Table bases still to be visited, last first.
    bases: Vec<(u64, u64)>,
    stack: Vec<Cursor>,
}

impl<'a> Mappings<'a> {
    pub(crate) fn new(uat: &'a Uat, ctx: u8) -> Self {
        let [low, high] = uat.ttbrs(ctx).unwrap_or_default();
        let mut bases = Vec::new();
        if ctx == 0 && high.valid() {
            bases.push((1 << 39, high.table()));
        }
        if low.valid() {
            bases.push((0, low.table()));
        }
        Self {
            uat,
            bases,
            stack: Vec::new(),
        }
    }

    fn enter(&mut self, va: u64, table: u64) {
        let Some((_, count)) = LEVELS.get(self.stack.len()) else {
            return;
        };
        let mut entries = vec![0; *count as usize * 8];
        if self.uat.reachable(table) && self.uat.mem().read(table, &mut entries).is_ok() {
            self.stack.push(Cursor {
                va,
                next: 0,
                entries,
            });
        }
    }
}

impl Iterator for Mappings<'_> {
    type Item = Mapping;

    fn next(&mut self) -> Option<Mapping> {
        loop {
            let depth = self.stack.len();
            let Some(top) = self.stack.last_mut() else {
                let (va, table) = self.bases.pop()?;
                self.enter(va, table);
                continue;
            };
            let Some(entry) = top.entries.as_chunks::<8>().0.get(top.next) else {
                self.stack.pop();
                continue;
            };
            let (shift, _) = LEVELS[depth - 1];
            let va = top.va | (top.next as u64) << shift;
            top.next += 1;
            let pte = Pte(u64::from_le_bytes(*entry));
            if !pte.table_or_page() {
                continue;
            }
            if depth < LEVELS.len() {
                self.enter(va, pte.address());
            } else if self.uat.reachable(pte.address()) {
                return Some(Mapping {
                    va: canonical(va),
                    pa: pte.address(),
                    pte,
                });
            }
        }
    }
}
