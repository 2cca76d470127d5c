// SPDX-License-Identifier: MIT OR Apache-2.0

//! Queues, commands, stamps and events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vagx_fw::{FwConfig, GpuEngine};

use crate::common::{Driver, HANDOFF, Job, Machine, WorkQueue, config, wait};

fn ready() -> (Machine, Driver) {
    let mut machine = Machine::new();
    let mut driver = Driver::new(&machine);
    machine.start_with(&[]);
    driver.boot(&machine);
    driver.client(1);
    (machine, driver)
}

/// Which context the handoff region says is loaded.
fn current_context(machine: &Machine) -> u32 {
    machine.mem.r64(HANDOFF + 0x18) as u32
}

#[test]
fn a_job_runs_and_is_reported() {
    let (machine, mut driver) = ready();
    let mut q = driver.queue(37);
    let job = driver.submit(&machine, &mut q, 1, 0xfeed);
    assert_eq!(driver.wait_event(), [1, 0, 1 << 5, 0, 0]);
    assert_eq!(driver.r32(q.stamp), job.value);
    assert_eq!(driver.r32(q.fw_stamp), job.value);
    assert_eq!(driver.result(&job), 0xfeed);
    machine.assert_clean();

    // Indices, counts, state.
    assert_eq!(driver.r32(q.state), 1);
    assert_eq!(driver.r32(q.state + 0x30), 1);
    assert_eq!(driver.r32(q.info + 0x20), 1);
    assert_eq!(driver.r32(q.info + 0x2c), 37);
    assert_eq!(driver.r32(q.info + 0x60), 0);
    assert_eq!(driver.r32(q.notifier + 0xc), 1);
    assert_eq!(driver.r32(driver.globals + 0x111a8), 0);
    // Times: ticks for the kernel, nanoseconds for the client.
    let times = driver.r64(job.command + 0x2b8);
    assert_eq!(driver.r64(times), 24_000_000);
    assert_eq!(driver.r64(times + 8), 24_000_000);
    let user = driver.r64(job.command + 0x2c8);
    assert_eq!(driver.r64(user), 1_000_000_000);
    assert_eq!(driver.r64(user + 8), 1_000_000_000);
    // The context got its number.
    assert_ne!(driver.r32(q.context) & 0xff, 0xff);

    let jobs = machine.gpu.jobs.lock().unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].vm_slot, 1);
    assert_eq!(jobs[0].usc_exec_base, 0x11_0000_0000);
    assert!(machine.gpu.soft_faults.load(Ordering::SeqCst));
}

#[test]
fn many_jobs_go_round_the_ring() {
    let (machine, mut driver) = ready();
    let mut q = driver.queue(0);
    // The same command memory again and again, as a ring's worth of commands does not fit the test's heap.
    let job = driver.job(&mut q, 1, 1);
    for n in 1..=0x600u32 {
        let value = n * 0x100;
        driver.w32(job.command + 0x284 + 0x14, value);
        let size = driver.r32(job.command + 0x1f8);
        driver.w32(job.sequence + u64::from(size) - 0x80 + 0x30, value);
        driver.enqueue(&mut q, job.command);
        driver.count(&q, 1);
        driver.run(&machine, &mut q, n % 4);
        driver.wait_stamp(&q, value);
        driver.events();
    }
    assert_eq!(driver.r32(q.state), 0x100);
    machine.assert_clean();
}

#[test]
fn the_threshold_collects_events() {
    let (machine, mut driver) = ready();
    let mut q = driver.queue(5);
    let first = driver.job(&mut q, 1, 1);
    let second = driver.job(&mut q, 1, 2);
    driver.enqueue(&mut q, first.command);
    driver.enqueue(&mut q, second.command);
    driver.count(&q, 2);
    driver.run(&machine, &mut q, 0);
    driver.wait_stamp(&q, second.value);
    assert_eq!(driver.wait_event(), [1, 1 << 5, 0, 0, 0]);
    assert!(driver.events().is_empty());
    machine.assert_clean();
}

#[test]
fn a_threshold_that_is_too_high_is_noticed() {
    let (machine, mut driver) = ready();
    let mut q = driver.queue(5);
    driver.count(&q, 1);
    driver.submit(&machine, &mut q, 1, 1);
    driver.wait_stamp(&q, 0x100);
    wait("the complaint", || !machine.complaints().is_empty());
    assert_eq!(machine.complaints(), ["Notifier.threshold+0x0"]);
    assert!(driver.events().is_empty());
}

