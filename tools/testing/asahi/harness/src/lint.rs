// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make lint`: what formatters, compilers and checkers find in this tree.
//!
//! Each check gives one line, followed by what it found. Upstream code is compiled too, since the
//! tree's parts do not stand alone, but only findings in files that this tree adds or patches count.

mod diagnostics;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::cache::Lock;
use crate::context::Context;
use crate::kernel::{self, Tree};
use crate::overlay;
use crate::proc;
use crate::programs;
use crate::progress::Progress;

/// How many lines of one check's findings are shown; a log has all of them.
const SHOWN: usize = 60;

/// Where code of the kernel's own kind is, licensed as kernel code.
const KERNEL_SIDE: [&str; 5] = [
    "drivers/",
    "rust/",
    "Documentation/",
    "tools/testing/asahi/guest/",
    "tools/testing/asahi/kconfig/",
];

const KERNEL_LICENCE: &str = "GPL-2.0-only OR MIT";
const TOOLS_LICENCE: &str = "MIT OR Apache-2.0";

/// What cannot or need not carry a licence line: licences, lists, data and what Cargo writes; mails'
/// contents are under the licences of the files that they change.
const UNLICENSED: [&str; 11] = [
    "LICENSES/",
    "MAINTAINERS",
    ".patch",
    ".txt",
    ".json",
    "Cargo.lock",
    ".gitignore",
    ".gitkeep",
    ".job",
    ".clang-format",
    ".rustfmt.toml",
];

/// Findings, a line or several to each.
type Findings = Vec<String>;

struct Lint<'a> {
    ctx: &'a Context,
    tree: Tree,
    /// The checkout's files, relative to it.
    files: Vec<String>,
    log: PathBuf,
}

type Check<'a> = fn(&Lint<'a>) -> Result<Findings>;

/// The checks, the fast ones first.
fn checks<'a>() -> [(&'static str, Check<'a>); 9] {
    [
        ("licence lines", Lint::licences),
        ("shellcheck", Lint::shellcheck),
        ("rustfmt of the kernel parts", Lint::rustfmt),
        ("rustfmt of the tools", Lint::cargo_fmt),
        ("programs without warnings", Lint::programs),
        ("checkpatch of the series", Lint::checkpatch_series),
        ("checkpatch of the files", Lint::checkpatch_files),
        ("clippy of the tools", Lint::cargo_clippy),
        ("clippy and W=1 of the kernel", Lint::kernel),
    ]
}

pub fn lint(ctx: &Context, progress: &mut Progress) -> Result<u8> {
    let _lock = Lock::take(&ctx.build.join("kernel.lock"), "the kernel build")?;
    let lint = Lint {
        ctx,
        tree: kernel::tree(ctx, progress)?,
        files: files(&ctx.src)?,
        log: proc::fresh(&ctx.build.join("logs"), "lint.log")?,
    };
    let mut bad = 0;
    for (name, check) in checks() {
        let start = Instant::now();
        // A check that cannot be made is no reason to skip the others, but it is none that passed.
        let found = check(&lint).unwrap_or_else(|error| vec![format!("{error:#}")]);
        let secs = start.elapsed().as_secs_f64();
        if found.is_empty() {
            println!("ok    {name} ({secs:.1} s)");
            continue;
        }
        bad += 1;
        println!("FAIL  {name}: {} found ({secs:.1} s)", found.len());
        lint.note(&format!("== {name}\n{}\n", found.join("\n")))?;
        let lines: Vec<&str> = found.iter().flat_map(|f| f.lines()).collect();
        for line in lines.iter().take(SHOWN) {
            println!("      {line}");
        }
        if lines.len() > SHOWN {
            println!(
                "      ... {} lines more in {}",
                lines.len() - SHOWN,
                lint.log.display()
            );
        }
    }
    Ok(u8::from(bad > 0))
}

