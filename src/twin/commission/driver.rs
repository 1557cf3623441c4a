//! The PLC that plays a list: it writes, polls, and shows every image to judge and watchdog. Thin: what is right is decided in `judge.rs`.

use std::collections::HashMap;
use std::io;
use std::thread;
use std::time::Duration;

use super::judge::{Deviation, Image, Judged, Kept, Watchdog, deviates, expect, resolve};
use super::link::Link;
use super::outcome::{Ending, SequenceOutcome, StepOutcome};
use super::run::Place;
use super::step::{Action, Check, Look, Name, Recorded, Sequence, Span, Step, Terms, Timer, Value, is, is_not};
use crate::flow::now;
use crate::line::commands::Command;
use crate::line::error_code::ErrorCode;
use crate::line::image::StationMode;
use crate::part::{Nanos, PartRecord};
use crate::plc::signals::{FROM_PLC, Kind, PLC_REGISTERS};

/// How often the PLC's heartbeat changes.
const BEAT: Duration = Duration::from_millis(100);

/// How long a station that is held to a number of its heartbeats may take for them: then it is dead.
const BEATS_MAX: Duration = Duration::from_secs(10);

/// The time between two exposures of one part.
const EXPOSURES_APART: Duration = Duration::from_millis(2);

/// The least time from poll to poll: a PLC that polls without wait would starve a station on the same machine.
const POLL_MIN: Duration = Duration::from_millis(1);

/// Everything around the PLC: parts, station, records.
pub(super) trait Plant {
    /// A part is exposed, at a time that has passed. Returns once nothing more is to be waited for but the station.
    fn expose(&mut self, cycle_id: u32, look: Look, at: Nanos);

    /// The station waits for its first frame: a camera that runs by itself gives one of nothing. Returns how long it is to be left alone then before a
    /// part is announced, so that nobody takes the one for the other.
    fn idle(&mut self) -> Duration {
        Duration::ZERO
    }

    /// Kills the station, as by `kill -9`.
    fn kill(&mut self) -> Result<(), String>;

    /// Asks the station to stop, and waits until it has.
    fn stop(&mut self) -> Result<(), String>;

    /// Starts the station, unless it runs.
    fn start(&mut self) -> Result<(), String>;

    /// What the station recorded so far; fails if the station has ended by itself.
    fn records(&mut self) -> Result<&[PartRecord], String>;
}

/// The PLC.
pub(super) struct Driver<'a, P> {
    terms: &'a Terms,
    poll: Duration,
    link: Link,
    /// Whether the link is cut.
    cut: bool,
    registers: [u16; PLC_REGISTERS],
    /// Whether the station has them.
    written: bool,
    beats: bool,
    beat_at: Nanos,
    latest: Option<Image>,
    /// When the station had the Trigger of each part.
    triggered: HashMap<u32, Nanos>,
    /// The last of them.
    triggered_last: Nanos,
    /// How often each part was exposed.
    exposed: HashMap<u32, u32>,
    /// Until when no part may be announced.
    alone_until: Nanos,
    kept: Kept,
    /// What is around it.
    pub(super) plant: P,
    /// What looks at every image.
    pub(super) watchdog: Watchdog,
}

impl<'a, P: Plant> Driver<'a, P> {
    pub(super) fn new(terms: &'a Terms, place: &Place, poll: Duration, plant: P) -> io::Result<Self> {
        Ok(Self {
            terms,
            poll: poll.max(POLL_MIN),
            link: Link::new(place, terms.mode)?,
            cut: false,
            registers: [0; PLC_REGISTERS],
            written: false,
            beats: true,
            beat_at: now(),
            latest: None,
            triggered: HashMap::new(),
            triggered_last: Nanos::default(),
            exposed: HashMap::new(),
            alone_until: Nanos::default(),
            kept: Kept::new(),
            plant,
            watchdog: Watchdog::default(),
        })
    }

    /// Waits until the station answers, and until it has its models as long as that may take. What it lacks then is told by the list.
    pub(super) fn greet(&mut self) -> Result<(), String> {
        let patience = if self.terms.own_station { Timer::Start } else { Timer::Ready };
        let until = now() + patience.duration(self.terms);
        while now() < until {
            match self.look() {
                Ok(Some(image)) if image.value("StationMode") != 0 => return Ok(()),
                // It ended.
                Err(deviation) if deviation.signal.is_empty() => return Err(deviation.seen),
                // What it shows of parts before this run is none of the list's business yet.
                _ => self.rest(),
            }
        }
        let trouble = || self.link.trouble().unwrap_or("it says nothing").to_owned();
        self.latest.as_ref().map(|_| ()).ok_or_else(trouble)
    }

