// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Tests with hardware that does what it is told.

use super::*;
use crate::{
    sync::atomic::{
        Relaxed, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
    workqueue,
};

/// How long things may take that are expected to happen, in milliseconds.
const SOON: i64 = 5_000;

/// What the tests and the queues share.
struct Hardware {
    /// Jobs up to this number are done.
    done: Atomic<u32>,
    /// The last job that has come to the hardware.
    started: Atomic<u32>,
    /// How many jobs a queue may have in the hardware.
    room: u32,
    /// Milliseconds that a job may take.
    timeout: u32,
    /// How many times a job that takes too long is given the time again.
    patience: Atomic<u32>,
    /// Jobs and backends that were dropped.
    dropped: Atomic<u32>,
    buried: Atomic<u32>,
    /// Queues that may be in the hardware at a time, less those that are.
    seats: Atomic<i32>,
    line: Arc<WaitList<Fake>>,
    set: Arc<QueueSet<Fake>>,
}

struct FakeJob {
    number: u32,
    hardware: Arc<Hardware>,
}

impl Drop for FakeJob {
    fn drop(&mut self) {
        self.hardware.dropped.fetch_add(1, Relaxed);
    }
}

/// One queue's place in the hardware.
struct Seat {
    hardware: Arc<Hardware>,
    _queue: Arc<JobQueue<Fake>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hardware.seats.fetch_add(1, Relaxed);
        self.hardware.line.wake_one();
    }
}

struct Fake {
    hardware: Arc<Hardware>,
    used: u32,
    seat: Option<Seat>,
    in_line: bool,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.hardware.buried.fetch_add(1, Relaxed);
    }
}

struct FakeNames;

impl FenceNames for FakeNames {
    const DRIVER: &'static CStr = c"kunit";
    const TIMELINE: &'static CStr = c"fake";
}

impl Backend for Fake {
    type Job = FakeJob;
    type Names = FakeNames;
    type Slots = Seat;
    type Probe = Arc<Hardware>;

    const MOST: u32 = 4;

    fn workqueue() -> &'static Queue {
        workqueue::system_highpri()
    }

    fn run(&mut self, queue: &Arc<JobQueue<Self>>, job: &mut FakeJob) -> Result<Admission> {
        let hardware = self.hardware.clone();
        if self.used >= hardware.room {
            return Ok(Admission::Blocked);
        }
        if self.in_line && hardware.line.has(queue) {
            return Ok(Admission::Blocked);
        }
        let woken = core::mem::take(&mut self.in_line);
        if self.seat.is_none() {
            self.seat = hardware
                .line
                .claim(queue, woken, || Ok::<_, Error>(hardware.sit(queue)))?;
            self.in_line = self.seat.is_none();
        }
        if self.in_line {
            return Ok(Admission::Blocked);
        }
        if woken {
            hardware.line.wake_one();
        }
        self.used += 1;
        if job.number == 0 {
            return Err(EIO);
        }
        self.hardware.started.store(job.number, Relaxed);
        Ok(Admission::Running)
    }

    fn unblock(&mut self, queue: &Arc<JobQueue<Self>>) {
        if core::mem::take(&mut self.in_line) {
            self.hardware.line.leave(queue);
            self.hardware.line.wake_one();
        }
    }

    fn is_done(&self, job: &FakeJob) -> bool {
        job.number != 0 && job.number <= self.hardware.done.load(Relaxed)
    }

    fn retire(&mut self, _job: &mut FakeJob) {
        self.used -= 1;
    }

    fn idle(&mut self) -> Option<Seat> {
        self.seat.take()
    }

    fn timeout(&self) -> u32 {
        self.hardware.timeout
    }

    fn probe(&self) -> Arc<Hardware> {
        self.hardware.clone()
    }

    fn timed_out(hardware: Arc<Hardware>) -> Verdict {
        match hardware.patience.load(Relaxed) {
            0 => Verdict::Fail,
            left => {
                hardware.patience.store(left - 1, Relaxed);
                Verdict::Wait(hardware.timeout)
            }
        }
    }
}

