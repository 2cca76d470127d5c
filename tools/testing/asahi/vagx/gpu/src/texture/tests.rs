// SPDX-License-Identifier: MIT OR Apache-2.0

//! Small textures in memory of a test's own, sampled.

use super::*;
use crate::memory::{Access, GpuMemory, PAGE_SIZE, Unmapped};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

pub(crate) const BASE: u64 = 0x1_0000;
const PAGES: usize = 32;

pub(crate) struct Space(Vec<AtomicU32>);

// SAFETY: The pages lie in a vector of atomics that lives as long as `self` and starts at a multiple of 8 bytes.
unsafe impl GpuMemory for Space {
    fn page(&self, va: u64, _: Access) -> Result<NonNull<u8>, Unmapped> {
        let offset = (va.wrapping_sub(BASE) / PAGE_SIZE * PAGE_SIZE) as usize;
        let word = self.0.get(offset / 4).ok_or(Unmapped)?;
        Ok(NonNull::from(word).cast())
    }
}

/// A texture and its sampler in their encoded forms.
pub(crate) struct Scene {
    pub(crate) space: Space,
    pub(crate) texture: [u8; 24],
    pub(crate) sampler: [u8; 24],
}

pub(crate) fn set(state: &mut [u8; 24], at: usize, value: u64) {
    for bit in (0..64).filter(|bit| value >> bit & 1 != 0) {
        state[(at + bit) / 8] |= 1 << ((at + bit) % 8);
    }
}

const RGBA8: u64 = 0x28;
const R32: u64 = 0x21;
const UNORM: u64 = 0;
const UINT: u64 = 2;
const FLOAT: u64 = 4;

impl Scene {
    /// A texture in the GPU's tiles, whose texels of a word `fill` makes from level, x, y, layer or slice, and sample.
    fn new(
        dim: u64,
        (channels, kind): (u64, u64),
        [width, height, depth]: [u64; 3],
        last_level: u64,
        fill: impl Fn(u32, u32, u32, u32, u32) -> u32,
    ) -> Scene {
        let mut texture = [0; 24];
        let fields = [
            (0, dim),
            (4, 2),
            (6, channels),
            (13, kind),
            (16, 0o3210),
            (28, width - 1),
            (42, height - 1),
            (60, last_level),
            (64, 1),
            (66, BASE >> 4),
            (110, depth - 1),
        ];
        for (at, value) in fields {
            set(&mut texture, at, value);
        }
        let words = PAGES * PAGE_SIZE as usize / 4;
        let space = Space((0..words).map(|_| AtomicU32::new(0)).collect());
        let image = Image::texture(&texture).unwrap();
        for level in 0..=image.last_level {
            let [width, height, slices] = image.level_size(level);
            let layers = if dim == 5 { slices } else { image.layers() };
            for layer in 0..layers {
                for y in 0..height {
                    for x in 0..width {
                        for sample in 0..image.samples {
                            let offset = image.layout.offset(level as usize, x, y, layer, sample);
                            space.0[offset as usize / 4]
                                .store(fill(level, x, y, layer, sample), Relaxed);
                        }
                    }
                }
            }
        }
        let mut sampler = [0; 24];
        set(&mut sampler, 10, 14 << 6);
        Scene {
            space,
            texture,
            sampler,
        }
    }

    pub(crate) fn write(&self, va: u64, bytes: &[u8]) {
        for (i, word) in bytes.as_chunks().0.iter().enumerate() {
            let word = u32::from_le_bytes(*word);
            self.space.0[(va - BASE) as usize / 4 + i].store(word, Relaxed);
        }
    }

    fn sampler(mut self, fields: &[(usize, u64)]) -> Scene {
        for &(at, value) in fields {
            set(&mut self.sampler, at, value);
        }
        self
    }

    fn perform(&self, action: Action, request: &Request) -> Result<[Lanes; 4], Trouble> {
        let mut states = States::default();
        let (texture, sampler) = states.find(&self.texture, &self.sampler).unwrap();
        let mut memory = Memory::new(&self.space);
        let mut port = Port {
            memory: &mut memory,
            unknown: &mut 0,
            cpu: Cpu::detect(false),
        };
        let mut out = [Lanes::ZERO; 4];
        perform(action, texture, sampler, &mut port, request, &mut out).map(|()| out)
    }

