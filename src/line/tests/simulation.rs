//! A line in virtual time: a PLC program that does all it should and much it should not, parts, cameras, engines, deaths of the station. The
//! same seed gives the same run, bit by bit; the oracle watches.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::Sabotage;
use super::super::commands::Command;
use super::super::event::{Event, InspectionIndex, Sequence};
use super::super::history::{Fingerprint, UsedCycle};
use super::super::image::{Counts, StationMode, control};
use super::oracle::{Oracle, Truth, Unknown};
use super::*;
use crate::part::CycleId;

/// One run.
#[derive(Debug, Clone, Copy)]
struct Plan {
    seed: u64,
    source: TriggerSource,
    mode: ResultMode,
    /// Whether results wait until they are acknowledged.
    buffered: bool,
    /// Whether everything goes wrong now and then.
    is_nasty: bool,
    parts: usize,
    sabotage: Option<Sabotage>,
}

/// What came of it.
#[derive(Debug, PartialEq)]
struct Outcomes {
    digest: u64,
    triggered: usize,
    oks: usize,
    passes: usize,
    starts: u16,
    reasons: BTreeMap<&'static str, usize>,
    broken: Vec<String>,
}

/// What happens at a time.
#[derive(Debug)]
enum What {
    Scan,
    /// Of this part, or of whatever is in view.
    Expose {
        part: Option<u64>,
    },
    FreeRun,
    Tell {
        life: u16,
        event: Event,
    },
    Reconnect,
}

/// Parts, triggers and frames as they really are.
#[derive(Default)]
struct World {
    triggers: BTreeMap<Nanos, u64>,
    frames: HashMap<FrameId, u64>,
    /// When a frame was exposed, where that says what it shows: the part in view.
    exposed: HashMap<FrameId, Nanos>,
    /// The camera runs by itself: in view is the part nearest to the exposure, else the one that was triggered last.
    runs_free: bool,
}

impl Truth for World {
    fn part_of_trigger(&self, edge: Nanos) -> Option<u64> {
        self.triggers.get(&edge).copied()
    }

    fn part_in_frame(&self, frame: FrameId) -> Option<u64> {
        if let Some(part) = self.frames.get(&frame) {
            return Some(*part);
        }
        let at = *self.exposed.get(&frame)?;
        let before = self.triggers.range(..=at).next_back();
        let after = self.triggers.range(at..).next().filter(|_| self.runs_free);
        let nearest = before.into_iter().chain(after).min_by_key(|(edge, _)| edge.apart(at));
        nearest.map(|(_, part)| *part)
    }

    fn is_good(&self, part: u64) -> bool {
        !part.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17).is_multiple_of(10)
    }
}

/// The PLC program.
#[derive(Default)]
struct Program {
    image: PlcImage,
    part: u64,
    step: Step,
    next_part_at: Nanos,
    is_connected: bool,
    silent_until: Nanos,
    scans: u64,
    ack_scans: u32,
    repeats: bool,
    is_done: bool,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Step {
    #[default]
    Idle,
    Written,
    Triggered(Nanos),
}

/// What a black box would know.
#[derive(Default)]
struct BlackBox {
    open: BTreeMap<u64, Opened>,
    counts: Counts,
    /// With the sequence of the part.
    history: Vec<(u64, UsedCycle)>,
}

struct Simulation {
    plan: Plan,
    config: LineConfig,
    rng: ChaCha8Rng,
    line: Line,
    /// The clock of the line thread: it may lag behind what happens.
    clock: Nanos,
    queue: BTreeMap<(Nanos, u64), What>,
    order: u64,
    shown: Vec<(Nanos, StationImage)>,
    plc: Program,
    world: World,
    black_box: BlackBox,
    memory: Memory,
    oracle: Oracle,
    next_frame: u64,
    counter: u64,
    parts_made: u64,
    digest: u64,
}

impl Simulation {
    fn new(plan: Plan) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let config = LineConfig {
            accept_hold: ms(300),
            ..config(plan.source, plan.mode)
        };
        let near = |rng: &mut ChaCha8Rng| u32::MAX - rng.random_range(0..200);
        let (acquisition, result) = (near(&mut rng), near(&mut rng));
        let memory = Memory {
            next_acquisition: acquisition,
            next_result: result,
            acquisition_below: acquisition.wrapping_add(BLOCK),
            result_below: result.wrapping_add(BLOCK),
            ..memory()
        };
        let now = Nanos::from_millis(START_MS);
        let mut line = Line::new(config.clone(), memory.clone(), now);
        line.sabotage = plan.sabotage;
        let mut plc = Program::default();
        plc.image.plc_session = 3;
        plc.image.heartbeat = u16::MAX - 20;
        plc.image.cycle_id = CycleId::LAST.get() - rng.random_range(0..200);
        Self {
            oracle: Oracle::new(config.clone(), 3, 1),
            plan,
            config,
            rng,
            line,
            clock: now,
            queue: BTreeMap::new(),
            order: 0,
            shown: Vec::new(),
            plc,
            world: World {
                runs_free: matches!(plan.source, TriggerSource::FreeRun { .. }),
                ..World::default()
            },
            black_box: BlackBox::default(),
            memory,
            next_frame: 0,
            counter: 0,
            parts_made: 0,
            digest: 0xcbf2_9ce4_8422_2325,
        }
    }

