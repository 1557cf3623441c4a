//! Large pictures in tiles: where they lie, and how what was seen in them becomes one whole again. Pure.
//!
//! A tile is looked at as if it were a picture. Neighbours overlap, so that what is cut at the border of one lies inside the other. A place that
//! several tiles saw counts as the most anomalous of them says, and only then are regions looked for: a defect on a seam is one finding.

mod boxes;

pub use boxes::{Edges, FromTile, merge_boxes};

use serde::{Deserialize, Serialize};

use super::AnomalyMap;
use super::preprocess::Placement;
use crate::part::Region;

/// Most tiles of a picture. One that would need more is refused: it would hold up every part behind it.
pub const TILES_MAX: usize = 256;

/// Most tiles that go through a model at once, where it takes any number: their tensors are held together.
pub const TILES_TOGETHER: usize = 4;

/// How a picture is cut. The tensor of the model holds one tile; it is enlarged or reduced to it as a whole picture would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tiles {
    /// Width of a tile, pixels of the picture. A narrower picture is taken as it is.
    pub width: u32,
    /// Height of a tile, pixels of the picture. A lower picture is taken as it is.
    pub height: u32,
    /// Pixels that neighbours have in common, at least; at most half of a tile's shorter side.
    pub overlap_px: u32,
}

/// A picture that cannot be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to cut {width}x{height} px into tiles: {tiles} of them would be needed, and at most {TILES_MAX} are looked at; teach with larger tiles, or inspect a region of the picture"
)]
pub struct TooManyTiles {
    width: u32,
    height: u32,
    tiles: usize,
}

impl Tiles {
    /// Tiles of this size with an overlap of a quarter of the shorter side.
    pub fn of(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            overlap_px: width.min(height) / 4,
        }
    }

    /// Whether pictures can be cut so.
    ///
    /// # Errors
    /// What does not fit, in words that follow "its tiles".
    pub fn check(&self) -> Result<(), String> {
        let shorter = self.width.min(self.height);
        if shorter == 0 || self.overlap_px > shorter / 2 {
            return Err(format!(
                "of {}x{} px overlap by {} px, which is none of 0 to {}",
                self.width,
                self.height,
                self.overlap_px,
                shorter / 2
            ));
        }
        Ok(())
    }

    /// The tiles of a region, row by row: all of one size, inside of it, evenly spread, every pixel of it in at least one.
    ///
    /// # Errors
    /// When there are more than [`TILES_MAX`].
    pub fn cut(&self, region: Region) -> Result<Vec<Region>, TooManyTiles> {
        let across = spread(region.width, self.width, self.overlap_px);
        let down = spread(region.height, self.height, self.overlap_px);
        let tiles = across.count.saturating_mul(down.count);
        if tiles > TILES_MAX {
            return Err(TooManyTiles {
                width: region.width,
                height: region.height,
                tiles,
            });
        }
        let row = |y: u32| {
            across.starts().map(move |x| Region {
                x: region.x + x,
                y: region.y + y,
                width: across.length,
                height: down.length,
            })
        };
        Ok(down.starts().flat_map(row).collect())
    }

    /// The part of a picture of this size that is at most two tiles wide and high: seams in both directions, and no more than that.
    pub fn corner(&self, width: u32, height: u32) -> Region {
        let two = |picture: u32, tile: u32| picture.min(2 * tile - self.overlap_px);
        Region {
            x: 0,
            y: 0,
            width: two(width, self.width),
            height: two(height, self.height),
        }
    }
}

/// Tiles along one axis.
#[derive(Debug, Clone, Copy)]
struct Spread {
    /// How many.
    count: usize,
    /// How long each is.
    length: u32,
    /// Pixels from the first to the start of the last.
    reach: u32,
}

impl Spread {
    fn starts(self) -> impl Iterator<Item = u32> {
        let gaps = (self.count as u64 - 1).max(1);
        // Whole steps of at most tile - overlap: a step of rational length grows by less than one pixel when its ends are rounded down.
        (0..self.count as u64).map(move |index| (index * u64::from(self.reach) / gaps) as u32)
    }
}

/// As few tiles as cover the axis with this overlap.
fn spread(length: u32, tile: u32, overlap: u32) -> Spread {
    let tile = tile.max(1);
    if length <= tile {
        return Spread {
            count: 1,
            length,
            reach: 0,
        };
    }
    let step = tile.saturating_sub(overlap).max(1);
    let reach = length - tile;
    Spread {
        count: 1 + reach.div_ceil(step) as usize,
        length: tile,
        reach,
    }
}

