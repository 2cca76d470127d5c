// SPDX-License-Identifier: MIT OR Apache-2.0

//! Captures: what the firmware and the GPU were given, job by job. The format is that of `vagx-capture`.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use vagx_capture::{Changed, Context, GpuJob, Hex, Job, Message, Page, Writer};
use vagx_uat::{PAGE_SIZE, Pte, Uat};

use crate::channel::hex;
use crate::command::Command;
use crate::config::FwConfig;
use crate::engine::JobError;
use crate::queue::Queue;

/// A context that maps more than this is not captured whole: the tables of a confused guest may name any number.
const MAX_PAGES: usize = 1 << 20;
/// Messages kept for a job; a guest that rings without ever submitting must not fill the memory.
const MAX_MESSAGES: usize = 4096;

/// Where captures go. It outlives a restart of the coprocessor: jobs are numbered in the order of the capture.
pub struct Capture {
    dir: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    /// None after an error.
    writer: Option<Writer>,
    messages: Vec<Message>,
    /// Jobs that are on the GPU, by number; pipes run at once.
    current: HashMap<u64, Job>,
    begun: u64,
}

impl Capture {
    /// Makes the directory `dir`, if it is not there, and begins a capture in it. An older capture there is replaced.
    pub fn create(dir: &Path, cfg: &FwConfig) -> io::Result<Arc<Capture>> {
        let inner = Inner {
            writer: Some(Writer::create(dir, cfg.chip.id, cfg.abi.version)?),
            messages: Vec::new(),
            current: HashMap::new(),
            begun: 0,
        };
        Ok(Arc::new(Capture {
            dir: dir.to_owned(),
            inner: Mutex::new(inner),
        }))
    }

    /// Runs one step of the capture; after an error (a full disk) the rest is left out.
    fn step(&self, f: impl FnOnce(&mut Inner, &mut Writer) -> io::Result<()>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut writer) = inner.writer.take() else {
            return;
        };
        match f(&mut inner, &mut writer) {
            Ok(()) => inner.writer = Some(writer),
            Err(e) => eprintln!("vagx: the capture in {} ends here: {e}", self.dir.display()),
        }
    }

    pub(crate) fn message(&self, channel: &str, bytes: &[u8]) {
        self.step(|inner, _| {
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
        self.step(|inner, writer| {
            let mut contexts = Vec::new();
            for number in [0, command.vm_slot] {
                contexts.push(context(writer, uat, number)?);
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
        self.step(|inner, writer| {
            let Some(mut job) = inner.current.remove(&number) else {
                return Ok(());
            };
            job.outcome = match error {
                None => "done".into(),
                Some(e) => format!("{e:?}"),
            };
            if let Some(before) = job.contexts.last() {
                job.changed = changed(writer, uat, before, &written)?;
            }
            writer.job(&job)
        });
    }
}

fn context(writer: &mut Writer, uat: &Uat, number: u8) -> io::Result<Context> {
    let [ttb0, ttb1] = uat.ttbrs(number).unwrap_or_default().map(|t| Hex(t.0));
    let mut pages = Vec::new();
    let mut seen: HashMap<u64, Option<u32>> = HashMap::new();
    let mut bytes = vec![0; PAGE_SIZE as usize];
    for mapping in uat.mappings(number).take(MAX_PAGES) {
        let id = match seen.get(&mapping.pa) {
            Some(id) => *id,
            None => {
                let id = match uat.mem().read(mapping.pa, &mut bytes) {
                    Ok(()) => Some(writer.store(&bytes)?),
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
    writer: &mut Writer,
    uat: &Uat,
    before: &Context,
    written: &BTreeSet<u64>,
) -> io::Result<Vec<Changed>> {
    let mut changed = Vec::new();
    let mut bytes = vec![0; PAGE_SIZE as usize];
    for Page(va, pte, old) in &before.pages {
        if !written.contains(&va.0) || uat.mem().read(Pte(pte.0).address(), &mut bytes).is_err() {
            continue;
        }
        let new = writer.store(&bytes)?;
        if *old != Some(new) {
            changed.push(Changed(*va, new));
        }
    }
    Ok(changed)
}
