//! When the line is to stop: too many rejects in a row, too large a share of them, parts that are not where they should be.
//!
//! An alarm is told when it is raised, and not again before [`Alarms::clear`]; whoever is told keeps it until then.

use std::collections::VecDeque;

use super::Fate;
use crate::part::Verdict;

/// Most parts that are looked back at, for the share of rejects and for rows of them.
pub const RATE_PARTS_MAX: usize = 10_000;

/// What raises an alarm. The default raises none.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AlarmLimits {
    /// So many parts in a row that are not Ok.
    pub consecutive_rejects: Option<u32>,
    /// Too large a share of parts that are not Ok.
    pub reject_rate: Option<RateLimit>,
    /// So many parts in a row that were triggered and did not come to the gate: its sensor may be blind.
    pub consecutive_removed: Option<u32>,
}

/// A share of the latest parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    /// An alarm above this, 0 to 1.
    pub share: f64,
    /// Of so many parts, 1 to [`RATE_PARTS_MAX`]; none before there were so many.
    pub parts: usize,
}

/// An alarm. Each asks the line to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// Too many parts in a row that are not Ok.
    ConsecutiveRejects,
    /// Too large a share of parts that are not Ok.
    RejectRate,
    /// Too many parts in a row that did not come to the gate.
    PartsMissing,
}

/// What was counted since the alarms were cleared.
#[derive(Debug, Clone, Default)]
pub struct Alarms {
    limits: AlarmLimits,
    /// The latest parts, at most [`RATE_PARTS_MAX`], the oldest first: their sequence, and whether they were rejected.
    latest: VecDeque<(u64, bool)>,
    removed_in_a_row: u32,
    raised: [bool; 3],
}

