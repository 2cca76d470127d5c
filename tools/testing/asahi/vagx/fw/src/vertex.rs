// SPDX-License-Identifier: MIT OR Apache-2.0

//! The vertex command: what is checked before it runs.
//!
//! Values that m1n1 `agx/render.py` calls fixed go into registers of the tiler, so another value is a complaint.

use vagx_gpu::VertexJob;

use crate::buffer::BufferUse;
use crate::command::{self, Command, Context, EMBEDDED, check_gpu, parts};
use crate::layout::buffer::{BUFFER_SLOTS, EMPTY_BUFFER};
use crate::layout::render::TilingParameters;
use crate::mem::{Place, Record, Result, Sharing};
use crate::queue::EVENT_SLOTS;
use crate::stamp::StampUpdate;

/// Pixels of a tile's side, as the tiler counts.
const TILE: u32 = 32;
/// Macrotiles of the screen, each way.
const MTILES: u32 = 4;
/// Flags in the high bits of addresses.
const HEAPMETA_FLAG: u64 = 1 << 63;
const PREEMPT3_FLAG: u64 = 4 << 48;
/// Pages of the heap that the tiler leaves free.
const RESERVE: u64 = 0x1c;
/// Bytes of the heap's metadata; those of layers may follow.
const HEAPMETA: u64 = 0x200;
/// Bits of an address in a register that has flags above it.
pub(crate) const ADDRESS: u64 = (1 << 40) - 1;
/// Bits of the register that hold one less than the number of layers; there may be 2048.
const RENDER_TARGET_MAX: u32 = 0x7ff;

/// A vertex command's own part.
#[derive(Clone)]
pub(crate) struct VertexWork {
    pub job: VertexJob,
    pub buffer: BufferUse,
    pub heapmeta: u64,
    /// Where the metadata of layers is.
    pub layermeta: u64,
    /// The value of the register that has the screen's size in tiles, as the fragment half repeats it.
    pub te_screen: u32,
    /// Event slot of the fragment command that belongs to it.
    pub fragment_slot: u32,
    /// Stamp value of that command; m1n1 has the vertex command's own here.
    pub fragment_value: u32,
    pub value: u32,
}

impl VertexWork {
    /// Tiles of all layers.
    pub(crate) fn tiles(&self) -> u64 {
        let (x, y) = (self.te_screen & 0xfff, self.te_screen >> 12 & 0xfff);
        u64::from(x + 1) * u64::from(y + 1) * u64::from(self.job.layers)
    }
}

/// Reads and checks the command at `va`; `at` is its place in the ring.
pub(crate) fn parse(
    cx: Context<'_>,
    at: Place,
    va: u64,
    known: &mut Option<StampUpdate>,
) -> Result<(Command, VertexWork)> {
    let l = &cx.abi.run_vertex;
    let parts = parts!(l, "RunVertex.meta", "RunVertex.encoder_params");
    let command = command::open(cx, l, parts, at, va, known)?;
    let work = check_job(cx, &command)?;
    command.check_steps(
        cx,
        |step| check_start(cx, &command, &work, step),
        |step| check_finalize(cx, &command, &work, step),
    )?;
    Ok((command, work))
}

