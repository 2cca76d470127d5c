// SPDX-License-Identifier: MIT OR Apache-2.0

//! The threads that run commands, and how a command ends.
//!
//! A fault stops all engines until the driver resumes the firmware. What was on an engine at that moment is in the list
//! of pending stamps, is killed with the culprit, and is finished after the resumption like any other command: other
//! drivers rely on that (they mark the jobs of all pending stamps as failed and wait for the stamps). Commands that were
//! set aside or had not started lose nothing.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use vagx_trace::Level;
use vagx_uat::Ttbr;

use crate::courier;
use crate::faults::{Facts, Kind};
use crate::initdata::Booted;
use crate::job::{self, End};
use crate::log::{Event, MEMORY_ERROR, Severity, stats};
use crate::mem::{Place, Refused, Result};
use crate::port::FaultInfo;
use crate::queue::{Pipe, Queue};
use crate::sched::{Failed, Next, Scheduler, Turn};
use crate::stamp::{self, StampUpdate};
use crate::state::Core;

/// How often barriers that hold and stamps that nobody is told about are looked at again.
const IDLE_TICK: Duration = Duration::from_millis(200);
/// How long a fault waits for the other engines to stop.
const HALT_PATIENCE: Duration = Duration::from_secs(5);

/// Runs the commands of a pipe until the firmware is stopped.
pub(crate) fn run(core: &Core, pipe: Pipe) {
    serve(core, pipe, 0);
}

/// Runs commands while `depth` others of this pipe are set aside; returns when there is nothing for which they would
/// have to wait any more.
fn serve(core: &Core, pipe: Pipe, depth: usize) {
    let abi = core.cfg.abi;
    let mut checked = Instant::now();
    while !core.stopped() {
        // One of the workers does this beside its work.
        if pipe == Pipe::Vertex && depth == 0 && checked.elapsed() > IDLE_TICK / 2 {
            core.cache.check();
            checked = Instant::now();
        }
        let mut sched = core.sched();
        let next = match core.booted() {
            Some(_) => sched.next(&core.mem, abi, pipe, depth),
            None => Next::Nothing,
        };
        match next {
            Next::Run(turn) => {
                let news = sched.note_busy(true);
                drop(sched);
                if news {
                    core.statistics(stats::FW_BUSY, &[core.port.now_ticks(), 1]);
                }
                run_turn(core, &turn);
            }
            Next::Broken(queue) => {
                drop(sched);
                channel_error(core, &queue, None, None);
            }
            Next::Nothing if depth != 0 && !sched.halted => {
                if let Some(booted) = core.booted() {
                    sched.take_up(&core.mem, abi, booted, pipe);
                }
                // For the worker below, if what was set aside has ended meanwhile.
                core.wake(pipe).notify_all();
                return;
            }
            Next::Nothing => {
                if depth == 0 && sched.note_busy(false) {
                    drop(sched);
                    core.statistics(stats::FW_BUSY, &[core.port.now_ticks(), 0]);
                } else if !core.stopped() {
                    // A poisoned lock only means that another thread is gone, and `stopped` says what to do.
                    let _ = core.wake(pipe).wait_timeout(sched, IDLE_TICK);
                }
            }
        }
    }
}

/// Sets a command aside if a more urgent one has come, which then gets a worker of its own.
pub(crate) fn make_room(core: &Core, pipe: Pipe) {
    let Some(booted) = core.booted() else { return };
    let depth = core
        .sched()
        .set_aside(&core.mem, core.cfg.abi, booted, pipe);
    if let Some(depth) = depth {
        let name = format!("vagx-fw-{}-{depth}", pipe.name());
        core.spawn(&name, move |core| serve(core, pipe, depth));
    }
}

/// A command has been read and gets to the GPU now. Refused if that was asked for.
pub(crate) fn begin(
    core: &Core,
    booted: &Booted,
    turn: &Turn,
    update: &StampUpdate,
    context: u8,
    helper_data: u64,
) -> Result<()> {
    let facts = Facts {
        number: turn.number,
        pipe: turn.queue.pipe,
        ctx: context,
        uuid: turn.queue.uuid,
        data: helper_data,
    };
    if let Some(plan) = core.faults.plan(&facts) {
        let what = [
            ("kind", plan.kind.to_string().into()),
            ("job", turn.number.into()),
        ];
        core.trace.event("firmware", "fault on request", &what);
        let _ = turn.plan.set(plan);
    }
    if turn.is_to(Kind::ChannelError) {
        return Err(Refused);
    }
    // What has not begun when a fault stops the GPU begins after it.
    let mut sched = core.sched();
    while sched.halted && !core.stopped() {
        sched = wait(core, sched);
    }
    sched.begin(&core.mem, core.cfg.abi, booted, turn.number, update)?;
    drop(sched);
    core.enter_context(context);
    if let Some(tables) = core.mem.uat().ttbrs(context) {
        let _ = turn.context.set((context, tables));
    }
    make_room(core, turn.queue.pipe);
    Ok(())
}

