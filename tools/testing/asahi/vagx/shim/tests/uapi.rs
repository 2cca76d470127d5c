// SPDX-License-Identifier: MIT OR Apache-2.0

//! The tests of the driver's interface, run against the shim: what answers for the kernel here and the kernel's own
//! driver in the guest are held to one suite.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Tests that the shim does not pass, or has no use for, and why.
const EXCEPTIONS: [(&str, &str); 8] = [
    (
        "prime::fences",
        "who attaches a fence to a dma-buf waits for it",
    ),
    (
        "prime::from_",
        "there are no other devices here whose memory is to be trusted to be there",
    ),
    (
        "process::fork_shares_the_file",
        "what a parent has is in the parent's process",
    ),
    (
        "process::unprivileged",
        "the node is no file whose rights could be changed",
    ),
    (
        "render::subqueues_overlap",
        "the commands of a queue run one after the other",
    ),
    ("render::no_barrier_in_between", "likewise"),
    (
        "signals::waits",
        "a signal does not end a wait: it goes on without having told",
    ),
    (
        "stress::",
        "minutes of what is about the driver's own memory and the guest's",
    ),
];

/// Builds the library and the suite, and tells where they are.
fn build() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let status = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "build",
            "--quiet",
            "--locked",
            "-p",
            "asahi-tests",
            "-p",
            "vagx-shim",
        ])
        .arg("--target-dir")
        .arg(target)
        .status()
        .unwrap();
    assert!(status.success());
    target.join("debug")
}

#[test]
fn the_suite_of_the_interface() {
    let built = build();
    let suite = || {
        let mut command = Command::new(built.join("asahi-tests"));
        command.env("LD_PRELOAD", built.join("libvagx_shim.so"));
        command
    };
    let list = suite().args(["--list", "--all"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    for (name, why) in EXCEPTIONS {
        let known = list.lines().any(|test| test.starts_with(name));
        assert!(known, "{name}: no such test ({why})");
    }
    let run = suite().arg("--list").output().unwrap();
    let run = String::from_utf8(run.stdout).unwrap();
    let names = run
        .lines()
        .filter(|test| !EXCEPTIONS.iter().any(|(name, _)| test.starts_with(name)));
    let result = suite().args(["--seed", "1"]).args(names).output().unwrap();
    let text = String::from_utf8_lossy(&result.stdout);
    let passed = text.lines().filter(|line| line.starts_with("ok ")).count();
    let bad: Vec<&str> = text
        .lines()
        .filter(|line| {
            line.starts_with("not ok") || line.starts_with("# ") && !line.contains("took")
        })
        .collect();
    assert!(
        result.status.success() && passed > 150,
        "{passed} passed; {}",
        bad.join("\n")
    );
}
