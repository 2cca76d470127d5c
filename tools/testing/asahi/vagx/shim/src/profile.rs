// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where the time goes: `VAGX_SHIM_PROFILE=DIR` has each process write a file there when it ends.
//!
//! A timer of the process's CPU time interrupts whichever thread runs, and the address of its instruction is noted.
//! The first line has the nanoseconds that passed on the clock and on the CPUs. Each other line is an address in a
//! library, the library, and how often: `addr2line` makes functions of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Between two looks, in nanoseconds of CPU time.
const STEP: libc::c_long = 1_000_000;

/// As many looks as there is room for: a quarter of an hour of one CPU.
const ROOM: usize = 1 << 20;

static SEEN: [AtomicU64; ROOM] = [const { AtomicU64::new(0) }; ROOM];
static COUNT: AtomicUsize = AtomicUsize::new(0);

struct Profile {
    dir: PathBuf,
    start: u64,
    /// The timer, which a child that is forked does not have.
    timer: usize,
}

static PROFILE: OnceLock<Option<Profile>> = OnceLock::new();

/// The address of the interrupted instruction.
fn place(context: &libc::ucontext_t) -> u64 {
    #[cfg(target_arch = "x86_64")]
    return context.uc_mcontext.gregs[libc::REG_RIP as usize] as u64;
    #[cfg(target_arch = "aarch64")]
    return context.uc_mcontext.pc;
}

extern "C" fn look(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: The kernel gives a handler of this kind such a context. Nothing else is done than what a handler may do.
    let at = unsafe { place(&*context.cast()) };
    if let Some(slot) = SEEN.get(COUNT.fetch_add(1, Relaxed)) {
        slot.store(at, Relaxed);
    }
}

/// Begins, if that is wanted.
pub fn begin() {
    PROFILE.get_or_init(|| {
        let dir = std::env::var_os("VAGX_SHIM_PROFILE")?;
        let timer = start()
            .inspect_err(|error| eprintln!("vagx-shim: no profile: {error}"))
            .ok()?;
        Some(Profile {
            dir: dir.into(),
            start: crate::device::now(),
            timer,
        })
    });
}

/// Has the process's threads look where they are from now on.
///
/// With `setitimer` the timer would be there after an `exec`, and the handler would not: a shell that began before it
/// became another program would have that program killed.
fn start() -> io::Result<usize> {
    let step = libc::timespec {
        tv_sec: 0,
        tv_nsec: STEP,
    };
    let times = libc::itimerspec {
        it_interval: step,
        it_value: step,
    };
    let mut timer: libc::timer_t = std::ptr::null_mut();
    // SAFETY: The action, the event and the times are valid, as all zeroes is for the first two; the handler is of the
    // type that SA_SIGINFO asks for.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = look as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigaction(libc::SIGPROF, &action, std::ptr::null_mut());
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGPROF;
        match libc::timer_create(libc::CLOCK_PROCESS_CPUTIME_ID, &mut event, &mut timer) {
            0 => libc::timer_settime(timer, 0, &times, std::ptr::null_mut()),
            failed => failed,
        }
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(timer as usize)
}

/// A part of a file in memory.
struct Module {
    start: u64,
    end: u64,
    file: String,
}

/// Where the file that this is a part of begins, which is where its addresses count from.
fn base(modules: &[Module], module: &Module) -> u64 {
    let same = modules.iter().find(|m| m.file == module.file);
    same.map_or(module.start, |m| m.start)
}

fn modules() -> Vec<Module> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let module = |line: &str| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let file = words.nth(4).unwrap_or("[anonymous]");
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some(Module {
            start: number(start)?,
            end: number(end)?,
            file: file.to_owned(),
        })
    };
    maps.lines().filter_map(module).collect()
}

/// Writes what was seen.
pub fn end() {
    let Some(Some(profile)) = PROFILE.get() else {
        return;
    };
    let passed = crate::device::now() - profile.start;
    // SAFETY: That there is no such timer is no more than an error; all zeroes is a valid time, which is written.
    let on_cpus = unsafe {
        libc::timer_delete(profile.timer as libc::timer_t);
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    };
    let modules = modules();
    let mut counts = BTreeMap::<(&str, u64), u64>::new();
    for slot in &SEEN[..COUNT.load(Relaxed).min(ROOM)] {
        let at = slot.load(Relaxed);
        let module = modules.iter().find(|m| (m.start..m.end).contains(&at));
        let place = module.map_or(("[unknown]", at), |m| (&m.file, at - base(&modules, m)));
        *counts.entry(place).or_default() += 1;
    }
    let mut text = format!("{passed} {on_cpus}\n");
    for ((file, at), count) in counts {
        text += &format!("{at:#x} {file} {count}\n");
    }
    let path = profile.dir.join(format!("{}.txt", std::process::id()));
    let written = fs::File::create(&path).and_then(|mut file| file.write_all(text.as_bytes()));
    if let Err(error) = written {
        eprintln!("vagx-shim: {}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[test]
    fn ends_with_the_program() {
        // Long enough for some ticks of the timer.
        let mut shell = Command::new("sh");
        shell.args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done"]);
        // SAFETY: Only system calls are made, between fork and exec.
        unsafe { shell.pre_exec(|| super::start().map(drop)) };
        let status = shell.status().unwrap();
        assert!(status.success(), "{status}");
    }
}
