// SPDX-License-Identifier: MIT OR Apache-2.0

//! Random sequences of VM_BIND against a model of the mappings, confirmed by the GPU.
//!
//! Two clients have a VM each. In both there is a window of addresses, and both map objects of their
//! own, objects private to the VM and objects that they share. After some operations the GPU looks at
//! every page of both windows, in one launch each:
//!
//! - it loads a word that is different in every page of every object, which is zero if there is no
//!   mapping that one may read by: see `DRM_ASAHI_FEATURE_SOFT_FAULTS`;
//! - it stores a word that is new each time, where each page of the two windows has a place of its own
//!   in the page of an object: so the contents of the objects, which the CPU compares with what they
//!   ought to be, tell all mappings that one may write by.

use std::{
    iter,
    ops::Range,
    os::fd::{AsRawFd, OwnedFd},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use libc::{EINVAL, ENOENT};

use crate::{
    device::{Bo, Commands, Device, HEAP, Mapping, PAGE, Queue, Vm, bytes},
    gpu::{self, Gpu},
    model::{Change, Target, Window},
    runner::{Rng, rng, rounds},
    uapi::*,
};

use super::errno;

mod look;

crate::suite::tests!(
    random,
    together,
    long {
        limit: 1500,
        heavy: true
    },
);

/// Pages of a window. Both together must be less than there are words in a page.
const WINDOW: u64 = 2000;

/// The word of each page that says which one it is.
const NAME: u64 = PAGE - 4;

/// Where the windows are: the first crosses a border between two tables of the last level, the second
/// one between two of the level above it.
const BASES: [u64; 2] = [HEAP + (65 * 2048 - 700) * PAGE, (3 << 36) - 900 * PAGE];

/// Sizes of the objects in pages.
const SIZES: [u64; 12] = [1, 1, 2, 3, 5, 8, 16, 17, 33, 64, 100, 150];

/// Where a client maps what the test itself needs.
const OWN: u64 = HEAP;

/// Words that the GPU copies while operations go on, and the first of them.
const QUIET: u64 = 64;
const QUIET_WORD: u32 = 0x0dd0_0000;

/// Threads that bind at once.
const THREADS: u64 = 4;

/// A handle that there is not.
const NO_HANDLE: u32 = 0x1234_5678;

/// How many operations to do between two looks of the GPU.
const EACH: u64 = 10;

/// An object of the test.
struct Object<'a> {
    pages: u64,
    /// Its handle with each client that has one.
    handles: [Option<Bo<'a>>; 2],
    map: Mapping,
    /// What all of its words ought to be, as far as they are not zero for ever.
    words: Vec<u64>,
    /// Its memory, as a file, unless it is private.
    file: Option<OwnedFd>,
}

impl Object<'_> {
    /// Fills in the names of the pages.
    fn name(&mut self, number: u32) {
        for page in 0..self.pages {
            let at = (page * PAGE + NAME) as usize / 8;
            let word = u64::from(name(number, page)) << 32;
            self.words[at] = word;
            self.map.write(at * 8, word);
        }
    }
}

/// What a page of an object is called. An object gets a new number whenever it is made anew.
fn name(number: u32, page: u64) -> u32 {
    1 << 31 | number << 10 | page as u32
}

/// A client with what it needs for looking at its window.
struct Client<'a> {
    vm: &'a Vm<'a>,
    queue: Queue<'a>,
    window: Window,
    base: u64,
    /// The first word in the page of an object that its pages write.
    place: u64,
    /// Looks at all pages.
    look: CmdCompute,
    /// Reads memory that nobody touches, while operations go on.
    quiet: CmdCompute,
    /// The word that is to be stored.
    tag: Mapping,
    /// What was read.
    found: Mapping,
    _gpu: Gpu<'a>,
    _own: Vec<Bo<'a>>,
}

