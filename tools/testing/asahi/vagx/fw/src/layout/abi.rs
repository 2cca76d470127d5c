// SPDX-License-Identifier: MIT OR Apache-2.0

//! The known firmwares: which layouts and which values belong to a chip and a firmware version.

use super::buffer::{BlockControl, BufferInfo, BufferStats, GrowTvbAck, InitBuffer, Scene};
use super::channels::{ChannelState, DestroyContext, DeviceControl, DeviceControlOps, FwCtlMsg};
use super::channels::{FwCtlState, RecoverChannel, RunWorkQueue};
use super::compute::{
    Attachment, EncoderParams, FinalizeCompute, JobMeta, JobParameters1, JobParameters2,
    RunCompute, StartCompute, Timestamp, TimestampPointers,
};
use super::initdata::{
    ChannelRing, FaultReport, FwStatus, Globals, HwDataA, HwDataB, InitData, IoMapping,
    PendingStamp, RuntimePointers, UatLevelInfo,
};
use super::queue::{Barrier, GpuContextData, Notifier, NotifierList, QueueInfo, RingState};
use super::render::{
    FinalizeFragment, FinalizeVertex, FragmentParameters1, FragmentParameters2,
    FragmentParameters3, RunFragment, RunVertex, StartFragment, StartVertex, TilingParameters,
    VertexParameters1, VertexParameters2,
};

/// A register range that the firmware of a chip needs, by its place in the table.
///
/// m1n1 `agx/initdata.py`, `build_iomappings`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IoRange {
    pub index: u32,
    pub name: &'static str,
    pub phys: u64,
    pub size: u32,
    pub write: bool,
}

/// What is fixed about a chip.
pub(crate) struct Chip {
    pub id: u32,
    pub name: &'static str,
    /// Bits of a physical address.
    pub oas: u32,
    /// Cores and the two numbers that the firmware knows the GPU by.
    pub num_cores: u32,
    pub gpu_core: u32,
    /// What the tiler is set up with; the lowest bit says that one cluster does it all.
    pub tiling_control: u64,
    pub io: &'static [IoRange],
    /// Ticks of the timestamp counter in a second.
    pub ticks_per_second: u64,
}

/// What is fixed about a firmware interface on a GPU generation.
pub(crate) struct Abi {
    pub version: [u32; 3],
    pub ver_info: [u16; 4],
    pub initdata: InitData,
    pub level: UatLevelInfo,
    pub runtime: RuntimePointers,
    pub channel: ChannelRing,
    pub hwdata_a: HwDataA,
    pub hwdata_b: HwDataB,
    pub io_mapping: IoMapping,
    pub globals: Globals,
    pub pending_stamp: PendingStamp,
    /// Shift of the event slot in a pending stamp.
    pub pending_slot_shift: u32,
    pub fw_status: FwStatus,
    pub fault_report: FaultReport,
    pub channel_state: ChannelState,
    pub fwctl_state: FwCtlState,
    pub run_work_queue: RunWorkQueue,
    pub device_control: DeviceControl,
    pub device_control_ops: DeviceControlOps,
    pub destroy_context: DestroyContext,
    pub recover_channel: RecoverChannel,
    pub fwctl: FwCtlMsg,
    pub stats_size: u32,
    pub queue_info: QueueInfo,
    pub ring_state: RingState,
    pub notifier_list: NotifierList,
    pub notifier: Notifier,
    pub gpu_context: GpuContextData,
    pub barrier: Barrier,
    pub run_compute: RunCompute,
    pub job_params1: JobParameters1,
    pub job_params2: JobParameters2,
    pub encoder_params: EncoderParams,
    pub job_meta: JobMeta,
    pub timestamp_pointers: TimestampPointers,
    pub start_compute: StartCompute,
    pub attachment: Attachment,
    pub timestamp: Timestamp,
    pub finalize_compute: FinalizeCompute,
    pub run_vertex: RunVertex,
    pub vertex_params1: VertexParameters1,
    pub vertex_params2: VertexParameters2,
    pub tiling_params: TilingParameters,
    pub start_vertex: StartVertex,
    pub finalize_vertex: FinalizeVertex,
    pub run_fragment: RunFragment,
    pub fragment_params1: FragmentParameters1,
    pub fragment_params2: FragmentParameters2,
    pub fragment_params3: FragmentParameters3,
    pub start_fragment: StartFragment,
    pub finalize_fragment: FinalizeFragment,
    pub buffer_info: BufferInfo,
    pub block_control: BlockControl,
    pub buffer_stats: BufferStats,
    pub scene: Scene,
    pub init_buffer: InitBuffer,
    pub grow_tvb_ack: GrowTvbAck,
    /// Least bytes behind the statistics pointers, in the order vertex, fragment, compute.
    pub stats: [u64; 3],
}

