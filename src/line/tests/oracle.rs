//! Judges a line by its inputs, commits and images alone: it keeps its own books and shares no code with the ledger.
//!
//! A broken promise is a sentence that begins with the promise: `LINE-1` conservation, `LINE-2` identity, `LINE-3` deadline and accept,
//! `wire` for the handshake.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::super::commands::Command;
use super::super::config::{LineConfig, ResultMode, TriggerSource};
use super::super::event::{Commit, Event, FrameId, Note, Opened};
use super::super::image::{Counts, PlcImage, StationImage, StationMode, control};
use crate::part::{CycleId, Nanos, PartRecord, Reason, Verdict};

/// What is really true, as far as it is known: which part a trigger was for, which part a frame shows, whether a part is good.
pub(super) trait Truth {
    fn part_of_trigger(&self, edge: Nanos) -> Option<u64>;
    fn part_in_frame(&self, frame: FrameId) -> Option<u64>;
    fn is_good(&self, part: u64) -> bool;
}

/// Nothing is known: identity is not judged.
pub(super) struct Unknown;

impl Truth for Unknown {
    fn part_of_trigger(&self, _: Nanos) -> Option<u64> {
        None
    }
    fn part_in_frame(&self, _: FrameId) -> Option<u64> {
        None
    }
    fn is_good(&self, _: u64) -> bool {
        true
    }
}

/// A result the PLC may act on.
struct Result {
    cycle: u32,
    is_ok: bool,
    shown_at: Nanos,
    /// Acknowledged, replaced, of another session, or shown as no pass before.
    gone: bool,
    passing: bool,
}

/// What the PLC says with a trigger: session, number, encoder, serial number, recipe.
type Block = (u16, Option<CycleId>, u32, [u8; 32], u16);

/// A Trigger edge as the PLC meant it.
struct Trigger {
    answered: bool,
    part: Option<u64>,
}

#[allow(clippy::struct_excessive_bools, reason = "its own books of many levels")]
pub(super) struct Oracle {
    config: LineConfig,
    pub(super) broken: Vec<String>,
    plc: PlcImage,
    session: u16,
    trigger_level: Option<bool>,
    /// Trigger rose and was not seen to fall since, whatever happened to the link.
    is_held: bool,
    ack_level: Option<bool>,
    online_level: Option<bool>,
    /// BufferEnable as it was when Online rose last; whether results wait to be read now.
    buffer_asked: bool,
    buffered: bool,
    /// The result that waits to be read.
    unread: Option<u32>,
    told_at: Nanos,
    /// The edge that has no answer yet, and when the line was told of it.
    unanswered: Option<(Nanos, Nanos)>,
    /// CycleId before the last write: a torn trigger may run out just before it.
    number_before: u32,
    /// Why the answer may fall although Trigger is held.
    may_fall: bool,
    triggers: BTreeMap<Nanos, Trigger>,
    next_sequence: u64,
    opened: HashMap<u64, Opened>,
    /// Blocks that were opened or missed: what a repeated trigger may repeat.
    blocks: HashSet<Block>,
    decided: HashMap<u64, (Verdict, Option<Reason>)>,
    undecided: BTreeSet<u64>,
    exposed: HashMap<FrameId, Nanos>,
    frames: HashMap<u64, Vec<FrameId>>,
    acquisitions: HashSet<u32>,
    results: BTreeMap<u32, Result>,
    counts: Counts,
    image: StationImage,
    pub(super) oks: usize,
    pub(super) passes: usize,
    pub(super) triggered: usize,
    pub(super) reasons: BTreeMap<&'static str, usize>,
}

impl Oracle {
    pub(super) fn new(config: LineConfig, session: u16, next_sequence: u64) -> Self {
        Self {
            config,
            broken: Vec::new(),
            plc: PlcImage::default(),
            session,
            trigger_level: None,
            is_held: false,
            ack_level: None,
            online_level: None,
            buffer_asked: false,
            buffered: false,
            unread: None,
            told_at: Nanos::default(),
            unanswered: None,
            number_before: 0,
            may_fall: false,
            triggers: BTreeMap::new(),
            next_sequence,
            opened: HashMap::new(),
            blocks: HashSet::new(),
            decided: HashMap::new(),
            undecided: BTreeSet::new(),
            exposed: HashMap::new(),
            frames: HashMap::new(),
            acquisitions: HashSet::new(),
            results: BTreeMap::new(),
            counts: Counts::default(),
            image: StationImage::default(),
            oks: 0,
            passes: 0,
            triggered: 0,
            reasons: BTreeMap::new(),
        }
    }

