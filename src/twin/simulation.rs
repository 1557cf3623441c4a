//! The PLC's program against the station's line in virtual time: no wire, no camera, no engine, and a seed that repeats everything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::delivery::Delivery;
use super::facts::{Cycle, Exposure, GateReason};
use super::gate::Gate;
use super::oracle::{Evidence, Judgement, Terms, judge};
use super::plc_program::{Arrival, PlcProgram, ProgramSettings, Reading};
use super::schedule::{Faults, MachineFault, Plan, Rate, Schedule};
use crate::journal::black_box::{Decided, Kept};
use crate::line::config::{LineConfig, RecipePlan, ResultMode, TriggerSource};
use crate::line::event::{Event, FrameId, Inspected, Job};
use crate::line::image::{PlcImage, control};
use crate::line::{Line, Memory, Sabotage};
use crate::part::{Nanos, Outcome, PartRecord, Reason, Verdict, View};
use crate::plc::signals::{plc_image, plc_registers, station_image, station_registers};

/// One step of virtual time.
const STEP: Duration = Duration::from_millis(1);

/// How long the station is down after a kill.
const DOWN: Duration = Duration::from_millis(1500);

#[derive(Debug, Clone, Copy)]
struct World {
    mode: ResultMode,
    wired: bool,
    poll: u64,
    scan: u64,
    plan: Plan,
    /// How long the engine takes, ms; every seventh part takes `slow`.
    engine: u64,
    slow: u64,
    sabotage: Option<Sabotage>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            mode: ResultMode::Window,
            wired: true,
            poll: 10,
            scan: 5,
            plan: Plan {
                count: 60,
                rate: Rate::PerSecond(10.0),
                seed: 3,
                defect_share: 0.3,
                pitch: 1000,
                faults: Faults::default(),
                fault_window: Duration::from_millis(240),
            },
            engine: 30,
            slow: 30,
            sabotage: None,
        }
    }
}

struct Simulation {
    world: World,
    schedule: Schedule,
    now: Nanos,
    line: Line,
    down_until: Option<Nanos>,
    kept: BTreeMap<u64, Kept>,
    records: Vec<PartRecord>,
    /// Frames the station holds: which part they show.
    frames: BTreeMap<FrameId, (u32, Exposure)>,
    next_frame: u64,
    delivery: Delivery<Exposure>,
    exposures: Vec<Exposure>,
    jobs: VecDeque<(Nanos, Job)>,
    program: PlcProgram,
    reading: Option<Reading>,
    pending: Vec<PlcImage>,
    written: PlcImage,
    faults: Vec<(Nanos, MachineFault)>,
    cycles: Vec<Cycle>,
    boot_ids: BTreeSet<u16>,
    boot_id: u16,
    exposed: u32,
}

fn gate() -> Gate {
    Gate {
        trigger_to_gate: Duration::from_millis(400),
        actuation: Duration::from_millis(20),
    }
}

fn line_config(world: &World) -> LineConfig {
    LineConfig {
        gate_sees_parts: true,
        station: "cell".into(),
        trigger_source: if world.wired {
            TriggerSource::Hardware {
                arm_window: Duration::from_millis(30),
            }
        } else {
            TriggerSource::Plc {
                frame_window: Duration::from_millis(60),
            }
        },
        result_mode: world.mode,
        deadline: Duration::from_millis(200),
        accept_hold: Duration::from_millis(500),
        torn: Duration::from_millis(200),
        trigger_grace: Duration::from_millis(20),
        heartbeat_timeout: Duration::from_secs(1),
        sequential: true,
        serial: crate::line::config::SerialMode::WithTrigger,
        simulated: false,
        workers: 1,
        cameras: 1,
        tags: Vec::new(),
        recipes: RecipePlan::all([(1, vec![0])]),
        config_checksum: 1,
    }
}

fn terms(world: &World) -> Terms {
    Terms {
        deadline: Duration::from_millis(200),
        from_exposure: world.wired,
        accept_hold: Duration::from_millis(500),
        heartbeat_timeout: Duration::from_secs(1),
        sequential: true,
        stamped: true,
    }
}

