// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mappings that go while the firmware has them in its cache, and while the GPU works with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vagx_uat::PAGE_SIZE;

use crate::common::{Driver, FW_CACHED, FW_SHARED, Machine, Prot, WorkQueue, wait};

/// Where nothing else of the test driver is.
const PAGE: u64 = 0xffff_ffa4_0000_0000;

struct Scene {
    machine: Machine,
    driver: Driver,
    queue: WorkQueue,
}

/// A queue whose notifier stands in a page of its own that is mapped like this, and which has run a job.
fn scene(prot: Prot) -> Scene {
    let mut machine = Machine::new();
    let mut driver = Driver::new(&machine);
    machine.start_with(&[]);
    driver.boot(&machine);
    driver.client(1);
    machine.mem.back(0, PAGE, PAGE_SIZE, prot);
    let mut queue = driver.queue(1);
    queue.notifier = PAGE;
    driver.w64(PAGE, queue.threshold);
    driver.w32(PAGE + 8, 42);
    driver.w32(PAGE + 0x10, 0x50);
    driver.w64(PAGE + 0xa8, u64::MAX);
    driver.submit(&machine, &mut queue, 1, 1);
    driver.wait_event();
    Scene {
        machine,
        driver,
        queue,
    }
}

impl Scene {
    fn leaf(&self) -> u64 {
        self.machine.mem.leaf(0, PAGE)
    }

    fn unmap(&self) {
        self.machine.mem.w64(self.leaf(), 0);
    }

    /// What m1n1's handoff wants before the page goes.
    fn flush(&self) {
        let pa = self.machine.mem.r64(self.leaf()) & 0xffff_ffff_c000;
        self.machine.mem.map(0, PAGE, pa, PAGE_SIZE, FW_SHARED);
        self.driver.flush(&self.machine, 64, PAGE, 1);
        wait("the flush", || self.driver.flush_state(64) == 2);
    }

    /// Enough for the firmware to look for itself.
    fn idle(&self) {
        std::thread::sleep(Duration::from_millis(500));
    }

    fn assert_stale(&self) {
        wait("the complaint", || !self.machine.complaints().is_empty());
        let all = self.machine.trace.complaints();
        assert_eq!((all[0].structure.as_str(), all[0].address), ("UAT", PAGE));
        for part in ["stale translation", "slot 64", "FwCtl"] {
            assert!(all[0].why.contains(part), "{}", all[0].why);
        }
    }
}

#[test]
fn a_cached_page_that_goes_without_a_flush() {
    let s = scene(FW_CACHED);
    s.unmap();
    s.assert_stale();
    assert_eq!(s.machine.complaints().len(), 1);
}

#[test]
fn a_cached_page_that_is_mapped_elsewhere_without_a_flush() {
    let s = scene(FW_CACHED);
    s.machine.mem.back(0, PAGE, PAGE_SIZE, FW_CACHED);
    s.assert_stale();
}

#[test]
fn a_cached_page_that_is_used_after_it_went() {
    let mut s = scene(FW_CACHED);
    s.unmap();
    s.driver.submit(&s.machine, &mut s.queue, 1, 1);
    s.assert_stale();
}

#[test]
fn a_cached_page_that_is_flushed_may_go() {
    let s = scene(FW_CACHED);
    s.flush();
    s.idle();
    s.unmap();
    s.idle();
    s.machine.assert_clean();
}

#[test]
fn a_flush_of_another_page_or_slot_does_not_count() {
    for (slot, page) in [(64, PAGE + PAGE_SIZE), (1, PAGE)] {
        let s = scene(FW_CACHED);
        s.driver.flush(&s.machine, slot, page, 1);
        wait("the flush", || s.driver.flush_state(slot) == 2);
        let before = s.machine.complaints().len();
        s.unmap();
        wait("the complaint", || s.machine.complaints().len() > before);
        let last = s.machine.trace.complaints().pop().unwrap();
        assert_eq!((last.structure.as_str(), last.address), ("UAT", PAGE));
    }
}

#[test]
fn the_end_of_a_context_gives_everything_back() {
    let s = scene(FW_CACHED);
    let mut all = [0; 0x30];
    all[0] = 0x18;
    all[0x11] = 0xff;
    all[0x12] = 0xff;
    s.driver.control(&s.machine, &all);
    s.unmap();
    s.idle();
    s.machine.assert_clean();
}

#[test]
fn uncached_pages_need_no_flush() {
    let s = scene(FW_SHARED);
    s.unmap();
    s.idle();
    s.machine.assert_clean();
}

#[test]
fn the_tables_of_a_context_stay_while_it_is_on_the_gpu() {
    let mut s = scene(FW_CACHED);
    let gate = Arc::new(AtomicBool::new(false));
    *s.machine.gpu.gate.lock().unwrap() = Some(gate.clone());
    let job = s.driver.submit(&s.machine, &mut s.queue, 1, 1);
    wait("the job", || s.machine.gpu.jobs.lock().unwrap().len() == 2);
    let entry = crate::common::TTBAT + 16;
    let was = s.machine.mem.r64(entry);
    s.machine.mem.w64(entry, 0);
    std::thread::sleep(Duration::from_millis(20));
    let other = s.machine.mem.pages(1) | 1 << 48 | 1;
    s.machine.mem.w64(entry + 8, other);
    s.machine.mem.w64(entry, was);
    gate.store(true, Ordering::SeqCst);
    s.driver.wait_stamp(&s.queue, job.value);
    assert_eq!(s.machine.complaints(), ["TTBAT.context+0x10"]);
}
