// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which command runs next.
//!
//! Each pipe has an engine of its own, and one command on it at a time; the three run at once. On a pipe, queues take
//! turns by priority, then by who waited longest; the commands of a queue run in order. A barrier at the head of a queue
//! holds that queue only.
//!
//! A command may be set aside for one of a more urgent queue, if both the channels and the two QueueInfo say so: the
//! engine's commands form a stack, of which only the last runs. How hardware decides is not known. What is known is that
//! a driver keeps a compute command from being interrupted by putting 0 into its QueueInfo's priority (m1n1
//! `fw/agx/cmdqueue.py`, `set_prio`; driver notes on compute preemption), and that is what decides here.

mod engines;

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use vagx_uat::Ttbr;

use self::engines::{Running, Stage};
use crate::buffer::Buffers;
use crate::control::JobControl;
use crate::faults::{Kind, Plan};
use crate::layout::Abi;
use crate::layout::queue::command;
use crate::mem::{FwMem, Place, Refused, Result};
use crate::queue::{Barrier, Pipe, Queue, RunMessage};
use crate::stamp::{Notifiers, StampUpdate};

/// A barrier that holds while nothing else happens for so long waits for something that does not come.
const BARRIER_PATIENCE: Duration = Duration::from_secs(5);
/// The driver raises a threshold before it submits; so long after the last command it is not going to.
const NOTIFY_PATIENCE: Duration = Duration::from_secs(2);
/// Engines.
pub(crate) const PIPES: [Pipe; 3] = [Pipe::Vertex, Pipe::Fragment, Pipe::Compute];

/// A command taken from its queue, to be run.
pub(crate) struct Turn {
    pub queue: Queue,
    /// Where in the ring its address was.
    pub place: Place,
    pub command: u64,
    pub magic: u32,
    /// 1 for the first command of this boot.
    pub number: u64,
    pub control: Arc<JobControl>,
    /// What is to go wrong with it; known as soon as the command has been read.
    pub plan: OnceLock<Plan>,
    /// The context in which the GPU works for it, from when it begins, and its tables then.
    pub context: OnceLock<(u8, [Ttbr; 2])>,
}

impl Turn {
    /// Whether this is to happen to the command.
    pub(crate) fn is_to(&self, kind: Kind) -> bool {
        self.plan.get().is_some_and(|plan| plan.kind == kind)
    }
}

/// What looking for a command came to.
pub(crate) enum Next {
    Run(Box<Turn>),
    /// This queue cannot go on; the driver has to be told.
    Broken(Box<Queue>),
    Nothing,
}

/// A command that ended in a channel error, or never, until the driver recovers the queue.
#[derive(Clone, Copy)]
pub(crate) struct Failed {
    pub stamp: StampUpdate,
    /// The firmware has forgotten it, so the driver cannot know.
    pub lost: bool,
}

/// A queue with commands, in the order of turns: priority, when it was last served, address.
type Key = (u32, u64, u64);

/// The queues and their state.
pub(crate) struct Scheduler {
    queues: HashMap<u64, Queue>,
    /// By pipe, the queues that have commands and none that runs.
    ready: [BTreeSet<Key>; 3],
    /// By pipe.
    engines: [Vec<Running>; 3],
    pub failed: HashMap<u64, Failed>,
    pub notifiers: Notifiers,
    pub buffers: Arc<Buffers>,
    /// A fault has stopped everything until the driver resumes the firmware.
    pub halted: bool,
    busy: bool,
    started: u64,
    turn: u64,
    contexts: u8,
    /// When something last happened.
    progress: Instant,
    complained: bool,
}

