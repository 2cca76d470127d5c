// SPDX-License-Identifier: MIT OR Apache-2.0

//! The firmware's view of memory, and how complaints about it are made.
//!
//! The firmware reads a structure once, into a [`Record`], and works on that copy: the driver may change the memory
//! at any time. Single words that both sides change (indices, stamps) are read and written where they are, by
//! [`FwMem`].

use std::sync::Arc;

use vagx_trace::{Arg, Complaint, Trace};
use vagx_uat::{Access, Agent, Attr, PAGE_SIZE, Uat, canonical};

use crate::channel::hex;
use crate::layout::{Field, Layout, Shape};

/// The context whose upper half holds everything the firmware shares with the driver.
const KERNEL: u8 = 0;

/// Something was refused and the complaint about it has been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

pub(crate) type Result<T> = std::result::Result<T, Refused>;

/// Where an address was found, for complaints about what it points to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub structure: &'static str,
    pub field: &'static str,
    pub offset: u64,
    pub address: u64,
}

/// What the driver sees of memory that the firmware writes, or the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Must not sit in the firmware's cache: the other side looks at it while it is in use.
    Coherent,
    /// Only the firmware looks at it once the driver has handed it over.
    Private,
}

/// Memory as the firmware's processor reaches it.
#[derive(Clone)]
pub(crate) struct FwMem {
    uat: Arc<Uat>,
    trace: Trace,
}

impl FwMem {
    pub(crate) fn new(uat: Arc<Uat>, trace: Trace) -> Self {
        FwMem { uat, trace }
    }

