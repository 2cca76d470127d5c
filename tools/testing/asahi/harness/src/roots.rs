// SPDX-License-Identifier: MIT OR Apache-2.0

//! The guest's root and other things unpacked from Debian's archive.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::cache;
use crate::context::Context;
use crate::host;
use crate::proc;
use crate::progress::Progress;

const PACKAGES: &str = include_str!("../guest/packages.list");
const INIT: &str = include_str!("../guest/init");

/// Counts up when [`finish`] or [`pack`] makes something else of the same packages.
const RECIPE: &str = "1";

/// Where the guest's libraries are.
const LIBRARIES: &str = "aarch64-linux-gnu";

/// Where the guest has piglit.
const PIGLIT: &str = "usr/lib/aarch64-linux-gnu/piglit";

/// The oldest Mesa whose asahi drivers speak the upstream interface.
const MESA: (u32, u32) = (26, 1);

/// The guest's root as images to attach.
#[derive(Debug)]
pub struct Guest {
    pub root: PathBuf,
    pub piglit: Option<Piglit>,
    /// Version of Mesa in it.
    pub mesa: String,
}

/// piglit for a guest.
#[derive(Debug)]
pub struct Piglit {
    /// The image with the architecture's own part.
    pub image: PathBuf,
    /// The host's folder of generated tests.
    pub tests: PathBuf,
}

