// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where things are and what was asked for. The bootstrap puts both into the environment.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// The paths of this run and the parameters that a person gave to make.
#[derive(Debug)]
pub struct Context {
    /// The checkout.
    pub src: PathBuf,
    /// Roots and sources that never change, each under the hash of what it was made from.
    pub cache: PathBuf,
    /// What is built from the checkout; `make clean` removes it.
    pub build: PathBuf,
    /// A small memory file system of this run's own mount namespace: socket paths stay short there
    /// and nothing is left behind.
    pub scratch: PathBuf,
    /// The Debian release of the roots.
    pub release: String,
    pub params: Params,
}

/// Where programs meet the virtual GPU.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In their own process.
    #[default]
    Shim,
    /// Behind the driver, in a guest.
    Vm,
}

impl Place {
    pub fn name(self) -> &'static str {
        match self {
            Self::Shim => "shim",
            Self::Vm => "vm",
        }
    }
}

/// What may stand on make's command line.
#[derive(Debug, Default, Clone)]
pub struct Params {
    pub cmd: Option<String>,
    pub share: Option<PathBuf>,
    pub timeout: Option<Duration>,
    pub capture: Option<PathBuf>,
    pub trace: Option<PathBuf>,
    pub kconfig: Option<PathBuf>,
    pub cmdline: Option<String>,
    pub ksrc: Option<PathBuf>,
    pub faults: Vec<String>,
    pub debug: bool,
    pub wait: bool,
    pub piglit: bool,
    /// Groups of tests to run; all if there are none.
    pub only: Vec<String>,
    /// Keep the table of `make bench` in the checkout.
    pub save: bool,
    /// Of the interface's tests, those whose names begin so; all if there are none.
    pub test: Vec<String>,
    /// Where the interface's tests take their random numbers from.
    pub seed: Option<u64>,
    /// A built kernel tree to boot as it is, for work on the kernel parts.
    pub kernel: Option<PathBuf>,
    /// piglit's profile of tests.
    pub profile: Option<String>,
    /// Of the profile, the tests whose names match this.
    pub filter: Option<String>,
    /// Where piglit runs.
    pub place: Place,
    /// Part i of n of what is selected.
    pub shard: Option<(usize, usize)>,
    /// That many of what is selected, chosen by the seed.
    pub sample: Option<usize>,
    /// A list of known failures other than the one in the checkout.
    pub baseline: Option<PathBuf>,
    /// More packages for the root of `make shim`.
    pub packages: Vec<String>,
    /// A Wayland session for the command.
    pub wayland: bool,
    /// A built vagx to take as it is.
    pub vagx: Option<PathBuf>,
    /// A built shim to take as it is.
    pub shim: Option<PathBuf>,
}

fn var(name: &str) -> Option<String> {
    env::var(name).ok().filter(|v| !v.is_empty())
}

/// A list of words.
fn words(name: &str) -> Vec<String> {
    var(&format!("ASAHI_{name}"))
        .map(|v| v.split_whitespace().map(str::to_owned).collect())
        .unwrap_or_default()
}

/// A switch such as `DEBUG=1`.
fn switch(name: &str, default: bool) -> Result<bool> {
    match var(&format!("ASAHI_{name}")).as_deref() {
        None => Ok(default),
        Some("1" | "y" | "yes") => Ok(true),
        Some("0" | "n" | "no") => Ok(false),
        Some(other) => bail!("{name}={other}: 0 or 1 is wanted"),
    }
}

fn existing(name: &str, want_dir: bool) -> Result<Option<PathBuf>> {
    let Some(given) = var(&format!("ASAHI_{name}")) else {
        return Ok(None);
    };
    let path = Path::new(&given)
        .canonicalize()
        .with_context(|| format!("{name}={given}"))?;
    if path.is_dir() != want_dir {
        let kind = if want_dir { "folder" } else { "file" };
        bail!("{name}={given}: not a {kind}");
    }
    Ok(Some(path))
}

