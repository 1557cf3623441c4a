//! The thread that moves the station's own gate: it owns the tracker, hears edges and the line, and sets outputs. The line thread tells it what
//! happens over a bounded channel and never waits for it; what does not fit in there makes the gate reject whatever is on the belt.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::error::StationError;
use super::line_thread::LineInput;
use super::threads::{Control, spawn};
use crate::config::station::GateConfig;
use crate::flow::{self, NothingReceived, Receiver, Sender, WhenFull, bounded};
use crate::gate::gpio::{self, Edge, GpioError, GpioOutputs, Inputs, Output, Outputs};
use crate::gate::quadrature::{Channel, Quadrature};
use crate::gate::wiring::{Input, TravelWires, Wiring};
use crate::gate::{Event, Fate, Grade, PartId, RejectCause, Report, Tracker};
use crate::line::event::Opened;
use crate::line::gate::GateEvent;
use crate::line::image::{PlcImage, StationImage, control};
use crate::part::{CycleId, Nanos, PartRecord, Verdict};
use crate::plc::grpc;

/// Edges, triggers and outcomes that may wait for the gate. Where one is dropped, everything on the belt is rejected.
const INPUTS_MAX: usize = 4096;

/// Counts of the encoder whose times are remembered: where the belt was when a trigger was received a moment ago.
const HISTORY_MAX: usize = 4096;

/// How often the tracker is told of an encoder that stands still.
const TICK: Duration = Duration::from_millis(100);

/// How late edges may be told: an encoder that stands is told to have stood until so long ago.
const EDGES_LATE: Duration = Duration::from_millis(500);

/// How long the thread that reads edges waits before it looks whether it is to stop.
const EDGES_WAIT: Duration = Duration::from_millis(200);

