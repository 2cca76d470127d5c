// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The hardware as the job queue of a client's queue sees it.
//!
//! The order of jobs, their fences and their time are the business of [`JobQueue`]. Here is what is
//! AGX's: a job needs slots, goes into up to three rings, and is done when the stamps of all of
//! them have passed it.
//!
//! # Slots
//!
//! A job needs an event slot for each work queue that it uses, the slot of its address space, and
//! one for a tiler buffer if it renders. A queue takes them when a job goes to the firmware, all of
//! them or none, keeps them as long as the firmware has any work of it, and then gives them back.
//! What it has not got it stands in line for; a queue in line holds nothing but what its running
//! jobs need, which come to an end without it. So queues do not wait for each other in circles.
//!
//! Those who have slots make way for those in line: a queue takes no more jobs to the firmware
//! while somebody stands in line for a kind of slot that it has. When its running jobs are done, it
//! gives the slots back and gets in line itself.

use kernel::{
    drm::jobqueue::{
        Admission,
        Backend,
        JobQueue,
        Verdict,
        WaitList, //
    },
    prelude::*,
    sync::Arc,
    workqueue::Queue, //
};

use crate::{
    event::{
        EventSlots,
        Recover,
        WorkError, //
    },
    fence::Names,
    gpu::{
        Gpu,
        Life, //
    },
    mmu::{
        uat::SlotListener,
        VmSlot, //
    },
    queue::{
        memory::Memory,
        place::Places,
        tiler::TilerSlot,
        work::Work, //
    },
    worker, //
};

/// A client's queue, between the ioctl and the firmware.
pub(crate) type Scheduler = JobQueue<Hardware>;

/// Queues that stand in line for a kind of slot.
pub(crate) type Line = WaitList<Hardware>;

impl SlotListener for Line {
    fn slot_idle(&self) {
        self.wake_one();
    }
}

/// How long the firmware may take to finish a job that it has reported as failed, in milliseconds.
const ERROR_TIMEOUT: u32 = 2_000;

/// What a submission to a queue fails with that has been stopped after an error.
const STOPPED: Error = EIO;

/// How many commands a queue may have before a submission waits. Each takes some tens of kilobytes
/// in the client's address space.
const MOST_COMMANDS: u32 = 512;

/// A kind of slot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SlotKind {
    Vm,
    Event,
    Tiler,
}

/// Slots. A queue gives them back when the firmware has no work of it.
#[derive(Default)]
pub(crate) struct Slots {
    vm: Option<VmSlot>,
    tiler: Option<TilerSlot>,
    events: EventSlots,
}

/// A queue's place in the hardware.
pub(crate) struct Hardware {
    memory: Memory,
    /// What it has but for the events, which are with the work queues.
    slots: Slots,
    /// What the queue stands in line for.
    line: Option<SlotKind>,
}

impl Hardware {
    /// Makes it from the memory that is shared with the firmware.
    pub(super) fn new(memory: Memory) -> Self {
        Self {
            memory,
            slots: Slots::default(),
            line: None,
        }
    }

    /// Returns the line for a kind of slot.
    fn line_for(&self, kind: SlotKind) -> &Line {
        let gpu = &self.memory.gpu;
        match kind {
            SlotKind::Vm => gpu.vm_line(),
            SlotKind::Event => gpu.events().line(),
            SlotKind::Tiler => gpu.tiler_slots().line(),
        }
    }

    /// Returns whether others wait for what the queue has.
    fn is_in_the_way(&self) -> bool {
        let events = self.memory.queues.iter().any(|q| q.slot().is_some());
        let has = [
            (SlotKind::Vm, self.slots.vm.is_some()),
            (SlotKind::Event, events),
            (SlotKind::Tiler, self.slots.tiler.is_some()),
        ];
        has.into_iter()
            .any(|(kind, has)| has && !self.line_for(kind).is_empty())
    }

    /// Takes all slots that a job needs and the queue has not got, or else gets in line for the
    /// first kind that there is none of, and returns that.
    fn acquire(
        &self,
        queue: &Arc<Scheduler>,
        work: &Work,
        woken: Option<SlotKind>,
    ) -> Result<core::result::Result<Slots, SlotKind>> {
        let gpu = &self.memory.gpu;
        let mut new = Slots::default();

        if self.slots.vm.is_none() {
            let kind = SlotKind::Vm;
            let space = self.memory.vm.space();
            new.vm = self
                .line_for(kind)
                .claim(queue, woken == Some(kind), || space.try_bind_slot())?;
            if new.vm.is_none() {
                return Ok(Err(kind));
            }
        }

        let lacking = self.memory.lacking(&work.shares).count();
        if lacking != 0 {
            let kind = SlotKind::Event;
            let events = self.line_for(kind).claim(queue, woken == Some(kind), || {
                Ok::<_, Error>(gpu.events().try_take(queue, lacking))
            })?;
            match events {
                Some(events) => new.events = events,
                None => return Ok(Err(kind)),
            }
        }

        if let (None, Some(owner)) = (&self.slots.tiler, &work.tiler) {
            let kind = SlotKind::Tiler;
            new.tiler = self.line_for(kind).claim(queue, woken == Some(kind), || {
                Ok::<_, Error>(gpu.tiler_slots().try_take(self.memory.id, owner))
            })?;
            if new.tiler.is_none() {
                return Ok(Err(kind));
            }
        }
        Ok(Ok(new))
    }

    /// Keeps slots that a job needs.
    fn keep(&mut self, new: Slots, work: &Work) {
        if new.vm.is_some() {
            self.slots.vm = new.vm;
        }
        if new.tiler.is_some() {
            self.slots.tiler = new.tiler;
        }
        let mut events = new.events.into_iter().flatten();
        for (queue, share) in self.memory.queues.iter_mut().zip(&work.shares) {
            if share.events != 0 && queue.slot().is_none() {
                if let Some(event) = events.next() {
                    queue.attach(event);
                }
            }
        }
    }