    /// Runs a sequence to its end, or to the first step that fails.
    pub(super) fn run(&mut self, sequence: &Sequence) -> SequenceOutcome {
        let mut outcome = SequenceOutcome {
            name: sequence.name,
            title: sequence.title,
            proves: sequence.proves,
            ending: Ending::Skipped,
            reason: sequence.skip.clone().unwrap_or_default(),
            steps: Vec::new(),
        };
        if sequence.skip.is_some() {
            return outcome;
        }
        // A sequence that failed may have left the link cut, the heart still and the station down; if that does not start, the first step says so.
        (self.cut, self.beats) = (false, true);
        self.kept.clear();
        let _ = self.plant.start();
        outcome.ending = Ending::Passed;
        for (number, step) in (1..).zip(&sequence.steps) {
            let began = now();
            let result = if outcome.ending == Ending::Failed {
                None
            } else {
                Some(self.act(step))
            };
            let taken = step_outcome(number, step, self.terms, result, now().since(began));
            if taken.ending == Ending::Failed {
                outcome.ending = Ending::Failed;
            }
            outcome.steps.push(taken);
        }
        if outcome.ending == Ending::Failed && self.latest.as_ref().is_some_and(is_teaching) {
            // What keeps it from ending is what the next sequence finds first.
            let _ = self.end_lesson();
        }
        outcome
    }

    /// A sequence that failed in the middle of a lesson must not leave the station in it: it passes nothing, and every sequence after that fails for it.
    fn end_lesson(&mut self) -> Result<(), Deviation> {
        self.write(&[("Trigger", 0.into()), ("ExecuteCommand", 0.into())])?;
        self.expect(Timer::Result, &is("Busy", 0), &[is("CommandExecuting", 0)], &[])?;
        let stop = u32::from(Command::StopTeach.code()).into();
        self.write(&[("Command", stop), ("ExecuteCommand", 1.into())])?;
        self.expect(Timer::Command, &is_not("StationMode", StationMode::Teach as u32), &[], &[])?;
        self.write(&[("ExecuteCommand", 0.into())])
    }

    fn act(&mut self, step: &Step) -> Result<(), Deviation> {
        let failed = |reason: String| Deviation::other(step.text(), reason);
        match &step.action {
            Action::PlcStarts => self.start_plc(),
            Action::Write(signals) => self.write(signals),
            Action::Serial(serial) => {
                self.put_serial(serial);
                self.send()
            }
            Action::Expect {
                within,
                first,
                with,
                meanwhile,
            } => self.expect(*within, first, with, meanwhile),
            Action::Hold { span, checks } => self.hold(*span, checks),
            Action::Keep(kept) => {
                let image = self.fresh()?;
                self.kept.extend(kept.iter().map(|(name, signal)| (*name, image.value(signal))));
                Ok(())
            }
            Action::Distance => self.keep_distance(),
            Action::Expose(cycle_id, look) => {
                self.expose(*cycle_id, *look);
                Ok(())
            }
            Action::LinkDown => {
                self.link.disconnect();
                (self.cut, self.written, self.latest) = (true, false, None);
                Ok(())
            }
            Action::LinkUp(after) => {
                thread::sleep(*after);
                self.cut = false;
                Ok(())
            }
            Action::Heart(beats) => {
                self.beats = *beats;
                Ok(())
            }
            Action::Kill => self.end_station(P::kill).map_err(failed),
            Action::Stop => self.end_station(P::stop).map_err(failed),
            Action::Start => self.plant.start().map_err(failed),
            Action::Records(records) => self.look_for(records),
        }
    }

    /// A PLC that starts anew knows nothing but what the station echoes.
    fn start_plc(&mut self) -> Result<(), Deviation> {
        let image = self.within(Timer::Ready.duration(self.terms))?;
        let session = image.value("EchoPlcSession");
        let next = (session as u16).wrapping_add(1).max(1);
        // A restart in the middle of a sequence forgets nothing that was noted before it.
        self.kept.extend([("session before", session), ("session", next.into())]);
        let heartbeat = self.registers.get(3).copied().unwrap_or(0);
        self.registers = [0; PLC_REGISTERS];
        self.put("Heartbeat", heartbeat.into());
        self.put("PlcSession", next.into());
        self.put("RecipeNumber", self.terms.recipes.first().copied().unwrap_or(0).into());
        self.send()
    }

