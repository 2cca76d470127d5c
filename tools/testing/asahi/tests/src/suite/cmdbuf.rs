// SPDX-License-Identifier: MIT OR Apache-2.0

//! Command buffers: how they are cut into commands, and what a command may be like.

use anyhow::{Context, Result, ensure};
use libc::{E2BIG, EINVAL, ENOENT};

use super::lab::Lab;
use crate::{
    device::{Bench, Commands, Device, HEAP, PAGE, bytes},
    runner::rng,
    uapi::*,
};

super::tests!(
    types,
    counts,
    sizes_of_compute,
    cut_anywhere,
    trailing_bytes,
    flags_of_compute,
    attachment_lists,
    attachment_fields,
    attachments_between,
    long_buffers,
    what_is_pointed_to_changes,
    random { limit: 120 },
);

/// Makes sure that a command buffer is refused.
fn refused(bench: &Bench<'_>, commands: &[u8], errno: i32, what: &str) -> Result<()> {
    let arg = bench.queue.submit_arg(commands, 0, &[]);
    bench.queue.device.refused(arg, errno, what)
}

/// Every type that there is not.
fn types(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    for cmd_type in (5..0x200)
        .chain((0..16).map(|bit| 1 << bit).filter(|t| *t > 4))
        .chain([0xffff])
    {
        for payload in [&[][..], bytes(&bench.nothing)] {
            let commands = Commands::default()
                .command(cmd_type, BARRIER_NONE, BARRIER_NONE, payload)
                .compute(&bench.nothing);
            refused(&bench, &commands.0, EINVAL, &format!("type {cmd_type}"))?;
        }
    }
    Ok(())
}

/// From one command to as many as there may be, and one more.
fn counts(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut lab = Lab::new(&vm)?;
    let bench = Bench::new(&vm)?;
    let max = device.params()?.max_commands_per_submission;
    ensure!(max >= 64, "{max} commands at most");
    refused(&bench, &[], EINVAL, "no commands")?;
    let mut commands = Commands::default();
    for count in 1..=max {
        commands = commands.compute(&bench.nothing);
        if count.is_power_of_two() || count + 1 >= max {
            bench
                .queue
                .run(&commands)
                .with_context(|| format!("{count} commands"))?;
        }
    }
    let (from, to) = (lab.word(1)?, lab.word(0)?);
    let last = lab.copy(from, to)?;
    let more = commands.clone().compute(&last);
    refused(&bench, &more.0, EINVAL, "one command too many")?;
    for _ in 0..100 {
        commands = commands.compute(&last);
    }
    refused(&bench, &commands.0, EINVAL, "far too many commands")?;
    bench
        .queue
        .run(&Commands::default().compute(&bench.nothing))?;
    ensure!(lab.get(to) == 0, "a command that was refused has run");
    Ok(())
}

/// What a shorter command lacks is zero, and what a longer one has more must be.
fn sizes_of_compute(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let whole = bytes(&bench.nothing).to_vec();
    let one = |payload: &[u8]| Commands::default().command(CMD_COMPUTE, 0, 0, payload);
    // Both ends of the control stream are needed.
    for size in 24..=whole.len() {
        bench
            .queue
            .run(&one(&whole[..size]))
            .with_context(|| format!("{size} bytes"))?;
    }
    for more in [1usize, 4, 8, 100, 4096, 0xffff - whole.len()] {
        let mut long = whole.clone();
        long.resize(whole.len() + more, 0);
        bench
            .queue
            .run(&one(&long))
            .with_context(|| format!("{more} zeroes more"))?;
        for at in [whole.len(), whole.len() + more / 2, whole.len() + more - 1] {
            let mut bad = long.clone();
            bad[at] = 1;
            refused(&bench, &one(&bad).0, E2BIG, &format!("something at {at}"))?;
        }
    }
    Ok(())
}

/// A buffer that ends in the middle of a command or of its header.
fn cut_anywhere(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let commands = Commands::default()
        .compute(&bench.nothing)
        .compute(&bench.nothing);
    let one = commands.0.len() / 2;
    for size in (0..commands.0.len()).filter(|size| *size != one) {
        refused(
            &bench,
            &commands.0[..size],
            EINVAL,
            &format!("{size} of {} bytes", commands.0.len()),
        )?;
    }
    bench.queue.run(&commands)
}