    fn run(plan: Plan) -> Outcomes {
        let mut simulation = Self::new(plan);
        simulation.at(simulation.clock, What::Reconnect);
        simulation.at(simulation.clock, What::Scan);
        if matches!(plan.source, TriggerSource::FreeRun { .. }) {
            simulation.at(simulation.clock, What::FreeRun);
        }
        simulation.tell(simulation.clock, Event::ModelsReady(true));
        while (simulation.plc.part as usize) < plan.parts && simulation.oracle.broken.is_empty() {
            simulation.step();
            assert!(
                simulation.order < 100_000 + 2000 * plan.parts as u64,
                "it does not get on: {:?}",
                simulation.line.image()
            );
        }
        simulation.drain();
        let oracle = simulation.oracle;
        Outcomes {
            digest: simulation.digest,
            triggered: oracle.triggered,
            oks: oracle.oks,
            passes: oracle.passes,
            starts: simulation.memory.boot_id,
            reasons: oracle.reasons,
            broken: oracle.broken,
        }
    }

    /// No part comes any more, and nothing goes wrong: every outcome is due.
    fn drain(&mut self) {
        self.plan.is_nasty = false;
        self.plc.is_done = true;
        let end = self.clock + ms(3000);
        while self.queue.first_key_value().is_some_and(|((at, _), _)| *at < end) && self.oracle.broken.is_empty() {
            self.step();
        }
        if self.oracle.broken.is_empty() {
            self.oracle.finish();
        }
    }

    fn at(&mut self, at: Nanos, what: What) {
        self.order += 1;
        self.queue.insert((at, self.order), what);
    }

    fn chance(&mut self, per_mille: u32) -> bool {
        self.plan.is_nasty && self.rng.random_range(0..1000) < per_mille
    }

    fn micros(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(self.rng.random_range(from..to))
    }

    fn step(&mut self) {
        let wake = self.line.wake_at(self.clock).max(self.clock);
        if self.queue.first_key_value().is_some_and(|((at, _), _)| wake < *at) {
            self.tell(wake, Event::Tick);
            let asleep = self.plan.sabotage.is_some() || self.line.wake_at(self.clock) > wake;
            assert!(asleep, "the line never sleeps");
            return;
        }
        let Some(((at, _), what)) = self.queue.pop_first() else { return };
        match what {
            What::Scan => self.scan(at),
            What::Expose { part } => self.expose(at, part),
            What::FreeRun => self.free_run(at),
            What::Tell { life, event } if life == self.memory.boot_id => self.tell(at, event),
            What::Tell { .. } => {}
            What::Reconnect => {
                self.plc.is_connected = true;
                self.tell(at, Event::PlcConnected);
                self.write(at);
            }
        }
    }

    // ---- the station ----

