// SPDX-License-Identifier: MIT OR Apache-2.0

//! Requests and their answers.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::region;
use super::wire::{Connection, Header, MAX_FDS, MAX_TRANSFER};

/// Command numbers (QEMU `docs/interop/vfio-user.rst`, "Commands").
mod command {
    pub const VERSION: u16 = 1;
    pub const DMA_MAP: u16 = 2;
    pub const DMA_UNMAP: u16 = 3;
    pub const GET_INFO: u16 = 4;
    pub const GET_REGION_INFO: u16 = 5;
    pub const GET_IRQ_INFO: u16 = 7;
    pub const SET_IRQS: u16 = 8;
    pub const REGION_READ: u16 = 9;
    pub const REGION_WRITE: u16 = 10;
    pub const RESET: u16 = 13;
}

/// Flags of DMA_MAP and DMA_UNMAP.
const DMA_WRITE: u32 = 1 << 1;
const DMA_UNMAP_ALL: u32 = 1 << 1;

const PAGE: u64 = 4096;

/// Interrupt indices of a PCI device (linux/vfio.h).
const IRQ_MSIX: u32 = 2;
const IRQ_ERROR: u32 = 3;
const IRQ_COUNT: u32 = 5;

/// Flags of SET_IRQS.
const IRQ_DATA_NONE: u32 = 1;
const IRQ_DATA_EVENTFD: u32 = 1 << 2;
const IRQ_ACTION_TRIGGER: u32 = 1 << 5;

/// A piece of the client's memory.
#[derive(Debug)]
pub struct DmaMap {
    /// Physical address, as the device sees it.
    pub address: u64,
    pub size: u64,
    /// Where it starts in `file`.
    pub offset: u64,
    pub writable: bool,
    /// The memory itself, where the client lends it: not for ROM or another device's registers.
    pub file: Option<OwnedFd>,
}

/// A PCI device, as the transport sees it. Nothing in here may wait.
pub trait Device {
    /// Size of a region; 0 where there is none.
    fn region_size(&self, region: u32) -> u64;
    /// Reads inside a region; the range has been checked.
    fn read(&mut self, region: u32, offset: u64, data: &mut [u8]);
    /// Writes inside a region; the range has been checked.
    fn write(&mut self, region: u32, offset: u64, data: &[u8]);
    /// Number of MSI-X vectors.
    fn vectors(&self) -> u32;
    /// What to signal for a vector, or nothing; the number has been checked.
    fn set_vector(&mut self, vector: u32, event: Option<OwnedFd>);
    /// Memory appears.
    fn dma_map(&mut self, map: DmaMap) -> Result<(), Errno>;
    /// Memory goes away. Gives the number of bytes.
    fn dma_unmap(&mut self, address: u64, size: u64) -> Result<u64, Errno>;
    /// All memory goes away.
    fn dma_unmap_all(&mut self) -> u64;
    /// The device's reset, as at power-on.
    fn reset(&mut self);
}

/// Serves one client until it goes away. An error is a stream that could not be followed.
pub fn serve(connection: &mut Connection, device: &mut dyn Device) -> io::Result<()> {
    match follow(connection, device) {
        // A client that is killed leaves unread answers behind.
        Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Ok(()),
        other => other,
    }
}

fn follow(connection: &mut Connection, device: &mut dyn Device) -> io::Result<()> {
    let mut greeted = false;
    let mut answer = Vec::new();
    while let Some(header) = connection.receive()? {
        if !header.is_request() {
            // The server asks nothing, so this answers nothing.
            continue;
        }
        let fds = connection.take_fds();
        answer.clear();
        let result = if header.command == command::VERSION || greeted {
            handle(device, header, connection.body(), fds, &mut answer)
        } else {
            Err(Errno::INVAL)
        };
        greeted |= header.command == command::VERSION && result.is_ok();
        connection.reply(header, result.map(|()| answer.as_slice()))?;
    }
    Ok(())
}

