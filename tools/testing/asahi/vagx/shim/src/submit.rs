// SPDX-License-Identifier: MIT OR Apache-2.0

//! Submission: waits, runs the commands, signals.

use crate::device::{Device, now};
use crate::uapi::*;
use libc::c_int;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Once, PoisonError};
use vagx_gpu::{ComputeJob, JobError, LaunchInfo, Observer, Stats};

/// How long a submission waits for what it depends on before it gives up.
const PATIENCE: i64 = 60_000_000_000;

static FAILED: AtomicBool = AtomicBool::new(false);

extern "C" fn report_at_exit() {
    if FAILED.load(Relaxed) {
        eprintln!("vagx-shim: there were jobs that did not run to their end");
        // SAFETY: Ends the process at once, which is the point: its own status would hide this. Null stands for all
        // streams.
        unsafe {
            libc::fflush(std::ptr::null_mut());
            libc::_exit(3);
        }
    }
}

fn failed(what: &str) {
    static ONCE: Once = Once::new();
    // SAFETY: The function is of the type that atexit wants.
    ONCE.call_once(|| unsafe {
        libc::atexit(report_at_exit);
    });
    FAILED.store(true, Relaxed);
    eprintln!("vagx-shim: {what}");
}

/// Tells each launch on stderr when VAGX_SHIM_TRACE is set.
struct Tell(bool);

impl Observer for Tell {
    fn launch(&self, info: &LaunchInfo) {
        if self.0 {
            eprintln!(
                "vagx-shim: launch {:x?} of {:x?} at {:#x}",
                info.grid, info.local, info.shader
            );
        }
    }

    fn launch_done(&self, _: &LaunchInfo, stats: &Stats) {
        if self.0 {
            eprintln!("vagx-shim: {stats:?}");
        }
    }
}

pub fn submit(device: &Device, args: &Submit) -> Result<(), c_int> {
    if args.flags != 0 || args.pad != 0 {
        return Err(libc::EINVAL);
    }
    let queue = device
        .tables()
        .queues
        .get(&args.queue_id)
        .cloned()
        .ok_or(libc::ENOENT)?;
    let count = args.in_sync_count as usize + args.out_sync_count as usize;
    let syncs: Vec<Sync> = (0..count)
        // SAFETY: The caller has this many there.
        .map(|i| unsafe { (args.syncs as *const Sync).add(i).read_unaligned() })
        .collect();
    let point = |sync: &Sync| {
        if sync.sync_type == 1 {
            sync.timeline_value
        } else {
            0
        }
    };
    let (before, after) = syncs.split_at(args.in_sync_count as usize);
    if !before.is_empty() {
        let points: Vec<_> = before.iter().map(|s| (s.handle, point(s))).collect();
        device.syncs.wait(&points, now() as i64 + PATIENCE, 3)?;
    }
    // SAFETY: The caller has this many bytes there, and does not change them meanwhile.
    let commands =
        unsafe { std::slice::from_raw_parts(args.cmdbuf as *const u8, args.cmdbuf_size as usize) };
    run(device, &queue, commands)?;
    for sync in after {
        device.syncs.signal(
            sync.handle,
            (sync.sync_type == 1).then_some(sync.timeline_value),
        )?;
    }
    Ok(())
}

fn run(device: &Device, queue: &crate::device::Queue, mut commands: &[u8]) -> Result<(), c_int> {
    while !commands.is_empty() {
        let (header, rest) = commands.split_at_checked(8).ok_or(libc::EINVAL)?;
        let kind = u16::from_le_bytes([header[0], header[1]]);
        let size = u16::from_le_bytes([header[2], header[3]]);
        let (payload, rest) = rest.split_at_checked(size.into()).ok_or(libc::EINVAL)?;
        commands = rest;
        match kind {
            CMD_COMPUTE => {
                let mut command = CmdCompute::default();
                let size = payload.len().min(size_of::<CmdCompute>());
                // SAFETY: Both are valid for this many bytes, and any bytes make a command.
                unsafe {
                    std::ptr::copy_nonoverlapping(
                        payload.as_ptr(),
                        (&raw mut command).cast::<u8>(),
                        size,
                    );
                }
                compute(device, queue, &command)?;
            }
            CMD_RENDER => failed("render commands are not supported"),
            2..=4 => (),
            _ => return Err(libc::EINVAL),
        }
    }
    Ok(())
}

fn compute(
    device: &Device,
    queue: &crate::device::Queue,
    command: &CmdCompute,
) -> Result<(), c_int> {
    let job = ComputeJob {
        cdm_ctrl_stream_base: command.cdm_ctrl_stream_base,
        cdm_ctrl_stream_end: command.cdm_ctrl_stream_end,
        usc_exec_base: queue.usc_exec_base,
        sampler_heap: command.sampler_heap,
        sampler_count: command.sampler_count,
        helper_program: command.helper_binary,
        helper_cfg: command.helper_cfg,
        helper_data: command.helper_data,
        vm_slot: 1,
    };
    timestamp(device, command.ts_start)?;
    let result = {
        let vm = queue.vm.read().unwrap_or_else(PoisonError::into_inner);
        let tell = Tell(std::env::var_os("VAGX_SHIM_TRACE").is_some());
        device.gpu.run_compute(&*vm, &job, &tell)
    };
    timestamp(device, command.ts_end)?;
    match result {
        Ok(_) => (),
        Err(JobError::Fault(fault)) => failed(&fault.to_string()),
        Err(error) => failed(&error.to_string()),
    }
    Ok(())
}

fn timestamp(device: &Device, at: Timestamp) -> Result<(), c_int> {
    if at.handle == 0 {
        return Ok(());
    }
    let (bo, start, range) = device
        .tables()
        .timestamps
        .get(&at.handle)
        .cloned()
        .ok_or(libc::EINVAL)?;
    let offset = u64::from(at.offset);
    if offset % 8 != 0 || offset + 8 > range {
        return Err(libc::EINVAL);
    }
    let place = bo.host(start + offset).ok_or(libc::EINVAL)?;
    // SAFETY: Inside the buffer and aligned.
    unsafe { place.cast::<u64>().write_volatile(now()) };
    Ok(())
}
