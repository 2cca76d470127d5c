// SPDX-License-Identifier: MIT OR Apache-2.0

//! VM_BIND as the GPU sees it. Shaders read zeroes where nothing is mapped, and what they write there is
//! lost: see `DRM_ASAHI_FEATURE_SOFT_FAULTS`.

use anyhow::{Result, ensure};
use libc::{EINVAL, ENOENT};

use super::lab::{Lab, Word};
use crate::{
    device::{Bo, Commands, Device, HEAP, Mapping, PAGE, Vm},
    runner::skip,
    uapi::*,
};

super::tests!(
    reads,
    permissions,
    permissions_change,
    single_page,
    overlaps,
    holes,
    failing_array,
    same_object_twice,
    parts_of_objects,
    borders,
    closed_while_bound,
    reused_address,
    two_spaces,
);

const RW: u32 = BIND_READ | BIND_WRITE;

/// Where objects are mapped.
const PLACE: u64 = HEAP + 0x4000 * PAGE;

/// An object whose pages say who they are.
struct Named<'a> {
    bo: Bo<'a>,
    map: Mapping,
}

impl<'a> Named<'a> {
    fn new(device: &'a Device, name: u64, pages: u64) -> Result<Self> {
        let bo = device.bo(pages * PAGE, GEM_WRITEBACK, 0)?;
        let map = bo.mmap()?;
        for page in 0..pages {
            map.write((page * PAGE) as usize, name << 16 | page);
        }
        Ok(Self { bo, map })
    }

    fn op(&self, flags: u32, page: u64, place: u64, pages: u64) -> BindOp {
        BindOp {
            flags,
            handle: self.bo.handle,
            offset: page * PAGE,
            range: pages * PAGE,
            addr: PLACE + place * PAGE,
        }
    }
}

fn unbind(place: u64, pages: u64) -> BindOp {
    BindOp {
        flags: BIND_UNBIND,
        range: pages * PAGE,
        addr: PLACE + place * PAGE,
        ..Default::default()
    }
}

/// What the GPU reads at the beginning of each page, all at once.
fn look(lab: &mut Lab<'_>, pages: u64) -> Result<Vec<u64>> {
    let words: Vec<Word> = (0..pages).map(|_| lab.word(!0)).collect::<Result<_>>()?;
    let pairs: Vec<(u64, u64)> = (0..pages)
        .zip(&words)
        .map(|(page, word)| (PLACE + page * PAGE, word.address()))
        .collect();
    let command = lab.moves(&pairs)?;
    lab.queue.run(&Commands::default().compute(&command))?;
    Ok(words.iter().map(|word| lab.get(*word).into()).collect())
}

/// Has the GPU write a word at an address.
fn poke(lab: &mut Lab<'_>, addr: u64, value: u32) -> Result<()> {
    let word = lab.word(value)?;
    let command = lab.moves(&[(word.address(), addr)])?;
    lab.queue.run(&Commands::default().compute(&command))
}

fn soft_faults(device: &Device) -> Result<bool> {
    Ok(device.params()?.features & FEATURE_SOFT_FAULTS != 0)
}

/// Each page is where it belongs, and there is nothing where there is nothing.
fn reads(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let a = Named::new(device, 1, 40)?;
    vm.bind(a.op(RW, 0, 0, 40))?;
    let seen = look(&mut lab, 40)?;
    ensure!(seen == (0..40).map(|p| 1 << 16 | p).collect::<Vec<_>>());
    if soft_faults(device)? {
        vm.bind(unbind(0, 40))?;
        ensure!(look(&mut lab, 40)?.iter().all(|&word| word == 0));
    }
    Ok(())
}

