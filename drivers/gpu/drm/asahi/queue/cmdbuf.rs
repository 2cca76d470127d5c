// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The command buffer of a submission, parsed into checked types.
//!
//! The buffer has been copied into the kernel in one piece before it is parsed, so that user space
//! cannot change it between a check and a use. What comes out of here has been checked as far as
//! the UAPI defines it; only the numbers of timestamp objects are left to be looked up.

use core::mem::size_of;

use kernel::{
    prelude::*,
    uapi, //
};

use crate::file::user;

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

/// A range of memory that a command writes, which is a hint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// Its GPU address.
    pub(crate) address: u64,
    /// Its size in cache lines.
    pub(crate) lines: u32,
}

/// The attachments of a command.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attachments {
    list: [Attachment; MAX_ATTACHMENTS],
    len: usize,
}

impl Attachments {
    fn parse(payload: &[u8]) -> Result<Self> {
        const STRIDE: usize = size_of::<uapi::drm_asahi_attachment>();

        if payload.len() % STRIDE != 0 {
            return Err(EINVAL);
        }

        let mut out = Self::default();
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
        Ok(out)
    }

    /// Returns the attachments.
    pub(crate) fn as_slice(&self) -> &[Attachment] {
        self.list.get(..self.len).unwrap_or(&[])
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

/// A compute command.
pub(crate) struct Compute {
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
    fn parse(payload: &[u8], cdm_barrier: Barrier, attachments: Attachments) -> Result<Self> {
        let raw: uapi::drm_asahi_cmd_compute = user::from_bytes(payload)?;
        if raw.flags != 0 {
            return Err(EINVAL);
        }
        // The firmware is told one more than the count.
        if raw.sampler_count == u32::MAX {
            return Err(EINVAL);
        }

        Ok(Self {
            cdm_barrier,
            stream_base: raw.cdm_ctrl_stream_base,
            stream_end: raw.cdm_ctrl_stream_end,
            sampler_heap: raw.sampler_heap,
            sampler_count: raw.sampler_count,
            helper: Helper {
                binary: raw.helper.binary,
                cfg: raw.helper.cfg,
                data: raw.helper.data,
            },
            timestamps: Timestamps {
                start: Timestamp::parse(&raw.ts.start),
                end: Timestamp::parse(&raw.ts.end),
            },
            attachments,
        })
    }
}

/// A hardware command.
pub(crate) enum Command {
    /// It runs on the compute subqueue.
    Compute(Compute),
}

/// A parsed command buffer.
pub(crate) struct CommandBuffer {
    commands: KVec<Command>,
    computes: u16,
}

impl CommandBuffer {
    /// Parses and checks a command buffer.
    ///
    /// [`EOPNOTSUPP`] means a command that the UAPI knows and the driver does not run yet.
    pub(crate) fn parse(mut bytes: &[u8]) -> Result<Self> {
        let mut out = Self {
            commands: KVec::new(),
            computes: 0,
        };
        let mut compute_attachments = Attachments::default();

        while !bytes.is_empty() {
            let (header, payload);
            (header, bytes) = split(bytes, size_of::<uapi::drm_asahi_cmd_header>())?;
            let header: uapi::drm_asahi_cmd_header = user::from_bytes(header)?;
            (payload, bytes) = split(bytes, usize::from(header.size))?;

            match u32::from(header.cmd_type) {
                uapi::drm_asahi_cmd_type_DRM_ASAHI_CMD_RENDER => return Err(EOPNOTSUPP),
                uapi::drm_asahi_cmd_type_DRM_ASAHI_CMD_COMPUTE => {
                    // There are no renders to wait for.
                    Barrier::new(header.vdm_barrier, 0)?;
                    let command = Compute::parse(
                        payload,
                        Barrier::new(header.cdm_barrier, out.computes)?,
                        compute_attachments,
                    )?;
                    out.add(Command::Compute(command))?;
                    out.computes += 1;
                }
                uapi::drm_asahi_cmd_type_DRM_ASAHI_SET_VERTEX_ATTACHMENTS
                | uapi::drm_asahi_cmd_type_DRM_ASAHI_SET_FRAGMENT_ATTACHMENTS => {
                    no_barriers(&header)?;
                    Attachments::parse(payload)?;
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

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kunit_tests(asahi_cmdbuf)]
mod tests {
    use super::*;

    const NONE: u16 = 0xffff;
    const RENDER: u16 = 0;
    const COMPUTE: u16 = 1;
    const COMPUTE_ATTACHMENTS: u16 = 4;

    /// A command buffer being written.
    struct Writer(KVec<u8>);

    impl Writer {
        fn new() -> Self {
            Self(KVec::new())
        }

        fn command(mut self, kind: u16, vdm: u16, cdm: u16, payload: &[u8]) -> Self {
            for half in [kind, payload.len() as u16, vdm, cdm] {
                self.0
                    .extend_from_slice(&half.to_le_bytes(), GFP_KERNEL)
                    .unwrap();
            }
            self.0.extend_from_slice(payload, GFP_KERNEL).unwrap();
            self
        }

        fn compute(self, vdm: u16, cdm: u16) -> Self {
            self.command(COMPUTE, vdm, cdm, &compute_payload())
        }

        fn parse(&self) -> Result<CommandBuffer> {
            CommandBuffer::parse(&self.0)
        }

        fn error(&self) -> Option<Error> {
            self.parse().err()
        }
    }

    fn compute_payload() -> [u8; 64] {
        let mut payload = [0u8; 64];
        payload[4] = 5;
        payload[8..16].copy_from_slice(&0x11_0000_4000u64.to_le_bytes());
        payload[48..52].copy_from_slice(&3u32.to_le_bytes());
        payload[52..56].copy_from_slice(&8u32.to_le_bytes());
        payload
    }

    fn first(buffer: &CommandBuffer) -> &Compute {
        let Command::Compute(compute) = &buffer.commands()[0];
        compute
    }

    #[test]
    fn compute_fields() {
        let buffer = Writer::new().compute(NONE, 0).parse().unwrap();
        assert_eq!(buffer.computes(), 1);
        let compute = first(&buffer);
        assert!(compute.cdm_barrier == Barrier::Previous);
        assert_eq!(compute.stream_base, 0x11_0000_4000);
        assert_eq!(compute.sampler_count, 5);
        assert!(
            compute.timestamps.start
                == Some(Timestamp {
                    object: 3,
                    offset: 8
                })
        );
        assert!(compute.timestamps.end.is_none());
    }

    #[test]
    fn nothing_to_run() {
        assert!(Writer::new().error() == Some(EINVAL));
        let only_software = Writer::new().command(COMPUTE_ATTACHMENTS, NONE, NONE, &[]);
        assert!(only_software.error() == Some(EINVAL));
    }

    #[test]
    fn truncated() {
        let whole = Writer::new().compute(NONE, NONE);
        for len in 1..whole.0.len() {
            assert!(CommandBuffer::parse(&whole.0[..len]).is_err());
        }
    }

    #[test]
    fn short_and_long_commands() {
        let short = Writer::new().command(COMPUTE, 0, 0, &compute_payload()[..16]);
        assert_eq!(first(&short.parse().unwrap()).sampler_heap, 0);

        let mut payload = [0u8; 72];
        payload[..64].copy_from_slice(&compute_payload());
        let long = Writer::new().command(COMPUTE, 0, 0, &payload);
        assert!(long.parse().is_ok());
        payload[71] = 1;
        let longer = Writer::new().command(COMPUTE, 0, 0, &payload);
        assert!(longer.error() == Some(E2BIG));
    }

    #[test]
    fn barriers() {
        assert!(Writer::new().compute(0, 1).error() == Some(EINVAL));
        assert!(Writer::new().compute(1, 0).error() == Some(EINVAL));
        let two = Writer::new().compute(0, 0).compute(0, 1).parse().unwrap();
        let Command::Compute(second) = &two.commands()[1];
        assert!(second.cdm_barrier == Barrier::Command(1));
        assert!(Writer::new().compute(0, 0).compute(0, 2).error() == Some(EINVAL));
    }

    #[test]
    fn flags_and_types() {
        let mut payload = compute_payload();
        payload[0] = 1;
        let flagged = Writer::new().command(COMPUTE, 0, 0, &payload);
        assert!(flagged.error() == Some(EINVAL));
        let unknown = Writer::new().command(5, NONE, NONE, &[]);
        assert!(unknown.error() == Some(EINVAL));
        let render = Writer::new().command(RENDER, 0, 0, &[0; 240]);
        assert!(render.error() == Some(EOPNOTSUPP));
    }

    #[test]
    fn attachments() {
        let mut payload = [0u8; 48];
        payload[0..8].copy_from_slice(&0x1234_0000u64.to_le_bytes());
        payload[8..16].copy_from_slice(&129u64.to_le_bytes());
        let buffer = Writer::new()
            .command(COMPUTE_ATTACHMENTS, NONE, NONE, &payload)
            .compute(0, 0)
            .parse()
            .unwrap();
        let list = first(&buffer).attachments.as_slice();
        assert_eq!(list.len(), 2);
        assert!(
            list[0]
                == Attachment {
                    address: 0x1234_0000,
                    lines: 2
                }
        );

        let waits = Writer::new().command(COMPUTE_ATTACHMENTS, 0, NONE, &payload);
        assert!(waits.compute(0, 0).error() == Some(EINVAL));
        let odd = Writer::new().command(COMPUTE_ATTACHMENTS, NONE, NONE, &payload[..47]);
        assert!(odd.compute(0, 0).error() == Some(EINVAL));
        let many = Writer::new().command(COMPUTE_ATTACHMENTS, NONE, NONE, &[0; 24 * 17]);
        assert!(many.compute(0, 0).error() == Some(EINVAL));
        payload[16] = 1;
        let padded = Writer::new().command(COMPUTE_ATTACHMENTS, NONE, NONE, &payload);
        assert!(padded.compute(0, 0).error() == Some(EINVAL));
    }

    #[test]
    fn too_many_commands() {
        let mut writer = Writer::new();
        for _ in 0..MAX_COMMANDS {
            writer = writer.compute(NONE, NONE);
        }
        assert_eq!(writer.parse().unwrap().computes(), 64);
        assert!(writer.compute(NONE, NONE).error() == Some(EINVAL));
    }
}
