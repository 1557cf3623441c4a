//! From scores of good parts to a threshold with a promise, and from counts to intervals. Pure.

use statrs::distribution::{Beta, ContinuousCDF};

use crate::evaluate::metrics::ROUNDING;

/// How far above the highest good score the threshold lies when the requested false reject rate is lower than the good images can vouch for.
///
/// Beyond the data there is no right value, only a trade: the highest of n good scores is exceeded by the next good part with a chance of up
/// to 1/(n+1), which is more than was asked for, and every bit of distance costs the detection of faint defects. 5% is a convention of
/// takt that leans to detection; more good images are the remedy.
pub const BEYOND_DATA_MARGIN: f32 = 1.05;

/// A score above which parts are rejected, and what is known about the false rejects it causes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// Parts that score above it are rejected. In the unit of the scores.
    pub value: f32,
    /// The false reject rate that was asked for, in (0, 1).
    pub requested_false_reject_rate: f64,
    /// The false reject rate that the good images vouch for, in (0, 1): at most the requested one, unless `beyond_data`.
    pub supported_false_reject_rate: f64,
    /// From how many good images the threshold was read.
    pub good_images: usize,
    /// There are too few good images for the requested rate: `value` lies [`BEYOND_DATA_MARGIN`] above all of them.
    pub beyond_data: bool,
}

/// Why there is no threshold.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// The rate is outside (0, 1).
    #[error("failed to choose a threshold: the false reject rate must lie between 0 and 1, both excluded, but is {0}")]
    Rate(f64),
    /// There is nothing to choose from.
    #[error("failed to choose a threshold: there are no scores of good images; add good images")]
    NoScores,
    /// A score is NaN or infinite.
    #[error("failed to choose a threshold: the score of good image {index} (counted from 0) is {score}, which is no finite number")]
    NotFinite {
        /// Index into the scores.
        index: usize,
        /// The score itself.
        score: f32,
    },
}

/// The threshold by split conformal prediction (Papadopoulos et al. 2002, "Inductive confidence machines for regression"; Angelopoulos and
/// Bates 2023, "A Gentle Introduction to Conformal Prediction", section 1): with n scores of good images that the model was not taught from
/// (held out or cross-validated) and a false reject rate R, the ceil((n+1)(1-R))-th smallest of them.
///
/// If the next good part comes from the same process as those n (exchangeable), it scores above that threshold with a probability of at most
/// R: its rank among the n+1 is uniform, whatever the distribution. That is on average over calibrations and holds at any n; it says nothing
/// about a process that drifts.
///
/// For R < 1/(n+1) that rank is n+1 and no good image stands there: the threshold is then the highest score raised by
/// [`BEYOND_DATA_MARGIN`], `beyond_data` is set, and the supported rate is 1/(n+1). `good_scores` in any order.
///
/// # Errors
/// If the rate is outside (0, 1), there is no score, or a score is not finite.
pub fn conformal_threshold(good_scores: &[f32], false_reject_rate: f64) -> Result<Threshold, CalibrationError> {
    check_rate(false_reject_rate)?;
    if let Some((index, &score)) = good_scores.iter().enumerate().find(|(_, score)| !score.is_finite()) {
        return Err(CalibrationError::NotFinite { index, score });
    }
    let mut sorted = good_scores.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let highest = *sorted.last().ok_or(CalibrationError::NoScores)?;

    let n = sorted.len();
    let wanted_rank = ((n as f64 + 1.0) * (1.0 - false_reject_rate) - ROUNDING).ceil() as usize;
    let beyond_data = wanted_rank > n;
    let rank = wanted_rank.clamp(1, n);
    // On the magnitude, so that a negative score is raised as well.
    let above_all = (highest + (BEYOND_DATA_MARGIN - 1.0) * highest.abs()).min(f32::MAX);
    Ok(Threshold {
        value: if beyond_data { above_all } else { sorted[rank - 1] },
        requested_false_reject_rate: false_reject_rate,
        supported_false_reject_rate: (n + 1 - rank) as f64 / (n + 1) as f64,
        good_images: n,
        beyond_data,
    })
}

