// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whose turn it is, how commands make room, what a fault spares, and in which order the driver is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vagx_fw::MARK;

use crate::common::{Driver, Job, Machine, WorkQueue, config, wait};

fn ready(faults: &[&str]) -> (Machine, Driver) {
    let mut machine = Machine::new();
    let mut driver = Driver::new(&machine);
    machine.start_with(faults);
    driver.boot(&machine);
    driver.client(1);
    (machine, driver)
}

/// The priority in QueueInfo.
fn set_rank(driver: &Driver, q: &WorkQueue, rank: u32) {
    driver.w32(q.info + 0x30, rank);
}

fn stream(driver: &Driver, job: &Job) -> u64 {
    driver.r64(job.command + 0x78)
}

/// Submits a job on the channel of a priority.
fn submit(machine: &Machine, driver: &mut Driver, q: &mut WorkQueue, priority: u32) -> Job {
    let job = driver.job(q, 1, 1);
    driver.enqueue(q, job.command);
    driver.count(q, 1);
    driver.run(machine, q, priority);
    job
}

/// Submits a job that stays on the GPU until the flag is set.
fn submit_gated(
    machine: &Machine,
    driver: &mut Driver,
    q: &mut WorkQueue,
    priority: u32,
) -> (Job, Arc<AtomicBool>) {
    let gate = Arc::new(AtomicBool::new(false));
    let job = driver.job(q, 1, 1);
    *machine.gpu.gate.lock().unwrap() = Some(gate.clone());
    *machine.gpu.gated.lock().unwrap() = Some(stream(driver, &job));
    let before = machine.gpu.jobs.lock().unwrap().len();
    driver.enqueue(q, job.command);
    driver.count(q, 1);
    driver.run(machine, q, priority);
    wait("the job", || {
        machine.gpu.jobs.lock().unwrap().len() > before
    });
    (job, gate)
}

/// The first entry in the list of pending stamps: slot and value.
fn pending(driver: &Driver) -> Option<(u32, u32)> {
    let entry = driver.globals + 0x111a8;
    let info = driver.r32(entry);
    (info & 1 != 0).then(|| (info >> 4, driver.r32(entry + 4)))
}

fn resume(driver: &Driver) {
    let s = driver.fw_status;
    wait("the halt", || driver.r32(s + 0x20) == 1);
    driver.w32(s + 0x20, 0);
    driver.w32(s + 0x30, 1);
    wait("the resumption", || driver.r32(s + 0x30) == 0);
}

fn destroy(machine: &Machine, driver: &Driver, q: &WorkQueue) {
    let mut m = [0; 0x30];
    m[0] = 0x18;
    m[8] = 2;
    m[0x11] = driver.r32(q.context) as u8;
    m[0x12] = (driver.r32(q.context) >> 8) as u8;
    m[0x14..0x1c].copy_from_slice(&q.context.to_le_bytes());
    driver.control(machine, &m);
}

#[test]
fn a_job_makes_room_for_an_urgent_one() {
    let (machine, mut driver) = ready(&[]);
    let (mut low, mut high) = (driver.queue(1), driver.queue(2));
    set_rank(&driver, &low, 3);
    let (long, gate) = submit_gated(&machine, &mut driver, &mut low, 3);
    assert_eq!(pending(&driver), Some((1, long.value)));
    for _ in 0..3 {
        let urgent = submit(&machine, &mut driver, &mut high, 0);
        driver.wait_stamp(&high, urgent.value);
    }
    assert_eq!(driver.r32(low.stamp), 0);
    // It has the GPU again.
    wait("the entry", || pending(&driver) == Some((1, long.value)));
    gate.store(true, Ordering::SeqCst);
    driver.wait_stamp(&low, long.value);
    machine.assert_clean();
}

