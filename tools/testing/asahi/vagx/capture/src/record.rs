// SPDX-License-Identifier: MIT OR Apache-2.0

//! Recording the memory that a job reaches, where there are no page tables to list all of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vagx_gpu::{Access, GpuMemory, Unmapped, Witness};
use vagx_uat::{PAGE_SIZE, Pte};

use crate::format::{Changed, Context, Hex, Job, Page};
use crate::jobs::GpuJob;
use crate::pages::Writer;

/// Pages to either side that are taken for parts of the same buffer, if they are mapped.
const NEIGHBOURS: usize = 1024;

/// A capture that a process makes of the jobs that it runs itself.
pub struct Recorder {
    writer: Mutex<Writer>,
}

impl Recorder {
    /// Begins a capture in `dir`, which is made if it is not there.
    pub fn create(dir: &Path, chip: u32) -> io::Result<Recorder> {
        Ok(Recorder {
            writer: Mutex::new(Writer::create(dir, chip, [0; 3])?),
        })
    }

    /// The memory for job `number` to run on. What it reaches is noted as it was before.
    pub fn begin<'a>(&'a self, memory: &'a dyn GpuMemory, number: u64) -> Recording<'a> {
        Recording {
            recorder: self,
            memory,
            number,
            seen: Mutex::default(),
        }
    }
}

/// A job that is being recorded.
pub struct Recording<'a> {
    recorder: &'a Recorder,
    memory: &'a dyn GpuMemory,
    number: u64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// By the page's address in the host: its number, and its bytes when the job first reached it.
    bytes: HashMap<usize, (u64, Vec<u64>)>,
    /// By the page's address in the address space.
    pages: BTreeMap<u64, usize>,
    /// Pages that the job may have changed.
    written: BTreeSet<u64>,
}

impl Seen {
    /// Notes a page as it is before anybody has been given its address; another address of the same page may have been
    /// written to.
    fn note(&mut self, va: u64, page: NonNull<u8>) {
        let number = self.bytes.len() as u64;
        let host = page.as_ptr() as usize;
        let bytes = self.bytes.entry(host);
        bytes.or_insert_with(|| (number, copy(page)));
        self.pages.insert(va, host);
    }
}

/// The words of a page as they are now.
fn copy(page: NonNull<u8>) -> Vec<u64> {
    (0..PAGE_SIZE as usize / 8)
        .map(|word| {
            // SAFETY: `GpuMemory` promises a whole page, aligned to words, that only atomics and the guest's CPUs touch;
            // the recording ends before the job does.
            unsafe { AtomicU64::from_ptr(page.as_ptr().cast::<u64>().add(word)) }.load(Relaxed)
        })
        .collect()
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

impl Recording<'_> {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is mapped next to a page, in steps of this size.
    fn note_neighbours(&self, seen: &mut Seen, va: u64, step: u64) {
        let mut next = va;
        for _ in 0..NEIGHBOURS {
            next = next.wrapping_add(step);
            match self.memory.page(next, Access::Read) {
                Ok(page) if !seen.pages.contains_key(&next) => seen.note(next, page),
                _ => return,
            }
        }
    }

    /// A page-table entry that would allow what the address space allows.
    fn entry(&self, va: u64, number: u64) -> Pte {
        let may = |access| u64::from(self.memory.page(va, access).is_ok());
        let (read, write) = (may(Access::Read), may(Access::Write));
        // AP 0 of an operating system's page: UXN lets the GPU write, PXN lets it read.
        Pte(1 << 55 | write << 54 | read << 53 | (number + 1) << 14 | 1 << 10 | 3)
    }

    /// Writes the job down, which has ended so.
    pub fn end(self, job: &GpuJob, outcome: &str) -> io::Result<()> {
        let mut writer = self
            .recorder
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let seen = self.seen();
        let (mut pages, mut changed) = (Vec::new(), Vec::new());
        for (&va, host) in &seen.pages {
            let Some((number, before)) = seen.bytes.get(host) else {
                continue;
            };
            let entry = Hex(self.entry(va, *number).0);
            pages.push(Page(Hex(va), entry, Some(writer.store(&bytes(before))?)));
            let written = seen.written.contains(&va).then_some(Access::Write);
            if let Some(Ok(page)) = written.map(|access| self.memory.page(va, access)) {
                let after = copy(page);
                if after != *before {
                    changed.push(Changed(Hex(va), writer.store(&bytes(&after))?));
                }
            }
        }
        writer.job(&Job {
            number: self.number,
            pipe: job.pipe().into(),
            queue: Hex(0),
            queue_uuid: 0,
            command: Hex(0),
            stamp_slot: 0,
            stamp_value: Hex(0),
            messages: Vec::new(),
            told: job.into(),
            contexts: vec![Context {
                context: job.vm_slot() as u8,
                ttb0: Hex(0),
                ttb1: Hex(0),
                pages,
            }],
            changed,
            outcome: outcome.into(),
        })
    }
}

// SAFETY: The pages are those of the memory below, which makes the same promise.
unsafe impl GpuMemory for Recording<'_> {
    fn page(&self, va: u64, access: Access) -> Result<NonNull<u8>, Unmapped> {
        let page = self.memory.page(va, access)?;
        let va = va & !(PAGE_SIZE - 1);
        let mut seen = self.seen();
        if access == Access::Write {
            seen.written.insert(va);
        }
        if !seen.pages.contains_key(&va) {
            // All of the buffer, for a model that comes to other conclusions later may reach other parts of it.
            seen.note(va, page);
            for step in [PAGE_SIZE, PAGE_SIZE.wrapping_neg()] {
                self.note_neighbours(&mut seen, va, step);
            }
        }
        Ok(page)
    }

    fn witness(&self, va: u64) -> Witness {
        self.memory.witness(va)
    }
}
