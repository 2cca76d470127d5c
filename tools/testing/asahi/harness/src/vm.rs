// SPDX-License-Identifier: MIT OR Apache-2.0

//! Boots a guest, runs a command in it and says how it ended.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::context::Context;
use crate::kernel::Kernel;
use crate::proc::{self, Guarded};
use crate::qemu::{self, Accelerator, Console, Machine};
use crate::roots::Guest;
use crate::vagx::{self, Server};

const INIT: &str = include_str!("../guest/control-init");

/// How many runs' logs are kept.
const RUNS_KEPT: usize = 30;

/// How long a guest may take to power off once its command has ended.
const POWEROFF: Duration = Duration::from_secs(20);

/// What all guests of one invocation share.
pub struct Setup<'a> {
    pub ctx: &'a Context,
    pub guest: &'a Guest,
    pub accelerator: Accelerator,
    pub vagx: &'a Path,
    /// Programs for the guest's PATH.
    pub programs: &'a Path,
}

/// Where the command's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// To the harness's own standard output and error output, as it comes.
    Through,
    /// Into the outcome.
    Kept,
    /// Both.
    Both,
    /// The command is a shell on the harness's terminal.
    Terminal,
}

/// One run.
#[derive(Debug)]
pub struct Spec<'a> {
    pub kernel: &'a Kernel,
    pub command: &'a str,
    pub output: Output,
    pub timeout: Option<Duration>,
    pub share: Option<&'a Path>,
    pub cmdline: &'a str,
    pub vagx: vagx::Options,
    /// Whether to wait until the driver has made its render node.
    pub wait: bool,
}