impl Default for Scheduler {
    fn default() -> Self {
        Scheduler {
            queues: HashMap::new(),
            ready: Default::default(),
            engines: Default::default(),
            failed: HashMap::new(),
            notifiers: Notifiers::default(),
            buffers: Arc::default(),
            halted: false,
            busy: false,
            started: 0,
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

    fn of<T>(pipe: Pipe, all: &mut [T; 3]) -> &mut T {
        match pipe {
            Pipe::Vertex => &mut all[0],
            Pipe::Fragment => &mut all[1],
            Pipe::Compute => &mut all[2],
        }
    }

    /// Makes `ready` say the truth about a queue, of which `key` was the last entry there.
    fn enlist(&mut self, info: u64, key: Option<(Pipe, Key)>) {
        if let Some((pipe, key)) = key {
            Self::of(pipe, &mut self.ready).remove(&key);
        }
        let runs = self.running().any(|r| r.info == info);
        if let Some(queue) = self.queues.get(&info)
            && !runs
            && !queue.stopped
            && queue.waiting() != 0
        {
            let (pipe, key) = key_of(queue);
            Self::of(pipe, &mut self.ready).insert(key);
        }
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
        let info = message.work_queue;
        let known = self.queues.get(&info);
        let key = known.map(key_of);
        // A queue that lost its event slot while idle may be announced as new again; it goes on where it was.
        let fresh = match known {
            None if !message.is_new => {
                let why =
                    "this queue has never been announced with is_new, or its context was destroyed";
                return Err(mem.complain(message.place, info, why));
            }
            None => true,
            Some(queue) if !message.is_new => {
                if queue.pipe != message.pipe {
                    let why = format!(
                        "this queue was announced on a {} channel",
                        queue.pipe.name()
                    );
                    return Err(mem.complain(message.place, info, why));
                }
                false
            }
            Some(queue) => !self.continues(mem, abi, queue),
        };
        if fresh {
            let queue = Queue::open(mem, abi, priority, message)?;
            self.open_context(mem, abi, queue.gpu_context)?;
            self.failed.remove(&info);
            self.queues.insert(info, queue);
        }
        let queue = self.queues.get_mut(&info).ok_or(Refused)?;
        queue.priority = priority;
        let taken = queue.extend(mem, abi, message);
        self.enlist(info, key);
        taken
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
        let gone: Vec<u64> = self
            .queues
            .values()
            .filter(|q| q.gpu_context == va)
            .map(|q| q.info)
            .collect();
        for info in &gone {
            let Some(queue) = self.queues.remove(info) else {
                continue;
            };
            let (pipe, key) = key_of(&queue);
            Self::of(pipe, &mut self.ready).remove(&key);
            let lost = self.failed.remove(info).is_some_and(|f| f.lost);
            // A command whose stamp is written is over for the driver, even if the firmware is not done with it.
            let runs = self
                .running()
                .any(|r| r.info == *info && r.stage != Stage::Ends);
            if (runs || queue.waiting() != 0) && !lost {
                let why = format!(
                    "{} of this context still has commands to run",
                    queue.track()
                );
                mem.complain(at, va, why);
            }
        }
        self.notifiers.forget(va);
        mem.trace().event(
            "queues",
            "context destroyed",
            &[("queues", (gone.len() as u64).into())],
        );
    }

    /// Whether a fragment command of that event slot has been submitted and has not begun.
    pub(crate) fn fragment_waits(&self, event_slot: u32) -> bool {
        let mut queues = self.queues.values();
        queues.any(|q| q.pipe == Pipe::Fragment && q.event_slot == event_slot && q.waiting() != 0)
    }

    pub(crate) fn queue(&self, info: u64) -> Option<&Queue> {
        self.queues.get(&info)
    }

    /// Takes a queue's commands no more, until it is recovered.
    pub(crate) fn stop_queue(&mut self, info: u64, failed: Option<Failed>) {
        let Some(queue) = self.queues.get_mut(&info) else {
            return;
        };
        queue.stopped = true;
        let key = key_of(queue);
        self.enlist(info, Some(key));
        if let Some(failed) = failed {
            self.failed.insert(info, failed);
        }
    }

    /// Takes them again; the queue, and what failed.
    pub(crate) fn recover(&mut self, info: u64) -> Option<(Queue, Option<Failed>)> {
        let failed = self.failed.remove(&info);
        let queue = self.queues.get_mut(&info)?;
        queue.stopped = false;
        let queue = queue.clone();
        Some((queue, failed))
    }

    /// Lets a recovered queue take its turn.
    pub(crate) fn restart(&mut self, info: u64) {
        self.progressed();
        self.enlist(info, None);
    }

    /// Finds the next command of a pipe, passing barriers that are open, for a worker that has that many commands under
    /// it which were set aside.
    pub(crate) fn next(&mut self, mem: &FwMem, abi: &Abi, pipe: Pipe, depth: usize) -> Next {
        let engine = self.engine(pipe);
        if engine.len() != depth {
            return Next::Nothing;
        }
        let under = engine.last().map(|r| (r.priority, r.rank));
        if self.halted {
            return Next::Nothing;
        }
        match self.first(mem, abi, pipe, under) {
            Head::Command(info, place, command, magic) => {
                self.turn += 1;
                let turn = self.turn;
                let Some(queue) = self.queues.get_mut(&info) else {
                    return Next::Nothing;
                };
                let key = key_of(queue);
                queue.served = turn;
                if queue.fetched(mem, abi).is_err() {
                    return self.broken(info);
                }
                self.started += 1;
                let control = Arc::new(JobControl::default());
                let turn = Turn {
                    queue: queue.clone(),
                    place,
                    command,
                    magic,
                    number: self.started,
                    control: control.clone(),
                    plan: OnceLock::new(),
                    context: OnceLock::new(),
                };
                let running = Running {
                    number: turn.number,
                    info,
                    priority: queue.priority,
                    rank: queue.rank,
                    since: Instant::now(),
                    aside: None,
                    control,
                    stamp: None,
                    pending: None,
                    stage: Stage::Runs,
                };
                self.engine(pipe).push(running);
                self.enlist(info, Some(key));
                self.progressed();
                Next::Run(Box::new(turn))
            }
            Head::Broken(info) => self.broken(info),
            Head::Held(barrier) => {
                self.complain_held(mem, &barrier);
                self.complain_unnotified(mem, abi);
                Next::Nothing
            }
            Head::Empty => {
                self.complain_unnotified(mem, abi);
                Next::Nothing
            }
        }
    }

    fn broken(&mut self, info: u64) -> Next {
        self.stop_queue(info, None);
        match self.queues.get(&info) {
            Some(queue) => Next::Broken(Box::new(queue.clone())),
            None => Next::Nothing,
        }
    }

    /// The first command of a pipe that may run; `under` is the priority and rank of the command that it would set
    /// aside.
    fn first(
        &mut self,
        mem: &FwMem,
        abi: &Abi,
        pipe: Pipe,
        under: Option<(u32, u32)>,
    ) -> Head<u64> {
        let mut held = None;
        let mut after = Unbounded;
        while let Some(key) = Self::of(pipe, &mut self.ready)
            .range((after, Unbounded))
            .next()
            .copied()
        {
            after = Excluded(key);
            let (priority, _, info) = key;
            let Some(queue) = self.queues.get_mut(&info) else {
                continue;
            };
            if under.is_some_and(|(p, rank)| priority >= p || queue.rank >= rank) {
                continue;
            }
            match look(queue, &self.buffers, mem, abi) {
                Ok(Head::Command((), place, va, magic)) => {
                    return Head::Command(info, place, va, magic);
                }
                Ok(Head::Held(barrier)) => held = held.or(Some(barrier)),
                Ok(_) => self.enlist(info, Some((pipe, key))),
                Err(Refused) => return Head::Broken(info),
            }
        }
        held.map_or(Head::Empty, Head::Held)
    }

    /// Pipes on which a command may be ready.
    pub(crate) fn ready(&self) -> impl Iterator<Item = Pipe> {
        let pipes = PIPES.into_iter().zip(&self.ready);
        pipes.filter(|(_, r)| !r.is_empty()).map(|(p, _)| p)
    }

    /// Notes whether there is work; says whether that is news.
    pub(crate) fn note_busy(&mut self, busy: bool) -> bool {
        if busy == self.busy || (!busy && self.running().next().is_some()) {
            return false;
        }
        self.busy = busy;
        true
    }

    fn complain_held(&mut self, mem: &FwMem, barrier: &Barrier) {
        // What failed or is set aside may be what it waits for.
        let others = !self.failed.is_empty() || self.running().next().is_some();
        if self.complained || others || self.progress.elapsed() < BARRIER_PATIENCE {
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

    fn complain_unnotified(&mut self, mem: &FwMem, abi: &Abi) {
        let idle = self.ready.iter().all(BTreeSet::is_empty)
            && self.failed.is_empty()
            && self.running().next().is_none();
        if idle && self.notifiers.waiting() && self.progress.elapsed() > NOTIFY_PATIENCE {
            self.notifiers.complain_stuck(mem, abi);
        }
    }
}

fn key_of(queue: &Queue) -> (Pipe, Key) {
    (queue.pipe, (queue.priority, queue.served, queue.info))
}

/// What is at the head of a queue, or of the queues of a pipe.
enum Head<T> {
    Command(T, Place, u64, u32),
    Held(Barrier),
    Broken(u64),
    Empty,
}

/// Passes the open barriers at the head of a queue, and what binds buffers, and looks at the command behind them.
fn look(queue: &mut Queue, buffers: &Buffers, mem: &FwMem, abi: &Abi) -> Result<Head<()>> {
    while queue.waiting() != 0 {
        let (place, va) = queue.head(mem)?;
        mem.check(place, va, 4, vagx_uat::Access::Read)?;
        let magic = mem.read_u32(place, va)?;
        if magic == command::INIT_BUFFER && queue.pipe == Pipe::Vertex {
            queue.fetched(mem, abi)?;
            buffers.init(mem, abi, queue, place, va)?;
            queue.done(mem, abi)?;
            continue;
        }
        if magic != command::BARRIER {
            return Ok(Head::Command((), place, va, magic));
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
        assert_eq!(channel_index(0xf), None);
        assert_eq!(channel_index(0x10), None);
    }
}
