// SPDX-License-Identifier: MIT OR Apache-2.0

//! Running a command: its microsequence, and the GPU's part of it.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use vagx_uat::{Access, Agent, Reason};

use crate::compute::{self, ComputeCommand};
use crate::control::Cut;
use crate::engine::{FaultUnit, JobError, JobStats, UatContext};
use crate::faults::Kind;
use crate::initdata::Booted;
use crate::layout::queue::command;
use crate::log::Event;
use crate::mem::{Record, Result};
use crate::microseq::Step;
use crate::port::FaultInfo;
use crate::queue::unsupported;
use crate::sched::Turn;
use crate::stamp::StampUpdate;
use crate::state::Core;
use crate::worker;

/// How soon the firmware notices that a job hangs, where a hang is wanted.
const INJECTED_HANG: Duration = Duration::from_millis(500);

/// How a command ended.
pub(crate) enum End {
    Done,
    /// It never will, and nobody is told.
    Lost,
    /// The GPU or the firmware is to be taken up again by the driver.
    Halted(Event, FaultInfo, String),
    /// It was ended for something else: another command's fault, or the coprocessor was switched off.
    Gone,
}

/// Runs the command of a turn. `known` gets what is needed to end it in any case.
pub(crate) fn run(
    core: &Core,
    booted: &Booted,
    turn: &Turn,
    known: &mut Option<StampUpdate>,
) -> Result<End> {
    match turn.magic {
        command::RUN_COMPUTE => run_compute(core, booted, turn, known),
        magic => Err(unsupported(&core.mem, turn.place, magic)),
    }
}

fn run_compute(
    core: &Core,
    booted: &Booted,
    turn: &Turn,
    known: &mut Option<StampUpdate>,
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
    check_awake(core, booted)?;
    let job = &command.job;
    let slot = job.vm_slot as u8;
    worker::begin(core, booted, turn, &command.stamp, slot, job.helper_data)?;
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
    if let Some(end) = injected(core, turn, command) {
        return end;
    }
    let written = Mutex::default();
    let memory = UatContext {
        uat: core.mem.uat(),
        ctx: job.vm_slot as u8,
        control: &turn.control,
        written: core.cfg.capture.is_some().then_some(&written),
    };
    if let Some(capture) = &core.cfg.capture {
        capture.begin(core.mem.uat(), &turn.queue, command);
    }
    let mut span = core.trace.span("gpu compute", "job");
    let result = core.cfg.engine.run_compute(&memory, job, &turn.control);
    if let Ok(stats) = &result {
        tell_stats(&mut span, stats);
    }
    drop(span);
    if let Some(capture) = &core.cfg.capture {
        capture.end(core.mem.uat(), &written, &result);
    }
    match turn.control.cut() {
        Some(Cut::TimedOut) => return timed_out(core, command),
        Some(Cut::Killed | Cut::Stopped) => return End::Gone,
        None => {}
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

/// How a job ends with which something is to go wrong on the GPU.
fn injected(core: &Core, turn: &Turn, command: &ComputeCommand) -> Option<End> {
    let plan = turn.plan.get()?;
    let (access, reason) = match plan.kind {
        Kind::Unmapped => (Access::Read, Reason::Unmapped),
        Kind::ReadOnly => (Access::Write, Reason::ReadOnly),
        Kind::WriteOnly => (Access::Read, Reason::WriteOnly),
        Kind::NoAccess => (Access::Read, Reason::NoAccess),
        Kind::Lose => return Some(End::Lost),
        Kind::Crash => {
            core.crash("a crash that was asked for");
            return Some(End::Gone);
        }
        Kind::Hang => return Some(hang(core, turn, command, plan.time)),
        _ => return None,
    };
    let stream = command.job.cdm_ctrl_stream_base;
    let mut end = fault(core, command, stream, access, FaultUnit::ControlStream, 0);
    if let End::Halted(_, info, _) = &mut end {
        info.reason = FaultInfo::reason_code(reason);
    }
    Some(end)
}

/// A job that does not end, until the firmware has had enough of it.
fn hang(core: &Core, turn: &Turn, command: &ComputeCommand, time: Option<Duration>) -> End {
    let end = Instant::now() + time.unwrap_or(INJECTED_HANG);
    while Instant::now() < end {
        if turn.control.cancelled() {
            return match turn.control.cut() {
                Some(Cut::TimedOut) => timed_out(core, command),
                _ => End::Gone,
            };
        }
        thread::sleep(Duration::from_millis(1));
    }
    timed_out(core, command)
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