/// What may only be read is not written, and what may only be written is not read.
fn permissions(device: &Device) -> Result<()> {
    if !soft_faults(device)? {
        return skip("what is forbidden would be a fault");
    }
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let a = Named::new(device, 1, 1)?;
    for (flags, reads, writes) in [
        (BIND_READ, true, false),
        (BIND_WRITE, false, true),
        (RW, true, true),
    ] {
        a.map.write(0, 0x1_0000);
        a.map.write(64, 5);
        vm.bind(a.op(flags, 0, 0, 1))?;
        let seen = look(&mut lab, 1)?[0];
        ensure!(
            seen == if reads { 0x1_0000 } else { 0 },
            "flags {flags:#x}: the GPU reads {seen:#x}"
        );
        poke(&mut lab, PLACE + 64, 0x77)?;
        let left = a.map.read(64) as u32;
        ensure!(
            left == if writes { 0x77 } else { 5 },
            "flags {flags:#x}: the GPU has left {left:#x}"
        );
    }
    Ok(())
}

/// The last operation counts, not what was allowed before it, while the GPU has the mapping at hand.
fn permissions_change(device: &Device) -> Result<()> {
    if !soft_faults(device)? {
        return skip("what is forbidden would be a fault");
    }
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let a = Named::new(device, 1, 3)?;
    vm.bind(a.op(RW, 0, 0, 3))?;
    poke(&mut lab, PLACE + PAGE + 8, 1)?;
    vm.bind(a.op(BIND_READ, 1, 1, 1))?;
    for page in 0..3 {
        poke(&mut lab, PLACE + page * PAGE + 8, 2)?;
    }
    let left: Vec<u64> = (0..3)
        .map(|p| a.map.read((p * PAGE) as usize + 8))
        .collect();
    ensure!(left == [2, 1, 2], "{left:?}");
    Ok(())
}

/// One page all over a range, whichever page of the object it is.
fn single_page(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let a = Named::new(device, 1, 4)?;
    vm.bind(a.op(RW | BIND_SINGLE_PAGE, 2, 0, 20))?;
    ensure!(look(&mut lab, 20)?.iter().all(|&word| word == 0x1_0002));
    // Written once, read everywhere.
    poke(&mut lab, PLACE + 13 * PAGE, 0x9999)?;
    ensure!(look(&mut lab, 20)?.iter().all(|&word| word == 0x9999));
    ensure!(a.map.read(2 * PAGE as usize) == 0x9999);

    // What is left of it when something else takes its middle is still that page.
    let b = Named::new(device, 2, 4)?;
    vm.bind(b.op(RW, 0, 8, 4))?;
    vm.bind(unbind(16, 1))?;
    let seen = look(&mut lab, 20)?;
    for (place, word) in (0..).zip(seen) {
        let expected = match place {
            8..12 => 2 << 16 | (place - 8),
            16 if soft_faults(device)? => 0,
            16 => continue,
            _ => 0x9999,
        };
        ensure!(word == expected, "page {place}: {word:#x}");
    }
    // More pages than the object has, from its last.
    vm.bind(a.op(BIND_READ | BIND_SINGLE_PAGE, 3, 0, 500))?;
    ensure!(look(&mut lab, 20)?.iter().all(|&word| word == 0x1_0003));
    vm.bind(unbind(0, 500))?;
    Ok(())
}

/// A model of a range, and operations on both.
struct Range<'a> {
    vm: &'a Vm<'a>,
    pages: Vec<u64>,
}

impl Range<'_> {
    fn map(
        &mut self,
        object: &Named<'_>,
        name: u64,
        page: u64,
        place: u64,
        pages: u64,
    ) -> Result<()> {
        self.vm.bind(object.op(RW, page, place, pages))?;
        for i in 0..pages {
            self.pages[(place + i) as usize] = name << 16 | (page + i);
        }
        Ok(())
    }

    fn unmap(&mut self, place: u64, pages: u64) -> Result<()> {
        self.vm.bind(unbind(place, pages))?;
        self.pages[place as usize..(place + pages) as usize].fill(0);
        Ok(())
    }

    fn check(&self, device: &Device, lab: &mut Lab<'_>) -> Result<()> {
        let soft = soft_faults(device)?;
        let seen = look(lab, self.pages.len() as u64)?;
        for (page, (seen, expected)) in seen.iter().zip(&self.pages).enumerate() {
            ensure!(
                seen == expected || (*expected == 0 && !soft),
                "page {page}: the GPU reads {seen:#x} and not {expected:#x}"
            );
        }
        Ok(())
    }
}