    fn write(&mut self, signals: &[(Name, Value)]) -> Result<(), Deviation> {
        let raises = signals.contains(&("Trigger", Value::Number(1)));
        // Without a station there is nobody to take the one for the other.
        while raises && now() < self.alone_until && self.latest.as_ref().is_some_and(|image| !lacks_camera(image)) {
            self.pause()?;
        }
        for (signal, value) in signals {
            let number = resolve(*value, &self.kept, self.latest.as_ref());
            self.put(signal, number);
        }
        self.send()?;
        if raises {
            let cycle_id = self.signal("CycleId");
            self.triggered_last = now();
            self.triggered.insert(cycle_id, self.triggered_last);
            self.exposed.remove(&cycle_id);
            // Nothing is known of the customer's parts: any of them may be good.
            if !self.terms.own_parts && self.is_for_real() {
                self.watchdog.may_pass(cycle_id);
            }
        }
        Ok(())
    }

    /// With a wired trigger two parts in one arm window could not be told apart.
    fn keep_distance(&mut self) -> Result<(), Deviation> {
        while now().since(self.triggered_last) < self.terms.part_interval {
            self.pause()?;
        }
        Ok(())
    }

    fn expose(&mut self, cycle_id: u32, look: Look) {
        let before = self.exposed.entry(cycle_id).or_default();
        // One after the other, and as near to the trigger as may be.
        let later = EXPOSURES_APART * *before;
        *before += 1;
        // Nobody announced part 0, whatever was triggered under that number.
        let announced = self.triggered.get(&cycle_id).filter(|_| cycle_id != 0);
        let at = announced.map_or_else(now, |at| *at + later);
        if look == Look::Good && self.is_for_real() {
            self.watchdog.may_pass(cycle_id);
        } else {
            self.watchdog.must_not_pass(cycle_id);
        }
        self.plant.expose(cycle_id, look, at);
    }

    fn is_for_real(&self) -> bool {
        self.signal("Bypass") == 0 && self.signal("TestPart") == 0
    }

    fn end_station(&mut self, end: impl FnOnce(&mut P) -> Result<(), String>) -> Result<(), String> {
        end(&mut self.plant)?;
        self.link.disconnect();
        (self.written, self.latest) = (false, None);
        Ok(())
    }

    fn expect(&mut self, within: Timer, first: &Check, with: &[Check], meanwhile: &[Check]) -> Result<(), Deviation> {
        let limit = within.duration(self.terms);
        let until = now() + limit;
        let mut seen = None;
        loop {
            let image = match self.look()? {
                // What is asked for too late is late, unless it is we who were late to ask at all.
                Some(image) if image.asked <= until || seen.is_none() => image,
                None if now() <= until => {
                    self.rest();
                    continue;
                }
                _ => return Err(too_late(first, &self.kept, seen.as_ref(), within, limit)),
            };
            match expect(first, with, meanwhile, &self.kept, &image) {
                Judged::Met => return Ok(()),
                Judged::Broken(deviation) => return Err(deviation),
                Judged::NotYet => seen = Some(image),
            }
            self.rest();
        }
    }

    fn hold(&mut self, span: Span, checks: &[Check]) -> Result<(), Deviation> {
        let began = now();
        let (mut beats, mut heartbeat) = (0, None);
        loop {
            if let Some(image) = self.look()? {
                if let Some(deviation) = checks.iter().find_map(|check| deviates(check, &self.kept, &image)) {
                    return Err(deviation);
                }
                let beat = image.value("Heartbeat");
                beats += u32::from(heartbeat.replace(beat).is_some_and(|before| before != beat));
                let over = match span {
                    Span::Beats(wanted) => beats >= wanted,
                    Span::Time(time) => image.asked.since(began) >= time,
                };
                if over {
                    return Ok(());
                }
            }
            let patience = match span {
                Span::Beats(_) => BEATS_MAX,
                Span::Time(time) => time + BEATS_MAX,
            };
            if now().since(began) > patience {
                return Err(Deviation {
                    signal: "Heartbeat".into(),
                    expected: "the station answers, and its Heartbeat counts".into(),
                    seen: self.link.trouble().unwrap_or("it stands still").to_owned(),
                });
            }
            self.rest();
        }
    }

