// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pictures that guests draw, and how far two of the same scene are apart.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

/// The steps of a session that draw the scene: by the virtual GPU, and by the guest's CPUs.
pub const STEPS: [(&str, &str); 2] = [("draw", "draw agx"), ("draw-llvmpipe", "draw llvmpipe")];

/// A channel may be off by this much before a pixel counts as different: filters and square roots round differently.
const TOLERANCE: u8 = 8;

/// So many pixels in a thousand may be different: where edges fall on samples, drivers round differently.
const PER_MILLE: u64 = 1;

/// RGBA from the top, eight bits a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<[u8; 4]>,
}

/// How far two pictures are apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    pub pixels: u64,
    /// Pixels with a channel that is further off than `tolerance`.
    pub different: u64,
    pub tolerance: u8,
    /// The largest difference of a channel.
    pub maximum: u8,
    /// The mean of all differences of channels.
    pub mean: f64,
}

impl Picture {
    pub fn read(path: &Path) -> Result<Picture> {
        let file = File::open(path).with_context(|| format!("no picture {}", path.display()))?;
        let mut reader = png::Decoder::new(BufReader::new(file)).read_info()?;
        let size = reader.output_buffer_size().context("a picture too large")?;
        let mut bytes = vec![0; size];
        let info = reader.next_frame(&mut bytes)?;
        if (info.color_type, info.bit_depth) != (png::ColorType::Rgba, png::BitDepth::Eight) {
            bail!("{}: not RGBA with 8 bits", path.display());
        }
        let pixels = bytes.as_chunks().0.to_vec();
        Ok(Picture {
            width: info.width,
            height: info.height,
            pixels,
        })
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let file = BufWriter::new(File::create(path)?);
        let mut encoder = png::Encoder::new(file, self.width, self.height);
        encoder.set_color(png::ColorType::Rgba);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(self.pixels.as_flattened())?;
        Ok(writer.finish()?)
    }

    /// Compares with another picture of the same size. The third picture shows where they differ: white where they
    /// differ most, and what is within the tolerance dark.
    pub fn compare(&self, other: &Picture) -> Result<(Difference, Picture)> {
        let size = |p: &Picture| (p.width, p.height, p.pixels.len());
        if size(self) != size(other) || self.pixels.is_empty() {
            bail!(
                "pictures of {:?} and {:?} cannot be compared",
                size(self),
                size(other)
            );
        }
        let off: Vec<[u8; 4]> = (self.pixels.iter().zip(&other.pixels))
            .map(|(a, b)| std::array::from_fn(|i| a[i].abs_diff(b[i])))
            .collect();
        let channels = || off.iter().flatten();
        let sum: u64 = channels().map(|c| u64::from(*c)).sum();
        let different = off
            .iter()
            .filter(|p| p.iter().any(|c| *c > TOLERANCE))
            .count();
        let difference = Difference {
            pixels: off.len() as u64,
            different: different as u64,
            tolerance: TOLERANCE,
            maximum: channels().copied().max().unwrap_or(0),
            mean: sum as f64 / (4 * off.len()) as f64,
        };
        let show = |p: &[u8; 4]| {
            let colour = |i: usize| {
                if p[i] > TOLERANCE {
                    p[i] / 2 + 128
                } else {
                    p[i] * 4
                }
            };
            // A difference of opacity alone shows as grey.
            let grey = if p[3] > TOLERANCE { 96 } else { 0 };
            [
                colour(0).max(grey),
                colour(1).max(grey),
                colour(2).max(grey),
                255,
            ]
        };
        let picture = Picture {
            pixels: off.iter().map(show).collect(),
            ..*self
        };
        Ok((difference, picture))
    }
}

impl Difference {
    pub fn small(&self) -> bool {
        self.different * 1000 <= self.pixels * PER_MILLE
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} of {} pixels off by more than {}, at most by {}, {:.3} on average",
            self.different, self.pixels, self.tolerance, self.maximum, self.mean
        )
    }
}

/// The pictures of a run: what was drawn, llvmpipe's, and where they differ.
#[derive(Debug, Clone, Serialize)]
pub struct Drawn {
    pub picture: PathBuf,
    pub llvmpipe: PathBuf,
    pub differences: PathBuf,
    pub difference: Difference,
}

/// Compares the pictures that a guest has left in `out`, and puts them into the folder `to` beside a report.
pub fn collect(out: &Path, to: &Path) -> Result<Drawn> {
    fs::create_dir_all(to)?;
    let place = |name: &str| to.join(format!("scene-{name}.png"));
    let take = |name: &str| -> Result<(PathBuf, Picture)> {
        let picture = Picture::read(&out.join(format!("{name}.png")))?;
        fs::copy(out.join(format!("{name}.png")), place(name))?;
        Ok((place(name), picture))
    };
    let (picture, ours) = take("agx")?;
    let (llvmpipe, theirs) = take("llvmpipe")?;
    let (difference, shown) = ours.compare(&theirs)?;
    let differences = place("difference");
    shown.write(&differences)?;
    Ok(Drawn {
        picture,
        llvmpipe,
        differences,
        difference,
    })
}

/// The pictures of a run must be there and nearly the same.
pub fn judge(out: &Path, to: &Path) -> Result<Drawn> {
    let drawn = collect(out, to)?;
    if !drawn.difference.small() {
        bail!("{}: {}", drawn.differences.display(), drawn.difference);
    }
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(levels: &[u8]) -> Picture {
        Picture {
            width: levels.len() as u32,
            height: 1,
            pixels: levels.iter().map(|l| [*l, *l, *l, 255]).collect(),
        }
    }

    #[test]
    fn differences_are_counted() {
        let (a, b) = (grey(&[0, 10, 100, 255]), grey(&[0, 12, 100, 55]));
        let (difference, picture) = a.compare(&b).unwrap();
        assert_eq!((difference.different, difference.maximum), (1, 200));
        assert_eq!(difference.mean, 606.0 / 16.0);
        assert!(!difference.small());
        assert_eq!(picture.pixels[1], [8, 8, 8, 255]);
        assert_eq!(picture.pixels[3], [228, 228, 228, 255]);
        assert!(a.compare(&a).unwrap().0.small());
        assert!(a.compare(&grey(&[0])).is_err());
    }

    #[test]
    fn pictures_are_collected() {
        let (out, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert!(judge(out.path(), to.path()).is_err());
        for (name, level) in [("agx", 9), ("llvmpipe", 8)] {
            let path = out.path().join(format!("{name}.png"));
            grey(&[level; 3]).write(&path).unwrap();
        }
        let drawn = judge(out.path(), to.path()).unwrap();
        assert_eq!(Picture::read(&drawn.picture).unwrap(), grey(&[9; 3]));
        assert_eq!(drawn.difference.maximum, 1);
        assert_eq!(Picture::read(&drawn.differences).unwrap(), grey(&[4; 3]));
    }
}