impl Hardware {
    fn new(room: u32, seats: i32, timeout: u32) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                done: Atomic::new(0),
                started: Atomic::new(0),
                room,
                timeout,
                patience: Atomic::new(0),
                dropped: Atomic::new(0),
                buried: Atomic::new(0),
                seats: Atomic::new(seats),
                line: WaitList::new()?,
                set: QueueSet::new()?,
            },
            GFP_KERNEL,
        )?)
    }

    fn queue(self: &Arc<Self>) -> Result<Arc<JobQueue<Fake>>> {
        let fake = Fake {
            hardware: self.clone(),
            used: 0,
            seat: None,
            in_line: false,
        };
        JobQueue::new(fake, &self.set)
    }

    fn sit(self: &Arc<Self>, queue: &Arc<JobQueue<Fake>>) -> Option<Seat> {
        if self.seats.fetch_sub(1, Relaxed) > 0 {
            return Some(Seat {
                hardware: self.clone(),
                _queue: queue.clone(),
            });
        }
        self.seats.fetch_add(1, Relaxed);
        None
    }

    fn submit(
        self: &Arc<Self>,
        queue: &Arc<JobQueue<Fake>>,
        number: u32,
        fences: KVec<ARef<Fence>>,
    ) -> Result<ARef<Fence>> {
        let job = FakeJob {
            number,
            hardware: self.clone(),
        };
        let room = queue.make_room(1)?;
        Ok(queue.prepare(room, job, fences)?.submit())
    }

    /// Makes a job whose queue is to be stopped before it is submitted.
    fn prepare(self: &Arc<Self>, queue: &Arc<JobQueue<Fake>>) -> Result<PreparedJob<Fake>> {
        let job = FakeJob {
            number: 100,
            hardware: self.clone(),
        };
        queue.prepare(queue.make_room(1)?, job, KVec::new())
    }

    fn finish(&self, queue: &Arc<JobQueue<Fake>>, number: u32) {
        self.done.store(number, Relaxed);
        queue.update(|_| ());
    }

    fn started(&self) -> u32 {
        self.started.load(Relaxed)
    }
}

/// Waits for what workers do.
fn soon(condition: impl Fn() -> bool) -> bool {
    let start = Instant::<Monotonic>::now();
    while !condition() {
        if start.elapsed().as_millis() > SOON {
            return false;
        }
        fsleep(Delta::from_millis(1));
    }
    true
}

const NEVER: u32 = 1_000_000;

#[macros::kunit_tests(rust_drm_jobqueue)]
mod cases {
    use super::*;

    #[test]
    fn jobs_run_and_finish_in_order() -> Result {
        let hardware = Hardware::new(8, 1, NEVER)?;
        let queue = hardware.queue()?;
        let first = hardware.submit(&queue, 1, KVec::new())?;
        let second = hardware.submit(&queue, 2, KVec::new())?;
        let third = hardware.submit(&queue, 3, KVec::new())?;

        assert_eq!(hardware.started(), 3);
        assert_eq!(first.context(), third.context());
        assert_eq!(first.seqno() + 2, third.seqno());
        hardware.finish(&queue, 1);
        assert_eq!(first.status(), Some(Ok(())));
        assert_eq!(second.status(), None);
        hardware.finish(&queue, 3);
        assert_eq!(second.status(), Some(Ok(())));
        assert_eq!(third.status(), Some(Ok(())));
        assert!(soon(|| hardware.dropped.load(Relaxed) == 3));
        Ok(())
    }

    #[test]
    fn jobs_wait_for_fences_and_hold_up_those_behind() -> Result {
        let hardware = Hardware::new(8, 1, NEVER)?;
        let queue = hardware.queue()?;
        let others = FenceContext::<FakeNames>::new();
        let slow = others.arm(FenceSlot::new(GFP_KERNEL)?);
        let signalled = others.arm(FenceSlot::new(GFP_KERNEL)?);
        let mut fences = KVec::new();
        fences.push(slow.fence().into(), GFP_KERNEL)?;
        fences.push(signalled.fence().into(), GFP_KERNEL)?;
        signalled.signal(Ok(()));

        let waiting = hardware.submit(&queue, 1, fences)?;
        let behind = hardware.submit(&queue, 2, KVec::new())?;
        fsleep(Delta::from_millis(20));
        assert_eq!(hardware.started(), 0);

        // An error of what is waited for is none of the job.
        slow.signal(Err(EIO));
        assert!(soon(|| hardware.started() == 2));
        hardware.finish(&queue, 2);
        assert_eq!(waiting.status(), Some(Ok(())));
        assert_eq!(behind.status(), Some(Ok(())));
        Ok(())
    }

