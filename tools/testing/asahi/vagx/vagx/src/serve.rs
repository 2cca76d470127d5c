// SPDX-License-Identifier: MIT OR Apache-2.0

//! `vagx serve`: be the device of one virtual machine.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use vagx_boot::{FirmwareHalf, Layout};
use vagx_fw::{Capture, FwConfig, GpuEngine, Inject, Left};
use vagx_gpu::GpuConfig;
use vagx_trace::{Config, Level, Trace};

use crate::fault::Fault;
use crate::soc::Soc;
use crate::{MachineArgs, firmware, vfio};

/// Exit status of a run with complaints.
const COMPLAINED: u8 = 3;

#[derive(clap::Args)]
pub struct Args {
    /// Socket on which QEMU finds the device
    #[arg(long)]
    socket: PathBuf,
    /// The guest's device tree, as boot-dtb wrote it
    #[arg(long)]
    dtb: PathBuf,
    #[command(flatten)]
    machine: MachineArgs,
    /// Write what happens as text
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Write what happens as Chrome trace events, for Perfetto
    #[arg(long)]
    timeline: Option<PathBuf>,
    /// Append complaints as JSON lines
    #[arg(long)]
    complaints: Option<PathBuf>,
    /// Record every job, with the memory it can see
    #[arg(long)]
    capture: Option<PathBuf>,
    /// Do something wrong on purpose (may be given several times)
    ///
    /// KIND is what goes wrong; an unknown one, such as "help", has all of them listed. Kinds that hit a job take
    /// selectors, of which all must agree: N or job=N the Nth job of a boot (the first without any selector), n=N every
    /// Nth, p=PERCENT some, after=N and count=N not the first and not more than so many, boot=N, ctx=SLOT, queue=UUID,
    /// pipe=vertex|fragment|compute, data=X jobs with that helper data. "hang-job" and "late-event" take ms=TIME,
    /// "channel-error" type=1..3. "time-limit:ms=TIME" is how long any job may take. With "on-demand", a job asks for
    /// its own fault by its helper data
    #[arg(long, value_name = "KIND[:SELECTOR,...]")]
    fault: Vec<String>,
    /// Let events come in any order in which hardware could send them, and this decides which; also for what else is
    /// left to chance
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Show log lines of the model, not only warnings
    #[arg(long, short)]
    verbose: bool,
}

fn sink(path: &Option<PathBuf>, append: bool) -> Result<Option<Box<dyn Write + Send>>> {
    let Some(path) = path else {
        return Ok(None);
    };
    let file = match append {
        true => File::options().append(true).create(true).open(path),
        false => File::create(path),
    };
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(Box::new(BufWriter::new(file))))
}

/// Takes the socket's name, from a server that has gone if need be.
fn listen(path: &Path) -> Result<UnixListener> {
    if let Err(e) = fs::remove_file(path)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        return Err(e).with_context(|| format!("cannot replace {}", path.display()));
    }
    UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))
}

/// Sorts faults into those of the coprocessor and those of its firmware.
fn faults(names: &[String]) -> Result<(Vec<Fault>, Vec<Inject>)> {
    let (mut own, mut injects) = (Vec::new(), Vec::new());
    for name in names {
        if let Ok(fault) = name.parse() {
            own.push(fault);
        } else {
            let inject = name.parse::<Inject>();
            injects
                .push(inject.map_err(|e| anyhow!("{e}; the coprocessor's are {}", Fault::NAMES))?);
        }
    }
    Ok((own, injects))
}

/// A seed that is another one each time.
fn clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1, |t| t.as_nanos() as u64 % 1_000_000_000)
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let machine = args.machine.find()?;
    let dtb = fs::read(&args.dtb).with_context(|| format!("cannot read {}", args.dtb.display()))?;
    let layout = Layout::from_dtb(&dtb, &machine)
        .with_context(|| format!("cannot use {}", args.dtb.display()))?;
    let (faults, mut injects) = faults(&args.fault)?;
    let trace = Trace::new(Config {
        text: sink(&args.trace, false)?,
        timeline: sink(&args.timeline, false)?,
        complaints: sink(&args.complaints, true)?,
        stderr: args.verbose.then_some(Level::Info),
        silent: false,
    });
    let engine = GpuEngine::new(GpuConfig::default(), trace.clone());
    let mut config = FwConfig::new(machine.chip.id, machine.abi.triple(), Arc::new(engine))?;
    config.seed = args.seed.unwrap_or_else(clock);
    if args.seed.is_some() {
        injects.push("shuffle".parse()?);
    }
    config.misbehave(injects);
    if config.is_random() {
        eprintln!("vagx: seed {}", config.seed);
        let seed = [("seed", config.seed.into())];
        trace.event("firmware", "random", &seed);
    }
    config.left = Left {
        table_entries: FirmwareHalf::new(&layout).entries().to_vec(),
        blobs: Some(vagx_boot::blobs(&machine, layout.ttbs.base).map(|b| b.bytes().to_vec())),
    };
    if let Some(dir) = &args.capture {
        let capture = Capture::create(dir, &config);
        config.capture =
            Some(capture.with_context(|| format!("cannot capture to {}", dir.display()))?);
    }
    let mut soc = Soc::new(machine, layout, &faults, trace.clone(), |env| {
        firmware::boot(config, env, trace.clone())
    })?;

    let listener = listen(&args.socket)?;
    let (stream, _) = listener.accept().context("nobody came to the socket")?;
    drop(listener);
    // The name has served; a failure to remove it harms nobody.
    let _ = fs::remove_file(&args.socket);
    let start = Instant::now();
    let served = vfio::serve(&mut vfio::Connection::new(stream), &mut soc);
    soc.shut_down();
    let complaints = trace.complaint_count();
    trace.flush();
    eprintln!(
        "vagx: {machine} served for {:.1} s: {} mailbox messages, {complaints} complaints",
        start.elapsed().as_secs_f64(),
        soc.messages(),
    );
    served.context("the connection to QEMU broke")?;
    Ok(match complaints {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(COMPLAINED),
    })
}
