//! What a model said of the tiles of a picture, as what it says of the picture.

use super::seen::placement_of;
use super::{Head, Reader, Said};
use crate::part::{Finding, Region};
use crate::recipe::FINDINGS_MAX;
use crate::vision::AnomalyMap;
use crate::vision::pixels::{ClassMap, PixelClasses};
use crate::vision::tiling::{merge_boxes, merge_maps, merge_maps_with};

impl Reader {
    /// What was said of tiles, regions of the frame, as what is said of all of `seen`. One tile that cannot be read leaves a hole in the picture,
    /// so nothing is said then. A place that several tiles saw counts as the worst of them says; a picture of classes is as bad as its worst tile.
    pub fn join(&self, tiles: Vec<(Region, Said)>, seen: Region) -> Said {
        let unreadable = tiles.iter().find_map(|(tile, said)| match said {
            Said::Unreadable(why) => Some(of_tile(*tile, why)),
            _ => None,
        });
        if let Some(why) = unreadable {
            return Said::Unreadable(why);
        }
        match &self.head {
            Head::Anomaly { .. } => join_anomalies(tiles, seen),
            Head::Classes { .. } => self.worst_tile(tiles),
            Head::Pixels { .. } => join_pixels(tiles, seen),
            Head::Boxes { .. } => join_boxes(tiles),
        }
        .unwrap_or_else(|| Said::Unreadable("its tiles do not say the same kind of thing".into()))
    }

    fn worst_tile(&self, tiles: Vec<(Region, Said)>) -> Option<Said> {
        let defects = |said: &Said| match said {
            Said::Shares { shares, .. } => Some(self.defects_of(shares)),
            _ => None,
        };
        let scored: Option<Vec<(f32, Said)>> = tiles.into_iter().map(|(_, said)| Some((defects(&said)?, said))).collect();
        let worst = scored?.into_iter().max_by(|(a, _), (b, _)| a.total_cmp(b));
        worst.map(|(_, said)| said)
    }

    /// The share of all classes that are defects.
    pub(super) fn defects_of(&self, shares: &[f32]) -> f32 {
        let defects = shares.iter().zip(&self.classes).filter(|(_, class)| !class.is_ok);
        defects.map(|(share, _)| share).sum()
    }
}

/// Why a picture cannot be read of which a tile cannot.
pub(super) fn of_tile(tile: Region, why: &str) -> String {
    format!("of the tile at {}, {} px: {why}", tile.x, tile.y)
}

fn join_anomalies(tiles: Vec<(Region, Said)>, seen: Region) -> Option<Said> {
    let (mut worst, mut maps) = (f32::NEG_INFINITY, Vec::with_capacity(tiles.len()));
    for (tile, said) in tiles {
        let Said::Anomaly { score, map } = said else { return None };
        worst = worse(worst, score);
        maps.push(map.map(|map| (placement_of(&map, tile), map)));
    }
    let maps: Option<Vec<_>> = maps.into_iter().collect();
    Some(Said::Anomaly {
        score: worst,
        map: maps.map(|maps| merge_maps(seen, &maps)),
    })
}

fn join_pixels(tiles: Vec<(Region, Said)>, seen: Region) -> Option<Said> {
    let (mut maps, mut classes): (Vec<_>, Vec<ClassMap>) = (Vec::with_capacity(tiles.len()), Vec::with_capacity(tiles.len()));
    for (tile, said) in tiles {
        let Said::Pixels(pixels) = said else { return None };
        maps.push((placement_of(&pixels.defects, tile), pixels.defects));
        classes.push(pixels.classes);
    }
    let mut taken: Vec<u16> = Vec::new();
    let defects: AnomalyMap = merge_maps_with(seen, &maps, |count, place, tile, pixel| {
        taken.resize(count, ClassMap::NONE);
        taken[place] = classes[tile].classes[pixel];
    });
    taken.resize(defects.scores.len(), ClassMap::NONE);
    Some(Said::Pixels(PixelClasses {
        classes: ClassMap {
            width: defects.width,
            height: defects.height,
            classes: taken,
        },
        defects,
    }))
}

fn join_boxes(tiles: Vec<(Region, Said)>) -> Option<Said> {
    let (mut found, mut are_complete): (Vec<(Region, Finding)>, bool) = (Vec::new(), true);
    for (tile, said) in tiles {
        let Said::Boxes { defects, is_complete } = said else { return None };
        are_complete &= is_complete;
        found.extend(defects.into_iter().map(|finding| (tile, finding)));
    }
    let defects = merge_boxes(found, FINDINGS_MAX);
    Some(Said::Boxes {
        is_complete: are_complete && defects.len() < FINDINGS_MAX,
        defects,
    })
}

/// The higher score; what is no number stays none.
fn worse(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
}
