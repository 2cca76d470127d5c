// SPDX-License-Identifier: MIT OR Apache-2.0

//! Vertex and fragment commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::{Driver, Machine, Render, RenderQueue, TILER_HEAP, wait};

/// A machine with one client that can render.
pub fn ready(blocks: u32) -> (Machine, Driver, RenderQueue) {
    let mut machine = Machine::new();
    let mut driver = Driver::new(&machine);
    machine.start_with(&[]);
    driver.boot(&machine);
    let mut q = driver.render_queue(1, 40, 9, blocks);
    driver.bind_buffer(&mut q);
    (machine, driver, q)
}

#[test]
fn a_pair_runs_and_is_reported() {
    let (machine, mut driver, mut q) = ready(8);
    let render = driver.submit_render(&machine, &mut q, 3);
    // Both halves are told by one event, as the threshold says.
    assert_eq!(driver.wait_event(), [1, 0, 3 << 8, 0, 0]);
    machine.assert_clean();
    for (queue, done) in [(&q.vertex, 2), (&q.fragment, 2)] {
        assert_eq!(driver.r32(queue.stamp), 0x100);
        assert_eq!(driver.r32(queue.fw_stamp), 0x100);
        assert_eq!(driver.r32(queue.state), done);
        assert_eq!(driver.r32(queue.state + 0x30), done);
    }
    for pointers in [render.vertex + 0x5bc, render.fragment + 0x920] {
        let expected = [24_000_000, 24_000_000, 1_000_000_000, 1_000_000_000];
        for (n, time) in (0..).zip(expected) {
            assert_eq!(driver.r64(driver.r64(pointers + n * 8)), time);
        }
    }
    // 300 tiles, one draw, three vertices: one page of the heap.
    assert_eq!(driver.r32(q.stats), 1);
    assert_eq!(driver.r32(q.stats + 0x8), 0);
    assert_eq!(driver.r32(q.stats + 0x20), 0);
    assert_eq!(driver.r32(render.scene), 1);
    assert_eq!(driver.r32(render.scene + 0x34), 1);
    assert_eq!(driver.r64(render.fragment + 0x88c), 0);

    let renders = machine.gpu.renders.lock().unwrap();
    let job = &renders[0];
    assert_eq!(job.vertex.vdm_ctrl_stream_base, render.stream);
    assert_eq!((job.vertex.width_px, job.vertex.height_px), (640, 480));
    assert_eq!(job.vertex.layers, 1);
    let f = &job.fragment;
    assert_eq!((f.width_px, f.height_px, f.samples), (640, 480, 1));
    assert_eq!((f.utile_width_px, f.utile_height_px), (32, 32));
    assert_eq!((f.bg.usc, f.bg.rsrc_spec), (0x4004, 0x12));
    assert_eq!((f.eot.usc, f.eot.rsrc_spec), (0x8004, 0x12));
    assert_eq!(f.usc_exec_base, 0x11_0000_0000);
    assert_eq!((f.vm_slot, f.tib_blocks), (1, 8));
}

#[test]
fn the_fragment_half_waits_for_its_vertex_half() {
    let (machine, mut driver, mut q) = ready(8);
    let render = driver.render(&mut q, 3);
    driver.enqueue_render(&mut q, &render);
    driver.run(&machine, &mut q.fragment, 0);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(driver.r32(q.fragment.state), 0);
    assert!(machine.gpu.renders.lock().unwrap().is_empty());
    driver.run(&machine, &mut q.vertex, 0);
    driver.wait_stamp(&q.fragment, render.fragment_value);
    machine.assert_clean();
}

#[test]
fn many_renders() {
    let (machine, mut driver, mut q) = ready(8);
    for n in 1..=20 {
        driver.submit_render(&machine, &mut q, 600 * n);
        driver.wait_stamp(&q.fragment, n * 0x100);
        driver.events();
    }
    // 9600 bytes of lists and 12000 vertices.
    assert_eq!(driver.r32(q.stats), 24);
    machine.assert_clean();
}

