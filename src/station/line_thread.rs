//! Drives the line: one thread that owns it, reads the clock for it, and does what it says in the order that the promises need:
//! black box, then image, then everything else.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::commands::{GoodPart, Order, Orders};
use super::departures::{Departures, Left};
use super::engines::EngineJob;
use super::gate_thread::GateLink;
use super::models::ModelSet;
use super::probe::{Probe, Stage};
use super::recovery;
use super::undelivered::{Undelivered, Waiting};
use crate::capture::{Camera, Capture, Frame};
use crate::flow::{self, NothingReceived, Receiver, Sender};
use crate::journal::black_box::BlackBox;
use crate::journal::evidence::{Evidence, FramePlaces, Why, is_sampled};
use crate::journal::numbers::{BLOCK, Numbers};
use crate::line::Line;
use crate::line::commands::Command;
use crate::line::event::{CameraIndex, Commit, Event, FrameId, Inspected, InspectionIndex, Job, ProviderStanding, RecordsKept, Sequence};
use crate::line::gate::GateEvent;
use crate::line::image::Counts;
use crate::model::activation::ModelChange;
use crate::part::{ClockQuality, CycleId, Delivery, Disposition, Nanos, Outcome, PartRecord, Reason, Verdict};
use crate::plc::delivery::{Delivered, Fate};
use crate::plc::{PlcEvent, Shown, grpc};
use crate::rpc::results_feed::ResultsFeed;
use crate::rpc::station_service::ImageSwapped;
use crate::telemetry::{LineEvents, Metrics};

/// What reaches the line thread.
#[derive(Debug)]
pub enum LineInput {
    /// From the PLC.
    Plc(PlcEvent),
    /// From a camera.
    Capture(CameraIndex, Capture),
    /// From an engine.
    Inspected {
        /// Which part.
        part: Sequence,
        /// Which inspection.
        inspection: InspectionIndex,
        /// What it saw.
        inspected: Box<Inspected>,
    },
    /// The models are ready, or not any more.
    ModelsReady(bool),
    /// These models are loaded and proven: parts that are triggered from now on are judged by them. Whoever brought them is told when it is so.
    ModelsExchanged(Arc<ModelSet>, SyncSender<()>),
    /// An engine asks whether a verdict would get through.
    Probe(Probe),
    /// More numbers are persisted.
    Granted(Numbers),
    /// How the journal is.
    RecordsKept(RecordsKept),
    /// Whether the historian refuses this station.
    HistorianRefuses(bool),
    /// On which provider the models run.
    Provider(ProviderStanding),
    /// A command that was handed out is executed, or could not be.
    CommandFinished(Command, bool),
    /// The station's own gate did or saw something.
    Gate(GateEvent),
    /// What became of a result that was to be written to the PLC.
    Delivered(Delivered),
    /// No new parts; open ones run to their outcome, then the thread ends.
    Stop,
    /// Open parts are not decidable; the thread ends.
    Abort,
}

/// What is to be recorded.
#[derive(Debug)]
pub enum Recorded {
    /// A part has its outcome.
    Part {
        /// Everything known about it.
        record: Arc<PartRecord>,
        /// Its pictures, where they are to be kept.
        evidence: Vec<Evidence>,
    },
    /// The PLC says what really happened to a part.
    Disposition {
        /// The session.
        plc_session: u16,
        /// The part.
        cycle_id: CycleId,
        /// What.
        what: Disposition,
    },
    /// Another model was asked for.
    ModelChange(Box<ModelChange>),
    /// Nothing: an engine asks whether a verdict would get through.
    Probe(Probe),
}

impl Recorded {
    /// A part of an earlier life.
    pub fn again(record: Arc<PartRecord>) -> Self {
        Self::Part {
            record,
            evidence: Vec::new(),
        }
    }
}

/// What a station prints.
#[derive(Debug)]
pub enum Report {
    /// The PLC is served here.
    Listening(SocketAddr),
    /// Line controllers are served here.
    Serving(SocketAddr),
    /// A part has its outcome.
    Part(Arc<PartRecord>),
    /// The station became ready, or not; or its error changed.
    State {
        /// Whether the station inspects: the PLC is online and nothing is in the way.
        ready: bool,
        /// Lowest active error or warning, 0 for none.
        error_code: u16,
        /// Number of this start.
        boot_id: u16,
    },
}

