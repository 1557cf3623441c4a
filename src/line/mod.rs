//! The line: every trigger, frame and finding goes in with its time; acknowledgements, verdicts and records come out. Pure.
//!
//! [`Line::advance`] takes in what happened; [`Line::commit`] says, as of the moment just before the new image is shown, what must happen
//! next. Two steps, because an outcome is final when it is *shown*: what was decided in time but would be shown too late is late.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | the line: which event concerns whom |
//! | `image.rs` | what PLC and station say to each other, as two immutable images |
//! | `event.rs` | what happens to the line, what must happen next |
//! | `config.rs` | windows, deadlines, modes |
//! | `handshake.rs` | the PLC's edges, session and heartbeat |
//! | `history.rs` | cycle IDs of late: repeated or reused |
//! | `correlation.rs` | which frame shows which part |
//! | `ledger.rs` | open parts and what they wait for |
//! | `results.rs` | outcomes as they are shown: single or window |
//! | `tags.rs` | what rides along with a part |
//! | `error_code.rs` | ErrorCode: numbers, words, remedies |
//!
//! Promises kept here: every trigger ends in exactly one outcome; a verdict belongs to the cycle ID it was measured for; Accept is shown for
//! a fresh Ok only, before its deadline.

pub mod config;
mod correlation;
mod edge;
pub mod error_code;
pub mod event;
mod handshake;
mod heartbeat;
pub mod history;
pub mod image;
mod ledger;
mod results;
pub mod tags;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use config::{LineConfig, RecipePlan, ResultMode, TriggerSource};
use correlation::{Correlation, Match};
use error_code::{ErrorCode, Level};
use event::{Commit, Event, Job, MissCause, Note, Opened, ProviderStanding, RecordsKept, Sequence};
use handshake::{Answer, Handshake, Heard};
use history::{Fingerprint, History, UsedCycle};
use image::{Counts, PlcImage, StationImage, StationMode, WINDOW_SLOTS, control};
use ledger::{Ledger, OpenPart, micros};
use results::{Shown, SingleResult, WindowResults};

use crate::part::{CycleId, Nanos, Outcome, PartRecord, Reason, Verdict};

/// How often the station's heartbeat changes.
const HEARTBEAT_PERIOD: Duration = Duration::from_millis(100);

/// Cycle IDs skipped at once that are recorded one by one; more is an error of the PLC's.
const SKIPPED_MAX: u32 = 1000;

/// What a station remembers of its earlier life.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Memory {
    /// Number of this start, never 0.
    pub boot_id: u16,
    /// Epoch of the records.
    pub epoch: u64,
    /// Sequence of the next outcome, from 1.
    pub next_sequence: u64,
    /// Next AcquisitionId that was never given out.
    pub next_acquisition: u32,
    /// Next ResultId that was never given out.
    pub next_result: u32,
    /// Bound of AcquisitionId, exclusive, as persisted.
    pub acquisition_below: u32,
    /// Bound of ResultId, exclusive, as persisted.
    pub result_below: u32,
    /// Parts counted.
    pub counts: Counts,
    /// The PLC's session that was in force.
    pub plc_session: u16,
    /// Cycle IDs of late, oldest first.
    pub history: Vec<UsedCycle>,
    /// Whether this start follows a failure of one of the station's own stages.
    pub stage_restarted: bool,
    /// Whether the machine lost its power before this start: what the black box held is gone.
    pub power_lost: bool,
}

/// A line that is broken on purpose, to prove that the checks see it.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Frames are given to the part before or after.
    SwapFrames,
    /// Accept never falls.
    KeepAccept,
    /// Every third part is forgotten.
    ForgetCycle,
    /// Deadlines do not count.
    AnswerLate,
}

/// How that stands which the line decides nothing of.
#[derive(Debug, Clone, Default)]
struct Surroundings {
    records_kept: RecordsKept,
    historian_refuses: bool,
    clock_implausible: bool,
    provider: ProviderStanding,
}

impl Surroundings {
    /// What is wrong with it.
    fn errors(&self) -> impl Iterator<Item = ErrorCode> + use<> {
        let journal = match self.records_kept {
            RecordsKept::Safely => None,
            RecordsKept::Barely => Some(ErrorCode::JournalNearlyFull),
            RecordsKept::Full => Some(ErrorCode::JournalFull),
            RecordsKept::Failing => Some(ErrorCode::JournalFailing),
        };
        let historian = self.historian_refuses.then_some(ErrorCode::HistorianRefuses);
        let clock = self.clock_implausible.then_some(ErrorCode::ClockNotSet);
        let provider = match self.provider {
            ProviderStanding::AsWanted => None,
            ProviderStanding::StoodIn => Some(ErrorCode::ProviderStandsIn),
            ProviderStanding::Missing => Some(ErrorCode::ProviderMissing),
        };
        [journal, historian, clock, provider].into_iter().flatten()
    }
}