    /// The line thread is told what happened, and carries out what it says.
    fn tell(&mut self, at: Nanos, event: Event) {
        self.clock = self.clock.max(at);
        if self.chance(2) {
            self.clock = self.clock + self.stall();
        }
        self.oracle.event(self.clock, &event);
        self.line.advance(self.clock, event);
        let pause = self.micros(1, 200);
        self.clock = self.clock + pause;
        let commit = self.line.commit(self.clock);
        let dies = self.chance(1);
        let image = self.line.image().clone();
        let is_shown = !dies;
        self.keep(&commit);
        self.oracle.commit(self.clock, &commit, &image, &self.world, is_shown);
        self.digest_of(&commit, &image);
        if dies {
            return self.restart();
        }
        if commit.image_changed {
            self.shown.push((self.clock, image));
        }
        if matches!(self.plan.source, TriggerSource::Plc { .. }) {
            for opened in commit.opened.iter().filter(|opened| opened.acquisition_id != 0) {
                let delay = self.micros(500, 4000);
                let at = opened.triggered_at.max(self.clock) + delay;
                self.at(at, What::Expose { part: None });
            }
        }
        for job in commit.jobs {
            self.judge(job);
        }
        if let Some(command) = commit.command {
            let (life, time) = (self.memory.boot_id, self.micros(1_000, 50_000));
            // A test run that fails stops the line until somebody looks; not here.
            let succeeded = command == Command::TestRun || !self.chance(300);
            let event = Event::CommandFinished { command, succeeded };
            self.at(self.clock + time, What::Tell { life, event });
        }
        if self.line.ids_left() < BLOCK / 2 {
            self.memory.acquisition_below = self.memory.acquisition_below.wrapping_add(BLOCK);
            self.memory.result_below = self.memory.result_below.wrapping_add(BLOCK);
            let event = Event::IdsGranted {
                acquisition_below: self.memory.acquisition_below,
                result_below: self.memory.result_below,
            };
            self.at(
                self.clock,
                What::Tell {
                    life: self.memory.boot_id,
                    event,
                },
            );
        }
    }

    /// How long the line thread does not run.
    fn stall(&mut self) -> Duration {
        let longest = if self.rng.random_bool(0.1) { 2_000_000 } else { 150_000 };
        self.micros(5_000, longest)
    }

    fn judge(&mut self, job: Job) {
        if self.chance(5) {
            return;
        }
        let time = if self.chance(60) {
            self.micros(50_000, 400_000)
        } else {
            self.micros(1_000, 30_000)
        };
        let shown = self.world.part_in_frame(job.frame);
        let outcome = match shown {
            Some(part) if self.world.is_good(part) => Outcome::OK,
            _ => NOT_OK,
        };
        let (part, inspection): (Sequence, InspectionIndex) = (job.part, job.inspection);
        let inspected = inspected(outcome);
        let event = Event::Inspected {
            part,
            inspection,
            inspected,
        };
        self.at(
            self.clock + time,
            What::Tell {
                life: self.memory.boot_id,
                event,
            },
        );
    }

    fn keep(&mut self, commit: &Commit) {
        for opened in &commit.opened {
            self.black_box.open.insert(opened.part.0, opened.clone());
        }
        for record in commit.decided.iter().filter(|record| !record.late_findings) {
            let opened = self.black_box.open.remove(&record.sequence);
            self.black_box.count(record.test_part, record.verdict, record.reason);
            self.memory.next_sequence = self.memory.next_sequence.max(record.sequence + 1);
            if let Some(opened) = opened {
                self.black_box.remember(&opened, record.reason);
            }
        }
        self.black_box.counts.duplicate = self.line.image().counts.duplicate;
    }

    /// kill -9, and a new start from the black box.
    fn restart(&mut self) {
        let open = std::mem::take(&mut self.black_box.open);
        let mut recovered = Vec::new();
        for (sequence, opened) in open {
            let record = self.line.record(&opened, undecided(Reason::Restart), self.clock);
            self.black_box.count(record.test_part, record.verdict, record.reason);
            self.black_box.remember(&opened, record.reason);
            self.memory.next_sequence = self.memory.next_sequence.max(sequence + 1);
            recovered.push(record);
        }
        self.memory.boot_id += 1;
        self.memory.next_acquisition = self.memory.acquisition_below;
        self.memory.next_result = self.memory.result_below;
        self.memory.acquisition_below = self.memory.acquisition_below.wrapping_add(BLOCK);
        self.memory.result_below = self.memory.result_below.wrapping_add(BLOCK);
        let memory = Memory {
            counts: self.black_box.counts,
            history: self.black_box.history(),
            plc_session: self.line.image().echo_plc_session,
            ..self.memory.clone()
        };
        self.oracle.restart(&recovered, self.memory.next_sequence);
        let down = self.micros(20_000, 400_000);
        self.clock = self.clock + down;
        self.line = Line::new(self.config.clone(), memory, self.clock);
        self.line.sabotage = self.plan.sabotage;
        self.shown = vec![(self.clock, self.line.image().clone())];
        self.plc.is_connected = false;
        let skipped = self.rng.random_range(0..3);
        (0..skipped).for_each(|_| self.plc.image.cycle_id = next_id(self.plc.image.cycle_id));
        self.at(self.clock, What::Reconnect);
        let event = Event::ModelsReady(true);
        self.at(
            self.clock + down,
            What::Tell {
                life: self.memory.boot_id,
                event,
            },
        );
    }