/// Everything the line thread works with.
pub struct LineThread {
    /// The line.
    pub line: Line,
    /// Where parts and outcomes are kept before they are shown.
    pub black_box: BlackBox,
    /// The image shown.
    pub shown: Shown,
    /// What happens.
    pub inputs: Receiver<LineInput>,
    /// Frames to judge.
    pub jobs: Sender<EngineJob>,
    /// The models that open parts are judged by; the last are those in force.
    pub models: Vec<Arc<ModelSet>>,
    /// What is printed.
    pub reports: Sender<Report>,
    /// What is recorded.
    pub records: Sender<Recorded>,
    /// What the PLC commands and takes time.
    pub orders: Orders,
    /// Asks for more numbers to be persisted.
    pub numbers_wanted: Sender<Numbers>,
    /// The numbers as persisted.
    pub numbers: Numbers,
    /// Which parts have left.
    pub departures: Departures,
    /// Log and metrics.
    pub events: LineEvents,
    /// Counters and gauges.
    pub metrics: Arc<Metrics>,
    /// Names of the cameras.
    pub camera_names: Vec<String>,
    /// The camera of each inspection.
    pub views: Vec<CameraIndex>,
    /// Share of Ok parts whose images are kept.
    pub ok_share: f64,
    /// Frames that may be held for the journal.
    pub places: FramePlaces,
    /// Line controllers: rung after each swap, and given every outcome.
    pub controllers: Controllers,
    /// Records whose results the PLC may not have yet.
    pub undelivered: Undelivered,
    /// Cameras that are asked for an exposure with each part: those whose exposure the PLC's edge causes.
    pub exposing: Vec<Arc<dyn Camera>>,
    /// The station's own gate; `None`: the PLC moves it.
    pub gate: Option<GateLink>,
}

/// What line controllers wait for.
#[derive(Debug, Clone, Default)]
pub struct Controllers {
    /// The image was swapped.
    pub swapped: ImageSwapped,
    /// Outcomes.
    pub results: Arc<ResultsFeed>,
}

/// The part of the line thread that changes as it runs.
#[allow(clippy::struct_excessive_bools, reason = "each says another thing")]
struct State {
    frames: HashMap<FrameId, Frame>,
    /// What each camera showed of parts that have no outcome yet.
    seen: HashMap<Sequence, Vec<(CameraIndex, Frame)>>,
    next_frame: u64,
    counts: Counts,
    counts_base: Counts,
    granting: bool,
    stopping: bool,
    /// Whether parts are good and to be learnt from.
    is_teaching: bool,
    /// What the line thread has to tell itself: jobs that found no engine.
    refused: VecDeque<LineInput>,
    /// Readiness and error as told last.
    reported: Option<(bool, u16)>,
    /// The clock on the wall as it was looked at last.
    clock: ClockQuality,
    /// Who waits to hear that the models are exchanged.
    exchanged: Option<SyncSender<()>>,
}

impl State {
    /// Time passes; what there is to be said of the clock on the wall.
    fn look_at_clock(&mut self, quality: ClockQuality) -> Event {
        if std::mem::replace(&mut self.clock, quality) == quality {
            return Event::Tick;
        }
        Event::Clock(quality)
    }
}

impl LineThread {
    /// Runs until it was told to stop and no part is open, or nobody is left to tell it anything. Returns the numbers to persist last, and
    /// the black box, whose cursor is not final before the last record is committed.
    pub fn run(mut self) -> (Numbers, BlackBox) {
        let mut state = State {
            frames: HashMap::new(),
            seen: HashMap::new(),
            next_frame: 0,
            counts: self.line.counts(),
            counts_base: self.line.counts_base(),
            granting: false,
            stopping: false,
            is_teaching: false,
            refused: VecDeque::new(),
            reported: None,
            clock: ClockQuality::default(),
            exchanged: None,
        };
        self.show();
        loop {
            let Some(input) = self.next_input(&mut state) else { break };
            let event = self.event(&mut state, input);
            self.line.advance(flow::now(), event);
            let commit = self.line.commit(flow::now());
            self.carry_out(&mut state, commit);
            self.let_go(false);
            if state.stopping && self.line.is_drained() && self.undelivered.is_empty() {
                break;
            }
        }
        self.let_go(true);
        (self.numbers_now(), self.black_box)
    }

    /// The numbers with what the counters and the session are now.
    fn numbers_now(&self) -> Numbers {
        let image = self.line.image();
        Numbers {
            plc_session: image.echo_plc_session,
            counts: self.line.counts().to_array(),
            counts_base: self.line.counts_base().to_array(),
            ..self.numbers
        }
    }

