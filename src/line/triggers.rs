//! What the PLC says becomes parts: sessions, triggers taken, missed, repeated, skipped.

use std::time::Duration;

use super::commands::Mode;
use super::config::{RecipePlan, ResultMode, SerialMode, TriggerSource};
use super::error_code::ErrorCode;
use super::event::{MissCause, Note, Opened, Sequence, Withheld};
use super::handshake::{Answer, Heard};
use super::history::{Fingerprint, UsedCycle};
use super::image::{PlcImage, control};
use super::ledger::OpenPart;
use super::serial::{Serial, SerialLatch};
use super::{Line, SKIPPED_MAX};
use crate::part::{CycleId, Nanos, Outcome, Reason};

impl Line {
    pub(super) fn hear(&mut self, at: Nanos, image: PlcImage, written: u16) {
        let falls = written & control::TRIGGER != 0 && !image.is(control::TRIGGER);
        if falls || self.plc.begins_session(&image) {
            self.abandon_trigger();
        }
        let Heard {
            session_before,
            acknowledged,
            ack_low,
            clear_error,
            execute,
            execute_low,
            latch_serial,
            latch_low,
            disposition,
        } = self.plc.hear(image, written, at);
        if let Some(from) = session_before {
            self.change_session(from, at);
        }
        self.choose_recipe(image.recipe_number);
        if self.plc.heartbeat.is_alive() {
            self.errors.remove(&ErrorCode::PlcLost);
        }
        if clear_error {
            self.errors.retain(|error| !error.is_latched());
            self.clear_alarms();
        }
        if let Some((cycle_id, disposition)) = disposition {
            self.pending.dispositions.push((self.plc.session, cycle_id, disposition));
        }
        if ack_low {
            self.single.release_ack();
        }
        self.hear_serial(latch_serial, latch_low);
        if execute_low {
            self.command.release();
        }
        if execute {
            self.execute(image.command, at);
        }
        self.settle_mode();
        if acknowledged && self.config.result_mode == ResultMode::Single && !self.single.acknowledge(image.ack_result_id, at) {
            let result_id = image.ack_result_id;
            self.pending.notes.push(Note::AckIgnored { result_id });
        }
    }

    /// The serial number of the next part, where it is not given with the trigger.
    fn hear_serial(&mut self, latch: bool, release: bool) {
        if latch && self.config.serial != SerialMode::WithTrigger {
            self.serial.latch(self.plc.image.serial);
        }
        if release {
            self.serial.release();
        }
    }

    /// BufferEnable is heard while Online rises, and holds once nothing is left of the mode before.
    fn settle_mode(&mut self) {
        if self.ledger.open.is_empty() {
            self.buffered = self.plc.buffered && self.config.result_mode == ResultMode::Single;
        }
    }

    /// A recipe that there is comes into force at once: its models are loaded and proven like all others. Parts that are open keep theirs.
    pub(super) fn choose_recipe(&mut self, number: u16) {
        let known = self.config.recipes.iter().position(|recipe| recipe.number == number);
        self.recipe = known.or(self.recipe);
    }

    /// The PLC started anew: what was open is its past.
    pub(super) fn change_session(&mut self, from: u16, at: Nanos) {
        self.void_open(Reason::PlcRestart, at);
        self.single.clear();
        self.window.clear();
        self.serial = SerialLatch::default();
        self.command.release();
        self.latest = None;
        self.interrupted = None;
        let to = self.plc.session;
        self.pending.notes.push(Note::SessionChanged { from, to });
    }

    /// A trigger that fell, or whose PLC went away or started anew, before it was answered.
    pub(super) fn abandon_trigger(&mut self) {
        if let Some(since) = self.plc.pending {
            self.miss(since, MissCause::Torn);
        }
    }

    pub(super) fn sample_trigger(&mut self, now: Nanos) {
        let Some(edge) = self.plc.pending else { return };
        if !self.plc.is_whole() {
            return;
        }
        let Some(cycle_id) = CycleId::new(self.plc.image.cycle_id) else {
            self.errors.insert(ErrorCode::CycleIdZero);
            return self.miss(edge, MissCause::IdInvalid);
        };
        if let Some(used) = self.history.find(self.plc.session, cycle_id).copied() {
            return self.answer_repeated(edge, used);
        }
        match (self.refusal(edge, now), self.recipe_in_force().cloned()) {
            (None, Some(recipe)) => self.accept(edge, cycle_id, recipe),
            (cause, _) => self.miss(edge, cause.unwrap_or(MissCause::Recipe)),
        }
    }

