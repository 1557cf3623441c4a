//! Boxes that a detector found in tiles, each thing once. Pure.

use crate::part::{Finding, Measures, Region};
use crate::recipe::measure::diagonal_px;

/// Two boxes are one thing if, in what both of their tiles saw, they overlap by more than this (intersection over union).
const SAME_BOX: f64 = 0.5;

/// The edges of a box, pixels of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edges {
    /// Left edge.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Right edge, not before the left one.
    pub right: f64,
    /// Bottom edge, not above the top one.
    pub bottom: f64,
}

impl Edges {
    fn area(self) -> f64 {
        (self.right - self.left) * (self.bottom - self.top)
    }

    /// What lies in both; nothing where that has no area.
    fn common(self, other: Self) -> Option<Self> {
        let both = Self {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        };
        (both.right > both.left && both.bottom > both.top).then_some(both)
    }

    /// The box around both.
    #[must_use]
    pub fn around(self, other: Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }
}

impl From<Region> for Edges {
    fn from(region: Region) -> Self {
        let [left, top, width, height] = [region.x, region.y, region.width, region.height].map(f64::from);
        Self {
            left,
            top,
            right: left + width,
            bottom: top + height,
        }
    }
}

/// Something that was found in a tile.
pub trait FromTile {
    /// How sure its model is.
    fn score(&self) -> f32;

    /// Where it lies in the picture.
    fn edges(&self) -> Edges;

    /// Whether both are of one class.
    fn is_of_class_of(&self, other: &Self) -> bool;

    /// Both as the one thing that they are parts of.
    #[must_use]
    fn joined(self, other: Self) -> Self;
}

/// What several tiles found, each thing once, best first; at most `most`.
///
/// Boxes of one class and two tiles are the same thing if, in what both tiles saw, they lie on each other: what one tile cut off is then part of
/// what the other saw whole. They become one ([`FromTile::joined`]).
pub fn merge_boxes<T: FromTile>(mut found: Vec<(Region, T)>, most: usize) -> Vec<T> {
    found.sort_by(|(_, a), (_, b)| b.score().total_cmp(&a.score()));
    // Each with all tiles that it was seen in.
    let mut kept: Vec<(Vec<Region>, T)> = Vec::new();
    for (tile, one) in found {
        let mut whole = (vec![tile], one);
        // A joined box may now lie on one that neither of its halves did.
        while let Some(at) = kept.iter().position(|other| is_same(other, &whole)) {
            let (tiles, other) = kept.remove(at);
            whole.0.extend(tiles);
            whole.1 = other.joined(whole.1);
        }
        let at = kept.partition_point(|(_, other)| other.score() >= whole.1.score());
        kept.insert(at, whole);
        // The worst goes: nobody reads on, and what is joined stays bounded.
        kept.truncate(most);
    }
    kept.into_iter().map(|(_, one)| one).collect()
}

fn is_same<T: FromTile>((tiles, one): &(Vec<Region>, T), (others, other): &(Vec<Region>, T)) -> bool {
    // Boxes that do not touch are two, and most pairs are such.
    if !one.is_of_class_of(other) || one.edges().common(other.edges()).is_none() {
        return false;
    }
    let pairs = tiles.iter().flat_map(|tile| others.iter().map(move |other| (*tile, *other)));
    pairs.filter(|(a, b)| a != b).any(|(a, b)| {
        let Some(both) = Edges::from(a).common(b.into()) else {
            return false;
        };
        let parts = (both.common(one.edges()), both.common(other.edges()));
        let (Some(part), Some(other)) = parts else { return false };
        let common = part.common(other).map_or(0.0, Edges::area);
        common > SAME_BOX * (part.area() + other.area() - common)
    })
}

impl FromTile for Finding {
    fn score(&self) -> f32 {
        self.score
    }

    fn edges(&self) -> Edges {
        extent(self).into()
    }

    fn is_of_class_of(&self, other: &Self) -> bool {
        self.class == other.class
    }

