// SPDX-License-Identifier: MIT OR Apache-2.0

//! Command buffers, cut into commands that are checked (`include/uapi/drm/asahi_drm.h`).

use crate::pod::Pod;
use crate::uapi::*;
use libc::c_int;

/// The most commands of hardware in a submission, as GET_PARAMS tells.
pub const MAX_COMMANDS: u32 = 64;

/// The most attachments of a command, as GET_PARAMS tells.
pub const MAX_ATTACHMENTS: u32 = 16;

/// The most bytes of a command buffer: several times what the most commands with the most attachments take.
pub const MAX_SIZE: u32 = 256 * 1024;

/// The largest framebuffer of the hardware, in pixels each way and in layers.
const MAX_PIXELS: u16 = 16384;
const MAX_LAYERS: u16 = 2048;

const RENDER_FLAGS: u32 = RENDER_VERTEX_SCRATCH
    | RENDER_PROCESS_EMPTY_TILES
    | RENDER_NO_VERTEX_CLUSTERING
    | RENDER_DBIAS_IS_INT;

/// A command of hardware.
#[derive(Clone, Debug)]
pub enum Command {
    Render(Box<CmdRender>),
    Compute(CmdCompute),
}

impl Command {
    /// Where its timestamps go.
    pub fn timestamps(&self) -> impl Iterator<Item = Timestamp> {
        let (first, second) = match self {
            Command::Render(c) => (
                [c.ts_vtx.start, c.ts_vtx.end],
                Some([c.ts_frag.start, c.ts_frag.end]),
            ),
            Command::Compute(c) => ([c.ts_start, c.ts_end], None),
        };
        first
            .into_iter()
            .chain(second.into_iter().flatten())
            .filter(|at| at.handle != 0)
    }
}

/// Cuts a buffer into its commands. They run in their order, so that barriers are obeyed whatever they say, and
/// attachments are only hints; so both are checked and forgotten.
pub fn parse(mut buffer: &[u8]) -> Result<Vec<Command>, c_int> {
    let mut commands = Vec::new();
    let mut before = [0u16; 2];
    while !buffer.is_empty() {
        let (head, rest) = buffer
            .split_at_checked(size_of::<CmdHeader>())
            .ok_or(libc::EINVAL)?;
        let header = CmdHeader::extended(head)?;
        let (payload, rest) = rest
            .split_at_checked(header.size.into())
            .ok_or(libc::EINVAL)?;
        buffer = rest;
        let barriers = [header.vdm_barrier, header.cdm_barrier];
        match header.cmd_type {
            CMD_RENDER | CMD_COMPUTE => {
                let known = |(&barrier, &count)| barrier <= count || barrier == BARRIER_NONE;
                if !barriers.iter().zip(&before).all(known)
                    || commands.len() == MAX_COMMANDS as usize
                {
                    return Err(libc::EINVAL);
                }
                commands.push(if header.cmd_type == CMD_RENDER {
                    before[0] += 1;
                    Command::Render(render(payload)?.into())
                } else {
                    before[1] += 1;
                    Command::Compute(compute(payload)?)
                });
            }
            SET_VERTEX_ATTACHMENTS | SET_FRAGMENT_ATTACHMENTS | SET_COMPUTE_ATTACHMENTS => {
                if barriers != [BARRIER_NONE; 2] {
                    return Err(libc::EINVAL);
                }
                attachments(payload)?;
            }
            _ => return Err(libc::EINVAL),
        }
    }
    if commands.is_empty() {
        return Err(libc::EINVAL);
    }
    Ok(commands)
}

fn compute(payload: &[u8]) -> Result<CmdCompute, c_int> {
    let command = CmdCompute::extended(payload)?;
    // The firmware is told one more than the count.
    if command.flags != 0 || command.sampler_count == u32::MAX {
        return Err(libc::EINVAL);
    }
    Ok(command)
}

