// SPDX-License-Identifier: MIT OR Apache-2.0

//! How much memory the kernel uses, and for what.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use anyhow::{Context, Result};

use crate::runner::slow;

/// What /proc/meminfo has, in KiB, as far as a driver's leaks show in it.
const KINDS: [&str; 5] = [
    "MemAvailable",
    "SUnreclaim",
    "VmallocUsed",
    "PageTables",
    "Shmem",
];

/// A look at the kernel's memory.
pub struct Memory {
    kinds: BTreeMap<&'static str, i64>,
    /// References on the guest's devices.
    references: String,
}

impl Memory {
    /// Looks when all is quiet, and what is freed late is freed.
    pub fn settled() -> Result<Self> {
        thread::sleep(Duration::from_millis(700));
        let text = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
        let mut kinds: BTreeMap<&str, i64> = text
            .lines()
            .filter_map(|line| {
                let (name, rest) = line.split_once(':')?;
                let name = KINDS.into_iter().find(|kind| *kind == name)?;
                Some((name, rest.trim().split(' ').next()?.parse().ok()?))
            })
            .collect();
        // Free pages on the lists of CPUs count as used; there may be hundreds.
        let zones = fs::read_to_string("/proc/zoneinfo").context("/proc/zoneinfo")?;
        let listed: i64 = zones
            .lines()
            .filter_map(|line| line.trim().strip_prefix("count:"))
            .filter_map(|count| count.trim().parse::<i64>().ok())
            .sum();
        *kinds.entry("MemAvailable").or_default() += listed * 16;
        let mut references = String::new();
        for entry in
            fs::read_dir("/sys/bus/pci/drivers/vagx-guest").context("the guest's device")?
        {
            references += &fs::read_to_string(entry?.path().join("references")).unwrap_or_default();
        }
        Ok(Self { kinds, references })
    }

    /// How much there is of a kind, in KiB.
    fn kind(&self, name: &str) -> i64 {
        self.kinds.get(name).copied().unwrap_or_default()
    }

    /// All figures.
    pub fn figures(&self) -> String {
        self.kinds
            .iter()
            .map(|(name, kib)| format!("{name} {kib}"))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// What is worse than it was before `times` repetitions of something that should leave nothing.
    ///
    /// On the debug kernel only references count: KASAN keeps what was freed for some time, and
    /// kmemleak finds what was not.
    pub fn worse_than(&self, before: &Self, times: i64, per_time: i64) -> Vec<String> {
        let mut worse = Vec::new();
        let kinds: &[&str] = if slow() { &[] } else { &KINDS };
        for &name in kinds {
            let more = match name {
                "MemAvailable" => before.kind(name) - self.kind(name),
                _ => self.kind(name) - before.kind(name),
            };
            if more > times * per_time {
                worse.push(format!("{name} is {more} KiB worse"));
            }
        }
        if self.references != before.references {
            let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            worse.push(format!(
                "references were {}, and are {}",
                line(&before.references),
                line(&self.references)
            ));
        }
        worse
    }
}
