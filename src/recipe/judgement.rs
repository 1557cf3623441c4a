//! What a model saw becomes a verdict. Pure.

use std::cmp::Reverse;

use super::criterion::{Candidate, Criterion, Met, Surroundings};
use super::judge;
use super::measure::box_of;
use super::rules::{PlacedRules, Rules};
use crate::part::{Finding, Reason, Severity, Verdict};

/// Findings kept per image; beyond that the part is hopeless, and nobody reads on. All are judged.
pub const FINDINGS_MAX: usize = 64;

/// What a model saw in one picture, before anybody judged it.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// It gave what is no number or cannot be read.
    Unreadable,
    /// It gave no score for what counts of the picture alone.
    Unmeasured,
    /// One score for all of what counts.
    Anomaly {
        /// The higher, the worse.
        score: f32,
        /// Regions that show where, worst first; `None` where the model does not tell.
        regions: Option<Vec<Finding>>,
    },
    /// The share of each class in the whole picture.
    Classes {
        /// The share of all that are defects together.
        score: f32,
        /// Classes that are defects, largest share first. Where in the picture they are is not known.
        defects: Vec<Finding>,
    },
    /// The share of defects of each pixel.
    Pixels {
        /// The largest of what counts.
        score: f32,
        /// Regions of pixels of the same class, largest share first.
        regions: Vec<Finding>,
    },
    /// Things with a box and a score each.
    Objects {
        /// Those that are defects, best score first.
        defects: Vec<Finding>,
        /// Whether those are all.
        is_complete: bool,
    },
}

/// What was decided of one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The decision.
    pub verdict: Verdict,
    /// Why, unless it is Ok.
    pub reason: Option<Reason>,
    /// The score of the picture; no number where there is none.
    pub score: f32,
    /// How bad the worst is, where a criterion says so.
    pub severity: Option<Severity>,
    /// What the PLC is told of it; 0 unless it is NotOk.
    pub defect_code: u16,
    /// What speaks for the decision, worst first, at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
}

impl Judgement {
    fn not_decidable(reason: Reason, score: f32) -> Self {
        Self {
            verdict: Verdict::NotDecidable,
            reason: Some(reason),
            score,
            severity: None,
            defect_code: 0,
            findings: Vec::new(),
        }
    }

    fn ok(score: f32) -> Self {
        Self {
            verdict: Verdict::Ok,
            reason: None,
            score,
            severity: None,
            defect_code: 0,
            findings: Vec::new(),
        }
    }
}

/// Findings that may speak against a part, of whatever kind of model.
struct Evidence {
    score: f32,
    /// Worst first.
    findings: Vec<Finding>,
    /// Whether each counts by the threshold.
    counts: Vec<bool>,
    /// Whether it is known where they are.
    is_located: bool,
    /// Whether there are no others.
    is_complete: bool,
    /// Why, if they do.
    reason: Reason,
}

/// Judges what was seen: a score of more than `threshold` counts, where the criteria do not say otherwise.
pub fn judge_seen(seen: Seen, threshold: f32, placed: &PlacedRules<'_>) -> Judgement {
    let evidence = match seen {
        Seen::Unreadable => return Judgement::not_decidable(Reason::ModelOutput, f32::NAN),
        Seen::Unmeasured => return Judgement::not_decidable(Reason::Unmeasured, f32::NAN),
        Seen::Anomaly { score, regions } => of_anomaly(score, regions, threshold, placed),
        // A share is that of the whole crop: of a part of it nothing is known.
        Seen::Classes { .. } if placed.area.is_masked() => return Judgement::not_decidable(Reason::Unmeasured, f32::NAN),
        Seen::Classes { score, defects } => of_classes(score, defects, threshold),
        Seen::Pixels { score, regions } => of_pixels(score, regions, threshold),
        Seen::Objects { defects, is_complete } => of_objects(defects, is_complete, threshold, placed),
    };
    if judge(evidence.score, threshold).0 == Verdict::NotDecidable {
        return Judgement::not_decidable(Reason::ModelOutput, evidence.score);
    }
    let mut judgement = if placed.rules.criteria.is_empty() {
        by_threshold(&evidence, placed.rules)
    } else {
        by_criteria(&evidence, placed)
    };
    judgement.findings.truncate(FINDINGS_MAX);
    if let Some(scale) = placed.scale {
        judgement
            .findings
            .iter_mut()
            .for_each(|finding| finding.measures = scale.measure(finding));
    }
    judgement
}

