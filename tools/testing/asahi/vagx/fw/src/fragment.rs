// SPDX-License-Identifier: MIT OR Apache-2.0

//! The fragment command: what is checked before it runs.

use vagx_gpu::{FragmentJob, TileProgram, ZlsBuffer};

use crate::buffer::BufferUse;
use crate::command::{self, Command, Context, EMBEDDED, attachments, check_gpu, parts};
use crate::layout::buffer::{BUFFER_SLOTS, EMPTY_BUFFER};
use crate::mem::{Place, Record, Result, Sharing};
use crate::microseq::Step;
use crate::stamp::StampUpdate;
use crate::vertex::utiles;

/// A fragment command's own part.
#[derive(Clone)]
pub(crate) struct FragmentWork {
    pub job: FragmentJob,
    pub buffer: BufferUse,
    pub heapmeta: u64,
    pub layermeta: u64,
    pub value: u32,
    pub te_screen: u32,
}

/// Reads and checks the command at `va`; `at` is its place in the ring.
pub(crate) fn parse(
    cx: Context<'_>,
    at: Place,
    va: u64,
    known: &mut Option<StampUpdate>,
) -> Result<(Command, FragmentWork)> {
    let l = &cx.abi.run_fragment;
    let parts = parts!(l, "RunFragment.meta", "RunFragment.encoder_params");
    let mut command = command::open(cx, l, parts, at, va, known)?;
    let work = check_job(cx, &command)?;
    command.check_steps(
        cx,
        |step| check_start(cx, &command, &work, step),
        |step| check_finalize(cx, &command, &work, step),
    )?;
    let s = &cx.abi.start_fragment;
    for step in &command.steps {
        if let Step::Start(start) = step {
            command.attachments =
                attachments(cx, command.vm_slot, start, s.attachments, s.num_attachments)?;
        }
    }
    Ok((command, work))
}

