// SPDX-License-Identifier: MIT OR Apache-2.0

//! Rectangles of pixels.

/// Pixels from (`x0`, `y0`) up to, but not including, (`x1`, `y1`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) x0: i32,
    pub(super) y0: i32,
    pub(super) x1: i32,
    pub(super) y1: i32,
}

impl Rect {
    pub(super) fn is_empty(&self) -> bool {
        self.x0 >= self.x1 || self.y0 >= self.y1
    }

    pub(super) fn intersect(&self, other: &Rect) -> Rect {
        Rect {
            x0: self.x0.max(other.x0),
            y0: self.y0.max(other.y0),
            x1: self.x1.min(other.x1),
            y1: self.y1.min(other.y1),
        }
    }

    /// Adds pixels on both sides, along the axis that is not `major`.
    pub(super) fn grow_minor(&mut self, major: usize, by: i32) {
        if major == 0 {
            self.y0 -= by;
            self.y1 += by;
        } else {
            self.x0 -= by;
            self.x1 += by;
        }
    }

    /// The pixels of the block at (`x`, `y`) that are inside: bit `8 row + column`.
    pub(super) fn mask(&self, x: i32, y: i32) -> u64 {
        let span = |low: i32, high: i32| -> u64 {
            let (low, high) = (low.clamp(0, 8) as u32, high.clamp(0, 8) as u32);
            ((1 << high) - 1) & !((1 << low) - 1)
        };
        let columns = span(self.x0 - x, self.x1 - x);
        let rows = span(self.y0 - y, self.y1 - y);
        if columns == 0xff && rows == 0xff {
            return u64::MAX;
        }
        // Each row that is in gets the columns.
        let spread = (0..8).fold(0, |mask, row| mask | (rows >> row & 1) << (8 * row));
        spread * columns
    }
}
