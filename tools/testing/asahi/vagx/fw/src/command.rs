// SPDX-License-Identifier: MIT OR Apache-2.0

//! What all commands have in common, and what is checked of it before one runs.
//!
//! Much of a command is there twice, embedded in the command and named by pointer in the microsequence, and the
//! firmware assumes the embedding. Every such pair is compared.
//!
//! Addresses that the client chose are not checked here: the GPU faults when it gets to a bad one.

use vagx_uat::{Access, Agent, PAGE_SIZE};

use crate::hwdata::{SOFT_FAULTS, TIMESTAMP_AREA_SIZE};
use crate::initdata::Booted;
use crate::layout::compute::MAX_ATTACHMENTS;
use crate::layout::{Abi, Field, Layout, Shape};
use crate::mem::{FwMem, Place, Record, Result, Sharing};
use crate::microseq::{self, Step};
use crate::queue::{EVENT_SLOTS, Pipe, Queue, check_slot, reached};
use crate::stamp::StampUpdate;

/// Everything that a check may need to look at.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub mem: &'a FwMem,
    pub abi: &'a Abi,
    pub booted: &'a Booted,
    /// The queue that the command came from.
    pub queue: &'a Queue,
    pub tiling_control: u64,
}

impl Context<'_> {
    /// Whether the driver has switched on that loads from nothing give zero.
    pub(crate) fn soft_faults(&self) -> Result<bool> {
        let g = &self.abi.globals;
        let control = self
            .mem
            .load(g.shape, self.booted.globals, g.fault_control)?;
        Ok(control == SOFT_FAULTS)
    }
}

/// Where the parts that all commands have are in one kind of them.
pub(crate) struct Parts {
    pub shape: Shape,
    pub meta_name: &'static str,
    pub encoder_name: &'static str,
    pub vm_slot: Field,
    pub notifier: Field,
    pub microsequence: Field,
    pub microsequence_size: Field,
    pub encoder_params: Field,
    pub meta: Field,
    pub command_time: Field,
    pub timestamp_pointers: Field,
    pub user_timestamp_pointers: Field,
    pub unk_ts: Field,
}

macro_rules! parts {
    ($layout:expr, $meta:literal, $encoder:literal) => {{
        let l = &$layout;
        crate::command::Parts {
            shape: l.shape,
            meta_name: $meta,
            encoder_name: $encoder,
            vm_slot: l.vm_slot,
            notifier: l.notifier,
            microsequence: l.microsequence,
            microsequence_size: l.microsequence_size,
            encoder_params: l.encoder_params,
            meta: l.meta,
            command_time: l.command_time,
            timestamp_pointers: l.timestamp_pointers,
            user_timestamp_pointers: l.user_timestamp_pointers,
            unk_ts: l.unk_ts,
        }
    }};
}
pub(crate) use parts;

/// A command whose common parts are good.
pub(crate) struct Command {
    pub record: Record,
    pub parts: Parts,
    pub steps: Vec<Step>,
    /// Number of the context that it runs in.
    pub vm_slot: u8,
    pub stamp: StampUpdate,
    pub uuid: u32,
    pub attachments: u32,
}

/// Why a pointer in a step must be what it is.
pub(crate) const EMBEDDED: &str = "the structure embedded in the command";

/// Reads the command at `va` and checks what is common; `at` is its place in the ring. `known` gets the command's
/// stamps as soon as they are known to be good, so that a command refused later can still be ended.
pub(crate) fn open(
    cx: Context<'_>,
    layout: &dyn Layout,
    parts: Parts,
    at: Place,
    va: u64,
    known: &mut Option<StampUpdate>,
) -> Result<Command> {
    let (mem, abi) = (cx.mem, cx.abi);
    mem.check_rw(at, va, parts.shape.size.into())?;
    let cmd = mem.record(at, parts.shape, va)?;
    cmd.show(&cx.queue.track(), layout);
    let meta = Shape {
        name: parts.meta_name,
        ..abi.job_meta.shape
    };
    let meta = cmd.embedded(parts.meta, meta);
    let stamp = check_stamps(cx, &cmd, &parts, &meta)?;
    *known = Some(stamp);
    let vm_slot = check_slot(mem, &cmd, parts.vm_slot)?;
    check_times(cx, &cmd, &parts)?;
    check_encoder(cx, &cmd, &parts);
    check_dummy_page(cx, &cmd, &parts, vm_slot);
    let sequence = cmd.get(parts.microsequence);
    let size = cmd.get32(parts.microsequence_size);
    let place = cmd.place(parts.microsequence);
    let steps = microseq::parse(mem, abi, cx.queue.pipe, place, sequence, size)?;
    let uuid = meta.get32(abi.job_meta.uuid);
    Ok(Command {
        record: cmd,
        parts,
        steps,
        vm_slot,
        stamp,
        uuid,
        attachments: 0,
    })
}

