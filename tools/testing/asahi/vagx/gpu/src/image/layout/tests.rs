// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;

/// Bytes of an element, its texels, and whether the format is one of depth or stencil.
fn format(name: &str) -> (u32, [u32; 2], bool) {
    match name {
        "R8_UNORM" => (1, [1, 1], false),
        "R8G8_UNORM" => (2, [1, 1], false),
        "R8G8B8A8_UNORM" => (4, [1, 1], false),
        "R16G16B16A16_UNORM" => (8, [1, 1], false),
        "R32G32B32A32_FLOAT" => (16, [1, 1], false),
        "S8_UINT" => (1, [1, 1], true),
        "Z32_FLOAT" => (4, [1, 1], true),
        "ETC2_RGB8" => (8, [4, 4], false),
        _ => panic!("format {name}"),
    }
}

fn shape(name: &str, [width, height, depth]: [u32; 3], levels: u32) -> Shape {
    let (bytes, block, zs) = format(name);
    let mut shape = Shape {
        width,
        height,
        depth: 1,
        mipmapped: levels > 1,
        samples: 1,
        block,
        bytes,
        tiling: Tiling::Gpu,
        page_aligned: false,
        compressed: false,
    };
    // What software chooses and hardware is told (`ail_initialize_gpu_tiled`).
    let large = levels > 1 && Layout::new(&shape).layer_size > PAGE_SIZE;
    shape.page_aligned = large && (depth > 1 || zs);
    shape
}

/// Size and metadata's offset of a whole image.
fn size(layout: &Layout, depth: u32) -> (u64, u64) {
    let body = layout.layer_stride() * u64::from(depth);
    let all = body + layout.metadata_layer_stride * u64::from(depth);
    (align(all, CACHE_LINE), body)
}

fn check(line: &str) {
    let mut words = line.split_whitespace();
    let (table, name) = (words.next().unwrap(), words.next().unwrap());
    let n: Vec<u32> = words
        .map(|w| match w.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).expect(line),
            None => w.parse().expect(line),
        })
        .collect();
    match table {
        "miptree" => {
            let layout = Layout::new(&shape(name, [n[0], n[1], 1], n[2]));
            for (level, &offset) in n[3..].iter().enumerate().take(n[2] as usize) {
                assert_eq!(
                    layout.levels[level].offset,
                    offset.into(),
                    "{line}, {level}"
                );
            }
        }
        "msaa" => {
            let mut shape = shape(name, [n[0], n[1], n[2]], n[3]);
            shape.samples = n[4];
            shape.compressed = n[5] != 0;
            let single = Shape {
                page_aligned: false,
                ..shape
            };
            let large = n[3] > 1 && Layout::new(&single).layer_size > PAGE_SIZE;
            shape.page_aligned = large && n[2] > 1;
            let (all, body) = size(&Layout::new(&shape), n[2]);
            assert_eq!(all, n[7].into(), "{line}");
            if shape.compressed {
                assert_eq!(body, n[6].into(), "{line}");
            }
        }
        _ => {
            let mut shape = shape(name, [n[0], n[1], n[2]], n[3]);
            shape.compressed = table == "comp-twiddled";
            assert_eq!(size(&Layout::new(&shape), n[2]).0, n[4].into(), "{line}");
        }
    }
}

#[test]
fn as_metal_allocates() {
    let lines = include_str!("vectors.txt").lines();
    lines.filter(|l| !l.starts_with('#')).for_each(check);
}

/// All of Mesa's tables: MESA names a checkout.
#[test]
#[ignore = "needs a checkout of Mesa, named by MESA"]
fn as_metal_allocates_all() {
    let mesa = std::env::var("MESA").expect("MESA names a checkout of Mesa");
    let mut count = 0;
    for table in ["comp-twiddled", "uncomp-twiddled", "msaa", "miptree"] {
        let path = format!("{mesa}/src/asahi/layout/tests/{table}.txt");
        let text = std::fs::read_to_string(&path).expect(&path);
        // There is one comment.
        let text: String = text
            .split("/*")
            .map(|part| part.split_once("*/").map_or(part, |p| p.1))
            .collect();
        for entry in text.split("PIPE_FORMAT_").skip(1) {
            let words = entry.replace(['{', '}', ','], " ");
            check(&format!("{table} {words}"));
            count += 1;
        }
    }
    assert!(count > 33_000, "only {count} entries");
    println!("{count} layouts agree");
}

