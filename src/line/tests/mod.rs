//! The line on the bench: a PLC, cameras and an engine in words, and time as a number.

mod commands;
mod frames;
mod gate;
mod oracle;
mod recipes;
mod rules;
mod sequences;
mod simulation;

use std::time::Duration;

use super::config::{LineConfig, RecipePlan, ResultMode, TriggerSource};
use super::event::{CameraIndex, Commit, Event, FrameId, Inspected, Job, Note, Opened};
use super::image::{PlcImage, StationImage, WindowSlot, control};
use super::{Line, Memory};
use crate::part::{Nanos, Outcome, PartRecord, Reason, Verdict, View};

/// Every bit of the control word.
const ALL: u16 = u16::MAX;

/// When the bench begins, milliseconds: not 0, so that "never" and "at the start" differ.
const START_MS: u64 = 10_000;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn config(source: TriggerSource, mode: ResultMode) -> LineConfig {
    LineConfig {
        gate_sees_parts: true,
        station: "bench".into(),
        trigger_source: source,
        result_mode: mode,
        deadline: ms(100),
        accept_hold: ms(1000),
        torn: ms(200),
        trigger_grace: ms(20),
        heartbeat_timeout: ms(1000),
        sequential: true,
        serial: crate::line::config::SerialMode::WithTrigger,
        simulated: false,
        workers: 1,
        cameras: 1,
        tags: Vec::new(),
        recipes: RecipePlan::all([(1, vec![0])]),
        config_checksum: 0xC0DE,
    }
}

const PLC: TriggerSource = TriggerSource::Plc {
    frame_window: Duration::from_millis(60),
};
const HARDWARE: TriggerSource = TriggerSource::Hardware {
    arm_window: Duration::from_millis(30),
};
const FREE_RUN: TriggerSource = TriggerSource::FreeRun {
    frame_window: Duration::from_millis(15),
};

fn memory() -> Memory {
    Memory {
        boot_id: 7,
        epoch: 1,
        next_sequence: 1,
        next_acquisition: 1,
        next_result: 1,
        acquisition_below: 1_000_000,
        result_below: 1_000_000,
        plc_session: 3,
        ..Memory::default()
    }
}

fn inspected(outcome: Outcome) -> Box<Inspected> {
    Box::new(Inspected {
        view: View {
            inspection: "surface".into(),
            camera: "top".into(),
            frame_counter: None,
            exposed_ns: Nanos::default(),
            stamp: None,
            verdict: outcome.verdict,
            reason: outcome.reason,
            score: None,
            threshold: None,
            severity: None,
            findings: Vec::new(),
            model: None,
        },
        defect_code: if outcome.verdict == Verdict::NotOk { 7 } else { 0 },
        queue_us: 1,
        preprocess_us: 1,
        infer_us: 1,
        postprocess_us: 1,
    })
}

const NOT_OK: Outcome = Outcome::not_ok(Reason::Anomaly);

fn undecided(reason: Reason) -> Outcome {
    Outcome::not_decidable(reason)
}

/// A line, a PLC that writes whole images, a camera and an engine.
struct Bench {
    line: Line,
    now: Nanos,
    plc: PlcImage,
    /// The PLC's heartbeat stands still.
    plc_silent: bool,
    /// Every image that was shown, with its time.
    images: Vec<(Nanos, StationImage)>,
    opened: Vec<Opened>,
    records: Vec<PartRecord>,
    jobs: Vec<Job>,
    notes: Vec<Note>,
    last: Commit,
    next_frame: u64,
}

impl Bench {
    fn new(config: LineConfig, memory: Memory) -> Self {
        let now = Nanos::from_millis(START_MS);
        let line = Line::new(config, memory, now);
        Self {
            images: vec![(now, line.image().clone())],
            line,
            now,
            plc: PlcImage {
                plc_session: 3,
                ..PlcImage::default()
            },
            plc_silent: false,
            opened: Vec::new(),
            records: Vec::new(),
            jobs: Vec::new(),
            notes: Vec::new(),
            last: Commit::default(),
            next_frame: 0,
        }
    }

    /// A station that inspects, and a PLC that is ready to trigger.
    fn ready(config: LineConfig) -> Self {
        let mut bench = Self::new(config, memory());
        bench.come_up();
        assert!(bench.image().trigger_ready, "{:?}", bench.image());
        bench
    }

    fn single(source: TriggerSource) -> Self {
        Self::ready(config(source, ResultMode::Single))
    }

    fn window(source: TriggerSource) -> Self {
        Self::ready(config(source, ResultMode::Window))
    }

    fn buffered() -> Self {
        let mut bench = Self::new(config(PLC, ResultMode::Single), memory());
        bench.plc.control = control::BUFFER_ENABLE;
        bench.event(Event::ModelsReady(true)).event(Event::PlcConnected).hear(ALL);
        bench.set(control::ONLINE | control::TRIGGER_ENABLE).pass(200);
        assert!(bench.image().trigger_ready, "{:?}", bench.image());
        bench
    }

    fn come_up(&mut self) {
        self.event(Event::ModelsReady(true));
        self.event(Event::PlcConnected);
        self.write(|plc| plc.control = control::ONLINE | control::TRIGGER_ENABLE);
        self.pass(200);
    }

    fn event(&mut self, event: Event) -> &mut Self {
        self.line.advance(self.now, event);
        self.commit()
    }

