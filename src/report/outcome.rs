//! Truth and verdict become outcomes, and outcomes become rates with intervals.

use super::{EvaluationReport, PartRow};
use crate::evaluate::metrics::{PrecisionPoint, RocPoint, auroc, average_precision, precision_curve, roc_curve};
use crate::part::Verdict;
use crate::teach::calibration::{Interval, clopper_pearson};

/// Confidence of every interval on the page.
pub(super) const CONFIDENCE: f64 = 0.95;

/// How a verdict compares with the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A defect that was judged Ok.
    Escape,
    /// A good part that was judged `NotOk`.
    FalseReject,
    /// A part that could not be judged, whatever it is.
    Undecided,
    /// A defect that was judged `NotOk`.
    Found,
    /// A good part that was judged Ok.
    Accepted,
    /// The truth is not known.
    Unknown,
}

impl Outcome {
    pub(super) fn of(part: &PartRow) -> Self {
        match (part.verdict, part.truth_defect) {
            (Verdict::NotDecidable, _) => Self::Undecided,
            (_, None) => Self::Unknown,
            (Verdict::Ok, Some(true)) => Self::Escape,
            (Verdict::NotOk, Some(false)) => Self::FalseReject,
            (Verdict::NotOk, Some(true)) => Self::Found,
            (Verdict::Ok, Some(false)) => Self::Accepted,
        }
    }

    /// The word on cards and in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Escape => "escape",
            Self::FalseReject => "false reject",
            Self::Undecided => "not decidable",
            Self::Found => "defect found",
            Self::Accepted => "good accepted",
            Self::Unknown => "truth unknown",
        }
    }

    /// Whether the model was wrong or gave no answer.
    pub(super) fn is_mistake(self) -> bool {
        matches!(self, Self::Escape | Self::FalseReject | Self::Undecided)
    }
}

/// How many of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) count: usize,
    pub(super) of: usize,
}

impl Share {
    /// Of `parts`, those that `is_counted`.
    pub(super) fn among<'a>(parts: impl Iterator<Item = &'a PartRow> + Clone, is_counted: impl Fn(&PartRow) -> bool) -> Self {
        Self {
            count: parts.clone().filter(|part| is_counted(part)).count(),
            of: parts.count(),
        }
    }

    /// As a number from 0 to 1; `None` of nothing.
    pub(super) fn value(self) -> Option<f64> {
        (self.of > 0).then(|| self.count as f64 / self.of as f64)
    }

    /// Where the true probability lies, with [`CONFIDENCE`].
    pub(super) fn interval(self) -> Interval {
        clopper_pearson(self.count as u64, self.of as u64, CONFIDENCE)
    }
}

/// What the parts of a report add up to.
#[derive(Debug)]
pub(super) struct Summary {
    /// Defects judged Ok among all defects.
    pub(super) escapes: Share,
    /// Good parts not judged Ok among all good parts: a part that is not decidable is rejected like any other.
    pub(super) false_rejects: Share,
    /// Parts not decidable among all parts.
    pub(super) undecided: Share,
    /// Parts by truth (good, defect, unknown) and verdict (Ok, `NotOk`, `NotDecidable`).
    pub(super) counts: [[usize; 3]; 3],
    /// Finite scores of good parts.
    pub(super) good_scores: Vec<f32>,
    /// Finite scores of defective parts.
    pub(super) defect_scores: Vec<f32>,
    /// Over the parts with a score.
    pub(super) auroc: Option<f64>,
    /// Over the parts with a score.
    pub(super) roc: Vec<RocPoint>,
    /// Over the parts with a score.
    pub(super) average_precision: Option<f64>,
    /// Over the parts with a score.
    pub(super) precision: Vec<PrecisionPoint>,
    /// Detection rate and precision at the report's threshold, over the parts with a score; `None` where it rejects none.
    pub(super) working_precision: Option<(f64, f64)>,
    /// False reject rate and detection rate at the report's threshold, over the parts with a score.
    pub(super) working_point: Option<(f64, f64)>,
    /// One per part that was timed, microseconds.
    pub(super) latencies_us: Vec<u64>,
}

