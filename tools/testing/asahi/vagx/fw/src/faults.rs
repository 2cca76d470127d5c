// SPDX-License-Identifier: MIT OR Apache-2.0

//! Misbehaviour on request, to try out a driver's error paths: what there is, and which job it hits.
//!
//! A request is a kind and selectors, `KIND[:SELECTOR[,SELECTOR...]]`. Jobs are commands with a stamp; they are counted
//! from 1 over one boot, in the order in which they start. Whatever is random comes from one seed.

use std::fmt::{self, Display};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::queue::Pipe;
use crate::random::Random;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Boots, then ignores every message.
    Silent,
    /// Never writes its magic value into the handoff region.
    NoHandoff,
    /// Takes the handoff lock and keeps it.
    HoldLock,
    /// Ignores requests to flush its cache.
    NoFlushAck,
    /// Crashes when it gets the initialisation data.
    CrashAtInit,
    /// Not a fault: how long a job may take.
    TimeLimit,
    /// Events come in any order in which hardware could send them.
    Shuffle,
    /// A job asks for its own fault; see [`MARK`].
    OnDemand,

    /// The GPU reads what is not mapped.
    Unmapped,
    /// The GPU writes what it may only read.
    ReadOnly,
    /// The GPU reads what it may only write.
    WriteOnly,
    /// The GPU touches what it may not.
    NoAccess,
    /// The job never ends on the GPU; the firmware notices and reports a timeout.
    Hang,
    /// The job never ends and nothing is said about it.
    Lose,
    /// The command is refused.
    ChannelError,
    /// The firmware crashes while the job runs.
    Crash,
    /// The firmware crashes when the job has ended.
    CrashAfter,
    /// The firmware says nothing more when the job has ended.
    SilentAfter,
    /// The driver is not told of the job's end.
    LostEvent,
    /// The driver is told late.
    LateEvent,
    /// The driver is told three times.
    RepeatEvent,
    /// After the job, events of unknown type and with indices out of range.
    BadEvent,
    /// After the job, the driver is told that the stamps of all slots have moved.
    FalseFlag,
    /// After the job, a timeout is reported that belongs to an earlier halt, if there was one. m1n1
    /// (`agx/__init__.py`, `timeout`) knows such messages by their counter.
    StaleTimeout,
    /// After the job, write indices out of range in the rings that the driver reads.
    BadRing,
    /// After the job, a tiler's heap is said to be full that is not.
    OddGrow,
}

/// Name, kind, and the number by which a job asks for it, or 0.
const KINDS: [(&str, Kind, u8); 27] = [
    ("silent", Kind::Silent, 0),
    ("no-handoff", Kind::NoHandoff, 0),
    ("hold-lock", Kind::HoldLock, 0),
    ("no-flush-ack", Kind::NoFlushAck, 0),
    ("crash-at-init", Kind::CrashAtInit, 0),
    ("time-limit", Kind::TimeLimit, 0),
    ("shuffle", Kind::Shuffle, 0),
    ("on-demand", Kind::OnDemand, 0),
    ("unmapped", Kind::Unmapped, 1),
    ("fault-job", Kind::Unmapped, 0),
    ("read-only", Kind::ReadOnly, 2),
    ("write-only", Kind::WriteOnly, 3),
    ("no-access", Kind::NoAccess, 4),
    ("hang-job", Kind::Hang, 5),
    ("lose-job", Kind::Lose, 6),
    ("channel-error", Kind::ChannelError, 7),
    ("crash-job", Kind::Crash, 8),
    ("crash-after", Kind::CrashAfter, 0),
    ("silent-after", Kind::SilentAfter, 0),
    ("lost-event", Kind::LostEvent, 9),
    ("late-event", Kind::LateEvent, 10),
    ("repeat-event", Kind::RepeatEvent, 11),
    ("bad-event", Kind::BadEvent, 12),
    ("false-flag", Kind::FalseFlag, 13),
    ("stale-timeout", Kind::StaleTimeout, 14),
    ("bad-ring", Kind::BadRing, 15),
    ("odd-grow", Kind::OddGrow, 16),
];