#[test]
fn barriers_between_renders() {
    let (machine, mut driver, mut q) = ready(8);
    let first = driver.render(&mut q, 3);
    let second = driver.render(&mut q, 3);
    driver.enqueue_render(&mut q, &first);
    // The second one's vertex half waits for the first one's fragment half.
    let (stamp, slot) = (q.fragment.fw_stamp, q.fragment.slot);
    let barrier = driver.barrier(stamp, first.fragment_value, slot);
    driver.enqueue(&mut q.vertex, barrier);
    driver.enqueue_render(&mut q, &second);
    let gate = Arc::new(AtomicBool::new(false));
    *machine.gpu.gate.lock().unwrap() = Some(gate.clone());
    driver.run_render(&machine, &mut q);
    wait("the first fragment half", || {
        machine.gpu.renders.lock().unwrap().len() == 1
    });
    assert_eq!(driver.r32(q.vertex.stamp), first.vertex_value);
    gate.store(true, Ordering::SeqCst);
    driver.wait_stamp(&q.fragment, second.fragment_value);
    machine.assert_clean();
}

#[test]
fn the_next_vertex_half_overlaps_a_fragment_half() {
    let (machine, mut driver, mut q) = ready(8);
    let gate = Arc::new(AtomicBool::new(false));
    *machine.gpu.gate.lock().unwrap() = Some(gate.clone());
    driver.submit_render(&machine, &mut q, 3);
    let second = driver.submit_render(&machine, &mut q, 3);
    driver.wait_stamp(&q.vertex, second.vertex_value);
    assert_eq!(driver.r32(q.fragment.stamp), 0);
    gate.store(true, Ordering::SeqCst);
    driver.wait_stamp(&q.fragment, second.fragment_value);
    machine.assert_clean();
}

#[test]
fn a_stream_that_is_not_mapped_is_a_fault() {
    let (machine, mut driver, mut q) = ready(8);
    let render = driver.render(&mut q, 3);
    driver.w64(render.vertex + 0x40 + 0x90, 0x7_1234_5680);
    driver.enqueue_render(&mut q, &render);
    driver.run_render(&machine, &mut q);
    assert_eq!(driver.wait_event()[0], 0);
    let fault = *machine.outside.fault.lock().unwrap();
    assert!(fault.valid && fault.read);
    let found = (fault.address, fault.vm_slot, fault.unit, fault.reason);
    assert_eq!(found, (0x7_1234_5680, 1, 0xa7, 0));
    // Resumed, the vertex half counts as done, and the fragment half finds an empty scene.
    driver.w32(driver.fw_status + 0x20, 0);
    driver.w32(driver.fw_status + 0x30, 1);
    driver.wait_stamp(&q.fragment, render.fragment_value);
    machine.assert_clean();
}

#[test]
fn the_stream_is_read_to_its_end() {
    // A link to what is not mapped.
    let (machine, mut driver, mut q) = ready(8);
    let render = driver.render(&mut q, 3);
    driver.user_w32(1, render.stream + 16, 4 << 29 | 0x7);
    driver.user_w32(1, render.stream + 20, 0x2000);
    driver.enqueue_render(&mut q, &render);
    driver.run_render(&machine, &mut q);
    assert_eq!(driver.wait_event()[0], 0);
    let fault = *machine.outside.fault.lock().unwrap();
    assert_eq!((fault.address, fault.unit), (0x7_0000_2000, 0xa7));
    machine.assert_clean();
}

/// The complaints when a render is submitted with one thing changed.
fn complaints(change: impl FnOnce(&mut Driver, &mut RenderQueue, &Render)) -> Vec<String> {
    let (machine, mut driver, mut q) = ready(8);
    let render = driver.render(&mut q, 3);
    driver.enqueue_render(&mut q, &render);
    change(&mut driver, &mut q, &render);
    driver.run_render(&machine, &mut q);
    wait("a complaint", || !machine.complaints().is_empty());
    std::thread::sleep(Duration::from_millis(20));
    machine.complaints()
}

type Change = fn(&mut Driver, &mut RenderQueue, &Render);

