//! The PLC's side of the handshake, played for a line controller that speaks gRPC: its messages become the very writes that a PLC makes. Pure.
//!
//! One of these stands before the line, whatever number of connections there are; the newest that attached gives cycles. A Trigger that was
//! raised is held until the image answers it, even if the controller has gone meanwhile, so no answer is ever taken for another's. What the line
//! is told of comings and goings waits for that too: microseconds, as the line answers at once.

use super::PlcEvent;
use crate::line::image::{PlcImage, StationImage, WINDOW_SLOTS, control};
use crate::part::{CycleId, Nanos, PartRecord, Verdict};

/// Longest serial number, characters.
pub const SERIAL_CHARS_MAX: usize = 32;

/// What stands for a character that is none of 0x20..0x7E: the line warns about it and shows '?'.
const UNPRINTABLE: u8 = 0x1a;

/// A line controller's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A part is under the cameras.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cycle {
    /// Number of the part, as it came.
    pub cycle_id: u32,
    /// Encoder position.
    pub encoder: u32,
    /// Serial number, NUL padded.
    pub serial: [u8; SERIAL_CHARS_MAX],
    /// Recipe asked for; 0 keeps the one in use.
    pub recipe: u16,
    /// Whether it is out of the production counters.
    pub test_part: bool,
}

/// How the station answered a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Number of the part.
    pub cycle_id: u32,
    /// Whether it was opened (or was open already); otherwise it was missed.
    pub acknowledged: bool,
    /// Number of the acquisition; 0 if it was missed.
    pub acquisition_id: u32,
}

/// What follows from a message or an image, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The line is told.
    Plc(PlcEvent),
    /// This connection gives cycles now.
    Attached(ConnectionId),
    /// This connection does not any more: a newer one does.
    Replaced(ConnectionId),
    /// A cycle of this connection is answered.
    Answered(ConnectionId, Answer),
}

/// Why a cycle is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Another connection gives cycles, or none does.
    #[error("failed to take the cycle: this connection gives none; attach first")]
    NotAttached,
    /// The cycle before has no answer yet.
    #[error("failed to take the cycle: the one before has no answer yet; wait for it")]
    Unanswered,
}

/// Where the trigger handshake stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    /// Trigger and both answers are 0.
    Idle,
    /// Trigger is 1 for this connection, and not answered.
    Raised(ConnectionId),
    /// Trigger is 0, and an answer may still stand.
    Falling,
}

/// The PLC that the line sees.
#[derive(Debug, Clone)]
pub struct ControllerPlc {
    /// What was written last.
    image: PlcImage,
    /// Who gives cycles.
    owner: Option<ConnectionId>,
    /// Of whom the line was told that it is connected.
    told: Option<ConnectionId>,
    /// The session that the owner asked for and that was not written yet.
    attaching: Option<u16>,
    trigger: Trigger,
    /// The owner's next cycle.
    waiting: Option<Cycle>,
    effects: Vec<Effect>,
}

impl Default for ControllerPlc {
    fn default() -> Self {
        Self {
            image: PlcImage::default(),
            owner: None,
            told: None,
            attaching: None,
            // What the station shows is not known yet.
            trigger: Trigger::Falling,
            waiting: None,
            effects: Vec::new(),
        }
    }
}

impl ControllerPlc {
    /// A connection wants to give cycles, in this session (not 0); or, if it does already, to begin another. `shown` is the image shown now: here
    /// and below never one that is older than the one given before.
    pub fn attach(&mut self, connection: ConnectionId, plc_session: u16, at: Nanos, shown: &StationImage) -> Vec<Effect> {
        if let Some(before) = self.owner.filter(|before| *before != connection) {
            self.effects.push(Effect::Replaced(before));
            // It was never a trigger; its controller does not get an answer and gives it again.
            self.waiting = None;
        }
        self.owner = Some(connection);
        self.attaching = Some(plc_session);
        self.advance(at, shown)
    }