/// The maps of all tiles of a region as one, at the scale of the tiles' maps. Where several saw a place, the highest score counts. Places that no
/// map covers are not anomalous; with the tiles of [`Tiles::cut`] there are none.
pub fn merge_maps(seen: Region, tiles: &[(Placement, AnomalyMap)]) -> AnomalyMap {
    merge_maps_with(seen, tiles, |_, _, _, _| {})
}

/// The same, and tells whose pixel is taken: of how many places, for which one, of which tile, which of its pixels. Of several for one place the
/// last counts.
pub fn merge_maps_with(seen: Region, tiles: &[(Placement, AnomalyMap)], mut taken: impl FnMut(usize, usize, usize, usize)) -> AnomalyMap {
    let (across, down) = tiles.first().map_or((1.0, 1.0), |(placement, _)| placement.scale());
    let side = |pixels: u32, scale: f64| ((f64::from(pixels) * scale).round() as usize).max(1);
    let (width, height) = (side(seen.width, across), side(seen.height, down));
    let mut scores = vec![f32::NEG_INFINITY; width * height];
    // The middle of each pixel of the whole, in pixels of the picture.
    let columns: Vec<f64> = centres(width, seen.x, seen.width).collect();
    let rows: Vec<f64> = centres(height, seen.y, seen.height).collect();
    let whole = |(_, (_, map)): &(usize, &(Placement, AnomalyMap))| map.scores.len() == map.width * map.height;
    for (tile, (placement, map)) in tiles.iter().enumerate().filter(whole) {
        let region = placement.region;
        let inside_x = inside(&columns, region.x, region.width);
        let sources: Vec<usize> = columns[inside_x.clone()]
            .iter()
            .map(|x| nearest(placement.to_tensor(*x, 0.0).0, map.width))
            .collect();
        for y in inside(&rows, region.y, region.height) {
            let source = nearest(placement.to_tensor(0.0, rows[y]).1, map.height) * map.width;
            let target = &mut scores[y * width..][inside_x.clone()];
            let places = y * width + inside_x.start..;
            for ((target, column), place) in target.iter_mut().zip(&sources).zip(places) {
                let score = map.scores[source + column];
                // What is no number stays: it must not be hidden by a neighbour.
                if score.is_nan() || score > *target {
                    *target = score;
                    taken(width * height, place, tile, source + column);
                }
            }
        }
    }
    scores
        .iter_mut()
        .filter(|score| **score == f32::NEG_INFINITY)
        .for_each(|score| *score = 0.0);
    AnomalyMap { width, height, scores }
}

fn centres(count: usize, start: u32, length: u32) -> impl Iterator<Item = f64> {
    (0..count).map(move |index| f64::from(start) + (index as f64 + 0.5) * f64::from(length) / count as f64)
}

/// Which of the rising places lie in a span of pixels.
fn inside(places: &[f64], start: u32, length: u32) -> std::ops::Range<usize> {
    let (first, last) = (f64::from(start), f64::from(start + length));
    places.partition_point(|place| *place < first)..places.partition_point(|place| *place < last)
}

