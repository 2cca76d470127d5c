// SPDX-License-Identifier: MIT OR Apache-2.0

//! How fast the GPU model is: programs on it inside their process, and the same programs with what the
//! same Debian's Mesa and pocl make of them on the same cores.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use super::profile::{self, Part};
use super::scenes::{GLMARK2, VKMARK};
use crate::context::Context;
use crate::host::Host;
use crate::proc::{self, Guarded};
use crate::progress::Progress;

/// How long one program may take with all its scenes.
const LIMIT: Duration = Duration::from_secs(600);

/// The size of windows, which both benchmarks have if none is given.
const SIZE: &str = "800x600";

/// Seconds for each scene.
const SECONDS: &str = "2.0";

/// The model may take so many times as long.
const GOAL: f64 = 4.0;

/// One scene, or one test of clpeak: what the model made of it, and what the CPU did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub name: String,
    /// Milliseconds for a frame, or time for a piece of work: less is better.
    pub model: f64,
    pub software: f64,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.model / self.software.max(1e-9)
    }
}

/// A program's rows.
#[derive(Debug, Serialize)]
pub struct Table {
    pub name: &'static str,
    /// What the figures are compared with.
    pub with: &'static str,
    pub rows: Vec<Row>,
    /// Of all rows.
    pub mean: f64,
    /// Where the time went.
    pub parts: Vec<Part>,
}

/// What the figures are figures of.
#[derive(Debug, Serialize)]
pub struct Subject {
    pub date: String,
    pub machine: String,
    pub cores: usize,
    /// The load of the last minute before.
    pub load: String,
}

/// All of it.
#[derive(Debug, Serialize)]
pub struct Report {
    pub subject: Subject,
    pub mesa: String,
    pub tables: Vec<Table>,
}

/// The geometric mean of the ratios.
fn mean(rows: &[Row]) -> f64 {
    let sum: f64 = rows.iter().map(|row| row.ratio().ln()).sum();
    (sum / rows.len().max(1) as f64).exp()
}

/// The scenes' frame times, in the order in which they ran: both programs tell them alike.
fn frame_times(text: &str) -> Vec<f64> {
    let time = |line: &str| {
        let (_, rest) = line.split_once("FrameTime:")?;
        rest.split_whitespace().next()?.parse().ok()
    };
    text.lines().filter_map(time).collect()
}

/// clpeak's figures under a heading, as times for a fixed number of operations.
fn peaks(text: &str, heading: &str) -> Vec<(String, f64)> {
    text.lines()
        .skip_while(|line| !line.contains(heading))
        .skip(1)
        .map_while(|line| {
            let (name, figure) = line.split_once(':')?;
            let rate: f64 = figure.trim().parse().ok()?;
            Some((name.trim().to_owned(), 1.0 / rate.max(1e-9)))
        })
        .collect()
}

/// Runs a program to its end and gives what it said.
fn said(ctx: &Context, mut command: Command, name: &'static str) -> Result<String> {
    let log = proc::fresh(&ctx.build.join("logs"), &format!("bench-{name}.log"))?;
    let file = std::fs::File::create(&log)?;
    command
        .stdin(std::process::Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    let ended = Guarded::spawn(command, name)?.wait_for(LIMIT)?;
    let text = proc::tail_of(&log, u64::MAX);
    match ended {
        Some(status) if status.success() => Ok(text),
        Some(status) => bail!(
            "{name}: {status}: {} (log: {})",
            proc::telling_lines(&text, 4).join("; "),
            log.display()
        ),
        None => bail!("{name}: still at it after {} s", LIMIT.as_secs()),
    }
}

/// Puts both runs' frame times beside each other.
fn scenes(names: &[&str], model: &[f64], software: &[f64]) -> Result<Vec<Row>> {
    if model.len() != names.len() || software.len() != names.len() {
        bail!(
            "{} scenes: the model drew {} and the CPU {}",
            names.len(),
            model.len(),
            software.len()
        );
    }
    let both = names.iter().zip(model.iter().zip(software));
    // A scene of which no frame was done in its time has none.
    if let Some((name, _)) = both.clone().find(|(_, (a, b))| !(*a + *b).is_finite()) {
        bail!("{name}: not one frame in {SECONDS} s");
    }
    Ok(both
        .map(|(name, (model, software))| Row {
            name: (*name).to_owned(),
            model: *model,
            software: *software,
        })
        .collect())
}

/// Has a program draw its scenes.
fn draw(command: &mut Command, names: &[&str]) {
    command.args(["-s", SIZE]);
    for name in names {
        command.args(["-b", &format!("{name}:duration={SECONDS}")]);
    }
}

/// Measures one program.
fn table(
    ctx: &Context,
    host: &Host,
    name: &'static str,
    with: &'static str,
    measure: impl FnOnce(&std::path::Path) -> Result<Vec<Row>>,
) -> Result<Table> {
    let dir = ctx.build.join("bench").join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)?;
    let rows = measure(&dir).with_context(|| format!("{name} on the model and {with}"))?;
    Ok(Table {
        name,
        with,
        mean: mean(&rows),
        rows,
        parts: profile::parts(&dir, host.shim())?,
    })
}

