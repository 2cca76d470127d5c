// SPDX-License-Identifier: MIT OR Apache-2.0

//! The walk through the initialisation data.
//!
//! Where m1n1 (`agx/initdata.py`, `build_initdata`) gives a value and the firmware depends on it, a different value
//! is a complaint. A pointer that the firmware could not use ends the walk of what is behind it, and the boot.

use vagx_uat::canonical;

use crate::channel::{Indices, RingMaker, RxRing, TxRing};
use crate::config::FwConfig;
use crate::hwdata;
use crate::layout::abi::Chip;
use crate::layout::channels::{
    EVENT_SIZE, FWLOG_PAYLOAD_SIZE, FWLOG_RINGS, FWLOG_SIZE, KTRACE_ENTRIES, KTRACE_SIZE,
    RING_ENTRIES,
};
use crate::layout::{Abi, Field, Shape};
use crate::log::Outgoing;
use crate::mem::{FwMem, Place, Record, Refused, Result, Sharing};
use crate::queue::Pipe;

/// Pages of the log's dummy ring and other buffers of which only the size is known.
const UNK_BUF_SIZE: u64 = 0x4000;
const UNK_1B8_SIZE: u64 = 0x1000;
const UNK_1C0_SIZE: u64 = 0x300;
const UNK_1C8_SIZE: u64 = 0x1000;
const TIMESTAMPS_SIZE: u64 = 0xc0;
/// 127 slots of 0x10 bytes.
const BUFFER_MGR_CTL_SIZE: u64 = 0x7f0;

/// What the firmware keeps of the initialisation data.
pub(crate) struct Booted {
    pub globals: u64,
    pub fw_status: u64,
    pub fault_report: u64,
    /// Statistics of the vertex, fragment and compute pipes.
    pub stats: [u64; 3],
    pub hw: hwdata::HwData,
}

/// The rings that the driver writes.
pub(crate) struct Incoming {
    /// By channel number.
    pub pipes: Vec<TxRing>,
    pub device_control: TxRing,
    pub fwctl: TxRing,
}

/// Everything that a good walk gives.
pub(crate) struct Walked {
    pub booted: Booted,
    pub incoming: Incoming,
    pub outgoing: Outgoing,
}

/// Walks through the initialisation data at `va`.
pub(crate) fn walk(mem: &FwMem, cfg: &FwConfig, va: u64) -> Result<Walked> {
    let (chip, abi) = (cfg.chip, cfg.abi);
    check_tables(mem, cfg);
    let place = Place {
        structure: "INIT message",
        field: "initdata",
        offset: 0,
        address: 0,
    };
    // The message has room for 44 bits.
    let init = mem.record(place, abi.initdata.shape, canonical(va))?;
    let l = &abi.initdata;
    check_version(abi, &init);
    init.pointer_ro(l.unk_buf, UNK_BUF_SIZE)?;
    check_levels(chip, abi, &init);
    let why = "the firmware refuses to allocate memory by itself";
    let _ = init.expect(l.host_mapped_fw_allocations, 1, why);

    let runtime = init.follow(l.runtime_pointers, abi.runtime.shape)?;
    init.pointer_rw(
        l.runtime_pointers,
        abi.runtime.shape.size.into(),
        Sharing::Private,
    )?;
    // Both sides change the globals while running, yet drivers that work on hardware have them in cached memory.
    init.pointer_rw(l.globals, abi.globals.shape.size.into(), Sharing::Private)?;
    let globals = init.follow(l.globals, abi.globals.shape)?;
    init.pointer_rw(
        l.fw_status,
        abi.fw_status.shape.size.into(),
        Sharing::Coherent,
    )?;
    let fw_status = init.follow(l.fw_status, abi.fw_status.shape)?;

    let track = "initialisation";
    init.show(track, &abi.initdata);
    runtime.show(track, &abi.runtime);
    fw_status.show(track, &abi.fw_status);
    let hw = hwdata::check(mem, cfg, &runtime, &globals)?;
    check_fw_status(abi, &fw_status);
    let (stats, fault_report) = check_runtime(mem, abi, &runtime)?;
    let incoming = incoming(mem, abi, &runtime, &fw_status)?;
    let outgoing = outgoing(mem, abi, &runtime)?;
    Ok(Walked {
        booted: Booted {
            globals: globals.base,
            fw_status: fw_status.base,
            fault_report,
            stats,
            hw,
        },
        incoming,
        outgoing,
    })
}

