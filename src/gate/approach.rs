//! What the sensor of one gate saw, and what the gate does about it.
//!
//! A thing is what the sensor saw: a part with an ID, or something that nobody announced. When it is as far from the gate as the gate reaches,
//! it is decided whether it may pass; until it is through that can be withdrawn, and what was withdrawn or rejected stays so.

use super::config::{GateKind, GatePlan, THINGS_MAX};
use super::{Fate, GateIndex, Grade, PartId, RejectCause, Report};
use crate::part::Nanos;

/// A part that is tracked, on its way to a gate.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) id: PartId,
    /// The marks that it may come at, both inclusive.
    pub(super) window: (i64, i64),
    /// Its outcome, once it has one.
    pub(super) grade: Option<Grade>,
    /// Why it must be rejected, whatever its outcome.
    pub(super) doubt: Option<RejectCause>,
    /// The gate that it comes to next.
    pub(super) next_gate: GateIndex,
    /// How many things that gate's sensor saw in its window.
    pub(super) seen: u32,
    /// Where the belt is when the part touches the gate before that one again.
    pub(super) behind: Option<i64>,
}

/// How far a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not decided.
    Approaching,
    /// The gate is open for it since then.
    Passing(Nanos),
    /// It is through.
    Passed,
    /// It is being rejected since then.
    Rejecting(Nanos),
    /// It was.
    Rejected,
}

/// Something that the sensor saw.
#[derive(Debug, Clone)]
struct Thing {
    /// Mark of its beginning.
    from: i64,
    /// Mark of its end; of a part whose length nobody saw, as long as parts may be.
    to: i64,
    /// Mark of its end as the sensor saw it.
    end: Option<i64>,
    /// The farthest that the belt was since.
    farthest: i64,
    /// Whether the belt took it back before the sensor since.
    went_back: bool,
    /// Which part it is, where that can be only one.
    id: Option<PartId>,
    stage: Stage,
    /// Whether its ejection is yet to be confirmed.
    to_confirm: bool,
    /// Whether it was told that it is not ejected.
    let_by: bool,
}

/// What there is when the gate decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) at: Nanos,
    /// Where the belt is.
    pub(super) position: i64,
    /// How far off readings may be, counts.
    pub(super) slack: i64,
    /// Whether gates must not move.
    pub(super) inhibited: bool,
}

/// One gate and what is between its sensor and it.
#[derive(Debug, Clone)]
pub(super) struct Approach {
    gate: GateIndex,
    is_last: bool,
    plan: GatePlan,
    /// What the sensor saw, in the order along the belt, at most [`THINGS_MAX`].
    things: Vec<Thing>,
    /// The beginning of what is at the sensor now.
    at_sensor: Option<i64>,
    /// Nothing passes before the belt is here: what lies there nobody knows. `None`: nobody knows where the belt is.
    blocked_until: Option<i64>,
    inhibited: bool,
}

impl Approach {
    pub(super) fn new(gate: GateIndex, is_last: bool, plan: GatePlan) -> Self {
        Self {
            gate,
            is_last,
            plan,
            things: Vec::new(),
            at_sensor: None,
            blocked_until: None,
            inhibited: false,
        }
    }

    /// Whether the output is on, with the belt at `position`.
    pub(super) fn is_energised(&self, position: Option<i64>) -> bool {
        if self.inhibited {
            return false;
        }
        let is = |wanted: fn(Stage) -> bool| self.things.iter().any(|thing| wanted(thing.stage));
        match self.plan.kind {
            GateKind::EnergiseToPass => is(|stage| matches!(stage, Stage::Passing(_))),
            GateKind::EnergiseToReject => {
                let is_known = self.blocked_until.zip(position).is_some_and(|(until, position)| position >= until);
                !is_known || is(|stage| matches!(stage, Stage::Rejecting(_)))
            }
        }
    }