/// Waits for news of a halt.
fn wait<'a>(core: &'a Core, sched: MutexGuard<'a, Scheduler>) -> MutexGuard<'a, Scheduler> {
    match core.halting.wait_timeout(sched, IDLE_TICK) {
        Ok((sched, _)) => sched,
        Err(poisoned) => poisoned.into_inner().0,
    }
}

fn run_turn(core: &Core, turn: &Turn) {
    let Some(booted) = core.booted() else { return };
    let mut known = None;
    let mut result = job::run(core, booted, turn, &mut known);

    let mut sched = core.sched();
    if sched.halted {
        // If it had a fault of its own, that is one with the other.
        if let Ok(End::Halted(..)) = result {
            result = Ok(End::Gone);
        }
        sched.park(turn.number);
        core.halting.notify_all();
        while sched.halted && !core.stopped() {
            sched = wait(core, sched);
        }
    }
    if let Ok(End::Halted(event, info, why)) = &result {
        sched.halt(turn.number);
        drop(sched);
        halt(core, booted, turn, *event, *info, why);
        // More than one message may tell of the same timeout (m1n1 `agx/__init__.py`, `timeout`).
        if let Event::Timeout { .. } = event
            && core.courier.stutters()
        {
            core.event(*event);
        }
        sched = core.sched();
        sched.halted = false;
        core.halting.notify_all();
    }
    sched.ends(turn.number);
    drop(sched);
    if core.stopped() {
        return;
    }
    if let Some((context, tables)) = turn.context.get() {
        check_tables(core, *context, *tables);
        core.leave_context(*context);
    }
    match (result, known) {
        (Ok(End::Lost), Some(stamp)) => lose(core, booted, turn, stamp),
        (Ok(_), Some(stamp)) => retire(core, booted, turn, stamp),
        (_, stamp) => {
            drop_pending(core, booted, turn);
            channel_error(core, &turn.queue, stamp, Some(turn));
        }
    }
    let pipe = turn.queue.pipe;
    let mut sched = core.sched();
    sched.finish(turn.number);
    core.wake_ready(&sched);
    let others: Vec<Pipe> = sched.ready().filter(|p| *p != pipe).collect();
    drop(sched);
    // Its stamp may have opened a barrier of a queue that is more urgent than what runs there.
    others.into_iter().for_each(|pipe| make_room(core, pipe));
    aftermath(core, turn);
}

/// The tables of a context must stay where they are while a command runs in it.
fn check_tables(core: &Core, context: u8, then: [Ttbr; 2]) {
    let uat = core.mem.uat();
    let Some(now) = uat.ttbrs(context).filter(|now| *now != then) else {
        return;
    };
    let place = Place {
        structure: "TTBAT",
        field: "context",
        offset: u64::from(context) * 16,
        address: uat.ttbat_entry(context),
    };
    let why = format!(
        "changed while a command of this context was on the GPU, from {:#x}, {:#x}",
        then[0].0, then[1].0
    );
    core.mem.complain(place, now[0].0, why);
}

/// What goes wrong after a job.
fn aftermath(core: &Core, turn: &Turn) {
    match turn.plan.get().map(|plan| plan.kind) {
        Some(Kind::CrashAfter) => core.crash("a crash that was asked for"),
        Some(Kind::SilentAfter) => core.silence(),
        Some(Kind::BadEvent) => nonsense(core),
        Some(Kind::BadRing) => bad_rings(core),
        Some(Kind::FalseFlag) => core.event(Event::Flag([u32::MAX; 4])),
        Some(Kind::StaleTimeout) => {
            // Every halt that there was has been dealt with, or this command would not have run.
            if let Some(counter) = core.halts.load(Ordering::SeqCst).checked_sub(1) {
                core.event(Event::Timeout {
                    counter,
                    event_slot: turn.queue.event_slot,
                });
            }
        }
        _ => {}
    }
}

/// Takes a command out of the list of pending stamps.
fn drop_pending(core: &Core, booted: &Booted, turn: &Turn) {
    let pending = core.sched().take_pending(turn.number);
    if let Some(index) = pending {
        // What cannot be written has been complained about.
        let _ = stamp::end(&core.mem, core.cfg.abi, booted, index);
    }
}

/// Forgets a command without a word; its queue waits for it for ever.
fn lose(core: &Core, booted: &Booted, turn: &Turn, stamp: StampUpdate) {
    drop_pending(core, booted, turn);
    let failed = Failed { stamp, lost: true };
    core.sched().stop_queue(turn.queue.info, Some(failed));
    core.trace
        .event("firmware", "lost", &[("job", turn.number.into())]);
}

/// Ends a command: what Finalize and RetireStamp do, and telling the driver.
fn retire(core: &Core, booted: &Booted, turn: &Turn, stamp: StampUpdate) {
    drop_pending(core, booted, turn);
    if let Some(bits) = write_stamps(core, &turn.queue, stamp).unwrap_or(None) {
        courier::flag(core, bits, turn.plan.get());
    }
}

