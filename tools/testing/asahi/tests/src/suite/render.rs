// SPDX-License-Identifier: MIT OR Apache-2.0

//! Render commands, and how they and compute commands wait for each other. What is drawn is nothing; it
//! is when and whether that counts here.

use anyhow::{Context, Result, ensure};
use libc::{E2BIG, EINVAL, ENOENT};

use super::lab::{A_WHILE, Lab, Stamps, until};
use crate::{
    device::{Bo, Commands, Device, HEAP, PAGE, Vm, bytes},
    uapi::*,
};

super::tests!(
    empty,
    flags,
    samples,
    dimensions,
    utiles,
    sizes,
    stamps,
    bad_stamps,
    attachments,
    many,
    barrier_numbers,
    compute_waits_for_render,
    render_waits_for_compute,
    render_waits_within,
    subqueues_overlap,
    no_barrier_in_between,
    unmapped_stream,
    grows,
);

/// Where the control stream is.
const STREAM: u64 = HEAP + 0x2_0000 * PAGE;

/// What renders are made with.
struct Easel<'a> {
    lab: Lab<'a>,
    nothing: CmdRender,
    _stream: Bo<'a>,
}

impl<'a> Easel<'a> {
    fn new(vm: &'a Vm<'a>) -> Result<Self> {
        let stream = vm.device.bo(PAGE, GEM_WRITEBACK, 0)?;
        vm.map(&stream, STREAM)?;
        // One block: VDM Stream Terminate (Mesa, src/asahi/genxml/cmdbuf.xml).
        stream.mmap()?.write(0, 6 << 29);
        Ok(Self {
            lab: Lab::new(vm)?,
            // The registers are as Mesa has them for one sample and nothing in depth and stencil
            // (src/gallium/drivers/asahi/agx_pipe.c and agx_state.c).
            nothing: CmdRender {
                vdm_ctrl_stream_base: STREAM,
                ppp_multisamplectl: 0x88,
                ppp_ctrl: 0x202,
                width_px: 64,
                height_px: 64,
                layers: 1,
                samples: 1,
                sample_size_b: 4,
                utile_width_px: 32,
                utile_height_px: 32,
                isp_merge_upper_x: 110.85_f32.to_bits(),
                isp_merge_upper_y: 110.85_f32.to_bits(),
                ..Default::default()
            },
            _stream: stream,
        })
    }

    fn refused(&self, render: &CmdRender, errno: i32, what: &str) -> Result<()> {
        let commands = render_of(Commands::default(), 0, 0, render);
        let arg = self.lab.queue.submit_arg(&commands.0, 0, &[]);
        self.lab.queue.device.refused(arg, errno, what)
    }

    fn run(&self, render: &CmdRender) -> Result<()> {
        self.lab
            .queue
            .run(&render_of(Commands::default(), 0, 0, render))
    }
}

fn render_of(commands: Commands, vdm: u16, cdm: u16, render: &CmdRender) -> Commands {
    commands.command(CMD_RENDER, vdm, cdm, bytes(render))
}

fn compute_of(commands: Commands, vdm: u16, cdm: u16, compute: &CmdCompute) -> Commands {
    commands.command(CMD_COMPUTE, vdm, cdm, bytes(compute))
}

fn empty(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let easel = Easel::new(&vm)?;
    for _ in 0..3 {
        easel.run(&easel.nothing)?;
    }
    Ok(())
}

/// The flags that there are, and those that there are not.
fn flags(device: &Device) -> Result<()> {
    const KNOWN: u32 = RENDER_VERTEX_SCRATCH
        | RENDER_PROCESS_EMPTY_TILES
        | RENDER_NO_VERTEX_CLUSTERING
        | RENDER_DBIAS_IS_INT;
    let vm = device.vm()?;
    let easel = Easel::new(&vm)?;
    for bit in 0..32 {
        let render = CmdRender {
            flags: 1 << bit,
            ..easel.nothing
        };
        match KNOWN >> bit & 1 {
            0 => easel.refused(&render, EINVAL, &format!("flag {bit}"))?,
            _ => easel.run(&render).with_context(|| format!("flag {bit}"))?,
        }
    }
    Ok(())
}

