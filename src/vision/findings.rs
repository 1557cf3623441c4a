//! An anomaly map becomes findings: connected regions above a limit, in pixels of the frame that was inspected.

use super::AnomalyMap;
use super::preprocess::Placement;
use super::regions::label_regions;
use crate::part::{Finding, Measures, Region};
pub use crate::recipe::ANOMALY;
use crate::recipe::geometry::Point;
use crate::recipe::measure::greatest_feret;

/// Share of the peak that outlines a region where the image is not Ok although no pixel is above the limit.
const PEAK_SHARE: f32 = 0.9;

/// The limit above which pixels belong to findings of an image that is not Ok: `limit`, or below the peak if the whole map stays under it, so
/// that a rejected part always shows where.
pub fn effective_limit(map: &AnomalyMap, limit: f32) -> f32 {
    limit_below(map.peak(), limit)
}

/// The same where the peak is known.
pub fn limit_below(peak: f32, limit: f32) -> f32 {
    if peak > limit { limit } else { PEAK_SHARE * peak }
}

/// Pixels of `map` above `limit`.
pub fn above(map: &AnomalyMap, limit: f32) -> Vec<bool> {
    map.scores.iter().map(|score| *score > limit).collect()
}

/// The 8-connected regions of `map` above `limit`, in pixels of the frame in whose tensor the map lies so; most anomalous first. Where there is
/// a mask, what it does not hold is not looked at.
pub fn find(map: &AnomalyMap, mask: Option<&[bool]>, limit: f32, placement: &Placement) -> Vec<Finding> {
    let mut foreground = above(map, limit);
    if let Some(mask) = mask {
        foreground.iter_mut().zip(mask).for_each(|(is_above, counts)| *is_above &= counts);
    }
    of_class(ANOMALY, map, &foreground, placement)
}

/// The 8-connected regions of the pixels that are `mine`, as findings of a class, in pixels of the frame in which the map lies so; highest scores
/// first.
pub fn of_class(class: &str, map: &AnomalyMap, mine: &[bool], placement: &Placement) -> Vec<Finding> {
    let regions = label_regions(map.width, map.height, mine);
    let mut extents = vec![Extent::default(); regions.count as usize];
    for (index, label) in regions.labels.iter().enumerate().filter(|(_, label)| **label > 0) {
        extents[*label as usize - 1].add(index % map.width, index / map.width, map.scores[index]);
    }
    extents.sort_by(|a, b| b.score.total_cmp(&a.score));
    extents.iter().map(|extent| extent.in_frame(class, placement)).collect()
}

/// The highest score of what a mask holds; `None` where it holds nothing.
pub fn peak(map: &AnomalyMap, mask: &[bool]) -> Option<f32> {
    let counting = map.scores.iter().zip(mask).filter(|(_, counts)| **counts);
    counting.map(|(score, _)| *score).reduce(f32::max)
}

/// A region's bounding box, in map pixels, with what it holds.
#[derive(Debug, Clone)]
struct Extent {
    left: usize,
    right: usize,
    top: usize,
    /// First and last pixel of each row from `top` on. A region is connected: it skips no row.
    rows: Vec<(usize, usize)>,
    area: usize,
    score: f32,
}

impl Default for Extent {
    fn default() -> Self {
        Self {
            left: usize::MAX,
            right: 0,
            top: 0,
            rows: Vec::new(),
            area: 0,
            score: f32::NEG_INFINITY,
        }
    }
}

impl Extent {
    /// Adds a pixel; they come in reading order.
    fn add(&mut self, x: usize, y: usize, score: f32) {
        if self.area == 0 {
            self.top = y;
        }
        match self.rows.get_mut(y - self.top) {
            Some(row) => row.1 = x,
            None => self.rows.push((x, x)),
        }
        self.left = self.left.min(x);
        self.right = self.right.max(x + 1);
        self.area += 1;
        self.score = self.score.max(score);
    }

    /// The smallest box of whole frame pixels around it, within what was seen.
    fn in_frame(&self, class: &str, placement: &Placement) -> Finding {
        let seen = placement.region;
        let (left, top) = placement.to_frame(self.left as f64, self.top as f64);
        let (right, bottom) = placement.to_frame(self.right as f64, (self.top + self.rows.len()) as f64);
        // What a model sees in the bars around a picture is at the picture's edge.
        let side = |from: f64, to: f64, start: u32, length: u32| {
            let (first, end) = (f64::from(start), f64::from(start + length));
            let from = from.floor().clamp(first, end - 1.0);
            (from as u32, (to.ceil().clamp(from + 1.0, end) - from) as u32)
        };
        let (x, width) = side(left, right, seen.x, seen.width);
        let (y, height) = side(top, bottom, seen.y, seen.height);
        // Frame pixels for one of the map, from whole numbers: no half is lost to rounding.
        let pixels = |width: u32, height: u32| f64::from(width) * f64::from(height);
        let share = pixels(seen.width, seen.height) / pixels(placement.width, placement.height);
        Finding {
            measures: Measures {
                length_px: Some(self.length_px(placement)),
                ..Measures::default()
            },
            area_px: (self.area as f64 * share).round().max(1.0) as u32,
            ..Finding::somewhere_in(Region { x, y, width, height }, class, self.score)
        }
    }

