// SPDX-License-Identifier: MIT OR Apache-2.0

//! From coordinates to texels along one axis.

use super::real::{Reals, clamp};
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

/// Brings coordinates into a range of a few times the texture's size, counted in texels.
#[inline(always)]
fn position(
    wrap: Wrap,
    coord: &Reals,
    size: &Reals,
    pixels: bool,
    offset: Option<&Lanes>,
) -> Reals {
    // With coordinates in texels, only clamping wraps mean something, and repeating is not asked for.
    let texels = match wrap {
        Wrap::Repeat if !pixels => coord.zip(size, |c, n| (c - c.floor()) * n),
        Wrap::MirroredRepeat if !pixels => {
            coord.zip(size, |c, n| (c - 2.0 * (c * 0.5).floor()) * n)
        }
        _ if pixels => *coord,
        _ => coord.zip(size, |c, n| c * n),
    }
    .zip(size, |c, n| clamp(c, -2.0 * n - FAR, 2.0 * n + FAR));
    let moved = match offset {
        Some(offset) if offset_first(wrap) => texels.zip(Reals::from_ints(offset), |c, o| c + o),
        _ => texels,
    };
    match wrap {
        Wrap::MirroredClampToEdge => moved.map(f32::abs),
        Wrap::ClampGl => moved.zip(size, |c, n| clamp(c, 0.0, n)),
        _ => moved,
    }
}

/// The texel that `index` stands for, which is at most a few times the size away; and whether that is the border.
#[inline(always)]
fn wrapped(wrap: Wrap, index: &Lanes, size: &Lanes, offset: bool) -> (Lanes, Lanes) {
    let int = |f: fn(i32, i32) -> i32| index.zip(*size, |i, n| f(i as i32, n as i32) as u32);
    let inside = match wrap {
        // Without an offset, and rounding aside, an index is off by one at most.
        Wrap::Repeat if !offset => int(|i, n| {
            let i = if i < 0 { i + n } else { i };
            if i >= n { i - n } else { i }
        }),
        Wrap::Repeat => int(|i, n| i.rem_euclid(n.max(1))),
        Wrap::MirroredRepeat if !offset => int(|i, n| {
            let i = if i < 0 { -1 - i } else { i };
            if i >= n { 2 * n - 1 - i } else { i }
        }),
        Wrap::MirroredRepeat => int(|i, n| {
            let i = i.rem_euclid(2 * n.max(1));
            if i >= n { 2 * n - 1 - i } else { i }
        }),
        Wrap::MirroredClampToEdge => int(|i, _| if i < 0 { -1 - i } else { i }),
        _ => *index,
    };
    let border = match wrap {
        Wrap::ClampToBorder | Wrap::ClampGl => {
            index.zip(*size, |i, n| u32::from(i >= n).wrapping_neg())
        }
        _ => Lanes::ZERO,
    };
    let inside = inside.zip(*size, |i, n| (i as i32).min(n as i32 - 1).max(0) as u32);
    (inside, border)
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
    // In fixed point with eight bits of fraction, as graphics hardware has it.
    let fixed = position(wrap, coord, &sizes, pixels, offset)
        .map(|c| ((c - 0.5) * 256.0 + 0.5).floor())
        .ints();
    let weight = Reals::from_ints(&fixed.map(|f| f & 0xff)).map(|w| w * (1.0 / 256.0));
    let mut first = fixed.map(|f| (f as i32 >> 8) as u32);
    if let Some(offset) = offset
        && !offset_first(wrap)
    {
        first = first.zip(offset, u32::wrapping_add);
    }
    (first, weight)
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
