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

    /// Takes notice of a descriptor of the node that was just opened.
    pub fn opened(&self, fd: c_int, flags: c_int) {
        // SAFETY: The name is a C string, and both descriptors are ours.
        unsafe {
            let file = libc::memfd_create(NAME.as_ptr(), libc::MFD_CLOEXEC);
            if file < 0 {
                return;
            }
            libc::syscall(libc::SYS_dup3, file, fd, flags & libc::O_CLOEXEC);
            libc::syscall(libc::SYS_close, file);
        }
        if let Some(identity) = inode(fd) {
            self.files().insert(identity, Arc::default());
        }
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

/// Whether a path is that of a render node that there is not.
///
/// # Safety
///
/// `path` is null or a C string.
pub unsafe fn is_ours(path: *const c_char) -> bool {
    if path.is_null() {
        return false;
    }
    // SAFETY: By this function's contract.
    let name = unsafe { CStr::from_ptr(path) };
    if !name.to_bytes().starts_with(PATH) {
        return false;
    }
    // SAFETY: As above. libc's function is not asked, because others replace it.
    unsafe { libc::syscall(libc::SYS_faccessat, libc::AT_FDCWD, path, libc::F_OK) != 0 }
}
