// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use std::io;

/// A file in memory that outlives the trace that writes to it.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<u8>>>);

impl Shelf {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shelf {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(buf);
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct FullDisk;

impl Write for FullDisk {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("no space"))
    }
    fn flush(&mut self) -> io::Result<()> {
        Err(io::Error::other("no space"))
    }
}

fn sample() -> Complaint<'static> {
    Complaint {
        structure: "InitData",
        field: "uat_page_bits",
        offset: 0x2a,
        value: 12,
        address: 0xffff_ffa0_0000_002a,
        why: "must be 14".into(),
    }
}

#[test]
fn a_complaint_names_everything() {
    assert_eq!(
        sample().to_string(),
        "InitData.uat_page_bits+0x2a = 0xc at 0xffffffa00000002a: must be 14"
    );
}

#[test]
fn complaints_are_counted_and_kept_up_to_a_limit() {
    let file = Shelf::default();
    let trace = Trace::new(Config {
        complaints: Some(Box::new(file.clone())),
        silent: true,
        ..Config::default()
    });
    for _ in 0..100 {
        trace.complain(sample());
    }
    assert_eq!(trace.complaint_count(), 100);
    assert_eq!(trace.complaints().len(), 16);
    let text = file.text();
    assert_eq!(text.lines().count(), 16);
    for line in text.lines() {
        let v: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(v["structure"], "InitData");
        assert_eq!(v["value"], 12);
    }
}

#[test]
fn the_timeline_is_json_with_named_rows() {
    let (text, timeline) = (Shelf::default(), Shelf::default());
    let trace = Trace::new(Config {
        text: Some(Box::new(text.clone())),
        timeline: Some(Box::new(timeline.clone())),
        silent: true,
        ..Config::default()
    });
    trace.event("doorbell", "kick", &[("channel", 0x10u64.into())]);
    {
        let mut span = trace.span("gpu", "job");
        span.arg("groups", 7u32);
    }
    trace.log(Level::Info, "hello");
    trace.complain(sample());
    drop(trace);

    let events: Vec<serde_json::Value> = serde_json::from_str(&timeline.text()).unwrap();
    let rows: Vec<_> = events
        .iter()
        .filter(|e| e["name"] == "thread_name")
        .map(|e| e["args"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(rows, ["doorbell", "gpu", "complaints"]);
    let job = events.iter().find(|e| e["name"] == "job").unwrap();
    assert_eq!(job["ph"], "X");
    assert_eq!(job["args"]["groups"], 7);

    let text = text.text();
    for part in [
        "doorbell: kick channel=0x10",
        "gpu: job begins",
        "groups=7",
        "info: hello",
        "must be 14",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_full_disk_does_not_stop_anything() {
    let trace = Trace::new(Config {
        text: Some(Box::new(FullDisk)),
        timeline: Some(Box::new(FullDisk)),
        complaints: Some(Box::new(FullDisk)),
        silent: true,
        ..Config::default()
    });
    trace.event("a", "b", &[]);
    trace.complain(sample());
    trace.event("a", "b", &[]);
    trace.flush();
    assert_eq!(trace.complaint_count(), 1);
}
