//! The PLC as it runs: scans in its own time, polls the station in its own time, sees parts come, suffers its faults.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::camera_thread::{self, Expose};
use super::facts::{Cycle, StrayOk};
use super::modbus::{Poll, Wire};
use super::plc_program::{Arrival, PlcProgram, Reading};
use super::schedule::{MachineFault, Rate, Schedule};
use super::settings::Settings;
use crate::flow::{Sender, now};
use crate::line::image::{Counts, PlcImage, control};
use crate::part::Nanos;

/// How long parts may wait for a station that takes none.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long parts on their way are waited for once the run is to stop.
const STOP: Duration = Duration::from_secs(10);

/// A station that is killed has fallen silent on the wire by then.
const KILL_SHOWS: Duration = Duration::from_millis(500);

/// How long a station may take to come back after the last part.
const COMEBACK: Duration = Duration::from_secs(30);

/// How often a PLC without wait looks for a station that is not there.
const LINK_DOWN: Duration = Duration::from_millis(2);

/// What the PLC has to tell.
pub(super) enum PlcNews {
    /// The gate decided about a part.
    Gated(Box<Cycle>),
    /// Something is to happen to the station now.
    Machine(MachineFault),
    /// Something that people should know.
    Note(String),
    /// The run is over.
    Done(Box<PlcLog>),
}

/// Who is told.
pub(super) type Tell = Box<dyn Fn(PlcNews) + Send>;

/// Everything the PLC saw.
#[derive(Debug, Default)]
pub(super) struct PlcLog {
    /// The cycles, in the order of their triggers.
    pub cycles: Vec<Cycle>,
    /// Oks for nobody.
    pub strays: Vec<StrayOk>,
    /// The starts of the station it saw.
    pub boot_ids: BTreeSet<u16>,
    /// Parts that went by without a trigger.
    pub untriggered: u32,
    /// How often it was restarted.
    pub plc_restarts: u32,
    /// The station's counters before the first part, and in the end.
    pub counts: Option<(Counts, Counts)>,
    /// Why it gave up.
    pub gave_up: Option<String>,
}

/// The PLC and everything wired to it.
pub(super) struct PlcThread {
    settings: Settings,
    schedule: Arc<Schedule>,
    program: PlcProgram,
    wire: Wire,
    reading: Option<Reading>,
    /// Blocks to write, in this order.
    pending: Vec<PlcImage>,
    /// The block as it is in the PLC's memory.
    latest: PlcImage,
    /// The block that was last put on a wire.
    attempted: Option<PlcImage>,
    /// Whether the station has it.
    written: bool,
    exposures: Sender<Expose>,
    exposed: u32,
    tell: Tell,
    stop: Arc<AtomicBool>,
    stopping_since: Option<Nanos>,
    next_part: u32,
    next_arrival: Nanos,
    /// No part comes in while the station is not there.
    infeed_stopped: bool,
    last_progress: Nanos,
    idle_since: Option<Nanos>,
    faults: Vec<(Nanos, MachineFault)>,
    /// When the last of them came.
    suffered_at: Option<Nanos>,
    log: PlcLog,
}

impl PlcThread {
    pub(super) fn new(settings: Settings, schedule: Arc<Schedule>, exposures: Sender<Expose>, tell: Tell, stop: Arc<AtomicBool>) -> Self {
        Self {
            program: PlcProgram::new(settings.program()),
            wire: Wire::new(settings.address, settings.result_mode),
            settings,
            schedule,
            reading: None,
            pending: Vec::new(),
            latest: PlcImage::default(),
            attempted: None,
            written: false,
            exposures,
            exposed: 0,
            tell,
            stop,
            stopping_since: None,
            next_part: 1,
            next_arrival: now(),
            infeed_stopped: true,
            last_progress: now(),
            idle_since: None,
            faults: Vec::new(),
            suffered_at: None,
            log: PlcLog::default(),
        }
    }