/// The firmware's own part of the page tables must be as the bootloader made it.
pub(crate) fn check_tables(mem: &FwMem, cfg: &FwConfig) {
    for (pa, want) in &cfg.left.table_entries {
        let now = mem.uat().mem().read_u64(*pa);
        if now != Ok(*want) {
            let place = Place {
                structure: "page tables",
                field: "firmware's entry",
                offset: 0,
                address: *pa,
            };
            let why = format!("the bootloader left {want:#x} here, for the firmware itself");
            mem.complain(place, now.unwrap_or(0), why);
        }
    }
}

fn check_version(abi: &Abi, init: &Record) {
    let want = abi
        .ver_info
        .iter()
        .rev()
        .fold(0u64, |all, part| all << 16 | u64::from(*part));
    let why = "the version of the structures does not fit the firmware";
    let _ = init.expect(abi.initdata.ver_info, want, why);
}

/// Levels of the page tables, top first: shift and number of entries.
const LEVELS: [(u64, u64); 3] = [(36, 8), (25, 2048), (14, 2048)];

fn check_levels(chip: &Chip, abi: &Abi, init: &Record) {
    let l = &abi.initdata;
    let why = "the only page format the hardware has";
    let _ = init.expect(l.uat_page_size, 0x4000, why);
    let _ = init.expect(l.uat_page_bits, 14, why);
    let _ = init.expect(l.uat_num_levels, LEVELS.len() as u64, why);
    let phys_mask = (1u64 << chip.oas) - 0x4000;
    let names = [
        "InitData.uat_level_info[0]",
        "InitData.uat_level_info[1]",
        "InitData.uat_level_info[2]",
    ];
    for ((index, name), (shift, entries)) in (0..).zip(names).zip(LEVELS) {
        let f = &abi.level;
        let at = Field {
            name: "uat_level_info",
            offset: l.uat_level_info.offset + index * f.shape.size,
            size: f.shape.size,
        };
        let shape = Shape {
            name,
            size: f.shape.size,
        };
        let level = init.embedded(at, shape);
        for (field, want) in [
            (f.unk_8, 8),
            (f.page_bits, 14),
            (f.page_bits_2, 14),
            (f.index_shift, shift),
            (f.num_entries, entries),
            (f.table_size, 0x4000),
            (f.unk_1, 1),
            (f.phys_mask, phys_mask),
            (f.index_mask, (entries - 1) << shift),
        ] {
            let _ = level.expect(field, want, "as the hardware translates addresses");
        }
    }
}

fn check_fw_status(abi: &Abi, status: &Record) {
    let l = &abi.fw_status;
    for field in [l.halt_count, l.halted, l.resume] {
        let _ = status.expect(field, 0, "nothing has been halted yet");
    }
}

/// Checks the pointers that are neither channels nor hardware data.
fn check_runtime(mem: &FwMem, abi: &Abi, runtime: &Record) -> Result<([u64; 3], u64)> {
    let l = &abi.runtime;
    let mut stats = [0; 3];
    let fields = [l.stats_vtx, l.stats_frag, l.stats_comp];
    for ((to, field), size) in stats.iter_mut().zip(fields).zip(abi.stats) {
        *to = runtime.pointer_rw(field, size, Sharing::Private)?;
    }
    let report_size = abi.fault_report.shape.size.into();
    let report = runtime.pointer_rw(l.fault_info, report_size, Sharing::Private)?;
    runtime.pointer_rw(l.timestamps, TIMESTAMPS_SIZE, Sharing::Private)?;
    runtime.pointer_rw(l.unkptr_1b8, UNK_1B8_SIZE, Sharing::Private)?;
    runtime.pointer_rw(l.unkptr_1c0, UNK_1C0_SIZE, Sharing::Private)?;
    runtime.pointer_rw(l.unkptr_1c8, UNK_1C8_SIZE, Sharing::Private)?;
    let log_size = u64::from(FWLOG_RINGS * RING_ENTRIES * FWLOG_PAYLOAD_SIZE);
    runtime.pointer_rw(l.fwlog_buf, log_size, Sharing::Coherent)?;
    let ctl = runtime.pointer_rw(l.buffer_mgr_ctl, BUFFER_MGR_CTL_SIZE, Sharing::Coherent)?;
    hwdata::check_gpu_alias(mem, runtime, l.buffer_mgr_ctl_gpu, ctl);
    let _ = runtime.expect(l.unk_6b38, 0xff, "its value in every known set-up");
    Ok((stats, report))
}

/// The pair of pointers with this number.
fn pair(abi: &Abi, runtime: &Record, index: u32, name: &'static str) -> Record {
    let size = abi.channel.shape.size;
    let at = Field {
        name: "channels",
        offset: abi.runtime.channels.offset + index * size,
        size,
    };
    runtime.embedded(at, Shape { name, size })
}