fn check_job(cx: Context<'_>, command: &Command) -> Result<VertexWork> {
    let (abi, cmd, slot) = (cx.abi, &command.record, command.vm_slot);
    let (l, p, t, e) = (
        &abi.run_vertex,
        &abi.vertex_params1,
        &abi.tiling_params,
        &abi.encoder_params,
    );
    let params = cmd.embedded(l.job_params1, p.shape);
    let tiling = cmd.embedded(l.tiling_params, t.shape);
    let second = cmd.embedded(l.job_params2, abi.vertex_params2.shape);
    let encoder = command::encoder(abi, cmd, &command.parts);

    let buffer = buffer_use(cx, command)?;
    for field in [l.registers, l.register_count, l.registers_length] {
        let _ = cmd.expect(field, 0, "registers are not given as a list on this GPU");
    }
    let fragment_slot = cmd.get32(l.fragment_stamp_slot);
    if fragment_slot >= EVENT_SLOTS {
        let why = format!("there are {EVENT_SLOTS} event slots");
        return Err(cmd.complain(l.fragment_stamp_slot, why));
    }
    let _ = encoder.expect(e.unk_mask, 0xffff_ffff, "its value in every known set-up");

    check_fixed(cx, &params);
    let same = "the same as in RunVertex.job_params1";
    let preempt = params.get(p.preempt_buf1);
    let _ = second.expect(abi.vertex_params2.preempt_buf1, preempt, same);
    // m1n1 calls this PPP_MULTISAMPLECTL too, but has another register for it where it lists registers.
    let _ = tiling.expect(t.unk_4, 0x88, "its value in every known set-up");
    cmd.expect(l.tpc, params.get(p.tpc), same)?;
    let utiles = utiles(params.get32(p.utile_config));
    let te_screen = check_tiling(&tiling, t, utiles.0 * utiles.1)?;
    let layers = (tiling.get32(t.render_target_max) & RENDER_TARGET_MAX) + 1;

    let heapmeta = params.get(p.heapmeta) & ADDRESS;
    let flagged = heapmeta | HEAPMETA_FLAG;
    let _ = params.expect(p.heapmeta, flagged, "an address with the highest bit set");
    let layermeta = params.get(p.layermeta);
    if layermeta != heapmeta && layermeta != heapmeta + HEAPMETA {
        let why =
            format!("heapmeta is {heapmeta:#x}; the same, or what follows its {HEAPMETA:#x} bytes");
        params.complain(p.layermeta, why);
    }
    let (first, across) = (tiling.get32(t.te_mtile1), tiling.get32(t.te_mtile2));
    let mtile = u64::from(first >> 18 & 0x1ff) * u64::from(across >> 18 & 0x1ff);
    let tpc_size = cmd.get(l.tpc_size);
    let per_tile = u64::from(utiles.0 * utiles.1) * u64::from(layers);
    if tpc_size < 8 * u64::from(MTILES * MTILES) * mtile * per_tile {
        let why = "too small for 8 bytes for each part of each tile of all macrotiles and layers";
        return Err(cmd.complain(l.tpc_size, why));
    }
    let lists = u64::from(4 * MTILES * MTILES) * tiling.get(t.rgn_size) * u64::from(layers);
    for (field, len) in [
        (p.tilemap, lists),
        (p.tpc, tpc_size),
        (p.heapmeta, HEAPMETA),
        (p.layermeta, 1),
        (p.preempt_buf1, 1),
        (p.preempt_buf2, 1),
        (p.preempt_buf3, 1),
    ] {
        let va = params.get(field) & ADDRESS;
        check_gpu(cx, slot, &params, field, va, len)?;
    }
    for field in [
        p.cluster_tilemaps,
        p.cluster_meta1,
        p.cluster_meta2,
        p.cluster_meta3,
        p.cluster_meta4,
    ] {
        let va = params.get(field) & ADDRESS;
        if va != 0 {
            check_gpu(cx, slot, &params, field, va, 1)?;
        }
    }
    Ok(VertexWork {
        job: VertexJob {
            vdm_ctrl_stream_base: params.get(p.encoder),
            usc_exec_base: params.get(p.pipeline_base),
            sampler_heap: encoder.get(e.sampler_array),
            sampler_count: encoder.get32(e.sampler_count),
            helper_program: params.get32(p.helper_program),
            helper_cfg: tiling.get32(t.helper_cfg),
            helper_data: params.get(p.helper_arg),
            ppp_ctrl: tiling.get32(t.ppp_ctrl),
            ppp_multisamplectl: params.get(p.ppp_multisamplectl),
            width_px: tiling.get32(t.x_max) + 1,
            height_px: tiling.get32(t.y_max) + 1,
            layers,
            tilemap: params.get(p.tilemap),
            vm_slot: slot.into(),
        },
        buffer,
        heapmeta,
        layermeta,
        te_screen,
        fragment_slot,
        fragment_value: cmd.get32(l.fragment_stamp_value),
        value: command.stamp.value,
    })
}

/// Parts of a tile, each way, by the register that has the size of one.
pub(crate) fn utiles(config: u32) -> (u32, u32) {
    let across = |shift: u32| match config >> shift & 3 {
        1 => 2,
        _ => 1,
    };
    (across(12), across(14))
}

/// What the command says about the tiler's buffer.
fn buffer_use(cx: Context<'_>, command: &Command) -> Result<BufferUse> {
    let (abi, cmd) = (cx.abi, &command.record);
    let l = &abi.run_vertex;
    let slot = cmd.get(l.buffer_slot);
    let slot = u32::try_from(slot)
        .ok()
        .filter(|s| *s < BUFFER_SLOTS)
        .ok_or_else(|| {
            cmd.complain(
                l.buffer_slot,
                format!("there are {BUFFER_SLOTS} buffer slots"),
            )
        })?;
    let buffer = cmd.pointer_rw(
        l.buffer,
        abi.buffer_info.shape.size.into(),
        Sharing::Private,
    )?;
    let scene = cmd.pointer_rw(l.scene, abi.scene.shape.size.into(), Sharing::Private)?;
    cmd.pointer_rw(l.unk_emptybuf, EMPTY_BUFFER, Sharing::Private)?;
    BufferUse::check(cx, command.vm_slot, slot, buffer, scene, cmd, l.scene)
}

