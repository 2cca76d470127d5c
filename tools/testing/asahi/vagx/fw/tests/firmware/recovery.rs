// SPDX-License-Identifier: MIT OR Apache-2.0

//! Faults, timeouts, channel errors, and going on after them.

use std::sync::Arc;
use std::time::Duration;

use vagx_fw::{FaultUnit, JobError};
use vagx_uat::Access;

use crate::common::{Driver, Machine, config, wait};

fn ready(faults: &[&str]) -> (Machine, Driver) {
    let mut machine = Machine::new();
    let mut driver = Driver::new(&machine);
    machine.start_with(faults);
    driver.boot(&machine);
    driver.client(1);
    (machine, driver)
}

/// What a driver does when it is told of a fault.
fn resume(driver: &Driver) {
    let s = driver.fw_status;
    wait("the halt", || driver.r32(s + 0x20) == 1);
    driver.w32(s + 0x20, 0);
    driver.w32(s + 0x30, 1);
    wait("the resumption", || driver.r32(s + 0x30) == 0);
}

#[test]
fn a_gpu_fault_is_reported_and_recovered_from() {
    let (machine, mut driver) = ready(&[]);
    *machine.gpu.error.lock().unwrap() = Some(JobError::Fault {
        va: 0x15_dead_4040,
        access: Access::Write,
        unit: FaultUnit::Shader,
        pc: 0,
    });
    let mut q = driver.queue(9);
    let job = driver.submit(&machine, &mut q, 1, 1);
    assert_eq!(driver.wait_event()[0], 0);
    let info = *machine.outside.fault.lock().unwrap();
    assert!(info.valid && !info.read);
    assert_eq!(
        (info.address, info.vm_slot, info.reason),
        (0x15_dead_4040, 1, 0)
    );
    // Whom it hit.
    let pending = driver.globals + 0x111a8;
    assert_eq!(driver.r32(pending), 9 << 4 | 1);
    assert_eq!(driver.r32(pending + 4), job.value);
    assert_eq!(driver.r32(q.stamp), 0);
    assert_eq!(driver.r32(driver.fw_status + 0x10), 1);
    resume(&driver);
    assert_eq!(driver.wait_event(), [1, 1 << 9, 0, 0, 0]);
    assert_eq!(driver.r32(q.stamp), job.value);
    wait("the register", || {
        !machine.outside.fault.lock().unwrap().valid
    });
    // And on.
    let next = driver.submit(&machine, &mut q, 1, 2);
    driver.wait_stamp(&q, next.value);
    assert_eq!(driver.result(&next), 2);
    machine.assert_clean();
}

#[test]
fn what_the_gpu_model_lacks_is_a_complaint_and_a_fault() {
    let (machine, mut driver) = ready(&[]);
    *machine.gpu.error.lock().unwrap() = Some(JobError::Unsupported {
        va: 0x11_0000_1000,
        bytes: vec![0x12, 0x34],
        why: "no such instruction".into(),
    });
    let mut q = driver.queue(9);
    driver.submit(&machine, &mut q, 1, 1);
    assert_eq!(driver.wait_event()[0], 0);
    let complaint = &machine.trace.complaints()[0];
    assert_eq!(
        (complaint.value, complaint.address),
        (0x3412, 0x11_0000_1000)
    );
    resume(&driver);
}

#[test]
fn a_hanging_job_times_out() {
    let (machine, mut driver) = ready(&["hang-job:2"]);
    let mut q = driver.queue(70);
    let first = driver.submit(&machine, &mut q, 1, 1);
    driver.wait_stamp(&q, first.value);
    driver.wait_event();
    let second = driver.submit(&machine, &mut q, 1, 1);
    assert_eq!(driver.wait_event(), [4, 0, 0, 70, 0]);
    resume(&driver);
    driver.wait_stamp(&q, second.value);
    machine.assert_clean();
}

#[test]
fn the_watchdog_ends_a_job() {
    let mut machine = Machine::new();
    let mut driver = Driver::new(&machine);
    let mut cfg = config(&machine.gpu);
    cfg.job_timeout = Duration::from_millis(100);
    machine.start(cfg);
    driver.boot(&machine);
    driver.client(1);
    *machine.gpu.gate.lock().unwrap() = Some(Arc::default());
    let mut q = driver.queue(7);
    driver.submit(&machine, &mut q, 1, 1);
    assert_eq!(driver.wait_event()[0], 4);
}

#[test]
fn an_injected_fault_and_a_lost_job() {
    let (machine, mut driver) = ready(&["fault-job:1", "lose-job:2"]);
    let mut q = driver.queue(7);
    let job = driver.submit(&machine, &mut q, 1, 1);
    assert_eq!(driver.wait_event()[0], 0);
    resume(&driver);
    driver.wait_stamp(&q, job.value);
    driver.wait_event();
    driver.submit(&machine, &mut q, 1, 1);
    std::thread::sleep(Duration::from_millis(200));
    assert!(driver.events().is_empty());
    machine.assert_clean();
}

#[test]
fn a_channel_error_stops_one_queue_only() {
    let (machine, mut driver) = ready(&["channel-error:1"]);
    let (mut bad, mut good) = (driver.queue(7), driver.queue(8));
    let job = driver.submit(&machine, &mut bad, 1, 1);
    assert_eq!(driver.wait_event(), [8, 1, 2, 7, job.value]);
    let next = driver.submit(&machine, &mut bad, 1, 2);
    let other = driver.submit(&machine, &mut good, 1, 3);
    driver.wait_stamp(&good, other.value);
    assert_eq!(driver.r32(bad.stamp), 0);

    let mut m = [0; 0x30];
    m[0] = 0xf;
    m[4] = 2;
    m[8..16].copy_from_slice(&bad.info.to_le_bytes());
    m[16..20].copy_from_slice(&job.value.to_le_bytes());
    driver.control(&machine, &m);
    driver.wait_stamp(&bad, next.value);
    machine.assert_clean();
}

#[test]
fn crashes_and_silence_after_a_job() {
    let (machine, mut driver) = ready(&["crash-after:1"]);
    let mut q = driver.queue(7);
    driver.submit(&machine, &mut q, 1, 1);
    wait("the crash", || {
        machine.outside.crash.lock().unwrap().is_some()
    });

    let (machine, mut driver) = ready(&["silent-after:1"]);
    let mut q = driver.queue(7);
    let first = driver.submit(&machine, &mut q, 1, 1);
    driver.wait_stamp(&q, first.value);
    driver.wait_event();
    std::thread::sleep(Duration::from_millis(50));
    driver.submit(&machine, &mut q, 1, 1);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(driver.r32(q.stamp), first.value);
    assert!(machine.outside.crash.lock().unwrap().is_none());
}

#[test]
fn nonsense_events_and_indices() {
    let (machine, mut driver) = ready(&["bad-event"]);
    let mut q = driver.queue(7);
    driver.submit(&machine, &mut q, 1, 1);
    let mut kinds = Vec::new();
    wait("five events", || {
        kinds.extend(driver.events().iter().map(|e| e[0]));
        kinds.len() == 5
    });
    assert_eq!(kinds, [1, 0xdead_beef, 3, 1, 8]);

    let (machine, mut driver) = ready(&["bad-ring"]);
    let mut q = driver.queue(7);
    driver.submit(&machine, &mut q, 1, 1);
    let (state, _) = driver.channels[13];
    wait("the bad index", || driver.r32(state + 0x20) == 0x1234);
    wait("the good index", || driver.r32(state + 0x20) == 1);
}
