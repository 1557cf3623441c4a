//! Parts from the trigger to the last gate.

use super::approach::{Approach, Now, Part};
use super::config::{Origin, PARTS_MAX, Pitch, TrackerConfig};
use super::odometer::{Jump, Odometer};
use super::{Event, Fate, GateIndex, PartId, RejectCause, Report};
use crate::part::{CycleId, Nanos};

/// Which part is where, and what gates do about it. It begins by rejecting everything.
#[derive(Debug, Clone)]
pub struct Tracker {
    pitch: Pitch,
    slack: i64,
    odometer: Odometer,
    /// Where pockets begin, as a position; `None` where nobody said yet.
    origin: Option<i64>,
    /// Parts that have no fate yet, in the order of their triggers, at most [`PARTS_MAX`].
    parts: Vec<Part>,
    gates: Vec<Approach>,
    inhibited: bool,
    /// Whether what lies before the gates was taken to be unknown: once the position is known.
    began: bool,
    reports: Vec<Report>,
}

impl Tracker {
    /// A tracker that knows of no part. The configuration has no [`TrackerConfig::misfits`].
    pub fn new(config: TrackerConfig) -> Self {
        let last = config.gates.len().saturating_sub(1);
        let gates = config.gates.into_iter().enumerate();
        let mut tracker = Self {
            odometer: Odometer::new(config.travel, config.top_speed, config.slack),
            origin: None,
            parts: Vec::new(),
            gates: gates.map(|(gate, plan)| Approach::new(gate, gate == last, plan)).collect(),
            pitch: config.pitch,
            slack: config.slack,
            inhibited: false,
            began: false,
            reports: Vec::new(),
        };
        tracker.begin();
        tracker
    }

    /// Takes in what happened at `at`, and says what there is to say. Times of readings do not go back, nor do those of everything else; the two
    /// may be apart, as edges are told a moment after they came.
    pub fn handle(&mut self, at: Nanos, event: Event) -> Vec<Report> {
        self.odometer.pass_time(at);
        match event {
            Event::Tick => {}
            Event::Encoder { reading } => {
                if let Err(Jump(step)) = self.odometer.read(at, reading) {
                    self.jump(step);
                }
            }
            Event::EncoderLost => self.jump(0),
            Event::Belt { running } => self.odometer.run(running),
            Event::Index => self.origin = self.odometer.position(),
            Event::Triggered { id, reading } => self.trigger(id, reading),
            Event::Decided { id, grade } => {
                let part = self.parts.iter_mut().find(|part| part.id == id && part.grade.is_none());
                if let Some(part) = part {
                    part.grade = Some(grade);
                }
            }
            Event::PartSeen { gate, reading } => self.see(at, gate, reading),
            Event::PartGone { gate } => {
                if let (Some(approach), Some(position)) = (self.gates.get_mut(gate), self.odometer.position()) {
                    approach.clear(position);
                }
            }
            Event::Ejected { gate } => {
                if let (Some(approach), Some(position)) = (self.gates.get_mut(gate), self.odometer.position()) {
                    approach.confirm(position, &mut self.reports);
                }
            }
            Event::Inhibit(inhibited) => self.inhibited = inhibited,
            Event::Void => self.doubt_all(RejectCause::SessionEnded),
        }
        self.begin();
        self.settle(at);
        std::mem::take(&mut self.reports)
    }

    /// Whether a gate's output is to be on.
    pub fn is_energised(&self, gate: GateIndex) -> bool {
        self.gates
            .get(gate)
            .is_some_and(|approach| approach.is_energised(self.odometer.position()))
    }

    /// `GateFireCycleId`: the part that a gate acts on now, the first gate's where several do.
    pub fn acts_on(&self) -> Option<CycleId> {
        self.gates.iter().find_map(Approach::acts_on).map(|id| id.cycle_id)
    }

    /// Parts that have no fate yet.
    pub fn open(&self) -> usize {
        self.parts.len()
    }

