// SPDX-License-Identifier: MIT OR Apache-2.0

//! From coordinates to texels along one axis.

use super::real::{Reals, clamp, whole};
use super::sampler::Wrap;
use crate::exec::Lanes;

/// Coordinates farther outside than this are as good as this far: more than any offset.
const FAR: f32 = 64.0;

/// The texels along one axis that a filter reads.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub(super) texels: [Lanes; 2],
    /// Masks of the lanes whose texel is the border's.
    pub(super) border: [Lanes; 2],
    /// How much of the second texel there is in the result.
    pub(super) weight: Reals,
}

/// Whether an offset has to be added before the coordinate is folded or clamped, and not to a texel's number.
fn offset_first(wrap: Wrap) -> bool {
    matches!(wrap, Wrap::ClampGl | Wrap::MirroredClampToEdge)
}

/// Does something for a wrap that the compiler then knows.
macro_rules! with_wrap {
    ($wrap:expr, |$known:ident| $body:expr) => {{
        macro_rules! of {
            ($name:ident) => {{
                const $known: Wrap = Wrap::$name;
                $body
            }};
        }
        match $wrap {
            Wrap::ClampToEdge => of!(ClampToEdge),
            Wrap::Repeat => of!(Repeat),
            Wrap::MirroredRepeat => of!(MirroredRepeat),
            Wrap::ClampToBorder => of!(ClampToBorder),
            Wrap::ClampGl => of!(ClampGl),
            Wrap::MirroredClampToEdge => of!(MirroredClampToEdge),
        }
    }};
}

/// A coordinate in a range of a few times the texture's size, counted in texels.
#[inline(always)]
fn texels(wrap: Wrap, coord: f32, size: f32, pixels: bool) -> f32 {
    // With coordinates in texels, only clamping wraps mean something, and repeating is not asked for.
    let texels = match wrap {
        _ if pixels => coord,
        Wrap::Repeat => (coord - coord.floor()) * size,
        Wrap::MirroredRepeat => (coord - 2.0 * (coord * 0.5).floor()) * size,
        _ => coord * size,
    };
    clamp(texels, -2.0 * size - FAR, 2.0 * size + FAR)
}

/// The same where some wraps want it, after offsets were added.
#[inline(always)]
fn folded(wrap: Wrap, texels: f32, size: f32) -> f32 {
    match wrap {
        Wrap::MirroredClampToEdge => texels.abs(),
        Wrap::ClampGl => clamp(texels, 0.0, size),
        _ => texels,
    }
}

/// The texel that `index` stands for, which is at most a few times the size away if there was an `offset`, and else,
/// rounding aside, off by one. If that is the border, it is any.
#[inline(always)]
fn inside(wrap: Wrap, index: i32, size: i32, offset: bool) -> i32 {
    let (i, n) = (index, size);
    let i = match wrap {
        Wrap::Repeat if offset => i.rem_euclid(n.max(1)),
        Wrap::Repeat => {
            let i = if i < 0 { i + n } else { i };
            if i >= n { i - n } else { i }
        }
        Wrap::MirroredRepeat => {
            let i = match offset {
                true => i.rem_euclid(2 * n.max(1)),
                false if i < 0 => -1 - i,
                false => i,
            };
            if i >= n { 2 * n - 1 - i } else { i }
        }
        Wrap::MirroredClampToEdge if i < 0 => -1 - i,
        _ => i,
    };
    i.min(n - 1).max(0)
}

/// A coordinate between texels in fixed point with eight bits of fraction, as graphics hardware has it.
#[inline(always)]
fn fixed(texels: f32) -> i32 {
    whole(((texels - 0.5) * 256.0 + 0.5).floor())
}

#[inline(always)]
fn position(
    wrap: Wrap,
    coord: &Reals,
    size: &Reals,
    pixels: bool,
    offset: Option<&Lanes>,
) -> Reals {
    with_wrap!(wrap, |W| {
        let at = coord.zip(size, |c, n| texels(W, c, n, pixels));
        let moved = match offset {
            Some(offset) if offset_first(W) => at.zip(Reals::from_ints(offset), |c, o| c + o),
            _ => at,
        };
        moved.zip(size, |c, n| folded(W, c, n))
    })
}

/// The texels that indices stand for; and whether those are the border.
#[inline(always)]
fn wrapped(wrap: Wrap, index: &Lanes, size: &Lanes, offset: bool) -> (Lanes, Lanes) {
    let found = with_wrap!(wrap, |W| match offset {
        true => index.zip(size, |i, n| inside(W, i as i32, n as i32, true) as u32),
        false => index.zip(size, |i, n| inside(W, i as i32, n as i32, false) as u32),
    });
    let border = match wrap.has_border() {
        true => index.zip(size, |i, n| u32::from(i >= n).wrapping_neg()),
        false => Lanes::ZERO,
    };
    (found, border)
}

