// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sync objects and sync files.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::Device;
use crate::uapi::*;

/// How long a test waits for the GPU.
const PATIENCE: Duration = Duration::from_secs(30);

/// A sync object.
pub struct Syncobj<'a> {
    pub device: &'a Device,
    pub handle: u32,
}

impl Syncobj<'_> {
    /// Names it in a submission.
    pub fn binary(&self) -> Sync {
        Sync {
            sync_type: SYNC_BINARY,
            handle: self.handle,
            timeline_value: 0,
        }
    }

    /// Names one of its points in a submission.
    pub fn point(&self, value: u64) -> Sync {
        Sync {
            sync_type: SYNC_TIMELINE,
            handle: self.handle,
            timeline_value: value,
        }
    }

    /// Signals it from here.
    pub fn signal(&self) -> Result<()> {
        self.device
            .ioctl(&mut SyncobjSignal {
                handles: std::ptr::from_ref(&self.handle) as u64,
                count_handles: 1,
                pad: 0,
            })
            .context("SYNCOBJ_SIGNAL")
    }

    /// Signals one of its points from here.
    pub fn signal_point(&self, value: u64) -> Result<()> {
        self.device
            .ioctl(&mut SyncobjTimelineSignal {
                handles: std::ptr::from_ref(&self.handle) as u64,
                points: std::ptr::from_ref(&value) as u64,
                count_handles: 1,
                flags: 0,
            })
            .context("SYNCOBJ_TIMELINE_SIGNAL")
    }

    /// Takes its fence away.
    pub fn reset(&self) -> Result<()> {
        self.device
            .ioctl(&mut SyncobjReset {
                handles: std::ptr::from_ref(&self.handle) as u64,
                count_handles: 1,
                pad: 0,
            })
            .context("SYNCOBJ_RESET")
    }

    /// Whether it has a fence that has signalled.
    pub fn signalled(&self) -> Result<bool> {
        let result = self.device.ioctl(&mut SyncobjWait {
            handles: std::ptr::from_ref(&self.handle) as u64,
            count_handles: 1,
            flags: SYNCOBJ_WAIT_ALL,
            ..Default::default()
        });
        match result {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(false),
            Err(error) => Err(error).context("SYNCOBJ_WAIT"),
        }
    }

    /// Its fence as a sync file.
    pub fn export(&self) -> Result<OwnedFd> {
        let mut export = SyncobjHandleToFd {
            handle: self.handle,
            flags: SYNCOBJ_EXPORT_SYNC_FILE,
            ..Default::default()
        };
        self.device
            .ioctl(&mut export)
            .context("exporting a fence")?;
        // SAFETY: The kernel has just given us the descriptor.
        Ok(unsafe { OwnedFd::from_raw_fd(export.fd) })
    }

    /// Makes a sync file's fence its own.
    pub fn import(&self, fd: i32) -> Result<()> {
        self.device
            .ioctl(&mut SyncobjFdToHandle {
                handle: self.handle,
                flags: SYNCOBJ_IMPORT_SYNC_FILE,
                fd,
                pad: 0,
            })
            .context("importing a fence")
    }

    /// Waits until it has signalled.
    pub fn wait(&self) -> Result<()> {
        self.device
            .ioctl(&mut SyncobjWait {
                handles: std::ptr::from_ref(&self.handle) as u64,
                timeout_nsec: deadline(),
                count_handles: 1,
                flags: SYNCOBJ_WAIT_ALL,
                ..Default::default()
            })
            .context("waiting for a sync object")
    }

    /// Waits until it has signalled, and tells the error that its fence has got, zero for none.
    pub fn outcome(&self) -> Result<i32> {
        self.wait()?;
        let file = self.export()?;
        let status = sync_file_status(file.as_raw_fd())?;
        ensure!(status != 0, "a fence has signalled and not signalled");
        Ok(status.min(0))
    }

    /// Waits until one of its points has signalled.
    pub fn wait_point(&self, value: u64) -> Result<()> {
        self.device
            .ioctl(&mut SyncobjTimelineWait {
                handles: std::ptr::from_ref(&self.handle) as u64,
                points: std::ptr::from_ref(&value) as u64,
                timeout_nsec: deadline(),
                count_handles: 1,
                flags: SYNCOBJ_WAIT_ALL,
                ..Default::default()
            })
            .context("waiting for a point of a sync object")
    }
}

impl Drop for Syncobj<'_> {
    fn drop(&mut self) {
        let _ = self.device.ioctl(&mut SyncobjDestroy {
            handle: self.handle,
            pad: 0,
        });
    }
}

/// What has become of a sync file's fences: 1 for done, 0 for not yet, negative for an error.
pub fn sync_file_status(fd: i32) -> Result<i32> {
    let mut info = std::mem::MaybeUninit::<SyncFileInfo>::zeroed();
    // SAFETY: The kernel writes a `SyncFileInfo`; there is no room for details of fences.
    let ret = unsafe {
        libc::ioctl(
            fd,
            SYNC_IOC_FILE_INFO as _,
            info.as_mut_ptr().cast::<libc::c_void>(),
        )
    };
    if ret < 0 {
        return Err(io::Error::last_os_error()).context("SYNC_IOC_FILE_INFO");
    }
    // SAFETY: All bytes are initialised, and any are a valid value.
    Ok(unsafe { info.assume_init() }.status)
}

/// When to give up waiting, by the clock that the kernel uses for that.
pub fn deadline() -> i64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is valid.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    (now.tv_sec + PATIENCE.as_secs() as i64) * 1_000_000_000 + now.tv_nsec
}
