// SPDX-License-Identifier: MIT OR Apache-2.0

//! The PCI function: a window onto the piece of an Apple SoC that holds the GPU.
//!
//! Region 0 is the SoC's own address range, as the GPU and its coprocessor lie in it. Region 2 says
//! what machine this is, and has the interrupt lines. Region 4 has the MSI-X table.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use rustix::io::Errno;
use vagx_boot::{Layout, Machine};
use vagx_trace::{Complaint, Level, Trace};
use vagx_uat::{PhysMem, Uat};

use crate::coprocessor::{Boot, Coprocessor};
use crate::fault::Fault;
use crate::lines::{self, Lines};
use crate::mailbox::Mailbox;
use crate::ram::GuestRam;
use crate::sgx::{FaultRegister, Sgx};
use crate::vfio::{Bar, ConfigSpace, Device, DmaMap, config, region};

/// Identity of the function: an id of the pid.codes space, a processing accelerator.
const VENDOR: u16 = 0x1209;
const DEVICE: u16 = 0xa6c5;
const CLASS: u32 = 0x12_0000;
const REVISION: u8 = 1;

/// Where region 0 lies in the SoC, and the blocks in it.
const WINDOW: u64 = 0x2_0400_0000;
const WINDOW_SIZE: u64 = 64 << 20;
const SGX_SIZE: u64 = 0x100_0000;
const ASC: u64 = 0x2_0640_0000;
const ASC_SIZE: u64 = 0x4_0000;
/// Where the coprocessor's mailbox lies.
const MAILBOX: u64 = ASC + 0x8000;

const STRAPS_SIZE: u64 = 16 << 10;
const MSIX_SIZE: u64 = 32 << 10;
const MSIX_PENDING: u32 = 0x4000;

/// Registers of region 2.
mod straps {
    pub const MAGIC: u64 = 0x00;
    pub const VERSION: u64 = 0x04;
    pub const CHIP: u64 = 0x08;
    pub const ABI: u64 = 0x0c;
    /// Written by the guest: its counter, in nanoseconds. Read: what it is by now, as far as is
    /// known here.
    pub const GUEST_TIME: u64 = 0x20;
    pub const IRQ_PENDING: u64 = 0x40;
    pub const IRQ_MASK_SET: u64 = 0x44;
    pub const IRQ_MASK_CLEAR: u64 = 0x48;
    pub const IRQ_MASK: u64 = 0x4c;
    /// For measurements. Written: the vector behind those of the lines is raised at once.
    pub const ECHO: u64 = 0x60;
    /// Written 1: while the coprocessor is stopped, the mailbox gives back what is sent.
    pub const ECHO_MAILBOX: u64 = 0x64;

    /// "VAGX".
    pub const MAGIC_VALUE: u32 = 0x5847_4156;
    /// Of what region 2 looks like.
    pub const VERSION_VALUE: u32 = 1;
}

/// Time as the guest's counter has it: what it was when the guest told it, and what has passed since.
#[derive(Clone)]
pub struct Clock(Arc<Mutex<(Instant, u64)>>);

impl Clock {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new((Instant::now(), 0))))
    }

    fn set(&self, nanoseconds: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), nanoseconds);
    }

    fn nanoseconds(&self) -> u128 {
        let (since, base) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        u128::from(base) + since.elapsed().as_nanos()
    }

    /// Ticks at the SoC's 24 MHz.
    pub fn ticks(&self) -> u64 {
        (self.nanoseconds() * 3 / 125) as u64
    }
}

/// What the firmware needs of the machine.
#[derive(Clone)]
pub struct Environment {
    pub ram: Arc<GuestRam>,
    pub uat: Uat,
    /// Physical address of the handoff region.
    pub handoff: u64,
    pub clock: Clock,
    pub fault: FaultRegister,
}