    fn commit(&mut self) -> &mut Self {
        let before = self.line.image().clone();
        let commit = self.line.commit(self.now);
        assert_eq!(commit.image_changed, before != *self.line.image());
        if commit.image_changed {
            self.images.push((self.now, self.line.image().clone()));
        }
        self.opened.extend(commit.opened.iter().cloned());
        self.records.extend(commit.decided.iter().cloned());
        self.jobs.extend(commit.jobs.iter().copied());
        self.notes.extend(commit.notes.iter().cloned());
        self.last = commit;
        self
    }

    /// Lets time pass, milliseconds: the line wakes when it asked to, the PLC's heart beats.
    fn pass(&mut self, milliseconds: u64) -> &mut Self {
        self.pass_nanos(milliseconds * 1_000_000)
    }

    fn pass_nanos(&mut self, nanoseconds: u64) -> &mut Self {
        let end = self.now + Duration::from_nanos(nanoseconds);
        let mut beat = self.now + ms(100);
        loop {
            let wake = self.line.wake_at(self.now);
            let next = wake.max(self.now).min(beat).min(end);
            let stuck = next == self.now && wake <= self.now;
            self.now = next;
            if next == beat && !self.plc_silent {
                self.plc.heartbeat = self.plc.heartbeat.wrapping_add(1);
                self.hear(0);
                beat = beat + ms(100);
            } else if next == beat {
                beat = beat + ms(100);
            }
            self.event(Event::Tick);
            assert!(!stuck || self.line.wake_at(self.now) > self.now, "the line never sleeps");
            if self.now == end {
                return self;
            }
        }
    }

    fn hear(&mut self, written: u16) -> &mut Self {
        let (at, image) = (self.now, self.plc);
        self.event(Event::PlcWrote { at, image, written })
    }

    /// P: one write of everything.
    fn write(&mut self, change: impl FnOnce(&mut PlcImage)) -> &mut Self {
        change(&mut self.plc);
        self.hear(ALL)
    }

    fn set(&mut self, bits: u16) -> &mut Self {
        self.write(|plc| plc.control |= bits)
    }

    fn clear(&mut self, bits: u16) -> &mut Self {
        self.write(|plc| plc.control &= !bits)
    }

    /// P: CycleId ... CycleIdTail, a scan later Trigger.
    fn trigger(&mut self, cycle_id: u32) -> &mut Self {
        self.write(|plc| (plc.cycle_id, plc.cycle_id_tail) = (cycle_id, cycle_id));
        self.set(control::TRIGGER)
    }

    fn release(&mut self) -> &mut Self {
        self.clear(control::TRIGGER)
    }

    fn ack(&mut self, result_id: u32) -> &mut Self {
        self.write(|plc| {
            plc.ack_result_id = result_id;
            plc.control |= control::RESULT_ACK;
        })
    }

    /// A frame that is exposed now.
    fn frame(&mut self) -> &mut Self {
        let (now, counter) = (self.now, self.next_frame);
        self.frame_of(0, Some(counter), now)
    }

    fn frame_of(&mut self, camera: CameraIndex, counter: Option<u64>, exposed_at: Nanos) -> &mut Self {
        let frame = FrameId(self.next_frame);
        self.next_frame += 1;
        self.event(Event::Frame {
            camera,
            frame,
            counter,
            exposed_at,
        })
    }

    /// The engine is done with the job handed out last.
    fn judge(&mut self, outcome: Outcome) -> &mut Self {
        let job = *self.jobs.last().expect("a frame to judge");
        self.judge_job(job, outcome)
    }

    fn judge_job(&mut self, job: Job, outcome: Outcome) -> &mut Self {
        self.event(Event::Inspected {
            part: job.part,
            inspection: job.inspection,
            inspected: inspected(outcome),
        })
    }

    /// Trigger, frame, outcome, Trigger 0: a whole part, in no time.
    fn part(&mut self, cycle_id: u32, outcome: Outcome) -> &mut Self {
        self.trigger(cycle_id).release().frame().judge(outcome)
    }

    fn image(&self) -> &StationImage {
        self.line.image()
    }

    /// TriggerAck, MissedTrigger, EchoTriggerId.
    fn answer(&self) -> (bool, bool, u32) {
        let image = self.image();
        (image.trigger_ack, image.missed_trigger, image.echo_trigger_id)
    }

    /// ResultValid, Accept, Verdict, ReasonCode.
    fn shown(&self) -> (bool, bool, Option<Verdict>, u16) {
        let image = self.image();
        (image.result_valid, image.accept, image.verdict, image.reason_code)
    }

    /// The window slot of a cycle.
    fn slot(&self, cycle_id: u32) -> Option<WindowSlot> {
        let mut slots = self.image().window.iter();
        slots.find(|slot| slot.cycle_id.is_some_and(|id| id.get() == cycle_id)).copied()
    }

    /// Verdict on the wire of a cycle's slot.
    fn slot_verdict(&self, cycle_id: u32) -> Option<u16> {
        self.slot(cycle_id).map(|slot| slot.verdict)
    }

    /// Cycle ID, verdict and reason of every record, late findings apart.
    fn outcomes(&self) -> Vec<(u32, Verdict, Option<Reason>)> {
        let records = self.records.iter().filter(|record| !record.late_findings);
        records
            .map(|record| (record.cycle_id.map_or(0, crate::part::CycleId::get), record.verdict, record.reason))
            .collect()
    }

    fn outcome_of(&self, cycle_id: u32) -> Outcome {
        let mut found = self.outcomes().into_iter().filter(|(id, ..)| *id == cycle_id);
        let (_, verdict, reason) = found.next().expect("an outcome");
        assert_eq!(found.next(), None, "one outcome");
        Outcome { verdict, reason }
    }

    fn error(&self) -> u16 {
        self.image().error_code
    }
}
