// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a guest measured.

use std::collections::BTreeMap;

use serde::Serialize;

/// How a measurement came out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    pub rounds: usize,
    pub min: u64,
    pub median: u64,
    /// Nine of ten are not above.
    pub p90: u64,
}

/// The measurements of one guest by their names.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Samples(BTreeMap<String, Summary>);

impl Summary {
    fn of(mut values: Vec<u64>) -> Option<Self> {
        values.sort_unstable();
        let at = |part: usize| values.get((values.len().saturating_sub(1)) * part / 100);
        Some(Self {
            rounds: values.len(),
            min: *at(0)?,
            median: *at(50)?,
            p90: *at(90)?,
        })
    }
}

impl Samples {
    /// Takes the lines of `bench NAME VALUE...`, of which there may be several with one name.
    pub fn parse(text: &str) -> Self {
        let mut all: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for line in text.lines() {
            let Some(line) = line.trim().strip_prefix("bench ") else {
                continue;
            };
            let mut words = line.split(' ');
            let name = words.next().unwrap_or_default().to_owned();
            let values: Result<Vec<u64>, _> = words.map(str::parse).collect();
            all.entry(name)
                .or_default()
                .extend(values.unwrap_or_default());
        }
        let summed = all
            .into_iter()
            .filter_map(|(name, values)| Some((name, Summary::of(values)?)));
        Self(summed.collect())
    }

    pub fn get(&self, name: &str) -> Option<&Summary> {
        self.0.get(name)
    }

    /// Those whose names begin with `prefix`, which is taken off, in the order of their numbers.
    pub fn under(&self, prefix: &str) -> Vec<(u64, &Summary)> {
        let mut found: Vec<(u64, &Summary)> = self
            .0
            .iter()
            .filter_map(|(name, summary)| Some((name.strip_prefix(prefix)?.parse().ok()?, summary)))
            .collect();
        found.sort_unstable_by_key(|(number, _)| *number);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_summed_up() {
        let text = "noise\nbench a/b 5 1 3\n@@ end\nbench c/10 7\nbench c/9 8\nbench c/9 10\nbench bad x\nbench empty\n";
        let samples = Samples::parse(text);
        let ab = samples.get("a/b").unwrap();
        assert_eq!((ab.rounds, ab.min, ab.median, ab.p90), (3, 1, 3, 3));
        let numbers: Vec<u64> = samples.under("c/").iter().map(|(n, _)| *n).collect();
        assert_eq!(numbers, [9, 10]);
        assert_eq!(samples.get("c/9").unwrap().rounds, 2);
        assert!(samples.get("bad").is_none() && samples.get("empty").is_none());
    }
}