impl<'a> Spec<'a> {
    /// A run whose output is kept and which has no limits or extras.
    pub fn kept(kernel: &'a Kernel, command: &'a str) -> Self {
        Self {
            kernel,
            command,
            output: Output::Kept,
            timeout: None,
            share: None,
            cmdline: "",
            vagx: vagx::Options::default(),
            wait: true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The command's own status.
    Exited(i32),
    TimedOut,
    /// The guest could not run the command, or died of it.
    Failed(String),
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    pub end: End,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub complaints: Vec<String>,
    /// What went wrong with vagx itself, if anything.
    pub vagx_error: Option<String>,
    pub dir: PathBuf,
    /// Seconds of guest time until the driver was bound.
    pub ready: Option<f64>,
}

impl Outcome {
    pub fn kernel_log(&self) -> String {
        fs::read(self.dir.join("kernel.log"))
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    }

    pub fn kernel_tail(&self, lines: usize) -> String {
        let log = self.kernel_log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// A folder for one run's logs, named so that they sort by time; the oldest go.
fn run_dir(ctx: &Context) -> Result<PathBuf> {
    let runs = ctx.build.join("runs");
    fs::create_dir_all(&runs)?;
    let mut old: Vec<PathBuf> = fs::read_dir(&runs)?
        .filter_map(|e| Some(e.ok()?.path()))
        .collect();
    old.sort();
    for dir in old.iter().take(old.len().saturating_sub(RUNS_KEPT - 1)) {
        let _ = fs::remove_dir_all(dir);
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_millis();
    let dir = runs.join(format!("{now}-{}", std::process::id()));
    fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Reads what QEMU sends to a listening socket as fast as it comes, so that the guest never waits for
/// a slow reader, and gives it to the right place.
fn receive(
    listener: UnixListener,
    mut sink: Option<Box<dyn Write + Send>>,
    keep: bool,
) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else {
            return Vec::new();
        };
        let (send, received) = channel::<Vec<u8>>();
        let writer = std::thread::spawn(move || {
            let mut kept = Vec::new();
            for piece in received {
                if let Some(sink) = &mut sink
                    && sink.write_all(&piece).and_then(|()| sink.flush()).is_err()
                {
                    break;
                }
                if keep {
                    kept.extend(piece);
                }
            }
            kept
        });
        let mut buffer = vec![0; 65536];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if send.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
        drop(send);
        writer.join().unwrap_or_default()
    })
}

/// Connects to a listener that nobody connected to, so that its thread ends.
fn release(socket: &Path) {
    let _ = std::os::unix::net::UnixStream::connect(socket);
}

pub fn run(setup: &Setup, spec: &Spec) -> Result<Outcome> {
    let ctx = setup.ctx;
    let dir = run_dir(ctx)?;
    let scratch = tempfile::tempdir_in(&ctx.scratch).context("no room for the sockets")?;
    let control = scratch.path().join("control");
    let modules = write_control(setup, spec, &control)?;
    fs::write(dir.join("command"), spec.command)?;
    fs::write(dir.join("modules"), modules)?;

    let vagx_socket = qemu::socket(scratch.path(), "vagx")?;
    let dtb = scratch.path().join("guest.dtb");
    let base = scratch.path().join("base.dtb");
    qemu::dump_dtb(setup.accelerator, &base)?;
    vagx::boot_dtb(setup.vagx, &base, &dtb)?;
    let server = Server::start(setup.vagx, &vagx_socket, &dtb, &spec.vagx, &dir)?;

    let (out, err) = (
        qemu::socket(scratch.path(), "out")?,
        qemu::socket(scratch.path(), "err")?,
    );
    let receivers = match spec.output {
        Output::Terminal => None,
        output => {
            let keep = output != Output::Through;
            let sink = |s: Box<dyn Write + Send>| (output != Output::Kept).then_some(s);
            let (to, errors) = (std::io::stdout(), std::io::stderr());
            Some((
                receive(UnixListener::bind(&out)?, sink(Box::new(to)), keep),
                receive(UnixListener::bind(&err)?, sink(Box::new(errors)), keep),
            ))
        }
    };
    let kernel_log = dir.join("kernel.log");
    let cmdline = format!(
        "console=ttyAMA0 root=/dev/vda rootfstype=erofs ro init=/init panic=-1 {}",
        spec.cmdline
    );
    let machine = Machine {
        accelerator: setup.accelerator,
        kernel: &spec.kernel.image,
        cmdline: cmdline.trim_end(),
        dtb: &dtb,
        root: &setup.guest.root,
        piglit: setup.guest.piglit.as_ref(),
        vagx: &vagx_socket,
        control: &control,
        share: spec.share,
        console: match spec.output {
            Output::Terminal => Console::Terminal,
            _ => Console::Ports {
                out: &out,
                err: &err,
            },
        },
        kernel_log: &kernel_log,
    };
    let mut command = machine.command();
    fs::write(dir.join("qemu-command"), format!("{command:?}\n"))?;
    let qemu_log = dir.join("qemu.log");
    let said = fs::File::create(&qemu_log)?;
    if spec.output != Output::Terminal {
        command.stdout(said.try_clone()?);
    }
    command.stderr(said);
    let mut qemu = Guarded::spawn(command, "QEMU")?;
    let end = wait(&mut qemu, spec, &control, &kernel_log, &qemu_log);
    drop(qemu);
    let (stdout, stderr) = match receivers {
        None => (Vec::new(), Vec::new()),
        Some((o, e)) => {
            release(&out);
            release(&err);
            (o.join().unwrap_or_default(), e.join().unwrap_or_default())
        }
    };
    let end = end?;
    let (complaints, vagx_error) = match server.finish() {
        Ok(complaints) => (complaints, None),
        Err(error) => (Vec::new(), Some(format!("{error:#}"))),
    };
    keep(&control.join("out"), &dir.join("out"))?;
    let ready = fs::read_to_string(control.join("ready"))
        .ok()
        .and_then(|text| text.trim().parse().ok());
    Ok(Outcome {
        end,
        stdout,
        stderr,
        complaints,
        vagx_error,
        dir,
        ready,
    })
}

/// Writes the folder that the guest's init works from; gives the modules that it loads.
fn write_control(setup: &Setup, spec: &Spec, control: &Path) -> Result<String> {
    let staged = control.join("modules");
    fs::create_dir_all(&staged)?;
    let mut modules = spec.kernel.stage_modules(&staged)?;
    modules.push("asahi".to_owned());
    let bin = control.join("bin");
    fs::create_dir_all(&bin)?;
    for program in fs::read_dir(setup.programs)? {
        let program = program?;
        fs::copy(program.path(), bin.join(program.file_name()))?;
    }
    let modules = modules.join(" ");
    let wait = match (spec.wait, spec.kernel.debug) {
        (false, _) => 0,
        (true, false) => 30,
        (true, true) => 90,
    };
    fs::create_dir(control.join("out"))?;
    fs::write(control.join("init"), INIT)?;
    fs::write(control.join("command"), spec.command)?;
    fs::write(
        control.join("config"),
        format!(
            "modules=\"{modules}\"\nwait={wait}\nshare={}\npiglit={}\nmode={}\n",
            u8::from(spec.share.is_some()),
            u8::from(setup.guest.piglit.is_some()),
            if spec.output == Output::Terminal {
                "shell"
            } else {
                "run"
            },
        ),
    )?;
    Ok(modules)
}

/// Keeps what the guest has left for us, which is plain files.
fn keep(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::create_dir_all(to)?;
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Waits until the guest has told its command's status and is off, has died, or is out of time.
fn wait(
    qemu: &mut Guarded,
    spec: &Spec,
    control: &Path,
    kernel_log: &Path,
    qemu_log: &Path,
) -> Result<End> {
    let start = Instant::now();
    let status = control.join("status");
    let mut told: Option<(i32, Instant)> = None;
    loop {
        let ended = qemu.ended()?;
        if told.is_none() {
            told = fs::read_to_string(&status)
                .ok()
                .filter(|text| text.ends_with('\n'))
                .and_then(|text| text.trim().parse().ok())
                .map(|code| (code, Instant::now()));
        }
        match (told, ended) {
            (Some((code, since)), ended) => {
                if ended.is_some() || since.elapsed() > POWEROFF {
                    let failed = fs::read_to_string(control.join("failed"));
                    return Ok(match failed {
                        Ok(why) => End::Failed(why.trim().to_owned()),
                        Err(_) => End::Exited(code),
                    });
                }
            }
            (None, Some(exit)) => {
                if !exit.success() || fs::metadata(kernel_log).map_or(0, |m| m.len()) == 0 {
                    qemu::complaint(qemu_log)?;
                }
                let log = proc::tail_of(kernel_log, 1 << 20);
                let why = log
                    .lines()
                    .rev()
                    .find(|line| line.contains("Kernel panic"))
                    .map_or("the guest went off before its command ended", |line| {
                        line.trim()
                    });
                return Ok(End::Failed(why.to_owned()));
            }
            (None, None) => {
                if spec.timeout.is_some_and(|limit| start.elapsed() >= limit) {
                    return Ok(End::TimedOut);
                }
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Lines of a kernel log that must not be there.
pub fn reports(log: &str) -> Vec<String> {
    const MARKS: [&str; 21] = [
        "WARNING:",
        "BUG:",
        "BUG ",
        "Oops",
        "Kernel panic",
        "KASAN:",
        "UBSAN:",
        "ODEBUG:",
        "Unable to handle kernel",
        "Internal error:",
        "possible recursive locking",
        "possible circular locking",
        "inconsistent lock state",
        "suspicious RCU",
        "refcount_t:",
        "kmemleak:",
        "sleeping function called",
        "rcu: INFO:",
        "INFO: task",
        "lockdep:",
        "rust_kernel: panicked",
    ];
    // kmemleak and lockdep also say harmless things at start, and without SysRq init ends like this.
    const HARMLESS: [&str; 5] = [
        "Attempted to kill init! exitcode=0x00000000",
        "kmemleak: Kernel memory leak detector initialized",
        "kmemleak: Automatic memory scanning thread",
        "kmemleak: Automatic memory scanning",
        "Lock dependency validator",
    ];
    log.lines()
        .filter(|line| MARKS.iter().any(|m| line.contains(m)))
        .filter(|line| !HARMLESS.iter().any(|m| line.contains(m)))
        .map(|line| line.trim().to_owned())
        .collect()
}

/// Checks what a person gave that the guest's machine depends on.
pub fn check_share(share: Option<&Path>) -> Result<()> {
    if let Some(dir) = share
        && fs::read_dir(dir).is_err()
    {
        bail!("SHARE={}: cannot be read", dir.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_found() {
        let log = "[ 0.1] ok\n[ 0.2] WARNING: CPU: 0 PID: 1 at x\n[ 1] kmemleak: Kernel memory leak detector initialized (mem pool)\n[ 2] kmemleak: 3 new suspected memory leaks\n";
        assert_eq!(reports(log).len(), 2);
    }
}