    /// The part that the gate's output is on for; of several the first.
    pub(super) fn acts_on(&self) -> Option<PartId> {
        let since = |thing: &Thing| match (thing.stage, self.plan.kind) {
            (Stage::Passing(since), GateKind::EnergiseToPass) | (Stage::Rejecting(since), GateKind::EnergiseToReject) => Some(since),
            _ => None,
        };
        let acting = self.things.iter().filter_map(|thing| Some((since(thing)?, thing.id?)));
        acting.min_by_key(|(since, _)| *since).map(|(_, id)| id)
    }

    /// When it must be looked at again even if nothing happens.
    pub(super) fn wake_at(&self) -> Option<Nanos> {
        let opened = self.things.iter().filter_map(|thing| match thing.stage {
            Stage::Passing(since) => Some(since + self.plan.open_max),
            _ => None,
        });
        opened.min()
    }

    /// Nothing that lies between sensor and gate now is known.
    pub(super) fn block(&mut self, position: i64) {
        let behind = self.plan.gate - self.plan.sensor + self.plan.part_length + self.plan.reach();
        self.blocked_until = Some(self.blocked_until.unwrap_or(i64::MIN).max(position + behind));
    }

    /// Where things are is not known any more.
    pub(super) fn forget(&mut self, position: i64) {
        self.things.clear();
        self.at_sensor = None;
        self.block(position);
    }

    /// Something reached the sensor, at `position`.
    pub(super) fn see(&mut self, position: i64, now: Now, parts: &mut [Part], reports: &mut Vec<Report>) {
        let mark = position - self.plan.sensor;
        let is_expected = parts
            .iter()
            .any(|part| part.next_gate == self.gate && part.seen == 0 && part.holds(mark));
        let is_known = self.things.iter().any(|thing| thing.comes_again(position, mark, now.slack));
        if is_known && !is_expected {
            // The belt went back, and this comes by once more.
            self.at_sensor = None;
            return;
        }
        self.at_sensor = Some(mark);
        if self.things.len() >= THINGS_MAX {
            return self.block(position);
        }
        let mut id = None;
        let mut known = 0;
        for part in parts.iter_mut().filter(|part| part.next_gate == self.gate && part.holds(mark)) {
            part.seen += 1;
            if part.seen > 1 {
                part.doubt.get_or_insert(RejectCause::SeveralParts);
            }
            known += 1;
            id = Some(part.id).filter(|_| part.seen == 1);
        }
        if known == 0 {
            reports.push(Report::Untracked { gate: self.gate });
        }
        let thing = Thing {
            from: mark,
            to: mark + self.plan.part_length,
            end: None,
            farthest: position,
            went_back: false,
            id: id.filter(|_| known == 1),
            stage: Stage::Approaching,
            to_confirm: false,
            let_by: false,
        };
        let place = self.things.partition_point(|other| other.from <= mark);
        self.things.insert(place, thing);
    }

    /// The sensor is free again, at `position`.
    pub(super) fn clear(&mut self, position: i64) {
        self.lengthen(position);
        let mark = position - self.plan.sensor;
        if let Some(thing) = self.thing_at_sensor() {
            thing.end = Some(mark);
        }
        self.at_sensor = None;
    }

    fn thing_at_sensor(&mut self) -> Option<&mut Thing> {
        let from = self.at_sensor?;
        self.things.iter_mut().find(|thing| thing.from == from)
    }

    /// What is at the sensor is at least so long.
    fn lengthen(&mut self, position: i64) {
        let mark = position - self.plan.sensor;
        if let Some(thing) = self.thing_at_sensor() {
            thing.to = thing.to.max(mark);
        }
    }

    /// Something was ejected.
    pub(super) fn confirm(&mut self, position: i64, reports: &mut Vec<Report>) {
        let first = self.plan.gate - self.plan.reach();
        let waiting = |thing: &&mut Thing| thing.to_confirm && thing.from + first <= position;
        match self.things.iter_mut().find(waiting) {
            Some(thing) => thing.to_confirm = false,
            None if self.plan.confirm.is_some() => reports.push(Report::EjectedUnasked { gate: self.gate }),
            None => {}
        }
    }

