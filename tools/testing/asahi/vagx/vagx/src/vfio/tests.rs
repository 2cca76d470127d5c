// SPDX-License-Identifier: MIT OR Apache-2.0

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::super::wire::HEADER;
use super::*;

/// A device that notes what it is told.
#[derive(Default)]
struct Stub {
    log: Vec<String>,
    registers: Vec<u8>,
}

impl Device for Stub {
    fn region_size(&self, region: u32) -> u64 {
        [0x100, 0, 0x40, 0, 0, 0, 0, 0x100, 0][region as usize]
    }

    fn read(&mut self, region: u32, offset: u64, data: &mut [u8]) {
        for (i, b) in data.iter_mut().enumerate() {
            *b = (region as usize * 16 + offset as usize + i) as u8;
        }
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8]) {
        self.log
            .push(format!("write {region} {offset:#x} {data:x?}"));
        self.registers.extend_from_slice(data);
    }

    fn vectors(&self) -> u32 {
        4
    }

    fn set_vector(&mut self, vector: u32, event: Option<OwnedFd>) {
        self.log
            .push(format!("vector {vector} {}", event.is_some()));
    }

    fn dma_map(&mut self, map: DmaMap) -> Result<(), Errno> {
        self.log.push(format!(
            "map {:#x}+{:#x} from {:#x} {} {}",
            map.address,
            map.size,
            map.offset,
            map.writable,
            map.file.is_some()
        ));
        Ok(())
    }

    fn dma_unmap(&mut self, address: u64, size: u64) -> Result<u64, Errno> {
        self.log.push(format!("unmap {address:#x}+{size:#x}"));
        if address == 0 {
            return Err(Errno::NOENT);
        }
        Ok(size)
    }

    fn dma_unmap_all(&mut self) -> u64 {
        self.log.push("unmap all".into());
        0x1000
    }

    fn reset(&mut self) {
        self.log.push("reset".into());
    }
}

type Served = JoinHandle<(io::Result<()>, Stub)>;

fn start() -> (UnixStream, Served) {
    let (client, server) = UnixStream::pair().unwrap();
    let served = thread::spawn(move || {
        let mut stub = Stub::default();
        let result = serve(&mut Connection::new(server), &mut stub);
        (result, stub)
    });
    (client, served)
}

fn request(id: u16, command: u16, flags: u32, body: &[u8]) -> Vec<u8> {
    let header = Header {
        id,
        command,
        size: (HEADER + body.len()) as u32,
        flags,
        error: 0,
    };
    [&header.bytes()[..], body].concat()
}

fn answer(client: &mut UnixStream) -> (Header, Vec<u8>) {
    let mut head = [0; HEADER];
    client.read_exact(&mut head).unwrap();
    let head = Header::parse(&head);
    let mut body = vec![0; head.size as usize - HEADER];
    client.read_exact(&mut body).unwrap();
    (head, body)
}

