// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's interface, as `include/uapi/drm/asahi_drm.h` and `include/uapi/drm/drm.h` define
//! it. It is written down here a second time, so that a change to the header by mistake shows. The
//! driver has no part in this: what it knows of the interface comes from the header itself.

use std::mem::size_of;

/// A structure of an ioctl.
pub trait Ioctl: Copy {
    /// Its name.
    const NAME: &'static str;
    /// Its number on DRM's file.
    const NUMBER: u8;
    /// Whether the kernel reads it (1), writes it (2) or both (3).
    const DIRECTION: u32;

    /// The request as ioctl(2) takes it.
    const REQUEST: u32 = (Self::DIRECTION << 30)
        | ((size_of::<Self>() as u32) << 16)
        | (b'd' as u32) << 8
        | Self::NUMBER as u32;
}

macro_rules! structs {
    ($($(#[$meta:meta])* $name:ident $(($number:literal, $direction:literal))? : $size:literal {
        $($field:ident: $ty:ty),* $(,)?
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default)]
        #[repr(C)]
        pub struct $name { $(pub $field: $ty),* }

        const _: () = assert!(size_of::<$name>() == $size);

        $(impl Ioctl for $name {
            const NAME: &'static str = stringify!($name);
            const NUMBER: u8 = $number;
            const DIRECTION: u32 = $direction;
        })?
    )*};
}

const W: u32 = 1;
const RW: u32 = 3;

structs! {
    GetParams(0x40, 1): 24 { param_group: u32, pad: u32, pointer: u64, size: u64 }
    GetTime(0x41, 3): 16 { flags: u64, gpu_timestamp: u64 }
    VmCreate(0x42, 3): 24 { kernel_start: u64, kernel_end: u64, vm_id: u32, pad: u32 }
    VmDestroy(0x43, 1): 8 { vm_id: u32, pad: u32 }
    VmBind(0x44, 1): 24 { vm_id: u32, num_binds: u32, stride: u32, pad: u32, userptr: u64 }
    GemCreate(0x45, 3): 24 { size: u64, flags: u32, vm_id: u32, handle: u32, pad: u32 }
    GemMmapOffset(0x46, 3): 16 { handle: u32, flags: u32, offset: u64 }
    GemBindObject(0x47, 3): 40 {
        op: u32, flags: u32, handle: u32, vm_id: u32, offset: u64, range: u64,
        object_handle: u32, pad: u32,
    }
    QueueCreate(0x48, 3): 24 {
        flags: u32, vm_id: u32, priority: u32, queue_id: u32, usc_exec_base: u64,
    }
    QueueDestroy(0x49, 1): 8 { queue_id: u32, pad: u32 }
    Submit(0x4a, 1): 40 {
        syncs: u64, cmdbuf: u64, flags: u32, queue_id: u32, in_sync_count: u32,
        out_sync_count: u32, cmdbuf_size: u32, pad: u32,
    }

    BindOp: 32 { flags: u32, handle: u32, offset: u64, range: u64, addr: u64 }
    Sync: 16 { sync_type: u32, handle: u32, timeline_value: u64 }
    CmdHeader: 8 { cmd_type: u16, size: u16, vdm_barrier: u16, cdm_barrier: u16 }
    Attachment: 24 { pointer: u64, size: u64, pad: u32, flags: u32 }
    Timestamp: 8 { handle: u32, offset: u32 }
    CmdCompute: 64 {
        flags: u32, sampler_count: u32, cdm_ctrl_stream_base: u64, cdm_ctrl_stream_end: u64,
        sampler_heap: u64, helper_binary: u32, helper_cfg: u32, helper_data: u64,
        ts_start: Timestamp, ts_end: Timestamp,
    }

    HelperProgram: 16 { binary: u32, cfg: u32, data: u64 }
    ZlsBuffer: 24 { base: u64, comp_base: u64, stride: u32, comp_stride: u32 }
    BgEot: 8 { usc: u32, rsrc_spec: u32 }
    Timestamps: 16 { start: Timestamp, end: Timestamp }
    CmdRender: 240 {
        flags: u32, isp_zls_pixels: u32, vdm_ctrl_stream_base: u64, vertex_helper: HelperProgram,
        fragment_helper: HelperProgram, isp_scissor_base: u64, isp_dbias_base: u64,
        isp_oclqry_base: u64, depth: ZlsBuffer, stencil: ZlsBuffer, zls_ctrl: u64,
        ppp_multisamplectl: u64, sampler_heap: u64, ppp_ctrl: u32, width_px: u16, height_px: u16,
        layers: u16, sampler_count: u16, utile_width_px: u8, utile_height_px: u8, samples: u8,
        sample_size_b: u8, isp_merge_upper_x: u32, isp_merge_upper_y: u32, bg: BgEot, eot: BgEot,
        partial_bg: BgEot, partial_eot: BgEot, isp_bgobjdepth: u32, isp_bgobjvals: u32,
        ts_vtx: Timestamps, ts_frag: Timestamps,
    }

    GemClose(0x09, 1): 8 { handle: u32, pad: u32 }
    PrimeHandleToFd(0x2d, 3): 12 { handle: u32, flags: u32, fd: i32 }
    PrimeFdToHandle(0x2e, 3): 12 { handle: u32, flags: u32, fd: i32 }
    SyncobjCreate(0xbf, 3): 8 { handle: u32, flags: u32 }
    SyncobjDestroy(0xc0, 3): 8 { handle: u32, pad: u32 }
    SyncobjHandleToFd(0xc1, 3): 16 { handle: u32, flags: u32, fd: i32, pad: u32 }
    SyncobjFdToHandle(0xc2, 3): 16 { handle: u32, flags: u32, fd: i32, pad: u32 }
    SyncobjWait(0xc3, 3): 40 {
        handles: u64, timeout_nsec: i64, count_handles: u32, flags: u32, first_signaled: u32,
        pad: u32, deadline_nsec: u64,
    }
    SyncobjReset(0xc4, 3): 16 { handles: u64, count_handles: u32, pad: u32 }
    SyncobjSignal(0xc5, 3): 16 { handles: u64, count_handles: u32, pad: u32 }
    SyncobjTimelineWait(0xca, 3): 48 {
        handles: u64, points: u64, timeout_nsec: i64, count_handles: u32, flags: u32,
        first_signaled: u32, pad: u32, deadline_nsec: u64,
    }
    SyncobjQuery(0xcb, 3): 24 { handles: u64, points: u64, count_handles: u32, flags: u32 }
    SyncobjTimelineSignal(0xcd, 3): 24 {
        handles: u64, points: u64, count_handles: u32, flags: u32,
    }
    Version(0x00, 3): 64 {
        major: i32, minor: i32, patchlevel: i32, pad: u32, name_len: u64, name: u64,
        date_len: u64, date: u64, desc_len: u64, desc: u64,
    }
}

