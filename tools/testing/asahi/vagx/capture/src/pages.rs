// SPDX-License-Identifier: MIT OR Apache-2.0

//! The files of a capture as they are written.

use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use vagx_uat::PAGE_SIZE;

use crate::format::{FORMAT, Hex, INDEX, Index, Job, PAGES};

/// Writes a capture, page by page and job by job.
pub struct Writer {
    dir: PathBuf,
    index: Index,
    pages: BufWriter<File>,
    /// Pages in the file, by two hashes of their content.
    known: HashMap<(u64, u64), u32>,
}

impl Writer {
    /// Makes the directory `dir`, if it is not there, and begins a capture in it. An older capture there is replaced.
    pub fn create(dir: &Path, chip: u32, abi: [u32; 3]) -> io::Result<Writer> {
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
        let index = Index {
            format: FORMAT,
            chip: Hex(chip.into()),
            abi,
            page_size: PAGE_SIZE,
            pages: PAGES.into(),
            jobs: Vec::new(),
        };
        let mut writer = Writer {
            dir: dir.to_owned(),
            index,
            pages: BufWriter::new(File::create(dir.join(PAGES))?),
            known: HashMap::new(),
        };
        // Page 0 is the zero page.
        writer.store(&vec![0; PAGE_SIZE as usize])?;
        writer.write_index()?;
        Ok(writer)
    }

    /// Where the page is in the file; writes it if it is new.
    pub fn store(&mut self, page: &[u8]) -> io::Result<u32> {
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
        self.pages.write_all(page)?;
        self.known.insert(key, id);
        Ok(id)
    }

    /// Adds a job that has ended, all of whose pages are stored.
    pub fn job(&mut self, job: &Job) -> io::Result<()> {
        let name = format!("job-{:06}.json", job.number);
        self.pages.flush()?;
        write_json(&self.dir.join(&name), job)?;
        self.index.jobs.push(name);
        self.write_index()
    }

    fn write_index(&mut self) -> io::Result<()> {
        self.pages.flush()?;
        write_json(&self.dir.join(INDEX), &self.index)
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