/// The texel that is nearest to a coordinate.
#[inline(always)]
pub(super) fn nearest(
    wrap: Wrap,
    coord: &Reals,
    size: &Lanes,
    pixels: bool,
    offset: Option<&Lanes>,
) -> (Lanes, Lanes) {
    let sizes = Reals::from_ints(size);
    let mut index = position(wrap, coord, &sizes, pixels, offset)
        .map(f32::floor)
        .ints();
    if wrap == Wrap::ClampGl {
        index = index.zip(*size, |i, n| i.min(n.wrapping_sub(1)));
    }
    if let Some(offset) = offset
        && !offset_first(wrap)
    {
        index = index.zip(offset, u32::wrapping_add);
    }
    wrapped(wrap, &index, size, offset.is_some())
}

/// The same in a level of one size, for wraps that have no border.
#[inline(always)]
pub(super) fn nearest_in(wrap: Wrap, coord: &Reals, size: u32) -> Lanes {
    let (n, count) = (size as f32, size as i32);
    let mut out = Lanes::ZERO;
    with_wrap!(wrap, |W| for lane in 0..32 {
        let at = folded(W, texels(W, coord.0[lane], n, false), n);
        out.0[lane] = inside(W, whole(at.floor()), count, false) as u32;
    });
    out
}

/// The two texels on both sides of a coordinate. Where the second one has no weight it is the first, unless `both` are
/// wanted.
#[inline(always)]
pub(super) fn linear(
    wrap: Wrap,
    coord: &Reals,
    size: &Lanes,
    pixels: bool,
    offset: Option<&Lanes>,
    both: bool,
) -> Axis {
    let (first, weight) = between(wrap, coord, size, pixels, offset);
    let second = first.map(|i| i.wrapping_add(1));
    let (first, first_border) = wrapped(wrap, &first, size, offset.is_some());
    let (mut second, mut second_border) = wrapped(wrap, &second, size, offset.is_some());
    if !both {
        let used = weight.test(Reals::ZERO, |a, b| a != b);
        second = second.select(first, used);
        second_border = second_border.select(first_border, used);
    }
    Axis {
        texels: [first, second],
        border: [first_border, second_border],
        weight,
    }
}

/// The same in a level of one size, for wraps that have no border. Weights of the second texels are in units of 1/256.
#[inline(always)]
pub(super) fn linear_in(wrap: Wrap, coord: &Reals, size: u32) -> ([Lanes; 2], Lanes) {
    let (n, count) = (size as f32, size as i32);
    let mut out = [Lanes::ZERO; 2];
    let mut weights = Lanes::ZERO;
    with_wrap!(wrap, |W| for lane in 0..32 {
        let at = fixed(folded(W, texels(W, coord.0[lane], n, false), n));
        let (index, weight) = (at >> 8, at & 0xff);
        let next = index + i32::from(weight != 0);
        out[0].0[lane] = inside(W, index, count, false) as u32;
        out[1].0[lane] = inside(W, next, count, false) as u32;
        weights.0[lane] = weight as u32;
    });
    (out, weights)
}

/// The first of two texels and the second one's weight, before wrapping.
#[inline(always)]
fn between(
    wrap: Wrap,
    coord: &Reals,
    size: &Lanes,
    pixels: bool,
    offset: Option<&Lanes>,
) -> (Lanes, Reals) {
    let sizes = Reals::from_ints(size);
    let at = position(wrap, coord, &sizes, pixels, offset);
    let mut fraction = Lanes::ZERO;
    let mut first = Lanes::ZERO;
    for lane in 0..32 {
        let fixed = fixed(at.0[lane]);
        fraction.0[lane] = fixed as u32 & 0xff;
        first.0[lane] = (fixed >> 8) as u32;
    }
    if let Some(offset) = offset
        && !offset_first(wrap)
    {
        first = first.zip(offset, u32::wrapping_add);
    }
    (first, Reals::weights(&fraction))
}

