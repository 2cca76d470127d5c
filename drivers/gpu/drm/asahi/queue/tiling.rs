// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! How a framebuffer is divided, and the sizes that follow from it.
//!
//! The tiler sorts primitives into *tiles* of 32 by 32 pixels. As the tilebuffer may be too small
//! for a whole tile with all of its samples, the fragment units may process a tile in two or four
//! *utiles*. Tiles are gathered in four by four *macrotiles*.
//!
//! Per macrotile there are two arrays with an entry for each utile: in the *tilemap*, of where in
//! the tiler's heap a utile's primitives are; in the *tail pointer cache*, of where the next one
//! goes.
//!
//! Source of the formulas: m1n1, proxyclient/m1n1/agx/render.py, and the out-of-tree driver of
//! AsahiLinux/linux, drivers/gpu/drm/asahi/queue/render.rs.

use kernel::prelude::*;

use crate::{
    fw::vertex::TilingParameters,
    queue::cmdbuf::Render, //
};

/// Width and height of a tile in pixels.
const TILE: u32 = 32;

/// Macrotiles in each direction.
const MTILES: u32 = 4;

/// Bytes of an entry of the tilemap.
const TILEMAP_ENTRY: u32 = 5;

/// Bytes of an entry of the tail pointer cache.
const TPC_ENTRY: u32 = 8;

/// The number of utiles' entries that fit into one block of the clusters' metadata. It is what
/// fits the values that macOS uses.
const META1_ENTRIES: u32 = 0x1980;

/// The most bytes that tilemap or tail pointer cache may take. It bounds what a submission may
/// cost; the largest framebuffer with one layer needs an eighth of it on the largest chip.
const MAX_SIZE: u64 = 512 << 20;

/// How a framebuffer is divided.
pub(crate) struct Tiling {
    pub(crate) tiles_x: u32,
    pub(crate) tiles_y: u32,
    pub(crate) tiles_per_mtile_x: u32,
    pub(crate) tiles_per_mtile_y: u32,
    pub(crate) utiles_per_mtile_x: u32,
    pub(crate) utiles_per_mtile_y: u32,
    /// Bytes of the tilemap of all layers.
    pub(crate) tilemap_size: usize,
    /// Bytes of the tail pointer cache of all layers and clusters.
    pub(crate) tpc_size: usize,
    /// Blocks of the clusters' metadata per layer. There are none if there is only one cluster.
    pub(crate) meta1_layer_stride: u32,
    /// The same of all layers.
    pub(crate) meta1_blocks: u32,
    /// The fewest blocks of the tiler's heap that are enough.
    pub(crate) min_blocks: u32,
    /// Distance between two macrotiles' parts of the tilemap, in words.
    rgn_size: u32,
    tiles_per_mtile: u32,
    /// Distance between two macrotiles' parts of the tail pointer cache, in words.
    tpc_stride: u32,
}

impl Tiling {
    /// Divides a render's framebuffer, for vertex work on a number of clusters.
    ///
    /// Fails with [`ENOMEM`] if what follows from it is too large.
    pub(crate) fn new(cmd: &Render, clusters: u32) -> Result<Self> {
        // Width and height are 16384 at most, so that all numbers of one layer are far below 2^32.
        let utiles_x = TILE / cmd.utile.width();
        let utiles_y = TILE / cmd.utile.height();
        let utiles = utiles_x * utiles_y;

        let tiles_x = cmd.width.div_ceil(TILE);
        let tiles_y = cmd.height.div_ceil(TILE);
        let tiles_per_mtile_x = tiles_x.div_ceil(MTILES).next_multiple_of(4);
        let tiles_per_mtile_y = tiles_y.div_ceil(MTILES).next_multiple_of(4);
        let tiles_per_mtile = tiles_per_mtile_x * tiles_per_mtile_y;
        let utiles_per_mtile = tiles_per_mtile * utiles;

        let rgn_size = (TILEMAP_ENTRY * utiles_per_mtile).div_ceil(4);
        let tpc_stride = TPC_ENTRY / 4 * utiles_per_mtile;

        let meta1_layer_stride = if clusters > 1 {
            (tiles_x.next_multiple_of(2) * tiles_y.next_multiple_of(4) * utiles)
                .div_ceil(META1_ENTRIES)
        } else {
            0
        };

        let mut min_blocks = (tiles_x * tiles_y).div_ceil(128).next_multiple_of(8);
        if clusters > 1 {
            min_blocks = min_blocks.max(7 + 2 * cmd.layers);
        }

        Ok(Self {
            tiles_x,
            tiles_y,
            tiles_per_mtile_x,
            tiles_per_mtile_y,
            utiles_per_mtile_x: tiles_per_mtile_x * utiles_x,
            utiles_per_mtile_y: tiles_per_mtile_y * utiles_y,
            tilemap_size: size(rgn_size, cmd.layers, 1)?,
            tpc_size: size(tpc_stride, cmd.layers, clusters)?,
            meta1_layer_stride,
            meta1_blocks: meta1_layer_stride * cmd.layers,
            min_blocks,
            rgn_size,
            tiles_per_mtile,
            tpc_stride,
        })
    }