    /// What comes next: an input, or nothing but time; and nothing more once nobody is left to say anything.
    #[allow(clippy::option_option, reason = "the outer one ends the loop, as of an iterator")]
    fn next_input(&mut self, state: &mut State) -> Option<Option<LineInput>> {
        if let Some(refused) = state.refused.pop_front() {
            return Some(Some(refused));
        }
        let now = flow::now();
        match self.inputs.receive_timeout(self.line.wake_at(now).since(now)) {
            Ok(input) => Some(Some(input)),
            Err(NothingReceived::TimedOut) => Some(None),
            Err(NothingReceived::Closed) => None,
        }
    }

    fn event(&mut self, state: &mut State, input: Option<LineInput>) -> Event {
        match input {
            None => {
                // Not on the way of any part: the cursor may be late, records have a key.
                self.black_box.write_reported_below(self.departures.below());
                state.look_at_clock(flow::clock_quality())
            }
            Some(LineInput::Plc(PlcEvent::Connected)) => Event::PlcConnected,
            Some(LineInput::Plc(PlcEvent::Lost)) => Event::PlcLost,
            Some(LineInput::Plc(PlcEvent::Wrote { at, image, written })) => {
                if let Some(gate) = &mut self.gate {
                    gate.heard(&image);
                }
                Event::PlcWrote { at, image, written }
            }
            Some(LineInput::Capture(camera, capture)) => self.capture_event(state, camera, capture),
            Some(LineInput::Inspected {
                part,
                inspection,
                inspected,
            }) => Event::Inspected {
                part,
                inspection,
                inspected,
            },
            Some(LineInput::ModelsReady(ready)) => Event::ModelsReady(ready),
            Some(LineInput::ModelsExchanged(models, taken)) => {
                let config_checksum = models.config_checksum;
                self.models.retain(|known| known.config_checksum != config_checksum);
                self.models.push(models);
                state.exchanged = Some(taken);
                Event::ModelsExchanged { config_checksum }
            }
            Some(LineInput::Probe(probe)) => {
                probe.crosses(Stage::Line, flow::now());
                // One that is dropped is no loss: another follows.
                let _ = self.records.send(Recorded::Probe(probe));
                Event::Tick
            }
            Some(LineInput::Granted(numbers)) => {
                state.granting = false;
                self.numbers = numbers;
                Event::IdsGranted {
                    acquisition_below: numbers.acquisition_below,
                    result_below: numbers.result_below,
                }
            }
            Some(LineInput::RecordsKept(kept)) => Event::RecordsKept(kept),
            Some(LineInput::HistorianRefuses(refuses)) => Event::HistorianRefuses(refuses),
            Some(LineInput::Provider(standing)) => Event::Provider(standing),
            Some(LineInput::CommandFinished(command, succeeded)) => {
                state.is_teaching &= succeeded || command != Command::StartTeach;
                Event::CommandFinished { command, succeeded }
            }
            Some(LineInput::Gate(event)) => Event::Gate(event),
            Some(LineInput::Delivered(delivered)) => {
                self.settle(state, delivered);
                Event::Tick
            }
            Some(LineInput::Stop) => {
                state.stopping = true;
                Event::Stop
            }
            Some(LineInput::Abort) => {
                state.stopping = true;
                self.let_go(true);
                Event::Abort
            }
        }
    }

    fn capture_event(&mut self, state: &mut State, camera: CameraIndex, capture: Capture) -> Event {
        match capture {
            Capture::Frame(frame) => {
                let id = FrameId(state.next_frame);
                state.next_frame += 1;
                let event = Event::Frame {
                    camera,
                    frame: id,
                    counter: frame.counter,
                    exposed_at: frame.exposed_at,
                };
                self.events.frame(camera);
                state.frames.insert(id, frame);
                event
            }
            Capture::Up => {
                self.events.camera_up(camera);
                Event::CameraUp(camera)
            }
            Capture::Down { reason } => {
                self.events.camera_down(camera, &reason);
                Event::CameraDown(camera)
            }
        }
    }

    /// Outcomes into the black box, then the image. Whatever held this thread up in between, nothing is shown as judged after its deadline.
    fn keep_and_show(&mut self, state: &mut State, commit: &mut Commit) {
        let before = state.counts;
        loop {
            state.counts = before;
            for record in &commit.decided {
                recovery::add(&mut state.counts, record);
                self.black_box.write_decided(record, &state.counts);
            }
            if !commit.image_changed {
                return;
            }
            let duplicates = self.line.counts().duplicate;
            if duplicates != state.counts.duplicate {
                state.counts.duplicate = duplicates;
                self.black_box.write_duplicates(duplicates);
            }
            self.keep_counts_base(state);
            let image = Arc::new(self.line.image().clone());
            let now = flow::now();
            if commit.swap_before().is_none_or(|limit| now < limit) {
                self.undelivered.offer(&commit.decided, now);
                self.shown.store(image);
                self.controllers.swapped.ring();
                self.undelivered.swapped();
                return;
            }
            self.line.overtaken(commit, now);
        }
    }