    /// Its greatest Feret diameter, from corner to corner of pixels, in pixels of the frame.
    fn length_px(&self, placement: &Placement) -> f32 {
        let corners = self.rows.iter().enumerate().flat_map(|(row, (first, last))| {
            let (y, right) = (self.top + row, last + 1);
            [(*first, y), (*first, y + 1), (right, y), (right, y + 1)]
        });
        let places = corners.map(|(x, y)| {
            let (x, y) = placement.to_frame(x as f64, y as f64);
            Point::new(x, y)
        });
        greatest_feret(&mut places.collect()) as f32
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

    /// A map of a whole image of so many pixels, stretched.
    fn stretched(map: &AnomalyMap, width: u32, height: u32) -> Placement {
        Placement {
            region: Region::whole(width, height),
            left: 0,
            top: 0,
            width: map.width as u32,
            height: map.height as u32,
        }
    }

    #[test]
    fn regions_are_scaled_to_the_image_and_sorted_by_score() {
        let map = map(4, &[9.0, 0.0, 0.0, 0.0, 9.5, 0.0, 0.0, 12.0]);
        let found = find(&map, None, 5.0, &stretched(&map, 40, 10));
        let boxes: Vec<_> = found.iter().map(|f| (f.score, f.x, f.y, f.width, f.height, f.area_px)).collect();
        assert_eq!(boxes, [(12.0, 30, 5, 10, 5, 50), (9.5, 0, 0, 10, 10, 100)]);
        let lengths: Vec<Option<f32>> = found.iter().map(|finding| finding.measures.length_px).collect();
        assert_eq!(lengths, [Some(125.0_f32.sqrt()), Some(200.0_f32.sqrt())]);
    }

    #[test]
    fn bars_beside_the_picture_belong_to_its_edge() {
        // A frame of 40 x 20 in the middle rows of a map of 4 x 4.
        let placement = Placement {
            region: Region {
                x: 100,
                y: 50,
                width: 40,
                height: 20,
            },
            left: 0,
            top: 1,
            width: 4,
            height: 2,
        };
        let mut scores = vec![0.0; 16];
        (scores[1], scores[5], scores[15]) = (9.0, 8.0, 7.0);
        let found = find(&map(4, &scores), None, 5.0, &placement);
        let boxes: Vec<_> = found.iter().map(|f| (f.score, f.x, f.y, f.width, f.height)).collect();
        assert_eq!(boxes, [(9.0, 110, 50, 10, 10), (7.0, 130, 69, 10, 1)]);
    }

    #[test]
    fn what_a_mask_leaves_out_is_neither_found_nor_connects() {
        let map = map(3, &[9.0, 9.0, 7.0]);
        let found = |mask: &[bool]| {
            let found = find(&map, Some(mask), 5.0, &stretched(&map, 3, 1));
            found.iter().map(|finding| (finding.x, finding.score)).collect::<Vec<_>>()
        };
        assert_eq!(found(&[true, true, true]), [(0, 9.0)]);
        assert_eq!(found(&[true, false, true]), [(0, 9.0), (2, 7.0)]);
        assert_eq!(peak(&map, &[false, false, true]), Some(7.0));
        assert_eq!(peak(&map, &[false; 3]), None);
    }

    #[test]
    fn a_map_below_the_limit_still_shows_its_peak() {
        let map = map(2, &[1.0, 0.1, 0.2, 0.3]);
        assert_eq!(find(&map, None, effective_limit(&map, 5.0), &stretched(&map, 2, 2)).len(), 1);
    }

    /// What Shapely and OpenCV say; made by `tests/fixtures/geometry_shapely.py`.
    const FOREIGN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/geometry_shapely.json"));

    #[test]
    fn shapely_measures_the_same_lengths() {
        #[derive(serde::Deserialize)]
        struct Foreign {
            regions: Vec<Case>,
        }
        #[derive(serde::Deserialize)]
        struct Case {
            width: usize,
            height: usize,
            across: f64,
            down: f64,
            pixels: Vec<usize>,
            components: usize,
            feret: f64,
        }
        let foreign: Foreign = serde_json::from_str(FOREIGN).unwrap();
        assert!(!foreign.regions.is_empty());
        for case in foreign.regions {
            let mut scores = vec![0.0; case.width * case.height];
            case.pixels.iter().for_each(|pixel| scores[*pixel] = 9.0);
            let map = map(case.width, &scores);
            let frame = |side: usize, scale: f64| (side as f64 * scale) as u32;
            let placement = stretched(&map, frame(case.width, case.across), frame(case.height, case.down));
            let found = find(&map, None, 5.0, &placement);
            assert_eq!(found.len(), case.components);
            let length = f64::from(found[0].measures.length_px.unwrap());
            assert!((length - case.feret).abs() < 1e-4, "{length} {}", case.feret);
            assert_eq!(
                found[0].area_px,
                (case.pixels.len() as f64 * case.across * case.down).round() as u32
            );
        }
    }

    proptest! {
        #[test]
        fn findings_lie_inside_the_image(
            scores in prop::collection::vec(0.0_f32..10.0, 24), limit in 0.0_f32..10.0, width in 1_u32..100, height in 1_u32..100,
        ) {
            let map = map(6, &scores);
            for finding in find(&map, None, limit, &stretched(&map, width, height)) {
                prop_assert!(finding.width > 0 && finding.height > 0 && finding.area_px > 0);
                prop_assert!(finding.x + finding.width <= width && finding.y + finding.height <= height);
                prop_assert!(finding.score > limit);
                // As long as a side of the region at least, and no longer than its box.
                let length = finding.measures.length_px.unwrap();
                prop_assert!(length > 0.0 && length <= (finding.width as f32).hypot(finding.height as f32) + 1e-3);
            }
        }
    }
}
