// SPDX-License-Identifier: MIT OR Apache-2.0

//! The driver's side of rendering: a tiler's buffer, vertex and fragment commands.

use super::driver::TIMESTAMPS;
use super::*;

/// Where a client's part of this is: tables and scenes, then the heap, then control streams.
const TABLES: u64 = 0x60_0000_0000;
pub const TILER_HEAP: u64 = 0x61_0000_0000;
const STREAMS: u64 = 0x62_0000_0000;
/// What addresses of programs are relative to.
const PROGRAMS: u64 = 0x11_0000_0000;
const BLOCK: u64 = 0x20000;
const UUID: u32 = 0x77;

/// The two queues of a client that renders, and its tiler's buffer.
pub struct RenderQueue {
    pub ctx: u8,
    pub vertex: WorkQueue,
    pub fragment: WorkQueue,
    pub slot: u32,
    pub info: u64,
    pub control: u64,
    pub stats: u64,
    pub pages: u64,
    pub blocks: u64,
    pub count: u32,
    tables: u64,
    streams: u64,
}

/// A render as the driver wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Render {
    pub vertex: u64,
    pub vertex_sequence: u64,
    pub vertex_value: u32,
    pub fragment: u64,
    pub fragment_sequence: u64,
    pub fragment_value: u32,
    pub scene: u64,
    pub stream: u64,
}

impl Driver {
    /// Bytes of a client's half.
    pub fn user_w32(&self, ctx: u8, va: u64, v: u32) {
        self.mem.ram.write_u32(self.user_pa(ctx, va), v).unwrap();
    }

    /// Queues with the event slots `event` and the next, and a buffer of `blocks` in the slot `slot`.
    pub fn render_queue(&mut self, ctx: u8, event: u32, slot: u32, blocks: u32) -> RenderQueue {
        self.client(ctx);
        self.mem.back(ctx, TABLES, 32 * PAGE_SIZE, USER_FW);
        self.mem.back(ctx, STREAMS, PAGE_SIZE, USER_RW);
        // The programs for each tile: state words that name a shader and no preshader, and a shader that stops.
        for usc in [PROGRAMS + 0x4000, PROGRAMS + 0x8000] {
            let code = (usc - PROGRAMS + 0x100) as u32;
            self.mem.back(ctx, usc, PAGE_SIZE, USER_RW);
            self.user_w32(ctx, usc, 0x0d | code << 16);
            self.user_w32(ctx, usc + 4, 0x88 << 16 | code >> 16);
            self.user_w32(ctx, usc + 0x100, 0x0008_0088);
        }
        let mut vertex = self.queue(event);
        let mut fragment = self.queue(event + 1);
        vertex.pipe = 0;
        fragment.pipe = 1;
        fragment.notifier = vertex.notifier;
        fragment.threshold = vertex.threshold;
        let mut q = RenderQueue {
            ctx,
            vertex,
            fragment,
            slot,
            info: self.private.get(0xbc),
            control: self.shared.get(0x40),
            stats: self.shared.get(0x40),
            pages: TABLES,
            blocks: TABLES + PAGE_SIZE,
            count: 0,
            tables: TABLES + 2 * PAGE_SIZE,
            streams: STREAMS,
        };
        let counter = self.shared.get(0x40);
        self.w64(q.info + 0x1c, q.pages);
        self.w32(q.info + 0x24, PAGE_SIZE as u32);
        self.w32(q.info + 0x2c, 0xd1a);
        self.w64(q.info + 0x38, q.blocks);
        self.w64(q.info + 0x40, q.control);
        self.w32(q.info + 0x58, BLOCK as u32);
        self.w64(q.info + 0x64, counter);
        self.w32(q.info + 0x7c, 1);
        self.w32(q.info + 0x80, 0x66cc);
        self.w32(q.info + 0x84, 0x2244);
        self.w32(q.info + 0xc, u32::MAX);
        self.w32(q.stats + 0x20, 1);
        self.grow(&mut q, blocks);
        q
    }