impl<'a> Client<'a> {
    fn new(vm: &'a Vm<'a>, index: usize) -> Result<Self> {
        let device = vm.device;
        let base = BASES[index];
        let mut gpu = Gpu::new(vm)?;
        let table = device.bo(2 * WINDOW * 16 + PAGE, GEM_WRITEBACK, 0)?;
        let found = device.bo(2 * PAGE, GEM_WRITEBACK, 0)?;
        let tag_bo = device.bo(PAGE, GEM_WRITEBACK, 0)?;
        let (table_at, found_at, tag_at) = (OWN, OWN + (1 << 24), OWN + (1 << 25));
        vm.map(&table, table_at)?;
        vm.map(&found, found_at)?;
        vm.map(&tag_bo, tag_at)?;

        let entries = table.mmap()?;
        let entry = |number: u64, from: u64, to: u64| {
            entries.write(number as usize * 16, from);
            entries.write(number as usize * 16 + 8, to);
        };
        for page in 0..WINDOW {
            let at = base + page * PAGE;
            entry(2 * page, at + NAME, found_at + page * 4);
            let place = index as u64 * WINDOW + page;
            entry(2 * page + 1, tag_at, at + place * 4);
        }
        let first = 2 * WINDOW;
        for word in 0..QUIET {
            let from = tag_at + PAGE / 2 + word * 4;
            entry(first + word, from, found_at + PAGE + word * 4);
        }
        let tag = tag_bo.mmap()?;
        for word in (0..QUIET).step_by(2) {
            let word_at = |word| u64::from(QUIET_WORD) + word;
            let both = word_at(word) | word_at(word + 1) << 32;
            tag.write((PAGE / 2 + word * 4) as usize, both);
        }
        Ok(Self {
            look: gpu.command(&[gpu::moves(table_at, 2 * WINDOW as u32)])?,
            quiet: gpu.command(&[gpu::moves(table_at + first * 16, QUIET as u32)])?,
            vm,
            queue: vm.queue()?,
            window: Window::new(WINDOW as usize),
            base,
            place: index as u64 * WINDOW,
            tag,
            found: found.mmap()?,
            _gpu: gpu,
            _own: vec![table, found, tag_bo],
        })
    }

    /// A 32-bit word of what the GPU found.
    fn found(&self, word: u64) -> u32 {
        let both = self.found.read((word / 2 * 8) as usize);
        (both >> (word % 2 * 32)) as u32
    }
}

/// An operation, as it is asked for and as it ought to end.
struct Wish {
    op: BindOp,
    ends: Result<(u64, u64, Change), i32>,
}

struct Run<'a> {
    rng: Rng,
    clients: [Client<'a>; 2],
    objects: Vec<Object<'a>>,
    /// The part of the window that operations are for.
    part: Range<u64>,
    /// Numbers of objects that were made.
    made: u32,
    /// Number of the operation.
    number: u64,
    looks: u32,
}

impl<'a> Run<'a> {
    fn new(vms: [&'a Vm<'a>; 2], rng: Rng) -> Result<Self> {
        let mut run = Self {
            rng,
            clients: [Client::new(vms[0], 0)?, Client::new(vms[1], 1)?],
            objects: Vec::new(),
            part: 0..WINDOW,
            made: 0,
            number: 0,
            looks: 0,
        };
        for slot in 0..SIZES.len() {
            let object = run.make(slot)?;
            run.objects.push(object);
        }
        Ok(run)
    }