impl Simulation {
    fn new(world: World) -> Self {
        let settings = ProgramSettings {
            mode: world.mode,
            gate: gate(),
            heartbeat_timeout: Duration::from_secs(1),
            answer_timeout: Duration::from_millis(2200),
            ready_wait: Some(world.plan.rate.interval()).filter(|wait| !wait.is_zero()),
            settle: Duration::from_millis(700),
        };
        let now = Nanos::from_millis(1000);
        let mut simulation = Self {
            schedule: Schedule::new(world.plan),
            now,
            line: Line::new(line_config(&world), Memory::default(), now),
            down_until: None,
            kept: BTreeMap::new(),
            records: Vec::new(),
            frames: BTreeMap::new(),
            next_frame: 1,
            delivery: Delivery::new(Duration::from_millis(2)),
            exposures: Vec::new(),
            jobs: VecDeque::new(),
            program: PlcProgram::new(settings),
            reading: None,
            pending: Vec::new(),
            written: PlcImage::default(),
            faults: Vec::new(),
            cycles: Vec::new(),
            boot_ids: BTreeSet::new(),
            boot_id: 0,
            exposed: 0,
            world,
        };
        simulation.start_station();
        simulation
    }

    fn start_station(&mut self) {
        self.boot_id += 1;
        let told: Vec<PartRecord> = self.kept.values().rev().take(20).map(|kept| kept.record("cell", 1)).collect();
        self.records.extend(told.into_iter().rev());
        let memory = Memory {
            boot_id: self.boot_id,
            epoch: 1,
            next_sequence: self.kept.keys().max().copied().unwrap_or(0) + 1,
            next_acquisition: 1000 * u32::from(self.boot_id),
            next_result: 1000 * u32::from(self.boot_id),
            acquisition_below: 1000 * (u32::from(self.boot_id) + 1),
            result_below: 1000 * (u32::from(self.boot_id) + 1),
            plc_session: self.kept.values().last().map_or(0, |kept| kept.opened.plc_session),
            history: self.kept.values().filter_map(Kept::used_cycle).collect(),
            ..Memory::default()
        };
        self.line = Line::new(line_config(&self.world), memory, self.now);
        self.line.sabotage = self.world.sabotage;
        self.frames.clear();
        self.jobs.clear();
        self.happen(Event::CameraUp(0));
        self.happen(Event::ModelsReady(true));
        self.happen(Event::PlcConnected);
    }

    fn happen(&mut self, event: Event) {
        self.line.advance(self.now, event);
        let commit = self.line.commit(self.now);
        for opened in commit.opened {
            let kept = Kept {
                opened,
                triggered_unix_ns: 0,
                decided: None,
            };
            self.kept.insert(kept.opened.part.0, kept);
        }
        for record in commit.decided {
            if let Some(kept) = self.kept.get_mut(&record.sequence).filter(|_| !record.late_findings) {
                kept.decided = Some(decided(&record));
            }
            self.records.push(record);
        }
        let jobs = commit.jobs.into_iter().map(|job| {
            let slow = job.frame.0.is_multiple_of(7);
            let takes = Duration::from_millis(if slow { self.world.slow } else { self.world.engine });
            (self.now + takes, job)
        });
        self.jobs.extend(jobs);
    }

    fn run(mut self) -> (Judgement, Evidence) {
        let mut next = 1;
        let mut arrives = self.now;
        let mut idle = 0;
        let mut infeed = false;
        while idle < 4000 {
            self.now = self.now + STEP;
            let millis = self.now.0 / 1_000_000;
            self.suffer();
            self.station_works();
            let ready = self.program.station_alive() && self.reading.as_ref().is_some_and(|reading| reading.station.trigger_ready);
            infeed = self.program.station_alive() && (infeed || ready);
            let interval = self.world.plan.rate.interval();
            arrives = if infeed { arrives } else { self.now };
            if infeed && self.now >= arrives && next <= self.world.plan.count && (!interval.is_zero() || self.program.is_free()) {
                let part = self.schedule.part(next);
                assert!(self.program.announce(Arrival {
                    part: next,
                    encoder: part.encoder,
                    at: self.now,
                    fault: part.trigger_fault,
                }));
                arrives = self.now + interval.max(Duration::from_millis(45));
                next += 1;
            }
            if millis.is_multiple_of(self.world.scan) {
                self.scan();
            }
            if millis.is_multiple_of(self.world.poll) {
                self.exchange();
            }
            let over = next > self.world.plan.count && self.program.is_free() && self.program.tracked() == 0;
            idle = if over { idle + 1 } else { 0 };
        }
        let strays = self.program.strays().to_vec();
        self.cycles.extend(self.program.into_rest());
        let evidence = Evidence {
            cycles: self.cycles,
            exposures: self.exposures,
            strays,
            records: Some(self.records),
            boot_ids: self.boot_ids,
            counts: None,
        };
        (judge(&terms(&self.world), &evidence), evidence)
    }

