// SPDX-License-Identifier: MIT OR Apache-2.0

//! Messages on the socket: framing, descriptors, replies.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags, recvmsg,
    sendmsg,
};

/// Size of the header that starts every message.
pub const HEADER: usize = 16;
/// Most bytes that one region access moves; told to the client in the VERSION reply.
pub const MAX_TRANSFER: u32 = 0x1_0000;
/// Most descriptors in one message; told to the client likewise.
pub const MAX_FDS: usize = 8;
/// Longest body that is still read. Nothing that a client may send is longer.
const MAX_BODY: usize = MAX_TRANSFER as usize + 0x100;

const TYPE_MASK: u32 = 0xf;
const TYPE_REPLY: u32 = 1;
const NO_REPLY: u32 = 1 << 4;
const ERROR: u32 = 1 << 5;

/// What starts a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub id: u16,
    pub command: u16,
    pub size: u32,
    pub flags: u32,
    pub error: u32,
}

impl Header {
    pub fn parse(b: &[u8; HEADER]) -> Self {
        let u32_at = |i| u32::from_le_bytes([b[i], b[i + 1], b[i + 2], b[i + 3]]);
        Self {
            id: u16::from_le_bytes([b[0], b[1]]),
            command: u16::from_le_bytes([b[2], b[3]]),
            size: u32_at(4),
            flags: u32_at(8),
            error: u32_at(12),
        }
    }

    pub fn bytes(self) -> [u8; HEADER] {
        let mut b = [0; HEADER];
        b[..2].copy_from_slice(&self.id.to_le_bytes());
        b[2..4].copy_from_slice(&self.command.to_le_bytes());
        b[4..8].copy_from_slice(&self.size.to_le_bytes());
        b[8..12].copy_from_slice(&self.flags.to_le_bytes());
        b[12..].copy_from_slice(&self.error.to_le_bytes());
        b
    }

    pub fn is_request(self) -> bool {
        self.flags & TYPE_MASK == 0
    }

    pub fn wants_reply(self) -> bool {
        self.flags & NO_REPLY == 0
    }
}

/// The client's end of the device.
pub struct Connection {
    stream: UnixStream,
    body: Vec<u8>,
    fds: Vec<OwnedFd>,
    out: Vec<u8>,
}

impl Connection {
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            body: Vec::new(),
            fds: Vec::new(),
            out: Vec::new(),
        }
    }

    /// The next message's header, or `None` when the client has gone. Its body and descriptors
    /// are then held here.
    ///
    /// An error means that the stream's framing is lost, and that it must be given up.
    pub fn receive(&mut self) -> io::Result<Option<Header>> {
        self.fds.clear();
        let mut header = [0; HEADER];
        let mut have = 0;
        while have < HEADER {
            let n = self.receive_part(&mut header[have..])?;
            if n == 0 {
                return if have == 0 {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
            have += n;
        }
        let header = Header::parse(&header);
        let body = (header.size as usize)
            .checked_sub(HEADER)
            .filter(|&n| n <= MAX_BODY)
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "vfio-user command {} with a size of {:#x}",
                        header.command, header.size
                    ),
                )
            })?;
        self.body.resize(body, 0);
        self.stream.read_exact(&mut self.body)?;
        Ok(Some(header))
    }

    /// Reads a piece of a header, with the descriptors that travel with it.
    fn receive_part(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = loop {
            match recvmsg(
                &self.stream,
                &mut [IoSliceMut::new(buf)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        Ok(got.bytes)
    }

    /// The body of the message received last.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The descriptors of the message received last.
    pub fn take_fds(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.fds)
    }

    /// Answers `header` with a body or an error, unless the client wants no answer.
    pub fn reply(&mut self, header: Header, result: Result<&[u8], Errno>) -> io::Result<()> {
        if !header.wants_reply() {
            return Ok(());
        }
        let (body, flags, error) = match result {
            Ok(body) => (body, TYPE_REPLY, 0),
            Err(e) => (&[][..], TYPE_REPLY | ERROR, e.raw_os_error() as u32),
        };
        let head = Header {
            size: (HEADER + body.len()) as u32,
            flags,
            error,
            ..header
        };
        // One write: the client takes a header that arrives in pieces for a broken stream.
        self.out.clear();
        self.out.extend_from_slice(&head.bytes());
        self.out.extend_from_slice(body);
        let mut rest = self.out.as_slice();
        while !rest.is_empty() {
            match sendmsg(
                &self.stream,
                &[IoSlice::new(rest)],
                &mut SendAncillaryBuffer::default(),
                SendFlags::NOSIGNAL,
            ) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}
