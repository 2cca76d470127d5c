// SPDX-License-Identifier: MIT OR Apache-2.0

//! Running a command: its microsequence, and the GPU's part of it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use vagx_capture::GpuJob;
use vagx_gpu::{Geometry, Rendered, VertexStats};
use vagx_trace::Span;
use vagx_uat::{Access, Agent, Reason};

use crate::command::{Command, Context};
use crate::compute;
use crate::control::Cut;
use crate::engine::{FaultUnit, JobError, JobStats, UatContext};
use crate::faults::Kind;
use crate::fragment::{self, FragmentWork};
use crate::initdata::Booted;
use crate::layout::queue::command;
use crate::log::Event;
use crate::mem::{Place, Record, Result};
use crate::microseq::Step;
use crate::port::FaultInfo;
use crate::queue::{Pipe, unsupported};
use crate::sched::Turn;
use crate::stamp::StampUpdate;
use crate::state::Core;
use crate::vertex::{self, VertexWork};
use crate::worker;

/// How soon the firmware notices that a job hangs, where a hang is wanted.
const INJECTED_HANG: Duration = Duration::from_millis(500);
/// A partial render needs the fragment command, which a driver submits together with the vertex command.
const FRAGMENT_PATIENCE: Duration = Duration::from_secs(2);

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

/// What is particular to a kind of command.
enum Work {
    Compute,
    Vertex(Box<VertexWork>),
    Fragment(Box<FragmentWork>),
}

/// A command on its way.
struct Run<'a> {
    core: &'a Core,
    cx: Context<'a>,
    turn: &'a Turn,
    command: Command,
    work: Work,
    job: GpuJob,
    /// Whether shaders may load from nothing.
    soft_faults: bool,
}

/// Runs the command of a turn. `known` gets what is needed to end it in any case.
pub(crate) fn run(
    core: &Core,
    booted: &Booted,
    turn: &Turn,
    known: &mut Option<StampUpdate>,
) -> Result<End> {
    let cx = Context {
        mem: &core.mem,
        abi: core.cfg.abi,
        booted,
        queue: &turn.queue,
        tiling_control: core.cfg.chip.tiling_control,
    };
    let run = Run::open(core, cx, turn, known)?;
    let end = run.go();
    if let Work::Fragment(work) = &run.work {
        core.buffers.end(&core.mem, work);
    }
    if turn.is_to(Kind::OddGrow) {
        core.buffers.ask_oddly(core);
    }
    end
}