    /// A trigger whose ID was used: the same part again, or another one under its name.
    pub(super) fn answer_repeated(&mut self, edge: Nanos, used: UsedCycle) {
        // What was latched is gone when a trigger is repeated, and says nothing then; what is latched anew says it.
        let serial_is_told = self.config.serial == SerialMode::WithTrigger || self.serial.is_latched();
        if self.fingerprint().repeats(used.fingerprint, serial_is_told) {
            self.serial.consume();
            self.counts.duplicate = self.counts.duplicate.wrapping_add(1);
            // What was missed stays missed: an acknowledgement would promise a result.
            self.plc.answer(if used.acquisition_id == 0 {
                Answer::Missed
            } else {
                self.latest_acquisition = used.acquisition_id;
                Answer::Acknowledged
            });
            let cycle_id = used.cycle_id;
            return self.pending.notes.push(Note::TriggerRepeated { cycle_id });
        }
        self.errors.insert(ErrorCode::CycleIdReused);
        let is_first = |part: &OpenPart| part.opened.cycle_id == Some(used.cycle_id) && part.opened.plc_session == used.plc_session;
        if let Some((part, _)) = self.ledger.open.iter().find(|(_, part)| is_first(part)) {
            self.ledger.overrule(*part, Outcome::not_decidable(Reason::IdReused));
        }
        self.miss(edge, MissCause::IdReused);
    }

    /// Why a trigger cannot be taken now.
    pub(super) fn refusal(&self, edge: Nanos, now: Nanos) -> Option<MissCause> {
        let grace =
            self.withheld.is_some_and(|(since, _)| edge <= since + self.config.trigger_grace) && self.slots_taken(now) < self.slots();
        if !self.plc.is_enabled() {
            Some(MissCause::NotEnabled)
        } else if self.lacks_recipe() {
            Some(MissCause::Recipe)
        } else if !self.is_operational() {
            Some(MissCause::NotReady)
        } else if self.lacks_serial() {
            Some(MissCause::SerialMissing)
        } else {
            self.withholds(now).filter(|_| !grace).map(|cause| match cause {
                Withheld::Slots => MissCause::Busy,
                Withheld::Admission { .. } => MissCause::Admission,
            })
        }
    }

    pub(super) fn accept(&mut self, edge: Nanos, cycle_id: CycleId, recipe: RecipePlan) {
        self.record_skipped(edge, cycle_id);
        self.latest_acquisition = self.next_acquisition;
        self.next_acquisition = self.next_acquisition.wrapping_add(1).max(1);
        let opened = self.opened(edge, Some(cycle_id), self.latest_acquisition);
        let part = opened.part;
        self.remember(cycle_id, self.latest_acquisition);
        if opened.serial.iter().any(|byte| !matches!(byte, 0 | 0x20..=0x7e)) {
            self.pending.notes.push(Note::SerialUnprintable { cycle_id });
        }
        self.pending.opened.push(opened.clone());
        let wait = match self.config.trigger_source {
            TriggerSource::Hardware { arm_window } => arm_window,
            _ => Duration::ZERO,
        };
        let open = OpenPart::new(
            opened,
            edge + wait + self.config.deadline,
            self.plc.image.is(control::BYPASS),
            self.config.cameras,
            recipe,
        );
        self.ledger.open.insert(part, open);
        self.latest = Some(part);
        if !self.buffered {
            self.single.replace();
        }
        self.serial.consume();
        self.plc.answer(Answer::Acknowledged);
        self.arm_cameras(part, edge, false);
    }

    pub(super) fn arm_cameras(&mut self, part: Sequence, edge: Nanos, missed: bool) {
        for camera in 0..self.cameras.len() {
            let matches = self.cameras[camera].open(part, edge, missed);
            self.take_matches(camera, matches);
        }
    }

