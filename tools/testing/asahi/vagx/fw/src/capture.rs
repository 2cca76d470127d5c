// SPDX-License-Identifier: MIT OR Apache-2.0

//! Captures: what the firmware and the GPU were given, job by job. The format is described in `CAPTURE.md`.

mod jobs;

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use vagx_uat::{PAGE_SIZE, Pte, Uat};

use crate::channel::hex;
use crate::command::Command;
use crate::config::FwConfig;
use crate::engine::JobError;
use crate::queue::Queue;

pub(crate) use jobs::{GpuJob, Told};

/// Version of the format.
pub(crate) const FORMAT: u32 = 1;
pub(crate) const INDEX: &str = "index.json";
pub(crate) const PAGES: &str = "pages.bin";
/// A context that maps more than this is not captured whole: the tables of a confused guest may name any number.
const MAX_PAGES: usize = 1 << 20;
/// Messages kept for a job; a guest that rings without ever submitting must not fill the memory.
const MAX_MESSAGES: usize = 4096;

/// A 64-bit number as a hexadecimal string: JSON's numbers are not wide enough everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Hex(pub u64);

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

#[derive(Serialize, Deserialize)]
pub(crate) struct Index {
    pub format: u32,
    pub chip: Hex,
    pub abi: [u32; 3],
    pub page_size: u64,
    pub pages: String,
    pub jobs: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Message {
    pub channel: String,
    pub words: String,
}

/// Address, page-table entry, page in the file of pages; no page where there is no RAM.
#[derive(Serialize, Deserialize)]
pub(crate) struct Page(pub Hex, pub Hex, pub Option<u32>);

#[derive(Serialize, Deserialize)]
pub(crate) struct Context {
    pub context: u8,
    pub ttb0: Hex,
    pub ttb1: Hex,
    pub pages: Vec<Page>,
}

/// A page that the job changed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Changed(pub Hex, pub u32);

#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
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

/// Where captures go. It outlives a restart of the coprocessor: jobs are numbered in the order of the capture.
pub struct Capture {
    dir: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    index: Index,
    pages: Option<BufWriter<File>>,
    /// Pages in the file, by two hashes of their content.
    known: HashMap<(u64, u64), u32>,
    messages: Vec<Message>,
    /// Jobs that are on the GPU, by number; pipes run at once.
    current: HashMap<u64, Job>,
    begun: u64,
}

impl Capture {
    /// Makes the directory `dir`, if it is not there, and begins a capture in it. An older capture there is replaced.
    pub fn create(dir: &Path, cfg: &FwConfig) -> io::Result<Arc<Capture>> {
        fs::create_dir_all(dir)?;
        if dir.join(INDEX).exists() {
            for entry in fs::read_dir(dir)? {
                let path = entry?.path();
                let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
                if name.starts_with("job-") && name.ends_with(".json") {
                    fs::remove_file(path)?;
                }
            }
        }
        let pages = BufWriter::new(File::create(dir.join(PAGES))?);
        let index = Index {
            format: FORMAT,
            chip: Hex(cfg.chip.id.into()),
            abi: cfg.abi.version,
            page_size: PAGE_SIZE,
            pages: PAGES.into(),
            jobs: Vec::new(),
        };
        let mut inner = Inner {
            index,
            pages: Some(pages),
            known: HashMap::new(),
            messages: Vec::new(),
            current: HashMap::new(),
            begun: 0,
        };
        // Page 0 is the zero page.
        inner.store(&vec![0; PAGE_SIZE as usize])?;
        inner.write_index(dir)?;
        Ok(Arc::new(Capture {
            dir: dir.to_owned(),
            inner: Mutex::new(inner),
        }))
    }

    /// Runs one step of the capture; after an error (a full disk) the rest is left out.
    fn step(&self, f: impl FnOnce(&mut Inner) -> io::Result<()>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.pages.is_none() {
            return;
        }
        if let Err(e) = f(&mut inner) {
            eprintln!("vagx: the capture in {} ends here: {e}", self.dir.display());
            inner.pages = None;
        }
    }

    pub(crate) fn message(&self, channel: &str, bytes: &[u8]) {
        self.step(|inner| {
            if inner.messages.len() < MAX_MESSAGES {
                inner.messages.push(Message {
                    channel: channel.to_owned(),
                    words: hex(bytes),
                });
            }
            Ok(())
        });
    }