fn nearest(place: f64, length: usize) -> usize {
    (place.max(0.0) as usize).min(length.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use super::*;
    use crate::vision::findings::find;
    use crate::vision::preprocess::TensorSpec;
    use proptest::prelude::*;

    const FAR: Region = Region {
        x: 7,
        y: 11,
        width: 0,
        height: 0,
    };

    fn placed(tile: Region, (width, height): (u32, u32)) -> Placement {
        TensorSpec::taught(width, height).place(tile)
    }

    /// The map that a tile would have of a whole at its scale.
    fn part_of(whole: &AnomalyMap, seen: Region, tile: Region) -> AnomalyMap {
        let (left, top) = ((tile.x - seen.x) as usize, (tile.y - seen.y) as usize);
        let (width, height) = (tile.width as usize, tile.height as usize);
        let scores = (0..width * height)
            .map(|index| whole.scores[(top + index / width) * whole.width + left + index % width])
            .collect();
        AnomalyMap { width, height, scores }
    }

    prop_compose! {
        fn plans()(width in 1_u32..300, height in 1_u32..300, side in 8_u32..90, other in 8_u32..90, share in 0_u32..=50) -> (Region, Tiles) {
            let tiles = Tiles { width: side, height: other, overlap_px: side.min(other) * share / 100 };
            (Region { width, height, ..FAR }, tiles)
        }
    }

    proptest! {
        #[test]
        fn every_pixel_lies_in_a_tile_and_neighbours_overlap((region, tiles) in plans()) {
            prop_assert_eq!(tiles.check(), Ok(()));
            let Ok(cut) = tiles.cut(region) else { return Ok(()) };
            let mut covered = vec![false; (region.width * region.height) as usize];
            for tile in &cut {
                prop_assert_eq!((tile.width, tile.height), (tiles.width.min(region.width), tiles.height.min(region.height)));
                prop_assert!(tile.x >= region.x && tile.x + tile.width <= region.x + region.width);
                prop_assert!(tile.y >= region.y && tile.y + tile.height <= region.y + region.height);
                for y in tile.y..tile.y + tile.height {
                    let row = (y - region.y) * region.width + tile.x - region.x;
                    covered[row as usize..(row + tile.width) as usize].fill(true);
                }
            }
            prop_assert!(covered.iter().all(|covered| *covered));
            for pair in cut.windows(2).filter(|pair| pair[0].y == pair[1].y) {
                prop_assert!(pair[0].x + pair[0].width >= pair[1].x + tiles.overlap_px);
            }
        }

        #[test]
        fn a_whole_that_was_cut_is_whole_again_and_has_the_same_findings(
            (region, tiles) in plans(), spots in prop::collection::vec((0.0..1.0_f64, 0.0..1.0_f64, 1_usize..20, 1_usize..20), 0..5),
        ) {
            let Ok(cut) = tiles.cut(region) else { return Ok(()) };
            let (width, height) = (region.width as usize, region.height as usize);
            let mut whole = AnomalyMap { width, height, scores: (0..width * height).map(|at| (at % 7) as f32 / 100.0).collect() };
            for (x, y, across, down) in spots {
                let (left, top) = ((x * width as f64) as usize, (y * height as f64) as usize);
                for row in top..(top + down).min(height) {
                    whole.scores[row * width + left..row * width + (left + across).min(width)].fill(9.0);
                }
            }
            let parts: Vec<_> = cut
                .iter()
                .map(|tile| (placed(*tile, (tile.width, tile.height)), part_of(&whole, region, *tile)))
                .collect();
            let merged = merge_maps(region, &parts);
            prop_assert_eq!(&merged, &whole);
            let found = |map: &AnomalyMap| find(map, None, 5.0, &placed(region, (region.width, region.height)));
            prop_assert_eq!(found(&merged), found(&whole));
        }
    }

    #[test]
    fn a_map_of_half_the_scale_is_put_where_its_tile_lies() {
        let tiles = Tiles {
            width: 8,
            height: 4,
            overlap_px: 2,
        };
        let region = Region {
            width: 14,
            height: 4,
            ..FAR
        };
        let cut = tiles.cut(region).unwrap();
        assert_eq!(cut.iter().map(|tile| tile.x - region.x).collect::<Vec<_>>(), [0, 6]);
        let map = |value: f32| AnomalyMap {
            width: 4,
            height: 2,
            scores: vec![value; 8],
        };
        let parts = [(placed(cut[0], (4, 2)), map(1.0)), (placed(cut[1], (4, 2)), map(2.0))];
        let merged = merge_maps(region, &parts);
        assert_eq!((merged.width, merged.height), (7, 2));
        assert_eq!(merged.scores[..7], [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]);
    }

    #[test]
    fn what_is_no_number_is_not_hidden_by_a_neighbour() {
        let tiles = Tiles {
            width: 4,
            height: 4,
            overlap_px: 2,
        };
        let region = Region {
            width: 6,
            height: 4,
            ..FAR
        };
        let cut = tiles.cut(region).unwrap();
        for order in [[f32::NAN, 1.0], [1.0, f32::NAN]] {
            let parts: Vec<_> = cut
                .iter()
                .zip(order)
                .map(|(tile, value)| {
                    (
                        placed(*tile, (4, 4)),
                        AnomalyMap {
                            width: 4,
                            height: 4,
                            scores: vec![value; 16],
                        },
                    )
                })
                .collect();
            assert!(merge_maps(region, &parts).scores[2].is_nan());
        }
    }

    #[test]
    fn too_many_tiles_are_refused() {
        let tiles = Tiles {
            width: 16,
            height: 16,
            overlap_px: 8,
        };
        assert!(
            tiles
                .cut(Region {
                    width: 4000,
                    height: 4000,
                    ..FAR
                })
                .is_err()
        );
        assert!(Tiles { overlap_px: 9, ..tiles }.check().is_err());
    }
}