    fn expect(&mut self, holds: bool, promise: impl FnOnce() -> String) {
        if !holds && self.broken.len() < 5 {
            self.broken.push(promise());
        }
    }

    /// What the line is told.
    pub(super) fn event(&mut self, now: Nanos, event: &Event) {
        self.told_at = now;
        self.number_before = self.plc.cycle_id;
        self.may_fall = false;
        match event {
            Event::PlcConnected | Event::PlcLost => self.forget_levels(),
            Event::PlcWrote { at, image, written } => self.wrote(*at, *image, *written),
            Event::Frame { frame, exposed_at, .. } => drop(self.exposed.insert(*frame, *exposed_at)),
            _ => {}
        }
    }

    fn forget_levels(&mut self) {
        (self.trigger_level, self.ack_level) = (None, None);
    }

    /// Another session, or another start: what was answered is history.
    fn forget_answers(&mut self) {
        self.forget_levels();
        (self.is_held, self.may_fall, self.unanswered) = (false, true, None);
    }

    fn wrote(&mut self, at: Nanos, image: PlcImage, written: u16) {
        let disabled = self.plc.is(control::TRIGGER_ENABLE) && !image.is(control::TRIGGER_ENABLE);
        self.plc = image;
        if image.plc_session != 0 && image.plc_session != self.session {
            self.session = image.plc_session;
            self.forget_answers();
            self.online_level = None;
            self.forget_results();
        }
        if written & control::ONLINE != 0 {
            let level = image.is(control::ONLINE);
            if self.online_level.is_none_or(|before| level && !before) {
                self.buffer_asked = image.is(control::BUFFER_ENABLE);
            }
            self.online_level = Some(level);
        }
        if self.undecided.is_empty() {
            self.buffered = self.buffer_asked && self.config.result_mode == ResultMode::Single;
        }
        self.may_fall |= disabled;
        if disabled && self.is_overdue() {
            self.unanswered = None;
        }
        if written & control::TRIGGER != 0 {
            let level = image.is(control::TRIGGER);
            if level && self.trigger_level == Some(false) {
                self.is_held = true;
                self.triggered += 1;
                self.unanswered = Some((at, self.told_at));
                self.number_before = image.cycle_id;
                let unique = self
                    .triggers
                    .insert(
                        at,
                        Trigger {
                            answered: false,
                            part: None,
                        },
                    )
                    .is_none();
                assert!(unique, "two edges at one time");
            }
            if !level {
                self.unanswered = None;
                self.is_held = false;
                self.may_fall = true;
            }
            self.trigger_level = Some(level);
        }
        if written & control::RESULT_ACK != 0 {
            let level = image.is(control::RESULT_ACK);
            let edge = level && self.ack_level == Some(false);
            self.ack_level = Some(level);
            if edge
                && self.config.result_mode == ResultMode::Single
                && self.image.result_valid
                && image.ack_result_id == self.image.result_id
            {
                let result = self.results.get_mut(&image.ack_result_id);
                // Of what was shown long ago nothing more is known.
                if result.as_ref().is_none_or(|result| at > result.shown_at) {
                    self.unread = None;
                    if let Some(result) = result {
                        result.gone = true;
                    }
                }
            }
        }
    }

    fn forget_results(&mut self) {
        self.results.values_mut().for_each(|result| result.gone = true);
        self.unread = None;
    }

