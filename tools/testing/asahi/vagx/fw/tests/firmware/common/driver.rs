// SPDX-License-Identifier: MIT OR Apache-2.0

//! The driver's side: it builds structures in memory and rings doorbells.

use std::sync::Arc;

use vagx_uat::{Agent, PAGE_SIZE, Uat};

use super::*;

const PRIVATE: u64 = 0xffff_ffa0_0000_0000;
const SHARED: u64 = 0xffff_ffa8_0000_0000;
pub const TIMESTAMPS: u64 = 0xffff_ffae_1000_0000;
const BUFFER_MGR: u64 = 0xffff_ffae_ffff_0000;
const BUFFER_MGR_LOW: u64 = 0x20_0000_0000;
const MMIO: u64 = 0xffff_ffaf_0000_0000;
pub const DUMMY: u64 = 0x7f_ffff_8000;
const HEAP: u64 = 0x10_0000;
/// A client's memory: control streams, then results.
const USER: u64 = 0x11_0000_0000;

/// `build_iomappings` for t8103: index, physical address, size, writable.
const IO: [(u64, u64, u64, u64); 10] = [
    (0, 0x2_04d0_0000, 0x1c000, 1),
    (1, 0x2_0e10_0000, 0x4000, 0),
    (2, 0x2_3b10_4000, 0x4000, 1),
    (3, 0x2_0400_0000, 0x20000, 1),
    (7, 0x2_3b2e_8000, 0x1000, 0),
    (8, 0x2_3bc0_0000, 0x1000, 1),
    (9, 0x2_04d8_0000, 0x5000, 1),
    (10, 0x2_04d6_1000, 0x1000, 1),
    (11, 0x2_0000_0000, 0xd6400, 1),
    (13, 0x2_3b73_8000, 0x1000, 1),
];

/// A bump allocator in the kernel's half.
pub struct Heap {
    next: u64,
    end: u64,
}

impl Heap {
    pub fn get(&mut self, len: u64) -> u64 {
        let va = self.next;
        self.next += len.next_multiple_of(0x80);
        assert!(self.next <= self.end);
        va
    }
}

pub struct Driver {
    pub mem: Arc<Memory>,
    uat: Arc<Uat>,
    pub private: Heap,
    pub shared: Heap,
    pub initdata: u64,
    pub runtime: u64,
    pub hwdata_a: u64,
    pub hwdata_b: u64,
    pub globals: u64,
    pub fw_status: u64,
    /// State and ring of each of the 17 channels.
    pub channels: [(u64, u64); 17],
    pub fwctl: (u64, u64),
    pub fwlog_buf: u64,
    event_read: u32,
    user_next: u64,
}

pub const EVENT: usize = 13;
pub const FWLOG: usize = 14;
const KTRACE: usize = 15;
pub const STATS: usize = 16;
pub const DEVICE_CONTROL: usize = 12;

pub struct WorkQueue {
    /// 0 vertex, 1 fragment, 2 compute.
    pub pipe: u8,
    pub info: u64,
    pub state: u64,
    pub ring: u64,
    pub context: u64,
    pub stamp: u64,
    pub fw_stamp: u64,
    pub notifier: u64,
    pub threshold: u64,
    pub slot: u32,
    pub wptr: u32,
    pub value: u32,
    pub is_new: bool,
}

/// A compute job as the driver wrote it.
#[derive(Clone, Copy)]
pub struct Job {
    pub command: u64,
    pub sequence: u64,
    pub value: u32,
    pub result: u64,
}

