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
//! | `triggers.rs` | sessions, triggers taken, missed, repeated, skipped |
//! | `serial.rs`, `commands.rs` | serial numbers given beforehand; what the PLC has done |
//! | `history.rs` | cycle IDs of late: repeated or reused |
//! | `correlation.rs` | which frame shows which part |
//! | `frames.rs` | frames and findings find their part |
//! | `ledger.rs` | open parts and what they wait for |
//! | `outcomes.rs` | outcomes are shown, or recorded without |
//! | `results.rs` | outcomes as they are shown: single, buffered or window |
//! | `admission.rs` | whether a part that came now would have its verdict in time |
//! | `readiness.rs` | whether a part may come, and the image that says so |
//! | `tags.rs` | what rides along with a part |
//! | `error_code.rs` | ErrorCode: numbers, words, remedies |
//! | `gate.rs` | what the station's own gate and the alarms mean to it |
//!
//! Promises kept here: every trigger ends in exactly one outcome; a verdict belongs to the cycle ID it was measured for; Accept is shown for
//! a fresh Ok only, before its deadline.

mod admission;
pub mod commands;
pub mod config;
mod correlation;
mod edge;
pub mod error_code;
pub mod event;
mod frames;
pub mod gate;
mod handshake;
mod heartbeat;
pub mod history;
pub mod image;
mod ledger;
mod outcomes;
mod readiness;
mod results;
mod serial;
pub mod tags;
#[cfg(test)]
mod tests;
mod triggers;

use std::collections::BTreeSet;
use std::time::Duration;

use admission::Admission;
use commands::{CommandState, Mode};
use config::{LineConfig, ResultMode};
use correlation::Correlation;
use error_code::ErrorCode;
use event::{Commit, Event, MissCause, Note, ProviderStanding, RecordsKept, Sequence, Withheld};
use handshake::Handshake;
use history::{History, UsedCycle};
use image::{Counts, StationImage};
use ledger::{Ledger, micros};
use results::{ResultRegisters, WindowResults};
use serial::SerialLatch;

use crate::part::{ClockQuality, Nanos, Outcome, PartRecord, Reason};

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
    /// How the counters stood when the PLC cleared them last.
    pub counts_base: Counts,
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
    clock: ClockQuality,
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
        let clock = (self.clock == ClockQuality::Implausible).then_some(ErrorCode::ClockNotSet);
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
    counts_base: Counts,
    /// The session of before the start, until the PLC's first new cycle in it, and why parts of that time were not seen.
    interrupted: Option<(u16, Reason)>,
    plc: Handshake,
    history: History,
    ledger: Ledger,
    cameras: Vec<Correlation>,
    cameras_down: BTreeSet<usize>,
    single: ResultRegisters,
    window: WindowResults,
    /// Whether results wait until they are acknowledged.
    buffered: bool,
    serial: SerialLatch,
    command: CommandState,
    mode: Mode,
    admission: Admission,
    models_ready: bool,
    stopping: bool,
    errors: BTreeSet<ErrorCode>,
    surroundings: Surroundings,
    gate: gate::GateStanding,
    /// The trigger taken last.
    latest: Option<Sequence>,
    latest_acquisition: u32,
    /// Since when TriggerReady is held back, and why.
    withheld: Option<(Nanos, Withheld)>,
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
            counts_base: memory.counts_base,
            interrupted: Some((
                memory.plc_session,
                if memory.power_lost { Reason::PowerLoss } else { Reason::Restart },
            )),
            plc: Handshake::new(memory.plc_session, config.heartbeat_timeout),
            history,
            ledger: Ledger::default(),
            cameras,
            cameras_down: BTreeSet::new(),
            single: ResultRegisters::default(),
            window: WindowResults::default(),
            buffered: false,
            serial: SerialLatch::default(),
            command: CommandState::default(),
            mode: Mode::default(),
            admission: Admission::new(config.workers, config.recipes.iter().map(|recipe| recipe.cameras.len()).sum()),
            models_ready: false,
            stopping: false,
            errors: memory.stage_restarted.then_some(ErrorCode::StageRestarted).into_iter().collect(),
            surroundings: Surroundings::default(),
            gate: gate::GateStanding::default(),
            latest: None,
            latest_acquisition: 0,
            withheld: None,
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

    /// Parts counted since the station was made: what the PLC cleared counts here.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How the counters stood when the PLC cleared them last.
    pub fn counts_base(&self) -> Counts {
        self.counts_base
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

    /// Sequence of the part that comes next.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
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
        if !self.passes_parts() {
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
        let overtaken: Vec<u64> = commit.due.extract_if(.., |(_, due)| *due <= now).map(|(part, _)| part.0).collect();
        let is_overtaken = |record: &&mut PartRecord| !record.late_findings && overtaken.contains(&record.sequence);
        for record in commit.decided.iter_mut().filter(is_overtaken) {
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
            self.watch_late(Sequence(record.sequence));
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
                self.serial.release();
            }
            Event::PlcLost => {
                self.plc.connected = false;
                self.abandon_trigger();
                self.plc.forget_levels();
                self.serial.release();
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
                self.admission.inspected(inspection, &inspected);
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
            Event::Clock(quality) => self.surroundings.clock = quality,
            Event::CommandFinished { command, succeeded } => self.finish(command, succeeded),
            Event::Gate(event) => self.hear_gate(event),
            Event::Stop => self.stopping = true,
            Event::Abort => {
                self.stopping = true;
                self.void_open(Reason::Shutdown, now);
            }
        }
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