impl<'a> Run<'a> {
    /// Reads and checks the command.
    fn open(
        core: &'a Core,
        cx: Context<'a>,
        turn: &'a Turn,
        known: &mut Option<StampUpdate>,
    ) -> Result<Run<'a>> {
        let (at, va) = (turn.place, turn.command);
        let (command, work, job) = match (turn.magic, turn.queue.pipe) {
            (command::RUN_COMPUTE, Pipe::Compute) => {
                let (command, work) = compute::parse(cx, at, va, known)?;
                (command, Work::Compute, GpuJob::Compute(work))
            }
            (command::RUN_VERTEX, Pipe::Vertex) => {
                let (command, work) = vertex::parse(cx, at, va, known)?;
                core.buffers.begin(cx, &command.record, &work)?;
                let job = GpuJob::Vertex(work.job.clone());
                (command, Work::Vertex(Box::new(work)), job)
            }
            (command::RUN_FRAGMENT, Pipe::Fragment) => {
                let (command, work) = fragment::parse(cx, at, va, known)?;
                let (vertex, partial) = core.buffers.find(cx, &command.record, &work)?;
                count_partial(cx, &command, partial)?;
                let job = GpuJob::Fragment(Box::new(vagx_gpu::RenderJob {
                    vertex,
                    fragment: work.job.clone(),
                }));
                (command, Work::Fragment(Box::new(work)), job)
            }
            (magic, _) => return Err(unsupported(cx.mem, at, magic)),
        };
        Ok(Run {
            core,
            cx,
            turn,
            command,
            work,
            job,
            soft_faults: cx.soft_faults()?,
        })
    }

    /// Goes through the microsequence.
    fn go(&self) -> Result<End> {
        let (core, booted, turn, command) = (self.core, self.cx.booted, self.turn, &self.command);
        check_awake(core, booted)?;
        let (stamp, data) = (&command.stamp, self.helper_data());
        worker::begin(core, booted, turn, stamp, command.vm_slot, data)?;
        let mut span = core
            .trace
            .span(&self.turn.queue.track(), self.turn.queue.pipe.name());
        span.arg("job", self.turn.number as i64);
        span.arg("command", self.turn.command);
        span.arg("context", u32::from(command.vm_slot));
        span.arg("stamp", u64::from(stamp.value));
        span.arg("slot", stamp.slot);
        span.arg("attachments", command.attachments);
        self.describe(&mut span);

        let mut end = End::Done;
        for step in &command.steps {
            match step {
                // The job is started before the first time is taken and over before the second one, so all of it is
                // done in between.
                Step::WaitForIdle => end = self.gpu()?,
                Step::Timestamp { start, record } => timestamp(core, command, *start, record)?,
                Step::Start(_) | Step::Finalize(_) | Step::RetireStamp => {}
            }
            // What was interrupted is finalized after the driver has resumed the firmware.
            if !matches!(end, End::Done) {
                break;
            }
        }
        Ok(end)
    }

    fn describe(&self, span: &mut Span) {
        match &self.job {
            GpuJob::Compute(work) => span.arg("stream", work.job.cdm_ctrl_stream_base),
            GpuJob::Vertex(job) => {
                span.arg("stream", job.vdm_ctrl_stream_base);
                span.arg("scene", job.tilemap);
                span.arg("width", job.width_px);
                span.arg("height", job.height_px);
                span.arg("layers", job.layers);
            }
            GpuJob::Fragment(job) => {
                span.arg("scene", job.fragment.tilemap);
                span.arg("width", job.fragment.width_px);
                span.arg("height", job.fragment.height_px);
                span.arg("samples", job.fragment.samples);
            }
        }
    }

    /// The argument of the command's helper program.
    fn helper_data(&self) -> u64 {
        match &self.job {
            GpuJob::Compute(work) => work.job.helper_data,
            GpuJob::Vertex(job) => job.helper_data,
            GpuJob::Fragment(job) => job.fragment.helper_data,
        }
    }

    /// Where the job's control stream begins, or what stands for it.
    fn stream(&self) -> u64 {
        match &self.job {
            GpuJob::Compute(work) => work.job.cdm_ctrl_stream_base,
            GpuJob::Vertex(job) => job.vdm_ctrl_stream_base,
            GpuJob::Fragment(job) => job.fragment.isp_scissor_base,
        }
    }

    /// What the GPU does from the start until it is idle.
    fn gpu(&self) -> Result<End> {
        if let Some(end) = self.injected() {
            return Ok(end);
        }
        let result = self.engine();
        if let Some(end) = self.cut() {
            return Ok(end);
        }
        match result {
            Ok(Output::Compute) => Ok(End::Done),
            Ok(Output::Vertex(geometry)) => {
                let stats = geometry.stats;
                if let GpuJob::Vertex(job) = &self.job {
                    self.core.buffers.keep(job, Arc::new(geometry));
                }
                self.fill(&stats)
            }
            Ok(Output::Fragment(rendered)) => {
                self.tell_rendered(&rendered);
                Ok(End::Done)
            }
            Err(JobError::Fault {
                va,
                access,
                unit,
                pc,
            }) => Ok(self.fault(va, access, unit, pc)),
            Err(JobError::Unsupported { va, bytes, why }) => Ok(self.unsupported(va, &bytes, &why)),
            Err(JobError::Cancelled) => Ok(End::Gone),
        }
    }

    /// How the command ends if it has been told to.
    fn cut(&self) -> Option<End> {
        match self.turn.control.cut()? {
            Cut::TimedOut => Some(self.timed_out()),
            Cut::Killed | Cut::Stopped => Some(End::Gone),
        }
    }

    /// How a job ends with which something is to go wrong on the GPU.
    fn injected(&self) -> Option<End> {
        let plan = self.turn.plan.get()?;
        let (access, reason) = match plan.kind {
            Kind::Unmapped => (Access::Read, Reason::Unmapped),
            Kind::ReadOnly => (Access::Write, Reason::ReadOnly),
            Kind::WriteOnly => (Access::Read, Reason::WriteOnly),
            Kind::NoAccess => (Access::Read, Reason::NoAccess),
            Kind::Lose => return Some(End::Lost),
            Kind::Crash => {
                self.core.crash("a crash that was asked for");
                return Some(End::Gone);
            }
            Kind::Hang => return Some(self.hang(plan.time)),
            _ => return None,
        };
        let mut end = self.fault(self.stream(), access, FaultUnit::ControlStream, 0);
        if let End::Halted(_, info, _) = &mut end {
            info.reason = FaultInfo::reason_code(reason);
        }
        Some(end)
    }

    /// A job that does not end, until the firmware has had enough of it.
    fn hang(&self, time: Option<Duration>) -> End {
        let deadline = Instant::now() + time.unwrap_or(INJECTED_HANG);
        while Instant::now() < deadline {
            if self.turn.control.cancelled() {
                return self.cut().unwrap_or(End::Gone);
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.timed_out()
    }

    /// Hands the job to the GPU model.
    fn engine(&self) -> std::result::Result<Output, JobError> {
        let core = self.core;
        let written = Mutex::default();
        let memory = UatContext {
            uat: core.mem.uat(),
            ctx: self.command.vm_slot,
            control: &self.turn.control,
            written: core.cfg.capture.is_some().then_some(&written),
        };
        let capture = core.cfg.capture.as_ref().map(|capture| {
            let uat = core.mem.uat();
            let number = capture.begin(uat, &self.turn.queue, &self.command, &self.job);
            (capture, number)
        });
        let track = format!("gpu {}", self.turn.queue.pipe.name());
        let mut span = core.trace.span(&track, "job");
        let (engine, control) = (&core.cfg.engine, &self.turn.control);
        let soft_faults = self.soft_faults;
        let result = match &self.job {
            GpuJob::Compute(work) => engine
                .run_compute(&memory, &work.job, work.soft_faults, control)
                .map(|stats| {
                    tell_stats(&mut span, &stats);
                    Output::Compute
                }),
            GpuJob::Vertex(job) => {
                engine
                    .run_vertex(&memory, job, soft_faults, control)
                    .map(|geometry| {
                        let stats = geometry.stats;
                        for (name, value) in [
                            ("blocks", stats.blocks),
                            ("draws", stats.draws),
                            ("vertices", stats.vertices),
                        ] {
                            span.arg(name, i64::try_from(value).unwrap_or(i64::MAX));
                        }
                        Output::Vertex(geometry)
                    })
            }
            GpuJob::Fragment(job) => engine
                .run_fragment(
                    &memory,
                    job,
                    &core.buffers.kept(&job.vertex),
                    soft_faults,
                    control,
                )
                .map(Output::Fragment),
        };
        drop(span);
        if let Some((capture, number)) = capture {
            capture.end(core.mem.uat(), number, &written, result.as_ref().err());
        }
        result
    }

    /// Gives the render its memory; partial renders happen here.
    fn fill(&self, stats: &VertexStats) -> Result<End> {
        let (core, Work::Vertex(work)) = (self.core, &self.work) else {
            return Ok(End::Done);
        };
        let ended = || self.turn.control.cancelled();
        let filled = core.buffers.fill(core, self.cx, work, stats, ended)?;
        let Some(filled) = filled else {
            return Ok(self.cut().unwrap_or(End::Gone));
        };
        if filled.partial_renders != 0 {
            self.check_fragment(work);
        }
        let track = self.turn.queue.track();
        let args = [
            ("pages", filled.pages.into()),
            ("growths", filled.growths.into()),
            ("partial renders", filled.partial_renders.into()),
        ];
        let name = match filled.partial_renders {
            0 => "tiled",
            _ => "partial render",
        };
        core.trace.event(&track, name, &args);
        Ok(End::Done)
    }

    /// The vertex half overflows into its fragment half, past the barrier that holds that.
    fn check_fragment(&self, work: &VertexWork) {
        let deadline = Instant::now() + FRAGMENT_PATIENCE;
        while !self.core.sched().fragment_waits(work.fragment_slot) {
            if self.turn.control.cancelled() {
                return;
            }
            if Instant::now() > deadline {
                let l = &self.cx.abi.run_vertex;
                let why = "a partial render, and no fragment command of this event slot waits";
                self.command.record.complain(l.fragment_stamp_slot, why);
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn tell_rendered(&self, rendered: &Rendered) {
        let GpuJob::Fragment(job) = &self.job else {
            return;
        };
        if rendered.pixels != 0 {
            return;
        }
        let fragment = &job.fragment;
        let args = [
            ("scene", fragment.tilemap.into()),
            ("width", fragment.width_px.into()),
            ("height", fragment.height_px.into()),
            ("layers", job.vertex.layers.into()),
            ("samples", fragment.samples.into()),
            ("stamp", u64::from(self.command.stamp.value).into()),
        ];
        let track = self.turn.queue.track();
        self.core
            .trace
            .event(&track, "rendered without pixels", &args);
    }

    /// The GPU model lacks something, and says so.
    fn unsupported(&self, va: u64, bytes: &[u8], why: &str) -> End {
        let place = Place {
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
        let bytes = crate::channel::hex(bytes);
        let why = format!("the GPU model lacks this: {why} (bytes {bytes})");
        self.core.mem.complain(place, word, why);
        // The results are worthless; a fault is the only way to tell the client so.
        self.fault(va, Access::Read, FaultUnit::InstructionFetch, va)
    }

    fn timed_out(&self) -> End {
        let event = Event::Timeout {
            counter: self.core.halts.load(Ordering::SeqCst),
            event_slot: self.command.stamp.slot,
        };
        let why = "the job did not end in time".into();
        End::Halted(event, FaultInfo::default(), why)
    }

    fn fault(&self, va: u64, access: Access, unit: FaultUnit, pc: u64) -> End {
        let slot = self.command.vm_slot;
        let (level, reason) = match self.cx.mem.uat().translate(slot, Agent::Gpu, va, access) {
            Err(f) => (f.level, FaultInfo::reason_code(f.reason)),
            Ok(_) => (3, 0),
        };
        // Which of its units hardware names for which access is not documented; these are of the right kind (m1n1
        // `hw/agx.py`): a data master, its fetches, the primitive processor, instruction access, the
        // loads and stores of depth, and the shaders' first-level cache.
        let code = match unit {
            FaultUnit::ControlStream => 0xa2,
            FaultUnit::VertexStream => 0xa7,
            FaultUnit::IndexList => 0xa9,
            FaultUnit::PrimitiveState => 0x09,
            FaultUnit::PipelineState => 0xe9,
            FaultUnit::InstructionFetch => 0x04,
            FaultUnit::Shader | FaultUnit::Texture => 0x01,
            FaultUnit::Isp => 0x0e,
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
        let why =
            format!("GPU fault: {access:?} of {va:#x} in context {slot} by {unit:?} at {pc:#x}");
        End::Halted(Event::Fault, info, why)
    }
}

/// What the GPU made of a job.
enum Output {
    Compute,
    Vertex(Geometry),
    Fragment(Rendered),
}

/// Tells the driver how often the vertex half overflowed.
fn count_partial(cx: Context<'_>, command: &Command, partial: u32) -> Result<()> {
    let field = cx.abi.run_fragment.tvb_overflow_count;
    let count = command.record.get(field).wrapping_add(partial.into());
    if partial == 0 {
        return Ok(());
    }
    cx.mem
        .write_u64(command.record.place(field), command.record.at(field), count)
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

/// What a Timestamp step does: the time goes into the command and to wherever the driver and the client want it.
fn timestamp(core: &Core, command: &Command, start: bool, record: &Record) -> Result<()> {
    let abi = core.cfg.abi;
    let (l, t, p) = (&command.parts, &abi.timestamp, &abi.timestamp_pointers);
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
