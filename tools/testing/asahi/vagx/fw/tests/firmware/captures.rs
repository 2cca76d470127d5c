// SPDX-License-Identifier: MIT OR Apache-2.0

//! Captured jobs: what is in the files, and running them again.

use std::fs;
use std::path::Path;
use std::ptr::NonNull;

use vagx_capture::{ComputeWork, Played, Player, ReplayOptions, ReplayReport, Snapshot, replay};
use vagx_fw::{Capture, ContextMemory, Engine, JobControl};
use vagx_gpu::{RenderJob, VertexJob};
use vagx_uat::{Access, Agent, Fault, Reason};

use crate::common::{Driver, FakeGpu, Machine, config};

struct Memory<'a>(&'a Snapshot);

// SAFETY: The snapshot's pages live as long as it does.
unsafe impl ContextMemory for Memory<'_> {
    fn page(&self, va: u64, access: Access) -> Result<NonNull<u8>, Fault> {
        let page = self.0.page(va).map(|(page, _)| page);
        page.ok_or(Fault {
            va,
            ctx: self.0.context(),
            level: 3,
            reason: Reason::Unmapped,
            access,
            agent: Agent::Gpu,
        })
    }
}

fn told<T: std::fmt::Debug, E: std::fmt::Debug>(result: Result<T, E>) -> Played {
    result
        .map(|stats| format!("{stats:?}"))
        .map_err(|why| format!("{why:?}"))
}

impl Player for &FakeGpu {
    fn compute(&mut self, memory: &Snapshot, work: &ComputeWork) -> Played {
        let control = JobControl::default();
        told(self.run_compute(&Memory(memory), &work.job, work.soft_faults, &control))
    }

    fn vertex(&mut self, memory: &Snapshot, job: &VertexJob) -> Played {
        let made = self.run_vertex(&Memory(memory), job, true, &JobControl::default());
        told(made.map(|geometry| geometry.stats))
    }

    fn fragment(&mut self, memory: &Snapshot, job: &RenderJob) -> Played {
        let (memory, control) = (Memory(memory), JobControl::default());
        let made = self.run_vertex(&memory, &job.vertex, true, &control);
        told(made.and_then(|geometry| self.run_fragment(&memory, job, &geometry, true, &control)))
    }
}