/// The score decides; regions show where. A score that counts without any region is somewhere in the picture, and nobody knows how large.
fn of_anomaly(score: f32, regions: Option<Vec<Finding>>, threshold: f32, placed: &PlacedRules<'_>) -> Evidence {
    let regions = regions.filter(|regions| !regions.is_empty() || score <= threshold);
    let is_located = regions.is_some();
    let findings = regions.unwrap_or_else(|| vec![Finding::somewhere_in(placed.area.crop, super::ANOMALY, score)]);
    Evidence {
        score,
        counts: vec![score > threshold; findings.len()],
        findings,
        is_located,
        is_complete: true,
        reason: Reason::Anomaly,
    }
}

/// All classes that are defects count together: shares of 0.3 for each of two are 0.6 for a defect. The worst stands for the sum.
fn of_classes(score: f32, defects: Vec<Finding>, threshold: f32) -> Evidence {
    let counts = |(index, finding): (usize, &Finding)| score > threshold && (index == 0 || finding.score > threshold);
    Evidence {
        score,
        counts: defects.iter().enumerate().map(counts).collect(),
        findings: defects,
        is_located: false,
        is_complete: true,
        reason: Reason::Defect,
    }
}

/// Each region counts for itself; the largest share is the score, also where no region is.
fn of_pixels(score: f32, regions: Vec<Finding>, threshold: f32) -> Evidence {
    Evidence {
        score,
        counts: regions.iter().map(|finding| finding.score > threshold).collect(),
        findings: regions,
        is_located: true,
        is_complete: true,
        reason: Reason::Defect,
    }
}

/// Each counts for itself; the best is the score.
fn of_objects(mut defects: Vec<Finding>, is_complete: bool, threshold: f32, placed: &PlacedRules<'_>) -> Evidence {
    defects.retain(|finding| !placed.area.is_masked() || placed.area.touches(box_of(finding)));
    Evidence {
        score: defects.iter().map(|finding| finding.score).fold(0.0, f32::max),
        counts: defects.iter().map(|finding| finding.score > threshold).collect(),
        findings: defects,
        is_located: true,
        is_complete,
        reason: Reason::Defect,
    }
}

impl Evidence {
    /// Whether a finding is too small to be looked at.
    fn is_small(&self, finding: &Finding, rules: &Rules) -> bool {
        self.is_located && finding.area_px < rules.min_area_px
    }

    /// Whether somebody who looks at the part is shown where.
    fn shows_where(&self) -> bool {
        self.is_located || self.reason != Reason::Anomaly
    }

    fn candidates(&self, rules: &Rules) -> Vec<Candidate<'_>> {
        let all = self.findings.iter().zip(&self.counts).map(|(finding, counts)| Candidate {
            finding,
            counts: *counts,
            place: self.is_located.then(|| box_of(finding)),
        });
        all.filter(|candidate| !self.is_small(candidate.finding, rules)).collect()
    }
}

