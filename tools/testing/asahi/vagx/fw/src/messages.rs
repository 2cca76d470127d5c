// SPDX-License-Identifier: MIT OR Apache-2.0

//! The thread that answers messages and reads the driver's rings.

use std::time::Duration;

use vagx_uat::{Agent, Attr, PAGE_SIZE};

use crate::faults::Kind;
use crate::handoff::{FLUSH_REQUESTED, FLUSH_SLOTS};
use crate::initdata::{self, Incoming};
use crate::layout::Abi;
use crate::log::{Severity, stats};
use crate::mem::{Place, Record, Refused, Result};
use crate::queue::{Pipe, RunMessage};
use crate::sched::channel_index;
use crate::state::{Core, EP_FIRMWARE};
use crate::worker;

/// How often the thread looks whether the job on the GPU takes too long.
const TICK: Duration = Duration::from_millis(100);

/// The state that only this thread has.
struct Messages<'a> {
    core: &'a Core,
    incoming: Option<Incoming>,
    initialized: bool,
}

/// Runs until the firmware is stopped.
pub(crate) fn run(core: &Core) {
    boot(core);
    let mut state = Messages {
        core,
        incoming: None,
        initialized: false,
    };
    while !core.stopped() {
        let news = core.inbox.take(TICK);
        if core.stopped() {
            return;
        }
        for (ep, msg) in news.unknown {
            state.unknown(ep, msg);
        }
        for va in news.init {
            state.init(va);
        }
        // A crash ends it, and what came together with its cause is not looked at any more.
        if core.stopped() {
            return;
        }
        if news.kick {
            core.trace.event("ep21 doorbell", "kick", &[]);
        }
        if news.device_control || news.kick {
            state.device_control();
        }
        if news.fwctl {
            state.fwctl();
        }
        for channel in 0..16u64 {
            if news.pipes >> channel & 1 != 0 {
                state.pipe(channel);
            }
        }
        // A job that takes too long is ended; its worker then reports the timeout.
        core.sched().end_late(core.cfg.job_timeout);
    }
}

/// What the firmware does before anyone talks to it.
fn boot(core: &Core) {
    let (chip, abi) = (core.cfg.chip, core.cfg.abi);
    let [major, minor, _] = abi.version;
    core.port.syslog(&format!(
        "AGX firmware model, interface {major}.{minor}, for {}",
        chip.name
    ));
    if !core.injects(Kind::NoHandoff) {
        core.handoff.boot();
    }
    if core.injects(Kind::HoldLock) {
        core.handoff.hold_lock();
    }
    if core.injects(Kind::Silent) {
        core.silence();
        return;
    }
    core.port.syslog("waiting for initialisation data");
}

fn message_place(ep: u8) -> Place {
    Place {
        structure: if ep == EP_FIRMWARE {
            "firmware endpoint"
        } else {
            "doorbell endpoint"
        },
        field: "message",
        offset: 0,
        address: 0,
    }
}

