//! What the line thread tells the gate by: it never waits, and what does not fit makes the gate reject whatever is on the belt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::warn;

use super::GateInput;
use crate::flow::{self, Sender};
use crate::gate::counters::Counted;
use crate::gate::{Grade, PartId};
use crate::line::event::Opened;
use crate::line::image::{PlcImage, StationImage, control};
use crate::part::{Nanos, PartRecord, Verdict};
use crate::plc::grpc;

/// What the line thread tells the gate by.
pub struct GateLink {
    into: Sender<GateInput>,
    /// Something was dropped.
    overrun: Arc<AtomicBool>,
    session: Option<u16>,
    inhibit: bool,
    /// What the PLC counts at the gate; `None` where it does not.
    counted: Option<Counted>,
    /// The session in which it counted that.
    counting: Option<u16>,
    lamps: Option<(bool, bool)>,
    /// A trigger that is known later than this after it was may lie anywhere on the belt.
    trigger_age_max: Option<Duration>,
}

impl GateLink {
    /// `counts`: whether the PLC counts at the gate.
    pub(super) fn new(into: Sender<GateInput>, overrun: Arc<AtomicBool>, counts: bool) -> Self {
        Self {
            into,
            overrun,
            session: None,
            inhibit: false,
            counted: counts.then(Counted::default),
            counting: None,
            lamps: None,
            trigger_age_max: None,
        }
    }

    /// A trigger that is told later than this after it was read for gets no place on the belt: its part is rejected as one that nobody announced. For
    /// stations that ask the PLC, whose answer may take its time.
    #[must_use]
    pub fn with_trigger_age_max(self, trigger_age_max: Option<Duration>) -> Self {
        Self { trigger_age_max, ..self }
    }

    fn send(&self, input: GateInput) {
        if self.into.send(input).is_err() {
            self.overrun.store(true, Ordering::Release);
        }
    }

    /// The PLC wrote.
    pub fn heard(&mut self, image: &PlcImage) {
        let inhibit = image.is(control::GATE_INHIBIT);
        if inhibit != self.inhibit {
            self.inhibit = inhibit;
            self.send(GateInput::Inhibit(inhibit));
        }
        if self.counted.is_some_and(|before| before != image.counted) {
            self.counted = Some(image.counted);
            let is_anew = self
                .counting
                .replace(image.plc_session)
                .is_some_and(|before| before != image.plc_session);
            self.send(GateInput::Counted(image.counted, is_anew));
        }
    }

    /// Parts were opened. Those that were missed or skipped are on no belt, as far as anybody knows.
    pub fn opened(&self, opened: &[Opened]) {
        for part in opened.iter().filter(|part| part.acquisition_id != 0) {
            if let Some(cycle_id) = part.cycle_id {
                let plc_session = part.plc_session;
                let id = PartId { plc_session, cycle_id };
                match self.counted {
                    None if self.is_too_old(part.triggered_at, flow::now()) => {
                        warn!(
                            cycle_id = cycle_id.get(),
                            "the PLC took longer than plc_write_ms_max to tell of this part; the gate does not know where it is, and rejects it"
                        );
                        self.send(GateInput::Unplaced(id));
                    }
                    None => self.triggered(id, part.triggered_at),
                    Some(_) => self.send(GateInput::TriggeredAt(id, part.encoder)),
                }
            }
        }
    }

    fn is_too_old(&self, triggered_at: Nanos, now: Nanos) -> bool {
        self.trigger_age_max.is_some_and(|max| now.since(triggered_at) > max)
    }

    pub(crate) fn triggered(&self, id: PartId, at: Nanos) {
        self.send(GateInput::Triggered(id, at));
    }

    pub(crate) fn graded(&self, id: PartId, grade: Grade) {
        self.send(GateInput::Decided(id, grade));
    }

    /// An image was shown, with these outcomes. Where the station writes results to the PLC (`is_on_its_way`), an Ok is not shown yet but on its
    /// way, and [`Self::delivered`] says what came of it; whatever rejects its part does so at once.
    pub fn shown(&mut self, decided: &[PartRecord], image: &StationImage, is_on_its_way: impl Fn(&PartRecord) -> bool) {
        let session = image.echo_plc_session;
        if self.session.replace(session).is_some_and(|before| before != session) {
            self.send(GateInput::SessionChanged);
        }
        for record in decided {
            let grade = grade(record, image);
            if grade != Grade::Ok || !is_on_its_way(record) {
                self.decided(record, grade);
            }
        }
        let lamps = (image.stop_request, image.online && !image.error);
        if self.lamps != Some(lamps) {
            self.lamps = Some(lamps);
            let (stop, ready) = lamps;
            self.send(GateInput::Lamps { stop, ready });
        }
    }

    /// It is known what became of a result that was on its way to the PLC: an Ok counts only if the PLC `has_it`, in time. Every other outcome was
    /// told when it was decided.
    pub fn delivered(&self, record: &PartRecord, has_it: bool) {
        self.decided(record, if has_it { Grade::Ok } else { Grade::NotDecidable });
    }

    fn decided(&self, record: &PartRecord, grade: Grade) {
        if let Some(cycle_id) = record.cycle_id {
            let plc_session = record.plc_session;
            self.graded(PartId { plc_session, cycle_id }, grade);
        }
    }
}

/// What an outcome means at the gate. Ok is what the PLC would let pass too: shown, in time, of no test part.
fn grade(record: &PartRecord, image: &StationImage) -> Grade {
    match record.verdict {
        Verdict::Ok if !grpc::is_passed(record, image) => Grade::NotDecidable,
        verdict => Grade::of(verdict, record.severity),
    }
}