/// Reads numbers from a body; a short body is an invalid request.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        let (now, rest) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(*now)
    }

    fn u16(&mut self) -> Result<u16, Errno> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Errno> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Errno> {
        self.take().map(u64::from_le_bytes)
    }

    fn rest(self) -> &'a [u8] {
        self.0
    }
}

fn put(answer: &mut Vec<u8>, values: &[u32]) {
    for v in values {
        answer.extend_from_slice(&v.to_le_bytes());
    }
}

fn handle(
    device: &mut dyn Device,
    header: Header,
    body: &[u8],
    fds: Vec<OwnedFd>,
    answer: &mut Vec<u8>,
) -> Result<(), Errno> {
    let fields = Fields(body);
    match header.command {
        command::VERSION => version(fields, answer),
        command::DMA_MAP => dma_map(device, fields, fds),
        command::DMA_UNMAP => dma_unmap(device, fields, answer),
        command::GET_INFO => get_info(fields, answer),
        command::GET_REGION_INFO => get_region_info(device, fields, answer),
        command::GET_IRQ_INFO => get_irq_info(device, fields, answer),
        command::SET_IRQS => set_irqs(device, fields, fds),
        command::REGION_READ => region_read(device, fields, answer),
        command::REGION_WRITE => region_write(device, fields, answer),
        command::RESET => {
            device.reset();
            Ok(())
        }
        _ => Err(Errno::OPNOTSUPP),
    }
}

/// Writing several registers with one message is not offered: QEMU then queues all messages in
/// an I/O thread, which makes each register read slower than the few saved messages are worth.
fn version(mut fields: Fields<'_>, answer: &mut Vec<u8>) -> Result<(), Errno> {
    let (major, _minor) = (fields.u16()?, fields.u16()?);
    if major != 0 {
        return Err(Errno::INVAL);
    }
    answer.extend_from_slice(&[0; 4]);
    let capabilities = format!(
        "{{\"capabilities\":{{\"max_msg_fds\":{MAX_FDS},\"max_data_xfer_size\":{MAX_TRANSFER}}}}}"
    );
    answer.extend_from_slice(capabilities.as_bytes());
    answer.push(0);
    Ok(())
}

fn dma_map(
    device: &mut dyn Device,
    mut fields: Fields<'_>,
    mut fds: Vec<OwnedFd>,
) -> Result<(), Errno> {
    let (_argsz, flags) = (fields.u32()?, fields.u32()?);
    let map = DmaMap {
        offset: fields.u64()?,
        address: fields.u64()?,
        size: fields.u64()?,
        writable: flags & DMA_WRITE != 0,
        file: fds.pop(),
    };
    let aligned = (map.address | map.size | map.offset).is_multiple_of(PAGE);
    let end = map.address.checked_add(map.size);
    if !aligned || map.size == 0 || end.is_none() || !fds.is_empty() {
        return Err(Errno::INVAL);
    }
    device.dma_map(map)
}

fn dma_unmap(
    device: &mut dyn Device,
    mut fields: Fields<'_>,
    answer: &mut Vec<u8>,
) -> Result<(), Errno> {
    let (argsz, flags) = (fields.u32()?, fields.u32()?);
    let (address, size) = (fields.u64()?, fields.u64()?);
    let gone = match flags {
        0 => {
            address.checked_add(size).ok_or(Errno::INVAL)?;
            device.dma_unmap(address, size)?
        }
        DMA_UNMAP_ALL if address == 0 && size == 0 => device.dma_unmap_all(),
        _ => return Err(Errno::INVAL),
    };
    put(answer, &[argsz, flags]);
    answer.extend_from_slice(&address.to_le_bytes());
    answer.extend_from_slice(&gone.to_le_bytes());
    Ok(())
}

fn get_info(mut fields: Fields<'_>, answer: &mut Vec<u8>) -> Result<(), Errno> {
    const RESET: u32 = 1 << 0;
    const PCI: u32 = 1 << 1;
    fields.u32()?;
    put(answer, &[16, RESET | PCI, region::COUNT, IRQ_COUNT]);
    Ok(())
}

