// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make run`: everything once from end to end, and a short report of it.

use std::time::Duration;

use anyhow::{Result, anyhow};
use serde::Serialize;

use crate::context::Context;
use crate::kernel;
use crate::picture::{self, Drawn};
use crate::prepare::Prepared;
use crate::results::{self, Versions};
use crate::session::{self, Step};
use crate::verbs;
use crate::vm::{self, End};

/// The programs that the report is made of.
pub const STEPS: [(&str, &str); 7] = [
    ("identity", "identity"),
    ("vulkan", "vulkaninfo --summary"),
    ("egl", "eglinfo -B -p surfaceless"),
    ("opencl", "clinfo"),
    ("vecadd", "vecadd"),
    picture::STEPS[0],
    picture::STEPS[1],
];

const TIMEOUT: Duration = Duration::from_secs(300);

#[derive(Debug, Serialize)]
struct Timing {
    name: String,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    passed: bool,
    problems: Vec<String>,
    versions: Versions,
    identity: String,
    vulkan: String,
    egl: String,
    opencl: String,
    vecadd: Vec<String>,
    scene: Option<Drawn>,
    guest_ready_seconds: Option<f64>,
    total_seconds: f64,
    steps: Vec<Timing>,
}

/// What a step's program must have said; an error says what is missing.
pub fn judge(step: &Step) -> Result<String> {
    let missing = |what: &str| anyhow!("{} named no {what}: {}", step.name, step.last_line());
    if !step.passed() {
        return Err(anyhow!(
            "{} ended with {}: {}",
            step.name,
            step.status
                .map_or("nothing".to_owned(), |s| format!("status {s}")),
            step.last_line()
        ));
    }
    match step.name.as_str() {
        "identity" => identity(&step.text).ok_or_else(|| missing("firmware ABI")),
        "vulkan" => vulkan_device(&step.text).ok_or_else(|| missing("Apple device of Honeykrisp")),
        "egl" => step
            .text
            .lines()
            .filter_map(|line| line.split_once("renderer:"))
            .map(|(_, name)| name.trim().to_owned())
            .find(|name| name.starts_with("Apple"))
            .ok_or_else(|| missing("Apple renderer")),
        "opencl" => step
            .value("Device Name")
            .filter(|name| name.starts_with("Apple"))
            .map(str::to_owned)
            .ok_or_else(|| missing("Apple device")),
        "draw" => renderer(&step.text, "Apple").ok_or_else(|| missing("Apple renderer")),
        "draw-llvmpipe" => {
            renderer(&step.text, "llvmpipe").ok_or_else(|| missing("software renderer"))
        }
        "vecadd" => vecadd(&step.text).ok_or_else(|| missing("complete and right sum")),
        _ => Ok(String::new()),
    }
}

/// Chip and firmware ABI: from the device tree's own properties, and as the driver found them.
fn identity(text: &str) -> Option<String> {
    let mut lines = text.lines();
    let kind = lines.next()?.split_whitespace().next()?;
    let abi: Vec<&str> = lines.next()?.split_whitespace().collect();
    let found = lines.next()?;
    (abi.len() == 3 && found.contains(&format!("{}.{}", abi[0], abi[1])))
        .then(|| format!("{found} ({kind})"))
}

/// Name and driver of the Apple device in `vulkaninfo --summary`.
fn vulkan_device(text: &str) -> Option<String> {
    let field = |device: &str, name: &str| {
        device.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    text.split("\nGPU").skip(1).find_map(|device| {
        let (name, driver) = (field(device, "deviceName")?, field(device, "driverName")?);
        (name.starts_with("Apple") && driver == "Honeykrisp").then(|| format!("{name} ({driver})"))
    })
}

/// The scene's renderer, if it is this one.
fn renderer(text: &str, wanted: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("renderer: "))
        .find(|name| name.starts_with(wanted))
        .map(str::to_owned)
}

/// Both sums over 2^20 elements without a mismatch.
fn vecadd(text: &str) -> Option<String> {
    let sums: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(": 1048576 elements, 0 mismatches"))
        .collect();
    (sums.len() == 2 && text.contains("device: Apple")).then(|| sums.join("; "))
}

