//! An anomaly map becomes findings: connected regions above a limit, in pixels of the image that was inspected.

use super::AnomalyMap;
use super::regions::label_regions;
use crate::part::{Finding, Region};

/// Findings kept per image; beyond that the part is hopeless, and nobody reads on.
pub const FINDINGS_MAX: usize = 64;

/// The class of findings of models that were taught from good parts only.
pub const ANOMALY: &str = "anomaly";

/// Share of the peak that outlines a region where the image is not Ok although no pixel is above the limit.
const PEAK_SHARE: f32 = 0.9;

/// The limit above which pixels belong to findings of an image that is not Ok: `limit`, or below the peak if the whole map stays under it, so
/// that a rejected part always shows where.
pub fn effective_limit(map: &AnomalyMap, limit: f32) -> f32 {
    let peak = map.peak();
    if peak > limit { limit } else { PEAK_SHARE * peak }
}

/// Pixels of `map` above `limit`.
pub fn above(map: &AnomalyMap, limit: f32) -> Vec<bool> {
    map.scores.iter().map(|score| *score > limit).collect()
}

/// The 8-connected regions of `map` above `limit`, scaled to an image of `width` x `height` pixels: those of at least `area_px_min` pixels, most
/// anomalous first, at most [`FINDINGS_MAX`].
pub fn find(map: &AnomalyMap, limit: f32, width: u32, height: u32, area_px_min: u32) -> Vec<Finding> {
    let seen = Region { x: 0, y: 0, width, height };
    of_class(ANOMALY, map, &above(map, limit), seen, area_px_min)
}

/// The 8-connected regions of the pixels that are flagged in `mine`, as findings of a class, in pixels of the frame of which the map shows what was
/// `seen`: those of at least `area_px_min` pixels, highest scores first, at most [`FINDINGS_MAX`].
pub fn of_class(class: &str, map: &AnomalyMap, mine: &[bool], seen: Region, area_px_min: u32) -> Vec<Finding> {
    let regions = label_regions(map.width, map.height, mine);
    let mut boxes = vec![Extent::default(); regions.count as usize];
    for (index, label) in regions.labels.iter().enumerate().filter(|(_, label)| **label > 0) {
        boxes[*label as usize - 1].add(index % map.width, index / map.width, map.scores[index]);
    }
    boxes.sort_by(|a, b| b.score.total_cmp(&a.score));
    // Small ones are left out first: else many of them could hide a large one.
    let findings = boxes.iter().map(|extent| extent.scaled(class, map, seen));
    findings
        .filter(|finding| finding.area_px >= area_px_min)
        .take(FINDINGS_MAX)
        .collect()
}

/// A region's bounding box, in map pixels, with what it holds.
#[derive(Debug, Clone)]
struct Extent {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
    area: usize,
    score: f32,
}

impl Default for Extent {
    fn default() -> Self {
        Self {
            left: usize::MAX,
            top: usize::MAX,
            right: 0,
            bottom: 0,
            area: 0,
            score: f32::NEG_INFINITY,
        }
    }
}

impl Extent {
    fn add(&mut self, x: usize, y: usize, score: f32) {
        self.left = self.left.min(x);
        self.top = self.top.min(y);
        self.right = self.right.max(x + 1);
        self.bottom = self.bottom.max(y + 1);
        self.area += 1;
        self.score = self.score.max(score);
    }

    /// The smallest box of whole image pixels around it.
    fn scaled(&self, class: &str, map: &AnomalyMap, seen: Region) -> Finding {
        let (width, height) = (seen.width, seen.height);
        let (across, down) = (width as f64 / map.width as f64, height as f64 / map.height as f64);
        let (x, y) = ((self.left as f64 * across).floor() as u32, (self.top as f64 * down).floor() as u32);
        let right = ((self.right as f64 * across).ceil() as u32).clamp(x + 1, width.max(x + 1));
        let bottom = ((self.bottom as f64 * down).ceil() as u32).clamp(y + 1, height.max(y + 1));
        let area_px = (self.area as f64 * across * down).round().max(1.0) as u32;
        Finding {
            class: class.into(),
            score: self.score,
            x: seen.x + x,
            y: seen.y + y,
            width: right - x,
            height: bottom - y,
            area_px,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(width: usize, scores: &[f32]) -> AnomalyMap {
        AnomalyMap {
            width,
            height: scores.len() / width,
            scores: scores.to_vec(),
        }
    }

    #[test]
    fn regions_are_scaled_to_the_image_and_sorted_by_score() {
        let map = map(4, &[9.0, 0.0, 0.0, 0.0, 9.5, 0.0, 0.0, 12.0]);
        let found = find(&map, 5.0, 40, 10, 0);
        let boxes: Vec<_> = found.iter().map(|f| (f.score, f.x, f.y, f.width, f.height, f.area_px)).collect();
        assert_eq!(boxes, [(12.0, 30, 5, 10, 5, 50), (9.5, 0, 0, 10, 10, 100)]);
    }

    #[test]
    fn a_map_below_the_limit_still_shows_its_peak() {
        let map = map(2, &[1.0, 0.1, 0.2, 0.3]);
        assert_eq!(find(&map, effective_limit(&map, 5.0), 2, 2, 0).len(), 1);
    }

    #[test]
    fn many_small_regions_do_not_hide_a_large_one() {
        let width = 2 * FINDINGS_MAX + 4;
        let mut scores: Vec<f32> = (0..width).map(|x| if x % 2 == 0 { 9.0 } else { 0.0 }).collect();
        scores[width - 3..].fill(6.0);
        scores[width - 4] = 0.0;
        let found = find(&map(width, &scores), 5.0, width as u32, 1, 3);
        assert_eq!(found.iter().map(|finding| finding.area_px).collect::<Vec<_>>(), [3]);
    }

    proptest! {
        #[test]
        fn findings_lie_inside_the_image(
            scores in prop::collection::vec(0.0_f32..10.0, 24), limit in 0.0_f32..10.0, width in 1_u32..100, height in 1_u32..100,
        ) {
            for finding in find(&map(6, &scores), limit, width, height, 0) {
                prop_assert!(finding.width > 0 && finding.height > 0 && finding.area_px > 0);
                prop_assert!(finding.x + finding.width <= width && finding.y + finding.height <= height);
                prop_assert!(finding.score > limit);
            }
        }
    }
}
