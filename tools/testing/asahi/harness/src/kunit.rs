// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make kunit`: this tree's KUnit tests, in a guest, from the kernel's log.

use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::kernel::{self, Kernel};
use crate::ktap::{self, Case};
use crate::prepare::Prepared;
use crate::verbs;
use crate::vm::{self, End, Spec};

/// Suites whose absence means that something was not built or not run.
const WANTED: [&str; 5] = [
    "asahi_fw_layout",
    "rust_device_raw",
    "rust_dma_fence",
    "rust_drm_jobqueue",
    "io-pgtable-apple-uat",
];

const TIMEOUT: Duration = Duration::from_secs(300);

/// What came of the KUnit tests of one kernel.
pub struct Kunit {
    pub cases: Vec<Case>,
    /// What went wrong beside the cases.
    pub problems: Vec<String>,
}

pub fn cases_of(ctx: &Context, prepared: &Prepared, kernel: &Kernel) -> Result<Kunit> {
    let cmdline = format!(
        "kunit.enable=1 kunit.autorun=1 {}",
        ctx.params.cmdline.as_deref().unwrap_or_default()
    );
    let outcome = vm::run(
        &prepared.setup(ctx),
        &Spec {
            cmdline: &cmdline,
            timeout: Some(ctx.params.timeout.unwrap_or(TIMEOUT)),
            ..Spec::kept(kernel, "true")
        },
    )?;
    verbs::tell(&outcome);
    let cases = ktap::cases(&outcome.kernel_log());
    let mut problems: Vec<String> = WANTED
        .iter()
        .filter(|suite| {
            !cases
                .iter()
                .any(|c| c.name.split('.').next() == Some(**suite))
        })
        .map(|suite| format!("suite {suite} did not run"))
        .collect();
    if outcome.end != End::Exited(0) {
        problems.push("the guest did not end as it should".to_owned());
    }
    problems.extend(
        outcome
            .complaints
            .iter()
            .map(|c| format!("vagx complained: {c}")),
    );
    Ok(Kunit { cases, problems })
}

pub fn run(ctx: &Context) -> Result<u8> {
    let mut progress = verbs::progress(ctx);
    let prepared = Prepared::make(ctx, &mut progress)?;
    let kernel = kernel::build(ctx, &mut progress, ctx.params.debug)?;
    let kunit = progress.step("kunit", || cases_of(ctx, &prepared, &kernel))?;
    let mut failed = kunit.problems.len();
    for case in &kunit.cases {
        if case.passed {
            println!(
                "ok      {}{}",
                case.name,
                if case.skipped { " (skipped)" } else { "" }
            );
        } else {
            failed += 1;
            println!("FAILED  {}", case.name);
            case.why.iter().for_each(|line| println!("        {line}"));
        }
    }
    for problem in &kunit.problems {
        println!("FAILED  {problem}");
    }
    let passed = kunit
        .cases
        .iter()
        .filter(|c| c.passed && !c.skipped)
        .count();
    println!("{passed} passed, {failed} failed");
    Ok(u8::from(failed > 0))
}
