// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs tests one after the other, each in a process of its own: one that crashes or hangs fails, and
//! the others run all the same.

use std::{
    fs::{self, File, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    io::{Read, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

use crate::device::Device;

/// A test.
pub struct Test {
    pub name: &'static str,
    pub run: fn(&Device) -> Result<()>,
    /// The seconds that it may take on the normal kernel.
    pub limit: u64,
    /// It takes minutes, and runs only where it is named.
    pub heavy: bool,
    /// Parts of the complaints that the virtual AGX is to make of it: it does on purpose what hardware
    /// would not stand. The harness makes sure that these come, and no others.
    pub complaints: &'static [&'static str],
}

impl Test {
    /// A test with nothing said about it.
    pub const PLAIN: Self = Self {
        name: "",
        run: |_| Ok(()),
        limit: 60,
        heavy: false,
        complaints: &[],
    };
}

/// How a test ended.
enum Verdict {
    Passed,
    Skipped(String),
    Failed(String),
}

/// Why a test has nothing to test here; as an error, it is none.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Skip(String);

/// Ends a test that cannot run here.
pub fn skip(why: impl Into<String>) -> Result<()> {
    Err(Skip(why.into()).into())
}

/// Whether the kernel is the debug kernel, on which all takes several times as long.
pub fn slow() -> bool {
    static SLOW: OnceLock<bool> = OnceLock::new();
    *SLOW.get_or_init(|| {
        fs::read_to_string("/proc/version").is_ok_and(|text| text.contains("-debug "))
    })
}

/// As many rounds as a race is to run: fewer where all takes longer.
pub fn rounds(normal: usize) -> usize {
    if slow() { normal.div_ceil(4) } else { normal }
}

static RNG: OnceLock<u64> = OnceLock::new();

/// Numbers that look random, and are the same for the same seed and test.
pub struct Rng(u64);

impl Rng {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators").
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// The next number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// The running test's numbers.
pub fn rng() -> Rng {
    Rng::new(RNG.get().copied().unwrap_or_default())
}

/// Runs a test on a file of its own.
fn body(test: &Test) -> Verdict {
    let result = Device::open().and_then(|device| {
        catch_unwind(AssertUnwindSafe(|| (test.run)(&device))).unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(anyhow!("{}", text.unwrap_or("panicked")))
        })
    });
    match result {
        Ok(()) => Verdict::Passed,
        Err(error) => match error.downcast::<Skip>() {
            Ok(Skip(why)) => Verdict::Skipped(why),
            Err(error) => Verdict::Failed(format!("{error:#}")),
        },
    }
}

/// Runs a test in a process of its own, at most as long as it may take.
fn apart(test: &Test, seed: u64) -> Result<Verdict> {
    let mut ends = [0; 2];
    // SAFETY: The kernel writes two descriptors, which are ours then.
    let (read, write) = unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) < 0 {
            return Err(std::io::Error::last_os_error()).context("pipe");
        }
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    };
    std::io::stdout().flush()?;
    // SAFETY: This process has one thread, so that the child may do whatever it could do.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(std::io::Error::last_os_error()).context("fork");
    }
    if child == 0 {
        drop(read);
        // SAFETY: A plain system call. The test gets a group of its own, to be killed with.
        unsafe { libc::setpgid(0, 0) };
        let mut hasher = DefaultHasher::new();
        (seed, test.name).hash(&mut hasher);
        let _ = RNG.set(hasher.finish());
        let (code, text) = match body(test) {
            Verdict::Passed => (0, String::new()),
            Verdict::Failed(why) => (1, why),
            Verdict::Skipped(why) => (2, why),
        };
        let _ = std::io::stdout().flush();
        // More than a pipe holds would wait for the parent, which waits for the end.
        let text = &text.as_bytes()[..text.len().min(4000)];
        let _ = File::from(write).write_all(text);
        // SAFETY: Ends the process; what the parent's copies in it own is not its business.
        unsafe { libc::_exit(code) };
    }
    drop(write);
    let limit = Duration::from_secs(test.limit * if slow() { 4 } else { 1 });
    let status = match wait(child, limit)? {
        Some(status) => status,
        None => {
            let places = places(child);
            kill_group(child);
            let killed = wait(child, Duration::from_secs(20))?.is_some();
            return Ok(Verdict::Failed(format!(
                "did not end within {} s{}{places}",
                limit.as_secs(),
                if killed { "" } else { " and cannot be killed" },
            )));
        }
    };
    kill_group(child);
    let mut said = Vec::new();
    File::from(read).read_to_end(&mut said)?;
    let said = String::from_utf8_lossy(&said).into_owned();
    Ok(if libc::WIFSIGNALED(status) {
        Verdict::Failed(format!("died of signal {}", libc::WTERMSIG(status)))
    } else {
        match libc::WEXITSTATUS(status) {
            0 => Verdict::Passed,
            2 => Verdict::Skipped(said),
            _ => Verdict::Failed(said),
        }
    })
}

