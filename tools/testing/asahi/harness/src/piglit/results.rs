// SPDX-License-Identifier: MIT OR Apache-2.0

//! What piglit wrote down of each test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::cause;
use super::summary::Summary;
use crate::context::Place;

/// What is read of a test.
#[derive(Debug, Clone, Deserialize)]
pub struct Test {
    pub result: String,
    pub err: Option<String>,
    pub out: Option<String>,
    pub returncode: Option<i32>,
}

impl Test {
    pub fn err(&self) -> &str {
        self.err.as_deref().unwrap_or_default()
    }

    pub fn out(&self) -> &str {
        self.out.as_deref().unwrap_or_default()
    }

    /// What the test came to. A test with subtests passes for piglit whatever its process ended with,
    /// and it knows nothing of what the model says.
    pub fn verdict(&self) -> &str {
        match self.result.as_str() {
            "pass" | "skip" | "warn" if cause::complaint(self).is_some() => "fail",
            "pass" if self.returncode.is_some_and(|code| code != 0) => "fail",
            other => other,
        }
    }
}

/// Tests by name.
pub type Tests = BTreeMap<String, Test>;

/// The tests of a finished run.
pub fn load(results: &Path) -> Result<Tests> {
    #[derive(Deserialize)]
    struct Run {
        tests: Tests,
    }
    let path = results.join("results.json");
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let run: Run = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not as piglit writes it", path.display()))?;
    Ok(run.tests)
}

/// The tests of a run that goes on, out of the files that it keeps until its end. `seen` says which
/// are known already; those that run now are given every time.
pub fn read_parts(results: &Path, known: impl Fn(&str) -> bool) -> Vec<(String, String, Test)> {
    let Ok(files) = fs::read_dir(results.join("tests")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for file in files.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".json") || known(&name) {
            continue;
        }
        // Half written is as good as not there: the next look finds it whole.
        let tests = fs::read(file.path())
            .ok()
            .and_then(|text| serde_json::from_slice::<Tests>(&text).ok());
        found.extend(
            tests
                .unwrap_or_default()
                .into_iter()
                .map(|(test, result)| (name.clone(), test, result)),
        );
    }
    found
}

fn verdict_file(dir: &Path, profile: &str, place: Place) -> PathBuf {
    dir.join(format!("{profile}-{}.json", place.name()))
}

/// What each test of a profile came to when it last ran in a place.
pub fn verdicts(dir: &Path, profile: &str, place: Place) -> BTreeMap<String, String> {
    fs::read(verdict_file(dir, profile, place))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

pub fn keep_verdicts(dir: &Path, profile: &str, place: Place, summary: &Summary) -> Result<()> {
    let mut all = verdicts(dir, profile, place);
    all.extend(summary.verdicts());
    let text = serde_json::to_vec_pretty(&all)?;
    Ok(fs::write(verdict_file(dir, profile, place), text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_no_pass() {
        let read = |text: &str| serde_json::from_str::<Test>(text).unwrap();
        let good = r#"{"result": "pass", "err": "", "out": "", "returncode": 0, "time": {}}"#;
        assert_eq!(read(good).verdict(), "pass");
        let status = good.replace(": 0", ": 3");
        assert_eq!(read(&status).verdict(), "fail");
        let complained = good.replace(r#""err": """#, r#""err": "vagx-shim: x""#);
        assert_eq!(read(&complained).verdict(), "fail");
        assert_eq!(
            read(r#"{"result": "skip", "returncode": null}"#).verdict(),
            "skip"
        );
    }

    #[test]
    fn parts_are_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let tests = dir.path().join("tests");
        fs::create_dir(&tests).unwrap();
        fs::write(tests.join("1.json"), r#"{"a": {"result": "pass"}}"#).unwrap();
        fs::write(tests.join("2.json"), r#"{"b": {"resu"#).unwrap();
        assert_eq!(read_parts(dir.path(), |_| false).len(), 1);
        assert!(read_parts(dir.path(), |name| name == "1.json").is_empty());
    }
}