    /// One of some values.
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.below(of.len() as u64) as usize]
    }

    /// Makes the object for a slot.
    fn make(&mut self, slot: usize) -> Result<Object<'a>> {
        let owner = slot % 2;
        let private = slot % 4 < 2;
        let pages = SIZES[slot];
        let flags = self.pick(&[0, GEM_WRITEBACK]);
        let vm = self.clients[owner].vm;
        let bo = match private {
            true => vm.device.bo(pages * PAGE, flags | GEM_VM_PRIVATE, vm.id)?,
            false => vm.device.bo(pages * PAGE, flags, 0)?,
        };
        let mut handles = [None, None];
        let mut file = None;
        if !private {
            let exported = bo.export()?;
            let other = self.clients[1 - owner].vm.device;
            handles[1 - owner] = Some(other.import(exported.as_raw_fd(), bo.size)?);
            file = Some(exported);
        }
        let map = bo.mmap()?;
        handles[owner] = Some(bo);
        self.made += 1;
        let mut object = Object {
            pages,
            handles,
            map,
            words: vec![0; (pages * PAGE / 8) as usize],
            file,
        };
        object.name(self.made);
        Ok(object)
    }

    /// Closes a client's handle of an object, or opens it again. One that nobody has a handle of is
    /// made anew.
    fn close(&mut self) -> Result<()> {
        let index = self.rng.below(2) as usize;
        let slot = self.rng.below(self.objects.len() as u64) as usize;
        let object = &mut self.objects[slot];
        let client = &mut self.clients[index];
        match (object.handles[index].take(), &object.file) {
            (Some(bo), _) => {
                drop(bo);
                self.number += 1;
                let change = Change::Close(slot);
                client.window.change(self.number, 0, WINDOW, change);
            }
            (None, Some(file)) => {
                let device = client.vm.device;
                let bo = device.import(file.as_raw_fd(), object.pages * PAGE)?;
                object.handles[index] = Some(bo);
            }
            (None, None) => {}
        }
        if self.objects[slot].handles.iter().all(Option::is_none) {
            self.objects[slot] = self.make(slot)?;
        }
        Ok(())
    }

    /// A range of pages of the part of the window: mostly short ones.
    fn range(&mut self) -> (u64, u64) {
        let all = self.part.end - self.part.start;
        let most = self.pick(&[1, 4, 16, 64, 256, WINDOW]).min(all);
        let count = 1 + self.rng.below(most);
        let first = self.part.start + self.rng.below(all - count + 1);
        (first, count)
    }

    /// A random operation of a client.
    fn wish(&mut self, client: usize) -> Wish {
        let base = self.clients[client].base;
        let kind = self.rng.below(100);
        if kind < 25 {
            let (first, count) = self.range();
            return Wish {
                op: BindOp {
                    flags: BIND_UNBIND,
                    range: count * PAGE,
                    addr: base + first * PAGE,
                    ..Default::default()
                },
                ends: Ok((first, count, Change::Unmap)),
            };
        }
        let slot = self.rng.below(self.objects.len() as u64) as usize;
        let pages = self.objects[slot].pages;
        let access = self.pick(&[(true, true), (true, true), (true, false), (false, true)]);
        let single = kind < 40;
        let (mut first, mut count) = self.range();
        let page = self.rng.below(pages);
        if !single {
            count = count.min(pages - page);
            // Next to what is mapped there already it is more likely to be merged or cut wrongly.
            if self.rng.below(4) == 0 {
                first = (first / 8 * 8).max(self.part.start);
            }
        }
        let target = Target {
            object: slot,
            page,
            read: access.0,
            write: access.1,
        };
        let change = if single {
            Change::Repeat(target)
        } else {
            Change::Map(target)
        };
        let handle = self.objects[slot].handles[client].as_ref();
        let handle = handle.map(|bo| bo.handle);
        let mut wish = Wish {
            op: BindOp {
                flags: change.flags().unwrap_or(0),
                handle: handle.unwrap_or(NO_HANDLE),
                offset: page * PAGE,
                range: count * PAGE,
                addr: base + first * PAGE,
            },
            ends: Ok((first, count, change)),
        };
        if handle.is_none() {
            wish.ends = Err(ENOENT);
        } else if kind >= 95 {
            self.spoil(&mut wish, pages);
        }
        wish
    }

    /// Makes an operation one that is to be refused.
    fn spoil(&mut self, wish: &mut Wish, pages: u64) {
        let op = &mut wish.op;
        wish.ends = Err(EINVAL);
        match self.rng.below(7) {
            0 => op.offset = pages * PAGE,
            1 => op.range += 1,
            2 => op.addr += 0x1000,
            3 => op.flags |= BIND_UNBIND,
            4 => op.range = 0,
            5 => op.addr = u64::MAX - PAGE + 1,
            _ => {
                op.handle = NO_HANDLE;
                wish.ends = Err(ENOENT);
            }
        }
    }

    /// Does one call of VM_BIND with random operations, and follows it in the model.
    fn bind(&mut self) -> Result<()> {
        let client = self.rng.below(2) as usize;
        let count = match self.rng.below(8) {
            0 => 2 + self.rng.below(12),
            _ => 1,
        };
        let stride = 32 + 8 * self.rng.below(4) as usize;
        let wishes: Vec<Wish> = (0..count).map(|_| self.wish(client)).collect();
        let mut raw = vec![0; stride * wishes.len()];
        for (chunk, wish) in raw.chunks_mut(stride).zip(&wishes) {
            chunk[..32].copy_from_slice(bytes(&wish.op));
        }
        let Client { vm, window, .. } = &mut self.clients[client];
        let got = vm.device.ioctl(&mut VmBind {
            vm_id: vm.id,
            num_binds: wishes.len() as u32,
            stride: stride as u32,
            pad: 0,
            userptr: raw.as_ptr() as u64,
        });
        let mut due = 0;
        for wish in &wishes {
            self.number += 1;
            match wish.ends {
                Ok((first, count, change)) => window.change(self.number, first, count, change),
                Err(errno) => {
                    due = errno;
                    break;
                }
            }
        }
        let got = errno(&got);
        ensure!(
            got == due,
            "client {client}: {:?}, last operation {}: error {got}, not {due}",
            wishes.iter().map(|wish| wish.op).collect::<Vec<_>>(),
            self.number
        );
        Ok(())
    }

    /// Does operations while the GPU reads what they do not touch.
    fn some(&mut self) -> Result<()> {
        // With work under way, what is closed would go only when that is over.
        while self.rng.below(3) == 0 {
            self.close()?;
        }
        let mut syncs = Vec::new();
        for client in &self.clients {
            for word in 0..QUIET / 2 {
                client.found.write((PAGE + word * 8) as usize, 0);
            }
            let done = client.vm.device.syncobj()?;
            let commands = Commands::default().compute(&client.quiet);
            client.queue.submit(&commands, 0, &[done.binary()])?;
            syncs.push(done);
        }
        let until = self.number + EACH;
        while self.number < until {
            self.bind()?;
        }
        for (client, done) in iter::zip(&self.clients, syncs) {
            let outcome = done.outcome()?;
            ensure!(outcome == 0, "work beside the operations failed: {outcome}");
            for word in 0..QUIET {
                let found = client.found(PAGE / 4 + word);
                ensure!(
                    found == QUIET_WORD + word as u32,
                    "work beside the operations read {found:#x} for {word}"
                );
            }
        }
        Ok(())
    }

    /// Does good operations from several threads at once, each in a part of its own of the window of
    /// the same client.
    fn together(&mut self, client: usize) -> Result<()> {
        let mut lists = Vec::new();
        for thread in 0..THREADS {
            let each = WINDOW / THREADS;
            self.part = thread * each..(thread + 1) * each;
            let mut list = Vec::new();
            while list.len() < 60 {
                let wish = self.wish(client);
                if let Ok((first, count, change)) = wish.ends {
                    self.number += 1;
                    let window = &mut self.clients[client].window;
                    window.change(self.number, first, count, change);
                    list.push(wish.op);
                }
            }
            lists.push(list);
        }
        self.part = 0..WINDOW;
        let vm = self.clients[client].vm;
        thread::scope(|scope| {
            let threads: Vec<_> = lists
                .iter()
                .map(|list| scope.spawn(|| list.iter().try_for_each(|op| vm.bind(*op))))
                .collect();
            for thread in threads {
                match thread.join() {
                    Ok(result) => result.context("VM_BIND among others")?,
                    Err(_) => bail!("a thread panicked"),
                }
            }
            Ok(())
        })
    }
}