/// The line.
#[derive(Debug, Clone)]
pub struct Line {
    config: LineConfig,
    /// The recipe in force, by its place in the configuration.
    recipe: Option<usize>,
    boot_id: u16,
    epoch: u64,
    next_sequence: u64,
    next_acquisition: u32,
    next_result: u32,
    acquisition_below: u32,
    result_below: u32,
    counts: Counts,
    /// The session of before the start, until the PLC's first new cycle in it, and why parts of that time were not seen.
    interrupted: Option<(u16, Reason)>,
    plc: Handshake,
    history: History,
    ledger: Ledger,
    cameras: Vec<Correlation>,
    cameras_down: BTreeSet<usize>,
    single: SingleResult,
    window: WindowResults,
    models_ready: bool,
    stopping: bool,
    errors: BTreeSet<ErrorCode>,
    surroundings: Surroundings,
    /// The trigger taken last.
    latest: Option<Sequence>,
    latest_acquisition: u32,
    slots_full_since: Option<Nanos>,
    heartbeat: u16,
    heartbeat_at: Nanos,
    image: StationImage,
    pending: Commit,
    #[cfg(test)]
    pub(crate) sabotage: Option<Sabotage>,
    #[cfg(test)]
    swapped: Option<event::FrameId>,
}

impl Line {
    /// A line that starts at `now`, with what is remembered of earlier.
    pub fn new(config: LineConfig, memory: Memory, now: Nanos) -> Self {
        let mut history = History::default();
        memory.history.into_iter().for_each(|cycle| history.remember(cycle));
        let cameras = (0..config.cameras)
            .map(|camera| Correlation::new(camera, config.trigger_source))
            .collect();
        let mut line = Self {
            recipe: (config.recipes.len() == 1).then_some(0),
            boot_id: memory.boot_id,
            epoch: memory.epoch,
            next_sequence: memory.next_sequence.max(1),
            next_acquisition: memory.next_acquisition.max(1),
            next_result: memory.next_result.max(1),
            acquisition_below: memory.acquisition_below,
            result_below: memory.result_below,
            counts: memory.counts,
            interrupted: Some((
                memory.plc_session,
                if memory.power_lost { Reason::PowerLoss } else { Reason::Restart },
            )),
            plc: Handshake::new(memory.plc_session, config.heartbeat_timeout),
            history,
            ledger: Ledger::default(),
            cameras,
            cameras_down: BTreeSet::new(),
            single: SingleResult::default(),
            window: WindowResults::default(),
            models_ready: false,
            stopping: false,
            errors: memory.stage_restarted.then_some(ErrorCode::StageRestarted).into_iter().collect(),
            surroundings: Surroundings::default(),
            latest: None,
            latest_acquisition: 0,
            slots_full_since: None,
            heartbeat: 0,
            heartbeat_at: now,
            image: StationImage::default(),
            pending: Commit::default(),
            config,
            #[cfg(test)]
            sabotage: None,
            #[cfg(test)]
            swapped: None,
        };
        line.image = line.draw(now);
        line
    }

    /// The image to be shown: as of the last commit.
    pub fn image(&self) -> &StationImage {
        &self.image
    }

    /// Whether a part that is judged by these models is open, or their findings are still to come.
    pub fn needs_models(&self, config_checksum: u32) -> bool {
        self.config.config_checksum == config_checksum || self.ledger.needs_models(config_checksum)
    }

    /// Whether no part is open.
    pub fn is_drained(&self) -> bool {
        self.ledger.open.is_empty()
    }

    /// How many parts can be opened before more AcquisitionIds and ResultIds must be granted: each open part has its ResultId set aside.
    pub fn ids_left(&self) -> u32 {
        // They wrap: a bound may be the smaller number.
        let left = |below: u32, next: u32| u32::try_from(below.wrapping_sub(next).cast_signed()).unwrap_or(0);
        let results = left(self.result_below, self.next_result).saturating_sub(self.ledger.open.len() as u32);
        left(self.acquisition_below, self.next_acquisition).min(results)
    }

    /// Takes in what happened. `now` never goes back.
    pub fn advance(&mut self, now: Nanos, event: Event) {
        self.expire(now);
        self.handle(now, event);
        self.sample_trigger(now);
        self.decide_inspected();
    }

    /// What must happen next, as of `now`: the moment just before the image is shown.
    pub fn commit(&mut self, now: Nanos) -> Commit {
        self.show_decided(now);
        if self.plc.image.is(control::BYPASS) || !self.models_ready {
            // For good: what comes back afterwards would not be shown before its deadline.
            self.single.withdraw();
            self.window.withdraw();
        }
        let image = self.draw(now);
        let mut commit = std::mem::take(&mut self.pending);
        if image.error_code != self.image.error_code {
            commit.notes.push(Note::ErrorChanged { code: image.error_code });
        }
        commit.image_changed = image != self.image;
        self.image = image;
        commit
    }