/// Whatever counts by the threshold rejects the part, unless all of it is small.
fn by_threshold(evidence: &Evidence, rules: &Rules) -> Judgement {
    let counting = || evidence.candidates(rules).into_iter().filter(|candidate| candidate.counts);
    if counting().next().is_none() {
        return if evidence.is_complete {
            Judgement::ok(evidence.score)
        } else {
            Judgement::not_decidable(Reason::Unmeasured, evidence.score)
        };
    }
    let stands_for_all = if evidence.is_located { usize::MAX } else { 1 };
    let findings = counting().take(stands_for_all).filter(|_| evidence.shows_where());
    Judgement {
        verdict: Verdict::NotOk,
        reason: Some(evidence.reason),
        defect_code: rules.defect_code,
        findings: findings.map(|candidate| candidate.finding.clone()).collect(),
        ..Judgement::ok(evidence.score)
    }
}

/// What one criterion says of all findings.
struct Opinion<'a> {
    criterion: &'a Criterion,
    met: Met,
    /// Of each candidate whether it is what the criterion asks for.
    asked_for: Vec<Met>,
}

impl<'a> Opinion<'a> {
    fn of(criterion: &'a Criterion, candidates: &[Candidate<'_>], around: &Surroundings<'_>, is_complete: bool) -> Self {
        let asked_for: Vec<Met> = candidates.iter().map(|candidate| criterion.asks_for(candidate, around)).collect();
        let count = |met: Met| asked_for.iter().filter(|asked| **asked == met).count();
        Self {
            criterion,
            met: criterion.is_met(count(Met::Yes), count(Met::Unknown), is_complete),
            asked_for,
        }
    }
}

/// The worst criterion that is met and rejects decides. Where none is, but one could be if something were known that is not, nothing is decided.
fn by_criteria(evidence: &Evidence, placed: &PlacedRules<'_>) -> Judgement {
    let candidates = evidence.candidates(placed.rules);
    let around = Surroundings {
        area: &placed.area,
        zones: &placed.zones,
        scale: placed.scale,
    };
    let opinion = |criterion| Opinion::of(criterion, &candidates, &around, evidence.is_complete);
    let opinions: Vec<Opinion<'_>> = placed.rules.criteria.iter().map(opinion).collect();
    let met = || {
        opinions
            .iter()
            .filter(|opinion| opinion.met == Met::Yes)
            .map(|opinion| opinion.criterion)
    };
    // Of equals the first in the recipe.
    let worst = met()
        .filter(|criterion| criterion.rejects)
        .min_by_key(|criterion| Reverse(criterion.severity));
    let noted = met().map(|criterion| criterion.severity).max();
    let is_unknown = opinions.iter().any(|opinion| opinion.met == Met::Unknown);
    let findings = findings(&candidates, &opinions);
    match worst {
        Some(worst) => Judgement {
            verdict: Verdict::NotOk,
            reason: Some(evidence.reason),
            severity: Some(worst.severity),
            defect_code: worst.defect_code,
            findings,
            ..Judgement::ok(evidence.score)
        },
        None if is_unknown => Judgement {
            findings,
            ..Judgement::not_decidable(Reason::Unmeasured, evidence.score)
        },
        None => Judgement {
            severity: noted,
            findings,
            ..Judgement::ok(evidence.score)
        },
    }
}

/// Candidates that a criterion that is or may be met asks for, each with the worst severity that is certain; the worst first.
fn findings(candidates: &[Candidate<'_>], opinions: &[Opinion<'_>]) -> Vec<Finding> {
    let judged = candidates.iter().enumerate().filter_map(|(index, candidate)| {
        let asking = || {
            opinions
                .iter()
                .filter(move |opinion| opinion.met != Met::No && opinion.asked_for[index] != Met::No)
        };
        asking().next()?;
        let certain = asking().filter(|opinion| opinion.met == Met::Yes && opinion.asked_for[index] == Met::Yes);
        Some(Finding {
            severity: certain.map(|opinion| opinion.criterion.severity).max(),
            ..candidate.finding.clone()
        })
    });
    let mut judged: Vec<Finding> = judged.collect();
    // Stable: of equal severity they stay in the order of their scores.
    judged.sort_by_key(|finding| Reverse(finding.severity));
    judged
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "what is expected are small whole numbers, which come out exactly")]
mod tests;
