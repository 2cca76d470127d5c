// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use crate::exec::Launch;
use crate::memory::{GpuMemory, Memory, PAGE_SIZE, Unmapped};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The first pages of an address space.
struct Pages(Vec<[AtomicU64; PAGE_SIZE as usize / 8]>);

impl Pages {
    fn new(count: usize) -> Pages {
        let page = || [const { AtomicU64::new(0) }; PAGE_SIZE as usize / 8];
        Pages((0..count).map(|_| page()).collect())
    }
}

// SAFETY: The pages live as long as `self` and are made of atomics.
unsafe impl GpuMemory for Pages {
    fn page(&self, va: u64, _: Access) -> Result<NonNull<u8>, Unmapped> {
        let page = self.0.get((va / PAGE_SIZE) as usize).ok_or(Unmapped)?;
        Ok(NonNull::from(page).cast())
    }
}

fn pbe(fields: &[(u32, u64)]) -> [u8; 24] {
    let mut state = [0; 24];
    for &(at, value) in fields {
        for bit in (0..64).filter(|bit| value >> bit & 1 != 0) {
            state[(at + bit) as usize / 8] |= 1 << ((at + bit) % 8);
        }
    }
    state
}

/// Where metadata of compression is.
const METADATA: u64 = 7 * PAGE_SIZE;

/// A GPU-tiled image of 40×20 pixels with four 8-bit channels, blue first, at the second page.
fn bgra(compressed: bool) -> [u8; 24] {
    let compressed = u64::from(compressed);
    pbe(&[
        (0, 2),
        (4, 2),
        (6, 0x28),
        (16, 2 | 1 << 2 | 3 << 6),
        (24, 39),
        (38, 19),
        (59, compressed),
        (64, PAGE_SIZE >> 4),
        (127, compressed),
        (128, (compressed * METADATA) >> 4),
    ])
}

fn context(pages: &Pages, textures: Vec<[u8; 24]>) -> Context<'_> {
    let launch = Launch {
        textures,
        ..Launch::default()
    };
    Context::new(Arc::new(launch), pages, 0)
}

/// All lanes, lane n at (n, 3) of its workgroup.
fn simd() -> Simd {
    let mut simd = Simd::new();
    simd.alive = u32::MAX;
    simd.writers = u32::MAX;
    simd.set_exec(u32::MAX);
    simd.thread[0] = Lanes(std::array::from_fn(|lane| lane as u32));
    simd.thread[1] = Lanes::splat(3);
    simd
}

fn texel(image: &Image, memory: &mut Memory<'_>, x: u32, y: u32) -> u32 {
    let (zero, mut unknown) = (Lanes::ZERO, 0);
    let at = [&Lanes::splat(x), &Lanes::splat(y), &zero, &zero];
    let raw = image.fetch(memory, &mut unknown, 1, &zero, at).unwrap();
    assert_eq!(unknown, 0);
    raw[0].0[0]
}

fn store(mask: u8, format: Format, wide: bool, offset: u32, samples: u32) -> TileOp {
    let regs = TileRegs {
        start: 8,
        wide,
        mask,
        format,
        rtz: false,
        offset,
    };
    TileOp::Store {
        regs,
        pixel: None,
        samples: Val::Const(samples),
    }
}

fn load(mask: u8, format: Format, wide: bool, offset: u32) -> TileOp {
    let TileOp::Store { regs, .. } = store(mask, format, wide, offset, 1) else {
        unreachable!()
    };
    let regs = TileRegs { start: 40, ..regs };
    TileOp::Load {
        regs,
        samples: Val::Const(0xff),
    }
}

/// A word of a sample in row 3.
fn word(block: &Imageblock, x: u32, sample: u32, word: usize) -> u32 {
    let (active, places) = block.places(1, &Lanes::splat(x), &Lanes::splat(3));
    block.get(word, active, &places.map(|p| p + sample)).0[0]
}