impl Driver {
    pub fn new(machine: &Machine) -> Self {
        let mem = machine.mem.clone();
        // A heap of 1 MiB each, all mapped from the start.
        mem.back(0, PRIVATE, HEAP, FW_CACHED);
        mem.back(0, SHARED, 2 * HEAP, FW_SHARED);
        mem.back(0, TIMESTAMPS, PAGE_SIZE, FW_SHARED);
        let ctl = mem.back(0, BUFFER_MGR, PAGE_SIZE, FW_SHARED);
        mem.map(0, BUFFER_MGR_LOW, ctl, PAGE_SIZE, GPU_FW_SHARED);
        let mut d = Driver {
            mem,
            uat: machine.uat.clone(),
            private: Heap {
                next: PRIVATE,
                end: PRIVATE + HEAP,
            },
            shared: Heap {
                next: SHARED,
                end: SHARED + 2 * HEAP,
            },
            initdata: 0,
            runtime: 0,
            hwdata_a: 0,
            hwdata_b: 0,
            globals: 0,
            fw_status: 0,
            channels: [(0, 0); 17],
            fwctl: (0, 0),
            fwlog_buf: 0,
            event_read: 0,
            user_next: USER,
        };
        d.build();
        d
    }

    fn pa(&self, va: u64) -> u64 {
        let pte = self.uat.walk(0, Agent::Firmware, va).unwrap();
        pte.address() | (va % PAGE_SIZE)
    }

    pub fn w(&self, va: u64, bytes: &[u8]) {
        for (i, b) in (0..).zip(bytes) {
            self.mem.ram.write_u8(self.pa(va + i), *b).unwrap();
        }
    }

    pub fn w8(&self, va: u64, v: u8) {
        self.w(va, &[v]);
    }
    pub fn w16(&self, va: u64, v: u16) {
        self.w(va, &v.to_le_bytes());
    }
    pub fn w32(&self, va: u64, v: u32) {
        self.mem.ram.write_u32(self.pa(va), v).unwrap();
    }
    pub fn w64(&self, va: u64, v: u64) {
        self.w(va, &v.to_le_bytes());
    }
    pub fn r32(&self, va: u64) -> u32 {
        self.mem.ram.read_u32(self.pa(va)).unwrap()
    }
    pub fn r64(&self, va: u64) -> u64 {
        let mut b = [0; 8];
        self.mem.ram.read(self.pa(va), &mut b).unwrap();
        u64::from_le_bytes(b)
    }

    fn build(&mut self) {
        self.initdata = self.shared.get(0xbc);
        self.runtime = self.private.get(0x6bc0);
        self.hwdata_a = self.private.get(0x421c);
        self.hwdata_b = self.private.get(0x1884);
        self.globals = self.shared.get(0x12394);
        self.fw_status = self.shared.get(0x80);

        let (i, r) = (self.initdata, self.runtime);
        for (n, v) in (0..).zip([0x6ba0, 0x1f28, 0x601, 0xb0]) {
            self.w16(i + n * 2, v);
        }
        let unk = self.shared.get(0x4000);
        self.w64(i + 0x8, unk);
        self.w64(i + 0x18, r);
        self.w64(i + 0x20, self.globals);
        self.w64(i + 0x28, self.fw_status);
        self.w16(i + 0x30, 0x4000);
        self.w8(i + 0x32, 14);
        self.w8(i + 0x33, 3);
        for (n, (shift, entries)) in (0..).zip([(36u64, 8u64), (25, 2048), (14, 2048)]) {
            let l = i + 0x34 + n * 0x20;
            self.w(l, &[8, 14, 14, shift as u8]);
            self.w16(l + 4, entries as u16);
            self.w16(l + 6, 0x4000);
            self.w64(l + 8, 1);
            self.w64(l + 0x10, 0xff_ffff_c000);
            self.w64(l + 0x18, (entries - 1) << shift);
        }
        self.w32(i + 0xa8, 1);

        self.build_runtime();
        self.build_hardware();
    }