impl Messages<'_> {
    fn unknown(&self, ep: u8, msg: u64) {
        self.core.mem.complain(
            message_place(ep),
            msg,
            "not a message that the firmware knows",
        );
    }

    fn init(&mut self, va: u64) {
        let core = self.core;
        core.trace
            .event("ep20 firmware", "init", &[("initdata", va.into())]);
        if self.incoming.is_some() {
            let why = "the firmware has its initialisation data already";
            core.mem.complain(message_place(EP_FIRMWARE), va, why);
            return;
        }
        if core.injects(Kind::CrashAtInit) {
            core.crash("a crash that was asked for");
            return;
        }
        core.handoff.check_initialised();
        let Ok(walked) = initdata::walk(&core.mem, &core.cfg, va) else {
            core.crash("the initialisation data cannot be used");
            return;
        };
        core.set_booted(walked.booted, walked.outgoing);
        self.incoming = Some(walked.incoming);
        core.port.syslog("initialisation data accepted");
        let [major, minor, _] = core.cfg.abi.version;
        let text = format!(
            "AGX firmware model {major}.{minor} on {}, {} cores: ready",
            core.cfg.chip.name, core.cfg.chip.num_cores
        );
        core.line(Severity::Info, &text);
        core.line(Severity::Debug, "channels are set up");
        core.statistics(stats::POWER_ON, &[0]);
        core.notify();
        core.wake_ready(&core.sched());
    }

    /// The rings, or a complaint that there are none yet.
    fn incoming(&mut self, channel: u64) -> Result<&mut Incoming> {
        let core = self.core;
        self.incoming.as_mut().ok_or_else(|| {
            let why = "a doorbell before the initialisation data";
            core.mem.complain(message_place(0x21), channel, why)
        })
    }

    fn device_control(&mut self) {
        let core = self.core;
        let Ok(incoming) = self.incoming(0x11) else {
            return;
        };
        let mut initialized = false;
        let channel = incoming.device_control.name().to_owned();
        let _ = incoming.device_control.drain(|message| {
            capture(core, &channel, message);
            initialized |= device_control(core, message) == Ok(Control::Initialize);
        });
        if initialized && !self.initialized {
            self.initialized = true;
            core.line(Severity::Info, "initialised");
            core.notify();
        }
    }

    fn fwctl(&mut self) {
        let core = self.core;
        let Ok(incoming) = self.incoming(0x84) else {
            return;
        };
        if core.injects(Kind::NoFlushAck) {
            return;
        }
        let channel = incoming.fwctl.name().to_owned();
        let _ = incoming.fwctl.drain(|message| {
            capture(core, &channel, message);
            flush(core, message);
        });
    }

    fn pipe(&mut self, number: u64) {
        let core = self.core;
        let Some((index, pipe, priority)) = channel_index(number) else {
            let why = "no channel has this number";
            core.mem.complain(message_place(0x21), number, why);
            return;
        };
        core.trace
            .event("ep21 doorbell", "ring", &[("channel", number.into())]);
        let initialized = self.initialized;
        let Ok(incoming) = self.incoming(number) else {
            return;
        };
        let Some(ring) = incoming.pipes.get_mut(index) else {
            return;
        };
        let channel = ring.name().to_owned();
        let _ = ring.drain(|message| {
            capture(core, &channel, message);
            if !initialized {
                let why = "work before the Initialize message of the device control channel";
                message.complain(core.cfg.abi.run_work_queue.work_queue, why);
            }
            let _ = submit(core, pipe, priority, message);
        });
        core.wake(pipe).notify_all();
        worker::make_room(core, pipe);
    }
}

fn capture(core: &Core, channel: &str, message: &Record) {
    if let Some(capture) = &core.cfg.capture {
        capture.message(channel, message.bytes());
    }
}

fn submit(core: &Core, pipe: Pipe, priority: u32, message: &Record) -> Result<()> {
    let abi = core.cfg.abi;
    let message = RunMessage::parse(abi, pipe, message)?;
    core.sched().submit(&core.mem, abi, priority, &message)
}

/// What a message on the device control channel was, where that matters afterwards.
#[derive(PartialEq, Eq)]
enum Control {
    Initialize,
    Other,
}

fn device_control(core: &Core, message: &Record) -> Result<Control> {
    let abi = core.cfg.abi;
    let ops = &abi.device_control_ops;
    let opcode = message.get32(abi.device_control.opcode);
    let name = match opcode {
        op if op == ops.initialize => return Ok(Control::Initialize),
        op if op == ops.destroy_context => {
            destroy_context(core, abi, message)?;
            "DestroyContext"
        }
        op if op == ops.recover_channel => {
            recover_channel(core, abi, message)?;
            "RecoverChannel"
        }
        op if op == ops.grow_tvb_ack => {
            core.buffers.answer(core, message)?;
            "GrowTVBAck"
        }
        op if op == ops.idle_power_off => "IdlePowerOff",
        op if op == ops.update_idle_ts => "UpdateIdleTS",
        op if op == ops.configure_perf_counters => {
            unsupported(abi, message, "ConfigurePerfCounters")
        }
        op if op == ops.disable_perf_counters => unsupported(abi, message, "DisablePerfCounters"),
        op if op == ops.write32 => unsupported(abi, message, "Write32"),
        _ => return Err(message.complain(abi.device_control.opcode, "not a known opcode")),
    };
    core.trace.event("firmware", name, &[]);
    Ok(Control::Other)
}