/// Does a sequence of operations.
fn sequence(device: &Device, rng: Rng, operations: u64) -> Result<()> {
    let other = Device::open()?;
    let vms = [device.vm()?, other.vm()?];
    let start = Instant::now();
    let mut run = Run::new([&vms[0], &vms[1]], rng)?;
    while run.number < operations {
        run.some()?;
        run.look()?;
    }
    println!(
        "# {} operations, looked at {} times: {:?}",
        run.number,
        run.looks,
        start.elapsed()
    );
    Ok(())
}

fn random(device: &Device) -> Result<()> {
    sequence(device, rng(), 200)
}

/// Several threads bind in the same VMs.
fn together(device: &Device) -> Result<()> {
    let other = Device::open()?;
    let vms = [device.vm()?, other.vm()?];
    let mut run = Run::new([&vms[0], &vms[1]], rng())?;
    for _ in 0..rounds(8) {
        for client in 0..2 {
            run.together(client)?;
            run.look()?;
        }
    }
    Ok(())
}

/// Ten sequences of a thousand operations.
fn long(device: &Device) -> Result<()> {
    let mut seeds = rng();
    for number in 0..10 {
        let rng = Rng::new(seeds.next());
        sequence(device, rng, 1000).with_context(|| format!("sequence {number}"))?;
    }
    Ok(())
}