    #[test]
    fn jobs_wait_for_room() -> Result {
        let hardware = Hardware::new(2, 1, NEVER)?;
        let queue = hardware.queue()?;
        for number in 1..=4 {
            hardware.submit(&queue, number, KVec::new())?;
        }
        assert_eq!(hardware.started(), 2);
        hardware.finish(&queue, 1);
        assert_eq!(hardware.started(), 3);
        hardware.finish(&queue, 3);
        assert_eq!(hardware.started(), 4);
        hardware.finish(&queue, 4);
        Ok(())
    }

    #[test]
    fn who_submits_too_much_waits() -> Result {
        let hardware = Hardware::new(2, 1, 30)?;
        hardware.patience.store(1, Relaxed);
        let queue = hardware.queue()?;
        // One that is alone may cost more than all.
        drop(queue.make_room(10)?);
        let first = hardware.submit(&queue, 1, KVec::new())?;
        for number in 2..=4 {
            hardware.submit(&queue, number, KVec::new())?;
        }
        // There is room again when the queue has been stopped, but nothing to use it for.
        assert_eq!(queue.make_room(1).err(), Some(EIO));
        assert_eq!(first.status(), Some(Err(ETIMEDOUT)));
        hardware.finish(&queue, 4);
        Ok(())
    }

