// SPDX-License-Identifier: MIT OR Apache-2.0

//! The crash log: sections behind a header, as m1n1 `proxyclient/m1n1/fw/asc/crash.py` takes it
//! apart.

use crate::mailbox::Past;

const HEADER: &[u8; 4] = b"CLHE";
/// Exception level 1, handler stack: what the firmware runs at.
const EL1H: u64 = 5;

fn name(fourcc: &[u8; 4]) -> [u8; 4] {
    u32::from_be_bytes(*fourcc).to_le_bytes()
}

/// A section: name, an unknown word, flags, length with these 16 bytes, content.
fn section(log: &mut Vec<u8>, fourcc: &[u8; 4], mut content: Vec<u8>) {
    content.resize(content.len().next_multiple_of(8), 0);
    log.extend_from_slice(&name(fourcc));
    log.extend_from_slice(&[0; 8]);
    log.extend_from_slice(&(content.len() as u32 + 16).to_le_bytes());
    log.append(&mut content);
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A log that says `why`, and what went over the mailbox before.
pub fn build(why: &str, history: &[Past]) -> Vec<u8> {
    let mut log = Vec::new();

    let mut version = vec![0; 16];
    version.extend_from_slice(b"RTKit virtual AGX\0");
    section(&mut log, b"Cver", version);

    let mut text = words(&[0]);
    text.extend(why.bytes().filter(|b| *b != 0).take(0x1000));
    text.push(0);
    section(&mut log, b"Cstr", text);

    let time = history.last().map_or(0, |p| u64::from(p.time));
    section(&mut log, b"Ctim", time.to_le_bytes().to_vec());

    let mut messages = words(&[0, 0, 0, 0, 0, 0, 0]);
    for p in history {
        messages.extend_from_slice(&u64::from(p.endpoint).to_le_bytes());
        messages.extend_from_slice(&p.message.to_le_bytes());
        messages.extend_from_slice(&words(&[p.time, 0]));
    }
    section(&mut log, b"Cmbx", messages);

    // Two words, x0 to x30, sp, pc, psr, cpacr, fpsr, fpcr, 64 unknown, far, ?, esr, ?.
    let mut registers = vec![0u64; 1 + 31 + 6 + 64 + 4];
    registers[1 + 31 + 2] = EL1H;
    section(
        &mut log,
        b"Crg8",
        registers.iter().flat_map(|r| r.to_le_bytes()).collect(),
    );

    section(&mut log, HEADER, vec![0; 16]);

    let mut out = name(HEADER).to_vec();
    out.extend_from_slice(&words(&[0x103, log.len() as u32 + 0x20, 0, 0, 0, 0, 0]));
    out.append(&mut log);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn u32_at(log: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(log[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn sections_lead_to_the_end() {
        let past = Past {
            endpoint: 0x20,
            message: 0x42 << 48,
            time: 7,
        };
        let log = build("it broke", &[past; 16]);
        assert_eq!(&log[..4], b"EHLC");
        assert_eq!(u32_at(&log, 8) as usize, log.len());
        let mut at = 0x20;
        let mut names = Vec::new();
        while at < log.len() {
            let mut n = log[at..at + 4].to_vec();
            n.reverse();
            names.push(String::from_utf8(n).unwrap());
            if names.last().unwrap() == "Cstr" {
                assert_eq!(&log[at + 20..at + 29], b"it broke\0");
            }
            if names.last().unwrap() == "Crg8" {
                assert!(u32_at(&log, at + 12) >= 0x350);
            }
            at += u32_at(&log, at + 12) as usize;
        }
        assert_eq!(at, log.len());
        assert_eq!(names, ["Cver", "Cstr", "Ctim", "Cmbx", "Crg8", "CLHE"]);
    }

    #[test]
    fn long_words_fit_the_buffer() {
        assert!(build(&"x".repeat(1 << 20), &[]).len() < 0x2_0000);
    }
}
