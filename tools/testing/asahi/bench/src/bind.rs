// SPDX-License-Identifier: MIT OR Apache-2.0

//! VM_BIND.

use std::os::fd::AsRawFd;

use anyhow::Result;
use asahi_tests::{
    device::{Bo, Device, HEAP, PAGE},
    uapi::*,
};

use crate::{clock::now, machine::Machine, report};

const GIB: u64 = 1 << 30;
const ROUNDS: usize = 7;

/// What mapping a whole object in a new VM costs, and unmapping it.
fn bind_once(device: &Device, bo: &Bo<'_>) -> Result<(u64, u64)> {
    let vm = device.vm()?;
    let start = now();
    vm.map(bo, HEAP)?;
    let bound = now();
    vm.unmap(HEAP, bo.size)?;
    Ok((bound - start, now() - bound))
}

/// The object is mapped by the driver and by a loop over its pieces in turn, each time in new page
/// tables.
fn compare(device: &Device, prefix: &str) -> Result<()> {
    let bo = device.bo(GIB, GEM_WRITEBACK, 0)?;
    // The first time, the object gets its memory.
    let (first, _) = bind_once(device, &bo)?;
    report(&format!("{prefix}/first"), &[first]);

    let dma_buf = bo.export()?;
    let mut machine = Machine::open()?;
    let request = format!("tables 1 {}", dma_buf.as_raw_fd());
    let mut samples = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        let (bind, unbind) = bind_once(device, &bo)?;
        samples[0].push(bind);
        samples[1].push(unbind);
        for round in machine.ask::<3>(&request)? {
            for (list, value) in samples[2..].iter_mut().zip(round) {
                list.push(value.unsigned_abs());
            }
        }
    }
    report(&format!("{prefix}/bind"), &samples[0]);
    report(&format!("{prefix}/unbind"), &samples[1]);
    report(&format!("{prefix}/bare-map"), &samples[2]);
    report(&format!("{prefix}/bare-unmap"), &samples[3]);
    report("count/pieces", &samples[4][..1]);
    Ok(())
}

pub fn times() -> Result<()> {
    let device = Device::open()?;
    compare(&device, "gib")?;
    single(&device, "single")
}

pub fn instructions() -> Result<()> {
    let device = Device::open()?;
    compare(&device, "instructions/gib")?;
    single(&device, "instructions/single")
}

/// Operations of one page each.
fn single(device: &Device, prefix: &str) -> Result<()> {
    let vm = device.vm()?;
    let bo = device.bo(PAGE, GEM_WRITEBACK, 0)?;
    let (mut binds, mut unbinds) = (Vec::new(), Vec::new());
    vm.map(&bo, HEAP)?;
    for round in 1..150 {
        let at = HEAP + round * 4 * PAGE;
        let start = now();
        vm.map(&bo, at)?;
        let bound = now();
        vm.unmap(at, PAGE)?;
        let end = now();
        if round >= 50 {
            binds.push(bound - start);
            unbinds.push(end - bound);
        }
    }
    report(&format!("{prefix}/bind"), &binds);
    report(&format!("{prefix}/unbind"), &unbinds);
    Ok(())
}

/// Maps a page `count` times with holes between, so that there are as many mappings.
pub fn many(device: &Device, vm_id: u32, bo: &Bo<'_>, from: u64, count: u64) -> Result<()> {
    let ops: Vec<BindOp> = (0..count)
        .map(|index| BindOp {
            flags: BIND_READ | BIND_WRITE,
            handle: bo.handle,
            offset: 0,
            range: PAGE,
            addr: from + index * 2 * PAGE,
        })
        .collect();
    for ops in ops.chunks(1000) {
        device.ioctl(&mut VmBind {
            vm_id,
            num_binds: ops.len() as u32,
            stride: size_of::<BindOp>() as u32,
            pad: 0,
            userptr: ops.as_ptr() as u64,
        })?;
    }
    Ok(())
}