impl Command {
    /// Shows the steps and checks what does not depend on the kind of command; `start` and `finalize` do the rest.
    pub(crate) fn check_steps(
        &self,
        cx: Context<'_>,
        start: impl Fn(&Record) -> Result<()>,
        finalize: impl Fn(&Record) -> Result<()>,
    ) -> Result<()> {
        let track = cx.queue.track();
        let dialect = microseq::dialect(cx.abi, cx.queue.pipe);
        for step in &self.steps {
            match step {
                Step::Start(record) => {
                    record.show(&track, dialect.start_layout);
                    start(record)?;
                }
                Step::Timestamp { record, .. } => {
                    record.show(&track, &cx.abi.timestamp);
                    self.check_timestamp(cx, record)?;
                }
                Step::Finalize(record) => {
                    record.show(&track, dialect.finalize_layout);
                    finalize(record)?;
                }
                Step::WaitForIdle | Step::RetireStamp => {}
            }
        }
        Ok(())
    }

    fn check_timestamp(&self, cx: Context<'_>, record: &Record) -> Result<()> {
        let (p, t, cmd) = (&self.parts, &cx.abi.timestamp, &self.record);
        record.expect(t.command_time, cmd.at(p.command_time), EMBEDDED)?;
        record.expect(t.pointers, cmd.at(p.timestamp_pointers), EMBEDDED)?;
        record.expect(t.user_pointers, cmd.at(p.user_timestamp_pointers), EMBEDDED)?;
        let _ = record.expect(t.unk_ts, cmd.at(p.unk_ts), EMBEDDED);
        record.expect(t.work_queue, cx.queue.info, OWN_QUEUE)?;
        let _ = record.expect(
            t.uuid,
            self.uuid.into(),
            "the same as in the command's meta",
        );
        Ok(())
    }

    /// Checks what a start and a finalize both repeat: statistics, queue, context and identity.
    pub(crate) fn check_common(
        &self,
        cx: Context<'_>,
        step: &Record,
        [stats, work_queue, vm_slot, uuid]: [Field; 4],
    ) -> Result<()> {
        step.expect(work_queue, cx.queue.info, OWN_QUEUE)?;
        step.expect(vm_slot, self.vm_slot.into(), "the same as in the command")?;
        let _ = step.expect(uuid, self.uuid.into(), "the same as in the command's meta");
        let (index, name) = match cx.queue.pipe {
            Pipe::Vertex => (0, "stats_vtx"),
            Pipe::Fragment => (1, "stats_frag"),
            Pipe::Compute => (2, "stats_comp"),
        };
        let (base, size) = (cx.booted.stats[index], cx.abi.stats[index]);
        if step.get(stats).wrapping_sub(base) >= size {
            let why = format!("not in RuntimePointers.{name} at {base:#x}");
            return Err(step.complain(stats, why));
        }
        Ok(())
    }

    /// Checks what every start has of the notifier.
    pub(crate) fn check_events(
        &self,
        cx: Context<'_>,
        start: &Record,
        generation: Field,
        notifier_buf: Field,
    ) -> Result<()> {
        let n = &cx.abi.notifier;
        let buffer = self.stamp.notifier + u64::from(n.unk_buf.offset);
        let why = "Notifier.unk_buf of the command's notifier";
        let _ = start.expect(notifier_buf, buffer, why);
        let now = cx.mem.load(n.shape, self.stamp.notifier, n.generation)?;
        let _ = start.expect(generation, now.into(), "Notifier.generation");
        Ok(())
    }

    /// Checks the stamp that a finalize writes.
    pub(crate) fn check_stamp(
        &self,
        step: &Record,
        fw_stamp: Field,
        stamp_value: Field,
    ) -> Result<()> {
        let why = "the same as in the command's meta";
        step.expect(fw_stamp, self.stamp.fw_stamp, why)?;
        step.expect(stamp_value, self.stamp.value.into(), why)
    }
}

const OWN_QUEUE: &str = "the queue that the command came from";

fn check_stamps(
    cx: Context<'_>,
    cmd: &Record,
    parts: &Parts,
    meta: &Record,
) -> Result<StampUpdate> {
    let (mem, l) = (cx.mem, &cx.abi.job_meta);
    let stamp = meta.pointer_rw(l.stamp, 4, Sharing::Coherent)?;
    let fw_stamp = meta.pointer_rw(l.fw_stamp, 4, Sharing::Private)?;
    let value = meta.get32(l.stamp_value);
    for (field, va) in [(l.stamp, stamp), (l.fw_stamp, fw_stamp)] {
        let now = mem.read_u32(meta.place(field), va)?;
        if reached(now, value) {
            let why = format!(
                "the stamp that {} points to has {now:#x} already",
                field.name
            );
            return Err(meta.complain(l.stamp_value, why));
        }
    }
    let slot = meta.get32(l.stamp_slot);
    if slot >= EVENT_SLOTS {
        return Err(meta.complain(l.stamp_slot, format!("there are {EVENT_SLOTS} event slots")));
    }
    let _ = meta.expect(
        l.stamp_slot,
        cx.queue.event_slot.into(),
        "the event slot of the run message",
    );

    let n = &cx.abi.notifier;
    let notifier = cmd.pointer_rw(parts.notifier, n.shape.size.into(), Sharing::Private)?;
    let record = cmd.follow(parts.notifier, n.shape)?;
    let threshold = record.pointer_rw(n.threshold, 4, Sharing::Private)?;
    if record.slice(n.unk_buf) != [0xff; 8] {
        record.complain(n.unk_buf, "all ones in every known set-up");
    }
    Ok(StampUpdate {
        stamp,
        fw_stamp,
        value,
        slot,
        notifier,
        threshold,
    })
}