    /// What the line says. `is_shown` is false where the station died between black box and image.
    pub(super) fn commit(&mut self, now: Nanos, commit: &Commit, image: &StationImage, truth: &impl Truth, is_shown: bool) {
        let clears = Note::CommandTaken {
            command: Command::ClearResults,
        };
        if commit.notes.contains(&clears) {
            self.forget_results();
        }
        for opened in &commit.opened {
            self.opened(opened, commit);
        }
        for job in &commit.jobs {
            self.frames.entry(job.part.0).or_default().push(job.frame);
            let edge = self.opened.get(&job.part.0).map(|opened| opened.triggered_at);
            let meant = edge.and_then(|edge| truth.part_of_trigger(edge));
            let seen = truth.part_in_frame(job.frame);
            self.expect(meant.is_none() || seen.is_none() || meant == seen, || {
                format!(
                    "LINE-2: part {} was given the frame of part {seen:?} instead of {meant:?}",
                    job.part.0
                )
            });
        }
        for record in &commit.decided {
            self.decided(now, record, truth);
        }
        if is_shown {
            self.shown(now, image);
        }
    }

    fn opened(&mut self, opened: &Opened, commit: &Commit) {
        let sequence = opened.part.0;
        let expected = self.next_sequence;
        self.expect(sequence == expected, || {
            format!("LINE-1: sequence {sequence} instead of {expected}")
        });
        self.next_sequence = sequence + 1;
        let acquired = opened.acquisition_id != 0;
        if acquired {
            let fresh = self.acquisitions.insert(opened.acquisition_id);
            self.expect(fresh, || format!("LINE-1: AcquisitionId {} repeats", opened.acquisition_id));
        }
        let reason = commit
            .decided
            .iter()
            .find(|record| record.sequence == sequence)
            .and_then(|record| record.reason);
        let skipped = !acquired && matches!(reason, Some(Reason::NeverSeen | Reason::Restart));
        self.expect(acquired || reason.is_some(), || {
            format!("LINE-1: part {sequence} was neither acquired nor missed")
        });
        if !skipped {
            let edge = opened.triggered_at;
            let ended_once = match self.triggers.get_mut(&edge) {
                Some(trigger) => trigger.part.replace(sequence).is_none(),
                None => false,
            };
            self.expect(ended_once, || format!("LINE-1: part {sequence} has no trigger of its own"));
        }
        if acquired && self.config.result_mode == ResultMode::Single && !self.buffered {
            self.forget_results();
        }
        self.undecided.insert(sequence);
        self.blocks.insert((
            opened.plc_session,
            opened.cycle_id,
            opened.encoder,
            opened.serial,
            opened.recipe_asked,
        ));
        self.opened.insert(sequence, opened.clone());
    }

    fn decided(&mut self, now: Nanos, record: &PartRecord, truth: &impl Truth) {
        let sequence = record.sequence;
        let outcome = (record.verdict, record.reason);
        if record.late_findings {
            let stands = self.decided.get(&sequence) == Some(&outcome);
            return self.expect(stands, || {
                format!("LINE-1: late findings changed the outcome of part {sequence} to {outcome:?}")
            });
        }
        let Some(opened) = self.opened.get(&sequence).cloned() else {
            return self.expect(false, || format!("LINE-1: part {sequence} was decided and never opened"));
        };
        let first = self.undecided.remove(&sequence) && self.decided.insert(sequence, outcome).is_none();
        self.expect(first, || format!("LINE-1: part {sequence} was decided twice"));
        self.expect(
            record.cycle_id == opened.cycle_id && record.plc_session == opened.plc_session,
            || format!("LINE-1: the record of part {sequence} has another cycle ID than its trigger"),
        );
        self.count(record);
        *self.reasons.entry(record.reason.map_or("ok", Reason::name)).or_default() += 1;
        let is_ok = record.verdict == Verdict::Ok;
        if is_ok {
            self.oks += 1;
            let due = self.due(sequence, opened.triggered_at);
            self.expect(due.is_some_and(|due| now < due), || {
                format!("LINE-3: part {sequence} became Ok at {now:?}, it was due at {due:?}")
            });
            let part = truth.part_of_trigger(opened.triggered_at);
            self.expect(part.is_none_or(|part| truth.is_good(part)), || {
                format!("LINE-2: part {sequence} is Ok and the part was not")
            });
        }
        if record.result_id != 0 {
            let result = Result {
                cycle: opened.cycle_id.map_or(0, CycleId::get),
                is_ok: is_ok && !record.test_part,
                shown_at: now,
                gone: opened.plc_session != self.session,
                passing: false,
            };
            if self.config.result_mode == ResultMode::Single {
                let unread = self.unread.replace(record.result_id);
                self.expect(unread.is_none() || !self.buffered, || {
                    format!("wire: result {unread:?} was replaced before it was acknowledged")
                });
            }
            if self.config.result_mode == ResultMode::Single {
                self.results.values_mut().for_each(|result| result.gone = true);
            }
            let fresh = self.results.insert(record.result_id, result).is_none();
            self.expect(fresh, || format!("LINE-1: ResultId {} repeats", record.result_id));
        }
    }