/// All ways in which a new mapping can lie over an old one.
fn overlaps(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let (a, b) = (Named::new(device, 1, 16)?, Named::new(device, 2, 32)?);
    for (place, pages) in [
        (8, 16), // the same
        (8, 4),  // its beginning
        (20, 4), // its end
        (12, 4), // its middle
        (4, 8),  // over its beginning
        (20, 8), // over its end
        (4, 24), // all of it and more
        (0, 8),  // just before it
        (24, 8), // just after it
    ] {
        let mut range = Range {
            vm: &vm,
            pages: vec![0; 32],
        };
        range.unmap(0, 32)?;
        range.map(&a, 1, 0, 8, 16)?;
        range.map(&b, 2, 3, place, pages)?;
        range.check(device, &mut lab)?;
    }
    Ok(())
}

/// Unbinding over several mappings and what is between them.
fn holes(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let (a, b) = (Named::new(device, 1, 8)?, Named::new(device, 2, 8)?);
    let mut range = Range {
        vm: &vm,
        pages: vec![0; 32],
    };
    range.map(&a, 1, 0, 0, 8)?;
    range.map(&b, 2, 0, 12, 8)?;
    range.map(&a, 1, 2, 24, 6)?;
    range.check(device, &mut lab)?;
    range.unmap(6, 20)?;
    range.check(device, &mut lab)?;
    range.unmap(10, 4)?;
    range.map(&b, 2, 1, 5, 3)?;
    range.unmap(6, 1)?;
    range.check(device, &mut lab)?;
    range.unmap(0, 32)?;
    range.check(device, &mut lab)
}

/// Operations before the one that fails are done, that one is not at all, and those after it are not.
fn failing_array(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let (a, b) = (Named::new(device, 1, 8)?, Named::new(device, 2, 8)?);
    for bad in 0..6usize {
        for (broken, errno) in [
            (
                BindOp {
                    handle: 0x1234,
                    ..b.op(RW, 0, 0, 4)
                },
                ENOENT,
            ),
            (b.op(RW, 6, 0, 4), EINVAL),
            (
                BindOp {
                    flags: 0x100,
                    ..b.op(RW, 0, 0, 4)
                },
                EINVAL,
            ),
            (
                BindOp {
                    range: 1,
                    ..b.op(RW, 0, 0, 4)
                },
                EINVAL,
            ),
        ] {
            let mut range = Range {
                vm: &vm,
                pages: vec![0; 8],
            };
            range.unmap(0, 8)?;
            range.map(&a, 1, 0, 0, 6)?;
            let mut ops: Vec<BindOp> = (0..6).map(|p| b.op(RW, p, p, 1)).collect();
            // The broken operation is one over everything.
            ops[bad] = broken;
            let mut arg = vm.bind_arg(&ops[0]);
            arg.num_binds = 6;
            arg.userptr = ops.as_ptr() as u64;
            device.refused(arg, errno, &format!("operation {bad}"))?;
            for p in 0..bad as u64 {
                range.pages[p as usize] = 2 << 16 | p;
            }
            range.check(device, &mut lab)?;
        }
    }
    Ok(())
}

/// One object at several places.
fn same_object_twice(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let a = Named::new(device, 1, 4)?;
    vm.bind(a.op(RW, 0, 0, 4))?;
    vm.bind(a.op(BIND_READ, 0, 4, 4))?;
    vm.bind(a.op(RW, 2, 8, 2))?;
    poke(&mut lab, PLACE + 8 * PAGE, 0x42)?;
    let seen = look(&mut lab, 10)?;
    ensure!(seen[2] == 0x42 && seen[6] == 0x42 && seen[8] == 0x42);
    vm.bind(unbind(0, 4))?;
    ensure!(look(&mut lab, 10)?[6] == 0x42);
    Ok(())
}

