//! The limits of a package that computes with bytes. Pure.
//!
//! Bytes add noise to the features of a part, which has nothing to do with how far these are from the bank: it adds to distances in squares, a little to
//! large ones and more to small ones. Good parts therefore score higher with bytes, and limits that were chosen at full precision would reject more.
//!
//! Where good parts that were not taught are at hand, and enough for the rate, their scores with bytes give the limit as they do at full precision. Where
//! they were taught, their scores are too low for that: a bank holds their own patches. Then the limit is raised by what bytes added to the squares of
//! their scores, the median of it.

use crate::model::manifest::{Calibration, ThresholdSpec};
use crate::teach::calibration::conformal_threshold;

/// Scores of a good part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Both {
    /// At full precision.
    pub plain: f32,
    /// With bytes.
    pub bytes: f32,
    /// Whether it is known not to have been taught.
    pub is_new: bool,
}

/// The limits for bytes.
pub(super) fn of_bytes(plain: &ThresholdSpec, scores: &[Both]) -> ThresholdSpec {
    let new: Vec<f32> = scores.iter().filter(|part| part.is_new).map(|part| part.bytes).collect();
    let rate = plain
        .calibration
        .as_ref()
        .map(|calibration| calibration.requested_false_reject_rate);
    let by_promise = rate
        .and_then(|rate| conformal_threshold(&new, rate).ok())
        .filter(|threshold| !threshold.beyond_data);
    let Some(found) = by_promise else {
        return raised(plain, scores);
    };
    ThresholdSpec {
        score: found.value,
        region: moved_alike(plain, found.value),
        chosen_by: format!(
            "split conformal over the scores, with bytes, of {} good images that the model was not taught from",
            new.len()
        ),
        calibration: Some(Calibration {
            requested_false_reject_rate: found.requested_false_reject_rate,
            supported_false_reject_rate: found.supported_false_reject_rate,
            good_images: found.good_images,
            beyond_data: found.beyond_data,
        }),
    }
}

/// The limits of full precision, raised by what bytes add.
fn raised(plain: &ThresholdSpec, scores: &[Both]) -> ThresholdSpec {
    let mut added: Vec<f64> = scores
        .iter()
        .map(|part| f64::from(part.bytes).powi(2) - f64::from(part.plain).powi(2))
        .collect();
    added.sort_unstable_by(f64::total_cmp);
    let middle = added.get(added.len() / 2).copied().unwrap_or_default().max(0.0);
    let score = f64::from(plain.score).powi(2) + middle;
    let score = score.sqrt() as f32;
    // Of scores of any sign, or of none that can be squared, there is nothing to say.
    if !(score.is_finite() && plain.score > 0.0) {
        return ThresholdSpec {
            chosen_by: format!("{}; kept from the model at full precision", plain.chosen_by),
            ..plain.clone()
        };
    }
    ThresholdSpec {
        score,
        region: moved_alike(plain, score),
        chosen_by: format!(
            "{}; for bytes raised from {} by what they add to the squared scores of {} good images, the median",
            plain.chosen_by,
            plain.score,
            scores.len()
        ),
        calibration: plain.calibration.clone(),
    }
}

/// What is drawn around a finding follows the verdict.
fn moved_alike(plain: &ThresholdSpec, score: f32) -> Option<f32> {
    plain.region.map(|region| region * score / plain.score.max(f32::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(rate: f64) -> ThresholdSpec {
        ThresholdSpec {
            score: 10.0,
            region: Some(8.0),
            chosen_by: "the promise".into(),
            calibration: Some(Calibration {
                requested_false_reject_rate: rate,
                supported_false_reject_rate: rate,
                good_images: 100,
                beyond_data: false,
            }),
        }
    }

    proptest! {
        #[test]
        fn noise_of_one_strength_is_found_whatever_the_parts_score(scores in prop::collection::vec(0.5_f32..9.0, 4..60), noise in 0.0_f32..3.0) {
            let with_noise = |score: f32| (score * score + noise * noise).sqrt();
            let parts: Vec<Both> = scores.iter().map(|score| Both { plain: *score, bytes: with_noise(*score), is_new: false }).collect();
            let found = of_bytes(&plain(0.01), &parts);
            prop_assert!((found.score - with_noise(10.0)).abs() < 1e-3, "{}", found.score);
            prop_assert!((found.region.unwrap() - 0.8 * found.score).abs() < 1e-3);
        }

        #[test]
        fn new_parts_decide_alone_where_they_are_enough(count in 1_usize..60) {
            let new = (0..count).map(|at| Both { plain: 1.0, bytes: 20.0 + at as f32, is_new: true });
            let taught = (0..50).map(|_| Both { plain: 1.0, bytes: 1.0, is_new: false });
            let found = of_bytes(&plain(0.05), &new.chain(taught).collect::<Vec<_>>());
            // 19 can vouch for 5 %.
            if count >= 19 {
                let above = (0..count).filter(|at| 20.0 + *at as f32 > found.score).count() as f64;
                prop_assert!(above <= 0.05 * (count as f64 + 1.0), "{above} of {count}");
                prop_assert!(found.chosen_by.contains("not taught from"));
            } else {
                prop_assert!(found.chosen_by.starts_with("the promise; for bytes raised from 10"));
            }
        }
    }
}