    fn digest_of(&mut self, commit: &Commit, image: &StationImage) {
        let slots = image.window.iter().fold(0, |sum: u64, slot| {
            sum.wrapping_mul(31)
                .wrapping_add(u64::from(slot.result_id) * 4 + u64::from(slot.verdict))
        });
        let flags = [
            image.trigger_ready,
            image.trigger_ack,
            image.missed_trigger,
            image.accept,
            image.result_valid,
            image.busy,
        ];
        let flags = flags.iter().fold(0, |sum: u64, flag| sum * 2 + u64::from(*flag));
        let records = commit
            .decided
            .iter()
            .map(|record| record.sequence * 64 + record.reason.map_or(0, |reason| u64::from(reason.code())));
        let numbers = [
            self.clock.0,
            slots,
            flags,
            u64::from(image.error_code),
            u64::from(image.echo_trigger_id),
        ];
        for number in numbers.into_iter().chain(records) {
            self.digest = (self.digest ^ number).wrapping_mul(0x0100_0000_01b3);
        }
    }

    // ---- cameras ----

    /// An exposure, and how its frame travels.
    fn expose(&mut self, at: Nanos, part: Option<u64>) {
        if self.chance(10) {
            return; // the camera missed its trigger: not even a number
        }
        let frame = self.new_frame();
        self.see(at, frame, part);
        self.deliver(at, frame);
        if self.chance(10) {
            // The camera's trigger bounced: it is exposed once more.
            let again = self.new_frame();
            let later = at + self.micros(300, 1500);
            self.see(later, again, part);
            self.deliver(later, again);
        }
    }

    fn see(&mut self, at: Nanos, frame: FrameId, part: Option<u64>) {
        match part {
            Some(part) => drop(self.world.frames.insert(frame, part)),
            None => drop(self.world.exposed.insert(frame, at)),
        }
    }

    fn free_run(&mut self, at: Nanos) {
        let frame = self.new_frame();
        self.see(at, frame, None);
        self.deliver(at, frame);
        self.at(at + ms(10), What::FreeRun);
    }

    fn new_frame(&mut self) -> FrameId {
        self.next_frame += 1;
        FrameId(self.next_frame)
    }

    fn deliver(&mut self, exposed_at: Nanos, frame: FrameId) {
        self.counter += 1;
        if self.chance(10) {
            return; // lost on the way
        }
        let transfer = if self.chance(20) {
            self.micros(20_000, 150_000)
        } else {
            self.micros(1_000, 4_000)
        };
        let event = Event::Frame {
            camera: 0,
            frame,
            counter: Some(self.counter),
            exposed_at,
        };
        let life = self.memory.boot_id;
        if self.chance(10) {
            // The same frame twice, under another number of the station's.
            let again = self.new_frame();
            match self.world.frames.get(&frame).copied() {
                Some(part) => drop(self.world.frames.insert(again, part)),
                None => drop(self.world.exposed.insert(again, exposed_at)),
            }
            let event = Event::Frame {
                camera: 0,
                frame: again,
                counter: Some(self.counter),
                exposed_at,
            };
            self.at(exposed_at + transfer + ms(3), What::Tell { life, event });
        }
        self.at(exposed_at + transfer, What::Tell { life, event });
        if self.chance(2) {
            let down = Event::CameraDown(0);
            self.at(exposed_at + ms(5), What::Tell { life, event: down });
            let up = Event::CameraUp(0);
            self.at(exposed_at + ms(80), What::Tell { life, event: up });
        }
    }

    // ---- the PLC ----

    fn write(&mut self, at: Nanos) -> Nanos {
        if self.plc.is_connected {
            let image = self.plc.image;
            self.at(
                at,
                What::Tell {
                    life: self.memory.boot_id,
                    event: Event::PlcWrote { at, image, written: ALL },
                },
            );
        }
        at + Duration::from_nanos(1)
    }

    /// What the PLC reads: the image shown at that time.
    fn read(&mut self, at: Nanos) -> Option<StationImage> {
        let newest = self.shown.iter().rposition(|(shown_at, _)| *shown_at <= at)?;
        self.shown.drain(..newest);
        self.plc.is_connected.then(|| self.shown[0].1.clone())
    }