    /// The number of tiles of a layer.
    pub(crate) fn tiles(&self) -> u32 {
        self.tiles_x * self.tiles_y
    }

    /// The value of the register TE_SCREEN.
    pub(crate) fn te_screen(&self) -> u32 {
        ((self.tiles_y - 1) << 12) | (self.tiles_x - 1)
    }

    /// What the fragment units are told of the distance between two macrotiles.
    pub(crate) fn mtile_stride_dwords(&self) -> u64 {
        (4 * u64::from(self.rgn_size)) << 24
    }

    /// What the tiler is told.
    pub(crate) fn parameters(&self, cmd: &Render) -> TilingParameters {
        // The ends of the first three macrotiles.
        let mtiles = |size: u32| (3 * size) | ((2 * size) << 9) | (size << 18);

        TilingParameters {
            rgn_size: self.rgn_size,
            unk_4: 0x88,
            ppp_ctrl: cmd.ppp_ctrl,
            // CAST: They are 16384 at most.
            x_max: (cmd.width - 1) as u16,
            y_max: (cmd.height - 1) as u16,
            te_screen: self.te_screen(),
            te_mtile1: mtiles(self.tiles_per_mtile_x),
            te_mtile2: mtiles(self.tiles_per_mtile_y),
            tiles_per_mtile: self.tiles_per_mtile,
            tpc_stride: self.tpc_stride,
            unk_24: 0x100,
            unk_28: if cmd.layers > 1 {
                0xe000 | (cmd.layers - 1)
            } else {
                0x8000
            },
            helper_cfg: cmd.vertex_helper.cfg,
            ..Default::default()
        }
    }
}

/// The size of arrays whose part for a macrotile has `stride` words.
fn size(stride: u32, layers: u32, clusters: u32) -> Result<usize> {
    // The product of the largest values is below 2^48.
    let mtiles = u64::from(MTILES * MTILES);
    let size = 4 * u64::from(stride) * mtiles * u64::from(layers) * u64::from(clusters);

    if size > MAX_SIZE {
        return Err(ENOMEM);
    }
    Ok(size.try_into()?)
}

/// The number of 2 KiB blocks of the tilebuffer that a utile takes.
pub(crate) fn tib_blocks(cmd: &Render) -> u32 {
    const BLOCK: u32 = 2048;

    let pixels = cmd.utile.width() * cmd.utile.height();
    (cmd.sample_size * (pixels << cmd.samples_log2)).div_ceil(BLOCK)
}

/// How utiles and samples are told to the hardware.
pub(crate) fn utile_config(cmd: &Render) -> u32 {
    (cmd.utile.width() / 16) << 12 | (cmd.utile.height() / 16) << 14 | cmd.samples_log2
}

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kunit_tests(asahi_tiling)]
mod tests {
    use super::*;
    use crate::queue::cmdbuf::Utile;

    fn render(width: u32, height: u32, layers: u32, utile: Utile) -> Render {
        Render {
            width,
            height,
            layers,
            utile,
            ..Render::example().unwrap()
        }
    }

    #[test]
    fn small() -> Result {
        let cmd = render(1, 1, 1, Utile::W32H32);
        let tiling = Tiling::new(&cmd, 1)?;
        assert_eq!((tiling.tiles(), tiling.te_screen()), (1, 0));
        assert_eq!(tiling.tiles_per_mtile, 16);
        assert_eq!(tiling.tilemap_size, 5 * 16 * 16);
        assert_eq!(tiling.tpc_size, 8 * 16 * 16);
        assert_eq!((tiling.meta1_blocks, tiling.min_blocks), (0, 8));
        Ok(())
    }

