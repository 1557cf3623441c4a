//! Findings and criteria become a verdict. Pure.

use crate::part::{Reason, Verdict};

/// The verdict for an anomaly score: Ok up to and including the threshold, NotOk above. A score that is no number decides nothing.
pub fn judge(score: f32, threshold: f32) -> (Verdict, Option<Reason>) {
    if !score.is_finite() || !threshold.is_finite() {
        return (Verdict::NotDecidable, Some(Reason::ModelOutput));
    }
    if score > threshold {
        (Verdict::NotOk, Some(Reason::Anomaly))
    } else {
        (Verdict::Ok, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_itself_is_still_ok() {
        assert_eq!(judge(1.0, 1.0), (Verdict::Ok, None));
        assert_eq!(judge(1.0_f32.next_up(), 1.0), (Verdict::NotOk, Some(Reason::Anomaly)));
    }

    #[test]
    fn a_score_that_is_no_number_is_never_ok() {
        for score in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(judge(score, 1.0).0, Verdict::NotDecidable);
        }
        assert_eq!(judge(0.0, f32::NAN).0, Verdict::NotDecidable);
    }
}