    fn build_runtime(&mut self) {
        let r = self.runtime;
        for n in 0..17 {
            let (states, size, entries) = match n {
                0..=11 => (1, 0x30, 0x100),
                EVENT => (1, 0x38, 0x100),
                FWLOG => (6, 0x38, 0x600),
                KTRACE => (1, 0x38, 0x200),
                STATS => (1, 0x40, 0x100),
                _ => (1, 0x30, 0x100),
            };
            let state = self.shared.get(0x30 * states);
            let ring = self.shared.get(size * entries);
            self.channels[n] = (state, ring);
            self.w64(r + n as u64 * 0x10, state);
            self.w64(r + n as u64 * 0x10 + 8, ring);
        }
        self.fwctl = (self.shared.get(0x20), self.shared.get(0x14 * 0x100));
        self.w64(self.fw_status, self.fwctl.0);
        self.w64(self.fw_status + 8, self.fwctl.1);
        self.fwlog_buf = self.shared.get(6 * 0x100 * 0xd8);
        for (offset, size) in [
            (0x170, 0x3000),
            (0x178, 0x3000),
            (0x180, 0x3000),
            (0x190, 0x80),
            (0x198, 0xc0),
            (0x1b8, 0x1000),
            (0x1c0, 0x300),
            (0x1c8, 0x1000),
        ] {
            let va = self.private.get(size);
            self.w64(r + offset, va);
        }
        self.w64(r + 0x188, self.hwdata_a);
        self.w64(r + 0x1a0, self.hwdata_b);
        self.w64(r + 0x1a8, self.hwdata_b);
        self.w64(r + 0x1b0, self.fwlog_buf);
        self.w64(r + 0x214, BUFFER_MGR_LOW);
        self.w64(r + 0x21c, BUFFER_MGR);
        self.w32(r + 0x6b38, 0xff);
    }

    fn build_hardware(&mut self) {
        let (a, b, g) = (self.hwdata_a, self.hwdata_b, self.globals);
        self.w32(a + 0x4, 24000 * 8);
        self.w32(a + 0x4c, 600);
        self.w64(b + 0x20, DUMMY);
        self.w64(b + 0x28, TIMESTAMPS);
        self.w32(b + 0x968, 0x8103);
        self.w32(b + 0x9a8, 24000);
        self.w32(b + 0x9ac, 8);
        self.w64(b + 0xa78, TTBAT);
        self.w32(b + 0xa80, 11);
        self.w32(b + 0xa84, 4);
        self.w32(b + 0xa88, 8);
        self.w32(b + 0xa8c, 6);
        for (n, mhz) in (0..).zip([0, 396, 528, 720, 924, 1128, 1278]) {
            self.w32(b + 0xa90 + n * 4, mhz);
            self.w32(b + 0xad0 + n * 32, 600 + 10 * n as u32);
            self.w32(b + 0xcd0 + n * 32, 850);
        }
        self.map_io();
        self.w32(g + 0x8978, 19551);
        for offset in [0x897c, 0x8980, 0x898c] {
            self.w32(g + offset, 600);
        }
        self.w32(g + 0x10fd8, 0xb);
        self.w32(g + 0x10fdc, 1);
        self.w32(g + 0x1119c, 2);
    }

    /// Maps the register ranges and enters them into HwDataB.
    fn map_io(&self) {
        let b = self.hwdata_b;
        let mut virt = MMIO;
        for (index, phys, size, rw) in IO {
            let off = phys % PAGE_SIZE;
            self.mem.map(0, virt, phys - off, size + off, FW_DEVICE);
            let e = b + 0x640 + index * 0x20;
            self.w64(e, phys);
            self.w64(e + 8, virt + off);
            self.w32(e + 0x10, size as u32);
            self.w32(e + 0x14, size as u32);
            self.w64(e + 0x18, rw);
            virt += (size + off).next_multiple_of(PAGE_SIZE) + PAGE_SIZE;
        }
    }

    /// Puts the bootloader's blobs in the place of those of this test, as a driver does.
    pub fn use_blobs(&self, blobs: &[Vec<u8>; 3]) {
        let to = [self.hwdata_a, self.hwdata_b, self.globals];
        for (va, blob) in to.into_iter().zip(blobs) {
            self.w(va, blob);
        }
        self.map_io();
    }