    /// What a commit shows as judged could not be swapped before its deadline ([`Commit::swap_before`]), and was not: it is late. Changes the
    /// records of the commit and the image; to be asked again, as of the moment just before the swap.
    pub fn overtaken(&mut self, commit: &mut Commit, now: Nanos) {
        let overtaken = |record: &&mut PartRecord| event::shows_judged(record) && record.deadline_ns <= now;
        for record in commit.decided.iter_mut().filter(overtaken) {
            self.make_late(record, now);
        }
        self.image = self.draw(now);
        commit.image_changed = true;
    }

    /// A result that is in the image was not written to the PLC, and would not be there before its deadline: it is late. Changes its record, and with
    /// the next commit the image.
    pub fn make_late(&mut self, record: &mut PartRecord, now: Nanos) {
        let late = Outcome::not_decidable(Reason::Deadline);
        let decided = Outcome {
            verdict: record.verdict,
            reason: record.reason,
        };
        if !record.test_part {
            self.counts.take_back(decided);
            self.counts.add(late);
        }
        record.measured = Some(decided);
        (record.verdict, record.reason, record.defect_code, record.severity) = (late.verdict, late.reason, 0, None);
        record.shown_ns = now;
        record.stages.total_us = micros(now.since(record.triggered_ns));
        self.single.overtake(record.result_id);
        self.window.overtake(record.result_id);
    }

    /// A result must not be shown as good any more: whether the PLC has it is not known, and its deadline is over. The next commit shows it.
    pub fn withdraw(&mut self, result_id: u32) {
        self.single.withdraw_result(result_id);
        self.window.withdraw_result(result_id);
    }

    /// When [`Self::advance`] must be called again at the latest, whatever happens.
    pub fn wake_at(&self, now: Nanos) -> Nanos {
        let deadlines = self.ledger.open.values().filter_map(|part| match part.outcome {
            None => Some(part.deadline),
            Some(_) => Some(part.certain_from().min(part.deadline)).filter(|due| *due > now),
        });
        // What the image that set TriggerAck did not say yet.
        let exposed = (self.image.trigger_ack && !self.image.exposure_complete && self.is_exposed()).then_some(now);
        let torn = self.plc.pending.map(|since| since + self.config.torn);
        let shown = match self.config.result_mode {
            ResultMode::Single => self.single.expires_at(now, self.config.accept_hold),
            ResultMode::Window => self.window.expires_at(now, self.config.accept_hold),
        };
        let frames = self.cameras.iter().filter_map(Correlation::expires_at);
        let others = [torn, shown, exposed, self.plc.heartbeat.expires_at()].into_iter().flatten();
        deadlines
            .chain(frames)
            .chain(others)
            .fold(self.heartbeat_at + HEARTBEAT_PERIOD, Nanos::min)
    }

    /// Lets time pass: everything that was due before the event.
    fn expire(&mut self, now: Nanos) {
        while self.heartbeat_at + HEARTBEAT_PERIOD <= now {
            self.heartbeat = self.heartbeat.wrapping_add(1);
            // After a long stall one change is enough: a heartbeat is no clock.
            self.heartbeat_at = (self.heartbeat_at + HEARTBEAT_PERIOD).max(now.before(HEARTBEAT_PERIOD));
        }
        if self.plc.heartbeat.expire(now) {
            self.errors.insert(ErrorCode::PlcLost);
        }
        for camera in 0..self.cameras.len() {
            let matches = self.cameras[camera].expire(now);
            self.take_matches(camera, matches);
        }
        let overdue: Vec<(Sequence, Outcome)> = self
            .ledger
            .open
            .iter()
            .filter(|(_, part)| part.outcome.is_none() && part.deadline <= now && self.deadlines_count())
            .map(|(sequence, part)| (*sequence, part.overdue()))
            .collect();
        for (part, outcome) in overdue {
            self.ledger.decide(part, outcome);
        }
        if let Some(since) = self.plc.pending
            && now >= since + self.config.torn
            && !self.plc.is_whole()
        {
            self.miss(since, MissCause::Torn);
        }
    }

