//! How good a model is: the figures of merit over scores and ground truth. Pure.
//!
//! The rule everywhere is the one the inspector applies: a part (or pixel) is rejected when its score is *above* the threshold. Scores are
//! anomaly scores in the model's own unit, higher is more anomalous; only their order matters here. A figure that its data cannot support
//! (one class is missing, a score is NaN, sizes differ) is `None`, never a number that looks like one.
//!
//! All figures are exact: no binning of thresholds, equal scores move together, and counts stay integers until the last division.

use rayon::prelude::*;

use crate::vision::regions::label_regions;
use crate::vision::{AnomalyMap, Mask};

/// The false positive rate up to which [`aupro`] integrates (Bergmann et al. 2021, "The `MVTec` Anomaly Detection Dataset", IJCV 129).
pub const AUPRO_FALSE_POSITIVE_RATE_MAX: f64 = 0.3;

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

/// [`auroc`] over the pixels of all images: `maps[i]` is judged by `masks[i]`, which has the same size.
///
/// `None` unless there are both defect and defect-free pixels, sizes agree and no score is NaN. Exact. Time is one parallel sort of all
/// pixels (255 maps of 256x256: 0.7 s on two cores); memory is 4 bytes per pixel beside the input (67 MB for those).
pub fn pixel_auroc(maps: &[AnomalyMap], masks: &[Mask]) -> Option<f64> {
    check_sizes(maps, masks)?;
    let pixels = || maps.iter().zip(masks).flat_map(|(map, mask)| map.scores.iter().zip(&mask.defect));
    let (good_count, defect_count) = count_pixels(masks)?;
    let (mut good, mut defects) = (Vec::with_capacity(good_count), Vec::with_capacity(defect_count));
    for (&score, &is_defect) in pixels() {
        let class = if is_defect { &mut defects } else { &mut good };
        class.push(ordered(score)?);
    }
    sort_descending(&mut good);
    sort_descending(&mut defects);
    area_under_roc(&good, &defects)
}