/// The last command is followed by nothing.
fn trailing_bytes(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    for more in 1..8 {
        let mut commands = Commands::default().compute(&bench.nothing);
        commands.0.extend(vec![0; more]);
        refused(&bench, &commands.0, EINVAL, &format!("{more} bytes more"))?;
    }
    Ok(())
}

/// There are no flags.
fn flags_of_compute(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    for bit in 0..32 {
        let bad = CmdCompute {
            flags: 1 << bit,
            ..bench.nothing
        };
        let commands = Commands::default().compute(&bad);
        refused(&bench, &commands.0, EINVAL, &format!("flag {bit}"))?;
    }
    Ok(())
}

const KINDS: [u16; 3] = [
    SET_VERTEX_ATTACHMENTS,
    SET_FRAGMENT_ATTACHMENTS,
    SET_COMPUTE_ATTACHMENTS,
];

fn attachment() -> Attachment {
    Attachment {
        pointer: HEAP,
        size: PAGE,
        ..Default::default()
    }
}

/// A list of attachments, followed by a command.
fn list(bench: &Bench<'_>, kind: u16, payload: &[u8]) -> Commands {
    Commands::default()
        .command(kind, BARRIER_NONE, BARRIER_NONE, payload)
        .compute(&bench.nothing)
}

/// As many attachments as there may be, and parts of one.
fn attachment_lists(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let max = device.params()?.max_attachments as usize;
    ensure!(max == 16, "{max} attachments at most");
    let payload = |count: usize| bytes(&attachment()).repeat(count);
    for kind in KINDS {
        for count in 0..=max {
            bench
                .queue
                .run(&list(&bench, kind, &payload(count)))
                .with_context(|| format!("{count} of kind {kind}"))?;
        }
        for count in [max + 1, 2 * max, 2000] {
            let commands = list(&bench, kind, &payload(count));
            refused(&bench, &commands.0, EINVAL, &format!("{count} attachments"))?;
        }
        for size in [1, 8, 16, 23, 25, 47] {
            let commands = list(&bench, kind, &payload(2)[..size]);
            refused(
                &bench,
                &commands.0,
                EINVAL,
                &format!("{size} bytes of them"),
            )?;
        }
    }
    Ok(())
}

/// Padding and flags of each attachment in a list.
fn attachment_fields(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    for kind in KINDS {
        for place in [0usize, 15] {
            for bit in 0..64 {
                let mut all = [attachment(); 16];
                match bit {
                    0..32 => all[place].pad = 1 << bit,
                    _ => all[place].flags = 1 << (bit - 32),
                }
                let payload: Vec<u8> = all.iter().flat_map(bytes).copied().collect();
                let commands = list(&bench, kind, &payload);
                refused(
                    &bench,
                    &commands.0,
                    EINVAL,
                    &format!("bit {bit} of {place}"),
                )?;
            }
        }
    }
    Ok(())
}

/// Lists may come between commands, and a later one replaces an earlier one.
fn attachments_between(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let payload = bytes(&attachment()).repeat(16);
    let mut commands = Commands::default();
    for _ in 0..64 {
        for kind in KINDS {
            commands = commands.command(kind, BARRIER_NONE, BARRIER_NONE, &payload);
        }
        commands = commands
            .command(SET_COMPUTE_ATTACHMENTS, BARRIER_NONE, BARRIER_NONE, &[])
            .compute(&bench.nothing);
    }
    bench.queue.run(&commands)?;
    // One at the end is of no use, and does no harm.
    let commands = Commands::default().compute(&bench.nothing).command(
        SET_COMPUTE_ATTACHMENTS,
        BARRIER_NONE,
        BARRIER_NONE,
        &payload,
    );
    bench.queue.run(&commands)
}