#[test]
fn each_wrong_field_of_a_vertex_command_is_named() {
    let cases: [(&str, Change); 29] = [
        ("RunVertex.vm_slot+0xc", |d, _, r| d.w32(r.vertex + 0xc, 0)),
        ("RunVertex.buffer_slot+0x1c", |d, _, r| {
            d.w64(r.vertex + 0x1c, 127)
        }),
        ("RunVertex.buffer_slot+0x1c", |d, _, r| {
            d.w64(r.vertex + 0x1c, 8);
            d.w64(r.vertex_sequence + 0x40, 8);
        }),
        ("RunVertex.buffer+0x24", |d, q, r| {
            d.w64(r.vertex + 0x24, q.info + 0x80);
            d.w64(r.vertex_sequence + 0x14, q.info + 0x80);
            d.w64(r.vertex_sequence + 0x208 + 0xc, q.info + 0x80)
        }),
        ("RunVertex.scene+0x2c", |d, _, r| d.w64(r.vertex + 0x2c, 0)),
        ("Scene.stats+0x2c", |d, _, r| d.w64(r.scene + 0x2c, 0)),
        ("Scene.user_buffer+0x18", |d, _, r| {
            d.w64(r.scene + 0x18, 0x5_0000_0000)
        }),
        ("RunVertex.unk_emptybuf+0x34", |d, _, r| {
            d.w64(r.vertex + 0x34, 0)
        }),
        ("RunVertex.job_params1.unk_8+0x8", |d, _, r| {
            d.w32(r.vertex + 0x48, 0)
        }),
        ("RunVertex.job_params1.tilemap+0x10", |d, _, r| {
            d.w64(r.vertex + 0x50, 0x5_0000_0000)
        }),
        ("RunVertex.tpc+0x464", |d, _, r| {
            d.w64(r.vertex + 0x60, 0x60_0000_0000)
        }),
        ("RunVertex.job_params1.layermeta+0x58", |d, _, r| {
            d.w64(r.vertex + 0x98, 0x60_0000_0000);
            d.w64(r.fragment + 0x168, 0x60_0000_0000);
        }),
        ("RunVertex.job_params1.reserve+0xf0", |d, _, r| {
            d.w64(r.vertex + 0x130, 0x20)
        }),
        ("RunVertex.job_params1.heapmeta+0x28", |d, _, r| {
            d.w64(r.vertex + 0x68, d.r64(r.vertex + 0x68) & !(1 << 63))
        }),
        ("RunVertex.job_params1.preempt_buf3+0x88", |d, _, r| {
            d.w64(r.vertex + 0xc8, 0x60_0000_0000)
        }),
        ("RunVertex.job_params1.tiling_control+0xa8", |d, _, r| {
            d.w64(r.vertex + 0xe8, 0xa540)
        }),
        ("RunVertex.tiling_params.unk_4+0x4", |d, _, r| {
            d.w32(r.vertex + 0x3c8, 0x44)
        }),
        ("RunVertex.tiling_params.te_screen+0x10", |d, _, r| {
            d.w32(r.vertex + 0x3d4, 14 << 12 | 18)
        }),
        ("RunVertex.tiling_params.te_mtile1+0x14", |d, _, r| {
            d.w32(r.vertex + 0x3d8, 4 << 18 | 8 << 9 | 12)
        }),
        ("RunVertex.tiling_params.tpc_stride+0x20", |d, _, r| {
            d.w32(r.vertex + 0x3e4, 32)
        }),
        ("RunVertex.registers+0x454", |d, _, r| {
            d.w64(r.vertex + 0x454, r.vertex)
        }),
        ("RunVertex.tpc_size+0x46c", |d, _, r| {
            d.w64(r.vertex + 0x46c, 0xfff)
        }),
        ("RunVertex.fragment_stamp_slot+0x480", |d, _, r| {
            d.w32(r.vertex + 0x480, 128)
        }),
        ("RunVertex.job_params2.preempt_buf1+0x24", |d, _, r| {
            d.w64(r.vertex + 0x488 + 0x24, 0)
        }),
        ("RunVertex.meta.stamp_slot+0x18", |d, _, r| {
            d.w32(r.vertex + 0x56c + 0x18, 3)
        }),
        ("StartVertex.scene+0x1c", |d, _, r| {
            d.w64(r.vertex_sequence + 0x1c, 0)
        }),
        ("StartVertex.job_params2+0x54", |d, _, r| {
            d.w64(r.vertex_sequence + 0x54, 0)
        }),
        ("microsequence.opcode+0x1c8", |d, _, r| {
            d.w32(r.vertex_sequence + 0x1c8, 0x1_0001)
        }),
        ("FinalizeVertex.buffer+0xc", |d, _, r| {
            d.w64(r.vertex_sequence + 0x208 + 0xc, 0)
        }),
    ];
    for (want, change) in cases {
        let all = complaints(change);
        assert_eq!(all.first().map(String::as_str), Some(want), "{all:?}");
        // Refused, it leaves no scene for its fragment half; nothing else may be wrong.
        let rest: Vec<_> = all[1..]
            .iter()
            .filter(|c| *c != "RunFragment.tilemap+0x40")
            .collect();
        assert!(rest.is_empty(), "{all:?}");
    }
}