/// The firmware would do this, the model does not.
fn unsupported(abi: &Abi, message: &Record, name: &'static str) -> &'static str {
    let why = format!("unsupported: {name} is not modelled");
    message.complain(abi.device_control.opcode, why);
    name
}

/// Number in a context's data that says that the firmware has not seen it, and in a message, "all of them".
const NO_CONTEXT: u64 = 0xff;

fn destroy_context(core: &Core, abi: &Abi, message: &Record) -> Result<()> {
    let (l, c) = (&abi.destroy_context, &abi.gpu_context);
    let message = Record::from_bytes(&core.mem, l.shape, message.base, message.bytes());
    let va = message.get(l.gpu_context);
    core.cache.flushed_all();
    if va == 0 {
        message.expect(
            l.ctx_0,
            NO_CONTEXT,
            "without a context, this flushes all caches",
        )?;
        return message.expect(
            l.ctx_1,
            NO_CONTEXT,
            "without a context, this flushes all caches",
        );
    }
    let data = message.follow(l.gpu_context, c.shape)?;
    for (field, stored) in [(l.ctx_0, c.ctx_0), (l.ctx_1, c.ctx_1), (l.ctx_23, c.ctx_23)] {
        let _ = message.expect(field, data.get(stored), "what the context's data says");
    }
    initdata::check_tables(&core.mem, &core.cfg);
    core.sched()
        .destroy_context(&core.mem, message.place(l.gpu_context), va);
    core.buffers.forget(va);
    Ok(())
}

fn recover_channel(core: &Core, abi: &Abi, message: &Record) -> Result<()> {
    let l = &abi.recover_channel;
    let message = Record::from_bytes(&core.mem, l.shape, message.base, message.bytes());
    let info = message.get(l.work_queue);
    let (known, stopped, pipe) = match core.sched().queue(info) {
        Some(queue) => (true, queue.stopped, queue.pipe.number()),
        None => (false, false, 0),
    };
    if !known || !stopped {
        return Err(message.complain(l.work_queue, "this queue has no error to recover from"));
    }
    message.expect(l.pipe_type, pipe.into(), "the pipe of this queue")?;
    worker::recover(core, info)
}

/// Writes back and drops a range of the firmware's cache. The model has none, so what is checked is that the driver
/// keeps to the protocol.
fn flush(core: &Core, message: &Record) {
    let _ = try_flush(core, message);
}

fn try_flush(core: &Core, message: &Record) -> Result<()> {
    let l = &core.cfg.abi.fwctl;
    let slot = message.get32(l.slot);
    if slot >= FLUSH_SLOTS {
        return Err(message.complain(l.slot, "no such slot in the handoff region"));
    }
    let (state, addr, size) = core.handoff.flush(slot).ok_or(Refused)?;
    let f = core.handoff.flush_layout();
    if state != FLUSH_REQUESTED {
        let why = format!("a flush was asked for by message; the state must be {FLUSH_REQUESTED}");
        core.handoff.complain_flush(slot, f.state, state, why);
        return Err(Refused);
    }
    core.trace.event(
        "handoff",
        "flush",
        &[
            ("slot", slot.into()),
            ("addr", addr.into()),
            ("size", size.into()),
        ],
    );
    let _ = message.expect(l.addr, addr, "the address in the handoff region");
    if size == 0 || !size.is_multiple_of(PAGE_SIZE) || !addr.is_multiple_of(PAGE_SIZE) {
        core.handoff
            .complain_flush(slot, f.size, size, "not a number of whole pages");
    } else {
        let pages = size / PAGE_SIZE;
        let _ = message.expect(
            l.page_count,
            pages & 0xffff,
            "the size in the handoff region",
        );
        check_uncached(core, slot, addr, pages);
    }
    core.cache.flushed(slot, addr, size / PAGE_SIZE);
    core.handoff.flush_done(slot);
    Ok(())
}

/// Until it is unmapped, the range must not find its way back into the cache.
fn check_uncached(core: &Core, slot: u32, addr: u64, pages: u64) {
    let ctx = u8::try_from(slot).ok().filter(|s| *s < 64).unwrap_or(0);
    // One bad page is enough to know; the bound keeps a wild size from keeping the thread.
    for page in 0..pages.min(0x1_0000) {
        let va = addr.wrapping_add(page * PAGE_SIZE);
        let Ok(pte) = core.mem.uat().walk(ctx, Agent::Firmware, va) else {
            continue;
        };
        if pte.attr() == Attr::Normal {
            let f = core.handoff.flush_layout();
            let why = format!("{va:#x} is still mapped as cached memory, so a flush does not last");
            core.handoff.complain_flush(slot, f.addr, addr, why);
            return;
        }
    }
}
