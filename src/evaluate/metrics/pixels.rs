//! How well anomaly maps set defect pixels apart: AUROC over pixels and AUPRO, map after map in bounded memory. Pure.
//!
//! A map is folded into steps as it comes: for each distinct score how many good pixels, how many defect pixels and how much of the regions
//! have it. While there are no more distinct scores than [`STEPS_MAX`] the figures are exact. Beyond that neighbouring scores are merged as
//! if they were equal, by giving up low bits of the number (which keeps the relative resolution alike everywhere), until they fit. What that
//! may cost is no guess: [`PixelTally::error_max`] is the largest error that the merged steps can have caused.

use rayon::prelude::*;

use crate::vision::regions::label_regions;
use crate::vision::{AnomalyMap, Mask};

/// The false positive rate up to which [`PixelTally::aupro`] integrates (Bergmann et al. 2021, "The `MVTec` Anomaly Detection Dataset", IJCV
/// 129).
pub const AUPRO_FALSE_POSITIVE_RATE_MAX: f64 = 0.3;

/// Distinct scores that are kept apart, 16 MiB of steps (twice that for an instant); beyond, neighbours are merged. It tells scores between
/// 4 and 64 apart to 8e-6 of their value.
pub const STEPS_MAX: usize = 1 << 19;

/// Pixels that wait to be sorted into the steps, 8 MiB and one map; when there are so many they are sorted in.
const WAITING_MAX: usize = 1 << 19;

/// What is known of all pixels so far.
#[derive(Debug, Clone)]
pub struct PixelTally {
    /// By key, from the lowest score up; no key twice.
    steps: Vec<Step>,
    waiting: Vec<Pixel>,
    steps_max: usize,
    /// Low bits of a score that are given up.
    merged_bits: u32,
    regions: u64,
    is_void: bool,
}

/// All pixels of one score, or of neighbouring ones.
#[derive(Debug, Clone, Copy)]
struct Step {
    key: u32,
    good: u64,
    defects: u64,
    /// The sum over these defect pixels of 1 / area of their region.
    overlap: f64,
}

/// A pixel that waits: its score as a key, and 1 / area of its region, 0 for a good one.
#[derive(Debug, Clone, Copy)]
struct Pixel {
    key: u32,
    share: f64,
}

impl Default for PixelTally {
    fn default() -> Self {
        Self::with_steps(STEPS_MAX)
    }
}

impl PixelTally {
    fn with_steps(steps_max: usize) -> Self {
        Self {
            steps: Vec::new(),
            waiting: Vec::new(),
            steps_max,
            merged_bits: 0,
            regions: 0,
            is_void: false,
        }
    }

    /// Adds a map and where its defects are. Regions are the 8-connected components of the mask.
    ///
    /// Where sizes differ or a score is NaN there are no figures, whatever else is added.
    pub fn add(&mut self, map: &AnomalyMap, mask: &Mask) {
        let pixels = map.width * map.height;
        let is_fit = (map.width, map.height) == (mask.width, mask.height) && map.scores.len() == pixels && mask.defect.len() == pixels;
        if !is_fit || map.scores.iter().any(|score| score.is_nan()) {
            self.is_void = true;
            return;
        }
        let regions = label_regions(mask.width, mask.height, &mask.defect);
        let mut areas = vec![0_u32; regions.count as usize];
        regions
            .labels
            .iter()
            .filter(|label| **label > 0)
            .for_each(|label| areas[*label as usize - 1] += 1);
        self.regions += u64::from(regions.count);
        let merged = self.merged_bits;
        let pixel = |(score, label): (&f32, &u32)| Pixel {
            key: key(*score) >> merged,
            share: if *label == 0 {
                0.0
            } else {
                1.0 / f64::from(areas[*label as usize - 1])
            },
        };
        self.waiting.extend(map.scores.iter().zip(&regions.labels).map(pixel));
        if self.waiting.len() >= WAITING_MAX {
            self.sort_in();
        }
    }

    /// Area under the receiver operating characteristic over all pixels, in [0, 1], equal scores counting half.
    ///
    /// `None` unless there are both defect and defect-free pixels, sizes agreed and no score was NaN.
    pub fn auroc(&mut self) -> Option<f64> {
        let (good, defects) = self.totals()?;
        // Twice the number of (defect, good) pairs in the right order, in integers: exact.
        let (mut twice, mut above) = (0_u128, 0_u64);
        for step in self.steps.iter().rev() {
            twice += u128::from(step.good) * u128::from(2 * above + step.defects);
            above += step.defects;
        }
        Some(twice as f64 / (2.0 * good as f64 * defects as f64))
    }