    fn scan(&mut self, at: Nanos) {
        let jitter = self.micros(9_000, 12_000);
        self.at(at + jitter, What::Scan);
        let before = self.plc.image;
        let Some(station) = self.read(at) else { return };
        self.plc.scans += 1;
        if self.plc.scans.is_multiple_of(8) && at >= self.plc.silent_until {
            self.plc.image.heartbeat = self.plc.image.heartbeat.wrapping_add(1);
        }
        self.plc.image.control |= control::ONLINE | control::TRIGGER_ENABLE;
        if self.plan.buffered {
            self.plc.image.control |= control::BUFFER_ENABLE;
        }
        self.command(&station);
        let clears = station.error && !before.is(control::CLEAR_ERROR);
        self.plc.image.control &= !control::CLEAR_ERROR;
        self.plc.image.control |= if clears { control::CLEAR_ERROR } else { 0 };
        if self.plan.is_nasty {
            self.misbehave(at);
        } else {
            self.plc.image.control &= !control::BYPASS;
            self.plc.image.recipe_number = 0;
        }
        self.acknowledge(&station);
        let mut now = at;
        let is_hasty = self.chance(100);
        match self.plc.step {
            Step::Idle if !self.plc.is_done && at >= self.plc.next_part_at && (station.trigger_ready || is_hasty) => self.announce(at),
            Step::Idle => {}
            Step::Written => {
                self.plc.image.control |= control::TRIGGER;
                self.plc.step = Step::Triggered(at);
                now = self.edge(now);
                if self.chance(20) {
                    self.plc.image.control &= !control::TRIGGER;
                    now = self.write(now);
                    self.plc.image.control |= control::TRIGGER;
                    self.edge(now);
                }
                return;
            }
            Step::Triggered(since) => {
                if self.plc.image.cycle_id_tail != self.plc.image.cycle_id && !self.chance(300) {
                    self.plc.image.cycle_id_tail = self.plc.image.cycle_id;
                } else if station.trigger_ack || station.missed_trigger || at.since(since) > ms(400) || self.chance(20) {
                    self.plc.image.control &= !control::TRIGGER;
                    self.plc.step = Step::Idle;
                }
            }
        }
        if self.plc.image != before {
            self.write(now);
        }
    }

    /// Trigger rises: the part is there.
    fn edge(&mut self, at: Nanos) -> Nanos {
        let part = self.plc.part;
        self.world.triggers.insert(at, part);
        if matches!(self.plan.source, TriggerSource::Hardware { .. }) && !self.plc.repeats && self.parts_made < part {
            self.parts_made = part;
            let arrival = at + self.micros(3_000, 27_000);
            self.at(arrival, What::Expose { part: Some(part) });
        }
        let smallest = if matches!(self.plan.source, TriggerSource::Plc { .. }) {
            20
        } else {
            62
        };
        self.plc.next_part_at = at + ms(smallest) + self.micros(0, 20_000);
        self.write(at)
    }

    /// Writes the numbers of the next part, or those of the last once more, or wrong ones.
    fn announce(&mut self, at: Nanos) {
        let plc = &mut self.plc;
        plc.step = Step::Written;
        plc.repeats = false;
        if self.plan.is_nasty {
            match self.rng.random_range(0..1000) {
                0..30 => return self.plc.repeats = true,
                // A part that the PLC did not notice.
                30..50 => {
                    self.plc.part += 1;
                    self.plc.step = Step::Idle;
                    self.plc.next_part_at = at + ms(70);
                    self.plc.image.cycle_id = next_id(self.plc.image.cycle_id);
                    self.plc.image.cycle_id_tail = self.plc.image.cycle_id;
                    if matches!(self.plan.source, TriggerSource::Hardware { .. }) {
                        let part = self.plc.part;
                        self.parts_made = part;
                        self.at(at + ms(1), What::Expose { part: Some(part) });
                    }
                    return;
                }
                50..60 => {}
                60..65 => self.plc.image.cycle_id = 0,
                65..68 => (0..5000).for_each(|_| self.plc.image.cycle_id = next_id(self.plc.image.cycle_id)),
                _ => self.plc.image.cycle_id = next_id(self.plc.image.cycle_id),
            }
        } else {
            plc.image.cycle_id = next_id(plc.image.cycle_id);
        }
        self.plc.part += 1;
        self.plc.image.encoder = (self.plc.part as u32).wrapping_mul(1000);
        if !self.chance(30) {
            self.plc.image.cycle_id_tail = self.plc.image.cycle_id;
        }
        if self.chance(30) {
            self.plc.image.control ^= control::TEST_PART;
        }
    }

