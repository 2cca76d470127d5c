// SPDX-License-Identifier: MIT OR Apache-2.0

//! The whole device over its socket, as QEMU and a guest's drivers use it.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use vagx_boot::Region;

use super::*;
use crate::coprocessor::{Application, Port};
use crate::vfio::{Connection, serve};

const RAM: u64 = 0x4000_0000;
const RAM_SIZE: u64 = 16 << 20;
/// Where the guest of these tests maps the endpoints' buffers.
const BUFFERS: u64 = 0xffff_ffae_0000_0000;

fn layout() -> Layout {
    let mut next = RAM + RAM_SIZE;
    let mut region = |size| {
        next -= size;
        Region { base: next, size }
    };
    Layout {
        ttbs: region(0x4000),
        pagetables: region(0x4000),
        handoff: region(0x4000),
        hw_cal_a: region(0x8000),
        hw_cal_b: region(0x4000),
        globals: region(0x1_4000),
        firmware: region(0xc000),
        ram: vec![Region {
            base: RAM,
            size: RAM_SIZE,
        }],
    }
}

/// Firmware that answers each message with the next number.
struct Echo(Port);

impl Application for Echo {
    fn message(&self, endpoint: u8, message: u64) {
        self.0.syslog("echo");
        self.0.send(endpoint, message + 1);
    }

    fn stop(&self) {}
}

struct Guest {
    socket: UnixStream,
    ram: GuestRam,
    fd: OwnedFd,
    event: OwnedFd,
    trace: Trace,
    served: JoinHandle<std::io::Result<()>>,
}

impl Guest {
    fn new() -> Self {
        let (socket, server) = UnixStream::pair().unwrap();
        let trace = Trace::silent();
        let told = trace.clone();
        let served = thread::spawn(move || {
            let machine = Machine::all().next().unwrap();
            let mut soc = Soc::new(machine, layout(), &[], told, |_| {
                Box::new(|port| {
                    port.syslog("started");
                    Arc::new(Echo(port)) as Arc<dyn Application>
                })
            })
            .unwrap();
            let result = serve(&mut Connection::new(server), &mut soc);
            soc.shut_down();
            result
        });
        let fd = memfd_create("ram", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, RAM_SIZE).unwrap();
        let ram = GuestRam::default();
        ram.map(&DmaMap {
            address: RAM,
            size: RAM_SIZE,
            offset: 0,
            writable: true,
            file: Some(fd.try_clone().unwrap()),
        })
        .unwrap();
        let mut guest = Self {
            socket,
            ram,
            fd,
            event: eventfd(0, EventfdFlags::CLOEXEC).unwrap(),
            trace,
            served,
        };
        guest.request(1, b"\0\0\0\0{}\0", None);
        guest
    }

    fn request(&mut self, command: u16, body: &[u8], fd: Option<OwnedFd>) -> Vec<u8> {
        let mut m = vec![5, 0];
        m.extend_from_slice(&command.to_le_bytes());
        m.extend_from_slice(&(16 + body.len() as u32).to_le_bytes());
        m.extend_from_slice(&[0; 8]);
        m.extend_from_slice(body);
        let fds: Vec<_> = fd.iter().map(AsFd::as_fd).collect();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        let io = [std::io::IoSlice::new(&m)];
        sendmsg(&self.socket, &io, &mut control, SendFlags::empty()).unwrap();
        let mut head = [0; 16];
        self.socket.read_exact(&mut head).unwrap();
        assert_eq!(head[8], 1, "command {command} failed");
        let size = u32::from_le_bytes(head[4..8].try_into().unwrap());
        let mut answer = vec![0; size as usize - 16];
        self.socket.read_exact(&mut answer).unwrap();
        answer
    }

    fn words(&mut self, command: u16, words: &[u32], fd: Option<OwnedFd>) -> Vec<u8> {
        let body: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.request(command, &body, fd)
    }

    fn power_on(&mut self) {
        let fd = self.fd.try_clone().unwrap();
        let map = [32, 3, 0, 0, RAM as u32, 0, RAM_SIZE as u32, 0];
        self.words(2, &map, Some(fd));
        self.words(13, &[], None);
        let event = self.event.try_clone().unwrap();
        self.words(8, &[20, 0x24, 2, 3, 1], Some(event));
    }

    fn read(&mut self, region: u32, offset: u64, len: u32) -> u64 {
        let answer = self.words(9, &[offset as u32, 0, region, len], None);
        let mut b = [0; 8];
        b[..len as usize].copy_from_slice(&answer[16..]);
        u64::from_le_bytes(b)
    }

