//! The program of the PLC, scan by scan, as a function block would be written from the description of the interface: trigger handshake,
//! results, pass rule, heartbeats, sessions, restarts. Pure: the copy of the station's registers and the time go in, the block to write
//! comes out.
//!
//! Bounds: at most [`QUEUE`] parts wait for their trigger; parts are tracked until nothing can be shown for them any more.

use std::collections::VecDeque;
use std::time::Duration;

use super::facts::{Answer, Cycle, CycleKey, GateReason, Read, StrayOk};
use super::gate::Gate;
use super::schedule::TriggerFault;
use crate::line::config::ResultMode;
use crate::line::image::{PlcImage, StationImage, control};
use crate::part::{CycleId, Nanos, Verdict};

/// Parts that may wait for their trigger.
pub const QUEUE: usize = 16;

/// Both sides count their heartbeat up after this time.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// How many times a station may show an Ok for no cycle before it is not written down any more.
const STRAYS_MAX: usize = 16;

/// What the program needs to know of its station and line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramSettings {
    /// How the station gives its results.
    pub mode: ResultMode,
    /// Where the gate is.
    pub gate: Gate,
    /// Without a heartbeat for so long the station is lost.
    pub heartbeat_timeout: Duration,
    /// How long the station may take to answer a trigger while its heartbeat goes on.
    pub answer_timeout: Duration,
    /// How long a part can wait for `TriggerReady`; then it is triggered all the same. `None`: parts can wait.
    pub ready_wait: Option<Duration>,
    /// How long after the gate a part's result is still watched.
    pub settle: Duration,
}

/// The copy of the station's registers that a scan uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What the station said.
    pub station: StationImage,
    /// Whether `ResultId` equalled `ResultIdTail`.
    pub whole: bool,
    /// Heartbeat and `BootId` as they were read together with the results.
    pub heartbeat: u16,
    /// See `heartbeat`.
    pub boot_id: u16,
    /// When the request for the results was sent.
    pub polled: Nanos,
    /// When its reply was received.
    pub received: Nanos,
}

/// A part that the sensor before the camera saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Which part it really is.
    pub part: u32,
    /// Encoder position.
    pub encoder: u32,
    /// When.
    pub at: Nanos,
    /// What the program does wrong with it.
    pub fault: Option<TriggerFault>,
}

/// Where the trigger handshake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handshake {
    /// Nothing to trigger.
    Idle,
    /// `CycleId` to `CycleIdTail` are written.
    Prepared(Arrival),
    /// Trigger is 1. `repeated`: for the second time.
    Raised { arrival: Arrival, since: Nanos, repeated: bool },
    /// Trigger is 0 again. `repeat`: the same block is to be triggered once more.
    Dropped { arrival: Arrival, repeat: bool },
}

/// The station's heartbeat as the program watches it.
#[derive(Debug, Clone, Copy, Default)]
struct Watch {
    last: Option<u16>,
    changes: u8,
    changed_at: Nanos,
}

impl Watch {
    fn see(&mut self, heartbeat: u16, at: Nanos) {
        if self.last.is_some_and(|last| last != heartbeat) {
            self.changes = self.changes.saturating_add(1);
            self.changed_at = at;
        }
        self.last = Some(heartbeat);
    }

    /// Alive after two changes; dead, until two more, once they stopped for `timeout`.
    fn alive(&mut self, now: Nanos, timeout: Duration) -> bool {
        if self.changes > 0 && now.since(self.changed_at) > timeout {
            self.changes = 0;
        }
        self.changes >= 2
    }
}

/// A part between camera and gate, and a while beyond.
#[derive(Debug, Clone)]
struct Tracked {
    cycle: Cycle,
    /// When the last poll was sent that did not show its result.
    not_yet: Option<Nanos>,
}

/// The program with its memory.
#[derive(Debug)]
pub struct PlcProgram {
    settings: ProgramSettings,
    image: PlcImage,
    /// Survives a restart, in case the station cannot say which session was the last.
    session_before: u16,
    next_cycle: CycleId,
    heartbeat_due: Nanos,
    watch: Watch,
    alive: bool,
    boot_id: u16,
    waiting: VecDeque<Arrival>,
    handshake: Handshake,
    tracked: VecDeque<Tracked>,
    seen: Nanos,
    gated: Vec<Cycle>,
    finished: Vec<Cycle>,
    strays: Vec<StrayOk>,
}