/// Any page of an object anywhere.
fn parts_of_objects(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let a = Named::new(device, 1, 32)?;
    let mut range = Range {
        vm: &vm,
        pages: vec![0; 32],
    };
    for page in 0..32 {
        range.map(&a, 1, page, 31 - page, 1)?;
    }
    range.check(device, &mut lab)
}

/// Mappings over the borders of tables, which have 2048 entries.
fn borders(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let a = Named::new(device, 1, 64)?;
    for border in [1u64 << 25, 1 << 36, 3 << 36] {
        let place = (border + (4 << 36) - 32 * PAGE) & !(PAGE - 1);
        let place = if place + 64 * PAGE > device.params()?.vm_end - (1 << 35) {
            border - 32 * PAGE
        } else {
            place
        };
        vm.bind(BindOp {
            addr: place,
            ..a.op(RW, 0, 0, 64)
        })?;
        let words: Vec<Word> = (0..64).map(|_| lab.word(!0)).collect::<Result<_>>()?;
        let pairs: Vec<_> = (0..64)
            .zip(&words)
            .map(|(page, word)| (place + page * PAGE, word.address()))
            .collect();
        let command = lab.moves(&pairs)?;
        lab.queue.run(&Commands::default().compute(&command))?;
        for (page, word) in (0..).zip(&words) {
            ensure!(
                lab.get(*word) == 1 << 16 | page,
                "page {page} at {place:#x}"
            );
        }
        vm.unmap(place, 64 * PAGE)?;
    }
    Ok(())
}

/// Closing an object's last handle takes it out of the VM.
fn closed_while_bound(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let (a, b) = (Named::new(device, 1, 4)?, Named::new(device, 2, 4)?);
    vm.bind(a.op(RW, 0, 0, 4))?;
    vm.bind(b.op(RW, 0, 1, 2))?;
    ensure!(look(&mut lab, 4)? == [0x1_0000, 0x2_0000, 0x2_0001, 0x1_0003]);
    let Named { bo, map } = a;
    drop(bo);
    if soft_faults(device)? {
        ensure!(look(&mut lab, 4)? == [0, 0x2_0000, 0x2_0001, 0]);
    }
    // The process's own mapping is another matter.
    ensure!(map.read(0) == 0x1_0000);
    Ok(())
}

/// The GPU does not go on with what was mapped at an address before.
fn reused_address(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    for round in 0..crate::runner::rounds(24) as u64 {
        let object = Named::new(device, round + 1, 2)?;
        vm.bind(object.op(RW, 0, 0, 2))?;
        let seen = look(&mut lab, 2)?;
        ensure!(
            seen == [(round + 1) << 16, (round + 1) << 16 | 1],
            "round {round}: {seen:x?}"
        );
    }
    Ok(())
}

/// The same address in two address spaces.
fn two_spaces(device: &Device) -> Result<()> {
    let (first, second) = (device.vm()?, device.vm()?);
    let mut labs = [Lab::new(&first)?, Lab::new(&second)?];
    let (a, b) = (Named::new(device, 1, 2)?, Named::new(device, 2, 2)?);
    first.bind(a.op(RW, 0, 0, 2))?;
    second.bind(b.op(RW, 0, 0, 2))?;
    for _ in 0..4 {
        for (name, lab) in (1..).zip(&mut labs) {
            let seen = look(lab, 2)?;
            ensure!(seen == [name << 16, name << 16 | 1], "{seen:x?}");
        }
    }
    // An object that is not private may be in both.
    second.bind(a.op(RW, 0, 0, 1))?;
    ensure!(look(&mut labs[1], 2)? == [0x1_0000, 0x2_0001]);
    Ok(())
}
