//! Outcomes are shown, or recorded without: the last moment at which one can turn out to be late.

use super::Line;
#[cfg(test)]
use super::Sabotage;
use super::config::ResultMode;
use super::event::{Opened, Sequence};
use super::ledger::{OpenPart, micros};
use super::results::Shown;
use crate::part::{Nanos, Outcome, PartRecord, Reason, Verdict};

impl Line {
    /// Shows what is decided, or records it: the last moment at which it can turn out to be late.
    pub(super) fn show_decided(&mut self, now: Nanos) {
        for sequence in self.ledger.decided() {
            #[cfg(test)]
            if self.sabotage == Some(Sabotage::ForgetCycle) && sequence.0.is_multiple_of(3) {
                self.ledger.close(sequence);
                continue;
            }
            let late = self.is_late(sequence, now);
            let is_free = self.config.result_mode == ResultMode::Window || self.single.is_free(self.buffered);
            if let Some(part) = self.ledger.open.get_mut(&sequence) {
                if !late && part.certain_from() > now {
                    continue;
                }
                // What was late before it could wait was not kept waiting by the PLC.
                part.is_waiting |= self.buffered && !is_free && !late;
            }
            if !is_free {
                continue;
            }
            let Some(part) = self.ledger.close(sequence) else { continue };
            self.show(&part, late, now);
        }
    }

    /// Whether a decided part would be shown too late. That a part could not be judged for another reason stays the reason.
    pub(super) fn is_late(&self, sequence: Sequence, now: Nanos) -> bool {
        self.ledger.open.get(&sequence).is_some_and(|part| part.deadline <= now) && self.deadlines_count()
    }

    pub(super) fn show(&mut self, part: &OpenPart, late: bool, now: Nanos) {
        let decided = part.outcome.unwrap_or_else(|| part.overdue());
        let judged = decided.verdict != Verdict::NotDecidable;
        // Whoever waits to be read rejects all the same, but passes nothing any more.
        let stale = part.is_waiting && late && decided.verdict == Verdict::Ok;
        let missed = late && !part.is_waiting;
        let outcome = match () {
            () if stale => Outcome::not_decidable(Reason::NotRead),
            () if missed && judged => Outcome::not_decidable(Reason::Deadline),
            () if part.bypass && judged => Outcome::not_decidable(Reason::Bypass),
            () => decided,
        };
        let result_id = self.next_result;
        self.next_result = self.next_result.wrapping_add(1).max(1);
        self.count(&part.opened, outcome);
        self.watch(&part.opened, outcome);
        let shown = Shown {
            cycle_id: part.opened.cycle_id,
            result_id,
            outcome,
            defect_code: if outcome.verdict == Verdict::NotOk { part.defect_code() } else { 0 },
            recipe: part.opened.recipe,
            config_checksum: part.opened.config_checksum,
            process_time_us: u32::try_from(micros(now.since(part.opened.triggered_at))).unwrap_or(u32::MAX),
            deadline_missed: missed,
            may_pass: outcome.verdict == Verdict::Ok && !part.opened.test_part && self.passes_parts(),
            test_part: part.opened.test_part,
            shown_at: now,
        };
        match self.config.result_mode {
            ResultMode::Single => self.single.show(shown),
            ResultMode::Window => self.window.show(shown),
        }
        if outcome.verdict != Verdict::NotDecidable && !late {
            self.pending.due.push((part.opened.part, part.deadline));
        }
        let defect_code = if outcome.verdict == Verdict::NotOk { part.defect_code() } else { 0 };
        let mut record = self.record(&part.opened, outcome, now);
        record.result_id = result_id;
        record.defect_code = defect_code;
        record.severity = part.severity().filter(|_| outcome.verdict != Verdict::NotDecidable);
        record.measured = part.measured().filter(|measured| *measured != outcome);
        record.deadline_ns = part.deadline;
        record.stages = part.stages(now);
        record.views = part.views();
        self.pending.decided.push(record);
    }

    /// Everything that is open becomes not decidable and is recorded, not shown.
    pub(super) fn void_open(&mut self, reason: Reason, at: Nanos) {
        let open: Vec<Sequence> = self.ledger.open.keys().copied().collect();
        for sequence in open {
            self.void(sequence, reason, at);
        }
    }

    /// A part that is open becomes not decidable and is recorded, not shown.
    pub(super) fn void(&mut self, sequence: Sequence, reason: Reason, at: Nanos) {
        let outcome = Outcome::not_decidable(reason);
        self.ledger.overrule(sequence, outcome);
        let Some(part) = self.ledger.close(sequence) else { return };
        self.count(&part.opened, outcome);
        let mut record = self.record(&part.opened, outcome, at);
        record.measured = part.measured();
        record.deadline_ns = part.deadline;
        record.views = part.views();
        self.pending.decided.push(record);
    }

    /// Records a part that was never open.
    pub(super) fn record_unshown(&mut self, opened: Opened, outcome: Outcome, at: Nanos) {
        self.count(&opened, outcome);
        let record = self.record(&opened, outcome, at);
        self.pending.opened.push(opened);
        self.pending.decided.push(record);
    }

    /// What the engine found after the outcome was final.
    pub(super) fn record_late(&mut self, part: &OpenPart, now: Nanos) {
        let outcome = part.outcome.unwrap_or_else(|| part.overdue());
        let mut record = self.record(&part.opened, outcome, now);
        record.measured = part.measured();
        record.late_findings = true;
        record.deadline_ns = part.deadline;
        record.stages = part.stages(now);
        record.views = part.views();
        self.pending.decided.push(record);
    }

    pub(super) fn record(&self, opened: &Opened, outcome: Outcome, shown_at: Nanos) -> PartRecord {
        PartRecord {
            station: self.config.station.clone(),
            epoch: self.epoch,
            sequence: opened.part.0,
            cycle_id: opened.cycle_id,
            plc_session: opened.plc_session,
            boot_id: opened.boot_id,
            acquisition_id: opened.acquisition_id,
            result_id: 0,
            encoder: opened.encoder,
            serial: opened.serial_text(),
            recipe: opened.recipe,
            config_checksum: opened.config_checksum,
            verdict: outcome.verdict,
            reason: outcome.reason,
            defect_code: 0,
            severity: None,
            measured: None,
            test_part: opened.test_part,
            recovered: false,
            late_findings: false,
            triggered_unix_ns: 0,
            triggered_ns: opened.triggered_at,
            deadline_ns: opened.triggered_at + self.config.deadline,
            shown_ns: shown_at,
            stages: crate::part::StageTimes::default(),
            views: Vec::new(),
            tags: opened.tags.clone(),
            delivery: None,
        }
    }

    pub(super) fn count(&mut self, opened: &Opened, outcome: Outcome) {
        if !opened.test_part {
            self.counts.add(outcome);
        }
    }
}