/// Waits for a child, and gives its status if it has ended in time.
pub fn wait(child: i32, limit: Duration) -> Result<Option<i32>> {
    // SAFETY: A system call that gives a descriptor, which is ours then.
    let pidfd = unsafe {
        match libc::syscall(libc::SYS_pidfd_open, child, 0) {
            fd @ 0.. => OwnedFd::from_raw_fd(fd as i32),
            _ => return Err(std::io::Error::last_os_error()).context("pidfd_open"),
        }
    };
    let start = Instant::now();
    loop {
        let left = limit.saturating_sub(start.elapsed());
        let mut poll = libc::pollfd {
            fd: pidfd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: One valid descriptor to poll.
        let ready = unsafe { libc::poll(&mut poll, 1, left.as_millis() as i32) };
        if ready > 0 {
            let mut status = 0;
            // SAFETY: The child has ended and is not reaped yet.
            if unsafe { libc::waitpid(child, &mut status, 0) } < 0 {
                return Err(std::io::Error::last_os_error()).context("waitpid");
            }
            return Ok(Some(status));
        }
        if start.elapsed() >= limit {
            return Ok(None);
        }
    }
}

/// Ends what a test has started and left.
fn kill_group(child: i32) {
    // SAFETY: A plain system call; that nobody is left is no error.
    unsafe { libc::kill(-child, libc::SIGKILL) };
}

/// Where the threads of a process are in the kernel.
pub fn places(process: i32) -> String {
    let mut text = String::new();
    for task in fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let stack = fs::read_to_string(task.path().join("stack")).unwrap_or_default();
        let functions: Vec<&str> = stack
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .take(8)
            .collect();
        text += &format!(
            "; thread {}: {}",
            task.file_name().to_string_lossy(),
            functions.join(" < ")
        );
    }
    text
}

/// Names the test in the kernel's log, so that what the kernel says can be laid at its door.
fn mark(name: &str) {
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = log.write_all(format!("<6>asahi-tests: {name}\n").as_bytes());
    }
}

/// Runs tests and tells how they end; whether all are well.
pub fn run(tests: &[&Test], seed: u64) -> bool {
    println!("KTAP version 1\n1..{}", tests.len());
    println!("# seed {seed}");
    let mut well = true;
    for (number, test) in (1..).zip(tests) {
        mark(test.name);
        for complaint in test.complaints {
            println!("# {}: expects complaint: {complaint}", test.name);
        }
        let start = Instant::now();
        let verdict = apart(test, seed).unwrap_or_else(|e| Verdict::Failed(format!("{e:#}")));
        let took = start.elapsed();
        if took > Duration::from_secs(2) {
            println!("# {}: took {:.1} s", test.name, took.as_secs_f64());
        }
        match verdict {
            Verdict::Passed => println!("ok {number} {}", test.name),
            Verdict::Skipped(why) => println!("ok {number} {} # SKIP {why}", test.name),
            Verdict::Failed(why) => {
                well = false;
                println!("# {}: {}", test.name, why.replace('\n', "; "));
                println!("not ok {number} {}", test.name);
            }
        }
    }
    mark("the end");
    well
}