/// Area under the per-region overlap curve, in [0, 1]: the mean share of each defect region that lies above the threshold, over the false
/// positive rate from 0 to [`AUPRO_FALSE_POSITIVE_RATE_MAX`], divided by that limit (Bergmann et al. 2021, "The `MVTec` Anomaly Detection
/// Dataset", IJCV 129, section on the PRO curve). Small defects weigh as much as large ones.
///
/// Regions are the 8-connected components of each mask; the false positive rate is taken over the defect-free pixels of all images, good
/// and defective. Thresholds are all distinct scores; between them the curve is linear, so the last piece is cut at the limit exactly.
///
/// `maps[i]` is judged by `masks[i]`, which has the same size. `None` unless there are both defect and defect-free pixels, sizes agree and
/// no score is NaN. Time as for [`pixel_auroc`]; memory is 4 bytes per defect-free pixel and 12 per defect pixel beside the input.
pub fn aupro(maps: &[AnomalyMap], masks: &[Mask]) -> Option<f64> {
    check_sizes(maps, masks)?;
    let (good_count, defect_count) = count_pixels(masks)?;
    let mut good = Vec::with_capacity(good_count);
    // The defect pixels as (score, region), and per region how many pixels it has.
    let mut covered: Vec<(f32, u32)> = Vec::with_capacity(defect_count);
    let mut areas: Vec<u32> = Vec::new();
    for (map, mask) in maps.iter().zip(masks) {
        let regions = label_regions(mask.width, mask.height, &mask.defect);
        let first = areas.len();
        areas.resize(first + regions.count as usize, 0);
        for (&score, &label) in map.scores.iter().zip(&regions.labels) {
            let score = ordered(score)?;
            if label == 0 {
                good.push(score);
            } else {
                let region = first + label as usize - 1;
                areas[region] += 1;
                covered.push((score, region as u32));
            }
        }
    }
    sort_descending(&mut good);
    covered.par_sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let defects: Vec<f32> = covered.iter().map(|(score, _)| *score).collect();

    let mut area = 0.0;
    let (mut rate, mut overlap, mut pixels) = (0.0, 0.0, 0);
    for step in steps(&good, &defects) {
        let next_rate = step.good as f64 / good.len() as f64;
        let gained: f64 = covered[pixels..step.defects]
            .iter()
            .map(|(_, region)| 1.0 / f64::from(areas[*region as usize]))
            .sum();
        let next_overlap = overlap + gained / areas.len() as f64;
        if next_rate >= AUPRO_FALSE_POSITIVE_RATE_MAX {
            let width = AUPRO_FALSE_POSITIVE_RATE_MAX - rate;
            let overlap_at_limit = overlap + (next_overlap - overlap) * width / (next_rate - rate);
            area += width * f64::midpoint(overlap, overlap_at_limit);
            break;
        }
        area += (next_rate - rate) * f64::midpoint(overlap, next_overlap);
        (rate, overlap, pixels) = (next_rate, next_overlap, step.defects);
    }
    // Rounding in the sum of overlaps may pass 1 by an ulp or two.
    Some((area / AUPRO_FALSE_POSITIVE_RATE_MAX).clamp(0.0, 1.0))
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
pub(super) const ROUNDING: f64 = 1e-9;

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

/// `None` unless there is one mask per map and each pair agrees in size, in words and in data.
fn check_sizes(maps: &[AnomalyMap], masks: &[Mask]) -> Option<()> {
    let agree = |(map, mask): (&AnomalyMap, &Mask)| {
        let pixels = map.width * map.height;
        (map.width, map.height) == (mask.width, mask.height) && map.scores.len() == pixels && mask.defect.len() == pixels
    };
    (maps.len() == masks.len() && maps.iter().zip(masks).all(agree)).then_some(())
}

/// How many defect-free and how many defect pixels there are, so that memory can be reserved to the pixel; `None` if a class is empty.
fn count_pixels(masks: &[Mask]) -> Option<(usize, usize)> {
    let pixels: usize = masks.iter().map(|mask| mask.defect.len()).sum();
    let defects: usize = masks.iter().map(|mask| mask.defect.iter().filter(|flag| **flag).count()).sum();
    (defects > 0 && defects < pixels).then_some((pixels - defects, defects))
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

    fn pixels_of(case: &Value) -> (Vec<AnomalyMap>, Vec<Mask>) {
        let (width, height) = (case["width"].as_u64().unwrap() as usize, case["height"].as_u64().unwrap() as usize);
        let maps = case["maps"].as_array().unwrap().iter().map(|map| AnomalyMap {
            width,
            height,
            scores: scores_of(map),
        });
        let flags = |mask: &Value| mask.as_str().unwrap().bytes().map(|byte| byte == b'#').collect();
        let masks = case["masks"].as_array().unwrap().iter().map(|mask| Mask {
            width,
            height,
            defect: flags(mask),
        });
        (maps.collect(), masks.collect())
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
    fn pixel_figures_are_those_of_scikit_learn_and_scipy() {
        for case in foreign("pixels") {
            let name = case["name"].as_str().unwrap();
            let (maps, masks) = pixels_of(&case);
            let regions: u32 = masks
                .iter()
                .map(|mask| label_regions(mask.width, mask.height, &mask.defect).count)
                .sum();
            assert_eq!(u64::from(regions), case["regions"].as_u64().unwrap(), "{name}");
            assert_close(pixel_auroc(&maps, &masks).unwrap(), case["pixel_auroc"].as_f64().unwrap(), name);
            assert_close(aupro(&maps, &masks).unwrap(), case["aupro"].as_f64().unwrap(), name);
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
        assert_eq!(recall_at_false_reject(&[1.0], &[true], 0.01), None);
        assert_eq!(recall_at_false_reject(&[1.0, 2.0], &[false, true], 1.0), None);
        assert_eq!(pixel_auroc(&[], &[]), None);
        assert_eq!(aupro(&[], &[]), None);
    }

    #[test]
    fn maps_and_masks_that_do_not_fit_are_none() {
        let map = |width, height, count| AnomalyMap {
            width,
            height,
            scores: vec![0.5; count],
        };
        let mask = Mask {
            width: 2,
            height: 1,
            defect: vec![true, false],
        };
        assert!(aupro(&[map(2, 1, 2)], std::slice::from_ref(&mask)).is_some());
        for wrong in [map(1, 2, 2), map(2, 1, 1), map(2, 2, 4)] {
            assert_eq!(aupro(std::slice::from_ref(&wrong), std::slice::from_ref(&mask)), None);
            assert_eq!(pixel_auroc(&[wrong], std::slice::from_ref(&mask)), None);
        }
        assert_eq!(aupro(&[map(2, 1, 2)], &[]), None);
        let not_a_number = AnomalyMap {
            width: 2,
            height: 1,
            scores: vec![f32::NAN, 1.0],
        };
        assert_eq!(aupro(std::slice::from_ref(&not_a_number), std::slice::from_ref(&mask)), None);
        assert_eq!(pixel_auroc(&[not_a_number], &[mask]), None);
    }

    #[test]
    fn zero_and_minus_zero_are_the_same_score() {
        assert_eq!(auroc(&[0.0, -0.0], &[false, true]), Some(0.5));
        assert_eq!(auroc(&[-0.0, 0.0], &[false, true]), Some(0.5));
    }

    #[test]
    fn a_perfect_map_has_aupro_1_and_a_blind_one_has_the_diagonal() {
        let mask = Mask {
            width: 4,
            height: 2,
            defect: [1, 0, 0, 1, 0, 0, 0, 1].map(|flag| flag == 1).to_vec(),
        };
        let map = |score: fn(bool) -> f32| AnomalyMap {
            width: 4,
            height: 2,
            scores: mask.defect.iter().map(|flag| score(*flag)).collect(),
        };
        let masks = std::slice::from_ref(&mask);
        assert_close(aupro(&[map(|flag| if flag { 2.0 } else { 1.0 })], masks).unwrap(), 1.0, "perfect");
        assert_close(aupro(&[map(|flag| if flag { 1.0 } else { 2.0 })], masks).unwrap(), 0.0, "inverted");
        // One tie over all pixels: the curve is the straight line from (0, 0) to (1, 1), of which 0.3 counts.
        assert_close(aupro(&[map(|_| 7.0)], masks).unwrap(), 0.15, "blind");
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

    /// The curve threshold by threshold, each region counted afresh.
    fn aupro_by_thresholds(maps: &[AnomalyMap], masks: &[Mask]) -> f64 {
        let mut regions: Vec<Vec<f32>> = Vec::new();
        let mut good = Vec::new();
        for (map, mask) in maps.iter().zip(masks) {
            let labelled = label_regions(mask.width, mask.height, &mask.defect);
            let of = |label: u32| {
                map.scores
                    .iter()
                    .zip(&labelled.labels)
                    .filter(move |(_, l)| **l == label)
                    .map(|(score, _)| *score)
            };
            good.extend(of(0));
            regions.extend((1..=labelled.count).map(|label| of(label).collect()));
        }
        let share =
            |scores: &[f32], threshold: f32| scores.iter().filter(|score| **score >= threshold).count() as f64 / scores.len() as f64;
        let mut thresholds: Vec<f32> = maps.iter().flat_map(|map| map.scores.clone()).collect();
        thresholds.sort_by(|a, b| b.total_cmp(a));
        let overlap = |threshold| regions.iter().map(|region| share(region, threshold)).sum::<f64>() / regions.len() as f64;
        let mut curve = vec![(0.0, 0.0)];
        curve.extend(
            thresholds
                .into_iter()
                .map(|threshold| (share(&good, threshold), overlap(threshold))),
        );
        let mut area = 0.0;
        for pair in curve.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let right = x1.min(0.3);
            if right > x0 {
                let y_right = y0 + (y1 - y0) * (right - x0) / (x1 - x0);
                area += (right - x0) * (y0 + y_right) / 2.0;
            }
        }
        area / 0.3
    }

    /// Scores on a coarse grid, so that ties are frequent, with both classes present.
    fn scored() -> impl Strategy<Value = (Vec<f32>, Vec<bool>)> {
        prop::collection::vec((0_u8..12, any::<bool>()), 2..60)
            .prop_map(|images| images.into_iter().map(|(score, flag)| (f32::from(score) / 4.0 - 1.0, flag)).unzip())
            .prop_filter("both classes", |(_, flags): &(Vec<f32>, Vec<bool>)| {
                flags.contains(&true) && flags.contains(&false)
            })
    }

    fn tiny_images() -> impl Strategy<Value = (Vec<AnomalyMap>, Vec<Mask>)> {
        (1_usize..6, 1_usize..6, 1_usize..4)
            .prop_flat_map(|(width, height, count)| {
                let image = prop::collection::vec((0_u8..6, prop::bool::weighted(0.3)), width * height).prop_map(move |pixels| {
                    let (scores, defect) = pixels.into_iter().map(|(score, flag)| (f32::from(score), flag)).unzip();
                    (AnomalyMap { width, height, scores }, Mask { width, height, defect })
                });
                prop::collection::vec(image, count)
            })
            .prop_map(|images| images.into_iter().unzip())
            .prop_filter("both classes", |(_, masks): &(Vec<AnomalyMap>, Vec<Mask>)| {
                let flags = || masks.iter().flat_map(|mask| &mask.defect);
                flags().any(|flag| *flag) && flags().any(|flag| !*flag)
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

        #[test]
        fn pixel_auroc_is_auroc_over_all_pixels((maps, masks) in tiny_images()) {
            let scores: Vec<f32> = maps.iter().flat_map(|map| map.scores.clone()).collect();
            let defect: Vec<bool> = masks.iter().flat_map(|mask| mask.defect.clone()).collect();
            prop_assert_eq!(pixel_auroc(&maps, &masks), auroc(&scores, &defect));
        }

        #[test]
        fn aupro_equals_the_slow_way((maps, masks) in tiny_images()) {
            let value = aupro(&maps, &masks).unwrap();
            prop_assert!((0.0..=1.0).contains(&value));
            prop_assert!((value - aupro_by_thresholds(&maps, &masks)).abs() < 1e-12);
        }
    }
}