    fn handle(&mut self, now: Nanos, event: Event) {
        match event {
            Event::Tick => {}
            Event::PlcConnected => {
                self.abandon_trigger();
                self.plc.connected = true;
                self.plc.forget_levels();
            }
            Event::PlcLost => {
                self.plc.connected = false;
                self.abandon_trigger();
                self.plc.forget_levels();
            }
            Event::PlcWrote { at, image, written } => self.hear(at.min(now), image, written),
            Event::CameraUp(camera) => {
                self.cameras_down.remove(&camera);
                self.restart_camera(camera);
            }
            Event::CameraDown(camera) => {
                self.cameras_down.insert(camera);
                self.restart_camera(camera);
            }
            Event::Frame {
                camera,
                frame,
                counter,
                exposed_at,
            } => match self.cameras.get_mut(camera) {
                Some(correlation) => {
                    let matches = correlation.frame(frame, counter, exposed_at, now);
                    self.take_matches(camera, matches);
                }
                None => self.pending.released.push(frame),
            },
            Event::Inspected {
                part,
                inspection,
                inspected,
            } => {
                if let Some(late) = self.ledger.inspected(part, inspection, *inspected) {
                    self.record_late(&late, now);
                }
            }
            Event::ModelsReady(ready) => self.models_ready = ready,
            Event::ModelsExchanged { config_checksum } => self.config.config_checksum = config_checksum,
            Event::IdsGranted {
                acquisition_below,
                result_below,
            } => {
                self.acquisition_below = acquisition_below;
                self.result_below = result_below;
            }
            Event::RecordsKept(kept) => self.surroundings.records_kept = kept,
            Event::Provider(standing) => self.surroundings.provider = standing,
            Event::HistorianRefuses(refuses) => self.surroundings.historian_refuses = refuses,
            Event::ClockPlausible(plausible) => self.surroundings.clock_implausible = !plausible,
            Event::Stop => self.stopping = true,
            Event::Abort => {
                self.stopping = true;
                self.void_open(Reason::Shutdown, now);
            }
        }
    }

    // ---- the PLC ----

    fn hear(&mut self, at: Nanos, image: PlcImage, written: u16) {
        let falls = written & control::TRIGGER != 0 && !image.is(control::TRIGGER);
        if falls || self.plc.begins_session(&image) {
            self.abandon_trigger();
        }
        let Heard {
            session_before,
            acknowledged,
            ack_low,
            clear_error,
            disposition,
        } = self.plc.hear(image, written, at);
        if let Some(from) = session_before {
            self.change_session(from, at);
        }
        self.choose_recipe(image.recipe_number);
        if self.plc.heartbeat.is_alive() {
            self.errors.remove(&ErrorCode::PlcLost);
        }
        if clear_error {
            self.errors.retain(|error| !error.is_latched());
        }
        if let Some((cycle_id, disposition)) = disposition {
            self.pending.dispositions.push((self.plc.session, cycle_id, disposition));
        }
        if ack_low {
            self.single.release_ack();
        }
        if acknowledged && self.config.result_mode == ResultMode::Single && !self.single.acknowledge(image.ack_result_id, at) {
            let result_id = image.ack_result_id;
            self.pending.notes.push(Note::AckIgnored { result_id });
        }
    }

    /// A recipe that there is comes into force at once: its models are loaded and proven like all others. Parts that are open keep theirs.
    fn choose_recipe(&mut self, number: u16) {
        let known = self.config.recipes.iter().position(|recipe| recipe.number == number);
        self.recipe = known.or(self.recipe);
    }

    /// The PLC started anew: what was open is its past.
    fn change_session(&mut self, from: u16, at: Nanos) {
        self.void_open(Reason::PlcRestart, at);
        self.single.clear();
        self.window.clear();
        self.latest = None;
        self.interrupted = None;
        let to = self.plc.session;
        self.pending.notes.push(Note::SessionChanged { from, to });
    }

    /// A trigger that fell, or whose PLC went away or started anew, before it was answered.
    fn abandon_trigger(&mut self) {
        if let Some(since) = self.plc.pending {
            self.miss(since, MissCause::Torn);
        }
    }

    fn sample_trigger(&mut self, now: Nanos) {
        let Some(edge) = self.plc.pending else { return };
        if !self.plc.is_whole() {
            return;
        }
        let Some(cycle_id) = CycleId::new(self.plc.image.cycle_id) else {
            self.errors.insert(ErrorCode::CycleIdZero);
            return self.miss(edge, MissCause::IdInvalid);
        };
        if let Some(used) = self.history.find(self.plc.session, cycle_id).copied() {
            return self.answer_repeated(edge, used);
        }
        match (self.refusal(edge, now), self.recipe_in_force().cloned()) {
            (None, Some(recipe)) => self.accept(edge, cycle_id, recipe),
            (cause, _) => self.miss(edge, cause.unwrap_or(MissCause::Recipe)),
        }
    }