/// "Must be 1, 2, or 4."
fn samples(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let easel = Easel::new(&vm)?;
    for samples in 0..=u8::MAX {
        let render = CmdRender {
            samples,
            // Mesa's agx_pack of PPP_MULTISAMPLECTL for that many.
            ppp_multisamplectl: match samples {
                2 => 0x44cc,
                4 => 0xeaa2_6e26,
                _ => 0x88,
            },
            ..easel.nothing
        };
        match samples {
            1 | 2 | 4 => easel
                .run(&render)
                .with_context(|| format!("{samples} samples"))?,
            _ => easel.refused(&render, EINVAL, &format!("{samples} samples"))?,
        }
    }
    Ok(())
}

fn dimensions(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let easel = Easel::new(&vm)?;
    for (width_px, height_px, layers, good) in [
        (1, 1, 1, true),
        (33, 1, 1, true),
        (1, 1000, 1, true),
        (1920, 1080, 1, true),
        (64, 64, 6, true),
        (0, 64, 1, false),
        (64, 0, 1, false),
        (64, 64, 0, false),
        (u16::MAX, 64, 1, false),
        (64, u16::MAX, 1, false),
        (u16::MAX, u16::MAX, u16::MAX, false),
    ] {
        let render = CmdRender {
            width_px,
            height_px,
            layers,
            ..easel.nothing
        };
        let what = format!("{width_px} x {height_px}, {layers} layers");
        match good {
            true => easel.run(&render).context(what)?,
            false => easel.refused(&render, EINVAL, &what)?,
        }
    }
    Ok(())
}

/// The tilebuffer has three shapes.
fn utiles(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let easel = Easel::new(&vm)?;
    for utile_width_px in [0, 1, 8, 16, 32, 64, 255] {
        for utile_height_px in [0, 1, 8, 16, 32, 64, 255] {
            let render = CmdRender {
                utile_width_px,
                utile_height_px,
                ..easel.nothing
            };
            let what = format!("{utile_width_px} x {utile_height_px}");
            match (utile_width_px, utile_height_px) {
                (32, 32) | (32, 16) | (16, 16) => easel.run(&render).context(what)?,
                _ => easel.refused(&render, EINVAL, &what)?,
            }
        }
    }
    Ok(())
}

/// Older and newer clients.
fn sizes(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let easel = Easel::new(&vm)?;
    let queue = &easel.lab.queue;
    let whole = bytes(&easel.nothing).to_vec();
    let one = |payload: &[u8]| Commands::default().command(CMD_RENDER, 0, 0, payload);
    // Without timestamps, and without what clears the depth buffer.
    for size in [whole.len() - 16, whole.len() - 32, whole.len() - 40] {
        queue
            .run(&one(&whole[..size]))
            .with_context(|| format!("{size} bytes"))?;
    }
    // Without dimensions.
    for size in [0, 8, 100, 144, 150] {
        let commands = one(&whole[..size]);
        let arg = queue.submit_arg(&commands.0, 0, &[]);
        device.refused(arg, EINVAL, &format!("{size} bytes"))?;
    }
    for more in [1, 8, 64, 4096] {
        let mut long = whole.clone();
        long.resize(whole.len() + more, 0);
        queue
            .run(&one(&long))
            .with_context(|| format!("{more} zeroes more"))?;
        *long.last_mut().context("it is not empty")? = 1;
        let commands = one(&long);
        let arg = queue.submit_arg(&commands.0, 0, &[]);
        device.refused(arg, E2BIG, &format!("{more} bytes more"))?;
    }
    Ok(())
}