    /// Does the handoff, sends INIT and the first device control messages, and waits for the firmware to be ready.
    pub fn boot(&mut self, machine: &Machine) {
        self.handoff();
        self.send_init(machine);
        let mut init = [0; 0x30];
        init[0] = 0x1a;
        self.control(machine, &init);
    }

    pub fn handoff(&self) {
        const MAGIC: u64 = 0x4b1d_0000_0000_0002;
        self.mem.w64(HANDOFF, MAGIC);
        self.mem.ram.write_u32(HANDOFF + 0x18, 0).unwrap();
        wait("magic_fw", || self.mem.r64(HANDOFF + 8) == MAGIC);
    }

    pub fn send_init(&self, machine: &Machine) {
        let msg = 0x81 << 48 | self.initdata & ((1 << 44) - 1);
        machine.message(0x20, msg);
    }

    /// Sends a device control message and waits until the firmware has read it.
    pub fn control(&self, machine: &Machine, message: &[u8; 0x30]) {
        let (state, ring) = self.channels[DEVICE_CONTROL];
        let next = self.push(state + 0x20, ring, message, 0x100);
        machine.message(0x21, 0x83 << 48 | 0x11);
        wait("device control", || self.r32(state) == next);
    }

    /// Puts a message into a ring; returns the new write index.
    pub fn push(&self, write: u64, ring: u64, message: &[u8], entries: u32) -> u32 {
        let at = self.r32(write);
        self.w(ring + u64::from(at) * message.len() as u64, message);
        let next = (at + 1) % entries;
        self.w32(write, next);
        next
    }

    /// The events that have arrived since the last call, as their first five words.
    pub fn events(&mut self) -> Vec<[u32; 5]> {
        let (state, ring) = self.channels[EVENT];
        let mut all = Vec::new();
        while self.event_read != self.r32(state + 0x20) {
            let at = ring + u64::from(self.event_read) * 0x38;
            all.push([0, 4, 8, 12, 16].map(|o| self.r32(at + o)));
            self.event_read = (self.event_read + 1) % 0x100;
            self.w32(state, self.event_read);
        }
        all
    }

    pub fn wait_event(&mut self) -> [u32; 5] {
        let mut got = None;
        wait("an event", || {
            got = got.or_else(|| self.events().first().copied());
            got.is_some()
        });
        got.unwrap()
    }

    /// Page tables for a client, with memory for streams and results.
    pub fn client(&mut self, ctx: u8) {
        self.mem.back(ctx, DUMMY, PAGE_SIZE, USER_RW);
        self.mem.back(ctx, USER, 4 * PAGE_SIZE, USER_RW);
    }

    pub fn user_pa(&self, ctx: u8, va: u64) -> u64 {
        let pte = self.uat.walk(ctx, Agent::Gpu, va).unwrap();
        pte.address() | (va % PAGE_SIZE)
    }

    pub fn queue(&mut self, slot: u32) -> WorkQueue {
        let q = WorkQueue {
            pipe: 2,
            info: self.private.get(0xb8),
            state: self.shared.get(0x60),
            ring: self.shared.get(0x500 * 8),
            context: self.private.get(0x40),
            stamp: self.shared.get(4),
            fw_stamp: self.private.get(4),
            notifier: self.private.get(0xb0),
            threshold: self.shared.get(8),
            slot,
            wptr: 0,
            value: 0,
            is_new: true,
        };
        let list = self.private.get(0x18);
        self.w64(list + 8, list);
        let buf = self.private.get(0x2c18);
        self.w64(q.info, q.state);
        self.w64(q.info + 0x8, q.ring);
        self.w64(q.info + 0x10, list);
        self.w64(q.info + 0x18, buf);
        self.w32(q.info + 0x2c, u32::MAX);
        self.w32(q.info + 0x50, 7 + slot);
        self.w64(q.info + 0xa4, q.context);
        self.w32(q.state + 0x50, 0x500);
        self.w(q.context, &[0xff, 0xff, 0, 0, 0, 1]);
        self.w8(q.context + 0x1e, 0xff);
        self.w8(q.context + 0x23, 2);
        self.w64(q.notifier, q.threshold);
        self.w32(q.notifier + 8, 42);
        self.w32(q.notifier + 0x10, 0x50);
        self.w64(q.notifier + 0xa8, u64::MAX);
        q
    }