    /// What the PLC cleared stays cleared: in the black box before it sees so, on the disk as soon as may be.
    fn keep_counts_base(&mut self, state: &mut State) {
        let base = self.line.counts_base();
        if base != state.counts_base {
            state.counts_base = base;
            self.black_box.write_counts_base(&base);
            state.granting |= self.numbers_wanted.send(self.numbers_now()).is_ok();
        }
    }

    /// Does what the line says. The order is the promise: the black box knows before the PLC does.
    fn carry_out(&mut self, state: &mut State, mut commit: Commit) {
        let unix_offset = flow::unix_now_ns().wrapping_sub_unsigned(flow::now().0);
        let unix = |at: Nanos| unix_offset.wrapping_add_unsigned(at.0);
        for opened in &commit.opened {
            self.black_box.write_opened(opened, unix(opened.triggered_at));
        }
        self.keep_and_show(state, &mut commit);
        if let Some(gate) = &mut self.gate {
            gate.opened(&commit.opened);
            gate.shown(&commit.decided, self.line.image(), |record| self.undelivered.concerns(record));
        }
        if commit.opened.iter().any(|opened| opened.acquisition_id != 0) {
            self.exposing.iter().for_each(|camera| camera.trigger());
        }
        if let Some(command) = commit.command {
            self.order(state, command);
        }
        for job in commit.jobs {
            let frame = state.frames.get(&job.frame).cloned();
            self.remember_view(state, &job, frame.as_ref());
            let models = self.models.iter().find(|models| models.config_checksum == job.config_checksum);
            let job = EngineJob {
                job,
                frame,
                queued_at: flow::now(),
                models: models.cloned(),
            };
            if let Err(refused) = self.jobs.send(job) {
                state.refused.push_back(refused.refusal());
            }
        }
        for frame in commit.released {
            state.frames.remove(&frame);
        }
        for mut record in commit.decided {
            record.triggered_unix_ns = unix(record.triggered_ns);
            self.teach(state, &record);
            let passed = grpc::is_passed(&record, self.line.image());
            let evidence = self.evidence(state, &record);
            let waiting = Waiting { record, evidence, passed };
            let leaves = if self.undelivered.concerns(&waiting.record) {
                self.undelivered.hold(waiting)
            } else {
                Some(waiting)
            };
            if let Some(record) = leaves {
                self.leave(record);
            }
        }
        for (plc_session, cycle_id, what) in commit.dispositions {
            self.record(Recorded::Disposition {
                plc_session,
                cycle_id,
                what,
            });
        }
        for note in &commit.notes {
            self.events.note(note);
        }
        self.after(state);
    }

    /// Has a command carried out. Where nobody can, it has failed.
    fn order(&self, state: &mut State, command: Command) {
        state.is_teaching = command == Command::StartTeach;
        let order = self.models.last().map(|models| Order::Execute(command, Arc::clone(models)));
        if order.is_none_or(|order| self.orders.send(order).is_err()) {
            state.refused.push_back(LineInput::CommandFinished(command, false));
        }
    }

    /// What the cameras showed of a part, to whoever learns from good ones.
    fn teach(&self, state: &State, record: &PartRecord) {
        let Some(frames) = state
            .seen
            .get(&Sequence(record.sequence))
            .filter(|_| state.is_teaching && !record.late_findings)
        else {
            return;
        };
        let part = GoodPart {
            sequence: record.sequence,
            recipe: record.recipe,
            frames: frames.clone(),
        };
        if self.orders.send(Order::Learn(part)).is_err() {
            self.metrics.event("good_part_dropped", 1);
        }
    }

    /// A record leaves: nothing of it changes any more.
    fn leave(&self, waiting: Waiting) {
        let Waiting { record, evidence, passed } = waiting;
        self.metrics.part(&record);
        self.controllers.results.publish(&record, passed);
        let record = Arc::new(record);
        self.report(Report::Part(Arc::clone(&record)));
        self.record(Recorded::Part { record, evidence });
    }