/// With [`Kind::OnDemand`], a job whose helper program has this in the upper 48 bits of its data asks for the fault whose
/// number is in the lowest byte. The byte between is a time in units of 10 ms, where the kind has one. User space
/// chooses that word freely and nobody looks at it while there is no helper program.
pub const MARK: u64 = 0x4147_5846_4c54;

impl Kind {
    /// Whether it hits a job, rather than the firmware as such.
    fn of_jobs(self) -> bool {
        !matches!(
            self,
            Kind::Silent
                | Kind::NoHandoff
                | Kind::HoldLock
                | Kind::NoFlushAck
                | Kind::CrashAtInit
                | Kind::TimeLimit
                | Kind::Shuffle
                | Kind::OnDemand
        )
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find(|(_, kind, _)| kind == self);
        f.write_str(name.map_or("", |(name, ..)| name))
    }
}

/// Which jobs are hit: those that everything here agrees to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Select {
    job: Option<u64>,
    boot: Option<u32>,
    ctx: Option<u8>,
    queue: Option<u32>,
    pipe: Option<Pipe>,
    data: Option<u64>,
    after: u64,
    every: Option<u64>,
    percent: Option<u64>,
    count: Option<u64>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inject {
    kind: Kind,
    select: Select,
    time: Option<Duration>,
    error: Option<u32>,
    seed: Option<u64>,
}

/// The text does not name a kind of misbehaviour.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "unknown fault \"{text}\"{why}: the firmware's are {}; with selectors after a colon: N or job=N, n=EVERY, p=PERCENT, after=N, count=N, boot=N, ctx=SLOT, queue=UUID, pipe=vertex|fragment|compute, data=HELPER_DATA; and ms=TIME, type=ERROR, seed=N",
    KINDS.iter().map(|k| k.0).collect::<Vec<_>>().join(", ")
)]
pub struct UnknownInject {
    text: String,
    why: String,
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

impl Inject {
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    fn set(&mut self, part: &str) -> Option<()> {
        let (key, value) = part.split_once('=').unwrap_or(("job", part));
        let s = &mut self.select;
        if key == "pipe" && self.kind.of_jobs() {
            let pipes = [Pipe::Vertex, Pipe::Fragment, Pipe::Compute];
            s.pipe = Some(pipes.into_iter().find(|p| p.name() == value)?);
            return Some(());
        }
        let value = number(value)?;
        match (self.kind, key) {
            (Kind::TimeLimit | Kind::Hang | Kind::LateEvent, "ms") => {
                self.time = Some(Duration::from_millis(value));
            }
            (Kind::ChannelError, "type") => self.error = Some(u32::try_from(value).ok()?),
            (Kind::Shuffle, "seed") => self.seed = Some(value),
            (kind, _) if !kind.of_jobs() => return None,
            (_, "job") => s.job = Some(value),
            (_, "n") if value != 0 => s.every = Some(value),
            (_, "p") if value <= 100 => s.percent = Some(value),
            (_, "after") => s.after = value,
            (_, "count") => s.count = Some(value),
            (_, "boot") => s.boot = Some(u32::try_from(value).ok()?),
            (_, "ctx") => s.ctx = Some(u8::try_from(value).ok()?),
            (_, "queue") => s.queue = Some(u32::try_from(value).ok()?),
            (_, "data") => s.data = Some(value),
            _ => return None,
        }
        Some(())
    }
}

impl FromStr for Inject {
    type Err = UnknownInject;

    fn from_str(text: &str) -> Result<Self, UnknownInject> {
        let unknown = |why: String| UnknownInject {
            text: text.to_owned(),
            why,
        };
        let (name, rest) = match text.split_once(':') {
            Some((name, rest)) => (name, Some(rest)),
            None => (text, None),
        };
        let kind = KINDS.iter().find(|(n, ..)| *n == name).map(|k| k.1);
        let mut inject = Inject {
            kind: kind.ok_or_else(|| unknown(String::new()))?,
            select: Select::default(),
            time: None,
            error: None,
            seed: None,
        };
        for part in rest.iter().flat_map(|r| r.split(',')) {
            let why = || unknown(format!(" (\"{part}\" does not belong there)"));
            inject.set(part).ok_or_else(why)?;
        }
        if inject.kind == Kind::TimeLimit && inject.time.is_none() {
            return Err(unknown(" (ms=TIME is missing)".into()));
        }
        if inject.select == Select::default() {
            inject.select.job = Some(1);
        }
        Ok(inject)
    }
}

/// What is known of a job when it starts.
pub(crate) struct Facts {
    pub number: u64,
    pub pipe: Pipe,
    pub ctx: u8,
    pub uuid: u32,
    /// The helper program's data.
    pub data: u64,
}

/// What is to happen to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub kind: Kind,
    pub time: Option<Duration>,
    /// Type of a channel error.
    pub error: Option<u32>,
}