/// Runs all programs.
pub fn run(ctx: &Context, progress: &mut Progress, subject: Subject) -> Result<Report> {
    let host = Host::make(ctx, progress, false)?;
    let vkmark = |mut command: Command, name| {
        command.args(["--winsys", "headless"]);
        draw(&mut command, &VKMARK);
        Ok::<_, anyhow::Error>(frame_times(&said(ctx, command, name)?))
    };
    let glmark2 = |mut command: Command, name| {
        draw(&mut command, &GLMARK2);
        Ok::<_, anyhow::Error>(frame_times(&said(ctx, command, name)?))
    };
    let clpeak = |mut command: Command, name| {
        command.arg("--compute-sp");
        Ok::<_, anyhow::Error>(peaks(
            &said(ctx, command, name)?,
            "Single-precision compute",
        ))
    };
    let profiled = |mut command: Command, dir: &std::path::Path| {
        command.env("VAGX_SHIM_PROFILE", dir);
        command
    };
    let mut tables = Vec::new();
    tables.push(progress.step("vkmark", || {
        table(ctx, &host, "vkmark", "lavapipe", |dir| {
            let model = vkmark(profiled(host.command("vkmark"), dir), "vkmark")?;
            let software = vkmark(host.software("vkmark"), "vkmark-lavapipe")?;
            scenes(&VKMARK, &model, &software)
        })
    })?);
    tables.push(progress.step("glmark2", || {
        table(ctx, &host, "glmark2", "llvmpipe", |dir| {
            let program = "glmark2-es2-wayland";
            let model = glmark2(profiled(host.wayland(program), dir), "glmark2")?;
            let software = glmark2(host.software_wayland(program), "glmark2-llvmpipe")?;
            scenes(&GLMARK2, &model, &software)
        })
    })?);
    tables.push(progress.step("clpeak", || {
        table(ctx, &host, "clpeak", "pocl", |dir| {
            let model = clpeak(profiled(host.command("clpeak"), dir), "clpeak")?;
            let software = clpeak(host.software("clpeak"), "clpeak-pocl")?;
            let both = model.into_iter().zip(software);
            let rows: Vec<Row> = both
                .map(|((name, model), (_, software))| Row {
                    name,
                    model,
                    software,
                })
                .collect();
            if rows.is_empty() {
                bail!("no figures");
            }
            Ok(rows)
        })
    })?);
    Ok(Report {
        subject,
        mesa: host.mesa.clone(),
        tables,
    })
}

/// The tables as a person reads them.
pub fn markdown(report: &Report) -> String {
    let Subject {
        date,
        machine,
        cores,
        load,
    } = &report.subject;
    let mesa = &report.mesa;
    // In two pieces, since checkpatch takes it for a licence line that is out of place.
    let mut out = concat!("<!-- SPDX", "-License-Identifier: MIT OR Apache-2.0 -->\n").to_owned();
    let _ = writeln!(
        out,
        "# make bench ONLY=gpu\n\n\
         {date}; {machine}, {cores} cores, load {load} before; Mesa {mesa}.\n\
         Frames of {SIZE}, {SECONDS} s for each scene; the model and what it is compared with have\n\
         all cores, one after the other."
    );
    for table in &report.tables {
        let (unit, digits) = match table.name {
            "clpeak" => ("ns for 1000 operations", 3),
            _ => ("ms a frame", 2),
        };
        let scale = if table.name == "clpeak" { 1000.0 } else { 1.0 };
        let _ = writeln!(
            out,
            "\n## {} in the shim, and with {}\n\n| {unit} | model | {} | ratio | goal |\n|---|--:|--:|--:|--:|",
            table.name, table.with, table.with
        );
        for row in &table.rows {
            let _ = writeln!(
                out,
                "| {} | {:.digits$} | {:.digits$} | {:.2} | |",
                row.name,
                row.model * scale,
                row.software * scale,
                row.ratio()
            );
        }
        let _ = writeln!(
            out,
            "| **geometric mean** | | | **{:.2}** | {GOAL} |",
            table.mean
        );
        let _ = writeln!(
            out,
            "\nWhere the time of {} in the shim went, of all cores:\n\n| | share |\n|---|--:|",
            table.name
        );
        for part in &table.parts {
            let _ = writeln!(out, "| {} | {:.1} % |", part.name, 100.0 * part.share);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_read() {
        let text = "[vertex] a=b: FPS: 20 FrameTime: 50.5 ms\nnoise\n[clear] : FPS: 1000 FrameTime: 1.000 ms\n";
        assert_eq!(frame_times(text), [50.5, 1.0]);
        let text = "Platform: x\n  Single-precision compute (GFLOPS)\n    float   : 4.0\n    float2  : 2.00\n\n  other : 3\n";
        let found = peaks(text, "Single-precision compute");
        assert_eq!(
            found,
            [("float".to_owned(), 0.25), ("float2".to_owned(), 0.5)]
        );
    }

    #[test]
    fn ratios_have_a_geometric_mean() {
        let rows = scenes(&["a", "b"], &[8.0, 1.0], &[1.0, 2.0]).unwrap();
        assert!((mean(&rows) - 2.0).abs() < 1e-9);
        assert!(scenes(&["a", "b"], &[8.0], &[1.0, 2.0]).is_err());
        assert!(scenes(&["a"], &[f64::INFINITY], &[1.0]).is_err());
    }
}