/// Pairs after the twelve pipes.
const DEVICE_CONTROL: u32 = 12;
const EVENT: u32 = 13;
const FWLOG: u32 = 14;
const KTRACE: u32 = 15;
const STATS: u32 = 16;

const PIPE_PAIRS: [&str; 12] = [
    "RuntimePointers.vtx[0]",
    "RuntimePointers.frag[0]",
    "RuntimePointers.comp[0]",
    "RuntimePointers.vtx[1]",
    "RuntimePointers.frag[1]",
    "RuntimePointers.comp[1]",
    "RuntimePointers.vtx[2]",
    "RuntimePointers.frag[2]",
    "RuntimePointers.comp[2]",
    "RuntimePointers.vtx[3]",
    "RuntimePointers.frag[3]",
    "RuntimePointers.comp[3]",
];

fn maker<'a>(mem: &'a FwMem, abi: &'a Abi) -> RingMaker<'a> {
    RingMaker {
        mem,
        layout: &abi.channel,
        indices: Indices {
            shape: abi.channel_state.shape,
            read: abi.channel_state.read_ptr,
            write: abi.channel_state.write_ptr,
        },
    }
}

fn incoming(mem: &FwMem, abi: &Abi, runtime: &Record, fw_status: &Record) -> Result<Incoming> {
    let maker = maker(mem, abi);
    let mut pipes = Vec::new();
    for (index, name) in (0..).zip(PIPE_PAIRS) {
        let pair = pair(abi, runtime, index, name);
        // Three pairs for each priority: the order of the channel numbers but for their gaps.
        let pipe = Pipe::from_type(index % 3).ok_or(Refused)?;
        let name = format!("channel {} {}", pipe.name(), index / 3);
        pipes.push(maker.tx(&pair, name, abi.run_work_queue.shape, RING_ENTRIES)?);
    }
    let control = pair(
        abi,
        runtime,
        DEVICE_CONTROL,
        "RuntimePointers.device_control",
    );
    let shape = abi.device_control.shape;
    let device_control = maker.tx(
        &control,
        "channel device control".into(),
        shape,
        RING_ENTRIES,
    )?;

    let fwctl = RingMaker {
        mem,
        layout: &abi.channel,
        indices: Indices {
            shape: abi.fwctl_state.shape,
            read: abi.fwctl_state.read_ptr,
            write: abi.fwctl_state.write_ptr,
        },
    };
    let at = Field {
        name: "fwctl",
        offset: abi.fw_status.fwctl_state.offset,
        size: abi.channel.shape.size,
    };
    let shape = Shape {
        name: "FwStatus.fwctl",
        size: abi.channel.shape.size,
    };
    let pair = fw_status.embedded(at, shape);
    let fwctl = fwctl.tx(&pair, "channel fwctl".into(), abi.fwctl.shape, RING_ENTRIES)?;
    Ok(Incoming {
        pipes,
        device_control,
        fwctl,
    })
}

fn one(mut rings: Vec<RxRing>) -> Result<RxRing> {
    rings.pop().ok_or(Refused)
}

fn outgoing(mem: &FwMem, abi: &Abi, runtime: &Record) -> Result<Outgoing> {
    let maker = maker(mem, abi);
    let rx = |index, structure, names: &[String], message, size, entries| {
        let shape = Shape {
            name: message,
            size,
        };
        maker.rx(&pair(abi, runtime, index, structure), names, shape, entries)
    };
    let single = |name: &str| [format!("channel {name}")];
    let event = rx(
        EVENT,
        "RuntimePointers.event",
        &single("event"),
        "EventMsg",
        EVENT_SIZE,
        RING_ENTRIES,
    )?;
    let severities = ["debug", "info", "notice", "warning", "error", "critical"];
    let names = severities.map(|s| format!("channel fwlog {s}"));
    let fwlog = rx(
        FWLOG,
        "RuntimePointers.fw_log",
        &names,
        "FwLogMsg",
        FWLOG_SIZE,
        RING_ENTRIES,
    )?;
    // Tracing of the firmware is not modelled; the ring must be good all the same.
    rx(
        KTRACE,
        "RuntimePointers.ktrace",
        &single("ktrace"),
        "KTraceMsg",
        KTRACE_SIZE,
        KTRACE_ENTRIES,
    )?;
    let stats = rx(
        STATS,
        "RuntimePointers.stats",
        &single("stats"),
        "StatsMsg",
        abi.stats_size,
        RING_ENTRIES,
    )?;
    Ok(Outgoing {
        mem: mem.clone(),
        event: one(event)?,
        fwlog,
        fwlog_buf: runtime.get(abi.runtime.fwlog_buf),
        stats: one(stats)?,
        stats_size: abi.stats_size,
        lines: 0,
    })
}