#[test]
fn two_levels_of_urgency() {
    let (machine, mut driver) = ready(&[]);
    let mut queues = [driver.queue(1), driver.queue(2), driver.queue(3)];
    for (q, rank) in queues.iter().zip([3, 2, 0]) {
        set_rank(&driver, q, rank);
    }
    let [low, middle, high] = &mut queues;
    // Only the last of the two gates can be given to the fake GPU, so the first job waits for the same flag.
    let (first, gate) = submit_gated(&machine, &mut driver, low, 3);
    *machine.gpu.gated.lock().unwrap() = None;
    let second = submit(&machine, &mut driver, middle, 2);
    wait("the second job", || {
        machine.gpu.jobs.lock().unwrap().len() == 2
    });
    *machine.gpu.gated.lock().unwrap() = Some(0);
    let third = submit(&machine, &mut driver, high, 0);
    driver.wait_stamp(high, third.value);
    assert_eq!((driver.r32(low.stamp), driver.r32(middle.stamp)), (0, 0));
    gate.store(true, Ordering::SeqCst);
    driver.wait_stamp(middle, second.value);
    driver.wait_stamp(low, first.value);
    machine.assert_clean();
}

#[test]
fn a_job_that_may_not_be_interrupted_ends_first() {
    let (machine, mut driver) = ready(&[]);
    let (mut low, mut high) = (driver.queue(1), driver.queue(2));
    let (long, gate) = submit_gated(&machine, &mut driver, &mut low, 3);
    let urgent = submit(&machine, &mut driver, &mut high, 0);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(driver.r32(high.stamp), 0);
    gate.store(true, Ordering::SeqCst);
    driver.wait_stamp(&high, urgent.value);
    assert_eq!(driver.r32(low.stamp), long.value);
    machine.assert_clean();
}

#[test]
fn queues_of_one_priority_take_turns() {
    let (machine, mut driver) = ready(&[]);
    let mut queues = [driver.queue(1), driver.queue(2), driver.queue(3)];
    let (_, gate) = submit_gated(&machine, &mut driver, &mut queues[0], 1);
    let mut whose = BTreeMap::new();
    for (n, q) in queues.iter_mut().enumerate() {
        for _ in 0..4 {
            let job = submit(&machine, &mut driver, q, 1);
            whose.insert(stream(&driver, &job), n);
        }
    }
    let (state, _) = driver.channels[5];
    wait("the messages", || driver.r32(state) == 13);
    gate.store(true, Ordering::SeqCst);
    for q in &queues {
        driver.wait_stamp(q, q.value);
    }
    let jobs = machine.gpu.jobs.lock().unwrap();
    let order: Vec<usize> = jobs[1..]
        .iter()
        .map(|j| whose[&j.cdm_ctrl_stream_base])
        .collect();
    for round in order.chunks(3) {
        let mut round = round.to_vec();
        round.sort_unstable();
        assert_eq!(round, [0, 1, 2], "{order:?}");
    }
    machine.assert_clean();
}

#[test]
fn a_fault_spares_what_was_set_aside() {
    let (machine, mut driver) = ready(&["unmapped:job=2"]);
    let (mut low, mut high) = (driver.queue(1), driver.queue(2));
    set_rank(&driver, &low, 3);
    let (long, gate) = submit_gated(&machine, &mut driver, &mut low, 3);
    let urgent = submit(&machine, &mut driver, &mut high, 0);
    assert_eq!(driver.wait_event()[0], 0);
    assert_eq!(pending(&driver), Some((2, urgent.value)));
    assert_eq!(driver.r32(driver.globals + 0x111a8 + 8), 0);
    resume(&driver);
    driver.wait_stamp(&high, urgent.value);
    assert_eq!(driver.r32(low.stamp), 0);
    gate.store(true, Ordering::SeqCst);
    driver.wait_stamp(&low, long.value);
    assert_eq!(driver.result(&long), 1);
    machine.assert_clean();
}

#[test]
fn a_fault_kills_what_runs_beside_it() {
    let (machine, mut driver) = ready(&["unmapped:pipe=vertex,count=1"]);
    let mut render = driver.render_queue(2, 40, 9, 8);
    driver.bind_buffer(&mut render);
    let mut q = driver.queue(1);
    let (beside, gate) = submit_gated(&machine, &mut driver, &mut q, 0);
    let waiting = submit(&machine, &mut driver, &mut q, 0);
    let pair = driver.submit_render(&machine, &mut render, 3);
    assert_eq!(driver.wait_event()[0], 0);
    let entries = (0..3).map(|n| driver.r32(driver.globals + 0x111a8 + n * 8) >> 4);
    assert_eq!(entries.collect::<Vec<_>>(), [1, 40, 0]);
    assert_eq!(driver.r32(q.stamp), 0);
    resume(&driver);
    // What was beside it counts as finished, and what had not begun runs.
    driver.wait_stamp(&q, waiting.value);
    assert_eq!((driver.result(&beside), driver.result(&waiting)), (0, 1));
    driver.wait_stamp(&render.fragment, pair.fragment_value);
    gate.store(true, Ordering::SeqCst);
    machine.assert_clean();
}