impl PlcProgram {
    /// A PLC that was just switched on.
    pub fn new(settings: ProgramSettings) -> Self {
        Self {
            settings,
            image: PlcImage::default(),
            session_before: 0,
            next_cycle: CycleId::FIRST,
            heartbeat_due: Nanos::default(),
            watch: Watch::default(),
            alive: false,
            boot_id: 0,
            waiting: VecDeque::new(),
            handshake: Handshake::Idle,
            tracked: VecDeque::new(),
            seen: Nanos::default(),
            gated: Vec::new(),
            finished: Vec::new(),
            strays: Vec::new(),
        }
    }

    /// A part comes. `false`: too many wait already, it goes by without a trigger and is rejected.
    pub fn announce(&mut self, arrival: Arrival) -> bool {
        let fits = self.waiting.len() < QUEUE;
        if fits {
            self.waiting.push_back(arrival);
        }
        fits
    }

    /// Whether no part waits for its trigger or its answer.
    pub fn is_free(&self) -> bool {
        self.waiting.is_empty() && self.handshake == Handshake::Idle
    }

    /// Whether the result of a part that was triggered is still to come.
    pub fn awaits_results(&self) -> bool {
        self.tracked.iter().any(|tracked| tracked.cycle.read.is_none())
    }

    /// Whether the station's heartbeat goes on.
    pub fn station_alive(&self) -> bool {
        self.alive
    }

    /// The part triggered last, while it is watched.
    pub fn latest(&self) -> Option<&Cycle> {
        self.tracked.back().map(|tracked| &tracked.cycle)
    }

    /// Parts that are watched.
    pub fn tracked(&self) -> usize {
        self.tracked.len()
    }

    /// The session in force; 0 until it is known.
    pub fn session(&self) -> u16 {
        self.image.plc_session
    }

    /// The start of the station last seen.
    pub fn boot_id(&self) -> u16 {
        self.boot_id
    }

    /// Cycles that the gate has decided about since the last call.
    pub fn take_gated(&mut self) -> Vec<Cycle> {
        std::mem::take(&mut self.gated)
    }

    /// Cycles for which nothing can be shown any more.
    pub fn take_finished(&mut self) -> Vec<Cycle> {
        std::mem::take(&mut self.finished)
    }

    /// What the station said Ok to without being asked.
    pub fn strays(&self) -> &[StrayOk] {
        &self.strays
    }

    /// The cycle whose Trigger rises in `image` was written: when the last byte left, and when the reply came, if it did.
    pub fn trigger_written(&mut self, image: &PlcImage, sent: Nanos, replied: Option<Nanos>) {
        let of = |cycle: &Cycle| cycle.key.plc_session == image.plc_session && cycle.key.cycle_id.get() == image.cycle_id;
        if let Some(tracked) = self.tracked.iter_mut().rev().find(|tracked| of(&tracked.cycle)) {
            let cycle = &mut tracked.cycle;
            cycle.sent = cycle.sent.or(Some(sent));
            cycle.replied = cycle.replied.or(replied);
        }
    }

    /// The connection to the station broke: what is in the middle of its handshake may or may not have been seen.
    pub fn link_lost(&mut self) {
        if let Handshake::Raised { .. } = self.handshake
            && let Some(tracked) = self.tracked.back_mut()
        {
            tracked.cycle.disturbed = true;
        }
    }

    /// Power loss of the PLC: everything but the retained session number is forgotten, every part on its way is a reject.
    pub fn restart(&mut self) {
        self.link_lost();
        self.void(GateReason::PlcRestarted);
        self.session_before = self.image.plc_session.max(self.session_before);
        self.image = PlcImage::default();
        self.handshake = Handshake::Idle;
        self.watch = Watch::default();
        self.alive = false;
        self.next_cycle = CycleId::FIRST;
    }

    /// Takes the line out of production; what was triggered still runs to its outcome.
    pub fn go_offline(&mut self) {
        self.waiting.clear();
        self.image.control &= !(control::ONLINE | control::TRIGGER_ENABLE);
    }