    /// When the outcome of a part is due; `None` if no frame of it was ever judged.
    fn due(&self, sequence: u64, edge: Nanos) -> Option<Nanos> {
        let exposed = self
            .frames
            .get(&sequence)?
            .iter()
            .filter_map(|frame| self.exposed.get(frame))
            .min()?;
        let from = match self.config.trigger_source {
            TriggerSource::Hardware { .. } => *exposed,
            _ => edge,
        };
        Some(from + self.config.deadline)
    }

    fn count(&mut self, record: &PartRecord) {
        if record.test_part {
            return;
        }
        self.counts.total += 1;
        self.counts.missed += u32::from(record.reason == Some(Reason::Missed));
        match record.verdict {
            Verdict::Ok => self.counts.ok += 1,
            Verdict::NotOk => self.counts.not_ok += 1,
            Verdict::NotDecidable => self.counts.not_decidable += 1,
        }
    }

    fn shown(&mut self, now: Nanos, image: &StationImage) {
        self.answers(image);
        let told = Counts {
            duplicate: 0,
            ..image.counts
        };
        let counts = self.counts;
        self.expect(told == counts, || format!("LINE-1: counted {told:?} instead of {counts:?}"));
        if self.buffered && self.buffer_asked {
            let free = 8_usize.saturating_sub(self.undecided.len() + usize::from(self.unread.is_some()));
            self.expect(usize::from(image.remaining_buffers) == free, || {
                format!("wire: RemainingBuffers {} instead of {free}", image.remaining_buffers)
            });
            self.expect(free > 0 || !image.trigger_ready, || "wire: TriggerReady without a buffer".into());
        }
        let ready = self.plc.is(control::ONLINE | control::TRIGGER_ENABLE) && self.trigger_level == Some(false);
        self.expect(!image.trigger_ready || ready, || {
            "wire: TriggerReady without the PLC's consent".into()
        });
        self.expect(!image.accept || (image.result_valid && image.verdict == Some(Verdict::Ok)), || {
            format!("LINE-3: Accept without a valid Ok, cycle {}", image.echo_cycle_id)
        });
        let mut passing: HashMap<u32, u32> = HashMap::new();
        if image.accept {
            passing.insert(image.result_id, image.echo_cycle_id);
        }
        for (index, slot) in image.window.iter().enumerate() {
            self.expect(slot.cycle_id.is_none() || slot.result_id as usize % 16 == index, || {
                format!("wire: slot {index} holds result {}", slot.result_id)
            });
            if slot.verdict == 1 {
                passing.insert(slot.result_id, slot.cycle_id.map_or(0, CycleId::get));
            }
        }
        for (result_id, cycle) in &passing {
            self.pass(now, *result_id, *cycle, image);
        }
        let oldest = now.before(self.config.accept_hold + self.config.accept_hold);
        for (result_id, result) in &mut self.results {
            let passes = passing.contains_key(result_id);
            self.passes += usize::from(passes && !result.passing);
            result.gone |= !passes && result.shown_at <= now;
            result.passing = passes;
        }
        // Result IDs never repeat; to know that of the last while is enough.
        self.results.retain(|_, result| !result.gone || result.shown_at >= oldest);
        self.image = image.clone();
    }

