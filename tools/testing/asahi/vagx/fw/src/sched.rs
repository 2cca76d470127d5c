// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which command runs next.
//!
//! There is one GPU and one command on it at a time. Queues take turns by priority, then by who waited longest; the
//! commands of a queue run in order. A barrier at the head of a queue holds that queue only.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::layout::Abi;
use crate::layout::queue::command;
use crate::mem::{FwMem, Place, Refused, Result};
use crate::queue::{Barrier, Pipe, Queue, RunMessage};
use crate::stamp::{Notifiers, StampUpdate};

/// A barrier that holds while nothing else happens for so long waits for something that does not come.
const BARRIER_PATIENCE: Duration = Duration::from_secs(5);
/// The driver raises a threshold before it submits; so long after the last command it is not going to.
const NOTIFY_PATIENCE: Duration = Duration::from_secs(2);

/// A command taken from its queue, to be run.
pub(crate) struct Turn {
    pub queue: Queue,
    /// Where in the ring its address was.
    pub place: Place,
    pub command: u64,
    pub magic: u32,
    /// 1 for the first command of this boot.
    pub number: u64,
}

/// What looking for a command came to.
pub(crate) enum Next {
    Run(Box<Turn>),
    /// This queue cannot go on; the driver has to be told.
    Broken(Box<Queue>),
    Nothing,
}

/// A command that ended in a channel error, until the driver recovers the queue.
#[derive(Clone, Copy)]
pub(crate) struct Failed {
    pub stamp: StampUpdate,
    pub pending: Option<u32>,
}

/// The queues and their state.
pub(crate) struct Scheduler {
    queues: HashMap<u64, Queue>,
    pub failed: HashMap<u64, Failed>,
    pub notifiers: Notifiers,
    pub running: Option<Running>,
    pub started: u64,
    pub finished: u64,
    turn: u64,
    contexts: u8,
    /// When something last happened.
    progress: Instant,
    complained: bool,
}

/// The command on the GPU.
pub(crate) struct Running {
    pub info: u64,
    pub since: Instant,
}

impl Default for Scheduler {
    fn default() -> Self {
        Scheduler {
            queues: HashMap::new(),
            failed: HashMap::new(),
            notifiers: Notifiers::default(),
            running: None,
            started: 0,
            finished: 0,
            turn: 0,
            contexts: 0,
            progress: Instant::now(),
            complained: false,
        }
    }
}

impl Scheduler {
    fn progressed(&mut self) {
        self.progress = Instant::now();
        self.complained = false;
    }

    /// Takes in a run message.
    pub(crate) fn submit(
        &mut self,
        mem: &FwMem,
        abi: &Abi,
        priority: u32,
        message: &RunMessage,
    ) -> Result<()> {
        self.progressed();
        let known = self.queues.get(&message.work_queue);
        // A queue that lost its event slot while idle may be announced as new again; it goes on where it was.
        let fresh = match known {
            None if !message.is_new => {
                let why =
                    "this queue has never been announced with is_new, or its context was destroyed";
                return Err(mem.complain(message.place, message.work_queue, why));
            }
            None => true,
            Some(queue) if !message.is_new => {
                if queue.pipe != message.pipe {
                    let why = format!(
                        "this queue was announced on a {} channel",
                        queue.pipe.name()
                    );
                    return Err(mem.complain(message.place, message.work_queue, why));
                }
                false
            }
            Some(queue) => !self.continues(mem, abi, queue),
        };
        if fresh {
            let queue = Queue::open(mem, abi, priority, message)?;
            self.open_context(mem, abi, queue.gpu_context)?;
            self.failed.remove(&queue.info);
            self.queues.insert(queue.info, queue);
        }
        let Some(queue) = self.queues.get_mut(&message.work_queue) else {
            return Err(Refused);
        };
        queue.priority = priority;
        queue.extend(mem, abi, message)
    }

    /// Whether a queue announced as new is the one that the firmware knows at this address.
    fn continues(&self, mem: &FwMem, abi: &Abi, queue: &Queue) -> bool {
        let r = &abi.ring_state;
        let l = &abi.queue_info;
        let done = mem.load(r.shape, queue.state, r.gpu_doneptr);
        let uuid = mem.load(l.shape, queue.info, l.uuid);
        queue.rptr != 0 && done == Ok(queue.rptr) && uuid == Ok(queue.uuid)
    }

    /// Gives a context that the firmware does not know yet its place in the firmware's tables.
    fn open_context(&mut self, mem: &FwMem, abi: &Abi, va: u64) -> Result<()> {
        let l = &abi.gpu_context;
        let word = mem.load(l.shape, va, l.ctx_0)?;
        if word as u8 != 0xff {
            return Ok(());
        }
        let number = self.contexts;
        self.contexts = (self.contexts + 1) % 0xff;
        let place = crate::mem::place(l.shape, va, l.ctx_0);
        mem.write(place, place.address, &[number, number])
    }