#[test]
fn barriers_order_queues() {
    let (machine, mut driver) = ready();
    let (mut a, mut b) = (driver.queue(1), driver.queue(2));
    let waiting = driver.job(&mut b, 1, 20);
    let barrier = driver.barrier(a.fw_stamp, 0x100, 1);
    driver.enqueue(&mut b, barrier);
    driver.enqueue(&mut b, waiting.command);
    driver.count(&b, 1);
    driver.run(&machine, &mut b, 0);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(driver.r32(b.stamp), 0);
    driver.submit(&machine, &mut a, 1, 10);
    driver.wait_stamp(&b, 0x100);
    assert_eq!(driver.r32(a.stamp), 0x100);
    assert_eq!(driver.r32(b.state), 2);
    machine.assert_clean();
}

#[test]
fn urgent_queues_go_first() {
    let (machine, mut driver) = ready();
    let gate = Arc::new(AtomicBool::new(false));
    *machine.gpu.gate.lock().unwrap() = Some(gate.clone());
    let (mut low, mut high) = (driver.queue(1), driver.queue(2));
    // One job holds the GPU while the others arrive.
    let blocker = driver.submit(&machine, &mut low, 1, 0);
    wait("the first job", || {
        machine.gpu.jobs.lock().unwrap().len() == 1
    });
    assert_eq!(current_context(&machine), 1);
    let last = driver.job(&mut low, 1, 0);
    driver.enqueue(&mut low, last.command);
    driver.count(&low, 1);
    driver.run(&machine, &mut low, 3);
    let urgent = driver.job(&mut high, 1, 0);
    driver.enqueue(&mut high, urgent.command);
    driver.count(&high, 1);
    driver.run(&machine, &mut high, 0);
    let (state, _) = driver.channels[2];
    wait("the message", || driver.r32(state) == 2);
    gate.store(true, Ordering::SeqCst);
    driver.wait_stamp(&low, last.value);
    driver.wait_stamp(&high, urgent.value);
    let order: Vec<u64> = {
        let jobs = machine.gpu.jobs.lock().unwrap();
        jobs.iter().map(|j| j.cdm_ctrl_stream_base).collect()
    };
    let stream = |job: &Job| driver.r64(job.command + 0x78);
    wait("no context", || current_context(&machine) == 0);
    assert_eq!(order, [stream(&blocker), stream(&urgent), stream(&last)]);
    machine.assert_clean();
}

/// The complaints when a job is submitted with one thing changed.
fn complaints(change: impl FnOnce(&mut Driver, &mut WorkQueue, &Job)) -> Vec<String> {
    let (machine, mut driver) = ready();
    let mut q = driver.queue(3);
    let job = driver.job(&mut q, 1, 7);
    driver.enqueue(&mut q, job.command);
    driver.count(&q, 1);
    change(&mut driver, &mut q, &job);
    driver.run(&machine, &mut q, 0);
    wait("a complaint", || !machine.complaints().is_empty());
    // Either it ran all the same, or the driver was told that it did not, or the message was refused.
    std::thread::sleep(Duration::from_millis(20));
    machine.complaints()
}

