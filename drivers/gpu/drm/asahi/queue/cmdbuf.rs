// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The command buffer of a submission, parsed into checked types.
//!
//! The buffer has been copied into the kernel in one piece before it is parsed, so that user space
//! cannot change it between a check and a use. What comes out of here has been checked as far as
//! the UAPI defines it; only the numbers of timestamp objects are left to be looked up.

use core::mem::size_of;

use kernel::{
    prelude::*,
    sync::Arc,
    uapi, //
};

use crate::file::user;

mod render;

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
mod tests;

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
pub(crate) use render::Utile;
pub(crate) use render::{
    Program,
    Render, //
};

/// The most hardware commands that one submission may have.
pub(crate) const MAX_COMMANDS: usize = 64;

/// The most attachments that the firmware takes per command.
pub(crate) const MAX_ATTACHMENTS: usize = 16;

/// The most bytes that a command buffer may have.
///
/// That is several times what the largest buffer with commands of today's size needs.
pub(crate) const MAX_SIZE: usize = 256 * 1024;

/// The unit in which the firmware counts an attachment's size.
const CACHE_LINE: u64 = 128;

/// Where in its subqueue a command waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// It does not wait.
    None,
    /// It waits for everything that earlier submissions put into the subqueue.
    Previous,
    /// It waits for this submission's n-th command of the subqueue, counted from one.
    Command(u16),
}

impl Barrier {
    /// Checks a barrier against the number of commands before it on the subqueue.
    fn new(raw: u16, before: u16) -> Result<Self> {
        match raw {
            0 => Ok(Self::Previous),
            raw if u32::from(raw) == uapi::DRM_ASAHI_BARRIER_NONE => Ok(Self::None),
            raw if raw <= before => Ok(Self::Command(raw)),
            _ => Err(EINVAL),
        }
    }
}

/// What a command waits for in either subqueue.
#[derive(Clone, Copy)]
struct Barriers {
    vdm: Barrier,
    cdm: Barrier,
}

/// A range of memory that a command writes, which is a hint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// Its GPU address.
    pub(crate) address: u64,
    /// Its size in cache lines.
    pub(crate) lines: u32,
}

/// The attachments that one software command sets.
#[derive(Default)]
struct AttachmentList {
    list: [Attachment; MAX_ATTACHMENTS],
    len: usize,
}

/// The attachments of a command. Commands that have the same ones share them.
#[derive(Clone, Default)]
pub(crate) struct Attachments(Option<Arc<AttachmentList>>);

impl Attachments {
    fn parse(payload: &[u8]) -> Result<Self> {
        const STRIDE: usize = size_of::<uapi::drm_asahi_attachment>();

        if payload.len() % STRIDE != 0 {
            return Err(EINVAL);
        }

        let mut out = AttachmentList::default();
        for bytes in payload.chunks_exact(STRIDE) {
            let raw: uapi::drm_asahi_attachment = user::from_bytes(bytes)?;
            if raw.pad != 0 || raw.flags != 0 {
                return Err(EINVAL);
            }

            let lines = raw.size.div_ceil(CACHE_LINE);
            *out.list.get_mut(out.len).ok_or(EINVAL)? = Attachment {
                address: raw.pointer,
                lines: u32::try_from(lines).map_err(|_| EINVAL)?,
            };
            out.len += 1;
        }

        if out.len == 0 {
            return Ok(Self(None));
        }
        Ok(Self(Some(Arc::new(out, GFP_KERNEL)?)))
    }

    /// Returns the attachments.
    pub(crate) fn as_slice(&self) -> &[Attachment] {
        match &self.0 {
            Some(attachments) => attachments.list.get(..attachments.len).unwrap_or(&[]),
            None => &[],
        }
    }
}

/// Where a timestamp goes: a position in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timestamp {
    /// The number that binding the object gave.
    pub(crate) object: u32,
    /// The offset in it.
    pub(crate) offset: u32,
}

impl Timestamp {
    fn parse(raw: &uapi::drm_asahi_timestamp) -> Option<Self> {
        (raw.handle != 0).then_some(Self {
            object: raw.handle,
            offset: raw.offset,
        })
    }
}

/// The timestamps of a command.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timestamps {
    /// Written when it starts.
    pub(crate) start: Option<Timestamp>,
    /// Written when it ends.
    pub(crate) end: Option<Timestamp>,
}

impl Timestamps {
    fn parse(raw: &uapi::drm_asahi_timestamps) -> Self {
        Self {
            start: Timestamp::parse(&raw.start),
            end: Timestamp::parse(&raw.end),
        }
    }
}

/// The program by which the hardware gets scratch memory for a shader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Helper {
    /// USC address and configuration.
    pub(crate) binary: u32,
    /// More configuration.
    pub(crate) cfg: u32,
    /// What the program is given.
    pub(crate) data: u64,
}

impl Helper {
    fn parse(raw: &uapi::drm_asahi_helper_program) -> Self {
        Self {
            binary: raw.binary,
            cfg: raw.cfg,
            data: raw.data,
        }
    }
}