/// Checks the two pairs of pointers to times that the command holds.
fn check_times(cx: Context<'_>, cmd: &Record, parts: &Parts) -> Result<()> {
    let t = &cx.abi.timestamp_pointers;
    let kernel = cmd.embedded(parts.timestamp_pointers, t.shape);
    for field in [t.start, t.end] {
        if kernel.get(field) != 0 {
            kernel.pointer_rw(field, 8, Sharing::Coherent)?;
        }
    }
    let user = cmd.embedded(parts.user_timestamp_pointers, t.shape);
    for field in [t.start, t.end] {
        let va = user.get(field);
        if va == 0 {
            continue;
        }
        cx.mem.check_rw(user.place(field), va, 8)?;
        let offset = va.wrapping_sub(cx.booted.hw.timestamp_area);
        if offset >= TIMESTAMP_AREA_SIZE {
            let why = "a user timestamp outside of the area that HwDataB.timestamp_area_base names";
            user.complain(field, why);
        }
        if !va.is_multiple_of(8) {
            return Err(user.complain(field, "a timestamp is 8 bytes, aligned"));
        }
    }
    Ok(())
}

fn check_encoder(cx: Context<'_>, cmd: &Record, parts: &Parts) {
    let e = &cx.abi.encoder_params;
    let encoder = encoder(cx.abi, cmd, parts);
    let samplers = encoder.get32(e.sampler_count);
    if samplers != 0 {
        let want = u64::from(samplers) + 1;
        let _ = encoder.expect(e.sampler_max, want, "one more than sampler_count");
    }
}

/// The command's identity and samplers.
pub(crate) fn encoder(abi: &Abi, cmd: &Record, parts: &Parts) -> Record {
    let shape = Shape {
        name: parts.encoder_name,
        ..abi.encoder_params.shape
    };
    cmd.embedded(parts.encoder_params, shape)
}

fn check_dummy_page(cx: Context<'_>, cmd: &Record, parts: &Parts, slot: u8) {
    let page = cx.booted.hw.dummy_page;
    if page != 0
        && let Err(fault) = cx
            .mem
            .uat()
            .translate(slot, Agent::Gpu, page, Access::Write)
    {
        let why = format!("HwDataB.unk_30 names a page that must be in every context: {fault}");
        cmd.complain(parts.vm_slot, why);
    }
}

/// Checks that the GPU can use `len` bytes from the address in a field, where the driver and not the client chose it.
pub(crate) fn check_gpu(
    cx: Context<'_>,
    slot: u8,
    record: &Record,
    field: Field,
    va: u64,
    len: u64,
) -> Result<()> {
    let mut page = va & !(PAGE_SIZE - 1);
    let last = va.saturating_add(len.saturating_sub(1));
    while page <= last {
        let at = page.max(va);
        cx.mem
            .uat()
            .translate(slot, Agent::Gpu, at, Access::Write)
            .map_err(|fault| {
                let why = format!("the GPU needs {len:#x} bytes at {va:#x}, and cannot: {fault}");
                record.complain(field, why)
            })?;
        let Some(next) = page.checked_add(PAGE_SIZE) else {
            break;
        };
        page = next;
    }
    Ok(())
}

/// Checks the list of buffers that a job touches. What is in it was chosen by the client, and is a hint.
pub(crate) fn attachments(
    cx: Context<'_>,
    slot: u8,
    start: &Record,
    list: Field,
    count: Field,
) -> Result<u32> {
    let a = &cx.abi.attachment;
    let number = start.get32(count);
    if number > MAX_ATTACHMENTS {
        return Err(start.complain(count, format!("there is room for {MAX_ATTACHMENTS}")));
    }
    for index in 0..number {
        let at = Field {
            name: "attachments",
            offset: list.offset + index * a.shape.size,
            size: a.shape.size,
        };
        let record = start.embedded(at, a.shape);
        let (address, lines) = (record.get(a.address), record.get32(a.cache_lines));
        let last = address.wrapping_add(u64::from(lines).saturating_mul(128).saturating_sub(1));
        for va in [address, last & !(PAGE_SIZE - 1)] {
            if let Err(fault) = cx.mem.uat().translate(slot, Agent::Gpu, va, Access::Read) {
                let args = [
                    ("address", va.into()),
                    ("fault", fault.to_string().as_str().into()),
                ];
                cx.mem
                    .trace()
                    .event(&cx.queue.track(), "attachment not mapped", &args);
                break;
            }
        }
    }
    Ok(number)
}