/// Refuses a false reject rate that no threshold can have.
///
/// # Errors
/// If the rate is outside (0, 1).
pub fn check_rate(false_reject_rate: f64) -> Result<(), CalibrationError> {
    if false_reject_rate > 0.0 && false_reject_rate < 1.0 {
        Ok(())
    } else {
        Err(CalibrationError::Rate(false_reject_rate))
    }
}

/// A closed interval of probabilities, `0 <= low <= high <= 1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The exact two-sided interval for a probability after `successes` in `trials` (Clopper and Pearson 1934, "The use of confidence or
/// fiducial limits illustrated in the case of the binomial", Biometrika 26): it covers the true value with at least `confidence`, in (0, 1),
/// for example 0.95.
///
/// With a = 1 - confidence, k successes and n trials, `low` is the a/2 quantile of Beta(k, n-k+1) and 0 for k = 0, `high` the 1 - a/2
/// quantile of Beta(k+1, n-k) and 1 for k = n. Without trials nothing is known: [0, 1], and the same for a confidence outside (0, 1).
/// More successes than trials count as `trials`. Good to 7 digits (checked against `SciPy`).
pub fn clopper_pearson(successes: u64, trials: u64, confidence: f64) -> Interval {
    if trials == 0 || !(confidence > 0.0 && confidence < 1.0) {
        return Interval { low: 0.0, high: 1.0 };
    }
    let (k, n) = (successes.min(trials) as f64, trials as f64);
    let tail = (1.0 - confidence) / 2.0;
    // Neither fails: a shape that falls to 0 is an edge with its own answer, and so is what `map_or` says there.
    let quantile = |a: f64, b: f64, probability: f64, edge: f64| Beta::new(a, b).map_or(edge, |beta| beta.inverse_cdf(probability));
    Interval {
        low: quantile(k, n - k + 1.0, tail, 0.0),
        high: quantile(k + 1.0, n - k, 1.0 - tail, 1.0),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// What `SciPy` and `NumPy` computed; made by `tests/fixtures/metrics_sklearn.py`.
    const FOREIGN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/metrics_sklearn.json"));

    fn foreign(section: &str) -> Vec<Value> {
        serde_json::from_str::<Value>(FOREIGN).unwrap()[section].as_array().unwrap().clone()
    }

    #[test]
    fn thresholds_are_those_of_numpy() {
        for case in foreign("conformal") {
            let scores: Vec<f32> = case["scores"]
                .as_array()
                .unwrap()
                .iter()
                .map(|score| score.as_f64().unwrap() as f32)
                .collect();
            let threshold = conformal_threshold(&scores, case["rate"].as_f64().unwrap()).unwrap();
            assert_eq!(f64::from(threshold.value), case["value"].as_f64().unwrap());
            assert!(!threshold.beyond_data);
        }
    }

    #[test]
    fn a_rate_that_the_data_cannot_support_is_said_and_leaves_a_margin() {
        let scores: Vec<f32> = (1_u8..=20).map(f32::from).collect();
        let threshold = conformal_threshold(&scores, 0.01).unwrap();
        assert!(threshold.beyond_data);
        assert!((threshold.value - 21.0).abs() < 1e-5);
        assert_eq!(threshold.supported_false_reject_rate, 1.0 / 21.0);
        assert_eq!((threshold.requested_false_reject_rate, threshold.good_images), (0.01, 20));
        assert!(conformal_threshold(&[-2.0, -1.0], 0.01).unwrap().value > -1.0);
    }

    #[test]
    fn the_lowest_supported_rate_needs_no_margin() {
        let scores: Vec<f32> = (0_u8..99).map(f32::from).collect();
        let threshold = conformal_threshold(&scores, 0.01).unwrap();
        assert_eq!(
            (threshold.value, threshold.beyond_data, threshold.supported_false_reject_rate),
            (98.0, false, 0.01)
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for rate in [0.0, 1.0, -0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(matches!(conformal_threshold(&[1.0], rate), Err(CalibrationError::Rate(_))));
        }
        assert_eq!(conformal_threshold(&[], 0.1), Err(CalibrationError::NoScores));
        assert!(matches!(
            conformal_threshold(&[1.0, f32::NAN], 0.1),
            Err(CalibrationError::NotFinite { index: 1, .. })
        ));
        assert!(matches!(
            conformal_threshold(&[f32::INFINITY], 0.1),
            Err(CalibrationError::NotFinite { index: 0, .. })
        ));
    }

    #[test]
    fn intervals_are_those_of_scipy() {
        for case in foreign("clopper_pearson") {
            let count = |key: &str| case[key].as_u64().unwrap();
            let interval = clopper_pearson(count("successes"), count("trials"), case["confidence"].as_f64().unwrap());
            assert!((interval.low - case["low"].as_f64().unwrap()).abs() < 1e-10, "{case}: {interval:?}");
            assert!(
                (interval.high - case["high"].as_f64().unwrap()).abs() < 1e-10,
                "{case}: {interval:?}"
            );
        }
    }

    #[test]
    fn intervals_at_the_edges() {
        let everything = Interval { low: 0.0, high: 1.0 };
        assert_eq!(clopper_pearson(0, 0, 0.95), everything);
        assert_eq!(clopper_pearson(3, 10, 1.0), everything);
        assert_eq!(clopper_pearson(3, 10, f64::NAN), everything);
        assert_eq!(clopper_pearson(11, 10, 0.95), clopper_pearson(10, 10, 0.95));
        // Closed forms: none of n is at most 1 - (a/2)^(1/n), all of n at least (a/2)^(1/n).
        assert_eq!(clopper_pearson(0, 30, 0.95).low, 0.0);
        assert!((clopper_pearson(0, 30, 0.95).high - (1.0 - 0.025_f64.powf(1.0 / 30.0))).abs() < 1e-12);
        assert!((clopper_pearson(30, 30, 0.95).low - 0.025_f64.powf(1.0 / 30.0)).abs() < 1e-12);
        assert_eq!(clopper_pearson(30, 30, 0.95).high, 1.0);
    }

    proptest! {
        /// The promise itself, without chance: of n+1 exchangeable scores each is equally likely to be the one that comes next. So leave out
        /// each in turn, take the threshold from the others, and count how often the one left out is rejected.
        #[test]
        fn over_all_choices_of_the_next_part_at_most_the_rate_is_rejected(
            scores in prop::collection::vec(0_u8..40, 2..60),
            rate in 0.001..0.999_f64,
        ) {
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let mut rejected = 0;
            let mut supported = 0.0;
            for next in 0..scores.len() {
                let mut others = scores.clone();
                let score = others.swap_remove(next);
                let threshold = conformal_threshold(&others, rate).unwrap();
                rejected += usize::from(score > threshold.value);
                supported = threshold.supported_false_reject_rate;
                prop_assert!(threshold.beyond_data || supported <= rate + 1e-9);
            }
            prop_assert!(rejected as f64 <= supported * scores.len() as f64 + 1e-9);
        }

        #[test]
        fn a_lower_rate_never_lowers_the_threshold(
            scores in prop::collection::vec(-5.0..50.0_f32, 1..80),
            rates in (0.001..0.999_f64, 0.001..0.999_f64),
        ) {
            let threshold = |rate| conformal_threshold(&scores, rate).unwrap().value;
            prop_assert!(threshold(rates.0.min(rates.1)) >= threshold(rates.0.max(rates.1)));
        }

        #[test]
        fn intervals_hold_the_observed_share_and_mirror((k, n) in (1_u64..3000).prop_flat_map(|n| (0..=n, Just(n))), confidence in 0.5..0.999_f64) {
            let interval = clopper_pearson(k, n, confidence);
            let share = k as f64 / n as f64;
            prop_assert!(0.0 <= interval.low && interval.low <= share && share <= interval.high && interval.high <= 1.0);
            let mirrored = clopper_pearson(n - k, n, confidence);
            prop_assert!((interval.low - (1.0 - mirrored.high)).abs() < 1e-10);
        }
    }
}
