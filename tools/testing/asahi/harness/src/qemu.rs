// SPDX-License-Identifier: MIT OR Apache-2.0

//! QEMU's command line, and what it says when it cannot do something.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::proc::{self, Guarded};
use crate::roots::Piglit;

pub const PROGRAM: &str = "qemu-system-aarch64";

/// Guest memory. The bootloader's regions are at its top, and it must end below 8 GiB, where the
/// chip's register window lies.
const MEMORY: &str = "4096M";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    Kvm,
    Tcg,
    /// As TCG, with one CPU whose counter counts its instructions, a nanosecond each.
    Counting,
}

impl Accelerator {
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG",
            Self::Counting => "TCG with an instruction counter",
        }
    }

    fn machine(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
            // The 16K pages of Apple's chips need a CPU that has them; `max` is three times slower
            // because of pointer authentication.
            Self::Tcg => &["-accel", "tcg,thread=multi", "-cpu", "neoverse-n1"],
            Self::Counting => &[
                "-accel",
                "tcg,thread=single",
                "-icount",
                "shift=0",
                "-cpu",
                "neoverse-n1,cntfrq=1000000000",
            ],
        }
    }

    fn cpus(self) -> usize {
        match self {
            Self::Kvm | Self::Tcg => std::thread::available_parallelism()
                .map_or(2, |n| n.get())
                .clamp(2, 8),
            Self::Counting => 1,
        }
    }

    /// KVM where a tiny guest really runs in it: /dev/kvm alone says little.
    pub fn probe(scratch: &Path) -> Self {
        if cfg!(target_arch = "aarch64")
            && Path::new("/dev/kvm").exists()
            && tiny_guest(Self::Kvm, scratch)
        {
            Self::Kvm
        } else {
            Self::Tcg
        }
    }
}

/// Whether a guest of four instructions, which switches itself off, does so within a time limit.
pub fn tiny_guest(accelerator: Accelerator, scratch: &Path) -> bool {
    const CODE: [u32; 4] = [
        0x5280_0100, // mov  w0, #0x8          PSCI SYSTEM_OFF is 0x84000008
        0x72b0_8000, // movk w0, #0x8400, lsl #16
        0xd400_0002, // hvc  #0
        0x1400_0000, // b    .
    ];
    let image = scratch.join("tiny-guest");
    let bytes: Vec<u8> = CODE.iter().flat_map(|word| word.to_le_bytes()).collect();
    if fs::write(&image, bytes).is_err() {
        return false;
    }
    let mut qemu = proc::command(PROGRAM);
    qemu.args([
        "-M",
        "virt,gic-version=3",
        "-m",
        "128M",
        "-display",
        "none",
        "-nodefaults",
        "-no-user-config",
    ])
    .args(accelerator.machine())
    .arg("-kernel")
    .arg(&image)
    .stdin(Stdio::null())
    .stdout(Stdio::null())
    .stderr(Stdio::null());
    let ended = Guarded::spawn(qemu, "QEMU").and_then(|mut q| q.wait_for(Duration::from_secs(5)));
    let _ = fs::remove_file(image);
    matches!(ended, Ok(Some(status)) if status.success())
}

/// One guest's machine.
#[derive(Debug)]
pub struct Machine<'a> {
    pub accelerator: Accelerator,
    pub kernel: &'a Path,
    pub cmdline: &'a str,
    pub dtb: &'a Path,
    pub root: &'a Path,
    pub piglit: Option<&'a Piglit>,
    /// The vfio-user server's socket.
    pub vagx: &'a Path,
    /// The folder with this run's script and modules.
    pub control: &'a Path,
    pub share: Option<&'a Path>,
    pub console: Console<'a>,
    pub kernel_log: &'a Path,
}

/// Where a guest's input and output go.
#[derive(Debug)]
pub enum Console<'a> {
    /// Two listening sockets for the command's standard output and error output.
    Ports { out: &'a Path, err: &'a Path },
    /// The terminal that the harness was started from.
    Terminal,
}

fn base(accelerator: Accelerator, dumpdtb: Option<&Path>) -> Command {
    let dump = dumpdtb.map_or(String::new(), |p| format!(",dumpdtb={}", p.display()));
    let mut qemu = proc::command(PROGRAM);
    qemu.arg("-M")
        .arg(format!("virt,gic-version=3,memory-backend=ram{dump}"))
        .args(accelerator.machine())
        .args(["-smp", &accelerator.cpus().to_string(), "-m", MEMORY])
        // Shared, so that the server gets the memory's descriptor over the socket.
        .args([
            "-object",
            &format!("memory-backend-memfd,id=ram,size={MEMORY},share=on"),
        ])
        .args([
            "-display",
            "none",
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
        ]);
    qemu
}

