// SPDX-License-Identifier: MIT OR Apache-2.0

//! Faults of one client while others compute.
//!
//! An innocent client loses nothing that had not been running: a job of its own that was on the GPU
//! when somebody else's faulted may end with `ECANCELED`, since a fault stops all of the GPU. Its queue
//! goes on, and it does such a job again. All other sums are right, and no other error comes.
//!
//! The guilty one's fence has the error that belongs to its deed, and its queue takes nothing more; the
//! fences of what it has submitted behind that signal, too.
//!
//! Some faults happen by themselves: what a unit of the GPU reads is not mapped, or a program does not
//! end. The others are the firmware's, which the virtual AGX makes up when a job asks for them
//! (`vagx serve --fault on-demand`): the argument of the helper program, which the kernel passes on,
//! says which. Without that option only the first ones are tried.

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use libc::{ECANCELED, EIO, ETIMEDOUT};

use crate::{
    device::{Bo, Commands, Device, HEAP, PAGE, Vm},
    gpu::{self, EXEC_BASE, Gpu, Program},
    runner::{Rng, rng},
    uapi::*,
};

use super::{
    errno,
    process::{Child, Link},
    sums::{Ended, Sums, outcome},
};

crate::suite::tests!(
    few { limit: 120 },
    each {
        limit: 300,
        heavy: true
    },
    hundreds {
        limit: 1800,
        heavy: true
    },
);

/// An address at which there is nothing.
const NOWHERE: u64 = HEAP + (7 << 30);

/// A page that may be written, but not read.
const WRITE_ONLY: u64 = HEAP + (8 << 30);

/// A word that stays zero.
const FLAG: u64 = HEAP + (9 << 30);

/// What asks the virtual AGX for a fault, with its number in the last byte.
pub const ON_DEMAND: u64 = 0x4147_5846_4c54_0000;

/// CDM Stream Terminate.
pub const TERMINATE: [u8; 8] = (2u64 << 29).to_le_bytes();

/// How long an innocent client may wait for a round: as long as faults take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many jobs each innocent client has in flight, and their priority. Work of low priority is set
/// aside for other work, and goes on after the fault of that.
const INNOCENTS: [(u64, u32); 3] = [
    (1, PRIORITY_MEDIUM),
    (6, PRIORITY_MEDIUM),
    (2, PRIORITY_LOW),
];

/// Something to be guilty of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    /// The control stream is not mapped.
    NoStream,
    /// The control stream may not be read.
    HiddenStream,
    /// The control stream goes on where nothing is mapped.
    LinkToNowhere,
    /// The launch's state words are not mapped.
    NoState,
    /// The program is not mapped.
    NoProgram,
    /// The program's uniforms are not mapped.
    NoUniforms,
    /// The program does not end.
    Endless,
    /// The program stores where nothing is mapped, which is no fault.
    SoftStore,
    /// What the firmware does, by its number.
    Firmware(u8),
}

/// What happens without the firmware's help.
const BY_THEMSELVES: [Deed; 8] = [
    Deed::NoStream,
    Deed::HiddenStream,
    Deed::LinkToNowhere,
    Deed::NoState,
    Deed::NoProgram,
    Deed::NoUniforms,
    Deed::Endless,
    Deed::SoftStore,
];

/// What the firmware does on demand: its name, its number, how the job ends.
const FIRMWARE: [(&str, u8, i32); 14] = [
    ("unmapped", 0x01, EIO),
    ("read-only", 0x02, EIO),
    ("write-only", 0x03, EIO),
    ("no-access", 0x04, EIO),
    ("hang-job", 0x05, ETIMEDOUT),
    ("lose-job", 0x06, ETIMEDOUT),
    ("channel-error", 0x07, EIO),
    ("lost-event", 0x09, 0),
    ("late-event", 0x0a, 0),
    ("repeat-event", 0x0b, 0),
    ("bad-event", 0x0c, 0),
    ("false-flag", 0x0d, 0),
    ("stale-timeout", 0x0e, 0),
    ("odd-grow", 0x10, 0),
];

impl Deed {
    /// The error of the fence, zero for none.
    fn ends(self) -> i32 {
        match self {
            Self::Endless => ETIMEDOUT,
            Self::SoftStore => 0,
            Self::Firmware(number) => FIRMWARE
                .iter()
                .find(|(_, kind, _)| *kind == number)
                .map_or(0, |(_, _, error)| *error),
            _ => EIO,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Firmware(number) => FIRMWARE
                .iter()
                .find(|(_, kind, _)| *kind == number)
                .map_or_else(|| number.to_string(), |(name, ..)| (*name).to_owned()),
            other => format!("{other:?}"),
        }
    }

    /// The kinds one after the other.
    fn nth(number: usize) -> Self {
        let firmware = || {
            let (_, kind, _) = FIRMWARE[(number - BY_THEMSELVES.len()) % FIRMWARE.len()];
            Self::Firmware(kind)
        };
        BY_THEMSELVES.get(number).copied().unwrap_or_else(firmware)
    }

