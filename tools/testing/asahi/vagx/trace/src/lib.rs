// SPDX-License-Identifier: MIT OR Apache-2.0

//! What happened inside the virtual AGX, told to people and to tests.
//!
//! Every other part holds a [`Trace`] (a cheap handle to shared sinks) and tells it three kinds of things:
//!
//! - *complaints*: something the driver under test did that the real firmware or hardware would choke on. They are
//!   counted, printed to stderr at once, and appended as JSON lines to a file. A test run fails if there is one.
//! - *events* and *spans* on named tracks. The text sink shows them as lines; the timeline sink writes Chrome's trace
//!   event format, where each track is a row, as Perfetto and `chrome://tracing` read it.
//! - *log lines*, which are the model's own words (not the guest's fault).
//!
//! Nobody asks the trace anything, but for the number of complaints at the end.

mod complaint;
mod sink;

use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use complaint::{Complaint, Recorded};
use sink::Sinks;

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

/// The value of an argument of an event.
#[derive(Clone, Debug)]
pub enum Arg {
    /// Shown in hexadecimal: addresses, handles, bit masks.
    Hex(u64),
    /// Shown in decimal: counts, indices, sizes.
    Num(i64),
    Text(String),
}

impl From<u64> for Arg {
    fn from(v: u64) -> Self {
        Arg::Hex(v)
    }
}

impl From<u32> for Arg {
    fn from(v: u32) -> Self {
        Arg::Num(v.into())
    }
}

impl From<i64> for Arg {
    fn from(v: i64) -> Self {
        Arg::Num(v)
    }
}

impl From<&str> for Arg {
    fn from(v: &str) -> Self {
        Arg::Text(v.to_owned())
    }
}

impl From<String> for Arg {
    fn from(v: String) -> Self {
        Arg::Text(v)
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arg::Hex(v) => write!(f, "{v:#x}"),
            Arg::Num(v) => write!(f, "{v}"),
            Arg::Text(v) => f.write_str(v),
        }
    }
}

/// Where a [`Trace`] tells things to. The default is: complaints and warnings to stderr, nothing else.
#[derive(Default)]
pub struct Config {
    /// Readable text, one line for each event.
    pub text: Option<Box<dyn Write + Send>>,
    /// Chrome trace events in JSON.
    pub timeline: Option<Box<dyn Write + Send>>,
    /// Complaints as JSON lines.
    pub complaints: Option<Box<dyn Write + Send>>,
    /// Log lines up to this level go to stderr too; without it, those up to `Warn`.
    pub stderr: Option<Level>,
    /// Say nothing on stderr, not even complaints: for tests that provoke them.
    pub silent: bool,
}

struct Shared {
    start: Instant,
    complaints: AtomicU64,
    /// Whether any sink wants events, so that callers may skip the work of describing them.
    wants_events: bool,
    stderr: Option<Level>,
    sinks: Mutex<Sinks>,
}

/// A cheap handle; clones share the same sinks.
#[derive(Clone)]
pub struct Trace {
    shared: Arc<Shared>,
}

impl Default for Trace {
    fn default() -> Self {
        Self::new(Config::default())
    }
}

impl Trace {
    /// Makes a trace with the given sinks.
    pub fn new(config: Config) -> Self {
        let stderr = if config.silent {
            None
        } else {
            Some(config.stderr.unwrap_or(Level::Warn))
        };
        let wants_events = config.text.is_some() || config.timeline.is_some();
        let sinks = Sinks::new(config.text, config.timeline, config.complaints);
        Trace {
            shared: Arc::new(Shared {
                start: Instant::now(),
                complaints: AtomicU64::new(0),
                wants_events,
                stderr,
                sinks: Mutex::new(sinks),
            }),
        }
    }

    /// A trace that keeps complaints in memory only; for tests.
    pub fn silent() -> Self {
        Self::new(Config {
            silent: true,
            ..Config::default()
        })
    }

    /// A sink that panicked half-way leaves text that may be cut, nothing worse.
    fn sinks(&self) -> MutexGuard<'_, Sinks> {
        self.shared
            .sinks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.shared.start.elapsed()
    }

    /// Whether [`Trace::event`] and [`Trace::span`] go anywhere.
    pub fn wants_events(&self) -> bool {
        self.shared.wants_events
    }

    /// Records something the driver under test did wrong.
    pub fn complain(&self, c: Complaint<'_>) {
        self.shared.complaints.fetch_add(1, Ordering::Relaxed);
        let now = self.now();
        let mut sinks = self.sinks();
        let first = sinks.complain(now, &c);
        if first && self.shared.stderr.is_some() {
            eprintln!("vagx: complaint: {c}");
        }
    }

    /// How many complaints there were, repeated ones included.
    pub fn complaint_count(&self) -> u64 {
        self.shared.complaints.load(Ordering::Relaxed)
    }

    /// The complaints recorded so far; repetitions of the same field are kept only up to a limit.
    pub fn complaints(&self) -> Vec<Recorded> {
        self.sinks().recorded().to_vec()
    }

    /// Something happened at this moment, on the row `track`.
    pub fn event(&self, track: &str, name: &str, args: &[(&str, Arg)]) {
        if self.wants_events() {
            let now = self.now();
            self.sinks().event(now, track, name, args);
        }
    }

    /// Something begins on the row `track`; it ends when the returned value is dropped.
    pub fn span(&self, track: &str, name: &str) -> Span {
        let wanted = self.wants_events();
        let begin = self.now();
        if wanted {
            self.sinks().begin(begin, track, name);
        }
        Span {
            trace: self.clone(),
            wanted,
            track: if wanted {
                track.to_owned()
            } else {
                String::new()
            },
            name: if wanted {
                name.to_owned()
            } else {
                String::new()
            },
            begin,
            args: Vec::new(),
        }
    }

    /// A line in the model's own words.
    pub fn log(&self, level: Level, line: &str) {
        let now = self.now();
        self.sinks().log(now, level, line);
        if self.shared.stderr.is_some_and(|max| level <= max) {
            eprintln!("vagx: {}: {line}", level.name());
        }
    }

    /// Brings everything told so far to the files.
    pub fn flush(&self) {
        self.sinks().flush();
    }
}

/// Something that takes time; see [`Trace::span`].
pub struct Span {
    trace: Trace,
    wanted: bool,
    track: String,
    name: String,
    begin: Duration,
    args: Vec<(String, Arg)>,
}

impl Span {
    /// Adds an argument, shown when the span ends.
    pub fn arg(&mut self, name: &str, value: impl Into<Arg>) {
        if self.wanted {
            self.args.push((name.to_owned(), value.into()));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if self.wanted {
            let now = self.trace.now();
            self.trace
                .sinks()
                .end(self.begin, now, &self.track, &self.name, &self.args);
        }
    }
}

#[cfg(test)]
mod tests;