    /// Where one tile saw all of it, what was measured there holds; of a thing that no tile saw whole no more is known than the box around it.
    fn joined(self, other: Self) -> Self {
        let (around, score) = (self.edges().around(other.edges()), self.score.max(other.score));
        for whole in [&self, &other] {
            if whole.edges() == around {
                return Self { score, ..whole.clone() };
            }
        }
        let (left, top) = (self.x.min(other.x), self.y.min(other.y));
        let region = Region {
            x: left,
            y: top,
            width: (self.x + self.width).max(other.x + other.width) - left,
            height: (self.y + self.height).max(other.y + other.height) - top,
        };
        boxed(region, &self.class, score)
    }
}

/// A finding of which no more is known than its box.
pub(in crate::vision) fn boxed(region: Region, class: &str, score: f32) -> Finding {
    Finding {
        measures: Measures {
            length_px: Some(diagonal_px(region.width, region.height)),
            ..Measures::default()
        },
        ..Finding::somewhere_in(region, class, score)
    }
}

fn extent(finding: &Finding) -> Region {
    Region {
        x: finding.x,
        y: finding.y,
        width: finding.width,
        height: finding.height,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tiles;
    use super::*;
    use crate::recipe::FINDINGS_MAX;
    use proptest::prelude::*;

    const FAR: Region = Region {
        x: 7,
        y: 11,
        width: 0,
        height: 0,
    };

    fn finding(part: Region, score: f32) -> Finding {
        boxed(part, "scratch", score)
    }

    /// What would be seen of a box inside a tile.
    fn cut_box(defect: Region, tile: Region) -> Option<(Region, Finding)> {
        let part = Edges::from(defect).common(tile.into())?;
        Some((tile, finding(region(part), 0.9)))
    }

    fn region(edges: Edges) -> Region {
        let [x, y] = [edges.left, edges.top].map(|edge| edge.round() as u32);
        Region {
            x,
            y,
            width: edges.right.round() as u32 - x,
            height: edges.bottom.round() as u32 - y,
        }
    }

    /// As a detector sees it: each edge that is not that of the tile is off by up to a twentieth of the box.
    fn seen(defect: Region, tile: Region, off: [f64; 4], score: f32) -> Option<(Region, Finding)> {
        let (exact, inside) = (Edges::from(defect), Edges::from(tile));
        let across = f64::from(defect.width) / 20.0;
        let down = f64::from(defect.height) / 20.0;
        let around = Edges {
            left: exact.left + off[0] * across,
            top: exact.top + off[1] * down,
            right: exact.right + off[2] * across,
            bottom: exact.bottom + off[3] * down,
        };
        Some((tile, finding(region(around.common(inside)?), score)))
    }

    prop_compose! {
        fn plans()(width in 1_u32..300, height in 1_u32..300, side in 8_u32..90, other in 8_u32..90, share in 0_u32..=50) -> (Region, Tiles) {
            let tiles = Tiles { width: side, height: other, overlap_px: side.min(other) * share / 100 };
            (Region { width, height, ..FAR }, tiles)
        }
    }

    prop_compose! {
        fn offs()(offs in prop::collection::vec(prop::array::uniform4(-1.0..1.0_f64), 4)) -> Vec<[f64; 4]> { offs }
    }

    proptest! {
        #[test]
        fn a_box_that_tiles_cut_is_one_box_again((region, tiles) in plans(), place in (0.0..1.0_f64, 0.0..1.0_f64), share in 0.05..1.0_f64) {
            prop_assume!(tiles.overlap_px > 0);
            let Ok(cut) = tiles.cut(region) else { return Ok(()) };
            let length = |whole: u32| ((f64::from(whole) * share) as u32).max(1);
            let (width, height) = (length(region.width), length(region.height));
            let start = |whole: u32, part: u32, at: f64| (f64::from(whole - part) * at) as u32;
            let defect = Region {
                x: region.x + start(region.width, width, place.0),
                y: region.y + start(region.height, height, place.1),
                width,
                height,
            };
            let seen: Vec<_> = cut.iter().filter_map(|tile| cut_box(defect, *tile)).collect();
            let merged = merge_boxes(seen, FINDINGS_MAX);
            prop_assert_eq!(merged, vec![finding(defect, 0.9)]);
        }

        #[test]
        fn a_box_in_the_overlap_of_tiles_is_counted_once(
            place in prop::array::uniform2(0.0..1.0_f64), side in prop::array::uniform2(20_u32..=60), offs in offs(), scores in prop::array::uniform4(0.1..0.9_f32),
        ) {
            // Four tiles of 200 x 200 px, which overlap by 100 px.
            let tiles = Tiles { width: 200, height: 200, overlap_px: 100 };
            let cut = tiles.cut(Region { width: 300, height: 300, ..FAR }).unwrap();
            prop_assert_eq!(cut.len(), 4);
            let at = |from: u32, side: u32, share: f64| from + 105 + (f64::from(90 - side) * share) as u32;
            let defect = Region { x: at(FAR.x, side[0], place[0]), y: at(FAR.y, side[1], place[1]), width: side[0], height: side[1] };
            let found: Vec<_> = cut.iter().zip(offs.iter().zip(scores)).filter_map(|(tile, (off, score))| seen(defect, *tile, *off, score)).collect();
            prop_assert_eq!(found.len(), 4);
            let best = scores.into_iter().fold(0.0, f32::max);
            let around = found.iter().map(|(_, one)| one.edges()).reduce(Edges::around).unwrap();
            let merged = merge_boxes(found, FINDINGS_MAX);
            prop_assert_eq!(merged.len(), 1);
            prop_assert_eq!((merged[0].edges(), merged[0].score), (around, best));
        }

        #[test]
        fn a_box_across_a_seam_becomes_one(
            start in 10_u32..95, length in 220_u32..280, offs in offs(), scores in prop::array::uniform4(0.1..0.9_f32),
        ) {
            // It begins before the overlap of two tiles of 200 px and ends behind it, so that each cuts it off.
            let tiles = Tiles { width: 200, height: 200, overlap_px: 100 };
            let cut = tiles.cut(Region { width: 300, height: 200, ..FAR }).unwrap();
            let length = length.min(295 - start);
            prop_assume!(start + length > 205);
            let defect = Region { x: FAR.x + start, y: FAR.y + 40, width: length, height: 60 };
            let found: Vec<_> = cut.iter().zip(offs.iter().zip(scores)).filter_map(|(tile, (off, score))| seen(defect, *tile, *off, score)).collect();
            prop_assert_eq!(found.len(), 2);
            let merged = merge_boxes(found, FINDINGS_MAX);
            prop_assert_eq!(merged.len(), 1);
            prop_assert!(merged[0].width.abs_diff(length) <= 30 && merged[0].height.abs_diff(60) <= 6, "{:?} of {:?}", merged[0], defect);
        }
    }

    #[test]
    fn what_one_tile_saw_whole_keeps_its_measures() {
        let part = |x, width, area_px| {
            let region = Region {
                x,
                y: 10,
                width,
                height: 20,
            };
            Finding {
                area_px,
                ..finding(region, 0.5)
            }
        };
        let (whole, cut) = (part(50, 40, 333), part(60, 30, 222));
        for joined in [whole.clone().joined(cut.clone()), cut.joined(whole.clone())] {
            assert_eq!(joined, whole);
        }
        assert_eq!(part(50, 40, 333).joined(part(60, 40, 222)).area_px, 50 * 20);
    }

    #[test]
    fn two_defects_side_by_side_stay_two_and_other_classes_apart() {
        let (left, right) = (
            Region {
                x: 0,
                y: 0,
                width: 60,
                height: 60,
            },
            Region {
                x: 40,
                y: 0,
                width: 60,
                height: 60,
            },
        );
        let at = |x, y| Region { x, y, width: 8, height: 8 };
        let apart = vec![(left, finding(at(42, 0), 0.8)), (right, finding(at(51, 0), 0.9))];
        assert_eq!(merge_boxes(apart, FINDINGS_MAX).len(), 2);
        let mut other = finding(at(42, 0), 0.7);
        other.class = "dent".into();
        assert_eq!(
            merge_boxes(vec![(left, finding(at(42, 0), 0.8)), (right, other)], FINDINGS_MAX).len(),
            2
        );
        // One tile's own boxes are its detector's business.
        assert_eq!(
            merge_boxes(vec![(left, finding(at(42, 0), 0.8)), (left, finding(at(42, 0), 0.7))], FINDINGS_MAX).len(),
            2
        );
    }
}
