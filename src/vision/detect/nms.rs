//! Greedy non-maximum suppression: of boxes that overlap the best one stays. Exact, in f32, the same on every machine.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::ranking::Ranking;
use super::{Detection, Limits};

/// Among which boxes the better one suppresses the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Scope {
    /// Boxes of the same class.
    #[default]
    PerClass,
    /// All boxes.
    AllClasses,
}

/// What a suppression left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// Places in the slice of candidates, best first.
    pub indices: Vec<usize>,
    /// Candidates that were not looked at because as many as allowed were kept before.
    pub unexamined: usize,
}

/// The order of detections: higher scores first ([`f32::total_cmp`]), of equal ones the one that comes first in the output.
pub fn order((a, a_index): (f32, usize), (b, b_index): (f32, usize)) -> Ordering {
    b.total_cmp(&a).then(a_index.cmp(&b_index))
}

/// Intersection over union of two boxes, in [0, 1]. Areas are width times height of edges as they are, without a pixel added; the union is
/// (area of `a` + area of `b`) - intersection; all in f32 in this order, without fused operations. Boxes without area overlap nothing.
///
/// So does torchvision's `nms` compute it; OpenCV's `NMSBoxes` does so for boxes of floats; the original of Girshick (`py_cpu_nms`), which YOLOX
/// still uses, adds 1 to widths and heights.
pub fn iou(a: &Detection, b: &Detection) -> f32 {
    overlap(a, a.area(), b, b.area())
}

fn overlap(a: &Detection, area_a: f32, b: &Detection, area_b: f32) -> f32 {
    let width = lower(a.x1, b.x1) - higher(a.x0, b.x0);
    let height = lower(a.y1, b.y1) - higher(a.y0, b.y0);
    if width > 0.0 && height > 0.0 {
        let intersection = width * height;
        // Without area after all where the product underflows.
        let union = area_a + area_b - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    } else {
        0.0
    }
}