    fn scan(&mut self) {
        let images = self.program.scan(self.now, self.reading.as_ref());
        if images.len() == 1 && self.pending.len() == 1 {
            self.pending = images;
        } else {
            self.pending.extend(images);
        }
        self.cycles.extend(self.program.take_finished());
    }

    fn exchange(&mut self) {
        if self.down_until.is_some() {
            self.program.link_lost();
            self.pending.clear();
            if self.world.wired {
                self.trigger_left();
            }
            return;
        }
        for image in std::mem::take(&mut self.pending) {
            let triggers = |image: &PlcImage| image.is(control::TRIGGER) && image.cycle_id == image.cycle_id_tail;
            let rises = triggers(&image) && !triggers(&self.written);
            self.written = image;
            self.happen(Event::PlcWrote {
                at: self.now,
                image: plc_image(&plc_registers(&image)),
                written: u16::MAX,
            });
            if rises {
                self.program.trigger_written(&image, self.now, Some(self.now));
                self.trigger_left();
            }
        }
        let station = station_image(&station_registers(self.line.image()));
        self.boot_ids.insert(station.boot_id);
        self.reading = Some(Reading {
            whole: true,
            heartbeat: station.heartbeat,
            boot_id: station.boot_id,
            polled: self.now,
            received: self.now,
            station,
        });
    }

    fn trigger_left(&mut self) {
        let Some(part) = self.program.latest().map(|cycle| cycle.part).filter(|part| *part > self.exposed) else {
            return;
        };
        self.exposed = part;
        let exposure = Exposure {
            part,
            counter: self.exposures.len() as u64 + 1,
            exposed_at: self.now + Duration::from_millis(1),
        };
        self.exposures.push(exposure);
        let part = self.schedule.part(part);
        self.delivery.exposed(exposure, exposure.exposed_at, part.frame_fault);
        for (fault, after) in part.machine_faults {
            self.faults.push((self.now + after, fault));
        }
    }

    fn suffer(&mut self) {
        let session = self.program.session();
        let in_force = session != 0
            && self
                .reading
                .as_ref()
                .is_some_and(|reading| reading.station.echo_plc_session == session);
        let comes = |fault: &(Nanos, MachineFault)| self.now >= fault.0 && (fault.1 != MachineFault::PlcRestart || in_force);
        let Some(place) = self.faults.iter().position(comes) else { return };
        match self.faults.swap_remove(place).1 {
            MachineFault::PlcRestart => {
                self.program.restart();
                self.reading = None;
                self.pending.clear();
                self.written = PlcImage::default();
                if self.down_until.is_none() {
                    self.happen(Event::PlcConnected);
                }
            }
            MachineFault::StationKill => self.down_until = Some(self.now + DOWN),
            MachineFault::StationSlow | MachineFault::HistorianKill | MachineFault::NetworkCut | MachineFault::ModelSwap => {}
        }
    }

    fn station_works(&mut self) {
        while let Some(exposure) = self.delivery.arrived(self.now) {
            if self.down_until.is_none() {
                let frame = FrameId(self.next_frame);
                self.next_frame += 1;
                self.frames.insert(frame, (exposure.part, exposure));
                self.happen(Event::Frame {
                    camera: 0,
                    frame,
                    counter: Some(exposure.counter),
                    exposed_at: exposure.exposed_at,
                });
            }
        }
        if self.down_until.is_some_and(|until| self.now >= until) {
            self.down_until = None;
            self.start_station();
        }
        if self.down_until.is_some() {
            return;
        }
        while let Some(place) = self.jobs.iter().position(|(done, _)| *done <= self.now) {
            if let Some((_, job)) = self.jobs.remove(place) {
                self.inspect(job);
            }
        }
        self.happen(Event::Tick);
    }