/// What a request has seen so far.
#[derive(Clone, Copy, Default)]
struct Tally {
    matched: u64,
    hit: u64,
}

/// The requests of one boot.
pub(crate) struct Faults {
    requests: Vec<Inject>,
    boot: u32,
    state: Mutex<(Vec<Tally>, Random)>,
}

impl Faults {
    pub(crate) fn new(requests: &[Inject], boot: u32, random: Random) -> Self {
        Faults {
            requests: requests.to_vec(),
            boot,
            state: Mutex::new((vec![Tally::default(); requests.len()], random)),
        }
    }

    fn state(&self) -> MutexGuard<'_, (Vec<Tally>, Random)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this was asked for, for kinds that do not depend on a job.
    pub(crate) fn wants(&self, kind: Kind) -> bool {
        self.requests.iter().any(|r| r.kind == kind)
    }

    /// Whether events may have to be sent later than they arise.
    pub(crate) fn delays(&self) -> bool {
        [Kind::Shuffle, Kind::LateEvent, Kind::OnDemand]
            .into_iter()
            .any(|kind| self.wants(kind))
    }

    /// The fate of a job. Each request counts the jobs that it matches, also where another one hits first.
    pub(crate) fn plan(&self, facts: &Facts) -> Option<Plan> {
        if self.requests.is_empty() {
            return None;
        }
        let mut found = None;
        let (tallies, random) = &mut *self.state();
        for (request, tally) in self.requests.iter().zip(tallies) {
            let s = &request.select;
            if request.kind == Kind::OnDemand {
                found = found.or_else(|| demanded(facts.data));
                continue;
            }
            let matches = request.kind.of_jobs()
                && s.job.is_none_or(|n| n == facts.number)
                && s.boot.is_none_or(|n| n == self.boot)
                && s.ctx.is_none_or(|n| n == facts.ctx)
                && s.queue.is_none_or(|n| n == facts.uuid)
                && s.pipe.is_none_or(|p| p == facts.pipe)
                && s.data.is_none_or(|d| d == facts.data);
            if !matches {
                continue;
            }
            tally.matched += 1;
            let hit = tally.matched > s.after
                && s.every
                    .is_none_or(|n| (tally.matched - s.after).is_multiple_of(n))
                && s.percent.is_none_or(|p| random.below(100) < p)
                && s.count.is_none_or(|n| tally.hit < n);
            if hit && found.is_none() {
                tally.hit += 1;
                found = Some(Plan {
                    kind: request.kind,
                    time: request.time,
                    error: request.error,
                });
            }
        }
        found
    }
}

/// What a job asks for by its data.
fn demanded(data: u64) -> Option<Plan> {
    let number = data as u8;
    if data >> 16 != MARK || number == 0 {
        return None;
    }
    let (_, kind, _) = KINDS.iter().find(|k| k.2 == number)?;
    let time = (data >> 8) as u8;
    Some(Plan {
        kind: *kind,
        time: (time != 0).then(|| Duration::from_millis(u64::from(time) * 10)),
        error: None,
    })
}

/// The seed that a request carries, if one does.
pub(crate) fn seed(requests: &[Inject]) -> Option<u64> {
    requests.iter().find_map(|r| r.seed)
}

/// How long a job may take, if that was asked for.
pub(crate) fn time_limit(requests: &[Inject]) -> Option<Duration> {
    let mut limits = requests.iter().filter(|r| r.kind == Kind::TimeLimit);
    limits.next().and_then(|r| r.time)
}