const _: () = assert!(Submit::DIRECTION == W && GetTime::DIRECTION == RW);

/// The parameters of the GPU.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Params {
    pub features: u64,
    pub gpu_generation: u32,
    pub gpu_variant: u32,
    pub gpu_revision: u32,
    pub chip_id: u32,
    pub num_dies: u32,
    pub num_clusters_total: u32,
    pub num_cores_per_cluster: u32,
    pub max_frequency_khz: u32,
    pub core_masks: [u64; 64],
    pub vm_start: u64,
    pub vm_end: u64,
    pub vm_kernel_min_size: u64,
    pub max_commands_per_submission: u32,
    pub max_attachments: u32,
    pub command_timestamp_frequency_hz: u64,
}

const _: () = assert!(size_of::<Params>() == 592);

pub const GEM_WRITEBACK: u32 = 1 << 0;
pub const GEM_VM_PRIVATE: u32 = 1 << 1;

pub const BIND_UNBIND: u32 = 1 << 0;
pub const BIND_READ: u32 = 1 << 1;
pub const BIND_WRITE: u32 = 1 << 2;
pub const BIND_SINGLE_PAGE: u32 = 1 << 3;

pub const OBJECT_BIND: u32 = 0;
pub const OBJECT_UNBIND: u32 = 1;
pub const OBJECT_TIMESTAMPS: u32 = 1 << 0;

pub const CMD_RENDER: u16 = 0;
pub const CMD_COMPUTE: u16 = 1;
pub const SET_VERTEX_ATTACHMENTS: u16 = 2;
pub const SET_FRAGMENT_ATTACHMENTS: u16 = 3;
pub const SET_COMPUTE_ATTACHMENTS: u16 = 4;
pub const BARRIER_NONE: u16 = 0xffff;

pub const RENDER_VERTEX_SCRATCH: u32 = 1 << 0;
pub const RENDER_PROCESS_EMPTY_TILES: u32 = 1 << 1;
pub const RENDER_NO_VERTEX_CLUSTERING: u32 = 1 << 2;
pub const RENDER_DBIAS_IS_INT: u32 = 1 << 18;

pub const FEATURE_SOFT_FAULTS: u64 = 1 << 0;

pub const PRIORITY_LOW: u32 = 0;
pub const PRIORITY_MEDIUM: u32 = 1;
pub const PRIORITY_HIGH: u32 = 2;
pub const PRIORITY_REALTIME: u32 = 3;

pub const SYNC_BINARY: u32 = 0;
pub const SYNC_TIMELINE: u32 = 1;

/// What is known about a sync file (include/uapi/linux/sync_file.h).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SyncFileInfo {
    pub name: [u8; 32],
    pub status: i32,
    pub flags: u32,
    pub num_fences: u32,
    pub pad: u32,
    pub sync_fence_info: u64,
}

pub const SYNC_IOC_FILE_INFO: u32 =
    (RW << 30) | ((size_of::<SyncFileInfo>() as u32) << 16) | (b'>' as u32) << 8 | 4;

pub const SYNCOBJ_EXPORT_SYNC_FILE: u32 = 1 << 0;
pub const SYNCOBJ_IMPORT_SYNC_FILE: u32 = 1 << 0;
pub const SYNCOBJ_CREATE_SIGNALED: u32 = 1 << 0;
pub const SYNCOBJ_WAIT_ALL: u32 = 1 << 0;
pub const SYNCOBJ_WAIT_FOR_SUBMIT: u32 = 1 << 1;
pub const SYNCOBJ_WAIT_AVAILABLE: u32 = 1 << 2;