    /// The first lane's result, as floats.
    fn sample(&self, request: &Request) -> [f32; 4] {
        let texels = self.perform(Action::Sample, request).unwrap();
        texels.map(|t| f32::from_bits(t.0[0]))
    }

    fn red(&self, request: &Request) -> f32 {
        self.sample(request)[0]
    }

    /// The first lane's texel, as integers.
    fn fetch(&self, request: &Request) -> [u32; 4] {
        let texels = self.perform(Action::Fetch, request).unwrap();
        texels.map(|t| t.0[0])
    }
}

const LINEAR: [(usize, u64); 2] = [(23, 1), (25, 1)];

fn at(dim: Dimension, coords: [f32; 3]) -> Request {
    Request {
        active: u32::MAX,
        dim,
        coords: coords.map(|c| Lanes::splat(c.to_bits())),
        layer: Lanes::ZERO,
        sample: Lanes::ZERO,
        lod: Lod::Zero,
        compare: None,
        offset: None,
        gather: None,
        wanted: 15,
    }
}

fn at_2d(s: f32, t: f32) -> Request {
    at(Dimension::D2, [s, t, 0.0])
}

fn texel(x: u32, y: u32) -> Request {
    Request {
        coords: [x, y, 0].map(Lanes::splat),
        ..at_2d(0.0, 0.0)
    }
}

fn level(request: Request, level: f32) -> Request {
    Request {
        lod: Lod::Level(Lanes::splat(level.to_bits())),
        ..request
    }
}

/// 4×4 texels of red 16 * x and green 16 * y.
pub(crate) fn gradient() -> Scene {
    Scene::new(2, (RGBA8, UNORM), [4, 4, 1], 0, |_, x, y, _, _| {
        (16 * x) | (16 * y) << 8 | 0xff00_0000
    })
}

#[test]
fn bilinear() {
    let scene = gradient().sampler(&LINEAR);
    assert_eq!(
        scene.sample(&at_2d(0.375, 0.625)),
        [16.0 / 255.0, 32.0 / 255.0, 0.0, 1.0]
    );
    let [r, g, ..] = scene.sample(&at_2d(0.5, 0.3125));
    assert!((r * 255.0 - 24.0).abs() < 1e-4 && (g * 255.0 - 12.0).abs() < 1e-4);
    // Clamped to the edge, and nearest.
    assert_eq!(scene.red(&at_2d(9.0, 0.5)) * 255.0, 48.0);
    assert_eq!(gradient().red(&at_2d(0.499, 0.5)) * 255.0, 16.0);
    assert_eq!(gradient().red(&at_2d(0.5, 0.5)) * 255.0, 32.0);
}

#[test]
fn every_lane_has_its_own_texel() {
    let scene = gradient();
    let mut request = at_2d(0.0, 0.0);
    for lane in 0..32 {
        request.coords[0].0[lane] = ((lane % 4) as f32 / 4.0 + 0.125).to_bits();
        request.coords[1].0[lane] = ((lane / 4 % 4) as f32 / 4.0 + 0.125).to_bits();
    }
    let [r, g, ..] = scene.perform(Action::Sample, &request).unwrap();
    for lane in 0..32 {
        assert_eq!(f32::from_bits(r.0[lane]), (16 * (lane % 4)) as f32 / 255.0);
        assert_eq!(
            f32::from_bits(g.0[lane]),
            (16 * (lane / 4 % 4)) as f32 / 255.0
        );
    }
}

#[test]
fn borders() {
    let border = [(29, 3), (32, 3), (55, 2)];
    let scene = gradient().sampler(&LINEAR).sampler(&border);
    assert_eq!(scene.sample(&at_2d(-1.0, 0.5)), [1.0; 4]);
    let half = scene.red(&at_2d(0.0, 0.375));
    assert!((half - 0.5).abs() < 1e-6, "{half}");
    let custom = [(29, 3), (55, 3), (64, 51), (96, 255)];
    let scene = gradient().sampler(&custom);
    assert_eq!(scene.sample(&at_2d(2.0, 0.5)), [0.2, 1.0, 0.0, 0.0]);
}

/// 8×8 texels and three levels below, each of its number.
fn pyramid() -> Scene {
    Scene::new(2, (R32, FLOAT), [8, 8, 1], 3, |level, _, _, _, _| {
        (level as f32).to_bits()
    })
}