#[test]
fn samples_go_to_the_tile_and_back() {
    let pages = Pages::new(1);
    let (mut context, mut simd) = (context(&pages, Vec::new()), simd());
    context.block = Some(Imageblock::new(32, 32, 2, 32));
    let set = |simd: &mut Simd, values: [f32; 4]| {
        for (n, value) in values.into_iter().enumerate() {
            simd.regs[4 + n] = Lanes::splat(value.to_bits());
        }
    };
    let get = |simd: &Simd| [20, 21, 22, 23].map(|r| f32::from_bits(simd.regs[r].0[5]));
    let formats = [
        (Format::U8Norm, 0),
        (Format::Srgba8, 4),
        (Format::Rgb10A2, 8),
        (Format::S16Norm, 16),
    ];
    for (format, offset) in formats {
        set(&mut simd, [1.0, 0.0, 1.0, 0.0]);
        let op = store(0xf, format, true, offset, 0xff);
        assert_eq!(simd.tile(&mut context, &op), None);
        let op = load(0xf, format, true, offset);
        assert_eq!(simd.tile(&mut context, &op), None);
        assert_eq!(get(&simd), [1.0, 0.0, 1.0, 0.0], "{format:?}");
    }
    // Only the second and fourth component, from halves, only the first sample, and only even lanes.
    simd.regs[4] = Lanes::splat(0x3800_3c00);
    simd.set_exec(0x5555_5555);
    let op = store(0b1010, Format::U8Norm, false, 0, 0b01);
    assert_eq!(simd.tile(&mut context, &op), None);
    let block = context.block.as_ref().unwrap();
    assert_eq!(word(block, 4, 0, 0), 0x80ff_ffff);
    assert_eq!(word(block, 4, 1, 0), 0x00ff_00ff);
    assert_eq!(word(block, 5, 0, 0), 0x00ff_00ff);
    // Two components from the middle of wider samples.
    simd.set_exec(u32::MAX);
    simd.regs[4] = Lanes::splat(0xbbbb_aaaa);
    let op = store(0b0110, Format::I16, false, 24, 0xff);
    assert_eq!(simd.tile(&mut context, &op), None);
    let block = context.block.as_ref().unwrap();
    assert_eq!(word(block, 0, 1, 6), 0xaaaa_0000);
    assert_eq!(word(block, 0, 1, 7), 0x0000_bbbb);
    // One 8-bit component that begins with the last byte of a word, and two that go on in the next.
    simd.regs[4] = Lanes::splat(0x0022_0011);
    let op = store(0b0011, Format::I8, false, 3, 0xff);
    assert_eq!(simd.tile(&mut context, &op), None);
    let op = load(0b0011, Format::I8, true, 3);
    assert_eq!(simd.tile(&mut context, &op), None);
    assert_eq!((simd.regs[20].0[9], simd.regs[21].0[9]), (0x11, 0x22));
    let block = context.block.as_ref().unwrap();
    assert_eq!(word(block, 5, 1, 0), 0x11ff_00ff);
}

fn block_write(corner: Option<[Val; 2]>) -> TileOp {
    TileOp::Block {
        offset: Val::Const(4),
        format: Format::U8Norm,
        image: ImageSource::State(Val::Const(0)),
        corner,
        layer: Val::Const(0),
        dim: Dimension::D2,
        level: Val::Const(0),
    }
}

#[test]
fn blocks_are_clipped_and_end_compression() {
    let pages = Pages::new(8);
    let state = bgra(true);
    let image = Image::pbe(&state).unwrap();
    let (mut context, mut simd) = (context(&pages, vec![state]), simd());
    let mut block = Imageblock::new(32, 32, 1, 8);
    let column = Lanes(std::array::from_fn(|lane| lane as u32));
    for y in 0..32 {
        let (active, places) = block.places(u32::MAX, &column, &Lanes::splat(y));
        let value = column.map(|x| x | y << 8 | 0xff33_0000);
        block.put(1, u32::MAX, active, &places, &value);
    }
    block.origin = [32, 0];
    context.block = Some(block);
    simd.set_exec(1);
    assert_eq!(simd.tile(&mut context, &block_write(None)), None);
    let memory = &mut context.memory;
    assert_eq!(texel(&image, memory, 32, 0), 0xff00_0033);
    assert_eq!(texel(&image, memory, 39, 19), 0xff07_1333);
    assert_eq!(texel(&image, memory, 31, 19), 0);
    // Units of 16×16 pixels: the third in both rows was written to.
    let words: Vec<u64> = (0..8).map(|n| pages.0[7][n].load(Relaxed)).collect();
    let plain = 0x7f7f_7f7f_7f7f_7f7f;
    assert_eq!(words, [0, 0, 0, 0, plain, 0, plain, 0]);

    // A corner inside of units takes what is there along.
    pages.0[7][0].store(0x0303_0303_0303_0303, Relaxed);
    for n in 0..4 {
        pages.0[1][n].store(0x1111_1111_2222_2222, Relaxed);
    }
    let corner = Some([Val::Const(8), Val::Const(4)]);
    assert_eq!(simd.tile(&mut context, &block_write(corner)), None);
    let memory = &mut context.memory;
    assert_eq!(texel(&image, memory, 8, 4), 0xff00_0033);
    assert_eq!(texel(&image, memory, 39, 19), 0xff1f_0f33);
    assert_eq!(texel(&image, memory, 7, 3), 0x2222_2222);
    assert_eq!(texel(&image, memory, 7, 4), 0x1111_1111);
    assert_eq!(pages.0[7][0].load(Relaxed), plain);
}

