//! What a model said, as far as the rules of an inspection look at it.

use super::{Head, Reader, Said};
use crate::part::{Finding, Region};
use crate::recipe::area::PlacedArea;
use crate::recipe::{PlacedRules, Seen};
use crate::vision::pixels::{ClassMap, PixelClasses};
use crate::vision::preprocess::Placement;
use crate::vision::{AnomalyMap, findings};

impl Reader {
    /// What counts of what was said of a region; and maps of scores and of classes, where there are any.
    pub(super) fn see(
        &self,
        said: Said,
        region: Region,
        threshold: f32,
        rules: &PlacedRules<'_>,
    ) -> (Seen, Option<AnomalyMap>, Option<ClassMap>) {
        match said {
            Said::Unreadable(_) => (Seen::Unreadable, None, None),
            Said::Anomaly { score, map } => {
                let limit = match &self.head {
                    Head::Anomaly { region, .. } => *region,
                    _ => threshold,
                };
                (see_anomaly(map.as_ref(), score, (threshold, limit), region, rules), map, None)
            }
            Said::Shares { shares, of } => (self.see_classes(&shares, of), None, None),
            Said::Pixels(pixels) => (self.see_pixels(&pixels, region, rules), Some(pixels.defects), Some(pixels.classes)),
            Said::Boxes { defects, is_complete } => (Seen::Objects { defects, is_complete }, None, None),
        }
    }

    /// Of an image that belongs to one of several classes: the shares of those that are defects.
    fn see_classes(&self, shares: &[f32], seen: Region) -> Seen {
        let defects = || shares.iter().zip(&self.classes).filter(|(_, class)| !class.is_ok);
        let mut found: Vec<Finding> = defects()
            .map(|(share, class)| Finding::somewhere_in(seen, &class.name, *share))
            .collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        Seen::Classes {
            score: defects().map(|(share, _)| share).sum(),
            defects: found,
        }
    }

    /// The regions of pixels of each class that is a defect.
    fn see_pixels(&self, pixels: &PixelClasses, region: Region, rules: &PlacedRules<'_>) -> Seen {
        let placement = placement_of(&pixels.defects, region);
        let mask = rules.area.is_masked().then(|| mask(&pixels.defects, &placement, &rules.area));
        let score = match &mask {
            None => Some(pixels.defects.peak()),
            Some(mask) => findings::peak(&pixels.defects, mask),
        };
        let Some(score) = score else { return Seen::Unmeasured };
        let mut regions = Vec::new();
        for (index, class) in self.classes.iter().enumerate().filter(|(_, class)| !class.is_ok) {
            let mut mine: Vec<bool> = pixels.classes.classes.iter().map(|class| usize::from(*class) == index).collect();
            if let Some(mask) = &mask {
                mine.iter_mut().zip(mask).for_each(|(mine, counts)| *mine &= counts);
            }
            if mine.contains(&true) {
                regions.extend(findings::of_class(&class.name, &pixels.defects, &mine, &placement));
            }
        }
        regions.sort_by(|a, b| b.score.total_cmp(&a.score));
        Seen::Pixels { score, regions }
    }
}

/// What an anomaly model says of what counts of a picture, against the thresholds of scores and of regions. Regions are looked for where one of
/// them may count.
fn see_anomaly(map: Option<&AnomalyMap>, score: f32, (threshold, limit): (f32, f32), region: Region, rules: &PlacedRules<'_>) -> Seen {
    let is_whole = |map: &AnomalyMap| map.scores.len() == map.width * map.height && map.scores.iter().all(|score| score.is_finite());
    let Some(map) = map else {
        return if rules.area.is_masked() {
            Seen::Unmeasured
        } else {
            Seen::Anomaly { score, regions: None }
        };
    };
    if !is_whole(map) {
        return Seen::Unreadable;
    }
    let placement = &placement_of(map, region);
    let mask = rules.area.is_masked().then(|| mask(map, placement, &rules.area));
    let peak = match &mask {
        None => map.scores.iter().copied().reduce(f32::max),
        Some(mask) => findings::peak(map, mask),
    };
    let Some(peak) = peak else { return Seen::Unmeasured };
    let score = if mask.is_some() { peak } else { score };
    let score_min = rules.rules.score_min();
    let may_count = score > threshold || score_min.is_some_and(|least| peak >= least);
    // A region counts from `score_min` on; the limit is what it is above.
    let limit = score_min.map_or(limit, |least| limit.min(least.next_down()));
    let regions = || findings::find(map, mask.as_deref(), findings::limit_below(peak, limit), placement);
    Seen::Anomaly {
        score,
        regions: Some(if may_count { regions() } else { Vec::new() }),
    }
}

/// How the picture lies in a map that shows it without the bars beside it.
pub(super) fn placement_of(map: &AnomalyMap, region: Region) -> Placement {
    Placement {
        region,
        left: 0,
        top: 0,
        width: map.width as u32,
        height: map.height as u32,
    }
}

