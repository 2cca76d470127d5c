// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs piglit's own runner in either place, and has it go on where it was cut off.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::baseline::Baseline;
use super::cause;
use super::meter::Meter;
use super::results;
use super::summary::Summary;
use crate::context::Context;
use crate::host::Host;
use crate::kernel;
use crate::prepare::Prepared;
use crate::proc;
use crate::progress::Progress;
use crate::vm::{self, Outcome, Output, Spec};

/// Where the guest has a run's folder.
const SHARE: &str = "/mnt/share";

/// What piglit is told by its environment: to leave results readable, and to have each test find out
/// by itself whether it can run, because the tool that could tell beforehand is in no package it needs.
const SETTINGS: [(&str, &str); 2] = [("PIGLIT_COMPRESSION", "none"), ("PIGLIT_NO_FAST_SKIP", "1")];

/// Without a window system, and with a window's framebuffer, which a tenth of quick_gl wants.
const PLATFORM: &str = "gbm";

/// How long a guest may take beside its tests.
const BOOT: Duration = Duration::from_secs(300);

/// A selection of tests to run.
pub struct Runner<'a> {
    pub profile: &'a str,
    /// All of the profile: piglit needs no list then.
    pub whole: bool,
    pub names: &'a [String],
    /// What one test may take.
    pub limit: Duration,
    pub dir: &'a Path,
}

impl Runner<'_> {
    pub fn results(&self) -> PathBuf {
        self.dir.join("results")
    }

    /// What the run came to.
    pub fn summary(&self, baseline: &Baseline) -> Result<Summary> {
        let tests = results::load(&self.results())?;
        Ok(Summary::of(&tests, self.names, baseline))
    }

    /// Runs in the shim. What stands out beside the tests' results is given.
    pub fn shim(&self, host: &Host) -> Result<Vec<String>> {
        self.prepare(&super::stamp(host.shim())?)?;
        let jobs = std::thread::available_parallelism()?.get();
        let log = proc::fresh(self.dir, "log")?;
        let out = File::create(&log)?;
        let mut command = host.command("piglit");
        command
            .args(self.arguments(&self.dir.display().to_string(), &jobs.to_string()))
            .envs(SETTINGS)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        let status = self.watched(|| {
            command
                .status()
                .with_context(|| format!("cannot start {:?}", command.get_program()))
        })?;
        if !status.success() || !self.finished() {
            let said = proc::tail_of(&log, 4096);
            bail!(
                "{}\npiglit ended with {status} (log: {})",
                proc::telling_lines(&said, 6).join("\n"),
                log.display()
            );
        }
        Ok(Vec::new())
    }

    /// Runs in guests, one after the other if one dies of a test.
    pub fn vm(&self, ctx: &Context, progress: &mut Progress) -> Result<Vec<String>> {
        let prepared = Prepared::with_piglit(ctx, progress, true)?;
        let kernel = kernel::build(ctx, progress, ctx.params.debug)?;
        self.prepare(&super::stamp(prepared.vagx())?)?;
        let mut troubles = Vec::new();
        while !self.finished() {
            let done = self.done();
            let arguments = self.arguments(SHARE, "$(nproc)");
            let settings = SETTINGS.map(|(name, value)| format!("{name}={value}"));
            let command = format!(
                "export EGL_PLATFORM=surfaceless {}\npiglit {} >{SHARE}/log 2>&1",
                settings.join(" "),
                arguments.join(" ")
            );
            let left = self.names.len().saturating_sub(done.len()) as u32;
            let outcome = self.watched(|| {
                vm::run(
                    &prepared.setup(ctx),
                    &Spec {
                        output: Output::Kept,
                        timeout: Some(BOOT + self.limit * left),
                        share: Some(self.dir),
                        cmdline: ctx.params.cmdline.as_deref().unwrap_or_default(),
                        ..Spec::kept(&kernel, &command)
                    },
                )
            })?;
            troubles.extend(stands_out(&outcome));
            if self.finished() {
                break;
            }
            let said = proc::tail_of(&self.dir.join("log"), 4096);
            troubles.push(format!("a guest ended before its tests: {:?}", outcome.end));
            if self.done().len() == done.len() {
                bail!(
                    "{}\n{}\nthe guest gets no further (logs: {})",
                    proc::telling_lines(&said, 6).join("\n"),
                    troubles.join("\n"),
                    outcome.dir.display()
                );
            }
            self.go_on()?;
        }
        Ok(troubles)
    }

    /// piglit's arguments, with the run's folder as it is called where piglit runs.
    fn arguments(&self, dir: &str, jobs: &str) -> Vec<String> {
        let results = format!("{dir}/results");
        let words: Vec<String> = if self.dir.join("results/metadata.json").exists() {
            vec!["resume".into(), "-j".into(), jobs.into(), results]
        } else {
            let limit = self.limit.as_secs().max(1).to_string();
            let mut words: Vec<String> =
                ["run", "-p", PLATFORM, "-c", "--timeout", &limit, "-j", jobs]
                    .map(str::to_owned)
                    .into();
            if !self.whole {
                words.extend(["--test-list".to_owned(), format!("{dir}/list")]);
            }
            words.extend([self.profile.to_owned(), results]);
            words
        };
        words
    }

    /// Makes the run's folder, or finds a run in it that was cut off.
    fn prepare(&self, stamp: &str) -> Result<()> {
        fs::create_dir_all(self.dir)
            .with_context(|| format!("cannot make {}", self.dir.display()))?;
        let file = self.dir.join("stamp");
        let same = fs::read_to_string(&file).is_ok_and(|old| old == stamp);
        if self.results().join("metadata.json").exists() && same {
            eprintln!("going on with the run that was cut off");
            return self.go_on();
        }
        if self.results().exists() {
            fs::remove_dir_all(self.results())?;
        }
        fs::write(file, stamp)?;
        Ok(fs::write(
            self.dir.join("list"),
            self.names.join("\n") + "\n",
        )?)
    }

    /// The tests that a run has results of.
    fn done(&self) -> Vec<String> {
        results::read_parts(&self.results(), |_| false)
            .into_iter()
            .filter(|(_, _, test)| test.result != "incomplete")
            .map(|(_, name, _)| name)
            .collect()
    }

    fn finished(&self) -> bool {
        self.results().join("results.json").exists()
    }

    /// Has piglit's `resume` do what is left. It looks up every test of its list among those that have
    /// no result yet, and so would stumble over the first one that has.
    fn go_on(&self) -> Result<()> {
        let path = self.results().join("metadata.json");
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut metadata: Value = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not as piglit writes it", path.display()))?;
        let done = self.done();
        let left: Vec<&String> = self.names.iter().filter(|n| !done.contains(n)).collect();
        // An empty list means all to piglit, a filter that nothing matches that it is done.
        if left.is_empty() {
            metadata["options"]["include_filter"] = json!(["^no test is called so$"]);
        }
        metadata["options"]["forced_test_list"] = json!(left);
        Ok(fs::write(&path, serde_json::to_vec(&metadata)?)?)
    }

    /// Does something and shows meanwhile how far the run is.
    fn watched<T>(&self, work: impl FnOnce() -> T) -> T {
        let meter = Meter {
            results: self.results(),
            name: self.profile.to_owned(),
            total: self.names.len(),
        };
        let (stop, stopped) = channel();
        std::thread::scope(|scope| {
            scope.spawn(move || meter.watch(&stopped));
            let done = work();
            drop(stop);
            done
        })
    }
}

