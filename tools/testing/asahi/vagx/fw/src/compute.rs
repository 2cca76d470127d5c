// SPDX-License-Identifier: MIT OR Apache-2.0

//! The compute command: what is checked before it runs.

use vagx_capture::ComputeWork;
use vagx_gpu::ComputeJob;

use crate::command::{self, Command, Context, EMBEDDED, attachments, check_gpu, parts};
use crate::mem::{Place, Record, Result};
use crate::microseq::Step;
use crate::stamp::StampUpdate;

/// Reads and checks the command at `va`; `at` is its place in the ring.
pub(crate) fn parse(
    cx: Context<'_>,
    at: Place,
    va: u64,
    known: &mut Option<StampUpdate>,
) -> Result<(Command, ComputeWork)> {
    let l = &cx.abi.run_compute;
    let parts = parts!(l, "RunCompute.meta", "RunCompute.encoder_params");
    let mut command = command::open(cx, l, parts, at, va, known)?;
    let work = check_job(cx, &command)?;
    let finalize = |step: &Record| check_finalize(cx, &command, step);
    command.check_steps(cx, |step| check_start(cx, &command, step), finalize)?;
    let s = &cx.abi.start_compute;
    for step in &command.steps {
        if let Step::Start(start) = step {
            command.attachments =
                attachments(cx, command.vm_slot, start, s.attachments, s.num_attachments)?;
        }
    }
    Ok((command, work))
}

fn check_job(cx: Context<'_>, command: &Command) -> Result<ComputeWork> {
    let (abi, cmd) = (cx.abi, &command.record);
    let l = &abi.run_compute;
    let (p1, p2, e) = (&abi.job_params1, &abi.job_params2, &abi.encoder_params);
    let first = cmd.embedded(l.job_params1, p1.shape);
    let second = cmd.embedded(l.job_params2, p2.shape);
    let encoder = command::encoder(abi, cmd, &command.parts);
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
        let va = first.get(field);
        if va != 0 {
            let _ = check_gpu(cx, command.vm_slot, &first, field, va, 1);
        }
    }
    Ok(ComputeWork {
        job: ComputeJob {
            cdm_ctrl_stream_base: first.get(p1.encoder),
            cdm_ctrl_stream_end: second.get(p2.encoder_end),
            usc_exec_base: first.get(p1.pipeline_base),
            sampler_heap: encoder.get(e.sampler_array),
            sampler_count: encoder.get32(e.sampler_count),
            helper_program: first.get32(p1.helper_program),
            helper_cfg: first.get32(p1.helper_cfg),
            helper_data: first.get(p1.helper_arg),
            vm_slot: command.vm_slot.into(),
        },
        soft_faults: cx.soft_faults()?,
    })
}

fn check_start(cx: Context<'_>, command: &Command, start: &Record) -> Result<()> {
    let (l, s) = (&cx.abi.run_compute, &cx.abi.start_compute);
    let cmd = &command.record;
    // m1n1 has it point to the second word of this area, the public driver to the first, and both work on hardware.
    let pointee = start.get(s.unk_pointer).wrapping_sub(cmd.at(l.unk_pointee));
    if pointee >= l.unk_pointee.size.into() {
        let why = "must point to the area after the notifier's address in the command";
        return Err(start.complain(s.unk_pointer, why));
    }
    start.expect(s.job_params1, cmd.at(l.job_params1), EMBEDDED)?;
    start.expect(s.job_params2, cmd.at(l.job_params2), EMBEDDED)?;
    let _ = start.expect(s.unk_flag, cmd.at(l.unk_flag), EMBEDDED);
    command.check_common(cx, start, [s.stats, s.work_queue, s.vm_slot, s.uuid])?;
    let _ = start.expect(s.counter, cmd.get(l.counter), "the same as in the command");
    command.check_events(cx, start, s.event_generation, s.notifier_buf)
}

fn check_finalize(cx: Context<'_>, command: &Command, record: &Record) -> Result<()> {
    let f = &cx.abi.finalize_compute;
    let params = command.record.at(cx.abi.run_compute.job_params2);
    record.expect(f.job_params2, params, EMBEDDED)?;
    command.check_common(cx, record, [f.stats, f.work_queue, f.vm_slot, f.uuid])?;
    command.check_stamp(record, f.fw_stamp, f.stamp_value)
}
