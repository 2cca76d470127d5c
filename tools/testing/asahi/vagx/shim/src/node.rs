// SPDX-License-Identifier: MIT OR Apache-2.0

//! Open files of the render node.
//!
//! The library behind this one makes the node appear and opens something else in its place. That is replaced by an
//! anonymous file of this process's, whose inode tells what was opened once from what was opened another time, however
//! often its descriptor is duplicated or passed on.

use crate::file::OpenFile;
use libc::{c_char, c_int};
use std::collections::HashMap;
use std::ffi::CStr;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const NAME: &CStr = c"agx-node";
const LINK: &str = "/memfd:agx-node";
const PATH: &[u8] = b"/dev/dri/renderD";

/// What tells a file from others: its device and inode.
pub type Identity = (u64, u64);

/// Asks the kernel about a descriptor. libc's function is not asked, because others replace it.
pub fn stat(fd: c_int) -> Option<libc::stat> {
    // SAFETY: All zeroes is a valid `stat`.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is valid for writing, and on all supported hosts libc's is the kernel's.
    let result = unsafe { libc::syscall(libc::SYS_fstat, fd, &mut stat) };
    (result == 0).then_some(stat)
}

pub fn inode(fd: c_int) -> Option<Identity> {
    stat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Open files by their identity.
#[derive(Default)]
pub struct Nodes(Mutex<HashMap<Identity, Arc<OpenFile>>>);

impl Nodes {
    fn files(&self) -> MutexGuard<'_, HashMap<Identity, Arc<OpenFile>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open file of a descriptor.
    pub fn get(&self, fd: c_int) -> Option<Arc<OpenFile>> {
        let identity = inode(fd)?;
        if let Some(file) = self.files().get(&identity) {
            return Some(file.clone());
        }
        // One of a parent or of another process: what was in it is not here, but it is the node all the same.
        let link = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
        link.to_string_lossy()
            .starts_with(LINK)
            .then(|| self.files().entry(identity).or_default().clone())
    }

    /// Opens the node without the library behind this one.
    pub fn open(&self, flags: c_int) -> Option<c_int> {
        let cloexec = match flags & libc::O_CLOEXEC {
            0 => 0,
            _ => libc::MFD_CLOEXEC,
        };
        // SAFETY: The name is a C string.
        let fd = unsafe { libc::memfd_create(NAME.as_ptr(), cloexec) };
        self.files().insert(inode(fd)?, Arc::default());
        Some(fd)
    }

    /// Puts a file of ours in the place of what was opened for the node.
    pub fn opened(&self, fd: c_int, flags: c_int) -> c_int {
        if let Some(file) = self.open(libc::O_CLOEXEC) {
            // SAFETY: Both descriptors are ours.
            unsafe {
                libc::syscall(libc::SYS_dup3, file, fd, flags & libc::O_CLOEXEC);
                libc::syscall(libc::SYS_close, file);
            }
        }
        fd
    }

    /// Forgets the file if this was its last descriptor. That is looked for, because descriptors come by many ways.
    pub fn closed(&self, identity: Identity) {
        let open = |entry: fs::DirEntry| {
            let fd = entry.file_name().to_string_lossy().parse().ok()?;
            inode(fd)
        };
        let mut all = fs::read_dir("/proc/self/fd")
            .into_iter()
            .flatten()
            .flatten();
        if !all.any(|entry| open(entry) == Some(identity)) {
            let file = self.files().remove(&identity);
            // Not under the lock: objects go with it.
            drop(file);
        }
    }

    /// Whether the file of this identity is the node.
    pub fn has(&self, identity: Identity) -> bool {
        self.files().contains_key(&identity)
    }
}

/// Which render node it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The first, which is there even if no other library makes one appear.
    First,
    Other,
}

/// Which render node a path means, if there is none of that name.
///
/// # Safety
///
/// `path` is null or a C string.
pub unsafe fn kind(path: *const c_char) -> Option<Kind> {
    if path.is_null() {
        return None;
    }
    // SAFETY: By this function's contract.
    let name = unsafe { CStr::from_ptr(path) };
    let number = name.to_bytes().strip_prefix(PATH)?;
    // SAFETY: As above. libc's function is not asked, because others replace it.
    let there = unsafe { libc::syscall(libc::SYS_faccessat, libc::AT_FDCWD, path, libc::F_OK) };
    match (there, number) {
        (0, _) => None,
        (_, b"128") => Some(Kind::First),
        _ => Some(Kind::Other),
    }
}