fn check_job(cx: Context<'_>, command: &Command) -> Result<FragmentWork> {
    let (abi, cmd, slot) = (cx.abi, &command.record, command.vm_slot);
    let l = &abi.run_fragment;
    let (p1, p2, p3) = (
        &abi.fragment_params1,
        &abi.fragment_params2,
        &abi.fragment_params3,
    );
    let first = cmd.embedded(l.job_params1, p1.shape);
    let second = cmd.embedded(l.job_params2, p2.shape);
    let third = cmd.embedded(l.job_params3, p3.shape);
    let e = &abi.encoder_params;
    let encoder = command::encoder(abi, cmd, &command.parts);
    let _ = encoder.expect(e.unk_mask, 0xffff_ffff, "its value in every known set-up");

    let buffer = buffer_use(cx, command)?;
    for field in [p3.registers, p3.register_count, p3.registers_length] {
        let _ = third.expect(field, 0, "registers are not given as a list on this GPU");
    }
    let fixed = "its value in every known set-up";
    let _ = first.expect(p1.unk_140, 0x8c60, fixed);
    let _ = first.expect(p1.unk_158, 0x1c, fixed);
    let _ = second.expect(p2.unk_3c, 1, fixed);
    let same = "the same as in the command";
    first.expect(p1.tilemap, cmd.get(l.tilemap), same)?;
    let _ = first.expect(p1.ppp_multisamplectl, cmd.get(l.ppp_multisamplectl), same);
    for (field, of) in [
        (p2.merge_upper_x, l.merge_upper_x),
        (p2.merge_upper_y, l.merge_upper_y),
    ] {
        let _ = second.expect(field, cmd.get(of), same);
    }
    let (across, down) = utiles(first.get32(p1.utile_config));
    for (field, of, parts) in [
        (p2.utiles_per_mtile_x, l.tiles_per_mtile_x, across),
        (p2.utiles_per_mtile_y, l.tiles_per_mtile_y, down),
    ] {
        let why = "as in the command, times the parts of a tile";
        let _ = second.expect(field, cmd.get(of) * u64::from(parts), why);
    }
    // A partial render shows the same picture as the whole.
    let alike = "the same as in the other parts of the command";
    for (field, want) in [
        (p3.width, first.get(p1.width)),
        (p3.height, first.get(p1.height)),
        (p3.zls_pixels, first.get(p1.zls_pixels)),
        (p3.scissor_array, first.get(p1.scissor_array)),
        (p3.depth_bias_array, first.get(p1.depth_bias_array)),
        (p3.tib_blocks, second.get(p2.tib_blocks)),
        (p3.bgobjdepth, second.get(p2.bgobjdepth)),
    ] {
        let _ = third.expect(field, want, alike);
    }
    let samples = cmd.get32(l.samples);
    if !matches!(samples, 1 | 2 | 4) {
        return Err(cmd.complain(l.samples, "neither 1 nor 2 nor 4"));
    }
    let te_screen = second.get32(p2.te_screen);
    let (x, y) = (te_screen & 0xfff, te_screen >> 12 & 0xfff);
    let tiles = u64::from(x + 1) * u64::from(y + 1);
    let _ = cmd.expect(l.tile_count, tiles, "the tiles of job_params2.te_screen");
    let aux = first.get(p1.aux_fb);
    check_gpu(cx, slot, &first, p1.aux_fb, aux, 1)?;

    let utile = first.get32(p1.utile_config);
    Ok(FragmentWork {
        job: FragmentJob {
            usc_exec_base: first.get(p1.pipeline_base),
            sampler_heap: encoder.get(e.sampler_array),
            sampler_count: encoder.get32(e.sampler_count),
            helper_program: first.get32(p1.helper_program),
            helper_cfg: second.get32(p2.helper_cfg),
            helper_data: first.get(p1.helper_arg),
            width_px: first.get32(p1.width),
            height_px: first.get32(p1.height),
            samples,
            utile_width_px: (utile >> 12 & 3) * 16,
            utile_height_px: (utile >> 14 & 3) * 16,
            tib_blocks: second.get32(p2.tib_blocks),
            ppp_multisamplectl: first.get(p1.ppp_multisamplectl),
            isp_zls_pixels: first.get(p1.zls_pixels),
            isp_scissor_base: first.get(p1.scissor_array),
            isp_dbias_base: first.get(p1.depth_bias_array),
            isp_oclqry_base: first.get(p1.visibility_results),
            depth: ZlsBuffer {
                base: first.get(p1.depth_load),
                comp_base: first.get(p1.depth_aux_load),
                stride: first.get(p1.depth_stride),
                comp_stride: first.get(p1.depth_aux_stride),
            },
            stencil: ZlsBuffer {
                base: first.get(p1.stencil_load),
                comp_base: first.get(p1.stencil_aux_load),
                stride: first.get(p1.stencil_stride),
                comp_stride: first.get(p1.stencil_aux_stride),
            },
            zls_ctrl: first.get(p1.zls_ctrl),
            isp_bgobjdepth: second.get32(p2.bgobjdepth),
            isp_bgobjvals: second.get32(p2.bgobjvals),
            isp_merge_upper_x: cmd.get32(l.merge_upper_x),
            isp_merge_upper_y: cmd.get32(l.merge_upper_y),
            isp_ctl: first.get(p1.isp_ctl),
            isp_dbias_ctl: first.get32(p1.aux_fb_unk),
            bg: TileProgram {
                usc: first.get32(p1.bg_usc),
                rsrc_spec: first.get32(p1.bg_rsrc_spec),
            },
            eot: TileProgram {
                usc: second.get32(p2.eot_usc),
                rsrc_spec: second.get32(p2.eot_rsrc_spec),
            },
            partial_bg: TileProgram {
                usc: third.get32(p3.partial_bg_usc),
                rsrc_spec: third.get32(p3.partial_bg_rsrc_spec),
            },
            partial_eot: TileProgram {
                usc: third.get32(p3.partial_eot_usc),
                rsrc_spec: third.get32(p3.partial_eot_rsrc_spec),
            },
            tilemap: cmd.get(l.tilemap),
            vm_slot: slot.into(),
        },
        buffer,
        heapmeta: first.get(p1.heapmeta),
        layermeta: first.get(p1.layermeta),
        value: command.stamp.value,
        te_screen,
    })
}