    /// Does what is due with the belt where it is now.
    pub(super) fn settle(&mut self, now: Now, parts: &mut Vec<Part>, reports: &mut Vec<Report>) {
        self.inhibited = now.inhibited;
        self.lengthen(now.position);
        for thing in &mut self.things {
            thing.farthest = thing.farthest.max(now.position);
            thing.went_back |= now.position < thing.from + self.plan.sensor;
        }
        self.end_windows(now, parts, reports);
        for index in 0..self.things.len() {
            match self.things[index].stage {
                Stage::Approaching if now.position >= self.acts_from(index) => self.decide(index, now, parts, reports),
                Stage::Rejecting(_) if now.position >= self.acts_until(index) => self.things[index].stage = Stage::Rejected,
                // Its gate let go of it before it was by. Where ejections are confirmed, that says what came of it.
                Stage::Rejecting(_) if now.inhibited && !self.things[index].to_confirm => self.let_by(index, reports),
                _ => {}
            }
        }
        // What is rejected from here on may be too near to what the gate is open for, wherever it lies: once more for each that shuts it.
        while self.keep_all_open(now, parts, reports) {}
        self.miss_ejections(now, reports);
        let gone = |thing: &Thing| {
            let last = thing.to + self.plan.gate + self.plan.confirm.unwrap_or(0).max(self.plan.margin) + 2 * self.plan.reach() + now.slack;
            matches!(thing.stage, Stage::Passed | Stage::Rejected) && !thing.to_confirm && now.position > last
        };
        self.things.retain(|thing| !gone(thing));
    }

    /// Parts whose window is past the sensor: nothing came, or it cannot be told which is which.
    fn end_windows(&mut self, now: Now, parts: &mut Vec<Part>, reports: &mut Vec<Report>) {
        let mut unseen = Vec::new();
        parts.retain(|part| {
            let is_over = part.next_gate == self.gate && now.position > part.window.1 + self.plan.sensor;
            let fate = match (part.seen, part.doubt) {
                _ if !is_over => return true,
                (0, _) => {
                    unseen.push((part.window, self.is_to_pass(part.grade)));
                    Fate::Removed
                }
                (_, Some(doubt)) => Fate::Rejected(doubt),
                (_, None) => return true,
            };
            reports.push(self.fate(part.id, fate));
            false
        });
        for ((from, to), _) in unseen.into_iter().filter(|(_, is_to_pass)| !is_to_pass) {
            self.sweep(from, to);
        }
    }

    /// A part that must not pass did not show at the sensor. A gate that passes without power acts on its whole window: the sensor may be blind.
    fn sweep(&mut self, from: i64, to: i64) {
        if self.plan.kind == GateKind::EnergiseToPass {
            return;
        }
        if self.things.len() >= THINGS_MAX {
            return self.block(to + self.plan.sensor);
        }
        let thing = Thing {
            from,
            to: to + self.plan.part_length,
            end: None,
            farthest: i64::MIN,
            went_back: false,
            id: None,
            stage: Stage::Approaching,
            to_confirm: false,
            let_by: false,
        };
        let place = self.things.partition_point(|other| other.from <= from);
        self.things.insert(place, thing);
    }

    fn acts_from(&self, index: usize) -> i64 {
        self.things[index].from + self.plan.gate - self.plan.reach()
    }

    fn acts_until(&self, index: usize) -> i64 {
        self.things[index].to + self.plan.gate + self.plan.margin / 2
    }

    fn is_to_pass(&self, grade: Option<Grade>) -> bool {
        match grade {
            None => false,
            Some(Grade::Ok) => true,
            Some(grade) => !self.is_last && !self.plan.rejects.contains(&grade),
        }
    }

