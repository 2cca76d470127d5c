// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pictures of the tilebuffer after each draw.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use vagx_gpu::TileView;

/// Opaque colours of a tile's pixels, by rows.
type Pixels = Vec<[u8; 3]>;

/// Which picture: layer, and number of the target.
type Which = (u32, usize);

/// Tiles that have changed with a draw.
struct Change {
    which: Which,
    origin: [u32; 2],
    size: [u32; 2],
    pixels: Pixels,
}

/// What has been seen of all tiles.
#[derive(Default)]
pub struct Pictures {
    size: [u32; 2],
    draws: usize,
    /// The latest of each tile.
    latest: HashMap<(Which, [u32; 2]), Pixels>,
    /// By draw, the background being before all of them.
    changes: BTreeMap<Option<usize>, Vec<Change>>,
}

/// A colour of 0 to 1 as a byte; what is outside of that is cut off.
fn byte(value: f32) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
}

impl Pictures {
    /// A render begins, of that many pixels and draws.
    pub fn begin(&mut self, size: [u32; 2], draws: usize) {
        *self = Pictures {
            size,
            draws,
            ..Pictures::default()
        };
    }

    /// Looks at a tile.
    pub fn see(&mut self, tile: &TileView<'_>) {
        for (number, target) in tile.targets.iter().enumerate() {
            let which = (tile.layer, number);
            let [width, height] = tile.size;
            let mut pixels = Pixels::new();
            for y in 0..height {
                for x in 0..width {
                    let mut sum = [0.0; 3];
                    for sample in 0..tile.samples {
                        let texel = tile.texel(target, x, y, sample);
                        sum.iter_mut().zip(texel).for_each(|(sum, c)| *sum += c);
                    }
                    pixels.push(sum.map(|sum| byte(sum / tile.samples as f32)));
                }
            }
            let latest = self.latest.entry((which, tile.origin)).or_default();
            if *latest != pixels {
                latest.clone_from(&pixels);
                self.changes.entry(tile.draw).or_default().push(Change {
                    which,
                    origin: tile.origin,
                    size: tile.size,
                    pixels,
                });
            }
        }
    }

    /// Writes a picture for the background and each draw, of each target and layer. Gives their names.
    pub fn write(&self, dir: &Path, job: u64) -> io::Result<Vec<PathBuf>> {
        fs::create_dir_all(dir)?;
        let mut canvases: BTreeMap<Which, Pixels> = BTreeMap::new();
        let empty = vec![[0; 3]; self.size[0] as usize * self.size[1] as usize];
        for (which, _) in self.latest.keys() {
            canvases.entry(*which).or_insert_with(|| empty.clone());
        }
        let mut names = Vec::new();
        for draw in std::iter::once(None).chain((0..self.draws).map(Some)) {
            for change in self.changes.get(&draw).into_iter().flatten() {
                if let Some(canvas) = canvases.get_mut(&change.which) {
                    self.put(canvas, change);
                }
            }
            for ((layer, target), canvas) in &canvases {
                let draw = draw.map_or("background".into(), |n| format!("draw-{n:04}"));
                let name = format!("job-{job:06}-{draw}-layer-{layer}-target-{target}.png");
                let path = dir.join(name);
                write(&path, self.size, canvas)?;
                names.push(path);
            }
        }
        Ok(names)
    }

    fn put(&self, canvas: &mut Pixels, change: &Change) {
        let [width, height] = self.size;
        for (row, pixels) in (0..).zip(change.pixels.chunks(change.size[0].max(1) as usize)) {
            let y = change.origin[1] + row;
            for (x, pixel) in (change.origin[0]..).zip(pixels) {
                if x < width && y < height {
                    canvas[(y * width + x) as usize] = *pixel;
                }
            }
        }
    }
}

fn write(path: &Path, size: [u32; 2], pixels: &Pixels) -> io::Result<()> {
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), size[0], size[1]);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels.as_flattened())?;
    Ok(writer.finish()?)
}