    /// Adds blocks to the heap and to its lists.
    pub fn grow(&mut self, q: &mut RenderQueue, blocks: u32) {
        for block in q.count..q.count + blocks {
            let va = TILER_HEAP + u64::from(block) * BLOCK;
            self.mem.back(q.ctx, va, BLOCK, USER_FW);
            let number = (va >> 15) as u32;
            self.user_w32(q.ctx, q.blocks + u64::from(block) * 8, number);
            for page in 0..4 {
                let at = q.pages + u64::from(block * 4 + page) * 4;
                self.user_w32(q.ctx, at, number + page);
            }
        }
        q.count += blocks;
        self.set_blocks(q, q.count);
    }

    pub fn set_blocks(&self, q: &RenderQueue, count: u32) {
        self.w32(q.info + 0x28, count * 4);
        self.w32(q.info + 0x30, count);
        self.w32(q.info + 0x48, count * 4 - 1);
        self.w32(q.control, count);
        self.w32(q.control + 0x4, count);
    }

    /// Writes InitBuffer for the buffer.
    pub fn init_buffer(&mut self, q: &RenderQueue) -> u64 {
        let c = self.private.get(0x20);
        self.w32(c, 6);
        self.w32(c + 0x4, q.ctx.into());
        self.w32(c + 0x8, q.slot);
        self.w32(c + 0x10, q.count);
        self.w64(c + 0x14, q.info);
        self.w32(c + 0x1c, q.vertex.value + 0x100);
        c
    }

    /// Writes a render of 640 by 480 pixels with one draw of so many vertices.
    pub fn render(&mut self, q: &mut RenderQueue, vertices: u32) -> Render {
        q.vertex.value += 0x100;
        q.fragment.value += 0x100;
        let stream = q.streams;
        q.streams += 0x40;
        let words = [7 << 22 | 3 << 29 | 6 << 8, vertices, 1, 0, 6 << 29, 0];
        for (n, word) in (0..).zip(words) {
            self.user_w32(q.ctx, stream + n * 4, word);
        }
        let tables = q.tables;
        q.tables += PAGE_SIZE;
        let scene = self.private.get(0x48);
        self.w64(scene + 0x18, tables + 0x3000);
        self.w64(scene + 0x2c, q.stats);
        let mut render = Render {
            vertex: self.private.get(0x61c),
            vertex_sequence: self.private.get(0x400),
            vertex_value: q.vertex.value,
            fragment: self.private.get(0x974),
            fragment_sequence: self.private.get(0x400),
            fragment_value: q.fragment.value,
            scene,
            stream,
        };
        let empty = self.private.get(0x40);
        self.vertex(q, &mut render, tables, empty);
        self.fragment(q, &mut render, tables, empty);
        render
    }

    fn meta(&self, q: &WorkQueue, at: u64) {
        self.w64(at + 0x4, q.stamp);
        self.w64(at + 0xc, q.fw_stamp);
        self.w32(at + 0x14, q.value);
        self.w32(at + 0x18, q.slot);
        self.w32(at + 0x24, UUID);
    }

    fn times(&mut self, at: u64, user: u64) {
        let times = self.shared.get(0x10);
        self.w64(at, times);
        self.w64(at + 0x8, times + 8);
        self.w64(at + 0x10, user);
        self.w64(at + 0x18, user + 8);
    }

