//! The gate on the bench: a played board, and a belt whose encoder is turned by hand.

use std::sync::Mutex;
use std::sync::mpsc;

use super::board_thread::BoardThread;
use super::*;
use crate::gate::board::Inputs;
use crate::gate::config::{GateKind, GatePlan, Pitch, TrackerConfig, Travel};
use crate::gate::wiring::{GateWires, Wire};
use crate::line::event::Sequence;
use crate::line::image::{PlcImage, StationImage};
use crate::part::{PartRecord, Verdict};

/// What every output was set to, in order.
type Written = Arc<Mutex<Vec<(Output, bool)>>>;

struct PlayedOutputs {
    written: Written,
    is_broken: Arc<AtomicBool>,
}

impl Outputs for PlayedOutputs {
    fn set(&mut self, output: Output, on: bool) -> Result<(), GpioError> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(gone());
        }
        self.written.lock().unwrap().push((output, on));
        Ok(())
    }
}

fn gone() -> GpioError {
    GpioError::Read {
        chip: "/dev/gpiochip9".into(),
        reason: "no such device".into(),
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
        let outputs = PlayedOutputs {
            written: Arc::clone(&written),
            is_broken: Arc::clone(&is_broken),
        };
        let mut bench = Self {
            gate: GateThread::new(&config(kind), Box::new(outputs), line),
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
        bench.hear(GateInput::Failed(Some(gone())));
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

/// The board comes back, with everything off.
fn back(bench: &mut Bench) {
    bench.phase = 0;
    bench.hear(GateInput::Back {
        levels: Vec::new(),
        outputs: Box::new(PlayedOutputs {
            written: Arc::clone(&bench.written),
            is_broken: Arc::clone(&bench.is_broken),
        }),
    });
}

#[test]
fn a_board_that_is_back_moves_the_gate_again_but_for_nothing_of_before() {
    let mut bench = Bench::new(GateKind::EnergiseToPass);
    bench.hear(GateInput::Lamps { stop: false, ready: true });
    // One between trigger and sensor, one between sensor and gate, both good.
    bench.part(1, Some(Grade::Ok));
    bench.go(60);
    bench.part(2, Some(Grade::Ok));
    bench.go(40);
    bench.at_sensor();
    bench.hear(GateInput::Failed(Some(gone())));
    // One that was triggered before the PLC heard of it.
    bench.part(3, Some(Grade::Ok));
    let expected = [
        GateEvent::Failing(true),
        GateEvent::Report(Report::Fate {
            id: id(1),
            fate: Fate::Rejected(RejectCause::EncoderJump),
            gate: None,
        }),
        GateEvent::Report(Report::Fate {
            id: id(2),
            fate: Fate::Rejected(RejectCause::EncoderJump),
            gate: None,
        }),
        GateEvent::Report(Report::Fate {
            id: id(3),
            fate: Fate::Rejected(RejectCause::BoardFailed),
            gate: None,
        }),
    ];
    assert_eq!(bench.events(), expected, "every part has its fate, and nothing blames the encoder");

    bench.written.lock().unwrap().clear();
    back(&mut bench);
    assert_eq!(bench.events(), [GateEvent::Failing(false)]);
    assert_eq!(
        *bench.written.lock().unwrap(),
        [(Output::Stop, false), (Output::Ready, true)],
        "lamps as they were said last"
    );
    // What stood before the gate goes by, and one whose trigger nobody heard.
    bench.go(20);
    bench.at_sensor();
    bench.go(100);
    assert!(!bench.written.lock().unwrap().contains(&(Output::Gate(0), true)));
    assert_eq!(bench.events(), [GateEvent::Report(Report::Untracked { gate: 0 })]);
    bench.part(4, Some(Grade::Ok));
    bench.go(100);
    bench.at_sensor();
    bench.go(100);
    assert!(bench.events().contains(&fate(4, Fate::Passed)));
}

#[test]
fn a_board_may_fail_and_come_back_more_than_once() {
    let mut bench = Bench::new(GateKind::EnergiseToPass);
    for cycle_id in 1..4 {
        bench.is_broken.store(true, Ordering::Relaxed);
        let ready = cycle_id % 2 == 1;
        bench.hear(GateInput::Lamps { stop: !ready, ready });
        bench.hear(GateInput::Failed(Some(gone())));
        assert_eq!(bench.events(), [GateEvent::Failing(true)], "told once");
        bench.is_broken.store(false, Ordering::Relaxed);
        back(&mut bench);
        bench.go(100);
        bench.part(cycle_id, Some(Grade::Ok));
        bench.go(100);
        bench.at_sensor();
        bench.go(100);
        assert!(bench.events().contains(&fate(cycle_id, Fate::Passed)));
    }
}

/// Inputs that do what the test says, until it says no more: then they fail.
struct PlayedInputs(mpsc::Receiver<Vec<Edge>>);

impl Inputs for PlayedInputs {
    fn wait(&mut self, timeout: Duration) -> Result<Vec<Edge>, GpioError> {
        match self.0.recv_timeout(timeout) {
            Ok(edges) => Ok(edges),
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(Vec::new()),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }
}

/// A board that opens as often as there is something to open, and fails in between.
struct PlayedBoard {
    opens: mpsc::Receiver<Option<PlayedInputs>>,
}

impl Board for PlayedBoard {
    fn open(&mut self) -> Result<Opened, GpioError> {
        let inputs = self.opens.try_recv().ok().flatten().ok_or_else(gone)?;
        Ok(Opened {
            inputs: Box::new(inputs),
            levels: vec![(Input::Sensor(0), true)],
            outputs: Box::new(PlayedOutputs {
                written: Arc::default(),
                is_broken: Arc::default(),
            }),
        })
    }
}

#[test]
fn a_board_that_failed_is_opened_until_it_opens() {
    let (gate, hears) = bounded("gate", 1, WhenFull::DropNewest);
    let (opens, board) = mpsc::channel();
    let (edges, inputs) = mpsc::channel();
    let (stop, outputs_failed) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
    let thread = BoardThread {
        board: Box::new(PlayedBoard { opens: board }),
        gate,
        overrun: Arc::default(),
        outputs_failed: Arc::clone(&outputs_failed),
        stop: stop.clone(),
    };
    let thread = std::thread::spawn(move || thread.run(Box::new(PlayedInputs(inputs))));
    let edge = Edge::Is {
        at: Nanos(1),
        input: Input::EncoderA,
        on: true,
    };
    edges.send(vec![edge]).unwrap();
    assert!(matches!(hears.receive(), Some(GateInput::Edges(told)) if told == [edge]));

    // The first attempt fails, as that to a chip that is not back yet. There is room for one: what the gate must hear waits for it.
    drop(edges);
    let (edges, inputs) = mpsc::channel();
    opens.send(None).unwrap();
    opens.send(Some(PlayedInputs(inputs))).unwrap();
    assert!(matches!(hears.receive(), Some(GateInput::Failed(Some(_)))));
    assert!(matches!(hears.receive(), Some(GateInput::Back { levels, .. }) if levels == [(Input::Sensor(0), true)]));
    edges.send(vec![edge]).unwrap();
    assert!(matches!(hears.receive(), Some(GateInput::Edges(_))));

    // Outputs that fail have the inputs opened anew too.
    let (_edges, inputs) = mpsc::channel();
    opens.send(Some(PlayedInputs(inputs))).unwrap();
    outputs_failed.store(true, Ordering::Release);
    assert!(matches!(hears.receive(), Some(GateInput::Failed(None))));
    assert!(matches!(hears.receive(), Some(GateInput::Back { .. })));
    stop.cancel();
    thread.join().unwrap();
    assert!(matches!(hears.receive(), Some(GateInput::Stop)));
}

#[test]
fn outputs_that_fail_are_told_to_whoever_opens_the_board_anew() {
    let mut bench = Bench::new(GateKind::EnergiseToPass);
    bench.is_broken.store(true, Ordering::Relaxed);
    bench.hear(GateInput::Lamps { stop: false, ready: true });
    assert!(bench.gate.outputs_failed.load(Ordering::Relaxed));
}

/// A part of which everything is well: record and image that show it.
fn shown(cycle_id: u32) -> (PartRecord, StationImage) {
    let text = format!(
        r#"{{"station":"a","epoch":1,"sequence":1,"cycle_id":{cycle_id},"plc_session":3,"boot_id":1,"acquisition_id":1,"result_id":{cycle_id},"encoder":0,
            "serial":"","recipe":1,"config_checksum":1,"verdict":"ok","reason":null,"measured":null,"test_part":false,
            "recovered":false,"late_findings":false,"triggered_unix_ns":0,"triggered_ns":1,"deadline_ns":0,"shown_ns":0,
            "stages":{{"frame_us":0,"queue_us":0,"preprocess_us":0,"infer_us":0,"postprocess_us":0,"total_us":0}},"views":[]}}"#
    );
    let record: PartRecord = serde_json::from_str(&text).unwrap();
    let image = StationImage {
        accept: true,
        result_valid: true,
        result_id: cycle_id,
        echo_cycle_id: cycle_id,
        echo_plc_session: 3,
        verdict: Some(Verdict::Ok),
        ..StationImage::default()
    };
    (record, image)
}

/// Whether the gate passes a good part of which this is told.
fn passes(is_on_its_way: bool, has_it: Option<bool>) -> bool {
    let mut bench = Bench::new(GateKind::EnergiseToPass);
    let (into, told) = bounded("gate", 10, WhenFull::DropNewest);
    let mut link = GateLink::new(into, Arc::default(), false);
    let (record, image) = shown(1);
    bench.part(1, None);
    link.shown(std::slice::from_ref(&record), &image, |_| is_on_its_way);
    if let Some(has_it) = has_it {
        link.delivered(&record, has_it);
    }
    while let Some(input) = told.try_receive() {
        bench.hear(input);
    }
    bench.go(100);
    bench.at_sensor();
    bench.go(100);
    bench.events().contains(&fate(1, Fate::Passed))
}

#[test]
fn an_ok_that_is_written_to_the_plc_counts_once_the_plc_has_it() {
    assert!(passes(false, None), "the PLC reads");
    assert!(!passes(true, None), "nothing is known of it");
    assert!(!passes(true, Some(false)), "late, or not confirmed");
    assert!(passes(true, Some(true)), "confirmed");
}

#[test]
fn a_trigger_that_the_plc_took_too_long_to_tell_of_has_no_place_and_its_part_is_rejected() {
    let mut bench = Bench::new(GateKind::EnergiseToPass);
    let (into, told) = bounded("gate", 10, WhenFull::DropNewest);
    let link = GateLink::new(into, Arc::default(), false).with_trigger_age_max(Some(Duration::ZERO));
    let opened = |cycle_id, triggered_at| crate::line::event::Opened {
        part: Sequence(u64::from(cycle_id)),
        cycle_id: CycleId::new(cycle_id),
        plc_session: 3,
        boot_id: 1,
        acquisition_id: cycle_id,
        encoder: 0,
        serial: [0; 32],
        recipe: 1,
        recipe_asked: 0,
        tags: Vec::new(),
        test_part: false,
        owns_id: true,
        triggered_at,
        config_checksum: 0,
    };
    // At the start of the clock, and at its end.
    link.opened(&[opened(1, Nanos(0)), opened(2, Nanos(u64::MAX))]);
    assert!(matches!(told.try_receive(), Some(GateInput::Unplaced(part)) if part == id(1)));
    assert!(matches!(told.try_receive(), Some(GateInput::Triggered(part, _)) if part == id(2)));
    bench.hear(GateInput::Unplaced(id(1)));
    let nobody_knows = Report::Fate {
        id: id(1),
        fate: Fate::Rejected(RejectCause::NoPosition),
        gate: None,
    };
    assert_eq!(bench.events(), [GateEvent::Report(nobody_knows)]);
}

/// What a gate over the PLC's registers says of a good part, if the PLC writes every `step` counts and counts so many parts when it comes.
fn over_plc(step: u32, parts_at_once: u16) -> Vec<GateEvent> {
    let mut config = config(GateKind::EnergiseToPass);
    config.wiring.travel = TravelWires::Plc;
    config.wiring.gates.clear();
    let (line, said) = bounded("line", 1000, WhenFull::DropNewest);
    let (into, told) = bounded("gate", 10, WhenFull::DropNewest);
    let mut link = GateLink::new(into, Arc::default(), true);
    let Opened { outputs, .. } = PlcBoard.open().unwrap();
    let mut gate = GateThread::new(&config, outputs, line);
    // The encoder wraps on the way.
    let (first, trigger) = (u32::MAX - 250, u32::MAX - 50);
    gate.begin(&[], Nanos::from_millis(1000));
    for count in (0..500).step_by(step as usize) {
        let encoder = first.wrapping_add(count);
        let at = Nanos::from_millis(1000 + u64::from(count));
        if encoder == trigger {
            gate.hear(GateInput::TriggeredAt(id(1), trigger), at);
            gate.hear(GateInput::Decided(id(1), Grade::Ok), at);
        }
        let came = count >= 300;
        link.heard(&PlcImage {
            counted: Counted {
                encoder,
                parts: if came { 7 + parts_at_once } else { 7 },
                part_encoder: if came { trigger.wrapping_add(99) } else { 0 },
                ejections: 0,
            },
            ..PlcImage::default()
        });
        while let Some(input) = told.try_receive() {
            gate.hear(input, at);
        }
    }
    let events = std::iter::from_fn(|| said.try_receive());
    let gate_events = events.filter_map(|input| match input {
        LineInput::Gate(event) => Some(event),
        _ => None,
    });
    gate_events.collect()
}

#[test]
fn over_the_registers_of_the_plc_a_good_part_passes() {
    let passed = [GateEvent::ActsOn(CycleId::new(1)), fate(1, Fate::Passed), GateEvent::ActsOn(None)];
    assert_eq!(over_plc(2, 1), passed);
}

#[test]
fn over_the_registers_of_the_plc_what_is_not_known_in_time_does_not_pass() {
    let overrun = fate(1, Fate::Rejected(RejectCause::Overrun));
    assert_eq!(
        over_plc(20, 1),
        [overrun],
        "the belt goes further from reading to reading than the margin keeps"
    );
    let lost = over_plc(2, 2);
    assert!(lost.contains(&GateEvent::Report(Report::EncoderJump { step: 0 })), "{lost:?}");
    let opens = |event: &GateEvent| {
        matches!(
            event,
            GateEvent::ActsOn(Some(_)) | GateEvent::Report(Report::Fate { fate: Fate::Passed, .. })
        )
    };
    assert!(!lost.iter().any(opens), "{lost:?}");
}
