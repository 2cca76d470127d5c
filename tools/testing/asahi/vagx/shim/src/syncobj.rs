// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sync objects: a place for a fence, or for a timeline of them (`include/uapi/drm/drm.h`, and what
//! `drivers/gpu/drm/drm_syncobj.c` makes of it).

use crate::fence::Fences;
use libc::c_int;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Chain {
    /// Up to here all points are over, and forgotten.
    done: u64,
    /// The points that were added, in order.
    points: VecDeque<(u64, Fences)>,
}

impl Chain {
    fn last(&self) -> u64 {
        self.points.back().map_or(self.done, |(point, _)| *point)
    }

    fn forget(&mut self) {
        while let Some((point, fences)) = self.points.front()
            && fences.status() == 1
        {
            self.done = *point;
            self.points.pop_front();
        }
    }

    /// The fences of all points up to the first that is not before `point`, or of all for zero.
    fn up_to(&self, point: u64) -> Fences {
        let mut all = Fences::over();
        if point != 0 && self.done >= point {
            return all;
        }
        for (at, fences) in &self.points {
            all.extend(fences);
            if point != 0 && *at >= point {
                break;
            }
        }
        all
    }
}

enum Payload {
    Fence(Fences),
    Timeline(Chain),
}

/// A sync object.
#[derive(Default)]
pub struct Syncobj(Mutex<Option<Payload>>);

impl Syncobj {
    fn payload(&self) -> MutexGuard<'_, Option<Payload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a fence in the place of what was there.
    pub fn replace(&self, fences: Option<Fences>) {
        *self.payload() = fences.map(Payload::Fence);
    }

    /// Adds a point to the timeline. One that is not behind the last makes the timeline one of its own: whoever asks for
    /// any point from then on waits for this one, too. Mesa's Vulkan driver has its first submission signal a point
    /// that it has signalled itself before.
    pub fn add(&self, point: u64, fences: Fences) {
        let mut payload = self.payload();
        let mut chain = match payload.take() {
            Some(Payload::Timeline(chain)) => chain,
            // A fence that was there must be over, too.
            Some(Payload::Fence(before)) => Chain {
                done: 0,
                points: VecDeque::from([(0, before)]),
            },
            None => Chain::default(),
        };
        chain.forget();
        if point > chain.last() {
            chain.points.push_back((point, fences));
        } else {
            let mut all = chain.up_to(0);
            all.extend(&fences);
            chain = Chain {
                done: 0,
                points: VecDeque::from([(chain.last(), all)]),
            };
        }
        *payload = Some(Payload::Timeline(chain));
    }

    /// What to wait for to have a point be over: the whole for point zero.
    pub fn find(&self, point: u64) -> Option<Fences> {
        let mut payload = self.payload();
        match payload.as_mut()? {
            Payload::Fence(fences) if point == 0 => Some(fences.clone()),
            Payload::Fence(_) => None,
            Payload::Timeline(chain) => {
                chain.forget();
                (chain.last() >= point).then(|| chain.up_to(point))
            }
        }
    }

    /// The last point that is over, or that was added.
    pub fn query(&self, submitted: bool) -> u64 {
        match self.payload().as_mut() {
            Some(Payload::Timeline(chain)) if submitted => chain.last(),
            Some(Payload::Timeline(chain)) => {
                chain.forget();
                // What ended with an error is over, too, but is not forgotten.
                let over = chain.points.iter().take_while(|(_, f)| f.signalled());
                over.last().map_or(chain.done, |(point, _)| *point)
            }
            _ => 0,
        }
    }
}

/// What is waited for.
pub struct Wait<'a> {
    pub object: &'a Syncobj,
    pub point: u64,
}

pub const WAIT_ALL: u32 = 1;
pub const WAIT_FOR_SUBMIT: u32 = 2;
pub const WAIT_AVAILABLE: u32 = 4;

/// Looks whether the wait is over: the index of the first that is, or an error.
pub fn look(waits: &[Wait<'_>], flags: u32) -> Option<Result<u32, c_int>> {
    let mut first = None;
    let mut missing = false;
    for (index, wait) in (0..).zip(waits) {
        let over = match wait.object.find(wait.point) {
            Some(_) if flags & WAIT_AVAILABLE != 0 => true,
            Some(fences) => fences.signalled(),
            None if flags & (WAIT_FOR_SUBMIT | WAIT_AVAILABLE) != 0 => false,
            None => return Some(Err(libc::EINVAL)),
        };
        if over {
            first = first.or(Some(index));
        } else {
            missing = true;
        }
    }
    first.filter(|_| flags & WAIT_ALL == 0 || !missing).map(Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fence::{Fence, Hub};
    use std::sync::Arc;

    fn pending() -> (Arc<Fence>, Fences) {
        let fence = Arc::<Fence>::default();
        (fence.clone(), Fences::one(fence))
    }

    #[test]
    fn points_wait_for_those_before() {
        let (hub, object) = (Hub::default(), Syncobj::default());
        let (first, one) = pending();
        let (second, two) = pending();
        object.add(5, one);
        object.add(9, two);
        assert!(object.find(10).is_none());
        hub.signal(&second, 1);
        assert!(!object.find(9).unwrap().signalled());
        assert_eq!((object.query(false), object.query(true)), (0, 9));
        hub.signal(&first, 1);
        assert!(object.find(3).unwrap().signalled() && object.find(9).unwrap().signalled());
        assert_eq!(object.query(false), 9);
        // One that is not behind the last.
        let (third, three) = pending();
        object.add(9, three);
        for point in [0, 1, 9] {
            assert!(!object.find(point).unwrap().signalled());
        }
        assert_eq!((object.query(false), object.query(true)), (0, 9));
        hub.signal(&third, 1);
        assert!(object.find(9).unwrap().signalled());
        assert_eq!(object.query(false), 9);
    }

    #[test]
    fn one_or_all() {
        let (done, not, empty) = (Syncobj::default(), Syncobj::default(), Syncobj::default());
        done.replace(Some(Fences::over()));
        not.replace(Some(pending().1));
        let wait = |objects: &[&Syncobj], flags| {
            let waits: Vec<_> = objects
                .iter()
                .map(|object| Wait { object, point: 0 })
                .collect();
            look(&waits, flags)
        };
        assert_eq!(wait(&[&not, &done], 0), Some(Ok(1)));
        assert_eq!(wait(&[&not, &done], WAIT_ALL), None);
        assert_eq!(wait(&[&done, &done], WAIT_ALL), Some(Ok(0)));
        assert_eq!(wait(&[&done, &empty], 0), Some(Err(libc::EINVAL)));
        assert_eq!(wait(&[&empty], WAIT_FOR_SUBMIT), None);
        assert_eq!(wait(&[&not], WAIT_AVAILABLE), Some(Ok(0)));
    }
}
