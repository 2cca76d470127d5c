// SPDX-License-Identifier: MIT OR Apache-2.0

//! Submission: waits, runs the commands, signals.

use crate::bo::Bo;
use crate::capture::{Session, Told};
use crate::cmdbuf::{self, Command};
use crate::device::{Device, now};
use crate::uapi::*;
use libc::c_int;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Once, PoisonError};
use vagx_gpu::{JobError, LaunchInfo, Observer, Stats};

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
    if args.flags != 0 || args.pad != 0 || args.cmdbuf_size > cmdbuf::MAX_SIZE {
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
    let commands = cmdbuf::parse(commands)?;
    for at in commands.iter().flat_map(Command::timestamps) {
        place(device, at)?;
    }
    for command in &commands {
        run(device, &queue, command)?;
    }
    for sync in after {
        device.syncs.signal(
            sync.handle,
            (sync.sync_type == 1).then_some(sync.timeline_value),
        )?;
    }
    Ok(())
}

fn run(device: &Device, queue: &crate::device::Queue, command: &Command) -> Result<(), c_int> {
    let tell = Tell(std::env::var_os("VAGX_SHIM_TRACE").is_some());
    let vm = queue.vm.read().unwrap_or_else(PoisonError::into_inner);
    let capture = Session::begin(&*vm);
    let (memory, gpu, base) = (capture.memory(), &device.gpu, queue.usc_exec_base);
    match command {
        Command::Compute(command) => {
            let job = crate::job::compute(command, base);
            timestamp(device, command.ts_start)?;
            let result = gpu.run_compute(memory, &job, &tell);
            timestamp(device, command.ts_end)?;
            capture.end(Told::Compute(&job), &result);
            judge("compute", result.map(|_| ()));
        }
        Command::Render(command) => {
            let job = crate::job::render(command, base);
            timestamp(device, command.ts_vtx.start)?;
            let geometry = gpu.run_vertex(memory, &job.vertex, &tell);
            timestamp(device, command.ts_vtx.end)?;
            timestamp(device, command.ts_frag.start)?;
            let result =
                geometry.and_then(|geometry| gpu.run_fragment(memory, &job, &geometry, &tell));
            timestamp(device, command.ts_frag.end)?;
            capture.end(Told::Render(&job), &result);
            judge("render", result.map(|_| ()));
        }
    }
    Ok(())
}

/// Reports a job that did not run to its end.
fn judge(what: &str, result: Result<(), JobError>) {
    if let Err(error) = result {
        failed(&format!("{what} job: {error}"));
    }
}

fn timestamp(device: &Device, at: Timestamp) -> Result<(), c_int> {
    if at.handle != 0 {
        // SAFETY: `place` gives a valid, aligned address in a buffer that it keeps.
        unsafe { place(device, at)?.1.write_volatile(now()) };
    }
    Ok(())
}

/// Where a timestamp goes.
fn place(device: &Device, at: Timestamp) -> Result<(Arc<Bo>, *mut u64), c_int> {
    let (bo, start, range) = device
        .tables()
        .timestamps
        .get(&at.handle)
        .cloned()
        .ok_or(libc::ENOENT)?;
    let offset = u64::from(at.offset);
    if offset % 8 != 0 || offset + 8 > range {
        return Err(libc::EINVAL);
    }
    let place = bo.host(start + offset).ok_or(libc::EINVAL)?;
    Ok((bo, place.cast().as_ptr()))
}
