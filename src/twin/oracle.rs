//! The judge of a run: the PLC's cycles, the camera's exposures and the station's records must tell one story. Pure.
//!
//! | promise | what is checked |
//! |---|---|
//! | LINE-1 | every Trigger edge is answered; every trigger is in exactly one record, and no record is of anything else |
//! | LINE-2 | each verdict was computed from a frame of that very part, by the stamp in its pixels; the PLC read what was recorded |
//! | LINE-3 | nothing passes but by a fresh Ok of that very cycle; no Ok is shown late, for too long, or across a restart |
//!
//! What cannot be known is not held against the station: an edge that link or restart may have swallowed needs no answer, and no record
//! unless triggers of its session were answered before and taken after it (then the jump of the cycle ID tells). A repeated edge is no trigger. What was left in
//! the black box by an earlier run is no business of this one. Lateness on the wire counts only where it is proven: the last poll without
//! the result was *sent* after the latest moment the deadline can have been.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::facts::{Answer, Cycle, CycleKey, Exposure, StrayOk};
use crate::line::image::Counts;
use crate::part::{Nanos, PartRecord, Reason, Verdict};

/// What the oracle holds a station to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// From the trigger (`from_exposure`: from the exposure) to the image that shows the outcome.
    pub deadline: Duration,
    /// Whether the deadline counts from the exposure: a sensor triggers the camera.
    pub from_exposure: bool,
    /// How long an Ok may be shown.
    pub accept_hold: Duration,
    /// How long the station may stand still before its PLC must notice.
    pub heartbeat_timeout: Duration,
    /// Whether cycle IDs count up by one, so that the station can tell which it has missed.
    pub sequential: bool,
    /// Whether every judged frame has a stamp that can be read.
    pub stamped: bool,
}

/// Everything that is known about a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// What the PLC did and read.
    pub cycles: Vec<Cycle>,
    /// What was under the camera.
    pub exposures: Vec<Exposure>,
    /// Oks that nobody asked for.
    pub strays: Vec<StrayOk>,
    /// What the station says, in the order it said so; `None` if it runs elsewhere.
    pub records: Option<Vec<PartRecord>>,
    /// The starts of the station that belong to this run.
    pub boot_ids: BTreeSet<u16>,
    /// The station's counters before the first part and after the last; `None` if they cannot be compared, as something restarted.
    pub counts: Option<(Counts, Counts)>,
}

impl Evidence {
    /// The records of this run, rather than those an earlier one left in the black box.
    pub fn own_records(&self) -> impl Iterator<Item = &PartRecord> {
        let is_own = |record: &&PartRecord| !record.recovered || self.boot_ids.contains(&record.boot_id);
        self.records.iter().flatten().filter(is_own)
    }
}

/// A promise that was kept, broken, or could not be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How often it was broken; `None` if what is needed was not measured and what could be checked was kept.
    pub broken: Option<usize>,
    /// The first thing that broke it.
    pub first: Option<String>,
}

impl Finding {
    fn of(breaches: Vec<Breach>, measured: bool) -> Self {
        let broken = breaches.len();
        let first = breaches.into_iter().min_by_key(|breach| breach.at);
        Self {
            broken: (measured || broken > 0).then_some(broken),
            first: first.map(|breach| breach.what),
        }
    }

    /// Whether it was not seen broken.
    pub fn is_kept(&self) -> bool {
        self.broken.unwrap_or(0) == 0
    }
}

/// What the oracle says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// LINE-1, conservation.
    pub line_1: Finding,
    /// LINE-2, identity.
    pub line_2: Finding,
    /// LINE-3, deadline.
    pub line_3: Finding,
    /// Triggers without a record; `None` without records.
    pub lost: Option<usize>,
    /// Verdicts computed from a frame of another part; `None` without records.
    pub wrong_part: Option<usize>,
    /// Oks shown after their deadline.
    pub ok_after_deadline: usize,
    /// Outcomes that were not there by their deadline; `None` without records.
    pub late: Option<usize>,
}

/// Something that breaks a promise.
struct Breach {
    at: Nanos,
    what: String,
}

fn breach(cycle: &Cycle, what: impl std::fmt::Display) -> Breach {
    Breach {
        at: cycle.raised,
        what: format!("{} (part {}): {what}", cycle.key, cycle.part),
    }
}

/// A record and its additions: the first that was told under its key.
struct Books<'a> {
    /// By cycle, in the order they were told; none twice.
    by_cycle: HashMap<CycleKey, Vec<&'a PartRecord>>,
    breaches: Vec<Breach>,
}

