//! Findings and criteria become a verdict. Pure.
//!
//! ```text
//! what a model saw ── score, findings ──> candidates ── criteria, three-valued ──> verdict, severity, DefectCode, the findings that speak for it
//!                        area, pose ──────────┘   └────── scale, zones
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | score against threshold; no number, no decision |
//! | `rules.rs` | what an inspection demands |
//! | `judgement.rs` | what was seen becomes a verdict |
//! | `criterion.rs` | which findings reject a part, and what is unknown of them |
//! | `area.rs` | where an inspection looks: rectangle or polygon, less what is left out |
//! | `geometry.rs` | points, rectangles, polygons |
//! | `pose.rs` | how a part moved |
//! | `measure.rs` | pixels become millimetres, outlines lengths |
//! | `words.rs` | recipes in words |
//!
//! The promise: what is not known never makes a part Ok. A criterion that needs a measure that is missing leaves the part not decidable, unless
//! another one rejects it anyway.

pub mod area;
pub mod criterion;
pub mod geometry;
mod judgement;
pub mod measure;
pub mod pose;
mod rules;
mod words;

pub use judgement::{FINDINGS_MAX, Judgement, Seen, judge_seen};
pub use rules::{Abilities, PlacedRules, Rules};

use crate::part::{Reason, Verdict};

/// The class of findings of models that were taught from good parts only.
pub const ANOMALY: &str = "anomaly";

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