    /// One scan: returns the blocks to write, in this order; usually one. `reading` is the newest copy of the station's registers, which
    /// grows old while the link is down.
    pub fn scan(&mut self, now: Nanos, reading: Option<&Reading>) -> Vec<PlcImage> {
        if now >= self.heartbeat_due {
            self.image.heartbeat = self.image.heartbeat.wrapping_add(1);
            self.heartbeat_due = now + HEARTBEAT;
        }
        let mut images = Vec::new();
        if let Some(reading) = reading {
            if reading.received > self.seen {
                self.seen = reading.received;
                self.observe(reading);
            }
            self.alive = self.watch.alive(now, self.settings.heartbeat_timeout);
            if self.image.plc_session == 0 {
                self.begin_session(reading.station.echo_plc_session);
            } else {
                images = self.handshake(now, reading);
            }
            if self.settings.mode == ResultMode::Single {
                self.acknowledge(reading);
            }
        }
        self.open_gates(now);
        if images.is_empty() {
            images.push(self.image);
        }
        images
    }

    /// The session after the one the station knows. A station that has just started knows none: then after the one before.
    fn begin_session(&mut self, echo: u16) {
        let before = if echo == 0 { self.session_before } else { echo };
        self.image.plc_session = before.checked_add(1).unwrap_or(1);
        self.image.control = control::ONLINE | control::TRIGGER_ENABLE;
    }

    fn observe(&mut self, reading: &Reading) {
        if reading.boot_id != self.boot_id {
            // Before the first reading there is nothing to void.
            if self.boot_id != 0 {
                self.link_lost();
                self.void(GateReason::StationRestarted);
            }
            self.boot_id = reading.boot_id;
            self.watch = Watch::default();
        }
        self.watch.see(reading.heartbeat, reading.received);
        let station = &reading.station;
        match self.settings.mode {
            ResultMode::Single => {
                if reading.whole && station.result_valid {
                    // What a verdict says counts for nothing without Accept.
                    let verdict = station.verdict.filter(|verdict| *verdict != Verdict::Ok || station.accept);
                    self.shown(reading, station.echo_cycle_id, station.result_id, verdict, station.reason_code);
                }
            }
            ResultMode::Window => {
                for slot in &station.window {
                    if let Some(cycle_id) = slot.cycle_id {
                        self.shown(reading, cycle_id.get(), slot.result_id, Verdict::from_code(slot.verdict), 0);
                    }
                }
            }
        }
        for tracked in &mut self.tracked {
            let cycle = &tracked.cycle;
            if cycle.read.is_none() && cycle.sent.is_some_and(|sent| reading.polled >= sent) {
                tracked.not_yet = Some(reading.polled);
            }
        }
    }

    /// The station shows a result.
    fn shown(&mut self, reading: &Reading, cycle_id: u32, result_id: u32, verdict: Option<Verdict>, reason_code: u16) {
        let Some(verdict) = verdict else { return };
        let session = reading.station.echo_plc_session;
        let of = |cycle: &Cycle| cycle.key.plc_session == session && cycle.key.cycle_id.get() == cycle_id;
        let found = self.tracked.iter_mut().find(|tracked| of(&tracked.cycle));
        let is_ok = verdict == Verdict::Ok;
        let restarted = found.as_ref().is_some_and(|tracked| tracked.cycle.boot_id != reading.boot_id);
        if is_ok && (found.is_none() || restarted) && self.strays.len() < STRAYS_MAX {
            self.strays.push(StrayOk {
                cycle_id,
                result_id,
                boot_id: reading.boot_id,
                received: reading.received,
            });
        }
        let Some(tracked) = found else { return };
        let cycle = &mut tracked.cycle;
        if is_ok {
            cycle.last_ok_polled = Some(reading.polled);
        }
        match cycle.read {
            None => {
                cycle.read = Some(Read {
                    verdict,
                    result_id,
                    reason_code,
                    received: reading.received,
                    not_yet: tracked.not_yet,
                });
            }
            Some(read) if read.verdict != verdict => cycle.contradiction = cycle.contradiction.or(Some(verdict)),
            Some(_) => {}
        }
    }

    /// Every part between camera and gate is a reject.
    fn void(&mut self, reason: GateReason) {
        for tracked in self.tracked.iter_mut().filter(|tracked| tracked.cycle.gated.is_none()) {
            tracked.cycle.voided = tracked.cycle.voided.or(Some(reason));
        }
    }

