// SPDX-License-Identifier: MIT OR Apache-2.0

//! Captured jobs in one small file each: the job as in a capture's JSON, and the pages without their zeroes.
//!
//! The file is a zlib stream of: the length of the JSON (32 bits), the JSON, and for each page its address, with bit 0
//! set if it is writable, and its bytes.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use vagx_capture::{GpuJob, Snapshot, Told};

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
        let mut seed = Seed {
            name: String::new(),
            job,
            pages: pages
                .iter()
                .map(|(va, page, w)| (*va, words(page), *w))
                .collect(),
        };
        // What the job never reaches is left out.
        let image = seed.image();
        let _ = crate::run(&image, &seed.job, &());
        let reached = image.reached();
        seed.pages.retain(|(va, ..)| reached.contains(va));
        Ok(seed)
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
    pub fn store(&self) -> std::io::Result<Vec<u8>> {
        let json = serde_json::to_vec(&Told::from(&self.job))?;
        let mut out = ZlibEncoder::new(Vec::new(), Compression::best());
        out.write_all(&(json.len() as u32).to_le_bytes())?;
        out.write_all(&json)?;
        for (va, words, writable) in &self.pages {
            out.write_all(&(va | u64::from(*writable)).to_le_bytes())?;
            for word in words {
                out.write_all(&word.to_le_bytes())?;
            }
        }
        out.finish()
    }

    /// Reads what [`Seed::store`] made.
    pub fn load(name: &str, file: &[u8]) -> Option<Seed> {
        let mut bytes = Vec::new();
        ZlibDecoder::new(file).read_to_end(&mut bytes).ok()?;
        let (length, bytes) = bytes.split_first_chunk()?;
        let (json, pages) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let told: Told = serde_json::from_slice(json).ok()?;
        let words: Vec<u64> = pages
            .as_chunks()
            .0
            .iter()
            .map(|word| u64::from_le_bytes(*word))
            .collect();
        let page = |page: &[u64]| (page[0] & !1, page[1..].to_vec(), page[0] & 1 != 0);
        Some(Seed {
            name: name.to_owned(),
            job: told.job()?,
            pages: words.chunks_exact(1 + WORDS).map(page).collect(),
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