/// Whether anything of this is left to chance.
pub(crate) fn random(requests: &[Inject]) -> bool {
    requests
        .iter()
        .any(|r| r.kind == Kind::Shuffle || r.select.percent.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(number: u64) -> Facts {
        Facts {
            number,
            pipe: Pipe::Compute,
            ctx: 2,
            uuid: 9,
            data: 0,
        }
    }

    /// The numbers of the jobs up to 12 that are hit.
    fn hits(text: &str) -> Vec<u64> {
        let faults = Faults::new(&[text.parse().unwrap()], 1, Random::new(7));
        (1..=12)
            .filter(|n| faults.plan(&facts(*n)).is_some())
            .collect()
    }

    #[test]
    fn jobs_are_selected() {
        assert_eq!(hits("hang-job"), [1]);
        assert_eq!(hits("hang-job:3"), [3]);
        assert_eq!(hits("unmapped:job=3"), [3]);
        assert_eq!(hits("unmapped:n=3"), [3, 6, 9, 12]);
        assert_eq!(hits("unmapped:n=3,after=4"), [7, 10]);
        assert_eq!(hits("unmapped:n=3,count=2"), [3, 6]);
        assert_eq!(hits("unmapped:ctx=2,after=10"), [11, 12]);
        assert!(hits("unmapped:ctx=3").is_empty());
        assert_eq!(hits("unmapped:queue=9,pipe=compute,count=1"), [1]);
        assert!(hits("unmapped:pipe=vertex").is_empty());
        assert!(hits("unmapped:data=0x10").is_empty());
        assert!(hits("unmapped:boot=2").is_empty());
        assert_eq!(hits("unmapped:p=100").len(), 12);
        assert!(hits("unmapped:p=0").is_empty());
        let some = hits("unmapped:p=50").len();
        assert!((1..12).contains(&some), "{some}");
        assert!(hits("silent").is_empty());
    }

    #[test]
    fn each_request_counts_for_itself() {
        let requests = ["lost-event:n=2", "late-event:n=3,ms=40"];
        let requests: Vec<Inject> = requests.iter().map(|r| r.parse().unwrap()).collect();
        let faults = Faults::new(&requests, 1, Random::new(7));
        let kinds: Vec<Option<Kind>> = (1..=6)
            .map(|n| faults.plan(&facts(n)).map(|p| p.kind))
            .collect();
        let (lost, late) = (Some(Kind::LostEvent), Some(Kind::LateEvent));
        assert_eq!(kinds, [None, lost, late, lost, None, lost]);
    }

    #[test]
    fn a_job_asks_for_its_fault() {
        let faults = Faults::new(&["on-demand".parse().unwrap()], 1, Random::new(7));
        let plan = |data| faults.plan(&Facts { data, ..facts(1) });
        assert_eq!(plan(0), None);
        assert_eq!(plan(MARK << 16), None);
        assert_eq!(plan(MARK << 16 | 0xff), None);
        let hang = plan(MARK << 16 | 0x0205).unwrap();
        assert_eq!(
            (hang.kind, hang.time),
            (Kind::Hang, Some(Duration::from_millis(20)))
        );
        assert_eq!(
            plan(MARK << 16 | 7).map(|p| p.kind),
            Some(Kind::ChannelError)
        );
        let quiet = Faults::new(&["lost-event".parse().unwrap()], 1, Random::new(7));
        let data = MARK << 16 | 5;
        assert_eq!(
            quiet.plan(&Facts { data, ..facts(1) }).map(|p| p.kind),
            Some(Kind::LostEvent)
        );
    }

    #[test]
    fn bad_requests_are_refused() {
        for bad in [
            "",
            "nothing",
            "silent:1",
            "hang-job:x",
            "hang-job:",
            "hang-job:n=0",
            "unmapped:p=101",
            "unmapped:ms=5",
            "unmapped:pipe=blit",
            "unmapped:ctx=300",
            "time-limit",
            "shuffle:n=2",
        ] {
            assert!(bad.parse::<Inject>().is_err(), "{bad}");
        }
        let limit: Inject = "time-limit:ms=250".parse().unwrap();
        assert_eq!(time_limit(&[limit]), Some(Duration::from_millis(250)));
        assert_eq!(seed(&["shuffle:seed=0x10".parse().unwrap()]), Some(16));
    }

    #[test]
    fn numbers_are_unique() {
        let mut numbers: Vec<u8> = KINDS.iter().map(|k| k.2).filter(|n| *n != 0).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=16).collect::<Vec<u8>>());
    }
}