#[test]
fn what_waits_while_the_gpu_is_stopped_is_run_after_it() {
    let (machine, mut driver) = ready(&["read-only:job=1"]);
    let (mut bad, mut good) = (driver.queue(1), driver.queue(2));
    submit(&machine, &mut driver, &mut bad, 0);
    assert_eq!(driver.wait_event()[0], 0);
    assert_eq!(machine.outside.fault.lock().unwrap().reason, 3);
    let job = submit(&machine, &mut driver, &mut good, 0);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(driver.r32(good.stamp), 0);
    resume(&driver);
    driver.wait_stamp(&good, job.value);
    assert_eq!(driver.result(&job), 1);
    machine.assert_clean();
}

#[test]
fn a_lost_job_holds_its_queue_only() {
    let (machine, mut driver) = ready(&["lose-job:1"]);
    let (mut bad, mut good) = (driver.queue(1), driver.queue(2));
    submit(&machine, &mut driver, &mut bad, 0);
    submit(&machine, &mut driver, &mut bad, 0);
    for _ in 0..3 {
        let job = submit(&machine, &mut driver, &mut good, 0);
        driver.wait_stamp(&good, job.value);
    }
    assert_eq!(driver.r32(bad.stamp), 0);
    assert_eq!(pending(&driver), None);
    // The driver gives it up.
    destroy(&machine, &driver, &bad);
    let job = submit(&machine, &mut driver, &mut good, 0);
    driver.wait_stamp(&good, job.value);
    machine.assert_clean();
}

#[test]
fn a_context_may_go_as_soon_as_its_last_stamp_is_there() {
    let (machine, mut driver) = ready(&[]);
    // The firmware is kept between the stamp and its own end of the command.
    *machine.outside.slow.lock().unwrap() = Duration::from_millis(50);
    let mut q = driver.queue(1);
    let job = submit(&machine, &mut driver, &mut q, 0);
    driver.wait_stamp(&q, job.value);
    destroy(&machine, &driver, &q);
    machine.assert_clean();
}

#[test]
fn a_context_may_not_go_before() {
    let (machine, mut driver) = ready(&[]);
    let (mut running, mut waiting) = (driver.queue(1), driver.queue(2));
    let (_, gate) = submit_gated(&machine, &mut driver, &mut running, 0);
    submit(&machine, &mut driver, &mut waiting, 0);
    let (state, _) = driver.channels[2];
    wait("the message", || driver.r32(state) == 2);
    destroy(&machine, &driver, &running);
    destroy(&machine, &driver, &waiting);
    let name = "DeviceControlMsg.DestroyContext.gpu_context+0x14";
    assert_eq!(machine.complaints(), [name, name]);
    gate.store(true, Ordering::SeqCst);
}

/// Submits jobs on some queues, and as a driver does looks at a queue's stamp only when it is told to. Returns the
/// events that it took to see all stamps.
fn told(faults: &[&str]) -> Vec<[u32; 5]> {
    let (machine, mut driver) = ready(faults);
    let mut queues: Vec<WorkQueue> = [3, 40, 77].map(|slot| driver.queue(slot)).into();
    for _ in 0..6 {
        for q in &mut queues {
            submit(&machine, &mut driver, q, 0);
        }
        for q in &queues {
            driver.wait_stamp(q, q.value);
        }
    }
    let mut seen = [0; 3];
    let mut events = Vec::new();
    wait("all stamps", || {
        for event in driver.events() {
            events.push(event);
            for (q, seen) in queues.iter().zip(&mut seen) {
                if event[0] == 1 && event[1 + q.slot as usize / 32] >> (q.slot % 32) & 1 != 0 {
                    *seen = driver.r32(q.stamp);
                }
            }
        }
        queues.iter().zip(seen).all(|(q, seen)| seen == q.value)
    });
    machine.assert_clean();
    events
}

