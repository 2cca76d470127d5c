// SPDX-License-Identifier: MIT OR Apache-2.0

//! Starts other programs such that none outlives the harness, and keeps what they say.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Signal, set_parent_process_death_signal};

/// A command that the kernel terminates when the harness dies, whatever it dies of.
///
/// The signal comes when the *thread* that started it ends, so it must be started by a thread that
/// lives as long as the command is wanted.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    // SAFETY: between fork and exec only prctl(2) is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
    }
    command
}

/// Runs a command with all it says going to `log`; an error holds the lines that matter.
pub fn run_logged(mut command: Command, log: &Path, what: &str) -> Result<()> {
    if let Some(dir) = log.parent() {
        fs::create_dir_all(dir)?;
    }
    let out = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .status()
        .with_context(|| format!("{what}: cannot start {:?}", command.get_program()))?;
    if status.success() {
        return Ok(());
    }
    let text = tail_of(log, 64 * 1024);
    Err(anyhow!(
        "{}\n{what} failed ({status}): {} (log: {})",
        telling_lines(&text, 12).join("\n"),
        reason(&text),
        log.display()
    ))
}

/// Runs a command and gives its standard output; its error output is part of the error.
pub fn output(mut command: Command, what: &str) -> Result<String> {
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{what}: cannot start {:?}", command.get_program()))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        bail!(
            "{what} failed ({}): {}",
            out.status,
            telling_lines(&said, 6).join("; ")
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The end of a file, as text.
pub fn tail_of(path: &Path, bytes: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(bytes)))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(text)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// The lines that say what went wrong, if some look like it; else the last ones.
pub fn telling_lines(text: &str, count: usize) -> Vec<String> {
    const MARKS: [&str; 8] = [
        "error",
        "Error",
        "E: ",
        "fatal",
        "undefined",
        "No space left",
        "cannot",
        "FAILED",
    ];
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let first = lines
        .iter()
        .position(|line| MARKS.iter().any(|mark| line.contains(mark)));
    let from = match first {
        Some(at) if lines.len() - at > count => at,
        _ => lines.len().saturating_sub(count),
    };
    lines
        .iter()
        .skip(from)
        .take(count)
        .map(|l| (*l).to_owned())
        .collect()
}

/// What a person can do about the usual reasons; otherwise a pointer to the lines shown.
pub fn reason(text: &str) -> &'static str {
    const KNOWN: [(&str, &str); 8] = [
        (
            "No space left on device",
            "the disk is full: free some or give another place with ASAHI_CACHE=DIR",
        ),
        ("Could not resolve", NO_NETWORK),
        ("Temporary failure resolving", NO_NETWORK),
        ("Could not connect", NO_NETWORK),
        ("Connection failed", NO_NETWORK),
        ("failed to download", NO_NETWORK),
        ("Could not resolve host", NO_NETWORK),
        (
            "Permission denied",
            "permission denied: is everything in the cache and the checkout your own?",
        ),
    ];
    const NO_NETWORK: &str = "the package archive or registry cannot be reached: check the network, or give an archive with MIRROR=URL";
    KNOWN
        .iter()
        .find(|(mark, _)| text.contains(mark))
        .map_or("see the lines above", |(_, advice)| advice)
}

/// A child that is ended when this goes out of scope.
pub struct Guarded {
    child: Child,
}

impl Guarded {
    pub fn spawn(mut command: Command, name: &'static str) -> Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child })
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end; None when that takes longer than `limit`.
    pub fn wait_for(&mut self, limit: Duration) -> Result<Option<std::process::ExitStatus>> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if start.elapsed() >= limit {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A fresh file under `dir` for one run's log.
pub fn fresh(dir: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let path = dir.join(name);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e)?,
        _ => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telling_lines_start_at_the_first_error() {
        let text = "CC a.o\nCC b.o\nb.c:3: error: no\nmake: *** [b.o]\nmake: *** [all]\n";
        assert_eq!(telling_lines(text, 2)[0], "b.c:3: error: no");
        assert_eq!(telling_lines("one\ntwo\nthree\n", 2), ["two", "three"]);
    }

    #[test]
    fn a_full_disk_is_named() {
        assert!(reason("cp: x: No space left on device").starts_with("the disk is full"));
        assert_eq!(reason("strange"), "see the lines above");
    }

    #[test]
    fn a_failing_command_tells_why() {
        let dir = tempfile::tempdir().unwrap();
        let mut sh = command("sh");
        sh.args(["-c", "echo 'error: broken'; exit 3"]);
        let text = run_logged(sh, &dir.path().join("log"), "the step")
            .unwrap_err()
            .to_string();
        assert!(text.contains("error: broken") && text.contains("the step failed"));
    }
}
