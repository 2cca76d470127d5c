// SPDX-License-Identifier: MIT OR Apache-2.0

//! The page walker.
//!
//! Facts: m1n1 `proxyclient/m1n1/hw/uat.py`; AsahiLinux/docs `hw/soc/agx.md` ("UAT").
//! Levels carry m1n1's numbers: 0 is the pair of table bases in the TTBAT, of which bit 39 of the
//! address selects one; 1 has 8 entries (shift 36), 2 has 2048 (shift 25), 3 has 2048 (shift 14).

use std::ptr::NonNull;
use std::sync::Arc;

use crate::{CONTEXTS, Mappings, PAGE_SIZE, PhysMem, Pte, Ttbr};

/// Shift and number of entries of the levels 1, 2 and 3.
pub(crate) const LEVELS: [(u32, u64); 3] = [(36, 8), (25, 2048), (14, 2048)];
/// Bytes of a TTBAT entry: two table bases.
const TTBAT_STRIDE: u64 = 16;

/// Who accesses memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Agent {
    /// The coprocessor's firmware, at EL1.
    Firmware,
    /// The GPU itself.
    Gpu,
}

/// What is done to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
}

/// Why a translation failed.
///
/// 0 to 4 are the hardware's codes (m1n1 `proxyclient/m1n1/hw/agx.py`, `FAULT_REASON`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// No valid entry, or one that is neither table nor page.
    Unmapped = 0,
    /// The page's access flag is clear.
    AccessFlag = 1,
    /// A read of a page that may only be written.
    WriteOnly = 2,
    /// A write to a page that may only be read.
    ReadOnly = 3,
    /// A page that this agent may not touch.
    NoAccess = 4,
    /// A physical address beyond the output address size, or where no RAM answers. How hardware
    /// encodes this is not known; 5 is the code that m1n1 lists without a meaning.
    Bus = 5,
}

/// A failed translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{agent:?} {access:?} of {va:#x} in context {ctx}: {reason:?} at level {level}")]
pub struct Fault {
    /// The address, as it was accessed.
    pub va: u64,
    /// Context number, the index into the TTBAT.
    pub ctx: u8,
    /// Level of the entry that refused.
    pub level: u8,
    /// Why.
    pub reason: Reason,
    /// What was tried.
    pub access: Access,
    /// By whom.
    pub agent: Agent,
}

/// The address with bit 39 copied upward, as the firmware and the driver write addresses of the
/// upper half. Messages carry 44 bits of an address, commands 40.
pub fn canonical(va: u64) -> u64 {
    ((va << 24) as i64 >> 24) as u64
}

/// Is told of the translations of the firmware's processor, whose cache does not see what others write.
pub trait Watch: Send + Sync {
    /// An access through this leaf.
    fn used(&self, ctx: u8, va: u64, pte: Pte);
    /// An access that found no mapping.
    fn missed(&self, ctx: u8, va: u64);
}

/// The unified address translator.
#[derive(Clone)]
pub struct Uat {
    mem: Arc<dyn PhysMem>,
    ttbat: u64,
    oas: u32,
    watch: Option<Arc<dyn Watch>>,
}

impl Uat {
    /// A translator whose contexts stand at `ttbat_pa`, with `oas` bits of physical address.
    pub fn new(mem: Arc<dyn PhysMem>, ttbat_pa: u64, oas: u32) -> Self {
        Self {
            mem,
            ttbat: ttbat_pa,
            oas,
            watch: None,
        }
    }

    /// The same translator, with someone who is told what the firmware does with it.
    pub fn watched(&self, watch: Arc<dyn Watch>) -> Self {
        Self {
            watch: Some(watch),
            ..self.clone()
        }
    }

    /// Physical address of a context's entry in the TTBAT.
    pub fn ttbat_entry(&self, ctx: u8) -> u64 {
        self.ttbat + u64::from(ctx) * TTBAT_STRIDE
    }

    /// The memory below.
    pub fn mem(&self) -> &Arc<dyn PhysMem> {
        &self.mem
    }

    /// The two table bases of a context, as they stand in memory.
    pub fn ttbrs(&self, ctx: u8) -> Option<[Ttbr; 2]> {
        if ctx >= CONTEXTS {
            return None;
        }
        let at = self.ttbat_entry(ctx);
        let ttb0 = self.mem.read_u64(at).ok()?;
        let ttb1 = self.mem.read_u64(at + 8).ok()?;
        Some([Ttbr(ttb0), Ttbr(ttb1)])
    }