    /// A trigger that is not taken is a part all the same: it has its record, and never fires later.
    pub(super) fn miss(&mut self, edge: Nanos, cause: MissCause) {
        let cycle_id = CycleId::new(self.plc.image.cycle_id).filter(|_| cause != MissCause::Torn || self.plc.is_whole());
        let own_id = cycle_id.filter(|_| cause != MissCause::IdReused);
        if let Some(cycle_id) = own_id {
            self.record_skipped(edge, cycle_id);
            self.remember(cycle_id, 0);
        }
        let number = CycleId::new(self.plc.image.cycle_id);
        let opened = Opened {
            owns_id: own_id.is_some(),
            ..self.opened(edge, number, 0)
        };
        let part = opened.part;
        if !opened.test_part {
            self.counts.missed = self.counts.missed.wrapping_add(1);
        }
        self.record_unshown(opened, Outcome::not_decidable(Reason::Missed), edge);
        // It passes the cameras all the same: what they saw of it must not be taken for its neighbour.
        self.arm_cameras(part, edge, true);
        let cycle_id = self.plc.image.cycle_id;
        self.pending.notes.push(Note::TriggerMissed { cycle_id, cause });
        self.plc.answer(Answer::Missed);
    }

    /// IDs between the last one and this one were given to parts that the station never saw.
    pub(super) fn record_skipped(&mut self, edge: Nanos, cycle_id: CycleId) {
        let session = self.plc.session;
        let last = self.history.last_in(session).filter(|_| self.config.sequential);
        let interrupted = self.interrupted.take().filter(|(before, _)| *before == session);
        let reason = interrupted.map_or(Reason::NeverSeen, |(_, reason)| reason);
        let Some(last) = last else { return };
        let skipped = cycle_id.steps_from(last).saturating_sub(1);
        if skipped > SKIPPED_MAX {
            self.errors.insert(ErrorCode::CycleIdJump);
            return self.pending.notes.push(Note::CycleJump { from: last, to: cycle_id });
        }
        if skipped > 0 {
            let note = Note::CyclesSkipped {
                from: last.next(),
                count: skipped,
            };
            self.pending.notes.push(note);
        }
        let mut id = last;
        for _ in 0..skipped {
            id = id.next();
            let mut opened = self.opened(edge, Some(id), 0);
            (opened.encoder, opened.serial, opened.test_part) = (0, [0; 32], false);
            self.record_unshown(opened, Outcome::not_decidable(reason), edge);
            self.history.remember(UsedCycle {
                plc_session: session,
                cycle_id: id,
                fingerprint: Fingerprint::never_seen(),
                acquisition_id: 0,
            });
        }
    }

    pub(super) fn opened(&mut self, edge: Nanos, cycle_id: Option<CycleId>, acquisition_id: u32) -> Opened {
        let part = Sequence(self.next_sequence);
        self.next_sequence += 1;
        Opened {
            part,
            cycle_id,
            plc_session: self.plc.session,
            boot_id: self.boot_id,
            acquisition_id,
            encoder: self.plc.image.encoder,
            serial: self.serial_of_part(),
            recipe: self.recipe_number(),
            recipe_asked: self.plc.image.recipe_number,
            tags: self.config.tags.iter().map(|tag| tag.read(&self.plc.image.tags)).collect(),
            test_part: self.plc.image.is(control::TEST_PART) || self.mode != Mode::Inspecting,
            owns_id: true,
            triggered_at: edge,
            config_checksum: self.config.config_checksum,
        }
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let image = &self.plc.image;
        Fingerprint::new(image.encoder, &self.serial_of_part(), image.recipe_number)
    }

    fn serial_of_part(&self) -> Serial {
        match self.config.serial {
            SerialMode::WithTrigger => self.plc.image.serial,
            SerialMode::Latched { .. } => self.serial.serial(),
        }
    }

    /// Whether a part must have a serial number and has none.
    fn lacks_serial(&self) -> bool {
        self.config.serial == SerialMode::Latched { required: true } && self.serial.is_empty()
    }

    pub(super) fn remember(&mut self, cycle_id: CycleId, acquisition_id: u32) {
        self.history.remember(UsedCycle {
            plc_session: self.plc.session,
            cycle_id,
            fingerprint: self.fingerprint(),
            acquisition_id,
        });
    }
}
