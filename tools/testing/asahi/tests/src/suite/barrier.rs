// SPDX-License-Identifier: MIT OR Apache-2.0

//! Barriers between commands, shown by what the GPU leaves in memory.

use anyhow::{Result, ensure};
use libc::EINVAL;

use super::lab::{Lab, Stamps};
use crate::{
    device::{Bench, Commands, Device, bytes},
    uapi::*,
};

super::tests!(
    numbers,
    attachments_have_none,
    chain,
    chain_over_submissions,
    over_queues,
    none,
    sixty_four,
);

fn compute(commands: Commands, vdm: u16, cdm: u16, command: &CmdCompute) -> Commands {
    commands.command(CMD_COMPUTE, vdm, cdm, bytes(command))
}

/// Which commands there are to wait for: those before, of the subqueue, in the submission.
fn numbers(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let mut before = Commands::default();
    for count in 0..4u16 {
        for (vdm, cdm, good) in [
            (0, 0, true),
            (BARRIER_NONE, BARRIER_NONE, true),
            (0, BARRIER_NONE, true),
            (BARRIER_NONE, 0, true),
            (0, count, true),
            (0, 1, count >= 1),
            (0, count + 1, false),
            (0, count + 2, false),
            (0, 64, false),
            (0, 0x7fff, false),
            (0, 0xfffe, false),
            // There are no render commands.
            (1, 0, false),
            (count + 1, 0, false),
            (0xfffe, 0, false),
        ] {
            let commands = compute(before.clone(), vdm, cdm, &bench.nothing);
            if good {
                bench.queue.run(&commands)?;
            } else {
                let arg = bench.queue.submit_arg(&commands.0, 0, &[]);
                let what = format!("barriers {vdm:#x}, {cdm:#x} after {count} commands");
                device.refused(arg, EINVAL, &what)?;
            }
        }
        before = compute(before, 0, 0, &bench.nothing);
    }
    Ok(())
}

/// Commands that only set attachments wait for nothing, and nothing waits for them.
fn attachments_have_none(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    for kind in [
        SET_VERTEX_ATTACHMENTS,
        SET_FRAGMENT_ATTACHMENTS,
        SET_COMPUTE_ATTACHMENTS,
    ] {
        for (vdm, cdm) in [(0, BARRIER_NONE), (BARRIER_NONE, 0), (0, 0), (1, 1)] {
            let commands = Commands::default().command(kind, vdm, cdm, &[]);
            let commands = commands.compute(&bench.nothing);
            let arg = bench.queue.submit_arg(&commands.0, 0, &[]);
            device.refused(arg, EINVAL, &format!("{kind} with {vdm:#x}, {cdm:#x}"))?;
        }
        // They do not count.
        let commands = Commands::default().command(kind, BARRIER_NONE, BARRIER_NONE, &[]);
        let commands = compute(commands, 0, 1, &bench.nothing);
        let arg = bench.queue.submit_arg(&commands.0, 0, &[]);
        device.refused(arg, EINVAL, &format!("waiting for {kind}"))?;
        let alone = Commands::default().command(kind, BARRIER_NONE, BARRIER_NONE, &[]);
        let arg = bench.queue.submit_arg(&alone.0, 0, &[]);
        device.refused(arg, EINVAL, &format!("nothing but {kind}"))?;
    }
    Ok(())
}

/// Each command copies what the one before has left.
fn chain(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let words: Vec<_> = (0..9)
        .map(|i| lab.word(if i == 0 { 0x5eed } else { 0 }))
        .collect::<Result<_>>()?;
    let copies: Vec<_> = words
        .windows(2)
        .map(|pair| lab.copy(pair[0], pair[1]))
        .collect::<Result<_>>()?;
    let mut commands = Commands::default();
    for (count, copy) in (0..).zip(&copies) {
        commands = compute(commands, BARRIER_NONE, count, copy);
    }
    lab.queue.run(&commands)?;
    let left: Vec<u32> = words.iter().map(|word| lab.get(*word)).collect();
    ensure!(left.iter().all(|&value| value == 0x5eed), "{left:x?}");
    Ok(())
}

/// The same with a submission for each, which are not waited for.
fn chain_over_submissions(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let words: Vec<_> = (0..21)
        .map(|i| lab.word(if i == 0 { 0xfeed } else { 0 }))
        .collect::<Result<_>>()?;
    let copies: Vec<_> = words
        .windows(2)
        .map(|pair| lab.copy(pair[0], pair[1]))
        .collect::<Result<_>>()?;
    let done = device.syncobj()?;
    for copy in &copies {
        let commands = compute(Commands::default(), 0, 0, copy);
        lab.queue.submit(&commands, 0, &[done.binary()])?;
    }
    ensure!(done.outcome()? == 0);
    ensure!(lab.get(words[20]) == 0xfeed, "the chain is broken");
    Ok(())
}

/// Barriers are within a queue: what another one does is none of theirs.
fn over_queues(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let second = vm.queue()?;
    let (from, to) = (lab.word(9)?, lab.word(0)?);
    let copy = compute(Commands::default(), 0, 0, &lab.copy(from, to)?);
    let (ready, done) = (device.syncobj()?, device.syncobj()?);
    let (gate, open) = lab.gate()?;
    lab.queue.submit(
        &compute(Commands::default(), 0, 0, &gate),
        0,
        &[ready.binary()],
    )?;
    // The second queue has nothing before it, and is free to be done at any time.
    second.submit(&copy, 0, &[done.binary()])?;
    lab.set(open, 1);
    ensure!(done.outcome()? == 0 && ready.outcome()? == 0);
    ensure!(lab.get(to) == 9);
    Ok(())
}

/// Without barriers all gets done, in whatever order.
fn none(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let from = lab.word(3)?;
    let to: Vec<_> = (0..16).map(|_| lab.word(0)).collect::<Result<_>>()?;
    let mut commands = Commands::default();
    for &to in &to {
        let copy = lab.copy(from, to)?;
        commands = compute(commands, BARRIER_NONE, BARRIER_NONE, &copy);
    }
    lab.queue.run(&commands)?;
    ensure!(to.iter().all(|&word| lab.get(word) == 3));
    Ok(())
}

/// As many commands as there may be, each waiting for all before it, with its timestamps.
fn sixty_four(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let stamps = Stamps::new(&vm, 1)?;
    let max = device.params()?.max_commands_per_submission;
    let words: Vec<_> = (0..=max)
        .map(|i| lab.word(if i == 0 { 0xacc } else { 0 }))
        .collect::<Result<_>>()?;
    let mut commands = Commands::default();
    for (number, pair) in (0u32..).zip(words.windows(2)) {
        let mut copy = lab.copy(pair[0], pair[1])?;
        copy.ts_start = stamps.at(2 * number);
        copy.ts_end = stamps.at(2 * number + 1);
        commands = compute(commands, 0, number as u16, &copy);
    }
    lab.queue.run(&commands)?;
    ensure!(lab.get(words[max as usize]) == 0xacc, "the chain is broken");
    for number in 1..max {
        let (end, start) = (stamps.read(2 * number - 1), stamps.read(2 * number));
        ensure!(end != 0 && end <= start, "command {number} did not wait");
    }
    Ok(())
}
