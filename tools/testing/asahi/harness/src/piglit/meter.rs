// SPDX-License-Identifier: MIT OR Apache-2.0

//! How far a run is and how long it will still take, while it goes on.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::results;

/// How often a terminal is told, and how often a log.
const EVERY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// Looks at the files of a run until it is told to stop.
pub struct Meter {
    /// Where piglit keeps the results of a run that goes on.
    pub results: PathBuf,
    pub name: String,
    pub total: usize,
}

impl Meter {
    pub fn watch(&self, stop: &Receiver<()>) {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::new(self.total as u64);
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(self.name.clone());
        let mut done: BTreeMap<String, String> = BTreeMap::new();
        let start = Instant::now();
        let mut first = None;
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(EVERY[usize::from(!terminal)])
        {
            for (file, _, test) in results::read_parts(&self.results, |f| done.contains_key(f)) {
                if test.result != "incomplete" {
                    done.insert(file, test.verdict().to_owned());
                }
            }
            // What an earlier run had done says nothing about this one's speed.
            let before = *first.get_or_insert(done.len().saturating_sub(1));
            let line = self.line(&done, done.len() - before, start.elapsed());
            if terminal {
                bar.set_position(done.len() as u64);
                bar.set_message(line);
            } else {
                eprintln!("{}: {line}", self.name);
            }
        }
        bar.finish_and_clear();
    }

    fn line(&self, done: &BTreeMap<String, String>, now: usize, spent: Duration) -> String {
        let passed = done.values().filter(|v| *v == "pass").count();
        let skipped = done.values().filter(|v| *v == "skip").count();
        let failed = done.len() - passed - skipped;
        let left = self.total.saturating_sub(done.len());
        let seconds = spent.as_secs_f64() / now.max(1) as f64 * left as f64;
        let left = match () {
            () if now < 3 => String::new(),
            () if seconds >= 90.0 => format!(", about {:.0} min left", seconds / 60.0),
            () => format!(", about {seconds:.0} s left"),
        };
        format!(
            "{} of {}: {passed} pass, {failed} fail, {skipped} skip{left}",
            done.len(),
            self.total
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_goes_by_this_runs_speed() {
        let meter = Meter {
            results: PathBuf::new(),
            name: String::new(),
            total: 100,
        };
        let mut done = BTreeMap::new();
        for at in 0..50 {
            let verdict = if at % 10 == 0 { "crash" } else { "pass" };
            done.insert(at.to_string(), verdict.to_owned());
        }
        let line = meter.line(&done, 10, Duration::from_secs(10));
        assert_eq!(line, "50 of 100: 45 pass, 5 fail, 0 skip, about 50 s left");
        let line = meter.line(&done, 10, Duration::from_secs(60));
        assert!(line.ends_with("about 5 min left"));
    }
}
