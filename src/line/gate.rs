//! What the station's own gate and the alarms mean to the line: errors, StopRequest, `GateFireCycleId`, and what became of parts.

use super::Line;
use super::error_code::ErrorCode;
use super::event::{Opened, Sequence};
use crate::gate::alarms::{Alarm, AlarmLimits, Alarms};
use crate::gate::{Fate, Report};
use crate::part::{CycleId, Disposition, Outcome};

/// What the gate does and sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateEvent {
    /// Its output is on for this part, or for none.
    ActsOn(Option<CycleId>),
    /// Its inputs or outputs do not work, or do again.
    Failing(bool),
    /// What became of a part, or what is wrong.
    Report(Report),
}

/// How the gate is.
#[derive(Debug, Clone, Default)]
pub(super) struct GateStanding {
    pub(super) failing: bool,
    pub(super) acts_on: Option<CycleId>,
    alarms: Alarms,
}

impl Line {
    /// The same line, with alarms. Without this it raises none.
    #[must_use]
    pub fn with_alarms(mut self, limits: AlarmLimits) -> Self {
        self.gate.alarms = Alarms::new(limits);
        self
    }

    pub(super) fn hear_gate(&mut self, event: GateEvent) {
        match event {
            GateEvent::ActsOn(part) => self.gate.acts_on = part,
            GateEvent::Failing(failing) => self.gate.failing = failing,
            GateEvent::Report(Report::Fate { id, fate, .. }) => {
                let disposition = match fate {
                    Fate::Passed => Disposition::Passed,
                    Fate::Rejected(_) => Disposition::Rejected,
                    Fate::Removed => Disposition::Removed,
                };
                self.pending.dispositions.push((id.plc_session, id.cycle_id, disposition));
                let alarm = self.gate.alarms.fate(fate);
                self.errors.extend(alarm.map(error_of));
            }
            GateEvent::Report(Report::NotEjected { .. }) => {
                self.errors.insert(ErrorCode::PartNotEjected);
            }
            GateEvent::Report(Report::EncoderJump { .. }) => {
                self.errors.insert(ErrorCode::EncoderJump);
            }
            GateEvent::Report(Report::Untracked { .. }) => {
                self.errors.insert(ErrorCode::PartUntracked);
            }
            GateEvent::Report(Report::EjectedUnasked { .. }) => {
                self.errors.insert(ErrorCode::EjectedUnasked);
            }
        }
    }

    /// A part was shown with this outcome: test parts say nothing of production.
    pub(super) fn watch(&mut self, opened: &Opened, outcome: Outcome) {
        if !opened.test_part {
            let alarms = self.gate.alarms.outcome(opened.part.0, outcome.verdict);
            self.errors.extend(alarms.map(error_of));
        }
    }

    /// The Ok of a part came too late.
    pub(super) fn watch_late(&mut self, part: Sequence) {
        let alarms = self.gate.alarms.late(part.0);
        self.errors.extend(alarms.map(error_of));
    }

    /// ClearError: somebody looked after it.
    pub(super) fn clear_alarms(&mut self) {
        self.gate.alarms.clear();
    }
}

fn error_of(alarm: Alarm) -> ErrorCode {
    match alarm {
        Alarm::ConsecutiveRejects => ErrorCode::ConsecutiveRejects,
        Alarm::RejectRate => ErrorCode::RejectRate,
        Alarm::PartsMissing => ErrorCode::PartsMissing,
    }
}