#[test]
fn each_wrong_field_of_a_fragment_command_is_named() {
    let cases: [(&str, Change); 19] = [
        ("RunFragment.vm_slot+0xc", |d, _, r| {
            d.w32(r.fragment + 0xc, 64)
        }),
        ("RunFragment.buffer+0x28", |d, _, r| {
            d.w64(r.fragment + 0x28, 0)
        }),
        ("RunFragment.scene+0x30", |d, _, r| {
            d.w64(r.fragment + 0x30, 0)
        }),
        ("RunFragment.tilemap+0x40", |d, _, r| {
            d.w64(r.fragment + 0x40, 0x60_0000_0000);
            d.w64(r.fragment + 0x160, 0x60_0000_0000);
        }),
        ("RunFragment.job_params1.tilemap+0xe0", |d, _, r| {
            d.w64(r.fragment + 0x160, 0x60_0000_0000)
        }),
        ("RunFragment.samples+0x50", |d, _, r| {
            d.w32(r.fragment + 0x50, 3)
        }),
        ("RunFragment.tile_count+0x78", |d, _, r| {
            d.w64(r.fragment + 0x78, 299)
        }),
        ("RunFragment.job_params1.aux_fb+0x108", |d, _, r| {
            d.w64(r.fragment + 0x188, 0)
        }),
        ("RunFragment.job_params1+0x80", |d, _, r| {
            d.w64(r.fragment + 0x178, 0)
        }),
        ("RunFragment.meta+0x8d0", |d, _, r| {
            d.w32(r.vertex + 0x484, 0x700)
        }),
        (
            "RunFragment.job_params2.utiles_per_mtile_x+0x22",
            |d, _, r| d.w16(r.fragment + 0x3ea, 4),
        ),
        ("RunFragment.job_params3.width+0x238", |d, _, r| {
            d.w32(r.fragment + 0x6e0, 64)
        }),
        ("RunFragment.meta.stamp+0x4", |d, _, r| {
            d.w64(r.fragment + 0x8d4, 0)
        }),
        ("StartFragment.tvb_overflow_count+0x2c", |d, _, r| {
            d.w64(r.fragment_sequence + 0x2c, 0)
        }),
        ("StartFragment.unk_pointer+0x34", |d, _, r| {
            d.w64(r.fragment_sequence + 0x34, r.fragment + 0x8d0)
        }),
        ("StartFragment.work_item+0x44", |d, _, r| {
            d.w64(r.fragment_sequence + 0x44, 0)
        }),
        ("StartFragment.num_attachments+0x194", |d, _, r| {
            d.w32(r.fragment_sequence + 0x194, 17)
        }),
        ("FinalizeFragment.vm_slot+0x5c", |d, _, r| {
            d.w64(r.fragment_sequence + 0x228 + 0x5c, 2)
        }),
        ("RunFragment.buffer+0x28", |d, _, r| {
            d.w32(r.fragment_sequence + 0x58, 8)
        }),
    ];
    for (want, change) in cases {
        assert_eq!(complaints(change), [want], "for {want}");
    }
}

#[test]
fn the_heap_of_a_scene_must_stay() {
    let (machine, mut driver, mut q) = ready(8);
    let gate = Arc::new(AtomicBool::new(false));
    *machine.gpu.gate.lock().unwrap() = Some(gate.clone());
    let render = driver.submit_render(&machine, &mut q, 3);
    wait("the fragment half", || {
        machine.gpu.renders.lock().unwrap().len() == 1
    });
    machine.mem.w64(machine.mem.leaf(1, TILER_HEAP), 0);
    gate.store(true, Ordering::SeqCst);
    driver.wait_stamp(&q.fragment, render.fragment_value);
    assert_eq!(machine.complaints(), ["tiler buffer.page_list+0x0"]);
}
