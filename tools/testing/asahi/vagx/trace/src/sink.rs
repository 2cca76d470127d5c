// SPDX-License-Identifier: MIT OR Apache-2.0

//! The places things are told to. A sink that fails (a full disk) is dropped with one line on stderr: telling must
//! never stop the machine.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::complaint::{Complaint, Recorded};
use crate::{Arg, Level};

/// A guest that repeats the same mistake for every job must not fill the disk or the screen.
const SAME_FIELD_LIMIT: u32 = 16;
/// The most complaints kept in memory.
const RECORDED_LIMIT: usize = 4096;
/// Buffered text reaches its file at least this often while things happen.
const FLUSH_EVERY: Duration = Duration::from_millis(500);

type Out = BufWriter<Box<dyn Write + Send>>;

pub(crate) struct Sinks {
    text: Option<Out>,
    timeline: Option<Out>,
    complaints: Option<Out>,
    recorded: Vec<Recorded>,
    seen: HashMap<(String, String), u32>,
    tracks: HashMap<String, u32>,
    flushed: Duration,
}

impl Sinks {
    pub(crate) fn new(
        text: Option<Box<dyn Write + Send>>,
        timeline: Option<Box<dyn Write + Send>>,
        complaints: Option<Box<dyn Write + Send>>,
    ) -> Self {
        let mut sinks = Sinks {
            text: text.map(BufWriter::new),
            timeline: timeline.map(BufWriter::new),
            complaints: complaints.map(BufWriter::new),
            recorded: Vec::new(),
            seen: HashMap::new(),
            tracks: HashMap::new(),
            flushed: Duration::ZERO,
        };
        // The format's closing bracket is optional, so that a process that is killed leaves a file that loads.
        put(&mut sinks.timeline, format_args!("["));
        let process =
            json!({"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "vagx"}});
        put(&mut sinks.timeline, format_args!("\n{process}"));
        sinks
    }

    /// Returns whether the complaint is to be shown, that is, not an over-often repeated one.
    pub(crate) fn complain(&mut self, now: Duration, c: &Complaint<'_>) -> bool {
        let seen = self
            .seen
            .entry((c.structure.to_owned(), c.field.to_owned()))
            .or_default();
        *seen = seen.saturating_add(1);
        if *seen > SAME_FIELD_LIMIT {
            return false;
        }
        let record = Recorded::new(nanos(now), c);
        // Strings and integers always serialise.
        if let Ok(line) = serde_json::to_string(&record) {
            put(&mut self.complaints, format_args!("{line}\n"));
        }
        put(
            &mut self.text,
            format_args!("{} complaint: {c}\n", stamp(now)),
        );
        self.instant(
            now,
            "complaints",
            &format!("{}.{}", c.structure, c.field),
            &[("why", c.why.as_str().into())],
        );
        if self.recorded.len() < RECORDED_LIMIT {
            self.recorded.push(record);
        }
        self.flush();
        true
    }

    pub(crate) fn recorded(&self) -> &[Recorded] {
        &self.recorded
    }

    pub(crate) fn event(&mut self, now: Duration, track: &str, name: &str, args: &[(&str, Arg)]) {
        if self.text.is_some() {
            let args = listed(args.iter().map(|(n, a)| (*n, a)));
            put(
                &mut self.text,
                format_args!("{} {track}: {name}{args}\n", stamp(now)),
            );
        }
        self.instant(now, track, name, args);
        self.flush_sometimes(now);
    }

    pub(crate) fn begin(&mut self, now: Duration, track: &str, name: &str) {
        put(
            &mut self.text,
            format_args!("{} {track}: {name} begins\n", stamp(now)),
        );
    }

    pub(crate) fn end(
        &mut self,
        begin: Duration,
        now: Duration,
        track: &str,
        name: &str,
        args: &[(String, Arg)],
    ) {
        let took = now.saturating_sub(begin);
        if self.text.is_some() {
            let args = listed(args.iter().map(|(n, a)| (n.as_str(), a)));
            put(
                &mut self.text,
                format_args!(
                    "{} {track}: {name} ends after {} us{args}\n",
                    stamp(now),
                    took.as_micros()
                ),
            );
        }
        if self.timeline.is_some() {
            let tid = self.track(track);
            let event = json!({
                "ph": "X", "pid": 1, "tid": tid, "name": name,
                "ts": micros(begin), "dur": micros(took),
                "args": object(args.iter().map(|(n, a)| (n.as_str(), a))),
            });
            put(&mut self.timeline, format_args!(",\n{event}"));
        }
        self.flush_sometimes(now);
    }

    pub(crate) fn log(&mut self, now: Duration, level: Level, line: &str) {
        put(
            &mut self.text,
            format_args!("{} {}: {line}\n", stamp(now), level.name()),
        );
        self.flush_sometimes(now);
    }

    pub(crate) fn flush(&mut self) {
        for out in [&mut self.text, &mut self.timeline, &mut self.complaints] {
            let result = out.as_mut().map_or(Ok(()), |o| o.flush());
            settle(out, result);
        }
    }

    fn flush_sometimes(&mut self, now: Duration) {
        if now.saturating_sub(self.flushed) > FLUSH_EVERY {
            self.flushed = now;
            self.flush();
        }
    }

    fn instant(&mut self, now: Duration, track: &str, name: &str, args: &[(&str, Arg)]) {
        if self.timeline.is_none() {
            return;
        }
        let tid = self.track(track);
        let event = json!({
            "ph": "i", "s": "t", "pid": 1, "tid": tid, "name": name, "ts": micros(now),
            "args": object(args.iter().map(|(n, a)| (*n, a))),
        });
        put(&mut self.timeline, format_args!(",\n{event}"));
    }

    /// The row number of a track; the first use of a track names its row.
    fn track(&mut self, track: &str) -> u32 {
        if let Some(tid) = self.tracks.get(track) {
            return *tid;
        }
        let tid = u32::try_from(self.tracks.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        self.tracks.insert(track.to_owned(), tid);
        let name = json!({"ph": "M", "pid": 1, "tid": tid, "name": "thread_name", "args": {"name": track}});
        put(&mut self.timeline, format_args!(",\n{name}"));
        tid
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        put(&mut self.timeline, format_args!("\n]\n"));
        self.flush();
    }
}

fn put(out: &mut Option<Out>, text: std::fmt::Arguments<'_>) {
    let result = out.as_mut().map_or(Ok(()), |o| o.write_fmt(text));
    settle(out, result);
}

fn settle(out: &mut Option<Out>, result: io::Result<()>) {
    if let Err(e) = result {
        eprintln!("vagx: a trace file cannot be written and is given up: {e}");
        // Dropping the buffer would try to write again.
        if let Some(buffer) = out.take() {
            let _unwritten = buffer.into_parts();
        }
    }
}

fn nanos(t: Duration) -> u64 {
    u64::try_from(t.as_nanos()).unwrap_or(u64::MAX)
}

fn micros(t: Duration) -> f64 {
    t.as_secs_f64() * 1e6
}

fn stamp(t: Duration) -> String {
    format!("[{:5}.{:06}]", t.as_secs(), t.subsec_micros())
}

fn listed<'a>(args: impl Iterator<Item = (&'a str, &'a Arg)>) -> String {
    args.map(|(name, value)| format!(" {name}={value}"))
        .collect()
}

fn object<'a>(args: impl Iterator<Item = (&'a str, &'a Arg)>) -> Value {
    let map: Map<String, Value> = args
        .map(|(name, value)| {
            let value = match value {
                Arg::Num(v) => Value::from(*v),
                other => Value::from(other.to_string()),
            };
            (name.to_owned(), value)
        })
        .collect();
    Value::Object(map)
}