    fn inspect(&mut self, job: Job) {
        let Some((part, exposure)) = self.frames.get(&job.frame).copied() else {
            return;
        };
        let outcome = if self.schedule.part(part).defective {
            Outcome::not_ok(Reason::Anomaly)
        } else {
            Outcome::OK
        };
        let view = View {
            inspection: "surface".into(),
            camera: "top".into(),
            frame_counter: Some(exposure.counter),
            exposed_ns: exposure.exposed_at,
            stamp: Some(part),
            verdict: outcome.verdict,
            reason: outcome.reason,
            score: Some(1.0),
            threshold: Some(2.0),
            severity: None,
            findings: Vec::new(),
            model: None,
        };
        self.happen(Event::Inspected {
            part: job.part,
            inspection: job.inspection,
            inspected: Box::new(Inspected {
                view,
                defect_code: 7,
                queue_us: 0,
                preprocess_us: 0,
                infer_us: 1,
                postprocess_us: 0,
            }),
        });
    }
}

fn decided(record: &PartRecord) -> Decided {
    let after = |at: Nanos| at.since(record.triggered_ns).as_micros() as u32;
    Decided {
        defect_code: record.defect_code,
        severity: record.severity,
        outcome: Outcome {
            verdict: record.verdict,
            reason: record.reason,
        },
        result_id: record.result_id,
        total_us: after(record.shown_ns),
        deadline_us: after(record.deadline_ns),
        counts: crate::line::image::Counts::default(),
        config_checksum: record.config_checksum,
    }
}

fn assert_kept(world: World) -> (Judgement, Evidence) {
    let (judgement, evidence) = Simulation::new(world).run();
    assert!(
        judgement.line_1.is_kept() && judgement.line_2.is_kept() && judgement.line_3.is_kept(),
        "{world:?}\n{judgement:#?}"
    );
    (judgement, evidence)
}

#[test]
fn a_calm_line_passes_the_good_and_rejects_the_bad() {
    for mode in [ResultMode::Window, ResultMode::Single] {
        for wired in [true, false] {
            let world = World {
                mode,
                wired,
                ..World::default()
            };
            let (judgement, evidence) = assert_kept(world);
            assert_eq!((judgement.lost, judgement.wrong_part, judgement.late), (Some(0), Some(0), Some(0)));
            assert_eq!(evidence.cycles.len(), 60);
            let schedule = Schedule::new(world.plan);
            for cycle in &evidence.cycles {
                let defective = schedule.part(cycle.part).defective;
                let expected = if defective { GateReason::NotOk } else { GateReason::Pass };
                assert_eq!(cycle.gated.map(|gated| gated.reason), Some(expected), "{cycle:?} of {world:?}");
            }
        }
    }
}

#[test]
fn parts_whose_engine_is_late_are_rejected_and_counted() {
    let world = World {
        slow: 260,
        plan: Plan {
            defect_share: 0.0,
            ..World::default().plan
        },
        ..World::default()
    };
    let (judgement, evidence) = assert_kept(world);
    assert_eq!(judgement.late, Some(8));
    let rejected = evidence
        .cycles
        .iter()
        .filter(|cycle| cycle.gated.is_some_and(|gated| !gated.passed()));
    assert_eq!(rejected.count(), 8);
}