    /// Runs until every part has gone by, or it is to stop.
    pub(super) fn run(mut self) {
        if self.settings.poll.is_zero() {
            camera_thread::give_way();
        }
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.drive()),
            Err(error) => self.log.gave_up = Some(format!("failed to start the PLC's network: {error}")),
        }
        self.log.strays = self.program.strays().to_vec();
        let mut log = std::mem::take(&mut self.log);
        log.cycles.extend(self.program.into_rest());
        (self.tell)(PlcNews::Done(Box::new(log)));
    }

    async fn drive(&mut self) {
        let (mut scan_at, mut poll_at) = (now(), now());
        while !self.is_over() {
            let time = now();
            self.suffer(time);
            if self.settings.scan.is_zero() || time >= scan_at {
                self.scan(time);
                scan_at = (scan_at + self.settings.scan).max(time);
            }
            if time >= poll_at {
                self.exchange().await;
                poll_at = (poll_at + self.settings.poll).max(time);
                if self.settings.scan.is_zero() && !self.settings.poll.is_zero() {
                    self.scan(now());
                    self.write().await;
                }
            }
            self.rest(if self.settings.scan.is_zero() {
                poll_at
            } else {
                poll_at.min(scan_at)
            });
        }
        // The counters are final once the last result was read; the image of this poll has them.
        self.program.go_offline();
        self.scan(now());
        self.exchange().await;
        self.exchange().await;
        if let (Some((_, last)), Some(reading)) = (&mut self.log.counts, &self.reading) {
            *last = reading.station.counts;
        }
    }

    /// Nothing else runs on this thread, so it may sleep: more precisely than a timer of the runtime.
    fn rest(&self, until: Nanos) {
        let wait = until.since(now());
        let wait = if self.wire.is_up() { wait } else { wait.max(LINK_DOWN) };
        if !wait.is_zero() {
            thread::sleep(wait);
        }
    }

    fn is_over(&mut self) -> bool {
        let time = now();
        if self.stop.load(Ordering::Relaxed) {
            let since = *self.stopping_since.get_or_insert(time);
            self.next_part = self.schedule.count() + 1;
            // Nothing is on its way, and nobody is there to take what waits.
            let hopeless = self.program.tracked() == 0 && !self.program.station_alive();
            if hopeless || time.since(since) > STOP {
                return true;
            }
        }
        let all_came = self.next_part > self.schedule.count();
        // What was to go wrong goes wrong, even after the last part.
        let all_suffered = self.faults.is_empty() && self.suffered_at.is_none_or(|at| time.since(at) > KILL_SHOWS);
        if all_came && all_suffered && self.program.is_free() && self.program.tracked() == 0 {
            // A station that was killed last tells what became of its parts once it is back.
            let since = *self.idle_since.get_or_insert(time);
            return self.program.station_alive() || time.since(since) > COMEBACK;
        }
        if time.since(self.last_progress) > PATIENCE {
            self.log.gave_up = Some(self.trouble());
        }
        self.log.gave_up.is_some()
    }

    /// Why no part gets through.
    fn trouble(&self) -> String {
        let seconds = PATIENCE.as_secs();
        match (self.wire.trouble(), &self.reading) {
            (Some(trouble), _) => format!("the station was not there for {seconds} s: {trouble}"),
            (None, Some(reading)) => format!(
                "the station took no part for {seconds} s; its ErrorCode is {} (the log and the manual say what that means)",
                reading.station.error_code
            ),
            (None, None) => format!("the station said nothing for {seconds} s"),
        }
    }

    fn scan(&mut self, time: Nanos) {
        self.let_parts_in(time);
        let images = self.program.scan(time, self.reading.as_ref());
        if let Some(latest) = images.last() {
            self.latest = *latest;
        }
        // Several blocks must all be seen by the station, and each level of Trigger; of others only the newest counts.
        let same_level = |waiting: &PlcImage| images.first().is_some_and(|image| triggers(image) == triggers(waiting));
        if images.len() == 1 && self.pending.len() == 1 && self.pending.first().is_some_and(same_level) {
            self.pending = images;
        } else if self.pending.last() != images.first() || images.len() > 1 {
            self.pending.extend(images);
        }
        for cycle in self.program.take_gated() {
            (self.tell)(PlcNews::Gated(Box::new(cycle)));
        }
        self.log.cycles.extend(self.program.take_finished());
    }

    fn let_parts_in(&mut self, time: Nanos) {
        let ready = self.program.station_alive() && self.reading.as_ref().is_some_and(|reading| reading.station.trigger_ready);
        if !self.program.station_alive() {
            self.infeed_stopped = true;
        } else if ready && self.infeed_stopped {
            self.infeed_stopped = false;
            self.next_arrival = self.next_arrival.max(time);
        }
        while !self.infeed_stopped && self.next_part <= self.schedule.count() && time >= self.next_arrival {
            if self.settings.rate == Rate::Max && !self.program.is_free() {
                break;
            }
            let part = self.schedule.part(self.next_part);
            let taken = self.program.announce(Arrival {
                part: part.number,
                encoder: part.encoder,
                at: self.next_arrival,
                fault: part.trigger_fault,
            });
            self.last_progress = time;
            if !taken {
                self.log.untriggered += 1;
                if self.settings.is_wired() {
                    self.expose(part.number, time);
                }
            }
            self.next_part += 1;
            self.next_arrival = self.next_arrival + self.settings.rate.interval();
        }
    }

    /// Writes, then reads.
    async fn exchange(&mut self) {
        if !self.wire.is_up() {
            if !self.wire.connect().await {
                self.link_down();
                return;
            }
            self.written = false;
        }
        if !self.written {
            // What changed while there was no link is history.
            self.pending = vec![self.latest];
        }
        if self.write().await {
            let poll = if self.awaits_only_results() {
                Poll::Results
            } else {
                Poll::Everything
            };
            match self.wire.read(poll).await {
                Ok(reading) => self.take(reading),
                Err(_) => self.lost(),
            }
        }
    }

    /// Whether a PLC that polls without wait has nothing to learn from the status now.
    fn awaits_only_results(&self) -> bool {
        self.settings.poll.is_zero() && self.program.is_free() && self.program.awaits_results()
    }

    /// Writes what changed. Returns whether the link still stands.
    async fn write(&mut self) -> bool {
        for image in std::mem::take(&mut self.pending) {
            if self.written && self.attempted == Some(image) {
                continue;
            }
            let rises = triggers(&image) && !self.attempted.as_ref().is_some_and(triggers);
            self.attempted = Some(image);
            match self.wire.write(&image).await {
                Ok(trip) => {
                    self.written = true;
                    if rises {
                        self.program.trigger_written(&image, trip.sent, Some(trip.replied));
                        // A sensor exposes by itself; otherwise the station does, once it has seen the trigger.
                        self.trigger_left(if self.settings.is_wired() { trip.sent } else { trip.replied });
                    }
                }
                Err(error) => {
                    if rises && let Some(sent) = error.sent {
                        self.program.trigger_written(&image, sent, None);
                    }
                    self.lost();
                    return false;
                }
            }
        }
        true
    }

    fn take(&mut self, reading: Reading) {
        if reading.boot_id != 0 && self.log.boot_ids.insert(reading.boot_id) && self.log.boot_ids.len() > 1 {
            self.note(format!("the station has started again (start {})", reading.boot_id));
        }
        let counts = reading.station.counts;
        self.log.counts.get_or_insert((counts, counts));
        self.reading = Some(reading);
    }

    fn lost(&mut self) {
        if let Some(trouble) = self.wire.trouble() {
            self.note(format!("the PLC lost the station: {trouble}"));
        }
        self.written = false;
        self.link_down();
    }

    fn link_down(&mut self) {
        self.program.link_lost();
        self.pending.clear();
        // The part goes by all the same.
        if self.settings.is_wired()
            && let Some(cycle) = self.program.latest().filter(|cycle| cycle.part > self.exposed)
        {
            self.trigger_left(cycle.raised);
        }
    }

    /// The part triggered last is under the camera in a moment, and its faults take their course.
    fn trigger_left(&mut self, at: Nanos) {
        let Some(part) = self.program.latest().map(|cycle| cycle.part).filter(|part| *part > self.exposed) else {
            return;
        };
        if self.settings.rate == Rate::Max {
            self.next_arrival = at + self.settings.spacing();
        }
        self.expose(part, at + self.settings.exposure_delay);
        for (fault, after) in self.schedule.part(part).machine_faults {
            self.faults.push((at + after, fault));
        }
    }

    fn expose(&mut self, part: u32, at: Nanos) {
        self.exposed = part;
        let fault = self.schedule.part(part).frame_fault;
        let _ = self.exposures.send(Expose { part, at, fault });
    }

    /// Machine faults whose time has come.
    fn suffer(&mut self, time: Nanos) {
        // A PLC restarts only where its session is in force: two sessions of one number could not be told apart.
        let session = self.program.session();
        let in_force = session != 0
            && self
                .reading
                .as_ref()
                .is_some_and(|reading| reading.station.echo_plc_session == session);
        let comes = |fault: &(Nanos, MachineFault)| time >= fault.0 && (fault.1 != MachineFault::PlcRestart || in_force);
        let Some(place) = self.faults.iter().position(comes) else { return };
        match self.faults.swap_remove(place).1 {
            MachineFault::PlcRestart => self.restart(),
            fault => {
                self.suffered_at = Some(time);
                (self.tell)(PlcNews::Machine(fault));
            }
        }
    }

    fn restart(&mut self) {
        self.note("the PLC restarts".into());
        self.program.restart();
        self.wire.disconnect();
        self.reading = None;
        self.pending.clear();
        self.latest = PlcImage::default();
        self.attempted = None;
        self.written = false;
        self.log.plc_restarts += 1;
    }

    fn note(&self, note: String) {
        (self.tell)(PlcNews::Note(note));
    }
}

/// Whether the station can take this for a trigger: a torn block is none yet.
fn triggers(image: &PlcImage) -> bool {
    image.is(control::TRIGGER) && image.cycle_id == image.cycle_id_tail
}