    fn handshake(&mut self, now: Nanos, reading: &Reading) -> Vec<PlcImage> {
        let station = &reading.station;
        let answered = station.trigger_ack || station.missed_trigger;
        match self.handshake {
            Handshake::Idle => self.prepare(),
            Handshake::Prepared(arrival) => {
                let ready = self.alive && station.trigger_ready && !answered && station.echo_plc_session == self.image.plc_session;
                let overdue = self.settings.ready_wait.is_some_and(|wait| now >= arrival.at + wait) && (!answered || !self.alive);
                if ready || overdue {
                    return self.raise(now, arrival);
                }
            }
            Handshake::Raised { arrival, since, repeated } => self.await_answer(now, reading, arrival, since, repeated),
            Handshake::Dropped { arrival, repeat } => {
                if !answered && repeat {
                    self.image.control |= control::TRIGGER;
                    self.handshake = Handshake::Raised {
                        arrival,
                        since: now,
                        repeated: true,
                    };
                    if let Some(tracked) = self.tracked.back_mut() {
                        tracked.cycle.repeats += 1;
                    }
                } else if !answered || !self.alive {
                    self.handshake = Handshake::Idle;
                    // The next block may be written at once: Trigger is 0 and both answers are.
                    self.prepare();
                }
            }
        }
        Vec::new()
    }

    /// Writes `CycleId` to `CycleIdTail` of the next part.
    fn prepare(&mut self) {
        let Some(arrival) = self.waiting.pop_front() else { return };
        let cycle_id = self.next_cycle;
        self.next_cycle = cycle_id.next();
        self.image.cycle_id = cycle_id.get();
        self.image.encoder = arrival.encoder;
        self.image.serial = serial(arrival.part);
        if arrival.fault != Some(TriggerFault::Torn) {
            self.image.cycle_id_tail = cycle_id.get();
        }
        self.handshake = Handshake::Prepared(arrival);
    }

    /// Trigger := 1, with what the part's fault makes of it.
    fn raise(&mut self, now: Nanos, arrival: Arrival) -> Vec<PlcImage> {
        let Some(cycle_id) = CycleId::new(self.image.cycle_id) else {
            return Vec::new();
        };
        let key = CycleKey {
            plc_session: self.image.plc_session,
            cycle_id,
        };
        let mut cycle = Cycle::new(key, arrival.part, self.boot_id, now);
        let before = self.image;
        self.image.control |= control::TRIGGER;
        let images = match arrival.fault {
            Some(TriggerFault::Bounce) => {
                cycle.repeats = 1;
                vec![self.image, before, self.image]
            }
            Some(TriggerFault::Torn) => {
                let torn = self.image;
                self.image.cycle_id_tail = cycle_id.get();
                vec![torn, self.image]
            }
            _ => vec![self.image],
        };
        self.tracked.push_back(Tracked { cycle, not_yet: None });
        self.handshake = Handshake::Raised {
            arrival,
            since: now,
            repeated: false,
        };
        images
    }

    fn await_answer(&mut self, now: Nanos, reading: &Reading, arrival: Arrival, since: Nanos, repeated: bool) {
        let station = &reading.station;
        let Some(tracked) = self.tracked.back_mut() else {
            // Its part is long past the gate. Trigger must be seen 0 before it means another part.
            self.image.control &= !control::TRIGGER;
            self.handshake = Handshake::Dropped { arrival, repeat: false };
            return;
        };
        let cycle = &mut tracked.cycle;
        // An answer read before the edge was written belongs to something else.
        let is_mine = station.echo_trigger_id == cycle.key.cycle_id.get() && cycle.sent.is_some() && reading.received > since;
        let answer = match (station.trigger_ack, station.missed_trigger) {
            (true, _) if is_mine => Some(Answer::Taken),
            (_, true) if is_mine => Some(Answer::Missed),
            _ => None,
        };
        let restarted = cycle.boot_id != self.boot_id;
        let lost = restarted || !self.alive;
        cycle.disturbed |= lost && answer.is_none();
        if answer.is_none() && !lost && now < since + self.settings.answer_timeout {
            return;
        }
        if repeated {
            cycle.repeat_answer = answer;
        } else {
            cycle.answer = answer;
        }
        self.image.control &= !control::TRIGGER;
        self.handshake = Handshake::Dropped {
            arrival,
            repeat: !repeated && answer == Some(Answer::Taken) && arrival.fault == Some(TriggerFault::Duplicate),
        };
    }

