// SPDX-License-Identifier: MIT OR Apache-2.0

//! Events that are sent later than they arise, and in another order.
//!
//! Hardware promises the driver that a stamp is written before its Flag event, and little more: the event may come late,
//! together with others, in parts, more than once, and after the event of a command that ended later. With
//! [`Kind::Shuffle`](crate::faults::Kind) all of that happens, as the seed has it.

use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::faults::{Kind, Plan};
use crate::log::{Event, Severity, stats};
use crate::random::Random;
use crate::state::Core;

/// How late an event may be.
const LATEST: u64 = 3000;
/// How late one is that is to be late.
const LATE: Duration = Duration::from_millis(200);
/// How often a thread without anything to send looks whether the firmware has ended.
const TICK: Duration = Duration::from_millis(100);

type Bits = [u32; 4];

struct Held {
    flags: Vec<(Instant, Bits)>,
    random: Random,
}

/// Flag events that have not been sent yet.
pub(crate) struct Courier {
    held: Mutex<Held>,
    news: Condvar,
    shuffle: bool,
    /// Someone carries what is held.
    delays: bool,
}

impl Courier {
    pub(crate) fn new(random: Random, shuffle: bool, delays: bool) -> Self {
        Courier {
            held: Mutex::new(Held {
                flags: Vec::new(),
                random,
            }),
            news: Condvar::new(),
            shuffle,
            delays,
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an event other than a Flag comes twice this time.
    pub(crate) fn stutters(&self) -> bool {
        self.shuffle && self.held().random.below(2) == 0
    }

    fn hold(&self, flags: &[(Duration, Bits)]) {
        let now = Instant::now();
        let flags = flags.iter().map(|(after, bits)| (now + *after, *bits));
        self.held().flags.extend(flags);
        self.news.notify_one();
    }

    /// Waits for events that are due. None are once the firmware has ended.
    fn due(&self, core: &Core) -> Vec<Bits> {
        let mut held = self.held();
        loop {
            if core.stopped() {
                return Vec::new();
            }
            let now = Instant::now();
            let (due, later) = mem::take(&mut held.flags)
                .into_iter()
                .partition::<Vec<_>, _>(|(at, _)| *at <= now);
            held.flags = later;
            if !due.is_empty() {
                let mut due: Vec<Bits> = due.into_iter().map(|(_, bits)| bits).collect();
                if self.shuffle {
                    due = shuffled(due, &mut held.random);
                }
                return due;
            }
            let next = held.flags.iter().map(|(at, _)| *at).min();
            let patience = next.map_or(TICK, |at| at.saturating_duration_since(now).min(TICK));
            held = match self.news.wait_timeout(held, patience) {
                Ok((held, _)) => held,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

/// The same bits in other events.
fn shuffled(flags: Vec<Bits>, random: &mut Random) -> Vec<Bits> {
    let mut all: Vec<Bits> = Vec::new();
    for bits in flags {
        match (random.below(4), all.last_mut()) {
            // Together with the one before,
            (0, Some(last)) => last.iter_mut().zip(bits).for_each(|(l, b)| *l |= b),
            // in parts,
            (1, _) => all.extend(parts(bits)),
            // twice,
            (2, _) => all.extend([bits, bits]),
            // or as it is;
            _ => all.push(bits),
        }
    }
    // and in any order (Fisher and Yates).
    for last in (1..all.len()).rev() {
        let other = random.below(last as u64 + 1) as usize;
        all.swap(last, other);
    }
    all
}

/// One event for each slot.
fn parts(bits: Bits) -> impl Iterator<Item = Bits> {
    (0..128).filter_map(move |slot: usize| {
        let mut one = [0; 4];
        let (from, to) = (bits.get(slot / 32)?, one.get_mut(slot / 32)?);
        *to = from & 1 << (slot % 32);
        (*to != 0).then_some(one)
    })
}

/// Tells the driver, now or later, that stamps have moved; they are written already.
pub(crate) fn flag(core: &Core, bits: Bits, plan: Option<&Plan>) {
    let courier = &core.courier;
    let kind = plan.map(|p| p.kind);
    if kind == Some(Kind::LostEvent) {
        return;
    }
    if kind == Some(Kind::LateEvent) {
        let time = plan.and_then(|p| p.time).unwrap_or(LATE);
        return courier.hold(&[(time, bits)]);
    }
    let times = if kind == Some(Kind::RepeatEvent) {
        3
    } else {
        1
    };
    for _ in 0..times {
        if courier.shuffle {
            let after = courier.held().random.below(LATEST);
            courier.hold(&[(Duration::from_micros(after), bits)]);
        } else {
            core.event(Event::Flag(bits));
        }
    }
}

/// Sends what is held, until the firmware is stopped.
pub(crate) fn run(core: &Core) {
    let courier = &core.courier;
    while courier.delays && !core.stopped() {
        for bits in courier.due(core) {
            if courier.shuffle {
                chatter(core);
            }
            core.event(Event::Flag(bits));
        }
    }
}

/// What else the firmware may have to say at that moment.
fn chatter(core: &Core) {
    match core.courier.held().random.below(4) {
        0 => core.line(Severity::Debug, "between two events"),
        1 => core.statistics(stats::FW_BUSY, &[core.port.now_ticks(), 1]),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bit_is_lost_or_invented() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let flags: Vec<Bits> = (0..=seed % 5)
                .map(|n| [1 << n, 0, 3 << (2 * n), 1 << 31])
                .collect();
            let all = |f: &[Bits]| {
                f.iter().fold([0; 4], |mut sum: Bits, bits| {
                    sum.iter_mut().zip(bits).for_each(|(s, b)| *s |= b);
                    sum
                })
            };
            let out = shuffled(flags.clone(), &mut random);
            assert_eq!(all(&out), all(&flags), "seed {seed}");
            assert!(out.iter().all(|bits| *bits != [0; 4]));
        }
    }

    #[test]
    fn orders_differ_by_seed_only() {
        let flags: Vec<Bits> = (0..8).map(|n| [1 << n, 0, 0, 0]).collect();
        let run = |seed| shuffled(flags.clone(), &mut Random::new(seed));
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }
}