/// Judges a run.
pub fn judge(terms: &Terms, evidence: &Evidence) -> Judgement {
    let measured = evidence.records.is_some();
    let known: BTreeSet<CycleKey> = evidence.cycles.iter().map(|cycle| cycle.key).collect();
    let ours: Vec<&PartRecord> = evidence.own_records().collect();
    let Books { by_cycle, breaches } = keep_books(&ours, &known);
    let mut line_1 = breaches;
    line_1.extend(miscounted(evidence, &ours).filter(|_| measured));
    let mut line_2 = Vec::new();
    let mut line_3 = strays(&evidence.strays);
    let mut lost = 0;
    let mut wrong_part = 0;
    let mut ok_after_deadline = 0;
    let spans = spans(&evidence.cycles);
    let exposed = Exposures::of(&evidence.exposures);

    for (place, cycle) in evidence.cycles.iter().enumerate() {
        line_1.extend(answers(cycle));
        let told = by_cycle.get(&cycle.key).map_or(&[] as &[_], Vec::as_slice);
        if measured {
            let tellable = spans
                .get(&cycle.key.plc_session)
                .is_some_and(|(first, last)| (*first..*last).contains(&place));
            let breach = conservation(terms, cycle, told, tellable);
            lost += usize::from(told.is_empty() && breach.is_some());
            line_1.extend(breach);
        }
        for record in told {
            let strangers = strangers(terms, cycle, record, &exposed);
            wrong_part += strangers.len();
            line_2.extend(strangers);
        }
        line_2.extend(contradictions(cycle, told, measured));
        let late = lateness(terms, cycle, told, &exposed);
        ok_after_deadline += usize::from(late.is_some());
        line_3.extend(late);
        line_3.extend(stale(terms, cycle));
        line_3.extend(passed_wrongly(cycle, told, measured));
    }
    let late = ours
        .iter()
        .filter(|record| !record.late_findings && record.reason == Some(Reason::Deadline));
    let late: BTreeSet<(u64, u64)> = late.map(|record| (record.epoch, record.sequence)).collect();
    Judgement {
        line_1: Finding::of(line_1, measured),
        line_2: Finding::of(line_2, measured),
        line_3: Finding::of(line_3, measured),
        lost: measured.then_some(lost),
        wrong_part: measured.then_some(wrong_part),
        ok_after_deadline,
        late: measured.then_some(late.len()),
    }
}

/// LINE-1 in the counters: as many outcomes counted as recorded.
fn miscounted(evidence: &Evidence, records: &[&PartRecord]) -> Option<Breach> {
    let (before, after) = evidence.counts?;
    let counted = after.total.wrapping_sub(before.total) as usize;
    let outcomes = records.iter().filter(|record| !record.late_findings && !record.test_part).count();
    (counted != outcomes).then(|| Breach {
        // Whatever broke first is named first; this only says that something did.
        at: Nanos(u64::MAX),
        what: format!("the station counted {counted} outcomes, but told of {outcomes}"),
    })
}

/// What a record is about; two records of one key must agree in this. What the engine added later was never shown.
fn content(record: &PartRecord, shown: bool) -> impl PartialEq + '_ {
    let of_showing = (record.result_id, record.acquisition_id);
    (
        (record.cycle_id, record.plc_session, record.verdict, record.reason),
        shown.then_some(of_showing),
        (record.encoder, &record.serial),
    )
}

/// Sorts records by cycle. Told again under the same key with the same content is the same record; what the engine added later is, too.
fn keep_books<'a>(records: &[&'a PartRecord], known: &BTreeSet<CycleKey>) -> Books<'a> {
    let mut by_key: BTreeMap<(u64, u64), &PartRecord> = BTreeMap::new();
    let mut by_cycle: HashMap<CycleKey, Vec<&PartRecord>> = HashMap::new();
    let mut breaches = Vec::new();
    for record in records {
        let name = format!("record {} of epoch {}", record.sequence, record.epoch);
        let mut complain = |what: String| {
            breaches.push(Breach {
                at: record.shown_ns,
                what: format!("{name}: {what}"),
            });
        };
        if let Some(first) = by_key.get(&(record.epoch, record.sequence)) {
            let shown = !first.late_findings && !record.late_findings;
            if content(first, shown) != content(record, shown) {
                complain(format!(
                    "told twice, first as {}, then as {}",
                    outcome(first.verdict, first.reason),
                    outcome(record.verdict, record.reason)
                ));
            } else if !record.late_findings && !record.recovered {
                complain("told twice".into());
            }
            // What was measured late has views to check, too.
            if record.late_findings
                && let Some(told) = CycleKey::of(record).and_then(|key| by_cycle.get_mut(&key))
            {
                told.push(record);
            }
            continue;
        }
        by_key.insert((record.epoch, record.sequence), record);
        match CycleKey::of(record).filter(|key| known.contains(key)) {
            Some(key) => by_cycle.entry(key).or_default().push(record),
            None => complain(format!(
                "it is of cycle {} of PLC session {}, which the PLC never triggered",
                record.cycle_id.map_or(0, crate::part::CycleId::get),
                record.plc_session
            )),
        }
    }
    Books { by_cycle, breaches }
}

