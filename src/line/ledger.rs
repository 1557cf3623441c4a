//! The ledger: parts that are open, and what each still waits for. Every part that is opened here leaves with exactly one outcome.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::config::RecipePlan;
use super::correlation::FrameSeen;
use super::event::{CameraIndex, Inspected, InspectionIndex, Opened, Sequence};
use crate::part::{Nanos, Outcome, Reason, Severity, StageTimes, Verdict, View};

/// Parts whose outcome is final but whose engines are still running. Beyond that the oldest findings are not waited for.
const LATE_MAX: usize = 64;

/// A part that has no outcome yet, or one that was not shown yet.
#[derive(Debug, Clone)]
pub(super) struct OpenPart {
    pub(super) opened: Opened,
    /// When its outcome is due; moves once, to the exposure's deadline, under a hardware trigger.
    pub(super) deadline: Nanos,
    pub(super) bypass: bool,
    /// What it is inspected by, whatever recipe comes into force later.
    pub(super) recipe: RecipePlan,
    pub(super) frames: Vec<Option<FrameSeen>>,
    pub(super) inspected: Vec<Option<Inspected>>,
    /// What was decided, waiting to be shown.
    pub(super) outcome: Option<Outcome>,
    /// Whether it was decided in time and could not be shown, because the PLC has not read the result before.
    pub(super) is_waiting: bool,
}

impl OpenPart {
    pub(super) fn new(opened: Opened, deadline: Nanos, bypass: bool, cameras: usize, recipe: RecipePlan) -> Self {
        Self {
            opened,
            deadline,
            bypass,
            frames: vec![None; cameras],
            inspected: vec![None; recipe.cameras.len()],
            recipe,
            outcome: None,
            is_waiting: false,
        }
    }

    /// Whether every camera that its recipe looks through has seen it.
    pub(super) fn is_exposed(&self) -> bool {
        self.recipe.cameras.iter().all(|camera| self.has_frame_of(*camera))
    }

    fn has_frame_of(&self, camera: CameraIndex) -> bool {
        self.frames.get(camera).is_some_and(Option::is_some)
    }

    /// The inspections of its recipe that look through a camera.
    pub(super) fn inspections_of(&self, camera: CameraIndex) -> impl Iterator<Item = InspectionIndex> + '_ {
        let places = self.recipe.cameras.iter().enumerate().filter(move |(_, of)| **of == camera);
        places.map(|(place, _)| self.recipe.first + place)
    }

    /// Takes in what an inspection found. What was not seen cannot have been inspected, nor what the recipe does not ask for.
    fn take_in(&mut self, inspection: InspectionIndex, inspected: Inspected) {
        let Some(place) = inspection.checked_sub(self.recipe.first) else {
            return;
        };
        let is_seen = self.recipe.cameras.get(place).is_some_and(|camera| self.has_frame_of(*camera));
        if let Some(found) = self.inspected.get_mut(place).filter(|_| is_seen) {
            found.get_or_insert(inspected);
        }
    }

    /// From when on no other exposure can turn up that might be its own.
    pub(super) fn certain_from(&self) -> Nanos {
        let judged = self.outcome.is_some_and(|outcome| outcome.verdict != Verdict::NotDecidable);
        let frames = self.frames.iter().flatten().filter(|_| judged);
        frames.map(|frame| frame.certain_from).max().unwrap_or_default()
    }

    /// The inspections that it still waits for.
    pub(super) fn inspections_to_come(&self) -> impl Iterator<Item = InspectionIndex> + '_ {
        let missing = self.inspected.iter().enumerate().filter(|(_, found)| found.is_none());
        missing
            .map(|(place, _)| self.recipe.first + place)
            .filter(|_| self.outcome.is_none())
    }

    /// Whether every inspection is done.
    pub(super) fn is_inspected(&self) -> bool {
        self.inspected.iter().all(Option::is_some)
    }

    /// What the inspections say together: the worst NotOk decides, and Ok takes all of them.
    pub(super) fn measured(&self) -> Option<Outcome> {
        let outcome = |inspected: &Inspected| Outcome {
            verdict: inspected.view.verdict,
            reason: inspected.view.reason,
        };
        let mut outcomes = self.inspected.iter().flatten().map(outcome);
        let undecided = outcomes.find(|outcome| outcome.verdict == Verdict::NotDecidable);
        let all_ok = || (self.is_inspected() && !self.inspected.is_empty()).then_some(Outcome::OK);
        self.worst().map(outcome).or(undecided).or_else(all_ok)
    }

    /// The inspection with the worst defect; of equals the first in the recipe. What no criterion calls otherwise is major.
    fn worst(&self) -> Option<&Inspected> {
        let inspected = self.inspected.iter().flatten();
        let not_ok = inspected.filter(|inspected| inspected.view.verdict == Verdict::NotOk);
        not_ok.min_by_key(|inspected| Reverse(inspected.view.severity.unwrap_or(Severity::Major)))
    }

    /// Why there is no outcome although it is due.
    pub(super) fn overdue(&self) -> Outcome {
        Outcome::not_decidable(if self.is_exposed() { Reason::Deadline } else { Reason::NoFrame })
    }

    /// What the PLC is told of the worst defect; 0 without one.
    pub(super) fn defect_code(&self) -> u16 {
        self.worst().map_or(0, |worst| worst.defect_code)
    }

    /// How bad the worst defect is, or what was noted where there is none; `None` where no criterion says.
    pub(super) fn severity(&self) -> Option<Severity> {
        let noted = || {
            self.inspected
                .iter()
                .flatten()
                .filter_map(|inspected| inspected.view.severity)
                .max()
        };
        self.worst().map_or_else(noted, |worst| worst.view.severity)
    }

    pub(super) fn views(&self) -> Vec<View> {
        self.inspected.iter().flatten().map(|inspected| inspected.view.clone()).collect()
    }

    pub(super) fn stages(&self, shown_at: Nanos) -> StageTimes {
        let longest = |of: fn(&Inspected) -> u64| self.inspected.iter().flatten().map(of).max().unwrap_or(0);
        let last_frame = self.frames.iter().flatten().map(|frame| frame.arrived_at).max();
        StageTimes {
            frame_us: last_frame.map_or(0, |at| micros(at.since(self.opened.triggered_at))),
            queue_us: longest(|inspected| inspected.queue_us),
            preprocess_us: longest(|inspected| inspected.preprocess_us),
            infer_us: longest(|inspected| inspected.infer_us),
            postprocess_us: longest(|inspected| inspected.postprocess_us),
            total_us: micros(shown_at.since(self.opened.triggered_at)),
        }
    }
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The open parts, in the order of their triggers, and those whose engines are late.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    pub(super) open: BTreeMap<Sequence, OpenPart>,
    late: BTreeMap<Sequence, OpenPart>,
}