    fn acknowledge(&mut self, station: &StationImage) {
        if self.plan.mode == ResultMode::Window {
            return;
        }
        if self.plc.image.is(control::RESULT_ACK) {
            self.plc.ack_scans += 1;
            if self.plc.ack_scans > 3 || (!station.result_valid && !self.chance(500)) {
                self.plc.image.control &= !control::RESULT_ACK;
            }
        } else if station.result_valid && self.rng.random_bool(if self.plan.is_nasty { 0.4 } else { 1.0 }) {
            self.plc.ack_scans = 0;
            self.plc.image.ack_result_id = station.result_id.wrapping_add(u32::from(self.chance(100)));
            self.plc.image.control |= control::RESULT_ACK;
        }
    }

    /// Now and then a command; not those that change what the counters count from.
    fn command(&mut self, station: &StationImage) {
        let control = &mut self.plc.image.control;
        if *control & control::EXECUTE_COMMAND == 0 {
            if self.plan.is_nasty && self.rng.random_range(0..1500) == 0 {
                self.plc.image.command = self.rng.random_range(2..7);
                self.plc.image.control |= control::EXECUTE_COMMAND;
            }
        } else if station.command_done || station.command_failed || self.rng.random_range(0..100) == 0 {
            *control &= !control::EXECUTE_COMMAND;
            // Nobody wants to be taught for ever.
            if station.station_mode == StationMode::Teach && !station.busy {
                self.plc.image.command = Command::StopTeach.code();
            }
        }
        if station.station_mode == StationMode::Teach && !station.busy && self.plc.image.control & control::EXECUTE_COMMAND == 0 {
            self.plc.image.command = Command::StopTeach.code();
            self.plc.image.control |= control::EXECUTE_COMMAND;
        }
    }

    /// What PLCs and networks do now and then.
    fn misbehave(&mut self, at: Nanos) {
        if self.rng.random_bool(0.03) {
            self.plc.image.control &= !control::BYPASS;
            self.plc.image.recipe_number = 0;
        }
        match self.rng.random_range(0..8000) {
            0..8 => self.plc.image.control &= !control::ONLINE,
            8..16 => self.plc.image.control &= !control::TRIGGER_ENABLE,
            16..40 => self.plc.image.control |= control::BYPASS,
            40..44 => self.plc.silent_until = at + ms(1500),
            44..80 => self.plc.image.recipe_number = 2,
            80..88 => self.plc.image.plc_session = (self.plc.image.plc_session + 1).max(1),
            88..96 => {
                self.plc.is_connected = false;
                self.at(
                    at,
                    What::Tell {
                        life: self.memory.boot_id,
                        event: Event::PlcLost,
                    },
                );
                let down = self.micros(1_000, 200_000);
                self.at(at + down, What::Reconnect);
            }
            96..100 => {
                let life = self.memory.boot_id;
                self.at(
                    at,
                    What::Tell {
                        life,
                        event: Event::ModelsReady(false),
                    },
                );
                self.at(
                    at + ms(100),
                    What::Tell {
                        life,
                        event: Event::ModelsReady(true),
                    },
                );
            }
            _ => {}
        }
    }
}

/// Numbers persisted at a time.
const BLOCK: u32 = 200;

/// Cycle IDs the black box keeps.
const KEPT: usize = 300;

impl BlackBox {
    fn count(&mut self, test_part: bool, verdict: Verdict, reason: Option<Reason>) {
        if test_part {
            return;
        }
        let counts = &mut self.counts;
        counts.total += 1;
        counts.missed += u32::from(reason == Some(Reason::Missed));
        match verdict {
            Verdict::Ok => counts.ok += 1,
            Verdict::NotOk => counts.not_ok += 1,
            Verdict::NotDecidable => counts.not_decidable += 1,
        }
    }

    /// In the order of the parts, not of their outcomes.
    fn history(&mut self) -> Vec<UsedCycle> {
        self.history.sort_by_key(|(sequence, _)| *sequence);
        self.history.iter().map(|(_, used)| *used).collect()
    }

    fn remember(&mut self, opened: &Opened, reason: Option<Reason>) {
        let Some(cycle_id) = opened.cycle_id else { return };
        let skipped = opened.acquisition_id == 0 && matches!(reason, Some(Reason::NeverSeen | Reason::Restart));
        let fingerprint = if skipped {
            Fingerprint::never_seen()
        } else {
            Fingerprint::new(opened.encoder, &opened.serial, opened.recipe_asked)
        };
        let used = UsedCycle {
            plc_session: opened.plc_session,
            cycle_id,
            fingerprint,
            acquisition_id: opened.acquisition_id,
        };
        self.history.push((opened.part.0, used));
        if self.history.len() > 2 * KEPT {
            self.history.drain(..KEPT);
        }
    }
}