    /// When [`Self::handle`] must be called again even if nothing happens.
    pub fn wake_at(&self) -> Option<Nanos> {
        self.gates.iter().filter_map(Approach::wake_at).min()
    }

    /// Once the position is known: what lies before the gates is not.
    fn begin(&mut self) {
        let Some(position) = self.odometer.position().filter(|_| !self.began) else {
            return;
        };
        self.began = true;
        self.gates.iter_mut().for_each(|gate| gate.block(position));
        if let Pitch::Even {
            origin: Origin::Reading(reading),
            ..
        } = self.pitch
        {
            self.origin = Some(i64::from(reading));
        }
    }

    fn now(&self, at: Nanos, position: i64) -> Now {
        Now {
            at,
            position,
            slack: self.slack,
            inhibited: self.inhibited,
        }
    }

    fn settle(&mut self, at: Nanos) {
        let Some(position) = self.odometer.position() else { return };
        let now = self.now(at, position);
        for part in self.parts.iter_mut().filter(|part| part.went_back(position)) {
            part.doubt.get_or_insert(RejectCause::Reversed);
        }
        for gate in &mut self.gates {
            gate.settle(now, &mut self.parts, &mut self.reports);
        }
    }

    fn see(&mut self, at: Nanos, gate: GateIndex, reading: Option<u32>) {
        let (Some(here), Some(position)) = (self.odometer.position(), self.odometer.position_at(reading)) else {
            return;
        };
        let now = self.now(at, here);
        if let Some(approach) = self.gates.get_mut(gate) {
            approach.see(position, now, &mut self.parts, &mut self.reports);
        }
    }

    /// The pocket or window of a part that is at the trigger at this position.
    fn window(&self, position: i64) -> Option<(i64, i64)> {
        match self.pitch {
            Pitch::Random { tolerance } => Some((position - tolerance, position + tolerance)),
            Pitch::Even { counts, .. } => {
                let from = position - (position - self.origin?).rem_euclid(counts.max(1));
                Some((from, from + counts.max(1) - 1))
            }
        }
    }

    fn trigger(&mut self, id: PartId, reading: Option<u32>) {
        let window = self.odometer.position_at(reading).and_then(|position| self.window(position));
        let Some(window) = window else {
            return self.refuse(id, RejectCause::NoPosition);
        };
        if self.parts.len() >= PARTS_MAX {
            return self.refuse(id, RejectCause::TrackerFull);
        }
        let mut doubt = None;
        for other in &mut self.parts {
            if other.shares(window) || other.id == id {
                other.doubt.get_or_insert(RejectCause::SharedWindow);
                doubt = Some(RejectCause::SharedWindow);
            }
        }
        self.parts.push(Part {
            id,
            window,
            grade: None,
            doubt,
            next_gate: 0,
            seen: 0,
            behind: None,
        });
    }

    /// A part that is not tracked: at the gate it will be one that nobody announced.
    fn refuse(&mut self, id: PartId, cause: RejectCause) {
        self.reports.push(Report::Fate {
            id,
            fate: Fate::Rejected(cause),
            gate: None,
        });
    }

    /// Where things are is not known any more: everything on the belt is rejected.
    fn jump(&mut self, step: i64) {
        self.reports.push(Report::EncoderJump { step });
        for part in std::mem::take(&mut self.parts) {
            self.refuse(part.id, RejectCause::EncoderJump);
        }
        if let Some(position) = self.odometer.position() {
            self.gates.iter_mut().for_each(|gate| gate.forget(position));
        }
        if let Pitch::Even { origin, .. } = self.pitch {
            self.origin = match origin {
                Origin::Index => None,
                // What the encoder says now stands for where the belt is taken to be.
                Origin::Reading(reading) => self.odometer.position_at(Some(reading)),
            };
        }
    }

    fn doubt_all(&mut self, cause: RejectCause) {
        for part in &mut self.parts {
            part.doubt.get_or_insert(cause);
        }
    }
}
