//! How well scores set defects apart from good parts: working points, areas under curves, recall, percentiles. Pure.
//!
//! The rule everywhere is the one the inspector applies: a part is rejected when its score is *above* the threshold. Scores are in the
//! model's own unit, higher is worse; only their order matters here.
//!
//! All figures are exact: no binning of thresholds, equal scores move together, and counts stay integers until the last division.

use rayon::prelude::*;

/// One working point: what happens when everything above `threshold` is rejected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RocPoint {
    /// Share of the good that is rejected, in [0, 1].
    pub false_reject_rate: f64,
    /// Share of the defects that is rejected, in [0, 1].
    pub detection_rate: f64,
    /// Scores above it are rejected. The last point of a curve, where everything is, has minus infinity.
    pub threshold: f32,
}

/// One point of a precision-recall curve: what the rejected hold when everything of at least some score is rejected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrecisionPoint {
    /// Share of the defects that is rejected, in [0, 1].
    pub recall: f64,
    /// Share of the rejected that are defects, in [0, 1].
    pub precision: f64,
}

/// How many defects are found when hardly any good part may be rejected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recall {
    /// Share of the defects that score above `threshold`, in [0, 1].
    pub recall: f64,
    /// The lowest score of a good image that still respects the rate.
    pub threshold: f32,
    /// How many good images the threshold was read from.
    pub good_images: usize,
    /// There are too few good images for the rate to allow a single false reject (fewer than 100 for 1%): `threshold` is the highest good score.
    pub limited: bool,
}

/// Area under the receiver operating characteristic, in [0, 1]: the chance that a defect scores higher than a good part, equal scores
/// counting half (Bamber 1975, "The area above the ordinal dominance graph and the area below the receiver operating characteristic graph",
/// Journal of Mathematical Psychology 12).
///
/// `scores` and `defect` have one entry per image. `None` unless both classes are present and no score is NaN.
pub fn auroc(scores: &[f32], defect: &[bool]) -> Option<f64> {
    let (good, defects) = split(scores, defect)?;
    area_under_roc(&good, &defects)
}

/// Every working point, from "reject nothing" (0, 0) to "reject everything" (1, 1), one per distinct score and one more; for plotting.
///
/// `scores` and `defect` have one entry per image. Empty unless both classes are present and no score is NaN.
pub fn roc_curve(scores: &[f32], defect: &[bool]) -> Vec<RocPoint> {
    let Some((good, defects)) = split(scores, defect) else {
        return Vec::new();
    };
    if good.is_empty() || defects.is_empty() {
        return Vec::new();
    }
    // Rejecting "at least this score" is rejecting "above the next lower one", so each step takes its threshold from its successor.
    let rejected = std::iter::once((0, 0)).chain(steps(&good, &defects).map(|step| (step.good, step.defects)));
    let thresholds = steps(&good, &defects)
        .map(|step| step.score)
        .chain(std::iter::once(f32::NEG_INFINITY));
    rejected
        .zip(thresholds)
        .map(|((false_rejects, detections), threshold)| RocPoint {
            false_reject_rate: false_rejects as f64 / good.len() as f64,
            detection_rate: detections as f64 / defects.len() as f64,
            threshold,
        })
        .collect()
}

/// Precision over recall, one point per distinct score, from the highest score down; for plotting.
///
/// `scores` and `defect` have one entry per image. Empty unless both classes are present and no score is NaN.
pub fn precision_curve(scores: &[f32], defect: &[bool]) -> Vec<PrecisionPoint> {
    let Some((good, defects)) = split(scores, defect).filter(|(good, defects)| !good.is_empty() && !defects.is_empty()) else {
        return Vec::new();
    };
    steps(&good, &defects)
        .map(|step| PrecisionPoint {
            recall: step.defects as f64 / defects.len() as f64,
            precision: step.defects as f64 / (step.good + step.defects) as f64,
        })
        .collect()
}

/// Average precision, in [0, 1]: the mean of the precision over the defects, each at the threshold that just rejects it, without any
/// interpolation (Manning, Raghavan and Schuetze 2008, "Introduction to Information Retrieval", section 8.4; as scikit-learn computes it).
///
/// Unlike AUROC it depends on how many of the images are good. `None` unless both classes are present and no score is NaN.
pub fn average_precision(scores: &[f32], defect: &[bool]) -> Option<f64> {
    let curve = precision_curve(scores, defect);
    let before = std::iter::once(0.0).chain(curve.iter().map(|point| point.recall));
    let gains = curve
        .iter()
        .zip(before)
        .map(|(point, before)| (point.recall - before) * point.precision);
    (!curve.is_empty()).then(|| gains.sum())
}

