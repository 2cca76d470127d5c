// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where the time of a program in the shim goes, by what the shim has seen the CPUs do.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::proc;

/// A share of the time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    pub name: String,
    pub share: f64,
}

/// Parts of the model by the folder or file that a function stands in. The first that fits counts.
const MODEL: [(&str, &str); 21] = [
    ("gpu/src/texture", "textures"),
    ("gpu/src/exec/texture", "textures"),
    ("gpu/src/image", "tile memory, images and texel formats"),
    ("gpu/src/exec/tile", "tile memory, images and texel formats"),
    (
        "gpu/src/fragment/group",
        "fragment dispatch and coefficients",
    ),
    (
        "gpu/src/fragment/coefficients",
        "fragment dispatch and coefficients",
    ),
    (
        "gpu/src/exec/fragment",
        "fragment dispatch and coefficients",
    ),
    ("gpu/src/fragment", "rasteriser, depth and stencil"),
    ("gpu/src/vdm", "vertices and primitives"),
    ("gpu/src/ppp", "vertices and primitives"),
    ("gpu/src/vertex", "vertices and primitives"),
    ("gpu/src/geometry", "vertices and primitives"),
    ("gpu/src/exec/vertex", "vertices and primitives"),
    ("gpu/src/exec/mem", "memory of shaders"),
    ("gpu/src/exec/local", "memory of shaders"),
    ("gpu/src/exec/atomic", "memory of shaders"),
    ("gpu/src/memory", "memory of shaders"),
    ("gpu/src/exec", "arithmetic of shaders"),
    ("gpu/src/uop", "arithmetic of shaders"),
    ("gpu/src", "decoding and dispatch"),
    ("vagx/shim", "the shim itself"),
];

/// Libraries by their names.
const LIBRARIES: [(&str, &str); 6] = [
    ("libgallium", "Mesa"),
    ("libvulkan", "Mesa"),
    ("libRusticlOpenCL", "Mesa"),
    ("libEGL", "Mesa"),
    (
        "libc.so",
        "copies, and the kernel on behalf of the C library",
    ),
    ("libvagx_shim", "decoding and dispatch"),
];

fn of_source(sources: &str) -> Option<&'static str> {
    let fits = |(mark, part): &(&str, &'static str)| sources.contains(mark).then_some(*part);
    MODEL.iter().find_map(fits)
}

fn of_library(file: &str) -> &'static str {
    let fits = |(mark, part): &(&str, &'static str)| file.contains(mark).then_some(*part);
    LIBRARIES
        .iter()
        .find_map(fits)
        .unwrap_or("the program and all else")
}

/// What a process of the program left behind: seconds that passed, seconds of CPUs, and what these were seen to do.
struct Process {
    passed: f64,
    busy: f64,
    looks: Vec<(String, String, u64)>,
}

fn parse(text: &str) -> Option<Process> {
    let mut lines = text.lines();
    let (passed, busy) = lines.next()?.split_once(' ')?;
    let look = |line: &str| {
        let (at, rest) = line.split_once(' ')?;
        let (file, count) = rest.rsplit_once(' ')?;
        Some((at.to_owned(), file.to_owned(), count.parse().ok()?))
    };
    Some(Process {
        passed: passed.parse::<f64>().ok()? / 1e9,
        busy: busy.parse::<f64>().ok()? / 1e9,
        looks: lines.filter_map(look).collect(),
    })
}

/// The source file of each address of the shim: the innermost function's that is not of a library of Rust's.
fn sources(shim: &Path, addresses: &[&str]) -> Result<Vec<Option<&'static str>>> {
    let mut command = proc::command("addr2line");
    command.args(["-a", "-i", "-e"]).arg(shim);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start addr2line")?;
    let mut input = child.stdin.take().context("no way to tell addr2line")?;
    let list = addresses.join("\n") + "\n";
    // Both at once: neither side's pipe holds all.
    let writer = std::thread::spawn(move || input.write_all(list.as_bytes()));
    let out = child.wait_with_output()?;
    let _ = writer.join();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut found = Vec::new();
    for line in text.lines() {
        match (line.starts_with("0x"), found.last_mut()) {
            (true, _) => found.push(None),
            (false, Some(part @ None)) => *part = of_source(line),
            (false, _) => {}
        }
    }
    found.resize(addresses.len(), None);
    Ok(found)
}

/// What share of the time of all cores went where. The process that was busiest is meant: a compositor beside it
/// counts as one part.
pub fn parts(dir: &Path, shim: &Path) -> Result<Vec<Part>> {
    let mut processes = Vec::new();
    for item in fs::read_dir(dir)? {
        let text = fs::read_to_string(item?.path())?;
        processes.extend(parse(&text));
    }
    processes.sort_by(|a, b| a.busy.total_cmp(&b.busy));
    let Some(main) = processes.pop() else {
        return Ok(Vec::new());
    };
    let of_shim = |look: &&(String, String, u64)| look.1.contains("libvagx_shim");
    let addresses: Vec<&str> = main.looks.iter().filter(of_shim).map(|l| &*l.0).collect();
    let mut known = sources(shim, &addresses)?.into_iter();
    let mut parts = BTreeMap::<&str, u64>::new();
    for look in &main.looks {
        let source = of_shim(&look).then(|| known.next().flatten()).flatten();
        let part = source.unwrap_or_else(|| of_library(&look.1));
        *parts.entry(part).or_default() += look.2;
    }
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get()) as f64;
    let whole = (main.passed * cores).max(1e-9);
    // The timer comes as often as the kernel can, so that a look stands for the time that was between two.
    let looks = parts.values().sum::<u64>().max(1) as f64;
    let mut out: Vec<Part> = parts
        .into_iter()
        .map(|(name, count)| Part {
            name: name.to_owned(),
            share: count as f64 / looks * main.busy / whole,
        })
        .collect();
    let beside: f64 = processes.iter().map(|process| process.busy).sum();
    if beside != 0.0 {
        out.push(Part {
            name: "other processes, such as the compositor".to_owned(),
            share: beside / whole,
        });
    }
    out.sort_by(|a, b| b.share.total_cmp(&a.share));
    let seen: f64 = out.iter().map(|part| part.share).sum();
    out.push(Part {
        name: "idle, or taken by others".to_owned(),
        share: (1.0 - seen).max(0.0),
    });
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_names() {
        let of = |source| of_source(source).unwrap_or("nothing");
        assert_eq!(of("/x/vagx/gpu/src/texture/filter.rs:3"), "textures");
        assert_eq!(
            of("/x/vagx/gpu/src/exec/float.rs:3"),
            "arithmetic of shaders"
        );
        assert_eq!(of("/x/vagx/gpu/src/exec/mem.rs:3"), "memory of shaders");
        assert_eq!(of("/rustc/core/src/num.rs:3"), "nothing");
        assert_eq!(of_library("/usr/lib/libgallium-26.1.6.so"), "Mesa");
        let process = parse("2000000000 1000000000\n0x10 /a/b.so 3\nbad\n").unwrap();
        assert_eq!((process.passed, process.busy), (2.0, 1.0));
        assert_eq!(process.looks.len(), 1);
    }
}