    fn look_for(&mut self, wanted: &[Recorded]) -> Result<(), Deviation> {
        let until = now() + Timer::Record.duration(self.terms);
        loop {
            let deviation = wanted.iter().find_map(|recorded| self.recorded(recorded).err());
            match deviation {
                None => return Ok(()),
                Some(deviation) if now() > until => return Err(deviation),
                Some(_) => self.pause()?,
            }
        }
    }

    fn recorded(&mut self, wanted: &Recorded) -> Result<(), Deviation> {
        let session = self
            .kept
            .get(if wanted.session_before { "session before" } else { "session" })
            .copied()
            .unwrap_or(0);
        let expected = format!("one record of part {}", wanted.cycle_id);
        let records = self.plant.records().map_err(|reason| Deviation::other(expected.clone(), reason))?;
        let of_part = |record: &&PartRecord| {
            let is_it = record.cycle_id.is_some_and(|id| id.get() == wanted.cycle_id) && u32::from(record.plc_session) == session;
            is_it && !record.late_findings
        };
        let mut found: Vec<&PartRecord> = records.iter().filter(of_part).collect();
        // A record that was told before a kill is told again after it.
        found.dedup_by_key(|record| record.sequence);
        let [record] = found[..] else {
            return Err(Deviation::other(expected, format!("{} records", found.len())));
        };
        let outcome = (record.verdict, record.reason);
        let fits = wanted
            .outcome
            .is_none_or(|(verdict, reason)| outcome.0 == verdict && (reason.is_none() || outcome.1 == reason));
        let named = wanted.serial.is_none_or(|serial| record.serial == serial);
        if fits && named {
            return Ok(());
        }
        let reason = record.reason.map_or("", crate::part::Reason::name);
        let seen = format!("{} ({reason}), serial \"{}\"", record.verdict.name(), record.serial);
        Err(Deviation::other(format!("{expected}: {wanted:?}"), seen))
    }

    // ---- the wire ----

    /// Polls once: connects, writes what is not written, reads. `None` without a link. What the watchdog finds breaks any step.
    fn look(&mut self) -> Result<Option<Image>, Deviation> {
        self.plant
            .records()
            .map_err(|reason| Deviation::other("the station runs", reason))?;
        if self.cut {
            return Ok(None);
        }
        self.beat();
        if !self.is_written() {
            return Ok(None);
        }
        if self.latest.as_ref().is_none_or(lacks_camera) {
            self.alone_until = now() + self.plant.idle();
        }
        let Some(image) = self.link.read() else {
            self.written &= self.link.is_up();
            return Ok(None);
        };
        // A stand-in, or a station that is not there yet, says nothing.
        if image.value("BootId") == 0 {
            return Ok(None);
        }
        self.latest = Some(image.clone());
        self.watchdog.see(&image).map_or(Ok(Some(image)), Err)
    }

    /// Connects if need be, and gives the station the whole block. Returns whether it has it.
    fn is_written(&mut self) -> bool {
        if !self.link.is_up() {
            self.written = false;
            self.link.connect();
        }
        if self.link.is_up() && !self.written {
            self.written = self.link.write(&self.registers);
        }
        self.written && self.link.is_up()
    }

    /// Writes the block now, so that the next block does not replace it unseen; without a link it stays in the PLC.
    fn send(&mut self) -> Result<(), Deviation> {
        self.written = false;
        if self.cut {
            return Ok(());
        }
        let until = now() + Timer::Clear.duration(self.terms);
        while !self.is_written() {
            // A station that is down is written to once it is back.
            if self.latest.is_none() {
                return Ok(());
            }
            if now() > until {
                let trouble = self.link.trouble().unwrap_or("no answer").to_owned();
                return Err(Deviation::other("the station takes the PLC's block", trouble));
            }
            self.rest();
        }
        Ok(())
    }

    fn beat(&mut self) {
        let time = now();
        if self.beats && time >= self.beat_at {
            let heartbeat = self.signal("Heartbeat") as u16;
            self.put("Heartbeat", heartbeat.wrapping_add(1).into());
            (self.written, self.beat_at) = (false, time + BEAT);
        }
    }

    /// An image that was asked for after everything before this.
    fn fresh(&mut self) -> Result<Image, Deviation> {
        self.within(Timer::Clear.duration(self.terms))
    }