/// The device.
pub struct Soc {
    machine: Machine,
    layout: Layout,
    env: Environment,
    lines: Arc<Lines>,
    coprocessor: Coprocessor,
    sgx: Sgx,
    config: ConfigSpace,
    trace: Trace,
    /// The bootloader's part is in memory.
    booted: bool,
    /// The mailbox gives back what is sent, for measurements.
    echo: bool,
    /// Registers without a meaning here that were mentioned already.
    mentioned: BTreeSet<(u32, u64)>,
}

impl Soc {
    /// A machine at power-on; `boot` makes what starts its firmware.
    pub fn new(
        machine: Machine,
        layout: Layout,
        faults: &[Fault],
        trace: Trace,
        boot: impl FnOnce(&Environment) -> Box<Boot>,
    ) -> anyhow::Result<Self> {
        let ram = Arc::new(GuestRam::default());
        let uat = Uat::new(ram.clone(), layout.ttbs.base, machine.chip.oas);
        let lines = Arc::new(Lines::new());
        let mailbox = Mailbox::new(lines.clone(), trace.clone(), MAILBOX);
        let sgx = Sgx::new(machine.chip.id, WINDOW, trace.clone())
            .with_context(|| format!("no GPU registers are known for {}", machine.chip.name))?;
        let env = Environment {
            ram,
            uat: uat.clone(),
            handoff: layout.handoff.base,
            clock: Clock::new(),
            fault: sgx.fault(),
        };
        let coprocessor = Coprocessor::new(mailbox, uat, trace.clone(), faults, ASC, boot(&env));
        let mut config = ConfigSpace::new(VENDOR, DEVICE, CLASS, REVISION);
        for (index, size, wide) in [
            (region::BAR0, WINDOW_SIZE, true),
            (region::BAR2, STRAPS_SIZE, false),
            (region::BAR4, MSIX_SIZE, false),
        ] {
            let index = index as usize;
            config.add_bar(Bar { index, size, wide });
        }
        config.add_msix(lines::VECTORS as u16, region::BAR4, MSIX_PENDING);
        Ok(Self {
            machine,
            layout,
            env,
            lines,
            coprocessor,
            sgx,
            config,
            trace,
            booted: false,
            echo: false,
            mentioned: BTreeSet::new(),
        })
    }

    /// Ends the firmware.
    pub fn shut_down(&self) {
        self.coprocessor.reset();
    }

    /// Messages that went over the mailbox.
    pub fn messages(&self) -> u64 {
        self.coprocessor.messages()
    }

    /// Does the bootloader's part, as soon as all memory for it is there.
    fn boot(&mut self) {
        if self.booted {
            return;
        }
        let ram = &self.env.ram;
        let write = |pa: u64, bytes: &[u8]| ram.write(pa, bytes);
        self.booted = vagx_boot::load(&self.layout, &self.machine, write).is_ok();
        if self.booted {
            let line = format!("memory is set up for {}", self.machine);
            self.trace.log(Level::Info, &line);
        }
    }

    fn mention(&mut self, region: u32, offset: u64, what: &str) {
        if self.mentioned.insert((region, offset)) {
            let line = format!("{what} at {offset:#x} of region {region}: nothing is there");
            self.trace.log(Level::Info, &line);
        }
    }

    /// Says whether an access is one that the SoC's blocks take: 32 or 64 bits, aligned.
    fn well_formed(&self, offset: u64, len: usize) -> bool {
        let ok = matches!(len, 4 | 8) && offset.is_multiple_of(len as u64);
        if !ok {
            self.trace.complain(Complaint {
                structure: "SoC registers",
                field: "access",
                offset,
                value: len as u64,
                address: WINDOW + offset,
                why: "registers are accessed with 32 or 64 bits, aligned".into(),
            });
        }
        ok
    }

    fn read_window(&mut self, offset: u64, len: usize) -> u64 {
        if !self.well_formed(offset, len) {
            return 0;
        }
        let address = WINDOW + offset;
        if offset < SGX_SIZE {
            return match len {
                8 => self.sgx.read64(offset),
                _ => self.sgx.read32(offset).into(),
            };
        }
        if (ASC..ASC + ASC_SIZE).contains(&address)
            && let Some(value) = self.coprocessor.read(address - ASC)
        {
            return value;
        }
        self.mention(region::BAR0, offset, "read");
        0
    }