    /// It is known what became of a result that was to be written to the PLC.
    fn settle(&mut self, state: &mut State, Delivered { result_id, fate }: Delivered) {
        let leaves = match fate {
            Fate::Confirmed => self.undelivered.release(result_id, Delivery::Confirmed),
            Fate::Unconfirmed => {
                self.line.withdraw(result_id);
                self.undelivered.release(result_id, Delivery::Unconfirmed)
            }
            Fate::Late => {
                self.line.withdraw(result_id);
                self.make_late(state, result_id);
                None
            }
        };
        if let Some(waiting) = leaves {
            self.tell_gate(&waiting.record, waiting.passed && fate == Fate::Confirmed);
            self.leave(waiting);
        }
    }

    /// The station's own gate passes a part only if the PLC has its Ok, and had it in time.
    fn tell_gate(&self, record: &PartRecord, has_it: bool) {
        if let Some(gate) = &self.gate
            && record.verdict == Verdict::Ok
        {
            gate.delivered(record, has_it);
        }
    }

    /// An Ok that was never sent is late. Black box first, as with every outcome; then it is shown as what it is.
    fn make_late(&mut self, state: &mut State, result_id: u32) {
        let Some(record) = self.undelivered.record_of(result_id) else {
            return;
        };
        if record.verdict != Verdict::Ok {
            return;
        }
        if let Some(gate) = &self.gate {
            gate.delivered(record, false);
        }
        let now = flow::now();
        self.line.make_late(record, now);
        if !record.test_part {
            state.counts.take_back(Outcome::OK);
            state.counts.add(Outcome::not_decidable(Reason::Deadline));
        }
        self.black_box.write_decided(record, &state.counts);
        let late = record.clone();
        self.undelivered.offer([&late], now);
    }

    /// Records that waited for too long, or all of them.
    fn let_go(&mut self, all: bool) {
        while let Some(waiting) = self.undelivered.overdue(flow::now(), all) {
            self.leave(waiting);
        }
    }

    /// A frame that shows a part may be wanted as evidence.
    fn remember_view(&self, state: &mut State, job: &Job, frame: Option<&Frame>) {
        let (Some(frame), Some(camera)) = (frame, self.views.get(job.inspection)) else {
            return;
        };
        let seen = state.seen.entry(job.part).or_default();
        if seen.iter().all(|(known, _)| known != camera) {
            seen.push((*camera, frame.clone()));
        }
    }

    /// The pictures of a part that are to be kept: all of a reject, of an Ok a drawn share.
    fn evidence(&self, state: &mut State, record: &PartRecord) -> Vec<Evidence> {
        if record.late_findings {
            return Vec::new();
        }
        let seen = state.seen.remove(&Sequence(record.sequence)).unwrap_or_default();
        let wanted = record.verdict != Verdict::Ok || is_sampled(record.epoch, record.sequence, self.ok_share);
        let name = |camera: usize| self.camera_names.get(camera).map_or("", String::as_str);
        let hold = |(camera, frame): &(CameraIndex, Frame)| self.places.hold(name(*camera), frame, Why::of(record.verdict));
        seen.iter().filter(|_| wanted).map(hold).collect()
    }

    /// What is due now and then, off the way of any part.
    fn after(&mut self, state: &mut State) {
        if let Some(exchanged) = state.exchanged.take() {
            let _ = exchanged.try_send(());
        }
        if self.models.len() > 1 {
            // Engines unload what nobody holds any more.
            let line = &self.line;
            self.models.retain(|models| line.needs_models(models.config_checksum));
        }
        let image = self.line.image();
        let (ready, error_code, boot_id) = (image.online && !image.error, image.error_code, image.boot_id);
        if state.reported != Some((ready, error_code)) {
            state.reported = Some((ready, error_code));
            self.metrics.state(ready, error_code);
            self.report(Report::State {
                ready,
                error_code,
                boot_id,
            });
        }
        // Parts that were missed use up sequences alone.
        let sequences_left = self.numbers.sequence_below.saturating_sub(self.line.next_sequence());
        if !state.granting && (self.line.ids_left() < BLOCK / 2 || sequences_left < u64::from(BLOCK / 2)) {
            state.granting = self.numbers_wanted.send(self.numbers_now().next_block()).is_ok();
        }
    }

    fn report(&self, report: Report) {
        if let Err(unprinted) = self.reports.send(report) {
            self.metrics.line_dropped();
            if let Report::Part(record) = unprinted {
                self.departures.tell(record.sequence, Left::Printed);
            }
        }
    }

    fn record(&self, recorded: Recorded) {
        if self.records.send(recorded).is_err() {
            self.metrics.record_dropped();
        }
    }

    fn show(&self) {
        self.shown.store(Arc::new(self.line.image().clone()));
        self.controllers.swapped.ring();
        self.undelivered.swapped();
    }
}