/// What a guest's run said beside the tests' results: complaints, one of each kind, and the kernel's.
fn stands_out(outcome: &Outcome) -> Vec<String> {
    let mut complaints: Vec<String> = outcome
        .complaints
        .iter()
        .map(|complaint| cause::normal(complaint))
        .collect();
    complaints.sort();
    let mut said: Vec<String> = complaints
        .chunk_by(|a, b| a == b)
        .map(|same| format!("vagx complains {} times: {}", same.len(), same[0]))
        .collect();
    said.extend(outcome.vagx_error.clone());
    said.extend(
        vm::reports(&outcome.kernel_log())
            .into_iter()
            .map(|line| format!("kernel: {line}")),
    );
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_off_goes_on_with_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        let runner = Runner {
            profile: "p",
            whole: false,
            names: &names,
            limit: Duration::from_secs(7),
            dir: dir.path(),
        };
        runner.prepare("1").unwrap();
        let first = runner.arguments("/d", "2");
        assert_eq!(first[0], "run");
        assert!(first.contains(&"/d/list".to_owned()));

        let tests = runner.results().join("tests");
        fs::create_dir_all(&tests).unwrap();
        let metadata = runner.results().join("metadata.json");
        fs::write(
            &metadata,
            r#"{"options": {"forced_test_list": ["a", "b", "c"]}}"#,
        )
        .unwrap();
        fs::write(tests.join("1.json"), r#"{"b": {"result": "pass"}}"#).unwrap();
        fs::write(tests.join("2.json"), r#"{"c": {"result": "incomplete"}}"#).unwrap();
        runner.prepare("1").unwrap();
        assert_eq!(runner.arguments("/d", "2")[0], "resume");
        let text = fs::read_to_string(&metadata).unwrap();
        assert_eq!(text, r#"{"options":{"forced_test_list":["a","c"]}}"#);

        // Another GPU: nothing of it counts.
        runner.prepare("2").unwrap();
        assert_eq!(runner.arguments("/d", "2")[0], "run");
    }
}