    pub(crate) fn reachable(&self, pa: u64) -> bool {
        pa >> self.oas == 0
    }

    /// Which table base translates `va`, or `None` where the address is in neither half.
    ///
    /// The firmware's processor wants canonical addresses, and its upper half is always that of
    /// context 0: the driver may leave the second base of the other contexts empty. The GPU has
    /// 40 address bits (the fault register holds no more) and takes both bases from the context.
    fn base(&self, ctx: u8, agent: Agent, va: u64) -> Option<Ttbr> {
        let high = match agent {
            Agent::Firmware => (va as i64 >> 39) as u64,
            Agent::Gpu if va >> 40 == 0 => va >> 39,
            Agent::Gpu => (va as i64 >> 39) as u64,
        };
        match (high, agent) {
            (0, _) => self.ttbrs(ctx).map(|t| t[0]),
            (1 | u64::MAX, Agent::Gpu) => self.ttbrs(ctx).map(|t| t[1]),
            (u64::MAX, Agent::Firmware) if ctx < CONTEXTS => self.ttbrs(0).map(|t| t[1]),
            _ => None,
        }
    }

    /// The leaf that maps `va`, whatever it permits.
    pub fn walk(&self, ctx: u8, agent: Agent, va: u64) -> Result<Pte, (u8, Reason)> {
        self.walk_by(ctx, agent, va, |_, _| {})
    }

    /// Where the last two entries that map `va` are, the table's and the page's, and what they say. As with
    /// [`page`](Self::page), the addresses stay good as long as the memory does.
    pub fn entries(&self, ctx: u8, agent: Agent, va: u64) -> Option<[(NonNull<u64>, u64); 2]> {
        let mut last = [(0, Pte::default()); 2];
        self.walk_by(ctx, agent, va, |at, pte| last = [last[1], (at, pte)])
            .ok()?;
        let word = |(at, pte): (u64, Pte)| Some((self.mem.host(at, 8)?.cast(), pte.0));
        let [table, page] = last;
        Some([word(table)?, word(page)?])
    }

    /// Goes down the tables and tells of each entry.
    fn walk_by(
        &self,
        ctx: u8,
        agent: Agent,
        va: u64,
        mut tell: impl FnMut(u64, Pte),
    ) -> Result<Pte, (u8, Reason)> {
        let base = self
            .base(ctx, agent, va)
            .filter(|t| t.valid())
            .ok_or((0, Reason::Unmapped))?;
        let mut table = base.table();
        let mut pte = Pte::default();
        for (level, (shift, entries)) in (1..).zip(LEVELS) {
            if !self.reachable(table) {
                return Err((level - 1, Reason::Bus));
            }
            let entry = table + (va >> shift & (entries - 1)) * 8;
            pte = Pte(self
                .mem
                .read_u64(entry)
                .map_err(|_| (level - 1, Reason::Bus))?);
            tell(entry, pte);
            // Only 16 KiB pages are known to work, so a block counts as not mapped.
            if !pte.table_or_page() {
                return Err((level, Reason::Unmapped));
            }
            table = pte.address();
        }
        Ok(pte)
    }

    /// Physical address behind `va`.
    pub fn translate(&self, ctx: u8, agent: Agent, va: u64, access: Access) -> Result<u64, Fault> {
        let fault = |(level, reason)| Fault {
            va,
            ctx,
            level,
            reason,
            access,
            agent,
        };
        let watch = self.watch.as_deref().filter(|_| agent == Agent::Firmware);
        let pte = self.walk(ctx, agent, va).map_err(|why| {
            if let Some(watch) = watch {
                watch.missed(ctx, va);
            }
            fault(why)
        })?;
        if !pte.accessed() {
            return Err(fault((3, Reason::AccessFlag)));
        }
        let rights = pte.rights(agent);
        let refused = match access {
            Access::Read if rights.read => None,
            Access::Write if rights.write => None,
            Access::Read if rights.write => Some(Reason::WriteOnly),
            Access::Write if rights.read => Some(Reason::ReadOnly),
            _ => Some(Reason::NoAccess),
        };
        if let Some(reason) = refused {
            return Err(fault((3, reason)));
        }
        if !self.reachable(pte.address()) {
            return Err(fault((3, Reason::Bus)));
        }
        if let Some(watch) = watch {
            watch.used(ctx, va, pte);
        }
        Ok(pte.address() | va & (PAGE_SIZE - 1))
    }

