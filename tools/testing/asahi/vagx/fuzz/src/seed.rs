// SPDX-License-Identifier: MIT OR Apache-2.0

//! Captured jobs in one small file each: the job as in a capture's JSON, and the pages without their zeroes.
//!
//! The file is the length of the JSON (32 bits), the JSON, and for each page its address with bit 0 set if it is
//! writable, followed by runs: how many words of 64 bits are zero, how many follow (16 bits each), and these; runs end
//! with the page.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use vagx_capture::{GpuJob, Snapshot, Told};
use vagx_gpu::PAGE_SIZE;

use crate::image::{Image, WORDS};

/// What runs a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Compute,
    Render,
}

/// A captured job.
pub struct Seed {
    /// The file's name.
    pub name: String,
    /// What the GPU was told.
    pub job: GpuJob,
    pages: Vec<(u64, Vec<u64>, bool)>,
}

impl Seed {
    /// Of a job that was captured.
    pub fn new(job: GpuJob, memory: &Snapshot) -> std::io::Result<Seed> {
        let words = |bytes: &[u8]| {
            let chunks = bytes.chunks_exact(8);
            chunks
                .map(|b| u64::from_le_bytes(std::array::from_fn(|i| b[i])))
                .collect()
        };
        let pages = memory.contents()?;
        Ok(Seed {
            name: String::new(),
            job,
            pages: pages
                .iter()
                .map(|(va, page, w)| (*va, words(page), *w))
                .collect(),
        })
    }

    /// The memory that the job began with.
    pub fn image(&self) -> Image {
        let mut image = Image::default();
        for (va, words, writable) in &self.pages {
            image.map(*va, words, *writable);
        }
        image
    }

    /// The file's bytes.
    pub fn store(&self) -> Vec<u8> {
        let json = serde_json::to_vec(&Told::from(&self.job)).unwrap_or_default();
        let mut out = (json.len() as u32).to_le_bytes().to_vec();
        out.extend(json);
        for (va, words, writable) in &self.pages {
            out.extend((va & !1 | u64::from(*writable)).to_le_bytes());
            let mut rest = &words[..];
            while !rest.is_empty() {
                let zeroes = rest.iter().take_while(|w| **w == 0).count();
                let filled = rest[zeroes..].iter().take_while(|w| **w != 0).count();
                out.extend((zeroes as u16).to_le_bytes());
                out.extend((filled as u16).to_le_bytes());
                for word in &rest[zeroes..zeroes + filled] {
                    out.extend(word.to_le_bytes());
                }
                rest = &rest[zeroes + filled..];
            }
        }
        out
    }

    /// Reads what [`Seed::store`] made.
    pub fn load(name: &str, mut bytes: &[u8]) -> Option<Seed> {
        fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
            let (head, rest) = bytes.split_first_chunk::<N>()?;
            *bytes = rest;
            Some(*head)
        }
        let length = u32::from_le_bytes(take(&mut bytes)?) as usize;
        let (json, mut bytes) = bytes.split_at_checked(length)?;
        let told: Told = serde_json::from_slice(json).ok()?;
        let mut pages = Vec::new();
        while !bytes.is_empty() {
            let va = u64::from_le_bytes(take(&mut bytes)?);
            let mut words = Vec::with_capacity(WORDS);
            while words.len() < WORDS {
                let zeroes = u16::from_le_bytes(take(&mut bytes)?);
                let filled = u16::from_le_bytes(take(&mut bytes)?);
                words.resize(words.len() + usize::from(zeroes), 0);
                for _ in 0..filled {
                    words.push(u64::from_le_bytes(take(&mut bytes)?));
                }
            }
            pages.push((va & !(PAGE_SIZE - 1), words, va & 1 != 0));
        }
        Some(Seed {
            name: name.to_owned(),
            job: told.job()?,
            pages,
        })
    }

    fn kind(&self) -> Kind {
        match self.job {
            GpuJob::Compute(_) => Kind::Compute,
            _ => Kind::Render,
        }
    }
}

/// Folder of the seeds.
fn folder() -> PathBuf {
    match std::env::var_os("VAGX_FUZZ_SEEDS") {
        Some(dir) => dir.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds"),
    }
}

fn read(kind: Kind) -> Vec<Seed> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.sort();
    files
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "job"))
        .map(|path| {
            let bytes = std::fs::read(path).unwrap_or_default();
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            Seed::load(&name, &bytes).unwrap_or_else(|| panic!("{}: not a seed", path.display()))
        })
        .filter(|seed| seed.kind() == kind)
        .collect()
}

/// All seeds of a kind, by name. `VAGX_FUZZ_SEEDS` names another folder of them.
pub fn seeds(kind: Kind) -> &'static [Seed] {
    static COMPUTE: OnceLock<Vec<Seed>> = OnceLock::new();
    static RENDER: OnceLock<Vec<Seed>> = OnceLock::new();
    let all = match kind {
        Kind::Compute => &COMPUTE,
        Kind::Render => &RENDER,
    };
    all.get_or_init(|| read(kind))
}
