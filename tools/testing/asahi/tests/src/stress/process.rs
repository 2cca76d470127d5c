// SPDX-License-Identifier: MIT OR Apache-2.0

//! Other processes of a test, and what they say to each other.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::runner;

/// One end of a line between two processes. What goes over it are lines of text.
pub struct Link {
    from: File,
    to: File,
    /// What has come, up to where it has been read.
    come: Vec<u8>,
}

impl Link {
    /// Says something.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let line = line.replace('\n', "; ");
        writeln!(self.to, "{line}").with_context(|| format!("saying \"{line}\""))
    }

    /// Waits for what the other one says.
    pub fn hear(&mut self, limit: Duration) -> Result<String> {
        let start = Instant::now();
        loop {
            if let Some(end) = self.come.iter().position(|&byte| byte == b'\n') {
                let line = self.come.drain(..=end).collect::<Vec<u8>>();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            let left = limit.saturating_sub(start.elapsed());
            if !readable(self.from.as_raw_fd(), left)? {
                bail!("the other process says nothing for {limit:?}");
            }
            let mut some = [0; 4096];
            let count = self.from.read(&mut some)?;
            ensure!(count > 0, "the other process is gone");
            self.come.extend(&some[..count]);
        }
    }

    /// Whether there is something to hear.
    pub fn has_come(&self) -> Result<bool> {
        Ok(!self.come.is_empty() || readable(self.from.as_raw_fd(), Duration::ZERO)?)
    }

    /// Waits for a certain line.
    pub fn expect(&mut self, line: &str, limit: Duration) -> Result<()> {
        let heard = self.hear(limit)?;
        ensure!(heard == line, "it says \"{heard}\", not \"{line}\"");
        Ok(())
    }
}

/// Waits until a descriptor can be read; false if it cannot in that time.
pub fn readable(fd: i32, limit: Duration) -> Result<bool> {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let millis = limit.as_millis().min(i32::MAX as u128) as i32;
    // SAFETY: There is one descriptor to poll.
    match unsafe { libc::poll(&mut poll, 1, millis) } {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(io::Error::last_os_error()).context("poll"),
    }
}

/// A process that a test has started.
pub struct Child {
    pub name: String,
    pid: i32,
    pub link: Link,
}

fn pipe() -> Result<(File, File)> {
    let mut ends = [0; 2];
    // SAFETY: The kernel writes two descriptors, which are ours then.
    unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) < 0 {
            return Err(io::Error::last_os_error()).context("pipe");
        }
        let own = |fd| File::from(OwnedFd::from_raw_fd(fd));
        Ok((own(ends[0]), own(ends[1])))
    }
}

impl Child {
    /// Starts one that does `work`. This process must have no other threads.
    pub fn start(name: &str, work: impl FnOnce(&mut Link) -> Result<()>) -> Result<Self> {
        let (from_child, to_parent) = pipe()?;
        let (from_parent, to_child) = pipe()?;
        io::stdout().flush()?;
        // SAFETY: There are no other threads, so that the child may do whatever this one could do.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            return Err(io::Error::last_os_error()).context("fork");
        }
        let link = |from, to| Link {
            from,
            to,
            come: Vec::new(),
        };
        if pid > 0 {
            return Ok(Self {
                name: name.to_owned(),
                pid,
                link: link(from_child, to_child),
            });
        }
        drop((from_child, to_child));
        let mut link = link(from_parent, to_parent);
        let code = match work(&mut link) {
            Ok(()) => 0,
            Err(error) => {
                let _ = link.say(&format!("failed: {error:#}"));
                1
            }
        };
        let _ = io::stdout().flush();
        // SAFETY: Ends the process; what it has copies of is not its business.
        unsafe { libc::_exit(code) }
    }

    /// Waits for a certain line.
    pub fn expect(&mut self, line: &str, limit: Duration) -> Result<()> {
        let heard = self.hear(limit)?;
        ensure!(
            heard == line,
            "{} says \"{heard}\", not \"{line}\"",
            self.name
        );
        Ok(())
    }

    /// Waits for what it says. If that does not come, the error tells where its threads are.
    pub fn hear(&mut self, limit: Duration) -> Result<String> {
        let Self { name, pid, link } = self;
        let said = link
            .hear(limit)
            .with_context(|| format!("{name}{}", runner::places(*pid)))?;
        ensure!(!said.starts_with("failed: "), "{name} {said}");
        Ok(said)
    }

    /// Says something to it.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let Self { name, link, .. } = self;
        link.say(line).with_context(|| name.clone())
    }

    /// Waits until it has ended, which it has to do well.
    pub fn end(mut self, limit: Duration) -> Result<()> {
        let status = runner::wait(self.pid, limit)?;
        let name = &self.name;
        match status {
            None => bail!("{name} does not end"),
            Some(0) => Ok(()),
            Some(status) => {
                let said = self.link.hear(Duration::ZERO);
                bail!(
                    "{name} ended with {status:#x}: {}",
                    said.unwrap_or_default()
                )
            }
        }
    }

    /// Kills it.
    pub fn kill(self, limit: Duration) -> Result<()> {
        // SAFETY: It is our child, and not reaped yet.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        ensure!(
            runner::wait(self.pid, limit)?.is_some(),
            "{} cannot be killed",
            self.name
        );
        Ok(())
    }
}
