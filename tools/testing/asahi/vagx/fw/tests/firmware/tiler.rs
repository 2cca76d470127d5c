// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tiler's buffer: binding, growth, partial renders.

use std::time::Duration;

use crate::common::{Driver, Machine, RenderQueue, TILER_HEAP, wait};
use crate::render::ready;

/// The GrowTVB event of this queue's buffer, without its counter.
fn wait_for_growth(driver: &mut Driver, q: &RenderQueue) -> u32 {
    let event = driver.wait_event();
    assert_eq!(event[..3], [7, q.ctx.into(), q.slot]);
    event[3]
}

#[test]
fn the_heap_grows_on_demand() {
    let (machine, mut driver, mut q) = ready(3);
    // 10000 vertices are 640000 bytes: with the lists, 20 pages; there are 12.
    let render = driver.submit_render(&machine, &mut q, 10000);
    let counter = wait_for_growth(&mut driver, &q);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(driver.r32(q.vertex.stamp), 0);
    driver.grow(&mut q, 1);
    driver.grow_ack(&machine, &q, counter);
    // That was too little.
    let again = wait_for_growth(&mut driver, &q);
    assert_eq!(again, counter + 1);
    driver.grow(&mut q, 4);
    driver.grow_ack(&machine, &q, again);
    driver.wait_stamp(&q.fragment, render.fragment_value);
    assert_eq!(driver.r32(q.stats), 20);
    assert_eq!(driver.r32(q.stats + 0x8), 0);
    assert_eq!(driver.r32(render.scene), 20);
    assert_eq!(driver.r64(render.fragment + 0x88c), 0);
    machine.assert_clean();

    // Now it is large enough, and the pages of the first render are free again.
    let render = driver.submit_render(&machine, &mut q, 10000);
    driver.wait_stamp(&q.fragment, render.fragment_value);
    assert!(driver.events().iter().all(|e| e[0] == 1));
    machine.assert_clean();
}

#[test]
fn without_growth_the_render_is_partial() {
    let (machine, mut driver, mut q) = ready(3);
    let render = driver.submit_render(&machine, &mut q, 10000);
    let counter = wait_for_growth(&mut driver, &q);
    driver.grow_ack(&machine, &q, counter);
    driver.wait_stamp(&q.fragment, render.fragment_value);
    machine.assert_clean();
    // 20 pages in 12: once in between, and 8 at the end.
    assert_eq!(driver.r32(q.stats + 0x8), 1);
    assert_eq!(driver.r32(render.scene), 8);
    assert_eq!(driver.r32(render.scene + 0x34), 20);
    assert_eq!(driver.r64(render.fragment + 0x88c), 1);
}

#[test]
fn a_partial_render_needs_its_fragment_half() {
    let (machine, mut driver, mut q) = ready(3);
    let render = driver.render(&mut q, 10000);
    driver.enqueue_render(&mut q, &render);
    driver.run(&machine, &mut q.vertex, 0);
    let counter = wait_for_growth(&mut driver, &q);
    driver.grow_ack(&machine, &q, counter);
    wait("the complaint", || !machine.complaints().is_empty());
    assert_eq!(
        machine.complaints(),
        ["RunVertex.fragment_stamp_slot+0x480"]
    );
}

#[test]
fn odd_answers() {
    let (machine, driver, q) = ready(3);
    driver.grow_ack(&machine, &q, 1);
    assert_eq!(
        machine.complaints(),
        ["DeviceControlMsg.GrowTVBAck.buffer_slot+0x8"]
    );

    let (machine, mut driver, mut q) = ready(3);
    driver.submit_render(&machine, &mut q, 10000);
    let counter = wait_for_growth(&mut driver, &q);
    driver.grow_ack(&machine, &q, counter + 1);
    assert_eq!(
        machine.complaints(),
        ["DeviceControlMsg.GrowTVBAck.counter+0x10"]
    );
    // It goes on waiting for the right one.
    driver.grow_ack(&machine, &q, counter);
    driver.wait_stamp(&q.fragment, 0x100);
}