    /// A random one. Those that take seconds are rare.
    fn any(rng: &mut Rng, on_demand: bool) -> Self {
        match rng.below(if on_demand { 40 } else { 20 }) {
            0 if on_demand => Self::Endless,
            0 => Self::NoStream,
            1..4 => Self::NoStream,
            4..6 => Self::HiddenStream,
            6..9 => Self::LinkToNowhere,
            9..12 => Self::NoState,
            12..15 => Self::NoProgram,
            15..18 => Self::NoUniforms,
            18..20 => Self::SoftStore,
            20 => Self::Firmware(0x06),
            _ => loop {
                let (_, kind, _) = FIRMWARE[rng.below(FIRMWARE.len() as u64) as usize];
                if kind != 0x06 {
                    break Self::Firmware(kind);
                }
            },
        }
    }
}

/// Who does it.
struct Culprit<'a> {
    vm: &'a Vm<'a>,
    gpu: Gpu<'a>,
    /// What does no harm.
    good: CmdCompute,
    _memory: Vec<Bo<'a>>,
}

impl<'a> Culprit<'a> {
    fn new(vm: &'a Vm<'a>) -> Result<Self> {
        let mut gpu = Gpu::new(vm)?;
        let hidden = vm.device.bo(PAGE, 0, 0)?;
        vm.bind(BindOp {
            flags: BIND_WRITE,
            handle: hidden.handle,
            offset: 0,
            range: PAGE,
            addr: WRITE_ONLY,
        })
        .context("VM_BIND")?;
        // What would be a good stream, were it to be read.
        hidden.mmap()?.write(0, 2 << 29);
        let zeroes = vm.device.bo(PAGE, 0, 0)?;
        vm.map(&zeroes, FLAG)?;
        let table = zeroes.mmap()?;
        table.write(PAGE as usize / 2, FLAG);
        table.write(PAGE as usize / 2 + 8, NOWHERE);
        Ok(Self {
            good: gpu.stream(&TERMINATE)?,
            vm,
            gpu,
            _memory: vec![hidden, zeroes],
        })
    }

    /// The command for a deed.
    fn command(&mut self, deed: Deed) -> Result<CmdCompute> {
        let gpu = &mut self.gpu;
        let stream = |base| CmdCompute {
            cdm_ctrl_stream_base: base,
            cdm_ctrl_stream_end: base + 8,
            ..Default::default()
        };
        let far = EXEC_BASE + (1 << 30);
        let state = match deed {
            Deed::NoStream => return Ok(stream(NOWHERE)),
            Deed::HiddenStream => return Ok(stream(WRITE_ONLY)),
            Deed::LinkToNowhere => {
                // CDM Stream Link.
                let link = 1 << 29 | NOWHERE >> 32 | NOWHERE << 32;
                return gpu.stream(&link.to_le_bytes());
            }
            Deed::Endless => return gpu.command(&[gpu::wait(FLAG)]),
            Deed::SoftStore => return gpu.command(&[gpu::moves(FLAG + PAGE / 2, 1)]),
            Deed::Firmware(number) => {
                return Ok(CmdCompute {
                    helper_data: ON_DEMAND | u64::from(number),
                    ..self.good
                });
            }
            Deed::NoState => (far - EXEC_BASE) as u32,
            Deed::NoProgram => gpu.state_of(far, FLAG)?,
            Deed::NoUniforms => {
                let code = gpu.program(Program::Moves)?;
                gpu.state_of(code, NOWHERE)?
            }
        };
        gpu.stream(&[gpu::launch_block(state, 32), TERMINATE.to_vec()].concat())
    }

    /// Does it on a queue of its own, and tells how the fence of the deed ended.
    fn guilty(&mut self, deed: Deed, priority: u32) -> Result<i32> {
        let bad = Commands::default().compute(&self.command(deed)?);
        let good = Commands::default().compute(&self.good);
        let device = self.vm.device;
        let queue = self.vm.queue_of(priority)?;
        let submit = |commands: &Commands| -> Result<OwnedFd, i32> {
            let done = device.syncobj().map_err(|_| -1)?;
            let result = queue.submit(commands, 0, &[done.binary()]);
            match errno(&result) {
                0 => done.export().map_err(|_| -1),
                error => Err(error),
            }
        };
        let [before, deeds, behind] = [&good, &bad, &good].map(submit);
        let fence = |file: Result<OwnedFd, i32>, what| match file {
            Ok(file) => outcome(&file).context(what),
            Err(error) => bail!("{what}: SUBMIT gives {error}"),
        };
        let ended = fence(before, "the job before")?;
        ensure!(ended == 0, "the job before it ended with {ended}");
        let ended = fence(deeds, "the job itself")?;
        if ended == 0 {
            ensure!(
                fence(behind, "the job behind")? == 0,
                "the job behind a good one fails"
            );
            ensure!(submit(&good).is_ok(), "a good queue refuses more work");
            return Ok(0);
        }
        // It may have been refused, if all was over by then. What the firmware had already may run.
        let behind = behind.map_or_else(Ok, |file| outcome(&file))?;
        ensure!(
            matches!(behind, 0 | ECANCELED | EIO),
            "the job behind it ended with {behind}"
        );
        let refused = submit(&good).err();
        ensure!(
            refused == Some(EIO),
            "the queue that failed answers {refused:?}"
        );
        Ok(ended)
    }
}