/// A command with all four timestamps, from `first` on.
fn stamped(render: &CmdRender, stamps: &Stamps<'_>, first: u32) -> CmdRender {
    CmdRender {
        ts_vtx: Timestamps {
            start: stamps.at(first),
            end: stamps.at(first + 1),
        },
        ts_frag: Timestamps {
            start: stamps.at(first + 2),
            end: stamps.at(first + 3),
        },
        ..*render
    }
}

/// The vertex portion comes before the fragment portion.
fn stamps(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let easel = Easel::new(&vm)?;
    let stamps = Stamps::new(&vm, 1)?;
    for round in 0..4 {
        easel.run(&stamped(&easel.nothing, &stamps, round * 4))?;
    }
    let all: Vec<u64> = (0..16).map(|index| stamps.read(index)).collect();
    ensure!(all[0] != 0 && all.is_sorted(), "{all:?}");
    // Each for itself.
    for which in 0..4 {
        for index in 0..4 {
            stamps.map.write(index * 8, 0);
        }
        let mut render = easel.nothing;
        let place = match which {
            0 => &mut render.ts_vtx.start,
            1 => &mut render.ts_vtx.end,
            2 => &mut render.ts_frag.start,
            _ => &mut render.ts_frag.end,
        };
        *place = stamps.at(which);
        easel.run(&render)?;
        let written: Vec<u32> = (0..4).filter(|index| stamps.read(*index) != 0).collect();
        ensure!(written == [which], "asked for {which}: {written:?}");
    }
    Ok(())
}

fn bad_stamps(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let easel = Easel::new(&vm)?;
    let stamps = Stamps::new(&vm, 1)?;
    for which in 0..4 {
        for (handle, offset, errno) in [
            (0x1234, 0, ENOENT),
            (stamps.handle, 4, EINVAL),
            (stamps.handle, PAGE as u32, EINVAL),
            (stamps.handle, u32::MAX - 7, EINVAL),
        ] {
            let mut render = easel.nothing;
            let place = match which {
                0 => &mut render.ts_vtx.start,
                1 => &mut render.ts_vtx.end,
                2 => &mut render.ts_frag.start,
                _ => &mut render.ts_frag.end,
            };
            *place = Timestamp { handle, offset };
            easel.refused(&render, errno, &format!("{which}: {handle}, {offset}"))?;
        }
    }
    Ok(())
}

/// Lists of attachments go with the renders behind them.
fn attachments(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let easel = Easel::new(&vm)?;
    let attachment = Attachment {
        pointer: STREAM,
        size: PAGE,
        ..Default::default()
    };
    for count in [0, 1, 16] {
        let payload = bytes(&attachment).repeat(count);
        let mut commands = Commands::default();
        for kind in [SET_VERTEX_ATTACHMENTS, SET_FRAGMENT_ATTACHMENTS] {
            commands = commands.command(kind, BARRIER_NONE, BARRIER_NONE, &payload);
        }
        easel
            .lab
            .queue
            .run(&render_of(commands, 0, 0, &easel.nothing))?;
    }
    Ok(())
}

/// As many renders as there may be commands, and more than the ring holds.
fn many(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let easel = Easel::new(&vm)?;
    let max = device.params()?.max_commands_per_submission;
    let mut commands = Commands::default();
    for number in 0..max {
        commands = match number % 3 {
            0 | 1 => render_of(commands, 0, 0, &easel.nothing),
            _ => compute_of(commands, 0, 0, &easel.lab.nothing),
        };
    }
    easel.lab.queue.run(&commands)?;
    let more = render_of(commands, 0, 0, &easel.nothing);
    let arg = easel.lab.queue.submit_arg(&more.0, 0, &[]);
    device.refused(arg, EINVAL, "one command too many")?;
    let done = device.syncobj()?;
    let one = render_of(Commands::default(), 0, 0, &easel.nothing);
    let count = crate::runner::rounds(150) as u64;
    for number in 1..=count {
        easel.lab.queue.submit(&one, 0, &[done.point(number)])?;
    }
    done.wait_point(count)
}