    /// What m1n1's formulas give for a screen.
    #[test]
    fn screen() -> Result {
        let cmd = render(1920, 1080, 1, Utile::W32H32);
        let tiling = Tiling::new(&cmd, 1)?;
        let params = tiling.parameters(&cmd);
        assert_eq!((tiling.tiles_x, tiling.tiles_y), (60, 34));
        assert_eq!((params.x_max, params.y_max), (1919, 1079));
        assert_eq!(params.te_screen, 33 << 12 | 59);
        assert_eq!(params.te_mtile1, 48 | 32 << 9 | 16 << 18);
        assert_eq!(params.te_mtile2, 36 | 24 << 9 | 12 << 18);
        assert_eq!(params.tiles_per_mtile, 192);
        assert_eq!((params.rgn_size, params.tpc_stride), (240, 384));
        assert_eq!(params.unk_28, 0x8000);
        assert_eq!(tiling.tilemap_size, 4 * 240 * 16);
        assert_eq!(tiling.tpc_size, 8 * 64 * 48);
        assert_eq!(tiling.mtile_stride_dwords(), 960 << 24);
        assert_eq!(tiling.min_blocks, 16);
        Ok(())
    }

    #[test]
    fn utiles() -> Result {
        for (utile, x, y, config) in [
            (Utile::W32H32, 1, 1, 0xa000),
            (Utile::W32H16, 1, 2, 0x6000),
            (Utile::W16H16, 2, 2, 0x5000),
        ] {
            let cmd = render(640, 480, 1, utile);
            let tiling = Tiling::new(&cmd, 1)?;
            assert_eq!(tiling.tiles_per_mtile_x, 8);
            assert_eq!(tiling.utiles_per_mtile_x, 8 * x);
            assert_eq!(tiling.utiles_per_mtile_y, 4 * y);
            assert_eq!(tiling.rgn_size, 40 * x * y);
            assert_eq!(tiling.tpc_stride, 64 * x * y);
            assert_eq!(utile_config(&cmd), config);
        }
        Ok(())
    }

    #[test]
    fn layers_and_clusters() -> Result {
        let cmd = render(1920, 1080, 6, Utile::W32H32);
        let tiling = Tiling::new(&cmd, 8)?;
        assert_eq!(tiling.tilemap_size, 4 * 240 * 16 * 6);
        assert_eq!(tiling.tpc_size, 8 * 64 * 48 * 6 * 8);
        assert_eq!((tiling.meta1_layer_stride, tiling.meta1_blocks), (1, 6));
        assert_eq!(tiling.min_blocks, 19);
        assert_eq!(tiling.parameters(&cmd).unk_28, 0xe005);
        assert_eq!(Tiling::new(&cmd, 1)?.min_blocks, 16);
        Ok(())
    }

    #[test]
    fn extremes() -> Result {
        let large = render(16384, 16384, 1, Utile::W16H16);
        let tiling = Tiling::new(&large, 8)?;
        assert_eq!(tiling.tiles(), 1 << 18);
        assert_eq!(tiling.tilemap_size, 5 << 20);
        assert_eq!(tiling.tpc_size, 64 << 20);
        assert_eq!(tiling.min_blocks, 2048);
        let many = render(16384, 16384, 2048, Utile::W32H32);
        assert!(Tiling::new(&many, 1).err() == Some(ENOMEM));
        // What Mesa falls back to.
        assert!(Tiling::new(&render(16384, 16384, 32, Utile::W16H16), 1).is_ok());
        Ok(())
    }

    #[test]
    fn tilebuffer() {
        let mut cmd = render(1, 1, 1, Utile::W32H32);
        assert_eq!(tib_blocks(&cmd), 0);
        cmd.sample_size = 4;
        assert_eq!(tib_blocks(&cmd), 2);
        cmd.sample_size = 255;
        cmd.samples_log2 = 2;
        assert_eq!(tib_blocks(&cmd), 510);
        assert_eq!(utile_config(&cmd), 0xa002);
    }
}
