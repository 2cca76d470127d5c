// SPDX-License-Identifier: MIT OR Apache-2.0

//! Inputs that never change, each in a folder named after the hash of what it was made from.
//!
//! An entry is filled under another name and renamed when it is whole. Only its maker holds the lock,
//! so two runs at once make it once, and an interrupted one leaves a `.new` folder that the next maker
//! removes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

/// The hash that names an entry. Each part is counted with its length, so that parts cannot run into
/// each other.
pub fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..8]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// An exclusive lock on a file, held until it is dropped. The kernel lets go of it if the holder dies.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its descriptor")] File);

impl Lock {
    pub fn take(path: &Path, waiting_for: &str) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            eprintln!("waiting for another run: {waiting_for}");
            flock(&file, FlockOperation::LockExclusive)?;
        }
        Ok(Self(file))
    }
}

/// `cache/kind-key`, made by `make` in an empty folder if it is not there. Entries of the same kind
/// under other keys are removed: their inputs are gone.
pub fn entry(
    cache: &Path,
    kind: &str,
    key: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let name = format!("{kind}-{key}");
    let path = cache.join(&name);
    if path.is_dir() {
        return Ok(path);
    }
    let _lock = Lock::take(&cache.join(format!("{kind}.lock")), kind)?;
    if path.is_dir() {
        return Ok(path);
    }
    let prefix = format!("{kind}-");
    for old in fs::read_dir(cache)? {
        let old = old?;
        let stale = old.file_name().to_str().is_some_and(|n| {
            n.strip_prefix(&prefix)
                .is_some_and(|rest| rest.ends_with(".new") || is_key(rest))
        });
        if stale && old.file_type()?.is_dir() {
            fs::remove_dir_all(old.path())
                .with_context(|| format!("cannot remove {}", old.path().display()))?;
        }
    }
    let new = cache.join(format!("{name}.new"));
    fs::create_dir_all(&new).with_context(|| format!("cannot make {}", new.display()))?;
    let made = make(&new);
    if let Err(error) = made {
        // What is left of it is of no use and may be what filled the disk.
        let _ = fs::remove_dir_all(&new);
        return Err(error);
    }
    fs::rename(&new, &path)?;
    Ok(path)
}

fn is_key(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn keys_differ_by_where_parts_end() {
        assert_ne!(key([b"ab".as_slice(), b"c"]), key([b"a".as_slice(), b"bc"]));
        assert!(is_key(&key([b"x".as_slice()])));
    }

    #[test]
    fn an_entry_is_made_once() {
        let cache = tempfile::tempdir().unwrap();
        let make = |dir: &Path| Ok(fs::write(dir.join("f"), "x")?);
        let path = entry(cache.path(), "a", "0123456789abcdef", make).unwrap();
        assert!(path.join("f").exists());
        entry(cache.path(), "a", "0123456789abcdef", |_| bail!("again")).unwrap();
    }

    #[test]
    fn a_failed_entry_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let failed = entry(cache.path(), "a", "0123456789abcdef", |dir| {
            fs::write(dir.join("f"), "x")?;
            bail!("no")
        });
        assert!(failed.is_err());
        let left: Vec<_> = fs::read_dir(cache.path())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().is_dir())
            .collect();
        assert!(left.is_empty());
    }

    #[test]
    fn old_and_interrupted_entries_go() {
        let cache = tempfile::tempdir().unwrap();
        for name in [
            "a-1111111111111111",
            "a-2222222222222222.new",
            "a-b-1111111111111111",
        ] {
            fs::create_dir(cache.path().join(name)).unwrap();
        }
        entry(cache.path(), "a", "0123456789abcdef", |_| Ok(())).unwrap();
        assert!(!cache.path().join("a-1111111111111111").exists());
        assert!(!cache.path().join("a-2222222222222222.new").exists());
        assert!(cache.path().join("a-b-1111111111111111").exists());
    }
}
