// SPDX-License-Identifier: MIT OR Apache-2.0

//! The compute command: what is checked before it runs.
//!
//! Much of a command is there twice, embedded in the command and named by pointer in the microsequence, and the
//! firmware assumes the embedding. Every such pair is compared.

use vagx_uat::{Access, Agent, PAGE_SIZE};

use crate::engine::ComputeJob;
use crate::hwdata::{SOFT_FAULTS, TIMESTAMP_AREA_SIZE};
use crate::initdata::Booted;
use crate::layout::compute::MAX_ATTACHMENTS;
use crate::layout::{Abi, Field};
use crate::mem::{FwMem, Place, Record, Result, Sharing};
use crate::microseq::{self, Step};
use crate::queue::{EVENT_SLOTS, Queue, check_slot, reached};
use crate::stamp::StampUpdate;

/// A compute command that may run.
pub(crate) struct ComputeCommand {
    pub record: Record,
    pub steps: Vec<Step>,
    pub job: ComputeJob,
    pub stamp: StampUpdate,
    pub uuid: u32,
    pub attachments: Vec<(u64, u32)>,
}

/// Reads and checks the command at `va`; `at` is its place in the ring. `known` gets the command's stamps as soon as they
/// are known to be good, so that a command refused later can still be ended.
pub(crate) fn parse(
    mem: &FwMem,
    abi: &Abi,
    booted: &Booted,
    queue: &Queue,
    at: Place,
    va: u64,
    known: &mut Option<StampUpdate>,
) -> Result<ComputeCommand> {
    let l = &abi.run_compute;
    mem.check_rw(at, va, l.shape.size.into())?;
    let cmd = mem.record(at, l.shape, va)?;
    let meta = cmd.embedded(l.meta, abi.job_meta.shape);
    let track = queue.track();
    cmd.show(&track, l);
    let stamp = check_stamps(mem, abi, &cmd, &meta, queue)?;
    *known = Some(stamp);
    let slot = check_slot(mem, &cmd, l.vm_slot)?;
    check_command_times(mem, abi, booted, &cmd)?;
    let job = check_job(mem, abi, booted, &cmd, slot)?;

    let sequence = cmd.get(l.microsequence);
    let size = cmd.get32(l.microsequence_size);
    let steps = microseq::parse_compute(mem, abi, cmd.place(l.microsequence), sequence, size)?;
    let uuid = meta.get32(abi.job_meta.uuid);
    let mut command = ComputeCommand {
        steps: Vec::new(),
        job,
        stamp,
        uuid,
        attachments: Vec::new(),
        record: cmd,
    };
    for step in &steps {
        match step {
            Step::StartCompute(record) => {
                record.show(&track, &abi.start_compute);
                check_start(mem, abi, booted, queue, &command, record)?;
                command.attachments = attachments(mem, abi, slot, record)?;
            }
            Step::Timestamp { record, .. } => {
                record.show(&track, &abi.timestamp);
                check_timestamp(abi, queue, &command, record)?;
            }
            Step::FinalizeCompute(record) => {
                record.show(&track, &abi.finalize_compute);
                check_finalize(abi, booted, queue, &command, record)?;
            }
            Step::WaitForIdle | Step::RetireStamp => {}
        }
    }
    command.steps = steps;
    Ok(command)
}

