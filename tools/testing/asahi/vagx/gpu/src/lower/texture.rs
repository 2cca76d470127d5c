// SPDX-License-Identifier: MIT OR Apache-2.0

//! Texture instructions.
//!
//! The order of coordinates and of the other sources in registers: Mesa, `src/asahi/compiler/agx_nir_lower_texture.c`
//! and `agx_compile.c` (`agx_emit_tex`, `agx_emit_image_load`).

use super::Refused;
use super::operand::*;
use crate::image::Dimension;
use crate::isa::{Instr, Op, Operand, Place};
use crate::uop::*;

/// The half register or uniform `n` halves after the one that an operand names.
fn half_after(op: &Operand, n: i32) -> Result<Val, Refused> {
    val(&Operand {
        value: op.value + n,
        size: 16,
        ..*op
    })
}

fn word_after(op: &Operand, n: i32) -> Result<Val, Refused> {
    val(&Operand {
        value: op.value + 2 * n,
        size: 32,
        ..*op
    })
}

/// Coordinates, layer and sample. Layer and sample are halves. With coordinates of 32 bits they share the register after
/// the last of those, the sample being the lower one if there are both.
fn coordinates(op: &Operand, dim: Dimension) -> Result<([Val; 3], Val, Val), Refused> {
    let narrow = op.size == 16;
    let axes = dim.axes() as i32;
    let mut coords = [Val::Const(0); 3];
    for (n, coord) in (0..axes).zip(&mut coords) {
        *coord = if narrow {
            half_after(op, n)?
        } else {
            word_after(op, n)?
        };
    }
    let mut next = if narrow { axes } else { 2 * axes };
    let (mut layer, mut sample) = (Val::Const(0), Val::Const(0));
    if dim.is_multisampled() {
        sample = half_after(op, next)?;
        next += 1;
    }
    if dim.is_array() {
        layer = half_after(op, next)?;
    }
    Ok((coords, layer, sample))
}

fn lod(op: &Operand, kind: i64) -> Result<LodSource, Refused> {
    Ok(match kind {
        0 => LodSource::Auto,
        1 | 5 => LodSource::Bias {
            bias: half_after(op, 0)?,
            least: None,
        },
        9 | 13 => LodSource::Bias {
            bias: half_after(op, 0)?,
            least: Some(half_after(op, 1)?),
        },
        2 | 6 => LodSource::Level(half_after(op, 0)?),
        4 | 12 => {
            if op.place != Place::Reg || op.value & 1 != 0 {
                return Err("derivatives in an unexpected place");
            }
            LodSource::Gradient {
                first: whole(op.value, REGISTERS)?,
                least: kind == 12,
            }
        }
        _ => return Err("kind of level of detail"),
    })
}

/// The operations of this kind; none for an instruction of another.
pub(super) fn lower(instr: &Instr) -> Result<Option<Uop>, Refused> {
    if !matches!(instr.op, Op::Smpf | Op::Smpi) {
        return Ok(None);
    }
    let d = instr.dest.as_ref().ok_or("missing destination")?;
    let dim = Dimension::new(instr.field("dim") as u64).ok_or("texture dimension")?;
    let [heap, texture, sampler, coord, level, extra] =
        [0, 1, 2, 3, 4, 5].map(|n| source(instr, n));
    let (heap, texture, sampler) = (heap?, texture?, sampler?);
    let (coord, level, extra) = (coord?, level?, extra?);
    let texture = match (texture.place, texture.size, heap.place) {
        (Place::Ts, _, Place::None) => TextureSource::State(texture.value as u8),
        (Place::Reg, 16, Place::None) => TextureSource::Indexed(val(&texture)?),
        (Place::Reg, 32, Place::Uniform) => {
            // The whole pair is read.
            whole(heap.value + 2, UNIFORMS)?;
            TextureSource::Bindless {
                base: whole(heap.value, UNIFORMS)?,
                offset: val(&texture)?,
            }
        }
        _ => return Err("texture in an unexpected place"),
    };
    let sampler = match sampler.place {
        Place::Ss => SamplerSource::State(sampler.value as u8),
        _ => SamplerSource::Indexed(val(&sampler)?),
    };
    let (coords, layer, sample) = coordinates(&coord, dim)?;
    // The comparison's reference is a word; a packed offset is in the word after it, or alone.
    let shadow = instr.flag("shadow");
    let has_offset = matches!((extra.place, extra.size, extra.count), (Place::Reg, 16, _));
    let (compare, offset) = match (extra.place, shadow, has_offset) {
        (Place::None, false, _) => (None, None),
        (Place::Reg, true, false) => (Some(word_after(&extra, 0)?), None),
        (Place::Reg, true, true) => (Some(word_after(&extra, 0)?), Some(half_after(&extra, 2)?)),
        (Place::Reg, false, true) => (None, Some(half_after(&extra, 0)?)),
        _ => return Err("comparison in an unexpected place"),
    };
    let gather = match instr.field("gather") {
        0 => None,
        n => Some((n >> 1) as u8 & 3),
    };
    let lod = lod(&level, instr.field("lod_type"))?;
    if let LodSource::Gradient { first, least } = lod {
        let last = i32::from(first) + 2 * dim.axes() as i32 - i32::from(!least);
        whole(last * 2, REGISTERS)?;
    }
    Ok(Some(Uop::Texture(Box::new(TextureOp {
        start: u8::try_from(d.value).map_err(|_| "register out of range")?,
        wide: d.size == 32,
        mask: instr.field("mask") as u8,
        fetch: instr.op == Op::Smpi,
        dim,
        coords,
        narrow: coord.size == 16,
        layer,
        sample,
        texture,
        sampler,
        lod,
        compare,
        offset,
        gather,
        query_lod: instr.flag("query_lod"),
        sparse: instr.flag("sparse"),
    }))))
}
