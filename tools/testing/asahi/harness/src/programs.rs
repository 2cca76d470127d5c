// SPDX-License-Identifier: MIT OR Apache-2.0

//! What runs in the guest and comes from this tree: the vector addition, the scene and the tests
//! of the driver's interface.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::context::Context;
use crate::proc;
use crate::progress::Progress;
use crate::vagx;

const RUST_TARGET: &str = "aarch64-unknown-linux-gnu";

/// clang for the guest; the tool root has the libraries.
const TARGET: &str = "--target=aarch64-linux-gnu";
const LINKER: &str = "-fuse-ld=lld";

/// The compiler's command line up to the file to compile.
pub fn cc() -> Command {
    let mut clang = proc::command("clang");
    clang.arg(TARGET);
    clang.args(["-std=c17", "-O2", "-Wall", "-Wextra", "-Wpedantic"]);
    clang
}

/// Builds the programs and gives the folder that they are in.
pub fn build(ctx: &Context, progress: &mut Progress) -> Result<PathBuf> {
    let dir = ctx.build.join("programs");
    let log = proc::fresh(&ctx.build.join("logs"), "programs.log")?;
    progress.step("guest programs", || {
        fs::create_dir_all(&dir)?;
        vecadd(ctx, &dir, &log)?;
        tests(ctx, &dir, &log)
    })?;
    Ok(dir)
}

fn vecadd(ctx: &Context, dir: &Path, log: &Path) -> Result<()> {
    let mut clang = cc();
    clang
        .args([LINKER, "-o"])
        .arg(dir.join("vecadd"))
        .arg(ctx.asahi().join("programs/vecadd.c"))
        // The loader of OpenCL drivers comes without the name that developers link by.
        .arg("-l:libOpenCL.so.1");
    proc::run_logged(clang, log, "the build of vecadd")
}

fn tests(ctx: &Context, dir: &Path, log: &Path) -> Result<()> {
    let flags = format!("-Clink-arg={TARGET} -Clink-arg={LINKER}");
    let mut cargo = proc::command("cargo");
    cargo
        .current_dir(ctx.asahi())
        .args([
            "build",
            "--locked",
            "-p",
            "asahi-tests",
            "-p",
            "asahi-bench",
            "-p",
            "asahi-scene",
            "--target",
            RUST_TARGET,
        ])
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "clang")
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS", flags);
    proc::run_logged(cargo, log, "the build of the scene and the driver's tests")?;
    let built = vagx::target(ctx).join(RUST_TARGET).join("debug");
    for program in ["asahi-tests", "asahi-bench", "scene"] {
        let mut strip = Command::new("llvm-strip");
        strip
            .arg("-o")
            .arg(dir.join(program))
            .arg(built.join(program));
        proc::output(strip, "llvm-strip")?;
    }
    Ok(())
}
