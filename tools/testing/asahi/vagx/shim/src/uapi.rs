// SPDX-License-Identifier: MIT OR Apache-2.0

//! The structures of the interface, as far as they are used (Linux, `include/uapi/drm/asahi_drm.h` and `drm.h`).

pub use asahi_uapi::{
    Attachment, BARRIER_NONE, BIND_READ, BIND_SINGLE_PAGE, BIND_UNBIND, BIND_WRITE, BgEot, BindOp,
    CMD_COMPUTE, CMD_RENDER, CmdCompute, CmdHeader, CmdRender, GEM_VM_PRIVATE as VM_PRIVATE,
    GEM_WRITEBACK as WRITEBACK, GemBindObject, GemClose, GemCreate, GemMmapOffset, GetParams,
    GetTime, Params, PrimeHandleToFd as PrimeHandle, QueueCreate, QueueDestroy,
    RENDER_DBIAS_IS_INT, RENDER_NO_VERTEX_CLUSTERING, RENDER_PROCESS_EMPTY_TILES,
    RENDER_VERTEX_SCRATCH, SET_COMPUTE_ATTACHMENTS, SET_FRAGMENT_ATTACHMENTS,
    SET_VERTEX_ATTACHMENTS, Submit, Sync, SyncobjCreate, Timestamp, VmBind, VmCreate, VmDestroy,
};

pub const PAGE: u64 = 16384;

#[repr(C)]
pub struct GetCap {
    pub capability: u64,
    pub value: u64,
}

// What follows is as clients of any age have it: without the fields that came later.

#[repr(C)]
pub struct SyncobjHandle {
    pub handle: u32,
    pub flags: u32,
    pub fd: i32,
    pub pad: u32,
}

#[repr(C)]
pub struct SyncobjWait {
    pub handles: u64,
    pub timeout_nsec: i64,
    pub count_handles: u32,
    pub flags: u32,
    pub first_signaled: u32,
    pub pad: u32,
}

#[repr(C)]
pub struct SyncobjTimelineWait {
    pub handles: u64,
    pub points: u64,
    pub timeout_nsec: i64,
    pub count_handles: u32,
    pub flags: u32,
    pub first_signaled: u32,
    pub pad: u32,
}

#[repr(C)]
pub struct SyncobjArray {
    pub handles: u64,
    pub count_handles: u32,
    pub pad: u32,
}

#[repr(C)]
pub struct SyncobjTimelineArray {
    pub handles: u64,
    pub points: u64,
    pub count_handles: u32,
    pub flags: u32,
}

#[repr(C)]
pub struct SyncobjTransfer {
    pub src_handle: u32,
    pub dst_handle: u32,
    pub src_point: u64,
    pub dst_point: u64,
    pub flags: u32,
    pub pad: u32,
}