fn image_write(y: u32, level: u32) -> TileOp {
    TileOp::Image {
        start: 8,
        wide: true,
        image: ImageSource::State(Val::Const(0)),
        coords: [Val::Full(0), Val::Const(y), Val::Const(0)],
        dim: Dimension::D2,
        level: Val::Const(level),
        rtz: false,
    }
}

#[test]
fn texels_outside_are_dropped() {
    let pages = Pages::new(3);
    let state = bgra(false);
    let image = Image::pbe(&state).unwrap();
    let (mut context, mut simd) = (context(&pages, vec![state]), simd());
    simd.regs[0] = Lanes(std::array::from_fn(|lane| 20 + lane as u32));
    for n in 0..4 {
        simd.regs[4 + n] = Lanes::splat((n as f32 / 255.0).to_bits());
    }
    assert_eq!(simd.tile(&mut context, &image_write(5, 0)), None);
    assert_eq!(simd.tile(&mut context, &image_write(20, 0)), None);
    assert_eq!(simd.tile(&mut context, &image_write(0, 1)), None);
    for (x, value) in [(19, 0), (20, 0x0300_0102), (39, 0x0300_0102)] {
        assert_eq!(texel(&image, &mut context.memory, x, 5), value, "{x}");
    }
    let set = pages.0[1..]
        .iter()
        .flatten()
        .map(|w| w.load(Relaxed))
        .flat_map(|w| [w as u32, (w >> 32) as u32])
        .filter(|&w| w != 0);
    assert_eq!(set.count(), 20);
}

#[test]
fn what_is_not_there_is_said() {
    let pages = Pages::new(1);
    let mut simd = simd();
    let mut context = context(&pages, vec![bgra(false), pbe(&[(6, 0x74)])]);
    assert_eq!(
        simd.tile(&mut context, &image_write(0, 0)),
        Some(Outcome::Fault)
    );
    let fault = context.fault.take().unwrap();
    assert_eq!((fault.unit, fault.access), (Unit::Texture, Access::Write));
    let TileOp::Image {
        start,
        wide,
        coords,
        dim,
        level,
        rtz,
        ..
    } = image_write(0, 0)
    else {
        unreachable!()
    };
    for number in [1, 9] {
        let op = TileOp::Image {
            image: ImageSource::State(Val::Const(number)),
            start,
            wide,
            coords,
            dim,
            level,
            rtz,
        };
        assert_eq!(simd.tile(&mut context, &op), Some(Outcome::Unsupported));
        assert!(context.unsupported.take().is_some());
    }
    // There is no imageblock.
    assert_eq!(
        simd.tile(&mut context, &block_write(None)),
        Some(Outcome::Unsupported)
    );
}

/// 16-bit floats that the instruction calls integers become any channels.
#[test]
fn halves_become_small_channels() {
    let state = pbe(&[(0, 2), (4, 1), (6, 0x0b), (16, 1 << 2 | 2 << 4)]);
    let image = Image::pbe(&state).unwrap();
    let transfer = Transfer::new(Format::I16, &image).unwrap();
    assert_eq!(transfer.words, 2);
    let sample = [0x0000_3c00, 0x0000_3800, 0, 0].map(Lanes::splat);
    assert_eq!(transfer.raw(&image, &sample)[0].0[0], 0x801f);
    // sRGB was applied before.
    let state = pbe(&[
        (0, 2),
        (4, 1),
        (6, 0x28),
        (16, 1 << 2 | 2 << 4 | 3 << 6),
        (125, 1),
    ]);
    let image = Image::pbe(&state).unwrap();
    let transfer = Transfer::new(Format::Srgba8, &image).unwrap();
    let sample = [0x1234_5678, 0, 0, 0].map(Lanes::splat);
    assert_eq!(transfer.raw(&image, &sample)[0].0[0], 0x1234_5678);
    assert!(Transfer::new(Format::I8, &image).is_none());
}