/// Which pixels of a map count: those whose middle lies in the area.
fn mask(map: &AnomalyMap, placement: &Placement, area: &PlacedArea) -> Vec<bool> {
    let middle_x = |column: usize| placement.to_frame(column as f64 + 0.5, 0.0).0;
    let middle_y = |row: usize| placement.to_frame(0.0, row as f64 + 0.5).1;
    area.mask((map.width, map.height), middle_x, middle_y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::{Reason, Verdict};
    use crate::recipe::area::{Area, Outline};
    use crate::recipe::criterion::{Criterion, Zone};
    use crate::recipe::geometry::{Point, Polygon};
    use crate::recipe::pose::Whereabouts;
    use crate::recipe::{self, Judgement, Rules};

    const SEEN: Region = Region {
        x: 100,
        y: 20,
        width: 40,
        height: 20,
    };

    /// A hot region of 1 pixel and a less hot one of 4, on a map of 4 x 4; a pixel of the map is 50 of the frame.
    fn map() -> AnomalyMap {
        let mut scores = vec![0.0; 16];
        scores[0] = 9.0;
        for index in [10, 11, 14, 15] {
            scores[index] = 6.0;
        }
        AnomalyMap {
            width: 4,
            height: 4,
            scores,
        }
    }

    /// What is said of an anomaly map with these thresholds of scores and regions.
    fn judged(map: &AnomalyMap, score: f32, thresholds: (f32, f32), placed: &PlacedRules<'_>) -> Judgement {
        let seen = see_anomaly(Some(map), score, thresholds, placed.area.crop, placed);
        recipe::judge_seen(seen, thresholds.0, placed)
    }

    #[test]
    fn findings_are_in_pixels_of_the_whole_frame() {
        let rules = Rules::default();
        let judged = judged(&map(), 9.0, (5.0, 5.0), &rules.in_picture(SEEN));
        assert_eq!((judged.verdict, judged.reason), (Verdict::NotOk, Some(Reason::Anomaly)));
        let places: Vec<_> = judged.findings.iter().map(|f| (f.x, f.y, f.width, f.height, f.area_px)).collect();
        assert_eq!(places, [(100, 20, 10, 5, 50), (120, 30, 20, 10, 200)]);
    }

    #[test]
    fn small_findings_are_dropped_and_without_any_it_is_ok() {
        let areas = |min_area_px| {
            let rules = Rules {
                min_area_px,
                ..Rules::default()
            };
            let judged = judged(&map(), 9.0, (5.0, 5.0), &rules.in_picture(SEEN));
            let areas: Vec<u32> = judged.findings.iter().map(|finding| finding.area_px).collect();
            (judged.verdict, areas)
        };
        assert_eq!(areas(50), (Verdict::NotOk, vec![50, 200]));
        assert_eq!(areas(51), (Verdict::NotOk, vec![200]));
        assert_eq!(areas(201), (Verdict::Ok, vec![]));
    }

    #[test]
    fn what_is_no_number_is_not_decided_whatever_its_area() {
        for (score, pixel) in [(f32::NAN, 0.0), (9.0, f32::NAN)] {
            let mut map = map();
            map.scores[5] = pixel;
            let rules = Rules {
                min_area_px: u32::MAX,
                ..Rules::default()
            };
            let judged = judged(&map, score, (5.0, 5.0), &rules.in_picture(SEEN));
            assert_eq!((judged.verdict, judged.reason), (Verdict::NotDecidable, Some(Reason::ModelOutput)));
        }
    }

    /// The right half of [`SEEN`], as a polygon.
    fn right_half() -> Rules {
        let points = [(120.0, 20.0), (140.0, 20.0), (140.0, 40.0), (120.0, 40.0)];
        Rules {
            area: Area {
                outline: Outline::Rect(SEEN),
                exclude: vec![polygon(&[(100.0, 20.0), (120.0, 20.0), (120.0, 40.0), (100.0, 40.0)])],
            },
            zones: vec![Zone {
                name: "right".into(),
                polygon: polygon(&points),
            }],
            ..Rules::default()
        }
    }

    fn polygon(points: &[(f64, f64)]) -> Polygon {
        Polygon::new(points.iter().map(|(x, y)| Point::new(*x, *y)).collect()).unwrap()
    }

    #[test]
    fn where_a_part_of_the_picture_counts_its_peak_is_the_score() {
        let rules = right_half();
        let placed = rules.placed((200, 100), Whereabouts::AsDrawn).unwrap();
        let judged_at = |threshold: f32, limit: f32| judged(&map(), 9.0, (threshold, limit), &placed);
        let judged = judged_at(5.0, 5.0);
        assert_eq!(
            (judged.verdict, judged.score),
            (Verdict::NotOk, 6.0),
            "the hotter pixel is left out"
        );
        assert_eq!(judged.findings.iter().map(|f| (f.x, f.y)).collect::<Vec<_>>(), [(120, 30)]);
        assert_eq!(judged_at(6.0, 5.0).verdict, Verdict::Ok);

        // Without a map nothing is known of a part of the picture.
        assert_eq!(see_anomaly(None, 1.0, (5.0, 5.0), SEEN, &placed), Seen::Unmeasured);
        // An area between the middles of all pixels holds none of them.
        let sliver = Rules {
            area: Area {
                outline: Outline::Polygon(polygon(&[(101.0, 20.5), (104.0, 20.5), (104.0, 22.0), (101.0, 22.0)])),
                exclude: Vec::new(),
            },
            ..Rules::default()
        };
        let sliver = sliver.placed((200, 100), Whereabouts::AsDrawn).unwrap();
        assert_eq!(see_anomaly(Some(&map()), 1.0, (5.0, 5.0), SEEN, &sliver), Seen::Unmeasured);
    }

    #[test]
    fn a_criterion_may_ask_for_less_than_the_threshold() {
        let rules = Rules {
            criteria: vec![Criterion {
                score_min: Some(6.0),
                area_px_min: Some(100.0),
                ..Criterion::default()
            }],
            ..Rules::default()
        };
        // The score is below the threshold, the larger region at what the criterion asks for.
        let judged = judged(&map(), 9.0, (20.0, 20.0), &rules.in_picture(SEEN));
        assert_eq!(judged.verdict, Verdict::NotOk);
        assert_eq!(judged.findings.iter().map(|f| f.area_px).collect::<Vec<_>>(), [200]);
    }
}
