// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which primitives touch which tile.

use super::area::Rect;
use super::frame::{DrawInfo, Grid};
use super::outline::{self, snap};
use crate::geometry::{Draw, Geometry, Primitive, Shape};
use crate::{JobError, Observer};

/// Primitives that may touch more tiles are kept apart: every tile looks at them. So lists cannot grow much longer than
/// there are primitives.
const MOST_TILES: i64 = 64;

/// The observer is asked after so many primitives.
const ASK_EVERY: usize = 4096;

/// A primitive: the number of its draw, and its own in the draw. Their order is that of drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    pub(super) draw: u32,
    pub(super) primitive: u32,
}

/// Primitives by tile.
pub(super) struct Bins {
    /// Where each tile's primitives begin in `items`, and one place more.
    starts: Vec<u32>,
    items: Vec<Item>,
    /// Primitives that touch many tiles, with the tiles and the layer.
    large: Vec<(Item, Rect, u32)>,
}

/// Pixels that may be touched, without regard to clipping.
fn bounds(draw: &Draw, primitive: &Primitive, centred: bool) -> Rect {
    let corners = primitive.vertices.map(|index| {
        let vertex = draw.vertex(index);
        snap(vertex.x, vertex.y)
    });
    let triangle = primitive.shape == Shape::Triangle;
    let mut rect = outline::bounds(&corners, centred && triangle);
    let around = match primitive.shape {
        Shape::Triangle => 0.0,
        Shape::Line => draw.state.face(primitive.back_facing).line_width() / 2.0,
        Shape::Point => draw.vertex(primitive.vertices[0]).point_size / 2.0,
    };
    if !triangle {
        // Rounding may move the edges by a pixel.
        let around = around.clamp(0.0, 4096.0) as i32 + 2;
        rect.x0 -= around;
        rect.y0 -= around;
        rect.x1 += around;
        rect.y1 += around;
    }
    rect
}

impl Bins {
    /// Finds them. Pixels are `centred` if their only sample is in the middle.
    pub(super) fn new(
        grid: &Grid,
        geometry: &Geometry,
        infos: &[DrawInfo],
        centred: bool,
        observer: &dyn Observer,
    ) -> Result<Self, JobError> {
        let mut found: Vec<(u32, Item)> = Vec::new();
        let mut large = Vec::new();
        let mut counts = vec![0u32; grid.tiles() as usize + 1];
        for (draw_index, (draw, info)) in geometry.draws.iter().zip(infos).enumerate() {
            for (index, primitive) in draw.primitives.iter().enumerate() {
                if index % ASK_EVERY == 0 && observer.cancelled() {
                    return Err(JobError::Cancelled);
                }
                let layer = u32::from(primitive.layer);
                if layer >= grid.layers {
                    continue;
                }
                let rect =
                    bounds(draw, primitive, centred).intersect(info.clip(primitive.viewport));
                if rect.is_empty() {
                    continue;
                }
                let tiles = grid.tiles_of(&rect);
                let item = Item {
                    draw: draw_index as u32,
                    primitive: index as u32,
                };
                let many = i64::from(tiles.x1 - tiles.x0) * i64::from(tiles.y1 - tiles.y0);
                if many > MOST_TILES {
                    large.push((item, tiles, layer));
                    continue;
                }
                for y in tiles.y0..tiles.y1 {
                    for x in tiles.x0..tiles.x1 {
                        let tile = grid.number(x as u32, y as u32, layer);
                        counts[tile as usize + 1] += 1;
                        found.push((tile, item));
                    }
                }
            }
        }
        for tile in 1..counts.len() {
            counts[tile] += counts[tile - 1];
        }
        let none = Item {
            draw: 0,
            primitive: 0,
        };
        let mut items = vec![none; found.len()];
        let mut next = counts.clone();
        for (tile, item) in found {
            let place = &mut next[tile as usize];
            items[*place as usize] = item;
            *place += 1;
        }
        Ok(Bins {
            starts: counts,
            items,
            large,
        })
    }

    /// What is to be drawn in a tile, in order.
    pub(super) fn tile(&self, grid: &Grid, tile: u32) -> impl Iterator<Item = Item> {
        let [x, y, layer] = grid.place(tile);
        let (x, y) = (x as i32, y as i32);
        let small = &self.items
            [self.starts[tile as usize] as usize..self.starts[tile as usize + 1] as usize];
        let large = self.large.iter().filter(move |(_, tiles, on)| {
            *on == layer && tiles.x0 <= x && x < tiles.x1 && tiles.y0 <= y && y < tiles.y1
        });
        let mut small = small.iter().copied().peekable();
        let mut large = large.map(|(item, ..)| *item).peekable();
        std::iter::from_fn(move || match (small.peek(), large.peek()) {
            (Some(a), Some(b)) if b < a => large.next(),
            (Some(_), _) => small.next(),
            (None, _) => large.next(),
        })
    }
}
