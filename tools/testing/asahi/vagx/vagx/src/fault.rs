// SPDX-License-Identifier: MIT OR Apache-2.0

//! Faults of the coprocessor that `--fault` asks for; those of the firmware are `vagx_fw::Inject`.

use std::str::FromStr;

/// What the coprocessor does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Starts, and says nothing.
    NoAnswer,
    /// Offers only protocol versions that nobody knows.
    BadHello,
    /// Comes up, but never says that it is on.
    NoPower,
    /// Crashes when it has come up.
    CrashAtBoot,
    /// Takes no more messages after this number, so that the mailbox fills.
    Deaf(u64),
}

impl Fault {
    /// The names, for messages to people.
    pub const NAMES: &str = "no-answer, bad-hello, no-power, crash-at-boot, deaf:MESSAGES";
}

/// Not a fault of the coprocessor.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a fault of the coprocessor")]
pub struct Unknown;

impl FromStr for Fault {
    type Err = Unknown;

    fn from_str(s: &str) -> Result<Self, Unknown> {
        let (kind, arg) = match s.split_once(':') {
            Some((kind, arg)) => (kind, Some(arg.parse::<u64>().map_err(|_| Unknown)?)),
            None => (s, None),
        };
        match (kind, arg) {
            ("no-answer", None) => Ok(Self::NoAnswer),
            ("bad-hello", None) => Ok(Self::BadHello),
            ("no-power", None) => Ok(Self::NoPower),
            ("crash-at-boot", None) => Ok(Self::CrashAtBoot),
            ("deaf", Some(n)) => Ok(Self::Deaf(n)),
            _ => Err(Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!("no-answer".parse(), Ok(Fault::NoAnswer));
        assert_eq!("deaf:12".parse(), Ok(Fault::Deaf(12)));
        for bad in ["deaf", "deaf:x", "no-answer:1", "", "crash-after:3"] {
            assert_eq!(bad.parse::<Fault>(), Err(Unknown), "{bad}");
        }
    }
}