/// Buffers of megabytes are refused or done, in bounded time and memory.
fn long_buffers(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    for size in [1usize << 16, 1 << 20, 1 << 24] {
        // Nothing but attachments, which do not count as commands.
        let mut commands = Commands::default();
        while commands.0.len() < size {
            commands = commands.command(
                SET_COMPUTE_ATTACHMENTS,
                BARRIER_NONE,
                BARRIER_NONE,
                &bytes(&attachment()).repeat(16),
            );
        }
        let only = bench.queue.submit_arg(&commands.0, 0, &[]);
        ensure!(
            device.ioctl(&mut only.clone()).is_err(),
            "{size} bytes without a command"
        );
    }
    bench
        .queue
        .run(&Commands::default().compute(&bench.nothing))
}

/// The buffer is read once: what another thread writes to it meanwhile is seen or not, but whole.
fn what_is_pointed_to_changes(device: &Device) -> Result<()> {
    use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let mut commands = Commands::default();
    for _ in 0..8 {
        commands = commands.compute(&bench.nothing);
    }
    let mut words: Vec<AtomicU16> = commands
        .0
        .chunks(2)
        .map(|pair| AtomicU16::new(u16::from_le_bytes([pair[0], pair[1]])))
        .collect();
    // The size and type of a command in the middle.
    let header = 4 * (commands.0.len() / 8) / 2;
    let over = AtomicBool::new(false);
    let arg = Submit {
        cmdbuf: words.as_mut_ptr() as u64,
        ..bench.queue.submit_arg(&commands.0, 0, &[])
    };
    std::thread::scope(|scope| -> Result<()> {
        scope.spawn(|| {
            let mut size = 0u16;
            while !over.load(Ordering::Relaxed) {
                words[header].store(
                    if size.is_multiple_of(3) {
                        CMD_COMPUTE
                    } else {
                        7
                    },
                    Ordering::Relaxed,
                );
                words[header + 1].store(
                    if size.is_multiple_of(2) { 64 } else { size },
                    Ordering::Relaxed,
                );
                size = size.wrapping_add(1);
            }
            words[header].store(CMD_COMPUTE, Ordering::Relaxed);
            words[header + 1].store(64, Ordering::Relaxed);
        });
        let mut result = Ok(());
        for _ in 0..crate::runner::rounds(400) {
            match device.ioctl(&mut arg.clone()) {
                Ok(()) => {}
                Err(e) if matches!(e.raw_os_error(), Some(EINVAL | E2BIG)) => {}
                Err(e) => result = Err(e.into()),
            }
        }
        over.store(true, Ordering::Relaxed);
        result
    })?;
    bench.queue.run(&commands)
}

/// Buffers that are nearly right. What the GPU would do is not of interest, so nothing of it gets there:
/// the last command is always a bad one.
fn random(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let bench = Bench::new(&vm)?;
    let mut rng = rng();
    for _ in 0..crate::runner::rounds(2000) {
        let mut commands = Commands::default();
        for _ in 0..rng.below(6) {
            let kind = rng.below(6) as u16;
            let size = match rng.below(3) {
                0 => 64,
                1 => 24 * rng.below(18) as usize,
                _ => rng.below(300) as usize,
            };
            let payload: Vec<u8> = (0..size)
                .map(|_| {
                    if rng.below(8) == 0 {
                        rng.next() as u8
                    } else {
                        0
                    }
                })
                .collect();
            let barrier = |n: u64| if n < 2 { BARRIER_NONE } else { n as u16 - 2 };
            let (vdm, cdm) = (barrier(rng.below(4)), barrier(rng.below(5)));
            commands = commands.command(kind, vdm, cdm, &payload);
        }
        commands = commands.command(0x7777, 0, 0, &[]);
        // A size that is spoilt may swallow the last command; then there is still a sync object that
        // does not exist.
        let nobody = [Sync {
            handle: 0x1234,
            ..Default::default()
        }];
        let mut syncs = &nobody[..0];
        if rng.below(4) == 0 {
            let at = rng.below(commands.0.len() as u64) as usize;
            commands.0[at] = rng.next() as u8;
            syncs = &nobody;
        }
        let result = device.ioctl(&mut bench.queue.submit_arg(&commands.0, 0, syncs));
        let errno = result.as_ref().err().and_then(std::io::Error::raw_os_error);
        ensure!(
            matches!(errno, Some(EINVAL | E2BIG | ENOENT)),
            "{result:?} for {:x?}",
            commands.0
        );
    }
    bench
        .queue
        .run(&Commands::default().compute(&bench.nothing))
}