/// A number from the environment.
fn number<T: std::str::FromStr>(name: &str) -> Result<Option<T>> {
    match var(&format!("ASAHI_{name}")) {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => bail!("{name}={text}: a number is wanted"),
        },
    }
}

/// A part such as `2/8`: numbered from 1, so that the last one of eight is `8/8`.
fn shard(text: &str) -> Result<(usize, usize)> {
    let part = text
        .split_once('/')
        .and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)))
        .filter(|&(i, n)| (1..=n).contains(&i));
    part.with_context(|| format!("SHARD={text}: a part such as 2/8 is wanted"))
}

/// A folder for results, made if it is not there.
fn output_dir(name: &str) -> Result<Option<PathBuf>> {
    let Some(given) = var(&format!("ASAHI_{name}")) else {
        return Ok(None);
    };
    fs::create_dir_all(&given).with_context(|| format!("{name}={given}"))?;
    Ok(Some(Path::new(&given).canonicalize()?))
}

impl Params {
    fn from_env() -> Result<Self> {
        let timeout = match var("ASAHI_TIMEOUT") {
            None => None,
            Some(text) => match text.parse::<f64>() {
                Ok(secs) if secs > 0.0 && secs < 1e7 => Some(Duration::from_secs_f64(secs)),
                _ => bail!("TIMEOUT={text}: a number of seconds is wanted"),
            },
        };
        let place = match var("ASAHI_WHERE").as_deref() {
            None | Some("shim") => Place::Shim,
            Some("vm") => Place::Vm,
            Some(other) => bail!("WHERE={other}: shim or vm is wanted"),
        };
        Ok(Self {
            cmd: var("ASAHI_CMD"),
            share: existing("SHARE", true)?,
            timeout,
            capture: output_dir("CAPTURE")?,
            trace: output_dir("TRACE")?,
            kconfig: existing("KCONFIG", false)?,
            cmdline: var("ASAHI_CMDLINE"),
            ksrc: existing("KSRC", true)?,
            faults: words("FAULT"),
            only: words("ONLY"),
            save: switch("SAVE", false)?,
            test: words("TEST"),
            seed: number("SEED")?,
            debug: switch("DEBUG", false)?,
            wait: switch("WAIT", true)?,
            piglit: switch("PIGLIT", false)?,
            kernel: existing("KERNEL", true)?,
            profile: var("ASAHI_PROFILE"),
            filter: var("ASAHI_FILTER"),
            place,
            shard: var("ASAHI_SHARD").map(|text| shard(&text)).transpose()?,
            sample: number("SAMPLE")?,
            baseline: existing("BASELINE", false)?,
            packages: words("PACKAGES"),
            wayland: switch("WAYLAND", false)?,
            vagx: existing("VAGX", false)?,
            shim: existing("SHIM", false)?,
        })
    }
}

impl Context {
    pub fn from_env() -> Result<Self> {
        let place = |name: &str| {
            var(name)
                .map(PathBuf::from)
                .with_context(|| format!("{name} is not set: start me through make"))
        };
        let cache = place("ASAHI_CACHE")?;
        let context = Self {
            src: place("ASAHI_SRC")?,
            build: cache.join("build"),
            scratch: place("ASAHI_SCRATCH")?,
            release: var("ASAHI_RELEASE").context("ASAHI_RELEASE is not set")?,
            cache,
            params: Params::from_env()?,
        };
        fs::create_dir_all(&context.build)
            .with_context(|| format!("cannot make {}", context.build.display()))?;
        Ok(context)
    }

    /// The line of apt's sources that the bootstrap found, if any.
    pub fn apt_source(&self) -> Option<String> {
        var("ASAHI_SOURCE")
    }

    /// This tree's own part of the proving ground.
    pub fn asahi(&self) -> PathBuf {
        self.src.join("tools/testing/asahi")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_numbered_from_one() {
        assert_eq!(shard("2/8").unwrap(), (2, 8));
        assert_eq!(shard("8/8").unwrap(), (8, 8));
        for wrong in ["0/8", "9/8", "2", "x/8", "2/"] {
            assert!(shard(wrong).is_err(), "{wrong}");
        }
    }
}
