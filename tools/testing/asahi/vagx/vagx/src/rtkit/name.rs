// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a message is called, for people who read the trace.

use super::{EPMAP_LAST, ep, kind, mgmt};

/// The words for a message, whichever side sent it.
pub fn name(endpoint: u8, msg: u64) -> String {
    let state = msg as u16;
    match (endpoint, kind(msg)) {
        (ep::MANAGEMENT, mgmt::HELLO) => {
            format!("hello, versions {} to {}", msg & 0xffff, msg >> 16 & 0xffff)
        }
        (ep::MANAGEMENT, mgmt::HELLO_REPLY) => format!("hello, version {}", msg & 0xffff),
        (ep::MANAGEMENT, mgmt::PING) => "ping".into(),
        (ep::MANAGEMENT, mgmt::PONG) => "pong".into(),
        (ep::MANAGEMENT, mgmt::START_EP) => format!("start endpoint {:#x}", msg >> 32 & 0xff),
        (ep::MANAGEMENT, mgmt::SET_IOP_POWER) => format!("coprocessor's power to {state:#x}"),
        (ep::MANAGEMENT, mgmt::IOP_POWER_ACK) => format!("coprocessor's power is {state:#x}"),
        (ep::MANAGEMENT, mgmt::AP_POWER) => format!("AP's power is {state:#x}"),
        (ep::MANAGEMENT, mgmt::EPMAP) => {
            let last = if msg & EPMAP_LAST != 0 { ", last" } else { "" };
            let (word, bits) = (msg >> 32 & 7, msg as u32);
            format!("endpoint map {word}: {bits:#x}{last}")
        }
        (ep::CRASHLOG, 1) => "crash log".into(),
        (ep::SYSLOG, 1) => "syslog buffer".into(),
        (ep::SYSLOG, 5) => format!("syslog entry {}", msg & 0xff),
        (ep::SYSLOG, 8) => "syslog sizes".into(),
        (ep::IOREPORT, 1) => "ioreport buffer".into(),
        (ep::IOREPORT, 0xc) => "ioreport start".into(),
        (ep::OSLOG, _) if msg >> 56 == 1 => "oslog buffer".into(),
        (ep::FIRMWARE, _) if msg >> 48 == 0x81 => "initialisation data".into(),
        (ep::FIRMWARE, _) if msg >> 48 == 0x42 => "look at the rings".into(),
        (ep::DOORBELL, _) if msg >> 48 == 0x83 => format!("doorbell {:#x}", msg & 0xffff),
        (ep::DOORBELL, _) if msg >> 48 == 0x84 => "doorbell of the firmware's control".into(),
        _ => "message".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(name(0, 0x0010_0000_000c_000b), "hello, versions 11 to 12");
        assert_eq!(name(0, 0x0088_0001_0000_0003), "endpoint map 1: 0x3, last");
        assert_eq!(name(2, 0x0050_0000_0000_0007), "syslog entry 7");
        assert_eq!(name(0x21, 0x0083_0000_0000_0011), "doorbell 0x11");
        assert_eq!(name(0x77, u64::MAX), "message");
    }
}
