//! The ledger: parts that are open, and what each still waits for. Every part that is opened here leaves with exactly one outcome.

use std::collections::BTreeMap;
use std::time::Duration;

use super::correlation::FrameSeen;
use super::event::{CameraIndex, Inspected, Opened, Sequence};
use crate::part::{Nanos, Outcome, Reason, StageTimes, Verdict, View};

/// Parts whose outcome is final but whose engines are still running. Beyond that the oldest findings are not waited for.
const LATE_MAX: usize = 64;

/// A part that has no outcome yet, or one that was not shown yet.
#[derive(Debug, Clone)]
pub(super) struct OpenPart {
    pub(super) opened: Opened,
    /// When its outcome is due; moves once, to the exposure's deadline, under a hardware trigger.
    pub(super) deadline: Nanos,
    pub(super) bypass: bool,
    pub(super) frames: Vec<Option<FrameSeen>>,
    pub(super) inspected: Vec<Option<Inspected>>,
    /// What was decided, waiting to be shown.
    pub(super) outcome: Option<Outcome>,
}

impl OpenPart {
    pub(super) fn new(opened: Opened, deadline: Nanos, bypass: bool, cameras: usize, inspections: usize) -> Self {
        Self {
            opened,
            deadline,
            bypass,
            frames: vec![None; cameras],
            inspected: vec![None; inspections],
            outcome: None,
        }
    }

    /// Whether every camera has seen it.
    pub(super) fn is_exposed(&self) -> bool {
        self.frames.iter().all(Option::is_some)
    }

    /// From when on no other exposure can turn up that might be its own.
    pub(super) fn certain_from(&self) -> Nanos {
        let judged = self.outcome.is_some_and(|outcome| outcome.verdict != Verdict::NotDecidable);
        let frames = self.frames.iter().flatten().filter(|_| judged);
        frames.map(|frame| frame.certain_from).max().unwrap_or_default()
    }

    /// Whether every inspection is done.
    pub(super) fn is_inspected(&self) -> bool {
        self.inspected.iter().all(Option::is_some)
    }

    /// What the inspections say together: one NotOk decides, and Ok takes all of them.
    pub(super) fn measured(&self) -> Option<Outcome> {
        let outcomes = || {
            self.inspected.iter().flatten().map(|inspected| Outcome {
                verdict: inspected.view.verdict,
                reason: inspected.view.reason,
            })
        };
        let of = |verdict: Verdict| outcomes().find(|outcome| outcome.verdict == verdict);
        let all_ok = || (self.is_inspected() && !self.inspected.is_empty()).then_some(Outcome::OK);
        of(Verdict::NotOk).or_else(|| of(Verdict::NotDecidable)).or_else(all_ok)
    }

    /// Why there is no outcome although it is due.
    pub(super) fn overdue(&self) -> Outcome {
        Outcome::not_decidable(if self.is_exposed() { Reason::Deadline } else { Reason::NoFrame })
    }

    pub(super) fn defect_code(&self) -> u16 {
        let not_ok = self
            .inspected
            .iter()
            .flatten()
            .filter(|inspected| inspected.view.verdict == Verdict::NotOk);
        not_ok.map(|inspected| inspected.defect_code).find(|code| *code != 0).unwrap_or(0)
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

    /// An inspection is done, on a frame of this camera. Returns the part if its outcome was final already and these were the last findings.
    pub(super) fn inspected(&mut self, part: Sequence, inspection: usize, camera: CameraIndex, inspected: Inspected) -> Option<OpenPart> {
        let of = self.open.get_mut(&part).or_else(|| self.late.get_mut(&part))?;
        // What was not seen cannot have been inspected.
        of.frames.get(camera)?.as_ref()?;
        if let Some(place) = of.inspected.get_mut(inspection) {
            place.get_or_insert(inspected);
        }
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