/// A compute command.
pub(crate) struct Compute {
    /// What it waits for among the renders.
    pub(crate) vdm_barrier: Barrier,
    /// What it waits for among the computes.
    pub(crate) cdm_barrier: Barrier,
    /// The start of the control stream.
    pub(crate) stream_base: u64,
    /// The end of the control stream's first segment.
    pub(crate) stream_end: u64,
    /// The sampler heap.
    pub(crate) sampler_heap: u64,
    /// The number of samplers in it.
    pub(crate) sampler_count: u32,
    /// The helper program.
    pub(crate) helper: Helper,
    /// Where the timestamps go.
    pub(crate) timestamps: Timestamps,
    /// What it writes.
    pub(crate) attachments: Attachments,
}

impl Compute {
    fn parse(payload: &[u8], barriers: Barriers, attachments: Attachments) -> Result<Self> {
        let raw: uapi::drm_asahi_cmd_compute = user::from_bytes(payload)?;
        if raw.flags != 0 {
            return Err(EINVAL);
        }
        // The firmware is told one more than the count.
        if raw.sampler_count == u32::MAX {
            return Err(EINVAL);
        }

        Ok(Self {
            vdm_barrier: barriers.vdm,
            cdm_barrier: barriers.cdm,
            stream_base: raw.cdm_ctrl_stream_base,
            stream_end: raw.cdm_ctrl_stream_end,
            sampler_heap: raw.sampler_heap,
            sampler_count: raw.sampler_count,
            helper: Helper::parse(&raw.helper),
            timestamps: Timestamps::parse(&raw.ts),
            attachments,
        })
    }
}

/// A hardware command.
///
/// There are at most [`MAX_COMMANDS`] at a time, in one allocation, so that it does not matter that
/// one kind is larger than the other.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Command {
    /// It runs on the render subqueue.
    Render(Render),
    /// It runs on the compute subqueue.
    Compute(Compute),
}

/// A parsed command buffer.
pub(crate) struct CommandBuffer {
    commands: KVVec<Command>,
    renders: u16,
    computes: u16,
}

impl CommandBuffer {
    /// Parses and checks a command buffer.
    pub(crate) fn parse(mut bytes: &[u8]) -> Result<Self> {
        let mut out = Self {
            commands: KVVec::new(),
            renders: 0,
            computes: 0,
        };
        let mut vertex_attachments = Attachments::default();
        let mut fragment_attachments = Attachments::default();
        let mut compute_attachments = Attachments::default();

        while !bytes.is_empty() {
            let (header, payload);
            (header, bytes) = split(bytes, size_of::<uapi::drm_asahi_cmd_header>())?;
            let header: uapi::drm_asahi_cmd_header = user::from_bytes(header)?;
            (payload, bytes) = split(bytes, usize::from(header.size))?;

            match u32::from(header.cmd_type) {
                uapi::drm_asahi_cmd_type_DRM_ASAHI_CMD_RENDER => {
                    let barriers = out.barriers(&header)?;
                    out.add(Command::Render(Render::parse(
                        payload,
                        barriers,
                        vertex_attachments.clone(),
                        fragment_attachments.clone(),
                    )?))?;
                    out.renders += 1;
                }
                uapi::drm_asahi_cmd_type_DRM_ASAHI_CMD_COMPUTE => {
                    let barriers = out.barriers(&header)?;
                    let attachments = compute_attachments.clone();
                    out.add(Command::Compute(Compute::parse(
                        payload,
                        barriers,
                        attachments,
                    )?))?;
                    out.computes += 1;
                }
                uapi::drm_asahi_cmd_type_DRM_ASAHI_SET_VERTEX_ATTACHMENTS => {
                    no_barriers(&header)?;
                    vertex_attachments = Attachments::parse(payload)?;
                }
                uapi::drm_asahi_cmd_type_DRM_ASAHI_SET_FRAGMENT_ATTACHMENTS => {
                    no_barriers(&header)?;
                    fragment_attachments = Attachments::parse(payload)?;
                }
                uapi::drm_asahi_cmd_type_DRM_ASAHI_SET_COMPUTE_ATTACHMENTS => {
                    no_barriers(&header)?;
                    compute_attachments = Attachments::parse(payload)?;
                }
                _ => return Err(EINVAL),
            }
        }

        if out.commands.is_empty() {
            return Err(EINVAL);
        }
        Ok(out)
    }

    /// Checks the barriers of the next command.
    fn barriers(&self, header: &uapi::drm_asahi_cmd_header) -> Result<Barriers> {
        Ok(Barriers {
            vdm: Barrier::new(header.vdm_barrier, self.renders)?,
            cdm: Barrier::new(header.cdm_barrier, self.computes)?,
        })
    }

    fn add(&mut self, command: Command) -> Result {
        if self.commands.len() == MAX_COMMANDS {
            return Err(EINVAL);
        }
        Ok(self.commands.push(command, GFP_KERNEL)?)
    }

    /// Returns the hardware commands in the order in which they were given.
    pub(crate) fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// Returns the number of render commands.
    pub(crate) fn renders(&self) -> u16 {
        self.renders
    }

    /// Returns the number of compute commands.
    pub(crate) fn computes(&self) -> u16 {
        self.computes
    }
}

/// Splits `bytes`, or fails when there are fewer than `at`.
fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8])> {
    bytes.split_at_checked(at).ok_or(EINVAL)
}

/// Software commands do not wait.
fn no_barriers(header: &uapi::drm_asahi_cmd_header) -> Result {
    const NONE: u32 = uapi::DRM_ASAHI_BARRIER_NONE;

    if u32::from(header.vdm_barrier) != NONE || u32::from(header.cdm_barrier) != NONE {
        return Err(EINVAL);
    }
    Ok(())
}