fn get_region_info(
    device: &mut dyn Device,
    mut fields: Fields<'_>,
    answer: &mut Vec<u8>,
) -> Result<(), Errno> {
    const READ_WRITE: u32 = 3;
    let (_argsz, _flags, index) = (fields.u32()?, fields.u32()?, fields.u32()?);
    if index >= region::COUNT {
        return Err(Errno::INVAL);
    }
    // No region says that it can be mapped: one that did would end posted writes.
    let size = device.region_size(index);
    let flags = if size == 0 { 0 } else { READ_WRITE };
    put(answer, &[32, flags, index, 0]);
    answer.extend_from_slice(&size.to_le_bytes());
    answer.extend_from_slice(&0u64.to_le_bytes());
    Ok(())
}

fn vectors_of(device: &dyn Device, index: u32) -> Result<u32, Errno> {
    match index {
        IRQ_MSIX => Ok(device.vectors()),
        // Never signalled; without it QEMU warns at each start.
        IRQ_ERROR => Ok(1),
        i if i < IRQ_COUNT => Ok(0),
        _ => Err(Errno::INVAL),
    }
}

fn get_irq_info(
    device: &mut dyn Device,
    mut fields: Fields<'_>,
    answer: &mut Vec<u8>,
) -> Result<(), Errno> {
    const EVENTFD: u32 = 1;
    let (_argsz, _flags, index) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let count = vectors_of(device, index)?;
    put(answer, &[16, EVENTFD, index, count]);
    Ok(())
}

fn set_irqs(
    device: &mut dyn Device,
    mut fields: Fields<'_>,
    fds: Vec<OwnedFd>,
) -> Result<(), Errno> {
    let (_argsz, flags, index) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let (start, count) = (fields.u32()?, fields.u32()?);
    let vectors = vectors_of(device, index)?;
    let end = start.checked_add(count).filter(|&e| e <= vectors);
    let end = end.ok_or(Errno::INVAL)?;
    let range = match flags {
        f if f == IRQ_DATA_NONE | IRQ_ACTION_TRIGGER && count == 0 => 0..vectors,
        f if f == IRQ_DATA_EVENTFD | IRQ_ACTION_TRIGGER => start..end,
        _ => return Err(Errno::INVAL),
    };
    if !fds.is_empty() && fds.len() != range.len() {
        return Err(Errno::INVAL);
    }
    if index == IRQ_MSIX {
        let mut fds = fds.into_iter();
        range.for_each(|vector| device.set_vector(vector, fds.next()));
    }
    Ok(())
}

/// Region number and offset of an access, and its length, checked against the region.
fn access(device: &dyn Device, fields: &mut Fields<'_>) -> Result<(u32, u64, u32), Errno> {
    let (offset, region, count) = (fields.u64()?, fields.u32()?, fields.u32()?);
    let end = offset.checked_add(count.into()).ok_or(Errno::INVAL)?;
    if region >= region::COUNT || end > device.region_size(region) || count > MAX_TRANSFER {
        return Err(Errno::INVAL);
    }
    Ok((region, offset, count))
}

fn put_access(answer: &mut Vec<u8>, (region, offset, count): (u32, u64, u32)) {
    answer.extend_from_slice(&offset.to_le_bytes());
    put(answer, &[region, count]);
}

fn region_read(
    device: &mut dyn Device,
    mut fields: Fields<'_>,
    answer: &mut Vec<u8>,
) -> Result<(), Errno> {
    let at = access(device, &mut fields)?;
    put_access(answer, at);
    let start = answer.len();
    answer.resize(start + at.2 as usize, 0);
    device.read(at.0, at.1, &mut answer[start..]);
    Ok(())
}

fn region_write(
    device: &mut dyn Device,
    mut fields: Fields<'_>,
    answer: &mut Vec<u8>,
) -> Result<(), Errno> {
    let at = access(device, &mut fields)?;
    let data = fields.rest();
    if data.len() != at.2 as usize {
        return Err(Errno::INVAL);
    }
    device.write(at.0, at.1, data);
    put_access(answer, at);
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