/// For each session, the places of the first cycle that was answered and of the last that was taken: the station can tell, and must have
/// told, of every cycle between them.
fn spans(cycles: &[Cycle]) -> HashMap<u16, (usize, usize)> {
    let mut spans: HashMap<u16, (usize, usize)> = HashMap::new();
    for (place, cycle) in cycles.iter().enumerate().filter(|(_, cycle)| cycle.answer.is_some()) {
        let span = spans.entry(cycle.key.plc_session).or_insert((place, place));
        if cycle.answer == Some(Answer::Taken) {
            span.1 = place;
        }
    }
    spans
}

/// LINE-1 on the wire: every edge is answered, a repeated one as the first.
fn answers(cycle: &Cycle) -> Option<Breach> {
    if cycle.answer.is_none() && cycle.replied.is_some() && !cycle.disturbed {
        return Some(breach(cycle, "its trigger was never answered, though the station was alive"));
    }
    let missed = cycle.answer == Some(Answer::Taken) && cycle.repeat_answer == Some(Answer::Missed);
    missed.then(|| {
        breach(
            cycle,
            "its trigger was taken, but the same trigger repeated was answered with MissedTrigger",
        )
    })
}

/// LINE-1 in the records: exactly one, and one that fits the answer.
fn conservation(terms: &Terms, cycle: &Cycle, told: &[&PartRecord], tellable: bool) -> Option<Breach> {
    let outcomes: Vec<&&PartRecord> = told.iter().filter(|record| !record.late_findings).collect();
    let [record] = outcomes[..] else {
        if outcomes.is_empty() {
            let must = match cycle.answer {
                Some(_) => true,
                None => terms.sequential && tellable,
            };
            return must.then(|| breach(cycle, "it is in no record"));
        }
        let sequences: Vec<String> = outcomes.iter().map(|record| record.sequence.to_string()).collect();
        return Some(breach(cycle, format_args!("it is in several records: {}", sequences.join(", "))));
    };
    let missed = matches!(record.reason, Some(Reason::Missed | Reason::IdReused));
    match cycle.answer {
        Some(Answer::Missed) if !missed => Some(breach(
            cycle,
            format_args!(
                "its trigger was answered with MissedTrigger, but its record says {}",
                outcome(record.verdict, record.reason)
            ),
        )),
        // The second edge of a bounce repeats a trigger that may have been missed; the repetition is taken all the same.
        Some(Answer::Taken) if record.reason == Some(Reason::NeverSeen) || record.reason == Some(Reason::Missed) && cycle.repeats == 0 => {
            Some(breach(
                cycle,
                format_args!(
                    "its trigger was taken, but its record says {}",
                    outcome(record.verdict, record.reason)
                ),
            ))
        }
        _ => None,
    }
}

/// The camera's log, by number and by part.
struct Exposures {
    by_counter: HashMap<u64, u32>,
    by_part: HashMap<u32, Nanos>,
}

impl Exposures {
    fn of(exposures: &[Exposure]) -> Self {
        Self {
            by_counter: exposures.iter().map(|exposure| (exposure.counter, exposure.part)).collect(),
            by_part: exposures.iter().map(|exposure| (exposure.part, exposure.exposed_at)).collect(),
        }
    }
}

/// LINE-2: verdicts from frames of other parts. The pixels decide; without a stamp the camera's number does.
fn strangers(terms: &Terms, cycle: &Cycle, record: &PartRecord, exposed: &Exposures) -> Vec<Breach> {
    let stranger = |view: &crate::part::View| {
        let name = &view.inspection;
        match view.stamp {
            Some(stamp) if stamp != cycle.part => Some(format!("inspection \"{name}\" judged a frame whose pixels show part {stamp}")),
            None if terms.stamped && view.verdict != Verdict::NotDecidable => {
                Some(format!("inspection \"{name}\" judged a frame whose stamp cannot be read"))
            }
            _ => {
                let by_number = view
                    .frame_counter
                    .and_then(|counter| exposed.by_counter.get(&counter).map(|part| (counter, *part)));
                let (counter, part) = by_number.filter(|(_, part)| *part != cycle.part)?;
                Some(format!(
                    "inspection \"{name}\" judged frame {counter}, which was exposed for part {part}"
                ))
            }
        }
    };
    record.views.iter().filter_map(stranger).map(|what| breach(cycle, what)).collect()
}