fn ask(client: &mut UnixStream, command: u16, body: &[u8]) -> Result<Vec<u8>, u32> {
    client.write_all(&request(7, command, 0, body)).unwrap();
    let (head, body) = answer(client);
    assert_eq!((head.id, head.command), (7, command));
    match head.flags {
        1 => Ok(body),
        0x21 => {
            assert!(body.is_empty());
            Err(head.error)
        }
        f => panic!("flags {f:#x}"),
    }
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

const HELLO: &[u8] = b"\0\0\0\0{\"capabilities\":{\"max_msg_fds\":16}}\0";

fn greet(client: &mut UnixStream) {
    ask(client, 1, HELLO).unwrap();
}

fn finish(client: UnixStream, served: Served) -> Vec<String> {
    drop(client);
    let (result, stub) = served.join().unwrap();
    result.unwrap();
    stub.log
}

const INVAL: u32 = 22;

#[test]
fn version_bytes() {
    let (mut client, served) = start();
    // As the wire has it: id 1, command 1, size 0x14, no flags; major 0, minor 0.
    client
        .write_all(&[
            1, 0, 1, 0, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ])
        .unwrap();
    let mut head = [0; 16];
    client.read_exact(&mut head).unwrap();
    assert_eq!(&head[..4], &[1, 0, 1, 0]);
    assert_eq!(&head[8..], &[1, 0, 0, 0, 0, 0, 0, 0]);
    let mut body = vec![0; head[4] as usize - 16];
    client.read_exact(&mut body).unwrap();
    assert_eq!(&body[..4], &[0; 4]);
    assert_eq!(body.last(), Some(&0));
    let json = std::str::from_utf8(&body[4..body.len() - 1]).unwrap();
    assert!(json.contains("\"max_data_xfer_size\":65536"), "{json}");
    // QEMU has room for as much as it sent, which is longer than this.
    assert!(body.len() < 100);
    finish(client, served);
}

#[test]
fn nothing_before_version() {
    let (mut client, served) = start();
    assert_eq!(ask(&mut client, 4, &words(&[16, 0, 0, 0])), Err(INVAL));
    assert_eq!(ask(&mut client, 1, b"\x01\0\0\0{}\0"), Err(INVAL));
    assert_eq!(ask(&mut client, 1, b"\0"), Err(INVAL));
    assert_eq!(ask(&mut client, 13, &[]), Err(INVAL));
    greet(&mut client);
    assert_eq!(ask(&mut client, 13, &[]), Ok(vec![]));
    assert_eq!(finish(client, served), ["reset"]);
}

#[test]
fn what_the_device_is() {
    let (mut client, served) = start();
    greet(&mut client);
    let c = &mut client;
    assert_eq!(ask(c, 4, &words(&[16, 0, 0, 0])), Ok(words(&[16, 3, 9, 5])));
    let region = |c: &mut UnixStream, i| ask(c, 5, &words(&[32, 0, i, 0, 0, 0, 0, 0]));
    let info = |flags, i, size| Ok(words(&[32, flags, i, 0, size, 0, 0, 0]));
    assert_eq!(region(c, 0), info(3, 0, 0x100));
    assert_eq!(region(c, 1), info(0, 1, 0));
    assert_eq!(region(c, 7), info(3, 7, 0x100));
    assert_eq!(region(c, 9), Err(INVAL));
    assert_eq!(region(c, u32::MAX), Err(INVAL));
    let irq = |c: &mut UnixStream, i| ask(c, 7, &words(&[16, 0, i, 0]));
    assert_eq!(irq(c, 0), Ok(words(&[16, 1, 0, 0])));
    assert_eq!(irq(c, 2), Ok(words(&[16, 1, 2, 4])));
    assert_eq!(irq(c, 3), Ok(words(&[16, 1, 3, 1])));
    assert_eq!(irq(c, 5), Err(INVAL));
    finish(client, served);
}

#[test]
fn registers() {
    let (mut client, served) = start();
    greet(&mut client);
    let c = &mut client;
    assert_eq!(
        ask(c, 9, &words(&[8, 0, 2, 4])),
        Ok(words(&[8, 0, 2, 4, 0x2b2a_2928]))
    );
    assert_eq!(
        ask(c, 10, &words(&[0x10, 0, 0, 4, 0xdead_beef])),
        Ok(words(&[0x10, 0, 0, 4]))
    );
    // Posted: no answer, so the next answer is that of the read.
    c.write_all(&request(8, 10, 0x10, &words(&[0x20, 0, 0, 8, 1, 2])))
        .unwrap();
    // Posted and wrong: no answer either.
    c.write_all(&request(9, 10, 0x10, &words(&[0xfc, 0, 0, 8, 1, 2])))
        .unwrap();
    for bad in [
        words(&[0xfd, 0, 0, 4]),            // over the end
        words(&[0, 0, 1, 4]),               // an empty region
        words(&[0, 0, 77, 4]),              // no region
        words(&[u32::MAX, u32::MAX, 0, 4]), // wraps
        words(&[0, 0, 0, u32::MAX]),
        words(&[0, 0, 0]), // short
    ] {
        assert_eq!(ask(c, 9, &bad), Err(INVAL));
    }
    // Count and data disagree.
    assert_eq!(ask(c, 10, &words(&[0, 0, 0, 8, 1])), Err(INVAL));
    assert_eq!(ask(c, 10, &words(&[0, 0, 0, 4, 1, 2])), Err(INVAL));
    assert_eq!(
        finish(client, served),
        [
            "write 0 0x10 [ef, be, ad, de]",
            "write 0 0x20 [1, 0, 0, 0, 2, 0, 0, 0]"
        ]
    );
}

fn send_with_fds(client: &UnixStream, message: &[u8], fds: usize) {
    let event = eventfd(0, EventfdFlags::empty()).unwrap();
    let fds = vec![event.as_fd(); fds];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let n = sendmsg(
        client,
        &[io::IoSlice::new(message)],
        &mut control,
        SendFlags::empty(),
    )
    .unwrap();
    assert_eq!(n, message.len());
}

#[test]
fn interrupts() {
    let (mut client, served) = start();
    greet(&mut client);
    // Flags 0x24: eventfds, trigger.
    send_with_fds(&client, &request(1, 8, 0, &words(&[20, 0x24, 2, 1, 2])), 2);
    assert_eq!(answer(&mut client).0.flags, 1);
    send_with_fds(&client, &request(1, 8, 0, &words(&[20, 0x24, 2, 0, 4])), 3);
    assert_eq!(answer(&mut client).0.error, INVAL);
    send_with_fds(&client, &request(1, 8, 0, &words(&[20, 0x24, 3, 0, 1])), 1);
    assert_eq!(answer(&mut client).0.flags, 1);
    let c = &mut client;
    assert_eq!(ask(c, 8, &words(&[20, 0x24, 2, 3, 1])), Ok(vec![]));
    assert_eq!(ask(c, 8, &words(&[20, 0x21, 2, 0, 0])), Ok(vec![]));
    for bad in [
        [20, 0x24, 2, 3, 2],
        [20, 0x24, 2, u32::MAX, 2],
        [20, 0x24, 0, 0, 1],
        [20, 0x24, 9, 0, 0],
        [20, 0x0c, 2, 0, 1],
    ] {
        assert_eq!(ask(c, 8, &words(&bad)), Err(INVAL));
    }
    assert_eq!(
        finish(client, served),
        [
            "vector 1 true",
            "vector 2 true",
            "vector 3 false",
            "vector 0 false",
            "vector 1 false",
            "vector 2 false",
            "vector 3 false"
        ]
    );
}

#[test]
fn memory() {
    let (mut client, served) = start();
    greet(&mut client);
    let map = words(&[32, 3, 0x1000, 0, 0x4000_0000, 0, 0x2000, 0]);
    send_with_fds(&client, &request(1, 2, 0, &map), 1);
    assert_eq!(answer(&mut client).0.flags, 1);
    send_with_fds(&client, &request(1, 2, 0, &map), 2);
    assert_eq!(answer(&mut client).0.error, INVAL);
    let c = &mut client;
    assert_eq!(
        ask(c, 2, &words(&[32, 1, 0, 0, 0, 0, 0x1000, 0])),
        Ok(vec![])
    );
    for bad in [
        [32, 3, 0, 0, 0, 0, 0, 0],
        [32, 3, 0, 0, 0x10, 0, 0x1000, 0],
        [32, 3, 8, 0, 0, 0, 0x1000, 0],
        [32, 3, 0, 0, 0xffff_f000, u32::MAX, 0x2000, 0],
    ] {
        assert_eq!(ask(c, 2, &words(&bad)), Err(INVAL));
    }
    let unmap = [24, 0, 0x4000_0000, 0, 0x2000, 0];
    assert_eq!(ask(c, 3, &words(&unmap)), Ok(words(&unmap)));
    assert_eq!(ask(c, 3, &words(&[24, 0, 0, 0, 0x1000, 0])), Err(2));
    assert_eq!(
        ask(c, 3, &words(&[24, 2, 0, 0, 0, 0])),
        Ok(words(&[24, 2, 0, 0, 0x1000, 0]))
    );
    assert_eq!(ask(c, 3, &words(&[24, 1, 0, 0, 0, 0])), Err(INVAL));
    assert_eq!(
        finish(client, served),
        [
            "map 0x40000000+0x2000 from 0x1000 true true",
            "map 0x0+0x1000 from 0x0 false false",
            "unmap 0x40000000+0x2000",
            "unmap 0x0+0x1000",
            "unmap all"
        ]
    );
}

#[test]
fn unknown_commands_are_refused_and_skipped() {
    let (mut client, served) = start();
    greet(&mut client);
    for command in [0, 6, 11, 12, 14, 15, 16, u16::MAX] {
        assert_eq!(ask(&mut client, command, &[1; 40]), Err(95));
    }
    // A reply to nothing is passed over.
    client.write_all(&request(3, 4, 1, &[9; 8])).unwrap();
    assert!(ask(&mut client, 4, &words(&[16, 0, 0, 0])).is_ok());
    finish(client, served);
}

#[test]
fn lost_framing_ends_the_connection() {
    for size in [0u32, 15, 0x2_0000, u32::MAX] {
        let (mut client, served) = start();
        greet(&mut client);
        let mut m = request(1, 4, 0, &[0; 16]);
        m[4..8].copy_from_slice(&size.to_le_bytes());
        client.write_all(&m).unwrap();
        assert_eq!(client.read(&mut [0; 4]).unwrap_or(0), 0);
        let (result, _) = served.join().unwrap();
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
    // A message that ends in the middle.
    for cut in [1, 15, 16, 30] {
        let (mut client, served) = start();
        client.write_all(&request(1, 1, 0, HELLO)[..cut]).unwrap();
        drop(client);
        assert!(served.join().unwrap().0.is_err());
    }
}

#[test]
fn a_killed_client_is_no_error() {
    let (mut client, served) = start();
    greet(&mut client);
    // Answers that nobody reads.
    for _ in 0..4 {
        client
            .write_all(&request(1, 4, 0, &words(&[16, 0, 0, 0])))
            .unwrap();
    }
    finish(client, served);
}

#[test]
fn header_in_pieces() {
    let (mut client, served) = start();
    for b in request(7, 1, 0, HELLO) {
        client.write_all(&[b]).unwrap();
    }
    assert_eq!(answer(&mut client).0.flags, 1);
    finish(client, served);
}

/// Well-framed nonsense: each message that wants an answer gets one, in order, and the server
/// still understands the next.
#[test]
fn random_bodies() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let (mut client, served) = start();
    greet(&mut client);
    for i in 0..4000u16 {
        let command = (random() % 18) as u16;
        let flags = [0, 0, 0, 0x10, 0x20, 0xffff_fff0][(random() % 6) as usize];
        let mut body: Vec<u8> = (0..random() % 48).map(|_| random() as u8).collect();
        if random() % 2 == 0 {
            // Small numbers come further than wild ones.
            body.iter_mut()
                .enumerate()
                .filter(|(i, _)| i % 4 != 0)
                .for_each(|(_, b)| *b = 0);
        }
        let message = request(i, command, flags, &body);
        if random() % 16 == 0 {
            send_with_fds(&client, &message, 1 + (random() % 3) as usize);
        } else {
            client.write_all(&message).unwrap();
        }
        if flags & 0x10 == 0 {
            let (head, body) = answer(&mut client);
            assert_eq!((head.id, head.command), (i, command));
            assert!(head.flags == 1 || head.flags == 0x21 && body.is_empty() && head.error != 0);
        }
    }
    assert!(ask(&mut client, 4, &words(&[16, 0, 0, 0])).is_ok());
    finish(client, served);
}