    /// Area under the per-region overlap curve, in [0, 1]: the mean share of each defect region that lies above the threshold, over the false
    /// positive rate from 0 to [`AUPRO_FALSE_POSITIVE_RATE_MAX`], divided by that limit (Bergmann et al. 2021, "The `MVTec` Anomaly Detection
    /// Dataset", IJCV 129, section on the PRO curve). Small defects weigh as much as large ones.
    ///
    /// The false positive rate is taken over the defect-free pixels of all images, good and defective. Between thresholds the curve is
    /// linear, so the last piece is cut at the limit exactly. `None` as for [`PixelTally::auroc`].
    pub fn aupro(&mut self) -> Option<f64> {
        let area: f64 = self.pieces()?.iter().map(|piece| piece.width * piece.height).sum();
        // Rounding in the sum of overlaps may pass 1 by an ulp or two.
        Some((area / AUPRO_FALSE_POSITIVE_RATE_MAX).clamp(0.0, 1.0))
    }

    /// How far both figures may be off because neighbouring scores were merged; 0 where none was.
    pub fn error_max(&mut self) -> Option<f64> {
        let (good, defects) = self.totals()?;
        if self.merged_bits == 0 {
            return Some(0.0);
        }
        // Whatever the order within a step was, the pairs in it count as a half each, and the curve over it stays within its rectangle.
        let pairs: f64 = self.steps.iter().map(|step| step.good as f64 * step.defects as f64).sum();
        let rectangles: f64 = self.pieces()?.iter().map(|piece| piece.width * piece.error).sum();
        Some((pairs / (2.0 * good as f64 * defects as f64)).max(rectangles / AUPRO_FALSE_POSITIVE_RATE_MAX))
    }

    /// The curve of overlap over false positive rate, up to the limit.
    fn pieces(&mut self) -> Option<Vec<Piece>> {
        let (good, _) = self.totals()?;
        let regions = self.regions as f64;
        let mut pieces = Vec::new();
        let (mut seen, mut rate, mut overlap) = (0_u64, 0.0, 0.0);
        for step in self.steps.iter().rev() {
            seen += step.good;
            let next_rate = seen as f64 / good as f64;
            let rise = step.overlap / regions;
            let width = next_rate.min(AUPRO_FALSE_POSITIVE_RATE_MAX) - rate;
            let part = if next_rate > rate { width / (next_rate - rate) } else { 1.0 };
            pieces.push(Piece {
                width,
                height: overlap + rise * part / 2.0,
                error: rise * (1.0 - part / 2.0),
            });
            if next_rate >= AUPRO_FALSE_POSITIVE_RATE_MAX {
                break;
            }
            (rate, overlap) = (next_rate, overlap + rise);
        }
        Some(pieces)
    }

    /// How many good and how many defect pixels there are; `None` where there can be no figures.
    fn totals(&mut self) -> Option<(u64, u64)> {
        self.sort_in();
        let good = self.steps.iter().map(|step| step.good).sum();
        let defects = self.steps.iter().map(|step| step.defects).sum();
        (good > 0 && defects > 0 && !self.is_void).then_some((good, defects))
    }

    /// Brings the pixels that wait into the steps, and these down to as many as are allowed.
    fn sort_in(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return;
        }
        waiting.par_sort_unstable_by_key(|pixel| pixel.key);
        let mut merged: Vec<Step> = Vec::with_capacity(self.steps.len() + waiting.len().min(self.steps_max));
        let mut old = self.steps.iter().copied().peekable();
        for pixel in &waiting {
            while let Some(step) = old.next_if(|step| step.key <= pixel.key) {
                add_step(&mut merged, step);
            }
            add_step(&mut merged, Step::of(*pixel));
        }
        old.for_each(|step| add_step(&mut merged, step));
        while merged.len() > self.steps_max {
            self.merged_bits += 1;
            let mut fewer: Vec<Step> = Vec::with_capacity(merged.len());
            for step in &merged {
                let key = step.key >> 1;
                add_step(&mut fewer, Step { key, ..*step });
            }
            merged = fewer;
        }
        self.steps = merged;
        waiting.clear();
        self.waiting = waiting;
    }
}