#[test]
fn each_wrong_field_of_a_submission_is_named() {
    type Change = fn(&mut Driver, &mut WorkQueue, &Job);
    let cases: [(&str, Change); 27] = [
        ("RunWorkQueueMsg.work_queue+0x4", |_, q, _| q.is_new = false),
        ("RunWorkQueueMsg.work_queue+0x4", |_, q, _| {
            q.info = 0xffff_ffa7_0000_0000
        }),
        ("RunWorkQueueMsg.event_slot+0x10", |_, q, _| q.slot = 128),
        ("RunWorkQueueMsg.wptr+0xc", |_, q, _| q.wptr = 0x500),
        ("RingState.cpu_wptr+0x40", |d, q, _| {
            d.w32(q.state + 0x40, 0)
        }),
        ("RingState.rb_size+0x50", |d, q, _| d.w32(q.state + 0x50, 0)),
        ("QueueInfo.ring+0x8", |d, q, _| d.w64(q.info + 8, 0x1000)),
        ("QueueInfo.gpu_context+0xa4", |d, q, _| {
            d.w64(q.info + 0xa4, 0)
        }),
        ("NotifierList.next+0x8", |d, q, _| {
            let list = d.r64(q.info + 0x10);
            d.w64(list + 8, 0);
        }),
        ("GpuContextData.ctx_23+0x23", |d, q, _| {
            d.w8(q.context + 0x23, 0)
        }),
        ("work queue ring.command+0x0", |d, q, _| d.w64(q.ring, 0)),
        ("RunCompute.vm_slot+0x10", |d, _, j| {
            d.w32(j.command + 0x10, 2)
        }),
        ("RunCompute.notifier+0x14", |d, _, j| {
            d.w64(j.command + 0x14, 0)
        }),
        ("RunCompute.meta.stamp+0x4", |d, _, j| {
            d.w64(j.command + 0x288, 4)
        }),
        ("RunCompute.meta.stamp_value+0x14", |d, _, j| {
            d.w32(j.command + 0x298, 0)
        }),
        ("RunCompute.meta.stamp_slot+0x18", |d, _, j| {
            d.w32(j.command + 0x29c, 4)
        }),
        ("RunCompute.microsequence+0x1f0", |d, _, j| {
            d.w64(j.command + 0x1f0, 0)
        }),
        ("microsequence.opcode+0x0", |d, _, j| {
            d.w32(j.sequence, 0x22)
        }),
        ("microsequence.opcode+0x1a8", |d, _, j| {
            d.w32(j.sequence + 0x1a8, 0x100_0001)
        }),
        ("StartCompute.unk_pointer+0x4", |d, _, j| {
            d.w64(j.sequence + 0x4, j.command + 0x70)
        }),
        ("StartCompute.job_params2+0x3c", |d, _, j| {
            d.w64(j.sequence + 0x3c, 0)
        }),
        ("StartCompute.num_attachments+0x14c", |d, _, j| {
            d.w32(j.sequence + 0x14c, 17)
        }),
        ("Timestamp.user_pointers+0x24", |d, _, j| {
            d.w64(j.sequence + 0x16c + 0x24, 0)
        }),
        ("FinalizeCompute.restart_branch_offset+0x58", |d, _, j| {
            d.w32(j.sequence + 0x1e8 + 0x58, 0);
        }),
        ("FinalizeCompute.fw_stamp+0x28", |d, q, j| {
            d.w64(j.sequence + 0x1e8 + 0x28, q.stamp)
        }),
        ("Globals.pending_submissions+0x8974", |d, _, _| {
            d.w32(d.globals + 0x8974, 0)
        }),
        ("TimestampPointers.start+0x0", |d, _, j| {
            d.w64(j.command + 0x2c8, d.globals)
        }),
    ];
    for (want, change) in cases {
        assert_eq!(complaints(change), [want], "for {want}");
    }
}

#[test]
fn other_commands_are_refused_by_name() {
    for (magic, name) in [
        (0, "RunVertex"),
        (1, "RunFragment"),
        (2, "RunBlitter"),
        (6, "InitBuffer"),
    ] {
        let (machine, mut driver) = ready();
        let mut q = driver.queue(3);
        let job = driver.job(&mut q, 1, 7);
        driver.w32(job.command, magic);
        driver.enqueue(&mut q, job.command);
        driver.count(&q, 1);
        driver.run(&machine, &mut q, 0);
        // The queue's error is told to the driver.
        let event = driver.wait_event();
        assert_eq!((event[0], event[2], event[3]), (8, 2, 3));
        let complaints = machine.trace.complaints();
        assert!(complaints[0].why.contains(name), "{}", complaints[0].why);
    }
}

#[test]
fn contexts_are_destroyed() {
    let (machine, mut driver) = ready();
    let mut q = driver.queue(3);
    driver.submit(&machine, &mut q, 1, 7);
    driver.wait_stamp(&q, 0x100);
    let mut m = [0; 0x30];
    m[0] = 0x18;
    m[8] = 2;
    m[0x11] = driver.r32(q.context) as u8;
    m[0x12] = (driver.r32(q.context) >> 8) as u8;
    m[0x14..0x1c].copy_from_slice(&q.context.to_le_bytes());
    driver.control(&machine, &m);
    machine.assert_clean();
    // All caches.
    let mut all = [0; 0x30];
    all[0] = 0x18;
    all[0x11] = 0xff;
    all[0x12] = 0xff;
    driver.control(&machine, &all);
    machine.assert_clean();
    // The queue is gone now.
    driver.submit(&machine, &mut q, 1, 7);
    wait("the complaint", || !machine.complaints().is_empty());
    assert_eq!(machine.complaints(), ["RunWorkQueueMsg.work_queue+0x4"]);
}