    /// Writes a compute command that makes the fake GPU store `value` as its result.
    pub fn job(&mut self, q: &mut WorkQueue, ctx: u8, value: u64) -> Job {
        q.value += 0x100;
        let (stream, result) = (self.user_next, self.user_next + 0x20);
        self.user_next += 0x40;
        self.mem.w64(self.user_pa(ctx, stream), result);
        self.mem.w64(self.user_pa(ctx, stream + 8), value);

        let c = self.private.get(0x320);
        self.w32(c, 3);
        self.w64(c + 0x4, 99);
        self.w32(c + 0x10, ctx.into());
        self.w64(c + 0x14, q.notifier);
        let p1 = c + 0x70;
        self.w64(p1 + 0x8, stream);
        self.w64(p1 + 0x30, USER);
        self.w64(p1 + 0x38, 0x8c60);
        let p2 = c + 0x1fc;
        self.w64(p2 + 0x30, stream + 0x20);
        let meta = c + 0x284;
        self.w64(meta + 0x4, q.stamp);
        self.w64(meta + 0xc, q.fw_stamp);
        self.w32(meta + 0x14, q.value);
        self.w32(meta + 0x18, q.slot);
        self.w32(meta + 0x24, 0x1234);
        let times = self.shared.get(0x10);
        self.w64(c + 0x2b8, times);
        self.w64(c + 0x2c0, times + 8);
        self.w64(c + 0x2c8, TIMESTAMPS + 0x100);
        self.w64(c + 0x2d0, TIMESTAMPS + 0x108);

        let s = self.private.get(0x400);
        let size = self.sequence(q, c, s, ctx);
        self.w64(c + 0x1f0, s);
        self.w32(c + 0x1f8, size);
        Job {
            command: c,
            sequence: s,
            value: q.value,
            result: self.user_pa(ctx, result),
        }
    }

    fn sequence(&self, q: &WorkQueue, c: u64, s: u64, ctx: u8) -> u32 {
        let stats = self.r64(self.runtime + 0x180);
        self.w32(s, 0x29);
        self.w64(s + 0x4, c + 0x20);
        self.w64(s + 0xc, c + 0x70);
        self.w64(s + 0x14, stats);
        self.w64(s + 0x1c, q.info);
        self.w32(s + 0x24, ctx.into());
        self.w32(s + 0x28, 1);
        self.w32(s + 0x2c, 42);
        self.w64(s + 0x3c, c + 0x1fc);
        self.w32(s + 0x48, 0x1234);
        self.w64(s + 0x154, c + 0x305);
        self.w64(s + 0x15c, 99);
        self.w64(s + 0x164, q.notifier + 0xa8);
        let mut at = s + 0x16c;
        at = self.timestamp(q, c, at, 0x8000_0019);
        self.w32(at, 0x80_0001);
        at += 4;
        at = self.timestamp(q, c, at, 0x19);
        let f = at;
        self.w32(f, 0x2a);
        self.w64(f + 0x4, stats);
        self.w64(f + 0xc, q.info);
        self.w32(f + 0x14, ctx.into());
        self.w64(f + 0x18, c + 0x1fc);
        self.w32(f + 0x24, 0x1234);
        self.w64(f + 0x28, q.fw_stamp);
        self.w32(f + 0x30, q.value);
        self.w32(f + 0x58, (s.wrapping_sub(f)) as u32);
        self.w32(f + 0x7c, 0x4000_0018);
        (f + 0x80 - s) as u32
    }

