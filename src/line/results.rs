//! What the PLC is shown of outcomes: one result at a time in the result registers (single and buffered), or the last sixteen side by side
//! (window).
//!
//! Whatever is not a fresh Ok shows as no pass: an empty slot, a result acknowledged, replaced, voided or older than `accept_hold`.

use std::time::Duration;

use super::image::{StationImage, WINDOW_SLOTS, WindowSlot};
use crate::part::{CycleId, Nanos, Outcome, Reason, Verdict};

/// An outcome as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_field_names, reason = "shown_at is when it was shown")]
pub(super) struct Shown {
    pub(super) cycle_id: Option<CycleId>,
    pub(super) result_id: u32,
    pub(super) outcome: Outcome,
    pub(super) defect_code: u16,
    pub(super) recipe: u16,
    pub(super) config_checksum: u32,
    pub(super) process_time_us: u32,
    pub(super) deadline_missed: bool,
    /// Whether it is an Ok that was shown as one, and nothing has spoken against passing the part since.
    pub(super) may_pass: bool,
    pub(super) test_part: bool,
    pub(super) shown_at: Nanos,
}

impl Shown {
    fn overtake(&mut self) {
        self.outcome = Outcome::not_decidable(Reason::Deadline);
        self.deadline_missed = true;
        self.may_pass = false;
        self.defect_code = 0;
    }
}

/// The result registers: one result, which the next part replaces (single) or which stays until it is acknowledged (buffered).
#[derive(Debug, Clone, Default)]
pub(super) struct ResultRegisters {
    shown: Option<Shown>,
    /// Acknowledged, replaced or voided: still there to be read, but not valid.
    consumed: bool,
    /// The acknowledgement was taken and has not gone to 0 yet.
    ack_held: bool,
    toggle: bool,
}

impl ResultRegisters {
    /// Whether a result may be shown now.
    pub(super) fn is_free(&self, buffered: bool) -> bool {
        !(self.ack_held || buffered && self.is_unread())
    }

    /// Whether a result is shown that was not acknowledged.
    pub(super) fn is_unread(&self) -> bool {
        self.shown.is_some() && !self.consumed
    }

    pub(super) fn show(&mut self, shown: Shown) {
        self.shown = Some(shown);
        self.consumed = false;
        self.toggle = !self.toggle;
    }

    /// The PLC acknowledges. Returns whether that fits the result shown.
    pub(super) fn acknowledge(&mut self, result_id: u32, at: Nanos) -> bool {
        let fits = !self.consumed && self.shown.is_some_and(|shown| shown.result_id == result_id && at > shown.shown_at);
        if fits {
            self.consumed = true;
            self.ack_held = true;
        }
        fits
    }

    /// ResultAck is 0 again, or nothing is known of it any more.
    pub(super) fn release_ack(&mut self) {
        self.ack_held = false;
    }

    /// The next part replaces the result.
    pub(super) fn replace(&mut self) {
        self.consumed = true;
    }

    /// The part must not pass after all.
    pub(super) fn withdraw(&mut self) {
        self.shown.iter_mut().for_each(|shown| shown.may_pass = false);
    }

    /// The same, if it is this result.
    pub(super) fn withdraw_result(&mut self, result_id: u32) {
        let of = |shown: &&mut Shown| shown.result_id == result_id;
        self.shown.iter_mut().filter(of).for_each(|shown| shown.may_pass = false);
    }

    /// This result is late: its image was not swapped in time.
    pub(super) fn overtake(&mut self, result_id: u32) {
        self.shown
            .iter_mut()
            .filter(|shown| shown.result_id == result_id)
            .for_each(Shown::overtake);
    }

    /// What is shown is shown no more.
    pub(super) fn discard(&mut self) {
        self.shown = None;
    }

    /// A new session: nothing was ever shown.
    pub(super) fn clear(&mut self) {
        self.discard();
        self.ack_held = false;
    }