pub fn run(ctx: &Context) -> Result<u8> {
    let mut progress = verbs::progress(ctx);
    let prepared = Prepared::make(ctx, &mut progress)?;
    let kernel = kernel::build(ctx, &mut progress, ctx.params.debug)?;
    let versions = prepared.versions(ctx, &kernel);
    versions.print();
    let script = session::script(&STEPS);
    let outcome = progress.step("guest", || {
        vm::run(
            &prepared.setup(ctx),
            &vm::Spec {
                timeout: Some(ctx.params.timeout.unwrap_or(TIMEOUT)),
                ..vm::Spec::kept(&kernel, &script)
            },
        )
    })?;
    verbs::tell(&outcome);
    let steps = session::steps_of(&outcome);
    let mut problems = Vec::new();
    let mut said = Vec::new();
    for (name, _) in STEPS {
        let judged = session::find(&steps, name)
            .ok_or_else(|| anyhow!("{name} did not run"))
            .and_then(judge);
        match judged {
            Ok(text) => said.push(text),
            Err(error) => {
                problems.push(error.to_string());
                said.push("-".to_owned());
            }
        }
    }
    let results = ctx.build.join("results");
    let scene = picture::collect(&outcome.dir.join("out"), &results);
    match &scene {
        Ok(drawn) if !drawn.difference.small() => {
            problems.push(format!("the scene is not llvmpipe's: {}", drawn.difference));
        }
        Ok(_) => (),
        Err(error) => problems.push(error.to_string()),
    }
    let scene = scene.ok();
    if outcome.end != End::Exited(0) && problems.is_empty() {
        problems.push("the guest did not end as it should".to_owned());
    }
    problems.extend(
        outcome
            .complaints
            .iter()
            .map(|c| format!("vagx complained: {c}")),
    );
    problems.extend(outcome.vagx_error.clone());
    problems.extend(
        vm::reports(&outcome.kernel_log())
            .into_iter()
            .map(|l| format!("kernel: {l}")),
    );

    let mut timings: Vec<Timing> = progress
        .steps()
        .iter()
        .map(|(name, seconds)| Timing {
            name: name.clone(),
            seconds: *seconds,
        })
        .collect();
    timings.extend(steps.iter().map(|s| Timing {
        name: format!("in the guest: {}", s.name),
        seconds: s.seconds,
    }));
    let [identity, vulkan, egl, opencl, vecadd, draw, software] =
        said.try_into().unwrap_or_default();
    println!("chip      {identity}");
    println!("Vulkan    {vulkan}");
    println!("EGL       {egl}");
    println!("OpenCL    {opencl}");
    println!("vecadd    {vecadd}");
    println!("scene     {draw} and {software}");
    if let Some(drawn) = &scene {
        println!("          {}", drawn.difference);
        for path in [&drawn.picture, &drawn.llvmpipe, &drawn.differences] {
            println!("          {}", path.display());
        }
    }
    println!(
        "versions  {}; {}; Mesa {}",
        versions.linux, versions.qemu, versions.mesa
    );
    for timing in &timings {
        println!("{:9.1} s {}", timing.seconds, timing.name);
    }
    println!("{:9.1} s in all", progress.elapsed().as_secs_f64());
    let report = Report {
        passed: problems.is_empty(),
        versions,
        identity,
        vulkan,
        egl,
        opencl,
        vecadd: vecadd.split("; ").map(str::to_owned).collect(),
        scene,
        guest_ready_seconds: outcome.ready,
        total_seconds: progress.elapsed().as_secs_f64(),
        steps: timings,
        problems,
    };
    let file = results::write(ctx, "run", &report)?;
    for problem in &report.problems {
        println!("FAILED    {problem}");
    }
    if !report.passed {
        println!("logs      {}", outcome.dir.display());
    }
    println!("results   {}", file.display());
    Ok(u8::from(!report.passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, text: &str) -> Step {
        Step {
            name: name.to_owned(),
            status: Some(0),
            seconds: 1.0,
            text: text.to_owned(),
        }
    }

    #[test]
    fn the_apple_device_is_found_among_others() {
        let text = "Devices:\n========\nGPU0:\n\tdeviceName         = Apple M1 (G13G B1)\n\tdriverName         = Honeykrisp\nGPU1:\n\tdeviceName = llvmpipe\n\tdriverName = llvmpipe\n";
        assert_eq!(
            judge(&step("vulkan", text)).unwrap(),
            "Apple M1 (G13G B1) (Honeykrisp)"
        );
        assert!(judge(&step("vulkan", "GPU0:\n\tdeviceName = llvmpipe\n")).is_err());
    }

    #[test]
    fn a_sum_must_be_whole_and_right() {
        let right = "device: Apple M1 (G13G B1)\nfloat: 1048576 elements, 0 mismatches, kernel 1 ms\nint: 1048576 elements, 0 mismatches, kernel 1 ms\n";
        assert!(judge(&step("vecadd", right)).is_ok());
        assert!(judge(&step("vecadd", &right.replacen("0 mis", "1 mis", 1))).is_err());
        assert!(judge(&step("vecadd", &right.replace("Apple M1", "llvmpipe"))).is_err());
    }

    #[test]
    fn chip_and_abi() {
        let text = "apple,agx-g13g \n 13 5 0\nApple G13G B1 (t8103), firmware ABI 13.5\n";
        assert_eq!(
            judge(&step("identity", text)).unwrap(),
            "Apple G13G B1 (t8103), firmware ABI 13.5 (apple,agx-g13g)"
        );
        assert!(judge(&step("identity", &text.replace("13.5", "12.3"))).is_err());
    }

    #[test]
    fn a_failed_step_is_told() {
        let mut failed = step("egl", "eglinfo: no display\n");
        failed.status = Some(1);
        assert!(
            judge(&failed)
                .unwrap_err()
                .to_string()
                .contains("status 1: eglinfo: no display")
        );
    }
}