/// The two texels on both sides of a coordinate on a face of a cube: they may be one beyond its edges.
#[inline(always)]
pub(super) fn on_face(coord: &Reals, size: &Lanes) -> Axis {
    let inside = coord.map(|c| clamp(c, 0.0, 1.0));
    let (first, weight) = between(Wrap::ClampToEdge, &inside, size, false, None);
    Axis {
        texels: [first, first.map(|i| i.wrapping_add(1))],
        border: [Lanes::ZERO; 2],
        weight,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texture::sampler::Wrap::*;

    fn one_nearest(wrap: Wrap, coord: f32, size: u32, offset: i32) -> Option<u32> {
        let offset = Lanes::splat(offset as u32);
        let offset = (offset != Lanes::ZERO).then_some(&offset);
        let coord = Reals([coord; 32]);
        let (texel, border) = nearest(wrap, &coord, &Lanes::splat(size), false, offset);
        (border.0[0] == 0).then_some(texel.0[0])
    }

    fn one_linear(wrap: Wrap, coord: f32, size: u32) -> ([Option<u32>; 2], f32) {
        let axis = linear(
            wrap,
            &Reals([coord; 32]),
            &Lanes::splat(size),
            false,
            None,
            true,
        );
        let texel = |n: usize| (axis.border[n].0[0] == 0).then_some(axis.texels[n].0[0]);
        ([texel(0), texel(1)], axis.weight.0[0])
    }

    #[test]
    fn nearest_texels() {
        // In units of texels of a texture of four.
        let cases: &[(Wrap, f32, i32)] = &[
            (ClampToEdge, -0.5, 0),
            (ClampToEdge, 3.99, 3),
            (ClampToEdge, 4.0, 3),
            (ClampToEdge, 1e30, 3),
            (ClampToEdge, f32::NEG_INFINITY, 0),
            (Repeat, -0.5, 3),
            (Repeat, 4.0, 0),
            (Repeat, 401.5, 1),
            (MirroredRepeat, -0.5, 0),
            (MirroredRepeat, -1.5, 1),
            (MirroredRepeat, 4.5, 3),
            (MirroredRepeat, 7.5, 0),
            (MirroredRepeat, 8.5, 0),
            (ClampToBorder, -0.01, -1),
            (ClampToBorder, 3.99, 3),
            (ClampToBorder, 4.0, -1),
            (ClampGl, -0.5, 0),
            (ClampGl, 9.0, 3),
            (MirroredClampToEdge, -1.5, 1),
            (MirroredClampToEdge, -9.0, 3),
            (MirroredClampToEdge, -1e9, 3),
            (MirroredClampToEdge, 9.0, 3),
        ];
        for &(wrap, at, expected) in cases {
            let got = one_nearest(wrap, at / 4.0, 4, 0).map_or(-1, |i| i as i32);
            assert_eq!(got, expected, "{wrap:?} {at}");
        }
        for wrap in [ClampToEdge, Repeat, MirroredRepeat, MirroredClampToEdge] {
            assert!(one_nearest(wrap, f32::NAN, 4, 0).unwrap() < 4);
            assert!(one_nearest(wrap, f32::INFINITY, 4, -8).unwrap() < 4);
        }
    }

    #[test]
    fn offsets() {
        assert_eq!(one_nearest(Repeat, 0.1, 4, -8), Some(0));
        assert_eq!(one_nearest(Repeat, 0.1, 3, 7), Some(1));
        assert_eq!(one_nearest(MirroredRepeat, 0.1, 2, -7), Some(1));
        assert_eq!(one_nearest(ClampToEdge, 0.9, 4, 7), Some(3));
        assert_eq!(one_nearest(ClampToBorder, 0.1, 4, -1), None);
        assert_eq!(one_nearest(ClampToBorder, -0.5, 4, 3), Some(1));
        assert_eq!(one_nearest(ClampGl, -0.5, 4, 3), Some(1));
        assert_eq!(one_nearest(ClampGl, 0.1, 4, -8), Some(0));
        assert_eq!(one_nearest(MirroredClampToEdge, 0.1, 4, -3), Some(2));
    }

    #[test]
    fn pairs_of_texels() {
        assert_eq!(one_linear(ClampToEdge, 0.5, 4), ([Some(1), Some(2)], 0.5));
        assert_eq!(one_linear(ClampToEdge, 0.0, 4), ([Some(0), Some(0)], 0.5));
        assert_eq!(one_linear(Repeat, 0.0, 4), ([Some(3), Some(0)], 0.5));
        assert_eq!(one_linear(Repeat, 1.0, 4), ([Some(3), Some(0)], 0.5));
        assert_eq!(one_linear(Repeat, 0.5, 1), ([Some(0), Some(0)], 0.0));
        assert_eq!(
            one_linear(MirroredRepeat, 1.0, 4),
            ([Some(3), Some(3)], 0.5)
        );
        assert_eq!(
            one_linear(MirroredRepeat, 2.0, 4),
            ([Some(0), Some(0)], 0.5)
        );
        assert_eq!(one_linear(ClampToBorder, 0.0, 4), ([None, Some(0)], 0.5));
        assert_eq!(one_linear(ClampGl, 2.0, 4), ([Some(3), None], 0.5));
        assert_eq!(one_linear(ClampGl, -2.0, 4), ([None, Some(0)], 0.5));
        assert_eq!(
            one_linear(MirroredClampToEdge, -0.5, 4),
            ([Some(1), Some(2)], 0.5)
        );
        // Texel centres give the texel and nothing else.
        for i in 0..300 {
            let at = (i as f32 + 0.5) / 300.0;
            let (texels, weight) = one_linear(ClampToEdge, at, 300);
            assert_eq!((texels[0], weight), (Some(i), 0.0));
        }
    }
}