    fn vertex(&mut self, q: &RenderQueue, r: &mut Render, tables: u64, empty: u64) {
        let c = r.vertex;
        self.w64(c + 0x4, 11);
        self.w32(c + 0xc, q.ctx.into());
        self.w64(c + 0x14, q.vertex.notifier);
        self.w64(c + 0x1c, q.slot.into());
        self.w64(c + 0x24, q.info);
        self.w64(c + 0x2c, r.scene);
        self.w64(c + 0x34, empty);
        let p = c + 0x40;
        self.w64(p, 0x200);
        self.w32(p + 0x8, 0x1e3c_e508);
        self.w32(p + 0xc, 0x1e3c_e508);
        self.w64(p + 0x10, tables);
        self.w64(p + 0x20, tables + 0x1000);
        self.w64(p + 0x28, (tables + 0x2800) | (1 << 63));
        self.w32(p + 0x30, 0x6b_0003);
        self.w32(p + 0x34, 0x3a_0012);
        self.w64(p + 0x38, 1);
        self.w64(p + 0x48, 0xa000);
        self.w64(p + 0x50, 0x88);
        self.w64(p + 0x58, tables + 0x2a00);
        self.w64(p + 0x68, u64::MAX);
        self.w64(p + 0x70, tables + 0x3400);
        self.w64(p + 0x78, tables + 0x3a00);
        self.w64(p + 0x80, 1);
        self.w64(p + 0x88, (tables + 0x3d00) | (4 << 48));
        self.w64(p + 0x90, r.stream);
        self.w64(p + 0xa8, 0xa041);
        self.w64(p + 0xe0, PROGRAMS);
        self.w64(p + 0xf0, 0x1c);
        self.w64(p + 0xf8, 0x8c60);
        self.w32(p + 0x118, 0x1c);
        // 20 by 15 tiles in macrotiles of 8 by 4.
        let t = c + 0x3c4;
        self.w32(t, 40);
        self.w32(t + 0x4, 0x88);
        self.w32(t + 0x8, 0x203);
        self.w16(t + 0xc, 639);
        self.w16(t + 0xe, 479);
        self.w32(t + 0x10, 14 << 12 | 19);
        self.w32(t + 0x14, 8 << 18 | 16 << 9 | 24);
        self.w32(t + 0x18, 4 << 18 | 8 << 9 | 12);
        self.w32(t + 0x1c, 32);
        self.w32(t + 0x20, 64);
        self.w32(t + 0x24, 0x100);
        self.w32(t + 0x28, 0x8000);
        self.w64(c + 0x464, tables + 0x1000);
        self.w64(c + 0x46c, 0x1000);
        self.w32(c + 0x480, q.fragment.slot);
        self.w32(c + 0x484, q.fragment.value);
        self.w64(c + 0x488 + 0x24, tables + 0x3400);
        self.w32(c + 0x530 + 0x14, u32::MAX);
        self.meta(&q.vertex, c + 0x56c);
        self.times(c + 0x5bc, TIMESTAMPS + 0x200);

        let s = r.vertex_sequence;
        let stats = self.r64(self.runtime + 0x170) + 4;
        self.w32(s, 0x22);
        self.w64(s + 0x4, c + 0x3c4);
        self.w64(s + 0xc, c + 0x40);
        self.w64(s + 0x14, q.info);
        self.w64(s + 0x1c, r.scene);
        self.w64(s + 0x24, stats);
        self.w64(s + 0x2c, q.vertex.info);
        self.w32(s + 0x34, q.ctx.into());
        self.w32(s + 0x38, 1);
        self.w32(s + 0x3c, 42);
        self.w64(s + 0x40, q.slot.into());
        self.w64(s + 0x54, c + 0x488);
        self.w64(s + 0x5c, c + 0x59c);
        self.w32(s + 0x6c, UUID);
        self.w64(s + 0x178, 11);
        self.w64(s + 0x180, q.vertex.notifier + 0xa8);
        let parts = [c + 0x5b4, c + 0x5bc, c + 0x5cc, c + 0x5e5];
        let f = self.middle(s + 0x18c, q.vertex.info, parts, 0x101);
        self.w32(f, 0x23);
        self.w64(f + 0x4, r.scene);
        self.w64(f + 0xc, q.info);
        self.w64(f + 0x14, stats);
        self.w64(f + 0x1c, q.vertex.info);
        self.w32(f + 0x24, q.ctx.into());
        self.w64(f + 0x2c, c + 0x488);
        self.w32(f + 0x38, UUID);
        self.w64(f + 0x3c, q.vertex.fw_stamp);
        self.w32(f + 0x44, q.vertex.value);
        self.w32(f + 0x6c, (s.wrapping_sub(f)) as u32);
        self.w32(f + 0x84, 0x4000_0018);
        self.w64(c + 0x474, s);
        self.w32(c + 0x47c, (f + 0x88 - s) as u32);
    }

