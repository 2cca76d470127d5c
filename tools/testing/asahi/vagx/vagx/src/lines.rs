// SPDX-License-Identifier: MIT OR Apache-2.0

//! The interrupt lines of the device, over MSI-X.
//!
//! The mailbox's interrupts are levels, MSI-X carries edges. So each line has a mask, kept by the
//! guest's interrupt controller driver through BAR2, and an edge goes out when a line is high and
//! not masked and has not been told since it rose or was last masked.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Number of lines, each with the vector of the same number.
const COUNT: u32 = 4;
const ALL: u32 = (1 << COUNT) - 1;
/// The vector behind those of the lines, which is raised on demand.
const ECHO: u32 = COUNT;
/// Number of vectors.
pub const VECTORS: u32 = ECHO + 1;

#[derive(Default)]
struct State {
    level: u32,
    mask: u32,
    told: u32,
    events: [Option<OwnedFd>; VECTORS as usize],
}

/// The lines.
#[derive(Default)]
pub struct Lines {
    state: Mutex<State>,
}

impl State {
    fn tell(&mut self) {
        let due = self.level & !self.mask & !self.told;
        for (i, event) in self.events.iter().enumerate() {
            let bit = 1 << i;
            if let (true, Some(event)) = (due & bit != 0, event) {
                signal(event);
                self.told |= bit;
            }
        }
    }
}

fn signal(event: &OwnedFd) {
    // An eventfd refuses only when its count is full, and then it is being told.
    let _ = rustix::io::write(event, &1u64.to_ne_bytes());
}

impl Lines {
    /// All lines low and masked.
    pub fn new() -> Self {
        let lines = Self::default();
        lines.reset();
        lines
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Masks all lines, as after power-on. Levels and vectors stay.
    pub fn reset(&self) {
        let mut s = self.state();
        s.mask = ALL;
        s.told = 0;
    }

    /// Sets the level of all lines.
    pub fn set(&self, level: u32) {
        let mut s = self.state();
        s.level = level & ALL;
        s.told &= s.level;
        s.tell();
    }

    /// Lines that are high, masked or not.
    pub fn pending(&self) -> u32 {
        self.state().level
    }

    /// Lines that are masked.
    pub fn mask(&self) -> u32 {
        self.state().mask
    }

    /// Masks lines.
    pub fn mask_set(&self, bits: u32) {
        let mut s = self.state();
        s.mask |= bits & ALL;
        s.told &= !bits;
    }

    /// Unmasks lines; those that are high are told again.
    pub fn mask_clear(&self, bits: u32) {
        let mut s = self.state();
        s.mask &= !bits;
        s.tell();
    }

    /// Raises the vector that belongs to no line.
    pub fn echo(&self) {
        if let Some(event) = &self.state().events[ECHO as usize] {
            signal(event);
        }
    }

    /// What to signal for a vector.
    pub fn connect(&self, vector: u32, event: Option<OwnedFd>) {
        let mut s = self.state();
        if let Some(slot) = s.events.get_mut(vector as usize) {
            *slot = event;
            s.told &= !(1 << vector);
            s.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};

    struct Bench {
        lines: Lines,
        event: OwnedFd,
    }

    impl Bench {
        fn new() -> Self {
            let lines = Lines::new();
            let event = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
            lines.connect(3, Some(event.try_clone().unwrap()));
            Self { lines, event }
        }

        /// How often the line was told since the last time.
        fn told(&self) -> u64 {
            let mut b = [0; 8];
            match rustix::io::read(&self.event, &mut b) {
                Ok(_) => u64::from_ne_bytes(b),
                Err(_) => 0,
            }
        }
    }

    #[test]
    fn masked_after_reset() {
        let b = Bench::new();
        b.lines.set(8);
        assert_eq!((b.told(), b.lines.pending(), b.lines.mask()), (0, 8, 15));
        b.lines.mask_clear(8);
        assert_eq!((b.told(), b.lines.mask()), (1, 7));
        b.lines.reset();
        assert_eq!((b.lines.mask(), b.lines.pending()), (15, 8));
    }

    #[test]
    fn once_for_each_rise() {
        let b = Bench::new();
        b.lines.mask_clear(8);
        b.lines.set(8);
        b.lines.set(9);
        b.lines.mask_clear(8);
        assert_eq!(b.told(), 1);
        b.lines.set(1);
        b.lines.set(8);
        assert_eq!(b.told(), 1);
    }

    /// What the guest does: mask, handle, unmask.
    #[test]
    fn again_after_unmask_while_high() {
        let b = Bench::new();
        b.lines.mask_clear(8);
        b.lines.set(8);
        b.lines.mask_set(8);
        b.lines.set(0);
        b.lines.set(8);
        assert_eq!(b.told(), 1);
        b.lines.mask_clear(8);
        assert_eq!(b.told(), 1);
        b.lines.mask_set(8);
        b.lines.set(0);
        b.lines.mask_clear(8);
        assert_eq!(b.told(), 0);
    }

    /// One edge for each demand, whatever the lines do.
    #[test]
    fn echo() {
        let b = Bench::new();
        b.lines.echo();
        b.lines.connect(3, None);
        b.lines.connect(4, Some(b.event.try_clone().unwrap()));
        assert_eq!(b.told(), 0);
        b.lines.mask_clear(u32::MAX);
        b.lines.set(u32::MAX);
        assert_eq!((b.told(), b.lines.pending()), (0, 15));
        b.lines.echo();
        b.lines.echo();
        assert_eq!(b.told(), 2);
    }

    #[test]
    fn vectors_come_late_and_go() {
        let b = Bench::new();
        b.lines.mask_clear(15);
        b.lines.connect(3, None);
        b.lines.set(8);
        assert_eq!(b.told(), 0);
        b.lines.connect(3, Some(b.event.try_clone().unwrap()));
        assert_eq!(b.told(), 1);
        b.lines.connect(9, None);
        b.lines.mask_set(u32::MAX);
        assert_eq!(b.lines.mask(), 15);
    }
}