/// What an innocent client has to tell.
#[derive(Default)]
struct Tally {
    well: u64,
    cancelled: u64,
    longest: Duration,
}

/// A client that computes, with so many jobs in flight, until it is told to end.
fn innocent(link: &mut Link, seed: u64, depth: u64, priority: u32) -> Result<()> {
    let device = Device::open()?;
    let vm = device.vm()?;
    let mut gpu = Gpu::new(&vm)?;
    let queue = vm.queue_of(priority)?;
    let mut works = (0..depth)
        .map(|n| Sums::new(&vm, &mut gpu, HEAP + n * Sums::PAGES * PAGE, seed + n))
        .collect::<Result<Vec<_>>>()?;
    let mut tally = Tally::default();
    let mut told = false;
    // When all is over, some more must go well.
    let mut last = 3;
    while last > 0 {
        let start = Instant::now();
        let cancelled = tally.cancelled;
        let started = works
            .iter_mut()
            .map(|work| work.start(&queue))
            .collect::<Result<Vec<_>>>()?;
        for (work, started) in works.iter().zip(&started) {
            match work.finish(started)? {
                Ended::Well => tally.well += 1,
                Ended::Failed(ECANCELED) => tally.cancelled += 1,
                other => bail!("after {} good rounds: {other:?}", tally.well),
            }
        }
        tally.longest = tally.longest.max(start.elapsed());
        if !told && tally.well > 0 {
            link.say("works")?;
            told = true;
        }
        if link.has_come()? {
            ensure!(
                last == 3 || tally.cancelled == cancelled,
                "cancelled without a fault"
            );
            last -= 1;
        }
    }
    link.say(&format!(
        "{} {} {}",
        tally.well,
        tally.cancelled,
        tally.longest.as_millis()
    ))
}

/// Does so many deeds, either at random or each kind some times in a row.
fn faults(count: usize, all_kinds: bool, in_a_row: Option<usize>) -> Result<()> {
    let mut rng = rng();
    let mut innocents = Vec::new();
    for (depth, priority) in INNOCENTS {
        let seed = rng.next();
        let name = format!("innocent of {depth} at priority {priority}");
        innocents.push(Child::start(&name, |link| {
            innocent(link, seed, depth, priority)
        })?);
    }
    for innocent in &mut innocents {
        innocent.expect("works", PATIENCE)?;
    }

    let mut on_demand = None;
    let mut kinds = BTreeMap::<String, u32>::new();
    let mut done = 0;
    let mut halts = 0;
    while done < count {
        // A client, some deeds long.
        let device = Device::open()?;
        let vm = device.vm()?;
        let mut culprit = Culprit::new(&vm)?;
        let on_demand = match on_demand {
            Some(known) => known,
            None => {
                let ended = culprit.guilty(Deed::Firmware(0x01), PRIORITY_MEDIUM)?;
                *on_demand.insert(ended != 0)
            }
        };
        ensure!(
            on_demand || !all_kinds,
            "the virtual AGX is to be started with --fault on-demand"
        );
        for _ in 0..(10 + rng.below(20)).min((count - done) as u64) {
            let deed = match in_a_row {
                Some(times) => Deed::nth(done / times),
                None => Deed::any(&mut rng, on_demand),
            };
            let start = Instant::now();
            let about = || format!("fault {done}, {}", deed.name());
            let priority = 1 + rng.below(2) as u32;
            let ended = culprit.guilty(deed, priority).with_context(about)?;
            ensure!(
                ended == deed.ends(),
                "{}: ended with {ended}, not {}",
                about(),
                deed.ends()
            );
            if start.elapsed() > Duration::from_secs(10) {
                println!("# {} took {:?}", about(), start.elapsed());
            }
            *kinds.entry(deed.name()).or_default() += 1;
            halts += u64::from(ended != 0);
            done += 1;
        }
    }
    println!("# {done} faults: {kinds:?}");
    for mut innocent in innocents {
        innocent.say("end")?;
        let said = innocent.hear(PATIENCE)?;
        println!("# {} well, cancelled, longest in ms: {said}", innocent.name);
        let numbers: Vec<u64> = said
            .split(' ')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .with_context(|| said.clone())?;
        let [well, cancelled, _] = numbers[..] else {
            bail!("{said}");
        };
        ensure!(
            well > 0 && cancelled <= halts,
            "more than one of each queue"
        );
        innocent.end(PATIENCE)?;
    }
    Ok(())
}

fn few(_: &Device) -> Result<()> {
    faults(12, false, None)
}

/// Each kind three times: what one of them leaves behind must not be found by the next one.
fn each(_: &Device) -> Result<()> {
    faults(3 * (BY_THEMSELVES.len() + FIRMWARE.len()), true, Some(3))
}

/// Two hundred faults of all kinds.
fn hundreds(_: &Device) -> Result<()> {
    faults(200, true, None)
}
