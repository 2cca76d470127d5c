// SPDX-License-Identifier: MIT OR Apache-2.0

//! Jobs that fault, and what others notice of it: who waits, who is behind, who only computes beside it.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use libc::{ECANCELED, EIO, ETIMEDOUT};

use super::{
    lab::Lab,
    parallel::{LIMIT, child},
};
use crate::{
    device::{Bench, Commands, Device, HEAP, Queue, Syncobj},
    gpu::{EXEC_BASE, launch_block},
    runner::wait,
    uapi::*,
};

super::tests!(
    unmapped_stream,
    unmapped_state,
    unmapped_program,
    stopped_queue,
    behind_a_fault,
    waits_for_a_fault,
    another_file,
    same_space,
    dies_of_it,
    endless {
        limit: 120,
        heavy: true
    },
    leaves_an_endless_job {
        limit: 120,
        heavy: true
    },
);

/// Where there is nothing.
const NOWHERE: u64 = HEAP + 0x1000_0000;

/// A client in a process of its own that computes until it is told to end, and counts.
pub struct Innocent {
    pid: i32,
    link: File,
    said: File,
}

impl Innocent {
    pub fn start() -> Result<Self> {
        let pipe = || -> Result<(OwnedFd, OwnedFd)> {
            let mut ends = [0; 2];
            // SAFETY: The kernel writes two descriptors, which are ours then.
            unsafe {
                ensure!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) == 0, "pipe");
                Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
            }
        };
        let (told, tell) = pipe()?;
        let (hear, say) = pipe()?;
        let ends = [tell.as_raw_fd(), hear.as_raw_fd()];
        let pid = child(|| {
            // The parent's ends.
            // SAFETY: Nothing in this process uses them.
            unsafe {
                libc::close(ends[0]);
                libc::close(ends[1]);
            }
            Self::compute(File::from(told), File::from(say))
        })?;
        let mut this = Self {
            pid,
            link: File::from(tell),
            said: File::from(hear),
        };
        let mut begun = [0];
        this.said
            .read_exact(&mut begun)
            .context("an innocent client has not begun")?;
        Ok(this)
    }

    /// Copies words along a chain, again and again. A job that was on the GPU when somebody else's
    /// faulted may be lost; nothing else may.
    fn compute(mut told: File, mut say: File) -> Result<()> {
        // SAFETY: The descriptor is ours.
        unsafe { libc::fcntl(told.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        let device = Device::open()?;
        let vm = device.vm()?;
        let mut lab = Lab::new(&vm)?;
        let words: Vec<_> = (0..9).map(|_| lab.word(0)).collect::<Result<_>>()?;
        let mut commands = Commands::default();
        for pair in words.windows(2) {
            commands = commands.compute(&lab.copy(pair[0], pair[1])?);
        }
        let done = device.syncobj()?;
        let (mut well, mut lost) = (0u32, 0u32);
        let mut last = false;
        for round in 1.. {
            for word in &words {
                lab.set(*word, 0);
            }
            lab.set(words[0], round);
            lab.queue
                .submit(&commands, 0, &[done.binary()])
                .with_context(|| format!("an innocent's queue, after {well} rounds"))?;
            match -done.outcome()? {
                0 => {
                    ensure!(lab.get(words[8]) == round, "round {round} is wrong");
                    well += 1;
                    if well == 1 {
                        say.write_all(&[1])?;
                    }
                    // After the last fault, one more round has to go well.
                    if last {
                        break;
                    }
                }
                ECANCELED => lost += 1,
                other => bail!("an innocent's job has failed with {other}"),
            }
            last |= matches!(told.read(&mut [0]), Ok(1));
        }
        say.write_all(&lost.to_le_bytes())?;
        Ok(())
    }

    /// Ends it; as many faults as that may have cost it a job each.
    pub fn end(mut self, faults: u32) -> Result<()> {
        self.link.write_all(&[1])?;
        let status = wait(self.pid, LIMIT)?.context("an innocent client does not end")?;
        ensure!(status == 0, "an innocent client has failed: {status:#x}");
        let mut lost = [0; 4];
        self.said.read_exact(&mut lost)?;
        let lost = u32::from_le_bytes(lost);
        ensure!(lost <= faults, "{lost} jobs lost by {faults} faults");
        Ok(())
    }
}

/// Submits something bad on a queue of its own, checks how it ends, and that the queue stops or not.
pub fn guilty(lab: &Lab<'_>, queue: &Queue<'_>, bad: &CmdCompute, error: i32) -> Result<()> {
    let device = queue.device;
    let bad = Commands::default().compute(bad);
    let done = device.syncobj()?;
    let start = Instant::now();
    queue.submit(&bad, 0, &[done.binary()]).context("SUBMIT")?;
    let outcome = -done.outcome()?;
    ensure!(outcome == error, "the fence has {outcome}, not {error}");
    if start.elapsed() > Duration::from_secs(5) {
        println!("# it took {:?}", start.elapsed());
    }
    let nothing = Commands::default().compute(&lab.nothing);
    match error {
        0 => queue.run(&nothing),
        _ => device.refused(
            queue.submit_arg(&nothing.0, 0, &[]),
            EIO,
            "a queue that has stopped",
        ),
    }
}

/// The same with an innocent client beside it.
fn beside(
    device: &Device,
    bad: impl FnOnce(&mut Lab<'_>) -> Result<CmdCompute>,
    error: i32,
) -> Result<()> {
    let innocent = Innocent::start()?;
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let bad = bad(&mut lab)?;
    let queue = vm.queue()?;
    guilty(&lab, &queue, &bad, error)?;
    // The client itself may go on with another queue.
    lab.queue.run(&Commands::default().compute(&lab.nothing))?;
    innocent.end(1)
}

fn stream(base: u64) -> CmdCompute {
    CmdCompute {
        cdm_ctrl_stream_base: base,
        cdm_ctrl_stream_end: base + 8,
        ..Default::default()
    }
}

/// The control stream is not there.
fn unmapped_stream(device: &Device) -> Result<()> {
    beside(device, |_| Ok(stream(NOWHERE)), EIO)
}

/// The state words of a launch are not there.
fn unmapped_state(device: &Device) -> Result<()> {
    beside(
        device,
        |lab| {
            lab.gpu.stream(
                &[
                    launch_block(1 << 30, 32),
                    u64::to_le_bytes(2 << 29).to_vec(),
                ]
                .concat(),
            )
        },
        EIO,
    )
}

/// The program is not there.
fn unmapped_program(device: &Device) -> Result<()> {
    beside(
        device,
        |lab| {
            let word = lab.word(0)?;
            let state = lab.gpu.state_of(EXEC_BASE + (1 << 30), word.address())?;
            lab.gpu
                .stream(&[launch_block(state, 32), u64::to_le_bytes(2 << 29).to_vec()].concat())
        },
        EIO,
    )
}

/// A queue that has stopped stays so, and goes when it is destroyed.
fn stopped_queue(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let lab = Lab::new(&vm)?;
    let nothing = Commands::default().compute(&lab.nothing);
    for _ in 0..3 {
        let queue = vm.queue()?;
        guilty(&lab, &queue, &stream(NOWHERE), EIO)?;
        for _ in 0..3 {
            device.refused(queue.submit_arg(&nothing.0, 0, &[]), EIO, "it has stopped")?;
        }
        // Whatever else is wrong is told first, or it is not; it is refused in any case.
        let mut arg = queue.submit_arg(&nothing.0, 0, &[]);
        arg.pad = 1;
        ensure!(device.ioctl(&mut arg).is_err());
        queue.destroy();
        lab.queue.run(&nothing)?;
    }
    Ok(())
}

/// All that is behind a fault in its queue ends, and tells the truth about how.
fn behind_a_fault(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let (gate, open) = lab.gate()?;
    let (from, to) = (lab.word(1)?, lab.word(0)?);
    let copy = Commands::default().compute(&lab.copy(from, to)?);
    let queue = vm.queue()?;
    let held = device.syncobj()?;
    lab.queue
        .submit(&Commands::default().compute(&gate), 0, &[held.binary()])?;
    // None of these begins before the gate opens.
    let bad = device.syncobj()?;
    let faulty = Commands::default().compute(&stream(NOWHERE));
    queue.submit(&faulty, 1, &[held.binary(), bad.binary()])?;
    let behind: Vec<Syncobj<'_>> = (0..5).map(|_| device.syncobj()).collect::<Result<_>>()?;
    for done in &behind {
        queue.submit(&copy, 0, &[done.binary()])?;
    }
    lab.set(open, 1);
    let outcome = -bad.outcome()?;
    ensure!(outcome == EIO, "the fault's fence has {outcome}");
    // What the firmware has taken already it may still do.
    let mut ran = false;
    for (number, done) in behind.iter().enumerate() {
        let outcome = -done.outcome()?;
        ran |= outcome == 0;
        ensure!(
            matches!(outcome, 0 | ECANCELED | EIO),
            "number {number} behind the fault has {outcome}"
        );
    }
    ensure!(
        !ran || lab.get(to) == 1,
        "what was behind the fault has not run, and says that it has"
    );
    device.refused(
        queue.submit_arg(&copy.0, 0, &[]),
        EIO,
        "a queue that has stopped",
    )?;
    ensure!(held.outcome()? == 0);
    Ok(())
}

/// A submission that waits for one which fails gets done in bounded time, and its queue goes on.
fn waits_for_a_fault(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let word = lab.word(1)?;
    let copy = Commands::default().compute(&lab.copy(word, word)?);
    let queue = vm.queue()?;
    let (bad, after) = (device.syncobj()?, device.syncobj()?);
    let faulty = Commands::default().compute(&stream(NOWHERE));
    queue.submit(&faulty, 0, &[bad.binary()])?;
    lab.queue
        .submit(&copy, 1, &[bad.binary(), after.binary()])?;
    after.wait()?;
    ensure!(-bad.outcome()? == EIO);
    lab.queue.run(&copy)
}

/// Another client's queue only notices, at most, that a running job is gone.
fn another_file(device: &Device) -> Result<()> {
    let innocents = [Innocent::start()?, Innocent::start()?];
    let vm = device.vm()?;
    let lab = Lab::new(&vm)?;
    for _ in 0..6 {
        let queue = vm.queue()?;
        guilty(&lab, &queue, &stream(NOWHERE), EIO)?;
    }
    for innocent in innocents {
        innocent.end(6)?;
    }
    Ok(())
}

/// So does another queue of the same address space.
fn same_space(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let (from, to) = (lab.word(3)?, lab.word(0)?);
    let copy = Commands::default().compute(&lab.copy(from, to)?);
    let bench = Bench::new(&vm)?;
    let innocent = vm.queue()?;
    let done = device.syncobj()?;
    for _ in 0..3 {
        let queue = vm.queue()?;
        guilty(&lab, &queue, &stream(NOWHERE), EIO)?;
        lab.set(to, 0);
        innocent.run(&copy)?;
        ensure!(lab.get(to) == 3);
    }
    bench.queue.submit(
        &Commands::default().compute(&bench.nothing),
        0,
        &[done.binary()],
    )?;
    ensure!(done.outcome()? == 0);
    Ok(())
}

/// A client that goes at once after its faulty submission.
fn dies_of_it(device: &Device) -> Result<()> {
    let innocent = Innocent::start()?;
    for _ in 0..4 {
        let pid = child(|| {
            let own = Device::open()?;
            let vm = own.vm()?;
            let queue = vm.queue()?;
            let faulty = Commands::default().compute(&stream(NOWHERE));
            for _ in 0..3 {
                // The second may come after the queue has stopped.
                if queue.submit(&faulty, 0, &[]).is_err() {
                    break;
                }
            }
            std::mem::forget(queue);
            std::mem::forget(vm);
            std::mem::forget(own);
            Ok(())
        })?;
        let status = wait(pid, LIMIT)?.context("the client does not end")?;
        ensure!(status == 0);
    }
    let vm = device.vm()?;
    let lab = Lab::new(&vm)?;
    // What was cancelled here was cancelled for one of these faults.
    let done = device.syncobj()?;
    let nothing = Commands::default().compute(&lab.nothing);
    for _ in 0..20 {
        lab.queue.submit(&nothing, 0, &[done.binary()])?;
        if done.outcome()? == 0 {
            return innocent.end(12);
        }
    }
    bail!("nothing goes well any more")
}

/// A job that does not end is ended, by the firmware or by the driver.
fn endless(device: &Device) -> Result<()> {
    let innocent = Innocent::start()?;
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let (gate, _) = lab.gate()?;
    let queue = vm.queue()?;
    guilty(&lab, &queue, &gate, ETIMEDOUT)?;
    lab.queue.run(&Commands::default().compute(&lab.nothing))?;
    innocent.end(1)
}

/// A client that goes while its job does not end.
fn leaves_an_endless_job(device: &Device) -> Result<()> {
    let pid = child(|| {
        let own = Device::open()?;
        let vm = own.vm()?;
        let mut lab = Lab::new(&vm)?;
        let (gate, _) = lab.gate()?;
        let commands = Commands::default().compute(&gate);
        // One on the GPU and one behind it. Both are ended by the firmware, after its time limit each, and the tests that
        // follow have to wait for that: the limit of their own jobs must not be over before.
        for _ in 0..2 {
            lab.queue.submit(&commands, 0, &[])?;
        }
        std::thread::sleep(Duration::from_millis(200));
        // What is dropped would be let go.
        std::mem::forget(lab);
        Ok(())
    })?;
    let status = wait(pid, LIMIT)?.context("the client does not end")?;
    ensure!(status == 0);
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let done = device.syncobj()?;
    let nothing = Commands::default().compute(&bench.nothing);
    for _ in 0..5 {
        bench.queue.submit(&nothing, 0, &[done.binary()])?;
        if done.outcome()? == 0 {
            return Ok(());
        }
    }
    bail!("nothing goes well any more")
}