fn render(payload: &[u8]) -> Result<CmdRender, c_int> {
    let command = CmdRender::extended(payload)?;
    let size = 1..=MAX_PIXELS;
    let right = command.flags & !RENDER_FLAGS == 0
        && size.contains(&command.width_px)
        && size.contains(&command.height_px)
        && (1..=MAX_LAYERS).contains(&command.layers)
        && matches!(command.samples, 1 | 2 | 4)
        && matches!(
            (command.utile_width_px, command.utile_height_px),
            (32, 32) | (32, 16) | (16, 16)
        );
    if right {
        Ok(command)
    } else {
        Err(libc::EINVAL)
    }
}

fn attachments(payload: &[u8]) -> Result<(), c_int> {
    let (list, rest) = payload.as_chunks::<{ size_of::<Attachment>() }>();
    if !rest.is_empty() || list.len() > MAX_ATTACHMENTS as usize {
        return Err(libc::EINVAL);
    }
    for bytes in list {
        let attachment = Attachment::extended(bytes)?;
        // The firmware counts them in 32 bits of cache lines.
        let lines = attachment.size.div_ceil(128);
        if attachment.pad != 0 || attachment.flags != 0 || u32::try_from(lines).is_err() {
            return Err(libc::EINVAL);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(kind: u16, barriers: [u16; 2], payload: &[u8]) -> Vec<u8> {
        let header = CmdHeader {
            cmd_type: kind,
            size: payload.len() as u16,
            vdm_barrier: barriers[0],
            cdm_barrier: barriers[1],
        };
        [header.bytes(), payload].concat()
    }

    fn pixel() -> CmdRender {
        CmdRender {
            width_px: 1,
            height_px: 1,
            layers: 1,
            samples: 1,
            utile_width_px: 32,
            utile_height_px: 32,
            ..Default::default()
        }
    }

    #[test]
    fn barriers_count_what_is_before() {
        let none = [BARRIER_NONE; 2];
        let compute = CmdCompute::default();
        let three = |barriers| {
            let mut buffer = command(CMD_COMPUTE, none, compute.bytes());
            buffer.extend(command(CMD_RENDER, [0, 1], pixel().bytes()));
            buffer.extend(command(CMD_COMPUTE, barriers, compute.bytes()));
            parse(&buffer).map(|commands| commands.len())
        };
        assert_eq!(three([1, 1]), Ok(3));
        assert_eq!(three(none), Ok(3));
        assert_eq!(three([2, 1]), Err(libc::EINVAL));
        assert_eq!(three([1, 2]), Err(libc::EINVAL));
    }

    #[test]
    fn renders_have_possible_sizes() {
        let one = |render: CmdRender| parse(&command(CMD_RENDER, [0, 0], render.bytes())).is_ok();
        assert!(one(pixel()));
        for bad in [
            CmdRender {
                width_px: 16385,
                ..pixel()
            },
            CmdRender {
                height_px: 0,
                ..pixel()
            },
            CmdRender {
                layers: 2049,
                ..pixel()
            },
            CmdRender {
                samples: 3,
                ..pixel()
            },
            CmdRender {
                utile_width_px: 16,
                ..pixel()
            },
            CmdRender {
                flags: 1 << 3,
                ..pixel()
            },
        ] {
            assert!(!one(bad));
        }
    }

    #[test]
    fn attachments_are_whole_and_wait_for_nothing() {
        let none = [BARRIER_NONE; 2];
        let set = |barriers, payload: &[u8]| {
            let mut buffer = command(SET_COMPUTE_ATTACHMENTS, barriers, payload);
            buffer.extend(command(CMD_COMPUTE, none, &[]));
            parse(&buffer).is_ok()
        };
        assert!(set(none, &[0; 48]));
        assert!(!set([0, 0], &[0; 48]));
        assert!(!set(none, &[0; 47]));
        assert!(!set(none, &[0; 17 * 24]));
        assert!(!set(none, &[1; 24]));
    }
}