    fn fragment(&mut self, q: &RenderQueue, r: &mut Render, tables: u64, empty: u64) {
        let c = r.fragment;
        self.w32(c, 1);
        self.w64(c + 0x4, 10);
        self.w32(c + 0xc, q.ctx.into());
        self.w64(c + 0x20, q.fragment.notifier);
        self.w64(c + 0x28, q.info);
        self.w64(c + 0x30, r.scene);
        self.w64(c + 0x38, empty);
        self.w64(c + 0x40, tables);
        self.w64(c + 0x48, 0x88);
        self.w32(c + 0x50, 1);
        self.w16(c + 0x54, 4);
        self.w16(c + 0x56, 8);
        self.w32(c + 0x68, 0x3b31_68bc);
        self.w32(c + 0x6c, 0x3b6c_8ba5);
        self.w64(c + 0x78, 300);
        let p = c + 0x80;
        self.w64(p, 0xa000);
        self.w64(p + 0x8, 0x12);
        self.w64(p + 0x10, 0x4004);
        self.w64(p + 0x18, 0x88);
        self.w32(p + 0x30, 0xc000);
        self.w32(p + 0x38, 640);
        self.w32(p + 0x3c, 480);
        self.w64(p + 0x48, 479 << 15 | 639);
        self.w64(p + 0xe0, tables);
        self.w64(p + 0xe8, tables + 0x2a00);
        self.w64(p + 0xf8, tables + 0x2800);
        self.w64(p + 0x100, 0x10280);
        self.w64(p + 0x108, tables + 0x3e00);
        self.w64(p + 0x140, PROGRAMS);
        self.w64(p + 0x148, 0x8c60);
        self.w64(p + 0x160, 0x1c);
        let p = c + 0x3c8;
        self.w32(p, 0x12);
        self.w32(p + 0x4, 0x8004);
        self.w32(p + 0x10, 0x3b31_68bc);
        self.w32(p + 0x14, 0x3b6c_8ba5);
        self.w16(p + 0x20, 4);
        self.w16(p + 0x22, 8);
        self.w32(p + 0x28, 14 << 12 | 19);
        self.w32(p + 0x2c, 8);
        self.w32(p + 0x30, 0x3f80_0000);
        self.w32(p + 0x34, 0x700);
        self.w32(p + 0x3c, 1);
        let p = c + 0x4a8;
        self.w32(p + 0x228, 8);
        self.w32(p + 0x238, 640);
        self.w32(p + 0x23c, 480);
        self.w32(p + 0x298, 0x3f80_0000);
        self.w64(p + 0x2c0, 479 << 15 | 639);
        self.w32(c + 0x894 + 0x14, u32::MAX);
        self.meta(&q.fragment, c + 0x8d0);
        self.times(c + 0x920, TIMESTAMPS + 0x300);

        let s = r.fragment_sequence;
        let stats = self.r64(self.runtime + 0x178) + 8;
        self.w32(s, 0x24);
        self.w64(s + 0x4, c + 0x3c8);
        self.w64(s + 0xc, c + 0x80);
        self.w64(s + 0x14, r.scene);
        self.w64(s + 0x1c, stats);
        self.w64(s + 0x24, c + 0x888);
        self.w64(s + 0x2c, c + 0x88c);
        self.w64(s + 0x34, c + 0x8c8);
        self.w64(s + 0x3c, q.fragment.info);
        self.w64(s + 0x44, c);
        self.w32(s + 0x4c, q.ctx.into());
        self.w32(s + 0x50, 1);
        self.w32(s + 0x54, 42);
        self.w32(s + 0x58, q.slot);
        self.w64(s + 0x6c, c + 0x770);
        self.w64(s + 0x74, c + 0x900);
        self.w32(s + 0x90, UUID);
        self.w64(s + 0x94, tables);
        self.w32(s + 0x9c, 4);
        self.w32(s + 0x194, 1);
        self.w64(s + 0x19c, 10);
        self.w64(s + 0x1a4, q.fragment.notifier + 0xa8);
        let parts = [c + 0x918, c + 0x920, c + 0x930, c + 0x949];
        let f = self.middle(s + 0x1ac, q.fragment.info, parts, 0x1_0001);
        self.w32(f, 0x25);
        self.w32(f + 0x4, UUID);
        self.w64(f + 0xc, q.fragment.fw_stamp);
        self.w32(f + 0x14, q.fragment.value);
        self.w64(f + 0x1c, r.scene);
        self.w64(f + 0x24, q.info);
        self.w64(f + 0x2c, 1);
        self.w64(f + 0x34, stats);
        self.w64(f + 0x3c, c + 0x8c8);
        self.w64(f + 0x44, c + 0x888);
        self.w64(f + 0x4c, q.fragment.info);
        self.w64(f + 0x54, c);
        self.w64(f + 0x5c, q.ctx.into());
        self.w64(f + 0x64, c + 0x770);
        self.w32(f + 0x9c, (s.wrapping_sub(f)) as u32);
        self.w32(f + 0xb4, 0x4000_0018);
        self.w64(c + 0x14, s);
        self.w32(c + 0x1c, (f + 0xb8 - s) as u32);
    }