    fn pass(&mut self, now: Nanos, result_id: u32, cycle: u32, image: &StationImage) {
        let hold = self.config.accept_hold;
        let why = match self.results.get(&result_id) {
            None => Some("no such result"),
            Some(result) if result.gone => Some("it was consumed, replaced or withdrawn"),
            Some(result) if !result.is_ok => Some("it is no Ok"),
            Some(result) if result.cycle != cycle => Some("it is another part's"),
            Some(result) if now.since(result.shown_at) >= hold => Some("it is stale"),
            Some(_) if self.plc.is(control::BYPASS) => Some("Bypass is set"),
            Some(_) if image.station_mode != StationMode::Auto || image.simulated => Some("the mode is not Auto"),
            Some(_) => None,
        };
        self.expect(why.is_none(), || {
            format!(
                "LINE-3: cycle {cycle} passes with result {result_id}, but {}",
                why.unwrap_or_default()
            )
        });
    }

    fn answers(&mut self, image: &StationImage) {
        let (before, after) = (
            (self.image.trigger_ack, self.image.missed_trigger),
            (image.trigger_ack, image.missed_trigger),
        );
        self.expect(after != (true, true), || "wire: TriggerAck and MissedTrigger at once".into());
        let (had, has) = (before != (false, false), after != (false, false));
        self.expect(!has || self.is_held, || "wire: an answer without Trigger".into());
        let (kept, number) = (!had || before == after || self.may_fall, self.image.echo_trigger_id);
        self.expect(kept, || format!("wire: the answer to {number} changed"));
        let edge = self.unanswered;
        if has && let Some((edge, _)) = edge {
            self.unanswered = None;
            let number = self.plc.cycle_id;
            let numbers = [number, self.number_before];
            self.expect(numbers.contains(&image.echo_trigger_id), || {
                format!("wire: trigger {number} was answered as {}", image.echo_trigger_id)
            });
            let part = self.triggers.get_mut(&edge).and_then(|trigger| {
                trigger.answered = true;
                trigger.part
            });
            let acquired = part
                .and_then(|part| self.opened.get(&part))
                .map(|opened| opened.acquisition_id != 0);
            let block = (
                self.session,
                CycleId::new(number),
                self.plc.encoder,
                self.plc.serial,
                self.plc.recipe_number,
            );
            let repeats = self.blocks.contains(&block);
            let right = match acquired {
                Some(acquired) => acquired == image.trigger_ack,
                None => repeats,
            };
            self.expect(right, || format!("LINE-1: trigger {number} was answered and belongs to no part"));
        } else {
            self.expect(!has || before == after, || "wire: an answer without an edge".into());
            let overdue = self.is_overdue();
            self.expect(!overdue, || format!("wire: the edge at {edge:?} has no answer"));
        }
    }

    /// Whether a torn trigger ran out before the line was told what it was told last.
    fn is_overdue(&self) -> bool {
        let overdue = |(edge, told_at): (Nanos, Nanos)| self.told_at > told_at && self.told_at >= edge + self.config.torn;
        self.unanswered.is_some_and(overdue)
    }

    /// The station died and lives again; what was open is recorded from the black box.
    pub(super) fn restart(&mut self, recovered: &[PartRecord], next_sequence: u64) {
        for record in recovered {
            let open = self.undecided.remove(&record.sequence);
            self.expect(open, || format!("LINE-1: part {} was recovered twice", record.sequence));
            self.decided.insert(record.sequence, (record.verdict, record.reason));
            self.count(record);
        }
        self.next_sequence = next_sequence;
        self.forget_answers();
        self.forget_results();
        self.online_level = None;
        (self.buffer_asked, self.buffered) = (false, false);
        // What was not answered in the earlier life is unknown to this one.
        self.triggers.retain(|_, trigger| trigger.part.is_some() || trigger.answered);
        self.image = StationImage::default();
        self.plc.control = 0;
    }

    /// Every part has had time for its outcome.
    pub(super) fn finish(&mut self) {
        let first = self.undecided.first().copied();
        self.expect(first.is_none(), || {
            format!("LINE-1: part {} has no outcome", first.unwrap_or_default())
        });
        let lost = self
            .triggers
            .iter()
            .find(|(_, trigger)| trigger.part.is_none() && !trigger.answered)
            .map(|(edge, _)| *edge);
        self.expect(lost.is_none() || lost == self.unanswered.map(|(edge, _)| edge), || {
            format!("LINE-1: the trigger at {lost:?} ended in nothing")
        });
    }
}
