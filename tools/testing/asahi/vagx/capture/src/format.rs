// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is in a capture's files.

use serde::{Deserialize, Serialize};

use crate::jobs::Told;

/// Version of the format.
pub const FORMAT: u32 = 1;
/// Name of the file that lists the others.
pub const INDEX: &str = "index.json";
/// Name of the file of pages.
pub const PAGES: &str = "pages.bin";

/// A 64-bit number as a hexadecimal string: JSON's numbers are not wide enough everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hex(pub u64);

impl From<Hex> for String {
    fn from(v: Hex) -> String {
        format!("{:#x}", v.0)
    }
}

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Hex, String> {
        text.strip_prefix("0x")
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map(Hex)
            .ok_or_else(|| format!("{text:?} is not a hexadecimal number"))
    }
}

/// `index.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Index {
    pub format: u32,
    pub chip: Hex,
    /// Version of the firmware's interface; zeroes where there is no firmware.
    pub abi: [u32; 3],
    pub page_size: u64,
    pub pages: String,
    pub jobs: Vec<String>,
}

/// What came through one of the firmware's channels.
#[derive(Debug, Serialize, Deserialize)]
pub struct Message {
    pub channel: String,
    pub words: String,
}

/// Address, page-table entry, page in the file of pages; no page where there is no RAM.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page(pub Hex, pub Hex, pub Option<u32>);

/// An address space as it was when a job began.
#[derive(Debug, Serialize, Deserialize)]
pub struct Context {
    pub context: u8,
    pub ttb0: Hex,
    pub ttb1: Hex,
    pub pages: Vec<Page>,
}

/// A page that the job changed: its address, and the page in the file of pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Changed(pub Hex, pub u32);

/// `job-NNNNNN.json`.
#[derive(Serialize, Deserialize)]
pub struct Job {
    pub number: u64,
    pub pipe: String,
    pub queue: Hex,
    pub queue_uuid: u32,
    pub command: Hex,
    pub stamp_slot: u32,
    pub stamp_value: Hex,
    pub messages: Vec<Message>,
    #[serde(flatten)]
    pub told: Told,
    pub contexts: Vec<Context>,
    pub changed: Vec<Changed>,
    pub outcome: String,
}