#[test]
fn nobody_answers() {
    let mut machine = Machine::new();
    let mut driver = Driver::new(&machine);
    let mut cfg = crate::common::config(&machine.gpu);
    cfg.job_timeout = Duration::from_millis(300);
    machine.start(cfg);
    driver.boot(&machine);
    let mut q = driver.render_queue(1, 40, 9, 3);
    driver.bind_buffer(&mut q);
    driver.submit_render(&machine, &mut q, 10000);
    let counter = wait_for_growth(&mut driver, &q);
    let event = driver.wait_event();
    assert_eq!((event[0], event[3]), (4, q.vertex.slot));
    driver.w32(driver.fw_status + 0x20, 0);
    driver.w32(driver.fw_status + 0x30, 1);
    driver.wait_stamp(&q.fragment, 0x100);
    // An answer that comes too late is nobody's fault.
    driver.grow_ack(&machine, &q, counter);
    machine.assert_clean();
}

#[test]
fn a_slot_is_bound_again() {
    let (machine, mut driver, mut q) = ready(3);
    let render = driver.submit_render(&machine, &mut q, 3);
    driver.wait_stamp(&q.fragment, render.fragment_value);
    driver.events();
    // More blocks.
    driver.grow(&mut q, 5);
    driver.bind_buffer(&mut q);
    driver.submit_render(&machine, &mut q, 10000);
    driver.wait_stamp(&q.fragment, 0x200);
    // Fewer.
    driver.set_blocks(&q, 4);
    q.count = 4;
    driver.bind_buffer(&mut q);
    driver.submit_render(&machine, &mut q, 100);
    driver.wait_stamp(&q.fragment, 0x300);
    // Another client's buffer, in the same slot.
    let mut other = driver.render_queue(2, 60, 9, 3);
    driver.bind_buffer(&mut other);
    driver.submit_render(&machine, &mut other, 100);
    driver.wait_stamp(&other.fragment, 0x100);
    machine.assert_clean();
    // The first client's is not there any more.
    driver.submit_render(&machine, &mut q, 100);
    wait("the complaint", || !machine.complaints().is_empty());
    assert_eq!(machine.complaints()[0], "RunVertex.buffer+0x24");
}

/// The complaints about InitBuffer with one thing changed.
fn complaints(change: impl FnOnce(&mut Driver, &RenderQueue, u64)) -> Vec<String> {
    let mut machine = Machine::new();
    let mut driver = Driver::new(&machine);
    machine.start_with(&[]);
    driver.boot(&machine);
    let mut q = driver.render_queue(1, 40, 9, 4);
    let init = driver.init_buffer(&q);
    driver.enqueue(&mut q.vertex, init);
    change(&mut driver, &q, init);
    driver.run(&machine, &mut q.vertex, 0);
    wait("a complaint", || !machine.complaints().is_empty());
    std::thread::sleep(Duration::from_millis(20));
    machine.complaints()
}