#[test]
fn levels() {
    let nearest = pyramid().sampler(&[(27, 1)]);
    let linear = pyramid().sampler(&[(27, 2)]);
    for (lod, of_nearest, of_linear) in [
        (0.0, 0.0, 0.0),
        (0.75, 1.0, 0.75),
        (2.25, 2.0, 2.25),
        (7.0, 3.0, 3.0),
        (-1.0, 0.0, 0.0),
    ] {
        assert_eq!(nearest.red(&level(at_2d(0.3, 0.3), lod)), of_nearest);
        assert_eq!(linear.red(&level(at_2d(0.3, 0.3), lod)), of_linear);
    }
    assert_eq!(pyramid().red(&level(at_2d(0.3, 0.3), 2.0)), 0.0);
    // Limits of the sampler: from 0.5 to 1.5.
    let mut limited = pyramid().sampler(&[(0, 32), (27, 2)]);
    limited.sampler[1] &= 3;
    limited.sampler[2] &= 0xf0;
    set(&mut limited.sampler, 10, 96);
    assert_eq!(limited.red(&level(at_2d(0.3, 0.3), 0.0)), 0.5);
    assert_eq!(limited.red(&level(at_2d(0.3, 0.3), 3.0)), 1.5);
}

/// Coordinates that move by these per pixel.
fn moving(x: f32, y: f32) -> Request {
    let mut request = at_2d(0.0, 0.0);
    for lane in 0..32 {
        let column = (lane / 4 * 2 + lane % 2) as f32;
        request.coords[0].0[lane] = (column * x).to_bits();
        request.coords[1].0[lane] = ((lane / 2 % 2) as f32 * y).to_bits();
    }
    request
}

fn implicit(request: Request, bias: Option<f32>) -> Request {
    let bias = bias.map(|bias| Lanes::splat(bias.to_bits()));
    Request {
        lod: Lod::Implicit { bias, least: None },
        ..request
    }
}

#[test]
fn implicit_levels() {
    let scene = pyramid().sampler(&[(27, 2), (29, 1), (32, 1)]);
    let request = || moving(0.25, 0.125);
    assert_eq!(scene.red(&implicit(request(), None)), 1.0);
    assert_eq!(scene.red(&implicit(request(), Some(0.5))), 1.5);
    let d = [[0.125f32, 0.0], [0.0, 0.5], [0.0, 0.0]];
    let d = d.map(|d| d.map(|d| Lanes::splat(d.to_bits())));
    let least = None;
    let lod = Lod::Gradient { d, least };
    assert_eq!(scene.red(&Request { lod, ..request() }), 2.0);
    let least = Some(Lanes::splat(2.5f32.to_bits()));
    let lod = Lod::Gradient { d, least };
    assert_eq!(scene.red(&Request { lod, ..request() }), 2.5);
}

#[test]
fn query() {
    let scene = pyramid().sampler(&[(27, 2)]);
    let ask = |scale: f32| {
        let request = implicit(moving(scale, 0.0), None);
        let [level, lod, ..] = scene.perform(Action::Query, &request).unwrap();
        (f32::from_bits(level.0[0]), f32::from_bits(lod.0[0]))
    };
    assert_eq!(ask(0.25), (1.0, 1.0));
    assert_eq!(ask(4.0), (3.0, 5.0));
    assert_eq!(ask(0.03125), (0.0, -2.0));
}

#[test]
fn anisotropy() {
    // Columns of zero and one; the footprint is four texels wide and one high.
    let scene = |most: u64| {
        let fill = |level: u32, x: u32, _, _, _| match level {
            0 => ((x % 2) as f32).to_bits(),
            _ => 7f32.to_bits(),
        };
        Scene::new(2, (R32, FLOAT), [8, 8, 1], 3, fill).sampler(&[
            (20, most),
            (27, 1),
            (29, 1),
            (32, 1),
        ])
    };
    let request = implicit(moving(0.5, 0.125), None);
    assert_eq!(scene(0).red(&request), 7.0);
    assert_eq!(scene(4).red(&request), 0.5);
}

