// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the asahi driver's interface. They run in the guest, over the raw ioctls, and print
//! KTAP. What they expect is what `include/uapi/drm/asahi_drm.h` says.
//!
//! `asahi-tests` runs all tests but the heavy ones, `asahi-tests NAME...` those whose names begin so.
//! `--all` takes the heavy ones too, `--seed N` repeats a run's random choices, `--list` lists.

use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

mod model;
mod runner;
mod stress;
mod suite;

use asahi_tests::{device, gpu, uapi};
use runner::Test;

const USAGE: &str = "usage: asahi-tests [--list] [--all] [--seed N] [NAME...]";

/// What the command line asks for.
#[derive(Default)]
struct Arguments {
    list: bool,
    all: bool,
    seed: Option<u64>,
    names: Vec<String>,
}

impl Arguments {
    fn parse() -> Option<Self> {
        let mut this = Self::default();
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match &*word {
                "--list" => this.list = true,
                "--all" => this.all = true,
                "--seed" => this.seed = Some(words.next()?.parse().ok()?),
                option if option.starts_with('-') => return None,
                _ => this.names.push(word),
            }
        }
        Some(this)
    }

    fn choose(&self, test: &Test) -> bool {
        match self.names.is_empty() {
            true => self.all || !test.heavy,
            false => self.names.iter().any(|name| test.name.starts_with(&**name)),
        }
    }
}

/// A seed that is another one each time, and short enough to be typed.
fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1, |now| {
        u64::from(now.subsec_nanos() ^ now.as_secs() as u32)
    })
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::parse() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let tests = suite::all();
    let chosen: Vec<&Test> = tests.iter().filter(|t| arguments.choose(t)).collect();
    if chosen.is_empty() {
        eprintln!("asahi-tests: there is no test of that name; --list lists them");
        return ExitCode::from(2);
    }
    if arguments.list {
        for test in chosen {
            println!("{}", test.name);
        }
        return ExitCode::SUCCESS;
    }
    let seed = arguments.seed.unwrap_or_else(fresh_seed);
    match runner::run(&chosen, seed) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
