// SPDX-License-Identifier: MIT OR Apache-2.0

//! The list of known failures: what a test comes to and its name in a line, under the reason why. What
//! the model cannot do yet is told by what it says instead, in a line that begins with `said`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::summary::Summary;
use crate::context::{Context, Place};

/// A list's first line, in two parts because checkpatch takes it for this file's.
const LICENCE: &str = concat!("# SPDX", "-License-Identifier: MIT OR Apache-2.0");

/// Begins a reason that is no more than what the run showed.
const UNSEEN: &str = "not looked into: ";

/// A test that is known not to pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub verdict: String,
    pub reason: String,
}

/// Known failures.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    names: BTreeMap<String, Known>,
    /// Parts of the model's complaints, each with its reason.
    said: Vec<(String, String)>,
}

/// Begins a line with a part of a complaint.
const SAID: &str = "said";

/// The list that a person named, or the profile's for this place. A guest should come to what the shim
/// comes to: without a list of its own it has the shim's.
pub fn path(ctx: &Context, profile: &str) -> PathBuf {
    let list = |place: Place| {
        let name = format!("{profile}.{}.txt", place.name());
        ctx.asahi().join("piglit").join(name)
    };
    let own = list(ctx.params.place);
    match &ctx.params.baseline {
        Some(given) => given.clone(),
        None if own.exists() => own,
        None => list(Place::Shim),
    }
}

impl Baseline {
    /// Nothing is known where there is no list.
    pub fn read(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
            Ok(text) => Self::parse(&text).with_context(|| path.display().to_string()),
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let mut list = Self::default();
        let mut reason = None;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(rest) = line.strip_prefix('[') {
                reason = Some(rest.strip_suffix(']').unwrap_or(rest).to_owned());
                continue;
            }
            let (Some((verdict, name)), Some(reason)) = (line.split_once(' '), &reason) else {
                bail!("line {}: `result name` under a [reason] is wanted", at + 1);
            };
            if verdict == SAID {
                list.said.push((name.to_owned(), reason.clone()));
                continue;
            }
            let entry = Known {
                verdict: verdict.to_owned(),
                reason: reason.clone(),
            };
            if list.names.insert(name.to_owned(), entry).is_some() {
                bail!("line {}: {name} stands there twice", at + 1);
            }
        }
        Ok(list)
    }

    /// Whether a test is in the list.
    pub fn get(&self, name: &str) -> Option<&Known> {
        self.names.get(name)
    }

    /// The reason why a test came to a result other than pass and skip, if that is known.
    pub fn reason(&self, name: &str, verdict: &str, complaint: Option<&str>) -> Option<&str> {
        let by_name = self.get(name).filter(|known| known.verdict == verdict);
        by_name.map(|known| known.reason.as_str()).or_else(|| {
            let complaint = complaint?;
            let mut said = self.said.iter();
            let (_, reason) = said.find(|(part, _)| complaint.contains(part))?;
            Some(reason)
        })
    }

    /// Takes over what a run showed of the tests that it had: reasons that are known stay.
    pub fn update(&mut self, summary: &Summary) {
        for (name, verdict) in summary.verdicts() {
            match summary.cause(&name) {
                None => {
                    self.names.remove(&name);
                }
                Some(cause) if self.said.iter().any(|(part, _)| cause.contains(part)) => {
                    self.names.remove(&name);
                }
                Some(cause) => {
                    let seen = Known {
                        verdict: verdict.clone(),
                        reason: format!("{UNSEEN}{cause}"),
                    };
                    let entry = self.names.entry(name).or_insert_with(|| seen.clone());
                    match entry.reason.starts_with(UNSEEN) {
                        true => *entry = seen,
                        false => entry.verdict = verdict,
                    }
                }
            }
        }
    }

    pub fn write(&self, path: &Path, profile: &str) -> Result<()> {
        let mut reasons: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        for (part, reason) in &self.said {
            reasons.entry(reason).or_default().push((SAID, part));
        }
        for (name, known) in &self.names {
            let tests = reasons.entry(&known.reason).or_default();
            tests.push((&known.verdict, name));
        }
        let mut text = format!(
            "{LICENCE}\n\
             # Tests of piglit's {profile} that are known not to pass, each under the reason why.\n\
             # A `said` line means all tests during which the model said such a thing.\n\
             # `make piglit SAVE=1` brings in what a run showed and leaves the reasons.\n"
        );
        for (reason, tests) in reasons {
            text += &format!("\n[{reason}]\n");
            for (verdict, name) in tests {
                text += &format!("{verdict} {name}\n");
            }
        }
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::Tests;
    use super::*;

    const LIST: &str = "# comment\n\n[why a]\nsaid no such format\nfail spec@a\ncrash spec@b c\n[not looked into: x]\nfail spec@d\n[its why]\nfail spec@e\n";

    #[test]
    fn what_is_written_is_read() {
        let list = Baseline::parse(LIST).unwrap();
        assert_eq!(list.get("spec@b c").unwrap().reason, "why a");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.shim.txt");
        list.write(&path, "p").unwrap();
        assert_eq!(Baseline::read(&path).unwrap(), list);
        assert_eq!(
            Baseline::read(&dir.path().join("none")).unwrap(),
            Baseline::default()
        );
    }

    #[test]
    fn complaints_are_known_by_what_they_say() {
        let list = Baseline::parse(LIST).unwrap();
        let reason = |name, verdict, said| list.reason(name, verdict, said);
        assert_eq!(
            reason("spec@x", "fail", Some("at #: no such format")),
            Some("why a")
        );
        assert_eq!(reason("spec@x", "fail", Some("other")), None);
        assert_eq!(reason("spec@x", "fail", None), None);
        assert_eq!(reason("spec@a", "fail", None), Some("why a"));
        assert_eq!(reason("spec@a", "crash", None), None);
    }

    #[test]
    fn lines_without_reason_or_twice_are_refused() {
        assert!(Baseline::parse("fail spec@a\n").is_err());
        assert!(Baseline::parse("[x]\nfail a\nfail a\n").is_err());
        assert!(Baseline::parse("[x]\nfail\n").is_err());
    }

    #[test]
    fn reasons_stay_and_passes_go() {
        let mut list = Baseline::parse(LIST).unwrap();
        let text = r#"{"spec@a": {"result": "pass"}, "spec@b c": {"result": "timeout"},
            "spec@d": {"result": "crash", "returncode": -11}, "spec@new": {"result": "timeout"}}"#;
        let tests: Tests = serde_json::from_str(text).unwrap();
        let names: Vec<String> = tests.keys().cloned().collect();
        let summary = Summary::of(&tests, &names, &list);
        list.update(&summary);
        assert!(list.get("spec@a").is_none());
        let of = |name: &str| {
            let known = list.get(name).unwrap();
            format!("{}: {}", known.verdict, known.reason)
        };
        assert_eq!(of("spec@b c"), "timeout: why a");
        assert_eq!(of("spec@d"), "crash: not looked into: crash: signal 11");
        assert_eq!(of("spec@new"), "timeout: not looked into: out of time");
        assert_eq!(of("spec@e"), "fail: its why");
    }
}