#[test]
fn volumes() {
    let fill = |_, _, _, z: u32, _| (z as f32).to_bits();
    let scene = Scene::new(5, (R32, FLOAT), [4, 4, 4], 0, fill);
    assert_eq!(scene.red(&at(Dimension::D3, [0.5, 0.5, 0.6])), 2.0);
    let scene = scene.sampler(&LINEAR);
    assert_eq!(scene.red(&at(Dimension::D3, [0.5, 0.5, 0.5])), 1.5);
    assert_eq!(scene.red(&at(Dimension::D3, [0.5, 0.5, 0.0])), 0.0);
    let slice = Request {
        coords: [1, 1, 3].map(Lanes::splat),
        ..at(Dimension::D3, [0.0; 3])
    };
    assert_eq!(scene.fetch(&slice)[0], 3f32.to_bits());
}

#[test]
fn layers() {
    let fill = |_, _, _, layer: u32, _| layer + 10;
    let scene = Scene::new(3, (R32, UINT), [4, 4, 3], 0, fill);
    let layer = |layer: u32| Request {
        layer: Lanes::splat(layer),
        dim: Dimension::D2Array,
        ..texel(1, 1)
    };
    assert_eq!(scene.fetch(&layer(2))[0], 12);
    assert_eq!(scene.fetch(&layer(3)), [0; 4]);
    assert_eq!(
        scene.perform(Action::Sample, &layer(9)).unwrap()[0].0[5],
        12
    );
}

#[test]
fn samples() {
    let fill = |_, x: u32, _, _, sample: u32| x * 10 + sample;
    let scene = Scene::new(4, (R32, UINT), [4, 4, 1], 0, fill);
    let sample = |sample: u32| Request {
        sample: Lanes::splat(sample),
        dim: Dimension::D2Ms,
        ..texel(2, 1)
    };
    assert_eq!(scene.fetch(&sample(3))[0], 23);
    assert_eq!(scene.fetch(&sample(4)), [0; 4]);
}

#[test]
fn fetches() {
    let fill = |level: u32, x: u32, y: u32, _, _| level << 16 | x << 8 | y;
    let scene = Scene::new(2, (R32, UINT), [8, 8, 1], 3, fill);
    let of_level = |request: Request, level: u32| Request {
        lod: Lod::Level(Lanes::splat(level)),
        ..request
    };
    assert_eq!(scene.fetch(&texel(7, 3))[0], 0x703);
    assert_eq!(scene.fetch(&of_level(texel(3, 1), 1))[0], 0x1_0301);
    for outside in [
        texel(8, 0),
        texel(0, 8),
        texel(u32::MAX, 0),
        of_level(texel(4, 0), 1),
        of_level(texel(0, 0), 4),
    ] {
        assert_eq!(scene.fetch(&outside), [0; 4]);
    }
    let moved = Request {
        offset: Some(Lanes::splat(0x1f)),
        ..texel(7, 3)
    };
    assert_eq!(scene.fetch(&moved)[0], 0x604);
    // What lies outside is not read; what lies inside has to be there.
    let mut gone = Scene::new(2, (R32, UINT), [8, 8, 1], 3, fill);
    gone.space.0.clear();
    assert_eq!(gone.fetch(&texel(8, 0)), [0; 4]);
    let trouble = gone.perform(Action::Fetch, &texel(0, 0)).unwrap_err();
    assert_eq!(trouble, Trouble::Unmapped(BASE));
}

#[test]
fn gathers() {
    let scene = gradient();
    let gather = |component: u8| Request {
        gather: Some(component),
        ..at_2d(0.5, 0.5)
    };
    let texels = |component| {
        scene
            .sample(&gather(component))
            .map(|v| (v * 255.0).round())
    };
    assert_eq!(texels(0), [16.0, 32.0, 32.0, 16.0]);
    assert_eq!(texels(1), [32.0, 32.0, 16.0, 16.0]);
    assert_eq!(texels(3), [255.0; 4]);
}

#[test]
fn shadows() {
    let fill = |_, x: u32, _, _, _| (x as f32 / 4.0).to_bits();
    let scene = Scene::new(2, (R32, FLOAT), [4, 4, 1], 0, fill).sampler(&LINEAR);
    // Less or equal, which is compared before it is filtered.
    let scene = scene.sampler(&[(42, 1)]);
    let compare = |s: f32, reference: f32| Request {
        compare: Some(Lanes::splat(reference.to_bits())),
        ..at_2d(s, 0.5)
    };
    assert_eq!(scene.red(&compare(0.5, 0.3)), 0.5);
    assert_eq!(scene.red(&compare(0.5, 0.25)), 1.0);
    assert_eq!(scene.red(&compare(0.125, 0.25)), 0.0);
}