/// A piece of the curve of overlap over false positive rate.
struct Piece {
    /// Along the rate.
    width: f64,
    /// The mean overlap on it.
    height: f64,
    /// How far the mean may be off if what the step holds had been kept apart.
    error: f64,
}

impl Step {
    fn of(pixel: Pixel) -> Self {
        let is_defect = pixel.share > 0.0;
        Self {
            key: pixel.key,
            good: u64::from(!is_defect),
            defects: u64::from(is_defect),
            overlap: pixel.share,
        }
    }
}

/// Adds a step whose key is no lower than all before.
fn add_step(steps: &mut Vec<Step>, step: Step) {
    match steps.last_mut().filter(|last| last.key == step.key) {
        Some(last) => {
            last.good += step.good;
            last.defects += step.defects;
            last.overlap += step.overlap;
        }
        None => steps.push(step),
    }
}

/// A number that is ordered as the score is: the bits of IEEE 754 floats are, but for their sign. Both zeros are the same score.
fn key(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::auroc;
    use super::*;

    /// What scikit-learn and `SciPy` computed; made by `tests/fixtures/metrics_sklearn.py`.
    const FOREIGN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/metrics_sklearn.json"));

    fn scores_of(value: &Value) -> Vec<f32> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|number| number.as_f64().unwrap() as f32)
            .collect()
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

    fn tally(maps: &[AnomalyMap], masks: &[Mask], steps_max: usize) -> PixelTally {
        let mut tally = PixelTally::with_steps(steps_max);
        for (map, mask) in maps.iter().zip(masks) {
            tally.add(map, mask);
            // As if as many were waiting as ever may.
            tally.sort_in();
        }
        tally
    }

    fn pixel_auroc(maps: &[AnomalyMap], masks: &[Mask]) -> Option<f64> {
        tally(maps, masks, STEPS_MAX).auroc()
    }

    fn aupro(maps: &[AnomalyMap], masks: &[Mask]) -> Option<f64> {
        tally(maps, masks, STEPS_MAX).aupro()
    }

    #[test]
    fn pixel_figures_are_those_of_scikit_learn_and_scipy() {
        for case in serde_json::from_str::<Value>(FOREIGN).unwrap()["pixels"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            let (maps, masks) = pixels_of(case);
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
    fn nothing_has_no_figures() {
        let mut empty = PixelTally::default();
        assert_eq!((empty.auroc(), empty.aupro(), empty.error_max()), (None, None, None));
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
        let not_a_number = AnomalyMap {
            width: 2,
            height: 1,
            scores: vec![f32::NAN, 1.0],
        };
        let maps = [map(2, 1, 2), not_a_number, map(2, 1, 2)];
        let masks = vec![mask; 3];
        assert_eq!((aupro(&maps, &masks), pixel_auroc(&maps, &masks)), (None, None));
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
    fn keys_are_ordered_as_scores_are() {
        let scores = [f32::NEG_INFINITY, -2.5, -1e-40, 0.0, 1e-40, 1.0, 1.000_000_1, f32::INFINITY];
        assert!(scores.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
        assert_eq!(key(-0.0), key(0.0));
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

        #[test]
        fn merged_steps_stay_within_the_error_they_state((maps, masks) in tiny_images(), noise in prop::collection::vec(0.0_f32..0.9, 75), steps_max in 1_usize..20) {
            let noisy = maps.iter().enumerate().map(|(image, map)| AnomalyMap {
                scores: map.scores.iter().enumerate().map(|(place, score)| score + noise[image * 25 + place]).collect(),
                ..map.clone()
            });
            let maps: Vec<AnomalyMap> = noisy.collect();
            let mut merged = tally(&maps, &masks, steps_max);
            prop_assert!(merged.steps.len() <= steps_max);
            let error = merged.error_max().unwrap() + 1e-12;
            prop_assert!((merged.auroc().unwrap() - pixel_auroc(&maps, &masks).unwrap()).abs() <= error);
            prop_assert!((merged.aupro().unwrap() - aupro_by_thresholds(&maps, &masks)).abs() <= error);
        }
    }
}
