// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a firmware instance is made from: which firmware on which chip, the GPU behind it, and faults to inject.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::capture::Capture;
use crate::engine::Engine;
use crate::faults::{self, Inject, Kind};
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
    /// Where all that is random comes from.
    pub seed: u64,
    /// How often a firmware was started from this.
    boots: Arc<AtomicU32>,
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
            seed: 1,
            boots: Arc::default(),
        })
    }

    /// Adds misbehaviour, and takes over what its words say of the whole configuration.
    pub fn misbehave(&mut self, faults: Vec<Inject>) {
        self.faults = faults;
        self.seed = faults::seed(&self.faults).unwrap_or(self.seed);
        self.job_timeout = faults::time_limit(&self.faults).unwrap_or(self.job_timeout);
    }

    /// Whether the seed matters.
    pub fn is_random(&self) -> bool {
        faults::random(&self.faults)
    }

    /// Whether events come in any order.
    pub(crate) fn shuffles(&self) -> bool {
        self.faults.iter().any(|f| f.kind() == Kind::Shuffle)
    }

    /// The number of a boot that begins, from 1 on.
    pub(crate) fn boot(&self) -> u32 {
        self.boots.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }
}