impl Alarms {
    /// Nothing was counted yet.
    pub fn new(limits: AlarmLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// A part of production has its outcome; several alarms may follow from one.
    pub fn outcome(&mut self, sequence: u64, verdict: Verdict) -> impl Iterator<Item = Alarm> + use<> {
        if self.latest.len() == self.kept() {
            self.latest.pop_front();
        }
        self.latest.push_back((sequence, verdict != Verdict::Ok));
        self.raised_by_outcomes()
    }

    /// A part that was Ok turned out to be late: a reject after all.
    pub fn late(&mut self, sequence: u64) -> impl Iterator<Item = Alarm> + use<> {
        let known = self.latest.iter_mut().rev().find(|(part, _)| *part == sequence);
        if let Some((_, is_reject)) = known {
            *is_reject = true;
        }
        self.raised_by_outcomes()
    }

    /// What became of a part at the gate.
    pub fn fate(&mut self, fate: Fate) -> Option<Alarm> {
        self.removed_in_a_row = match fate {
            Fate::Removed => self.removed_in_a_row.saturating_add(1),
            Fate::Passed | Fate::Rejected(_) => 0,
        };
        let is_over = self
            .limits
            .consecutive_removed
            .is_some_and(|max| self.removed_in_a_row >= max.max(1));
        is_over.then_some(Alarm::PartsMissing).filter(|alarm| self.raise(*alarm))
    }

    /// Somebody looked after it: counting begins anew.
    pub fn clear(&mut self) {
        *self = Self::new(self.limits);
    }

    fn raised_by_outcomes(&mut self) -> impl Iterator<Item = Alarm> + use<> {
        let in_a_row = self.limits.consecutive_rejects.is_some_and(|max| {
            let row = row_length(max);
            self.rejects_of_last(row) == Some(row)
        });
        let too_many = self.limits.reject_rate.is_some_and(|limit| {
            let parts = limit.parts.clamp(1, RATE_PARTS_MAX);
            self.rejects_of_last(parts)
                .is_some_and(|rejects| rejects as f64 > limit.share * parts as f64)
        });
        let in_a_row = in_a_row.then_some(Alarm::ConsecutiveRejects).filter(|alarm| self.raise(*alarm));
        let too_many = too_many.then_some(Alarm::RejectRate).filter(|alarm| self.raise(*alarm));
        [in_a_row, too_many].into_iter().flatten()
    }

    /// Parts that limits look back at, at least one.
    fn kept(&self) -> usize {
        let row = self.limits.consecutive_rejects.map_or(1, row_length);
        let share = self.limits.reject_rate.map_or(1, |limit| limit.parts.clamp(1, RATE_PARTS_MAX));
        row.max(share)
    }

    /// How many of the last so many parts were rejected; `None` while there were fewer.
    fn rejects_of_last(&self, parts: usize) -> Option<usize> {
        let oldest = self.latest.len().checked_sub(parts)?;
        Some(self.latest.range(oldest..).filter(|(_, is_reject)| *is_reject).count())
    }

    /// Whether it was not raised before.
    fn raise(&mut self, alarm: Alarm) -> bool {
        !std::mem::replace(&mut self.raised[alarm as usize], true)
    }
}

/// A row as it can be looked back at.
fn row_length(max: u32) -> usize {
    usize::try_from(max).unwrap_or(RATE_PARTS_MAX).clamp(1, RATE_PARTS_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(alarms: &mut Alarms, verdicts: &[Verdict]) -> Vec<(usize, Alarm)> {
        let each = verdicts.iter().enumerate();
        each.flat_map(|(place, verdict)| {
            let raised = alarms.outcome(place as u64, *verdict);
            raised.map(move |alarm| (place, alarm)).collect::<Vec<_>>()
        })
        .collect()
    }

    const OK: Verdict = Verdict::Ok;
    const BAD: Verdict = Verdict::NotOk;
    const UNKNOWN: Verdict = Verdict::NotDecidable;

    #[test]
    fn rejects_in_a_row_raise_one_alarm_until_it_is_cleared() {
        let limits = AlarmLimits {
            consecutive_rejects: Some(3),
            ..AlarmLimits::default()
        };
        let mut alarms = Alarms::new(limits);
        assert_eq!(told(&mut alarms, &[BAD, UNKNOWN, OK, BAD, BAD]), []);
        assert_eq!(told(&mut alarms, &[UNKNOWN, BAD, BAD]), [(0, Alarm::ConsecutiveRejects)]);
        alarms.clear();
        assert_eq!(told(&mut alarms, &[BAD, BAD, BAD]), [(2, Alarm::ConsecutiveRejects)]);
    }

    #[test]
    fn parts_that_do_not_come_to_the_gate_raise_an_alarm() {
        let limits = AlarmLimits {
            consecutive_removed: Some(2),
            ..AlarmLimits::default()
        };
        let mut alarms = Alarms::new(limits);
        let fates = [Fate::Removed, Fate::Passed, Fate::Removed, Fate::Removed, Fate::Removed];
        let raised: Vec<Option<Alarm>> = fates.into_iter().map(|fate| alarms.fate(fate)).collect();
        assert_eq!(raised, [None, None, None, Some(Alarm::PartsMissing), None]);
    }

    #[test]
    fn parts_that_turn_out_to_be_late_are_rejects_too() {
        let limits = AlarmLimits {
            consecutive_rejects: Some(3),
            reject_rate: Some(RateLimit { share: 0.5, parts: 4 }),
            ..AlarmLimits::default()
        };
        let mut alarms = Alarms::new(limits);
        assert_eq!(told(&mut alarms, &[OK, OK, OK, OK]), []);
        assert_eq!(alarms.late(2).collect::<Vec<_>>(), []);
        assert_eq!(alarms.late(1).collect::<Vec<_>>(), []);
        assert_eq!(alarms.late(3).collect::<Vec<_>>(), [Alarm::ConsecutiveRejects, Alarm::RejectRate]);
        assert_eq!(alarms.late(0).collect::<Vec<_>>(), [], "told once");
        assert_eq!(alarms.late(99).count(), 0, "unknown");
    }

    #[test]
    fn no_limit_no_alarm() {
        let mut alarms = Alarms::default();
        assert_eq!(told(&mut alarms, &[BAD; 100]), []);
        assert_eq!(alarms.fate(Fate::Removed), None);
    }

    proptest! {
        #[test]
        fn the_share_is_that_of_the_latest_parts(
            verdicts in prop::collection::vec(prop_oneof![Just(OK), Just(BAD), Just(UNKNOWN)], 0..200),
            parts in 1usize..50,
            share in 0.0f64..1.0,
        ) {
            let limits = AlarmLimits { reject_rate: Some(RateLimit { share, parts }), ..AlarmLimits::default() };
            let told = told(&mut Alarms::new(limits), &verdicts);
            let exceeds = |latest: &[Verdict]| {
                latest.iter().filter(|verdict| **verdict != OK).count() as f64 > share * parts as f64
            };
            let first = verdicts.windows(parts).position(exceeds).map(|place| (place + parts - 1, Alarm::RejectRate));
            prop_assert_eq!(told, first.into_iter().collect::<Vec<_>>());
        }
    }
}