/// The device tree of the machine as QEMU makes it.
pub fn dump_dtb(accelerator: Accelerator, out: &Path) -> Result<()> {
    let mut qemu = base(accelerator, Some(out));
    qemu.stdin(Stdio::null());
    proc::output(qemu, "QEMU's dumpdtb")?;
    Ok(())
}

fn virtfs(qemu: &mut Command, tag: &str, path: &Path) {
    qemu.arg("-fsdev").arg(format!(
        "local,id={tag},path={},security_model=none,multidevs=remap",
        comma(path)
    ));
    qemu.args([
        "-device",
        &format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
    ]);
}

/// QEMU's options end at a comma unless it is doubled.
fn comma(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

fn drive(qemu: &mut Command, id: &str, image: &Path) {
    qemu.arg("-drive").arg(format!(
        "if=none,id={id},format=raw,readonly=on,file={}",
        comma(image)
    ));
    qemu.args(["-device", &format!("virtio-blk-pci,drive={id}")]);
}

impl Machine<'_> {
    pub fn command(&self) -> Command {
        let mut qemu = base(self.accelerator, None);
        qemu.arg("-kernel").arg(self.kernel);
        qemu.arg("-append").arg(self.cmdline);
        qemu.arg("-dtb").arg(self.dtb);
        qemu.arg("-chardev")
            .arg(format!("file,id=log,path={}", comma(self.kernel_log)));
        qemu.args(["-serial", "chardev:log"]);
        drive(&mut qemu, "root", self.root);
        if let Some(piglit) = self.piglit {
            drive(&mut qemu, "piglit", &piglit.image);
            virtfs(&mut qemu, "piglit", &piglit.tests);
        }
        virtfs(&mut qemu, "control", self.control);
        if let Some(share) = self.share {
            virtfs(&mut qemu, "share", share);
        }
        qemu.args(["-device", "virtio-serial-pci"]);
        match &self.console {
            Console::Ports { out, err } => {
                for (number, name, path) in [(1, "out", out), (2, "err", err)] {
                    qemu.arg("-chardev")
                        .arg(format!("socket,id={name},path={}", comma(path)));
                    qemu.args([
                        "-device",
                        &format!("virtserialport,nr={number},chardev={name},name={name}"),
                    ]);
                }
                qemu.stdin(Stdio::null());
            }
            Console::Terminal => {
                qemu.args(["-chardev", "stdio,id=terminal,signal=off"]);
                qemu.args(["-device", "virtconsole,chardev=terminal"]);
            }
        }
        let device = serde_json::json!({
            "driver": "vfio-user-pci",
            "socket": { "type": "unix", "path": self.vagx },
            "x-msg-timeout": 20000,
        });
        qemu.arg("-device").arg(device.to_string());
        qemu
    }
}

/// Why QEMU ended at once, in one line.
pub fn complaint(log: &Path) -> Result<()> {
    let text = proc::tail_of(log, 8192);
    if text.contains("vfio-user-pci") && text.contains("not a valid device model name") {
        bail!(
            "this QEMU has no vfio-user-pci device: 11.1 or later, built with vfio-user, is needed (make distclean gets a fresh tool root)"
        );
    }
    let lines: Vec<&str> = text.lines().filter(|l| l.contains(PROGRAM)).collect();
    bail!(
        "QEMU: {} (log: {})",
        lines.last().unwrap_or(&"ended"),
        log.display()
    )
}

/// What is said of a QEMU whose socket paths would be too long.
pub fn socket(dir: &Path, name: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    if path.as_os_str().len() > 100 {
        bail!("{}: too long for a socket", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_are_doubled() {
        assert_eq!(comma(Path::new("/a,b")), "/a,,b");
    }

    #[test]
    fn a_missing_device_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(
            &log,
            "qemu-system-aarch64: -device {..}: 'vfio-user-pci' is not a valid device model name\n",
        )
        .unwrap();
        assert!(
            complaint(&log)
                .unwrap_err()
                .to_string()
                .contains("no vfio-user-pci")
        );
    }
}
