// SPDX-License-Identifier: MIT OR Apache-2.0

//! Lays this tree over a kernel tree.
//!
//! The kernel tree is a copy (of hard links, where it can be) of a pristine one. A file is replaced by
//! renaming a new one over it, never written in place, and only if its contents differ: so the
//! pristine tree stays as it is and make rebuilds what changed and nothing else. A list of what was
//! laid over is kept in the tree, so that what this tree no longer has goes back to what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The parts of the checkout that belong into a kernel tree.
pub const PARTS: [&str; 5] = [
    "Documentation",
    "drivers",
    "include",
    "rust",
    "tools/testing/asahi/guest",
];

/// Name of the list of files laid over, in the kernel tree.
const MANIFEST: &str = ".asahi-overlay";

/// What the overlay consists of: path in the kernel tree, and contents.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Collects this tree's files and the patched upstream files.
pub fn collect(src: &Path, pristine: &Path) -> Result<Files> {
    let mut files = patched(&src.join("patches"), pristine)?;
    for part in PARTS {
        let dir = src.join(part);
        if dir.is_dir() {
            walk(&dir, Path::new(part), &mut files)?;
        }
    }
    Ok(files)
}

/// What a build leaves beside its sources, should somebody have built in the checkout.
fn is_product(name: &str) -> bool {
    const SUFFIXES: [&str; 8] = [".o", ".ko", ".mod", ".mod.c", ".cmd", ".rej", ".orig", "~"];
    name.starts_with('.') || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

fn walk(dir: &Path, relative: &Path, files: &mut Files) -> Result<()> {
    for item in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let item = item?;
        let name = item.file_name();
        if name.to_str().is_none_or(is_product) {
            continue;
        }
        let (path, inside) = (item.path(), relative.join(&name));
        if path.is_dir() {
            walk(&path, &inside, files)?;
        } else {
            let text =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.insert(inside, text);
        }
    }
    Ok(())
}

/// The patch files in the order in which they apply.
pub fn patch_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if dir.is_dir() {
        for item in fs::read_dir(dir)? {
            let path = item?.path();
            if path.extension().is_some_and(|e| e == "patch") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The paths that a patch touches, from its `---` and `+++` lines.
fn touched(patch: &str) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::new();
    let mut old = None;
    for line in patch.lines() {
        if let Some(rest) = line.strip_prefix("--- ") {
            old = side(rest, "a/");
        } else if let Some(rest) = line.strip_prefix("+++ ") {
            // A mail's own text may have a line that starts like one of the two; both in a row
            // make a file header.
            if let Some(old) = old.take() {
                paths.extend(old);
                paths.extend(side(rest, "b/").flatten());
            }
        } else {
            old = None;
        }
    }
    paths
}

/// One side of a file header: None if it is none, Some(None) for /dev/null.
fn side(text: &str, prefix: &str) -> Option<Option<PathBuf>> {
    let name = text.split('\t').next()?.trim_end();
    if name == "/dev/null" {
        return Some(None);
    }
    let path = Path::new(name.strip_prefix(prefix)?);
    path.components()
        .all(|c| matches!(c, std::path::Component::Normal(_)))
        .then(|| Some(path.to_owned()))
}

/// Applies the series to pristine copies of the files it touches.
fn patched(dir: &Path, pristine: &Path) -> Result<Files> {
    let patches = patch_files(dir)?;
    let work = tempfile::tempdir().context("no temporary folder")?;
    let mut all = BTreeSet::new();
    for patch in &patches {
        let text = fs::read_to_string(patch)
            .with_context(|| format!("cannot read {}", patch.display()))?;
        for path in touched(&text) {
            let (from, to) = (pristine.join(&path), work.path().join(&path));
            if all.insert(path) && from.exists() {
                fs::create_dir_all(to.parent().unwrap_or(work.path()))?;
                fs::copy(&from, &to)?;
                fs::set_permissions(&to, fs::Permissions::from_mode(0o644))?;
            }
        }
        let out = Command::new("patch")
            .args([
                "-p1",
                "--force",
                "--no-backup-if-mismatch",
                "--reject-file=-",
            ])
            .arg("-d")
            .arg(work.path())
            .arg("-i")
            .arg(patch)
            .stdin(Stdio::null())
            .output()
            .context("cannot start patch")?;
        if !out.status.success() {
            bail!(
                "{}{} does not apply to this kernel",
                String::from_utf8_lossy(&out.stdout),
                patch.display()
            );
        }
    }
    let mut files = Files::new();
    for path in all {
        let at = work.path().join(&path);
        if at.exists() {
            files.insert(path, fs::read(at)?);
        }
    }
    Ok(files)
}

/// Makes `tree` the pristine tree plus `files`; gives the paths that changed.
pub fn lay(files: &Files, tree: &Path, pristine: &Path) -> Result<Vec<PathBuf>> {
    let list = tree.join(MANIFEST);
    let before: BTreeSet<PathBuf> = fs::read_to_string(&list)
        .unwrap_or_default()
        .lines()
        .map(PathBuf::from)
        .collect();
    // Written first: after an interruption it names all that may have been touched.
    let during: BTreeSet<&PathBuf> = before.iter().chain(files.keys()).collect();
    write_list(&list, during.iter().copied())?;

    let mut changed = Vec::new();
    for (path, text) in files {
        let at = tree.join(path);
        if fs::read(&at).is_ok_and(|old| old == *text) {
            continue;
        }
        replace(&at, text)?;
        changed.push(path.clone());
    }
    for path in before.iter().filter(|p| !files.contains_key(*p)) {
        let (from, at) = (pristine.join(path), tree.join(path));
        match fs::read(&from) {
            Ok(text) => {
                if !fs::read(&at).is_ok_and(|old| old == text) {
                    replace(&at, &text)?;
                    changed.push(path.clone());
                }
            }
            Err(_) if at.exists() => {
                fs::remove_file(&at)?;
                changed.push(path.clone());
                // Folders that only held what was laid over go too.
                let mut dir = at.parent();
                while let Some(d) = dir.filter(|d| *d != tree && fs::remove_dir(d).is_ok()) {
                    dir = d.parent();
                }
            }
            Err(_) => {}
        }
    }
    write_list(&list, files.keys())?;
    Ok(changed)
}

/// What was laid over `tree`.
pub fn laid(tree: &Path) -> Result<Vec<PathBuf>> {
    let list = tree.join(MANIFEST);
    let text = fs::read_to_string(&list).with_context(|| format!("no {}", list.display()))?;
    Ok(text.lines().map(PathBuf::from).collect())
}

fn write_list<'a>(list: &Path, paths: impl Iterator<Item = &'a PathBuf>) -> Result<()> {
    let mut text = String::new();
    for path in paths {
        text.push_str(&path.to_string_lossy());
        text.push('\n');
    }
    if fs::read_to_string(list).is_ok_and(|old| old == text) {
        return Ok(());
    }
    replace(list, text.as_bytes())
}