#[test]
fn cubes() {
    let fill = |_, _, _, face: u32, _| (face as f32).to_bits();
    let scene = Scene::new(6, (R32, FLOAT), [4, 4, 1], 0, fill);
    let toward = |v: [f32; 3]| at(Dimension::Cube, v);
    assert_eq!(scene.red(&toward([0.1, 0.2, -3.0])), 5.0);
    let scene = scene.sampler(&LINEAR);
    // Half way between +x and +y; at the corner that both share with +z.
    assert_eq!(scene.red(&toward([1.0, 1.0, 0.0])), 1.0);
    let corner = scene.red(&toward([1.0, 1.0, 1.0]));
    assert!((corner - 2.0).abs() < 1e-6, "{corner}");
    let apart = scene.sampler(&[(57, 1)]);
    assert_eq!(apart.red(&toward([1.0, 1.0, 0.0])), 2.0);
}

#[test]
fn texels_of_integers_are_not_mixed() {
    let scene = Scene::new(2, (R32, UINT), [2, 2, 1], 0, |_, x, _, _, _| x + 5).sampler(&LINEAR);
    let texels = scene.perform(Action::Sample, &at_2d(0.5, 0.5)).unwrap();
    assert_eq!(texels.map(|t| t.0[0]), [6, 0, 0, 1]);
}

#[test]
fn other_dimensions_are_refused() {
    let request = at(Dimension::Cube, [1.0, 0.0, 0.0]);
    assert!(gradient().perform(Action::Sample, &request).is_err());
}

/// Coordinates all over the place, and of two lanes nowhere.
fn scattered() -> Request {
    let mut request = at_2d(f32::NAN, f32::INFINITY);
    let mut state = 7u32;
    for axis in 0..2 {
        for lane in 0..30 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let coord = (state >> 8) as f32 / (1 << 22) as f32 - 1.5;
            request.coords[axis].0[lane] = coord.to_bits();
        }
    }
    request
}

#[test]
fn the_short_way_is_as_right_as_the_long_one() {
    let fill = |level: u32, x: u32, y: u32, _, _| {
        (level * 7 + x * 3 + y * 1000 + 1).wrapping_mul(0x9e37_79b9) ^ x << 20
    };
    let requests = || {
        let near = || implicit(moving(1.7 / 32.0, 2.1 / 32.0), None);
        let far = || implicit(scattered(), Some(-4.0));
        [near(), far(), level(scattered(), 1.25), scattered()]
    };
    for (wrap, srgb) in [0, 1, 2, 5].into_iter().flat_map(|w| [(w, 0), (w, 1)]) {
        for filters in 0..36 {
            let (magnify, minify) = (filters & 1, filters >> 1 & 1);
            let (mip, anisotropy) = (filters / 4 % 3, filters / 12);
            let mut scene = Scene::new(2, (RGBA8, UNORM), [33, 21, 1], 4, fill).sampler(&[
                (20, anisotropy),
                (23, magnify),
                (25, minify),
                (27, mip),
                (29, wrap),
                (32, wrap),
            ]);
            set(&mut scene.texture, 108, srgb);
            let mut texture = Texture::new(&scene.texture).unwrap();
            let sampler = Sampler::new(&scene.sampler).unwrap();
            let sample = |texture: &Texture, request: &Request, cpu: Cpu| {
                let mut memory = Memory::new(&scene.space);
                let mut port = Port {
                    memory: &mut memory,
                    unknown: &mut 0,
                    cpu,
                };
                let mut out = [Lanes::ZERO; 4];
                let done = perform(
                    Action::Sample,
                    texture,
                    &sampler,
                    &mut port,
                    request,
                    &mut out,
                );
                done.map(|()| out).unwrap()
            };
            for request in requests() {
                for cpu in Cpu::all() {
                    texture.flat = true;
                    let short = sample(&texture, &request, cpu);
                    texture.flat = false;
                    let long = sample(&texture, &request, cpu);
                    assert_eq!(short, long, "wrap {wrap} sRGB {srgb} filters {filters}");
                }
            }
        }
    }
}