/// Share of the defects found at the lowest threshold that rejects at most the share `rate` of the good images.
///
/// With fewer than `1 / rate` good images (100 for 1%) not one may be rejected: the threshold is then the highest good score and the
/// result says so in `limited`. `scores` and `defect` have one entry per image, `rate` is in [0, 1). `None` for any other rate, or unless
/// both classes are present and no score is NaN.
pub fn recall_at_false_reject(scores: &[f32], defect: &[bool], rate: f64) -> Option<Recall> {
    let (good, defects) = split(scores, defect)?;
    if good.is_empty() || defects.is_empty() || !(0.0..1.0).contains(&rate) {
        return None;
    }
    let allowed = (rate * good.len() as f64 + ROUNDING).floor() as usize;
    // Sorted from the top, at most `allowed` scores are above the one at index `allowed`.
    let threshold = good[allowed.min(good.len() - 1)];
    Some(Recall {
        recall: defects.partition_point(|score| *score > threshold) as f64 / defects.len() as f64,
        threshold,
        good_images: good.len(),
        limited: allowed == 0,
    })
}

/// The `percent`-th percentile by nearest rank: the smallest of `values` that at least `percent` % of them do not exceed, so always a value
/// that occurred (NIST/SEMATECH e-Handbook of Statistical Methods, section 7.2.6.2 lists it among others). In any order; linear time.
///
/// `None` for no values or a `percent` outside [0, 100]. Percentile 0 is the minimum.
pub fn percentile<T: Copy + Ord>(values: &[T], percent: f64) -> Option<T> {
    if values.is_empty() || !(0.0..=100.0).contains(&percent) {
        return None;
    }
    let rank = (percent / 100.0 * values.len() as f64 - ROUNDING).ceil() as usize;
    let index = rank.clamp(1, values.len()) - 1;
    Some(*values.to_vec().select_nth_unstable(index).1)
}

/// Slack for `rate * count` in binary floating point: 0.29 * 100 is 28.999999999999996 and means 29.
pub const ROUNDING: f64 = 1e-9;

/// One distinct score, and how many of each class score at least that much.
struct Step {
    score: f32,
    good: usize,
    defects: usize,
}

/// Walks down all distinct scores of two classes. Both are sorted from high to low and hold no NaN.
fn steps(good: &[f32], defects: &[f32]) -> impl Iterator<Item = Step> {
    let (mut g, mut d) = (0, 0);
    std::iter::from_fn(move || {
        let score = match (good.get(g), defects.get(d)) {
            (Some(a), Some(b)) => a.max(*b),
            (Some(score), None) | (None, Some(score)) => *score,
            (None, None) => return None,
        };
        g += good[g..].iter().take_while(|other| **other >= score).count();
        d += defects[d..].iter().take_while(|other| **other >= score).count();
        Some(Step {
            score,
            good: g,
            defects: d,
        })
    })
}

/// The trapezoid area under the steps of two classes, both sorted from high to low; `None` if one is empty.
fn area_under_roc(good: &[f32], defects: &[f32]) -> Option<f64> {
    if good.is_empty() || defects.is_empty() {
        return None;
    }
    // Twice the number of (defect, good) pairs in the right order, in integers: exact.
    let (mut twice, mut g, mut d) = (0_u128, 0, 0);
    for step in steps(good, defects) {
        twice += (step.good - g) as u128 * (step.defects + d) as u128;
        (g, d) = (step.good, step.defects);
    }
    Some(twice as f64 / (2.0 * good.len() as f64 * defects.len() as f64))
}

/// The scores of the good and of the defects, each from high to low; `None` if the lengths differ or a score is NaN.
fn split(scores: &[f32], defect: &[bool]) -> Option<(Vec<f32>, Vec<f32>)> {
    if scores.len() != defect.len() {
        return None;
    }
    let (mut good, mut defects) = (Vec::new(), Vec::new());
    for (&score, &is_defect) in scores.iter().zip(defect) {
        let class = if is_defect { &mut defects } else { &mut good };
        class.push(ordered(score)?);
    }
    sort_descending(&mut good);
    sort_descending(&mut defects);
    Some((good, defects))
}

/// A score that sorts: `None` for NaN, and one zero instead of two, since the sort (not the comparison) tells -0 from 0.
fn ordered(score: f32) -> Option<f32> {
    (!score.is_nan()).then_some(score + 0.0)
}