    /// Single mode: whatever is shown is consumed.
    fn acknowledge(&mut self, reading: &Reading) {
        let station = &reading.station;
        if self.image.is(control::RESULT_ACK) {
            if !station.result_valid || station.result_id != self.image.ack_result_id {
                self.image.control &= !control::RESULT_ACK;
            }
        } else if reading.whole && station.result_valid && self.image.plc_session != 0 {
            self.image.ack_result_id = station.result_id;
            self.image.control |= control::RESULT_ACK;
        }
    }

    fn open_gates(&mut self, now: Nanos) {
        let gate = self.settings.gate;
        for tracked in &mut self.tracked {
            let cycle = &mut tracked.cycle;
            if cycle.gated.is_none() && now >= gate.decides_at(cycle.raised) {
                let reason = gate.decide(cycle, self.alive);
                cycle.gated = Some(super::facts::Gated { at: now, reason });
                self.gated.push(cycle.clone());
            }
        }
        let settle = gate.trigger_to_gate + self.settings.settle;
        let settled = |tracked: &Tracked| tracked.cycle.gated.is_some() && now >= tracked.cycle.raised + settle;
        let count = self.tracked.iter().take_while(|tracked| settled(tracked)).count();
        self.finished.extend(self.tracked.drain(..count).map(|tracked| tracked.cycle));
    }

    /// Everything that is still tracked, as it stands: for the end of a run.
    pub fn into_rest(mut self) -> Vec<Cycle> {
        self.finished.extend(self.tracked.drain(..).map(|tracked| tracked.cycle));
        self.finished
    }
}