// Edges are numbers: one instruction each, where `f32::min` would look for NaN.
fn lower(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

fn higher(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Goes through the candidates in [`order`] and keeps each one that no box kept before overlaps by more than `iou_max`; stops when
/// `kept_max` are kept. What is kept does not depend on `kept_max`: fewer are the first of more.
pub fn suppress(candidates: &[Detection], iou_max: f32, scope: Scope, kept_max: usize) -> Kept {
    let limits = Limits {
        score_min: 0.0,
        iou_max,
        scope,
    };
    suppress_ranked(candidates, Ranking::of(candidates, candidates.len()), &limits, kept_max)
}

/// The same of those that are ranked.
pub(super) fn suppress_ranked(candidates: &[Detection], mut ranking: Ranking, limits: &Limits, kept_max: usize) -> Kept {
    // Each with its area.
    let mut kept: Vec<(Detection, f32)> = Vec::new();
    let mut indices = Vec::new();
    while kept.len() < kept_max
        && let Some(index) = ranking.next()
    {
        let candidate = candidates[index];
        let area = candidate.area();
        let is_rival = |other: &Detection| limits.scope == Scope::AllClasses || other.class == candidate.class;
        let rivals = kept.iter().filter(|(other, _)| is_rival(other));
        let mut overlaps = rivals.map(|(other, other_area)| overlap(other, *other_area, &candidate, area));
        if !overlaps.any(|iou| iou > limits.iou_max) {
            kept.push((candidate, area));
            indices.push(index);
        }
    }
    Kept {
        indices,
        unexamined: ranking.left(),
    }
}

#[cfg(test)]
mod tests {
    // The arithmetic is exact, bit for bit.
    #![allow(clippy::float_cmp)]

    use super::*;
    use proptest::prelude::*;

    fn detection(class: usize, score: f32, [x0, y0, x1, y1]: [f32; 4]) -> Detection {
        Detection {
            class,
            score,
            x0,
            y0,
            x1,
            y1,
            anchor: 0,
        }
    }

    /// The definition: sort, then strike out whatever a kept box overlaps too much.
    fn reference(candidates: &[Detection], iou_max: f32, scope: Scope) -> Vec<usize> {
        let mut left: Vec<usize> = (0..candidates.len()).collect();
        // A stable sort leaves equal scores in the order of the slice.
        left.sort_by(|a, b| candidates[*b].score.partial_cmp(&candidates[*a].score).unwrap());
        let mut kept = Vec::new();
        while !left.is_empty() {
            let best = left.remove(0);
            kept.push(best);
            left.retain(|other| {
                let (a, b) = (candidates[best], candidates[*other]);
                let width = (a.x1.min(b.x1) - a.x0.max(b.x0)).max(0.0);
                let height = (a.y1.min(b.y1) - a.y0.max(b.y0)).max(0.0);
                let iou = width * height / ((a.x1 - a.x0) * (a.y1 - a.y0) + (b.x1 - b.x0) * (b.y1 - b.y0) - width * height);
                (scope == Scope::PerClass && a.class != b.class) || iou.is_nan() || iou <= iou_max
            });
        }
        kept
    }

    /// Boxes on a coarse grid, so that equal scores, equal boxes, boxes without area and overlaps exactly at the limit happen.
    fn candidates() -> impl Strategy<Value = Vec<Detection>> {
        let one = (0_usize..3, 1_u8..8, 0_u8..12, 0_u8..12, 0_u8..9, 0_u8..9).prop_map(|(class, score, x, y, w, h)| {
            let [x, y, w, h] = [x, y, w, h].map(f32::from);
            detection(class, f32::from(score) / 8.0, [x, y, x + w, y + h])
        });
        prop::collection::vec(one, 0..60)
    }

    /// Limits that quotients of small areas hit exactly, and others.
    fn limit() -> impl Strategy<Value = f32> {
        prop_oneof![Just(0.0), Just(0.25), Just(1.0 / 3.0), Just(0.5), Just(1.0), 0.0_f32..1.0]
    }

    fn scope() -> impl Strategy<Value = Scope> {
        prop_oneof![Just(Scope::PerClass), Just(Scope::AllClasses)]
    }

    #[test]
    fn an_overlap_at_the_limit_stays() {
        // 2x1 boxes shifted by one: 1 / 3.
        let pair = [detection(0, 0.9, [0.0, 0.0, 2.0, 1.0]), detection(0, 0.8, [1.0, 0.0, 3.0, 1.0])];
        assert_eq!(iou(&pair[0], &pair[1]), 1.0 / 3.0);
        assert_eq!(suppress(&pair, 1.0 / 3.0, Scope::PerClass, 9).indices, [0, 1]);
        assert_eq!(suppress(&pair, 0.333, Scope::PerClass, 9).indices, [0]);
    }

    #[test]
    fn classes_do_not_suppress_each_other_unless_asked() {
        let pair = [detection(0, 0.8, [0.0, 0.0, 2.0, 2.0]), detection(1, 0.9, [0.0, 0.0, 2.0, 2.0])];
        assert_eq!(suppress(&pair, 0.5, Scope::PerClass, 9).indices, [1, 0]);
        assert_eq!(suppress(&pair, 0.5, Scope::AllClasses, 9).indices, [1]);
    }

    #[test]
    fn huge_and_tiny_boxes_have_an_overlap_that_is_a_number() {
        let tiny = detection(0, 0.5, [0.0, 0.0, 1e-30, 1e-30]);
        assert_eq!(iou(&tiny, &tiny), 0.0);
        let point = detection(0, 0.5, [1.0, 1.0, 1.0, 1.0]);
        assert_eq!(iou(&point, &point), 0.0);
        let huge = detection(0, 0.5, [0.0, 0.0, 1e19, 1e19]);
        assert!(iou(&huge, &huge) >= 0.0);
    }

    proptest! {
        #[test]
        fn equals_the_definition(candidates in candidates(), iou_max in limit(), scope in scope()) {
            prop_assert_eq!(suppress(&candidates, iou_max, scope, usize::MAX).indices, reference(&candidates, iou_max, scope));
        }

        #[test]
        fn what_was_kept_is_kept_again(candidates in candidates(), iou_max in limit(), scope in scope()) {
            let kept = suppress(&candidates, iou_max, scope, usize::MAX).indices;
            let again: Vec<Detection> = kept.iter().map(|index| candidates[*index]).collect();
            prop_assert_eq!(suppress(&again, iou_max, scope, usize::MAX).indices, (0..kept.len()).collect::<Vec<_>>());
        }

        #[test]
        fn fewer_are_the_first_of_more(candidates in candidates(), iou_max in limit(), count in 0_usize..20) {
            let all = suppress(&candidates, iou_max, Scope::PerClass, usize::MAX);
            let few = suppress(&candidates, iou_max, Scope::PerClass, count);
            prop_assert_eq!(&few.indices[..], &all.indices[..count.min(all.indices.len())]);
            prop_assert_eq!(all.unexamined, 0);
            prop_assert!(few.indices.len() + few.unexamined <= candidates.len());
            prop_assert!(few.unexamined == 0 || few.indices.len() == count);
        }

        #[test]
        fn the_order_of_the_input_matters_among_equal_scores_only(candidates in candidates(), iou_max in limit(), scope in scope(), seed: u64) {
            let mut candidates = candidates;
            for (index, candidate) in candidates.iter_mut().enumerate() {
                candidate.score += index as f32 / 1024.0;
                candidate.anchor = index;
            }
            let anchors = |candidates: &[Detection]| -> Vec<usize> {
                suppress(candidates, iou_max, scope, usize::MAX).indices.iter().map(|index| candidates[*index].anchor).collect()
            };
            let expected = anchors(&candidates);
            candidates.sort_by_key(|candidate| (candidate.anchor as u64 + 1).wrapping_mul(seed | 1));
            prop_assert_eq!(anchors(&candidates), expected);
        }

        #[test]
        fn what_goes_overlaps_a_better_one_and_what_stays_does_not(candidates in candidates(), iou_max in limit()) {
            let kept = suppress(&candidates, iou_max, Scope::AllClasses, usize::MAX).indices;
            for (index, candidate) in candidates.iter().enumerate() {
                let place = (candidate.score, index);
                let better = kept.iter().filter(|other| order((candidates[**other].score, **other), place) == Ordering::Less);
                let overlapped = better.into_iter().any(|other| iou(&candidates[*other], candidate) > iou_max);
                prop_assert_eq!(overlapped, !kept.contains(&index));
            }
        }

        #[test]
        fn iou_is_symmetric_and_a_share(pair in prop::collection::vec(candidates(), 1), other in candidates()) {
            for (a, b) in pair[0].iter().zip(&other) {
                let share = iou(a, b);
                prop_assert_eq!(share, iou(b, a));
                prop_assert!((0.0..=1.0).contains(&share));
                prop_assert_eq!(iou(a, a), if a.area() > 0.0 { 1.0 } else { 0.0 });
            }
        }
    }
}