fn next_id(cycle_id: u32) -> u32 {
    CycleId::new(cycle_id).map_or(1, |id| id.next().get())
}

const SOURCES: [TriggerSource; 3] = [PLC, HARDWARE, FREE_RUN];
const MODES: [ResultMode; 2] = [ResultMode::Single, ResultMode::Window];

/// Single, window, buffered.
const DELIVERIES: [(ResultMode, bool); 3] = [(ResultMode::Single, false), (ResultMode::Window, false), (ResultMode::Single, true)];

fn plans(is_nasty: bool, parts: usize) -> impl Iterator<Item = Plan> {
    SOURCES.into_iter().flat_map(move |source| {
        DELIVERIES.into_iter().map(move |(mode, buffered)| Plan {
            seed: 42,
            source,
            mode,
            buffered,
            is_nasty,
            parts,
            sabotage: None,
        })
    })
}

#[test]
fn a_good_line_passes_its_good_parts() {
    for plan in plans(false, 600) {
        let outcomes = Simulation::run(plan);
        assert_eq!(outcomes.broken, [""; 0], "{plan:?}");
        let good = (1..=600).filter(|part| World::default().is_good(*part)).count();
        assert!(outcomes.oks + 1 >= good && outcomes.passes + 1 >= good, "{plan:?} {outcomes:?}");
    }
}

#[test]
fn twenty_thousand_cycles_keep_every_promise() {
    let mut triggered = 0;
    for plan in plans(true, 600) {
        for seed in 0..6 {
            let plan = Plan { seed, ..plan };
            let outcomes = Simulation::run(plan);
            assert_eq!(outcomes.broken, [""; 0], "{plan:?}");
            assert!(outcomes.oks > 100, "{plan:?} {outcomes:?}");
            triggered += outcomes.triggered;
        }
    }
    assert!(triggered >= 20_000, "{triggered}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for plan in plans(true, 200) {
        assert_eq!(Simulation::run(plan), Simulation::run(plan));
        let other = Plan { seed: 43, ..plan };
        assert_ne!(Simulation::run(plan).digest, Simulation::run(other).digest);
    }
}

#[test]
fn every_sabotage_is_caught_by_the_promise_it_breaks() {
    for (sabotage, promise) in [
        (Sabotage::SwapFrames, "LINE-2"),
        (Sabotage::KeepAccept, "LINE-3"),
        (Sabotage::ForgetCycle, "LINE-1"),
        (Sabotage::AnswerLate, "LINE-3"),
    ] {
        for plan in plans(true, 300) {
            let plan = Plan {
                sabotage: Some(sabotage),
                ..plan
            };
            let outcomes = Simulation::run(plan);
            // A part that is forgotten leaves its buffer free, which shows before its outcome is missed.
            let promise = if plan.buffered && sabotage == Sabotage::ForgetCycle {
                "wire: RemainingBuffers"
            } else {
                promise
            };
            assert!(
                outcomes.broken.first().is_some_and(|first| first.starts_with(promise)),
                "{plan:?} {outcomes:?}"
            );
        }
    }
}