/// The files that are or would be committed.
fn files(src: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.arg("-C").arg(src);
    // The checkout may belong to somebody else than the user of this namespace.
    git.args(["-c", "safe.directory=*", "ls-files", "-z"]);
    git.args(["--cached", "--others", "--exclude-standard"]);
    let list = proc::output(git, "listing the checkout with git")?;
    Ok(list
        .split('\0')
        .filter(|name| !name.is_empty() && src.join(name).is_file())
        .map(str::to_owned)
        .collect())
}

fn on_kernel_side(file: &str) -> bool {
    KERNEL_SIDE.iter().any(|dir| file.starts_with(dir))
}

fn is_script(file: &str, text: &str) -> bool {
    file.ends_with(".sh")
        || ["#!/bin/sh", "#!/bin/dash", "#!/bin/bash"]
            .iter()
            .any(|mark| text.starts_with(mark))
}

/// What is wrong with the licence line of a file, if anything.
fn licence(file: &str, text: &str) -> Option<String> {
    // In two pieces, since checkpatch takes it for a licence line that is out of place.
    const TAG: &str = concat!("SPDX", "-License-Identifier: ");
    let mut lines = text.lines();
    let mut line = lines.next().unwrap_or_default();
    if line.starts_with("#!") {
        line = lines.next().unwrap_or_default();
    }
    let Some((_, given)) = line.split_once(TAG) else {
        return Some(format!("{file}: no licence line"));
    };
    let given = given
        .trim_end_matches("*/")
        .trim_end_matches("-->")
        .trim_end();
    let either = !file.contains('/');
    let wanted = if on_kernel_side(file) {
        KERNEL_LICENCE
    } else {
        TOOLS_LICENCE
    };
    if given == wanted || (either && given == KERNEL_LICENCE) {
        return None;
    }
    Some(format!(
        "{file}: \"{given}\" where \"{wanted}\" is the rule"
    ))
}

/// Adds what a command says to the findings if it fails.
fn findings(mut command: Command, keep: impl Fn(&str) -> bool) -> Result<Findings> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    let mut text = String::from_utf8_lossy(&out.stdout).into_owned();
    text += &String::from_utf8_lossy(&out.stderr);
    let found: Findings = text
        .lines()
        .filter(|l| keep(l))
        .map(str::to_owned)
        .collect();
    match (out.status.success(), found.is_empty()) {
        (true, _) => Ok(Vec::new()),
        (false, false) => Ok(found),
        (false, true) => bail!("{name} failed ({}): {}", out.status, text.trim()),
    }
}