/// Renders and computes are counted apart.
fn barrier_numbers(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let easel = Easel::new(&vm)?;
    let queue = &easel.lab.queue;
    // Two renders and one compute command.
    let mut before = render_of(
        Commands::default(),
        BARRIER_NONE,
        BARRIER_NONE,
        &easel.nothing,
    );
    before = compute_of(before, 1, BARRIER_NONE, &easel.lab.nothing);
    before = render_of(before, 1, 1, &easel.nothing);
    for (vdm, cdm, good) in [
        (0, 0, true),
        (1, 1, true),
        (2, 1, true),
        (2, BARRIER_NONE, true),
        (3, 1, false),
        (2, 2, false),
        (0, 2, false),
        (0xfffe, 0, false),
    ] {
        for commands in [
            render_of(before.clone(), vdm, cdm, &easel.nothing),
            compute_of(before.clone(), vdm, cdm, &easel.lab.nothing),
        ] {
            if good {
                queue
                    .run(&commands)
                    .with_context(|| format!("barriers {vdm:#x}, {cdm:#x}"))?;
            } else {
                let arg = queue.submit_arg(&commands.0, 0, &[]);
                device.refused(arg, EINVAL, &format!("barriers {vdm:#x}, {cdm:#x}"))?;
            }
        }
    }
    Ok(())
}

/// Within a submission, and across.
fn compute_waits_for_render(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let easel = Easel::new(&vm)?;
    let stamps = Stamps::new(&vm, 1)?;
    let render = stamped(&easel.nothing, &stamps, 0);
    let mut compute = easel.lab.nothing;
    (compute.ts_start, compute.ts_end) = (stamps.at(4), stamps.at(5));
    for across in [false, true] {
        for index in 0..6 {
            stamps.map.write(index * 8, 0);
        }
        let first = render_of(Commands::default(), BARRIER_NONE, BARRIER_NONE, &render);
        if across {
            easel.lab.queue.submit(&first, 0, &[])?;
            easel
                .lab
                .queue
                .run(&compute_of(Commands::default(), 0, BARRIER_NONE, &compute))?;
        } else {
            easel
                .lab
                .queue
                .run(&compute_of(first, 1, BARRIER_NONE, &compute))?;
        }
        let (end, start) = (stamps.read(3), stamps.read(4));
        ensure!(
            end != 0 && start >= end,
            "it began at {start}, and the render ended at {end}"
        );
    }
    Ok(())
}

/// A render with a barrier does not begin while a compute command before it goes on.
fn render_waits_for_compute(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut easel = Easel::new(&vm)?;
    let stamps = Stamps::new(&vm, 1)?;
    let (gate, open) = easel.lab.gate()?;
    let render = stamped(&easel.nothing, &stamps, 0);
    let done = device.syncobj()?;
    let queue = &easel.lab.queue;
    queue.submit(&compute_of(Commands::default(), 0, 0, &gate), 0, &[])?;
    queue.submit(
        &render_of(Commands::default(), BARRIER_NONE, 0, &render),
        0,
        &[done.binary()],
    )?;
    std::thread::sleep(A_WHILE);
    ensure!(stamps.read(0) == 0, "it has not waited");
    easel.lab.set(open, 1);
    ensure!(done.outcome()? == 0);
    ensure!(stamps.read(0) != 0 && stamps.read(3) != 0);
    Ok(())
}

/// The same within a submission, by the command's number.
fn render_waits_within(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut easel = Easel::new(&vm)?;
    let stamps = Stamps::new(&vm, 1)?;
    let (gate, open) = easel.lab.gate()?;
    let render = stamped(&easel.nothing, &stamps, 0);
    let mut commands = compute_of(Commands::default(), 0, 0, &gate);
    commands = render_of(commands, BARRIER_NONE, 1, &render);
    let done = device.syncobj()?;
    easel.lab.queue.submit(&commands, 0, &[done.binary()])?;
    std::thread::sleep(A_WHILE);
    ensure!(stamps.read(0) == 0, "it has not waited");
    easel.lab.set(open, 1);
    ensure!(done.outcome()? == 0 && stamps.read(0) != 0);
    Ok(())
}