impl Summary {
    pub(super) fn of(report: &EvaluationReport) -> Self {
        let parts = &report.parts;
        let with_truth = |truth: bool| parts.iter().filter(move |part| part.truth_defect == Some(truth));
        let scores_of = |truth: bool| with_truth(truth).filter_map(finite_score).collect::<Vec<f32>>();
        let (good_scores, defect_scores) = (scores_of(false), scores_of(true));
        let scores = [good_scores.clone(), defect_scores.clone()].concat();
        let defect: Vec<bool> = (0..scores.len()).map(|index| index >= good_scores.len()).collect();
        let rejected = |scores: &[f32]| Share {
            count: scores.iter().filter(|score| **score > report.threshold).count(),
            of: scores.len(),
        };
        let (rejected_good, rejected_defects) = (rejected(&good_scores), rejected(&defect_scores));
        let right = Share {
            count: rejected_defects.count,
            of: rejected_good.count + rejected_defects.count,
        };
        let mut counts = [[0; 3]; 3];
        for part in parts {
            let row = part.truth_defect.map_or(2, usize::from);
            let column = match part.verdict {
                Verdict::Ok => 0,
                Verdict::NotOk => 1,
                Verdict::NotDecidable => 2,
            };
            counts[row][column] += 1;
        }
        Self {
            escapes: Share::among(with_truth(true), |part| part.verdict == Verdict::Ok),
            false_rejects: Share::among(with_truth(false), |part| part.verdict != Verdict::Ok),
            undecided: Share::among(parts.iter(), |part| part.verdict == Verdict::NotDecidable),
            counts,
            auroc: auroc(&scores, &defect),
            roc: roc_curve(&scores, &defect),
            average_precision: average_precision(&scores, &defect),
            precision: precision_curve(&scores, &defect),
            working_precision: rejected_defects.value().zip(right.value()).filter(|_| report.threshold.is_finite()),
            working_point: rejected_good
                .value()
                .zip(rejected_defects.value())
                .filter(|_| report.threshold.is_finite()),
            good_scores,
            defect_scores,
            latencies_us: parts.iter().filter_map(|part| part.latency_us).collect(),
        }
    }
}

/// The part's score, if it has one that is a number.
pub(super) fn finite_score(part: &PartRow) -> Option<f32> {
    part.score.filter(|score| score.is_finite())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use super::*;

    fn part(truth_defect: Option<bool>, verdict: Verdict, score: Option<f32>) -> PartRow {
        PartRow {
            image: String::new(),
            kinds: Vec::new(),
            truth_defect,
            verdict,
            said: None,
            score,
            latency_us: None,
            picture: None,
        }
    }

    #[test]
    fn an_undecided_good_part_is_a_false_reject_and_an_undecided_defect_no_escape() {
        let parts = vec![
            part(Some(false), Verdict::Ok, Some(1.0)),
            part(Some(false), Verdict::NotDecidable, None),
            part(Some(true), Verdict::NotDecidable, None),
            part(Some(true), Verdict::NotOk, Some(3.0)),
            part(Some(true), Verdict::Ok, Some(1.5)),
            part(None, Verdict::Ok, Some(0.5)),
        ];
        let summary = Summary::of(&EvaluationReport {
            parts,
            threshold: 2.0,
            ..EvaluationReport::default()
        });
        assert_eq!(summary.false_rejects, Share { count: 1, of: 2 });
        assert_eq!(summary.escapes, Share { count: 1, of: 3 });
        assert_eq!(summary.undecided, Share { count: 2, of: 6 });
        assert_eq!(summary.counts, [[1, 0, 1], [1, 1, 1], [1, 0, 0]]);
        assert_eq!(summary.auroc, Some(1.0));
        assert_eq!(summary.working_point, Some((0.0, 0.5)));
        assert_eq!(summary.working_precision, Some((0.5, 1.0)));
        assert_eq!(summary.average_precision, Some(1.0));
    }

    #[test]
    fn nothing_adds_up_to_nothing() {
        let summary = Summary::of(&EvaluationReport::default());
        assert_eq!((summary.escapes.value(), summary.auroc, summary.working_point), (None, None, None));
        assert_eq!(summary.escapes.interval(), Interval { low: 0.0, high: 1.0 });
    }
}