#[test]
fn whatever_goes_wrong_on_the_line_the_promises_hold() {
    let all = |probability| Faults {
        frame_missed: probability,
        frame_late: probability,
        frame_duplicate: probability,
        frames_swapped: probability,
        trigger_duplicate: probability,
        trigger_bounce: probability,
        torn_write: probability,
        plc_restart: probability,
        engine_slow: 0.0,
        station_kill: probability,
        kills: 2,
        ..Faults::default()
    };
    for (mode, wired, seed) in [
        (ResultMode::Window, true, 1),
        (ResultMode::Window, false, 2),
        (ResultMode::Single, true, 3),
        (ResultMode::Single, false, 4),
    ] {
        let plan = Plan {
            faults: all(0.06),
            seed,
            ..World::default().plan
        };
        assert_kept(World {
            mode,
            wired,
            plan,
            slow: 220,
            ..World::default()
        });
    }
}

#[test]
fn a_station_that_breaks_its_promises_is_caught() {
    let caught = |sabotage, world: World| {
        let world = World {
            sabotage: Some(sabotage),
            ..world
        };
        Simulation::new(world).run().0
    };
    let swapped = caught(Sabotage::SwapFrames, World::default());
    assert!(!swapped.line_2.is_kept() && swapped.wrong_part > Some(0), "{swapped:#?}");
    let forgotten = caught(Sabotage::ForgetCycle, World::default());
    assert!(!forgotten.line_1.is_kept() && forgotten.lost > Some(0), "{forgotten:#?}");
    let late = World {
        slow: 260,
        ..World::default()
    };
    let late = caught(Sabotage::AnswerLate, late);
    assert!(!late.line_3.is_kept() && late.ok_after_deadline > 0, "{late:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn no_line_makes_the_station_break_a_promise(
        seed: u64, window: bool, wired: bool, poll in 1_u64..20, scan in 1_u64..10, slow in 20_u64..300,
        faults in proptest::array::uniform9(prop_oneof![Just(0.0), 0.0..0.2_f64]),
    ) {
        let [missed, late, duplicate, swapped, twice, bounce, torn, restart, kill] = faults;
        let faults = Faults {
            frame_missed: missed,
            frame_late: late,
            frame_duplicate: duplicate,
            frames_swapped: swapped,
            trigger_duplicate: twice,
            trigger_bounce: bounce,
            torn_write: torn,
            plc_restart: restart,
            engine_slow: 0.0,
            station_kill: kill / 2.0,
            ..Faults::default()
        };
        let plan = Plan { seed, faults, count: 25, ..World::default().plan };
        let mode = if window { ResultMode::Window } else { ResultMode::Single };
        let world = World { mode, wired, poll, scan, plan, slow, ..World::default() };
        let (judgement, evidence) = Simulation::new(world).run();
        prop_assert!(judgement.line_1.is_kept() && judgement.line_2.is_kept() && judgement.line_3.is_kept(), "{judgement:#?}");
        // Nothing that passed was defective: this engine is never wrong.
        let schedule = Schedule::new(plan);
        for cycle in evidence.cycles.iter().filter(|cycle| cycle.gated.is_some_and(super::facts::Gated::passed)) {
            prop_assert!(!schedule.part(cycle.part).defective, "{cycle:?}");
            prop_assert_eq!(cycle.read.map(|read| read.verdict), Some(Verdict::Ok));
        }
    }
}

