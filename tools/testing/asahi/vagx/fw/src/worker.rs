// SPDX-License-Identifier: MIT OR Apache-2.0

//! The thread that runs commands.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use vagx_trace::Level;

use crate::config::Inject;
use crate::handoff::NO_CONTEXT;
use crate::initdata::Booted;
use crate::job::{self, End};
use crate::log::{Event, MEMORY_ERROR, Severity, stats};
use crate::mem::{Refused, Result};
use crate::port::FaultInfo;
use crate::queue::Queue;
use crate::sched::{Failed, Next, Turn};
use crate::stamp::{self, StampUpdate};
use crate::state::Core;

/// How often barriers that hold and stamps that nobody is told about are looked at again.
const IDLE_TICK: Duration = Duration::from_millis(200);
/// Runs until the firmware is stopped.
pub(crate) fn run(core: &Core) {
    let mut busy = false;
    while !core.stopped() {
        let next = {
            let mut sched = core.sched();
            let next = match core.booted() {
                Some(_) => sched.next(&core.mem, core.cfg.abi),
                None => Next::Nothing,
            };
            if let Next::Nothing = next {
                if busy {
                    busy = false;
                    drop(sched);
                    core.statistics(stats::FW_BUSY, &[core.port.now_ticks(), 0]);
                } else {
                    // A poisoned lock only means that the other thread is gone, and `stopped` says what to do.
                    let _ = core.wake.wait_timeout(sched, IDLE_TICK);
                }
                continue;
            }
            next
        };
        match next {
            Next::Run(turn) => {
                if !busy {
                    busy = true;
                    core.statistics(stats::FW_BUSY, &[core.port.now_ticks(), 1]);
                }
                run_turn(core, &turn);
            }
            Next::Broken(queue) => channel_error(core, &queue, None, None, 0),
            Next::Nothing => {}
        }
    }
}

fn run_turn(core: &Core, turn: &Turn) {
    let Some(booted) = core.booted() else { return };
    let mut known = None;
    let mut pending = None;
    let result = job::run(core, booted, turn, &mut known, &mut pending);
    match (result, known) {
        (Ok(End::Done), Some(stamp)) => retire(core, booted, &turn.queue, stamp, pending),
        (Ok(End::Halted(event, info, why)), Some(stamp)) => {
            halt(core, booted, turn, event, info, &why);
            retire(core, booted, &turn.queue, stamp, pending);
        }
        (Ok(End::Gone), _) => return,
        (_, stamp) => {
            let value = stamp.map_or(0, |s| s.value);
            channel_error(core, &turn.queue, stamp, pending, value);
        }
    }
    let finished = {
        let mut sched = core.sched();
        sched.finish();
        sched.finished
    };
    for fault in &core.cfg.faults {
        match *fault {
            Inject::CrashAfter(n) if n == finished => core.crash("a crash that was asked for"),
            Inject::SilentAfter(n) if n == finished => core.silence(),
            Inject::BadEvent if finished == 1 => nonsense(core),
            Inject::BadRing if finished == 1 => bad_rings(core),
            _ => {}
        }
    }
}

/// Ends a command: what FinalizeCompute and RetireStamp do, and telling the driver.
fn retire(core: &Core, booted: &Booted, queue: &Queue, stamp: StampUpdate, pending: Option<u32>) {
    if let Some(bits) = try_retire(core, booted, queue, stamp, pending).unwrap_or(None) {
        core.event(Event::Flag(bits));
    }
}

/// The command's memory is the driver's again once the shared stamp is written, so that comes last.
fn try_retire(
    core: &Core,
    booted: &Booted,
    queue: &Queue,
    stamp: StampUpdate,
    pending: Option<u32>,
) -> Result<Option<[u32; 4]>> {
    let abi = core.cfg.abi;
    // Once the driver knows that the job is over, it may use the context's slot for another.
    core.handoff.set_current(NO_CONTEXT);
    stamp.write_private(&core.mem)?;
    queue.done(&core.mem, abi)?;
    if let Some(index) = pending {
        stamp::end(&core.mem, abi, booted, index)?;
    }
    let bits = core.sched().notifiers.count(&core.mem, abi, &stamp);
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

/// Stops for a fault or timeout and waits until the driver says to go on.
fn halt(core: &Core, booted: &Booted, turn: &Turn, event: Event, info: FaultInfo, why: &str) {
    let mut span = core.trace.span("firmware", "halted");
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

/// Stops a queue and tells the driver.
fn channel_error(
    core: &Core,
    queue: &Queue,
    stamp: Option<StampUpdate>,
    pending: Option<u32>,
    value: u32,
) {
    {
        let mut sched = core.sched();
        if let Some(q) = sched.queue_mut(queue.info) {
            q.stopped = true;
        }
        if let Some(stamp) = stamp {
            sched.failed.insert(queue.info, Failed { stamp, pending });
        }
    }
    core.line(
        Severity::Error,
        &format!("{}: command refused", queue.track()),
    );
    core.event(Event::ChannelError {
        error_type: MEMORY_ERROR,
        pipe_type: queue.pipe.number(),
        event_slot: queue.event_slot,
        event_value: value,
    });
}

/// What RecoverChannel does: the failed command counts as finished and the queue goes on.
pub(crate) fn recover(core: &Core, info: u64) -> Result<()> {
    let booted = core.booted().ok_or(Refused)?;
    let (queue, failed) = {
        let mut sched = core.sched();
        let failed = sched.failed.remove(&info);
        let Some(queue) = sched.queue_mut(info) else {
            return Err(Refused);
        };
        queue.stopped = false;
        (queue.clone(), failed)
    };
    if let Some(failed) = failed {
        retire(core, booted, &queue, failed.stamp, failed.pending);
    }
    core.wake.notify_all();
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