/// The serial number of a part: `P` and eight digits.
fn serial(part: u32) -> [u8; 32] {
    let mut serial = [0; 32];
    for (place, byte) in serial.iter_mut().zip(format!("P{part:08}").bytes()) {
        *place = byte;
    }
    serial
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: ProgramSettings = ProgramSettings {
        mode: ResultMode::Single,
        gate: Gate {
            trigger_to_gate: Duration::from_millis(400),
            actuation: Duration::from_millis(20),
        },
        heartbeat_timeout: Duration::from_secs(1),
        answer_timeout: Duration::from_secs(2),
        ready_wait: None,
        settle: Duration::from_secs(1),
    };

    /// A PLC and what it reads, a scan every 10 ms.
    struct Bench {
        program: PlcProgram,
        station: StationImage,
        now: u64,
    }

    impl Bench {
        /// In session, with a station that lives and is ready.
        fn running(fault: Option<TriggerFault>) -> Self {
            let mut bench = Self {
                program: PlcProgram::new(SETTINGS),
                station: StationImage {
                    boot_id: 7,
                    ..StationImage::default()
                },
                now: 1000,
            };
            bench.scan();
            bench.station.echo_plc_session = bench.program.session();
            for _ in 0..2 {
                bench.station.heartbeat += 1;
                bench.scan();
            }
            bench.station.trigger_ready = true;
            let arrival = Arrival {
                part: 5,
                encoder: 100,
                at: Nanos::from_millis(bench.now),
                fault,
            };
            assert!(bench.program.announce(arrival));
            bench
        }

        fn scan(&mut self) -> Vec<PlcImage> {
            self.now += 10;
            let now = Nanos::from_millis(self.now);
            let reading = Reading {
                whole: true,
                heartbeat: self.station.heartbeat,
                boot_id: self.station.boot_id,
                polled: now,
                received: now,
                station: self.station.clone(),
            };
            let images = self.program.scan(now, Some(&reading));
            for image in images.iter().filter(|image| image.is(control::TRIGGER)) {
                self.program.trigger_written(image, now, Some(now));
            }
            images
        }
    }

    fn shape(images: &[PlcImage]) -> Vec<(u32, u32, bool)> {
        let shape = |image: &PlcImage| (image.cycle_id, image.cycle_id_tail, image.is(control::TRIGGER));
        images.iter().map(shape).collect()
    }

    #[test]
    fn the_trigger_rises_one_scan_after_its_block_and_falls_with_its_answer() {
        let mut bench = Bench::running(None);
        assert_eq!(shape(&bench.scan()), [(1, 1, false)]);
        assert_eq!(shape(&bench.scan()), [(1, 1, true)]);
        // Another trigger's answer is none.
        (bench.station.trigger_ack, bench.station.trigger_ready) = (true, false);
        assert_eq!(shape(&bench.scan()), [(1, 1, true)]);
        bench.station.echo_trigger_id = 1;
        assert_eq!(shape(&bench.scan()), [(1, 1, false)]);
        assert!(!bench.program.is_free(), "the answer still stands");
        bench.station.trigger_ack = false;
        bench.scan();
        assert!(bench.program.is_free());
        assert_eq!(bench.program.latest().and_then(|cycle| cycle.answer), Some(Answer::Taken));
    }

    #[test]
    fn faults_of_the_trigger_are_what_they_are_called() {
        let raised = |fault| {
            let mut bench = Bench::running(Some(fault));
            [bench.scan(), bench.scan()].map(|images| shape(&images))
        };
        assert_eq!(
            raised(TriggerFault::Bounce),
            [vec![(1, 1, false)], vec![(1, 1, true), (1, 1, false), (1, 1, true)]]
        );
        assert_eq!(raised(TriggerFault::Torn), [vec![(1, 0, false)], vec![(1, 0, true), (1, 1, true)]]);

        let mut bench = Bench::running(Some(TriggerFault::Duplicate));
        (bench.station.echo_trigger_id, bench.station.trigger_ready) = (1, true);
        let mut edges = 0;
        let mut before = false;
        for _ in 0..12 {
            let image = bench.scan()[0];
            let now = image.is(control::TRIGGER);
            edges += usize::from(now && !before);
            before = now;
            bench.station.trigger_ack = now;
        }
        assert_eq!(edges, 2);
        assert_eq!(bench.program.latest().map(|cycle| cycle.repeat_answer), Some(Some(Answer::Taken)));
    }

    #[test]
    fn a_session_follows_the_one_the_station_knows_and_is_never_zero() {
        let session = |echo: u16, before: u16| {
            let mut program = PlcProgram::new(SETTINGS);
            program.session_before = before;
            program.begin_session(echo);
            program.session()
        };
        assert_eq!(
            [session(0, 0), session(41, 3), session(u16::MAX, 0), session(0, 41)],
            [1, 42, 1, 42]
        );
    }

    #[test]
    fn a_restart_of_the_station_voids_what_is_on_its_way() {
        let mut bench = Bench::running(None);
        bench.scan();
        bench.scan();
        bench.station.boot_id = 8;
        bench.station.heartbeat = 0;
        assert_eq!(shape(&bench.scan()), [(1, 1, false)]);
        // Whatever the station says now, and however alive it is.
        (bench.station.result_valid, bench.station.accept) = (true, true);
        (bench.station.verdict, bench.station.echo_cycle_id) = (Some(Verdict::Ok), 1);
        let mut gated = Vec::new();
        for _ in 0..45 {
            bench.station.heartbeat += 1;
            bench.scan();
            gated.extend(bench.program.take_gated());
        }
        let reasons: Vec<_> = gated.iter().filter_map(|cycle| cycle.gated).map(|gated| gated.reason).collect();
        assert_eq!(reasons, [GateReason::StationRestarted]);
        assert_eq!(
            bench.program.strays().first().map(|stray| (stray.cycle_id, stray.boot_id)),
            Some((1, 8))
        );
    }

    #[test]
    fn the_heartbeat_counts_after_two_changes_and_until_it_stops() {
        let mut watch = Watch::default();
        let second = Duration::from_secs(1);
        for (at, heartbeat, alive) in [
            (0, 4, false),
            (100, 5, false),
            (200, 6, true),
            (1200, 6, true),
            (1201, 6, false),
            (1300, 7, false),
            (1400, 8, true),
        ] {
            let at = Nanos::from_millis(at);
            watch.see(heartbeat, at);
            assert_eq!(watch.alive(at, second), alive, "{at:?}");
        }
    }
}
