// SPDX-License-Identifier: MIT OR Apache-2.0

//! Imageblocks and writes to images. The order of coordinates: Mesa, `src/asahi/compiler/agx_compile.c`
//! (`agx_emit_image_store`, `agx_emit_block_image_store`).

use super::Refused;
use super::operand::*;
use crate::image::Dimension;
use crate::isa::{Instr, Op, Operand, Place};
use crate::uop::*;

/// The operand's register of `size` bits, `n` of them further on.
fn after(op: &Operand, n: i32) -> Result<Val, Refused> {
    let halves = if op.size == 16 { 1 } else { 2 };
    val(&Operand {
        value: op.value + n * halves,
        ..*op
    })
}

/// A half of the operand's register.
fn half(op: &Operand, n: i32) -> Result<Val, Refused> {
    val(&Operand {
        value: op.value + n,
        size: 16,
        ..*op
    })
}

fn dimension(instr: &Instr) -> Result<Dimension, Refused> {
    Dimension::new(instr.field("dim") as u64).ok_or("dimension of an image")
}

/// Sources `at` and the one after it.
fn image(instr: &Instr, at: usize) -> Result<ImageSource, Refused> {
    let (heap, texture) = (source(instr, at)?, source(instr, at + 1)?);
    Ok(match (texture.place, texture.size, heap.place) {
        (Place::Ts, _, Place::None) => ImageSource::State(Val::Const(texture.value as u32)),
        (Place::Reg, 16, Place::None) => ImageSource::State(val(&texture)?),
        (Place::Reg | Place::Imm, _, Place::Uniform) => {
            whole(heap.value + 2, UNIFORMS)?;
            ImageSource::Bindless {
                base: whole(heap.value, UNIFORMS)?,
                offset: val(&texture)?,
            }
        }
        _ => return Err("image in an unexpected place"),
    })
}

/// A format of tiles, and whether it rounds towards zero.
fn format(instr: &Instr) -> Result<(Format, bool), Refused> {
    Ok(match instr.field("format") {
        0 => (Format::I8, false),
        1 => (Format::I16, false),
        2 => (Format::I32, false),
        3 => (Format::F16, false),
        4 => (Format::U8Norm, false),
        5 => (Format::S8Norm, false),
        6 => (Format::U16Norm, false),
        7 => (Format::S16Norm, false),
        8 => (Format::Rgb10A2, false),
        10 => (Format::Srgba8, false),
        12 => (Format::Rg11B10F, false),
        13 => (Format::Rgb9E5, false),
        14 => (Format::Rg11B10F, true),
        15 => (Format::Rgb9E5, true),
        _ => return Err("format of a tile"),
    })
}

fn tile_regs(instr: &Instr, op: &Operand) -> Result<TileRegs, Refused> {
    if op.place != Place::Reg {
        return Err("register of a tile in an unexpected place");
    }
    let (format, rtz) = format(instr)?;
    let (wide, mask) = (op.size == 32, instr.field("mask") as u8);
    let last = mask.count_ones().max(1) as i32 - 1;
    whole(op.value + last * if wide { 2 } else { 1 }, REGISTERS)?;
    Ok(TileRegs {
        start: op.value as u8,
        wide,
        mask,
        format,
        rtz,
        offset: instr.field("offset") as u32,
    })
}

/// Lowers the operations of this kind.
pub(super) fn lower(instr: &Instr) -> Result<Option<Uop>, Refused> {
    let op = match instr.op {
        Op::LdTile => {
            let d = instr.dest.as_ref().ok_or("missing destination")?;
            if source(instr, 0)?.place != Place::Imm {
                return Err("load of another pixel of a tile");
            }
            TileOp::Load {
                regs: tile_regs(instr, d)?,
                samples: val(&source(instr, 1)?)?,
            }
        }
        Op::StTile => {
            let pixel = source(instr, 1)?;
            TileOp::Store {
                regs: tile_regs(instr, &source(instr, 0)?)?,
                pixel: match instr.flag("explicit_coords") {
                    true => Some([half(&pixel, 0)?, half(&pixel, 1)?]),
                    false => None,
                },
                samples: val(&source(instr, 2)?)?,
            }
        }
        Op::Imgw => {
            let (value, coord) = (source(instr, 0)?, source(instr, 3)?);
            let wide = value.size == 32;
            whole(value.value + if wide { 6 } else { 3 }, REGISTERS)?;
            let dim = dimension(instr)?;
            let count = match dim {
                Dimension::D1 => 1,
                Dimension::D1Array | Dimension::D2 => 2,
                Dimension::D2Array | Dimension::D3 | Dimension::Cube | Dimension::CubeArray => 3,
                // Mesa writes to single samples by addresses that it works out.
                Dimension::D2Ms | Dimension::D2MsArray => return Err("write of a sample"),
            };
            let mut coords = [Val::Const(0); 3];
            for (n, to) in coords[..count].iter_mut().enumerate() {
                *to = after(&coord, n as i32)?;
            }
            TileOp::Image {
                start: value.value as u8,
                wide,
                image: image(instr, 1)?,
                coords,
                dim,
                level: val(&source(instr, 4)?)?,
                rtz: instr.flag("rtz"),
            }
        }
        Op::Imgwblk => {
            let coord = source(instr, 3)?;
            let dim = dimension(instr)?;
            let array = matches!(dim, Dimension::D2Array | Dimension::D2MsArray);
            if !array && !matches!(dim, Dimension::D2 | Dimension::D2Ms) {
                return Err("imageblock to an image of this dimension");
            }
            let explicit = instr.flag("explicit_coords");
            let layer = match (array, explicit) {
                (false, _) => Val::Const(0),
                (true, true) => after(&coord, 2)?,
                // A half, in the place that a sample's number leaves.
                (true, false) => half(&coord, i32::from(dim.is_multisampled()))?,
            };
            TileOp::Block {
                offset: val(&source(instr, 0)?)?,
                format: format(instr)?.0,
                image: image(instr, 1)?,
                corner: match explicit {
                    true => Some([after(&coord, 0)?, after(&coord, 1)?]),
                    false => None,
                },
                layer,
                dim,
                level: val(&source(instr, 4)?)?,
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(Uop::Tile(Box::new(op))))
}