    /// Forgets the queues of a context.
    pub(crate) fn destroy_context(&mut self, mem: &FwMem, at: Place, va: u64) {
        let running = self.running.as_ref().map(|r| r.info);
        let mut gone = 0;
        self.queues.retain(|info, queue| {
            if queue.gpu_context != va {
                return true;
            }
            gone += 1;
            if running == Some(*info) || queue.waiting() != 0 {
                let why = format!(
                    "{} of this context still has commands to run",
                    queue.track()
                );
                mem.complain(at, va, why);
            }
            false
        });
        self.failed.retain(|info, _| self.queues.contains_key(info));
        if self.queues.is_empty() {
            self.notifiers.forget();
        }
        mem.trace().event(
            "queues",
            "context destroyed",
            &[("queues", u32::into(gone))],
        );
    }

    pub(crate) fn queue_mut(&mut self, info: u64) -> Option<&mut Queue> {
        self.queues.get_mut(&info)
    }

    /// Finds the next command, passing barriers that are open.
    pub(crate) fn next(&mut self, mem: &FwMem, abi: &Abi) -> Next {
        let mut order: Vec<(u32, u64, u64)> = self
            .queues
            .values()
            .filter(|q| !q.stopped && q.waiting() != 0)
            .map(|q| (q.priority, q.served, q.info))
            .collect();
        order.sort_unstable();
        let mut held = None;
        for (.., info) in order {
            let turn = self.turn;
            let Some(queue) = self.queues.get_mut(&info) else {
                continue;
            };
            match look(queue, mem, abi) {
                Ok(Head::Command(place, command, magic)) => {
                    self.turn += 1;
                    self.started += 1;
                    queue.served = turn + 1;
                    let turn = Turn {
                        queue: queue.clone(),
                        place,
                        command,
                        magic,
                        number: self.started,
                    };
                    self.running = Some(Running {
                        info,
                        since: Instant::now(),
                    });
                    self.progressed();
                    return Next::Run(Box::new(turn));
                }
                Ok(Head::Held(barrier)) => held = held.or(Some(barrier)),
                Ok(Head::Empty) => {}
                Err(Refused) => {
                    queue.stopped = true;
                    return Next::Broken(Box::new(queue.clone()));
                }
            }
        }
        self.complain_held(mem, held);
        if self.notifiers.waiting() && self.progress.elapsed() > NOTIFY_PATIENCE {
            self.notifiers.complain_stuck(mem, abi);
        }
        Next::Nothing
    }

    fn complain_held(&mut self, mem: &FwMem, held: Option<Barrier>) {
        let Some(barrier) = held else { return };
        if self.complained || self.progress.elapsed() < BARRIER_PATIENCE {
            return;
        }
        self.complained = true;
        let now = mem.read_u32(barrier.place, barrier.stamp).unwrap_or(0);
        let why = format!(
            "a barrier waits for {:#x} of event slot {}, the stamp has {now:#x}, and nothing else is left to run",
            barrier.value, barrier.slot
        );
        mem.complain(barrier.place, barrier.stamp, why);
    }

    /// The command on the GPU is over.
    pub(crate) fn finish(&mut self) {
        self.running = None;
        self.finished += 1;
        self.progressed();
    }
}

/// What is at the head of a queue.
enum Head {
    Command(Place, u64, u32),
    Held(Barrier),
    Empty,
}

/// Passes the open barriers at the head of a queue and takes the command behind them.
fn look(queue: &mut Queue, mem: &FwMem, abi: &Abi) -> Result<Head> {
    while queue.waiting() != 0 {
        let (place, va) = queue.head(mem)?;
        mem.check(place, va, 4, vagx_uat::Access::Read)?;
        let magic = mem.read_u32(place, va)?;
        if magic != command::BARRIER {
            queue.fetched(mem, abi)?;
            return Ok(Head::Command(place, va, magic));
        }
        let barrier = Barrier::parse(mem, abi, place, va)?;
        if !barrier.open(mem)? {
            return Ok(Head::Held(barrier));
        }
        queue.fetched(mem, abi)?;
        queue.done(mem, abi)?;
        mem.trace().event(
            &queue.track(),
            "barrier passed",
            &[
                ("slot", barrier.slot.into()),
                ("value", u64::from(barrier.value).into()),
            ],
        );
    }
    Ok(Head::Empty)
}

/// The number of the pipe channel a doorbell names, in the order of the table of channels.
pub(crate) fn channel_index(doorbell: u64) -> Option<(usize, Pipe, u32)> {
    let pipe = Pipe::from_type((doorbell & 3) as u32)?;
    let priority = (doorbell >> 2) as u32;
    (priority < 4).then_some(((priority * 3 + pipe.number()) as usize, pipe, priority))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doorbells_name_channels() {
        assert_eq!(channel_index(0), Some((0, Pipe::Vertex, 0)));
        assert_eq!(channel_index(2), Some((2, Pipe::Compute, 0)));
        assert_eq!(channel_index(3), None);
        assert_eq!(channel_index(0xe), Some((11, Pipe::Compute, 3)));
        assert_eq!(channel_index(0x10), None);
    }
}
