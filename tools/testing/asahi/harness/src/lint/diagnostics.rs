// SPDX-License-Identifier: MIT OR Apache-2.0

//! Finds in the log of a kernel build what its tools have to say about this tree's files.

use std::path::{Path, PathBuf};

/// Lines of one diagnostic that are kept.
const LINES: usize = 14;

/// The folders in which everything is this tree's, also what a build makes there.
const OWN: [&str; 2] = ["drivers/gpu/drm/asahi/", "tools/testing/asahi/guest/"];

/// Whether a diagnostic starts at this line, by rustc and clippy, clang, dtc, modpost or kernel-doc.
fn starts(line: &str) -> bool {
    [
        "warning:", "warning[", "error:", "error[", "WARNING:", "ERROR:", "Warning:", "Error:",
    ]
    .iter()
    .any(|mark| line.starts_with(mark))
        || [": warning: ", ": error: ", ": Warning (", ": ERROR ("]
            .iter()
            .any(|mark| line.contains(mark))
}

/// The diagnostics that concern one of `files` or lie in a folder of this tree's own.
pub fn of(log: &str, files: &[PathBuf]) -> Vec<String> {
    let files: Vec<&str> = files.iter().filter_map(|f| Path::to_str(f)).collect();
    let concerns = |block: &[&str]| {
        block
            .iter()
            .any(|line| files.iter().chain(&OWN).any(|name| line.contains(name)))
    };
    let mut found: Vec<String> = Vec::new();
    let mut block: Vec<&str> = Vec::new();
    for line in log.lines().chain([""]) {
        if starts(line) || line.is_empty() {
            if concerns(&block) {
                let text = block[..block.len().min(LINES)].join("\n");
                // A header's or a macro's diagnostic comes once for each user.
                if !found.contains(&text) {
                    found.push(text);
                }
            }
            block.clear();
        }
        if starts(line) || !block.is_empty() {
            block.push(line);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_ours(log: &str) -> Vec<String> {
        of(
            log,
            &[
                PathBuf::from("rust/kernel/a.rs"),
                PathBuf::from("drivers/b.c"),
            ],
        )
    }

    #[test]
    fn of_rust() {
        let log = "warning: unused variable\n  --> /x/rust/kernel/a.rs:1:2\n   |\n1  | let\n\nwarning: 1 warning emitted\n\n";
        assert_eq!(of_ours(log).len(), 1);
        assert!(of_ours(&log.replace("kernel/a.rs", "kernel/c.rs")).is_empty());
    }

    #[test]
    fn of_c_and_of_others() {
        let log = "/x/drivers/b.c:1:2: warning: odd [-Wodd]\n    1 | x\n/x/drivers/z.c:1:1: warning: q\nWarning: drivers/b.c:7 missing\nWARNING: modpost: none in tools/testing/asahi/guest/vagx-guest.o\n";
        let found = of_ours(log);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].lines().count(), 2);
    }

    #[test]
    fn each_once() {
        let log = "/x/drivers/b.c:1:2: warning: odd\n/x/drivers/b.c:1:2: warning: odd\n";
        assert_eq!(of_ours(log).len(), 1);
    }
}