    /// A connection gives a cycle. Whatever it may be, the line decides about it.
    ///
    /// # Errors
    /// When it may not give any, or not yet.
    pub fn cycle(&mut self, connection: ConnectionId, cycle: Cycle, at: Nanos, shown: &StationImage) -> Result<Vec<Effect>, NotTaken> {
        if self.owner != Some(connection) {
            return Err(NotTaken::NotAttached);
        }
        if self.waiting.is_some() || self.trigger == Trigger::Raised(connection) {
            return Err(NotTaken::Unanswered);
        }
        self.waiting = Some(cycle);
        Ok(self.advance(at, shown))
    }

    /// A result was taken.
    pub fn acknowledge(&mut self, connection: ConnectionId, result_id: u32, at: Nanos) -> Vec<Effect> {
        if self.gives(connection) {
            self.beat();
            self.image.ack_result_id = result_id;
            self.image.control |= control::RESULT_ACK;
            self.write(at);
            self.image.control &= !control::RESULT_ACK;
            self.write(at);
        }
        std::mem::take(&mut self.effects)
    }

    /// A controller says that it lives.
    pub fn heartbeat(&mut self, connection: ConnectionId, at: Nanos) -> Vec<Effect> {
        if self.gives(connection) {
            self.beat();
            self.write(at);
        }
        std::mem::take(&mut self.effects)
    }

    /// A controller says what really happened to a part of its session: 1 passed, 2 rejected, 3 removed.
    pub fn disposition(&mut self, connection: ConnectionId, cycle_id: u32, plc_session: u32, kind: u16, at: Nanos) -> Vec<Effect> {
        if self.gives(connection) && plc_session == u32::from(self.image.plc_session) {
            self.beat();
            self.image.disposition_cycle_id = cycle_id;
            self.image.disposition = kind;
            self.write(at);
        }
        std::mem::take(&mut self.effects)
    }

    /// A connection ended.
    pub fn disconnect(&mut self, connection: ConnectionId, at: Nanos, shown: &StationImage) -> Vec<Effect> {
        if self.owner == Some(connection) {
            self.owner = None;
            self.attaching = None;
            self.waiting = None;
        }
        self.advance(at, shown)
    }

    /// Another image is shown.
    pub fn saw(&mut self, shown: &StationImage, at: Nanos) -> Vec<Effect> {
        self.advance(at, shown)
    }

    /// Whether what a connection says goes to the line now.
    fn gives(&self, connection: ConnectionId) -> bool {
        self.owner == Some(connection) && self.told == Some(connection) && self.attaching.is_none()
    }

    /// Goes as far as the image allows.
    fn advance(&mut self, at: Nanos, shown: &StationImage) -> Vec<Effect> {
        loop {
            if let Trigger::Raised(connection) = self.trigger {
                let Some(answer) = self.answer(shown) else { break };
                self.effects.push(Effect::Answered(connection, answer));
                self.lower(at);
            }
            self.tell_who_is_there(at);
            if self.trigger == Trigger::Falling && (shown.trigger_ack || shown.missed_trigger) {
                break;
            }
            self.trigger = Trigger::Idle;
            let Some((cycle, owner)) = self.waiting.take().zip(self.owner) else {
                break;
            };
            self.raise(cycle, owner, at);
        }
        std::mem::take(&mut self.effects)
    }

    /// Tells the line that the controller changed, or its session.
    fn tell_who_is_there(&mut self, at: Nanos) {
        if self.told != self.owner && self.told.take().is_some() {
            self.effects.push(Effect::Plc(PlcEvent::Lost));
        }
        let Some((owner, plc_session)) = self.owner.zip(self.attaching.take()) else {
            return;
        };
        if self.told.replace(owner) != Some(owner) {
            self.effects.push(Effect::Plc(PlcEvent::Connected));
        }
        self.beat();
        self.image.plc_session = plc_session;
        self.image.control = control::ONLINE | control::TRIGGER_ENABLE;
        self.write(at);
        self.effects.push(Effect::Attached(owner));
    }