    /// Posted, as QEMU does it.
    fn write(&mut self, region: u32, offset: u64, len: u32, value: u64) {
        let mut m = vec![6, 0, 10, 0];
        m.extend_from_slice(&(32 + len).to_le_bytes());
        m.extend_from_slice(&[0x10, 0, 0, 0, 0, 0, 0, 0]);
        m.extend_from_slice(&offset.to_le_bytes());
        m.extend_from_slice(&region.to_le_bytes());
        m.extend_from_slice(&len.to_le_bytes());
        m.extend_from_slice(&value.to_le_bytes()[..len as usize]);
        self.socket.write_all(&m).unwrap();
    }

    fn send(&mut self, endpoint: u64, message: u64) {
        self.write(0, 0x240_8800, 8, message);
        self.write(0, 0x240_8808, 8, endpoint);
    }

    fn wait_interrupt(&self) {
        let second = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&self.event, PollFlags::IN)];
        assert_eq!(poll(&mut fds, Some(&second)), Ok(1), "no interrupt");
        rustix::io::read(&self.event, &mut [0; 8]).unwrap();
    }

    /// Waits for the interrupt, and takes a message as the mailbox's driver does.
    fn receive(&mut self) -> (u8, u64) {
        self.wait_interrupt();
        self.write(2, 0x44, 4, 8);
        assert_eq!(self.read(2, 0x40, 4) & 8, 8);
        let message = self.read(0, 0x240_8830, 8);
        let endpoint = self.read(0, 0x240_8838, 8) as u8;
        self.write(2, 0x48, 4, 8);
        (endpoint, message)
    }

    /// Maps 512 KiB of RAM for the firmware, as the driver under test has to.
    fn map_buffers(&self) {
        let l = layout();
        let (mid, leaf) = (RAM + 0x10_0000, RAM + 0x10_4000);
        let put = |pa, value| self.ram.write_u64(pa, value).unwrap();
        put(l.ttbs.base + 8, l.pagetables.base | 1);
        put(l.pagetables.base + (BUFFERS >> 36 & 7) * 8, mid | 3);
        put(mid + (BUFFERS >> 25 & 2047) * 8, leaf | 3);
        for i in 0..32 {
            let page = RAM + 0x20_0000 + i * 0x4000;
            put(
                leaf + i * 8,
                page | 1 << 55 | 1 << 54 | 1 << 10 | 1 << 6 | 3,
            );
        }
    }

    fn finish(self) -> u64 {
        drop(self.socket);
        self.served.join().unwrap().unwrap();
        self.trace.complaint_count()
    }
}

#[test]
fn power_on_state() {
    let mut g = Guest::new();
    g.power_on();
    assert_eq!(g.read(7, 0, 4), 0xa6c5_1209);
    assert_eq!(g.read(2, 0, 4), 0x5847_4156);
    assert_eq!([g.read(2, 4, 4), g.read(2, 8, 4)], [1, 0x8103]);
    assert_eq!(
        [g.read(2, 0xc, 4), g.read(2, 0x10, 4), g.read(2, 0x14, 4)],
        [13, 5, 0]
    );
    assert_eq!([g.read(2, 0x4c, 4), g.read(2, 0x40, 4)], [15, 5]);
    assert_eq!(g.read(0, 0xd0_4000, 4), 0x402_1100);
    assert_eq!(g.read(0, 0x240_0044, 4), 0);
    assert_eq!(g.read(0, 0x200_0000, 8), 0);
    assert_eq!(g.read(4, 0x4000, 8), 0);
    // The bootloader has been there: the root has the firmware's half.
    let root = layout().pagetables.base;
    assert_ne!(g.ram.read_u64(root).unwrap() & 1, 0);
    // And is there again after a reset, whatever the guest did.
    g.ram.write_u64(root, 0).unwrap();
    g.words(13, &[], None);
    assert_ne!(g.ram.read_u64(root).unwrap() & 1, 0);
    assert_eq!(g.finish(), 0);
}

#[test]
fn wrong_accesses() {
    let mut g = Guest::new();
    g.power_on();
    g.read(0, 0xd0_4000, 2);
    g.read(0, 0xd0_4002, 4);
    g.read(0, 0x240_8834, 8);
    g.write(0, 0x240_0044, 1, 0x10);
    g.write(0, 0xd0_4000, 4, 0);
    assert_eq!(g.finish(), 5);
}