#[test]
fn texels_in_tiles() {
    let mut shape = shape("R8G8B8A8_UNORM", [100, 70, 3], 1);
    let layout = Layout::new(&shape);
    // The first tile in Morton order; then the next tile to the right and the one below.
    assert_eq!(layout.offset(0, 1, 0, 0, 0), 4);
    assert_eq!(layout.offset(0, 0, 1, 0, 0), 8);
    assert_eq!(layout.offset(0, 3, 2, 0, 0), 4 * 0b1101);
    assert_eq!(layout.offset(0, 64, 0, 0, 0), 16384);
    assert_eq!(layout.offset(0, 0, 64, 0, 0), 2 * 16384);
    assert_eq!(
        layout.offset(0, 99, 69, 2, 0),
        2 * 4 * 16384 + 3 * 16384 + 4 * (spread(35) + 2 * spread(5)) as u64
    );
    // Every texel has its own place.
    shape = Shape {
        width: 33,
        height: 9,
        mipmapped: true,
        samples: 2,
        ..shape
    };
    let layout = Layout::new(&shape);
    let mut seen = std::collections::HashSet::new();
    for level in 0..layout.count {
        for y in 0..minify(9, level as u32) {
            for x in 0..minify(33, level as u32) {
                for sample in 0..2 {
                    let at = layout.offset(level, x, y, 1, sample);
                    assert!(seen.insert(at), "{level} {x} {y} {sample}");
                    assert!((layout.layer_stride()..2 * layout.layer_stride()).contains(&at));
                }
            }
        }
    }
    // A twiddled image is one tile after the other along its longer side.
    shape = Shape {
        width: 5,
        height: 20,
        samples: 1,
        mipmapped: false,
        tiling: Tiling::Twiddled,
        ..shape
    };
    let layout = Layout::new(&shape);
    assert_eq!(layout.offset(0, 4, 0, 0, 0), 4 * 16);
    assert_eq!(layout.offset(0, 0, 8, 0, 0), 4 * 64);
    let stride = 256;
    shape.tiling = Tiling::Linear {
        stride,
        layer_stride: 8192,
    };
    assert_eq!(
        Layout::new(&shape).offset(0, 3, 2, 1, 0),
        8192 + 2 * 256 + 12
    );
}

#[test]
fn units_of_compression() {
    let mut shape = shape("R8G8B8A8_UNORM", [80, 40, 1], 8);
    shape.compressed = true;
    let layout = Layout::new(&shape);
    let unit = layout.unit(0, 0, 0, 0, 0).unwrap();
    assert_eq!(
        unit,
        Compressed {
            metadata: 0,
            body: 0,
            part: 0
        }
    );
    // 5×3 units: Morton order in squares of four, then on to the right.
    let unit = layout.unit(0, 17, 33, 0, 0).unwrap();
    assert_eq!((unit.metadata, unit.part), (8 * 0b1001, 0));
    let unit = layout.unit(0, 76, 6, 0, 0).unwrap();
    assert_eq!((unit.metadata, unit.part), (8 * 16, 0b011));
    assert_eq!(unit.body, layout.offset(0, 64, 0, 0, 0));
    // The second level is 40×20, the third too low.
    assert_eq!(layout.unit(1, 0, 0, 0, 0).unwrap().metadata, 8 * 8 * 4);
    assert_eq!(layout.unit(2, 0, 0, 0, 0), None);
    // With four samples a unit is 8×8 pixels.
    let shape = Shape {
        samples: 4,
        ..shape
    };
    let layout = Layout::new(&shape);
    let unit = layout.unit(0, 8, 5, 0, 3).unwrap();
    assert_eq!(unit.metadata, 8);
    assert_eq!(unit.body, layout.offset(0, 8, 0, 0, 0));
    assert_eq!(unit.part, 0b100);
}