    #[test]
    fn queues_stand_in_line() -> Result {
        let hardware = Hardware::new(8, 1, NEVER)?;
        let (one, two, three) = (hardware.queue()?, hardware.queue()?, hardware.queue()?);
        hardware.submit(&one, 1, KVec::new())?;
        let killed = hardware.submit(&two, 2, KVec::new())?;
        let last = hardware.submit(&three, 3, KVec::new())?;
        assert_eq!(hardware.started(), 1);

        // One leaves the line for good, which holds up nobody.
        two.kill(ENODEV);
        assert_eq!(killed.status(), Some(Err(ENODEV)));
        hardware.finish(&one, 1);
        assert!(soon(|| hardware.started() == 3));
        hardware.finish(&three, 3);
        assert_eq!(last.status(), Some(Ok(())));
        assert_eq!(hardware.seats.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn a_job_that_takes_too_long_stops_its_queue() -> Result {
        let hardware = Hardware::new(2, 1, 30)?;
        let queue = hardware.queue()?;
        let slow = hardware.submit(&queue, 1, KVec::new())?;
        let behind = hardware.submit(&queue, 2, KVec::new())?;
        let waiting = hardware.submit(&queue, 3, KVec::new())?;
        let late = hardware.prepare(&queue)?;

        assert!(soon(|| waiting.is_signaled()));
        assert_eq!(slow.status(), Some(Err(ETIMEDOUT)));
        assert_eq!(behind.status(), Some(Err(ECANCELED)));
        assert_eq!(waiting.status(), Some(Err(ECANCELED)));
        assert_eq!(queue.check(), Err(EIO));
        assert_eq!(queue.make_room(1).err(), Some(EIO));
        assert_eq!(late.submit().status(), Some(Err(ECANCELED)));

        // What the hardware may still come back to stays until it has.
        assert!(soon(|| hardware.dropped.load(Relaxed) == 2));
        assert_eq!(hardware.seats.load(Relaxed), 0);
        hardware.finish(&queue, 2);
        assert!(soon(|| hardware.dropped.load(Relaxed) == 4));
        assert_eq!(hardware.seats.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn the_driver_may_wait_longer() -> Result {
        let hardware = Hardware::new(2, 1, 10)?;
        hardware.patience.store(3, Relaxed);
        let queue = hardware.queue()?;
        let slow = hardware.submit(&queue, 1, KVec::new())?;

        assert!(soon(|| hardware.patience.load(Relaxed) == 0));
        hardware.finish(&queue, 1);
        // It may just have been too long for the fourth time.
        let fair = matches!(slow.status(), Some(Ok(()) | Err(ETIMEDOUT)));
        assert!(fair);
        Ok(())
    }

    #[test]
    fn errors_from_the_hardware_stop_a_queue() -> Result {
        let hardware = Hardware::new(2, 1, NEVER)?;
        let queue = hardware.queue()?;
        let bad = hardware.submit(&queue, 1, KVec::new())?;
        let good = hardware.submit(&queue, 2, KVec::new())?;
        let waiting = hardware.submit(&queue, 3, KVec::new())?;

        let hit = queue.update(|jobs| {
            jobs.stop(EIO);
            jobs.fail(EIO, NEVER, |_, job| job.number == 1)
        });
        assert_eq!(hit, 1);
        // It is not over before the hardware says so.
        assert_eq!(bad.status(), None);
        assert_eq!(waiting.status(), Some(Err(ECANCELED)));
        hardware.finish(&queue, 2);
        assert_eq!(bad.status(), Some(Err(EIO)));
        assert_eq!(good.status(), Some(Ok(())));
        assert_eq!(queue.check(), Err(EIO));
        Ok(())
    }

    #[test]
    fn a_job_that_cannot_be_run_stops_its_queue() -> Result {
        let hardware = Hardware::new(2, 1, NEVER)?;
        let queue = hardware.queue()?;
        let fence = hardware.submit(&queue, 0, KVec::new())?;

        assert_eq!(fence.status(), Some(Err(EIO)));
        assert_eq!(queue.check(), Err(EIO));
        // Nobody knows whether the hardware has it.
        fsleep(Delta::from_millis(10));
        assert_eq!(hardware.dropped.load(Relaxed), 0);
        hardware.set.kill(ENODEV);
        assert!(soon(|| hardware.dropped.load(Relaxed) == 1));
        Ok(())
    }

    #[test]
    fn all_queues_are_killed_with_their_device() -> Result {
        let hardware = Hardware::new(1, 1, NEVER)?;
        let others = FenceContext::<FakeNames>::new();
        let never = others.arm(FenceSlot::new(GFP_KERNEL)?);
        let mut fences = KVec::new();
        fences.push(never.fence().into(), GFP_KERNEL)?;
        let (one, two, idle) = (hardware.queue()?, hardware.queue()?, hardware.queue()?);
        let running = hardware.submit(&one, 1, KVec::new())?;
        let blocked = hardware.submit(&one, 2, KVec::new())?;
        let waiting = hardware.submit(&two, 3, fences)?;
        let late = hardware.prepare(&idle)?;

        hardware.set.kill(ENODEV);
        for fence in [&running, &blocked, &waiting] {
            assert_eq!(fence.status(), Some(Err(ENODEV)));
        }
        assert_eq!(idle.check(), Err(ENODEV));
        assert_eq!(idle.make_room(1).err(), Some(ENODEV));
        assert_eq!(late.submit().status(), Some(Err(ENODEV)));
        // The callback has been taken off.
        assert!(soon(|| hardware.dropped.load(Relaxed) == 4));
        drop((one, two, idle));
        assert!(soon(|| hardware.buried.load(Relaxed) == 3));
        never.signal(Ok(()));
        Ok(())
    }

    #[test]
    fn a_queue_outlives_its_owner_until_it_is_done() -> Result {
        let hardware = Hardware::new(2, 1, NEVER)?;
        let queue = hardware.queue()?;
        let fence = hardware.submit(&queue, 1, KVec::new())?;
        let raw = Arc::as_ptr(&queue);
        drop(queue);
        fsleep(Delta::from_millis(10));
        assert_eq!(hardware.buried.load(Relaxed), 0);

        // SAFETY: As long as a job is running, the set holds the queue.
        let queue = unsafe { crate::sync::ArcBorrow::from_raw(raw) };
        let queue = Arc::from(queue);
        hardware.finish(&queue, 1);
        drop(queue);
        assert_eq!(fence.status(), Some(Ok(())));
        assert!(soon(|| hardware.buried.load(Relaxed) == 1));
        Ok(())
    }

    #[test]
    fn a_prepared_job_may_be_dropped() -> Result {
        let hardware = Hardware::new(2, 1, NEVER)?;
        let queue = hardware.queue()?;
        drop(hardware.prepare(&queue)?);
        assert_eq!(hardware.dropped.load(Relaxed), 1);
        let fence = hardware.submit(&queue, 1, KVec::new())?;
        assert_eq!(fence.seqno(), 1);
        hardware.finish(&queue, 1);
        Ok(())
    }
}
