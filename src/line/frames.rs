//! Frames and findings find their part.

use super::Line;
#[cfg(test)]
use super::Sabotage;
use super::config::TriggerSource;
use super::correlation::{FrameSeen, Match};
use super::error_code::ErrorCode;
use super::event::{Job, Note, Sequence};
use crate::part::{Outcome, Reason};

impl Line {
    pub(super) fn restart_camera(&mut self, camera: usize) {
        if let Some(correlation) = self.cameras.get_mut(camera) {
            let matches = correlation.restart();
            self.take_matches(camera, matches);
        }
    }

    pub(super) fn take_matches(&mut self, camera: usize, matches: Vec<Match>) {
        for found in matches {
            match found {
                Match::Shows(part, frame) => self.give_frame(camera, part, frame),
                Match::Uncertain(part) => self.ledger.overrule(part, Outcome::not_decidable(Reason::Correlation)),
                // The broken line hands out frames a second time.
                #[cfg(test)]
                Match::Released(_) if self.sabotage == Some(Sabotage::SwapFrames) => {}
                Match::Released(frame) => self.pending.released.push(frame),
                Match::Note(note) => {
                    if matches!(note, Note::FrameWithoutTrigger { .. }) {
                        self.errors.insert(if self.config.gate_sees_parts {
                            ErrorCode::FrameWithoutTrigger
                        } else {
                            ErrorCode::PartUnannounced
                        });
                    }
                    self.pending.notes.push(note);
                }
            }
        }
    }

    pub(super) fn give_frame(&mut self, camera: usize, sequence: Sequence, frame: FrameSeen) {
        let Some(part) = self.ledger.open.get_mut(&sequence).filter(|part| part.outcome.is_none()) else {
            return self.pending.notes.push(Note::FrameLate { camera });
        };
        if matches!(self.config.trigger_source, TriggerSource::Hardware { .. }) && part.frames.iter().all(Option::is_none) {
            part.deadline = frame.exposed_at + self.config.deadline;
        }
        let due_from = match self.config.trigger_source {
            TriggerSource::Hardware { .. } => frame.exposed_at,
            _ => part.opened.triggered_at,
        };
        self.admission.frame_came(frame.arrived_at.since(due_from));
        part.frames[camera] = Some(frame);
        #[cfg(test)]
        let frame = self.sabotaged_frame(frame);
        let Some(part) = self.ledger.open.get(&sequence) else { return };
        let (deadline, config_checksum) = (part.deadline, part.opened.config_checksum);
        self.pending.jobs.extend(part.inspections_of(camera).map(|inspection| Job {
            part: sequence,
            inspection,
            frame: frame.frame,
            deadline,
            config_checksum,
        }));
    }

    pub(super) fn decide_inspected(&mut self) {
        for part in self.ledger.open.values_mut() {
            if part.outcome.is_none() && part.is_inspected() && !part.inspected.is_empty() {
                part.outcome = part.measured();
            }
        }
    }
}
