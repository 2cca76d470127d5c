// SPDX-License-Identifier: MIT OR Apache-2.0

//! The verbs behind the Makefile. The bootstrap starts this inside the tool root.

mod bench;
mod cache;
mod compare;
mod context;
mod faults;
mod host;
mod kconfig;
mod kernel;
mod ktap;
mod kunit;
mod lint;
mod overlay;
mod picture;
mod piglit;
mod prepare;
mod proc;
mod programs;
mod progress;
mod qemu;
mod report;
mod results;
mod roots;
mod session;
mod shim;
mod tests;
mod uapi;
mod vagx;
mod verbs;
mod vm;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(about = "The proving ground of the asahi driver; see `make help`")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Verb {
    /// Set up, build, boot and compute.
    Run,
    /// All tests.
    Test,
    /// The tests of the driver's interface.
    Uapi,
    /// The KUnit tests.
    Kunit,
    /// What the driver costs, beside what the machine does.
    Bench,
    /// Run CMD on the virtual GPU, without a guest.
    Shim,
    /// Frames of the virtual GPU beside those of a CPU.
    Compare,
    /// piglit on the virtual GPU.
    Piglit,
    /// Run CMD in a fresh guest.
    Vm,
    /// An interactive guest.
    Shell,
    /// Build the kernel and its modules.
    Kernel,
    /// What formatters, compilers and checkers find.
    Lint,
}

fn main() -> ExitCode {
    let verb = Arguments::parse().verb;
    let done = context::Context::from_env().and_then(|ctx| match verb {
        Verb::Run => report::run(&ctx),
        Verb::Test => tests::run(&ctx),
        Verb::Uapi => uapi::run(&ctx),
        Verb::Kunit => kunit::run(&ctx),
        Verb::Bench => bench::run(&ctx),
        Verb::Shim => shim::run(&ctx),
        Verb::Compare => compare::run(&ctx),
        Verb::Piglit => piglit::run(&ctx),
        Verb::Vm => verbs::vm(&ctx),
        Verb::Shell => verbs::shell(&ctx),
        Verb::Kernel => verbs::kernel(&ctx),
        Verb::Lint => lint::lint(&ctx, &mut verbs::progress(&ctx)),
    });
    let status = done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        2
    });
    leave_for_make(status);
    ExitCode::from(status)
}

/// Leaves the status where bootstrap/status.c looks for it, if make has loaded that. The bootstrap has
/// become this program, so that the parent is make.
fn leave_for_make(status: u8) {
    let cache = std::env::var("ASAHI_CACHE");
    let (Ok(cache), Some(make)) = (cache, rustix::process::getppid()) else {
        return;
    };
    if status != 0 && std::env::var_os("ASAHI_STATUS").is_some() {
        let path = format!("{cache}/build/status-{}", make.as_raw_nonzero());
        // Not to be able to is no reason to fail: make then ends with its own 2.
        let _ = std::fs::write(path, status.to_string());
    }
}