    fn is_accepted(&self, now: Nanos, hold: Duration, sabotaged: bool) -> bool {
        let fresh = |shown: Shown| shown.may_pass && now < shown.shown_at + hold;
        self.shown
            .is_some_and(|shown| (!self.consumed && fresh(shown)) || (sabotaged && shown.outcome.verdict == Verdict::Ok))
    }

    /// Writes the result into the image.
    pub(super) fn write(&self, image: &mut StationImage, now: Nanos, hold: Duration, sabotaged: bool) {
        image.inspection_toggle = self.toggle;
        let Some(shown) = self.shown else { return };
        image.echo_cycle_id = shown.cycle_id.map_or(0, CycleId::get);
        image.result_id = shown.result_id;
        image.recipe_of_result = shown.recipe;
        image.config_checksum = shown.config_checksum;
        image.process_time_us = shown.process_time_us;
        image.accept = self.is_accepted(now, hold, sabotaged);
        if self.consumed {
            return;
        }
        image.result_valid = true;
        image.verdict = Some(shown.outcome.verdict);
        image.reason_code = shown.outcome.reason.map_or(0, Reason::code);
        image.defect_code = shown.defect_code;
        image.deadline_missed = shown.deadline_missed;
        image.test_result = shown.test_part;
    }

    /// When Accept falls by itself.
    pub(super) fn expires_at(&self, now: Nanos, hold: Duration) -> Option<Nanos> {
        let shown = self.shown.filter(|_| self.is_accepted(now, hold, false))?;
        Some(shown.shown_at + hold)
    }
}

/// The sixteen slots of window mode.
#[derive(Debug, Clone, Default)]
pub(super) struct WindowResults {
    slots: [Option<Shown>; WINDOW_SLOTS],
}

impl WindowResults {
    pub(super) fn show(&mut self, shown: Shown) {
        self.slots[shown.result_id as usize % WINDOW_SLOTS] = Some(shown);
    }

    /// None of these parts must pass after all.
    pub(super) fn withdraw(&mut self) {
        self.slots.iter_mut().flatten().for_each(|shown| shown.may_pass = false);
    }

    /// The same of one result.
    pub(super) fn withdraw_result(&mut self, result_id: u32) {
        let of = |shown: &&mut Shown| shown.result_id == result_id;
        self.slots.iter_mut().flatten().filter(of).for_each(|shown| shown.may_pass = false);
    }

    /// This result is late: its image was not swapped in time.
    pub(super) fn overtake(&mut self, result_id: u32) {
        let of = |shown: &&mut Shown| shown.result_id == result_id;
        self.slots.iter_mut().flatten().filter(of).for_each(Shown::overtake);
    }

    pub(super) fn clear(&mut self) {
        self.slots = [None; WINDOW_SLOTS];
    }

    /// Results the PLC may still be looking for.
    pub(super) fn unexpired(&self, now: Nanos, hold: Duration) -> usize {
        self.slots.iter().flatten().filter(|shown| now < shown.shown_at + hold).count()
    }

    pub(super) fn write(&self, image: &mut StationImage, now: Nanos, hold: Duration, sabotaged: bool) {
        for (slot, shown) in image.window.iter_mut().zip(self.slots) {
            let Some(shown) = shown else { continue };
            let held = sabotaged || now < shown.shown_at + hold;
            let verdict = match shown.outcome.verdict {
                Verdict::Ok if !shown.may_pass => 0,
                verdict => verdict.code(),
            };
            *slot = WindowSlot {
                cycle_id: shown.cycle_id,
                result_id: shown.result_id,
                verdict: if held { verdict } else { 0 },
                defect_code: shown.defect_code,
            };
        }
    }

    pub(super) fn expires_at(&self, now: Nanos, hold: Duration) -> Option<Nanos> {
        self.slots
            .iter()
            .flatten()
            .map(|shown| shown.shown_at + hold)
            .filter(|end| *end > now)
            .min()
    }
}
