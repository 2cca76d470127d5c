// SPDX-License-Identifier: MIT OR Apache-2.0

//! Complaints: what they say and how they read.

use std::fmt;

use serde::Serialize;

/// Something the driver under test did that the real thing would choke on.
#[derive(Clone, Debug)]
pub struct Complaint<'a> {
    /// The structure, register block or protocol, as the public documentation calls it.
    pub structure: &'a str,
    /// The field in it.
    pub field: &'a str,
    /// The field's offset in the structure.
    pub offset: u64,
    /// What was found there.
    pub value: u64,
    /// The address of the field: a GPU virtual address, or a physical one for registers.
    pub address: u64,
    /// What is wrong about it.
    pub why: String,
}

impl fmt::Display for Complaint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}+{:#x} = {:#x} at {:#x}: {}",
            self.structure, self.field, self.offset, self.value, self.address, self.why
        )
    }
}

/// A complaint as kept and as written to the complaints file.
#[derive(Clone, Debug, Serialize)]
pub struct Recorded {
    /// Nanoseconds since the trace began.
    pub time: u64,
    pub structure: String,
    pub field: String,
    pub offset: u64,
    pub value: u64,
    pub address: u64,
    pub why: String,
}

impl Recorded {
    pub(crate) fn new(time: u64, c: &Complaint<'_>) -> Self {
        Recorded {
            time,
            structure: c.structure.to_owned(),
            field: c.field.to_owned(),
            offset: c.offset,
            value: c.value,
            address: c.address,
            why: c.why.clone(),
        }
    }
}