    fn timestamp(&self, q: &WorkQueue, c: u64, at: u64, header: u32) -> u64 {
        self.w32(at, header);
        self.w64(at + 0x4, c + 0x2b0);
        self.w64(at + 0xc, c + 0x2b8);
        self.w64(at + 0x14, 0xdead_beef);
        self.w64(at + 0x1c, q.info);
        self.w64(at + 0x24, c + 0x2c8);
        self.w64(at + 0x2c, c + 0x2e1);
        self.w32(at + 0x34, 0x1234);
        at + 0x3c
    }

    /// Writes a barrier.
    pub fn barrier(&mut self, stamp: u64, value: u32, slot: u32) -> u64 {
        let b = self.private.get(0x40);
        self.w32(b, 4);
        self.w64(b + 0x4, stamp);
        self.w32(b + 0xc, value);
        self.w32(b + 0x10, slot);
        b
    }

    /// Puts a command into the queue's ring.
    pub fn enqueue(&self, q: &mut WorkQueue, command: u64) {
        self.w64(q.ring + u64::from(q.wptr) * 8, command);
        q.wptr = (q.wptr + 1) % 0x500;
        self.w32(q.state + 0x40, q.wptr);
    }

    pub fn count(&self, q: &WorkQueue, commands: u32) {
        let now = self.r32(q.threshold);
        self.w32(q.threshold, now + commands);
        let g = self.globals + 0x8974;
        self.w32(g, self.r32(g) + commands);
    }

    /// Sends the run message on the queue's channel of a priority.
    pub fn run(&self, machine: &Machine, q: &mut WorkQueue, priority: u32) {
        let mut m = [0; 0x30];
        m[0] = q.pipe;
        m[4..12].copy_from_slice(&q.info.to_le_bytes());
        m[12..16].copy_from_slice(&q.wptr.to_le_bytes());
        m[16..20].copy_from_slice(&q.slot.to_le_bytes());
        m[20] = q.is_new.into();
        q.is_new = false;
        self.run_raw(machine, priority, &m);
    }

    pub fn run_raw(&self, machine: &Machine, priority: u32, message: &[u8; 0x30]) {
        let pipe = message[0];
        let (state, ring) = self.channels[priority as usize * 3 + usize::from(pipe)];
        self.push(state + 0x20, ring, message, 0x100);
        machine.message(
            0x21,
            0x83 << 48 | u64::from(priority << 2) | u64::from(pipe),
        );
    }

    /// A whole submission: one job, counted and rung.
    pub fn submit(&mut self, machine: &Machine, q: &mut WorkQueue, ctx: u8, value: u64) -> Job {
        let job = self.job(q, ctx, value);
        self.enqueue(q, job.command);
        self.count(q, 1);
        self.run(machine, q, 0);
        job
    }

    pub fn wait_stamp(&self, q: &WorkQueue, value: u32) {
        wait("the stamp", || self.r32(q.stamp) == value);
    }

    pub fn result(&self, job: &Job) -> u64 {
        self.mem.r64(job.result)
    }

    /// A request to flush the firmware's cache, as the handoff region and the message describe it.
    pub fn flush(&self, machine: &Machine, slot: u32, addr: u64, pages: u16) {
        let f = HANDOFF + 0x20 + u64::from(slot) * 0x18;
        self.mem.w64(f + 8, addr);
        self.mem.w64(f + 16, u64::from(pages) * PAGE_SIZE);
        self.mem.w64(f, 1);
        self.flush_message(machine, slot, addr, pages);
    }

    pub fn flush_message(&self, machine: &Machine, slot: u32, addr: u64, pages: u16) {
        let mut m = [0; 0x14];
        m[..8].copy_from_slice(&addr.to_le_bytes());
        m[12..16].copy_from_slice(&slot.to_le_bytes());
        m[16..18].copy_from_slice(&pages.to_le_bytes());
        m[18] = 2;
        self.push(self.fwctl.0 + 0x10, self.fwctl.1, &m, 0x100);
        machine.message(0x21, 0x84 << 48);
    }

    pub fn flush_state(&self, slot: u32) -> u64 {
        self.mem.r64(HANDOFF + 0x20 + u64::from(slot) * 0x18)
    }
}
