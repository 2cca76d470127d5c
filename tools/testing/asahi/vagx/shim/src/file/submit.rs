// SPDX-License-Identifier: MIT OR Apache-2.0

//! Queues and submissions.

use super::OpenFile;
use crate::cmdbuf::{self, Command};
use crate::device::device;
use crate::fence::{Fence, Fences};
use crate::queue::{Queue, Stamp, Work};
use crate::syncobj::Syncobj;
use crate::uapi::*;
use crate::user;
use libc::c_int;
use std::collections::HashMap;
use std::sync::Arc;

/// The most sync objects of a submission.
const MAX_SYNCS: u32 = 4096;

/// QUEUE_CREATE. High priorities are for the privileged, who here are those that could run above others on a CPU.
pub fn queue_create(file: &OpenFile, args: &mut QueueCreate) -> Result<(), c_int> {
    if args.flags != 0 || args.priority > PRIORITY_REALTIME {
        return Err(libc::EINVAL);
    }
    if args.priority >= PRIORITY_HIGH && !may_be_nice() {
        return Err(libc::EPERM);
    }
    let queue = Queue::new(file.vm(args.vm_id)?, args.usc_exec_base);
    device().watch(&queue);
    args.queue_id = file.tables().queues.insert(queue)?;
    Ok(())
}

/// Whether this process has CAP_SYS_NICE.
fn may_be_nice() -> bool {
    const CAP_SYS_NICE: u32 = 23;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|caps| u64::from_str_radix(caps.trim(), 16).ok())
        .is_some_and(|caps| caps >> CAP_SYS_NICE & 1 != 0)
}

/// QUEUE_DESTROY: what was submitted goes on to its end.
pub fn queue_destroy(file: &OpenFile, args: &mut QueueDestroy) -> Result<(), c_int> {
    if args.pad != 0 {
        return Err(libc::EINVAL);
    }
    let queue = file.tables().queues.remove(args.queue_id);
    queue.map(drop).ok_or(libc::ENOENT)
}

/// SUBMIT. Everything is checked before anything is done.
pub fn submit(file: &OpenFile, args: &mut Submit) -> Result<(), c_int> {
    if args.flags != 0 || args.pad != 0 || args.cmdbuf_size > cmdbuf::MAX_SIZE {
        return Err(libc::EINVAL);
    }
    let queue = file.tables().queues.get(args.queue_id).cloned();
    let queue = queue.ok_or(libc::ENOENT)?;
    let commands = cmdbuf::parse(&user::array::<u8>(args.cmdbuf, args.cmdbuf_size)?)?;

    let count = args.in_sync_count.checked_add(args.out_sync_count);
    let count = count.filter(|count| *count <= MAX_SYNCS);
    let syncs: Vec<Sync> = user::array(args.syncs, count.ok_or(libc::EINVAL)?)?;
    let (before, after) = syncs.split_at(args.in_sync_count as usize);
    let mut waits = Fences::over();
    for sync in before {
        let object = named(file, sync)?;
        waits.extend(&object.find(sync.timeline_value).ok_or(libc::EINVAL)?);
    }
    let after: Vec<(Arc<Syncobj>, Sync)> = after
        .iter()
        .map(|sync| Ok((named(file, sync)?, *sync)))
        .collect::<Result<_, c_int>>()?;
    let stamps = stamps(file, &commands)?;

    let fence = Arc::<Fence>::default();
    queue.submit(Work {
        waits,
        commands,
        stamps,
        fence: fence.clone(),
    })?;
    for (object, sync) in after {
        let fences = Fences::one(fence.clone());
        match sync.sync_type {
            SYNC_TIMELINE => object.add(sync.timeline_value, fences),
            _ => object.replace(Some(fences)),
        }
    }
    device().hub.touch();
    Ok(())
}

/// The sync object that a submission names.
fn named(file: &OpenFile, sync: &Sync) -> Result<Arc<Syncobj>, c_int> {
    match sync.sync_type {
        SYNC_BINARY if sync.timeline_value == 0 => (),
        SYNC_TIMELINE => (),
        _ => return Err(libc::EINVAL),
    }
    file.syncobj(sync.handle)
}

/// Where the timestamps of all commands go.
fn stamps(file: &OpenFile, commands: &[Command]) -> Result<HashMap<(u32, u32), Stamp>, c_int> {
    let tables = file.tables();
    let mut stamps = HashMap::new();
    for at in commands.iter().flat_map(Command::timestamps) {
        let object = tables.timestamps.get(at.handle).ok_or(libc::ENOENT)?;
        let offset = u64::from(at.offset);
        if !offset.is_multiple_of(8) || offset + 8 > object.range {
            return Err(libc::EINVAL);
        }
        let stamp = Stamp::new(object.bo.clone(), object.offset + offset)?;
        stamps.insert((at.handle, at.offset), stamp);
    }
    Ok(stamps)
}