    fn fate(&self, id: PartId, fate: Fate) -> Report {
        let gate = Some(self.gate);
        Report::Fate { id, fate, gate }
    }

    fn decide(&mut self, index: usize, now: Now, parts: &mut Vec<Part>, reports: &mut Vec<Report>) {
        let in_time = now.position <= self.acts_from(index) + self.plan.margin / 2;
        match self.refusal(index, now, parts) {
            None if in_time => self.things[index].stage = Stage::Passing(now.at),
            None => self.reject(index, RejectCause::Overrun, now.at, parts, reports),
            Some(cause) => self.reject(index, cause, now.at, parts, reports),
        }
        let too_late = now.inhibited || now.position >= self.acts_until(index);
        if too_late && self.plan.kind == GateKind::EnergiseToReject && matches!(self.things[index].stage, Stage::Rejecting(_)) {
            self.things[index].to_confirm = false;
            self.let_by(index, reports);
        }
    }

    /// What should be ejected is not, by a gate that passes without power.
    fn let_by(&mut self, index: usize, reports: &mut Vec<Report>) {
        let (gate, thing) = (self.gate, &mut self.things[index]);
        if self.plan.kind == GateKind::EnergiseToReject && !std::mem::replace(&mut thing.let_by, true) {
            reports.push(Report::NotEjected { gate, id: thing.id });
        }
    }

    /// The gate stays open for whatever nothing speaks against; whether it shut for something.
    fn keep_all_open(&mut self, now: Now, parts: &mut Vec<Part>, reports: &mut Vec<Report>) -> bool {
        let mut has_shut = false;
        for index in 0..self.things.len() {
            if let Stage::Passing(since) = self.things[index].stage {
                self.keep_open(index, since, now, parts, reports);
                has_shut |= matches!(self.things[index].stage, Stage::Rejecting(_));
            }
        }
        has_shut
    }

    /// The gate is open: it stays so as long as everything still speaks for it.
    fn keep_open(&mut self, index: usize, since: Nanos, now: Now, parts: &mut Vec<Part>, reports: &mut Vec<Report>) {
        if now.position >= self.acts_until(index) {
            self.things[index].stage = Stage::Passed;
            return self.let_go(index, parts, reports);
        }
        let cause = if now.position < self.acts_from(index) - now.slack {
            Some(RejectCause::Reversed)
        } else if now.at >= since + self.plan.open_max {
            Some(RejectCause::Stood)
        } else {
            self.refusal(index, now, parts)
        };
        let is_through = now.position > self.things[index].to + self.plan.gate;
        match cause {
            Some(_) if is_through => {
                self.things[index].stage = Stage::Passed;
                self.let_go(index, parts, reports);
            }
            Some(cause) => self.reject(index, cause, now.at, parts, reports),
            None => {}
        }
    }

    /// A part is through: to the next gate, or it has passed.
    fn let_go(&self, index: usize, parts: &mut Vec<Part>, reports: &mut Vec<Report>) {
        let Some(place) = self.part_of(index, parts) else { return };
        if self.is_last {
            let part = parts.remove(place);
            reports.push(self.fate(part.id, Fate::Passed));
        } else {
            let part = &mut parts[place];
            part.next_gate += 1;
            part.seen = 0;
            // Where the belt turned may lie between two readings, half a margin apart at most.
            part.behind = Some(self.acts_until(index) - 1);
        }
    }

    fn reject(&mut self, index: usize, cause: RejectCause, at: Nanos, parts: &mut Vec<Part>, reports: &mut Vec<Report>) {
        if let Some(place) = self.part_of(index, parts) {
            let part = parts.remove(place);
            reports.push(self.fate(part.id, Fate::Rejected(cause)));
        }
        let thing = &mut self.things[index];
        thing.stage = Stage::Rejecting(at);
        thing.to_confirm = self.plan.confirm.is_some();
    }