    /// The answer to the trigger that is raised. Both answers were 0 when it was, so one that stands now is its own.
    fn answer(&self, shown: &StationImage) -> Option<Answer> {
        let answered = (shown.trigger_ack || shown.missed_trigger) && shown.echo_trigger_id == self.image.cycle_id;
        answered.then_some(Answer {
            cycle_id: self.image.cycle_id,
            acknowledged: shown.trigger_ack,
            acquisition_id: if shown.trigger_ack { shown.acquisition_id } else { 0 },
        })
    }

    /// Writes everything at once: numbers and Trigger cannot come apart.
    fn raise(&mut self, cycle: Cycle, owner: ConnectionId, at: Nanos) {
        self.beat();
        self.image = PlcImage {
            control: self.image.control | control::TRIGGER | if cycle.test_part { control::TEST_PART } else { 0 },
            cycle_id: cycle.cycle_id,
            cycle_id_tail: cycle.cycle_id,
            encoder: cycle.encoder,
            serial: cycle.serial,
            recipe_number: cycle.recipe,
            ..self.image
        };
        self.trigger = Trigger::Raised(owner);
        self.write(at);
    }

    /// Lowers Trigger. A recipe that was asked for is asked for no more: one that cannot be had must not keep the next part from being taken.
    fn lower(&mut self, at: Nanos) {
        self.image.control &= !(control::TRIGGER | control::TEST_PART);
        self.image.recipe_number = 0;
        self.trigger = Trigger::Falling;
        self.write(at);
    }

    fn beat(&mut self) {
        self.image.heartbeat = self.image.heartbeat.wrapping_add(1);
    }

    fn write(&mut self, at: Nanos) {
        self.effects.push(Effect::Plc(PlcEvent::Wrote {
            at,
            image: self.image,
            written: u16::MAX,
        }));
    }
}

/// The bytes of a serial number; `None` if it is longer than [`SERIAL_CHARS_MAX`].
pub fn serial_bytes(text: &str) -> Option<[u8; SERIAL_CHARS_MAX]> {
    let mut bytes = [0; SERIAL_CHARS_MAX];
    let mut characters = text.chars();
    for (byte, character) in bytes.iter_mut().zip(&mut characters) {
        *byte = if matches!(character, ' '..='~') {
            character as u8
        } else {
            UNPRINTABLE
        };
    }
    characters.next().is_none().then_some(bytes)
}