#[test]
fn stopping_cancels_the_job() {
    let (mut machine, mut driver) = ready();
    *machine.gpu.gate.lock().unwrap() = Some(Arc::default());
    let mut q = driver.queue(3);
    driver.submit(&machine, &mut q, 1, 7);
    wait("the job", || machine.gpu.jobs.lock().unwrap().len() == 1);
    machine.fw.take().unwrap().stop();
    assert_eq!(driver.r32(q.stamp), 0);

    // A new boot on the same memory works.
    *machine.gpu.gate.lock().unwrap() = None;
    let mut driver = Driver::new(&machine);
    machine.start(config(&machine.gpu));
    driver.boot(&machine);
    let mut q = driver.queue(3);
    driver.submit(&machine, &mut q, 1, 7);
    driver.wait_stamp(&q, 0x100);
}

/// A job on the real GPU model, whose control stream begins with this word.
fn on_the_model(word: u64) -> (Machine, Driver, WorkQueue) {
    let mut machine = Machine::new();
    let mut driver = Driver::new(&machine);
    let gpu = GpuEngine::new(vagx_gpu::GpuConfig::default(), machine.trace.clone());
    machine.start(FwConfig::new(0x8103, [13, 5, 0], Arc::new(gpu)).unwrap());
    driver.boot(&machine);
    driver.client(1);
    let mut q = driver.queue(37);
    let job = driver.job(&mut q, 1, 0);
    let stream = driver.r64(job.command + 0x78);
    machine.mem.w64(driver.user_pa(1, stream), word);
    driver.enqueue(&mut q, job.command);
    driver.count(&q, 1);
    driver.run(&machine, &mut q, 0);
    (machine, driver, q)
}

#[test]
fn the_gpu_model_runs_a_stream() {
    // "Terminate", Mesa's cmdbuf.xml.
    let (machine, mut driver, q) = on_the_model(2 << 29);
    assert_eq!(driver.wait_event()[0], 1);
    assert_eq!(driver.r32(q.stamp), 0x100);
    machine.assert_clean();
}

#[test]
fn a_stream_that_is_not_mapped_is_a_fault() {
    let (machine, mut driver) = ready();
    let mut q = driver.queue(3);
    let job = driver.job(&mut q, 1, 7);
    driver.w64(job.command + 0x78, 0x7_1234_5680);
    driver.enqueue(&mut q, job.command);
    driver.count(&q, 1);
    driver.run(&machine, &mut q, 0);
    assert_eq!(driver.wait_event()[0], 0);
    let fault = *machine.outside.fault.lock().unwrap();
    assert!(fault.valid && fault.read);
    let found = (fault.address, fault.vm_slot, fault.unit, fault.reason);
    assert_eq!(found, (0x7_1234_5680, 1, 0xa2, 0));
    machine.assert_clean();
}

#[test]
fn the_gpu_model_names_what_it_lacks() {
    let (machine, mut driver, _q) = on_the_model(7 << 29);
    assert_eq!(driver.wait_event()[0], 0);
    let complaint = &machine.trace.complaints()[0];
    assert_eq!(complaint.structure, "GPU");
    assert_eq!(complaint.address, 0x11_0000_0000);
}

#[test]
fn garbage_commands() {
    for seed in 0..24u64 {
        let (machine, mut driver) = ready();
        let mut q = driver.queue(3);
        let job = driver.job(&mut q, 1, 7);
        let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for _ in 0..=seed % 4 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            let offset = 4 + (x >> 8) % 0x300;
            let base = if x & 1 == 0 {
                job.command
            } else {
                job.sequence
            };
            driver.w64(base + offset, x);
        }
        driver.enqueue(&mut q, job.command);
        driver.count(&q, 1);
        driver.run(&machine, &mut q, 0);
        // It runs or it does not; the firmware goes on in either case.
        let mut other = driver.queue(4);
        driver.submit(&machine, &mut other, 1, 8);
        driver.wait_stamp(&other, 0x100);
    }
}