#[test]
fn events_come_in_any_order_and_none_is_missing() {
    let plain = told(&[]);
    assert_eq!(plain.len(), 18);
    let mut different = 0;
    for seed in 1..=8 {
        let events = told(&[&format!("shuffle:seed={seed}")]);
        assert!(events.iter().all(|e| e[0] == 1), "{events:?}");
        different += u32::from(events != plain);
    }
    assert!(different > 0);
}

#[test]
fn events_are_late_lost_and_repeated() {
    let (machine, mut driver) = ready(&[
        "late-event:job=1,ms=60",
        "lost-event:job=2",
        "repeat-event:job=3",
        "false-flag:job=4",
        "stale-timeout:job=5",
        "hang-job:job=6,ms=1",
        "stale-timeout:job=7",
    ]);
    let mut q = driver.queue(1);
    submit(&machine, &mut driver, &mut q, 0);
    driver.wait_stamp(&q, 0x100);
    assert!(driver.events().is_empty());
    assert_eq!(driver.wait_event(), [1, 2, 0, 0, 0]);
    let mut after = |value, count| {
        submit(&machine, &mut driver, &mut q, 0);
        driver.wait_stamp(&q, value);
        let mut events = Vec::new();
        if count == 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
        wait("the events", || {
            events.extend(driver.events());
            events.len() >= count
        });
        events
    };
    assert!(after(0x200, 0).is_empty());
    assert_eq!(after(0x300, 3), [[1, 2, 0, 0, 0]; 3]);
    let all = u32::MAX;
    assert_eq!(after(0x400, 2), [[1, 2, 0, 0, 0], [1, all, all, all, all]]);
    // Nothing has timed out yet.
    assert_eq!(after(0x500, 1), [[1, 2, 0, 0, 0]]);
    submit(&machine, &mut driver, &mut q, 0);
    assert_eq!(driver.wait_event(), [4, 0, 0, 1, 0]);
    resume(&driver);
    assert_eq!(driver.wait_event(), [1, 2, 0, 0, 0]);
    submit(&machine, &mut driver, &mut q, 0);
    let mut events = Vec::new();
    wait("two events", || {
        events.extend(driver.events());
        events.len() == 2
    });
    assert_eq!(events, [[1, 2, 0, 0, 0], [4, 0, 0, 1, 0]]);
    machine.assert_clean();
}

#[test]
fn a_job_can_ask_for_its_own_fault() {
    let (machine, mut driver) = ready(&["on-demand"]);
    let (mut bad, mut good) = (driver.queue(1), driver.queue(2));
    let job = driver.job(&mut bad, 1, 1);
    // The helper program's data; a hang of 20 ms.
    driver.w64(job.command + 0x70 + 0x48, MARK << 16 | 0x0205);
    driver.enqueue(&mut bad, job.command);
    driver.count(&bad, 1);
    driver.run(&machine, &mut bad, 0);
    assert_eq!(driver.wait_event(), [4, 0, 0, 1, 0]);
    resume(&driver);
    driver.wait_stamp(&bad, job.value);
    let job = submit(&machine, &mut driver, &mut good, 0);
    driver.wait_stamp(&good, job.value);
    machine.assert_clean();
}

#[test]
fn a_crashed_firmware_boots_anew() {
    let mut machine = Machine::new();
    let mut cfg = config(&machine.gpu);
    cfg.misbehave(vec!["crash-job:job=1,boot=1".parse().unwrap()]);
    let mut driver = Driver::new(&machine);
    machine.start(cfg.clone());
    driver.boot(&machine);
    driver.client(1);
    let mut q = driver.queue(3);
    submit(&machine, &mut driver, &mut q, 0);
    wait("the crash", || {
        machine.outside.crash.lock().unwrap().is_some()
    });
    machine.fw.take().unwrap().stop();
    assert_eq!(driver.r32(q.stamp), 0);

    let mut driver = Driver::new(&machine);
    machine.start(cfg);
    driver.boot(&machine);
    let mut q = driver.queue(3);
    let job = submit(&machine, &mut driver, &mut q, 0);
    driver.wait_stamp(&q, job.value);
    machine.assert_clean();
}