/// What breaks a log, the promise it breaks (0: none, by a stated rule), and how; `false` where it cannot be done at that place.
type Damage = (&'static str, u8, fn(&mut Evidence, usize) -> bool);

fn record_of(evidence: &mut Evidence, place: usize) -> Option<(Cycle, &mut PartRecord)> {
    let cycle = evidence.cycles.get(place)?.clone();
    let records = evidence.records.as_mut()?;
    let record = records.iter_mut().find(|record| record.cycle_id == Some(cycle.key.cycle_id))?;
    Some((cycle, record))
}

fn with_record(evidence: &mut Evidence, place: usize, verdict: Verdict, damage: fn(&mut PartRecord)) -> bool {
    match record_of(evidence, place) {
        Some((_, record)) if record.verdict == verdict => {
            damage(record);
            true
        }
        _ => false,
    }
}

fn with_ok_cycle(evidence: &mut Evidence, place: usize, damage: fn(&mut Cycle)) -> bool {
    let cycle = evidence.cycles.get_mut(place);
    let ok = cycle.filter(|cycle| cycle.gated.is_some_and(super::facts::Gated::passed));
    ok.map(damage).is_some()
}

fn tell_again(evidence: &mut Evidence, place: usize, change: fn(&mut PartRecord)) -> bool {
    let Some((_, record)) = record_of(evidence, place) else {
        return false;
    };
    let mut again = record.clone();
    change(&mut again);
    evidence.records.as_mut().is_some_and(|records| {
        records.push(again);
        true
    })
}

const DAMAGES: &[Damage] = &[
    ("a record is lost", 1, |evidence, place| {
        let Some((cycle, _)) = record_of(evidence, place) else {
            return false;
        };
        evidence.records.as_mut().is_some_and(|records| {
            records.retain(|record| record.cycle_id != Some(cycle.key.cycle_id));
            true
        })
    }),
    ("a part is recorded twice", 1, |evidence, place| {
        tell_again(evidence, place, |record| record.sequence += 100_000)
    }),
    ("a record is told twice", 1, |evidence, place| tell_again(evidence, place, |_| {})),
    ("a record is told again with another outcome", 1, |evidence, place| {
        tell_again(evidence, place, |record| {
            record.recovered = true;
            record.verdict = Verdict::NotDecidable;
            record.reason = Some(Reason::Restart);
        })
    }),
    ("a record of nobody", 1, |evidence, place| {
        tell_again(evidence, place, |record| {
            record.sequence += 100_000;
            record.plc_session += 9;
        })
    }),
    ("no answer", 1, |evidence, place| {
        let cycle = evidence.cycles.get_mut(place);
        cycle.map(|cycle| cycle.answer = None).is_some()
    }),
    ("missed, but judged", 1, |evidence, place| {
        let cycle = evidence.cycles.get_mut(place);
        cycle.map(|cycle| cycle.answer = Some(super::facts::Answer::Missed)).is_some()
    }),
    ("a repeated trigger is missed", 1, |evidence, place| {
        let cycle = evidence.cycles.get_mut(place);
        cycle
            .map(|cycle| cycle.repeat_answer = Some(super::facts::Answer::Missed))
            .is_some()
    }),
    ("counters that disagree", 1, |evidence, _| {
        let counts = crate::line::image::Counts::default();
        evidence.counts = Some((counts, counts));
        true
    }),
    ("a frame of another part", 2, |evidence, place| {
        let damaged = |(_, record): (Cycle, &mut PartRecord)| record.views.iter_mut().for_each(|view| view.stamp = Some(99_999));
        record_of(evidence, place).map(damaged).is_some()
    }),
    ("a frame without a stamp", 2, |evidence, place| {
        with_record(evidence, place, Verdict::Ok, |record| {
            record.views.iter_mut().for_each(|view| view.stamp = None);
        })
    }),
    ("the frame number of another part", 2, |evidence, place| {
        let other = evidence.exposures[(place + 1) % evidence.exposures.len()].counter;
        record_of(evidence, place).is_some_and(|(_, record)| {
            record.views.iter_mut().for_each(|view| view.frame_counter = Some(other));
            true
        })
    }),
    ("the PLC read NotOk, Ok is recorded", 2, |evidence, place| {
        with_record(evidence, place, Verdict::NotOk, |record| {
            (record.verdict, record.reason) = (Verdict::Ok, None);
        })
    }),
    ("another result", 2, |evidence, place| {
        record_of(evidence, place).map(|(_, record)| record.result_id += 16).is_some()
    }),
    ("another reason", 2, |evidence, place| {
        let read = evidence.cycles.get_mut(place).and_then(|cycle| cycle.read.as_mut());
        read.map(|read| read.reason_code = Reason::Correlation.code()).is_some()
    }),
    ("two verdicts on the wire", 2, |evidence, place| {
        with_ok_cycle(evidence, place, |cycle| cycle.contradiction = Some(Verdict::NotOk))
    }),
    ("Ok recorded late", 3, |evidence, place| {
        with_record(evidence, place, Verdict::Ok, |record| record.shown_ns = record.deadline_ns)
    }),
    ("Ok on the wire late", 3, |evidence, place| {
        with_ok_cycle(evidence, place, |cycle| {
            if let Some(read) = &mut cycle.read {
                read.not_yet = Some(cycle.raised + Duration::from_millis(300));
            }
        })
    }),
    ("Ok that stays", 3, |evidence, place| {
        with_ok_cycle(evidence, place, |cycle| {
            cycle.last_ok_polled = Some(cycle.raised + Duration::from_secs(10));
        })
    }),
    ("Ok for nobody", 3, |evidence, place| {
        let received = evidence.cycles[place].raised;
        let stray = super::facts::StrayOk {
            cycle_id: 4711,
            result_id: 1,
            boot_id: 1,
            received,
        };
        evidence.strays.push(stray);
        true
    }),
    ("passed without a result", 3, |evidence, place| {
        with_ok_cycle(evidence, place, |cycle| cycle.read = None)
    }),
    ("passed before its Ok", 3, |evidence, place| {
        with_ok_cycle(evidence, place, |cycle| {
            if let Some(gated) = &mut cycle.gated {
                gated.at = cycle.raised;
            }
        })
    }),
    ("passed after a restart", 3, |evidence, place| {
        with_ok_cycle(evidence, place, |cycle| cycle.voided = Some(GateReason::StationRestarted))
    }),
    ("a reject passed", 3, |evidence, place| {
        let cycle = evidence
            .cycles
            .get_mut(place)
            .filter(|cycle| cycle.read.is_some_and(|read| read.verdict != Verdict::Ok));
        let gated = cycle.and_then(|cycle| cycle.gated.as_mut());
        gated.map(|gated| gated.reason = GateReason::Pass).is_some()
    }),
    ("a record is recovered as it was", 0, |evidence, place| {
        tell_again(evidence, place, |record| {
            record.recovered = true;
            record.views.clear();
        })
    }),
    ("findings are added later", 0, |evidence, place| {
        tell_again(evidence, place, |record| {
            record.late_findings = true;
            record.result_id = 0;
        })
    }),
    ("an earlier run left a record", 0, |evidence, place| {
        tell_again(evidence, place, |record| {
            record.recovered = true;
            record.sequence += 100_000;
            record.boot_id += 1000;
        })
    }),
    ("an edge that may not have arrived is not answered", 0, |evidence, place| {
        let cycle = evidence.cycles.get_mut(place);
        let damaged = |cycle: &mut Cycle| (cycle.answer, cycle.disturbed) = (None, true);
        cycle.map(damaged).is_some()
    }),
];

fn clean() -> Evidence {
    assert_kept(World::default()).1
}

#[test]
fn a_broken_log_is_caught_and_its_first_offender_named() {
    let clean = clean();
    for (name, promise, damage) in DAMAGES {
        let done = (0..clean.cycles.len()).find_map(|place| {
            let mut broken = clean.clone();
            damage(&mut broken, place).then_some((place, broken))
        });
        let (place, broken) = done.unwrap_or_else(|| panic!("{name}: never done"));
        let judgement = judge(&terms(&World::default()), &broken);
        let findings = [&judgement.line_1, &judgement.line_2, &judgement.line_3];
        let Some(at) = usize::from(*promise).checked_sub(1) else {
            assert!(findings.iter().all(|finding| finding.is_kept()), "{name}: {judgement:#?}");
            continue;
        };
        assert!(!findings[at].is_kept(), "{name}: {judgement:#?}");
        let first = findings[at].first.as_deref().unwrap_or_default();
        let cycle_id = clean.cycles[place].key.cycle_id;
        let names = [format!("cycle {cycle_id} "), "4711".into(), "record ".into(), "counted".into()];
        assert!(names.iter().any(|name| first.contains(name)), "{name}: {first}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn damage_anywhere_is_caught_or_harmless_by_rule(damage in 0..DAMAGES.len(), place in 0_usize..60) {
        let mut broken = clean();
        let (name, promise, damage) = DAMAGES[damage];
        let done = damage(&mut broken, place);
        let judgement = judge(&terms(&World::default()), &broken);
        let kept = judgement.line_1.is_kept() && judgement.line_2.is_kept() && judgement.line_3.is_kept();
        prop_assert_eq!(kept, !done || promise == 0, "{}: {:#?}", name, judgement);
    }
}
