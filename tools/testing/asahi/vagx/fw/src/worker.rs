// SPDX-License-Identifier: MIT OR Apache-2.0

//! The thread that runs commands.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use vagx_trace::Level;
use vagx_uat::{Access, Agent};

use crate::compute::{self, ComputeCommand};
use crate::config::Inject;
use crate::engine::{FaultUnit, JobError, JobStats, UatContext};
use crate::handoff::NO_CONTEXT;
use crate::initdata::Booted;
use crate::layout::queue::command;
use crate::log::{Event, MEMORY_ERROR, Severity, stats};
use crate::mem::{Record, Refused, Result};
use crate::microseq::Step;
use crate::port::FaultInfo;
use crate::queue::{Queue, unsupported};
use crate::sched::{Failed, Next, Turn};
use crate::stamp::{self, StampUpdate};
use crate::state::Core;

/// How often barriers that hold and stamps that nobody is told about are looked at again.
const IDLE_TICK: Duration = Duration::from_millis(200);
/// How soon the firmware notices that a job hangs, where a hang is wanted.
const INJECTED_HANG: Duration = Duration::from_millis(500);

/// How a command ended.
enum End {
    Done,
    /// The GPU or the firmware is to be taken up again by the driver.
    Halted(Event, FaultInfo, String),
    /// The coprocessor was switched off, or says nothing more.
    Gone,
}

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
    let result = match turn.magic {
        command::RUN_COMPUTE => run_compute(core, booted, turn, &mut known, &mut pending),
        magic => Err(unsupported(&core.mem, turn.place, magic)),
    };
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

fn run_compute(
    core: &Core,
    booted: &Booted,
    turn: &Turn,
    known: &mut Option<StampUpdate>,
    pending: &mut Option<u32>,
) -> Result<End> {
    let abi = core.cfg.abi;
    let command = compute::parse(
        &core.mem,
        abi,
        booted,
        &turn.queue,
        turn.place,
        turn.command,
        known,
    )?;
    if core.cfg.injects(Inject::ChannelError(turn.number)) {
        return Err(Refused);
    }
    check_awake(core, booted)?;
    *pending = Some(stamp::begin(&core.mem, abi, booted, &command.stamp)?);
    core.handoff.set_current(command.job.vm_slot);
    let mut span = core.trace.span(&turn.queue.track(), "compute");
    span.arg("job", turn.number as i64);
    span.arg("command", turn.command);
    span.arg("stream", command.job.cdm_ctrl_stream_base);
    span.arg("context", command.job.vm_slot);
    span.arg("stamp", u64::from(command.stamp.value));
    span.arg("slot", command.stamp.slot);
    span.arg("attachments", command.attachments.len() as i64);

    let mut end = End::Done;
    for step in &command.steps {
        match step {
            Step::StartCompute(_) => end = run_gpu(core, turn, &command),
            Step::Timestamp { start, record } => timestamp(core, &command, *start, record)?,
            Step::WaitForIdle | Step::RetireStamp => {}
            Step::FinalizeCompute(_) => {}
        }
        // What was interrupted is finalized after the driver has resumed the firmware.
        if !matches!(end, End::Done) {
            break;
        }
    }
    Ok(end)
}

/// Work that the driver does not count in the globals may find the GPU switched off.
fn check_awake(core: &Core, booted: &Booted) -> Result<()> {
    let g = &core.cfg.abi.globals;
    let place = crate::mem::place(g.shape, booted.globals, g.pending_submissions);
    let count = core.mem.read_u32(place, place.address)?;
    if count == 0 || count > 0x10000 {
        let why = "a command runs, and this count of submissions is what keeps the GPU switched on";
        core.mem.complain(place, count.into(), why);
    }
    Ok(())
}

