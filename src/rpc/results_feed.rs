//! Outcomes on their way from the line's reporter to line controllers: a ring of the latest, which nobody waits for.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{convert, proto};
use crate::flow::now;
use crate::part::{CycleId, Nanos, PartRecord, Reason};

/// Results that are kept for controllers that lost their connection, about 7 minutes at 10 parts/s; then the oldest is forgotten.
pub const RESULTS_KEPT: usize = 4096;

/// Results a controller may be behind; one that is further behind is let go, and may resume from those that are kept.
pub const RESULTS_BEHIND_MAX: usize = 1024;

/// An outcome as controllers get it.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) result: proto::Result,
    /// When it was published.
    pub(super) at: Nanos,
}

/// Outcomes on their way to controllers: the last [`RESULTS_KEPT`], whoever listens.
#[derive(Debug)]
pub struct ResultsFeed {
    kept: Mutex<Kept>,
    /// Number of the outcome that comes next.
    next: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Number of the oldest.
    first: u64,
    results: VecDeque<Published>,
}

/// Why there is nothing to be had from the feed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FeedError {
    /// It reads too slowly.
    #[error(
        "failed to keep up: more than {RESULTS_BEHIND_MAX} results wait for this connection; read faster, and attach again with the last result_id to resume"
    )]
    Behind,
    /// What it wants to resume from is not kept.
    #[error(
        "failed to resume after result {0}: it is not among the last {RESULTS_KEPT} of this start of the station; attach with resume_after_result_id 0, \
         and read what was recorded with StreamResults"
    )]
    Forgotten(u32),
    /// The beginning of the session it wants to resume is not kept.
    #[error(
        "failed to resume session {0} from its first result: it is not among the last {RESULTS_KEPT} of this start of the station; attach without \
         resume_session, and read what was recorded with StreamResults"
    )]
    SessionForgotten(u16),
}

impl Default for ResultsFeed {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            next: watch::Sender::new(0),
        }
    }
}

impl ResultsFeed {
    /// An outcome was shown (or only recorded). `passed` as [`crate::plc::grpc::is_passed`] says. To be called in the order of the
    /// outcomes, after the image that shows them was swapped. It never waits for a controller.
    pub fn publish(&self, record: &PartRecord, passed: bool) {
        // They change nothing for a line controller: the outcome stands.
        if record.late_findings {
            return;
        }
        let published = Published {
            result: result(record, passed),
            at: now(),
        };
        let next = {
            let mut kept = self.kept();
            if kept.results.len() == RESULTS_KEPT {
                kept.results.pop_front();
                kept.first += 1;
            }
            kept.results.push_back(published);
            kept.end()
        };
        self.next.send_replace(next);
    }

    /// Where a controller goes on that has everything up to this result; 0: with what comes next. The second number is where what may be new to it
    /// begins.
    pub(super) fn place_after(&self, result_id: u32) -> Result<(u64, u64), FeedError> {
        let kept = self.kept();
        let end = kept.end();
        if result_id == 0 {
            return Ok((end, end));
        }
        let place = kept.results.iter().rposition(|published| published.result.result_id == result_id);
        let place = place.ok_or(FeedError::Forgotten(result_id))?;
        Ok((kept.first + place as u64 + 1, end))
    }