/// Threads by their names.
type Threads = Vec<(&'static str, JoinHandle<()>)>;

/// What the gate thread hears.
#[derive(Debug)]
pub(super) enum GateInput {
    /// Inputs did something.
    Edges(Vec<Edge>),
    /// Inputs do not work any more.
    Failed(GpioError),
    /// A part was triggered.
    Triggered(PartId, Nanos),
    /// A part has its outcome.
    Decided(PartId, Grade),
    /// The PLC began a new session.
    SessionChanged,
    /// Gates must not move, or may again.
    Inhibit(bool),
    /// Whether the line must stop, and whether the station inspects.
    Lamps { stop: bool, ready: bool },
    /// No more.
    Stop,
}

/// What the line thread tells the gate by.
pub struct GateLink {
    into: Sender<GateInput>,
    /// Something was dropped.
    overrun: Arc<AtomicBool>,
    session: Option<u16>,
    inhibit: bool,
    lamps: Option<(bool, bool)>,
}

impl GateLink {
    fn send(&self, input: GateInput) {
        if self.into.send(input).is_err() {
            self.overrun.store(true, Ordering::Release);
        }
    }

    /// The PLC wrote.
    pub fn heard(&mut self, image: &PlcImage) {
        let inhibit = image.is(control::GATE_INHIBIT);
        if inhibit != self.inhibit {
            self.inhibit = inhibit;
            self.send(GateInput::Inhibit(inhibit));
        }
    }

    /// Parts were opened. Those that were missed or skipped are on no belt, as far as anybody knows.
    pub fn opened(&self, opened: &[Opened]) {
        for part in opened.iter().filter(|part| part.acquisition_id != 0) {
            if let Some(cycle_id) = part.cycle_id {
                let plc_session = part.plc_session;
                self.send(GateInput::Triggered(PartId { plc_session, cycle_id }, part.triggered_at));
            }
        }
    }

    /// An image was shown, with these outcomes.
    pub fn shown(&mut self, decided: &[PartRecord], image: &StationImage) {
        let session = image.echo_plc_session;
        if self.session.replace(session).is_some_and(|before| before != session) {
            self.send(GateInput::SessionChanged);
        }
        for record in decided {
            if let Some(cycle_id) = record.cycle_id {
                let plc_session = record.plc_session;
                self.send(GateInput::Decided(PartId { plc_session, cycle_id }, grade(record, image)));
            }
        }
        let lamps = (image.stop_request, image.online && !image.error);
        if self.lamps != Some(lamps) {
            self.lamps = Some(lamps);
            let (stop, ready) = lamps;
            self.send(GateInput::Lamps { stop, ready });
        }
    }
}

/// What an outcome means at the gate. Ok is what the PLC would let pass too: shown, in time, of no test part.
fn grade(record: &PartRecord, image: &StationImage) -> Grade {
    match record.verdict {
        Verdict::Ok if !grpc::is_passed(record, image) => Grade::NotDecidable,
        verdict => Grade::of(verdict, record.severity),
    }
}

/// Takes the lines and starts the threads of the gate.
///
/// # Errors
/// When a line or a thread cannot be had. Outputs are in the rejecting state then.
pub(super) fn start(
    config: &GateConfig,
    line: Sender<LineInput>,
    stop: &CancellationToken,
    control: &Sender<Control>,
) -> Result<(GateLink, Threads), StationError> {
    let outputs = GpioOutputs::open(&config.wiring)?;
    let (mut inputs, levels) = Inputs::open(&config.wiring)?;
    let (into, hears) = bounded("gate/inputs", INPUTS_MAX, WhenFull::DropNewest);
    let link = GateLink {
        into: into.clone(),
        overrun: Arc::default(),
        session: None,
        inhibit: false,
        lamps: None,
    };
    let gate = GateThread::new(config, Box::new(outputs), line, Arc::clone(&link.overrun));
    let run = move || gate.run(&levels, &hears);
    let threads = vec![("gate", spawn("gate", control, run)?)];
    let (stop, overrun) = (stop.clone(), Arc::clone(&link.overrun));
    let read = move || {
        while !stop.is_cancelled() {
            let heard = match inputs.wait(EDGES_WAIT) {
                Ok(edges) if edges.is_empty() => continue,
                Ok(edges) => GateInput::Edges(edges),
                Err(error) => GateInput::Failed(error),
            };
            let is_last = matches!(heard, GateInput::Failed(_));
            if into.send(heard).is_err() {
                overrun.store(true, Ordering::Release);
            }
            if is_last {
                return;
            }
        }
        let _ = into.send(GateInput::Stop);
    };
    let mut threads = threads;
    threads.push(("gate edges", spawn("gate-edges", control, read)?));
    Ok((link, threads))
}

/// The tracker and what it moves.
struct GateThread {
    tracker: Tracker,
    wiring: Wiring,
    names: Vec<String>,
    outputs: Box<dyn Outputs>,
    line: Sender<LineInput>,
    overrun: Arc<AtomicBool>,
    quadrature: Quadrature,
    /// Counts of the encoder, wrapping.
    count: u32,
    /// Counts and their times, the latest last.
    history: VecDeque<(Nanos, u32)>,
    /// What each output was set to last.
    set: Vec<(Output, bool)>,
    acts_on: Option<CycleId>,
    lamps: (bool, bool),
    failed: bool,
}

impl GateThread {
    fn new(config: &GateConfig, outputs: Box<dyn Outputs>, line: Sender<LineInput>, overrun: Arc<AtomicBool>) -> Self {
        Self {
            tracker: Tracker::new(config.tracker.clone()),
            set: gpio::safe(&config.wiring),
            wiring: config.wiring.clone(),
            names: config.names.clone(),
            outputs,
            line,
            overrun,
            quadrature: Quadrature::default(),
            count: 0,
            history: VecDeque::new(),
            acts_on: None,
            lamps: (true, false),
            failed: false,
        }
    }

    fn run(mut self, levels: &[(Input, bool)], hears: &Receiver<GateInput>) {
        self.begin(levels, flow::now());
        loop {
            let now = flow::now();
            let wait = self.tracker.wake_at().map_or(TICK, |due| due.since(now).min(TICK));
            match hears.receive_timeout(wait) {
                Ok(GateInput::Stop) | Err(NothingReceived::Closed) => break,
                Ok(input) => self.hear(input, flow::now()),
                Err(NothingReceived::TimedOut) => self.tick(flow::now()),
            }
        }
    }

    /// Inputs as they are found: what is at a sensor now was there before anybody looked.
    fn begin(&mut self, levels: &[(Input, bool)], now: Nanos) {
        let is_on = |input: Input| levels.iter().any(|(other, on)| *other == input && *on);
        self.quadrature = Quadrature::new(is_on(Input::EncoderA), is_on(Input::EncoderB));
        self.tell_count(now);
        for (input, on) in levels {
            match input {
                Input::Running => self.tell(now, Event::Belt { running: *on }),
                Input::Sensor(gate) if *on => self.tell(
                    now,
                    Event::PartSeen {
                        gate: *gate,
                        reading: None,
                    },
                ),
                _ => {}
            }
        }
        self.drive();
    }

    fn hear(&mut self, input: GateInput, now: Nanos) {
        if self.overrun.swap(false, Ordering::AcqRel) {
            tracing::error!("the gate was told more than it could take, and rejects everything on the belt");
            self.tell(now, Event::EncoderLost);
        }
        match input {
            GateInput::Edges(edges) => edges.into_iter().for_each(|edge| self.edge(edge, now)),
            GateInput::Failed(error) => self.fail(&error, now),
            GateInput::Triggered(id, at) => self.trigger(id, at, now),
            GateInput::Decided(id, grade) => self.tell(now, Event::Decided { id, grade }),
            GateInput::SessionChanged => self.tell(now, Event::Void),
            GateInput::Inhibit(inhibit) => self.tell(now, Event::Inhibit(inhibit)),
            GateInput::Lamps { stop, ready } => self.lamps = (stop, ready),
            GateInput::Stop => {}
        }
        self.drive();
    }

    fn tick(&mut self, now: Nanos) {
        // A moment ago: an edge may be on its way that came before now.
        if self.is_counted() {
            let reading = self.count;
            self.tell(now.before(EDGES_LATE), Event::Encoder { reading });
        }
        self.tell(now, Event::Tick);
        self.drive();
    }

    fn is_counted(&self) -> bool {
        !matches!(self.wiring.travel, TravelWires::Running(_))
    }

    fn edge(&mut self, edge: Edge, now: Nanos) {
        let Edge::Is { at, input, on } = edge else {
            tracing::error!("edges of the gate's inputs were lost: the processor is too busy, or they come too fast");
            return self.tell(now, Event::EncoderLost);
        };
        match input {
            Input::EncoderA | Input::EncoderB => self.step(at, input, on),
            Input::Running => self.tell(at, Event::Belt { running: on }),
            Input::Index if on => self.tell(at, Event::Index),
            Input::Sensor(gate) if on => self.tell(at, Event::PartSeen { gate, reading: None }),
            Input::Sensor(gate) => self.tell(at, Event::PartGone { gate }),
            Input::Confirm(gate) if on => self.tell(at, Event::Ejected { gate }),
            Input::Index | Input::Confirm(_) => {}
        }
    }

    fn step(&mut self, at: Nanos, input: Input, on: bool) {
        let step = match self.wiring.travel {
            TravelWires::Quadrature { .. } => {
                let channel = if input == Input::EncoderA { Channel::A } else { Channel::B };
                let Ok(step) = self.quadrature.edge(channel, on) else {
                    return self.tell(at, Event::EncoderLost);
                };
                step
            }
            _ => i8::from(on),
        };
        if step != 0 {
            self.count = self.count.wrapping_add_signed(i32::from(step));
            self.tell_count(at);
        }
    }

    fn tell_count(&mut self, at: Nanos) {
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back((at, self.count));
        if self.is_counted() {
            let reading = self.count;
            self.tell(at, Event::Encoder { reading });
        }
    }

    /// A part was at the trigger at `at`: where the belt was then, if that is still known.
    fn trigger(&mut self, id: PartId, at: Nanos, now: Nanos) {
        let then = self.history.iter().rev().find(|(since, _)| *since <= at);
        match then {
            Some((_, count)) => {
                let reading = self.is_counted().then_some(*count);
                self.tell(now, Event::Triggered { id, reading });
            }
            None => self.report(Report::Fate {
                id,
                fate: Fate::Rejected(RejectCause::NoPosition),
                gate: None,
            }),
        }
    }

    fn tell(&mut self, at: Nanos, event: Event) {
        for report in self.tracker.handle(at, event) {
            self.report(report);
        }
        // Between two edges of one batch too: the gate may have to move for the first of them.
        self.drive_gates();
    }

    fn report(&mut self, report: Report) {
        let name = |gate: usize| self.names.get(gate).map_or("", String::as_str);
        match report {
            Report::Fate { id, fate, gate } => {
                let gate = gate.map_or("", name);
                tracing::debug!(cycle_id = %id.cycle_id, ?fate, gate, "a part has left the belt, or will");
            }
            Report::Untracked { gate } => {
                tracing::warn!(gate = name(gate), "a part came to the gate that nobody announced; it is rejected");
            }
            Report::NotEjected { gate, id } => {
                let cycle_id = id.map_or(0, |id| id.cycle_id.get());
                tracing::error!(gate = name(gate), cycle_id, "a part was not ejected");
            }
            Report::EjectedUnasked { gate } => tracing::warn!(gate = name(gate), "something was ejected that was not rejected"),
            Report::EncoderJump { step } => tracing::error!(step, "the encoder jumped; everything on the belt is rejected"),
        }
        let _ = self.line.send(LineInput::Gate(GateEvent::Report(report)));
    }

    /// Inputs or outputs do not work: everything in the rejecting state, as far as it can be moved.
    fn fail(&mut self, error: &GpioError, now: Nanos) {
        if std::mem::replace(&mut self.failed, true) {
            return;
        }
        tracing::error!(%error, "the gate fails, and rejects everything");
        let _ = self.line.send(LineInput::Gate(GateEvent::Failing(true)));
        for (output, on) in gpio::safe(&self.wiring) {
            if let Err(error) = self.outputs.set(output, on) {
                tracing::error!(%error, "an output cannot be made safe");
            }
        }
        for report in self.tracker.handle(now, Event::EncoderLost) {
            self.report(report);
        }
    }

    fn drive_gates(&mut self) {
        for gate in 0..self.wiring.gates.len() {
            let is_on = self.tracker.is_energised(gate);
            self.switch(Output::Gate(gate), is_on);
        }
        let acts_on = self.tracker.acts_on();
        if std::mem::replace(&mut self.acts_on, acts_on) != acts_on {
            let _ = self.line.send(LineInput::Gate(GateEvent::ActsOn(acts_on)));
        }
    }

    fn drive(&mut self) {
        self.drive_gates();
        let (stop, ready) = self.lamps;
        self.switch(Output::Stop, stop);
        self.switch(Output::Ready, ready);
    }

    fn switch(&mut self, output: Output, on: bool) {
        if self.failed || self.set.contains(&(output, on)) {
            return;
        }
        match self.outputs.set(output, on) {
            Ok(()) => {
                self.set.retain(|(other, _)| *other != output);
                self.set.push((output, on));
            }
            Err(error) => self.fail(&error, flow::now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::gate::config::{GateKind, GatePlan, Pitch, TrackerConfig, Travel};
    use crate::gate::wiring::{GateWires, Wire};

    /// What every output was set to, in order.
    type Written = Arc<Mutex<Vec<(Output, bool)>>>;

    struct Board {
        written: Written,
        is_broken: Arc<AtomicBool>,
    }

    impl Outputs for Board {
        fn set(&mut self, output: Output, on: bool) -> Result<(), GpioError> {
            if self.is_broken.load(Ordering::Relaxed) {
                return Err(GpioError::Set {
                    chip: "/dev/gpiochip9".into(),
                    line: 1,
                    reason: "no such device".into(),
                });
            }
            self.written.lock().unwrap().push((output, on));
            Ok(())
        }
    }

    /// One gate, 60 counts from its sensor, which is 100 counts from the trigger; a part is 20 long, the gate needs 10 before it.
    fn config(kind: GateKind) -> GateConfig {
        let wire = |line| Wire { line, active_low: false };
        let plan = GatePlan {
            kind,
            rejects: Grade::REJECTED.to_vec(),
            sensor: 100,
            gate: 160,
            part_length: 20,
            lead: 6,
            margin: 4,
            confirm: None,
            open_max: Duration::from_secs(10),
        };
        let tracker = TrackerConfig {
            travel: Travel::Encoder { modulus: 1 << 32 },
            top_speed: 1000,
            slack: 4,
            pitch: Pitch::Random { tolerance: 5 },
            gates: vec![plan],
        };
        assert_eq!(tracker.misfits(), []);
        GateConfig {
            tracker,
            wiring: Wiring {
                chip: "/dev/gpiochip9".into(),
                output_chip: "/dev/gpiochip9".into(),
                travel: TravelWires::Quadrature { a: wire(0), b: wire(1) },
                index: None,
                gates: vec![GateWires {
                    sensor: wire(2),
                    output: wire(3),
                    confirm: None,
                    off_rejects: kind == GateKind::EnergiseToPass,
                }],
                stop: Some(wire(4)),
                ready: Some(wire(5)),
                debounce: Duration::ZERO,
            },
            names: vec!["scrap".into()],
            mm_per_count: 1.0,
        }
    }

    /// A gate on the bench: a belt whose encoder is turned by hand.
    struct Bench {
        gate: GateThread,
        written: Written,
        is_broken: Arc<AtomicBool>,
        said: Receiver<LineInput>,
        at: Nanos,
        /// Levels of A and B.
        phase: usize,
    }

    impl Bench {
        fn new(kind: GateKind) -> Self {
            let (line, said) = bounded("line", 1000, WhenFull::DropNewest);
            let (written, is_broken): (Written, Arc<AtomicBool>) = Default::default();
            let board = Board {
                written: Arc::clone(&written),
                is_broken: Arc::clone(&is_broken),
            };
            let mut bench = Self {
                gate: GateThread::new(&config(kind), Box::new(board), line, Arc::default()),
                written,
                is_broken,
                said,
                at: Nanos::from_millis(1000),
                phase: 0,
            };
            bench.gate.begin(&[], bench.at);
            // What lay before the gate at the start has gone by.
            bench.go(200);
            bench
        }

        /// The belt goes on by so many counts, one a millisecond.
        fn go(&mut self, counts: usize) {
            const FORWARD: [(Input, bool); 4] = [
                (Input::EncoderA, true),
                (Input::EncoderB, true),
                (Input::EncoderA, false),
                (Input::EncoderB, false),
            ];
            for _ in 0..counts {
                self.at = self.at + Duration::from_millis(1);
                let (input, on) = FORWARD[self.phase];
                self.phase = (self.phase + 1) % 4;
                self.edge(input, on);
            }
        }

        fn edge(&mut self, input: Input, on: bool) {
            let at = self.at;
            self.hear(GateInput::Edges(vec![Edge::Is { at, input, on }]));
        }

        fn hear(&mut self, input: GateInput) {
            self.gate.hear(input, self.at);
        }

        fn part(&mut self, cycle_id: u32, grade: Option<Grade>) {
            let id = id(cycle_id);
            self.hear(GateInput::Triggered(id, self.at));
            if let Some(grade) = grade {
                self.hear(GateInput::Decided(id, grade));
            }
        }

        /// A part is at the sensor, as long as it is.
        fn at_sensor(&mut self) {
            self.edge(Input::Sensor(0), true);
            self.go(20);
            self.edge(Input::Sensor(0), false);
        }

        fn is_on(&self) -> bool {
            self.gate.set.contains(&(Output::Gate(0), true))
        }

        fn events(&self) -> Vec<GateEvent> {
            std::iter::from_fn(|| self.said.try_receive())
                .filter_map(|input| match input {
                    LineInput::Gate(event) => Some(event),
                    _ => None,
                })
                .collect()
        }
    }

    fn id(cycle_id: u32) -> PartId {
        let cycle_id = CycleId::new(cycle_id).unwrap();
        PartId { plc_session: 3, cycle_id }
    }

    fn fate(cycle_id: u32, fate: Fate) -> GateEvent {
        let id = id(cycle_id);
        let gate = Some(0);
        GateEvent::Report(Report::Fate { id, fate, gate })
    }

    #[test]
    fn the_gate_opens_for_a_good_part_only_and_says_for_which() {
        let mut bench = Bench::new(GateKind::EnergiseToPass);
        for (cycle_id, grade, opens) in [(1, Some(Grade::Ok), true), (2, Some(Grade::Critical), false), (3, None, false)] {
            bench.part(cycle_id, grade);
            bench.go(100);
            bench.at_sensor();
            assert!(!bench.is_on());
            bench.go(30);
            assert_eq!(bench.is_on(), opens, "10 counts before it: {cycle_id}");
            bench.go(32);
            assert!(!bench.is_on(), "behind it: {cycle_id}");
            bench.go(100);
        }
        let events = bench.events();
        let expected = [
            GateEvent::ActsOn(CycleId::new(1)),
            fate(1, Fate::Passed),
            GateEvent::ActsOn(None),
            fate(2, Fate::Rejected(RejectCause::Graded(Grade::Critical))),
            fate(3, Fate::Rejected(RejectCause::Undecided)),
        ];
        assert_eq!(events, expected);
    }

    #[test]
    fn a_trigger_that_is_told_late_is_where_the_belt_was() {
        let mut bench = Bench::new(GateKind::EnergiseToPass);
        let at = bench.at;
        bench.go(30);
        bench.hear(GateInput::Triggered(id(1), at));
        bench.hear(GateInput::Decided(id(1), Grade::Ok));
        bench.go(70);
        bench.at_sensor();
        bench.go(80);
        assert!(bench.events().contains(&fate(1, Fate::Passed)));
        bench.hear(GateInput::Triggered(id(2), Nanos::from_millis(1)));
        let nobody_knows = Report::Fate {
            id: id(2),
            fate: Fate::Rejected(RejectCause::NoPosition),
            gate: None,
        };
        assert_eq!(bench.events(), [GateEvent::Report(nobody_knows)]);
    }

    #[test]
    fn lost_edges_a_new_session_and_a_full_channel_reject_what_is_on_the_belt() {
        for trouble in 0..3 {
            let mut bench = Bench::new(GateKind::EnergiseToPass);
            bench.part(1, Some(Grade::Ok));
            bench.go(60);
            match trouble {
                0 => bench.hear(GateInput::Edges(vec![Edge::Lost])),
                1 => bench.hear(GateInput::SessionChanged),
                _ => bench.gate.overrun.store(true, Ordering::Release),
            }
            bench.go(40);
            bench.at_sensor();
            bench.go(200);
            let opened = bench.written.lock().unwrap().contains(&(Output::Gate(0), true));
            assert!(!opened, "trouble {trouble}");
        }
    }

    #[test]
    fn a_board_that_breaks_is_told_once_and_everything_is_made_safe() {
        let mut bench = Bench::new(GateKind::EnergiseToReject);
        bench.is_broken.store(true, Ordering::Relaxed);
        bench.hear(GateInput::Lamps { stop: false, ready: true });
        assert!(bench.events().contains(&GateEvent::Failing(true)));
        bench.is_broken.store(false, Ordering::Relaxed);
        bench.written.lock().unwrap().clear();
        bench.go(10);
        assert!(bench.events().iter().all(|event| *event != GateEvent::Failing(true)));
        assert_eq!(*bench.written.lock().unwrap(), [], "nothing moves any more");
    }

    #[test]
    fn inputs_that_fail_leave_outputs_that_reject() {
        for kind in [GateKind::EnergiseToPass, GateKind::EnergiseToReject] {
            let mut bench = Bench::new(kind);
            bench.hear(GateInput::Lamps { stop: false, ready: true });
            bench.written.lock().unwrap().clear();
            bench.hear(GateInput::Failed(GpioError::Read {
                chip: "/dev/gpiochip9".into(),
                reason: "no such device".into(),
            }));
            let rejects = kind == GateKind::EnergiseToReject;
            let safe = [(Output::Gate(0), rejects), (Output::Stop, true), (Output::Ready, false)];
            assert_eq!(*bench.written.lock().unwrap(), safe);
        }
    }

    #[test]
    fn stop_and_ready_are_lamps() {
        let mut bench = Bench::new(GateKind::EnergiseToPass);
        bench.hear(GateInput::Lamps { stop: false, ready: true });
        bench.hear(GateInput::Lamps { stop: true, ready: false });
        let lamps: Vec<_> = bench.written.lock().unwrap().clone();
        let expected = [
            (Output::Stop, false),
            (Output::Ready, true),
            (Output::Stop, true),
            (Output::Ready, false),
        ];
        assert_eq!(lamps, expected);
    }
}
