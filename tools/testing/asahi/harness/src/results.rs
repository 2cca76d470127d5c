// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a run was made of and what it gave, as JSON for whoever compares runs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use serde::Serialize;

use crate::context::Context;
use crate::proc;

/// Versions of everything that can make two runs differ.
#[derive(Debug, Clone, Serialize)]
pub struct Versions {
    pub checkout: String,
    pub linux: String,
    pub kernel_release: String,
    pub qemu: String,
    pub mesa: String,
    pub rustc: String,
    pub clang: String,
    pub accelerator: String,
}

/// The first line that a program prints of itself.
pub fn first_line(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    proc::output(command, program)
        .ok()
        .and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned())
}

impl Versions {
    pub fn gather(
        ctx: &Context,
        linux: &str,
        kernel_release: &str,
        mesa: &str,
        accelerator: &str,
    ) -> Self {
        let src = ctx.src.display().to_string();
        Self {
            checkout: first_line(
                "git",
                &[
                    "-c",
                    "safe.directory=*",
                    "-C",
                    &src,
                    "describe",
                    "--always",
                    "--dirty",
                ],
            ),
            linux: linux.to_owned(),
            kernel_release: kernel_release.to_owned(),
            qemu: first_line(crate::qemu::PROGRAM, &["--version"]),
            mesa: mesa.to_owned(),
            rustc: first_line("rustc", &["--version"]),
            clang: first_line("clang", &["--version"]),
            accelerator: accelerator.to_owned(),
        }
    }

    pub fn print(&self) {
        eprintln!(
            "{}; {}; Mesa {}; {}; {}",
            self.linux, self.qemu, self.mesa, self.rustc, self.accelerator
        );
    }
}

/// Writes a result file and gives its name.
pub fn write(ctx: &Context, name: &str, result: &impl Serialize) -> Result<PathBuf> {
    let dir = ctx.build.join("results");
    fs::create_dir_all(&dir)?;
    let path = dir.join(format!("{name}.json"));
    fs::write(&path, serde_json::to_vec_pretty(result)?)?;
    Ok(path)
}
