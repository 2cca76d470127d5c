// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is being done and how long it will still take, on standard error.
//!
//! How long a step takes is learned: each is remembered with the time it last took in full, and a
//! first run goes by the times measured on two cores.

use std::collections::BTreeMap;
use std::fs;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// Seconds on two cores of a step that was never run here.
const FIRST_GUESS: [(&str, f64); 11] = [
    ("guest root", 60.0),
    ("host root", 60.0),
    ("piglit", 120.0),
    ("kernel source", 75.0),
    ("kernel tree", 15.0),
    ("vagx", 150.0),
    ("shim", 100.0),
    ("kernel", 450.0),
    ("debug kernel", 650.0),
    ("clippy of the kernel", 500.0),
    ("cargo tests", 240.0),
];

/// How often a log that is no terminal is told that a step goes on.
const PLAIN_EVERY: Duration = Duration::from_secs(30);

/// Keeps the times of past runs and of this one.
pub struct Progress {
    history_file: PathBuf,
    history: BTreeMap<String, f64>,
    steps: Vec<(String, f64)>,
    terminal: bool,
    started: Instant,
}

impl Progress {
    pub fn new(history_file: PathBuf) -> Self {
        let history = fs::read(&history_file)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        Self {
            history_file,
            history,
            steps: Vec::new(),
            terminal: std::io::stderr().is_terminal(),
            started: Instant::now(),
        }
    }

    /// Does a step that is long or worth a line. Its time is remembered if it succeeds.
    pub fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let expected = self.history.get(name).copied().or_else(|| {
            FIRST_GUESS
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, secs)| *secs)
        });
        let start = Instant::now();
        let ticker = Ticker::start(name.to_owned(), expected, self.terminal);
        let done = work();
        let took = start.elapsed().as_secs_f64();
        ticker.stop(&match done {
            Ok(_) => format!("{name}: {took:.1} s"),
            Err(_) => format!("{name}: failed after {took:.1} s"),
        });
        if done.is_ok() {
            self.steps.push((name.to_owned(), took));
            // A step that found nothing to do says nothing about how long it takes in full.
            if expected.is_none_or(|old| took > old / 4.0) {
                self.history.insert(name.to_owned(), took);
                if let Ok(text) = serde_json::to_vec_pretty(&self.history) {
                    let _ = fs::write(&self.history_file, text);
                }
            }
        }
        done
    }

    /// Name and seconds of each step done, in order.
    pub fn steps(&self) -> &[(String, f64)] {
        &self.steps
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Shows that a step goes on until it is stopped.
struct Ticker {
    stop: Sender<String>,
    thread: JoinHandle<()>,
}

impl Ticker {
    fn start(name: String, expected: Option<f64>, terminal: bool) -> Self {
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            if terminal {
                on_terminal(&name, expected, &stopped);
            } else {
                in_plain_lines(&name, expected, &stopped);
            }
        });
        Self { stop, thread }
    }

    fn stop(self, line: &str) {
        let _ = self.stop.send(line.to_owned());
        let _ = self.thread.join();
    }
}

fn on_terminal(name: &str, expected: Option<f64>, stopped: &Receiver<String>) {
    let start = Instant::now();
    let bar = ProgressBar::new(1000);
    let style = match expected {
        Some(_) => "{prefix} [{bar:30}] {msg}",
        None => "{prefix} {spinner} {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(name.to_owned());
    loop {
        let spent = start.elapsed().as_secs_f64();
        if let Some(total) = expected {
            bar.set_position((spent / total * 1000.0).min(990.0) as u64);
        }
        bar.set_message(remaining(spent, expected));
        bar.tick();
        match stopped.recv_timeout(Duration::from_millis(200)) {
            Err(RecvTimeoutError::Timeout) => {}
            line => {
                bar.finish_and_clear();
                eprintln!("{}", line.unwrap_or_default());
                return;
            }
        }
    }
}

fn in_plain_lines(name: &str, expected: Option<f64>, stopped: &Receiver<String>) {
    let start = Instant::now();
    if expected.is_some_and(|secs| secs > 10.0) {
        eprintln!("{name}: {}", remaining(0.0, expected));
    }
    loop {
        match stopped.recv_timeout(PLAIN_EVERY) {
            Err(RecvTimeoutError::Timeout) => {
                eprintln!(
                    "{name}: {}",
                    remaining(start.elapsed().as_secs_f64(), expected)
                );
            }
            line => {
                eprintln!("{}", line.unwrap_or_default());
                return;
            }
        }
    }
}

/// Time left in words, or time spent where nobody knows.
fn remaining(spent: f64, expected: Option<f64>) -> String {
    match expected {
        Some(total) if total - spent >= 90.0 => {
            format!("about {:.0} min left", (total - spent) / 60.0)
        }
        Some(total) if total - spent >= 1.0 => format!("about {:.0} s left", total - spent),
        Some(_) => format!("{spent:.0} s, longer than usual"),
        None => format!("{spent:.0} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_said_in_words() {
        assert_eq!(remaining(0.0, Some(300.0)), "about 5 min left");
        assert_eq!(remaining(10.0, Some(30.0)), "about 20 s left");
        assert_eq!(remaining(31.0, Some(30.0)), "31 s, longer than usual");
        assert_eq!(remaining(7.0, None), "7 s");
    }

    #[test]
    fn only_full_steps_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let mut progress = Progress::new(dir.path().join("h"));
        progress.step("kernel", || Ok(())).unwrap();
        assert!(!progress.history.contains_key("kernel"));
        assert_eq!(progress.steps().len(), 1);
    }
}