/// The boot of the coprocessor, a message for its firmware and back, sleep, and all that again.
#[test]
fn boot_talk_sleep_twice() {
    let mut g = Guest::new();
    g.power_on();
    for _ in 0..2 {
        g.map_buffers();
        g.write(2, 0x48, 4, 8);
        g.write(0, 0x240_0044, 4, 0x10);
        assert_eq!(g.receive(), (0, 0x0010_0000_000c_000b));
        g.send(0, 0x0020_0000_000c_000c);
        assert_eq!(g.receive(), (0, 0x0080_0000_0000_011f));
        g.send(0, 0x0080_0000_0000_0001);
        assert_eq!(g.receive(), (0, 0x0088_0001_0000_0003));
        g.send(0, 0x0088_0001_0000_0000);
        for e in [1, 2, 3, 4, 8] {
            g.send(0, 0x0050_0000_0000_0002 | e << 32);
        }
        assert_eq!(g.receive(), (1, 0x0012_0000_0000_0000));
        assert_eq!(g.receive(), (2, 0x0080_0000_e000_0040));
        assert_eq!(g.receive(), (2, 0x0010_4000_0000_0000));
        assert_eq!(g.receive(), (4, 0x0010_4000_0000_0000));
        assert_eq!(g.receive(), (8, 0x0104_0000_0000_0000));
        g.send(1, 0x0012_0fae_0000_0000);
        g.send(2, 0x0010_4fae_0002_0000);
        g.send(4, 0x0010_4fae_0002_4000);
        assert_eq!(g.receive(), (2, 0x0050_0000_0000_0000));
        g.send(2, 0x0050_0000_0000_0000);
        assert_eq!(g.receive(), (4, 0x00c0_0000_0000_0000));
        g.send(4, 0x00c0_0000_0000_0000);
        g.send(8, 0x0100_0000_0000_0000 | 0x4000 << 36 | 0xfae0_0028);
        assert_eq!(g.receive(), (0, 0x0070_0000_0000_0020));
        g.send(0, 0x00b0_0000_0000_0020);
        assert_eq!(g.receive(), (0, 0x00b0_0000_0000_0020));
        g.send(0, 0x0050_0020_0000_0002);
        g.send(0x20, 41);
        assert_eq!(g.receive(), (2, 0x0050_0000_0000_0001));
        g.send(2, 0x0050_0000_0000_0001);
        assert_eq!(g.receive(), (0x20, 42));
        g.send(0, 0x00b0_0000_0000_0010);
        assert_eq!(g.receive(), (0, 0x00b0_0000_0000_0010));
        g.send(0, 0x0060_0000_0000_0001);
        assert_eq!(g.receive(), (0, 0x0070_0000_0000_0001));
        g.write(0, 0x240_0044, 4, 0);
        assert_eq!(g.read(0, 0x240_0048, 4) & 2, 2);
    }
    assert_eq!(g.finish(), 0);
}

/// What measurements of the bare costs use.
#[test]
fn echoes() {
    let mut g = Guest::new();
    g.power_on();
    g.write(2, 0x48, 4, 8);
    g.write(2, 0x64, 4, 1);
    g.send(0x21, 7);
    assert_eq!(g.receive(), (0x21, 7));
    g.write(2, 0x64, 4, 0);
    g.send(0x21, 8);
    assert_eq!(g.read(2, 0x40, 4), 0b0110);

    let event = g.event.try_clone().unwrap();
    g.words(8, &[20, 0x24, 2, 4, 1], Some(event));
    g.write(2, 0x60, 4, 1);
    g.wait_interrupt();

    g.write(2, 0x20, 8, 1 << 40);
    let [first, second] = [(); 2].map(|()| g.read(2, 0x20, 8));
    assert!(1 << 40 <= first && first <= second);
    assert_eq!(g.finish(), 0);
}

/// A guest that writes anything anywhere breaks nothing but itself.
#[test]
fn wild_guest() {
    let mut g = Guest::new();
    g.power_on();
    g.map_buffers();
    g.write(0, 0x240_0044, 4, 0x10);
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..6000 {
        let r = random();
        let kind = (r >> 8 & 15) << 52;
        match r % 8 {
            0 => g.write(0, 0x240_0044, 4, r >> 32),
            1 => g.send(r >> 16 & 3, kind | r >> 40 | (r >> 20 & 0xff) << 32),
            2 => g.send(r >> 16 & 0x2f, r),
            3 => g.write(2, r >> 20 & 0x3ff8, 4, r >> 40),
            4 => {
                let offset = [0x8110, 0x8114, 0x8830, 0x8838, 0x48][(r >> 16) as usize % 5];
                g.read(0, 0x240_0000 + offset, [4, 8][(r >> 12) as usize & 1]);
            }
            5 => {
                g.read(
                    (r >> 12) as u32 % 2 * 2,
                    r >> 20 & 0x3fff,
                    1 << (r >> 60 & 3),
                );
            }
            6 => g.write(7, r >> 20 & 0xf8, 8, r),
            _ => g.write(0, r >> 20 & 0x3ff_ffff & !7, 8, r),
        }
    }
    assert_eq!(g.read(2, 0, 4), 0x5847_4156);
    g.words(13, &[], None);
    assert_eq!(g.read(0, 0x240_0048, 4), 0x2e);
    assert!(g.finish() > 0);
}

#[test]
fn clock_goes_on_from_what_the_guest_said() {
    let clock = Clock::new();
    clock.set(1_000_000_000);
    let ticks = clock.ticks();
    assert!((24_000_000..24_000_000 * 60).contains(&ticks));
    clock.set(u64::MAX);
    assert!(clock.ticks() > ticks);
}