impl Lint<'_> {
    fn note(&self, text: &str) -> Result<()> {
        let mut log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        Ok(log.write_all(text.as_bytes())?)
    }

    fn text(&self, file: &str) -> Result<String> {
        let bytes = fs::read(self.ctx.src.join(file)).with_context(|| file.to_owned())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn with_suffix(&self, suffixes: &[&str]) -> impl Iterator<Item = &String> {
        let chosen = |file: &&String| suffixes.iter().any(|s| file.ends_with(s));
        self.files.iter().filter(chosen)
    }

    fn licences(&self) -> Result<Findings> {
        let mut found = Vec::new();
        for file in &self.files {
            if !UNLICENSED
                .iter()
                .any(|n| file.starts_with(n) || file.ends_with(n))
            {
                found.extend(licence(file, &self.text(file)?));
            }
        }
        Ok(found)
    }

    fn shellcheck(&self) -> Result<Findings> {
        let mut shellcheck = Command::new("shellcheck");
        shellcheck.current_dir(&self.ctx.src);
        shellcheck.args([
            "--format=gcc",
            "--external-sources",
            "--source-path=SCRIPTDIR",
        ]);
        for file in &self.files {
            if is_script(file, &self.text(file)?) {
                shellcheck.arg(file);
            }
        }
        findings(shellcheck, |line| !line.is_empty())
    }

    /// Formatted as the kernel's own rustfmt target does it, the patched upstream files included.
    fn rustfmt(&self) -> Result<Findings> {
        let mut found = Vec::new();
        for file in overlay::laid(&self.tree.path)? {
            if file.extension().is_none_or(|e| e != "rs") {
                continue;
            }
            // From standard input, or rustfmt would go on to the modules that a file names.
            let mut rustfmt = Command::new("rustfmt");
            rustfmt.args([
                "--check",
                "--edition=2021",
                "--color=never",
                "--config-path",
            ]);
            rustfmt.arg(self.tree.path.join(".rustfmt.toml"));
            let input = fs::File::open(self.tree.path.join(&file))?;
            let out = rustfmt
                .stdin(input)
                .output()
                .context("cannot start rustfmt")?;
            if !out.status.success() {
                let said = String::from_utf8_lossy(&out.stdout).into_owned();
                let said = said.replace("<stdin>", &file.to_string_lossy());
                found.push(said + &String::from_utf8_lossy(&out.stderr));
            }
        }
        Ok(found)
    }

    fn cargo(&self, args: &[&str]) -> Command {
        let mut cargo = proc::command("cargo");
        cargo.current_dir(self.ctx.asahi()).args(args);
        cargo.env("CARGO_TERM_COLOR", "never");
        cargo
    }

    fn cargo_fmt(&self) -> Result<Findings> {
        findings(self.cargo(&["fmt", "--all", "--check"]), |line| {
            line.starts_with("Diff in")
        })
    }

    fn cargo_clippy(&self) -> Result<Findings> {
        let args = [
            "clippy",
            "--locked",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ];
        findings(self.cargo(&args), |line| !line.is_empty())
    }

    fn programs(&self) -> Result<Findings> {
        let mut found = Vec::new();
        for file in self
            .with_suffix(&[".c"])
            .filter(|f| f.contains("/programs/"))
        {
            let mut clang = programs::cc();
            clang
                .args(["-Werror", "-fsyntax-only"])
                .arg(self.ctx.src.join(file));
            found.extend(findings(clang, |line| !line.is_empty())?);
        }
        Ok(found)
    }

    fn checkpatch(&self, args: &[&str], files: &[&String]) -> Result<Findings> {
        let mut checkpatch = Command::new("perl");
        checkpatch
            .current_dir(&self.tree.path)
            .arg("scripts/checkpatch.pl");
        checkpatch.args(["--terse", "--show-types", "--no-summary", "--color=never"]);
        checkpatch.args(args);
        checkpatch.args(files.iter().map(|f| self.ctx.src.join(f)));
        let prefix = format!("{}/", self.ctx.src.display());
        let found = findings(checkpatch, |line| !line.is_empty())?;
        Ok(found.iter().map(|line| line.replace(&prefix, "")).collect())
    }

    fn checkpatch_series(&self) -> Result<Findings> {
        let patches: Vec<&String> = self
            .with_suffix(&[".patch"])
            .filter(|f| f.starts_with("patches/"))
            .collect();
        // Whoever sends the series signs it off; new files have their entry in this tree's own
        // MAINTAINERS, which checkpatch does not see; and bindgen cannot evaluate BIT().
        self.checkpatch(
            &[
                "--strict",
                "--ignore=MISSING_SIGN_OFF,FILE_PATH_CHANGES,BIT_MACRO",
            ],
            &patches,
        )
    }

    fn checkpatch_files(&self) -> Result<Findings> {
        let files = self.with_suffix(&[".c", ".h", ".dtso", ".rs", ".sh"]);
        let (kernel, tools): (Vec<_>, Vec<_>) = files.partition(|f| on_kernel_side(f));
        let mut found = self.checkpatch(&["--strict", "--file"], &kernel)?;
        // A program and its argument may have the same name.
        found.extend(self.checkpatch(&["--ignore=REPEATED_WORD", "--file"], &tools)?);
        Ok(found)
    }

    /// Compiles the kernel parts anew with all warnings, in a folder of its own.
    fn kernel(&self) -> Result<Findings> {
        let objects = self.ctx.build.join("kernel-lint");
        let log = proc::fresh(&self.ctx.build.join("logs"), "lint-kernel.log")?;
        let mut fragments = kernel::fragments(self.ctx, false);
        fragments.push(self.ctx.asahi().join("kconfig/lint.config"));
        kernel::configure(&self.tree, &objects, &fragments, &log)?;

        let laid = overlay::laid(&self.tree.path)?;
        let guest = "tools/testing/asahi/guest";
        // What is up to date would not be compiled and its warnings not be shown.
        let mut stale = vec![
            PathBuf::from("rust/kernel.o"),
            PathBuf::from("rust/helpers/helpers.o"),
        ];
        stale.extend(laid.iter().map(|file| file.with_extension("o")));
        for file in stale {
            match fs::remove_file(objects.join(file)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e)?,
                _ => {}
            }
        }
        let guest_objects = objects.join("asahi-guest");
        if guest_objects.exists() {
            fs::remove_dir_all(&guest_objects)?;
        }

        let dirs: BTreeSet<&Path> = laid
            .iter()
            .filter(|f| {
                f.starts_with("drivers") && f.extension().is_some_and(|e| e == "c" || e == "rs")
            })
            .filter_map(|f| f.parent())
            .filter(|d| self.tree.path.join(d).join("Makefile").exists())
            .collect();
        let mut make = kernel::make(&self.tree.path, &objects);
        make.args(["CLIPPY=1", "W=1"]);
        make.args(dirs.iter().map(|d| format!("{}/", d.display())));
        // For the link of the guest module.
        make.arg("modules_prepare");
        let built = proc::run_logged(make, &log, "clippy of the kernel").and_then(|()| {
            let mut make = kernel::make(&self.tree.path, &objects);
            make.args(["CLIPPY=1", "W=1"]);
            make.arg(format!("M={}", self.tree.path.join(guest).display()));
            make.arg(format!("MO={}", guest_objects.display()));
            // The rest of the kernel, whose symbols it uses, is not built here.
            make.args(["KBUILD_MODPOST_WARN=1", "modules"]);
            proc::run_logged(make, &log, "the build of the guest module")
        });
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let found = diagnostics::of(&text, &laid);
        if found.is_empty() {
            built?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_lines() {
        let tool = concat!("// SPDX", "-License-Identifier: MIT OR Apache-2.0\n");
        let kernel = concat!("/* SPDX", "-License-Identifier: GPL-2.0-only OR MIT */\n");
        assert_eq!(licence("tools/testing/asahi/x.rs", tool), None);
        assert_eq!(licence("drivers/x.h", kernel), None);
        assert_eq!(
            licence("Makefile", &kernel.replace("/*", "#").replace(" */", "")),
            None
        );
        assert_eq!(licence("tools/x.sh", &format!("#!/bin/sh\n{tool}")), None);
        assert!(licence("drivers/x.rs", tool).is_some());
        assert!(licence("tools/x.rs", &format!("\n{tool}")).is_some());
    }

    #[test]
    fn scripts_are_known_by_name_or_first_line() {
        assert!(is_script("a.sh", "x"));
        assert!(is_script("init", "#!/bin/sh\n"));
        assert!(!is_script("a.rs", "// x"));
    }

    #[test]
    fn a_failing_command_has_findings() {
        let run = |script: &str| {
            let mut sh = Command::new("sh");
            sh.args(["-c", script]);
            findings(sh, |line| line.starts_with("bad"))
        };
        assert!(run("echo bad").unwrap().is_empty());
        assert_eq!(run("echo bad 1; echo fine; false").unwrap(), ["bad 1"]);
        assert!(run("echo fine; false").is_err());
    }
}
