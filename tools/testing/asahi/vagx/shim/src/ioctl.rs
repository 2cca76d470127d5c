// SPDX-License-Identifier: MIT OR Apache-2.0

//! The table of ioctls, and how their arguments are copied, as `drivers/gpu/drm/drm_ioctl.c` does it.

use crate::file::OpenFile;
use crate::pod::Pod;
use crate::uapi::*;
use crate::{file, user};
use libc::c_int;

/// A request, taken apart.
struct Request {
    /// Bytes of the client's structure.
    size: usize,
    /// Whether the client's structure is read, and written.
    reads: bool,
    writes: bool,
    argument: u64,
}

/// Does a request whose structure is `T`. The client's may be shorter, as an older one has it: what is lacking is zero.
/// It may be longer: what there is more is not looked at.
fn call<T: Pod + Ioctl>(
    request: &Request,
    handler: impl FnOnce(&mut T) -> Result<(), c_int>,
) -> Result<(), c_int> {
    let reads = request.reads && T::DIRECTION & 1 != 0;
    let writes = request.writes && T::DIRECTION & 2 != 0;
    let mut bytes = vec![0; request.size.max(size_of::<T>())];
    if reads {
        user::copy_in(request.argument, &mut bytes[..request.size])?;
    }
    let (known, _) = bytes.split_at_mut(size_of::<T>());
    let mut value = T::zero();
    value.bytes_mut().copy_from_slice(known);
    let result = handler(&mut value);
    known.copy_from_slice(value.bytes());
    if writes {
        user::copy_out(request.argument, &bytes[..request.size])?;
    }
    result
}

macro_rules! table {
    ($file:ident, $number:ident, $request:ident; $($type:ident => $($handler:ident)::+,)*) => {
        match $number {
            $($type::NUMBER => call::<$type>(&$request, |args| $($handler)::+($file, args)),)*
            // Everything else is for other kinds of nodes, or there is no such thing.
            _ => Err(libc::EINVAL),
        }
    };
}

/// Answers a request to an open file of the node.
pub fn drm(file: &OpenFile, request: u32, argument: u64) -> Result<(), c_int> {
    let number = request as u8;
    let request = Request {
        size: (request >> 16 & 0x3fff) as usize,
        reads: request >> 30 & 1 != 0,
        writes: request >> 31 & 1 != 0,
        argument,
    };
    table! { file, number, request;
        Version => file::core::version,
        GetCap => file::core::get_cap,
        GemClose => file::objects::gem_close,
        PrimeHandleToFd => file::objects::prime_export,
        PrimeFdToHandle => file::objects::prime_import,
        SyncobjCreate => file::syncs::create,
        SyncobjDestroy => file::syncs::destroy,
        SyncobjHandle => file::syncs::export,
        SyncobjImport => file::syncs::import,
        SyncobjWait => file::syncs::wait,
        SyncobjReset => file::syncs::reset,
        SyncobjSignal => file::syncs::signal,
        SyncobjTimelineWait => file::syncs::timeline_wait,
        SyncobjQuery => file::syncs::query,
        SyncobjTransfer => file::syncs::transfer,
        SyncobjTimelineSignal => file::syncs::timeline_signal,
        SyncobjEventfd => file::syncs::eventfd,
        GetParams => file::core::get_params,
        GetTime => file::core::get_time,
        VmCreate => file::objects::vm_create,
        VmDestroy => file::objects::vm_destroy,
        VmBind => file::objects::vm_bind,
        GemCreate => file::objects::gem_create,
        GemMmapOffset => file::objects::gem_mmap_offset,
        GemBindObject => file::objects::gem_bind_object,
        QueueCreate => file::submit::queue_create,
        QueueDestroy => file::submit::queue_destroy,
        Submit => file::submit::submit,
    }
}