    /// A trigger whose ID was used: the same part again, or another one under its name.
    fn answer_repeated(&mut self, edge: Nanos, used: UsedCycle) {
        if used.fingerprint == self.fingerprint() {
            self.counts.duplicate = self.counts.duplicate.wrapping_add(1);
            // What was missed stays missed: an acknowledgement would promise a result.
            self.plc.answer(if used.acquisition_id == 0 {
                Answer::Missed
            } else {
                self.latest_acquisition = used.acquisition_id;
                Answer::Acknowledged
            });
            let cycle_id = used.cycle_id;
            return self.pending.notes.push(Note::TriggerRepeated { cycle_id });
        }
        self.errors.insert(ErrorCode::CycleIdReused);
        let is_first = |part: &OpenPart| part.opened.cycle_id == Some(used.cycle_id) && part.opened.plc_session == used.plc_session;
        if let Some((part, _)) = self.ledger.open.iter().find(|(_, part)| is_first(part)) {
            self.ledger.overrule(*part, Outcome::not_decidable(Reason::IdReused));
        }
        self.miss(edge, MissCause::IdReused);
    }

    /// Why a trigger cannot be taken now.
    fn refusal(&self, edge: Nanos, now: Nanos) -> Option<MissCause> {
        let grace = self.slots_full_since.is_some_and(|since| edge <= since + self.config.trigger_grace);
        if !self.plc.is_enabled() {
            Some(MissCause::NotEnabled)
        } else if self.lacks_recipe() {
            Some(MissCause::Recipe)
        } else if !self.is_operational() {
            Some(MissCause::NotReady)
        } else if self.slots_taken(now) < self.slots_offered() || (grace && self.slots_taken(now) < self.slots()) {
            None
        } else {
            Some(MissCause::Busy)
        }
    }

    fn accept(&mut self, edge: Nanos, cycle_id: CycleId, recipe: RecipePlan) {
        self.record_skipped(edge, cycle_id);
        self.latest_acquisition = self.next_acquisition;
        self.next_acquisition = self.next_acquisition.wrapping_add(1).max(1);
        let opened = self.opened(edge, Some(cycle_id), self.latest_acquisition);
        let part = opened.part;
        self.remember(cycle_id, self.latest_acquisition);
        if opened.serial.iter().any(|byte| !matches!(byte, 0 | 0x20..=0x7e)) {
            self.pending.notes.push(Note::SerialUnprintable { cycle_id });
        }
        self.pending.opened.push(opened.clone());
        let wait = match self.config.trigger_source {
            TriggerSource::Hardware { arm_window } => arm_window,
            _ => Duration::ZERO,
        };
        let open = OpenPart::new(
            opened,
            edge + wait + self.config.deadline,
            self.plc.image.is(control::BYPASS),
            self.config.cameras,
            recipe,
        );
        self.ledger.open.insert(part, open);
        self.latest = Some(part);
        self.single.replace();
        self.plc.answer(Answer::Acknowledged);
        self.arm_cameras(part, edge, false);
    }

    fn arm_cameras(&mut self, part: Sequence, edge: Nanos, missed: bool) {
        for camera in 0..self.cameras.len() {
            let matches = self.cameras[camera].open(part, edge, missed);
            self.take_matches(camera, matches);
        }
    }

    /// A trigger that is not taken is a part all the same: it has its record, and never fires later.
    fn miss(&mut self, edge: Nanos, cause: MissCause) {
        let cycle_id = CycleId::new(self.plc.image.cycle_id).filter(|_| cause != MissCause::Torn || self.plc.is_whole());
        let own_id = cycle_id.filter(|_| cause != MissCause::IdReused);
        if let Some(cycle_id) = own_id {
            self.record_skipped(edge, cycle_id);
            self.remember(cycle_id, 0);
        }
        let number = CycleId::new(self.plc.image.cycle_id);
        let opened = Opened {
            owns_id: own_id.is_some(),
            ..self.opened(edge, number, 0)
        };
        let part = opened.part;
        if !opened.test_part {
            self.counts.missed = self.counts.missed.wrapping_add(1);
        }
        self.record_unshown(opened, Outcome::not_decidable(Reason::Missed), edge);
        // It passes the cameras all the same: what they saw of it must not be taken for its neighbour.
        self.arm_cameras(part, edge, true);
        let cycle_id = self.plc.image.cycle_id;
        self.pending.notes.push(Note::TriggerMissed { cycle_id, cause });
        self.plc.answer(Answer::Missed);
    }