fn sort_descending(scores: &mut [f32]) {
    scores.par_sort_unstable_by(|a, b| b.total_cmp(a));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// What scikit-learn and `SciPy` computed; made by `tests/fixtures/metrics_sklearn.py`.
    const FOREIGN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/metrics_sklearn.json"));

    fn foreign(section: &str) -> Vec<Value> {
        serde_json::from_str::<Value>(FOREIGN).unwrap()[section].as_array().unwrap().clone()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    }

    fn scores_of(value: &Value) -> Vec<f32> {
        numbers(value).into_iter().map(|score| score as f32).collect()
    }

    fn flags_of(value: &Value) -> Vec<bool> {
        value.as_array().unwrap().iter().map(|flag| flag.as_bool().unwrap()).collect()
    }

    fn assert_close(got: f64, expected: f64, what: &str) {
        assert!((got - expected).abs() < 1e-12, "{what}: got {got}, expected {expected}");
    }

    #[test]
    fn image_figures_are_those_of_scikit_learn() {
        for case in foreign("images") {
            let name = case["name"].as_str().unwrap();
            let (scores, defect) = (scores_of(&case["scores"]), flags_of(&case["defect"]));
            assert_close(auroc(&scores, &defect).unwrap(), case["auroc"].as_f64().unwrap(), name);
            let expected = case["average_precision"].as_f64().unwrap();
            assert_close(average_precision(&scores, &defect).unwrap(), expected, name);

            let curve = roc_curve(&scores, &defect);
            let (rejects, detections) = (numbers(&case["false_reject_rate"]), numbers(&case["detection_rate"]));
            assert_eq!(curve.len(), rejects.len(), "{name}");
            for (point, (reject, detection)) in curve.iter().zip(rejects.iter().zip(&detections)) {
                assert_close(point.false_reject_rate, *reject, name);
                assert_close(point.detection_rate, *detection, name);
            }
            let thresholds: Vec<f32> = curve.iter().map(|point| point.threshold).collect();
            assert_eq!(thresholds[..thresholds.len() - 1], scores_of(&case["score_at_least"]), "{name}");
            assert_eq!(*thresholds.last().unwrap(), f32::NEG_INFINITY);
        }
    }

    #[test]
    fn percentiles_are_those_of_numpy() {
        for case in foreign("percentiles") {
            let values: Vec<u64> = numbers(&case["values"]).into_iter().map(|value| value as u64).collect();
            for (percent, expected) in numbers(&case["percents"]).into_iter().zip(numbers(&case["expected"])) {
                assert_eq!(percentile(&values, percent), Some(expected as u64), "{percent} of {values:?}");
            }
        }
    }

    #[test]
    fn percentile_of_nothing_or_of_nonsense_is_none() {
        assert_eq!(percentile::<u64>(&[], 50.0), None);
        assert_eq!(percentile(&[1], -1.0), None);
        assert_eq!(percentile(&[1], 100.1), None);
        assert_eq!(percentile(&[1], f64::NAN), None);
    }

    #[test]
    fn figures_without_data_are_none() {
        assert_eq!(auroc(&[], &[]), None);
        assert_eq!(auroc(&[1.0, 2.0], &[true, true]), None);
        assert_eq!(auroc(&[1.0, 2.0], &[false, false]), None);
        assert_eq!(auroc(&[1.0, f32::NAN], &[false, true]), None);
        assert_eq!(auroc(&[1.0, 2.0], &[true]), None);
        assert!(roc_curve(&[1.0], &[true]).is_empty());
        assert_eq!(average_precision(&[1.0, 2.0], &[false, false]), None);
        assert_eq!(average_precision(&[1.0, f32::NAN], &[false, true]), None);
        assert!(precision_curve(&[1.0], &[true]).is_empty());
        assert_eq!(recall_at_false_reject(&[1.0], &[true], 0.01), None);
        assert_eq!(recall_at_false_reject(&[1.0, 2.0], &[false, true], 1.0), None);
    }

    #[test]
    fn zero_and_minus_zero_are_the_same_score() {
        assert_eq!(auroc(&[0.0, -0.0], &[false, true]), Some(0.5));
        assert_eq!(auroc(&[-0.0, 0.0], &[false, true]), Some(0.5));
    }

    #[test]
    fn recall_says_when_there_are_too_few_good_images() {
        // 99 good images, scores 0..=98, and defects at 98, 98.5, 99, 99.5.
        let (mut scores, mut defect): (Vec<f32>, Vec<bool>) = (0_u8..99).map(|score| (f32::from(score), false)).unzip();
        for score in [98.0, 98.5, 99.0, 99.5] {
            scores.push(score);
            defect.push(true);
        }
        let recall = recall_at_false_reject(&scores, &defect, 0.01).unwrap();
        assert_eq!(
            recall,
            Recall {
                recall: 0.75,
                threshold: 98.0,
                good_images: 99,
                limited: true
            }
        );
        // The hundredth, at 99, may be rejected.
        scores.push(99.0);
        defect.push(false);
        let recall = recall_at_false_reject(&scores, &defect, 0.01).unwrap();
        assert_eq!(
            recall,
            Recall {
                recall: 0.75,
                threshold: 98.0,
                good_images: 100,
                limited: false
            }
        );
    }

    /// How often a defect scores higher than a good part, pair by pair.
    fn auroc_by_pairs(scores: &[f32], defect: &[bool]) -> f64 {
        let of = |class| {
            scores
                .iter()
                .zip(defect)
                .filter(move |(_, flag)| **flag == class)
                .map(|(score, _)| *score)
        };
        let value = |d: f32, g: f32| {
            if d > g {
                1.0
            } else if d < g {
                0.0
            } else {
                0.5
            }
        };
        let pairs = of(true).flat_map(|d| of(false).map(move |g| value(d, g)));
        pairs.clone().sum::<f64>() / pairs.count() as f64
    }

    /// Scores on a coarse grid, so that ties are frequent, with both classes present.
    fn scored() -> impl Strategy<Value = (Vec<f32>, Vec<bool>)> {
        prop::collection::vec((0_u8..12, any::<bool>()), 2..60)
            .prop_map(|images| images.into_iter().map(|(score, flag)| (f32::from(score) / 4.0 - 1.0, flag)).unzip())
            .prop_filter("both classes", |(_, flags): &(Vec<f32>, Vec<bool>)| {
                flags.contains(&true) && flags.contains(&false)
            })
    }

    proptest! {
        #[test]
        fn auroc_counts_pairs((scores, defect) in scored()) {
            prop_assert!((auroc(&scores, &defect).unwrap() - auroc_by_pairs(&scores, &defect)).abs() < 1e-12);
        }

        #[test]
        fn auroc_depends_on_order_alone((scores, defect) in scored()) {
            let stretched: Vec<f32> = scores.iter().map(|score| score.exp() * 3.0 + 1.0).collect();
            prop_assert_eq!(auroc(&scores, &defect), auroc(&stretched, &defect));
        }

        #[test]
        fn auroc_of_negated_scores_is_the_complement((scores, defect) in scored()) {
            let negated: Vec<f32> = scores.iter().map(|score| -score).collect();
            prop_assert!((auroc(&scores, &defect).unwrap() + auroc(&negated, &defect).unwrap() - 1.0).abs() < 1e-12);
        }

        #[test]
        fn every_point_of_the_curve_is_what_its_threshold_does((scores, defect) in scored()) {
            let share = |class: bool, threshold: f32| {
                let of: Vec<f32> = scores.iter().zip(&defect).filter(|(_, flag)| **flag == class).map(|(score, _)| *score).collect();
                of.iter().filter(|score| **score > threshold).count() as f64 / of.len() as f64
            };
            let curve = roc_curve(&scores, &defect);
            for point in &curve {
                prop_assert_eq!(point.false_reject_rate, share(false, point.threshold));
                prop_assert_eq!(point.detection_rate, share(true, point.threshold));
            }
            let area: f64 = curve
                .windows(2)
                .map(|pair| (pair[1].false_reject_rate - pair[0].false_reject_rate) * f64::midpoint(pair[0].detection_rate, pair[1].detection_rate))
                .sum();
            prop_assert!((area - auroc(&scores, &defect).unwrap()).abs() < 1e-12);
        }

        #[test]
        fn recall_keeps_the_rate_and_no_lower_threshold_would((scores, defect) in scored(), rate in 0.0..0.9_f64) {
            let recall = recall_at_false_reject(&scores, &defect, rate).unwrap();
            let curve = roc_curve(&scores, &defect);
            let best = curve.iter().filter(|point| point.false_reject_rate <= rate).map(|point| point.detection_rate).fold(0.0, f64::max);
            prop_assert_eq!(recall.recall, best);
            let above = |limit: f32| scores.iter().zip(&defect).filter(|(score, flag)| !**flag && **score > limit).count() as f64;
            prop_assert!(above(recall.threshold) <= rate * recall.good_images as f64);
            prop_assert!(above(recall.threshold - 0.25) > rate * recall.good_images as f64);
        }
    }
}