/// Whether the image that first shows an outcome accepts it: this very part, with this very result.
pub fn is_passed(record: &PartRecord, shown: &StationImage) -> bool {
    let is_ok = record.verdict == Verdict::Ok && !record.test_part && !record.late_findings;
    let Some(cycle_id) = record.cycle_id.filter(|_| is_ok && record.result_id != 0) else {
        return false;
    };
    let slot = shown.window[record.result_id as usize % WINDOW_SLOTS];
    if slot.result_id == record.result_id && slot.cycle_id == Some(cycle_id) {
        return Verdict::from_code(slot.verdict) == Some(Verdict::Ok);
    }
    let is_shown = shown.result_valid && shown.result_id == record.result_id && CycleId::new(shown.echo_cycle_id) == Some(cycle_id);
    is_shown && shown.accept && shown.verdict == Some(Verdict::Ok)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::line::config::{LineConfig, RecipePlan, ResultMode, TriggerSource};
    use crate::line::event::{Event, Inspected};
    use crate::line::{Line, Memory};
    use crate::part::{Reason, View};
    use proptest::prelude::*;

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);

    fn cycle(cycle_id: u32) -> Cycle {
        Cycle {
            cycle_id,
            encoder: cycle_id.wrapping_mul(10),
            serial: [0; SERIAL_CHARS_MAX],
            recipe: 0,
            test_part: false,
        }
    }

    /// The real line, in virtual time, behind the PLC that is played.
    struct Cell {
        line: Line,
        plc: ControllerPlc,
        now: Nanos,
        /// Images that the PLC has not seen yet, or only the newest of them.
        answers: Vec<(ConnectionId, Answer)>,
        attached: Vec<ConnectionId>,
        replaced: Vec<ConnectionId>,
        records: Vec<(PartRecord, bool)>,
        /// How often Trigger was raised.
        edges: u32,
        high: bool,
        /// What the line was not told yet.
        untold: Vec<PlcEvent>,
    }

    impl Cell {
        fn new(result_mode: ResultMode) -> Self {
            let config = LineConfig {
                gate_sees_parts: true,
                station: "cell".into(),
                trigger_source: TriggerSource::Plc {
                    frame_window: Duration::from_millis(50),
                },
                result_mode,
                deadline: Duration::from_millis(200),
                accept_hold: Duration::from_secs(1),
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
                config_checksum: 7,
            };
            let now = Nanos::from_millis(1000);
            let memory = Memory {
                boot_id: 3,
                epoch: 1,
                acquisition_below: 10_000,
                result_below: 10_000,
                ..Memory::default()
            };
            let mut cell = Self {
                line: Line::new(config, memory, now),
                plc: ControllerPlc::default(),
                now,
                answers: Vec::new(),
                attached: Vec::new(),
                replaced: Vec::new(),
                records: Vec::new(),
                edges: 0,
                high: false,
                untold: Vec::new(),
            };
            cell.tell(Event::CameraUp(0));
            cell.tell(Event::ModelsReady(true));
            cell
        }

        fn tell(&mut self, event: Event) {
            self.line.advance(self.now, event);
            let commit = self.line.commit(self.now);
            let image = self.line.image().clone();
            self.records.extend(commit.decided.into_iter().map(|record| {
                let passed = is_passed(&record, &image);
                (record, passed)
            }));
            for opened in commit.opened.iter().filter(|opened| opened.acquisition_id != 0) {
                let frame = Event::Frame {
                    camera: 0,
                    frame: crate::line::event::FrameId(opened.part.0),
                    counter: None,
                    exposed_at: self.now,
                };
                self.tell(frame);
            }
            for job in commit.jobs {
                self.tell(Event::Inspected {
                    part: job.part,
                    inspection: job.inspection,
                    inspected: Box::new(inspected(job.part.0)),
                });
            }
        }

        /// Carries out effects; the line hears of them when [`Self::settle`] comes.
        fn take(&mut self, effects: Vec<Effect>) {
            for effect in effects {
                match effect {
                    Effect::Plc(event) => {
                        if let PlcEvent::Wrote { image, .. } = event {
                            let rises = image.is(control::TRIGGER) && !self.high;
                            self.edges += u32::from(rises);
                            self.high = image.is(control::TRIGGER);
                        }
                        self.untold.push(event);
                    }
                    Effect::Attached(connection) => self.attached.push(connection),
                    Effect::Replaced(connection) => self.replaced.push(connection),
                    Effect::Answered(connection, answer) => self.answers.push((connection, answer)),
                }
            }
        }

        /// The line hears at most so many events; the PLC sees the image after them.
        fn hear(&mut self, count: usize) {
            for event in self.untold.drain(..count.min(self.untold.len())).collect::<Vec<_>>() {
                self.now = self.now + Duration::from_micros(50);
                self.tell(match event {
                    PlcEvent::Connected => Event::PlcConnected,
                    PlcEvent::Lost => Event::PlcLost,
                    PlcEvent::Wrote { image, written, .. } => Event::PlcWrote {
                        at: self.now,
                        image,
                        written,
                    },
                });
            }
            let effects = self.plc.saw(self.line.image(), self.now);
            self.take(effects);
        }

        fn settle(&mut self) {
            while !self.untold.is_empty() {
                self.hear(usize::MAX);
            }
            self.hear(0);
        }

        fn attach(&mut self, connection: ConnectionId, session: u16) {
            let image = self.line.image().clone();
            let effects = self.plc.attach(connection, session, self.now, &image);
            self.take(effects);
        }

        fn beat(&mut self, connection: ConnectionId) {
            let effects = self.plc.heartbeat(connection, self.now);
            self.take(effects);
        }

        fn give(&mut self, connection: ConnectionId, cycle: Cycle) -> Result<(), NotTaken> {
            let image = self.line.image().clone();
            let effects = self.plc.cycle(connection, cycle, self.now, &image)?;
            self.take(effects);
            Ok(())
        }

        fn leave(&mut self, connection: ConnectionId) {
            let image = self.line.image().clone();
            let effects = self.plc.disconnect(connection, self.now, &image);
            self.take(effects);
        }

        /// A controller that the line takes cycles of.
        fn ready(&mut self, connection: ConnectionId, session: u16) {
            self.attach(connection, session);
            self.settle();
            self.beat(connection);
            self.beat(connection);
            self.settle();
        }
    }

    /// Every third part is bad.
    fn inspected(part: u64) -> Inspected {
        let verdict = if part.is_multiple_of(3) { Verdict::NotOk } else { Verdict::Ok };
        Inspected {
            view: View {
                inspection: "top".into(),
                camera: "top".into(),
                frame_counter: None,
                exposed_ns: Nanos::default(),
                stamp: None,
                verdict,
                reason: (verdict == Verdict::NotOk).then_some(Reason::Anomaly),
                score: Some(1.0),
                threshold: Some(2.0),
                severity: None,
                findings: Vec::new(),
                model: None,
            },
            defect_code: 4,
            queue_us: 0,
            preprocess_us: 0,
            infer_us: 0,
            postprocess_us: 0,
        }
    }

    #[test]
    fn two_more_signs_of_life_and_the_station_is_ready() {
        let mut cell = Cell::new(ResultMode::Single);
        cell.attach(A, 5);
        cell.settle();
        assert_eq!((cell.attached.as_slice(), cell.line.image().echo_plc_session), ([A].as_slice(), 5));
        assert!(
            !cell.line.image().trigger_ready,
            "a controller that merely connected does not live yet"
        );
        cell.beat(A);
        cell.beat(A);
        cell.settle();
        assert!(cell.line.image().trigger_ready && cell.line.image().online);
        cell.leave(A);
        cell.settle();
        assert!(!cell.line.image().trigger_ready, "nobody is there");
    }

    #[test]
    fn a_cycle_is_answered_once_and_its_result_passes_only_as_it_is_shown() {
        for mode in [ResultMode::Single, ResultMode::Window] {
            let mut cell = Cell::new(mode);
            cell.ready(A, 1);
            for id in 1..=3 {
                cell.give(A, cycle(id)).unwrap();
                assert_eq!(cell.give(A, cycle(9)), Err(NotTaken::Unanswered));
                cell.settle();
                cell.now = cell.now + Duration::from_millis(30);
                cell.beat(A);
                cell.settle();
            }
            let answered: Vec<(u32, bool)> = cell
                .answers
                .iter()
                .map(|(_, answer)| (answer.cycle_id, answer.acknowledged))
                .collect();
            assert_eq!(answered, [(1, true), (2, true), (3, true)]);
            let standing: Vec<(bool, u16)> = cell.records.iter().map(|(record, passed)| (*passed, record.defect_code)).collect();
            assert_eq!(standing, [(true, 0), (true, 0), (false, 4)], "{mode:?}");
            let (record, _) = &cell.records[0];
            assert!(!is_passed(record, &StationImage::default()), "it is not shown there");
            let late = PartRecord {
                late_findings: true,
                ..record.clone()
            };
            assert!(!is_passed(&late, cell.line.image()));
        }
    }

    #[test]
    fn a_bounce_is_no_second_part() {
        let mut cell = Cell::new(ResultMode::Single);
        cell.ready(A, 1);
        for _ in 0..2 {
            cell.give(A, cycle(1)).unwrap();
            cell.settle();
        }
        assert_eq!(cell.answers[0], cell.answers[1], "the same acquisition");
        assert_eq!((cell.records.len(), cell.line.image().counts.duplicate), (1, 1));
        // The same number for another part.
        cell.give(A, Cycle { encoder: 1, ..cycle(1) }).unwrap();
        cell.settle();
        assert!(!cell.answers[2].1.acknowledged);
    }

    #[test]
    fn nonsense_is_missed_and_does_not_stand_in_the_way() {
        let mut cell = Cell::new(ResultMode::Single);
        cell.ready(A, 1);
        for wrong in [Cycle { recipe: 9, ..cycle(1) }, cycle(u32::MAX), cycle(0)] {
            cell.give(A, wrong).unwrap();
            cell.settle();
            assert!(!cell.answers.pop().unwrap().1.acknowledged);
        }
        assert_eq!(cell.records.len(), 3, "each is a part all the same");
    }

    #[test]
    fn an_acknowledgement_before_the_answer_and_of_the_wrong_result_consumes_nothing() {
        let mut cell = Cell::new(ResultMode::Single);
        cell.ready(A, 1);
        cell.give(A, cycle(1)).unwrap();
        let effects = cell.plc.acknowledge(A, 77, cell.now);
        cell.take(effects);
        cell.settle();
        let image = cell.line.image().clone();
        assert!(image.result_valid && image.accept);
        cell.now = cell.now + Duration::from_millis(1);
        let effects = cell.plc.acknowledge(A, image.result_id, cell.now);
        cell.take(effects);
        cell.settle();
        assert!(!cell.line.image().result_valid && !cell.line.image().accept);
        cell.give(A, cycle(2)).unwrap();
        cell.settle();
        assert!(
            cell.line.image().result_valid,
            "the next is shown: the acknowledgement was lowered again"
        );
    }

    #[test]
    fn a_disconnect_in_the_middle_loses_no_part_and_gives_its_answer_to_nobody_else() {
        let mut cell = Cell::new(ResultMode::Single);
        cell.ready(A, 1);
        cell.give(A, cycle(1)).unwrap();
        // Before the line has heard of the trigger.
        cell.leave(A);
        cell.attach(B, 1);
        assert!(cell.attached == [A], "not before the trigger is answered");
        // The same number for another part: it must not get the answer of the one before.
        cell.give(B, Cycle { encoder: 99, ..cycle(1) }).unwrap();
        cell.settle();
        assert_eq!(cell.attached, [A, B]);
        let answers: Vec<_> = cell
            .answers
            .iter()
            .map(|(connection, answer)| (*connection, answer.acknowledged))
            .collect();
        assert_eq!(answers, [(A, true), (B, false)]);
        assert_eq!(cell.edges, 2);
    }

    #[test]
    fn the_newest_controller_wins_and_resumes_the_session() {
        let mut cell = Cell::new(ResultMode::Single);
        cell.ready(A, 4);
        cell.give(A, cycle(1)).unwrap();
        cell.settle();
        cell.attach(B, 4);
        cell.settle();
        assert_eq!(cell.replaced, [A]);
        assert_eq!(cell.give(A, cycle(2)), Err(NotTaken::NotAttached));
        cell.leave(A);
        cell.settle();
        assert!(cell.line.image().trigger_ready, "the one that was replaced leaves nobody behind");
        cell.give(B, cycle(2)).unwrap();
        cell.settle();
        assert!(cell.answers[1].1.acknowledged);
        let restarts = cell
            .records
            .iter()
            .filter(|(record, _)| record.reason == Some(Reason::PlcRestart))
            .count();
        assert_eq!((restarts, cell.records.len()), (0, 2), "the session went on");
        // The same connection begins another session.
        cell.attach(B, 5);
        cell.settle();
        assert_eq!((cell.line.image().echo_plc_session, cell.replaced.len()), (5, 1));
    }

    #[test]
    fn dispositions_are_of_the_session() {
        let mut cell = Cell::new(ResultMode::Single);
        cell.ready(A, 1);
        let said = |effects: Vec<Effect>| {
            effects.iter().any(|effect| matches!(effect, Effect::Plc(PlcEvent::Wrote { image, .. }) if image.disposition_cycle_id == 8 && image.disposition == 2))
        };
        assert!(!said(cell.plc.disposition(A, 8, 2, 2, cell.now)));
        assert!(!said(cell.plc.disposition(B, 8, 1, 2, cell.now)));
        assert!(said(cell.plc.disposition(A, 8, 1, 2, cell.now)));
    }

    #[test]
    fn serials_are_whole_or_refused() {
        let bytes = |text: &str| serial_bytes(text).map(|bytes| String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned());
        assert_eq!(bytes("AB 12~").unwrap(), "AB 12~");
        assert_eq!(bytes("ä\0\n").unwrap(), "\u{1a}\u{1a}\u{1a}");
        assert_eq!(bytes(&"x".repeat(32)).unwrap().len(), 32);
        assert_eq!(bytes(&"x".repeat(33)), None);
        assert_eq!(bytes(&"x".repeat(10 << 20)), None);
    }

    #[derive(Debug, Clone)]
    enum Act {
        Attach(u64, u16),
        Give(u64, u32, u32),
        Beat(u64),
        Acknowledge(u64, u32),
        Leave(u64),
        /// The line is slow: it hears so many events.
        Hear(usize),
        Pass(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (1..4_u64, 1..3_u16).prop_map(|(who, session)| Act::Attach(who, session)),
            (1..4_u64, 0..20_u32, 0..2_u32).prop_map(|(who, id, encoder)| Act::Give(who, id, encoder)),
            (1..4_u64).prop_map(Act::Beat),
            (1..4_u64, 0..20_u32).prop_map(|(who, id)| Act::Acknowledge(who, id)),
            (1..4_u64).prop_map(Act::Leave),
            (0..4_usize).prop_map(Act::Hear),
            (0..300_u64).prop_map(Act::Pass),
        ]
    }

    proptest! {
        /// Whatever controllers do and however slow the line is: each trigger is answered exactly once, to the one that gave it, for the number it
        /// gave, and each is one record or a duplicate.
        #[test]
        fn every_trigger_has_one_answer_and_one_outcome(acts in proptest::collection::vec(act(), 1..80), window in any::<bool>()) {
            let mut cell = Cell::new(if window { ResultMode::Window } else { ResultMode::Single });
            let mut taken: BTreeMap<ConnectionId, Vec<u32>> = BTreeMap::new();
            for act in acts {
                match act {
                    Act::Attach(who, session) => cell.attach(ConnectionId(who), session),
                    Act::Give(who, id, encoder) => {
                        let given = Cycle { encoder, ..cycle(id) };
                        if cell.give(ConnectionId(who), given).is_ok() {
                            taken.entry(ConnectionId(who)).or_default().push(id);
                        }
                    }
                    Act::Beat(who) => cell.beat(ConnectionId(who)),
                    Act::Acknowledge(who, id) => {
                        let effects = cell.plc.acknowledge(ConnectionId(who), id, cell.now);
                        cell.take(effects);
                    }
                    Act::Leave(who) => cell.leave(ConnectionId(who)),
                    Act::Hear(count) => cell.hear(count),
                    Act::Pass(ms) => {
                        cell.now = cell.now + Duration::from_millis(ms);
                        cell.tell(Event::Tick);
                    }
                }
            }
            cell.settle();
            cell.now = cell.now + Duration::from_secs(2);
            cell.tell(Event::Tick);
            prop_assert_eq!(cell.answers.len() as u32, cell.edges, "one answer for each edge");
            let mut answered: BTreeMap<ConnectionId, Vec<u32>> = BTreeMap::new();
            for (connection, answer) in &cell.answers {
                answered.entry(*connection).or_default().push(answer.cycle_id);
            }
            for (connection, answered) in &answered {
                let mut given = taken[connection].iter();
                prop_assert!(answered.iter().all(|id| given.any(|given| given == id)), "in the order given, each once");
            }
            let outcomes = cell.records.iter().filter(|(record, _)| !record.late_findings && record.reason != Some(Reason::NeverSeen)).count();
            prop_assert_eq!(outcomes as u32 + cell.line.image().counts.duplicate, cell.edges, "each edge is one record or a repetition");
            let passed_bad = cell.records.iter().any(|(record, passed)| *passed && record.verdict != Verdict::Ok);
            prop_assert!(!passed_bad);
        }
    }
}