fn check_stamps(
    mem: &FwMem,
    abi: &Abi,
    cmd: &Record,
    meta: &Record,
    queue: &Queue,
) -> Result<StampUpdate> {
    let l = &abi.job_meta;
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
        queue.event_slot.into(),
        "the event slot of the run message",
    );

    let n = &abi.notifier;
    let field = abi.run_compute.notifier;
    let notifier = cmd.pointer_rw(field, n.shape.size.into(), Sharing::Private)?;
    let record = cmd.follow(field, n.shape)?;
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
fn check_command_times(mem: &FwMem, abi: &Abi, booted: &Booted, cmd: &Record) -> Result<()> {
    let (l, t) = (&abi.run_compute, &abi.timestamp_pointers);
    let kernel = cmd.embedded(l.timestamp_pointers, t.shape);
    for field in [t.start, t.end] {
        if kernel.get(field) != 0 {
            kernel.pointer_rw(field, 8, Sharing::Coherent)?;
        }
    }
    let user = cmd.embedded(l.user_timestamp_pointers, t.shape);
    for field in [t.start, t.end] {
        let va = user.get(field);
        if va == 0 {
            continue;
        }
        mem.check_rw(user.place(field), va, 8)?;
        let offset = va.wrapping_sub(booted.hw.timestamp_area);
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

/// Something of the job that the GPU must be able to reach in the job's context.
fn check_gpu(mem: &FwMem, slot: u8, record: &Record, field: Field, access: Access) -> Result<u64> {
    let va = record.get(field);
    mem.uat()
        .translate(slot, Agent::Gpu, va, access)
        .map(|_| va)
        .map_err(|fault| record.complain(field, format!("the GPU cannot use it: {fault}")))
}

fn check_job(
    mem: &FwMem,
    abi: &Abi,
    booted: &Booted,
    cmd: &Record,
    slot: u8,
) -> Result<ComputeJob> {
    let l = &abi.run_compute;
    let (p1, p2, e) = (&abi.job_params1, &abi.job_params2, &abi.encoder_params);
    let first = cmd.embedded(l.job_params1, p1.shape);
    let second = cmd.embedded(l.job_params2, p2.shape);
    let encoder = cmd.embedded(l.encoder_params, e.shape);
    let stream = check_gpu(mem, slot, &first, p1.encoder, Access::Read)?;
    let _ = second.expect(
        p2.preempt_buf1,
        first.get(p1.preempt_buf1),
        "the same as in job_params1",
    );
    let buffers = [
        p1.preempt_buf1,
        p1.preempt_buf2,
        p1.preempt_buf3,
        p1.preempt_buf4,
        p1.preempt_buf5,
    ];
    for field in buffers {
        if first.get(field) != 0 {
            let _ = check_gpu(mem, slot, &first, field, Access::Write);
        }
    }
    let end = second.get(p2.encoder_end);
    if end != 0 && end < stream {
        second.complain(p2.encoder_end, format!("before the start {stream:#x}"));
    }
    let samplers = encoder.get32(e.sampler_count);
    if samplers != 0 {
        let heap = check_gpu(mem, slot, &encoder, e.sampler_array, Access::Read);
        if heap.is_ok() {
            let want = u64::from(samplers) + 1;
            let _ = encoder.expect(e.sampler_max, want, "one more than sampler_count");
        }
    }
    if booted.hw.dummy_page != 0
        && let Err(fault) =
            mem.uat()
                .translate(slot, Agent::Gpu, booted.hw.dummy_page, Access::Write)
    {
        let why = format!("HwDataB.unk_30 names a page that must be in every context: {fault}");
        cmd.complain(l.vm_slot, why);
    }
    let g = &abi.globals;
    let fault_control = mem.load(g.shape, booted.globals, g.fault_control)?;
    Ok(ComputeJob {
        cdm_ctrl_stream_base: stream,
        cdm_ctrl_stream_end: end,
        usc_exec_base: first.get(p1.pipeline_base),
        sampler_heap: encoder.get(e.sampler_array),
        sampler_count: samplers,
        helper_program: first.get32(p1.helper_program),
        helper_cfg: first.get32(p1.helper_cfg),
        helper_data: first.get(p1.helper_arg),
        vm_slot: slot.into(),
        soft_faults: fault_control == SOFT_FAULTS,
    })
}

fn check_start(
    mem: &FwMem,
    abi: &Abi,
    booted: &Booted,
    queue: &Queue,
    command: &ComputeCommand,
    start: &Record,
) -> Result<()> {
    let (l, s) = (&abi.run_compute, &abi.start_compute);
    let cmd = &command.record;
    let embedded = "the structure embedded in the command";
    // m1n1 has it point to the second word of this area, the public driver to the first, and both work on hardware.
    let pointee = start.get(s.unk_pointer).wrapping_sub(cmd.at(l.unk_pointee));
    if pointee >= l.unk_pointee.size.into() {
        let why = "must point to the area after the notifier's address in the command";
        return Err(start.complain(s.unk_pointer, why));
    }
    start.expect(s.job_params1, cmd.at(l.job_params1), embedded)?;
    start.expect(s.job_params2, cmd.at(l.job_params2), embedded)?;
    let _ = start.expect(s.unk_flag, cmd.at(l.unk_flag), embedded);
    check_common(
        abi,
        booted,
        queue,
        command,
        start,
        [s.stats, s.work_queue, s.vm_slot, s.uuid],
    )?;
    let _ = start.expect(s.counter, cmd.get(l.counter), "the same as in the command");
    let buffer = command.stamp.notifier + u64::from(abi.notifier.unk_buf.offset);
    let _ = start.expect(
        s.notifier_buf,
        buffer,
        "Notifier.unk_buf of the command's notifier",
    );
    let n = &abi.notifier;
    let generation = mem.load(n.shape, command.stamp.notifier, n.generation)?;
    let _ = start.expect(s.event_generation, generation.into(), "Notifier.generation");
    Ok(())
}

/// Checks what a start and a finalize both repeat: statistics, queue, context and identity.
fn check_common(
    abi: &Abi,
    booted: &Booted,
    queue: &Queue,
    command: &ComputeCommand,
    step: &Record,
    [stats, work_queue, vm_slot, uuid]: [Field; 4],
) -> Result<()> {
    step.expect(
        work_queue,
        queue.info,
        "the queue that the command came from",
    )?;
    step.expect(
        vm_slot,
        command.job.vm_slot.into(),
        "the same as in the command",
    )?;
    let _ = step.expect(uuid, command.uuid.into(), "the same as in RunCompute.meta");
    let (base, size) = (booted.stats[2], abi.stats[2]);
    if step.get(stats).wrapping_sub(base) >= size {
        return Err(step.complain(
            stats,
            format!("not in RuntimePointers.stats_comp at {base:#x}"),
        ));
    }
    Ok(())
}

fn attachments(mem: &FwMem, abi: &Abi, slot: u8, start: &Record) -> Result<Vec<(u64, u32)>> {
    let (s, a) = (&abi.start_compute, &abi.attachment);
    let count = start.get32(s.num_attachments);
    if count > MAX_ATTACHMENTS {
        return Err(start.complain(
            s.num_attachments,
            format!("there is room for {MAX_ATTACHMENTS}"),
        ));
    }
    let mut list = Vec::new();
    for index in 0..count {
        let at = Field {
            name: "attachments",
            offset: s.attachments.offset + index * a.shape.size,
            size: a.shape.size,
        };
        let record = start.embedded(at, a.shape);
        let (address, lines) = (record.get(a.address), record.get32(a.cache_lines));
        if lines == 0 {
            record.complain(a.cache_lines, format!("attachment {index} is empty"));
        }
        // The firmware touches the range for cache maintenance, through the first and the last page at least.
        let last = address.wrapping_add(u64::from(lines).saturating_mul(128).saturating_sub(1));
        for va in [address, last & !(PAGE_SIZE - 1)] {
            if let Err(fault) = mem.uat().translate(slot, Agent::Gpu, va, Access::Read) {
                record.complain(a.address, format!("attachment {index}: {fault}"));
                break;
            }
        }
        list.push((address, lines));
    }
    Ok(list)
}

fn check_timestamp(
    abi: &Abi,
    queue: &Queue,
    command: &ComputeCommand,
    record: &Record,
) -> Result<()> {
    let (l, t) = (&abi.run_compute, &abi.timestamp);
    let cmd = &command.record;
    let embedded = "the structure embedded in the command";
    record.expect(t.command_time, cmd.at(l.command_time), embedded)?;
    record.expect(t.pointers, cmd.at(l.timestamp_pointers), embedded)?;
    record.expect(t.user_pointers, cmd.at(l.user_timestamp_pointers), embedded)?;
    let _ = record.expect(t.unk_ts, cmd.at(l.unk_ts), embedded);
    record.expect(
        t.work_queue,
        queue.info,
        "the queue that the command came from",
    )?;
    let _ = record.expect(
        t.uuid,
        command.uuid.into(),
        "the same as in RunCompute.meta",
    );
    Ok(())
}

fn check_finalize(
    abi: &Abi,
    booted: &Booted,
    queue: &Queue,
    command: &ComputeCommand,
    record: &Record,
) -> Result<()> {
    let (l, f) = (&abi.run_compute, &abi.finalize_compute);
    let params = command.record.at(l.job_params2);
    record.expect(
        f.job_params2,
        params,
        "the structure embedded in the command",
    )?;
    check_common(
        abi,
        booted,
        queue,
        command,
        record,
        [f.stats, f.work_queue, f.vm_slot, f.uuid],
    )?;
    let why = "the same as in RunCompute.meta";
    record.expect(f.fw_stamp, command.stamp.fw_stamp, why)?;
    record.expect(f.stamp_value, command.stamp.value.into(), why)
}
