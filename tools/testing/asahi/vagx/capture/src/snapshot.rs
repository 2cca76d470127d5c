// SPDX-License-Identifier: MIT OR Apache-2.0

//! The memory of a captured job, as a copy that the job may run on.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ptr::NonNull;

use vagx_gpu::{Access, GpuMemory, Unmapped};
use vagx_uat::{Agent, PAGE_SIZE, PhysMem, Pte, VecMem};

use crate::format::{Changed, Context};

/// Where the copy's physical memory begins.
const BASE: u64 = 0x1_0000_0000;

/// The memory of a context as it was before a job. Writes go to this copy only.
pub struct Snapshot {
    ram: VecMem,
    /// By address of the page: physical address in `ram`, and the entry that maps it.
    pages: HashMap<u64, (u64, Pte)>,
    context: u8,
}

pub(crate) fn read_page(file: &mut File, id: u32, bytes: &mut [u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(u64::from(id) * PAGE_SIZE))?;
    file.read_exact(bytes)
}

impl Snapshot {
    /// Reads the pages of `context` from the file of pages.
    pub fn load(file: &mut File, context: &Context) -> io::Result<Snapshot> {
        // Pages that two addresses share stay shared: the entry's address says which are the same.
        let mut places: HashMap<u64, u64> = HashMap::new();
        for page in &context.pages {
            if page.2.is_some() {
                let next = BASE + places.len() as u64 * PAGE_SIZE;
                places.entry(Pte(page.1.0).address()).or_insert(next);
            }
        }
        let ram = VecMem::new(BASE, places.len().max(1) * PAGE_SIZE as usize);
        let mut pages = HashMap::new();
        let mut bytes = vec![0; PAGE_SIZE as usize];
        for page in &context.pages {
            let pte = Pte(page.1.0);
            let (Some(id), Some(pa)) = (page.2, places.get(&pte.address())) else {
                continue;
            };
            read_page(file, id, &mut bytes)?;
            ram.write(*pa, &bytes).map_err(io::Error::other)?;
            pages.insert(page.0.0, (*pa, pte));
        }
        Ok(Snapshot {
            ram,
            pages,
            context: context.context,
        })
    }

    /// The context's number.
    pub fn context(&self) -> u8 {
        self.context
    }

    /// The page that holds `va`, and the entry that maps it.
    pub fn page(&self, va: u64) -> Option<(NonNull<u8>, Pte)> {
        let page = vagx_uat::canonical(va) & !(PAGE_SIZE - 1);
        let (pa, pte) = self.pages.get(&page)?;
        Some((self.ram.host(*pa, PAGE_SIZE as usize)?, *pte))
    }

    /// The pages by address: what they hold now, and whether the GPU may write there.
    pub fn contents(&self) -> io::Result<Vec<(u64, Vec<u8>, bool)>> {
        let mut all = Vec::new();
        for (va, (pa, pte)) in &self.pages {
            let mut bytes = vec![0; PAGE_SIZE as usize];
            self.ram.read(*pa, &mut bytes).map_err(io::Error::other)?;
            all.push((*va, bytes, pte.rights(Agent::Gpu).write));
        }
        all.sort_by_key(|(va, ..)| *va);
        Ok(all)
    }

    /// Bytes in which it differs from what the captured job left: address, then, now.
    pub(crate) fn compare(
        &self,
        file: &mut File,
        context: &Context,
        changed: &[Changed],
    ) -> io::Result<Vec<(u64, u8, u8)>> {
        let changed: HashMap<u64, u32> = changed.iter().map(|c| (c.0.0, c.1)).collect();
        let mut differing = Vec::new();
        let size = PAGE_SIZE as usize;
        let (mut was, mut is) = (vec![0; size], vec![0; size]);
        for page in &context.pages {
            let Some(id) = changed.get(&page.0.0).copied().or(page.2) else {
                continue;
            };
            let Some((pa, _)) = self.pages.get(&page.0.0) else {
                continue;
            };
            read_page(file, id, &mut was)?;
            self.ram.read(*pa, &mut is).map_err(io::Error::other)?;
            if was == is {
                continue;
            }
            for (offset, (then, now)) in (0u64..).zip(was.iter().zip(&is)) {
                if then != now {
                    differing.push((page.0.0 + offset, *then, *now));
                }
            }
        }
        Ok(differing)
    }
}

// SAFETY: The pages lie in `ram`, which lives as long as the snapshot and is aligned to pages.
unsafe impl GpuMemory for Snapshot {
    fn page(&self, va: u64, access: Access) -> Result<NonNull<u8>, Unmapped> {
        let (page, pte) = Snapshot::page(self, va).ok_or(Unmapped)?;
        let rights = pte.rights(Agent::Gpu);
        let allowed = match access {
            Access::Read => rights.read,
            Access::Write => rights.write,
        };
        if allowed { Ok(page) } else { Err(Unmapped) }
    }
}