#[test]
fn each_wrong_field_of_a_buffer_is_named() {
    type Change = fn(&mut Driver, &RenderQueue, u64);
    let cases: [(&str, Change); 19] = [
        ("InitBuffer.vm_slot+0x4", |d, _, c| d.w32(c + 0x4, 0)),
        ("InitBuffer.buffer_slot+0x8", |d, _, c| d.w32(c + 0x8, 127)),
        ("InitBuffer.unk_c+0xc", |d, _, c| d.w32(c + 0xc, 1)),
        ("InitBuffer.block_count+0x10", |d, _, c| d.w32(c + 0x10, 5)),
        ("InitBuffer.buffer+0x14", |d, _, c| d.w64(c + 0x14, 0)),
        ("BufferInfo.page_list+0x1c", |d, q, _| {
            d.w64(q.info + 0x1c, 0x5_0000_0000)
        }),
        ("BufferInfo.page_list_size+0x24", |d, q, _| {
            d.w32(q.info + 0x24, 63)
        }),
        ("BufferInfo.page_count+0x28", |d, q, _| {
            d.w32(q.info + 0x28, 15)
        }),
        ("BufferInfo.max_blocks+0x2c", |d, q, _| {
            d.w32(q.info + 0x2c, 3)
        }),
        ("BufferInfo.page_count+0x28", |d, q, _| {
            d.w32(q.info + 0x30, 2)
        }),
        ("BufferInfo.block_list+0x38", |d, q, _| {
            d.w64(q.info + 0x38, 0)
        }),
        ("BufferInfo.block_ctl+0x40", |d, q, _| {
            d.w64(q.info + 0x40, q.info)
        }),
        ("BufferBlockControl.total+0x0", |d, q, _| {
            d.w32(q.control, 3)
        }),
        ("BufferBlockControl.wptr+0x4", |d, q, _| {
            d.w32(q.control + 0x4, 0)
        }),
        ("BufferInfo.last_page+0x48", |d, q, _| {
            d.w32(q.info + 0x48, 16)
        }),
        ("BufferInfo.block_size+0x58", |d, q, _| {
            d.w32(q.info + 0x58, 0x8000)
        }),
        ("tiler buffer.page_list+0x14", |d, q, _| {
            d.user_w32(1, q.pages + 0x14, (TILER_HEAP >> 15) as u32);
        }),
        ("tiler buffer.page_list+0x3c", |d, q, _| {
            d.user_w32(1, q.pages + 0x3c, 0)
        }),
        ("tiler buffer.block_list+0x8", |d, q, _| {
            d.user_w32(1, q.blocks + 0x8, (TILER_HEAP >> 15) as u32);
        }),
    ];
    for (want, change) in cases {
        let all = complaints(change);
        assert_eq!(all.first().map(String::as_str), Some(want), "{all:?}");
    }
}

#[test]
fn a_late_answer_is_not_for_the_next_wish() {
    let (machine, mut driver, mut q) = ready(3);
    driver.submit_render(&machine, &mut q, 10000);
    let first = wait_for_growth(&mut driver, &q);
    // Another client's fault ends the wait.
    driver.client(2);
    let mut other = driver.queue(5);
    let job = driver.job(&mut other, 2, 7);
    driver.w64(job.command + 0x78, 0x7_1234_5680);
    driver.enqueue(&mut other, job.command);
    driver.count(&other, 1);
    driver.run(&machine, &mut other, 0);
    assert_eq!(driver.wait_event()[0], 0);
    driver.w32(driver.fw_status + 0x20, 0);
    driver.w32(driver.fw_status + 0x30, 1);
    driver.wait_stamp(&q.fragment, 0x100);
    driver.events();

    driver.submit_render(&machine, &mut q, 10000);
    let second = wait_for_growth(&mut driver, &q);
    assert_ne!(first, second);
    driver.grow_ack(&machine, &q, first);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(driver.r32(q.vertex.stamp), 0x100);
    driver.grow_ack(&machine, &q, second);
    driver.wait_stamp(&q.fragment, 0x200);
    machine.assert_clean();
}

#[test]
fn a_heap_that_grows_while_it_is_in_use_is_told_in_the_block_control() {
    let (machine, mut driver, mut q) = ready(3);
    let render = driver.submit_render(&machine, &mut q, 10000);
    let counter = wait_for_growth(&mut driver, &q);
    driver.grow(&mut q, 5);
    // BufferInfo is the firmware's while a render is under way.
    driver.w32(q.info + 0x28, 12);
    driver.w32(q.info + 0x30, 3);
    driver.w32(q.info + 0x48, 11);
    driver.grow_ack(&machine, &q, counter);
    driver.wait_stamp(&q.fragment, render.fragment_value);
    let info = [0x28, 0x30, 0x48].map(|offset| driver.r32(q.info + offset));
    assert_eq!(info, [32, 8, 31]);
    assert_eq!(driver.r32(q.stats + 0x8), 0);
    machine.assert_clean();
}