/// The command's memory is the driver's again once the shared stamp is written, so that comes last. Returns what the
/// driver is to be told.
fn write_stamps(core: &Core, queue: &Queue, stamp: StampUpdate) -> Result<Option<[u32; 4]>> {
    let abi = core.cfg.abi;
    stamp.write_private(&core.mem)?;
    queue.done(&core.mem, abi)?;
    let bits = core
        .sched()
        .notifiers
        .count(&core.mem, abi, queue.gpu_context, &stamp);
    stamp.write_shared(&core.mem)?;
    core.trace.event(
        &queue.track(),
        "stamp",
        &[
            ("slot", stamp.slot.into()),
            ("value", u64::from(stamp.value).into()),
        ],
    );
    bits
}

/// Stops for a fault or timeout and waits until the driver says to go on. The engines have been told to stop.
fn halt(core: &Core, booted: &Booted, turn: &Turn, event: Event, info: FaultInfo, why: &str) {
    let mut span = core.trace.span("firmware", "halted");
    let deadline = Instant::now() + HALT_PATIENCE;
    let mut sched = core.sched();
    while !sched.still(turn.number) && !core.stopped() && Instant::now() < deadline {
        sched = wait(core, sched);
    }
    drop(sched);
    span.arg("why", why);
    core.halts.fetch_add(1, Ordering::SeqCst);
    core.port.fault_regs(info);
    core.line(Severity::Error, why);
    let _ = try_halt(core, booted, turn, event);
    core.port.fault_regs(FaultInfo::default());
}

fn try_halt(core: &Core, booted: &Booted, turn: &Turn, event: Event) -> Result<()> {
    let (s, r, g) = (
        &core.cfg.abi.fw_status,
        &core.cfg.abi.fault_report,
        &core.cfg.abi.globals,
    );
    let mem = &core.mem;
    let halts = core.halts.load(Ordering::SeqCst);
    mem.store(g.shape, booted.globals, g.fault_queue_uuid, turn.queue.uuid)?;
    mem.store(r.shape, booted.fault_report, r.status, 1)?;
    mem.store(r.shape, booted.fault_report, r.total_halts, halts)?;
    mem.store(s.shape, booted.fw_status, s.halt_count, halts)?;
    mem.store(s.shape, booted.fw_status, s.halted, 1)?;
    core.event(event);
    while mem.load(s.shape, booted.fw_status, s.resume)? == 0 {
        if core.stopped() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    let halted = mem.load(s.shape, booted.fw_status, s.halted)?;
    if halted != 0 {
        let place = crate::mem::place(s.shape, booted.fw_status, s.halted);
        mem.complain(place, halted.into(), "must be cleared before resume is set");
        mem.store(s.shape, booted.fw_status, s.halted, 0)?;
    }
    mem.store(s.shape, booted.fw_status, s.resume, 0)?;
    mem.store(r.shape, booted.fault_report, r.status, 0)?;
    core.warn("resumed by the host");
    Ok(())
}

/// Stops a queue and tells the driver. `turn` is the command that was refused, if it was read at all.
fn channel_error(core: &Core, queue: &Queue, stamp: Option<StampUpdate>, turn: Option<&Turn>) {
    let failed = stamp.map(|stamp| Failed { stamp, lost: false });
    core.sched().stop_queue(queue.info, failed);
    core.line(
        Severity::Error,
        &format!("{}: command refused", queue.track()),
    );
    let plan = turn.and_then(|t| t.plan.get());
    core.event(Event::ChannelError {
        error_type: plan.and_then(|p| p.error).unwrap_or(MEMORY_ERROR),
        pipe_type: queue.pipe.number(),
        event_slot: queue.event_slot,
        event_value: stamp.map_or(0, |s| s.value),
    });
}

/// What RecoverChannel does: the failed command counts as finished and the queue goes on.
pub(crate) fn recover(core: &Core, info: u64) -> Result<()> {
    let (queue, failed) = core.sched().recover(info).ok_or(Refused)?;
    if let Some(failed) = failed
        && let Some(bits) = write_stamps(core, &queue, failed.stamp).unwrap_or(None)
    {
        courier::flag(core, bits, None);
    }
    let mut sched = core.sched();
    sched.restart(info);
    core.wake_ready(&sched);
    drop(sched);
    make_room(core, queue.pipe);
    Ok(())
}

fn nonsense(core: &Core) {
    core.event(Event::Nonsense(0xdead_beef));
    core.event(Event::Nonsense(3));
    core.event(Event::Flag([u32::MAX; 4]));
    core.event(Event::ChannelError {
        error_type: 77,
        pipe_type: 99,
        event_slot: 0xffff_fff0,
        event_value: 1,
    });
}

fn bad_rings(core: &Core) {
    core.trace.log(
        Level::Info,
        "putting write indices out of range, as asked for",
    );
    core.with_outgoing(|out| {
        out.event.corrupt()?;
        out.stats.corrupt()
    });
    core.notify();
    thread::sleep(Duration::from_millis(100));
    core.with_outgoing(|out| {
        out.event.repair()?;
        out.stats.repair()
    });
    core.notify();
}