    pub(crate) fn uat(&self) -> &Arc<Uat> {
        &self.uat
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Makes a complaint about the value at `place`.
    pub(crate) fn complain(&self, place: Place, value: u64, why: impl Into<String>) -> Refused {
        self.trace.complain(Complaint {
            structure: place.structure,
            field: place.field,
            offset: place.offset,
            value,
            address: place.address,
            why: why.into(),
        });
        Refused
    }

    /// Checks that `len` bytes at `va` may be accessed; `place` is where `va` was found.
    pub(crate) fn check(&self, place: Place, va: u64, len: u64, access: Access) -> Result<()> {
        if va == 0 {
            return Err(self.complain(place, va, "a null pointer"));
        }
        if canonical(va) != va {
            let why = "not a sign-extended 40-bit address, which the firmware's processor wants";
            return Err(self.complain(place, va, why));
        }
        let Some(last) = va.checked_add(len.saturating_sub(1)) else {
            return Err(self.complain(place, va, format!("{len:#x} bytes from there wrap around")));
        };
        let mut page = va & !(PAGE_SIZE - 1);
        while page <= last {
            if let Err(fault) = self
                .uat
                .translate(KERNEL, Agent::Firmware, page.max(va), access)
            {
                let why =
                    format!("points to {len:#x} bytes, of which the firmware fails at: {fault}");
                return Err(self.complain(place, va, why));
            }
            let Some(next) = page.checked_add(PAGE_SIZE) else {
                break;
            };
            page = next;
        }
        Ok(())
    }

    /// Checks for reading and writing.
    pub(crate) fn check_rw(&self, place: Place, va: u64, len: u64) -> Result<()> {
        self.check(place, va, len, Access::Read)?;
        self.check(place, va, len, Access::Write)
    }

    /// Checks how memory that was found accessible is mapped. A wrong attribute works in a model and loses writes on
    /// hardware, so it is only complained about.
    pub(crate) fn check_sharing(&self, place: Place, va: u64, sharing: Sharing) {
        if sharing == Sharing::Private {
            return;
        }
        if let Ok(pte) = self.uat.walk(KERNEL, Agent::Firmware, va)
            && pte.attr() != Attr::Shared
        {
            let why = format!(
                "both sides use this memory at once, but it is mapped {:?}, so one does not see the other's writes",
                pte.attr()
            );
            self.complain(place, va, why);
        }
    }

    /// Reads a structure.
    pub(crate) fn record(&self, place: Place, shape: Shape, va: u64) -> Result<Record> {
        self.check(place, va, shape.size.into(), Access::Read)?;
        let mut bytes = vec![0; shape.size as usize];
        self.read(place, va, &mut bytes)?;
        Ok(Record {
            mem: self.clone(),
            name: shape.name,
            base: va,
            bytes,
        })
    }

    /// Reads bytes that an earlier check covered; the driver may have unmapped them since.
    pub(crate) fn read(&self, place: Place, va: u64, buf: &mut [u8]) -> Result<()> {
        self.uat
            .read(KERNEL, Agent::Firmware, va, buf)
            .map_err(|f| self.complain(place, va, format!("the firmware cannot read it: {f}")))
    }

    pub(crate) fn write(&self, place: Place, va: u64, data: &[u8]) -> Result<()> {
        self.uat
            .write(KERNEL, Agent::Firmware, va, data)
            .map_err(|f| self.complain(place, va, format!("the firmware cannot write it: {f}")))
    }

    pub(crate) fn read_u32(&self, place: Place, va: u64) -> Result<u32> {
        self.uat
            .read_u32(KERNEL, Agent::Firmware, va)
            .map_err(|f| self.complain(place, va, format!("the firmware cannot read it: {f}")))
    }

    pub(crate) fn write_u32(&self, place: Place, va: u64, value: u32) -> Result<()> {
        self.uat
            .write_u32(KERNEL, Agent::Firmware, va, value)
            .map_err(|f| self.complain(place, va, format!("the firmware cannot write it: {f}")))
    }

    pub(crate) fn write_u64(&self, place: Place, va: u64, value: u64) -> Result<()> {
        self.uat
            .write_u64(KERNEL, Agent::Firmware, va, value)
            .map_err(|f| self.complain(place, va, format!("the firmware cannot write it: {f}")))
    }

    /// A field of a structure that stays in memory.
    pub(crate) fn load(&self, shape: Shape, base: u64, field: Field) -> Result<u32> {
        let place = place(shape, base, field);
        self.read_u32(place, place.address)
    }

    pub(crate) fn store(&self, shape: Shape, base: u64, field: Field, value: u32) -> Result<()> {
        let place = place(shape, base, field);
        self.write_u32(place, place.address, value)
    }
}

/// Where `field` of the structure at `base` is.
pub(crate) fn place(shape: Shape, base: u64, field: Field) -> Place {
    Place {
        structure: shape.name,
        field: field.name,
        offset: field.offset.into(),
        address: base.wrapping_add(field.offset.into()),
    }
}

/// A structure as it was when the firmware read it.
#[derive(Clone)]
pub(crate) struct Record {
    mem: FwMem,
    pub name: &'static str,
    pub base: u64,
    bytes: Vec<u8>,
}

impl Record {
    /// A record of bytes read before; for structures embedded in others and for messages.
    pub(crate) fn from_bytes(mem: &FwMem, shape: Shape, base: u64, bytes: &[u8]) -> Self {
        let mut bytes = bytes.to_vec();
        bytes.resize(shape.size as usize, 0);
        Record {
            mem: mem.clone(),
            name: shape.name,
            base,
            bytes,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The structure embedded at `field`.
    pub(crate) fn embedded(&self, field: Field, shape: Shape) -> Record {
        let start = field.offset as usize;
        let bytes = self.bytes.get(start..).unwrap_or_default();
        let bytes = bytes.get(..shape.size as usize).unwrap_or(bytes);
        Record::from_bytes(&self.mem, shape, self.at(field), bytes)
    }

    /// The address of a field.
    pub(crate) fn at(&self, field: Field) -> u64 {
        self.base.wrapping_add(field.offset.into())
    }

    pub(crate) fn place(&self, field: Field) -> Place {
        Place {
            structure: self.name,
            field: field.name,
            offset: field.offset.into(),
            address: self.at(field),
        }
    }

    /// A field's value; of a field longer than 8 bytes, the first 8.
    pub(crate) fn get(&self, field: Field) -> u64 {
        let start = field.offset as usize;
        let len = (field.size as usize).min(8);
        let mut word = [0; 8];
        if let Some(bytes) = self.bytes.get(start..start + len) {
            word[..len].copy_from_slice(bytes);
        }
        u64::from_le_bytes(word)
    }

    pub(crate) fn get32(&self, field: Field) -> u32 {
        self.get(field) as u32
    }

    /// The bytes of a field.
    pub(crate) fn slice(&self, field: Field) -> &[u8] {
        let start = field.offset as usize;
        self.bytes
            .get(start..start + field.size as usize)
            .unwrap_or_default()
    }

    /// Shows all known fields in the trace.
    pub(crate) fn show(&self, track: &str, layout: &dyn Layout) {
        let trace = self.mem.trace();
        if !trace.wants_events() {
            return;
        }
        let mut args = vec![("address", Arg::Hex(self.base))];
        for field in layout.fields() {
            let value = match field.size {
                0..=8 => Arg::Hex(self.get(field)),
                _ => Arg::Text(format!("[{}]", hex(self.slice(field)))),
            };
            args.push((field.name, value));
        }
        trace.event(track, self.name, &args);
    }

    /// Makes a complaint about a field's value.
    pub(crate) fn complain(&self, field: Field, why: impl Into<String>) -> Refused {
        self.mem.complain(self.place(field), self.get(field), why)
    }

    /// Complains unless the field has that value.
    pub(crate) fn expect(&self, field: Field, want: u64, why: &str) -> Result<()> {
        if self.get(field) == want {
            return Ok(());
        }
        Err(self.complain(field, format!("expected {want:#x}: {why}")))
    }

    /// Checks that the pointer in `field` reaches `len` bytes the firmware may read and write.
    pub(crate) fn pointer_rw(&self, field: Field, len: u64, sharing: Sharing) -> Result<u64> {
        let va = self.get(field);
        self.mem.check_rw(self.place(field), va, len)?;
        self.mem.check_sharing(self.place(field), va, sharing);
        Ok(va)
    }

    /// Checks that the pointer in `field` reaches `len` bytes the firmware may read.
    pub(crate) fn pointer_ro(&self, field: Field, len: u64) -> Result<u64> {
        let va = self.get(field);
        self.mem.check(self.place(field), va, len, Access::Read)?;
        Ok(va)
    }

    /// Reads the structure that `field` points to.
    pub(crate) fn follow(&self, field: Field, shape: Shape) -> Result<Record> {
        self.mem.record(self.place(field), shape, self.get(field))
    }
}