    fn part_of(&self, index: usize, parts: &[Part]) -> Option<usize> {
        let id = self.things[index].id?;
        parts.iter().position(|part| part.id == id && part.next_gate == self.gate)
    }

    /// Why a thing must not pass, where that is so.
    fn refusal(&self, index: usize, now: Now, parts: &[Part]) -> Option<RejectCause> {
        if now.inhibited {
            return Some(RejectCause::Inhibited);
        }
        if self.blocked_until.is_none_or(|until| now.position < until) {
            return Some(RejectCause::EncoderJump);
        }
        self.fault(index, now, parts).or_else(|| {
            let near = |other: usize| other != index && self.things[index].gap(&self.things[other]) <= self.plan.reach();
            let bad = |other: usize| match self.things[other].stage {
                Stage::Passing(_) | Stage::Passed => false,
                Stage::Rejecting(_) | Stage::Rejected => true,
                Stage::Approaching => self.fault(other, now, parts).is_some(),
            };
            let others = || 0..self.things.len();
            // The belt went back in the middle of it, and the gate stays as it is until it has come by again.
            let held =
                |other: usize| matches!(self.things[other].stage, Stage::Rejecting(_)) && now.position < self.acts_from(other) - now.slack;
            if self.plan.kind == GateKind::EnergiseToReject && others().any(held) {
                return Some(RejectCause::Reversed);
            }
            others().any(|other| near(other) && bad(other)).then_some(RejectCause::TooClose)
        })
    }

    /// What is wrong with a thing itself.
    fn fault(&self, index: usize, now: Now, parts: &[Part]) -> Option<RejectCause> {
        let thing = &self.things[index];
        let Some(place) = self.part_of(index, parts) else {
            return Some(RejectCause::SharedWindow);
        };
        let part = &parts[place];
        match part.grade {
            _ if part.doubt.is_some() => part.doubt,
            _ if thing.to - thing.from > self.plan.part_length + now.slack => Some(RejectCause::TooLong),
            None => Some(RejectCause::Undecided),
            Some(grade) => (!self.is_to_pass(Some(grade))).then_some(RejectCause::Graded(grade)),
        }
    }

    /// What was to be ejected and was not seen to be.
    fn miss_ejections(&mut self, now: Now, reports: &mut Vec<Report>) {
        let Some(confirm) = self.plan.confirm else { return };
        let last = self.plan.gate + confirm;
        let gate = self.gate;
        for thing in self.things.iter_mut().filter(|thing| thing.to_confirm) {
            if now.position > thing.to + last {
                thing.to_confirm = false;
                reports.push(Report::NotEjected { gate, id: thing.id });
            }
        }
    }
}

impl Part {
    /// Whether the belt took it back into a gate that it had passed.
    pub(super) fn went_back(&self, position: i64) -> bool {
        self.behind.is_some_and(|behind| position <= behind)
    }

    /// Whether it may be what came at this mark.
    fn holds(&self, mark: i64) -> bool {
        (self.window.0..=self.window.1).contains(&mark)
    }

    /// Whether its window has a place that lies in another one's too.
    pub(super) fn shares(&self, window: (i64, i64)) -> bool {
        self.window.0 <= window.1 && window.0 <= self.window.1
    }
}

impl Thing {
    /// Whether what came at this mark is this once more, of a belt that went back: its front, or its end. What is through or rejected does
    /// not come again, or as something that nobody knows.
    fn comes_again(&self, position: i64, mark: i64, slack: i64) -> bool {
        let is_near = |place: i64| (mark - place).abs() <= slack;
        matches!(self.stage, Stage::Approaching | Stage::Passing(_) | Stage::Rejecting(_))
            && ((self.went_back && is_near(self.from)) || (position < self.farthest && is_near(self.end.unwrap_or(self.to))))
    }

    /// How much of the belt is free between two things; negative where they overlap.
    fn gap(&self, other: &Self) -> i64 {
        (other.from - self.to).max(self.from - other.to)
    }
}