    /// Timestamp, wait, timestamp; returns where they end.
    fn middle(&self, at: u64, queue: u64, parts: [u64; 4], wait: u32) -> u64 {
        let [time, pointers, user, unk_ts] = parts;
        let mut at = at;
        for header in [0x8000_0019, 0x19] {
            self.w32(at, header);
            self.w64(at + 0x4, time);
            self.w64(at + 0xc, pointers);
            self.w64(at + 0x14, 0xdead_beef);
            self.w64(at + 0x1c, queue);
            self.w64(at + 0x24, user);
            self.w64(at + 0x2c, unk_ts);
            self.w32(at + 0x34, UUID);
            at += 0x3c;
            if header != 0x19 {
                self.w32(at, wait);
                at += 4;
            }
        }
        at
    }

    /// Puts a render into the rings, the fragment half behind a barrier on the vertex half.
    pub fn enqueue_render(&mut self, q: &mut RenderQueue, render: &Render) {
        let barrier = self.barrier(q.vertex.fw_stamp, render.vertex_value, q.vertex.slot);
        self.enqueue(&mut q.fragment, barrier);
        self.enqueue(&mut q.fragment, render.fragment);
        self.enqueue(&mut q.vertex, render.vertex);
        self.count(&q.vertex, 2);
    }

    pub fn run_render(&self, machine: &Machine, q: &mut RenderQueue) {
        self.run(machine, &mut q.fragment, 0);
        self.run(machine, &mut q.vertex, 0);
    }

    /// A whole submission.
    pub fn submit_render(
        &mut self,
        machine: &Machine,
        q: &mut RenderQueue,
        vertices: u32,
    ) -> Render {
        let render = self.render(q, vertices);
        self.enqueue_render(q, &render);
        self.run_render(machine, q);
        render
    }

    /// Puts InitBuffer into the vertex queue.
    pub fn bind_buffer(&mut self, q: &mut RenderQueue) {
        let init = self.init_buffer(q);
        self.enqueue(&mut q.vertex, init);
    }

    /// Answers a wish for a larger heap.
    pub fn grow_ack(&self, machine: &Machine, q: &RenderQueue, counter: u32) {
        let mut m = [0; 0x30];
        m[0] = 0xe;
        m[4] = 1;
        m[8..12].copy_from_slice(&q.slot.to_le_bytes());
        m[12] = q.ctx;
        m[16..20].copy_from_slice(&counter.to_le_bytes());
        self.control(machine, &m);
    }
}