/// A machine that has booted and keeps its jobs in a folder.
fn capturing(dir: &Path) -> (Machine, Driver) {
    let mut machine = Machine::new();
    let mut driver = Driver::new(&machine);
    let mut cfg = config(&machine.gpu);
    cfg.capture = Some(Capture::create(dir, &cfg).unwrap());
    machine.start(cfg);
    driver.boot(&machine);
    (machine, driver)
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_captured_job_runs_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut machine, mut driver) = capturing(dir.path());
    driver.client(1);
    let mut q = driver.queue(3);
    for value in [0x11, 0x22] {
        let job = driver.submit(&machine, &mut q, 1, value);
        driver.wait_stamp(&q, job.value);
    }
    machine.fw.take().unwrap().stop();
    machine.assert_clean();

    let read = |name| json(&dir.path().join(name));
    let index = read("index.json");
    assert_eq!(index["page_size"], 16384);
    assert_eq!(index["jobs"].as_array().unwrap().len(), 2);
    let job = read("job-000001.json");
    assert_eq!(job["outcome"], "done");
    assert_eq!(job["compute"]["cdm_ctrl_stream_base"], "0x1100000000");
    let channels: Vec<_> = job["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["channel"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(channels, ["channel device control", "channel compute 0"]);
    // The page of the control stream, found as the format says.
    let pages = fs::read(dir.path().join("pages.bin")).unwrap();
    assert_eq!(pages.len() % 16384, 0);
    assert!(pages[..16384].iter().all(|b| *b == 0));
    let context = &job["contexts"][1];
    assert_eq!(context["context"], 1);
    let page = context["pages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p[0] == "0x1100000000")
        .unwrap();
    let at = page[2].as_u64().unwrap() as usize * 16384;
    assert_eq!(pages[at + 8..at + 16], 0x11u64.to_le_bytes());
    assert_eq!(job["changed"].as_array().unwrap().len(), 1);

    let mut out = Vec::new();
    let gpu = FakeGpu::default();
    let report = replay(dir.path(), &mut &gpu, &ReplayOptions::default(), &mut out).unwrap();
    let good = ReplayReport {
        jobs: 2,
        failed: 0,
        different: 0,
    };
    assert_eq!(report, good, "{}", String::from_utf8_lossy(&out));
    assert_eq!(gpu.jobs.lock().unwrap().len(), 2);

    let one = ReplayOptions {
        job: Some(2),
        ..ReplayOptions::default()
    };
    let report = replay(dir.path(), &mut &gpu, &one, &mut out).unwrap();
    assert_eq!(report.jobs, 1);
}

#[test]
fn a_replay_says_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let (mut machine, mut driver) = capturing(dir.path());
    driver.client(1);
    let mut q = driver.queue(3);
    let job = driver.submit(&machine, &mut q, 1, 0x11);
    driver.wait_stamp(&q, job.value);
    machine.fw.take().unwrap().stop();

    // As if the captured GPU had left a zero.
    let path = dir.path().join("job-000001.json");
    let mut job = json(&path);
    job["changed"] = serde_json::json!([]);
    fs::write(&path, job.to_string()).unwrap();
    let mut out = Vec::new();
    let options = ReplayOptions::default();
    let report = replay(dir.path(), &mut &FakeGpu::default(), &options, &mut out).unwrap();
    assert_eq!(report.different, 1);
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.contains("the first at 0x1100000020: 0x00 then, 0x11 now"),
        "{text}"
    );
}

#[test]
fn what_is_not_a_capture_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = ReplayOptions::default();
    let gpu = FakeGpu::default();
    assert!(replay(dir.path(), &mut &gpu, &options, &mut Vec::new()).is_err());
    fs::write(dir.path().join("index.json"), "{}").unwrap();
    assert!(replay(dir.path(), &mut &gpu, &options, &mut Vec::new()).is_err());
}

#[test]
fn a_captured_render_runs_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut machine, mut driver) = capturing(dir.path());
    let mut q = driver.render_queue(1, 40, 9, 8);
    driver.bind_buffer(&mut q);
    let render = driver.submit_render(&machine, &mut q, 3);
    driver.wait_stamp(&q.fragment, render.fragment_value);
    machine.fw.take().unwrap().stop();
    machine.assert_clean();

    let read = |name| json(&dir.path().join(name));
    let (vertex, fragment) = (read("job-000001.json"), read("job-000002.json"));
    assert_eq!(
        (&vertex["pipe"], &fragment["pipe"]),
        (&"vertex".into(), &"fragment".into())
    );
    let stream = format!("{:#x}", render.stream);
    assert_eq!(vertex["vertex"]["vdm_ctrl_stream_base"], stream);
    assert_eq!(vertex["compute"], serde_json::Value::Null);
    assert_eq!(fragment["render"]["vertex"], vertex["vertex"]);
    assert_eq!(fragment["render"]["fragment"]["bg"]["usc"], "0x4004");
    assert_eq!(fragment["render"]["fragment"]["samples"], 1);

    let gpu = FakeGpu::default();
    let mut out = Vec::new();
    let report = replay(dir.path(), &mut &gpu, &ReplayOptions::default(), &mut out).unwrap();
    let (jobs, failed, different) = (2, 0, 0);
    let expected = ReplayReport {
        jobs,
        failed,
        different,
    };
    assert_eq!(report, expected);
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.contains("job 1: done, VertexStats { blocks: 2, draws: 1, vertices: 3"),
        "{text}"
    );
    let then = machine.gpu.renders.lock().unwrap();
    assert_eq!(*gpu.renders.lock().unwrap(), *then);
}
