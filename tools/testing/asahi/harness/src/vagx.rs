// SPDX-License-Identifier: MIT OR Apache-2.0

//! The virtual AGX: builds it and runs its server beside a guest.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::context::Context;
use crate::proc::{self, Guarded};
use crate::progress::Progress;

/// How long the server may take to listen, and to end once QEMU is gone.
const LIMIT: Duration = Duration::from_secs(20);

/// What of the server one run wants.
#[derive(Debug, Default, Clone)]
pub struct Options {
    pub faults: Vec<String>,
    pub capture: Option<PathBuf>,
    pub trace: Option<PathBuf>,
}

/// Builds vagx and gives the path of its program.
pub fn build(ctx: &Context, progress: &mut Progress) -> Result<PathBuf> {
    release(ctx, progress, &ctx.params.vagx, "vagx", "vagx", "vagx")
}

/// The library that answers the driver's interface in a program's own process.
pub fn shim(ctx: &Context, progress: &mut Progress) -> Result<PathBuf> {
    release(
        ctx,
        progress,
        &ctx.params.shim,
        "shim",
        "vagx-shim",
        "libvagx_shim.so",
    )
}

/// Builds a package as fast code and gives the file that comes of it, unless a person has one of their own.
fn release(
    ctx: &Context,
    progress: &mut Progress,
    own: &Option<PathBuf>,
    what: &str,
    package: &str,
    file: &str,
) -> Result<PathBuf> {
    if let Some(own) = own {
        return Ok(own.clone());
    }
    let log = proc::fresh(&ctx.build.join("logs"), &format!("cargo-{what}.log"))?;
    progress.step(what, || {
        let mut cargo = proc::command("cargo");
        cargo
            .current_dir(ctx.asahi())
            .args(["build", "--locked", "--release", "-p", package]);
        proc::run_logged(cargo, &log, &format!("the build of {package}"))
    })?;
    let built = target(ctx).join("release").join(file);
    fs::canonicalize(&built).with_context(|| format!("no {}", built.display()))
}

/// Where cargo puts what it builds.
pub fn target(ctx: &Context) -> PathBuf {
    ctx.build.join("target")
}

/// Adds to a machine's device tree what the bootloader leaves there.
pub fn boot_dtb(vagx: &Path, base: &Path, out: &Path) -> Result<()> {
    let mut command = Command::new(vagx);
    command
        .arg("boot-dtb")
        .arg("--in")
        .arg(base)
        .arg("--out")
        .arg(out);
    proc::output(command, "vagx boot-dtb")?;
    Ok(())
}

/// A server that listens.
pub struct Server {
    process: Guarded,
    log: PathBuf,
    complaints: PathBuf,
}

impl Server {
    pub fn start(
        vagx: &Path,
        socket: &Path,
        dtb: &Path,
        options: &Options,
        dir: &Path,
    ) -> Result<Self> {
        let log = proc::fresh(dir, "vagx.log")?;
        let complaints = proc::fresh(dir, "complaints.jsonl")?;
        let mut command = proc::command(vagx);
        command.arg("serve").arg("--socket").arg(socket);
        command.arg("--dtb").arg(dtb);
        command.arg("--complaints").arg(&complaints);
        for fault in &options.faults {
            command.arg("--fault").arg(fault);
        }
        if let Some(dir) = &options.capture {
            command.arg("--capture").arg(dir);
        }
        if let Some(dir) = &options.trace {
            command.arg("--trace").arg(dir.join("trace.txt"));
            command.arg("--timeline").arg(dir.join("timeline.json"));
        }
        let out = File::create(&log)?;
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        let mut process = Guarded::spawn(command, "vagx")?;
        let start = std::time::Instant::now();
        while !socket.exists() {
            if let Some(status) = process.ended()? {
                let said = proc::tail_of(&log, 4096);
                bail!("vagx ended ({status}) before it listened: {}", said.trim());
            }
            if start.elapsed() > LIMIT {
                bail!(
                    "vagx did not listen within {} s (log: {})",
                    LIMIT.as_secs(),
                    log.display()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self {
            process,
            log,
            complaints,
        })
    }

    /// Waits for its end after QEMU's; gives its complaints.
    pub fn finish(mut self) -> Result<Vec<String>> {
        let status = self.process.wait_for(LIMIT)?;
        let complaints = read_complaints(&self.complaints)?;
        match status {
            None => bail!("vagx did not end with QEMU (log: {})", self.log.display()),
            // It says with a status of its own that it complained.
            Some(status) if status.success() || !complaints.is_empty() => Ok(complaints),
            Some(status) => {
                let said = proc::tail_of(&self.log, 4096);
                bail!(
                    "vagx ended with {status}: {} (log: {})",
                    said.trim(),
                    self.log.display()
                )
            }
        }
    }
}

/// One line of text for each complaint in the server's file.
fn read_complaints(path: &Path) -> Result<Vec<String>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display()))?,
    };
    Ok(text.lines().map(describe).collect())
}

fn describe(line: &str) -> String {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else {
        return line.to_owned();
    };
    let text = |name: &str| match value.get(name) {
        Some(serde_json::Value::String(s)) => s.clone(),
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    };
    format!("{}.{}: {}", text("structure"), text("field"), text("why"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_told_in_a_line() {
        let line = r#"{"structure":"InitData","field":"globals","offset":8,"why":"is zero"}"#;
        assert_eq!(describe(line), "InitData.globals: is zero");
        assert_eq!(describe("odd"), "odd");
    }

    #[test]
    fn no_file_is_no_complaint() {
        assert!(
            read_complaints(Path::new("/nonexistent/x"))
                .unwrap()
                .is_empty()
        );
    }
}
