// SPDX-License-Identifier: MIT OR Apache-2.0

//! The structures of the interface, as far as they are used (Linux, `include/uapi/drm/asahi_drm.h` and `drm.h`).

pub const PAGE: u64 = 16384;

pub const WRITEBACK: u32 = 1;
pub const VM_PRIVATE: u32 = 2;

pub const BIND_UNBIND: u32 = 1;
pub const BIND_READ: u32 = 2;
pub const BIND_WRITE: u32 = 4;
pub const BIND_SINGLE_PAGE: u32 = 8;

pub const CMD_RENDER: u16 = 0;
pub const CMD_COMPUTE: u16 = 1;

#[repr(C)]
#[derive(Clone, Copy)]
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

#[repr(C)]
pub struct GetParams {
    pub param_group: u32,
    pub pad: u32,
    pub pointer: u64,
    pub size: u64,
}

#[repr(C)]
pub struct GetTime {
    pub flags: u64,
    pub gpu_timestamp: u64,
}

#[repr(C)]
pub struct VmCreate {
    pub kernel_start: u64,
    pub kernel_end: u64,
    pub vm_id: u32,
    pub pad: u32,
}

#[repr(C)]
pub struct VmDestroy {
    pub vm_id: u32,
    pub pad: u32,
}

#[repr(C)]
pub struct VmBind {
    pub vm_id: u32,
    pub num_binds: u32,
    pub stride: u32,
    pub pad: u32,
    pub userptr: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct BindOp {
    pub flags: u32,
    pub handle: u32,
    pub offset: u64,
    pub range: u64,
    pub addr: u64,
}

#[repr(C)]
pub struct GemCreate {
    pub size: u64,
    pub flags: u32,
    pub vm_id: u32,
    pub handle: u32,
    pub pad: u32,
}

#[repr(C)]
pub struct GemMmapOffset {
    pub handle: u32,
    pub flags: u32,
    pub offset: u64,
}

#[repr(C)]
pub struct GemBindObject {
    pub op: u32,
    pub flags: u32,
    pub handle: u32,
    pub vm_id: u32,
    pub offset: u64,
    pub range: u64,
    pub object_handle: u32,
    pub pad: u32,
}

#[repr(C)]
pub struct QueueCreate {
    pub flags: u32,
    pub vm_id: u32,
    pub priority: u32,
    pub queue_id: u32,
    pub usc_exec_base: u64,
}

#[repr(C)]
pub struct QueueDestroy {
    pub queue_id: u32,
    pub pad: u32,
}

#[repr(C)]
pub struct Submit {
    pub syncs: u64,
    pub cmdbuf: u64,
    pub flags: u32,
    pub queue_id: u32,
    pub in_sync_count: u32,
    pub out_sync_count: u32,
    pub cmdbuf_size: u32,
    pub pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sync {
    pub sync_type: u32,
    pub handle: u32,
    pub timeline_value: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Timestamp {
    pub handle: u32,
    pub offset: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct CmdCompute {
    pub flags: u32,
    pub sampler_count: u32,
    pub cdm_ctrl_stream_base: u64,
    pub cdm_ctrl_stream_end: u64,
    pub sampler_heap: u64,
    pub helper_binary: u32,
    pub helper_cfg: u32,
    pub helper_data: u64,
    pub start: Timestamp,
    pub end: Timestamp,
}

#[repr(C)]
pub struct GemClose {
    pub handle: u32,
    pub pad: u32,
}

#[repr(C)]
pub struct PrimeHandle {
    pub handle: u32,
    pub flags: u32,
    pub fd: i32,
}

#[repr(C)]
pub struct GetCap {
    pub capability: u64,
    pub value: u64,
}

#[repr(C)]
pub struct SyncobjCreate {
    pub handle: u32,
    pub flags: u32,
}

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

const _: () = assert!(size_of::<Params>() == 592);
const _: () = assert!(size_of::<CmdCompute>() == 64);
const _: () = assert!(size_of::<Submit>() == 40);
const _: () = assert!(size_of::<BindOp>() == 32);