    fn write_window(&mut self, offset: u64, len: usize, value: u64) {
        if !self.well_formed(offset, len) {
            return;
        }
        let address = WINDOW + offset;
        if offset < SGX_SIZE {
            return self.sgx.write(offset, value);
        }
        let known = (ASC..ASC + ASC_SIZE).contains(&address)
            && self.coprocessor.write(address - ASC, value);
        if !known {
            self.mention(region::BAR0, offset, "write");
        } else if self.echo {
            self.coprocessor.echo();
        }
    }

    fn read_straps(&self, offset: u64) -> u64 {
        let [major, minor, patch] = self.machine.abi.triple();
        if offset == straps::GUEST_TIME {
            return self.env.clock.nanoseconds() as u64;
        }
        let value = match offset {
            straps::MAGIC => straps::MAGIC_VALUE,
            straps::VERSION => straps::VERSION_VALUE,
            straps::CHIP => self.machine.chip.id,
            straps::ABI => major,
            o if o == straps::ABI + 4 => minor,
            o if o == straps::ABI + 8 => patch,
            straps::IRQ_PENDING => self.lines.pending(),
            straps::IRQ_MASK => self.lines.mask(),
            _ => 0,
        };
        value.into()
    }

    fn write_straps(&mut self, offset: u64, value: u64) {
        match offset {
            straps::IRQ_MASK_SET => self.lines.mask_set(value as u32),
            straps::IRQ_MASK_CLEAR => self.lines.mask_clear(value as u32),
            straps::GUEST_TIME => self.env.clock.set(value),
            straps::ECHO => self.lines.echo(),
            straps::ECHO_MAILBOX => self.echo = value & 1 != 0,
            _ => self.mention(region::BAR2, offset, "write"),
        }
    }
}

impl Device for Soc {
    fn region_size(&self, region: u32) -> u64 {
        match region {
            region::BAR0 => WINDOW_SIZE,
            region::BAR2 => STRAPS_SIZE,
            region::BAR4 => MSIX_SIZE,
            region::CONFIG => config::SIZE as u64,
            _ => 0,
        }
    }

    fn read(&mut self, region: u32, offset: u64, data: &mut [u8]) {
        let value = match region {
            region::CONFIG => return self.config.read(offset, data),
            region::BAR0 => self.read_window(offset, data.len()),
            region::BAR2 => self.read_straps(offset),
            // QEMU has the table; no bit is ever pending, since each event is told at once.
            _ => 0,
        };
        data.iter_mut()
            .zip(value.to_le_bytes())
            .for_each(|(d, v)| *d = v);
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8]) {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(data).for_each(|(b, d)| *b = *d);
        let value = u64::from_le_bytes(bytes);
        match region {
            region::CONFIG => self.config.write(offset, data),
            region::BAR0 => self.write_window(offset, data.len(), value),
            region::BAR2 => self.write_straps(offset, value),
            _ => {}
        }
    }

    fn vectors(&self) -> u32 {
        lines::VECTORS
    }

    fn set_vector(&mut self, vector: u32, event: Option<OwnedFd>) {
        self.lines.connect(vector, event);
    }

    fn dma_map(&mut self, map: DmaMap) -> Result<(), Errno> {
        self.env.ram.map(&map)?;
        self.boot();
        Ok(())
    }

    fn dma_unmap(&mut self, address: u64, size: u64) -> Result<u64, Errno> {
        self.env.ram.unmap(address, size)
    }

    fn dma_unmap_all(&mut self) -> u64 {
        self.env.ram.unmap_all()
    }

    /// Power-on: the one request that waits, since memory is written anew and nothing may be
    /// left that uses it.
    fn reset(&mut self) {
        self.coprocessor.reset();
        self.lines.reset();
        self.config.reset();
        self.env.fault.set(0);
        self.env.clock.set(0);
        self.echo = false;
        self.booted = false;
        self.boot();
    }
}

#[cfg(test)]
#[path = "soc_tests.rs"]
mod tests;