static G13_V13_5: Abi = Abi {
    version: [13, 5, 0],
    ver_info: [0x6ba0, 0x1f28, 0x601, 0xb0],
    initdata: InitData::V13_5,
    level: UatLevelInfo::V13_5,
    runtime: RuntimePointers::V13_5,
    channel: ChannelRing::V13_5,
    hwdata_a: HwDataA::V13_5,
    hwdata_b: HwDataB::V13_5,
    io_mapping: IoMapping::V13_5,
    globals: Globals::V13_5,
    pending_stamp: PendingStamp::V13_5,
    pending_slot_shift: 4,
    fw_status: FwStatus::V13_5,
    fault_report: FaultReport::V13_5,
    channel_state: ChannelState::V13_5,
    fwctl_state: FwCtlState::V13_5,
    run_work_queue: RunWorkQueue::V13_5,
    device_control: DeviceControl::V13_5,
    device_control_ops: DeviceControlOps::V13_3,
    destroy_context: DestroyContext::V13_5,
    recover_channel: RecoverChannel::V13_5,
    fwctl: FwCtlMsg::V13_5,
    stats_size: 0x40,
    queue_info: QueueInfo::V13_5,
    ring_state: RingState::V13_5,
    notifier_list: NotifierList::V13_5,
    notifier: Notifier::V13_5,
    gpu_context: GpuContextData::V13_5,
    barrier: Barrier::V13_5,
    run_compute: RunCompute::G13_V13_5,
    job_params1: JobParameters1::G13_V13_5,
    job_params2: JobParameters2::G13_V13_5,
    encoder_params: EncoderParams::G13_V13_5,
    job_meta: JobMeta::G13_V13_5,
    timestamp_pointers: TimestampPointers::V13_5,
    start_compute: StartCompute::G13_V13_5,
    attachment: Attachment::V13_5,
    timestamp: Timestamp::V13_5,
    finalize_compute: FinalizeCompute::G13_V13_5,
    run_vertex: RunVertex::G13_V13_5,
    vertex_params1: VertexParameters1::G13_V13_5,
    vertex_params2: VertexParameters2::G13_V13_5,
    tiling_params: TilingParameters::G13_V13_5,
    start_vertex: StartVertex::G13_V13_5,
    finalize_vertex: FinalizeVertex::G13_V13_5,
    run_fragment: RunFragment::G13_V13_5,
    fragment_params1: FragmentParameters1::G13_V13_5,
    fragment_params2: FragmentParameters2::G13_V13_5,
    fragment_params3: FragmentParameters3::G13_V13_5,
    start_fragment: StartFragment::G13_V13_5,
    finalize_fragment: FinalizeFragment::G13_V13_5,
    buffer_info: BufferInfo::G13_V13_5,
    block_control: BlockControl::V13_5,
    buffer_stats: BufferStats::V13_5,
    scene: Scene::G13_V13_5,
    init_buffer: InitBuffer::V13_5,
    grow_tvb_ack: GrowTvbAck::V13_5,
    stats: [0x690, 0x748, 0x980],
};

const fn io(index: u32, name: &'static str, phys: u64, size: u32, write: bool) -> IoRange {
    IoRange {
        index,
        name,
        phys,
        size,
        write,
    }
}

static T8103_IO: [IoRange; 10] = [
    io(0, "Fender", 0x2_04d0_0000, 0x1c000, true),
    io(1, "AICTimer", 0x2_0e10_0000, 0x4000, false),
    io(2, "AICSWInt", 0x2_3b10_4000, 0x4000, true),
    io(3, "RGX", 0x2_0400_0000, 0x20000, true),
    io(
        7,
        "AnalogTempSensorControllerRegs",
        0x2_3b2e_8000,
        0x1000,
        false,
    ),
    io(8, "PMPDoorbell", 0x2_3bc0_0000, 0x1000, true),
    io(9, "MetrologySensorRegs", 0x2_04d8_0000, 0x5000, true),
    io(10, "GMGIFAFRegs", 0x2_04d6_1000, 0x1000, true),
    io(11, "MCache registers", 0x2_0000_0000, 0xd6400, true),
    io(13, "PMGRScratch", 0x2_3b73_8000, 0x1000, true),
];

static T8103: Chip = Chip {
    id: 0x8103,
    name: "t8103",
    oas: 40,
    num_cores: 8,
    gpu_core: 11,
    tiling_control: 0xa041,
    io: &T8103_IO,
    ticks_per_second: 24_000_000,
};

/// Chips and the firmware interfaces that exist for them.
static KNOWN: [(&Chip, &Abi); 1] = [(&T8103, &G13_V13_5)];

/// The layouts and values of a firmware version on a chip.
pub(crate) fn find(chip: u32, version: [u32; 3]) -> Option<(&'static Chip, &'static Abi)> {
    KNOWN
        .iter()
        .find(|(c, a)| c.id == chip && a.version == version)
        .copied()
}

/// Every known pair, for messages about unknown ones.
pub(crate) fn known() -> impl Iterator<Item = String> {
    KNOWN
        .iter()
        .map(|(c, a)| format!("{} {}.{}", c.name, a.version[0], a.version[1]))
}
