//! A run of the virtual line as the page tells it.

use std::time::Duration;

use crate::part::{Reason, Verdict};
use crate::report::{LinePromise, LineRun};
use crate::twin::report::Promise;
use crate::twin::{PartRun, Settings, TwinReport};

/// What the page says about a run: counts of the report, and what only its parts tell.
pub(super) fn line_run(report: &TwinReport, settings: &Settings) -> LineRun {
    let parts = &report.details;
    let count = |of: &dyn Fn(&PartRun) -> bool| parts.iter().filter(|part| of(part)).count();
    let underway = count(&|part| part.gate.is_none());
    let untriggered = report.untriggered as usize;
    let (engine_us, added_us) = parts.iter().filter_map(split).unzip();
    LineRun {
        rendered: settings.dataset.is_none(),
        promises: [
            promise(&report.line_1),
            promise(&report.line_2),
            promise(&report.line_3),
            report.line_5.as_ref().map(promise).unwrap_or_default(),
        ],
        triggers: report.parts,
        untriggered,
        recorded: report.records.map(|_| count(&|part| part.recorded.is_some())),
        record_lines: report.records,
        ok: report.outcomes.ok,
        not_ok: report.outcomes.not_ok,
        not_decidable: undecided(parts),
        unknown: report.outcomes.unknown,
        read: count(&|part| part.verdict.is_some()),
        passed: report.passed,
        // The report counts all that did not pass; the page tells them apart.
        rejected: report.rejected.saturating_sub(untriggered + underway),
        underway,
        good: count(&|part| part.defect.is_none()),
        defective: count(&|part| part.defect.is_some()),
        escapes: report.escapes,
        false_rejects: report.false_rejects,
        late: report.late,
        ok_after_deadline: report.ok_after_deadline,
        lost: report.lost,
        wrong_part: report.wrong_part,
        station_kills: report.station_kills,
        plc_restarts: report.plc_restarts,
        historian_kills: report.historian_kills,
        network_cuts: report.network_cuts,
        network_cut_ms: settings
            .historian
            .as_ref()
            .map_or(0, |historian| historian.network_cut.as_millis() as u64),
        evidence: Vec::new(),
        evidence_more: 0,
        stopped: report.stopped,
        deadline_us: microseconds(settings.deadline),
        poll_us: microseconds(settings.poll),
        trigger_to_verdict_us: parts.iter().filter_map(|part| part.trigger_to_verdict_us).collect(),
        engine_us,
        added_us,
    }
}

fn promise(promise: &Promise) -> LinePromise {
    LinePromise {
        kept: promise.pass,
        broken: promise.broken,
        first: promise.first.clone(),
    }
}

/// Time in the engine and the rest of the time on the wire, of a part that has both.
fn split(part: &PartRun) -> Option<(u64, u64)> {
    let (total, engine) = part.trigger_to_verdict_us.zip(part.engine_us)?;
    Some((engine, total.saturating_sub(engine)))
}

/// Why parts were not judged, the most frequent reason first.
fn undecided(parts: &[PartRun]) -> Vec<(Option<Reason>, usize)> {
    let mut reasons: Vec<(Option<Reason>, usize)> = Vec::new();
    for part in parts.iter().filter(|part| part.outcome() == Some(Verdict::NotDecidable)) {
        match reasons.iter_mut().find(|(reason, _)| *reason == part.reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((part.reason, 1)),
        }
    }
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    reasons
}

fn microseconds(time: Duration) -> u64 {
    time.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(verdict: Option<Verdict>, reason: Option<Reason>) -> PartRun {
        PartRun {
            part: 1,
            defect: None,
            cycle_id: 1,
            plc_session: 1,
            verdict,
            recorded: None,
            reason,
            gate: None,
            trigger_sent_ns: None,
            verdict_received_ns: None,
            trigger_to_verdict_us: Some(20_000),
            engine_us: Some(8_000),
        }
    }

    #[test]
    fn reasons_count_only_where_nothing_was_decided_and_the_most_frequent_comes_first() {
        let undecided_for = |reason| part(Some(Verdict::NotDecidable), reason);
        let parts = [
            part(Some(Verdict::Ok), None),
            part(Some(Verdict::NotOk), Some(Reason::Anomaly)),
            part(None, Some(Reason::Restart)),
            undecided_for(None),
            undecided_for(Some(Reason::Deadline)),
            undecided_for(Some(Reason::Deadline)),
        ];
        assert_eq!(undecided(&parts), [(Some(Reason::Deadline), 2), (None, 1)]);
    }

    #[test]
    fn time_is_split_only_where_both_times_are_known() {
        let both = part(Some(Verdict::Ok), None);
        let unread = PartRun {
            trigger_to_verdict_us: None,
            ..both.clone()
        };
        let unjudged = PartRun {
            engine_us: None,
            ..both.clone()
        };
        assert_eq!(
            [split(&both), split(&unread), split(&unjudged)],
            [Some((8_000, 12_000)), None, None]
        );
    }
}