fn replace(at: &Path, text: &[u8]) -> Result<()> {
    let dir = at.parent().context("a file has a folder")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mode = fs::metadata(at).map_or(0o644, |m| m.permissions().mode() & 0o777);
    let mut new = tempfile::NamedTempFile::new_in(dir)
        .with_context(|| format!("cannot write in {}", dir.display()))?;
    new.write_all(text)?;
    new.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))?;
    new.persist(at)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Trees {
        _dir: tempfile::TempDir,
        src: PathBuf,
        pristine: PathBuf,
        tree: PathBuf,
    }

    fn put(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn trees() -> Trees {
        let dir = tempfile::tempdir().unwrap();
        let at = |n: &str| dir.path().join(n);
        let made = Trees {
            src: at("src"),
            pristine: at("pristine"),
            tree: at("tree"),
            _dir: dir,
        };
        put(&made.pristine.join("drivers/Kconfig"), "one\ntwo\nthree\n");
        fs::create_dir_all(made.tree.join("drivers")).unwrap();
        fs::hard_link(
            made.pristine.join("drivers/Kconfig"),
            made.tree.join("drivers/Kconfig"),
        )
        .unwrap();
        put(&made.src.join("drivers/gpu/a.rs"), "a");
        put(&made.src.join("drivers/gpu/a.o"), "product");
        put(
            &made.src.join("patches/0001-x.patch"),
            "why\n---\n drivers/Kconfig | 1 +\n--- a/drivers/Kconfig\n+++ b/drivers/Kconfig\n@@ -1,3 +1,4 @@\n one\n two\n+new\n three\n",
        );
        made
    }

    impl Trees {
        fn lay(&self) -> Vec<PathBuf> {
            let files = collect(&self.src, &self.pristine).unwrap();
            lay(&files, &self.tree, &self.pristine).unwrap()
        }
    }

    #[test]
    fn only_what_changed_is_touched() {
        let t = trees();
        assert_eq!(t.lay().len(), 2);
        assert!(t.lay().is_empty());
        put(&t.src.join("drivers/gpu/a.rs"), "b");
        assert_eq!(t.lay(), [PathBuf::from("drivers/gpu/a.rs")]);
        assert!(!t.tree.join("drivers/gpu/a.o").exists());
    }

    #[test]
    fn the_pristine_tree_stays_pristine() {
        let t = trees();
        t.lay();
        let read = |p: &Path| fs::read_to_string(p.join("drivers/Kconfig")).unwrap();
        assert_eq!(read(&t.tree), "one\ntwo\nnew\nthree\n");
        assert_eq!(read(&t.pristine), "one\ntwo\nthree\n");
    }

    #[test]
    fn what_went_away_goes_back() {
        let t = trees();
        t.lay();
        fs::remove_dir_all(t.src.join("patches")).unwrap();
        fs::remove_dir_all(t.src.join("drivers")).unwrap();
        t.lay();
        assert!(!t.tree.join("drivers/gpu").exists());
        assert_eq!(
            fs::read_to_string(t.tree.join("drivers/Kconfig")).unwrap(),
            "one\ntwo\nthree\n"
        );
    }

    #[test]
    fn a_patch_that_does_not_apply_is_named() {
        let t = trees();
        put(&t.pristine.join("drivers/Kconfig"), "other\n");
        let error = collect(&t.src, &t.pristine).unwrap_err().to_string();
        assert!(error.contains("0001-x.patch does not apply"), "{error}");
    }

    #[test]
    fn paths_of_a_patch() {
        let patch =
            "--- not a header\ntext\n--- /dev/null\n+++ b/new/file.c\n--- a/../x\n+++ b/ok\n";
        let paths = touched(patch);
        assert_eq!(
            paths.into_iter().collect::<Vec<_>>(),
            [PathBuf::from("new/file.c")]
        );
    }
}
