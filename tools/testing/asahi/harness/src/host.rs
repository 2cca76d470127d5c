// SPDX-License-Identifier: MIT OR Apache-2.0

//! A Debian root of this machine's own architecture, whose programs find the virtual GPU inside their
//! process: no guest, no kernel driver.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::cache;
use crate::context::Context;
use crate::proc;
use crate::progress::Progress;
use crate::roots;
use crate::vagx;

const PACKAGES: &str = include_str!("../host/packages.list");
const WAYLAND: &str = include_str!("../host/wayland.sh");

/// Counts up when [`make`] does something else with the same packages.
const RECIPE: &str = "1";

/// Debian's name of this machine's architecture, and of its folder of libraries.
const ARCH: (&str, &str) = if cfg!(target_arch = "aarch64") {
    ("arm64", "aarch64-linux-gnu")
} else {
    ("amd64", "x86_64-linux-gnu")
};

/// Goes in: the folders of the root lie over the host's in a mount namespace, all other paths stay.
/// The arguments are root, layers of /usr, the preloaded libraries, and the command.
const ENTER: &str = r#"
mount --rbind "$1/etc" /etc || exit 125
case $2 in
*:*) mount -t overlay -o "lowerdir=$2,ro" overlay /usr || exit 125 ;;
*) mount --rbind "$2" /usr || exit 125 ;;
esac
preload=$3
shift 3
LD_PRELOAD=$preload exec "$@"
"#;

/// Where programs run with the GPU preloaded.
#[derive(Debug)]
pub struct Host {
    root: PathBuf,
    piglit: Option<PathBuf>,
    shim: PathBuf,
    /// Version of Mesa in it.
    pub mesa: String,
}

impl Host {
    /// Makes the root and the shim, as far as they are not there. piglit is five times the rest and
    /// comes only where it is wanted.
    pub fn make(ctx: &Context, progress: &mut Progress, piglit: bool) -> Result<Self> {
        let key = cache::key([
            ctx.release.as_bytes(),
            ARCH.0.as_bytes(),
            PACKAGES.as_bytes(),
            ctx.params.packages.join(" ").as_bytes(),
            RECIPE.as_bytes(),
        ]);
        // A root with more in it stays beside the usual one.
        let name = match ctx.params.packages.is_empty() {
            true => "host",
            false => "hostmore",
        };
        let root = cache::entry(&ctx.cache, name, &key, |dir| {
            progress.step("host root", || make(ctx, dir))
        })?;
        Ok(Self {
            mesa: roots::mesa_version(&root, ARCH.1)?,
            root,
            piglit: match piglit {
                true => Some(piglit_root(ctx, progress)?),
                false => None,
            },
            shim: vagx::shim(ctx, progress)?,
        })
    }

    /// A command in the root, with the GPU in front of it.
    pub fn command(&self, program: &str) -> Command {
        let noop = format!("/usr/lib/{}/libasahi_noop_drm_shim.so", ARCH.1);
        let mut command = self.enter(&format!("{} {noop}", self.shim.display()), program);
        command.envs([
            ("RUSTICL_ENABLE", "asahi"),
            // Another OpenCL driver in the same process would bring an LLVM of its own.
            ("OCL_ICD_VENDORS", "rusticl.icd"),
            ("VK_DRIVER_FILES", "/usr/share/vulkan/icd.d/asahi_icd.json"),
        ]);
        command
    }

    /// A command in the same root, with what the same Debian computes and draws with on a CPU.
    pub fn software(&self, program: &str) -> Command {
        let mut command = self.enter("", program);
        command.envs([
            ("LIBGL_ALWAYS_SOFTWARE", "1"),
            ("GALLIUM_DRIVER", "llvmpipe"),
            ("OCL_ICD_VENDORS", "pocl.icd"),
            ("VK_DRIVER_FILES", "/usr/share/vulkan/icd.d/lvp_icd.json"),
        ]);
        command
    }

    /// A command in a Wayland session.
    pub fn wayland(&self, program: &str) -> Command {
        in_session(self.command("/bin/sh"), program)
    }

    /// The same, drawn by the CPU.
    pub fn software_wayland(&self, program: &str) -> Command {
        in_session(self.software("/bin/sh"), program)
    }

    fn enter(&self, preload: &str, program: &str) -> Command {
        let mut layers = self.root.join("usr").display().to_string();
        if let Some(piglit) = &self.piglit {
            layers += &format!(":{}", piglit.join("usr").display());
        }
        let mut command = proc::command("unshare");
        command
            .args(["--mount", "--propagation", "private"])
            .args(["/bin/sh", "-c", ENTER, "enter"])
            .arg(&self.root)
            .arg(layers)
            .arg(preload)
            .arg(program)
            .env_clear()
            .envs([
                ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
                ("HOME", "/tmp"),
                ("LANG", "C.UTF-8"),
                ("EGL_PLATFORM", "surfaceless"),
                // Nothing of an earlier run, whose GPU may have been another.
                ("MESA_SHADER_CACHE_DISABLE", "true"),
            ]);
        if let Some(term) = std::env::var_os("TERM") {
            command.env("TERM", term);
        }
        command
    }

    /// Where a library is in the root, for those who are in it.
    pub fn library(&self, name: &str) -> PathBuf {
        Path::new("/usr/lib").join(ARCH.1).join(name)
    }

    pub fn shim(&self) -> &Path {
        &self.shim
    }
}

/// Has a shell that was prepared run a program in a Wayland session.
fn in_session(mut shell: Command, program: &str) -> Command {
    shell.args(["-c", WAYLAND, "wayland", program]);
    shell
}

fn make(ctx: &Context, root: &Path) -> Result<()> {
    let log = proc::fresh(&ctx.cache, "host.log")?;
    let mut list = roots::packages(PACKAGES);
    list.extend_from_slice(&ctx.params.packages);
    roots::extract(ctx, root, ARCH.0, &list, &log)?;
    roots::mesa_version(root, ARCH.1)?;
    let noop = root.join(format!("usr/lib/{}/libasahi_noop_drm_shim.so", ARCH.1));
    if !noop.exists() {
        bail!("mesa-drm-shim of this archive has no shim for asahi");
    }
    roots::strip(root)?;
    roots::accounts(root)
}

/// piglit and what it needs, to lie below the root.
pub fn piglit_root(ctx: &Context, progress: &mut Progress) -> Result<PathBuf> {
    let key = cache::key([
        ctx.release.as_bytes(),
        ARCH.0.as_bytes(),
        b"piglit 2".as_slice(),
    ]);
    cache::entry(&ctx.cache, "hostpiglit", &key, |dir| {
        progress.step("piglit", || {
            let log = proc::fresh(&ctx.cache, "hostpiglit.log")?;
            roots::extract_piglit(ctx, dir, ARCH, &log)
        })
    })
}

/// The scripts that piglit's tests are made of, the same for every architecture.
pub fn generated_tests(piglit_root: &Path) -> PathBuf {
    piglit_root.join(format!("usr/lib/{}/piglit/generated_tests", ARCH.1))
}