    fn bus(ctx: u8, agent: Agent, va: u64, access: Access) -> Fault {
        Fault {
            va,
            ctx,
            level: 3,
            reason: Reason::Bus,
            access,
            agent,
        }
    }

    /// Host address of the 16 KiB page that holds `va`. It stays good as long as the memory does,
    /// not as long as the mapping: ask again for each batch of work.
    pub fn page(
        &self,
        ctx: u8,
        agent: Agent,
        va: u64,
        access: Access,
    ) -> Result<NonNull<u8>, Fault> {
        let pa = self.translate(ctx, agent, va, access)? & !(PAGE_SIZE - 1);
        self.mem
            .host(pa, PAGE_SIZE as usize)
            .ok_or(Self::bus(ctx, agent, va, access))
    }

    /// Copies from `va`, page by page; on a fault a first part may have been copied.
    pub fn read(&self, ctx: u8, agent: Agent, va: u64, buf: &mut [u8]) -> Result<(), Fault> {
        let mut va = va;
        let mut rest = buf;
        while !rest.is_empty() {
            let n = rest.len().min((PAGE_SIZE - va % PAGE_SIZE) as usize);
            let (now, later) = rest.split_at_mut(n);
            let pa = self.translate(ctx, agent, va, Access::Read)?;
            self.mem
                .read(pa, now)
                .map_err(|_| Self::bus(ctx, agent, va, Access::Read))?;
            va = va.wrapping_add(n as u64);
            rest = later;
        }
        Ok(())
    }

    /// Copies to `va`, page by page; on a fault a first part may have been copied.
    pub fn write(&self, ctx: u8, agent: Agent, va: u64, data: &[u8]) -> Result<(), Fault> {
        let mut va = va;
        let mut rest = data;
        while !rest.is_empty() {
            let n = rest.len().min((PAGE_SIZE - va % PAGE_SIZE) as usize);
            let (now, later) = rest.split_at(n);
            let pa = self.translate(ctx, agent, va, Access::Write)?;
            self.mem
                .write(pa, now)
                .map_err(|_| Self::bus(ctx, agent, va, Access::Write))?;
            va = va.wrapping_add(n as u64);
            rest = later;
        }
        Ok(())
    }

    /// All valid leaves that `ctx` reaches: through its first base, and for context 0 through the
    /// second as well. Rights and access flags are not considered; look at the entry for them.
    pub fn mappings(&self, ctx: u8) -> Mappings<'_> {
        Mappings::new(self, ctx)
    }
}

/// Words that are read and written as one, atomically where aligned.
macro_rules! words {
    ($($read:ident $write:ident $t:ty: $doc:literal),*) => {$(
        #[doc = concat!("Reads ", $doc, ", as one access if aligned.")]
        pub fn $read(&self, ctx: u8, agent: Agent, va: u64) -> Result<$t, Fault> {
            const SIZE: u64 = size_of::<$t>() as u64;
            if va % PAGE_SIZE > PAGE_SIZE - SIZE {
                let mut b = [0; SIZE as usize];
                self.read(ctx, agent, va, &mut b)?;
                return Ok(<$t>::from_le_bytes(b));
            }
            let pa = self.translate(ctx, agent, va, Access::Read)?;
            self.mem.$read(pa).map_err(|_| Self::bus(ctx, agent, va, Access::Read))
        }

        #[doc = concat!("Writes ", $doc, ", as one access if aligned.")]
        pub fn $write(&self, ctx: u8, agent: Agent, va: u64, value: $t) -> Result<(), Fault> {
            const SIZE: u64 = size_of::<$t>() as u64;
            if va % PAGE_SIZE > PAGE_SIZE - SIZE {
                return self.write(ctx, agent, va, &value.to_le_bytes());
            }
            let pa = self.translate(ctx, agent, va, Access::Write)?;
            self.mem.$write(pa, value).map_err(|_| Self::bus(ctx, agent, va, Access::Write))
        }
    )*};
}

impl Uat {
    words!(read_u8 write_u8 u8: "a byte", read_u32 write_u32 u32: "32 bits",
           read_u64 write_u64 u64: "64 bits");

    /// Adds to 32 aligned bits as one step; returns what was there.
    pub fn fetch_add_u32(&self, ctx: u8, agent: Agent, va: u64, add: u32) -> Result<u32, Fault> {
        self.translate(ctx, agent, va, Access::Read)?;
        let pa = self.translate(ctx, agent, va, Access::Write)?;
        self.mem
            .fetch_add_u32(pa, add)
            .map_err(|_| Self::bus(ctx, agent, va, Access::Write))
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