    /// IDs between the last one and this one were given to parts that the station never saw.
    fn record_skipped(&mut self, edge: Nanos, cycle_id: CycleId) {
        let session = self.plc.session;
        let last = self.history.last_in(session).filter(|_| self.config.sequential);
        let interrupted = self.interrupted.take().filter(|(before, _)| *before == session);
        let reason = interrupted.map_or(Reason::NeverSeen, |(_, reason)| reason);
        let Some(last) = last else { return };
        let skipped = cycle_id.steps_from(last).saturating_sub(1);
        if skipped > SKIPPED_MAX {
            self.errors.insert(ErrorCode::CycleIdJump);
            return self.pending.notes.push(Note::CycleJump { from: last, to: cycle_id });
        }
        if skipped > 0 {
            let note = Note::CyclesSkipped {
                from: last.next(),
                count: skipped,
            };
            self.pending.notes.push(note);
        }
        let mut id = last;
        for _ in 0..skipped {
            id = id.next();
            let mut opened = self.opened(edge, Some(id), 0);
            (opened.encoder, opened.serial, opened.test_part) = (0, [0; 32], false);
            self.record_unshown(opened, Outcome::not_decidable(reason), edge);
            self.history.remember(UsedCycle {
                plc_session: session,
                cycle_id: id,
                fingerprint: Fingerprint::never_seen(),
                acquisition_id: 0,
            });
        }
    }