    /// Notes a job that is about to run, and the memory that it sees. Returns its number in the capture.
    pub(crate) fn begin(&self, uat: &Uat, queue: &Queue, command: &Command, job: &GpuJob) -> u64 {
        let mut number = 0;
        self.step(|inner| {
            let mut contexts = Vec::new();
            for number in [0, command.vm_slot] {
                contexts.push(inner.context(uat, number)?);
            }
            inner.begun += 1;
            number = inner.begun;
            let job = Job {
                number,
                pipe: queue.pipe.name().to_owned(),
                queue: Hex(queue.info),
                queue_uuid: queue.uuid,
                command: Hex(command.record.base),
                stamp_slot: command.stamp.slot,
                stamp_value: Hex(command.stamp.value.into()),
                messages: std::mem::take(&mut inner.messages),
                told: job.into(),
                contexts,
                changed: Vec::new(),
                outcome: String::new(),
            };
            inner.current.insert(number, job);
            Ok(())
        });
        number
    }

    /// `written` are the pages that the GPU may have changed.
    pub(crate) fn end(
        &self,
        uat: &Uat,
        number: u64,
        written: &Mutex<BTreeSet<u64>>,
        error: Option<&JobError>,
    ) {
        let written = written.lock().unwrap_or_else(PoisonError::into_inner);
        self.step(|inner| {
            let Some(mut job) = inner.current.remove(&number) else {
                return Ok(());
            };
            job.outcome = match error {
                None => "done".into(),
                Some(e) => format!("{e:?}"),
            };
            if let Some(before) = job.contexts.last() {
                job.changed = inner.changed(uat, before, &written)?;
            }
            let name = format!("job-{:06}.json", job.number);
            if let Some(pages) = &mut inner.pages {
                pages.flush()?;
            }
            write_json(&self.dir.join(&name), &job)?;
            inner.index.jobs.push(name);
            inner.write_index(&self.dir)
        });
    }
}

impl Inner {
    /// Where the page is in the file; writes it if it is new.
    fn store(&mut self, page: &[u8]) -> io::Result<u32> {
        let mut hashes = [0u64; 2];
        for (seed, to) in (0u8..).zip(&mut hashes) {
            let mut hasher = DefaultHasher::new();
            hasher.write_u8(seed);
            hasher.write(page);
            *to = hasher.finish();
        }
        let key = (hashes[0], hashes[1]);
        if let Some(id) = self.known.get(&key) {
            return Ok(*id);
        }
        let id = u32::try_from(self.known.len()).map_err(io::Error::other)?;
        if let Some(file) = &mut self.pages {
            file.write_all(page)?;
        }
        self.known.insert(key, id);
        Ok(id)
    }

    fn context(&mut self, uat: &Uat, number: u8) -> io::Result<Context> {
        let [ttb0, ttb1] = uat.ttbrs(number).unwrap_or_default().map(|t| Hex(t.0));
        let mut pages = Vec::new();
        let mut seen: HashMap<u64, Option<u32>> = HashMap::new();
        let mut bytes = vec![0; PAGE_SIZE as usize];
        for mapping in uat.mappings(number).take(MAX_PAGES) {
            let id = match seen.get(&mapping.pa) {
                Some(id) => *id,
                None => {
                    let id = match uat.mem().read(mapping.pa, &mut bytes) {
                        Ok(()) => Some(self.store(&bytes)?),
                        Err(_) => None,
                    };
                    seen.insert(mapping.pa, id);
                    id
                }
            };
            pages.push(Page(Hex(mapping.va), Hex(mapping.pte.0), id));
        }
        Ok(Context {
            context: number,
            ttb0,
            ttb1,
            pages,
        })
    }

    /// Those of the pages `written` that are different now.
    fn changed(
        &mut self,
        uat: &Uat,
        before: &Context,
        written: &BTreeSet<u64>,
    ) -> io::Result<Vec<Changed>> {
        let mut changed = Vec::new();
        let mut bytes = vec![0; PAGE_SIZE as usize];
        for Page(va, pte, old) in &before.pages {
            if !written.contains(&va.0) || uat.mem().read(Pte(pte.0).address(), &mut bytes).is_err()
            {
                continue;
            }
            let new = self.store(&bytes)?;
            if *old != Some(new) {
                changed.push(Changed(*va, new));
            }
        }
        Ok(changed)
    }

    fn write_index(&mut self, dir: &Path) -> io::Result<()> {
        if let Some(pages) = &mut self.pages {
            pages.flush()?;
        }
        write_json(&dir.join(INDEX), &self.index)
    }
}

/// Writes a file whole or not at all.
fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = BufWriter::new(File::create(&temporary)?);
    serde_json::to_writer(&mut file, value)?;
    file.write_all(b"\n")?;
    file.flush()?;
    drop(file);
    fs::rename(temporary, path)
}