/// The packages of a list in the repository: one a line, `b:` for backports.
pub fn packages(list: &str) -> Vec<String> {
    list.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Unpacks packages and what they depend on into `root`, without running anything of theirs.
pub fn extract(ctx: &Context, root: &Path, arch: &str, list: &[String], log: &Path) -> Result<()> {
    let release = &ctx.release;
    let include: Vec<String> = list
        .iter()
        .map(|name| match name.strip_prefix("b:") {
            Some(name) => format!("{name}/{release}-backports"),
            None => name.clone(),
        })
        .collect();
    let mut debstrap = proc::command("mmdebstrap");
    debstrap
        .args([
            "--mode=root",
            "--variant=extract",
            "--skip=check/qemu,chroot/mount",
        ])
        .arg(format!("--architectures={arch}"))
        .arg(format!("--include={}", include.join(",")))
        .arg("--aptopt=APT::Sandbox::User \"root\"")
        .arg(format!(
            "--setup-hook={}",
            ctx.asahi().join("bootstrap/backports-hook.sh").display()
        ));
    for scheme in ["http", "https"] {
        if let Ok(proxy) = std::env::var(format!("ASAHI_APT_{scheme}")) {
            debstrap.arg(format!("--aptopt=Acquire::{scheme}::Proxy \"{proxy}\""));
        }
    }
    debstrap.arg(release).arg(root);
    if let Some(line) = ctx.apt_source() {
        debstrap.arg(line);
    }
    // In a user namespace with one mapped user nothing can be given to another.
    debstrap.env("TAR_OPTIONS", "--no-same-owner");
    proc::run_logged(debstrap, log, "unpacking Debian packages")
}

/// The guest's root, made if it is not in the cache.
pub fn guest(ctx: &Context, progress: &mut Progress, piglit: bool) -> Result<Guest> {
    let key = cache::key([
        ctx.release.as_bytes(),
        PACKAGES.as_bytes(),
        INIT.as_bytes(),
        RECIPE.as_bytes(),
    ]);
    let dir = cache::entry(&ctx.cache, "guest", &key, |dir| {
        progress.step("guest root", || make_guest(ctx, dir))
    })?;
    let piglit = if piglit {
        let key = cache::key([ctx.release.as_bytes(), b"piglit 3".as_slice()]);
        let dir = cache::entry(&ctx.cache, "piglit", &key, |dir| {
            progress.step("piglit", || make_piglit(ctx, dir))
        })?;
        Some(Piglit {
            image: dir.join("piglit.erofs"),
            tests: host::generated_tests(&host::piglit_root(ctx, progress)?),
        })
    } else {
        None
    };
    Ok(Guest {
        root: dir.join("root.erofs"),
        piglit,
        mesa: fs::read_to_string(dir.join("mesa"))?,
    })
}

fn make_guest(ctx: &Context, dir: &Path) -> Result<()> {
    let root = dir.join("root");
    let log = proc::fresh(&ctx.cache, "guest.log")?;
    extract(ctx, &root, "arm64", &packages(PACKAGES), &log)?;
    let mesa = mesa_version(&root, LIBRARIES)?;
    finish(&root)?;
    pack(&root, &dir.join("root.erofs"), &log)?;
    fs::write(dir.join("mesa"), mesa)?;
    fs::remove_dir_all(&root)?;
    Ok(())
}

/// Unpacks piglit and what it needs, to lie below a root with a Mesa of its own.
pub fn extract_piglit(ctx: &Context, root: &Path, arch: (&str, &str), log: &Path) -> Result<()> {
    // The assembler of SPIR-V is what some of its tests call.
    let list = ["piglit", "spirv-tools"].map(str::to_owned);
    extract(ctx, root, arch.0, &list, log)?;
    strip(root)?;
    // The release's Mesa, which nothing finds beside the newer one.
    for item in fs::read_dir(root.join("usr/lib").join(arch.1))? {
        let item = item?;
        let name = item.file_name().to_string_lossy().into_owned();
        if name.starts_with("libgallium") || name.starts_with("libLLVM") {
            fs::remove_file(item.path())?;
        }
    }
    Ok(())
}

/// piglit and what it needs, to lie below the root: an image of its own, which most guests never see.
/// The generated tests, nearly all of it, are the same for every architecture: they stay out, and the
/// guest takes the host's.
fn make_piglit(ctx: &Context, dir: &Path) -> Result<()> {
    let root = dir.join("root");
    let log = proc::fresh(&ctx.cache, "piglit.log")?;
    extract_piglit(ctx, &root, ("arm64", LIBRARIES), &log)?;
    let generated = root.join(PIGLIT).join("generated_tests");
    remove(&generated)?;
    fs::create_dir(&generated)?;
    pack(&root, &dir.join("piglit.erofs"), &log)?;
    fs::remove_dir_all(&root)?;
    Ok(())
}

fn pack(root: &Path, image: &Path, log: &Path) -> Result<()> {
    let mut mkfs = proc::command("mkfs.erofs");
    mkfs.args(["--all-root", "-T0", "-Enoinline_data"])
        .arg(image)
        .arg(root);
    proc::run_logged(mkfs, log, "packing the guest root")?;
    // A guest with large pages reads whole ones, up to the end of its last.
    let file = fs::OpenOptions::new().write(true).open(image)?;
    Ok(file.set_len(file.metadata()?.len().next_multiple_of(64 * 1024))?)
}

/// The Mesa in a root, by the name of its driver library; refused if too old.
pub fn mesa_version(root: &Path, libraries: &str) -> Result<String> {
    let dir = root.join("usr/lib").join(libraries);
    let mut found = None;
    for item in fs::read_dir(&dir).with_context(|| format!("no {}", dir.display()))? {
        let name = item?.file_name().to_string_lossy().into_owned();
        if let Some(version) = name
            .strip_prefix("libgallium-")
            .and_then(|rest| rest.strip_suffix(".so"))
        {
            found = Some(version.to_owned());
        }
    }
    let version = found.context("the root has no Mesa")?;
    if !new_enough(&version) {
        bail!(
            "the archive gave Mesa {version}; {}.{} or later is needed (Debian's backports carry it)",
            MESA.0,
            MESA.1
        );
    }
    if !dir.join("libvulkan_asahi.so").exists() {
        bail!("Mesa {version} of this archive has no Vulkan driver for AGX");
    }
    Ok(version)
}

fn new_enough(version: &str) -> bool {
    let mut numbers = version
        .split(['.', '-', '~'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (major, minor) >= MESA
}

/// Removes what nothing here reads.
pub fn strip(root: &Path) -> Result<()> {
    for unread in [
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
        "usr/share/info",
        "usr/share/icons",
        "usr/share/bash-completion",
        "var/cache/apt",
        "var/lib/apt",
    ] {
        remove(&root.join(unread))?;
    }
    Ok(())
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// The accounts that programs look for.
pub fn accounts(root: &Path) -> Result<()> {
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    )?;
    Ok(fs::write(
        root.join("etc/group"),
        "root:x:0:\nvideo:x:44:\nrender:x:105:\nnogroup:x:65534:\n",
    )?)
}

/// What the packages' install scripts would have done, as far as a guest needs it.
fn finish(root: &Path) -> Result<()> {
    strip(root)?;
    for unread in ["gconv", "perl-base"] {
        remove(&root.join("usr/lib").join(LIBRARIES).join(unread))?;
    }
    remove(&root.join("usr/share/perl5"))?;
    accounts(root)?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    fs::write(root.join("etc/hostname"), "agx\n")?;
    match fs::remove_file(root.join("etc/resolv.conf")) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e)?,
        _ => {}
    }
    if !root.join("usr/bin/awk").exists() {
        symlink("gawk", root.join("usr/bin/awk"))?;
    }
    for dir in [
        "asahi",
        "proc",
        "sys",
        "dev",
        "run",
        "tmp",
        "mnt",
        "root",
        "usr/lib/modules",
    ] {
        fs::create_dir_all(root.join(dir))?;
    }
    let init = root.join("init");
    fs::write(&init, INIT)?;
    Ok(fs::set_permissions(
        init,
        fs::Permissions::from_mode(0o755),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_comments_and_blank_lines() {
        assert_eq!(packages("# x\n\na\nb:c # why\n"), ["a", "b:c"]);
        assert!(packages(PACKAGES).contains(&"b:mesa-vulkan-drivers".to_owned()));
    }

    #[test]
    fn an_old_mesa_is_refused() {
        assert!(new_enough("26.1.6-1~bpo13+1"));
        assert!(new_enough("27.0.0"));
        assert!(!new_enough("25.0.7-2"));
        assert!(!new_enough("26.0.9"));
        assert!(!new_enough("junk"));
    }
}
