// SPDX-License-Identifier: MIT OR Apache-2.0

//! Varyings, coefficients, tilebuffer, textures and images.

use super::{Row, row};
use crate::isa::Op;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row(Op::NoVar, "no_var", "4", 0x8040_03ff, 0x8000_0051,
        ""),
    row(Op::StVar, "st_var", "4", 0x8040_037f, 0x8000_0011,
        "s.exreg32[10:14 24:25] s.uvs[16:21 26:27 23] last[7]"),
    row(Op::LdTile, "ld_tile", "8/10@15", 0x8_0000_007f, 0x8_0000_0049,
        "d.memory[9:14 60:61 8 36:39] s.tilecoord[16:21 58:59 55] s.samples[42:47 56:57 22] #offset[28:34 40:41] format:format[24:27] mask:mask[36:39]"),
    row(Op::StTile, "st_tile", "8/10@15", 0x7f, 0x9,
        "s.memory[9:14 60:61 8 36:39] s.tilecoord[16:21 58:59 55] s.samples[42:47 56:57 22] #offset[28:34 40:41] explicit_coords[35] format:format[24:27] mask:mask[36:39]"),
    row(Op::SampleMask, "sample_mask", "4", 0x80ff, 0xc1,
        "s.discard[9:14 24:25 8] s.discard[16:21 26:27 23]"),
    row(Op::ZsEmit, "zs_emit", "4", 0xc0_80ff, 0x41,
        "s.discard[9:14 24:25 8] s.zs[16:21 26:27 29 30]"),
    row(Op::Iter, "iter", "4/8@15", 0xff, 0x21,
        "d.diter[8:14 56:57 30:31] s.cf[16:21 58:59 23] s.itersample[32:39 48:49] fwd[22] elide[46] interpolation:interpolation[48:49] kill[52]"),
    row(Op::Iterproj, "iter", "4/8@15", 0xff, 0x61,
        "d.diter[8:14 56:57 30:31] s.cf[16:21 58:59 23] s.cfperspective[24:29 60:61] s.itersample[32:39 48:49] fwd[22] elide[46] interpolation:interpolation[48:49] kill[52]"),
    row(Op::Ldcf, "ldcf", "4/8@15", 0xff, 0xa1,
        "d.dldcf[8:14 56:57 30:31] s.cf[16:21 58:59 23] s.itersample[32:39 48:49]"),
    row(Op::Smpf, "smpf", "8/12@15", 0x6000_0000_00ff, 0x6000_0000_0031,
        "d.memory[9:14 72:73 8 48:51] s.heap[64:68 39] s.texture[32:37 78:79 38:39] s.sampler[56:61 92:93 62] s.coord[16:21 74:75 22 47] s.lod[24:29 76:77 52:55] s.zs[80:85 94:95 23 91] shadow[23] query_lod[31] rw[43] coherent[44] sparse[70] kill[69] dim:dim[40:42 71] mask:mask[48:51] lod_type:lod_type[52:55] gather:gather[87:90] group:group[63]"),
    row(Op::Smpi, "smpi", "8/12@15", 0x6000_0000_00ff, 0x6000_0000_0071,
        "d.memory[9:14 72:73 8 48:51] s.heap[64:68 39] s.texture[32:37 78:79 38:39] s.sampler[56:61 92:93 62] s.coord[16:21 74:75 22 47] s.lod[24:29 76:77 52:55] s.zs[80:85 94:95 23 91] shadow[23] query_lod[31] rw[43] coherent[44] sparse[70] kill[69] dim:dim[40:42 71] mask:mask[48:51] lod_type:lod_type[52:55] gather:gather[87:90] group:group[63]"),
    row(Op::Imgw, "imgw", "6/8@15", 0x4800_0080_00ff, 0x4800_0080_00f1,
        "s.pbesource[9:14 56:57 8] s.heap[48:52 39] s.texture[32:37 62:63 38:39] s.coord[16:21 58:59 22 47] s.uvs[24:29 60:61 31] dim:dim[40:42 55] rtz[53] coherency:coherent[44:45]"),
    row(Op::Imgwblk, "imgwblk", "6/10@15", 0x3ff8_0000_4800_0000_00ff, 0x8_0000_4800_0000_00b1,
        "s.exreg16[9:14 56:57] s.heap[48:52 39] s.texture[32:37 62:63 38:39] s.coord[16:21 58:59 22 47] s.uvs[24:29 60:61 31] explicit_coords[23] dim:dim[40:42 55] format:format[8 64:66] rtz[53]"),
];
