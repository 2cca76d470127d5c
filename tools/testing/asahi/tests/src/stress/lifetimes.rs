// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory that is given back while the GPU uses it.
//!
//! A client may unbind, close and destroy what a job of its own still works with. It does itself no
//! good by that, but the memory must not be anybody else's before the job is over.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    device::{Device, HEAP, Mapping, PAGE},
    gpu,
    runner::{Rng, rng},
    uapi::*,
};

use super::gate::{FLAG, Gate};

crate::suite::tests!(unbound, closed, vm_destroyed, remapped { limit: 60 });

/// What becomes of memory that the GPU stores into all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is unbound, and then closed.
    Unbound,
    /// Its handle is closed.
    Closed,
    /// The VM is destroyed, too.
    VmDestroyed,
    /// Other memory is mapped in its place.
    Remapped,
}

/// Objects that get the memory that has just been given back, as far as the kernel lets them.
const OTHERS: u64 = 24;

/// Pages of the object, of which the GPU stores into one.
const PAGES: u64 = 4;

/// What the others hold.
fn pattern(object: usize, at: usize) -> u64 {
    (object as u64) << 32 | at as u64 | 1 << 63
}

fn check(others: &[Mapping]) -> Result<()> {
    for (object, map) in others.iter().enumerate() {
        for at in (0..map.len()).step_by(8) {
            let found = map.read(at);
            ensure!(
                found == pattern(object, at),
                "the GPU has written {found:#x} at {at:#x} of another object"
            );
        }
    }
    Ok(())
}

fn once(device: &Device, fate: Fate, rng: &mut Rng) -> Result<()> {
    let vm = device.vm()?;
    let victim = device.bo(PAGES * PAGE, rng.below(2) as u32 * GEM_WRITEBACK, 0)?;
    let map = victim.mmap()?;
    vm.map(&victim, HEAP)?;
    let at = rng.below(PAGES) * PAGE;
    let gate = Gate::close_with(device, &vm, gpu::hammer(HEAP + at, FLAG))?;
    // Until it is at work: the second thread stores a one.
    for tries in 0.. {
        if map.read(at as usize) >> 32 == 1 {
            break;
        }
        ensure!(tries < 2000, "the GPU does not store");
        thread::sleep(Duration::from_millis(1));
    }
    drop(map);
    let instead = device.bo(PAGES * PAGE, 0, 0)?;
    match fate {
        Fate::Unbound => {
            vm.unmap(HEAP, PAGES * PAGE)?;
            drop(victim);
        }
        Fate::Closed => drop(victim),
        Fate::VmDestroyed => {
            drop(victim);
            device.ioctl(&mut VmDestroy {
                vm_id: vm.id,
                pad: 0,
            })?;
        }
        Fate::Remapped => {
            vm.map(&instead, HEAP)?;
            drop(victim);
        }
    }
    let mut objects = Vec::new();
    let mut others = Vec::new();
    for object in 0..OTHERS {
        let bo = device.bo(PAGES * PAGE, GEM_WRITEBACK, 0)?;
        let map = bo.mmap()?;
        for at in (0..map.len()).step_by(8) {
            map.write(at, pattern(object as usize, at));
        }
        objects.push(bo);
        others.push(map);
    }
    thread::sleep(Duration::from_millis(10));
    check(&others).context("while the job runs")?;
    gate.end()?;
    check(&others).context("after the job")?;
    if fate == Fate::Remapped {
        // What is mapped now is what the GPU has stored into.
        let map = instead.mmap()?;
        let found = map.read(at as usize);
        ensure!(found == 1 << 32, "the new memory has {found:#x}");
    }
    Ok(())
}

fn several(device: &Device, fate: Fate) -> Result<()> {
    let mut rng = rng();
    for round in 0..5 {
        once(device, fate, &mut rng).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

fn unbound(device: &Device) -> Result<()> {
    several(device, Fate::Unbound)
}

fn closed(device: &Device) -> Result<()> {
    several(device, Fate::Closed)
}

fn vm_destroyed(device: &Device) -> Result<()> {
    several(device, Fate::VmDestroyed)
}

fn remapped(device: &Device) -> Result<()> {
    several(device, Fate::Remapped)
}