    /// Gives all slots back, by way of dropping what it returns.
    fn release(&mut self) -> Slots {
        let mut slots = core::mem::take(&mut self.slots);
        for (event, queue) in slots.events.iter_mut().zip(&mut self.memory.queues) {
            *event = queue.detach();
        }
        slots
    }

    /// Takes a job to the firmware if there is room and there are slots.
    fn admit(
        &mut self,
        queue: &Arc<Scheduler>,
        work: &mut Work,
        woken: Option<SlotKind>,
    ) -> Result<Admission> {
        if !self.memory.has_room(&work.shares) {
            return Ok(Admission::Blocked);
        }
        if self.is_in_the_way() {
            if self.memory.is_busy() {
                return Ok(Admission::Blocked);
            }
            drop(self.release());
        }
        match self.acquire(queue, work, woken)? {
            Ok(new) => self.keep(new, work),
            Err(kind) => {
                self.line = Some(kind);
                return Ok(Admission::Blocked);
            }
        }

        let [vertex, fragment, compute] = &self.memory.queues;
        let places = Places {
            vm_slot: self.slots.vm.as_ref().ok_or(EINVAL)?.slot(),
            vertex: vertex.place(),
            fragment: fragment.place(),
            compute: compute.place(),
            tiler: self.slots.tiler.as_ref().map(TilerSlot::place),
        };
        self.memory.run(work, &places)?;
        Ok(Admission::Running)
    }
}

impl Backend for Hardware {
    type Job = Work;
    type Names = Names;
    type Slots = Slots;
    type Probe = Arc<Gpu>;

    const STOPPED: Error = STOPPED;
    const MOST: u32 = MOST_COMMANDS;

    fn workqueue() -> &'static Queue {
        worker::queue()
    }

    fn cleanup() -> &'static Queue {
        worker::cleanup()
    }

    fn run(&mut self, queue: &Arc<Scheduler>, work: &mut Work) -> Result<Admission> {
        let line = self.line;
        if line.is_some_and(|kind| self.line_for(kind).has(queue)) {
            return Ok(Admission::Blocked);
        }

        // Who is not in line any more has been woken.
        self.line = None;
        let ret = self.admit(queue, work, line);
        if let Some(kind) = line.filter(|_| self.line != line) {
            // There may be enough for the next one, too.
            self.line_for(kind).wake_one();
        }
        ret
    }

    fn unblock(&mut self, queue: &Arc<Scheduler>) {
        if let Some(kind) = self.line.take() {
            let line = self.line_for(kind);
            line.leave(queue);
            line.wake_one();
        }
    }

    fn look(&mut self) {
        for queue in &mut self.memory.queues {
            queue.look();
        }
    }

    fn is_done(&self, work: &Work) -> bool {
        self.memory.is_done(work)
    }

    fn retire(&mut self, work: &mut Work) {
        self.memory.retire(work);
    }

    fn lost(&mut self, work: &mut Work) {
        work.suspect();
    }

    fn idle(&mut self) -> Option<Slots> {
        Some(self.release())
    }

    /// The firmware has a limit of its own; this one is for when the firmware does not answer.
    fn timeout(&self) -> u32 {
        crate::module_parameters::job_timeout_ms.value().max(1)
    }

    fn probe(&self) -> Arc<Gpu> {
        self.memory.gpu.clone()
    }

    fn timed_out(gpu: Arc<Gpu>) -> Verdict {
        match gpu.check_firmware() {
            Life::Alive => dev_err!(gpu.dev(), "a job takes too long, its queue is stopped\n"),
            Life::Resumed => return Verdict::Wait(ERROR_TIMEOUT),
            // It is not about this job.
            Life::Gone => {}
        }
        Verdict::Fail
    }
}

/// Work of a queue's event slot has failed, up to a stamp value.
///
/// If the firmware is to go on with the work queue after an error of its channel, that is returned.
pub(crate) fn fail(
    queue: &Arc<Scheduler>,
    slot: u32,
    value: u32,
    error: WorkError,
) -> Option<Recover> {
    queue.update(|jobs| {
        let hardware = jobs.backend();
        let queues = &hardware.memory.queues;
        let index = queues.iter().position(|queue| queue.slot() == Some(slot))?;
        let failed = queues.get(index)?;
        let recover = Recover {
            pipe: failed.pipe(),
            queue_info: failed.info_va(),
        };

        let vm_slot = hardware.slots.vm.as_ref().map(VmSlot::slot);
        let guilty = match error {
            WorkError::Fault(info) => vm_slot == Some(info.vm_slot),
            WorkError::Timeout | WorkError::ChannelError(_) => true,
            // Another client's work was at fault, or nobody knows whose it was. What was running is
            // lost, the queue is not.
            WorkError::Killed | WorkError::Unknown => false,
        };
        let errno = match error {
            WorkError::Fault(_) if !guilty => WorkError::Killed.into(),
            error => error.into(),
        };

        let limit = if guilty {
            ERROR_TIMEOUT
        } else {
            hardware.timeout()
        };
        let hits = jobs.fail(errno, limit, |hardware, work| {
            let hit = hardware.memory.is_hit(work, index, value);
            if hit {
                work.suspect();
            }
            hit
        });
        // An error of work that is done, or that never was, is none.
        if hits == 0 {
            return None;
        }
        if guilty {
            jobs.stop(STOPPED);
        }
        matches!(error, WorkError::ChannelError(_)).then_some(recover)
    })
}