/// Anything at all, though more often what means something.
fn any_event() -> impl Strategy<Value = Event> {
    let small = prop_oneof![4 => 0..4_u32, 1 => Just(CycleId::LAST.get()), 1 => any::<u32>()];
    let numbers = (
        small.clone(),
        small.clone(),
        0..4_u32,
        prop_oneof![4 => Just(true), 1 => Just(false)],
    );
    let words = (
        any::<u16>(),
        0..3_u16,
        prop_oneof![6 => Just(0_u16), 1 => 1..3_u16],
        prop_oneof![8 => Just(3_u16), 1 => 0..6_u16],
    );
    let control = prop_oneof![
        3 => Just(0x003), 3 => Just(0x007), 2 => Just(0x013), 2 => Just(0x017), 1 => Just(0x01B), 1 => Just(0x043), 1 => Just(0x00B), 1 => Just(0x083), 1 => Just(0x107), 1 => any::<u16>()
    ];
    let written = prop_oneof![4 => Just(ALL), 1 => any::<u16>()];
    let wrote = (numbers, words, control, written).prop_map(|((cycle_id, tail, ack_result_id, is_whole), words, control, written)| {
        let (heartbeat, encoder, recipe_number, plc_session) = words;
        Event::PlcWrote {
            at: Nanos::default(),
            image: PlcImage {
                control,
                // Not the one that changes what the counters count from.
                command: 2 + recipe_number % 4,
                recipe_number,
                heartbeat,
                cycle_id,
                encoder: u32::from(encoder),
                plc_session,
                ack_result_id,
                cycle_id_tail: if is_whole { cycle_id } else { tail },
                ..PlcImage::default()
            },
            written,
        }
    });
    let counter = prop_oneof![6 => (0..40_u64).prop_map(Some), 1 => Just(None), 1 => any::<u64>().prop_map(Some)];
    // The exposure is given as an age, microseconds, or as anything.
    let exposed = prop_oneof![9 => 0..100_000_u64, 1 => any::<u64>()];
    let frame = (0..3_usize, counter, exposed).prop_map(|(camera, counter, exposed)| Event::Frame {
        camera,
        frame: FrameId(0),
        counter,
        exposed_at: Nanos(exposed),
    });
    let verdict = prop_oneof![3 => Just(Outcome::OK), 1 => Just(NOT_OK), 1 => Just(undecided(Reason::EngineFailed))];
    let inspected =
        (prop_oneof![8 => 0..40_u64, 1 => any::<u64>()], 0..3_usize, verdict).prop_map(|(part, inspection, outcome)| Event::Inspected {
            part: Sequence(part),
            inspection,
            inspected: inspected(outcome),
        });
    let granted = (any::<u32>(), any::<u32>()).prop_map(|(acquisition_below, result_below)| Event::IdsGranted {
        acquisition_below,
        result_below,
    });
    prop_oneof![
        40 => wrote,
        15 => frame,
        20 => inspected,
        5 => Just(Event::Tick),
        2 => (0..5_usize, any::<bool>()).prop_map(|(command, succeeded)| Event::CommandFinished { command: Command::ALL[command], succeeded }),
        2 => Just(Event::PlcConnected),
        1 => Just(Event::PlcLost),
        1 => (0..3_usize).prop_map(Event::CameraUp),
        1 => (0..3_usize).prop_map(Event::CameraDown),
        1 => any::<bool>().prop_map(Event::ModelsReady),
        1 => granted,
        1 => prop_oneof![8 => Just(Event::Tick), 1 => Just(Event::Stop), 1 => Just(Event::Abort)],
    ]
}

/// Sequences tried: enough for each build, or as many as `PROPTEST_CASES` says, if that is more.
fn cases() -> u32 {
    ProptestConfig::default().cases.max(1500)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_panics_and_the_promises_hold(
        source in 0..3_usize,
        mode in 0..2_usize,
        sequential: bool,
        events in proptest::collection::vec((any_event(), prop_oneof![6 => 1..20_000_u64, 1 => 1..5_000_000_u64]), 1..120),
    ) {
        let config = LineConfig { sequential, ..config(SOURCES[source], MODES[mode]) };
        let mut now = Nanos::from_millis(START_MS);
        let mut line = Line::new(config.clone(), memory(), now);
        let mut oracle = Oracle::new(config, 3, 1);
        let start = [Event::ModelsReady(true), Event::PlcConnected, Event::Tick].map(|event| (event, 1));
        for (number, (event, pause)) in start.into_iter().chain(events).enumerate() {
            let event = match event {
                Event::PlcWrote { image, written, .. } => Event::PlcWrote { at: now, image, written },
                Event::Frame { camera, counter, exposed_at, .. } => Event::Frame {
                    camera,
                    frame: FrameId(number as u64),
                    counter,
                    exposed_at: if exposed_at.0 < 100_000 { now.before(Duration::from_micros(exposed_at.0)) } else { exposed_at },
                },
                other => other,
            };
            oracle.event(now, &event);
            line.advance(now, event);
            let commit = line.commit(now);
            oracle.commit(now, &commit, line.image(), &Unknown, true);
            prop_assert_eq!(&oracle.broken, &[""; 0]);
            now = now + Duration::from_micros(pause);
        }
        // Two ticks long after everything is due; a result held back by ResultAck goes with the abort.
        for event in [Event::Tick, Event::Tick, Event::Abort] {
            now = now + ms(10_000);
            oracle.event(now, &event);
            line.advance(now, event);
            let commit = line.commit(now);
            oracle.commit(now, &commit, line.image(), &Unknown, true);
        }
        oracle.finish();
        prop_assert_eq!(&oracle.broken, &[""; 0]);
        prop_assert!(line.is_drained());
    }
}
