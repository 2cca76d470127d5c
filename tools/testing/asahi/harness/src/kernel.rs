// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel: its source, the tree with this checkout laid over it, its configurations, the build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cache::{self, Lock};
use crate::context::Context;
use crate::kconfig;
use crate::overlay;
use crate::proc;
use crate::progress::Progress;
use crate::roots;

/// The Linux release that this tree lies over.
const SERIES: &str = "7.3";

/// A kernel to boot.
#[derive(Debug, Clone)]
pub struct Kernel {
    pub image: PathBuf,
    /// What `uname -r` says.
    pub release: String,
    /// What its source is: a package with its version, or a path.
    pub origin: String,
    /// Where the modules were built; `modules.order` names them.
    pub objects: PathBuf,
    /// The guest's own modules, built outside the kernel's build.
    pub guest_objects: PathBuf,
    pub debug: bool,
}

/// A kernel source tree with this checkout laid over it.
#[derive(Debug)]
pub struct Tree {
    pub path: PathBuf,
    /// What it was made from, for the results: a package version or a path.
    pub origin: String,
    /// Hash of all that was laid over it.
    key: String,
}

/// The version in a kernel's Makefile.
pub fn version(tree: &Path) -> Result<String> {
    let text = fs::read_to_string(tree.join("Makefile"))
        .with_context(|| format!("{} is no kernel tree", tree.display()))?;
    let field = |name: &str| {
        text.lines().take(10).find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    match (field("VERSION"), field("PATCHLEVEL"), field("SUBLEVEL")) {
        (Some(v), Some(p), Some(s)) => Ok(format!(
            "{v}.{p}.{s}{}",
            field("EXTRAVERSION").unwrap_or_default()
        )),
        _ => bail!(
            "{} is no kernel tree: its Makefile names no version",
            tree.display()
        ),
    }
}

/// Half a gigabyte of registers of another driver, a quarter of all sources.
const UNWANTED: &str = "drivers/gpu/drm/amd/include/asic_reg";

/// Debian's source of the series, unpacked.
fn debian_source(ctx: &Context, progress: &mut Progress) -> Result<PathBuf> {
    let key = cache::key([ctx.release.as_bytes(), SERIES.as_bytes(), b"1".as_slice()]);
    cache::entry(&ctx.cache, "linux", &key, |dir| {
        progress.step("kernel source", || {
            let package = format!("linux-source-{SERIES}");
            let log = proc::fresh(&ctx.cache, "linux.log")?;
            let root = dir.join("root");
            roots::extract(ctx, &root, "amd64", &[format!("b:{package}")], &log).map_err(|e| {
                if proc::tail_of(&log, 1 << 20).contains("Unable to locate package")
                    || proc::tail_of(&log, 1 << 20).contains("was not found")
                {
                    anyhow::anyhow!(
                        "Debian {} carries no {package} any more: give a {SERIES} tree of your own with KSRC=DIR",
                        ctx.release
                    )
                } else {
                    e
                }
            })?;
            let mut tar = proc::command("tar");
            tar.arg("-xf")
                .arg(root.join(format!("usr/src/{package}.tar.xz")))
                .arg(format!("--exclude=*/{UNWANTED}"))
                .args(["--strip-components=1", "--no-same-owner", "-C"])
                .arg(dir);
            proc::run_logged(tar, &log, "unpacking the kernel source")?;
            fs::write(dir.join(".asahi-origin"), deb_version(&root, &package))?;
            Ok(fs::remove_dir_all(root)?)
        })
    })
}

/// The version of an unpacked package by its changelog.
fn deb_version(root: &Path, package: &str) -> String {
    let mut zcat = Command::new("zcat");
    zcat.arg(root.join(format!("usr/share/doc/{package}/changelog.Debian.gz")));
    let log = proc::output(zcat, "zcat").unwrap_or_default();
    let version = log
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map_or("unknown", |(version, _)| version);
    format!("{package} {version}")
}

/// Brings the kernel tree to what the checkout is now.
pub fn tree(ctx: &Context, progress: &mut Progress) -> Result<Tree> {
    let (pristine, path, origin) = match &ctx.params.ksrc {
        Some(own) => {
            let found = version(own)?;
            if !found.starts_with(SERIES) {
                eprintln!("warning: KSRC is Linux {found}; this tree is made for {SERIES}");
            }
            let name = cache::key([own.as_os_str().as_encoded_bytes()]);
            let path = ctx.build.join(format!("linux-ksrc-{name}"));
            (own.clone(), path, format!("{} ({found})", own.display()))
        }
        None => {
            let pristine = debian_source(ctx, progress)?;
            let origin = fs::read_to_string(pristine.join(".asahi-origin"))?;
            (pristine, ctx.build.join("linux"), origin)
        }
    };
    if ctx.params.ksrc.is_some() {
        copy_own(&pristine, &path)?;
    } else {
        // Of another pristine tree than the one at hand: start anew.
        let of = path.join(".asahi-pristine");
        let name = pristine
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if fs::read_to_string(&of).ok().as_deref() != Some(&name) {
            progress.step("kernel tree", || link_tree(&pristine, &path, &name))?;
        }
    }
    let files = overlay::collect(&ctx.src, &pristine)?;
    let changed = overlay::lay(&files, &path, &pristine)?;
    if !changed.is_empty() {
        eprintln!("kernel tree: {} files brought up to date", changed.len());
    }
    let key = cache::key(
        files
            .iter()
            .flat_map(|(name, text)| [name.as_os_str().as_encoded_bytes(), text.as_slice()])
            .chain([origin.as_bytes()]),
    );
    Ok(Tree { path, origin, key })
}

/// Copies a pristine tree by hard links.
fn link_tree(pristine: &Path, path: &Path, name: &str) -> Result<()> {
    let new = path.with_extension("new");
    for old in [&new, &path.to_owned()] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    let mut cp = proc::command("cp");
    cp.arg("-al").arg(pristine).arg(&new);
    proc::output(cp, "copying the kernel tree")?;
    fs::write(new.join(".asahi-pristine"), name)?;
    Ok(fs::rename(new, path)?)
}

/// Copies a person's own tree without what was built in it. It is never written to.
fn copy_own(own: &Path, path: &Path) -> Result<()> {
    fs::create_dir_all(path)?;
    let mut rsync = proc::command("rsync");
    rsync.args([
        "-a",
        "--delete",
        "--exclude=/.git",
        "--exclude=/.config",
        "--exclude=/.asahi-overlay",
    ]);
    rsync.args([
        "--exclude=*.o",
        "--exclude=*.ko",
        "--exclude=*.cmd",
        "--exclude=/include/generated",
        "--exclude=/include/config",
        "--exclude=/arch/*/include/generated",
    ]);
    // What was laid over is the overlay's to keep or to take back.
    let list = path.join(".asahi-overlay");
    let laid = fs::read_to_string(&list).unwrap_or_default();
    let mut excluded = tempfile::NamedTempFile::new()?;
    for line in laid.lines() {
        use std::io::Write;
        writeln!(excluded, "/{line}")?;
    }
    rsync.arg("--exclude-from").arg(excluded.path());
    rsync.arg(format!("{}/", own.display())).arg(path);
    proc::output(rsync, "copying KSRC")?;
    Ok(())
}

/// `make` in the kernel tree with the objects in `objects`.
pub fn make(tree: &Path, objects: &Path) -> Command {
    let jobs = std::thread::available_parallelism().map_or(2, |n| n.get());
    let mut make = proc::command("make");
    make.arg("-C")
        .arg(tree)
        .arg(format!("O={}", objects.display()))
        .args(["LLVM=-21", "ARCH=arm64", "-s"])
        .arg(format!("-j{jobs}"))
        // The build's time stamps and names would make each Image differ.
        .env("KBUILD_BUILD_TIMESTAMP", "1970-01-01")
        .env("KBUILD_BUILD_USER", "asahi")
        .env("KBUILD_BUILD_HOST", "asahi");
    make
}

/// The configuration fragments in the order in which they apply.
pub fn fragments(ctx: &Context, debug: bool) -> Vec<PathBuf> {
    let dir = ctx.asahi().join("kconfig");
    let mut list = vec![dir.join("vm.config")];
    if debug {
        list.push(dir.join("debug.config"));
    }
    list.extend(ctx.params.kconfig.clone());
    list
}

/// Configures; keeps make from starting over when nothing about it changed.
pub fn configure(tree: &Tree, objects: &Path, fragments: &[PathBuf], log: &Path) -> Result<()> {
    let mut merged = String::new();
    for fragment in fragments {
        merged += &fs::read_to_string(fragment)
            .with_context(|| format!("cannot read {}", fragment.display()))?;
        merged.push('\n');
    }
    fs::create_dir_all(objects)?;
    let kept = objects.join(".asahi-fragment");
    let config = objects.join(".config");
    if fs::read_to_string(&kept).ok().as_deref() != Some(&merged) || !config.exists() {
        let all = objects.join(".asahi-fragment.new");
        fs::write(&all, &merged)?;
        let mut allno = make(&tree.path, objects);
        allno.arg("allnoconfig").env("KCONFIG_ALLCONFIG", &all);
        proc::run_logged(allno, log, "configuring the kernel")?;
    } else {
        // Kconfig files of this tree may have changed.
        let mut old = make(&tree.path, objects);
        old.arg("olddefconfig");
        proc::run_logged(old, log, "configuring the kernel")?;
    }
    let missed = kconfig::missed(&merged, &fs::read_to_string(&config)?);
    if !missed.is_empty() {
        bail!(
            "the kernel's configuration did not take:\n  {}",
            missed.join("\n  ")
        );
    }
    // Only now: a fragment that did not take is tried again.
    Ok(fs::write(kept, merged)?)
}

/// Builds the kernel and its modules, or finds that nothing changed.
pub fn build(ctx: &Context, progress: &mut Progress, debug: bool) -> Result<Kernel> {
    if let Some(own) = &ctx.params.kernel {
        return prebuilt(ctx, own);
    }
    let _lock = Lock::take(&ctx.build.join("kernel.lock"), "the kernel build")?;
    let tree = tree(ctx, progress)?;
    let name = if debug { "debug kernel" } else { "kernel" };
    let dir = match &ctx.params.ksrc {
        Some(_) => format!(
            "{}-",
            tree.path.file_name().unwrap_or_default().to_string_lossy()
        ),
        None => String::new(),
    };
    let extra = match &ctx.params.kconfig {
        Some(fragment) => format!("-{}", cache::key([fs::read(fragment)?.as_slice()])),
        None => String::new(),
    };
    let objects = ctx.build.join(format!(
        "{dir}kernel{}{extra}",
        if debug { "-debug" } else { "" }
    ));
    let guest_objects = objects.join("asahi-guest");
    let stamp = objects.join(".asahi-built");
    let mut parts = vec![tree.key.clone(), toolroot(ctx)];
    for fragment in fragments(ctx, debug) {
        parts.push(fs::read_to_string(fragment)?);
    }
    let key = cache::key(parts.iter().map(|p| p.as_bytes()));
    let image = objects.join("arch/arm64/boot/Image");
    let release_file = objects.join("include/config/kernel.release");
    if fs::read_to_string(&stamp).ok().as_deref() != Some(&key) || !image.exists() {
        let log = proc::fresh(
            &ctx.build.join("logs"),
            &format!("{}.log", name.replace(' ', "-")),
        )?;
        let _ = fs::remove_file(&stamp);
        progress.step(name, || {
            configure(&tree, &objects, &fragments(ctx, debug), &log)?;
            let mut all = make(&tree.path, &objects);
            all.args(["Image", "modules"]);
            proc::run_logged(all, &log, "the kernel build")?;
            let guest = tree.path.join("tools/testing/asahi/guest");
            if guest.is_dir() {
                let mut module = make(&tree.path, &objects);
                module
                    .arg(format!("M={}", guest.display()))
                    .arg(format!("MO={}", guest_objects.display()))
                    .arg("modules");
                proc::run_logged(module, &log, "the build of the guest module")?;
            }
            Ok(())
        })?;
        fs::write(&stamp, &key)?;
    }
    Ok(Kernel {
        image,
        release: fs::read_to_string(release_file)?.trim().to_owned(),
        origin: tree.origin,
        objects,
        guest_objects,
        debug,
    })
}

/// Which tool root this runs in: other compilers make another kernel.
fn toolroot(ctx: &Context) -> String {
    fs::read_link(ctx.cache.join("toolroot"))
        .map(|p| p.display().to_string())
        .unwrap_or_default()
}

/// A tree that somebody built: taken as it is.
fn prebuilt(ctx: &Context, own: &Path) -> Result<Kernel> {
    let release = fs::read_to_string(own.join("include/config/kernel.release"))
        .with_context(|| format!("{}: no kernel was built there", own.display()))?;
    Ok(Kernel {
        image: own.join("arch/arm64/boot/Image"),
        release: release.trim().to_owned(),
        origin: own.display().to_string(),
        objects: own.to_owned(),
        guest_objects: own.join("tools/testing/asahi/guest"),
        debug: ctx.params.debug,
    })
}

impl Kernel {
    /// Puts the modules where the guest's modprobe finds them, under `to`; gives the names of the
    /// guest's own modules.
    pub fn stage_modules(&self, to: &Path) -> Result<Vec<String>> {
        let base = to.join(&self.release);
        fs::create_dir_all(&base)?;
        let mut names = Vec::new();
        let mut order = String::new();
        for (objects, own) in [(&self.objects, false), (&self.guest_objects, true)] {
            for line in fs::read_to_string(objects.join("modules.order"))
                .unwrap_or_default()
                .lines()
            {
                // The list names objects relative to the tree or, of outside modules, by full path.
                let built = objects.join(Path::new(line)).with_extension("ko");
                let file = Path::new(line).file_name().unwrap_or_default();
                let built = if built.exists() {
                    built
                } else {
                    objects.join(file).with_extension("ko")
                };
                let to = base.join(file).with_extension("ko");
                let mut strip = Command::new("llvm-strip");
                strip.arg("--strip-debug").arg("-o").arg(&to).arg(&built);
                proc::output(strip, "llvm-strip")?;
                let name = to
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                if own {
                    names.push(name.trim_end_matches(".ko").to_owned());
                }
                order += &name;
                order.push('\n');
            }
        }
        fs::write(base.join("modules.order"), order)?;
        for list in ["modules.builtin", "modules.builtin.modinfo"] {
            if self.objects.join(list).exists() {
                fs::copy(self.objects.join(list), base.join(list))?;
            }
        }
        // depmod wants lib/modules/RELEASE under its base.
        let tree = tempfile::tempdir()?;
        let lib = tree.path().join("lib/modules");
        fs::create_dir_all(&lib)?;
        std::os::unix::fs::symlink(&base, lib.join(&self.release))?;
        let mut depmod = Command::new("depmod");
        depmod.arg("-b").arg(tree.path()).arg(&self.release);
        proc::output(depmod, "depmod")?;
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_the_makefile() {
        let dir = tempfile::tempdir().unwrap();
        assert!(version(dir.path()).is_err());
        let text = "# SPDX\nVERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\nNAME = x\n";
        fs::write(dir.path().join("Makefile"), text).unwrap();
        assert_eq!(version(dir.path()).unwrap(), "7.3.4");
    }
}