    /// Where a controller goes on that has nothing of this session yet, as in [`Self::place_after`].
    pub(super) fn place_of_session(&self, plc_session: u16) -> Result<(u64, u64), FeedError> {
        let kept = self.kept();
        let of_session = |published: &&Published| published.result.plc_session == u32::from(plc_session);
        let count = kept.results.iter().rev().take_while(of_session).count();
        if count == RESULTS_KEPT {
            return Err(FeedError::SessionForgotten(plc_session));
        }
        Ok((kept.end() - count as u64, kept.end()))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // What it guards is whole: nothing here stops half-way.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of the outcome that comes next; changes with each.
    pub(super) fn next(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// The outcome with this number; `None` if it has not come yet.
    pub(super) fn get(&self, number: u64) -> Option<Published> {
        let kept = self.kept();
        number
            .checked_sub(kept.first)
            .and_then(|place| kept.results.get(place as usize).cloned())
    }
}

impl Kept {
    fn end(&self) -> u64 {
        self.first + self.results.len() as u64
    }
}

fn result(record: &PartRecord, passed: bool) -> proto::Result {
    proto::Result {
        part_sequence: record.sequence,
        cycle_id: record.cycle_id.map_or(0, CycleId::get),
        plc_session: u32::from(record.plc_session),
        result_id: record.result_id,
        outcome: Some(proto::Outcome {
            verdict: i32::from(record.verdict.code()),
            reason: u32::from(record.reason.map_or(0, Reason::code)),
        }),
        defect_code: u32::from(record.defect_code),
        pass: passed && record.result_id != 0,
        deadline_missed: record.result_id != 0 && record.shown_ns >= record.deadline_ns,
        total_us: record.stages.total_us,
        repeated: false,
        severity: convert::severity(record.severity).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::{StageTimes, Verdict};

    fn record(result_id: u32, verdict: Verdict) -> PartRecord {
        PartRecord {
            defect_code: 0,
            severity: None,
            tags: Vec::new(),
            delivery: None,
            station: "press-1".into(),
            epoch: 1,
            sequence: 100 + u64::from(result_id),
            cycle_id: CycleId::new(7),
            plc_session: 2,
            boot_id: 3,
            acquisition_id: 4,
            result_id,
            encoder: 0,
            serial: String::new(),
            recipe: 1,
            config_checksum: 0,
            verdict,
            reason: (verdict != Verdict::Ok).then_some(Reason::Anomaly),
            measured: None,
            test_part: false,
            recovered: false,
            late_findings: false,
            triggered_unix_ns: 0,
            triggered_ns: Nanos(0),
            deadline_ns: Nanos(10),
            shown_ns: Nanos(10),
            stages: StageTimes::default(),
            views: Vec::new(),
        }
    }

    #[test]
    fn an_outcome_is_told_as_it_was_shown() {
        let told = result(
            &PartRecord {
                defect_code: 9,
                severity: Some(crate::part::Severity::Major),
                ..record(5, Verdict::NotOk)
            },
            false,
        );
        assert_eq!(
            (told.part_sequence, told.cycle_id, told.plc_session, told.result_id),
            (105, 7, 2, 5)
        );
        assert_eq!(
            (told.outcome.unwrap().verdict, told.outcome.unwrap().reason, told.defect_code),
            (2, 1, 9)
        );
        assert_eq!(told.severity(), proto::Severity::Major);
        assert!(told.deadline_missed && !told.pass && !told.repeated);
        let passed = result(&record(5, Verdict::Ok), true);
        assert!(passed.pass && passed.severity() == proto::Severity::Unspecified);
        let unshown = result(&record(0, Verdict::Ok), true);
        assert!(!unshown.pass && !unshown.deadline_missed, "what was only recorded passes nothing");
    }

    #[test]
    fn the_ring_keeps_the_latest_and_says_what_it_has_forgotten() {
        let feed = ResultsFeed::default();
        assert_eq!(feed.place_after(0), Ok((0, 0)));
        assert_eq!(feed.place_after(1), Err(FeedError::Forgotten(1)));
        let late = PartRecord {
            late_findings: true,
            ..record(9, Verdict::Ok)
        };
        feed.publish(&late, true);
        assert_eq!(*feed.next().borrow(), 0, "late findings change no outcome");
        let last = RESULTS_KEPT as u32 + 10;
        for result_id in 1..=last {
            feed.publish(&record(result_id, Verdict::Ok), true);
        }
        let end = u64::from(last);
        assert_eq!(*feed.next().borrow(), end);
        assert_eq!(feed.place_after(10), Err(FeedError::Forgotten(10)));
        assert_eq!(feed.place_after(11), Ok((11, end)));
        assert_eq!(feed.place_after(last), Ok((end, end)));
        assert!(feed.get(9).is_none() && feed.get(end).is_none());
        let session = record(1, Verdict::Ok).plc_session;
        assert_eq!(feed.place_of_session(session), Err(FeedError::SessionForgotten(session)));
        assert_eq!(feed.get(10).unwrap().result.result_id, 11);
    }

    #[test]
    fn a_session_is_resumed_from_its_first_result() {
        let feed = ResultsFeed::default();
        let of_session = |result_id, plc_session| PartRecord {
            plc_session,
            ..record(result_id, Verdict::Ok)
        };
        assert_eq!(feed.place_of_session(1), Ok((0, 0)));
        for (result_id, plc_session) in [(1, 1), (2, 1), (3, 2), (4, 1), (5, 1)] {
            feed.publish(&of_session(result_id, plc_session), true);
        }
        assert_eq!(
            feed.place_of_session(1),
            Ok((3, 5)),
            "a session of this number before it is another"
        );
        assert_eq!(feed.place_of_session(2), Ok((5, 5)), "over");
    }
}