    fn within(&mut self, limit: Duration) -> Result<Image, Deviation> {
        let until = now() + limit;
        loop {
            if let Some(image) = self.look()? {
                return Ok(image);
            }
            if now() > until {
                let trouble = self.link.trouble().unwrap_or("it says nothing").to_owned();
                return Err(Deviation::other(
                    format!("the station answers within {} ms", limit.as_millis()),
                    trouble,
                ));
            }
            self.rest();
        }
    }

    /// A poll that nobody looks at but the watchdog.
    fn pause(&mut self) -> Result<(), Deviation> {
        self.look()?;
        self.rest();
        Ok(())
    }

    fn rest(&self) {
        thread::sleep(self.poll);
    }

    // ---- the PLC's registers ----

    fn signal(&self, name: &str) -> u32 {
        let signal = FROM_PLC.iter().find(|signal| signal.name == name);
        signal.map_or(0, |signal| signal.read(&self.registers, 0))
    }

    fn put(&mut self, name: &str, value: u32) {
        let Some(signal) = FROM_PLC.iter().find(|signal| signal.name == name) else {
            return;
        };
        let at = usize::from(signal.register);
        match signal.kind {
            Kind::Bit(bit) => self.registers[at] = self.registers[at] & !(1 << bit) | u16::from(value != 0) << bit,
            Kind::U16 | Kind::Characters => self.registers[at] = value as u16,
            Kind::U32 => (self.registers[at], self.registers[at + 1]) = ((value >> 16) as u16, value as u16),
        }
    }

    fn put_serial(&mut self, serial: &str) {
        let Some(signal) = FROM_PLC.iter().find(|signal| signal.name == "Serial") else {
            return;
        };
        let at = usize::from(signal.register);
        let mut bytes = serial.bytes();
        for register in &mut self.registers[at..at + usize::from(signal.count)] {
            let mut next = || bytes.next().unwrap_or(0);
            *register = u16::from_be_bytes([next(), next()]);
        }
    }
}

/// Whether the station is not there yet, or waits for a camera.
fn is_teaching(image: &Image) -> bool {
    image.value("StationMode") == StationMode::Teach as u32
}

fn lacks_camera(image: &Image) -> bool {
    image.value("StationMode") == 0 || image.value("ErrorCode") == u32::from(ErrorCode::CameraLost.code())
}

fn too_late(first: &Check, kept: &Kept, seen: Option<&Image>, within: Timer, limit: Duration) -> Deviation {
    let in_time = format!("within {} = {} ms", within.name(), limit.as_millis());
    match seen.and_then(|image| deviates(first, kept, image)) {
        Some(deviation) => {
            let code = seen.map_or(0, |image| image.value("ErrorCode"));
            let why = match ErrorCode::ALL.iter().find(|error| u32::from(error.code()) == code) {
                Some(error) => format!(" (ErrorCode {code} {}: {})", error.name(), error.remedy()),
                None if code == 0 => String::new(),
                None => format!(" (ErrorCode {code})"),
            };
            Deviation {
                expected: format!("{} {in_time}", deviation.expected),
                seen: format!("{}{why}", deviation.seen),
                ..deviation
            }
        }
        None => Deviation {
            signal: first.name(),
            expected: format!("{} {in_time}", first.text()),
            seen: "no image: the station does not answer".into(),
        },
    }
}

fn step_outcome(number: usize, step: &Step, terms: &Terms, result: Option<Result<(), Deviation>>, took: Duration) -> StepOutcome {
    let within = match &step.action {
        Action::Expect { within, .. } => Some(*within),
        Action::Records(_) => Some(Timer::Record),
        _ => None,
    };
    let mut outcome = StepOutcome {
        number,
        title: step.title.clone(),
        signal: step.signal().into(),
        expectation: step.text(),
        limit_ms: within.map(|timer| timer.duration(terms).as_millis() as u64),
        timer: within.map_or("", Timer::name),
        took_ms: (took.as_secs_f64() * 1e5).round() / 1e2,
        seen: String::new(),
        ending: Ending::Passed,
    };
    match result {
        None => (outcome.ending, outcome.took_ms) = (Ending::Skipped, 0.0),
        Some(Ok(())) => {}
        Some(Err(deviation)) => {
            outcome.ending = Ending::Failed;
            outcome.seen = if deviation.signal.is_empty() {
                format!("expected {}, seen: {}", deviation.expected, deviation.seen)
            } else {
                format!("{}: expected {}, seen {}", deviation.signal, deviation.expected, deviation.seen)
            };
            if !deviation.signal.is_empty() {
                outcome.signal = deviation.signal;
            }
        }
    }
    outcome
}