/// What StartCompute does, until the GPU is idle.
fn run_gpu(core: &Core, turn: &Turn, command: &ComputeCommand) -> End {
    let job = &command.job;
    if core.cfg.injects(Inject::LoseJob(turn.number)) {
        core.park();
        return End::Gone;
    }
    if core.cfg.injects(Inject::HangJob(turn.number)) {
        thread::sleep(INJECTED_HANG);
        return timed_out(core, command);
    }
    if core.cfg.injects(Inject::FaultJob(turn.number)) {
        let end = fault(
            core,
            command,
            job.cdm_ctrl_stream_base,
            Access::Read,
            FaultUnit::ControlStream,
            0,
        );
        return end;
    }
    // In this order, as `stop` sets its flag before it cancels.
    core.cancel.store(false, Ordering::SeqCst);
    if core.stopped() {
        return End::Gone;
    }
    let written = Mutex::default();
    let memory = UatContext {
        uat: core.mem.uat(),
        ctx: job.vm_slot as u8,
        cancel: &core.cancel,
        written: core.cfg.capture.is_some().then_some(&written),
    };
    if let Some(capture) = &core.cfg.capture {
        capture.begin(core.mem.uat(), &turn.queue, command);
    }
    let mut span = core.trace.span("gpu compute", "job");
    let result = core.cfg.engine.run_compute(&memory, job, &core.cancel);
    if let Ok(stats) = &result {
        tell_stats(&mut span, stats);
    }
    drop(span);
    if let Some(capture) = &core.cfg.capture {
        capture.end(core.mem.uat(), &written, &result);
    }
    if core.stopped() {
        return End::Gone;
    }
    if core.cancel.load(Ordering::SeqCst) {
        return timed_out(core, command);
    }
    match result {
        Ok(_) => End::Done,
        Err(JobError::Fault {
            va,
            access,
            unit,
            pc,
        }) => fault(core, command, va, access, unit, pc),
        Err(JobError::Unsupported { va, bytes, why }) => {
            let place = crate::mem::Place {
                structure: "GPU",
                field: "unsupported",
                offset: 0,
                address: va,
            };
            let word = bytes
                .iter()
                .take(8)
                .rev()
                .fold(0, |w, b| w << 8 | u64::from(*b));
            let bytes = crate::channel::hex(&bytes);
            core.mem.complain(
                place,
                word,
                format!("the GPU model lacks this: {why} (bytes {bytes})"),
            );
            // The results are worthless; a fault is the only way to tell the client so.
            fault(
                core,
                command,
                va,
                Access::Read,
                FaultUnit::InstructionFetch,
                va,
            )
        }
        Err(JobError::Cancelled) => End::Gone,
    }
}

fn tell_stats(span: &mut vagx_trace::Span, stats: &JobStats) {
    for (name, value) in [
        ("launches", stats.launches),
        ("groups", stats.groups),
        ("threads", stats.threads),
        ("instructions", stats.instructions),
        ("soft faults", stats.soft_faults),
    ] {
        span.arg(name, i64::try_from(value).unwrap_or(i64::MAX));
    }
}

fn timed_out(core: &Core, command: &ComputeCommand) -> End {
    let counter = core.halts.load(Ordering::SeqCst);
    let event = Event::Timeout {
        counter,
        event_slot: command.stamp.slot,
    };
    End::Halted(
        event,
        FaultInfo::default(),
        "the job did not end in time".into(),
    )
}

fn fault(
    core: &Core,
    command: &ComputeCommand,
    va: u64,
    access: Access,
    unit: FaultUnit,
    pc: u64,
) -> End {
    let slot = command.job.vm_slot as u8;
    let (level, reason) = match core.mem.uat().translate(slot, Agent::Gpu, va, access) {
        Err(f) => (f.level, FaultInfo::reason_code(f.reason)),
        Ok(_) => (3, 0),
    };
    // Which of its units hardware names for which access is not documented; these are of the right kind (m1n1
    // `hw/agx.py`): the compute data master, its state fetch, instruction access, and the shaders' first-level cache.
    let code = match unit {
        FaultUnit::ControlStream => 0xa2,
        FaultUnit::PipelineState => 0xe9,
        FaultUnit::InstructionFetch => 0x04,
        FaultUnit::Shader => 0x01,
    };
    let info = FaultInfo {
        valid: true,
        address: va,
        vm_slot: slot,
        unit: code,
        level,
        read: access == Access::Read,
        reason,
    };
    let why = format!("GPU fault: {access:?} of {va:#x} in context {slot} by {unit:?} at {pc:#x}");
    End::Halted(Event::Fault, info, why)
}

/// What a Timestamp step does: the time goes into the command and to wherever the driver and the client want it.
fn timestamp(core: &Core, command: &ComputeCommand, start: bool, record: &Record) -> Result<()> {
    let abi = core.cfg.abi;
    let (l, t, p) = (&abi.run_compute, &abi.timestamp, &abi.timestamp_pointers);
    let ticks = core.port.now_ticks();
    let per_second = u128::from(core.cfg.chip.ticks_per_second);
    let nanos = (u128::from(ticks) * 1_000_000_000 / per_second) as u64;
    let time = record.place(t.command_time);
    core.mem
        .write_u64(time, record.get(t.command_time), ticks)?;
    let which = if start { p.start } else { p.end };
    let cmd = &command.record;
    for (pair, value) in [
        (l.timestamp_pointers, ticks),
        (l.user_timestamp_pointers, nanos),
    ] {
        let pointers = cmd.embedded(pair, p.shape);
        let to = pointers.get(which);
        if to != 0 {
            core.mem.write_u64(pointers.place(which), to, value)?;
        }
    }
    Ok(())
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