/// Without a barrier, a render goes on beside a compute command of another submission.
fn subqueues_overlap(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut easel = Easel::new(&vm)?;
    let stamps = Stamps::new(&vm, 1)?;
    let (gate, open) = easel.lab.gate()?;
    let render = stamped(&easel.nothing, &stamps, 0);
    let (first, second) = (device.syncobj()?, device.syncobj()?);
    let queue = &easel.lab.queue;
    let held = compute_of(Commands::default(), 0, 0, &gate);
    queue.submit(&held, 0, &[first.binary()])?;
    let free = render_of(Commands::default(), BARRIER_NONE, BARRIER_NONE, &render);
    queue.submit(&free, 0, &[second.binary()])?;
    let seen = until("a render has ended beside a compute command", || {
        stamps.read(3) != 0
    });
    ensure!(!first.signalled()?, "the compute command did not go on");
    // Submissions of a queue still end in their order.
    ensure!(
        !second.signalled()?,
        "the second has signalled before the first"
    );
    easel.lab.set(open, 1);
    ensure!(first.outcome()? == 0 && second.outcome()? == 0);
    seen
}

/// The same within a submission.
fn no_barrier_in_between(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let mut easel = Easel::new(&vm)?;
    let stamps = Stamps::new(&vm, 1)?;
    let (gate, open) = easel.lab.gate()?;
    let render = stamped(&easel.nothing, &stamps, 0);
    let mut commands = compute_of(Commands::default(), 0, 0, &gate);
    commands = render_of(commands, BARRIER_NONE, BARRIER_NONE, &render);
    let done = device.syncobj()?;
    easel.lab.queue.submit(&commands, 0, &[done.binary()])?;
    let seen = until("a render has ended beside a compute command", || {
        stamps.read(3) != 0
    });
    let early = done.signalled()?;
    easel.lab.set(open, 1);
    ensure!(done.outcome()? == 0);
    ensure!(
        !early,
        "a submission has signalled before all of it was done"
    );
    seen
}

/// A render whose control stream is not there fails, and its queue stops.
fn unmapped_stream(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let easel = Easel::new(&vm)?;
    let render = CmdRender {
        vdm_ctrl_stream_base: STREAM + 0x1000 * PAGE,
        ..easel.nothing
    };
    let commands = render_of(Commands::default(), 0, 0, &render);
    let queue = vm.queue()?;
    let done = device.syncobj()?;
    queue.submit(&commands, 0, &[done.binary()])?;
    let outcome = -done.outcome()?;
    ensure!(outcome == libc::EIO, "the fence has {outcome}");
    device.refused(
        queue.submit_arg(&commands.0, 0, &[]),
        libc::EIO,
        "a queue that has stopped",
    )?;
    easel.run(&easel.nothing)
}

/// Draws that need more of the tiler's heap than a queue has at first: the firmware asks for more while the render runs,
/// and what was given is enough for the next one.
fn grows(device: &Device) -> Result<()> {
    let vm = device.vm()?;
    let easel = Easel::new(&vm)?;
    let stream = easel._stream.mmap()?;
    // Index List of triangles with count, instances and start; then Stream Terminate (Mesa,
    // src/asahi/genxml/cmdbuf.xml).
    let draw = |vertices: u64| {
        for (offset, words) in [
            (0, vertices << 32 | 3 << 29 | 7 << 22 | 6 << 8),
            (8, 1),
            (16, 6 << 29),
        ] {
            stream.write(offset, words);
        }
    };
    for vertices in [30_000, 300_000, 3, 300_000, 100_000] {
        draw(vertices);
        easel
            .run(&easel.nothing)
            .with_context(|| format!("{vertices} vertices"))?;
    }
    Ok(())
}
