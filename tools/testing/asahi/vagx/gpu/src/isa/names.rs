// SPDX-License-Identifier: MIT OR Apache-2.0

//! The names of choices in instructions, as the disassembly shows them (Mesa, `src/asahi/isa/AGX2.xml`).
//! An empty name is a default that is not shown; a number that is missing is not a valid choice.

/// Numbers and names of one kind of choice.
pub(super) type Names = [(u8, &'static str)];

/// The name of `value`.
pub(super) fn name(names: &'static Names, value: u64) -> Option<&'static str> {
    names.iter().find(|n| u64::from(n.0) == value).map(|n| n.1)
}

/// The names of a kind of choice, by the word that the tables use for it.
pub(super) fn of(kind: &str) -> &'static Names {
    KINDS
        .iter()
        .find(|k| k.0 == kind)
        .expect("kind of choice")
        .1
}

#[rustfmt::skip]
const KINDS: &[(&str, &Names)] = &[
    ("interpolation", &[
        (0, ""), (1, "sample"), (2, "centroid"), (3, "sample"),
    ]),
    ("coherent", &[
        (0, ""), (1, "coherent1"), (2, "coherent2"), (3, "coherent"),
    ]),
    ("atomic", &[
        (0, "add"), (1, "sub"), (2, "xchg"), (3, "cmpxchg"), (4, "umin"), (5, "imin"), (6, "umax"),
        (7, "imax"), (8, "and"), (9, "or"), (10, "xor"),
    ]),
    ("sr", &[
        (0, "threadgroup_in_grid_x"), (1, "threadgroup_in_grid_y"), (2, "threadgroup_in_grid_z"),
        (4, "threads_per_threadgroup_x"), (5, "threads_per_threadgroup_y"),
        (6, "threads_per_threadgroup_z"), (8, "dispatch_threads_per_threadgroup_x"),
        (9, "dispatch_threads_per_threadgroup_y"), (10, "dispatch_threads_per_threadgroup_z"),
        (12, "threadgroup_width"), (13, "threadgroup_height"), (14, "samples_log2"), (20, "core_index"),
        (21, "vm_slot"), (48, "thread_in_threadgroup_x"), (49, "thread_in_threadgroup_y"),
        (50, "thread_in_threadgroup_z"), (51, "thread_index_in_threadgroup"),
        (52, "thread_index_in_simdgroup"), (53, "simdgroup_index_in_threadgroup"),
        (56, "active_thread_index_in_quadgroup"), (57, "total_active_threads_in_quadgroup"),
        (58, "active_thread_index_in_simdgroup"), (59, "total_active_threads_in_simdgroup"),
        (60, "internal_coverage_mask"), (62, "backfacing"), (63, "is_active_thread"),
        (80, "thread_in_grid_x"), (81, "thread_in_grid_y"), (82, "thread_in_grid_z"),
        (124, "input_sample_mask"), (144, "helper_op"), (146, "helper_arg_l"), (147, "helper_arg_h"),
    ]),
    ("round", &[
        (0, "rtz"), (1, "rte"),
    ]),
    ("group", &[
        (0, "a"), (1, "b"),
    ]),
    ("shift", &[
        (0, ""), (1, "lsl 1"), (2, "lsl 2"), (3, "lsl 3"), (4, "lsl 4"),
    ]),
    ("icond", &[
        (0, "ieq"), (1, "ult"), (2, "ugt"), (4, "seq"), (5, "slt"), (6, "sgt"), (8, "ine"), (9, "ugte"),
        (10, "ulte"), (12, "nseq"), (13, "sgte"), (14, "slte"),
    ]),
    ("fcond", &[
        (0, "feq"), (1, "flt"), (2, "fgt"), (3, "fltn"), (5, "fgte"), (6, "flte"), (7, "fgtn"),
        (8, "fneq"), (9, "fnlt"), (10, "fngt"), (11, "fnltn"), (13, "fngte"), (14, "fnlte"), (15, "fngtn"),
    ]),
    ("mask", &[
        (0, "none"), (1, "x"), (2, "y"), (3, "xy"), (4, "z"), (5, "xz"), (6, "yz"), (7, "xyz"), (8, "w"),
        (9, "xw"), (10, "yw"), (11, "xyw"), (12, "zw"), (13, "xzw"), (14, "yzw"), (15, "xyzw"),
    ]),
    ("format", &[
        (0, "i8"), (1, "i16"), (2, "i32"), (3, "f16"), (4, "u8norm"), (5, "s8norm"), (6, "u16norm"),
        (7, "s16norm"), (8, "rgb10a2"), (10, "srgba8"), (12, "rg11b10f"), (13, "rgb9e5"),
        (14, "rg11b10f_rtz"), (15, "rgb9e5_rtz"),
    ]),
    ("dim", &[
        (0, "1d"), (1, "1d_array"), (2, "2d"), (3, "2d_array"), (4, "2d_ms"), (5, "3d"), (6, "cube"),
        (7, "cube_array"), (8, "2d_ms_array"),
    ]),
    ("gather", &[
        (0, ""), (1, "gather_r"), (3, "gather_g"), (5, "gather_b"), (7, "gather_a"),
    ]),
    ("lod_type", &[
        (0, "auto_lod"), (1, "auto_lod_bias"), (2, "lod_min"), (4, "lod_grad"), (5, "auto_lod_bias"),
        (6, "lod_min"), (9, "auto_lod_bias_min"), (12, "lod_grad_min"), (13, "auto_lod_bias_min"),
    ]),
    ("quad", &[
        (0, "quad"), (1, ""),
    ]),
    ("shuffle_op", &[
        (0, ""), (1, "xor"), (2, "up"), (3, "down"),
    ]),
    ("subop", &[
        (0, "and"), (1, "fadd"), (2, "or"), (3, "fmul"), (4, "xor"), (5, "fmin"), (7, "fmax"),
        (16, "iadd"), (20, "smin"), (22, "smax"), (28, "umin"), (30, "umax"),
    ]),
];
