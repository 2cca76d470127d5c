// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a firmware instance is made from: which firmware on which chip, the GPU behind it, and faults to inject.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::capture::Capture;
use crate::engine::Engine;
use crate::layout::abi::{self, Abi, Chip};

/// No layouts are known for this chip and firmware version.
#[derive(Debug, thiserror::Error)]
#[error("no firmware {}.{}.{} is known for chip {chip:#x}; known are: {}", abi[0], abi[1], abi[2], abi::known().collect::<Vec<_>>().join(", "))]
pub struct UnknownFirmware {
    chip: u32,
    abi: [u32; 3],
}

/// What the bootloader left in memory. What is empty here is not checked.
#[derive(Clone, Default)]
pub struct Left {
    /// Physical address and value of page-table entries for the firmware itself, which the driver must not touch.
    pub table_entries: Vec<(u64, u64)>,
    /// HwDataA, HwDataB and Globals: the driver hands them over as they are, but for the fields it has to fill.
    pub blobs: Option<[Vec<u8>; 3]>,
}

/// What a [`Firmware`](crate::Firmware) is made from.
#[derive(Clone)]
pub struct FwConfig {
    pub(crate) chip: &'static Chip,
    pub(crate) abi: &'static Abi,
    /// The GPU that runs what the commands describe.
    pub engine: Arc<dyn Engine>,
    /// Misbehaviour to show to the driver.
    pub faults: Vec<Inject>,
    /// What the bootloader left in memory and the driver must respect.
    pub left: Left,
    /// Where to put the jobs and the memory they saw.
    pub capture: Option<Arc<Capture>>,
    /// A job that takes longer is reported to the driver as timed out. The model is slow, so this is generous.
    pub job_timeout: Duration,
}

impl FwConfig {
    /// The configuration for a firmware version on a chip, by the chip's number (0x8103 is the M1).
    pub fn new(chip: u32, abi: [u32; 3], engine: Arc<dyn Engine>) -> Result<Self, UnknownFirmware> {
        let (chip, abi) = abi::find(chip, abi).ok_or(UnknownFirmware { chip, abi })?;
        Ok(FwConfig {
            chip,
            abi,
            engine,
            faults: Vec::new(),
            left: Left::default(),
            capture: None,
            job_timeout: Duration::from_secs(120),
        })
    }

    /// Whether a fault of this kind was asked for that does not depend on the job.
    pub(crate) fn injects(&self, what: Inject) -> bool {
        self.faults.contains(&what)
    }
}

/// Misbehaviour of a firmware, to try out a driver's error paths. Job numbers count from 1 over one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inject {
    /// Boots, then ignores every message.
    Silent,
    /// Never writes its magic value into the handoff region.
    NoHandoff,
    /// Takes the handoff lock and keeps it.
    HoldLock,
    /// Ignores requests to flush its cache.
    NoFlushAck,
    /// Crashes when it gets the initialisation data.
    CrashAtInit,
    /// Crashes when it has finished that many jobs.
    CrashAfter(u64),
    /// Stops to answer when it has finished that many jobs.
    SilentAfter(u64),
    /// That job never ends on the GPU; the firmware notices and reports a timeout.
    HangJob(u64),
    /// That job never ends and nothing is said about it.
    LoseJob(u64),
    /// That job ends with a GPU fault.
    FaultJob(u64),
    /// That job ends with a channel error.
    ChannelError(u64),
    /// Sends events of unknown type and with indices out of range.
    BadEvent,
    /// Puts write indices out of range into the rings that the driver reads.
    BadRing,
}

/// The text does not name a kind of misbehaviour.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "unknown fault \"{0}\": the firmware's are silent, no-handoff, hold-lock, no-flush-ack, crash-at-init, crash-after:N, silent-after:N, hang-job:N, lose-job:N, fault-job:N, channel-error:N, bad-event, bad-ring"
)]
pub struct UnknownInject(String);

impl FromStr for Inject {
    type Err = UnknownInject;

    fn from_str(text: &str) -> Result<Self, UnknownInject> {
        let unknown = || UnknownInject(text.to_owned());
        let (kind, number) = match text.split_once(':') {
            Some((kind, number)) => (kind, Some(number.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        let job = number.unwrap_or(1);
        Ok(match (kind, number) {
            ("silent", None) => Inject::Silent,
            ("no-handoff", None) => Inject::NoHandoff,
            ("hold-lock", None) => Inject::HoldLock,
            ("no-flush-ack", None) => Inject::NoFlushAck,
            ("crash-at-init", None) => Inject::CrashAtInit,
            ("bad-event", None) => Inject::BadEvent,
            ("bad-ring", None) => Inject::BadRing,
            ("crash-after", _) => Inject::CrashAfter(job),
            ("silent-after", _) => Inject::SilentAfter(job),
            ("hang-job", _) => Inject::HangJob(job),
            ("lose-job", _) => Inject::LoseJob(job),
            ("fault-job", _) => Inject::FaultJob(job),
            ("channel-error", _) => Inject::ChannelError(job),
            _ => return Err(unknown()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_by_name() {
        assert_eq!("silent".parse(), Ok(Inject::Silent));
        assert_eq!("crash-after:3".parse(), Ok(Inject::CrashAfter(3)));
        assert_eq!("hang-job".parse(), Ok(Inject::HangJob(1)));
        for bad in ["", "silent:1", "hang-job:x", "hang-job:", "nothing"] {
            assert!(bad.parse::<Inject>().is_err(), "{bad}");
        }
    }
}