impl Ledger {
    /// Takes out a part whose outcome is being shown; findings that are still to come are waited for.
    pub(super) fn close(&mut self, part: Sequence) -> Option<OpenPart> {
        let closed = self.open.remove(&part)?;
        if closed.is_exposed() && !closed.is_inspected() {
            if self.late.len() == LATE_MAX {
                self.late.pop_first();
            }
            self.late.insert(part, closed.clone());
        }
        Some(closed)
    }

    /// An inspection is done. Returns the part if its outcome was final already and these were the last findings.
    pub(super) fn inspected(&mut self, part: Sequence, inspection: InspectionIndex, inspected: Inspected) -> Option<OpenPart> {
        let of = self.open.get_mut(&part).or_else(|| self.late.get_mut(&part))?;
        of.take_in(inspection, inspected);
        let complete = self.late.get(&part).is_some_and(OpenPart::is_inspected);
        if complete { self.late.remove(&part) } else { None }
    }

    /// Decides a part, once: whatever is decided first stands.
    pub(super) fn decide(&mut self, part: Sequence, outcome: Outcome) {
        if let Some(part) = self.open.get_mut(&part) {
            part.outcome.get_or_insert(outcome);
        }
    }

    /// Decides a part against what was decided: nothing of it was shown yet.
    pub(super) fn overrule(&mut self, part: Sequence, outcome: Outcome) {
        if let Some(part) = self.open.get_mut(&part) {
            part.outcome = Some(outcome);
        }
    }

    /// Parts whose outcome waits for the PLC to read the one before.
    pub(super) fn waiting(&self) -> impl Iterator<Item = Sequence> + '_ {
        let waiting = self.open.iter().filter(|(_, part)| part.is_waiting);
        waiting.map(|(sequence, _)| *sequence)
    }

    /// Whether a part is here that is judged by these models.
    pub(super) fn needs_models(&self, config_checksum: u32) -> bool {
        self.open
            .values()
            .chain(self.late.values())
            .any(|part| part.opened.config_checksum == config_checksum)
    }

    /// Parts that have an outcome to show, in the order of their triggers.
    pub(super) fn decided(&self) -> Vec<Sequence> {
        let decided = self.open.iter().filter(|(_, part)| part.outcome.is_some());
        decided.map(|(sequence, _)| *sequence).collect()
    }
}