/// What the command and its start say about the tiler's buffer.
fn buffer_use(cx: Context<'_>, command: &Command) -> Result<BufferUse> {
    let (abi, cmd) = (cx.abi, &command.record);
    let (l, s) = (&abi.run_fragment, &abi.start_fragment);
    let buffer = cmd.pointer_rw(
        l.buffer,
        abi.buffer_info.shape.size.into(),
        Sharing::Private,
    )?;
    let scene = cmd.pointer_rw(l.scene, abi.scene.shape.size.into(), Sharing::Private)?;
    cmd.pointer_rw(l.unk_emptybuf, EMPTY_BUFFER, Sharing::Private)?;
    let mut slot = None;
    for step in &command.steps {
        if let Step::Start(start) = step {
            let number = start.get32(s.buffer_slot);
            if number >= BUFFER_SLOTS {
                let why = format!("there are {BUFFER_SLOTS} buffer slots");
                return Err(start.complain(s.buffer_slot, why));
            }
            slot = Some(number);
        }
    }
    let slot = slot.unwrap_or(0);
    BufferUse::check(cx, command.vm_slot, slot, buffer, scene, cmd, l.scene)
}

fn check_start(
    cx: Context<'_>,
    command: &Command,
    work: &FragmentWork,
    start: &Record,
) -> Result<()> {
    let (l, s, cmd) = (
        &cx.abi.run_fragment,
        &cx.abi.start_fragment,
        &command.record,
    );
    // m1n1 names the words before EncoderParams and JobMeta as parts of one structure each.
    for (field, part) in [
        (s.job_params1, l.job_params1),
        (s.job_params2, l.job_params2),
        (s.busy_flag, l.busy_flag),
        (s.tvb_overflow_count, l.tvb_overflow_count),
        (s.unk_flag, l.unk_flag),
        (s.unk_buf2, l.unk_buf2),
    ] {
        start.expect(field, cmd.at(part), EMBEDDED)?;
    }
    let meta = cmd.at(l.meta).wrapping_sub(META_HEAD);
    start.expect(s.unk_pointer, meta, EMBEDDED)?;
    start.expect(s.work_item, cmd.base, "the command")?;
    let same = "the same as in the command";
    start.expect(s.scene, work.buffer.scene, same)?;
    let _ = start.expect(s.counter, cmd.get(l.counter), same);
    let _ = start.expect(s.unk_50, 1, "its value in every known set-up");
    command.check_common(cx, start, [s.stats, s.work_queue, s.vm_slot, s.uuid])?;
    command.check_events(cx, start, s.event_generation, s.notifier_buf)
}

/// The structure that holds the meta begins so many bytes before it.
const META_HEAD: u64 = 8;

fn check_finalize(
    cx: Context<'_>,
    command: &Command,
    work: &FragmentWork,
    record: &Record,
) -> Result<()> {
    let (l, f, cmd) = (
        &cx.abi.run_fragment,
        &cx.abi.finalize_fragment,
        &command.record,
    );
    record.expect(f.busy_flag, cmd.at(l.busy_flag), EMBEDDED)?;
    record.expect(f.unk_flag, cmd.at(l.unk_flag), EMBEDDED)?;
    let meta = cmd.at(l.meta).wrapping_sub(META_HEAD);
    record.expect(f.unk_pointer, meta, EMBEDDED)?;
    record.expect(f.work_item, cmd.base, "the command")?;
    let same = "the same as in the command";
    record.expect(f.scene, work.buffer.scene, same)?;
    record.expect(f.buffer, work.buffer.info, same)?;
    let _ = record.expect(f.unk_2c, 1, "its value in every known set-up");
    command.check_common(cx, record, [f.stats, f.work_queue, f.vm_slot, f.uuid])?;
    command.check_stamp(record, f.fw_stamp, f.stamp_value)
}