fn check_fixed(cx: Context<'_>, params: &Record) {
    let p = &cx.abi.vertex_params1;
    let fixed = "its value in every known set-up";
    for (field, want) in [
        (p.unk_8, 0x1e3c_e508),
        (p.unk_c, 0x1e3c_e508),
        (p.unk_54, 0x6b_0003),
        (p.unk_55, 0x3a_0012),
        (p.unk_56, 1),
        (p.unk_80, 1),
        (p.unk_f8, 0x8c60),
        (p.unk_118, 0x1c),
    ] {
        let _ = params.expect(field, want, fixed);
    }
    // With clusters, their metadata counts as well (m1n1 has 8 of them and 0x20, its dump of another set-up 0x1c).
    let reserve = params.get(p.reserve);
    if reserve < RESERVE || params.get(p.cluster_meta1) == 0 && reserve != RESERVE {
        let why = format!("{RESERVE:#x}, and more for several clusters, in every known set-up");
        params.complain(p.reserve, why);
    }
    if params.get(p.tiling_control) & !1 != cx.tiling_control & !1 {
        let why = format!("must be {:#x} on this chip", cx.tiling_control);
        params.complain(p.tiling_control, why);
    }
    if params.get(p.preempt_buf3) & !ADDRESS != PREEMPT3_FLAG {
        let why = format!("has the flag {PREEMPT3_FLAG:#x} in every known set-up");
        params.complain(p.preempt_buf3, why);
    }
}

/// Checks that the numbers of tiles fit together; returns the size of the screen in tiles.
fn check_tiling(tiling: &Record, t: &TilingParameters, utiles: u32) -> Result<u32> {
    let tiles_x = tiling.get32(t.x_max) / TILE;
    let tiles_y = tiling.get32(t.y_max) / TILE;
    let screen = tiles_y << 12 | tiles_x;
    tiling.expect(
        t.te_screen,
        screen.into(),
        "the last tile of x_max and y_max",
    )?;
    for (field, tiles) in [(t.te_mtile1, tiles_x + 1), (t.te_mtile2, tiles_y + 1)] {
        let word = tiling.get32(field);
        let one = word >> 18;
        if word != (one << 18 | (2 * one) << 9 | (3 * one)) || 3 * one > 0x1ff {
            let why = "must hold where the second, third and fourth macrotile begin";
            return Err(tiling.complain(field, why));
        }
        if MTILES * one < tiles {
            let why = format!("{MTILES} macrotiles of {one} do not cover {tiles} tiles");
            return Err(tiling.complain(field, why));
        }
    }
    let stride = 2 * tiling.get(t.tiles_per_mtile) * u64::from(utiles);
    let why = "twice tiles_per_mtile, times the parts of a tile";
    let _ = tiling.expect(t.tpc_stride, stride, why);
    if tiling.get(t.rgn_size) == 0 {
        return Err(tiling.complain(t.rgn_size, "the tiler's lists have no room"));
    }
    Ok(screen)
}

fn check_start(
    cx: Context<'_>,
    command: &Command,
    work: &VertexWork,
    start: &Record,
) -> Result<()> {
    let (l, s, cmd) = (&cx.abi.run_vertex, &cx.abi.start_vertex, &command.record);
    for (field, part) in [
        (s.tiling_params, l.tiling_params),
        (s.job_params1, l.job_params1),
        (s.job_params2, l.job_params2),
        (s.unk_pointer, l.unk_buf),
    ] {
        start.expect(field, cmd.at(part), EMBEDDED)?;
    }
    let same = "the same as in the command";
    start.expect(s.buffer, work.buffer.info, same)?;
    start.expect(s.scene, work.buffer.scene, same)?;
    start.expect(s.buffer_slot, work.buffer.slot.into(), same)?;
    let _ = start.expect(s.counter, cmd.get(l.counter), same);
    let _ = start.expect(s.unk_38, 1, "its value in every known set-up");
    command.check_common(cx, start, [s.stats, s.work_queue, s.vm_slot, s.uuid])?;
    command.check_events(cx, start, s.event_generation, s.notifier_buf)
}

fn check_finalize(
    cx: Context<'_>,
    command: &Command,
    work: &VertexWork,
    record: &Record,
) -> Result<()> {
    let (l, f, cmd) = (&cx.abi.run_vertex, &cx.abi.finalize_vertex, &command.record);
    let same = "the same as in the command";
    record.expect(f.scene, work.buffer.scene, same)?;
    record.expect(f.buffer, work.buffer.info, same)?;
    record.expect(f.job_params2, cmd.at(l.job_params2), EMBEDDED)?;
    command.check_common(cx, record, [f.stats, f.work_queue, f.vm_slot, f.uuid])?;
    command.check_stamp(record, f.fw_stamp, f.stamp_value)
}