/// LINE-2 on the wire: what the PLC read is what was recorded.
fn contradictions(cycle: &Cycle, told: &[&PartRecord], measured: bool) -> Option<Breach> {
    let read = cycle.read?;
    if let Some(other) = cycle.contradiction {
        return Some(breach(
            cycle,
            format_args!("the PLC first read {}, later {}", read.verdict.name(), other.name()),
        ));
    }
    let Some(record) = told.first() else {
        return measured.then(|| breach(cycle, format_args!("the PLC read {}, but there is no record", read.verdict.name())));
    };
    let recorded = outcome(record.verdict, record.reason);
    if record.verdict != read.verdict {
        return Some(breach(
            cycle,
            format_args!("the PLC read {}, but {recorded} is recorded", read.verdict.name()),
        ));
    }
    let reason = Reason::from_code(read.reason_code);
    if read.reason_code != 0 && reason != record.reason {
        let read = reason.map_or("unknown", Reason::name);
        return Some(breach(
            cycle,
            format_args!("the PLC read the reason {read}, but {recorded} is recorded"),
        ));
    }
    (record.result_id != read.result_id).then(|| {
        breach(
            cycle,
            format_args!(
                "the PLC read it as result {}, but it is recorded as result {}",
                read.result_id, record.result_id
            ),
        )
    })
}

/// LINE-3: an Ok after its deadline, by the station's own record or by what the wire proves.
fn lateness(terms: &Terms, cycle: &Cycle, told: &[&PartRecord], exposed: &Exposures) -> Option<Breach> {
    let of_record = told
        .iter()
        .find(|record| record.verdict == Verdict::Ok && record.shown_ns >= record.deadline_ns && record.deadline_ns > Nanos::default());
    if let Some(record) = of_record {
        let late = record.shown_ns.since(record.deadline_ns);
        return Some(breach(
            cycle,
            format_args!("Ok is recorded as shown {} µs after its deadline", late.as_micros()),
        ));
    }
    let read = cycle.read.filter(|read| read.verdict == Verdict::Ok)?;
    let begun = if terms.from_exposure {
        exposed.by_part.get(&cycle.part).copied()
    } else {
        cycle.replied
    };
    let deadline = begun? + terms.deadline;
    let not_yet = read.not_yet.filter(|not_yet| *not_yet > deadline)?;
    Some(breach(
        cycle,
        format_args!(
            "Ok was shown after its deadline: a poll {} µs after it did not show it yet",
            not_yet.since(deadline).as_micros()
        ),
    ))
}

/// LINE-3: an Ok that stays. A station that stands still may keep it for as long as its PLC needs to notice.
fn stale(terms: &Terms, cycle: &Cycle) -> Option<Breach> {
    let read = cycle.read.filter(|read| read.verdict == Verdict::Ok)?;
    let until = read.received + terms.accept_hold + terms.heartbeat_timeout;
    let polled = cycle.last_ok_polled.filter(|polled| *polled > until)?;
    let shown = polled.since(read.received).as_millis();
    Some(breach(
        cycle,
        format_args!(
            "Ok was still shown after {shown} ms; it may stay {} ms",
            terms.accept_hold.as_millis()
        ),
    ))
}

/// LINE-3: an Ok for nobody, or for a part from before a restart.
fn strays(strays: &[StrayOk]) -> Vec<Breach> {
    let told = |stray: &StrayOk| Breach {
        at: stray.received,
        what: format!(
            "Ok was shown (result {}, station start {}) for cycle {}, which no longer or never waited for it",
            stray.result_id, stray.boot_id, stray.cycle_id
        ),
    };
    strays.iter().map(told).collect()
}

/// LINE-3 at the gate: what passed without a fresh Ok of its own.
fn passed_wrongly(cycle: &Cycle, told: &[&PartRecord], measured: bool) -> Option<Breach> {
    cycle.gated.filter(|gated| gated.passed())?;
    if let Some(reason) = cycle.voided {
        return Some(breach(
            cycle,
            format_args!("it passed the gate though it had to be {}", reason.text()),
        ));
    }
    let Some(read) = cycle.read.filter(|read| read.verdict == Verdict::Ok) else {
        return Some(breach(cycle, "it passed the gate without an Ok"));
    };
    if cycle.gated.is_some_and(|gated| gated.at < read.received) {
        return Some(breach(cycle, "it passed the gate before its Ok was read"));
    }
    let good = told.iter().any(|record| record.verdict == Verdict::Ok);
    (measured && !good).then(|| breach(cycle, "it passed the gate, but no Ok is recorded for it"))
}

/// `ok`, or `not_decidable (deadline)`.
fn outcome(verdict: Verdict, reason: Option<Reason>) -> String {
    match reason {
        None => verdict.name().to_owned(),
        Some(reason) => format!("{} ({})", verdict.name(), reason.name()),
    }
}