    fn opened(&mut self, edge: Nanos, cycle_id: Option<CycleId>, acquisition_id: u32) -> Opened {
        let part = Sequence(self.next_sequence);
        self.next_sequence += 1;
        Opened {
            part,
            cycle_id,
            plc_session: self.plc.session,
            boot_id: self.boot_id,
            acquisition_id,
            encoder: self.plc.image.encoder,
            serial: self.plc.image.serial,
            recipe: self.recipe_number(),
            recipe_asked: self.plc.image.recipe_number,
            tags: self.config.tags.iter().map(|tag| tag.read(&self.plc.image.tags)).collect(),
            test_part: self.plc.image.is(control::TEST_PART),
            owns_id: true,
            triggered_at: edge,
            config_checksum: self.config.config_checksum,
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        let image = &self.plc.image;
        Fingerprint::new(image.encoder, &image.serial, image.recipe_number)
    }

    fn remember(&mut self, cycle_id: CycleId, acquisition_id: u32) {
        self.history.remember(UsedCycle {
            plc_session: self.plc.session,
            cycle_id,
            fingerprint: self.fingerprint(),
            acquisition_id,
        });
    }

    // ---- frames and findings ----

    fn restart_camera(&mut self, camera: usize) {
        if let Some(correlation) = self.cameras.get_mut(camera) {
            let matches = correlation.restart();
            self.take_matches(camera, matches);
        }
    }

    fn take_matches(&mut self, camera: usize, matches: Vec<Match>) {
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
                        self.errors.insert(ErrorCode::FrameWithoutTrigger);
                    }
                    self.pending.notes.push(note);
                }
            }
        }
    }

    fn give_frame(&mut self, camera: usize, sequence: Sequence, frame: correlation::FrameSeen) {
        let Some(part) = self.ledger.open.get_mut(&sequence).filter(|part| part.outcome.is_none()) else {
            return self.pending.notes.push(Note::FrameLate { camera });
        };
        if matches!(self.config.trigger_source, TriggerSource::Hardware { .. }) && part.frames.iter().all(Option::is_none) {
            part.deadline = frame.exposed_at + self.config.deadline;
        }
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

    fn decide_inspected(&mut self) {
        for part in self.ledger.open.values_mut() {
            if part.outcome.is_none() && part.is_inspected() && !part.inspected.is_empty() {
                part.outcome = part.measured();
            }
        }
    }

    // ---- outcomes ----

    /// Shows what is decided, or records it: the last moment at which it can turn out to be late.
    fn show_decided(&mut self, now: Nanos) {
        for sequence in self.ledger.decided() {
            #[cfg(test)]
            if self.sabotage == Some(Sabotage::ForgetCycle) && sequence.0.is_multiple_of(3) {
                self.ledger.close(sequence);
                continue;
            }
            let late = self.is_late(sequence, now);
            if self.config.result_mode == ResultMode::Single && !self.single.is_free() {
                continue;
            }
            if !late && self.ledger.open.get(&sequence).is_some_and(|part| part.certain_from() > now) {
                continue;
            }
            let Some(part) = self.ledger.close(sequence) else { continue };
            self.show(&part, late, now);
        }
    }

    /// Whether a decided part would be shown too late. That a part could not be judged for another reason stays the reason.
    fn is_late(&self, sequence: Sequence, now: Nanos) -> bool {
        self.ledger.open.get(&sequence).is_some_and(|part| part.deadline <= now) && self.deadlines_count()
    }

    fn show(&mut self, part: &OpenPart, late: bool, now: Nanos) {
        let decided = part.outcome.unwrap_or_else(|| part.overdue());
        let judged = decided.verdict != Verdict::NotDecidable;
        let outcome = match () {
            () if late && judged => Outcome::not_decidable(Reason::Deadline),
            () if part.bypass && judged => Outcome::not_decidable(Reason::Bypass),
            () => decided,
        };
        let result_id = self.next_result;
        self.next_result = self.next_result.wrapping_add(1).max(1);
        self.count(&part.opened, outcome);
        let shown = Shown {
            cycle_id: part.opened.cycle_id,
            result_id,
            outcome,
            defect_code: if outcome.verdict == Verdict::NotOk { part.defect_code() } else { 0 },
            recipe: part.opened.recipe,
            config_checksum: part.opened.config_checksum,
            process_time_us: u32::try_from(micros(now.since(part.opened.triggered_at))).unwrap_or(u32::MAX),
            deadline_missed: late,
            may_pass: outcome.verdict == Verdict::Ok && !part.opened.test_part,
            test_part: part.opened.test_part,
            shown_at: now,
        };
        match self.config.result_mode {
            ResultMode::Single => self.single.show(shown),
            ResultMode::Window => self.window.show(shown),
        }
        let defect_code = if outcome.verdict == Verdict::NotOk { part.defect_code() } else { 0 };
        let mut record = self.record(&part.opened, outcome, now);
        record.result_id = result_id;
        record.defect_code = defect_code;
        record.severity = part.severity().filter(|_| outcome.verdict != Verdict::NotDecidable);
        record.measured = part.measured().filter(|measured| *measured != outcome);
        record.deadline_ns = part.deadline;
        record.stages = part.stages(now);
        record.views = part.views();
        self.pending.decided.push(record);
    }

    /// Everything that is open becomes not decidable and is recorded, not shown.
    fn void_open(&mut self, reason: Reason, at: Nanos) {
        let open: Vec<Sequence> = self.ledger.open.keys().copied().collect();
        let outcome = Outcome::not_decidable(reason);
        for sequence in open {
            self.ledger.overrule(sequence, outcome);
            let Some(part) = self.ledger.close(sequence) else { continue };
            self.count(&part.opened, outcome);
            let mut record = self.record(&part.opened, outcome, at);
            record.measured = part.measured();
            record.deadline_ns = part.deadline;
            record.views = part.views();
            self.pending.decided.push(record);
        }
    }

    /// Records a part that was never open.
    fn record_unshown(&mut self, opened: Opened, outcome: Outcome, at: Nanos) {
        self.count(&opened, outcome);
        let record = self.record(&opened, outcome, at);
        self.pending.opened.push(opened);
        self.pending.decided.push(record);
    }

    /// What the engine found after the outcome was final.
    fn record_late(&mut self, part: &OpenPart, now: Nanos) {
        let outcome = part.outcome.unwrap_or_else(|| part.overdue());
        let mut record = self.record(&part.opened, outcome, now);
        record.measured = part.measured();
        record.late_findings = true;
        record.deadline_ns = part.deadline;
        record.stages = part.stages(now);
        record.views = part.views();
        self.pending.decided.push(record);
    }

    fn record(&self, opened: &Opened, outcome: Outcome, shown_at: Nanos) -> PartRecord {
        PartRecord {
            station: self.config.station.clone(),
            epoch: self.epoch,
            sequence: opened.part.0,
            cycle_id: opened.cycle_id,
            plc_session: opened.plc_session,
            boot_id: opened.boot_id,
            acquisition_id: opened.acquisition_id,
            result_id: 0,
            encoder: opened.encoder,
            serial: opened.serial_text(),
            recipe: opened.recipe,
            config_checksum: opened.config_checksum,
            verdict: outcome.verdict,
            reason: outcome.reason,
            defect_code: 0,
            severity: None,
            measured: None,
            test_part: opened.test_part,
            recovered: false,
            late_findings: false,
            triggered_unix_ns: 0,
            triggered_ns: opened.triggered_at,
            deadline_ns: opened.triggered_at + self.config.deadline,
            shown_ns: shown_at,
            stages: crate::part::StageTimes::default(),
            views: Vec::new(),
            tags: opened.tags.clone(),
            delivery: None,
        }
    }

    fn count(&mut self, opened: &Opened, outcome: Outcome) {
        if !opened.test_part {
            self.counts.add(outcome);
        }
    }

    // ---- readiness and the image ----

    /// Result slots there are.
    fn slots(&self) -> usize {
        match self.config.result_mode {
            ResultMode::Single => 1,
            ResultMode::Window => WINDOW_SLOTS,
        }
    }

    /// Result slots that TriggerReady offers: in window mode the last one is kept for an edge that was on its way.
    fn slots_offered(&self) -> usize {
        self.slots().saturating_sub(1).max(1)
    }

    fn slots_taken(&self, now: Nanos) -> usize {
        let unexpired = match self.config.result_mode {
            ResultMode::Single => 0,
            ResultMode::Window => self.window.unexpired(now, self.config.accept_hold),
        };
        self.ledger.open.len() + unexpired
    }

    fn recipe_in_force(&self) -> Option<&RecipePlan> {
        self.config.recipes.get(self.recipe?)
    }

    /// Number of the recipe in force; 0 is none.
    fn recipe_number(&self) -> u16 {
        self.recipe_in_force().map_or(0, |recipe| recipe.number)
    }

    /// Whether no recipe is in force, or another one than the PLC asks for; 0 asks for the one that is.
    fn lacks_recipe(&self) -> bool {
        let (asked, in_force) = (self.plc.image.recipe_number, self.recipe_number());
        in_force == 0 || (asked != 0 && asked != in_force)
    }

    /// Whether nothing on the station's side keeps it from inspecting.
    fn is_operational(&self) -> bool {
        self.models_ready && !self.stopping && self.active_errors().all(|error| error.level() != Level::Error)
    }

    /// Latched errors, and those whose cause is there now.
    fn active_errors(&self) -> impl Iterator<Item = ErrorCode> + '_ {
        let causes = [
            (
                ErrorCode::ModelsNotReady,
                // Which provider is missing tells more.
                !self.models_ready && self.surroundings.provider != ProviderStanding::Missing,
            ),
            (ErrorCode::CameraLost, !self.cameras_down.is_empty()),
            (
                ErrorCode::BufferedUnavailable,
                self.plc.buffered && self.plc.image.is(control::ONLINE) && self.config.result_mode == ResultMode::Single,
            ),
            (ErrorCode::RecipeUnknown, self.lacks_recipe()),
            (ErrorCode::NumbersExhausted, self.ids_left() == 0),
        ];
        let caused = causes.into_iter().filter(|(_, is_there)| *is_there).map(|(error, _)| error);
        self.errors.iter().copied().chain(caused).chain(self.surroundings.errors())
    }

    /// Whether the part triggered last may move: exposed, or it has its outcome without.
    fn is_exposed(&self) -> bool {
        let latest = self.latest.and_then(|part| self.ledger.open.get(&part));
        latest.map_or(self.latest.is_some(), OpenPart::is_exposed)
    }

    fn draw(&mut self, now: Nanos) -> StationImage {
        let free = self.slots_taken(now) < self.slots_offered();
        if free {
            self.slots_full_since = None;
        } else {
            self.slots_full_since.get_or_insert(now);
        }
        let lowest = self.active_errors().min();
        let operational = self.is_operational();
        let mut image = StationImage {
            online: self.plc.image.is(control::ONLINE) && self.models_ready && !self.stopping,
            trigger_ready: operational && self.plc.is_armed() && self.plc.is_idle() && !self.lacks_recipe() && free,
            trigger_ack: self.plc.answer == Some(Answer::Acknowledged),
            missed_trigger: self.plc.answer == Some(Answer::Missed),
            // The image that sets TriggerAck clears it, even if the frame overtook the trigger.
            exposure_complete: self.is_exposed() && (self.image.trigger_ack || self.plc.answer != Some(Answer::Acknowledged)),
            busy: !self.ledger.open.is_empty(),
            error: self.active_errors().any(|error| error.level() == Level::Error),
            warning: self.active_errors().any(|error| error.level() == Level::Warning),
            remaining_buffers: u16::from(self.config.result_mode == ResultMode::Single && self.ledger.open.is_empty()),
            error_code: lowest.map_or(0, ErrorCode::code),
            heartbeat: self.heartbeat,
            recipe_ready: if self.models_ready { self.recipe_number() } else { 0 },
            boot_id: self.boot_id,
            echo_plc_session: self.plc.session,
            station_mode: if self.models_ready {
                StationMode::Auto
            } else {
                StationMode::Preoperational
            },
            acquisition_id: self.latest_acquisition,
            echo_trigger_id: self.plc.echo_trigger_id,
            counts: self.counts,
            ..StationImage::default()
        };
        match self.config.result_mode {
            ResultMode::Single => self.single.write(&mut image, now, self.config.accept_hold, self.keeps_accept()),
            ResultMode::Window => self.window.write(&mut image, now, self.config.accept_hold, self.keeps_accept()),
        }
        image
    }

    // ---- broken on purpose, in tests only ----

    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "the test build asks itself")]
    fn deadlines_count(&self) -> bool {
        true
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "the test build asks itself")]
    fn keeps_accept(&self) -> bool {
        false
    }
}

#[cfg(test)]
impl Line {
    fn deadlines_count(&self) -> bool {
        self.sabotage != Some(Sabotage::AnswerLate)
    }

    fn keeps_accept(&self) -> bool {
        self.sabotage == Some(Sabotage::KeepAccept)
    }

    /// Gives each part the frame of the part before it.
    fn sabotaged_frame(&mut self, frame: correlation::FrameSeen) -> correlation::FrameSeen {
        if self.sabotage != Some(Sabotage::SwapFrames) {
            return frame;
        }
        let before = self.swapped.replace(frame.frame);
        correlation::FrameSeen {
            frame: before.unwrap_or(frame.frame),
            ..frame
        }
    }
}
