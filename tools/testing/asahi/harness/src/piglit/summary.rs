// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a run came to, beside what is known.

use std::collections::BTreeMap;
use std::path::Path;

use super::baseline::Baseline;
use super::cause;
use super::results::Tests;

/// How many names of a group are printed.
const SHOWN: usize = 5;

/// A test that did not pass.
#[derive(Debug)]
struct Failure {
    cause: String,
    /// The reason, if this is a known failure.
    known: Option<String>,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Summary {
    verdicts: BTreeMap<String, String>,
    failures: BTreeMap<String, Failure>,
    /// Known failures that pass.
    passing: Vec<String>,
    /// Selected, and without a result.
    missing: Vec<String>,
}

impl Summary {
    pub fn of(tests: &Tests, names: &[String], baseline: &Baseline) -> Self {
        let mut summary = Self::default();
        for name in names {
            let Some(test) = tests.get(name) else {
                summary.missing.push(name.clone());
                continue;
            };
            let verdict = test.verdict();
            let known = baseline.get(name);
            match verdict {
                "pass" | "skip" => {
                    if known.is_some() && verdict == "pass" {
                        summary.passing.push(name.clone());
                    }
                }
                _ => {
                    let complaint = cause::complaint(test);
                    let reason = baseline.reason(name, verdict, complaint.as_deref());
                    let failure = Failure {
                        cause: cause::of(test),
                        known: reason.map(str::to_owned),
                    };
                    summary.failures.insert(name.clone(), failure);
                }
            }
            summary.verdicts.insert(name.clone(), verdict.to_owned());
        }
        summary
    }

    /// Every test's name and what it came to.
    pub fn verdicts(&self) -> BTreeMap<String, String> {
        self.verdicts.clone()
    }

    /// Why a test did not pass.
    pub fn cause(&self, name: &str) -> Option<&str> {
        Some(&self.failures.get(name)?.cause)
    }

    /// Whether all that failed is known to.
    pub fn good(&self) -> bool {
        self.missing.is_empty() && self.unknown().next().is_none()
    }

    /// What is not as it is known to be: failures, and tests without a result.
    pub fn news(&self) -> Vec<String> {
        let failed = self.unknown();
        let failed = failed.map(|(name, verdict)| format!("{verdict} {name}"));
        let missing = self.missing.iter().map(|name| format!("no result {name}"));
        failed.chain(missing).collect()
    }

    /// Failures that are not known, and what they came to.
    fn unknown(&self) -> impl Iterator<Item = (&str, &str)> {
        let new = self.failures.iter().filter(|(_, f)| f.known.is_none());
        new.map(|(name, _)| (name.as_str(), self.verdicts[name].as_str()))
    }

    fn count(&self, verdict: &str) -> usize {
        self.verdicts.values().filter(|v| *v == verdict).count()
    }

    pub fn print(&self, list: &Path) {
        let (passed, skipped) = (self.count("pass"), self.count("skip"));
        let ran = self.verdicts.len() - skipped;
        let mut others: Vec<&str> = self.verdicts.values().map(String::as_str).collect();
        others.sort_unstable();
        others.dedup();
        let others: Vec<String> = others
            .iter()
            .filter(|v| !matches!(**v, "pass" | "skip"))
            .map(|v| format!(", {} {v}", self.count(v)))
            .collect();
        println!(
            "{passed} of {ran} pass ({:.1} %){}, {skipped} skipped",
            100.0 * passed as f64 / ran.max(1) as f64,
            others.concat(),
        );
        let causes = self.groups(|f| Some(f.cause.as_str()));
        print_groups("failures by what they showed:", &causes);
        let known = self.groups(|f| f.known.as_deref());
        print_groups("known failures by their reason:", &known);
        let new: Vec<_> = self.unknown().collect();
        if !new.is_empty() {
            println!("not in {}:", list.display());
            for (name, verdict) in &new {
                println!("  {verdict} {name}");
            }
        }
        if !self.passing.is_empty() {
            println!("in {}, and passing now:", list.display());
            for name in &self.passing {
                println!("  {name}");
            }
        }
        if !self.missing.is_empty() {
            println!("without a result:");
            for name in &self.missing {
                println!("  {name}");
            }
        }
    }

    /// Failures by something of them, the largest group first.
    fn groups<'a>(
        &'a self,
        by: impl Fn(&'a Failure) -> Option<&'a str>,
    ) -> Vec<(&'a str, Vec<&'a str>)> {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, failure) in &self.failures {
            if let Some(key) = by(failure) {
                groups.entry(key).or_default().push(name);
            }
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
        groups
    }

    /// Prints where another place came to something else with the same tests.
    pub fn compare(&self, other: &BTreeMap<String, String>) {
        let differing = self.differing(other);
        let both = self.verdicts.keys().filter(|n| other.contains_key(*n));
        match both.count() {
            0 => println!("none of these tests ran in the shim before"),
            both => println!(
                "{} of {both} tests came to what they came to in the shim",
                both - differing.len()
            ),
        }
        for (name, here, there) in differing {
            println!("  {name}: {here} here, {there} in the shim");
        }
    }

    fn differing<'a>(
        &'a self,
        other: &'a BTreeMap<String, String>,
    ) -> Vec<(&'a str, &'a str, &'a str)> {
        let both = self.verdicts.iter().filter_map(|(name, here)| {
            let there = other.get(name)?;
            (here != there).then_some((name.as_str(), here.as_str(), there.as_str()))
        });
        both.collect()
    }
}

fn print_groups(title: &str, groups: &[(&str, Vec<&str>)]) {
    if !groups.is_empty() {
        println!("{title}");
    }
    for (what, names) in groups {
        println!("{:5}  {what}", names.len());
        for name in names.iter().take(SHOWN) {
            println!("         {name}");
        }
        if names.len() > SHOWN {
            println!("         ...");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(baseline: &str) -> Summary {
        let text = r#"{"a": {"result": "pass"}, "b": {"result": "fail", "out": "x\n", "returncode": 1},
            "c": {"result": "timeout"}, "d": {"result": "skip"}}"#;
        let tests: Tests = serde_json::from_str(text).unwrap();
        let names: Vec<String> = tests.keys().cloned().collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        std::fs::write(&path, baseline).unwrap();
        Summary::of(&tests, &names, &Baseline::read(&path).unwrap())
    }

    #[test]
    fn only_what_is_known_may_fail() {
        assert!(summary("[why]\nfail b\ntimeout c\n").good());
        assert_eq!(summary("[why]\nfail b\n").news(), ["timeout c"]);
        // A test that timed out and used to fail is not the failure that is known.
        assert!(!summary("[why]\nfail b\nfail c\n").good());
        assert!(!summary("[why]\nfail b\n").good());
    }

    #[test]
    fn a_known_failure_that_passes_is_told() {
        let summary = summary("[why]\nfail a\nfail b\nfail d\ntimeout c\n");
        assert_eq!(summary.passing, ["a"]);
        assert!(summary.good());
    }

    #[test]
    fn places_are_compared_by_what_both_have() {
        let other = [("a", "fail"), ("b", "fail"), ("z", "pass")];
        let other = other.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        assert_eq!(summary("").differing(&other), [("a", "pass", "fail")]);
    }
}
